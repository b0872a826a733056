//! A life of a ledger in two boots, told line by line, and what must be true after any end of it.
//!
//! The process that lives it says on its standard output what it hands over, what it sees committed, and what it sees
//! synced. Whatever breaks it off, whoever reads these lines knows what must be in the ledger: after a kill what was
//! committed, after a loss of power what was synced, and in both cases what was delivered.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs;
use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use metering::usage::{CloudEvent, EventType, Outcome, Settled};
use serde_json::Value;
use tokenweir::ledger::{Ledger, LedgerOptions, LedgerReader, OpenError};
use uuid::Uuid;

use crate::progress;
use crate::support::{PATIENCE, check_completeness, eventually, options, usage};

/// Delivered events go at the next start; looked for only then, and every 10 s.
const NO_TIME: Duration = Duration::ZERO;

/// How the script opens its ledger.
fn script_options(dir: &Path) -> LedgerOptions {
    LedgerOptions { keep: NO_TIME, ..options(dir, true) }
}

/// A ledger whose doings are told.
struct Teller {
    ledger: Ledger,
    reader: LedgerReader,
    seen: u64,
}

impl Teller {
    fn open(dir: &Path, seen: u64) -> Teller {
        let ledger = Ledger::open(script_options(dir)).expect("it opens");
        say(&format!("boot {}", ledger.boot()));
        let reader = LedgerReader::open(dir).unwrap();
        Teller { ledger, reader, seen }
    }

    fn open_call(&self) -> tokenweir::ledger::OpenCall {
        let id = Uuid::now_v7();
        say(&format!("open {id}"));
        self.ledger.reserve().expect("a slot").open(id, &usage("a", 0, 0))
    }

    fn checkpoint(&self, id: Uuid, output: u64) {
        say(&format!("checkpoint {id} {output}"));
        self.ledger.checkpoint(vec![(id, progress(output))]);
    }

    fn settle(&self, call: tokenweir::ledger::OpenCall, output: u64) {
        let id = call.id();
        say(&format!("settle {id} {output}"));
        call.settle(Settled { id, time: Timestamp::now(), usage: usage("a", 7, output) });
    }

    /// Settles one more call, waits until that is committed, and with it all before, and tells
    /// what is to be seen.
    fn commit(&mut self) {
        let marker = self.open_call();
        let id = marker.id().to_string();
        self.settle(marker, 1);
        let began = Instant::now();
        loop {
            self.ledger.wait_stored(self.seen, PATIENCE);
            let rows = self.reader.after(self.seen, usize::MAX).unwrap();
            for row in &rows {
                say(&format!("row {} {}", row.position, row.body));
                self.seen = row.position;
            }
            if rows.iter().any(|row| row.body.contains(&id)) {
                say("committed");
                return;
            }
            assert!(began.elapsed() < PATIENCE);
        }
    }

    /// Waits until all that was seen is synced.
    fn sync(&self) {
        let synced = self.ledger.wait_synced(self.seen - 1, PATIENCE);
        assert!(synced >= self.seen);
        say("synced");
    }

    /// Everything seen so far is delivered, once it is synced, but for one event that is refused.
    fn deliver(&self, refused: u64) {
        self.sync();
        say(&format!("mark {}", self.seen));
        self.ledger.mark_refused(refused, "too large");
        self.ledger.mark_delivered(self.seen);
        eventually("the mark is stored", || self.ledger.delivered() >= self.seen);
    }
}

/// Lives through open, checkpoint, settle, sums, refused events, marks, retention, and two ends.
pub(crate) fn live(dir: &Path) {
    let mut tell = Teller::open(dir, 0);
    let calls: Vec<_> = (0..5).map(|_| tell.open_call()).collect();
    tell.checkpoint(calls[0].id(), 10);
    tell.commit();
    tell.checkpoint(calls[1].id(), 20);
    tell.checkpoint(calls[0].id(), 30);
    let mut calls = calls.into_iter();
    let (first, second) = (calls.next().unwrap(), calls.next().unwrap());
    tell.settle(first, 100);
    tell.commit();
    tell.sync();
    tell.settle(second, 200);
    tell.ledger.sum(&Settled { id: Uuid::now_v7(), time: Timestamp::now(), usage: usage("b", 3, 4) });
    tell.commit();
    tell.deliver(2);
    tell.commit();
    let rest: Vec<_> = calls.collect();
    for (n, call) in rest.into_iter().enumerate() {
        if n == 0 {
            std::mem::forget(call); // the next boot settles it as crashed
        } else {
            tell.settle(call, 300);
        }
    }
    tell.ledger.close().unwrap();
    let seen = tell.seen;
    drop(tell);
    let mut tell = Teller::open(dir, seen);
    tell.commit();
    let call = tell.open_call();
    tell.commit();
    tell.checkpoint(call.id(), 40);
    tell.commit();
    tell.sync();
    tell.settle(call, 400);
    tell.commit();
    tell.deliver(tell.seen);
    tell.ledger.close().unwrap();
    say("done");
}

/// One boot that only recovers.
pub(crate) fn recover(dir: &Path) {
    let ledger = Ledger::open(options(dir, true)).expect("it opens");
    ledger.close().unwrap();
    say("done");
}

/// What a process that was broken off had said.
#[derive(Clone, Debug, Default)]
pub(crate) struct Witness {
    stored: Seen,
    synced: Seen,
    opened: HashSet<String>,
    /// Events that may be deleted: they were delivered.
    marked: u64,
    pub(crate) done: bool,
}

/// The events and calls that a process had seen until a mark.
#[derive(Clone, Debug, Default)]
struct Seen {
    rows: BTreeMap<u64, String>,
    /// Calls whose fate was committed: outcome and output.
    committed: HashMap<String, (Outcome, Option<u64>)>,
    /// Calls that the ledger knew for certain.
    known: HashSet<String>,
}

impl Witness {
    /// Takes what a process said. A last line that was cut is no line.
    pub(crate) fn hear(&mut self, said: &str) {
        let (mut pending, mut unsure) = (HashMap::new(), HashSet::new());
        for line in said.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n')) {
            let words: Vec<&str> = line.splitn(3, ' ').collect();
            match words[..] {
                ["open", id] => {
                    self.opened.insert(id.to_owned());
                    pending.insert(id.to_owned(), (Outcome::Crashed, None));
                }
                ["checkpoint", id, n] => {
                    pending.insert(id.to_owned(), (Outcome::Crashed, n.parse().ok()));
                }
                ["settle", id, n] => {
                    pending.insert(id.to_owned(), (Outcome::Complete, n.parse().ok()));
                }
                ["row", position, body] => {
                    let position = position.parse().unwrap();
                    let before = self.stored.rows.insert(position, body.to_owned());
                    assert!(before.is_none_or(|before| before == body), "row {position} changed");
                }
                ["mark", position] => self.marked = position.parse().unwrap(),
                ["committed"] => {
                    self.stored.known.extend(pending.keys().cloned());
                    unsure.extend(pending.keys().cloned());
                    self.stored.committed.extend(pending.drain());
                }
                ["synced"] => {
                    self.synced = self.stored.clone();
                    unsure.clear();
                }
                ["done"] => {
                    self.done = true;
                    self.synced = self.stored.clone();
                    unsure.clear();
                }
                _ => {}
            }
        }
        // The steps told after the last commit, or the last sync, may have happened or not.
        self.stored.committed.retain(|id, _| !pending.contains_key(id));
        self.synced.committed.retain(|id, _| !pending.contains_key(id) && !unsure.contains(id));
    }

    /// Opens the ledger that is left, after a kill or a loss of power, and looks whether all is true that must be.
    pub(crate) fn check(&self, dir: &Path, power_lost: bool) {
        let seen = if power_lost { &self.synced } else { &self.stored };
        let after = recover_and_read(dir);
        let again = recover_and_read(dir);
        // Recovery has nothing left to do; the second boot only says that it ends.
        assert_eq!(again[..after.len()], after[..], "recovering again changes something");
        let fresh: Vec<CloudEvent<Value>> =
            again[after.len()..].iter().map(|(_, body)| serde_json::from_str(body).unwrap()).collect();
        assert_eq!(fresh.iter().map(|event| event.kind).collect::<Vec<_>>(), [EventType::Control]);
        assert!(moved_aside(dir).is_empty(), "a whole ledger was taken for a damaged one");

        let mut union = seen.rows.clone();
        for (position, body) in again {
            if let Some(seen) = union.insert(position, body.clone()) {
                assert_eq!(seen, body, "row {position} changed");
            }
        }
        let left: HashSet<u64> = after.iter().map(|(position, _)| *position).collect();
        for position in seen.rows.keys().filter(|position| !left.contains(position)) {
            assert!(*position <= self.marked, "row {position} was seen and is gone");
        }
        assert!(union.keys().copied().eq(1..=union.len() as u64), "positions have a gap");
        let events: Vec<CloudEvent<Value>> =
            union.values().map(|body| serde_json::from_str(body).unwrap()).collect();
        check_completeness(&events);
        self.check_calls(seen, &events);
    }

    fn check_calls(&self, seen: &Seen, events: &[CloudEvent<Value>]) {
        let calls = events.iter().filter(|event| event.kind == EventType::Usage);
        let calls: HashMap<&str, &CloudEvent<Value>> =
            calls.map(|event| (event.id.as_str(), event)).collect();
        for id in calls.keys() {
            assert!(self.opened.contains(*id), "nobody opened {id}");
        }
        for id in &seen.known {
            assert!(calls.contains_key(id.as_str()), "no event for {id}");
        }
        for (id, (outcome, output)) in &seen.committed {
            let event = calls[id.as_str()];
            assert_eq!(event.data["stream"]["outcome"], outcome.as_str(), "{id}");
            // The draft says 0, a checkpoint more.
            let expected = output.unwrap_or(0);
            assert_eq!(event.data["tokens"]["output"].as_u64().unwrap_or(0), expected, "{id}");
        }
        if self.done {
            assert_eq!(calls.len(), self.opened.len(), "every call has its event");
        }
    }
}

/// One whole boot: recovery, a clean end, and all rows then.
fn recover_and_read(dir: &Path) -> Vec<(u64, String)> {
    open_again(dir).close().unwrap();
    let rows = LedgerReader::open(dir).unwrap().after(0, usize::MAX).unwrap();
    rows.into_iter().map(|row| (row.position, row.body)).collect()
}

/// Opens a ledger that this process may just have closed. A process that another thread starts at
/// that moment holds the lock too, until it has become another program.
pub(crate) fn try_open(dir: &Path) -> Result<Ledger, OpenError> {
    try_open_with(&options(dir, true))
}

/// The same with options of its own.
pub(crate) fn try_open_with(options: &LedgerOptions) -> Result<Ledger, OpenError> {
    let began = Instant::now();
    loop {
        match Ledger::open(options.clone()) {
            Err(OpenError::Locked { .. }) if began.elapsed() < PATIENCE => {
                std::thread::sleep(Duration::from_millis(2));
            }
            tried => return tried,
        }
    }
}

/// [`try_open`] that has to succeed.
pub(crate) fn open_again(dir: &Path) -> Ledger {
    try_open(dir).unwrap_or_else(|error| panic!("{error}"))
}

/// [`try_open`] that has to fail.
pub(crate) fn refused(dir: &Path) -> OpenError {
    try_open(dir).expect_err("it must not open")
}

/// Names of databases that were moved aside in a directory.
pub(crate) fn moved_aside(dir: &Path) -> Vec<String> {
    let names = fs::read_dir(dir).unwrap().flatten().map(|entry| entry.file_name().into_string().unwrap());
    let mut names: Vec<String> = names.filter(|name| name.contains(".corrupt-")).collect();
    names.sort();
    names
}

/// One line of what happens, at once.
fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}").unwrap();
    out.flush().unwrap();
}
