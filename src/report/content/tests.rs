//! Calls whose parts come in any order, more than once, or not at all.

use std::time::Instant;

use metering::usage::{
    CONTENT_SCHEMA_VERSION, CloudEvent, ContentPart, ContentSide, ContentType, PartFacts, Reporter, part_id,
};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::{ContentFilter, ContentOptions, ContentOutput, OpenedContent, open_content};
use crate::capture::seal::{PrivateKeys, SealMode, Sealer};
use crate::report::{Input, ReportError};

const CALL: &str = "01987f2e-9c1a-7b3e-8d5f-2a4b6c8d0e1f";

/// A part as a line; nothing is sealed, for keys are another test's.
fn line(call: &str, side: ContentSide, part: u64, last: bool, content: &[u8]) -> String {
    let facts: PartFacts = serde_json::from_value(json!({
        "call": call, "usage": "event", "caller": {"id": "team-a", "trust": "none"},
        "target": {"api": "other", "resource": "r"}, "side": side, "part": part, "last": last,
        "bytes_raw": content.len(), "content_type": "text/plain",
    }))
    .unwrap();
    let id = part_id(call, side, part);
    let compressed = zstd::bulk::compress(content, 1).unwrap();
    let sealed = Sealer::new(SealMode::Cleartext).seal(&id, &facts, &compressed, Instant::now()).unwrap();
    let data = ContentPart {
        schema_version: CONTENT_SCHEMA_VERSION.into(),
        facts,
        reporter: Reporter::default(),
        jwe: sealed.jwe,
        cleartext: sealed.cleartext,
    };
    let time = Some("2026-11-22T09:15:04Z".to_owned());
    serde_json::to_string(&CloudEvent::new(ContentType::Part, "//tokenweir/x", id, time, "team-a", data))
        .unwrap()
}

/// What `open` says of these lines: its output, its notes, and what came of it.
fn opened(
    lines: &[String],
    output: ContentOutput,
    filter: ContentFilter,
) -> Result<(Vec<u8>, String, OpenedContent), ReportError> {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("events.jsonl");
    std::fs::write(&file, lines.join("\n")).unwrap();
    let options = ContentOptions { inputs: vec![Input::Files(file)], filter, output };
    let (mut out, mut notes) = (Vec::new(), Vec::new());
    let opened = open_content(&options, &mut PrivateKeys::default(), &mut out, &mut notes)?;
    Ok((out, String::from_utf8(notes).unwrap(), opened))
}

fn records(out: &[u8]) -> Vec<Value> {
    let lines = std::str::from_utf8(out).unwrap().lines();
    lines.map(|line| serde_json::from_str(line).unwrap()).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn parts_may_come_in_any_order_and_more_than_once(
        contents in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..50), 1..8),
        order in prop::collection::vec(any::<prop::sample::Index>(), 0..30),
    ) {
        let last = contents.len() - 1;
        let parts: Vec<String> = (0_u64..).zip(&contents)
            .map(|(number, content)| line(CALL, ContentSide::Request, number, number == last as u64, content))
            .collect();
        let drawn = order.iter().map(|index| index.get(&parts).clone());
        let lines: Vec<String> = drawn.chain(parts.iter().rev().cloned()).collect();
        let (out, notes, opened) = opened(&lines, ContentOutput::Side(ContentSide::Request), ContentFilter::default()).unwrap();
        prop_assert_eq!(out, contents.concat());
        prop_assert!(notes.is_empty() && !opened.is_incomplete && !opened.is_altered, "{}", notes);
    }

    /// Whatever is missing, what is given is a prefix, and it is said.
    #[test]
    fn what_is_given_is_a_prefix(present in prop::collection::vec(any::<bool>(), 8)) {
        let content = |number: usize| vec![b'a' + number as u8; 5];
        let lines: Vec<String> = (0..8).filter(|number| present[*number])
            .map(|number| line(CALL, ContentSide::Response, number as u64, number == 7, &content(number)))
            .collect();
        let (out, notes, opened) = opened(&lines, ContentOutput::Side(ContentSide::Response), ContentFilter::default()).unwrap();
        let prefix = present.iter().take_while(|there| **there).count();
        prop_assert_eq!(out, (0..prefix).flat_map(content).collect::<Vec<u8>>());
        prop_assert_eq!(opened.is_incomplete, prefix < 8 && !lines.is_empty());
        prop_assert_eq!(notes.contains("missing"), prefix < 8 && !lines.is_empty());
    }
}

#[test]
fn a_line_says_what_is_missing_and_gives_what_lies_behind() {
    let lines = [
        line(CALL, ContentSide::Request, 0, true, b"hello"),
        line(CALL, ContentSide::Response, 0, false, b"one"),
        line(CALL, ContentSide::Response, 3, true, b"four"),
    ];
    let (out, notes, opened) = opened(&lines, ContentOutput::Lines, ContentFilter::default()).unwrap();
    let record = &records(&out)[0];
    assert_eq!(
        (&record["request"]["whole"], &record["request"]["content"]["text"]),
        (&json!(true), &json!("hello"))
    );
    assert_eq!(record["request"]["sealed"], false);
    let response = &record["response"];
    assert_eq!((&response["whole"], &response["missing_parts"]), (&json!(false), &json!(["1-2"])));
    assert_eq!(response["content"]["text"], "one");
    assert_eq!(response["beyond"], json!([{"part": 3, "base64": "Zm91cg=="}]));
    assert!(notes.contains(&format!("call {CALL}, response: part 1-2 is missing")), "{notes}");
    assert!(opened.is_incomplete && !opened.is_altered);
}

#[test]
fn a_part_that_is_another_s_does_not_hide_the_true_one() {
    let call = "01987f2e-9c1a-7b3e-8d5f-2a4b6c8d0e20";
    let forged = line(CALL, ContentSide::Request, 0, true, b"forged").replace(CALL, call);
    // Its length is not what it says.
    let forged = forged.replace("\"bytes_raw\":6", "\"bytes_raw\":7");
    let lines = [forged, line(call, ContentSide::Request, 0, true, b"truth")];
    // Held until both are there, since the other side may come.
    let (out, notes, opened) = opened(&lines, ContentOutput::Lines, ContentFilter::default()).unwrap();
    let record = &records(&out)[0];
    assert_eq!(record["request"]["content"]["text"], "truth");
    assert_eq!(record["request"]["faults"][0]["part"], format!("{call}.request.0"));
    assert!(opened.is_altered && notes.contains("it holds other than the 7 bytes"), "{notes}");
}

#[test]
fn filters_take_whole_calls_by_the_time_at_which_they_began() {
    // 2025-08-06T11:45:31Z and an hour later, as their ids say.
    let other = "019880fe-0000-7000-8000-000000000000";
    let lines = [CALL, other].map(|call| line(call, ContentSide::Request, 0, true, b"x"));
    let calls = |filter: ContentFilter| -> Vec<String> {
        let (out, _, _) = opened(&lines, ContentOutput::Lines, filter).unwrap();
        records(&out).iter().map(|record| record["call"].as_str().unwrap().to_owned()).collect()
    };
    let all = ContentFilter::default;
    assert_eq!(calls(all()), [CALL, other]);
    assert_eq!(calls(ContentFilter { call: Some(other.into()), ..all() }), [other]);
    assert_eq!(calls(ContentFilter { caller: Some("team-b".into()), ..all() }), [""; 0]);
    let (out, _, _) = opened(&lines, ContentOutput::Lines, all()).unwrap();
    let times: Vec<jiff::Timestamp> =
        records(&out).iter().map(|record| record["time"].as_str().unwrap().parse().unwrap()).collect();
    assert!(times[0] < times[1]);
    assert_eq!(calls(ContentFilter { from: Some(times[1]), ..all() }), [other]);
    assert_eq!(calls(ContentFilter { to: Some(times[1]), ..all() }), [CALL]);
    let several = opened(&lines, ContentOutput::Side(ContentSide::Request), all());
    assert!(matches!(several, Err(ReportError::SeveralCalls(_))));
}

#[test]
fn files_are_the_owner_s_alone_and_are_never_written_over() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let folder = dir.path().join("out");
    let lines = [
        line(CALL, ContentSide::Request, 0, true, b"asked"),
        line(CALL, ContentSide::Response, 0, true, b"said"),
    ];
    let output = || ContentOutput::Folder(folder.clone());
    opened(&lines, output(), ContentFilter::default()).unwrap();
    let path = folder.join(format!("{CALL}.response"));
    assert_eq!(std::fs::read(&path).unwrap(), b"said");
    assert_eq!(std::fs::read(folder.join(format!("{CALL}.request"))).unwrap(), b"asked");
    assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
    assert!(matches!(opened(&lines, output(), ContentFilter::default()), Err(ReportError::File { .. })));
    let escaping = [line("../evil", ContentSide::Request, 0, true, b"x")];
    assert!(matches!(opened(&escaping, output(), ContentFilter::default()), Err(ReportError::File { .. })));
    assert!(!dir.path().join("evil.request").exists());
}

#[test]
fn what_is_no_part_is_left_out_and_said() {
    let lines = [
        "{".to_owned(),
        json!({"type": "dev.tokenweir.usage.v1"}).to_string(),
        json!({"type": "dev.tokenweir.content_control.v1"}).to_string(),
        json!({"type": "dev.tokenweir.content.v1", "id": "x"}).to_string(),
        json!({"type": "dev.tokenweir.content.v9"}).to_string(),
        line(CALL, ContentSide::Request, 0, true, b"x"),
    ];
    let (_, notes, opened) = opened(&lines, ContentOutput::Lines, ContentFilter::default()).unwrap();
    assert_eq!((opened.calls, opened.omissions.count(), opened.is_incomplete), (1, 3, true));
    assert!(notes.contains("left out: 1 (not JSON)") && notes.contains("not a whole event"), "{notes}");
}
