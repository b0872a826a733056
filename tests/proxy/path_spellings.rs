//! However a request is dressed (the spelling of its path, fields that ask for an upgrade), its call is
//! metered for what it is, and what is sent is what came.

use std::sync::mpsc::{Receiver, channel};

use metering::usage::{Api, Outcome, Source, Usage};
use serde_json::Value;
use tokenweir::proxy::Policy;

use crate::rig::{Message, Rig, Script, Setup, eventually, ok};

const ANSWER: &str = r#"{"id":"c","object":"chat.completion","created":1,"model":"gpt-4o-2024-11-20","choices":[{"index":0,"message":{"role":"assistant","content":"Hi"},"finish_reason":"stop"}],"usage":{"prompt_tokens":31,"completion_tokens":17,"total_tokens":48}}"#;
const BODY: &str = r#"{"messages":[{"role":"user","content":"Hello"}]}"#;
const ODD: [&str; 2] = ["input:odd_path", "output:odd_path"];
const UPGRADE: &str = "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n";

/// A service that answers every request with this, and shows it to the test.
fn service(policy: Policy, answer: &str) -> (Rig, Receiver<Message>) {
    let (seen, requests) = channel();
    let answer = answer.to_owned();
    let script = Script::start(move |mut wire, _| {
        while let message = wire.message()
            && !message.head.is_empty()
        {
            seen.send(message).unwrap();
            wire.send(&answer);
        }
    });
    (Setup { policy, ..Setup::to(script.addr) }.start(), requests)
}

fn request(method: &str, target: &str, fields: &str, body: &str) -> String {
    let length = body.len();
    format!("{method} {target} HTTP/1.1\r\nHost: gw\r\n{fields}Content-Length: {length}\r\n\r\n{body}")
}

fn last(rig: &Rig, count: usize) -> Usage {
    rig.heard.calls(count).pop().unwrap().usage
}

fn is_metered(usage: &Usage, api: Api, reasons: &[&str], of: &str) {
    assert_eq!(usage.target.api, api, "{of}");
    assert_eq!((usage.tokens.input, usage.tokens.output), (Some(31), Some(17)), "{of}");
    assert_eq!(usage.accounting.output_source, Source::Reported, "{of}");
    assert_eq!(usage.accounting.reasons, reasons, "{of}");
}

#[test]
fn every_spelling_is_sent_as_it_came_and_metered_as_what_it_is() {
    let (rig, requests) = service(Policy::default(), &ok(ANSWER));
    let plain: &[&str] = &[];
    let spellings = [
        ("/openai/deployments/gpt-4o/chat/completions", plain),
        ("/OPENAI/DEPLOYMENTS/gpt-4o/CHAT/COMPLETIONS", plain),
        ("/openai/Deployments/gpt-4o/Chat/completions", plain),
        ("//openai//deployments//gpt-4o//chat//completions/", plain),
        ("/openai/deployments/gpt-4o/chat/%63ompletions", &ODD),
        ("/openai/deployments/gpt-4o/chat/%2563ompletions", &ODD),
        ("/openai/deployments/gpt-4o/chat/%u0063ompletions", &ODD),
        ("/openai/deployments/gpt%2D4o/chat/completions", &ODD),
        ("/openai/deployments/gpt-4o/chat%2fcompletions", &ODD),
        ("/openai/deployments/gpt-4o\\chat\\completions", &ODD),
        ("/openai/deployments/gpt-4o/chat%5Ccompletions", &ODD),
        ("/openai/deployments/gpt-4o/chat/completions;x=1", &ODD),
        ("/openai/deployments/gpt-4o;v=1/chat/completions", &ODD),
        ("/openai/deployments/gpt-4o/chat/completions/.", &ODD),
        ("/openai/deployments/gpt-4o/chat/completions/x/..", &ODD),
        ("/openai/deployments/gpt-4o/chat/completions%20", &ODD),
        ("/openai/deployments/gpt-4o/chat/completions%00", &ODD),
        ("/openai/deployments/gpt-4o/chat/completions.", &ODD),
        ("/openai/deployments/cheap/../gpt-4o/chat/completions", &ODD),
        ("/openai/deployments/cheap/%2e%2E/gpt-4o/chat/completions", &ODD),
        ("/openai/deployments/cheap/../../deployments/gpt-4o/chat/completions", &ODD),
        ("/openai/deployments/a%2f..%2fgpt-4o/chat/completions", &ODD),
        ("/openai/deployments/cheap\\..\\gpt-4o/chat/completions", &ODD),
        ("/openai/deployments/cheap/deployments/gpt-4o/chat/completions", &ODD),
    ];
    for (n, (path, reasons)) in spellings.into_iter().enumerate() {
        let target = format!("{path}?api-version=2024-10-21&a=%20;b");
        let got = rig.send(request("POST", &target, "", BODY)).message();
        assert_eq!((got.status(), &got.body[..]), (200, ANSWER.as_bytes()), "{path}");
        let sent = requests.recv().unwrap();
        assert_eq!((sent.target(), &sent.body[..]), (target.as_str(), BODY.as_bytes()));
        let usage = last(&rig, n + 1);
        is_metered(&usage, Api::ChatCompletions, reasons, path);
        assert_eq!(usage.target.deployment.as_deref(), Some("gpt-4o"), "{path}");
        assert_eq!(usage.target.api_version.as_deref(), Some("2024-10-21"), "{path}");
    }
    let odd = spellings.iter().filter(|(_, reasons)| !reasons.is_empty()).count() as u64;
    assert_eq!(rig.running().counts().odd_paths(), [("forwarded", odd), ("rejected", 0)]);
}

#[test]
fn a_prompt_behind_another_spelling_is_counted_too() {
    let unreported = ANSWER.replace("\"usage\"", "\"no_usage\"");
    let (rig, _requests) = service(Policy::default(), &ok(&unreported));
    let mut known = None;
    let paths = ["/v1/chat/completions", "/V1/Chat/Completions", "/v1/x/../chat/%63ompletions;y"];
    for (n, path) in paths.into_iter().enumerate() {
        rig.send(request("POST", path, "", BODY)).message();
        let usage = last(&rig, n + 1);
        assert_eq!(usage.accounting.input_source, Source::Computed, "{path}");
        let tokens = (usage.tokens.input, usage.tokens.output);
        assert_eq!(*known.get_or_insert(tokens), tokens, "{path}");
        assert!(tokens.0 > Some(5) && tokens.1 > Some(0), "{tokens:?}");
    }
}

#[test]
fn an_odd_path_is_rejected_if_somebody_wants_that() {
    let policy = Policy { reject_odd_path: true, ..Policy::default() };
    let (rig, requests) = service(policy, &ok(ANSWER));
    let odd = [
        "/v1/chat/%63ompletions",
        "/v1/chat%2Fcompletions",
        "/v1/chat/completions;x",
        "/v1/x/../chat/completions",
        "/v1/chat\\completions",
        "/v1/chat/completions%0a",
        "/deployments/a/deployments/b/chat/completions",
    ];
    for (n, path) in odd.into_iter().enumerate() {
        let got = rig.send(request("POST", path, "", BODY)).message();
        assert_eq!((got.status(), got.fields("content-type")), (400, vec!["application/json"]), "{path}");
        let error: Value = serde_json::from_slice(&got.body).unwrap();
        assert_eq!(error["error"]["code"], "odd_path");
        let usage = last(&rig, n + 1);
        assert_eq!((usage.stream.outcome, usage.request.status), (Outcome::Rejected, 400), "{path}");
        assert_eq!((usage.tokens.input, usage.tokens.output), (Some(0), Some(0)), "{path}");
        for reason in ODD {
            assert!(usage.accounting.reasons.iter().any(|known| known == reason), "{usage:?}");
        }
    }
    assert_eq!(rig.send(request("GET", "/v1/responses/r/%2e", "", "")).message().status(), 400);
    let rejected = odd.len() as u64 + 1;
    assert_eq!(rig.running().counts().odd_paths(), [("forwarded", 0), ("rejected", rejected)]);
    // And what is plain goes on.
    for path in ["//V1/Chat/Completions/", "/deployments/gpt-4o%20eu/chat/completions"] {
        assert_eq!(rig.send(request("POST", path, "", BODY)).message().status(), 200, "{path}");
        assert_eq!(requests.recv().unwrap().target(), path);
    }
    assert!(requests.try_recv().is_err(), "nothing else was sent");
}

#[test]
fn no_spelling_and_no_content_type_passes_deny() {
    let policy = Policy { deny_streaming: true, inspect_bytes_max: 4096, ..Policy::default() };
    let (rig, requests) = service(policy, &ok(ANSWER));
    let body = r#"{"stream":true,"messages":[]}"#;
    let paths = [
        "/v1/chat/completions",
        "/v1/Chat/Completions",
        "/v1/chat/%63ompletions",
        "/v1/embeddings/../chat/completions",
        "/v1/embeddings;/x",
        "/openai/batches/../deployments/d/Chat/completions",
        "/v1/of_the_future",
    ];
    let kinds = [
        "",
        "Content-Type: application/json\r\n",
        "Content-Type: text/json\r\n",
        "Content-Type: text/plain\r\n",
        "Content-Type: application/x-ndjson\r\n",
        "Content-Type: application/vnd.x+json\r\n",
        "Content-Type: multipart/form-data; boundary=x\r\n",
        "Content-Type: text/plain\r\nContent-Type: application/json\r\n",
    ];
    let mut asked = 0;
    for path in paths {
        for kind in kinds {
            for method in ["POST", "PUT", "post"] {
                assert_eq!(
                    rig.send(request(method, path, kind, body)).message().status(),
                    403,
                    "{path} {kind}"
                );
                asked += 1;
            }
        }
    }
    let replay = request("GET", "/v1/responses/r?stream=false&Stream=true", "", "");
    assert_eq!(rig.send(replay).message().status(), 403);
    rig.heard.calls(asked);
    assert!(requests.try_recv().is_err(), "something was sent");
}

#[test]
fn inject_goes_by_the_path_as_it_is_understood() {
    const STREAM: &str = r#"{"stream":true,"messages":[]}"#;
    let policy = Policy { inject_usage: true, inspect_bytes_max: 4096, ..Policy::default() };
    let (rig, requests) = service(policy, &ok(ANSWER));
    for path in ["/v1/Chat/completions", "/v1/chat/%63ompletions", "/v1/chat/completions;x"] {
        rig.send(request("POST", path, "Content-Type: application/json\r\n", STREAM)).message();
        let sent = requests.recv().unwrap();
        assert!(String::from_utf8_lossy(&sent.body).contains("include_usage"), "{path}");
        assert_eq!(sent.target(), path);
    }
}

#[test]
fn a_post_that_asks_for_a_websocket_is_the_call_that_it_is() {
    let (rig, requests) = service(Policy::default(), &ok(ANSWER));
    let target = "/openai/deployments/gpt-4o/chat/completions?api-version=2024-10-21";
    for (n, (method, fields)) in
        [("POST", UPGRADE), ("POST", "Connection: upgrade\r\nUpgrade: h2c\r\n"), ("PATCH", UPGRADE)]
            .into_iter()
            .enumerate()
    {
        let got = rig.send(request(method, target, fields, BODY)).message();
        assert_eq!((got.status(), &got.body[..]), (200, ANSWER.as_bytes()), "{method} {fields}");
        let sent = requests.recv().unwrap();
        assert_eq!((&sent.body[..], sent.fields("upgrade").len()), (BODY.as_bytes(), 0), "{method} {fields}");
        let usage = last(&rig, n + 1);
        is_metered(&usage, Api::ChatCompletions, &[], method);
        assert_eq!(usage.target.deployment.as_deref(), Some("gpt-4o"));
    }
}

#[test]
fn a_service_that_switches_for_a_post_gets_no_tunnel() {
    let switched = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n";
    let (rig, _requests) = service(Policy::default(), switched);
    let got = rig.send(request("POST", "/v1/chat/completions", UPGRADE, BODY)).message();
    assert_eq!(got.status(), 502);
    let usage = last(&rig, 1);
    assert_eq!((usage.target.api, usage.stream.outcome), (Api::ChatCompletions, Outcome::UpstreamError));
}

/// Until it is answered nobody knows what a handshake is.
#[test]
fn a_get_that_asks_for_a_websocket_and_is_answered_is_a_get() {
    let (rig, requests) = service(Policy::default(), &ok(ANSWER));
    for (method, switches) in [("GET", true), ("HEAD", false), ("DELETE", false)] {
        let mut wire = rig.send(format!("{method} /v1/responses/r HTTP/1.1\r\nHost: gw\r\n{UPGRADE}\r\n"));
        let got = if method == "HEAD" { wire.bodiless() } else { wire.message() };
        assert_eq!(got.status(), 200, "{method}");
        assert_eq!(requests.recv().unwrap().fields("upgrade").len(), usize::from(switches), "{method}");
    }
    let old = format!("GET /v1/responses/r HTTP/1.0\r\n{UPGRADE}\r\n");
    assert_eq!(rig.send(old).message().status(), 200);
    assert_eq!(requests.recv().unwrap().fields("upgrade").len(), 0, "HTTP/1.0 knows no upgrade");
    // A call that is metered comes after them, and has the only event.
    rig.send(request("POST", "/v1/chat/completions", "", BODY)).message();
    is_metered(&last(&rig, 1), Api::ChatCompletions, &[], "POST");
    eventually("no place in the ledger is kept", || rig.ledger.stats().open == 0);
    assert_eq!(rig.ledger.stats().accepted, 1);
}

#[test]
fn a_handshake_that_is_refused_says_what_was_asked_for_and_costs_nothing() {
    let (rig, _requests) = service(Policy::default(), "HTTP/1.1 403 No\r\nContent-Length: 2\r\n\r\nno");
    let handshake = |path: &str| format!("GET {path} HTTP/1.1\r\nHost: gw\r\n{UPGRADE}\r\n");
    for (n, (path, api)) in
        [("/openai/v1/realtime?model=rt", Api::Realtime), ("/openai/v1/responses?model=rt", Api::Responses)]
            .into_iter()
            .enumerate()
    {
        assert_eq!(rig.send(handshake(path)).message().status(), 403);
        let usage = last(&rig, n + 1);
        assert_eq!((usage.target.api, usage.stream.outcome), (api, Outcome::UpstreamStatus));
        assert_eq!(usage.target.deployment.as_deref(), Some("rt"));
        assert_eq!((usage.tokens.input, usage.tokens.output), (Some(0), Some(0)));
        assert_eq!(usage.accounting.reasons, ["input:not_billed", "output:not_billed"]);
    }
}

#[test]
fn a_handshake_whose_caller_leaves_or_that_nobody_answers_is_a_call() {
    let (began, begun) = channel();
    let script = Script::start(move |mut wire, _| {
        wire.head();
        began.send(()).unwrap();
        wire.rest();
    });
    let rig = Setup::to(script.addr).start();
    let wire = rig.send(format!("GET /openai/v1/realtime?model=rt HTTP/1.1\r\nHost: gw\r\n{UPGRADE}\r\n"));
    begun.recv().unwrap();
    wire.close();
    let usage = last(&rig, 1);
    assert_eq!((usage.target.api, usage.stream.outcome), (Api::Realtime, Outcome::ClientDisconnect));
    assert_eq!((usage.tokens.input, usage.tokens.output), (Some(0), Some(0)));

    let nobody = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let rig = Setup::to(nobody).start();
    let handshake = format!("GET /openai/v1/realtime?model=rt HTTP/1.1\r\nHost: gw\r\n{UPGRADE}\r\n");
    assert_eq!(rig.send(handshake).message().status(), 502);
    let usage = last(&rig, 1);
    assert_eq!((usage.request.status, usage.stream.outcome), (502, Outcome::UpstreamError));
    assert_eq!((usage.tokens.input, usage.tokens.output), (Some(0), Some(0)));
}

/// The service knows best which deployment answered, and how its name is written.
#[test]
fn where_the_service_names_another_deployment_the_event_says_so() {
    const DIFFERS: [&str; 2] = ["input:deployment_differs", "output:deployment_differs"];
    let model = r#"{"model":"GPT-4o","messages":[]}"#;
    for (path, body, fields, deployment, served, reasons) in [
        ("deployments/cheap", BODY, "x-ms-deployment-name: gpt-4o", "cheap", Some("gpt-4o"), &DIFFERS[..]),
        ("deployments/GPT-4O", BODY, "x-ms-deployment-name: gpt-4o", "gpt-4o", Some("gpt-4o"), &[]),
        ("v1", model, "x-ms-deployment-name: gpt-4o", "gpt-4o", Some("gpt-4o"), &[]),
        ("v1", model, "x-ms-deployment-name: other", "GPT-4o", Some("other"), &DIFFERS),
        ("deployments/GPT-4O", BODY, "x-other: x", "GPT-4O", None, &[]),
        (
            "deployments/ptu",
            BODY,
            "x-ms-deployment-name: std\r\nx-ms-spillover-from-deployment: PTU",
            "ptu",
            Some("std"),
            &[],
        ),
        (
            "deployments/cheap",
            BODY,
            "x-ms-deployment-name: std\r\nx-ms-spillover-from-deployment: ptu",
            "cheap",
            Some("std"),
            &DIFFERS,
        ),
    ] {
        let answer = ok(ANSWER).replacen("\r\n", &format!("\r\n{fields}\r\n"), 1);
        let (rig, _requests) = service(Policy::default(), &answer);
        rig.send(request("POST", &format!("/openai/{path}/chat/completions"), "", body)).message();
        let usage = last(&rig, 1);
        is_metered(&usage, Api::ChatCompletions, reasons, path);
        assert_eq!(usage.target.deployment.as_deref(), Some(deployment), "{path} {fields}");
        assert_eq!(usage.target.deployment_served.as_deref(), served, "{path} {fields}");
    }
}
