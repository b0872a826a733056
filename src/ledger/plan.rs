//! What one batch of operations means for the tables.
//!
//! A call that opens and settles within one batch never becomes a row in `open`, and of several
//! checkpoints only the last one counts. A plan is made once and may be written several times:
//! making it changes what is known of calls, writing it changes nothing here.

use std::collections::{HashMap, VecDeque};

use uuid::Uuid;

use super::queue::Op;
use super::sums::Sum;
use crate::usage::{Progress, Settled, Usage};

/// A call that outlives its batch.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) number: u64,
    pub(super) id: Uuid,
    /// JSON of its [`Usage`].
    pub(super) draft: String,
}

/// A call that ended.
#[derive(Debug)]
pub(super) struct Closed {
    /// Its row in `open`, if it has one.
    pub(super) number: Option<u64>,
    pub(super) settled: Box<Settled>,
}

/// The control event that a plan ends with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ControlDue {
    /// Calls open after this plan.
    pub(super) open: u64,
    /// The boot ends here.
    pub(super) last: bool,
}

/// One transaction.
#[derive(Debug, Default)]
pub(super) struct Plan {
    pub(super) opened: Vec<Opened>,
    pub(super) progress: Vec<(u64, Progress)>,
    pub(super) closed: Vec<Closed>,
    pub(super) sums: Vec<Sum>,
    pub(super) refused: Vec<(u64, String)>,
    /// Everything up to here is delivered; 0 if that has not changed.
    pub(super) mark: u64,
    /// Rows of `open` whose calls are settled, to be deleted now; empty most of the time.
    pub(super) sweep: Vec<u64>,
    pub(super) control: Option<ControlDue>,
    /// Something could not be stored one by one.
    pub(super) degraded: bool,
}

/// The calls that are open, as the plans made so far leave them.
#[derive(Debug, Default)]
pub(super) struct OpenCalls {
    numbers: HashMap<Uuid, u64>,
    last: u64,
    /// Settled calls that still have a row.
    pub(super) unswept: Vec<u64>,
}

impl OpenCalls {
    /// Calls that are open.
    pub(super) fn count(&self) -> u64 {
        self.numbers.len() as u64
    }

    /// Turns operations, in order, into what they leave behind.
    pub(super) fn plan(&mut self, ops: VecDeque<Op>, boot: &str) -> Plan {
        let mut plan = Plan::default();
        let mut fresh: HashMap<Uuid, String> = HashMap::new();
        let mut order = Vec::new();
        let mut progress: HashMap<Uuid, Progress> = HashMap::new();
        for op in ops {
            match op {
                Op::Open { id, draft } => {
                    fresh.insert(id, draft);
                    order.push(id);
                }
                Op::Checkpoint(batch) => progress.extend(batch),
                Op::Settle(mut settled) => {
                    progress.remove(&settled.id);
                    let number = match fresh.remove(&settled.id) {
                        Some(_) => None,
                        None => self.numbers.remove(&settled.id),
                    };
                    self.unswept.extend(number);
                    stamp(&mut settled.usage, boot);
                    plan.closed.push(Closed { number, settled });
                }
            }
        }
        for id in order {
            if let Some(draft) = fresh.remove(&id) {
                self.last += 1;
                self.numbers.insert(id, self.last);
                plan.opened.push(Opened { number: self.last, id, draft });
            }
        }
        let numbered = progress.into_iter().filter_map(|(id, p)| Some((*self.numbers.get(&id)?, p)));
        plan.progress = numbered.collect();
        plan.progress.sort_unstable_by_key(|(number, _)| *number);
        plan
    }
}

impl Plan {
    /// Nothing is to be written.
    pub(super) fn is_empty(&self) -> bool {
        !self.has_calls() && self.mark == 0 && self.refused.is_empty()
    }

    /// More than marks are to be written.
    pub(super) fn has_calls(&self) -> bool {
        !(self.opened.is_empty()
            && self.progress.is_empty()
            && self.closed.is_empty()
            && self.sums.is_empty()
            && self.sweep.is_empty())
            || self.control.is_some()
    }

    /// Calls whose fate depends on this plan.
    pub(super) fn calls(&self) -> u64 {
        (self.opened.len() + self.closed.len()) as u64 + self.sums.iter().map(|sum| sum.calls).sum::<u64>()
    }
}

/// The event's instance is the boot whose sequence it carries.
pub(super) fn stamp(usage: &mut Usage, boot: &str) {
    if usage.reporter.instance != boot {
        boot.clone_into(&mut usage.reporter.instance);
    }
}
