//! A broker with an empty topic, a reader of it, and a ledger to publish from.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::{Duration, Instant};

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::{Headers, Message};
use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;
use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use tokenweir::ledger::{Ledger, Reader};
use tokenweir::publish::{Auth, Config, Publisher};
use tokenweir::usage::CloudEvent;
use uuid::Uuid;

use crate::support::forwarder::Forwarder;
use crate::support::{PATIENCE, call, check_completeness, eventually, options, stored};

pub(crate) const TOPIC: &str = "ai-usage";
pub(crate) const PARTITIONS: i32 = 4;

/// A broker with an empty topic.
pub(crate) struct Broker {
    pub(crate) servers: String,
    pub(crate) topic: String,
    pub(crate) mock: Option<MockCluster<'static, DefaultProducerContext>>,
    /// What the publisher connects through, if anything.
    pub(crate) forwarder: Option<Forwarder>,
}

impl Broker {
    pub(crate) fn mock() -> Broker {
        let mock = MockCluster::new(1).unwrap();
        mock.create_topic(TOPIC, PARTITIONS, 1).unwrap();
        Broker {
            servers: mock.bootstrap_servers(),
            topic: TOPIC.to_owned(),
            mock: Some(mock),
            forwarder: None,
        }
    }

    /// The broker that the environment names, or else a mock.
    pub(crate) fn any() -> Broker {
        Broker::real(&[]).unwrap_or_else(|| {
            crate::skip::no_broker();
            println!("broker: librdkafka's mock cluster");
            Broker::mock()
        })
    }

    /// The broker that the environment names, with a new topic of these settings.
    pub(crate) fn real(settings: &[(&str, &str)]) -> Option<Broker> {
        let servers = std::env::var("TOKENWEIR_TEST_BROKERS").ok()?;
        println!("broker: {servers}");
        let topic = format!("tokenweir-test-{}", Uuid::now_v7());
        let admin: AdminClient<DefaultClientContext> =
            ClientConfig::new().set("bootstrap.servers", &servers).create().unwrap();
        let new = NewTopic::new(&topic, PARTITIONS, TopicReplication::Fixed(1));
        let new = settings.iter().fold(new, |new, (key, value)| new.set(key, value));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let made = runtime.block_on(admin.create_topics([&new], &AdminOptions::new())).unwrap();
        made[0].as_ref().unwrap();
        Some(Broker { servers, topic, mock: None, forwarder: None })
    }

    /// The publisher reaches it through a forwarder only.
    pub(crate) fn forwarded(mut self) -> Broker {
        self.forwarder = Some(Forwarder::new(&self.servers));
        self
    }

    pub(crate) fn forwarder(&self) -> &Forwarder {
        self.forwarder.as_ref().unwrap()
    }

    pub(crate) fn cluster(&self) -> &MockCluster<'static, DefaultProducerContext> {
        self.mock.as_ref().unwrap()
    }

    pub(crate) fn config(&self) -> Config {
        Config {
            brokers: self.forwarder.as_ref().map_or_else(|| self.servers.clone(), Forwarder::addr),
            topic: self.topic.clone(),
            auth: Auth::None,
            properties: Vec::new(),
        }
    }

    pub(crate) fn with(&self, key: &str, value: &str) -> Config {
        let mut config = self.config();
        config.properties.push((key.to_owned(), value.to_owned()));
        config
    }

    /// Fails the next requests to produce.
    pub(crate) fn fail(&self, error: RDKafkaRespErr, times: usize) {
        self.cluster().request_errors(RDKafkaApiKey::Produce, &vec![error; times]);
    }

    pub(crate) fn reader(&self) -> TopicReader {
        TopicReader::new(self)
    }
}

/// One message as it lies in the topic.
pub(crate) struct Record {
    pub(crate) key: String,
    pub(crate) headers: BTreeMap<String, String>,
    pub(crate) body: String,
    pub(crate) event: CloudEvent<serde_json::Value>,
}

/// Reads a topic from its beginning.
pub(crate) struct TopicReader {
    pub(crate) consumer: BaseConsumer,
    pub(crate) records: Vec<Record>,
}

impl TopicReader {
    pub(crate) fn new(broker: &Broker) -> TopicReader {
        let consumer: BaseConsumer = ClientConfig::new()
            .set("bootstrap.servers", &broker.servers)
            .set("group.id", "tokenweir-test")
            .set("enable.auto.commit", "false")
            .set("reconnect.backoff.max.ms", "500")
            .create()
            .unwrap();
        let mut all = TopicPartitionList::new();
        for partition in 0..PARTITIONS {
            all.add_partition_offset(&broker.topic, partition, Offset::Beginning).unwrap();
        }
        consumer.assign(&all).unwrap();
        TopicReader { consumer, records: Vec::new() }
    }

    /// Reads until every one of these ids has been seen; returns the bodies by id.
    pub(crate) fn until(&mut self, ids: &BTreeSet<String>) -> HashMap<String, String> {
        let began = Instant::now();
        loop {
            let seen = self.bodies();
            let missing = ids.iter().filter(|id| !seen.contains_key(*id)).count();
            if missing == 0 {
                return seen;
            }
            assert!(began.elapsed() < PATIENCE, "{missing} of {} events are missing", ids.len());
            self.poll(Duration::from_millis(200));
        }
    }

    pub(crate) fn poll(&mut self, time: Duration) {
        let mut wait = time;
        while let Some(message) = self.consumer.poll(wait) {
            wait = Duration::ZERO;
            let Ok(message) = message else { continue };
            let text = |bytes: Option<&[u8]>| String::from_utf8(bytes.unwrap().to_vec()).unwrap();
            let headers = message.headers().unwrap().iter();
            let body = text(message.payload());
            self.records.push(Record {
                key: text(message.key()),
                headers: headers.map(|header| (header.key.to_owned(), text(header.value))).collect(),
                event: serde_json::from_str(&body).unwrap(),
                body,
            });
        }
    }

    /// Bodies by id. Repeats are allowed, other bytes under the same id are not.
    pub(crate) fn bodies(&self) -> HashMap<String, String> {
        let mut bodies: HashMap<String, String> = HashMap::new();
        for record in &self.records {
            let first = bodies.entry(record.event.id.clone()).or_insert_with(|| record.body.clone());
            assert_eq!(*first, record.body, "one id, two bodies");
        }
        bodies
    }
}

/// A ledger, and the ids of its events.
pub(crate) struct Rig {
    pub(crate) dir: tempfile::TempDir,
    pub(crate) ledger: Ledger,
}

impl Rig {
    pub(crate) fn new() -> Rig {
        let dir = tempfile::tempdir().unwrap();
        let ledger = Ledger::open(options(dir.path(), true)).unwrap();
        Rig { dir, ledger }
    }

    pub(crate) fn calls(&self, count: u64) {
        let goal = self.ledger.stats().settled + count;
        for n in 0..count {
            call(&self.ledger, ["a", "b", "c", "d", "e"][n as usize % 5], n, n + 1);
        }
        eventually("stored", || self.ledger.stats().stored >= goal);
    }

    pub(crate) fn ids(&self) -> BTreeSet<String> {
        stored(self.dir.path()).into_iter().map(|event| event.id).collect()
    }

    /// Everything stored has arrived, and the ledger knows.
    pub(crate) fn arrives(&self, broker: &Broker) -> TopicReader {
        let mut reader = broker.reader();
        let seen = reader.until(&self.ids());
        for row in Reader::open(self.dir.path()).unwrap().after(0, usize::MAX).unwrap() {
            let event: CloudEvent<serde_json::Value> = serde_json::from_str(&row.body).unwrap();
            assert_eq!(seen[&event.id], row.body, "published as stored");
        }
        eventually("delivered", || self.ledger.stats().undelivered == 0);
        reader
    }

    pub(crate) fn end(self, publisher: Publisher) {
        self.ledger.finish().unwrap();
        assert_eq!(publisher.stop(PATIENCE), 0);
        self.ledger.close().unwrap();
        assert_eq!(self.ledger.stats().undelivered, 0);
        let reader = Reader::open(self.dir.path()).unwrap();
        assert_eq!(reader.delivered().unwrap(), reader.last().unwrap());
        check_completeness(&stored(self.dir.path()));
    }
}
