//! What must be true of the events, given what callers and service saw.
//!
//! - A call that began more than a commit before its sidecar died has exactly one event; a younger
//!   one has one or none. No event belongs to nobody.
//! - A whole call has its caller and its exact numbers. One that its caller left has no fewer words
//!   than that caller got and no more than were sent.
//! - A crashed call says no more than had been sent when the sidecar died, and no less than what had
//!   been sent a checkpoint and a commit before.
//! - Rows are numbered without a gap, and the control events agree with them.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};

use metering::usage::CloudEvent;
use serde_json::Value;

use super::mixed::{Call, DEPLOYMENT, Kind, PROMPT_TOKENS, Service, Told};
use super::support::check_completeness;

/// Longer than a commit takes on a busy machine.
pub(crate) const COMMITTED: Duration = Duration::from_millis(500);

/// How a sidecar's life ended.
#[derive(Clone, Copy, Debug)]
pub(crate) enum End {
    /// kill -9, between these moments.
    Killed(Instant, Instant),
    /// In order, with every call settled.
    Stopped,
    /// The same, and what did not end in time was broken off. It was told to at this moment.
    BrokenOff(Instant),
}

/// One call as everybody saw it.
struct Known {
    call: Call,
    /// `None`: its request never reached the service.
    told: Option<Told>,
    end: End,
}

/// Every call so far.
#[derive(Default)]
pub(crate) struct Oracle {
    calls: Vec<Known>,
}

/// What the events said.
#[derive(Debug, Default)]
pub(crate) struct Found {
    pub(crate) outcomes: BTreeMap<String, usize>,
    /// Calls so young that none of the ledger's promises covers them.
    pub(crate) without_event: usize,
    /// By how much each crashed stream's event was behind what had been sent.
    pub(crate) behind: Vec<Duration>,
}

impl Oracle {
    /// Adds the calls of one life of a sidecar.
    pub(crate) fn add(&mut self, calls: Vec<Call>, service: &Service, end: End) {
        let known = calls.into_iter().map(|call| Known { told: service.take(&call.id), call, end });
        self.calls.extend(known);
    }

    /// What the callers used, if every call was whole.
    pub(crate) fn totals(&self) -> Totals {
        let mut totals = Totals::new();
        for Known { call, .. } in &self.calls {
            let of = totals.entry(call.caller.clone()).or_default();
            let used = [1, PROMPT_TOKENS, call.kind.tokens()];
            of.iter_mut().zip(used).for_each(|(sum, used)| *sum += used);
        }
        totals
    }

    pub(crate) fn len(&self) -> usize {
        self.calls.len()
    }

    /// Holds every stored event against the truth.
    pub(crate) fn check(&self, lines: &[String]) -> Found {
        let events: Vec<CloudEvent<Value>> =
            lines.iter().map(|line| serde_json::from_str(line).unwrap()).collect();
        check_completeness(&events);
        let mut by_call: HashMap<&str, &CloudEvent<Value>> = HashMap::new();
        for event in events.iter().filter(|event| event.kind.as_str().contains("usage")) {
            let call = event.data["ids"]["client_request_id"].as_str().unwrap();
            assert!(by_call.insert(call, event).is_none(), "{call} has two events");
        }
        self.check_controls(&events, by_call.len() as u64);
        let mut found = Found::default();
        let mut sums: BTreeMap<&str, [u64; 4]> = BTreeMap::new();
        for known in &self.calls {
            let Some(event) = by_call.remove(known.call.id.as_str()) else {
                assert!(!known.is_promised(), "{} has no event: {known:?}", known.call.id);
                found.without_event += 1;
                continue;
            };
            known.check(&event.data, &mut found, sums.entry(&known.call.caller).or_default());
        }
        assert!(by_call.is_empty(), "events of calls that never were: {:?}", by_call.keys());
        for (caller, [told_input, input, told_output, output]) in sums {
            assert_eq!((told_input, told_output), (input, output), "whole calls of {caller}");
        }
        found.behind.sort_unstable();
        found
    }

    /// Every boot has its last control event, and all of them together speak of every event.
    fn check_controls(&self, events: &[CloudEvent<Value>], usage_events: u64) {
        let controls = events.iter().filter(|event| event.kind.as_str().contains("control"));
        let mut last: BTreeMap<&str, &Value> = BTreeMap::new();
        for control in controls.filter(|control| control.data["final"] == true) {
            let instance = control.data["instance"].as_str().unwrap();
            assert!(last.insert(instance, &control.data).is_none(), "{instance} ended twice");
        }
        let of = |name: &str| -> u64 { last.values().map(|control| control[name].as_u64().unwrap()).sum() };
        assert_eq!(
            (of("accepted"), of("settled"), of("open"), of("summed")),
            (usage_events, usage_events, 0, 0)
        );
        for event in events {
            let boot = super::support::boot_of(event);
            assert!(last.contains_key(boot.as_str()), "{boot} has no last control event");
        }
    }
}

/// Calls, prompt tokens and completion tokens.
pub(crate) type Totals = BTreeMap<String, [u64; 3]>;

/// What stored events say of each caller, one by one or summed, and how many calls are only in sums.
pub(crate) fn totals(lines: &[String]) -> (Totals, u64) {
    let events: Vec<CloudEvent<Value>> =
        lines.iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    check_completeness(&events);
    let (mut totals, mut summed) = (Totals::new(), 0);
    for event in events.iter().filter(|event| !event.kind.as_str().contains("control")) {
        let calls = event.data["calls"].as_u64();
        summed += calls.unwrap_or(0);
        let of = totals.entry(event.data["caller"]["id"].as_str().unwrap().to_owned()).or_default();
        of[0] += calls.unwrap_or(1);
        for (sum, name) in of[1..].iter_mut().zip(["input", "output"]) {
            *sum += event.data["tokens"][name].as_u64().unwrap_or(0);
        }
    }
    (totals, summed)
}

impl Found {
    pub(crate) fn count(&self, outcome: &str) -> usize {
        self.outcomes.get(outcome).copied().unwrap_or(0)
    }

    /// The time that so many of a hundred crashed streams were not behind.
    pub(crate) fn behind_percentile(&self, percent: usize) -> Duration {
        let last = self.behind.len().saturating_sub(1);
        self.behind.get(last * percent / 100).copied().unwrap_or_default()
    }
}

impl std::fmt::Debug for Known {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let sent = self.told.as_ref().map(|told| told.words.len());
        write!(f, "{:?}, sent {sent:?}, {:?}", self.call, self.end)
    }
}

impl Known {
    /// The call must have an event.
    fn is_promised(&self) -> bool {
        match (self.end, &self.told) {
            (End::Stopped | End::BrokenOff(_), _) => self.told.is_some() || self.call.ended.is_some(),
            (End::Killed(before, _), Some(told)) => told.arrived + COMMITTED <= before,
            (End::Killed(..), None) => false,
        }
    }

    /// Its end must be in the event.
    fn has_settled(&self) -> bool {
        self.call.ended.is_some_and(|ended| match self.end {
            End::Killed(before, _) => ended + COMMITTED <= before,
            End::Stopped | End::BrokenOff(_) => true,
        })
    }

    /// It had not ended when the process broke off what was left. A caller that hangs up about then may
    /// not have been seen to.
    fn may_be_broken_off(&self) -> bool {
        match (self.end, self.call.ended) {
            (End::Killed(..), _) => false,
            (_, None) => true,
            (End::Stopped, Some(_)) => false,
            (End::BrokenOff(told), Some(ended)) => self.call.kind == Kind::HangsUp && ended >= told,
        }
    }

    fn check(&self, data: &Value, found: &mut Found, sums: &mut [u64; 4]) {
        let Known { call, .. } = self;
        let say = || format!("{self:?}: {data}");
        assert_eq!(data["caller"]["id"], call.caller, "{}", say());
        let (input, output) = (data["tokens"]["input"].as_u64(), data["tokens"]["output"].as_u64());
        let sent = self.told.as_ref().map_or(0, |told| told.words.len() as u64);
        let outcome = data["stream"]["outcome"].as_str().unwrap();
        *found.outcomes.entry(outcome.to_owned()).or_default() += 1;
        let reported = data["accounting"]["output_source"] == "reported";
        if outcome != "crashed" || output.is_some() {
            assert_eq!(data["request"]["stream"], call.kind != Kind::Json, "{}", say());
            assert_eq!(data["target"]["deployment"], DEPLOYMENT, "{}", say());
        }
        match outcome {
            "complete" => {
                assert_eq!(reported, call.kind.reports(), "{}", say());
                assert_eq!((input, output), (Some(PROMPT_TOKENS), Some(call.kind.tokens())), "{}", say());
                let [told_input, input_sum, told_output, output_sum] = sums;
                *told_input += PROMPT_TOKENS;
                *told_output += call.kind.tokens();
                *input_sum += input.unwrap();
                *output_sum += output.unwrap();
            }
            "client_disconnect" => {
                assert_eq!(call.kind, Kind::HangsUp, "{}", say());
                assert_eq!(input, Some(PROMPT_TOKENS), "{}", say());
                assert!((call.words..=sent).contains(&output.unwrap()), "{}", say());
            }
            "shutdown" => {
                assert!(self.may_be_broken_off(), "{}", say());
                assert!(input.is_none_or(|input| input == PROMPT_TOKENS), "{}", say());
                assert!((call.words..=sent).contains(&output.unwrap_or(0)), "{}", say());
            }
            "crashed" => {
                assert!(!self.has_settled(), "it had ended before a commit: {}", say());
                assert!(input.is_none_or(|input| input == PROMPT_TOKENS), "{}", say());
                if reported {
                    assert_eq!(output, Some(call.kind.tokens()), "{}", say());
                } else {
                    found.behind.extend(self.behind(output.unwrap_or(0), &say));
                }
            }
            other => panic!("{other}: {}", say()),
        }
    }

    /// How long before the kill the first word was sent that the event does not have.
    fn behind(&self, output: u64, say: &impl Fn() -> String) -> Option<Duration> {
        let (told, End::Killed(before, after)) = (self.told.as_ref()?, self.end) else {
            panic!("crashed, and nobody was killed: {}", say());
        };
        let sent = told.words.partition_point(|&sent| sent <= after) as u64;
        assert!(output <= sent, "more than the {sent} that were sent: {}", say());
        let missed = told.words.get(usize::try_from(output).unwrap())?;
        Some(before.saturating_duration_since(*missed))
    }
}
