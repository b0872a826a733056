//! The network threads: how they are started, told to stop, and waited for.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread::JoinHandle;

use tokio::sync::watch;

use super::config::Config;
use super::counts::Counts;
use super::forward::service::Service;
use super::rewrite::inspect::RewriteState;
use super::server::accept::{self, ShutdownPhase};
use super::server::acceptor::Acceptor;
use super::server::connection::Server;
use super::server::limiter::Limiter;
use super::shared::Shared;

/// The running data path.
#[derive(Debug)]
pub struct Running {
    addr: SocketAddr,
    phase: watch::Sender<ShutdownPhase>,
    threads: Vec<JoinHandle<()>>,
    counts: Arc<Counts>,
}

/// Everything that a network thread is made from. All threads have the same.
#[derive(Clone)]
struct ThreadContext {
    config: Arc<Config>,
    shared: Shared,
    rewrites: Arc<RewriteState>,
    server: Arc<Server>,
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
        let listener = accept::bind(addr, threads > 1)?;
        addr = listener.local_addr()?; // all share the port that the first one got
        listeners.push(listener);
    }
    let (phase, _) = watch::channel(ShutdownPhase::Serving);
    let counts = Arc::new(Counts::default());
    let context = ThreadContext {
        server: Arc::new(server(&config, &counts)),
        rewrites: Arc::new(RewriteState { refusals: Arc::clone(&counts.refusals), ..Default::default() }),
        config: Arc::new(config),
        shared,
    };
    let mut running = Running { addr, phase, threads: Vec::with_capacity(threads), counts };
    for (n, listener) in listeners.into_iter().enumerate() {
        match start_thread(n, listener, context.clone(), running.phase.subscribe()) {
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

fn server(config: &Config, counts: &Arc<Counts>) -> Server {
    Server {
        limits: config.limits,
        acceptor: Acceptor {
            tls: config.listen_tls.clone(),
            timeout: config.limits.header_timeout,
            counts: Arc::clone(counts),
        },
        limiter: Arc::new(Limiter::new(&config.limits, Arc::clone(counts))),
        counts: Arc::clone(counts),
    }
}

fn start_thread(
    n: usize,
    listener: TcpListener,
    context: ThreadContext,
    phase: watch::Receiver<ShutdownPhase>,
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
        let ThreadContext { config, shared, rewrites, server } = context;
        runtime.block_on(async move {
            let service = Service::start(&config, &shared, &rewrites, &server.limiter, &server.counts);
            accept::serve(listener, Arc::new(service), server, config.drain_timeout, phase).await;
        });
    })
}

impl Running {
    /// The address that calls arrive at.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Counts of refusals and failures at the edges so far.
    pub fn counts(&self) -> Arc<Counts> {
        Arc::clone(&self.counts)
    }

    /// Takes no more connections and lets streams finish, for [`Config::drain_timeout`] at most;
    /// calls that run then are broken off and settle as `shutdown`.
    pub fn drain(&self) {
        self.phase.send_if_modified(|phase| {
            std::mem::replace(phase, ShutdownPhase::Draining.max(*phase)) < ShutdownPhase::Draining
        });
    }

    /// Breaks off everything now.
    pub fn end(&self) {
        self.phase.send_replace(ShutdownPhase::Ending);
    }

    /// All threads have ended.
    pub fn is_finished(&self) -> bool {
        self.threads.iter().all(JoinHandle::is_finished)
    }

    /// Waits until all threads have ended; blocks the thread. Afterwards no call runs, but the
    /// counting pool may still hold some: [`crate::tee::Accounts::close`] settles those.
    pub fn join(self) {
        for thread in self.threads {
            let _ = thread.join(); // a panic has been reported by the hook
        }
    }
}
