//! One small read buffer for all the streams of a thread.
//!
//! A stream that waits holds no buffer. When it has something to read it takes the thread's, which
//! other streams have just kept warm, and gives it back once nothing is there. What was read of it
//! and is still on its way pins it; then the next one to need room gets a new one.

use std::cell::Cell;

use bytes::BytesMut;

thread_local! {
    static SPARE: Cell<BytesMut> = Cell::new(BytesMut::new());
}

/// The thread's buffer, or an empty one if another has it.
pub(super) fn take() -> BytesMut {
    SPARE.try_with(Cell::take).unwrap_or_default()
}

/// Gives it back. A thread that ends keeps nothing.
pub(super) fn give(buffer: BytesMut) {
    let _ = SPARE.try_with(|spare| spare.set(buffer));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_given_back_serves_again_without_an_allocation() {
        let mut first = take();
        first.reserve(4096);
        first.extend_from_slice(b"frame");
        let (place, frame) = (first.as_ptr(), first.split().freeze());
        drop(frame);
        give(first);
        let mut again = take();
        assert_eq!(take().capacity(), 0, "it is taken");
        again.reserve(4096);
        assert_eq!(again.as_ptr(), place);
    }

    #[test]
    fn what_is_still_on_its_way_is_not_overwritten() {
        let mut buffer = take();
        buffer.extend_from_slice(b"frame");
        let frame = buffer.split().freeze();
        give(buffer);
        let mut next = take();
        next.reserve(4096);
        next.extend_from_slice(b"other");
        assert_eq!((&frame[..], &next[..]), (&b"frame"[..], &b"other"[..]));
    }
}
