//! Takes the one event with the usage out of a stream whose caller did not ask for it.
//!
//! It has a `usage` that is an object, and `choices` that say nothing: none, `null`, or such as hold an
//! empty delta or the results of filters. Text, a reason to finish, a role: with any of those in it the
//! event goes on, usage and all. It is removed as a whole, from its first field to the blank line that
//! ends it; all other bytes go on as they came. An event that arrives in pieces waits only as long as it
//! may be the one: until a choice that says something, a `usage` that is no object, an error, or its own
//! end.

use std::mem;

use bytes::{Bytes, BytesMut};
use memchr::memchr2;

use super::scan::{JsonScanner, JsonSink, JsonToken};

/// The longest event that is taken out. Real ones have some 700 bytes; one that is longer goes on.
const EVENT_BYTES_MAX: usize = 16 * 1024;

const BOM: &[u8] = b"\xEF\xBB\xBF";

/// The fields of an event. Anything else, and a comment too, is not worth waiting for.
const FIELDS: [&[u8]; 4] = [b"data", b"event", b"id", b"retry"];

/// The filter of one stream.
#[derive(Debug, Default)]
pub struct HideUsage {
    /// The event was taken out: there is only one.
    done: bool,
    /// It ended in CR: an LF that follows went with it.
    eat_lf: bool,
    /// Bytes of a byte order mark seen; all of them once it can be none.
    bom: usize,
    /// The last line ended in CR: an LF that follows belongs to it.
    after_cr: bool,
    event: EventState,
    line: LineState,
    /// The event so far, of earlier pieces.
    held: BytesMut,
    document: EventDocument,
}

/// The knowledge about the event that is being read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum EventState {
    /// It has not begun: comments and blank lines pass.
    #[default]
    Between,
    /// It may be the one.
    Maybe,
    /// It is not.
    Other,
}

/// The knowledge about the line that is being read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum LineState {
    #[default]
    Empty,
    /// So many bytes of the name of this field.
    Field(&'static [u8], usize),
    Data,
    /// Nothing that is looked at.
    Passed,
}

impl HideUsage {
    /// The next bytes of the stream. `out` gets what goes on, in order.
    pub fn push(&mut self, piece: &Bytes, mut out: impl FnMut(Bytes)) {
        let mut out = |bytes: Bytes| {
            if !bytes.is_empty() {
                out(bytes)
            }
        };
        // Where what is still to go on begins, and the event that is being read.
        let (mut start, mut begin, mut at) = (0, 0, 0);
        while at < piece.len() && !self.done {
            let was_between = self.event == EventState::Between;
            let (bytes, event_ends) = self.step(&piece[at..]);
            if was_between && self.event != EventState::Between {
                begin = at;
            }
            at += bytes;
            if self.event == EventState::Maybe && self.held.len() + at - begin > EVENT_BYTES_MAX {
                self.event = EventState::Other;
            }
            if event_ends {
                if self.event == EventState::Maybe && self.document.is_usage() {
                    out(piece.slice(start..begin));
                    (self.held, self.done, self.eat_lf) = (BytesMut::new(), true, self.after_cr);
                    start = at;
                }
                self.event = EventState::Between;
                self.document.restart();
            }
            if self.event != EventState::Maybe && !self.held.is_empty() {
                out(mem::take(&mut self.held).freeze());
            }
        }
        if self.eat_lf && start < piece.len() {
            self.eat_lf = false;
            start += usize::from(piece[start] == b'\n');
        }
        let end = if self.event == EventState::Maybe { begin } else { piece.len() };
        out(piece.slice(start.min(end)..end));
        self.held.extend_from_slice(&piece[end..]);
        debug_assert!(self.held.len() <= EVENT_BYTES_MAX, "one bounded event waits");
        debug_assert!(!self.done || self.held.is_empty(), "nothing waits behind the event");
    }

    /// The stream has ended, or broken: what was held goes on, since it is no whole event.
    pub fn finish(&mut self) -> Bytes {
        self.event = EventState::Other;
        mem::take(&mut self.held).freeze()
    }

    /// Reads one byte, or more of the same. Returns how many, and whether an event ends with them.
    fn step(&mut self, bytes: &[u8]) -> (usize, bool) {
        let byte = bytes[0];
        if self.bom < BOM.len() {
            if byte == BOM[self.bom] {
                self.bom += 1;
                return (1, false);
            }
            if mem::replace(&mut self.bom, BOM.len()) > 0 {
                (self.event, self.line) = (EventState::Other, LineState::Passed);
            }
        }
        if mem::take(&mut self.after_cr) && byte == b'\n' {
            return (1, false);
        }
        if matches!(byte, b'\r' | b'\n') {
            self.after_cr = byte == b'\r';
            let line = mem::take(&mut self.line);
            if line == LineState::Data {
                self.data(b"\n");
            }
            return (1, line == LineState::Empty);
        }
        match self.line {
            LineState::Empty => self.line_begins(byte),
            LineState::Field(name, seen) => self.line = self.field(name, seen, byte),
            LineState::Data | LineState::Passed => {
                let run = memchr2(b'\r', b'\n', bytes).unwrap_or(bytes.len());
                if self.line == LineState::Data {
                    self.data(&bytes[..run]);
                }
                return (run, false);
            }
        }
        (1, false)
    }

    fn line_begins(&mut self, byte: u8) {
        if byte == b':' {
            self.line = LineState::Passed; // a comment, which begins no event
            return;
        }
        if self.event == EventState::Between {
            self.event = EventState::Maybe;
        }
        let field = FIELDS.into_iter().find(|name| name[0] == byte);
        self.line = field.map_or_else(|| self.other_line(), |name| LineState::Field(name, 1));
    }

    fn field(&mut self, name: &'static [u8], seen: usize, byte: u8) -> LineState {
        match name.get(seen) {
            Some(&next) if next == byte => LineState::Field(name, seen + 1),
            None if byte == b':' && name == b"data" => LineState::Data,
            None if byte == b':' => LineState::Passed,
            _ => self.other_line(),
        }
    }

    fn other_line(&mut self) -> LineState {
        self.event = EventState::Other;
        LineState::Passed
    }

    fn data(&mut self, bytes: &[u8]) {
        if self.event == EventState::Maybe {
            self.document.push(bytes);
            if self.document.is_other() {
                self.event = EventState::Other;
            }
        }
    }
}

/// Levels of an event that are looked at: `{"choices":[{"delta":{"content":..}}]}`.
const DEPTH_SHOWN: usize = 4;

/// The JSON of an event.
#[derive(Debug, Default)]
struct EventDocument {
    scanner: JsonScanner,
    finds: Finds,
}

/// The findings in its JSON.
#[derive(Debug, Default)]
struct Finds {
    /// The names that lead to where it is read.
    key: TopKey,
    part: ChoiceKey,
    member: DeltaKey,
    /// There are `choices`, and they say nothing so far.
    choices: bool,
    /// `usage` is an object.
    usage: bool,
    /// It says something that the event with the usage does not.
    other: bool,
}

/// A name on the top level.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum TopKey {
    Choices,
    Usage,
    #[default]
    Other,
}

/// A name within a choice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum ChoiceKey {
    /// The text of the model: an object of members, each of which may be empty.
    Delta,
    /// The same in the older completions, which have a text.
    Text,
    /// Which of the choices, and what filters say of it: nothing of the response.
    Beside,
    /// `finish_reason`, and whatever we do not know: it says something unless it is `null`.
    #[default]
    Other,
}

/// A name within a delta.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum DeltaKey {
    /// A text that is empty says nothing.
    Text,
    #[default]
    Other,
}

impl EventDocument {
    fn push(&mut self, bytes: &[u8]) {
        self.scanner.push(bytes, &mut self.finds);
        self.finds.other |= self.finds.is_answer() && self.scanner.is_in_text();
    }

    fn is_usage(&self) -> bool {
        self.scanner.complete() && self.finds.choices && self.finds.usage && !self.finds.other
    }

    fn is_other(&self) -> bool {
        self.finds.other || self.scanner.is_malformed()
    }

    fn restart(&mut self) {
        self.scanner.restart();
        self.finds = Finds::default();
    }
}

impl Finds {
    /// A text here is one that the caller is waiting for.
    fn is_answer(&self) -> bool {
        self.key == TopKey::Choices && self.part != ChoiceKey::Beside
    }

    /// A value on the top level.
    fn top(&mut self, token: JsonToken<'_>) {
        match self.key {
            _ if token == JsonToken::Close => {}
            TopKey::Choices => {
                self.choices = matches!(token, JsonToken::Open { array: true } | JsonToken::Scalar(b"null"));
                self.other |= !self.choices;
            }
            TopKey::Usage => {
                self.usage = token == (JsonToken::Open { array: false });
                self.other |= !self.usage;
            }
            TopKey::Other => {}
        }
    }

    /// A value within a choice, or the choice's own bracket.
    fn choice(&mut self, depth: usize, token: JsonToken<'_>) {
        let nothing = match (depth, self.part, self.member, token) {
            (_, _, _, JsonToken::Close | JsonToken::Scalar(b"null")) => true,
            (2, _, _, token) => token == (JsonToken::Open { array: false }),
            (_, ChoiceKey::Beside, _, _) => true,
            (3, ChoiceKey::Delta, _, token) => token == (JsonToken::Open { array: false }),
            (3, ChoiceKey::Text, _, JsonToken::Text(text)) => text.is_empty(),
            (4, ChoiceKey::Delta, DeltaKey::Text, JsonToken::Text(text)) => text.is_empty(),
            _ => false,
        };
        self.other |= !nothing;
    }
}

impl JsonSink for Finds {
    fn token(&mut self, depth: usize, token: JsonToken<'_>) {
        match (depth, token) {
            (1, JsonToken::Key(key)) => {
                self.key = match key {
                    b"choices" => TopKey::Choices,
                    b"usage" => TopKey::Usage,
                    _ => TopKey::Other,
                };
                self.other |= key == b"error"; // it is for the caller
            }
            (1, token) => self.top(token),
            (_, _) if self.key != TopKey::Choices => {}
            (3, JsonToken::Key(key)) => {
                self.part = match key {
                    b"delta" => ChoiceKey::Delta,
                    b"text" => ChoiceKey::Text,
                    b"index"
                    | b"content_filter_result"
                    | b"content_filter_results"
                    | b"content_filter_offsets" => ChoiceKey::Beside,
                    _ => ChoiceKey::Other,
                };
            }
            (4, JsonToken::Key(key)) => {
                self.member = match key {
                    b"content" | b"refusal" | b"reasoning_content" => DeltaKey::Text,
                    _ => DeltaKey::Other,
                };
            }
            (depth, token) => self.choice(depth, token),
        }
    }

    fn descends(&self, depth: usize) -> bool {
        depth == 0 || (self.key == TopKey::Choices && depth < DEPTH_SHOWN)
    }
}

/// An event of this data is one that is taken out, if it is the first.
pub fn is_usage_event(data: &[u8]) -> bool {
    let mut document = EventDocument::default();
    document.push(data);
    data.len() <= EVENT_BYTES_MAX && document.is_usage()
}

#[cfg(test)]
mod tests;
