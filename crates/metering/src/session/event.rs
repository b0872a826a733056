//! A message as an event of a stream, so that it is read like one that came by HTTP.

use bytes::{Bytes, BytesMut};

/// Begins the line of an event.
const FIELD: &[u8] = b"data: ";

/// Ends the event.
const END: &[u8] = b"\n\n";

/// Room that is kept from one message to the next: most are shorter.
const KEPT_BYTES: usize = 1024;

/// A message that is being written.
#[derive(Debug, Default)]
pub(super) struct EventWriter {
    bytes: BytesMut,
    /// The event has begun, and perhaps some of it was taken.
    begun: bool,
}

impl EventWriter {
    /// More of the message. A line that ends within it is white space of its JSON.
    pub(super) fn push(&mut self, text: &[u8]) {
        if !self.begun {
            self.bytes.extend_from_slice(FIELD);
            self.begun = true;
        }
        let from = self.bytes.len();
        self.bytes.extend_from_slice(text);
        for byte in &mut self.bytes[from..] {
            if matches!(byte, b'\n' | b'\r') {
                *byte = b' ';
            }
        }
    }

    /// The message so far, if none of it was taken.
    pub(super) fn text(&self) -> &[u8] {
        self.bytes.get(FIELD.len()..).unwrap_or_default()
    }

    /// Takes what has been written.
    pub(super) fn take(&mut self) -> Bytes {
        self.bytes.split().freeze()
    }

    /// Takes the rest: the message is whole.
    pub(super) fn finish(&mut self) -> Bytes {
        self.bytes.extend_from_slice(END);
        self.begun = false;
        self.take()
    }

    /// Takes the message itself, without what makes an event of it.
    pub(super) fn take_text(&mut self) -> Bytes {
        let mut taken = self.take();
        self.begun = false;
        taken.split_off(FIELD.len().min(taken.len()))
    }

    /// Forgets the message, and room that is seldom needed.
    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        self.begun = false;
        if self.bytes.capacity() > KEPT_BYTES {
            self.bytes = BytesMut::new();
        }
    }
}
