//! A topic from its beginning to its end, as it is when reading begins.

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

/// Shows every message to `each`, in the order of each partition. Joins no group and commits
/// nothing. Messages that are not text are shown as nothing.
pub(super) fn read(config: &Config, mut each: impl FnMut(&str)) -> Result<(), ReportError> {
    if let Some(error) = config.check().into_iter().next() {
        return Err(error.into());
    }
    let consumer = config.consumer(&[
        ("group.id", "tokenweir-report"), // librdkafka wants one to assign; nothing joins it
        ("enable.auto.commit", "false"),
        ("enable.auto.offset.store", "false"),
        ("enable.partition.eof", "true"),
        ("auto.offset.reset", "earliest"),
    ])?;
    let mut ends = ends(&consumer, &config.topic)?;
    let mut list = TopicPartitionList::new();
    for partition in ends.keys() {
        list.add_partition_offset(&config.topic, *partition, Offset::Beginning)?;
    }
    consumer.assign(&list)?;
    let mut heard = Instant::now();
    while !ends.is_empty() {
        match consumer.poll(POLL) {
            Some(Ok(message)) => {
                heard = Instant::now();
                let partition = message.partition();
                if let Some(end) = ends.get(&partition).copied() {
                    let text = message.payload().and_then(|bytes| std::str::from_utf8(bytes).ok());
                    each(text.unwrap_or_default());
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
