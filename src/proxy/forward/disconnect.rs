//! Responses whose client has gone are read on for the usage that they report (`--on-client-disconnect`).
//!
//! The client's connection is gone at once; a task of its own reads the response on, within bounds of
//! time, bytes and number. A call that is read on runs, so a process that stops waits for it as for
//! any other, and if it has not ended then it settles as `shutdown`.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use http_body::Body;
use tokio::runtime::Handle;
use tokio::time::{Instant, timeout_at};

use crate::proxy::config::DrainBounds;
use crate::tee::{Accounts, BodyError, Call, Left, ResponseTap};
use metering::usage::Reason;

/// Reads responses on, from one network thread. Their number is counted over all threads.
#[derive(Debug)]
pub(super) struct DisconnectDrain {
    bounds: DrainBounds,
    accounts: Arc<Accounts>,
}

/// The place of a call among those that are read on. It is free again when this is dropped.
pub(super) struct DrainPermit(Arc<Accounts>);

impl Drop for DrainPermit {
    fn drop(&mut self) {
        running(&self.0).fetch_sub(1, Ordering::AcqRel);
    }
}

fn running(accounts: &Accounts) -> &AtomicUsize {
    &accounts.counters().drains_running
}

impl DisconnectDrain {
    pub(super) fn new(bounds: DrainBounds, accounts: Arc<Accounts>) -> Arc<DisconnectDrain> {
        Arc::new(DisconnectDrain { bounds, accounts })
    }

    /// Admits a call, if reading it on is of use and the process does not stop.
    pub(super) fn permit(&self, call: &Call) -> Option<DrainPermit> {
        if self.accounts.is_stopping() || Handle::try_current().is_err() || !call.is_worth_draining() {
            return None;
        }
        let more = |calls: usize| (calls < self.bounds.calls).then_some(calls + 1);
        let taken = running(&self.accounts).fetch_update(Ordering::AcqRel, Ordering::Acquire, more);
        let stopped = if taken.is_ok() { None } else { Some(Reason::DrainCalls) };
        call.client_left(Left { drained: taken.is_ok(), stopped });
        taken.is_ok().then(|| DrainPermit(Arc::clone(&self.accounts)))
    }

    /// Reads a response on whose client has gone.
    pub(super) fn read_on<B>(&self, tap: ResponseTap<B>)
    where
        B: Body<Data = Bytes, Error: BodyError> + Unpin + Send + 'static,
    {
        let Some(permit) = tap.call().and_then(|call| self.permit(call)) else { return };
        tokio::spawn(read(tap, self.bounds.bytes, self.end(), permit));
    }

    pub(super) fn bounds(&self) -> DrainBounds {
        self.bounds
    }

    /// When a response is given up that is read on from now.
    pub(super) fn end(&self) -> Instant {
        Instant::now() + self.bounds.time
    }
}

impl DrainPermit {
    /// The response came to its end.
    pub(super) fn finished(&self) {
        self.0.counters().drains_finished.fetch_add(1, Ordering::Relaxed);
    }
}

/// Reads to the end, or to a bound. A response that has not ended is dropped, which ends the call at the upstream.
pub(super) async fn read<B>(mut tap: ResponseTap<B>, bytes_max: u64, end: Instant, permit: DrainPermit)
where
    B: Body<Data = Bytes, Error: BodyError> + Unpin,
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
            call.client_left(Left { drained: true, stopped: Some(stopped) });
        }
        _ => permit.finished(),
    }
}
