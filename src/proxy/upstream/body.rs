//! The body of an upstream's response.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use super::deadline::IdleDeadline;
use super::error::{BoxError, UpstreamError};
use super::exchange::Exchange;
use super::framing::Framing;
use super::pool::ConnectionPool;

/// How long, and how much of, a request is still read after its response has ended early. A socket
/// closed with unread data sends a reset, which can destroy the response on its way to the client.
const LINGER_TIMEOUT: Duration = Duration::from_secs(5);
const LINGER_BYTES_MAX: usize = 4 * 1024 * 1024;

/// The body of a response. It owns the connection until its end, then gives it back to the pool.
///
/// Dropped before, it closes the connection: the upstream learns at once that the response is no longer wanted.
#[derive(Debug)]
pub(crate) struct UpstreamBody<B> {
    /// Set if frames were put back.
    put_back: Option<Box<PutBack>>,
    exchange: Option<Box<Exchange<B>>>,
    framing: Framing,
    /// The pool and the upstream's index, if the connection may serve again.
    pool: Option<(Arc<ConnectionPool>, usize)>,
    /// Set if silence is limited.
    idle: Option<IdleDeadline>,
    /// The error that the next poll gives.
    failed: Option<UpstreamError>,
}

/// Frames that were read and are to be read once more.
#[derive(Debug)]
struct PutBack {
    frames: VecDeque<Bytes>,
    /// The error that ended the body behind them.
    error: Option<UpstreamError>,
}

impl<B> UpstreamBody<B>
where
    B: Body<Data = Bytes> + Unpin + Send + 'static,
    B::Error: Into<BoxError>,
{
    pub(super) fn new(
        exchange: Box<Exchange<B>>,
        framing: Framing,
        pool: Option<(Arc<ConnectionPool>, usize)>,
    ) -> UpstreamBody<B> {
        let idle = exchange.stream_idle_timeout.map(IdleDeadline::new);
        let exchange = Some(exchange);
        let mut body = UpstreamBody { put_back: None, exchange, framing, pool, idle, failed: None };
        if matches!(body.framing, Framing::Length(0)) {
            body.finish();
        }
        body
    }

    /// Puts back the frames that were read off its front, and the error that ended it.
    pub(crate) fn put_back(&mut self, frames: Vec<Bytes>, error: Option<UpstreamError>) {
        if !frames.is_empty() || error.is_some() {
            self.put_back = Some(Box::new(PutBack { frames: frames.into(), error }));
        }
    }

    /// The next of the frames that were put back; `None`: there is none, and the body goes on where it was.
    fn poll_put_back(&mut self, cx: &mut Context<'_>) -> Option<Poll<Bytes>> {
        let put_back = self.put_back.as_mut()?;
        let frame = put_back.frames.pop_front();
        if put_back.frames.is_empty() && (frame.is_none() || put_back.error.is_none()) {
            let error = self.put_back.take().and_then(|put_back| put_back.error);
            if let Some(error) = error {
                return Some(self.fail(cx, error));
            }
        }
        frame.map(Poll::Ready)
    }

    /// The message is whole: the connection goes back to the pool, if nothing is left in it or to
    /// be sent on it.
    fn finish(&mut self) {
        let Some(exchange) = self.exchange.take() else { return };
        let Exchange { io, mut upload, read, .. } = *exchange;
        if !upload.done() {
            let waits = upload.waits_for_continue();
            if let Some(body) = upload.give_up().filter(|_| !waits) {
                tokio::spawn(linger(body));
            }
        } else if let Some((pool, upstream)) = self.pool.take().filter(|_| read.is_empty()) {
            pool.put(upstream, io);
            read.recycle();
        }
    }

    /// Ends the message with an error, one poll later: hyper throws away what it has not written
    /// yet when a body fails, so it gets the time to write what came before.
    fn fail<T>(&mut self, cx: &mut Context<'_>, error: UpstreamError) -> Poll<T> {
        self.exchange = None;
        self.failed = Some(error);
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

impl<B> Body for UpstreamBody<B>
where
    B: Body<Data = Bytes> + Unpin + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = UpstreamError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, UpstreamError>>> {
        let this = &mut *self;
        if let Some(frame) = this.poll_put_back(cx) {
            return frame.map(|frame| Some(Ok(Frame::data(frame))));
        }
        if let Some(error) = this.failed.take() {
            return Poll::Ready(Some(Err(error)));
        }
        loop {
            let Some(exchange) = &mut this.exchange else { return Poll::Ready(None) };
            if let Err(error) = exchange.poll_upload(cx) {
                return this.fail(cx, error);
            }
            let read = exchange.read.bytes();
            let data = if read.is_empty() { Bytes::new() } else { this.framing.take(read) };
            if this.framing.ended() {
                this.finish();
            }
            if !data.is_empty() {
                return Poll::Ready(Some(Ok(Frame::data(data))));
            }
            if this.framing.broken() {
                return this.fail(cx, UpstreamError::Chunks);
            }
            let Some(exchange) = &mut this.exchange else { return Poll::Ready(None) };
            match exchange.read.poll_read(cx, &mut exchange.io) {
                Poll::Ready(Ok(0)) if matches!(this.framing, Framing::Close) => this.finish(),
                Poll::Ready(Ok(0)) => return this.fail(cx, UpstreamError::Eof),
                Poll::Ready(Ok(_)) => this.idle.iter_mut().for_each(IdleDeadline::restart),
                Poll::Ready(Err(error)) => return this.fail(cx, UpstreamError::Io(error)),
                Poll::Pending => {
                    let Some(idle) = &mut this.idle else { return Poll::Pending };
                    ready!(idle.poll(cx));
                    return this.fail(cx, UpstreamError::Timeout);
                }
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.exchange.is_none() && self.failed.is_none() && self.put_back.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        match self.framing {
            Framing::Length(left) => {
                let frames = self.put_back.iter().flat_map(|put_back| &put_back.frames);
                SizeHint::with_exact(left + frames.map(|frame| frame.len() as u64).sum::<u64>())
            }
            Framing::Chunked(_) | Framing::Close => SizeHint::default(),
        }
    }
}

/// Reads and drops the rest of a request whose response is already complete.
pub(crate) async fn linger<B: Body<Data = Bytes> + Unpin>(mut body: B) {
    let drain = async {
        let mut left = LINGER_BYTES_MAX;
        while let Some(Ok(frame)) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
            left = left.saturating_sub(frame.data_ref().map_or(0, Bytes::len));
            if left == 0 {
                return;
            }
        }
    };
    let _ = tokio::time::timeout(LINGER_TIMEOUT, drain).await;
}

#[cfg(test)]
mod tests {
    use http_body_util::Full;

    use super::*;

    /// A body whose connection has gone back, with these frames put back.
    fn read_again(frames: Vec<Bytes>, error: Option<UpstreamError>) -> String {
        let mut body = UpstreamBody::<Full<Bytes>> {
            put_back: None,
            exchange: None,
            framing: Framing::Length(0),
            pool: None,
            idle: None,
            failed: None,
        };
        let bytes = frames.iter().map(|frame| frame.len() as u64).sum();
        body.put_back(frames, error);
        assert_eq!(body.size_hint().exact(), Some(bytes));
        let (mut yielded, mut cx) = (String::new(), Context::from_waker(std::task::Waker::noop()));
        while !body.is_end_stream() {
            match Pin::new(&mut body).poll_frame(&mut cx) {
                Poll::Pending => yielded.push('.'),
                Poll::Ready(Some(Ok(frame))) => {
                    yielded.push_str(&String::from_utf8_lossy(&frame.into_data().unwrap()))
                }
                Poll::Ready(Some(Err(_))) => yielded.push('!'),
                Poll::Ready(None) => break,
            }
        }
        yielded
    }

    #[test]
    fn frames_that_are_put_back_come_first_and_a_break_one_poll_behind_them() {
        let frames = || vec![Bytes::from_static(b"a"), Bytes::from_static(b"b")];
        assert_eq!(read_again(frames(), None), "ab");
        assert_eq!(read_again(frames(), Some(UpstreamError::Eof)), "ab.!");
        assert_eq!(read_again(Vec::new(), Some(UpstreamError::Eof)), ".!");
        assert_eq!(read_again(Vec::new(), None), "");
    }
}
