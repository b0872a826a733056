//! How a metric is made, registered, and remembered for the table in `docs/metrics.md`.

use prometheus::core::Collector;
use prometheus::{
    CounterVec, GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge,
    IntGaugeVec, Opts, Registry,
};

use crate::telemetry::build_info::BuildInfo;

/// Makes metrics and registers them; the first error is kept.
#[derive(Default)]
pub(super) struct Declare {
    pub(super) registry: Registry,
    pub(super) error: Option<prometheus::Error>,
    pub(super) rows: Vec<MetricRow>,
}

/// A metric as the table in `docs/metrics.md` shows it.
#[derive(Debug)]
pub(super) struct MetricRow {
    pub(super) name: String,
    pub(super) kind: &'static str,
    pub(super) labels: String,
    pub(super) help: String,
}

impl Declare {
    fn put<M: Collector + Clone + 'static>(&mut self, made: prometheus::Result<M>) -> Option<M> {
        let registered =
            made.and_then(|metric| self.registry.register(Box::new(metric.clone())).map(|()| metric));
        registered.map_err(|error| self.error.get_or_insert(error).to_string()).ok()
    }

    fn row(&mut self, name: &str, kind: &'static str, labels: &[&str], help: &str) {
        self.rows.push(MetricRow {
            name: name.to_owned(),
            kind,
            labels: labels.join(", "),
            help: help.to_owned(),
        });
    }

    pub(super) fn counter(&mut self, name: &str, help: &str) -> Option<IntCounter> {
        self.row(name, "counter", &[], help);
        self.put(IntCounter::new(name, help))
    }

    pub(super) fn counters(&mut self, name: &str, help: &str, labels: &[&str]) -> Option<IntCounterVec> {
        self.row(name, "counter", labels, help);
        self.put(IntCounterVec::new(Opts::new(name, help), labels))
    }

    pub(super) fn gauges(&mut self, name: &str, help: &str, labels: &[&str]) -> Option<IntGaugeVec> {
        self.row(name, "gauge", labels, help);
        self.put(IntGaugeVec::new(Opts::new(name, help), labels))
    }

    pub(super) fn histogram(&mut self, name: &str, help: &str, edges: &[f64]) -> Option<Histogram> {
        self.row(name, "histogram", &[], help);
        self.put(Histogram::with_opts(HistogramOpts::new(name, help).buckets(edges.to_vec())))
    }

    pub(super) fn histograms(
        &mut self,
        name: &str,
        help: &str,
        edges: &[f64],
        labels: &[&str],
    ) -> Option<HistogramVec> {
        self.row(name, "histogram", labels, help);
        self.put(HistogramVec::new(HistogramOpts::new(name, help).buckets(edges.to_vec()), labels))
    }

    /// A counter that follows what others count.
    pub(super) fn followed_counter(&mut self, name: &str, help: &str, labels: &[&str]) -> Option<CounterVec> {
        self.row(name, "counter", labels, help);
        self.put(CounterVec::new(Opts::new(name, help), labels))
    }

    /// A gauge that shows what others know.
    pub(super) fn followed_gauge(&mut self, name: &str, help: &str, labels: &[&str]) -> Option<GaugeVec> {
        self.row(name, "gauge", labels, help);
        self.put(GaugeVec::new(Opts::new(name, help), labels))
    }

    /// What the program was built from, as the usual labels of a gauge that is always 1.
    pub(super) fn build_info(&mut self) -> Option<()> {
        let (name, help) = (
            "tokenweir_build_info",
            "Always 1; the labels say what the program was built from. A commit ends in -dirty if its sources were changed; what is not known is unknown.",
        );
        let build = BuildInfo::get();
        let labels = [
            ("version", BuildInfo::VERSION.to_owned()),
            ("commit", build.commit().to_owned()),
            ("committed", build.committed_at()),
            ("rustc", build.rustc().to_owned()),
        ];
        self.row(name, "gauge", &labels.each_ref().map(|(label, _)| *label), help);
        let opts = labels
            .into_iter()
            .fold(Opts::new(name, help), |opts, (label, value)| opts.const_label(label, value));
        self.put(IntGauge::with_opts(opts))?.set(1);
        Some(())
    }
}
