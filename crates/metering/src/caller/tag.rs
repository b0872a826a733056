//! A second key of calls beside the one who pays, such as the end user behind an application: a header, and the name
//! under which events hold its value.

use std::str::FromStr;

use http::header::HeaderName;
use smol_str::SmolStr;

use super::fields::is_taken;

/// Tags that may be configured. Each makes every event longer.
pub const TAGS_MAX: usize = 8;

/// Bytes of a tag's name, which is a column of somebody's table: PostgreSQL takes 63.
const NAME_BYTES_MAX: usize = 63;

/// Between the name of a tag and its header. Neither can have it.
const NAME_ENDS: char = '=';

/// Behind a header whose value stands in events as it is. No name of a field has a colon.
const PLAIN: &str = ":plain";

/// A second key of calls.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallerTag {
    /// Its name in events.
    pub name: SmolStr,
    /// The header that holds its value.
    pub header: HeaderName,
    /// The value stands in events as it is; else its keyed hash does, since it may be a person's name.
    pub plain: bool,
}

/// A text that describes no tag. Whether its content may be told is for the reader of the text to say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseTagError {
    /// It has another form.
    #[error(
        "is no tag; allowed: NAME=HEADER or NAME=HEADER:plain, the name of 1 to {NAME_BYTES_MAX} letters, digits, - _ ."
    )]
    Form,
    /// The header is not free to hold a tag.
    #[error("is not allowed: that header holds a credential or belongs to HTTP; allowed: one of your own")]
    Taken,
}

impl FromStr for CallerTag {
    type Err = ParseTagError;

    fn from_str(text: &str) -> Result<CallerTag, ParseTagError> {
        let (name, header) = text.split_once(NAME_ENDS).ok_or(ParseTagError::Form)?;
        let (header, plain) = match header.strip_suffix(PLAIN) {
            Some(header) => (header, true),
            None => (header, false),
        };
        let header: HeaderName = header.parse().map_err(|_| ParseTagError::Form)?;
        if !is_name(name) {
            return Err(ParseTagError::Form);
        }
        if is_taken(&header) {
            return Err(ParseTagError::Taken);
        }
        Ok(CallerTag { name: name.into(), header, plain })
    }
}

/// A name that is safe as a key of JSON, a column and a part of a command.
fn is_name(name: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.');
    (1..=NAME_BYTES_MAX).contains(&name.len()) && name.bytes().all(fits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_is_a_name_and_a_header() {
        for (text, name, header, plain) in [
            ("user=X-End-User", "user", "x-end-user", false),
            ("Cost-Center_2.b=x-desk:plain", "Cost-Center_2.b", "x-desk", true),
        ] {
            let expected = CallerTag { name: name.into(), header: HeaderName::from_static(header), plain };
            assert_eq!(text.parse(), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_is_no_tag_is_refused() {
        let long = format!("{}=x-a", "n".repeat(NAME_BYTES_MAX + 1));
        for bad in [
            "",
            "=",
            "user",
            "user=",
            "=x-a",
            "us er=x-a",
            "us\u{e9}r=x-a",
            "a:b=x-a",
            "user=x a",
            "user=x-a:",
            "user=x-a:hash",
            "user=x-a:plain:plain",
            "user=x-a=b",
            "user=:plain",
            "user==x-a",
            &long,
        ] {
            assert_eq!(bad.parse::<CallerTag>(), Err(ParseTagError::Form), "{bad:?}");
        }
        for taken in
            ["user=Authorization", "user=X-Api-Key:plain", "user=x-tokenweir-auth", "user=Content-Type"]
        {
            assert_eq!(taken.parse::<CallerTag>(), Err(ParseTagError::Taken), "{taken}");
        }
        let longest = format!("{}=x-a", "n".repeat(NAME_BYTES_MAX));
        assert!(longest.parse::<CallerTag>().is_ok());
    }
}
