//! A broker with an empty topic, a reader of it, and a ledger to publish from.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::{Duration, Instant};

use metering::usage::CloudEvent;
use rdkafka::consumer::BaseConsumer;
use rdkafka::message::{Headers, Message};
use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};
use tokenweir::ledger::{Ledger, LedgerReader};
use tokenweir::publish::{Auth, KafkaConfig, Publisher};

use RDKafkaRespErr as E;

use crate::support::forwarder::Forwarder;
use crate::support::kafka::{self, Cluster};
use crate::support::turn::{self, Turn};
use crate::support::{PATIENCE, call, check_completeness, eventually, options, stored};

pub(crate) const TOPIC: &str = "ai-usage";
pub(crate) const PARTITIONS: i32 = 4;

/// Errors that librdkafka retries, hands on, or dies of. Two are not among them, because the embedded
/// broker does not do what they mean: after `DUPLICATE_SEQUENCE_NUMBER` it has not the events, and
/// after `UNKNOWN_PRODUCER_ID` it takes the next batch. `broker::real` has a broker that says the latter.
pub(crate) const ERRORS: [E; 15] = [
    E::RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION,
    E::RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT,
    E::RD_KAFKA_RESP_ERR__TRANSPORT,
    E::RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS,
    E::RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS_AFTER_APPEND,
    E::RD_KAFKA_RESP_ERR_POLICY_VIOLATION,
    E::RD_KAFKA_RESP_ERR_THROTTLING_QUOTA_EXCEEDED,
    E::RD_KAFKA_RESP_ERR_UNKNOWN,
    E::RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE,
    E::RD_KAFKA_RESP_ERR_UNSUPPORTED_FOR_MESSAGE_FORMAT,
    E::RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART,
    E::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED,
    E::RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED,
    E::RD_KAFKA_RESP_ERR_INVALID_PRODUCER_EPOCH,
    E::RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER,
];

/// A broker with an empty topic.
pub(crate) struct Broker {
    pub(crate) servers: String,
    pub(crate) topic: String,
    pub(crate) mock: Option<Cluster>,
    /// What the publisher connects through, if anything.
    pub(crate) forwarder: Option<Forwarder>,
}

impl Broker {
    pub(crate) fn mock() -> Broker {
        let mock = kafka::embedded(TOPIC, PARTITIONS);
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
        let servers = kafka::real_broker()?;
        println!("broker: {servers}");
        let topic = kafka::create_new(&servers, PARTITIONS, settings);
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

    pub(crate) fn cluster(&self) -> &Cluster {
        self.mock.as_ref().unwrap()
    }

    pub(crate) fn config(&self) -> KafkaConfig {
        KafkaConfig {
            brokers: self.forwarder.as_ref().map_or_else(|| self.servers.clone(), Forwarder::addr),
            topic: self.topic.clone(),
            auth: Auth::None,
            properties: Vec::new(),
        }
    }

    pub(crate) fn with(&self, key: &str, value: &str) -> KafkaConfig {
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
        let consumer = kafka::consumer(&broker.servers, &broker.topic, PARTITIONS);
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
    /// No test that measures this process runs meanwhile.
    _turn: Turn,
}

impl Rig {
    pub(crate) fn new() -> Rig {
        let dir = tempfile::tempdir().unwrap();
        let ledger = Ledger::open(options(dir.path(), true)).unwrap();
        Rig::of(dir, ledger)
    }

    pub(crate) fn of(dir: tempfile::TempDir, ledger: Ledger) -> Rig {
        Rig { dir, ledger, _turn: turn::beside() }
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
        for row in LedgerReader::open(self.dir.path()).unwrap().after(0, usize::MAX).unwrap() {
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
        let reader = LedgerReader::open(self.dir.path()).unwrap();
        assert_eq!(reader.delivered().unwrap(), reader.last().unwrap());
        check_completeness(&stored(self.dir.path()));
    }
}
