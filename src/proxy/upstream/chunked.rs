//! The chunked coding of a response, taken off in place (RFC 9112 7.1).
//!
//! All the data of one read leaves as one piece, however many chunks it came in: a burst of twenty
//! events becomes one frame and one write. The decoder resumes at any byte, so nothing is ever
//! held back for a later read.

use bytes::{Buf, Bytes, BytesMut};

/// Digits of a chunk size; sixteen hold any `u64`, more are an attack.
const SIZE_DIGITS_MAX: u32 = 16;

/// Bytes of one chunk's extensions, or of all trailers. They carry nothing that we pass on; some
/// upstreams sign every chunk, so a long response may have many.
const OVERHEAD_BYTES_MAX: u32 = 16 * 1024;

/// Where in the grammar the next byte stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ChunkState {
    Size,
    Extension,
    SizeLf,
    Data,
    DataCr,
    DataLf,
    TrailerStart,
    Trailer,
    TrailerLf,
    EndLf,
    End,
    Bad,
}

/// Takes the chunked coding off, read by read.
#[derive(Debug)]
pub(super) struct Chunked {
    state: ChunkState,
    /// Digits of the size seen so far.
    digits: u32,
    /// Bytes of the present chunk still to come; while its size is read, the size so far.
    left: u64,
    overhead: u32,
}

impl Chunked {
    pub(super) fn new() -> Chunked {
        Chunked { state: ChunkState::Size, digits: 0, left: 0, overhead: 0 }
    }

    /// The zero chunk and the end of the trailers have been read.
    pub(super) fn ended(&self) -> bool {
        self.state == ChunkState::End
    }

    /// The bytes broke the grammar.
    pub(super) fn broken(&self) -> bool {
        self.state == ChunkState::Bad
    }

    /// Takes all data out of `buf`. Bytes that are left in it lie behind the end of the message; before the end none
    /// are left.
    pub(super) fn take(&mut self, buf: &mut BytesMut) -> Bytes {
        let (mut start, mut end, mut at) = (0, 0, 0);
        while at < buf.len() && !self.ended() && !self.broken() {
            if self.state != ChunkState::Data {
                self.step(buf[at]);
                at += 1;
                continue;
            }
            let have = buf.len() - at;
            let n = usize::try_from(self.left).map_or(have, |left| left.min(have));
            if start == end {
                (start, end) = (at, at); // the first data stays where it is
            } else {
                buf.copy_within(at..at + n, end); // the rest closes up to it
            }
            end += n;
            at += n;
            self.left -= n as u64;
            if self.left == 0 {
                self.state = ChunkState::DataCr;
            }
        }
        if self.ended() && at < buf.len() {
            let data = Bytes::copy_from_slice(&buf[start..end]);
            buf.advance(at);
            return data;
        }
        buf.truncate(end);
        buf.advance(start);
        buf.split().freeze()
    }

    /// One byte that is not data.
    fn step(&mut self, byte: u8) {
        self.state = match (self.state, byte) {
            (ChunkState::Size, b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F') if self.digits < SIZE_DIGITS_MAX => {
                let digit = (byte as char).to_digit(16).unwrap_or(0);
                self.digits += 1;
                self.left = self.left << 4 | u64::from(digit);
                ChunkState::Size
            }
            (ChunkState::Size, b';' | b' ' | b'\t') if self.digits > 0 => ChunkState::Extension,
            (ChunkState::Size, b'\r') if self.digits > 0 => ChunkState::SizeLf,
            (ChunkState::Extension, b'\r') => ChunkState::SizeLf,
            (ChunkState::Extension, b'\n') => ChunkState::Bad,
            (ChunkState::Extension, _) => self.overhead(ChunkState::Extension),
            (ChunkState::SizeLf, b'\n') if self.left == 0 => ChunkState::TrailerStart,
            (ChunkState::SizeLf, b'\n') => ChunkState::Data,
            (ChunkState::DataCr, b'\r') => ChunkState::DataLf,
            (ChunkState::DataLf, b'\n') => {
                (self.digits, self.overhead) = (0, 0);
                ChunkState::Size
            }
            (ChunkState::TrailerStart, b'\r') => ChunkState::EndLf,
            (ChunkState::TrailerStart | ChunkState::Trailer, b'\n') => ChunkState::Bad,
            (ChunkState::Trailer, b'\r') => ChunkState::TrailerLf,
            (ChunkState::TrailerStart | ChunkState::Trailer, _) => self.overhead(ChunkState::Trailer),
            (ChunkState::TrailerLf, b'\n') => ChunkState::TrailerStart,
            (ChunkState::EndLf, b'\n') => ChunkState::End,
            _ => ChunkState::Bad,
        };
    }

    fn overhead(&mut self, next: ChunkState) -> ChunkState {
        self.overhead += 1;
        if self.overhead > OVERHEAD_BYTES_MAX { ChunkState::Bad } else { next }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Feeds `wire` in pieces of `step` bytes; gives the data, and what is left when it stops.
    fn decode(wire: &[u8], step: usize) -> (Vec<u8>, Chunked, usize) {
        let (mut chunked, mut data, mut left) = (Chunked::new(), Vec::new(), 0);
        for piece in wire.chunks(step.max(1)) {
            if chunked.ended() || chunked.broken() {
                left += piece.len();
                continue;
            }
            let mut buf = BytesMut::from(piece);
            data.extend_from_slice(&chunked.take(&mut buf));
            left += buf.len();
        }
        (data, chunked, left)
    }

    #[test]
    fn every_split_gives_the_same_data() {
        let wire = b"5\r\nhello\r\n1;ext=\"a\"\r\n \r\n005 \r\nworld\r\n0\r\nx-a: b\r\n\r\nREST";
        for step in 1..=wire.len() {
            let (data, chunked, left) = decode(wire, step);
            assert_eq!(data, b"hello world", "step {step}");
            assert!(chunked.ended(), "step {step}");
            assert_eq!(left, 4, "step {step}");
        }
    }

    #[test]
    fn what_breaks_the_grammar_is_broken_and_keeps_the_data_before_it() {
        for wire in [
            &b"2\r\nabX"[..],
            b"2\r\nab\r\nzz\r\n",
            b"2\r\nab\r\n\r\n",
            b"2\r\nab\r\n-1\r\n",
            b"2\r\nab\r\n11111111111111111\r\n",
            b"2\r\nab\r\n5\n",
            b"2\r\nab\r\n0\r\n\n",
        ] {
            for step in [1, wire.len()] {
                let (data, chunked, _) = decode(wire, step);
                assert_eq!(data, b"ab", "{wire:?}");
                assert!(chunked.broken() && !chunked.ended(), "{wire:?}");
            }
        }
    }

    #[test]
    fn extensions_and_trailers_are_bounded() {
        let mut wire = b"1;".to_vec();
        wire.resize(wire.len() + OVERHEAD_BYTES_MAX as usize + 1, b'x');
        assert!(decode(&wire, 4096).1.broken());
    }

    proptest! {
        #[test]
        fn any_chunking_read_in_any_pieces_gives_the_body(
            chunks in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..300), 0..20),
            step in 1usize..700,
        ) {
            let mut wire = Vec::new();
            for chunk in &chunks {
                wire.extend_from_slice(format!("{:X}\r\n", chunk.len()).as_bytes());
                wire.extend_from_slice(chunk);
                wire.extend_from_slice(b"\r\n");
            }
            wire.extend_from_slice(b"0\r\n\r\n");
            let (data, chunked, left) = decode(&wire, step);
            prop_assert_eq!(data, chunks.concat());
            prop_assert!(chunked.ended());
            prop_assert_eq!(left, 0);
        }

        #[test]
        fn any_bytes_at_all_never_panic(wire in prop::collection::vec(any::<u8>(), 0..400), step in 1usize..50) {
            decode(&wire, step);
        }
    }
}
