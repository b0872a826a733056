//! The writer against a model: calls, a publisher, syncs, faults, a quota that fills, crashes, losses of power and
//! ends, in any order. Whatever happens, each call is in exactly one event or one sum, a crash loses only what is not
//! stored, a loss of power only what is not synced, and no sum waits while all else is stored. Every published event is in
//! the ledger, byte for byte, and no number of a boot is given twice. Of work that goes on after its call there is one
//! bill, whoever looks at it, and when.
//!
//! Nothing here syncs but on demand, so what a loss of power leaves is a copy of the files made then.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use proptest::prelude::*;

use super::*;
use crate::ledger::Bill;
use crate::ledger::bill::DeferredNote;
use crate::ledger::lock::DirLock;
use metering::usage::{
    BillSeen, ControlKey, Deferral, DeferredId, DeferredKind, RowHash, RowsDigest, SealState,
};
use metering::usage::{Summary, Units};
use smol_str::SmolStr;

/// Calls that may be open at once: few, so that some find no slot.
const SLOTS: usize = 48;

/// A quota that two hundred undelivered events fill.
const TINY_BYTES: u64 = 640 * 1_024;

/// The files that a loss of power leaves of a ledger. Shared memory never survives, and the lock is not about events.
const FILES: [&str; 2] = [DATABASE, "ledger.sqlite3-wal"];

/// Makes an event of 2 KiB.
const PADDING_BYTES: usize = 1_000;

/// Work that goes on after its call: less than the smallest ledger remembers.
const WORKS: usize = 8;

/// The next step. Numbers pick among what there is.
#[derive(Clone, Debug)]
enum Action {
    Open,
    Checkpoint(usize, u64),
    Settle(usize),
    /// Calls that begin and end at once.
    Burst(usize),
    /// A call begins and ends whose work goes on.
    Announce,
    /// A call begins and ends that was its own bill, although its work could be looked at meanwhile.
    Streamed(usize),
    /// Somebody looks at work that is over.
    Poll(usize),
    /// The writer takes what came in.
    Step,
    /// The next try of a failing ledger, whatever its pause.
    Try,
    /// So much time passes that sums may be stored again; then the writer takes what came in.
    Wait,
    /// The stored events are synced.
    Sync,
    /// The same, and that fails.
    SyncFails,
    /// The next transaction is committed, but reports an error.
    CommitAndFail,
    /// No transaction can be committed.
    Lose,
    /// The next transaction cannot be committed, the one after it can: a disk around full.
    LoseOnce,
    /// The database cannot be opened.
    NoOpen,
    /// All faults are over.
    Heal,
    Send(usize),
    Ack(usize),
    /// The broker did not take it; it is sent again.
    Fail(usize),
    Refuse(usize),
    Crash,
    /// It dies again right after recovery.
    CrashTwice,
    /// The machine dies, and what was not synced with it.
    LosePower,
    /// A clean end and a new start.
    Restart,
}

fn action() -> impl Strategy<Value = Action> {
    prop_oneof![
        6 => Just(Action::Open),
        3 => (any::<usize>(), 1..1_000_u64).prop_map(|(n, tokens)| Action::Checkpoint(n, tokens)),
        6 => any::<usize>().prop_map(Action::Settle),
        3 => (1..40_usize).prop_map(Action::Burst),
        3 => Just(Action::Announce),
        2 => any::<usize>().prop_map(Action::Streamed),
        6 => any::<usize>().prop_map(Action::Poll),
        10 => Just(Action::Step),
        3 => Just(Action::Try),
        3 => Just(Action::Wait),
        6 => Just(Action::Sync),
        1 => Just(Action::SyncFails),
        2 => Just(Action::CommitAndFail),
        1 => Just(Action::Lose),
        3 => Just(Action::LoseOnce),
        1 => Just(Action::NoOpen),
        3 => Just(Action::Heal),
        2 => (1..64_usize).prop_map(Action::Send),
        3 => any::<usize>().prop_map(Action::Ack),
        1 => any::<usize>().prop_map(Action::Fail),
        1 => any::<usize>().prop_map(Action::Refuse),
        1 => Just(Action::Crash),
        1 => Just(Action::CrashTwice),
        1 => Just(Action::LosePower),
        1 => Just(Action::Restart),
    ]
}

/// One call, as the process that made it knows it.
struct Call {
    boot: usize,
    caller: &'static str,
    output: u64,
    has_slot: bool,
    ended: bool,
    /// The numbers that a `crashed` event of it may have.
    known: Vec<Option<u64>>,
}

/// The broker, and what the publisher knows of it.
#[derive(Default)]
struct Broker {
    sent: BTreeSet<u64>,
    failed: BTreeSet<u64>,
    acked: BTreeSet<u64>,
    last: u64,
    mark: u64,
}

/// The ledger that a loss of power leaves, and the knowledge of it.
struct Synced {
    files: tempfile::TempDir,
    /// Position of the last event that it holds for certain, and transactions.
    up_to: (u64, u64),
    boot: usize,
    seen: BTreeMap<u64, String>,
    durable: HashSet<Uuid>,
    summed: HashSet<Uuid>,
    maybe_summed: HashSet<Uuid>,
    doubt: Option<(u64, usize)>,
    known: HashMap<Uuid, Vec<Option<u64>>>,
}

impl Broker {
    fn pick(set: &BTreeSet<u64>, n: usize) -> Option<u64> {
        (!set.is_empty()).then(|| *set.iter().nth(n % set.len()).unwrap())
    }

    /// The mark moves over a prefix without a hole.
    fn advance(&mut self) -> u64 {
        while self.acked.remove(&(self.mark + 1)) {
            self.mark += 1;
        }
        self.mark
    }
}

/// Calls and tokens by caller.
type Totals = BTreeMap<String, (u64, u64)>;

struct World {
    dir: tempfile::TempDir,
    /// Connections of processes that died. Closing does what a kill would not, so they are closed when
    /// their files are gone.
    dead: Vec<crate::ledger::store::Store>,
    max_bytes: u64,
    running: Option<(Writer, Arc<OpQueue>, DirLock)>,
    boot: usize,
    boots: Vec<String>,
    /// Boots of which a loss of power left nothing.
    unknown: HashSet<usize>,
    ids: Vec<Uuid>,
    calls: HashMap<Uuid, Call>,
    checkpoints: Vec<(Uuid, u64)>,
    /// Work, by its number: the caller of the call that announced it, and the calls that were their own bill.
    works: Vec<(Option<&'static str>, Vec<Uuid>)>,
    /// Work that was looked at, and of which the writer has not heard yet.
    polled: Vec<usize>,
    broker: Broker,
    /// The published events, by position.
    topic: BTreeMap<u64, String>,
    synced: Option<Synced>,
    /// Every event that was ever committed, but for those that a loss of power took.
    seen: BTreeMap<u64, String>,
    /// Calls that a crash may not lose.
    durable: HashSet<Uuid>,
    /// Calls in stored sums.
    summed: HashSet<Uuid>,
    /// Calls in sums whose transaction is in doubt.
    maybe_summed: HashSet<Uuid>,
    /// Tells one doubt from the next: commits before it, rows that it left.
    doubt: Option<(u64, usize)>,
    /// The lock file says that calls are only in memory.
    marked: bool,
    /// The steps that were taken, to see that the test does what it says.
    tally: Tally,
}

#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Tally {
    summed: usize,
    crashed: usize,
    full: usize,
    recovered: usize,
    deleted: usize,
    refused: usize,
    committed_after_all: usize,
    /// Events that losses of power took, and that syncs which failed were to cover.
    lost: usize,
    unsynced: usize,
    /// Looks at work that the writer took, and bills that came of them.
    polls: usize,
    bills: usize,
}

impl World {
    fn new(max_bytes: u64) -> World {
        let dir = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
        let mut world = World {
            dir,
            dead: Vec::new(),
            max_bytes,
            running: None,
            boot: 0,
            boots: Vec::new(),
            unknown: HashSet::new(),
            ids: Vec::new(),
            calls: HashMap::new(),
            checkpoints: Vec::new(),
            works: Vec::new(),
            polled: Vec::new(),
            broker: Broker::default(),
            topic: BTreeMap::new(),
            synced: None,
            seen: BTreeMap::new(),
            durable: HashSet::new(),
            summed: HashSet::new(),
            maybe_summed: HashSet::new(),
            doubt: None,
            marked: false,
            tally: Tally::default(),
        };
        world.start();
        world.sync();
        world
    }

    fn options(&self) -> LedgerOptions {
        let control_key = Some(ControlKey::new(b"k"));
        LedgerOptions {
            slots: SLOTS,
            max_bytes: self.max_bytes,
            control_key,
            ..options(self.dir.path(), true)
        }
    }

    fn start(&mut self) {
        let options = self.options();
        let lock = DirLock::take(&options.dir).unwrap();
        let quota = crate::ledger::writer::quota(&options);
        let queue = Arc::new(OpQueue::new(options.slots, &quota));
        let writer = Writer::open(&options, quota, Arc::clone(&queue), lock.marker().unwrap()).unwrap();
        self.boot = self.boots.len();
        self.boots.push(writer.boot().to_string());
        let mark = queue.delivered();
        assert!(mark <= self.broker.mark, "the mark is beyond what was acknowledged");
        self.broker = Broker { mark, last: mark, ..Broker::default() };
        self.running = Some((writer, queue, lock));
        self.audit();
    }

    fn writer(&mut self) -> &mut Writer {
        &mut self.running.as_mut().unwrap().0
    }

    fn queue(&self) -> Arc<OpQueue> {
        Arc::clone(&self.running.as_ref().unwrap().1)
    }

    fn reader(&self) -> LedgerReader {
        LedgerReader::open(self.dir.path()).unwrap()
    }

    fn live(&self) -> Vec<Uuid> {
        let of = |id: &&Uuid| self.calls[*id].boot == self.boot && !self.calls[*id].ended;
        self.ids.iter().filter(of).copied().collect()
    }

    fn pick(&self, n: usize) -> Option<Uuid> {
        let live = self.live();
        (!live.is_empty()).then(|| live[n % live.len()])
    }

    fn act(&mut self, action: &Action) {
        match *action {
            Action::Open => drop(self.open()),
            Action::Checkpoint(n, tokens) => self.checkpoint(n, tokens),
            Action::Settle(n) => {
                if let Some(id) = self.pick(n) {
                    self.settle(id);
                }
            }
            Action::Burst(calls) => {
                for _ in 0..calls {
                    let id = self.open();
                    self.settle(id);
                }
            }
            Action::Announce => self.announce(),
            Action::Streamed(n) => self.streamed(n),
            Action::Poll(n) => self.poll(n),
            Action::Step => self.step(),
            Action::Try => {
                self.step();
                self.try_again();
            }
            Action::Wait => {
                self.writer().sums_due = Some(Instant::now());
                self.step();
                let failing = self.writer().failing.is_some();
                assert!(failing || !self.queue().sums_wait(), "sums wait although all else is stored");
            }
            Action::Sync => self.sync(),
            Action::SyncFails => {
                let (stored, synced) = self.marks();
                self.tally.unsynced += usize::try_from(stored - synced).unwrap();
                self.writer().storage.syncer.fail_next();
                self.writer().storage.syncer.sync();
                assert_eq!(self.marks(), (stored, synced), "a sync that failed moves no mark");
            }
            Action::LoseOnce => self.writer().storage.faults.lose_once = true,
            Action::CommitAndFail => self.writer().storage.faults.commit_and_fail = true,
            Action::Lose => self.writer().storage.faults.lose = true,
            Action::NoOpen => self.writer().storage.faults.no_open = true,
            Action::Heal => self.heal(),
            Action::Send(rows) => self.send(rows),
            Action::Ack(n) => {
                if let Some(position) = Broker::pick(&self.broker.sent, n) {
                    self.broker.sent.remove(&position);
                    self.broker.acked.insert(position);
                    self.queue().mark_delivered(self.broker.advance());
                }
            }
            Action::Fail(n) => {
                if let Some(position) = Broker::pick(&self.broker.sent, n) {
                    self.broker.sent.remove(&position);
                    self.broker.failed.insert(position);
                }
            }
            Action::Refuse(n) => {
                if let Some(position) = Broker::pick(&self.broker.failed, n) {
                    self.broker.failed.remove(&position);
                    self.broker.acked.insert(position);
                    self.queue().mark_refused(position, "no");
                    self.queue().mark_delivered(self.broker.advance());
                    self.tally.refused += 1;
                }
            }
            Action::Crash => self.crash(),
            Action::CrashTwice => {
                self.crash();
                self.crash();
            }
            Action::LosePower => self.lose_power(),
            Action::Restart => self.restart(),
        }
        self.keep_what_is_synced();
    }

    /// Positions of the last event that is stored, and of the last one that is synced.
    fn marks(&self) -> (u64, u64) {
        let queue = self.queue();
        (queue.wait_stored(u64::MAX, Duration::ZERO), queue.wait_synced(u64::MAX, Duration::ZERO))
    }

    fn sync(&mut self) {
        self.writer().storage.syncer.sync();
        self.keep_what_is_synced();
    }

    /// After a sync, keeps a copy of what is on the disk now. A row that was stored since that sync may survive a
    /// loss of power, or not; here it does.
    fn keep_what_is_synced(&mut self) {
        let up_to = (self.marks().1, self.writer().storage.syncer.synced_commits());
        if self.synced.as_ref().is_some_and(|synced| synced.up_to == up_to) {
            return;
        }
        let files = tempfile::tempdir_in("/dev/shm").or_else(|_| tempfile::tempdir()).unwrap();
        for name in FILES {
            std::fs::copy(self.dir.path().join(name), files.path().join(name)).unwrap();
        }
        let known = self.calls.iter().map(|(id, call)| (*id, call.known.clone())).collect();
        self.synced = Some(Synced {
            files,
            up_to,
            boot: self.boot,
            seen: self.seen.clone(),
            durable: self.durable.clone(),
            summed: self.summed.clone(),
            maybe_summed: self.maybe_summed.clone(),
            doubt: self.doubt,
            known,
        });
    }

    /// The machine dies, and the next process recovers what was synced.
    fn lose_power(&mut self) {
        let before = self.summaries(self.boot);
        let died = self.boot;
        if let Some((writer, _, _lock)) = self.running.take() {
            self.dead.extend(writer.storage.store);
        }
        let synced = self.synced.take().unwrap();
        for name in FILES {
            let path = self.dir.path().join(name);
            // Another file of the same name: the dead process still has the old one.
            let _ = std::fs::remove_file(&path);
            std::fs::copy(synced.files.path().join(name), path).unwrap();
        }
        let _ = std::fs::remove_file(self.dir.path().join(format!("{DATABASE}-shm")));
        self.tally.lost += self.seen.len() - synced.seen.len();
        for (position, body) in self.seen.range(..=synced.up_to.0) {
            assert_eq!(synced.seen.get(position), Some(body), "an event is gone that was synced");
        }
        for (id, call) in &mut self.calls {
            call.known = synced.known.get(id).cloned().unwrap_or_else(|| vec![None]);
        }
        (self.seen, self.durable) = (synced.seen, synced.durable);
        (self.summed, self.maybe_summed, self.doubt) = (synced.summed, synced.maybe_summed, synced.doubt);
        // Sums that were stored and not synced are lost, and that is said.
        self.marked |= before != self.summaries(died);
        self.unknown.extend(synced.boot + 1..=died);
        self.recover(synced.boot);
    }

    fn heal(&mut self) {
        self.writer().storage.faults = Default::default();
    }

    fn open(&mut self) -> Uuid {
        let id = Uuid::now_v7();
        let count = self.ids.len() as u64;
        let caller = ["a", "b", "c"][self.ids.len() % 3];
        // Sums of such numbers tell which calls are in them.
        let output = (count + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 30;
        let queue = self.queue();
        let has_slot = queue.reserve();
        if has_slot {
            queue.open(id, Arc::new(padded(caller, None)));
        }
        let (boot, ended, known) = (self.boot, false, vec![None]);
        self.calls.insert(id, Call { boot, caller, output, has_slot, ended, known });
        self.ids.push(id);
        id
    }

    fn settle(&mut self, id: Uuid) {
        self.settle_deferral(id, None);
    }

    /// A call that began this work; `billed`: it was its bill.
    fn end_of_work(&mut self, work: usize, billed: bool) -> Uuid {
        let id = self.open();
        self.settle_deferral(id, Some(Deferral { work: work_id(work), billed }));
        id
    }

    fn announce(&mut self) {
        if self.works.len() < WORKS {
            let id = self.end_of_work(self.works.len(), false);
            self.works.push((Some(self.calls[&id].caller), Vec::new()));
        }
    }

    fn streamed(&mut self, n: usize) {
        let work = n % (self.works.len() + 1).min(WORKS);
        let id = self.end_of_work(work, true);
        if work == self.works.len() {
            self.works.push((None, Vec::new()));
        }
        self.works[work].1.push(id);
    }

    /// A look at some work, by somebody else than who began it.
    fn poll(&mut self, n: usize) {
        let work = n % WORKS;
        let mut usage = padded("poll", Some(1));
        usage.accounting.deferred = true;
        let settled = Settled { id: Uuid::now_v7(), time: Timestamp::now(), usage };
        let taken = self.queue().bill(Bill { settled, seen: BillSeen::Of(work_id(work)) });
        self.tally.polls += usize::from(taken);
        if taken {
            self.polled.push(work);
        }
    }

    /// Bills that are stored: the work, who pays, and the boot that wrote it.
    fn bills(&self) -> Vec<(SmolStr, SmolStr, SmolStr)> {
        let usages = self.events().filter(|event| event.kind == EventType::Usage);
        let usages = usages.map(|event| serde_json::from_value::<Usage>(event.data).unwrap());
        let bills = usages.filter(|usage| usage.accounting.deferred);
        bills
            .map(|usage| (usage.ids.response_id.unwrap(), usage.caller.id, usage.reporter.instance))
            .collect()
    }

    /// Each work has one bill at most: an event of a look at it, or of the calls that were their own bill the first.
    fn audit_bills(&mut self, all_stored: bool) {
        let (bills, usages) = (self.bills(), self.usages());
        for (work, (caller, calls)) in self.works.iter().enumerate() {
            let id = work_id(work).id;
            let of_work: Vec<_> = bills.iter().filter(|bill| bill.0 == id).collect();
            let own =
                calls.iter().filter(|call| usages.get(*call).is_some_and(|usage| usage.1.is_some())).count();
            assert!(of_work.len() + own <= 1, "{id} has {} bills and {own} of its own", of_work.len());
            let payers = [Some("poll"), *caller];
            assert!(of_work.iter().all(|bill| payers.contains(&Some(&bill.1))), "{id}: {of_work:?}");
        }
        if all_stored {
            for work in std::mem::take(&mut self.polled) {
                let id = work_id(work).id;
                let own = self.works.get(work).map_or(&[][..], |(_, calls)| calls);
                let summed = own.iter().any(|call| !usages.contains_key(call));
                let known = own.iter().any(|call| usages.contains_key(call)) || summed;
                assert!(
                    known || bills.iter().any(|bill| bill.0 == id),
                    "{id} was looked at, and has no bill"
                );
            }
        }
        self.tally.bills = self.tally.bills.max(bills.len());
    }

    fn settle_deferral(&mut self, id: Uuid, deferral: Option<Deferral>) {
        let queue = self.queue();
        let call = self.calls.get_mut(&id).unwrap();
        call.ended = true;
        let usage = padded(call.caller, Some(call.output));
        let settled = Settled { id, time: Timestamp::now(), usage };
        if call.has_slot {
            return queue.settle(settled, deferral);
        }
        if let Some(deferral) = deferral {
            queue.note_deferral(DeferredNote::of(&settled, &deferral));
        }
        queue.sum(&settled);
    }

    fn checkpoint(&mut self, n: usize, output: u64) {
        let Some(id) = self.pick(n) else { return };
        let tokens = Tokens { output: Some(output), ..Tokens::default() };
        let units = images(Some(output));
        self.queue().checkpoint(vec![(id, Progress { tokens, units, ..Progress::default() })]);
        self.checkpoints.push((id, output));
    }

    fn step(&mut self) {
        let was_failing = self.writer().failing.is_some();
        let work = self.queue().take_now();
        self.writer().step(work);
        while self.writer().failing.is_none() && self.writer().calls.has_unwritten() {
            self.writer().step(Pending::default());
        }
        let failing = self.writer().failing.is_some();
        self.tally.recovered += usize::from(was_failing && !failing);
        self.marked = failing || self.queue().sums_wait();
        for (id, output) in std::mem::take(&mut self.checkpoints) {
            let known = &mut self.calls.get_mut(&id).unwrap().known;
            match (was_failing, failing) {
                (false, false) => *known = vec![Some(output)],
                (true, true) => {}
                _ => known.push(Some(output)),
            }
        }
        if was_failing || failing {
            self.polled.clear(); // some of them are dropped
        }
        self.audit();
        self.audit_bills(!failing);
    }

    fn try_again(&mut self) {
        if self.writer().failing.is_none() {
            return;
        }
        let doubted = self.writer().storage.doubt.is_some();
        let commits = self.writer().storage.log.commits;
        self.writer().try_again();
        let healthy = self.writer().failing.is_none();
        self.tally.recovered += usize::from(healthy);
        self.tally.full += usize::from(!healthy && self.writer().storage.store.is_some());
        let twice = self.writer().storage.log.commits > commits + 1;
        self.tally.committed_after_all += usize::from(doubted && healthy && twice);
        self.step();
    }

    fn send(&mut self, rows: usize) {
        let reader = self.reader();
        for position in std::mem::take(&mut self.broker.failed) {
            let row = reader.at(position).unwrap().expect("an event is gone before it was delivered");
            assert_eq!(row.body, self.seen[&position], "one id, two bodies");
            self.broker.sent.insert(position);
        }
        let synced = self.queue().wait_synced(u64::MAX, Duration::ZERO);
        for row in reader.after(self.broker.last, rows).unwrap() {
            if row.position <= synced {
                assert_eq!(row.body, self.seen[&row.position], "one id, two bodies");
                assert_eq!(row.position, self.broker.last + 1, "an event is gone before it was delivered");
                self.broker.sent.insert(row.position);
                self.broker.last = row.position;
                let before = self.topic.insert(row.position, row.body.clone());
                assert!(before.is_none_or(|before| before == row.body), "published twice with two bodies");
            }
        }
    }

    /// The process dies, whatever its state, and the next one recovers.
    fn crash(&mut self) {
        if let Some((writer, _, _lock)) = self.running.take() {
            self.dead.extend(writer.storage.store);
        }
        self.recover(self.boot);
    }

    /// The next process recovers what the boot that died has left.
    fn recover(&mut self, died: usize) {
        let degraded = self.marked;
        let (open, maybe_summed) = (self.rows_open(), std::mem::take(&mut self.maybe_summed));
        self.tally.crashed += open.len();
        self.broker.mark = self.broker.mark.max(self.broker.advance());
        self.start();
        let events = self.usages();
        let expected: HashSet<Uuid> = open.into_iter().collect();
        let crashed = |id: &&Uuid| events[*id].0 == Outcome::Crashed && self.calls[*id].boot == died;
        let found: HashSet<Uuid> = events.keys().filter(crashed).copied().collect();
        assert!(expected.is_subset(&found), "an open call did not come back");
        let stored = self.summaries(died);
        if stored != self.totals(&self.summed, died) {
            assert_eq!(stored, self.totals(&maybe_summed, died), "sums of nobody's calls");
            self.summed.extend(maybe_summed);
        }
        for id in &self.durable {
            let (event, sum) = (events.contains_key(id), self.summed.contains(id));
            assert!(event != sum, "{id} is in {} and {} sums", usize::from(event), usize::from(sum));
        }
        let last = self.controls(died).into_iter().next_back().expect("a boot ends with a control event");
        assert!(last.last && (last.degraded || !degraded), "what was lost with a crash is said: {last:?}");
        self.checkpoints.clear();
        self.polled.clear();
        self.marked = false;
        self.audit_bills(false);
    }

    fn restart(&mut self) {
        self.heal();
        self.step();
        let work = Pending { finish: true, ..self.queue().take_now() };
        let (_, full) = (self.writer().step(work), self.writer().failing.is_some());
        self.tally.full += usize::from(full);
        self.writer().end_well();
        assert_eq!(self.writer().unstored(), 0, "a clean end stores everything, also where it is full");
        self.audit();
        assert_eq!(self.queue().delivered(), self.broker.mark, "every mark is stored");
        let (writer, ..) = self.running.take().unwrap();
        drop(writer);
        let live = self.live().into_iter().filter(|id| self.calls[id].has_slot).collect::<HashSet<_>>();
        assert_eq!(self.rows_open().into_iter().collect::<HashSet<_>>(), live);
        self.broker.mark = self.broker.mark.max(self.broker.advance());
        self.start();
        // Nothing was lost, and the new process has lost nothing yet.
        self.marked = false;
    }

    /// Ids of calls that the database holds open.
    fn rows_open(&self) -> Vec<Uuid> {
        let db = rusqlite::Connection::open(self.dir.path().join(DATABASE)).unwrap();
        let mut rows = db
            .prepare("SELECT id FROM open WHERE number NOT IN (SELECT call FROM event WHERE call IS NOT NULL AND position > (SELECT value ->> 'swept' FROM state WHERE name = 'log'))")
            .unwrap();
        let ids = rows.query_map([], |row| row.get(0)).unwrap();
        ids.map(|id| Uuid::from_bytes(id.unwrap())).collect()
    }

    fn events(&self) -> impl Iterator<Item = CloudEvent<serde_json::Value>> {
        self.seen.values().map(|body| serde_json::from_str(body).unwrap())
    }

    fn usages(&self) -> HashMap<Uuid, (Outcome, Option<u64>)> {
        let mut found = HashMap::new();
        for event in self.events().filter(|event| event.kind == EventType::Usage) {
            let usage: Usage = serde_json::from_value(event.data).unwrap();
            if usage.accounting.deferred {
                continue; // no call
            }
            let seen = (usage.stream.outcome, usage.tokens.output);
            assert_eq!(usage.units.images, usage.tokens.output, "units are kept with their tokens");
            assert!(found.insert(event.id.parse().unwrap(), seen).is_none(), "two events of a call");
        }
        found
    }

    fn summaries(&self, boot: usize) -> Totals {
        let mut totals = Totals::new();
        for event in self.events().filter(|event| event.kind == EventType::Summary) {
            let summary: Summary = serde_json::from_value(event.data).unwrap();
            if summary.reporter.instance == self.boots[boot] {
                let total = totals.entry(summary.caller.id.into()).or_default();
                let output = summary.tokens.output.unwrap();
                *total = (total.0 + summary.calls, total.1 + output);
                assert_eq!(summary.units.images.unwrap_or(0), output, "units are summed too");
            }
        }
        totals
    }

    fn controls(&self, boot: usize) -> Vec<Control> {
        let controls = self.events().filter(|event| event.kind == EventType::Control);
        let of = |control: &Control| control.instance == self.boots[boot];
        controls.map(|event| serde_json::from_value(event.data).unwrap()).filter(of).collect()
    }

    fn totals(&self, ids: &HashSet<Uuid>, boot: usize) -> Totals {
        let mut totals = Totals::new();
        for call in ids.iter().map(|id| &self.calls[id]).filter(|call| call.boot == boot) {
            let total = totals.entry(call.caller.to_owned()).or_default();
            *total = (total.0 + 1, total.1 + call.output);
        }
        totals
    }

    /// Calls of this boot that ended and have no event among the rows that there are.
    fn without_event(&self, ids: &HashSet<Uuid>) -> HashSet<Uuid> {
        let ended = |id: &&Uuid| self.calls[*id].boot == self.boot && self.calls[*id].ended;
        self.ids.iter().filter(ended).filter(|id| !ids.contains(*id)).copied().collect()
    }

    /// The invariants of every step.
    fn audit(&mut self) {
        let queue = self.queue();
        let (committed, synced) = self.marks();
        assert!(synced <= committed && self.broker.last <= synced, "only what is synced is published");
        let rows = self.reader().after(0, usize::MAX).unwrap();
        let mark = queue.delivered();
        assert!(mark <= self.broker.mark, "the mark is beyond what was acknowledged");
        let mut expected = mark + 1;
        for row in rows.iter().filter(|row| row.position <= committed) {
            let body = self.seen.entry(row.position).or_insert_with(|| row.body.clone());
            assert_eq!(body, &row.body, "one position, two bodies");
            if row.position > mark {
                assert_eq!(row.position, expected, "an undelivered event is gone");
                expected += 1;
            }
        }
        assert_eq!(expected, committed + 1, "an undelivered event is gone");
        self.tally.deleted = self.tally.deleted.max(self.seen.len().saturating_sub(rows.len()));
        let stats = queue.stats();
        assert_eq!(stats.accepted, stats.settled + stats.open + stats.summed);
        let (writer, ..) = self.running.as_ref().unwrap();
        assert_eq!(stats.degraded, writer.failing.is_some() || queue.free_slots() == 0);
        let mine = |id: &&Uuid| {
            let call = &self.calls[*id];
            call.boot == self.boot && (call.has_slot || call.ended)
        };
        // A bill is accepted and settled at once.
        let bills = self.bills().iter().filter(|bill| bill.2 == self.boots[self.boot]).count();
        assert_eq!(stats.accepted, (self.ids.iter().filter(mine).count() + bills) as u64);
        let (writer, ..) = self.running.as_ref().unwrap();
        let healthy = writer.failing.is_none() && !writer.calls.has_unwritten();
        let doubt = writer.storage.doubt.is_some().then_some((writer.storage.log.commits, rows.len()));
        if !queue.is_empty() {
            return;
        }
        if doubt != self.doubt {
            self.know_sums();
            let found = rows.iter().map(|row| serde_json::from_str(&row.body).unwrap());
            let is_call = |event: &CloudEvent<serde_json::Value>| {
                event.kind == EventType::Usage && event.data["accounting"]["deferred"].is_null()
            };
            let usages = found.filter(is_call);
            let mut ids: HashSet<Uuid> = usages.map(|event| event.id.parse().unwrap()).collect();
            ids.extend(self.usages().into_keys());
            let maybe = if doubt.is_some() { self.without_event(&ids) } else { HashSet::new() };
            (self.doubt, self.maybe_summed) = (doubt, maybe);
        }
        if healthy && !queue.sums_wait() {
            self.audit_healthy(stats.summed);
        }
    }

    /// The doubt before this one is over: its sums are stored, or they are not, or all are.
    fn know_sums(&mut self) {
        let stored = self.summaries(self.boot);
        let all = self.without_event(&self.usages().into_keys().collect());
        let maybe = std::mem::take(&mut self.maybe_summed);
        let known = [HashSet::new(), maybe, all]
            .into_iter()
            .find(|more| stored == self.totals(&self.summed.union(more).copied().collect(), self.boot));
        self.summed.extend(known.expect("sums of nobody's calls"));
    }

    /// The invariants of a ledger that has stored everything.
    fn audit_healthy(&mut self, summed: u64) {
        let usages = self.usages();
        let rest = self.without_event(&usages.keys().copied().collect());
        assert_eq!(
            self.summaries(self.boot),
            self.totals(&rest, self.boot),
            "a call is in no sum, or in two"
        );
        assert_eq!(rest.len() as u64, summed);
        self.tally.summed = self.tally.summed.max(rest.len());
        self.summed.extend(rest);
        let live: HashSet<Uuid> = self.live().into_iter().filter(|id| self.calls[id].has_slot).collect();
        assert_eq!(self.rows_open().into_iter().collect::<HashSet<_>>(), live, "rows of open calls");
        assert_eq!(self.queue().free_slots(), SLOTS - live.len(), "slots come back");
        let ended = |id: &&Uuid| self.calls[*id].boot == self.boot && self.calls[*id].ended;
        self.durable.extend(live);
        self.durable.extend(self.ids.iter().filter(ended));
    }

    /// Each control event has the digests of its rows, names the one before it, and is sealed.
    fn check_digests(&self) {
        let key = ControlKey::new(b"k");
        let mut since: HashMap<String, (RowsDigest, RowsDigest)> = HashMap::new();
        let mut before: Option<Control> = None;
        for body in self.seen.values() {
            let event: CloudEvent<serde_json::Value> = serde_json::from_str(body).unwrap();
            if event.kind != EventType::Control {
                let boot = event.data["reporter"]["instance"].as_str().unwrap().to_owned();
                let (digest, keyed) = since.entry(boot).or_default();
                let row = RowHash::of(body.as_bytes());
                digest.add(&row);
                keyed.add_keyed(&row, &key);
                continue;
            }
            let control: Control = serde_json::from_value(event.data).unwrap();
            let (digest, keyed) = since.remove(&control.instance).unwrap_or_default();
            assert_eq!(control.digest, Some(digest.to_string()), "{body}");
            assert_eq!(control.keyed_digest, (control.events > 0).then(|| keyed.to_string()), "{body}");
            let named = (control.previous_instance.as_ref(), control.previous_digest.as_ref());
            let found = before.as_ref().map_or((None, None), |b| (Some(&b.instance), b.digest.as_ref()));
            assert_eq!(named, found, "{body}");
            assert_eq!(control.hash_state(body), SealState::Whole);
            assert_eq!(control.hmac_state(body, &key), SealState::Whole);
            before = Some(control);
        }
    }

    /// The invariants of all events at the end.
    fn check(&self) {
        self.check_digests();
        for (position, body) in &self.topic {
            assert_eq!(self.seen.get(position), Some(body), "what was published is not in the ledger");
        }
        for (id, (outcome, output)) in self.usages() {
            let call = &self.calls[&id];
            assert!(!self.summed.contains(&id), "{id} has an event and is in a sum");
            match outcome {
                Outcome::Crashed => assert!(call.known.contains(&output), "{output:?} of {:?}", call.known),
                // The bill of its work is another event.
                _ if output.is_none() => assert!(self.works.iter().any(|(_, calls)| calls.contains(&id))),
                _ => assert_eq!(output, Some(call.output)),
            }
        }
        for (boot, name) in self.boots.iter().enumerate() {
            let mut sequences = Vec::new();
            let (mut rows, mut events, mut output) = (0, 0, 0);
            for event in self.events() {
                let instance = match event.kind {
                    EventType::Control => event.subject.as_str(),
                    _ => event.data["reporter"]["instance"].as_str().unwrap(),
                };
                if instance == name {
                    sequences.push(event.sequence.unwrap().parse::<u64>().unwrap());
                    rows += u64::from(event.kind != EventType::Control);
                    output += event.data["tokens"]["output"]
                        .as_u64()
                        .filter(|_| event.kind != EventType::Control)
                        .unwrap_or(0);
                }
            }
            assert!(sequences.iter().copied().eq(1..=sequences.len() as u64), "{name}: {sequences:?}");
            let controls = self.controls(boot);
            for control in &controls {
                assert_eq!(control.accepted, control.settled + control.open + control.summed);
                (events, output) = (events + control.events, output - control.tokens.output);
                assert_eq!(control.units.images.unwrap_or(0), control.tokens.output, "units are covered too");
            }
            if self.unknown.contains(&boot) {
                assert!(sequences.is_empty() && controls.is_empty(), "{name} was forgotten");
                continue;
            }
            // The boot that runs has not written its last one.
            if boot != self.boot {
                assert_eq!((rows, output), (events, 0), "{name}: control events cover every row once");
                assert_eq!(controls.iter().filter(|control| control.last).count(), 1);
            }
            let summed = self.summed.iter().filter(|id| self.calls[*id].boot == boot).count() as u64;
            assert_eq!(controls.last().map_or(0, |control| control.summed), summed, "{name}");
            assert!(summed == 0 || controls.iter().any(|control| control.degraded), "{name}: sums are said");
        }
    }
}

/// Some work, by its number.
fn work_id(work: usize) -> DeferredId {
    DeferredId { kind: DeferredKind::Response, id: format!("resp_{work}").into() }
}

/// A usage that fills pages.
fn padded(caller: &str, output: Option<u64>) -> Usage {
    let mut usage = usage(caller, output.map(|_| 1), output);
    usage.target.resource = "x".repeat(PADDING_BYTES).into();
    usage.units = images(output);
    usage
}

/// As many images as tokens, so that each sum of the one shows what that of the other must be.
fn images(output: Option<u64>) -> Units {
    Units { images: output, ..Units::default() }
}

fn run(max_bytes: u64, actions: &[Action]) -> Tally {
    let mut world = World::new(max_bytes);
    for action in actions {
        world.act(action);
    }
    world.restart();
    world.restart();
    world.check();
    world.tally
}

/// `TOKENWEIR_LONG=1` for thirty times the cases, twice as long.
fn size() -> (u32, usize) {
    if std::env::var_os("TOKENWEIR_LONG").is_some() { (2_000, 160) } else { (64, 80) }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: size().0, max_shrink_iters: 400, ..ProptestConfig::default() })]

    #[test]
    fn each_call_is_in_one_event_or_one_sum_whatever_happens(
        tiny in any::<bool>(),
        actions in prop::collection::vec(action(), 0..size().1),
    ) {
        run(if tiny { TINY_BYTES } else { 64 << 20 }, &actions);
    }
}

#[test]
fn a_loss_of_power_takes_what_is_not_synced_and_nothing_else() {
    let mut actions = vec![Action::Burst(20), Action::Open, Action::Step, Action::Sync];
    for _ in 0..8 {
        actions.extend([Action::Burst(5), Action::Step, Action::Send(64), Action::Ack(0), Action::LosePower]);
        actions.extend([Action::Burst(5), Action::Step, Action::Sync, Action::Send(64), Action::LosePower]);
        actions.extend([Action::Burst(5), Action::Step, Action::SyncFails, Action::Send(64), Action::Step]);
        actions.extend([Action::Try, Action::Burst(5), Action::Step, Action::Send(64)]);
    }
    let tally = run(64 << 20, &actions);
    assert!(tally.lost >= 8 * 5 && tally.unsynced >= 8 * 5 && tally.recovered >= 8, "{tally:?}");
}

#[test]
fn work_has_one_bill_whatever_dies_between_looks_at_it() {
    let mut actions = Vec::new();
    for end in [Action::Crash, Action::CrashTwice, Action::Restart, Action::CommitAndFail, Action::LoseOnce] {
        actions.extend([Action::Announce, Action::Poll(0), Action::Step]);
        for work in 0..WORKS {
            actions.extend([Action::Poll(work), Action::Poll(work), end.clone(), Action::Step, Action::Try]);
            actions.extend([Action::Poll(work), Action::Step, Action::Streamed(work), Action::Poll(work)]);
            actions.extend([Action::Step, Action::Heal]);
        }
    }
    let tally = run(64 << 20, &actions);
    assert!(tally.bills == WORKS && tally.polls > 100 && tally.committed_after_all > 0, "{tally:?}");
}

#[test]
fn a_full_ledger_comes_back_when_its_events_are_delivered() {
    let mut actions = Vec::new();
    // Undelivered events fill it; calls go on and are summed.
    for _ in 0..12 {
        actions.extend([Action::Burst(30), Action::Open, Action::Step]);
    }
    actions.extend([Action::Try, Action::Open, Action::Settle(3), Action::Try]);
    // The broker is back.
    for _ in 0..400 {
        actions.extend([Action::Send(8), Action::Ack(0), Action::Ack(0)]);
    }
    actions.extend([Action::Try, Action::Try, Action::Burst(20), Action::Step]);
    let tally = run(TINY_BYTES, &actions);
    assert!(tally.full > 0 && tally.recovered > 0 && tally.summed > 10 && tally.deleted > 50, "{tally:?}");
}
