//! Credentials: where they may stand, what is taken off, and that none is written down.

use super::hop::assert_rejected;
use super::{PATH, Rig, line, lines, request};

/// Begins every key that must not be seen again.
const CANARY: &str = "canary9e1c";

#[test]
fn case_82_subscription_keys_end_here_and_are_written_nowhere() {
    let rig = Rig::start(&[
        "--log-level",
        "trace",
        "--subscription-key-names",
        "Ocp-Apim-Subscription-Key,subscription-key,X-My-Key",
    ]);
    let key = |n: usize| format!("{CANARY}{n}");
    let targets = [
        format!("{PATH}&subscription-key={}", key(1)),
        format!("{PATH}&Subscription-Key={}&x=1", key(2)),
        format!("{PATH}&subscription%2Dkey={}", key(3)),
        format!("{PATH}&%73ubscription-key={}", key(4)),
        format!("{PATH}&ocp-apim-subscription-key={}", key(5)),
        format!("{PATH}&x-my-key={0}&subscription-key={0}", key(6)),
        format!("{}?subscription-key={}&api-version=2024-10-21", PATH.split('?').next().unwrap(), key(7)),
    ];
    for (n, target) in targets.iter().enumerate() {
        let fields =
            lines(&[("Ocp-Apim-Subscription-Key", &key(10)), ("x-my-key", &key(11)), ("api-key", &key(12))]);
        let answer = rig.send(&request(target, &format!("call-{n}"), &fields)).unwrap();
        assert_eq!(answer.status(), 200, "{target}");
    }
    // What could not be passed on is not quoted either.
    let bad = rig.send(
        format!("POST /x?subscription-key={} HTTP/1.1\r\nHost: gw\r\nTransfer-Encoding: x\r\n\r\n", key(8))
            .as_bytes(),
    );
    assert!(bad.is_some_and(|answer| !String::from_utf8_lossy(&answer.body).contains(CANARY)));
    let metrics = crate::http::get(rig.sidecar.admin, "/metrics").body;
    let left = rig.stop();
    assert_eq!(left.events.len(), targets.len());
    for (first_line, fields) in left.arrived.iter().filter(|(line, _)| line.contains("deployments")) {
        assert!(
            !first_line.contains(CANARY) && first_line.contains("api-version=2024-10-21"),
            "{first_line}"
        );
        let passed: Vec<_> = fields.iter().filter(|(_, value)| value.contains(CANARY)).collect();
        assert_eq!(passed, [&("api-key".to_owned(), key(12))], "the service's own key passes, and no other");
    }
    let query: Vec<_> = left.arrived.iter().map(|(line, _)| line.contains("&x=1")).collect();
    assert!(query.contains(&true), "what stands behind a key stays");
    let events = serde_json::to_string(&left.events.values().collect::<Vec<_>>()).unwrap();
    let files =
        std::fs::read_dir(&left.ledger).unwrap().map(|file| std::fs::read(file.unwrap().path()).unwrap());
    let places = files.chain([left.log.join("\n").into_bytes(), metrics, events.into_bytes()]);
    for (n, bytes) in places.enumerate() {
        assert!(!String::from_utf8_lossy(&bytes).contains(CANARY), "place {n} holds a key");
    }
}

/// Where a key for the service may stand.
const KEYS: [(&str, &str); 6] = [
    ("header", "api-key"),
    ("header", "API-KEY"),
    ("header", "x-api-key"),
    ("query", "api-key"),
    ("query", "api%2DKEY"),
    ("query", "x-api-key"),
];

fn with_key((place, name): (&str, &str), call: &str) -> Vec<u8> {
    match place {
        "header" => request(PATH, call, &line(name, "secret")),
        _ => request(&format!("{PATH}&{name}=secret"), call, b""),
    }
}

#[test]
fn an_api_key_is_passed_on_removed_or_refused() {
    for policy in ["pass", "strip", "deny"] {
        let rig = Rig::start(&["--api-key", policy]);
        for (n, key) in KEYS.into_iter().enumerate() {
            let answer = rig.send(&with_key(key, &format!("key-{n}"))).unwrap();
            assert_eq!(answer.status(), if policy == "deny" { 403 } else { 200 }, "{policy} {key:?}");
        }
        assert_eq!(rig.call("none", &line("authorization", "Bearer x")), 200);
        let left = rig.stop();
        let kept = left.arrived.iter().filter(|(line, fields)| {
            line.contains("=secret") || fields.iter().any(|(_, value)| value == "secret")
        });
        assert_eq!(kept.count(), if policy == "pass" { KEYS.len() } else { 0 }, "{policy}");
        assert_eq!(left.arrived.len(), if policy == "deny" { 1 } else { KEYS.len() + 1 }, "{policy}");
        assert_eq!(left.events.len(), KEYS.len() + 1, "each call has its event");
        let caller = &left.events["key-0"]["caller"];
        assert_eq!(caller["id_source"], "api_key", "{policy}: the event still says whose call it was");
        if policy == "deny" {
            (0..KEYS.len()).for_each(|n| assert_rejected(&left, &format!("key-{n}")));
        }
    }
}
