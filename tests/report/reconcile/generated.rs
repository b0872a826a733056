//! Two months of events from the generator of events with a known truth, and gaps in them.

use std::collections::{BTreeMap, HashSet};
use std::path::PathBuf;
use std::process::Command;

use serde_json::Value;
use tokenweir::report::{Cause, Quantity, Reconciliation};

use super::azure::{AzureSide, Call, EventSide, Files, call};
use super::{check_sums, told};
use crate::skip;

/// What the generator covers.
const MONTHS: (&str, &str) = ("2026-09-01T00:00:00Z", "2026-11-01T00:00:00Z");

const EVENTS: &str = "20000";

/// The generator's lines, and each call that counts; `None`: it is not here.
fn generated() -> Option<(Vec<String>, Vec<Call>)> {
    let shared = std::env::var_os("TOKENWEIR_SHARED").map(PathBuf::from);
    let shared = shared.unwrap_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../shared"));
    let script = shared.join("tools/usage-events/generate.py");
    let dir = tempfile::tempdir().unwrap();
    let made = script.is_file().then(|| {
        let arguments = ["--events", EVENTS, "--bad-lines", "7"];
        Command::new("python3").arg(&script).arg(dir.path()).args(arguments).output()
    });
    match made {
        Some(Ok(output)) => assert!(output.status.success(), "{output:?}"),
        _ => {
            skip::test(
                "the generator of events is absent; TOKENWEIR_SHARED names its folder, python3 runs it",
            );
            return None;
        }
    }
    let text = std::fs::read_to_string(dir.path().join("events.jsonl")).unwrap();
    let lines: Vec<String> = text.lines().map(str::to_owned).collect();
    let mut seen = HashSet::new();
    let events = lines.iter().filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let is_counted =
        |event: &Value| event["data"]["stream"]["outcome"] != "rejected" && event["time"].is_string();
    let new = events.filter(|event| seen.insert((event["source"].to_string(), event["id"].to_string())));
    let calls = new.filter(is_counted).filter_map(|event| as_call(&event)).collect();
    Some((lines, calls))
}

/// The call of an event, as Azure has it if there is no gap.
fn as_call(event: &Value) -> Option<Call> {
    let data = &event["data"];
    let is_sum = event["type"] == "dev.tokenweir.summary.v1";
    if event["type"] != "dev.tokenweir.usage.v1" && !is_sum {
        return None;
    }
    let (target, tokens) = (&data["target"], &data["tokens"]);
    let name = |value: &Value| value.as_str().map(|text| &*Box::leak(text.to_owned().into_boxed_str()));
    let template = call("", event["time"].as_str()?, 0, 0);
    let (input, output) = (tokens["input"].as_u64(), tokens["output"].as_u64());
    let status = u16::try_from(data["request"]["status"].as_u64().unwrap_or(200)).ok()?;
    Some(Call {
        azure: AzureSide {
            deployment: name(&target["deployment"])?,
            input: input.unwrap_or(0),
            output: output.unwrap_or(0),
            status,
            calls: data["calls"].as_u64().unwrap_or(1),
            ..template.azure
        },
        event: EventSide {
            resource: name(&target["resource"])?,
            spillover_from: name(&target["spillover_from"]),
            quality: [
                name(&data["accounting"]["input_quality"])?,
                name(&data["accounting"]["output_quality"])?,
            ],
            status,
            input,
            output,
            ..template.event
        },
    })
}

fn result(lines: &[String], calls: &[Call]) -> Reconciliation {
    let result = Files::of_lines(lines).with_metrics(calls, MONTHS, true).reconcile();
    check_sums(&result);
    result
}

/// What each cause explains over all lines, more and less apart.
fn by_cause(result: &Reconciliation) -> BTreeMap<&'static str, (Quantity, Quantity)> {
    let mut sums: BTreeMap<&'static str, (Quantity, Quantity)> = BTreeMap::new();
    for (cause, part) in result.lines.iter().flat_map(|line| line.sums.explained.all()) {
        let sum = sums.entry(cause.as_str()).or_default();
        *(if part.is_positive() { &mut sum.0 } else { &mut sum.1 }) += part;
    }
    sums
}

fn only(cause: Cause, more: u64, less: u64) -> BTreeMap<&'static str, (Quantity, Quantity)> {
    [(cause.as_str(), (Quantity::of(more), -Quantity::of(less)))].into()
}

#[test]
fn each_gap_in_two_months_is_found() {
    let Some((lines, calls)) = generated() else { return };
    let without = result(&lines, &calls);
    assert_eq!((told(&without), without.is_within()), (vec![], true));
    assert!(without.lines.len() > 9 * 60, "{} lines", without.lines.len());

    // Calls beside the sidecar on one day: 3 % of that deployment's.
    let mut more = calls.clone();
    let is_beside = |call: &&Call| {
        call.azure.deployment == "gpt-4o-prod" && call.azure.time.to_string().starts_with("2026-10-07")
    };
    let beside: Vec<Call> =
        calls.iter().filter(is_beside).filter(|call| call.azure.status == 200).take(4).cloned().collect();
    let tokens: u64 = beside.iter().map(|call| call.azure.input).sum();
    more.extend(beside);
    let bypass = result(&lines, &more);
    let found: Quantity = bypass
        .lines
        .iter()
        .filter(|line| line.measure.as_str() == "input")
        .map(|line| line.sums.explained.of(Cause::Bypass))
        .sum();
    let differing = bypass.lines.iter().filter(|line| line.sums.delta() != Quantity::ZERO);
    assert!(
        differing.clone().count() == 2 && differing.clone().all(|line| line.is_over),
        "{:?}",
        told(&bypass)
    );
    assert!(found > Quantity::of(tokens / 2), "{found} of {tokens}");

    // What was cut went on at the service.
    let mut longer = calls.clone();
    let mut hidden = 0;
    for call in longer.iter_mut().filter(|call| call.event.quality[1] == "lower_bound") {
        call.azure.output += 150;
        hidden += 150;
    }
    let cut = result(&lines, &longer);
    let (found, _) = by_cause(&cut)[Cause::CutStreams.as_str()];
    let open: Quantity = cut.lines.iter().map(|line| line.sums.explained.open()).sum();
    assert!(found > Quantity::of(hidden * 9 / 10) && found <= Quantity::of(hidden), "{found} of {hidden}");
    assert_eq!((open, cut.is_within()), (Quantity::ZERO, true));

    // Azure has spilled calls under the deployment that was asked; one that failed was served by none.
    let mut spilled = calls.clone();
    let mut moved = 0;
    for call in spilled.iter_mut().filter(|call| call.azure.status < 400) {
        if let Some(from) = call.event.spillover_from {
            call.azure.deployment = from;
            moved += call.azure.input + call.azure.output;
        }
    }
    let spillover = result(&lines, &spilled);
    assert!(moved > 0);
    assert_eq!((by_cause(&spillover), spillover.is_within()), (only(Cause::Spillover, moved, moved), true));

    // Azure does not count what failed.
    let mut failed = calls.clone();
    let mut lost = 0;
    for call in failed.iter_mut().filter(|call| call.azure.status >= 500) {
        lost += call.azure.input;
        call.azure.input = 0;
    }
    let failures = result(&lines, &failed);
    assert_eq!((by_cause(&failures), failures.is_within()), (only(Cause::Failures, 0, lost), true));
}
