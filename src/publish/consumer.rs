//! A client that only reads the topic, for reports and proofs.

use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, KafkaResult};

use super::client::set_all;
use super::config::KafkaConfig;
use super::context::Context;
use super::properties;

/// How long a program that reads waits for its first token, ..
const TOKEN_WAIT: Duration = Duration::from_secs(30);

/// .. and how long it is polled at most until it has taken it.
const TOKEN_POLL: Duration = Duration::from_secs(5);

/// How long one such poll may take.
const POLL: Duration = Duration::from_millis(20);

impl KafkaConfig {
    /// A client that only reads, with the same login, and settings of its own. Blocks until it has a
    /// token, if it needs one.
    ///
    /// # Errors
    /// If the client cannot be made, or there is no token for it within half a minute.
    pub fn consumer(&self, settings: &[(&str, &str)]) -> KafkaResult<BaseConsumer<Context>> {
        let refresher = self.refresher().map_err(KafkaError::ClientCreation)?;
        if let Some(refresher) = &refresher {
            refresher.tokens.wait(TOKEN_WAIT).map_err(KafkaError::ClientCreation)?;
        }
        let mut client = self.connection();
        set_all(&mut client, settings);
        let needs_token = refresher.is_some();
        let made: KafkaResult<BaseConsumer<Context>> = client.create_with_context(Context::new(refresher));
        let consumer = made.map_err(|error| match &error {
            KafkaError::ClientCreation(_) => KafkaError::ClientCreation(self.told(&error)),
            KafkaError::ClientConfig(..) => KafkaError::ClientCreation(properties::refusal(&error).1),
            _ => error,
        })?;
        let began = Instant::now();
        while needs_token && !consumer.context().has_token() && began.elapsed() < TOKEN_POLL {
            if let Some(Err(error)) = consumer.poll(POLL) {
                tracing::debug!(%error, "a new consumer");
            }
        }
        Ok(consumer)
    }
}
