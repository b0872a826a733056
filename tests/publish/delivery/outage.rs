//! A broker that is slow, empty, or silent at the end. More in `broker`, under load.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use rdkafka::types::RDKafkaRespErr;
use tokenweir::publish::Publisher;

use crate::rig::{Broker, Rig};
use crate::support::forwarder::Mode;
use crate::support::{call, eventually};

/// A broker that answers, late: nobody takes its connection for dead, and nothing is sent twice.
#[test]
fn a_slow_broker_is_waited_for() {
    let (broker, rig) = (Broker::mock().forwarded(), Rig::new());
    let publisher = Publisher::of_ledger(broker.config(), rig.ledger.clone()).unwrap();
    rig.calls(1);
    rig.arrives(&broker);
    // Longer than the silence after which the publisher looks around.
    broker.forwarder().set(Mode::Delay(Duration::from_secs(5)));
    for n in 0..20 {
        call(&rig.ledger, "a", n, n);
    }
    eventually("delivered", || rig.ledger.stats().delivered == 21);
    let stats = publisher.stats();
    assert_eq!((stats.replaced, stats.sent), (0, 21), "{stats:?}");
    broker.forwarder().set(Mode::Pass);
    rig.arrives(&broker);
    rig.end(publisher);
}

/// The broker comes back without its log and without knowing any producer, which is fatal for the
/// old one.
#[test]
fn a_broker_that_lost_its_state_gets_a_new_producer() {
    let (broker, empty, rig) = (Broker::mock().forwarded(), Broker::mock(), Rig::new());
    let publisher = Publisher::of_ledger(broker.config(), rig.ledger.clone()).unwrap();
    rig.calls(50);
    rig.arrives(&broker);
    let before = rig.ids();
    broker.forwarder().set(Mode::Refuse);
    rig.calls(100);
    eventually("under way", || publisher.stats().in_flight >= 100);
    empty.fail(RDKafkaRespErr::RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER, 1);
    broker.forwarder().redirect(&empty.servers);
    broker.forwarder().set(Mode::Pass);
    let back = Instant::now();
    eventually("replaced", || publisher.stats().replaced == 1);
    let replaced = back.elapsed();
    eventually("delivered", || rig.ledger.stats().undelivered == 0);
    println!("replaced after {replaced:?}, delivered after {:?}", back.elapsed());
    assert!(back.elapsed() < Duration::from_secs(5), "{:?}", back.elapsed());
    let after: BTreeSet<String> = rig.ids().difference(&before).cloned().collect();
    assert_eq!(after.len(), 100);
    empty.reader().until(&after);
    rig.end(publisher);
}

/// A stop does not wait for a broker that says nothing.
#[test]
fn a_stop_in_front_of_a_silent_broker_keeps_its_time() {
    let (broker, rig) = (Broker::mock().forwarded(), Rig::new());
    let publisher = Publisher::of_ledger(broker.config(), rig.ledger.clone()).unwrap();
    rig.calls(1);
    rig.arrives(&broker);
    broker.forwarder().set(Mode::BlackHole);
    rig.calls(50);
    eventually("under way", || publisher.stats().in_flight >= 50);
    rig.ledger.finish().unwrap();
    let began = Instant::now();
    assert_eq!(publisher.stop(Duration::from_secs(1)), 51, "with the last control event");
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
}
