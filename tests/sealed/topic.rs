//! The capture topic, beside that of usage on one broker, and a plain consumer that takes all that comes.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use rdkafka::consumer::BaseConsumer;
use rdkafka::message::Message;
use serde_json::Value;
use uuid::Uuid;

use super::support::kafka::{self, Cluster};

/// The embedded broker keeps 5 MiB a partition and drops the oldest: there is room for what comes before it is read, as long
/// as calls are small.
const PARTITIONS: i32 = 64;

/// The messages that have come so far.
#[derive(Default)]
struct Seen {
    lines: Vec<String>,
    /// The sequences of each boot.
    sequences: BTreeMap<String, BTreeSet<u64>>,
    /// Boots whose last control event is there.
    ended: BTreeSet<String>,
}

impl Seen {
    fn add(&mut self, line: &str) {
        let event: Value = serde_json::from_str(line).unwrap();
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let is_control = event["data"]["instance"].is_string();
        let boot = text(if is_control { &event["subject"] } else { &event["data"]["reporter"]["instance"] });
        self.sequences.entry(boot).or_default().insert(text(&event["sequence"]).parse().unwrap());
        if is_control && event["data"]["final"] == true {
            self.ended.insert(text(&event["data"]["instance"]));
        }
        self.lines.push(line.to_owned());
    }

    /// The last control event of each of so many boots has come, and nothing of any is missing: partitions are read in any
    /// order.
    fn has_ended(&self, boots: usize) -> bool {
        let is_whole = |sequences: &BTreeSet<u64>| sequences.last() == Some(&(sequences.len() as u64));
        self.ended.len() >= boots && self.sequences.values().all(is_whole)
    }
}

pub(crate) struct ContentTopic {
    pub(crate) servers: String,
    usage: String,
    content: String,
    cluster: Option<Cluster>,
    seen: Arc<Mutex<Seen>>,
    stop: Arc<AtomicBool>,
    reader: Option<JoinHandle<()>>,
}

impl ContentTopic {
    /// On the embedded broker.
    pub(crate) fn embedded() -> ContentTopic {
        let cluster = kafka::embedded("ai-usage", PARTITIONS);
        cluster.create_topic("ai-content", PARTITIONS, 1).unwrap();
        let servers = cluster.bootstrap_servers();
        ContentTopic::follow(servers, "ai-usage".to_owned(), "ai-content".to_owned(), Some(cluster))
    }

    /// New topics on a real broker.
    pub(crate) fn on(servers: &str) -> ContentTopic {
        let topic = || kafka::create_new(servers, PARTITIONS, &[]);
        ContentTopic::follow(servers.to_owned(), topic(), topic(), None)
    }

    fn follow(servers: String, usage: String, content: String, cluster: Option<Cluster>) -> ContentTopic {
        let (seen, stop) = (Arc::<Mutex<Seen>>::default(), Arc::<AtomicBool>::default());
        let consumer = kafka::consumer(&servers, &content, PARTITIONS);
        let reader = {
            let (seen, stop) = (Arc::clone(&seen), Arc::clone(&stop));
            std::thread::spawn(move || read(&consumer, &seen, &stop))
        };
        ContentTopic { servers, usage, content, cluster, seen, stop, reader: Some(reader) }
    }

    /// Flags that have a sidecar publish here, by way of these brokers.
    pub(crate) fn flags<'a>(&'a self, servers: &'a str) -> [&'a str; 6] {
        ["--kafka-brokers", servers, "--kafka-topic", &self.usage, "--capture-topic", &self.content]
    }

    /// Another topic on the same broker, with these messages. Returns its name.
    pub(crate) fn with(&self, lines: &[String]) -> String {
        let name = format!("content-{}", Uuid::now_v7());
        match &self.cluster {
            Some(cluster) => cluster.create_topic(&name, PARTITIONS, 1).unwrap(),
            None => kafka::create(&self.servers, &name, PARTITIONS, &[]),
        }
        kafka::produce(&self.servers, &name, lines);
        name
    }

    /// All messages so far, repeats included, byte for byte.
    pub(crate) fn lines(&self) -> Vec<String> {
        self.seen.lock().unwrap().lines.clone()
    }

    /// The same, read.
    pub(crate) fn events(&self) -> Vec<Value> {
        self.lines().iter().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// All of so many boots has come, to the last control event of each.
    pub(crate) fn has_ended(&self, boots: usize) -> bool {
        self.seen.lock().unwrap().has_ended(boots)
    }
}

impl Drop for ContentTopic {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        if let Some(reader) = self.reader.take() {
            let _ = reader.join();
        }
    }
}

fn read(consumer: &BaseConsumer, seen: &Mutex<Seen>, stop: &AtomicBool) {
    while !stop.load(Ordering::SeqCst) {
        // An error is a fault that a test has made; the consumer goes on by itself.
        let Some(Ok(message)) = consumer.poll(Duration::from_millis(100)) else { continue };
        let body = std::str::from_utf8(message.payload().unwrap()).unwrap();
        seen.lock().unwrap().add(body);
    }
}
