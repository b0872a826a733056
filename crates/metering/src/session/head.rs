//! The members of a message of the Responses API that say what it is and whose it is, wherever they stand in it.

use smol_str::SmolStr;

use crate::api::last_event;
use crate::chunk::{JsonScanner, JsonSink, JsonToken};

/// Longest name of a stream that is told apart.
const STREAM_ID_BYTES_MAX: usize = 128;

/// The kind of a message.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum MessageKind {
    /// The caller asks for a response.
    Request,
    /// A response has begun.
    Created,
    /// More of a response.
    More,
    /// A response has ended, in whatever way.
    Ended,
    Error,
    /// Nothing that matters, or not known yet.
    #[default]
    Other,
}

/// The members of one message.
#[derive(Clone, Debug, Default)]
pub(super) struct HeadMembers {
    pub(super) kind: MessageKind,
    /// Tells responses apart that run at the same time.
    pub(super) stream_id: Option<SmolStr>,
    /// It has a place in the events of a response.
    pub(super) is_numbered: bool,
    /// The status that an error would have by HTTP.
    pub(super) status: Option<u16>,
    member: Member,
}

/// A message, as far as it has come.
#[derive(Debug, Default)]
pub(super) struct MessageHead {
    scanner: JsonScanner,
    pub(super) members: HeadMembers,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Member {
    Type,
    StreamId,
    SequenceNumber,
    Status,
    #[default]
    Other,
}

impl MessageHead {
    /// More of the message.
    pub(super) fn push(&mut self, text: &[u8]) {
        self.scanner.push(text, &mut self.members);
    }

    /// All of the message has come, and it is an object.
    pub(super) fn is_complete(&self) -> bool {
        self.scanner.complete()
    }

    /// Takes what was found; another message follows.
    pub(super) fn take(&mut self) -> HeadMembers {
        self.scanner.restart();
        std::mem::take(&mut self.members)
    }
}

impl JsonSink for HeadMembers {
    fn token(&mut self, depth: usize, token: JsonToken<'_>) {
        match (token, self.member) {
            (JsonToken::Key(key), _) => {
                self.member = match key {
                    b"type" => Member::Type,
                    b"stream_id" => Member::StreamId,
                    b"sequence_number" => Member::SequenceNumber,
                    b"status" => Member::Status,
                    _ => Member::Other,
                };
            }
            (_, _) if depth != 1 => {}
            (JsonToken::Text(text), Member::Type) => self.kind = kind(text),
            (JsonToken::Text(text), Member::StreamId) if text.len() <= STREAM_ID_BYTES_MAX => {
                self.stream_id = Some(String::from_utf8_lossy(text).into());
            }
            (JsonToken::Scalar(digits), Member::SequenceNumber) => {
                self.is_numbered = digits.first().is_some_and(u8::is_ascii_digit);
            }
            (JsonToken::Scalar(digits), Member::Status) => {
                self.status = str::from_utf8(digits).ok().and_then(|digits| digits.parse().ok());
            }
            _ => {}
        }
    }

    fn descends(&self, depth: usize) -> bool {
        depth == 0
    }

    fn wants_text(&self) -> bool {
        matches!(self.member, Member::Type | Member::StreamId)
    }
}

fn kind(name: &[u8]) -> MessageKind {
    match name {
        b"response.create" => MessageKind::Request,
        b"response.created" => MessageKind::Created,
        b"error" => MessageKind::Error,
        name if !name.starts_with(b"response.") => MessageKind::Other,
        name if last_event(name).is_some() => MessageKind::Ended,
        _ => MessageKind::More,
    }
}
