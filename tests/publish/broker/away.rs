//! The broker is away, in each of the ways in which brokers are, at start and in the middle.

use std::time::{Duration, Instant};

use rdkafka::types::RDKafkaRespErr as E;

use super::rig::{Rig, either, memory_mib};
use crate::support::follower::Topic;
use crate::support::forwarder::{Mode, most_in_a_second};
use crate::support::turn;
use crate::support::within;

const PER_SECOND: u32 = 300;
/// After the broker's return.
const RECOVERY: Duration = Duration::from_secs(3);
/// What is sent and not answered, at most: the producer's queue, and what the allocator keeps.
const MEMORY_MIB: u64 = 48;

/// The modes, and for how long in the run of every day: a connection that is dead is noticed only
/// after some seconds.
const MODES: [(Mode, Duration); 3] = [
    (Mode::Refuse, Duration::from_secs(2)),
    (Mode::Freeze, Duration::from_secs(2)),
    (Mode::BlackHole, Duration::from_secs(6)),
];
const LONG: Duration = Duration::from_secs(20);

#[test]
fn a_broker_that_goes_away_under_load_costs_nothing_but_time() {
    let _turn = turn::alone();
    let rig = Rig::running(Topic::any());
    let load = rig.load(PER_SECOND);
    for (mode, time) in MODES {
        within(RECOVERY, &format!("{mode:?}"), || away(&rig, mode, either(time, LONG)));
    }
    let calls = load.end();
    rig.caught_up();
    println!("{calls} calls, {:?}", rig.end());
}

#[test]
fn a_broker_that_is_away_at_start_is_found_when_it_comes() {
    let _turn = turn::alone();
    for (mode, time) in MODES {
        within(RECOVERY, &format!("{mode:?} at start"), || {
            let rig = Rig::start(Topic::any(), mode);
            let load = rig.load(PER_SECOND);
            let recovery = away(&rig, mode, either(time, LONG));
            let calls = load.end();
            rig.caught_up();
            println!("{mode:?} at start: {calls} calls, {:?}", rig.end());
            recovery
        });
    }
}

/// A broker that comes back empty has the topic only when somebody has made it, a moment later.
#[test]
fn a_topic_that_is_gone_for_a_moment_is_found_again() {
    let _turn = turn::alone();
    let rig = Rig::running(Topic::embedded());
    let load = rig.load(PER_SECOND);
    let cluster = rig.topic.cluster.as_ref().unwrap();
    for gone in [1, 2].map(Duration::from_secs) {
        within(RECOVERY, &format!("no topic for {gone:?}"), || {
            cluster.topic_error(&rig.topic.name, E::RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART).unwrap();
            // A new connection asks for the topic.
            rig.forwarder.reset();
            std::thread::sleep(gone);
            cluster.topic_error(&rig.topic.name, E::RD_KAFKA_RESP_ERR_NO_ERROR).unwrap();
            let recovery = rig.recovery();
            println!("no topic for {gone:?}: recovery {recovery:?}, {:?}", rig.stats());
            recovery
        });
    }
    let calls = load.end();
    rig.caught_up();
    println!("{calls} calls, {:?}", rig.end());
}

/// Nothing goes through for a while, under load. Returns how long deliveries take to begin again.
fn away(rig: &Rig, mode: Mode, time: Duration) -> Duration {
    let (stats, memory) = (rig.stats(), memory_mib());
    rig.forwarder.set(mode);
    let began = Instant::now();
    // What is under way may still arrive, and its mark be written by a slow disk.
    std::thread::sleep(time / 2);
    let delivered = rig.delivered();
    std::thread::sleep(time.saturating_sub(began.elapsed()));
    assert_eq!(rig.delivered(), delivered, "{mode:?}: there is another way to the broker");
    let waiting = rig.ledger.stats().undelivered;
    rig.forwarder.set(Mode::Pass);
    let recovery = rig.recovery();
    let grown = memory_mib().saturating_sub(memory);
    let tries: Vec<Instant> =
        rig.forwarder.produced().into_iter().filter(|at| *at > began && *at < began + time).collect();
    let connections: Vec<Instant> = rig.forwarder.accepted().into_iter().filter(|at| *at > began).collect();
    println!(
        "{mode:?} for {time:?}: {waiting} events waited, recovery {recovery:?}, {} tries, {} connections, {} new producers, grown by {grown} MiB",
        tries.len(),
        connections.len(),
        rig.stats().replaced - stats.replaced,
    );
    assert!(waiting > 0, "{mode:?}: there was load");
    assert!(most_in_a_second(&tries) < 10, "{mode:?}: {} tries", tries.len());
    assert!(grown < MEMORY_MIB, "{mode:?}: grown by {grown} MiB");
    recovery
}
