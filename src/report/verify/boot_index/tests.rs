//! Rows find their control events in any order, and what is kept of them has bounds.

use std::path::{Path, PathBuf};

use metering::caller::{Caller, Trust};
use metering::usage::{CloudEvent, EventType, RowHash, RowsDigest, Target, TokenTotals, Tokens, Usage};
use proptest::prelude::*;

use super::*;
use crate::report::Input;

/// Control periods of a boot, with so many rows each.
fn boot(periods: &[u64]) -> Vec<String> {
    let (mut lines, mut sequence) = (Vec::new(), 0);
    for rows in periods {
        let (mut digest, mut tokens, first) = (RowsDigest::default(), TokenTotals::default(), sequence + 1);
        for _ in 0..*rows {
            sequence += 1;
            let mut usage = Usage::draft(Caller::unattributed(Trust::None), Target::default());
            usage.reporter.instance = "boot".into();
            usage.tokens = Tokens { input: Some(sequence), output: Some(1), ..Tokens::default() };
            tokens.add(usage.tokens.totals());
            let id = format!("row {sequence}");
            let event = CloudEvent::new(EventType::Usage, "s", id, None, "c", usage);
            let line = serde_json::to_string(&event.with_sequence(sequence)).unwrap();
            digest.add(&RowHash::of(line.as_bytes()));
            lines.push(line);
        }
        let (events, range) = (*rows, (*rows > 0).then_some((first, sequence)));
        sequence += 1;
        let control = Control {
            instance: "boot".to_owned(),
            first_sequence: range.map(|range| range.0),
            last_sequence: range.map(|range| range.1),
            events,
            tokens,
            digest: Some(digest.to_string()),
            ..Control::default()
        };
        let event = CloudEvent::new(EventType::Control, "s", format!("{sequence}"), None, "boot", control);
        lines.push(serde_json::to_string(&event.with_sequence(sequence)).unwrap());
    }
    lines
}

proptest! {
    /// With too many runs the first pass gives up, and the second one finds the same.
    #[test]
    fn each_period_has_its_rows_whatever_the_order_and_however_many_runs_are_kept(
        periods in prop::collection::vec(0..6_u64, 1..6), order in prop::collection::vec(any::<u64>(), 40),
        runs_max in 0..6_usize,
    ) {
        let lines = boot(&periods);
        let mut shuffled: Vec<(u64, &String)> = order.into_iter().cycle().zip(&lines).collect();
        shuffled.sort();
        let options = VerifyOptions::new(vec![Input::Files(PathBuf::new())]);
        let origin = EventOrigin::Line { file: Path::new("f"), line: 1 };
        let mut index = BootIndex::new(&options);
        index.runs_max = runs_max;
        shuffled.iter().for_each(|(_, line)| index.note(line, origin));
        index.sort();
        prop_assert_eq!(index.asks_for_a_second_pass(), index.runs.is_none());
        if index.asks_for_a_second_pass() {
            index.begin_again();
            shuffled.iter().for_each(|(_, line)| index.add(line, origin));
            index.compare();
        } else {
            prop_assert_eq!(index.runs, Some(0));
        }
        prop_assert!(!index.asks_what_was_written());
        let [boot] = &index.all[..] else { panic!("{:?}", index.all) };
        prop_assert_eq!(boot.uncovered, 0);
        for period in &boot.periods {
            prop_assert_eq!(&period.rows.found, &period.said);
            prop_assert_eq!(period.match_of_rows(), RowsMatch::Equal);
            prop_assert_eq!(period.rows.settled, period.said.events);
        }
    }
}

/// Events of schema 1.0 have no digest, so that the id of each row is kept.
fn without_digests(lines: Vec<String>) -> Vec<String> {
    lines
        .into_iter()
        .map(|line| {
            let mut event: serde_json::Value = serde_json::from_str(&line).unwrap();
            event["data"].as_object_mut().unwrap().remove("digest");
            event.to_string()
        })
        .collect()
}

#[test]
fn ids_that_no_digest_proves_have_a_bound() {
    let options = VerifyOptions::new(vec![Input::Files(PathBuf::new())]);
    let origin = EventOrigin::Line { file: Path::new("f"), line: 1 };
    let crossed = |lines: &[String], max: usize| {
        let mut index = BootIndex::new(&options);
        index.unproven_max = max;
        lines.iter().for_each(|line| index.note(line, origin));
        index.crossed_bound()
    };
    // Of two control events the ids are kept too.
    let (proven, old) = (boot(&[5, 3]), without_digests(boot(&[5, 3])));
    assert_eq!(crossed(&proven, 2), None);
    assert_eq!(crossed(&old, 10), None);
    assert_eq!(crossed(&old, 9), Some(InputBound::UnprovenRows(9)));
}

#[test]
fn copies_of_rows_have_a_bound() {
    let options = VerifyOptions::new(vec![Input::Files(PathBuf::new())]);
    let origin = EventOrigin::Line { file: Path::new("f"), line: 1 };
    let lines: Vec<String> = boot(&[4]).into_iter().flat_map(|line| [line.clone(), line]).collect();
    let crossed = |max: usize| {
        let mut index = BootIndex::new(&options);
        index.copies_max = max;
        lines.iter().for_each(|line| index.note(line, origin));
        index.sort();
        assert!(index.asks_for_a_second_pass());
        index.begin_again();
        lines.iter().for_each(|line| index.add(line, origin));
        index.crossed_bound()
    };
    assert_eq!(crossed(lines.len()), None);
    assert_eq!(crossed(lines.len() - 1), Some(InputBound::RepeatedRows(lines.len() - 1)));
}
