//! The TCP connection of a client, under TLS where there is TLS.
//!
//! To a client of HTTP/1.0 a stream has no end but that of its connection (RFC 9112 6.3), so a broken
//! one can only be told from a whole one if the connection does not end cleanly: it is closed with a reset.
//! nginx speaks 1.0 to its upstreams unless it is told otherwise.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

use super::conn_state::ConnState;
use super::idle_clock::{IdleClock, WaitsFor};

/// The TCP connection of a client.
pub(super) struct ClientTcp {
    tcp: TcpStream,
    /// Says, when the connection is dropped, whether it is closed with a reset.
    conn: Arc<ConnState>,
    /// `None`: the client may take its time.
    idle: Option<IdleClock>,
}

impl ClientTcp {
    pub(super) fn new(tcp: TcpStream, conn: &Arc<ConnState>, idle: Option<&IdleClock>) -> ClientTcp {
        ClientTcp { tcp, conn: Arc::clone(conn), idle: idle.cloned() }
    }

    /// Lets the idle clock see the outcome of a write.
    fn written(&self, cx: &mut Context<'_>, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        let Some(idle) = &self.idle else { return written };
        if written.is_ready() {
            idle.progress();
            idle.done(WaitsFor::Response);
        } else if idle.poll_over(cx, WaitsFor::Response) {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        written
    }
}

impl Drop for ClientTcp {
    fn drop(&mut self) {
        // Bytes that a client does not read the kernel would keep for minutes.
        let unread = self.idle.as_ref().is_some_and(IdleClock::is_unread);
        if unread || self.conn.resets() {
            // Without time to linger, closing is a reset. If that fails, the peer has gone already.
            let _ = socket2::SockRef::from(&self.tcp).set_linger(Some(Duration::ZERO));
        }
    }
}

impl AsyncRead for ClientTcp {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let (this, before) = (self.get_mut(), buf.filled().len());
        let read = Pin::new(&mut this.tcp).poll_read(cx, buf);
        if let Some(idle) = &this.idle
            && buf.filled().len() > before
        {
            idle.progress();
        }
        read
    }
}

impl AsyncWrite for ClientTcp {
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
