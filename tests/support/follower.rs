//! A topic, and a reader that takes everything from it as it comes: the embedded broker keeps 5 MiB
//! a partition and drops the oldest. The reader is never in the way of a fault: it goes to the broker
//! itself.
//!
//! What it keeps is small, so that a test may look at its own memory: an id and a hash a message.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::Message;
use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use serde::Deserialize;
use tokenweir::ledger::Reader;
use uuid::Uuid;

use super::{PATIENCE, eventually};

pub(crate) const PARTITIONS: i32 = 4;
/// Rows of the ledger that are compared at once.
const PAGE_ROWS: usize = 1_000;
/// How long no message may come before a reader has read everything.
const QUIET: Duration = Duration::from_millis(300);

pub(crate) type Cluster = MockCluster<'static, DefaultProducerContext>;

/// What an event is known by.
type Key = (String, Uuid);

#[derive(Deserialize)]
struct Head {
    source: String,
    id: Uuid,
}

/// What was read.
#[derive(Default)]
struct Seen {
    /// A hash of the body by source and id.
    bodies: HashMap<Key, u64>,
    messages: u64,
    /// Ids that came a second time with other bytes.
    altered: Vec<Uuid>,
    last: Option<Instant>,
}

/// A topic that is followed.
pub(crate) struct Topic {
    pub(crate) servers: String,
    pub(crate) name: String,
    /// The embedded broker, if it is that.
    pub(crate) cluster: Option<Cluster>,
    seen: Arc<Mutex<Seen>>,
    stop: Arc<AtomicBool>,
    reader: Option<JoinHandle<()>>,
}

/// What a topic held in the end.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Held {
    /// Events stored, all of which the topic has, refused ones excepted.
    pub(crate) events: usize,
    /// Messages that were repeats, byte for byte.
    pub(crate) repeats: u64,
    /// Events that the broker refused for good.
    pub(crate) refused: usize,
}

impl Topic {
    /// On the embedded broker.
    pub(crate) fn embedded() -> Topic {
        let cluster = MockCluster::new(1).unwrap();
        cluster.create_topic("ai-usage", PARTITIONS, 1).unwrap();
        Topic::follow(cluster.bootstrap_servers(), "ai-usage", Some(cluster))
    }

    /// On the broker that the environment names, or else on the embedded one.
    #[track_caller]
    pub(crate) fn any() -> Topic {
        match std::env::var("TOKENWEIR_TEST_BROKERS") {
            Ok(servers) => Topic::on(&servers, &[]),
            Err(_) => {
                crate::skip::no_broker();
                Topic::embedded()
            }
        }
    }

    /// A new topic on a real broker.
    pub(crate) fn on(servers: &str, settings: &[(&str, &str)]) -> Topic {
        let name = format!("tokenweir-test-{}", Uuid::now_v7());
        create(servers, &name, settings);
        Topic::follow(servers.to_owned(), &name, None)
    }

    fn follow(servers: String, name: &str, cluster: Option<Cluster>) -> Topic {
        let (seen, stop) = (Arc::default(), Arc::default());
        let mut topic = Topic { servers, name: name.to_owned(), cluster, seen, stop, reader: None };
        topic.read_again();
        topic
    }

    /// Forgets what was read and reads from the beginning: the broker has lost its state.
    pub(crate) fn read_again(&mut self) {
        self.end();
        (self.seen, self.stop) = (Arc::default(), Arc::default());
        let consumer = consumer(&self.servers, &self.name);
        let (seen, stop) = (Arc::clone(&self.seen), Arc::clone(&self.stop));
        self.reader = Some(std::thread::spawn(move || read(&consumer, &seen, &stop)));
    }

    /// Messages, repeats included.
    pub(crate) fn messages(&self) -> u64 {
        self.seen.lock().unwrap().messages
    }

    /// Waits until every event after a position of this ledger has come. Then the topic holds, byte
    /// for byte, what the ledger holds and nothing else.
    pub(crate) fn holds(&self, ledger: &Path, after: u64) -> Held {
        let stored = stored(ledger);
        let refused: Vec<Key> = Reader::open(ledger)
            .unwrap()
            .refused(0, usize::MAX)
            .unwrap()
            .iter()
            .map(|r| key(&r.row.body))
            .collect();
        let wanted = |position: u64, key: &Key| position > after && !refused.contains(key);
        let missing = || {
            let seen = self.seen.lock().unwrap();
            let missing =
                stored.iter().filter(|(key, (at, _))| wanted(*at, key) && !seen.bodies.contains_key(*key));
            missing.map(|(_, (position, _))| *position).collect::<Vec<_>>()
        };
        let began = Instant::now();
        while let missing @ [_, ..] = missing().as_mut_slice() {
            missing.sort_unstable();
            assert!(
                began.elapsed() < PATIENCE,
                "{} of {} events are missing, at {missing:?}",
                missing.len(),
                stored.len()
            );
            std::thread::sleep(Duration::from_millis(100));
        }
        // Repeats may be behind the last that was missing.
        eventually("the reader to have read everything", || {
            self.seen.lock().unwrap().last.is_none_or(|last| last.elapsed() > QUIET)
        });
        let seen = self.seen.lock().unwrap();
        assert!(seen.altered.is_empty(), "one id, two bodies: {:?}", seen.altered);
        for (key, body) in &seen.bodies {
            let (_, stored) = stored.get(key).unwrap_or_else(|| panic!("published and not stored: {key:?}"));
            assert_eq!(stored, body, "published otherwise than stored: {key:?}");
        }
        let repeats = seen.messages - seen.bodies.len() as u64;
        Held { events: stored.len(), repeats, refused: refused.len() }
    }

    fn end(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        if let Some(reader) = self.reader.take() {
            let _ = reader.join();
        }
    }
}

impl Drop for Topic {
    fn drop(&mut self) {
        self.end();
    }
}

/// Creates a topic on a broker that may still be starting.
pub(crate) fn create(servers: &str, name: &str, settings: &[(&str, &str)]) {
    let admin: AdminClient<DefaultClientContext> =
        ClientConfig::new().set("bootstrap.servers", servers).create().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    eventually("a topic", || {
        let new = NewTopic::new(name, PARTITIONS, TopicReplication::Fixed(1));
        let new = settings.iter().fold(new, |new, (key, value)| new.set(key, value));
        let options = AdminOptions::new().operation_timeout(Some(Duration::from_secs(5)));
        let made = runtime.block_on(admin.create_topics([&new], &options));
        made.is_ok_and(|made| made.iter().all(Result::is_ok))
    });
}

fn consumer(servers: &str, name: &str) -> BaseConsumer {
    let consumer: BaseConsumer = ClientConfig::new()
        .set("bootstrap.servers", servers)
        .set("group.id", "tokenweir-test")
        .set("enable.auto.commit", "false")
        .set("reconnect.backoff.max.ms", "500")
        // A reader that is quicker than the writer would else fill the test's memory.
        .set("queued.max.messages.kbytes", "4096")
        .create()
        .unwrap();
    let mut all = TopicPartitionList::new();
    for partition in 0..PARTITIONS {
        all.add_partition_offset(name, partition, Offset::Beginning).unwrap();
    }
    consumer.assign(&all).unwrap();
    consumer
}

fn read(consumer: &BaseConsumer, seen: &Mutex<Seen>, stop: &AtomicBool) {
    while !stop.load(Ordering::SeqCst) {
        // An error is a fault that a test has made; the consumer goes on by itself.
        let Some(Ok(message)) = consumer.poll(Duration::from_millis(100)) else { continue };
        let body = std::str::from_utf8(message.payload().unwrap()).unwrap();
        let (key, body) = (key(body), hash(body));
        let mut seen = seen.lock().unwrap();
        seen.messages += 1;
        seen.last = Some(Instant::now());
        if seen.bodies.get(&key).is_some_and(|first| *first != body) {
            seen.altered.push(key.1);
        }
        seen.bodies.entry(key).or_insert(body);
    }
}

fn key(body: &str) -> Key {
    let head: Head = serde_json::from_str(body).unwrap();
    (head.source, head.id)
}

fn hash(body: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    body.hash(&mut hasher);
    hasher.finish()
}

/// Position and hash of every stored event.
fn stored(ledger: &Path) -> HashMap<Key, (u64, u64)> {
    let reader = Reader::open(ledger).unwrap();
    let mut stored = HashMap::new();
    let mut last = 0;
    loop {
        let rows = reader.after(last, PAGE_ROWS).unwrap();
        let Some(end) = rows.last() else { return stored };
        last = end.position;
        for row in rows {
            let first = stored.insert(key(&row.body), (row.position, hash(&row.body)));
            assert!(first.is_none(), "two stored events with one id: {}", row.body);
        }
    }
}
