//! A caller's connection, plain or TLS, until HTTP begins on it and after HTTP has ended on it.

use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::counts::{Counts, Limit, Side, Subject};
use super::patience::TLS_HANDSHAKE;
use super::reset::{CallerSocket, Close};
use super::stall::Stall;
use super::tls::{self, CallerTls, Cause, Chain};
use metering::caller::Peer;

/// How long, and how much of, what a caller still sends is read after our last word. A socket closed
/// with unread data sends a reset, which can destroy that word on its way.
const LINGER_TIMEOUT: Duration = Duration::from_secs(2);
const LINGER_BYTES_MAX: usize = 1024 * 1024;
const LINGER_READ_BYTES: usize = 4 * 1024;

/// What a caller gets who speaks plain HTTP to a TLS port.
const TLS_WANTED: &[u8] = b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Type: application/json\r\n\
    Content-Length: 78\r\n\r\n{\"error\":{\"code\":\"tls_required\",\"message\":\"This port speaks TLS: use https.\"}}";

/// What a caller gets who has not sent the whole head in time.
pub(super) const TOO_SLOW: &[u8] =
    b"HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";

/// A caller's connection.
#[derive(Debug)]
pub(super) enum Socket {
    Plain(CallerSocket),
    Tls(Box<TlsStream<CallerSocket>>),
}

/// Makes connections ready for HTTP.
#[derive(Debug)]
pub(super) struct Door {
    pub(super) tls: Option<CallerTls>,
    /// For the whole handshake.
    pub(super) timeout: Duration,
    pub(super) counts: Arc<Counts>,
}

impl Door {
    /// The connection, who stands at its other end, and the certificate that it has shown; `None` if there is
    /// nothing to talk about.
    pub(super) async fn open(
        &self,
        tcp: TcpStream,
        from: SocketAddr,
        close: &Close,
        stall: Option<&Stall>,
    ) -> Option<(Socket, Peer, Option<Arc<Chain>>)> {
        let Some(tls) = &self.tls else {
            let socket = CallerSocket::new(tcp, close, stall);
            return Some((Socket::Plain(socket), Peer::new(from.ip(), None), None));
        };
        let used = tls.used();
        // In a box of its own: a connection should not keep room for it all its life.
        let handshake = self.shake_hands(used.acceptor(), tcp, from, close, stall);
        let shaken = Box::pin(tokio::time::timeout(self.timeout, handshake)).await;
        let Ok(shaken) = shaken else {
            self.counts.met(Limit::HeaderTimeout);
            return None;
        };
        let stream = shaken?;
        let certificates = stream.get_ref().1.peer_certificates();
        let peer = Peer::new(from.ip(), certificates.and_then(|chain| chain.first()).map(AsRef::as_ref));
        let chain = certificates.map(|chain| tls.shown(&used, chain));
        Some((Socket::Tls(Box::new(stream)), peer, chain))
    }

    async fn shake_hands(
        &self,
        acceptor: TlsAcceptor,
        mut tcp: TcpStream,
        from: SocketAddr,
        close: &Close,
        stall: Option<&Stall>,
    ) -> Option<TlsStream<CallerSocket>> {
        let mut first = [0];
        match tcp.peek(&mut first).await {
            Ok(1..) => {}
            _ => return None, // a load balancer that looks whether the port is open
        }
        if first[0] != TLS_HANDSHAKE {
            self.failed(from, tls::not_tls());
            if first[0].is_ascii_uppercase() {
                say_last(&mut tcp, TLS_WANTED).await;
            }
            return None;
        }
        match acceptor.accept(CallerSocket::new(tcp, close, stall)).await {
            Ok(stream) => Some(stream),
            Err(error) => {
                self.failed(from, tls::from_caller(&error));
                None
            }
        }
    }

    /// Counts and, now and then, tells that TLS with a caller failed.
    pub(super) fn failed(&self, from: SocketAddr, (cause, why): (Cause, String)) {
        self.counts.failed(Side::Caller, cause);
        if let Some(kept_back) = self.counts.may_say(Subject::Caller(cause)) {
            tracing::warn!(caller_ip = %from.ip(), cause = cause.as_str(), why, kept_back, "no TLS with a caller");
        }
    }
}

/// Writes a last word and closes in such a way that it can be read.
pub(super) async fn say_last<T: AsyncRead + AsyncWrite + Unpin>(io: &mut T, word: &[u8]) {
    let said = async {
        io.write_all(word).await?;
        io.shutdown().await
    };
    if let Ok(Ok(())) = tokio::time::timeout(LINGER_TIMEOUT, said).await {
        linger(io).await;
    }
}

/// Lets the last answer of a connection be read whose caller has sent more behind its request: closed
/// with that unread, the socket would send a reset. Our sending side is shut. Where nothing more has
/// come there is nothing to wait for.
pub(super) async fn drop_pipelined<T: AsyncRead + Unpin>(io: &mut T) {
    let mut first = [MaybeUninit::uninit(); 64];
    let mut read = ReadBuf::uninit(&mut first);
    let polled = poll_fn(|cx| Poll::Ready(Pin::new(&mut *io).poll_read(cx, &mut read))).await;
    if matches!(polled, Poll::Ready(Ok(()))) && !read.filled().is_empty() {
        linger(io).await;
    }
}

/// Reads and drops what still comes. Our sending side is shut, so a caller that has read it closes.
pub(super) async fn linger<T: AsyncRead + Unpin>(io: &mut T) {
    let drain = async {
        let mut dropped = vec![0; LINGER_READ_BYTES];
        let mut left = LINGER_BYTES_MAX;
        while let Ok(n @ 1..) = io.read(&mut dropped).await {
            left = left.saturating_sub(n);
            if left == 0 {
                return;
            }
        }
    };
    let _ = tokio::time::timeout(LINGER_TIMEOUT, drain).await;
}

impl AsyncRead for Socket {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Socket::Plain(tcp) => Pin::new(tcp).poll_read(cx, buf),
            Socket::Tls(tls) => Pin::new(tls).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Socket::Plain(tcp) => Pin::new(tcp).poll_write(cx, buf),
            Socket::Tls(tls) => Pin::new(tls).poll_write(cx, buf),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Socket::Plain(tcp) => Pin::new(tcp).poll_write_vectored(cx, bufs),
            Socket::Tls(tls) => Pin::new(tls).poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Socket::Plain(tcp) => Pin::new(tcp).poll_flush(cx),
            Socket::Tls(tls) => Pin::new(tls).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Socket::Plain(tcp) => Pin::new(tcp).poll_shutdown(cx),
            Socket::Tls(tls) => Pin::new(tls).poll_shutdown(cx),
        }
    }
}
