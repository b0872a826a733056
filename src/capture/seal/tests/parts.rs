//! Parts for the tests.

use std::time::Instant;

use metering::caller::Trust;
use metering::usage::{
    CONTENT_SCHEMA_VERSION, ContentCaller, ContentPart, ContentSide, ContentTarget, Outcome, PartFacts,
    Reporter, UsageRecord, part_id,
};
use smol_str::SmolStr;

use crate::capture::seal::Sealer;

pub(super) const CALL: &str = "01987f2e-9c1a-7b3e-8d5f-2a4b6c8d0e1f";

/// The facts of a part of so many bytes, with every member set.
pub(super) fn facts(part: u64, bytes_raw: usize) -> PartFacts {
    let text = |text: &str| Some(SmolStr::new(text));
    PartFacts {
        call: CALL.into(),
        usage: UsageRecord::Event,
        caller: ContentCaller { id: "team-a".into(), department: text("sales"), trust: Trust::None },
        target: ContentTarget {
            api: serde_json::from_value("chat_completions".into()).unwrap(),
            resource: "eastus".into(),
            deployment: text("gpt-4o"),
            model: text("gpt-4o-2024-11-20"),
            api_version: text("2024-10-21"),
        },
        side: ContentSide::Response,
        part,
        last: true,
        bytes_raw: bytes_raw as u64,
        content_type: text("text/event-stream"),
        content_encoding: text("gzip"),
        status: Some(200),
        edited: vec!["stream_options".into()],
        outcome: Some(Outcome::Complete),
        truncated: true,
    }
}

/// Content as the capture thread compresses it: a frame for each block.
pub(super) fn compressed(content: &[u8], block_bytes: usize) -> Vec<u8> {
    let frames = content.chunks(block_bytes.max(1)).map(|block| zstd::bulk::compress(block, 1).unwrap());
    frames.collect::<Vec<_>>().concat()
}

pub(super) fn id_of(facts: &PartFacts) -> String {
    part_id(&facts.call, facts.side, facts.part)
}

/// A part with these facts and this compressed content.
pub(super) fn sealed(sealer: &mut Sealer, facts: PartFacts, compressed: &[u8]) -> ContentPart {
    let content = sealer.seal(&id_of(&facts), &facts, compressed, Instant::now()).unwrap();
    ContentPart {
        schema_version: CONTENT_SCHEMA_VERSION.into(),
        facts,
        reporter: Reporter {
            instance: "018f3a1e-0000-7000-8000-000000000000".into(),
            version: "0.1.0".into(),
        },
        jwe: content.jwe,
        cleartext: content.cleartext,
    }
}

/// The part of these bytes.
pub(super) fn part_of(sealer: &mut Sealer, number: u64, content: &[u8]) -> ContentPart {
    sealed(sealer, facts(number, content.len()), &compressed(content, 32 << 10))
}
