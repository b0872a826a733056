//! Content put together for people: the deltas of a stream as the messages that they are, JSON as it is, text as text.
//! Whatever cannot be put together is given as it passed, with the reason.
//!
//! What a stream is, its own events say, so it is put together as well where the path was unknown.
//!
//! | file | what it holds |
//! |---|---|
//! | `compact` | JSON on one line, with every byte that means something |
//! | `stream` | the events of a stream |
//! | `merge` | deltas merged into what came before |
//! | `chat` | chat completions, and completions |
//! | `messages` | Messages |
//! | `responses` | Responses |

mod chat;
mod compact;
mod merge;
mod messages;
mod responses;
mod stream;
#[cfg(test)]
mod tests;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use http::header::CONTENT_ENCODING;
use http::{HeaderMap, HeaderValue};
use metering::meter::Representation;
use metering::usage::PartFacts;
use serde::Serialize;
use serde_json::Value;
use serde_json::value::{RawValue, to_raw_value};

use stream::{StreamEvents, StreamKind};

/// The media type of a stream of events.
const EVENT_STREAM: &str = "text/event-stream";

/// Content as people read it.
#[derive(Debug, Default, Serialize)]
pub(super) struct Readable {
    form: Form,
    #[serde(skip_serializing_if = "Option::is_none")]
    json: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    text: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    base64: Option<String>,
    /// Why it is not more than it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<&'static str>,
}

/// The kind of the content.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Form {
    /// There is none.
    #[default]
    Empty,
    /// A document, as it is.
    Json,
    /// A stream of chat completions or completions, put together as the document that it stands for.
    Chat,
    /// The same of Messages.
    Messages,
    /// The same of Responses.
    Responses,
    /// The events of another stream, in order.
    Events,
    /// A text.
    Text,
    /// Anything else.
    Bytes,
}

/// Puts the content of a side together; `facts` are those of one of its parts.
pub(super) fn readable(facts: &PartFacts, bytes: &[u8]) -> Readable {
    if bytes.is_empty() {
        return Readable::default();
    }
    let (plain, is_undone) = undone(facts.content_encoding.as_deref(), bytes);
    if !is_undone && plain.is_empty() {
        return raw(bytes, "its content coding cannot be undone");
    }
    let mut readable = of_plain(&media_type(facts), &plain);
    if !is_undone {
        readable.reason = Some("its content coding ends early: this is what can be read of it");
    }
    readable
}

fn of_plain(media_type: &str, plain: &[u8]) -> Readable {
    let Ok(text) = std::str::from_utf8(plain) else { return not_text(media_type, plain) };
    if media_type == EVENT_STREAM {
        return of_stream(plain);
    }
    if let Some(json) = compact::raw_json(text) {
        return Readable { form: Form::Json, json: Some(json), ..Readable::default() };
    }
    let is_json = media_type.ends_with("json");
    let reason = is_json.then_some("it is no JSON, or is cut");
    Readable { form: Form::Text, text: Some(text.to_owned()), reason, ..Readable::default() }
}

/// A stream may be cut within a character.
fn not_text(media_type: &str, plain: &[u8]) -> Readable {
    if media_type == EVENT_STREAM { of_stream(plain) } else { raw(plain, "it is no text") }
}

fn of_stream(plain: &[u8]) -> Readable {
    let events = StreamEvents::of(plain);
    let (form, value) = match events.kind() {
        StreamKind::Chat => (Form::Chat, chat::assembled(&events)),
        StreamKind::Messages => (Form::Messages, messages::assembled(&events)),
        StreamKind::Responses => (Form::Responses, responses::assembled(&events)),
        StreamKind::Other => (Form::Events, events.listed()),
        StreamKind::None => return raw(plain, "it is a stream without an event"),
    };
    of_value(form, &value, plain)
}

fn of_value(form: Form, value: &Value, plain: &[u8]) -> Readable {
    match to_raw_value(value) {
        Ok(json) => Readable { form, json: Some(json), ..Readable::default() },
        Err(_) => raw(plain, "it cannot be written as JSON"),
    }
}

fn raw(bytes: &[u8], reason: &'static str) -> Readable {
    Readable {
        form: Form::Bytes,
        base64: Some(BASE64_STANDARD.encode(bytes)),
        reason: Some(reason),
        ..Readable::default()
    }
}

/// The content without its codings, and whether all of it could be had.
fn undone(content_encoding: Option<&str>, bytes: &[u8]) -> (Vec<u8>, bool) {
    let Some(coding) = content_encoding else { return (bytes.to_vec(), true) };
    let Ok(coding) = HeaderValue::from_str(coding) else { return (Vec::new(), false) };
    let headers = HeaderMap::from_iter([(CONTENT_ENCODING, coding)]);
    Representation::of(&headers).decoded_prefix(&[Bytes::copy_from_slice(bytes)])
}

/// The media type in lower case, without its parameters; empty where there is none.
fn media_type(facts: &PartFacts) -> String {
    let whole = facts.content_type.as_deref().unwrap_or_default();
    whole.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}
