//! The names that an error gives itself.
//!
//! Services, and the fronts before them, put the name of an error into `code` or `type` or both, write
//! it as a word or as a number, and wrap one error in another. All names are read, the most telling
//! first; what they mean is not decided here. A message is never looked at.

use super::json::{Value, members};

/// Errors within errors that are looked into: Azure's own have two levels (`innererror`).
const DEPTH_MAX: usize = 4;

/// Names of one error that are kept; each wrapping has two or three.
const NAMES_MAX: usize = 16;

/// Bytes of a name; what is longer is a sentence.
const NAME_BYTES_MAX: usize = 128;

/// Where the error stands that caused an error, or what tells more of it.
const INNER: &[&[u8]] = &[b"innererror", b"inner_error", b"incomplete_details", b"status_details"];

/// The names of an error.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Failure {
    names: Vec<String>,
    class: Option<String>,
}

impl Failure {
    /// The error that a document is or carries.
    pub(super) fn read(document: &[u8]) -> Failure {
        let mut failure = Failure::default();
        // A wrapper says less than the error that it wraps, and an inner error more than the outer one.
        failure.inner(document, &[b"error"], 0);
        failure.own(document);
        failure.inner(document, INNER, 0);
        failure
    }

    /// Its name in an event: the first `code`, or else `type`; empty if it has neither.
    pub fn class(&self) -> &str {
        self.class.as_deref().unwrap_or_default()
    }

    /// All of its names, the most telling first.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.names.iter().map(String::as_str)
    }

    /// The names of one object: its code, its type, its status, and why it is incomplete.
    fn own(&mut self, object: &[u8]) {
        let (mut code, mut kind, mut status, mut reason) = (None, None, None, None);
        _ = members(object, |key, value| match key {
            b"code" => code = name(value),
            b"type" => kind = name(value).filter(|kind| kind != "error"),
            b"status" | b"status_code" => status = number(value).or(status.take()),
            b"reason" => reason = name(value),
            _ => {}
        });
        if self.class.is_none() {
            self.class = code.clone().or_else(|| kind.clone()).or_else(|| reason.clone());
        }
        let room = NAMES_MAX - self.names.len();
        self.names.extend([code, kind, status, reason].into_iter().flatten().take(room));
    }

    /// The errors that stand in an object under these keys.
    fn inner(&mut self, object: &[u8], keys: &[&[u8]], depth: usize) {
        if depth == DEPTH_MAX {
            return;
        }
        _ = members(object, |key, value| match value {
            _ if !keys.contains(&key) => {}
            Value::Object(inner) => {
                self.own(inner);
                self.inner(inner, &[b"error"], depth + 1);
                self.inner(inner, INNER, depth + 1);
            }
            // A code alone, or a message: it names nothing unless it is a known word.
            Value::Text(_) if self.names.len() < NAMES_MAX => self.names.extend(name(value)),
            _ => {}
        });
    }
}

/// A name may be a word or a number.
fn name(value: Value<'_>) -> Option<String> {
    match value {
        Value::Text(text) => {
            Some(text.lossy().into_owned()).filter(|name| (1..=NAME_BYTES_MAX).contains(&name.len()))
        }
        _ => number(value),
    }
}

fn number(value: Value<'_>) -> Option<String> {
    matches!(value, Value::Number(_)).then(|| value.whole().map(|number| number.to_string())).flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(document: &str) -> Vec<String> {
        Failure::read(document.as_bytes()).names
    }

    #[test]
    fn names_come_from_every_level_and_no_message_is_one() {
        for (document, class, expected) in [
            (
                r#"{"error":{"message":"429","type":"server_error","code":null}}"#,
                "server_error",
                &["server_error"][..],
            ),
            (r#"{"error":{"code":429,"type":"requests"}}"#, "429", &["429", "requests"]),
            (r#"{"type":"error","code":"x","message":"y"}"#, "x", &["x"]),
            (r#"{"type":"error","status":400,"error":{"type":"t","code":"c"}}"#, "c", &["c", "t", "400"]),
            (r#"{"error":{"error":{"code":"c"},"message":"m"}}"#, "c", &["c"]),
            (
                r#"{"error":{"code":"a","innererror":{"code":"b","inner_error":{"code":"c"}}}}"#,
                "a",
                &["a", "b", "c"],
            ),
            (
                r#"{"status":"failed","error":null,"incomplete_details":{"reason":"content_filter"}}"#,
                "content_filter",
                &["content_filter"],
            ),
            (r#"{"error":"rate_limit_exceeded"}"#, "", &["rate_limit_exceeded"]),
            (r#"{"error":{"message":"m"}}"#, "", &[]),
            (r#"{"error":{"code":"","type":[],"status":-1}}"#, "", &[]),
        ] {
            assert_eq!(names(document), expected, "{document}");
            assert_eq!(Failure::read(document.as_bytes()).class(), class, "{document}");
        }
    }

    #[test]
    fn errors_within_errors_have_an_end() {
        let deep = r#"{"error":"#.repeat(100) + r#"{"code":"c"}"# + &"}".repeat(100);
        assert!(names(&deep).is_empty());
        let wide = format!(
            r#"{{"error":{{{}"code":"c"}}}}"#,
            r#""innererror":{"code":"c","type":"t"},"#.repeat(100)
        );
        assert!(names(&wide).len() <= NAMES_MAX);
        let long = format!(r#"{{"error":{{"code":"{}"}}}}"#, "x".repeat(1000));
        assert!(names(&long).is_empty());
    }
}
