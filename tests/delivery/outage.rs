//! The network between the publisher and a broker: refused, silent, cut, reset, slow.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use rdkafka::types::RDKafkaRespErr;
use tokenweir::publish::Publisher;

use crate::rig::{Broker, Rig};
use crate::support::forwarder::{Cut, Mode, most_in_a_second};
use crate::support::{call, eventually, long};

/// How long a broker is away. Longer than the silence after which the publisher looks around.
const AWAY: Duration = Duration::from_secs(7);

/// How soon all is delivered once it is back.
const RECOVERY_MAX: Duration = Duration::from_secs(3);

fn goes_away(mode: Mode, at_start: bool) {
    let (broker, rig) = (Broker::mock().forwarded(), Rig::new());
    if at_start {
        broker.forwarder().set(mode);
    }
    let publisher = Publisher::start(broker.config(), rig.ledger.clone()).unwrap();
    rig.calls(1);
    if !at_start {
        rig.arrives(&broker);
        broker.forwarder().set(mode);
    }
    let began = Instant::now();
    rig.calls(300);
    let stored = began.elapsed();
    std::thread::sleep(AWAY);
    assert!(rig.ledger.stats().undelivered > 0);
    let accepted: Vec<Instant> =
        broker.forwarder().accepted().into_iter().filter(|time| *time > began).collect();
    broker.forwarder().set(Mode::Pass);
    let back = Instant::now();
    eventually("delivered", || rig.ledger.stats().undelivered == 0);
    let (recovery, replaced) = (back.elapsed(), publisher.stats().replaced);
    let most = most_in_a_second(&accepted);
    println!(
        "{mode:?}, at start {at_start}: stored in {stored:?}, at most {most} connections in a second, \
         recovered in {recovery:?}, {replaced} new producers"
    );
    assert!(most < 10, "{mode:?}: {most} connections in a second");
    assert!(recovery < RECOVERY_MAX, "{mode:?}: recovered in {recovery:?}");
    rig.arrives(&broker);
    rig.end(publisher);
}

/// All at once, because they mostly wait.
#[test]
fn a_broker_that_was_away_is_found_again_within_seconds() {
    std::thread::scope(|scope| {
        for mode in [Mode::Refuse, Mode::Freeze, Mode::BlackHole] {
            for at_start in [true, false] {
                scope.spawn(move || goes_away(mode, at_start));
            }
        }
    });
}

/// A broker that answers, late: nobody takes its connection for dead, and nothing is sent twice.
#[test]
fn a_slow_broker_is_waited_for() {
    let (broker, rig) = (Broker::mock().forwarded(), Rig::new());
    let publisher = Publisher::start(broker.config(), rig.ledger.clone()).unwrap();
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

#[test]
fn connections_that_break_under_load_lose_nothing() {
    let (broker, rig) = (Broker::mock().forwarded(), Rig::new());
    let publisher = Publisher::start(broker.config(), rig.ledger.clone()).unwrap();
    for round in 0..6 {
        rig.calls(100);
        match round % 3 {
            0 => broker.forwarder().cut(&[Cut::Reset]),
            1 => broker.forwarder().cut(&[Cut::After(6), Cut::After(30)]),
            _ => broker.forwarder().reset(),
        }
        rig.calls(100);
        eventually("delivered", || rig.ledger.stats().undelivered == 0);
    }
    rig.arrives(&broker);
    println!("{:?}, {} answers not cut", publisher.stats(), broker.forwarder().cuts_left());
    rig.end(publisher);
}

/// The broker comes back without its log and without knowing any producer, which is fatal for the
/// old one.
#[test]
fn a_broker_that_lost_its_state_gets_a_new_producer() {
    let (broker, empty, rig) = (Broker::mock().forwarded(), Broker::mock(), Rig::new());
    let publisher = Publisher::start(broker.config(), rig.ledger.clone()).unwrap();
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
    let publisher = Publisher::start(broker.config(), rig.ledger.clone()).unwrap();
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

/// More than the line carries for a while: memory stays bounded, new calls are stored at once, and
/// all is delivered later.
#[test]
fn a_line_that_is_too_slow_is_caught_up_with() {
    let (seconds, rate) = if long() { (20, 10_000) } else { (3, 4_000) };
    // About 1.6 KB an event on the line: 4,000 or 1,600 a second.
    let line = if long() { 6_400_000 } else { 2_560_000 };
    let (broker, rig) = (Broker::any().forwarded(), Rig::new());
    let publisher = Publisher::start(broker.config(), rig.ledger.clone()).unwrap();
    rig.calls(1);
    rig.arrives(&broker);
    broker.forwarder().set(Mode::Limit(line));
    let (before, began) = (rss_bytes(), Instant::now());
    let mut most = 0;
    for second in 0..seconds {
        for part in 0..10 {
            // On a machine that is busy the ledger's own queue must not be what is full.
            eventually("room", || {
                let stats = rig.ledger.stats();
                stats.settled.saturating_sub(stats.stored) < 2_000
            });
            for n in 0..rate / 10 {
                call(&rig.ledger, ["a", "b", "c", "d", "e"][n as usize % 5], n, n);
            }
            let due = Duration::from_millis(second * 1_000 + (part + 1) * 100);
            std::thread::sleep(due.saturating_sub(began.elapsed()));
        }
        most = most.max(rss_bytes());
    }
    let calls = seconds * rate + 1;
    eventually("stored", || rig.ledger.stats().stored >= calls);
    let (stored, behind) = (began.elapsed(), rig.ledger.stats().undelivered);
    let delivered = rig.ledger.stats().delivered;
    broker.forwarder().set(Mode::Pass);
    let end = Instant::now();
    while rig.ledger.stats().undelivered > 0 {
        assert!(end.elapsed() < Duration::from_secs(120), "{:?}", rig.ledger.stats());
        most = most.max(rss_bytes());
        std::thread::sleep(Duration::from_millis(20));
    }
    let grown = most.saturating_sub(before) >> 20;
    println!(
        "{calls} events in {stored:?}, {delivered} delivered meanwhile, {behind} behind, caught up in {:?}, \
         memory at most {grown} MiB more, {:?}",
        end.elapsed(),
        publisher.stats()
    );
    assert!(behind > calls / 4, "the line was fast enough: {behind} behind");
    assert!(delivered > 0, "what can go goes");
    // The client's queue of 64 MiB, twice for what librdkafka adds to each event, and what the
    // ledger and the tests of this process that run at the same time take.
    assert!(grown < 300, "{grown} MiB more");
    assert_eq!(publisher.stats().replaced, 0);
    rig.ledger.finish().unwrap();
    assert_eq!(publisher.stop(Duration::from_secs(60)), 0);
}

fn rss_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1_024
}

/// A broker that freezes for 5 s, twenty times, under load: nothing is lost and nothing is twice in
/// the log. Needs the process of a real broker.
#[test]
fn a_broker_that_freezes_has_every_event_once() {
    let pid = std::env::var("TOKENWEIR_TEST_BROKER_PID");
    let (Ok(pid), true) = (pid, long()) else {
        println!("SKIPPED: needs TOKENWEIR_LONG=1 and TOKENWEIR_TEST_BROKER_PID (tests/kafka/run sets it)");
        return;
    };
    let signal = |name: &str| {
        assert!(std::process::Command::new("kill").args([name, &pid]).status().unwrap().success());
    };
    let (broker, rig) = (Broker::any(), Rig::new());
    let publisher = Publisher::start(broker.config(), rig.ledger.clone()).unwrap();
    rig.calls(50);
    rig.arrives(&broker);
    for _ in 0..20 {
        rig.calls(100);
        signal("-STOP");
        rig.calls(100);
        std::thread::sleep(Duration::from_secs(5));
        signal("-CONT");
        let back = Instant::now();
        eventually("delivered", || rig.ledger.stats().undelivered == 0);
        print!("{:.1} s ", back.elapsed().as_secs_f64());
        assert!(back.elapsed() < Duration::from_secs(10));
    }
    let stats = publisher.stats();
    let mut reader = rig.arrives(&broker);
    // Whatever else may come.
    for _ in 0..10 {
        reader.poll(Duration::from_millis(200));
    }
    let ids = rig.ids();
    println!("\n{} events, {} in the log, {stats:?}", ids.len(), reader.records.len());
    assert_eq!(reader.records.len(), ids.len(), "each once");
    rig.end(publisher);
}
