//! Calls with a meter that tells what it was shown and told ([`scripted_meter`]), run without HTTP ([`rig`]).

mod checkpoints;
mod early_count;
mod lanes;
mod prompt_sample;
mod rig;
mod scripted_meter;

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

use self::rig::*;
use self::scripted_meter::*;
use super::accounts::{Accounts, ResponseBounds};
use super::body::{BodyError, RequestTap, ResponseTap};
use super::call::Begin;
use super::drift::{Compared, NumberKind};
use super::meter::{CallMeter, CallSkim, MeterTerms, PromptLoss};
use super::observer::Observer;
use super::pinned_bytes::REQUEST_READ_BYTES_MAX;
use super::running_calls::RunningCall;
use super::running_calls::RunningCalls;
use super::turn::{INLINE_BYTES_MAX, Turn};
use crate::ledger::{Ledger, LedgerOptions};
use crate::pool::Pool;
use metering::caller::{Caller, Trust};
use metering::chunk::RequestFacts;
use metering::meter::{
    BillPart, Check, Checks, Ending, Left, PromptCount, PromptNeed, PromptSample, Representation, Rules,
    Treatment,
};
use metering::usage::{
    Accounting, Api, IncludeUsage, Injection, Progress, Quality, RuleClass, Settled, Side, Source, Target,
    Tokens, Usage,
};

const PATIENCE: Duration = Duration::from_secs(30);

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
        let mut body = ResponseTap::new(Scripted(script.collect()), Some(CallGuard::new(Arc::clone(&call))));
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
        drain(&mut ResponseTap::new(script, Some(CallGuard::new(Arc::clone(call)))));
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
    assert!(settled(&|_, call| drop(CallGuard::new(Arc::clone(call)))).contains(&"ClientDisconnect".into()));
}

/// Whoever looks at frames behind the tap has seen the last one before the call is over.
#[test]
fn an_end_that_is_held_back_comes_when_it_is_released_and_once() {
    for broken in [false, true] {
        let rig = rig(0);
        let call = rig.call("no");
        let mut script = Scripted::of(&["a", "b"]);
        script.0.extend(broken.then_some(Some(Err("broken"))));
        let mut body = ResponseTap::holding_end(script, Some(CallGuard::new(Arc::clone(&call))));
        drain(&mut body);
        assert!(rig.heard.now().is_empty() && body.call().is_some(), "it is held");
        body.release_end();
        assert!(body.call().is_none());
        body.release_end();
        drop(body);
        let ending = if broken { "UpstreamError" } else { "Eof" };
        assert!(rig.heard.wait().accounting.reasons.contains(&ending.into()));
    }
    // Released before its end, it ends the call at once.
    let rig = rig(0);
    let mut body = ResponseTap::holding_end(Scripted::of(&["a"]), Some(CallGuard::new(rig.call("no"))));
    body.release_end();
    drain(&mut body);
    assert!(rig.heard.wait().accounting.reasons.contains(&"Eof".into()));
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
            call.response_bytes(&Bytes::from(piece.clone()), &mut Turn::new());
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

/// It never does, whatever the pool does: its queue may never move.
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
    eventually("the pool counts the prompt", || call.lock().prompt.is_with_pool());
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
    let bounds = ResponseBounds { backlog_bytes: 100_000, ..ResponseBounds::default() };
    rig.accounts = Arc::new(Arc::into_inner(rig.accounts).unwrap().within(bounds));
    let text = format!("UNREAD{}", "x".repeat(INLINE_BYTES_MAX / 2));
    for _ in 0..20 {
        let call = rig.call("no");
        for _ in 0..3 {
            call.response_bytes(&Bytes::from(text.clone()), &mut Turn::new());
        }
        CallGuard::new(call).end(Ending::Eof);
        assert!(rig.memory().1 <= 100_000);
    }
    let settled = rig.heard.now();
    assert!((10..20).contains(&settled.len()), "{} did not wait", settled.len());
    assert!(settled.iter().all(|settled| told(&settled.usage, "overloaded") == 1));
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

#[test]
fn a_call_that_was_never_sent_cost_nothing() {
    let rig = rig(1);
    let call = rig.call("count");
    ask(&call, &["12345"]);
    call.responded_by_us(StatusCode::BAD_GATEWAY, true);
    CallGuard::new(call).end(Ending::UpstreamError);
    let usage = rig.heard.wait();
    assert_eq!((usage.tokens.input, usage.tokens.output, usage.request.status), (Some(0), Some(0), 502));
}

/// The pool has no time to count it: that is said, and it is not counted on the network thread.
#[test]
fn what_only_the_pool_may_count_is_given_up_if_the_pool_takes_nothing() {
    let rig = rig(1);
    let call = rig.call("no");
    let half = "x".repeat(INLINE_BYTES_MAX / 2);
    let frames = ["UNCOUNTED", &half, "pause", &half, "end"];
    let mut script = Scripted::of(&frames);
    script.0[2] = None; // a new turn
    let mut body = ResponseTap::new(script, Some(CallGuard::new(Arc::clone(&call))));
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
