//! The listener of the admin port and its connections.

#[cfg(test)]
mod tests;

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

use super::deadline::{CONNECTION_TIMEOUT, Deadline};
use super::limits::{PendingConnections, RequestReceived, SCRAPES_MAX, ScrapePermits};
use super::page::READERS_MAX;
use super::pages::{Pages, is_long, respond, too_many};

/// Room for the head of a request; a larger one gets 431. No probe and no scraper sends a tenth of it, and it
/// is held for each connection that waits.
const HEAD_BYTES_MAX: usize = 16 * 1024;

/// Connections that the kernel keeps until they are accepted. Over it a probe's first packet is dropped, and it
/// comes again after a second, which is all the time that a probe has. The kernel may give less (`somaxconn`).
const BACKLOG_CONNECTIONS: u32 = 4096;

/// After an error of `accept`, such as no file descriptors: long enough not to spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// File descriptors of the port besides those of connections that have not sent their request: its own, those of
/// scrapes, of those who listen to the live page, and of a few that are being closed.
pub const FILES_BESIDE_PENDING: usize = SCRAPES_MAX + READERS_MAX + 4;

/// A listener for [`serve`].
///
/// # Errors
/// If the process may not listen there.
pub fn bind(addr: SocketAddr) -> io::Result<TcpListener> {
    let socket = if addr.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_reuseaddr(true)?;
    socket.bind(addr)?;
    socket.listen(BACKLOG_CONNECTIONS)
}

/// Serves the listener until the task is dropped. At most so many connections wait to send their request.
pub async fn serve(listener: TcpListener, pages: Arc<Pages>, pending_max: usize) {
    let (mut pending, scrapes) = (PendingConnections::new(pending_max), ScrapePermits::default());
    if let Ok(live) = &pages.page {
        tokio::spawn(Arc::clone(live).sample());
    }
    loop {
        let (socket, from) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(error = %error, "the admin port cannot accept");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let received = RequestReceived::default();
        let task = tokio::spawn(connection(socket, Arc::clone(&pages), received.clone(), scrapes.clone()));
        pending.add(from.ip(), received, task.abort_handle());
        // A connection that has sent its request already gets its response before the next one is let in.
        tokio::task::yield_now().await;
    }
}

/// One connection: one request, one response.
async fn connection(socket: TcpStream, pages: Arc<Pages>, received: RequestReceived, scrapes: ScrapePermits) {
    // The permit of a scrape is free again when its connection has ended, and not before.
    let (permit, deadline) = (Mutex::new(None), Deadline::from_now());
    let service = service_fn(|request| {
        received.set();
        let taken = if is_long(&request) { scrapes.permit() } else { None };
        let response = match is_long(&request) && taken.is_none() {
            true => too_many("too many scrapes at once\n"),
            false => respond(&pages, &request, &deadline),
        };
        *permit.lock().unwrap_or_else(PoisonError::into_inner) = taken;
        std::future::ready(Ok::<_, Infallible>(response))
    });
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(CONNECTION_TIMEOUT)
        .max_buf_size(HEAD_BYTES_MAX)
        .keep_alive(false);
    // A peer that breaks off, or is too slow, is of no interest.
    tokio::select! {
        _ = http.serve_connection(TokioIo::new(socket), service) => {}
        () = deadline.over() => {}
    }
}
