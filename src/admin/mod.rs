//! Health, readiness and metrics, on a port of their own.
//!
//! Whoever reaches this port must not be able to take it from the liveness probe: a pod whose probe gets no
//! answer is restarted. So no connection waits for another one. It is accepted at once; while it has not sent
//! its request, at most [`heads`] like it are kept, and when one more comes an old one goes. A probe needs no
//! place: its answer is a line, which the kernel takes whether or not anybody reads it. The metrics are long, so they have
//! places, and who finds none gets 503. Every connection is closed behind its one answer, and ends after
//! `CONNECTION_TIMEOUT` in any case.
//!
//! | file | idea |
//! |---|---|
//! | `pages` | what is answered |
//! | `places` | how many may wait, for their request or for their reader |

mod pages;
mod places;
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

pub use self::pages::{Pages, Readiness};
use self::pages::{answer, is_long, too_many};
pub use self::places::heads;
use self::places::{Arrived, Scrapes, Waiting};

/// From its acceptance to its last byte a connection has so long, reading and writing included: Prometheus
/// gives up a scrape after ten seconds (`scrape_timeout`), a probe of Kubernetes after one.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(10);

/// Room for the head of a request; a larger one gets 431. No probe and no scraper sends a tenth of it, and it
/// is held for each connection that waits.
const HEAD_BYTES_MAX: usize = 16 * 1024;

/// Connections that the kernel keeps until they are accepted. Over it a probe's first packet is dropped, and it
/// comes again after a second, which is all the time that a probe has. The kernel may give less (`somaxconn`).
const BACKLOG_CONNECTIONS: u32 = 4096;

/// After an error of `accept`, such as no file descriptors: long enough not to spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// File descriptors of the port besides those of connections that have not asked yet: its own, those of scrapes,
/// and of a few that are being closed.
pub const FILES_BESIDE_HEADS: usize = places::SCRAPES_MAX + 4;

/// A listener for [`serve`].
///
/// # Errors
/// If nobody may listen there.
pub fn bind(addr: SocketAddr) -> io::Result<TcpListener> {
    let socket = if addr.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.set_reuseaddr(true)?;
    socket.bind(addr)?;
    socket.listen(BACKLOG_CONNECTIONS)
}

/// Answers on the listener until the task is dropped. At most so many connections wait for their request.
pub async fn serve(listener: TcpListener, pages: Arc<Pages>, heads: usize) {
    let (mut waiting, scrapes) = (Waiting::new(heads), Scrapes::default());
    loop {
        let (socket, from) = match listener.accept().await {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(error = %error, "the admin port cannot accept");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let arrived = Arrived::default();
        let task = tokio::spawn(connection(socket, Arc::clone(&pages), arrived.clone(), scrapes.clone()));
        waiting.add(from.ip(), arrived, task.abort_handle());
        // Whoever has sent its request already is answered before the next one is let in.
        tokio::task::yield_now().await;
    }
}

/// One connection: one request, one answer.
async fn connection(socket: TcpStream, pages: Arc<Pages>, arrived: Arrived, scrapes: Scrapes) {
    // The place of a scrape is free again when its connection has ended, and not before.
    let place = Mutex::new(None);
    let service = service_fn(|request| {
        arrived.has_asked();
        let taken = if is_long(&request) { scrapes.place() } else { None };
        let response =
            if is_long(&request) && taken.is_none() { too_many() } else { answer(&pages, &request) };
        *place.lock().unwrap_or_else(PoisonError::into_inner) = taken;
        std::future::ready(Ok::<_, Infallible>(response))
    });
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(CONNECTION_TIMEOUT)
        .max_buf_size(HEAD_BYTES_MAX)
        .keep_alive(false);
    // A peer that breaks off, or is too slow, is of no interest.
    let _ =
        tokio::time::timeout(CONNECTION_TIMEOUT, http.serve_connection(TokioIo::new(socket), service)).await;
}
