//! Work that goes on after its call, by example.

use rusqlite::Connection;

use super::*;
use crate::ledger::deferred::{Deferrals, Known, WorkKey};
use crate::ledger::{Bill, Ledger, schema};
use metering::usage::{Beginner, BillSeen, Deferral, DeferredId, DeferredKind};

fn id(kind: DeferredKind, id: &str) -> DeferredId {
    DeferredId { kind, id: id.into() }
}

fn response(name: &str) -> DeferredId {
    id(DeferredKind::Response, name)
}

/// A bill that somebody else than the beginner sees.
fn bill(seen: BillSeen) -> Bill {
    let mut usage = usage("poll", Some(30), Some(2_500));
    usage.accounting.deferred = true;
    usage.timing.duration_ms = Some(5);
    Bill { settled: Settled { id: Uuid::now_v7(), time: Timestamp::now(), usage }, seen }
}

fn announced(work: DeferredId) -> VecDeque<Op> {
    let call = Uuid::now_v7();
    let settled = Settled { id: call, time: Timestamp::now(), usage: usage("a", None, None) };
    let deferral = Deferral { work, billed: false };
    VecDeque::from([open_op(call), Op::Settle(Box::new(settled), Some(deferral))])
}

impl Rig {
    /// Stores what the queue would bring of these bills, and returns the new events.
    fn bills(&mut self, seen: impl IntoIterator<Item = BillSeen>) -> Vec<Usage> {
        let before = self.usages().len();
        let queue = Arc::clone(self.writer.as_ref().unwrap().queue_of_test());
        seen.into_iter().for_each(|seen| assert!(queue.bill(bill(seen))));
        let free = queue.free_slots();
        let work = queue.take_now();
        let bills = work.ops.len();
        self.store(work);
        assert_eq!(queue.free_slots(), free + bills, "slots come back");
        self.usages().split_off(before)
    }

    fn usages(&self) -> Vec<Usage> {
        let rows = self.reader().after(0, usize::MAX).unwrap();
        let events =
            rows.iter().map(|row| serde_json::from_str::<CloudEvent<serde_json::Value>>(&row.body).unwrap());
        let usages = events.filter(|event| event.kind == EventType::Usage);
        usages.map(|event| serde_json::from_value(event.data).unwrap()).collect()
    }

    fn last_control(&self) -> Control {
        let rows = self.reader().after(0, usize::MAX).unwrap();
        let events =
            rows.iter().map(|row| serde_json::from_str::<CloudEvent<serde_json::Value>>(&row.body).unwrap());
        let mut controls = events.filter(|event| event.kind == EventType::Control);
        serde_json::from_value(controls.next_back().unwrap().data).unwrap()
    }

    fn finish(&mut self) {
        self.store(Pending { finish: true, ..Pending::default() });
    }

    /// A kill -9, and the next start.
    fn killed(&mut self) {
        if let Some(writer) = self.writer.take() {
            self.dead.extend(writer.storage.store);
        } // its lock goes here
        self.start();
    }
}

#[test]
fn the_first_bill_is_charged_to_who_began_the_work_and_later_ones_are_none() {
    let mut rig = Rig::new();
    rig.start();
    rig.store(Pending { ops: announced(response("r")), ..Pending::default() });
    rig.killed();
    let work = || BillSeen::Of(response("r"));
    let events = rig.bills([work(), work()]);
    assert_eq!(events.len(), 1, "two looks at once");
    let event = &events[0];
    assert_eq!((&*event.caller.id, event.tokens.output), ("a", Some(2_500)));
    assert_eq!((event.ids.response_id.as_deref(), event.timing.duration_ms), (Some("r"), None));
    assert!(event.accounting.deferred);
    rig.killed();
    assert!(rig.bills([work()]).is_empty());
    // Work that was not announced here is billed here too, to whoever sees it.
    let events = rig.bills([BillSeen::Of(response("other")), BillSeen::Of(id(DeferredKind::Batch, "r"))]);
    assert_eq!(events.iter().map(|event| &*event.caller.id).collect::<Vec<_>>(), ["poll", "poll"]);
    rig.finish();
    let control = rig.last_control();
    assert_eq!((control.accepted, control.settled, control.open, control.summed), (2, 2, 0, 0));
    assert_eq!((control.events, control.tokens.output), (2, 5_000));
}

#[test]
fn a_call_that_breaks_off_work_whose_bill_is_known_costs_nothing() {
    let mut rig = Rig::new();
    rig.start();
    let events = rig.bills([BillSeen::ByCancel(response("r")), BillSeen::ByCancel(response("r"))]);
    let told = |event: &Usage| (event.tokens.input, event.tokens.output, event.accounting.deferred);
    assert_eq!(
        events.iter().map(told).collect::<Vec<_>>(),
        [(Some(30), Some(2_500), true), (Some(0), Some(0), false)]
    );
    assert_eq!(events[1].accounting.reasons, ["input:not_billed", "output:not_billed"]);
}

#[test]
fn a_stream_whose_work_was_billed_meanwhile_only_announces_it() {
    let mut rig = Rig::new();
    rig.start();
    rig.bills([BillSeen::Of(response("r"))]);
    let ended = |work: DeferredId| {
        let call = Uuid::now_v7();
        let settled = Settled { id: call, time: Timestamp::now(), usage: usage("a", Some(30), Some(2_500)) };
        [open_op(call), Op::Settle(Box::new(settled), Some(Deferral { work, billed: true }))]
    };
    let realtime = || id(DeferredKind::RealtimeResponse, "r");
    let works = [response("r"), response("s"), realtime(), realtime()];
    let ops = works.into_iter().flat_map(ended).collect();
    rig.store(Pending { ops, ..Pending::default() });
    let outputs: Vec<_> = rig.usages().iter().map(|usage| usage.tokens.output).collect();
    assert_eq!(outputs, [Some(2_500), None, Some(2_500), Some(2_500), Some(0)]);
    assert_eq!(rig.usages()[1].accounting.reasons, ["input:deferred", "output:deferred"]);
    assert!(rig.bills([BillSeen::Of(response("s"))]).is_empty(), "the stream was its own bill");
}

#[test]
fn an_id_that_is_given_again_is_other_work() {
    let mut rig = Rig::new();
    rig.start();
    rig.bills([BillSeen::Of(response("r")), BillSeen::Of(response("s"))]);
    // Both calls began when the bills were stored, and their ends have come behind the looks, or they begin only now.
    let ended = |work: &str, started_at: Timestamp, billed| {
        let call = Uuid::now_v7();
        let mut usage = usage("a", Some(1), Some(7));
        usage.timing.started_at = Some(started_at);
        let settled = Settled { id: call, time: Timestamp::now(), usage };
        [open_op(call), Op::Settle(Box::new(settled), Some(Deferral { work: response(work), billed }))]
    };
    let (before, later) = (Timestamp::UNIX_EPOCH, Timestamp::now() + Duration::from_secs(1));
    let ops = [ended("r", before, false), ended("s", before, true)].into_iter().flatten().collect();
    rig.store(Pending { ops, ..Pending::default() });
    assert_eq!(rig.usages().last().unwrap().tokens.output, None, "its bill is known");
    assert!(rig.bills([BillSeen::Of(response("r")), BillSeen::Of(response("s"))]).is_empty());
    let ops = [ended("r", later, false), ended("s", later, true)].into_iter().flatten().collect();
    rig.store(Pending { ops, ..Pending::default() });
    assert_eq!(rig.usages().last().unwrap().tokens.output, Some(7));
    let events = rig.bills([BillSeen::Of(response("r")), BillSeen::Of(response("s"))]);
    assert_eq!(events.iter().map(|event| &*event.caller.id).collect::<Vec<_>>(), ["a"]);
}

#[test]
fn a_batch_is_billed_by_the_file_that_its_object_names() {
    let mut rig = Rig::new();
    rig.start();
    let batch = || id(DeferredKind::Batch, "b");
    let of_file = || BillSeen::OfFile { file: "f".into() };
    rig.store(Pending { ops: announced(batch()), ..Pending::default() });
    assert!(rig.bills([of_file()]).is_empty(), "it may be any file");
    let in_file = || BillSeen::InFile { work: batch(), file: "f".into() };
    assert!(rig.bills([in_file(), in_file()]).is_empty());
    rig.killed();
    let events = rig.bills([of_file(), of_file(), BillSeen::Of(batch()), in_file()]);
    assert_eq!(events.len(), 1);
    assert_eq!((&*events[0].caller.id, events[0].ids.response_id.as_deref()), ("a", Some("b")));
}

#[test]
fn a_crashed_call_announces_its_work() {
    let mut rig = Rig::new();
    rig.start();
    let call = Uuid::now_v7();
    let deferral = Some(Deferral { work: response("r"), billed: false });
    let known = Progress { deferral, response_id: Some("r".into()), ..Progress::default() };
    let ops = VecDeque::from([open_op(call), Op::Checkpoint(vec![(call, known)])]);
    rig.store(Pending { ops, ..Pending::default() });
    rig.killed();
    assert_eq!(rig.usages()[0].stream.outcome, Outcome::Crashed);
    let events = rig.bills([BillSeen::Of(response("r"))]);
    assert_eq!(events.iter().map(|event| &*event.caller.id).collect::<Vec<_>>(), ["a"]);
}

#[test]
fn without_a_place_a_bill_waits_for_the_next_look() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = Ledger::open(LedgerOptions { slots: 1, ..options(dir.path(), true) }).unwrap();
    let (heard, billed) = std::sync::mpsc::channel();
    ledger.on_billed(move |settled| heard.send(settled.id).unwrap());
    let slot = ledger.reserve().unwrap();
    assert!(!ledger.settle_deferred(bill(BillSeen::Of(response("r")))));
    drop(slot);
    let first = bill(BillSeen::Of(response("r")));
    assert!(ledger.settle_deferred(first.clone()));
    assert_eq!(billed.recv_timeout(Duration::from_secs(20)).unwrap(), first.settled.id);
    let again = bill(BillSeen::Of(response("r")));
    let deadline = Instant::now() + Duration::from_secs(20);
    while !ledger.settle_deferred(again.clone()) {
        assert!(Instant::now() < deadline, "the place comes back");
        std::thread::sleep(Duration::from_millis(1));
    }
    ledger.close().unwrap();
    let stats = ledger.stats();
    assert_eq!((stats.accepted, stats.settled, stats.open, billed.try_recv().is_ok()), (1, 1, 0, false));
    assert!(!ledger.settle_deferred(again), "nothing is taken after the end");
}

#[test]
fn calls_that_are_in_sums_begin_and_bill_work_too() {
    let mut rig = Rig::new();
    rig.start();
    let queue = Arc::clone(rig.writer.as_ref().unwrap().queue_of_test());
    let ended = |work: &str, billed| {
        let settled =
            Settled { id: Uuid::now_v7(), time: Timestamp::now(), usage: usage("a", Some(1), Some(1)) };
        let deferral = Deferral { work: response(work), billed };
        queue.note_deferral(crate::ledger::bill::DeferredNote::of(&settled, &deferral));
        queue.sum(&settled);
    };
    ended("begun", false);
    ended("billed", true);
    rig.writer.as_mut().unwrap().sums_due = Some(Instant::now());
    rig.store(Pending::default());
    let events = rig.bills([BillSeen::Of(response("begun")), BillSeen::Of(response("billed"))]);
    assert_eq!(events.iter().map(|event| &*event.caller.id).collect::<Vec<_>>(), ["a"]);
}

#[test]
fn a_bill_that_never_comes_is_waited_for_as_long_as_a_response_is_kept() {
    let mut rig = Rig::new();
    rig.start();
    for work in ["old", "billed", "young"] {
        rig.store(Pending { ops: announced(response(work)), ..Pending::default() });
    }
    rig.bills([BillSeen::Of(response("billed"))]);
    let db = Connection::open(rig.dir.path().join(DATABASE)).unwrap();
    db.execute("UPDATE deferred SET stored_ms = stored_ms - 31 * 86400000 WHERE id <> 'young'", []).unwrap();
    drop(db);
    rig.finish();
    assert_eq!(rig.last_control().deferred_expired, 1, "one of the two that are gone was billed");
    let writer = rig.writer.as_ref().unwrap();
    let left: Vec<String> = {
        let db = Connection::open(rig.dir.path().join(DATABASE)).unwrap();
        let mut rows = db.prepare("SELECT id FROM deferred").unwrap();
        rows.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect()
    };
    assert_eq!((left, writer.storage.log.boot.since.deferred_expired), (vec!["young".to_owned()], 0));
}

#[test]
fn the_oldest_work_goes_when_there_is_too_much_and_each_table_keeps_its_own_time() {
    let mut db = Connection::open_in_memory().unwrap();
    schema::create(&mut db, None).unwrap();
    let at = |now_ms| Deferrals { db: &db, now_ms, rows_max: 3 };
    let beginner = Beginner::of(&usage("a", None, None));
    let session = |name: &str| id(DeferredKind::RealtimeResponse, name);
    for (n, name) in ["1", "2", "3", "4", "5"].into_iter().enumerate() {
        let work = response(name);
        at(n as i64).announce(WorkKey::of("eu", &work), &beginner).unwrap();
        at(n as i64).mark_billed(WorkKey::of("eu", &session(name))).unwrap();
    }
    at(5).mark_billed(WorkKey::of("eu", &response("2"))).unwrap();
    assert_eq!(at(5).expire().unwrap(), 1, "of the two oldest one was billed");
    let known = |work: &DeferredId| at(5).find(WorkKey::of("eu", work)).unwrap();
    assert!(matches!(known(&response("2")), Known::No));
    let Known::Due(Some(found)) = known(&response("3")) else { panic!("{:?}", known(&response("3"))) };
    assert_eq!(*found, beginner);
    assert!(matches!(at(5).find(WorkKey::of("us", &response("3"))).unwrap(), Known::No), "another resource");
    assert!(matches!((known(&session("2")), known(&session("3"))), (Known::No, Known::Billed { at_ms: 2 })));
    // After an hour nobody asks for what a session made, and after thirty days for nothing.
    assert_eq!(at(3_600_000 + 5).expire().unwrap(), 0);
    assert!(matches!((known(&session("5")), known(&response("5"))), (Known::No, Known::Due(_))));
    assert_eq!(at(30 * 86_400_000 + 5).expire().unwrap(), 3);
    assert!(matches!(known(&response("5")), Known::No));
}

/// However long its tags are, nobody gets the bill of another one's work.
#[test]
fn tags_that_are_too_long_to_be_kept_do_not_cost_the_payer() {
    let mut db = Connection::open_in_memory().unwrap();
    schema::create(&mut db, None).unwrap();
    let deferrals = Deferrals { db: &db, now_ms: 0, rows_max: 3 };
    let longest = || "x".repeat(128);
    let mut usage = usage("a", None, None);
    usage.target.project = Some("p".into());
    for (tags, kept) in [(1, true), (8, true), (8, false)] {
        let name = |n: usize| if kept { format!("{n}") } else { format!("{}{n}", "n".repeat(62)) };
        usage.caller.tags = (0..tags).map(|n| (name(n).into(), longest().into())).collect();
        if !kept {
            usage.caller.apim_user_id = Some(longest().into());
            usage.caller.apim_product_id = Some(longest().into());
            usage.caller.entra_app_id = Some(longest().into());
        }
        let (beginner, work) = (Beginner::of(&usage), response(&format!("{tags}-{kept}")));
        let key = WorkKey::of("eu", &work);
        deferrals.announce(key, &beginner).unwrap();
        let Known::Due(Some(found)) = deferrals.find(key).unwrap() else { panic!("{work:?}: nobody pays") };
        let expected = if kept { beginner } else { beginner.without_second_keys() };
        assert_eq!(*found, expected);
    }
}

#[test]
fn the_smallest_ledger_has_room_for_some_hundreds_and_a_large_one_for_all() {
    let rows = |bytes| crate::ledger::deferred::rows_max(&crate::ledger::quota::Quota::new(bytes, u64::MAX));
    assert!((250..1_000).contains(&rows(16 << 20)), "{}", rows(16 << 20));
    assert_eq!(rows(10 << 30), 100_000);
}
