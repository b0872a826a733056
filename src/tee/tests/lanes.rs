//! Work that waits for the counting threads, and work that does not; and the caller whose memory a call holds.

use super::*;

/// A draft of a call of this caller.
fn draft_of(caller: &str, need: &str) -> Usage {
    let caller = Caller { id: caller.into(), ..Caller::unattributed(Trust::None) };
    Usage { caller, ..draft(need) }
}

/// A rig whose answers hold no more than this.
fn within(threads: usize, bounds: ResponseBounds) -> Rig {
    let rig = rig(threads);
    Rig { accounts: Arc::new(Arc::into_inner(rig.accounts).unwrap().within(bounds)), ..rig }
}

#[test]
fn no_answer_waits_for_a_prompt() {
    let _turn = TURN.lock().unwrap_or_else(|error| error.into_inner());
    set_gate(false);
    let rig = rig(2);
    let held: Vec<_> = (0..20).map(|_| rig.call("count")).collect();
    held.iter().for_each(|call| ask(call, &["HOLD"]));
    eventually("the pool counts a prompt", || held.iter().any(|call| call.lock().prompt.is_with_pool()));
    let text = "x".repeat(40_000);
    for n in 1..=20 {
        let call = rig.call("no");
        drain(&mut answer(&call, &[&text, "rest"]));
        let usage = rig.heard.last_of(n);
        assert_eq!((told(&usage, "overloaded"), usage.ids.response_id.unwrap().len()), (0, 40_004));
    }
    set_gate(true);
    held.into_iter().for_each(|call| drop(CallGuard::new(call)));
    let usage = rig.heard.last_of(40);
    assert_eq!((usage.tokens.input, rig.memory()), (Some(4), (0, 0)));
}

/// Nor does the answer of the call whose prompt it is: all of it is counted meanwhile.
#[test]
fn a_prompt_does_not_hold_up_its_own_answer() {
    let _turn = TURN.lock().unwrap_or_else(|error| error.into_inner());
    set_gate(false);
    let rig = rig(2);
    let call = rig.call("count");
    ask(&call, &["HOLD"]);
    eventually("the pool counts the prompt", || call.lock().prompt.is_with_pool());
    let frame = "x".repeat(64 << 10);
    let mut body = answer(&call, &[frame.as_str(); 40]);
    for _ in 0..40 {
        while poll(&mut body).is_pending() {}
        eventually("what came is counted", || rig.memory().1 == 0);
    }
    drain(&mut body);
    assert_eq!(rig.heard.now().len(), 0, "the prompt is waited for");
    set_gate(true);
    let usage = rig.heard.wait();
    assert_eq!((told(&usage, "overloaded"), usage.tokens.input), (0, Some(4)));
    assert_eq!((usage.ids.response_id.unwrap().len(), rig.memory()), (40 * frame.len(), (0, 0)));
}

/// Both are with the pool, and whichever comes back first, nothing is lost.
#[test]
fn a_prompt_may_be_counted_while_its_answer_is() {
    let _turn = TURN.lock().unwrap_or_else(|error| error.into_inner());
    for (request, coded, input) in [("HOLD", false, 4), (r#"{"model":"CODED HOLD"}"#, true, 22)] {
        for _ in 0..50 {
            set_gate(false);
            let rig = rig(2);
            let call = rig.call("count");
            ask(&call, &[request]);
            eventually("the prompt is away", || coded || call.lock().prompt.is_with_pool());
            let frames = [format!("{}HOLD", "x".repeat(40_000)), "rest".to_owned()];
            let mut body = answer(&call, &[&frames[0], &frames[1]]);
            assert!(poll(&mut body).is_ready());
            eventually("the answer is away", || call.lock().response.is_meter_away());
            set_gate(true);
            drain(&mut body);
            drop(body);
            let usage = rig.heard.wait();
            assert_eq!(usage.tokens.input, Some(input), "{:?}", usage.accounting.reasons);
            assert_eq!(told(&usage, "read Some(\"CODED HOLD\")"), usize::from(coded));
            assert!(usage.ids.response_id.as_deref() == Some(&frames.concat()[..]));
            assert_eq!((told(&usage, "overloaded"), rig.memory()), (0, (0, 0)));
        }
    }
}

#[test]
fn the_prompt_of_a_call_that_was_refused_comes_last() {
    let _turn = TURN.lock().unwrap_or_else(|error| error.into_inner());
    set_gate(false);
    let rig = rig(1);
    let first = rig.call("count");
    ask(&first, &["HOLD"]);
    eventually("the pool counts a prompt", || first.lock().prompt.is_with_pool());
    for status in [400, 200, 408, 200, 500, 200] {
        let call = rig.call("keep");
        ask(&call, &["a prompt"]);
        call.response_head(StatusCode::from_u16(status).unwrap(), &HeaderMap::new());
        drain(&mut answer(&call, &["a"]));
        eventually("it waits", || call.lock().prompt.queued);
    }
    set_gate(true);
    drop(CallGuard::new(first));
    rig.heard.last_of(7);
    let order: Vec<_> = rig.heard.now().iter().map(|call| call.usage.request.status).collect();
    let order: Vec<_> = order.into_iter().filter(|status| *status != 0).collect();
    assert_eq!(order, [200, 200, 200, 400, 408, 500]);
    assert!(rig.heard.now().iter().all(|call| call.usage.tokens.input.is_some()), "none is left out");
}

#[test]
fn a_prompt_that_waits_is_not_counted_once_it_is_not_needed() {
    let _turn = TURN.lock().unwrap_or_else(|error| error.into_inner());
    set_gate(false);
    let rig = rig(1);
    let first = rig.call("count");
    ask(&first, &["HOLD"]);
    eventually("the pool counts a prompt", || first.lock().prompt.is_with_pool());
    let (others, call) = (rig.memory(), rig.call("count"));
    ask(&call, &["COUNT-BOOM"]);
    assert!(rig.memory() > others);
    call.lock().response.ask(&call.cx, |meter| meter.adopted = true); // it needs none any more
    drain(&mut answer(&call, &["a"]));
    rig.heard.last_of(1);
    assert_eq!(rig.memory(), others);
    set_gate(true);
    drop(CallGuard::new(first));
    rig.heard.last_of(2);
    assert_eq!(rig.panics(), 0);
}

/// Prompts of one caller fill the memory for prompts, or wait to be counted in it: another's are kept.
#[test]
fn one_caller_cannot_take_all_of_the_prompt_memory() {
    let rig = rig(0);
    let piece = "x".repeat(REQUEST_READ_BYTES_MAX / 2);
    let greedy: Vec<_> = (0..20)
        .map(|_| {
            let call = rig.call_of(draft_of("greedy", "keep"), None);
            ask(&call, &[&piece]);
            call
        })
        .collect();
    assert_eq!(rig.memory().0, 4 * REQUEST_READ_BYTES_MAX);
    // The rest of the 1 MiB would do for these, but is not for this caller.
    let small = (0..100).map(|_| {
        let call = rig.call_of(draft_of("greedy", "keep"), None);
        ask(&call, &["a prompt of a kilobyte or less"]);
        call
    });
    let greedy: Vec<_> = greedy.into_iter().chain(small).collect();
    assert_eq!(rig.memory().0, 4 * REQUEST_READ_BYTES_MAX);
    // Names of which none has the greedy one's share by chance.
    let share = rig.accounts.share_of("greedy");
    let names = (0..).map(|n| format!("other {n}")).filter(|name| rig.accounts.share_of(name) != share);
    let others: Vec<_> = names
        .take(10)
        .map(|name| {
            let call = rig.call_of(draft_of(&name, "keep"), None);
            ask(&call, &["a prompt of a kilobyte or less"]);
            call
        })
        .collect();
    assert_eq!(rig.accounts.counters().prompts_not_kept.load(Ordering::SeqCst), 116);
    for call in greedy.into_iter().chain(others) {
        drain(&mut answer(&call, &["USAGE"]));
    }
    let lost = |settled: &&Settled| told(&settled.usage, "prompt_not_kept") == 1;
    let settled = rig.heard.now();
    assert!(settled.iter().filter(lost).all(|settled| settled.usage.caller.id == "greedy"));
    assert_eq!((settled.iter().filter(lost).count(), rig.memory()), (116, (0, 0)));
}

/// A response that its client does not read is held within the budget, however it grows; over it it is only
/// skimmed. All that is held is given back when the call ends, however that is.
#[test]
fn answers_that_are_held_are_bounded_together() {
    const MAX_BYTES: usize = 1 << 20;
    for threads in [1, 2] {
        let bounds = ResponseBounds { response_memory_bytes: MAX_BYTES, ..ResponseBounds::default() };
        let rig = within(threads, bounds);
        let piece = format!("UNREAD{}", "x".repeat(6_000));
        let mut calls = Vec::new();
        for n in 0..30 {
            let call = rig.call_of(draft_of(&format!("{}", n % 3), "no"), None);
            for _ in 0..(n + 1) * 2 {
                call.response_bytes(&Bytes::from(piece.clone()), &mut Turn::new());
            }
            calls.push(call);
            assert!(rig.accounts.response_memory_bytes() <= MAX_BYTES);
        }
        assert!(rig.accounts.response_memory_bytes() > MAX_BYTES / 2);
        let overloads = rig.accounts.counters().meter_overload.load(Ordering::SeqCst);
        assert!((1..30).contains(&overloads), "{overloads} are not held");
        // A short response is held in any case, and so is that of a caller who holds little.
        let short = rig.call_of(draft_of("0", "no"), None);
        short.response_bytes(&Bytes::from(piece.clone()), &mut Turn::new());
        let other = rig.call_of(draft_of("other", "no"), None);
        for _ in 0..6 {
            other.response_bytes(&Bytes::from(piece.clone()), &mut Turn::new());
        }
        for call in [short, other] {
            assert!(!call.cx.is_count_given_up());
            calls.push(call);
        }
        for (n, call) in calls.into_iter().enumerate() {
            let end = CallGuard::new(call);
            if n % 2 == 0 { end.end(Ending::Eof) } else { drop(end) }
        }
        rig.accounts.close();
        let settled = rig.heard.now();
        assert_eq!((settled.len(), rig.accounts.response_memory_bytes(), rig.memory()), (32, 0, (0, 0)));
        let shown: usize =
            settled.iter().map(|call| call.usage.ids.response_id.as_ref().unwrap().len()).sum();
        assert_eq!(shown, (30 * 31 + 1 + 6) * piece.len(), "nothing of an answer is lost");
    }
}

/// The pool has the answer, and finds out that it holds too much.
#[test]
fn an_answer_that_grows_in_the_pool_is_given_up_there() {
    let rig = within(1, ResponseBounds { response_memory_bytes: 10_000, ..ResponseBounds::default() });
    let call = rig.call("no");
    let text = format!("UNREAD{}", "x".repeat(60_000));
    let mut body = answer(&call, &[&text, "rest"]);
    assert!(poll(&mut body).is_ready());
    eventually("it is given up", || call.cx.is_count_given_up());
    assert_eq!(drain(&mut body), b"rest");
    drop(body);
    let usage = rig.heard.wait();
    assert_eq!((told(&usage, "overloaded"), usage.ids.response_id.unwrap().len()), (1, text.len() + 4));
    assert_eq!((rig.accounts.response_memory_bytes(), rig.memory()), (0, (0, 0)));
}
