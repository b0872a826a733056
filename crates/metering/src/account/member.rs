//! One member of a line or of a frame in it: read, or said to be wrong, without its content.

use std::borrow::Cow;

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

/// RFC 4648, section 4, with or without padding.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Characters of a value that an error repeats.
const SHOWN_CHARS_MAX: usize = 40;

/// Members that hold what callers and models say to each other.
const CONTENTS: [&str; 4] = ["response_body", "response_body_base64", "text", "binary_base64"];

/// A value that is there, be it `null`.
pub(super) fn value<'de, D: Deserializer<'de>>(from: D) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(from).map(Some)
}

pub(super) fn missing(name: &str, allowed: &str) -> String {
    format!("`{name}` is missing: {allowed}")
}

/// A member that must be there; `None` with a reason in `wrong`.
pub(super) fn needed<T: DeserializeOwned>(
    value: Option<&RawValue>,
    name: &str,
    allowed: &str,
    wrong: &mut Vec<String>,
) -> Option<T> {
    if value.is_none() {
        wrong.push(missing(name, allowed));
    }
    given(value, name, allowed, wrong)
}

/// A member that may be there; `None` if it is not, or with a reason in `wrong`.
pub(super) fn given<T: DeserializeOwned>(
    value: Option<&RawValue>,
    name: &str,
    allowed: &str,
    wrong: &mut Vec<String>,
) -> Option<T> {
    let value = value?;
    let read = serde_json::from_str(value.get()).ok();
    if read.is_none() {
        wrong.push(not_allowed(name, value.get(), allowed));
    }
    read
}

/// A member with another value than those that are allowed.
pub(super) fn not_allowed(name: &str, json: &str, allowed: &str) -> String {
    let shown = match json.as_bytes().first() {
        Some(b'{') => Cow::Borrowed("an object"),
        Some(b'[') => Cow::Borrowed("an array"),
        // No content, and no page of it.
        _ if CONTENTS.contains(&name) => Cow::Borrowed("not a text"),
        _ if json.chars().count() > SHOWN_CHARS_MAX => {
            Cow::Owned(json.chars().take(SHOWN_CHARS_MAX).chain("..".chars()).collect())
        }
        _ => Cow::Borrowed(json),
    };
    format!("`{name}` is {shown}; allowed: {allowed}")
}

/// A member in base64, which may be broken into lines.
pub(super) fn base64(value: &RawValue, name: &str, wrong: &mut Vec<String>) -> Option<Vec<u8>> {
    let coded: String = given(Some(value), name, "base64 in one text", wrong)?;
    let digits: String = coded.split_ascii_whitespace().collect();
    let decoded = BASE64.decode(digits);
    decoded.map_err(|error| wrong.push(format!("`{name}` is no base64: {error}"))).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_is_read_with_and_without_padding_and_in_lines() {
        let mut wrong = Vec::new();
        let mut decode = |coded: &str| {
            let json = serde_json::value::to_raw_value(coded).unwrap();
            base64(&json, "binary_base64", &mut wrong)
        };
        assert_eq!(decode("aGVsbG8h\naGk=").unwrap(), b"hello!hi");
        assert_eq!(decode("aGk").unwrap(), b"hi");
        assert!(decode("a").is_none() && decode("a-b_").is_none());
        assert!(wrong.len() == 2 && wrong[0].starts_with("`binary_base64` is no base64: "), "{wrong:?}");
    }
}
