//! One request and its response on one connection.
//!
//! Polling the exchange moves both directions: while the response streams, an upload that is
//! still running goes on. There is no task and no channel in between, so a burst that arrives in
//! one read leaves in one write.

use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, StatusCode};
use http_body::Body;

use super::deadline::Deadline;
use super::error::{BoxError, HeadError, UpstreamError};
use super::head::{self, HeadLimits, ResponseHead};
use super::io::UpstreamIo;
use super::read_buffer::ReadBuffer;
use super::upload::{Upload, UploadError};
use crate::proxy::config::Limits;

/// How long the body of a request that expects `100 Continue` waits for the upstream's word
/// (RFC 9110 10.1.1: a client SHOULD NOT wait indefinitely). .NET clients wait as long themselves.
const CONTINUE_TIMEOUT: Duration = Duration::from_secs(1);

/// Interim responses before the final one. An upstream sends one or two; more only keep us busy.
const INTERIM_RESPONSES_MAX: u32 = 32;

/// A connection with a request on it.
#[derive(Debug)]
pub(super) struct Exchange<B> {
    pub(super) io: UpstreamIo,
    pub(super) upload: Upload<B>,
    pub(super) read: ReadBuffer,
    method: Method,
    head_limits: HeadLimits,
    /// Runs while the upload waits for `100 Continue`.
    continue_deadline: Deadline,
    response_timeout: Option<Duration>,
    /// Runs from the request's last byte to the head of the response.
    response_deadline: Deadline,
    pub(super) stream_idle_timeout: Option<Duration>,
    interim_responses: u32,
}

impl<B> Exchange<B>
where
    B: Body<Data = Bytes> + Unpin + Send + 'static,
    B::Error: Into<BoxError>,
{
    pub(super) fn new(io: UpstreamIo, upload: Upload<B>, method: Method, limits: &Limits) -> Exchange<B> {
        Exchange {
            io,
            continue_deadline: Deadline::after(upload.waits_for_continue().then_some(CONTINUE_TIMEOUT)),
            upload,
            read: ReadBuffer::new(),
            method,
            head_limits: HeadLimits::of(limits),
            response_timeout: limits.response_timeout,
            response_deadline: Deadline::default(),
            stream_idle_timeout: limits.stream_idle_timeout,
            interim_responses: 0,
        }
    }

    /// The request, to be sent again elsewhere: only after [`UpstreamError::Unsent`].
    pub(super) fn into_upload(self) -> Upload<B> {
        self.upload
    }

    /// The connection and the bytes that were read beyond the head, after `101 Switching Protocols`.
    pub(super) fn into_io(self) -> (UpstreamIo, Bytes) {
        (self.io, self.read.freeze())
    }

    /// Sends, and waits for the head of the final response. Interim responses are taken off: `100`
    /// releases a body that waits for it (hyper then tells the client), the others are dropped.
    pub(super) fn poll_head(&mut self, cx: &mut Context<'_>) -> Poll<Result<ResponseHead, UpstreamError>> {
        loop {
            self.poll_upload(cx)?;
            if let Some(head) = head::read(self.read.bytes(), &self.method, self.head_limits)? {
                if !head.status.is_informational() || head.status == StatusCode::SWITCHING_PROTOCOLS {
                    self.response_deadline = Deadline::default();
                    return Poll::Ready(Ok(head));
                }
                self.interim(head.status)?;
                continue;
            }
            match self.read.poll_read(cx, &mut self.io) {
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(UpstreamError::Eof)),
                Poll::Ready(read) => drop(read?),
                Poll::Pending => {
                    return self.poll_response_deadline(cx).map(|()| Err(UpstreamError::Timeout));
                }
            }
        }
    }

    /// Takes note of a response that is not the final one.
    fn interim(&mut self, status: StatusCode) -> Result<(), UpstreamError> {
        self.interim_responses += 1;
        if self.interim_responses > INTERIM_RESPONSES_MAX {
            return Err(UpstreamError::Head(HeadError::Malformed("too many interim answers")));
        }
        if status == StatusCode::CONTINUE {
            self.send_body();
        }
        Ok(())
    }

    /// Is ready once the upstream has had the whole request for too long.
    fn poll_response_deadline(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.upload.done() {
            self.response_deadline.begin(self.response_timeout.take());
        }
        self.response_deadline.poll(cx)
    }

    /// Moves the upload on. An upstream that takes no more may have responded, so that alone is no
    /// error once something was sent.
    pub(super) fn poll_upload(&mut self, cx: &mut Context<'_>) -> Result<(), UpstreamError> {
        if self.upload.done() {
            return Ok(());
        }
        if self.continue_deadline.poll(cx).is_ready() {
            self.send_body();
        }
        match self.upload.poll(cx, &mut self.io) {
            Poll::Ready(Err(UploadError::Body(error))) => Err(UpstreamError::RequestBody(error)),
            Poll::Ready(Err(UploadError::Io(error))) if !self.upload.wrote() => {
                Err(UpstreamError::Unsent(error))
            }
            Poll::Ready(Err(UploadError::Io(_))) => {
                self.upload.give_up();
                Ok(())
            }
            Poll::Ready(Ok(())) | Poll::Pending => Ok(()),
        }
    }

    /// Lets a body go that waited for `100 Continue`.
    fn send_body(&mut self) {
        self.continue_deadline = Deadline::default();
        self.upload.send_body();
    }
}
