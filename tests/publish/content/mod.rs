//! Captured content on its way: calls of every kind, all parts read back from the topic by a plain consumer, and opened
//! by a script that has nothing of tokenweir (`sealed/read.py`).
//!
//! - `reading`: the topic as `tokenweir verify` and `tokenweir open` read it
//!
//! On librdkafka's embedded broker 100 calls; on the one that `TOKENWEIR_TEST_BROKERS` names, 1,000.

#[path = "../../sealed/callers.rs"]
#[allow(dead_code, reason = "the program `sealed` uses the rest")]
mod callers;
#[path = "../../sealed/calls.rs"]
mod calls;
mod reading;
#[path = "../../sealed/rig.rs"]
#[allow(dead_code, reason = "the program `sealed` uses the rest")]
mod rig;
#[path = "../../sealed/topic.rs"]
#[allow(dead_code, reason = "the program `sealed` uses the rest")]
mod topic;

use std::collections::HashMap;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use ring::digest::{SHA256, digest};
use serde_json::Value;

use self::callers::{check, make_call, unharmed};
use self::calls::{Call, KINDS, Kind, SMALL_KINDS, service};
use self::rig::Rig;
use self::topic::ContentTopic;
use super::support;
use super::support::auditor::Contents;
use super::support::packages::jose_reader;
use super::support::random::Random;
use super::support::{eventually, kafka, skip, turn};

const CALLS: usize = 100;
const CALLS_REAL: usize = 1_000;
const CALLERS: usize = 16;

#[test]
fn all_that_passed_is_read_back_from_the_topic_by_somebody_else() {
    let _turn = turn::beside();
    let (topic, calls, kinds): (_, _, &[Kind]) = match kafka::real_broker() {
        Some(servers) => (ContentTopic::on(&servers), CALLS_REAL, &KINDS),
        None => {
            skip::no_broker();
            // The embedded broker keeps five megabytes of a partition.
            (ContentTopic::embedded(), CALLS, &SMALL_KINDS)
        }
    };
    let rig = Rig::new(service());
    // Room for all of it: on a slow disk much waits, and nothing here is about what is cut for want of room.
    let room = ["--capture-memory", "2GiB"];
    let sidecar = rig.start(&[&topic.flags(&topic.servers)[..], &room].concat());
    let (mut random, next, heard) =
        (Random::new("content on a topic"), AtomicUsize::new(0), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for mut random in (0..CALLERS).map(|_| random.fork()) {
            let (next, heard, addr) = (&next, &heard, sidecar.addr);
            scope.spawn(move || {
                while let number = next.fetch_add(1, Ordering::Relaxed)
                    && number < calls
                {
                    let call = Call::of(&Call::name(kinds[number % kinds.len()], random.next() >> 16));
                    let answer = make_call(addr, &call).expect("an answer");
                    heard.lock().unwrap().push(answer);
                }
            });
        }
    });
    let heard = heard.into_inner().unwrap();
    unharmed(&heard);
    let (code, log) = sidecar.stop();
    assert_eq!(code, Some(0), "{log:?}");
    eventually("the last control event", || topic.has_ended(1));
    let (lines, usage) = (topic.lines(), rig.usage_events());
    let contents = Contents::open(&[&rig.auditor], topic.events());
    let found = check(&heard, &usage, &contents);
    println!("{calls} calls: {found:?}, {} parts in {} messages", contents.parts, lines.len());
    assert_eq!((found.calls, found.full), (calls as u64, 2 * calls as u64));
    assert_eq!((found.missing_full, found.missing_parts, contents.lost_parts()), (0, 0, 0));
    let Some(folder) = jose_reader().installed() else {
        return skip::part("jwcrypto cannot be had: python3 with venv, and PyPI");
    };
    read_by_somebody_else(&folder, &rig, &lines, &usage, &contents);
}

/// The script finds, of each side, what passed.
fn read_by_somebody_else(folder: &Path, rig: &Rig, lines: &[String], usage: &[Value], contents: &Contents) {
    let output = script(folder, &rig.auditor.private_file, lines);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let names: HashMap<&str, &str> = usage
        .iter()
        .map(|event| {
            (event["id"].as_str().unwrap(), event["data"]["ids"]["client_request_id"].as_str().unwrap())
        })
        .collect();
    let mut sides = 0;
    for line in String::from_utf8(output.stdout).unwrap().lines() {
        let found: Value = serde_json::from_str(line).unwrap();
        let call = Call::of(names[found["call"].as_str().unwrap()]);
        let passed = match found["side"].as_str().unwrap() {
            "request" => call.request,
            // What the caller did not wait for, and what the service did not send, did not pass.
            _ => call.response()[..found["bytes"].as_u64().unwrap() as usize].to_vec(),
        };
        let hash: String =
            digest(&SHA256, &passed).as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(
            (found["sha256"].as_str(), found["last"].as_bool()),
            (Some(&*hash), Some(true)),
            "{}",
            call.name
        );
        sides += 1;
    }
    assert_eq!(sides, contents.sides().count(), "each side was read");
}

fn script(folder: &Path, key: &Path, lines: &[String]) -> Output {
    let mut child = Command::new(folder.join("bin/python"))
        .arg("read.py")
        .arg(key)
        .current_dir(folder)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let text = lines.join("\n");
    let writer = std::thread::spawn(move || stdin.write_all(text.as_bytes()));
    let output = child.wait_with_output().unwrap();
    let _ = writer.join();
    output
}
