//! Metrics whose numbers others keep: a table of where each is read.

use prometheus::{CounterVec, GaugeVec};

use super::declare::Declare;
use super::snapshot::Snapshot;

/// Hears of each series: the values of its labels, and its number.
type Put<'a> = dyn FnMut(&[&str], f64) + 'a;

/// Finds the series of a metric.
type ReadNumbers = fn(&Snapshot, &mut Put<'_>);

/// One row: a metric, and how it is read.
struct Followed {
    name: &'static str,
    is_counter: bool,
    labels: &'static [&'static str],
    help: &'static str,
    read: ReadNumbers,
}

const fn counter(
    name: &'static str,
    labels: &'static [&'static str],
    help: &'static str,
    read: ReadNumbers,
) -> Followed {
    Followed { name, is_counter: true, labels, help, read }
}

const fn gauge(
    name: &'static str,
    labels: &'static [&'static str],
    help: &'static str,
    read: ReadNumbers,
) -> Followed {
    Followed { name, is_counter: false, labels, help, read }
}

/// A number as Prometheus has it: exact up to 2^53.
fn f(count: u64) -> f64 {
    count as f64
}

const FOLLOWED: &[Followed] = &[
    gauge(
        "tokenweir_streams_in_flight",
        &["deployment"],
        "Answers whose head has come and whose body has not ended: what to scale by. A deployment is other until a call of it has succeeded.",
        |now, put| now.data_path.answers.iter().for_each(|(deployment, n)| put(&[deployment], f(*n))),
    ),
    counter(
        "tokenweir_unattributed_requests_total",
        &["reason"],
        "Calls that nobody can be charged for. reason: untrusted (the hop failed the test of --caller-trust), malformed (the first source that named somebody did it badly), absent (none did).",
        |now, put| now.edges.unattributed.iter().for_each(|(reason, n)| put(&[reason], f(*n))),
    ),
    counter(
        "tokenweir_body_bytes_total",
        &["direction"],
        "Bytes of bodies as they passed, of calls that ended. direction: request, answer.",
        |now, put| {
            put(&["request"], f(now.data_path.request_bytes));
            put(&["answer"], f(now.data_path.answer_bytes));
        },
    ),
    counter(
        "tokenweir_requests_refused_total",
        &["reason"],
        "Requests that got 503 since there would be no record of them. reason: ledger_full (--on-ledger-failure reject), capture_unavailable, session_uncaptured (both --on-capture-failure reject; sessions are never captured).",
        |now, put| {
            put(&["ledger_full"], f(now.data_path.not_accepted));
            now.edges.unrecorded.iter().for_each(|(reason, n)| put(&[reason], f(*n)));
        },
    ),
    gauge(
        "tokenweir_meter_backlog_bytes",
        &[],
        "Bytes of answers that wait for the counting threads.",
        |now, put| put(&[], f(now.data_path.backlog_bytes)),
    ),
    gauge(
        "tokenweir_answer_memory_bytes",
        &[],
        "Bytes of long answers that are held to be read as a whole (--answer-memory).",
        |now, put| put(&[], f(now.data_path.answer_memory_bytes)),
    ),
    counter(
        "tokenweir_meter_overload_total",
        &[],
        "Calls whose own count was given up: the counting threads had no time for it, or answers no memory (--answer-memory). What the service reports is not lost.",
        |now, put| put(&[], f(now.data_path.overload)),
    ),
    counter(
        "tokenweir_meter_panics_total",
        &[],
        "Panics caught in accounting; the call's numbers are unknown.",
        |now, put| put(&[], f(now.data_path.panics)),
    ),
    gauge("tokenweir_prompt_memory_bytes", &[], "Request bodies kept to be counted.", |now, put| {
        put(&[], f(now.data_path.prompt_memory_bytes));
    }),
    counter(
        "tokenweir_prompts_not_kept_total",
        &[],
        "Calls whose prompt was not kept to be counted (--prompt-memory): input null.",
        |now, put| put(&[], f(now.data_path.prompts_not_kept)),
    ),
    gauge(
        "tokenweir_disconnect_drains",
        &[],
        "Answers that are read on although their callers have left.",
        |now, put| put(&[], f(now.data_path.drains_running)),
    ),
    counter(
        "tokenweir_disconnect_drains_total",
        &["end"],
        "Answers whose callers left, under --on-client-disconnect drain. end: finished, cut (by a bound).",
        |now, put| {
            put(&["finished"], f(now.data_path.drains_finished));
            put(&["cut"], f(now.data_path.drains_cut));
        },
    ),
    counter(
        "tokenweir_include_usage_refused_total",
        &[],
        "Requests sent again as their callers wrote them, since the service refused to be asked for usage.",
        |now, put| put(&[], f(now.data_path.usage_refused)),
    ),
    gauge(
        "tokenweir_include_usage_off",
        &["deployment"],
        "1 while streams of a deployment are not asked for usage (--include-usage inject), since its service refused that within the last hour. Of several upstreams and api-versions, how many. A deployment is other until a call of it has succeeded.",
        |now, put| now.edges.unasked.iter().for_each(|(deployment, n)| put(&[deployment], f(*n))),
    ),
    counter(
        "tokenweir_odd_paths_total",
        &["result"],
        "Requests whose path two services may read in two ways (--on-odd-path). result: forwarded (and metered, reason odd_path), rejected.",
        |now, put| now.edges.odd_paths.iter().for_each(|(result, n)| put(&[result], f(*n))),
    ),
    counter(
        "tokenweir_limits_total",
        &["limit"],
        "Limits that were met. limit: connections (had to wait), files (no descriptor), in_flight (503), header_bytes and headers (431), header_timeout (408), idle_timeout, caller_idle_timeout.",
        |now, put| now.edges.limits.iter().for_each(|(limit, n)| put(&[limit], f(*n))),
    ),
    counter(
        "tokenweir_tls_failures_total",
        &["side", "cause"],
        "TLS connections that failed. side: caller, service. cause: untrusted, expired, wrong_name, certificate, client_certificate (none shown), not_accepted, protocol, not_tls, not_plain, closed, other.",
        |now, put| now.edges.tls_failures.iter().for_each(|(side, cause, n)| put(&[side, cause], f(*n))),
    ),
    gauge(
        "tokenweir_certificate_expiry_timestamp_seconds",
        &["setting"],
        "When the first certificate in the file of a setting ends to hold: seconds since 1970. setting: listen-cert-file, upstream-cert-file. Absent where the file is not set.",
        |now, put| now.edges.certificates.iter().for_each(|(setting, at)| put(&[setting], *at as f64)),
    ),
    counter("tokenweir_calls_accepted_total", &[], "Calls that the ledger was told of.", |now, put| {
        put(&[], f(now.ledger.accepted));
    }),
    counter("tokenweir_calls_settled_total", &[], "Calls with a usage event.", |now, put| {
        put(&[], f(now.ledger.settled));
    }),
    counter("tokenweir_calls_summed_total", &[], "Calls that are only in a summary.", |now, put| {
        put(&[], f(now.ledger.summed));
    }),
    gauge("tokenweir_calls_open", &[], "Calls that are running.", |now, put| put(&[], f(now.ledger.open))),
    counter("tokenweir_events_stored_total", &[], "Events committed to the ledger.", |now, put| {
        put(&[], f(now.ledger.stored));
    }),
    counter("tokenweir_events_delivered_total", &[], "Events that the broker has confirmed.", |now, put| {
        put(&[], f(now.ledger.delivered));
    }),
    counter("tokenweir_events_refused_total", &[], "Events that the broker refused for good.", |now, put| {
        put(&[], f(now.ledger.refused))
    }),
    counter(
        "tokenweir_events_lost_total",
        &[],
        "Events that were committed and that the disk then lost, since a sync failed: they are on no topic.",
        |now, put| put(&[], f(now.ledger.lost)),
    ),
    gauge(
        "tokenweir_databases_moved_aside",
        &["database"],
        "Damaged databases that lie beside the one in use, as of when that was opened: nobody has seen to their events yet. database: ledger, content.",
        |now, put| {
            put(&["ledger"], f(now.ledger.moved_aside));
            now.capture.iter().for_each(|capture| put(&["content"], f(capture.moved_aside)));
        },
    ),
    gauge("tokenweir_ledger_events", &[], "Events in the ledger that are not delivered yet.", |now, put| {
        put(&[], f(now.ledger.undelivered));
    }),
    gauge(
        "tokenweir_ledger_unsynced_events",
        &[],
        "Events in the ledger that a loss of power would take, since the disk has not written them yet. They survive the death of the process, and are not published before.",
        |now, put| put(&[], f(now.ledger.unsynced)),
    ),
    gauge(
        "tokenweir_ledger_oldest_undelivered_seconds",
        &[],
        "Seconds since the first event that is not delivered yet was stored; 0 if there is none.",
        |now, put| put(&[], f(now.ledger.oldest_undelivered_s)),
    ),
    gauge("tokenweir_ledger_bytes", &[], "Bytes of the ledger's database and WAL.", |now, put| {
        put(&[], f(now.ledger.bytes));
    }),
    gauge(
        "tokenweir_ledger_max_bytes",
        &[],
        "Bytes that the ledger may take (--ledger-max-bytes).",
        |now, put| put(&[], f(now.ledger.bytes_max)),
    ),
    gauge(
        "tokenweir_ledger_degraded",
        &[],
        "1 while calls are summed, because nothing can be stored or no place is free.",
        |now, put| put(&[], f(now.ledger.degraded.into())),
    ),
    gauge("tokenweir_events_in_flight", &[], "Events sent and not acknowledged yet.", |now, put| {
        put(&[], f(now.publish.in_flight));
    }),
    counter("tokenweir_events_resent_total", &[], "Events sent again after an error.", |now, put| {
        put(&[], f(now.publish.resent));
    }),
    gauge(
        "tokenweir_publish_backing_off",
        &[],
        "1 while nothing has got through to the broker since the last error.",
        |now, put| put(&[], f(now.publish.backing_off.into())),
    ),
    counter(
        "tokenweir_publish_errors_total",
        &["class"],
        "Errors of publishing. class: again, full (no room in the client), event (not acceptable), setting (somebody must change one), producer (fatal), connection (no event's error: a connection that never came to work, since name, TCP, TLS or login failed; counted every 10 s).",
        |now, put| now.publish.errors.iter().for_each(|(class, n)| put(&[class], f(*n))),
    ),
    counter(
        "tokenweir_producer_replaced_total",
        &[],
        "Times that the Kafka client was replaced: a fatal error, a dead connection, a new secret.",
        |now, put| put(&[], f(now.publish.replaced)),
    ),
    gauge(
        "tokenweir_kafka_reachable",
        &[],
        "1 while a connection to any broker works, 0 before the first one and while none does. Absent where nothing is published.",
        |now, put| now.publish.reachable.iter().for_each(|reachable| put(&[], f((*reachable).into()))),
    ),
    gauge(
        "tokenweir_kafka_broker_up",
        &["broker"],
        "1 while there is a connection that works.",
        |now, put| {
            now.publish.brokers.iter().for_each(|broker| put(&[&broker.id.to_string()], f(broker.up.into())));
        },
    ),
    gauge(
        "tokenweir_kafka_rtt_seconds",
        &["broker"],
        "99 of 100 requests to the broker of late were answered within this time.",
        |now, put| {
            for broker in &now.publish.brokers {
                if let Some(round_trip_s) = broker.round_trip_s {
                    put(&[&broker.id.to_string()], round_trip_s);
                }
            }
        },
    ),
    counter(
        "tokenweir_token_refresh_failures_total",
        &[],
        "Requests for a token of Entra ID that brought none.",
        |now, put| put(&[], f(now.publish.token_failures)),
    ),
    counter(
        "tokenweir_capture_calls_total",
        &["side", "state"],
        "Calls that are over, by what was kept of each side (--capture). side: request, response. state: off, sampled_out, full, truncated, lost. Nothing of this is there unless content is captured.",
        |now, put| {
            let calls = now.capture.iter().flat_map(|capture| &capture.calls);
            calls.for_each(|(side, state, n)| put(&[side, state], f(*n)));
        },
    ),
    counter(
        "tokenweir_capture_parts_total",
        &[],
        "Parts of captured content that were sealed and stored.",
        |now, put| {
            now.capture.iter().for_each(|capture| put(&[], f(capture.parts)));
        },
    ),
    counter("tokenweir_capture_bytes_total", &[], "Bytes in these parts, as they passed.", |now, put| {
        now.capture.iter().for_each(|capture| put(&[], f(capture.bytes)))
    }),
    counter(
        "tokenweir_capture_lost_parts_total",
        &[],
        "Parts that could not be sealed or stored, though the usage event says that they were made: the control events of the content count them too.",
        |now, put| now.capture.iter().for_each(|capture| put(&[], f(capture.lost_parts))),
    ),
    counter(
        "tokenweir_capture_refused_parts_total",
        &[],
        "Parts that the broker refused for good. They stay in the spool.",
        |now, put| now.capture.iter().for_each(|capture| put(&[], f(capture.refused))),
    ),
    gauge(
        "tokenweir_capture_spool_bytes",
        &[],
        "Bytes of the spool's database (--capture-spool-max-bytes).",
        |now, put| now.capture.iter().for_each(|capture| put(&[], f(capture.spool_bytes))),
    ),
    gauge(
        "tokenweir_capture_undelivered_parts",
        &[],
        "Events in the spool that are not delivered yet.",
        |now, put| now.capture.iter().for_each(|capture| put(&[], f(capture.undelivered))),
    ),
    gauge(
        "tokenweir_capture_memory_bytes",
        &[],
        "Memory of content that is not stored yet (--capture-memory).",
        |now, put| now.capture.iter().for_each(|capture| put(&[], f(capture.memory_bytes))),
    ),
    gauge(
        "tokenweir_capture_degraded",
        &[],
        "1: parts cannot be stored now, since the spool is full or its disk fails.",
        |now, put| now.capture.iter().for_each(|capture| put(&[], f(u64::from(capture.degraded)))),
    ),
    counter(
        "tokenweir_capture_errors_total",
        &["class"],
        "Errors of the publisher of captured content, with the classes of tokenweir_publish_errors_total.",
        |now, put| {
            let errors = now.capture.iter().flat_map(|capture| &capture.errors);
            errors.for_each(|(class, n)| put(&[class], f(*n)));
        },
    ),
];

/// A metric of the table, registered.
#[derive(Debug)]
enum Series {
    Counter(CounterVec),
    Gauge(GaugeVec),
}

/// The table's metrics.
#[derive(Debug)]
pub(super) struct Follower(Vec<Series>);

impl Follower {
    pub(super) fn declare(d: &mut Declare) -> Option<Follower> {
        let series = FOLLOWED.iter().map(|row| {
            Some(match row.is_counter {
                true => Series::Counter(d.followed_counter(row.name, row.help, row.labels)?),
                false => Series::Gauge(d.followed_gauge(row.name, row.help, row.labels)?),
            })
        });
        series.collect::<Option<_>>().map(Follower)
    }

    /// Sets every number to what it is now. A counter never goes back.
    pub(super) fn follow(&self, now: &Snapshot) {
        for (row, series) in FOLLOWED.iter().zip(&self.0) {
            match series {
                Series::Counter(counter) => (row.read)(now, &mut |labels, value| {
                    let counter = counter.with_label_values(labels);
                    counter.inc_by((value - counter.get()).max(0.0));
                }),
                Series::Gauge(gauge) => {
                    gauge.reset(); // a series whose labels are gone goes too
                    // Two names may have become the same label: they add up.
                    (row.read)(now, &mut |labels, value| gauge.with_label_values(labels).add(value));
                }
            }
        }
    }
}
