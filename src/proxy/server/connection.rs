//! One connection of the gateway, from its handshake to its last request, or to the end of the tunnel that it
//! became.

use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use hyper::body::Incoming;
use hyper::rt::{Sleep, Timer};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::sync::OwnedSemaphorePermit;

use super::acceptor::{AcceptedClient, Acceptor, ClientTransport};
use super::close_notice::{CloseChanges, CloseNotice};
use super::conn_state::{ConnState, TakenOver};
use super::head_timer::HeadStage;
use super::idle_clock::IdleClock;
use super::io::ClientIo;
use super::limiter::Limiter;
use super::lingering_close::{close_with, drop_pipelined, linger};
use super::stream::StreamWriter;
use super::takeover::{HyperBody, ResponseFraming};
use crate::proxy::config::Limits;
use crate::proxy::counts::{Counts, Limit};
use crate::proxy::forward::response_body::ResponseBody;
use crate::proxy::forward::service::Service;
use crate::proxy::forward::websocket::tunnel::Tunnel;
use crate::proxy::tls::cause;
use crate::proxy::upstream::io::set_tcp_options;
use crate::tee::REQUEST_READ_BYTES_MAX;
use metering::caller::Peer;

/// Fields for which hyper has room without an allocation of its own.
const HEADERS_AT_HAND: usize = 100;

/// The response to a client that has not sent the whole head in time.
const HEAD_TIMED_OUT: &[u8] =
    b"HTTP/1.1 408 Request Timeout\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";

/// The parts that all connections of all threads share.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) limits: Limits,
    pub(crate) acceptor: Acceptor,
    pub(crate) limiter: Arc<Limiter>,
    pub(crate) counts: Arc<Counts>,
}

/// A connection that was accepted, and its place among them.
pub(super) struct Accepted {
    pub(super) tcp: TcpStream,
    pub(super) from: SocketAddr,
    pub(super) permit: Option<OwnedSemaphorePermit>,
}

/// A connection, by what it is doing.
#[expect(
    clippy::large_enum_variant,
    reason = "there is one for each connection, and it is moved once a response"
)]
enum Connection {
    /// hyper reads requests and sends responses.
    Serving(ClientIo<ClientTransport>),
    /// The rest of a response that was taken over from hyper is sent. `last`: no request follows it.
    Streaming {
        writer: StreamWriter<ClientIo<ClientTransport>, ResponseBody>,
        last: bool,
    },
    /// The connection has become a tunnel.
    Tunnel(Tunnel),
    Closed,
}

/// Runs a connection to its end.
pub(super) async fn run(
    accepted: Accepted,
    server: Arc<Server>,
    service: Arc<Service>,
    mut notice: CloseNotice,
) {
    let Accepted { tcp, from, permit: _permit } = accepted;
    if set_tcp_options(&tcp, service.tcp_keepalive()).is_err() {
        return; // the peer has gone already
    }
    let conn = Arc::new(ConnState::new(server.limits.header_timeout));
    let idle = server.limits.caller_idle_timeout.map(|timeout| IdleClock::new(timeout, &server.counts));
    if idle.is_some() {
        IdleClock::prepare(&tcp);
    }
    let client = tokio::select! {
        client = server.acceptor.accept(tcp, from, &conn, idle.as_ref()) => client,
        () = notice.wait() => None,
    };
    let Some(AcceptedClient { io, peer, chain }) = client else { return };
    notice.set_chain(chain);
    let mut connection = Connection::Serving(ClientIo::new(io, &conn));
    let runner = Runner { server, service, conn, idle, peer, from };
    loop {
        connection = match connection {
            Connection::Serving(io) => runner.serve(io, &mut notice).await,
            Connection::Streaming { writer, last } => runner.stream(writer, last, &notice).await,
            Connection::Tunnel(tunnel) => runner.tunnel(tunnel).await,
            Connection::Closed => return,
        }
    }
}

/// Runs one connection.
struct Runner {
    server: Arc<Server>,
    service: Arc<Service>,
    conn: Arc<ConnState>,
    /// `None`: the client may take its time.
    idle: Option<IdleClock>,
    peer: Peer,
    from: SocketAddr,
}

impl Runner {
    /// Lets hyper serve requests, until the connection ends or a response is taken over.
    async fn serve(&self, io: ClientIo<ClientTransport>, notice: &mut CloseNotice) -> Connection {
        let requests = service_fn(|request| self.respond(request));
        let http = http(&self.server.limits, &self.conn).serve_connection(TokioIo::new(io), requests);
        // In a box that goes when a response is taken over.
        let mut http = Box::new(http.with_upgrades());
        let mut closes = false;
        let ended = loop {
            match step(&mut http, &self.conn, (!closes).then_some(&mut *notice)).await {
                HyperStep::Ended(ended) => break ended,
                HyperStep::TakenOver(TakenOver { body, last }) => {
                    let Some(parts) = http.into_parts() else { return Connection::Closed };
                    let writer = StreamWriter::new(parts.io.into_inner(), body, parts.read_buf);
                    return Connection::Streaming { writer, last: last || closes };
                }
                HyperStep::Close => Pin::new(&mut *http).graceful_shutdown(),
            }
            closes = true;
        };
        let next = self.conn.take_next();
        // How a connection ends is the clients' business; what it was used for has been recorded.
        if ended.is_ok() {
            self.conn.ended_well();
        }
        // In boxes of their own: most connections need neither.
        match (ended, http.into_parts()) {
            (_, None) => {
                return next
                    .and_then(ResponseBody::into_tunnel)
                    .map_or(Connection::Closed, Connection::Tunnel);
            }
            (Ok(()), Some(parts)) => {
                drop(next);
                Box::pin(drop_pipelined(&mut parts.io.into_inner(), &parts.read_buf)).await;
            }
            (Err(error), Some(parts)) => {
                drop(next);
                Box::pin(self.end_refused(error, parts.read_buf, parts.io.into_inner())).await;
            }
        }
        Connection::Closed
    }

    /// Responds to a request.
    fn respond(
        &self,
        mut request: Request<Incoming>,
    ) -> Pin<Box<impl Future<Output = Result<Response<HyperBody>, Infallible>> + use<>>> {
        if let Some(idle) = &self.idle {
            request.extensions_mut().insert(idle.clone());
        }
        self.conn.saw_request(request.version());
        let (framing, conn) = (ResponseFraming::of(&request), Arc::clone(&self.conn));
        let service = Arc::clone(&self.service);
        let received = service.receive(&request, &self.peer);
        // In a box that goes when the response begins: hyper keeps room for this future, which is
        // 6 KB, for as long as the connection lives.
        Box::pin(async move {
            let mut response = service.handle(request, received).await;
            if response.status() == StatusCode::SWITCHING_PROTOCOLS {
                conn.keep_tunnel(std::mem::take(response.body_mut()));
            }
            Ok(HyperBody::lend(&conn, framing, response))
        })
    }

    /// Sends the rest of a response. A connection that breaks off is closed in mid-message: that tells the client
    /// that the response is broken.
    async fn stream(
        &self,
        writer: StreamWriter<ClientIo<ClientTransport>, ResponseBody>,
        last: bool,
        notice: &CloseNotice,
    ) -> Connection {
        let Ok((mut io, early)) = writer.run().await else { return Connection::Closed };
        if last || notice.is_due() {
            let _ = io.shutdown().await;
            Box::pin(drop_pipelined(&mut io, &early)).await;
            return Connection::Closed;
        }
        io.put_back(early);
        Connection::Serving(io)
    }

    /// Passes the bytes of a tunnel on until it ends.
    async fn tunnel(&self, tunnel: Tunnel) -> Connection {
        self.idle.iter().for_each(IdleClock::stop);
        let _permit = self.server.limiter.tunnel();
        tunnel.await;
        Connection::Closed
    }

    /// Counts why hyper has given a connection up, sends the response that hyper has not sent, and lets the client
    /// read it.
    async fn end_refused(&self, error: hyper::Error, unread: Bytes, mut io: ClientIo<ClientTransport>) {
        let server = &self.server;
        if error.is_timeout() {
            if self.conn.head_timer.stage() == HeadStage::Head {
                server.counts.met(Limit::HeaderTimeout);
                close_with(&mut io, HEAD_TIMED_OUT).await;
            } else {
                server.counts.met(Limit::IdleTimeout);
            }
            return;
        }
        if !error.is_parse() {
            return; // the client has gone, or broke off within a message
        }
        if error.is_parse_too_large() {
            let end = memchr::memmem::find(&unread, b"\r\n\r\n").map_or(unread.len(), |at| at + 4);
            let bytes = end >= server.limits.header_bytes;
            server.counts.met(if bytes { Limit::HeaderBytes } else { Limit::Headers });
        } else if self.conn.head_timer.saw_tls() && server.acceptor.tls.is_none() {
            server.acceptor.failed(self.from, cause::not_plain());
        }
        linger(&mut io).await;
    }
}

/// The outcome of hyper's part of a connection.
#[expect(clippy::large_enum_variant, reason = "it is made once a response and taken apart at once")]
enum HyperStep {
    /// The connection has ended.
    Ended(hyper::Result<()>),
    /// A response was taken over.
    TakenOver(TakenOver),
    /// No further request is to be taken.
    Close,
}

/// Runs hyper's part of a connection until something is to be done; `notice` says when to close it.
async fn step<C>(http: &mut C, conn: &ConnState, notice: Option<&mut CloseNotice>) -> HyperStep
where
    C: Future<Output = hyper::Result<()>> + Unpin,
{
    let mut changes = notice.as_ref().map(|notice| notice.changes());
    let mut closing = pin!(async {
        match notice {
            Some(notice) => notice.wait().await,
            None => std::future::pending().await,
        }
    });
    let mut waiting = false;
    poll_fn(|cx| {
        if let Poll::Ready(ended) = Pin::new(&mut *http).poll(cx) {
            return Poll::Ready(HyperStep::Ended(ended));
        }
        if let Some(response) = conn.taken_over() {
            return Poll::Ready(HyperStep::TakenOver(response));
        }
        // A connection is polled for every chunk, and told to close once in a life: once it waits for
        // that, looking for changes is one load and no lock.
        if waiting && !changes.as_mut().is_some_and(CloseChanges::any) {
            return Poll::Pending;
        }
        waiting = true;
        closing.as_mut().poll(cx).map(|()| HyperStep::Close)
    })
    .await
}

/// hyper as it faces clients.
fn http(limits: &Limits, conn: &Arc<ConnState>) -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder
        .timer(HyperTimer(Arc::clone(conn)))
        .header_read_timeout(limits.idle_timeout) // and the head timer makes two of it
        .max_header_size(limits.header_bytes)
        .max_buf_size(REQUEST_READ_BYTES_MAX.max(limits.header_bytes))
        .writev(false) // copies small chunks together: one write per burst
        .auto_date_header(false); // the upstream's own is passed on
    if limits.headers != HEADERS_AT_HAND {
        builder.max_headers(limits.headers);
    }
    builder
}

/// The connection's head timer, as hyper asks for it.
struct HyperTimer(Arc<ConnState>);

impl Timer for HyperTimer {
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Sleep>> {
        self.sleep_until(Instant::now() + duration)
    }

    /// A head is wanted.
    fn sleep_until(&self, deadline: Instant) -> Pin<Box<dyn Sleep>> {
        self.0.head_timer.want_head(deadline);
        Box::pin(HyperSleep(Arc::clone(&self.0)))
    }
}

/// The future that hyper polls while it wants a head.
struct HyperSleep(Arc<ConnState>);

impl Sleep for HyperSleep {}

impl Future for HyperSleep {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.0.head_timer.poll(cx)
    }
}
