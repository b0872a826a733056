//! The gates through which calls begin, and the counts that the proof starts from.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::open_streams::OpenStreams;

/// A caller looks so often whether a door has opened.
pub(super) const DOOR_POLL: Duration = Duration::from_millis(50);

/// One sidecar, as callers see it: open at an address, or shut.
#[derive(Debug, Default)]
pub(super) struct TrafficGate(Mutex<GateState>);

#[derive(Debug, Default)]
struct GateState {
    addr: Option<SocketAddr>,
    /// Rises when the sidecar behind the door is killed.
    generation: u64,
    begun: u64,
}

/// Leave to begin one call.
#[derive(Clone, Copy, Debug)]
pub(super) struct TrafficPass {
    pub(super) addr: SocketAddr,
    generation: u64,
}

impl TrafficGate {
    /// Counts a call and lets it begin; `None` while the door is shut.
    pub(super) fn enter(&self) -> Option<TrafficPass> {
        let mut state = self.state();
        let addr = state.addr?;
        state.begun += 1;
        Some(TrafficPass { addr, generation: state.generation })
    }

    /// Counts a response of a session that is held already; `false` while the door is shut, or for ever if the
    /// session's sidecar was killed.
    pub(super) fn enter_again(&self, pass: TrafficPass) -> bool {
        let mut state = self.state();
        let enters = state.addr.is_some() && state.generation == pass.generation;
        state.begun += u64::from(enters);
        enters
    }

    /// Leave to look at work that has been counted; `None` while the door is shut.
    pub(super) fn pass(&self) -> Option<TrafficPass> {
        let state = self.state();
        Some(TrafficPass { addr: state.addr?, generation: state.generation })
    }

    /// Counts the bill of such work, which one look has shown.
    pub(super) fn count_bill(&self) {
        self.state().begun += 1;
    }

    pub(super) fn open(&self, addr: SocketAddr) {
        self.state().addr = Some(addr);
    }

    /// No call begins after this returns.
    pub(super) fn shut(&self) {
        self.state().addr = None;
    }

    /// Says that calls which are under way will break, and not by a fault of the sidecar.
    pub(super) fn about_to_be_killed(&self) {
        self.state().generation += 1;
    }

    /// The sidecar that this call went to is the one that was killed.
    pub(super) fn was_killed(&self, pass: TrafficPass) -> bool {
        self.state().generation != pass.generation
    }

    /// Calls begun, with the responses of sessions, and bills seen: of each the ledger has one event.
    pub(super) fn begun(&self) -> u64 {
        self.state().begun
    }

    fn state(&self) -> MutexGuard<'_, GateState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The state that callers share.
#[derive(Debug, Default)]
pub(super) struct Traffic {
    /// The sidecar of this process, then the one that is killed.
    pub(super) doors: [TrafficGate; 2],
    /// Calls whose client is still reading.
    pub(super) open: AtomicU64,
    /// Those of them that somebody may hang up.
    pub(super) streams: OpenStreams,
    /// Calls that a sidecar harmed: broken without reason, or ended short.
    pub(super) harmed: AtomicU64,
    /// Callers begin no more calls.
    pub(super) over: AtomicBool,
}

impl Traffic {
    /// Events that have been caused so far, through both doors.
    pub(super) fn sent(&self) -> u64 {
        self.doors.iter().map(TrafficGate::begun).sum()
    }

    /// Leave to begin a call through the door of this turn, or else through the other one; with its place.
    pub(super) fn enter(&self, turn: usize) -> Option<(usize, TrafficPass)> {
        (turn..turn + self.doors.len())
            .map(|door| door % self.doors.len())
            .find_map(|door| Some((door, self.doors.get(door)?.enter()?)))
    }

    pub(super) fn is_over(&self) -> bool {
        self.over.load(Ordering::SeqCst)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shut_door_counts_nothing() {
        let door = TrafficGate::default();
        assert!(door.enter().is_none());
        door.open(([127, 0, 0, 1], 1).into());
        let pass = door.enter().unwrap();
        door.shut();
        assert!(door.enter().is_none());
        assert_eq!(door.begun(), 1);
        assert!(!door.was_killed(pass));
        door.about_to_be_killed();
        assert!(door.was_killed(pass));
    }

    #[test]
    fn responses_and_bills_count_like_calls() {
        let door = TrafficGate::default();
        door.open(([127, 0, 0, 1], 1).into());
        let pass = door.enter().unwrap();
        assert!(door.enter_again(pass));
        door.shut();
        assert!(!door.enter_again(pass) && door.pass().is_none(), "nothing begins");
        door.count_bill();
        assert_eq!(door.begun(), 3, "what was begun may still be billed");
        door.about_to_be_killed();
        door.open(([127, 0, 0, 1], 2).into());
        assert!(!door.enter_again(pass), "the session is dead");
        assert_eq!((door.begun(), door.was_killed(door.pass().unwrap())), (3, false));
    }
}
