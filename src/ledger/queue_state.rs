//! The lock of the queue guards this: the operations that wait, the free slots, and what the writer is asked for.

use std::collections::VecDeque;

use super::op::{Op, Pending};

/// The news that wait for the writer, the slots, the counters, and what the writer is asked for.
#[derive(Debug, Default)]
pub(super) struct QueueState {
    pub(super) ops: VecDeque<Op>,
    /// The writer waits for the next operation, whenever it comes, and is to be woken for it.
    pub(super) idle: bool,
    /// Operations came with the last batch, so the writer looks for more by the clock.
    pub(super) busy: bool,
    pub(super) free: usize,
    pub(super) checkpoints: usize,
    pub(super) mark: u64,
    pub(super) mark_changed: bool,
    pub(super) refused: Vec<(u64, String)>,
    /// Nothing can be stored.
    pub(super) failing: bool,
    /// Calls are summed, and the writer has not been told yet.
    pub(super) summing: bool,
    /// The stored events could not be made durable, and the writer has not been told yet.
    pub(super) alarm: bool,
    pub(super) accepted: u64,
    pub(super) settled: u64,
    pub(super) summed: u64,
    pub(super) phase: Lifecycle,
    pub(super) finish_asked: bool,
    pub(super) stop_asked: bool,
}

/// How far the ledger's life has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Lifecycle {
    /// Calls are taken.
    #[default]
    Running,
    /// The writer has what came before the end; nothing more of a call is taken.
    Finishing,
    /// The end is committed, or has failed.
    Finished(u64),
}

impl QueueState {
    pub(super) fn has_slot(&self) -> bool {
        self.free > 0 && self.phase == Lifecycle::Running && !self.failing
    }

    /// The writer is asked to end what it does.
    pub(super) fn ending(&self) -> bool {
        self.stop_asked || (self.finish_asked && !matches!(self.phase, Lifecycle::Finished(_)))
    }

    /// Marks or refused events are there for the writer to take.
    pub(super) fn marks_wait(&self) -> bool {
        !self.failing && (self.mark_changed || !self.refused.is_empty())
    }

    pub(super) fn take_marks(&mut self) -> (u64, Vec<(u64, String)>) {
        let mark = if std::mem::take(&mut self.mark_changed) { self.mark } else { 0 };
        (mark, std::mem::take(&mut self.refused))
    }

    /// Takes at most one transaction's operations.
    pub(super) fn take(&mut self, batch_ops: usize) -> Pending {
        let ops = if self.ops.len() <= batch_ops {
            std::mem::take(&mut self.ops)
        } else {
            self.ops.drain(..batch_ops).collect()
        };
        let checkpoints = ops.iter().map(|op| if let Op::Checkpoint(batch) = op { batch.len() } else { 0 });
        self.checkpoints -= checkpoints.sum::<usize>();
        (self.summing, self.alarm) = (false, false);
        let finish = self.finish_asked && self.phase == Lifecycle::Running && self.ops.is_empty();
        if finish {
            self.phase = Lifecycle::Finishing;
        }
        let (mark, refused) = if self.failing { (0, Vec::new()) } else { self.take_marks() };
        Pending { ops, mark, refused, finish, stop: self.stop_asked && self.ops.is_empty() }
    }
}
