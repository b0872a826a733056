//! `--include-usage inject`: streams are made to report usage, and callers do not see it.

use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use metering::usage::{IncludeUsage, Injection, Outcome, Source, Usage};
use serde_json::json;
use tokenweir::proxy::Policy;

use crate::rig::{CHUNKED, Message, PATIENCE, Rig, Script, Setup, Wire, eventually, ok};

const INJECT: Policy = Policy {
    inject_usage: true,
    inspect_bytes_max: 4096,
    reject_untrusted: false,
    reject_odd_path: false,
    api_key: tokenweir::proxy::ApiKey::Pass,
    deny_streaming: false,
    drain: None,
};

const ASKS: &str = r#"{"model":"m","stream":true,"stream_options":{"include_usage":true}}"#;
const STREAM: &str = r#"{"model":"m","stream":true}"#;

const FIRST: &str = "data: {\"id\":\"c\",\"model\":\"gpt-4o-2024-11-20\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"Hi\"}}],\"usage\":null}\n\n";
const STOP: &str = "data: {\"id\":\"c\",\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}],\"usage\":null}\n\n";
const USAGE: &str = "data: {\"id\":\"c\",\"choices\":[],\"usage\":{\"prompt_tokens\":12,\"completion_tokens\":7,\"total_tokens\":19}}\n\n";
const DONE: &str = "data: [DONE]\n\n";

fn chat(body: &str, more: &str) -> String {
    format!(
        "POST /openai/deployments/d/chat/completions?api-version=2024-10-21 HTTP/1.1\r\nHost: gw\r\n\
         Content-Type: application/json\r\nAccept-Encoding: gzip\r\n{more}Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// A service that gives each request to the test, and the answers in turn, each as one chunk a piece.
fn service(answers: &'static [&'static [&'static str]]) -> (Rig, Receiver<Message>) {
    let (seen, requests) = channel();
    let script = Script::start(move |mut wire, n| {
        seen.send(wire.message()).unwrap();
        let answer = answers[n.min(answers.len() - 1)];
        if answer[0].starts_with("HTTP/") {
            answer.iter().for_each(|piece| wire.send(piece));
        } else {
            wire.send(CHUNKED.replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n"));
            answer.iter().for_each(|piece| wire.chunk(piece));
            wire.chunk("");
        }
    });
    (Setup { policy: INJECT, ..Setup::to(script.addr) }.start(), requests)
}

fn usage(rig: &Rig) -> Usage {
    rig.heard.calls(1).remove(0).usage
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn case_24_a_stream_that_did_not_ask_reports_and_its_caller_sees_nothing_of_it() {
    let (rig, requests) = service(&[&[FIRST, STOP, USAGE, DONE]]);
    let got = rig.send(chat(STREAM, "")).message();
    assert_eq!(text(&got.body), [FIRST, STOP, DONE].concat());
    assert!(!got.broken);
    let sent = requests.recv().unwrap();
    assert_eq!(text(&sent.body), ASKS);
    assert_eq!(sent.fields("content-length"), [ASKS.len().to_string()]);
    assert_eq!(sent.fields("accept-encoding"), ["identity"]);
    let usage = usage(&rig);
    assert_eq!((usage.request.include_usage, usage.request.injection), (IncludeUsage::Injected, None));
    assert_eq!((usage.tokens.input, usage.tokens.output), (Some(12), Some(7)));
    assert_eq!(usage.accounting.output_source, Source::Reported);
    assert_eq!(usage.stream.outcome, Outcome::Complete);
}

#[test]
fn case_20_who_asks_sees_usage_and_its_request_is_not_touched() {
    let (rig, requests) = service(&[&[FIRST, STOP, USAGE, DONE]]);
    let got = rig.send(chat(ASKS, "")).message();
    assert_eq!(text(&got.body), [FIRST, STOP, USAGE, DONE].concat());
    let sent = requests.recv().unwrap();
    assert_eq!((text(&sent.body).as_str(), sent.fields("accept-encoding")), (ASKS, vec!["gzip"]));
    let usage = usage(&rig);
    assert_eq!(usage.request.include_usage, IncludeUsage::Client);
    assert_eq!(usage.tokens.output, Some(7));
}

#[test]
fn case_21_and_22_usage_beside_choices_is_counted_and_never_hidden() {
    const BESIDE: &str = "data: {\"id\":\"c\",\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}],\"usage\":{\"prompt_tokens\":12,\"completion_tokens\":7,\"total_tokens\":19}}\n\n";
    const ZEROS: &str = "data: {\"id\":\"c\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"a\"}}],\"usage\":{\"prompt_tokens\":0,\"completion_tokens\":0,\"total_tokens\":0}}\n\n";
    let (rig, _requests) = service(&[&[ZEROS, ZEROS, BESIDE, DONE]]);
    let got = rig.send(chat(STREAM, "")).message();
    assert_eq!(text(&got.body), [ZEROS, ZEROS, BESIDE, DONE].concat());
    let usage = usage(&rig);
    assert_eq!(usage.tokens.output, Some(7));
    let request = usage.request;
    assert_eq!(
        (request.include_usage, request.injection),
        (IncludeUsage::Injected, Some(Injection::Visible)),
        "the caller saw what it did not ask for"
    );
}

#[test]
fn usage_beside_choices_that_say_nothing_is_hidden_once() {
    const NUMBERS: &str = r#""usage":{"prompt_tokens":12,"completion_tokens":7,"total_tokens":19}"#;
    for beside in [
        r#""choices":null"#,
        r#""choices":[{"index":0,"delta":{}}]"#,
        r#""choices":[{"index":0,"delta":{"content":""},"finish_reason":null}]"#,
        r#""choices":[{"index":0,"delta":{},"content_filter_results":{"hate":{"filtered":false}}}]"#,
        r#""choices":[],"prompt_filter_results":[{"prompt_index":0}]"#,
    ] {
        let event: &'static str = format!("data: {{\"id\":\"c\",{beside},{NUMBERS}}}\n\n").leak();
        let events: &'static [&'static str] = vec![FIRST, STOP, event, DONE].leak();
        let (rig, _requests) = service(vec![events].leak());
        let got = rig.send(chat(STREAM, "")).message();
        assert_eq!(text(&got.body), [FIRST, STOP, DONE].concat(), "{beside}");
        let call = usage(&rig);
        assert_eq!((call.request.injection, call.tokens.output), (None, Some(7)), "{beside}");
        // There is only one: what comes again is seen, and said.
        let events: &'static [&'static str] = vec![FIRST, event, event, DONE].leak();
        let (rig, _requests) = service(vec![events].leak());
        let got = rig.send(chat(STREAM, "")).message();
        assert_eq!(text(&got.body), [FIRST, event, DONE].concat(), "{beside}");
        assert_eq!(usage(&rig).request.injection, Some(Injection::Visible), "{beside}");
    }
}

#[test]
fn case_23_a_stream_that_breaks_gives_what_was_held_and_then_breaks() {
    const HALF: &str = "data: {\"id\":\"c\",\"choices\":[],\"usage\":{\"prom";
    let script = Script::start(move |mut wire, _| {
        wire.message();
        wire.send(CHUNKED);
        wire.chunk(FIRST);
        wire.chunk(HALF);
    });
    let rig = Setup { policy: INJECT, ..Setup::to(script.addr) }.start();
    let got = rig.send(chat(STREAM, "")).message();
    assert_eq!((text(&got.body), got.broken), ([FIRST, HALF].concat(), true));
    let usage = usage(&rig);
    assert_eq!(usage.stream.outcome, Outcome::UpstreamError);
    assert_eq!(usage.accounting.output_source, Source::Computed);
}

#[test]
fn case_15_the_event_is_hidden_however_it_is_cut_and_nothing_else_waits() {
    const SAYS: usize = FIRST.len() - 21; // behind the first letter of the text
    assert!(FIRST[..SAYS].ends_with("\"content\":\"H"), "{}", &FIRST[..SAYS]);
    let (go, gone) = channel::<()>();
    let gone = std::sync::Mutex::new(gone);
    let script = Script::start(move |mut wire, _| {
        wire.message();
        wire.send(CHUNKED);
        wire.chunk(FIRST);
        wire.chunk(&FIRST[..SAYS]); // its choices say something: it cannot be the one
        gone.lock().unwrap().recv().unwrap();
        wire.chunk(&FIRST[SAYS..]);
        for byte in USAGE.as_bytes() {
            wire.chunk([*byte]);
        }
        wire.chunk(DONE);
        wire.chunk("");
    });
    let rig = Setup { policy: INJECT, ..Setup::to(script.addr) }.start();
    let mut wire = rig.send(chat(STREAM, ""));
    wire.head();
    assert_eq!(text(&wire.read_chunks(FIRST.len() + SAYS)), [FIRST, &FIRST[..SAYS]].concat());
    go.send(()).unwrap();
    let mut rest = Vec::new();
    while let Some(chunk) = wire.read_chunk().filter(|chunk| !chunk.is_empty()) {
        rest.extend(chunk);
    }
    assert_eq!(text(&rest), [&FIRST[SAYS..], DONE].concat());
    assert_eq!(usage(&rig).tokens.output, Some(7));
}

#[test]
fn nothing_is_hidden_of_an_answer_that_is_coded_or_no_stream() {
    for kind in
        ["Content-Type: application/json", "Content-Type: text/event-stream\r\nContent-Encoding: gzip"]
    {
        let answer: &'static str = format!(
            "HTTP/1.1 200 OK\r\n{kind}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{USAGE}",
            USAGE.len()
        )
        .leak();
        let answers: &'static [&'static [&'static str]] = vec![&*vec![answer].leak()].leak();
        let (rig, _requests) = service(answers);
        let got = rig.send(chat(STREAM, "")).message();
        assert_eq!((text(&got.body).as_str(), got.fields("content-length").len()), (USAGE, 1), "{kind}");
    }
}

#[test]
fn a_stream_with_a_length_gets_shorter() {
    let answer: &'static str = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{USAGE}{DONE}",
        USAGE.len() + DONE.len()
    )
    .leak();
    let (rig, _requests) = service(vec![&*vec![answer].leak()].leak());
    let got = rig.send(chat(STREAM, "")).message();
    assert_eq!((text(&got.body).as_str(), got.broken), (DONE, false));
    assert_eq!(got.fields("transfer-encoding"), ["chunked"]);
}

/// An answer of this status and body.
fn refusal(status: u16, body: &str) -> &'static [&'static str] {
    let answer = format!(
        "HTTP/1.1 {status} Refused\r\nContent-Type: application/json\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    vec![&*answer.leak()].leak()
}

/// What Azure says, OpenAI, services that check by pydantic, and fronts of those.
const BY_SENTENCE: &str =
    r#"{"error":{"message":"Unrecognized request argument supplied: stream_options","x":1}}"#;
const BY_PARAM: &str =
    r#"{"error":{"message":"Unknown parameter","param":"stream_options","code":"unknown_parameter"}}"#;
const BY_LOC: &str = r#"{"detail":[{"type":"extra_forbidden","loc":["body","stream_options"],"msg":"Extra inputs are not permitted"}]}"#;
const WRAPPED: &str = r#"{"error":{"code":"Invalid input","status":422,"details":[{"type":"extra_forbidden","loc":["body","stream_options"]}]}}"#;

#[test]
fn case_37_a_refusal_is_retried_once_without_and_remembered_if_it_names_the_member() {
    for (status, body, remembered) in [
        (400, BY_PARAM, true),
        (422, BY_LOC, true),
        (422, WRAPPED, true),
        (424, WRAPPED, true),
        (500, WRAPPED, true),
        (400, BY_SENTENCE, false),
    ] {
        let answers: Vec<&'static [&'static str]> =
            vec![refusal(status, body), &[FIRST, STOP, DONE], refusal(status, body), &[FIRST, STOP, DONE]];
        let answers = if remembered { answers[..2].to_vec() } else { answers };
        let (rig, requests) = service(answers.leak());
        let mut wire = rig.send(chat(STREAM, ""));
        let got = wire.message();
        assert_eq!((got.status(), text(&got.body)), (200, [FIRST, STOP, DONE].concat()), "{status} {body}");
        assert_eq!(text(&requests.recv().unwrap().body), ASKS);
        let again = requests.recv().unwrap();
        assert_eq!((text(&again.body).as_str(), again.fields("accept-encoding")), (STREAM, vec!["gzip"]));
        assert_eq!(again.fields("content-length"), [STREAM.len().to_string()]);
        let call = usage(&rig);
        assert_eq!((call.request.status, call.request.include_usage), (200, IncludeUsage::Absent));
        assert_eq!(call.request.injection, Some(Injection::Refused));
        assert_eq!(
            (call.stream.outcome, call.accounting.output_source),
            (Outcome::Complete, Source::Computed)
        );
        // From now on nobody asks this deployment, if the service said clearly what it is.
        let unasked = if remembered { vec![("d".to_owned(), 1)] } else { vec![] };
        assert_eq!(rig.running().counts().unasked(), unasked, "{status} {body}");
        wire.send(chat(STREAM, ""));
        assert_eq!(wire.message().status(), 200);
        let first = if remembered { STREAM } else { ASKS };
        assert_eq!(text(&requests.recv().unwrap().body), first, "{status} {body}");
        assert_eq!(requests.try_recv().is_err(), remembered, "{status} {body}");
        let calls = rig.heard.calls(2);
        let injection = if remembered { Injection::Remembered } else { Injection::Refused };
        assert_eq!(calls[1].usage.request.injection, Some(injection), "one event for each call");
        assert_eq!(calls[1].usage.request.include_usage, IncludeUsage::Absent);
    }
}

/// One caller must not be able to end it for all others.
#[test]
fn a_refusal_that_may_be_the_callers_own_doing_is_not_remembered() {
    let asks = |body: &str| body.replace("}", r#","stream_options":{"include_usage":true}}"#);
    for (body, second) in [
        (r#"{"stream":true,"model":"say stream_options"}"#, 200),
        (r#"{"stream":true,"model":"stream\u005foptions"}"#, 200),
        (r#"{"stream":true,"model":"m"}"#, 400),
        (r#"{"stream":true,"model":"m"}"#, 500),
    ] {
        let accepted: &'static [&'static str] = &[FIRST, STOP, DONE];
        let second = if second == 200 { accepted } else { refusal(second, "{}") };
        let (rig, requests) = service(vec![refusal(422, BY_LOC), second, accepted].leak());
        let mut wire = rig.send(chat(body, ""));
        wire.message();
        assert_eq!(text(&requests.recv().unwrap().body), asks(body));
        assert_eq!(text(&requests.recv().unwrap().body), body);
        assert_eq!(usage(&rig).request.injection, Some(Injection::Refused));
        rig.send(chat(STREAM, "")).message();
        assert_eq!(text(&requests.recv().unwrap().body), ASKS, "it is asked again, behind {body}");
    }
}

/// A service that quotes what it does not know, as Azure does, says nothing of other callers' requests.
#[test]
fn a_400_that_quotes_its_caller_changes_nothing_for_others() {
    for member in ["my_stream_options", "stream_options_of_mine", "stream_options"] {
        for param in [json!(null), json!(member)] {
            let script = Script::start(move |mut wire, _| {
                while let message = wire.message()
                    && !message.head.is_empty()
                {
                    let body = text(&message.body);
                    let quoted = body.contains("\"mallory\"");
                    let sentence = format!("Unrecognized request argument supplied: {member}");
                    let error = json!({"error": {"message": sentence, "param": param}});
                    let answer =
                        if quoted { refusal(400, &error.to_string())[0].to_owned() } else { ok(&body) };
                    wire.send(answer.replace("Connection: close\r\n", ""));
                }
            });
            let rig = Setup { policy: INJECT, ..Setup::to(script.addr) }.start();
            let body = json!({"stream": true, "model": "mallory", member: 1}).to_string();
            assert_eq!(rig.send(chat(&body, "")).message().status(), 400);
            assert_eq!(text(&rig.send(chat(STREAM, "")).message().body), ASKS, "{member}");
            assert_eq!(rig.running().counts().unasked(), []);
        }
    }
}

#[test]
fn one_line_says_which_deployment_refuses() {
    crate::log_lines::collect();
    let script = Script::answering(|message, wire| {
        let asks = text(&message.body).contains("include_usage");
        wire.send(if asks { refusal(422, BY_LOC)[0].replace("Connection: close\r\n", "") } else { ok("{}") });
    });
    let upstreams = vec![(Some("refuses-usage"), format!("http://{}", script.addr))];
    let rig = Setup { policy: INJECT, ..Setup::urls(upstreams) }.start();
    for deployment in ["one", "one", "two"] {
        let secret = r#"{"stream":true,"messages":[{"content":"SECRET stream_options"}]}"#;
        let request = chat(secret, "").replace(
            "POST /openai/deployments/d/",
            &format!("POST /refuses-usage/openai/deployments/{deployment}/"),
        );
        assert_eq!(rig.send(request).message().status(), 200);
    }
    let lines = crate::log_lines::of_upstream("refuses-usage");
    assert_eq!(lines.len(), 2, "{lines:?}");
    assert_eq!((&lines[0]["deployment"], &lines[1]["deployment"]), (&json!("one"), &json!("two")));
    for line in &lines {
        assert_eq!((&line["level"], &line["remembered"]), (&json!("WARN"), &json!(false)), "{line}");
        assert!(!line.to_string().contains("SECRET"), "{line}");
    }
}

#[test]
fn no_other_400_is_sent_twice_and_each_comes_as_it_was() {
    for body in [
        r#"{"error":{"code":"content_filter","status":400,"param":"prompt","message":"stream_options"}}"#,
        r#"{"error":{"code":"context_length_exceeded","message":"too long"}}"#,
        r#"{"error":{"message":"'messages' is a required property"}}"#,
        "",
    ] {
        for chunked in [false, true] {
            let answer = if chunked {
                let size = format!("{:x}", body.len());
                let chunk = if body.is_empty() { String::new() } else { format!("{size}\r\n{body}\r\n") };
                format!(
                    "HTTP/1.1 400 Bad Request\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n{chunk}0\r\n\r\n"
                )
            } else {
                format!(
                    "HTTP/1.1 400 Bad Request\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
                    body.len()
                )
            };
            let answer: &'static str = answer.leak();
            let (rig, requests) = service(vec![&*vec![answer].leak()].leak());
            let got = rig.send(chat(STREAM, "")).message();
            assert_eq!((got.status(), text(&got.body).as_str(), got.broken), (400, body, false));
            assert_eq!(usage(&rig).stream.outcome, Outcome::UpstreamStatus);
            requests.recv().unwrap();
            assert!(requests.try_recv().is_err(), "sent twice: {body}");
        }
    }
}

#[test]
fn a_400_that_breaks_or_is_long_is_passed_on_as_it_comes() {
    const BROKEN: &str = "HTTP/1.1 400 Bad Request\r\nContent-Length: 100\r\n\r\nstream_options";
    let (rig, requests) = service(&[&[BROKEN]]);
    let got = rig.send(chat(STREAM, "")).message();
    assert_eq!((got.status(), text(&got.body).as_str(), got.broken), (400, "stream_options", true));
    requests.recv().unwrap();
    assert!(requests.try_recv().is_err());

    let body = "stream_options ".repeat(20_000);
    let answer = format!(
        "HTTP/1.1 400 Bad Request\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
        body.len()
    );
    let (rig, requests) = service(vec![&*vec![&*answer.leak()].leak()].leak());
    let got = rig.send(chat(STREAM, "")).message();
    assert_eq!((got.status(), got.body.len(), got.broken), (400, body.len(), false));
    requests.recv().unwrap();
    assert!(requests.try_recv().is_err());
}

#[test]
fn a_chunked_request_and_one_that_expects_100_are_edited_too() {
    let (rig, requests) = service(&[&[FIRST, USAGE, DONE]]);
    let mut wire = rig.send(
        "POST /v1/chat/completions HTTP/1.1\r\nHost: gw\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n",
    );
    for piece in STREAM.as_bytes().chunks(5) {
        wire.chunk(piece);
    }
    wire.chunk("");
    assert_eq!(text(&wire.message().body), [FIRST, DONE].concat());
    let sent = requests.recv().unwrap();
    assert_eq!((text(&sent.body).as_str(), sent.fields("content-length").len()), (ASKS, 1));

    let (rig, requests) = service(&[&[FIRST, USAGE, DONE]]);
    let request = chat(STREAM, "Expect: 100-continue\r\n");
    let mut wire = rig.send(request.strip_suffix(STREAM).unwrap());
    assert!(wire.head().starts_with("HTTP/1.1 100"));
    wire.send(STREAM);
    assert_eq!(text(&wire.message().body), [FIRST, DONE].concat());
    let sent = requests.recv().unwrap();
    assert_eq!((text(&sent.body).as_str(), sent.fields("expect").len()), (ASKS, 0));
}

/// A long body flows on before it has ended: the service has its beginning while the rest is unsent.
#[test]
fn a_body_over_the_bound_flows_on_at_once_and_unedited() {
    for chunked in [false, true] {
        let (had, begun) = channel();
        let script = Script::start(move |mut wire, _| {
            let head = wire.head();
            had.send(()).unwrap();
            if chunked {
                while wire.read_chunk().is_some_and(|chunk| !chunk.is_empty()) {}
            } else {
                wire.take(
                    head.lines().find_map(|l| l.strip_prefix("content-length: ")).unwrap().parse().unwrap(),
                );
            }
            wire.send(ok("{}"));
        });
        let rig = Setup { policy: INJECT, ..Setup::to(script.addr) }.start();
        let body = json!({"stream": true, "messages": "x".repeat(20_000)}).to_string();
        let mut wire = rig.connect();
        let (first, rest) = body.split_at(10_000);
        if chunked {
            wire.send("POST /v1/chat/completions HTTP/1.1\r\nHost: gw\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n");
            wire.chunk(first);
        } else {
            wire.send(chat(&body, "").strip_suffix(rest).unwrap());
        }
        begun.recv_timeout(PATIENCE).expect("the service has the beginning");
        if chunked {
            wire.chunk(rest);
            wire.chunk("");
        } else {
            wire.send(rest);
        }
        assert_eq!(wire.message().status(), 200);
        assert_eq!(usage(&rig).request.include_usage, IncludeUsage::Absent);
    }
}

#[test]
fn a_caller_that_leaves_while_its_body_is_held_costs_nothing() {
    let script = Script::start(|mut wire, _| {
        wire.message();
        wire.send(ok("{}"));
    });
    let rig = Setup { policy: INJECT, ..Setup::to(script.addr) }.start();
    let request = chat(STREAM, "");
    let wire: Wire = rig.send(&request[..request.len() - 3]);
    eventually("the call is open", || rig.accounts.counters().calls_open() == 1);
    std::thread::sleep(Duration::from_millis(20));
    wire.close();
    let usage = usage(&rig);
    assert_eq!(usage.stream.outcome, Outcome::ClientDisconnect);
    assert_eq!((usage.tokens.input, usage.tokens.output), (Some(0), Some(0)));
    assert_eq!(script.connections(), 0, "nothing was sent");
}

#[test]
fn responses_and_old_versions_are_left_alone() {
    for target in ["/openai/v1/responses", "/openai/deployments/d/chat/completions?api-version=2024-06-01"] {
        let (rig, requests) = service(&[&[FIRST, USAGE, DONE]]);
        let request = format!(
            "POST {target} HTTP/1.1\r\nHost: gw\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{STREAM}",
            STREAM.len()
        );
        let got = rig.send(request).message();
        assert_eq!(text(&got.body), [FIRST, USAGE, DONE].concat(), "{target}");
        assert_eq!(text(&requests.recv().unwrap().body), STREAM, "{target}");
    }
}
