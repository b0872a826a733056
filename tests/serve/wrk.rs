//! wrk on many connections that are kept: every answer is the service's, as without a sidecar, and
//! every request has one event.
//!
//! Needs `wrk`; without, it is listed as not run.

use std::collections::{BTreeMap, HashSet};
use std::io::{self, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use serde_json::{Value, json};

use super::http::Message;
use super::mixed::JSON_BODY;
use super::sidecar::{Sidecar, event_lines, verified};
use super::upstream::{self, STREAM_HEAD, delta, stop, write_chunk, write_end};

const CONNECTIONS: usize = 64;
const TIME: &str = "2s";
/// wrk counts an answer that takes longer as an error; a loaded machine does that.
const TIMEOUT: &str = "30s";
/// Before an answer: some thousand requests a second, which a ledger keeps one by one.
const ANSWERS_AFTER: Duration = Duration::from_millis(10);

/// What an answer that is no stream says.
fn json_answer() -> String {
    json!({"id": "chatcmpl-test", "object": "chat.completion", "created": 1, "model": "gpt-4o-2024-11-20",
        "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": " word"}}],
        "usage": {"prompt_tokens": 15, "completion_tokens": 2, "total_tokens": 17}})
    .to_string()
}

/// A service that counts the requests that it reads.
fn service(asked: &Arc<AtomicUsize>) -> SocketAddr {
    let asked = Arc::clone(asked);
    upstream::start(Arc::new(move |request: &Message, to: &mut TcpStream| -> io::Result<()> {
        asked.fetch_add(1, SeqCst);
        std::thread::sleep(ANSWERS_AFTER);
        if request.body == JSON_BODY.as_bytes() {
            let body = json_answer();
            let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n";
            return write!(to, "{head}Content-Length: {}\r\n\r\n{body}", body.len());
        }
        to.write_all(STREAM_HEAD.as_bytes())?;
        write_chunk(to, delta(" word").as_bytes())?;
        write_chunk(to, stop().as_bytes())?;
        write_end(to)
    }))
}

/// Every second request wants a stream; each has an id. The last line is what wrk saw.
fn script() -> String {
    let stream_body = JSON_BODY.replacen('{', r#"{"stream":true,"#, 1);
    let (json_answer, stream_answer) = (json_answer(), delta(" word") + &stop());
    format!(
        r#"
        local threads = {{}}
        number, wrong = 0, 0
        function setup(thread)
           table.insert(threads, thread)
           thread:set("name", #threads)
        end
        function request()
           number = number + 1
           local body = number % 2 == 0 and [==[{stream_body}]==] or [==[{JSON_BODY}]==]
           local headers = {{ ["Content-Type"] = "application/json", ["x-ms-client-request-id"] = name .. "-" .. number }}
           return wrk.format("POST", nil, headers, body)
        end
        function response(status, headers, body)
           if body ~= [==[{stream_answer}]==] and body ~= [==[{json_answer}]==] then wrong = wrong + 1 end
        end
        function done(summary, latency, requests)
           local errors, sum = summary.errors, 0
           for _, thread in ipairs(threads) do sum = sum + thread:get("wrong") end
           io.write(string.format('\n{{"answers":%d,"wrong":%d,"connect":%d,"read":%d,"write":%d,"status":%d,"timeout":%d}}\n',
              summary.requests, sum, errors.connect, errors.read, errors.write, errors.status, errors.timeout))
        end
        "#
    )
}

/// Runs wrk; returns how many answers it had. Panics if one was not the service's, or did not come.
fn wrk(script: &Path, to: SocketAddr) -> usize {
    let url = format!("http://{to}/openai/deployments/d/chat/completions?api-version=2024-10-21");
    let connections = CONNECTIONS.to_string();
    let output = Command::new("wrk")
        .args(["-t", "2", "-c", &connections, "-d", TIME, "--timeout", TIMEOUT, "-s"])
        .arg(script)
        .arg(url)
        .output()
        .unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{said}{}", String::from_utf8_lossy(&output.stderr));
    let seen: Value = serde_json::from_str(said.lines().last().unwrap()).unwrap_or_else(|_| panic!("{said}"));
    for error in ["wrong", "connect", "read", "write", "status", "timeout"] {
        assert_eq!(seen[error], 0, "{error}: {said}");
    }
    let answers = seen["answers"].as_u64().unwrap() as usize;
    assert!(answers >= CONNECTIONS, "{said}");
    answers
}

#[test]
fn wrk_sees_the_service_and_every_request_has_its_event() {
    if Command::new("wrk").arg("-v").output().is_err() {
        return crate::skip::test("wrk is not installed");
    }
    let asked = Arc::new(AtomicUsize::new(0));
    let service = service(&asked);
    let dir = tempfile::tempdir().unwrap();
    let (ledger, file) = (dir.path().join("ledger"), dir.path().join("script.lua"));
    std::fs::write(&file, script()).unwrap();
    let direct = wrk(&file, service);
    asked.store(0, SeqCst);
    let sidecar = Sidecar::start(service, &ledger, &["--end-of-turn", "1"]);
    let answers = wrk(&file, sidecar.addr);
    let (code, log) = sidecar.stop();
    assert_eq!(code, Some(0), "{:?}", log.last());
    verified(&ledger);

    let outcomes = check(&event_lines(&ledger));
    println!(
        "{direct} answers without, {answers} with a sidecar; {} asked; {outcomes:?}",
        asked.load(SeqCst)
    );
    let of = |outcome: &str| outcomes.get(outcome).copied().unwrap_or(0);
    let (complete, left) = (of("complete"), of("client_disconnect"));
    assert_eq!(complete + left, outcomes.values().sum::<usize>(), "{outcomes:?}");
    // What runs when wrk stops it leaves; an answer may just have been whole.
    assert!((answers..=answers + CONNECTIONS).contains(&complete), "{complete} events of {answers} answers");
    assert!(left <= CONNECTIONS, "{left} calls were left");
    // A call that is left before its request has gone on never reaches the service.
    assert!((complete..=complete + left).contains(&asked.load(SeqCst)), "{outcomes:?}");
}

/// Each event is of another request, and says what that one used. Returns how many ended how.
fn check(lines: &[String]) -> BTreeMap<String, usize> {
    let (mut outcomes, mut ids) = (BTreeMap::new(), HashSet::new());
    for line in lines {
        let event: Value = serde_json::from_str(line).unwrap();
        if event["type"] != "dev.tokenweir.usage.v1" {
            assert!(event["type"].as_str().unwrap().contains("control"), "calls were summed: {line}");
            continue;
        }
        let data = &event["data"];
        let id = data["ids"]["client_request_id"].as_str().unwrap();
        assert!(ids.insert(id.to_owned()), "two events of request {id}");
        let outcome = data["stream"]["outcome"].as_str().unwrap();
        *outcomes.entry(outcome.to_owned()).or_default() += 1;
        if outcome == "complete" {
            let number: usize = id.split_once('-').unwrap().1.parse().unwrap();
            assert_eq!(data["request"]["stream"], number.is_multiple_of(2), "{line}");
            let tokens = &data["tokens"];
            assert_eq!((tokens["input"].as_u64(), tokens["output"].as_u64()), (Some(15), Some(2)), "{line}");
        }
    }
    outcomes
}
