//! `--streaming deny`: what asks for a stream, or may, never reaches the service.

use metering::usage::Outcome;
use serde_json::Value;
use tokenweir::proxy::Policy;

use crate::rig::{Rig, Script, Setup, ok, post};

fn denying() -> (Rig, Script) {
    let script = Script::start(|mut wire, _| {
        // Until the proxy closes: a connection that is kept must be fit for the next request.
        while !wire.message().head.is_empty() {
            wire.send(ok(r#"{"ok":1}"#));
        }
    });
    let policy = Policy { deny_streaming: true, inspect_bytes_max: 4096, ..Policy::default() };
    (Setup { policy, ..Setup::to(script.addr) }.start(), script)
}

#[test]
fn a_request_for_a_stream_is_refused_with_one_event_and_not_sent() {
    let (rig, script) = denying();
    for (n, body) in
        [r#"{"model":"m","stream":true}"#, r#"{"str\u0065am":true}"#, "{not json"].iter().enumerate()
    {
        let got = rig.send(post(body)).message();
        assert_eq!(got.status(), 403, "{body}");
        let error: Value = serde_json::from_slice(&got.body).unwrap();
        assert_eq!(error["error"]["code"], "streaming_denied");
        let calls = rig.heard.calls(n + 1);
        let usage = &calls.last().unwrap().usage;
        assert_eq!((usage.stream.outcome, usage.request.status), (Outcome::Rejected, 403));
        assert_eq!((usage.tokens.input, usage.tokens.output), (Some(0), Some(0)));
        assert_eq!(usage.request.stream, (n < 2).then_some(true), "the event says what was asked for");
    }
    assert_eq!(script.connections(), 0);
}

#[test]
fn everything_else_passes_with_its_bytes() {
    let (rig, script) = denying();
    for body in [r#"{"stream":false}"#, r#"{ "a" : "\"stream\":true" }"#, ""] {
        let got = rig.send(post(body)).message();
        assert_eq!((got.status(), &got.body[..]), (200, &br#"{"ok":1}"#[..]), "{body}");
    }
    assert!(script.connections() >= 1);
    rig.heard.calls(3);
}

#[test]
fn a_body_too_long_to_know_is_refused() {
    let (rig, script) = denying();
    let body = format!(r#"{{"a":"{}"}}"#, "x".repeat(5000));
    let got = rig.send(post(&body)).message();
    assert_eq!(got.status(), 413);
    let mut wire =
        rig.send("POST /v1/chat/completions HTTP/1.1\r\nHost: gw\r\nTransfer-Encoding: chunked\r\n\r\n");
    wire.chunk(&body);
    wire.chunk("");
    let got = wire.message();
    assert_eq!(got.status(), 413);
    assert!(String::from_utf8(got.body).unwrap().contains("request_too_long"));
    for call in rig.heard.calls(2) {
        assert_eq!((call.usage.stream.outcome, call.usage.request.status), (Outcome::Rejected, 413));
    }
    assert_eq!(script.connections(), 0);
}

#[test]
fn websockets_and_replays_are_streams() {
    let (rig, script) = denying();
    let upgrade = "GET /openai/v1/realtime?model=m HTTP/1.1\r\nHost: gw\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: eDEyMzQ1Njc4OTAxMjM0NQ==\r\n\r\n";
    assert_eq!(rig.send(upgrade).message().status(), 403);
    assert_eq!(rig.heard.calls(1)[0].usage.stream.outcome, Outcome::Rejected);
    let replay = "GET /openai/v1/responses/r?stream=true HTTP/1.1\r\nHost: gw\r\n\r\n";
    assert_eq!(rig.send(replay).message().status(), 403);
    assert_eq!(script.connections(), 0);
    let stored = "GET /openai/v1/responses/r HTTP/1.1\r\nHost: gw\r\n\r\n";
    assert_eq!(rig.send(stored).message().status(), 200);
    rig.heard.calls(1);
}
