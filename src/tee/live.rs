//! The calls of one network thread that run now, and the sweep that checkpoints them.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::Notify;
use tokio::time::sleep_until;
use uuid::Uuid;

use super::call::Call;
use crate::ledger::Ledger;
use metering::usage::Progress;

/// How old a checkpoint may become: what a crash can lose of a call.
const CHECKPOINT_INTERVAL: Duration = Duration::from_secs(1);

/// How long a call is open before its prompt is counted, needed or not: most are over by then.
const OPEN_FOR: Duration = Duration::from_secs(1);

/// How often calls that have become so old are looked for, and how long counts of their prompts wait to
/// be checkpointed together. Twice this and a commit are what a count takes to be on record, beside
/// itself: 1.3 s after the call began, if no answer waits for the pool.
const BEAT: Duration = Duration::from_millis(100);

/// Calls looked at before the thread serves its streams again: some 0.03 ms.
const SLICE_CALLS: usize = 16;

/// Places of calls looked at in the same time: of short calls all are free again.
const SLICE_PLACES: usize = 256;

/// Calls begun in the last second that are remembered: three times what a thread can carry. Of one that is
/// not, the prompt is counted if it is needed.
const YOUNG_MAX: usize = 65_536;

/// The calls that run on one network thread.
#[derive(Debug, Default)]
pub struct Live {
    state: Mutex<State>,
    /// Rung when a call is in a hurry, and when a first prompt was counted.
    hurry: Notify,
}

#[derive(Debug, Default)]
struct State {
    places: Vec<Option<Arc<Call>>>,
    free: Vec<usize>,
    hurried: Vec<Arc<Call>>,
    /// When each call of the last second began, and its place.
    young: VecDeque<(Instant, usize)>,
    /// Calls whose prompts were counted.
    counted: Vec<Arc<Call>>,
}

impl Live {
    /// Takes a call in; gives the place under which it leaves.
    pub(super) fn add(&self, call: Arc<Call>) -> usize {
        let (mut state, began) = (self.lock(), call.began);
        let place = match state.free.pop() {
            Some(place) => {
                state.places[place] = Some(call);
                place
            }
            None => {
                state.places.push(Some(call));
                state.places.len() - 1
            }
        };
        if state.young.len() < YOUNG_MAX {
            state.young.push_back((began, place));
        }
        place
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

    /// Checkpoints this call, whose prompt was counted, at the next beat.
    pub(super) fn counted(&self, call: Arc<Call>) {
        let mut state = self.lock();
        state.counted.push(call);
        if state.counted.len() == 1 {
            self.hurry.notify_one();
        }
    }

    /// Checkpoints changed calls once a second and hurried ones at once, and has the prompts of calls
    /// counted that are open for long, for ever.
    pub async fn sweep(self: Arc<Self>, ledger: Ledger) {
        let (mut all_at, mut beat_at) = (Instant::now() + CHECKPOINT_INTERVAL, Instant::now());
        let mut wake = std::pin::pin!(sleep_until(all_at.into()));
        loop {
            let at = self.beat(beat_at).map_or(all_at, |beat| beat.min(all_at));
            if wake.deadline() != at.into() {
                wake.as_mut().reset(at.into());
            }
            let batch = tokio::select! {
                () = wake.as_mut() => {
                    let now = Instant::now();
                    beat_at = now + BEAT;
                    self.come_of_age(now).await;
                    if now >= all_at {
                        let changed = self.changed().await;
                        all_at = Instant::now() + CHECKPOINT_INTERVAL;
                        changed
                    } else {
                        self.with_counts().await
                    }
                }
                () = self.hurry.notified() => self.hurried(),
            };
            if !batch.is_empty() {
                ledger.checkpoint(batch);
            }
        }
    }

    /// When there is something to do for calls that are open for long, not before `beat_at`.
    fn beat(&self, beat_at: Instant) -> Option<Instant> {
        let state = self.lock();
        let counted = (!state.counted.is_empty()).then_some(beat_at);
        let oldest = state.young.front().map(|(began, _)| beat_at.max(*began + OPEN_FOR));
        counted.or(oldest)
    }

    /// Has the prompts of calls counted that are open for long by now.
    pub(super) async fn come_of_age(&self, now: Instant) {
        while let Some(calls) = self.of_age(now) {
            calls.iter().for_each(Call::come_of_age);
            tokio::task::yield_now().await;
        }
    }

    /// Some of the calls that are open for long and were not by the last time. `None`: there are no more.
    fn of_age(&self, now: Instant) -> Option<Vec<Arc<Call>>> {
        let mut state = self.lock();
        let (mut calls, mut looked_at) = (Vec::new(), 0);
        while looked_at < SLICE_PLACES
            && calls.len() < SLICE_CALLS
            && let Some((began, place)) = state.young.pop_front_if(|young| young.0 + OPEN_FOR <= now)
        {
            // The place may be another call's by now.
            let call = state.places[place].as_ref().filter(|call| call.began == began);
            calls.extend(call.cloned());
            looked_at += 1;
        }
        (looked_at > 0).then_some(calls)
    }

    /// What calls know whose prompts were counted, gathered slice by slice.
    pub(super) async fn with_counts(&self) -> Vec<(Uuid, Progress)> {
        let (calls, mut batch) = (std::mem::take(&mut self.lock().counted), Vec::new());
        for slice in calls.chunks(SLICE_CALLS) {
            batch.extend(slice.iter().filter_map(Call::checkpoint));
            tokio::task::yield_now().await;
        }
        batch
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
            for call in slice {
                call.consider_due();
                batch.extend(call.checkpoint());
            }
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
