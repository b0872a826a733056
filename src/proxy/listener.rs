//! Where calls arrive: sockets, connections, and how they are brought to an end.

use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::reset::{CallerSocket, Close};
use super::service::Service;
use super::upstream::prepare;
use super::websocket::TunnelSlot;
use super::{Phase, READ_BYTES_MAX};
use crate::caller::Peer;

/// Connections that may wait to be accepted: a gateway that reconnects all at once.
const BACKLOG_CONNECTIONS: i32 = 4096;

/// Connections of one thread; more wait in the backlog. Four times the streams that the memory
/// goals are set for.
const CONNECTIONS_MAX: usize = 20_000;

/// How long a connection may take over a request's head, or wait for its next request. Longer than
/// any gateway keeps an idle connection, so that it is the gateway that closes first and no request
/// is lost on its way to a closing socket.
const HEAD_TIMEOUT: Duration = Duration::from_secs(300);

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
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(shared)?;
    socket.set_nonblocking(true)?;
    socket.bind(&addr.into())?;
    socket.listen(BACKLOG_CONNECTIONS)?;
    Ok(socket.into())
}

/// Serves until told to stop; then lets calls finish, and breaks those that do not.
pub(super) async fn serve(
    listener: tokio::net::TcpListener,
    service: Arc<Service>,
    drain_timeout: Duration,
    mut phase: watch::Receiver<Phase>,
) {
    let mut connections = JoinSet::new();
    let (close, closing) = watch::channel(false);
    loop {
        tokio::select! {
            () = reached(&mut phase, Phase::Draining) => break,
            Some(_) = connections.join_next() => {}
            accepted = listener.accept(), if connections.len() < CONNECTIONS_MAX => match accepted {
                Ok((tcp, from)) => {
                    let peer = Arc::new(Peer::new(from.ip(), None));
                    connections.spawn(connection(tcp, peer, Arc::clone(&service), closing.clone()));
                }
                Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
                Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
            },
        }
    }
    drop(listener);
    service.drain();
    tokio::select! {
        () = finish(&service, &close, &mut connections) => {}
        () = tokio::time::sleep(drain_timeout) => {}
        () = reached(&mut phase, Phase::Ending) => {}
    }
    service.stop();
    connections.shutdown().await;
}

/// Lets calls end, then closes the connections that wait for another one. Until then a connection
/// takes one more request, whose answer says that it is the last.
async fn finish(service: &Service, close: &watch::Sender<bool>, connections: &mut JoinSet<()>) {
    if !connections.is_empty() {
        tokio::time::sleep(LAST_REQUESTS).await;
    }
    while service.is_busy() {
        tokio::time::sleep(DRAIN_POLL).await;
    }
    close.send_replace(true);
    while connections.join_next().await.is_some() {}
}

/// One connection of the gateway, from its first request to its last, or to the end of the tunnel
/// that it became.
async fn connection(
    tcp: TcpStream,
    peer: Arc<Peer>,
    service: Arc<Service>,
    mut closing: watch::Receiver<bool>,
) {
    if prepare(&tcp, service.tcp_keepalive()).is_err() {
        return; // the peer has gone already
    }
    let tunnel = TunnelSlot::default();
    let close = Close::default();
    let requests = service_fn(|request: Request<Incoming>| {
        close.saw(request.version());
        let (service, peer, tunnel) = (Arc::clone(&service), Arc::clone(&peer), tunnel.clone());
        async move { Ok::<_, Infallible>(service.handle(request, &peer, tunnel).await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(READ_BYTES_MAX)
        .writev(false) // copies small chunks together: one write per burst
        .auto_date_header(false) // the service's own is passed on
        .serve_connection(TokioIo::new(CallerSocket::new(tcp, close.clone())), requests)
        .with_upgrades();
    let mut connection = pin!(connection);
    // How a connection ends is the callers' business; what it was used for has been recorded.
    let ended = {
        let news = closing.clone();
        let mut told = pin!(closing.wait_for(|&close| close));
        let mut waiting = false;
        poll_fn(|cx| {
            if let Poll::Ready(ended) = connection.as_mut().poll(cx) {
                tell(&close, ended);
                return Poll::Ready(true);
            }
            // A connection is polled for every chunk, and told to close once in a life: once it waits
            // for that, looking for news is one load and no lock.
            if waiting && !news.has_changed().unwrap_or(true) {
                return Poll::Pending;
            }
            waiting = true;
            told.as_mut().poll(cx).map(|_| false)
        })
        .await
    };
    if !ended {
        connection.as_mut().graceful_shutdown();
        tell(&close, connection.as_mut().await);
    }
    if let Some(tunnel) = tunnel.take() {
        tunnel.await;
    }
}

/// An answer that broke off is seen as such by callers of any version.
fn tell(close: &Close, ended: hyper::Result<()>) {
    if ended.is_err_and(|error| error.is_user()) {
        close.broken();
    }
}

/// Waits until the end has come this far, or whoever could say so is gone.
async fn reached(phase: &mut watch::Receiver<Phase>, to: Phase) {
    let _ = phase.wait_for(|&phase| phase >= to).await;
}
