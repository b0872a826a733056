//! The hop: how it proves itself, and what it may not say if it does not.

use serde_json::Value;

use super::{Left, PATH, Rig, bearer, line, lines, request};
use crate::sidecar::{binary, wait_for};

const SECRET: &str = "x-tokenweir-auth";
const NEW: &str = "new-0c6f9ab2d7e1483f";
const SUB: (&str, &str) = ("x-apim-subscription-id", "team-a");

/// What one hop says, and whether it is believed.
struct Case {
    what: &'static str,
    fields: Vec<u8>,
    believed: bool,
}

fn secrets() -> Vec<Case> {
    let case =
        |what, fields: Vec<u8>, believed| Case { what, fields: [lines(&[SUB]), fields].concat(), believed };
    let secret = |value: &str| line(SECRET, value);
    vec![
        case("the new secret", secret("new-0c6f9ab2d7e1483f"), true),
        case("the old secret", secret("old-q8Zt3Vw1Lr6B"), true),
        case("white space around it", secret("  new-0c6f9ab2d7e1483f "), true),
        case(
            "Connection names it",
            [line("connection", SECRET), secret("new-0c6f9ab2d7e1483f")].concat(),
            true,
        ),
        case("none", vec![], false),
        case("an empty one", secret(""), false),
        case("another", secret("xxx-0c6f9ab2d7e1483f"), false),
        case("its beginning", secret("new-0c6f9ab2d7e1483"), false),
        case("more than it", secret("new-0c6f9ab2d7e1483f1"), false),
        case("another case", secret("NEW-0C6F9AB2D7E1483F"), false),
        case("both in one field", secret("new-0c6f9ab2d7e1483f,old-q8Zt3Vw1Lr6B"), false),
        case(
            "both in two fields",
            [secret("new-0c6f9ab2d7e1483f"), secret("old-q8Zt3Vw1Lr6B")].concat(),
            false,
        ),
        case(
            "the same twice",
            [secret("new-0c6f9ab2d7e1483f"), secret("new-0c6f9ab2d7e1483f")].concat(),
            false,
        ),
        case("a wrong one beside it", [secret("wrong"), secret("new-0c6f9ab2d7e1483f")].concat(), false),
        case("no text", line(SECRET, b"\xff"), false),
        case("much too long", secret(&"s".repeat(8_000)), false),
        case("in Authorization", line("authorization", "Bearer new-0c6f9ab2d7e1483f"), false),
        case("in another field", line("x-tokenweir-secret", "new-0c6f9ab2d7e1483f"), false),
        case("a token instead", line("authorization", bearer(r#"{"azp":"app","tid":"t","oid":"o"}"#)), false),
        case("a key instead", line("api-key", "k"), false),
    ]
}

fn run(rig: &Rig, cases: &[Case]) {
    for (n, case) in cases.iter().enumerate() {
        let fields = [&case.fields[..], b"x-apim-request-id: gateway-1\r\nx-apim-attempt: 7\r\n"].concat();
        assert_eq!(rig.call(&format!("case-{n}"), &fields), 200, "{}", case.what);
    }
}

/// A hop that is not believed names nobody, and joins its call to no other's.
fn check(left: &Left, cases: &[Case], trust: &str) {
    for (n, case) in cases.iter().enumerate() {
        let event = &left.events[&format!("case-{n}")];
        let caller = event["caller"].as_object().unwrap();
        let (id, source, trust) = if case.believed {
            ("team-a", "apim_subscription", trust)
        } else {
            assert_eq!(caller.len(), 3, "{}: nothing else is said: {caller:?}", case.what);
            ("unattributed", "none", "none")
        };
        assert_eq!(
            (&caller["id"], &caller["id_source"], &caller["trust"]),
            (&id.into(), &source.into(), &trust.into()),
            "{}",
            case.what
        );
        let gateway = (event["ids"]["gateway_request_id"].as_str(), event["request"]["attempt"].as_u64());
        assert_eq!(
            gateway,
            if case.believed { (Some("gateway-1"), Some(7)) } else { (None, None) },
            "{}",
            case.what
        );
    }
    for (_, fields) in &left.arrived {
        assert!(!fields.iter().any(|(name, _)| name == SECRET || name.starts_with("x-apim-")), "{fields:?}");
    }
}

#[test]
fn case_79_a_hop_without_the_secret_names_nobody() {
    let cases = secrets();
    let rig = Rig::start_with(
        &["--caller-trust", "shared-secret"],
        &[("TOKENWEIR_CALLER_SHARED_SECRET", "new-0c6f9ab2d7e1483f,old-q8Zt3Vw1Lr6B")],
    );
    run(&rig, &cases);
    check(&rig.stop(), &cases, "shared_secret");
}

/// Where such calls come from, and what they say, stands in the line of the call and nowhere else; keys and people
/// as hashes.
#[test]
fn the_log_says_who_an_unproven_hop_is_and_what_it_claims() {
    const KEY: &str = "zq7-the-key";
    let rig = Rig::start_with(
        &["--caller-trust", "shared-secret", "--caller-sources", "apim-subscription,entra-user,api-key"],
        &[("TOKENWEIR_CALLER_SHARED_SECRET", NEW)],
    );
    let person = bearer(r#"{"oid":"zq7-person","tid":"zq7-tenant"}"#);
    for (name, fields) in [
        ("names", lines(&[SUB])),
        ("keys", lines(&[("api-key", KEY)])),
        ("people", lines(&[("authorization", &person)])),
        ("nobody", vec![]),
        ("believed", lines(&[SUB, (SECRET, NEW)])),
    ] {
        assert_eq!(rig.call(name, &fields), 200);
        wait_for("the line of the call", || {
            let calls = rig.sidecar.log().iter().filter(|line| line.contains("\"message\":\"call\"")).count();
            let told = ["names", "keys", "people", "nobody", "believed"].iter().position(|n| *n == name);
            (calls > told.unwrap()).then_some(())
        });
    }
    let left = rig.stop();
    let calls = left.log.iter().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let calls: Vec<Value> = calls.filter(|line| line["message"] == "call").collect();
    let of = |call: &Value, field: &str| call.get(format!("unproven.{field}")).cloned();
    let texts = |call: &Value| ["peer", "caller_id", "id_source"].map(|field| of(call, field));
    let [names, keys, people, nobody, believed] = &calls[..] else { panic!("{calls:#?}") };
    let text = |text: &str| Some(Value::from(text));
    assert_eq!(texts(names), [text("127.0.0.1"), text("team-a"), text("apim_subscription")]);
    assert_eq!(texts(nobody), [text("127.0.0.1"), None, None]);
    assert_eq!(texts(believed), [None, None, None]);
    for (call, source) in [(keys, "api_key"), (people, "entra_user")] {
        let [peer, id, told] = texts(call);
        assert_eq!((peer, told), (text("127.0.0.1"), text(source)));
        assert!(id.as_ref().and_then(Value::as_str).is_some_and(|id| !id.is_empty()), "{call}");
    }
    assert!(!left.log.iter().any(|line| line.contains("zq7")), "{:#?}", left.log);
    let events = serde_json::to_string(&left.events.values().collect::<Vec<_>>()).unwrap();
    assert!(!events.contains("unproven") && events.matches("team-a").count() == 2, "{events}");
}

#[test]
fn a_network_proves_the_hop_whatever_it_says_of_itself() {
    for (networks, believed) in [("10.0.0.0/8, 127.0.0.0/8", true), ("10.0.0.0/8,::1", false)] {
        let case = |what, fields: &[(&str, &str)]| Case {
            what,
            fields: [lines(&[SUB]), lines(fields)].concat(),
            believed,
        };
        let cases = [
            case("nothing", &[]),
            case("X-Forwarded-For", &[("x-forwarded-for", "10.1.1.1"), ("x-real-ip", "10.1.1.1")]),
            case("Forwarded", &[("forwarded", "for=10.1.1.1")]),
        ];
        let rig = Rig::start(&["--caller-trust", "network", "--caller-networks", networks]);
        run(&rig, &cases);
        check(&rig.stop(), &cases, "network");
    }
}

/// A refusal is in the service's shape; the event costs nobody anything, and reports leave it out.
#[test]
fn an_untrusted_hop_is_refused_if_the_operator_says_so() {
    let rig = Rig::start_with(
        &["--caller-trust", "shared-secret", "--on-untrusted", "reject"],
        &[("TOKENWEIR_CALLER_SHARED_SECRET", NEW)],
    );
    assert_eq!(rig.call("good", &lines(&[SUB, (SECRET, NEW)])), 200);
    let answer = rig.send(&request(PATH, "bad", &lines(&[SUB, (SECRET, "x")]))).unwrap();
    assert_eq!((answer.status(), answer.field("content-type")), (403, Some("application/json")));
    let error: Value = serde_json::from_slice(&answer.body).unwrap();
    assert!(error["error"]["code"].is_string() && error["error"]["message"].is_string(), "{error}");
    let get = rig.send(b"GET /openai/models?api-version=1 HTTP/1.1\r\nHost: gw\r\n\r\n").unwrap();
    assert_eq!(get.status(), 403, "reading is for the gateway only, too");
    let left = rig.stop();
    assert_eq!((left.events.len(), left.arrived.len()), (2, 1), "the service has seen one");
    assert_rejected(&left, "bad");
    let report = std::process::Command::new(binary())
        .args(["report", "--format", "json", "--by", "caller", "--ledger"])
        .arg(&left.ledger)
        .output()
        .unwrap();
    let report: Value = serde_json::from_slice(&report.stdout).unwrap();
    let lines = report["lines"].as_array().unwrap();
    assert_eq!(lines.len(), 1, "{report}");
    assert_eq!((&lines[0]["caller"], &lines[0]["calls"]), (&"team-a".into(), &1.into()));
    crate::sidecar::verified(&left.ledger);
}

/// The event of a call that was refused.
pub(super) fn assert_rejected(left: &Left, name: &str) {
    let event = &left.events[name];
    assert_eq!((&event["stream"]["outcome"], &event["request"]["status"]), (&"rejected".into(), &403.into()));
    assert_eq!((&event["tokens"]["input"], &event["tokens"]["output"]), (&0.into(), &0.into()));
    let accounting = &event["accounting"];
    assert_eq!(
        (&accounting["input_quality"], &accounting["output_quality"]),
        (&"exact".into(), &"exact".into())
    );
    assert_eq!(accounting["reasons"], serde_json::json!(["input:not_billed", "output:not_billed"]));
}

#[test]
fn a_secret_is_replaced_without_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("secret");
    std::fs::write(&file, "hush-1-0c6f9ab2d7e1483f\n").unwrap();
    let rig = Rig::start(&[
        "--caller-trust",
        "shared-secret",
        "--caller-shared-secret-file",
        file.to_str().unwrap(),
    ]);
    let call = |name: &str, secret: &str| assert_eq!(rig.call(name, &lines(&[SUB, (SECRET, secret)])), 200);
    call("first", "hush-1-0c6f9ab2d7e1483f");
    call("early", "hush-2-0c6f9ab2d7e1483f");
    let told = |needle: &str| {
        rig.sidecar
            .log()
            .iter()
            .filter(|line| line.contains("caller-shared-secret-file") && line.contains(needle))
            .count()
    };
    std::fs::write(&file, "hush-2-0c6f9ab2d7e1483f\nhush-1-0c6f9ab2d7e1483f\n").unwrap();
    rig.sidecar.hang_up();
    wait_for("the secret to be read again", || (told("read again") == 1).then_some(()));
    call("both-1", "hush-1-0c6f9ab2d7e1483f");
    call("both-2", "hush-2-0c6f9ab2d7e1483f");
    std::fs::write(&file, "\n").unwrap();
    rig.sidecar.hang_up();
    wait_for("the log to say why not", || (told("holds 0 secrets") == 1).then_some(()));
    // What can be guessed does not take the place of what cannot.
    std::fs::write(&file, "hush-weak\n").unwrap();
    rig.sidecar.hang_up();
    wait_for("the log to say why not", || (told("easy to guess") == 1).then_some(()));
    call("kept", "hush-2-0c6f9ab2d7e1483f");
    std::fs::write(&file, "hush-2-0c6f9ab2d7e1483f\n").unwrap();
    rig.sidecar.hang_up();
    wait_for("the secret to be read again", || (told("\"changed\":true") == 2).then_some(()));
    call("late", "hush-1-0c6f9ab2d7e1483f");
    let left = rig.stop();
    let id = |name: &str| left.events[name]["caller"]["id"].as_str().unwrap().to_owned();
    let named = ["first", "both-1", "both-2", "kept"].map(id);
    assert!(named.iter().all(|id| id == "team-a"), "{named:?}");
    assert_eq!(["early", "late"].map(id), ["unattributed", "unattributed"]);
    assert!(!left.log.iter().any(|line| line.contains("hush-")), "a secret is logged");
}
