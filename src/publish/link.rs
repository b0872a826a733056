//! One producer, and what it reports.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rdkafka::client::ClientContext;
use rdkafka::config::{ClientConfig, FromClientConfigAndContext, RDKafkaLogLevel};
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::message::{DeliveryResult, Header, OwnedHeaders};
use rdkafka::producer::{BaseRecord, Producer, ProducerContext, ThreadedProducer};
use serde::Deserialize;

/// How often librdkafka's own complaints are worth a line: it repeats them at every reconnect.
const SAY_EVERY: Duration = Duration::from_secs(10);

/// The answer to one event: its position, and the error if it was not delivered.
pub(super) type Report = (u64, Option<KafkaError>);

/// Reports that wait for the worker. There are never more than events in flight.
#[derive(Debug, Default)]
pub(super) struct Reports {
    waiting: Mutex<Vec<Report>>,
    some: Condvar,
}

impl Reports {
    pub(super) fn take(&self) -> Vec<Report> {
        std::mem::take(&mut *self.waiting.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Waits until there is one, at most for a while.
    pub(super) fn wait(&self, time: Duration) {
        let waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        drop(self.some.wait_timeout_while(waiting, time, |waiting| waiting.is_empty()));
    }

    fn push(&self, report: Report) {
        let mut waiting = self.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.push(report);
        if waiting.len() == 1 {
            self.some.notify_one();
        }
    }
}

struct Context {
    reports: Arc<Reports>,
    said: Mutex<Option<Instant>>,
}

impl ClientContext for Context {
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
        self.say(true, &error.to_string(), reason);
    }
}

impl Context {
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

impl ProducerContext for Context {
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, position: usize) {
        let error = result.as_ref().err().map(|(error, _)| error.clone());
        self.reports.push((position as u64, error));
    }
}

/// What of an event is also outside of its value.
#[derive(Deserialize)]
struct Head {
    id: String,
    source: String,
    #[serde(rename = "type")]
    kind: String,
    specversion: String,
    partitionkey: String,
}

/// An event cannot be handed to the producer.
pub(super) enum SendError {
    /// The producer says no.
    Kafka(KafkaError),
    /// It is no event.
    Unreadable(String),
}

/// A producer. Its reports end with it, so a new one never sees an old one's.
pub(super) struct Link {
    producer: ThreadedProducer<Context>,
    pub(super) reports: Arc<Reports>,
    topic: String,
}

impl Link {
    pub(super) fn new(config: &ClientConfig, topic: &str) -> KafkaResult<Link> {
        let reports = Arc::new(Reports::default());
        let context = Context { reports: Arc::clone(&reports), said: Mutex::default() };
        let producer = ThreadedProducer::from_config_and_context(config, context)?;
        Ok(Link { producer, reports, topic: topic.to_owned() })
    }

    /// Hands an event over. Never waits.
    pub(super) fn send(&self, position: u64, body: &str) -> Result<(), SendError> {
        let head: Head =
            serde_json::from_str(body).map_err(|error| SendError::Unreadable(error.to_string()))?;
        let opaque = usize::try_from(position).map_err(|error| SendError::Unreadable(error.to_string()))?;
        let record = BaseRecord::with_opaque_to(&self.topic, opaque)
            .key(head.partitionkey.as_str())
            .payload(body)
            .headers(headers(&head));
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

/// The headers of the CloudEvents Kafka binding: `content-type` names structured mode; the `ce_`
/// copies let a reader drop repeats without parsing.
fn headers(head: &Head) -> OwnedHeaders {
    let header = |key, value| Header { key, value: Some(value) };
    OwnedHeaders::new_with_capacity(5)
        .insert(header("content-type", "application/cloudevents+json; charset=UTF-8"))
        .insert(header("ce_id", head.id.as_str()))
        .insert(header("ce_source", &head.source))
        .insert(header("ce_type", &head.kind))
        .insert(header("ce_specversion", &head.specversion))
}
