//! A path as a service would understand it. It is for classification alone: the path is sent as it came.
//!
//! Services differ in how much of a path they take literally (RFC 3986 6.2.2 says what may be equal, not
//! what is), and a call must be metered as the service that runs it reads it. So every spelling that some service is
//! known to see through is seen through here:
//!
//! - percent-encoding, also the `%uXXXX` of older Windows servers, until nothing is left to decode: each hop
//!   may undo one layer, and it is not known how many there are;
//! - `\` is `/`, and segments that are empty are none;
//! - the text behind a `;` (parameters), a NUL, or an encoded `?` or `#` is no part of its segment;
//! - space and control characters around a segment, and dots behind it, are dropped, as file systems do;
//! - `.` and `..` are resolved, and the letters of another width or script that fold to ASCII are those.
//!
//! Letters keep their case: a deployment's name is shown as it was written. The case of the words that an operation
//! is known by is [`super::surface`]'s business.
//!
//! A path is *odd* if two readers may make two things of it, or if bytes are encoded that
//! need no encoding. Empty segments are not odd (gateways that join prefixes make them), nor is case
//! (Azure disregards it), nor are escapes of characters that must be escaped.

use std::borrow::Cow;

/// A path, normalised.
#[derive(Debug)]
pub(super) struct NormalizedPath<'a> {
    /// Segments between slashes; borrowed from a path that is plain.
    text: Cow<'a, str>,
    is_odd: bool,
}

impl<'a> NormalizedPath<'a> {
    /// Reads a path as it arrived, without query.
    pub(super) fn of(path: &'a str) -> NormalizedPath<'a> {
        if is_plain(path) {
            return NormalizedPath { text: Cow::Borrowed(path), is_odd: false }; // almost always
        }
        let mut reader = PathReader { is_odd: false };
        let decoded = reader.decode(path);
        let segments = reader.resolve(&decoded);
        NormalizedPath { text: Cow::Owned(segments.join("/")), is_odd: reader.is_odd }
    }

    /// Two readers may make two things of it.
    pub(super) fn is_odd(&self) -> bool {
        self.is_odd
    }

    /// Its segments; none is empty.
    pub(super) fn segments(&self) -> impl Iterator<Item = &str> {
        self.text.split('/').filter(|segment| !segment.is_empty())
    }
}

/// Nothing in it needs a second look: printable ASCII, no escape, no parameter, no segment that ends in a
/// dot.
fn is_plain(path: &str) -> bool {
    let special = |byte: u8| matches!(byte, b'%' | b';' | b'\\' | b'?' | b'#') || !byte.is_ascii_graphic();
    let mut before = b'/';
    for byte in path.bytes() {
        if special(byte) || (byte == b'/' && before == b'.') {
            return false;
        }
        before = byte;
    }
    before != b'.'
}

/// Reads a path, and finds out whether it is odd.
struct PathReader {
    is_odd: bool,
}

impl PathReader {
    /// Undoes all layers of percent-encoding in one pass: an escape that has become whole by undoing others
    /// is undone when its last digit comes, so the cost of a path is in proportion to its length.
    fn decode(&mut self, path: &str) -> String {
        let mut decoded = Vec::with_capacity(path.len());
        for byte in path.bytes() {
            decoded.push(byte);
            while let Some((character, length)) = escape(&decoded) {
                decoded.truncate(decoded.len() - length);
                self.is_odd |= length > ESCAPE_BYTES || !needs_escape(character);
                match u8::try_from(character) {
                    Ok(byte) if length == ESCAPE_BYTES => decoded.push(byte),
                    _ => {
                        let character = char::from_u32(character).unwrap_or(char::REPLACEMENT_CHARACTER);
                        decoded.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
                    }
                }
            }
        }
        // An escape that is none: some refuse it, others read on.
        self.is_odd |= decoded.contains(&b'%');
        let text = String::from_utf8_lossy(&decoded);
        self.is_odd |= matches!(text, Cow::Owned(_));
        if text.is_ascii() {
            return text.into_owned();
        }
        let folded: String = text.chars().map(fold).collect();
        self.is_odd |= folded != text;
        folded
    }

    /// The segments that are left when everything but names is gone.
    fn resolve<'t>(&mut self, text: &'t str) -> Vec<&'t str> {
        let mut segments = Vec::new();
        self.is_odd |= text.contains('\\') || text.contains(char::is_control);
        for whole in text.split(['/', '\\']) {
            let segment = whole.split(ENDS_SEGMENT).next().unwrap_or("");
            let segment = segment.trim_matches(is_blank);
            let name = match segment {
                ".." => {
                    segments.pop();
                    ""
                }
                _ => segment.trim_end_matches(|character| character == '.' || is_blank(character)),
            };
            self.is_odd |= name.len() != whole.len();
            if !name.is_empty() {
                segments.push(name);
            }
        }
        segments
    }
}

/// Where a segment ends for some reader: parameters, the end of a text in C, and an encoded query or
/// fragment if it were decoded too early.
const ENDS_SEGMENT: [char; 4] = [';', '\0', '?', '#'];

fn is_blank(character: char) -> bool {
    character.is_whitespace() || character.is_control()
}

/// Bytes of `%41`.
const ESCAPE_BYTES: usize = 3;

/// The escape that ends here: the character that it stands for, and how many bytes it takes.
fn escape(text: &[u8]) -> Option<(u32, usize)> {
    let number = |digits: &[u8]| {
        digits.iter().try_fold(0, |number, digit| Some(number << 4 | (*digit as char).to_digit(16)?))
    };
    match text {
        [.., b'%', high, low] => number(&[*high, *low]).map(|number| (number, ESCAPE_BYTES)),
        [.., b'%', b'u' | b'U', a, b, c, d] => number(&[*a, *b, *c, *d]).map(|number| (number, 6)),
        _ => None,
    }
}

/// A byte that may have a reason to be encoded and means the same either way: neither what RFC 3986 2.3 calls
/// unreserved (but `~`, which older senders encode), nor a byte that divides a path or ends it.
fn needs_escape(byte: u32) -> bool {
    let Ok(byte) = u8::try_from(byte) else { return false };
    let unreserved = byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
    !unreserved && !byte.is_ascii_control() && !matches!(byte, b'/' | b'\\' | b';' | b'%' | b'?' | b'#')
}

/// The ASCII character that a service takes this one for: full-width forms (Windows' best fit), and the
/// two letters that case folding makes ASCII.
fn fold(character: char) -> char {
    match character {
        '\u{ff01}'..='\u{ff5e}' => u8::try_from(u32::from(character) - 0xfee0).map_or(character, char::from),
        '\u{17f}' => 's',
        '\u{212a}' => 'k',
        _ => character,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(path: &str) -> (String, bool) {
        let path = NormalizedPath::of(path);
        (path.segments().collect::<Vec<_>>().join("/"), path.is_odd())
    }

    #[test]
    fn a_plain_path_is_borrowed_and_not_odd() {
        for path in ["/", "", "//a//b/", "/openai/Deployments/gpt-3.5_T~o:x,y=z@1/chat", "/.a/..b/c.d", "*"] {
            let read = NormalizedPath::of(path);
            assert!(matches!(read.text, Cow::Borrowed(_)) && !read.is_odd(), "{path}");
        }
    }

    #[test]
    fn what_must_be_escaped_is_not_odd() {
        assert_eq!(read("/a%20b/%C3%A9/ft%3Agpt"), ("a b/é/ft:gpt".to_owned(), false));
        assert_eq!(read("/a/~/%7e"), ("a/~/~".to_owned(), false));
    }

    #[test]
    fn what_some_service_sees_through_is_seen_through() {
        for (path, understood) in [
            ("/%61", "a"),
            ("/%2561", "a"),
            ("/%25252525252561", "a"),
            ("/%%36%31", "a"),
            ("/%%3631", "c1"),
            ("/%2%35%361", "a"),
            ("/%u0061/%U002fb", "a/b"),
            ("/%ff41%uff41/\u{ff42}", "\u{fffd}41a/b"),
            ("/tas%c5%bf/%e2%84%aa", "tass/k"),
            ("/a%2fb%5Cc\\d", "a/b/c/d"),
            ("/a;b=c/d;/;e/f%3bg", "a/d/f"),
            ("/a%00/b%00c/%00", "a/b"),
            ("/a%3fb/c%23d", "a/c"),
            ("/a%20/%09b/%c2%a0c./d..%20./e%7f", "a/b/c/d/e"),
            ("/a/./b/%2e/c/.%20", "a/b/c"),
            ("/a/../b/c/%2E%2e/d/..;x=y/e/.%2e/%2e%2e/..", ""),
            ("/../../a/..b/...", "a/..b"),
            ("/a//../b", "b"),
            ("/a%", "a%"),
            ("/a%4/%g0", "a%4/%g0"),
            ("/%ud800", "\u{fffd}"),
        ] {
            assert_eq!(read(path), (understood.to_owned(), true), "{path}");
        }
    }

    #[test]
    fn a_path_costs_what_it_is_long() {
        let deep = format!("/%{}61", "25".repeat(100_000));
        assert_eq!(read(&deep), ("a".to_owned(), true));
        let climbing = "/a/..".repeat(100_000);
        assert_eq!(read(&climbing), (String::new(), true));
    }
}
