//! `Upgrade: websocket`: both sides switch, then bytes go both ways until both have ended, and the call
//! with them. `copy_bidirectional` would do the same, but it does not tell which side broke off.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::{CONNECTION, SEC_WEBSOCKET_EXTENSIONS, UPGRADE};
use http::{HeaderMap, HeaderValue, Method, Version};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};

use super::direction::Direction;
use crate::proxy::fields::has_token;
use crate::tee::CallGuard;
use metering::frames::Frames;
use metering::meter::Ending;

/// A tunnel to be run by the task of its connection, so that it is drained and ended like one.
pub(crate) type Tunnel = Pin<Box<dyn Future<Output = ()> + Send>>;

/// The request asks to become a WebSocket: only a GET can (RFC 6455 4.1), and of HTTP/1.1 (RFC 9110 7.8). For
/// any other one the fields end here, as hop-by-hop ones do.
pub(crate) fn wanted(method: &Method, version: Version, headers: &HeaderMap) -> bool {
    *method == Method::GET
        && version >= Version::HTTP_11
        && has_token(headers, &CONNECTION, "upgrade")
        && has_token(headers, &UPGRADE, "websocket")
}

/// Says on the next hop that the protocol is switched; the fields are removed with the others that
/// end at a hop.
pub(crate) fn switch(headers: &mut HeaderMap) {
    headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
}

/// The protocol that the two sides speak once they have switched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    /// WebSocket; `extended`: with an extension, such as compression.
    WebSocket { extended: bool },
    /// Something else.
    Other,
}

/// The protocol that the upstream has switched to, by the head of its `101` as it came.
pub(crate) fn protocol(headers: &HeaderMap) -> Protocol {
    if has_token(headers, &UPGRADE, "websocket") {
        Protocol::WebSocket { extended: headers.contains_key(SEC_WEBSOCKET_EXTENSIONS) }
    } else {
        Protocol::Other
    }
}

/// Joins the two sides. `beyond` are bytes that the upstream sent right behind its `101`.
pub(crate) fn tunnel<U>(
    client: OnUpgrade,
    upstream: U,
    beyond: Bytes,
    protocol: Protocol,
    call: Option<CallGuard>,
) -> Tunnel
where
    U: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    Box::pin(async move {
        let Ok(client) = client.await else { return };
        TunnelSession::new(TokioIo::new(client), upstream, &beyond, protocol, call).await;
    })
}

/// Two sides that are joined. Bytes go on unchanged; copies of them tell how the session ended.
///
/// The first end that means something says how it ended (RFC 6455 7.1.5, 7.2): a close frame of
/// either side is the end of a session, and so is a client that sends no more with nothing begun. A
/// reset, an end in the middle of a message, or an upstream that goes without a close frame is a break,
/// of that side. Where the bytes are not frames, only a reset is one.
#[derive(Debug)]
struct TunnelSession<C, U> {
    client: C,
    upstream: U,
    /// From the client to the upstream.
    up: Direction,
    down: Direction,
    ended: Option<Ending>,
    call: Option<CallGuard>,
}

impl<C, U> TunnelSession<C, U> {
    fn new(
        client: C,
        upstream: U,
        beyond: &Bytes,
        protocol: Protocol,
        call: Option<CallGuard>,
    ) -> TunnelSession<C, U> {
        let (up, down) = match protocol {
            Protocol::WebSocket { extended } => (Frames::of_client(extended), Frames::of_server(extended)),
            Protocol::Other => (Frames::unreadable(), Frames::unreadable()),
        };
        let (up, down) = (Direction::new(&Bytes::new(), up), Direction::new(beyond, down));
        TunnelSession { client, upstream, up, down, ended: None, call }
    }

    /// How the session has ended, as far as both directions have been looked at.
    fn judge(&self) -> Option<Ending> {
        let (up, down) = (&self.up, &self.down);
        // A side that hangs up need not hear how the other side takes it.
        let hung_up = up.has_finished();
        // The end of frames is a close frame.
        let unsaid = down.has_finished() && up.is_readable() && down.is_readable();
        let gone = down.was_reset() || up.was_refused() || unsaid;
        if up.is_closed() || down.is_closed() {
            Some(Ending::Eof)
        } else if up.has_broken() || down.was_refused() {
            Some(Ending::ClientDisconnect)
        } else if down.is_cut() || (gone && !hung_up) {
            Some(Ending::UpstreamError)
        } else {
            None
        }
    }
}

impl<C, U> Future for TunnelSession<C, U>
where
    C: AsyncRead + AsyncWrite + Unpin,
    U: AsyncRead + AsyncWrite + Unpin,
{
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        let (mut up, mut down) = (false, false);
        loop {
            let before = (up, down);
            up = this.up.poll(cx, &mut this.client, &mut this.upstream).is_ready();
            down = this.down.poll(cx, &mut this.upstream, &mut this.client).is_ready();
            // When one direction has ended, the other has a last look at what it knows.
            if (up, down) == before {
                break;
            }
        }
        if this.ended.is_none() {
            this.ended = this.judge();
        }
        // A side that takes no more may have sent its last bytes before: those are passed on first.
        let over = (up && (down || this.up.was_reset()))
            || (down && this.down.was_reset())
            || (this.up.was_refused() && this.down.is_idle())
            || (this.down.was_refused() && this.up.is_idle());
        if !over {
            return Poll::Pending;
        }
        this.ended = this.ended.or(Some(Ending::Eof));
        Poll::Ready(())
    }
}

impl<C, U> Drop for TunnelSession<C, U> {
    /// Dropping a session that is over does not change how it ended.
    fn drop(&mut self) {
        let hung_up = self.up.has_finished() && !self.down.is_open();
        let ended = self.ended.or(hung_up.then_some(Ending::Eof));
        if let (Some(call), Some(ending)) = (self.call.take(), ended) {
            call.end(ending);
        }
    }
}

#[cfg(test)]
mod tests;
