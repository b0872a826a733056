//! A Kafka producer of events, and its delivery reports.

use std::error::Error;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use rdkafka::client::{ClientContext, OAuthToken};
use rdkafka::config::{FromClientConfigAndContext, RDKafkaLogLevel};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::message::{DeliveryResult, Header, OwnedHeaders};
use rdkafka::producer::{BaseRecord, Producer, ProducerContext, ThreadedProducer};
use rdkafka::statistics::Statistics;

use super::config::KafkaConfig;
use super::context::Context;
use super::token::TokenRefresher;
use metering::usage::StoredEvent;

/// The delivery report of one event: its position, and the error if it was not delivered.
pub(super) type DeliveryReport = (u64, Option<KafkaError>);

/// Reports that wait for the worker. There are never more than events in flight.
#[derive(Debug, Default)]
pub(super) struct DeliveryReports {
    waiting: Mutex<Vec<DeliveryReport>>,
    some: Condvar,
}

impl DeliveryReports {
    pub(super) fn take(&self) -> Vec<DeliveryReport> {
        std::mem::take(&mut *self.waiting.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Waits until there is one, at most for a while.
    pub(super) fn wait(&self, time: Duration) {
        let waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        drop(self.some.wait_timeout_while(waiting, time, |waiting| waiting.is_empty()));
    }

    fn push(&self, report: DeliveryReport) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.push(report);
        if waiting.len() == 1 {
            self.some.notify_one();
        }
    }
}

/// The callbacks of a producer: those of every client, and the reports of its events.
pub(super) struct DeliveryContext {
    context: Arc<Context>,
    reports: Arc<DeliveryReports>,
}

impl DeliveryContext {
    /// The callbacks of a client that sends no events.
    pub(super) fn new(refresher: Option<Arc<TokenRefresher>>) -> DeliveryContext {
        DeliveryContext { context: Arc::new(Context::new(refresher)), reports: Arc::default() }
    }
}

impl ClientContext for DeliveryContext {
    const ENABLE_REFRESH_OAUTH_TOKEN: bool = true;

    fn generate_oauth_token(&self, config: Option<&str>) -> Result<OAuthToken, Box<dyn Error>> {
        self.context.generate_oauth_token(config)
    }

    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        self.context.log(level, facility, message);
    }

    fn stats(&self, statistics: Statistics) {
        self.context.stats(statistics);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.context.error(error, reason);
    }
}

impl ProducerContext for DeliveryContext {
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, position: usize) {
        let error = result.as_ref().err().map(|(error, _)| error.clone());
        self.reports.push((position as u64, error));
    }
}

/// An event cannot be handed to the producer.
pub(super) enum SendError {
    /// The producer refuses it.
    Kafka(KafkaError),
    /// The bytes are not an event.
    Unreadable(String),
}

/// A producer. Its reports end with it, so a new one never sees an old one's.
pub(super) struct EventProducer {
    producer: ThreadedProducer<DeliveryContext>,
    pub(super) reports: Arc<DeliveryReports>,
    pub(super) context: Arc<Context>,
    topic: String,
}

impl EventProducer {
    pub(super) fn new(
        config: &KafkaConfig,
        refresher: Option<Arc<TokenRefresher>>,
    ) -> KafkaResult<EventProducer> {
        let ear = DeliveryContext::new(refresher);
        let (reports, context) = (Arc::clone(&ear.reports), Arc::clone(&ear.context));
        let producer = ThreadedProducer::from_config_and_context(&config.producer(), ear)?;
        Ok(EventProducer { producer, reports, context, topic: config.topic.clone() })
    }

    /// Hands an event over. Never waits.
    pub(super) fn send(&self, position: u64, body: &str) -> Result<(), SendError> {
        let event = StoredEvent::read(body).map_err(|error| SendError::Unreadable(error.to_string()))?;
        let opaque = usize::try_from(position).map_err(|error| SendError::Unreadable(error.to_string()))?;
        let record = BaseRecord::with_opaque_to(&self.topic, opaque)
            .key(&*event.partitionkey)
            .payload(body)
            .headers(headers(&event));
        self.producer.send(record).map_err(|(error, _)| SendError::Kafka(error))
    }

    /// Why this producer can never be used again, if so.
    pub(super) fn fatal(&self) -> Option<String> {
        self.producer.client().fatal_error().map(|(code, text)| format!("{code}: {text}"))
    }

    /// Asks a broker for the topic. Says what is wrong; `Err` if no broker answers in time.
    pub(super) fn ask_topic(&self, time: Duration) -> Result<Option<String>, KafkaError> {
        let metadata = self.producer.client().fetch_metadata(Some(&self.topic), time)?;
        let topic = metadata.topics().iter().find(|topic| topic.name() == self.topic);
        Ok(match topic {
            None => Some("the broker does not know the topic".to_owned()),
            Some(topic) => topic.error().map(|code| rdkafka::types::RDKafkaErrorCode::from(code).to_string()),
        })
    }
}

/// Clients that are ending, and how many of them may at once before their owner has to wait.
static ENDING: AtomicUsize = AtomicUsize::new(0);
const ENDING_MAX: usize = 4;

/// Ends a client on a thread of its own: librdkafka joins its threads, and one of them may hang in
/// a name look-up.
pub(super) fn end(client: impl Send + 'static) -> Option<JoinHandle<()>> {
    if ENDING.fetch_add(1, Ordering::Relaxed) >= ENDING_MAX {
        ENDING.fetch_sub(1, Ordering::Relaxed);
        return None;
    }
    let ended = std::thread::Builder::new().name("tw-kafka-end".to_owned()).spawn(move || {
        drop(client);
        ENDING.fetch_sub(1, Ordering::Relaxed);
    });
    // Without a thread the client has ended here: the closure was dropped.
    ended.map_err(|_| ENDING.fetch_sub(1, Ordering::Relaxed)).ok()
}

/// The headers of the CloudEvents Kafka binding: `content-type` names structured mode; the `ce_`
/// copies let a reader drop repeats without parsing.
fn headers(event: &StoredEvent<'_>) -> OwnedHeaders {
    let header = |key, value| Header { key, value: Some(value) };
    OwnedHeaders::new_with_capacity(5)
        .insert(header("content-type", "application/cloudevents+json; charset=UTF-8"))
        .insert(header("ce_id", &*event.id))
        .insert(header("ce_source", &event.source))
        .insert(header("ce_type", &event.type_name))
        .insert(header("ce_specversion", &event.specversion))
}
