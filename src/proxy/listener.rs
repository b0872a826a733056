//! Where calls arrive: sockets, connections, and how they are brought to an end.

use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use socket2::{Domain, Protocol, Socket as Bare, Type};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::task::JoinSet;

use super::closing::{Closer, Closing, News};
use super::counts::{Counts, Limit, Subject};
use super::gate::Gate;
use super::handover::{Asked, Given, Handover};
use super::patience::{Patience, Stage};
use super::pump::Pump;
use super::reset::Close;
use super::service::Service;
use super::socket::{self, Door, Socket};
use super::stall::Stall;
use super::upstream::prepare;
use super::websocket::TunnelSlot;
use super::{Limits, Phase, tls};
use crate::tee::REQUEST_READ_BYTES_MAX;

/// Connections that may wait to be accepted: a gateway that reconnects all at once.
const BACKLOG_CONNECTIONS: i32 = 4096;

/// Fields for which hyper has room without an allocation of its own.
const HEADERS_AT_HAND: usize = 100;

/// Rest after a failed accept: out of file descriptors, most likely.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// How long connections stay open after the drain began, at least: time for a request that is on
/// its way. Whoever has just sent one would find the connection reset.
const LAST_REQUESTS: Duration = Duration::from_millis(250);

/// How often a drain looks whether calls still run.
const DRAIN_POLL: Duration = Duration::from_millis(20);

/// A listening socket. With `shared`, several may have the same address, and the kernel spreads
/// connections over them; alone it is not set, so that a second process is an error.
pub(super) fn bind(addr: SocketAddr, shared: bool) -> io::Result<TcpListener> {
    let socket = Bare::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(shared)?;
    socket.set_nonblocking(true)?;
    socket.bind(&addr.into())?;
    socket.listen(BACKLOG_CONNECTIONS)?;
    Ok(socket.into())
}

/// What all connections of all threads share.
#[derive(Debug)]
pub(super) struct Port {
    pub(super) limits: Limits,
    pub(super) door: Door,
    pub(super) gate: Arc<Gate>,
    pub(super) counts: Arc<Counts>,
}

/// A connection that has come, and its place among them.
struct Arrived {
    tcp: TcpStream,
    from: SocketAddr,
    place: Option<OwnedSemaphorePermit>,
}

/// Serves until told to stop; then lets calls finish, and breaks those that do not.
pub(super) async fn serve(
    listener: tokio::net::TcpListener,
    service: Arc<Service>,
    port: Arc<Port>,
    drain_timeout: Duration,
    mut phase: watch::Receiver<Phase>,
) {
    let mut connections = JoinSet::new();
    let mut closer = Closer::new(port.door.tls.as_ref());
    {
        let mut arriving = pin!(arrive(&listener, &port));
        loop {
            tokio::select! {
                () = reached(&mut phase, Phase::Draining) => break,
                Some(_) = connections.join_next() => {}
                () = closer.pass_on() => {}
                arrived = &mut arriving => {
                    connections.spawn(connection(arrived, Arc::clone(&port), Arc::clone(&service), closer.closing()));
                    arriving.set(arrive(&listener, &port));
                }
            }
        }
    }
    drop(listener);
    service.drain();
    tokio::select! {
        () = finish(&service, &closer, &mut connections) => {}
        () = tokio::time::sleep(drain_timeout) => {}
        () = reached(&mut phase, Phase::Ending) => {}
    }
    service.stop();
    connections.shutdown().await;
}

/// Waits for a connection, then for room for it: one of each thread waits here, the others in the
/// backlog.
async fn arrive(listener: &tokio::net::TcpListener, port: &Port) -> Arrived {
    loop {
        match listener.accept().await {
            Ok((tcp, from)) => return Arrived { tcp, from, place: port.gate.connection().await },
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
            Err(error) => {
                port.counts.met(Limit::Files);
                if let Some(kept_back) = port.counts.may_say(Subject::Accept) {
                    tracing::error!(
                        %error, kept_back,
                        "no connection can be accepted; raise the limit of open files, or lower --max-connections"
                    );
                }
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// Lets calls end, then closes the connections that wait for another one. Until then a connection
/// takes one more request, whose answer says that it is the last.
async fn finish(service: &Service, closer: &Closer, connections: &mut JoinSet<()>) {
    if !connections.is_empty() {
        tokio::time::sleep(LAST_REQUESTS).await;
    }
    while service.is_busy() {
        tokio::time::sleep(DRAIN_POLL).await;
    }
    closer.close();
    while connections.join_next().await.is_some() {}
}

/// One connection of the gateway, from its handshake to its last request, or to the end of the
/// tunnel that it became.
async fn connection(arrived: Arrived, port: Arc<Port>, service: Arc<Service>, mut closing: Closing) {
    let Arrived { tcp, from, place: _place } = arrived;
    if prepare(&tcp, service.tcp_keepalive()).is_err() {
        return; // the peer has gone already
    }
    let close = Close::default();
    let stall = port.limits.caller_idle_timeout.map(|timeout| Stall::new(timeout, &port.counts));
    if stall.is_some() {
        Stall::prepare(&tcp);
    }
    let opened = tokio::select! {
        opened = port.door.open(tcp, from, &close, stall.as_ref()) => opened,
        () = closing.wait() => None,
    };
    let Some((io, peer, chain)) = opened else { return };
    closing.shown(chain);
    let (tunnel, patience, handover) =
        (TunnelSlot::default(), Patience::new(&port.limits), Handover::default());
    let mut io = patience.watch(handover.watch(io));
    let (connection, ended) = loop {
        let requests = service_fn(|mut request: Request<Incoming>| {
            if let Some(stall) = &stall {
                request.extensions_mut().insert(stall.clone());
            }
            close.saw(request.version());
            let (asked, handover) = (Asked::of(&request), handover.clone());
            let (service, tunnel) = (Arc::clone(&service), tunnel.clone());
            let taken = service.take(&request, &peer);
            // In a box that goes when the answer begins: hyper keeps room for this future, which is
            // 6 KB, for as long as the connection lives.
            Box::pin(async move {
                let response = service.handle(request, taken, tunnel).await;
                Ok::<_, Infallible>(handover.lend(asked, response))
            })
        });
        let connection = http(&port.limits, &patience).serve_connection(TokioIo::new(io), requests);
        // In a box that goes when an answer is taken over.
        let mut connection = Box::new(connection.with_upgrades());
        let mut closes = false;
        let given = loop {
            match step(&mut connection, &handover, (!closes).then_some(&mut closing)).await {
                Step::Ended(ended) => break Err(ended),
                Step::Given(given) => break Ok(given),
                Step::Close => Pin::new(&mut *connection).graceful_shutdown(),
            }
            closes = true;
        };
        let given = match given {
            Ok(given) => given,
            Err(ended) => break (connection, ended),
        };
        let Some(parts) = connection.into_parts() else { return };
        let Ok((mut rest, early)) = Pump::new(parts.io.into_inner(), given.body, parts.read_buf).run().await
        else {
            return; // closed in mid-message: the caller is told that it is broken
        };
        if given.last || closes || closing.is_told() {
            let _ = rest.shutdown().await;
            return Box::pin(socket::drop_pipelined(&mut rest)).await;
        }
        rest.get_mut().put_back(early);
        io = rest;
    };
    handover.drop_answer();
    // How a connection ends is the callers' business; what it was used for has been recorded.
    if ended.is_ok() {
        close.ended_well();
    }
    // In boxes of their own: most connections need neither.
    match (ended, connection.into_parts()) {
        (Err(error), Some(parts)) => {
            let io = parts.io.into_inner().into_inner().into_inner();
            let refused = Refused { error, unread: parts.read_buf, io };
            Box::pin(refused.end(&port, &patience, from)).await;
        }
        (Ok(()), Some(parts)) => Box::pin(socket::drop_pipelined(&mut parts.io.into_inner())).await,
        (_, None) => {
            let Some(tunnel) = tunnel.take() else { return };
            stall.iter().for_each(Stall::end);
            let _pass = port.gate.count();
            tunnel.await;
        }
    }
}

/// What hyper's part of a connection came to.
#[expect(clippy::large_enum_variant, reason = "it is made once an answer and taken apart at once")]
enum Step {
    /// The connection has ended.
    Ended(hyper::Result<()>),
    /// An answer is ours to pass on.
    Given(Given),
    /// No further request is to be taken.
    Close,
}

/// Runs hyper's part of a connection until something is to be done; `closing` says when to close it.
async fn step<C>(connection: &mut C, handover: &Handover, closing: Option<&mut Closing>) -> Step
where
    C: Future<Output = hyper::Result<()>> + Unpin,
{
    let mut news = closing.as_ref().map(|closing| closing.news());
    let mut told = pin!(async {
        match closing {
            Some(closing) => closing.wait().await,
            None => std::future::pending().await,
        }
    });
    let mut waiting = false;
    poll_fn(|cx| {
        if let Poll::Ready(ended) = Pin::new(&mut *connection).poll(cx) {
            return Poll::Ready(Step::Ended(ended));
        }
        if let Some(given) = handover.take() {
            return Poll::Ready(Step::Given(given));
        }
        // A connection is polled for every chunk, and told to close once in a life: once it waits for
        // that, looking for news is one load and no lock.
        if waiting && !news.as_mut().is_some_and(News::has_come) {
            return Poll::Pending;
        }
        waiting = true;
        told.as_mut().poll(cx).map(|()| Step::Close)
    })
    .await
}

/// Hyper as it faces callers.
fn http(limits: &Limits, patience: &Patience) -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder
        .timer(patience.clone())
        .header_read_timeout(limits.idle_timeout) // and patience makes two of it
        .max_header_size(limits.header_bytes)
        .max_buf_size(REQUEST_READ_BYTES_MAX.max(limits.header_bytes))
        .writev(false) // copies small chunks together: one write per burst
        .auto_date_header(false); // the service's own is passed on
    if limits.headers != HEADERS_AT_HAND {
        builder.max_headers(limits.headers);
    }
    builder
}

/// A connection that hyper has given up: what was wrong, and what is left of it.
struct Refused {
    error: hyper::Error,
    unread: Bytes,
    io: Socket,
}

impl Refused {
    /// Counts why, says what hyper has not said, and lets the caller read it.
    async fn end(mut self, port: &Port, patience: &Patience, from: SocketAddr) {
        if self.error.is_timeout() {
            if patience.stage() == Stage::Head {
                port.counts.met(Limit::HeaderTimeout);
                socket::say_last(&mut self.io, socket::TOO_SLOW).await;
            } else {
                port.counts.met(Limit::IdleTimeout);
            }
            return;
        }
        if !self.error.is_parse() {
            return; // the caller has gone, or broke off within a message
        }
        if self.error.is_parse_too_large() {
            let end = memchr::memmem::find(&self.unread, b"\r\n\r\n").map_or(self.unread.len(), |at| at + 4);
            let bytes = end >= port.limits.header_bytes;
            port.counts.met(if bytes { Limit::HeaderBytes } else { Limit::Headers });
        } else if patience.saw_tls() && port.door.tls.is_none() {
            port.door.failed(from, tls::not_plain());
        }
        socket::linger(&mut self.io).await;
    }
}

/// Waits until the end has come this far, or whoever could say so is gone.
async fn reached(phase: &mut watch::Receiver<Phase>, to: Phase) {
    let _ = phase.wait_for(|&phase| phase >= to).await;
}
