//! What is kept of parts has a bound.

use std::path::Path;
use std::time::Instant;

use metering::usage::{
    CONTENT_SCHEMA_VERSION, CloudEvent, ContentPart, ContentSide, ContentType, PartFacts, Reporter, part_id,
};
use serde_json::json;

use super::*;
use crate::capture::seal::{SealMode, Sealer};
use crate::report::Input;
use crate::report::error::within_bounds;
use crate::report::verify::VerifyOptions;
use crate::report::verify::content::UsageSpans;
use crate::report::verify::content::captured_calls::CapturedCalls;

const CALL: &str = "01987f2e-9c1a-7b3e-8d5f-2a4b6c8d0e1f";

/// A part as a line, with this place in its call and in its boot.
fn line(number: u64) -> String {
    let facts: PartFacts = serde_json::from_value(json!({
        "call": CALL, "usage": "event", "caller": {"id": "team-a", "trust": "none"},
        "target": {"api": "other", "resource": "r"}, "side": ContentSide::Request, "part": number, "last": false,
        "bytes_raw": 1, "content_type": "text/plain",
    }))
    .unwrap();
    let id = part_id(CALL, ContentSide::Request, number);
    let compressed = zstd::bulk::compress(b"x", 1).unwrap();
    let sealed = Sealer::new(SealMode::Cleartext).seal(&id, &facts, &compressed, Instant::now()).unwrap();
    let data = ContentPart {
        schema_version: CONTENT_SCHEMA_VERSION.into(),
        facts,
        reporter: Reporter { instance: "boot".into(), ..Reporter::default() },
        jwe: sealed.jwe,
        cleartext: sealed.cleartext,
    };
    let event = CloudEvent::new(ContentType::Part, "//tokenweir/x", id, None, "team-a", data);
    serde_json::to_string(&event.with_sequence(number + 1)).unwrap()
}

#[test]
fn parts_have_a_bound_which_the_error_names() {
    let (calls, spans) = (CapturedCalls::default().sorted(), UsageSpans::default());
    let options = VerifyOptions::new(vec![Input::Files("f".into())]);
    let scope = JudgedCalls { calls: &calls, spans: &spans, options: &options };
    let mut index = ContentIndex::new(scope, Inspector::new(None));
    assert_eq!(index.parts_max, 4_194_304, "docs/capture.md says four million");
    index.parts_max = 3;
    let origin = |line| EventOrigin::Line { file: Path::new("content.jsonl"), line };
    for number in 0..3 {
        index.note(&line(number), origin(number + 1));
        assert_eq!(index.crossed_bound(), None);
    }
    // What is no part takes no room.
    index.note("{}", origin(4));
    assert_eq!((index.crossed_bound(), index.foreign), (None, 1));
    index.note(&line(3), origin(5));
    assert_eq!(index.crossed_bound(), Some(InputBound::ContentParts(3)));
    let error = within_bounds(index.crossed_bound(), origin(5)).unwrap_err();
    assert_eq!(error.to_string(), "content.jsonl:5: more than 3 parts of content; give fewer inputs at once");
}
