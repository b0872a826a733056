//! A broker within the test, and a reader that takes everything from it as it comes: the broker
//! keeps 5 MiB a partition and drops the oldest.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::Message;
use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use serde_json::Value;

use super::sidecar::wait_for;

pub(crate) const TOPIC: &str = "ai-usage";
const PARTITIONS: i32 = 16;

/// What was read.
#[derive(Default)]
struct Seen {
    /// Bodies by source and id.
    bodies: HashMap<(String, String), String>,
    messages: u64,
    /// Ids that came a second time with other bytes.
    altered: Vec<String>,
}

/// The topic.
pub(crate) struct Topic {
    pub(crate) cluster: MockCluster<'static, DefaultProducerContext>,
    pub(crate) brokers: String,
    seen: Arc<Mutex<Seen>>,
    stop: Arc<AtomicBool>,
    reader: Option<JoinHandle<()>>,
}

impl Topic {
    pub(crate) fn start() -> Topic {
        let cluster = MockCluster::new(1).unwrap();
        cluster.create_topic(TOPIC, PARTITIONS, 1).unwrap();
        let brokers = cluster.bootstrap_servers();
        let consumer: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", &brokers)
            .set("group.id", "tokenweir-test")
            .set("enable.auto.commit", "false")
            .set("reconnect.backoff.max.ms", "500")
            .create()
            .unwrap();
        let mut all = TopicPartitionList::new();
        for partition in 0..PARTITIONS {
            all.add_partition_offset(TOPIC, partition, Offset::Beginning).unwrap();
        }
        consumer.assign(&all).unwrap();
        let (seen, stop) = (Arc::default(), Arc::default());
        let reader = {
            let (seen, stop) = (Arc::clone(&seen), Arc::clone(&stop));
            std::thread::spawn(move || read(&consumer, &seen, &stop))
        };
        Topic { cluster, brokers, seen, stop, reader: Some(reader) }
    }

    /// The flags that make a sidecar publish here.
    pub(crate) fn flags(&self) -> [&str; 4] {
        ["--kafka-brokers", &self.brokers, "--kafka-topic", TOPIC]
    }

    /// Messages, repeats included.
    pub(crate) fn messages(&self) -> u64 {
        self.seen.lock().unwrap().messages
    }

    /// Waits until all that these lines hold has come.
    pub(crate) fn has(&self, lines: &[String]) {
        let stored: Vec<_> = lines.iter().map(|line| key(line)).collect();
        wait_for("every event to arrive", || {
            let seen = self.seen.lock().unwrap();
            stored.iter().all(|key| seen.bodies.contains_key(key)).then_some(())
        });
    }

    /// Waits until so many events have come, and returns them all: a ledger that is short of room
    /// deletes what is delivered.
    pub(crate) fn all(&self, events: usize) -> Vec<String> {
        wait_for("every event to arrive", || {
            (self.seen.lock().unwrap().bodies.len() >= events).then_some(())
        });
        let seen = self.seen.lock().unwrap();
        assert!(seen.altered.is_empty(), "one id, two bodies: {:?}", seen.altered);
        seen.bodies.values().cloned().collect()
    }

    /// Waits until all that these lines hold has come; then the topic holds that and nothing else,
    /// byte for byte. Returns how many messages were repeats.
    pub(crate) fn holds(&self, lines: &[String]) -> u64 {
        let stored: HashMap<_, _> = lines.iter().map(|line| (key(line), line.as_str())).collect();
        assert_eq!(stored.len(), lines.len(), "two stored events with one id");
        self.has(lines);
        let seen = self.seen.lock().unwrap();
        assert!(seen.altered.is_empty(), "one id, two bodies: {:?}", seen.altered);
        for (key, body) in &seen.bodies {
            let stored = stored.get(key).unwrap_or_else(|| panic!("published and not stored: {body}"));
            assert_eq!(stored, body, "published otherwise than stored");
        }
        seen.messages - seen.bodies.len() as u64
    }
}

impl Drop for Topic {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        if let Some(reader) = self.reader.take() {
            let _ = reader.join();
        }
    }
}

fn key(line: &str) -> (String, String) {
    let event: Value = serde_json::from_str(line).unwrap();
    let text = |name: &str| event[name].as_str().unwrap().to_owned();
    (text("source"), text("id"))
}

fn read(consumer: &BaseConsumer, seen: &Mutex<Seen>, stop: &AtomicBool) {
    while !stop.load(Ordering::SeqCst) {
        // An error is an outage that a test has made; the consumer goes on by itself.
        let Some(Ok(message)) = consumer.poll(Duration::from_millis(100)) else { continue };
        let body = String::from_utf8(message.payload().unwrap().to_vec()).unwrap();
        let mut seen = seen.lock().unwrap();
        seen.messages += 1;
        let key = key(&body);
        if seen.bodies.get(&key).is_some_and(|first| *first != body) {
            seen.altered.push(key.1.clone());
        }
        seen.bodies.entry(key).or_insert(body);
    }
}
