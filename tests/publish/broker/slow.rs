//! More events than the way to the broker takes: they wait in the ledger and not in memory, and are
//! caught up with while new ones come.

use std::time::{Duration, Instant};

use super::rig::{Rig, either, memory_mib};
use crate::support::eventually;
use crate::support::follower::Topic;
use crate::support::forwarder::Mode;
use crate::support::turn;

/// An event on the wire, with its key and headers.
const EVENT_BYTES: u64 = 2_600;
/// Sent and not answered (64 MiB at most, by the producer's own bound), what a reader of this test
/// remembers, and what the embedded broker keeps.
const MEMORY_MIB: u64 = 224;

#[test]
fn a_way_too_narrow_fills_the_ledger_and_no_memory() {
    let _turn = turn::alone();
    let (per_second, narrow, time) = either((2_000, 800, 3), (10_000, 4_000, 30));
    let rig = Rig::running(Topic::any());
    let memory = memory_mib();
    rig.forwarder.set(Mode::Limit(narrow * EVENT_BYTES));
    let (load, began) = (rig.load(per_second), Instant::now());
    let (mut most, mut behind) = (memory, 0);
    while began.elapsed() < Duration::from_secs(time) {
        most = most.max(memory_mib());
        behind = behind.max(rig.ledger.stats().undelivered);
        std::thread::sleep(Duration::from_millis(50));
    }
    let (delivered, stored) = (rig.delivered(), rig.ledger.stats().stored);
    let rate = delivered as f64 / began.elapsed().as_secs_f64();
    // The way is wide again, and calls go on, fewer: what is behind must fall meanwhile.
    let calls = load.end();
    let load = rig.load(per_second / 10);
    rig.forwarder.set(Mode::Pass);
    let wide = Instant::now();
    let mut fell = vec![rig.ledger.stats().undelivered];
    eventually("the rest to be caught up with", || {
        most = most.max(memory_mib());
        fell.push(rig.ledger.stats().undelivered);
        fell.last().is_some_and(|left| *left < u64::from(per_second) / 10)
    });
    let caught_up = wide.elapsed();
    let live = load.calls();
    let late = load.end();
    rig.caught_up();
    let grown = most.saturating_sub(memory);
    let (asked, stats) = (f64::from(per_second), rig.stats());
    let made = calls as f64 / time as f64;
    println!(
        "{calls} calls at {made:.0}/s of {asked}/s, broker took {rate:.0}/s, {behind} behind, caught up in {caught_up:?} while {live} more came, grown by {grown} MiB, {stats:?}, {late} late, {:?}",
        rig.end()
    );
    assert!(made > asked * 0.9, "calls waited: {made:.0}/s");
    assert!(rate < narrow as f64 * 1.3, "the way was not narrow: {rate:.0}/s");
    assert!(stored > delivered && behind > u64::from(per_second), "nothing waited");
    assert!(grown < MEMORY_MIB, "grown by {grown} MiB");
    assert_eq!(stats.replaced, 0);
}
