//! Many streams for a long time, with callers that hang up and a service that breaks off: afterwards
//! the process has what it had at the start, and every call has one event.
//!
//! The start is taken after a first wave of the same streams, so that what is made once is there.
//! The run of every day takes seconds; `TOKENWEIR_LONG=1` keeps 500 streams open for an hour, on a
//! ledger that keeps events for minutes, so that it deletes while it writes.

mod judge;
mod traffic;
mod vitals;

use std::sync::Arc;
use std::time::{Duration, Instant};

use self::judge::judge;
use self::traffic::{Calls, Service};
use self::vitals::Vitals;
use super::random::Random;
use super::sidecar::{PATIENCE, Sidecar, verified};
use super::skip::long;
use super::topic::Topic;

/// How much, how long, how fast.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Form {
    /// Open at all times.
    streams: usize,
    /// Of the first wave.
    warm_up: Duration,
    time: Duration,
    /// Between two looks at the process.
    look_every: Duration,
    /// Words of an answer, from and up to.
    words: (u64, u64),
    /// Time between two words, from and up to.
    pace: (Duration, Duration),
    ledger_keep: &'static str,
    /// How much more anonymous memory the process may have afterwards.
    growth_bytes_max: usize,
}

/// A call that leaks its read buffer of 64 KiB shows: more than 300 calls are made.
const SHORT: Form = Form {
    streams: 100,
    warm_up: Duration::from_secs(1),
    time: Duration::from_millis(3_500),
    look_every: Duration::from_millis(500),
    words: (5, 30),
    pace: (Duration::from_millis(20), Duration::from_millis(50)),
    ledger_keep: "1m",
    growth_bytes_max: 8 << 20,
};

/// Some 110,000 calls: one that leaks 40 bytes shows.
const LONG: Form = Form {
    streams: 500,
    warm_up: Duration::from_secs(180),
    time: Duration::from_secs(3_600),
    look_every: Duration::from_secs(60),
    words: (10, 110),
    pace: (Duration::from_millis(200), Duration::from_millis(500)),
    ledger_keep: "5m",
    growth_bytes_max: 4 << 20,
};

/// Looks at a process at rest, a tenth of a second apart.
const LOOKS_ALIKE: usize = 5;

/// Looks at the process again and again, as long as the streams are kept open.
fn look(sidecar: &Sidecar, service: &Service, form: &Form) -> Vec<Vitals> {
    let (began, mut seen) = (Instant::now(), Vec::new());
    while began.elapsed() + form.look_every < form.time {
        std::thread::sleep(form.look_every);
        let vitals = Vitals::of(sidecar, service);
        println!("{:5} s: {vitals}", began.elapsed().as_secs());
        seen.push(vitals);
    }
    seen
}

/// Waits until no call runs, the process has no more than it had at the start, and that stays so for
/// some looks: the service notices a moment later that a connection is closed.
fn at_rest(sidecar: &Sidecar, service: &Service, start: Option<&Vitals>) -> Vitals {
    let (began, mut alike) = (Instant::now(), 0);
    let mut last = Vitals::of(sidecar, service);
    loop {
        std::thread::sleep(Duration::from_millis(100));
        let now = Vitals::of(sidecar, service);
        let rests = now.is_idle() && now.holds_as_many_as(&last);
        alike = if rests && start.is_none_or(|start| now.holds_no_more_than(start)) { alike + 1 } else { 0 };
        if alike == LOOKS_ALIKE {
            return now;
        }
        assert!(began.elapsed() < PATIENCE, "at rest it holds {now:?}, and at the start {start:?}");
        last = now;
    }
}

#[test]
fn streams_come_and_go_and_nothing_is_left_of_them_but_their_events() {
    let form = if long() { LONG } else { SHORT };
    let mut random = Random::new("soak");
    let (calls, topic) = (Arc::new(Calls::default()), Topic::start());
    let service = Service::start(&calls);
    let dir = tempfile::tempdir().unwrap();
    let ledger = dir.path().join("ledger");
    let mut flags = vec!["--end-of-turn", "1", "--ledger-keep", form.ledger_keep];
    flags.extend(topic.flags());
    let sidecar = Sidecar::start(service.addr, &ledger, &flags);

    traffic::run(sidecar.addr, form, form.warm_up, &calls, &mut random, || ());
    let start = at_rest(&sidecar, &service, None);
    println!("  start: {start}");
    let mut seen = Vec::new();
    traffic::run(sidecar.addr, form, form.time, &calls, &mut random, || {
        seen = look(&sidecar, &service, &form);
    });
    let end = at_rest(&sidecar, &service, Some(&start));
    println!("    end: {end}");
    let (code, log) = sidecar.stop();
    assert_eq!(code, Some(0), "{:?}", log.last());
    verified(&ledger);
    judge(&calls.all(), end.accepted(), &topic);
    vitals::judge(&start, &seen, &end, &form);
}
