//! Rows of a boot that stand between two of its control events, as far as they have come, in whatever order.
//!
//! A control event has a place in the sequence, too, so rows that stand side by side have the same control event, also
//! before that has come: they are one run, and one sum. A period whose rows are all there is one run, and is let go
//! of once the control events around it are there. In order there is one run a boot; a topic whose partitions are read
//! one ahead of the other has as many as rows are missing in between.

use std::collections::BTreeMap;

use super::row_sums::RowSums;

/// Rows side by side.
#[derive(Debug)]
pub(super) struct RowRun {
    pub(super) first: u64,
    pub(super) last: u64,
    pub(super) sums: RowSums,
    /// Of the rows, each id's hash.
    pub(super) ids: Vec<u64>,
}

/// All runs of a boot, by their first sequence.
#[derive(Debug, Default)]
pub(super) struct RowRuns(BTreeMap<u64, RowRun>);

impl RowRuns {
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Adds a row that is not in any run yet. Returns the first and the last sequence of the run that it is in now.
    pub(super) fn add(&mut self, sequence: u64, sums: RowSums, id: u64) -> (u64, u64) {
        let before = self.0.range_mut(..sequence).next_back().map(|(_, run)| run);
        let first = match before.filter(|run| run.last + 1 == sequence) {
            Some(run) => {
                run.last = sequence;
                run.sums.join(&sums);
                run.ids.push(id);
                run.first
            }
            None => {
                let run = RowRun { first: sequence, last: sequence, sums, ids: vec![id] };
                self.0.insert(sequence, run);
                sequence
            }
        };
        let after = self.0.remove(&(sequence + 1));
        let Some(run) = self.0.get_mut(&first) else { return (first, sequence) };
        if let Some(mut after) = after {
            run.last = after.last;
            run.sums.join(&after.sums);
            if run.ids.len() < after.ids.len() {
                std::mem::swap(&mut run.ids, &mut after.ids);
            }
            run.ids.append(&mut after.ids);
        }
        (first, run.last)
    }

    /// The run that ends with a sequence.
    pub(super) fn ending_at(&self, last: u64) -> Option<u64> {
        let (first, run) = self.0.range(..=last).next_back()?;
        (run.last == last).then_some(*first)
    }

    /// The run that begins with a sequence: its last one.
    pub(super) fn beginning_at(&self, first: u64) -> Option<u64> {
        self.0.get(&first).map(|run| run.last)
    }

    pub(super) fn take(&mut self, first: u64) -> Option<RowRun> {
        self.0.remove(&first)
    }

    pub(super) fn take_all(&mut self) -> impl Iterator<Item = RowRun> + use<> {
        std::mem::take(&mut self.0).into_values()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;
    use crate::report::verify::sequences;

    proptest! {
        #[test]
        fn runs_are_those_of_a_set_whatever_the_order(
            order in prop::collection::vec(1..60_u64, 0..60),
        ) {
            let (mut runs, mut set) = (RowRuns::default(), roaring::RoaringTreemap::new());
            for sequence in order {
                if !set.insert(sequence) {
                    continue;
                }
                let sums = RowSums { span: Some((sequence, sequence)), settled: sequence, ..RowSums::default() };
                let (first, last) = runs.add(sequence, sums, sequence);
                prop_assert!(sequences::runs(&set).any(|run| run == (first, last)));
                prop_assert_eq!((runs.ending_at(last), runs.beginning_at(first)), (Some(first), Some(last)));
            }
            let expected: Vec<(u64, u64)> = sequences::runs(&set).collect();
            prop_assert_eq!(runs.len(), expected.len());
            for (run, (first, last)) in runs.take_all().zip(expected) {
                prop_assert_eq!((run.first, run.last, run.sums.span), (first, last, Some((first, last))));
                prop_assert_eq!(run.sums.settled, (first..=last).sum::<u64>());
                let ids: BTreeSet<u64> = run.ids.iter().copied().collect();
                prop_assert!(run.ids.len() == ids.len() && ids.into_iter().eq(first..=last));
            }
        }
    }
}
