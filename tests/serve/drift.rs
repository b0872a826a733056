//! A service that begins to bill otherwise: labels follow, numbers do not.

use std::collections::HashMap;
use std::io::{self, BufReader, Write};
use std::net::TcpStream;
use std::path::Path;
use std::sync::Arc;

use serde_json::{Value, json};

use super::http::{Message, connect, exchange, get, post};
use super::sidecar::{Sidecar, usage_events, wait_for};
use super::upstream;

const MODEL: &str = "gpt-4o-2024-11-20";
/// What the rules say of the prompt and the answer of these tests.
const INPUT: u64 = 8;
const OUTPUT: u64 = 4;
/// The classes that these calls belong to.
const INPUTS: &str = "chat_completions:input:text";
const OUTPUTS: &str = "chat_completions:output:text";
/// Wrong calls that begin a drift, and right ones after which at most two of the last 200 are wrong.
const BEGIN: usize = 16;
const END: usize = 198;

/// `x-bill`: how much more the service bills than the rules say, for input and output; without it,
/// nothing is reported. `x-cut`: the stream ends without its end.
fn answer(request: &Message, to: &mut TcpStream) -> io::Result<()> {
    let asked: Value = serde_json::from_slice(&request.body)?;
    let more = request.field("x-bill").and_then(|more| more.split_once(','));
    let usage = more.map(|(input, output)| {
        let billed = |rules: u64, more: &str| rules + more.parse::<u64>().unwrap();
        json!({"prompt_tokens": billed(INPUT, input), "completion_tokens": billed(OUTPUT, output)})
    });
    if asked["stream"] != true {
        let message = json!({"role": "assistant", "content": " word word word"});
        let body = json!({"id": "c", "model": MODEL, "choices": [{"index": 0, "message": message, "finish_reason": "stop"}], "usage": usage});
        let body = body.to_string();
        let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n";
        return write!(to, "{head}Content-Length: {}\r\n\r\n{body}", body.len());
    }
    to.write_all(upstream::STREAM_HEAD.as_bytes())?;
    for _ in 0..3 {
        upstream::write_chunk(to, upstream::delta(" word").as_bytes())?;
    }
    if request.field("x-cut").is_none() {
        let stop = upstream::stop();
        let (stop, done) = stop.split_at(stop.find("data: [DONE]").unwrap());
        upstream::write_chunk(to, stop.as_bytes())?;
        if let Some(usage) = usage {
            let last = json!({"id": "c", "model": MODEL, "choices": [], "usage": usage});
            upstream::write_chunk(to, format!("data: {last}\n\n").as_bytes())?;
        }
        upstream::write_chunk(to, done.as_bytes())?;
    }
    upstream::write_end(to)
}

/// A sidecar with a caller at it.
struct Rig {
    sidecar: Sidecar,
    connection: BufReader<TcpStream>,
}

impl Rig {
    fn start(ledger: &Path, sample: &str) -> Rig {
        let upstream = upstream::start(Arc::new(answer));
        let sidecar = Sidecar::start(upstream, ledger, &["--drift-sample", sample]);
        let connection = connect(sidecar.addr);
        Rig { sidecar, connection }
    }

    fn call(&mut self, id: &str, deployment: &str, stream: bool, fields: &[(&str, &str)]) {
        let body = json!({"stream": stream, "stream_options": {"include_usage": true}, "messages": [{"role": "user", "content": "Hello"}]});
        let path = format!("/openai/deployments/{deployment}/chat/completions?api-version=2024-10-21");
        let fields = [&[("x-ms-client-request-id", id)], fields].concat();
        assert_eq!(exchange(&mut self.connection, &post(&path, &fields, &body.to_string())).status(), 200);
    }

    /// Calls whose usage is reported: streams and JSON answers in turn.
    fn reported(&mut self, deployment: &str, bill: &str, calls: usize) {
        for call in 0..calls {
            self.call("reported", deployment, call % 2 == 0, &[("x-bill", bill)]);
        }
        self.settled();
    }

    /// A stream of which the service says nothing, until it is settled: its label is what the rules
    /// are worth by then, and its prompt has yet to be counted when the caller has the answer.
    fn silent(&mut self, id: &str, deployment: &str, fields: &[(&str, &str)]) {
        self.call(id, deployment, true, fields);
        self.settled();
    }

    /// Calls settle a moment after their answers.
    fn settled(&self) {
        wait_for("the call to settle", || {
            let page = String::from_utf8(get(self.sidecar.admin, "/metrics").body).unwrap();
            page.contains("\ntokenweir_calls_open 0\n").then_some(())
        });
    }

    /// The value of a metric of a class; `None` if it has none.
    fn metric(&self, name: &str, deployment: &str, class: &str) -> Option<f64> {
        let page = String::from_utf8(get(self.sidecar.admin, "/metrics").body).unwrap();
        let start = format!("{name}{{class=\"{class}\",deployment=\"{deployment}\",model=\"{MODEL}\"}} ");
        page.lines().find_map(|line| line.strip_prefix(&start)?.parse().ok())
    }

    fn drifts(&self, deployment: &str, class: &str) -> Option<f64> {
        self.metric("tokenweir_rules_drifted", deployment, class)
    }
}

/// Qualities, numbers and reasons of the events that have a name of their own.
fn labels(ledger: &Path) -> HashMap<String, Value> {
    let named = usage_events(ledger).into_iter().map(|event| {
        let data = &event["data"];
        let accounting = &data["accounting"];
        let label = json!([
            data["tokens"]["input"],
            accounting["input_quality"],
            data["tokens"]["output"],
            accounting["output_quality"],
            accounting["reasons"]
        ]);
        (data["ids"]["client_request_id"].as_str().unwrap().to_owned(), label)
    });
    named.collect()
}

fn lines<'a>(log: &'a [String], level: &'a str) -> impl Iterator<Item = Value> + 'a {
    let lines = log.iter().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    lines.filter(move |line| line["level"] == level && line["class"].is_string())
}

#[test]
fn labels_follow_the_bill_of_each_deployment_and_numbers_do_not() {
    let dir = tempfile::tempdir().unwrap();
    let mut rig = Rig::start(&dir.path().join("ledger"), "0%");
    rig.reported("d", "0,1", BEGIN - 1);
    rig.silent("before", "d", &[]);
    assert_eq!(rig.drifts("d", OUTPUTS), Some(0.0));
    rig.reported("d", "0,1", 1);
    rig.reported("e", "0,0", BEGIN);
    assert_eq!((rig.drifts("d", OUTPUTS), rig.drifts("e", OUTPUTS)), (Some(1.0), Some(0.0)));
    rig.silent("during", "d", &[]);
    rig.silent("elsewhere", "e", &[]);
    rig.silent("cut", "d", &[("x-cut", "1")]);
    rig.reported("d", "0,0", END - 1);
    rig.silent("nearly", "d", &[]);
    rig.reported("d", "0,0", 1);
    rig.silent("after", "d", &[]);
    assert_eq!(rig.drifts("d", OUTPUTS), Some(0.0));
    let (code, log) = rig.sidecar.stop();
    assert_eq!(code, Some(0));
    let labels = labels(&dir.path().join("ledger"));
    let exact = json!([INPUT, "exact", OUTPUT, "exact", []]);
    let drifted = json!([INPUT, "exact", OUTPUT, "estimated", ["output:rules_drifted"]]);
    assert_eq!((&labels["before"], &labels["elsewhere"], &labels["after"]), (&exact, &exact, &exact));
    assert_eq!((&labels["during"], &labels["nearly"]), (&drifted, &drifted));
    let cut = json!([INPUT, "exact", 3, "lower_bound", ["output:upstream_eof", "output:rules_drifted"]]);
    assert_eq!(labels["cut"], cut);
    for level in ["WARN", "INFO"] {
        let told: Vec<Value> = lines(&log, level).collect();
        assert_eq!(told.len(), 1, "{told:?}");
        assert_eq!((&told[0]["class"], &told[0]["target.deployment"]), (&json!(OUTPUTS), &json!("d")));
    }
}

#[test]
fn a_sample_of_prompts_shows_when_prompts_are_billed_otherwise() {
    let dir = tempfile::tempdir().unwrap();
    let mut rig = Rig::start(&dir.path().join("ledger"), "100%");
    let counted = |rig: &Rig, calls: usize| {
        let name = "tokenweir_count_residual_tokens_count";
        wait_for("the sample to be counted", || {
            (rig.metric(name, "d", INPUTS)? as usize == calls).then_some(())
        });
    };
    rig.silent("before", "d", &[]);
    rig.reported("d", "2,0", BEGIN);
    counted(&rig, BEGIN);
    assert_eq!((rig.drifts("d", INPUTS), rig.drifts("d", OUTPUTS)), (Some(1.0), Some(0.0)));
    rig.silent("during", "d", &[]);
    for part in 1..=6 {
        rig.reported("d", "0,0", END / 6);
        counted(&rig, BEGIN + part * END / 6); // in parts: of a burst only so many samples wait
    }
    rig.silent("after", "d", &[]);
    rig.sidecar.stop();
    let labels = labels(&dir.path().join("ledger"));
    let exact = json!([INPUT, "exact", OUTPUT, "exact", []]);
    assert_eq!((&labels["before"], &labels["after"]), (&exact, &exact));
    assert_eq!(labels["during"], json!([INPUT, "estimated", OUTPUT, "exact", ["input:rules_drifted"]]));
}

#[test]
fn a_sampled_call_has_the_event_of_any_other_and_no_sample_is_none() {
    let dir = tempfile::tempdir().unwrap();
    let [with, without] = ["100%", "0%"].map(|sample| {
        let ledger = dir.path().join(sample);
        let mut rig = Rig::start(&ledger, sample);
        rig.reported("d", "1,1", 10);
        let counted = || rig.metric("tokenweir_count_residual_tokens_count", "d", INPUTS);
        if sample == "100%" {
            wait_for("the sample to be counted", || (counted()? == 10.0).then_some(()));
        }
        // Nothing is counted later either: the answers are, and they came first.
        let answers = rig.metric("tokenweir_count_residual_tokens_count", "d", OUTPUTS);
        let seen = (counted(), answers);
        assert_eq!(rig.sidecar.stop().0, Some(0));
        let events: Vec<Value> = usage_events(&ledger).iter().map(|event| event["data"].clone()).collect();
        (seen, events)
    });
    assert_eq!((with.0, without.0), ((Some(10.0), Some(10.0)), (None, Some(10.0))));
    let comparable = |mut data: Value| {
        for key in ["timing", "reporter"] {
            data.as_object_mut().unwrap().remove(key);
        }
        data["target"].as_object_mut().unwrap().remove("resource"); // the port
        data
    };
    let [with, without] =
        [with.1, without.1].map(|events| events.into_iter().map(comparable).collect::<Vec<_>>());
    assert_eq!(with.len(), 10);
    assert_eq!(with, without);
    assert_eq!(
        (&with[0]["tokens"]["input"], &with[0]["accounting"]["computed_input"]),
        (&json!(INPUT + 1), &Value::Null)
    );
}
