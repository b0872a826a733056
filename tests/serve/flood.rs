//! One caller sends more prompts than can be counted, or kept: that costs nobody else a number.

use std::io::{self, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;

use serde_json::{Value, json};

use super::http::{Message, connect, exchange, post};
use super::sidecar::{PATIENCE, Sidecar, usage_events, wait_for};
use super::upstream::{self, STREAM_HEAD, delta, stop, write_chunk, write_end};

const CHAT: &str = "/openai/deployments/gpt-4o/chat/completions?api-version=2024-10-21";
/// Of a deployment whose bill nobody knows: elsewhere ours would be held against it.
const UNREPORTED: &str = "/openai/deployments/own/chat/completions?api-version=2024-10-21";
const EMBEDDINGS: &str = "/openai/deployments/e/embeddings?api-version=2024-10-21";
const IMAGES: &str = "/openai/deployments/i/images/generations?api-version=2024-10-21";

/// Bytes of prompts, and how many of them: the first are more than twice what the memory for prompts takes and
/// some ten seconds of a thread that counts them, the others fill what is left of it.
const PROMPTS: [(usize, usize); 3] = [(8 << 20, 68), (64 << 10, 200), (64, 100)];

/// Calls of each kind that others make.
const OTHERS: usize = 4;

/// Holds the answers to whoever floods.
#[derive(Default)]
struct Gate(Mutex<(usize, bool)>, Condvar);

impl Gate {
    fn arrive(&self) {
        let mut state = self.0.lock().unwrap();
        state.0 += 1;
        self.1.notify_all();
        let (state, _) = self.1.wait_timeout_while(state, PATIENCE, |(_, open)| !*open).unwrap();
        drop(state);
    }

    /// Waits until so many are held.
    fn held(&self, requests: usize) {
        let (state, late) =
            self.1.wait_timeout_while(self.0.lock().unwrap(), PATIENCE, |(n, _)| *n < requests).unwrap();
        assert!(!late.timed_out(), "{} requests arrived", state.0);
    }

    fn open(&self) {
        self.0.lock().unwrap().1 = true;
        self.1.notify_all();
    }
}

/// The kinds of calls that others make: path, answer by the name, what the event must say of input and
/// output. `None`: our own count, exact.
type Kind = (&'static str, &'static str, Option<u64>, Option<u64>);
const KINDS: [Kind; 6] = [
    ("embeddings", EMBEDDINGS, Some(31), Some(0)),
    ("images", IMAGES, Some(31), Some(17)),
    ("document", CHAT, Some(31), Some(17)),
    ("reported", CHAT, Some(31), Some(17)),
    ("burst", UNREPORTED, None, None),
    ("stream", UNREPORTED, None, None),
];

fn usage(names: [&str; 2]) -> Value {
    json!({ names[0]: 31, names[1]: 17, "total_tokens": 48 })
}

fn document(body: &Value, to: &mut TcpStream) -> io::Result<()> {
    let body = body.to_string();
    let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n";
    write!(to, "{head}Content-Length: {}\r\n\r\n{body}", body.len())
}

fn answer(gate: &Gate, request: &Message, to: &mut TcpStream) -> io::Result<()> {
    let chat = ["prompt_tokens", "completion_tokens"];
    let choice = |text: &str| json!([{"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}]);
    let chat_document = |text: &str| json!({"id": "c", "model": "gpt-4o-2024-11-20", "choices": choice(text), "usage": usage(chat)});
    match request.field("x-kind").unwrap() {
        "embeddings" => {
            let vectors: Vec<_> =
                (0..400).map(|n| json!({"index": n, "embedding": "A".repeat(8192)})).collect();
            let usage = json!({"prompt_tokens": 31, "total_tokens": 31});
            document(&json!({"model": "text-embedding-3-small", "data": vectors, "usage": usage}), to)
        }
        "images" => {
            let usage = usage(["input_tokens", "output_tokens"]);
            document(&json!({"created": 1, "data": [{"b64_json": "A".repeat(2 << 20)}], "usage": usage}), to)
        }
        "document" => document(&chat_document(&"word ".repeat(60_000)), to),
        kind @ ("burst" | "stream" | "reported") => {
            to.write_all(STREAM_HEAD.as_bytes())?;
            let mut events = delta("word ").repeat(if kind == "stream" { 20 } else { 1500 });
            if kind == "reported" {
                events += &format!("data: {}\n\n", json!({"id": "c", "choices": [], "usage": usage(chat)}));
            }
            write_chunk(to, (events + &stop()).as_bytes())?;
            write_end(to)
        }
        "refused" => {
            gate.arrive();
            let error = r#"{"error":{"code":"context_length_exceeded","message":"too long"}}"#;
            let head = "HTTP/1.1 400 Bad Request\r\nContent-Type: application/json\r\n";
            write!(to, "{head}Content-Length: {}\r\n\r\n{error}", error.len())
        }
        "unreported" => {
            gate.arrive();
            to.write_all(STREAM_HEAD.as_bytes())?;
            write_chunk(to, (delta("no") + &stop()).as_bytes())?;
            write_end(to)
        }
        kind => panic!("{kind}"),
    }
}

fn body(prompt: &str) -> String {
    format!(r#"{{"stream":true,"messages":[{{"role":"user","content":"{prompt}"}}]}}"#)
}

fn fields<'a>(caller: &'a str, kind: &'a str) -> [(&'a str, &'a str); 2] {
    [("x-apim-subscription-id", caller), ("x-kind", kind)]
}

/// Calls of every kind, each kind a caller of its own.
fn others(addr: SocketAddr) {
    for (name, path, ..) in KINDS {
        let mut connection = connect(addr);
        for _ in 0..OTHERS {
            let request = post(path, &fields(name, name), &body("How wide is a weir?"));
            assert_eq!(exchange(&mut connection, &request).status(), 200);
        }
    }
}

/// Every call of others has its numbers, and whoever floods an event for each.
fn check(events: &[Value]) {
    let of = |caller: &str| -> Vec<&Value> {
        events.iter().map(|event| &event["data"]).filter(|data| data["caller"]["id"] == caller).collect()
    };
    for (name, _, input, output) in KINDS {
        let calls = of(name);
        assert_eq!(calls.len() % OTHERS, 0, "{name}");
        for data in calls {
            for (side, expected) in [("input", input), ("output", output)] {
                let found = data["tokens"][side].as_u64();
                assert!(found.is_some(), "{name} has no {side}: {}", data["accounting"]);
                assert!(expected.is_none() || found == expected, "{name}, {side}: {}", data["tokens"]);
                assert_eq!(
                    data["accounting"][format!("{side}_quality")],
                    "exact",
                    "{name}: {}",
                    data["accounting"]
                );
            }
        }
    }
    for data in of("flood") {
        let reasons = data["accounting"]["reasons"].to_string();
        assert!(data["tokens"]["input"].is_u64() || reasons.contains("input:prompt_not_kept"), "{reasons}");
    }
}

/// While the service thinks about the prompts, and while they are counted.
fn flood(kind: &'static str) {
    let gate = Arc::new(Gate::default());
    let service = {
        let gate = Arc::clone(&gate);
        upstream::start(Arc::new(move |request, to| answer(&gate, request, to)))
    };
    let dir = tempfile::tempdir().unwrap();
    let ledger = dir.path().join("ledger");
    let sidecar = Sidecar::start(service, &ledger, &["--end-of-turn", "1"]);
    let (mut floods, mut sent) = (Vec::new(), 0);
    for (bytes, prompts) in PROMPTS {
        let number = |n: usize| format!("{:07} ", n.wrapping_mul(7919) % 9_999_991);
        let prompt: String = (0..bytes / 8).map(number).collect();
        let request: Arc<[u8]> = post(CHAT, &fields("flood", kind), &body(&prompt)).into();
        floods.extend((0..prompts).map(|_| {
            let (request, addr) = (Arc::clone(&request), sidecar.addr);
            thread::spawn(move || exchange(&mut connect(addr), &request).status())
        }));
        sent += prompts;
        gate.held(sent);
    }
    others(sidecar.addr);
    gate.open();
    floods.into_iter().for_each(|flood| assert!([200, 400].contains(&flood.join().unwrap())));
    others(sidecar.addr);
    let calls = sent + 2 * KINDS.len() * OTHERS;
    let events =
        wait_for("every event", || Some(usage_events(&ledger)).filter(|events| events.len() == calls));
    let (code, log) = sidecar.stop();
    assert_eq!(code, Some(0), "{:?}", log.last());
    check(&events);
}

#[test]
fn prompts_that_are_refused_cost_nobody_else_a_number() {
    flood("refused");
}

#[test]
fn prompts_that_must_be_counted_cost_nobody_else_a_number() {
    flood("unreported");
}
