//! Each answer of the broker that is no yes: what becomes of the events, how often it is tried, how
//! soon all is well again.

use std::time::{Duration, Instant};

use metering::usage::{CloudEvent, Settled};
use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};
use tokenweir::ledger::LedgerReader;
use tokenweir::publish::{ErrorClass, Publisher};
use tokenweir::report::{EventsOptions, events};
use uuid::Uuid;

use crate::rig::{Broker, ERRORS, Rig};
use crate::support::forwarder::most_in_a_second;
use crate::support::{PATIENCE, call, eventually, stored, usage, within};
use RDKafkaRespErr as E;

/// After the last error.
const RECOVERY: Duration = Duration::from_secs(3);

/// Errors after which only a new producer helps.
const FATAL: E = E::RD_KAFKA_RESP_ERR_OUT_OF_ORDER_SEQUENCE_NUMBER;

/// Every error of a produce request of which librdkafka retries the event, or hands it on.
fn every_error() -> impl Iterator<Item = E> {
    ERRORS.into_iter().chain([E::RD_KAFKA_RESP_ERR_UNKNOWN_PRODUCER_ID])
}

/// Runs a case for each error at once: they mostly wait.
fn for_each(errors: impl IntoIterator<Item = E>, case: impl Fn(E) + Sync) {
    std::thread::scope(|scope| {
        for error in errors {
            let case = &case;
            scope.spawn(move || case(error));
        }
    });
}

#[test]
fn each_error_of_the_broker_is_survived() {
    for_each(every_error(), |error| {
        let (broker, rig) = (Broker::mock(), Rig::new());
        let publisher = Publisher::of_ledger(broker.config(), rig.ledger.clone()).unwrap();
        rig.calls(1);
        rig.arrives(&broker);
        broker.fail(error, 1);
        rig.calls(40);
        rig.arrives(&broker);
        let stats = publisher.stats();
        assert_eq!(rig.ledger.stats().refused, 0, "{error:?}");
        assert!(error != FATAL || stats.replaced >= 1, "{error:?}");
        assert!(stats.sent < 41 * 4, "{error:?}: sent {} times", stats.sent);
        rig.end(publisher);
    });
}

/// Real brokers keep a batch that they call a duplicate; the mock does not, so nothing can be read.
#[test]
fn what_the_broker_calls_a_duplicate_is_delivered() {
    let (broker, rig) = (Broker::mock(), Rig::new());
    let publisher = Publisher::of_ledger(broker.config(), rig.ledger.clone()).unwrap();
    broker.fail(E::RD_KAFKA_RESP_ERR_DUPLICATE_SEQUENCE_NUMBER, 1);
    rig.calls(40);
    eventually("a duplicate counts as delivered", || rig.ledger.stats().undelivered == 0);
    assert_eq!(publisher.stats().resent, 0);
    rig.end(publisher);
}

/// While an error lasts, fewer than ten requests are made in any second; three seconds after its end
/// everything is delivered; what waits in memory is bounded.
#[test]
fn a_lasting_error_is_met_with_patience_and_its_end_noticed() {
    // Refused for good is not for good here: that has its own test.
    let errors = every_error().filter(|error| *error != E::RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE);
    for_each(errors, |error| {
        within(RECOVERY, &format!("{error:?}"), || {
            let (broker, rig) = (Broker::mock().forwarded(), Rig::new());
            let publisher = Publisher::of_ledger(broker.config(), rig.ledger.clone()).unwrap();
            rig.calls(1);
            rig.arrives(&broker);
            broker.fail(error, 1_000);
            let began = Instant::now();
            rig.calls(200);
            std::thread::sleep(Duration::from_secs(5));
            assert!(rig.ledger.stats().undelivered > 0, "{error:?}");
            let produced = broker.forwarder().produced();
            let tries: Vec<Instant> = produced.into_iter().filter(|time| *time > began).collect();
            // The first round is what was under way: a request for each partition.
            let first = began + Duration::from_millis(500);
            let later: Vec<Instant> = tries.iter().filter(|time| **time > first).copied().collect();
            let most = most_in_a_second(&later);
            broker.cluster().clear_request_errors(RDKafkaApiKey::Produce);
            let cleared = Instant::now();
            eventually("delivered", || rig.ledger.stats().undelivered == 0);
            let recovery = cleared.elapsed();
            println!(
                "{error:?}: {} tries, at most {most} in a second, recovered in {recovery:?}",
                tries.len()
            );
            assert!(most < 10, "{error:?}: {most} requests in a second");
            rig.arrives(&broker);
            assert_eq!(rig.ledger.stats().refused, 0, "{error:?}");
            rig.end(publisher);
            recovery
        });
    });
}

/// Without permission for the topic, the client itself refuses to take events.
#[test]
fn a_refusal_of_send_is_no_busy_loop() {
    let (broker, rig) = (Broker::mock(), Rig::new());
    let publisher = Publisher::of_ledger(broker.config(), rig.ledger.clone()).unwrap();
    rig.calls(1);
    rig.arrives(&broker);
    broker.fail(E::RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED, 1_000);
    let (began, cpu) = (Instant::now(), thread_cpu("tw-publish"));
    rig.calls(50);
    std::thread::sleep(Duration::from_secs(5));
    let (stats, busy) = (publisher.stats(), thread_cpu("tw-publish").saturating_sub(cpu));
    let errors = stats.errors[ErrorClass::Setting as usize];
    println!("{errors} errors, {} sent, {busy:?} of CPU in {:?}", stats.sent, began.elapsed());
    assert!(stats.backing_off && rig.ledger.stats().undelivered >= 50, "{stats:?}");
    assert!((3..50 + 10 * began.elapsed().as_secs()).contains(&errors), "{errors} errors");
    assert!(busy < Duration::from_secs(1), "{busy:?} of CPU");
    broker.cluster().clear_request_errors(RDKafkaApiKey::Produce);
    rig.arrives(&broker);
    rig.end(publisher);
}

/// CPU that the threads of this name have used, all tests of this process together.
fn thread_cpu(name: &str) -> Duration {
    let ticks: u64 = std::fs::read_dir("/proc/self/task")
        .unwrap()
        .filter_map(|task| std::fs::read_to_string(task.ok()?.path().join("stat")).ok())
        .filter(|stat| stat.contains(&format!("({name})")))
        .map(|stat| {
            let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
            fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap()
        })
        .sum();
    // A tick is 10 ms on Linux.
    Duration::from_millis(ticks * 10)
}

/// A fatal error, again and again: each time a new producer, soon.
#[test]
fn a_producer_that_is_finished_is_replaced_within_seconds() {
    let (broker, rig) = (Broker::mock(), Rig::new());
    let publisher = Publisher::of_ledger(broker.config(), rig.ledger.clone()).unwrap();
    rig.calls(1);
    rig.arrives(&broker);
    for round in 1..=3 {
        broker.fail(FATAL, 1);
        let began = Instant::now();
        rig.calls(100);
        eventually("replaced", || publisher.stats().replaced >= round);
        eventually("delivered", || rig.ledger.stats().undelivered == 0);
        println!("replaced and delivered in {:?}", began.elapsed());
        assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    }
    rig.arrives(&broker);
    rig.end(publisher);
}

#[test]
fn an_event_refused_alone_three_times_is_kept_and_the_others_go() {
    let (broker, rig) = (Broker::mock(), Rig::new());
    let publisher = Publisher::of_ledger(broker.config(), rig.ledger.clone()).unwrap();
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
    let refused = LedgerReader::open(rig.dir.path()).unwrap().refused(0, 10).unwrap();
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
    let config = broker.with("message.max.bytes", "65536");
    let publisher = Publisher::of_ledger(config, rig.ledger.clone()).unwrap();
    rig.calls(10);
    let id = settle_large(&rig, 5_000);
    rig.calls(10);
    eventually("all dealt with", || {
        let stats = rig.ledger.stats();
        (stats.stored, stats.undelivered, stats.refused) == (21, 0, 1)
    });
    let mut others = rig.ids();
    others.remove(&id.to_string());
    broker.reader().until(&others);
    let options = EventsOptions {
        dir: rig.dir.path().to_owned(),
        follow: false,
        refused: true,
        from: None,
        tail: None,
    };
    let (mut out, mut notes) = (Vec::new(), Vec::new());
    events(&options, &mut out, &mut notes).unwrap();
    let (out, notes) = (String::from_utf8(out).unwrap(), String::from_utf8(notes).unwrap());
    assert!(out.lines().count() == 1 && out.contains(&id.to_string()), "stdout is the event itself");
    assert!(notes.starts_with("position 11: ") && notes.contains("too large"), "{notes}");
    assert_eq!(publisher.stop(PATIENCE), 0);
}

/// One event of a hundred is larger than the broker takes, and so is every larger batch: a real
/// broker says so by an error for all of a batch.
#[test]
fn an_event_larger_than_the_broker_takes_is_found_among_a_hundred() {
    let Some(broker) = Broker::real(&[("max.message.bytes", "20000")]) else {
        return crate::skip::test(crate::skip::NO_BROKER);
    };
    let rig = Rig::new();
    rig.calls(49);
    let id = settle_large(&rig, 2_000);
    rig.calls(50);
    let publisher = Publisher::of_ledger(broker.config(), rig.ledger.clone()).unwrap();
    let began = Instant::now();
    eventually("all dealt with", || rig.ledger.stats().undelivered == 0);
    println!("99 delivered and 1 refused in {:?}, {:?}", began.elapsed(), publisher.stats());
    assert_eq!(rig.ledger.stats().refused, 1);
    let mut others = rig.ids();
    assert!(others.remove(&id.to_string()) && others.len() == 99);
    assert!(!broker.reader().until(&others).contains_key(&id.to_string()));
    assert_eq!(publisher.stop(PATIENCE), 0);
}

/// One call whose event has so many reasons of about 20 bytes.
fn settle_large(rig: &Rig, reasons: usize) -> Uuid {
    let (id, mut large) = (Uuid::now_v7(), usage("a", 1, 1));
    large.accounting.reasons = (0..reasons).map(|n| format!("output:reason-{n}").into()).collect();
    let settled = Settled { id, time: jiff::Timestamp::now(), usage: large };
    let goal = rig.ledger.stats().stored + 1;
    rig.ledger.reserve().unwrap().open(id, &usage("a", 1, 1)).settle(settled);
    eventually("stored", || rig.ledger.stats().stored >= goal);
    id
}

#[test]
fn a_full_client_queue_only_slows() {
    let (broker, rig) = (Broker::mock(), Rig::new());
    let config = broker.with("queue.buffering.max.messages", "7");
    let publisher = Publisher::of_ledger(config, rig.ledger.clone()).unwrap();
    rig.calls(200);
    rig.arrives(&broker);
    rig.end(publisher);
}

#[test]
fn a_configuration_that_breaks_the_promise_does_not_start() {
    let (broker, rig) = (Broker::mock(), Rig::new());
    let refused = Publisher::of_ledger(broker.with("acks", "0"), rig.ledger.clone()).unwrap_err();
    assert!(refused.to_string().starts_with("acks: "), "{refused}");
}
