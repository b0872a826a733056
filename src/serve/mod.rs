//! `serve`: the parts put together, started in order and stopped in the opposite one.
//!
//! Start: vocabularies, ledger (recovery), publisher, capturing, counting threads, network threads, admin
//! port. Stop: no new connections, streams drain, the counting threads settle what is left, the ledger stores
//! the last control event, the publisher delivers it, captured content does the same, the ledger closes.

mod callers;
mod capture;
mod config;
mod observer;
mod pages;
mod process;
mod reload;
mod trial;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context;
use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::admin::{self, AdminPage};
use crate::capture::Capturer;
use crate::ledger::{self, Ledger};
use crate::pool::Pool;
use crate::proxy;
use crate::publish::Publisher;
use crate::tee::{Accounts, ResponseBounds};
use crate::telemetry::live::LiveFigures;
use crate::telemetry::log::CallLog;
use crate::telemetry::{BuildInfo, Metrics};
use metering::caller::Resolver;
use metering::tokens;

pub use self::callers::CallerConfig;
use self::capture::ServedCapture;
pub use self::config::Config;
use self::observer::observer;
use self::pages::{Admin, Parts, pages};
pub use self::process::hide_memory;
use self::process::{FileDescriptors, files_max, raise_files};
pub use self::reload::Rereading;
use self::reload::{Reloadable, Reloader};
pub use self::trial::{Trial, try_all};

/// Prompts and bursts are counted here. Two: the first is for responses alone, so that no prompt holds them up,
/// and more would take the cores that the streams need.
const COUNT_THREADS: usize = 2;
/// How often a drain looks whether the streams have ended.
const DRAIN_POLL: Duration = Duration::from_millis(20);

/// A sidecar that runs in this process.
#[derive(Debug)]
pub struct RunningSidecar {
    proxy: proxy::Running,
    admin: Admin,
    page: Option<String>,
    accounts: Arc<Accounts>,
    publisher: Option<Publisher>,
    capture: Option<ServedCapture>,
    ledger: Ledger,
    reloader: Reloader,
    ready: Arc<AtomicBool>,
    flush_timeout: Duration,
}

/// Runs until SIGTERM or SIGINT, then stops in order. A second signal ends the process at once, which
/// loses nothing that `kill -9` would not. SIGHUP reads again what comes from files; `reread` reads
/// the configuration again for it, or says what is wrong.
///
/// # Errors
/// If something cannot be started, or events are left undelivered at the end.
pub fn run(
    config: Config,
    reread: impl Fn() -> anyhow::Result<Rereading> + Send + 'static,
) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (mut signals, mut hangup) = {
        let _guard = runtime.enter();
        let ends = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
        (ends, signal(SignalKind::hangup())?)
    };
    let running = start_reloading(config, vec![reload::configuration(reread)])?;
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
    let live = config.live_figures();
    let log = CallLog::new(config.log_calls);
    let observer = observer(&metrics, &ledger, log, live.as_ref().ok());
    let observed = Arc::clone(&observer);
    ledger.on_billed(move |settled| observed.settled(settled));
    let resolver = config.caller.resolver(&ledger)?;
    let publisher =
        config.publish.clone().map(|publish| Publisher::of_ledger(publish, ledger.clone())).transpose()?;
    if let Some(publisher) = &publisher {
        let observed = Arc::clone(&metrics);
        publisher.on_delivered(move |took| observed.event_delivery_seconds.observe(took.as_secs_f64()));
    }
    let capture = ServedCapture::start(&config, &ledger)?;
    let accounts = Accounts::new(Pool::start(COUNT_THREADS)?, observer, config.prompt_memory_bytes);
    let bounds =
        ResponseBounds { response_memory_bytes: config.answer_memory_bytes, ..ResponseBounds::default() };
    let accounts = accounts.within(bounds);
    let accounts = Arc::new(accounts.sampling(config.drift_sample).settling_apart()?);
    // Some milliseconds, or as long as the disk takes for 22 MB, beside recovery. A stream that began
    // earlier would wait for the disk on its own thread.
    vocabularies.join().map_err(|_| anyhow::anyhow!("the vocabularies could not be loaded"))?;
    let capturer = capture.as_ref().map(ServedCapture::capturer);
    let proxy = start_proxy(&config, resolver, &accounts, &ledger, capturer.cloned())?;
    let reloads_seen = Arc::clone(&metrics);
    let ready = Arc::new(AtomicBool::new(true));
    let parts = Parts {
        ledger: ledger.clone(),
        accounts: Arc::clone(&accounts),
        publisher: publisher.as_ref().map(Publisher::watch).zip(config.topic()),
        capture: capture.as_ref().map(ServedCapture::watch),
        edges: proxy.counts(),
        listen_tls: config.proxy.listen_tls.clone(),
        upstream_tls: config.proxy.tls.clone(),
        ready: Arc::clone(&ready),
        needs_ledger: config.proxy.reject_when_full,
    };
    let has_page = live.is_ok();
    let admin = Admin::start(config.admin_listen, pages(metrics, parts, live), room.heads)?;
    let page = has_page.then(|| page_url(admin.addr));
    let build = BuildInfo::get();
    tracing::info!(
        listen = %proxy.addr(),
        admin_listen = %admin.addr,
        page,
        ledger = %config.ledger.dir.display(),
        source = ledger.source(),
        boot = %ledger.boot(),
        version = BuildInfo::VERSION,
        commit = build.commit(),
        capture = capture.as_ref().map(|_| config.captured_sides()),
        "listening"
    );
    reloads.extend(files(&config));
    let reloader = Reloader::start(reloads, move |what, result| reloads_seen.reloaded(what, result))?;
    let flush_timeout = config.flush_timeout;
    Ok(RunningSidecar {
        proxy,
        admin,
        page,
        accounts,
        publisher,
        capture,
        ledger,
        reloader,
        ready,
        flush_timeout,
    })
}

/// The values of the data path that come from files.
fn files(config: &Config) -> Vec<Reloadable> {
    let mut all = config.caller.reloads();
    all.extend(config.capture.iter().flat_map(capture::reloads));
    if let Some(tls) = config.proxy.listen_tls.clone() {
        all.push(Reloadable::file("listen-cert-file", move || Ok(tls.reload()?)));
    }
    if let Some(tls) = config.proxy.tls.clone() {
        all.push(Reloadable::file("upstream-ca-file", move || Ok(tls.reload()?)));
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
        if let Some(kind) = ledger::in_memory(&self.ledger.dir) {
            found.push(format!(
                "the ledger {} lies in memory ({kind}): a reboot, or the end of the pod, takes every event that is not delivered \
                 yet; name a directory on a disk that outlives the process",
                self.ledger.dir.display()
            ));
        }
        found.extend(capture::warnings(self));
        found.extend(self.room().warning(self.proxy.limits.connections, files_max()));
        found
    }

    /// Figures for the live page, or the setting by which there is none.
    fn live_figures(&self) -> Result<Arc<LiveFigures>, AdminPage> {
        let is_on = self.admin_page.is_on(self.admin_listen.ip());
        if is_on { Ok(Arc::default()) } else { Err(self.admin_page) }
    }

    /// The topic of the events, if they are published.
    fn topic(&self) -> Option<String> {
        self.publish.as_ref().map(|publish| publish.topic.clone())
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

/// Where this machine reaches the page: a port that is open on every interface is also open on loopback.
fn page_url(addr: SocketAddr) -> String {
    let addr =
        if addr.ip().is_unspecified() { SocketAddr::new(loopback(addr.ip()), addr.port()) } else { addr };
    format!("http://{addr}/")
}

fn loopback(like: IpAddr) -> IpAddr {
    if like.is_ipv4() { Ipv4Addr::LOCALHOST.into() } else { Ipv6Addr::LOCALHOST.into() }
}

fn start_proxy(
    config: &Config,
    resolver: Resolver,
    accounts: &Arc<Accounts>,
    ledger: &Ledger,
    capturer: Option<Capturer>,
) -> anyhow::Result<proxy::Running> {
    let mut proxy = config.proxy.clone();
    proxy.removals.headers.extend(resolver.removed_headers());
    let listen = proxy.listen;
    let shared = proxy::Shared {
        accounts: Arc::clone(accounts),
        ledger: ledger.clone(),
        resolver: Arc::new(move |headers, peer, at| resolver.resolve(headers, peer, at)),
        boot: ledger.boot().to_string().into(),
        capturer,
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

    /// The address of the live page; `None`: it is off.
    pub fn page_url(&self) -> Option<&str> {
        self.page.as_deref()
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
        let end = Instant::now() + self.flush_timeout;
        let undelivered = self.publisher.map_or(0, |publisher| publisher.stop(self.flush_timeout));
        let parts = self.capture.map_or(0, |capture| capture.stop(end));
        let dir = self.ledger.dir().to_owned();
        let closed = self.ledger.close();
        self.admin.stop();
        finished.and(closed).with_context(|| format!("ledger {}", dir.display()))?;
        anyhow::ensure!(
            undelivered == 0,
            "{undelivered} events in {} are not delivered; the next start, or `tokenweir drain`, delivers them",
            dir.display()
        );
        anyhow::ensure!(
            parts == 0,
            "{parts} parts of captured content are not delivered; the next start delivers them"
        );
        tracing::info!("stopped; nothing is left to deliver");
        Ok(())
    }
}
