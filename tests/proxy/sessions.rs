//! Responses within WebSocket sessions: each has an event and a place in the ledger of its own, whatever ends the
//! session.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use flate2::{Compress, Compression, FlushCompress};
use metering::account;
use metering::usage::{Api, Outcome, Quality, Target, Usage};
use serde_json::{Value, json};

use crate::rig::{Rig, Script, Setup, Wire, eventually};

/// The service after the handshake: what it says and does.
type Service = Arc<dyn Fn(Wire) + Send + Sync>;

const KEY: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// Text messages of one side, in frames of at most so many bytes with pings between them.
struct Sender {
    masked: bool,
    frame_bytes: usize,
    deflate: Option<Compress>,
}

impl Sender {
    fn new(masked: bool) -> Sender {
        Sender { masked, frame_bytes: usize::MAX, deflate: None }
    }

    fn deflating(masked: bool, frame_bytes: usize) -> Sender {
        Sender { masked, frame_bytes, deflate: Some(Compress::new(Compression::fast(), false)) }
    }

    fn message(&mut self, message: &Value) -> Vec<u8> {
        let mut payload = message.to_string().into_bytes();
        let compressed = if self.deflate.is_some() { 0x40 } else { 0 };
        if let Some(deflate) = &mut self.deflate {
            let mut out = Vec::with_capacity(payload.len() + 100);
            deflate.compress_vec(&payload, &mut out, FlushCompress::Sync).unwrap();
            out.truncate(out.len() - 4);
            payload = out;
        }
        let mut pieces = payload.chunks(self.frame_bytes).peekable();
        let (mut out, mut first) = (Vec::new(), 0x01 | compressed);
        while let Some(piece) = pieces.next() {
            let last = if pieces.peek().is_none() { 0x80 } else { 0 };
            out.extend(self.frame(first | last, piece));
            first = 0;
            if last == 0 {
                out.extend(self.frame(0x89, b"k"));
            }
        }
        out
    }

    fn close(&self) -> Vec<u8> {
        self.frame(0x88, &1000u16.to_be_bytes())
    }

    fn frame(&self, first: u8, payload: &[u8]) -> Vec<u8> {
        let mask = if self.masked { 0x80 } else { 0 };
        let mut out = match u8::try_from(payload.len()) {
            Ok(short) if short < 126 => vec![first, mask | short],
            _ => [&[first, mask | 127][..], &(payload.len() as u64).to_be_bytes()].concat(),
        };
        if self.masked {
            out.extend(KEY);
        }
        let key = if self.masked { KEY } else { [0; 4] };
        out.extend(payload.iter().zip(key.iter().cycle()).map(|(byte, key)| byte ^ key));
        out
    }
}

fn handshake(target: &str) -> String {
    format!(
        "GET {target} HTTP/1.1\r\nHost: gw\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         x-apim-subscription-id: team\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
}

fn switched(fields: &str) -> String {
    format!("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n{fields}\r\n")
}

/// A session of this target, whose service does this once it has switched.
fn session(
    setup: impl FnOnce(&mut Setup),
    target: &str,
    fields: &'static str,
    service: Service,
) -> (Rig, Wire, Script) {
    let script = Script::start(move |mut wire, _| {
        wire.head();
        wire.send(switched(fields));
        service(wire);
    });
    let mut made = Setup::to(script.addr);
    setup(&mut made);
    let rig = made.start();
    let mut wire = rig.send(handshake(target));
    assert_eq!(wire.bodiless().status(), 101);
    (rig, wire, script)
}

/// The events of all calls, once none is open.
fn events(rig: &Rig, count: usize) -> Vec<Usage> {
    let events = rig.heard.calls(count).into_iter().map(|settled| settled.usage).collect();
    let counters = rig.accounts.counters();
    eventually("no call is counted as open", || counters.calls_open() == 0);
    assert_eq!(counters.calls_accepted.load(Ordering::Acquire), count as u64);
    events
}

fn numbers(usage: &Usage) -> (Option<u64>, Option<u64>) {
    (usage.tokens.input, usage.tokens.output)
}

fn is_session(usage: &Usage, api: Api, outcome: Outcome) {
    assert_eq!((usage.target.api, usage.request.status, numbers(usage)), (api, 101, (Some(0), Some(0))));
    assert_eq!(usage.accounting.reasons, ["input:billed_per_response", "output:billed_per_response"]);
    assert_eq!(usage.stream.outcome, outcome);
}

fn created(id: &str) -> Value {
    json!({"type": "response.created", "response": {"id": id, "status": "in_progress"}})
}

fn done(id: &str, input: u64, output: u64) -> Value {
    let usage = json!({"input_tokens": input, "output_tokens": output, "total_tokens": input + output});
    json!({"type": "response.done", "response": {"id": id, "status": "completed", "usage": usage}})
}

fn begun() -> Value {
    json!({"type": "session.created", "session": {"id": "sess_1", "model": "gpt-realtime"}})
}

#[test]
fn three_responses_compressed_and_in_pieces() {
    for (fields, frame_bytes) in [("", 1 << 20), ("Sec-WebSocket-Extensions: permessage-deflate\r\n", 7)] {
        let sender = move |masked| {
            if fields.is_empty() { Sender::new(masked) } else { Sender::deflating(masked, frame_bytes) }
        };
        let messages = [
            begun(),
            created("r1"),
            done("r1", 900, 300),
            done("r2", 40, 10),
            created("r3"),
            done("r3", 5, 0),
        ];
        let said: Vec<u8> = {
            let mut sender = sender(false);
            messages.iter().flat_map(|message| sender.message(message)).collect()
        };
        let expected = said.clone();
        let (rig, mut wire, _script) = session(
            |_| {},
            "/openai/v1/realtime?model=rt",
            fields,
            Arc::new(move |mut wire| {
                let mut caller = sender(true);
                let asked = caller.message(&json!({"type": "response.create"}));
                assert_eq!(wire.take(asked.len()), asked);
                wire.send(&said);
                wire.take(caller.close().len());
                wire.close();
            }),
        );
        let mut caller = sender(true);
        wire.send(caller.message(&json!({"type": "response.create"})));
        assert_eq!(wire.take(expected.len()), expected);
        wire.send(caller.close());
        wire.closed();
        wire.close();
        let events = events(&rig, 4);
        let found: Vec<_> = events[..3]
            .iter()
            .map(|usage| (usage.ids.response_id.clone().unwrap_or_default(), numbers(usage)))
            .collect();
        let expected = [("r1", (900, 300)), ("r2", (40, 10)), ("r3", (5, 0))];
        assert_eq!(found, expected.map(|(id, (i, o))| (id.into(), (Some(i), Some(o)))));
        for usage in &events[..3] {
            assert_eq!((usage.target.api, usage.stream.outcome), (Api::Realtime, Outcome::Complete));
            assert_eq!(usage.target.deployment.as_deref(), Some("rt"));
            assert_eq!(usage.target.model.as_deref(), Some("gpt-realtime"));
            assert_eq!(usage.ids.session_id.as_deref(), Some("sess_1"));
            assert_eq!(usage.caller.id, "team");
            assert_eq!(usage.accounting.output_quality, Quality::Exact);
            assert!(usage.timing.started_at >= events[3].timing.started_at);
        }
        is_session(&events[3], Api::Realtime, Outcome::Complete);
        assert_eq!(events[3].ids.session_id.as_deref(), Some("sess_1"));
    }
}

/// Whoever ends a session while a response is open has broken it off.
#[test]
fn a_response_that_is_left_open_is_told_of_before_its_session() {
    type End = fn(Wire);
    let by_service: [End; 3] = [
        |wire| wire.reset(),
        |mut wire| {
            wire.send(Sender::new(false).close());
            wire.close();
        },
        |wire| wire.close(),
    ];
    let by_caller: [End; 3] = [
        |wire| wire.reset(),
        |mut wire| {
            wire.send(Sender::new(true).close());
            wire.close();
        },
        |wire| wire.close(),
    ];
    let said = || {
        let mut sender = Sender::new(false);
        [sender.message(&done("r1", 7, 3)), sender.message(&created("r2"))].concat()
    };
    let check = |rig: &Rig, outcome: Outcome| {
        let events = events(rig, 3);
        assert_eq!((numbers(&events[0]), events[0].stream.outcome), ((Some(7), Some(3)), Outcome::Complete));
        assert_eq!((numbers(&events[1]), events[1].stream.outcome), ((None, None), outcome));
        let word: &str = outcome.as_str();
        assert_eq!(events[1].accounting.reasons, [format!("input:{word}"), format!("output:{word}")]);
        assert_eq!(events[1].ids.response_id.as_deref(), Some("r2"));
        is_session(&events[2], Api::Realtime, outcome);
    };
    for end in by_service {
        let (rig, mut wire, _script) = session(
            |_| {},
            "/openai/v1/realtime?model=rt",
            "",
            Arc::new(move |mut wire| {
                wire.send(said());
                end(wire);
            }),
        );
        wire.rest();
        wire.close();
        check(&rig, Outcome::UpstreamError);
    }
    for end in by_caller {
        let (rig, mut wire, _script) = session(
            |_| {},
            "/openai/v1/realtime?model=rt",
            "",
            Arc::new(move |mut wire| {
                wire.send(said());
                wire.rest();
            }),
        );
        assert_eq!(wire.take(said().len()), said());
        end(wire);
        check(&rig, Outcome::ClientDisconnect);
    }
}

#[test]
fn a_session_that_we_cut_says_so_of_its_responses_too() {
    let (rig, mut wire, script) = session(
        |setup| setup.drain_timeout = Duration::from_millis(50),
        "/openai/v1/realtime?model=rt",
        "",
        Arc::new(|mut wire| {
            wire.send(Sender::new(false).message(&created("r1")));
            wire.rest();
        }),
    );
    let mut rig = rig;
    wire.take(Sender::new(false).message(&created("r1")).len());
    let running = rig.running.take().unwrap();
    running.drain();
    running.join();
    let events = events(&rig, 2);
    assert_eq!((numbers(&events[0]), events[0].stream.outcome), ((None, None), Outcome::Shutdown));
    assert_eq!(events[0].accounting.reasons, ["input:shutdown", "output:shutdown"]);
    is_session(&events[1], Api::Realtime, Outcome::Shutdown);
    drop(script);
}

#[test]
fn responses_without_a_place_in_the_ledger_are_summed() {
    let said = || {
        let mut sender = Sender::new(false);
        [sender.message(&created("r1")), sender.message(&done("r1", 7, 3)), sender.close()].concat()
    };
    let (rig, mut wire, _script) = session(
        |setup| setup.slots = 1, // the session has it
        "/openai/v1/realtime?model=rt",
        "",
        Arc::new(move |mut wire| {
            wire.send(said());
            wire.rest();
        }),
    );
    assert_eq!(wire.take(said().len()), said());
    wire.close();
    let events = events(&rig, 2);
    assert_eq!(rig.heard.summed(), 1);
    assert!(events.iter().any(|usage| numbers(usage) == (Some(7), Some(3))));
}

/// A connection that looks on is told of the same responses; they are billed once.
#[test]
fn a_response_that_two_connections_are_told_of_is_billed_once() {
    let said = || {
        let mut sender = Sender::new(false);
        [sender.message(&created("r1")), sender.message(&done("r1", 7, 3)), sender.close()].concat()
    };
    let service = move |mut wire: Wire| {
        wire.send(said());
        wire.rest();
    };
    let (rig, mut wire, _script) = session(|_| {}, "/openai/v1/realtime?model=rt", "", Arc::new(service));
    wire.take(said().len());
    wire.close();
    assert_eq!(rig.heard.calls(2).len(), 2);
    for _ in 0..2 {
        let mut wire = rig.send(handshake("/openai/v1/realtime?call_id=rtc_1"));
        assert_eq!(wire.bodiless().status(), 101);
        wire.take(said().len());
        wire.close();
    }
    let events = events(&rig, 4);
    assert_eq!(events.iter().filter(|usage| numbers(usage) == (Some(7), Some(3))).count(), 1);
    // Who does not look on has a session of its own, whatever the names in it are.
    let mut wire = rig.send(handshake("/openai/v1/realtime?model=rt"));
    assert_eq!(wire.bodiless().status(), 101);
    wire.take(said().len());
    wire.close();
    assert_eq!(rig.heard.calls(6).len(), 6);
}

#[test]
fn responses_over_a_websocket_are_counted_as_by_http() {
    let ask = || {
        let message =
            json!({"type": "response.create", "model": "team-r", "previous_response_id": "w0", "input": []});
        Sender::new(true).message(&message)
    };
    let said = || {
        let mut sender = Sender::new(false);
        let response = |status: &str, usage: Value| json!({"id": "w1", "status": status, "model": "gpt-4o-2024-08-06", "output": [], "usage": usage});
        let usage = json!({"input_tokens": 20, "output_tokens": 3, "total_tokens": 23});
        let delta = json!({"type": "response.output_text.delta", "item_id": "m", "output_index": 0, "content_index": 0,
            "delta": "word ".repeat(20_000)});
        let created = json!({"type": "response.created", "response": response("in_progress", Value::Null)});
        let completed = json!({"type": "response.completed", "response": response("completed", usage)});
        [&created, &completed, &created, &delta].map(|message| sender.message(message)).concat()
    };
    let (rig, mut wire, _script) = session(
        |_| {},
        "/openai/v1/responses",
        "x-ms-region: Sweden Central\r\n",
        Arc::new(move |mut wire| {
            for _ in 0..2 {
                assert_eq!(wire.take(ask().len()), ask());
            }
            wire.send(said());
            wire.close();
        }),
    );
    wire.send([ask(), ask()].concat());
    assert_eq!(wire.rest(), said());
    wire.close();
    let mut events = events(&rig, 3);
    if events[0].stream.outcome != Outcome::Complete {
        events.swap(0, 1); // each has settled when it was counted
    }
    assert_eq!((numbers(&events[0]), events[0].stream.outcome), ((Some(20), Some(3)), Outcome::Complete));
    assert_eq!(
        (numbers(&events[1]), events[1].stream.outcome),
        ((None, Some(20_001)), Outcome::UpstreamError)
    );
    assert_eq!(events[1].accounting.output_quality, Quality::LowerBound);
    let reasons = ["input:upstream_error", "input:server_state", "output:upstream_error"];
    assert_eq!(events[1].accounting.reasons, reasons);
    for usage in &events[..2] {
        assert_eq!((usage.target.api, usage.target.deployment.as_deref()), (Api::Responses, Some("team-r")));
        assert_eq!(usage.target.region.as_deref(), Some("Sweden Central"));
    }
    is_session(&events[2], Api::Responses, Outcome::UpstreamError);
}

/// A kilobyte that means a hundred megabytes is passed on at once; what follows it is read all the same.
#[test]
fn a_bomb_delays_nobody_and_hides_nothing() {
    let bomb = || {
        let mut sender = Sender::deflating(false, usize::MAX);
        let padding = json!({"type": "session.updated", "padding": "A".repeat(30 << 20)});
        [sender.message(&padding), sender.message(&done("r1", 7, 3))].concat()
    };
    let (rig, mut wire, _script) = session(
        |_| {},
        "/openai/v1/realtime?model=rt",
        "Sec-WebSocket-Extensions: permessage-deflate\r\n",
        Arc::new(move |mut wire| {
            wire.send(bomb());
            wire.send(Sender::new(false).close());
            wire.rest();
        }),
    );
    let expected = bomb();
    assert!(expected.len() < 200_000, "{} bytes", expected.len());
    assert_eq!(wire.take(expected.len()), expected);
    wire.take(4);
    wire.close();
    let events = events(&rig, 2);
    assert_eq!(numbers(&events[0]), (Some(7), Some(3)));
    is_session(&events[1], Api::Realtime, Outcome::Complete);
}

/// A frame of 32 MB, each way: it is passed on as it came, and what it says is known, wherever that stands in it.
#[test]
fn the_longest_frames_are_passed_on_and_read() {
    let padding = "A".repeat(32 << 20);
    let asked =
        Sender::new(true).message(&json!({"input": padding, "model": "team-r", "type": "response.create"}));
    let response = json!({"id": "w1", "status": "completed", "instructions": padding,
        "usage": {"input_tokens": 7, "output_tokens": 3, "total_tokens": 10}});
    let said = Sender::new(false).message(&json!({"response": response, "type": "response.completed"}));
    let (asked, said): (Arc<[u8]>, Arc<[u8]>) = (asked.into(), said.into());
    let (expected, answer) = (Arc::clone(&asked), Arc::clone(&said));
    let service = move |mut wire: Wire| {
        assert!(wire.take(expected.len()) == *expected, "the request is the same");
        wire.send(&answer);
        wire.send(Sender::new(false).close());
        wire.rest();
    };
    let (rig, mut wire, _script) = session(|_| {}, "/openai/v1/responses", "", Arc::new(service));
    wire.send(&asked);
    assert!(wire.take(said.len()) == *said, "the response is the same");
    wire.take(4);
    wire.close();
    let events = events(&rig, 2);
    assert_eq!((numbers(&events[0]), events[0].stream.outcome), ((Some(7), Some(3)), Outcome::Complete));
    assert_eq!(events[0].target.deployment.as_deref(), Some("team-r"));
    assert_eq!(events[0].ids.response_id.as_deref(), Some("w1"));
    is_session(&events[1], Api::Responses, Outcome::Complete);
}

/// `account` says of the frames of a session what the proxy says of the session itself: all but who called, when, and
/// where.
#[test]
fn a_recorded_session_has_the_events_of_the_session() {
    let recordings = include_str!("../../fixtures/account/session.jsonl");
    for line in recordings.lines() {
        let mut printed = Vec::new();
        account::run(line.as_bytes(), &mut printed, &account::Options::default()).unwrap();
        let printed: Value = serde_json::from_slice(&printed).unwrap();
        let of_event = |event: &Value| serde_json::from_value(event["data"].clone()).unwrap();
        let expected: Vec<Usage> = printed["events"].as_array().unwrap().iter().map(of_event).collect();
        let line: Value = serde_json::from_str(line).unwrap();
        let frames: Arc<[Value]> = line["frames"].as_array().unwrap().clone().into();
        let target = match line["deployment"].as_str() {
            Some(deployment) => format!("/openai/v1/realtime?model={deployment}"),
            None => "/openai/v1/responses".to_owned(),
        };
        let theirs = Arc::clone(&frames);
        let service: Service = Arc::new(move |wire| play(wire, "server", &theirs));
        let (rig, wire, _script) = session(|_| {}, &target, "", service);
        play(wire, "client", &frames);
        let found = events(&rig, expected.len());
        let told = |usage: &Usage| {
            let Usage { caller, timing, reporter, .. } = expected[0].clone();
            let target = Target { resource: Default::default(), ..usage.target.clone() };
            format!("{:#?}", Usage { caller, timing, reporter, target, ..usage.clone() })
        };
        let sorted = |events: &[Usage]| {
            let mut told: Vec<String> = events.iter().map(told).collect();
            told.sort_unstable();
            told.join("\n")
        };
        assert_eq!(sorted(&found), sorted(&expected), "{}", line["id"]);
    }
}

/// Sends what one side of a recording says, and waits for what the other one does.
fn play(mut wire: Wire, me: &str, frames: &[Value]) {
    for frame in frames {
        let mut sender = Sender::new(frame["from"] == "client");
        if frame["cut"] == true {
            match frame["from"] == me {
                true => wire.reset(),
                false => drop(wire.rest()),
            }
            return;
        }
        let bytes = match frame {
            _ if frame.get("ping").is_some() => sender.frame(0x89, b""),
            _ if frame.get("pong").is_some() => sender.frame(0x8a, b""),
            _ if frame.get("close").is_some() => sender.close(),
            _ if frame.get("text").is_some() => {
                sender.message(&serde_json::from_str(frame["text"].as_str().unwrap()).unwrap())
            }
            _ => sender.message(&frame["json"]),
        };
        match frame["from"] == me {
            true => wire.send(bytes),
            false => assert_eq!(wire.take(bytes.len()), bytes),
        }
    }
    wire.close();
}
