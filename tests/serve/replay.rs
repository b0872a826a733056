//! Every recorded exchange through `serve`: whole, split at random, and byte by byte.
//!
//! The client must get the same bytes, and the event must say what `account` says of the same
//! line. The recordings are not part of the project; without them the test says so and passes.

use std::collections::HashMap;
use std::io::{self, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::sync::Arc;

use serde_json::{Value, json};

use super::http::{Message, connect, exchange, post};
use super::random::Random;
use super::sidecar::{Sidecar, binary, usage_events};
use super::support::recordings::recordings;
use super::upstream;

/// Bodies up to this size are also sent byte by byte.
const BYTEWISE_BYTES_MAX: usize = 8 * 1024;
/// Clients at a time.
const CLIENTS: usize = 8;

/// How the service cuts its answer.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Split {
    Whole,
    Random,
    Bytewise,
}

struct Case {
    line: Value,
    path: String,
    body: String,
    split: Split,
}

/// The cases of the lines on one side, and the lines as `account` takes them.
fn cases(lines: &[String], azure: bool) -> Vec<Case> {
    let mut cases = Vec::new();
    for line in lines {
        let mut value: Value = serde_json::from_str(line).unwrap();
        if value["azure"].as_bool() != Some(azure) {
            continue;
        }
        // The same text must reach both ways: whatever numbers or escapes it has.
        let raw: HashMap<&str, &serde_json::value::RawValue> = serde_json::from_str(line).unwrap();
        let body = raw["request"].get().to_owned();
        let api = value["api"].as_str().unwrap();
        let mut path = "/openai/v1/responses".to_owned();
        // Responses name their model in the body alone.
        if api != "responses" {
            let deployment =
                value["request"]["model"].as_str().unwrap_or("some-deployment").replace('/', "-");
            path = format!("/openai/deployments/{deployment}/{api}");
            value["deployment"] = json!(deployment);
        }
        if let Some(version) = value["api_version"].as_str() {
            path.push_str(&format!("?api-version={version}"));
        }
        let bytewise = value["response_kind"] == "sse"
            && value["response_body"].as_str().unwrap().len() <= BYTEWISE_BYTES_MAX;
        let splits = [Split::Whole, Split::Random].into_iter().chain(bytewise.then_some(Split::Bytewise));
        for split in splits {
            let line = with_own_work(&value, cases.len());
            cases.push(Case { line, path: path.clone(), body: body.clone(), split });
        }
    }
    cases
}

/// The line with an id of its own for the background response that it begins: the service gives none twice, and two
/// calls at once with one id are one piece of work with one bill.
fn with_own_work(line: &Value, number: usize) -> Value {
    let mut line = line.clone();
    if line["request"]["background"] != true {
        return line;
    }
    let body = line["response_body"].as_str().unwrap();
    let (_, from) = body.split_once("\"resp_").expect("the id of a response");
    let id = from.split_once('"').unwrap().0;
    let own = format!("{number:0>width$}", width = id.len());
    line["response_body"] = json!(body.replace(id, &own));
    line
}

fn answer(cases: &[Case], request: &Message, to: &mut TcpStream) -> io::Result<()> {
    let number: usize = request.field("x-case").unwrap().parse().unwrap();
    let case = &cases[number];
    assert_eq!(request.body, case.body.as_bytes(), "the request's bytes changed");
    let body = case.line["response_body"].as_str().unwrap().as_bytes();
    let kind = if case.line["response_kind"] == "sse" { "text/event-stream" } else { "application/json" };
    if case.split == Split::Whole {
        write!(to, "HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n\r\n", body.len())?;
        return to.write_all(body);
    }
    write!(to, "HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nTransfer-Encoding: chunked\r\n\r\n")?;
    let mut random = Random::seeded(number as u64);
    let mut rest = body;
    while !rest.is_empty() {
        let size = match case.split {
            Split::Bytewise => 1,
            _ => (1 + random.below(200)).min(rest.len()),
        };
        let (piece, after) = rest.split_at(size);
        upstream::write_chunk(to, piece)?;
        rest = after;
    }
    upstream::write_end(to)
}

/// Sends every case through a sidecar and returns the events by case.
fn replay(cases: Vec<Case>, end_of_turn: &str) -> (Arc<Vec<Case>>, HashMap<usize, Value>) {
    let cases = Arc::new(cases);
    let served = Arc::clone(&cases);
    let upstream = upstream::start(Arc::new(move |request, to| answer(&served, request, to)));
    let dir = tempfile::tempdir().unwrap();
    let sidecar = Sidecar::start(upstream, &dir.path().join("ledger"), &["--end-of-turn", end_of_turn]);
    std::thread::scope(|scope| {
        for client in 0..CLIENTS {
            let (cases, addr) = (&cases, sidecar.addr);
            scope.spawn(move || {
                let mut connection = connect(addr);
                for (number, case) in
                    cases.iter().enumerate().filter(|(number, _)| number % CLIENTS == client)
                {
                    let number = number.to_string();
                    let fields = [("x-case", number.as_str()), ("x-ms-client-request-id", number.as_str())];
                    let got = exchange(&mut connection, &post(&case.path, &fields, &case.body));
                    assert_eq!(got.status(), 200);
                    let sent = case.line["response_body"].as_str().unwrap();
                    assert!(
                        got.body == sent.as_bytes(),
                        "case {} {:?}: other bytes",
                        case.line["id"],
                        case.split
                    );
                }
            });
        }
    });
    let (code, log) = sidecar.stop();
    assert_eq!(code, Some(0), "{:?}", log.last());
    let mut events = HashMap::new();
    for event in usage_events(&dir.path().join("ledger")) {
        let number: usize = event["data"]["ids"]["client_request_id"].as_str().unwrap().parse().unwrap();
        assert!(events.insert(number, event).is_none(), "two events for one call");
    }
    (cases, events)
}

/// What `account` says of each case's line.
fn account(cases: &[Case], end_of_turn: &str) -> Vec<Value> {
    let mut child = Command::new(binary())
        .args(["account", "--end-of-turn", end_of_turn])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let lines: Vec<String> = cases.iter().map(with_raw_request).collect();
    let writer = std::thread::spawn(move || {
        for line in lines {
            writeln!(stdin, "{line}").unwrap();
        }
    });
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    assert!(output.status.success(), "account: {}", output.status);
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn with_raw_request(case: &Case) -> String {
    let mut line = case.line.clone();
    line.as_object_mut().unwrap().remove("request");
    let rest = line.to_string();
    format!("{{\"request\":{},{}", case.body, &rest[1..])
}

/// What must agree: the data without what only one of the two can know.
fn comparable(event: &Value) -> Value {
    let mut data = event["data"].clone();
    for key in ["ids", "timing", "reporter", "caller"] {
        data.as_object_mut().unwrap().remove(key);
    }
    data["target"].as_object_mut().unwrap().remove("resource");
    data
}

fn check(azure: bool, end_of_turn: &str) {
    let Some(lines) = recordings() else { return };
    let (cases, events) = replay(cases(lines, azure), end_of_turn);
    let said = account(&cases, end_of_turn);
    assert!(!cases.is_empty());
    assert_eq!(events.len(), cases.len(), "one event a call");
    assert_eq!(said.len(), cases.len());
    for (number, case) in cases.iter().enumerate() {
        let (ours, theirs) = (comparable(&events[&number]), comparable(&said[number]["event"]));
        assert_eq!(ours, theirs, "case {} {:?}", case.line["id"], case.split);
    }
    println!("{} exchanges replayed, azure {azure}", cases.len());
}

#[test]
fn recorded_azure_exchanges_pass_unchanged_and_count_as_account_says() {
    check(true, "1");
}

#[test]
fn recorded_openai_exchanges_pass_unchanged_and_count_as_account_says() {
    check(false, "0");
}
