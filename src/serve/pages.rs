//! The pages of the admin port, and the thread that serves them.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::Context;
use jiff::Timestamp;
use smol_str::SmolStr;

use super::capture::CaptureWatch;
use crate::admin::{self, AdminPage, LivePage, Pages, Readiness};
use crate::ledger::Ledger;
use crate::proxy::{ListenTls, UpstreamTls};
use crate::tee::Accounts;
use crate::telemetry::live::{Health, KafkaHealth, LiveFigures};
use crate::telemetry::{
    BrokerSnapshot, CaptureSnapshot, DataPathSnapshot, EdgesSnapshot, LedgerSnapshot, Metrics,
    PublishSnapshot, Snapshot,
};
use crate::{proxy, publish};
use metering::usage::ContentSide;

/// The admin port's thread.
#[derive(Debug)]
pub(super) struct Admin {
    pub(super) addr: SocketAddr,
    stop: tokio::sync::oneshot::Sender<()>,
    thread: std::thread::JoinHandle<()>,
}

impl Admin {
    pub(super) fn start(addr: SocketAddr, pages: Pages, heads: usize) -> anyhow::Result<Admin> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let listener = {
            let _guard = runtime.enter();
            admin::bind(addr).with_context(|| format!("--admin-listen {addr}"))?
        };
        let addr = listener.local_addr()?;
        let (stop, stopped) = tokio::sync::oneshot::channel();
        let thread = std::thread::Builder::new().name("tw-admin".to_owned()).spawn(move || {
            runtime.block_on(async move {
                tokio::select! {
                    () = admin::serve(listener, Arc::new(pages), heads) => {}
                    _ = stopped => {}
                }
            });
        })?;
        Ok(Admin { addr, stop, thread })
    }

    pub(super) fn stop(self) {
        let _ = self.stop.send(());
        let _ = self.thread.join();
    }
}

/// The parts of a sidecar that are asked how they do.
pub(super) struct Parts {
    pub(super) ledger: Ledger,
    pub(super) accounts: Arc<Accounts>,
    /// The publisher and its topic; `None`: nothing is published.
    pub(super) publisher: Option<(publish::Watch, String)>,
    /// `None`: no content is captured.
    pub(super) capture: Option<CaptureWatch>,
    pub(super) edges: Arc<proxy::Counts>,
    pub(super) listen_tls: Option<ListenTls>,
    pub(super) upstream_tls: Option<UpstreamTls>,
    pub(super) ready: Arc<AtomicBool>,
    /// Calls are not accepted while nothing can be stored.
    pub(super) needs_ledger: bool,
}

/// The pages; the live one where it is on.
pub(super) fn pages(metrics: Arc<Metrics>, parts: Parts, live: Result<Arc<LiveFigures>, AdminPage>) -> Pages {
    let parts = Arc::new(parts);
    let (of_metrics, of_page) = (Arc::clone(&parts), Arc::clone(&parts));
    let page = live.map(|figures| Arc::new(LivePage::new(figures, move || of_page.health())));
    Pages {
        metrics: Box::new(move || {
            metrics.render(of_metrics.snapshot()).unwrap_or_else(|error| format!("# {error}\n"))
        }),
        readiness: Box::new(move || parts.readiness()),
        page,
    }
}

impl Parts {
    fn readiness(&self) -> Readiness {
        let accounting_ok = !self.ledger.stats().degraded;
        let ready = self.ready.load(Ordering::Acquire) && (accounting_ok || !self.needs_ledger);
        Readiness { ready, accounting_ok }
    }

    /// Everything that `/metrics` reads from others.
    fn snapshot(&self) -> Snapshot {
        let Parts { ledger, accounts, publisher, edges, capture, .. } = self;
        Snapshot {
            ledger: stored(ledger),
            data_path: passed(accounts),
            publish: publisher.as_ref().map(|(watch, _)| published(watch)).unwrap_or_default(),
            edges: EdgesSnapshot {
                unattributed: edges.unattributed_calls().collect(),
                limits: edges.limits().collect(),
                tls_failures: edges.tls_failures().collect(),
                certificates: self.certificates(),
                odd_paths: edges.odd_paths().to_vec(),
                unrecorded: edges.unrecorded_calls().collect(),
                unasked: edges.unasked(),
            },
            capture: capture.as_ref().map(captured),
        }
    }

    /// When our own certificates end to hold.
    fn certificates(&self) -> Vec<(&'static str, i64)> {
        let listen = self.listen_tls.as_ref().and_then(ListenTls::expiry);
        let upstream = self.upstream_tls.as_ref().and_then(UpstreamTls::expiry);
        listen.into_iter().chain(upstream).map(|expiry| (expiry.setting, expiry.at.as_second())).collect()
    }

    /// The same numbers, as far as the live page shows them.
    fn health(&self) -> Health {
        let streams = self.accounts.counters().streams.by_deployment();
        Health {
            version: SmolStr::new_static(env!("CARGO_PKG_VERSION")),
            source: self.ledger.source().to_owned(),
            ready: self.readiness().ready,
            streams: streams.iter().map(|(_, streams)| streams).sum(),
            ledger: stored(&self.ledger),
            kafka: self.publisher.as_ref().map(|(watch, topic)| kafka(published(watch), topic)),
        }
    }
}

fn kafka(publish: PublishSnapshot, topic: &str) -> KafkaHealth {
    KafkaHealth {
        topic: topic.to_owned(),
        brokers: publish.brokers.len() as u64,
        brokers_up: publish.brokers.iter().filter(|broker| broker.up).count() as u64,
        backing_off: publish.backing_off,
        in_flight: publish.in_flight,
        errors: publish.errors.iter().map(|(_, errors)| errors).sum(),
    }
}

fn stored(ledger: &Ledger) -> LedgerSnapshot {
    let stats = ledger.stats();
    LedgerSnapshot {
        accepted: stats.accepted,
        settled: stats.settled,
        summed: stats.summed,
        open: stats.open,
        stored: stats.stored,
        delivered: stats.delivered,
        refused: stats.refused,
        unsynced: stats.unsynced,
        undelivered: stats.undelivered,
        oldest_undelivered_s: stats.oldest_undelivered.map_or(0, age_s),
        bytes: stats.bytes,
        bytes_max: stats.bytes_max,
        lost: stats.lost,
        moved_aside: stats.moved_aside,
        degraded: stats.degraded,
    }
}

fn passed(accounts: &Accounts) -> DataPathSnapshot {
    let counters = accounts.counters();
    DataPathSnapshot {
        overload: counters.meter_overload.load(Ordering::Relaxed),
        panics: counters.meter_panics.load(Ordering::Relaxed),
        prompt_memory_bytes: accounts.prompt_memory_bytes() as u64,
        drains_running: counters.drains_running.load(Ordering::Relaxed) as u64,
        drains_finished: counters.drains_finished.load(Ordering::Relaxed),
        drains_cut: counters.drains_cut.load(Ordering::Relaxed),
        usage_refused: counters.usage_refused.load(Ordering::Relaxed),
        prompts_not_kept: counters.prompts_not_kept.load(Ordering::Relaxed),
        backlog_bytes: accounts.backlog_bytes() as u64,
        answer_memory_bytes: accounts.response_memory_bytes() as u64,
        answers: counters.streams.by_deployment(),
        request_bytes: counters.request_bytes.load(Ordering::Relaxed),
        answer_bytes: counters.response_bytes.load(Ordering::Relaxed),
        not_accepted: counters.calls_refused.load(Ordering::Relaxed),
    }
}

fn captured(capture: &CaptureWatch) -> CaptureSnapshot {
    let stats = capture.stats();
    let sides = [(ContentSide::Request, &stats.requests), (ContentSide::Response, &stats.responses)];
    let calls = sides.into_iter().flat_map(|(side, states)| {
        states.iter().map(move |(state, calls)| (side.as_str(), state.as_str(), *calls))
    });
    let errors = capture.published().map(|stats| errors_by_class(&stats.errors));
    CaptureSnapshot {
        calls: calls.collect(),
        parts: stats.parts,
        bytes: stats.bytes,
        lost_parts: stats.lost_parts,
        refused: stats.refused,
        spool_bytes: stats.spool_bytes,
        moved_aside: stats.moved_aside,
        undelivered: stats.undelivered,
        memory_bytes: capture.memory_bytes(),
        degraded: stats.degraded,
        errors: errors.unwrap_or_default(),
    }
}

fn errors_by_class(errors: &[u64]) -> Vec<(&'static str, u64)> {
    publish::ErrorClass::ALL.iter().map(|class| class.as_str()).zip(errors.iter().copied()).collect()
}

/// Whole seconds since an instant; 0 if the clock was set back.
fn age_s(then: Timestamp) -> u64 {
    let age = Timestamp::now().as_second() - then.as_second();
    u64::try_from(age).unwrap_or(0)
}

fn broker(broker: publish::Broker) -> BrokerSnapshot {
    BrokerSnapshot { id: broker.id, up: broker.up, round_trip_s: broker.round_trip_s }
}

fn published(publisher: &publish::Watch) -> PublishSnapshot {
    let stats = publisher.stats();
    PublishSnapshot {
        replaced: stats.replaced,
        resent: stats.resent,
        in_flight: stats.in_flight,
        backing_off: stats.backing_off,
        errors: errors_by_class(&stats.errors),
        token_failures: stats.token_failures,
        reachable: Some(stats.reachable),
        brokers: stats.brokers.into_iter().map(broker).collect(),
    }
}
