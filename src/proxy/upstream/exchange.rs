//! One request and its answer on one connection, and the answer's body.
//!
//! Whoever polls the exchange moves both directions: while the answer streams, an upload that is
//! still running goes on. There is no task and no channel in between, so a burst that arrives in
//! one read leaves in one write.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{Method, StatusCode};
use http_body::{Body, Frame, SizeHint};

use super::head::{self, BadHead, Framing, Head, HeadLimits};
use super::idle::Idle;
use super::io::Io;
use super::patience::{Deadline, Silence};
use super::spare;
use super::upload::{Upload, UploadError};
use crate::proxy::{BoxError, Limits};
use crate::tee::{ANSWER_READ_BYTES_MAX, Cause};
use metering::meter::Ending;

/// First size of the read buffer. A token's event is about 500 bytes.
const READ_BYTES_MIN: usize = 4 * 1024;

/// How long the body of a request that expects `100 Continue` waits for the service's word
/// (RFC 9110 10.1.1: a client SHOULD NOT wait for ever). .NET clients wait as long themselves.
const CONTINUE_TIMEOUT: Duration = Duration::from_secs(1);

/// Interim answers before the final one. A service sends one or two; more only keep us busy.
const INTERIM_ANSWERS_MAX: u32 = 32;

/// Why there is no answer, or no more of it.
#[derive(Debug, thiserror::Error)]
pub(in crate::proxy) enum Broken {
    /// Not a byte of the request was written.
    #[error("the request could not be sent")]
    Unsent(#[source] io::Error),
    /// The caller's body broke off.
    #[error("the caller's request broke off")]
    Caller(#[source] BoxError),
    /// The connection failed.
    #[error("the connection to the service failed")]
    Io(#[from] io::Error),
    /// The connection ended within the answer.
    #[error("the service ended the connection within its answer")]
    Eof,
    /// The answer's head is not HTTP that we can pass on.
    #[error(transparent)]
    Head(#[from] BadHead),
    /// The answer's chunks are not.
    #[error("the answer's chunked coding is broken")]
    Chunks,
    /// The service kept us waiting for longer than [`Limits`] allow.
    #[error("the service was silent for too long")]
    Timeout,
}

impl Cause for Broken {
    fn ending(&self) -> Ending {
        match self {
            Broken::Timeout => Ending::Timeout,
            Broken::Caller(_) => Ending::ClientDisconnect,
            _ => Ending::UpstreamError,
        }
    }
}

/// A connection with a request on it.
#[derive(Debug)]
pub(super) struct Exchange<B> {
    io: Io,
    upload: Upload<B>,
    method: Method,
    head_limits: HeadLimits,
    read: BytesMut,
    read_bytes: usize,
    /// Runs while the upload is held.
    hold: Deadline,
    response_timeout: Option<Duration>,
    /// Runs from the request's last byte to the head of the answer.
    patience: Deadline,
    idle_timeout: Option<Duration>,
    interim_answers: u32,
}

impl<B> Exchange<B>
where
    B: Body<Data = Bytes> + Unpin + Send + 'static,
    B::Error: Into<BoxError>,
{
    pub(super) fn new(io: Io, upload: Upload<B>, method: Method, limits: &Limits) -> Exchange<B> {
        Exchange {
            io,
            hold: Deadline::after(upload.held().then_some(CONTINUE_TIMEOUT)),
            upload,
            method,
            head_limits: HeadLimits::of(limits),
            read: BytesMut::new(),
            read_bytes: READ_BYTES_MIN,
            response_timeout: limits.response_timeout,
            patience: Deadline::default(),
            idle_timeout: limits.stream_idle_timeout,
            interim_answers: 0,
        }
    }

    /// The request, to be sent again elsewhere: only after [`Broken::Unsent`].
    pub(super) fn into_upload(self) -> Upload<B> {
        self.upload
    }

    /// The connection and what was read beyond the head, after `101 Switching Protocols`.
    pub(super) fn into_io(self) -> (Io, Bytes) {
        (self.io, self.read.freeze())
    }

    /// Sends, and waits for the head of the final answer. Interim answers are taken off: `100`
    /// releases a held body (hyper then tells the caller), the others are dropped.
    pub(super) fn poll_head(&mut self, cx: &mut Context<'_>) -> Poll<Result<Head, Broken>> {
        loop {
            self.poll_upload(cx)?;
            if let Some(head) = head::read(&mut self.read, &self.method, self.head_limits)? {
                if !head.status.is_informational() || head.status == StatusCode::SWITCHING_PROTOCOLS {
                    self.patience = Deadline::default();
                    return Poll::Ready(Ok(head));
                }
                self.interim(head.status)?;
                continue;
            }
            match self.poll_read(cx) {
                Poll::Ready(Ok(0)) => return Poll::Ready(Err(Broken::Eof)),
                Poll::Ready(read) => drop(read?),
                Poll::Pending => return self.poll_patience(cx).map(|()| Err(Broken::Timeout)),
            }
        }
    }

    /// An answer that is not the last word.
    fn interim(&mut self, status: StatusCode) -> Result<(), Broken> {
        self.interim_answers += 1;
        if self.interim_answers > INTERIM_ANSWERS_MAX {
            return Err(Broken::Head(BadHead::Malformed("too many interim answers")));
        }
        if status == StatusCode::CONTINUE {
            self.release();
        }
        Ok(())
    }

    /// Ready once the service has had the whole request for too long.
    fn poll_patience(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        if self.upload.done() {
            self.patience.begin(self.response_timeout.take());
        }
        self.patience.poll(cx)
    }

    /// Moves the upload on. A service that takes no more may have answered, so that alone is no
    /// error once something was sent.
    fn poll_upload(&mut self, cx: &mut Context<'_>) -> Result<(), Broken> {
        if self.upload.done() {
            return Ok(());
        }
        if self.hold.poll(cx).is_ready() {
            self.release();
        }
        match self.upload.poll(cx, &mut self.io) {
            Poll::Ready(Err(UploadError::Caller(error))) => Err(Broken::Caller(error)),
            Poll::Ready(Err(UploadError::Service(error))) if !self.upload.wrote() => {
                Err(Broken::Unsent(error))
            }
            Poll::Ready(Err(UploadError::Service(_))) => {
                self.upload.give_up();
                Ok(())
            }
            Poll::Ready(Ok(())) | Poll::Pending => Ok(()),
        }
    }

    fn release(&mut self) {
        self.hold = Deadline::default();
        self.upload.release();
    }

    /// Reads behind what is there already. The buffer doubles when a read fills it: bursts and
    /// large bodies get large reads, paced streams stay small. While nothing comes there is none.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        let small = self.read_bytes == READ_BYTES_MIN;
        if small && self.read.capacity() == 0 {
            self.read = spare::take();
        }
        self.read.reserve(self.read_bytes);
        let Poll::Ready(n) = self.io.poll_fill(cx, &mut self.read)? else {
            if self.read.is_empty() {
                let read = std::mem::take(&mut self.read);
                if small {
                    spare::give(read);
                }
            }
            return Poll::Pending;
        };
        if n >= self.read_bytes {
            self.read_bytes = (self.read_bytes * 2).min(ANSWER_READ_BYTES_MAX);
        }
        Poll::Ready(Ok(n))
    }
}

/// The body of an answer. It owns the connection until its end, then gives it back to the pool.
///
/// Dropped before, it closes the connection: the service learns at once that nobody listens.
#[derive(Debug)]
pub(in crate::proxy) struct Download<B> {
    exchange: Option<Box<Exchange<B>>>,
    framing: Framing,
    /// Where the connection goes if it may serve again.
    home: Option<(Arc<Idle>, usize)>,
    /// Set if silence is limited.
    silence: Option<Silence>,
    /// The error that the next poll gives.
    failed: Option<Broken>,
}

impl<B> Download<B>
where
    B: Body<Data = Bytes> + Unpin + Send + 'static,
    B::Error: Into<BoxError>,
{
    pub(super) fn new(
        exchange: Box<Exchange<B>>,
        framing: Framing,
        home: Option<(Arc<Idle>, usize)>,
    ) -> Download<B> {
        let silence = exchange.idle_timeout.map(Silence::new);
        let mut download = Download { exchange: Some(exchange), framing, home, silence, failed: None };
        if matches!(download.framing, Framing::Length(0)) {
            download.finish();
        }
        download
    }

    /// The message is whole: the connection goes back to the pool, if nothing is left in it or to
    /// be sent on it.
    fn finish(&mut self) {
        let Some(exchange) = self.exchange.take() else { return };
        let small = exchange.read_bytes == READ_BYTES_MIN;
        let Exchange { io, mut upload, read, .. } = *exchange;
        if !upload.done() {
            let held = upload.held();
            if let Some(body) = upload.give_up().filter(|_| !held) {
                tokio::spawn(super::linger(body));
            }
        } else if let Some((idle, upstream)) = self.home.take().filter(|_| read.is_empty()) {
            idle.give(upstream, io);
            if small {
                spare::give(read);
            }
        }
    }

    /// Ends the message with an error, one poll later: hyper throws away what it has not written
    /// yet when a body fails, so it gets the time to write what came before.
    fn fail<T>(&mut self, cx: &mut Context<'_>, broken: Broken) -> Poll<T> {
        self.exchange = None;
        self.failed = Some(broken);
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

impl Framing {
    /// Takes the body's bytes out of what was read.
    fn take(&mut self, read: &mut BytesMut) -> Bytes {
        match self {
            Framing::Chunked(chunked) => chunked.take(read),
            Framing::Close => read.split().freeze(),
            Framing::Length(left) => {
                let n = usize::try_from(*left).map_or(read.len(), |left| left.min(read.len()));
                *left -= n as u64;
                read.split_to(n).freeze()
            }
        }
    }

    fn ended(&self) -> bool {
        match self {
            Framing::Chunked(chunked) => chunked.ended(),
            Framing::Length(left) => *left == 0,
            Framing::Close => false,
        }
    }

    fn broken(&self) -> bool {
        matches!(self, Framing::Chunked(chunked) if chunked.broken())
    }
}

impl<B> Body for Download<B>
where
    B: Body<Data = Bytes> + Unpin + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        let this = &mut *self;
        if let Some(broken) = this.failed.take() {
            return Poll::Ready(Some(Err(broken)));
        }
        loop {
            let Some(exchange) = &mut this.exchange else { return Poll::Ready(None) };
            if let Err(broken) = exchange.poll_upload(cx) {
                return this.fail(cx, broken);
            }
            let data =
                if exchange.read.is_empty() { Bytes::new() } else { this.framing.take(&mut exchange.read) };
            if this.framing.ended() {
                this.finish();
            }
            if !data.is_empty() {
                return Poll::Ready(Some(Ok(Frame::data(data))));
            }
            if this.framing.broken() {
                return this.fail(cx, Broken::Chunks);
            }
            let Some(exchange) = &mut this.exchange else { return Poll::Ready(None) };
            match exchange.poll_read(cx) {
                Poll::Ready(Ok(0)) if matches!(this.framing, Framing::Close) => this.finish(),
                Poll::Ready(Ok(0)) => return this.fail(cx, Broken::Eof),
                Poll::Ready(Ok(_)) => this.silence.iter_mut().for_each(Silence::end),
                Poll::Ready(Err(error)) => return this.fail(cx, Broken::Io(error)),
                Poll::Pending => {
                    let Some(silence) = &mut this.silence else { return Poll::Pending };
                    ready!(silence.poll(cx));
                    return this.fail(cx, Broken::Timeout);
                }
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.exchange.is_none() && self.failed.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        match self.framing {
            Framing::Length(left) => SizeHint::with_exact(left),
            Framing::Chunked(_) | Framing::Close => SizeHint::default(),
        }
    }
}
