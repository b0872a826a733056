//! `account` reads every surface: documents, streams, and sessions as frames. What it says is what `serve` says of
//! the same bytes.

use std::fs;
use std::path::PathBuf;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::Method;
use metering::api::{Operation, SESSIONS};
use serde_json::{Map, Value, json};

use super::support::recordings::{account, account_cases, list};
use super::support::{files, schema, skip};

/// The exchanges of our own, one of each surface and more; each says itself what is expected.
fn fixtures() -> Vec<Value> {
    let read = |name: &str| fs::read_to_string(files::root().join("fixtures/account").join(name)).unwrap();
    let text = ["surfaces.jsonl", "session.jsonl"].map(read).concat();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// The events of a printed line.
fn events(line: &Value) -> Vec<&Value> {
    assert!(line.get("error").is_none(), "{line}");
    match &line["events"] {
        Value::Array(events) => events.iter().collect(),
        _ => Some(&line["event"]).into_iter().filter(|event| !event.is_null()).collect(),
    }
}

/// Each member that is expected is there, with that value; `null` is as good as absent, and lists must be equal.
fn fits(found: &Value, expected: &Value) -> bool {
    match expected {
        Value::Object(members) => members.iter().all(|(name, expected)| match name.as_str() {
            "reasons_have" => {
                let reasons = list(found, "reasons");
                expected.as_array().unwrap().iter().all(|reason| reasons.contains(reason))
            }
            _ => fits(found.get(name).unwrap_or(&Value::Null), expected),
        }),
        expected => found == expected,
    }
}

#[test]
fn every_surface_has_its_numbers() {
    let fixtures = fixtures();
    for (fixture, line) in fixtures.iter().zip(account_cases(&fixtures)) {
        let (events, id) = (events(&line), fixture["id"].as_str().unwrap());
        let expected = list(fixture, "expect");
        assert_eq!(events.len(), expected.len(), "{line}");
        for (event, expected) in events.iter().zip(expected) {
            assert!(fits(&event["data"], expected), "{id}: {} is not {expected}", event["data"]);
            assert_eq!(schema::misfits(event), [""; 0], "{id}");
        }
        let is_session = fixture["response_kind"] == "frames";
        assert_eq!((line.get("events").is_some(), line.get("responses").is_some()), (is_session, is_session));
        let responses = list(&line, "responses");
        let of_responses = responses.iter().zip(1..).map(|(_, number)| format!("{id}/{number}"));
        let ids: Vec<String> = of_responses.chain(Some(id.to_owned())).take(events.len()).collect();
        let found = |name: &str| events.iter().map(|event| event[name].clone()).collect::<Vec<_>>();
        assert_eq!((json!(found("id")), found("time")), (json!(ids), vec![Value::Null; events.len()]));
        for (response, event) in responses.iter().zip(&events) {
            assert_eq!(response["id"], event["id"]);
            let reported = &event["data"]["accounting"]["reported_output"];
            assert_eq!(response["reported"].get("output").unwrap_or(&Value::Null), reported, "{id}");
        }
        assert!(
            !is_session || (line["event"] == **events.last().unwrap() && responses.len() + 1 == ids.len())
        );
    }
    assert_eq!(account_cases(&fixtures), account_cases(&fixtures), "the same lines give the same");
}

/// A value with each usage in it, and in the JSON that its texts hold, replaced.
fn with_usage(value: &Value, usage: &Value) -> Value {
    match value {
        Value::Object(members) => Value::Object(
            members
                .iter()
                .map(|(name, value)| match (name.as_str(), value) {
                    ("usage", Value::Object(_)) => (name.clone(), usage.clone()),
                    (_, value) => (name.clone(), with_usage(value, usage)),
                })
                .collect(),
        ),
        Value::Array(items) => items.iter().map(|item| with_usage(item, usage)).collect(),
        Value::String(text) => {
            let line = |line: &str| {
                let (field, data) = line.strip_prefix("data: ").map_or(("", line), |data| ("data: ", data));
                match serde_json::from_str::<Value>(data) {
                    Ok(document @ Value::Object(_)) => format!("{field}{}", with_usage(&document, usage)),
                    _ => line.to_owned(),
                }
            };
            Value::from(text.split('\n').map(line).collect::<Vec<_>>().join("\n"))
        }
        other => other.clone(),
    }
}

#[test]
fn nothing_of_usage_is_in_computed_whatever_the_surface() {
    let fixtures = fixtures();
    let computed = |lines: &[Value]| -> Vec<Value> {
        let of = |line: &Value| {
            ["id", "computed", "input_quality", "output_quality", "reasons"].map(|key| line[key].clone())
        };
        let all =
            |line: &Value| json!([of(line), list(line, "responses").iter().map(of).collect::<Vec<_>>()]);
        account_cases(lines).iter().map(all).collect()
    };
    let plain = computed(&fixtures);
    let lie = json!({"prompt_tokens": 123_456, "completion_tokens": 654_321, "input_tokens": 7, "output_tokens": 8,
        "total_tokens": 777_777, "output_tokens_details": {"reasoning_tokens": 6}});
    for usage in [Value::Null, lie, json!({"input_tokens": -1}), json!("none")] {
        let changed: Vec<Value> = fixtures.iter().map(|line| with_usage(line, &usage)).collect();
        assert_ne!(changed, fixtures);
        for (line, (found, expected)) in fixtures.iter().zip(computed(&changed).iter().zip(&plain)) {
            assert_eq!(found, expected, "{} with {usage}", line["id"]);
        }
    }
}

/// A session ends by the side that ends it first; one that is open at the end of the recording, by its caller.
#[test]
fn a_session_ends_as_its_frames_say() {
    let created = json!({"from": "server", "json": {"type": "response.created", "response": {"id": "r"}}});
    let done = json!({"from": "server", "json": {"type": "response.done", "response": {"id": "r", "status": "completed",
        "usage": {"input_tokens": 3, "output_tokens": 2}}}});
    let close = |side: &str| json!({"from": side, "close": 1005});
    let cut = |side: &str| json!({"from": side, "cut": true});
    let (client, server) = ("client", "server");
    for (frames, outcomes) in [
        (vec![], vec!["complete"]),
        (vec![&created, &done], vec!["complete", "complete"]),
        (vec![&created], vec!["client_disconnect", "client_disconnect"]),
        (vec![&created, &done, &close(server), &cut(client)], vec!["complete", "complete"]),
        (vec![&created, &close(server)], vec!["upstream_error", "upstream_error"]),
        (vec![&created, &close(client), &close(server)], vec!["client_disconnect", "client_disconnect"]),
        (vec![&created, &close(client), &done, &close(server)], vec!["complete", "complete"]),
        (vec![&created, &close(server), &done], vec!["upstream_error", "upstream_error"]),
        (vec![&created, &done, &cut(client)], vec!["complete", "client_disconnect"]),
        (vec![&created, &done, &cut(server), &close(client)], vec!["complete", "upstream_error"]),
    ] {
        let line = json!({"id": "1", "api": "realtime", "response_kind": "frames", "frames": frames});
        let line = account_cases(&[line]).remove(0);
        let found: Vec<&Value> =
            events(&line).iter().map(|event| &event["data"]["stream"]["outcome"]).collect();
        assert_eq!(json!(found), json!(outcomes), "{frames:?}");
    }
    for (status, reason) in [(401, "not_billed"), (200, "billed_per_response")] {
        let line =
            json!({"id": "1", "api": "realtime", "status": status, "response_kind": "frames", "frames": []});
        let line = account_cases(&[line]).remove(0);
        assert_eq!(line["reasons"], json!([format!("input:{reason}"), format!("output:{reason}")]));
        assert_eq!(line["computed"], json!({"input": 0, "output": 0}));
    }
}

/// The cases of every surface, played to `account`: what came and went of each exchange as a line.
#[test]
fn the_cases_of_every_surface_have_their_numbers() {
    let Some(cases) = cases() else {
        skip::test("the cases of the surfaces are absent; TOKENWEIR_SHARED names their folder");
        return;
    };
    assert!(cases.len() > 30, "only {} cases", cases.len());
    for case in &cases {
        let lines: Vec<String> = list(case, "exchanges").iter().filter_map(line).collect();
        let lines = account(lines.iter().map(String::as_str));
        let mut events: Vec<&Value> = lines.iter().flat_map(events).map(|event| &event["data"]).collect();
        // Each look at work that is over shows its bill: readers drop the repeats.
        let mut bills = Vec::new();
        events.retain(|event| {
            let bill = event["accounting"]["deferred"] == true;
            let is_new = !bill || !bills.contains(&&event["ids"]["response_id"]);
            bills.extend(bill.then_some(&event["ids"]["response_id"]));
            is_new
        });
        let expected = list(case, "expect");
        let is_cut = list(case, "exchanges").iter().any(|exchange| exchange["response"]["cut"] == true);
        assert_eq!(events.len(), expected.len(), "{}: {events:?}", case["name"]);
        for expected in expected {
            let at = events.iter().position(|event| fits(event, &known_here(expected, event, is_cut)));
            let Some(at) = at else { panic!("{}: no event is {expected}: {events:?}", case["name"]) };
            events.remove(at);
        }
    }
}

fn cases() -> Option<Vec<Value>> {
    let shared = std::env::var_os("TOKENWEIR_SHARED").map(PathBuf::from);
    let folder = shared.unwrap_or_else(|| files::root().join("../shared")).join("cases/surfaces");
    let mut paths: Vec<_> = fs::read_dir(folder).ok()?.map(|entry| entry.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "json"));
    paths.sort_unstable();
    Some(paths.iter().map(|path| serde_json::from_slice(&fs::read(path).unwrap()).unwrap()).collect())
}

/// The part of what is expected that one exchange can say: a ledger remembers who began the work that is billed, a
/// head has fields that no line has, and `is_cut`: how a body ended is not in it.
fn known_here(expected: &Value, event: &Value, is_cut: bool) -> Value {
    let mut known = expected.clone();
    let is_bill = event["accounting"]["deferred"] == true;
    let of_head =
        known["accounting"]["reasons_have"] == json!(["input:usage_elsewhere", "output:usage_elsewhere"]);
    let mut forget = |part: &str, name: &str| {
        if let Some(part) = known.get_mut(part).and_then(Value::as_object_mut) {
            part.remove(name);
        }
    };
    if is_bill {
        forget("target", "deployment");
    }
    if is_cut {
        forget("stream", "outcome");
        forget("accounting", "reasons_have");
    }
    if of_head {
        forget("ids", "session_id");
    }
    for name in ["project", "agent"] {
        forget("target", name);
    }
    known
}

/// An exchange of a case as a line of `account`.
fn line(exchange: &Value) -> Option<String> {
    let request = exchange.get("request")?;
    let target = request["target"].as_str().unwrap();
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let segments: Vec<&str> = path.split('/').filter(|segment| !segment.is_empty()).collect();
    let method: Method = request["method"].as_str().unwrap().parse().unwrap();
    let steps = exchange["websocket"].get("steps");
    let session = steps.and_then(|_| SESSIONS.iter().find(|row| segments.last() == Some(&row.path)));
    let row = session.unwrap_or_else(|| Operation::of(&method, &segments));
    let in_query = |name: &str| {
        let mut pairs = query.split('&').filter_map(|pair| pair.split_once('='));
        pairs.find(|(found, _)| *found == name).map(|(_, value)| value)
    };
    let in_path = segments.iter().position(|segment| *segment == "deployments").map(|at| segments[at + 1]);
    let asked = || in_query("deployment").or(in_query("model"));
    let mut line = json!({"id": "1", "azure": true, "api": row.api(&segments).recorded_name(), "method": method.as_str(),
        "target": target, "deployment": in_path.or_else(asked), "api_version": in_query("api-version")});
    let members = line.as_object_mut().unwrap();
    match steps {
        Some(steps) => members.extend(frames(steps)),
        None => members.extend(response(request, &exchange["response"])),
    }
    Some(line.to_string())
}

fn frames(steps: &Value) -> Map<String, Value> {
    let frame = |step: &Value| {
        let mut frame = step.clone();
        if let Some(bytes) = frame.as_object_mut().unwrap().remove("binary") {
            frame["binary_base64"] = bytes;
        }
        frame
    };
    let frames: Vec<Value> = steps.as_array().unwrap().iter().map(frame).collect();
    json!({"response_kind": "frames", "frames": frames}).as_object().unwrap().clone()
}

fn response(request: &Value, response: &Value) -> Map<String, Value> {
    let kind = response["headers"]["content-type"].as_str().unwrap();
    let kind = match kind.split(';').next().unwrap() {
        "application/json" => "json",
        "text/event-stream" => "sse",
        _ => "other",
    };
    let decoded = |text: &Value| STANDARD.decode(text.as_str().unwrap()).unwrap();
    let body = match response {
        _ if response.get("json").is_some() => response["json"].to_string().into_bytes(),
        _ if response.get("chunks_base64").is_some() => {
            list(response, "chunks_base64").iter().flat_map(decoded).collect()
        }
        _ if response.get("chunks").is_some() => list(response, "chunks")
            .iter()
            .map(|chunk| chunk.as_str().unwrap())
            .collect::<String>()
            .into_bytes(),
        _ => response["text"].as_str().unwrap().as_bytes().to_vec(),
    };
    let request = match request {
        _ if request.get("json").is_some() => request["json"].clone(),
        _ if request.get("base64").is_some() => form(&decoded(&request["base64"])),
        _ => Value::Null,
    };
    json!({"status": response["status"], "request": request, "response_kind": kind,
        "response_body_base64": STANDARD.encode(body)})
    .as_object()
    .unwrap()
    .clone()
}

/// The fields of a form, without its files.
fn form(body: &[u8]) -> Value {
    let text = String::from_utf8_lossy(body);
    let boundary = text.lines().next().unwrap_or_default();
    let field = |part: &str| {
        let (head, value) = part.split_once("\r\n\r\n")?;
        let name = head.split("name=\"").nth(1)?.split('"').next()?;
        (!head.contains("filename")).then(|| (name.to_owned(), json!(value.trim_end())))
    };
    Value::Object(text.split(boundary).filter_map(field).collect())
}
