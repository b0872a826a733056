//! `verify` on truthful events, which it must believe, and on all ways to be untruthful.
//!
//! Truth comes from real ledgers: several boots, some that die with calls open, sums, control events
//! by the clock. A mutation must give exactly its finding.
#![allow(
    missing_docs,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test may"
)]

#[path = "support/skip.rs"]
mod skip;
mod support;
#[path = "verify/topic.rs"]
mod topic;

use std::collections::BTreeSet;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use jiff::Timestamp;
use proptest::prelude::*;
use proptest::test_runner::{Config as TestConfig, TestRunner};
use serde_json::{Value, json};
use support::{boot_of, call, eventually, options, stored, usage};
use tokenweir::ledger::{Ledger, Options, Reader};
use tokenweir::report::{Input, Kind, State, Verdict, VerifyOptions, verify};
use tokenweir::usage::{CloudEvent, EventType, Settled};
use uuid::Uuid;

/// Often enough that a boot of a test has some.
const CONTROLS_EVERY: Duration = Duration::from_millis(15);

/// What a boot does.
#[derive(Clone, Debug)]
struct Life {
    /// Calls between two control events.
    stretches: Vec<u64>,
    /// Calls that are only summed.
    summed: u64,
    /// Calls that are open when it dies; `None`: it ends by itself.
    open_at_death: Option<u64>,
}

fn life() -> impl Strategy<Value = Life> {
    let stretches = prop::collection::vec(0..6_u64, 1..4);
    (stretches, 0..3_u64, prop::option::of(0..3_u64)).prop_map(|(stretches, summed, open_at_death)| Life {
        stretches,
        summed,
        open_at_death,
    })
}

fn frequent(dir: &Path) -> Options {
    Options { control_interval: CONTROLS_EVERY, ..options(dir, true) }
}

/// Lives one boot in a directory; returns the directory in which the next one goes on.
fn live(dir: tempfile::TempDir, life: &Life) -> tempfile::TempDir {
    let ledger = Ledger::open(frequent(dir.path())).unwrap();
    let mut n = 0;
    for calls in &life.stretches {
        for _ in 0..*calls {
            n += 1;
            call(&ledger, ["a", "b"][n as usize % 2], n, n + 7);
        }
        next_control(&ledger, dir.path());
    }
    for n in 0..life.summed {
        ledger.sum(&Settled { id: Uuid::now_v7(), time: Timestamp::now(), usage: usage("s", 100 + n, 3) });
    }
    let Some(open) = life.open_at_death else {
        ledger.close().unwrap();
        return dir;
    };
    if life.summed > 0 {
        next_control(&ledger, dir.path());
    }
    call(&ledger, "late", 5, 5);
    let open: Vec<_> =
        (0..open).map(|_| ledger.reserve().unwrap().open(Uuid::now_v7(), &usage("cut", 0, 0))).collect();
    let reader = Reader::open(dir.path()).unwrap();
    eventually("committed", || reader.open_calls().unwrap() == open.len() as u64);
    eventually("stored", || ledger.stats().stored > n + 1 && late(dir.path()));
    // What a killed process leaves: the files as they lie there.
    let next = tempfile::tempdir().unwrap();
    for file in ["ledger.sqlite3", "ledger.sqlite3-wal"] {
        std::fs::copy(dir.path().join(file), next.path().join(file)).unwrap();
    }
    for call in open {
        let (id, usage) = (call.id(), usage("cut", 0, 0));
        call.settle(Settled { id, time: Timestamp::now(), usage });
    }
    next
}

fn late(dir: &Path) -> bool {
    stored(dir).last().is_some_and(|last| last.kind != EventType::Summary)
}

fn next_control(ledger: &Ledger, dir: &Path) {
    let controls = || stored(dir).iter().filter(|event| event.kind == EventType::Control).count();
    let before = controls();
    eventually("a control event", || controls() > before);
    assert!(ledger.stats().stored > 0);
}

/// Events of a ledger that lived so, as they are stored. The last boot ends by itself.
fn truth(lives: &[Life]) -> (tempfile::TempDir, Vec<String>) {
    let mut dir = tempfile::tempdir().unwrap();
    for life in lives {
        dir = live(dir, life);
    }
    let last = Ledger::open(frequent(dir.path())).unwrap();
    call(&last, "last", 1, 1);
    last.close().unwrap();
    let rows = Reader::open(dir.path()).unwrap().after(0, usize::MAX).unwrap();
    (dir, rows.into_iter().map(|row| row.body).collect())
}

/// The same truth for every test that does not need its own.
fn a_truth() -> (tempfile::TempDir, Vec<String>) {
    let closed = Life { stretches: vec![4, 3], summed: 2, open_at_death: None };
    let killed = Life { stretches: vec![5, 2], summed: 1, open_at_death: Some(2) };
    truth(&[closed.clone(), killed.clone(), closed, killed])
}

fn all(input: Input) -> VerifyOptions {
    VerifyOptions {
        input,
        control_interval: Duration::from_secs(60),
        allow_repeats: false,
        allow_open: false,
        allow_cut: false,
    }
}

fn file_of(lines: &[String]) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), lines.iter().flat_map(|line| [line.as_str(), "\n"]).collect::<String>())
        .unwrap();
    file
}

fn verdict(lines: &[String], change: impl FnOnce(&mut VerifyOptions)) -> Verdict {
    let file = file_of(lines);
    let mut options = all(Input::Lines(file.path().to_owned()));
    change(&mut options);
    verify(&options).unwrap()
}

fn found(verdict: &Verdict) -> BTreeSet<&'static str> {
    verdict.findings.iter().map(|finding| finding.kind.as_str()).collect()
}

fn parsed(line: &str) -> CloudEvent<Value> {
    serde_json::from_str(line).unwrap()
}

fn sequence(event: &CloudEvent<Value>) -> u64 {
    event.sequence.as_ref().unwrap().parse().unwrap()
}

/// One way to be untruthful. Numbers pick among the events there are.
#[derive(Clone, Debug)]
enum Mutation {
    Nothing,
    Delete(usize),
    Double(usize, usize),
    AlterTokens(usize, u64),
    AlterControl(usize, &'static str),
    AlterCopy(usize),
    SameId(usize, usize),
    SameSequence(usize),
    CutPrefix(usize),
    Foreign,
}

fn mutation() -> impl Strategy<Value = Mutation> {
    let any = any::<usize>;
    prop_oneof![
        Just(Mutation::Nothing),
        any().prop_map(Mutation::Delete),
        (any(), 1..4_usize).prop_map(|(at, times)| Mutation::Double(at, times)),
        (any(), 1..100_u64).prop_map(|(at, more)| Mutation::AlterTokens(at, more)),
        (any(), prop::sample::select(vec!["events", "accepted", "settled", "summed", "open"]))
            .prop_map(|(at, what)| Mutation::AlterControl(at, what)),
        any().prop_map(Mutation::AlterCopy),
        (any(), any()).prop_map(|(a, b)| Mutation::SameId(a, b)),
        any().prop_map(Mutation::SameSequence),
        any().prop_map(Mutation::CutPrefix),
        Just(Mutation::Foreign),
    ]
}

fn set(kinds: &[Kind]) -> BTreeSet<&'static str> {
    kinds.iter().map(|kind| kind.as_str()).collect()
}

/// Mutates the events and returns what must be found; `None`: nothing could be mutated so.
fn mutate(lines: &mut Vec<String>, mutation: &Mutation) -> Option<BTreeSet<&'static str>> {
    let events: Vec<_> = lines.iter().map(|line| parsed(line)).collect();
    let pick = |n: usize, wanted: &dyn Fn(&CloudEvent<Value>) -> bool| {
        let fitting: Vec<usize> = (0..events.len()).filter(|at| wanted(&events[*at])).collect();
        (!fitting.is_empty()).then(|| fitting[n % fitting.len()])
    };
    let rewrite = |line: &str, change: &dyn Fn(&mut Value)| {
        let mut event: Value = serde_json::from_str(line).unwrap();
        change(&mut event);
        event.to_string()
    };
    Some(match *mutation {
        Mutation::Nothing => set(&[]),
        Mutation::Foreign => {
            lines.push("{\"no\": \"event\"}".to_owned());
            set(&[])
        }
        Mutation::Delete(n) => {
            let gone = &events[n % events.len()];
            lines.remove(n % events.len());
            let covers_nothing = gone.kind == EventType::Control && gone.data["first_sequence"].is_null();
            let later = events.iter().any(|e| boot_of(e) == boot_of(gone) && sequence(e) > sequence(gone));
            if !later && gone.data["final"] == false && covers_nothing {
                // After it the process died: nothing is lost.
                return Some(set(&[]));
            }
            match (gone.data["final"] == true, gone.data["instance"] == boot_of(gone)) {
                (true, true) => set(&[Kind::Open]),
                (true, false) => set(&[Kind::Missing, Kind::Open]),
                _ => set(&[Kind::Missing]),
            }
        }
        Mutation::Double(n, times) => {
            let copy = lines[n % events.len()].clone();
            lines.extend(std::iter::repeat_n(copy, times));
            set(&[Kind::Doubled])
        }
        Mutation::AlterTokens(n, more) => {
            let at = pick(n, &|event| event.kind != EventType::Control)?;
            lines[at] = rewrite(&lines[at], &|event| {
                let output = &mut event["data"]["tokens"]["output"];
                *output = json!(output.as_u64().unwrap_or(0) + more);
            });
            set(&[Kind::Altered])
        }
        Mutation::AlterControl(n, what) => {
            let at = pick(n, &|event| event.kind == EventType::Control)?;
            lines[at] = rewrite(&lines[at], &|event| {
                let number = &mut event["data"][what];
                *number = json!(number.as_u64().unwrap() + 1);
            });
            set(&[Kind::Altered])
        }
        Mutation::AlterCopy(n) => {
            let copy = rewrite(&lines[n % events.len()], &|event| event["partitionkey"] = json!("another"));
            lines.push(copy);
            set(&[Kind::Altered])
        }
        Mutation::SameId(a, b) => {
            let (a, b) = (a % events.len(), b % events.len());
            if a == b {
                return None;
            }
            lines[a] = rewrite(&lines[a], &|event| event["id"] = json!(events[b].id));
            set(&[Kind::Altered])
        }
        Mutation::SameSequence(n) => {
            let copy =
                rewrite(&lines[n % events.len()], &|event| event["id"] = json!(Uuid::now_v7().to_string()));
            lines.push(copy);
            set(&[Kind::Altered])
        }
        Mutation::CutPrefix(n) => {
            let first = n % (events.len() - 1) + 1;
            if sequence(&events[first]) == 1 {
                return None;
            }
            lines.drain(..first);
            set(&[Kind::Missing])
        }
    })
}

#[test]
fn truth_is_believed_and_every_mutation_is_found_for_what_it_is() {
    let lives = (prop::collection::vec(life(), 1..4), prop::collection::vec((mutation(), any::<u64>()), 24));
    let mut runner = TestRunner::new(TestConfig { cases: 10, max_shrink_iters: 20, ..TestConfig::default() });
    let done = runner.run(&lives, |(lives, mutations)| {
        let (dir, truth) = truth(&lives);
        let of_ledger = verify(&all(Input::Ledger(dir.path().to_owned()))).unwrap();
        prop_assert!(of_ledger.complete, "{:#?}", of_ledger.findings);
        prop_assert_eq!(of_ledger.events, truth.len() as u64);
        for (mutation, seed) in &mutations {
            let mut lines = truth.clone();
            let Some(expected) = mutate(&mut lines, mutation) else { continue };
            let cut = lines.clone();
            shuffle(&mut lines, *seed);
            let verdict_of = verdict(&lines, |_| {});
            prop_assert_eq!(found(&verdict_of), expected, "{:?}: {:#?}", mutation, verdict_of);
            prop_assert_eq!(verdict_of.complete, verdict_of.findings.is_empty());
            match mutation {
                Mutation::Double(..) => {
                    let allowed = verdict(&lines, |options| options.allow_repeats = true);
                    prop_assert!(allowed.complete && allowed.repeats > 0, "{:#?}", allowed);
                }
                Mutation::AlterCopy(_) | Mutation::SameSequence(_) => {
                    let allowed = verdict(&lines, |options| options.allow_repeats = true);
                    prop_assert_eq!(found(&allowed), set(&[Kind::Altered]));
                }
                Mutation::CutPrefix(_) => {
                    let allowed = verdict(&cut, |options| options.allow_cut = true);
                    prop_assert!(allowed.complete, "{:#?}", allowed);
                }
                _ => {}
            }
        }
        Ok(())
    });
    done.unwrap();
}

/// Puts lines in another order, the same for the same seed.
fn shuffle(lines: &mut [String], mut seed: u64) {
    for at in (1..lines.len()).rev() {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        lines.swap(at, (seed >> 33) as usize % (at + 1));
    }
}

#[test]
fn a_finding_names_the_boot_and_the_sequences() {
    let (_dir, mut lines) = a_truth();
    let rows = |line: &&String| parsed(line).kind == EventType::Usage;
    let gone = parsed(lines.iter().find(rows).unwrap());
    lines.retain(|line| parsed(line).id != gone.id);
    let verdict = verdict(&lines, |_| {});
    let [finding] = &verdict.findings[..] else { panic!("{verdict:#?}") };
    assert_eq!((finding.kind, finding.events), (Kind::Missing, 1));
    assert_eq!((finding.source.as_str(), &finding.boot), (gone.source.as_str(), &boot_of(&gone)));
    assert_eq!(
        (finding.first_sequence, finding.last_sequence),
        (Some(sequence(&gone)), Some(sequence(&gone)))
    );
}

/// Changes the tables of a ledger that nobody has open.
fn tamper(dir: &Path, sql: &str) {
    let db = rusqlite::Connection::open(dir.join("ledger.sqlite3")).unwrap();
    db.execute_batch(sql).unwrap();
}

/// A ledger's files once more.
fn copy_of(dir: &Path) -> tempfile::TempDir {
    let copy = tempfile::tempdir().unwrap();
    tamper(dir, "PRAGMA wal_checkpoint(TRUNCATE)");
    std::fs::copy(dir.join("ledger.sqlite3"), copy.path().join("ledger.sqlite3")).unwrap();
    copy
}

fn of_ledger(dir: &Path) -> Verdict {
    verify(&all(Input::Ledger(dir.to_owned()))).unwrap()
}

const ALL_DELIVERED: &str =
    "UPDATE state SET value = json_set(value, '$.mark', json_extract(value, '$.last')) WHERE name = 'log';";

#[test]
fn what_retention_took_from_a_ledger_is_not_missing() {
    let (dir, lines) = a_truth();
    for gone in 0..=lines.len() {
        let copy = copy_of(dir.path());
        tamper(copy.path(), &format!("{ALL_DELIVERED} DELETE FROM event WHERE position <= {gone}"));
        let verdict = of_ledger(copy.path());
        assert!(verdict.complete, "{gone} of {} gone: {verdict:#?}", lines.len());
        assert_eq!(verdict.events, (lines.len() - gone) as u64);
        assert_eq!(
            verdict.notes.iter().any(|note| note.contains("is not judged")),
            gone > 0,
            "{:?}",
            verdict.notes
        );
    }
    // What was refused stays, and is no beginning.
    let copy = copy_of(dir.path());
    tamper(
        copy.path(),
        &format!(
            "{ALL_DELIVERED} INSERT INTO refused VALUES (2, 'too large'); DELETE FROM event WHERE position < 9 AND position <> 2"
        ),
    );
    let verdict = of_ledger(copy.path());
    assert_eq!(found(&verdict), set(&[Kind::Refused]), "{verdict:#?}");
    assert!(verdict.findings[0].detail.contains("too large"), "{verdict:#?}");
    assert!(verdict.findings[0].detail.contains(&parsed(&lines[1]).id), "{verdict:#?}");
}

#[test]
fn what_anybody_else_took_from_a_ledger_is() {
    let (dir, lines) = a_truth();
    for (gone, begin) in [(1, 1), (3, 1), (1, 7), (2, 9), (1, lines.len()), (4, lines.len() - 3)] {
        let copy = copy_of(dir.path());
        tamper(
            copy.path(),
            &format!("DELETE FROM event WHERE position BETWEEN {begin} AND {}", begin + gone - 1),
        );
        let verdict = of_ledger(copy.path());
        assert!(found(&verdict).contains("missing"), "{gone} from {begin}: {verdict:#?}");
        let missing: u64 = verdict
            .findings
            .iter()
            .filter(|found| found.kind == Kind::Missing)
            .map(|found| found.events)
            .sum();
        assert_eq!(missing, gone as u64, "{gone} from {begin}: {verdict:#?}");
    }
    // A whole boot, its last control event included: only the positions know.
    let boots: Vec<String> = lines.iter().map(|line| boot_of(&parsed(line))).collect();
    let third = boots.iter().find(|boot| **boot != boots[0] && **boot != boots[boots.len() - 1]).unwrap();
    let third = boots.iter().rev().find(|boot| *boot != &boots[boots.len() - 1] && *boot != third).unwrap();
    let copy = copy_of(dir.path());
    for (at, _) in boots.iter().enumerate().filter(|(_, boot)| *boot == third) {
        tamper(copy.path(), &format!("DELETE FROM event WHERE position = {}", at + 1));
    }
    let verdict = of_ledger(copy.path());
    let missing: u64 =
        verdict.findings.iter().filter(|found| found.kind == Kind::Missing).map(|found| found.events).sum();
    assert_eq!(missing, boots.iter().filter(|boot| *boot == third).count() as u64, "{verdict:#?}");
}

#[test]
fn a_boot_is_open_for_two_intervals_and_then_never_closed() {
    let (_dir, mut lines) = a_truth();
    let (_other, mut later) = a_truth();
    let last = parsed(&lines.pop().unwrap());
    assert_eq!(last.data["final"], true);
    lines.append(&mut later);
    let with = |interval, open| {
        verdict(&lines, |options| (options.control_interval, options.allow_open) = (interval, open))
    };
    let long = Duration::from_secs(3_600);
    let open = with(long, false);
    assert_eq!(found(&open), set(&[Kind::Open]), "{open:#?}");
    assert_eq!(open.findings[0].boot, boot_of(&last));
    assert!(with(long, true).complete);
    assert_eq!(with(long, true).boots.iter().filter(|boot| boot.state == State::Open).count(), 1);
    for allowed in [false, true] {
        assert_eq!(found(&with(Duration::from_nanos(1), allowed)), set(&[Kind::NeverClosed]));
    }
}

#[test]
fn a_degraded_boot_is_told_and_is_no_fault() {
    let (_dir, lines) = a_truth();
    let verdict = verdict(&lines, |_| {});
    assert!(verdict.complete);
    assert!(verdict.notes.iter().any(|note| note.starts_with("degraded: ")), "{:?}", verdict.notes);
    assert_eq!(verdict.boots.iter().map(|boot| boot.summed).sum::<u64>(), 6);
}

/// Runs `tokenweir verify`, with something on its standard input.
fn run(arguments: &[&str], input: &[String]) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_tokenweir"))
        .arg("verify")
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    for line in input {
        // A command that refuses its arguments does not read.
        let _ = writeln!(stdin, "{line}");
    }
    drop(stdin);
    child.wait_with_output().unwrap()
}

#[test]
fn the_command_says_what_it_found_and_exits_with_3() {
    let (dir, lines) = a_truth();
    let (path, file) = (dir.path().to_str().unwrap(), file_of(&lines));
    let text = |output: &Output| String::from_utf8(output.stdout.clone()).unwrap();
    for output in
        [run(&["--ledger", path], &[]), run(&["-"], &lines), run(&[file.path().to_str().unwrap()], &[])]
    {
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        assert!(text(&output).lines().last().unwrap().starts_with("complete: "), "{}", text(&output));
    }
    let fewer = [&lines[..1], &lines[3..], &lines[5..6]].concat();
    let output = run(&["-"], &fewer);
    assert_eq!(output.status.code(), Some(3), "{output:?}");
    assert!(text(&output).contains("missing: 2 events"), "{}", text(&output));
    assert!(text(&output).contains("doubled: 1 event\n"), "{}", text(&output));
    assert!(
        text(&output).lines().last().unwrap().starts_with("NOT complete (missing, doubled"),
        "{}",
        text(&output)
    );
    let output = run(&["-", "--format", "json", "--allow-repeats"], &fewer);
    let json: Value = serde_json::from_str(&text(&output)).unwrap();
    assert_eq!((output.status.code(), &json["complete"]), (Some(3), &json!(false)));
    assert_eq!(
        (&json["findings"][0]["kind"], &json["findings"][0]["events"]),
        (&json!("missing"), &json!(2))
    );
    assert_eq!(run(&["/nowhere/events.jsonl"], &[]).status.code(), Some(1));
    assert_eq!(run(&["--ledger", "/nowhere"], &[]).status.code(), Some(1));
    assert_eq!(run(&["--kafka-brokers", "127.0.0.1:1", "--ledger", path], &[]).status.code(), Some(2));
    assert_eq!(run(&["--format", "csv"], &[]).status.code(), Some(2));
}
