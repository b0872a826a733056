//! A caller's socket that can be closed with a reset.
//!
//! To a caller of HTTP/1.0 a stream has no end but that of its connection (RFC 9112 6.3), so a broken
//! one can only be told from a whole one if the connection does not end cleanly. nginx speaks 1.0 to
//! its upstreams unless it is told otherwise.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use http::Version;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// How a connection's socket is to be closed. Clones speak of the same one.
#[derive(Clone, Debug, Default)]
pub(super) struct Close(Arc<AtomicBool>);

impl Close {
    /// A request of this version has arrived. Its answer may be seen to end only if it is whole:
    /// elsewhere than in HTTP/1.0 its framing says so, and a reset would only destroy what is still
    /// on its way.
    pub(super) fn saw(&self, version: Version) {
        self.0.store(version < Version::HTTP_11, Ordering::Relaxed);
    }

    /// Every answer was whole.
    pub(super) fn ended_well(&self) {
        self.0.store(false, Ordering::Relaxed);
    }
}

/// The socket.
#[derive(Debug)]
pub(super) struct CallerSocket {
    tcp: TcpStream,
    close: Close,
}

impl CallerSocket {
    /// `close` says, when the socket is dropped, how.
    pub(super) fn new(tcp: TcpStream, close: &Close) -> CallerSocket {
        CallerSocket { tcp, close: close.clone() }
    }
}

impl Drop for CallerSocket {
    fn drop(&mut self) {
        if self.close.0.load(Ordering::Relaxed) {
            // Without time to linger, closing is a reset. If that fails, the peer has gone already.
            let _ = socket2::SockRef::from(&self.tcp).set_linger(Some(Duration::ZERO));
        }
    }
}

impl AsyncRead for CallerSocket {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().tcp).poll_read(cx, buf)
    }
}

impl AsyncWrite for CallerSocket {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().tcp).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().tcp).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.tcp.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().tcp).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().tcp).poll_shutdown(cx)
    }
}
