//! The callbacks of a Kafka client: librdkafka complains, says that it could not log in, and asks for
//! tokens.

use std::error::Error;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::client::{ClientContext, OAuthToken};
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::ConsumerContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};
use rdkafka::statistics::Statistics;

use super::cluster::{self, Broker, FailedConnections};
use super::token::TokenRefresher;

/// How often librdkafka's own complaints are worth a line: it repeats them at every reconnect.
const SAY_EVERY: Duration = Duration::from_secs(10);

/// The callbacks of one client. They run on librdkafka's threads and never wait.
#[derive(Debug)]
pub struct Context {
    refresher: Option<Arc<TokenRefresher>>,
    said: Mutex<Option<Instant>>,
    /// The client's last complaint, in its words.
    complaint: Mutex<Option<String>>,
    /// The token that the client has: its number, or one of the two below.
    given: AtomicU64,
    denied: AtomicBool,
    /// The client's latest statistics of the brokers, until the worker takes them.
    brokers: Mutex<Option<Vec<Broker>>>,
    /// Connections that never came to work, until the worker takes them, ..
    failures: AtomicU64,
    /// .. and what they are counted by.
    failed: Mutex<FailedConnections>,
    /// A broker answers, as far as the client knows.
    reachable: AtomicBool,
}

/// The client has not asked for a token.
const NOT_ASKED: u64 = u64::MAX;

/// The client asked in vain.
const IN_VAIN: u64 = 0;

impl Context {
    /// The callbacks of a client; `refresher` has the tokens, if it needs any.
    pub(super) fn new(refresher: Option<Arc<TokenRefresher>>) -> Context {
        let given = AtomicU64::new(NOT_ASKED);
        let (said, complaint, denied, brokers) = Default::default();
        let (failures, failed, reachable) = Default::default();
        Context { refresher, said, complaint, given, denied, brokers, failures, failed, reachable }
    }

    /// Whether the client has been given a token.
    pub(super) fn has_token(&self) -> bool {
        ![NOT_ASKED, IN_VAIN].contains(&self.given.load(Ordering::Relaxed))
    }

    /// Whether the broker has denied a login, and nothing has got through since.
    pub fn is_denied(&self) -> bool {
        self.denied.load(Ordering::Relaxed)
    }

    /// Something got through.
    pub(super) fn admitted(&self) {
        self.denied.store(false, Ordering::Relaxed);
        self.reachable.store(true, Ordering::Relaxed);
    }

    /// Whether a broker answers, as far as the client knows.
    pub(super) fn is_reachable(&self) -> bool {
        self.reachable.load(Ordering::Relaxed)
    }

    /// Connections that failed since the last time.
    pub(super) fn take_failures(&self) -> u64 {
        self.failures.swap(0, Ordering::Relaxed)
    }

    /// Whether there is a token that the client should have: it asked in vain, or the broker denies
    /// the one it has. By itself it asks again after ten seconds or at its token's end only; a new
    /// client asks at once. A token that is denied is fetched anew meanwhile.
    pub(super) fn misses_token(&self) -> bool {
        let Some(refresher) = &self.refresher else { return false };
        let given = self.given.load(Ordering::Relaxed);
        let denied = self.is_denied();
        if denied {
            refresher.tokens.denied(given);
        }
        let other = refresher.tokens.number().is_some_and(|number| number != given);
        other && (given == IN_VAIN || denied && given != NOT_ASKED)
    }

    /// The brokers, if the client has looked at them since the last time.
    pub(super) fn take_brokers(&self) -> Option<Vec<Broker>> {
        self.brokers.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// The client's last complaint.
    pub fn complaint(&self) -> Option<String> {
        self.complaint.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Keeps a complaint. That all brokers are down only sums up what was said of each before.
    fn keep(&self, code: Option<Code>, why: &str) {
        let mut complaint = self.complaint.lock().unwrap_or_else(PoisonError::into_inner);
        if code != Some(Code::AllBrokersDown) || complaint.is_none() {
            *complaint = Some(why.to_owned());
        }
    }

    fn say(&self, serious: bool, what: &str, why: &str) {
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        if serious && said.is_none_or(|said| said.elapsed() >= SAY_EVERY) {
            *said = Some(Instant::now());
            tracing::warn!(target: "tokenweir::kafka", what, why, "the Kafka client complains; events are kept");
        } else {
            tracing::debug!(target: "tokenweir::kafka", what, why);
        }
    }
}

impl ClientContext for Context {
    const ENABLE_REFRESH_OAUTH_TOKEN: bool = true;

    fn generate_oauth_token(&self, _config: Option<&str>) -> Result<OAuthToken, Box<dyn Error>> {
        let refresher = self.refresher.as_ref().ok_or("tokens of Entra ID are not configured")?;
        let token = refresher.tokens.get();
        let number = token.as_ref().map_or(IN_VAIN, |(number, _)| *number);
        self.given.store(number, Ordering::Relaxed);
        Ok(token?.1)
    }

    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        let serious = matches!(
            level,
            RDKafkaLogLevel::Emerg
                | RDKafkaLogLevel::Alert
                | RDKafkaLogLevel::Critical
                | RDKafkaLogLevel::Error
        );
        if serious {
            self.keep(None, message);
        }
        self.say(serious, facility, message);
    }

    fn stats(&self, statistics: Statistics) {
        self.reachable.store(cluster::is_reachable(&statistics), Ordering::Relaxed);
        let failed = self.failed.lock().unwrap_or_else(PoisonError::into_inner).since(&statistics);
        self.failures.fetch_add(failed, Ordering::Relaxed);
        let seen = cluster::brokers(&statistics);
        *self.brokers.lock().unwrap_or_else(PoisonError::into_inner) = Some(seen);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        let code = error.rdkafka_error_code();
        let login = matches!(code, Some(Code::Authentication | Code::SaslAuthenticationFailed));
        // Without a token it is not the broker that denies the login.
        if login && self.given.load(Ordering::Relaxed) != IN_VAIN {
            self.denied.store(true, Ordering::Relaxed);
        }
        if code == Some(Code::AllBrokersDown) {
            self.reachable.store(false, Ordering::Relaxed);
        }
        self.keep(code, reason);
        self.say(true, &error.to_string(), reason);
    }
}

impl ConsumerContext for Context {}
