//! Every Prometheus metric, declared once. Units last in the names; base units.

use std::time::Duration;

use prometheus::process_collector::ProcessCollector;
use prometheus::{
    Encoder, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts,
    Registry, TextEncoder,
};

use super::Comparison;
use super::labels::Names;
use crate::usage::{Outcome, Quality, Usage};

/// Edges of the OpenTelemetry `gen_ai.server.time_to_first_token`, extended for reasoning models.
const FIRST_TOKEN_S: &[f64] = &[
    0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0, 20.0, 40.0,
    80.0,
];
/// Edges of the OpenTelemetry `gen_ai.server.time_per_output_token`.
const PER_TOKEN_S: &[f64] = &[0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5];
/// Edges of the OpenTelemetry `gen_ai.server.request.duration`, extended.
const DURATION_S: &[f64] =
    &[0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92, 163.84, 327.68];
/// Edges of the OpenTelemetry `gen_ai.client.token.usage`, shortened.
const TOKENS: &[f64] =
    &[1.0, 4.0, 16.0, 64.0, 256.0, 1_024.0, 4_096.0, 16_384.0, 65_536.0, 262_144.0, 1_048_576.0];
/// Reported minus computed. The edges lie between whole numbers, so both sides look alike: exactly 0
/// is `le="0.5"` less `le="-0.5"`, one token more than computed `le="1.5"` less `le="0.5"`.
const RESIDUAL_TOKENS: &[f64] = &[-100.5, -10.5, -3.5, -1.5, -0.5, 0.5, 1.5, 3.5, 10.5, 100.5];
/// A commit is one sync of the disk; above a second something is wrong with it.
const COMMIT_S: &[f64] = &[0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0];

/// From one request near by to a broker that was away for minutes.
const DELIVERY_S: &[f64] =
    &[0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0];

/// What accounting holds: from a frame that is only looked at to the limit of a turn.
const HELD_S: &[f64] = &[
    0.000_000_5,
    0.000_001,
    0.000_002,
    0.000_005,
    0.000_01,
    0.000_02,
    0.000_05,
    0.000_1,
    0.000_2,
    0.000_5,
    0.001,
    0.002,
    0.005,
    0.01,
];

/// Every metric.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    rows: Vec<Row>,
    deployments: Names,
    models: Names,
    requests: IntCounterVec,
    tokens: IntCounterVec,
    first_token_seconds: HistogramVec,
    per_token_seconds: HistogramVec,
    duration_seconds: HistogramVec,
    request_tokens: HistogramVec,
    interruptions: IntCounterVec,
    accounting: IntCounterVec,
    residual_tokens: HistogramVec,
    rules_drifted: IntGaugeVec,
    parse_errors: IntCounter,
    unknown_fields: IntCounter,
    unattributed: IntCounter,
    conflicts: IntCounter,
    overhead_seconds: HistogramVec,
    streams: IntGauge,
    body_bytes: IntCounterVec,
    not_accepted: IntCounterVec,
    backlog_bytes: IntGauge,
    prompts_not_kept: IntCounter,
    reloads: IntCounterVec,
    accepted: IntCounter,
    settled: IntCounter,
    summed: IntCounter,
    open: IntGauge,
    stored: IntCounter,
    delivered: IntCounter,
    refused: IntCounter,
    undelivered: IntGauge,
    oldest_undelivered_s: IntGauge,
    ledger_bytes: IntGauge,
    ledger_bytes_max: IntGauge,
    ledger_degraded: IntGauge,
    overload: IntCounter,
    panics: IntCounter,
    prompt_memory_bytes: IntGauge,
    drains_running: IntGauge,
    drains: IntCounterVec,
    usage_refused: IntCounter,
    replaced: IntCounter,
    resent: IntCounter,
    in_flight: IntGauge,
    backing_off: IntGauge,
    publish_errors: IntCounterVec,
    token_failures: IntCounter,
    /// From handing an event to the Kafka client to its acknowledgement.
    pub event_delivery_seconds: Histogram,
    /// Time of one ledger commit.
    pub ledger_commit_seconds: Histogram,
}

/// Counts that the ledger and the data path keep themselves, read at each scrape.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LedgerSnapshot {
    /// Calls since start.
    pub accepted: u64,
    /// Of these: with an event.
    pub settled: u64,
    /// Of these: only in a sum.
    pub summed: u64,
    /// Of these: running.
    pub open: u64,
    /// Events stored since start.
    pub stored: u64,
    /// Events that the broker has confirmed since start.
    pub delivered: u64,
    /// Events that the broker refused for good since start.
    pub refused: u64,
    /// Events in the ledger that are not delivered yet.
    pub undelivered: u64,
    /// Seconds since the first of these was stored; 0 if there is none.
    pub oldest_undelivered_s: u64,
    /// Bytes of the ledger's database and WAL.
    pub bytes: u64,
    /// Bytes that the ledger may take.
    pub bytes_max: u64,
    /// Calls are summed, or were since the last control event.
    pub degraded: bool,
    /// Calls whose answer outran the counting threads.
    pub overload: u64,
    /// Panics caught in accounting.
    pub panics: u64,
    /// Request bodies kept to be counted.
    pub prompt_memory_bytes: u64,
    /// Answers that are read on although their callers have left.
    pub drains_running: u64,
    /// Those that were read to their end.
    pub drains_finished: u64,
    /// Those that a bound cut.
    pub drains_cut: u64,
    /// Requests that were sent again without being made to ask for usage.
    pub usage_refused: u64,
    /// Calls whose prompt was not kept.
    pub prompts_not_kept: u64,
    /// Bytes of answers that wait for the counting threads.
    pub backlog_bytes: u64,
    /// Answers that are passing.
    pub streams: u64,
    /// Bytes of request bodies, of calls that ended.
    pub request_bytes: u64,
    /// Bytes of answers, of calls that ended.
    pub answer_bytes: u64,
    /// Requests refused because the ledger had no place.
    pub not_accepted: u64,
}

/// Counts that the publisher keeps itself, read at each scrape.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PublishSnapshot {
    /// Times that the Kafka client was replaced.
    pub replaced: u64,
    /// Events sent again after an error.
    pub resent: u64,
    /// Events sent and not acknowledged yet.
    pub in_flight: u64,
    /// Nothing has got through since the last error.
    pub backing_off: bool,
    /// Errors by what they call for.
    pub errors: Vec<(&'static str, u64)>,
    /// Requests for a token that brought none.
    pub token_failures: u64,
}

/// Makes metrics and registers them; the first error is kept.
struct Declare {
    registry: Registry,
    error: Option<prometheus::Error>,
    rows: Vec<Row>,
}

/// A metric as the README's table shows it.
#[derive(Debug)]
struct Row {
    name: String,
    kind: &'static str,
    labels: String,
    help: String,
}

impl Declare {
    fn put<M: prometheus::core::Collector + Clone + 'static>(
        &mut self,
        made: prometheus::Result<M>,
    ) -> Option<M> {
        let registered =
            made.and_then(|metric| self.registry.register(Box::new(metric.clone())).map(|()| metric));
        registered.map_err(|error| self.error.get_or_insert(error).to_string()).ok()
    }
    fn row(&mut self, name: &str, kind: &'static str, labels: &[&str], help: &str) {
        self.rows.push(Row { name: name.to_owned(), kind, labels: labels.join(", "), help: help.to_owned() });
    }
    fn counter(&mut self, name: &str, help: &str) -> Option<IntCounter> {
        self.row(name, "counter", &[], help);
        self.put(IntCounter::new(name, help))
    }
    fn counters(&mut self, name: &str, help: &str, labels: &[&str]) -> Option<IntCounterVec> {
        self.row(name, "counter", labels, help);
        self.put(IntCounterVec::new(Opts::new(name, help), labels))
    }
    fn gauge(&mut self, name: &str, help: &str) -> Option<IntGauge> {
        self.row(name, "gauge", &[], help);
        self.put(IntGauge::new(name, help))
    }
    fn gauges(&mut self, name: &str, help: &str, labels: &[&str]) -> Option<IntGaugeVec> {
        self.row(name, "gauge", labels, help);
        self.put(IntGaugeVec::new(Opts::new(name, help), labels))
    }
    fn histogram(&mut self, name: &str, help: &str, edges: &[f64]) -> Option<Histogram> {
        self.row(name, "histogram", &[], help);
        self.put(Histogram::with_opts(HistogramOpts::new(name, help).buckets(edges.to_vec())))
    }
    fn histograms(&mut self, name: &str, help: &str, edges: &[f64], labels: &[&str]) -> Option<HistogramVec> {
        self.row(name, "histogram", labels, help);
        self.put(HistogramVec::new(HistogramOpts::new(name, help).buckets(edges.to_vec()), labels))
    }
    /// The version, as the usual label of a gauge that is always 1.
    fn build_info(&mut self) -> Option<()> {
        let (name, help) = ("tokenweir_build_info", "Always 1; the label is the version.");
        self.row(name, "gauge", &["version"], help);
        let opts = Opts::new(name, help).const_label("version", env!("CARGO_PKG_VERSION"));
        self.put(IntGauge::with_opts(opts))?.set(1);
        Some(())
    }
}

impl Metrics {
    /// Declares every metric.
    ///
    /// # Errors
    /// If a name is declared twice or is no metric name: a mistake in this file.
    pub fn new() -> prometheus::Result<Metrics> {
        let mut declare = Declare { registry: Registry::new(), error: None, rows: Vec::new() };
        declare.registry.register(Box::new(ProcessCollector::for_self()))?;
        let metrics = Metrics::declare(&mut declare);
        match (metrics, declare.error) {
            (Some(metrics), None) => Ok(Metrics { rows: declare.rows, ..metrics }),
            (_, error) => {
                Err(error.unwrap_or_else(|| prometheus::Error::Msg("undeclared metric".to_owned())))
            }
        }
    }

    fn declare(d: &mut Declare) -> Option<Metrics> {
        d.build_info()?;
        Some(Metrics {
            registry: d.registry.clone(),
            rows: Vec::new(),
            deployments: Names::default(),
            models: Names::default(),
            requests: d.counters(
                "tokenweir_requests_total",
                "Calls that ended.",
                &["api", "deployment", "status_class", "outcome"],
            )?,
            tokens: d.counters(
                "tokenweir_tokens_total",
                "Tokens. Classes overlap: sum only input and output.",
                &["deployment", "model", "class", "source"],
            )?,
            first_token_seconds: d.histograms(
                "tokenweir_time_to_first_token_seconds",
                "From the request's head to the first token of the answer.",
                FIRST_TOKEN_S,
                &["api", "deployment"],
            )?,
            per_token_seconds: d.histograms(
                "tokenweir_time_per_output_token_seconds",
                "(duration - first token) / (output - 1), streams only.",
                PER_TOKEN_S,
                &["api", "deployment"],
            )?,
            duration_seconds: d.histograms(
                "tokenweir_request_duration_seconds",
                "From the request's head to the last byte of the answer.",
                DURATION_S,
                &["api", "deployment", "outcome"],
            )?,
            request_tokens: d.histograms(
                "tokenweir_request_tokens",
                "Tokens of one call.",
                TOKENS,
                &["class"],
            )?,
            interruptions: d.counters(
                "tokenweir_stream_interruptions_total",
                "Streams that did not complete.",
                &["outcome"],
            )?,
            accounting: d.counters(
                "tokenweir_accounting_total",
                "Calls by how their numbers are known.",
                &["input_source", "output_source", "input_quality", "output_quality"],
            )?,
            residual_tokens: d.histograms(
                "tokenweir_count_residual_tokens",
                "Reported minus computed, of calls whose computed number would be exact. class: chat_completions:output:text, ..",
                RESIDUAL_TOKENS,
                &["deployment", "model", "class"],
            )?,
            rules_drifted: d.gauges(
                "tokenweir_rules_drifted",
                "1 while the service bills otherwise than the rules say; computed numbers are then estimated. Of several upstreams, how many do.",
                &["deployment", "model", "class"],
            )?,
            parse_errors: d
                .counter("tokenweir_sse_parse_errors_total", "Events or bodies that could not be read.")?,
            unknown_fields: d.counter(
                "tokenweir_unknown_usage_fields_total",
                "Details of reported usage that have no field of their own: the service has news.",
            )?,
            conflicts: d.counter(
                "tokenweir_caller_conflicts_total",
                "Calls of which two sources named different callers; the first won.",
            )?,
            overhead_seconds: d.histograms(
                "tokenweir_overhead_seconds",
                "Time that accounting holds bytes back. phase: request (from the head's arrival until it may be sent, of every call: routing, identity, a place in the ledger, and what an opt-in waits for), chunk (a frame of an answer in the meter, one of 16). Neither reading and writing sockets nor waiting for the thread is in it.",
                HELD_S,
                &["phase"],
            )?,
            streams: d.gauge(
                "tokenweir_streams_in_flight",
                "Answers whose head has come and whose body has not ended: what to scale by.",
            )?,
            body_bytes: d.counters(
                "tokenweir_body_bytes_total",
                "Bytes of bodies as they passed, of calls that ended. direction: request, answer.",
                &["direction"],
            )?,
            not_accepted: d.counters(
                "tokenweir_requests_refused_total",
                "Requests that got 503 before they were calls. reason: ledger_full (--on-ledger-failure reject).",
                &["reason"],
            )?,
            backlog_bytes: d.gauge(
                "tokenweir_meter_backlog_bytes",
                "Bytes of answers that wait for the counting threads.",
            )?,
            prompts_not_kept: d.counter(
                "tokenweir_prompts_not_kept_total",
                "Calls whose prompt was not kept to be counted (--prompt-memory): input null.",
            )?,
            reloads: d.counters(
                "tokenweir_reloads_total",
                "Files read again. result: changed, failed (what was read before stays in force).",
                &["setting", "result"],
            )?,
            unattributed: d
                .counter("tokenweir_unattributed_requests_total", "Calls that nobody can be charged for.")?,
            accepted: d.counter("tokenweir_calls_accepted_total", "Calls that the ledger was told of.")?,
            settled: d.counter("tokenweir_calls_settled_total", "Calls with a usage event.")?,
            summed: d.counter("tokenweir_calls_summed_total", "Calls that are only in a summary.")?,
            open: d.gauge("tokenweir_calls_open", "Calls that are running.")?,
            stored: d.counter("tokenweir_events_stored_total", "Events committed to the ledger.")?,
            delivered: d
                .counter("tokenweir_events_delivered_total", "Events that the broker has confirmed.")?,
            refused: d
                .counter("tokenweir_events_refused_total", "Events that the broker refused for good.")?,
            undelivered: d
                .gauge("tokenweir_ledger_events", "Events in the ledger that are not delivered yet.")?,
            oldest_undelivered_s: d.gauge(
                "tokenweir_ledger_oldest_undelivered_seconds",
                "Seconds since the first event that is not delivered yet was stored; 0 if there is none.",
            )?,
            ledger_bytes: d.gauge("tokenweir_ledger_bytes", "Bytes of the ledger's database and WAL.")?,
            ledger_bytes_max: d
                .gauge("tokenweir_ledger_max_bytes", "Bytes that the ledger may take (--ledger-max-bytes).")?,
            ledger_degraded: d.gauge(
                "tokenweir_ledger_degraded",
                "1 while calls are summed, because nothing can be stored or no place is free.",
            )?,
            overload: d.counter(
                "tokenweir_meter_overload_total",
                "Calls whose answer outran the counting threads.",
            )?,
            panics: d.counter(
                "tokenweir_meter_panics_total",
                "Panics caught in accounting; the call's numbers are unknown.",
            )?,
            prompt_memory_bytes: d
                .gauge("tokenweir_prompt_memory_bytes", "Request bodies kept to be counted.")?,
            drains_running: d.gauge(
                "tokenweir_disconnect_drains",
                "Answers that are read on although their callers have left.",
            )?,
            drains: d.counters(
                "tokenweir_disconnect_drains_total",
                "Answers whose callers left, under --on-client-disconnect drain. end: finished, cut (by a bound).",
                &["end"],
            )?,
            usage_refused: d.counter(
                "tokenweir_include_usage_refused_total",
                "Requests sent again as their callers wrote them, since the service refused to be asked for usage.",
            )?,
            replaced: d.counter(
                "tokenweir_producer_replaced_total",
                "Times that the Kafka client was replaced: a fatal error, a dead connection, a new secret.",
            )?,
            resent: d.counter("tokenweir_events_resent_total", "Events sent again after an error.")?,
            in_flight: d.gauge("tokenweir_events_in_flight", "Events sent and not acknowledged yet.")?,
            backing_off: d.gauge(
                "tokenweir_publish_backing_off",
                "1 while nothing has got through to the broker since the last error.",
            )?,
            publish_errors: d.counters(
                "tokenweir_publish_errors_total",
                "Errors of events. class: again, event (not acceptable), setting (somebody must change one), producer (fatal).",
                &["class"],
            )?,
            token_failures: d.counter(
                "tokenweir_token_refresh_failures_total",
                "Requests for a token of Entra ID that brought none.",
            )?,
            event_delivery_seconds: d.histogram(
                "tokenweir_event_delivery_seconds",
                "From handing an event to the Kafka client to its acknowledgement.",
                DELIVERY_S,
            )?,
            ledger_commit_seconds: d.histogram(
                "tokenweir_ledger_commit_seconds",
                "Time of one ledger commit.",
                COMMIT_S,
            )?,
        })
    }

    /// Counts a call that has settled.
    pub fn settled(&self, usage: &Usage) {
        let proven = usage.request.status == 200 && usage.target.model.is_some();
        let deployment = self.deployments.label(usage.target.deployment.as_deref(), proven);
        let model = self.models.label(usage.target.model.as_deref(), proven);
        let (api, outcome) = (usage.target.api.as_str(), usage.stream.outcome);
        let status_class = status_class(usage.request.status);
        self.requests.with_label_values(&[api, deployment, status_class, outcome.as_str()]).inc();
        if outcome != Outcome::Complete {
            self.interruptions.with_label_values(&[outcome.as_str()]).inc();
        }
        if usage.caller.id == crate::caller::UNATTRIBUTED {
            self.unattributed.inc();
        }
        self.conflicts.inc_by(u64::from(usage.caller.conflict));
        self.parse_errors.inc_by(usage.stream.parse_errors);
        self.unknown_fields.inc_by(usage.tokens.other.len() as u64);
        self.count_tokens(usage, deployment, model);
        self.count_times(usage, api, deployment);
    }

    fn count_tokens(&self, usage: &Usage, deployment: &str, model: &str) {
        let (tokens, accounting) = (&usage.tokens, &usage.accounting);
        let (input_source, output_source) =
            (accounting.input_source.as_str(), accounting.output_source.as_str());
        for (class, source, count) in [
            ("input", input_source, tokens.input),
            ("input_cached", input_source, tokens.input_cached),
            ("output", output_source, tokens.output),
            ("output_reasoning", output_source, tokens.output_reasoning),
        ] {
            let Some(count) = count else { continue };
            self.tokens.with_label_values(&[deployment, model, class, source]).inc_by(count);
            if matches!(class, "input" | "output") {
                self.request_tokens.with_label_values(&[class]).observe(count as f64);
            }
        }
        let quality = |side: Quality| side.as_str();
        self.accounting
            .with_label_values(&[
                input_source,
                output_source,
                quality(accounting.input_quality),
                quality(accounting.output_quality),
            ])
            .inc();
    }

    /// Accounting held a request or a frame for so long.
    pub fn held(&self, phase: &str, time: Duration) {
        self.overhead_seconds.with_label_values(&[phase]).observe(time.as_secs_f64());
    }

    /// A setting's file was read again.
    pub fn reloaded(&self, setting: &str, result: &str) {
        self.reloads.with_label_values(&[setting, result]).inc();
    }

    /// Counts a number that the service reported and the rules computed.
    pub fn compared(&self, comparison: &Comparison<'_>) {
        let Comparison { deployment, model, class, residual_tokens, turned, .. } = *comparison;
        let deployment = self.deployments.label(Some(deployment), true);
        let labels = [deployment, self.models.label(Some(model), true), class];
        self.residual_tokens.with_label_values(&labels).observe(residual_tokens as f64);
        // A difference, not a value: two upstreams may have a deployment of one name, and two
        // threads may tell of one class in another order than it turned.
        let change = turned.map_or(0, |drifts| if drifts { 1 } else { -1 });
        self.rules_drifted.with_label_values(&labels).add(change);
    }

    fn count_times(&self, usage: &Usage, api: &str, deployment: &str) {
        let Some(duration_ms) = usage.timing.duration_ms else { return };
        let outcome = usage.stream.outcome.as_str();
        self.duration_seconds.with_label_values(&[api, deployment, outcome]).observe(seconds(duration_ms));
        let Some(first_ms) = usage.timing.first_token_ms else { return };
        self.first_token_seconds.with_label_values(&[api, deployment]).observe(seconds(first_ms));
        if let (true, Some(output @ 2..)) = (usage.request.stream, usage.tokens.output) {
            let per_token = seconds(duration_ms.saturating_sub(first_ms)) / (output - 1) as f64;
            self.per_token_seconds.with_label_values(&[api, deployment]).observe(per_token);
        }
    }

    /// The metrics in Prometheus' text format, with the counts that others keep.
    ///
    /// # Errors
    /// If the text cannot be encoded.
    pub fn render(&self, now: LedgerSnapshot, publish: PublishSnapshot) -> prometheus::Result<String> {
        for (counter, value) in [
            (&self.accepted, now.accepted),
            (&self.settled, now.settled),
            (&self.summed, now.summed),
            (&self.stored, now.stored),
            (&self.delivered, now.delivered),
            (&self.refused, now.refused),
            (&self.overload, now.overload),
            (&self.panics, now.panics),
            (&self.usage_refused, now.usage_refused),
            (&self.replaced, publish.replaced),
            (&self.resent, publish.resent),
            (&self.token_failures, publish.token_failures),
            (&self.prompts_not_kept, now.prompts_not_kept),
            (&self.body_bytes.with_label_values(&["request"]), now.request_bytes),
            (&self.body_bytes.with_label_values(&["answer"]), now.answer_bytes),
            (&self.not_accepted.with_label_values(&["ledger_full"]), now.not_accepted),
        ] {
            counter.inc_by(value.saturating_sub(counter.get()));
        }
        for (gauge, value) in [
            (&self.open, now.open),
            (&self.undelivered, now.undelivered),
            (&self.oldest_undelivered_s, now.oldest_undelivered_s),
            (&self.ledger_bytes, now.bytes),
            (&self.ledger_bytes_max, now.bytes_max),
            (&self.ledger_degraded, u64::from(now.degraded)),
            (&self.prompt_memory_bytes, now.prompt_memory_bytes),
            (&self.drains_running, now.drains_running),
            (&self.backlog_bytes, now.backlog_bytes),
            (&self.streams, now.streams),
            (&self.in_flight, publish.in_flight),
            (&self.backing_off, publish.backing_off.into()),
        ] {
            gauge.set(i64::try_from(value).unwrap_or(i64::MAX));
        }
        for (end, drains) in [("finished", now.drains_finished), ("cut", now.drains_cut)] {
            let counter = self.drains.with_label_values(&[end]);
            counter.inc_by(drains.saturating_sub(counter.get()));
        }
        for (class, errors) in publish.errors {
            let counter = self.publish_errors.with_label_values(&[class]);
            counter.inc_by(errors.saturating_sub(counter.get()));
        }
        let mut text = Vec::new();
        TextEncoder::new().encode(&self.registry.gather(), &mut text)?;
        Ok(String::from_utf8_lossy(&text).into_owned())
    }

    /// Name, kind, labels and help of every metric: the README's table.
    pub fn markdown(&self) -> String {
        let mut table = String::from("| metric | type | labels | what it says |\n|---|---|---|---|\n");
        for Row { name, kind, labels, help } in &self.rows {
            table.push_str(&format!("| `{name}` | {kind} | {labels} | {help} |\n"));
        }
        table
    }
}

fn seconds(ms: u64) -> f64 {
    ms as f64 / 1_000.0
}

fn status_class(status: u16) -> &'static str {
    match status {
        0 => "none",
        100..=199 => "1xx",
        200..=299 => "2xx",
        300..=399 => "3xx",
        400..=499 => "4xx",
        _ => "5xx",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_metric_is_declared_once_and_shown() {
        let metrics = Metrics::new().unwrap();
        let text = metrics
            .render(
                LedgerSnapshot { accepted: 3, settled: 2, open: 1, ..Default::default() },
                PublishSnapshot { errors: vec![("again", 4)], backing_off: true, ..Default::default() },
            )
            .unwrap();
        assert!(text.contains("tokenweir_calls_accepted_total 3"), "{text}");
        assert!(text.contains("tokenweir_calls_open 1"), "{text}");
        assert!(text.contains("tokenweir_publish_errors_total{class=\"again\"} 4"), "{text}");
        assert!(text.contains("tokenweir_publish_backing_off 1"), "{text}");
        assert!(text.contains("tokenweir_build_info{version="), "{text}");
        assert!(text.contains("process_resident_memory_bytes"), "{text}");
        for row in &metrics.rows {
            assert!(row.name.starts_with("tokenweir_"), "{}", row.name);
            let suffix = if row.kind == "counter" { "_total" } else { "" };
            assert!(row.name.ends_with(suffix), "{}", row.name);
        }
    }

    #[test]
    fn a_class_drifts_at_one_upstream_or_at_several() {
        let metrics = Metrics::new().unwrap();
        let drifting = |resource: &str, residual_tokens, turned| {
            let (deployment, model, class) = ("d", "gpt-4o", "chat_completions:output:text");
            metrics.compared(&Comparison {
                resource,
                deployment,
                model,
                class,
                residual_tokens,
                turned,
                wrong_calls: 0,
            });
            metrics.rules_drifted.with_label_values(&[deployment, model, class]).get()
        };
        assert_eq!((drifting("eu", 0, None), drifting("eu", 1, Some(true))), (0, 1));
        assert_eq!((drifting("us", -1, Some(true)), drifting("us", 2, None)), (2, 2));
        assert_eq!((drifting("us", 0, Some(false)), drifting("eu", 0, Some(false))), (1, 0));
        let text = metrics.render(LedgerSnapshot::default(), PublishSnapshot::default()).unwrap();
        let labels = r#"class="chat_completions:output:text",deployment="d",model="gpt-4o""#;
        for (edge, at_most) in [("-1.5", 0), ("-0.5", 1), ("0.5", 4), ("1.5", 5), ("3.5", 6)] {
            let line =
                format!("tokenweir_count_residual_tokens_bucket{{{labels},le=\"{edge}\"}} {at_most}\n");
            assert!(text.contains(&line), "{line}{text}");
        }
    }

    #[test]
    fn counters_follow_the_snapshot() {
        let metrics = Metrics::new().unwrap();
        for stored in [1, 5, 5, 9] {
            let text = metrics
                .render(LedgerSnapshot { stored, ..Default::default() }, PublishSnapshot::default())
                .unwrap();
            assert!(text.contains(&format!("tokenweir_events_stored_total {stored}\n")), "{text}");
        }
    }
}
