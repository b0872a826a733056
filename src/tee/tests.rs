//! Calls against a meter that tells, in the usage it settles, what it was shown and told, and that
//! panics or holds on request.

mod early;
mod lanes;
mod sample;

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Condvar, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use http_body::{Body, Frame};
use proptest::prelude::*;
use smol_str::SmolStr;

use super::reading::Turn;
use super::*;
use crate::ledger::{Ledger, LedgerOptions};
use metering::caller::{Caller, Trust};
use metering::chunk::RequestFacts;
use metering::meter::{
    BillPart, Check, Checks, Ending, PromptCount, PromptNeed, PromptSample, Representation, Rules, Treatment,
};
use metering::usage::{
    Accounting, Api, IncludeUsage, Injection, Progress, Quality, RuleClass, Side, Source, Target, Tokens,
    Usage,
};

const PATIENCE: Duration = Duration::from_secs(30);

// ===== The meter of these tests =====

/// Shows what it saw as `ids.response_id` (the answer) and `ids.client_request_id` (the request),
/// and what it was told as `accounting.reasons`.
///
/// Its answer to [`Meter::prompt_need`] is `target.model_requested`: `keep` until the answer holds
/// `USAGE` or the call ends without, `count` at once, else no. With `keep` it wants an early count by the
/// model `guess`, and once the answer holds `NAMED` by the model `named`, as at its end. `PANIC` in any bytes panics; `HOLD`
/// holds the counting thread until [`set_gate`]. An answer that holds `UNREAD` is read at its end.
#[derive(Debug)]
pub(super) struct Meter {
    usage: Usage,
    request: Vec<u8>,
    response: Vec<u8>,
    largest_look: usize,
    light: bool,
    ended: bool,
    /// The model of the early count, and the count.
    early: Option<(SmolStr, PromptCount)>,
    adopted: bool,
}

/// Shows nobody what it saw until the meter is back.
#[derive(Debug)]
pub(super) struct Skim {
    response: Vec<u8>,
}

impl Skim {
    pub(super) fn is_plain(&self) -> bool {
        true
    }
    pub(super) fn push(
        &mut self,
        bytes: &[u8],
        budget_bytes: usize,
        mut decoded: impl FnMut(&[u8]),
    ) -> usize {
        assert!(!holds(bytes, "SKIM-BOOM"));
        let taken = bytes.len().min(budget_bytes);
        self.response.extend_from_slice(&bytes[..taken]);
        decoded(&bytes[..taken]);
        taken
    }
    pub(super) fn work_bytes(&self) -> u64 {
        self.response.len() as u64
    }
    pub(super) fn is_whole(&self) -> bool {
        holds(&self.response, "WHOLE")
    }
}

impl Meter {
    pub(super) fn new(draft: Arc<Usage>, _: Rules) -> Meter {
        assert_ne!(draft.target.region.as_deref(), Some("PANIC in new"));
        Meter {
            usage: Usage::clone(&draft),
            request: Vec::new(),
            response: Vec::new(),
            largest_look: 0,
            light: false,
            ended: false,
            early: None,
            adopted: false,
        }
    }
    pub(super) fn holding(self, _: metering::meter::Bounds) -> Self {
        self
    }
    pub(super) fn is_light(&self) -> bool {
        self.light
    }
    pub(super) fn skim(&mut self) {
        self.tell("overloaded");
        self.light = true;
    }
    pub(super) fn lend(&mut self) -> Skim {
        Skim { response: self.response.clone() }
    }
    pub(super) fn take_back(&mut self, skim: Skim, counted: bool) {
        if counted {
            assert!(self.response == skim.response, "the pool and the network thread saw the same");
        } else {
            self.response = skim.response;
            self.skim();
        }
    }
    pub(super) fn treated(self, _: Treatment) -> Meter {
        self
    }
    pub(super) fn reading(self, _: &Representation) -> Meter {
        self
    }
    pub(super) fn is_request_unread(&self) -> bool {
        holds(&self.request, "CODED")
    }
    pub(super) fn request_read(&mut self, facts: RequestFacts) {
        self.tell(&format!("read {:?}", facts.model));
    }
    pub(super) fn injection(&mut self, injection: Injection) {
        self.usage.request.injection = Some(injection);
    }
    pub(super) fn request_bytes(&mut self, bytes: &[u8]) {
        assert!(!holds(bytes, "PANIC"));
        self.request.extend_from_slice(bytes);
    }
    pub(super) fn request_end(&mut self) {
        self.tell("request_end");
    }
    pub(super) fn response_head(&mut self, status: StatusCode, _: &HeaderMap) {
        self.usage.request.status = status.as_u16();
    }
    pub(super) fn response_bytes(&mut self, bytes: &[u8], budget_bytes: usize) -> usize {
        assert!(!holds(bytes, "PANIC"));
        let taken = bytes.len().min(budget_bytes);
        if in_pool() {
            if holds(bytes, "HOLD") {
                hold();
            }
        } else if !self.light {
            self.largest_look = self.largest_look.max(taken);
        }
        self.response.extend_from_slice(&bytes[..taken]);
        taken
    }
    pub(super) fn include_usage(&mut self, who: IncludeUsage) {
        self.usage.request.include_usage = who;
    }
    pub(super) fn is_whole(&self) -> bool {
        holds(&self.response, "WHOLE")
    }
    pub(super) fn caller_left(&mut self, left: Left) {
        self.tell(&format!("left {} {:?}", left.drained, left.stopped));
    }
    pub(super) fn caller_idle(&mut self) {
        self.tell("caller_idle");
    }
    pub(super) fn work_bytes(&self) -> u64 {
        self.response.len() as u64
    }
    pub(super) fn held_bytes(&self) -> usize {
        0
    }
    pub(super) fn uncounted_bytes(&self) -> usize {
        if holds(&self.response, "UNCOUNTED") && !self.light { self.response.len() } else { 0 }
    }
    pub(super) fn first_token_seen(&self) -> bool {
        holds(&self.response, "token")
    }
    pub(super) fn unread_bytes(&self) -> usize {
        if holds(&self.response, "UNREAD") && !self.light { self.response.len() } else { 0 }
    }
    pub(super) fn end(&mut self, _: Ending) {
        if !std::mem::replace(&mut self.ended, true) && holds(&self.response, "UNREAD") {
            assert!(!holds(&self.response, "END-BOOM"));
            self.tell(if in_pool() { "pool" } else { "inline" });
        }
    }
    pub(super) fn prompt_need(&self) -> PromptNeed {
        match self.usage.target.model_requested.as_deref() {
            _ if self.adopted => PromptNeed::No,
            Some("keep") if holds(&self.response, "USAGE") => PromptNeed::No,
            Some("keep") if self.ended && self.names_model() => PromptNeed::Count { model: "named".into() },
            Some("keep") if self.ended => PromptNeed::Count { model: "deployment".into() },
            Some("keep") => PromptNeed::Keep,
            Some("count") => PromptNeed::Count { model: "told".into() },
            _ => PromptNeed::No,
        }
    }
    pub(super) fn names_model(&self) -> bool {
        holds(&self.response, "NAMED")
    }
    pub(super) fn early_need(&self, _: impl FnOnce() -> Option<SmolStr>) -> Option<SmolStr> {
        let keeps = self.usage.target.model_requested.as_deref() == Some("keep");
        let wanted = if self.names_model() { "named" } else { "guess" };
        let counted = self.early.as_ref().is_some_and(|(by, _)| by == wanted);
        (keeps && !counted).then(|| wanted.into())
    }
    pub(super) fn prompt_counted_early(&mut self, count: PromptCount, by: SmolStr) {
        self.tell(&format!("early by {by}"));
        self.early = Some((by, count));
        self.adopt_early();
    }
    pub(super) fn adopt_early(&mut self) {
        let need = self.prompt_need();
        let wanted = |(by, _): &mut (SmolStr, PromptCount)| need == PromptNeed::Count { model: by.clone() };
        if let Some((_, count)) = self.early.take_if(wanted) {
            self.tell("adopted");
            self.prompt_counted(count);
            self.adopted = true;
        }
    }
    pub(super) fn prompt_not_kept(&mut self) {
        self.tell("prompt_not_kept");
    }
    pub(super) fn prompt_overloaded(&mut self) {
        self.tell("prompt_overloaded");
    }
    pub(super) fn is_refused(&self) -> bool {
        self.usage.request.status >= 400
    }
    pub(super) fn memory_bytes(&self) -> usize {
        if self.light { 0 } else { self.response.len() * usize::from(holds(&self.response, "UNREAD")) }
    }
    pub(super) fn prompt_counted(&mut self, count: PromptCount) -> Vec<BillPart> {
        self.usage.tokens.input = count.tokens;
        count.parts.iter().for_each(|part| self.tell(part.part));
        Vec::new()
    }
    pub(super) fn progress(&self) -> (Progress, Checks) {
        assert!(!holds(&self.response, "PROGRESS-BOOM"));
        let early = self.early.as_ref().and_then(|(_, count)| count.tokens);
        let input = early.or(self.usage.tokens.input);
        let tokens = Tokens { input, output: Some(self.response.len() as u64), ..Tokens::default() };
        let accounting = Accounting {
            input_source: Source::Computed,
            input_quality: Quality::Exact,
            ..Accounting::default()
        };
        let input = Check { class: Some(RuleClass::Text), residual: None };
        (Progress { tokens, accounting, ..Progress::default() }, Checks { input, ..Checks::default() })
    }
    pub(super) fn target(&self) -> Target {
        self.usage.target.clone()
    }
    pub(super) fn deployment(&self) -> Option<SmolStr> {
        self.target().deployment
    }
    pub(super) fn prompt_sample(&self) -> Option<PromptSample> {
        let target = Target { model: Some("sampled".into()), ..self.target() };
        Some(PromptSample { target, reported: REPORTED })
    }
    pub(super) fn settle_and_check(mut self, ending: Ending) -> (Usage, Checks) {
        assert!(!holds(&self.response, "BOOM"));
        self.end(ending);
        self.tell(&format!("{ending:?}"));
        self.tell(&format!("largest look {}", self.largest_look));
        self.usage.ids.response_id = Some(String::from_utf8_lossy(&self.response).into());
        self.usage.ids.client_request_id = Some(String::from_utf8_lossy(&self.request).into());
        (self.usage, Checks::default())
    }
    fn tell(&mut self, what: &str) {
        self.usage.accounting.reasons.push(what.into());
    }
}

/// What the service says of each prompt.
const REPORTED: u64 = 1_000;

/// Counts bytes; gives the model back as a part.
pub(super) fn count_prompt(_: Api, body: &[Bytes], model: &str) -> PromptCount {
    let body = body.concat();
    assert!(!holds(&body, "COUNT-BOOM"));
    if holds(&body, "HOLD") {
        hold();
    }
    let part = match model {
        "sampled" => "sampled",
        "told" => "told",
        "guess" => "guess",
        "named" => "named",
        _ => "deployment",
    };
    let parts = vec![BillPart { part, number: None, tokens: 0 }];
    let (tokens, class) = (Some(body.len() as u64), Some(RuleClass::Text));
    PromptCount { tokens, class, parts, ..PromptCount::default() }
}

fn in_pool() -> bool {
    std::thread::current().name().is_some_and(|name| name.starts_with("tw-count"))
}

fn holds(bytes: &[u8], word: &str) -> bool {
    memchr::memmem::find(bytes, word.as_bytes()).is_some()
}

/// Tests that hold run one after another, each with the gate shut.
static TURN: Mutex<()> = Mutex::new(());
static GATE: (Mutex<bool>, Condvar) = (Mutex::new(false), Condvar::new());

fn hold() {
    let open = GATE.0.lock().unwrap();
    drop(GATE.1.wait_timeout_while(open, PATIENCE, |open| !*open).unwrap());
}

fn set_gate(open: bool) {
    *GATE.0.lock().unwrap() = open;
    GATE.1.notify_all();
}

// ===== What it takes to run a call =====

#[derive(Default)]
struct Heard(Mutex<Vec<Settled>>, Condvar, Mutex<Vec<(Kind, i64)>>);

impl Heard {
    fn now(&self) -> Vec<Settled> {
        self.0.lock().unwrap().clone()
    }
    /// Of the only call.
    fn wait(&self) -> Usage {
        self.last_of(1)
    }
    /// Of the last of so many calls.
    fn last_of(&self, n: usize) -> Usage {
        let calls = self.0.lock().unwrap();
        let (calls, _) = self.1.wait_timeout_while(calls, PATIENCE, |calls| calls.len() < n).unwrap();
        assert_eq!(calls.len(), n, "settled once");
        calls[n - 1].usage.clone()
    }
}

impl Observer for Heard {
    fn settled(&self, settled: &Settled) {
        self.summed(settled);
    }
    fn summed(&self, settled: &Settled) {
        self.0.lock().unwrap().push(settled.clone());
        self.1.notify_all();
    }
    fn compared(&self, compared: &Compared) {
        self.2.lock().unwrap().push((compared.kind.clone(), compared.residual));
    }
}

struct Rig {
    accounts: Arc<Accounts>,
    live: Arc<Live>,
    heard: Arc<Heard>,
}

/// With so many counting threads. Without any, nothing leaves the thread that a call runs on; else
/// calls settle apart from it.
fn rig(threads: usize) -> Rig {
    let heard = Arc::new(Heard::default());
    let observer = Arc::clone(&heard) as Arc<dyn Observer>;
    let accounts = Accounts::new(Pool::start(threads).unwrap(), observer, 1 << 20);
    let accounts = if threads == 0 { accounts } else { accounts.settling_apart().unwrap() };
    Rig { accounts: Arc::new(accounts), live: Arc::new(Live::default()), heard }
}

impl Rig {
    /// A call whose prompt is needed as `need` says.
    fn call(&self, need: &str) -> Arc<Call> {
        self.call_of(draft(need), None)
    }

    fn call_of(&self, draft: Usage, slot: Option<crate::ledger::Slot>) -> Arc<Call> {
        let rules = Rules { end_of_turn: true };
        let begin = Begin {
            draft,
            rules,
            slot,
            keep_prompt: true,
            treatment: Treatment::Metered,
            representation: Representation::default(),
            began: Instant::now(),
        };
        Call::begin(begin, Arc::clone(&self.accounts), Arc::clone(&self.live))
    }

    fn memory(&self) -> (usize, usize) {
        (self.accounts.prompt_memory_bytes(), self.accounts.backlog_bytes())
    }

    fn panics(&self) -> u64 {
        self.accounts.counters.meter_panics.load(Ordering::SeqCst)
    }
}

fn draft(need: &str) -> Usage {
    let target = Target {
        model_requested: Some(need.into()),
        deployment: Some("deployment".into()),
        ..Target::default()
    };
    Usage::draft(Caller::unattributed(Trust::None), target)
}

/// A body that follows a script; `None` is a poll that finds nothing.
struct Scripted(VecDeque<Option<Result<Bytes, &'static str>>>);

impl Scripted {
    fn of(frames: &[&str]) -> Scripted {
        Scripted(frames.iter().map(|frame| Some(Ok(Bytes::copy_from_slice(frame.as_bytes())))).collect())
    }
}

impl super::Cause for &'static str {
    fn ending(&self) -> Ending {
        Ending::UpstreamError
    }
}

impl Body for Scripted {
    type Data = Bytes;
    type Error = &'static str;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, &'static str>>> {
        match self.0.pop_front() {
            None => Poll::Ready(None),
            Some(None) => Poll::Pending,
            Some(Some(frame)) => Poll::Ready(Some(frame.map(Frame::data))),
        }
    }
}

fn poll<B: Body<Data = Bytes> + Unpin>(body: &mut B) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
    Pin::new(body).poll_frame(&mut Context::from_waker(Waker::noop()))
}

/// Polls to the end; gives what came out.
fn drain<B: Body<Data = Bytes> + Unpin>(body: &mut B) -> Vec<u8> {
    let mut out = Vec::new();
    loop {
        match poll(body) {
            Poll::Pending => {}
            Poll::Ready(Some(Ok(frame))) => out.extend_from_slice(&frame.into_data().unwrap_or_default()),
            Poll::Ready(_) => return out,
        }
    }
}

fn answer(call: &Arc<Call>, frames: &[&str]) -> ResponseTap<Scripted> {
    ResponseTap::new(Scripted::of(frames), Some(Conclude::new(Arc::clone(call))))
}

fn ask(call: &Arc<Call>, frames: &[&str]) {
    drain(&mut RequestTap::new(Scripted::of(frames), Some(Arc::clone(call))));
}

fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !is_so() {
        assert!(Instant::now() < deadline, "waited in vain for {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

fn told(usage: &Usage, what: &str) -> usize {
    usage.accounting.reasons.iter().filter(|reason| *reason == what).count()
}

// ===== The calls =====

#[test]
fn a_small_call_is_counted_and_settled_where_it_runs() {
    let rig = rig(0);
    let call = rig.call("no");
    ask(&call, &["how ", "many?"]);
    call.response_head(StatusCode::OK, &HeaderMap::new());
    let mut body = answer(&call, &["one ", "token"]);
    assert_eq!(drain(&mut body), b"one token");
    let usage = rig.heard.wait();
    drop(body);
    assert_eq!(usage.ids.client_request_id.as_deref(), Some("how many?"));
    assert_eq!(usage.ids.response_id.as_deref(), Some("one token"));
    assert_eq!((told(&usage, "request_end"), told(&usage, "Eof")), (1, 1));
    assert!(usage.timing.upstream_headers_ms.is_some() && usage.timing.first_token_ms.is_some());
    assert!(usage.timing.duration_ms.is_some());
    assert_eq!((rig.heard.now().len(), rig.accounts.counters().calls_open(), rig.memory()), (1, 0, (0, 0)));
}

/// A request that says more than could be read as it went by is read by the pool, before the call ends
/// and before its prompt is counted.
#[test]
fn a_request_that_is_unread_is_read_by_the_pool_first() {
    let body = r#"{"model":"CODED"}"#;
    for (need, input) in [("no", None), ("count", Some(body.len() as u64))] {
        let rig = rig(1);
        let call = rig.call(need);
        ask(&call, &[&body[..5], &body[5..]]);
        call.response_head(StatusCode::OK, &HeaderMap::new());
        drain(&mut answer(&call, &["done"]));
        drop(call);
        let usage = rig.heard.wait();
        assert_eq!(told(&usage, "read Some(\"CODED\")"), 1, "{:?}", usage.accounting.reasons);
        assert_eq!(usage.tokens.input, input, "{need}");
        assert_eq!(rig.memory(), (0, 0));
    }
}

#[test]
fn a_request_that_nobody_has_time_to_read_settles_all_the_same() {
    let rig = rig(1);
    rig.accounts.pool.close(); // it takes no more
    let call = rig.call("no");
    ask(&call, &["CODED"]);
    call.response_head(StatusCode::OK, &HeaderMap::new());
    drain(&mut answer(&call, &["done"]));
    let usage = rig.heard.wait();
    assert!(!usage.accounting.reasons.iter().any(|reason| reason.starts_with("read")));
    assert_eq!(rig.memory(), (0, 0));
}

/// A piece of an answer: usual, or too long for one look.
fn text() -> impl Strategy<Value = String> {
    prop_oneof![4 => 0usize..500, 1 => 9000usize..40_000]
        .prop_map(|length| ('a'..='z').cycle().skip(length % 26).take(length).collect())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn the_meter_sees_what_the_caller_gets_in_order_and_in_small_looks(
        frames in prop::collection::vec(prop::option::weighted(0.8, text()), 0..40)
    ) {
        let rig = rig(2);
        let call = rig.call("no");
        let script = frames.iter().map(|frame| frame.as_ref().map(|text| Ok(Bytes::from(text.clone()))));
        let mut body = ResponseTap::new(Scripted(script.collect()), Some(Conclude::new(Arc::clone(&call))));
        let out = drain(&mut body);
        let all: String = frames.into_iter().flatten().collect();
        prop_assert!(out == all.as_bytes());
        drop(body);
        let usage = rig.heard.wait();
        prop_assert!(usage.ids.response_id == Some(all.into()));
        let looks = usage.accounting.reasons.iter().find_map(|reason| reason.strip_prefix("largest look "));
        prop_assert!(looks.unwrap().parse::<usize>().unwrap() <= 8 * 1024);
        prop_assert_eq!(rig.memory(), (0, 0));
    }
}

#[test]
fn each_way_to_end_is_named_and_the_first_one_counts() {
    let settled = |end: &dyn Fn(&Rig, &Arc<Call>)| {
        let rig = rig(0);
        let call = rig.call("no");
        end(&rig, &call);
        rig.heard.wait().accounting.reasons
    };
    let cut = |call: &Arc<Call>| {
        let mut body = answer(call, &["a", "b"]);
        assert!(poll(&mut body).is_ready());
    };
    let failed = |call: &Arc<Call>| {
        let script = Scripted([Some(Ok(Bytes::from_static(b"a"))), Some(Err("broken"))].into());
        drain(&mut ResponseTap::new(script, Some(Conclude::new(Arc::clone(call)))));
    };
    assert!(settled(&|_, call| drop(drain(&mut answer(call, &["a"])))).contains(&"Eof".into()));
    assert!(settled(&|_, call| cut(call)).contains(&"ClientDisconnect".into()));
    assert!(settled(&|_, call| failed(call)).contains(&"UpstreamError".into()));
    let stopped = settled(&|rig, call| {
        rig.accounts.stop();
        cut(call);
    });
    assert!(stopped.contains(&"Shutdown".into()));
    let left = settled(&|_, call| {
        let script = Scripted([Some(Err("gone"))].into());
        drain(&mut RequestTap::new(script, Some(Arc::clone(call))));
        failed(call);
    });
    assert!(left.contains(&"ClientDisconnect".into()));
    assert!(settled(&|_, call| drop(Conclude::new(Arc::clone(call)))).contains(&"ClientDisconnect".into()));
}

#[test]
fn a_prompt_is_counted_by_the_pool_or_let_go_of() {
    for (need, frames, input, model) in [
        ("count", &["a"][..], Some(5), "told"),
        ("keep", &["a"], Some(5), "deployment"),
        ("keep", &["USAGE"], None, ""),
        ("no", &["a"], None, ""),
    ] {
        let rig = rig(1);
        let call = rig.call(need);
        ask(&call, &["12", "345"]);
        drain(&mut answer(&call, frames));
        let usage = rig.heard.wait();
        assert_eq!(usage.tokens.input, input, "{need} {frames:?}");
        assert!(model.is_empty() || told(&usage, model) == 1, "{:?}", usage.accounting.reasons);
        assert_eq!(rig.memory(), (0, 0));
    }
}

#[test]
fn a_call_that_ends_while_its_prompt_is_counted_waits_for_the_count() {
    let _turn = TURN.lock().unwrap_or_else(|error| error.into_inner());
    set_gate(false);
    let rig = rig(1);
    let call = rig.call("count");
    ask(&call, &["HOLD"]);
    assert_eq!(drain(&mut answer(&call, &["answer"])), b"answer", "nobody waits for the count");
    assert_eq!(rig.heard.now().len(), 0);
    set_gate(true);
    let usage = rig.heard.wait();
    assert_eq!((usage.tokens.input, told(&usage, "Eof")), (Some(4), 1));
}

#[test]
fn an_answer_that_is_read_as_a_whole_is_read_by_the_pool_if_it_is_long() {
    for (pieces, place) in [(1, "inline"), (4, "pool")] {
        let rig = rig(1);
        let call = rig.call("keep");
        ask(&call, &["12345"]);
        let piece = format!("UNREAD{}", "x".repeat(4000));
        let mut body = answer(&call, &[]);
        for _ in 0..pieces {
            call.response_frame(&Bytes::from(piece.clone()), &mut Turn::new());
        }
        drain(&mut body);
        let usage = rig.heard.wait();
        assert_eq!((told(&usage, place), usage.tokens.input), (1, Some(5)), "{:?}", usage.accounting.reasons);
    }
}

#[test]
fn a_prompt_that_is_not_whole_is_not_counted() {
    let rig = rig(1);
    let call = rig.call("count");
    let mut body = RequestTap::new(Scripted::of(&["half", "half"]), Some(Arc::clone(&call)));
    assert!(poll(&mut body).is_ready());
    drop(answer(&call, &["x"]));
    let usage = rig.heard.wait();
    assert_eq!((told(&usage, "prompt_not_kept"), usage.tokens.input), (1, None));
    assert_eq!(rig.memory(), (0, 0));
}

#[test]
fn prompt_memory_is_bounded_over_all_calls() {
    let rig = rig(1);
    let (large, small) = (rig.call("keep"), rig.call("keep"));
    let piece = "x".repeat(REQUEST_READ_BYTES_MAX / 2);
    ask(&large, &[piece.as_str(); 10]);
    let kept = rig.memory().0;
    assert_eq!(kept, 0, "10 views of one read buffer each are over 1 MiB");
    ask(&small, &[piece.as_str(); 4]);
    assert_eq!(rig.memory().0, 4 * REQUEST_READ_BYTES_MAX);
    drain(&mut answer(&small, &["USAGE"]));
    assert_eq!(rig.memory().0, 0);
    assert_eq!(told(&rig.heard.wait(), "prompt_not_kept"), 0);
    drain(&mut answer(&large, &["a"]));
    assert_eq!(told(&rig.heard.last_of(2), "prompt_not_kept"), 1);
    assert_eq!(rig.accounts.counters().prompts_not_kept.load(Ordering::SeqCst), 1);
}

#[test]
fn what_the_pool_cannot_hold_is_an_overload_and_harms_no_stream() {
    let _turn = TURN.lock().unwrap_or_else(|error| error.into_inner());
    set_gate(false);
    let rig = rig(1);
    let call = rig.call("no");
    let (first, more) = (format!("{}HOLD", "x".repeat(40_000)), "y".repeat(40_000));
    let mut frames = vec![first.as_str()];
    frames.resize(60, more.as_str());
    let mut body = answer(&call, &frames);
    assert_eq!(drain(&mut body).len(), 40_004 + 59 * 40_000);
    assert!(rig.memory().1 <= 2 << 20);
    assert_eq!(rig.heard.now().len(), 0, "the pool has it still");
    set_gate(true);
    let usage = rig.heard.wait();
    assert_eq!(told(&usage, "overloaded"), 1);
    assert!(usage.ids.response_id.unwrap() == frames.concat(), "nothing of the answer is lost");
    assert_eq!(rig.memory(), (0, 0));
}

/// Whatever the pool does or does not: its queue may never move.
#[test]
fn what_is_only_skimmed_does_not_wait_for_the_pool() {
    let rig = rig(0);
    let call = rig.call("no");
    let frame = "x".repeat(64 << 10);
    let mut body = answer(&call, &[frame.as_str(); 100]);
    let mut turns = 0;
    loop {
        match poll(&mut body) {
            Poll::Pending => turns += 1,
            Poll::Ready(Some(frame)) => drop(frame.unwrap()),
            Poll::Ready(None) => break,
        }
        assert!(rig.memory().1 <= 1 << 20);
    }
    let usage = rig.heard.wait();
    assert_eq!(usage.ids.response_id.as_ref().unwrap().len(), 100 * frame.len());
    assert_eq!((told(&usage, "overloaded"), told(&usage, "Eof"), rig.memory()), (1, 1, (0, 0)));
    assert!((49..=51).contains(&turns), "two frames a turn: {turns}");
}

#[test]
fn a_prompt_that_is_being_counted_is_waited_for_though_the_answer_is_given_up() {
    let _turn = TURN.lock().unwrap_or_else(|error| error.into_inner());
    set_gate(false);
    let rig = rig(1);
    let call = rig.call("count");
    ask(&call, &["HOLD"]);
    eventually("the pool counts the prompt", || call.lock().prompt_away);
    let frame = "x".repeat(64 << 10);
    drain(&mut answer(&call, &[frame.as_str(); 40]));
    assert_eq!(rig.heard.now().len(), 0);
    set_gate(true);
    let usage = rig.heard.wait();
    assert_eq!((told(&usage, "overloaded"), usage.tokens.input), (1, Some(4)));
    assert_eq!(usage.ids.response_id.unwrap().len(), 40 * frame.len());
}

/// All answers together are bounded, those among them that are over.
#[test]
fn answers_that_wait_to_be_read_are_bounded_together() {
    let mut rig = rig(0);
    let bounds = Bounds { backlog_bytes: 100_000, ..Bounds::default() };
    rig.accounts = Arc::new(Arc::into_inner(rig.accounts).unwrap().within(bounds));
    let text = format!("UNREAD{}", "x".repeat(INLINE_BYTES_MAX / 2));
    for _ in 0..20 {
        let call = rig.call("no");
        for _ in 0..3 {
            call.response_frame(&Bytes::from(text.clone()), &mut Turn::new());
        }
        Conclude::new(call).end(Ending::Eof);
        assert!(rig.memory().1 <= 100_000);
    }
    let settled = rig.heard.now();
    assert!((10..20).contains(&settled.len()), "{} did not wait", settled.len());
    assert!(settled.iter().all(|settled| told(&settled.usage, "overloaded") == 1));
}

#[test]
fn a_checkpoint_that_was_due_while_the_pool_had_the_meter_is_made_up_for() {
    let _turn = TURN.lock().unwrap_or_else(|error| error.into_inner());
    set_gate(false);
    let dir = tempfile::tempdir().unwrap();
    let ledger = Ledger::open(LedgerOptions {
        slots: 10,
        control_interval: PATIENCE,
        ..LedgerOptions::new(dir.path().join("ledger"))
    })
    .unwrap();
    let rig = rig(1);
    let call = rig.call_of(draft("no"), ledger.reserve());
    let mut body = answer(&call, &[&format!("{}HOLD", "x".repeat(40_000)), "rest"]);
    assert!(poll(&mut body).is_ready());
    while !matches!(call.lock().meter, super::call::Seat::Away) {
        std::thread::yield_now();
    }
    assert!(call.checkpoint().is_none() && rig.live.hurried().is_empty(), "the pool has the meter");
    set_gate(true);
    let began = Instant::now();
    while rig.live.hurried().is_empty() {
        assert!(began.elapsed() < PATIENCE, "nobody made up for the checkpoint");
        std::thread::yield_now();
    }
    drop(body);
}

#[test]
fn a_pool_that_takes_nothing_loses_no_call() {
    let rig = rig(1);
    rig.accounts.close();
    let call = rig.call("count");
    ask(&call, &["12345"]);
    assert_eq!(drain(&mut answer(&call, &[&"x".repeat(50_000)])).len(), 50_000);
    let usage = rig.heard.wait();
    assert_eq!((told(&usage, "overloaded"), told(&usage, "prompt_overloaded")), (1, 1));
    assert_eq!(usage.ids.response_id.unwrap().len(), 50_000, "it is skimmed");
    assert_eq!(rig.memory(), (0, 0));
}

#[test]
fn a_panic_of_the_meter_costs_the_numbers_of_its_call_only() {
    let large = format!("PANIC{}", "x".repeat(50_000));
    let whole = format!("UNREAD END-BOOM{}", "x".repeat(50_000));
    let skimmed = format!("{}SKIM-BOOM", "x".repeat(50_000));
    for (request, response) in
        [("PANIC", "a"), ("a", "PANIC"), ("a", &large), ("a", "BOOM"), ("a", &whole), ("a", &skimmed)]
    {
        let rig = rig(1);
        let call = rig.call("keep");
        ask(&call, &[request]);
        call.response_head(StatusCode::OK, &HeaderMap::new());
        assert_eq!(drain(&mut answer(&call, &[response, "rest"])).len(), response.len() + 4);
        let usage = rig.heard.wait();
        assert_eq!((usage.tokens.input, usage.tokens.output), (None, None));
        assert_eq!(usage.accounting.reasons, ["input:meter_panic", "output:meter_panic"]);
        assert_eq!((usage.request.status, rig.panics()), (200, 1), "{request} {response}");
        assert_eq!(rig.memory(), (0, 0));
    }
}

#[test]
fn a_panic_of_the_first_or_last_step_is_caught_too() {
    let rig = rig(1);
    let mut begun = draft("no");
    begun.target.region = Some("PANIC in new".into());
    drain(&mut answer(&rig.call_of(begun, None), &["a"]));
    assert_eq!((rig.heard.wait().tokens.output, rig.panics()), (None, 1));

    let rig = self::rig(1);
    let call = rig.call("count");
    ask(&call, &["COUNT-BOOM"]);
    drain(&mut answer(&call, &["a"]));
    let usage = rig.heard.wait();
    assert_eq!((told(&usage, "prompt_not_kept"), told(&usage, "Eof"), rig.panics()), (1, 1, 1));
}

/// On the network thread, and in the pool where a checkpoint takes long. The stream goes on.
#[test]
fn a_panic_of_a_checkpoint_costs_the_numbers_and_the_stream_goes_on() {
    let long = format!("UNCOUNTED PROGRESS-BOOM{}", "x".repeat(3 * INLINE_BYTES_MAX));
    for (text, in_pool) in [("PROGRESS-BOOM", false), (long.as_str(), true)] {
        let dir = tempfile::tempdir().unwrap();
        let ledger =
            Ledger::open(LedgerOptions { slots: 10, ..LedgerOptions::new(dir.path().join("ledger")) })
                .unwrap();
        let rig = rig(1);
        let call = rig.call_of(draft("no"), ledger.reserve());
        call.response_head(StatusCode::OK, &HeaderMap::new());
        let mut body = answer(&call, &[text, "rest"]);
        assert!(poll(&mut body).is_ready());
        eventually("what waits for the pool is shown", || rig.memory().1 == 0);
        assert_eq!(rig.panics(), 0);
        assert!(call.checkpoint().is_none());
        eventually("the panic", || rig.panics() == 1);
        assert!(rig.live.hurried().is_empty() && call.checkpoint().is_none(), "in the pool: {in_pool}");
        assert_eq!(drain(&mut body), b"rest");
        let usage = rig.heard.wait();
        assert_eq!(usage.accounting.reasons, ["input:meter_panic", "output:meter_panic"]);
        assert_eq!((usage.tokens.output, rig.panics()), (None, 1), "in the pool: {in_pool}");
    }
}

#[test]
fn a_call_that_was_never_sent_cost_nothing() {
    let rig = rig(1);
    let call = rig.call("count");
    ask(&call, &["12345"]);
    call.answered_by_us(StatusCode::BAD_GATEWAY, true);
    Conclude::new(call).end(Ending::UpstreamError);
    let usage = rig.heard.wait();
    assert_eq!((usage.tokens.input, usage.tokens.output, usage.request.status), (Some(0), Some(0), 502));
}

#[test]
fn a_checkpoint_says_what_the_rules_are_worth() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = Ledger::open(LedgerOptions {
        slots: 10,
        control_interval: PATIENCE,
        ..LedgerOptions::new(dir.path().join("ledger"))
    })
    .unwrap();
    let rig = rig(0);
    let mut draft = draft("keep");
    draft.target.model = Some("gpt-4o".into());
    let kind = Kind::of(&draft.target, Side::Input, RuleClass::Text).unwrap();
    let call = rig.call_of(draft, ledger.reserve());
    let checkpoint = || {
        call.response_frame(&Bytes::from_static(b"a"), &mut Turn::new());
        call.checkpoint().unwrap().1.accounting
    };
    assert_eq!(checkpoint().input_quality, Quality::Exact);
    for _ in 0..20 {
        rig.accounts.compare(kind.clone(), 1);
    }
    let lowered = checkpoint();
    assert_eq!(
        (lowered.input_quality, lowered.reasons),
        (Quality::Estimated, vec!["input:rules_drifted".into()])
    );
}

#[test]
fn changed_calls_are_checkpointed_all_together_and_once() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = Ledger::open(LedgerOptions {
        slots: 1000,
        control_interval: PATIENCE,
        ..LedgerOptions::new(dir.path().join("ledger"))
    })
    .unwrap();
    let rig = rig(0);
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let changed = || runtime.block_on(rig.live.changed()).len();
    let calls: Vec<_> = (0..500).map(|_| rig.call_of(draft("keep"), ledger.reserve())).collect();
    assert_eq!(changed(), 0, "nothing is known yet");
    let mut bodies: Vec<_> = calls.iter().map(|call| answer(call, &["a", "USAGE", "b"])).collect();
    bodies.iter_mut().for_each(|body| assert!(poll(body).is_ready()));
    assert_eq!((changed(), changed()), (500, 0));

    ask(&calls[0], &["x"]);
    assert_eq!(rig.live.hurried().len(), 0);
    assert!(poll(&mut bodies[0]).is_ready());
    assert_eq!(rig.live.hurried().len(), 1, "usage is worth a checkpoint of its own");
    bodies.truncate(100);
    assert_eq!((changed(), rig.heard.now().len()), (0, 400));
    drop(bodies);
    assert_eq!(rig.accounts.counters().calls_settled.load(Ordering::SeqCst), 500);
}

#[test]
fn a_checkpoint_that_takes_long_is_found_out_by_the_pool() {
    let dir = tempfile::tempdir().unwrap();
    let options = LedgerOptions {
        slots: 10,
        control_interval: PATIENCE,
        ..LedgerOptions::new(dir.path().join("ledger"))
    };
    let ledger = Ledger::open(options).unwrap();
    let rig = rig(1);
    let call = rig.call_of(draft("no"), ledger.reserve());
    let text = format!("UNCOUNTED{}", "x".repeat(3 * INLINE_BYTES_MAX));
    let mut body = answer(&call, &[&text, "rest"]);
    assert!(poll(&mut body).is_ready());
    let began = Instant::now();
    let wait = || {
        assert!(began.elapsed() < PATIENCE, "no checkpoint");
        std::thread::yield_now();
    };
    while rig.memory().1 > 0 {
        wait();
    }
    assert!(call.checkpoint().is_none(), "found out on the network thread");
    let progress = loop {
        if let Some((_, progress)) = rig.live.hurried().pop() {
            break progress;
        }
        wait();
    };
    assert_eq!(progress.tokens.output, Some(text.len() as u64));
    assert!(call.checkpoint().is_none(), "nothing is new since");
    drop(body);
}

/// Nobody has the time to count it: said, and not counted on the network thread.
#[test]
fn what_only_the_pool_may_count_is_given_up_if_the_pool_takes_nothing() {
    let rig = rig(1);
    let call = rig.call("no");
    let half = "x".repeat(INLINE_BYTES_MAX / 2);
    let frames = ["UNCOUNTED", &half, "pause", &half, "end"];
    let mut script = Scripted::of(&frames);
    script.0[2] = None; // a new turn
    let mut body = ResponseTap::new(script, Some(Conclude::new(Arc::clone(&call))));
    rig.accounts.close();
    drain(&mut body);
    let usage = rig.heard.wait();
    assert_eq!(told(&usage, "overloaded"), 1);
    assert_eq!(usage.ids.response_id.unwrap().len(), frames.concat().len() - "pause".len());
}

#[test]
fn a_large_request_lets_others_go_first() {
    let rig = rig(0);
    let call = rig.call("no");
    let frame = "x".repeat(64 << 10);
    let mut body = RequestTap::new(Scripted::of(&[frame.as_str(); 5]), Some(Arc::clone(&call)));
    let turns: Vec<bool> = (0..7).map(|_| poll(&mut body).is_ready()).collect();
    assert_eq!(turns, [true, true, false, true, true, false, true]);
    assert!(poll(&mut body).is_ready(), "and ends");
    drain(&mut answer(&call, &["token"]));
    assert_eq!(rig.heard.wait().ids.client_request_id.unwrap().len(), 5 * frame.len());
}
