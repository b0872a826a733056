//! Answers whose caller has left, read on for what they say of their cost (`--on-client-disconnect`).
//!
//! The caller's connection is gone at once; what is read on is a task of its own, within bounds of
//! time, bytes and number. A call that is read on runs, so a process that stops waits for it as for
//! any other, and what has not ended then settles as `shutdown`.

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::Response;
use http_body::{Body, Frame, SizeHint};
use tokio::runtime::Handle;
use tokio::time::{Instant, timeout_at};

use super::DrainBounds;
use super::answer::Answer;
use crate::tee::{Accounts, Call, Cause, Left, ResponseTap};
use metering::usage::Reason;

/// Reads answers on, from one network thread. The number is counted over all.
#[derive(Debug)]
pub(super) struct Drains {
    bounds: DrainBounds,
    accounts: Arc<Accounts>,
}

/// One of the calls that are read on.
struct Slot(Arc<Accounts>);

impl Drop for Slot {
    fn drop(&mut self) {
        running(&self.0).fetch_sub(1, Ordering::AcqRel);
    }
}

fn running(accounts: &Accounts) -> &AtomicUsize {
    &accounts.counters().drains_running
}

impl Drains {
    pub(super) fn new(bounds: DrainBounds, accounts: Arc<Accounts>) -> Arc<Drains> {
        Arc::new(Drains { bounds, accounts })
    }

    /// A place, if reading this call on is of use and the process does not stop.
    fn slot(&self, call: &Call) -> Option<Slot> {
        if self.accounts.is_stopping() || Handle::try_current().is_err() || !call.is_worth_draining() {
            return None;
        }
        let more = |calls: usize| (calls < self.bounds.calls).then_some(calls + 1);
        let taken = running(&self.accounts).fetch_update(Ordering::AcqRel, Ordering::Acquire, more);
        let stopped = if taken.is_ok() { None } else { Some(Reason::DrainCalls) };
        call.left(Left { drained: taken.is_ok(), stopped });
        taken.is_ok().then(|| Slot(Arc::clone(&self.accounts)))
    }

    /// The caller has left in mid-answer.
    fn read_on<B>(&self, tap: ResponseTap<B>)
    where
        B: Body<Data = Bytes, Error: Cause> + Unpin + Send + 'static,
    {
        let Some(slot) = tap.call().and_then(|call| self.slot(call)) else { return };
        let (bounds, end) = (self.bounds, Instant::now() + self.bounds.time);
        tokio::spawn(read(tap, bounds.bytes, end, slot));
    }

    /// The caller has left before there was an answer.
    fn wait_on(&self, mut answer: Answering, call: Arc<Call>) {
        let Some(slot) = self.slot(&call) else { return };
        let (bounds, end) = (self.bounds, Instant::now() + self.bounds.time);
        tokio::spawn(async move {
            match timeout_at(end, &mut answer).await {
                Ok(response) => match response.into_body().into_tap() {
                    Some(tap) => read(tap, bounds.bytes, end, slot).await,
                    None => finished(&slot.0),
                },
                // The call is in `answer`, and ends when that is dropped.
                Err(_) => call.left(Left { drained: true, stopped: Some(Reason::DrainTimeout) }),
            }
        });
    }
}

fn finished(accounts: &Accounts) {
    accounts.counters().drains_finished.fetch_add(1, Ordering::Relaxed);
}

/// Reads to the end, or to a bound. Dropping what has not ended ends the call at the service.
async fn read<B>(mut tap: ResponseTap<B>, bytes_max: u64, end: Instant, slot: Slot)
where
    B: Body<Data = Bytes, Error: Cause> + Unpin,
{
    let call = tap.call().cloned();
    let reading = async {
        let mut left = bytes_max;
        while let Some(Ok(frame)) = poll_fn(|cx| Pin::new(&mut tap).poll_frame(cx)).await {
            match left.checked_sub(frame.data_ref().map_or(0, Bytes::len) as u64) {
                Some(rest) => left = rest,
                None => return Some(Reason::DrainBytes),
            }
        }
        None
    };
    match (timeout_at(end, reading).await.unwrap_or(Some(Reason::DrainTimeout)), call) {
        (Some(stopped), Some(call)) if tap.call().is_some() => {
            call.left(Left { drained: true, stopped: Some(stopped) });
        }
        _ => finished(&slot.0),
    }
}

/// An answer's body that is read on if it is dropped before its end.
#[derive(Debug)]
pub(super) struct Leaving<B: Body<Data = Bytes, Error: Cause> + Unpin + Send + 'static> {
    tap: Option<ResponseTap<B>>,
    /// `None`: it ends where its caller leaves.
    drains: Option<Arc<Drains>>,
}

impl<B: Body<Data = Bytes, Error: Cause> + Unpin + Send + 'static> Leaving<B> {
    pub(super) fn new(tap: ResponseTap<B>, drains: Option<Arc<Drains>>) -> Leaving<B> {
        Leaving { tap: Some(tap), drains }
    }

    /// The call, until it is over.
    pub(super) fn call(&self) -> Option<&Arc<Call>> {
        self.tap.as_ref()?.call()
    }

    /// The body itself: whoever takes it sees to its end.
    pub(super) fn into_tap(mut self) -> Option<ResponseTap<B>> {
        self.tap.take()
    }
}

impl<B: Body<Data = Bytes, Error: Cause> + Unpin + Send + 'static> Drop for Leaving<B> {
    fn drop(&mut self) {
        if let (Some(tap), Some(drains)) = (self.tap.take(), &self.drains) {
            drains.read_on(tap);
        }
    }
}

impl<B: Body<Data = Bytes, Error: Cause> + Unpin + Send + 'static> Body for Leaving<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        self.tap.as_mut().map_or(Poll::Ready(None), |tap| Pin::new(tap).poll_frame(cx))
    }

    fn is_end_stream(&self) -> bool {
        self.tap.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.tap.as_ref().map_or_else(SizeHint::default, Body::size_hint)
    }
}

/// An answer that is on its way.
type Answering = Pin<Box<dyn Future<Output = Response<Answer>> + Send>>;

/// An answer that is waited for even if its caller leaves before it comes.
pub(super) struct Staying {
    answer: Option<Answering>,
    call: Arc<Call>,
    drains: Arc<Drains>,
}

impl Staying {
    pub(super) fn new(
        answer: impl Future<Output = Response<Answer>> + Send + 'static,
        call: Arc<Call>,
        drains: Arc<Drains>,
    ) -> Staying {
        Staying { answer: Some(Box::pin(answer)), call, drains }
    }
}

impl Future for Staying {
    type Output = Response<Answer>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Response<Answer>> {
        let Some(answer) = &mut self.answer else { return Poll::Pending };
        let response = ready!(answer.as_mut().poll(cx));
        self.answer = None;
        Poll::Ready(response)
    }
}

impl Drop for Staying {
    fn drop(&mut self) {
        if let Some(answer) = self.answer.take() {
            self.drains.wait_on(answer, Arc::clone(&self.call));
        }
    }
}
