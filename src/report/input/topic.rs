//! A topic from its beginning to its end, as it is when it is opened; as often as one likes.

use std::collections::BTreeMap;
use std::io::{Write, stderr};
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::{KafkaError, KafkaResult, RDKafkaErrorCode};
use rdkafka::message::{BorrowedMessage, Message};
use rdkafka::{Offset, TopicPartitionList};

use super::bar::ReadingBar;
use super::each_event::EachEvent;
use crate::publish::{Context, KafkaConfig, KafkaConfigError};
use crate::report::error::ReportError;
use crate::report::event_origin::EventOrigin;
use crate::report::omissions::OmissionReason;
use metering::names;

/// How long a broker may take to answer a question.
pub(crate) const QUESTION: Duration = Duration::from_secs(30);

/// The user is told what is waited for after so long.
const NOTICE: Duration = Duration::from_secs(2);

/// Complaints of the client that are heard after a question, and how long each is waited for.
const COMPLAINTS_MAX: usize = 10;
const COMPLAINT: Duration = Duration::from_millis(10);

/// Between two questions, where the first is answered by an error at once.
const AGAIN: Duration = Duration::from_millis(200);

/// How long a partition may say nothing before its end is reached.
const SILENCE: Duration = Duration::from_secs(60);

/// How long to wait for one message.
const POLL: Duration = Duration::from_millis(500);

/// Messages that librdkafka fetches ahead, for all partitions together: its own default is four
/// times as much.
const AHEAD_KIB: &str = "16384";

/// A topic that is open. Joins no group and commits nothing.
pub(crate) struct Topic {
    consumer: BaseConsumer<Context>,
    name: String,
    /// The partitions that hold something, with the offset after their last message.
    ends: BTreeMap<i32, i64>,
}

impl Topic {
    /// Asks where the topic ends.
    pub(crate) fn open(config: &KafkaConfig) -> Result<Topic, ReportError> {
        let consumer = topic_consumer(config)?;
        let ends = ends(&consumer, config)?;
        Ok(Topic { consumer, name: config.topic.clone(), ends })
    }

    /// Shows every message, in the order of each partition.
    pub(super) fn each(&self, bar: &ReadingBar, each: &mut EachEvent<'_>) -> Result<(), ReportError> {
        bar.begin_events(&self.name, self.length()?);
        let mut ends = self.ends.clone();
        let mut list = TopicPartitionList::new();
        for partition in ends.keys() {
            list.add_partition_offset(&self.name, *partition, Offset::Beginning)?;
        }
        self.consumer.assign(&list)?;
        let mut heard = Instant::now();
        while !ends.is_empty() {
            match self.consumer.poll(POLL) {
                Some(Ok(message)) => {
                    heard = Instant::now();
                    let partition = message.partition();
                    // A message behind the end came after the topic was opened.
                    if let Some(end) = ends.get(&partition).copied() {
                        if message.offset() < end {
                            show(&message, each)?;
                            bar.advance(1);
                        }
                        if message.offset() + 1 >= end {
                            ends.remove(&partition);
                        }
                    }
                }
                Some(Err(KafkaError::PartitionEOF(partition))) => {
                    ends.remove(&partition);
                }
                Some(Err(error)) => tracing::warn!(%error, "reading the topic"),
                None => {}
            }
            if heard.elapsed() > SILENCE {
                let complaint = self.consumer.context().complaint();
                let why = complaint.map_or(String::new(), |said| format!("; the client says: {said}"));
                let left = ends.len();
                let silent =
                    if left == 1 { "a partition says".to_owned() } else { format!("{left} partitions say") };
                return Err(ReportError::Silent(format!(
                    "{silent} nothing for {} s{why}",
                    SILENCE.as_secs()
                )));
            }
        }
        Ok(())
    }

    /// Messages between its beginning and its end.
    fn length(&self) -> Result<u64, ReportError> {
        let mut length = 0;
        for (partition, end) in &self.ends {
            let (low, _) = self.consumer.fetch_watermarks(&self.name, *partition, QUESTION)?;
            length += u64::try_from(end - low).unwrap_or(0);
        }
        Ok(length)
    }

    /// The partitions whose beginning is gone.
    pub(crate) fn cut(&self) -> Result<Vec<i32>, ReportError> {
        let mut cut = Vec::new();
        for partition in self.ends.keys().copied() {
            let (low, _) = self.consumer.fetch_watermarks(&self.name, partition, QUESTION)?;
            if low > 0 {
                cut.push(partition);
            }
        }
        Ok(cut)
    }
}

/// A client that reads the topic, joins no group and commits nothing.
pub(crate) fn topic_consumer(config: &KafkaConfig) -> Result<BaseConsumer<Context>, ReportError> {
    if let Some(error) = config.check().into_iter().next() {
        return Err(error.into());
    }
    Ok(config.consumer(&[
        ("group.id", "tokenweir-report"), // librdkafka wants one to assign; nothing joins it
        ("enable.auto.commit", "false"),
        ("enable.auto.offset.store", "false"),
        ("enable.partition.eof", "true"),
        ("auto.offset.reset", "earliest"),
        ("queued.max.messages.kbytes", AHEAD_KIB),
    ])?)
}

fn show(message: &BorrowedMessage<'_>, each: &mut EachEvent<'_>) -> Result<(), ReportError> {
    let text = match message.payload() {
        Some(bytes) => std::str::from_utf8(bytes).map_err(|_| OmissionReason::NotText),
        None => Err(OmissionReason::NoBody),
    };
    let (partition, offset) = (message.partition(), message.offset());
    each(text, EventOrigin::Topic { partition, offset, stamp_ms: message.timestamp().to_millis() })
}

/// The partitions that hold something, with the offset after their last message.
fn ends(consumer: &BaseConsumer<Context>, config: &KafkaConfig) -> Result<BTreeMap<i32, i64>, ReportError> {
    let topic = &config.topic;
    let mut ends = BTreeMap::new();
    for partition in partitions(consumer, config)? {
        let (low, high) = consumer.fetch_watermarks(topic, partition, QUESTION)?;
        if high > low {
            ends.insert(partition, high);
        }
    }
    Ok(ends)
}

/// The partitions of the topic.
pub(crate) fn partitions(
    consumer: &BaseConsumer<Context>,
    config: &KafkaConfig,
) -> Result<Vec<i32>, ReportError> {
    let topic = &config.topic;
    let metadata = ask(consumer, &config.brokers, |wait| consumer.fetch_metadata(Some(topic), wait))?;
    let partitions = metadata.topics().iter().flat_map(|topic| topic.partitions());
    let partitions: Vec<i32> = partitions.map(|partition| partition.id()).collect();
    if partitions.is_empty() {
        let problem = format!("there is no topic `{topic}`");
        return Err(KafkaConfigError { key: "kafka_topic".to_owned(), problem }.into());
    }
    Ok(partitions)
}

/// Asks until there is an answer, the broker denies the login, or the time is over. The user is told
/// so, on standard error.
fn ask<T>(
    consumer: &BaseConsumer<Context>,
    brokers: &str,
    question: impl Fn(Duration) -> KafkaResult<T>,
) -> Result<T, ReportError> {
    let (begun, mut told) = (Instant::now(), false);
    loop {
        let left = QUESTION.saturating_sub(begun.elapsed());
        let error = match question(if told { left } else { NOTICE }) {
            Ok(answer) => return Ok(answer),
            Err(error) => error,
        };
        // Its complaints are heard by polling; there is nothing else to be had before it is assigned.
        for _ in 0..COMPLAINTS_MAX {
            let _ = consumer.poll(COMPLAINT);
        }
        let (left, complaint) = (QUESTION.saturating_sub(begun.elapsed()), consumer.context().complaint());
        let says = complaint.map_or(String::new(), |said| format!("; the client says: {said}"));
        if left.is_zero() || consumer.context().is_denied() || !is_transport(&error) {
            let seconds = begun.elapsed().as_secs();
            return Err(match is_transport(&error) {
                true => ReportError::NoAnswer(format!("no answer from {brokers} for {seconds} s{says}")),
                false => error.into(),
            });
        }
        if !told {
            // A failure means that the line has no reader who could wait for it.
            let _ = writeln!(
                stderr(),
                "waiting for {brokers}, {} s more at most{}",
                left.as_secs(),
                names::shown(&says)
            );
        }
        told = true;
        std::thread::sleep(AGAIN);
    }
}

/// It is the way to the broker that fails, or the broker says nothing.
fn is_transport(error: &KafkaError) -> bool {
    use RDKafkaErrorCode as Code;
    let transport =
        [Code::BrokerTransportFailure, Code::OperationTimedOut, Code::AllBrokersDown, Code::Resolve];
    error.rdkafka_error_code().is_some_and(|code| transport.contains(&code))
}
