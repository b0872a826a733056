//! Any bytes as an answer, of any API and in any coding: the meter takes all of them, soon, with bounded
//! work; pieces and budgets make no difference to what it says, and what it says is short. Nor do bounds,
//! and who has no time to count it: what the service reported is the same.
#![no_main]

use std::time::{Duration, Instant};

use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, StatusCode};
use libfuzzer_sys::fuzz_target;
use metering::caller::{Caller, Trust};
use metering::meter::{Bounds, Ending, Meter, Rules};
use metering::usage::{Api, Target, Usage};
use tokenweir_fuzz::Cuts;

/// For inputs of some kilobytes; they take milliseconds, bombs a tenth of a second.
const TIME_MAX: Duration = Duration::from_secs(5);

/// An event has some 1.5 kB.
const EVENT_BYTES_MAX: usize = 16 << 10;

/// What one input may make of itself: see the constants of `meter::decode`.
const WORK_MAX: u64 = (17 << 20) + 64 * (1 << 20);

const APIS: [Api; 7] = [
    Api::ChatCompletions,
    Api::Responses,
    Api::Completions,
    Api::Embeddings,
    Api::Images,
    Api::Audio,
    Api::Messages,
];
const TYPES: [&str; 4] = ["text/event-stream", "application/json", "", "application/octet-stream"];
const CODINGS: [&str; 7] = ["", "gzip", "deflate", "br", "zstd", "gzip, zstd", "br, gzip"];
const STATUSES: [u16; 4] = [200, 200, 400, 503];

fuzz_target!(|input: &[u8]| {
    let Some((&[kind, more], rest)) = input.split_first_chunk::<2>() else { return };
    let (mut cuts, body) = Cuts::take(rest);
    let pick = |byte: u8, of: usize| usize::from(byte) % of;
    let coding = CODINGS[pick(more, 16).min(CODINGS.len() - 1) * usize::from(more >= 128)];
    let exchange = Exchange {
        api: APIS[pick(kind, APIS.len())],
        content_type: TYPES[pick(kind / 8, TYPES.len())],
        coding,
        status: STATUSES[pick(kind / 32, STATUSES.len())],
    };
    let begun = Instant::now();
    let metered = |pieces: &[&[u8]], budget_bytes, bounds, given_up| {
        exchange.metered(pieces, budget_bytes, bounds, given_up)
    };
    let (whole, reported) = metered(&[body], usize::MAX, Bounds::default(), usize::MAX);
    let cut = cuts.pieces(body);
    let (pieces, _) = metered(&cut, 777, Bounds::default(), usize::MAX);
    let bounds = Bounds { event_bytes: usize::from(more % 64), document_bytes: usize::from(more % 64) };
    let (_, bounded) = metered(&cut, usize::MAX, bounds, usize::MAX);
    let (_, skimmed) = metered(&cut, usize::MAX, Bounds::default(), usize::from(more % 16));
    assert!(begun.elapsed() < TIME_MAX, "{:?}", begun.elapsed());
    // A coding that breaks off has given more or less by then.
    if coding.is_empty() {
        assert_eq!(whole, pieces);
    }
    // Only a full parse notices that a member is malformed which nobody asks for.
    for other in [bounded, skimmed] {
        assert!(
            !coding.is_empty() || reported.parse_errors > 0 || other.parse_errors > 0 || reported == other
        );
    }
    assert!(whole.len() < EVENT_BYTES_MAX);
});

struct Exchange {
    api: Api,
    content_type: &'static str,
    coding: &'static str,
    status: u16,
}

impl Exchange {
    /// The event, and what of it was reported. Before the piece `given_up` the count is given up.
    fn metered(
        &self,
        pieces: &[&[u8]],
        budget_bytes: usize,
        bounds: Bounds,
        given_up: usize,
    ) -> (String, Reported) {
        let target = Target { api: self.api, ..Target::default() };
        let draft = Usage::draft(Caller::unattributed(Trust::None), target);
        let mut meter = Meter::new(draft, Rules { end_of_turn: true }).holding(bounds);
        meter.request_bytes(br#"{"stream":true,"model":"gpt-4o","n":2,"tools":[{"type":"function"}]}"#);
        meter.request_end();
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(self.content_type));
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static(self.coding));
        meter.response_head(StatusCode::from_u16(self.status).unwrap(), &headers);
        for (nth, piece) in pieces.iter().enumerate() {
            if nth == given_up {
                meter.skim();
            }
            let mut rest = *piece;
            while !rest.is_empty() {
                let before = meter.work_bytes();
                let taken = meter.response_bytes(rest, budget_bytes);
                assert!(taken > 0 || meter.work_bytes() > before, "nothing taken and nothing done");
                rest = &rest[taken..];
            }
        }
        assert!(meter.work_bytes() <= WORK_MAX, "{} bytes of work", meter.work_bytes());
        meter.progress();
        meter.end(Ending::Eof);
        let event = meter.settle(Ending::Eof);
        (serde_json::to_string(&event).unwrap(), Reported::of(&event))
    }
}

/// The members of an event that must not depend on how much of the answer was counted.
#[derive(Debug, PartialEq)]
struct Reported {
    numbers: [Option<u64>; 2],
    model: Option<String>,
    error: Option<String>,
    ends: Vec<String>,
    outcome: String,
    parse_errors: u64,
}

impl Reported {
    fn of(event: &Usage) -> Reported {
        Reported {
            numbers: [event.accounting.reported_input, event.accounting.reported_output],
            model: event.target.model.as_ref().map(ToString::to_string),
            error: event.request.error_type.as_ref().map(ToString::to_string),
            ends: event.stream.finish_reasons.iter().map(ToString::to_string).collect(),
            outcome: event.stream.outcome.as_str().to_owned(),
            parse_errors: event.stream.parse_errors,
        }
    }
}
