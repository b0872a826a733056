//! WebSocket framing (RFC 6455 section 5): where the frames of one direction begin and end.
//!
//! Only heads are read, payloads are passed over, so that any length of frame takes a few bytes of
//! memory and no time. A broken frame, or one of an extension that was not agreed upon, makes
//! the rest of the direction unreadable: then nothing more is said of it.

/// The first two bytes, an extended length of eight, a masking key of four.
const HEAD_BYTES_MAX: usize = 14;

/// Longest payload of a control frame (RFC 6455 5.5).
const CONTROL_BYTES_MAX: u8 = 125;

/// Opcodes (RFC 6455 5.2); from 8 on they are of control frames.
const CONTINUATION: u8 = 0;
const BINARY: u8 = 2;
const CLOSE: u8 = 8;
const PONG: u8 = 10;

/// The frames that one side sends.
#[derive(Clone, Debug)]
pub struct Frames {
    state: State,
    /// Its payloads are masked: those of clients are, those of servers are not.
    masked: bool,
    /// An extension was agreed upon, which may use the first reserved bit, as compression does.
    extended: bool,
    head: [u8; HEAD_BYTES_MAX],
    head_bytes: usize,
    /// Bytes of the frame's payload that are still to come.
    payload_bytes: u64,
    /// A message has begun of which this was not the last frame.
    fragmented: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Head,
    Payload,
    /// A whole close frame has gone by; what follows means nothing.
    Closed,
    Unreadable,
}

impl Frames {
    /// The direction from a client. `extended`: the handshake agreed upon an extension.
    pub fn of_client(extended: bool) -> Frames {
        Frames::new(State::Head, true, extended)
    }

    /// The direction from a server.
    pub fn of_server(extended: bool) -> Frames {
        Frames::new(State::Head, false, extended)
    }

    /// Bytes of another protocol.
    pub fn unreadable() -> Frames {
        Frames::new(State::Unreadable, false, false)
    }

    fn new(state: State, masked: bool, extended: bool) -> Frames {
        Frames {
            state,
            masked,
            extended,
            head: [0; HEAD_BYTES_MAX],
            head_bytes: 0,
            payload_bytes: 0,
            fragmented: false,
        }
    }

    /// The next bytes.
    pub fn push(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            match self.state {
                State::Closed | State::Unreadable => return,
                State::Payload => {
                    let here = usize::try_from(self.payload_bytes).unwrap_or(usize::MAX).min(bytes.len());
                    self.payload_bytes -= here as u64;
                    bytes = &bytes[here..];
                    if self.payload_bytes == 0 {
                        self.ended();
                    }
                }
                State::Head => {
                    self.head[self.head_bytes] = bytes[0];
                    self.head_bytes += 1;
                    bytes = &bytes[1..];
                    self.look();
                }
            }
        }
    }

    /// A whole close frame has been seen.
    pub fn is_closed(&self) -> bool {
        self.state == State::Closed
    }

    /// A frame, or a message of several, has begun and not ended.
    pub fn is_open(&self) -> bool {
        match self.state {
            State::Head => self.head_bytes > 0 || self.fragmented,
            State::Payload => true,
            State::Closed | State::Unreadable => false,
        }
    }

    /// All that came was frames.
    pub fn is_readable(&self) -> bool {
        self.state != State::Unreadable
    }

    /// One more byte of the head has come.
    fn look(&mut self) {
        if self.head_bytes < 2 {
            return;
        }
        if self.head_bytes == 2 && !self.is_sound() {
            self.state = State::Unreadable;
            return;
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
        self.state = match self.payload_bytes >> 63 {
            0 => State::Payload,
            _ => State::Unreadable, // the most significant bit must be 0 (RFC 6455 5.2)
        };
        if self.state == State::Payload && self.payload_bytes == 0 {
            self.ended();
        }
    }

    /// The first two bytes are those of a frame that may come here.
    fn is_sound(&self) -> bool {
        let [first, second, ..] = self.head;
        let (last, opcode, masked) = (first & 0x80 != 0, first & 0x0f, second & 0x80 != 0);
        let reserved = if self.extended { 0x30 } else { 0x70 };
        let fits = match opcode {
            CONTINUATION => self.fragmented,
            1..=BINARY => !self.fragmented,
            CLOSE..=PONG => last && second & 0x7f <= CONTROL_BYTES_MAX,
            _ => false,
        };
        first & reserved == 0 && masked == self.masked && fits
    }

    /// The frame is whole.
    fn ended(&mut self) {
        debug_assert!(self.payload_bytes == 0 && self.head_bytes >= 2, "a frame is a head and its payload");
        let (last, opcode) = (self.head[0] & 0x80 != 0, self.head[0] & 0x0f);
        self.head_bytes = 0;
        self.state = if opcode == CLOSE { State::Closed } else { State::Head };
        if opcode < CLOSE {
            self.fragmented = !last;
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// One frame, its length written as short as it can be.
    fn frame(first: u8, masked: bool, payload: &[u8]) -> Vec<u8> {
        let mask = if masked { 0x80 } else { 0 };
        let mut frame = match payload.len() {
            length @ 0..126 => vec![first, mask | u8::try_from(length).unwrap()],
            length @ 126..65536 => {
                [&[first, mask | 126][..], &u16::try_from(length).unwrap().to_be_bytes()].concat()
            }
            length => [&[first, mask | 127][..], &(length as u64).to_be_bytes()].concat(),
        };
        if masked {
            frame.extend([0x88; 4]); // a close frame's first byte, if it were read as one
        }
        frame.extend(payload);
        frame
    }

    fn after(frames: &Frames, bytes: &[u8]) -> (bool, bool, bool) {
        let mut frames = frames.clone();
        frames.push(bytes);
        (frames.is_open(), frames.is_closed(), frames.is_readable())
    }

    const BETWEEN: (bool, bool, bool) = (false, false, true);
    const OPEN: (bool, bool, bool) = (true, false, true);
    const CLOSED: (bool, bool, bool) = (false, true, true);
    const UNREADABLE: (bool, bool, bool) = (false, false, false);

    #[test]
    fn lengths_of_one_three_and_nine_bytes() {
        for masked in [false, true] {
            let frames = Frames::new(State::Head, masked, false);
            for length in [0, 1, 125, 126, 127, 65535, 65536, 70000] {
                let payload = vec![0x88; length];
                let bytes = frame(0x82, masked, &payload);
                assert_eq!(after(&frames, &bytes), BETWEEN, "{length} {masked}");
                assert_eq!(after(&frames, &bytes[..bytes.len() - 1]), OPEN, "{length} {masked}");
                assert_eq!(after(&frames, &[&bytes[..], &frame(0x88, masked, b"")].concat()), CLOSED);
            }
        }
        // No sender has so many bytes, and nothing counts them one by one.
        let endless = [&[0x82, 127][..], &(u64::MAX >> 1).to_be_bytes()].concat();
        assert_eq!(after(&Frames::of_server(false), &endless), OPEN);
    }

    #[test]
    fn a_close_frame_counts_once_it_is_whole_and_nothing_after_it_does() {
        let frames = Frames::of_server(false);
        let close = frame(0x88, false, b"\x03\xe8bye");
        for cut in 1..close.len() {
            assert_eq!(after(&frames, &close[..cut]), OPEN, "{cut}");
        }
        assert_eq!(after(&frames, &close), CLOSED);
        assert_eq!(after(&frames, &[&close[..], b"anything"].concat()), CLOSED);
        // A text that looks like one is none.
        assert_eq!(after(&frames, &frame(0x81, false, &close)), BETWEEN);
    }

    #[test]
    fn a_message_of_several_frames_is_open_between_them() {
        let frames = Frames::of_server(false);
        let message = [frame(0x01, false, b"a"), frame(0x89, false, b"ping"), frame(0x00, false, b"b")];
        for count in 1..=3 {
            assert_eq!(after(&frames, &message[..count].concat()), OPEN, "{count}");
        }
        let last = frame(0x80, false, b"");
        assert_eq!(after(&frames, &[message.concat(), last.clone()].concat()), BETWEEN);
        let closed = [message.concat(), frame(0x88, false, b"")].concat();
        assert_eq!(after(&frames, &closed), CLOSED, "a close frame may come between");
    }

    #[test]
    fn what_is_no_frame_ends_the_reading() {
        let server = Frames::of_server(false);
        for (why, first, masked, payload) in [
            ("a reserved bit", 0xc1, false, &b"a"[..]),
            ("another reserved bit", 0xa1, false, b"a"),
            ("a reserved opcode", 0x83, false, b"a"),
            ("a reserved control opcode", 0x8b, false, b"a"),
            ("masked by a server", 0x81, true, b"a"),
            ("more of a message that has not begun", 0x80, false, b"a"),
            ("a control frame in pieces", 0x09, false, b"a"),
            ("a long control frame", 0x88, false, &[0; 126]),
        ] {
            let bytes = [frame(first, masked, payload), frame(0x88, false, b"")].concat();
            assert_eq!(after(&server, &bytes), UNREADABLE, "{why}");
        }
        let twice = [frame(0x01, false, b"a"), frame(0x81, false, b"b")].concat();
        assert_eq!(after(&server, &twice), UNREADABLE, "a message within a message");
        let client = Frames::of_client(false);
        assert_eq!(after(&client, &frame(0x81, false, b"a")), UNREADABLE, "not masked by a client");
        let long = [&[0x82, 127][..], &(1u64 << 63).to_be_bytes()].concat();
        assert_eq!(after(&server, &long), UNREADABLE, "a length with its sign bit set");
        assert_eq!(after(&server, b"HTTP/1.1 200 OK\r\n\r\n"), UNREADABLE);
        assert_eq!(after(&Frames::unreadable(), &frame(0x88, false, b"")), UNREADABLE);
        // With compression agreed upon, the first reserved bit says that a message is compressed.
        assert_eq!(after(&Frames::of_server(true), &frame(0xc1, false, b"a")), BETWEEN);
        assert_eq!(after(&Frames::of_server(true), &frame(0xa1, false, b"a")), UNREADABLE);
    }

    proptest! {
        /// Where the bytes are cut does not matter, and no bytes make it fail.
        #[test]
        fn any_split_says_the_same(
            masked: bool,
            sent in prop::collection::vec((any::<u8>(), prop::collection::vec(any::<u8>(), 0..300)), 0..8),
            odd in prop::collection::vec(any::<u8>(), 0..20),
            sound: bool,
            pieces in 1usize..40,
        ) {
            let mut bytes: Vec<u8> = sent
                .iter()
                .flat_map(|(first, payload)| frame(if sound { 0x82 } else { *first }, masked, payload))
                .collect();
            if !sound {
                bytes.extend(odd);
            }
            let mut frames = Frames::new(State::Head, masked, false);
            let whole = after(&frames, &bytes);
            bytes.chunks(pieces).for_each(|piece| frames.push(piece));
            prop_assert_eq!(after(&frames, b""), whole);
            if sound {
                prop_assert_eq!(whole, BETWEEN);
            }
        }
    }
}
