//! Long answers that come as fast as loopback gives them, many at once, while the process has half a core:
//! the pool, which counts prompts of 8 MB meanwhile, cannot keep up, and no number that the service reported is lost for it.
//!
//! `TOKENWEIR_LONG=1` runs 200 answers of 1 to 30 MiB, else 48 of 1 to 6.

use std::io::{self, Write};
use std::net::TcpStream;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use bytes::Bytes;
use serde_json::{Value, json};

use super::http::{Message, connect, exchange, get, post};
use super::memory::status_bytes;
use super::sidecar::{PATIENCE, Sidecar, binary, serve_arguments, usage_events, verified, wait_for};
use super::skip::{is_long, long};
use super::upstream::{self, STREAM_HEAD, delta, stop, write_chunk, write_end};

/// Calls at once.
const AT_ONCE: usize = 32;

/// What one answer may hold: one event or document of 4 MiB in a buffer that has doubled, and a backlog.
const CALL_BYTES: usize = 9 << 20;

/// The deployment whose prompts keep the pool busy: the service does not say what they cost.
const PROMPTS: &str = "/deployments/prompts/";
const PROMPT_BYTES: usize = 8_000_000;

/// What the process may grow by whatever the number of calls.
const PROCESS_BYTES: usize = (48 << 20) + 4 * PROMPT_BYTES;

/// What the answers are made of.
struct Texts {
    base64: Bytes,
    deltas: Bytes,
    floats: Bytes,
}

impl Texts {
    fn of(bytes: usize) -> Texts {
        let delta = json!({"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "gpt-4o-2024-11-20",
            "choices": [{"index": 0, "delta": {"content": " weir"}, "finish_reason": null}]});
        let delta = format!("data: {delta}\n\n");
        Texts {
            base64: Bytes::from("QUJD".repeat(bytes / 4)),
            deltas: Bytes::from(delta.repeat(bytes / delta.len())),
            floats: Bytes::from("-0.0123456,".repeat(bytes / 11)),
        }
    }
}

/// A shape of answer: its path, whether it is a stream, and what stands before and behind the long part.
fn shape(nth: usize) -> (&'static str, bool, String, String) {
    let (input, output) = (1_000 + nth, 7 + nth);
    let usage = json!({"input_tokens": input, "output_tokens": output, "total_tokens": input + output});
    let chat = json!({"prompt_tokens": input, "completion_tokens": output, "total_tokens": input + output});
    let completed =
        r#""type":"response.completed","response":{"id":"r","model":"gpt-5-2025-08-07","status":"completed""#;
    match nth % 7 {
        0 => {
            let end = json!({"model": "gpt-4o-2024-11-20", "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]});
            let last = json!({"model": "gpt-4o-2024-11-20", "choices": [], "usage": chat});
            let end = format!("data: {end}\n\ndata: {last}\n\ndata: [DONE]\n\n");
            ("/openai/deployments/d/chat/completions", true, String::new(), end)
        }
        1 => (
            "/openai/v1/responses",
            true,
            format!("event: response.completed\ndata: {{{completed},\"output\":[{{\"result\":\""),
            format!("\"}}],\"usage\":{usage}}}}}\n\n"),
        ),
        2 => (
            "/openai/v1/images/generations",
            true,
            "event: image_generation.completed\ndata: {\"type\":\"image_generation.completed\",\"b64_json\":\"".into(),
            format!("\",\"usage\":{usage}}}\n\n"),
        ),
        3 => (
            "/openai/v1/images/generations",
            false,
            "{\"created\":1,\"data\":[{\"b64_json\":\"".into(),
            format!("\"}}],\"usage\":{usage}}}"),
        ),
        4 => (
            "/openai/v1/responses",
            false,
            "{\"id\":\"r\",\"model\":\"gpt-5-2025-08-07\",\"status\":\"completed\",\"output\":[{\"type\":\"image_generation_call\",\"result\":\"".into(),
            format!("\"}}],\"usage\":{usage}}}"),
        ),
        5 => (
            "/openai/deployments/d/embeddings",
            false,
            "{\"data\":[{\"embedding\":[".into(),
            format!("0]}}],\"model\":\"text-embedding-3-small\",\"usage\":{{\"prompt_tokens\":{input},\"total_tokens\":{input}}}}}"),
        ),
        _ => (
            "/openai/deployments/d/chat/completions",
            false,
            "{\"model\":\"gpt-4o-2024-11-20\",\"choices\":[{\"index\":0,\"finish_reason\":\"stop\",\"message\":{\"content\":\"".into(),
            format!("\"}}}}],\"usage\":{chat}}}"),
        ),
    }
}

/// The nth answer, in parts.
fn parts(nth: usize, texts: &Texts, bytes: usize) -> [Bytes; 3] {
    let (_, _, front, back) = shape(nth);
    // Whole deltas and numbers.
    let (text, unit) = match nth % 7 {
        0 => (&texts.deltas, texts.deltas.windows(2).position(|end| end == b"\n\n").unwrap() + 2),
        5 => (&texts.floats, 11),
        _ => (&texts.base64, 4),
    };
    let bytes = bytes.min(text.len());
    [front.into(), text.slice(..bytes - bytes % unit), back.into()]
}

fn answer(
    request: &Message,
    to: &mut TcpStream,
    texts: &Texts,
    bytes_of: fn(usize) -> usize,
) -> io::Result<()> {
    if request.first_line().contains(PROMPTS) {
        to.write_all(STREAM_HEAD.as_bytes())?;
        write_chunk(to, (delta(" weir") + &stop()).as_bytes())?;
        return write_end(to);
    }
    let asked: Value = serde_json::from_slice(&request.body)?;
    let nth = asked["user"].as_str().unwrap().parse().unwrap();
    let parts = parts(nth, texts, bytes_of(nth));
    if shape(nth).1 {
        to.write_all(STREAM_HEAD.as_bytes())?;
        for part in parts.iter().flat_map(|part| part.chunks(256 << 10)) {
            write_chunk(to, part)?;
        }
        return write_end(to);
    }
    let length: usize = parts.iter().map(Bytes::len).sum();
    write!(to, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n")?;
    parts.iter().try_for_each(|part| to.write_all(part))
}

/// Bytes of the nth answer: spread evenly, in no order.
fn bytes_of(nth: usize) -> usize {
    let most = if is_long() { 30 } else { 6 };
    (1 << 20) + (nth * 7_919 % 1_000) * ((most - 1) << 20) / 1_000
}

/// A loop that wants all of a core; killed when dropped.
struct Busy(Child);

impl Drop for Busy {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The first core that this process may use.
fn core() -> String {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let list = status.lines().find_map(|line| line.strip_prefix("Cpus_allowed_list:")).unwrap().trim();
    list.split([',', '-']).next().unwrap().to_owned()
}

#[test]
fn bursts_on_half_a_core_keep_every_reported_number() {
    let calls = if long() { 200 } else { 48 };
    let texts = Arc::new(Texts::of((0..calls).map(bytes_of).max().unwrap()));
    let service = {
        let texts = Arc::clone(&texts);
        upstream::start(Arc::new(move |request, to| answer(request, to, &texts, bytes_of)))
    };
    let dir = tempfile::tempdir().unwrap();
    let ledger = dir.path().join("ledger");
    let core = core();
    let mut command = Command::new("taskset");
    command.args(["-c", &core, binary()]);
    serve_arguments(&mut command, service, &ledger, &[]);
    let sidecar = Sidecar::run(&mut command);
    let spin = ["-c", &core, "sh", "-c", "while :; do :; done"];
    let busy = Busy(Command::new("taskset").args(spin).stdout(Stdio::null()).spawn().unwrap());
    let before = status_bytes(sidecar.pid(), "VmRSS");

    let (began, next, done) = (Instant::now(), AtomicUsize::new(0), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let prompt = "weir and stream ".repeat(PROMPT_BYTES / 16);
            let body = json!({"stream": true, "messages": [{"role": "user", "content": prompt}]}).to_string();
            let request = post(&format!("/openai{PROMPTS}chat/completions"), &[], &body);
            let mut connection = connect(sidecar.addr);
            while done.load(Ordering::SeqCst) < AT_ONCE && began.elapsed() < 4 * PATIENCE {
                assert_eq!(exchange(&mut connection, &request).status(), 200);
            }
        });
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                let mut connection = connect(sidecar.addr);
                loop {
                    let nth = next.fetch_add(1, Ordering::SeqCst);
                    if nth >= calls {
                        done.fetch_add(1, Ordering::SeqCst);
                        return;
                    }
                    let body = json!({"model": "gpt-4o", "stream": shape(nth).1, "user": nth.to_string(), "input": "Hi",
                        "stream_options": {"include_usage": true}, "messages": [{"role": "user", "content": "Hi"}]});
                    let got = exchange(&mut connection, &post(shape(nth).0, &[], &body.to_string()));
                    let mut rest = &got.body[..];
                    for part in parts(nth, &texts, bytes_of(nth)) {
                        rest = rest.strip_prefix(&part[..]).unwrap_or_else(|| panic!("answer {nth}: other bytes"));
                    }
                    assert!(rest.is_empty(), "answer {nth}: more bytes");
                }
            });
        }
    });
    drop(busy);
    let (took, most) = (began.elapsed(), status_bytes(sidecar.pid(), "VmHWM"));
    let events = wait_for("every call's event", || {
        let mut events = usage_events(&ledger);
        events.retain(|event| event["data"]["target"]["deployment"] != "prompts");
        (events.len() >= calls).then_some(events)
    });
    let metrics = String::from_utf8(get(sidecar.admin, "/metrics").body).unwrap();
    let overloads = metrics.lines().find(|line| line.starts_with("tokenweir_meter_overload_total"));
    println!("{calls} answers in {took:?}, {} MiB at most, {}", most >> 20, overloads.unwrap_or_default());
    let mut seen: Vec<u64> = Vec::new();
    for event in &events {
        let data = &event["data"];
        assert_eq!(data["stream"]["outcome"], "complete", "{event}");
        assert_eq!(data["stream"]["parse_errors"], 0, "{event}");
        assert_eq!(data["accounting"]["input_source"], "reported", "{event}");
        let input = data["tokens"]["input"].as_u64().unwrap();
        let output = if (input - 1_000) % 7 == 5 { 0 } else { input - 1_000 + 7 };
        assert_eq!(data["tokens"]["output"], output, "{event}");
        seen.push(input);
    }
    seen.sort_unstable();
    assert!(seen.iter().copied().eq((0..calls as u64).map(|nth| 1_000 + nth)), "{seen:?}");
    let allowed = before + PROCESS_BYTES + AT_ONCE * CALL_BYTES;
    assert!(most <= allowed, "{} MiB, {} are allowed", most >> 20, allowed >> 20);
    assert_eq!(sidecar.stop().0, Some(0));
    verified(&ledger);
}
