//! The counters of a publisher, and when it is to end: shared by the handle and the thread.

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use super::classify::ErrorClass;
use super::cluster::Broker;
use super::token::TokenCache;

/// Counters since start, for metrics.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PublishStats {
    /// Events handed to the producer, repeats included.
    pub sent: u64,
    /// Events handed over again after an error.
    pub resent: u64,
    /// Times that the producer was replaced.
    pub replaced: u64,
    /// Events handed over and not yet answered.
    pub in_flight: u64,
    /// Nothing has got through since the last error.
    pub backing_off: bool,
    /// Errors of events, in the order of [`ErrorClass::ALL`]. One event may have several.
    pub errors: [u64; ErrorClass::ALL.len()],
    /// Requests for a token that brought none.
    pub token_failures: u64,
    /// The broker has denied the login, and nothing has got through since.
    pub login_denied: bool,
    /// A broker answers: at most as old as the brokers below.
    pub reachable: bool,
    /// The brokers, as the client last saw them: every ten seconds, or `statistics.interval.ms`.
    pub brokers: Vec<Broker>,
}

/// The state that the handle and the thread share.
#[derive(Debug, Default)]
pub(super) struct PublisherState {
    pub(super) sent: AtomicU64,
    pub(super) resent: AtomicU64,
    pub(super) replaced: AtomicU64,
    pub(super) in_flight: AtomicU64,
    /// Everything up to here is delivered or refused.
    pub(super) mark: AtomicU64,
    /// The last event that is stored, as it was when the mark was saved.
    pub(super) stored: AtomicU64,
    pub(super) backing_off: AtomicBool,
    pub(super) login_denied: AtomicBool,
    pub(super) reachable: AtomicBool,
    pub(super) errors: [AtomicU64; ErrorClass::ALL.len()],
    pub(super) brokers: Mutex<Vec<Broker>>,
    pub(super) stop: Mutex<Option<Instant>>,
    pub(super) stopped: Condvar,
    pub(super) on_delivered: OnceLock<DeliveryObserver>,
}

/// Is told how long each event took from being handed over to being acknowledged.
pub(super) struct DeliveryObserver(pub(super) Box<dyn Fn(Duration) + Send + Sync>);

impl fmt::Debug for DeliveryObserver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("DeliveryObserver(..)")
    }
}

impl PublisherState {
    pub(super) fn delivered(&self, took: Duration) {
        if let Some(observer) = self.on_delivered.get() {
            (observer.0)(took);
        }
    }

    /// Until when to go on, once the end is asked for.
    pub(super) fn deadline(&self) -> Option<Instant> {
        *self.stop.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sleeps; less if the end is asked for.
    pub(super) fn sleep(&self, time: Duration) {
        let stop = self.stop.lock().unwrap_or_else(PoisonError::into_inner);
        drop(self.stopped.wait_timeout_while(stop, time, |stop| stop.is_none()));
    }
}

/// A view of a publisher's counters.
#[derive(Clone, Debug)]
pub struct Watch {
    pub(super) shared: Arc<PublisherState>,
    pub(super) tokens: Option<Arc<TokenCache>>,
}

impl Watch {
    /// The counters.
    pub fn stats(&self) -> PublishStats {
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        PublishStats {
            sent: of(&self.shared.sent),
            resent: of(&self.shared.resent),
            replaced: of(&self.shared.replaced),
            in_flight: of(&self.shared.in_flight),
            backing_off: self.shared.backing_off.load(Ordering::Relaxed),
            login_denied: self.shared.login_denied.load(Ordering::Relaxed),
            reachable: self.shared.reachable.load(Ordering::Relaxed),
            token_failures: self.tokens.as_ref().map_or(0, |tokens| tokens.failures()),
            errors: std::array::from_fn(|class| of(&self.shared.errors[class])),
            brokers: self.shared.brokers.lock().unwrap_or_else(PoisonError::into_inner).clone(),
        }
    }
}
