//! Whole lives of calls: large bodies on their way, attempts that belong together, polls.

use std::io::Write;
use std::sync::mpsc::channel;
use std::time::Duration;

use metering::usage::{Api, BillSeen, DeferredId, DeferredKind, Outcome};
use tokenweir::proxy::Limits;

use crate::rig::{Rig, Script, Setup, Wire, eventually, ok};

/// A large prompt: an image in base64 before the model's name.
fn large() -> String {
    let image = "iVBORw0KGgo".repeat(20 * 1024 * 1024 / 11);
    format!(
        r#"{{"input":[{{"role":"user","content":[{{"type":"input_image","image_url":"data:image/png;base64,{image}"}}]}}],"stream":false,"model":"gpt-4o-at-the-end"}}"#
    )
}

#[test]
fn case_64_twenty_megabytes_pass_as_they_come() {
    let answer = ok(r#"{"object":"response","usage":{"input_tokens":9,"output_tokens":1}}"#);
    let (script, told) = Script::telling(answer);
    let rig = Setup::to(script.addr).start();
    let body = large();
    let mut wire = rig.connect();
    for chunked in [false, true] {
        wire.send("POST /openai/responses?api-version=p HTTP/1.1\r\nHost: gw\r\n");
        if chunked {
            wire.send("Transfer-Encoding: chunked\r\n\r\n");
            body.as_bytes().chunks(65_537).for_each(|piece| wire.chunk(piece));
            wire.chunk("");
        } else {
            wire.send(format!("Content-Length: {}\r\n\r\n{body}", body.len()));
        }
        assert_eq!(wire.message().status(), 200);
        let seen = told.recv().unwrap();
        assert!(seen.body == body.as_bytes(), "other bytes");
        assert_eq!(seen.fields("content-length").len(), usize::from(!chunked));
    }
    for call in rig.heard.calls(2) {
        let target = &call.usage.target;
        assert_eq!((target.api, target.deployment.as_deref()), (Api::Responses, Some("gpt-4o-at-the-end")));
        assert_eq!(call.usage.tokens.input, Some(9));
    }
}

#[test]
fn case_64_an_upload_waits_for_the_service_and_not_in_memory() {
    let (go, gone) = channel::<()>();
    let gone = std::sync::Mutex::new(gone);
    let script = Script::start(move |mut wire, _| {
        gone.lock().unwrap().recv().unwrap(); // takes nothing until it is told to
        assert!(!wire.message().broken);
        wire.send(ok("{}"));
    });
    let rig = Setup::to(script.addr).start();
    const LENGTH: usize = 100_000_000;
    let mut wire = rig
        .send(format!("POST /v1/chat/completions HTTP/1.1\r\nHost: gw\r\nContent-Length: {LENGTH}\r\n\r\n"));
    wire.tcp.set_write_timeout(Some(Duration::from_millis(500))).unwrap();
    let piece = [b'x'; 1 << 16];
    let mut written = 0;
    // A write that times out may have written some: whole pieces are all that counts here.
    while written < LENGTH
        && matches!(wire.tcp.write(&piece[..piece.len().min(LENGTH - written)]), Ok(n) if { written += n; true })
    {
    }
    assert!(written < 60_000_000, "{written} bytes were taken though the service took none");
    go.send(()).unwrap();
    let mut writer = Wire::new(wire.tcp.try_clone().unwrap());
    let sending = std::thread::spawn(move || {
        while written < LENGTH {
            let n = piece.len().min(LENGTH - written);
            writer.send(&piece[..n]);
            written += n;
        }
    });
    assert_eq!(wire.message().status(), 200);
    sending.join().unwrap();
    rig.heard.calls(1);
}

/// A call of the chat API with these fields.
fn attempt(rig: &Rig, fields: &str) -> u16 {
    let request =
        format!("POST /v1/chat/completions HTTP/1.1\r\nHost: gw\r\n{fields}Content-Length: 2\r\n\r\n{{}}");
    rig.send(request).message().status()
}

const USED: &str = r#"{"model":"gpt-4o","choices":[],"usage":{"prompt_tokens":5,"completion_tokens":7}}"#;

#[test]
fn case_84_a_retry_after_a_504_is_a_call_of_its_own() {
    let script = Script::start(|mut wire, n| {
        wire.message();
        if n > 0 {
            return wire.send(ok(USED));
        }
        wire.rest(); // never answers
    });
    let limits = Limits { response_timeout: Some(Duration::from_millis(200)), ..Limits::default() };
    let rig = Setup { limits, ..Setup::to(script.addr) }.start();
    let statuses =
        [1, 2].map(|n| attempt(&rig, &format!("X-Apim-Request-Id: g-1\r\nX-Apim-Attempt: {n}\r\n")));
    assert_eq!(statuses, [504, 200]);
    let calls = rig.heard.calls(2);
    for (call, attempt) in calls.iter().zip(1..) {
        assert_eq!(call.usage.ids.gateway_request_id.as_deref(), Some("g-1"), "they belong together");
        assert_eq!(call.usage.request.attempt, Some(attempt));
    }
    assert_eq!(calls[0].usage.stream.outcome, Outcome::Timeout);
    assert_eq!((calls[0].usage.tokens.output, calls[1].usage.tokens.output), (None, Some(7)));
}

#[test]
fn case_85_an_sdks_retry_is_tagged_and_not_suppressed() {
    let script = Script::start(|mut wire, n| {
        wire.message();
        if n == 0 {
            return wire.send("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{");
        }
        wire.send(ok(USED));
    });
    let rig = Setup::to(script.addr).start();
    for n in [0, 1] {
        assert_eq!(attempt(&rig, &format!("X-Stainless-Retry-Count: {n}\r\n")), 200);
    }
    let calls = rig.heard.calls(2);
    assert_eq!([0, 1].map(|n| calls[n].usage.request.attempt), [Some(0), Some(1)]);
    assert_eq!(calls[1].usage.tokens.output, Some(7));
    assert_ne!(calls[0].id, calls[1].id);
}

/// A service that answers everything with usage.
fn generous() -> Script {
    Script::start(|mut wire, _| {
        while !wire.message().head.is_empty() {
            let body = r#"{"id":"resp_1","object":"response","status":"completed","usage":{"input_tokens":5,"output_tokens":7}}"#;
            wire.send(ok(body));
        }
    })
}

#[test]
fn case_75_polls_are_silent() {
    let script = generous();
    let rig = Setup::to(script.addr).start();
    let mut wire = rig.connect();
    for target in ["/openai/v1/responses/resp_1", "/openai/v1/responses/resp_1?stream=true&starting_after=3"]
    {
        wire.send(format!("GET {target} HTTP/1.1\r\nHost: gw\r\n\r\n"));
        assert_eq!(wire.message().status(), 200);
    }
    wire.send("POST /openai/v1/responses HTTP/1.1\r\nHost: gw\r\nContent-Length: 2\r\n\r\n{}");
    wire.message();
    assert_eq!(rig.heard.calls(1)[0].usage.tokens.output, Some(7), "the call itself is the only event");
}

#[test]
fn case_77_a_cancelled_response_is_not_billed_twice() {
    let script = generous();
    let rig = Setup::to(script.addr).start();
    let mut wire =
        rig.send("POST /openai/v1/responses/resp_1/cancel HTTP/1.1\r\nHost: gw\r\nContent-Length: 0\r\n\r\n");
    wire.message();
    // The response does not say that it was made in the background, so its bill was another call's.
    wire.send("POST /openai/v1/responses HTTP/1.1\r\nHost: gw\r\nContent-Length: 2\r\n\r\n{}");
    wire.message();
    assert_eq!(rig.heard.calls(1)[0].usage.tokens.output, Some(7), "the call itself is the only event");
    assert!(rig.heard.bills().is_empty());
}

#[test]
fn a_look_at_work_that_is_over_shows_its_bill_and_is_no_call() {
    let body = r#"{"id":"resp_1","object":"response","status":"completed","background":true,"model":"m","output":[],"usage":{"input_tokens":30,"output_tokens":2500}}"#;
    let part = body.replace("completed", "in_progress");
    let answer = |body: &str| {
        format!(
            "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            body.len()
        )
    };
    let answers =
        [answer(&part), answer(body), answer(body).replace("200 OK", "206 Partial Content"), answer(body)];
    let script = Script::start(move |mut wire, _| {
        for answer in &answers {
            wire.message();
            wire.send(answer);
        }
    });
    let rig = Setup::to(script.addr).start();
    let mut wire = rig.connect();
    for method in ["GET", "GET", "GET", "POST"] {
        let target = if method == "GET" {
            "/openai/v1/responses/resp_1"
        } else {
            "/openai/v1/responses/resp_1/cancel"
        };
        wire.send(format!("{method} {target} HTTP/1.1\r\nHost: gw\r\nContent-Length: 0\r\n\r\n"));
        wire.message();
    }
    let work = || DeferredId { kind: DeferredKind::Response, id: "resp_1".into() };
    eventually("two bills", || rig.heard.bills().len() == 2);
    let bills = rig.heard.bills();
    assert_eq!([&bills[0].seen, &bills[1].seen], [&BillSeen::Of(work()), &BillSeen::ByCancel(work())]);
    assert_eq!(
        (bills[0].settled.usage.tokens.input, bills[0].settled.usage.tokens.output),
        (Some(30), Some(2_500))
    );
    assert!(bills[0].settled.usage.accounting.deferred);
    assert!(rig.heard.calls(0).is_empty());
}

#[test]
fn case_78_polls_of_assistants_are_silent() {
    let script = generous();
    let rig = Setup::to(script.addr).start();
    let mut wire = rig.send("GET /openai/threads/t/runs/r HTTP/1.1\r\nHost: gw\r\n\r\n");
    wire.message();
    wire.send("POST /openai/threads/t/runs HTTP/1.1\r\nHost: gw\r\nContent-Length: 2\r\n\r\n{}");
    wire.message();
    let calls = rig.heard.calls(1);
    assert_eq!((calls[0].usage.target.api, calls[0].usage.tokens.output), (Api::Assistants, Some(7)));
}
