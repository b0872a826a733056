//! Topics and consumers, on a real broker or on the embedded one.

use std::time::Duration;

use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::mocking::MockCluster;
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer, ThreadedProducer};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use uuid::Uuid;

use super::wait::{PATIENCE, eventually};

/// librdkafka's broker within this process: it keeps 5 MiB a partition and drops the oldest.
pub(crate) type Cluster = MockCluster<'static, DefaultProducerContext>;

/// The broker that the environment names.
pub(crate) fn real_broker() -> Option<String> {
    std::env::var("TOKENWEIR_TEST_BROKERS").ok()
}

/// The embedded broker with one topic.
pub(crate) fn embedded(topic: &str, partitions: i32) -> Cluster {
    let cluster = MockCluster::new(1).unwrap();
    cluster.create_topic(topic, partitions, 1).unwrap();
    cluster
}

/// Creates a topic of a new name on a real broker. Returns the name.
pub(crate) fn create_new(servers: &str, partitions: i32, settings: &[(&str, &str)]) -> String {
    let name = format!("tokenweir-test-{}", Uuid::now_v7());
    create(servers, &name, partitions, settings);
    name
}

/// Creates a topic on a broker that may still be starting.
pub(crate) fn create(servers: &str, name: &str, partitions: i32, settings: &[(&str, &str)]) {
    let admin = admin(servers);
    eventually("a topic", || {
        let new = NewTopic::new(name, partitions, TopicReplication::Fixed(1));
        let new = settings.iter().fold(new, |new, (key, value)| new.set(key, value));
        let options = AdminOptions::new().operation_timeout(Some(Duration::from_secs(5)));
        let made = block_on(admin.create_topics([&new], &options));
        made.is_ok_and(|made| made.iter().all(Result::is_ok))
    });
}

/// Puts messages on a topic, until the broker has all of them.
pub(crate) fn produce(servers: &str, topic: &str, bodies: &[String]) {
    let producer: ThreadedProducer<DefaultProducerContext> = ClientConfig::new()
        .set("bootstrap.servers", servers)
        .set("message.max.bytes", "2000000")
        .create()
        .unwrap();
    for (number, body) in bodies.iter().enumerate() {
        let key = number.to_string();
        producer.send(BaseRecord::to(topic).key(&key).payload(body)).map_err(|(error, _)| error).unwrap();
    }
    producer.flush(PATIENCE).unwrap();
}

/// Reads a topic from its beginning.
pub(crate) fn consumer(servers: &str, topic: &str, partitions: i32) -> BaseConsumer {
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
    for partition in 0..partitions {
        all.add_partition_offset(topic, partition, Offset::Beginning).unwrap();
    }
    consumer.assign(&all).unwrap();
    consumer
}

pub(crate) fn admin(servers: &str) -> AdminClient<DefaultClientContext> {
    ClientConfig::new().set("bootstrap.servers", servers).create().unwrap()
}

pub(crate) fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}
