//! kill -9 under open streams, ten times on one ledger.
//!
//! Each call that began more than a commit before the kill has one event; no id has two bodies;
//! calls that were cut are `crashed`, with the caller and no more tokens than the truth.

use std::collections::{BTreeMap, HashMap};
use std::io::{self, BufReader, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::Value;

use super::http::{Message, connect, post, read_chunk, read_head};
use super::sidecar::{Sidecar, usage_events, wait_for};
use super::upstream;

const KILLS: usize = 10;
const STREAMS: usize = 32;
/// Words that a whole stream has, one token each.
const WORDS: usize = 200;
/// A stream takes two seconds: most are cut, some end, some begin anew.
const PACE: Duration = Duration::from_millis(10);
/// Longer than a commit takes on a busy machine.
const COMMITTED: Duration = Duration::from_millis(500);

fn answer(_: &Message, to: &mut TcpStream) -> io::Result<()> {
    to.write_all(upstream::STREAM_HEAD.as_bytes())?;
    for _ in 0..WORDS {
        upstream::write_chunk(to, upstream::delta(" word").as_bytes())?;
        std::thread::sleep(PACE);
    }
    upstream::write_chunk(to, upstream::stop().as_bytes())?;
    upstream::write_end(to)
}

/// One call. True if its whole answer came.
fn call(connection: &mut BufReader<TcpStream>, id: &str, caller: &str) -> bool {
    let fields = [("x-ms-client-request-id", id), ("x-apim-subscription-id", caller)];
    let body = r#"{"stream":true,"messages":[{"role":"user","content":"Say a word, again and again."}]}"#;
    let request = post("/openai/deployments/d/chat/completions?api-version=2024-10-21", &fields, body);
    if connection.get_mut().write_all(&request).is_err() || !matches!(read_head(connection), Ok(Some(_))) {
        return false;
    }
    loop {
        match read_chunk(connection) {
            Ok(Some(_)) => {}
            Ok(None) => return true,
            Err(_) => return false,
        }
    }
}

/// Calls until told to stop, on its own connection; the ids of the calls that were whole.
fn client(sidecar: &Sidecar, name: String, begin: &AtomicBool) -> (Vec<String>, Vec<String>) {
    let (mut begun, mut whole) = (Vec::new(), Vec::new());
    let mut connection = connect(sidecar.addr);
    while begin.load(Ordering::Relaxed) {
        let id = format!("{name}-{}", begun.len());
        begun.push(id.clone());
        if !call(&mut connection, &id, &name[..name.find('/').unwrap()]) {
            break;
        }
        whole.push(id);
    }
    (begun, whole)
}

#[test]
fn every_call_that_began_before_a_commit_survives_kill_9() {
    let upstream = upstream::start(Arc::new(answer));
    let dir = tempfile::tempdir().unwrap();
    let ledger = dir.path().join("ledger");
    let (mut begun, mut whole) = (Vec::new(), Vec::new());
    for round in 0..KILLS {
        let sidecar = Sidecar::start(upstream, &ledger, &[]);
        let begin = AtomicBool::new(true);
        std::thread::scope(|scope| {
            let (sidecar_ref, begin_ref) = (&sidecar, &begin);
            let clients: Vec<_> = (0..STREAMS)
                .map(|n| {
                    scope.spawn(move || client(sidecar_ref, format!("team-{}/{round}-{n}", n % 4), begin_ref))
                })
                .collect();
            // Different in each round: streams are cut at many places.
            std::thread::sleep(Duration::from_millis(700 + 311 * round as u64));
            begin.store(false, Ordering::Relaxed);
            std::thread::sleep(COMMITTED);
            kill(&sidecar);
            for client in clients {
                let (mine, done) = client.join().unwrap();
                begun.extend(mine);
                whole.extend(done);
            }
        });
        drop(sidecar);
    }
    // The last recovery, and a clean end.
    let (code, _) = Sidecar::start(upstream, &ledger, &[]).stop();
    assert_eq!(code, Some(0));
    check(&usage_events(&ledger), &begun, &whole);
}

fn kill(sidecar: &Sidecar) {
    let pid = sidecar.pid().to_string();
    assert!(std::process::Command::new("kill").args(["-KILL", &pid]).status().unwrap().success());
    wait_for("the port to close", || TcpStream::connect(sidecar.addr).is_err().then_some(()));
}

fn check(events: &[Value], begun: &[String], whole: &[String]) {
    let mut by_call: HashMap<&str, &Value> = HashMap::new();
    let mut bodies: BTreeMap<&str, &Value> = BTreeMap::new();
    for event in events {
        let call = event["data"]["ids"]["client_request_id"].as_str().unwrap();
        assert!(by_call.insert(call, event).is_none(), "{call} has two events");
        assert!(bodies.insert(event["id"].as_str().unwrap(), event).is_none(), "one id, two events");
    }
    for call in begun {
        let event = by_call.get(call.as_str()).unwrap_or_else(|| panic!("{call} has no event"));
        let data = &event["data"];
        assert_eq!(data["caller"]["id"].as_str().unwrap(), &call[..call.find('/').unwrap()]);
        let output = data["tokens"]["output"].as_u64();
        match data["stream"]["outcome"].as_str().unwrap() {
            "complete" => assert_eq!(output, Some(WORDS as u64 + 1), "{call}: words and the end of the turn"),
            "crashed" => assert!(output.is_none_or(|n| n <= WORDS as u64 + 1), "{call}: more than was said"),
            other => panic!("{call} is {other}"),
        }
    }
    let crashed = events.iter().filter(|event| event["data"]["stream"]["outcome"] == "crashed").count();
    assert!(crashed >= KILLS, "streams were cut: {crashed}");
    assert_eq!(by_call.len(), begun.len(), "an event for a call that never was");
    println!("{} calls, {} whole, {crashed} crashed", begun.len(), whole.len());
}
