//! Calls are found by ledger and id, and have a bound.

use metering::caller::{Caller, Trust};
use metering::usage::{CaptureState, Target, Usage};

use super::*;
use crate::report::error::within_bounds;

/// The usage of a call, with or without content.
fn usage(capture: Option<Capture>) -> StoredUsage {
    let usage = Usage { capture, ..Usage::draft(Caller::unattributed(Trust::None), Target::default()) };
    serde_json::from_str(&serde_json::to_string(&usage).unwrap()).unwrap()
}

fn captured() -> StoredUsage {
    let state = CaptureState::Full;
    usage(Some(Capture { request: state, response: state, parts: Some(2), bytes: Some(9) }))
}

fn calls(max: usize, noted: &[(usize, u128)]) -> CapturedCalls {
    let mut calls = CapturedCalls { max, ..CapturedCalls::default() };
    for (source, id) in noted {
        calls.note(*source, &Uuid::from_u128(*id).to_string(), &captured(), None);
    }
    calls
}

#[test]
fn calls_have_a_bound_which_the_error_names() {
    let mut at_bound = calls(3, &[(0, 1), (0, 2), (1, 1)]);
    // What was not captured takes no room.
    at_bound.note(0, &Uuid::from_u128(9).to_string(), &usage(None), None);
    assert_eq!(at_bound.crossed_bound(), None);
    let over = calls(3, &[(0, 1), (0, 2), (1, 1), (1, 2)]).crossed_bound();
    assert_eq!(over, Some(InputBound::CapturedCalls(3)));
    let error = within_bounds(over, "usage.jsonl:4").unwrap_err();
    assert_eq!(
        error.to_string(),
        "usage.jsonl:4: more than 3 calls whose content was captured; give fewer inputs at once"
    );
    assert_eq!(CapturedCalls::default().max, 4_194_304, "docs/capture.md says four million");
}

#[test]
fn a_call_is_found_by_its_ledger_and_its_id() {
    let sorted = calls(9, &[(1, 5), (0, 7), (1, 2), (0, 5), (0, 5)]).sorted();
    for (source, id, is_there) in [(0, 5, true), (0, 7, true), (1, 2, true), (1, 7, false), (2, 5, false)] {
        let found = sorted.find(source, Uuid::from_u128(id));
        assert_eq!(found.map(CapturedUsage::place), is_there.then_some((source, Uuid::from_u128(id))));
    }
}
