//! Calls of every surface, and the events that they must have. Each line of `fixtures/surfaces` is a case: its `exchanges`,
//! one after the other, and what it may `expect`: a part of each of its events, in any order. There `null` means null or absent,
//! and `reasons_have` names some of the `reasons`.
//!
//! An exchange is a `request` and its `response` (`json`, `text`, or the `chunks` of a stream, which may be `cut` before its
//! last chunk), or a `request` and the steps of a `websocket`, or a `restart`. One may come `after` so many of the case's events
//! are stored. All bytes must arrive as they were sent.

use std::io::{self, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;

use serde_json::Value;

use super::http::{Message, connect, read_chunk, read_head};
use super::sessions::SWITCHED;
use super::sidecar::{Sidecar, usage_events, verified};
use super::support::wait::eventually;
use super::support::websocket::{CLOSE, MASKED_CLOSE, masked_text, text};
use super::upstream::{self, write_chunk, write_end};

const FILES: [&str; 3] = [
    include_str!("../../fixtures/surfaces/calls.jsonl"),
    include_str!("../../fixtures/surfaces/later.jsonl"),
    include_str!("../../fixtures/surfaces/sessions.jsonl"),
];

/// The caller of each case is its name.
const ARGUMENTS: [&str; 2] = ["--caller-sources", "header:x-caller-id"];

/// The mask of callers' frames.
const MASK: [u8; 4] = [7, 0, 255, 19];

/// The fields of a handshake beside those of any request.
const UPGRADE: &str = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
                       Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

fn cases(is_wanted: impl Fn(&Value) -> bool) -> Vec<Value> {
    let lines = FILES.iter().flat_map(|file| file.lines());
    lines.map(|line| serde_json::from_str(line).unwrap()).filter(is_wanted).collect()
}

fn list<'a>(of: &'a Value, name: &str) -> &'a [Value] {
    of[name].as_array().map_or(&[], Vec::as_slice)
}

fn string<'a>(of: &'a Value, name: &str) -> &'a str {
    of[name].as_str().unwrap_or_else(|| panic!("no {name} in {of}"))
}

fn restarts(case: &Value) -> bool {
    list(case, "exchanges").iter().any(|exchange| exchange.get("restart").is_some())
}

/// The whole body of a request or of a response.
fn body(of: &Value) -> Vec<u8> {
    let chunks = list(of, "chunks").iter().map(|chunk| chunk.as_str().unwrap());
    let text = || of["text"].as_str().unwrap_or("").to_owned();
    let whole = of.get("json").map_or_else(text, Value::to_string);
    chunks.fold(whole, |whole, chunk| whole + chunk).into_bytes()
}

fn fields(of: &Value) -> String {
    let fields = of["headers"].as_object().into_iter().flatten();
    fields.map(|(name, value)| format!("{name}: {}\r\n", value.as_str().unwrap())).collect()
}

/// A service that answers each request as the exchange says that it names.
fn service(cases: Vec<Value>) -> SocketAddr {
    upstream::start(Arc::new(move |request: &Message, to: &mut TcpStream| {
        let (asked, number) = request.field("x-exchange").unwrap().rsplit_once('/').unwrap();
        let case = cases.iter().find(|case| string(case, "name") == asked).unwrap();
        let exchange = &list(case, "exchanges")[number.parse::<usize>().unwrap()];
        assert_eq!(request.target(), string(&exchange["request"], "target"));
        assert!(request.body == body(&exchange["request"]), "{asked}: other bytes");
        match exchange.get("websocket") {
            Some(session) => {
                to.write_all(SWITCHED)?;
                hold(list(session, "steps"), "server", to)
            }
            None => answer(&exchange["response"], to),
        }
    }))
}

fn answer(response: &Value, to: &mut TcpStream) -> io::Result<()> {
    let status = response["status"].as_u64().unwrap_or(200);
    let is_cut = response["cut"] == true;
    write!(to, "HTTP/1.1 {status} X\r\n{}", fields(response))?;
    if response.get("chunks").is_none() {
        let body = body(response);
        write!(to, "Content-Length: {}\r\n\r\n", body.len())?;
        return to.write_all(&body);
    }
    write!(to, "Transfer-Encoding: chunked\r\n\r\n")?;
    for chunk in list(response, "chunks") {
        write_chunk(to, chunk.as_str().unwrap().as_bytes())?;
    }
    if is_cut { Err(io::ErrorKind::ConnectionAborted.into()) } else { write_end(to) }
}

/// The frames of a step, as its side sends them; none of one that breaks off.
fn frames(step: &Value) -> Vec<u8> {
    let is_client = step["from"] == "client";
    if step.get("close").is_some() {
        return if is_client { MASKED_CLOSE } else { CLOSE }.to_vec();
    }
    if step.get("cut").is_some() {
        return Vec::new();
    }
    let message = String::from_utf8(body(step)).unwrap();
    if is_client { masked_text(&message, MASK) } else { text(&message) }
}

/// One side of a session: it says what is its own, and hears the rest. An error ends the connection.
/// Where the other side cuts it, this one stays until it hears that.
fn hold(steps: &[Value], side: &str, wire: &mut (impl Read + Write)) -> io::Result<()> {
    for step in steps {
        let frames = frames(step);
        if step["from"] == side {
            wire.write_all(&frames)?;
        } else if step.get("cut").is_some() {
            let mut heard = Vec::new();
            let _ended_or_reset = wire.read_to_end(&mut heard);
            assert_eq!(String::from_utf8_lossy(&heard), "", "{step}");
        } else {
            let mut heard = vec![0; frames.len()];
            wire.read_exact(&mut heard)?;
            assert_eq!(String::from_utf8_lossy(&heard), String::from_utf8_lossy(&frames), "{step}");
        }
        if step.get("cut").is_some() {
            break;
        }
    }
    Err(io::ErrorKind::ConnectionAborted.into())
}

/// A connection that writes as it is, and reads with a buffer.
struct Duplex(BufReader<TcpStream>);

impl Read for Duplex {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.0.read(into)
    }
}

impl Write for Duplex {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.get_mut().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.get_mut().flush()
    }
}

/// Makes the call of an exchange, and holds its answer against what the service sent.
fn call(sidecar: SocketAddr, case: &str, number: usize, exchange: &Value) {
    let (request, response) = (&exchange["request"], &exchange["response"]);
    let mut wire = connect(sidecar);
    let body_sent = body(request);
    let session = exchange.get("websocket");
    let (method, target) = (string(request, "method"), string(request, "target"));
    let own =
        format!("Host: gateway\r\nx-caller-id: {case}\r\nx-exchange: {case}/{number}\r\n{}", fields(request));
    let framing = match session {
        Some(_) => UPGRADE.to_owned(),
        None => format!("Content-Length: {}\r\n", body_sent.len()),
    };
    let head = format!("{method} {target} HTTP/1.1\r\n{own}{framing}\r\n");
    wire.get_mut().write_all(&[head.as_bytes(), &body_sent].concat()).unwrap();
    let answered = read_head(&mut wire).unwrap().unwrap();
    if let Some(session) = session {
        assert_eq!(answered.status(), 101, "{case}");
        hold(list(session, "steps"), "client", &mut Duplex(wire)).unwrap_err();
        return;
    }
    assert_eq!(u64::from(answered.status()), response["status"].as_u64().unwrap_or(200), "{case}");
    let (received, is_cut) = rest(&answered, &mut wire);
    assert!(received == body(response), "{case}: other bytes in the answer to {number}");
    assert_eq!(is_cut, response["cut"] == true, "{case}: the end of the answer to {number}");
}

/// The body of an answer, and whether it breaks off.
fn rest(head: &Message, wire: &mut BufReader<TcpStream>) -> (Vec<u8>, bool) {
    let mut body = Vec::new();
    if let Some(length) = head.field("content-length") {
        body.resize(length.parse().unwrap(), 0);
        let is_cut = wire.read_exact(&mut body).is_err();
        return (body, is_cut);
    }
    loop {
        match read_chunk(wire) {
            Ok(Some(chunk)) => body.extend_from_slice(&chunk),
            Ok(None) => return (body, false),
            Err(_) => return (body, true),
        }
    }
}

/// The places where an event is not what is expected.
fn differences(at: &str, wanted: &Value, found: &Value) -> Vec<String> {
    let Some(members) = wanted.as_object() else {
        return if wanted == found { vec![] } else { vec![format!("{at}: {found} instead of {wanted}")] };
    };
    let differ = |(name, wanted): (&String, &Value)| match &**name {
        "reasons_have" => {
            let missing =
                wanted.as_array().unwrap().iter().filter(|reason| !list(found, "reasons").contains(reason));
            missing.map(|reason| format!("{at}: {reason} is missing")).collect()
        }
        name => differences(&format!("{at}.{name}"), wanted, &found[name]),
    };
    members.iter().flat_map(differ).collect()
}

/// What is wrong with the events of a case.
fn faults(case: &Value, events: &[Value]) -> Vec<String> {
    let caller = string(case, "name");
    let mut left: Vec<_> =
        events.iter().map(|event| &event["data"]).filter(|data| data["caller"]["id"] == caller).collect();
    let expected = list(case, "expect");
    let mut faults = Vec::new();
    if left.len() != expected.len() {
        faults.push(format!("{caller}: {} events instead of {}", left.len(), expected.len()));
    }
    for wanted in expected {
        let ranked = left.iter().map(|data| differences("", wanted, data)).enumerate();
        let Some((at, differ)) = ranked.min_by_key(|(_, differ)| differ.len()) else { break };
        left.swap_remove(at);
        faults.extend(differ.into_iter().map(|fault| format!("{caller}: {fault}")));
    }
    faults
}

/// Plays cases at one sidecar, which is started anew where one says so, and returns its events.
fn play(cases: &[Value], ledger: &Path) -> Vec<Value> {
    let service = service(cases.to_vec());
    let start = || Sidecar::start(service, ledger, &ARGUMENTS);
    let mut sidecar = start();
    for case in cases {
        for (number, exchange) in list(case, "exchanges").iter().enumerate() {
            if let Some(stored) = exchange["after"].as_u64() {
                let is_own = |event: &&Value| event["data"]["caller"]["id"] == case["name"];
                let count = || usage_events(ledger).iter().filter(is_own).count() as u64;
                eventually("the events", || count() == stored);
            }
            let Some(how) = exchange["restart"].as_str() else {
                call(sidecar.addr, string(case, "name"), number, exchange);
                continue;
            };
            match how {
                "kill" => drop(sidecar),
                _ => assert_eq!(sidecar.stop().0, Some(0)),
            }
            sidecar = start();
        }
    }
    assert_eq!(sidecar.stop().0, Some(0));
    verified(ledger);
    usage_events(ledger)
}

fn hold_to_their_word(cases: &[Value]) {
    let dir = tempfile::tempdir().unwrap();
    let events = play(cases, &dir.path().join("ledger"));
    let faults: Vec<_> = cases.iter().flat_map(|case| faults(case, &events)).collect();
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn each_surface_has_the_events_that_its_cases_say() {
    let cases = cases(|case| !restarts(case));
    assert!(cases.len() > 150, "{}", cases.len());
    hold_to_their_word(&cases);
}

#[test]
fn work_that_goes_on_has_one_bill_across_restarts() {
    let cases = cases(restarts);
    assert!(!cases.is_empty());
    cases.chunks(1).for_each(hold_to_their_word);
}
