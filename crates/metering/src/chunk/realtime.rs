//! Events of the Realtime API. Those of its preview differ in names that do not matter here.

use super::failure::Failure;
use super::json::{Malformed, Text, members};

/// One event of a session.
#[derive(Clone, Copy, Debug, Default)]
pub struct RealtimeEvent<'a> {
    /// `response_id`: the response that it belongs to.
    pub response_id: Option<Text<'a>>,
    /// `item_id`: the item of the conversation that it belongs to.
    pub item_id: Option<Text<'a>>,
    kind: Option<Text<'a>>,
    response: Option<&'a [u8]>,
    session: Option<&'a [u8]>,
    document: &'a [u8],
}

/// The kinds of events that matter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RealtimeEventKind {
    /// The session says what it is.
    Session,
    /// A response has begun.
    Created,
    /// More of a response.
    Delta,
    /// A response has ended, in whatever way.
    Done,
    /// Something that was heard has been written down.
    Transcribed,
    /// An error that ends no response.
    Error,
    /// Anything else.
    Other,
}

/// A response of a session.
#[derive(Clone, Copy, Debug, Default)]
pub struct RealtimeResponse<'a> {
    /// `id`
    pub id: Option<Text<'a>>,
    /// `status`
    pub status: Option<Text<'a>>,
    details: Option<&'a [u8]>,
}

/// The names that a session gives itself.
#[derive(Clone, Copy, Debug, Default)]
pub struct RealtimeSession<'a> {
    /// `id`
    pub id: Option<Text<'a>>,
    /// `model`
    pub model: Option<Text<'a>>,
    /// `audio.input.transcription.model`, or the preview's `input_audio_transcription.model`.
    pub transcription_model: Option<Text<'a>>,
}

impl RealtimeEventKind {
    /// The kind of an event of this `type`.
    pub fn of(name: &[u8]) -> RealtimeEventKind {
        match name {
            // A session that only transcribes has the longer names, in the preview.
            b"session.created" | b"transcription_session.created" => RealtimeEventKind::Session,
            b"session.updated" | b"transcription_session.updated" => RealtimeEventKind::Session,
            b"response.created" => RealtimeEventKind::Created,
            b"response.done" => RealtimeEventKind::Done,
            b"conversation.item.input_audio_transcription.completed" => RealtimeEventKind::Transcribed,
            b"error" => RealtimeEventKind::Error,
            kind if kind.starts_with(b"response.") && kind.ends_with(b".delta") => RealtimeEventKind::Delta,
            _ => RealtimeEventKind::Other,
        }
    }
}

impl<'a> RealtimeEvent<'a> {
    /// Reads one event.
    ///
    /// # Errors
    /// [`Malformed`] if `document` is no JSON object.
    pub fn parse(document: &'a [u8]) -> Result<RealtimeEvent<'a>, Malformed> {
        let mut event = RealtimeEvent { document, ..RealtimeEvent::default() };
        members(document, |key, value| match key {
            b"type" => event.kind = value.text(),
            b"response_id" => event.response_id = value.text(),
            b"item_id" => event.item_id = value.text(),
            b"response" => event.response = value.object(),
            b"session" => event.session = value.object(),
            _ => {}
        })?;
        Ok(event)
    }

    /// Its kind, by its `type`.
    pub fn kind(&self) -> RealtimeEventKind {
        self.kind.map_or(RealtimeEventKind::Other, |kind| RealtimeEventKind::of(&kind.key()))
    }
    /// The response that it carries.
    pub fn response(&self) -> Option<RealtimeResponse<'a>> {
        let mut response = RealtimeResponse::default();
        members(self.response?, |key, value| match key {
            b"id" => response.id = value.text(),
            b"status" => response.status = value.text(),
            b"status_details" => response.details = value.object(),
            _ => {}
        })
        .ok()?;
        Some(response)
    }

    /// The session that it describes.
    pub fn session(&self) -> Option<RealtimeSession<'a>> {
        let object = self.session?;
        let mut session = RealtimeSession::default();
        members(object, |key, value| match key {
            b"id" => session.id = value.text(),
            b"model" => session.model = value.text(),
            _ => {}
        })
        .ok()?;
        let paths: [&[&[u8]]; 2] = [&[b"audio", b"input", b"transcription"], &[b"input_audio_transcription"]];
        session.transcription_model = paths.into_iter().find_map(|path| model_at(object, path));
        Some(session)
    }

    /// The names that its error gives itself.
    pub fn failure(&self) -> Failure {
        Failure::read(self.document)
    }
}

impl RealtimeResponse<'_> {
    /// It has failed.
    pub fn has_failed(&self) -> bool {
        self.status.is_some_and(|status| &*status.key() == b"failed")
    }

    /// The names that its error gives itself.
    pub fn failure(&self) -> Failure {
        self.details.map(Failure::read).unwrap_or_default()
    }
}

/// The `model` of an object within another.
fn model_at<'a>(object: &'a [u8], path: &[&[u8]]) -> Option<Text<'a>> {
    let (mut inner, mut model) = (None, None);
    let wanted = path.first().copied();
    members(object, |key, value| {
        if Some(key) == wanted {
            inner = value.object();
        } else if wanted.is_none() && key == b"model" {
            model = value.text();
        }
    })
    .ok()?;
    if wanted.is_some() { model_at(inner?, &path[1..]) } else { model }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: Option<Text<'_>>) -> Option<String> {
        text.map(|text| text.lossy().into_owned())
    }

    #[test]
    fn what_a_session_says_of_itself() {
        for (document, expected) in [
            (r#"{"type":"session.created","session":{"id":"s","model":"m"}}"#, (Some("s"), Some("m"), None)),
            (
                r#"{"session":{"audio":{"output":{"model":"no"},"input":{"transcription":{"language":"en","model":"t"}}},"model":"m"},"type":"session.updated"}"#,
                (None, Some("m"), Some("t")),
            ),
            (
                r#"{"type":"transcription_session.updated","session":{"id":"s","input_audio_transcription":{"model":"t"}}}"#,
                (Some("s"), None, Some("t")),
            ),
            (
                r#"{"type":"session.updated","session":{"id":"s","audio":{"input":{"transcription":null}}}}"#,
                (Some("s"), None, None),
            ),
        ] {
            let event = RealtimeEvent::parse(document.as_bytes()).unwrap();
            assert_eq!(event.kind(), RealtimeEventKind::Session);
            let session = event.session().unwrap();
            let found = (text(session.id), text(session.model), text(session.transcription_model));
            let (id, model, transcription) = expected;
            assert_eq!(found, (id.map(Into::into), model.map(Into::into), transcription.map(Into::into)));
        }
    }

    #[test]
    fn kinds_of_events() {
        use RealtimeEventKind::{Delta, Done, Error, Other};
        for (name, kind) in [
            ("response.audio.delta", Delta),
            ("response.output_audio_transcript.delta", Delta),
            ("conversation.item.input_audio_transcription.delta", Other),
            ("conversation.item.input_audio_transcription.failed", Other),
            ("response.done", Done),
            ("response.output_audio.done", Other),
            ("error", Error),
        ] {
            let document = format!(r#"{{"type":"{name}"}}"#);
            assert_eq!(RealtimeEvent::parse(document.as_bytes()).unwrap().kind(), kind, "{name}");
        }
        assert_eq!(RealtimeEvent::parse(b"{}").unwrap().kind(), Other);
    }

    #[test]
    fn a_response_says_how_it_failed() {
        let document = br#"{"type":"response.done","response":{"id":"r","status":"failed","status_details":
            {"type":"failed","error":{"type":"server_error","code":"overloaded"}}}}"#;
        let response = RealtimeEvent::parse(document).unwrap().response().unwrap();
        assert!(response.has_failed());
        assert_eq!((text(response.id).as_deref(), response.failure().class()), (Some("r"), "overloaded"));
    }
}
