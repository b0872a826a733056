//! `--from`, `--to` and `--allow-cut` on content: a call is of the time of its usage event and is judged with all of its
//! parts, a run of parts with each control period that touches the range.

use std::ops::RangeInclusive;

use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;
use proptest::test_runner::{Config as TestConfig, TestRunner};

use super::made::{MadeCall, MadeLines, another_key, at, made, the_key};
use super::{change, found, is_part, is_total, judged_with, kinds, parsed, set_of};
use metering::usage::UsageRecord;
use serde_json::{Value, json};
use tokenweir::report::{ContentInputs, ContentVerdict, Input, VerifyOptions, verify_with_content};

use crate::truth::{all, file_of};

/// The time that is judged.
#[derive(Clone, Copy, Debug)]
struct TimeRange {
    from: Option<Timestamp>,
    to: Option<Timestamp>,
}

impl TimeRange {
    /// Seconds after the beginning.
    fn of(from: Option<usize>, to: Option<usize>) -> TimeRange {
        let time = |seconds: usize| at(seconds).unwrap().parse().unwrap();
        TimeRange { from: from.map(time), to: to.map(time) }
    }

    fn has(&self, time: Timestamp) -> bool {
        self.from.is_none_or(|from| from <= time) && self.to.is_none_or(|to| time < to)
    }

    fn touches(&self, begin: Timestamp, end: Timestamp) -> bool {
        self.from.is_none_or(|from| from <= end) && self.to.is_none_or(|to| begin < to)
    }
}

fn within(lines: &MadeLines, range: TimeRange) -> ContentVerdict {
    let choose = |options: &mut VerifyOptions| {
        (options.from, options.to) = (range.from, range.to);
    };
    judged_with(lines, Some(the_key()), choose).content.unwrap()
}

fn cut(lines: &MadeLines, allow_cut: bool) -> ContentVerdict {
    judged_with(lines, None, |options| options.allow_cut = allow_cut).content.unwrap()
}

fn time(event: &Value) -> Timestamp {
    event["time"].as_str().unwrap().parse().unwrap()
}

fn sequence(event: &Value) -> u64 {
    event["sequence"].as_str().unwrap().parse().unwrap()
}

/// The sequences that are judged, of one boot that has ended.
fn judged_run(content: &[Value], range: TimeRange) -> Option<RangeInclusive<u64>> {
    let (mut begin, mut first, mut run) = (content.iter().map(time).min()?, 1, None);
    for control in content.iter().filter(|event| is_total(event)) {
        let (end, last) = (time(control), sequence(control));
        if range.touches(begin, end) {
            run = Some(run.map_or(first, |run: RangeInclusive<u64>| *run.start())..=last);
        }
        (begin, first) = (end, last + 1);
    }
    run
}

/// What is judged of these lines: whether a call is, by its usage event or else by its parts.
struct Judged<'a> {
    usage: Vec<Value>,
    parts: Vec<&'a Value>,
    range: TimeRange,
}

impl Judged<'_> {
    fn usage_of(&self, call: &Value) -> Option<&Value> {
        self.usage.iter().find(|event| event["id"] == *call && event["data"]["capture"].is_object())
    }

    fn parts_of<'b>(&'b self, call: &'b Value) -> impl Iterator<Item = &'b &'b Value> {
        self.parts.iter().filter(move |part| part["data"]["call"] == *call)
    }

    fn has(&self, call: &Value) -> bool {
        match self.usage_of(call) {
            Some(usage) => self.range.has(time(usage)),
            None => self.parts_of(call).any(|part| self.range.has(time(part))),
        }
    }
}

fn call() -> impl Strategy<Value = MadeCall> {
    let sizes = || prop::collection::vec(1..200_usize, 0..5);
    let usage = prop_oneof![3 => Just(UsageRecord::Event), 1 => Just(UsageRecord::Summary), 1 => Just(UsageRecord::None)];
    (sizes(), sizes(), usage).prop_map(|(request, response, usage)| MadeCall {
        request,
        response,
        is_truncated: false,
        usage,
    })
}

/// Whatever the range: what is whole is believed, and what is missing or altered is found exactly if it is judged.
#[test]
fn what_is_judged_is_found_and_nothing_else() {
    let tries =
        (any::<prop::sample::Index>(), any::<prop::sample::Index>(), any::<prop::sample::Index>(), 0..4_u8);
    let worlds = (prop::collection::vec(call(), 1..6), prop::collection::vec(tries, 24));
    let mut runner = TestRunner::new(TestConfig { cases: 16, max_shrink_iters: 60, ..TestConfig::default() });
    let done = runner.run(&worlds, |(calls, tries)| {
        let truth = made(&calls);
        let events: Vec<Value> = truth.content.iter().map(|line| parsed(line)).collect();
        let usage: Vec<Value> = truth.usage.iter().map(|line| parsed(line)).collect();
        let parts: Vec<usize> = (0..events.len()).filter(|at| is_part(&events[*at])).collect();
        for (a, b, pick, open_end) in tries {
            // A second more than there are events.
            let (a, b) = (a.index(events.len() + 3), b.index(events.len() + 3));
            let (from, to) = (a.min(b), a.max(b) + 1);
            let range = TimeRange::of((open_end != 1).then_some(from), (open_end != 2).then_some(to));
            let judged =
                Judged { usage: usage.clone(), parts: parts.iter().map(|at| &events[*at]).collect(), range };
            let whole = within(&truth, range);
            prop_assert!(whole.complete, "{:?}: {:#?}", range, whole);
            let in_range = usage.iter().filter(|event| event["data"]["capture"].is_object());
            let in_range = in_range.filter(|event| range.has(time(event))).count() as u64;
            let judged_parts =
                judged.parts.iter().filter(|part| judged.has(&part["data"]["call"])).count() as u64;
            prop_assert_eq!((whole.calls, whole.parts), (in_range, judged_parts));
            if parts.is_empty() {
                continue;
            }
            let place = parts[pick.index(parts.len())];
            let part = &events[place];
            let (call, side) = (&part["data"]["call"], &part["data"]["side"]);

            let mut dropped = truth.clone();
            dropped.content.remove(place);
            let left: Vec<Value> = dropped.content.iter().map(|line| parsed(line)).collect();
            let of_run = judged_run(&left, range).is_some_and(|run| run.contains(&sequence(part)));
            let rest = Judged {
                usage: usage.clone(),
                parts: left.iter().filter(|event| is_part(event)).collect(),
                range,
            };
            // Without a usage event it is a later part that tells of it.
            let is_later = |other: &&&Value| {
                other["data"]["side"] == *side
                    && other["data"]["part"].as_u64() > part["data"]["part"].as_u64()
            };
            let is_told = rest.usage_of(call).is_some() || rest.parts_of(call).any(|other| is_later(&other));
            let expected = if of_run || (is_told && rest.has(call)) { set_of("missing") } else { kinds(&[]) };
            let verdict = within(&dropped, range);
            prop_assert_eq!(found(&verdict), expected, "without {}: {:?}: {:#?}", part["id"], range, verdict);

            let mut altered = truth.clone();
            change(&mut altered.content[place], |event| event["data"]["caller"]["id"] = json!("other"));
            let of_run = judged_run(&events, range).is_some_and(|run| run.contains(&sequence(part)));
            let is_looked_at = match judged.usage_of(call) {
                Some(usage) => range.has(time(usage)),
                None => range.has(time(part)),
            };
            let expected = if of_run || is_looked_at { set_of("altered") } else { kinds(&[]) };
            let verdict = within(&altered, range);
            prop_assert_eq!(found(&verdict), expected, "{} altered: {:?}: {:#?}", part["id"], range, verdict);
        }
        Ok(())
    });
    done.unwrap();
}

fn calls(usages: &[UsageRecord]) -> MadeLines {
    let call = |usage: &UsageRecord| MadeCall {
        request: vec![7],
        response: vec![9, 8, 2],
        is_truncated: false,
        usage: *usage,
    };
    made(&usages.iter().map(call).collect::<Vec<_>>())
}

/// A call of the range whose first parts were sealed before it is judged with them, and named.
#[test]
fn a_range_that_cuts_a_call_s_parts_judges_the_call_that_ends_in_it() {
    // The first call has its parts at 2 to 5 s, the second at 7 to 10 s, each its usage event with the last one.
    let lines = calls(&[UsageRecord::Event; 2]);
    let (begin, end) = (TimeRange::of(None, Some(9)), TimeRange::of(Some(9), None));
    let (first, second) = (within(&lines, begin), within(&lines, end));
    assert_eq!((first.complete, first.calls, first.parts, first.opened), (true, 1, 4, 4), "{first:#?}");
    assert_eq!((second.complete, second.calls, second.parts, second.opened), (true, 1, 4, 4), "{second:#?}");
    let note = "parts of calls that are outside of the range, which were not looked at: 4";
    assert!(first.notes.iter().any(|told| told == note), "{first:#?}");
    let mut lines = lines;
    let at_seven = lines
        .content
        .iter()
        .position(|line| time(&parsed(line)) == end.from.unwrap() - SignedDuration::from_secs(2));
    let gone = parsed(&lines.content.remove(at_seven.unwrap()));
    let verdict = within(&lines, end);
    let call = gone["data"]["call"].as_str().unwrap();
    assert!(verdict.findings.iter().any(|finding| finding.about == call), "{verdict:#?}");
}

/// Whoever has the keys of one time only is told nothing of another.
#[test]
fn parts_outside_of_the_range_are_not_opened() {
    let lines = calls(&[UsageRecord::Event, UsageRecord::Summary, UsageRecord::Event]);
    let with_another = |range: TimeRange| {
        let choose = |options: &mut VerifyOptions| {
            (options.from, options.to) = (range.from, range.to);
        };
        judged_with(&lines, Some(another_key()), choose).content.unwrap()
    };
    // Two parts of the second call, which has no usage event, and the four of the third.
    let verdict = with_another(TimeRange::of(Some(9), None));
    assert_eq!((found(&verdict), verdict.findings.len()), (set_of("unopenable"), 4 + 2), "{verdict:#?}");
    let none = with_another(TimeRange::of(Some(40), None));
    assert_eq!((none.complete, none.opened, none.parts), (true, 0, 0), "{none:#?}");
}

/// Control events count losses from the start of the boot: each is told in the range in which it happened.
#[test]
fn losses_are_those_of_the_range() {
    let mut lines = calls(&[UsageRecord::Event; 4]);
    let totals: Vec<usize> =
        (0..lines.content.len()).filter(|at| is_total(&parsed(&lines.content[*at]))).collect();
    assert!(totals.len() >= 4, "{totals:?}");
    for (at, lost) in totals.iter().zip([0, 3, 3, 5]) {
        change(&mut lines.content[*at], |event| event["data"]["lost_parts"] = json!(lost));
    }
    let lost = |from: Timestamp, to: Timestamp| {
        let verdict = within(&lines, TimeRange { from: Some(from), to: Some(to) });
        let lost = verdict.findings.iter().filter(|finding| finding.kind.as_str() == "lost");
        lost.map(|finding| finding.parts).sum::<u64>()
    };
    let times: Vec<Timestamp> = totals.iter().map(|at| time(&parsed(&lines.content[*at]))).collect();
    let moment = SignedDuration::from_millis(1);
    let told: Vec<u64> = times.iter().map(|time| lost(*time - moment, *time)).collect();
    assert_eq!(told, [0, 3, 0, 2]);
    assert_eq!(lost(times[0] - moment, times[3]), 5);
}

/// Of a boot that died the next one writes the last control event, maybe hours later. What it covers is of the time of the
/// parts all the same.
#[test]
fn the_last_parts_of_a_boot_that_died_are_judged_in_their_own_time() {
    let mut lines = calls(&[UsageRecord::None; 2]);
    let last = lines.content.len() - 1;
    change(&mut lines.content[last], |event| {
        let late = time(event) + SignedDuration::from_hours(5);
        event["time"] = json!(late.to_string());
        event["subject"] = json!("018f3a1e-0000-7000-8000-00000000000c");
        event["sequence"] = json!("00000000000000000001");
    });
    let part = parsed(&lines.content[last - 1]);
    let range = TimeRange { from: Some(time(&part)), to: Some(time(&part) + SignedDuration::from_secs(1)) };
    let whole = within(&lines, range);
    assert!(whole.complete, "{whole:#?}");
    lines.content.remove(last - 1);
    assert_eq!(
        found(&within(&lines, range)),
        set_of("missing"),
        "it was the last part of a call without usage event"
    );
}

/// A boot without an end is open where the range reaches beyond what it said last.
#[test]
fn a_boot_that_still_runs_is_open_if_the_range_reaches_its_end() {
    let mut lines = calls(&[UsageRecord::Event; 2]);
    lines.content.pop();
    assert_eq!(found(&within(&lines, TimeRange::of(Some(9), None))), set_of("open"));
    assert_eq!(found(&within(&lines, TimeRange::of(None, Some(9)))), kinds(&[]));
    assert_eq!(found(&within(&lines, TimeRange::of(Some(90), None))), kinds(&[]));
}

/// Wherever the content begins: with `--allow-cut` what went before is not missing, also of calls that have no usage event
/// and of which the first parts are gone; what is missing behind it is.
#[test]
fn content_that_begins_in_the_middle_is_believed_if_that_is_allowed() {
    use UsageRecord::{Event, None, Summary};
    let whole = calls(&[Event, Summary, None, Event, Summary]);
    let count = whole.content.len();
    for first in 0..count {
        let lines = MadeLines { content: whole.content[first..].to_vec(), ..whole.clone() };
        let verdict = cut(&lines, true);
        assert!(verdict.complete, "from {first} on: {verdict:#?}");
        assert_eq!(found(&cut(&lines, false)), if first == 0 { kinds(&[]) } else { set_of("missing") });
        for gone in 1..lines.content.len() - 1 {
            let mut lines = lines.clone();
            lines.content.remove(gone);
            assert!(found(&cut(&lines, true)).contains("missing"), "from {first} on, without {gone}");
        }
    }
}

/// A spool lets parts go that are delivered, so that what is left of it begins in the middle too.
#[test]
fn a_spool_whose_beginning_was_delivered_is_believed_if_that_is_allowed() {
    let lines = calls(&[UsageRecord::Event; 2]);
    let (usage, spool) = (file_of(&lines.usage), tempfile::tempdir().unwrap());
    let db = rusqlite::Connection::open(spool.path().join("capture.sqlite3")).unwrap();
    db.execute_batch("CREATE TABLE part (position INTEGER PRIMARY KEY, body TEXT NOT NULL) STRICT").unwrap();
    for (position, line) in (1..).zip(&lines.content).skip(3) {
        db.execute("INSERT INTO part VALUES (?1, ?2)", (position, line)).unwrap();
    }
    let verdict = |allow_cut: bool| {
        let mut options = all(Input::Files(usage.path().to_owned()));
        options.allow_cut = allow_cut;
        let inputs = vec![Input::Spool(spool.path().to_owned())];
        verify_with_content(&options, ContentInputs { inputs, unwrap: None }).unwrap().content.unwrap()
    };
    assert_eq!(found(&verdict(false)), set_of("missing"));
    let allowed = verdict(true);
    assert!(allowed.complete, "{allowed:#?}");
    assert!(allowed.notes.iter().any(|note| note.contains("--allow-cut")), "{allowed:#?}");
}
