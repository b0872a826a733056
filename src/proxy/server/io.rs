//! The socket of a client, as hyper and the stream writer see it.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::conn_state::ConnState;

/// The socket of a client over `T`. It tells the connection's state of the first byte of each head and when all is
/// written, and it can serve bytes again that were read of it.
pub(super) struct ClientIo<T> {
    io: T,
    /// Bytes to be read before those of `io`.
    put_back: Bytes,
    conn: Arc<ConnState>,
}

impl<T> ClientIo<T> {
    pub(super) fn new(io: T, conn: &Arc<ConnState>) -> ClientIo<T> {
        ClientIo { io, put_back: Bytes::new(), conn: Arc::clone(conn) }
    }

    /// Puts back bytes that were read of the next requests. They were read before those that were put back earlier
    /// and not read since, so they go in front of them: the two are one sequence.
    pub(super) fn put_back(&mut self, read: Bytes) {
        self.put_back = match (read.is_empty(), self.put_back.is_empty()) {
            (true, _) => return,
            (false, true) => read,
            (false, false) => [read, std::mem::take(&mut self.put_back)].concat().into(),
        };
    }

    fn read_put_back(&mut self, buf: &mut ReadBuf<'_>) {
        let n = self.put_back.len().min(buf.remaining());
        buf.put_slice(&self.put_back[..n]);
        self.put_back.advance(n);
        if self.put_back.is_empty() {
            self.put_back = Bytes::new(); // even an empty view pins its buffer
        }
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for ClientIo<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        if self.put_back.is_empty() {
            ready!(Pin::new(&mut self.io).poll_read(cx, buf))?;
        } else {
            self.read_put_back(buf);
        }
        self.conn.head_timer.saw(&buf.filled()[before..]);
        Poll::Ready(Ok(()))
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for ClientIo<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    /// hyper flushes the socket only when it has written all that it holds.
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.io).poll_flush(cx))?;
        self.conn.all_written();
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
