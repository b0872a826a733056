//! `top` and `tail` from the admin port, the ledger and the topic.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::{Receiver, channel};

use serde_json::Value;

use super::super::sidecar::{PATIENCE, binary, usage_events, wait_for};
use super::super::topic::Topic;
use super::{HOSTILE, call, call_all, sidecar};

/// A command that does not end by itself, and its lines.
struct Running(Child, Receiver<String>);

impl Running {
    fn start(arguments: &[&str]) -> Running {
        let mut child = Command::new(binary()).args(arguments).stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let (tell, told) = channel();
        std::thread::spawn(move || lines.map_while(Result::ok).try_for_each(|line| tell.send(line)));
        Running(child, told)
    }

    fn lines(&self, count: usize) -> Vec<String> {
        (0..count).map(|_| self.1.recv_timeout(PATIENCE).expect("a line")).collect()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn run(arguments: &[&str]) -> Output {
    Command::new(binary()).args(arguments).output().unwrap()
}

/// The same calls from all three sources, in the same words.
#[test]
fn tail_tells_the_same_from_every_source() {
    let (dir, topic) = (tempfile::tempdir().unwrap(), Topic::start());
    let ledger = dir.path().join("ledger");
    let flags = topic.flags();
    let sidecar = sidecar(&ledger, &flags);
    call(sidecar.addr, "before", 3);
    wait_for("its event", || (usage_events(&ledger).len() == 1).then_some(()));
    let (url, dir) = (format!("http://{}", sidecar.admin), ledger.to_str().unwrap());
    let kafka = ["--kafka-brokers", &*topic.servers, "--kafka-topic", &*topic.name];
    let json = ["tail", "--format", "json"];
    let sources: [&[&str]; 3] = [&["--url", &url], &["--ledger", dir], &kafka];
    let tails = sources.map(|source| Running::start(&[&json[..], source].concat()));
    let text = Running::start(&["tail", "--url", &url]);
    // The last calls come first, so each is listening by then.
    let first: Vec<Vec<String>> = tails.iter().map(|tail| tail.lines(1)).collect();
    assert!(first.iter().all(|lines| *lines == first[0]), "{first:?}");
    text.lines(1);
    let calls = call_all(sidecar.addr);
    let all = tails.each_ref().map(|tail| {
        let mut lines = tail.lines(calls);
        lines.sort();
        lines
    });
    assert!(all[0] == all[1] && all[0] == all[2], "{all:#?}");
    let events = usage_events(&ledger);
    for line in &all[0] {
        let line: Value = serde_json::from_str(line).unwrap();
        let event = events.iter().find(|event| event["id"] == line["id"]).unwrap();
        let data = &event["data"];
        for (of_line, of_event) in [
            (&line["caller"], &data["caller"]["id"]),
            (&line["outcome"], &data["stream"]["outcome"]),
            (&line["output"], &data["tokens"]["output"]),
            (&line["output_quality"], &data["accounting"]["output_quality"]),
            (&line["duration_ms"], &data["timing"]["duration_ms"]),
            (&line["time"], &event["time"]),
        ] {
            assert_eq!(of_line, of_event, "{line}");
        }
    }
    let lines = text.lines(calls);
    assert!(
        lines
            .iter()
            .any(|line| line.contains(HOSTILE[0]) && line.contains("gpt-4o") && line.contains("complete")),
        "{lines:#?}"
    );
    assert!(
        lines.iter().any(|line| line.contains("out     >=2") || line.contains("out      ~2")),
        "{lines:#?}"
    );
}

/// Every caller with its sums, once.
fn holds_everybody(table: &str, calls: usize) {
    for (at, caller) in HOSTILE.iter().enumerate() {
        let line = table
            .lines()
            .find(|line| line.starts_with(&format!("{caller} ")))
            .unwrap_or_else(|| panic!("{caller}: {table}"));
        let cells: Vec<&str> = line[caller.len()..].split_whitespace().collect();
        assert_eq!(cells[1], (at + 2).to_string(), "{line}");
    }
    let total = table.lines().rfind(|line| line.starts_with("total ")).unwrap();
    assert_eq!(total.split_whitespace().nth(2), Some(&*calls.to_string()), "{table}");
}

#[test]
fn top_shows_the_same_sums_from_every_source() {
    let (dir, topic) = (tempfile::tempdir().unwrap(), Topic::start());
    let ledger = dir.path().join("ledger");
    let flags = topic.flags();
    let sidecar = sidecar(&ledger, &flags);
    let calls = call_all(sidecar.addr);
    wait_for("the events", || (usage_events(&ledger).len() == calls).then_some(()));
    assert!(topic.all(calls).len() >= calls);
    let (url, dir) = (format!("http://{}", sidecar.admin), ledger.to_str().unwrap());
    let kafka = ["--kafka-brokers", &*topic.servers, "--kafka-topic", &*topic.name];
    for source in [&["--url", &*url][..], &["--ledger", dir], &kafka] {
        let output = run(&[&["top", "--once"], source].concat());
        let table = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success() && !table.contains('\x1b'), "{table}");
        holds_everybody(&table, calls);
    }
}

#[test]
fn who_cannot_be_asked_says_why() {
    let dir = tempfile::tempdir().unwrap();
    let sidecar = sidecar(&dir.path().join("ledger"), &["--admin-page", "off"]);
    let url = format!("http://{}", sidecar.admin);
    for command in ["top", "tail"] {
        let output = run(&[command, "--url", &url]);
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.contains("404") && said.contains("--admin-page off"), "{said}");
        let output = run(&[command, "--url", &url, "--ledger", "x"]);
        assert_eq!(output.status.code(), Some(2));
    }
    let gone = url.clone();
    let at = Path::new(&url).to_owned();
    assert_eq!(sidecar.stop().0, Some(0));
    let output = run(&["tail", "--url", &gone]);
    assert_eq!(output.status.code(), Some(1));
    assert!(String::from_utf8(output.stderr).unwrap().contains(at.to_str().unwrap()));
}
