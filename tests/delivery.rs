//! From ledger to topic: with a broker that works, one that goes away, and one that says no.
//!
//! With `TOKENWEIR_TEST_BROKERS` the tests that need no fault injection run on that broker, each on
//! a topic of its own; the others, and all of them without it, run on librdkafka's mock cluster.
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test may"
)]

mod support;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::time::{Duration, Instant};

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::message::{Headers, Message};
use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;
use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use support::{PATIENCE, call, check_completeness, eventually, options, stored, usage};
use tokenweir::ledger::{Ledger, Reader};
use tokenweir::publish::{Auth, Config, Publisher};
use tokenweir::report::{
    DrainOptions, EventsOptions, Input, Key, Report, ReportOptions, drain, events, report,
};
use tokenweir::usage::CloudEvent;
use uuid::Uuid;

const TOPIC: &str = "ai-usage";
const PARTITIONS: i32 = 4;

/// A broker with an empty topic.
struct Broker {
    servers: String,
    topic: String,
    mock: Option<MockCluster<'static, DefaultProducerContext>>,
}

impl Broker {
    fn mock() -> Broker {
        let mock = MockCluster::new(1).unwrap();
        mock.create_topic(TOPIC, PARTITIONS, 1).unwrap();
        Broker { servers: mock.bootstrap_servers(), topic: TOPIC.to_owned(), mock: Some(mock) }
    }

    /// The broker that the environment names, or else a mock.
    fn any() -> Broker {
        let Ok(servers) = std::env::var("TOKENWEIR_TEST_BROKERS") else {
            println!("broker: librdkafka's mock cluster");
            return Broker::mock();
        };
        println!("broker: {servers}");
        let topic = format!("tokenweir-test-{}", Uuid::now_v7());
        let admin: AdminClient<DefaultClientContext> =
            ClientConfig::new().set("bootstrap.servers", &servers).create().unwrap();
        let new = NewTopic::new(&topic, PARTITIONS, TopicReplication::Fixed(1));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let made = runtime.block_on(admin.create_topics([&new], &AdminOptions::new())).unwrap();
        made[0].as_ref().unwrap();
        Broker { servers, topic, mock: None }
    }

    fn cluster(&self) -> &MockCluster<'static, DefaultProducerContext> {
        self.mock.as_ref().unwrap()
    }

    fn config(&self) -> Config {
        Config {
            brokers: self.servers.clone(),
            topic: self.topic.clone(),
            auth: Auth::None,
            properties: Vec::new(),
        }
    }

    fn with(&self, key: &str, value: &str) -> Config {
        let mut config = self.config();
        config.properties.push((key.to_owned(), value.to_owned()));
        config
    }

    /// Fails the next requests to produce.
    fn fail(&self, error: RDKafkaRespErr, times: usize) {
        self.cluster().request_errors(RDKafkaApiKey::Produce, &vec![error; times]);
    }

    fn reader(&self) -> TopicReader {
        TopicReader::new(self)
    }
}

/// One message as it lies in the topic.
struct Record {
    key: String,
    headers: BTreeMap<String, String>,
    body: String,
    event: CloudEvent<serde_json::Value>,
}

/// Reads a topic from its beginning.
struct TopicReader {
    consumer: BaseConsumer,
    records: Vec<Record>,
}

impl TopicReader {
    fn new(broker: &Broker) -> TopicReader {
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
    fn until(&mut self, ids: &BTreeSet<String>) -> HashMap<String, String> {
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

    fn poll(&mut self, time: Duration) {
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
    fn bodies(&self) -> HashMap<String, String> {
        let mut bodies: HashMap<String, String> = HashMap::new();
        for record in &self.records {
            let first = bodies.entry(record.event.id.clone()).or_insert_with(|| record.body.clone());
            assert_eq!(*first, record.body, "one id, two bodies");
        }
        bodies
    }
}

/// A ledger, and the ids of its events.
struct Rig {
    dir: tempfile::TempDir,
    ledger: Ledger,
}

impl Rig {
    fn new() -> Rig {
        let dir = tempfile::tempdir().unwrap();
        let ledger = Ledger::open(options(dir.path(), true)).unwrap();
        Rig { dir, ledger }
    }

    fn calls(&self, count: u64) {
        let goal = self.ledger.stats().settled + count;
        for n in 0..count {
            call(&self.ledger, ["a", "b", "c", "d", "e"][n as usize % 5], n, n + 1);
        }
        eventually("stored", || self.ledger.stats().stored >= goal);
    }

    fn ids(&self) -> BTreeSet<String> {
        stored(self.dir.path()).into_iter().map(|event| event.id).collect()
    }

    /// Everything stored has arrived, and the ledger knows.
    fn arrives(&self, broker: &Broker) -> TopicReader {
        let mut reader = broker.reader();
        let seen = reader.until(&self.ids());
        for row in Reader::open(self.dir.path()).unwrap().after(0, usize::MAX).unwrap() {
            let event: CloudEvent<serde_json::Value> = serde_json::from_str(&row.body).unwrap();
            assert_eq!(seen[&event.id], row.body, "published as stored");
        }
        eventually("delivered", || self.ledger.stats().undelivered == 0);
        reader
    }

    fn end(self, publisher: Publisher) {
        self.ledger.finish().unwrap();
        assert_eq!(publisher.stop(PATIENCE), 0);
        self.ledger.close().unwrap();
        assert_eq!(self.ledger.stats().undelivered, 0);
        let reader = Reader::open(self.dir.path()).unwrap();
        assert_eq!(reader.delivered().unwrap(), reader.last().unwrap());
        check_completeness(&stored(self.dir.path()));
    }
}

#[test]
fn events_arrive_as_stored_with_key_and_headers() {
    let (broker, rig) = (Broker::any(), Rig::new());
    let publisher = Publisher::start(broker.config(), rig.ledger.clone()).unwrap();
    rig.calls(500);
    let reader = rig.arrives(&broker);
    for record in &reader.records {
        let event = &record.event;
        assert_eq!(record.key, event.partitionkey);
        let of = |name: &str| record.headers[name].as_str();
        assert_eq!((of("ce_id"), of("ce_source")), (event.id.as_str(), event.source.as_str()));
        assert_eq!((of("ce_type"), of("ce_specversion")), (event.kind.as_str(), "1.0"));
        assert_eq!(of("content-type"), "application/cloudevents+json; charset=UTF-8");
    }
    rig.end(publisher);
}

#[test]
fn what_a_stopped_publisher_left_the_next_one_sends() {
    let (broker, rig) = (Broker::any(), Rig::new());
    rig.calls(50);
    let publisher = Publisher::start(broker.config(), rig.ledger.clone()).unwrap();
    rig.arrives(&broker);
    assert_eq!(publisher.stop(PATIENCE), 0);
    rig.calls(50);
    let publisher = Publisher::start(broker.config(), rig.ledger.clone()).unwrap();
    rig.arrives(&broker);
    assert_eq!(publisher.stats().sent, 50, "what was delivered is not sent again");
    rig.end(publisher);
}

#[test]
fn an_outage_costs_nothing_but_time() {
    let (broker, rig) = (Broker::mock(), Rig::new());
    broker.cluster().broker_down(1).unwrap();
    let publisher = Publisher::start(broker.config(), rig.ledger.clone()).unwrap();
    rig.calls(300);
    assert_eq!(rig.ledger.stats().delivered, 0);
    broker.cluster().broker_up(1).unwrap();
    rig.arrives(&broker);
    broker.cluster().broker_down(1).unwrap();
    rig.calls(300);
    assert_eq!(publisher.stats().renewed, 0);
    broker.cluster().broker_up(1).unwrap();
    rig.arrives(&broker);
    rig.end(publisher);
}

#[test]
fn a_stop_without_a_broker_says_what_is_left_and_the_next_start_sends_it() {
    let (broker, rig) = (Broker::mock(), Rig::new());
    let down = Config { brokers: "127.0.0.1:1".to_owned(), ..broker.config() };
    let publisher = Publisher::start(down, rig.ledger.clone()).unwrap();
    rig.calls(20);
    rig.ledger.finish().unwrap();
    assert_eq!(publisher.stop(Duration::from_millis(300)), 21, "with the last control event");
    rig.ledger.close().unwrap();
    let dir = rig.dir;
    let ledger = Ledger::open(options(dir.path(), true)).unwrap();
    assert_eq!(ledger.stats().undelivered, 21);
    let rig = Rig { dir, ledger };
    let publisher = Publisher::start(broker.config(), rig.ledger.clone()).unwrap();
    rig.arrives(&broker);
    rig.end(publisher);
}

/// Every error of a produce request that librdkafka hands on: all arrive, without a busy loop.
#[test]
fn each_error_of_the_broker_is_survived() {
    use RDKafkaRespErr as E;
    let errors = [
        E::RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION,
        E::RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT,
        E::RD_KAFKA_RESP_ERR__TRANSPORT,
        E::RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS_AFTER_APPEND,
        E::RD_KAFKA_RESP_ERR_DUPLICATE_SEQUENCE_NUMBER,
        E::RD_KAFKA_RESP_ERR_POLICY_VIOLATION,
        E::RD_KAFKA_RESP_ERR_THROTTLING_QUOTA_EXCEEDED,
        E::RD_KAFKA_RESP_ERR_UNKNOWN,
        E::RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE,
        E::RD_KAFKA_RESP_ERR_UNSUPPORTED_FOR_MESSAGE_FORMAT,
        E::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED,
        E::RD_KAFKA_RESP_ERR_INVALID_PRODUCER_EPOCH,
        E::RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER,
        E::RD_KAFKA_RESP_ERR_UNKNOWN_PRODUCER_ID,
    ];
    for error in errors {
        let (broker, rig) = (Broker::mock(), Rig::new());
        let publisher = Publisher::start(broker.config(), rig.ledger.clone()).unwrap();
        rig.calls(1);
        rig.arrives(&broker);
        // Real brokers take a batch that they call a duplicate; the mock does not.
        let lost = error == E::RD_KAFKA_RESP_ERR_DUPLICATE_SEQUENCE_NUMBER;
        broker.fail(error, 1);
        rig.calls(40);
        if lost {
            eventually("a duplicate counts as delivered", || rig.ledger.stats().undelivered == 0);
        } else {
            rig.arrives(&broker);
        }
        assert_eq!(rig.ledger.stats().refused, 0, "{error:?}");
        let fatal = error == E::RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER;
        assert!(!fatal || publisher.stats().renewed >= 1, "{error:?}");
        assert!(publisher.stats().sent < 41 * 6, "{error:?}: sent {} times", publisher.stats().sent);
        rig.end(publisher);
    }
}

#[test]
fn lasting_throttling_is_not_met_with_a_busy_loop() {
    let (broker, rig) = (Broker::mock(), Rig::new());
    let publisher = Publisher::start(broker.config(), rig.ledger.clone()).unwrap();
    rig.calls(1);
    rig.arrives(&broker);
    broker.fail(RDKafkaRespErr::RD_KAFKA_RESP_ERR_POLICY_VIOLATION, 1_000);
    let began = Instant::now();
    rig.calls(10);
    eventually("backing off", || publisher.stats().backing_off);
    std::thread::sleep(Duration::from_secs(3));
    let tries = publisher.stats().sent / 10;
    assert!(tries <= 10 * (1 + began.elapsed().as_secs()), "{tries} tries");
    broker.cluster().clear_request_errors(RDKafkaApiKey::Produce);
    rig.arrives(&broker);
    rig.end(publisher);
}

#[test]
fn an_event_refused_alone_three_times_is_kept_and_the_others_go() {
    let (broker, rig) = (Broker::mock(), Rig::new());
    let publisher = Publisher::start(broker.config(), rig.ledger.clone()).unwrap();
    rig.calls(1);
    rig.arrives(&broker);
    // Once in its batch, then three times alone. All to one partition: one caller.
    broker.fail(RDKafkaRespErr::RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE, 4);
    for n in 0..8 {
        call(&rig.ledger, "a", n, n);
    }
    eventually("the others delivered", || {
        let stats = rig.ledger.stats();
        stats.stored == 9 && stats.undelivered == 0
    });
    assert_eq!(rig.ledger.stats().refused, 1);
    let refused = Reader::open(rig.dir.path()).unwrap().refused(0, 10).unwrap();
    assert_eq!(refused.len(), 1);
    let gone: CloudEvent<serde_json::Value> = serde_json::from_str(&refused[0].row.body).unwrap();
    let mut others = rig.ids();
    others.remove(&gone.id);
    let mut reader = broker.reader();
    assert!(!reader.until(&others).contains_key(&gone.id));
    rig.ledger.finish().unwrap();
    let last = stored(rig.dir.path()).pop().unwrap();
    assert_eq!(last.data["refused"], 1, "the next control event says so");
    assert_eq!(publisher.stop(PATIENCE), 0);
}

#[test]
fn an_event_larger_than_the_client_takes_is_refused_and_the_others_go() {
    let (broker, rig) = (Broker::mock(), Rig::new());
    let config = broker.with("message.max.bytes", "4000");
    let publisher = Publisher::start(config, rig.ledger.clone()).unwrap();
    rig.calls(10);
    let (id, mut large) = (Uuid::now_v7(), usage("a", 1, 1));
    large.accounting.reasons = (0..400).map(|n| format!("output:reason-{n}")).collect();
    let settled = tokenweir::usage::Settled { id, time: jiff::Timestamp::now(), usage: large };
    rig.ledger.reserve().unwrap().open(id, &usage("a", 1, 1)).settle(settled);
    rig.calls(10);
    eventually("all dealt with", || {
        let stats = rig.ledger.stats();
        (stats.stored, stats.undelivered, stats.refused) == (21, 0, 1)
    });
    let mut others = rig.ids();
    others.remove(&id.to_string());
    broker.reader().until(&others);
    assert_eq!(publisher.stop(PATIENCE), 0);
}

#[test]
fn a_full_client_queue_only_slows() {
    let (broker, rig) = (Broker::mock(), Rig::new());
    let config = broker.with("queue.buffering.max.messages", "7");
    let publisher = Publisher::start(config, rig.ledger.clone()).unwrap();
    rig.calls(200);
    rig.arrives(&broker);
    rig.end(publisher);
}

#[test]
fn a_configuration_that_breaks_the_promise_does_not_start() {
    let (broker, rig) = (Broker::mock(), Rig::new());
    let refused = Publisher::start(broker.with("acks", "0"), rig.ledger.clone()).unwrap_err();
    assert!(refused.to_string().starts_with("acks: "), "{refused}");
}

/// What a process killed by -9 leaves: the files as they lie on disk, with a call still open.
fn dead_instance() -> (tempfile::TempDir, BTreeSet<String>) {
    let (alive, dead) = (Rig::new(), tempfile::tempdir().unwrap());
    let open = alive.ledger.reserve().unwrap().open(Uuid::now_v7(), &usage("cut", 3, 0));
    alive.calls(30);
    let mut ids = alive.ids();
    ids.insert(open.id().to_string());
    for file in ["ledger.sqlite3", "ledger.sqlite3-wal"] {
        std::fs::copy(alive.dir.path().join(file), dead.path().join(file)).unwrap();
    }
    open.settle(tokenweir::usage::Settled {
        id: Uuid::nil(),
        time: jiff::Timestamp::now(),
        usage: usage("cut", 3, 3),
    });
    (dead, ids)
}

fn drain_options(dir: &Path, config: Config, patience: Duration) -> DrainOptions {
    DrainOptions { ledger: options(dir, true), config, patience }
}

#[test]
fn drain_publishes_what_a_dead_instance_left_and_may_be_repeated() {
    let (broker, (dead, ids)) = (Broker::any(), dead_instance());
    let away = Config { brokers: "127.0.0.1:1".to_owned(), ..broker.config() };
    let none = drain(&drain_options(dead.path(), away, Duration::from_millis(200)), |_| {}).unwrap();
    assert!(none.left > 31 && none.delivered == 0, "{none:?}");
    let options = drain_options(dead.path(), broker.config(), PATIENCE);
    let all = drain(&options, |_| {}).unwrap();
    assert_eq!((all.left, all.refused), (0, 0), "{all:?}");
    assert!(all.delivered > none.left, "and the drains' own control events");
    let seen = broker.reader().until(&ids);
    let cut = seen.values().find(|body| body.contains("\"subject\":\"cut\"")).unwrap();
    assert!(cut.contains("\"outcome\":\"crashed\""), "{cut}");
    assert_eq!(drain(&options, |_| {}).unwrap().left, 0);
    check_completeness(&stored(dead.path()));
}

#[test]
fn drain_keeps_off_a_ledger_in_use_and_does_not_make_one() {
    let (broker, rig) = (Broker::mock(), Rig::new());
    let used = drain(&drain_options(rig.dir.path(), broker.config(), PATIENCE), |_| {}).unwrap_err();
    assert!(used.to_string().contains(&std::process::id().to_string()), "{used}");
    let nowhere = rig.dir.path().join("nowhere");
    assert!(drain(&drain_options(&nowhere, broker.config(), PATIENCE), |_| {}).is_err());
    assert!(!nowhere.exists());
}

fn report_of(input: Input) -> Report {
    let by = vec![Key::Caller, Key::Model, Key::Day, Key::Outcome];
    report(&ReportOptions { input, by, from: None, to: None, prices: None }).unwrap()
}

#[test]
fn a_report_from_the_topic_equals_the_report_from_the_ledger() {
    let (broker, rig) = (Broker::any(), Rig::new());
    let publisher = Publisher::start(broker.config(), rig.ledger.clone()).unwrap();
    rig.calls(200);
    rig.arrives(&broker);
    let mut from_topic = report_of(Input::Topic(broker.config()));
    let from_ledger = report_of(Input::Ledger(rig.dir.path().to_owned()));
    assert_eq!(from_ledger.total.calls, 200);
    assert_eq!(from_ledger.lines.len(), 5);
    assert_eq!(from_topic, from_ledger);
    // Everything a second time changes nothing: a new producer is not known to the broker.
    assert_eq!(publisher.stop(PATIENCE), 0);
    let again = copy_undelivered(&rig);
    drain(&drain_options(again.path(), broker.config(), PATIENCE), |_| {}).unwrap();
    from_topic = report_of(Input::Topic(broker.config()));
    assert_eq!(from_topic, from_ledger);
    let mut reader = broker.reader();
    reader.until(&rig.ids());
    eventually("repeats", || {
        reader.poll(Duration::from_millis(100));
        reader.records.len() >= 400
    });
}

/// The ledger once more, as if nothing of it had been delivered.
fn copy_undelivered(rig: &Rig) -> tempfile::TempDir {
    let copy = tempfile::tempdir().unwrap();
    for file in ["ledger.sqlite3", "ledger.sqlite3-wal"] {
        std::fs::copy(rig.dir.path().join(file), copy.path().join(file)).unwrap();
    }
    let db = rusqlite::Connection::open(copy.path().join("ledger.sqlite3")).unwrap();
    let changed =
        db.execute("UPDATE state SET value = json_set(value, '$.mark', 0) WHERE name = 'log'", []).unwrap();
    assert_eq!(changed, 1);
    copy
}

#[test]
fn events_prints_what_is_stored_and_follows_until_its_reader_leaves() {
    let rig = Rig::new();
    rig.calls(3);
    let mut options = EventsOptions { dir: rig.dir.path().to_owned(), follow: false, refused: false };
    let mut out = Vec::new();
    events(&options, &mut out, &mut std::io::sink()).unwrap();
    let rows = Reader::open(rig.dir.path()).unwrap().after(0, 10).unwrap();
    let bodies: Vec<&str> = rows.iter().map(|row| row.body.as_str()).collect();
    assert_eq!(String::from_utf8(out).unwrap().lines().collect::<Vec<_>>(), bodies);
    options.follow = true;
    let (reading, mut writing) = std::io::pipe().unwrap();
    let following = std::thread::spawn(move || {
        events(&options, &mut writing, &mut std::io::sink()).map_err(|e| e.to_string())
    });
    let mut lines = BufReader::new(reading).lines();
    for body in bodies {
        assert_eq!(lines.next().unwrap().unwrap(), body);
    }
    let id = call(&rig.ledger, "later", 1, 1).to_string();
    assert!(lines.next().unwrap().unwrap().contains(&id));
    drop(lines);
    call(&rig.ledger, "unseen", 1, 1);
    following.join().unwrap().unwrap();
}
