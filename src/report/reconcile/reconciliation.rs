//! The result: every line with its delta and its causes, and what had no counterpart.

use std::collections::{BTreeMap, BTreeSet};

use jiff::civil::Date;
use smol_str::SmolStr;

use super::attribution::{Explained, OpenLine, attribute};
use super::billed::{Billed, UnmatchedMeter};
use super::line_key::{Basis, LineKey};
use super::measure::Measure;
use super::quantity::Quantity;
use super::tolerance::Tolerance;
use super::tracked::Tracked;
use crate::report::completeness::Completeness;

/// A resource's deployment or model on a UTC day, measured one way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReconciledLine {
    /// Which of Azure's numbers it is held against.
    pub basis: Basis,
    /// The name of Azure's resource.
    pub resource: SmolStr,
    /// With metrics the deployment, with a cost export the model; empty: none is named.
    pub scope: SmolStr,
    /// The UTC day.
    pub day: Date,
    /// The measure.
    pub measure: Measure,
    /// The numbers.
    pub sums: ReconciledSums,
    /// More is open than the tolerance allows.
    pub is_over: bool,
}

/// Ours, Azure's, and why they differ.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReconciledSums {
    /// Our number.
    pub tracked: Quantity,
    /// Azure's number.
    pub billed: Quantity,
    /// Why they differ: the parts add up to the delta.
    pub explained: Explained,
}

/// A resource's deployment or model that one side only has.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct OneSided {
    /// Which of Azure's numbers are meant.
    pub basis: Basis,
    /// The name of Azure's resource.
    pub resource: SmolStr,
    /// As in [`ReconciledLine`].
    pub scope: SmolStr,
}

/// Our events and Azure's files, held against each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reconciliation {
    /// How much may stay open.
    pub tolerance: Tolerance,
    /// By basis, resource, deployment or model, day and measure.
    pub lines: Vec<ReconciledLine>,
    /// By basis and measure.
    pub totals: BTreeMap<(Basis, Measure), ReconciledSums>,
    /// Subjects that Azure alone has.
    pub only_in_azure: Vec<OneSided>,
    /// Subjects that we alone have, of resources that Azure's files are about.
    pub only_in_ours: Vec<OneSided>,
    /// Calls of resources that Azure's files are not about.
    pub not_covered: BTreeMap<SmolStr, u64>,
    /// Meters that the table does not know.
    pub unmatched_meters: Vec<UnmatchedMeter>,
    /// Whether our events of the time that is compared are all there, and what else should be known.
    pub completeness: Completeness,
}

impl ReconciledSums {
    /// Returns how much more Azure has.
    pub fn delta(&self) -> Quantity {
        self.billed - self.tracked
    }

    /// Returns our part of what Azure has, as a decimal; `None` where Azure has nothing.
    pub fn ratio(&self) -> Option<String> {
        self.tracked.ratio(self.billed)
    }

    fn add(&mut self, other: &ReconciledSums) {
        self.tracked += other.tracked;
        self.billed += other.billed;
        other.explained.all().for_each(|(cause, part)| self.explained.add(cause, part));
    }
}

impl Reconciliation {
    /// No line is over the tolerance.
    pub fn is_within(&self) -> bool {
        self.lines.iter().all(|line| !line.is_over)
    }

    pub(super) fn new(
        billed: Billed,
        tracked: Tracked,
        tolerance: Tolerance,
        mut completeness: Completeness,
    ) -> Reconciliation {
        let open = attribute(&billed, &tracked);
        let lines: Vec<ReconciledLine> = open
            .into_iter()
            .filter(|(_, line)| line.tracked != Quantity::ZERO || line.billed != Quantity::ZERO)
            .map(|(key, line)| reconciled(&key, &line, &billed, tolerance))
            .collect();
        let mut totals: BTreeMap<(Basis, Measure), ReconciledSums> = BTreeMap::new();
        for line in &lines {
            totals.entry((line.basis, line.measure)).or_default().add(&line.sums);
        }
        let (only_in_azure, only_in_ours) = one_sided(&lines);
        completeness.notes.extend(billed.notes.iter().cloned());
        let not_covered = tracked.not_covered.iter().map(|(name, calls)| (billed.spellings.of(name), *calls));
        Reconciliation {
            tolerance,
            totals,
            only_in_azure,
            only_in_ours,
            not_covered: not_covered.collect(),
            unmatched_meters: billed.unmatched(),
            completeness,
            lines,
        }
    }
}

fn reconciled(key: &LineKey, line: &OpenLine, billed: &Billed, tolerance: Tolerance) -> ReconciledLine {
    let subject = &key.subject;
    // Of the models of a meter the first names all.
    let scope = match subject.basis {
        Basis::Metrics => billed.spellings.of(&subject.scope),
        Basis::CostExport => match subject.scope.split_once('|') {
            Some((first, _)) => first.into(),
            None => billed.spellings.of(&subject.scope),
        },
    };
    ReconciledLine {
        basis: subject.basis,
        resource: billed.spellings.of(&subject.resource),
        scope,
        day: key.day,
        measure: subject.measure,
        sums: ReconciledSums { tracked: line.tracked, billed: line.billed, explained: line.explained },
        is_over: tolerance.is_exceeded(line.explained.open(), line.billed, line.tracked),
    }
}

/// Lists what one side only has, Azure's first.
fn one_sided(lines: &[ReconciledLine]) -> (Vec<OneSided>, Vec<OneSided>) {
    let having = |number: fn(&ReconciledLine) -> Quantity| -> BTreeSet<OneSided> {
        let has = lines.iter().filter(|line| number(line) != Quantity::ZERO);
        let one = |line: &ReconciledLine| OneSided {
            basis: line.basis,
            resource: line.resource.clone(),
            scope: line.scope.clone(),
        };
        has.map(one).collect()
    };
    let (azure, ours) = (having(|line| line.sums.billed), having(|line| line.sums.tracked));
    (azure.difference(&ours).cloned().collect(), ours.difference(&azure).cloned().collect())
}
