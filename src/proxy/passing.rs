//! An answer's body with something done to it: bytes put back in front, or one event hidden.
//!
//! With nothing to do it is the inner body. A break comes one poll after the bytes before it: hyper
//! throws away what it has not written yet when a body fails, so it gets the time to write.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use metering::chunk::HideUsage;

/// A body that is passed on.
#[derive(Debug)]
pub(super) struct Passing<B: Body> {
    inner: B,
    extra: Option<Box<Extra<B::Error>>>,
}

#[derive(Debug)]
struct Extra<E> {
    /// To be yielded before anything else.
    queue: VecDeque<Bytes>,
    hide: Option<HideUsage>,
    /// How the inner body ended, once it has.
    end: Option<End<E>>,
}

#[derive(Debug)]
enum End<E> {
    Clean,
    Broken(E),
    /// The same, and the bytes before it are written.
    BrokenNow(E),
}

impl<B: Body<Data = Bytes>> Passing<B> {
    /// The body as it is.
    pub(super) fn plain(inner: B) -> Passing<B> {
        Passing { inner, extra: None }
    }

    /// The body with the bytes that were read off its front; `broken`: it ended there, like this.
    pub(super) fn replay(ahead: Vec<Bytes>, broken: Option<B::Error>, inner: B) -> Passing<B> {
        let extra = Extra { queue: ahead.into(), hide: None, end: broken.map(End::Broken) };
        Passing { inner, extra: Some(Box::new(extra)) }
    }

    /// The body without the event that carries usage.
    pub(super) fn hiding(inner: B) -> Passing<B> {
        let extra = Extra { queue: VecDeque::new(), hide: Some(HideUsage::default()), end: None };
        Passing { inner, extra: Some(Box::new(extra)) }
    }

    /// The inner body.
    pub(super) fn get_ref(&self) -> &B {
        &self.inner
    }

    /// The inner body.
    pub(super) fn into_inner(self) -> B {
        self.inner
    }
}

/// What a body says when it is asked for its next frame.
type Polled<E> = Poll<Option<Result<Frame<Bytes>, E>>>;

impl<E> Extra<E> {
    fn take_in(&mut self, data: Bytes) {
        match &mut self.hide {
            Some(hide) => hide.push(&data, |bytes| self.queue.push_back(bytes)),
            None => self.queue.push_back(data),
        }
    }

    fn ends(&mut self, end: End<E>) {
        let rest = self.hide.as_mut().map(HideUsage::finish).unwrap_or_default();
        if !rest.is_empty() {
            self.queue.push_back(rest);
        }
        self.end.get_or_insert(end);
    }

    /// What is due of the end.
    fn poll_end(&mut self, cx: &mut Context<'_>) -> Option<Polled<E>> {
        match self.end.take()? {
            End::Clean => {
                self.end = Some(End::Clean);
                Some(Poll::Ready(None))
            }
            End::Broken(error) => {
                self.end = Some(End::BrokenNow(error));
                cx.waker().wake_by_ref();
                Some(Poll::Pending)
            }
            End::BrokenNow(error) => {
                self.end = Some(End::Clean);
                Some(Poll::Ready(Some(Err(error))))
            }
        }
    }
}

impl<B> Body for Passing<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Unpin,
{
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let this = &mut *self;
        let Some(extra) = &mut this.extra else { return Pin::new(&mut this.inner).poll_frame(cx) };
        loop {
            if let Some(bytes) = extra.queue.pop_front() {
                return Poll::Ready(Some(Ok(Frame::data(bytes))));
            }
            if let Some(end) = extra.poll_end(cx) {
                return end;
            }
            match ready!(Pin::new(&mut this.inner).poll_frame(cx)) {
                Some(Ok(frame)) => {
                    // Trailers are dropped upstream (RFC 9110 6.5.1).
                    extra.take_in(frame.into_data().unwrap_or_default());
                    if this.inner.is_end_stream() {
                        extra.ends(End::Clean);
                    }
                }
                Some(Err(error)) => extra.ends(End::Broken(error)),
                None => extra.ends(End::Clean),
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.extra {
            None => self.inner.is_end_stream(),
            Some(extra) => {
                let ended = match extra.end {
                    Some(End::Clean) => true,
                    Some(_) => false,
                    None => self.inner.is_end_stream(),
                };
                ended && extra.queue.is_empty()
            }
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.extra {
            None => self.inner.size_hint(),
            Some(extra) if extra.hide.is_some() => SizeHint::default(),
            Some(extra) => {
                let ahead: u64 = extra.queue.iter().map(|bytes| bytes.len() as u64).sum();
                let rest = self.inner.size_hint().exact();
                rest.map_or_else(SizeHint::default, |rest| SizeHint::with_exact(ahead + rest))
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

    /// What a body yields: `.` is a wait, `!` a break.
    fn told(mut body: Passing<Scripted>) -> String {
        let (mut told, mut cx) = (String::new(), Context::from_waker(std::task::Waker::noop()));
        while !body.is_end_stream() {
            match Pin::new(&mut body).poll_frame(&mut cx) {
                Poll::Pending => told.push('.'),
                Poll::Ready(Some(Ok(frame))) => {
                    told.push_str(&String::from_utf8_lossy(&frame.into_data().unwrap()))
                }
                Poll::Ready(Some(Err(_))) => told.push('!'),
                Poll::Ready(None) => break,
            }
        }
        told
    }

    const USAGE: &str = "data: {\"choices\":[],\"usage\":{}}\n\n";

    #[test]
    fn what_is_held_goes_out_before_the_end_and_before_a_break() {
        let script = |frames: &[Option<&'static str>], broken| {
            Passing::hiding(Scripted(frames.iter().copied().collect(), broken))
        };
        assert_eq!(told(script(&[Some("data: 1\n\n"), None, Some(USAGE), Some("x")], None)), "data: 1\n\n.x");
        let half = &USAGE[..20];
        assert_eq!(told(script(&[Some("a\n\n"), Some(half), None], None)), format!("a\n\n.{half}"));
        assert_eq!(told(script(&[Some("a\n\n"), Some(half)], Some("e"))), format!("a\n\n{half}.!"));
        assert_eq!(told(script(&[Some(USAGE)], Some("e"))), ".!");
        assert_eq!(told(script(&[Some(USAGE)], None)), "");
    }

    #[test]
    fn bytes_are_put_back_in_front() {
        let rest = || Scripted([Some("c"), None].into_iter().collect(), None);
        let ahead = vec![Bytes::from_static(b"a"), Bytes::from_static(b"b")];
        assert_eq!(told(Passing::replay(ahead.clone(), None, rest())), "abc.");
        assert_eq!(told(Passing::replay(ahead, Some("e"), rest())), "ab.!");
        assert_eq!(told(Passing::plain(rest())), "c.");
    }
}
