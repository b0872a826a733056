//! What librdkafka tells and asks about a connection: complaints, that it could not log in, and
//! tokens.

use std::error::Error;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::client::{ClientContext, OAuthToken};
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::ConsumerContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};

use super::token::Keeper;

/// How often librdkafka's own complaints are worth a line: it repeats them at every reconnect.
const SAY_EVERY: Duration = Duration::from_secs(10);

/// The ear of one client. Its methods run on librdkafka's threads and never wait.
#[derive(Debug, Default)]
pub struct Context {
    keeper: Option<Arc<Keeper>>,
    said: Mutex<Option<Instant>>,
    denied: AtomicBool,
    starved: AtomicBool,
}

impl Context {
    /// The ear of a client; `keeper` has the tokens, if it needs any.
    pub(super) fn new(keeper: Option<Arc<Keeper>>) -> Context {
        Context { keeper, ..Context::default() }
    }

    /// Whether the client asked for a token in vain, and there is one now. By itself it asks again
    /// after ten seconds only; a new client asks at once.
    pub(super) fn misses_token(&self) -> bool {
        let some = self.keeper.as_ref().is_some_and(|keeper| keeper.tokens.some());
        some && self.starved.load(Ordering::Relaxed)
    }

    /// Whether the broker has denied a login since this was last asked.
    pub(super) fn take_denied(&self) -> bool {
        self.denied.swap(false, Ordering::Relaxed)
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
        let keeper = self.keeper.as_ref().ok_or("tokens of Entra ID are not configured")?;
        let token = keeper.tokens.get();
        self.starved.store(token.is_err(), Ordering::Relaxed);
        Ok(token?)
    }

    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        let serious = matches!(
            level,
            RDKafkaLogLevel::Emerg
                | RDKafkaLogLevel::Alert
                | RDKafkaLogLevel::Critical
                | RDKafkaLogLevel::Error
        );
        self.say(serious, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        let code = error.rdkafka_error_code();
        if matches!(code, Some(Code::Authentication | Code::SaslAuthenticationFailed)) {
            self.denied.store(true, Ordering::Relaxed);
        }
        self.say(true, &error.to_string(), reason);
    }
}

impl ConsumerContext for Context {}
