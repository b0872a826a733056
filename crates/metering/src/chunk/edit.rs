//! Makes a request ask for usage, which is the only edit of a request.
//!
//! [`Inspection`] reads a body as it arrives and says whether it asks for a stream, and where a few
//! bytes must be put for the response to carry usage. All other bytes stay what and where they are.
//! It is strict where [`super::JsonScanner`] is tolerant: a body that readers of JSON could read in
//! different ways gets no edit, so that none of them sees another request than the caller wrote.

use bytes::Bytes;
use smol_str::SmolStr;

use super::json::{Text, is_scalar};

/// Bytes of a key, a number or the model's name that are looked at. `stream_options` has 84 when
/// each character is escaped; what is longer is no name that we know.
const TOKEN_BYTES_MAX: usize = 128;

/// Brackets that may be open at once: what fits a `u128`. serde_json has the same limit.
const DEPTH_MAX: u32 = 127;

/// Bytes to be put into a body, in the place of a `null` or `false` or of nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Edit {
    /// Where.
    pub at: usize,
    /// How many bytes are taken out there: none, or those of `null` or `false`.
    pub cut: usize,
    /// The bytes that are put there.
    pub insert: &'static str,
}

impl Edit {
    /// The edited body. Nothing is copied: pieces are split.
    pub fn apply(&self, pieces: &[Bytes]) -> Vec<Bytes> {
        let mut edited = Vec::with_capacity(pieces.len() + 2);
        let (mut start, mut inserted) = (0, false);
        for piece in pieces {
            let end = start + piece.len();
            let place = |at: usize| at.clamp(start, end) - start;
            let (before, behind) = (piece.slice(..place(self.at)), piece.slice(place(self.at + self.cut)..));
            edited.push(before);
            if !inserted && self.at <= end {
                inserted = true;
                edited.push(Bytes::from_static(self.insert.as_bytes()));
            }
            edited.push(behind);
            start = end;
        }
        edited.retain(|piece| !piece.is_empty());
        edited
    }
}

/// The members of a request that concern streams.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Inspected {
    /// The body is one JSON object and nothing else.
    pub readable: bool,
    /// It has a `stream` that is neither `false` nor `null`: not the way to say no to a stream.
    pub may_stream: bool,
    /// `data_sources` is there: with them the service takes no `stream_options`.
    pub data_sources: bool,
    /// There is an image in it.
    pub images: bool,
    /// `model`
    pub model: Option<SmolStr>,
    /// The edit that makes it ask for usage: only if it is a stream for certain that does not ask yet.
    ///
    /// A caller that says `false` says what is the default, so it is edited like one that says nothing:
    /// it gets no usage either way, since the event that carries it is taken out of the response.
    pub edit: Option<Edit>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum EditState {
    #[default]
    Value,
    FirstValue,
    Key,
    FirstKey,
    Colon,
    AfterValue,
    Text,
    Escape,
    Hex(u8),
    Scalar,
    End,
    Bad,
}

/// The keys that matter.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum InspectedKey {
    Stream,
    /// Keys that some reader takes for it: in another case, or with what a reader trims or stops at.
    StreamAlike,
    StreamOptions,
    DataSources,
    Model,
    #[default]
    Other,
}

/// A member that may be there once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum OnceMember {
    #[default]
    Absent,
    /// `true`
    True,
    /// `false` or `null`, from here to there.
    No(usize, usize),
    /// An object whose brace closes here; whether it has members.
    Object(usize, bool),
}

/// Reads a request's body, in any pieces and in constant memory.
#[derive(Debug, Default)]
pub struct Inspection {
    state: EditState,
    /// The text that is being read is a key.
    in_key: bool,
    depth: u32,
    /// Which of the open brackets are `[`, the innermost lowest.
    arrays: u128,
    at: usize,
    token: Vec<u8>,
    token_at: usize,
    key: InspectedKey,
    /// The key within `stream_options` is `include_usage`.
    inner: bool,
    /// The last bracket that opened has had a member.
    has_members: bool,
    stream: OnceMember,
    options: OnceMember,
    include: OnceMember,
    end: usize,
    /// A key that matters came twice, or has a value that it cannot have.
    odd: bool,
    found: Inspected,
}

impl Inspection {
    /// The next bytes of the body.
    pub fn push(&mut self, bytes: &[u8]) {
        let mut rest = bytes;
        while let Some((&byte, tail)) = rest.split_first() {
            if self.state == EditState::Text {
                let run = rest.iter().position(|byte| matches!(byte, b'"' | b'\\' | 0..0x20));
                let run = run.unwrap_or(rest.len());
                self.keep(&rest[..run]);
                self.at += run;
                rest = &rest[run..];
                if let Some((&byte, tail)) = rest.split_first() {
                    self.in_text(byte);
                    self.at += 1;
                    rest = tail;
                }
                continue;
            }
            match self.state {
                EditState::Bad => return,
                EditState::Escape | EditState::Hex(_) => self.in_escape(byte),
                EditState::Scalar if is_scalar(byte) => self.keep(&[byte]),
                EditState::Scalar => {
                    self.scalar_ends();
                    continue; // the byte is still to be read
                }
                _ if matches!(byte, b' ' | b'\t' | b'\n' | b'\r') => {}
                _ => self.structure(byte),
            }
            self.at += 1;
            rest = tail;
        }
    }

    /// The body is whole.
    pub fn finish(mut self) -> Inspected {
        self.found.readable = self.state == EditState::End;
        if self.found.readable && !self.odd && self.stream == OnceMember::True && !self.found.data_sources {
            self.found.edit = self.edit();
        }
        self.found
    }

    fn edit(&self) -> Option<Edit> {
        const MEMBER: &str = r#","stream_options":{"include_usage":true}"#;
        let edit = |at, cut, insert| Some(Edit { at, cut, insert });
        match (self.options, self.include) {
            // A body that says `stream` has a member before its end.
            (OnceMember::Absent, _) => edit(self.end, 0, MEMBER),
            (OnceMember::No(from, to), _) => edit(from, to - from, r#"{"include_usage":true}"#),
            (OnceMember::Object(close, false), _) => edit(close, 0, r#""include_usage":true"#),
            (OnceMember::Object(close, true), OnceMember::Absent) => {
                edit(close, 0, r#","include_usage":true"#)
            }
            (OnceMember::Object(..), OnceMember::No(from, to)) => edit(from, to - from, "true"),
            (OnceMember::Object(..) | OnceMember::True, _) => None,
        }
    }

    fn structure(&mut self, byte: u8) {
        let array = self.arrays & 1 == 1;
        match (self.state, byte) {
            (EditState::Value, byte) if self.depth == 0 && byte != b'{' => self.state = EditState::Bad,
            (EditState::Value | EditState::FirstValue, b'{' | b'[') => self.open(byte == b'['),
            (EditState::Value | EditState::FirstValue, b'"') => self.text(false),
            (EditState::Key | EditState::FirstKey, b'"') => self.text(true),
            (EditState::Colon, b':') => self.state = EditState::Value,
            (EditState::AfterValue, b',') => {
                self.state = if array { EditState::Value } else { EditState::Key }
            }
            (EditState::AfterValue | EditState::FirstKey, b'}') if !array => self.close(),
            (EditState::AfterValue | EditState::FirstValue, b']') if array => self.close(),
            (EditState::Value | EditState::FirstValue, byte) if is_scalar(byte) => {
                self.token.clear();
                self.token.push(byte);
                self.token_at = self.at;
                self.state = EditState::Scalar;
            }
            _ => self.state = EditState::Bad,
        }
    }

    fn open(&mut self, array: bool) {
        if self.depth == DEPTH_MAX {
            self.state = EditState::Bad;
            return;
        }
        match (self.depth, self.key) {
            (1, InspectedKey::StreamOptions) => self.odd |= array,
            (1, InspectedKey::Stream) => (self.odd, self.found.may_stream) = (true, true),
            (1, InspectedKey::StreamAlike) => self.found.may_stream = true,
            (1, InspectedKey::DataSources) => self.found.data_sources = true,
            (2, InspectedKey::StreamOptions) if self.inner => self.odd = true,
            _ => {}
        }
        self.depth += 1;
        self.arrays = self.arrays << 1 | u128::from(array);
        self.state = if array { EditState::FirstValue } else { EditState::FirstKey };
        self.has_members = false;
    }

    fn close(&mut self) {
        self.depth -= 1;
        self.arrays >>= 1;
        if self.depth == 0 {
            self.end = self.at;
            self.state = EditState::End;
            return;
        }
        if self.depth == 1 && self.key == InspectedKey::StreamOptions {
            self.options = OnceMember::Object(self.at, self.has_members);
        }
        self.has_members = true;
        self.state = EditState::AfterValue;
    }

    fn text(&mut self, key: bool) {
        self.token.clear();
        self.in_key = key;
        self.state = EditState::Text;
    }

    fn in_text(&mut self, byte: u8) {
        match byte {
            b'\\' => {
                self.keep(b"\\");
                self.state = EditState::Escape;
            }
            b'"' if self.in_key => {
                self.key_ends();
                self.state = EditState::Colon;
            }
            b'"' => {
                self.value_ends(false);
                self.state = EditState::AfterValue;
            }
            _ => self.state = EditState::Bad, // a control character
        }
    }

    fn in_escape(&mut self, byte: u8) {
        self.keep(&[byte]);
        self.state = match (self.state, byte) {
            (EditState::Escape, b'u') => EditState::Hex(4),
            (EditState::Escape, b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => EditState::Text,
            (EditState::Hex(1), byte) if byte.is_ascii_hexdigit() => EditState::Text,
            (EditState::Hex(left), byte) if byte.is_ascii_hexdigit() => EditState::Hex(left - 1),
            _ => EditState::Bad,
        };
    }

    /// The name of a member, on whatever level.
    fn key_ends(&mut self) {
        let name = Text::between_quotes(&self.token).key();
        self.found.images |= *name == *b"image_url";
        self.has_members = true;
        match self.depth {
            1 => {
                let (key, again) = match &*name {
                    b"stream" => (InspectedKey::Stream, self.stream != OnceMember::Absent),
                    b"stream_options" => (InspectedKey::StreamOptions, self.options != OnceMember::Absent),
                    b"data_sources" => (InspectedKey::DataSources, false),
                    b"model" => (InspectedKey::Model, false),
                    name if is_alike(name, b"stream") => (InspectedKey::StreamAlike, false),
                    _ => (InspectedKey::Other, false),
                };
                self.key = key;
                self.odd |= again;
            }
            2 if self.key == InspectedKey::StreamOptions => {
                self.inner = *name == *b"include_usage";
                self.odd |= self.inner && self.include != OnceMember::Absent;
            }
            _ => {}
        }
    }

    fn scalar_ends(&mut self) {
        let valid = serde_json::from_slice::<serde::de::IgnoredAny>(&self.token).is_ok();
        if !valid || self.token.len() == TOKEN_BYTES_MAX {
            self.state = EditState::Bad;
            return;
        }
        self.value_ends(true);
        self.state = EditState::AfterValue;
    }

    /// A text, or a scalar, that is a value.
    fn value_ends(&mut self, scalar: bool) {
        self.has_members = true;
        let value = match (scalar, &self.token[..]) {
            (true, b"true") => Some(OnceMember::True),
            (true, b"false" | b"null") => Some(OnceMember::No(self.token_at, self.at)),
            _ => None,
        };
        match (self.depth, self.key) {
            (1, InspectedKey::Stream) => {
                self.stream = value.unwrap_or_default();
                self.odd |= value.is_none();
                self.found.may_stream |= !matches!(value, Some(OnceMember::No(..)));
            }
            (1, InspectedKey::StreamAlike) => {
                self.found.may_stream |= !matches!(value, Some(OnceMember::No(..)))
            }
            (1, InspectedKey::StreamOptions) => {
                // Only `null` says the same as nothing.
                self.odd |= !scalar || self.token != b"null";
                self.options = value.unwrap_or_default();
            }
            (1, InspectedKey::DataSources) => self.found.data_sources |= !scalar || self.token != b"null",
            (1, InspectedKey::Model) if !scalar && self.token.len() < TOKEN_BYTES_MAX => {
                self.found.model = Some(Text::between_quotes(&self.token).lossy().into());
            }
            (2, InspectedKey::StreamOptions) if self.inner => {
                self.include = value.unwrap_or_default();
                self.odd |= value.is_none();
            }
            _ => {}
        }
    }

    fn keep(&mut self, bytes: &[u8]) {
        let room = TOKEN_BYTES_MAX - self.token.len();
        self.token.extend_from_slice(&bytes[..bytes.len().min(room)]);
    }
}

/// A lenient reader (of C, .NET or Go) may take the one name for the other.
fn is_alike(name: &[u8], known: &[u8]) -> bool {
    let ends = name.iter().position(|byte| *byte == 0).unwrap_or(name.len());
    name[..ends].trim_ascii().eq_ignore_ascii_case(known)
}

/// The edit that makes a body ask for usage, if there is one.
pub fn edit(body: &[u8]) -> Option<Edit> {
    let mut inspection = Inspection::default();
    inspection.push(body);
    inspection.finish().edit
}

#[cfg(test)]
mod tests;
