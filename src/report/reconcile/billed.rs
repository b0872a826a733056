//! Azure's side: what the files say by line, which time they cover, and what could not be matched.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use jiff::Timestamp;
use jiff::civil::Date;
use serde::Serialize;
use smol_str::SmolStr;

use super::azure_time::begin_of;
use super::coverage::Coverage;
use super::glob;
use super::line_key::{Basis, LineKey, Spellings, Subject, lower};
use super::measure::Measure;
use super::quantity::Quantity;
use crate::report::coverage::TimeRange;

/// What Azure has.
#[derive(Debug, Default)]
pub(super) struct Billed {
    from: Option<Timestamp>,
    to: Option<Timestamp>,
    pub(super) spellings: Spellings,
    /// Notes on the files for the reader.
    pub(super) notes: Vec<String>,
    /// By line and metric: two metrics may measure the same.
    metrics: BTreeMap<LineKey, BTreeMap<SmolStr, Quantity>>,
    costs: BTreeMap<LineKey, Quantity>,
    /// Of `costs`: what batch meters counted.
    batch: BTreeMap<LineKey, Quantity>,
    /// By deployment, day and metric: two metrics count calls.
    requests: HashMap<BilledDeployment, BTreeMap<Date, BTreeMap<SmolStr, Quantity>>>,
    requests_cover: BTreeMap<SmolStr, Coverage>,
    covered: BTreeMap<(SmolStr, Measure), Covered>,
    costs_cover: Coverage,
    /// The models that a resource's meters name.
    models: BTreeMap<SmolStr, BTreeSet<SmolStr>>,
    /// Deployments whose metrics say that they are paid by the hour, and those that somebody named.
    pub(super) provisioned: BTreeSet<BilledDeployment>,
    provisioned_anywhere: BTreeSet<SmolStr>,
    unmatched: BTreeMap<(SmolStr, String, String), UnmatchedMeter>,
}

/// A resource and a deployment of it.
pub(super) type BilledDeployment = (SmolStr, SmolStr);

/// How far the metrics go.
#[derive(Clone, Debug, Default)]
pub(super) struct Covered {
    pub(super) time: Coverage,
    /// They tell deployments apart.
    pub(super) by_deployment: bool,
}

/// A meter that the table does not know.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct UnmatchedMeter {
    /// The name of Azure's resource.
    pub resource: SmolStr,
    /// The meter's name.
    pub meter: String,
    /// The unit of its quantity.
    pub unit: String,
    /// Rows of the export.
    pub rows: u64,
    /// Their quantity.
    pub quantity: Quantity,
    /// Their cost, where the export has one.
    pub cost: Quantity,
    /// Its currency; of several the last.
    pub currency: String,
}

impl Billed {
    /// Nothing yet, of this range.
    pub(super) fn new(from: Option<Timestamp>, to: Option<Timestamp>) -> Billed {
        Billed { from, to, ..Billed::default() }
    }

    /// Metrics of a resource cover this time.
    pub(super) fn cover(
        &mut self,
        resource: &SmolStr,
        measure: Measure,
        time: &Coverage,
        by_deployment: bool,
    ) {
        let within = time.within(self.from, self.to);
        let covered = self.covered.entry((resource.clone(), measure)).or_default();
        covered.by_deployment |= by_deployment;
        covered.time.join(&within);
    }

    /// Cost exports cover this time.
    pub(super) fn cover_costs(&mut self, time: &Coverage) {
        self.costs_cover = time.within(self.from, self.to);
    }

    /// A point of a metric.
    pub(super) fn add_metric(&mut self, subject: &Subject, metric: &str, time: Timestamp, total: Quantity) {
        let covered = self.covered.get(&(subject.resource.clone(), subject.measure));
        let Some(day) = covered.and_then(|covered| covered.time.day(time)) else { return };
        let sums = self.metrics.entry(subject.on(day)).or_default();
        *sums.entry(metric.into()).or_default() += total;
    }

    /// Counts of calls to a resource cover this time.
    pub(super) fn cover_requests(&mut self, resource: &SmolStr, time: &Coverage) {
        let within = time.within(self.from, self.to);
        self.requests_cover.entry(resource.clone()).or_default().join(&within);
    }

    /// Calls that were answered.
    pub(super) fn count(
        &mut self,
        deployment: &BilledDeployment,
        metric: &str,
        time: Timestamp,
        calls: Quantity,
    ) {
        let Some(day) = self.requests_cover.get(&deployment.0).and_then(|cover| cover.day(time)) else {
            return;
        };
        let days = self.requests.entry(deployment.clone()).or_default();
        *days.entry(day).or_default().entry(metric.into()).or_default() += calls;
    }

    /// Adds what meters counted on a day, and the part of it that was batches.
    pub(super) fn add_cost(&mut self, key: LineKey, quantity: Quantity, batch: Quantity) {
        if begin_of(key.day).and_then(|begin| self.costs_cover.day(begin)).is_some() {
            self.batch.insert(key.clone(), batch);
            self.costs.insert(key, quantity);
        }
    }

    /// A model that a meter of the resource names, or none; `name` is how the table has it.
    pub(super) fn add_model(&mut self, resource: &SmolStr, model: &SmolStr) {
        self.models.entry(resource.clone()).or_default().insert(model.clone());
    }

    /// A row whose meter is not known.
    pub(super) fn add_unmatched(&mut self, row: UnmatchedMeter) {
        let key = (row.resource.clone(), row.meter.clone(), row.unit.clone());
        let sum = self.unmatched.entry(key).or_insert_with(|| UnmatchedMeter {
            rows: 0,
            quantity: Quantity::ZERO,
            cost: Quantity::ZERO,
            ..row.clone()
        });
        sum.rows += row.rows;
        sum.quantity += row.quantity;
        sum.cost += row.cost;
    }

    /// Deployments of any resource that are paid by the hour.
    pub(super) fn add_provisioned(&mut self, names: &[String]) {
        self.provisioned_anywhere.extend(names.iter().map(|name| lower(name)));
    }

    /// The deployment is paid by the hour.
    pub(super) fn is_provisioned(&self, resource: &SmolStr, scope: &SmolStr) -> bool {
        self.provisioned_anywhere.contains(scope)
            || self.provisioned.contains(&(resource.clone(), scope.clone()))
    }

    /// The measures of a resource's metrics, and how far they go.
    pub(super) fn metrics_of(&self, resource: &SmolStr) -> impl Iterator<Item = (Measure, &Covered)> {
        let all = self.covered.iter().filter(move |((of, _), _)| of == resource);
        all.map(|((_, measure), covered)| (*measure, covered))
            .filter(move |(measure, _)| self.adds(resource, *measure))
    }

    /// A total says nothing where its parts are there.
    fn adds(&self, resource: &SmolStr, measure: Measure) -> bool {
        let has = |measure| self.covered.contains_key(&(resource.clone(), measure));
        measure != Measure::TotalTokens || !(has(Measure::Input) && has(Measure::Output))
    }

    /// The days that cost exports cover, where they have rows of the resource.
    pub(super) fn costs_of(&self, resource: &SmolStr) -> Option<&Coverage> {
        self.models.contains_key(resource).then_some(&self.costs_cover)
    }

    /// The line that a model's tokens are on: that of the meters which name it most closely, else that of meters
    /// which name none, else its own.
    pub(super) fn scope_of_model(&self, resource: &SmolStr, model: &str) -> SmolStr {
        let model = lower(model);
        let Some(scopes) = self.models.get(resource) else { return model };
        let closeness = |scope: &&SmolStr| {
            scope.split('|').filter(|name| glob::fits(name, &model)).map(glob::specificity).max()
        };
        let best = scopes.iter().filter(|scope| closeness(scope).is_some()).max_by_key(closeness);
        let any = || scopes.get("").cloned();
        best.cloned().or_else(any).unwrap_or(model)
    }

    /// Calls that Azure answered on a day; `None`: the files do not say.
    pub(super) fn requests(&self, key: &LineKey) -> Option<Quantity> {
        let Subject { basis, resource, scope, .. } = &key.subject;
        let begin = begin_of(key.day).filter(|_| *basis == Basis::Metrics)?;
        self.requests_cover.get(resource)?.day(begin)?;
        let days = self.requests.get(&(resource.clone(), scope.clone()))?;
        Some(days.get(&key.day).map_or(Quantity::ZERO, larger))
    }

    /// Returns what batch meters counted.
    pub(super) fn batch(&self, key: &LineKey) -> Quantity {
        self.batch.get(key).copied().unwrap_or_default()
    }

    /// Every line of Azure's, with its number.
    pub(super) fn lines(&self) -> impl Iterator<Item = (&LineKey, Quantity)> {
        let metrics = self.metrics.iter().map(move |(key, sums)| (key, larger(sums)));
        let adds = |key: &LineKey| self.adds(&key.subject.resource, key.subject.measure);
        let costs = self.costs.iter().map(|(key, sum)| (key, *sum));
        metrics.filter(move |(key, _)| adds(key)).chain(costs)
    }

    /// The time that is compared.
    pub(super) fn range(&self) -> TimeRange {
        let costs = (!self.models.is_empty()).then_some(&self.costs_cover);
        let ends = self.covered.values().map(|covered| &covered.time).chain(costs).filter_map(Coverage::ends);
        let ends = ends.reduce(|all, one| (all.0.min(one.0), all.1.max(one.1)));
        let (from, to) = ends.map_or((self.from, self.to), |(from, to)| (Some(from), Some(to)));
        TimeRange { from, to }
    }

    /// Meters that the table does not know.
    pub(super) fn unmatched(&self) -> Vec<UnmatchedMeter> {
        self.unmatched.values().cloned().collect()
    }
}

/// Of metrics that measure the same the larger.
fn larger(sums: &BTreeMap<SmolStr, Quantity>) -> Quantity {
    sums.values().copied().max().unwrap_or_default()
}
