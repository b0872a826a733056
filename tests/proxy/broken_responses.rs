//! The service breaks off at every byte of its answer: the caller's message is broken every time, and
//! what came before the break arrives.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::{Duration, Instant};

use metering::usage::Outcome;
use rustls::{ServerConnection, StreamOwned};

use crate::certs::{Authority, server};
use crate::rig::{CHUNKED, PATIENCE, Rig, Script, Setup, Wire, post};
use crate::support::fake_service;
use crate::upstream_tls::trusting;

/// Offsets between two cuts; all of them with `TOKENWEIR_LONG=1`.
fn stride() -> usize {
    if crate::skip::long() { 1 } else { 23 }
}

/// An answer, and how much of its head and of its body lies before each of its bytes.
struct Answer {
    wire: Vec<u8>,
    head_bytes: usize,
    /// Bytes of the body within the first `n` bytes of the wire.
    body_bytes: Vec<usize>,
    body: Vec<u8>,
}

impl Answer {
    /// From a head and pieces: bytes, and whether they are of the body.
    fn new(head: &str, pieces: &[(Vec<u8>, bool)]) -> Answer {
        let mut answer = Answer {
            wire: head.into(),
            head_bytes: head.len(),
            body_bytes: vec![0; head.len()],
            body: Vec::new(),
        };
        for (bytes, is_body) in pieces {
            for &byte in bytes {
                answer.body_bytes.push(answer.body.len());
                answer.wire.push(byte);
                if *is_body {
                    answer.body.push(byte);
                }
            }
        }
        answer
    }

    /// A chat stream whose chunks of `size` bytes have nothing to do with its events.
    fn chunked(size: usize, events: usize) -> Answer {
        let mut pieces = Vec::new();
        for chunk in stream(events).chunks(size) {
            pieces.push((format!("{:x};x=y\r\n", chunk.len()).into_bytes(), false));
            pieces.push((chunk.to_vec(), true));
            pieces.push((b"\r\n".to_vec(), false));
        }
        pieces.push((b"0\r\nX-Trailer: 1\r\n\r\n".to_vec(), false));
        Answer::new(CHUNKED, &pieces)
    }

    fn with_length(events: usize) -> Answer {
        let body = stream(events);
        let head = format!(
            "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        Answer::new(&head, &[(body, true)])
    }

    fn to_the_end(events: usize) -> Answer {
        Answer::new("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n", &[(stream(events), true)])
    }
}

/// A chat stream of so many events and its end mark.
fn stream(events: usize) -> Vec<u8> {
    let event = |n| {
        format!(
            "data: {{\"id\":\"c\",\"model\":\"gpt-4o\",\"choices\":[{{\"index\":0,\"delta\":{{\"content\":\"wörd {n}\"}}}}]}}\n\n"
        )
    };
    ((0..events).map(event).collect::<String>() + "data: [DONE]\n\n").into_bytes()
}

/// The number at the end of a target.
fn number(head: &str) -> usize {
    head.split(' ').nth(1).and_then(|target| target.rsplit('=').next()?.parse().ok()).unwrap()
}

/// Calls once for each cut, and holds the caller's message against what was sent before it.
/// `all`: every byte before the cut reaches the proxy.
fn cut_everywhere(rig: &Rig, answer: &Answer, from: usize, all: bool) -> usize {
    let cuts: Vec<usize> = (from..answer.wire.len()).step_by(stride()).collect();
    for &cut in &cuts {
        let request = post("{\"stream\":true}").replace("/completions", &format!("/completions?cut={cut}"));
        let got = rig.send(request).message();
        if got.status() == 502 && (cut < answer.head_bytes || !all) {
            continue;
        }
        assert_eq!(got.status(), 200, "cut at {cut}");
        assert!(cut >= answer.head_bytes, "half a head is no head: cut at {cut}");
        assert!(got.broken, "ended cleanly: cut at {cut}");
        let before = &answer.body[..answer.body_bytes[cut]];
        if all {
            assert_eq!(got.body, before, "cut at {cut}");
        } else {
            assert!(before.starts_with(&got.body), "cut at {cut}");
        }
    }
    cuts.len()
}

fn plain(answer: &Arc<Answer>, reset: bool) -> Rig {
    let answer = Arc::clone(answer);
    let script = Script::start(move |mut wire, _| {
        let message = wire.message();
        wire.send(&answer.wire[..number(&message.head)]);
        if reset {
            wire.reset();
        }
    });
    Setup::to(script.addr).start()
}

/// A TLS service that breaks off without saying so (no `close_notify`).
fn secure(answer: &Arc<Answer>) -> Rig {
    let authority = Authority::new("service");
    let (config, answer) = (Arc::new(server(&authority.issue(&["localhost"]))), Arc::clone(answer));
    let port = fake_service::serve(move |tcp| {
        let session = ServerConnection::new(Arc::clone(&config)).unwrap();
        break_off(&mut StreamOwned::new(session, tcp), &answer);
    })
    .port();
    let mut roots = tempfile::NamedTempFile::new().unwrap();
    roots.write_all(authority.pem.as_bytes()).unwrap();
    let tls = Some(trusting(roots.path()));
    Setup { tls, ..Setup::urls(vec![(None, format!("https://localhost:{port}"))]) }.start()
}

fn break_off(tls: &mut StreamOwned<ServerConnection, TcpStream>, answer: &Answer) {
    let mut seen = Vec::new();
    while !seen.ends_with(b"true}") {
        let mut bytes = [0; 4096];
        match tls.read(&mut bytes) {
            Ok(n) if n > 0 => seen.extend(&bytes[..n]),
            _ => return,
        }
    }
    let _ = tls.write_all(&answer.wire[..number(&String::from_utf8(seen).unwrap())]);
    let _ = tls.flush();
    tls.sock.shutdown(std::net::Shutdown::Write).unwrap();
}

#[test]
fn case_43_a_cut_at_any_byte_breaks_the_callers_message() {
    let (mut cuts, mut behind_the_end) = (0, 0);
    let began = Instant::now();
    for (answer, reset) in [
        (Answer::chunked(100, 30), false),
        (Answer::chunked(1, 2), false),
        (Answer::with_length(20), false),
        (Answer::with_length(8), true),
    ] {
        let answer = Arc::new(answer);
        let rig = plain(&answer, reset);
        let made = cut_everywhere(&rig, &answer, 0, !reset);
        for call in rig.heard.calls(made) {
            // What breaks off behind the end mark has lost nothing of the answer.
            let stream = &call.usage.stream;
            let outcome = if stream.done_seen { Outcome::Complete } else { Outcome::UpstreamError };
            assert_eq!(stream.outcome, outcome);
            behind_the_end += usize::from(stream.done_seen);
        }
        cuts += made;
    }
    assert!(behind_the_end > 0 && behind_the_end < cuts / 2, "{behind_the_end} of {cuts}");
    // Without a length, an end is an end: only a reset, or TLS that does not end, is a break.
    let answer = Arc::new(Answer::to_the_end(12));
    let rig = plain(&answer, true);
    cuts += cut_everywhere(&rig, &answer, answer.head_bytes, false);
    for answer in [Answer::to_the_end(20), Answer::chunked(50, 8)] {
        let answer = Arc::new(answer);
        cuts += cut_everywhere(&secure(&answer), &answer, 0, true);
    }
    println!("{cuts} cuts in {:.1} s, every one a broken message", began.elapsed().as_secs_f64());
}

#[test]
fn case_43_and_what_is_not_cut_is_whole() {
    for answer in [Answer::chunked(100, 30), Answer::chunked(1, 2), Answer::with_length(20)] {
        let answer = Arc::new(answer);
        let rig = plain(&answer, false);
        let whole = answer.wire.len();
        let got =
            rig.send(post("{}").replace("/completions", &format!("/completions?cut={whole}"))).message();
        assert!(!got.broken && got.body == answer.body);
        rig.heard.calls(1);
    }
}

#[test]
fn a_hang_up_reaches_the_service_at_once() {
    /// The middle of many, on a machine that does other things too.
    const GOAL: Duration = Duration::from_millis(100);
    const TIMES: usize = 100;
    let (left, hung_up) = channel();
    let script = Script::start(move |mut wire, _| {
        wire.message();
        wire.send(CHUNKED);
        wire.chunk("data: 1\n\n");
        wire.rest();
        left.send(Instant::now()).unwrap();
    });
    let rig = Setup::to(script.addr).start();
    let mut took: Vec<Duration> = (0..TIMES)
        .map(|_| {
            let mut wire: Wire = rig.send(post("{}"));
            wire.head();
            wire.read_chunk().unwrap();
            let began = Instant::now();
            wire.close();
            hung_up.recv_timeout(PATIENCE).expect("the service is not left") - began
        })
        .collect();
    took.sort();
    println!(
        "hang-up to the service: median {:?}, p99 {:?}, longest {:?}",
        took[TIMES / 2],
        took[TIMES * 99 / 100],
        took[TIMES - 1]
    );
    assert!(took[TIMES / 2] < GOAL, "{took:?}");
    for call in rig.heard.calls(TIMES) {
        assert_eq!(call.usage.stream.outcome, Outcome::ClientDisconnect);
    }
}
