//! A model of the spool: whatever is appended, stored, delivered and refused, and whenever the process dies, each part
//! that was stored is there once, in a sequence without gaps, and the control events tell of all of them.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use metering::usage::{
    ContentControl, ContentPart, ContentSide, ContentType, PartFacts, Reporter, RowHash, RowsDigest, part_id,
};
use proptest::prelude::*;
use serde_json::Value;
use uuid::Uuid;

use super::super::captured_call::CapturedCall;
use super::super::counters::CaptureCounters;
use super::super::memory::{CaptureMemory, HeldMemory};
use super::super::testing::call;
use super::super::unstored_part::UnstoredPart;
use super::*;
use crate::publish::EventSource;

pub(super) const MEMORY_BYTES: usize = 64 << 20;

/// A spool and what it shares with others.
pub(super) struct Rig {
    pub(super) writer: SpoolWriter,
    pub(super) source: SpoolSource,
    pub(super) memory: Arc<CaptureMemory>,
    counters: Arc<CaptureCounters>,
}

fn options(dir: &Path, boot: Uuid, max_bytes: u64) -> SpoolOptions {
    SpoolOptions {
        dir: dir.to_owned(),
        in_ledger_dir: false,
        network_fs: true,
        source: "//tokenweir/test".into(),
        boot,
        max_bytes,
    }
}

impl Rig {
    pub(super) fn open(dir: &Path, max_bytes: u64, waiting_bytes_max: usize) -> Rig {
        let (memory, counters) =
            (Arc::new(CaptureMemory::new(MEMORY_BYTES)), Arc::<CaptureCounters>::default());
        let options = options(dir, Uuid::now_v7(), max_bytes);
        let writer = SpoolWriter::open(&options, Arc::clone(&counters), waiting_bytes_max).unwrap();
        Rig { source: writer.source(), writer, memory, counters }
    }

    pub(super) fn append(&mut self, call: &Arc<CapturedCall>, part: u64, content_bytes: usize) {
        let held = HeldMemory::of_taken(&self.memory, call.share, 0);
        let unstored = UnstoredPart::new(call, ContentSide::Response, part, held, &self.counters);
        self.writer.append(sealed(unstored, content_bytes));
    }

    pub(super) fn commit(&mut self) {
        self.writer.commit(Instant::now());
    }

    pub(super) fn rows(&mut self) -> Vec<(u64, String)> {
        let rows = self.source.after(0, usize::MAX >> 1, usize::MAX).unwrap();
        rows.into_iter().map(|row| (row.position, row.body)).collect()
    }

    pub(super) fn stats(&self) -> super::super::CaptureStats {
        self.counters.stats()
    }
}

/// A part of a call's response, of random letters.
fn sealed(mut unstored: UnstoredPart, content_bytes: usize) -> SealedPart {
    unstored.bytes_raw = content_bytes as u64;
    unstored.held.exchange(content_bytes + 1_000);
    let (call, side, part) = (&unstored.call, unstored.side, unstored.part);
    let id = call.id.to_string();
    let facts = PartFacts {
        call: id.as_str().into(),
        usage: call.usage,
        caller: call.caller.clone(),
        target: call.target.clone(),
        side,
        part,
        last: false,
        bytes_raw: content_bytes as u64,
        content_type: None,
        content_encoding: None,
        status: Some(200),
        edited: Vec::new(),
        outcome: None,
        truncated: false,
    };
    let data = ContentPart {
        schema_version: "1.0".into(),
        facts,
        reporter: Reporter { instance: "boot".into(), version: "1".into() },
        jwe: None,
        cleartext: Some("c".repeat(content_bytes)),
    };
    let time = Some("2026-11-30T12:00:00.000Z".to_owned());
    let id = part_id(&id, side, part);
    let event =
        metering::usage::CloudEvent::new(ContentType::Part, "//tokenweir/test", id, time, "caller", data);
    SealedPart { event, unstored }
}

#[derive(Clone, Debug)]
enum Step {
    Append(usize),
    Commit,
    Control,
    /// So many hundredths of what is not delivered yet.
    Deliver(u64),
    /// The first one that is not delivered.
    Refuse,
    Die,
    End,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        5 => (0_usize..40_000).prop_map(Step::Append),
        4 => Just(Step::Commit),
        1 => Just(Step::Control),
        3 => (0_u64..=100).prop_map(Step::Deliver),
        1 => Just(Step::Refuse),
        1 => Just(Step::Die),
        1 => Just(Step::End),
    ]
}

/// All rows that were ever seen, by position, and what of them must be there.
#[derive(Default)]
struct Seen {
    rows: BTreeMap<u64, String>,
    stored_parts: u64,
    refused: BTreeSet<u64>,
    delivered: u64,
}

impl Seen {
    fn look(&mut self, rig: &mut Rig) {
        for (position, body) in rig.rows() {
            let before = self.rows.insert(position, body.clone());
            assert!(before.is_none_or(|before| before == body), "row {position} has changed");
        }
    }

    fn events(&self) -> Vec<Value> {
        self.rows.values().map(|body| serde_json::from_str(body).unwrap()).collect()
    }
}

fn run(steps: Vec<Step>) {
    let dir = tempfile::tempdir().unwrap();
    let (mut rig, mut seen) = (Rig::open(dir.path(), 1 << 30, MEMORY_BYTES), Seen::default());
    let mut boots_ended = 0;
    for step in steps {
        match step {
            Step::Append(bytes) => rig.append(&call(), 0, bytes),
            Step::Commit => rig.commit(),
            Step::Control => rig.writer.control(ControlKind::Periodic),
            Step::Deliver(percent) => {
                let (stored, before) = (rig.source.stored(), rig.source.delivered());
                seen.look(&mut rig);
                rig.source.mark_delivered(before + (stored - before) * percent / 100);
            }
            Step::Refuse => {
                let first = rig.source.delivered() + 1;
                if first <= rig.source.stored() {
                    seen.look(&mut rig);
                    rig.source.mark_refused(first, "too large");
                    rig.source.mark_delivered(first);
                    seen.refused.insert(first);
                }
            }
            Step::Die | Step::End => {
                if matches!(step, Step::End) {
                    rig.writer.finish();
                    assert_eq!(rig.memory.used_bytes(), 0);
                }
                seen.look(&mut rig);
                let stats = rig.stats();
                (seen.stored_parts, boots_ended) = (seen.stored_parts + stats.parts, boots_ended + 1);
                assert_eq!(stats.lost_parts, 0);
                drop(rig);
                rig = Rig::open(dir.path(), 1 << 30, MEMORY_BYTES);
                assert!(rig.source.delivered() >= seen.delivered);
                seen.delivered = rig.source.delivered();
            }
        }
    }
    rig.writer.finish();
    seen.look(&mut rig);
    seen.stored_parts += rig.stats().parts;
    assert_eq!(rig.memory.used_bytes(), 0);
    judge(&seen, boots_ended + 1);
    // All is delivered: what is left are the refused ones.
    rig.source.mark_delivered(rig.source.stored());
    rig.commit();
    let left: BTreeSet<u64> = rig.rows().into_iter().map(|(position, _)| position).collect();
    // A refusal that its process could not note was forgotten with it.
    assert!(left.is_subset(&seen.refused), "{left:?} {:?}", seen.refused);
    assert_eq!(rig.stats().undelivered, 0);
}

/// Holds the rows against each other.
fn judge(seen: &Seen, boots: usize) {
    let events = seen.events();
    assert_eq!(seen.rows.keys().copied().collect::<Vec<_>>(), (1..=events.len() as u64).collect::<Vec<_>>());
    let is_part = |event: &Value| event["type"] == ContentType::Part.as_str();
    let ids: BTreeSet<&str> =
        events.iter().filter(|event| is_part(event)).map(|e| e["id"].as_str().unwrap()).collect();
    assert_eq!(ids.len() as u64, seen.stored_parts, "a part that was stored is missing or doubled");
    // A boot's own rows follow its predecessor's last control event, which is the first of its sequence.
    let (mut sequence, mut ends) = (0, 0);
    let mut since: Vec<(u64, &String)> = Vec::new();
    for (event, body) in events.iter().zip(seen.rows.values()) {
        let found: u64 = event["sequence"].as_str().unwrap().parse().unwrap();
        sequence = if found == 1 { 1 } else { sequence + 1 };
        assert_eq!(found, sequence, "a sequence has a gap");
        if is_part(event) {
            since.push((found, body));
            continue;
        }
        let control: ContentControl = serde_json::from_value(event["data"].clone()).unwrap();
        let mut digest = RowsDigest::default();
        since.iter().for_each(|(_, body)| digest.add(&RowHash::of(body.as_bytes())));
        assert_eq!((control.parts, &control.digest), (since.len() as u64, &digest.to_string()));
        assert_eq!(control.first_sequence, since.first().map(|first| first.0));
        assert_eq!(control.last_sequence, since.last().map(|last| last.0));
        let speaks_of_itself = event["subject"] == control.instance.as_str();
        assert!(control.last || speaks_of_itself, "only a last control event is written by another boot");
        ends += usize::from(control.last);
        since.clear();
    }
    assert!(since.is_empty(), "rows that no control event covers");
    assert_eq!(ends, boots, "each boot has one last control event");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]
    #[test]
    fn each_stored_part_is_there_once_whatever_happens(steps in prop::collection::vec(step(), 1..40)) {
        run(steps);
    }
}

#[test]
fn a_full_spool_loses_by_prefixes_counts_it_and_goes_on_when_there_is_room() {
    const MAX_BYTES: u64 = 2 << 20;
    let dir = tempfile::tempdir().unwrap();
    let mut rig = Rig::open(dir.path(), MAX_BYTES, MEMORY_BYTES);
    let calls = [call(), call(), call()];
    for part in 0..20 {
        for call in &calls {
            rig.append(call, part, 60_000);
        }
        rig.commit();
        let bytes = std::fs::metadata(dir.path().join(CAPTURE_DATABASE)).unwrap().len();
        assert!(bytes <= MAX_BYTES, "{bytes}");
    }
    let stats = rig.stats();
    assert!(stats.degraded && stats.parts > 10 && stats.parts + stats.lost_parts == 60, "{stats:?}");
    assert_eq!(stats.lost_bytes, stats.lost_parts * 60_000);
    assert_eq!(rig.memory.used_bytes(), 0, "what is lost holds no memory");
    let rows = rig.rows();
    for call in &calls {
        let id = call.id.to_string();
        let of_it = rows.iter().filter(|row| row.1.contains(&format!("{id}.response"))).count();
        let prefix = (0..of_it as u64).all(|part| {
            let id = format!("\"{}\"", part_id(&id, ContentSide::Response, part));
            rows.iter().any(|row| row.1.contains(&id))
        });
        assert!(prefix && call.response.is_lost.load(Ordering::Relaxed), "{of_it} parts with a hole");
    }
    // A control event has room nevertheless, and says so.
    rig.writer.control(ControlKind::Periodic);
    rig.commit();
    let last: Value = serde_json::from_str(&rig.rows().pop().unwrap().1).unwrap();
    assert_eq!(last["data"]["degraded"], true);
    assert_eq!(last["data"]["lost_parts"], stats.lost_parts);
    rig.source.mark_delivered(rig.source.stored());
    rig.commit();
    assert!(!rig.stats().degraded, "delivered rows made room");
    let next = call();
    rig.append(&next, 0, 60_000);
    rig.append(&calls[0], 20, 60_000);
    rig.commit();
    let after = rig.stats();
    assert_eq!(
        (after.parts, after.lost_parts),
        (stats.parts + 1, stats.lost_parts + 1),
        "a side that lost a part goes on"
    );
}

#[test]
fn parts_wait_in_memory_while_the_database_fails_and_are_lost_beyond_that() {
    let dir = tempfile::tempdir().unwrap();
    let mut rig = Rig::open(dir.path(), 1 << 30, 100_000);
    let blocker = rusqlite::Connection::open(dir.path().join(CAPTURE_DATABASE)).unwrap();
    blocker.execute_batch("BEGIN IMMEDIATE").unwrap();
    let (first, second) = (call(), call());
    rig.append(&first, 0, 60_000);
    rig.commit();
    assert!(rig.stats().degraded && rig.stats().parts == 0);
    rig.append(&second, 0, 60_000);
    assert_eq!(rig.stats().lost_parts, 1, "there was room for one");
    blocker.execute_batch("ROLLBACK").unwrap();
    drop(blocker);
    rig.commit();
    assert_eq!(rig.stats().parts, 0, "the next try has its time");
    rig.writer.commit(Instant::now() + std::time::Duration::from_secs(2));
    let stats = rig.stats();
    assert!(!stats.degraded && stats.parts == 1 && stats.lost_parts == 1, "{stats:?}");
    assert_eq!((rig.rows().len(), rig.memory.used_bytes()), (1, 0));
    rig.writer.finish();
    let last: Value = serde_json::from_str(&rig.rows().pop().unwrap().1).unwrap();
    assert_eq!((&last["data"]["degraded"], &last["data"]["final"]), (&Value::Bool(true), &Value::Bool(true)));
}

#[test]
fn a_database_that_is_damaged_or_foreign_is_moved_aside_and_the_next_one_says_so() {
    for content in [&b"this is no database, and never was one"[..], &[0x53; 9_000]] {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join(CAPTURE_DATABASE), content).unwrap();
        let mut rig = Rig::open(dir.path(), 1 << 30, MEMORY_BYTES);
        rig.append(&call(), 0, 10);
        rig.writer.finish();
        let last: Value = serde_json::from_str(&rig.rows().pop().unwrap().1).unwrap();
        assert_eq!(last["data"]["degraded"], true);
        let names = std::fs::read_dir(dir.path()).unwrap().flatten();
        let kept = names.filter(|name| name.file_name().to_string_lossy().contains(".corrupt-"));
        assert_eq!(kept.map(|kept| std::fs::read(kept.path()).unwrap()).collect::<Vec<_>>(), [content]);
    }
    // A ledger is none.
    let dir = tempfile::tempdir().unwrap();
    let ledger = rusqlite::Connection::open(dir.path().join(CAPTURE_DATABASE)).unwrap();
    ledger
        .execute_batch("PRAGMA application_id = 1953983591; CREATE TABLE event (a); PRAGMA user_version = 2")
        .unwrap();
    drop(ledger);
    drop(Rig::open(dir.path(), 1 << 30, MEMORY_BYTES));
    let names = std::fs::read_dir(dir.path()).unwrap().flatten();
    assert!(names.into_iter().any(|name| name.file_name().to_string_lossy().contains(".corrupt-")));
}

#[test]
fn one_process_has_a_directory_and_the_file_is_private() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let rig = Rig::open(dir.path(), 1 << 30, MEMORY_BYTES);
    let mode = std::fs::metadata(dir.path().join(CAPTURE_DATABASE)).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let options = options(dir.path(), Uuid::now_v7(), 1 << 30);
    let refused = SpoolWriter::open(&options, Arc::default(), 1).unwrap_err();
    assert!(refused.to_string().contains("--capture-dir"), "{refused}");
    drop(rig);
}

/// The transaction was committed although it reported an error.
#[test]
fn a_part_in_doubt_is_stored_once() {
    let dir = tempfile::tempdir().unwrap();
    let mut rig = Rig::open(dir.path(), 1 << 30, MEMORY_BYTES);
    rig.append(&call(), 0, 10);
    rig.writer.commit_in_doubt();
    assert_eq!(rig.stats().parts, 0);
    rig.append(&call(), 0, 10);
    rig.writer.commit(Instant::now() + std::time::Duration::from_secs(2));
    let stats = rig.stats();
    assert_eq!((stats.parts, stats.lost_parts, stats.degraded), (2, 0, false));
    assert_eq!((rig.rows().len(), rig.memory.used_bytes()), (2, 0));
    // One that was not committed is stored by the next try.
    rig.append(&call(), 0, 10);
    rig.writer.rollback_in_doubt();
    rig.writer.commit(Instant::now() + std::time::Duration::from_secs(2));
    assert_eq!((rig.stats().parts, rig.rows().len()), (3, 3));
}
