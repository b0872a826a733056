//! One direction of a WebSocket (RFC 6455 section 5): where its frames begin and end, and the text messages in them.
//!
//! A broken frame, one of an extension that was not agreed upon, or compressed bytes that are none make the rest of
//! the direction unreadable: then nothing more is said of it.

use super::extensions::Compression;
use super::inflate::{Corrupt, Inflater};

/// The first two bytes, an extended length of eight, a masking key of four.
pub(super) const HEAD_BYTES_MAX: usize = 14;

/// Longest payload of a control frame (RFC 6455 5.5).
const CONTROL_BYTES_MAX: u8 = 125;

/// Bytes whose masking is undone at a time, on the stack.
const UNMASKED_BYTES: usize = 1024;

/// Opcodes (RFC 6455 5.2); from 8 on they are of control frames.
const CONTINUATION: u8 = 0;
pub(super) const TEXT: u8 = 1;
pub(super) const BINARY: u8 = 2;
pub(super) const CLOSE: u8 = 8;
const PONG: u8 = 10;

/// The bit of a frame that says that its message is compressed (RFC 7692 6).
const COMPRESSED: u8 = 0x40;

/// Takes the text messages of a direction, without masking and compression.
pub trait MessageSink {
    /// More of a message.
    fn text(&mut self, piece: &[u8]);

    /// The message is whole.
    fn end(&mut self);
}

/// Takes nothing.
impl MessageSink for () {
    fn text(&mut self, _: &[u8]) {}
    fn end(&mut self) {}
}

/// The frames that one side sends.
#[derive(Debug)]
pub struct Frames {
    state: State,
    /// Its payloads are masked: those of clients are, those of servers are not.
    masked: bool,
    /// The compression that was agreed upon.
    compression: Option<Compression>,
    /// Text messages are shown.
    reads: bool,
    head: [u8; HEAD_BYTES_MAX],
    head_bytes: usize,
    /// Bytes of the frame's payload that are still to come.
    payload_bytes: u64,
    /// The masking key, turned to the next byte.
    key: [u8; 4],
    message: Message,
    /// Made for the first compressed message.
    inflater: Option<Box<Inflater>>,
    /// The next byte of the payload has been inflated already, and not all that comes of it has been shown.
    ahead: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Head,
    Payload,
    /// A whole close frame has gone by; what follows means nothing.
    Closed,
    Unreadable,
}

/// The message that has begun last.
#[derive(Clone, Copy, Debug, Default)]
struct Message {
    /// It has begun, and this was not its last frame.
    open: bool,
    text: bool,
    compressed: bool,
}

impl Frames {
    /// The direction from a client, with the compression that was agreed upon for it.
    pub fn of_client(compression: Option<Compression>) -> Frames {
        Frames::new(State::Head, true, compression)
    }

    /// The direction from a server.
    pub fn of_server(compression: Option<Compression>) -> Frames {
        Frames::new(State::Head, false, compression)
    }

    /// Bytes of another protocol.
    pub fn unreadable() -> Frames {
        Frames::new(State::Unreadable, false, None)
    }

    fn new(state: State, masked: bool, compression: Option<Compression>) -> Frames {
        Frames {
            state,
            masked,
            compression,
            reads: false,
            head: [0; HEAD_BYTES_MAX],
            head_bytes: 0,
            payload_bytes: 0,
            key: [0; 4],
            message: Message::default(),
            inflater: None,
            ahead: false,
        }
    }

    /// The same direction, whose text messages are shown.
    #[must_use]
    pub fn reading(self) -> Frames {
        Frames { reads: true, ..self }
    }

    /// Takes bytes for as long as `budget` lasts, which is in bytes of messages, and shows the messages in them.
    /// Returns how many it took: the others are to be given again. It may take none and yet have worked, since
    /// compressed bytes can owe more than the budget allows.
    pub fn push(&mut self, bytes: &[u8], budget: &mut usize, sink: &mut impl MessageSink) -> usize {
        let mut rest = bytes;
        while let Some((&first, tail)) = rest.split_first() {
            match self.state {
                State::Closed | State::Unreadable => return bytes.len(),
                State::Payload => {
                    let Ok(taken) = self.payload(rest, budget, sink) else {
                        self.give_up();
                        return bytes.len();
                    };
                    if taken == 0 {
                        break; // the budget is spent
                    }
                    self.payload_bytes -= taken as u64;
                    rest = &rest[taken..];
                    if self.payload_bytes == 0 {
                        self.ended(sink);
                    }
                }
                State::Head => {
                    self.head[self.head_bytes] = first;
                    self.head_bytes += 1;
                    rest = tail;
                    self.look(sink);
                }
            }
        }
        bytes.len() - rest.len()
    }

    /// A whole close frame has been seen.
    pub fn is_closed(&self) -> bool {
        self.state == State::Closed
    }

    /// A frame, or a message of several, has begun and not ended.
    pub fn is_open(&self) -> bool {
        match self.state {
            State::Head => self.head_bytes > 0 || self.message.open,
            State::Payload => true,
            State::Closed | State::Unreadable => false,
        }
    }

    /// All that came was frames.
    pub fn is_readable(&self) -> bool {
        self.state != State::Unreadable
    }

    fn give_up(&mut self) {
        (self.state, self.inflater) = (State::Unreadable, None);
    }

    // ===== Heads =====

    /// One more byte of the head has come.
    fn look(&mut self, sink: &mut impl MessageSink) {
        if self.head_bytes < 2 {
            return;
        }
        if self.head_bytes == 2 && !self.is_sound() {
            return self.give_up();
        }
        let extended = match self.head[1] & 0x7f {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        let key = if self.masked { 4 } else { 0 };
        if self.head_bytes < 2 + extended + key {
            return;
        }
        let length = &self.head[2..2 + extended];
        self.payload_bytes = match extended {
            0 => u64::from(self.head[1] & 0x7f),
            _ => length.iter().fold(0, |length, &byte| length << 8 | u64::from(byte)),
        };
        if self.payload_bytes >> 63 == 1 {
            return self.give_up(); // the most significant bit must be 0 (RFC 6455 5.2)
        }
        self.key = [0, 1, 2, 3].map(|at| if self.masked { self.head[2 + extended + at] } else { 0 });
        self.begun();
        if self.payload_bytes == 0 {
            self.ended(sink);
        }
    }

    /// The first two bytes are those of a frame that may come here.
    fn is_sound(&self) -> bool {
        let [first, second, ..] = self.head;
        let (last, opcode, masked) = (first & 0x80 != 0, first & 0x0f, second & 0x80 != 0);
        let may_be_compressed = self.compression.is_some() && matches!(opcode, TEXT | BINARY);
        let reserved = if may_be_compressed { 0x70 & !COMPRESSED } else { 0x70 };
        let fits = match opcode {
            CONTINUATION => self.message.open,
            TEXT..=BINARY => !self.message.open,
            CLOSE..=PONG => last && second & 0x7f <= CONTROL_BYTES_MAX,
            _ => false,
        };
        first & reserved == 0 && masked == self.masked && fits
    }

    /// The head is whole.
    fn begun(&mut self) {
        self.state = State::Payload;
        let first = self.head[0];
        if matches!(first & 0x0f, TEXT | BINARY) {
            let (text, compressed) = (first & 0x0f == TEXT, first & COMPRESSED != 0);
            self.message = Message { open: true, text, compressed };
        }
    }

    /// The frame is whole.
    fn ended(&mut self, sink: &mut impl MessageSink) {
        debug_assert!(self.payload_bytes == 0 && self.head_bytes >= 2, "a frame is a head and its payload");
        let (last, opcode) = (self.head[0] & 0x80 != 0, self.head[0] & 0x0f);
        self.head_bytes = 0;
        self.state = if opcode == CLOSE { State::Closed } else { State::Head };
        if opcode < CLOSE && last {
            self.message.open = false;
            if self.end_message(sink).is_err() {
                self.give_up();
            }
        }
    }

    // ===== Payloads =====

    /// Takes some of a payload: none if the budget is spent.
    fn payload(
        &mut self,
        bytes: &[u8],
        budget: &mut usize,
        sink: &mut impl MessageSink,
    ) -> Result<usize, Corrupt> {
        let here = usize::try_from(self.payload_bytes).unwrap_or(usize::MAX).min(bytes.len());
        let is_control = self.head[0] & 0x0f >= CLOSE;
        // Bytes that are not shown are still in the window that later messages refer to.
        let is_read = self.reads && !is_control && (self.message.text || self.message.compressed);
        if !is_read {
            return Ok(here);
        }
        let here = here.min(*budget);
        if here == 0 {
            return Ok(0);
        }
        let taken = if self.masked {
            let mut block = [0; UNMASKED_BYTES];
            let plain = self.unmask(&bytes[..here.min(UNMASKED_BYTES)], &mut block);
            self.show(plain, budget, sink)?
        } else {
            self.show(&bytes[..here], budget, sink)?
        };
        *budget = budget.saturating_sub(taken);
        self.key.rotate_left(taken % 4);
        Ok(taken)
    }

    /// Shows some of a payload without its masking.
    fn show(
        &mut self,
        plain: &[u8],
        budget: &mut usize,
        sink: &mut impl MessageSink,
    ) -> Result<usize, Corrupt> {
        if self.message.compressed {
            return self.inflate(plain, budget, sink);
        }
        sink.text(plain);
        Ok(plain.len())
    }

    fn unmask<'b>(&self, bytes: &[u8], block: &'b mut [u8; UNMASKED_BYTES]) -> &'b [u8] {
        let plain = &mut block[..bytes.len()];
        for (at, (plain, byte)) in plain.iter_mut().zip(bytes).enumerate() {
            *plain = byte ^ self.key[at % 4];
        }
        plain
    }

    /// Takes some of a compressed payload. While more comes out of it than the budget allows, its last byte counts
    /// as not taken.
    fn inflate(
        &mut self,
        bytes: &[u8],
        budget: &mut usize,
        sink: &mut impl MessageSink,
    ) -> Result<usize, Corrupt> {
        let Some(compression) = self.compression else { return Err(Corrupt) };
        let inflater = self.inflater.get_or_insert_with(|| Box::new(Inflater::new(compression)));
        let (text, before) = (self.message.text, usize::from(self.ahead));
        let show = |plain: &[u8]| {
            if text {
                sink.text(plain)
            }
        };
        let taken = before + inflater.push(bytes.get(before..).unwrap_or_default(), budget, show)?;
        self.ahead = taken > 0 && inflater.owes();
        Ok(taken - usize::from(self.ahead))
    }

    /// The last frame of a message is whole.
    fn end_message(&mut self, sink: &mut impl MessageSink) -> Result<(), Corrupt> {
        let Message { text, compressed, .. } = self.message;
        if !self.reads {
            return Ok(());
        }
        if let (true, Some(inflater)) = (compressed, &mut self.inflater) {
            inflater.end_message(|plain| {
                if text {
                    sink.text(plain)
                }
            })?;
        }
        if text {
            sink.end();
        }
        Ok(())
    }
}
