//! A request's body on its way to the service: what was read ahead of the call, then the rest.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

/// A request's body. Nothing was read ahead unless a policy must know what is in it.
#[derive(Debug)]
pub(super) struct Outbound<B> {
    ahead: Option<Box<Ahead>>,
    /// `None`: all of it was read ahead.
    wire: Option<B>,
}

#[derive(Debug)]
struct Ahead {
    pieces: VecDeque<Bytes>,
    bytes: u64,
    /// Given back when the last piece has gone.
    _room: Arc<Room>,
}

/// Memory for bodies that are read ahead, over all threads.
#[derive(Debug, Default)]
pub(super) struct Held(Arc<AtomicUsize>);

/// Some of it.
#[derive(Debug)]
pub(super) struct Room {
    held: Arc<AtomicUsize>,
    bytes: usize,
}

/// Bodies that are read ahead may take this much together, as kept prompts may. Without room a body
/// is not waited for.
const HELD_BYTES_MAX: usize = 256 << 20;

impl Held {
    /// No room yet.
    pub(super) fn room(&self) -> Room {
        Room { held: Arc::clone(&self.0), bytes: 0 }
    }
}

impl Room {
    /// Takes so much more. False: there is not so much left.
    pub(super) fn grow(&mut self, bytes: usize) -> bool {
        let add = |held: usize| held.checked_add(bytes).filter(|&sum| sum <= HELD_BYTES_MAX);
        let grown = self.held.fetch_update(Ordering::AcqRel, Ordering::Acquire, add).is_ok();
        self.bytes += if grown { bytes } else { 0 };
        grown
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        self.held.fetch_sub(self.bytes, Ordering::AcqRel);
    }
}

impl<B> Outbound<B> {
    /// A body of which nothing was read ahead.
    pub(super) fn new(wire: B) -> Outbound<B> {
        Outbound { ahead: None, wire: Some(wire) }
    }

    /// A body that begins with these pieces.
    pub(super) fn behind(pieces: Vec<Bytes>, room: Arc<Room>, wire: Option<B>) -> Outbound<B> {
        let bytes = pieces.iter().map(|piece| piece.len() as u64).sum();
        let ahead = Ahead { pieces: pieces.into(), bytes, _room: room };
        Outbound { ahead: (bytes > 0).then(|| Box::new(ahead)), wire }
    }
}

impl<B: Body<Data = Bytes> + Unpin> Body for Outbound<B> {
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
        match &mut this.wire {
            Some(wire) => Pin::new(wire).poll_frame(cx),
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.ahead.is_none() && self.wire.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        let wire = self.wire.as_ref().map_or(SizeHint::with_exact(0), Body::size_hint);
        match (&self.ahead, wire.exact()) {
            (None, _) => wire,
            (Some(ahead), Some(rest)) => SizeHint::with_exact(ahead.bytes + rest),
            (Some(_), None) => SizeHint::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::{BodyExt, Full};

    #[test]
    fn what_was_read_ahead_goes_first_and_counts() {
        let held = Held::default();
        let mut room = held.room();
        assert!(room.grow(5) && !room.grow(HELD_BYTES_MAX) && room.grow(HELD_BYTES_MAX - 5));
        assert!(!held.room().grow(1), "the bound is over all");
        let pieces = vec![Bytes::from_static(b"ab"), Bytes::from_static(b"c")];
        let body = Outbound::behind(pieces, Arc::new(room), Some(Full::new(Bytes::from_static(b"de"))));
        assert_eq!((body.size_hint().exact(), body.is_end_stream()), (Some(5), false));
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        assert_eq!(runtime.block_on(body.collect()).unwrap().to_bytes(), "abcde");
        assert!(held.room().grow(HELD_BYTES_MAX), "the room is given back");
        let empty = Outbound::<Full<Bytes>>::behind(Vec::new(), Arc::new(held.room()), None);
        assert!(empty.is_end_stream() && empty.size_hint().exact() == Some(0));
    }
}
