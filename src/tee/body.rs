//! The two bodies that show their frames to a call: each polls the inner one first, shows the frame, and yields
//! it.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use metering::meter::{Ending, Meter};

use super::call::{Call, CallGuard};
use super::meter::CallMeter;
use super::observer::OverheadPhase;
use super::streams::StreamGuard;
use super::turn::Turn;

/// The reason why a response's body broke off.
pub trait BodyError {
    /// The ending that the event gives for it.
    fn ending(&self) -> Ending;
}

impl BodyError for std::convert::Infallible {
    fn ending(&self) -> Ending {
        match *self {}
    }
}

/// Bytes of a request that are looked at before the task yields to others: they are read at 100 MB/s
/// and more, whatever they are.
const REQUEST_BYTES_PER_TURN: usize = 128 * 1024;

/// Of so many frames one is timed: two looks at the clock cost 50 ns, a frame some 10 us.
const FRAMES_PER_TIMED: u32 = 16;

/// A request body that shows itself to a call's meter, if there is one.
#[derive(Debug)]
pub struct RequestTap<B, M: CallMeter = Meter> {
    inner: B,
    /// Taken when the body has ended.
    call: Option<Arc<Call<M>>>,
    /// Bytes looked at since this task last yielded.
    turn_bytes: usize,
}

impl<B: Body, M: CallMeter> RequestTap<B, M> {
    /// Watches `inner`.
    pub fn new(inner: B, call: Option<Arc<Call<M>>>) -> RequestTap<B, M> {
        if let Some(call) = &call {
            call.accounts().observer.overhead(OverheadPhase::Request, call.cx.began.elapsed());
        }
        let mut tap = RequestTap { inner, call, turn_bytes: 0 };
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

impl<B: Body<Data = Bytes> + Unpin, M: CallMeter> Body for RequestTap<B, M> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let this = &mut *self;
        if this.turn_bytes >= REQUEST_BYTES_PER_TURN {
            // Other calls come first, then this one goes on: nothing is waited for.
            this.turn_bytes = 0;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let Poll::Ready(frame) = Pin::new(&mut this.inner).poll_frame(cx) else {
            this.turn_bytes = 0;
            return Poll::Pending;
        };
        match &frame {
            Some(Ok(frame)) => {
                if let (Some(data), Some(call)) = (frame.data_ref(), &this.call) {
                    this.turn_bytes += data.len();
                    call.request_bytes(data);
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

/// A response's body that shows itself to a call's meter, if there is one, and settles the call
/// when it ends, fails or is dropped half-way: then as interrupted.
#[derive(Debug)]
pub struct ResponseTap<B, M: CallMeter = Meter> {
    inner: B,
    call: Option<CallGuard<M>>,
    /// The work that may still be done before this task yields.
    turn: Turn,
    /// The last turn was too short for its frame.
    unread: bool,
    /// Frames seen so far.
    frames: u32,
    /// The response counts as streaming until it has ended.
    stream: Option<StreamGuard>,
    end_mode: EndMode,
}

/// When the end of a response ends its call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum EndMode {
    /// As soon as the tap sees it.
    AtOnce,
    /// When whoever is shown the frames behind the tap has seen the last one; by then the tap has found this ending.
    Held(Option<Ending>),
}

impl<B: Body, M: CallMeter> ResponseTap<B, M> {
    /// Watches `inner`.
    pub fn new(inner: B, call: Option<CallGuard<M>>) -> ResponseTap<B, M> {
        ResponseTap::with_end_mode(inner, call, EndMode::AtOnce)
    }

    /// Watches `inner`; its end does not end the call before [`ResponseTap::release_end`] is called.
    pub fn holding_end(inner: B, call: Option<CallGuard<M>>) -> ResponseTap<B, M> {
        ResponseTap::with_end_mode(inner, call, EndMode::Held(None))
    }

    fn with_end_mode(inner: B, call: Option<CallGuard<M>>, end_mode: EndMode) -> ResponseTap<B, M> {
        let stream = call.as_ref().map(|call| {
            let call = call.call();
            call.accounts().counters.streams.begin(call.deployment())
        });
        let mut tap =
            ResponseTap { inner, call, turn: Turn::new(), unread: false, frames: 0, stream, end_mode };
        tap.look_for_end();
        tap
    }

    /// The call, until it is over.
    pub fn call(&self) -> Option<&Arc<Call<M>>> {
        self.call.as_ref().map(CallGuard::call)
    }

    /// hyper asks no more once the body says that it has ended, so the end is looked for here too.
    #[inline]
    fn look_for_end(&mut self) {
        if self.inner.is_end_stream() {
            self.end(Ending::Eof);
        }
    }

    /// The end has been seen, and is held back.
    #[inline]
    pub fn holds_end(&self) -> bool {
        matches!(self.end_mode, EndMode::Held(Some(_)))
    }

    /// The end is held back no longer: it ends the call now if it was seen, else when it is.
    pub fn release_end(&mut self) {
        if let EndMode::Held(ending) = std::mem::replace(&mut self.end_mode, EndMode::AtOnce)
            && let Some(ending) = ending
        {
            self.end(ending);
        }
    }

    /// Once a call, so it does not stand in the way of each frame.
    #[inline(never)]
    fn end(&mut self, ending: Ending) {
        self.stream = None;
        if let EndMode::Held(held) = &mut self.end_mode {
            held.get_or_insert(ending);
            return;
        }
        if let Some(call) = self.call.take() {
            call.end(ending);
        }
    }

    /// The task must yield: this turn was filled by what has been shown, if only by the rest of it now.
    fn is_turn_over(&mut self) -> bool {
        if self.unread && !self.turn.is_over() {
            self.unread = self.call.as_ref().is_some_and(|call| call.call().read_on(&mut self.turn));
        }
        self.turn.is_over()
    }

    /// Shows a frame to the meter. Some are timed, so that the time is known and costs nothing.
    fn show(&mut self, data: &Bytes) {
        let Some(call) = &self.call else { return };
        let began = self.frames.is_multiple_of(FRAMES_PER_TIMED).then(Instant::now);
        self.frames = self.frames.wrapping_add(1);
        self.unread = call.call().response_bytes(data, &mut self.turn);
        if let Some(began) = began {
            call.call().accounts().observer.overhead(OverheadPhase::Chunk, began.elapsed());
        }
    }
}

impl<B, M: CallMeter> Body for ResponseTap<B, M>
where
    B: Body<Data = Bytes, Error: BodyError> + Unpin,
{
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let this = &mut *self;
        if this.is_turn_over() {
            // Other calls come first, then this one goes on: nothing is waited for.
            this.turn = Turn::new();
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let Poll::Ready(frame) = Pin::new(&mut this.inner).poll_frame(cx) else {
            this.turn = Turn::new(); // the task yields
            return Poll::Pending;
        };
        match &frame {
            Some(Ok(frame)) => {
                if let Some(data) = frame.data_ref() {
                    this.show(data);
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
