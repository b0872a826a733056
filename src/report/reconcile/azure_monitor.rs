//! Metrics of Azure Monitor, as `az monitor metrics list -o json` writes them: one answer, an array of answers, or the
//! answer of a batch.
//!
//! Totals are floats to Azure and are read as the decimals that stand there. A point without a total is no traffic.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::{Path, PathBuf};

use jiff::{SignedDuration, Timestamp};
use serde::Deserialize;
use serde_json::value::RawValue;
use smol_str::SmolStr;

use super::azure_time::{day_of, instant, interval, timespan};
use super::billed::Billed;
use super::coverage::Coverage;
use super::input_file::{METRICS_BYTES_MAX, open, wrong};
use super::line_key::{Basis, Subject, lower};
use super::measure::{Measure, counts_requests};
use super::quantity::Quantity;
use crate::report::error::ReportError;

/// The dimensions that are read, in lower case.
const DEPLOYMENT: &str = "modeldeploymentname";
const STATUS: &str = "statuscode";
const RESOURCE: &str = "microsoft.resourceid";

/// A status that clients who left are logged with; the call was answered.
const CLIENT_CLOSED: &str = "499";

/// Resource types stand before the account's name in an id.
const ACCOUNTS: &str = "accounts";

#[derive(Deserialize)]
struct Answer<'a> {
    #[serde(borrow)]
    value: Option<Vec<Metric<'a>>>,
    /// The answer of a batch: one for each resource.
    #[serde(borrow)]
    values: Option<Vec<Answer<'a>>>,
    #[serde(borrow)]
    timespan: Option<Cow<'a, str>>,
    #[serde(borrow)]
    interval: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Metric<'a> {
    #[serde(borrow, default)]
    id: Cow<'a, str>,
    #[serde(borrow)]
    name: Name<'a>,
    #[serde(borrow)]
    error_code: Option<Cow<'a, str>>,
    #[serde(borrow)]
    error_message: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    timeseries: Vec<Timeseries<'a>>,
}

#[derive(Deserialize)]
struct Name<'a> {
    #[serde(borrow)]
    value: Cow<'a, str>,
}

#[derive(Deserialize)]
struct Timeseries<'a> {
    #[serde(borrow, default)]
    metadatavalues: Vec<Dimension<'a>>,
    #[serde(borrow, default)]
    data: Vec<Point<'a>>,
}

#[derive(Deserialize)]
struct Dimension<'a> {
    #[serde(borrow)]
    name: Name<'a>,
    #[serde(borrow)]
    value: Cow<'a, str>,
}

#[derive(Deserialize)]
struct Point<'a> {
    #[serde(borrow, rename = "timeStamp", alias = "timestamp")]
    time: Cow<'a, str>,
    #[serde(borrow)]
    total: Option<&'a RawValue>,
}

/// One series of one metric of a resource, by the values of its dimensions.
type Dimensions = BTreeMap<SmolStr, SmolStr>;

/// The content of the files on one metric of one resource.
#[derive(Debug, Default)]
struct Held {
    /// By the names of the dimensions that series are split by.
    by_split: BTreeMap<BTreeSet<SmolStr>, Split>,
    coverage: Coverage,
}

type Points = HashMap<Timestamp, Quantity>;

/// Each series of a way in which a metric is split.
type Split = BTreeMap<Dimensions, Points>;

/// All metrics of all files.
#[derive(Debug, Default)]
pub(super) struct AzureMonitor {
    /// By resource and metric.
    held: BTreeMap<(SmolStr, SmolStr), Held>,
    /// Metrics that are not read.
    others: BTreeSet<SmolStr>,
}

impl AzureMonitor {
    /// Reads all files.
    pub(super) fn read(paths: &[PathBuf]) -> Result<AzureMonitor, ReportError> {
        let mut all = AzureMonitor::default();
        for path in paths {
            let mut text = String::new();
            let named = |error| ReportError::File { path: path.clone(), error };
            std::io::Read::read_to_string(&mut open(path, METRICS_BYTES_MAX)?, &mut text).map_err(named)?;
            all.add_file(path, text.trim_start_matches('\u{feff}'))?;
        }
        Ok(all)
    }

    fn add_file(&mut self, path: &Path, text: &str) -> Result<(), ReportError> {
        let answers: Vec<Answer<'_>> = match text.trim_start().starts_with('[') {
            true => parse(path, text)?,
            false => vec![parse(path, text)?],
        };
        let is_list = text.trim_start().starts_with('[');
        for (at, answer) in answers.iter().enumerate() {
            let place = if is_list { format!("[{at}].") } else { String::new() };
            self.add_answer(answer, &place).map_err(|problem| wrong(path, problem))?;
        }
        Ok(())
    }

    fn add_answer(&mut self, answer: &Answer<'_>, place: &str) -> Result<(), String> {
        for (at, one) in answer.values.iter().flatten().enumerate() {
            self.add_answer(one, &format!("{place}values[{at}]."))?;
        }
        let Some(metrics) = &answer.value else {
            return match answer.values {
                Some(_) => Ok(()),
                None => Err(format!(
                    "{place}value is not there: give what `az monitor metrics list -o json` writes"
                )),
            };
        };
        let span = answer.timespan.as_deref().map(|text| {
            timespan(text)
                .ok_or_else(|| format!("{place}timespan is {text:?}; allowed: two instants with / between"))
        });
        let span = span.transpose()?;
        let grain = answer.interval.as_deref().and_then(interval);
        for (at, metric) in metrics.iter().enumerate() {
            let place = format!("{place}value[{at}]");
            self.add_metric(metric, span, grain, &place)?;
        }
        Ok(())
    }

    fn add_metric(
        &mut self,
        metric: &Metric<'_>,
        span: Option<(Timestamp, Timestamp)>,
        grain: Option<SignedDuration>,
        place: &str,
    ) -> Result<(), String> {
        let name = &*metric.name.value;
        if Measure::of_metric(name).is_none() && !counts_requests(name) {
            self.others.insert(name.into());
            return Ok(());
        }
        if let Some(code) = metric.error_code.as_deref().filter(|code| *code != "Success") {
            let why = metric.error_message.as_deref().unwrap_or_default();
            return Err(format!(
                "{place}.errorCode is {code:?} for {name}, so its numbers are not whole: {why}"
            ));
        }
        for (at, series) in metric.timeseries.iter().enumerate() {
            self.add_series(metric, series, (span, grain), &format!("{place}.timeseries[{at}]"))?;
        }
        if let Some((from, to)) = span.filter(|_| !metric.id.is_empty()) {
            let resource = resource_of(&metric.id).ok_or_else(|| no_resource(&metric.id, place))?;
            self.held.entry((resource, lower(name))).or_default().coverage.add(from, to);
        }
        Ok(())
    }

    fn add_series(
        &mut self,
        metric: &Metric<'_>,
        series: &Timeseries<'_>,
        (span, grain): (Option<(Timestamp, Timestamp)>, Option<SignedDuration>),
        place: &str,
    ) -> Result<(), String> {
        let mut dimensions: Dimensions =
            series.metadatavalues.iter().map(|one| (lower(&one.name.value), (&*one.value).into())).collect();
        let id = dimensions.remove(RESOURCE);
        let id = id.as_deref().unwrap_or(&metric.id);
        let resource = resource_of(id).ok_or_else(|| no_resource(id, place))?;
        let held = self.held.entry((resource, lower(&metric.name.value))).or_default();
        if let Some((from, to)) = span {
            held.coverage.add(from, to);
        }
        let split: BTreeSet<SmolStr> = dimensions.keys().cloned().collect();
        let points = held.by_split.entry(split).or_default().entry(dimensions).or_default();
        let step = grain.filter(|grain| grain.is_positive()).or_else(|| step_of(&series.data));
        let mut ends = None;
        for (at, point) in series.data.iter().enumerate() {
            let place = || format!("{place}.data[{at}]");
            let (time, total) = read_point(point, step, &place)?;
            ends = Some(ends.map_or((time, time), |(first, last): (Timestamp, Timestamp)| {
                (first.min(time), last.max(time))
            }));
            let Some(total) = total else { continue };
            if let Some(before) = points.insert(time, total).filter(|before| *before != total) {
                return Err(format!(
                    "{}.total is {total}, and {before} stands for the same minute above or in another file: give each series once, in one interval",
                    place()
                ));
            }
        }
        if let Some((first, last)) = ends {
            let end = last.checked_add(step.unwrap_or(SignedDuration::from_mins(1)));
            held.coverage.add(first, end.unwrap_or(last));
        }
        Ok(())
    }

    /// Puts all of it where it belongs.
    pub(super) fn bill(self, billed: &mut Billed) {
        billed.notes.extend(self.others.iter().map(|name| format!("the metric {name} is not read")));
        let mut splits = Vec::new();
        for ((resource, name), held) in self.held {
            let split = best_split(&held, &mut billed.notes, &resource, &name);
            splits.push((resource, name, split, held.coverage));
        }
        let is_named = |split: &Split| split.keys().any(|dimensions| dimensions.contains_key(DEPLOYMENT));
        let named: BTreeSet<(SmolStr, Option<Measure>)> = splits
            .iter()
            .filter(|(_, _, split, _)| is_named(split))
            .map(|(resource, name, ..)| (resource.clone(), Measure::of_metric(name)))
            .collect();
        for (resource, name, split, coverage) in splits {
            let measure = Measure::of_metric(&name);
            let by_deployment = is_named(&split);
            if !by_deployment && named.contains(&(resource.clone(), measure)) {
                billed
                    .notes
                    .push(format!("{name} of {resource} is not split by deployment, and is left out"));
                continue;
            }
            let Some(measure) = measure else {
                billed.cover_requests(&resource, &coverage);
                for (dimensions, points) in split {
                    count_requests(billed, &resource, &name, &dimensions, points);
                }
                continue;
            };
            billed.cover(&resource, measure, &coverage, by_deployment);
            for (dimensions, points) in split {
                let scope = billed.spellings.key(deployment_of(&dimensions));
                if measure == Measure::ActiveTokens && points.values().any(|total| total.is_positive()) {
                    billed.provisioned.insert((resource.clone(), scope.clone()));
                }
                let subject = Subject { basis: Basis::Metrics, resource: resource.clone(), scope, measure };
                points.into_iter().for_each(|(time, total)| billed.add_metric(&subject, &name, time, total));
            }
        }
    }
}

fn parse<'a, T: Deserialize<'a>>(path: &Path, text: &'a str) -> Result<T, ReportError> {
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let parsed = serde_path_to_error::deserialize(&mut deserializer).map_err(|error| {
        let place = error.path().to_string();
        let place = if place == "." { String::new() } else { format!("{place}: ") };
        wrong(
            path,
            format!("{place}{}; allowed: what `az monitor metrics list -o json` writes", error.inner()),
        )
    })?;
    deserializer.end().map_err(|error| wrong(path, format!("{error}; allowed: one JSON document")))?;
    Ok(parsed)
}

fn no_resource(id: &str, place: &str) -> String {
    format!("{place} is of {id:?}; allowed: the id of a resource, with /accounts/NAME in it")
}

/// The name of the account in a resource's id, in lower case.
pub(super) fn resource_of(id: &str) -> Option<SmolStr> {
    let mut parts = id.split('/');
    parts.find(|part| part.eq_ignore_ascii_case(ACCOUNTS))?;
    parts.next().filter(|name| !name.is_empty()).map(lower)
}

/// How far the points of a series lie apart.
fn step_of(data: &[Point<'_>]) -> Option<SignedDuration> {
    let (first, second) = (instant(&data.first()?.time)?, instant(&data.get(1)?.time)?);
    Some(second.duration_since(first)).filter(SignedDuration::is_positive)
}

/// The instant at which a point begins, and its total.
fn read_point(
    point: &Point<'_>,
    step: Option<SignedDuration>,
    place: &dyn Fn() -> String,
) -> Result<(Timestamp, Option<Quantity>), String> {
    let time = instant(&point.time).ok_or_else(|| {
        format!("{}.timeStamp is {:?}; allowed: an instant such as 2026-11-22T09:00:00Z", place(), point.time)
    })?;
    let last =
        step.and_then(|step| time.checked_add(step).ok()?.checked_sub(SignedDuration::from_nanos(1)).ok());
    if last.is_some_and(|last| day_of(last) != day_of(time)) {
        return Err(format!(
            "{} begins at {time} and ends on another UTC day; allowed: an --interval of PT1H or less, or P1D from midnight UTC",
            place()
        ));
    }
    let total = point.total.map(|total| {
        let quantity = Quantity::parse(total.get(), 1).filter(|quantity| !quantity.is_negative());
        quantity.ok_or_else(|| format!("{}.total is {total}; allowed: a number from 0 to 10^15", place()))
    });
    Ok((time, total.transpose()?))
}

/// Of the ways in which a metric is split, the one that tells most: other ways have the same numbers again. It is
/// empty where nobody called.
fn best_split(held: &Held, notes: &mut Vec<String>, resource: &str, name: &str) -> Split {
    let rank = |split: &&BTreeSet<SmolStr>| (split.contains(DEPLOYMENT), split.contains(STATUS), split.len());
    let Some(best) = held.by_split.keys().max_by_key(rank) else { return Split::new() };
    if held.by_split.len() > 1 {
        let by: Vec<&str> = best.iter().map(SmolStr::as_str).collect();
        notes.push(format!(
            "{name} of {resource} is given in several splits: the one by {} is read",
            by.join(", ")
        ));
    }
    held.by_split.get(best).cloned().unwrap_or_default()
}

fn deployment_of(dimensions: &Dimensions) -> &str {
    dimensions.get(DEPLOYMENT).map(SmolStr::as_str).unwrap_or_default()
}

/// Calls that were answered. A deployment that only failed was asked nevertheless.
fn count_requests(
    billed: &mut Billed,
    resource: &SmolStr,
    name: &str,
    dimensions: &Dimensions,
    points: Points,
) {
    let scope = billed.spellings.key(deployment_of(dimensions));
    let status = dimensions.get(STATUS).map(SmolStr::as_str);
    let is_answered = status.is_none_or(|status| status.starts_with('2') || status == CLIENT_CLOSED);
    let deployment = (resource.clone(), scope);
    for (time, total) in points {
        billed.count(&deployment, name, time, if is_answered { total } else { Quantity::ZERO });
    }
}
