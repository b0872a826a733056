//! The checkpoints of a call: their contents, and when there is one.

use metering::meter::Checks;
use metering::usage::{Progress, Target};

use super::drift::Drift;
use super::meter::CallMeter;

/// The knowledge of a call at some point.
pub(super) struct CallSnapshot {
    progress: Progress,
    checks: Checks,
    target: Target,
}

impl CallSnapshot {
    pub(super) fn of<M: CallMeter>(meter: &M) -> CallSnapshot {
        let (progress, checks) = meter.progress();
        CallSnapshot { progress, checks, target: meter.target() }
    }

    /// The progress, with the quality that the rules have now.
    pub(super) fn labelled(mut self, drift: &Drift) -> Progress {
        if drift.any() {
            drift.label(&mut self.progress.accounting, &self.checks, &self.target);
        }
        self.progress
    }
}

/// The news of a call since its last checkpoint.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) enum CheckpointNews {
    #[default]
    None,
    Some,
    /// There is some, and a checkpoint was due while the pool had the meter or has to make it: it is made up
    /// for as soon as that is possible.
    Overdue,
}

/// The next checkpoint of a call.
#[derive(Default)]
pub(super) struct NextCheckpoint {
    pub(super) news: CheckpointNews,
    /// The pool has found out what it says.
    pub(super) ready: Option<Box<CallSnapshot>>,
}

impl NextCheckpoint {
    pub(super) fn note_news(&mut self) {
        if self.news == CheckpointNews::None {
            self.news = CheckpointNews::Some;
        }
    }

    /// A checkpoint was due and is made up for now.
    pub(super) fn take_overdue(&mut self) -> bool {
        let overdue = self.news == CheckpointNews::Overdue;
        if overdue {
            self.news = CheckpointNews::Some;
        }
        overdue
    }
}
