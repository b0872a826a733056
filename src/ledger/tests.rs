//! The writer by example, and against a model in `model`; `bills` is about work that goes on after its call.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use uuid::Uuid;

use super::lock::DirLock;
use super::op::{Op, Pending};
use super::queue::OpQueue;
use super::writer::Writer;
use super::{DATABASE, LedgerOptions, LedgerReader};
use metering::caller::{Caller, Trust};
use metering::usage::{
    Accounting, CloudEvent, Control, EventType, Ids, Outcome, Progress, Reporter, Request, Settled, Source,
    Stream, Target, Timing, Tokens, Units, Usage,
};

fn usage(caller: &str, input: Option<u64>, output: Option<u64>) -> Usage {
    let who = Caller { id: caller.into(), ..Caller::unattributed(Trust::None) };
    Usage {
        schema_version: metering::usage::SCHEMA_VERSION.into(),
        caller: who,
        target: Target { deployment: Some("gpt".into()), ..Target::default() },
        request: Request::default(),
        tokens: Tokens { input, output, ..Tokens::default() },
        tools: Vec::new(),
        units: Units::default(),
        accounting: Accounting { output_source: Source::Computed, ..Accounting::default() },
        stream: Stream::default(),
        timing: Timing::default(),
        ids: Ids::default(),
        capture: None,
        reporter: Reporter::default(),
        unproven: None,
    }
}

fn options(dir: &Path, publishes: bool) -> LedgerOptions {
    LedgerOptions {
        slots: 64,
        keep: Duration::from_secs(3_600),
        control_interval: Duration::from_secs(3_600),
        publishes,
        ..LedgerOptions::new(dir)
    }
}

mod bills;
mod model;

struct Rig {
    dir: tempfile::TempDir,
    writer: Option<Writer>,
    /// Connections of processes that died: closing them does what a kill would not.
    dead: Vec<super::store::Store>,
}

impl Rig {
    fn new() -> Rig {
        // Syncs cost nothing in memory, and no test here is about the disk.
        let dir = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
        Rig { dir, writer: None, dead: Vec::new() }
    }

    fn start(&mut self) {
        let options = options(self.dir.path(), true);
        let quota = super::writer::quota(&options);
        let queue = Arc::new(OpQueue::new(options.slots, &quota));
        let marker = DirLock::take(self.dir.path()).unwrap().marker().unwrap();
        self.writer = Some(Writer::open(&options, quota, queue, marker).unwrap());
    }

    fn store(&mut self, work: Pending) {
        let writer = self.writer.as_mut().unwrap();
        writer.step(work);
        assert!(writer.failing.is_none());
    }

    fn one_call(&mut self) {
        let id = Uuid::now_v7();
        self.store(Pending { ops: [open_op(id), settle_op(id)].into_iter().collect(), ..Pending::default() });
    }

    fn reader(&self) -> LedgerReader {
        LedgerReader::open(self.dir.path()).unwrap()
    }
}

/// One event per call, with the right numbers; no gap in any sequence; controls that add up.
fn check(reader: &LedgerReader, expected: &HashMap<Uuid, (Outcome, Option<u64>)>) {
    let rows = reader.after(0, usize::MAX).unwrap();
    let mut usages: HashMap<Uuid, (Outcome, Option<u64>)> = HashMap::new();
    let mut sequences: BTreeMap<String, Vec<u64>> = BTreeMap::new();
    let mut covered: BTreeMap<String, (u64, u64)> = BTreeMap::new();
    let mut controlled: BTreeMap<String, (u64, u64)> = BTreeMap::new();
    let mut ended = HashSet::new();
    for (index, row) in rows.iter().enumerate() {
        assert_eq!(row.position, index as u64 + 1);
        let event: CloudEvent<serde_json::Value> = serde_json::from_str(&row.body).unwrap();
        let sequence = event.sequence.unwrap();
        assert_eq!(sequence.len(), 20);
        let boot = match event.kind {
            EventType::Control => {
                let control: Control = serde_json::from_value(event.data).unwrap();
                assert_eq!(control.accepted, control.settled + control.open + control.summed);
                let total = controlled.entry(control.instance.clone()).or_default();
                total.0 += control.events;
                total.1 += control.tokens.output;
                if control.last {
                    assert_eq!(control.open, 0);
                    assert!(ended.insert(control.instance), "two last control events");
                }
                event.subject.into()
            }
            EventType::Usage => {
                let usage: Usage = serde_json::from_value(event.data).unwrap();
                let seen = (usage.stream.outcome, usage.tokens.output);
                assert!(usages.insert(event.id.parse().unwrap(), seen).is_none(), "two events of a call");
                let total = covered.entry(usage.reporter.instance.to_string()).or_default();
                total.0 += 1;
                total.1 += usage.tokens.output.unwrap_or(0);
                usage.reporter.instance.into()
            }
            EventType::Summary => panic!("nothing was summed"),
        };
        sequences.entry(boot).or_default().push(sequence.parse().unwrap());
    }
    assert_eq!(&usages, expected);
    for (boot, sequences) in &sequences {
        assert!(sequences.iter().copied().eq(1..=sequences.len() as u64), "{boot}: {sequences:?}");
    }
    // The boot that reads this has not written a control event yet.
    for (boot, total) in covered.iter().filter(|(boot, _)| ended.contains(*boot)) {
        assert_eq!(controlled.get(boot), Some(total), "{boot}");
    }
}

fn open_op(id: Uuid) -> Op {
    Op::Open { id, draft: Arc::new(usage("a", None, None)) }
}

fn settle_op(id: Uuid) -> Op {
    let settled = Settled { id, time: Timestamp::now(), usage: usage("a", Some(1), Some(1)) };
    Op::Settle(Box::new(settled), None)
}

#[test]
fn rows_of_settled_calls_are_swept_in_bulk_and_at_the_end() {
    let mut rig = Rig::new();
    rig.start();
    let ids: Vec<Uuid> = (0..5_000).map(|_| Uuid::now_v7()).collect();
    rig.store(Pending { ops: ids.iter().map(|id| open_op(*id)).collect(), ..Pending::default() });
    let rows = |rig: &Rig| -> u64 {
        let db = rusqlite::Connection::open(rig.dir.path().join(DATABASE)).unwrap();
        db.query_row("SELECT count(*) FROM open", [], |row| row.get::<_, i64>(0)).unwrap() as u64
    };
    rig.store(Pending { ops: ids[..1_000].iter().map(|id| settle_op(*id)).collect(), ..Pending::default() });
    assert_eq!((rows(&rig), rig.reader().open_calls().unwrap()), (5_000, 4_000));
    rig.store(Pending {
        ops: ids[1_000..4_500].iter().map(|id| settle_op(*id)).collect(),
        ..Pending::default()
    });
    assert_eq!((rows(&rig), rig.reader().open_calls().unwrap()), (500, 500));
    let ops = ids[4_500..].iter().map(|id| settle_op(*id)).collect();
    rig.store(Pending { ops, finish: true, ..Pending::default() });
    assert_eq!((rows(&rig), rig.reader().open_calls().unwrap()), (0, 0));
}

#[test]
fn only_delivered_old_events_that_were_not_refused_go() {
    let mut rig = Rig::new();
    rig.start();
    let ids: Vec<Uuid> = (0..10).map(|_| Uuid::now_v7()).collect();
    let ops = ids.iter().flat_map(|id| [open_op(*id), settle_op(*id)]).collect();
    rig.store(Pending { ops, ..Pending::default() });
    rig.store(Pending { mark: 6, refused: vec![(3, "too big".to_owned())], ..Pending::default() });
    let mut store = super::store::Store::open(&rig.dir.path().join(DATABASE), None).unwrap();
    let later = Timestamp::now().as_millisecond() + 1;
    assert_eq!(store.retire(0, 6, later - 3_600_000, 512).unwrap(), 0, "all are young");
    assert_eq!(store.retire(0, 6, later, 4).unwrap(), 4, "no more than the limit");
    assert_eq!(store.retire(4, 6, later, 512).unwrap(), 6, "nothing beyond the mark");
    let left: Vec<u64> = rig.reader().after(0, 100).unwrap().iter().map(|row| row.position).collect();
    assert_eq!(left, [3, 7, 8, 9, 10]);
    let refused = rig.reader().refused(0, 10).unwrap();
    assert_eq!((refused.len(), refused[0].row.position, refused[0].reason.as_str()), (1, 3, "too big"));
    drop(store);
    // Positions are not used again, even by the next boot.
    rig.writer = None;
    rig.start();
    let id = Uuid::now_v7();
    rig.store(Pending { ops: [open_op(id), settle_op(id)].into_iter().collect(), ..Pending::default() });
    let last = rig.reader().after(10, 100).unwrap();
    assert_eq!(last.iter().map(|row| row.position).collect::<Vec<_>>(), [11, 12]);
}

#[test]
fn what_is_not_delivered_stays_however_old_it_is_and_however_short_room_is() {
    let mut rig = Rig::new();
    rig.start();
    let ids: Vec<Uuid> = (0..10).map(|_| Uuid::now_v7()).collect();
    let ops = ids.iter().flat_map(|id| [open_op(*id), settle_op(*id)]).collect();
    rig.store(Pending { ops, ..Pending::default() });
    rig.store(Pending { mark: 6, ..Pending::default() });
    let mut store = super::store::Store::open(&rig.dir.path().join(DATABASE), None).unwrap();
    for short in [false, true] {
        let mut retention = super::retain::Retention::new(Duration::ZERO, Instant::now());
        std::thread::sleep(Duration::from_millis(2)); // all are old now
        while retention.step(&mut store, 6, short, 10).unwrap() {}
        let left: Vec<u64> = rig.reader().after(0, 100).unwrap().iter().map(|row| row.position).collect();
        assert_eq!(left, [7, 8, 9, 10], "short: {short}");
    }
}

/// Frames that may not be durable must not stay before those of the next commit.
#[test]
fn what_a_failed_sync_left_is_not_settled_while_a_reader_keeps_it_in_the_wal() {
    let mut rig = Rig::new();
    rig.start();
    let path = rig.dir.path().join(DATABASE);
    let other = rusqlite::Connection::open(&path).unwrap();
    other.execute_batch("BEGIN; SELECT count(*) FROM event;").unwrap();
    let id = Uuid::now_v7();
    rig.store(Pending { ops: [open_op(id), settle_op(id)].into_iter().collect(), ..Pending::default() });
    let store = super::store::Store::open(&path, None).unwrap();
    assert!(matches!(store.settle_wal(), Err(super::StoreError::ReaderInWal)));
    other.execute_batch("COMMIT").unwrap();
    store.settle_wal().unwrap();
}

/// The system drops what it could not write, and the file then holds what it held before. Nothing of that was
/// published, and the gap in the sequence says that it is missing.
#[test]
fn what_is_gone_with_a_failed_sync_leaves_a_gap_and_no_number_is_given_twice() {
    let mut rig = Rig::new();
    rig.start();
    rig.one_call();
    let (files, names) = (tempfile::tempdir().unwrap(), [DATABASE.to_owned(), format!("{DATABASE}-wal")]);
    for name in &names {
        std::fs::copy(rig.dir.path().join(name), files.path().join(name)).unwrap();
    }
    rig.one_call();
    let writer = rig.writer.as_mut().unwrap();
    writer.storage.syncer.fail_next();
    writer.storage.syncer.sync();
    writer.step(Pending::default());
    assert!(writer.failing.is_some() && writer.storage.store.is_none());
    for name in &names {
        std::fs::copy(files.path().join(name), rig.dir.path().join(name)).unwrap();
    }
    writer.try_again();
    assert!(writer.failing.is_none());
    assert_eq!(writer.queue_of_test().lost(), 1);
    rig.one_call();
    // Its first event, the control event that ends the time of trouble, one more event, and the last control event.
    let sequences = |rig: &Rig| {
        let rows = rig.reader().after(0, 10).unwrap();
        let of = |body: &str| -> u64 {
            let event: CloudEvent<serde_json::Value> = serde_json::from_str(body).unwrap();
            event.sequence.unwrap().parse().unwrap()
        };
        rows.iter().map(|row| (row.position, of(&row.body))).collect::<Vec<_>>()
    };
    assert_eq!(sequences(&rig), [(1, 1), (2, 3), (3, 4)]);
    rig.writer = None;
    rig.start();
    assert_eq!(sequences(&rig).last(), Some(&(4, 1)), "the next start finds a whole ledger");
}

/// Once its WAL is copied whole, the next commit waits for a sync of its header; and that would be a call's.
#[test]
fn recovery_does_not_copy_the_wal_by_itself() {
    let mut rig = Rig::new();
    rig.start();
    let fill = |rig: &mut Rig| {
        let ids: Vec<Uuid> = (0..500).map(|_| Uuid::now_v7()).collect();
        let ops = ids.iter().flat_map(|id| [open_op(*id), settle_op(*id)]).collect();
        rig.store(Pending { ops, ..Pending::default() });
        rig.writer.as_ref().unwrap().storage.store.as_ref().unwrap().wal_bytes().unwrap()
    };
    // SQLite copies from a thousand pages on.
    while fill(&mut rig).0 < 9 << 20 {}
    let files = tempfile::tempdir().unwrap();
    for name in [DATABASE.to_owned(), format!("{DATABASE}-wal")] {
        std::fs::copy(rig.dir.path().join(&name), files.path().join(&name)).unwrap();
    }
    rig.writer = None;
    rig.dir = files;
    rig.start();
    let (written, fresh) = rig.writer.as_ref().unwrap().storage.store.as_ref().unwrap().wal_bytes().unwrap();
    assert!(written > 9 << 20 && fresh == written, "{fresh} of {written} bytes are not copied");
}

/// A sync of the database fails after a copy that was overtaken: its pages are gone, and the WAL's index names them as
/// copied.
#[test]
fn a_copy_in_doubt_is_made_again_once_nobody_has_the_ledger_open() {
    let mut rig = Rig::new();
    rig.start();
    rig.one_call();
    let database = rig.dir.path().join(DATABASE);
    let before = std::fs::read(&database).unwrap();
    let read_only = rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY;
    let reader = rusqlite::Connection::open_with_flags(&database, read_only).unwrap();
    reader.execute_batch("BEGIN; SELECT count(*) FROM event;").unwrap();
    rig.one_call();
    let writer = rig.writer.as_mut().unwrap();
    writer.storage.syncer.copy(Duration::ZERO);
    reader.execute_batch("COMMIT").unwrap();
    assert_ne!(std::fs::read(&database).unwrap(), before, "the first call is copied");
    writer.storage.syncer.fail_copy();
    writer.step(Pending::default());
    assert!(writer.failing.is_some());
    std::fs::write(&database, &before).unwrap();
    writer.try_again();
    assert!(writer.failing.is_some(), "the index of the WAL is the old one");
    assert_eq!(writer.storage.syncer.readers_called_off(), 1);
    drop(reader);
    writer.try_again();
    assert!(writer.failing.is_none());
    rig.one_call();
    let positions: Vec<_> = rig.reader().after(0, 10).unwrap().iter().map(|row| row.position).collect();
    assert_eq!(positions, [1, 2, 3, 4], "three calls, and the control event that ends the time of trouble");
    rig.writer = None;
    let sound: String = rusqlite::Connection::open(&database)
        .unwrap()
        .pragma_query_value(None, "integrity_check", |row| row.get(0))
        .unwrap();
    assert_eq!(sound, "ok");
}

#[test]
fn events_kept_for_a_broker_are_not_taken_for_delivered_without_one() {
    let dir = tempfile::tempdir().unwrap();
    let settle_one = |publishes| {
        let ledger = super::Ledger::open(options(dir.path(), publishes)).unwrap();
        let id = Uuid::now_v7();
        let usage = usage("a", Some(1), Some(1));
        let call = ledger.reserve().unwrap().open(id, &usage);
        call.settle(Settled { id, time: Timestamp::now(), usage });
        ledger.finish().unwrap();
        let stats = ledger.stats();
        ledger.close().unwrap();
        (stats.stored, stats.delivered, stats.undelivered)
    };
    assert_eq!(settle_one(false), (2, 2, 0), "nobody publishes: stored is delivered");
    assert_eq!(settle_one(true), (2, 0, 2), "somebody should");
    assert_eq!(settle_one(false), (2, 0, 4), "and what waits stays in order");
}

#[test]
fn a_newer_ledger_is_left_alone() {
    let mut rig = Rig::new();
    rig.start();
    rig.writer = None;
    let path = rig.dir.path().join(DATABASE);
    let db = rusqlite::Connection::open(&path).unwrap();
    db.pragma_update(None, "user_version", 99).unwrap();
    drop(db);
    let error = super::Ledger::open(options(rig.dir.path(), true)).unwrap_err();
    assert!(matches!(error, super::OpenError::Newer { found: 99, .. }), "{error}");
}

#[test]
fn an_end_that_cannot_be_stored_is_an_error_and_the_call_comes_back_as_crashed() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = super::Ledger::open(options(dir.path(), true)).unwrap();
    let id = Uuid::now_v7();
    let draft = usage("a", None, None);
    let call = ledger.reserve().unwrap().open(id, &draft);
    let reader = LedgerReader::open(dir.path()).unwrap();
    while reader.open_calls().unwrap() == 0 {
        std::thread::sleep(Duration::from_millis(5));
    }
    let other = rusqlite::Connection::open(dir.path().join(DATABASE)).unwrap();
    other
        .execute_batch("CREATE TRIGGER no BEFORE INSERT ON event BEGIN SELECT RAISE(ABORT, 'no'); END")
        .unwrap();
    call.settle(Settled { id, time: Timestamp::now(), usage: usage("a", Some(1), Some(1)) });
    assert_eq!(ledger.close().unwrap_err().unstored, 1);
    assert!(ledger.stats().degraded);
    other.execute_batch("DROP TRIGGER no").unwrap();
    let ledger = super::Ledger::open(options(dir.path(), true)).unwrap();
    ledger.close().unwrap();
    check(&reader, &HashMap::from([(id, (Outcome::Crashed, None))]));
}
