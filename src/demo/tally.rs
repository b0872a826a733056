//! The topic as finance would add it up: each usage event once, by caller.

use std::collections::{BTreeMap, HashMap, HashSet};

use smol_str::SmolStr;

use super::fixtures::Fixtures;
use metering::usage::{EventType, Outcome, Quality, StoredData, StoredEvent, StoredUsage};

/// One caller's line of the table.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct CallerRow {
    pub(super) calls: u64,
    pub(super) input: u64,
    pub(super) output: u64,
    /// Calls by the worse of their two qualities: exact, lower bound, estimated, unknown.
    pub(super) qualities: [u64; 4],
}

impl CallerRow {
    pub(super) fn plus(self, other: &CallerRow) -> CallerRow {
        let mut sum = CallerRow {
            calls: self.calls + other.calls,
            input: self.input + other.input,
            output: self.output + other.output,
            qualities: self.qualities,
        };
        for (sum, calls) in sum.qualities.iter_mut().zip(other.qualities) {
            *sum += calls;
        }
        sum
    }
}

/// What the topic says of the call with one id.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct CallFate {
    pub(super) caller: SmolStr,
    pub(super) output_quality: Quality,
    /// Usage events of this call: one, if all is well.
    pub(super) events: u64,
}

/// The events of the topic so far. Holds one entry per call of the demo.
#[derive(Debug, Default)]
pub(super) struct TopicTally {
    seen: HashSet<(SmolStr, String)>,
    rows: BTreeMap<String, CallerRow>,
    /// By the id that the caller gave its call.
    fates: HashMap<SmolStr, CallFate>,
    /// Records that were read again.
    pub(super) repeats: u64,
    /// Calls of a process that died under them.
    pub(super) crashed: u64,
    /// Numbers that were not reported and that are labelled exact.
    pub(super) computed: u64,
    /// Of these: not what the service would have reported.
    pub(super) wrong: u64,
    /// Records that are no event.
    pub(super) unreadable: u64,
}

impl TopicTally {
    /// Takes one record of the topic.
    pub(super) fn add(&mut self, payload: &[u8], fixtures: &Fixtures) {
        let body = std::str::from_utf8(payload).ok();
        let Some(event) = body.and_then(|body| StoredEvent::read(body).ok()) else {
            self.unreadable += 1;
            return;
        };
        if event.event_type() != Some(EventType::Usage) {
            return;
        }
        let Some(StoredData::Call(usage, outcome)) = event.data() else {
            self.unreadable += 1;
            return;
        };
        if !self.seen.insert((event.source.as_ref().into(), event.id.into_owned())) {
            self.repeats += 1;
            return;
        }
        self.crashed += u64::from(outcome == Outcome::Crashed);
        self.note_fate(&usage);
        self.count(&usage);
        self.compare(&usage, fixtures);
    }

    fn count(&mut self, usage: &StoredUsage) {
        let quality = usage.accounting.input_quality.max(usage.accounting.output_quality);
        let row = self.rows.entry(usage.caller.id.to_string()).or_default();
        row.calls += 1;
        row.input += usage.tokens.input.unwrap_or(0);
        row.output += usage.tokens.output.unwrap_or(0);
        row.qualities[quality as usize] += 1;
    }

    fn note_fate(&mut self, usage: &StoredUsage) {
        let Some(call_id) = usage.ids.client_request_id.clone() else { return };
        let (caller, output_quality) = (usage.caller.id.clone(), usage.accounting.output_quality);
        let new = CallFate { caller, output_quality, events: 0 };
        self.fates.entry(call_id).or_insert(new).events += 1;
    }

    /// Holds what was computed and called exact against what the service would have reported.
    fn compare(&mut self, usage: &StoredUsage, fixtures: &Fixtures) {
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

    /// What became of the call with this id; `None` as long as its event has not come.
    pub(super) fn fate(&self, call_id: &str) -> Option<&CallFate> {
        self.fates.get(call_id)
    }

    /// The table: callers by name.
    pub(super) fn rows(&self) -> impl Iterator<Item = (&str, &CallerRow)> {
        self.rows.iter().map(|(caller, row)| (caller.as_str(), row))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use metering::caller::{Caller, Trust};
    use metering::usage::{CloudEvent, Control, Source};

    /// A usage event of a call for `library-hours`, computed.
    fn event(id: &str, output: Option<u64>, quality: Quality) -> Vec<u8> {
        let usage = serde_json::json!({
            "schema_version": "1.0",
            "caller": Caller::unattributed(Trust::None),
            "target": metering::usage::Target::default(),
            "request": metering::usage::Request::default(),
            "tokens": { "input": 16, "output": output },
            "accounting": metering::usage::Accounting {
                input_source: Source::Computed,
                output_source: Source::Computed,
                input_quality: Quality::Exact,
                output_quality: quality,
                ..Default::default()
            },
            "stream": metering::usage::Stream::default(),
            "timing": metering::usage::Timing::default(),
            "ids": { "response_id": "chatcmpl-library-hours-000001", "client_request_id": "a-call" },
            "reporter": metering::usage::Reporter::default(),
        });
        let event = CloudEvent::new(EventType::Usage, "//tokenweir/a", id.into(), None, "b", usage);
        serde_json::to_vec(&event).unwrap()
    }

    #[test]
    fn a_repeat_counts_once() {
        let fixtures = Fixtures::load().unwrap();
        let mut tally = TopicTally::default();
        for id in ["1", "2", "1", "1"] {
            tally.add(&event(id, Some(33), Quality::Exact), &fixtures);
        }
        assert_eq!((tally.delivered(), tally.counted(), tally.repeats), (2, 2, 2));
        let row = CallerRow { calls: 2, input: 32, output: 66, qualities: [2, 0, 0, 0] };
        assert_eq!(tally.rows().collect::<Vec<_>>(), [("unattributed", &row)]);
        assert_eq!((tally.computed, tally.wrong), (4, 0));
        assert_eq!(
            (tally.fate("a-call").unwrap().events, tally.fate("b-call")),
            (2, None),
            "two events say so"
        );
    }

    #[test]
    fn a_wrong_number_called_exact_is_found() {
        let fixtures = Fixtures::load().unwrap();
        let mut tally = TopicTally::default();
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
        let mut tally = TopicTally::default();
        tally.add(b"not an event", &fixtures);
        let control = CloudEvent::new(EventType::Control, "x", "1".into(), None, "b", Control::default());
        tally.add(&serde_json::to_vec(&control).unwrap(), &fixtures);
        tally.add(br#"{"type":"dev.tokenweir.usage.v1","id":"1"}"#, &fixtures);
        assert_eq!((tally.delivered(), tally.counted(), tally.unreadable), (0, 0, 2));
    }
}
