//! Connections that wait for their next request, one set per network thread.
//!
//! One keeper polls them all, so a service that closes a connection is noticed at once and not by
//! the next request.

use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use tokio::time::{Instant, interval};

use super::io::Io;

/// Idle connections kept per upstream and thread: what a burst leaves behind. More are closed.
pub const IDLE_CONNECTIONS_MAX: usize = 256;

/// How long a connection is kept unused: under the 60 s after which common servers close it, so
/// that it is seldom the service that closes first, just as we write.
const IDLE_TIMEOUT: Duration = Duration::from_secs(50);

/// How often the keeper looks for connections that are too old.
const SWEEP_INTERVAL: Duration = Duration::from_secs(5);

/// The idle connections of one thread.
#[derive(Debug)]
pub(in crate::proxy) struct Idle {
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// Wakes the keeper.
    keeper: Waker,
    /// By upstream; the most recently used last.
    spare: Vec<Vec<Spare>>,
}

#[derive(Debug)]
struct Spare {
    io: Io,
    since: Instant,
}

impl Idle {
    pub(super) fn new(upstreams: usize) -> Arc<Idle> {
        let spare = std::iter::repeat_with(Vec::new).take(upstreams).collect();
        Arc::new(Idle { state: Mutex::new(State { keeper: Waker::noop().clone(), spare }) })
    }

    /// The connection that was used last, if one is alive.
    pub(super) fn take(&self, upstream: usize) -> Option<Io> {
        let mut state = self.lock();
        let spare = state.spare.get_mut(upstream)?;
        while let Some(Spare { mut io, .. }) = spare.pop() {
            if io.poll_gone(&mut Context::from_waker(Waker::noop())).is_pending() {
                return Some(io);
            }
        }
        None
    }

    /// Keeps a connection for the next request.
    pub(super) fn give(&self, upstream: usize, mut io: Io) {
        let mut state = self.lock();
        // Polled with the keeper's waker: from here on it is the keeper who hears of its end.
        let gone = io.poll_gone(&mut Context::from_waker(&state.keeper)).is_ready();
        if let Some(spare) = state.spare.get_mut(upstream)
            && !gone
            && spare.len() < IDLE_CONNECTIONS_MAX
        {
            spare.push(Spare { io, since: Instant::now() });
        }
    }

    /// Closes what the services have closed or what is too old, for ever.
    pub(super) async fn keep(self: Arc<Self>) {
        let mut tick = interval(SWEEP_INTERVAL);
        poll_fn(|cx| {
            while tick.poll_tick(cx).is_ready() {}
            let mut state = self.lock();
            state.keeper.clone_from(cx.waker());
            for spare in &mut state.spare {
                spare.retain_mut(|spare| {
                    spare.since.elapsed() < IDLE_TIMEOUT && spare.io.poll_gone(cx).is_pending()
                });
            }
            Poll::Pending
        })
        .await
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::{TcpListener, TcpStream};

    async fn pair() -> (Io, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let ours = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        (Io::Plain(ours), listener.accept().await.unwrap().0)
    }

    #[test]
    fn the_newest_live_connection_is_taken_and_there_are_not_too_many() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let idle = Idle::new(1);
            let mut peers = Vec::new();
            for _ in 0..IDLE_CONNECTIONS_MAX + 5 {
                let (io, peer) = pair().await;
                idle.give(0, io);
                peers.push(peer);
            }
            let newest = peers[IDLE_CONNECTIONS_MAX - 1].peer_addr().unwrap();
            match idle.take(0) {
                Some(Io::Plain(tcp)) => assert_eq!(tcp.local_addr().unwrap(), newest),
                other => panic!("{other:?}"),
            }
            let mut taken = 1;
            while idle.take(0).is_some() {
                taken += 1;
            }
            assert_eq!(taken, IDLE_CONNECTIONS_MAX);
            assert!(idle.take(7).is_none());
        });
    }
}
