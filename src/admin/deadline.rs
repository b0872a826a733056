//! Until when a connection may last.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// From its acceptance to its last byte a connection has so long, reading and writing included: Prometheus
/// gives up a scrape after ten seconds (`scrape_timeout`), a probe of Kubernetes after one. A stream of events has it
/// from one event to the next.
pub(super) const CONNECTION_TIMEOUT: Duration = Duration::from_secs(10);

/// The end of a connection. Clones are of the same connection.
#[derive(Clone, Debug)]
pub(super) struct Deadline(Arc<Mutex<Instant>>);

impl Deadline {
    /// The end of one that begins now.
    pub(super) fn from_now() -> Deadline {
        Deadline(Arc::new(Mutex::new(Instant::now() + CONNECTION_TIMEOUT)))
    }

    /// Begins anew.
    pub(super) fn extend(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now() + CONNECTION_TIMEOUT;
    }

    /// Waits for the end, wherever that has moved by then.
    pub(super) async fn over(&self) {
        loop {
            let at = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
            if at <= Instant::now() {
                return;
            }
            tokio::time::sleep_until(at.into()).await;
        }
    }
}
