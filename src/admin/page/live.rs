//! What the page is told: the figures and the health of this moment, as events.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use metering::names;
use serde::Serialize;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::telemetry::live::{FollowGuard, Gauges, Health, LiveFigures, MissedCalls, Points};

/// Pages and terminals that listen at once: a team that looks at the same incident.
pub(in crate::admin) const READERS_MAX: usize = 16;

/// Seconds that every view repeats: a reader that was a little late has them all.
pub(super) const POINTS_REPEATED: u64 = 5;

/// How often the numbers of a moment are taken for the plots.
const SAMPLE_EVERY: Duration = Duration::from_secs(1);

/// Finds out how the sidecar does. It must return at once.
type FindHealth = Box<dyn Fn() -> Health + Send + Sync>;

/// The live page of a sidecar.
pub struct LivePage {
    figures: Arc<LiveFigures>,
    health: FindHealth,
    /// The view that all readers get, and its second. It is made once, however many read.
    view: Mutex<Option<(u64, Bytes)>>,
    readers: Arc<Semaphore>,
}

impl LivePage {
    /// A page of these figures.
    pub fn new(figures: Arc<LiveFigures>, health: impl Fn() -> Health + Send + Sync + 'static) -> LivePage {
        let readers = Arc::new(Semaphore::new(READERS_MAX));
        LivePage { figures, health: Box::new(health), view: Mutex::default(), readers }
    }

    /// Takes the numbers of each second. Never ends.
    pub(in crate::admin) async fn sample(self: Arc<Self>) {
        let mut seconds = tokio::time::interval(SAMPLE_EVERY);
        loop {
            seconds.tick().await;
            let Health { streams, ledger, .. } = (self.health)();
            self.figures.sample(Gauges { streams, undelivered: ledger.undelivered });
            if self.readers.available_permits() == READERS_MAX {
                self.lock().take(); // nobody reads it
            }
        }
    }

    /// A place for one more reader, if there is one.
    pub(in crate::admin) fn place(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.readers).try_acquire_owned().ok()
    }

    /// Begins to follow the calls.
    pub(super) fn follow(&self) -> FollowGuard {
        self.figures.follow()
    }

    /// The number of this second.
    pub(super) fn second(&self) -> u64 {
        self.figures.second()
    }

    /// The view of this second, as an event.
    pub(super) fn view(&self, points: Points) -> Bytes {
        if points == Points::All {
            return self.made(points);
        }
        let second = self.figures.second();
        let mut kept = self.lock();
        match &*kept {
            Some((of, view)) if *of == second => view.clone(),
            _ => {
                let view = self.made(points);
                *kept = Some((second, view.clone()));
                view
            }
        }
    }

    fn made(&self, points: Points) -> Bytes {
        let mut view = self.figures.view(points);
        view.health = Some((self.health)());
        event("view", &view)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<(u64, Bytes)>> {
        self.view.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for LivePage {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("LivePage").field("figures", &self.figures).finish_non_exhaustive()
    }
}

/// The calls that ended since the last time, as events; `None`: there are none.
pub(super) fn calls(follower: &mut FollowGuard) -> Option<Bytes> {
    let (calls, MissedCalls(missed)) = follower.take();
    let told = (missed > 0).then(|| event("missed", &missed));
    let events: Vec<Bytes> = told.into_iter().chain(calls.iter().map(|call| event("call", call))).collect();
    (!events.is_empty()).then(|| events.concat().into())
}

/// One server-sent event. JSON has no line end, and nothing hidden for whoever reads it in a terminal.
fn event(name: &str, data: &impl Serialize) -> Bytes {
    let json = serde_json::to_string(data).unwrap_or_default();
    format!("event: {name}\ndata: {}\n\n", names::json(&json)).into()
}
