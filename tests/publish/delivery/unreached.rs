//! Before there was a connection: what is counted and shown, how often is tried, and that nothing comes about.

use std::net::TcpStream;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::mocking::MockCluster;
use rustls::ServerConnection;
use tokenweir::publish::{Auth, ErrorClass, KafkaConfig, PublishStats, Publisher};

use crate::certs::{Authority, server};
use crate::rig::{Broker, PARTITIONS, Rig, TOPIC};
use crate::support::forwarder::most_in_a_second;
use crate::support::{PATIENCE, eventually, fake_service};

/// Tries of the client in a second, with its second connection that asks how the broker is.
const TRIES_MAX: usize = 10;
/// Long enough for the second connection, which begins after three seconds of silence.
const WATCHED: Duration = Duration::from_secs(8);
/// .. and as long as a stop is given.
const FLUSH: Duration = Duration::from_secs(4);

/// Notes when connections come, and does this with each.
fn door(with: impl Fn(TcpStream) + Send + Sync + 'static) -> (String, Arc<Mutex<Vec<Instant>>>) {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let noted = Arc::clone(&seen);
    let address = fake_service::serve(move |stream| {
        noted.lock().unwrap().push(Instant::now());
        with(stream);
    });
    (address.to_string(), seen)
}

fn connection_errors(stats: &PublishStats) -> u64 {
    stats.errors[ErrorClass::Connection as usize]
}

fn config(brokers: String, properties: &[(&str, &str)]) -> KafkaConfig {
    let owned = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
    let properties = properties.iter().map(owned).collect();
    KafkaConfig { brokers, topic: TOPIC.to_owned(), auth: Auth::None, properties }
}

#[test]
fn a_broker_that_is_never_reached_is_counted_shown_and_not_pressed() {
    let shown = Arc::new(server(&Authority::new("somebody's").issue(&["127.0.0.1"])));
    let untrusted = door(move |mut stream| {
        let mut tls = ServerConnection::new(Arc::clone(&shown)).unwrap();
        while tls.is_handshaking() && tls.complete_io(&mut stream).is_ok() {}
    });
    let closing = door(drop);
    std::thread::scope(|scope| {
        for (what, (address, seen), properties) in
            [("untrusted", untrusted, &[("security.protocol", "ssl")][..]), ("closing", closing, &[])]
        {
            scope.spawn(move || {
                let rig = Rig::new();
                rig.calls(3);
                let publisher = Publisher::of_ledger(
                    config(address, &[properties, &[("statistics.interval.ms", "500")]].concat()),
                    rig.ledger.clone(),
                )
                .unwrap();
                eventually("an error to be counted", || connection_errors(&publisher.stats()) > 0);
                std::thread::sleep(WATCHED);
                let stats = publisher.stats();
                assert!(!stats.reachable, "{what}: {stats:?}");
                let running = seen.lock().unwrap().len();
                // Those of the second connection do not count.
                assert!(
                    (3..=running as u64).contains(&connection_errors(&stats)),
                    "{what}: {running}, {stats:?}"
                );
                assert_eq!(publisher.stop(FLUSH), 3, "{what}: nothing is delivered");
                let seen = seen.lock().unwrap().clone();
                let (before, after) = seen.split_at(running);
                let most = [before, after].map(most_in_a_second);
                println!(
                    "{what}: {} tries running, {} stopping, most in a second {most:?}",
                    before.len(),
                    after.len()
                );
                assert!(most.iter().all(|most| *most < TRIES_MAX), "{what}: {most:?}");
                assert!(before.len() > 3, "{what}: it is tried again");
            });
        }
    });
}

#[test]
fn a_broker_that_answers_is_shown_as_reachable_at_once() {
    let (broker, rig) = (Broker::mock(), Rig::new());
    let publisher =
        Publisher::of_ledger(broker.with("statistics.interval.ms", "100"), rig.ledger.clone()).unwrap();
    assert!(!publisher.stats().reachable, "there was no connection yet");
    rig.calls(1);
    rig.arrives(&broker);
    eventually("it to be shown", || publisher.stats().reachable);
    assert_eq!(connection_errors(&publisher.stats()), 0);
    rig.end(publisher);
}

/// The embedded broker makes topics that are asked for, as Kafka does by default, unless the question forbids it.
#[test]
fn a_topic_that_is_not_there_is_never_made_and_found_when_somebody_makes_it() {
    let cluster: crate::support::kafka::Cluster = MockCluster::new(1).unwrap();
    let servers = cluster.bootstrap_servers();
    let asker = |may_make: &str| -> BaseConsumer {
        let mut client = ClientConfig::new();
        client.set("bootstrap.servers", &servers).set("allow.auto.create.topics", may_make);
        client.create().unwrap()
    };
    let is_there = |asker: &BaseConsumer, topic: &str| {
        let metadata = asker.fetch_metadata(Some(topic), PATIENCE).unwrap();
        metadata.topics().iter().any(|topic| topic.error().is_none() && !topic.partitions().is_empty())
    };
    assert!(is_there(&asker("true"), "another"), "this broker makes topics");
    let looking = asker("false");
    let rig = Rig::new();
    rig.calls(3);
    let publisher = Publisher::of_ledger(config(servers.clone(), &[]), rig.ledger.clone()).unwrap();
    // The client has asked for the topic, and was asked to send to it.
    eventually("the publisher to be told", || {
        let stats = publisher.stats();
        assert!(!is_there(&looking, TOPIC), "it was made: {stats:?}");
        stats.errors[ErrorClass::Setting as usize] > 0
    });
    assert_eq!(rig.ledger.stats().undelivered, 3);
    cluster.create_topic(TOPIC, PARTITIONS, 1).unwrap();
    eventually("all delivered", || rig.ledger.stats().undelivered == 0);
    rig.end(publisher);
}
