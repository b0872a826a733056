//! Every metric: declared in the order of the table in `docs/metrics.md`, and written out.

use std::time::Duration;

use prometheus::process_collector::ProcessCollector;
use prometheus::{Encoder, Histogram, HistogramVec, IntGaugeVec, Registry, TextEncoder};

use super::calls::CallMetrics;
use super::declare::{Declare, MetricRow};
use super::edges::{COMMIT_S, DELIVERY_S, HELD_S, RESIDUAL_TOKENS};
use super::followed::Follower;
use super::gaps::GapMetrics;
use super::per_caller::{CallerMetrics, PerCaller};
use super::reloads::{ReloadMetrics, ReloadResult};
use super::snapshot::Snapshot;
use crate::telemetry::comparison::Comparison;
use crate::telemetry::labels::Names;
use metering::usage::Usage;

/// Every metric.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    rows: Vec<MetricRow>,
    deployments: Names,
    models: Names,
    calls: CallMetrics,
    residual_tokens: HistogramVec,
    rules_drifted: IntGaugeVec,
    gaps: GapMetrics,
    overhead_seconds: HistogramVec,
    reloads: ReloadMetrics,
    callers: CallerMetrics,
    followed: Follower,
    /// From handing an event to the Kafka client to its acknowledgement.
    pub event_delivery_seconds: Histogram,
    /// Time of one ledger commit.
    pub ledger_commit_seconds: Histogram,
    /// Time of one sync of the ledger.
    pub ledger_sync_seconds: Histogram,
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

    /// These metrics, with tokens by caller or department.
    #[must_use]
    pub fn per_caller(mut self, per_caller: PerCaller) -> Metrics {
        self.callers.per_caller = per_caller;
        self
    }

    fn declare(d: &mut Declare) -> Option<Metrics> {
        d.build_info()?;
        Some(Metrics {
            registry: d.registry.clone(),
            rows: Vec::new(),
            deployments: Names::default(),
            models: Names::default(),
            calls: CallMetrics::declare(d)?,
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
            gaps: GapMetrics::declare(d)?,
            overhead_seconds: d.histograms(
                "tokenweir_overhead_seconds",
                "Time that accounting holds bytes back. phase: request (from the head's arrival until it may be sent, of every call: routing, identity, a place in the ledger, and what an opt-in waits for), chunk (a frame of an answer in the meter, one of 16). Neither reading and writing sockets nor waiting for the thread is in it.",
                HELD_S,
                &["phase"],
            )?,
            reloads: ReloadMetrics::declare(d)?,
            callers: CallerMetrics::declare(d)?,
            followed: Follower::declare(d)?,
            event_delivery_seconds: d.histogram(
                "tokenweir_event_delivery_seconds",
                "From handing an event to the Kafka client to its acknowledgement.",
                DELIVERY_S,
            )?,
            ledger_commit_seconds: d.histogram(
                "tokenweir_ledger_commit_seconds",
                "Time of one ledger commit: until its calls survive the death of the process.",
                COMMIT_S,
            )?,
            ledger_sync_seconds: d.histogram(
                "tokenweir_ledger_sync_seconds",
                "Time of one sync of the ledger, behind its commits: until its events survive a loss of power and may be published.",
                COMMIT_S,
            )?,        })
    }

    /// Counts a call that has settled.
    pub fn settled(&self, usage: &Usage) {
        let proven = usage.request.status == 200 && usage.target.model.is_some();
        let deployment = self.deployments.label(usage.target.deployment.as_deref(), proven);
        let model = self.models.label(usage.target.model.as_deref(), proven);
        self.calls.settled(usage, deployment, model);
        self.gaps.settled(usage);
        self.callers.settled(usage);
    }

    /// Accounting held a request or a frame for so long.
    pub fn held(&self, phase: &str, time: Duration) {
        self.overhead_seconds.with_label_values(&[phase]).observe(time.as_secs_f64());
    }

    /// A setting's file was read again.
    pub fn reloaded(&self, setting: &str, result: ReloadResult) {
        self.reloads.reloaded(setting, result);
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
        // A known deployment without a response now is at 0, not absent: others scale by it.
        now.data_path.answers.extend(self.deployments.all().into_iter().map(|name| (name, 0)));
        self.followed.follow(&now);
        self.callers.forget_silent();
        let mut text = Vec::new();
        TextEncoder::new().encode(&self.registry.gather(), &mut text)?;
        Ok(String::from_utf8_lossy(&text).into_owned())
    }

    /// Name, kind, labels and help of every metric: the table in `docs/metrics.md`.
    pub fn markdown(&self) -> String {
        let mut table = String::from("| metric | type | labels | what it says |\n|---|---|---|---|\n");
        for MetricRow { name, kind, labels, help } in &self.rows {
            table.push_str(&format!("| `{name}` | {kind} | {labels} | {help} |\n"));
        }
        table
    }
}

#[cfg(test)]
mod tests {
    use smol_str::SmolStr;

    use super::super::snapshot::{
        BrokerSnapshot, DataPathSnapshot, EdgesSnapshot, LedgerSnapshot, PublishSnapshot,
    };
    use super::*;
    use crate::telemetry::labels::OTHER;
    use metering::caller::{Caller, Trust};
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
                certificates: vec![("listen-cert-file", 1_800_000_000)],
                odd_paths: vec![("forwarded", 3)],
                unrecorded: vec![("capture_unavailable", 4)],
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
        let expiry =
            "tokenweir_certificate_expiry_timestamp_seconds{setting=\"listen-cert-file\"} 1800000000";
        assert!(text.contains(expiry), "{text}");
        assert!(text.contains("tokenweir_unattributed_requests_total{reason=\"malformed\"} 5"), "{text}");
        assert!(text.contains("tokenweir_odd_paths_total{result=\"forwarded\"} 3"), "{text}");
        let refused = "tokenweir_requests_refused_total{reason=\"capture_unavailable\"} 4";
        assert!(text.contains(refused), "{text}");
        assert!(text.contains("tokenweir_include_usage_off{deployment=\"other\"} 2"), "{text}");
        assert!(text.contains("tokenweir_kafka_broker_up{broker=\"2\"} 1"), "{text}");
        assert!(text.contains("tokenweir_kafka_rtt_seconds{broker=\"2\"} 0.25"), "{text}");
        let build =
            "tokenweir_build_info{commit=\"unknown\",committed=\"unknown\",rustc=\"unknown\",version=\"";
        assert!(text.contains(build), "{text}");
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
    fn units_are_counted_and_a_call_that_has_some_is_no_gap() {
        let metrics = Metrics::new().unwrap();
        let mut usage = Usage::draft(Caller::unattributed(Trust::None), Target::default());
        usage.accounting.reasons = vec![SmolStr::new_static("input:no_usage")];
        (usage.units.images, usage.units.characters) = (Some(2), Some(40));
        metrics.settled(&usage);
        metrics.settled(&usage);
        let text = metrics.render(Snapshot::default()).unwrap();
        for line in [r#"unit="images"} 4"#, r#"unit="characters"} 80"#] {
            let line = format!("tokenweir_units_total{{deployment=\"\",model=\"\",{line}\n");
            assert!(text.contains(&line), "{line}{text}");
        }
        assert!(!text.contains("tokenweir_unmetered_calls_total{"), "{text}");
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
