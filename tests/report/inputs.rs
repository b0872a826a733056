//! Files, folders, standard input and ledgers as the input of a report: whatever holds the events, they are the same,
//! and what cannot be read is said.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::io::Write;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use apache_avro::types::Value as Avro;
use apache_avro::{Codec, DeflateSettings, Schema, Writer};
use flate2::Compression;
use flate2::write::GzEncoder;
use proptest::prelude::*;
use serde_json::{Value, json};
use tokenweir::report::{
    GroupBy, Input, KeyValue, LackReason, OmissionReason, Report, ReportError, ReportOptions, report,
};

use crate::support::sidecar::binary;
use crate::truth::{ALL_DELIVERED, a_truth, copy_of, parsed, sequence, tamper};

pub(crate) fn options(inputs: Vec<Input>) -> ReportOptions {
    let by = vec![GroupBy::Caller, GroupBy::Model, GroupBy::Outcome];
    ReportOptions { inputs, ..ReportOptions::of(Input::Files("-".into()), by) }
}

fn of(inputs: Vec<Input>) -> Report {
    report(&options(inputs)).unwrap()
}

pub(crate) fn of_file(path: &Path) -> Report {
    of(vec![Input::Files(path.to_owned())])
}

pub(crate) fn joined(lines: &[String]) -> Vec<u8> {
    lines.iter().flat_map(|line| [line.as_str(), "\n"]).collect::<String>().into_bytes()
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// The record of Event Hubs Capture, and one with other fields in another order.
const CAPTURE: &str = r#"{"type":"record","name":"EventData","namespace":"Microsoft.ServiceBus.Messaging","fields":[
    {"name":"SequenceNumber","type":"long"},{"name":"Offset","type":"string"},{"name":"EnqueuedTimeUtc","type":"string"},
    {"name":"SystemProperties","type":{"type":"map","values":["long","double","string","bytes"]}},
    {"name":"Properties","type":{"type":"map","values":["long","double","string","bytes","null"]}},
    {"name":"Body","type":["null","bytes"]}]}"#;
const CAPTURE_TO_COME: &str = r#"{"type":"record","name":"Anything","fields":[
    {"name":"Body","type":["bytes","null"]},{"name":"Shard","type":["null",{"type":"array","items":"double"}]},
    {"name":"Offset","type":"string"},{"name":"SequenceNumber","type":"long"}]}"#;

fn captured(bodies: &[Option<&[u8]>], is_to_come: bool, codec: Codec) -> Vec<u8> {
    let schema = Schema::parse_str(if is_to_come { CAPTURE_TO_COME } else { CAPTURE }).unwrap();
    let mut writer = Writer::with_codec(&schema, Vec::new(), codec).unwrap();
    let text = |text: &str| Avro::String(text.to_owned());
    for (at, body) in bodies.iter().enumerate() {
        let null = u32::from(is_to_come);
        let body = match body {
            Some(body) => Avro::Union(1 - null, Box::new(Avro::Bytes(body.to_vec()))),
            None => Avro::Union(null, Box::new(Avro::Null)),
        };
        let number = ("SequenceNumber".to_owned(), Avro::Long(at as i64));
        let offset = ("Offset".to_owned(), text("1700"));
        let body = ("Body".to_owned(), body);
        let shard = Avro::Union(1, Box::new(Avro::Array(vec![Avro::Double(1.5)])));
        let key = Avro::Union(2, Box::new(text("a key")));
        let kind = Avro::Union(3, Box::new(Avro::Bytes(b"ce_type".to_vec())));
        let record = match is_to_come {
            true => vec![body, ("Shard".to_owned(), shard), offset, number],
            false => vec![
                number,
                offset,
                ("EnqueuedTimeUtc".to_owned(), text("11/16/2026 4:44:11 PM")),
                ("SystemProperties".to_owned(), Avro::Map([("k".to_owned(), key)].into())),
                ("Properties".to_owned(), Avro::Map([("t".to_owned(), kind)].into())),
                body,
            ],
        };
        writer.append_value(Avro::Record(record)).unwrap();
        if at % 3 == 2 {
            writer.flush().unwrap();
        }
    }
    writer.into_inner().unwrap()
}

fn captured_lines(lines: &[String], is_to_come: bool, codec: Codec) -> Vec<u8> {
    let bodies: Vec<_> = lines.iter().map(|line| Some(line.as_bytes())).collect();
    captured(&bodies, is_to_come, codec)
}

/// One of the ways to store lines; from 3 on they are Avro of Event Hubs Capture.
pub(crate) fn stored_as(kind: usize, lines: &[String]) -> Vec<u8> {
    let deflate = Codec::Deflate(DeflateSettings::default());
    match kind % 7 {
        0 => joined(lines),
        1 => gzip(&joined(lines)),
        // Members one after the other, as files that were appended to each other.
        2 => lines.iter().flat_map(|line| gzip(format!("{line}\n").as_bytes())).collect(),
        3 => captured_lines(lines, false, Codec::Null),
        4 => captured_lines(lines, false, deflate),
        5 => captured_lines(lines, true, deflate),
        _ => gzip(&captured_lines(lines, true, Codec::Null)),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]
    /// However the events are spread over files of any kind and over folders, in whatever order and how often they come:
    /// the report is that of the ledger.
    #[test]
    fn the_same_events_give_the_same_report_whatever_holds_them(
        pieces in prop::collection::vec((0..7_usize, any::<prop::sample::Index>(), any::<prop::sample::Index>(), 0..3_usize), 0..8)
    ) {
        let (dir, lines) = crate::truth::the_truth();
        let expected = of(vec![Input::Ledger(dir.to_owned())]);
        let folder = tempfile::tempdir().unwrap();
        for (at, (kind, first, last, depth)) in pieces.iter().enumerate() {
            let (a, b) = (first.index(lines.len() + 1), last.index(lines.len() + 1));
            let path = folder.path().join(["", "2026", "2026/11"][*depth]);
            std::fs::create_dir_all(&path).unwrap();
            let mut piece = lines[a.min(b)..a.max(b)].to_vec();
            piece.reverse();
            // The name says nothing.
            std::fs::write(path.join(format!("{at}.avro")), stored_as(*kind, &piece)).unwrap();
        }
        // Nothing is missing: a window without an event, and all of them somewhere.
        std::fs::write(folder.path().join("0-empty"), captured(&[], false, Codec::Null)).unwrap();
        std::fs::write(folder.path().join("0-nothing"), b"").unwrap();
        for (kind, half) in [lines[..lines.len() / 2].to_vec(), lines[lines.len() / 2..].to_vec()].iter().enumerate() {
            std::fs::write(folder.path().join(format!("z{kind}")), stored_as(pieces.len() + kind, half)).unwrap();
        }
        let found = of_file(folder.path());
        prop_assert!(found.completeness.is_whole(), "{:?}", found.completeness);
        prop_assert_eq!(&found, &expected);
        let both = of(vec![Input::Files(folder.path().to_owned()), Input::Ledger(dir.to_owned())]);
        prop_assert_eq!(&both, &expected);
    }

    /// Wherever a file is cut, what stands before the cut counts, and it is said that something is missing.
    #[test]
    fn a_file_that_is_cut_anywhere_is_said_to_be(kind in 0..7_usize, cut in any::<prop::sample::Index>()) {
        let (_, lines) = crate::truth::the_truth();
        let whole = stored_as(kind, lines);
        let at = cut.index(whole.len());
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), &whole[..at]).unwrap();
        let found = of_file(file.path());
        let all = of_file(&file_of_bytes(&whole).1);
        let calls = |report: &Report| report.total.get("calls").unwrap();
        prop_assert!(calls(&found) <= calls(&all));
        let missing = calls(&found) < calls(&all);
        prop_assert!(!missing || !found.completeness.is_whole() || ends_between_lines(kind, &whole[..at], lines), "{:?}", found.completeness);
    }

    /// Whatever bytes a file has, reading it comes to an end and says what it is not.
    #[test]
    fn a_file_of_any_bytes_is_no_reason_to_fail(
        magic in prop::sample::select(vec![&b""[..], b"\x1f\x8b\x08\0", b"Obj\x01\x04\x16avro.schema", b"{\"type\":\"dev.tokenweir.usage.v1\"", b"PAR1", b"\xff\xfe"]),
        rest in prop::collection::vec(any::<u8>(), 0..300)
    ) {
        let (_file, path) = file_of_bytes(&[magic, &rest].concat());
        let found = of_file(&path);
        prop_assert!(!found.completeness.is_whole());
        prop_assert_eq!(found.total.get("calls"), Some(0));
    }
}

pub(crate) fn file_of_bytes(bytes: &[u8]) -> (tempfile::NamedTempFile, PathBuf) {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), bytes).unwrap();
    let path = file.path().to_owned();
    (file, path)
}

/// Plain lines that end where one does are a file that began later or ended sooner: nothing tells that it was cut, but
/// for holes in the sequences, which the end of a boot need not leave.
fn ends_between_lines(kind: usize, bytes: &[u8], lines: &[String]) -> bool {
    let mut length = 0;
    match kind % 7 {
        0 => lines.iter().any(|line| {
            length += line.len() + 1;
            length == bytes.len() || length == bytes.len() + 1
        }),
        // So do members of a compressed file, and blocks of an Avro file.
        2 => gzip_ends(bytes),
        3..=5 => true,
        _ => false,
    }
}

fn gzip_ends(bytes: &[u8]) -> bool {
    let mut text = Vec::new();
    std::io::Read::read_to_end(&mut flate2::bufread::MultiGzDecoder::new(bytes), &mut text).is_ok()
}

/// A line of the truth, changed.
pub(crate) fn changed(line: &str, change: impl FnOnce(&mut Value)) -> String {
    let mut event: Value = serde_json::from_str(line).unwrap();
    change(&mut event);
    event.to_string()
}

pub(crate) fn a_call(lines: &[String]) -> &String {
    let is_call = |line: &&String| line.contains("usage.v1") && !line.contains("crashed");
    lines.iter().find(is_call).unwrap()
}

/// Every way in which a line can be no event that counts, each left out for its own reason and named by its place.
#[test]
fn whatever_is_left_out_is_counted_by_its_reason() {
    let (_, lines) = crate::truth::the_truth();
    let call = a_call(lines);
    let bad: Vec<(OmissionReason, String)> = vec![
        (OmissionReason::NotJson, "{".to_owned()),
        (OmissionReason::NotJson, "caller,model".to_owned()),
        (OmissionReason::NotJson, call[..call.len() - 1].to_owned()),
        (OmissionReason::NotOurs, "{}".to_owned()),
        (OmissionReason::NotOurs, "[1]".to_owned()),
        (OmissionReason::NotOurs, changed(call, |event| event["type"] = json!("com.example.usage.v1"))),
        (OmissionReason::UnknownType, changed(call, |event| event["type"] = json!("dev.tokenweir.usage.v2"))),
        (
            OmissionReason::UnknownOutcome,
            changed(call, |event| event["data"]["stream"]["outcome"] = json!("eaten")),
        ),
        (
            OmissionReason::UnknownQuality,
            changed(call, |event| event["data"]["accounting"]["input_quality"] = json!("good")),
        ),
        (OmissionReason::WrongNumber, changed(call, |event| event["data"]["tokens"]["output"] = json!(1.5))),
        (OmissionReason::WrongNumber, changed(call, |event| event["data"]["tokens"]["input"] = json!(-1))),
        (
            OmissionReason::WrongNumber,
            changed(call, |event| event["data"]["units"] = json!({"images": 1e30})),
        ),
        (
            OmissionReason::WrongNumber,
            changed(call, |event| event["data"]["tokens"]["input"] = json!(7))
                .replace("\"input\":7", "\"input\":18446744073709551616"),
        ),
        (
            OmissionReason::WrongId,
            changed(call, |event| {
                event["id"] = json!("one");
                event["sequence"] = json!("00000000000000009001");
            }),
        ),
        (
            OmissionReason::NoTime,
            changed(call, |event| {
                event["time"] = json!(null);
                event["sequence"] = json!("00000000000000009002");
            }),
        ),
        (OmissionReason::NoTime, changed(call, |event| event["time"] = json!("yesterday"))),
        (
            OmissionReason::NotWhole,
            changed(call, |event| {
                event["data"].as_object_mut().unwrap().remove("caller");
            }),
        ),
        (OmissionReason::NotWhole, changed(call, |event| event["data"]["tokens"]["input"] = json!("7"))),
        (
            OmissionReason::OtherBody,
            changed(call, |event| event["data"]["caller"]["id"] = json!("somebody else")),
        ),
        (OmissionReason::OtherBody, changed(call, |event| event["data"]["tokens"]["output"] = json!(12_345))),
        (
            OmissionReason::OtherBody,
            changed(call, |event| event["id"] = json!("0199a0b0-0000-7000-8000-000000000001")),
        ),
    ];
    let whole = of_file(&file_of_bytes(&joined(lines)).1);
    for (reason, line) in &bad {
        let (_file, path) = file_of_bytes(&[joined(lines), joined(std::slice::from_ref(line))].concat());
        let found = of_file(&path);
        let omissions = &found.completeness.omissions;
        assert_eq!((omissions.count(), omissions.of(*reason)), (1, 1), "{line}: {omissions:?}");
        let place = format!("{}:{}", path.display(), lines.len() + 1);
        assert!(omissions.texts().any(|text| text.ends_with(&format!(": {place}"))), "{omissions:?}");
        assert_eq!((&found.lines, &found.total), (&whole.lines, &whole.total), "{line}");
    }
    // What is no text, too long, or without a body, in its own kind of file.
    let too_long = vec![b'x'; (16 << 20) + 1];
    for (reason, bytes) in [
        (OmissionReason::NotText, [&joined(lines)[..], b"\xff\xfe{}\n"].concat()),
        (OmissionReason::LineTooLong, [&joined(lines)[..], &too_long[..], b"\n"].concat()),
        (OmissionReason::NoBody, captured(&[None], false, Codec::Null)),
        (OmissionReason::NotText, captured(&[Some(b"\xff")], true, Codec::Null)),
        (OmissionReason::UnknownFormat, b"PAR1 and so on".to_vec()),
        (OmissionReason::UnknownFormat, gzip(&gzip(b"{}"))),
    ] {
        let omissions = of_file(&file_of_bytes(&bytes).1).completeness.omissions;
        assert_eq!((omissions.count(), omissions.of(reason)), (1, 1), "{reason:?}: {omissions:?}");
    }
}

/// The bytes of an event may be written anew on the way: what they say is the same.
#[test]
fn a_copy_with_other_bytes_that_say_the_same_is_a_repeat() {
    let (_, lines) = crate::truth::the_truth();
    let sorted = |line: &String| {
        let event: std::collections::BTreeMap<String, Value> = serde_json::from_str(line).unwrap();
        serde_json::to_string_pretty(&event).unwrap().replace('\n', " ")
    };
    let again: Vec<String> = lines.iter().map(sorted).collect();
    assert_ne!(again[0], lines[0]);
    let found = of_file(&file_of_bytes(&joined(&[lines.to_vec(), again].concat())).1);
    assert_eq!(found, of_file(&file_of_bytes(&joined(lines)).1));
}

/// Lines that are gone leave a hole, which matters to those who ask for its time and to no one else.
#[test]
fn a_hole_is_told_to_whoever_asks_for_its_time() {
    let (_, lines) = crate::truth::the_truth();
    let is_within = |at: &usize| {
        let (before, here) = (parsed(&lines[at - 1]), parsed(&lines[*at]));
        sequence(&before) > 1 && sequence(&here) == sequence(&before) + 1
    };
    let at = (lines.len() / 2..lines.len()).find(is_within).unwrap();
    let fewer = [&lines[..at], &lines[at + 1..]].concat();
    let (_file, path) = file_of_bytes(&joined(&fewer));
    let time = |line: &String| parsed(line).time.unwrap().parse::<jiff::Timestamp>().unwrap();
    let range = |from: Option<jiff::Timestamp>, to: Option<jiff::Timestamp>| {
        let options = ReportOptions { from, to, ..options(vec![Input::Files(path.clone())]) };
        report(&options).unwrap().completeness
    };
    let all = range(None, None);
    assert_eq!(all.lacks.len(), 1, "{all:?}");
    assert_eq!(all.lacks[0].reason, LackReason::Missing);
    let missing = sequence(&parsed(&lines[at]));
    assert!(all.lacks[0].detail.contains(&format!("sequence {missing} is not here")), "{all:?}");
    assert!(!range(Some(time(&lines[at])), None).is_whole());
    let day = jiff::SignedDuration::from_hours(24);
    assert!(range(Some(time(&lines[at]) + day), None).lacks.is_empty());
    assert!(range(None, Some(time(&lines[at]) - day)).lacks.is_empty());
}

/// What a ledger has let go is missing, unless another input has it.
#[test]
fn what_a_ledger_has_let_go_is_missing_unless_a_file_has_it() {
    let (dir, lines) = a_truth();
    let cut = copy_of(dir.path());
    let gone = lines.len() / 2;
    tamper(cut.path(), &format!("{ALL_DELIVERED} DELETE FROM event WHERE position <= {gone}"));
    let found = of(vec![Input::Ledger(cut.path().to_owned())]);
    let reasons =
        |report: &Report| report.completeness.lacks.iter().map(|lack| lack.reason).collect::<Vec<_>>();
    assert_eq!(reasons(&found), [LackReason::LedgerRetention], "{:?}", found.completeness);
    assert!(
        found.completeness.lacks[0].detail.contains(&format!("has let {gone} events go")),
        "{:?}",
        found.completeness
    );
    // Whoever asks for what came later gets all of it.
    let time = parsed(&lines[gone]).time.unwrap().parse::<jiff::Timestamp>().unwrap();
    let later = ReportOptions { from: Some(time), ..options(vec![Input::Ledger(cut.path().to_owned())]) };
    assert!(report(&later).unwrap().completeness.is_whole(), "{:?}", report(&later).unwrap().completeness);
    // An archive of the others makes it whole; one that lacks one of them does not.
    let (_file, path) = file_of_bytes(&joined(&lines[..gone]));
    let whole = of(vec![Input::Ledger(cut.path().to_owned()), Input::Files(path)]);
    assert!(whole.completeness.is_whole(), "{:?}", whole.completeness);
    assert_eq!(whole, of(vec![Input::Ledger(dir.path().to_owned())]));
    let (_file, path) = file_of_bytes(&joined(&lines[1..gone]));
    assert!(!of(vec![Input::Ledger(cut.path().to_owned()), Input::Files(path)]).completeness.is_whole());
    // Two ledgers are one.
    let other = copy_of(dir.path());
    tamper(other.path(), &format!("{ALL_DELIVERED} DELETE FROM event WHERE position > {gone}"));
    let both = of(vec![Input::Ledger(other.path().to_owned()), Input::Ledger(cut.path().to_owned())]);
    assert_eq!(both, whole);
}

#[test]
fn folders_are_walked_once_and_ledgers_in_them_are_named() {
    let (_, lines) = crate::truth::the_truth();
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    std::fs::create_dir_all(at("a/b")).unwrap();
    std::fs::write(at("a/b/1.jsonl"), joined(&lines[..4])).unwrap();
    std::fs::write(at("a/2.jsonl.gz"), gzip(&joined(&lines[4..]))).unwrap();
    std::fs::write(at("a/.hidden"), b"nobody reads this").unwrap();
    symlink(at("a"), at("a/b/loop")).unwrap();
    symlink(at("a/2.jsonl.gz"), at("z")).unwrap();
    let whole = of_file(&file_of_bytes(&joined(lines)).1);
    let mut found = of(vec![Input::Files(folder.path().to_owned()), Input::Files(at("a/b/1.jsonl"))]);
    let notes = std::mem::take(&mut found.completeness.notes);
    assert_eq!(found, whole);
    let again = ["a/b/loop is the same folder as", "z is the same file as", "a/b/1.jsonl is given twice"];
    for text in again {
        assert!(notes.iter().any(|note| note.contains(text)), "{text}: {notes:?}");
    }
    assert_eq!(notes.len(), again.len());
    // What cannot be read there is named, and the rest counts.
    symlink(at("nowhere"), at("broken")).unwrap();
    let found = of_file(folder.path());
    assert_eq!(found.completeness.omissions.of(OmissionReason::Unreadable), 1);
    assert!(
        found.completeness.omissions.texts().any(|text| text.contains("broken: No such file")),
        "{found:?}"
    );
    assert_eq!(found.total, whole.total);
    let is_root = rustix::process::geteuid().is_root();
    if !is_root {
        std::fs::set_permissions(at("a/b/1.jsonl"), std::fs::Permissions::from_mode(0o000)).unwrap();
        assert_eq!(of_file(folder.path()).completeness.omissions.of(OmissionReason::Unreadable), 2);
    }
    // A ledger is no file of events, wherever it lies.
    std::fs::create_dir(at("ledger")).unwrap();
    std::fs::write(at("ledger/ledger.sqlite3"), b"").unwrap();
    for path in [folder.path().to_owned(), at("ledger"), at("ledger/ledger.sqlite3")] {
        let error = report(&options(vec![Input::Files(path)])).unwrap_err();
        assert!(matches!(&error, ReportError::IsLedger(dir) if *dir == at("ledger")), "{error}");
    }
}

#[test]
fn a_sum_that_is_too_large_is_an_error_that_names_its_column() {
    let (_, lines) = crate::truth::the_truth();
    let large = |sequence: u64| {
        changed(a_call(lines), |event| {
            event["data"]["tokens"]["output"] = json!(1_u64 << 63);
            event["sequence"] = json!(format!("{sequence:020}"));
        })
    };
    let (_file, path) = file_of_bytes(&joined(&[large(9_001), large(9_002)]));
    let error = report(&options(vec![Input::Files(path.clone())])).unwrap_err();
    let text = error.to_string();
    assert!(text.starts_with("column `") && text.ends_with(&format!("at {}:2", path.display())), "{text}");
}

/// Runs `tokenweir report`, with something on its standard input.
fn run(arguments: &[&str], input: &[u8]) -> Output {
    let mut child = Command::new(binary())
        .arg("report")
        .args(arguments)
        .env_remove("TOKENWEIR_LEDGER")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let bytes = input.to_vec();
    // A command that refuses its arguments does not read.
    let writer = std::thread::spawn(move || drop(stdin.write_all(&bytes)));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    output
}

#[test]
fn the_command_takes_all_inputs_at_once_and_exits_with_4_if_it_is_not_all() {
    let (dir, lines) = a_truth();
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("1.avro"), stored_as(4, &lines)).unwrap();
    let (ledger, folder) = (dir.path().to_str().unwrap(), folder.path().to_str().unwrap());
    let json = |output: &Output| serde_json::from_slice::<Value>(&output.stdout).unwrap();
    let mut totals = BTreeSet::new();
    for (arguments, input) in [
        (vec!["--ledger", ledger], Vec::new()),
        (vec!["-"], joined(&lines)),
        (vec!["-"], stored_as(1, &lines)),
        (vec!["-"], stored_as(5, &lines)),
        (vec![folder, "--ledger", ledger, "--ledger", ledger, "-"], joined(&lines)),
    ] {
        let output = run(&[&arguments[..], &["--format", "json"]].concat(), &input);
        assert_eq!(output.status.code(), Some(0), "{arguments:?} {output:?}");
        assert_eq!(json(&output)["complete"], true, "{output:?}");
        totals.insert(json(&output)["total"].to_string());
    }
    assert_eq!(totals.len(), 1, "{totals:?}");
    let output = run(&["-", "--format", "json"], &joined(&[&lines[..], &["?".to_owned()]].concat()));
    assert_eq!((output.status.code(), json(&output)["complete"].clone()), (Some(4), json!(false)));
    assert_eq!(json(&output)["left_out"]["not_json"]["count"], 1);
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(said, format!("tokenweir report: left out: 1 (not JSON): -:{}\n", lines.len() + 1));
    let output = run(&["-", "--format", "csv", "--to", "2999-01-01"], &joined(&lines));
    assert_eq!(output.status.code(), Some(4));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(
        said.contains("not complete: the range ends at 2999-01-01T00:00:00Z, which is still to come"),
        "{said}"
    );
}

/// The generator of usage events whose truth is known, where it is: every row of a report of its events.
#[test]
fn a_report_is_the_truth_of_the_generator() {
    let shared = std::env::var_os("TOKENWEIR_SHARED")
        .map_or_else(|| crate::support::files::root().join("../shared"), PathBuf::from);
    let generator = shared.join("tools/usage-events/generate.py");
    let folder = tempfile::tempdir().unwrap();
    let arguments = ["--events", "4000", "--bad-lines", "30"];
    let made = Command::new("python3")
        .arg(&generator)
        .arg(folder.path())
        .args(arguments)
        .stdout(Stdio::null())
        .status();
    if !generator.is_file() || !made.is_ok_and(|made| made.success()) {
        return crate::skip::test(
            "python3 or the generator of usage events is absent; TOKENWEIR_SHARED names its folder",
        );
    }
    let by = vec![GroupBy::Caller, GroupBy::Model, GroupBy::Day];
    let options = ReportOptions { by, ..options(vec![Input::Files(folder.path().join("events.jsonl"))]) };
    let found = report(&options).unwrap();
    let truth: Value =
        serde_json::from_slice(&std::fs::read(folder.path().join("truth.json")).unwrap()).unwrap();
    // Some of the bad lines are empty.
    let lines = std::fs::read_to_string(folder.path().join("events.jsonl")).unwrap();
    let lines = lines.lines().filter(|line| !line.is_empty()).count() as u64;
    let events = ["usage", "summary", "control", "duplicates"];
    let events: u64 = events.iter().filter_map(|kind| truth["put_in"][kind].as_u64()).sum();
    assert!(lines > events + 20);
    assert_eq!(found.completeness.omissions.count(), lines - events);
    assert!(found.completeness.lacks.is_empty(), "{:?}", found.completeness);
    let columns = ["calls", "input", "input_cached", "output", "output_reasoning"];
    let mut expected = std::collections::BTreeMap::<Vec<String>, [u64; 5]>::new();
    let mut rows = csv::Reader::from_path(folder.path().join("truth.csv")).unwrap();
    for row in rows.deserialize::<std::collections::HashMap<String, String>>() {
        let row = row.unwrap();
        let keys = ["caller", "model", "day"].map(|name| row[name].clone()).to_vec();
        let sums = expected.entry(keys).or_default();
        for (sum, column) in sums.iter_mut().zip(columns) {
            *sum += row[column].parse::<u64>().unwrap();
        }
    }
    assert!(expected.len() > 500, "{}", expected.len());
    // The truth has a word where no caller is known.
    let text = |key: &KeyValue| key.value().map_or("unattributed".to_owned(), Cow::into_owned);
    let found = found.lines.iter().map(|line| {
        let keys = line.keys.iter().map(text).collect::<Vec<_>>();
        (keys, columns.map(|column| line.sums.get(column).unwrap()))
    });
    assert_eq!(found.collect::<std::collections::BTreeMap<_, _>>(), expected);
}
