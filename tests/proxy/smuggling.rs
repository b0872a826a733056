//! What attackers send to make two readers see two requests. Nothing hidden may reach the service as a
//! request of its own, and where a message's end is in doubt the connection is closed.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, channel};

use crate::rig::{Rig, Script, Setup};

/// The request that must never arrive by itself.
const HIDDEN: &str = "GET /hidden HTTP/1.1\r\nHost: gw\r\n\r\n";

/// What becomes of the caller's connection.
#[derive(Clone, Copy, Debug, PartialEq)]
enum After {
    Closed,
    /// It serves another request.
    Open,
}
use After::{Closed, Open};

struct Vector {
    name: &'static str,
    sent: String,
    /// Target and body of the one request that the service sees; `None`: it sees none.
    seen: Option<(&'static str, &'static str)>,
    /// The status that the caller gets; 0: closed without one.
    status: u16,
    after: After,
}

/// A POST to `/x` with these fields.
fn with(fields: &str, body: &str) -> String {
    format!("POST /x HTTP/1.1\r\nHost: gw\r\n{fields}\r\n\r\n{body}")
}

/// Refused before the service hears of it.
fn refused(name: &'static str, sent: impl Into<String>, status: u16) -> Vector {
    Vector { name, sent: sent.into(), seen: None, status, after: Closed }
}

/// Passed on, as this request.
fn passed(name: &'static str, sent: String, seen: (&'static str, &'static str), after: After) -> Vector {
    Vector { name, sent, seen: Some(seen), status: 200, after }
}

fn lengths() -> Vec<Vector> {
    let chunks = format!("0\r\n\r\n{HIDDEN}");
    let both = |fields| with(fields, &format!("2\r\nhi\r\n0\r\n\r\n{HIDDEN}"));
    vec![
        passed("CL.TE", both("Content-Length: 6\r\nTransfer-Encoding: chunked"), ("/x", "hi"), Closed),
        passed("TE.CL", both("Transfer-Encoding: chunked\r\nContent-Length: 6"), ("/x", "hi"), Closed),
        passed(
            "CL.TE, length 0",
            both("Content-Length: 0\r\nTransfer-Encoding: chunked"),
            ("/x", "hi"),
            Closed,
        ),
        refused("two lengths that differ", with("Content-Length: 0\r\nContent-Length: 36", HIDDEN), 400),
        passed(
            "two lengths that agree",
            with("Content-Length: 2\r\nContent-Length: 2", "hi"),
            ("/x", "hi"),
            Open,
        ),
        refused("a list of lengths", with("Content-Length: 2, 2", "hi"), 400),
        refused("length +2", with("Content-Length: +2", "hi"), 400),
        refused("length -1", with("Content-Length: -1", "hi"), 400),
        refused("length 0x2", with("Content-Length: 0x2", "hi"), 400),
        refused("length of two words", with("Content-Length: 2 3", "hi"), 400),
        refused("no length at all", with("Content-Length:", HIDDEN), 400),
        refused("a length over 64 bits", with("Content-Length: 18446744073709551618", "hi"), 400),
        refused("space before the colon", with("Content-Length : 36", HIDDEN), 400),
        refused("tab before the colon", with("Transfer-Encoding\t: chunked", &chunks), 400),
        refused("a folded line", with("A: b\r\n Transfer-Encoding: chunked", &chunks), 400),
        refused("a first line that is folded", with(" Transfer-Encoding: chunked", &chunks), 400),
        refused("a zero byte", with("Transfer-Encoding: chun\0ked", &chunks), 400),
        refused("a carriage return alone", with("A: b\rTransfer-Encoding: chunked", &chunks), 400),
        refused("a vertical tab", with("Transfer-Encoding: \u{b}chunked", &chunks), 400),
        refused("a line without colon", with("Content-Length 36", HIDDEN), 400),
        passed(
            "a GET with a body",
            format!("GET /x HTTP/1.1\r\nHost: gw\r\nContent-Length: {}\r\n\r\n{HIDDEN}", HIDDEN.len()),
            ("/x", HIDDEN),
            Open,
        ),
    ]
}

fn codings() -> Vec<Vector> {
    let chunks = format!("0\r\n\r\n{HIDDEN}");
    vec![
        refused(
            "TE.TE, the second unknown",
            with("Transfer-Encoding: chunked\r\nTransfer-Encoding: cow", &chunks),
            400,
        ),
        refused(
            "TE.TE, the first unknown",
            with("Transfer-Encoding: cow\r\nTransfer-Encoding: chunked", &chunks),
            501,
        ),
        refused("xchunked", with("Transfer-Encoding: xchunked", &chunks), 400),
        refused("chunked in quotes", with("Transfer-Encoding: \"chunked\"", &chunks), 400),
        refused("chunked, identity", with("Transfer-Encoding: chunked, identity", &chunks), 400),
        refused("identity, chunked", with("Transfer-Encoding: identity, chunked", &chunks), 501),
        refused("chunked twice", with("Transfer-Encoding: chunked, chunked", &chunks), 501),
        refused("gzip, chunked", with("Transfer-Encoding: gzip, chunked", &chunks), 501),
        refused(
            "chunked in HTTP/1.0",
            format!("POST /x HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n{chunks}"),
            400,
        ),
        passed(
            "chunked behind a tab, in capitals",
            with("TRANSFER-ENCODING:\tCHUNKED", "2\r\nhi\r\n0\r\n\r\n"),
            ("/x", "hi"),
            Open,
        ),
    ]
}

fn chunks() -> Vec<Vector> {
    let chunked = |body: &str| with("Transfer-Encoding: chunked", &format!("{body}{HIDDEN}"));
    let broken = |name, body: &str| refused(name, chunked(body), 400);
    vec![
        broken("a chunk of 0x2", "0x2\r\nhi\r\n0\r\n\r\n"),
        broken("a chunk of -2", "-2\r\nhi\r\n0\r\n\r\n"),
        broken("a chunk of 2^68", "100000000000000002\r\nhi\r\n0\r\n\r\n"),
        broken("a chunk that is longer than it says", "2\r\nhi!\r\n0\r\n\r\n"),
        broken("a chunk of no size", "\r\nhi\r\n0\r\n\r\n"),
        broken("chunks by line feeds", "2\nhi\n0\n\n"),
        broken("a line feed in an extension", "2;a\nb\r\nhi\r\n0\r\n\r\n"),
        passed(
            "trailers that frame",
            with(
                "Transfer-Encoding: chunked",
                "2\r\nhi\r\n0\r\nContent-Length: 36\r\nTransfer-Encoding: chunked\r\nX-Apim-Subscription-Id: forged\r\n\r\n",
            ),
            ("/x", "hi"),
            Open,
        ),
        passed(
            "an extension",
            with("Transfer-Encoding: chunked", "2;a=\"b\"\r\nhi\r\n0\r\n\r\n"),
            ("/x", "hi"),
            Open,
        ),
    ]
}

fn lines_and_names() -> Vec<Vector> {
    let get = |line: &str| format!("{line}\r\nHost: gw\r\n\r\n");
    vec![
        refused("two Hosts", "GET /x HTTP/1.1\r\nHost: gw\r\nHost: other\r\n\r\n", 400),
        refused("no Host", "GET /x HTTP/1.1\r\n\r\n", 400),
        passed("another host in the target", get("GET http://other.example/x HTTP/1.1"), ("/x", ""), Open),
        passed(
            "line ends in percent",
            get("GET /x%0d%0aGET%20/hidden HTTP/1.1"),
            ("/x%0d%0aGET%20/hidden", ""),
            Open,
        ),
        refused("a space in the target", get("GET /x GET /hidden HTTP/1.1"), 400),
        refused("CONNECT", format!("{}{HIDDEN}", get("CONNECT other.example:443 HTTP/1.1")), 405),
        refused("HTTP/0.9", get("GET /x"), 400),
        refused("HTTP/2 in clear", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 0),
        passed(
            "Connection names the framing",
            with("Connection: content-length, host\r\nContent-Length: 2", "hi"),
            ("/x", "hi"),
            Open,
        ),
        passed(
            "an upgrade to HTTP/2",
            get(
                "GET /x HTTP/1.1\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AA",
            ),
            ("/x", ""),
            Open,
        ),
        refused("garbage behind a message", with("Content-Length: 2", "hiXXXX\r\n\r\n"), 0),
    ]
}

/// A proxy before a service that says what it gets.
fn rig() -> (Rig, Receiver<String>) {
    let (tell, told) = channel();
    let script = Script::start(move |mut wire, _| {
        loop {
            let got = wire.message();
            if got.head.is_empty() || got.broken {
                return;
            }
            assert_eq!((got.fields("host").len(), got.fields("upgrade").len()), (1, 0));
            assert!(!got.head.contains("forged"));
            tell.send(format!("{} {}", got.target(), String::from_utf8_lossy(&got.body))).unwrap();
            wire.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
        }
    });
    (Setup::to(script.addr).start(), told)
}

/// Sends one, and says what is wrong with what became of it.
fn attack(rig: &Rig, told: &Receiver<String>, vector: &Vector) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut wire = rig.send(&vector.sent);
    let mut status = 0;
    let head = wire.head();
    if !head.is_empty() {
        status = head.split(' ').nth(1).unwrap().parse().unwrap();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: ").map(str::to_owned));
        wire.take(length.map_or(0, |length| length.parse().unwrap()));
    }
    let mut expected: Vec<String> =
        vector.seen.iter().map(|(target, body)| format!("{target} {body}")).collect();
    if vector.name == "garbage behind a message" {
        // The message is served; what follows it is answered with a refusal of its own.
        expected.push("/x hi".to_owned());
        let refusal = wire.head();
        status = if status == 200 && refusal.starts_with("HTTP/1.1 400") { 0 } else { 1 };
        wire.rest();
    } else if vector.after == Open {
        wire.send("GET /next HTTP/1.1\r\nHost: gw\r\n\r\n");
        let next = wire.message();
        if next.status() != 200 {
            wrong.push(format!("the connection does not go on: {}", next.head));
        }
        expected.push("/next ".to_owned());
    } else {
        let rest = wire.rest();
        if !rest.is_empty() {
            wrong.push(format!("more came: {}", String::from_utf8_lossy(&rest)));
        }
    }
    let seen: Vec<String> = told.try_iter().collect();
    if seen != expected {
        wrong.push(format!("the service saw {seen:?}, not {expected:?}"));
    }
    if status != vector.status {
        wrong.push(format!("the caller got {status}, not {}", vector.status));
    }
    let after = if vector.after == Open { "open" } else { "closed" };
    println!("{:<38} {status:>3}  {after:<6}  {}", vector.name, seen.join(" | ").escape_debug());
    wrong.iter().map(|what| format!("{}: {what}", vector.name)).collect()
}

#[test]
fn case_54_no_vector_brings_a_second_request_to_the_service() {
    let (rig, told) = rig();
    let vectors: Vec<Vector> =
        [lengths(), codings(), chunks(), lines_and_names()].into_iter().flatten().collect();
    assert!(vectors.len() >= 20);
    println!("{:<38} got  then    what the service saw", "what was sent");
    let mut wrong = Vec::new();
    for vector in &vectors {
        let became = catch_unwind(AssertUnwindSafe(|| attack(&rig, &told, vector)));
        wrong.extend(became.unwrap_or_else(|_| vec![format!("{}: it goes on for ever", vector.name)]));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    println!("{} vectors", vectors.len());
}

#[test]
fn case_54_a_body_that_nobody_asked_for_is_no_request() {
    // The service refuses before it has seen the body; what then comes is still that body.
    let (tell, told) = channel();
    let script = Script::start(move |mut wire, _| {
        tell.send(wire.head()).unwrap();
        wire.send("HTTP/1.1 401 Unauthorized\r\nContent-Length: 2\r\n\r\nno");
        let more = wire.head();
        if !more.is_empty() {
            tell.send(more).unwrap();
        }
    });
    let rig = Setup::to(script.addr).start();
    for _ in 0..2 {
        let (length, expect) = (HIDDEN.len(), "Expect: 100-continue\r\n");
        let mut wire =
            rig.send(format!("POST /x HTTP/1.1\r\nHost: gw\r\n{expect}Content-Length: {length}\r\n\r\n"));
        assert!(wire.head().starts_with("HTTP/1.1 401"));
        assert_eq!(wire.take(2), b"no");
        let _ = std::io::Write::write_all(&mut wire.tcp, HIDDEN.as_bytes());
        wire.closed();
        assert!(told.recv().unwrap().starts_with("POST /x"));
    }
    rig.heard.calls(2);
    drop(rig);
    let more: Vec<String> = told.try_iter().filter(|head| head.contains("/hidden ")).collect();
    assert_eq!(more, [""; 0]);
}

#[test]
fn an_answer_cannot_smuggle_either() {
    // What a service sends behind its answer is nobody's answer.
    let forged = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nforged";
    for first in [
        format!("HTTP/1.1 204 No Content\r\nContent-Length: {}\r\n\r\n{forged}", forged.len()),
        format!("HTTP/1.1 304 Not Modified\r\nTransfer-Encoding: chunked\r\n\r\n{forged}"),
        format!("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n{forged}"),
    ] {
        let script = Script::start(move |mut wire, n| {
            wire.message();
            if n > 0 {
                return wire.send("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nreal");
            }
            wire.send(&first);
            wire.rest();
        });
        let rig = Setup::to(script.addr).start();
        let mut wire = rig.connect();
        wire.send(crate::rig::post("{}"));
        wire.bodiless();
        wire.send(crate::rig::post("{}"));
        assert_eq!(wire.message().body, b"real");
    }
}
