//! The broker of the demo, librdkafka's mock cluster on a loopback port, and a consumer that reads
//! its topic all the time.
//!
//! All the time, because the mock cluster keeps 5 MiB per partition and drops the oldest silently.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::Context;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::Message;
use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;
use rdkafka::{ClientConfig, Offset, TopicPartitionList};

use super::fixtures::Fixtures;
use super::tally::TopicTally;

/// The topic, as `--kafka-topic` names it by default.
pub(super) const TOPIC: &str = "ai-usage";

const PARTITIONS: i32 = 3;

/// The mock cluster numbers its brokers from 1, and has one.
const BROKER_ID: i32 = 1;

/// The consumer looks so often whether it is to stop.
const POLL: Duration = Duration::from_millis(100);

/// The embedded broker.
pub(super) struct MockBroker {
    cluster: MockCluster<'static, DefaultProducerContext>,
}

impl MockBroker {
    /// Starts it with an empty topic.
    pub(super) fn start() -> anyhow::Result<MockBroker> {
        let cluster = MockCluster::new(1).context("embedded broker")?;
        cluster.create_topic(TOPIC, PARTITIONS, 1).context("topic of the embedded broker")?;
        Ok(MockBroker { cluster })
    }

    /// `host:port`, for `--kafka-brokers`.
    pub(super) fn bootstrap(&self) -> String {
        self.cluster.bootstrap_servers()
    }

    /// Closes its port and every connection; the topic stays.
    pub(super) fn go_away(&self) -> anyhow::Result<()> {
        self.cluster.broker_down(BROKER_ID).context("stopping the embedded broker")
    }

    /// Listens again.
    pub(super) fn come_back(&self) -> anyhow::Result<()> {
        self.cluster.broker_up(BROKER_ID).context("restarting the embedded broker")
    }
}

/// Reads the topic from its beginning, on a thread of its own, until dropped.
#[derive(Debug)]
pub(super) struct TopicReader {
    tally: Arc<Mutex<TopicTally>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl TopicReader {
    pub(super) fn start(brokers: &str, fixtures: Arc<Fixtures>) -> anyhow::Result<TopicReader> {
        let consumer: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", brokers)
            .set("group.id", "finance")
            .set("enable.auto.commit", "false")
            .set("reconnect.backoff.max.ms", "500")
            .create()
            .context("consumer")?;
        let mut partitions = TopicPartitionList::new();
        for partition in 0..PARTITIONS {
            partitions.add_partition_offset(TOPIC, partition, Offset::Beginning)?;
        }
        consumer.assign(&partitions)?;
        let (tally, stop) = (Arc::new(Mutex::new(TopicTally::default())), Arc::new(AtomicBool::new(false)));
        let (tally_of_thread, stop_of_thread) = (tally.clone(), stop.clone());
        let thread = std::thread::Builder::new().name("demo-finance".into()).spawn(move || {
            while !stop_of_thread.load(Ordering::Relaxed) {
                // Errors say that the broker is away; the consumer connects again by itself.
                let Some(Ok(record)) = consumer.poll(POLL) else { continue };
                lock(&tally_of_thread).add(record.payload().unwrap_or_default(), &fixtures);
            }
        })?;
        Ok(TopicReader { tally, stop, thread: Some(thread) })
    }

    /// The events that have been read so far.
    pub(super) fn tally(&self) -> MutexGuard<'_, TopicTally> {
        lock(&self.tally)
    }
}

fn lock(tally: &Mutex<TopicTally>) -> MutexGuard<'_, TopicTally> {
    tally.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Drop for TopicReader {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use rdkafka::producer::{BaseProducer, BaseRecord, Producer};

    use super::*;

    fn wait_for(finance: &TopicReader, unreadable: u64) {
        let deadline = Instant::now() + Duration::from_secs(30);
        while finance.tally().unreadable < unreadable {
            assert!(Instant::now() < deadline, "read {} of {unreadable}", finance.tally().unreadable);
            std::thread::sleep(POLL);
        }
    }

    #[test]
    fn records_arrive_before_and_after_an_outage() {
        let broker = MockBroker::start().unwrap();
        let finance = TopicReader::start(&broker.bootstrap(), Arc::new(Fixtures::load().unwrap())).unwrap();
        let producer: BaseProducer = ClientConfig::new()
            .set("bootstrap.servers", broker.bootstrap())
            .set("reconnect.backoff.max.ms", "200")
            .create()
            .unwrap();
        let send = |key: &str| {
            let record = BaseRecord::to(TOPIC).key(key).payload("no event");
            producer.send(record).unwrap();
        };
        send("before");
        wait_for(&finance, 1);
        broker.go_away().unwrap();
        send("while away");
        assert!(producer.flush(Duration::from_millis(300)).is_err(), "nobody is there to take it");
        broker.come_back().unwrap();
        producer.flush(Duration::from_secs(30)).unwrap();
        wait_for(&finance, 2);
    }
}
