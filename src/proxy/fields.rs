//! Header fields that are looked at on both sides.

use http::header::TRANSFER_ENCODING;
use http::{HeaderMap, HeaderName};

/// `Transfer-Encoding` says `chunked` and nothing else.
pub(crate) fn only_chunked(headers: &HeaderMap) -> bool {
    let mut values = headers.get_all(TRANSFER_ENCODING).iter();
    values.next().is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"chunked"))
        && values.next().is_none()
}

/// A list field has this member, in any case.
pub(crate) fn has_token(headers: &HeaderMap, name: &HeaderName, token: &str) -> bool {
    headers.get_all(name).iter().any(|value| {
        value
            .as_bytes()
            .split(|&byte| byte == b',')
            .any(|part| part.trim_ascii().eq_ignore_ascii_case(token.as_bytes()))
    })
}
