//! What a request's body says reaches its event, whatever it is: JSON, a form, or either in a coding.
//! Its bytes reach the service as they came.

use std::cell::Cell;
use std::sync::mpsc::{Receiver, channel};

use metering::usage::{Api, Outcome, Quality, Source, Usage};
use serde_json::json;

use crate::rig::{CHUNKED, Message, Rig, Script, Setup, ok};
use crate::support::codings::{gzip, zlib, zstd};

const FORM: &str = "Content-Type: multipart/form-data; boundary=\"cut-here\"\r\n";
const JSON: &str = "Content-Type: application/json\r\n";

/// A proxy before a service that answers everything with one document.
struct Service {
    rig: Rig,
    requests: Receiver<Message>,
    calls: Cell<usize>,
}

impl Service {
    fn that_says(answer: &'static str) -> Service {
        let (seen, requests) = channel();
        let script = Script::answering(move |message, wire| {
            seen.send(message).unwrap();
            if answer.starts_with("data:") {
                wire.send(CHUNKED);
                wire.chunk(answer);
                wire.chunk("");
            } else {
                wire.send(ok(answer));
            }
        });
        Service { rig: Setup::to(script.addr).start(), requests, calls: Cell::new(0) }
    }

    /// Sends a body to a path; what the service got of it is what was sent. The call's event.
    fn call(&self, path: &str, fields: &str, body: &[u8]) -> Usage {
        let length = body.len();
        let head = format!("POST {path} HTTP/1.1\r\nHost: gw\r\n{fields}Content-Length: {length}\r\n\r\n");
        let got = self.rig.send([head.as_bytes(), body].concat()).message();
        assert_eq!(got.status(), 200, "{path}");
        assert!(self.requests.recv().unwrap().body == body, "{path}: other bytes");
        self.calls.set(self.calls.get() + 1);
        self.rig.heard.calls(self.calls.get()).pop().unwrap().usage
    }
}

fn form(parts: &[(&str, &str)]) -> Vec<u8> {
    let part = |(head, value): &(&str, &str)| {
        format!("--cut-here\r\nContent-Disposition: form-data; {head}\r\n\r\n{value}\r\n")
    };
    (parts.iter().map(part).collect::<String>() + "--cut-here--\r\n").into_bytes()
}

const REPORTED: &str =
    r#"{"id":"x_1","usage":{"input_tokens":9044,"output_tokens":153,"total_tokens":9197}}"#;

fn numbers(usage: &Usage) -> (Option<u64>, Option<u64>, Source, Source) {
    let accounting = &usage.accounting;
    (usage.tokens.input, usage.tokens.output, accounting.input_source, accounting.output_source)
}

#[test]
fn the_model_of_a_form_is_its_deployment() {
    let reporting = Service::that_says(REPORTED);
    let picture = "\u{1}\r\n--cut-here-not\r\n".repeat(10_000);
    for (path, api) in [
        ("/openai/v1/images/edits", Api::Images),
        ("/openai/v1/audio/transcriptions", Api::Audio),
        ("/openai/v1/audio/translations", Api::Audio),
        ("/openai/v1/videos", Api::Video),
    ] {
        let body = form(&[
            ("name=\"prompt\"", "a red door"),
            ("name=\"file\"; filename=\"model.png\"", &picture),
            ("name=\"model\"", "team-image"),
            ("name=\"size\"", "1024x1536"),
        ]);
        let usage = reporting.call(path, FORM, &body);
        assert_eq!(usage.target.api, api, "{path}");
        assert_eq!(usage.target.deployment.as_deref(), Some("team-image"), "{path}");
        assert_eq!(usage.target.model_requested.as_deref(), Some("team-image"), "{path}");
        assert_eq!(usage.request.stream, Some(false), "{path}");
        let size = (api != Api::Audio).then_some("1024x1536");
        assert_eq!(usage.request.size.as_deref(), size, "{path}");
        assert_eq!(numbers(&usage), (Some(9044), Some(153), Source::Reported, Source::Reported), "{path}");
    }
    // A deployment in the path is the deployment.
    let body = form(&[("name=\"stream\"", "true"), ("name=\"model\"", "other")]);
    let usage = reporting.call("/openai/deployments/d/audio/transcriptions", FORM, &body);
    assert_eq!(usage.target.deployment.as_deref(), Some("d"));
    assert_eq!((usage.target.model_requested.as_deref(), usage.request.stream), (Some("other"), Some(true)));
}

#[test]
fn json_of_images_and_audio_is_read_too() {
    let reporting = Service::that_says(REPORTED);
    for (path, stream) in [
        ("/openai/v1/audio/speech", true),
        ("/openai/v1/images/generations", false),
        ("/openai/v1/videos", false),
    ] {
        let body = json!({"model": "team-voice", "input": "Hello", "stream": stream}).to_string();
        let usage = reporting.call(path, JSON, body.as_bytes());
        assert_eq!(usage.target.deployment.as_deref(), Some("team-voice"), "{path}");
        assert_eq!(usage.target.model_requested.as_deref(), Some("team-voice"), "{path}");
        assert_eq!(usage.request.stream, Some(stream), "{path}");
    }
}

#[test]
fn what_any_other_call_reports_is_taken() {
    let reporting = Service::that_says(REPORTED);
    let body = br#"{"model":"judge","input":[]}"#;
    for (path, api) in [
        ("/openai/v1/decisions", Api::Other),
        ("/openai/v1/responses/compact", Api::Responses),
        ("/openai/responses/compact?api-version=2025-04-01-preview", Api::Responses),
        ("/api/projects/p/openai/v1/responses/compact", Api::Responses),
        ("/some/day/something", Api::Other),
        ("/openai/threads/t/runs", Api::Assistants),
    ] {
        let usage = reporting.call(path, JSON, body);
        assert_eq!(usage.target.api, api, "{path}");
        assert_eq!(usage.target.deployment.as_deref(), Some("judge"), "{path}");
        assert_eq!(usage.ids.response_id.as_deref(), Some("x_1"), "{path}");
        assert_eq!(numbers(&usage), (Some(9044), Some(153), Source::Reported, Source::Reported), "{path}");
        assert_eq!(usage.accounting.input_quality, Quality::Exact, "{path}");
        assert_eq!(usage.stream.outcome, Outcome::Complete, "{path}");
    }
    let silent = Service::that_says("{}");
    let usage = silent.call("/openai/v1/decisions", JSON, body);
    assert_eq!(numbers(&usage), (None, None, Source::Unknown, Source::Unknown), "null is not 0");
}

#[test]
fn what_is_kept_for_other_calls_makes_no_event() {
    let reporting = Service::that_says(REPORTED);
    for path in [
        "/openai/v1/files",
        "/openai/v1/uploads/u/parts",
        "/openai/v1/vector_stores/v/search",
        "/openai/v1/conversations/c/items",
        "/openai/threads/t/messages?api-version=1",
        "/openai/v1/realtime/calls/rtc_1/hangup",
        "/openai/v1/fine_tuning/jobs/j/pause",
    ] {
        let head = format!("POST {path} HTTP/1.1\r\nHost: gw\r\n{JSON}Content-Length: 2\r\n\r\n{{}}");
        assert_eq!(reporting.rig.send(head).message().status(), 200, "{path}");
        assert_eq!(reporting.requests.recv().unwrap().body, b"{}", "{path}");
    }
    let usage = reporting.call("/openai/v1/fine_tuning/jobs", JSON, br#"{"model":"m"}"#);
    assert_eq!(usage.target.api, Api::Other, "the only event is that of a job that was made");
}

#[test]
fn characters_of_speech_are_counted_in_any_coding() {
    let reporting = Service::that_says("{}");
    let filler = "Grün \\ud83d\\ude00\\n".repeat(100_000);
    for input in ["Teal.", &filler] {
        let body = format!(r#"{{"input":"{input}","model":"tts"}}"#).into_bytes();
        let characters = if input == "Teal." { 5 } else { 700_000 };
        for (coding, coded) in [("identity", body.clone()), ("gzip", gzip(&body)), ("zstd", zstd(&body))] {
            let fields = format!("{JSON}Content-Encoding: {coding}\r\n");
            let usage = reporting.call("/openai/v1/audio/speech", &fields, &coded);
            assert_eq!(usage.units.characters, Some(characters), "{coding}");
            assert_eq!(usage.target.operation.as_deref(), Some("speech"));
        }
    }
}

#[test]
fn a_model_of_flux_may_be_named_by_its_path() {
    let reporting = Service::that_says(r#"{"data":[{"b64_json":"AA"}]}"#);
    let path = "/providers/blackforestlabs/v1/flux-2-pro?api-version=preview";
    for (body, deployment) in
        [(&br#"{"prompt":"a hat"}"#[..], "flux-2-pro"), (br#"{"model":"team-f"}"#, "team-f")]
    {
        let usage = reporting.call(path, JSON, body);
        assert_eq!((usage.target.api, usage.target.deployment.as_deref()), (Api::Images, Some(deployment)));
        assert_eq!(usage.target.operation.as_deref(), Some("image_generation"));
        assert_eq!(usage.units.images, Some(1));
    }
}

#[test]
fn what_is_free_is_known_to_cost_nothing() {
    let reporting = Service::that_says(REPORTED);
    for path in [
        "/openai/v1/responses/input_tokens",
        "/openai/v1/chat/completions/chatcmpl-1",
        "/anthropic/v1/messages/count_tokens",
    ] {
        let usage = reporting.call(path, JSON, br#"{"model":"team-r"}"#);
        assert_eq!(numbers(&usage), (Some(0), Some(0), Source::Computed, Source::Computed), "{path}");
        assert_eq!(usage.accounting.output_quality, Quality::Exact, "{path}");
        assert_eq!(usage.accounting.reasons, ["input:not_billed", "output:not_billed"], "{path}");
    }
}

/// Anthropic's `input_tokens` are only a part of the prompt.
const MESSAGE: &str = r#"{"id":"msg_1","type":"message","role":"assistant","model":"claude-sonnet-5","content":[{"type":"text","text":"Teal."}],"stop_reason":"end_turn","usage":{"input_tokens":12,"cache_creation_input_tokens":3000,"cache_read_input_tokens":20000,"output_tokens":9,"service_tier":"standard"}}"#;

#[test]
fn a_message_says_what_it_cost_behind_any_prefix() {
    let service = Service::that_says(MESSAGE);
    for path in
        ["/anthropic/v1/messages", "/team/anthropic/messages", "/api/projects/p/anthropic/v1/messages"]
    {
        let usage = service.call(path, JSON, br#"{"model":"claude-team","max_tokens":64,"messages":[]}"#);
        assert_eq!(numbers(&usage), (Some(23012), Some(9), Source::Reported, Source::Reported), "{path}");
        let (target, tokens) = (&usage.target, &usage.tokens);
        assert_eq!((target.api, &*target.provider), (Api::Messages, "anthropic"), "{path}");
        assert_eq!(target.deployment.as_deref(), Some("claude-team"), "{path}");
        assert_eq!(target.model.as_deref(), Some("claude-sonnet-5"), "{path}");
        assert_eq!((tokens.input_cached, tokens.input_cache_write), (Some(20000), Some(3000)), "{path}");
        assert_eq!(usage.accounting.input_quality, Quality::Exact, "{path}");
    }
}

const STREAM: &str = concat!(
    "data: {\"id\":\"c\",\"model\":\"gpt-4o-2024-11-20\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"Hi\"},\"finish_reason\":\"stop\"}]}\n\n",
    "data: [DONE]\n\n"
);

/// The prompt of a coded request is counted as the same one is without its coding.
#[test]
fn a_coded_request_says_what_a_plain_one_says() {
    let streaming = Service::that_says(STREAM);
    let short =
        json!({"model": "gpt-4o", "stream": true, "messages": [{"role": "user", "content": "Hello"}]});
    let words = "What does a weir do? ".repeat(20_000);
    let long = json!({"messages": [{"role": "user", "content": words}], "model": "gpt-4o", "stream": true});
    for body in [short.to_string(), long.to_string()] {
        let plain = streaming.call("/openai/v1/chat/completions", JSON, body.as_bytes());
        assert_eq!(plain.request.stream, Some(true));
        assert_eq!(plain.accounting.input_source, Source::Computed);
        for (codings, coded) in [
            ("gzip", gzip(body.as_bytes())),
            ("deflate", zlib(body.as_bytes())),
            ("zstd", zstd(body.as_bytes())),
            ("gzip, zstd", zstd(&gzip(body.as_bytes()))),
        ] {
            let fields = format!("{JSON}Content-Encoding: {codings}\r\n");
            let usage = streaming.call("/openai/v1/chat/completions", &fields, &coded);
            assert_eq!(usage.request.stream, Some(true), "{codings}");
            assert_eq!(usage.target.deployment.as_deref(), Some("gpt-4o"), "{codings}");
            assert_eq!((&usage.tokens, &usage.accounting), (&plain.tokens, &plain.accounting), "{codings}");
        }
    }
}

#[test]
fn a_coded_request_of_a_call_that_is_not_counted_is_read_too() {
    let reporting = Service::that_says(REPORTED);
    let filler = "x ".repeat(100_000);
    let body = json!({"prompt": filler, "model": "team-image", "stream": false}).to_string();
    for path in ["/openai/v1/images/generations", "/openai/v1/decisions"] {
        let fields = format!("{JSON}Content-Encoding: gzip\r\n");
        let usage = reporting.call(path, &fields, &gzip(body.as_bytes()));
        assert_eq!(usage.target.deployment.as_deref(), Some("team-image"), "{path}");
        assert_eq!(usage.request.stream, Some(false), "{path}");
        assert_eq!(usage.tokens.output, Some(153), "{path}");
    }
    let body = form(&[("name=f; filename=f", &filler), ("name=model", "team-voice")]);
    let fields = format!("{FORM}Content-Encoding: zstd\r\n");
    let usage = reporting.call("/openai/v1/audio/transcriptions", &fields, &zstd(&body));
    assert_eq!(usage.target.deployment.as_deref(), Some("team-voice"));
}

#[test]
fn what_cannot_be_read_is_not_known() {
    let streaming = Service::that_says(STREAM);
    let body = br#"{"model":"gpt-4o","stream":true,"messages":[]}"#;
    let bomb = gzip(&vec![b' '; 200 << 20]);
    let coded = gzip(body);
    for (what, codings, body) in [
        ("an unknown coding", "compress", &body[..]),
        ("one that is not there", "gzip", body),
        ("a bomb", "gzip", &bomb),
        ("a cut one", "gzip", &coded[..20]),
        ("too many", "gzip, gzip, gzip", &coded),
    ] {
        let fields = format!("{JSON}Content-Encoding: {codings}\r\n");
        let usage = streaming.call("/openai/v1/chat/completions", &fields, body);
        assert_eq!(usage.request.stream, None, "{what}");
        assert_eq!((usage.tokens.input, usage.accounting.input_quality), (None, Quality::Unknown), "{what}");
        let said = usage.accounting.reasons.contains(&"input:encoding".into());
        assert!(said, "{what}: {:?}", usage.accounting.reasons);
        assert_eq!(usage.stream.outcome, Outcome::Complete, "{what}");
    }
}
