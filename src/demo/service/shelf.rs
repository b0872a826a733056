//! The responses that the service makes in the background, until the demo is over.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::demo::fixtures::{Fixture, Fixtures};
use crate::demo::work;

/// Responses by their ids: one entry for each of the demo, which its duration bounds.
#[derive(Debug, Default)]
pub(super) struct WorkShelf(Mutex<HashMap<String, ShelvedWork>>);

#[derive(Debug)]
struct ShelvedWork {
    fixture: String,
    /// Unix seconds.
    created: i64,
    done_at: Instant,
    was_seen_done: bool,
}

/// A look at some work.
#[derive(Debug)]
pub(super) struct WorkLook {
    pub(super) response: Value,
    /// It is the first that shows the bill.
    pub(super) is_bill: bool,
}

impl WorkShelf {
    /// Begins work that takes so long, and says what is told of it at once.
    pub(super) fn begin(&self, fixture: &Fixture, call: u64, created: i64, takes: Duration) -> Value {
        let id = format!("resp_{}_{call:06}", fixture.name);
        let response = work::response(fixture, &id, created, false);
        let done_at = Instant::now() + takes;
        let shelved = ShelvedWork { fixture: fixture.name.clone(), created, done_at, was_seen_done: false };
        self.lock().insert(id, shelved);
        response
    }

    /// How far the work is; `None`: there is none of this id.
    pub(super) fn look(&self, id: &str, fixtures: &Fixtures) -> Option<WorkLook> {
        let mut shelf = self.lock();
        let shelved = shelf.get_mut(id)?;
        let is_done = shelved.done_at <= Instant::now();
        let is_bill = is_done && !std::mem::replace(&mut shelved.was_seen_done, is_done);
        let fixture = fixtures.named(&shelved.fixture)?;
        Some(WorkLook { response: work::response(fixture, id, shelved.created, is_done), is_bill })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, ShelvedWork>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
