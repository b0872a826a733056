//! What finance would make of the topic: each usage event once, by caller.

use std::collections::{BTreeMap, HashSet};

use serde::Deserialize;
use smol_str::SmolStr;

use super::fixtures::Fixtures;
use crate::usage::{CloudEvent, EventType, Outcome, Quality, Usage};

/// One caller's line of the table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Row {
    pub(super) calls: u64,
    pub(super) input: u64,
    pub(super) output: u64,
    /// Calls by the worse of their two qualities: exact, lower bound, estimated, unknown.
    pub(super) qualities: [u64; 4],
}

/// The events of the topic so far. Holds one entry per call of the demo.
#[derive(Debug, Default)]
pub(super) struct Tally {
    seen: HashSet<(SmolStr, String)>,
    rows: BTreeMap<String, Row>,
    /// Records that were read again.
    pub(super) repeats: u64,
    /// Calls of a process that died under them.
    pub(super) crashed: u64,
    /// Numbers that nobody reported and that are labelled exact.
    pub(super) computed: u64,
    /// Of these: not what the service would have reported.
    pub(super) wrong: u64,
    /// Records that are no event.
    pub(super) unreadable: u64,
}

/// Enough of any event to know what it is.
#[derive(Deserialize)]
struct Kind {
    #[serde(rename = "type")]
    kind: EventType,
}

impl Tally {
    /// Takes one record of the topic.
    pub(super) fn add(&mut self, payload: &[u8], fixtures: &Fixtures) {
        match serde_json::from_slice::<Kind>(payload) {
            Ok(Kind { kind: EventType::Usage }) => {}
            Ok(_) => return,
            Err(_) => {
                self.unreadable += 1;
                return;
            }
        }
        let Ok(event) = serde_json::from_slice::<CloudEvent<Usage>>(payload) else {
            self.unreadable += 1;
            return;
        };
        if !self.seen.insert((event.source, event.id)) {
            self.repeats += 1;
            return;
        }
        self.count(&event.data);
        self.compare(&event.data, fixtures);
    }

    fn count(&mut self, usage: &Usage) {
        let quality = usage.accounting.input_quality.max(usage.accounting.output_quality);
        let row = self.rows.entry(usage.caller.id.to_string()).or_default();
        row.calls += 1;
        row.input += usage.tokens.input.unwrap_or(0);
        row.output += usage.tokens.output.unwrap_or(0);
        row.qualities[match quality {
            Quality::Exact => 0,
            Quality::LowerBound => 1,
            Quality::Estimated => 2,
            Quality::Unknown => 3,
        }] += 1;
        self.crashed += u64::from(usage.stream.outcome == Outcome::Crashed);
    }

    /// Holds what was computed and called exact against what the service would have reported.
    fn compare(&mut self, usage: &Usage, fixtures: &Fixtures) {
        let fixture = usage.ids.response_id.as_deref().and_then(|id| fixtures.of_answer(id));
        let Some(truth) = fixture.and_then(|fixture| fixture.usage) else { return };
        let accounting = &usage.accounting;
        let sides = [
            (accounting.input_quality, accounting.reported_input, usage.tokens.input, truth.prompt_tokens),
            (
                accounting.output_quality,
                accounting.reported_output,
                usage.tokens.output,
                truth.completion_tokens,
            ),
        ];
        for (quality, reported, tokens, truth) in sides {
            if quality == Quality::Exact && reported.is_none() {
                self.computed += 1;
                self.wrong += u64::from(tokens != Some(truth));
            }
        }
    }

    /// Distinct usage events by (source, id).
    pub(super) fn delivered(&self) -> u64 {
        self.seen.len() as u64
    }

    /// Calls in the table.
    pub(super) fn counted(&self) -> u64 {
        self.rows.values().map(|row| row.calls).sum()
    }

    /// The table: callers by name.
    pub(super) fn rows(&self) -> impl Iterator<Item = (&str, &Row)> {
        self.rows.iter().map(|(caller, row)| (caller.as_str(), row))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::caller::{Caller, Trust};
    use crate::usage::Source;

    /// A usage event of a call for `library-hours`, computed.
    fn event(id: &str, output: Option<u64>, quality: Quality) -> Vec<u8> {
        let usage = serde_json::json!({
            "schema_version": "1.0",
            "caller": Caller::unattributed(Trust::None),
            "target": crate::usage::Target::default(),
            "request": crate::usage::Request::default(),
            "tokens": { "input": 16, "output": output },
            "accounting": crate::usage::Accounting {
                input_source: Source::Computed,
                output_source: Source::Computed,
                input_quality: Quality::Exact,
                output_quality: quality,
                ..Default::default()
            },
            "stream": crate::usage::Stream::default(),
            "timing": crate::usage::Timing::default(),
            "ids": { "response_id": "chatcmpl-library-hours-000001" },
            "reporter": crate::usage::Reporter::default(),
        });
        let event = CloudEvent::new(EventType::Usage, "//tokenweir/a", id.into(), None, "b", usage);
        serde_json::to_vec(&event).unwrap()
    }

    #[test]
    fn a_repeat_counts_once() {
        let fixtures = Fixtures::load().unwrap();
        let mut tally = Tally::default();
        for id in ["1", "2", "1", "1"] {
            tally.add(&event(id, Some(33), Quality::Exact), &fixtures);
        }
        assert_eq!((tally.delivered(), tally.counted(), tally.repeats), (2, 2, 2));
        let row = Row { calls: 2, input: 32, output: 66, qualities: [2, 0, 0, 0] };
        assert_eq!(tally.rows().collect::<Vec<_>>(), [("unattributed", &row)]);
        assert_eq!((tally.computed, tally.wrong), (4, 0));
    }

    #[test]
    fn a_wrong_number_called_exact_is_found() {
        let fixtures = Fixtures::load().unwrap();
        let mut tally = Tally::default();
        tally.add(&event("1", Some(32), Quality::Exact), &fixtures);
        tally.add(&event("2", None, Quality::Exact), &fixtures);
        tally.add(&event("3", Some(5), Quality::LowerBound), &fixtures);
        assert_eq!((tally.computed, tally.wrong), (5, 2), "a lower bound may be any number");
        let qualities: Vec<_> = tally.rows().map(|(_, row)| row.qualities).collect();
        assert_eq!(qualities, [[2, 1, 0, 0]], "a call is as good as its worse side");
    }

    #[test]
    fn other_records_do_not_count() {
        let fixtures = Fixtures::load().unwrap();
        let mut tally = Tally::default();
        tally.add(b"not an event", &fixtures);
        tally.add(br#"{"type":"dev.tokenweir.control.v1","id":"1"}"#, &fixtures);
        tally.add(br#"{"type":"dev.tokenweir.usage.v1","id":"1"}"#, &fixtures);
        assert_eq!((tally.delivered(), tally.counted(), tally.unreadable), (0, 0, 2));
    }
}
