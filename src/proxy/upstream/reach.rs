//! A connection to an upstream that carries nothing, to see whether one can be made: for `check --connect`.

use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use rustls::pki_types::CertificateDer;
use tokio::io::AsyncReadExt;

use super::address::Upstream;
use super::io::UpstreamIo;
use crate::proxy::config::Limits;
use crate::proxy::tls::cause;
use crate::proxy::tls::transport::Transport;
use crate::proxy::tls::upstream::UpstreamTls;
use metering::caller::Certificate;

/// How long an upstream is waited for that may refuse our certificate: in TLS 1.3 it does so behind the handshake.
const REFUSAL_WAIT: Duration = Duration::from_millis(300);

/// Names of a certificate that are told.
const NAMES_MAX: usize = 3;

/// What a connection met.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reached {
    /// The address that answered.
    pub peer: SocketAddr,
    /// How long name, TCP and TLS took together.
    pub time: Duration,
    /// `None`: it is plain HTTP.
    pub tls: Option<TlsReached>,
}

/// What the handshake met.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsReached {
    /// Such as `TLS 1.3`.
    pub version: &'static str,
    /// Names in the certificate of the upstream, which has been verified.
    pub names: String,
}

impl Upstream {
    /// Connects, waits a moment, and hangs up. Blocks for [`Limits::connect_timeout`] and a moment at most.
    ///
    /// # Errors
    /// Says why there is no connection, in the words of the log.
    pub fn reach(&self, tls: Option<&UpstreamTls>, limits: &Limits) -> Result<Reached, String> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| error.to_string())?;
        let reached = runtime.block_on(self.reached(tls, limits));
        // A name that is looked up still would hold the end up.
        runtime.shutdown_background();
        reached.map_err(|error| {
            let cause = tls.and_then(|tls| cause::from_upstream(&error, tls.files()));
            cause.map_or_else(|| self.said(&error), |(_, why)| why)
        })
    }

    async fn reached(&self, tls: Option<&UpstreamTls>, limits: &Limits) -> io::Result<Reached> {
        let begun = Instant::now();
        let mut io = UpstreamIo::connect(self, tls, limits).await?;
        let time = begun.elapsed();
        let (peer, tls) = match &io {
            Transport::Plain(tcp) => (tcp.peer_addr()?, None),
            Transport::Tls(stream) => {
                let (tcp, session) = stream.get_ref();
                let certificate = session.peer_certificates().and_then(<[CertificateDer<'_>]>::first);
                let is_new = session.protocol_version() == Some(rustls::ProtocolVersion::TLSv1_3);
                let version = if is_new { "TLS 1.3" } else { "TLS 1.2" };
                (tcp.peer_addr()?, Some(TlsReached { version, names: names(certificate) }))
            }
        };
        if tls.is_some()
            && let Ok(read) = tokio::time::timeout(REFUSAL_WAIT, io.read(&mut [0])).await
        {
            read?;
        }
        Ok(Reached { peer, time, tls })
    }

    fn said(&self, error: &io::Error) -> String {
        let place = format!("{}:{}", self.host(), self.port());
        let hint = match error.kind() {
            io::ErrorKind::ConnectionRefused => "; nobody listens there",
            io::ErrorKind::TimedOut => " (--connect-timeout)",
            io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset if self.server_name().is_some() => {
                "; the service hung up within the handshake; is it TLS that it speaks?"
            }
            _ => "",
        };
        format!("{place}: {error}{hint}")
    }
}

fn names(certificate: Option<&CertificateDer<'_>>) -> String {
    let all = certificate.map(|der| Certificate::from_der(der)).unwrap_or_default();
    let (told, more) = all.names().split_at(all.names().len().min(NAMES_MAX));
    match more.len() {
        0 => told.join(", "),
        more => format!("{} and {more} more", told.join(", ")),
    }
}
