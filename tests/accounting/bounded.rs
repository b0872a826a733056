//! Whatever an answer may hold, and whoever has no time for it: what the service reported is in the event.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, StatusCode};
use http_body::{Body, Frame};
use http_body_util::Full;
use metering::caller::{Caller, Trust};
use metering::meter::{self, Ending, Meter, Rules};
use metering::usage::{Api, IncludeUsage, Outcome, Source, Target, Tokens, Usage};
use serde_json::{Value, json};
use tokenweir::pool::{Lane, Pool, Task};
use tokenweir::tee::{self, Accounts, Call, CallGuard, RequestTap, ResponseTap, RunningCalls};

use super::draft_of;
use super::support::PATIENCE;
use super::support::codings;
use super::support::random::Random;
use super::support::recordings::{account_cases, both};
use super::support::tap::{Hear, begin, drive};

/// What of an event does not depend on what could be counted.
fn reported(usage: &Usage) -> String {
    let (accounting, tokens) = (&usage.accounting, &usage.tokens);
    let side = |source: Source, tokens: Option<u64>| if source == Source::Reported { tokens } else { None };
    let parts = if accounting.output_source == Source::Reported { tokens.clone() } else { Tokens::default() };
    format!(
        "{:?}",
        (
            (&usage.target, &usage.request, &usage.ids, &usage.stream, parts),
            side(accounting.input_source, tokens.input),
            side(accounting.output_source, tokens.output),
            (accounting.reported_input, accounting.reported_output),
        )
    )
}

/// A recorded exchange, and what is known of the call when it begins.
struct Recorded {
    case: Value,
    draft: Usage,
    kind: &'static str,
    body: Bytes,
}

fn recorded() -> Option<Vec<Recorded>> {
    let cases = both()?;
    let lines = account_cases(&cases);
    let of = |(case, line): (Value, Value)| {
        let event: Usage = serde_json::from_value(line["event"]["data"].clone()).unwrap();
        let mut draft = draft_of(&event);
        draft.target.deployment = event.target.deployment.clone();
        let kind = if case["response_kind"] == "sse" { "text/event-stream" } else { "application/json" };
        let body = Bytes::from(case["response_body"].as_str().unwrap().to_owned());
        Recorded { case, draft, kind, body }
    };
    Some(cases.into_iter().zip(lines).map(of).collect())
}

fn head(kind: &str) -> HeaderMap {
    HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_str(kind).unwrap())])
}

impl Recorded {
    fn meter(&self, bounds: meter::Bounds) -> Meter {
        let rules = Rules { end_of_turn: self.case["azure"] == true };
        let mut meter = Meter::new(self.draft.clone(), rules).holding(bounds);
        meter.request_bytes(self.case["request"].to_string().as_bytes());
        meter.request_end();
        let status =
            self.case["status"].as_u64().and_then(|status| u16::try_from(status).ok()).unwrap_or(200);
        meter.response_head(StatusCode::from_u16(status).unwrap(), &head(self.kind));
        meter
    }

    fn whole(&self) -> Usage {
        let mut meter = self.meter(meter::Bounds::default());
        meter.response_bytes(&self.body, usize::MAX);
        meter.settle(Ending::Eof)
    }

    /// In pieces; now and then the meter is lent, and it may never be shown what went by.
    fn lent(&self, bounds: meter::Bounds, random: &mut Random, may_give_up: bool) -> Usage {
        let mut meter = self.meter(bounds);
        let mut rest = &self.body[..];
        while !rest.is_empty() {
            let piece;
            (piece, rest) = rest.split_at(1 + random.below(rest.len().min(3_000)));
            match random.below(12) {
                0 => {
                    let mut skim = meter.lend();
                    let mut away = Vec::new();
                    assert_eq!(
                        skim.push(piece, usize::MAX, |part| away.extend_from_slice(part)),
                        piece.len()
                    );
                    let counted = !may_give_up || random.below(4) > 0;
                    if counted {
                        meter.response_bytes(&away, usize::MAX);
                    }
                    meter.take_back(skim, counted);
                }
                1 if may_give_up && random.below(4) == 0 => {
                    meter.skim();
                    meter.response_bytes(piece, usize::MAX);
                }
                _ => _ = meter.response_bytes(piece, usize::MAX),
            }
        }
        meter.settle(Ending::Eof)
    }
}

#[test]
fn no_bound_changes_what_was_reported() {
    let Some(recorded) = recorded() else { return };
    let mut random = Random::seeded(20_261_129);
    for exchange in &recorded {
        let whole = exchange.whole();
        let mut bound = || [0, random.below(300), random.below(5_000), usize::MAX][random.below(4)];
        let bounds = meter::Bounds { event_bytes: bound(), document_bytes: bound() };
        for may_give_up in [false, true] {
            let bounded = exchange.lent(bounds, &mut random, may_give_up);
            assert_eq!(reported(&bounded), reported(&whole), "{} {bounds:?}", exchange.case["id"]);
        }
        // A meter that is lent and shown everything says what one says that never left.
        let lent = exchange.lent(meter::Bounds::default(), &mut random, false);
        assert_eq!(lent, whole, "{}", exchange.case["id"]);
    }
    println!("{} exchanges", recorded.len());
}

// ===== Through the tee, with a pool that does nothing =====

/// Holds a counting thread until it is let go on.
struct Block(Mutex<Receiver<()>>);

impl Task for Block {
    fn run(self: Arc<Self>, _: Lane) {
        let _ = self.0.lock().unwrap().recv_timeout(PATIENCE);
    }
}

/// Accounts with a pool that stands still until the sender is dropped or used.
struct Stalled {
    accounts: Arc<Accounts>,
    live: Arc<RunningCalls>,
    settled: Receiver<Usage>,
    go: Sender<()>,
}

impl Stalled {
    /// Calls that are over settle on a thread of their own.
    fn within(bounds: tee::ResponseBounds) -> Stalled {
        Stalled::new(bounds, |accounts| accounts.settling_apart().unwrap())
    }

    /// Calls that are over settle at once, so that all they leave waiting is there when the next one begins.
    fn settling_at_once(bounds: tee::ResponseBounds) -> Stalled {
        Stalled::new(bounds, |accounts| accounts)
    }

    fn new(bounds: tee::ResponseBounds, settling: fn(Accounts) -> Accounts) -> Stalled {
        let (hear, settled) = Hear::new();
        let (go, held) = channel();
        let pool = Pool::start(1).unwrap();
        pool.submit(Arc::new(Block(Mutex::new(held))), Lane::Response).unwrap();
        let accounts = Accounts::new(pool, Arc::new(hear), 64 << 20).within(bounds);
        let accounts = Arc::new(settling(accounts));
        Stalled { accounts, live: Arc::new(RunningCalls::default()), settled, go }
    }

    fn begin(&self, draft: Usage, rules: Rules, request: &str) -> Arc<Call> {
        let call = Call::begin(begin(draft, rules), Arc::clone(&self.accounts), Arc::clone(&self.live));
        drive(RequestTap::new(Full::new(Bytes::from(request.to_owned())), Some(Arc::clone(&call))));
        call
    }

    fn backlog_bytes(&self) -> usize {
        self.accounts.backlog_bytes()
    }
}

/// A body whose frames are all ready at once, but for a rest now and then.
struct Frames {
    frames: VecDeque<Bytes>,
    rests: bool,
    /// What other calls have waiting.
    others_bytes: usize,
    accounts: Arc<Accounts>,
}

impl Frames {
    fn of(stalled: &Stalled, body: &Bytes, frame_bytes: usize) -> Frames {
        let frames = (0..body.len()).step_by(frame_bytes);
        let frames = frames.map(|at| body.slice(at..body.len().min(at + frame_bytes))).collect();
        let (others_bytes, accounts) = (stalled.backlog_bytes(), Arc::clone(&stalled.accounts));
        Frames { frames, rests: false, others_bytes, accounts }
    }
}

impl Body for Frames {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        // Answers that are over and wait go before this one comes, so there is nothing to be taken off.
        let own_bytes = self.accounts.backlog_bytes().saturating_sub(self.others_bytes);
        assert!(own_bytes <= 1 << 20, "{own_bytes} bytes wait");
        self.rests = !self.rests && self.frames.len().is_multiple_of(7);
        if self.rests {
            return Poll::Pending;
        }
        Poll::Ready(self.frames.pop_front().map(|frame| Ok(Frame::data(frame))))
    }
}

#[test]
fn no_backlog_changes_what_was_reported() {
    let Some(mut recorded) = recorded() else { return };
    // Those that are long enough for a backlog, and some others.
    let mut nth = 0;
    recorded.retain(|exchange| {
        nth += 1;
        exchange.body.len() > 10_000 || nth % 10 == 0
    });
    let mut random = Random::seeded(7);
    for call_backlog_bytes in [0, 3_000, 40_000, 1 << 20] {
        let stalled = Stalled::settling_at_once(tee::ResponseBounds {
            call_backlog_bytes,
            ..tee::ResponseBounds::default()
        });
        for exchange in &recorded {
            let rules = Rules { end_of_turn: exchange.case["azure"] == true };
            let draft = exchange.draft.clone();
            let call = stalled.begin(draft, rules, &exchange.case["request"].to_string());
            call.response_head(StatusCode::OK, &head(exchange.kind));
            let body = Frames::of(&stalled, &exchange.body, 1 + random.below(30_000));
            assert!(drive(ResponseTap::new(body, Some(CallGuard::new(call)))) == exchange.body);
        }
        stalled.go.send(()).unwrap();
        let mut found: Vec<String> = (0..recorded.len())
            .map(|_| {
                let mut usage = stalled.settled.recv_timeout(PATIENCE).unwrap();
                usage.timing = Default::default();
                reported(&usage)
            })
            .collect();
        let mut expected: Vec<String> = recorded.iter().map(|exchange| reported(&exchange.whole())).collect();
        found.sort();
        expected.sort();
        assert!(found == expected, "with a backlog of {call_backlog_bytes}");
        let overloads = stalled.accounts.counters().meter_overload.load(std::sync::atomic::Ordering::Relaxed);
        assert!(overloads > 0 || call_backlog_bytes == 1 << 20, "nothing was given up");
        assert_eq!(stalled.backlog_bytes(), 0);
    }
    println!("{} exchanges", recorded.len());
}

/// Bytes that do not shrink to nothing: base64 of what looks random.
fn base64(bytes: usize) -> String {
    let mut random = Random::seeded(3);
    let letters = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    (0..bytes).map(|_| char::from(letters[random.below(64)])).collect()
}

fn named(documents: &[Value]) -> String {
    documents
        .iter()
        .map(|document| format!("event: {}\ndata: {document}\n\n", document["type"].as_str().unwrap()))
        .collect()
}

/// Answers that are long in different ways, each with usage 2345 / 4321, and the reason why their text is
/// not counted; none where none would be.
fn long_answers(bytes: usize) -> Vec<(&'static str, Api, &'static str, String, Option<&'static str>)> {
    let chat = json!({"prompt_tokens": 2345, "completion_tokens": 4321, "total_tokens": 6666});
    let usage = json!({"input_tokens": 2345, "output_tokens": 4321, "total_tokens": 6666});
    let image = base64(bytes);
    let item = json!({"type": "image_generation_call", "status": "completed", "result": image});
    let words = |bytes: usize| "weir and stream ".repeat(bytes / 16);
    let chunk = |choices: Value, usage: Value| {
        let chunk = json!({"id": "c", "model": "gpt-4o-2024-11-20", "choices": choices, "usage": usage});
        format!("data: {chunk}\n\n")
    };
    let deltas =
        chunk(json!([{"index": 0, "delta": {"content": " weir"}, "finish_reason": null}]), Value::Null);
    let end = chunk(json!([{"index": 0, "delta": {}, "finish_reason": "stop"}]), Value::Null)
        + &chunk(json!([]), chat.clone())
        + "data: [DONE]\n\n";
    let long =
        chunk(json!([{"index": 0, "delta": {"content": words(bytes)}, "finish_reason": null}]), Value::Null);
    let created = json!({"type": "response.created", "response": {"id": "c", "model": "gpt-5-2025-08-07", "status": "in_progress", "usage": null}});
    let completed = json!({"type": "response.completed", "response": {"id": "c", "model": "gpt-5-2025-08-07", "status": "completed", "output": [item], "usage": usage}});
    let partial = json!({"type": "response.image_generation_call.partial_image", "partial_image_b64": image});
    let sized = |document: Value| named(&[document]);
    let message = json!([{"index": 0, "message": {"content": words(bytes)}, "finish_reason": "stop"}]);
    let whole = json!({"id": "c", "model": "gpt-4o-2024-11-20", "usage": chat, "choices": message});
    let output = json!([{"type": "message", "content": [{"type": "output_text", "text": words(bytes)}]}]);
    let response = json!({"id": "c", "model": "gpt-5-2025-08-07", "status": "completed", "output": output, "usage": usage});
    let data = json!([{"b64_json": image}]);
    let (sse, json_kind) = ("text/event-stream", "application/json");
    vec![
        (
            "chat, many deltas",
            Api::ChatCompletions,
            sse,
            deltas.repeat(bytes / deltas.len()) + &end,
            Some("meter_overload"),
        ),
        ("chat, one delta", Api::ChatCompletions, sse, long.clone() + &end, Some("meter_overload")),
        ("chat, JSON", Api::ChatCompletions, json_kind, whole.to_string(), Some("too_long")),
        (
            "a response, its last event",
            Api::Responses,
            sse,
            named(&[created.clone(), completed.clone()]),
            Some("meter_overload"),
        ),
        (
            "a response, many events",
            Api::Responses,
            sse,
            named(&[created, partial, completed]),
            Some("meter_overload"),
        ),
        ("a response, JSON", Api::Responses, json_kind, response.to_string(), Some("too_long")),
        (
            "an image, its last event",
            Api::Images,
            sse,
            sized(json!({"type": "image_generation.completed", "b64_json": image, "usage": usage})),
            None,
        ),
        (
            "an image, JSON",
            Api::Images,
            json_kind,
            json!({"created": 1, "data": data, "usage": usage}).to_string(),
            None,
        ),
        (
            "JSON that is called a stream",
            Api::Images,
            sse,
            json!({"created": 1, "data": data, "usage": usage}).to_string(),
            None,
        ),
    ]
}

fn coded(coding: &str, body: &str) -> Bytes {
    match coding {
        "gzip" => codings::gzip(body.as_bytes()).into(),
        "zstd" => codings::zstd(body.as_bytes()).into(),
        _ => Bytes::from(body.to_owned()),
    }
}

/// Deltas of a stream that all are alike shrink to a hundredth: what is decoded is bounded by what came.
fn is_bomb(body: &str, coded: &Bytes) -> bool {
    body.len() > (16 << 20) + 32 * coded.len()
}

#[test]
fn a_pool_that_stands_still_costs_no_reported_number() {
    for bytes in [5 << 20, 30 << 20] {
        let stalled = Stalled::within(tee::ResponseBounds::default());
        for (name, api, kind, body, reason) in long_answers(bytes) {
            for coding in ["", "gzip", "zstd"] {
                let coded = coded(coding, &body);
                if is_bomb(&body, &coded) {
                    continue;
                }
                let target = Target { api, deployment: Some("d".into()), ..Target::default() };
                let mut draft = Usage::draft(Caller::unattributed(Trust::None), target);
                draft.request.include_usage = IncludeUsage::Injected;
                let request = r#"{"stream":true,"messages":[{"role":"user","content":"Hi"}],"input":"Hi"}"#;
                let call = stalled.begin(draft, Rules { end_of_turn: true }, request);
                let mut headers = head(kind);
                headers.insert(CONTENT_ENCODING, HeaderValue::from_str(coding).unwrap());
                call.response_head(StatusCode::OK, &headers);
                let frames = Frames::of(&stalled, &coded, 64 << 10);
                assert!(drive(ResponseTap::new(frames, Some(CallGuard::new(call)))) == coded);
                // Nobody has waited for the pool: it stands still.
                let usage = stalled.settled.recv_timeout(PATIENCE).unwrap();
                let what = format!("{name} {coding}: {:?} {:?}", usage.accounting, usage.stream);
                assert_eq!((usage.tokens.input, usage.tokens.output), (Some(2345), Some(4321)), "{what}");
                assert_eq!(usage.accounting.output_source, Source::Reported, "{what}");
                assert_eq!(
                    (usage.stream.outcome, usage.stream.parse_errors),
                    (Outcome::Complete, 0),
                    "{what}"
                );
                assert_eq!(stalled.backlog_bytes(), 0, "{what}");
                // The count of our own is what was given up; it says so where nothing is reported.
                if let Some(reason) = reason {
                    assert_eq!(usage.accounting.computed_output, None, "{what}: {reason}");
                }
            }
        }
        drop(stalled.go);
    }
}
