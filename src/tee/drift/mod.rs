//! Whether the rules still hold: where the service reports, its number is held against ours.
//!
//! Rules are a pure function of the exchange, so a service that begins to bill otherwise makes them
//! wrong for everybody at once, and nothing in a single call tells. The calls for
//! which the service did report tell. Numbers of one [`NumberKind`] are right or wrong together; where the last
//! reported ones disagree (how many: see `window.rs`), computed ones are labelled for what they
//! are then worth.
//!
//! **A label is lowered, a number never changed**: the same exchange gives the same numbers on every
//! replica, and only here is it told that they are in doubt. Every computed number of a kind that
//! drifts carries the reason `rules_drifted`; `exact` becomes `estimated`. A lower bound stays one:
//! it is dominated by what was not seen, and the reason says that the floor itself is in doubt.
//!
//! **Evidence** are calls whose number of ours would have been labelled exact, and only the
//! responses that were seen whole. A number that was already in doubt says nothing when it is wrong, and
//! hidden reasoning or a cut make it wrong by their nature.
//!
//! A kind that was never reported keeps its labels: the rules were proven on recordings, and there is
//! no evidence against them. All this is memory of one process: it begins anew with each start, and
//! two replicas may label one kind differently for a while.

#[cfg(test)]
mod tests;
mod window;

use smol_str::SmolStr;
use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use window::DriftWindow;

use metering::meter::Checks;
use metering::usage::{Accounting, Api, Quality, Reason, RuleClass, Side, Source, Target};

/// Kinds that are watched one by one: a hundred deployments with five kinds each. Of a kind beyond
/// it only the class is known, all deployments together: better watched coarsely than not at all.
/// Only responses with reported usage make kinds, so no caller can fill the table with junk. A kind takes
/// some 400 bytes.
const KINDS_MAX: usize = 512;

/// Stands for every upstream, deployment and model beyond the bound.
const OTHER: &str = "other";

/// Numbers that are right or wrong together: of one deployment, made by the same rules.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct NumberKind {
    /// The upstream: two of them may have deployments of one name.
    pub resource: SmolStr,
    /// The deployment.
    pub deployment: SmolStr,
    /// The model that the response named.
    pub model: SmolStr,
    /// The API: each has rules of its own.
    pub api: Api,
    /// The side.
    pub side: Side,
    /// Which of these rules made the number.
    pub rules: RuleClass,
}

impl NumberKind {
    /// The kind of a number; `None` if the response did not say of which model it is.
    pub(super) fn of(target: &Target, side: Side, rules: RuleClass) -> Option<NumberKind> {
        Some(NumberKind {
            resource: target.resource.clone(),
            deployment: target.deployment.clone().unwrap_or_default(),
            model: target.model.clone()?,
            api: target.api,
            side,
            rules,
        })
    }

    /// API, side and rules: `chat_completions:output:call`.
    pub fn class(&self) -> String {
        format!("{}:{}:{}", self.api.as_str(), self.side.as_str(), self.rules.as_str())
    }

    fn beyond_the_bound(&self) -> NumberKind {
        let other = || SmolStr::new_static(OTHER);
        NumberKind { resource: other(), deployment: other(), model: other(), ..*self }
    }
}

/// The result of one comparison.
#[derive(Debug, PartialEq, Eq)]
pub struct Compared {
    /// The kind that it was counted for.
    pub kind: NumberKind,
    /// Reported minus computed tokens.
    pub residual: i64,
    /// The verdict, if it is another one since this call: the kind drifts, or no more.
    pub turned: Option<bool>,
    /// Of its last 200 calls, those that disagree.
    pub wrong_calls: usize,
}

/// Every kind and its last calls. One table for all threads: it is locked once for each number that
/// the service reports, for a look-up, and not at all to ask while no kind drifts.
#[derive(Debug, Default)]
pub(super) struct Drift {
    kinds: Mutex<HashMap<NumberKind, DriftWindow>>,
    /// Kinds that drift now.
    drifting: AtomicUsize,
}

impl Drift {
    /// The service's number less ours, for a call that is evidence.
    pub(super) fn compare(&self, kind: NumberKind, residual: i64) -> Compared {
        let mut kinds = self.lock();
        let full = kinds.len() >= KINDS_MAX && !kinds.contains_key(&kind);
        let kind = if full { kind.beyond_the_bound() } else { kind };
        let window = match kinds.get_mut(&kind) {
            Some(window) => window,
            None => kinds.entry(kind.clone()).or_default(),
        };
        let turned = window.push(residual != 0);
        match turned {
            Some(true) => drop(self.drifting.fetch_add(1, Ordering::Relaxed)),
            Some(false) => drop(self.drifting.fetch_sub(1, Ordering::Relaxed)),
            None => {}
        }
        Compared { kind, residual, turned, wrong_calls: window.wrong_calls() }
    }

    /// Some kind drifts.
    pub(super) fn any(&self) -> bool {
        self.drifting.load(Ordering::Relaxed) > 0
    }

    /// Lowers the labels of computed numbers whose kind drifts. The numbers are not within reach.
    pub(super) fn label(&self, accounting: &mut Accounting, checks: &Checks, target: &Target) {
        if !self.any() {
            return;
        }
        for (side, check) in checks.sides() {
            let (source, quality) = match side {
                Side::Input => (accounting.input_source, &mut accounting.input_quality),
                Side::Output => (accounting.output_source, &mut accounting.output_quality),
            };
            let kind = check.class.and_then(|rules| NumberKind::of(target, side, rules));
            if source == Source::Computed && kind.is_some_and(|kind| self.drifts(&kind)) {
                if *quality == Quality::Exact {
                    *quality = Quality::Estimated;
                }
                accounting.add_reason(side, Reason::RulesDrifted);
            }
        }
    }

    fn drifts(&self, kind: &NumberKind) -> bool {
        let kinds = self.lock();
        let window = kinds.get(kind).or_else(|| {
            let beyond = || kinds.get(&kind.beyond_the_bound());
            (kinds.len() >= KINDS_MAX).then(beyond).flatten()
        });
        window.is_some_and(DriftWindow::drifted)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<NumberKind, DriftWindow>> {
        self.kinds.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
