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

use super::direction::{Direction, FramedDirection};
use super::watch::SessionWatch;
use crate::proxy::fields::has_token;
use crate::tee::ObservedSession;
use metering::frames::{Extensions, Frames};
use metering::session::{FirstEnd, SessionSide};

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

/// The frames of the client and of the upstream, by the head of the upstream's `101` as it came. Those of another
/// protocol than WebSocket are unreadable.
pub(crate) fn frames(headers: &HeaderMap) -> (Frames, Frames) {
    if !has_token(headers, &UPGRADE, "websocket") {
        return (Frames::unreadable(), Frames::unreadable());
    }
    let values = headers.get_all(SEC_WEBSOCKET_EXTENSIONS).iter();
    let extensions = Extensions::of(values.filter_map(|value| value.to_str().ok()));
    (Frames::of_client(extensions.client), Frames::of_server(extensions.server))
}

/// Joins the two sides. `beyond` are bytes that the upstream sent right behind its `101`.
pub(crate) fn tunnel<U>(client: OnUpgrade, upstream: U, beyond: Bytes, session: ObservedSession) -> Tunnel
where
    U: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    Box::pin(async move {
        let Ok(client) = client.await else { return };
        TunnelSession::new(TokioIo::new(client), upstream, &beyond, session).await;
    })
}

/// Two sides that are joined. Bytes go on unchanged; who looks at copies of them tells what their frames are.
///
/// The first end that means something says how the session ended (RFC 6455 7.1.5, 7.2): a close frame of
/// either side is its end, and so is a client that sends no more with nothing begun, unless a response is left
/// open: then that side broke it off. A reset, an end in the middle of a message, or an upstream that goes without a
/// close frame is a break, of that side. Where the bytes are not frames, only a reset is one.
#[derive(Debug)]
struct TunnelSession<C, U, W: SessionWatch> {
    client: C,
    upstream: U,
    /// From the client to the upstream.
    up: Direction,
    down: Direction,
    ended: Option<FirstEnd>,
    /// Taken when the session is over.
    watch: Option<W>,
}

impl<C, U, W: SessionWatch> TunnelSession<C, U, W> {
    fn new(client: C, upstream: U, beyond: &Bytes, watch: W) -> TunnelSession<C, U, W> {
        let (up, down) = (Direction::new(&Bytes::new()), Direction::new(beyond));
        TunnelSession { client, upstream, up, down, ended: None, watch: Some(watch) }
    }
}

/// The two directions of a session, with their frames.
struct BothDirections<'a> {
    up: FramedDirection<'a>,
    down: FramedDirection<'a>,
}

impl<'a> BothDirections<'a> {
    fn of(up: &'a Direction, down: &'a Direction, watch: &'a impl SessionWatch) -> BothDirections<'a> {
        let framed = |direction, side| FramedDirection { direction, frames: watch.frames(side) };
        BothDirections { up: framed(up, SessionSide::Client), down: framed(down, SessionSide::Server) }
    }

    /// How the session has ended, as far as both directions have been looked at.
    fn judge(&self) -> Option<FirstEnd> {
        let (up, down) = (self.up, self.down);
        // A side that hangs up need not hear how the other side takes it.
        let hung_up = up.has_finished();
        // The end of frames is a close frame.
        let unsaid = down.has_finished() && up.frames.is_readable() && down.frames.is_readable();
        let gone = down.direction.was_reset() || up.direction.was_refused() || unsaid;
        if up.frames.is_closed() {
            Some(FirstEnd::closed_by(SessionSide::Client))
        } else if down.frames.is_closed() {
            Some(FirstEnd::closed_by(SessionSide::Server))
        } else if up.has_broken() || down.direction.was_refused() {
            Some(FirstEnd::broken_by(SessionSide::Client))
        } else if down.is_cut() || (gone && !hung_up) {
            Some(FirstEnd::broken_by(SessionSide::Server))
        } else {
            None
        }
    }

    /// How a session has ended that is over without a sign: the side that has finished has, the caller first.
    fn judge_over(&self) -> FirstEnd {
        let side = if self.up.has_finished() { SessionSide::Client } else { SessionSide::Server };
        FirstEnd::closed_by(side)
    }
}

impl<C, U, W> Future for TunnelSession<C, U, W>
where
    C: AsyncRead + AsyncWrite + Unpin,
    U: AsyncRead + AsyncWrite + Unpin,
    W: SessionWatch + Unpin,
{
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        let Some(watch) = &mut this.watch else { return Poll::Ready(()) };
        watch.begin_turn();
        let (mut up, mut down) = (false, false);
        loop {
            let before = (up, down);
            let mut look = |bytes: &[u8]| watch.observe(SessionSide::Client, bytes);
            up = this.up.poll(cx, &mut this.client, &mut this.upstream, &mut look).is_ready();
            let mut look = |bytes: &[u8]| watch.observe(SessionSide::Server, bytes);
            down = this.down.poll(cx, &mut this.upstream, &mut this.client, &mut look).is_ready();
            // When one direction has ended, the other has a last look at what it knows.
            if (up, down) == before {
                break;
            }
        }
        if watch.is_turn_over() {
            // Other sessions come first, then this one goes on: nothing is waited for.
            cx.waker().wake_by_ref();
        }
        let both = BothDirections::of(&this.up, &this.down, watch);
        this.ended = this.ended.or_else(|| both.judge());
        // A side that takes no more may have sent its last bytes before: those are passed on first.
        let over = (up && (down || this.up.was_reset()))
            || (down && this.down.was_reset())
            || (this.up.was_refused() && this.down.is_idle())
            || (this.down.was_refused() && this.up.is_idle());
        if !over {
            return Poll::Pending;
        }
        this.ended = this.ended.or_else(|| Some(both.judge_over()));
        Poll::Ready(())
    }
}

impl<C, U, W: SessionWatch> Drop for TunnelSession<C, U, W> {
    /// Dropping a session that is over does not change how it ended.
    fn drop(&mut self) {
        let Some(watch) = self.watch.take() else { return };
        let (up, down, ended) = (&self.up, &self.down, self.ended);
        let last = [(SessionSide::Client, up.unseen()), (SessionSide::Server, down.unseen())];
        watch.end(last, |watch| {
            let both = BothDirections::of(up, down, watch);
            let hung_up = both.up.has_finished() && !both.down.frames.is_open() && !watch.is_responding();
            let over = hung_up.then(|| FirstEnd::closed_by(SessionSide::Client));
            let end = ended.or_else(|| both.judge()).or(over)?;
            Some(end.ending(watch.is_responding()))
        });
    }
}

#[cfg(test)]
mod tests;
