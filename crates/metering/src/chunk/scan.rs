//! Reads a JSON document of any size, in any pieces, in constant memory. It shows the tokens that are asked
//! for and passes over the rest at the speed of memchr.

use memchr::memchr;

use super::json::{Text, is_scalar};

/// Levels that are shown to a sink that does not choose: `{"tools":[{"type":..}]}` is the deepest place that
/// is asked for in a request.
const DEPTH_SHOWN: usize = 3;

/// Levels that can be shown: as many as there are bits in [`JsonScanner::arrays`].
const DEPTH_MAX: usize = 31;

/// Bytes of a key, string or number that are shown. Names and numbers are shorter.
const TOKEN_BYTES_MAX: usize = 256;

/// A piece of a document, with the number of brackets open around it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JsonToken<'a> {
    /// An object or array begins.
    Open {
        /// It is an array.
        array: bool,
    },
    /// It ends.
    Close,
    /// A member's name, unescaped.
    Key(&'a [u8]),
    /// A string, unescaped; its first 256 bytes.
    Text(&'a [u8]),
    /// A number, `true`, `false` or `null`.
    Scalar(&'a [u8]),
}

/// Takes the tokens that a [`JsonScanner`] shows.
pub trait JsonSink {
    /// The next token.
    fn token(&mut self, depth: usize, token: JsonToken<'_>);

    /// Whether the object or array that has just been opened is shown from within. If not, it is passed
    /// over: its brackets are counted, and nothing else in it is checked.
    fn descends(&self, depth: usize) -> bool {
        depth < DEPTH_SHOWN
    }

    /// Whether the string that begins now is shown. If not, it is passed over.
    fn wants_text(&self) -> bool {
        true
    }

    /// More of a string that is a value and will be shown, as it is written: all of it comes, in pieces.
    fn text_bytes(&mut self, _depth: usize, _bytes: &[u8]) {}

    /// The object or array that was opened last is malformed here. Whether the rest of it is passed over:
    /// its brackets are counted. If not, nothing more of the document is shown.
    fn malformed(&mut self) -> bool {
        false
    }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum ScanState {
    #[default]
    Value,
    ValueOrClose,
    Key,
    KeyOrClose,
    Colon,
    AfterValue,
    Scalar,
    Text {
        key: bool,
        escape: bool,
    },
    /// In an object or array that is passed over.
    Deep,
    /// In a string that is passed over, there or by itself.
    DeepText {
        escape: bool,
    },
    End,
}

/// A reader at some point of a document.
#[derive(Clone, Debug, Default)]
pub struct JsonScanner {
    state: ScanState,
    depth: usize,
    /// Which of the open brackets are `[`: a bit for each, the outermost is bit 1.
    arrays: u32,
    /// Brackets that are open in the part that is passed over.
    deep: u32,
    token: Vec<u8>,
    malformed: bool,
}

impl JsonScanner {
    /// A string that is a value has begun, is not empty, and has not ended.
    pub(super) fn is_in_text(&self) -> bool {
        matches!(self.state, ScanState::Text { key: false, .. }) && !self.token.is_empty()
    }

    /// The document has ended where it may.
    pub fn complete(&self) -> bool {
        self.state == ScanState::End && !self.malformed
    }

    /// From here on another document is read.
    pub fn restart(&mut self) {
        let token = std::mem::take(&mut self.token);
        *self = JsonScanner { token, ..JsonScanner::default() };
    }

    /// The document is not a JSON object; nothing more is shown.
    pub fn is_malformed(&self) -> bool {
        self.malformed
    }

    /// Bytes that it holds on the heap now.
    pub(super) fn heap_bytes(&self) -> usize {
        self.token.capacity()
    }

    /// The next bytes of the document. Returns how many were read: all, unless it is malformed, and then
    /// those up to the byte that is.
    pub fn push(&mut self, bytes: &[u8], sink: &mut impl JsonSink) -> usize {
        let mut rest = bytes;
        while let Some((&first, tail)) = rest.split_first() {
            if self.malformed {
                break;
            }
            rest = match self.state {
                ScanState::Text { key, escape } => self.text(rest, key, escape, sink),
                ScanState::DeepText { escape } => self.deep_text(rest, escape),
                ScanState::Deep => self.deep(rest, sink),
                ScanState::Scalar => self.scalar(rest, sink),
                _ => {
                    if !matches!(first, b' ' | b'\n' | b'\r' | b'\t') {
                        self.structure(first, sink);
                    }
                    if self.malformed && self.passes_over(first, sink) { rest } else { tail }
                }
            };
        }
        bytes.len() - rest.len()
    }

    fn structure(&mut self, byte: u8, sink: &mut impl JsonSink) {
        match (self.state, byte) {
            // Bodies are objects.
            (ScanState::Value, byte) if self.depth == 0 && byte != b'{' => self.malformed = true,
            (ScanState::Value | ScanState::ValueOrClose, b'{' | b'[') => self.open(byte == b'[', sink),
            (ScanState::Value | ScanState::ValueOrClose, b'"') if !sink.wants_text() => {
                self.state = ScanState::DeepText { escape: false };
            }
            (ScanState::Value | ScanState::ValueOrClose, b'"') => {
                self.token.clear();
                self.state = ScanState::Text { key: false, escape: false };
            }
            (ScanState::Key | ScanState::KeyOrClose, b'"') => {
                self.token.clear();
                self.state = ScanState::Text { key: true, escape: false };
            }
            (ScanState::Colon, b':') => self.state = ScanState::Value,
            (ScanState::AfterValue, b',') => {
                self.state = if self.in_array() { ScanState::Value } else { ScanState::Key };
            }
            (ScanState::AfterValue | ScanState::KeyOrClose, b'}') if !self.in_array() => self.close(sink),
            (ScanState::AfterValue | ScanState::ValueOrClose, b']') if self.in_array() => self.close(sink),
            (ScanState::Value | ScanState::ValueOrClose, byte) if is_scalar(byte) => {
                self.token.clear();
                self.token.push(byte);
                self.state = ScanState::Scalar;
            }
            _ => self.malformed = true,
        }
    }

    fn open(&mut self, array: bool, sink: &mut impl JsonSink) {
        sink.token(self.depth, JsonToken::Open { array });
        if self.depth == DEPTH_MAX || !sink.descends(self.depth) {
            self.deep = 1;
            self.state = ScanState::Deep;
        } else {
            self.depth += 1;
            let bit = 1 << self.depth;
            self.arrays = if array { self.arrays | bit } else { self.arrays & !bit };
            self.state = if array { ScanState::ValueOrClose } else { ScanState::KeyOrClose };
        }
    }

    fn close(&mut self, sink: &mut impl JsonSink) {
        self.depth -= 1;
        sink.token(self.depth, JsonToken::Close);
        self.after_value();
    }

    /// The malformed part stands within the document, and the reader of it can do without: from this byte
    /// on only brackets count, as for whoever passes over all of the value.
    fn passes_over(&mut self, byte: u8, sink: &mut impl JsonSink) -> bool {
        let closes_another = matches!(byte, b'}' | b']') && self.in_array() != (byte == b']');
        if self.depth < 2 || closes_another || !sink.malformed() {
            return false;
        }
        self.malformed = false;
        self.depth -= 1;
        self.deep = 1;
        self.state = ScanState::Deep;
        true
    }

    fn in_array(&self) -> bool {
        self.arrays >> self.depth & 1 == 1
    }

    fn after_value(&mut self) {
        self.state = if self.depth == 0 { ScanState::End } else { ScanState::AfterValue };
    }

    fn scalar<'b>(&mut self, bytes: &'b [u8], sink: &mut impl JsonSink) -> &'b [u8] {
        let end = bytes.iter().position(|byte| !is_scalar(*byte)).unwrap_or(bytes.len());
        self.keep(&bytes[..end]);
        if end < bytes.len() {
            sink.token(self.depth, JsonToken::Scalar(&self.token));
            self.after_value();
        }
        &bytes[end..]
    }

    fn text<'b>(&mut self, bytes: &'b [u8], key: bool, escape: bool, sink: &mut impl JsonSink) -> &'b [u8] {
        let end = match closing_quote(bytes, escape) {
            Ok(end) => end,
            Err(escape) => {
                self.keep(bytes);
                if !key {
                    sink.text_bytes(self.depth, bytes);
                }
                self.state = ScanState::Text { key, escape };
                return &[];
            }
        };
        if !key {
            sink.text_bytes(self.depth, &bytes[..end]);
        }
        let token = if self.token.is_empty() {
            &bytes[..end.min(TOKEN_BYTES_MAX)] // all of it is here: nothing is copied
        } else {
            self.keep(&bytes[..end]);
            &self.token
        };
        let text = Text::between_quotes(token).key();
        sink.token(self.depth, if key { JsonToken::Key(&text) } else { JsonToken::Text(&text) });
        if key {
            self.state = ScanState::Colon;
        } else {
            self.after_value();
        }
        &bytes[end + 1..]
    }

    fn deep<'b>(&mut self, bytes: &'b [u8], sink: &mut impl JsonSink) -> &'b [u8] {
        let mark = |byte: &u8| matches!(byte, b'"' | b'{' | b'}' | b'[' | b']');
        let Some(at) = bytes.iter().position(mark) else { return &[] };
        match bytes[at] {
            b'"' => self.state = ScanState::DeepText { escape: false },
            b'{' | b'[' => self.deep = self.deep.saturating_add(1),
            _ => self.deep -= 1,
        }
        if self.deep == 0 {
            sink.token(self.depth, JsonToken::Close);
            self.after_value();
        }
        &bytes[at + 1..]
    }

    fn deep_text<'b>(&mut self, bytes: &'b [u8], escape: bool) -> &'b [u8] {
        match closing_quote(bytes, escape) {
            Ok(end) => {
                if self.deep > 0 {
                    self.state = ScanState::Deep;
                } else {
                    self.after_value();
                }
                &bytes[end + 1..]
            }
            Err(escape) => {
                self.state = ScanState::DeepText { escape };
                &[]
            }
        }
    }

    fn keep(&mut self, bytes: &[u8]) {
        let room = TOKEN_BYTES_MAX - self.token.len();
        self.token.extend_from_slice(&bytes[..bytes.len().min(room)]);
        debug_assert!(self.token.len() <= TOKEN_BYTES_MAX && self.depth <= DEPTH_MAX, "memory is constant");
    }
}

/// Where a string ends whose next bytes these are; `escape`: they begin behind an odd number of
/// backslashes. If it does not end here: whether the bytes behind these do.
///
/// Text is full of `\n` and has few quotes, so only quotes are looked for, and for each the backslashes
/// before it are counted. None is counted twice: a quote ends every run.
pub(super) fn closing_quote(bytes: &[u8], escape: bool) -> Result<usize, bool> {
    // Bytes from `from` on are looked at; `odd`: those before it ended in an odd number of backslashes.
    let (mut from, mut odd) = (0, escape);
    loop {
        let rest = &bytes[from..];
        let quote = memchr(b'"', rest);
        let before = &rest[..quote.unwrap_or(rest.len())];
        let run = before.iter().rev().take_while(|byte| **byte == b'\\').count();
        let escaped = (run % 2 == 1) ^ (odd && run == before.len());
        match quote {
            None => return Err(escaped),
            Some(at) if !escaped => return Ok(from + at),
            Some(at) => (from, odd) = (from + at + 1, false),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[derive(Default)]
    struct Log(String);

    impl JsonSink for Log {
        fn token(&mut self, depth: usize, token: JsonToken<'_>) {
            let text = match token {
                JsonToken::Open { array: true } => "[".to_owned(),
                JsonToken::Open { array: false } => "{".to_owned(),
                JsonToken::Close => "close".to_owned(),
                JsonToken::Key(key) => format!("{}:", String::from_utf8_lossy(key)),
                JsonToken::Text(text) => format!("'{}'", String::from_utf8_lossy(text)),
                JsonToken::Scalar(scalar) => String::from_utf8_lossy(scalar).into_owned(),
            };
            self.0.push_str(&format!("{depth}{text} "));
        }
    }

    /// The tokens that are shown, and whether the document was complete.
    fn scan<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> (String, bool) {
        let (mut scanner, mut log) = (JsonScanner::default(), Log::default());
        pieces.into_iter().for_each(|piece| _ = scanner.push(piece, &mut log));
        (log.0, scanner.complete())
    }

    #[test]
    fn three_levels_are_shown() {
        let json = br#" {"a":1,"b":[{"type":"x","deep":{"a":["]}\""]}},true],"c":{},"d":"\u00e9\n"} "#;
        let expected = "0{ 1a: 11 1b: 1[ 2{ 3type: 3'x' 3deep: 3{ 3close 2close 2true 1close 1c: 1{ 1close 1d: 1'é\n' 0close ";
        assert_eq!(scan([&json[..]]), (expected.to_owned(), true));
    }

    #[test]
    fn what_is_no_json_is_not_complete() {
        for json in ["", "{", "{]", "[}", "{\"a\" 1}", "{\"a\":1,}x", "{}x", "{\"a\":[1,2}"] {
            assert!(!scan([json.as_bytes()]).1, "{json}");
        }
    }

    /// As [`closing_quote`], byte by byte.
    fn closing_quote_slowly(bytes: &[u8], mut escape: bool) -> Result<usize, bool> {
        for (at, byte) in bytes.iter().enumerate() {
            match byte {
                _ if escape => escape = false,
                b'\\' => escape = true,
                b'"' => return Ok(at),
                _ => {}
            }
        }
        Err(escape)
    }

    proptest! {
        #[test]
        fn a_string_ends_where_its_first_bare_quote_stands(
            words in prop::collection::vec(prop::sample::select(vec!["\\", "\\\\", "\"", "n", "text "]), 0..20),
            escape in any::<bool>(),
        ) {
            let text = words.concat();
            prop_assert_eq!(closing_quote(text.as_bytes(), escape), closing_quote_slowly(text.as_bytes(), escape));
        }

        #[test]
        fn splits_do_not_matter(
            words in prop::collection::vec(
                prop::sample::select(vec!["{", "}", "[", "]", ":", ",", "\"a\"", "\"\\\"", "\"", "\\", " ", "12", "true", "x"]),
                0..60,
            ),
            size in 1_usize..5,
        ) {
            let text = words.concat();
            prop_assert_eq!(scan([text.as_bytes()]), scan(text.as_bytes().chunks(size)));
        }
    }
}
