//! The events of a stream: what each says, and what the stream is.

use metering::sse::{Decoder, Event};
use serde_json::{Value, json};

/// How a stream of these APIs says that it is over.
const DONE: &[u8] = b"[DONE]";

/// Names of events of Messages that begin or go on with one.
const MESSAGES: [&str; 7] = [
    "message_start",
    "content_block_start",
    "content_block_delta",
    "content_block_stop",
    "message_delta",
    "message_stop",
    "ping",
];

/// The kind of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum StreamKind {
    Chat,
    Messages,
    Responses,
    Other,
    /// There is no event in it.
    None,
}

/// The events of a stream, in order.
#[derive(Debug, Default)]
pub(super) struct StreamEvents {
    events: Vec<StreamEvent>,
}

#[derive(Debug)]
struct StreamEvent {
    name: String,
    /// A text where it is no JSON.
    data: Value,
}

impl StreamEvents {
    /// The events in these bytes, which are whole or cut.
    pub(super) fn of(bytes: &[u8]) -> StreamEvents {
        let mut all = StreamEvents::default();
        let mut take = |event: Event<'_>| all.take(event);
        let mut decoder = Decoder::holding(bytes.len());
        decoder.push(bytes, &mut take);
        decoder.finish(&mut take);
        all
    }

    fn take(&mut self, event: Event<'_>) {
        if event.data == DONE {
            return;
        }
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let data = serde_json::from_slice(event.data).unwrap_or_else(|_| Value::String(text(event.data)));
        self.events.push(StreamEvent { name: text(event.name), data });
    }

    /// The kind of the events, by the first that names it.
    pub(super) fn kind(&self) -> StreamKind {
        if self.events.is_empty() {
            return StreamKind::None;
        }
        self.objects().find_map(kind_of).unwrap_or(StreamKind::Other)
    }

    /// The data of those that are JSON.
    pub(super) fn objects(&self) -> impl Iterator<Item = &Value> {
        self.events.iter().map(|event| &event.data).filter(|data| data.is_object())
    }

    /// The data of those that are something else, such as one that is cut.
    pub(super) fn others(&self) -> Vec<Value> {
        self.events.iter().map(|event| &event.data).filter(|data| !data.is_object()).cloned().collect()
    }

    /// All of them, as they are.
    pub(super) fn listed(&self) -> Value {
        let one = |event: &StreamEvent| match event.name.as_str() {
            "" => json!({"data": event.data}),
            name => json!({"event": name, "data": event.data}),
        };
        self.events.iter().map(one).collect()
    }
}

fn kind_of(event: &Value) -> Option<StreamKind> {
    let kind = event["type"].as_str();
    match kind {
        Some(kind) if kind.starts_with("response.") => Some(StreamKind::Responses),
        Some(kind) if MESSAGES.contains(&kind) => Some(StreamKind::Messages),
        None if event["choices"].is_array() => Some(StreamKind::Chat),
        _ => None,
    }
}

/// Adds what a stream says besides its document: errors, and events that could not be read.
pub(super) fn add_remarks(document: &mut Value, errors: Vec<Value>, others: Vec<Value>) {
    for (name, remarks) in [("errors", errors), ("unread_events", others)] {
        if !remarks.is_empty() {
            document[name] = Value::Array(remarks);
        }
    }
}
