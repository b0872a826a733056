//! A JSON document that is held to be read as a whole, without its `logprobs`.
//!
//! They are a thousand times as long as the text that they belong to, and all that is asked of them is
//! how many entries there are and how many bytes those stand for. So of a document that is not short each
//! list of them is read as it passes, in constant memory, and only that sum is kept in its place: whoever
//! reads the document gets the same from it.

use memchr::memchr;

use super::json::{DEPTH_MAX, Value};
use super::logprobs::Logprobs;
use super::scan::{JsonScanner, JsonSink, JsonToken, closing_quote};

/// The name of the member, with its quotes.
const LOGPROBS: &[u8] = b"\"logprobs\"";

/// Members of the sum that stands in the place of an object of them.
const ENTRIES: &str = "tokenweir_entries";
const BYTES: &str = "tokenweir_bytes";

/// Stands where brackets did not match: whoever reads the document finds that it is none.
const MALFORMED: &[u8] = b"!";

/// A document, as far as it has come.
#[derive(Debug, Default)]
pub struct Slim {
    held: Vec<u8>,
    state: SlimState,
    /// It is not short: from here on `logprobs` are left out.
    begun: bool,
    /// Where the current string begins in `held`.
    text_at: usize,
}

#[derive(Debug, Default)]
enum SlimState {
    /// Between strings.
    #[default]
    Plain,
    Text {
        escape: bool,
    },
    /// Behind a string that may be the member's name.
    Name,
    /// Behind the colon of the member.
    Value,
    /// In its value.
    Left(Box<LeftOut>),
}

impl Slim {
    /// A document that is no longer than this is held as it is: nearly all are, and cost no more than to be
    /// copied.
    pub const AS_IT_IS_BYTES_MAX: usize = 16 << 10;

    /// The next bytes of the document.
    pub fn push(&mut self, bytes: &[u8]) {
        if !self.begun && self.held.len() + bytes.len() <= Slim::AS_IT_IS_BYTES_MAX {
            return self.held.extend_from_slice(bytes);
        }
        if !std::mem::replace(&mut self.begun, true) {
            let short = std::mem::take(&mut self.held);
            self.leave_out(&short);
        }
        self.leave_out(bytes);
    }

    /// The part of the document that is held: all of it while it is short, else all but `logprobs`.
    pub fn held(&self) -> &[u8] {
        &self.held
    }

    /// Memory that it takes.
    pub fn memory_bytes(&self) -> usize {
        self.held.capacity()
    }

    fn leave_out(&mut self, bytes: &[u8]) {
        let mut rest = bytes;
        while let Some(&first) = rest.first() {
            let (taken, next) = match &mut self.state {
                SlimState::Plain => match memchr(b'"', rest) {
                    Some(at) => {
                        self.text_at = self.held.len() + at;
                        (at + 1, Some(SlimState::Text { escape: false }))
                    }
                    None => (rest.len(), None),
                },
                SlimState::Text { escape } => match closing_quote(rest, *escape) {
                    Ok(end) => (end + 1, Some(SlimState::Name)),
                    Err(escape) => (rest.len(), Some(SlimState::Text { escape })),
                },
                SlimState::Name if self.held.get(self.text_at..) != Some(LOGPROBS) => {
                    (0, Some(SlimState::Plain))
                }
                SlimState::Name | SlimState::Value if matches!(first, b' ' | b'\n' | b'\r' | b'\t') => {
                    rest = &rest[1..]; // not kept: it would hide the name
                    continue;
                }
                SlimState::Name if first == b':' => (1, Some(SlimState::Value)),
                SlimState::Value if matches!(first, b'{' | b'[') => {
                    (0, Some(SlimState::Left(Box::new(LeftOut::new(first == b'[')))))
                }
                SlimState::Name | SlimState::Value => (0, Some(SlimState::Plain)),
                SlimState::Left(left_out) => {
                    let (read, end) = left_out.push(rest);
                    if let Some(end) = end {
                        self.held.extend_from_slice(end.as_bytes());
                        self.state = SlimState::Plain;
                    }
                    rest = &rest[read..];
                    continue;
                }
            };
            self.held.extend_from_slice(&rest[..taken]);
            rest = &rest[taken..];
            if let Some(next) = next {
                self.state = next;
            }
        }
    }
}

/// The sum that [`Slim`] has put in the place of an object, if the member is part of one.
pub(super) fn summary(key: &[u8], value: &Value<'_>) -> Option<Logprobs> {
    match key {
        key if key == ENTRIES.as_bytes() => value.whole().map(|entries| Logprobs { entries, bytes: Some(0) }),
        key if key == BYTES.as_bytes() => Some(Logprobs { entries: 0, bytes: value.whole() }),
        _ => None,
    }
}

/// A value that is left out, as far as it has come.
#[derive(Debug)]
struct LeftOut {
    array: bool,
    /// One bit for each open bracket, the innermost lowest: 1 is a brace.
    open: u128,
    depth: u32,
    /// In a string; whether its next byte is escaped.
    text: Option<bool>,
    scanner: JsonScanner,
    sum: EntrySum,
}

impl LeftOut {
    fn new(array: bool) -> LeftOut {
        let (scanner, sum) = (JsonScanner::default(), EntrySum::default());
        LeftOut { array, open: 0, depth: 0, text: None, scanner, sum }
    }

    /// The next bytes. How many of them belong to the value, and what is kept of it once it has ended.
    fn push(&mut self, bytes: &[u8]) -> (usize, Option<String>) {
        let (read, end) = match self.find_end(bytes) {
            Ok(Some(end)) => (end, true),
            Ok(None) => (bytes.len(), false),
            Err(at) => return (at, Some(String::from_utf8_lossy(MALFORMED).into_owned())),
        };
        if !self.array {
            self.scanner.push(&bytes[..read], &mut self.sum);
        }
        (read, end.then(|| self.kept()))
    }

    /// Where the value ends, if it does in these bytes; `Err`: where its brackets do not match.
    fn find_end(&mut self, bytes: &[u8]) -> Result<Option<usize>, usize> {
        let mut at = 0;
        while at < bytes.len() {
            if let Some(escape) = self.text.take() {
                match closing_quote(&bytes[at..], escape) {
                    Ok(end) => at += end + 1,
                    Err(escape) => {
                        self.text = Some(escape);
                        return Ok(None);
                    }
                }
                continue;
            }
            let byte = bytes[at];
            at += 1;
            match byte {
                b'"' => self.text = Some(false),
                b'{' | b'[' if self.depth == DEPTH_MAX => return Err(at),
                b'{' | b'[' => {
                    self.open = self.open << 1 | u128::from(byte == b'{');
                    self.depth += 1;
                }
                b'}' | b']' if (self.open & 1 == 1) != (byte == b'}') => return Err(at),
                b'}' | b']' => {
                    self.open >>= 1;
                    self.depth -= 1;
                    if self.depth == 0 {
                        return Ok(Some(at));
                    }
                }
                _ => {}
            }
        }
        Ok(None)
    }

    fn kept(&self) -> String {
        let Logprobs { entries, bytes } = self.sum.all;
        match bytes {
            _ if self.array => "[]".to_owned(),
            _ if !self.scanner.complete() || entries == 0 => "{}".to_owned(),
            Some(bytes) => format!(r#"{{"{ENTRIES}":{entries},"{BYTES}":{bytes}}}"#),
            None => format!(r#"{{"{ENTRIES}":{entries},"{BYTES}":null}}"#),
        }
    }
}

/// Adds entries up: see [`super::Choice::logprobs`], which says of a document as it is what this says of
/// one that passes.
#[derive(Debug)]
struct EntrySum {
    all: Logprobs,
    /// The list, or the bytes of an entry, may come next.
    named: bool,
    /// In a list of entries.
    in_list: bool,
    /// In an entry that is an object; its bytes, if it has said them.
    entry: Option<Option<u64>>,
    /// In the list of its bytes: how many there were.
    bytes: Option<u64>,
}

impl Default for EntrySum {
    fn default() -> EntrySum {
        let all = Logprobs { entries: 0, bytes: Some(0) };
        EntrySum { all, named: false, in_list: false, entry: None, bytes: None }
    }
}

impl EntrySum {
    fn key(&mut self, key: &[u8]) {
        self.named = match self.entry {
            None => matches!(key, b"content" | b"refusal" | b"tokens"),
            Some(_) => key == b"bytes",
        };
    }

    fn open(&mut self, depth: usize, array: bool) {
        match depth {
            1 => self.in_list = array && self.named,
            2 if array => self.end_of_entry(None),
            2 => self.entry = Some(None),
            3 => self.bytes = (array && self.named).then_some(0),
            _ => self.value(depth),
        }
    }

    fn close(&mut self, depth: usize) {
        match depth {
            1 => self.in_list = false,
            2 => {
                if let Some(bytes) = self.entry.take() {
                    self.end_of_entry(bytes);
                }
            }
            3 => {
                if let (Some(entry), Some(bytes)) = (&mut self.entry, self.bytes.take()) {
                    *entry = Some(bytes);
                }
            }
            _ => {}
        }
    }

    /// A value that nothing is asked of but that it is there.
    fn value(&mut self, depth: usize) {
        match (depth, &mut self.bytes) {
            (2, _) => self.end_of_entry(None),
            (4, Some(bytes)) => *bytes += 1,
            _ => {}
        }
    }

    fn end_of_entry(&mut self, bytes: Option<u64>) {
        self.all.add(Logprobs { entries: 1, bytes });
    }
}

impl JsonSink for EntrySum {
    fn token(&mut self, depth: usize, token: JsonToken<'_>) {
        match token {
            JsonToken::Key(key) => self.key(key),
            JsonToken::Open { array } => self.open(depth, array),
            JsonToken::Close => self.close(depth),
            JsonToken::Text(text) if depth == 2 => self.end_of_entry(Some(text.len() as u64)),
            JsonToken::Text(_) | JsonToken::Scalar(_) => self.value(depth),
        }
    }

    fn descends(&self, depth: usize) -> bool {
        match depth {
            0 => true,
            1 => self.in_list,
            2 => self.entry.is_some(),
            3 => self.bytes.is_some(),
            _ => false,
        }
    }

    fn wants_text(&self) -> bool {
        self.bytes.is_some() || (self.in_list && self.entry.is_none())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value as Json, json};

    use super::super::Chunk;
    use super::*;

    /// The held form of a document of which nothing is held as it is.
    fn slim<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> String {
        let mut slim = Slim { begun: true, ..Slim::default() };
        pieces.into_iter().for_each(|piece| slim.push(piece));
        String::from_utf8(slim.held).unwrap()
    }

    /// The sum of entries of each choice.
    fn logprobs(document: &str) -> Option<Vec<Option<Logprobs>>> {
        let mut all = Vec::new();
        Chunk::parse(document.as_bytes()).ok()?.choices(|choice| all.push(choice.logprobs())).ok()?;
        Some(all)
    }

    #[test]
    fn the_sum_stands_in_the_place_of_the_entries() {
        let json = r#"{"a":"\"logprobs\":[1]","choices":[{"logprobs" : {"content":[{"token":"a","bytes":[97],"top_logprobs":[{"bytes":[1,2]}]},
            {"token":"é","bytes":[195,169]}],"refusal":null}, "x":"logprobs"},{"logprobs":{"tokens":["a"," é"],"top_logprobs":[{"bytes":[]}]}},
            {"logprobs":{"content":[{"bytes":null},[{"bytes":[1]}],7]}},{"logprobs":null}],"logprobs":[{"a":"]"}],"log\u0070robs":[1]}"#;
        let expected = r#"{"a":"\"logprobs\":[1]","choices":[{"logprobs":{"tokenweir_entries":2,"tokenweir_bytes":3}, "x":"logprobs"},{"logprobs":{"tokenweir_entries":2,"tokenweir_bytes":4}},
            {"logprobs":{"tokenweir_entries":3,"tokenweir_bytes":null}},{"logprobs":null}],"logprobs":[],"log\u0070robs":[1]}"#;
        assert_eq!(slim([json.as_bytes()]), expected);
        assert_eq!(logprobs(json), logprobs(expected));
    }

    #[test]
    fn a_short_document_is_held_as_it_is_and_of_a_long_one_little() {
        let entry = r#"{"token":" a","logprob":-0.1,"bytes":[32,97],"top_logprobs":[{"token":" b","logprob":-1.5,"bytes":[32,98]}]}"#;
        let document = |entries: usize| {
            format!(r#"{{"choices":[{{"logprobs":{{"content":[{}]}}}}]}}"#, vec![entry; entries].join(","))
        };
        let (short, long) = (document(100), document(20_000));
        for (document, held_bytes_max) in [(&short, short.len()), (&long, 200)] {
            let mut slim = Slim::default();
            document.as_bytes().chunks(4096).for_each(|piece| slim.push(piece));
            assert!(
                slim.held().len() <= held_bytes_max && slim.memory_bytes() <= 2 * Slim::AS_IT_IS_BYTES_MAX
            );
            assert_eq!(logprobs(str::from_utf8(slim.held()).unwrap()), logprobs(document));
        }
    }

    #[test]
    fn what_is_malformed_stays_so() {
        for json in [
            r#"{"choices":[],"logprobs":{"a":[}}"#,
            r#"{"choices":[],"logprobs":[{]}"#,
            r#"{"choices":[],"logprobs":{"a""#,
            r#"{"choices":[],"logprobs":"#,
        ] {
            assert!(logprobs(json).is_none() && logprobs(&slim([json.as_bytes()])).is_none(), "{json}");
        }
        let deep = format!(r#"{{"choices":[],"logprobs":{}{}}}"#, "[".repeat(130), "]".repeat(130));
        assert!(logprobs(&deep).is_none() && logprobs(&slim([deep.as_bytes()])).is_none());
    }

    /// Values that have the shape of entries, and values that do not.
    fn odd() -> impl Strategy<Value = Json> {
        let leaf = prop_oneof![
            Just(json!(null)),
            Just(json!(true)),
            (0..300_u32).prop_map(|number| json!(number)),
            "[a\"\\\\\\]}é\n]{0,4}".prop_map(|text| json!(text)),
        ];
        let names =
            prop::sample::select(vec!["content", "refusal", "tokens", "bytes", "token", "logprobs", "x"]);
        leaf.prop_recursive(6, 60, 5, move |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..5).prop_map(Json::from),
                prop::collection::hash_map(names.clone(), inner, 0..5).prop_map(|members| {
                    Json::from_iter(members.into_iter().map(|(name, value)| (name.to_owned(), value)))
                }),
            ]
        })
    }

    proptest! {
        #[test]
        fn the_same_is_said_of_what_is_left_out_however_it_is_cut(
            choices in prop::collection::vec(odd(), 1..4),
            size in 1_usize..7,
        ) {
            let choices: Vec<_> = choices.into_iter().map(|odd| json!({"index": 0, "logprobs": odd, "text": "a"})).collect();
            let document = json!({ "choices": choices, "usage": {"logprobs": {}} }).to_string();
            let whole = slim([document.as_bytes()]);
            prop_assert_eq!(&slim(document.as_bytes().chunks(size)), &whole);
            prop_assert_eq!(logprobs(&whole), logprobs(&document), "{} {}", document, whole);
            // Nothing else has changed.
            let without = |text: &str| {
                let mut json: Json = serde_json::from_str(text).unwrap();
                json["choices"].as_array_mut().unwrap().iter_mut().for_each(|choice| {
                    choice["logprobs"].take();
                });
                json
            };
            prop_assert_eq!(without(&whole), without(&document));
        }

        /// Pieces of JSON in any order, most of them no document: what is one stays one, what is none too.
        #[test]
        fn no_document_is_made_of_what_is_none(
            words in prop::collection::vec(
                prop::sample::select(vec![
                    "{", "}", "[", "]", ":", ",", "\"logprobs\"", "\"logprobs\":{", "\"a\"", "\"\\\"", "\"", "\\", " ", "12", "null",
                ]),
                0..40,
            ),
            size in 1_usize..5,
        ) {
            let text = words.concat();
            let whole = slim([text.as_bytes()]);
            prop_assert_eq!(&slim(text.as_bytes().chunks(size)), &whole);
            prop_assert_eq!(Chunk::parse(whole.as_bytes()).is_ok(), Chunk::parse(text.as_bytes()).is_ok(), "{}", whole);
        }
    }
}
