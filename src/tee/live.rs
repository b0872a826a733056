//! The calls of one network thread that run now, and the sweep that checkpoints them.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{MissedTickBehavior, interval};
use uuid::Uuid;

use super::call::Call;
use crate::ledger::Ledger;
use crate::usage::Progress;

/// How old a checkpoint may become: what a crash can lose of a call.
const CHECKPOINT_INTERVAL: Duration = Duration::from_secs(1);

/// Calls looked at before the thread serves its streams again: some 0.03 ms.
const SLICE_CALLS: usize = 16;

/// The calls that run on one network thread.
#[derive(Debug, Default)]
pub struct Live {
    state: Mutex<State>,
    /// Rung when a call is in a hurry.
    hurry: Notify,
}

#[derive(Debug, Default)]
struct State {
    places: Vec<Option<Arc<Call>>>,
    free: Vec<usize>,
    hurried: Vec<Arc<Call>>,
}

impl Live {
    /// Takes a call in; gives the place under which it leaves.
    pub(super) fn add(&self, call: Arc<Call>) -> usize {
        let mut state = self.lock();
        match state.free.pop() {
            Some(place) => {
                state.places[place] = Some(call);
                place
            }
            None => {
                state.places.push(Some(call));
                state.places.len() - 1
            }
        }
    }

    /// The call has settled.
    pub(super) fn remove(&self, place: usize) {
        let mut state = self.lock();
        if state.places.get_mut(place).and_then(Option::take).is_some() {
            state.free.push(place);
        }
    }

    /// No call runs.
    pub fn is_empty(&self) -> bool {
        let state = self.lock();
        state.places.len() == state.free.len()
    }

    /// Checkpoints this call as soon as the thread has served its streams; by then most calls that
    /// have seen their usage have settled, and cost nothing more.
    pub(super) fn hurry(&self, call: Arc<Call>) {
        self.lock().hurried.push(call);
        self.hurry.notify_one();
    }

    /// Checkpoints changed calls once a second and hurried ones at once, for ever.
    pub async fn sweep(self: Arc<Self>, ledger: Ledger) {
        let mut tick = interval(CHECKPOINT_INTERVAL);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let batch = tokio::select! {
                _ = tick.tick() => self.changed().await,
                () = self.hurry.notified() => self.hurried(),
            };
            if !batch.is_empty() {
                ledger.checkpoint(batch);
            }
        }
    }

    /// What all changed calls know, gathered slice by slice.
    pub(super) async fn changed(&self) -> Vec<(Uuid, Progress)> {
        let (mut batch, mut from) = (Vec::new(), 0);
        loop {
            let slice: Vec<Arc<Call>> = {
                let state = self.lock();
                let Some(rest) = state.places.get(from..).filter(|rest| !rest.is_empty()) else { break };
                rest.iter().take(SLICE_CALLS).flatten().cloned().collect()
            };
            batch.extend(slice.iter().filter_map(|call| call.checkpoint()));
            from += SLICE_CALLS;
            tokio::task::yield_now().await;
        }
        batch
    }

    pub(super) fn hurried(&self) -> Vec<(Uuid, Progress)> {
        let calls = std::mem::take(&mut self.lock().hurried);
        calls.iter().filter_map(|call| call.checkpoint()).collect()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
