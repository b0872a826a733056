//! A connection to the service, plain or TLS, and how it is made.

use std::io::{self, IoSlice};
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use super::Upstream;
use crate::proxy::Limits;
use crate::proxy::tls::Tls;

/// How often the kernel asks a silent peer, per time of silence, and how long it waits each time at
/// least (the smallest that can be set).
const PROBES_PER_TIME: u32 = 6;
const PROBE_INTERVAL_MIN: Duration = Duration::from_secs(1);

/// A connection to the service.
#[derive(Debug)]
pub(in crate::proxy) enum Io {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl Io {
    /// Connects, trying the addresses of the name in turn: name, TCP and TLS together take no
    /// longer than [`Limits::connect_timeout`].
    pub(super) async fn connect(upstream: &Upstream, tls: Option<&Tls>, limits: &Limits) -> io::Result<Io> {
        let connecting = async {
            let tcp = TcpStream::connect((upstream.host(), upstream.port())).await?;
            prepare(&tcp, limits.tcp_keepalive)?;
            match (upstream.server_name(), tls) {
                (None, _) => Ok(Io::Plain(tcp)),
                (Some(name), Some(tls)) => {
                    Ok(Io::Tls(Box::new(tls.connector().connect(name.to_owned(), tcp).await?)))
                }
                (Some(_), None) => Err(io::Error::other("no TLS is set up")),
            }
        };
        match tokio::time::timeout(limits.connect_timeout, connecting).await {
            Ok(connected) => connected,
            Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, "no connection in time")),
        }
    }

    /// Reads what is there into `buf`, at most its spare room. `Ok(0)` is the end of the stream.
    pub(super) fn poll_fill(&mut self, cx: &mut Context<'_>, buf: &mut BytesMut) -> Poll<io::Result<usize>> {
        pin!(self.read_buf(buf)).poll(cx)
    }

    /// An idle connection is fit for use as long as this is pending: any byte, end or error means
    /// that the service has given it up.
    pub(super) fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mut byte = [0];
        Pin::new(self).poll_read(cx, &mut ReadBuf::new(&mut byte)).map(drop)
    }
}

/// Sets what each TCP connection of ours has, on either side: nothing waits for a full segment, and
/// after `silence` the kernel asks whether the peer still lives.
pub(in crate::proxy) fn prepare(tcp: &TcpStream, silence: Duration) -> io::Result<()> {
    tcp.set_nodelay(true)?;
    let interval = (silence / PROBES_PER_TIME).max(PROBE_INTERVAL_MIN);
    let keep_alive = socket2::TcpKeepalive::new().with_time(silence).with_interval(interval);
    socket2::SockRef::from(tcp).set_tcp_keepalive(&keep_alive)
}

impl AsyncRead for Io {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Io::Plain(tcp) => Pin::new(tcp).poll_read(cx, buf),
            Io::Tls(tls) => Pin::new(tls).poll_read(cx, buf),
        }
    }
}

impl AsyncWrite for Io {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Io::Plain(tcp) => Pin::new(tcp).poll_write(cx, buf),
            Io::Tls(tls) => Pin::new(tls).poll_write(cx, buf),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Io::Plain(tcp) => Pin::new(tcp).poll_write_vectored(cx, bufs),
            Io::Tls(tls) => Pin::new(tls).poll_write_vectored(cx, bufs),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Io::Plain(tcp) => Pin::new(tcp).poll_flush(cx),
            Io::Tls(tls) => Pin::new(tls).poll_flush(cx),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Io::Plain(tcp) => Pin::new(tcp).poll_shutdown(cx),
            Io::Tls(tls) => Pin::new(tls).poll_shutdown(cx),
        }
    }
}
