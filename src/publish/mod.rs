//! From the ledger to the topic.
//!
//! One thread (`tw-publish`) reads committed events in order, hands them to an idempotent producer,
//! and moves the ledger's mark only past a contiguous prefix of acknowledged ones. Every event may
//! arrive more than once, always with the same bytes; readers drop repeats by (`source`, `id`).
//!
//! | file | idea |
//! |---|---|
//! | `brokers` | what can be seen of their addresses |
//! | `auth` | how to prove who we are, and what can be wrong with it |
//! | `config` | where to publish and how, and the values that keep the promise |
//! | `properties` | which librdkafka properties the user may set |
//! | `transport` | those of them that decide who can listen, and who can pass for a broker |
//! | `secret` | a secret that may be replaced while the process runs |
//! | `connection_string` | what can be seen of one before the broker denies it |
//! | `login` | a new client for a new secret or token |
//! | `token` | tokens of Entra ID, kept fresh by a thread of their own |
//! | `tracker` | which positions are sent, acknowledged, to be sent again |
//! | `classify` | what an error of the broker calls for |
//! | `pace` | how much to send, and when to try again |
//! | `cluster` | the brokers, as the client's statistics show them |
//! | `context` | what librdkafka tells and asks about a connection |
//! | `link` | one producer, and what it reports |
//! | `probe` | whether a new connection gets an answer while the old one says nothing |
//! | `worker` | the loop, and what an answer means |
//! | `send` | what is sent next |

mod auth;
mod brokers;
mod classify;
mod cluster;
mod config;
mod connection_string;
mod context;
mod link;
mod login;
mod pace;
mod probe;
mod properties;
mod secret;
mod send;
mod token;
mod tracker;
mod transport;
mod worker;

use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, OnceLock, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::ledger::{Ledger, ReadError};
use token::Tokens;
use worker::Worker;

pub use auth::Auth;
pub use classify::Class;
pub use cluster::Broker;
pub use config::{Config, ConfigError};
pub use context::Context;
pub use secret::Secret;
pub use token::TokenSource;

/// Why publishing cannot begin. An unreachable broker is no reason: events wait in the ledger.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The configuration is wrong; every error is listed.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Config(Vec<ConfigError>),
    /// The ledger cannot be read.
    #[error("the ledger cannot be read: {0}")]
    Ledger(#[from] ReadError),
    /// The thread or the producer could not be made.
    #[error("the publisher cannot start: {0}")]
    Producer(String),
}

/// Counters since start, for metrics.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Stats {
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
    /// Errors of events, in the order of [`Class::ALL`]. One event may have several.
    pub errors: [u64; Class::ALL.len()],
    /// Requests for a token that brought none.
    pub token_failures: u64,
    /// The broker has denied the login, and nothing has got through since.
    pub login_denied: bool,
    /// The brokers, as the client last saw them: every ten seconds, or `statistics.interval.ms`.
    pub brokers: Vec<Broker>,
}

/// What the handle and the thread share.
#[derive(Debug, Default)]
struct Shared {
    sent: AtomicU64,
    resent: AtomicU64,
    replaced: AtomicU64,
    in_flight: AtomicU64,
    /// Everything up to here is delivered or refused.
    mark: AtomicU64,
    backing_off: AtomicBool,
    login_denied: AtomicBool,
    errors: [AtomicU64; Class::ALL.len()],
    brokers: Mutex<Vec<Broker>>,
    stop: Mutex<Option<Instant>>,
    stopped: Condvar,
    on_delivered: OnceLock<Observer>,
}

/// Is told how long each event took from being handed over to being acknowledged.
struct Observer(Box<dyn Fn(Duration) + Send + Sync>);

impl fmt::Debug for Observer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Observer(..)")
    }
}

impl Shared {
    fn delivered(&self, took: Duration) {
        if let Some(observer) = self.on_delivered.get() {
            (observer.0)(took);
        }
    }

    /// Until when to go on, once somebody wants an end.
    fn deadline(&self) -> Option<Instant> {
        *self.stop.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sleeps; less if somebody wants an end.
    fn sleep(&self, time: Duration) {
        let stop = self.stop.lock().unwrap_or_else(PoisonError::into_inner);
        drop(self.stopped.wait_timeout_while(stop, time, |stop| stop.is_none()));
    }
}

/// A view of a publisher's counters.
#[derive(Clone, Debug)]
pub struct Watch {
    shared: Arc<Shared>,
    tokens: Option<Arc<Tokens>>,
}

impl Watch {
    /// The counters.
    pub fn stats(&self) -> Stats {
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Stats {
            sent: of(&self.shared.sent),
            resent: of(&self.shared.resent),
            replaced: of(&self.shared.replaced),
            in_flight: of(&self.shared.in_flight),
            backing_off: self.shared.backing_off.load(Ordering::Relaxed),
            login_denied: self.shared.login_denied.load(Ordering::Relaxed),
            token_failures: self.tokens.as_ref().map_or(0, |tokens| tokens.failures()),
            errors: std::array::from_fn(|class| of(&self.shared.errors[class])),
            brokers: self.shared.brokers.lock().unwrap_or_else(PoisonError::into_inner).clone(),
        }
    }
}

/// A running publisher. Dropped without [`Publisher::stop`], it ends at once; what was not
/// acknowledged stays in the ledger.
#[derive(Debug)]
pub struct Publisher {
    ledger: Ledger,
    shared: Arc<Shared>,
    tokens: Option<Arc<Tokens>>,
    thread: Option<JoinHandle<()>>,
}

impl Publisher {
    /// Starts publishing what the ledger commits, and what it holds undelivered. Does not wait for
    /// a broker.
    ///
    /// # Errors
    /// If the configuration is wrong or the ledger cannot be read.
    pub fn start(config: Config, ledger: Ledger) -> Result<Publisher, StartError> {
        let errors = config.check();
        if !errors.is_empty() {
            return Err(StartError::Config(errors));
        }
        let shared = Arc::new(Shared::default());
        let keeper = config.keeper().map_err(StartError::Producer)?;
        let tokens = keeper.as_ref().map(|keeper| Arc::clone(&keeper.tokens));
        let worker = Worker::new(ledger.clone(), config, keeper, Arc::clone(&shared))?;
        let thread = std::thread::Builder::new()
            .name("tw-publish".to_owned())
            .spawn(move || worker.run())
            .map_err(|error| StartError::Producer(error.to_string()))?;
        Ok(Publisher { ledger, shared, tokens, thread: Some(thread) })
    }

    /// Calls `observe` on the publisher's thread with the time from handing over each event to its
    /// acknowledgement, in whole milliseconds. The first observer wins; a second one is ignored.
    pub fn on_delivered(&self, observe: impl Fn(Duration) + Send + Sync + 'static) {
        let _ = self.shared.on_delivered.set(Observer(Box::new(observe)));
    }

    /// The counters.
    pub fn stats(&self) -> Stats {
        self.watch().stats()
    }

    /// A view of the counters that may outlive the publisher.
    pub fn watch(&self) -> Watch {
        Watch { shared: Arc::clone(&self.shared), tokens: self.tokens.clone() }
    }

    /// Publishes what is committed by now, for at most `flush`, and ends. Returns how many events
    /// are left in the ledger. Call it after [`Ledger::finish`], so that the last control event
    /// goes too, and before [`Ledger::close`], which stores the last mark.
    pub fn stop(mut self, flush: Duration) -> u64 {
        self.end(flush);
        let committed = self.ledger.wait_committed(u64::MAX, Duration::ZERO);
        committed.saturating_sub(self.shared.mark.load(Ordering::Acquire))
    }

    fn end(&mut self, flush: Duration) {
        let deadline = Instant::now() + flush;
        *self.shared.stop.lock().unwrap_or_else(PoisonError::into_inner) = Some(deadline);
        self.shared.stopped.notify_all();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the publisher panicked");
        }
    }
}

impl Drop for Publisher {
    fn drop(&mut self) {
        if self.thread.is_some() {
            self.end(Duration::ZERO);
        }
    }
}
