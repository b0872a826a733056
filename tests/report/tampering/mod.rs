//! Events that somebody has tampered with: each kind is found, in a file, a ledger and a topic.
//!
//! The events are those of real ledgers whose control events are signed. Without the key what is wrong is `altered`, with
//! it `forged`; what nobody can see without the key is here, too, and must be seen with it.
//!
//! | file | what it holds |
//! |---|---|
//! | `tampered` | events in the hands of somebody who tampers with them |
//! | `kinds` | the kinds of tampering, and what must be found of each |

mod kinds;
mod tampered;

use std::collections::BTreeSet;

use rdkafka::ClientConfig;
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer, ThreadedProducer};
use serde_json::Value;
use tokenweir::publish::{Auth, KafkaConfig};
use tokenweir::report::{FindingKind, Input, Verdict, VerifyOptions, verify};

use crate::support::{PATIENCE, kafka};
use crate::truth::{a_truth, all, copy_of, file_of, found, key, parsed, set, tamper};
use kinds::{KINDS, Kinds};
use tampered::Tampered;

fn with_key(options: &mut VerifyOptions) {
    options.control_key = Some(key());
}

/// What must be found, and nothing but it: by itself, and with the key. Says what is wrong.
fn check(name: &str, kinds: Kinds, verify: impl Fn(bool) -> Verdict) -> Vec<String> {
    let mut wrong = Vec::new();
    for has_key in [false, true] {
        let verdict = verify(has_key);
        let found = found(&verdict);
        assert_eq!(verdict.complete, found.is_empty());
        let mut allowed: BTreeSet<&str> = set(kinds);
        if has_key && (kinds.is_empty() || allowed.contains("altered")) {
            allowed.insert(FindingKind::Forged.as_str());
        }
        let is_hidden = kinds.is_empty() && !has_key;
        if found.is_empty() != is_hidden || !found.is_subset(&allowed) {
            wrong.push(format!("{name}, key {has_key}: {found:?} of {:?}", verdict.findings));
        }
        // Nobody knows that without the key.
        assert!(has_key || !found.contains("forged"), "{name}");
    }
    wrong
}

#[test]
fn each_kind_is_found_in_a_file() {
    let (_dir, lines) = a_truth();
    assert!(verdict_of_file(&lines, false).complete && verdict_of_file(&lines, true).complete);
    let mut wrong = Vec::new();
    for (name, change, kinds) in KINDS {
        for seed in 0..12 {
            let mut tampered = Tampered::new(&lines, seed);
            change(&mut tampered);
            let lines = tampered.lines();
            wrong.extend(check(&format!("{name} {seed}"), kinds, |has_key| verdict_of_file(&lines, has_key)));
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

fn verdict_of_file(lines: &[String], has_key: bool) -> Verdict {
    crate::truth::verdict(lines, |options| {
        if has_key {
            with_key(options)
        }
    })
}

/// A wrong number, payer or place within a row is called forged where the key is, and altered where it is not.
#[test]
fn with_the_key_a_row_that_is_not_the_stored_one_is_forged() {
    let (_dir, lines) = a_truth();
    for name in [
        "alter_tokens",
        "alter_caller",
        "alter_model",
        "alter_swap",
        "alter_time",
        "hidden_caller",
        "hidden_member",
    ] {
        let (_, change, _) = KINDS.iter().find(|kind| kind.0 == name).unwrap();
        let mut tampered = Tampered::new(&lines, 3);
        change(&mut tampered);
        assert_eq!(found(&verdict_of_file(&tampered.lines(), true)), set(&[FindingKind::Forged]), "{name}");
    }
    // By another key nothing is known.
    let other = crate::truth::verdict(&lines, |options| {
        options.control_key = Some(metering::usage::ControlKey::new(b"another"));
    });
    assert_eq!(found(&other), set(&[FindingKind::Unsigned]));
}

#[test]
fn each_kind_is_found_in_a_ledger() {
    let (dir, lines) = a_truth();
    let mut wrong = Vec::new();
    for (name, change, kinds) in KINDS {
        let mut tampered = Tampered::new(&lines, 1);
        change(&mut tampered);
        let copy = copy_of(dir.path());
        let db = rusqlite::Connection::open(copy.path().join("ledger.sqlite3")).unwrap();
        for ((position, row), line) in (1..).zip(&tampered.rows).zip(&lines) {
            match row {
                Some(row) if row == line => {}
                Some(row) => drop(
                    db.execute("UPDATE event SET body = ?2 WHERE position = ?1", (position, row)).unwrap(),
                ),
                None => drop(db.execute("DELETE FROM event WHERE position = ?1", [position]).unwrap()),
            }
        }
        for (position, row) in (lines.len() as i64 + 1..).zip(&tampered.more) {
            db.execute("INSERT INTO event VALUES (?1, 0, NULL, ?2)", (position, row)).unwrap();
        }
        drop(db);
        let last = lines.len() + tampered.more.len();
        tamper(
            copy.path(),
            &format!("UPDATE state SET value = json_set(value, '$.last', {last}) WHERE name = 'log'"),
        );
        wrong.extend(check(name, kinds, |has_key| {
            let mut options = all(Input::Ledger(copy.path().to_owned()));
            if has_key {
                with_key(&mut options);
            }
            verify(&options).unwrap()
        }));
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn each_kind_is_found_on_a_topic() {
    const PARTITIONS: i32 = 4;
    /// Reading a topic is waiting, most of the time.
    const AT_ONCE: usize = 16;
    let (_dir, lines) = a_truth();
    let cluster = kafka::embedded("untouched", PARTITIONS);
    let servers = cluster.bootstrap_servers();
    let producer: ThreadedProducer<DefaultProducerContext> =
        ClientConfig::new().set("bootstrap.servers", &servers).create().unwrap();
    let publish = |topic: &str, lines: &[String]| {
        for line in lines {
            let key = parsed(line).partitionkey;
            let record = BaseRecord::<str, String>::to(topic).key(key.as_str()).payload(line);
            producer.send(record).map_err(|(error, _)| error).unwrap();
        }
    };
    publish("untouched", &lines);
    for (name, change, _) in KINDS {
        cluster.create_topic(name, PARTITIONS, 1).unwrap();
        let mut tampered = Tampered::new(&lines, 2);
        change(&mut tampered);
        publish(name, &tampered.lines());
    }
    producer.flush(PATIENCE).unwrap();
    let verdict_of = |topic: &str, has_key: bool| {
        let (brokers, topic) = (servers.clone(), topic.to_owned());
        let config = KafkaConfig { brokers, topic, auth: Auth::None, properties: Vec::new() };
        let mut options = all(Input::Topic(config));
        if has_key {
            with_key(&mut options);
        }
        verify(&options).unwrap()
    };
    assert!(verdict_of("untouched", true).complete);
    let wrong: Vec<String> = std::thread::scope(|scope| {
        let verdict_of = &verdict_of;
        let threads: Vec<_> = (0..AT_ONCE)
            .map(|first| {
                scope.spawn(move || {
                    let mine = KINDS.iter().skip(first).step_by(AT_ONCE);
                    mine.flat_map(|(name, _, kinds)| check(name, kinds, |has_key| verdict_of(name, has_key)))
                        .collect::<Vec<_>>()
                })
            })
            .collect();
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    });
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// Members in another order, with blanks, escapes and without nulls, as an engine might write them.
fn re_rendered(line: &str) -> String {
    fn turned(value: &Value) -> Value {
        match value {
            Value::Object(members) => members
                .iter()
                .rev()
                .filter(|(_, value)| !value.is_null())
                .map(|(name, value)| (name.clone(), turned(value)))
                .collect(),
            other => other.clone(),
        }
    }
    serde_json::to_string_pretty(&turned(&serde_json::from_str(line).unwrap()))
        .unwrap()
        .replace('\n', " ")
        .replace("gpt", "\\u0067pt")
}

#[test]
fn what_an_engine_rendered_anew_is_no_forgery_and_hides_none() {
    let (_dir, lines) = a_truth();
    let all_new: Vec<String> = lines.iter().map(|line| re_rendered(line)).collect();
    for has_key in [false, true] {
        let verdict = verdict_of_file(&all_new, has_key);
        assert_eq!(found(&verdict), set(&[FindingKind::ReRendered]), "{:#?}", verdict.findings);
        assert_eq!(verdict.events, lines.len() as u64);
        let events: u64 = verdict.findings.iter().map(|finding| finding.events).sum();
        assert_eq!(events, lines.len() as u64, "each of them is told");
        let allowed = crate::truth::verdict(&all_new, |options| {
            options.allow_re_rendered = true;
            if has_key {
                with_key(options);
            }
        });
        assert!(
            allowed.complete && allowed.notes.iter().any(|note| note.starts_with("re-rendered: ")),
            "{allowed:#?}"
        );
    }
    for seed in 0..8 {
        // One row alone; the same beside one that is altered; and as a second copy.
        let mut one = Tampered::new(&lines, seed);
        let at = one.covered();
        one.rows[at] = Some(re_rendered(&lines[at]));
        let verdict = verdict_of_file(&one.lines(), true);
        assert_eq!(found(&verdict), set(&[FindingKind::ReRendered]), "{verdict:#?}");
        assert_eq!(verdict.findings[0].events, 1);
        let mut copy = Tampered::new(&lines, seed);
        copy.more.push(re_rendered(&lines[at]));
        assert_eq!(found(&verdict_of_file(&copy.lines(), false)), set(&[FindingKind::ReRendered]));
        one.rows[at] = Some(re_rendered(&lines[at]).replace("pt-4o-prod", "pt-4o"));
        assert_eq!(found(&verdict_of_file(&one.lines(), false)), set(&[FindingKind::Altered]));
        assert_eq!(found(&verdict_of_file(&one.lines(), true)), set(&[FindingKind::Forged]));
    }
}

#[test]
fn the_command_takes_the_key_from_a_file_or_the_environment() {
    let (_dir, lines) = a_truth();
    let mut tampered = Tampered::new(&lines, 5);
    KINDS.iter().find(|kind| kind.0 == "hidden_caller").unwrap().1(&mut tampered);
    let (file, key_file) = (file_of(&tampered.lines()), tempfile::NamedTempFile::new().unwrap());
    std::fs::write(key_file.path(), "the key of the tests\n").unwrap();
    let command = || {
        let mut command = std::process::Command::new(crate::support::sidecar::binary());
        command.arg("verify").arg(file.path());
        command
    };
    let text =
        |output: std::process::Output| (output.status.code(), String::from_utf8(output.stdout).unwrap());
    let (code, said) = text(command().output().unwrap());
    assert_eq!(code, Some(0), "{said}");
    let by_file = text(command().arg("--control-hmac-key-file").arg(key_file.path()).output().unwrap());
    let by_env = text(command().env("TOKENWEIR_CONTROL_HMAC_KEY", "the key of the tests").output().unwrap());
    assert_eq!(by_file, by_env);
    assert!(by_file.0 == Some(3) && by_file.1.contains("NOT complete (forged): "), "{}", by_file.1);
    let empty = tempfile::NamedTempFile::new().unwrap();
    let refused = command().arg("--control-hmac-key-file").arg(empty.path()).output().unwrap();
    assert_eq!(refused.status.code(), Some(78), "{refused:?}");
}
