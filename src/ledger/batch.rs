//! A batch: the operations of some milliseconds, turned into the rows of one transaction.
//!
//! A call that opens and settles within one batch never becomes a row in `open`, and of several
//! checkpoints only the last one counts. A batch is made once, is written once, and if that fails it
//! is either found committed or taken apart again ([`OpenCalls::lost`]).

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

use uuid::Uuid;

use super::bill::{BillInHand, DeferredNote};
use super::op::{EndedByCommit, Op};
use super::sums::Sum;
use metering::usage::{Deferral, Progress, Settled, Usage};

/// A call that outlives its batch.
#[derive(Debug)]
pub(super) struct Opened {
    pub(super) number: u64,
    pub(super) id: Uuid,
    /// JSON of its [`Usage`].
    pub(super) draft: Arc<Usage>,
}

/// A call that ended.
#[derive(Debug)]
pub(super) struct Closed {
    /// Its row in `open`, if it has one.
    pub(super) number: Option<u64>,
    pub(super) settled: Box<Settled>,
    /// The work that it began, if its response tells of some.
    pub(super) deferral: Option<Deferral>,
}

/// The control event that a batch ends with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ControlDue {
    /// Calls open after this batch.
    pub(super) open: u64,
    /// The boot ends here.
    pub(super) last: bool,
}

/// One transaction.
#[derive(Debug, Default)]
pub(super) struct Batch {
    pub(super) opened: Vec<Opened>,
    pub(super) progress: Vec<(u64, Progress)>,
    pub(super) closed: Vec<Closed>,
    pub(super) bills: Vec<BillInHand>,
    pub(super) sums: Vec<Sum>,
    /// Work of the calls in the sums.
    pub(super) notes: Vec<DeferredNote>,
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
#[derive(Debug)]
pub(super) struct OpenCalls {
    /// Late rows in one transaction.
    batch_ops: usize,
    numbers: HashMap<Uuid, u64>,
    last: u64,
    /// Ended calls that may still have a row.
    pub(super) unswept: Vec<u64>,
    /// Open calls that have no row yet since nothing could be written when they began.
    unwritten: BTreeMap<u64, Opened>,
}

impl OpenCalls {
    /// No calls. A transaction holds up to `batch_ops` rows of calls that get theirs late.
    pub(super) fn new(batch_ops: usize) -> OpenCalls {
        let (numbers, unwritten) = (HashMap::new(), BTreeMap::new());
        OpenCalls { batch_ops, numbers, last: 0, unswept: Vec::new(), unwritten }
    }

    /// Calls that are open.
    pub(super) fn count(&self) -> u64 {
        self.numbers.len() as u64
    }

    /// Turns operations, in order, into what they leave behind.
    pub(super) fn batch(&mut self, ops: VecDeque<Op>, boot: &str) -> Batch {
        let mut batch = Batch::default();
        let mut fresh: HashMap<Uuid, Arc<Usage>> = HashMap::new();
        let mut order = Vec::new();
        let mut progress: HashMap<Uuid, Progress> = HashMap::new();
        for op in ops {
            match op {
                Op::Open { id, draft } => {
                    fresh.insert(id, draft);
                    order.push(id);
                }
                Op::Checkpoint(batch) => progress.extend(batch),
                Op::Bill(mut bill) => {
                    stamp(&mut bill.settled.usage, boot);
                    batch.bills.push(BillInHand { bill: *bill, stored: None });
                }
                Op::Settle(mut settled, deferral) => {
                    progress.remove(&settled.id);
                    let number = match fresh.remove(&settled.id) {
                        Some(_) => None,
                        None => self.end(&settled.id),
                    };
                    stamp(&mut settled.usage, boot);
                    batch.closed.push(Closed { number, settled, deferral });
                }
            }
        }
        while batch.opened.len() < self.batch_ops
            && let Some((_, opened)) = self.unwritten.pop_first()
        {
            batch.opened.push(opened);
        }
        for id in order {
            if let Some(draft) = fresh.remove(&id) {
                batch.opened.push(self.begin(id, draft));
            }
        }
        debug_assert!(batch.opened.is_sorted_by_key(|opened| opened.number), "rows are appended in order");
        let numbered = progress.into_iter().filter_map(|(id, p)| Some((*self.numbers.get(&id)?, p)));
        batch.progress = numbered.collect();
        batch.progress.sort_unstable_by_key(|(number, _)| *number);
        batch
    }

    /// Takes operations while nothing can be written: drafts are kept, checkpoints dropped, and the
    /// calls that ended are returned, to be summed. So is the number of bills, which are dropped: the work will be
    /// looked at again.
    pub(super) fn absorb(&mut self, ops: VecDeque<Op>) -> (Vec<Closed>, usize) {
        let (mut ended, mut bills) = (Vec::new(), 0);
        for op in ops {
            match op {
                Op::Open { id, draft } => {
                    let opened = self.begin(id, draft);
                    self.unwritten.insert(opened.number, opened);
                }
                Op::Checkpoint(_) => {}
                Op::Bill(_) => bills += 1,
                Op::Settle(settled, deferral) => {
                    self.end(&settled.id);
                    ended.push(Closed { number: None, settled, deferral });
                }
            }
        }
        (ended, bills)
    }

    /// Takes a batch apart that was not committed. Returns its ended calls, to be summed; those that
    /// are still open get their row with the next batch.
    pub(super) fn lost(&mut self, batch: &mut Batch) -> Vec<Closed> {
        self.unswept.append(&mut batch.sweep);
        for opened in batch.opened.drain(..) {
            if self.numbers.contains_key(&opened.id) {
                self.unwritten.insert(opened.number, opened);
            }
        }
        std::mem::take(&mut batch.closed)
    }

    /// Calls that began and have no row yet.
    pub(super) fn unwritten(&self) -> u64 {
        self.unwritten.len() as u64
    }

    pub(super) fn has_unwritten(&self) -> bool {
        !self.unwritten.is_empty()
    }

    /// Takes the rows of ended calls, to be deleted.
    pub(super) fn sweep(&mut self) -> Vec<u64> {
        let mut rows = std::mem::take(&mut self.unswept);
        rows.sort_unstable();
        rows
    }

    fn begin(&mut self, id: Uuid, draft: Arc<Usage>) -> Opened {
        self.last += 1;
        let before = self.numbers.insert(id, self.last);
        debug_assert!(before.is_none(), "a call begins once");
        Opened { number: self.last, id, draft }
    }

    /// Forgets a call that ended. Returns its row, if it may have one.
    fn end(&mut self, id: &Uuid) -> Option<u64> {
        let number = self.numbers.remove(id)?;
        if self.unwritten.remove(&number).is_some() {
            return None;
        }
        self.unswept.push(number);
        Some(number)
    }
}

impl Batch {
    /// Nothing is to be written.
    pub(super) fn is_empty(&self) -> bool {
        !self.has_calls() && self.mark == 0 && self.refused.is_empty()
    }

    /// More than marks are to be written.
    pub(super) fn has_calls(&self) -> bool {
        !(self.opened.is_empty()
            && self.progress.is_empty()
            && self.closed.is_empty()
            && self.bills.is_empty()
            && self.notes.is_empty()
            && self.sums.is_empty()
            && self.sweep.is_empty())
            || self.control.is_some()
    }

    /// It may bring work to the tables of it; or it is time to look what is too old there.
    pub(super) fn may_defer(&self) -> bool {
        let announces = || self.closed.iter().any(|closed| closed.deferral.is_some());
        self.control.is_some() || !self.bills.is_empty() || !self.notes.is_empty() || announces()
    }

    /// The calls and bills that end with this batch, once it is committed.
    pub(super) fn ended(&self) -> EndedByCommit {
        EndedByCommit {
            calls: self.closed.len() as u64,
            billed: self.bills.iter().filter(|bill| bill.stored.is_some()).count() as u64,
            slots: self.closed.len() + self.bills.len(),
        }
    }

    /// Calls whose fate depends on this batch.
    pub(super) fn calls(&self) -> u64 {
        (self.opened.len() + self.closed.len()) as u64 + self.sums.iter().map(|sum| sum.calls).sum::<u64>()
    }
}

/// The event's instance is the boot whose sequence it carries.
pub(super) fn stamp(usage: &mut Usage, boot: &str) {
    if usage.reporter.instance != boot {
        usage.reporter.instance = boot.into();
    }
}
