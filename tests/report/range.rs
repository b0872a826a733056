//! The part of the events that is judged, the ledgers that are expected, and what a verdict says of both.

use std::process::{Command, Output};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use metering::usage::EventType;
use serde_json::{Value, json};
use tokenweir::report::{BootState, FindingKind, Verdict};

use crate::support::boot_of;
use crate::support::sidecar::binary;
use crate::truth::{a_truth, file_of, found, parsed, set, verdict};

/// When an event was written.
fn time(line: &str) -> Timestamp {
    parsed(line).time.unwrap().parse().unwrap()
}

/// Two truths, of which the second lies an hour after the first.
fn two_hours() -> (Vec<String>, Vec<String>) {
    let ((_, first), (_, second)) = (a_truth(), a_truth());
    let later = |line: &String| {
        let mut event: Value = serde_json::from_str(line).unwrap();
        event["time"] = json!(format!("{:.3}", time(line) + SignedDuration::from_hours(1)));
        // A control event's own hash is of the time before. It stands alone, without rows of another time.
        event.to_string()
    };
    (first, second.iter().map(later).collect())
}

fn of_range(lines: &[String], from: Option<Timestamp>, to: Option<Timestamp>) -> Verdict {
    verdict(lines, |options| (options.from, options.to) = (from, to))
}

#[test]
fn only_boots_and_periods_that_touch_the_range_are_judged() {
    let (first, second) = two_hours();
    let middle = first.iter().map(|line| time(line)).max().unwrap() + SignedDuration::from_mins(10);
    let lines = [&first[..], &second[..]].concat();
    // The times of the second were changed, which is what is found there, and nowhere else.
    assert!(found(&of_range(&lines, None, None)).contains("altered"));
    let before = of_range(&lines, None, Some(middle));
    assert!(before.complete, "{:#?}", before.findings);
    assert_eq!((before.events, before.sources.len()), (first.len() as u64, 1));
    assert_eq!((before.from, before.to), (None, Some(middle)));
    assert!(before.notes.iter().any(|note| note.starts_with("outside of the range: ")), "{:?}", before.notes);
    let after = of_range(&lines, Some(middle), None);
    assert!(
        found(&after).contains("altered") && after.events == second.len() as u64,
        "{:#?}",
        after.findings
    );
    // What is missing outside of the range is not missing in it.
    let holes = [&first[..], &second[5..second.len() / 2]].concat();
    assert!(of_range(&holes, None, Some(middle)).complete);
}

#[test]
fn a_range_within_a_boot_begins_and_ends_with_whole_control_periods() {
    let (_dir, lines) = a_truth();
    let (from, to) = (time(&lines[0]), time(lines.last().unwrap()));
    let whole = of_range(&lines, Some(from), Some(to + SignedDuration::from_secs(1)));
    assert!(whole.complete && whole.events == lines.len() as u64, "{:#?}", whole.findings);
    for at in 0..lines.len() {
        let cut = time(&lines[at]);
        for (from, to) in
            [(Some(cut), None), (None, Some(cut)), (Some(cut), Some(cut + SignedDuration::from_millis(1)))]
        {
            let verdict = of_range(&lines, from, to);
            assert!(verdict.complete, "{from:?} to {to:?}: {:#?}", verdict.findings);
        }
        // Of the part behind, all that is before can be gone, but for what its first control period covers.
        let kept = of_range(&lines, Some(cut), None);
        assert!(kept.events > 0 && kept.first.unwrap() >= cut, "{kept:#?}");
    }
    // An altered row is found if its period touches the range, and not if it does not.
    let row = (0..lines.len()).find(|at| parsed(&lines[*at]).kind == EventType::Usage).unwrap();
    let mut altered = lines.clone();
    altered[row] = altered[row].replace("gpt-4o-prod", "gpt-4o-test");
    let at = time(&lines[row]);
    assert_eq!(
        found(&of_range(&altered, Some(at), Some(at + SignedDuration::from_millis(1)))),
        set(&[FindingKind::Altered])
    );
    let last = time(lines.last().unwrap());
    assert!(of_range(&altered, Some(last), None).complete);
}

#[test]
fn a_verdict_says_which_time_which_sources_and_which_boots_it_judged() {
    let (_dir, lines) = a_truth();
    let verdict = verdict(&lines, |_| {});
    let times: Vec<Timestamp> = lines.iter().map(|line| time(line)).collect();
    assert_eq!((verdict.first, verdict.last), (times.iter().min().copied(), times.iter().max().copied()));
    assert_eq!(verdict.sources, [parsed(&lines[0]).source.to_string()]);
    for boot in &verdict.boots {
        let own: Vec<&String> = lines.iter().filter(|line| boot_of(&parsed(line)) == boot.boot).collect();
        assert_eq!(boot.first, own.iter().map(|line| time(line)).min());
        let speaks = |line: &&String| parsed(line).data["instance"] == boot.boot.as_str();
        assert_eq!(boot.last_control, lines.iter().filter(speaks).map(|line| time(line)).max());
    }
    let output = run(&lines, &[]);
    let text = String::from_utf8(output.stdout).unwrap();
    let last = text.lines().last().unwrap();
    let period =
        format!(" of 1 source, {:.3} to {:.3}; none is", verdict.first.unwrap(), verdict.last.unwrap());
    assert!(last.starts_with("complete: ") && last.contains(&period), "{last}");
    assert!(text.contains("last control"), "{text}");
    let json: Value = serde_json::from_slice(&run(&lines, &["--format", "json"]).stdout).unwrap();
    for member in ["from", "to", "first", "last", "sources", "no_digest"] {
        assert!(json.get(member).is_some(), "{member}");
    }
    assert!(json["boots"][0]["first"].is_string() && json["boots"][0]["last_control"].is_string());
}

fn run(lines: &[String], arguments: &[&str]) -> Output {
    Command::new(binary()).arg("verify").arg(file_of(lines).path()).args(arguments).output().unwrap()
}

#[test]
fn a_source_that_is_expected_and_says_nothing_is_a_finding() {
    let (_dir, lines) = a_truth();
    let source = parsed(&lines[0]).source.to_string();
    let uuid = source.trim_start_matches("//tokenweir/");
    let list = tempfile::NamedTempFile::new().unwrap();
    let expect = |text: &str, more: &[&str]| {
        std::fs::write(list.path(), text).unwrap();
        let arguments = [&["--expect-sources", list.path().to_str().unwrap()], more].concat();
        let output = run(&lines, &arguments);
        (output.status.code(), String::from_utf8(output.stdout).unwrap())
    };
    for known in [format!("{source}\n"), format!("# all\n\n  {uuid} # the first\n")] {
        let (code, text) = expect(&known, &[]);
        assert_eq!(code, Some(0), "{text}");
    }
    let (code, text) = expect(&format!("{source}\n//tokenweir/another\n"), &[]);
    assert!(
        code == Some(3) && text.contains("silent: 1 boot or source") && text.contains("//tokenweir/another"),
        "{text}"
    );
    assert!(text.lines().last().unwrap().starts_with("NOT complete (silent): "), "{text}");
    // It is there, and has nothing in the range.
    let (code, text) = expect(&source, &["--to", "2020-01-01"]);
    assert!(code == Some(3) && text.contains("has no event in this time"), "{text}");
    let (code, text) = expect("//tokenweir/another", &[]);
    assert!(code == Some(3) && text.contains("not expected: 1 source "), "{text}");
    assert_eq!(expect("# nothing\n", &[]).0, Some(2));
    assert_eq!(run(&lines, &["--expect-sources", "/nowhere"]).status.code(), Some(2));
    assert_eq!(run(&lines, &["--from", "2026-11-02", "--to", "2026-11-01"]).status.code(), Some(2));
}

#[test]
fn an_open_boot_that_has_been_silent_for_two_intervals_is_a_finding_although_others_are_silent_too() {
    let (_dir, mut lines) = a_truth();
    lines.pop();
    let newest = lines.iter().map(|line| time(line)).max().unwrap();
    let as_of = |seconds: i64| {
        verdict(&lines, |options| {
            options.allow_open = true;
            options.control_interval = Duration::from_secs(60);
            options.as_of = Some(newest + SignedDuration::from_secs(seconds));
        })
    };
    let young = as_of(60);
    assert!(young.complete, "{:#?}", young.findings);
    let old = as_of(180);
    assert_eq!(found(&old), set(&[FindingKind::Silent]), "{:#?}", old.findings);
    assert!(old.boots.iter().any(|boot| boot.state == BootState::Open));
}

/// Readers of older versions go on, and say what they cannot see.
#[test]
fn control_events_without_digests_are_judged_by_their_totals_and_that_is_said() {
    let (_dir, lines) = a_truth();
    let older = |line: &String| {
        let mut event: Value = serde_json::from_str(line).unwrap();
        if event["type"] == "dev.tokenweir.control.v1" {
            let data = event["data"].as_object_mut().unwrap();
            for member in
                ["digest", "previous_instance", "previous_digest", "key_id", "keyed_digest", "sha256", "hmac"]
            {
                data.shift_remove(member);
            }
            data["schema_version"] = json!("1.0");
        }
        event.to_string()
    };
    let mut lines: Vec<String> = lines.iter().map(older).collect();
    let controls = lines.iter().filter(|line| parsed(line).kind == EventType::Control).count();
    let at = (0..lines.len()).find(|at| parsed(&lines[*at]).kind == EventType::Usage).unwrap();
    lines[at] = lines[at].replace("gpt-4o-prod", "gpt-4o-test");
    let blind = verdict(&lines, |_| {});
    assert!(blind.complete, "{:#?}", blind.findings);
    assert_eq!(blind.no_digest, controls as u64);
    let note = format!("no digest: {controls} control events of schema 1.0; ");
    assert!(blind.notes.iter().any(|said| said.starts_with(&note)), "{:?}", blind.notes);
    lines[at] = lines[at].replacen("\"output\":", "\"output\":9", 1);
    assert_eq!(found(&verdict(&lines, |_| {})), set(&[FindingKind::Altered]));
}
