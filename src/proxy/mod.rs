//! The data path: one HTTP/1.1 request in, the same request out, the answer back, untouched.
//!
//! Each network thread is a runtime of its own with its own listener, its own connections to the
//! service and its own running calls; threads share only the accounts. One call is one task: the
//! connection to the gateway polls the answer's body, which polls the connection to the service.

mod admission;
mod answer;
mod closing;
mod counts;
mod draft;
mod drain;
mod gate;
mod handover;
mod handshake;
pub mod headers;
mod inspect;
mod limits;
mod listener;
mod outages;
mod outbound;
mod passing;
mod path;
mod patience;
mod policy;
mod pump;
mod refused;
mod reset;
mod service;
mod socket;
mod stall;
pub mod surface;
pub mod tls;
pub mod upstream;
mod websocket;

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use http::HeaderMap;
use jiff::Timestamp;
use smol_str::SmolStr;
use tokio::sync::watch;

pub use self::counts::{Counts, Limit, Side};
use self::gate::Gate;
pub use self::headers::Removals;
pub use self::limits::Limits;
use self::listener::Port;
pub use self::policy::{ApiKey, DrainBounds, Policy};
use self::socket::Door;
pub use self::tls::{CallerTls, Tls};
pub use self::upstream::Upstream;
use crate::ledger::Ledger;
use crate::tee::Accounts;
use metering::caller::{Peer, Resolved};

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Says who pays for a request, from its fields as they arrived, the hop that it came from and when it
/// began. Must not wait.
pub type CallerResolver = Arc<dyn Fn(&HeaderMap, &Peer, Timestamp) -> Resolved + Send + Sync>;

/// How calls are forwarded.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where calls arrive; port 0 takes a free one.
    pub listen: SocketAddr,
    /// TLS of that port; `None`: plain HTTP.
    pub listen_tls: Option<CallerTls>,
    /// Network threads, at least one.
    pub threads: usize,
    /// Where calls go. With names, the first path segment chooses.
    pub upstreams: Vec<Upstream>,
    /// Needed if an upstream is `https`.
    pub tls: Option<Tls>,
    /// What does not reach the service.
    pub removals: Removals,
    /// How long streams may go on after [`Running::drain`].
    pub drain_timeout: Duration,
    /// Refuse a call that has no place in the ledger; else it goes on and is summed.
    pub reject_when_full: bool,
    /// What callers and services can make us hold and wait for.
    pub limits: Limits,
    /// What is done to traffic beyond passing it on.
    pub policy: Policy,
}

/// What the data path needs of the rest of the program.
#[derive(Clone)]
pub struct Shared {
    /// Where calls settle.
    pub accounts: Arc<Accounts>,
    /// Where they are recorded.
    pub ledger: Ledger,
    /// Who pays.
    pub resolver: CallerResolver,
    /// The boot, for `reporter.instance`.
    pub boot: SmolStr,
}

/// How far the end has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Phase {
    Serving,
    Draining,
    Ending,
}

/// The running data path.
#[derive(Debug)]
pub struct Running {
    addr: SocketAddr,
    phase: watch::Sender<Phase>,
    threads: Vec<JoinHandle<()>>,
    counts: Arc<Counts>,
}

/// Binds, and serves on threads named `tw-net-0`, `tw-net-1`, ... until told to stop.
///
/// # Errors
///
/// The address cannot be bound, or the system gives no more threads.
pub fn start(config: Config, shared: Shared) -> io::Result<Running> {
    let threads = config.threads.max(1);
    let mut listeners = Vec::with_capacity(threads);
    let mut addr = config.listen;
    for _ in 0..threads {
        let listener = listener::bind(addr, threads > 1)?;
        addr = listener.local_addr()?; // all share the port that the first one got
        listeners.push(listener);
    }
    let (phase, _) = watch::channel(Phase::Serving);
    let counts = Arc::new(Counts::default());
    let port = Arc::new(port(&config, &counts));
    let mut running =
        Running { addr, phase, threads: Vec::with_capacity(threads), counts: Arc::clone(&counts) };
    let common = inspect::Common { refusals: Arc::clone(&counts.refusals), ..Default::default() };
    let context = Arc::new((config, shared, Arc::new(common)));
    for (n, listener) in listeners.into_iter().enumerate() {
        match start_thread(n, listener, Arc::clone(&context), Arc::clone(&port), running.phase.subscribe()) {
            Ok(thread) => running.threads.push(thread),
            Err(error) => {
                running.end();
                running.join();
                return Err(error);
            }
        }
    }
    Ok(running)
}

/// What the threads share.
fn port(config: &Config, counts: &Arc<Counts>) -> Port {
    Port {
        limits: config.limits,
        door: Door {
            tls: config.listen_tls.clone(),
            timeout: config.limits.header_timeout,
            counts: Arc::clone(counts),
        },
        gate: Arc::new(Gate::new(&config.limits, Arc::clone(counts))),
        counts: Arc::clone(counts),
    }
}

fn start_thread(
    n: usize,
    listener: TcpListener,
    context: Arc<(Config, Shared, Arc<inspect::Common>)>,
    port: Arc<Port>,
    phase: watch::Receiver<Phase>,
) -> io::Result<JoinHandle<()>> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .thread_name(format!("tw-net-{n}-dns"))
        .build()?;
    let listener = {
        let _guard = runtime.enter();
        tokio::net::TcpListener::from_std(listener)?
    };
    std::thread::Builder::new().name(format!("tw-net-{n}")).spawn(move || {
        runtime.block_on(async move {
            let service = service::Service::start(&context.0, &context.1, &context.2, &port);
            listener::serve(listener, Arc::new(service), port, context.0.drain_timeout, phase).await;
        });
    })
}

impl Running {
    /// The address that calls arrive at.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// What has been refused and has failed at the edges so far.
    pub fn counts(&self) -> Arc<Counts> {
        Arc::clone(&self.counts)
    }

    /// Takes no more connections and lets streams finish, for [`Config::drain_timeout`] at most;
    /// what runs then is broken off and settles as `shutdown`.
    pub fn drain(&self) {
        self.phase.send_if_modified(|phase| {
            std::mem::replace(phase, Phase::Draining.max(*phase)) < Phase::Draining
        });
    }

    /// Breaks off everything now.
    pub fn end(&self) {
        self.phase.send_replace(Phase::Ending);
    }

    /// All threads have ended.
    pub fn is_finished(&self) -> bool {
        self.threads.iter().all(JoinHandle::is_finished)
    }

    /// Waits until all threads have ended; blocks the thread. Afterwards no call runs, but the
    /// counting pool may still hold some: [`Accounts::close`] settles those.
    pub fn join(self) {
        for thread in self.threads {
            let _ = thread.join(); // a panic has been reported by the hook
        }
    }
}
