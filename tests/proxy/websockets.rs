//! Connections that became WebSockets: how each session ends, and what its event says of it.

use std::io::Write;
use std::net::Shutdown;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Barrier, Mutex};
use std::time::Duration;

use metering::usage::{Api, Outcome, Quality, Source, Usage};

use crate::rig::{Rig, Script, Setup, Wire, eventually};

/// What one side does to end a session.
type End = fn(Wire);

const HANDSHAKE: &str = "GET /openai/v1/realtime?model=rt HTTP/1.1\r\nHost: gw\r\nConnection: Upgrade\r\n\
    Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
const SWITCHED: &str =
    "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";

/// A text and a close frame, as a service sends them and as a client does.
const TEXT: &[u8] = b"\x81\x05hello";
const CLOSE: &[u8] = b"\x88\x02\x03\xe8";
const MASKED_TEXT: &[u8] = b"\x81\x85\0\0\0\0hello";
const MASKED_CLOSE: &[u8] = b"\x88\x82\0\0\0\0\x03\xe8";

/// A session whose service does this once it has switched. What the sides agree on goes through
/// `told`.
fn session(
    setup: impl FnOnce(&mut Setup),
    service: impl Fn(Wire) + Send + Sync + 'static,
) -> (Rig, Wire, Script) {
    let script = Script::start(move |mut wire, _| {
        wire.head();
        wire.send(SWITCHED);
        service(wire);
    });
    let mut made = Setup::to(script.addr);
    setup(&mut made);
    let rig = made.start();
    let mut wire = rig.send(HANDSHAKE);
    assert_eq!(wire.bodiless().status(), 101);
    (rig, wire, script)
}

/// The only call's event: no response was seen in the session, and it costs nothing by itself.
fn ended(rig: &Rig) -> Outcome {
    let usage = only(rig);
    let accounting = &usage.accounting;
    assert_eq!((usage.tokens.input, usage.tokens.output), (Some(0), Some(0)));
    assert_eq!((accounting.input_source, accounting.output_source), (Source::Computed, Source::Computed));
    assert_eq!((accounting.input_quality, accounting.output_quality), (Quality::Exact, Quality::Exact));
    assert_eq!(accounting.reasons, ["input:billed_per_response", "output:billed_per_response"]);
    usage.stream.outcome
}

/// The only call's event, which is the session's.
fn only(rig: &Rig) -> Usage {
    let usage = rig.heard.calls(1).remove(0).usage;
    let counters = rig.accounts.counters();
    eventually("no call is counted as open", || counters.calls_open() == 0);
    assert_eq!((usage.target.api, usage.request.status), (Api::Realtime, 101));
    assert_eq!(usage.target.deployment.as_deref(), Some("rt"));
    usage
}

/// Nothing is known of its tokens, and nobody says otherwise.
fn unknown(usage: &Usage) {
    let accounting = &usage.accounting;
    assert_eq!((usage.tokens.input, usage.tokens.output), (None, None), "null is not 0");
    assert_eq!((accounting.input_source, accounting.output_source), (Source::Unknown, Source::Unknown));
    assert_eq!((accounting.input_quality, accounting.output_quality), (Quality::Unknown, Quality::Unknown));
    assert_eq!((accounting.computed_input, accounting.computed_output), (None, None));
}

/// Says one word to another thread.
fn word() -> (Sender<()>, Mutex<Receiver<()>>) {
    let (say, heard) = channel();
    (say, Mutex::new(heard))
}

fn hear(heard: &Mutex<Receiver<()>>) {
    heard.lock().unwrap().recv().unwrap();
}

#[test]
fn a_close_handshake_completes() {
    for callers in [true, false] {
        let (rig, mut wire, _script) = session(
            |_| {},
            move |mut wire| {
                wire.send(TEXT);
                if callers {
                    assert_eq!(wire.take(MASKED_CLOSE.len()), MASKED_CLOSE);
                    wire.send(CLOSE);
                } else {
                    wire.send(CLOSE);
                    assert_eq!(wire.take(MASKED_CLOSE.len()), MASKED_CLOSE);
                }
                wire.close(); // the server ends the connection (RFC 6455 7.1.1)
            },
        );
        assert_eq!(wire.take(TEXT.len()), TEXT);
        if callers {
            wire.send(MASKED_CLOSE);
            assert_eq!(wire.take(CLOSE.len()), CLOSE);
        } else {
            assert_eq!(wire.take(CLOSE.len()), CLOSE);
            wire.send(MASKED_CLOSE);
        }
        wire.closed();
        wire.close();
        assert_eq!(ended(&rig), Outcome::Complete);
    }
}

#[test]
fn what_comes_behind_a_close_frame_changes_nothing() {
    // The service resets right behind it: what it had said arrives.
    let (rig, mut wire, _script) = session(
        |_| {},
        |mut wire| {
            wire.take(MASKED_TEXT.len());
            wire.send([TEXT, CLOSE].concat());
            wire.reset();
        },
    );
    wire.send(MASKED_TEXT);
    assert_eq!(wire.rest(), [TEXT, CLOSE].concat());
    wire.close();
    assert_eq!(ended(&rig), Outcome::Complete);
    // So does the caller.
    let (rig, mut wire, _script) = session(|_| {}, |mut wire| drop(wire.rest()));
    wire.send([MASKED_TEXT, MASKED_CLOSE].concat());
    wire.reset();
    assert_eq!(ended(&rig), Outcome::Complete);
}

#[test]
fn both_close_at_once() {
    let at_once = Arc::new(Barrier::new(2));
    let together = Arc::clone(&at_once);
    let (rig, mut wire, _script) = session(
        |_| {},
        move |mut wire| {
            together.wait();
            wire.send(CLOSE);
            wire.rest();
        },
    );
    at_once.wait();
    wire.send(MASKED_CLOSE);
    assert_eq!(wire.take(CLOSE.len()), CLOSE);
    wire.close();
    assert_eq!(ended(&rig), Outcome::Complete);
}

#[test]
fn both_reset_at_once() {
    let at_once = Arc::new(Barrier::new(2));
    let together = Arc::clone(&at_once);
    let (rig, wire, _script) = session(
        |_| {},
        move |wire| {
            together.wait();
            wire.reset();
        },
    );
    at_once.wait();
    wire.reset();
    let outcome = ended(&rig);
    assert!(matches!(outcome, Outcome::ClientDisconnect | Outcome::UpstreamError), "{outcome:?}");
}

#[test]
fn a_caller_that_sends_no_more_with_nothing_begun_completes() {
    let (rig, mut wire, _script) = session(
        |_| {},
        |mut wire| {
            wire.send(TEXT);
            assert_eq!(wire.rest(), MASKED_TEXT, "the end is passed on");
            wire.send(TEXT); // and the other direction goes on
            wire.close();
        },
    );
    assert_eq!(wire.take(TEXT.len()), TEXT);
    wire.send(MASKED_TEXT);
    wire.tcp.shutdown(Shutdown::Write).unwrap();
    assert_eq!(wire.rest(), TEXT);
    assert_eq!(ended(&rig), Outcome::Complete);
    // How the service takes it is its business.
    let (rig, mut wire, _script) = session(
        |_| {},
        |mut wire| {
            wire.rest();
            wire.reset();
        },
    );
    wire.send(MASKED_TEXT);
    wire.close();
    assert_eq!(ended(&rig), Outcome::Complete);
}

#[test]
fn a_caller_that_breaks_off_is_not_the_services_fault() {
    let hang_up: [(&str, End); 4] = [
        ("a reset", |wire| wire.reset()),
        ("a reset in the middle of a frame", |mut wire| {
            wire.send(&MASKED_TEXT[..8]);
            wire.reset();
        }),
        ("an end in the middle of a frame", |mut wire| {
            wire.send(&MASKED_TEXT[..8]);
            wire.close();
        }),
        ("an end in the middle of a message", |mut wire| {
            wire.send(b"\x01\x85\0\0\0\0hello");
            wire.close();
        }),
    ];
    for (how, hang_up) in hang_up {
        let (rig, mut wire, _script) = session(
            |_| {},
            |mut wire| {
                wire.send(TEXT);
                wire.rest();
            },
        );
        assert_eq!(wire.take(TEXT.len()), TEXT);
        hang_up(wire);
        assert_eq!(ended(&rig), Outcome::ClientDisconnect, "{how}");
    }
}

#[test]
fn a_caller_that_leaves_while_the_service_speaks() {
    let (rig, wire, _script) =
        session(|_| {}, |mut wire| while wire.tcp.write_all(&[TEXT; 1000].concat()).is_ok() {});
    // Closed with unread data: what comes later finds nobody.
    eventually("there is something to read", || wire.tcp.peek(&mut [0]).unwrap() > 0);
    drop(wire);
    assert_eq!(ended(&rig), Outcome::ClientDisconnect);
}

#[test]
fn a_service_that_breaks_off() {
    let break_off: [(&str, End); 4] = [
        ("a reset", |wire| wire.reset()),
        ("an end in the middle of a frame", |mut wire| {
            wire.send(&TEXT[..4]);
            wire.close();
        }),
        ("an end in the middle of a message", |mut wire| {
            wire.send(b"\x01\x05hello");
            wire.close();
        }),
        ("an end without a close frame", |wire| wire.close()),
    ];
    for (how, break_off) in break_off {
        let (rig, mut wire, _script) = session(
            |_| {},
            move |mut wire| {
                wire.send(TEXT);
                wire.take(MASKED_TEXT.len());
                break_off(wire);
            },
        );
        assert_eq!(wire.take(TEXT.len()), TEXT);
        wire.send(MASKED_TEXT);
        wire.rest();
        wire.close();
        assert_eq!(ended(&rig), Outcome::UpstreamError, "{how}");
    }
}

#[test]
fn bytes_that_are_no_frames_pass_and_only_a_reset_is_a_break() {
    for (reset, outcome) in [(false, Outcome::Complete), (true, Outcome::UpstreamError)] {
        let (rig, mut wire, _script) = session(
            |_| {},
            move |mut wire| {
                let got = wire.take(7);
                wire.send([&got[..], b"!"].concat());
                wire.take(1);
                if reset { wire.reset() } else { wire.close() }
            },
        );
        wire.send("no room");
        assert_eq!(wire.take(8), b"no room!");
        wire.send("x");
        wire.closed();
        wire.close();
        let usage = only(&rig);
        assert_eq!(usage.stream.outcome, outcome);
        unknown(&usage);
        let reasons = &usage.accounting.reasons;
        assert!(
            reasons.contains(&"input:unreadable".into()) && reasons.contains(&"output:unreadable".into())
        );
    }
}

#[test]
fn a_session_of_another_kind_is_only_watched_for_its_end() {
    let script = Script::start(move |mut wire, _| {
        wire.head();
        wire.send(SWITCHED);
        wire.send([TEXT, CLOSE].concat());
        wire.rest();
    });
    let rig = Setup::to(script.addr).start();
    let mut wire = rig.send(HANDSHAKE.replace("/v1/realtime", "/v1/of_the_future"));
    assert_eq!(wire.bodiless().status(), 101);
    assert_eq!(wire.take(TEXT.len() + CLOSE.len()), [TEXT, CLOSE].concat());
    wire.close();
    let usage = rig.heard.calls(1).remove(0).usage;
    assert_eq!((usage.target.api, usage.stream.outcome), (Api::Websocket, Outcome::Complete));
    unknown(&usage);
    assert_eq!(usage.accounting.reasons, ["input:unmetered", "output:unmetered"]);
}

#[test]
fn a_refused_handshake_had_no_prompt() {
    for status in [400, 401, 403, 404, 426, 429, 500, 503] {
        let script = Script::start(move |mut wire, _| {
            wire.head();
            wire.send(format!("HTTP/1.1 {status} No\r\nContent-Length: 2\r\n\r\nno"));
        });
        let rig = Setup::to(script.addr).start();
        assert_eq!(rig.send(HANDSHAKE).message().status(), status);
        let usage = rig.heard.calls(1).remove(0).usage;
        assert_eq!((usage.request.status, usage.stream.outcome), (status, Outcome::UpstreamStatus));
        assert_eq!((usage.target.api, usage.target.deployment.as_deref()), (Api::Realtime, Some("rt")));
        assert_eq!((usage.tokens.input, usage.tokens.output), (Some(0), Some(0)), "{status}");
        let accounting = &usage.accounting;
        assert_eq!((accounting.input_quality, accounting.output_quality), (Quality::Exact, Quality::Exact));
        assert_eq!(accounting.reasons, ["input:not_billed", "output:not_billed"], "{status}");
    }
}

#[test]
fn a_session_that_we_end_is_our_doing_unless_it_was_over() {
    for (closed, outcome) in [(false, Outcome::Shutdown), (true, Outcome::Complete)] {
        let (say, heard) = word();
        let (mut rig, mut wire, _script) = session(
            |setup| setup.drain_timeout = Duration::from_millis(50),
            move |mut wire| {
                wire.send(if closed { CLOSE } else { TEXT });
                hear(&heard);
            },
        );
        assert_eq!(wire.take(4).len(), 4, "it was seen");
        let running = rig.running.take().unwrap();
        running.drain();
        running.join();
        assert_eq!(ended(&rig), outcome);
        say.send(()).unwrap();
    }
}

#[test]
fn a_drain_waits_for_sessions() {
    let (say, heard) = word();
    let (mut rig, mut wire, _script) = session(
        |_| {},
        move |mut wire| {
            hear(&heard);
            wire.send([TEXT, CLOSE].concat());
            wire.rest();
        },
    );
    let running = rig.running.take().unwrap();
    running.drain();
    std::thread::sleep(Duration::from_millis(500)); // longer than connections without a call may stay
    assert!(!running.is_finished());
    say.send(()).unwrap();
    assert_eq!(wire.take(TEXT.len() + CLOSE.len()), [TEXT, CLOSE].concat());
    wire.close();
    running.join();
    assert_eq!(ended(&rig), Outcome::Complete);
}

#[test]
fn a_side_that_does_not_read_stops_the_other() {
    let (tell, told) = channel();
    let (say, heard) = word();
    let (rig, mut wire, _script) = session(
        |_| {},
        move |mut wire| {
            wire.tcp.set_write_timeout(Some(Duration::from_millis(500))).unwrap();
            let mut sent = Vec::new();
            // A message too long for all buffers on the way.
            let mut message = [&b"\x82\x7f"[..], &(64u64 << 20).to_be_bytes()].concat();
            message.resize(message.len() + (64 << 20), 7);
            while let Ok(more) = wire.tcp.write(&message[sent.len()..]) {
                sent.extend_from_slice(&message[sent.len()..sent.len() + more]);
            }
            tell.send(sent.len()).unwrap();
            hear(&heard);
            wire.tcp.set_write_timeout(None).unwrap();
            wire.send(&message[sent.len()..]);
            wire.send(CLOSE);
            wire.rest();
        },
    );
    let stuck = told.recv().unwrap();
    assert!(stuck < 32 << 20, "{stuck} bytes are on their way and nobody reads");
    say.send(()).unwrap();
    let got = wire.take(10 + (64 << 20) + CLOSE.len());
    assert!(got.ends_with(CLOSE) && got[10..10 + (64 << 20)].iter().all(|&byte| byte == 7));
    wire.close();
    assert_eq!(ended(&rig), Outcome::Complete);
}
