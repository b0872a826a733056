//! Which event ends a stream, for each API.

use crate::usage::Api;

/// What the last event of a stream says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Last {
    /// All has been said.
    Ended,
    /// It ended by an error.
    Failed,
}

/// A stream of this API has an end marker, so one that ends without it has been cut, however cleanly.
/// Where none is known, the end of the framing is the end.
pub(super) fn has_marker(api: Api) -> bool {
    match api {
        // `data: [DONE]`.
        Api::ChatCompletions | Api::Completions | Api::Assistants => true,
        // `response.completed` and its like.
        Api::Responses => true,
        // `image_generation.completed`, `image_edit.completed`.
        Api::Images => true,
        // `transcript.text.done`, `speech.audio.done`.
        Api::Audio => true,
        // Nobody documents a stream of these.
        Api::Embeddings | Api::Batch | Api::Websocket => false,
        // Whatever it is.
        Api::Other => false,
    }
}

/// What an event of this `type` ends; `None` if more is to come. Known words count in any API.
pub(super) fn last(kind: &[u8]) -> Option<Last> {
    match kind {
        b"response.completed" | b"response.incomplete" | b"response.cancelled" => Some(Last::Ended),
        b"response.failed" => Some(Last::Failed),
        b"image_generation.completed" | b"image_edit.completed" => Some(Last::Ended),
        b"transcript.text.done" | b"speech.audio.done" => Some(Last::Ended),
        // Anthropic's Messages.
        b"message_stop" => Some(Last::Ended),
        _ => None,
    }
}

/// An event of this `type` brings some of an answer that is not read here: it is no greeting, no sign
/// of life and no error.
pub(super) fn is_progress(kind: &[u8]) -> bool {
    let preface = [&b"error"[..], b"ping", b"message_start", b"response.failed"];
    let states = [&b".created"[..], b".queued", b".in_progress"];
    !preface.contains(&kind) && !states.iter().any(|state| kind.ends_with(state))
}
