//! The shapes of Azure's files, what is wrong with them, what is listed, and what is written.

use serde_json::{Value, json};
use tokenweir::report::{Basis, Cause, Quantity, ReconciliationFormat};

use super::azure::{AzureSide, Call, FOCUS_COLUMNS, Files, at, call, focus, resource_id};
use super::{DAYS, metrics, ordinary, told};

#[test]
fn provisioned_deployments_are_on_no_meter() {
    let standard = |call: &&Call| call.azure.deployment == "gpt-4o-prod";
    let calls = ordinary();
    let billed: Vec<Call> = calls.iter().filter(standard).cloned().collect();
    let mut files = Files::of(&calls).with_focus(&billed);
    assert!(
        files.reconcile().lines.iter().all(|line| line.sums.explained.of(Cause::OverCount) != Quantity::ZERO)
    );
    files.options.provisioned = vec!["GPT-4o-PTU".to_owned()];
    let result = files.reconcile();
    assert!(result.is_within() && result.lines.len() == 4, "{:?}", told(&result));
    assert!(result.lines.iter().all(|line| line.sums.explained.of(Cause::Provisioned) == line.sums.delta()));
    // They do not hide traffic beside the sidecar.
    let more = [&billed[..], &[call("gpt-4o-prod", "02T12:00:00", 5000, 700)]].concat();
    let mut with_more = Files::of(&calls).with_focus(&more);
    with_more.options.provisioned.clone_from(&files.options.provisioned);
    let bypass: Quantity =
        with_more.reconcile().lines.iter().map(|line| line.sums.explained.of(Cause::Bypass)).sum();
    assert_eq!(bypass, Quantity::of(5700));
    // The metric that only they have says so too, and is compared without what was cached.
    files.options.provisioned.clear();
    let mut metrics = answer(
        "ActiveTokens",
        "gpt-4o-ptu",
        &[("2026-11-01T00:00:00Z", json!(0)), ("2026-11-02T00:00:00Z", json!(7.5e3))],
    );
    metrics["interval"] = "P1D".into();
    files.options.azure_metrics.push(files.write("active.json", metrics.to_string()));
    let result = files.reconcile();
    let of_costs = result.lines.iter().filter(|line| line.basis == Basis::CostExport);
    assert_eq!(
        of_costs.filter(|line| line.sums.explained.of(Cause::Provisioned) == line.sums.delta()).count(),
        4
    );
    let active = result.lines.iter().filter(|line| line.measure.as_str() == "active_tokens");
    assert!(active.clone().count() == 2 && active.clone().all(|line| line.scope == "gpt-4o-ptu"));
}

/// An answer of one series.
fn answer(metric: &str, deployment: &str, points: &[(&str, Value)]) -> Value {
    let id = resource_id("contoso-weu");
    let data: Vec<Value> =
        points.iter().map(|(time, total)| json!({"timeStamp": time, "total": total})).collect();
    let dimension = json!({"name": {"value": "ModelDeploymentName"}, "value": deployment});
    json!({
        "interval": "PT1H", "timespan": "2026-11-01T00:00:00Z/2026-11-03T00:00:00Z",
        "value": [{
            "id": format!("{id}/providers/Microsoft.Insights/metrics/{metric}"), "name": {"value": metric},
            "errorCode": "Success", "timeseries": [{"metadatavalues": [dimension], "data": data}],
        }],
    })
}

#[test]
fn both_families_of_metrics_are_read_and_neither_counts_twice() {
    let calls =
        vec![call("gpt-4o-prod", "01T12:00:00", 1000, 100), call("gpt-4o-prod", "02T12:00:00", 2000, 200)];
    let points =
        |first: f64| [("2026-11-01T12:00:00Z", json!(first)), ("2026-11-02T12:00:00+00:00", json!(2000.0))];
    let files = |documents: &[Value]| {
        let mut files = Files::of(&calls);
        for (document, n) in documents.iter().zip(0..) {
            files.options.azure_metrics.push(files.write(&format!("{n}.json"), document.to_string()));
        }
        files.reconcile()
    };
    let old = answer("ProcessedPromptTokens", "gpt-4o-prod", &points(1000.0));
    let new = answer("InputTokens", "GPT-4o-prod", &points(0.0));
    for documents in [
        vec![old.clone()],
        vec![new.clone(), old.clone()],
        vec![json!([old.clone(), new])],
        vec![json!({"values": [old.clone()]})],
    ] {
        let result = files(&documents);
        assert_eq!((told(&result), result.lines.len()), (vec![], 2), "{documents:?}");
    }
    // The total tells nothing where both parts are there, and all that there is where they are not.
    let total = answer(
        "TokenTransaction",
        "gpt-4o-prod",
        &[("2026-11-01T12:00:00Z", json!(1100)), ("2026-11-02T12:00:00Z", json!(2200))],
    );
    let result = files(std::slice::from_ref(&total));
    assert_eq!((told(&result), result.lines[0].measure.as_str()), (vec![], "total_tokens"));
    let output = answer(
        "GeneratedTokens",
        "gpt-4o-prod",
        &[("2026-11-01T12:00:00Z", json!(100)), ("2026-11-02T12:00:00Z", json!(200))],
    );
    let result = files(&[total, old.clone(), output]);
    assert!(result.lines.iter().all(|line| line.measure.as_str() != "total_tokens"));
    // The same series in two files counts once; with other numbers it is refused.
    assert_eq!(told(&files(&[old.clone(), old.clone()])), [""; 0]);
    let mut other = Files::of(&calls);
    let changed = answer("ProcessedPromptTokens", "gpt-4o-prod", &points(999.5));
    other.options.azure_metrics =
        vec![other.write("a.json", old.to_string()), other.write("b.json", changed.to_string())];
    let refusal = other.refusal();
    assert!(
        refusal.starts_with("b.json value[0].timeseries[0].data[0].total is 999.5, and 1000 stands"),
        "{refusal}"
    );
}

#[test]
fn metrics_without_a_deployment_are_held_against_the_whole_resource() {
    let calls = ordinary();
    let sum = |day: i8, number: fn(&AzureSide) -> u64| -> u64 {
        let of_day =
            calls.iter().filter(|call| call.azure.time.to_zoned(jiff::tz::TimeZone::UTC).day() == day);
        of_day.map(|call| number(&call.azure)).sum()
    };
    let mut document = answer(
        "ProcessedPromptTokens",
        "x",
        &[
            ("2026-11-01T00:00:00Z", json!(sum(1, |side| side.input))),
            ("2026-11-02T00:00:00Z", json!(sum(2, |side| side.input))),
        ],
    );
    document["interval"] = "P1D".into();
    document["value"][0]["timeseries"][0]["metadatavalues"] = json!([]);
    let mut files = Files::of(&calls);
    files.options.azure_metrics.push(files.write("m.json", document.to_string()));
    let result = files.reconcile();
    assert_eq!((told(&result), result.lines.len()), (vec![], 2));
    assert_eq!(result.lines[0].scope, "");
}

#[test]
fn what_is_wrong_in_a_file_is_told_with_its_place_and_what_is_allowed() {
    let good = answer("ProcessedPromptTokens", "gpt-4o-prod", &[("2026-11-01T12:00:00Z", json!(1))]);
    let wrong = |change: &dyn Fn(&mut Value)| {
        let mut document = good.clone();
        change(&mut document);
        let mut files = Files::of(&[]);
        files.options.azure_metrics.push(files.write("m.json", document.to_string()));
        files.refusal()
    };
    let point = "/value/0/timeseries/0/data/0";
    for (pointer, value, told) in [
        (
            format!("{point}/total"),
            json!("many"),
            "m.json value[0].timeseries[0].data[0].total is \"many\"; allowed: a number",
        ),
        (
            format!("{point}/total"),
            json!(-1.0),
            "m.json value[0].timeseries[0].data[0].total is -1.0; allowed: a number",
        ),
        (
            format!("{point}/timeStamp"),
            json!("noon"),
            "m.json value[0].timeseries[0].data[0].timeStamp is \"noon\"; allowed: an instant",
        ),
        (
            format!("{point}/timeStamp"),
            json!(5),
            "m.json value[0].timeseries[0].data[0].timeStamp: invalid type: integer `5`",
        ),
        (
            "/value/0/errorCode".to_owned(),
            json!("Throttled"),
            "m.json value[0].errorCode is \"Throttled\" for ProcessedPromptTokens",
        ),
        (
            "/value/0/id".to_owned(),
            json!("/subscriptions/x"),
            "m.json value[0].timeseries[0] is of \"/subscriptions/x\"; allowed: the id of a resource",
        ),
        ("/timespan".to_owned(), json!("today"), "m.json timespan is \"today\"; allowed: two instants"),
        ("/value".to_owned(), json!(null), "m.json value is not there: give what `az monitor metrics list"),
        (
            "/interval".to_owned(),
            json!("P1D"),
            "m.json value[0].timeseries[0].data[0] begins at 2026-11-01T12:00:00Z and ends on another UTC day",
        ),
    ] {
        let refusal = wrong(&|document| *document.pointer_mut(&pointer).unwrap() = value.clone());
        assert!(refusal.starts_with(told), "{refusal}");
    }
    let costs = |text: &str| {
        let mut files = Files::of(&[]);
        files.options.cost_exports.push(files.write("c.csv", text));
        files.refusal()
    };
    let row = |day: &str, quantity: &str| {
        format!(
            "date,ResourceId,meterName,quantity\n{day},{},gpt 4o 1120 Inp glbl Tokens,{quantity}\n",
            resource_id("a")
        )
    };
    for (text, told) in [
        (row("22.11.2026", "1"), "c.csv line 2: the day is `22.11.2026`; allowed: 2026-11-22, 11/22/2026 or"),
        (row("2026-11-22", "1.000,5"), "c.csv CSV error"),
        (row("2026-11-22", "lots"), "c.csv line 2: Quantity is `lots`; allowed: a decimal number"),
        ("a,b\n1,2\n".to_owned(), "c.csv line 1: there is no column ChargePeriodStart or date"),
        (String::new(), "c.csv is empty"),
    ] {
        let refusal = costs(&text);
        assert!(refusal.starts_with(told), "{refusal}");
    }
    let mut twice = Files::of(&[]);
    let path = twice.write("c.csv", focus(&ordinary()));
    twice.options.cost_exports = vec![path.clone(), path];
    assert_eq!(twice.refusal(), "c.csv is given twice: each row would count twice");
}

#[test]
fn what_is_not_matched_is_listed() {
    let mut calls = ordinary();
    calls.push(call("other", "01T12:00:00", 10, 10).with(|call| {
        call.event.resource = "elsewhere.openai.azure.com";
        call.azure.deployment = "";
    }));
    calls.push(call("old", "01T12:00:00", 10, 10).with(|call| call.azure.deployment = ""));
    let mut files = Files::of(&calls).with_metrics(&calls, DAYS, false);
    let row = format!(
        "date,ResourceId,meterName,quantity,unitOfMeasure,costInBillingCurrency,billingCurrency,chargeType\n\
         11/01/2026,{id},Standard =1+1 Records,2.5,1K,0.75,EUR,Usage\n\
         11/02/2026,{id},Standard =1+1 Records,1.5,1K,0.5,EUR,Usage\n\
         11/02/2026,{id},Provisioned Managed Global Unit,24,1 Hour,48,EUR,Usage\n\
         11/02/2026,{id},Reservation,1,1,999,EUR,Purchase\n",
        id = resource_id("contoso-weu")
    );
    files.options.cost_exports.push(files.write("c.csv", row));
    let result = files.reconcile();
    assert_eq!(
        result.not_covered.iter().map(|(name, calls)| (name.as_str(), *calls)).collect::<Vec<_>>(),
        [("elsewhere", 1)]
    );
    assert_eq!(result.only_in_ours.iter().map(|one| one.scope.as_str()).collect::<Vec<_>>(), ["old"]);
    let meter = &result.unmatched_meters[0];
    assert_eq!(
        (result.unmatched_meters.len(), meter.rows, meter.quantity, meter.cost.to_string()),
        (1, 2, Quantity::of(4), "1.25".to_owned())
    );
}

#[test]
fn a_range_cuts_both_sides_alike() {
    let calls = ordinary();
    let mut files = Files::of(&calls).with_metrics(&calls, DAYS, true).with_focus(&calls);
    files.options.from = Some(at("02T00:00:00"));
    let result = files.reconcile();
    assert_eq!(told(&result), [""; 0]);
    assert!(!result.lines.is_empty() && result.lines.iter().all(|line| line.day.day() == 2));
    // Azure's file covers less than our events do: nothing is missing there.
    let result =
        Files::of(&calls).with_metrics(&calls[..44], ("01T00:00:00", "02T00:00:00"), true).reconcile();
    assert_eq!((told(&result), result.lines.len()), (vec![], 4));
}

/// Names that others chose, in every output.
#[test]
fn hostile_names_stay_in_their_cells() {
    let calls: Vec<Call> = ["=cmd|' /C calc'!A0", "a\u{202e}b", "x,y\"z\n1", "<script>"]
        .into_iter()
        .map(|name| call(name, "01T12:00:00", 100, 10).with(|call| call.azure.input += 5))
        .collect();
    let result = metrics(&calls, false);
    let text = |format| {
        let mut out = Vec::new();
        result.write(format, &mut out).unwrap();
        String::from_utf8(out).unwrap()
    };
    let csv = text(ReconciliationFormat::Csv);
    let mut reader = csv::Reader::from_reader(csv.as_bytes());
    let header: Vec<String> = reader.headers().unwrap().iter().map(str::to_owned).collect();
    let rows: Vec<csv::StringRecord> = reader.records().map(Result::unwrap).collect();
    assert_eq!(rows.len(), 8);
    let column = |name: &str| header.iter().position(|column| column == name).unwrap();
    for row in &rows {
        assert!(!row[column("deployment")].starts_with('='));
        let causes: i64 = Cause::words().iter().map(|cause| row[column(cause)].parse::<i64>().unwrap()).sum();
        assert_eq!(causes.to_string(), row[column("delta")]);
    }
    let table = text(ReconciliationFormat::Table);
    assert!(!table.contains('\u{202e}') && table.contains("bypass +5"), "{table}");
    let json: Value = serde_json::from_str(&text(ReconciliationFormat::Json)).unwrap();
    let names: Vec<&str> =
        json["lines"].as_array().unwrap().iter().filter_map(|line| line["deployment"].as_str()).collect();
    assert!(names.contains(&"x,y\"z\n1") && names.contains(&"a\u{202e}b"));
    let bypass =
        json["lines"].as_array().unwrap().iter().filter(|line| line["causes"]["bypass"] == json!(5)).count();
    assert_eq!((bypass, &json["within_tolerance"]), (4, &json!(false)));
}

#[test]
fn the_header_is_that_of_an_export() {
    assert_eq!(FOCUS_COLUMNS.split(',').count(), 105);
}
