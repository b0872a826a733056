//! Makes a client's connection ready for HTTP, with a TLS handshake where the port speaks TLS.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::conn_state::ConnState;
use super::head_timer::TLS_HANDSHAKE;
use super::idle_clock::IdleClock;
use super::lingering_close::close_with;
use super::tcp::ClientTcp;
use crate::proxy::counts::{Counts, Limit, LogSubject, TlsPeer};
use crate::proxy::tls::cause::{self, TlsCause};
use crate::proxy::tls::chains::ClientChain;
use crate::proxy::tls::listen::ListenTls;
use crate::proxy::tls::transport::Transport;
use metering::caller::Peer;

/// The response to plain HTTP at a TLS port.
const TLS_WANTED: &[u8] = b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Type: application/json\r\n\
    Content-Length: 78\r\n\r\n{\"error\":{\"code\":\"tls_required\",\"message\":\"This port speaks TLS: use https.\"}}";

/// A client's connection, plain or TLS.
pub(super) type ClientTransport = Transport<ClientTcp>;

/// A client whose connection is ready for HTTP.
pub(super) struct AcceptedClient {
    pub(super) io: ClientTransport,
    pub(super) peer: Peer,
    /// The certificate that it has shown.
    pub(super) chain: Option<Arc<ClientChain>>,
}

/// Makes connections ready for HTTP.
#[derive(Debug)]
pub(crate) struct Acceptor {
    pub(crate) tls: Option<ListenTls>,
    /// How long the whole handshake may take.
    pub(crate) timeout: Duration,
    pub(crate) counts: Arc<Counts>,
}

impl Acceptor {
    /// The client at the other end; `None` if its handshake fails or it has gone.
    pub(super) async fn accept(
        &self,
        tcp: TcpStream,
        from: SocketAddr,
        conn: &Arc<ConnState>,
        idle: Option<&IdleClock>,
    ) -> Option<AcceptedClient> {
        let Some(tls) = &self.tls else {
            let io = Transport::Plain(ClientTcp::new(tcp, conn, idle));
            return Some(AcceptedClient { io, peer: Peer::new(from.ip(), None), chain: None });
        };
        let config = tls.current();
        // In a box of its own: a connection should not keep room for it all its life.
        let handshake = self.handshake(config.acceptor(), tcp, from, conn, idle);
        let Ok(accepted) = Box::pin(tokio::time::timeout(self.timeout, handshake)).await else {
            self.counts.met(Limit::HeaderTimeout);
            return None;
        };
        let stream = accepted?;
        let certificates = stream.get_ref().1.peer_certificates();
        let peer = Peer::new(from.ip(), certificates.and_then(|chain| chain.first()).map(AsRef::as_ref));
        let chain = certificates.map(|chain| tls.chain(&config, chain));
        Some(AcceptedClient { io: Transport::Tls(Box::new(stream.into())), peer, chain })
    }

    async fn handshake(
        &self,
        acceptor: TlsAcceptor,
        mut tcp: TcpStream,
        from: SocketAddr,
        conn: &Arc<ConnState>,
        idle: Option<&IdleClock>,
    ) -> Option<TlsStream<ClientTcp>> {
        let mut first = [0];
        match tcp.peek(&mut first).await {
            Ok(1..) => {}
            _ => return None, // a load balancer that looks whether the port is open
        }
        if first[0] != TLS_HANDSHAKE {
            self.failed(from, cause::not_tls());
            if first[0].is_ascii_uppercase() {
                close_with(&mut tcp, TLS_WANTED).await;
            }
            return None;
        }
        match acceptor.accept(ClientTcp::new(tcp, conn, idle)).await {
            Ok(stream) => Some(stream),
            Err(error) => {
                self.failed(from, cause::from_client(&error));
                None
            }
        }
    }

    /// Counts a failure of TLS with a client and, now and then, logs it.
    pub(super) fn failed(&self, from: SocketAddr, (cause, why): (TlsCause, String)) {
        self.counts.failed(TlsPeer::Client, cause);
        if let Some(kept_back) = self.counts.may_log(LogSubject::ClientTls(cause)) {
            tracing::warn!(caller_ip = %from.ip(), cause = cause.as_str(), why, kept_back, "no TLS with a caller");
        }
    }
}
