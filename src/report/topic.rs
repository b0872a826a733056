//! A topic from its beginning to its end, as it is when it is opened; as often as one likes.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::Message;
use rdkafka::{Offset, TopicPartitionList};

use super::ReportError;
use crate::publish::{Config, ConfigError, Context};

/// How long a broker may take to answer a question.
const QUESTION: Duration = Duration::from_secs(30);

/// How long a partition may say nothing before its end is reached.
const SILENCE: Duration = Duration::from_secs(60);

/// How long to wait for one message.
const POLL: Duration = Duration::from_millis(500);

/// Messages that librdkafka fetches ahead, for all partitions together: its own default is four
/// times as much.
const AHEAD_KIB: &str = "16384";

/// A topic that is open. Joins no group and commits nothing.
pub(super) struct Topic {
    consumer: BaseConsumer<Context>,
    name: String,
    /// The partitions that hold something, with the offset after their last message.
    ends: BTreeMap<i32, i64>,
}

impl Topic {
    /// Asks where the topic ends.
    pub(super) fn open(config: &Config) -> Result<Topic, ReportError> {
        if let Some(error) = config.check().into_iter().next() {
            return Err(error.into());
        }
        let consumer = config.consumer(&[
            ("group.id", "tokenweir-report"), // librdkafka wants one to assign; nothing joins it
            ("enable.auto.commit", "false"),
            ("enable.auto.offset.store", "false"),
            ("enable.partition.eof", "true"),
            ("auto.offset.reset", "earliest"),
            ("queued.max.messages.kbytes", AHEAD_KIB),
        ])?;
        let ends = ends(&consumer, &config.topic)?;
        Ok(Topic { consumer, name: config.topic.clone(), ends })
    }

    /// Shows every message and its partition, in the order of each partition. Messages that are not
    /// text are shown as nothing.
    pub(super) fn each(&self, mut each: impl FnMut(i32, &str)) -> Result<(), ReportError> {
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
                    // What lies behind the end came after the topic was opened.
                    if let Some(end) = ends.get(&partition).copied() {
                        if message.offset() < end {
                            let text = message.payload().and_then(|bytes| std::str::from_utf8(bytes).ok());
                            each(partition, text.unwrap_or_default());
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
                return Err(ReportError::Silent(format!("{} of its partitions say nothing", ends.len())));
            }
        }
        Ok(())
    }

    /// The partitions whose beginning is gone.
    pub(super) fn cut(&self) -> Result<Vec<i32>, ReportError> {
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

/// The partitions that hold something, with the offset after their last message.
fn ends(consumer: &BaseConsumer<Context>, topic: &str) -> Result<BTreeMap<i32, i64>, ReportError> {
    let metadata = consumer.fetch_metadata(Some(topic), QUESTION)?;
    let partitions = metadata.topics().iter().flat_map(|topic| topic.partitions());
    let mut ends = BTreeMap::new();
    for partition in partitions {
        let (low, high) = consumer.fetch_watermarks(topic, partition.id(), QUESTION)?;
        if high > low {
            ends.insert(partition.id(), high);
        }
    }
    if metadata.topics().iter().all(|topic| topic.partitions().is_empty()) {
        let problem = format!("there is no topic `{topic}`");
        return Err(ConfigError { key: "kafka_topic".to_owned(), problem }.into());
    }
    Ok(ends)
}
