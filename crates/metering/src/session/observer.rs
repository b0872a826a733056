//! A session: the frames of its two directions, and what its messages mean.

use std::time::Duration;

use super::realtime::RealtimeMessages;
use super::responses::ResponsesMessages;
use super::sink::SessionSink;
use crate::api::SessionKind;
use crate::frames::{Frames, MessageSink};
use crate::meter::FramesRead;

/// A session so far.
#[derive(Debug)]
pub struct Session {
    client: Frames,
    server: Frames,
    messages: Messages,
}

#[derive(Debug)]
enum Messages {
    Realtime(Box<RealtimeMessages>),
    Responses(Box<ResponsesMessages>),
    /// They mean nothing here.
    Other,
}

impl Session {
    /// A session of these directions. `kind`: what its messages mean.
    pub fn new(kind: Option<SessionKind>, client: Frames, server: Frames) -> Session {
        match kind {
            // Its caller sends nothing that counts, so that side is not looked at.
            Some(SessionKind::Realtime) => {
                let messages = Messages::Realtime(Box::default());
                Session { client, server: server.reading(), messages }
            }
            Some(SessionKind::Responses) => {
                let messages = Messages::Responses(Box::default());
                Session { client: client.reading(), server: server.reading(), messages }
            }
            None => Session { client, server, messages: Messages::Other },
        }
    }

    /// The frames that the client sends.
    pub fn client(&self) -> &Frames {
        &self.client
    }

    /// The frames that the server sends.
    pub fn server(&self) -> &Frames {
        &self.server
    }

    /// A response is open.
    pub fn is_responding(&self) -> bool {
        match &self.messages {
            Messages::Realtime(messages) => messages.open() > 0,
            Messages::Responses(messages) => messages.open() > 0,
            Messages::Other => false,
        }
    }

    /// How far its frames could be read.
    pub fn frames_read(&self) -> FramesRead {
        match (self.client.is_readable(), self.server.is_readable()) {
            (_, false) => FramesRead::NotTheServices,
            (false, true) => FramesRead::NotTheCallers,
            (true, true) => FramesRead::All,
        }
    }

    /// The next bytes from the client, `since` the session began, for as long as `budget` lasts. Returns how many
    /// were taken; the others are to be given again.
    pub fn from_client(&mut self, bytes: &[u8], budget: &mut usize, since: Duration) -> usize {
        match &mut self.messages {
            Messages::Responses(messages) => {
                self.client.push(bytes, budget, &mut FromClient { messages, since })
            }
            Messages::Realtime(_) | Messages::Other => self.client.push(bytes, budget, &mut ()),
        }
    }

    /// The same from the server; `sink` is told what happens.
    pub fn from_server(
        &mut self,
        bytes: &[u8],
        budget: &mut usize,
        since: Duration,
        sink: &mut impl SessionSink,
    ) -> usize {
        match &mut self.messages {
            Messages::Realtime(messages) => {
                self.server.push(bytes, budget, &mut RealtimeServer { messages, since, sink })
            }
            Messages::Responses(messages) => {
                self.server.push(bytes, budget, &mut ResponsesServer { messages, since, sink })
            }
            Messages::Other => self.server.push(bytes, budget, &mut ()),
        }
    }
}

struct FromClient<'a> {
    messages: &'a mut ResponsesMessages,
    since: Duration,
}

impl MessageSink for FromClient<'_> {
    fn text(&mut self, piece: &[u8]) {
        self.messages.requests.push(piece);
    }

    fn end(&mut self) {
        self.messages.requests.end_message(self.since);
    }
}

struct RealtimeServer<'a, S> {
    messages: &'a mut RealtimeMessages,
    since: Duration,
    sink: &'a mut S,
}

impl<S: SessionSink> MessageSink for RealtimeServer<'_, S> {
    fn text(&mut self, piece: &[u8]) {
        self.messages.push(piece);
    }

    fn end(&mut self) {
        self.messages.end_message(self.since, self.sink);
    }
}

struct ResponsesServer<'a, S> {
    messages: &'a mut ResponsesMessages,
    since: Duration,
    sink: &'a mut S,
}

impl<S: SessionSink> MessageSink for ResponsesServer<'_, S> {
    fn text(&mut self, piece: &[u8]) {
        self.messages.push(piece, self.since, self.sink);
    }

    fn end(&mut self) {
        self.messages.end_message(self.since, self.sink);
    }
}
