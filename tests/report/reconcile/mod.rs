//! `reconcile`: on files that agree every delta is 0, and each gap that is put in is found and put on its cause.
//!
//! | file | what it holds |
//! |---|---|
//! | `azure` | calls whose truth is known, as our events and as Azure's files |
//! | `causes` | each cause |
//! | `files` | the shapes of Azure's files, what is wrong with them, what is listed |
//! | `properties` | whatever both sides hold |
//! | `generated` | two months of generated events, and gaps in them |

mod azure;
mod causes;
mod files;
mod generated;
mod properties;

use std::collections::BTreeMap;

use tokenweir::report::{Basis, Quantity, ReconciledLine, Reconciliation};

use azure::{Call, Files, call};

/// Two days of ordinary calls on two deployments, none near midnight.
fn ordinary() -> Vec<Call> {
    let days = (1..=2).flat_map(|day| (1..23).map(move |hour| (day, hour)));
    days.flat_map(|(day, hour)| {
        let time = format!("{day:02}T{hour:02}:30:00");
        let (input, output) = (900 + day * 10 + hour, 200 + hour * 3);
        [call("gpt-4o-prod", &time, input, output), call("gpt-4o-ptu", &time, input * 2, output + 1)]
    })
    .collect()
}

const DAYS: (&str, &str) = ("01T00:00:00", "03T00:00:00");

fn metrics(calls: &[Call], requests: bool) -> Reconciliation {
    Files::of(calls).with_metrics(calls, DAYS, requests).reconcile()
}

/// Every delta and its causes, as short texts.
fn told(result: &Reconciliation) -> Vec<String> {
    let differing = result.lines.iter().filter(|line| line.sums.delta() != Quantity::ZERO);
    differing.map(line_text).collect()
}

fn line_text(line: &ReconciledLine) -> String {
    let causes: Vec<String> =
        line.sums.explained.all().map(|(cause, part)| format!("{} {part}", cause.as_str())).collect();
    format!("{} {} {}: {}", line.scope, line.day.day(), line.measure.as_str(), causes.join(", "))
}

/// Causes add up to deltas, and totals to lines.
fn check_sums(result: &Reconciliation) {
    let mut totals: BTreeMap<(Basis, &str), (Quantity, Quantity)> = BTreeMap::new();
    for line in &result.lines {
        let explained: Quantity = line.sums.explained.all().map(|(_, part)| part).sum();
        assert_eq!(explained, line.sums.delta(), "{line:?}");
        let total = totals.entry((line.basis, line.measure.as_str())).or_default();
        *total = (total.0 + line.sums.tracked, total.1 + line.sums.billed);
    }
    for ((basis, measure), sums) in &result.totals {
        assert_eq!(totals[&(*basis, measure.as_str())], (sums.tracked, sums.billed));
        let explained: Quantity = sums.explained.all().map(|(_, part)| part).sum();
        assert_eq!(explained, sums.delta());
    }
}
