//! Where the totals of rows and their control event differ.

use std::fmt::Write;

use metering::usage::{Unit, Units};
use strum::VariantArray;

use super::digests::Fault;
use super::findings::FindingKind;
use super::period::{ControlCounters, Period};

/// Finds where a control event contradicts itself on its own calls.
pub(super) fn contradictions_within(period: &Period) -> Option<Fault> {
    let ControlCounters { accepted, settled, open, summed, .. } = period.control;
    let sum = settled.saturating_add(open).saturating_add(summed);
    let text = format!(
        "its control event says {accepted} accepted, but {settled} settled + {open} open + {summed} summed"
    );
    altered(period, if accepted == sum { String::new() } else { text })
}

/// A fault, if there is something to say.
pub(super) fn altered(period: &Period, text: String) -> Option<Fault> {
    (!text.is_empty()).then_some((FindingKind::Altered, period.said.events, text))
}

/// The counts of the rows, in the words and the order of the control event, each with the control event's own.
fn numbers(
    period: &Period,
    before: &ControlCounters,
) -> impl Iterator<Item = (&'static str, u64, u64)> + use<> {
    let (said, found, control) = (&period.said, &period.rows.found, period.control);
    let counts = [
        ("events", found.events, said.events),
        ("input tokens", found.tokens.input, said.tokens.input),
        ("output tokens", found.tokens.output, said.tokens.output),
        ("calls settled", period.rows.settled, control.settled.saturating_sub(before.settled)),
        ("calls summed", period.rows.summed, control.summed.saturating_sub(before.summed)),
    ];
    let sum = |unit: Unit, units: &Units| unit.of(units).unwrap_or(0);
    let (found, said) = (found.units(), said.units());
    let units = Unit::VARIANTS.iter();
    let units = units.map(move |unit| (unit.as_str(), sum(*unit, &found), sum(*unit, &said)));
    counts.into_iter().chain(units)
}

/// Where the rows and their control event differ.
pub(super) fn contradictions(period: &Period, before: &ControlCounters, crashed: u64) -> String {
    let mut text = String::new();
    for (what, found, said) in numbers(period, before) {
        let found = if what == "calls settled" { found + crashed } else { found };
        if found != said {
            differ(&mut text, what, found, said);
        }
    }
    if period.rows.outside > 0 {
        let separator = if text.is_empty() { "" } else { "; " };
        let _ = write!(text, "{separator}{} rows are in no control event's range", period.rows.outside);
    }
    text
}

/// Where the rows are more than their control event says, although some are missing.
pub(super) fn excesses(period: &Period, before: &ControlCounters) -> String {
    let mut text = String::new();
    for (what, found, said) in numbers(period, before).filter(|(_, found, said)| found > said) {
        differ(&mut text, what, found, said);
    }
    text
}

fn differ(text: &mut String, what: &str, found: u64, said: u64) {
    let separator = if text.is_empty() { "" } else { "; " };
    let _ = write!(text, "{separator}{what}: rows {found}, control event {said}");
}
