//! A response whose content is captured on its way to the client: behind the tap and the filter, so what is kept is what
//! the client was sent. When the client goes, it ends there.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use metering::usage::Outcome;

use super::forwarded_body::ForwardedBody;
use crate::capture::SideCapture;
use crate::proxy::rewrite::usage_filter::UsageFilter;
use crate::proxy::upstream::error::UpstreamError;
use crate::tee::{BodyError, ResponseTap};

/// The body of an upstream's response that is captured.
pub(super) struct CapturedBody {
    /// `None`: somebody else sees to its end.
    tap: Option<ResponseTap<ForwardedBody>>,
    /// Set if the usage event is taken out.
    filter: Option<Box<UsageFilter<UpstreamError>>>,
    side: SideCapture,
}

impl CapturedBody {
    /// `tap` holds the end of its call back, so that the call is not over before its last frame was captured.
    pub(super) fn new(
        tap: ResponseTap<ForwardedBody>,
        filter: Option<Box<UsageFilter<UpstreamError>>>,
        side: SideCapture,
    ) -> CapturedBody {
        let mut body = CapturedBody { tap: Some(tap), filter, side };
        body.look_for_end();
        body
    }

    pub(super) fn tap(&self) -> Option<&ResponseTap<ForwardedBody>> {
        self.tap.as_ref()
    }

    /// The tap, to be read on: nothing more of it is captured.
    pub(super) fn into_tap(mut self) -> Option<ResponseTap<ForwardedBody>> {
        self.abandon();
        self.tap.take()
    }

    /// hyper asks no more once the body says that it has ended, so the end is looked for here too.
    fn look_for_end(&mut self) {
        let has_ended = match (&self.tap, &self.filter) {
            // It has looked for it just now.
            (Some(tap), None) => tap.holds_end(),
            _ => self.is_end_stream(),
        };
        if has_ended {
            self.end(Outcome::Complete);
        }
    }

    fn end(&mut self, outcome: Outcome) {
        self.side.finish(outcome);
        self.release_end();
    }

    fn release_end(&mut self) {
        if let Some(tap) = &mut self.tap {
            tap.release_end();
        }
    }

    /// The client is sent no more.
    fn abandon(&mut self) {
        self.side.interrupt();
        self.release_end();
    }

    fn poll_inner(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, UpstreamError>>> {
        match (&mut self.tap, &mut self.filter) {
            (None, _) => Poll::Ready(None),
            (Some(tap), None) => Pin::new(tap).poll_frame(cx),
            (Some(tap), Some(filter)) => filter.poll_frame(cx, tap),
        }
    }
}

impl Drop for CapturedBody {
    fn drop(&mut self) {
        self.abandon();
    }
}

impl Body for CapturedBody {
    type Data = Bytes;
    type Error = UpstreamError;

    // Not inlined: whoever passes a body on that is not captured pays nothing for this one.
    #[inline(never)]
    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, UpstreamError>>> {
        let polled = self.poll_inner(cx);
        match &polled {
            Poll::Ready(Some(Ok(frame))) => {
                if let Some(data) = frame.data_ref() {
                    self.side.push(data);
                }
                self.look_for_end();
            }
            Poll::Ready(None) => self.end(Outcome::Complete),
            Poll::Ready(Some(Err(error))) => self.end(error.ending().outcome()),
            Poll::Pending => {}
        }
        polled
    }

    #[inline(never)]
    fn is_end_stream(&self) -> bool {
        match (&self.tap, &self.filter) {
            (None, _) => true,
            (Some(tap), None) => tap.is_end_stream(),
            (Some(tap), Some(filter)) => filter.is_end_stream(tap),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match (&self.tap, &self.filter) {
            (Some(tap), None) => tap.size_hint(),
            _ => SizeHint::default(),
        }
    }
}
