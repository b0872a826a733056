//! Every Prometheus metric, declared once. Units last in the names; base units.
//!
//! What a call says when it ends is counted here; what others count is read at each scrape
//! (`followed`).

mod declare;
mod edges;
mod followed;
mod snapshot;

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use prometheus::process_collector::ProcessCollector;
use prometheus::{
    Encoder, Histogram, HistogramVec, IntCounter, IntCounterVec, IntGaugeVec, Registry, TextEncoder,
};

use self::declare::{Declare, MetricRow};
use self::edges::{
    COMMIT_S, DELIVERY_S, DURATION_S, FIRST_TOKEN_S, HELD_S, PER_TOKEN_S, RESIDUAL_TOKENS, TOKENS,
};
use self::followed::Follower;
pub use self::snapshot::{
    BrokerSnapshot, DataPathSnapshot, EdgesSnapshot, LedgerSnapshot, PublishSnapshot, Snapshot,
};
use super::Comparison;
use super::labels::Names;
use metering::caller::Caller;
use metering::usage::{Outcome, Quality, Reason, Usage};

/// Series of callers: enough for the teams of a bank; more would hurt a Prometheus.
const CALLERS_MAX: usize = 500;

/// A caller that was silent for so long takes no series any more.
const CALLER_IDLE_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// Reasons of numbers that are not known because nothing is read for them.
const UNMETERED: [Reason; 2] = [Reason::NoUsage, Reason::Unmetered];

/// Whose tokens stand in metrics of their own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum PerCaller {
    /// No caller's.
    #[default]
    Off,
    /// Each department's, as the caller map names it.
    Department,
    /// Each caller's.
    Caller,
}

/// Every metric.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    rows: Vec<MetricRow>,
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
    unmetered: IntCounterVec,
    parse_errors: IntCounter,
    unknown_fields: IntCounter,
    conflicts: IntCounter,
    overhead_seconds: HistogramVec,
    reloads: IntCounterVec,
    reload_success_s: IntGaugeVec,
    per_caller: PerCaller,
    callers: Names,
    caller_tokens: IntCounterVec,
    followed: Follower,
    /// From handing an event to the Kafka client to its acknowledgement.
    pub event_delivery_seconds: Histogram,
    /// Time of one ledger commit.
    pub ledger_commit_seconds: Histogram,
}

impl Metrics {
    /// Declares every metric.
    ///
    /// # Errors
    /// If a name is declared twice or is no metric name: a mistake in this file.
    pub fn new() -> prometheus::Result<Metrics> {
        let mut declare = Declare::default();
        declare.registry.register(Box::new(ProcessCollector::for_self()))?;
        let metrics = Metrics::declare(&mut declare);
        match (metrics, declare.error) {
            (Some(metrics), None) => Ok(Metrics { rows: declare.rows, ..metrics }),
            (_, error) => {
                Err(error.unwrap_or_else(|| prometheus::Error::Msg("undeclared metric".to_owned())))
            }
        }
    }

    /// The same, with tokens by caller or department.
    #[must_use]
    pub fn per_caller(self, per_caller: PerCaller) -> Metrics {
        Metrics { per_caller, ..self }
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
            unmetered: d.counters(
                "tokenweir_unmetered_calls_total",
                "Calls that nobody has a number for on some side, because nothing in them is read for it. reason: no_usage (what the service reports is taken, and it reported nothing), unmetered (what goes by is not looked into, as in a WebSocket, or is another call's).",
                &["api", "reason"],
            )?,
            parse_errors: d
                .counter("tokenweir_sse_parse_errors_total", "Events or bodies that could not be read.")?,
            unknown_fields: d.counter(
                "tokenweir_unknown_usage_fields_total",
                "Tokens of reported usage that have no field of their own: the service has news.",
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
            reloads: d.counters(
                "tokenweir_reloads_total",
                "Files read again. result: changed, failed (what was read before stays in force).",
                &["setting", "result"],
            )?,
            reload_success_s: d.gauges(
                "tokenweir_reload_last_success_timestamp_seconds",
                "When a file was last read again and taken: seconds since 1970.",
                &["setting"],
            )?,
            per_caller: PerCaller::Off,
            callers: Names::new(CALLERS_MAX),
            caller_tokens: d.counters(
                "tokenweir_caller_tokens_total",
                "Tokens by caller or department (--metrics-per-caller, off by default); other where there are too many. class: input, output. No base of a bill: that is the topic.",
                &["caller", "class"],
            )?,
            followed: Follower::declare(d)?,
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
        for reason in UNMETERED {
            if usage.accounting.reasons.iter().any(|known| reason.is_in(known)) {
                self.unmetered.with_label_values(&[api, reason.as_str()]).inc();
            }
        }
        self.conflicts.inc_by(u64::from(usage.caller.conflict));
        self.parse_errors.inc_by(usage.stream.parse_errors);
        self.unknown_fields.inc_by(usage.tokens.other.len() as u64);
        self.count_tokens(usage, deployment, model);
        self.count_caller(usage);
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

    /// The tokens of one caller, where they are wanted.
    fn count_caller(&self, usage: &Usage) {
        let Some(name) = self.named(&usage.caller) else { return };
        let caller = self.callers.label(Some(name), true);
        for (class, count) in [("input", usage.tokens.input), ("output", usage.tokens.output)] {
            self.caller_tokens.with_label_values(&[caller, class]).inc_by(count.unwrap_or(0));
        }
    }

    fn named<'a>(&self, caller: &'a Caller) -> Option<&'a str> {
        match self.per_caller {
            PerCaller::Off => None,
            PerCaller::Department => Some(caller.department.as_deref().unwrap_or("")),
            PerCaller::Caller => Some(&caller.id),
        }
    }

    /// Accounting held a request or a frame for so long.
    pub fn held(&self, phase: &str, time: Duration) {
        self.overhead_seconds.with_label_values(&[phase]).observe(time.as_secs_f64());
    }

    /// A setting's file was read again.
    pub fn reloaded(&self, setting: &str, result: &str) {
        self.reloads.with_label_values(&[setting, result]).inc();
        if result != "failed" {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            self.reload_success_s.with_label_values(&[setting]).set(now.as_secs().cast_signed());
        }
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
        if let (Some(true), Some(output @ 2..)) = (usage.request.stream, usage.tokens.output) {
            let per_token = seconds(duration_ms.saturating_sub(first_ms)) / (output - 1) as f64;
            self.per_token_seconds.with_label_values(&[api, deployment]).observe(per_token);
        }
    }

    /// The metrics in Prometheus' text format, with the counts that others keep.
    ///
    /// # Errors
    /// If the text cannot be encoded.
    pub fn render(&self, mut now: Snapshot) -> prometheus::Result<String> {
        for (deployment, _) in &mut now.data_path.answers {
            *deployment = self.deployments.label(Some(deployment), false).to_owned();
        }
        for (deployment, _) in &mut now.edges.unasked {
            *deployment = self.deployments.label(Some(deployment), false).to_owned();
        }
        // What is known and has no answer now is at 0, not absent: others scale by it.
        now.data_path.answers.extend(self.deployments.all().into_iter().map(|name| (name, 0)));
        self.followed.follow(&now);
        for caller in self.callers.forget_silent(Instant::now(), CALLER_IDLE_MAX) {
            for class in ["input", "output"] {
                // It has no series of a class that it never used.
                let _ = self.caller_tokens.remove_label_values(&[caller.as_str(), class]);
            }
        }
        let mut text = Vec::new();
        TextEncoder::new().encode(&self.registry.gather(), &mut text)?;
        Ok(String::from_utf8_lossy(&text).into_owned())
    }

    /// Name, kind, labels and help of every metric: the README's table.
    pub fn markdown(&self) -> String {
        let mut table = String::from("| metric | type | labels | what it says |\n|---|---|---|---|\n");
        for MetricRow { name, kind, labels, help } in &self.rows {
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
    use smol_str::SmolStr;

    use super::*;
    use crate::telemetry::labels::OTHER;
    use metering::caller::Trust;
    use metering::usage::Target;

    #[test]
    fn every_metric_is_declared_once_and_shown() {
        let metrics = Metrics::new().unwrap();
        let now = Snapshot {
            ledger: LedgerSnapshot { accepted: 3, settled: 2, open: 1, ..Default::default() },
            publish: PublishSnapshot {
                errors: vec![("again", 4)],
                backing_off: true,
                brokers: vec![BrokerSnapshot { id: 2, up: true, round_trip_s: Some(0.25) }],
                ..Default::default()
            },
            edges: EdgesSnapshot {
                unattributed: vec![("malformed", 5)],
                limits: vec![("in_flight", 7)],
                tls_failures: vec![("caller", "not_tls", 2)],
                odd_paths: vec![("forwarded", 3)],
                unasked: vec![("junk".to_owned(), 1), ("more junk".to_owned(), 1)],
            },
            ..Snapshot::default()
        };
        let text = metrics.render(now).unwrap();
        assert!(text.contains("tokenweir_calls_accepted_total 3"), "{text}");
        assert!(text.contains("tokenweir_calls_open 1"), "{text}");
        assert!(text.contains("tokenweir_publish_errors_total{class=\"again\"} 4"), "{text}");
        assert!(text.contains("tokenweir_publish_backing_off 1"), "{text}");
        assert!(text.contains("tokenweir_limits_total{limit=\"in_flight\"} 7"), "{text}");
        assert!(text.contains("tokenweir_tls_failures_total{cause=\"not_tls\",side=\"caller\"} 2"), "{text}");
        assert!(text.contains("tokenweir_unattributed_requests_total{reason=\"malformed\"} 5"), "{text}");
        assert!(text.contains("tokenweir_odd_paths_total{result=\"forwarded\"} 3"), "{text}");
        assert!(text.contains("tokenweir_include_usage_off{deployment=\"other\"} 2"), "{text}");
        assert!(text.contains("tokenweir_kafka_broker_up{broker=\"2\"} 1"), "{text}");
        assert!(text.contains("tokenweir_kafka_rtt_seconds{broker=\"2\"} 0.25"), "{text}");
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
        let text = metrics.render(Snapshot::default()).unwrap();
        let labels = r#"class="chat_completions:output:text",deployment="d",model="gpt-4o""#;
        for (edge, at_most) in [("-1.5", 0), ("-0.5", 1), ("0.5", 4), ("1.5", 5), ("3.5", 6)] {
            let line =
                format!("tokenweir_count_residual_tokens_bucket{{{labels},le=\"{edge}\"}} {at_most}\n");
            assert!(text.contains(&line), "{line}{text}");
        }
    }

    #[test]
    fn calls_without_a_number_are_counted_by_api() {
        let metrics = Metrics::new().unwrap();
        let mut usage = Usage::draft(Caller::unattributed(Trust::None), Target::default());
        for reasons in [
            &["input:no_usage", "output:no_usage"][..],
            &["output:no_usage"],
            &["input:unmetered", "output:unmetered"],
            &["input:not_billed", "output:client_disconnect", "no_usage"],
        ] {
            usage.accounting.reasons = reasons.iter().copied().map(SmolStr::new_static).collect();
            metrics.settled(&usage);
        }
        let text = metrics.render(Snapshot::default()).unwrap();
        for line in [r#"{api="other",reason="no_usage"} 2"#, r#"{api="other",reason="unmetered"} 1"#] {
            assert!(text.contains(&format!("tokenweir_unmetered_calls_total{line}\n")), "{text}");
        }
    }

    #[test]
    fn counters_follow_the_snapshot() {
        let metrics = Metrics::new().unwrap();
        for stored in [1, 5, 5, 9] {
            let ledger = LedgerSnapshot { stored, ..Default::default() };
            let text = metrics.render(Snapshot { ledger, ..Snapshot::default() }).unwrap();
            assert!(text.contains(&format!("tokenweir_events_stored_total {stored}\n")), "{text}");
        }
    }

    #[test]
    fn streams_are_shown_by_deployments_that_are_proven() {
        let metrics = Metrics::new().unwrap();
        metrics.deployments.label(Some("gpt-4o"), true);
        let passing = |answers: &[(&str, u64)]| {
            let answers = answers.iter().map(|(name, n)| ((*name).to_owned(), *n)).collect();
            let data_path = DataPathSnapshot { answers, ..Default::default() };
            let text = metrics.render(Snapshot { data_path, ..Snapshot::default() }).unwrap();
            let of = |line: &&str| line.starts_with("tokenweir_streams_in_flight{");
            text.lines().filter(of).map(str::to_owned).collect::<Vec<_>>()
        };
        let line = |name: &str, n: u64| format!("tokenweir_streams_in_flight{{deployment=\"{name}\"}} {n}");
        assert_eq!(
            passing(&[("gpt-4o", 3), ("junk", 1), ("", 2), ("more junk", 4)]),
            [line("", 2), line("gpt-4o", 3), line(OTHER, 5)]
        );
        assert_eq!(passing(&[("gpt-4o", 1)]), [line("gpt-4o", 1)]);
        assert_eq!(passing(&[]), [line("gpt-4o", 0)]);
    }

    #[test]
    fn callers_have_series_of_their_own_only_if_somebody_wants_them() {
        let mut usage = Usage::draft(Caller::unattributed(Trust::None), Target::default());
        usage.caller.id = "team-a".into();
        usage.caller.department = Some("Retail".into());
        (usage.tokens.input, usage.tokens.output) = (Some(7), None);
        let shown = |per_caller| {
            let metrics = Metrics::new().unwrap().per_caller(per_caller);
            metrics.settled(&usage);
            metrics.settled(&usage);
            let text = metrics.render(Snapshot::default()).unwrap();
            let of = |line: &&str| line.starts_with("tokenweir_caller_tokens_total{");
            text.lines().filter(of).map(str::to_owned).collect::<Vec<_>>()
        };
        let lines = |caller: &str| {
            let line = |class: &str, n| {
                format!("tokenweir_caller_tokens_total{{caller=\"{caller}\",class=\"{class}\"}} {n}")
            };
            vec![line("input", 14), line("output", 0)]
        };
        assert_eq!(shown(PerCaller::Off), Vec::<String>::new());
        assert_eq!(shown(PerCaller::Caller), lines("team-a"));
        assert_eq!(shown(PerCaller::Department), lines("Retail"));
    }
}
