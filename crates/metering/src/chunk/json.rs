//! A small JSON reader that lends: no allocation, one level of an object at a time.
//!
//! A value that is not asked for is passed over; there only quotes and brackets are checked.
//! Asking for a level's members first and descending later makes "the last of equal keys wins"
//! true without undoing anything.

use std::borrow::Cow;

use memchr::memchr2;

/// Brackets that may be open at once. serde_json has the same limit.
pub(super) const DEPTH_MAX: u32 = 127;

/// The bytes are not the JSON that was asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Malformed;

/// A value, as it stands in the document.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Value<'a> {
    Null,
    Bool(bool),
    Number(&'a [u8]),
    Text(Text<'a>),
    /// With its brackets.
    Array(&'a [u8]),
    /// With its braces.
    Object(&'a [u8]),
}

impl<'a> Value<'a> {
    pub(crate) fn text(self) -> Option<Text<'a>> {
        if let Value::Text(text) = self { Some(text) } else { None }
    }

    pub(crate) fn object(self) -> Option<&'a [u8]> {
        if let Value::Object(bytes) = self { Some(bytes) } else { None }
    }

    pub(crate) fn array(self) -> Option<&'a [u8]> {
        if let Value::Array(bytes) = self { Some(bytes) } else { None }
    }

    /// A number as it is written.
    pub(crate) fn number(self) -> Option<&'a [u8]> {
        if let Value::Number(digits) = self { Some(digits) } else { None }
    }

    /// A whole number from 0 on; `1e2` and `100.0` are 100.
    pub(crate) fn whole(self) -> Option<u64> {
        let Value::Number(digits) = self else { return None };
        let digits = str::from_utf8(digits).ok()?;
        digits.parse().ok().or_else(|| whole_float(digits.parse().ok()?))
    }
}

/// A float that is a whole number and small enough to be one for sure.
fn whole_float(number: f64) -> Option<u64> {
    const EXACT_MAX: f64 = 9_007_199_254_740_992.0; // 2^53
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "whole, from 0 to 2^53")]
    (number.fract() == 0.0 && (0.0..=EXACT_MAX).contains(&number)).then_some(number as u64)
}

/// A string between its quotes, not unescaped yet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Text<'a> {
    raw: &'a [u8],
    escaped: bool,
}

impl<'a> Text<'a> {
    /// The bytes between two quotes.
    pub(super) fn between_quotes(raw: &'a [u8]) -> Text<'a> {
        Text { raw, escaped: raw.contains(&b'\\') }
    }

    /// The string whose opening quote stood before `bytes`, up to its closing one: the first that is
    /// not escaped. `None` if there is none. Nothing else is checked, here or later: what is no
    /// escape counts as U+FFFD or as the character itself.
    pub fn up_to_quote(bytes: &'a [u8]) -> Option<Text<'a>> {
        let (mut at, mut escaped) = (0, false);
        loop {
            at += memchr2(b'"', b'\\', bytes.get(at..)?)?;
            if bytes[at] == b'"' {
                return Some(Text { raw: &bytes[..at], escaped });
            }
            escaped = true;
            at += 2; // what is escaped may be a quote or a backslash
        }
    }

    /// The bytes between its quotes.
    pub fn raw(&self) -> &'a [u8] {
        self.raw
    }

    /// Whether the string is empty.
    pub fn is_empty(&self) -> bool {
        self.raw.is_empty()
    }

    /// Bytes of the string when it is unescaped.
    pub fn unescaped_bytes(&self) -> u64 {
        let (mut bytes, mut joiner) = (0, Joiner::default());
        joiner.feed(*self, |part| bytes += part.len() as u64);
        joiner.end(|part| bytes += part.len() as u64);
        bytes
    }

    /// Unescapes; what is no Unicode becomes U+FFFD.
    pub fn lossy(&self) -> Cow<'a, str> {
        if !self.escaped {
            return String::from_utf8_lossy(self.raw);
        }
        let (mut bytes, mut joiner) = (Vec::with_capacity(self.raw.len()), Joiner::default());
        joiner.feed(*self, |part| bytes.extend_from_slice(part));
        joiner.end(|part| bytes.extend_from_slice(part));
        Cow::Owned(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// Unescapes a key, for comparison.
    pub(crate) fn key(&self) -> Cow<'a, [u8]> {
        if self.escaped {
            Cow::Owned(self.lossy().into_owned().into_bytes())
        } else {
            Cow::Borrowed(self.raw)
        }
    }
}

/// Where `part` stands in the document that it was read from.
pub fn place_in(document: &[u8], part: &[u8]) -> Option<std::ops::Range<usize>> {
    let start = part.as_ptr().addr().checked_sub(document.as_ptr().addr())?;
    let end = start.checked_add(part.len())?;
    (end <= document.len()).then_some(start..end)
}

/// Joins the strings of one text that comes in deltas: half of a surrogate pair at the end of one
/// waits for the other half at the start of the next.
#[derive(Clone, Debug, Default)]
pub struct Joiner {
    high: Option<u16>,
}

const REPLACEMENT: &[u8] = "\u{FFFD}".as_bytes();

impl Joiner {
    /// The next string. Its bytes go to `out` in pieces.
    pub fn feed(&mut self, text: Text<'_>, mut out: impl FnMut(&[u8])) {
        if !text.escaped {
            if !text.raw.is_empty() {
                self.end(&mut out);
                out(text.raw);
            }
            return;
        }
        let mut rest = text.raw;
        while let Some(at) = memchr::memchr(b'\\', rest) {
            if at > 0 {
                self.end(&mut out);
                out(&rest[..at]);
            }
            let escape = &rest[at + 1..];
            rest = if escape.first() == Some(&b'u') {
                self.unit(hex(escape), &mut out);
                &escape[escape.len().min(5)..]
            } else {
                self.end(&mut out);
                out(&[plain_escape(escape)]);
                &escape[escape.len().min(1)..]
            };
        }
        if !rest.is_empty() {
            self.end(&mut out);
            out(rest);
        }
    }

    /// Half of a pair waits for the other.
    pub fn is_waiting(&self) -> bool {
        self.high.is_some()
    }

    /// The text has ended, or goes on with something else: a lone half becomes U+FFFD.
    pub fn end(&mut self, mut out: impl FnMut(&[u8])) {
        if self.high.take().is_some() {
            out(REPLACEMENT);
        }
    }

    /// One UTF-16 code unit; `None` where four hex digits should have stood.
    fn unit(&mut self, unit: Option<u16>, out: &mut impl FnMut(&[u8])) {
        let high = self.high.take();
        if let (Some(high), Some(low)) = (high, unit)
            && let Some(Ok(character)) = char::decode_utf16([high, low]).next()
            && character > '\u{FFFF}'
        {
            return out(character.encode_utf8(&mut [0; 4]).as_bytes());
        }
        if high.is_some() {
            out(REPLACEMENT);
        }
        match unit {
            Some(high @ 0xD800..=0xDBFF) => self.high = Some(high),
            unit => match unit.and_then(|unit| char::from_u32(unit.into())) {
                Some(character) => out(character.encode_utf8(&mut [0; 4]).as_bytes()),
                None => out(REPLACEMENT),
            },
        }
    }
}

/// The four digits of `uXXXX`.
fn hex(escape: &[u8]) -> Option<u16> {
    let digits = escape.get(1..5)?;
    digits.iter().try_fold(0, |unit, &digit| Some(unit << 4 | char::from(digit).to_digit(16)? as u16))
}

fn plain_escape(escape: &[u8]) -> u8 {
    match escape.first() {
        Some(b'n') => b'\n',
        Some(b't') => b'\t',
        Some(b'r') => b'\r',
        Some(b'b') => 8,
        Some(b'f') => 12,
        Some(&other) => other,
        None => b'\\',
    }
}

/// The members of an object, in order. Equal keys all come.
pub(crate) fn members<'a>(
    object: &'a [u8],
    mut member: impl FnMut(&[u8], Value<'a>),
) -> Result<(), Malformed> {
    let mut reader = Reader { bytes: object, at: 0 };
    reader.expect(b'{')?;
    if reader.peek() != Some(b'}') {
        loop {
            reader.expect(b'"')?;
            let key = reader.string()?;
            reader.expect(b':')?;
            let value = reader.value()?;
            member(&key.key(), value);
            if !reader.another(b'}')? {
                return reader.end();
            }
        }
    }
    reader.at += 1;
    reader.end()
}

/// The elements of an array, in order.
pub(crate) fn elements<'a>(array: &'a [u8], mut element: impl FnMut(Value<'a>)) -> Result<(), Malformed> {
    let mut reader = Reader { bytes: array, at: 0 };
    reader.expect(b'[')?;
    if reader.peek() != Some(b']') {
        loop {
            element(reader.value()?);
            if !reader.another(b']')? {
                return reader.end();
            }
        }
    }
    reader.at += 1;
    reader.end()
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    /// The next byte that is no white space.
    fn peek(&mut self) -> Option<u8> {
        while let Some(&byte) = self.bytes.get(self.at) {
            if !matches!(byte, b' ' | b'\n' | b'\r' | b'\t') {
                return Some(byte);
            }
            self.at += 1;
        }
        None
    }

    fn expect(&mut self, byte: u8) -> Result<(), Malformed> {
        if self.peek() != Some(byte) {
            return Err(Malformed);
        }
        self.at += 1;
        Ok(())
    }

    /// After a member: does another follow?
    fn another(&mut self, close: u8) -> Result<bool, Malformed> {
        let byte = self.peek();
        self.at += 1;
        match byte {
            Some(b',') => Ok(true),
            Some(byte) if byte == close => Ok(false),
            _ => Err(Malformed),
        }
    }

    fn end(&mut self) -> Result<(), Malformed> {
        if self.peek().is_none() { Ok(()) } else { Err(Malformed) }
    }

    fn value(&mut self) -> Result<Value<'a>, Malformed> {
        let first = self.peek().ok_or(Malformed)?;
        let start = self.at;
        match first {
            b'"' => {
                self.at += 1;
                Ok(Value::Text(self.string()?))
            }
            b'{' => Ok(Value::Object(self.brackets()?)),
            b'[' => Ok(Value::Array(self.brackets()?)),
            _ => {
                while self.bytes.get(self.at).is_some_and(|byte| is_scalar(*byte)) {
                    self.at += 1;
                }
                match &self.bytes[start..self.at] {
                    b"null" => Ok(Value::Null),
                    b"true" => Ok(Value::Bool(true)),
                    b"false" => Ok(Value::Bool(false)),
                    digits if matches!(first, b'-' | b'0'..=b'9') => Ok(Value::Number(digits)),
                    _ => Err(Malformed),
                }
            }
        }
    }

    /// The string whose opening quote has been read.
    fn string(&mut self) -> Result<Text<'a>, Malformed> {
        let text = self.bytes.get(self.at..).and_then(Text::up_to_quote).ok_or(Malformed)?;
        self.at += text.raw.len() + 1;
        Ok(text)
    }

    /// Passes over an object or array, whose brackets must match.
    fn brackets(&mut self) -> Result<&'a [u8], Malformed> {
        let start = self.at;
        // One bit for each open bracket, the innermost lowest: 1 is a brace.
        let (mut open, mut depth) = (0_u128, 0);
        loop {
            let byte = *self.bytes.get(self.at).ok_or(Malformed)?;
            self.at += 1;
            match byte {
                b'"' => _ = self.string()?,
                b'{' | b'[' if depth == DEPTH_MAX => return Err(Malformed),
                b'{' | b'[' => {
                    open = open << 1 | u128::from(byte == b'{');
                    depth += 1;
                }
                b'}' | b']' if (open & 1 == 1) != (byte == b'}') => return Err(Malformed),
                b'}' | b']' => {
                    open >>= 1;
                    depth -= 1;
                    if depth == 0 {
                        return Ok(&self.bytes[start..self.at]);
                    }
                }
                _ => {}
            }
        }
    }
}

/// Whether numbers and the three words may have this byte.
pub(super) fn is_scalar(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'+' | b'.')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn text(json: &str) -> String {
        let mut found = String::new();
        elements(json.as_bytes(), |value| found = value.text().unwrap().lossy().into_owned()).unwrap();
        found
    }

    #[test]
    fn escapes() {
        assert_eq!(text(r#"["a\n\t\"\\\/\u00e9\ud83d\ude00"]"#), "a\n\t\"\\/é😀");
        assert_eq!(text(r#"["\ud83d"]"#), "\u{FFFD}");
        assert_eq!(text(r#"["\ud83d\ud83d\ude00\ude00"]"#), "\u{FFFD}😀\u{FFFD}");
        assert_eq!(text(r#"["\ud83dx\u12"]"#), "\u{FFFD}x\u{FFFD}");
    }

    #[test]
    fn case_34_halves_of_a_pair_meet_across_strings() {
        let (mut joiner, mut bytes) = (Joiner::default(), Vec::new());
        elements(br#"["x\ud83d", "", "\ude00", "\ud83d", "y", "\ud83d"]"#, |value| {
            joiner.feed(value.text().unwrap(), |part| bytes.extend_from_slice(part));
        })
        .unwrap();
        joiner.end(|part| bytes.extend_from_slice(part));
        assert_eq!(String::from_utf8(bytes).unwrap(), "x😀\u{FFFD}y\u{FFFD}");
    }

    #[test]
    fn whole_numbers() {
        let mut found = Vec::new();
        elements(b"[0, 12, 1e2, 7.0, -1, 1.5, 1e400, 18446744073709551615, null]", |value| {
            found.push(value.whole());
        })
        .unwrap();
        let expected = [Some(0), Some(12), Some(100), Some(7), None, None, None, Some(u64::MAX), None];
        assert_eq!(found, expected);
    }

    #[test]
    fn what_does_not_match_is_malformed() {
        for json in ["", "{", "{\"a\"}", "{\"a\":1,}", "{\"a\":[}", "{\"a\":{]}", "{\"a\":x}", "{} {}", "[1]"]
        {
            assert_eq!(members(json.as_bytes(), |_, _| {}), Err(Malformed), "{json}");
        }
        let deep = ["{\"a\":", &"[".repeat(200), &"]".repeat(200), "}"].concat();
        assert_eq!(members(deep.as_bytes(), |_, _| {}), Err(Malformed));
    }

    fn any_json() -> impl Strategy<Value = serde_json::Value> {
        let leaf = prop_oneof![
            Just(serde_json::Value::Null),
            any::<bool>().prop_map(Into::into),
            any::<u32>().prop_map(Into::into),
            ".{0,8}".prop_map(Into::into),
        ];
        leaf.prop_recursive(3, 24, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..4).prop_map(Into::into),
                prop::collection::vec((".{0,4}", inner), 0..4)
                    .prop_map(|members| serde_json::Value::Object(members.into_iter().collect())),
            ]
        })
    }

    /// The value that the reader sees, as serde_json's.
    fn seen(value: Value<'_>) -> serde_json::Value {
        match value {
            Value::Null => serde_json::Value::Null,
            Value::Bool(is) => is.into(),
            Value::Number(_) => value.whole().into(),
            Value::Text(text) => text.lossy().into_owned().into(),
            Value::Array(array) => {
                let mut all = Vec::new();
                elements(array, |value| all.push(seen(value))).unwrap();
                all.into()
            }
            Value::Object(object) => {
                let mut all = serde_json::Map::new();
                members(object, |key, value| {
                    all.insert(String::from_utf8(key.to_vec()).unwrap(), seen(value));
                })
                .unwrap();
                serde_json::Value::Object(all)
            }
        }
    }

    proptest! {
        #[test]
        fn reads_what_serde_json_writes(json in any_json(), pretty in any::<bool>()) {
            let json = serde_json::json!([json]);
            let text = if pretty { serde_json::to_string_pretty(&json) } else { serde_json::to_string(&json) };
            prop_assert_eq!(seen(Value::Array(text.unwrap().as_bytes())), json);
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes in "[\\[\\]{}\":,a1\\\\ ]{0,40}") {
            let _ = members(bytes.as_bytes(), |_, _| {});
            let _ = elements(bytes.as_bytes(), |_| {});
        }
    }
}
