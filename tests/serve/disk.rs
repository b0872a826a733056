//! A disk that is slow, fails, or is full, and a wall clock that jumps, under load.

use std::time::{Duration, Instant};

use super::http::get;
use super::latency::{self, Latency, median};
use super::mixed::{self, Load, MIXED, STEADY, Service, Signs};
use super::oracle::{End, Oracle, totals};
use super::random::Random;
use super::shim::{ALL, Control, ENOSPC, EROFS, Shim};
use super::sidecar::{Sidecar, event_lines, usage_events, verified, wait_for};
use super::skip::long;
use super::support::within;
use super::topic::Topic;

/// Of a slow disk; the second one is longer than a call.
const DELAYS_MS: [i32; 3] = [0, 200, 5_000];
const LATENCY_STREAMS: usize = 16;
/// Rounds of each delay, interleaved.
const ROUNDS: usize = 3;
const ROUND: Duration = Duration::from_millis(800);
const ROUND_LONG: Duration = Duration::from_secs(5);
/// What a slow disk may add: in the run of every day, on whatever machine, far less than a sync takes.
const ADDED: Duration = Duration::from_millis(50);
const ADDED_LONG: Duration = Duration::from_millis(1);
/// What no chunk takes, unless it waits for a sync of [`DELAYS_MS`].
const WAITED: Duration = Duration::from_secs(2);

#[test]
fn no_chunk_waits_for_a_slow_disk() {
    let bound = if long() { ADDED_LONG } else { ADDED };
    within(bound, "added by a slow disk", || added_by_a_slow_disk().unwrap_or_default());
}

/// What a slow disk adds to a first chunk or a later one, p50 or p99, whichever is most. `None`
/// without a shim.
fn added_by_a_slow_disk() -> Option<Duration> {
    let dir = tempfile::tempdir().unwrap();
    let ledger = dir.path().join("ledger");
    let shim = Shim::new(dir.path(), &ledger)?;
    let sidecar = Sidecar::start_with(latency::service(), &ledger, &[], &shim.environment());
    let mut rounds: [Vec<Latency>; 3] = Default::default();
    let mut calls = latency::measure(sidecar.addr, LATENCY_STREAMS, ROUND).calls; // warm
    for _ in 0..ROUNDS {
        for (delay_ms, rounds) in DELAYS_MS.into_iter().zip(&mut rounds) {
            shim.set(Control::SyncDelayMs, delay_ms);
            let round = if long() { ROUND_LONG } else { ROUND };
            let latency = latency::measure(sidecar.addr, LATENCY_STREAMS, round);
            calls += latency.calls;
            rounds.push(latency);
        }
    }
    shim.heal();
    assert_eq!(sidecar.stop().0, Some(0));
    assert_eq!(usage_events(&ledger).len(), calls);
    assert!(shim.get(Control::Syncs) > 0, "the shim was there");
    let mut figures = Vec::new();
    for (delay_ms, rounds) in DELAYS_MS.into_iter().zip(&mut rounds) {
        let mut of = |ask: fn(&mut Latency) -> Duration| median(rounds.iter_mut().map(ask).collect());
        let figure = [
            of(|latency| latency.first(50)),
            of(|latency| latency.chunk(50)),
            of(|latency| latency.first(99)),
            of(|latency| latency.chunk(99)),
        ];
        println!("sync + {delay_ms} ms: [first p50, chunk p50, first p99, chunk p99] {figure:?}");
        let most = rounds.iter_mut().map(|latency| latency.chunk(100)).max().unwrap();
        assert!(most < WAITED, "a chunk waited {most:?} with syncs {delay_ms} ms slower");
        figures.push(figure);
    }
    let added = |slow: &[Duration; 4]| {
        slow.iter().zip(&figures[0]).map(|(slow, fast)| slow.saturating_sub(*fast)).max()
    };
    figures[1..].iter().filter_map(added).max()
}

/// Of a disk that does not come back until it is told to.
const STUCK_MS: i32 = 60_000;

/// Calls are stored as ever while a sync lasts, and nothing of them is on the topic before it has ended.
#[test]
fn nothing_is_published_before_its_sync() {
    let (topic, dir) = (Topic::start(), tempfile::tempdir().unwrap());
    let ledger = dir.path().join("ledger");
    let Some(shim) = Shim::new(dir.path(), &ledger) else { return };
    let sidecar = Sidecar::start_with(latency::service(), &ledger, &topic.flags(), &shim.environment());
    let metric = |name: &str| -> u64 {
        let page = String::from_utf8(get(sidecar.admin, "/metrics").body).unwrap();
        let value = page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        value.unwrap_or_else(|| panic!("{name}: {page}")).parse().unwrap()
    };
    latency::measure(sidecar.addr, 4, Duration::from_millis(100));
    wait_for("all to be published", || {
        let stored = metric("tokenweir_events_stored_total");
        (stored > 0 && topic.messages() == stored && metric("tokenweir_ledger_unsynced_events") == 0)
            .then_some(())
    });
    let (syncs, published) = (shim.get(Control::Syncs), topic.messages());
    shim.set(Control::SyncDelayMs, STUCK_MS);
    let calls = latency::measure(sidecar.addr, 4, Duration::from_millis(1_500)).calls as u64;
    wait_for("all to be stored", || {
        (metric("tokenweir_events_stored_total") >= published + calls).then_some(())
    });
    assert_eq!(shim.get(Control::Syncs), syncs + 1, "one sync began, and it has not ended");
    assert_eq!(topic.messages(), published, "published before its sync");
    assert!(metric("tokenweir_ledger_unsynced_events") >= calls, "and the metric says so");
    shim.heal();
    wait_for("all to be published", || (topic.messages() >= published + calls).then_some(()));
    assert_eq!(sidecar.stop().0, Some(0));
    topic.holds_lines(&event_lines(&ledger));
}

/// Load, a fault in its middle, and the end of the fault; then a clean stop. Nobody may notice, and
/// every caller's calls and tokens must be there, one by one or summed.
fn totals_survive(name: &str, fault: impl FnOnce(&Shim), seen: bool) {
    let dir = tempfile::tempdir().unwrap();
    let ledger = dir.path().join("ledger");
    let Some(shim) = Shim::new(dir.path(), &ledger) else { return };
    let (mut random, service) = (Random::new(name), Service::start());
    let sidecar = Sidecar::start_with(service.addr, &ledger, &[], &shim.environment());
    let signs = Signs::default();
    let load = Load { addr: sidecar.addr, streams: 24, name, kinds: &STEADY };
    let calls = mixed::run(&load, &mut random, &signs, || {
        let second = || std::thread::sleep(Duration::from_secs(1));
        second();
        fault(&shim);
        wait_for("the fault to strike", || (shim.get(Control::Faults) > 0).then_some(()));
        if seen {
            accounting_becomes(&sidecar, "degraded");
            second();
            second();
        }
        shim.heal();
        accounting_becomes(&sidecar, "ok");
        second();
        Signs::set(&signs.stop);
    });
    let (code, log) = sidecar.stop();
    assert_eq!(code, Some(0), "{log:?}");
    assert!(calls.iter().all(|call| call.ended.is_some()));
    verified(&ledger);
    let lines = event_lines(&ledger);
    let (stored, sums) = totals(&lines);
    let mut oracle = Oracle::default();
    oracle.add(calls, &service, End::Stopped);
    assert_eq!(stored, oracle.totals(), "calls and tokens of each caller");
    let degraded = lines.iter().filter(|line| line.contains("\"degraded\":true")).count();
    assert!(!seen || degraded > 0, "a control event says degraded");
    println!(
        "{name}: {} calls, {sums} of them in sums, {} errors given, {degraded} control events say degraded",
        oracle.len(),
        shim.get(Control::Faults)
    );
}

/// A turn of a disk around full, and how long it turns.
const FLAP: Duration = Duration::from_millis(350);
const FLAPPING: Duration = Duration::from_secs(6);
/// Within which a ledger finds that its disk is well, a pause of a second at most between tries, on a
/// loaded machine; and within which no sum is left in memory then.
const WELL_WITHIN: Duration = Duration::from_secs(4);
const STORED_WITHIN: Duration = Duration::from_secs(1);

/// The streams outlive the disk's turns, so some begin while it is full and end long after. No control
/// event is due, and the end is a kill: what was not stored by itself would be lost.
#[test]
fn a_disk_that_flaps_around_full_costs_nothing_not_even_in_a_crash() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = dir.path().join("ledger");
    let Some(shim) = Shim::new(dir.path(), &ledger) else { return };
    let (mut random, service) = (Random::new("flap"), Service::start());
    let sidecar = Sidecar::start_with(service.addr, &ledger, &[], &shim.environment());
    let signs = Signs::default();
    let load = Load { addr: sidecar.addr, streams: 32, name: "flap", kinds: &STEADY };
    let accounting = || String::from_utf8(get(sidecar.admin, "/readyz").body).unwrap();
    let (mut turns, mut log) = (0, Vec::new());
    let calls = mixed::run(&load, &mut random, &signs, || {
        let began = Instant::now();
        while began.elapsed() < FLAPPING {
            shim.set(Control::WriteErrno, ENOSPC);
            std::thread::sleep(FLAP);
            shim.heal();
            std::thread::sleep(FLAP);
            turns += 1;
        }
        log = sidecar.log();
        let healed = Instant::now();
        while accounting().contains("degraded") {
            assert!(healed.elapsed() < WELL_WITHIN, "it still says degraded");
        }
        // Streams that began before it was well end now.
        std::thread::sleep(Duration::from_secs(4));
        assert!(!accounting().contains("degraded"), "and says so again");
        Signs::set(&signs.stop);
    });
    std::thread::sleep(STORED_WITHIN);
    let said = |what: &str| log.iter().filter(|line| line.contains(what)).count();
    let (bad, good) = (said("cannot store calls"), said("one by one again"));
    assert!((1..=2).contains(&bad) && good <= 2, "{bad} times bad and {good} times good in {turns} turns");
    assert!(said("ballast") <= 2, "{log:?}");
    sidecar.kill();
    assert_eq!(Sidecar::start(service.addr, &ledger, &[]).stop().0, Some(0));
    verified(&ledger);
    let lines = event_lines(&ledger);
    let (stored, sums) = totals(&lines);
    let mut oracle = Oracle::default();
    oracle.add(calls, &service, End::Stopped);
    assert_eq!(stored, oracle.totals(), "calls and tokens of each caller");
    assert!(sums > 0, "some were summed");
    println!(
        "{} calls, {sums} of them in sums, {turns} turns, said {bad} times that nothing can be stored",
        oracle.len()
    );
}

fn accounting_becomes(sidecar: &Sidecar, state: &str) {
    wait_for(&format!("accounting to be {state}"), || {
        let answer = get(sidecar.admin, "/readyz");
        assert_eq!(answer.status(), 200, "traffic goes on");
        String::from_utf8(answer.body).unwrap().contains(state).then_some(())
    });
}

#[test]
fn one_failed_sync_costs_nothing() {
    totals_survive("EIO once", |shim| shim.fail_syncs(1), false);
}

#[test]
fn a_disk_that_fails_for_seconds_costs_nothing() {
    totals_survive("EIO for ever", |shim| shim.fail_syncs(ALL), true);
}

#[test]
fn a_file_system_that_becomes_read_only_costs_nothing() {
    totals_survive("read-only", |shim| shim.set(Control::WriteErrno, EROFS), true);
}

#[test]
fn a_disk_that_is_full_for_seconds_costs_nothing() {
    totals_survive("no space", |shim| shim.set(Control::WriteErrno, ENOSPC), true);
}

/// Of the wall clock, one way and the other.
const JUMP_S: i32 = 3_600;

#[test]
fn case_89_a_wall_clock_that_jumps_changes_no_order_and_no_duration() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = dir.path().join("ledger");
    let Some(shim) = Shim::new(dir.path(), &ledger) else { return };
    let (mut random, service) = (Random::new("clock"), Service::start());
    let flags = ["--control-interval", "1s"];
    let sidecar = Sidecar::start_with(service.addr, &ledger, &flags, &shim.environment());
    let signs = Signs::default();
    let load = Load { addr: sidecar.addr, streams: 24, name: "clock", kinds: &MIXED };
    let calls = mixed::run(&load, &mut random, &signs, || {
        for shift_s in [0, JUMP_S, -JUMP_S, 0] {
            shim.set(Control::ClockShiftS, shift_s);
            std::thread::sleep(Duration::from_millis(1_200));
        }
        Signs::set(&signs.stop);
    });
    assert_eq!(sidecar.stop().0, Some(0));
    let mut oracle = Oracle::default();
    oracle.add(calls, &service, End::Stopped);
    verified(&ledger);
    let lines = event_lines(&ledger);
    let found = oracle.check(&lines);
    assert_eq!(found.without_event, 0);
    let mut hours = [0; 3];
    let now = jiff::Timestamp::now();
    for event in usage_events(&ledger) {
        let duration_ms = event["data"]["timing"]["duration_ms"].as_u64().unwrap();
        assert!(duration_ms < 60_000, "{event}");
        let time: jiff::Timestamp = event["time"].as_str().unwrap().parse().unwrap();
        let ahead_s = time.duration_since(now).as_secs();
        hours[usize::try_from((ahead_s + 5_400) / 3_600).unwrap()] += 1;
    }
    assert!(hours.iter().all(|&events| events > 0), "the clock did jump: {hours:?}");
    println!(
        "{} calls, {:?}, events an hour early, in time, an hour late: {hours:?}",
        oracle.len(),
        found.outcomes
    );
}
