//! Images and sound: what is billed by tokens, by images, by seconds and by characters, by the real SDK's requests.

use std::io::{self, Write};
use std::net::TcpStream;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use metering::usage::{Api, Outcome, Quality, Source, Usage};
use serde::Deserialize;
use serde_json::{Value, json};

use super::sdk::PYTHON;
use super::support::fake_service::{self, STREAM_HEAD, write_chunk, write_end};
use super::support::http::Message;
use super::support::sidecar::verified;
use super::{SHARED_SECRET, events_by_caller, sidecar};

/// A call, as the script reports it.
#[derive(Debug, Deserialize)]
struct Call {
    caller: String,
    model: String,
    stream: bool,
    answer: Value,
}

/// The response that the service sends.
enum Answer {
    Whole(Value),
    Stream(Vec<Value>),
    Sound(Vec<u8>),
}

/// An answer, and what it costs by the rules: the members of the event that are not null.
struct Sent {
    answer: Answer,
    api: Api,
    operation: &'static str,
    tokens: Value,
    units: Value,
    /// It has no usage, and might have had one.
    silent: bool,
}

fn sent(model: &str, stream: bool) -> Option<Sent> {
    if stream {
        drawn_in_parts(model)
    } else {
        drawn(model).or_else(|| heard(model)).or_else(|| spoken(model))
    }
}

fn image(answer: Answer, tokens: Value, images: u64) -> Sent {
    let (silent, units) = (tokens == json!({}), json!({"images": images}));
    Sent { answer, api: Api::Images, operation: "image_generation", tokens, units, silent }
}

/// A usage, and the members of an event's `tokens` that say the same.
fn tokens_of_an_image() -> (Value, Value) {
    let usage = json!({"input_tokens": 350, "input_tokens_details": {"text_tokens": 27, "image_tokens": 323},
        "output_tokens": 4_200, "output_tokens_details": {"image_tokens": 4_160, "text_tokens": 40}, "total_tokens": 4_550});
    let tokens = json!({"input": 350, "output": 4_200, "total": 4_550, "input_text": 27, "input_image": 323,
        "output_text": 40, "output_image": 4_160});
    (usage, tokens)
}

fn drawn(model: &str) -> Option<Sent> {
    let (usage, tokens) = tokens_of_an_image();
    Some(match model {
        "image" => {
            let data = [json!({"b64_json": "iVBO"}), json!({"b64_json": "iVBP"})];
            let body = json!({"created": 1_795_000_000, "data": data, "size": "1024x1024", "quality": "high",
                "output_format": "png", "usage": usage});
            image(Answer::Whole(body), tokens, 2)
        }
        "drawn" => {
            let body = json!({"created": 1_795_000_000, "data": [{"url": "https://img.example/x"}]});
            image(Answer::Whole(body), json!({}), 1)
        }
        _ => return None,
    })
}

fn drawn_in_parts(model: &str) -> Option<Sent> {
    let (usage, tokens) = tokens_of_an_image();
    let event = |kind: &str| {
        json!({"type": format!("image_generation.{kind}"), "b64_json": "iVBO".repeat(20_000), "background": "opaque",
            "created_at": 1_795_000_000, "output_format": "png", "quality": "high", "size": "1024x1024"})
    };
    let (mut partial, mut completed) = (event("partial_image"), event("completed"));
    partial["partial_image_index"] = json!(0);
    completed["usage"] = usage;
    (model == "image").then(|| image(Answer::Stream(vec![partial, completed]), tokens, 1))
}

fn heard(model: &str) -> Option<Sent> {
    let usage = match model {
        "scribe" => {
            Some(json!({"type": "tokens", "input_tokens": 114, "output_tokens": 5, "total_tokens": 119,
            "input_token_details": {"text_tokens": 14, "audio_tokens": 100}}))
        }
        "seconds" => Some(json!({"type": "duration", "seconds": 8.25})),
        "whisper" => None,
        _ => return None,
    };
    let (tokens, units) = match model {
        "scribe" => {
            let tokens =
                json!({"input": 114, "output": 5, "total": 119, "input_text": 14, "input_audio": 100});
            (tokens, json!({}))
        }
        "seconds" => (json!({}), json!({"audio_ms": 8_250})),
        _ => (json!({}), json!({"audio_ms": 8_470})),
    };
    let (mut body, silent) = (json!({"text": "Teal."}), usage.is_none());
    if model != "scribe" {
        body = json!({"task": "transcribe", "language": "english", "duration": 8.47, "text": "Teal.", "segments": []});
    }
    if let Some(usage) = usage {
        body["usage"] = usage;
    }
    Some(Sent {
        answer: Answer::Whole(body),
        api: Api::Audio,
        operation: "transcription",
        tokens,
        units,
        silent,
    })
}

fn spoken(model: &str) -> Option<Sent> {
    let sound = (0..200_000_u32).flat_map(u32::to_le_bytes).collect();
    (model == "voice").then(|| Sent {
        answer: Answer::Sound(sound),
        api: Api::Audio,
        operation: "speech",
        tokens: json!({}),
        units: json!({"characters": 14}),
        silent: true,
    })
}

/// The deployment that a request names: in its path, in its JSON, or in its form.
fn asked(request: &Message) -> (String, bool) {
    let body = String::from_utf8_lossy(&request.body);
    let json: Value = serde_json::from_str(&body).unwrap_or_default();
    // The SDK writes what is no file first.
    let part = |name: &str| {
        let (_, part) = body.split_once(&format!("name=\"{name}\"\r\n\r\n"))?;
        part.split_once("\r\n").map(|(value, _)| value.to_owned())
    };
    let by_path = request.target().split_once("/deployments/").and_then(|(_, rest)| rest.split('/').next());
    let by_body = || json["model"].as_str().map(str::to_owned).or_else(|| part("model"));
    let model = by_path.map(str::to_owned).or_else(by_body).unwrap_or_default();
    (model, json["stream"] == true)
}

fn answer(request: &Message, to: &mut TcpStream) -> io::Result<()> {
    assert_eq!(request.fields("x-tokenweir-auth"), [""; 0], "the secret went upstream");
    let (model, stream) = asked(request);
    match sent(&model, stream).ok_or(io::ErrorKind::InvalidInput)?.answer {
        Answer::Whole(body) => body_of(to, "application/json", body.to_string().as_bytes()),
        Answer::Sound(sound) => body_of(to, "audio/mpeg", &sound),
        Answer::Stream(events) => {
            to.write_all(STREAM_HEAD.as_bytes())?;
            for event in events {
                let kind = event["type"].as_str().unwrap_or_default();
                write_chunk(to, format!("event: {kind}\ndata: {event}\n\n").as_bytes())?;
            }
            write_end(to)
        }
    }
}

fn body_of(to: &mut TcpStream, kind: &str, body: &[u8]) -> io::Result<()> {
    write!(to, "HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n\r\n", body.len())?;
    to.write_all(body)
}

#[test]
fn python_images_and_sound_through_serve_give_one_right_event_each() {
    let Some(ready) = PYTHON.ready() else { return };
    let service = fake_service::start(Arc::new(answer));
    let dir = tempfile::tempdir().expect("directory");
    let ledger = dir.path().join("ledger");
    let sidecar = sidecar(service, &ledger, &[]);
    let calls: Vec<Call> = ready.lines("media.py", &[&format!("http://{}", sidecar.addr), SHARED_SECRET]);
    assert_eq!(sidecar.stop().0, Some(0));
    verified(&ledger);
    assert_eq!(calls.len(), 14, "two clients, seven calls");
    let mut events = events_by_caller(&ledger);
    for call in &calls {
        let found = events.remove(&call.caller).unwrap_or_default();
        assert_eq!(found.len(), 1, "events of {} {}", call.caller, call.model);
        judge(call, &found[0]);
    }
    assert!(events.is_empty(), "events that nobody called for: {events:?}");
}

fn judge(call: &Call, event: &Usage) {
    let Call { model, stream, .. } = call;
    let sent = sent(model, *stream).expect("a model that it knows");
    let received = match sent.answer {
        Answer::Whole(body) => body,
        Answer::Stream(events) => events.into(),
        Answer::Sound(sound) => STANDARD.encode(sound).into(),
    };
    assert!(call.answer == received, "{model}: what was received is what was sent");
    let (target, accounting) = (&event.target, &event.accounting);
    assert_eq!((target.api, target.operation.as_deref()), (sent.api, Some(sent.operation)), "{model}");
    assert_eq!((target.deployment.as_deref(), event.stream.outcome), (Some(&**model), Outcome::Complete));
    assert_eq!(known(&event.tokens), sent.tokens, "{model}");
    assert_eq!(known(&event.units), sent.units, "{model}");
    let reported = sent.tokens != json!({});
    let said =
        if reported { (Source::Reported, Quality::Exact) } else { (Source::Unknown, Quality::Unknown) };
    assert_eq!((accounting.input_source, accounting.input_quality), said, "{model}");
    assert_eq!((accounting.output_source, accounting.output_quality), said, "{model}");
    let reasons: &[&str] = if sent.silent { &["input:no_usage", "output:no_usage"] } else { &[] };
    assert_eq!(accounting.reasons, reasons, "{model}");
}

/// The members that are not null.
fn known(numbers: &impl serde::Serialize) -> Value {
    let mut numbers = serde_json::to_value(numbers).expect("JSON");
    numbers.as_object_mut().expect("an object").retain(|_, value| !value.is_null());
    numbers
}
