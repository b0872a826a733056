//! A delta costs no allocation: from the bytes of the stream through decoder, parser and counter, in
//! a stream that has begun. A short call costs its network thread a bounded number, and its end none.
#![allow(missing_docs, clippy::expect_used, clippy::panic, clippy::print_stdout, clippy::unwrap_used)] // a test may stop and say why

#[path = "support/mod.rs"]
mod support;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{HeaderMap, StatusCode};
use http_body::Body;
use http_body_util::Full;
use metering::caller::{Caller, Trust};
use metering::frames::Frames;
use metering::meter::{Ending, Meter, Rules, SessionNames};
use metering::session::{BegunResponse, LaneNumber, Session, SessionSink};
use metering::tokens;
use metering::usage::{Api, Settled, Target, Usage};
use serde_json::{Value, json};
use support::tap::begin;
use tokenweir::ledger::{Ledger, LedgerOptions};
use tokenweir::pool::Pool;
use tokenweir::tee::{
    Accounts, Begin, Call, CallGuard, Compared, Observer, RequestTap, ResponseTap, RunningCalls,
};

thread_local! {
    /// Allocations of this thread.
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

/// The system's allocator, counting.
struct Counting;

fn count() {
    // A thread that is ending may have no counter any more, and nobody asks for it.
    let _ = ALLOCATIONS.try_with(|allocations| allocations.set(allocations.get() + 1));
}

// SAFETY: all work is the system allocator's; counting does not allocate.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: the caller's promise is handed on.
        unsafe { System.alloc(layout) }
    }
    unsafe fn realloc(&self, old: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        // SAFETY: the caller's promise is handed on.
        unsafe { System.realloc(old, layout, size) }
    }
    unsafe fn dealloc(&self, old: *mut u8, layout: Layout) {
        // SAFETY: the caller's promise is handed on.
        unsafe { System.dealloc(old, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Deltas after which a stream has begun, and deltas that are looked at.
const WARM_UP: usize = 500;
const STEADY: usize = 5_000;

/// Of a short call on its network thread; some 10 % over what it is.
const SHORT_CALL_MAX: f64 = 6.0;

fn meter(api: Api) -> Meter {
    let target = Target { api, ..Target::default() };
    let draft = Usage::draft(Caller::unattributed(Trust::None), target);
    // Blind, so that what it computes shows that the stream was read.
    let mut meter = Meter::new(draft, Rules { end_of_turn: true }).blind();
    meter.request_bytes(
        br#"{"model":"gpt-4o","stream":true,"messages":[{"role":"user","content":"Hi"}],"input":"Hi"}"#,
    );
    meter.request_end();
    let content_type = HeaderValue::from_static("text/event-stream");
    meter.response_head(StatusCode::OK, &HeaderMap::from_iter([(CONTENT_TYPE, content_type)]));
    meter
}

/// A chunk as Azure sends it; `more` stands after its choices.
fn chunk(index: usize, delta: &str, more: &str) -> String {
    format!(
        r#"data: {{"choices":[{{"content_filter_results":{{"hate":{{"filtered":false,"severity":"safe"}}}},"delta":{delta},"finish_reason":null,"index":{index},"logprobs":null}}],"created":1790000000,"id":"chatcmpl-1","model":"gpt-4o-2024-11-20","object":"chat.completion.chunk","system_fingerprint":"fp_1"{more}}}"#
    )
}

fn content(words: &[&str], at: usize) -> String {
    format!(r#"{{"content":"{}"}}"#, words[at % words.len()])
}

const LATIN: &[&str] =
    &["The", " weir", " measures", " a", " stream", " it", "'s", " 1", "234", ".", " (", "über", ")"];
const CHINESE: &[&str] =
    &["堰", "测量", "水流", "而", "不", "阻挡", "它", "。", "工程", "师", "每年", ",", "校准"];
const ESCAPED: &[&str] = &[
    "The",
    "\\n\\n",
    " \\\"weir\\\"",
    "\\u00e9t",
    "\\ud83d\\ude00",
    "\\ud83d",
    "\\ude00",
    "\\t",
    " a",
    "\\\\",
];

/// Shows the pieces of a stream to a meter; gives the allocations after the warm-up.
fn allocations(api: Api, pieces: &[Vec<u8>], warm_up: usize) -> u64 {
    tokens::load();
    let mut meter = meter(api);
    let mut before = 0;
    for (at, piece) in pieces.iter().enumerate() {
        if at == warm_up {
            before = ALLOCATIONS.get();
        }
        assert_eq!(meter.response_bytes(piece, usize::MAX), piece.len());
    }
    let allocations = ALLOCATIONS.get() - before;
    let usage = meter.settle(Ending::ClientDisconnect);
    let tokens = usage.tokens.output;
    assert!(tokens.unwrap() > pieces.len() as u64 / 100, "the stream was not read: {tokens:?}");
    allocations
}

/// The same for a stream of chunks that come one by one, with both ends of a line.
fn steady(name: &str, chunk: impl Fn(usize) -> String) {
    steady_of(Api::ChatCompletions, name, chunk);
}

/// The same of any API.
fn steady_of(api: Api, name: &str, chunk: impl Fn(usize) -> String) {
    for line_end in ["\n", "\r\n"] {
        let pieces: Vec<Vec<u8>> = (0..WARM_UP + STEADY)
            .map(|at| format!("{}{line_end}{line_end}", chunk(at)).into_bytes())
            .collect();
        let found = allocations(api, &pieces, WARM_UP);
        println!("{name}: {found} allocations in {STEADY} deltas");
        assert_eq!(found, 0, "{name}, lines ending in {line_end:?}");
    }
}

#[test]
fn plain_text() {
    steady("Latin", |at| chunk(0, &content(LATIN, at), ""));
    steady("Chinese", |at| chunk(0, &content(CHINESE, at), ""));
    steady("usage null", |at| chunk(0, &content(LATIN, at), r#","usage":null"#));
    let padded = |at: usize| format!(r#","obfuscation":"{}""#, "x".repeat(1 + at % 17));
    steady("padded", |at| chunk(0, &content(LATIN, at), &padded(at)));
}

#[test]
fn text_that_takes_the_full_parse() {
    steady("escaped", |at| chunk(0, &content(ESCAPED, at), ""));
    steady("two choices", |at| chunk(at % 2, &content(LATIN, at / 2), ""));
    steady("refusal", |at| chunk(0, &content(LATIN, at).replace("content", "refusal"), ""));
    let usage = r#","usage":{"prompt_tokens":9,"completion_tokens":5,"total_tokens":14,"prompt_tokens_details":{"cached_tokens":0}}"#;
    steady("usage in each chunk", |at| chunk(0, &content(LATIN, at), usage));
}

/// Each delta of a response has a number and padding.
#[test]
fn deltas_of_a_response() {
    let event = |at: usize, kind: &str, item: usize, delta: &str| match at {
        0 => r#"data: {"type":"response.created","response":{"id":"r","model":"gpt-4o"}}"#.to_owned(),
        _ => format!(
            r#"data: {{"type":"response.{kind}.delta","item_id":"m","output_index":{item},"content_index":0,"delta":"{delta}","logprobs":[],"sequence_number":{at},"obfuscation":"{}"}}"#,
            "x".repeat(at % 17)
        ),
    };
    for (name, words) in [("Latin", LATIN), ("Chinese", CHINESE), ("escaped", ESCAPED)] {
        steady_of(Api::Responses, name, |at| event(at, "output_text", 0, words[at % words.len()]));
    }
    steady_of(Api::Responses, "two items", |at| {
        event(at, "output_text", at % 2, LATIN[at / 2 % LATIN.len()])
    });
    steady_of(Api::Responses, "refusal", |at| event(at, "refusal", 0, LATIN[at % LATIN.len()]));
}

/// Of a message nothing is counted, but each delta is read.
#[test]
fn deltas_of_a_message() {
    use support::messages::{begun, event, ping, start, text_delta};
    let words = |delta: Value, at: usize| match at {
        0 => start(&begun()),
        at if at % 50 == 0 => ping(),
        _ => event(&json!({"type": "content_block_delta", "index": 0, "delta": delta})),
    };
    let word = |at: usize| LATIN[at % LATIN.len()];
    let thought = |at: usize| json!({"type": "thinking_delta", "thinking": word(at)});
    let input = |at: usize| json!({"type": "input_json_delta", "partial_json": format!("{:?}", word(at))});
    let kinds: [(&str, &dyn Fn(usize) -> Value); 3] =
        [("text", &|at| text_delta(word(at))), ("thinking", &thought), ("input of a tool", &input)];
    for (name, delta) in kinds {
        let pieces: Vec<Vec<u8>> =
            (0..WARM_UP + STEADY).map(|at| words(delta(at), at).into_bytes()).collect();
        let mut meter = meter(Api::Messages);
        let (early, steady) = pieces.split_at(WARM_UP);
        let show = |meter: &mut Meter, pieces: &[Vec<u8>]| {
            pieces.iter().for_each(|piece| assert_eq!(meter.response_bytes(piece, usize::MAX), piece.len()));
        };
        show(&mut meter, early);
        let ((), found) = allocations_of(|| show(&mut meter, steady));
        println!("a message, {name}: {found} allocations in {STEADY} deltas");
        let usage = meter.settle(Ending::ClientDisconnect);
        assert_eq!((usage.stream.events, usage.stream.parse_errors), (pieces.len() as u64, 0), "it was read");
        assert_eq!(found, 0, "{name}");
    }
}

#[test]
fn text_in_pieces_of_any_size() {
    let stream: String =
        (0..WARM_UP + STEADY).map(|at| chunk(0, &content(LATIN, at), "") + "\r\n\r\n").collect();
    for size in [7, 100, 1_000, 16_000] {
        let pieces: Vec<Vec<u8>> = stream.as_bytes().chunks(size).map(<[u8]>::to_vec).collect();
        // Half, because the longest rest of a piece comes late.
        let warm_up = pieces.len() / 2;
        assert_eq!(allocations(Api::ChatCompletions, &pieces, warm_up), 0, "pieces of {size} bytes");
    }
}

/// Arguments are kept, so their buffer grows: by doubling, not with each delta.
#[test]
fn arguments_of_a_call() {
    let delta = |at: usize| {
        let name = if at == 0 { r#""name":"f","# } else { "" };
        let arguments = LATIN[at % LATIN.len()];
        format!(r#"{{"tool_calls":[{{"index":0,"function":{{{name}"arguments":"{arguments}"}}}}]}}"#)
    };
    let pieces: Vec<Vec<u8>> =
        (0..WARM_UP + STEADY).map(|at| (chunk(0, &delta(at), "") + "\n\n").into_bytes()).collect();
    let found = allocations(Api::ChatCompletions, &pieces, WARM_UP);
    assert!(found <= 8, "{found}");
}

/// Is told of no response in a session of audio.
struct NothingBegins;

impl SessionSink for NothingBegins {
    fn named(&mut self, _: &SessionNames) {}
    fn begin(&mut self, _: LaneNumber, _: BegunResponse) -> bool {
        false
    }
    fn show(&mut self, _: LaneNumber, _: Bytes) {}
    fn left_out(&mut self, _: LaneNumber) {}
    fn end(&mut self, _: LaneNumber) {}
}

/// 4 KB of audio from either side, which come in reads of 8 KiB that cut them anywhere.
#[test]
fn messages_of_a_realtime_session() {
    let audio = "UklG".repeat(1_000);
    let append = format!(r#"{{"type":"input_audio_buffer.append","audio":"{audio}"}}"#);
    let delta = format!(
        r#"{{"type":"response.output_audio.delta","event_id":"event_B2uoU7VOt6AAITsPRPJ9n","response_id":"resp_B2uoU7","item_id":"item_1","delta":"{audio}"}}"#
    );
    let frame = |text: &str, mask: &[u8]| {
        let [high, low] = u16::try_from(text.len()).unwrap().to_be_bytes();
        [&[0x81, 126 | if mask.is_empty() { 0 } else { 0x80 }, high, low], mask, text.as_bytes()].concat()
    };
    let client = frame(&append, &[0; 4]).repeat(100);
    let server = frame(&delta, &[]).repeat(100);
    let mut session =
        Session::new(Api::Realtime.session_kind(), Frames::of_client(None), Frames::of_server(None));
    let mut turn = || {
        for bytes in client.chunks(8 << 10) {
            assert_eq!(session.from_client(bytes, &mut usize::MAX.clone(), Duration::ZERO), bytes.len());
        }
        for bytes in server.chunks(8 << 10) {
            let mut budget = usize::MAX;
            let taken = session.from_server(bytes, &mut budget, Duration::ZERO, &mut NothingBegins);
            assert_eq!(taken, bytes.len());
            assert!(budget < usize::MAX, "it was read");
        }
    };
    turn();
    let ((), found) = allocations_of(|| (0..50).for_each(|_| turn()));
    println!("{found} allocations in 10,000 messages");
    assert_eq!(found, 0);
}

struct Deaf;

impl Observer for Deaf {
    fn settled(&self, _: &Settled) {}
    fn summed(&self, _: &Settled) {}
    fn compared(&self, _: &Compared) {}
}

const REQUEST: &str = r#"{"model":"gpt-4o","messages":[{"role":"user","content":"What does a weir do?"}]}"#;
const ANSWER: &str = r#"{"choices":[{"finish_reason":"stop","index":0,"message":{"content":"It holds back a river and lets it pass.","role":"assistant"}}],"created":1790000000,"id":"chatcmpl-1","model":"gpt-4o-2024-11-20","object":"chat.completion","usage":{"completion_tokens":11,"prompt_tokens":13,"total_tokens":24}}"#;

/// Polls a body to its end.
fn pass(mut body: impl Body<Data = Bytes, Error = impl std::fmt::Debug> + Unpin) {
    let mut context = Context::from_waker(Waker::noop());
    while let Poll::Ready(Some(frame)) = Pin::new(&mut body).poll_frame(&mut context) {
        frame.unwrap();
    }
}

/// What this thread allocates meanwhile.
fn allocations_of<T>(what: impl FnOnce() -> T) -> (T, u64) {
    let before = ALLOCATIONS.get();
    let done = what();
    (done, ALLOCATIONS.get() - before)
}

/// From the draft to the end of the answer, without HTTP, on the thread that carries the call. Its
/// event is made by another one.
#[test]
fn a_short_call() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = Ledger::open(LedgerOptions::new(dir.path())).unwrap();
    let accounts = Accounts::new(Pool::start(1).unwrap(), Arc::new(Deaf), 1 << 20);
    let accounts = Arc::new(accounts.settling_apart().unwrap());
    let live = Arc::new(RunningCalls::default());
    let (request, answer) = (Bytes::from_static(REQUEST.as_bytes()), Bytes::from_static(ANSWER.as_bytes()));
    let json = HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static("application/json"))]);
    let call = || {
        let target = Target {
            api: Api::ChatCompletions,
            deployment: Some("gpt-4o-prod".into()),
            resource: "example-eus2".into(),
            ..Target::default()
        };
        let draft = Usage::draft(Caller::unattributed(Trust::SharedSecret), target);
        let begin = Begin { slot: ledger.reserve(), ..begin(draft, Rules { end_of_turn: true }) };
        let (call, begun) = allocations_of(|| Call::begin(begin, Arc::clone(&accounts), Arc::clone(&live)));
        let ((), asked) =
            allocations_of(|| pass(RequestTap::new(Full::new(request.clone()), Some(Arc::clone(&call)))));
        let (body, headed) = allocations_of(|| {
            call.response_head(StatusCode::OK, &json);
            ResponseTap::new(Full::new(answer.clone()), Some(CallGuard::new(call)))
        });
        let ((), answered) = allocations_of(|| pass(body));
        [begun, asked, headed, answered]
    };
    for _ in 0..100 {
        call(); // the lists grow to what is usual
    }
    let calls: Vec<[u64; 4]> = (0..1_000).map(|_| call()).collect();
    accounts.close();
    let sum = |at: usize| calls.iter().map(|call| call[at]).sum::<u64>() as f64 / calls.len() as f64;
    let phases = [0, 1, 2, 3].map(sum);
    println!("begin, request, head, answer and end: {phases:.1?} allocations of a short call");
    assert_eq!(accounts.counters().calls_open(), 0);
    assert!(phases.iter().sum::<f64>() < SHORT_CALL_MAX, "{phases:.1?}");
}
