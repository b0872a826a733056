//! Checkpoints of open calls: when they are made, and what they say.

use super::*;

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
    while !call.lock().response.is_meter_away() {
        std::thread::yield_now();
    }
    assert!(
        call.checkpoint().is_none() && rig.running_calls.expedited().is_empty(),
        "the pool has the meter"
    );
    set_gate(true);
    let began = Instant::now();
    while rig.running_calls.expedited().is_empty() {
        assert!(began.elapsed() < PATIENCE, "nobody made up for the checkpoint");
        std::thread::yield_now();
    }
    drop(body);
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
        assert!(
            rig.running_calls.expedited().is_empty() && call.checkpoint().is_none(),
            "in the pool: {in_pool}"
        );
        assert_eq!(drain(&mut body), b"rest");
        let usage = rig.heard.wait();
        assert_eq!(usage.accounting.reasons, ["input:meter_panic", "output:meter_panic"]);
        assert_eq!((usage.tokens.output, rig.panics()), (None, 1), "in the pool: {in_pool}");
    }
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
    let kind = NumberKind::of(&draft.target, Side::Input, RuleClass::Text).unwrap();
    let call = rig.call_of(draft, ledger.reserve());
    let checkpoint = || {
        call.response_bytes(&Bytes::from_static(b"a"), &mut Turn::new());
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
    let changed = || runtime.block_on(rig.running_calls.changed()).len();
    let calls: Vec<_> = (0..500).map(|_| rig.call_of(draft("keep"), ledger.reserve())).collect();
    assert_eq!(changed(), 0, "nothing is known yet");
    let mut bodies: Vec<_> = calls.iter().map(|call| answer(call, &["a", "USAGE", "b"])).collect();
    bodies.iter_mut().for_each(|body| assert!(poll(body).is_ready()));
    assert_eq!((changed(), changed()), (500, 0));

    ask(&calls[0], &["x"]);
    assert_eq!(rig.running_calls.expedited().len(), 0);
    assert!(poll(&mut bodies[0]).is_ready());
    assert_eq!(rig.running_calls.expedited().len(), 1, "usage is worth a checkpoint of its own");
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
        if let Some((_, progress)) = rig.running_calls.expedited().pop() {
            break progress;
        }
        wait();
    };
    assert_eq!(progress.tokens.output, Some(text.len() as u64));
    assert!(call.checkpoint().is_none(), "nothing is new since");
    drop(body);
}
