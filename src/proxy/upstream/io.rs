//! A connection to an upstream, plain or TLS, and how it is made.

use std::io;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncReadExt, ReadBuf};
use tokio::net::TcpStream;

use super::address::Upstream;
use crate::proxy::config::Limits;
use crate::proxy::tls::transport::Transport;
use crate::proxy::tls::upstream::UpstreamTls;

/// How often the kernel asks a silent peer, per time of silence, and how long it waits each time at
/// least (the smallest that can be set).
const PROBES_PER_TIME: u32 = 6;
const PROBE_INTERVAL_MIN: Duration = Duration::from_secs(1);

/// A connection to an upstream.
pub(crate) type UpstreamIo = Transport<TcpStream>;

impl UpstreamIo {
    /// Connects, trying the addresses of the name in turn: name, TCP and TLS together take no
    /// longer than [`Limits::connect_timeout`].
    pub(super) async fn connect(
        upstream: &Upstream,
        tls: Option<&UpstreamTls>,
        limits: &Limits,
    ) -> io::Result<UpstreamIo> {
        let connecting = async {
            let tcp = TcpStream::connect((upstream.host(), upstream.port())).await?;
            set_tcp_options(&tcp, limits.tcp_keepalive)?;
            match (upstream.server_name(), tls) {
                (None, _) => Ok(Transport::Plain(tcp)),
                (Some(name), Some(tls)) => {
                    let stream = tls.connector().connect(name.to_owned(), tcp).await?;
                    Ok(Transport::Tls(Box::new(stream.into())))
                }
                (Some(_), None) => Err(io::Error::other("no TLS is set up")),
            }
        };
        match tokio::time::timeout(limits.connect_timeout, connecting).await {
            Ok(connected) => connected,
            Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, "no connection in time")),
        }
    }

    /// Reads into `buf`, at most its spare room. `Ok(0)` is the end of the stream.
    pub(super) fn poll_fill(&mut self, cx: &mut Context<'_>, buf: &mut BytesMut) -> Poll<io::Result<usize>> {
        pin!(self.read_buf(buf)).poll(cx)
    }

    /// An idle connection is fit for use as long as this is pending: any byte, end or error means
    /// that the upstream has given it up.
    pub(super) fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mut byte = [0];
        Pin::new(self).poll_read(cx, &mut ReadBuf::new(&mut byte)).map(drop)
    }
}

/// Sets the options that each TCP connection of ours has, on either side: nothing waits for a full segment, and
/// after `silence` the kernel asks whether the peer still lives.
pub(crate) fn set_tcp_options(tcp: &TcpStream, silence: Duration) -> io::Result<()> {
    tcp.set_nodelay(true)?;
    let interval = (silence / PROBES_PER_TIME).max(PROBE_INTERVAL_MIN);
    let keep_alive = socket2::TcpKeepalive::new().with_time(silence).with_interval(interval);
    socket2::SockRef::from(tcp).set_tcp_keepalive(&keep_alive)
}
