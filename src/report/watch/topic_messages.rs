//! The messages of a topic, as they come.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::message::Message;
use rdkafka::{Offset, TopicPartitionList};

use super::told::{BEGIN, BEGIN_CALLS, Hear, Told, Wanted};
use crate::publish::{Context, KafkaConfig};
use crate::report::error::ReportError;
use crate::report::input::{QUESTION, partitions, topic_consumer};
use crate::telemetry::live::LiveCall;

/// How long to wait for one message; whoever listens hears as often that there is none.
const POLL: Duration = Duration::from_millis(200);

/// Messages of a partition that are read where the broker does not know which are of the last minutes.
const UNKNOWN_TIME_MESSAGES: i64 = 1_000;

/// Tells of the calls of a topic, and of those that come. What came twice is told twice.
pub(super) fn watch(config: &KafkaConfig, wanted: Wanted, hear: &mut Hear<'_>) -> Result<(), ReportError> {
    let consumer = topic_consumer(config)?;
    let (begin, mut ends) = begin(&consumer, config, wanted)?;
    consumer.assign(&begin)?;
    let mut paused_at = Instant::now();
    loop {
        let mut call = None;
        match consumer.poll(POLL) {
            Some(Ok(message)) => {
                call = message.payload_view::<str>().and_then(Result::ok).and_then(LiveCall::stored);
                let (partition, next) = (message.partition(), message.offset() + 1);
                ends.retain(|of, end| *of != partition || next < *end);
            }
            Some(Err(KafkaError::PartitionEOF(partition))) => drop(ends.remove(&partition)),
            // While a broker is away the client goes on by itself.
            Some(Err(error)) => tracing::debug!(%error, "reading the topic"),
            None => {}
        }
        let is_due = call.is_none() || paused_at.elapsed() >= POLL;
        if let Some(call) = call
            && hear(Told::Call(Box::new(call)))?.is_break()
        {
            return Ok(());
        }
        if is_due {
            paused_at = Instant::now();
            if hear(if ends.is_empty() { Told::UpToDate } else { Told::Behind })?.is_break() {
                return Ok(());
            }
        }
    }
}

/// Where each partition begins, some minutes ago or with the last few messages, and the present ends of those that hold
/// something from there on.
fn begin(
    consumer: &BaseConsumer<Context>,
    config: &KafkaConfig,
    wanted: Wanted,
) -> Result<(TopicPartitionList, BTreeMap<i32, i64>), ReportError> {
    let partitions = partitions(consumer, config)?;
    let young = match wanted {
        Wanted::Calls => BTreeMap::new(),
        Wanted::Sums => since(consumer, config, &partitions)?,
    };
    let (mut begin, mut ends) = (TopicPartitionList::new(), BTreeMap::new());
    for partition in partitions {
        let (low, high) = consumer.fetch_watermarks(&config.topic, partition, QUESTION)?;
        let last = match wanted {
            Wanted::Calls => BEGIN_CALLS as i64,
            Wanted::Sums => UNKNOWN_TIME_MESSAGES,
        };
        let from = young.get(&partition).copied().unwrap_or(high - last).clamp(low, high);
        begin.add_partition_offset(&config.topic, partition, Offset::Offset(from))?;
        if from < high {
            ends.insert(partition, high);
        }
    }
    Ok((begin, ends))
}

/// The first messages of the last minutes, of partitions for which the broker knows them.
fn since(
    consumer: &BaseConsumer<Context>,
    config: &KafkaConfig,
    partitions: &[i32],
) -> Result<BTreeMap<i32, i64>, ReportError> {
    let mut asked = TopicPartitionList::new();
    let time = Offset::Offset((Timestamp::now() - BEGIN).as_millisecond());
    for partition in partitions {
        asked.add_partition_offset(&config.topic, *partition, time)?;
    }
    let found = consumer.offsets_for_times(asked, QUESTION)?;
    let known = found.elements().into_iter().filter_map(|found| match found.offset() {
        Offset::Offset(offset) => Some((found.partition(), offset)),
        _ => None,
    });
    Ok(known.collect())
}
