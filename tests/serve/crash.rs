//! kill -9 at random times under 64 mixed streams, again and again on one ledger, at times also
//! while it recovers; with a broker, so that what was published can be held against what is stored. The disk
//! is as it is, slow or very slow: no call may be lost for that.
//!
//! The run of every day kills 12 times, `TOKENWEIR_LONG=1` 1,000 times.

use std::sync::Arc;
use std::time::Duration;

use super::mixed::{self, Load, MIXED, Service, Signs};
use super::oracle::{End, Oracle};
use super::random::Random;
use super::shim::{Control, Shim};
use super::sidecar::{Sidecar, event_lines, stillborn, verified};
use super::skip::long;
use super::support::within;
use super::topic::Topic;
use super::waits::Watch;

const KILLS: usize = 12;
const KILLS_LONG: usize = 1_000;
/// What a sync takes longer, in one life and the next ones.
const SYNC_DELAYS_MS: [i32; 3] = [0, 50, 500];
const STREAMS: usize = 64;
/// How long a sidecar lives: longer and shorter than a checkpoint's interval and than most calls.
const LIFE_MIN: Duration = Duration::from_millis(100);
const LIFE_MAX: Duration = Duration::from_secs(2);
/// Of four kills, one is followed by this many starts, at most, that are killed while they recover.
const STILLBORN_MAX: u64 = 4;
/// How long those live: recovery begins after some ten milliseconds.
const STILLBORN_LIFE: Duration = Duration::from_millis(50);
/// What a crashed stream may be behind, beside waits for a CPU: a checkpoint and its commit take 250 ms.
const BEHIND_MAX: Duration = Duration::from_millis(400);

#[test]
fn every_call_that_began_before_a_commit_survives_kill_9() {
    let kills = if long() { KILLS_LONG } else { KILLS };
    within(BEHIND_MAX, "crashed streams are behind", || killed(kills));
}

/// Kills so many times, holds every event against the truth, and returns how far the crashed stream
/// that is behind most is behind.
fn killed(kills: usize) -> Duration {
    let mut random = Random::new("kill -9");
    let (service, topic) = (Service::start(), Topic::start());
    let dir = tempfile::tempdir().unwrap();
    let ledger = dir.path().join("ledger");
    let flags = topic.flags();
    let mut oracle = Oracle::default();
    let (mut stillborns, mut longest_wait) = (0, Duration::ZERO);
    for round in 0..kills {
        let shim = Shim::new(dir.path(), &ledger);
        let slow_down = || {
            let delay_ms = SYNC_DELAYS_MS[round % SYNC_DELAYS_MS.len()];
            shim.iter().for_each(|shim| shim.set(Control::SyncDelayMs, delay_ms));
        };
        // In the long form disks become slow while a sidecar runs, which may have begun to copy its WAL.
        if !long() {
            slow_down();
        }
        let environment = shim.as_ref().map(Shim::environment);
        let sidecar =
            Sidecar::start_with(service.addr, &ledger, &flags, environment.as_ref().map_or(&[], |e| &e[..]));
        let watch = Watch::begin(&sidecar);
        if long() {
            slow_down();
        }
        let (signs, life) = (Signs::default(), random.time(LIFE_MIN, LIFE_MAX));
        let mut killed = None;
        let name = format!("r{round}");
        let load = Load { addr: sidecar.addr, streams: STREAMS, name: &name, kinds: &MIXED };
        let calls = mixed::run(&load, &mut random, &signs, || {
            std::thread::sleep(life);
            Signs::set(&signs.broken);
            killed = Some(watch.kill(&sidecar));
        });
        let (before, after, waits) = killed.unwrap();
        longest_wait = longest_wait.max(waits.longest());
        oracle.add_watched(calls, &service, End::Killed(before, after), Some(&Arc::new(waits)));
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
    println!(
        "of calls that have no event the oldest had begun {:?} before; the writer waited for a CPU for {longest_wait:?} \
         at most; without such waits no crashed stream is behind by more than {:?}",
        found.lost_age, found.behind_running
    );
    assert!(found.count("crashed") >= kills * STREAMS / 4, "streams were cut");
    found.behind_running
}
