//! Putting each delta on its causes, in their order.
//!
//! Certain causes come off first: no meter counts the tokens of a provisioned deployment. A cause that
//! moves tokens (`Spillover`, `HourEdge`, `Batch`, `Deferred`) takes from one line what it gives to another, so it cannot
//! hide traffic that is nowhere else. A cause that makes numbers inexact takes no more than the calls that have it could
//! hold. Where Azure says how many calls it answered, that decides between the two.

use std::collections::{BTreeMap, BTreeSet};

use strum::VariantArray;

use super::billed::Billed;
use super::cause::Cause;
use super::flow::Flow;
use super::line_key::{LineKey, Subject};
use super::quantity::Quantity;
use super::tracked::{Tracked, TrackedLine};

/// How many days before its bill work may have been done: a batch may wait for a day, a response is kept for thirty.
const WORK_DAYS_MAX: i32 = 30;

/// The causes for which a number may be another one to Azure: in order where it has more, the last first where it has
/// less. A stream that was cut is longer than what we saw, and a call that failed is what Azure leaves out.
const INEXACT: [Cause; 4] = [Cause::CutStreams, Cause::UnknownCalls, Cause::Estimates, Cause::Failures];

/// The part of a delta that each cause explains: Azure has so much more, or less where it is negative.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Explained([Quantity; Cause::VARIANTS.len()]);

impl Explained {
    /// Returns what a cause explains.
    pub fn of(&self, cause: Cause) -> Quantity {
        self.0.get(cause as usize).copied().unwrap_or_default()
    }

    /// All causes that explain something, in order.
    pub fn all(&self) -> impl Iterator<Item = (Cause, Quantity)> {
        Cause::VARIANTS
            .iter()
            .map(|cause| (*cause, self.of(*cause)))
            .filter(|(_, part)| *part != Quantity::ZERO)
    }

    /// Adds up what is open, whatever its sign.
    pub fn open(&self) -> Quantity {
        self.all().filter(|(cause, _)| cause.is_open()).map(|(_, part)| part.abs()).sum()
    }

    pub(super) fn add(&mut self, cause: Cause, part: Quantity) {
        if let Some(sum) = self.0.get_mut(cause as usize) {
            *sum += part;
        }
    }
}

/// A line whose delta is being explained.
#[derive(Clone, Debug, Default)]
pub(super) struct OpenLine {
    pub(super) tracked: Quantity,
    pub(super) billed: Quantity,
    pub(super) explained: Explained,
    /// The rest of the delta.
    rest: Quantity,
}

impl OpenLine {
    /// Azure has more than is explained: up to so much goes to a cause.
    fn more(&mut self, cause: Cause, most: Quantity) -> Quantity {
        let part = most.min(self.rest).max(Quantity::ZERO);
        self.explain(cause, part);
        part
    }

    /// Azure has less than is explained: up to so much goes to a cause.
    fn less(&mut self, cause: Cause, most: Quantity) -> Quantity {
        let part = most.min(-self.rest).max(Quantity::ZERO);
        self.explain(cause, -part);
        part
    }

    fn explain(&mut self, cause: Cause, part: Quantity) {
        self.explained.add(cause, part);
        self.rest -= part;
    }
}

/// Every line with its delta, all of it explained.
pub(super) fn attribute(billed: &Billed, tracked: &Tracked) -> BTreeMap<LineKey, OpenLine> {
    let mut lines = OpenLines::new(billed, tracked);
    lines.moves(tracked, Cause::Spillover);
    lines.moves(tracked, Cause::HourEdge);
    lines.later_bills(tracked, Cause::Batch, |line| line.batch);
    lines.later_bills(tracked, Cause::Deferred, |line| line.deferred);
    let nothing = TrackedLine::default();
    for (key, line) in &mut lines.open {
        let own = tracked.lines.get(key).unwrap_or(&nothing);
        line.more(Cause::Batch, billed.batch(key) - own.batch);
        inexact(line, own, tracked.mean(&key.subject), RequestCounts::of(key, billed, tracked));
    }
    lines.spilled_elsewhere(tracked);
    for (key, line) in &mut lines.open {
        let own = tracked.lines.get(key).unwrap_or(&nothing);
        remainder(line, own, RequestCounts::of(key, billed, tracked));
    }
    lines.open
}

/// All lines.
struct OpenLines {
    open: BTreeMap<LineKey, OpenLine>,
    /// What Azure's files have.
    billed: BTreeSet<Subject>,
    /// Subjects with calls of ours that are no batches.
    own: BTreeSet<Subject>,
}

impl OpenLines {
    fn new(billed: &Billed, tracked: &Tracked) -> OpenLines {
        let mut open: BTreeMap<LineKey, OpenLine> = BTreeMap::new();
        let mut subjects = BTreeSet::new();
        for (key, quantity) in billed.lines() {
            subjects.insert(key.subject.clone());
            open.entry(key.clone()).or_default().billed = quantity;
        }
        for (key, line) in &tracked.lines {
            open.entry(key.clone()).or_default().tracked = line.tokens;
        }
        open.values_mut().for_each(|line| line.rest = line.billed - line.tracked);
        for (key, own) in tracked.lines.iter().filter(|(_, own)| own.provisioned.is_positive()) {
            if let Some(line) = open.get_mut(key) {
                line.explain(Cause::Provisioned, -own.provisioned);
            }
        }
        OpenLines { open, billed: subjects, own: tracked.own_subjects() }
    }

    fn rest(&self, key: &LineKey) -> Quantity {
        self.open.get(key).map_or(Quantity::ZERO, |line| line.rest)
    }

    /// Tokens that Azure may have on another line, or outside of its files.
    fn moves(&mut self, tracked: &Tracked, cause: Cause) {
        let mut flow = Flow::new();
        let rest = |key: &LineKey| self.rest(key);
        for ((_, from, to), tokens) in tracked.moves.iter().filter(|((of, ..), _)| *of == cause) {
            if self.billed.contains(&to.subject) {
                flow.add(Some(from), Some(to), *tokens, rest);
            }
        }
        for (key, own) in tracked.lines.iter().filter(|_| cause == Cause::HourEdge) {
            flow.add(Some(key), None, own.edge_out, rest);
            flow.add(None, Some(key), own.edge_in, rest);
        }
        for (key, part) in flow.settle() {
            if let Some(line) = self.open.get_mut(&key) {
                line.explain(cause, part);
            }
        }
    }

    /// Calls that spilled over to a deployment that Azure's files do not have. Failed and cut calls
    /// explain a line before this, which nothing on another line bears out.
    fn spilled_elsewhere(&mut self, tracked: &Tracked) {
        for ((_, from, to), tokens) in tracked.moves.iter().filter(|((of, ..), _)| *of == Cause::Spillover) {
            if !self.billed.contains(&to.subject)
                && let Some(line) = self.open.get_mut(from)
            {
                line.less(Cause::Spillover, *tokens);
            }
        }
    }

    /// Bills that came by after the work was done: Azure has it earlier, or, of a batch, on a deployment of its own.
    fn later_bills(&mut self, tracked: &Tracked, cause: Cause, part: fn(&TrackedLine) -> Quantity) {
        for (key, own) in tracked.lines.iter().filter(|(_, own)| part(own).is_positive()) {
            let mut left = part(own).min(-self.rest(key)).max(Quantity::ZERO);
            for earlier in self.places(key, cause) {
                if !left.is_positive() {
                    break;
                }
                let part = self.open.get_mut(&earlier).map_or(Quantity::ZERO, |line| line.more(cause, left));
                if let Some(line) = self.open.get_mut(key) {
                    line.less(cause, part);
                }
                left -= part;
            }
            // Azure has it before the first day, or does not count such work.
            if let Some(line) = self.open.get_mut(key) {
                line.less(cause, left);
            }
        }
    }

    /// Where Azure may have the work of a bill, the latest day first.
    fn places(&self, bill: &LineKey, cause: Cause) -> Vec<LineKey> {
        let is_place = |key: &&LineKey| {
            let days = bill.day.since(key.day).map_or(-1, |since| since.get_days());
            let subject = &key.subject;
            let is_same = subject.of(bill.subject.scope.clone()) == bill.subject;
            let is_free =
                !self.own.contains(subject) && (cause == Cause::Batch || bill.subject.scope.is_empty());
            (0..=WORK_DAYS_MAX).contains(&days)
                && *key != bill
                && is_same
                && (subject.scope == bill.subject.scope || is_free)
        };
        let mut places: Vec<LineKey> = self.open.keys().filter(is_place).cloned().collect();
        places.sort_by(|a, b| b.day.cmp(&a.day).then_with(|| a.cmp(b)));
        places
    }
}

/// How many calls were answered.
#[derive(Clone, Copy, Debug)]
struct RequestCounts {
    billed: Quantity,
    tracked: Quantity,
}

impl RequestCounts {
    fn of(key: &LineKey, billed: &Billed, tracked: &Tracked) -> Option<RequestCounts> {
        Some(RequestCounts { billed: billed.requests(key)?, tracked: tracked.requests(key) })
    }

    /// Returns what the calls that only Azure saw have, if they are like all others.
    fn bypass(self, line: &OpenLine) -> Quantity {
        let extra = (self.billed - self.tracked).max(Quantity::ZERO);
        line.billed.share(extra, self.billed)
    }
}

/// Explains what follows from how well our numbers are known.
fn inexact(line: &mut OpenLine, own: &TrackedLine, mean: Quantity, requests: Option<RequestCounts>) {
    if let Some(requests) = requests {
        line.more(Cause::Bypass, requests.bypass(line));
    }
    line.more(Cause::Deferred, own.more(Cause::Deferred, mean));
    for cause in INEXACT {
        line.more(cause, own.more(cause, mean));
    }
    for cause in INEXACT.into_iter().rev() {
        line.less(cause, own.less(cause));
    }
}

/// Puts what no cause explains so far on causes by how many calls Azure saw.
fn remainder(line: &mut OpenLine, own: &TrackedLine, requests: Option<RequestCounts>) {
    // Azure saw no call that we did not see: what is left is in those whose number may be larger.
    let is_same = requests.is_some_and(|requests| requests.billed <= requests.tracked);
    let is_less = requests.is_some_and(|requests| requests.billed < requests.tracked);
    if is_same && let Some(cause) = INEXACT.into_iter().find(|cause| own.is_open(*cause)) {
        line.more(cause, line.rest);
    }
    let (more, less) = match requests {
        None => (Cause::Bypass, Cause::OverCount),
        Some(_) if is_less => (Cause::Unexplained, Cause::OverCount),
        Some(_) if is_same => (Cause::Unexplained, Cause::Unexplained),
        Some(_) => (Cause::Bypass, Cause::Unexplained),
    };
    line.more(more, line.rest);
    line.less(less, -line.rest);
}
