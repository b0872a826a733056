//! The two bodies that look: each polls the inner one first, looks at the frame, and yields it.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use super::INLINE_BYTES_MAX;
use super::call::{Call, Conclude};
use crate::meter::Ending;

/// Why an answer's body broke off.
pub trait Cause {
    /// What the event says of it.
    fn ending(&self) -> Ending;
}

impl Cause for std::convert::Infallible {
    fn ending(&self) -> Ending {
        match *self {}
    }
}

/// A request body that shows itself to a call's meter, if there is one.
#[derive(Debug)]
pub struct RequestTap<B> {
    inner: B,
    /// Taken when the body has ended.
    call: Option<Arc<Call>>,
}

impl<B: Body> RequestTap<B> {
    /// Watches `inner`.
    pub fn new(inner: B, call: Option<Arc<Call>>) -> RequestTap<B> {
        let mut tap = RequestTap { inner, call };
        tap.look_for_end();
        tap
    }

    fn look_for_end(&mut self) {
        if self.inner.is_end_stream() {
            self.end();
        }
    }

    fn end(&mut self) {
        if let Some(call) = self.call.take() {
            call.request_end();
        }
    }
}

impl<B: Body<Data = Bytes> + Unpin> Body for RequestTap<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let this = &mut *self;
        let frame = std::task::ready!(Pin::new(&mut this.inner).poll_frame(cx));
        match &frame {
            Some(Ok(frame)) => {
                if let (Some(data), Some(call)) = (frame.data_ref(), &this.call) {
                    call.request_frame(data);
                }
                this.look_for_end();
            }
            None => this.end(),
            Some(Err(_)) => {
                if let Some(call) = this.call.take() {
                    call.request_broke();
                }
            }
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

/// An answer's body that shows itself to a call's meter, if there is one, and settles the call
/// when it ends, fails or is dropped.
#[derive(Debug)]
pub struct ResponseTap<B> {
    inner: B,
    call: Option<Conclude>,
    /// What may still be counted inline before this task yields.
    inline_bytes: usize,
}

impl<B: Body> ResponseTap<B> {
    /// Watches `inner`.
    pub fn new(inner: B, call: Option<Conclude>) -> ResponseTap<B> {
        let mut tap = ResponseTap { inner, call, inline_bytes: INLINE_BYTES_MAX };
        tap.look_for_end();
        tap
    }

    /// The call, until it is over.
    pub fn call(&self) -> Option<&Arc<Call>> {
        self.call.as_ref().map(Conclude::call)
    }

    /// hyper asks no more once the body says that it has ended, so the end is looked for here too.
    fn look_for_end(&mut self) {
        if self.inner.is_end_stream() {
            self.end(Ending::Eof);
        }
    }

    fn end(&mut self, ending: Ending) {
        if let Some(call) = self.call.take() {
            call.end(ending);
        }
    }
}

impl<B> Body for ResponseTap<B>
where
    B: Body<Data = Bytes, Error: Cause> + Unpin,
{
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let this = &mut *self;
        let Poll::Ready(frame) = Pin::new(&mut this.inner).poll_frame(cx) else {
            this.inline_bytes = INLINE_BYTES_MAX; // the task yields
            return Poll::Pending;
        };
        match &frame {
            Some(Ok(frame)) => {
                if let (Some(data), Some(call)) = (frame.data_ref(), &this.call) {
                    call.call().response_frame(data, &mut this.inline_bytes);
                }
                this.look_for_end();
            }
            None => this.end(Ending::Eof),
            Some(Err(error)) => this.end(error.ending()),
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
