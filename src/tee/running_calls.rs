//! The calls that run on one network thread, and the sweep that checkpoints them.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use metering::usage::Progress;
use smol_str::SmolStr;
use tokio::sync::Notify;
use tokio::time::sleep_until;
use uuid::Uuid;

use crate::ledger::Ledger;
use crate::pool::Task;

/// How old a checkpoint may become, with the ledger's commit a quarter of a second: a crash loses no more of a call.
const CHECKPOINT_INTERVAL: Duration = Duration::from_millis(225);

/// Up to so many calls on a thread are checkpointed that often; the interval grows in proportion with more of them,
/// so that checkpoints never take more than three hundredths of a core.
const CHECKPOINTED_CALLS: usize = 2_000;

/// How long a call is open before its prompt is counted, needed or not: most are over by then.
const OPEN_FOR: Duration = Duration::from_secs(1);

/// How often calls that have become so old are looked for, and how long counts of their prompts wait to
/// be checkpointed together. A count takes twice this and a commit to be on record, beside
/// itself: 1.3 s after the call began, if no response waits for the pool.
const BEAT: Duration = Duration::from_millis(100);

/// Calls looked at before the thread serves its streams again: some 0.03 ms.
const SLICE_CALLS: usize = 16;

/// Slots of calls looked at in the same time: those of short calls are free again.
const SLICE_SLOTS: usize = 256;

/// Calls begun in the last second that are remembered: three times what a thread can carry. Of one that is
/// not, the prompt is counted if it is needed.
const YOUNG_MAX: usize = 65_536;

/// A running call, as those see it who work for it: the pool, the settling thread, and the sweep. Its [`Task`] is
/// the pool's work for its response and its prompt.
pub(super) trait RunningCall: Task {
    /// When its request's head had arrived.
    fn began(&self) -> Instant;

    /// Its identifier and what is known of it, if there is news since the last time.
    fn checkpoint(&self) -> Option<(Uuid, Progress)>;

    /// It has been open for long: its prompt is counted early.
    fn come_of_age(&self);

    /// Makes up for an early count that could not be made when it was due.
    fn consider_overdue_count(&self);

    /// Counts its prompt early, by a model's rules.
    fn count_early(&self, model: SmolStr);

    /// Does what follows the end of the call, unless the pool has to do it.
    fn conclude(&self);
}

type SharedCall = Arc<dyn RunningCall>;

/// The calls that run on one network thread.
#[derive(Default)]
pub struct RunningCalls {
    lists: Mutex<Lists>,
    /// Notified when a checkpoint is expedited, and when a first prompt was counted.
    wake: Notify,
}

#[derive(Default)]
struct Lists {
    /// Every open call, at its index.
    slots: Vec<Option<SharedCall>>,
    /// Indexes of free slots.
    free: Vec<usize>,
    expedited: Vec<SharedCall>,
    /// When each call of the last second began, and its index.
    young: VecDeque<(Instant, usize)>,
    /// Calls that are checkpointed at the next beat, since their prompts were counted.
    at_beat: Vec<SharedCall>,
}

impl RunningCalls {
    /// Takes a call in; gives the index under which it leaves.
    pub(super) fn add(&self, call: SharedCall) -> usize {
        let (mut lists, began) = (self.lock(), call.began());
        let index = match lists.free.pop() {
            Some(index) => {
                debug_assert!(lists.slots[index].is_none(), "a free slot holds no call");
                lists.slots[index] = Some(call);
                index
            }
            None => {
                lists.slots.push(Some(call));
                lists.slots.len() - 1
            }
        };
        if lists.young.len() < YOUNG_MAX {
            lists.young.push_back((began, index));
        }
        index
    }

    /// The call has settled.
    pub(super) fn remove(&self, index: usize) {
        let mut lists = self.lock();
        if lists.slots.get_mut(index).and_then(Option::take).is_some() {
            lists.free.push(index);
        }
        debug_assert!(lists.free.len() <= lists.slots.len(), "no slot is free twice");
    }

    /// No call runs.
    pub fn is_empty(&self) -> bool {
        let lists = self.lock();
        lists.slots.len() == lists.free.len()
    }

    /// Checkpoints this call as soon as the thread has served its streams; by then most calls that
    /// have seen their usage have settled, and cost nothing more.
    pub(super) fn expedite(&self, call: SharedCall) {
        self.lock().expedited.push(call);
        self.wake.notify_one();
    }

    /// Checkpoints this call at the next beat.
    pub(super) fn checkpoint_at_beat(&self, call: SharedCall) {
        let mut lists = self.lock();
        lists.at_beat.push(call);
        if lists.at_beat.len() == 1 {
            self.wake.notify_one();
        }
    }

    /// Checkpoints changed calls some times a second and expedited ones at once, and has the prompts of calls
    /// counted that are open for long. Never ends.
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
                        all_at = Instant::now() + self.checkpoint_interval();
                        changed
                    } else {
                        self.at_beat().await
                    }
                }
                () = self.wake.notified() => self.expedited(),
            };
            if !batch.is_empty() {
                ledger.checkpoint(batch);
            }
        }
    }

    /// Until the changed calls are checkpointed again.
    fn checkpoint_interval(&self) -> Duration {
        let lists = self.lock();
        let calls = lists.slots.len() - lists.free.len();
        CHECKPOINT_INTERVAL.mul_f64((calls as f64 / CHECKPOINTED_CALLS as f64).max(1.0))
    }

    /// When there is something to do for calls that are open for long, not before `beat_at`.
    fn beat(&self, beat_at: Instant) -> Option<Instant> {
        let lists = self.lock();
        let counted = (!lists.at_beat.is_empty()).then_some(beat_at);
        let oldest = lists.young.front().map(|(began, _)| beat_at.max(*began + OPEN_FOR));
        counted.or(oldest)
    }

    /// Has the prompts of calls counted that are open for long by now.
    pub(super) async fn come_of_age(&self, now: Instant) {
        while let Some(calls) = self.of_age(now) {
            calls.iter().for_each(|call| call.come_of_age());
            tokio::task::yield_now().await;
        }
    }

    /// Some of the calls that are open for long and were not by the last time. `None`: there are no more.
    fn of_age(&self, now: Instant) -> Option<Vec<SharedCall>> {
        let mut lists = self.lock();
        let (mut calls, mut looked_at) = (Vec::new(), 0);
        while looked_at < SLICE_SLOTS
            && calls.len() < SLICE_CALLS
            && let Some((began, index)) = lists.young.pop_front_if(|young| young.0 + OPEN_FOR <= now)
        {
            // The slot may be another call's by now.
            let call = lists.slots[index].as_ref().filter(|call| call.began() == began);
            calls.extend(call.cloned());
            looked_at += 1;
        }
        (looked_at > 0).then_some(calls)
    }

    /// The checkpoints of calls whose prompts were counted, gathered slice by slice.
    pub(super) async fn at_beat(&self) -> Vec<(Uuid, Progress)> {
        let (calls, mut batch) = (std::mem::take(&mut self.lock().at_beat), Vec::new());
        for slice in calls.chunks(SLICE_CALLS) {
            batch.extend(slice.iter().filter_map(|call| call.checkpoint()));
            tokio::task::yield_now().await;
        }
        batch
    }

    /// The checkpoints of all calls that have news, gathered slice by slice.
    pub(super) async fn changed(&self) -> Vec<(Uuid, Progress)> {
        let (mut batch, mut from) = (Vec::new(), 0);
        loop {
            let slice: Vec<SharedCall> = {
                let lists = self.lock();
                let Some(rest) = lists.slots.get(from..).filter(|rest| !rest.is_empty()) else { break };
                rest.iter().take(SLICE_CALLS).flatten().cloned().collect()
            };
            for call in slice {
                call.consider_overdue_count();
                batch.extend(call.checkpoint());
            }
            from += SLICE_CALLS;
            tokio::task::yield_now().await;
        }
        batch
    }

    /// The checkpoints of calls that are expedited.
    pub(super) fn expedited(&self) -> Vec<(Uuid, Progress)> {
        let calls = std::mem::take(&mut self.lock().expedited);
        calls.iter().filter_map(|call| call.checkpoint()).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Lists> {
        self.lists.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for RunningCalls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let lists = self.lock();
        f.debug_struct("RunningCalls")
            .field("running", &(lists.slots.len() - lists.free.len()))
            .finish_non_exhaustive()
    }
}
