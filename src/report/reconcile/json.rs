//! A reconciliation as JSON.

use serde::Serialize;
use serde::ser::SerializeMap;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::attribution::Explained;
use super::billed::UnmatchedMeter;
use super::line_key::Basis;
use super::measure::Measure;
use super::quantity::Quantity;
use super::reconciliation::{OneSided, ReconciledLine, ReconciledSums, Reconciliation};

/// All of it.
#[derive(Serialize)]
pub(super) struct ReconciliationJson<'a> {
    tolerance: String,
    within_tolerance: bool,
    lines: Vec<LineJson<'a>>,
    totals: Vec<TotalJson<'a>>,
    only_in_azure: Vec<OneSidedJson<'a>>,
    only_in_ours: Vec<OneSidedJson<'a>>,
    not_covered: Vec<NotCovered<'a>>,
    unmatched_meters: &'a [UnmatchedMeter],
    /// `complete`, what was left out, what of the range is not there, and notes.
    #[serde(flatten)]
    completeness: Map<String, Value>,
}

#[derive(Serialize)]
struct LineJson<'a> {
    basis: &'a str,
    resource: &'a str,
    deployment: Option<&'a str>,
    model: Option<&'a str>,
    day: String,
    measure: &'a str,
    #[serde(flatten)]
    sums: SumsJson,
    over_tolerance: bool,
}

#[derive(Serialize)]
struct TotalJson<'a> {
    basis: &'a str,
    measure: &'a str,
    #[serde(flatten)]
    sums: SumsJson,
}

#[derive(Serialize)]
struct SumsJson {
    tracked: Quantity,
    billed: Quantity,
    delta: Quantity,
    ratio: Option<Box<RawValue>>,
    causes: CausesJson,
    open: Quantity,
}

/// The causes that explain something, as members.
struct CausesJson(Explained);

#[derive(Serialize)]
struct OneSidedJson<'a> {
    basis: &'a str,
    resource: &'a str,
    deployment: Option<&'a str>,
    model: Option<&'a str>,
}

#[derive(Serialize)]
struct NotCovered<'a> {
    resource: &'a str,
    calls: u64,
}

impl<'a> ReconciliationJson<'a> {
    pub(super) fn of(all: &'a Reconciliation) -> ReconciliationJson<'a> {
        let total = |((basis, measure), sums): (&'a (Basis, Measure), &'a ReconciledSums)| TotalJson {
            basis: basis.as_str(),
            measure: measure.as_str(),
            sums: SumsJson::of(sums),
        };
        let one_sided = |one: &'a OneSided| {
            let (deployment, model) = scope(one.basis, &one.scope);
            OneSidedJson { basis: one.basis.as_str(), resource: &one.resource, deployment, model }
        };
        ReconciliationJson {
            tolerance: all.tolerance.to_string(),
            within_tolerance: all.is_within(),
            lines: all.lines.iter().map(LineJson::of).collect(),
            totals: all.totals.iter().map(total).collect(),
            only_in_azure: all.only_in_azure.iter().map(one_sided).collect(),
            only_in_ours: all.only_in_ours.iter().map(one_sided).collect(),
            not_covered: all
                .not_covered
                .iter()
                .map(|(resource, calls)| NotCovered { resource, calls: *calls })
                .collect(),
            unmatched_meters: &all.unmatched_meters,
            completeness: all.completeness.members(),
        }
    }
}

impl<'a> LineJson<'a> {
    fn of(line: &'a ReconciledLine) -> LineJson<'a> {
        let (deployment, model) = scope(line.basis, &line.scope);
        LineJson {
            basis: line.basis.as_str(),
            resource: &line.resource,
            deployment,
            model,
            day: line.day.to_string(),
            measure: line.measure.as_str(),
            sums: SumsJson::of(&line.sums),
            over_tolerance: line.is_over,
        }
    }
}

/// The deployment, or the model.
fn scope(basis: Basis, name: &str) -> (Option<&str>, Option<&str>) {
    match basis {
        Basis::Metrics => (Some(name), None),
        Basis::CostExport => (None, Some(name)),
    }
}

impl SumsJson {
    fn of(sums: &ReconciledSums) -> SumsJson {
        SumsJson {
            tracked: sums.tracked,
            billed: sums.billed,
            delta: sums.delta(),
            ratio: sums.ratio().and_then(|ratio| RawValue::from_string(ratio).ok()),
            causes: CausesJson(sums.explained),
            open: sums.explained.open(),
        }
    }
}

impl Serialize for CausesJson {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for (cause, part) in self.0.all() {
            map.serialize_entry(cause.as_str(), &part)?;
        }
        map.end()
    }
}
