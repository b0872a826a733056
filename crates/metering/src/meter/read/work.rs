//! Work that a response tells of: how far it has come, and what it names beside its usage.

use smol_str::SmolStr;

use super::label::label;
use crate::api::DeferredKind;
use crate::chunk::{Response, Work};

/// How far work has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum WorkState {
    /// It goes on, or has yet to begin.
    GoesOn,
    /// It is done.
    Completed,
    /// It will not be done, or not all of it.
    Ended,
}

/// Work as its object was seen last.
#[derive(Clone, Debug)]
pub(crate) struct SeenWork {
    pub(crate) kind: DeferredKind,
    pub(crate) state: WorkState,
    /// The file that holds the responses of a batch.
    pub(crate) output_file: Option<SmolStr>,
    length_ms: Option<u64>,
}

impl SeenWork {
    /// A response that is made in the background.
    pub(super) fn of_response(response: &Response<'_>) -> Option<Box<SeenWork>> {
        let state = WorkState::of(&response.status?.key());
        let kind = DeferredKind::Response;
        Some(Box::new(SeenWork { kind, state, output_file: None, length_ms: None }))
    }

    /// An object of this kind; `None` if it is something else.
    pub(super) fn of_object(kind: DeferredKind, work: &Work<'_>) -> Option<Box<SeenWork>> {
        let object = work.object?.key();
        kind.objects().iter().find(|name| name.as_bytes() == &*object)?;
        Some(Box::new(SeenWork {
            kind,
            state: WorkState::of(&work.status?.key()),
            output_file: work.output_file.and_then(|file| label(&file.lossy())),
            length_ms: work.length_ms,
        }))
    }

    /// Milliseconds of video, once they are made.
    pub(crate) fn video_ms(&self) -> Option<u64> {
        let made = self.kind == DeferredKind::Video && self.state == WorkState::Completed;
        self.length_ms.filter(|_| made)
    }
}

impl WorkState {
    /// A status that is not known is none of the last ones.
    fn of(status: &[u8]) -> WorkState {
        match status {
            b"completed" | b"succeeded" => WorkState::Completed,
            b"failed" | b"incomplete" | b"cancelled" | b"expired" => WorkState::Ended,
            _ => WorkState::GoesOn,
        }
    }
}
