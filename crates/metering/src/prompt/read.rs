//! A request body as the service reads it.

use std::borrow::Cow;

use serde_json::Value;

/// Reads a body as the service does: what is no Unicode becomes U+FFFD, keys keep their order. `None` if it is
/// no JSON.
pub(super) fn parse(body: &[u8]) -> Option<Value> {
    let text = String::from_utf8_lossy(body);
    let text = text.strip_prefix('\u{FEFF}').unwrap_or(&text);
    match serde_json::from_str(text) {
        Ok(value) => Some(value),
        Err(_) => serde_json::from_str(&without_lone_surrogates(text)?).ok(),
    }
}

/// Half a surrogate pair in an escape is no string to serde_json. `None` if there is no such escape.
fn without_lone_surrogates(text: &str) -> Option<String> {
    let mut bytes = Cow::Borrowed(text.as_bytes());
    let unit = |bytes: &[u8], at: usize| {
        let digits = bytes.get(at..at + 6)?.strip_prefix(b"\\u")?;
        u16::from_str_radix(str::from_utf8(digits).ok()?, 16).ok()
    };
    let mut at = 0;
    while let Some(found) = memchr::memchr(b'\\', &bytes[at..]) {
        at += found;
        let pair = (unit(&bytes, at), unit(&bytes, at + 6));
        at += match pair {
            (Some(0xD800..=0xDBFF), Some(0xDC00..=0xDFFF)) => 12,
            (Some(0xD800..=0xDFFF), _) => {
                bytes.to_mut()[at + 2..at + 6].copy_from_slice(b"FFFD");
                6
            }
            (Some(_), _) => 6,
            (None, _) => 2.min(bytes.len() - at),
        };
    }
    match bytes {
        Cow::Borrowed(_) => None,
        Cow::Owned(bytes) => String::from_utf8(bytes).ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lone_surrogates_are_read() {
        for (escape, read) in [
            (r"\ud83d\ude00", "😀"),
            (r"\ud83d", "\u{FFFD}"),
            (r"\ude00\\ud83d\ud83d\ud83d\ude00", "\u{FFFD}\\ud83d\u{FFFD}😀"),
            (r"\ud83d\n", "\u{FFFD}\n"),
        ] {
            assert_eq!(
                parse(format!("[\"{escape}\"]").as_bytes()),
                Some(serde_json::json!([read])),
                "{escape}"
            );
        }
        assert_eq!(parse(br#"["\ud8"#), None);
        assert_eq!(parse(b"[\"\xFF\"]"), Some(serde_json::json!(["\u{FFFD}"])));
    }
}
