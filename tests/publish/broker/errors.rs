//! Requests to produce that the broker refuses: every kind of error at random, in bursts; and
//! throttling by a broker that is far away. Each error alone, and each that lasts: `delivery`.

use std::time::{Duration, Instant};

use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr as E};

use super::rig::{Rig, either};
use crate::rig::ERRORS;
use crate::support::follower::Topic;
use crate::support::forwarder::{Mode, most_in_a_second};
use crate::support::kafka::Cluster;
use crate::support::random::Random;
use crate::support::turn;
use crate::support::within;

/// Of one error.
const BURST_MAX: u64 = 8;
/// An event that is refused alone three times is refused for good, which is another test's matter.
const SINGLE: E = E::RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE;
/// How long to wait for a burst to be met, before its end is forced.
const BURST_TIME: Duration = Duration::from_secs(4);
/// After the last error.
const RECOVERY: Duration = Duration::from_secs(3);
const PER_SECOND: u32 = 200;
/// The embedded broker does not check sequences: it takes a batch after one that it has refused. No
/// real broker does, so from such an answer the client concludes, rightly, that the broker has both.
const ONE_BY_ONE: [(&str, &str); 1] = [("max.in.flight.requests.per.connection", "1")];

fn cluster(rig: &Rig) -> &Cluster {
    rig.topic.cluster.as_ref().unwrap()
}

/// Each error in turn, more than once in a row, in an order that is new each time.
#[test]
fn random_bursts_of_errors_lose_nothing() {
    let _turn = turn::alone();
    let mut random = Random::new("bursts");
    let rig = Rig::running_with(Topic::embedded(), &ONE_BY_ONE);
    let load = rig.load(PER_SECOND);
    let (mut bursts, mut errors, mut slowest) = (0, 0, Duration::ZERO);
    for _ in 0..either(1, 8) {
        let mut order = ERRORS;
        for n in (1..order.len()).rev() {
            order.swap(n, random.between(0, n as u64 + 1) as usize);
        }
        for error in order {
            let times = if error == SINGLE { 1 } else { random.between(1, BURST_MAX + 1) };
            let recovery = within(RECOVERY, &format!("{error:?}"), || burst(&rig, error, times as usize));
            slowest = slowest.max(recovery);
            bursts += 1;
            errors += times;
        }
    }
    let calls = load.end();
    let replaced = rig.stats().replaced;
    println!(
        "{calls} calls, {bursts} bursts, {errors} errors, slowest recovery {slowest:?}, {replaced} new producers, {:?}",
        rig.end()
    );
}

/// So many requests in a row fail. Returns how long after that something is delivered.
fn burst(rig: &Rig, error: E, times: usize) -> Duration {
    let (began, before) = (Instant::now(), rig.forwarder.produced().len());
    cluster(rig).request_errors(RDKafkaApiKey::Produce, &vec![error; times]);
    while rig.forwarder.produced().len() < before + times && began.elapsed() < BURST_TIME {
        std::thread::sleep(Duration::from_millis(2));
    }
    cluster(rig).clear_request_errors(RDKafkaApiKey::Produce);
    let recovery = rig.recovery();
    let tries = rig.forwarder.produced().len() - before;
    println!(
        "{error:?} x {times}: {tries} tries, recovery {recovery:?}, events to {}",
        rig.ledger.stats().stored
    );
    recovery
}

/// Event Hubs says `POLICY_VIOLATION` when it has had enough. Here to three requests of ten, and
/// each round trip takes two seconds.
#[test]
fn throttling_by_a_broker_far_away_slows_and_loses_nothing() {
    let _turn = turn::alone();
    let (round_trip, rounds) = either((300, 10), (2_000, 60));
    let mut random = Random::new("throttling");
    let rig = Rig::running(Topic::embedded());
    rig.forwarder.set(Mode::Delay(Duration::from_millis(round_trip)));
    // The first one always: a machine that is busy makes only a few requests.
    let answers: Vec<E> = (0..2_000)
        .map(|n| match random.between(0, 10) {
            _ if n == 0 => E::RD_KAFKA_RESP_ERR_POLICY_VIOLATION,
            0..3 => E::RD_KAFKA_RESP_ERR_POLICY_VIOLATION,
            _ => E::RD_KAFKA_RESP_ERR_NO_ERROR,
        })
        .collect();
    cluster(&rig).request_errors(RDKafkaApiKey::Produce, &answers);
    let load = rig.load(50);
    let (mut backed_off, began) = (0, Instant::now());
    while began.elapsed() < Duration::from_millis(round_trip) * rounds {
        backed_off += u32::from(rig.stats().backing_off);
        std::thread::sleep(Duration::from_millis(20));
    }
    let calls = load.end();
    let waiting = rig.ledger.stats().undelivered;
    cluster(&rig).clear_request_errors(RDKafkaApiKey::Produce);
    let ended = Instant::now();
    rig.caught_up();
    let recovery = ended.elapsed();
    let requests = rig.forwarder.produced();
    let (stats, most) = (rig.stats(), most_in_a_second(&requests));
    rig.forwarder.set(Mode::Pass);
    let held = rig.end();
    println!(
        "round trip {round_trip} ms, 30 % refused: {calls} calls, {waiting} waited at the end, caught up in {recovery:?}, {} requests, at most {most} in a second, {stats:?}, {held:?}",
        requests.len()
    );
    assert!(stats.resent > 0 && either(true, backed_off > 0), "{stats:?}");
    assert_eq!((stats.replaced, held.repeats, held.refused), (0, 0, 0));
}
