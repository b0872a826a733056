//! Connections that wait for their next request, one pool for each network thread.
//!
//! One keeper polls them all, so a connection that an upstream closes is noticed at once and not by the next
//! request.

use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::time::{Instant, interval};

use super::io::UpstreamIo;

/// Idle connections kept per upstream and thread, for the next burst. More are closed.
pub const IDLE_CONNECTIONS_MAX: usize = 256;

/// How long a connection is kept unused: under the 60 s after which common servers close it, so
/// that it is seldom the upstream that closes first, just as we write.
const IDLE_TIMEOUT: Duration = Duration::from_secs(50);

/// How often the keeper looks for connections that are too old.
const SWEEP_INTERVAL: Duration = Duration::from_secs(5);

/// The idle connections of one thread.
#[derive(Debug)]
pub(super) struct ConnectionPool {
    state: Mutex<PoolState>,
}

#[derive(Debug)]
struct PoolState {
    /// Wakes the keeper.
    keeper: Waker,
    /// The connections of each upstream, the most recently used last.
    idle: Vec<Vec<IdleConnection>>,
}

#[derive(Debug)]
struct IdleConnection {
    io: UpstreamIo,
    since: Instant,
}

impl ConnectionPool {
    pub(super) fn new(upstreams: usize) -> Arc<ConnectionPool> {
        let idle = std::iter::repeat_with(Vec::new).take(upstreams).collect();
        Arc::new(ConnectionPool { state: Mutex::new(PoolState { keeper: Waker::noop().clone(), idle }) })
    }

    /// Takes the connection that was used last, if one is alive.
    pub(super) fn take(&self, upstream: usize) -> Option<UpstreamIo> {
        let mut state = self.lock();
        let idle = state.idle.get_mut(upstream)?;
        while let Some(IdleConnection { mut io, .. }) = idle.pop() {
            if io.poll_gone(&mut Context::from_waker(Waker::noop())).is_pending() {
                return Some(io);
            }
        }
        None
    }

    /// Keeps a connection for the next request.
    pub(super) fn put(&self, upstream: usize, mut io: UpstreamIo) {
        let mut state = self.lock();
        // Polled with the keeper's waker: from here on it is the keeper who hears of its end.
        let gone = io.poll_gone(&mut Context::from_waker(&state.keeper)).is_ready();
        if let Some(idle) = state.idle.get_mut(upstream)
            && !gone
            && idle.len() < IDLE_CONNECTIONS_MAX
        {
            idle.push(IdleConnection { io, since: Instant::now() });
        }
    }

    /// Closes, for as long as the thread runs, connections that upstreams have closed or that are too old.
    pub(super) async fn keep(self: Arc<Self>) {
        let mut tick = interval(SWEEP_INTERVAL);
        poll_fn(|cx| {
            while tick.poll_tick(cx).is_ready() {}
            let mut state = self.lock();
            state.keeper.clone_from(cx.waker());
            for idle in &mut state.idle {
                idle.retain_mut(|connection| {
                    connection.since.elapsed() < IDLE_TIMEOUT && connection.io.poll_gone(cx).is_pending()
                });
            }
            Poll::Pending
        })
        .await
    }

    fn lock(&self) -> MutexGuard<'_, PoolState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::{TcpListener, TcpStream};

    async fn pair() -> (UpstreamIo, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let ours = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        (UpstreamIo::Plain(ours), listener.accept().await.unwrap().0)
    }

    #[test]
    fn the_newest_live_connection_is_taken_and_there_are_not_too_many() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let pool = ConnectionPool::new(1);
            let mut peers = Vec::new();
            for _ in 0..IDLE_CONNECTIONS_MAX + 5 {
                let (io, peer) = pair().await;
                pool.put(0, io);
                peers.push(peer);
            }
            let newest = peers[IDLE_CONNECTIONS_MAX - 1].peer_addr().unwrap();
            match pool.take(0) {
                Some(UpstreamIo::Plain(tcp)) => assert_eq!(tcp.local_addr().unwrap(), newest),
                other => panic!("{other:?}"),
            }
            let mut taken = 1;
            while pool.take(0).is_some() {
                taken += 1;
            }
            assert_eq!(taken, IDLE_CONNECTIONS_MAX);
            assert!(pool.take(7).is_none());
        });
    }
}
