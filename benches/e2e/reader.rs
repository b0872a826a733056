//! The callers' side of an answer: every byte of it is held against what the service must have sent,
//! however the proxy cut it into reads and chunks. Only the digits of stamps may be any.

use super::answer::Answer;

/// Fields of an answer's head.
const HEADERS_MAX: usize = 64;

/// How far an answer has come.
#[derive(Default)]
pub(crate) struct Reader {
    state: State,
    head: Vec<u8>,
    /// Bytes of the body so far.
    at: usize,
    /// Events that are whole.
    events: usize,
    /// The digits of the stamp that is being read.
    stamp: u64,
}

#[derive(Clone, Copy, Default, PartialEq)]
enum State {
    #[default]
    Head,
    /// Bytes that are left of a body with a length.
    Length(usize),
    /// The line that begins a chunk: its size so far.
    Size(usize),
    /// Bytes that are left of a chunk.
    Chunk(usize),
    /// The line end behind a chunk.
    ChunkEnd,
    /// The empty line behind the last chunk.
    Trailer,
    Whole,
}

impl Reader {
    /// Takes what a read brought, and tells of each event that is whole now with its stamp, if it has
    /// one. Returns whether the answer is whole, or else what is wrong with it.
    pub(crate) fn read(
        &mut self,
        mut bytes: &[u8],
        answer: &Answer,
        event: &mut impl FnMut(Option<u64>),
    ) -> Result<bool, String> {
        while let Some(&byte) = bytes.first() {
            let taken = match self.state {
                State::Head => self.head(bytes, answer)?,
                State::Length(left) | State::Chunk(left) => {
                    let taken = left.min(bytes.len());
                    self.body(&bytes[..taken], answer, event)?;
                    self.state = match self.state {
                        State::Length(left) => State::Length(left - taken),
                        _ if taken == left => State::ChunkEnd,
                        _ => State::Chunk(left - taken),
                    };
                    taken
                }
                State::Size(_) | State::ChunkEnd | State::Trailer => self.framing(byte)?,
                State::Whole => return Err("bytes behind the answer".to_owned()),
            };
            bytes = &bytes[taken..];
            if self.state == State::Length(0) {
                self.state = State::Whole;
            }
        }
        if self.state == State::Whole && self.at != answer.body.len() {
            return Err(format!("{} bytes instead of {}", self.at, answer.body.len()));
        }
        Ok(self.state == State::Whole)
    }

    fn head(&mut self, bytes: &[u8], answer: &Answer) -> Result<usize, String> {
        let before = self.head.len();
        self.head.extend_from_slice(bytes);
        let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
        let mut head = httparse::Response::new(&mut headers);
        let length = match head.parse(&self.head) {
            Ok(httparse::Status::Complete(length)) => length,
            Ok(httparse::Status::Partial) => return Ok(bytes.len()),
            Err(error) => return Err(format!("head: {error}")),
        };
        if head.code != Some(200) {
            return Err(format!("status {}", head.code.unwrap_or_default()));
        }
        let value = |name: &str| {
            let field = head.headers.iter().find(|field| field.name.eq_ignore_ascii_case(name));
            field.and_then(|field| std::str::from_utf8(field.value).ok()).unwrap_or_default()
        };
        let kind = if answer.stream { "text/event-stream" } else { "application/json" };
        if !value("content-type").starts_with(kind) {
            return Err(format!("content type {:?}", value("content-type")));
        }
        self.state = match value("content-length").parse() {
            Ok(length) => State::Length(length),
            Err(_) if value("transfer-encoding") == "chunked" => State::Size(0),
            Err(_) => return Err("neither chunked nor with a length".to_owned()),
        };
        Ok(length - before)
    }

    fn framing(&mut self, byte: u8) -> Result<usize, String> {
        self.state = match (self.state, byte) {
            (state, b'\r') => state,
            (State::Size(0), b'\n') => State::Trailer,
            (State::Size(size), b'\n') => State::Chunk(size),
            (State::Size(size), _) => {
                let digit = char::from(byte).to_digit(16).ok_or("no size of a chunk")?;
                State::Size(size * 16 + digit as usize)
            }
            (State::ChunkEnd, b'\n') => State::Size(0),
            (State::Trailer, b'\n') => State::Whole,
            _ => return Err("bytes between chunks".to_owned()),
        };
        Ok(1)
    }

    fn body(
        &mut self,
        mut bytes: &[u8],
        answer: &Answer,
        event: &mut impl FnMut(Option<u64>),
    ) -> Result<(), String> {
        while !bytes.is_empty() {
            let Some(expected) = answer.events.get(self.events) else {
                return Err("bytes behind the last event".to_owned());
            };
            let (end, digits) = match &expected.stamp {
                Some(stamp) if self.at < stamp.start => (stamp.start, false),
                Some(stamp) if self.at < stamp.end => (stamp.end, true),
                _ => (expected.place.end, false),
            };
            let (some, rest) = bytes.split_at(bytes.len().min(end - self.at));
            if digits {
                self.digits(some)?;
            } else if some != &answer.body[self.at..self.at + some.len()] {
                return Err(format!("other bytes in event {}", self.events));
            }
            self.at += some.len();
            bytes = rest;
            if self.at == expected.place.end {
                self.events += 1;
                event(expected.stamp.as_ref().map(|_| std::mem::take(&mut self.stamp)));
            }
        }
        Ok(())
    }

    fn digits(&mut self, bytes: &[u8]) -> Result<(), String> {
        for &byte in bytes {
            let digit = char::from(byte).to_digit(10).ok_or("no digit in a stamp")?;
            self.stamp = self.stamp.wrapping_mul(10).wrapping_add(u64::from(digit));
        }
        Ok(())
    }
}

/// Any cut of an answer gives the same events; any other byte is seen; so is a byte too few or too
/// many.
pub(crate) fn check_itself() {
    let answer = Answer::stream(3, 20, true);
    let mut wire = answer.head.clone();
    for event in &answer.events {
        wire.extend_from_slice(format!("{:x}\r\n", event.place.len()).as_bytes());
        let start = wire.len();
        wire.extend_from_slice(&answer.body[event.place.clone()]);
        if let Some(stamp) = &event.stamp {
            let at = start + stamp.start - event.place.start;
            super::answer::stamp(&mut wire[at..at + stamp.len()], 12_345);
        }
        wire.extend_from_slice(b"\r\n");
    }
    wire.extend_from_slice(b"0\r\n\r\n");
    let read = |wire: &[u8], step: usize| {
        let (mut reader, mut stamps) = (Reader::default(), Vec::new());
        let mut whole = Ok(false);
        for piece in wire.chunks(step) {
            whole = reader.read(piece, &answer, &mut |stamp| stamps.push(stamp));
            if whole.is_err() {
                break;
            }
        }
        (whole, stamps)
    };
    let stamps: Vec<_> = answer.events.iter().map(|event| event.stamp.as_ref().map(|_| 12_345)).collect();
    for step in 1..wire.len() {
        assert_eq!(read(&wire, step), (Ok(true), stamps.clone()), "in pieces of {step}");
    }
    for at in answer.head.len()..wire.len() {
        let mut other = wire.clone();
        other[at] ^= 0x40;
        assert_ne!(read(&other, 100).0, Ok(true), "byte {at} is another");
    }
    assert_eq!(read(&wire[..wire.len() - 1], 100).0, Ok(false));
    assert!(read(&[&wire[..], b"x"].concat(), 100).0.is_err());
}
