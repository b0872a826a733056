//! Takes the usage event out of a response whose client did not ask for it.
//!
//! A break comes one poll after the bytes before it: hyper throws away what it has not written yet when a body
//! fails, so it gets the time to write.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame};

use metering::chunk::HideUsage;

/// Filters the frames of one response body.
#[derive(Debug)]
pub(crate) struct UsageFilter<E> {
    /// Frames that have passed the filter.
    queue: VecDeque<Bytes>,
    hide: HideUsage,
    /// The end of the body, once it has come.
    end: Option<BodyEnd<E>>,
}

#[derive(Debug)]
enum BodyEnd<E> {
    Clean,
    Broken(E),
    /// The same, and the bytes before it are written.
    BrokenNow(E),
}

/// The outcome of asking a body for its next frame.
type Polled<E> = Poll<Option<Result<Frame<Bytes>, E>>>;

impl<E> UsageFilter<E> {
    pub(crate) fn new() -> UsageFilter<E> {
        UsageFilter { queue: VecDeque::new(), hide: HideUsage::default(), end: None }
    }

    /// The next frame of `body` that passes.
    pub(crate) fn poll_frame<B>(&mut self, cx: &mut Context<'_>, body: &mut B) -> Polled<E>
    where
        B: Body<Data = Bytes, Error = E> + Unpin,
    {
        loop {
            if let Some(bytes) = self.queue.pop_front() {
                return Poll::Ready(Some(Ok(Frame::data(bytes))));
            }
            if let Some(end) = self.poll_end(cx) {
                return end;
            }
            match ready!(Pin::new(&mut *body).poll_frame(cx)) {
                Some(Ok(frame)) => {
                    // Trailers are dropped upstream (RFC 9110 6.5.1).
                    let data = frame.into_data().unwrap_or_default();
                    self.hide.push(&data, |bytes| self.queue.push_back(bytes));
                    if body.is_end_stream() {
                        self.ends(BodyEnd::Clean);
                    }
                }
                Some(Err(error)) => self.ends(BodyEnd::Broken(error)),
                None => self.ends(BodyEnd::Clean),
            }
        }
    }

    /// Nothing more of `body` will pass.
    pub(crate) fn is_end_stream(&self, body: &impl Body) -> bool {
        let ended = match self.end {
            Some(BodyEnd::Clean) => true,
            Some(_) => false,
            None => body.is_end_stream(),
        };
        ended && self.queue.is_empty()
    }

    fn ends(&mut self, end: BodyEnd<E>) {
        let rest = self.hide.finish();
        if !rest.is_empty() {
            self.queue.push_back(rest);
        }
        self.end.get_or_insert(end);
    }

    /// The outcome of a poll at the end; `None` before it.
    fn poll_end(&mut self, cx: &mut Context<'_>) -> Option<Polled<E>> {
        match self.end.take()? {
            BodyEnd::Clean => {
                self.end = Some(BodyEnd::Clean);
                Some(Poll::Ready(None))
            }
            BodyEnd::Broken(error) => {
                self.end = Some(BodyEnd::BrokenNow(error));
                cx.waker().wake_by_ref();
                Some(Poll::Pending)
            }
            BodyEnd::BrokenNow(error) => {
                self.end = Some(BodyEnd::Clean);
                Some(Poll::Ready(Some(Err(error))))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Frames, a wait (`None`), then this end.
    struct Scripted(VecDeque<Option<&'static str>>, Option<&'static str>);

    impl Body for Scripted {
        type Data = Bytes;
        type Error = &'static str;
        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, &'static str>>> {
            match self.0.pop_front() {
                Some(Some(text)) => Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(text.as_bytes()))))),
                Some(None) => Poll::Pending,
                None => Poll::Ready(self.1.take().map(Err)),
            }
        }
    }

    /// The frames that pass: `.` is a wait, `!` a break.
    fn filtered(mut body: Scripted) -> String {
        let (mut passed, mut cx) = (String::new(), Context::from_waker(std::task::Waker::noop()));
        let mut filter = UsageFilter::new();
        while !filter.is_end_stream(&body) {
            match filter.poll_frame(&mut cx, &mut body) {
                Poll::Pending => passed.push('.'),
                Poll::Ready(Some(Ok(frame))) => {
                    passed.push_str(&String::from_utf8_lossy(&frame.into_data().unwrap()))
                }
                Poll::Ready(Some(Err(_))) => passed.push('!'),
                Poll::Ready(None) => break,
            }
        }
        passed
    }

    const USAGE: &str = "data: {\"choices\":[],\"usage\":{}}\n\n";

    #[test]
    fn what_is_held_goes_out_before_the_end_and_before_a_break() {
        let script =
            |frames: &[Option<&'static str>], broken| Scripted(frames.iter().copied().collect(), broken);
        assert_eq!(
            filtered(script(&[Some("data: 1\n\n"), None, Some(USAGE), Some("x")], None)),
            "data: 1\n\n.x"
        );
        let half = &USAGE[..20];
        assert_eq!(filtered(script(&[Some("a\n\n"), Some(half), None], None)), format!("a\n\n.{half}"));
        assert_eq!(filtered(script(&[Some("a\n\n"), Some(half)], Some("e"))), format!("a\n\n{half}.!"));
        assert_eq!(filtered(script(&[Some(USAGE)], Some("e"))), ".!");
        assert_eq!(filtered(script(&[Some(USAGE)], None)), "");
    }
}
