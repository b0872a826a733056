//! A topic, and a reader that takes everything from it as it comes: the embedded broker keeps 5 MiB
//! a partition and drops the oldest. The reader is never in the way of a fault: it goes to the broker
//! itself.
//!
//! What it keeps is small, so that a test may look at its own memory: an id and a hash a message. Only a
//! test that asks for it has the bodies too.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use rdkafka::consumer::BaseConsumer;
use rdkafka::message::Message;
use serde::Deserialize;
use tokenweir::ledger::LedgerReader;
use uuid::Uuid;

use super::kafka::{self, Cluster};
use super::{PATIENCE, eventually};

pub(crate) const PARTITIONS: i32 = 4;
/// Where events come faster.
const PARTITIONS_MANY: i32 = 16;
const TOPIC: &str = "ai-usage";
/// Rows of the ledger that are compared at once.
const PAGE_ROWS: usize = 1_000;
/// How long no message may come before a reader has read everything.
const QUIET: Duration = Duration::from_millis(300);

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
    /// The bodies themselves, if they are kept.
    texts: Vec<String>,
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
    partitions: i32,
    /// Bodies are kept, not only their hashes.
    keeps: bool,
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
        Topic::embedded_of(PARTITIONS, false)
    }

    /// On an embedded broker, with room for more; the bodies are kept.
    pub(crate) fn start() -> Topic {
        Topic::embedded_of(PARTITIONS_MANY, true)
    }

    fn embedded_of(partitions: i32, keeps: bool) -> Topic {
        let cluster = kafka::embedded(TOPIC, partitions);
        let mut topic = Topic::of(cluster.bootstrap_servers(), TOPIC.to_owned());
        (topic.cluster, topic.partitions, topic.keeps) = (Some(cluster), partitions, keeps);
        topic.read_again();
        topic
    }

    /// On the broker that the environment names, or else on the embedded one.
    #[track_caller]
    pub(crate) fn any() -> Topic {
        match kafka::real_broker() {
            Some(servers) => Topic::on(&servers, &[]),
            None => {
                super::skip::no_broker();
                Topic::embedded()
            }
        }
    }

    /// A new topic on a real broker.
    pub(crate) fn on(servers: &str, settings: &[(&str, &str)]) -> Topic {
        let name = kafka::create_new(servers, PARTITIONS, settings);
        let mut topic = Topic::of(servers.to_owned(), name);
        topic.read_again();
        topic
    }

    fn of(servers: String, name: String) -> Topic {
        let (seen, stop) = (Arc::default(), Arc::default());
        Topic { servers, name, cluster: None, partitions: PARTITIONS, keeps: false, seen, stop, reader: None }
    }

    /// The flags that make a sidecar publish here.
    pub(crate) fn flags(&self) -> [&str; 4] {
        ["--kafka-brokers", &self.servers, "--kafka-topic", &self.name]
    }

    pub(crate) fn cluster(&self) -> &Cluster {
        self.cluster.as_ref().unwrap()
    }

    /// Forgets what was read and reads from the beginning: the broker has lost its state.
    pub(crate) fn read_again(&mut self) {
        self.end();
        (self.seen, self.stop) = (Arc::default(), Arc::default());
        let consumer = kafka::consumer(&self.servers, &self.name, self.partitions);
        let (seen, stop, keeps) = (Arc::clone(&self.seen), Arc::clone(&self.stop), self.keeps);
        self.reader = Some(std::thread::spawn(move || read(&consumer, &seen, &stop, keeps)));
    }

    /// Messages, repeats included.
    pub(crate) fn messages(&self) -> u64 {
        self.seen.lock().unwrap().messages
    }

    /// Waits until every event after a position of this ledger has come. Then the topic holds, byte
    /// for byte, what the ledger holds and nothing else.
    pub(crate) fn holds(&self, ledger: &Path, after: u64) -> Held {
        let stored = stored(ledger);
        let refused: Vec<Key> = LedgerReader::open(ledger)
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
        let repeats = self.repeats(|key| stored.get(key).map(|(_, hash)| *hash));
        Held { events: stored.len(), repeats, refused: refused.len() }
    }

    /// Waits until all that these lines hold has come.
    pub(crate) fn has(&self, lines: &[String]) {
        let stored: Vec<Key> = lines.iter().map(|line| key(line)).collect();
        eventually("every event to arrive", || {
            let seen = self.seen.lock().unwrap();
            stored.iter().all(|key| seen.bodies.contains_key(key))
        });
    }

    /// Waits until so many events have come, and returns them all: a ledger that is short of room
    /// deletes what is delivered.
    pub(crate) fn all(&self, events: usize) -> Vec<String> {
        eventually("every event to arrive", || self.seen.lock().unwrap().bodies.len() >= events);
        let seen = self.seen.lock().unwrap();
        assert!(seen.altered.is_empty(), "one id, two bodies: {:?}", seen.altered);
        seen.texts.clone()
    }

    /// Waits until all that these lines hold has come; then the topic holds that and nothing else,
    /// byte for byte. Returns how many messages were repeats.
    pub(crate) fn holds_lines(&self, lines: &[String]) -> u64 {
        let stored: HashMap<Key, u64> = lines.iter().map(|line| (key(line), hash(line))).collect();
        assert_eq!(stored.len(), lines.len(), "two stored events with one id");
        self.has(lines);
        self.repeats(|key| stored.get(key).copied())
    }

    /// What came is what was stored. Returns how many messages were repeats.
    fn repeats(&self, stored: impl Fn(&Key) -> Option<u64>) -> u64 {
        let seen = self.seen.lock().unwrap();
        assert!(seen.altered.is_empty(), "one id, two bodies: {:?}", seen.altered);
        for (key, body) in &seen.bodies {
            let stored = stored(key).unwrap_or_else(|| panic!("published and not stored: {key:?}"));
            assert_eq!(stored, *body, "published otherwise than stored: {key:?}");
        }
        seen.messages - seen.bodies.len() as u64
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

fn read(consumer: &BaseConsumer, seen: &Mutex<Seen>, stop: &AtomicBool, keeps: bool) {
    while !stop.load(Ordering::SeqCst) {
        // An error is a fault that a test has made; the consumer goes on by itself.
        let Some(Ok(message)) = consumer.poll(Duration::from_millis(100)) else { continue };
        let body = std::str::from_utf8(message.payload().unwrap()).unwrap();
        let (key, text, body) = (key(body), body, hash(body));
        let mut seen = seen.lock().unwrap();
        seen.messages += 1;
        seen.last = Some(Instant::now());
        match seen.bodies.get(&key) {
            Some(first) if *first != body => seen.altered.push(key.1),
            Some(_) => {}
            None => {
                seen.bodies.insert(key, body);
                seen.texts.extend(keeps.then(|| text.to_owned()));
            }
        }
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
    let reader = LedgerReader::open(ledger).unwrap();
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
