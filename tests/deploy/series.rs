//! What there is to ask Prometheus for: every metric that the binary exports, with its type, its labels and the words
//! that stand in them, and what rules record. An expression has a shape by that, or is wrong.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use metering::api::Api;
use metering::usage::{Outcome, Quality, Source, TokenClass};
use strum::VariantArray;
use tokenweir::report::PriceClass;
use tokenweir::telemetry::{Comparison, Metrics, Snapshot};

use super::promql::{Expr, Grouping, Matcher, Matching, Selector};

/// Labels that Prometheus gives to whatever it scrapes.
const OF_TARGETS: [&str; 2] = ["instance", "job"];

/// Labels whose values other people choose.
const FREE: [&str; 7] = ["alertname", "alertstate", "deployment", "instance", "job", "model", "setting"];

/// `status_class` of `tokenweir_requests_total`.
const STATUS_CLASSES: [&str; 6] = ["none", "1xx", "2xx", "3xx", "4xx", "5xx"];

type Labels = BTreeSet<String>;

fn labels<'a>(names: impl IntoIterator<Item = &'a str>) -> Labels {
    names.into_iter().map(str::to_owned).collect()
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Counter,
    Gauge,
    /// Cumulative counts by `le`.
    Bucket,
}

/// One name.
#[derive(Clone, Debug)]
struct Metric {
    kind: Kind,
    labels: Labels,
    /// What its description says; words of labels are in it.
    help: String,
}

/// Everything that has a name.
#[derive(Clone, Debug)]
pub(super) struct Series {
    metrics: BTreeMap<String, Metric>,
    /// Edges of buckets, by name.
    edges: BTreeSet<(String, String)>,
}

impl Series {
    /// What the binary exports, and what Prometheus has of its own.
    pub(super) fn exported() -> Series {
        let metrics = Metrics::new().expect("metrics");
        let mut series = Series { metrics: BTreeMap::new(), edges: BTreeSet::new() };
        for row in metrics.markdown().lines().skip(2) {
            let cells: Vec<&str> = row.trim_matches('|').splitn(4, '|').map(str::trim).collect();
            let own = cells[2].split(", ").filter(|label| !label.is_empty());
            series.declare(cells[0].trim_matches('`'), cells[1], labels(own), cells[3]);
        }
        let text = some_of_each(&metrics);
        for line in text.lines().filter_map(|line| line.strip_prefix("# TYPE process_")) {
            let (name, kind) = line.split_once(' ').expect("a name and a type");
            series.declare(&format!("process_{name}"), kind, Labels::new(), "");
        }
        let buckets = text.lines().filter_map(|line| line.split_once("_bucket{"));
        series.edges.extend(buckets.filter_map(|(name, rest)| {
            let edge = rest.split("le=\"").nth(1)?.split('"').next()?;
            Some((format!("{name}_bucket"), edge.to_owned()))
        }));
        series.declare("up", "gauge", Labels::new(), "");
        series.declare("ALERTS", "gauge", labels(["alertname", "alertstate", "severity"]), "");
        series
    }

    fn declare(&mut self, name: &str, kind: &str, own: Labels, help: &str) {
        let all: Labels = own.into_iter().chain(labels(OF_TARGETS)).collect();
        let mut put = |name: String, kind, labels| {
            self.metrics.insert(name, Metric { kind, labels, help: help.to_owned() });
        };
        match kind {
            "counter" => put(name.to_owned(), Kind::Counter, all),
            "gauge" => put(name.to_owned(), Kind::Gauge, all),
            "histogram" => {
                put(format!("{name}_sum"), Kind::Counter, all.clone());
                put(format!("{name}_count"), Kind::Counter, all.clone());
                put(format!("{name}_bucket"), Kind::Bucket, all.into_iter().chain(labels(["le"])).collect());
            }
            other => panic!("{name} is a {other}"),
        }
    }

    /// A rule records this name; one that ends in `:total` is a counter.
    pub(super) fn record(&mut self, name: &str, expr: &Expr, more: &[&str]) {
        let is_total = name.ends_with(":total");
        let shape = Checker { series: self, raw: is_total }.shape(expr);
        let shape = shape.unwrap_or_else(|error| panic!("{name}: {error}")).unwrap_or_default();
        let labels = shape.into_iter().chain(labels(more.iter().copied())).collect();
        let kind = if is_total { Kind::Counter } else { Kind::Gauge };
        self.metrics.insert(name.to_owned(), Metric { kind, labels, help: String::new() });
    }

    /// Whether a name begins like this: what a person looks for in the text of a scrape.
    pub(super) fn has(&self, beginning: &str) -> bool {
        self.metrics.keys().any(|name| name.starts_with(beginning))
    }

    /// The labels of what an expression gives.
    pub(super) fn labels_of(&self, expr: &Expr) -> Result<Labels, String> {
        Checker { series: self, raw: false }.shape(expr).map(Option::unwrap_or_default)
    }
}

/// The text of a scrape in which histograms of a few labels have their buckets.
fn some_of_each(metrics: &Metrics) -> String {
    metrics.compared(&Comparison {
        resource: "r",
        deployment: "d",
        model: "m",
        class: "chat_completions:output:text",
        residual_tokens: 0,
        turned: None,
        wrong_calls: 0,
    });
    metrics.held("chunk", Duration::ZERO);
    metrics.render(Snapshot::default()).expect("text")
}

/// Finds the labels of expressions; `None` is a number.
struct Checker<'a> {
    series: &'a Series,
    /// A counter may stand for itself: this is about to become one.
    raw: bool,
}

impl Checker<'_> {
    fn shape(&self, expr: &Expr) -> Result<Option<Labels>, String> {
        match expr {
            Expr::Number(_) => Ok(None),
            Expr::Selector(selector) => {
                let metric = self.metric(selector)?;
                if selector.range.is_some() {
                    return Err(format!("{} over a range is no vector", selector.name));
                }
                if metric.kind != Kind::Gauge && !self.raw {
                    return Err(format!("{} only grows: it wants rate() or increase()", selector.name));
                }
                Ok(Some(metric.labels.clone()))
            }
            Expr::Call { function, arguments } => self.call(function, arguments),
            Expr::Aggregate { operator, grouping, arguments } => {
                self.aggregate(operator, grouping, arguments)
            }
            Expr::Binary { operator, matching, left, right } => {
                self.binary(operator, matching, self.shape(left)?, self.shape(right)?)
            }
        }
    }

    /// The metric of a selector, of which labels, words and edges are right.
    fn metric(&self, selector: &Selector) -> Result<&Metric, String> {
        let name = &selector.name;
        let metric = self.series.metrics.get(name).ok_or(format!("there is no {name}"))?;
        for matcher in &selector.matchers {
            if !metric.labels.contains(&matcher.label) {
                return Err(format!("{name} has no label {}", matcher.label));
            }
            for word in words(matcher) {
                let known = match matcher.label.as_str() {
                    "le" => self.series.edges.contains(&(name.clone(), word.to_owned())),
                    label => is_word(label, word) || has_word(&metric.help, word),
                };
                if !known {
                    return Err(format!("{name} has no {}=\"{word}\"", matcher.label));
                }
            }
        }
        Ok(metric)
    }

    fn call(&self, function: &str, arguments: &[Expr]) -> Result<Option<Labels>, String> {
        match (function, arguments) {
            ("rate" | "increase", [Expr::Selector(selector)]) => {
                let metric = self.over_time(function, selector)?;
                let grows = metric.kind != Kind::Gauge;
                grows.then(|| Some(metric.labels.clone())).ok_or(format!("{} is a gauge", selector.name))
            }
            ("changes" | "last_over_time", [Expr::Selector(selector)])
            | ("predict_linear", [Expr::Selector(selector), _]) => {
                let metric = self.over_time(function, selector)?;
                let is_gauge = metric.kind == Kind::Gauge;
                is_gauge.then(|| Some(metric.labels.clone())).ok_or(format!("{} is no gauge", selector.name))
            }
            ("histogram_quantile", [Expr::Number(_), of]) => {
                let mut inner = self.shape(of)?.unwrap_or_default();
                let names = of.selectors().into_iter().map(|selector| &selector.name);
                let buckets = names.clone().all(|name| self.series.metrics[name].kind == Kind::Bucket);
                if !buckets || !inner.remove("le") {
                    return Err(format!(
                        "a quantile wants buckets by le, not {:?}",
                        names.collect::<Vec<_>>()
                    ));
                }
                Ok(Some(inner))
            }
            ("time", []) => Ok(None),
            ("absent", [of]) => self.shape(of).map(|_| Some(Labels::new())),
            ("vector", [of]) if self.shape(of)?.is_none() => Ok(Some(Labels::new())),
            _ => Err(format!("{function}({arguments:?}) is not known here")),
        }
    }

    fn over_time(&self, function: &str, selector: &Selector) -> Result<&Metric, String> {
        let metric = self.metric(selector)?;
        let given = selector.range.as_ref().map(|_| metric);
        given.ok_or(format!("{function}({}) wants a range", selector.name))
    }

    fn aggregate(
        &self,
        operator: &str,
        grouping: &Grouping,
        arguments: &[Expr],
    ) -> Result<Option<Labels>, String> {
        let (parameters, Some(of)) = (arguments.len() - 1, arguments.last()) else {
            return Err("nothing".into());
        };
        if parameters != usize::from(operator == "topk") {
            return Err(format!("{operator} of {} arguments", arguments.len()));
        }
        let inner = self.shape(of)?.ok_or("an aggregation of a number")?;
        let kept: Labels = match grouping {
            _ if operator == "topk" => inner.clone(),
            Grouping::All => Labels::new(),
            Grouping::By(names) => names.iter().cloned().collect(),
            Grouping::Without(names) => {
                known(names, &inner)?;
                inner.iter().filter(|label| !names.contains(label)).cloned().collect()
            }
        };
        known(&kept, &inner)?;
        // Buckets hold those below them: their sum over all edges counts calls several times.
        let fixed = of.selectors().iter().all(|one| one.matchers.iter().any(|matcher| matcher.label == "le"));
        if inner.contains("le") && !kept.contains("le") && !fixed {
            return Err("buckets are added up over their edges".to_owned());
        }
        Ok(Some(kept))
    }

    fn binary(
        &self,
        operator: &str,
        Matching { on, group_left }: &Matching,
        left: Option<Labels>,
        right: Option<Labels>,
    ) -> Result<Option<Labels>, String> {
        let (left, right) = match (left, right) {
            (Some(left), Some(right)) => (left, right),
            (left, right) => return Ok(left.or(right)),
        };
        let keeps_left = matches!(operator, "and" | "unless");
        let Some(on) = on else {
            let same = left == right;
            return same
                .then_some(Some(left.clone()))
                .ok_or(format!("{left:?} {operator} {right:?} match nothing"));
        };
        known(on, &left)?;
        known(on, &right)?;
        let taken = group_left.iter().flatten();
        known(taken.clone(), &right)?;
        let many = keeps_left || group_left.is_some();
        let kept: Labels = if many { left } else { on.iter().cloned().collect() };
        Ok(Some(kept.into_iter().chain(taken.cloned()).collect()))
    }
}

fn known<'a>(names: impl IntoIterator<Item = &'a String>, labels: &Labels) -> Result<(), String> {
    let missing = names.into_iter().find(|name| !labels.contains(*name));
    missing.map_or(Ok(()), |name| Err(format!("there is no label {name} among {labels:?}")))
}

/// The words that a matcher asks for; none where a variable or a pattern decides.
fn words(matcher: &Matcher) -> Vec<&str> {
    if FREE.contains(&matcher.label.as_str()) || matcher.value.starts_with('$') {
        return Vec::new();
    }
    if matcher.operator.ends_with('~') { matcher.value.split('|').collect() } else { vec![&matcher.value] }
}

/// A word of a vocabulary.
fn is_word(label: &str, word: &str) -> bool {
    match label {
        "api" => Api::VARIANTS.iter().any(|one| one.as_str() == word),
        "outcome" => Outcome::VARIANTS.iter().any(|one| one.as_str() == word),
        "input_quality" | "output_quality" => Quality::VARIANTS.iter().any(|one| one.as_str() == word),
        "source" | "input_source" | "output_source" => {
            Source::VARIANTS.iter().any(|one| one.as_str() == word)
        }
        "class" => {
            TokenClass::VARIANTS.iter().any(|one| one.as_str() == word)
                || PriceClass::VARIANTS.iter().any(|one| one.as_str() == word)
                || is_class_of_numbers(word)
        }
        "status_class" => STATUS_CLASSES.contains(&word),
        _ => false,
    }
}

/// `API:side:rules`, as in `tokenweir_rules_drifted`.
fn is_class_of_numbers(word: &str) -> bool {
    let parts: Vec<&str> = word.split(':').collect();
    let [api, "input" | "output", _] = parts.as_slice() else { return false };
    Api::VARIANTS.iter().any(|one| one.as_str() == *api)
}

/// The description says the word, as those of closed labels do.
fn has_word(help: &str, word: &str) -> bool {
    help.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).any(|one| one == word)
}

#[test]
fn what_is_wrong_with_an_expression_is_found() {
    let series = Series::exported();
    let check = |text: &str| Expr::read(text).and_then(|expr| series.labels_of(&expr));
    for (right, labels) in [
        ("sum by (outcome) (rate(tokenweir_requests_total{outcome!=\"complete\"}[5m]))", "outcome"),
        (
            "histogram_quantile(0.9, sum by (le, api) (rate(tokenweir_request_duration_seconds_bucket[5m])))",
            "api",
        ),
        (
            "tokenweir_rules_drifted * on (job) group_left (version) tokenweir_build_info",
            "class deployment instance job model version",
        ),
        ("max(tokenweir_ledger_bytes) / max(tokenweir_ledger_max_bytes)", ""),
        ("sum(rate(tokenweir_count_residual_tokens_bucket{le=\"0.5\"}[1h]))", ""),
    ] {
        let found = check(right).unwrap_or_else(|error| panic!("{right}: {error}"));
        assert_eq!(found.into_iter().collect::<Vec<_>>().join(" "), labels, "{right}");
    }
    for wrong in [
        "tokenweir_requests",
        "tokenweir_request_duration_seconds",
        "tokenweir_requests_total",
        "rate(tokenweir_requests_total)",
        "tokenweir_ledger_events[5m]",
        "rate(tokenweir_ledger_events[5m])",
        "changes(tokenweir_requests_total[5m])",
        "sum by (caller) (rate(tokenweir_requests_total[5m]))",
        "sum without (caller) (rate(tokenweir_requests_total[5m]))",
        "sum(rate(tokenweir_requests_total{caller=\"a\"}[5m]))",
        "sum(rate(tokenweir_requests_total{outcome=\"completed\"}[5m]))",
        "sum(rate(tokenweir_limits_total{limit=~\"in_flight|sockets\"}[5m]))",
        "sum(rate(tokenweir_request_duration_seconds_bucket[5m]))",
        "sum(rate(tokenweir_count_residual_tokens_bucket{le=\"0.7\"}[1h]))",
        "histogram_quantile(0.9, sum by (api) (rate(tokenweir_request_duration_seconds_bucket{le=\"0.01\"}[5m])))",
        "histogram_quantile(0.9, sum by (api) (rate(tokenweir_request_duration_seconds_count[5m])))",
        "tokenweir_ledger_bytes / tokenweir_kafka_broker_up",
        "tokenweir_ledger_bytes * on (broker) group_left () tokenweir_kafka_broker_up",
        "tokenweir_ledger_bytes * on (job) group_left (model) tokenweir_kafka_broker_up",
        "sum(5)",
        "rate(up[5m])",
        "topk(sum(up))",
    ] {
        assert!(check(wrong).is_err(), "{wrong} passes");
    }
}
