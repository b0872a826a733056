//! The body of a response on its way to the client.
//!
//! A frame passes, in order: the upstream's connection, or frames of it that were read before and put back
//! ([`crate::proxy::upstream::body`]); the tap, which shows it to the call's meter; and the filter of the usage event,
//! if the client did not ask for one.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::Full;

use super::captured_body::CapturedBody;
use super::disconnect::DisconnectDrain;
use super::forwarded_body::ForwardedBody;
use super::websocket::tunnel::Tunnel;
use crate::capture::SideCapture;
use crate::proxy::rewrite::usage_filter::UsageFilter;
use crate::proxy::server::limiter::Permit;
use crate::proxy::upstream::error::UpstreamError;
use crate::tee::ResponseTap;

/// The body of a response.
pub(crate) struct ResponseBody {
    source: BodySource,
    /// The call's place among those that run. `None`: a refusal of ours, which takes none.
    permit: Option<Permit>,
}

enum BodySource {
    Upstream {
        tap: ResponseTap<ForwardedBody>,
        /// Set if the usage event is taken out.
        filter: Option<Box<UsageFilter<UpstreamError>>>,
        /// Reads the response on if it is dropped before its end. `None`: it ends when its client goes.
        drain: Option<Arc<DisconnectDrain>>,
    },
    /// The same, and what the client is sent is captured.
    Captured {
        body: Box<CapturedBody>,
        drain: Option<Arc<DisconnectDrain>>,
    },
    Own(Full<Bytes>),
    /// The response is a `101`: the connection becomes this.
    Tunnel(Tunnel),
}

impl ResponseBody {
    /// The body of an upstream's response. With `hides_usage` its usage event is taken out.
    pub(super) fn forwarded(
        tap: ResponseTap<ForwardedBody>,
        hides_usage: bool,
        drain: Option<Arc<DisconnectDrain>>,
    ) -> ResponseBody {
        let filter = hides_usage.then(|| Box::new(UsageFilter::new()));
        ResponseBody { source: BodySource::Upstream { tap, filter, drain }, permit: None }
    }

    /// The same, and what the client is sent is captured. `tap` holds the end of its call back.
    pub(super) fn captured(
        tap: ResponseTap<ForwardedBody>,
        hides_usage: bool,
        drain: Option<Arc<DisconnectDrain>>,
        side: SideCapture,
    ) -> ResponseBody {
        let filter = hides_usage.then(|| Box::new(UsageFilter::new()));
        let body = Box::new(CapturedBody::new(tap, filter, side));
        ResponseBody { source: BodySource::Captured { body, drain }, permit: None }
    }

    /// A body of our own.
    pub(super) fn own(body: &'static str) -> ResponseBody {
        ResponseBody { source: BodySource::Own(Full::from(body)), permit: None }
    }

    /// The empty body of a `101`, and the tunnel that follows it.
    pub(super) fn tunnel(tunnel: Tunnel) -> ResponseBody {
        ResponseBody { source: BodySource::Tunnel(tunnel), permit: None }
    }

    /// Holds the call's permit until the body is dropped.
    pub(super) fn hold(&mut self, permit: Option<Permit>) {
        self.permit = permit;
    }

    /// It is an upstream's response to a request that has been read to its end.
    pub(crate) fn request_is_whole(&self) -> bool {
        let is_whole =
            |tap: &ResponseTap<ForwardedBody>| tap.call().is_some_and(|call| call.request_is_whole());
        match &self.source {
            BodySource::Upstream { tap, .. } => is_whole(tap),
            BodySource::Captured { body, .. } => body.tap().is_some_and(is_whole),
            BodySource::Own(_) | BodySource::Tunnel(_) => false,
        }
    }

    /// The tunnel that follows the response.
    pub(crate) fn into_tunnel(mut self) -> Option<Tunnel> {
        match std::mem::take(&mut self.source) {
            BodySource::Tunnel(tunnel) => Some(tunnel),
            BodySource::Upstream { .. } | BodySource::Captured { .. } | BodySource::Own(_) => None,
        }
    }

    /// The upstream's response, if its call is not over. The one who takes it sees to its end.
    pub(super) fn into_tap(mut self) -> Option<ResponseTap<ForwardedBody>> {
        let tap = match std::mem::take(&mut self.source) {
            BodySource::Upstream { tap, .. } => Some(tap),
            BodySource::Captured { body, .. } => body.into_tap(),
            BodySource::Own(_) | BodySource::Tunnel(_) => None,
        };
        tap.filter(|tap| tap.call().is_some())
    }
}

impl Default for ResponseBody {
    /// An empty body.
    fn default() -> ResponseBody {
        ResponseBody { source: BodySource::default(), permit: None }
    }
}

impl Default for BodySource {
    fn default() -> BodySource {
        BodySource::Own(Full::default())
    }
}

impl Drop for ResponseBody {
    fn drop(&mut self) {
        match std::mem::take(&mut self.source) {
            BodySource::Upstream { tap, drain: Some(drain), .. } => drain.read_on(tap),
            BodySource::Captured { body, drain: Some(drain) } => {
                if let Some(tap) = body.into_tap() {
                    drain.read_on(tap);
                }
            }
            _ => {}
        }
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = UpstreamError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, UpstreamError>>> {
        match &mut self.source {
            BodySource::Upstream { tap, filter: None, .. } => Pin::new(tap).poll_frame(cx),
            BodySource::Upstream { tap, filter: Some(filter), .. } => filter.poll_frame(cx, tap),
            BodySource::Captured { body, .. } => Pin::new(&mut **body).poll_frame(cx),
            BodySource::Own(body) => Pin::new(body).poll_frame(cx).map_err(|never| match never {}),
            BodySource::Tunnel(_) => Poll::Ready(None),
        }
    }

    #[inline]
    fn is_end_stream(&self) -> bool {
        match &self.source {
            BodySource::Upstream { tap, filter: None, .. } => tap.is_end_stream(),
            BodySource::Upstream { tap, filter: Some(filter), .. } => filter.is_end_stream(tap),
            BodySource::Captured { body, .. } => body.is_end_stream(),
            BodySource::Own(body) => body.is_end_stream(),
            BodySource::Tunnel(_) => true,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.source {
            BodySource::Upstream { tap, filter: None, .. } => tap.size_hint(),
            BodySource::Upstream { filter: Some(_), .. } => SizeHint::default(),
            BodySource::Captured { body, .. } => body.size_hint(),
            BodySource::Own(body) => body.size_hint(),
            BodySource::Tunnel(_) => SizeHint::with_exact(0),
        }
    }
}
