//! A body of server-sent events: what the page draws, or each call as it ends.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Interval, MissedTickBehavior, interval};

use super::live::{LivePage, POINTS_REPEATED, calls};
use crate::admin::deadline::Deadline;
use crate::telemetry::live::{FollowGuard, Points};

/// How often a page is told what is going on.
const VIEW_EVERY: Duration = Duration::from_secs(1);

/// How often calls are told of.
const CALLS_EVERY: Duration = Duration::from_millis(250);

/// Times without a call until a line is sent that says nothing: 15 s, less than anything between gives up after.
const QUIET_MAX: u32 = 60;

/// A comment, which readers pass over.
const NOTHING: Bytes = Bytes::from_static(b":\n\n");

/// What is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::admin) enum StreamKind {
    /// The view of each second.
    Views,
    /// Each call.
    Calls,
}

/// Events, until the reader leaves.
#[derive(Debug)]
pub(in crate::admin) struct EventBody {
    told: Told,
    ticks: Interval,
    /// A reader that takes nothing for so long is left.
    deadline: Deadline,
    _place: OwnedSemaphorePermit,
}

#[derive(Debug)]
enum Told {
    Views { page: Arc<LivePage>, sent: Option<u64> },
    Calls { follower: FollowGuard, quiet: u32 },
}

impl EventBody {
    /// Events for one who has a place.
    pub(in crate::admin) fn new(
        page: &Arc<LivePage>,
        kind: StreamKind,
        place: OwnedSemaphorePermit,
        deadline: Deadline,
    ) -> EventBody {
        let (told, every) = match kind {
            StreamKind::Views => (Told::Views { page: Arc::clone(page), sent: None }, VIEW_EVERY),
            StreamKind::Calls => (Told::Calls { follower: page.follow(), quiet: 0 }, CALLS_EVERY),
        };
        let mut ticks = interval(every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        EventBody { told, ticks, deadline, _place: place }
    }
}

impl Told {
    fn next(&mut self) -> Option<Bytes> {
        match self {
            Told::Views { page, sent } => {
                let second = page.second();
                let is_late = sent.is_none_or(|sent| second - sent >= POINTS_REPEATED);
                *sent = Some(second);
                Some(page.view(if is_late { Points::All } else { Points::Last(POINTS_REPEATED) }))
            }
            Told::Calls { follower, quiet } => {
                let calls = calls(follower);
                *quiet = if calls.is_some() { 0 } else { *quiet + 1 };
                if *quiet >= QUIET_MAX {
                    *quiet = 0;
                    return Some(NOTHING);
                }
                calls
            }
        }
    }
}

impl Body for EventBody {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let body = self.get_mut();
        loop {
            // It is asked only while there is room for more, so the reader reads.
            body.deadline.extend();
            ready!(body.ticks.poll_tick(cx));
            if let Some(bytes) = body.told.next() {
                return Poll::Ready(Some(Ok(Frame::data(bytes))));
            }
        }
    }
}
