//! The messages in which a caller of the Responses API asks for responses, until the service says what became of
//! each.

use std::collections::VecDeque;
use std::time::Duration;

use http::StatusCode;
use smol_str::SmolStr;

use super::head::{MessageHead, MessageKind};
use super::sink::BegunResponse;
use crate::chunk::{RequestFacts, RequestScan};

/// Requests that may wait for the service: it takes one at a time, or refuses it. Of what is beyond the oldest are
/// forgotten, and their responses have no deployment.
const REQUESTS_MAX: usize = 64;

/// The requests of a session.
#[derive(Debug, Default)]
pub(super) struct Requests {
    /// The message that has begun. Boxed, so that a session that waits holds little.
    message: Option<Box<RequestMessage>>,
    waiting: VecDeque<Request>,
    /// Some named a stream.
    pub(super) has_streams: bool,
}

#[derive(Debug, Default)]
struct RequestMessage {
    head: MessageHead,
    scan: RequestScan,
    bytes: u64,
}

/// A request that waits for the service.
#[derive(Debug)]
struct Request {
    stream_id: Option<SmolStr>,
    facts: RequestFacts,
    bytes: u64,
    since: Duration,
}

impl Requests {
    /// More of a message of the caller.
    pub(super) fn push(&mut self, text: &[u8]) {
        let message = self.message.get_or_insert_default();
        message.head.push(text);
        message.scan.push(text);
        message.bytes = message.bytes.saturating_add(text.len() as u64);
    }

    /// The message is whole, `since` the session began.
    pub(super) fn end_message(&mut self, since: Duration) {
        let Some(mut message) = self.message.take() else { return };
        let head = message.head.take();
        if head.kind != MessageKind::Request {
            return;
        }
        if self.waiting.len() == REQUESTS_MAX {
            self.waiting.pop_front();
        }
        self.has_streams |= head.stream_id.is_some();
        // Its events come one by one, whether it says so or not.
        let facts = RequestFacts { stream: Some(true), ..message.scan.facts() };
        self.waiting.push_back(Request { stream_id: head.stream_id, facts, bytes: message.bytes, since });
    }

    /// Takes the oldest request of a stream, and makes the response of it that begins. `None`: there is none.
    pub(super) fn take(&mut self, stream_id: Option<&SmolStr>, status: StatusCode) -> Option<BegunResponse> {
        let at = self.waiting.iter().position(|request| request.stream_id.as_ref() == stream_id)?;
        let Request { facts, bytes, since, .. } = self.waiting.remove(at)?;
        Some(BegunResponse { id: None, since, status, facts, request_bytes: bytes, is_transcription: false })
    }
}

/// A response of which no request is known.
pub(super) fn unasked(id: Option<SmolStr>, since: Duration) -> BegunResponse {
    let facts = RequestFacts { stream: Some(true), ..RequestFacts::default() };
    BegunResponse { id, since, status: StatusCode::OK, facts, request_bytes: 1, is_transcription: false }
}
