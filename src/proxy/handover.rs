//! How an answer that streams is taken over from hyper.
//!
//! hyper reads the requests, writes the heads of answers, and passes on what needs no waiting. But a
//! connection of it holds two buffers of 8 KiB, the one only to see the caller leave, and looks at
//! all of its state for every chunk. So once an answer has to be waited for, and hyper has nothing
//! left to read or to write, we take body and socket out of its hands and pass the rest on ourselves
//! ([`super::pump`]). The next request goes to a new hyper on the same socket.
//!
//! While hyper has an answer, it gets no more of it than it can be rid of: by itself it would take 240 KiB from
//! the service for a caller that reads nothing, as much as it may hold of a request.
//!
//! Only what hyper sends in chunks to a caller of HTTP/1.1 is taken over, and only once its request
//! is whole: then the bytes on the wire are the same whoever writes them.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker, ready};

use bytes::{Buf, Bytes};
use http::header::{CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING, UPGRADE};
use http::{Method, Request, Response, StatusCode, Version};
use http_body::{Body, Frame, SizeHint};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::answer::Answer;
use super::gate::Held;
use super::upstream::{Broken, head::has_token};

/// What hyper may hold of an answer and yet get another frame: small ones leave together, and of large ones,
/// which are a read of 64 KiB, each leaves by itself.
const UNWRITTEN_BYTES_MAX: usize = 16 << 10;

/// The place where a connection finds the answer that it is to pass on. Clones are of the same one.
#[derive(Clone, Debug, Default)]
pub(super) struct Handover(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    /// An answer has been given away.
    given: AtomicBool,
    /// And all that hyper had of it before is written.
    flushed: AtomicBool,
    answer: Mutex<Option<Given>>,
    /// What hyper has got of the answer since it had last written all.
    unwritten_bytes: AtomicUsize,
    /// Whoever waits for that.
    waits: Mutex<Option<Waker>>,
}

/// An answer whose head, and whose body so far, hyper has sent.
#[derive(Debug)]
pub(super) struct Given {
    pub(super) body: Held<Answer>,
    /// It is the last one of its connection.
    pub(super) last: bool,
}

/// What a request asks of its answer's framing.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked {
    /// The answer may have chunks, and nothing but another request may follow it.
    plain: bool,
    /// The caller or the framing wants the connection closed behind the answer, and so does hyper.
    last: bool,
}

impl Asked {
    pub(super) fn of<B>(request: &Request<B>) -> Asked {
        let fields = request.headers();
        let bodiless = matches!(*request.method(), Method::HEAD | Method::CONNECT);
        let doubtful = fields.contains_key(TRANSFER_ENCODING) && fields.contains_key(CONTENT_LENGTH);
        Asked {
            plain: request.version() == Version::HTTP_11 && !bodiless && !fields.contains_key(UPGRADE),
            last: doubtful || has_token(fields, &CONNECTION, "close"),
        }
    }
}

impl Handover {
    /// The answer for hyper; it can be taken back if hyper sends it in chunks.
    pub(super) fn lend(&self, asked: Asked, response: Response<Held<Answer>>) -> Response<Lent> {
        let (status, fields) = (response.status(), response.headers());
        let bodiless =
            status.is_informational() || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
        let framed = fields.contains_key(CONTENT_LENGTH) || fields.contains_key(TRANSFER_ENCODING);
        let chunked = !bodiless && !framed && response.body().size_hint().exact().is_none();
        let last = asked.last || has_token(fields, &CONNECTION, "close");
        let to = (asked.plain && chunked).then(|| (self.clone(), last));
        response.map(|body| Lent { body: Some(body), to, shared: Arc::clone(&self.0) })
    }

    /// The socket, seen by this.
    pub(super) fn watch<T>(&self, io: T) -> Noted<T> {
        Noted { io, early: Bytes::new(), shared: Arc::clone(&self.0) }
    }

    /// The answer, once hyper has nothing more to do with it.
    pub(super) fn take(&self) -> Option<Given> {
        if !self.0.given.load(Ordering::Relaxed) || !self.0.flushed.load(Ordering::Relaxed) {
            return None;
        }
        self.0.given.store(false, Ordering::Relaxed);
        self.0.lock().take()
    }

    /// Whoever waits for the answer has gone.
    pub(super) fn drop_answer(&self) {
        drop(self.0.lock().take());
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Option<Given>> {
        self.answer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ready once hyper may have more of the answer.
    fn poll_room(&self, cx: &mut Context<'_>) -> Poll<()> {
        if self.unwritten_bytes.load(Ordering::Relaxed) < UNWRITTEN_BYTES_MAX {
            return Poll::Ready(());
        }
        *self.waits.lock().unwrap_or_else(PoisonError::into_inner) = Some(cx.waker().clone());
        Poll::Pending
    }

    /// hyper has written all that it had.
    fn all_written(&self) {
        self.flushed.store(true, Ordering::Relaxed);
        if self.unwritten_bytes.load(Ordering::Relaxed) == 0 {
            return;
        }
        self.unwritten_bytes.store(0, Ordering::Relaxed);
        if let Some(waker) = self.waits.lock().unwrap_or_else(PoisonError::into_inner).take() {
            waker.wake();
        }
    }
}

/// The body of an answer while hyper has it.
#[derive(Debug)]
pub(super) struct Lent {
    /// `None`: it has been given away.
    body: Option<Held<Answer>>,
    /// Where it goes, and whether it is the last one, if it may be given away.
    to: Option<(Handover, bool)>,
    shared: Arc<Shared>,
}

impl Body for Lent {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        let this = &mut *self;
        let Some(body) = &mut this.body else { return Poll::Pending };
        ready!(this.shared.poll_room(cx));
        let polled = Pin::new(&mut *body).poll_frame(cx);
        if let Poll::Ready(Some(Ok(frame))) = &polled {
            let bytes = frame.data_ref().map_or(0, Bytes::len);
            this.shared.unwritten_bytes.fetch_add(bytes, Ordering::Relaxed);
        }
        // Its waker is that of the connection's task, which is where the body goes.
        if polled.is_pending()
            && this.to.is_some()
            && body.get_ref().request_is_whole()
            && let (Some(body), Some((Handover(shared), last))) = (this.body.take(), this.to.take())
        {
            shared.flushed.store(false, Ordering::Relaxed); // hyper flushes next
            shared.given.store(true, Ordering::Relaxed);
            *shared.lock() = Some(Given { body, last });
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_some_and(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or_else(SizeHint::default, Body::size_hint)
    }
}

/// A socket that knows when all is written, and that has bytes to be read before its own.
#[derive(Debug)]
pub(super) struct Noted<T> {
    io: T,
    early: Bytes,
    shared: Arc<Shared>,
}

impl<T> Noted<T> {
    pub(super) fn into_inner(self) -> T {
        self.io
    }

    /// Puts back what has been read of the next requests. It was read before what is still here, so it
    /// goes in front of it: the two are one sequence.
    pub(super) fn put_back(&mut self, read: Bytes) {
        self.early = match (read.is_empty(), self.early.is_empty()) {
            (true, _) => return,
            (false, true) => read,
            (false, false) => [read, std::mem::take(&mut self.early)].concat().into(),
        };
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Noted<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.early.is_empty() {
            return Pin::new(&mut self.io).poll_read(cx, buf);
        }
        let n = self.early.len().min(buf.remaining());
        buf.put_slice(&self.early[..n]);
        self.early.advance(n);
        if self.early.is_empty() {
            self.early = Bytes::new(); // even an empty view pins its buffer
        }
        Poll::Ready(Ok(()))
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Noted<T> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    /// hyper flushes the socket only when it has written all that it holds.
    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.io).poll_flush(cx))?;
        self.shared.all_written();
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
