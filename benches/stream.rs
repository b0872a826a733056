//! What a chunk of a streamed answer costs on its way from bytes to counts: the events, the JSON, and
//! all of it in the meter. Allocations are shown; there should be none.
//!
//! `cargo bench --bench stream`, or `-- sse`, `-- chunk`, `-- meter` for a part.
#![expect(clippy::unwrap_used, reason = "a bench may end where its own stream is wrong")]

use std::hint::black_box;

use divan::Bencher;
use divan::counter::ItemsCount;
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{HeaderMap, StatusCode};
use metering::caller::{Caller, Trust};
use metering::chunk::Chunk;
use metering::meter::{Meter, Rules};
use metering::sse::{Decoder, Event};
use metering::tokens;
use metering::usage::{Api, Target, Usage};

#[global_allocator]
static ALLOCATOR: divan::AllocProfiler = divan::AllocProfiler::system();

/// Chunks of a stream: an answer of a page.
const CHUNKS: usize = 1_000;

/// Chunks that come in one read when a service sends faster than it is read.
const BURST: usize = 20;

/// The words of an answer, by what is in them.
const KINDS: &[&str] = &["latin", "chinese", "escaped"];

fn main() {
    tokens::load();
    divan::main();
}

fn words(kind: &str) -> &'static [&'static str] {
    match kind {
        "latin" => &["The", " weir", " measures", " a", " stream", " it", "'s", " 1", "234", ".", " ("],
        "chinese" => &["堰", "测量", "水流", "而", "不", "阻挡", "它", "。", "工程", "师", "每年"],
        _ => &["The", "\\n\\n", " \\\"weir\\\"", "\\u00e9t", "\\ud83d\\ude00", "\\t", " a", "\\\\"],
    }
}

/// A chunk's document, as Azure sends it.
fn document(word: &str) -> String {
    format!(
        r#"{{"choices":[{{"content_filter_results":{{"hate":{{"filtered":false,"severity":"safe"}}}},"delta":{{"content":"{word}"}},"finish_reason":null,"index":0,"logprobs":null}}],"created":1790000000,"id":"chatcmpl-1","model":"gpt-4o-2024-11-20","object":"chat.completion.chunk","system_fingerprint":"fp_1"}}"#
    )
}

fn documents(kind: &str) -> Vec<String> {
    words(kind).iter().cycle().take(CHUNKS).map(|word| document(word)).collect()
}

/// The stream in pieces of so many events.
fn pieces(kind: &str, events: usize) -> Vec<String> {
    let event = |document: &String| format!("data: {document}\n\n");
    documents(kind).chunks(events).map(|some| some.iter().map(event).collect()).collect()
}

/// Bytes to events.
#[divan::bench(args = [1, BURST])]
fn sse(bencher: Bencher, events: usize) {
    let pieces = pieces("latin", events);
    bencher.counter(ItemsCount::new(CHUNKS)).bench_local(|| {
        let mut decoder = Decoder::default();
        for piece in &pieces {
            decoder.push(piece.as_bytes(), &mut |event: Event<'_>| {
                black_box(event.data);
            });
        }
    });
}

/// A document to its text, by the full parse.
#[divan::bench(args = KINDS)]
fn chunk(bencher: Bencher, kind: &str) {
    let documents = documents(kind);
    bencher.counter(ItemsCount::new(CHUNKS)).bench_local(|| {
        for document in &documents {
            black_box(Chunk::parse(document.as_bytes()).unwrap().sole_content());
        }
    });
}

/// Bytes to counts, a read for each chunk and a read for many.
#[divan::bench(args = KINDS, consts = [1, BURST])]
fn meter<const EVENTS: usize>(bencher: Bencher, kind: &str) {
    let pieces = pieces(kind, EVENTS);
    bencher.counter(ItemsCount::new(CHUNKS)).with_inputs(begun).bench_local_values(|mut meter| {
        for piece in &pieces {
            black_box(meter.response_bytes(piece.as_bytes(), usize::MAX));
        }
        meter
    });
}

/// A meter whose answer has begun.
fn begun() -> Meter {
    let target = Target { api: Api::ChatCompletions, ..Target::default() };
    let draft = Usage::draft(Caller::unattributed(Trust::None), target);
    let mut meter = Meter::new(draft, Rules { end_of_turn: true });
    meter.request_bytes(br#"{"model":"gpt-4o","stream":true,"messages":[{"role":"user","content":"Hi"}]}"#);
    meter.request_end();
    let content_type = HeaderValue::from_static("text/event-stream");
    meter.response_head(StatusCode::OK, &HeaderMap::from_iter([(CONTENT_TYPE, content_type)]));
    // Buffers have the size that they keep.
    for piece in pieces("latin", BURST) {
        meter.response_bytes(piece.as_bytes(), usize::MAX);
    }
    meter
}
