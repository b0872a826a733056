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

use super::stall::{For, Stall};

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
    /// `None`: the caller may take its time.
    stall: Option<Stall>,
}

impl CallerSocket {
    /// `close` says, when the socket is dropped, how.
    pub(super) fn new(tcp: TcpStream, close: &Close, stall: Option<&Stall>) -> CallerSocket {
        CallerSocket { tcp, close: close.clone(), stall: stall.cloned() }
    }

    /// Some was written, or not.
    fn written(&self, cx: &mut Context<'_>, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        let Some(stall) = &self.stall else { return written };
        if written.is_ready() {
            stall.moved();
            stall.done(For::Answer);
        } else if stall.poll_over(cx, For::Answer) {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        written
    }
}

impl Drop for CallerSocket {
    fn drop(&mut self) {
        // What a caller does not read the kernel would keep for minutes.
        let unread = self.stall.as_ref().is_some_and(Stall::is_unread);
        if unread || self.close.0.load(Ordering::Relaxed) {
            // Without time to linger, closing is a reset. If that fails, the peer has gone already.
            let _ = socket2::SockRef::from(&self.tcp).set_linger(Some(Duration::ZERO));
        }
    }
}

impl AsyncRead for CallerSocket {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let (this, before) = (self.get_mut(), buf.filled().len());
        let read = Pin::new(&mut this.tcp).poll_read(cx, buf);
        if let Some(stall) = &this.stall
            && buf.filled().len() > before
        {
            stall.moved();
        }
        read
    }
}

impl AsyncWrite for CallerSocket {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.tcp).poll_write(cx, buf);
        this.written(cx, written)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.tcp).poll_write_vectored(cx, bufs);
        this.written(cx, written)
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
