//! The buffer that a connection reads into.
//!
//! A stream that waits holds no buffer. When it has something to read it takes the thread's, which other streams
//! have just kept warm, and gives it back once nothing is there. Bytes that were read into it and are still on
//! their way pin it; then the next stream to need room gets a new one.

use std::cell::Cell;
use std::io;
use std::task::{Context, Poll};

use bytes::{Bytes, BytesMut};

use super::io::UpstreamIo;
use crate::tee::RESPONSE_READ_BYTES_MAX;

/// First size of a read buffer. A token's event is about 500 bytes.
const READ_BYTES_MIN: usize = 4 * 1024;

thread_local! {
    static SPARE: Cell<BytesMut> = Cell::new(BytesMut::new());
}

/// The thread's buffer, or an empty one if another stream has it.
fn take_spare() -> BytesMut {
    SPARE.try_with(Cell::take).unwrap_or_default()
}

/// Gives the buffer back. A thread that ends keeps nothing.
fn give_spare(buffer: BytesMut) {
    let _ = SPARE.try_with(|spare| spare.set(buffer));
}

/// Bytes that were read and not yet taken, and how much is read at once.
#[derive(Debug)]
pub(super) struct ReadBuffer {
    bytes: BytesMut,
    read_bytes: usize,
}

impl ReadBuffer {
    pub(super) fn new() -> ReadBuffer {
        ReadBuffer { bytes: BytesMut::new(), read_bytes: READ_BYTES_MIN }
    }

    /// The bytes that were read, to be taken off their front.
    pub(super) fn bytes(&mut self) -> &mut BytesMut {
        &mut self.bytes
    }

    pub(super) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    pub(super) fn freeze(self) -> Bytes {
        self.bytes.freeze()
    }

    /// Reads behind the bytes that are there already. The buffer doubles when a read fills it: bursts and large
    /// bodies get large reads, paced streams stay small. While nothing comes there is none.
    pub(super) fn poll_read(&mut self, cx: &mut Context<'_>, io: &mut UpstreamIo) -> Poll<io::Result<usize>> {
        if self.is_small() && self.bytes.capacity() == 0 {
            self.bytes = take_spare();
        }
        self.bytes.reserve(self.read_bytes);
        let Poll::Ready(n) = io.poll_fill(cx, &mut self.bytes)? else {
            if self.bytes.is_empty() {
                let bytes = std::mem::take(&mut self.bytes);
                if self.is_small() {
                    give_spare(bytes);
                }
            }
            return Poll::Pending;
        };
        if n >= self.read_bytes {
            self.read_bytes = (self.read_bytes * 2).min(RESPONSE_READ_BYTES_MAX);
        }
        Poll::Ready(Ok(n))
    }

    /// Gives the buffer to the next stream of the thread, unless it has grown.
    pub(super) fn recycle(self) {
        if self.is_small() {
            give_spare(self.bytes);
        }
    }

    fn is_small(&self) -> bool {
        self.read_bytes == READ_BYTES_MIN
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_given_back_serves_again_without_an_allocation() {
        let mut first = take_spare();
        first.reserve(4096);
        first.extend_from_slice(b"frame");
        let (place, frame) = (first.as_ptr(), first.split().freeze());
        drop(frame);
        give_spare(first);
        let mut again = take_spare();
        assert_eq!(take_spare().capacity(), 0, "it is taken");
        again.reserve(4096);
        assert_eq!(again.as_ptr(), place);
    }

    #[test]
    fn what_is_still_on_its_way_is_not_overwritten() {
        let mut buffer = take_spare();
        buffer.extend_from_slice(b"frame");
        let frame = buffer.split().freeze();
        give_spare(buffer);
        let mut next = take_spare();
        next.reserve(4096);
        next.extend_from_slice(b"other");
        assert_eq!((&frame[..], &next[..]), (&b"frame"[..], &b"other"[..]));
    }
}
