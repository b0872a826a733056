//! A call as a line of JSON: what its parts say in the clear, and each side put together for people.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use jiff::Timestamp;
use metering::usage::{ContentCaller, ContentTarget, Outcome, UsageRecord};
use serde::Serialize;
use smol_str::SmolStr;

use super::opened_side::{OpenedSide, shown};
use super::readable::{Readable, readable};
use super::stored_part::StoredPart;

/// A call.
#[derive(Serialize)]
pub(super) struct ContentRecord<'a> {
    call: &'a SmolStr,
    source: &'a SmolStr,
    /// When it began.
    time: Option<Timestamp>,
    usage: UsageRecord,
    caller: &'a ContentCaller,
    target: &'a ContentTarget,
    #[serde(skip_serializing_if = "Option::is_none")]
    request: Option<SideRecord<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    response: Option<SideRecord<'a>>,
}

/// One side of it.
#[derive(Serialize)]
struct SideRecord<'a> {
    /// Everything that was kept of it could be read.
    whole: bool,
    /// More passed than was kept.
    truncated: bool,
    /// It was sealed.
    sealed: bool,
    parts: u64,
    bytes: usize,
    #[serde(skip_serializing_if = "Option::is_none")]
    content_type: &'a Option<SmolStr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    content_encoding: &'a Option<SmolStr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<u16>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    edited: &'a [SmolStr],
    #[serde(skip_serializing_if = "Option::is_none")]
    outcome: Option<Outcome>,
    /// Runs of numbers of parts that are not there.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    missing_parts: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    faults: Vec<FaultRecord<'a>>,
    content: Readable,
    /// Parts behind one that is missing or cannot be opened.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    beyond: Vec<BeyondRecord>,
}

#[derive(Serialize)]
struct FaultRecord<'a> {
    part: &'a str,
    fault: &'a str,
}

#[derive(Serialize)]
struct BeyondRecord {
    part: u64,
    base64: String,
}

impl<'a> ContentRecord<'a> {
    /// A call of which this is a part, and these are the sides.
    pub(super) fn new(
        part: &'a StoredPart,
        request: Option<&'a OpenedSide>,
        response: Option<&'a OpenedSide>,
    ) -> ContentRecord<'a> {
        let facts = &part.part.facts;
        ContentRecord {
            call: &facts.call,
            source: &part.source,
            time: part.call_time(),
            usage: facts.usage,
            caller: &facts.caller,
            target: &facts.target,
            request: request.map(SideRecord::new),
            response: response.map(SideRecord::new),
        }
    }
}

impl<'a> SideRecord<'a> {
    fn new(side: &'a OpenedSide) -> SideRecord<'a> {
        let (first, last) = (&side.first, side.last.as_ref());
        let fault =
            |fault: &'a super::opened_side::PartFault| FaultRecord { part: &fault.id, fault: &fault.fault };
        let beyond = side
            .beyond
            .iter()
            .map(|(part, bytes)| BeyondRecord { part: *part, base64: BASE64_STANDARD.encode(bytes) });
        SideRecord {
            whole: side.is_whole(),
            truncated: side.is_truncated(),
            sealed: !side.is_cleartext,
            parts: side.parts,
            bytes: side.bytes.len(),
            content_type: &first.content_type,
            content_encoding: &first.content_encoding,
            status: last.unwrap_or(first).status,
            edited: &last.unwrap_or(first).edited,
            outcome: last.and_then(|last| last.outcome),
            missing_parts: side.missing.iter().map(shown).collect(),
            faults: side.faults.iter().map(fault).collect(),
            content: readable(first, &side.bytes),
            beyond: beyond.collect(),
        }
    }
}
