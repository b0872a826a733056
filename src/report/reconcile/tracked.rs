//! Our side: what the events say by line, and how far each number could be wrong, and why.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use jiff::civil::Date;
use jiff::{SignedDuration, Timestamp};
use metering::usage::{Outcome, Quality};
use smol_str::SmolStr;

use super::billed::{Billed, BilledDeployment};
use super::cause::Cause;
use super::coverage::Coverage;
use super::line_key::{Basis, LineKey, Subject};
use super::measure::{Measure, OwnNumber};
use super::quantity::Quantity;
use super::resource_names::ResourceNames;
use crate::report::pricing::{PriceClass, billed_parts};
use crate::report::usage_event::UsageEvent;

/// How far from midnight a call may end, or have begun, and be on the other day for Azure: clocks, and the minute that a
/// metric is made in. In five minutes an even day has 0.35 % of its traffic, less than the default tolerance.
const EDGE: SignedDuration = SignedDuration::from_mins(5);

/// The lowest status of a failure.
const STATUS_FAILED: u16 = 400;

/// Our side: all that our events hold.
#[derive(Debug, Default)]
pub(super) struct Tracked {
    pub(super) lines: BTreeMap<LineKey, TrackedLine>,
    /// Tokens that Azure may have on another line, by cause.
    pub(super) moves: BTreeMap<(Cause, LineKey, LineKey), Quantity>,
    /// Calls that the service answered.
    requests: HashMap<BilledDeployment, BTreeMap<Date, u64>>,
    /// Exact numbers by line, over all days.
    means: HashMap<Subject, Mean>,
    /// Resources and deployments that Azure's files do not have: their calls.
    pub(super) not_covered: BTreeMap<SmolStr, u64>,
}

/// Our side of one line.
#[derive(Clone, Debug, Default)]
pub(super) struct TrackedLine {
    pub(super) tokens: Quantity,
    /// The part that is not exact, and why.
    inexact: BTreeMap<Cause, Inexact>,
    /// Tokens of batches.
    pub(super) batch: Quantity,
    /// Tokens of other bills that came by later.
    pub(super) deferred: Quantity,
    /// Work that was announced: its bill is on a later day, or on none.
    announced: u64,
    /// Tokens of provisioned deployments.
    pub(super) provisioned: Quantity,
    /// Tokens at an edge of what Azure's files cover: ours within and perhaps outside to Azure, and the other way round.
    pub(super) edge_out: Quantity,
    pub(super) edge_in: Quantity,
}

/// Numbers that are not exact for one reason.
#[derive(Clone, Copy, Debug, Default)]
struct Inexact {
    /// Calls whose number may be larger, and what is counted of them.
    open_calls: u64,
    open: Quantity,
    /// Estimates, which may be too small by themselves.
    estimated: Quantity,
    /// What Azure may not have at all.
    doubtful: Quantity,
}

/// The mean of exact numbers.
#[derive(Clone, Copy, Debug, Default)]
struct Mean {
    tokens: Quantity,
    calls: u64,
}

/// A number of an event on a subject, and the subject on which Azure may have it instead.
struct Contribution<'a> {
    subject: Subject,
    own: OwnNumber,
    cover: &'a Coverage,
    spilled_to: Option<SmolStr>,
}

impl Tracked {
    /// Adds one event to every line that it belongs to.
    pub(super) fn add(&mut self, event: &UsageEvent, billed: &mut Billed, names: &ResourceNames) {
        let resource = names.of(&event.usage.target.resource);
        let scope = billed.spellings.key(event.usage.target.deployment.as_deref().unwrap_or_default());
        let other = other_deployment(event).map(|name| billed.spellings.key(name));
        if let Some(model) = event.usage.target.any_model() {
            billed.spellings.key(model);
        }
        let billed: &Billed = billed;
        let of_metrics = metrics(event, billed, &resource, &scope, other.as_ref());
        let of_costs = costs(event, billed, &resource);
        if of_metrics.is_empty() && of_costs.is_none() {
            *self.not_covered.entry(resource.clone()).or_default() += event.calls;
        }
        self.count_request(event, billed, &resource, &scope);
        let is_provisioned = other.is_none() && billed.is_provisioned(&resource, &scope);
        for contribution in of_metrics.iter().chain(of_costs.iter().flatten()) {
            self.put(event, contribution, is_provisioned);
        }
    }

    fn put(&mut self, event: &UsageEvent, contribution: &Contribution<'_>, is_provisioned: bool) {
        let Contribution { subject, own, cover, spilled_to } = contribution;
        let tokens = Quantity::of(own.number.unwrap_or(0));
        let day = cover.day(event.time);
        self.put_on_edges(event, subject, cover, day, tokens);
        let Some(day) = day else { return };
        let key = subject.on(day);
        if let Some(other) = spilled_to.as_ref().filter(|_| tokens.is_positive() && !is_failed(event)) {
            let to = subject.of(other.clone()).on(day);
            *self.moves.entry((Cause::Spillover, key.clone(), to)).or_default() += tokens;
        }
        if is_mean(event, own) {
            let mean = self.means.entry(subject.clone()).or_default();
            mean.tokens += tokens;
            mean.calls += event.calls;
        }
        let line = self.lines.entry(key).or_default();
        line.tokens += tokens;
        line.add(event, own.quality, own.number.is_none(), tokens);
        if is_provisioned && subject.basis == Basis::CostExport {
            line.provisioned += tokens;
        }
    }

    /// A call near a midnight may be on the other day.
    fn put_on_edges(
        &mut self,
        event: &UsageEvent,
        subject: &Subject,
        cover: &Coverage,
        day: Option<Date>,
        tokens: Quantity,
    ) {
        if !tokens.is_positive() {
            return;
        }
        let (first, last) = span(event);
        for other in [cover.day(first), cover.day(last)] {
            match (day, other) {
                (Some(day), Some(other)) if day != other => {
                    let key = (Cause::HourEdge, subject.on(day), subject.on(other));
                    *self.moves.entry(key).or_default() += tokens;
                }
                (Some(day), None) => self.lines.entry(subject.on(day)).or_default().edge_out += tokens,
                (None, Some(other)) => self.lines.entry(subject.on(other)).or_default().edge_in += tokens,
                _ => {}
            }
        }
    }

    fn count_request(&mut self, event: &UsageEvent, billed: &Billed, resource: &SmolStr, scope: &SmolStr) {
        let mut covers = billed.metrics_of(resource);
        let Some((_, covered)) = covers.next() else { return };
        let scope = if covered.by_deployment { scope.clone() } else { SmolStr::default() };
        let is_answered = event.outcome.is_none() || (200..300).contains(&event.usage.request.status);
        if let Some(day) =
            covered.time.day(event.time).filter(|_| is_answered && !event.usage.accounting.deferred)
        {
            let days = self.requests.entry((resource.clone(), scope)).or_default();
            *days.entry(day).or_default() += event.calls;
        }
    }

    /// Calls that the service answered on the day of a line.
    pub(super) fn requests(&self, key: &LineKey) -> Quantity {
        let days = self.requests.get(&(key.subject.resource.clone(), key.subject.scope.clone()));
        Quantity::of(days.and_then(|days| days.get(&key.day)).copied().unwrap_or(0))
    }

    /// Returns what a call of this line has, on the average.
    pub(super) fn mean(&self, subject: &Subject) -> Quantity {
        self.means.get(subject).map_or(Quantity::ZERO, |mean| mean.tokens.over(mean.calls))
    }

    /// Deployments that have calls which are no batches.
    pub(super) fn own_subjects(&self) -> BTreeSet<Subject> {
        let own = self.lines.iter().filter(|(_, line)| line.tokens > line.batch);
        own.map(|(key, _)| key.subject.clone()).collect()
    }
}

impl TrackedLine {
    fn add(&mut self, event: &UsageEvent, quality: Quality, is_unknown: bool, tokens: Quantity) {
        if event.usage.target.is_batch() {
            self.batch += tokens;
        } else if event.usage.accounting.deferred {
            self.deferred += tokens;
        }
        if event.usage.accounting.announces_bill {
            self.announced += event.calls;
            return;
        }
        let quality = if is_unknown { Quality::Unknown } else { quality };
        let Some(cause) = cause_of(event, quality) else { return };
        let inexact = self.inexact.entry(cause).or_default();
        match quality {
            Quality::LowerBound | Quality::Unknown => {
                inexact.open_calls += event.calls;
                inexact.open += tokens;
            }
            Quality::Estimated => inexact.estimated += tokens,
            Quality::Exact => {}
        }
        // A bound of a call that was answered as a whole cannot be too large.
        if cause != Cause::Estimates || quality == Quality::Estimated {
            inexact.doubtful += tokens;
        }
    }

    /// What Azure may have more for this cause, where calls have so much on the average.
    pub(super) fn more(&self, cause: Cause, mean: Quantity) -> Quantity {
        if cause == Cause::Deferred {
            return mean.times(self.announced);
        }
        let Some(inexact) = self.inexact.get(&cause) else { return Quantity::ZERO };
        let missing = mean.times(inexact.open_calls) - inexact.open;
        missing.max(inexact.open) + inexact.estimated
    }

    /// What Azure may have less for this cause.
    pub(super) fn less(&self, cause: Cause) -> Quantity {
        self.inexact.get(&cause).map_or(Quantity::ZERO, |inexact| inexact.doubtful)
    }

    /// It has calls whose number may be larger for this cause, by nobody knows how much.
    pub(super) fn is_open(&self, cause: Cause) -> bool {
        self.inexact.get(&cause).is_some_and(|inexact| inexact.open_calls > 0)
    }
}

/// The service answered with an error, so no deployment has served it.
fn is_failed(event: &UsageEvent) -> bool {
    event.outcome == Some(Outcome::UpstreamStatus) || event.usage.request.status >= STATUS_FAILED
}

/// Why the number of an event may be another one to Azure; `None`: it is exact.
fn cause_of(event: &UsageEvent, quality: Quality) -> Option<Cause> {
    let is_exact = quality == Quality::Exact;
    if is_failed(event) {
        return Some(Cause::Failures);
    }
    match event.outcome {
        Some(Outcome::Complete | Outcome::Rejected | Outcome::UpstreamStatus) | None => match quality {
            Quality::Exact => None,
            Quality::Unknown => Some(Cause::UnknownCalls),
            _ => Some(Cause::Estimates),
        },
        // The call broke off; without an answer's status it may never have reached a model.
        Some(Outcome::UpstreamError) if is_exact && event.usage.request.status == 0 => None,
        Some(_) => Some(Cause::CutStreams),
    }
}

/// It says how long a call is: answered, whole, known.
fn is_mean(event: &UsageEvent, own: &OwnNumber) -> bool {
    own.quality == Quality::Exact
        && own.number.is_some()
        && event.outcome == Some(Outcome::Complete)
        && !event.usage.target.is_batch()
}

/// When Azure may have counted it: from its begin to its end, and some minutes.
fn span(event: &UsageEvent) -> (Timestamp, Timestamp) {
    let begin = event.usage.timing.started_at.or(event.usage.from).filter(|begin| *begin < event.time);
    let first = begin.unwrap_or(event.time);
    (first.checked_sub(EDGE).unwrap_or(first), event.time.checked_add(EDGE).unwrap_or(event.time))
}

/// The deployment that a call spilled over to, or from, where we have it under the other.
fn other_deployment(event: &UsageEvent) -> Option<&str> {
    let target = &event.usage.target;
    target.spillover_from.as_ref()?;
    let own = target.deployment.as_deref().unwrap_or_default();
    let both = [&target.deployment_served, &target.spillover_from];
    both.into_iter().flatten().map(SmolStr::as_str).find(|name| !name.eq_ignore_ascii_case(own))
}

/// The numbers that an event has for the metrics of its resource.
fn metrics<'a>(
    event: &UsageEvent,
    billed: &'a Billed,
    resource: &SmolStr,
    scope: &SmolStr,
    other: Option<&SmolStr>,
) -> Vec<Contribution<'a>> {
    let is_active = billed.provisioned.contains(&(resource.clone(), scope.clone()));
    let measures = billed.metrics_of(resource);
    let measures = measures.filter(|(measure, _)| *measure != Measure::ActiveTokens || is_active);
    let contribution = |(measure, covered): (Measure, &'a super::billed::Covered)| {
        let scope = if covered.by_deployment { scope.clone() } else { SmolStr::default() };
        Contribution {
            subject: Subject { basis: Basis::Metrics, resource: resource.clone(), scope, measure },
            own: measure.own(event),
            cover: &covered.time,
            spilled_to: other.filter(|_| covered.by_deployment).cloned(),
        }
    };
    measures.map(contribution).collect()
}

/// The numbers that an event has for the meters of its resource; `None`: no meter of it is known.
fn costs<'a>(event: &UsageEvent, billed: &'a Billed, resource: &SmolStr) -> Option<Vec<Contribution<'a>>> {
    let cover = billed.costs_of(resource)?;
    let usage = &event.usage;
    let model = usage.target.any_model().map(SmolStr::as_str).unwrap_or_default();
    let contribution = |model: &str, class: PriceClass, own: OwnNumber| Contribution {
        subject: Subject {
            basis: Basis::CostExport,
            resource: resource.clone(),
            scope: billed.scope_of_model(resource, model),
            measure: Measure::Class(class),
        },
        own,
        cover,
        spilled_to: None,
    };
    let (parts, _) = billed_parts(usage);
    let part = |part: &crate::report::pricing::BilledPart| {
        let quality = quality_of(part.class, usage.accounting.input_quality, usage.accounting.output_quality);
        let model = match &part.tool {
            Some((_, tool_model)) => tool_model.as_ref().map(SmolStr::as_str).unwrap_or_default(),
            None => model,
        };
        contribution(model, part.class, OwnNumber { number: Some(part.quantity), quality })
    };
    let unknown =
        [(usage.tokens.input, PriceClass::InputUncached), (usage.tokens.output, PriceClass::OutputText)];
    let unknown = unknown.into_iter().filter(|(number, _)| number.is_none());
    let unknown = unknown
        .map(|(_, class)| contribution(model, class, OwnNumber { number: None, quality: Quality::Unknown }));
    Some(parts.iter().map(part).chain(unknown).collect())
}

/// How well a part is known: as its side is.
fn quality_of(class: PriceClass, input: Quality, output: Quality) -> Quality {
    match class {
        class if class < PriceClass::OutputText => input,
        class if class.is_token() => output,
        _ => Quality::Exact,
    }
}
