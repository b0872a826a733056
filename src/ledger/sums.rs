//! Calls that could not be stored one by one: totals per payer, so that no token is lost when the
//! ledger has no place for a call.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};

use jiff::Timestamp;
use smol_str::SmolStr;
use uuid::Uuid;

use super::bill::DeferredNote;
use metering::caller::Caller;
use metering::usage::{Accounting, Api, Quality, Reporter, SCHEMA_VERSION, Settled, Source, Summary};
use metering::usage::{SummaryPeriod, Target, Tokens, ToolTokens, Units};

/// Work of summed calls that is remembered until the sums are stored, 1 MiB of it, and 3 MiB where each call has all
/// tags at their longest. Beyond it the bill of the oldest is charged to whoever sees it first.
const NOTES_MAX: usize = 1_024;

/// `caller.id` of the calls beyond the bound on keys.
const OTHER: &str = "other";

/// Distinct sums of [`OTHER`], over all hours; calls beyond it join one of another hour. An hour has a handful, so
/// this is a failure of days.
const OTHERS_MAX: usize = 1_024;

/// Tools and models whose tokens one sum holds, as many as one call; what is beyond is added up under [`OTHER`].
const TOOLS_MAX: usize = 8;

/// Seconds of an hour.
const HOUR_SECONDS: i64 = 3_600;

/// Calls are added up that have this in common: who pays, for what and at which price, how it is known, and the UTC
/// hour, so that each is billed in its own month. The caller map gives a payer another department now and then.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct SumKey {
    /// Hours since 1970.
    hour: i64,
    caller: SmolStr,
    department: Option<SmolStr>,
    cost_center: Option<SmolStr>,
    /// `None`: beyond the bound.
    target: Option<SumTarget>,
    sources: (Source, Source),
    qualities: (Quality, Quality),
}

/// The members of a target that make the price. But for tier, speed and place they follow from the deployment.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct SumTarget {
    api: Api,
    provider: SmolStr,
    resource: SmolStr,
    region: Option<SmolStr>,
    deployment: Option<SmolStr>,
    model: Option<SmolStr>,
    service_tier: Option<SmolStr>,
    speed: Option<SmolStr>,
    inference_geo: Option<SmolStr>,
}

/// One future `summary.v1` event.
#[derive(Clone, Debug)]
pub(super) struct Sum {
    /// The event's id, made once.
    pub(super) id: Uuid,
    key: SumKey,
    caller: Caller,
    /// The rules that computed, of the first call.
    rules: SmolStr,
    pub(super) calls: u64,
    pub(super) tokens: Tokens,
    tools: Vec<ToolTokens>,
    pub(super) units: Units,
    from: Timestamp,
    to: Timestamp,
}

/// All sums.
#[derive(Debug)]
pub(super) struct Sums {
    by_key: HashMap<SumKey, Sum>,
    keys_max: usize,
    /// Work that summed calls have begun or billed, the oldest first.
    notes: VecDeque<DeferredNote>,
}

impl Sums {
    /// No sums, and never more than `keys_max` distinct ones, and some of [`OTHER`].
    pub(super) fn new(keys_max: usize) -> Sums {
        Sums { by_key: HashMap::new(), keys_max, notes: VecDeque::new() }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.by_key.is_empty()
    }

    /// Adds one finished call.
    pub(super) fn add(&mut self, settled: &Settled) {
        let key = self.place(SumKey::of(settled));
        let sum = self.by_key.entry(key).or_insert_with_key(|key| Sum::empty(key, settled));
        sum.count(1, &settled.usage.tokens, &settled.usage.tools, &settled.usage.units);
        sum.reach(settled.time, settled.time);
    }

    /// Remembers work that a summed call has begun.
    pub(super) fn note(&mut self, note: DeferredNote) {
        self.notes.push_back(note);
        while self.notes.len() > NOTES_MAX.min(self.keys_max) {
            self.notes.pop_front();
        }
    }

    pub(super) fn take_notes(&mut self) -> Vec<DeferredNote> {
        std::mem::take(&mut self.notes).into()
    }

    /// Takes back what could not be stored: it is older than what has come since.
    pub(super) fn put_back_notes(&mut self, notes: Vec<DeferredNote>) {
        let newer = std::mem::replace(&mut self.notes, notes.into());
        newer.into_iter().for_each(|note| self.note(note));
    }

    /// Takes every sum; the next call begins new ones.
    pub(super) fn take(&mut self) -> Vec<Sum> {
        std::mem::take(&mut self.by_key).into_values().collect()
    }

    /// Calls in all sums.
    pub(super) fn calls(&self) -> u64 {
        self.by_key.values().map(|sum| sum.calls).sum()
    }

    /// Takes back what could not be stored.
    pub(super) fn put_back(&mut self, sums: Vec<Sum>) {
        for mut back in sums {
            let key = self.place(back.key.clone());
            if key != back.key {
                back = Sum { caller: key.caller(&back.caller), key: key.clone(), ..back };
            }
            match self.by_key.entry(key) {
                Entry::Vacant(free) => drop(free.insert(back)),
                Entry::Occupied(mut taken) => taken.get_mut().join(&back),
            }
        }
    }

    /// The key that calls of a key are added to: its own while there is room for one.
    fn place(&self, key: SumKey) -> SumKey {
        if self.by_key.len() < self.keys_max || self.by_key.contains_key(&key) {
            return key;
        }
        let caller = SmolStr::new_static(OTHER);
        let other = SumKey { caller, department: None, cost_center: None, target: None, ..key };
        if self.by_key.len() < self.keys_max + OTHERS_MAX || self.by_key.contains_key(&other) {
            return other;
        }
        let known_alike = |known: &&SumKey| SumKey { hour: other.hour, ..(*known).clone() } == other;
        let alike = self.by_key.keys().find(known_alike).cloned();
        alike.unwrap_or(other)
    }
}

impl SumKey {
    fn of(settled: &Settled) -> SumKey {
        let usage = &settled.usage;
        let accounting = &usage.accounting;
        SumKey {
            hour: settled.time.as_second().div_euclid(HOUR_SECONDS),
            caller: usage.caller.id.clone(),
            department: usage.caller.department.clone(),
            cost_center: usage.caller.cost_center.clone(),
            target: Some(SumTarget::of(&usage.target)),
            sources: (accounting.input_source, accounting.output_source),
            qualities: (accounting.input_quality, accounting.output_quality),
        }
    }

    /// When the hour began.
    fn hour(&self) -> String {
        let hour = Timestamp::from_second(self.hour.saturating_mul(HOUR_SECONDS)).unwrap_or_default();
        hour.to_string()
    }

    /// The payer, of whom nothing is known but what all calls of this key share.
    fn caller(&self, first: &Caller) -> Caller {
        let mut caller = Caller::unattributed(first.trust);
        if self.caller != OTHER {
            caller.id_source = first.id_source;
        }
        caller.id.clone_from(&self.caller);
        caller.department.clone_from(&self.department);
        caller.cost_center.clone_from(&self.cost_center);
        caller
    }
}

impl SumTarget {
    fn of(target: &Target) -> SumTarget {
        SumTarget {
            api: target.api,
            provider: target.provider.clone(),
            resource: target.resource.clone(),
            region: target.region.clone(),
            deployment: target.deployment.clone(),
            model: target.model.clone(),
            service_tier: target.service_tier.clone(),
            speed: target.speed.clone(),
            inference_geo: target.inference_geo.clone(),
        }
    }

    fn target(self) -> Target {
        Target {
            api: self.api,
            provider: self.provider,
            resource: self.resource,
            region: self.region,
            deployment: self.deployment,
            model: self.model,
            service_tier: self.service_tier,
            speed: self.speed,
            inference_geo: self.inference_geo,
            ..Target::default()
        }
    }
}

impl Sum {
    fn empty(key: &SumKey, first: &Settled) -> Sum {
        Sum {
            id: Uuid::now_v7(),
            key: key.clone(),
            caller: key.caller(&first.usage.caller),
            rules: first.usage.accounting.rules.clone(),
            calls: 0,
            tokens: Tokens { input: Some(0), output: Some(0), ..Tokens::default() },
            tools: Vec::new(),
            units: Units::default(),
            from: first.time,
            to: first.time,
        }
    }

    /// Adds the calls of another sum of the same key.
    fn join(&mut self, other: &Sum) {
        self.count(other.calls, &other.tokens, &other.tools, &other.units);
        self.reach(other.from, other.to);
    }

    fn count(&mut self, calls: u64, tokens: &Tokens, tools: &[ToolTokens], units: &Units) {
        self.calls += calls;
        self.tokens.add(tokens);
        tools.iter().for_each(|tool| self.count_tool(tool));
        self.units.add(units);
    }

    fn count_tool(&mut self, more: &ToolTokens) {
        let same = |sum: &ToolTokens| (&sum.tool, &sum.model) == (&more.tool, &more.model);
        let is_rest = |sum: &ToolTokens| sum.tool == OTHER && sum.model.is_none();
        let at = self.tools.iter().position(same).or_else(|| {
            let full = self.tools.len() >= TOOLS_MAX - 1;
            if full { self.tools.iter().position(is_rest) } else { None }
        });
        if let Some(at) = at {
            return self.tools[at].add_call(more);
        }
        let full = self.tools.len() >= TOOLS_MAX - 1;
        let rest = || ToolTokens { tool: SmolStr::new_static(OTHER), model: None, ..more.clone() };
        self.tools.push(if full { rest() } else { more.clone() });
    }

    fn reach(&mut self, from: Timestamp, to: Timestamp) {
        self.from = self.from.min(from);
        self.to = self.to.max(to);
    }

    /// The event's data.
    pub(super) fn summary(&self, boot: Uuid) -> Summary {
        let accounting = Accounting {
            input_source: self.key.sources.0,
            output_source: self.key.sources.1,
            input_quality: self.key.qualities.0,
            output_quality: self.key.qualities.1,
            rules: self.rules.clone(),
            ..Accounting::default()
        };
        Summary {
            schema_version: SCHEMA_VERSION.to_owned(),
            caller: self.caller.clone(),
            target: self.key.target.clone().map(SumTarget::target).unwrap_or_default(),
            calls: self.calls,
            tokens: self.tokens.clone(),
            tools: self.tools.clone(),
            units: self.units,
            accounting,
            period: SummaryPeriod {
                hour: Some(self.key.hour()),
                from: format!("{:.3}", self.from),
                to: format!("{:.3}", self.to),
            },
            reporter: Reporter {
                instance: boot.to_string().into(),
                version: SmolStr::new_static(env!("CARGO_PKG_VERSION")),
            },
        }
    }

    /// The payer, who is the event's subject and key.
    pub(super) fn payer(&self) -> &str {
        &self.caller.id
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use metering::caller::Trust;
    use metering::usage::Usage;
    use proptest::prelude::*;

    use super::*;

    fn settled(caller: usize, tier: Option<&str>, time: &str, tokens: u64) -> Settled {
        let mut who = Caller::unattributed(Trust::None);
        who.id = format!("caller-{caller}").into();
        let target = Target { service_tier: tier.map(SmolStr::from), ..Target::default() };
        let mut usage = Usage::draft(who, target);
        usage.tokens = Tokens {
            input: Some(tokens),
            input_cached: tokens.is_multiple_of(2).then_some(tokens / 2),
            ..Tokens::default()
        };
        let tool = format!("tool-{}", tokens % 11).into();
        usage.tools = vec![ToolTokens { tool, input: Some(tokens), ..ToolTokens::default() }];
        Settled { id: Uuid::nil(), time: time.parse().unwrap(), usage }
    }

    fn summaries(sums: &mut Sums) -> Vec<Summary> {
        sums.take().iter().map(|sum| sum.summary(Uuid::nil())).collect()
    }

    /// An outage over midnight of the last day of a month is billed in both months.
    #[test]
    fn each_hour_has_a_sum_of_its_own_and_an_event_that_lies_within_it() {
        let mut sums = Sums::new(100);
        for time in ["2026-11-30T23:59:59.9999Z", "2026-11-30T23:00:00Z", "2026-12-01T00:00:00Z"] {
            sums.add(&settled(1, None, time, 10));
            sums.add(&settled(1, Some("flex"), time, 10));
        }
        let mut found: Vec<_> = summaries(&mut sums)
            .into_iter()
            .map(|sum| {
                let SummaryPeriod { hour, from, to } = sum.period;
                let hour = hour.unwrap();
                let begin: Timestamp = hour.parse().unwrap();
                for time in [&from, &to] {
                    let time: Timestamp = time.parse().unwrap();
                    assert!(
                        (0..HOUR_SECONDS).contains(&(time.as_second() - begin.as_second())),
                        "{time} {hour}"
                    );
                }
                (hour, sum.target.service_tier, sum.calls, sum.tokens.input, sum.tokens.input_cached)
            })
            .collect();
        found.sort();
        let (old, new) = ("2026-11-30T23:00:00Z".to_owned(), "2026-12-01T00:00:00Z".to_owned());
        let flex = Some("flex".into());
        assert_eq!(
            found,
            [
                (old.clone(), None, 2, Some(20), Some(10)),
                (old, flex.clone(), 2, Some(20), Some(10)),
                (new.clone(), None, 1, Some(10), Some(5)),
                (new, flex, 1, Some(10), Some(5)),
            ]
        );
    }

    /// Calls, tokens and tokens of tools.
    fn totals(summaries: &[Summary]) -> (u64, u64, u64) {
        let tools = summaries.iter().flat_map(|sum| &sum.tools);
        (
            summaries.iter().map(|sum| sum.calls).sum(),
            summaries.iter().filter_map(|sum| sum.tokens.input).sum(),
            tools.filter_map(|tool| tool.input).sum(),
        )
    }

    proptest! {
        #[test]
        fn no_call_is_lost_or_counted_twice_whatever_is_put_back_and_however_little_room_there_is(
            calls in prop::collection::vec((0..6_usize, 0..3_usize, 0..4_usize, 1..100_u64), 1..60),
            back in prop::collection::vec(any::<bool>(), 60), keys_max in 1..8_usize,
        ) {
            let mut sums = Sums::new(keys_max);
            let (mut number, mut tokens, mut hours) = (0, 0, BTreeMap::new());
            for ((caller, tier, hour, more), put_back) in calls.into_iter().zip(back) {
                let time = format!("2026-11-22T{hour:02}:30:00Z");
                let call = settled(caller, [None, Some("flex"), Some("priority")][tier], &time, more);
                sums.add(&call);
                (number, tokens) = (number + 1, tokens + more);
                *hours.entry(format!("2026-11-22T{hour:02}:00:00Z")).or_insert(0) += more;
                if put_back {
                    let taken = sums.take();
                    sums.add(&call);
                    (number, tokens) = (number + 1, tokens + more);
                    *hours.entry(format!("2026-11-22T{hour:02}:00:00Z")).or_insert(0) += more;
                    sums.put_back(taken);
                }
                prop_assert!(sums.by_key.len() <= keys_max + 4, "one of the others an hour");
            }
            let found = summaries(&mut sums);
            prop_assert_eq!(totals(&found), (number, tokens, tokens));
            prop_assert!(found.iter().all(|sum| sum.tools.len() <= TOOLS_MAX));
            for sum in found {
                *hours.get_mut(&sum.period.hour.unwrap()).unwrap() -= sum.tokens.input.unwrap();
            }
            prop_assert!(hours.values().all(|rest| *rest == 0), "{:?}", hours);
        }
    }

    #[test]
    fn an_outage_of_months_takes_a_bounded_number_of_sums() {
        let mut sums = Sums::new(2);
        for hour in 0..3 * OTHERS_MAX as i64 {
            let time = Timestamp::from_second(1_800_000_000 + hour * HOUR_SECONDS).unwrap().to_string();
            sums.add(&settled(1, None, &time, 1));
        }
        assert_eq!(sums.by_key.len(), 2 + OTHERS_MAX);
        assert_eq!(
            totals(&summaries(&mut sums)),
            (3 * OTHERS_MAX as u64, 3 * OTHERS_MAX as u64, 3 * OTHERS_MAX as u64)
        );
    }
}
