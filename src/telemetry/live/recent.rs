//! The calls that ended last: those that were cut short, and those that somebody follows.

use std::collections::VecDeque;

use super::call::LiveCall;

/// Calls that were cut short and are kept: what fits a screen.
pub(super) const INTERRUPTED_MAX: usize = 20;

/// Calls that are kept although nobody follows, to begin with: as many as `tail` shows of a file.
pub(super) const RECENT_MAX: usize = 10;

/// Calls that are kept for those who follow, who come four times a second: those of a quarter second at 16,000 a
/// second, some 1.5 MB.
pub(super) const FOLLOWED_MAX: usize = 4_096;

/// Calls that ended while nobody came for them, beyond the 4,096 that are kept for who comes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MissedCalls(pub u64);

/// The calls that ended last.
#[derive(Debug, Default)]
pub(super) struct RecentCalls {
    all: VecDeque<LiveCall>,
    /// Calls that ended so far, which numbers them.
    ended: u64,
    interrupted: VecDeque<LiveCall>,
}

impl RecentCalls {
    pub(super) fn add(&mut self, call: LiveCall, is_followed: bool) {
        if call.is_interrupted() {
            self.interrupted.push_front(call.clone());
            self.interrupted.truncate(INTERRUPTED_MAX);
        }
        self.all.push_back(call);
        self.ended += 1;
        let max = if is_followed { FOLLOWED_MAX } else { RECENT_MAX };
        while self.all.len() > max {
            self.all.pop_front();
        }
    }

    /// Gives back the room of those who followed.
    pub(super) fn unfollowed(&mut self) {
        let surplus = self.all.len().saturating_sub(RECENT_MAX);
        self.all.drain(..surplus);
        self.all.shrink_to(RECENT_MAX);
    }

    /// The last calls that were cut short, the newest first.
    pub(super) fn interrupted(&self) -> impl Iterator<Item = &LiveCall> {
        self.interrupted.iter()
    }

    /// The number from which one begins to follow, with the last few.
    pub(super) fn begin(&self) -> u64 {
        self.ended - (self.all.len().min(RECENT_MAX)) as u64
    }

    /// The calls after so many, how many of these are gone, and how many ended so far.
    pub(super) fn after(&self, seen: u64) -> (Vec<LiveCall>, MissedCalls, u64) {
        let kept_from = self.ended - self.all.len() as u64;
        let missed = MissedCalls(kept_from.saturating_sub(seen));
        let skip = usize::try_from(seen.saturating_sub(kept_from)).unwrap_or(usize::MAX);
        (self.all.iter().skip(skip).cloned().collect(), missed, self.ended)
    }
}
