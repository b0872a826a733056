//! Accepts connections, and brings them to an end when the process stops.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::close_notice::CloseNotifier;
use super::connection::{self, Accepted, Server};
use crate::proxy::counts::{Limit, LogSubject};
use crate::proxy::forward::service::Service;

/// Connections that may wait to be accepted: a gateway that reconnects all at once.
const BACKLOG_CONNECTIONS: i32 = 4096;

/// Rest after a failed accept: out of file descriptors, most likely.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// How long connections stay open after the drain began, at least: time for a request that is on
/// its way. A client that has just sent one would find the connection reset.
const LAST_REQUESTS: Duration = Duration::from_millis(250);

/// How often a drain looks whether calls still run.
const DRAIN_POLL: Duration = Duration::from_millis(20);

/// How far the stop of the process has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum ShutdownPhase {
    Serving,
    Draining,
    Ending,
}

/// Makes a listening socket. With `shared`, several may have the same address, and the kernel spreads
/// connections over them; alone it is not set, so that a second process is an error.
pub(crate) fn bind(addr: SocketAddr, shared: bool) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(shared)?;
    socket.set_nonblocking(true)?;
    socket.bind(&addr.into())?;
    socket.listen(BACKLOG_CONNECTIONS)?;
    Ok(socket.into())
}

/// Serves until told to stop; then lets calls finish, and breaks off those that do not.
pub(crate) async fn serve(
    listener: tokio::net::TcpListener,
    service: Arc<Service>,
    server: Arc<Server>,
    drain_timeout: Duration,
    mut phase: watch::Receiver<ShutdownPhase>,
) {
    let mut connections = JoinSet::new();
    let mut notifier = CloseNotifier::new(server.acceptor.tls.as_ref());
    {
        let mut accepting = pin!(accept(&listener, &server));
        loop {
            tokio::select! {
                () = reached(&mut phase, ShutdownPhase::Draining) => break,
                Some(_) = connections.join_next() => {}
                () = notifier.pass_on() => {}
                accepted = &mut accepting => {
                    let (server_of, service_of) = (Arc::clone(&server), Arc::clone(&service));
                    connections.spawn(connection::run(accepted, server_of, service_of, notifier.subscribe()));
                    accepting.set(accept(&listener, &server));
                }
            }
        }
    }
    drop(listener);
    service.drain();
    tokio::select! {
        () = finish(&service, &notifier, &mut connections) => {}
        () = tokio::time::sleep(drain_timeout) => {}
        () = reached(&mut phase, ShutdownPhase::Ending) => {}
    }
    service.stop();
    connections.shutdown().await;
}

/// Waits for a connection, then for room for it: one of each thread waits here, the others in the
/// backlog.
async fn accept(listener: &tokio::net::TcpListener, server: &Server) -> Accepted {
    loop {
        match listener.accept().await {
            Ok((tcp, from)) => return Accepted { tcp, from, permit: server.limiter.connection().await },
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
            Err(error) => {
                server.counts.met(Limit::Files);
                if let Some(kept_back) = server.counts.may_log(LogSubject::Accept) {
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
/// takes one more request, whose response says that it is the last.
async fn finish(service: &Service, notifier: &CloseNotifier, connections: &mut JoinSet<()>) {
    if !connections.is_empty() {
        tokio::time::sleep(LAST_REQUESTS).await;
    }
    while service.is_busy() {
        tokio::time::sleep(DRAIN_POLL).await;
    }
    notifier.close_all();
    while connections.join_next().await.is_some() {}
}

/// Waits until the stop has come this far, or its sender is gone.
async fn reached(phase: &mut watch::Receiver<ShutdownPhase>, to: ShutdownPhase) {
    let _ = phase.wait_for(|&phase| phase >= to).await;
}
