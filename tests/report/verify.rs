//! `verify` on truthful events, which it must believe, and on all ways to be untruthful. A mutation must give
//! exactly its finding.

use std::collections::BTreeSet;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use metering::usage::{CloudEvent, EventType};
use proptest::prelude::*;
use proptest::test_runner::{Config as TestConfig, TestRunner};
use serde_json::{Value, json};
use tokenweir::report::{BootState, FindingKind, Input, Verdict, verify};
use uuid::Uuid;

use crate::support::boot_of;
use crate::support::random::Random;
use crate::support::sidecar::binary;
use crate::truth::{
    ALL_DELIVERED, a_truth, all, copy_of, file_of, found, life, parsed, sequence, set, tamper, truth, verdict,
};

/// One way to be untruthful. Numbers pick among the events there are.
#[derive(Clone, Debug)]
enum Mutation {
    Nothing,
    Delete(usize),
    Double(usize, usize),
    AlterTokens(usize, u64),
    AlterUnits(usize, &'static str, u64),
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
        (any(), prop::sample::select(vec!["images", "audio_ms", "web_fetches"]), 1..100_u64)
            .prop_map(|(at, unit, more)| Mutation::AlterUnits(at, unit, more)),
        (any(), prop::sample::select(vec!["events", "accepted", "settled", "summed", "open"]))
            .prop_map(|(at, what)| Mutation::AlterControl(at, what)),
        any().prop_map(Mutation::AlterCopy),
        (any(), any()).prop_map(|(a, b)| Mutation::SameId(a, b)),
        any().prop_map(Mutation::SameSequence),
        any().prop_map(Mutation::CutPrefix),
        Just(Mutation::Foreign),
    ]
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
                // After it the process died. The next boot names it by its digest, which is that of no row.
                let before = events.iter().rfind(|e| {
                    e.kind == EventType::Control
                        && boot_of(e) == boot_of(gone)
                        && sequence(e) < sequence(gone)
                });
                let alike = before.is_some_and(|before| before.data["digest"] == gone.data["digest"]);
                return Some(if alike { set(&[]) } else { set(&[FindingKind::Missing]) });
            }
            match (gone.data["final"] == true, gone.data["instance"] == boot_of(gone)) {
                (true, true) => set(&[FindingKind::Open]),
                (true, false) => set(&[FindingKind::Missing, FindingKind::Open]),
                _ => set(&[FindingKind::Missing]),
            }
        }
        Mutation::Double(n, times) => {
            let copy = lines[n % events.len()].clone();
            lines.extend(std::iter::repeat_n(copy, times));
            set(&[FindingKind::Doubled])
        }
        Mutation::AlterTokens(n, more) => {
            let at = pick(n, &|event| event.kind != EventType::Control)?;
            lines[at] = rewrite(&lines[at], &|event| {
                let output = &mut event["data"]["tokens"]["output"];
                *output = json!(output.as_u64().unwrap_or(0) + more);
            });
            set(&[FindingKind::Altered])
        }
        Mutation::AlterUnits(n, unit, more) => {
            lines[n % events.len()] = rewrite(&lines[n % events.len()], &|event| {
                let units = &mut event["data"]["units"];
                *units = if units.is_null() { json!({}) } else { units.take() };
                units[unit] = json!(units[unit].as_u64().unwrap_or(0) + more);
            });
            set(&[FindingKind::Altered])
        }
        Mutation::AlterControl(n, what) => {
            let at = pick(n, &|event| event.kind == EventType::Control)?;
            lines[at] = rewrite(&lines[at], &|event| {
                let number = &mut event["data"][what];
                *number = json!(number.as_u64().unwrap() + 1);
            });
            set(&[FindingKind::Altered])
        }
        Mutation::AlterCopy(n) => {
            let copy = rewrite(&lines[n % events.len()], &|event| event["partitionkey"] = json!("another"));
            lines.push(copy);
            set(&[FindingKind::Altered])
        }
        Mutation::SameId(a, b) => {
            let (a, b) = (a % events.len(), b % events.len());
            if a == b {
                return None;
            }
            lines[a] = rewrite(&lines[a], &|event| event["id"] = json!(events[b].id));
            set(&[FindingKind::Altered])
        }
        Mutation::SameSequence(n) => {
            let copy =
                rewrite(&lines[n % events.len()], &|event| event["id"] = json!(Uuid::now_v7().to_string()));
            lines.push(copy);
            set(&[FindingKind::Altered])
        }
        Mutation::CutPrefix(n) => {
            let first = n % (events.len() - 1) + 1;
            if sequence(&events[first]) == 1 {
                return None;
            }
            lines.drain(..first);
            set(&[FindingKind::Missing])
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
                    prop_assert_eq!(found(&allowed), set(&[FindingKind::Altered]));
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
fn shuffle(lines: &mut [String], seed: u64) {
    let mut random = Random::seeded(seed);
    for at in (1..lines.len()).rev() {
        lines.swap(at, random.below(at + 1));
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
    assert_eq!((finding.kind, finding.events), (FindingKind::Missing, 1));
    assert_eq!((finding.source.as_str(), &finding.boot), (gone.source.as_str(), &boot_of(&gone)));
    assert_eq!(
        (finding.first_sequence, finding.last_sequence),
        (Some(sequence(&gone)), Some(sequence(&gone)))
    );
}

fn of_ledger(dir: &Path) -> Verdict {
    verify(&all(Input::Ledger(dir.to_owned()))).unwrap()
}

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
    assert_eq!(found(&verdict), set(&[FindingKind::Refused]), "{verdict:#?}");
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
            .filter(|found| found.kind == FindingKind::Missing)
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
    let missing: u64 = verdict
        .findings
        .iter()
        .filter(|found| found.kind == FindingKind::Missing)
        .map(|found| found.events)
        .sum();
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
    assert_eq!(found(&open), set(&[FindingKind::Open]), "{open:#?}");
    assert_eq!(open.findings[0].boot, boot_of(&last));
    assert!(with(long, true).complete);
    assert_eq!(with(long, true).boots.iter().filter(|boot| boot.state == BootState::Open).count(), 1);
    for allowed in [false, true] {
        assert_eq!(found(&with(Duration::from_nanos(1), allowed)), set(&[FindingKind::NeverClosed]));
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
    let mut child = Command::new(binary())
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
    assert_eq!(run(&["--format", "csv"], &[]).status.code(), Some(2));
}
