//! Frames as a sender writes them (RFC 6455 section 5.2), each with a whole message.

use super::reader::{BINARY, CLOSE, HEAD_BYTES_MAX, TEXT};

/// The bit of the last frame of a message.
const LAST: u8 = 0x80;

/// The bit that says that a masking key follows.
const MASKED: u8 = 0x80;

/// A key that changes nothing.
const KEY: [u8; 4] = [0; 4];

/// The kind of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameKind {
    /// A text message.
    Text,
    /// A binary message.
    Binary,
    /// The last frame of a direction.
    Close,
}

/// A frame of a message that is not compressed. Those of a client are masked (5.3).
pub fn frame(kind: FrameKind, by_client: bool, payload: &[u8]) -> Vec<u8> {
    let opcode = match kind {
        FrameKind::Text => TEXT,
        FrameKind::Binary => BINARY,
        FrameKind::Close => CLOSE,
    };
    let mask = if by_client { MASKED } else { 0 };
    let mut frame = Vec::with_capacity(payload.len().saturating_add(HEAD_BYTES_MAX));
    frame.push(LAST | opcode);
    match (u8::try_from(payload.len()), u16::try_from(payload.len())) {
        (Ok(length @ 0..126), _) => frame.push(mask | length),
        (_, Ok(length)) => {
            frame.push(mask | 126);
            frame.extend(length.to_be_bytes());
        }
        _ => {
            frame.push(mask | 127);
            frame.extend((payload.len() as u64).to_be_bytes());
        }
    }
    if by_client {
        frame.extend(KEY);
    }
    frame.extend_from_slice(payload);
    frame
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frames::{Frames, MessageSink};

    #[derive(Default)]
    struct Seen(Vec<Vec<u8>>, Vec<u8>);

    impl MessageSink for Seen {
        fn text(&mut self, piece: &[u8]) {
            self.1.extend_from_slice(piece);
        }
        fn end(&mut self) {
            self.0.push(std::mem::take(&mut self.1));
        }
    }

    #[test]
    fn what_is_written_is_read() {
        for by_client in [false, true] {
            let frames = if by_client { Frames::of_client(None) } else { Frames::of_server(None) };
            let (mut frames, mut seen) = (frames.reading(), Seen::default());
            let texts = [0, 1, 125, 126, 65_535, 65_536].map(|length| vec![b'x'; length]);
            for text in &texts {
                for kind in [FrameKind::Text, FrameKind::Binary] {
                    let bytes = frame(kind, by_client, text);
                    assert_eq!(frames.push(&bytes, &mut usize::MAX.clone(), &mut seen), bytes.len());
                    assert!(!frames.is_open() && frames.is_readable());
                }
            }
            assert_eq!(seen.0, texts, "binary messages are passed over");
            frames.push(&frame(FrameKind::Close, by_client, b""), &mut 0, &mut seen);
            assert!(frames.is_closed());
        }
    }
}
