//! The live sums of a process: behind a lock, with a clock.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use metering::usage::Settled;

use super::call::LiveCall;
use super::history::Gauges;
use super::recent::MissedCalls;
use super::sums::LiveSums;
use super::view::{LiveView, Points};

/// The live sums. Whoever adds to them waits for nobody but one who copies at most 500 lines, which takes some ten
/// microseconds, once a second.
#[derive(Debug)]
pub struct LiveFigures {
    began: Instant,
    sums: Mutex<LiveSums>,
    followers: AtomicUsize,
}

impl Default for LiveFigures {
    fn default() -> LiveFigures {
        LiveFigures { began: Instant::now(), sums: Mutex::default(), followers: AtomicUsize::new(0) }
    }
}

impl LiveFigures {
    /// Adds a call that has settled.
    pub fn settled(&self, settled: &Settled) {
        self.add(LiveCall::of(settled));
    }

    /// Adds a call that is over.
    pub fn add(&self, call: LiveCall) {
        let is_followed = self.followers.load(Ordering::Relaxed) > 0;
        self.lock().add(call, self.second(), is_followed);
    }

    /// Takes the numbers of this moment.
    pub fn sample(&self, gauges: Gauges) {
        self.lock().sample(gauges, self.second());
    }

    /// Whole seconds since the start.
    pub fn second(&self) -> u64 {
        self.began.elapsed().as_secs()
    }

    /// What is shown at this moment.
    pub fn view(&self, points: Points) -> LiveView {
        let second = self.second();
        let view = LiveView::copied(&self.lock(), points, second);
        view.sorted()
    }

    /// Begins to follow the calls: from now on they are kept until one comes for them.
    pub fn follow(self: &Arc<Self>) -> FollowGuard {
        self.followers.fetch_add(1, Ordering::Relaxed);
        let seen = self.lock().recent.begin();
        FollowGuard { figures: Arc::clone(self), seen }
    }

    fn lock(&self) -> MutexGuard<'_, LiveSums> {
        self.sums.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One who follows the calls.
#[derive(Debug)]
pub struct FollowGuard {
    figures: Arc<LiveFigures>,
    seen: u64,
}

impl FollowGuard {
    /// The calls since the last time, the last few at first, and how many are missed.
    pub fn take(&mut self) -> (Vec<LiveCall>, MissedCalls) {
        let (calls, missed, seen) = self.figures.lock().calls_after(self.seen);
        self.seen = seen;
        (calls, missed)
    }
}

impl Drop for FollowGuard {
    fn drop(&mut self) {
        if self.figures.followers.fetch_sub(1, Ordering::Relaxed) == 1 {
            self.figures.lock().recent.unfollowed();
        }
    }
}
