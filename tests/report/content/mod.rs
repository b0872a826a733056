//! `verify --content`: content that is whole is believed, and each way to tamper with it is named.
//!
//! - `made`: what a sidecar would tell of calls with content
//! - `range`: the part of the content that is judged
//! - `avro`: content as Event Hubs Capture keeps it

mod avro;
mod made;
mod range;

use std::collections::BTreeSet;
use std::process::Command;

use metering::usage::UsageRecord;
use proptest::prelude::*;
use proptest::test_runner::{Config as TestConfig, TestRunner};
use serde_json::{Value, json};
use tokenweir::capture::seal::{PrivateKeys, Unwrap};
use tokenweir::report::{ContentInputs, ContentVerdict, Input, Verdict, VerifyOptions, verify_with_content};

use crate::support::random::Random;
use crate::support::sidecar::binary;
use crate::truth::{all, file_of};
use made::{MadeCall, MadeLines, SOURCE, another_key, made, the_key, the_key_as_pem};

fn call() -> impl Strategy<Value = MadeCall> {
    let sizes = || prop::collection::vec(1..2_000_usize, 0..4);
    let usage = prop_oneof![6 => Just(UsageRecord::Event), 1 => Just(UsageRecord::Summary), 1 => Just(UsageRecord::None)];
    (sizes(), sizes(), any::<bool>(), usage).prop_map(|(request, response, is_truncated, usage)| MadeCall {
        request,
        response,
        is_truncated,
        usage,
    })
}

/// One way to tamper. Numbers pick among what there is.
#[derive(Clone, Debug)]
enum Tampering {
    Nothing,
    DropPart(usize),
    DropControl(usize),
    DropUsage(usize),
    AlterFact(usize, &'static str),
    /// A member that says which parts there must be, so that other faults follow from it.
    AlterShape(usize, &'static str),
    AlterCiphertext(usize),
    AlterCopy(usize),
    AlterId(usize),
    SwapSeals(usize, usize),
    AlterControl(usize, &'static str),
    Lose(usize),
    AlterUsage(usize, &'static str),
    SayOff(usize),
}

fn tampering() -> impl Strategy<Value = Tampering> {
    let any = any::<usize>;
    prop_oneof![
        Just(Tampering::Nothing),
        any().prop_map(Tampering::DropPart),
        any().prop_map(Tampering::DropControl),
        any().prop_map(Tampering::DropUsage),
        (any(), prop::sample::select(vec!["/caller/id", "/target/resource", "/content_type"]))
            .prop_map(|(at, what)| Tampering::AlterFact(at, what)),
        (any(), prop::sample::select(vec!["/last", "/bytes_raw"]))
            .prop_map(|(at, what)| Tampering::AlterShape(at, what)),
        any().prop_map(Tampering::AlterCiphertext),
        any().prop_map(Tampering::AlterCopy),
        any().prop_map(Tampering::AlterId),
        (any(), any()).prop_map(|(a, b)| Tampering::SwapSeals(a, b)),
        (any(), prop::sample::select(vec!["parts", "bytes", "digest"]))
            .prop_map(|(at, what)| Tampering::AlterControl(at, what)),
        any().prop_map(Tampering::Lose),
        (any(), prop::sample::select(vec!["parts", "bytes"]))
            .prop_map(|(at, what)| Tampering::AlterUsage(at, what)),
        any().prop_map(Tampering::SayOff),
    ]
}

fn parsed(line: &str) -> Value {
    serde_json::from_str(line).unwrap()
}

/// The places of the lines that fit.
fn places(lines: &[String], fits: impl Fn(&Value) -> bool) -> Vec<usize> {
    (0..lines.len()).filter(|at| fits(&parsed(&lines[*at]))).collect()
}

fn is_part(event: &Value) -> bool {
    event["type"] == "dev.tokenweir.content.v1"
}

fn is_total(event: &Value) -> bool {
    event["type"] == "dev.tokenweir.content_control.v1"
}

fn change(line: &mut String, change: impl FnOnce(&mut Value)) {
    // As written, so that nothing but the member is another one.
    let mut event = parsed(line);
    change(&mut event);
    *line = event.to_string();
}

/// Tampers, and says what must be found: exactly these kinds. `None`: there is nothing to tamper with so.
fn tamper(lines: &mut MadeLines, tampering: &Tampering) -> Option<BTreeSet<&'static str>> {
    let pick = |among: &[usize], n: usize| (!among.is_empty()).then(|| among[n % among.len()]);
    let parts = places(&lines.content, is_part);
    let captured = places(&lines.usage, |event| event["data"]["capture"]["parts"].as_u64() > Some(0));
    Some(match *tampering {
        Tampering::Nothing => kinds(&[]),
        Tampering::DropPart(n) => {
            lines.content.remove(pick(&parts, n)?);
            kinds(&["missing"])
        }
        Tampering::DropControl(n) => {
            let at = pick(&places(&lines.content, is_total), n)?;
            let is_last = parsed(&lines.content[at])["data"]["final"] == true;
            lines.content.remove(at);
            let is_all_there_is = lines.content.is_empty();
            let tells = places(&lines.usage, |event| event["data"]["capture"].is_object());
            match (is_all_there_is, tells.is_empty()) {
                // Without a part, and without a call that tells of content, nothing is left that could.
                (true, true) => kinds(&[]),
                (true, false) => kinds(&["missing"]),
                _ => kinds(&[if is_last { "open" } else { "missing" }]),
            }
        }
        Tampering::DropUsage(n) => {
            lines.usage.remove(pick(&captured, n)?);
            kinds(&["unaccounted"])
        }
        Tampering::AlterFact(n, what) | Tampering::AlterShape(n, what) => {
            change(&mut lines.content[pick(&parts, n)?], |event| {
                let value = event["data"].pointer_mut(what).unwrap();
                *value = match &*value {
                    Value::Bool(is) => json!(!*is),
                    Value::Number(number) => json!(number.as_u64().unwrap() + 1),
                    _ => json!("other"),
                };
            });
            kinds(&["altered"])
        }
        Tampering::AlterCiphertext(n) => {
            change(&mut lines.content[pick(&parts, n)?], |event| {
                let text = event["data"]["jwe"]["ciphertext"].as_str().unwrap();
                let other = if text.starts_with('A') { "B" } else { "A" };
                event["data"]["jwe"]["ciphertext"] = json!(format!("{other}{}", &text[1..]));
            });
            kinds(&["altered"])
        }
        Tampering::AlterCopy(n) => {
            let mut copy = lines.content[pick(&parts, n)?].clone();
            change(&mut copy, |event| event["subject"] = json!("another"));
            lines.content.push(copy);
            kinds(&["altered"])
        }
        Tampering::AlterId(n) => {
            change(&mut lines.content[pick(&parts, n)?], |event| event["id"] = json!("no id of a part"));
            kinds(&["altered", "swapped"])
        }
        Tampering::SwapSeals(a, b) => {
            let (a, b) = (pick(&parts, a)?, pick(&parts, b)?);
            let seals = [a, b].map(|at| parsed(&lines.content[at])["data"]["jwe"].clone());
            if a == b {
                return None;
            }
            change(&mut lines.content[a], |event| event["data"]["jwe"] = seals[1].clone());
            change(&mut lines.content[b], |event| event["data"]["jwe"] = seals[0].clone());
            kinds(&["altered", "swapped"])
        }
        Tampering::AlterControl(n, what) => {
            let totals = places(&lines.content, |event| is_total(event) && event["data"]["parts"] != 0);
            change(&mut lines.content[pick(&totals, n)?], |event| {
                let value = &mut event["data"][what];
                *value = value.as_u64().map_or_else(|| json!("0".repeat(32)), |number| json!(number + 1));
            });
            kinds(&["altered"])
        }
        Tampering::Lose(n) => {
            let totals = places(&lines.content, is_total);
            change(&mut lines.content[pick(&totals, n)?], |event| event["data"]["lost_parts"] = json!(3));
            kinds(&["lost"])
        }
        Tampering::AlterUsage(n, what) => {
            change(&mut lines.usage[pick(&captured, n)?], |event| {
                let value = &mut event["data"]["capture"][what];
                *value = json!(value.as_u64().unwrap() + 1);
            });
            kinds(&[if what == "parts" { "missing" } else { "contradictory" }])
        }
        Tampering::SayOff(n) => {
            let at = pick(&captured, n)?;
            let id = parsed(&lines.usage[at])["id"].as_str().unwrap().to_owned();
            let first = &parts
                .iter()
                .map(|part| parsed(&lines.content[*part]))
                .find(|part| part["data"]["call"] == id)?;
            let side = first["data"]["side"].as_str().unwrap().to_owned();
            change(&mut lines.usage[at], |event| event["data"]["capture"][side] = json!("off"));
            kinds(&["contradictory"])
        }
    })
}

fn kinds(kinds: &[&'static str]) -> BTreeSet<&'static str> {
    kinds.iter().copied().collect()
}

fn found(verdict: &ContentVerdict) -> BTreeSet<&'static str> {
    verdict.findings.iter().map(|finding| finding.kind.as_str()).collect()
}

fn judged(lines: &MadeLines, key: Option<PrivateKeys>) -> Verdict {
    judged_with(lines, key, |_| {})
}

fn judged_with(
    lines: &MadeLines,
    key: Option<PrivateKeys>,
    choose: impl FnOnce(&mut VerifyOptions),
) -> Verdict {
    let (usage, content) = (file_of(&lines.usage), file_of(&lines.content));
    let inputs = vec![Input::Files(content.path().to_owned())];
    let unwrap = key.map(|key| Box::new(key) as Box<dyn Unwrap>);
    let mut options = all(Input::Files(usage.path().to_owned()));
    choose(&mut options);
    verify_with_content(&options, ContentInputs { inputs, unwrap }).unwrap()
}

fn content(lines: &MadeLines, key: Option<PrivateKeys>) -> ContentVerdict {
    judged(lines, key).content.unwrap()
}

/// Repeats some lines, and puts all in another order, the same for the same seed. Says how many it has repeated.
fn mix(lines: &mut Vec<String>, seed: u64, repeats: usize) -> u64 {
    let mut random = Random::seeded(seed);
    let repeats = if lines.is_empty() { 0 } else { repeats };
    for _ in 0..repeats {
        lines.push(lines[random.below(lines.len())].clone());
    }
    for at in (1..lines.len()).rev() {
        lines.swap(at, random.below(at + 1));
    }
    repeats as u64
}

#[test]
fn whole_content_is_believed_and_every_tampering_is_named() {
    let worlds = (
        prop::collection::vec(call(), 1..6),
        prop::collection::vec((tampering(), any::<u64>(), 0..4_usize), 24),
    );
    let mut runner = TestRunner::new(TestConfig { cases: 12, max_shrink_iters: 40, ..TestConfig::default() });
    let done = runner.run(&worlds, |(calls, tamperings)| {
        let truth = made(&calls);
        for (tampering, seed, repeats) in &tamperings {
            let mut lines = truth.clone();
            let Some(expected) = tamper(&mut lines, tampering) else { continue };
            let repeats = mix(&mut lines.content, *seed, *repeats);
            mix(&mut lines.usage, *seed, 0);
            for key in [None, Some(the_key())] {
                let verdict = content(&lines, key);
                let mut found = found(&verdict);
                if matches!(tampering, Tampering::AlterShape(..)) {
                    found.retain(|kind| expected.contains(kind));
                }
                prop_assert_eq!(found, expected.clone(), "{:?}: {:#?}", tampering, verdict);
                prop_assert_eq!(verdict.complete, expected.is_empty());
                prop_assert_eq!(verdict.repeats, repeats);
            }
        }
        Ok(())
    });
    done.unwrap();
}

fn two_calls() -> MadeLines {
    let call = |is_truncated| MadeCall {
        request: vec![700],
        response: vec![900, 800, 20],
        is_truncated,
        usage: UsageRecord::Event,
    };
    made(&[call(false), call(true)])
}

#[test]
fn what_is_whole_is_counted_and_opened() {
    let lines = two_calls();
    let verdict = judged(&lines, Some(the_key()));
    assert!(verdict.complete, "{verdict:#?}");
    let verdict = verdict.content.unwrap();
    assert_eq!((verdict.calls, verdict.parts, verdict.opened, verdict.bytes), (2, 8, 8, 4_840));
    assert_eq!(verdict.responses.get("full"), Some(&1));
    assert_eq!(verdict.responses.get("truncated"), Some(&1));
    let unopened = content(&lines, None);
    assert_eq!((unopened.complete, unopened.opened), (true, 0));
    assert!(unopened.notes.iter().any(|note| note.starts_with("nothing was opened")), "{unopened:#?}");
}

#[test]
fn with_another_key_each_part_is_unopenable_by_name() {
    let verdict = content(&two_calls(), Some(another_key()));
    assert_eq!(found(&verdict), set_of("unopenable"));
    assert_eq!((verdict.findings.len(), verdict.opened), (8, 0));
}

/// Somebody who cannot seal takes the last parts of a call away, and counts the sequence and the sums anew.
#[test]
fn a_call_without_its_end_is_named_although_the_sequence_is_whole() {
    let call = |response: Vec<usize>| MadeCall {
        request: vec![700],
        response,
        is_truncated: false,
        usage: UsageRecord::Event,
    };
    let (whole, short) = (made(&[call(vec![900, 800])]), made(&[call(vec![900])]));
    let id = |lines: &MadeLines| parsed(&lines.usage[1])["id"].as_str().unwrap().to_owned();
    let (whole_id, short_id) = (id(&whole), id(&short));
    let mut usage = whole.usage.clone();
    usage.iter_mut().for_each(|line| *line = line.replace(&whole_id, &short_id));
    let verdict = content(&MadeLines { usage, content: short.content }, None);
    assert_eq!(found(&verdict), set_of("missing"), "{verdict:#?}");
    assert_eq!(verdict.findings[0].about, short_id);
}

/// Each kind of finding names the part.
#[test]
fn findings_name_the_part() {
    let mut lines = two_calls();
    let parts = places(&lines.content, is_part);
    let id = |at: usize| parsed(&lines.content[at])["id"].as_str().unwrap().to_owned();
    let (hole, altered) = (id(parts[2]), id(parts[5]));
    change(&mut lines.content[parts[5]], |event| event["data"]["caller"]["id"] = json!("other"));
    lines.content.remove(parts[2]);
    let verdict = content(&lines, None);
    let is_named = |kind: &str, about: &str| {
        let mut found = verdict.findings.iter();
        found.any(|finding| {
            finding.kind.as_str() == kind && finding.about == about && finding.source == SOURCE
        })
    };
    assert!(is_named("missing", &hole) && is_named("altered", &altered), "{verdict:#?}");
}

#[test]
fn the_command_names_faults_and_says_so_by_its_exit_code() {
    let lines = two_calls();
    let folder = tempfile::tempdir().unwrap();
    let (key, wrong) = (folder.path().join("key.pem"), folder.path().join("wrong.pem"));
    std::fs::write(&key, the_key_as_pem()).unwrap();
    std::fs::write(&wrong, "no key").unwrap();
    let run = |content: &[String], more: &[&str]| {
        let (usage, content) = (file_of(&lines.usage), file_of(content));
        let mut command = Command::new(binary());
        command.arg("verify").arg(usage.path()).arg("--content").arg(content.path()).args(more);
        let output = command.output().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        (output.status.code(), text(output.stdout), text(output.stderr))
    };
    let (code, said, _) = run(&lines.content, &["--key", key.to_str().unwrap()]);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("content complete: 8 parts with 4840 bytes, 8 opened"), "{said}");
    let (code, said, _) = run(&lines.content[1..], &[]);
    assert_eq!(code, Some(3), "{said}");
    assert!(said.contains("content missing: ") && said.contains("content NOT complete (missing)"), "{said}");
    let (code, said, _) = run(&lines.content[1..], &["--format", "json"]);
    let json: Value = serde_json::from_str(&said).unwrap();
    assert_eq!(
        (code, &json["complete"], &json["content"]["complete"]),
        (Some(3), &json!(false), &json!(false))
    );
    assert_eq!(json["content"]["findings"][0]["kind"], "missing");
    let (code, _, said) = run(&lines.content, &["--key", wrong.to_str().unwrap()]);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("holds no private key"), "{said}");
}

fn set_of(kind: &'static str) -> BTreeSet<&'static str> {
    kinds(&[kind])
}
