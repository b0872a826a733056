//! Stands for `proxy::forward`: a response body that does as its script says.

pub(super) mod response_body {
    use std::collections::VecDeque;
    use std::pin::Pin;
    use std::task::{Context, Poll};

    use bytes::Bytes;
    use http_body::{Body, Frame, SizeHint};

    /// Frames; before each it is waited for so many polls.
    pub(crate) struct ResponseBody {
        pub(crate) frames: VecDeque<(u8, Bytes)>,
        pub(crate) breaks: bool,
        /// Its length is known.
        pub(crate) sized: bool,
    }

    #[derive(Debug, thiserror::Error)]
    #[error("broken")]
    pub(crate) struct Broken;

    impl ResponseBody {
        pub(crate) fn request_is_whole(&self) -> bool {
            true // it is read to its end first
        }
    }

    impl Body for ResponseBody {
        type Data = Bytes;
        type Error = Broken;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
            if let Some((wait @ 1.., _)) = self.frames.front_mut() {
                *wait -= 1;
                return Poll::Pending;
            }
            match self.frames.pop_front() {
                Some((_, data)) => Poll::Ready(Some(Ok(Frame::data(data)))),
                None if self.breaks => Poll::Ready(Some(Err(Broken))),
                None => Poll::Ready(None),
            }
        }

        fn is_end_stream(&self) -> bool {
            self.frames.is_empty() && !self.breaks
        }

        fn size_hint(&self) -> SizeHint {
            match self.sized {
                true => SizeHint::with_exact(self.frames.iter().map(|(_, data)| data.len() as u64).sum()),
                false => SizeHint::default(),
            }
        }
    }
}
