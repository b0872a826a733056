//! Anthropic's Messages over real sockets: by every path that a gateway gives them, whole and broken in every way,
//! and with each setting that touches traffic.

use std::sync::mpsc::{Receiver, channel};

use metering::usage::{Api, IncludeUsage, Outcome, Quality, Source, Usage};
use serde_json::{Value, json};
use tokenweir::proxy::{DrainBounds, Policy};

use crate::rig::{CHUNKED, Message, PATIENCE, Rig, Script, Setup, Wire, eventually, ok};
use crate::support::codings;
use crate::support::messages::{
    INPUT, REQUEST, beginning, begun_with, change, error, event, message, start, stop, stream, text_delta,
};

const PATH: &str = "/anthropic/v1/messages";

/// As `AnthropicFoundry` sends it.
fn post(path: &str, body: &str) -> String {
    format!(
        "POST {path} HTTP/1.1\r\nHost: gw\r\nContent-Type: application/json\r\nAnthropic-Version: 2023-06-01\r\n\
         X-Api-Key: k\r\nAccept-Encoding: gzip\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// A service that gives each request to the test, and its answer from the test.
fn service(policy: Policy, answer: impl Fn(&mut Wire) + Send + Sync + 'static) -> (Rig, Receiver<Message>) {
    let (seen, requests) = channel();
    let script = Script::answering(move |request, wire| {
        _ = seen.send(request); // not every test looks at it
        answer(wire);
    });
    (Setup { policy, ..Setup::to(script.addr) }.start(), requests)
}

/// An answer of events, each in a chunk of its own.
fn events(wire: &mut Wire, events: &str) {
    wire.send(CHUNKED);
    events.split_inclusive("\n\n").for_each(|event| wire.chunk(event));
}

fn whole(wire: &mut Wire) {
    events(wire, &stream());
    wire.chunk("");
}

fn usage(rig: &Rig, count: usize) -> Usage {
    rig.heard.calls(count).pop().unwrap().usage
}

fn is_whole(usage: &Usage, of: &str) {
    assert_eq!((usage.target.api, &*usage.target.provider), (Api::Messages, "anthropic"), "{of}");
    assert_eq!((usage.tokens.input, usage.tokens.output), (Some(INPUT), Some(9)), "{of}");
    assert_eq!(
        (usage.tokens.input_cached, usage.tokens.input_cache_write),
        (Some(20_000), Some(3000)),
        "{of}"
    );
    assert_eq!(usage.target.deployment.as_deref(), Some("claude-team"), "{of}");
    assert_eq!(usage.target.model.as_deref(), Some("claude-sonnet-5"), "{of}");
    let accounting = &usage.accounting;
    assert_eq!(
        (accounting.input_quality, accounting.output_quality),
        (Quality::Exact, Quality::Exact),
        "{of}"
    );
    assert_eq!(usage.stream.outcome, Outcome::Complete, "{of}");
}

/// The event has what was reported until the stream was cut, and says how it was.
fn is_cut(usage: &Usage, outcome: Outcome) {
    assert_eq!((usage.tokens.input, usage.tokens.output), (Some(INPUT), Some(1)), "{:?}", usage.accounting);
    let accounting = &usage.accounting;
    assert_eq!((accounting.input_source, accounting.output_source), (Source::Reported, Source::Reported));
    assert_eq!((accounting.input_quality, accounting.output_quality), (Quality::Exact, Quality::LowerBound));
    assert_eq!(accounting.reasons, [format!("output:{}", outcome.as_str())]);
    assert_eq!(usage.stream.outcome, outcome);
}

#[test]
fn behind_any_prefix_and_in_any_spelling_it_is_one() {
    const ODD: [&str; 2] = ["input:odd_path", "output:odd_path"];
    let (rig, requests) = service(Policy::default(), whole);
    let plain: &[&str] = &[];
    for (n, (path, reasons)) in [
        (PATH, plain),
        ("/v1/messages", plain),
        ("/gw/anthropic/v1/messages", plain),
        ("/team/claude/v1/messages?beta=true", plain),
        ("/api/projects/p/anthropic/v1/messages", plain),
        ("/anthropic/messages", plain),
        ("/Anthropic/V1/Messages/", plain),
        ("//anthropic//v1//messages", plain),
        ("/anthropic/v1/%6dessages", &ODD),
        ("/anthropic/v1%2Fmessages", &ODD),
        ("/anthropic/v1/messages;x=1", &ODD),
        ("/anthropic/v1/x/../messages", &ODD),
        ("/anthropic/v1/messages/.", &ODD),
    ]
    .into_iter()
    .enumerate()
    {
        let got = rig.send(post(path, REQUEST)).message();
        assert_eq!((got.status(), String::from_utf8(got.body).unwrap()), (200, stream()), "{path}");
        let sent = requests.recv().unwrap();
        assert_eq!((sent.target(), &sent.body[..]), (path, REQUEST.as_bytes()));
        let usage = usage(&rig, n + 1);
        is_whole(&usage, path);
        assert_eq!(usage.accounting.reasons, reasons, "{path}");
        assert_eq!((usage.request.stream, usage.stream.done_seen), (Some(true), true), "{path}");
    }
}

/// The same word stands for something else elsewhere.
#[test]
fn other_messages_are_none() {
    let (rig, _requests) = service(Policy::default(), |wire| wire.send(ok("{}")));
    for (n, path) in ["/v2/messages", "/messages", "/anthropic/v1/messages/batches"].into_iter().enumerate() {
        rig.send(post(path, REQUEST)).message();
        assert_ne!(usage(&rig, n + 1).target.api, Api::Messages, "{path}");
    }
}

#[test]
fn a_stream_is_refused_where_streams_are_denied() {
    let policy = Policy { deny_streaming: true, inspect_bytes_max: 4096, ..Policy::default() };
    let (rig, requests) =
        service(policy, |wire| wire.send(ok(&message(&[], Some("end_turn"), &begun_with(9)).to_string())));
    for (n, path) in [PATH, "/v1/Messages", "/anthropic/v1/%6Dessages"].into_iter().enumerate() {
        let got = rig.send(post(path, REQUEST)).message();
        assert_eq!(got.status(), 403, "{path}");
        let error: Value = serde_json::from_slice(&got.body).unwrap();
        assert_eq!(error["error"]["code"], "streaming_denied");
        let usage = usage(&rig, n + 1);
        assert_eq!((usage.stream.outcome, usage.tokens.input), (Outcome::Rejected, Some(0)), "{path}");
    }
    assert!(requests.try_recv().is_err(), "nothing was sent");
    let plain = REQUEST.replace("true", "false");
    assert_eq!(rig.send(post(PATH, &plain)).message().status(), 200);
    assert_eq!(requests.recv().unwrap().body, plain.as_bytes());
    is_whole(&usage(&rig, 4), "a document");
}

/// The service reports without being asked, and a member that it does not know it would refuse.
#[test]
fn there_is_nothing_to_ask_for() {
    let policy = Policy { inject_usage: true, inspect_bytes_max: 4096, ..Policy::default() };
    let (rig, requests) = service(policy, whole);
    let got = rig.send(post(PATH, REQUEST)).message();
    assert_eq!(String::from_utf8(got.body).unwrap(), stream());
    let sent = requests.recv().unwrap();
    assert_eq!((&sent.body[..], sent.fields("accept-encoding")), (REQUEST.as_bytes(), vec!["gzip"]));
    let usage = usage(&rig, 1);
    is_whole(&usage, "inject");
    assert_eq!((usage.request.include_usage, usage.request.injection), (IncludeUsage::Absent, None));
}

#[test]
fn a_coded_stream_says_what_a_plain_one_says() {
    for coding in ["gzip", "br", "zstd", "deflate"] {
        let whole = stream();
        let pieces: Vec<&[u8]> = whole.split_inclusive("\n\n").map(str::as_bytes).collect();
        let coded = codings::in_pieces(coding, &pieces);
        let (head, body) =
            (CHUNKED.replacen("\r\n", &format!("\r\nContent-Encoding: {coding}\r\n"), 1), coded.clone());
        let (rig, _requests) = service(Policy::default(), move |wire| {
            wire.send(&head);
            body.chunks(50).for_each(|piece| wire.chunk(piece));
            wire.chunk("");
        });
        let got = rig.send(post(PATH, REQUEST)).message();
        assert!(got.body == coded, "{coding}: other bytes");
        is_whole(&usage(&rig, 1), coding);
    }
}

#[test]
fn a_stream_that_the_service_breaks_off_is_broken_and_known_so_far() {
    // In the middle of an event, and between two.
    let delta = event(&json!({"type": "content_block_delta", "index": 1, "delta": text_delta("more")}));
    for last in ["", &delta[..delta.len() - 10]] {
        let sent = beginning() + last;
        let script = Script::start({
            let sent = sent.clone();
            move |mut wire, _| {
                wire.message();
                events(&mut wire, &sent);
            }
        });
        let rig = Setup::to(script.addr).start();
        let got = rig.send(post(PATH, REQUEST)).message();
        assert!(got.broken, "ended cleanly");
        assert_eq!(String::from_utf8(got.body).unwrap(), sent);
        is_cut(&usage(&rig, 1), Outcome::UpstreamError);
    }
    // Framed well, and without its end.
    let (rig, _requests) = service(Policy::default(), |wire| {
        events(wire, &beginning());
        wire.chunk("");
    });
    assert!(!rig.send(post(PATH, REQUEST)).message().broken);
    is_cut(&usage(&rig, 1), Outcome::UpstreamEof);
}

#[test]
fn an_error_in_the_stream_is_passed_on_and_named() {
    let sent = || beginning() + &error("overloaded_error", "busy");
    let (rig, _requests) = service(Policy::default(), move |wire| {
        events(wire, &sent());
        wire.chunk("");
    });
    let got = rig.send(post(PATH, REQUEST)).message();
    assert_eq!(String::from_utf8(got.body).unwrap(), sent());
    let usage = usage(&rig, 1);
    is_cut(&usage, Outcome::UpstreamError);
    assert_eq!(usage.request.error_type.as_deref(), Some("overloaded_error"));
}

#[test]
fn a_call_that_is_one_too_many_costs_nothing() {
    const SLOW: &str = r#"{"type":"error","error":{"type":"rate_limit_error","message":"slow"}}"#;
    let (rig, _requests) = service(Policy::default(), |wire| {
        wire.send(ok(SLOW).replacen("200 OK", "429 Too Many Requests\r\nRetry-After: 7", 1));
    });
    let got = rig.send(post(PATH, REQUEST)).message();
    assert_eq!((got.status(), &got.body[..], got.field("retry-after")), (429, SLOW.as_bytes(), Some("7")));
    let usage = usage(&rig, 1);
    assert_eq!((usage.tokens.input, usage.tokens.output), (Some(0), Some(0)));
    assert_eq!(usage.accounting.reasons, ["input:not_billed", "output:not_billed"]);
    assert_eq!(
        (usage.stream.outcome, usage.request.error_type.as_deref()),
        (Outcome::UpstreamStatus, Some("rate_limit_error"))
    );
}

/// A rig whose service goes on when it is told, and the means to tell it.
fn halting(policy: Policy) -> (Rig, std::sync::mpsc::Sender<()>) {
    let (go, told) = channel::<()>();
    let told = std::sync::Mutex::new(told);
    let (rig, _requests) = service(policy, move |wire| {
        events(wire, &beginning());
        if told.lock().unwrap().recv_timeout(PATIENCE).is_ok() {
            wire.chunk(change(&json!({"output_tokens": 9})) + &stop());
            wire.chunk("");
        }
    });
    (rig, go)
}

/// Reads what there is and leaves.
fn leave(rig: &Rig) {
    let mut wire = rig.send(post(PATH, REQUEST));
    wire.head();
    wire.read_chunks(beginning().len());
    wire.close();
}

#[test]
fn who_hangs_up_has_been_told_the_input() {
    let (rig, _go) = halting(Policy::default());
    leave(&rig);
    let usage = usage(&rig, 1);
    is_cut(&usage, Outcome::ClientDisconnect);
    assert!(!usage.accounting.drained);
}

#[test]
fn what_is_drained_is_read_to_its_last_word() {
    let drain = DrainBounds { time: PATIENCE, bytes: 1 << 20, calls: 64 };
    let (rig, go) = halting(Policy { drain: Some(drain), ..Policy::default() });
    leave(&rig);
    let drains = || rig.accounts.counters().drains_running.load(std::sync::atomic::Ordering::SeqCst);
    eventually("it is read on", || drains() == 1);
    go.send(()).unwrap();
    let usage = usage(&rig, 1);
    assert_eq!((usage.tokens.input, usage.tokens.output), (Some(INPUT), Some(9)));
    assert_eq!(usage.accounting.output_quality, Quality::Exact, "{:?}", usage.accounting.reasons);
    assert_eq!((usage.stream.outcome, usage.accounting.drained), (Outcome::ClientDisconnect, true));
}

/// Nothing of it, or nothing that counts.
#[test]
fn a_message_of_which_nothing_was_said_is_unknown() {
    for sent in [String::new(), event(&json!({"type": "ping"})), start(&json!({}))] {
        let (rig, _requests) = service(Policy::default(), {
            let sent = sent.clone();
            move |wire| {
                events(wire, &sent);
                wire.chunk("");
            }
        });
        rig.send(post(PATH, REQUEST)).message();
        let usage = usage(&rig, 1);
        assert_eq!((usage.tokens.input, usage.tokens.output), (None, None), "{sent}");
        assert_eq!(usage.accounting.reasons, ["input:no_usage", "output:no_usage"], "{sent}");
        assert_eq!(usage.stream.outcome, Outcome::UpstreamEof, "{sent}");
    }
}
