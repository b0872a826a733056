//! A ledger whose publisher reaches its broker through the forwarder only, and calls at a pace.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use metering::usage::Settled;
use tokenweir::ledger::Ledger;
use tokenweir::publish::{Auth, KafkaConfig, PublishStats, Publisher};
use uuid::Uuid;

use crate::skip::long;
use crate::support::follower::{Held, Topic};
use crate::support::forwarder::{Forwarder, Mode};
use crate::support::process::resident_bytes;
use crate::support::{PATIENCE, check_completeness, eventually, options, stored, usage};

/// The first of these in the run of every day, the second with `TOKENWEIR_LONG=1`.
#[track_caller]
pub(crate) fn either<T>(short: T, longer: T) -> T {
    if long() { longer } else { short }
}

/// Memory of this process, in MiB.
pub(crate) fn memory_mib() -> u64 {
    resident_bytes() as u64 >> 20
}

/// A ledger, its publisher, and what lies between it and the topic.
pub(crate) struct Rig {
    pub(crate) topic: Topic,
    pub(crate) forwarder: Arc<Forwarder>,
    pub(crate) dir: tempfile::TempDir,
    pub(crate) ledger: Ledger,
    pub(crate) publisher: Publisher,
    /// What came up to this position may be gone from the topic: its broker lost it.
    pub(crate) after: u64,
}

impl Rig {
    /// The publisher starts, and the forwarder is in this mode by then.
    pub(crate) fn start(topic: Topic, mode: Mode) -> Rig {
        Rig::start_with(topic, mode, &[])
    }

    /// The same, with properties of the client.
    fn start_with(topic: Topic, mode: Mode, properties: &[(&str, &str)]) -> Rig {
        let forwarder = Arc::new(Forwarder::new(&topic.servers));
        forwarder.set(mode);
        let dir = tempfile::tempdir().unwrap();
        let ledger = Ledger::open(options(dir.path(), true)).unwrap();
        let config = KafkaConfig {
            brokers: forwarder.addr(),
            topic: topic.name.clone(),
            auth: Auth::None,
            properties: properties.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect(),
        };
        let publisher = Publisher::of_ledger(config, ledger.clone()).unwrap();
        Rig { topic, forwarder, dir, ledger, publisher, after: 0 }
    }

    /// The same, and a first event has arrived.
    pub(crate) fn running(topic: Topic) -> Rig {
        Rig::running_with(topic, &[])
    }

    /// The same, with properties of the client.
    pub(crate) fn running_with(topic: Topic, properties: &[(&str, &str)]) -> Rig {
        let rig = Rig::start_with(topic, Mode::Pass, properties);
        one_call(&rig.ledger, 0);
        rig.caught_up();
        rig
    }

    /// Calls so many a second until the load is ended.
    pub(crate) fn load(&self, per_second: u32) -> Load {
        Load::start(self.ledger.clone(), per_second)
    }

    pub(crate) fn delivered(&self) -> u64 {
        self.ledger.stats().delivered
    }

    pub(crate) fn stats(&self) -> PublishStats {
        self.publisher.stats()
    }

    /// All that is stored by now is delivered.
    pub(crate) fn caught_up(&self) {
        let goal = self.ledger.stats().settled;
        eventually("everything to be stored and delivered", || {
            let stats = self.ledger.stats();
            stats.stored >= goal && stats.undelivered == 0
        });
    }

    /// How long until events are delivered again.
    pub(crate) fn recovery(&self) -> Duration {
        let (began, before) = (Instant::now(), self.delivered());
        eventually("deliveries to begin again", || self.delivered() > before);
        began.elapsed()
    }

    /// Ends in order, and holds the topic against the ledger.
    pub(crate) fn end(self) -> Held {
        self.forwarder.set(Mode::Pass);
        self.ledger.finish().unwrap();
        assert_eq!(self.publisher.stop(PATIENCE), 0, "events are left");
        self.ledger.close().unwrap();
        assert_eq!(self.ledger.stats().undelivered, 0);
        let held = self.topic.holds(self.dir.path(), self.after);
        if held.events < 50_000 {
            check_completeness(&stored(self.dir.path()));
        }
        held
    }
}

/// Threads that call.
pub(crate) struct Load {
    stop: Arc<AtomicBool>,
    calls: Arc<AtomicU64>,
    thread: JoinHandle<()>,
}

impl Load {
    pub(crate) fn start(ledger: Ledger, per_second: u32) -> Load {
        let (stop, calls) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let thread = {
            let (stop, calls) = (Arc::clone(&stop), Arc::clone(&calls));
            std::thread::spawn(move || {
                let began = Instant::now();
                while !stop.load(Ordering::Relaxed) {
                    let done = calls.load(Ordering::Relaxed);
                    let due = (began.elapsed().as_secs_f64() * f64::from(per_second)) as u64;
                    for n in done..due {
                        one_call(&ledger, n);
                    }
                    calls.fetch_max(due, Ordering::Relaxed);
                    std::thread::sleep(Duration::from_millis(1));
                }
            })
        };
        Load { stop, calls, thread }
    }

    pub(crate) fn calls(&self) -> u64 {
        self.calls.load(Ordering::Relaxed)
    }

    /// Ends it. Returns how many calls there were.
    pub(crate) fn end(self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().unwrap();
        self.calls.load(Ordering::Relaxed)
    }
}

/// One whole call, of one of many callers. Waits if the ledger has no slot.
pub(crate) fn one_call(ledger: &Ledger, n: u64) {
    let (id, usage) = (Uuid::now_v7(), usage(&format!("team-{}", n % 37), n, n + 1));
    let slot = loop {
        match ledger.reserve() {
            Some(slot) => break slot,
            None => std::thread::sleep(Duration::from_millis(1)),
        }
    };
    slot.open(id, &usage).settle(Settled { id, time: Timestamp::now(), usage });
}
