//! Streams of chat in any coding, any framing, cut anywhere: the caller's bytes are the service's, and
//! the event is the one that `account` gives for the plain text.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use metering::account::{Options, run};
use metering::usage::Settled;
use serde_json::{Value, json};

use crate::rig::{Rig, Script, Setup};
use crate::support::codings;
use crate::support::random::Random;

const TEXTS: &[&str] = &[
    "Hello",
    " world",
    "\\n\\n",
    "\\ud83d",
    "\\ude00",
    "😀",
    "中文",
    "",
    "\\\"",
    "don't",
    "  ",
    "1234",
    "data: [DONE]",
    "é",
];
const CODINGS: &[&str] = &["", "gzip", "br", "zstd", "deflate"];
const ENDS: &[&str] = &["\n\n", "\r\n\r\n", "\r\r", "\n\n\n"];

/// A stream of chat, plain; such as services send, and some that they should not.
fn script(random: &mut Random) -> String {
    let mut text = String::new();
    if random.below(8) == 0 {
        text.push('\u{feff}');
    }
    for _ in 0..random.below(25) {
        let (index, said) = (random.below(2), random.pick(TEXTS));
        text.push_str(&match random.below(14) {
            0 => ": comment".to_owned(),
            1 => "event: ping".to_owned(),
            2 => r#"data: {"choices":[],"id":"","model":"","prompt_filter_results":[]}"#.to_owned(),
            3 => format!("id: 7\nretry: 1\ndata: {}\ndata: {}", "{\"model\":\"gpt-4o-2024-08-06\",", "\"choices\":[]}"),
            4 => r#"data: {"choices":[],"usage":{"prompt_tokens":0,"completion_tokens":0}}"#.to_owned(),
            _ => format!(r#"data: {{"id":"c","model":"gpt-4o-2024-08-06","choices":[{{"index":{index},"delta":{{"content":"{said}"}}}}],"usage":null}}"#),
        });
        text.push_str(random.pick(ENDS));
    }
    if random.below(4) > 0 {
        text.push_str("data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n");
    }
    if random.below(3) == 0 {
        text.push_str("data: {\"choices\":[],\"usage\":{\"prompt_tokens\":12,\"completion_tokens\":34}}\n\n");
    }
    if random.below(8) > 0 {
        text.push_str("data: [DONE]\n\n");
    }
    text
}

/// The text under a coding, flushed here and there as a service flushes its events.
fn coded(text: &str, coding: &str, random: &mut Random) -> Vec<u8> {
    let mut pieces = Vec::new();
    let mut rest = text.as_bytes();
    while !rest.is_empty() {
        let (piece, behind) = rest.split_at(rest.len().min(1 + random.below(700)));
        pieces.push(piece);
        rest = behind;
    }
    codings::in_pieces(coding, &pieces)
}

/// What goes over the wire for one target.
#[derive(Clone)]
struct Plan {
    head: String,
    wire: Vec<u8>,
    cuts: Vec<usize>,
}

impl Plan {
    fn new(body: &[u8], coding: &str, random: &mut Random) -> Plan {
        let coding =
            if coding.is_empty() { String::new() } else { format!("Content-Encoding: {coding}\r\n") };
        let start = format!("HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n{coding}");
        let (head, wire) = if random.below(5) == 0 {
            (format!("{start}Content-Length: {}\r\n\r\n", body.len()), body.to_vec())
        } else {
            let (mut wire, mut rest) = (Vec::new(), body);
            while !rest.is_empty() {
                let (chunk, behind) = rest.split_at(rest.len().min(1 + random.below(600)));
                wire.extend(format!("{:x}\r\n", chunk.len()).into_bytes());
                wire.extend(chunk);
                wire.extend(b"\r\n");
                rest = behind;
            }
            wire.extend(b"0\r\n\r\n");
            (format!("{start}Transfer-Encoding: chunked\r\n\r\n"), wire)
        };
        let mut cuts: Vec<usize> = (0..random.below(12)).map(|_| random.below(wire.len() + 1)).collect();
        cuts.push(wire.len());
        cuts.sort_unstable();
        Plan { head, wire, cuts }
    }
}

type Plans = Arc<Mutex<HashMap<String, Plan>>>;

fn rig(plans: &Plans) -> (Rig, Script) {
    let plans = Arc::clone(plans);
    let script = Script::start(move |mut wire, _| {
        loop {
            let request = wire.message();
            if request.head.is_empty() {
                return;
            }
            let plan = plans.lock().unwrap().remove(request.target()).unwrap();
            wire.send(&plan.head);
            let mut from = 0;
            for to in plan.cuts {
                wire.send(&plan.wire[from..to]);
                from = to;
            }
        }
    });
    (Setup::to(script.addr).start(), script)
}

const REQUEST: &str = r#"{"stream":true,"messages":[{"role":"user","content":"Hello"}],"model":"gpt-4o"}"#;

/// One exchange as `account` reads it.
fn line(number: usize, text: &str) -> String {
    json!({"id": number.to_string(), "api": "chat", "azure": true, "model": null, "stream": true, "status": 200,
        "request": serde_json::from_str::<Value>(REQUEST).unwrap(), "response_kind": "sse", "response_body": text})
    .to_string()
}

/// What of an event depends on the exchange alone. Made-up numbers do not agree with the rules, so the
/// proxy, which remembers, lowers labels where `account` does not.
fn told(usage: &Value, drifted: bool) -> Value {
    let mut accounting = usage["accounting"].clone();
    if drifted {
        for label in ["input_quality", "output_quality", "reasons"] {
            accounting[label] = Value::Null;
        }
    }
    json!({"tokens": usage["tokens"], "accounting": accounting, "stream": usage["stream"],
        "model": usage["target"]["model"], "response": usage["ids"]["response_id"]})
}

fn check(calls: &[Settled], lines: &[String]) {
    let mut output = Vec::new();
    run(lines.join("\n").as_bytes(), &mut output, &Options::default()).unwrap();
    let accounted: Vec<Value> =
        String::from_utf8(output).unwrap().lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(calls.len(), accounted.len());
    for call in calls {
        let number: usize = call.usage.ids.client_request_id.as_deref().unwrap().parse().unwrap();
        let event = serde_json::to_value(&call.usage).unwrap();
        let expected = &accounted[number];
        assert_eq!(expected["id"], number.to_string());
        let drifted = event["accounting"]["reasons"].to_string().contains("rules_drifted");
        let (event, expected) = (told(&event, drifted), told(&expected["event"]["data"], drifted));
        assert_eq!(event, expected, "case {number}: {}", lines[number]);
    }
}

#[test]
fn case_65_any_stream_in_any_coding_cut_anywhere() {
    let cases = if crate::skip::long() { 10_000 } else { 400 };
    let plans = Plans::default();
    let (rig, script) = rig(&plans);
    let (mut random, mut lines, mut bytes) = (Random::seeded(0x5eed_1234_5678_9abc), Vec::new(), 0);
    let mut wire = rig.connect();
    for number in 0..cases {
        let text = self::script(&mut random);
        let coding = CODINGS[number % CODINGS.len()];
        let body = coded(&text, coding, &mut random);
        let target = format!("/openai/v1/chat/completions?n={number}");
        plans.lock().unwrap().insert(target.clone(), Plan::new(&body, coding, &mut random));
        wire.send(format!(
            "POST {target} HTTP/1.1\r\nHost: gw\r\nX-Ms-Client-Request-Id: {number}\r\nContent-Length: {}\r\n\r\n{REQUEST}",
            REQUEST.len()
        ));
        let got = wire.message();
        assert!(!got.broken && got.body == body, "case {number}: other bytes ({coding})");
        bytes += body.len();
        lines.push(line(number, &text));
    }
    check(&rig.heard.calls(cases), &lines);
    assert_eq!(script.connections(), 1, "nothing was broken on the way");
    println!("{cases} streams, {bytes} bytes: the caller's are the service's, the events are account's");
}
