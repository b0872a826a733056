//! Second keys: tags of the caller, and the project, the agent and the deployment that Foundry and the gateway name.

use std::io::Write;
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use serde_json::{Value, json};

use super::{ANSWER, Arrived, Left, PATH, Rig, answer, line, lines, request};
use crate::http::{Message, connect, get, read_chunk, read_head};
use crate::sidecar::{binary, events, usage_events};
use crate::support::eventually;
use crate::upstream;

const SUB: (&str, &str) = ("x-apim-subscription-id", "team-a");
const PROOF: (&str, &str) = ("x-tokenweir-auth", "new-0c6f9ab2d7e1483f");
const TAGS: &str = "user=X-End-User,desk=x-desk:plain";
const ENVIRONMENT: [(&str, &str); 2] =
    [("TOKENWEIR_CALLER_SHARED_SECRET", PROOF.1), ("TOKENWEIR_CALLER_HASH_KEY", "test")];
/// `printf 'tag\0%s\0%s' user 1 | openssl dgst -sha256 -hmac test`
const USER_1: &str = "tag-3aa47cfa1b79";

fn rig() -> Rig {
    Rig::start_with(&["--caller-trust", "shared-secret", "--caller-tags", TAGS], &ENVIRONMENT)
}

/// The fields that a hop sends, and the tags that its call must have.
struct Case {
    what: &'static str,
    fields: Vec<u8>,
    tags: Value,
}

fn case(what: &'static str, fields: Vec<u8>, tags: Value) -> Case {
    Case { what, fields: [lines(&[SUB, PROOF]), fields].concat(), tags }
}

fn cases() -> Vec<Case> {
    let user = |value: &str| line("x-end-user", value);
    let desk = || line("x-desk", "FX 7");
    let both = json!({"user": USER_1, "desk": "FX 7"});
    let with_desk = |what, fields: Vec<u8>| case(what, [desk(), fields].concat(), json!({"desk": "FX 7"}));
    let forged = |what, fields: Vec<u8>| Case { what, fields, tags: Value::Null };
    let claims = || [lines(&[SUB]), user("1"), desk()].concat();
    vec![
        case("both", [user("1"), desk()].concat(), both.clone()),
        case("in another case, with blanks", [line("X-END-User", " 1\t"), desk()].concat(), both.clone()),
        case("Connection names one", [line("connection", "x-end-user"), user("1"), desk()].concat(), both),
        case("none", vec![], Value::Null),
        with_desk("an empty one", user("")),
        with_desk("the same twice", [user("1"), user("1")].concat()),
        with_desk("two", [user("1"), user("2")].concat()),
        with_desk("a list", user("1, 2")),
        with_desk("too long", user(&"u".repeat(129))),
        with_desk("no text", line("x-end-user", b"\xff")),
        with_desk("a tab", user("a\tb")),
        forged("no proof", claims()),
        forged("a wrong proof", [claims(), line(PROOF.0, "xxx-0c6f9ab2d7e1483f")].concat()),
        forged("the proof twice", [claims(), lines(&[PROOF, PROOF])].concat()),
    ]
}

#[test]
fn only_a_hop_that_proves_itself_tags_a_call() {
    let cases = cases();
    let rig = rig();
    for (n, case) in cases.iter().enumerate() {
        let fields = [&case.fields[..], b"x-apim-foundry-deployment: gpt-4o-ptu\r\n"].concat();
        assert_eq!(rig.call(&format!("case-{n}"), &fields), 200, "{}", case.what);
    }
    let left = rig.stop();
    for (n, case) in cases.iter().enumerate() {
        let event = &left.events[&format!("case-{n}")];
        assert_eq!(event["caller"]["tags"], case.tags, "{}", case.what);
        let believed = case.fields.starts_with(&lines(&[SUB, PROOF]));
        // A tag that is none changes nothing else.
        let expected = if believed { json!(["team-a", "gpt-4o-ptu"]) } else { json!(["unattributed", null]) };
        let found = json!([event["caller"]["id"], event["target"]["gateway_deployment"]]);
        assert_eq!(found, expected, "{}", case.what);
        assert_eq!(
            event["target"]["deployment"], "d",
            "the gateway's word is beside the path's, not in its place"
        );
    }
    assert_eq!(left.arrived.len(), cases.len());
    for (_, fields) in &left.arrived {
        let ours =
            |name: &str| name.starts_with("x-apim-") || ["x-end-user", "x-desk", PROOF.0].contains(&name);
        assert!(!fields.iter().any(|(name, _)| ours(name)), "{fields:?}");
    }
}

/// With trust `none` anybody names anybody, and a start has warned of it.
#[test]
fn a_gateways_deployment_is_a_name_or_absent() {
    let rig = Rig::start(&[]);
    let long = "d".repeat(129);
    let given: [&[(&str, &str)]; 6] = [
        &[("x-apim-foundry-deployment", " gpt-4o-ptu ")],
        &[],
        &[("x-apim-foundry-deployment", "")],
        &[("x-apim-foundry-deployment", "a"), ("x-apim-foundry-deployment", "a")],
        &[("x-apim-foundry-deployment", "a, b")],
        &[("x-apim-foundry-deployment", &long)],
    ];
    for (n, fields) in given.iter().enumerate() {
        assert_eq!(rig.call(&format!("case-{n}"), &lines(fields)), 200);
    }
    let left = rig.stop();
    for n in 0..given.len() {
        let expected = if n == 0 { json!("gpt-4o-ptu") } else { Value::Null };
        assert_eq!(left.events[&format!("case-{n}")]["target"]["gateway_deployment"], expected, "{n}");
    }
}

#[test]
fn replicas_with_one_key_tag_alike() {
    let tag = |key: &str, user: &str| {
        let rig = Rig::start_with(&["--caller-tags", TAGS], &[("TOKENWEIR_CALLER_HASH_KEY", key)]);
        assert_eq!(rig.call("one", &lines(&[SUB, ("x-end-user", user)])), 200);
        rig.stop().events["one"]["caller"]["tags"]["user"].clone()
    };
    assert_eq!((tag("test", "1"), tag("test", "1")), (json!(USER_1), json!(USER_1)));
    let others = [tag("test", "2"), tag("other", "1")];
    assert!(
        others.iter().all(|tag| tag.as_str().is_some_and(|tag| tag.len() == USER_1.len() && tag != USER_1)),
        "{others:?}"
    );
}

/// Begins the values that must not be seen again, and those that only events may hold.
const HASHED: &str = "canary5b2d";
const PLAIN: &str = "desk8c41";

#[test]
fn no_value_of_a_tag_leaks() {
    let rig = Rig::start(&[
        "--caller-tags",
        TAGS,
        "--log-level",
        "trace",
        "--metrics-per-caller",
        "caller",
        "--drift-sample",
        "100%",
    ]);
    for n in 0..3 {
        let (user, desk) = (format!("{HASHED}{n}"), format!("{PLAIN}{n}"));
        let fields = lines(&[SUB, ("x-end-user", &user), ("x-desk", &desk)]);
        assert_eq!(rig.call(&format!("call-{n}"), &fields), 200);
        // A value that cannot be a tag is not quoted either.
        let fields =
            lines(&[SUB, ("x-end-user", &format!("{user}, {user}")), ("x-desk", &format!("{desk},"))]);
        assert_eq!(rig.call(&format!("bad-{n}"), &fields), 200);
    }
    let refused =
        format!("POST /x HTTP/1.1\r\nHost: gw\r\nx-end-user: {HASHED}\r\nTransfer-Encoding: x\r\n\r\n");
    let said = rig.send(refused.as_bytes()).map_or(Vec::new(), |answer| answer.body);
    let metrics = get(rig.sidecar.admin, "/metrics").body;
    let left = rig.stop();
    let desks = (0..3).map(|n| left.events[&format!("call-{n}")]["caller"]["tags"]["desk"].clone());
    assert_eq!(desks.collect::<Vec<_>>(), (0..3).map(|n| json!(format!("{PLAIN}{n}"))).collect::<Vec<_>>());
    for n in 0..3 {
        assert_eq!(left.events[&format!("bad-{n}")]["caller"]["tags"], Value::Null);
    }
    for (place, bytes) in outputs(&left, metrics, said) {
        let text = String::from_utf8_lossy(&bytes);
        assert!(!text.contains(HASHED), "{place} holds the value of a hashed tag");
        let in_events = place.contains("ledger") || place == "events";
        assert!(in_events || !text.contains(PLAIN), "{place} holds the value of a tag");
        let is_label = text.contains("tag-") && !in_events;
        assert!(!is_label, "{place} holds a tag");
    }
}

/// All that a sidecar has written, by where.
fn outputs(left: &Left, metrics: Vec<u8>, said: Vec<u8>) -> Vec<(String, Vec<u8>)> {
    let files = std::fs::read_dir(&left.ledger).unwrap().map(|file| file.unwrap().path());
    let files = files.map(|path| (format!("ledger: {}", path.display()), std::fs::read(&path).unwrap()));
    let printed = ["events", "report", "verify"].map(|command| {
        let output = Command::new(binary()).arg(command).arg("--ledger").arg(&left.ledger).output().unwrap();
        (command.to_owned(), [output.stdout, output.stderr].concat())
    });
    let log = left.log.join("\n").into_bytes();
    let own = [("log", log), ("metrics", metrics), ("a refusal", said)];
    files.chain(printed).chain(own.map(|(place, bytes)| (place.to_owned(), bytes))).collect()
}

const RESPONSE: &str = r#"{"id":"resp_1","object":"response","created_at":1795000000,"status":"completed","model":"gpt-5-mini-2025-08-07","output":[{"type":"message","role":"assistant","content":[{"type":"output_text","text":"Teal."}]}],"agent_reference":{"type":"agent_reference","name":"of-the-answer","version":"2"},"usage":{"input_tokens":210,"output_tokens":8,"total_tokens":218}}"#;

#[test]
fn project_and_agent_are_those_of_path_request_and_answer() {
    let service =
        upstream::start(Arc::new(|_: &Message, to: &mut TcpStream| answer(to, "200 OK", "", RESPONSE)));
    let rig = Rig::before(service, Arrived::default(), &[], &[]);
    let asked = r#"{"input":"Hi","agent_reference":{"type":"agent_reference","name":"clerk"},"conversation":"conv_2"}"#;
    let older = r#"{"input":"Hi","agent":{"name":"clerk","type":"agent_reference"}}"#;
    let own_path = "/api/projects/proj-1/agents/teller/endpoint/protocols/openai/responses?api-version=v1";
    let calls = [
        ("/api/projects/proj-1/openai/v1/responses", asked, json!(["proj-1", "clerk", null])),
        ("/gw/api/projects/proj-1/openai/v1/responses", older, json!(["proj-1", "clerk", null])),
        ("/openai/v1/responses", r#"{"model":"m","input":"Hi"}"#, json!([null, "of-the-answer", "m"])),
        (own_path, r#"{"input":"Hi"}"#, json!(["proj-1", "teller", null])),
        (own_path, asked, json!(["proj-1", "teller", null])),
        ("/api/projects/proj-1/x%2f..%2fopenai/v1/responses", asked, json!(["proj-1", "clerk", null])),
        ("/api/projects/a/api/projects/b/openai/v1/responses", asked, json!(["b", "clerk", null])),
    ];
    for (n, (path, body, _)) in calls.iter().enumerate() {
        let head = format!("POST {path} HTTP/1.1\r\nHost: gw\r\nx-ms-client-request-id: call-{n}\r\n");
        let request = format!("{head}Content-Length: {}\r\n\r\n{body}", body.len());
        assert_eq!(rig.send(request.as_bytes()).unwrap().status(), 200, "{path}");
    }
    let left = rig.stop();
    for (n, (path, _, expected)) in calls.iter().enumerate() {
        let event = &left.events[&format!("call-{n}")];
        let target = &event["target"];
        let found = json!([target["project"], target["agent"], target["deployment"]]);
        assert_eq!(found, *expected, "{path}");
        assert_eq!((&target["api"], &event["tokens"]["input"]), (&"responses".into(), &210.into()), "{path}");
        let odd = n >= 5;
        let reasons = event["accounting"]["reasons"].to_string();
        assert_eq!(reasons.contains("odd_path"), odd, "{path}: {reasons}");
    }
}

/// The draft that the ledger has of an open call holds all of it.
#[test]
fn a_crashed_call_keeps_its_second_keys() {
    let service = upstream::start(Arc::new(|_: &Message, to: &mut TcpStream| {
        to.write_all(upstream::STREAM_HEAD.as_bytes())?;
        let begun = json!({"type": "response.created", "response": {"id": "resp_1", "model": "gpt-5-mini", "status": "in_progress"}});
        upstream::write_chunk(to, format!("event: response.created\ndata: {begun}\n\n").as_bytes())
    }));
    let rig = Rig::before(
        service,
        Arrived::default(),
        &["--caller-trust", "shared-secret", "--caller-tags", TAGS],
        &ENVIRONMENT,
    );
    let body = r#"{"input":"Hi","stream":true,"agent_reference":{"type":"agent_reference","name":"clerk"}}"#;
    let fields =
        [SUB, PROOF, ("x-end-user", "1"), ("x-desk", "FX"), ("x-apim-foundry-deployment", "gpt-ptu")];
    let mut connection = connect(rig.sidecar.addr);
    let post = crate::http::post("/api/projects/proj-1/openai/v1/responses", &fields, body);
    connection.get_mut().write_all(&post).unwrap();
    assert!(read_head(&mut connection).unwrap().is_some() && read_chunk(&mut connection).unwrap().is_some());
    // A call is in the ledger within milliseconds, and what its body said within a checkpoint's quarter of a second.
    eventually("the checkpoint", || checkpointed(&rig.ledger));
    rig.sidecar.kill();
    let again = crate::sidecar::Sidecar::start(service, &rig.ledger, &[]);
    assert_eq!(again.stop().0, Some(0));
    let events = usage_events(&rig.ledger);
    let [event] = events.as_slice() else { panic!("{events:?}") };
    let (data, target) = (&event["data"], &event["data"]["target"]);
    assert_eq!(data["stream"]["outcome"], "crashed");
    assert_eq!(data["caller"]["tags"], json!({"user": USER_1, "desk": "FX"}));
    let found = json!([target["project"], target["agent"], target["gateway_deployment"]]);
    assert_eq!(found, json!(["proj-1", "clerk", "gpt-ptu"]));
}

/// A checkpoint with the agent is in the files of the ledger.
fn checkpointed(ledger: &Path) -> bool {
    let files =
        std::fs::read_dir(ledger).unwrap().filter_map(|file| std::fs::read(file.unwrap().path()).ok());
    files.into_iter().any(|bytes| String::from_utf8_lossy(&bytes).contains("\"agent\":\"clerk\""))
}

/// Sums are by who pays; to keep one for each end user would be to keep a table without a bound.
#[test]
fn a_sum_has_no_tags() {
    let rig = Rig::start_with(
        &["--caller-tags", TAGS, "--max-calls", "1"],
        &[("TOKENWEIR_CALLER_HASH_KEY", "test")],
    );
    // A call whose body does not come holds the only place.
    let mut holds = connect(rig.sidecar.addr);
    let head = request(PATH, "held", &lines(&[SUB]));
    let body_at = head.windows(4).position(|end| end == b"\r\n\r\n").unwrap() + 4;
    holds.get_mut().write_all(&head[..body_at]).unwrap();
    let open = || {
        String::from_utf8_lossy(&get(rig.sidecar.admin, "/metrics").body).contains("tokenweir_calls_open 1\n")
    };
    eventually("the call to be open", open);
    for user in ["1", "2"] {
        let fields =
            lines(&[SUB, ("x-end-user", user), ("x-desk", "FX"), ("x-apim-foundry-deployment", "ptu")]);
        assert_eq!(rig.call(user, &fields), 200);
    }
    holds.get_mut().write_all(&head[body_at..]).unwrap();
    assert!(read_head(&mut holds).unwrap().is_some());
    let left = rig.stop();
    let all = events(&left.ledger);
    let sums: Vec<_> = all.iter().filter(|event| event["type"] == "dev.tokenweir.summary.v1").collect();
    let calls: u64 = sums.iter().map(|sum| sum["data"]["calls"].as_u64().unwrap()).sum();
    assert_eq!(calls, 2, "{sums:?}");
    for sum in sums {
        let (caller, target) = (&sum["data"]["caller"], &sum["data"]["target"]);
        assert_eq!(
            (&caller["id"], &caller["tags"], &target["gateway_deployment"]),
            (&"team-a".into(), &Value::Null, &Value::Null)
        );
    }
}

/// Tags change nothing of a response.
#[test]
fn an_answer_passes_as_it_is() {
    let rig = rig();
    let fields = lines(&[SUB, PROOF, ("x-end-user", "1"), ("x-desk", "FX")]);
    let told = rig.send(&request(PATH, "one", &fields)).unwrap();
    assert_eq!((told.status(), told.body.as_slice()), (200, ANSWER.as_bytes()));
    assert!(told.all_fields().all(|(name, value)| !name.starts_with("x-") && !value.contains("tag-")));
    rig.stop();
}
