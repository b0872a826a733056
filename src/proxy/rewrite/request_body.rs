//! The body of a request on its way to the upstream: the bytes that were read ahead, then the rest as it arrives.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;

use metering::usage::Outcome;

use crate::capture::SideCapture;
use crate::proxy::server::idle_clock::{ClientIdle, IdleClock, WaitsFor};
use crate::proxy::upstream::error::BoxError;
use crate::tee::RequestTap;

/// The body of a client's request: it is shown to the call as it arrives.
pub(crate) type ClientRequestBody = RequestBody<RequestTap<ClientBody>>;

/// The body of a request. Nothing was read ahead unless a rewrite must know what is in it.
#[derive(Debug)]
pub(crate) struct RequestBody<B> {
    ahead: Option<Box<ReadAhead>>,
    /// `None`: all of it was read ahead.
    rest: Option<B>,
}

#[derive(Debug)]
struct ReadAhead {
    pieces: VecDeque<Bytes>,
    bytes: u64,
    /// Given back when the last piece has gone.
    _share: Arc<MemoryShare>,
}

/// The memory of bodies that are read ahead, over all threads.
#[derive(Debug, Default)]
pub(crate) struct InspectMemory(Arc<AtomicUsize>);

/// The part of it that one body takes. It is free again when this is dropped.
#[derive(Debug)]
pub(crate) struct MemoryShare {
    used: Arc<AtomicUsize>,
    bytes: usize,
}

/// Bodies that are read ahead may take this much together, as kept prompts may. Without room a body
/// is not waited for.
const INSPECT_BYTES_MAX: usize = 256 << 20;

impl InspectMemory {
    /// A share that takes nothing yet.
    pub(crate) fn share(&self) -> MemoryShare {
        MemoryShare { used: Arc::clone(&self.0), bytes: 0 }
    }
}

impl MemoryShare {
    /// Takes so much more. Returns false if there is not so much left.
    pub(crate) fn grow(&mut self, bytes: usize) -> bool {
        let add = |used: usize| used.checked_add(bytes).filter(|&sum| sum <= INSPECT_BYTES_MAX);
        let grown = self.used.fetch_update(Ordering::AcqRel, Ordering::Acquire, add).is_ok();
        self.bytes += if grown { bytes } else { 0 };
        grown
    }
}

impl Drop for MemoryShare {
    fn drop(&mut self) {
        self.used.fetch_sub(self.bytes, Ordering::AcqRel);
    }
}

impl<B> RequestBody<B> {
    /// A body of which nothing was read ahead.
    pub(crate) fn new(body: B) -> RequestBody<B> {
        RequestBody { ahead: None, rest: Some(body) }
    }

    /// A body that begins with these pieces.
    pub(crate) fn with_ahead(pieces: Vec<Bytes>, share: Arc<MemoryShare>, rest: Option<B>) -> RequestBody<B> {
        let bytes = pieces.iter().map(|piece| piece.len() as u64).sum();
        let ahead = ReadAhead { pieces: pieces.into(), bytes, _share: share };
        RequestBody { ahead: (bytes > 0).then(|| Box::new(ahead)), rest }
    }
}

impl<B: Body<Data = Bytes> + Unpin> Body for RequestBody<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let this = &mut *self;
        if let Some(ahead) = &mut this.ahead {
            if let Some(piece) = ahead.pieces.pop_front() {
                ahead.bytes -= piece.len() as u64;
                if ahead.pieces.is_empty() {
                    this.ahead = None;
                }
                return Poll::Ready(Some(Ok(Frame::data(piece))));
            }
            this.ahead = None;
        }
        match &mut this.rest {
            Some(rest) => Pin::new(rest).poll_frame(cx),
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.ahead.is_none() && self.rest.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        let rest = self.rest.as_ref().map_or(SizeHint::with_exact(0), Body::size_hint);
        match (&self.ahead, rest.exact()) {
            (None, _) => rest,
            (Some(ahead), Some(rest)) => SizeHint::with_exact(ahead.bytes + rest),
            (Some(_), None) => SizeHint::default(),
        }
    }
}

/// A request body as it arrives from the client. Asking it for more is waiting for the client.
#[derive(Debug)]
pub(crate) struct ClientBody {
    body: Incoming,
    /// `None`: nobody but the upstream wants to know of it.
    watch: Option<Box<BodyWatch>>,
}

/// The observers of a request's body as it arrives.
#[derive(Debug)]
struct BodyWatch {
    /// `None`: the client may take its time.
    idle: Option<IdleClock>,
    /// Captures it as the client wrote it: whatever edits it comes later.
    capture: Option<SideCapture>,
}

impl ClientBody {
    pub(crate) fn new(body: Incoming, idle: Option<IdleClock>, capture: Option<SideCapture>) -> ClientBody {
        let is_watched = idle.is_some() || capture.is_some();
        let mut body = ClientBody { body, watch: is_watched.then(|| Box::new(BodyWatch { idle, capture })) };
        body.look_for_end();
        body
    }

    /// Whoever reads it asks no more once it says that it has ended.
    fn look_for_end(&mut self) {
        if let Some(capture) = self.watch.as_ref().and_then(|watch| watch.capture.as_ref())
            && self.body.is_end_stream()
        {
            capture.finish(Outcome::Complete);
        }
    }
}

impl BodyWatch {
    /// Looks at what has come. Returns true if the client is waited for no longer.
    fn polled<E>(&self, polled: &Poll<Option<Result<Frame<Bytes>, E>>>, cx: &mut Context<'_>) -> bool {
        if let Some(idle) = &self.idle {
            if polled.is_ready() {
                idle.done(WaitsFor::Request);
            } else if idle.poll_over(cx, WaitsFor::Request) {
                self.capture.iter().for_each(|capture| capture.finish(Outcome::Timeout));
                return true;
            }
        }
        if let (Some(capture), Poll::Ready(frame)) = (&self.capture, polled) {
            match frame {
                Some(Ok(frame)) => frame.data_ref().into_iter().for_each(|data| capture.push(data)),
                Some(Err(_)) => capture.finish(Outcome::ClientDisconnect),
                None => capture.finish(Outcome::Complete),
            }
        }
        false
    }
}

impl Body for ClientBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        if let Some(watch) = &self.watch {
            if watch.polled(&polled, cx) {
                return Poll::Ready(Some(Err(ClientIdle.into())));
            }
            self.look_for_end();
        }
        polled.map(|frame| frame.map(|frame| frame.map_err(Into::into)))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for ClientBody {
    fn drop(&mut self) {
        if let Some(idle) = self.watch.as_ref().and_then(|watch| watch.idle.as_ref()) {
            idle.done(WaitsFor::Request);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::{BodyExt, Full};

    #[test]
    fn what_was_read_ahead_goes_first_and_counts() {
        let memory = InspectMemory::default();
        let mut share = memory.share();
        assert!(share.grow(5) && !share.grow(INSPECT_BYTES_MAX) && share.grow(INSPECT_BYTES_MAX - 5));
        assert!(!memory.share().grow(1), "the bound is over all");
        let pieces = vec![Bytes::from_static(b"ab"), Bytes::from_static(b"c")];
        let body =
            RequestBody::with_ahead(pieces, Arc::new(share), Some(Full::new(Bytes::from_static(b"de"))));
        assert_eq!((body.size_hint().exact(), body.is_end_stream()), (Some(5), false));
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        assert_eq!(runtime.block_on(body.collect()).unwrap().to_bytes(), "abcde");
        assert!(memory.share().grow(INSPECT_BYTES_MAX), "the room is given back");
        let empty = RequestBody::<Full<Bytes>>::with_ahead(Vec::new(), Arc::new(memory.share()), None);
        assert!(empty.is_end_stream() && empty.size_hint().exact() == Some(0));
    }
}
