//! `serve`: the parts put together, started in order and stopped in the opposite one.
//!
//! Start: vocabularies, ledger (recovery), publisher, counting threads, network threads, admin
//! port. Stop: no new connections, streams drain, the counting threads settle what is left, the ledger stores
//! the last control event, the publisher delivers it, the ledger closes.

mod callers;
mod pages;
mod process;
mod reload;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::Context;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::admin;
use crate::ledger::{self, Bill, Ledger};
use crate::pool::Pool;
use crate::proxy;
use crate::publish::{self, Publisher};
use crate::tee::{Accounts, Compared, Observer, OverheadPhase, ResponseBounds, SampleRatio};
use crate::telemetry::log::LogLevel;
use crate::telemetry::{self, Comparison, Metrics, PerCaller};
use metering::caller::Resolver;
use metering::tokens;
use metering::usage::{Deferral, Settled};

pub use self::callers::CallerConfig;
use self::pages::{Admin, pages};
pub use self::process::hide_memory;
use self::process::{FileDescriptors, files_max, raise_files};
use self::reload::{Reloadable, Reloader};

/// Prompts and bursts are counted here. Two: the first is for responses alone, so that no prompt holds them up,
/// and more would take the cores that the streams need.
const COUNT_THREADS: usize = 2;
/// How often a drain looks whether the streams have ended.
const DRAIN_POLL: Duration = Duration::from_millis(20);

/// The configuration of `serve`.
#[derive(Clone, Debug)]
pub struct Config {
    /// The data path. The identity headers of `removals` are filled in at start.
    pub proxy: proxy::Config,
    /// The admin port.
    pub admin_listen: SocketAddr,
    /// The ledger.
    pub ledger: ledger::LedgerOptions,
    /// Where events go; `None`: they stay in the ledger.
    pub publish: Option<publish::KafkaConfig>,
    /// How callers are told apart.
    pub caller: CallerConfig,
    /// Memory for request bodies that are kept to be counted, in bytes.
    pub prompt_memory_bytes: usize,
    /// Memory for responses that are held to be read as a whole.
    pub answer_memory_bytes: usize,
    /// Of the calls with reported usage, those whose prompt is counted as well.
    pub drift_sample: SampleRatio,
    /// Whose tokens stand in metrics of their own.
    pub metrics_per_caller: PerCaller,
    /// How long events may take to be delivered at the end.
    pub flush_timeout: Duration,
}

/// A sidecar that runs in this process.
#[derive(Debug)]
pub struct RunningSidecar {
    proxy: proxy::Running,
    admin: Admin,
    accounts: Arc<Accounts>,
    publisher: Option<Publisher>,
    ledger: Ledger,
    reloader: Reloader,
    ready: Arc<AtomicBool>,
    flush_timeout: Duration,
}

/// Runs until SIGTERM or SIGINT, then stops in order. A second signal ends the process at once, which
/// loses nothing that `kill -9` would not. SIGHUP reads again what comes from files; `log_level` reads
/// the configuration again for it: it gives the level that holds now, or what is wrong.
///
/// # Errors
/// If something cannot be started, or events are left undelivered at the end.
pub fn run(
    config: Config,
    log_level: impl Fn() -> anyhow::Result<LogLevel> + Send + 'static,
) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (mut signals, mut hangup) = {
        let _guard = runtime.enter();
        let ends = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        (ends, signal(SignalKind::hangup())?)
    };
    let log_level =
        Reloadable { what: "log-level", read: Box::new(move || Ok(telemetry::log::set_level(log_level()?))) };
    let running = start_reloading(config, vec![log_level])?;
    runtime.block_on(async {
        let mut ended = std::pin::pin!(either(&mut signals));
        loop {
            tokio::select! {
                () = &mut ended => break,
                _ = hangup.recv() => running.reload(),
            }
        }
    });
    tracing::info!("stopping: streams may finish; a second signal ends at once");
    std::thread::Builder::new().name("tw-signal".to_owned()).spawn(move || {
        runtime.block_on(either(&mut signals));
        tracing::warn!("ended by a second signal");
        std::process::exit(1);
    })?;
    running.stop()
}

async fn either(signals: &mut (Signal, Signal)) {
    tokio::select! {
        _ = signals.0.recv() => {}
        _ = signals.1.recv() => {}
    }
}

/// Starts a sidecar. Returns when calls are accepted.
///
/// # Errors
/// If the ledger, an address or a file cannot be used; the message names it.
pub fn start(config: Config) -> anyhow::Result<RunningSidecar> {
    start_reloading(config, Vec::new())
}

fn start_reloading(mut config: Config, mut reloads: Vec<Reloadable>) -> anyhow::Result<RunningSidecar> {
    let (room, wanted) = (config.room(), config.proxy.limits.connections);
    let limit = raise_files(room.needed(wanted));
    for warning in config.warnings() {
        tracing::warn!("{warning}");
    }
    // Callers wait for a place, so that descriptors are left for everything else.
    config.proxy.limits.connections = room.connections(wanted, limit);
    let vocabularies = std::thread::Builder::new().name("tw-vocabulary".to_owned()).spawn(tokens::load)?;
    let metrics = Arc::new(Metrics::new()?.per_caller(config.metrics_per_caller));
    let ledger = Ledger::open(config.ledger.clone())?;
    let observed = Arc::clone(&metrics);
    ledger.on_commit(move |took| observed.ledger_commit_seconds.observe(took.as_secs_f64()));
    let observed = Arc::clone(&metrics);
    ledger.on_sync(move |took| observed.ledger_sync_seconds.observe(took.as_secs_f64()));
    let observed = Arc::clone(&metrics);
    ledger.on_billed(move |settled| {
        observed.settled(&settled.usage);
        telemetry::log::call(settled);
    });
    let resolver = config.caller.resolver(&ledger)?;
    let publisher =
        config.publish.clone().map(|publish| Publisher::start(publish, ledger.clone())).transpose()?;
    if let Some(publisher) = &publisher {
        let observed = Arc::clone(&metrics);
        publisher.on_delivered(move |took| observed.event_delivery_seconds.observe(took.as_secs_f64()));
    }
    let observer = Arc::new(CallObserver { metrics: Arc::clone(&metrics), ledger: ledger.clone() });
    let accounts = Accounts::new(Pool::start(COUNT_THREADS)?, observer, config.prompt_memory_bytes);
    let bounds =
        ResponseBounds { response_memory_bytes: config.answer_memory_bytes, ..ResponseBounds::default() };
    let accounts = accounts.within(bounds);
    let accounts = Arc::new(accounts.sampling(config.drift_sample).settling_apart()?);
    // Some milliseconds, or as long as the disk takes for 22 MB, beside recovery. A stream that began
    // earlier would wait for the disk on its own thread.
    vocabularies.join().map_err(|_| anyhow::anyhow!("the vocabularies could not be loaded"))?;
    let proxy = start_proxy(&config, resolver, &accounts, &ledger)?;
    let reloads_seen = Arc::clone(&metrics);
    let ready = Arc::new(AtomicBool::new(true));
    let pages = pages(
        metrics,
        ledger.clone(),
        Arc::clone(&accounts),
        publisher.as_ref().map(Publisher::watch),
        proxy.counts(),
        Arc::clone(&ready),
        config.proxy.reject_when_full,
    );
    let admin = Admin::start(config.admin_listen, pages, room.heads)?;
    tracing::info!(
        listen = %proxy.addr(),
        admin_listen = %admin.addr,
        ledger = %config.ledger.dir.display(),
        source = ledger.source(),
        boot = %ledger.boot(),
        "listening"
    );
    reloads.extend(files(&config));
    let reloader = Reloader::start(reloads, move |what, result| reloads_seen.reloaded(what, result))?;
    let flush_timeout = config.flush_timeout;
    Ok(RunningSidecar { proxy, admin, accounts, publisher, ledger, reloader, ready, flush_timeout })
}

/// The values of the data path that come from files.
fn files(config: &Config) -> Vec<Reloadable> {
    let mut all = config.caller.reloads();
    if let Some(tls) = config.proxy.listen_tls.clone() {
        all.push(Reloadable { what: "listen-cert-file", read: Box::new(move || Ok(tls.reload()?)) });
    }
    if let Some(tls) = config.proxy.tls.clone() {
        all.push(Reloadable { what: "upstream-ca-file", read: Box::new(move || Ok(tls.reload()?)) });
    }
    all
}

impl Config {
    /// Warnings before it runs: about defaults that most will not want to keep.
    pub fn warnings(&self) -> Vec<String> {
        let mut found: Vec<_> = self.caller.warnings().into_iter().map(str::to_owned).collect();
        if self.publish.is_none() {
            found
                .push("no --kafka-brokers: events are stored in the ledger and published nowhere".to_owned());
        }
        found.extend(self.room().warning(self.proxy.limits.connections, files_max()));
        found
    }

    /// The numbers that decide how many file descriptors calls may take.
    fn room(&self) -> FileDescriptors {
        FileDescriptors {
            upstreams: self.proxy.upstreams.len(),
            threads: self.proxy.threads,
            drains: self.proxy.policy.drain.map_or(0, |drain| drain.calls),
            idle_max: proxy::upstream::IDLE_CONNECTIONS_MAX,
            heads: admin::pending_max(files_max()),
        }
    }
}

fn start_proxy(
    config: &Config,
    resolver: Resolver,
    accounts: &Arc<Accounts>,
    ledger: &Ledger,
) -> anyhow::Result<proxy::Running> {
    let mut proxy = config.proxy.clone();
    proxy.removals.headers.extend(resolver.removed_headers());
    let listen = proxy.listen;
    let shared = proxy::Shared {
        accounts: Arc::clone(accounts),
        ledger: ledger.clone(),
        resolver: Arc::new(move |headers, peer, at| resolver.resolve(headers, peer, at)),
        boot: ledger.boot().to_string().into(),
    };
    proxy::start(proxy, shared).with_context(|| format!("--listen {listen}"))
}

impl RunningSidecar {
    /// Where calls arrive.
    pub fn addr(&self) -> SocketAddr {
        self.proxy.addr()
    }

    /// The admin port.
    pub fn admin_addr(&self) -> SocketAddr {
        self.admin.addr
    }

    /// Reads again what comes from files: soon, in a thread of its own.
    pub fn reload(&self) {
        self.reloader.ask();
    }

    /// Stops in order; blocks for the drain and flush timeouts at most.
    ///
    /// # Errors
    /// If the ledger could not store everything, or events are left undelivered: the message
    /// names their number and the directory.
    pub fn stop(self) -> anyhow::Result<()> {
        self.ready.store(false, Ordering::Release);
        self.reloader.stop();
        self.proxy.drain();
        while !self.proxy.is_finished() {
            std::thread::sleep(DRAIN_POLL);
        }
        self.proxy.join();
        self.accounts.close();
        let finished = self.ledger.finish();
        let undelivered = self.publisher.map_or(0, |publisher| publisher.stop(self.flush_timeout));
        let dir = self.ledger.dir().to_owned();
        let closed = self.ledger.close();
        self.admin.stop();
        finished.and(closed).with_context(|| format!("ledger {}", dir.display()))?;
        anyhow::ensure!(
            undelivered == 0,
            "{undelivered} events in {} are not delivered; the next start, or `tokenweir drain`, delivers them",
            dir.display()
        );
        tracing::info!("stopped; nothing is left to deliver");
        Ok(())
    }
}

/// Makes the log line and the metrics of each call.
struct CallObserver {
    metrics: Arc<Metrics>,
    ledger: Ledger,
}

impl Observer for CallObserver {
    fn settled(&self, settled: &Settled) {
        self.metrics.settled(&settled.usage);
        telemetry::log::call(settled);
    }

    fn summed(&self, settled: &Settled) {
        self.ledger.sum(settled);
        self.settled(settled);
    }

    fn bill(&self, bill: Bill) {
        self.ledger.settle_deferred(bill);
    }

    fn deferral(&self, settled: &Settled, deferral: &Deferral) {
        self.ledger.note_deferral(settled, deferral);
    }

    fn overhead(&self, phase: OverheadPhase, time: Duration) {
        self.metrics.held(phase.as_str(), time);
    }

    fn compared(&self, compared: &Compared) {
        let Compared { kind, residual, turned, wrong_calls } = compared;
        let comparison = Comparison {
            resource: &kind.resource,
            deployment: &kind.deployment,
            model: &kind.model,
            class: &kind.class(),
            residual_tokens: *residual,
            turned: *turned,
            wrong_calls: *wrong_calls,
        };
        self.metrics.compared(&comparison);
        telemetry::log::compared(&comparison);
    }
}
