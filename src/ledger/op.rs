//! The news that goes through the queue to the writer, and the account of it that comes back with a commit.

use std::collections::VecDeque;
use std::sync::Arc;

use uuid::Uuid;

use super::bill::Bill;
use metering::usage::{Deferral, Progress, Settled, Usage};

/// One thing that happened to a call.
#[derive(Debug)]
pub(super) enum Op {
    /// The draft is the call's own: most calls are over before it has to be written.
    Open {
        id: Uuid,
        draft: Arc<Usage>,
    },
    Checkpoint(Vec<(Uuid, Progress)>),
    Settle(Box<Settled>, Option<Deferral>),
    /// Work was seen to be over. The slot is held for as long as it takes to find out whether that is news.
    Bill(Box<Bill>),
}

/// The operations and marks that the writer stores next.
#[derive(Debug, Default)]
pub(super) struct Pending {
    pub(super) ops: VecDeque<Op>,
    /// Everything up to here is delivered or refused; 0 if that has not changed.
    pub(super) mark: u64,
    pub(super) refused: Vec<(u64, String)>,
    /// Nothing more of any call will come: write the last control event.
    pub(super) finish: bool,
    /// Nothing at all will come.
    pub(super) stop: bool,
}

/// The calls and bills that a commit ends.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct EndedByCommit {
    /// Calls that ran.
    pub(super) calls: u64,
    /// Bills that were news.
    pub(super) billed: u64,
    /// Slots of both, and of bills that were none.
    pub(super) slots: usize,
}
