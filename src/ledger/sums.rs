//! Calls that could not be stored one by one: totals per payer, so that no token is lost when the
//! ledger has no place for a call.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};

use jiff::Timestamp;
use smol_str::SmolStr;
use uuid::Uuid;

use super::bill::DeferredNote;
use metering::caller::Caller;
use metering::usage::{Accounting, Quality, Reporter, SCHEMA_VERSION, Settled, Source, Summary};
use metering::usage::{SummaryPeriod, Target, TokenTotals, Units};

/// Work of summed calls that is remembered until the sums are stored, 1 MiB of it, and 3 MiB where each call has all
/// tags at their longest. Beyond it the bill of the oldest is charged to whoever sees it first.
const NOTES_MAX: usize = 1_024;

/// `caller.id` of the calls beyond the bound on keys.
const OTHER: &str = "other";

/// Calls are added up that have this in common: who pays, for what, and how it is known. The caller map gives a
/// payer another department now and then.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct SumKey {
    caller: SmolStr,
    department: Option<SmolStr>,
    cost_center: Option<SmolStr>,
    deployment: Option<SmolStr>,
    model: Option<SmolStr>,
    sources: (Source, Source),
    qualities: (Quality, Quality),
}

/// One future `summary.v1` event.
#[derive(Clone, Debug)]
pub(super) struct Sum {
    /// The event's id, made once.
    pub(super) id: Uuid,
    key: SumKey,
    caller: Caller,
    target: Target,
    accounting: Accounting,
    pub(super) calls: u64,
    pub(super) tokens: TokenTotals,
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
    /// No sums, and never more than `keys_max` distinct ones, and a few of [`OTHER`].
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
        sum.calls += 1;
        sum.tokens.add(settled.usage.tokens.totals());
        sum.units.add(&settled.usage.units);
        sum.from = sum.from.min(settled.time);
        sum.to = sum.to.max(settled.time);
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
                (back.target.deployment, back.target.model) = (None, None);
            }
            match self.by_key.entry(key) {
                Entry::Vacant(free) => drop(free.insert(back)),
                Entry::Occupied(mut taken) => taken.get_mut().join(&back),
            }
        }
    }

    /// The key that calls of a key are added to: its own while there is room for one.
    fn place(&self, key: SumKey) -> SumKey {
        if self.by_key.len() >= self.keys_max && !self.by_key.contains_key(&key) {
            let caller = SmolStr::new_static(OTHER);
            SumKey { caller, department: None, cost_center: None, deployment: None, model: None, ..key }
        } else {
            key
        }
    }
}

impl SumKey {
    fn of(settled: &Settled) -> SumKey {
        let usage = &settled.usage;
        let accounting = &usage.accounting;
        SumKey {
            caller: usage.caller.id.clone(),
            department: usage.caller.department.clone(),
            cost_center: usage.caller.cost_center.clone(),
            deployment: usage.target.deployment.clone(),
            model: usage.target.model.clone(),
            sources: (accounting.input_source, accounting.output_source),
            qualities: (accounting.input_quality, accounting.output_quality),
        }
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

impl Sum {
    fn empty(key: &SumKey, first: &Settled) -> Sum {
        let usage = &first.usage;
        let caller = key.caller(&usage.caller);
        let target = Target {
            provider: usage.target.provider.clone(),
            api: usage.target.api,
            resource: usage.target.resource.clone(),
            deployment: key.deployment.clone(),
            model: key.model.clone(),
            ..Target::default()
        };
        let accounting = Accounting {
            input_source: key.sources.0,
            output_source: key.sources.1,
            input_quality: key.qualities.0,
            output_quality: key.qualities.1,
            rules: usage.accounting.rules.clone(),
            ..Accounting::default()
        };
        let (calls, tokens, units) = (0, TokenTotals::default(), Units::default());
        let (id, key, from, to) = (Uuid::now_v7(), key.clone(), first.time, first.time);
        Sum { id, key, caller, target, accounting, calls, tokens, units, from, to }
    }

    /// Adds the calls of another sum of the same key.
    fn join(&mut self, other: &Sum) {
        self.calls += other.calls;
        self.tokens.add(other.tokens);
        self.units.add(&other.units);
        self.from = self.from.min(other.from);
        self.to = self.to.max(other.to);
    }

    /// The event's data.
    pub(super) fn summary(&self, boot: Uuid) -> Summary {
        Summary {
            schema_version: SCHEMA_VERSION.to_owned(),
            caller: self.caller.clone(),
            target: self.target.clone(),
            calls: self.calls,
            tokens: self.tokens,
            units: self.units,
            accounting: self.accounting.clone(),
            period: SummaryPeriod { from: format!("{:.3}", self.from), to: format!("{:.3}", self.to) },
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
