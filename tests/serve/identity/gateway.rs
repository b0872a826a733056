//! Calls as a gateway makes them: attempts that belong together, and what the service says of itself.

use std::net::TcpStream;
use std::sync::Arc;

use serde_json::{Value, json};

use super::{ANSWER, Arrived, PATH, Rig, answer, lines, request};
use crate::http::Message;
use crate::upstream;

/// A service that answers as `x-answer` says: a status, fields and a body.
fn rig(replies: &'static [(&'static str, &'static str, &'static str)]) -> Rig {
    let service = upstream::start(Arc::new(move |asked: &Message, to: &mut TcpStream| {
        let n: usize = asked.field("x-answer").unwrap().parse().unwrap();
        let (status, fields, body) = replies[n];
        answer(to, status, fields, body)
    }));
    Rig::before(service, Arrived::default(), &[], &[])
}

#[test]
fn case_83_attempts_of_one_call_share_its_id_and_one_has_tokens() {
    let rig = rig(&[
        ("429 Too Many Requests", "Retry-After: 1\r\n", r#"{"error":{"code":"429","message":"later"}}"#),
        ("200 OK", "", ANSWER),
    ]);
    for attempt in 0..2 {
        let (n, name) = (attempt.to_string(), format!("attempt-{attempt}"));
        let number = (attempt + 1).to_string();
        let fields = lines(&[
            ("x-answer", &n),
            ("x-apim-subscription-id", "team-a"),
            ("x-apim-request-id", "3f2a"),
            ("x-apim-attempt", &number),
            ("x-stainless-retry-count", "5"),
        ]);
        let status = rig.send(&request(PATH, &name, &fields)).unwrap().status();
        assert_eq!(status, [429, 200][attempt]);
    }
    let left = rig.stop();
    let of = |name: &str| {
        let event = &left.events[name];
        let tokens = &event["tokens"];
        json!([
            event["ids"]["gateway_request_id"],
            event["request"]["attempt"],
            event["stream"]["outcome"],
            tokens["input"],
            tokens["output"]
        ])
    };
    assert_eq!(of("attempt-0"), json!(["3f2a", 1, "upstream_status", 0, 0]));
    assert_eq!(of("attempt-1"), json!(["3f2a", 2, "complete", 8, 2]));
    assert_eq!(left.events.len(), 2);
}

#[test]
fn case_86_spillover_is_recorded_in_both_spellings() {
    let rig = rig(&[
        (
            "200 OK",
            "x-ms-deployment-name: gpt-4o-std\r\nx-ms-spillover-from-deployment: gpt-4o-ptu\r\n",
            ANSWER,
        ),
        ("200 OK", "x-ms-deployment-name: gpt-4o-std\r\nx-ms-spillover-from-gpt-4o-ptu: true\r\n", ANSWER),
        ("200 OK", "", ANSWER),
    ]);
    let served = |rig: &Rig, n: &str| assert_eq!(rig.call(n, &lines(&[("x-answer", n)])), 200);
    ["0", "1", "2"].iter().for_each(|n| served(&rig, n));
    let left = rig.stop();
    for n in ["0", "1"] {
        let target = &left.events[n]["target"];
        let found = json!([target["deployment"], target["deployment_served"], target["spillover_from"]]);
        assert_eq!(found, json!(["d", "gpt-4o-std", "gpt-4o-ptu"]), "{n}");
    }
    assert_eq!(left.events["2"]["target"].get("spillover_from"), None);
}

#[test]
fn case_87_the_answer_says_which_model_and_tier_it_was() {
    const ROUTED: &str = r#"{"id":"c","object":"chat.completion","created":1,"model":"gpt-4.1-mini-2025-04-14","service_tier":"default","choices":[{"index":0,"message":{"role":"assistant","content":"One"},"finish_reason":"stop"}],"usage":{"prompt_tokens":8,"completion_tokens":2,"total_tokens":10}}"#;
    let rig = rig(&[("200 OK", "", ROUTED)]);
    let body = r#"{"model":"model-router","service_tier":"priority","messages":[{"role":"user","content":"Hello"}]}"#;
    let request = format!(
        "POST {PATH} HTTP/1.1\r\nHost: gw\r\nx-answer: 0\r\nx-ms-client-request-id: routed\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    assert_eq!(rig.send(request.as_bytes()).unwrap().status(), 200);
    let left = rig.stop();
    let target = &left.events["routed"]["target"];
    let found =
        json!([target["deployment"], target["model_requested"], target["model"], target["service_tier"]]);
    assert_eq!(found, json!(["d", "model-router", "gpt-4.1-mini-2025-04-14", "default"]));
}

#[test]
fn case_88_ids_that_the_service_leaves_out_are_left_out() {
    let rig = rig(&[
        ("200 OK", "x-ms-client-request-id: Not-Set\r\n", ANSWER),
        (
            "200 OK",
            "apim-request-id: 77aa\r\nx-request-id: 88bb\r\nx-ms-client-request-id: Not-Set\r\n",
            ANSWER,
        ),
    ]);
    for n in ["0", "1"] {
        let plain = format!(
            "POST {PATH} HTTP/1.1\r\nHost: gw\r\nx-answer: {n}\r\nx-apim-subscription-id: s{n}\r\nContent-Length: 2\r\n\r\n{{}}"
        );
        assert_eq!(rig.send(plain.as_bytes()).unwrap().status(), 200);
    }
    let left = rig.stop();
    let events = crate::sidecar::usage_events(&left.ledger);
    let ids = |caller: &str| -> Value {
        let event = events.iter().find(|event| event["data"]["caller"]["id"] == caller).unwrap();
        event["data"]["ids"].clone()
    };
    assert_eq!(ids("s0"), json!({"response_id": "c"}));
    let known =
        json!({"response_id": "c", "upstream_apim_request_id": "77aa", "upstream_request_id": "88bb"});
    assert_eq!(ids("s1"), known);
}
