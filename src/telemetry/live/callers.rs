//! Sums of calls since the start, and of each caller, for so many callers and no more.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use metering::usage::Quality;
use serde::{Deserialize, Serialize};
use smol_str::SmolStr;
use strum::VariantArray;

use super::call::LiveCall;
use super::history::HISTORY_SECONDS;

/// Callers that have sums of their own: as many as have series of their own (`--metrics-per-caller`).
pub(super) const CALLERS_MAX: usize = 500;

/// Seconds that are of late: enough that a mean does not jump with each call, few enough to be called now.
pub(super) const RECENT_SECONDS: u64 = 10;

/// Those seconds, and the one that is not over yet.
const BUCKETS: usize = RECENT_SECONDS as usize + 1;

/// Sums of calls.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallTotals {
    /// Calls that ended.
    pub calls: u64,
    /// Tokens of their prompts.
    pub input: u64,
    /// Tokens of their responses.
    pub output: u64,
    /// Calls by their quality, in the order of the vocabulary: of a call's two numbers the worse counts.
    pub qualities: [u64; Quality::VARIANTS.len()],
}

impl CallTotals {
    /// Tokens of both kinds.
    pub fn tokens(&self) -> u64 {
        self.input.saturating_add(self.output)
    }

    pub(super) fn add(&mut self, call: &LiveCall) {
        self.calls = self.calls.saturating_add(call.calls);
        self.input = self.input.saturating_add(call.input.unwrap_or(0));
        self.output = self.output.saturating_add(call.output.unwrap_or(0));
        let quality = &mut self.qualities[call.quality() as usize];
        *quality = quality.saturating_add(call.calls);
    }

    pub(super) fn merge(&mut self, other: &CallTotals) {
        self.calls = self.calls.saturating_add(other.calls);
        self.input = self.input.saturating_add(other.input);
        self.output = self.output.saturating_add(other.output);
        for (sum, calls) in self.qualities.iter_mut().zip(other.qualities) {
            *sum = sum.saturating_add(calls);
        }
    }
}

/// Tokens of the last seconds, each in the place of its number.
#[derive(Clone, Copy, Debug, Default)]
struct LastSeconds {
    tokens: [u64; BUCKETS],
    /// The last second that has a place.
    second: u64,
}

impl LastSeconds {
    /// Adds to a second, unless that is too old.
    fn add(&mut self, tokens: u64, second: u64) {
        self.advance(second);
        if self.second - second < BUCKETS as u64 {
            let place = &mut self.tokens[(second % BUCKETS as u64) as usize];
            *place = place.saturating_add(tokens);
        }
    }

    /// Goes on to a second; whatever is too old is forgotten.
    fn advance(&mut self, second: u64) {
        let passed = second.saturating_sub(self.second).min(BUCKETS as u64);
        for gone in 0..passed {
            self.tokens[((second - gone) % BUCKETS as u64) as usize] = 0;
        }
        self.second = self.second.max(second);
    }

    /// Tokens of the last [`RECENT_SECONDS`] before this one.
    fn before(mut self, second: u64) -> u64 {
        self.advance(second);
        self.tokens[(self.second % BUCKETS as u64) as usize] = 0;
        self.tokens.iter().fold(0, |sum, tokens| sum.saturating_add(*tokens))
    }
}

/// One caller.
#[derive(Clone, Debug)]
pub(super) struct CallerSums {
    pub(super) department: Option<SmolStr>,
    pub(super) totals: CallTotals,
    last: LastSeconds,
}

impl CallerSums {
    /// Tokens of the last [`RECENT_SECONDS`] before this one.
    pub(super) fn recent_tokens(&self, second: u64) -> u64 {
        self.last.before(second)
    }
}

/// Every caller's sums.
#[derive(Debug, Default)]
pub(super) struct Callers {
    known: HashMap<SmolStr, CallerSums>,
    /// Those that have none of their own.
    other: CallTotals,
}

impl Callers {
    pub(super) fn add(&mut self, call: &LiveCall, second: u64) {
        if self.known.len() >= CALLERS_MAX && !self.known.contains_key(&call.caller) {
            self.forget_silent(second);
        }
        let is_full = self.known.len() >= CALLERS_MAX;
        let sums = match self.known.entry(call.caller.clone()) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(_) if is_full => return self.other.add(call),
            Entry::Vacant(place) => place.insert(CallerSums {
                department: None,
                totals: CallTotals::default(),
                last: LastSeconds { second, ..LastSeconds::default() },
            }),
        };
        sums.totals.add(call);
        sums.last.add(call.input.unwrap_or(0).saturating_add(call.output.unwrap_or(0)), second);
        if sums.department != call.department {
            sums.department.clone_from(&call.department);
        }
    }

    /// Makes room: the caller that has been silent for longest goes to the others, if the plots do not show it any
    /// more.
    fn forget_silent(&mut self, second: u64) {
        let longest = self.known.iter().min_by_key(|(_, sums)| sums.last.second);
        let silent = longest.filter(|(_, sums)| sums.last.second + HISTORY_SECONDS < second);
        let Some(caller) = silent.map(|(caller, _)| caller.clone()) else { return };
        if let Some(sums) = self.known.remove(&caller) {
            self.other.merge(&sums.totals);
        }
    }

    pub(super) fn known(&self) -> impl Iterator<Item = (&SmolStr, &CallerSums)> {
        self.known.iter()
    }

    pub(super) fn len(&self) -> usize {
        self.known.len()
    }

    pub(super) fn other(&self) -> CallTotals {
        self.other
    }
}
