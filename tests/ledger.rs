//! The ledger through its front door, and real processes that are killed.
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a test may"
)]

mod support;

use std::collections::{HashMap, HashSet};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde_json::Value;
use support::{call, check_completeness, eventually, options, stored, usage};
use tokenweir::ledger::{Ledger, OpenError, Options, Reader};
use tokenweir::usage::{CloudEvent, EventType, Outcome, Progress, Settled, Stream, Tokens};
use uuid::Uuid;

/// Set for the process that is to be killed; the value is its ledger's directory.
const CHILD: &str = "TOKENWEIR_LEDGER_TEST_CHILD";

/// Kills in a row on one ledger.
const KILLS: u64 = 8;

#[test]
fn a_call_becomes_one_event_with_every_attribute() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = Ledger::open(options(dir.path(), true)).unwrap();
    let id = call(&ledger, "team-a", 12, 34);
    eventually("stored", || ledger.stats().stored == 1);
    ledger.close().unwrap();
    let events = stored(dir.path());
    let event = &events[0];
    assert_eq!((event.id.as_str(), event.kind), (id.to_string().as_str(), EventType::Usage));
    assert_eq!(event.source, ledger.source());
    assert!(event.source.starts_with("//tokenweir/"));
    assert_eq!((event.subject.as_str(), event.partitionkey.as_str()), ("team-a", "team-a"));
    assert_eq!(event.sequence.as_deref(), Some("00000000000000000001"));
    assert_eq!(event.traceparent.as_deref(), usage("", 0, 0).ids.traceparent.as_deref());
    let time = event.time.as_deref().unwrap();
    assert!(time.ends_with('Z') && time.len() == "2026-11-22T09:15:04.812Z".len(), "{time}");
    assert_eq!(event.data["reporter"]["instance"], ledger.boot().to_string());
    let last = events.last().unwrap();
    assert_eq!((last.kind, &last.data["final"]), (EventType::Control, &Value::Bool(true)));
    assert_eq!((last.data["accepted"].as_u64(), last.data["settled"].as_u64()), (Some(1), Some(1)));
    check_completeness(&events);
}

#[test]
fn slots_bound_the_calls_and_come_back() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = Ledger::open(Options { slots: 2, ..options(dir.path(), true) }).unwrap();
    let unused = ledger.reserve().unwrap();
    let open = ledger.reserve().unwrap().open(Uuid::now_v7(), &usage("a", 0, 0));
    assert!(ledger.reserve().is_none());
    drop(unused);
    open.settle(Settled { id: Uuid::nil(), time: Timestamp::now(), usage: usage("a", 1, 1) });
    // A settled call's slot is free once its event is committed.
    eventually("both slots free", || {
        let (first, second) = (ledger.reserve(), ledger.reserve());
        first.is_some() && second.is_some()
    });
    assert_eq!(ledger.stats().stored, 1);
}

#[test]
fn calls_without_a_slot_become_summaries() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = Ledger::open(Options { slots: 1, ..options(dir.path(), true) }).unwrap();
    let open = ledger.reserve().unwrap().open(Uuid::now_v7(), &usage("a", 0, 0));
    for (caller, tokens) in [("a", 5), ("a", 7), ("b", 11)] {
        assert!(ledger.reserve().is_none());
        ledger.sum(&Settled { id: Uuid::now_v7(), time: Timestamp::now(), usage: usage(caller, tokens, 1) });
    }
    let stats = ledger.stats();
    assert_eq!((stats.accepted, stats.open, stats.summed, stats.degraded), (4, 1, 3, true));
    open.settle(Settled { id: Uuid::nil(), time: Timestamp::now(), usage: usage("a", 100, 100) });
    ledger.close().unwrap();
    let events = stored(dir.path());
    check_completeness(&events);
    let summaries = events.iter().filter(|event| event.kind == EventType::Summary);
    let sums: HashMap<&str, (u64, u64)> = summaries
        .map(|event| {
            let of = |value: &Value| value.as_u64().unwrap();
            (event.subject.as_str(), (of(&event.data["calls"]), of(&event.data["tokens"]["input"])))
        })
        .collect();
    assert_eq!(sums, HashMap::from([("a", (2, 12)), ("b", (1, 11))]));
    let control = &events.last().unwrap().data;
    assert_eq!((control["summed"].as_u64(), &control["degraded"]), (Some(3), &Value::Bool(true)));
}

#[test]
fn control_events_come_by_the_clock_and_cover_every_row_once() {
    let dir = tempfile::tempdir().unwrap();
    let interval = Duration::from_millis(40);
    let ledger = Ledger::open(Options { control_interval: interval, ..options(dir.path(), false) }).unwrap();
    let controls = || stored(dir.path()).iter().filter(|event| event.kind == EventType::Control).count();
    eventually("five control events", || {
        call(&ledger, "a", 3, 4);
        controls() >= 5
    });
    ledger.close().unwrap();
    let calls = ledger.stats().settled;
    let events = stored(dir.path());
    check_completeness(&events);
    let covered: u64 = events.iter().filter_map(|event| event.data["events"].as_u64()).sum();
    assert_eq!(covered, calls);
}

#[test]
fn an_open_call_keeps_the_boot_from_ending_and_is_settled_by_the_next() {
    let dir = tempfile::tempdir().unwrap();
    let id = Uuid::now_v7();
    {
        let ledger = Ledger::open(options(dir.path(), true)).unwrap();
        let open = ledger.reserve().unwrap().open(id, &usage("a", 0, 0));
        ledger.checkpoint(vec![(id, progress(77))]);
        ledger.close().unwrap();
        assert_eq!(Reader::open(dir.path()).unwrap().open_calls().unwrap(), 1);
        drop(open);
    }
    let ledger = Ledger::open(options(dir.path(), true)).unwrap();
    ledger.close().unwrap();
    let events = stored(dir.path());
    check_completeness(&events);
    let crashed = events.iter().find(|event| event.id == id.to_string()).unwrap();
    assert_eq!(crashed.data["stream"]["outcome"], "crashed");
    assert_eq!(crashed.data["tokens"]["output"], 77);
    let finals = events.iter().filter(|event| event.data["final"] == true).count();
    assert_eq!(finals, 2, "one for each boot");
}

fn progress(output: u64) -> Progress {
    Progress {
        tokens: Tokens { output: Some(output), ..Tokens::default() },
        stream: Stream::default(),
        status: 200,
        ..Progress::default()
    }
}

/// What a process that is to be killed does; not a test of its own.
#[test]
fn child_process() {
    let Some(dir) = std::env::var_os(CHILD) else { return };
    let ledger = Ledger::open(options(Path::new(&dir), true)).unwrap();
    let mut out = std::io::stdout();
    let mut settled = ledger.stats().stored;
    let mut held = Vec::new();
    for round in 0_u64.. {
        for n in 0..20 {
            let id = Uuid::now_v7();
            let open = ledger.reserve().unwrap().open(id, &usage("a", 0, 0));
            writeln!(out, "open {id}").unwrap();
            if n % 3 == 0 {
                // Stays open for ever; its checkpoint is what the recovery can know.
                ledger.checkpoint(vec![(id, progress(round + 1))]);
                writeln!(out, "checkpoint {id} {}", round + 1).unwrap();
                held.push(open);
            } else {
                let settled = Settled { id, time: Timestamp::now(), usage: usage("a", round, round + 2) };
                open.settle(settled);
                writeln!(out, "settle {id} {}", round + 2).unwrap();
            }
        }
        // The last operation of the round is committed only after all the others.
        call(&ledger, "marker", 0, 0);
        settled += 14;
        while ledger.stats().stored < settled {
            std::thread::sleep(Duration::from_millis(1));
        }
        writeln!(out, "committed").unwrap();
        if held.len() > 1_000 {
            for open in held.drain(..900) {
                let id = open.id();
                open.settle(Settled { id, time: Timestamp::now(), usage: usage("a", 1, 999_999) });
                writeln!(out, "settle {id} 999999").unwrap();
                settled += 1;
            }
        }
    }
}

fn spawn_child(dir: &Path) -> (Child, BufReader<ChildStdout>) {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["child_process", "--exact", "--nocapture"])
        .env(CHILD, dir)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let out = BufReader::new(child.stdout.take().unwrap());
    (child, out)
}

/// What a killed process said of its calls: all of it that it knew to be committed, and the rest.
#[derive(Default)]
struct Said {
    committed: HashMap<String, (Outcome, u64)>,
    maybe: HashSet<String>,
}

impl Said {
    fn read(&mut self, lines: impl Iterator<Item = String>, mut at: impl FnMut(usize)) {
        let mut pending: Vec<(String, (Outcome, u64))> = Vec::new();
        let mut rounds = 0;
        for line in lines {
            let words: Vec<&str> = line.split(' ').collect();
            match words[..] {
                ["open", id] => {
                    self.maybe.insert(id.to_owned());
                    pending.push((id.to_owned(), (Outcome::Crashed, 0)));
                }
                ["checkpoint", id, n] => {
                    pending.push((id.to_owned(), (Outcome::Crashed, n.parse().unwrap())));
                }
                ["settle", id, n] => pending.push((id.to_owned(), (Outcome::Complete, n.parse().unwrap()))),
                ["committed"] => {
                    self.committed.extend(pending.drain(..));
                    rounds += 1;
                    at(rounds);
                }
                _ => {} // the test harness's own lines, or a line cut by the kill
            }
        }
        // What was said after the last commit may or may not have happened.
        for (id, (outcome, _)) in pending {
            if outcome == Outcome::Complete {
                self.committed.remove(&id);
            }
        }
    }
}

#[test]
fn killed_processes_lose_nothing_that_was_committed() {
    let dir = tempfile::tempdir().unwrap();
    let mut said = Said::default();
    for kill in 0..KILLS {
        let (mut child, out) = spawn_child(dir.path());
        let pid = child.id();
        let rounds = 2 + (kill * 7 % 11) as usize;
        said.read(out.lines().map_while(Result::ok), |round| {
            if round == 1 {
                let refused = Ledger::open(options(dir.path(), true)).unwrap_err();
                assert!(matches!(refused, OpenError::Locked { pid: Some(p), .. } if p == pid), "{refused}");
                // Another process reads while the owner writes.
                assert!(!stored(dir.path()).is_empty());
            }
            if round == rounds {
                child.kill().unwrap();
            }
        });
        child.wait().unwrap();
    }
    Ledger::open(options(dir.path(), true)).unwrap().close().unwrap();
    let events = stored(dir.path());
    check_completeness(&events);
    let usages: HashMap<&str, &CloudEvent<Value>> = events
        .iter()
        .filter(|event| event.kind == EventType::Usage)
        .map(|event| (event.id.as_str(), event))
        .collect();
    for (id, (outcome, output)) in &said.committed {
        let event = usages.get(id.as_str()).unwrap_or_else(|| panic!("no event for {id}"));
        assert_eq!(event.data["stream"]["outcome"], outcome.as_str(), "{id}");
        if *outcome == Outcome::Complete || *output > 0 {
            assert_eq!(event.data["tokens"]["output"].as_u64(), Some(*output), "{id}");
        }
    }
    let finals = events.iter().filter(|event| event.data["final"] == true).count() as u64;
    assert_eq!(finals, KILLS + 1, "each boot ends once");
    assert!(said.committed.len() > 100 && said.maybe.len() >= said.committed.len());
}

/// Nanoseconds that a thread of this process spent on a CPU.
fn thread_cpu_ns(name: &str) -> u64 {
    let tasks = std::fs::read_dir("/proc/self/task").unwrap().flatten();
    let of = |task: &Path, file: &str| std::fs::read_to_string(task.join(file)).unwrap_or_default();
    let ours = tasks.map(|task| task.path()).filter(|task| of(task, "comm").trim() == name);
    ours.filter_map(|task| of(&task, "schedstat").split(' ').next()?.parse::<u64>().ok()).sum()
}

fn written_bytes() -> u64 {
    let io = std::fs::read_to_string("/proc/self/io").unwrap();
    let line = io.lines().find_map(|line| line.strip_prefix("write_bytes: ")).unwrap();
    line.parse().unwrap()
}

/// Figures, not a test: `cargo test --release --test ledger -- --ignored --nocapture cost`.
#[test]
#[ignore = "prints figures and takes a while"]
fn cost_per_call() {
    let only = std::env::var("TOKENWEIR_COST").unwrap_or_default();
    for (per_second, life) in [(2_000, 0), (2_000, 2_000), (200, 2_000), (10_000, 0)] {
        if !only.is_empty() && only != format!("{per_second}/{life}") {
            continue;
        }
        cost(per_second, Duration::from_millis(life), Duration::from_secs(10));
    }
}

fn cost(per_second: u32, life: Duration, time: Duration) {
    let dir = tempfile::tempdir_in(".").unwrap();
    let ledger = Ledger::open(Options { slots: 50_000, ..options(dir.path(), false) }).unwrap();
    let (sender, commits) = std::sync::mpsc::channel();
    ledger.on_commit(move |took| sender.send(took).unwrap_or_default());
    let (began, cpu, disk) = (Instant::now(), thread_cpu_ns("tw-ledger"), written_bytes());
    let mut open = std::collections::VecDeque::new();
    let mut checkpoint_at = began;
    let mut calls = 0_u32;
    while began.elapsed() < time {
        let due = (began.elapsed().as_secs_f64() * f64::from(per_second)) as u32;
        while calls < due {
            let id = Uuid::now_v7();
            let draft = usage("team-a", 100, 100);
            open.push_back((Instant::now(), ledger.reserve().unwrap().open(id, &draft)));
            calls += 1;
        }
        while open.front().is_some_and(|(since, _)| since.elapsed() >= life) {
            let (_, call) = open.pop_front().unwrap();
            let settled = Settled { id: call.id(), time: Timestamp::now(), usage: usage("team-a", 100, 100) };
            call.settle(settled);
        }
        if checkpoint_at.elapsed() > Duration::from_secs(1) {
            checkpoint_at = Instant::now();
            ledger.checkpoint(open.iter().map(|(_, call)| (call.id(), progress(5))).collect());
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    let (cpu, disk) = (thread_cpu_ns("tw-ledger") - cpu, written_bytes() - disk);
    for (_, call) in open {
        let settled = Settled { id: call.id(), time: Timestamp::now(), usage: usage("team-a", 100, 100) };
        call.settle(settled);
    }
    ledger.close().unwrap();
    let mut commits: Vec<Duration> = commits.try_iter().collect();
    commits.sort_unstable();
    let size = Reader::open(dir.path()).unwrap().after(0, 1).unwrap()[0].body.len();
    println!(
        "{per_second}/s, life {life:?}: {:.1} us CPU per call, {:.1} x event size ({size} B) written, commit p50 {:?} p99 {:?}",
        cpu as f64 / 1e3 / f64::from(calls),
        disk as f64 / f64::from(calls) / size as f64,
        commits[commits.len() / 2],
        commits[commits.len() * 99 / 100],
    );
}
