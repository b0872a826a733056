//! The handle of a publisher: it starts the thread, and stops it when what is committed is delivered or the
//! time is over.

use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::config::KafkaConfig;
use super::error::StartError;
use super::ledger_source::LedgerSource;
use super::source::EventSource;
use super::state::{DeliveryObserver, PublishStats, PublisherState, Watch};
use super::token::TokenCache;
use super::worker::Worker;
use crate::ledger::Ledger;

/// A running publisher. Dropped without [`Publisher::stop`], it ends at once; what was not
/// acknowledged stays in its outbox.
#[derive(Debug)]
pub struct Publisher {
    shared: Arc<PublisherState>,
    tokens: Option<Arc<TokenCache>>,
    thread: Option<JoinHandle<()>>,
}

impl Publisher {
    /// Starts publishing what the ledger commits, and what it holds undelivered. Does not wait for
    /// a broker.
    ///
    /// # Errors
    /// If the configuration is wrong or the ledger cannot be read.
    pub fn of_ledger(config: KafkaConfig, ledger: Ledger) -> Result<Publisher, StartError> {
        Publisher::start(config, LedgerSource::open(ledger)?, "tw-publish")
    }

    /// Starts publishing what is in an outbox and what comes into it, on a thread with a name. Does not wait for a
    /// broker.
    ///
    /// # Errors
    /// If the configuration is wrong, or the thread cannot be made.
    pub fn start(
        config: KafkaConfig,
        source: impl EventSource,
        thread_name: &str,
    ) -> Result<Publisher, StartError> {
        let errors = config.check();
        if !errors.is_empty() {
            return Err(StartError::Config(errors));
        }
        let shared = Arc::new(PublisherState::default());
        let refresher = config.refresher().map_err(StartError::Producer)?;
        let tokens = refresher.as_ref().map(|refresher| Arc::clone(&refresher.tokens));
        let worker = Worker::new(source, config, refresher, Arc::clone(&shared))?;
        let thread = std::thread::Builder::new()
            .name(thread_name.to_owned())
            .spawn(move || worker.run())
            .map_err(|error| StartError::Producer(error.to_string()))?;
        Ok(Publisher { shared, tokens, thread: Some(thread) })
    }

    /// Calls `observe` on the publisher's thread with the time from handing over each event to its
    /// acknowledgement, in whole milliseconds. The first observer wins; a second one is ignored.
    pub fn on_delivered(&self, observe: impl Fn(Duration) + Send + Sync + 'static) {
        let _ = self.shared.on_delivered.set(DeliveryObserver(Box::new(observe)));
    }

    /// The counters.
    pub fn stats(&self) -> PublishStats {
        self.watch().stats()
    }

    /// A view of the counters that may outlive the publisher.
    pub fn watch(&self) -> Watch {
        Watch { shared: Arc::clone(&self.shared), tokens: self.tokens.clone() }
    }

    /// Publishes what is committed by now, for at most `flush`, and ends. Returns how many events
    /// are left in the outbox. Call it after [`Ledger::finish`], so that the last control event
    /// goes too, and before [`Ledger::close`], which stores the last mark.
    pub fn stop(mut self, flush: Duration) -> u64 {
        self.end(flush);
        let stored = self.shared.stored.load(Ordering::Acquire);
        stored.saturating_sub(self.shared.mark.load(Ordering::Acquire))
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
