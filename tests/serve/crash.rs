//! kill -9 at random times under 64 mixed streams, again and again on one ledger, at times also
//! while it recovers; with a broker, so that what was published can be held against what is stored.
//!
//! The run of every day kills 10 times, `TOKENWEIR_LONG=1` 200 times.

use std::time::Duration;

use super::mixed::{self, Load, MIXED, Service, Signs};
use super::oracle::{End, Oracle};
use super::random::Random;
use super::sidecar::{Sidecar, event_lines, stillborn, verified};
use super::skip::long;
use super::support::within;
use super::topic::Topic;

const KILLS: usize = 10;
const KILLS_LONG: usize = 200;
const STREAMS: usize = 64;
/// How long a sidecar lives: longer and shorter than a checkpoint's interval and than most calls.
const LIFE_MIN: Duration = Duration::from_millis(100);
const LIFE_MAX: Duration = Duration::from_secs(2);
const LIFE_MAX_LONG: Duration = Duration::from_millis(3_500);
/// Of four kills, one is followed by this many starts, at most, that are killed while they recover.
const STILLBORN_MAX: u64 = 4;
/// How long those live: recovery begins after some ten milliseconds.
const STILLBORN_LIFE: Duration = Duration::from_millis(50);
/// What a crashed stream may be behind: a checkpoint a second, and its commit.
const BEHIND_MAX: Duration = Duration::from_millis(1_200);

#[test]
fn every_call_that_began_before_a_commit_survives_kill_9() {
    let (kills, life_max) = if long() { (KILLS_LONG, LIFE_MAX_LONG) } else { (KILLS, LIFE_MAX) };
    within(BEHIND_MAX, "crashed streams are behind", || killed(kills, life_max));
}

/// Kills so many times, holds every event against the truth, and returns how far the crashed stream
/// that is behind most is behind.
fn killed(kills: usize, life_max: Duration) -> Duration {
    let mut random = Random::new("kill -9");
    let (service, topic) = (Service::start(), Topic::start());
    let dir = tempfile::tempdir().unwrap();
    let ledger = dir.path().join("ledger");
    let flags = topic.flags();
    let mut oracle = Oracle::default();
    let mut stillborns = 0;
    for round in 0..kills {
        let sidecar = Sidecar::start(service.addr, &ledger, &flags);
        let (signs, life) = (Signs::default(), random.time(LIFE_MIN, life_max));
        let mut killed = None;
        let name = format!("r{round}");
        let load = Load { addr: sidecar.addr, streams: STREAMS, name: &name, kinds: &MIXED };
        let calls = mixed::run(&load, &mut random, &signs, || {
            std::thread::sleep(life);
            Signs::set(&signs.broken);
            killed = Some(sidecar.kill());
        });
        let (before, after) = killed.unwrap();
        oracle.add(calls, &service, End::Killed(before, after));
        if random.between(0, 4) == 0 {
            for _ in 0..random.between(1, STILLBORN_MAX + 1) {
                stillborn(service.addr, &ledger, &flags, random.time(Duration::ZERO, STILLBORN_LIFE));
                stillborns += 1;
            }
        }
    }
    // The last recovery, and a clean end: nothing is left to deliver.
    let (code, log) = Sidecar::start(service.addr, &ledger, &flags).stop();
    assert_eq!(code, Some(0), "{log:?}");
    verified(&ledger);
    let lines = event_lines(&ledger);
    let found = oracle.check(&lines);
    let repeats = topic.holds_lines(&lines);
    println!(
        "{kills} kills, and {stillborns} during recovery: {} calls, {} crashed, {} too young for an event, {:?}",
        oracle.len(),
        found.count("crashed"),
        found.without_event,
        found.outcomes
    );
    println!(
        "{} messages in the topic, {repeats} of them repeats, all byte for byte as stored; 0 ids with two bodies",
        topic.messages()
    );
    let [p50, p99, most] = [50, 99, 100].map(|percent| found.behind_percentile(percent));
    println!("crashed streams are behind by p50 {p50:?}, p99 {p99:?}, at most {most:?}");
    assert!(found.count("crashed") >= kills * STREAMS / 4, "streams were cut");
    most
}
