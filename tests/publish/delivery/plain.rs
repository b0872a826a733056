//! What arrives, and what a stop, a restart and an outage leave.

use std::time::Duration;

use tokenweir::ledger::Ledger;
use tokenweir::publish::{KafkaConfig, Publisher};

use crate::rig::{Broker, Rig};
use crate::support::{PATIENCE, options};

#[test]
fn events_arrive_as_stored_with_key_and_headers() {
    let (broker, rig) = (Broker::any(), Rig::new());
    let publisher = Publisher::of_ledger(broker.config(), rig.ledger.clone()).unwrap();
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
    let publisher = Publisher::of_ledger(broker.config(), rig.ledger.clone()).unwrap();
    rig.arrives(&broker);
    assert_eq!(publisher.stop(PATIENCE), 0);
    rig.calls(50);
    let publisher = Publisher::of_ledger(broker.config(), rig.ledger.clone()).unwrap();
    rig.arrives(&broker);
    assert_eq!(publisher.stats().sent, 50, "what was delivered is not sent again");
    rig.end(publisher);
}

#[test]
fn an_outage_costs_nothing_but_time() {
    let (broker, rig) = (Broker::mock(), Rig::new());
    broker.cluster().broker_down(1).unwrap();
    let publisher = Publisher::of_ledger(broker.config(), rig.ledger.clone()).unwrap();
    rig.calls(300);
    assert_eq!(rig.ledger.stats().delivered, 0);
    broker.cluster().broker_up(1).unwrap();
    rig.arrives(&broker);
    broker.cluster().broker_down(1).unwrap();
    rig.calls(300);
    assert_eq!(publisher.stats().replaced, 0);
    broker.cluster().broker_up(1).unwrap();
    rig.arrives(&broker);
    rig.end(publisher);
}

#[test]
fn a_stop_without_a_broker_says_what_is_left_and_the_next_start_sends_it() {
    let (broker, rig) = (Broker::mock(), Rig::new());
    let down = KafkaConfig { brokers: "127.0.0.1:1".to_owned(), ..broker.config() };
    let publisher = Publisher::of_ledger(down, rig.ledger.clone()).unwrap();
    rig.calls(20);
    rig.ledger.finish().unwrap();
    assert_eq!(publisher.stop(Duration::from_millis(300)), 21, "with the last control event");
    rig.ledger.close().unwrap();
    let dir = rig.dir;
    let ledger = Ledger::open(options(dir.path(), true)).unwrap();
    assert_eq!(ledger.stats().undelivered, 21);
    let rig = Rig::of(dir, ledger);
    let publisher = Publisher::of_ledger(broker.config(), rig.ledger.clone()).unwrap();
    rig.arrives(&broker);
    rig.end(publisher);
}
