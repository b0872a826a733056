//! A spool whose database is damaged while it is in use: content flows on, and the auditor is told what is gone.

use std::collections::HashMap;
use std::io::{Seek, SeekFrom, Write};
use std::path::Path;
use std::process::Command;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::callers::{Heard, call_kinds_until, call_small_for, check, unharmed};
use super::calls::{Kind, service};
use super::rig::Rig;
use super::support::auditor::Contents;
use super::support::forwarder::{Forwarder, Mode};
use super::support::random::Random;
use super::support::sidecar::{binary, verified};
use super::support::{eventually, wait_for};
use super::topic::ContentTopic;

const CALLERS: usize = 12;
/// Callers that fill the spool.
const FILLERS: usize = 2;
const TIME: Duration = Duration::from_secs(2);

/// So large the database becomes before it is damaged: more than the publisher has read and its client holds by then.
const DATABASE_BYTES: u64 = 24 << 20;

/// What the client holds: little.
const CLIENT_QUEUE: &str = "queue.buffering.max.kbytes=1024";

/// A damage is found within some seconds; so long on a busy machine.
const FOUND_MAX: Duration = Duration::from_secs(30);

fn size(database: &Path) -> u64 {
    database.metadata().map_or(0, |file| file.len())
}

/// Overwrites the third in the middle.
fn spoil(database: &Path) {
    let mut file = std::fs::OpenOptions::new().write(true).open(database).unwrap();
    let third = size(database) / 3;
    file.seek(SeekFrom::Start(third)).unwrap();
    file.write_all(&vec![0xa5; third as usize]).unwrap();
}

#[test]
fn content_flows_on_and_what_is_lost_is_named() {
    let topic = ContentTopic::embedded();
    let rig = Rig::new(service());
    let database = rig.ledger().join("capture.sqlite3");
    let mut random = Random::new("damage");
    let forwarder = Forwarder::new(&topic.servers);
    let servers = forwarder.addr();
    let sidecar = rig.start(&[&topic.flags(&servers)[..], &["--kafka-property", CLIENT_QUEUE]].concat());
    let mut heard = call_small_for(sidecar.addr, CALLERS, &mut random, TIME);
    forwarder.set(Mode::Refuse);
    heard.extend(call_kinds_until(
        &[Kind::Whole],
        sidecar.addr,
        FILLERS,
        &mut random,
        &AtomicBool::new(false),
        || eventually("the spool to grow", || size(&database) > DATABASE_BYTES),
    ));
    spoil(&database);
    forwarder.set(Mode::Pass);
    let began = Instant::now();
    let line = wait_for("the damage to be found", || {
        sidecar.log().into_iter().find(|line| line.contains("moved_to"))
    });
    println!("found after {:?}: {line}", began.elapsed());
    assert!(began.elapsed() < FOUND_MAX && line.contains("capture.sqlite3.corrupt-"), "{line}");
    let later = call_small_for(sidecar.addr, CALLERS, &mut random, TIME);
    let (code, log) = sidecar.stop();
    assert_eq!(code, Some(0), "all that is there is delivered: {log:?}");
    unharmed(&heard);
    unharmed(&later);
    let events = rig.usage_events();
    let of = |heard: &[Heard]| {
        let is_of = |event: &&Value| {
            let name = event["data"]["ids"]["client_request_id"].as_str().unwrap();
            heard.iter().any(|heard| heard.name == name)
        };
        events.iter().filter(is_of).cloned().collect::<Vec<_>>()
    };
    let (of_heard, of_later) = (of(&heard), of(&later));
    // The partitions are read in any order.
    let lines = wait_for("what came after the damage", || {
        let lines = topic.lines();
        let there = parts_of_calls(&lines);
        let is_closed = lines.iter().any(|line| line.contains("\"final\":true"));
        (is_closed && of_later.iter().all(|event| lacking(event, &there) == 0)).then_some(lines)
    });
    let read = lines.iter().map(|line| serde_json::from_str(line).unwrap());
    let contents = Contents::open(&[&rig.auditor], read);
    let found = check(&later, &of_later, &contents);
    println!("after the damage: {found:?}");
    assert_eq!((found.full, found.missing_full), (2 * later.len() as u64, 0));
    let found = check(&heard, &of_heard, &contents);
    println!("before it: {found:?}");
    assert!(found.missing_parts > 0, "nothing was lost, so nothing is shown");
    assert!(
        contents.controls.iter().any(|control| control["data"]["degraded"] == true),
        "a control event says so"
    );
    verified(&rig.ledger());
    named(&rig, &lines, &events);
}

/// The parts of each call that are there.
fn parts_of_calls(lines: &[String]) -> HashMap<String, u64> {
    let mut parts = HashMap::new();
    for event in lines.iter().map(|line| serde_json::from_str::<Value>(line).unwrap()) {
        if let Some(call) = event["data"]["call"].as_str() {
            *parts.entry(call.to_owned()).or_default() += 1;
        }
    }
    parts
}

/// The parts that a usage event tells of and that are not there.
fn lacking(event: &Value, there: &HashMap<String, u64>) -> u64 {
    let told = event["data"]["capture"]["parts"].as_u64().unwrap();
    told - there.get(event["id"].as_str().unwrap()).copied().unwrap_or_default()
}

/// `verify --content` names each call of which a part is missing, and no other.
fn named(rig: &Rig, lines: &[String], events: &[Value]) {
    let (file, there) = (rig.dir.path().join("topic.jsonl"), parts_of_calls(lines));
    std::fs::write(&file, lines.join("\n")).unwrap();
    let mut verify = Command::new(binary());
    verify.arg("verify").arg("--ledger").arg(rig.ledger()).arg("--content").arg(&file);
    let output = verify.args(["--format", "json"]).output().unwrap();
    assert_eq!(output.status.code(), Some(3), "{}", String::from_utf8_lossy(&output.stderr));
    let said = String::from_utf8(output.stdout).unwrap();
    for event in events {
        let (id, lacking) = (event["id"].as_str().unwrap(), lacking(event, &there));
        assert_eq!(said.contains(id), lacking > 0, "{id} lacks {lacking} parts");
    }
}
