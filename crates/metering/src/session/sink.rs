//! The trait through which a session tells which responses begin and end in it, and shows what each is read from.

use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use smol_str::SmolStr;

use crate::chunk::RequestFacts;
use crate::meter::SessionNames;

/// The number of a response in its session.
pub type LaneNumber = u32;

/// A response that begins.
#[derive(Debug)]
pub struct BegunResponse {
    /// Its id, where it is known from the beginning: that of an item for what was written down.
    pub id: Option<SmolStr>,
    /// When it began, since its session did.
    pub since: Duration,
    /// The status that it would have by HTTP.
    pub status: StatusCode,
    /// The request that it answers, as its message says it.
    pub facts: RequestFacts,
    /// Bytes of that message.
    pub request_bytes: u64,
    /// It is what was heard and written down, by a model of its own.
    pub is_transcription: bool,
}

/// Is told what happens in a session.
pub trait SessionSink {
    /// The session says what it is.
    fn named(&mut self, names: &SessionNames);

    /// A response begins. False: nobody wants to be told of it.
    fn begin(&mut self, lane: LaneNumber, response: BegunResponse) -> bool;

    /// The next bytes of a response, as by HTTP: of a stream of events, or of the document of an error.
    fn show(&mut self, lane: LaneNumber, bytes: Bytes);

    /// Not all that was said in a response is shown: there was more of a message than is held.
    fn left_out(&mut self, lane: LaneNumber);

    /// The response is over.
    fn end(&mut self, lane: LaneNumber);
}
