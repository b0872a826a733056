//! Texts that others chose, such as the name of a deployment, as people and programs may be shown
//! them: in a table, in a line, in a cell of CSV, in JSON on a terminal.
//!
//! A name may steer a terminal, turn the line round in which it stands, look like another one, or be a
//! formula to the program that opens the file. An invisible character is written as Rust
//! writes it, `\u{202e}`; a cell that means something else than its text has `'` in front. Different texts stay
//! different, so that no caller can be taken for another.

use std::borrow::Cow;
use std::fmt::Write;
use std::io;

/// Characters that a spreadsheet takes for the beginning of a formula, full width included (OWASP, CSV injection).
/// Tabs and line ends, which it names as well, are never written.
const FORMULA: [char; 8] = ['=', '+', '-', '@', '＝', '＋', '－', '＠'];

/// Says that a cell is its text and nothing else.
const QUOTE: char = '\'';

/// The beginning of an invisible character as it is written.
const ESCAPE: &str = "\\u{";

/// A text as people may be shown it, in one line.
pub fn shown(text: &str) -> Cow<'_, str> {
    escaped(text, true)
}

/// `lookalikes`: a text that looks like an escape and is none is written out too.
fn escaped(text: &str, lookalikes: bool) -> Cow<'_, str> {
    let plain = |byte: u8| (0x20..0x7f).contains(&byte) && !(lookalikes && byte == b'\\');
    if text.bytes().all(plain) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    for (at, character) in text.char_indices() {
        let lookalike = lookalikes && character == '\\' && text[at..].starts_with(ESCAPE);
        if lookalike || is_hidden(character, at == 0) {
            _ = write!(out, "{}", character.escape_unicode());
        } else {
            out.push(character);
        }
    }
    Cow::Owned(out)
}

/// A text of our own, in which names stand that others chose: its lines stay lines.
pub fn shown_lines(text: &str) -> String {
    let line = |line: &str| match line.strip_suffix('\n') {
        Some(line) => format!("{}\n", shown(line)),
        None => shown(line).into_owned(),
    };
    text.split_inclusive('\n').map(line).collect()
}

/// A text as a cell of CSV: as people are shown it, and no formula.
pub fn cell(text: &str) -> Cow<'_, str> {
    quoted(shown(text), |text| text.starts_with(FORMULA))
}

/// The text, with `'` in front if it would be taken for something else. So has one that begins with `'`
/// and would be without that: two texts never become the same.
pub fn quoted(text: Cow<'_, str>, is_taken: impl Fn(&str) -> bool) -> Cow<'_, str> {
    let bare = text.trim_start_matches([QUOTE, ' ']);
    if is_taken(bare) { Cow::Owned(format!("{QUOTE}{text}")) } else { text }
}

/// A JSON text in which nothing is hidden: the same values, in other letters. The text between them is
/// left alone; JSON itself escapes characters below U+0020.
pub fn json(text: &str) -> Cow<'_, str> {
    if text.bytes().all(|byte| byte < 0x7f) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        if character >= '\u{7f}' && is_hidden(character, false) {
            for unit in character.encode_utf16(&mut [0; 2]) {
                _ = write!(out, "\\u{unit:04x}");
            }
        } else {
            out.push(character);
        }
    }
    Cow::Owned(out)
}

/// A way to a terminal, or to a file that people will look at, for JSON that is written a text at a time:
/// see [`json`].
#[derive(Clone, Debug)]
pub struct Json<W>(pub W);

impl<W: io::Write> io::Write for Json<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match str::from_utf8(bytes).map(json) {
            Ok(Cow::Owned(safe)) => self.0.write_all(safe.as_bytes()).map(|()| bytes.len()),
            _ => self.0.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// A way to a terminal for lines of text, each of which is written at once, and in which most names are escaped already, as
/// Rust does it for debugging: nothing is hidden, and a line stays one line.
#[derive(Clone, Debug)]
pub struct Line<W>(pub W);

impl<W: io::Write> io::Write for Line<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let line = bytes.strip_suffix(b"\n").unwrap_or(bytes);
        match str::from_utf8(line).map(|line| escaped(line, false)) {
            Ok(Cow::Owned(mut safe)) => {
                if line.len() < bytes.len() {
                    safe.push('\n');
                }
                self.0.write_all(safe.as_bytes()).map(|()| bytes.len())
            }
            _ => self.0.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// It has control characters: it is no name of anything that the service keeps.
pub fn has_control(text: &str) -> bool {
    text.chars().any(char::is_control)
}

/// Nothing of it is seen, or another text is than the one that stands there: control and format
/// characters, white space other than the space, and what no font has a picture of. `first`: nothing of
/// the same text stands before it.
fn is_hidden(character: char, first: bool) -> bool {
    match character {
        ' '..='~' => false,
        // Letters and marks to Unicode, and nothing to the eye.
        '\u{34f}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180f}' => true,
        '\u{2800}' | '\u{3164}' | '\u{fe00}'..='\u{fe0f}' | '\u{ffa0}' | '\u{e0100}'..='\u{e01ef}' => true,
        // The standard library knows the rest. A mark belongs to the letter before it, if there is one.
        _ => {
            let mut text = [b'a'; 5];
            let end = 1 + character.encode_utf8(&mut text[1..]).len();
            let text = str::from_utf8(&text[usize::from(first)..end]).unwrap_or_default();
            text.escape_debug().ne(text.chars())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_seen_stays_as_it_is() {
        for text in
            ["", "gpt-4o", "a b", "Müller & Söhne", "支付", "विभाग", "e\u{301}", "a\\b", "👍", "\"'`|"]
        {
            assert_eq!(shown(text), text);
            assert_eq!(json(text), text);
        }
    }

    #[test]
    fn what_is_not_seen_is_written_out() {
        for (text, expected) in [
            ("\x1b]0;pwned\x07", "\\u{1b}]0;pwned\\u{7}"),
            ("a\ntotal,9", "a\\u{a}total,9"),
            ("\u{9b}2J\u{7f}", "\\u{9b}2J\\u{7f}"),
            ("\u{202e}gnp", "\\u{202e}gnp"),
            ("a\u{200b}\u{2060}\u{feff}\u{ad}", "a\\u{200b}\\u{2060}\\u{feff}\\u{ad}"),
            ("\u{2028}\u{2029}\u{85}", "\\u{2028}\\u{2029}\\u{85}"),
            ("\u{2066}\u{2069}\u{200e}\u{200f}\u{61c}", "\\u{2066}\\u{2069}\\u{200e}\\u{200f}\\u{61c}"),
            ("a\u{a0}b\u{3000}c", "a\\u{a0}b\\u{3000}c"),
            ("a\u{3164}\u{fe0f}\u{e0041}", "a\\u{3164}\\u{fe0f}\\u{e0041}"),
            ("\u{301}a", "\\u{301}a"),
            ("\\u{202e}", "\\u{5c}u{202e}"),
        ] {
            assert_eq!(shown(text), expected);
        }
        assert_eq!(shown_lines("one\x1b\ntwo\r\n\nthree"), "one\\u{1b}\ntwo\\u{d}\n\nthree");
    }

    #[test]
    fn a_cell_is_no_formula() {
        for (text, expected) in [
            ("=cmd|' /C calc'!A0", "'=cmd|' /C calc'!A0"),
            ("@SUM(1)", "'@SUM(1)"),
            ("+1", "'+1"),
            ("-1", "'-1"),
            ("＝1", "'＝1"),
            (" =1", "' =1"),
            ("'=1", "''=1"),
            ("'a", "'a"),
            ("\t=1", "\\u{9}=1"),
            ("\r=1", "\\u{d}=1"),
            ("a=1", "a=1"),
            ("", ""),
        ] {
            assert_eq!(cell(text), expected);
        }
    }

    #[test]
    fn json_on_a_terminal_says_the_same() {
        let value = serde_json::json!({"a\u{202e}": ["\x1b\u{9b}\u{7f}\n\t\"\\", "\u{e0041}", "é"]});
        for text in [value.to_string(), format!("{value:#}")] {
            let safe = json(&text);
            assert_eq!(serde_json::from_str::<serde_json::Value>(&safe).unwrap(), value);
            assert!(safe.chars().all(|c| c == '\n' || !is_hidden(c, false)), "{safe}");
            let mut written = Json(Vec::new());
            io::Write::write_all(&mut written, text.as_bytes()).unwrap();
            assert_eq!(written.0, safe.as_bytes());
        }
        assert!(json(&value.to_string()).contains("\\udb40\\udc41"));
    }

    /// Texts that are hard on who shows them.
    fn hostile() -> impl Strategy<Value = String> {
        let hard = prop::sample::select(
            "=+-@＝＋－＠'\"\\u{}09af,;| \t\r\n\0\u{7}\u{1b}\u{7f}\u{85}\u{9b}\u{a0}\u{ad}\u{301}\u{61c}\u{200b}\u{200e}\u{202a}\u{202e}\u{2028}\u{2029}\u{2066}\u{2069}\u{feff}\u{3164}\u{fe0f}\u{e0041}\u{e000}\u{ffff}totalTOTAL(é👍"
                .chars()
                .collect::<Vec<_>>(),
        );
        prop::collection::vec(prop_oneof![3 => hard, 1 => any::<char>()], 0..12)
            .prop_map(|characters| characters.into_iter().collect())
    }

    proptest! {
        #[test]
        fn all_of_it_is_seen_and_no_two_become_the_same(a in hostile(), b in hostile()) {
            for text in [&a, &b] {
                let (text, cell) = (shown(text), cell(text));
                for (at, character) in text.char_indices() {
                    prop_assert!(!is_hidden(character, at == 0), "{:?}", text);
                }
                prop_assert!(!cell.trim_start().starts_with(FORMULA), "{:?}", cell);
                prop_assert_eq!(text.lines().count(), usize::from(!text.is_empty()));
            }
            prop_assert_eq!(a == b, shown(&a) == shown(&b));
            prop_assert_eq!(a == b, cell(&a) == cell(&b));
        }
    }
}
