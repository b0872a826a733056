//! What must be true of the events, given what callers and service saw.
//!
//! - A call that began more than a commit before its sidecar died has exactly one event; a younger
//!   one has one or none. No event belongs to nobody. A commit takes 10 ms and the time that the writer
//!   ran or waited for a CPU, where that was watched.
//! - A whole call has its caller and its exact numbers. One that its caller left has no fewer words
//!   than that caller got and no more than were sent.
//! - A crashed call says no more than had been sent when the sidecar died, and no less than what had
//!   been sent a checkpoint and a commit before.
//! - Rows are numbered without a gap, and the control events agree with them.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use metering::usage::CloudEvent;
use serde_json::Value;

use super::mixed::{Call, DEPLOYMENT, Kind, PROMPT_TOKENS, Service, Told};
use super::support::check_completeness;
use super::waits::Waits;

/// Longer than a commit takes on a busy machine.
pub(crate) const COMMITTED: Duration = Duration::from_millis(500);

/// What a commit takes, with the time in which it gathers, while its thread neither runs nor waits for a CPU.
pub(crate) const STORED: Duration = Duration::from_millis(10);

/// The same of a call's end, which is gathered for 5 ms and counted before.
pub(crate) const SETTLED: Duration = Duration::from_millis(20);

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
    /// Those of its sidecar, which was killed.
    waits: Option<Arc<Waits>>,
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
    /// The oldest of them.
    pub(crate) lost_age: Duration,
    /// By how much each crashed stream's event was behind what had been sent.
    pub(crate) behind: Vec<Duration>,
    /// The same at most, without the time that threads waited for a CPU.
    pub(crate) behind_running: Duration,
}

impl Oracle {
    /// Adds the calls of one life of a sidecar.
    pub(crate) fn add(&mut self, calls: Vec<Call>, service: &Service, end: End) {
        self.add_watched(calls, service, end, None);
    }

    /// The same, of a sidecar that was killed and whose waits are known.
    pub(crate) fn add_watched(
        &mut self,
        calls: Vec<Call>,
        service: &Service,
        end: End,
        waits: Option<&Arc<Waits>>,
    ) {
        let known = |call: Call| Known { told: service.take(&call.id), call, end, waits: waits.cloned() };
        self.calls.extend(calls.into_iter().map(known));
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
        check_controls(&events, by_call.len() as u64);
        let mut found = Found::default();
        let mut sums: BTreeMap<&str, [u64; 4]> = BTreeMap::new();
        for known in &self.calls {
            let Some(event) = by_call.remove(known.call.id.as_str()) else {
                let began = known.began();
                let waits = known.waits.as_ref().map(|waits| (waits.of_writer(began), waits.for_disk(began)));
                assert!(
                    !known.is_promised(),
                    "no event after {:?}, in which the writer ran or waited for a CPU, and waited for the disk: {waits:?}: {known:?}",
                    known.age()
                );
                found.without_event += 1;
                found.lost_age = found.lost_age.max(known.age());
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
}

/// Every boot has its last control event, and all of them together speak of every event.
pub(crate) fn check_controls(events: &[CloudEvent<Value>], usage_events: u64) {
    let controls = events.iter().filter(|event| event.kind.as_str().contains("control"));
    let mut last: BTreeMap<&str, &Value> = BTreeMap::new();
    for control in controls.filter(|control| control.data["final"] == true) {
        let instance = control.data["instance"].as_str().unwrap();
        assert!(last.insert(instance, &control.data).is_none(), "{instance} ended twice");
    }
    let of = |name: &str| -> u64 { last.values().map(|control| control[name].as_u64().unwrap()).sum() };
    assert_eq!((of("accepted"), of("settled"), of("open"), of("summed")), (usage_events, usage_events, 0, 0));
    for event in events {
        let boot = super::support::boot_of(event);
        assert!(last.contains_key(boot.as_str()), "{boot} has no last control event");
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
            (End::Killed(before, _), Some(told)) => {
                let waits = self.waits.as_ref().map(|waits| STORED + waits.of_writer(told.arrived));
                told.arrived + waits.unwrap_or(COMMITTED) <= before
            }
            (End::Killed(..), None) => false,
        }
    }

    /// When its request was at the service; now, if it never was.
    fn began(&self) -> Instant {
        self.told.as_ref().map_or_else(Instant::now, |told| told.arrived)
    }

    /// How old it was when its sidecar was killed.
    fn age(&self) -> Duration {
        match self.end {
            End::Killed(before, _) => before.saturating_duration_since(self.began()),
            End::Stopped | End::BrokenOff(_) => Duration::ZERO,
        }
    }

    /// Its end must be in the event.
    fn has_settled(&self) -> bool {
        self.call.ended.is_some_and(|ended| match self.end {
            End::Killed(before, _) => {
                let waits = self.waits.as_ref().map(|waits| SETTLED + waits.of_all(ended));
                ended + waits.unwrap_or(COMMITTED) <= before
            }
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
                    self.behind(output.unwrap_or(0), &say, found);
                }
            }
            other => panic!("{other}: {}", say()),
        }
    }

    /// How long before the kill the first word was sent that the event does not have.
    fn behind(&self, output: u64, say: &impl Fn() -> String, found: &mut Found) {
        let Some(told) = &self.told else { return };
        let End::Killed(before, after) = self.end else {
            panic!("crashed, and nobody was killed: {}", say());
        };
        let sent = told.words.partition_point(|&sent| sent <= after) as u64;
        assert!(output <= sent, "more than the {sent} that were sent: {}", say());
        let Some(&missed) = told.words.get(usize::try_from(output).unwrap()) else { return };
        let behind = before.saturating_duration_since(missed);
        let waited = self.waits.as_ref().map_or(Duration::ZERO, |waits| waits.for_cpu(missed));
        found.behind.push(behind);
        found.behind_running = found.behind_running.max(behind.saturating_sub(waited));
    }
}
