//! Real processes that are killed while they write.

use std::collections::{HashMap, HashSet};
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use jiff::Timestamp;
use metering::usage::{CloudEvent, EventType, Outcome, Settled};
use serde_json::Value;
use tokenweir::ledger::{Ledger, OpenError};
use uuid::Uuid;

use crate::progress;
use crate::support::{call, check_completeness, options, stored, usage};

/// Set for the process that is to be killed; the value is its ledger's directory.
const CHILD: &str = "TOKENWEIR_LEDGER_TEST_CHILD";

/// Kills in a row on one ledger.
const KILLS: u64 = 8;

/// What a process that is to be killed does; not a test of its own.
#[test]
#[ignore = "run by the other test"]
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
        .args(["kill::child_process", "--exact", "--ignored", "--nocapture"])
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
        // The steps told after the last commit may or may not have happened.
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
