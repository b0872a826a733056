//! Any bytes as an answer, of any API and in any coding: the meter takes all of them, soon, with bounded
//! work; pieces and budgets make no difference to what it says, and what it says is short.
#![no_main]

use std::time::{Duration, Instant};

use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, StatusCode};
use libfuzzer_sys::fuzz_target;
use tokenweir_fuzz::Cuts;
use tokenweir_fuzz::caller::{Caller, Trust};
use tokenweir_fuzz::meter::{Ending, Meter, Rules};
use tokenweir_fuzz::usage::{Api, Target, Usage};

/// For inputs of some kilobytes; they take milliseconds, bombs a tenth of a second.
const TIME_MAX: Duration = Duration::from_secs(5);

/// An event has some 1.5 kB.
const EVENT_BYTES_MAX: usize = 16 << 10;

/// What one input may make of itself: see the constants of `meter::decode`.
const WORK_MAX: u64 = (17 << 20) + 64 * (1 << 20);

const APIS: [Api; 6] =
    [Api::ChatCompletions, Api::Responses, Api::Completions, Api::Embeddings, Api::Images, Api::Audio];
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
    let whole = exchange.metered(&[body], usize::MAX);
    let pieces = exchange.metered(&cuts.pieces(body), 777);
    assert!(begun.elapsed() < TIME_MAX, "{:?}", begun.elapsed());
    // A coding that breaks off has given more or less by then.
    assert!(!coding.is_empty() || whole == pieces);
    assert!(whole.len() < EVENT_BYTES_MAX);
});

struct Exchange {
    api: Api,
    content_type: &'static str,
    coding: &'static str,
    status: u16,
}

impl Exchange {
    fn metered(&self, pieces: &[&[u8]], budget_bytes: usize) -> String {
        let target = Target { api: self.api, ..Target::default() };
        let draft = Usage::draft(Caller::unattributed(Trust::None), target);
        let mut meter = Meter::new(draft, Rules { end_of_turn: true });
        meter.request_bytes(br#"{"stream":true,"model":"gpt-4o","n":2,"tools":[{"type":"function"}]}"#);
        meter.request_end();
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(self.content_type));
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static(self.coding));
        meter.response_head(StatusCode::from_u16(self.status).unwrap(), &headers);
        for piece in pieces {
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
        serde_json::to_string(&meter.settle(Ending::Eof)).unwrap()
    }
}
