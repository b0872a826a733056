//! Work that goes on after its call: one bill for each, whoever dies between looks at it, and however many sidecars
//! are asked.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::io::{self, BufRead, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use tokenweir::report::{GroupBy, Input, ReportOptions, report};

use super::http::{Message, connect, read_head, read_message};
use super::random::Random;
use super::sidecar::{Sidecar, binary, event_lines, usage_events, verified, wait_for};
use super::support::process::status_bytes;
use super::upstream;

/// Work that is begun, half of it at each of two sidecars.
const WORKS: usize = 200;
/// Who looks at all of it, again and again.
const POLLERS: usize = 4;
/// Times that a sidecar is killed while it is looked at.
const KILLS: usize = 6;
/// How long a sidecar lives: longer and shorter than it takes to look at all of the work.
const LIFE_MIN: Duration = Duration::from_millis(100);
const LIFE_MAX: Duration = Duration::from_millis(900);

/// A service that makes responses in the background.
struct Service {
    addr: SocketAddr,
    begun: Arc<AtomicUsize>,
    /// All responses are over.
    is_over: Arc<AtomicBool>,
}

/// Tokens of the response with that number.
fn tokens(number: u64) -> (u64, u64) {
    (10 + number, 1_000 + number)
}

fn response(number: u64, over: bool) -> Value {
    let (input, output) = tokens(number);
    let usage = json!({"input_tokens": input, "output_tokens": output, "total_tokens": input + output});
    json!({"id": format!("resp_{number}"), "object": "response", "created_at": 1_795_000_000, "background": true,
        "status": if over { "completed" } else { "in_progress" }, "error": null, "model": "gpt-5-mini-2025-08-07",
        "output": [], "usage": if over { usage } else { Value::Null }})
}

fn send(to: &mut TcpStream, body: &Value) -> io::Result<()> {
    let body = body.to_string();
    let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n";
    write!(to, "{head}Content-Length: {}\r\n\r\n{body}", body.len())
}

impl Service {
    fn start() -> Service {
        let (begun, is_over) = (Arc::<AtomicUsize>::default(), Arc::<AtomicBool>::default());
        let (numbers, over) = (Arc::clone(&begun), Arc::clone(&is_over));
        let addr = upstream::start(Arc::new(move |request: &Message, to: &mut TcpStream| {
            match request.target().rsplit_once("/resp_") {
                Some((_, number)) => {
                    send(to, &response(number.parse().unwrap(), over.load(Ordering::SeqCst)))
                }
                None => send(to, &response(numbers.fetch_add(1, Ordering::SeqCst) as u64, false)),
            }
        }));
        Service { addr, begun, is_over }
    }
}

/// One call; `None` if the sidecar died over it.
fn call(sidecar: SocketAddr, caller: &str, request: &str, body: &str) -> Option<Value> {
    let mut socket = TcpStream::connect(sidecar).ok()?;
    let length = body.len();
    let head = format!(
        "{request} HTTP/1.1\r\nHost: gw\r\nContent-Type: application/json\r\nx-apim-subscription-id: {caller}\r\n\
         Content-Length: {length}\r\n\r\n{body}"
    );
    socket.write_all(head.as_bytes()).ok()?;
    let answer = read_message(&mut io::BufReader::new(socket)).ok()??;
    assert_eq!(answer.status(), 200, "{answer:?}");
    Some(serde_json::from_slice(&answer.body).unwrap())
}

fn poll(sidecar: SocketAddr, caller: &str, number: usize) -> Option<Value> {
    call(sidecar, caller, &format!("GET /openai/v1/responses/resp_{number}"), "")
}

/// The announcing events and the bills of a ledger, by the id of the response.
fn by_id(ledger: &Path) -> (HashMap<String, Value>, BTreeMap<String, Value>) {
    let (mut announced, mut bills) = (HashMap::new(), BTreeMap::new());
    for event in usage_events(ledger) {
        let Some(id) = event["data"]["ids"]["response_id"].as_str() else {
            assert_eq!(event["data"]["stream"]["outcome"], "crashed", "{event}");
            continue;
        };
        let of = if event["data"]["accounting"]["deferred"] == true {
            bills.insert(id.to_owned(), event.clone())
        } else {
            assert!(event["data"]["tokens"]["output"].is_null(), "{event}");
            announced.insert(id.to_owned(), event.clone())
        };
        assert!(of.is_none(), "two events of one kind: {event}");
    }
    (announced, bills)
}

/// `tokenweir verify` of the events of both; what it said.
fn verified_together(lines: &Path) -> String {
    let output = Command::new(binary()).arg("verify").arg(lines).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(output.status.code(), Some(0), "{said}");
    said
}

#[test]
fn two_replicas_that_are_killed_between_polls_give_one_bill_for_each_id() {
    let (service, dir, mut random) = (Service::start(), tempfile::tempdir().unwrap(), Random::new("bills"));
    let ledgers = [dir.path().join("a"), dir.path().join("b")];
    let mut sidecars = [0, 1].map(|at| Some(Sidecar::start(service.addr, &ledgers[at], &[])));
    for number in 0..WORKS {
        let at = sidecars[number % 2].as_ref().unwrap().addr;
        let begun = call(
            at,
            &format!("team-{number}"),
            "POST /openai/v1/responses",
            r#"{"model":"team-r","input":"Hi","background":true}"#,
        );
        assert_eq!(begun.unwrap()["status"], "in_progress");
        poll(at, "poller", number).unwrap();
    }
    assert_eq!(service.begun.load(Ordering::SeqCst), WORKS);
    let addrs = std::sync::Mutex::new(sidecars.each_ref().map(|sidecar| sidecar.as_ref().unwrap().addr));
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for poller in 0..POLLERS {
            let (addrs, stop) = (&addrs, &stop);
            scope.spawn(move || {
                let mut number = poller * WORKS / POLLERS;
                while !stop.load(Ordering::SeqCst) {
                    for at in *addrs.lock().unwrap() {
                        let _ = poll(at, "poller", number % WORKS);
                    }
                    number += 1;
                }
            });
        }
        service.is_over.store(true, Ordering::SeqCst);
        for kill in 0..KILLS {
            std::thread::sleep(random.time(LIFE_MIN, LIFE_MAX));
            let at = kill % 2;
            sidecars[at].take().unwrap().kill();
            let again = Sidecar::start(service.addr, &ledgers[at], &[]);
            addrs.lock().unwrap()[at] = again.addr;
            sidecars[at] = Some(again);
        }
        stop.store(true, Ordering::SeqCst);
    });
    // Everybody sees every bill at the end, and once more.
    for _ in 0..2 {
        for (number, sidecar) in
            (0..WORKS).flat_map(|number| sidecars.iter().map(move |sidecar| (number, sidecar)))
        {
            poll(sidecar.as_ref().unwrap().addr, "poller", number).unwrap();
        }
    }
    for (sidecar, ledger) in sidecars.into_iter().flatten().zip(&ledgers) {
        assert_eq!(sidecar.stop().0, Some(0));
        verified(ledger);
    }
    let mut own = 0;
    for ledger in &ledgers {
        let (announced, bills) = by_id(ledger);
        assert_eq!(bills.len(), WORKS, "a bill for each id, announced here or not");
        for (id, bill) in &bills {
            let number: u64 = id.strip_prefix("resp_").unwrap().parse().unwrap();
            let (data, (input, output)) = (&bill["data"], tokens(number));
            assert_eq!(
                (&data["tokens"]["input"], &data["tokens"]["output"]),
                (&input.into(), &output.into())
            );
            let begun_here = announced.contains_key(id);
            let payer = if begun_here { format!("team-{number}") } else { "poller".to_owned() };
            assert_eq!(data["caller"]["id"], payer, "{bill}");
            let deployment = if begun_here { "team-r".into() } else { Value::Null };
            assert_eq!(data["target"]["deployment"], deployment, "{bill}");
            own += usize::from(begun_here);
        }
    }
    assert_eq!(own, WORKS, "each was announced once, long before anybody died");
    let lines = dir.path().join("events.jsonl");
    std::fs::write(
        &lines,
        ledgers.iter().flat_map(|ledger| event_lines(ledger)).map(|line| line + "\n").collect::<String>(),
    )
    .unwrap();
    let said = verified_together(&lines);
    assert!(said.contains("200 bills were seen by more than one ledger: each counts once"), "{said}");
    let options = ReportOptions::of(Input::Files(lines), vec![GroupBy::Model]);
    let report = report(&options).unwrap();
    let (input, output) =
        (0..WORKS as u64).map(tokens).fold((0, 0), |sum, more| (sum.0 + more.0, sum.1 + more.1));
    assert_eq!((report.total.get("input"), report.total.get("output")), (Some(input), Some(output)));
    assert_eq!(report.repeated_bills, WORKS as u64);
}

/// Lines of an output of some 200 MB, and the bytes of text in each.
const OUTPUT_LINES: u64 = 800;
const LINE_TEXT_BYTES: usize = 256 << 10;

/// Bytes that the sidecar may hold of it.
const OUTPUT_MEMORY_BYTES_MAX: usize = 16 << 20;

fn line(number: u64) -> String {
    let usage = json!({"prompt_tokens": number, "completion_tokens": 2 * number, "total_tokens": 3 * number});
    let choice = json!({"index": 0, "finish_reason": "stop",
        "message": {"role": "assistant", "content": "a \"word\"\n".repeat(LINE_TEXT_BYTES / 9)}});
    let body = json!({"id": format!("chatcmpl-{number}"), "model": "gpt-4o-2024-11-20", "choices": [choice], "usage": usage});
    json!({"custom_id": format!("task-{number}"), "response": {"status_code": 200, "body": body}, "error": null}).to_string() + "\n"
}

fn batches(request: &Message, to: &mut TcpStream) -> io::Result<()> {
    let batch = |status: &str, file: Value| json!({"id": "batch_1", "object": "batch", "status": status, "model": null, "usage": null, "output_file_id": file});
    let lines = (1..=OUTPUT_LINES).map(line);
    match request.first_line().rsplit_once(' ').unwrap().0 {
        "POST /openai/v1/batches" => send(to, &batch("validating", Value::Null)),
        "GET /openai/v1/batches/batch_1" => send(to, &batch("completed", "file-2".into())),
        part if request.field("range").is_some() => {
            assert!(part.ends_with("/content"));
            let first = line(1);
            write!(to, "HTTP/1.1 206 Partial Content\r\nContent-Length: {}\r\n\r\n{first}", first.len())
        }
        _ => {
            to.write_all(
                upstream::STREAM_HEAD.replace("text/event-stream", "application/octet-stream").as_bytes(),
            )?;
            lines.into_iter().try_for_each(|line| upstream::write_chunk(to, line.as_bytes()))?;
            upstream::write_end(to)
        }
    }
}

#[test]
fn a_batch_is_billed_by_its_output_of_200_megabytes_in_constant_memory() {
    let service = upstream::start(Arc::new(batches));
    let dir = tempfile::tempdir().unwrap();
    let ledger = dir.path().join("ledger");
    let sidecar = Sidecar::start(service, &ledger, &[]);
    call(sidecar.addr, "owner", "POST /openai/v1/batches", "{}").unwrap();
    call(sidecar.addr, "poller", "GET /openai/v1/batches/batch_1", "").unwrap();
    let before = status_bytes(sidecar.pid(), "VmRSS");
    let download = |range: &str| {
        let mut wire = connect(sidecar.addr);
        let head = format!(
            "GET /openai/v1/files/file-2/content HTTP/1.1\r\nHost: gw\r\n{range}Connection: close\r\n\r\n"
        );
        wire.get_mut().write_all(head.as_bytes()).unwrap();
        read_head(&mut wire).unwrap().unwrap();
        let mut bytes = 0;
        while let read = wire.fill_buf().unwrap().len()
            && read > 0
        {
            wire.consume(read);
            bytes += read;
        }
        bytes
    };
    // A part of it settles nothing, nor does who leaves in its midst.
    download("Range: bytes=0-99\r\n");
    let mut cut = connect(sidecar.addr);
    cut.get_mut().write_all(b"GET /openai/v1/files/file-2/content HTTP/1.1\r\nHost: gw\r\n\r\n").unwrap();
    cut.fill_buf().unwrap();
    drop(cut);
    let bytes = download("");
    assert!(bytes > 200_000_000, "{bytes} bytes");
    download("");
    let after = status_bytes(sidecar.pid(), "VmHWM");
    assert!(after < before + OUTPUT_MEMORY_BYTES_MAX, "{before} bytes before, {after} at most");
    let bill = wait_for("the bill", || usage_events(&ledger).into_iter().nth(1));
    let (data, sum) = (&bill["data"], OUTPUT_LINES * (OUTPUT_LINES + 1) / 2);
    assert_eq!(
        (&data["tokens"]["input"], &data["tokens"]["output"]),
        (&sum.into(), &(2 * sum).into()),
        "{bill}"
    );
    assert_eq!(
        (&data["caller"]["id"], &data["target"]["model"]),
        (&"owner".into(), &"gpt-4o-2024-11-20".into())
    );
    assert_eq!(
        (&data["ids"]["response_id"], &data["accounting"]["deferred"]),
        (&"batch_1".into(), &true.into())
    );
    assert_eq!(sidecar.stop().0, Some(0));
    verified(&ledger);
    let ids: HashSet<String> = usage_events(&ledger).iter().map(|event| event["id"].to_string()).collect();
    assert_eq!(ids.len(), 2, "the batch is announced once and billed once");
}
