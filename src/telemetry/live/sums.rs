//! All live sums together, as functions of the calls and of the second in which each ended.

use metering::usage::Outcome;
use strum::VariantArray;

use super::call::LiveCall;
use super::callers::{CallTotals, Callers};
use super::history::{Gauges, History};
use super::recent::{MissedCalls, RecentCalls};

/// Sums of all calls. Seconds are counted from the start, and do not go back.
#[derive(Debug, Default)]
pub struct LiveSums {
    pub(super) totals: CallTotals,
    /// Calls by how they ended, in the order of the vocabulary.
    pub(super) outcomes: [u64; Outcome::VARIANTS.len()],
    pub(super) callers: Callers,
    pub(super) history: History,
    pub(super) recent: RecentCalls,
}

impl LiveSums {
    /// Adds a call that ended in this second.
    pub fn add(&mut self, call: LiveCall, second: u64, is_followed: bool) {
        self.totals.add(&call);
        if let Some(outcome) = call.outcome {
            self.outcomes[outcome as usize] += 1;
        }
        self.callers.add(&call, second);
        self.history.add(&call, second);
        self.recent.add(call, is_followed);
    }

    /// Takes the numbers of a moment.
    pub fn sample(&mut self, gauges: Gauges, second: u64) {
        self.history.sample(gauges, second);
    }

    pub(super) fn calls_after(&self, seen: u64) -> (Vec<LiveCall>, MissedCalls, u64) {
        self.recent.after(seen)
    }
}
