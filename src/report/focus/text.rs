//! Ids, names and numbers as FOCUS wants them.

use std::fmt::Write;

use metering::names;

/// Texts that a reader takes for null (FOCUS 1.2, null handling).
const LIKE_NULL: [&str; 5] = ["", "null", "none", "n/a", "nan"];

/// An id: printable ASCII, everything else percent-encoded, so that different names stay different. An id that a
/// spreadsheet would take for a formula, or a reader for null, has its first letter encoded.
pub(super) fn id(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let first_is_taken = LIKE_NULL.contains(&text.to_ascii_lowercase().as_str())
        || text.starts_with(['=', '+', '-', '@', '\'']);
    for (at, byte) in text.bytes().enumerate() {
        let is_edge = at == 0 || at + 1 == text.len();
        let is_plain = (0x21..0x7f).contains(&byte) && byte != b'%' || byte == b' ' && !is_edge;
        if is_plain && !(at == 0 && first_is_taken) {
            out.push(char::from(byte));
        } else {
            _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

/// A name for people.
pub(super) fn name(text: &str) -> String {
    let text = text.trim();
    let is_taken = |bare: &str| LIKE_NULL.contains(&bare.to_ascii_lowercase().as_str());
    names::quoted(names::cell(text), is_taken).into_owned()
}

/// A number of so many 10^-`places`, exactly, with one decimal place at least: else readers that look at the letters take
/// a column for whole numbers.
pub(super) fn decimal(number: u128, places: u32) -> String {
    let digits = format!("{number:0>width$}", width = places as usize + 1);
    let (whole, rest) = digits.split_at(digits.len() - places as usize);
    let rest = rest.trim_end_matches('0');
    format!("{whole}.{}", if rest.is_empty() { "0" } else { rest })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_number_has_a_decimal_place_and_no_needless_one() {
        for (number, places, text) in [
            (0, 18, "0.0"),
            (123, 0, "123.0"),
            (1_500_000, 6, "1.5"),
            (1, 18, "0.000000000000000001"),
            (20, 1, "2.0"),
        ] {
            assert_eq!(decimal(number, places), text);
        }
    }

    #[test]
    fn what_a_reader_would_take_for_something_else_is_told_apart() {
        for (given, shown) in [
            ("team-7", "team-7"),
            ("=team-7", "%3Dteam-7"),
            ("équipe-4", "%C3%A9quipe-4"),
            ("team 3, \"north\"", "team 3, \"north\""),
            (" a ", "%20a%20"),
            ("100%", "100%25"),
            ("Null", "%4Eull"),
        ] {
            assert_eq!(id(given), shown);
        }
        assert_eq!((name("null"), name(" a "), name("=1+1")), ("'null".into(), "a".into(), "'=1+1".into()));
    }

    proptest! {
        #[test]
        fn an_id_is_plain_ascii_and_can_be_read_back(text in "\\PC{1,12}") {
            let id = id(&text);
            prop_assert!(id.bytes().all(|byte| (0x20..0x7f).contains(&byte)) && id.trim() == id);
            let mut bytes = Vec::new();
            let mut rest = id.as_str();
            while let Some(first) = rest.chars().next() {
                let taken = if first == '%' { 3 } else { 1 };
                let byte = if first == '%' { u8::from_str_radix(&rest[1..3], 16).unwrap() } else { first as u8 };
                bytes.push(byte);
                rest = &rest[taken..];
            }
            prop_assert_eq!(String::from_utf8(bytes).unwrap(), text);
        }
    }
}
