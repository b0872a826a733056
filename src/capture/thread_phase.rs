//! The phases of the end, which the handle and `tw-capture` tell each other.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// How far the thread is, in this order.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum ThreadPhase {
    #[default]
    Running,
    /// It is to store all that it has, and the last control event.
    Finishing,
    /// That is done; only what is delivered is noted.
    Finished,
    /// It is to note that for the last time.
    Closing,
    Ended,
}

/// A phase that both see. It never goes back.
#[derive(Debug, Default)]
pub(super) struct SharedPhase {
    phase: Mutex<ThreadPhase>,
    moved: Condvar,
}

impl SharedPhase {
    pub(super) fn get(&self) -> ThreadPhase {
        *self.lock()
    }

    pub(super) fn advance(&self, to: ThreadPhase) {
        let mut phase = self.lock();
        *phase = (*phase).max(to);
        self.moved.notify_all();
    }

    /// Waits until it has come so far. The thread comes to each phase in bounded time, also by a panic.
    pub(super) fn wait(&self, until: ThreadPhase) {
        let waited = self.moved.wait_while(self.lock(), |phase| *phase < until);
        drop(waited.unwrap_or_else(PoisonError::into_inner));
    }

    fn lock(&self) -> MutexGuard<'_, ThreadPhase> {
        self.phase.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
