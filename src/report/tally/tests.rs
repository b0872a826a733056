use std::path::Path;

use super::super::instant::parse_time;
use super::super::key_value::KeyValue;
use super::*;
use metering::usage::Unit;
use strum::VariantArray;
use uuid::Uuid;

fn options(by: &[GroupBy], from: Option<&str>, to: Option<&str>) -> ReportOptions {
    ReportOptions {
        from: from.map(|text| parse_time(text).unwrap()),
        to: to.map(|text| parse_time(text).unwrap()),
        ..ReportOptions::of(Input::Ledger("unused".into()), by.to_vec())
    }
}

fn event(id: u128, day: u32, caller: &str, outcome: &str, quality: &str, output: Option<u64>) -> String {
    serde_json::json!({
        "specversion": "1.0", "id": Uuid::from_u128(id).to_string(), "source": "//tokenweir/x",
        "type": "dev.tokenweir.usage.v1", "time": format!("2026-11-{day:02}T23:59:59.999Z"),
        "subject": caller, "datacontenttype": "application/json", "partitionkey": caller,
        "data": {
            "caller": {"id": caller}, "target": {"deployment": "d", "model": null, "model_requested": "m"},
            "tokens": {"input": 10, "output": output, "input_cached": 4},
            "accounting": {"input_quality": "exact", "output_quality": quality},
            "stream": {"outcome": outcome}, "reporter": {"instance": "b", "version": "1"},
            "a_field_of_the_future": 1
        }
    })
    .to_string()
}

fn add(tally: &mut Tally, body: impl AsRef<str>) {
    added(tally, body.as_ref()).unwrap();
}

fn added(tally: &mut Tally, body: &str) -> Result<(), ReportError> {
    tally.add(Ok(body), EventOrigin::Line { file: Path::new("f"), line: 1 })
}

#[test]
fn repeats_rejected_calls_and_other_times_do_not_count() {
    let mut tally =
        Tally::new(&options(&[GroupBy::Caller, GroupBy::Day], Some("2026-11-20"), Some("2026-11-22")));
    add(&mut tally, event(1, 20, "a", "complete", "exact", Some(5)));
    add(&mut tally, event(1, 20, "a", "complete", "exact", Some(5)));
    add(&mut tally, event(2, 21, "a", "client_disconnect", "lower_bound", Some(7)));
    add(&mut tally, event(3, 21, "a", "rejected", "exact", Some(100)));
    add(&mut tally, event(4, 19, "a", "complete", "exact", Some(100)));
    add(&mut tally, event(5, 22, "a", "complete", "exact", Some(100)));
    add(&mut tally, event(6, 21, "b", "crashed", "unknown", None));
    add(&mut tally, "no event");
    let report = tally.finish(Timestamp::UNIX_EPOCH);
    let tokens = |sums: &ReportSums| -> [u64; 9] { sums.values()[..9].try_into().unwrap() };
    let lines: Vec<(String, [u64; 9])> =
        report.lines.iter().map(|line| (words(&line.keys), tokens(&line.sums))).collect();
    assert_eq!(
        lines,
        [
            ("a 2026-11-20".to_owned(), [1, 10, 4, 5, 0, 15, 0, 0, 0]),
            ("a 2026-11-21".to_owned(), [1, 10, 4, 7, 0, 10, 7, 0, 0]),
            ("b 2026-11-21".to_owned(), [1, 10, 4, 0, 0, 10, 0, 0, 1]),
        ]
    );
    assert_eq!(tokens(&report.total), [3, 30, 12, 12, 0, 35, 7, 0, 1]);
}

#[test]
fn units_are_added_up_beside_the_tokens() {
    let mut tally = Tally::new(&options(&[GroupBy::Caller], None, None));
    for (id, units) in
        [(1, r#"{"images":2,"characters":40}"#), (2, r#"{"images":1,"audio_ms":9000}"#), (3, "{}")]
    {
        let event = event(id, 20, "a", "complete", "exact", Some(5));
        add(&mut tally, event.replacen(r#""tokens""#, &format!(r#""units":{units},"tokens""#), 1));
    }
    let total = tally.finish(Timestamp::UNIX_EPOCH).total;
    for (column, value) in [("images", 3), ("characters", 40), ("audio_ms", 9000), ("pages", 0)] {
        assert_eq!(total.get(column), Some(value), "{column}");
    }
    let names: Vec<_> = ReportSums::columns().collect();
    let units = Unit::VARIANTS.iter().map(|unit| unit.as_str());
    assert!(units.eq(names[names.len() - Unit::VARIANTS.len()..].iter().copied()), "each unit has a column");
}

/// Seconds that were heard are all that a transcription is billed by; a call whose numbers are unknown is unknown
/// though a tool of it searched the web.
#[test]
fn a_call_that_is_billed_in_units_alone_is_not_unknown() {
    let unknown_calls = |input: Option<u64>, units: &str| {
        let mut tally = Tally::new(&options(&[], None, None));
        let event = event(1, 20, "a", "complete", "unknown", None);
        let input = input.map_or("null".to_owned(), |input| input.to_string());
        let event = event.replacen(r#""input":10"#, &format!(r#""input":{input}"#), 1);
        add(&mut tally, event.replacen(r#""tokens""#, &format!(r#""units":{units},"tokens""#), 1));
        tally.finish(Timestamp::UNIX_EPOCH).total.get("unknown_calls").unwrap()
    };
    for (input, units, unknown) in [
        (None, r#"{"audio_ms":9000}"#, 0),
        (None, r#"{"images":2}"#, 0),
        (None, r#"{"pages":0}"#, 0),
        (None, "{}", 1),
        (None, r#"{"web_searches":1}"#, 1),
        (Some(7), r#"{"audio_ms":9000}"#, 1),
    ] {
        assert_eq!(unknown_calls(input, units), unknown, "{input:?} {units}");
    }
}

#[test]
fn a_bill_that_two_ledgers_have_seen_counts_once() {
    let bill = |id: u128, source: &str, day: u32, resource: &str, work: &str| {
        let mut event: serde_json::Value =
            serde_json::from_str(&event(id, day, "a", "complete", "exact", Some(100))).unwrap();
        event["source"] = source.into();
        event["data"]["target"]["resource"] = resource.into();
        event["data"]["ids"] = serde_json::json!({"response_id": work});
        event["data"]["accounting"]["deferred"] = true.into();
        event.to_string()
    };
    let mut tally = Tally::new(&options(&[], Some("2026-11-20"), None));
    add(&mut tally, bill(1, "//tokenweir/x", 20, "eu", "resp_1"));
    add(&mut tally, bill(2, "//tokenweir/y", 21, "eu", "resp_1"));
    add(&mut tally, bill(3, "//tokenweir/y", 21, "eu", "resp_2"));
    add(&mut tally, bill(4, "//tokenweir/y", 21, "us", "resp_1"));
    add(&mut tally, bill(3, "//tokenweir/y", 21, "eu", "resp_2"));
    // The first one stands, even if it is of a time that is not asked for.
    add(&mut tally, bill(5, "//tokenweir/x", 19, "eu", "resp_3"));
    add(&mut tally, bill(6, "//tokenweir/y", 21, "eu", "resp_3"));
    // Events that announce work have its id, and no numbers; a stream that has them is its own bill.
    let call = |id: u128, api: &str, reported: Option<u64>| {
        let mut event: serde_json::Value =
            serde_json::from_str(&bill(id, "//tokenweir/z", 21, "eu", "resp_2")).unwrap();
        event["data"]["target"]["api"] = api.into();
        event["data"]["accounting"]["deferred"] = false.into();
        event["data"]["accounting"]["reported_output"] = reported.into();
        event.to_string()
    };
    add(&mut tally, call(7, "responses", None));
    add(&mut tally, call(8, "responses", Some(100)));
    add(&mut tally, call(9, "chat_completions", Some(100)));
    let report = tally.finish(Timestamp::UNIX_EPOCH);
    assert_eq!((report.total.get("calls"), report.total.get("output")), (Some(5), Some(500)));
    assert_eq!(report.repeated_bills, 3);
    let said = "3 bills were seen by more than one ledger: each counts once";
    assert_eq!(report.repeated_bills_text().as_deref(), Some(said));
}

#[test]
fn a_sum_that_is_too_large_is_an_error_of_its_column() {
    let mut tally = Tally::new(&options(&[GroupBy::Caller, GroupBy::Class], None, None));
    let large = |id: u128| event(id, 20, "a", "complete", "exact", Some(1 << 63));
    add(&mut tally, large(1));
    let error = added(&mut tally, &large(2)).unwrap_err();
    assert!(matches!(error, ReportError::Overflow { column: "output", .. }), "{error}");
}

#[test]
fn a_view_has_the_same_events_by_other_keys() {
    let options =
        ReportOptions { views: vec![vec![GroupBy::Day], vec![]], ..options(&[GroupBy::Caller], None, None) };
    let mut tally = Tally::new(&options);
    add(&mut tally, event(1, 20, "a", "complete", "exact", Some(5)));
    add(&mut tally, event(2, 21, "a", "complete", "exact", Some(6)));
    let report = tally.finish(Timestamp::UNIX_EPOCH);
    let lines =
        |lines: &[ReportLine]| -> Vec<String> { lines.iter().map(|line| words(&line.keys)).collect() };
    assert_eq!(lines(&report.lines), ["a"]);
    assert_eq!(lines(&report.views[0].lines), ["2026-11-20", "2026-11-21"]);
    assert_eq!(report.views[1].lines[0].sums, report.total);
}

fn words(keys: &[KeyValue]) -> String {
    keys.iter().map(|key| key.label(Into::into)).collect::<Vec<_>>().join(" ")
}

#[test]
fn every_key_has_a_value_or_says_why_not() {
    let by = GroupBy::list(
        "caller,model,deployment,department,cost_center,outcome,tier,region,resource,api,provider,project,tag:team,\
         tag:user,source,month,week,day,hour",
    );
    let by = by.unwrap();
    let mut tally = Tally::new(&options(&by, None, None));
    let full = event(1, 20, "a", "complete", "exact", Some(5));
    let mut full: serde_json::Value = serde_json::from_str(&full).unwrap();
    full["data"]["caller"] =
        serde_json::json!({"id": "a", "department": "D", "cost_center": "C", "tags": {"team": "T"}});
    full["data"]["target"] = serde_json::json!({"deployment": "d", "model": "m", "service_tier": "flex", "region": "West Europe",
        "resource": "r", "api": "responses", "provider": "azure.ai.openai", "project": "p"});
    add(&mut tally, full.to_string());
    let mut bare: serde_json::Value =
        serde_json::from_str(&event(2, 20, "unattributed", "complete", "exact", Some(5))).unwrap();
    bare["data"]["target"] = serde_json::json!({});
    add(&mut tally, bare.to_string());
    let mut unmapped = bare.clone();
    unmapped["id"] = Uuid::from_u128(3).to_string().into();
    unmapped["data"]["caller"]["id"] = "z".into();
    add(&mut tally, unmapped.to_string());
    let time = "//tokenweir/x 2026-11 2026-W47 2026-11-20 2026-11-20T23:00:00Z";
    let nothing = "(no tier) (no region) (no resource) (no api) (no provider) (no project) (no tag) (no tag)";
    let lines: Vec<String> =
        tally.finish(Timestamp::UNIX_EPOCH).lines.iter().map(|line| words(&line.keys)).collect();
    assert_eq!(
        lines,
        [
            format!("a m d D C complete flex West Europe r responses azure.ai.openai p T (no tag) {time}"),
            format!(
                "unattributed (no model) (no deployment) (unattributed) (unattributed) complete {nothing} {time}"
            ),
            format!(
                "z (no model) (no deployment) (not in the map) (not in the map) complete {nothing} {time}"
            ),
        ]
    );
}

#[test]
fn a_key_is_known_and_is_there_once() {
    for (given, said) in [
        ("team", "`team` is no key: caller, model, "),
        ("", "`` is no key"),
        ("tag:", "`tag:` is no key"),
        ("Caller", "`Caller` is no key"),
        ("caller,model,caller", "`caller` is given twice"),
        ("tag:a, tag:a", "`tag:a` is given twice"),
    ] {
        let error = GroupBy::list(given).unwrap_err().to_string();
        assert!(error.starts_with(said), "{error}");
    }
    let words = GroupBy::words();
    let all: Vec<&str> = words.split(", ").collect();
    let read = GroupBy::list(&words).unwrap();
    assert_eq!(read.iter().map(ToString::to_string).collect::<Vec<_>>(), all);
    assert_eq!(all.len(), 19);
}
