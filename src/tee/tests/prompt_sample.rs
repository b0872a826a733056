//! Prompts that are counted only to be compared.

use super::super::budget::MemoryBudget;
use super::super::sample_ratio::SampleRatio;
use super::*;

/// A rig that samples every call.
fn sampling(threads: usize) -> Rig {
    let rig = rig(threads);
    let accounts = Arc::into_inner(rig.accounts).unwrap().sampling(SampleRatio::from_ppm(1_000_000));
    Rig { accounts: Arc::new(accounts), ..rig }
}

impl Rig {
    /// A call whose usage is reported.
    fn reported(&self, request: &str) -> Usage {
        let before = self.heard.now().len();
        let call = self.call("keep");
        ask(&call, &[request]);
        drain(&mut answer(&call, &["a", "USAGE"]));
        drop(call);
        self.heard.last_of(before + 1)
    }

    fn compared(&self) -> Vec<(NumberKind, i64)> {
        self.heard.2.lock().unwrap().clone()
    }
}

#[test]
fn a_sampled_prompt_is_compared_and_the_event_does_not_know() {
    let (with, without) = (sampling(1), rig(1));
    let usage = with.reported("12345");
    eventually("the comparison", || !with.compared().is_empty());
    with.accounts.close();
    let kind = NumberKind {
        resource: SmolStr::default(),
        deployment: "deployment".into(),
        model: "sampled".into(),
        api: Api::default(),
        side: Side::Input,
        rules: RuleClass::Text,
    };
    assert_eq!(with.compared(), [(kind, 995)]);
    assert_eq!(with.memory(), (0, 0));
    let plain = without.reported("12345");
    without.accounts.close();
    assert!(without.compared().is_empty());
    assert_eq!((usage.tokens, usage.accounting), (plain.tokens, plain.accounting));
}

#[test]
fn a_call_settles_before_its_sample_is_counted() {
    let _turn = TURN.lock().unwrap_or_else(|error| error.into_inner());
    set_gate(false);
    let rig = sampling(1);
    rig.reported("HOLD"); // settled, although the count cannot go on
    eventually("the copy to be made", || rig.memory().0 == 0);
    assert!(rig.compared().is_empty());
    set_gate(true);
    eventually("the comparison", || !rig.compared().is_empty());
}

#[test]
fn what_waits_gives_way_to_a_prompt_that_is_needed() {
    let rig = sampling(0); // nothing is ever counted
    let piece = "x".repeat(REQUEST_READ_BYTES_MAX / 2);
    for _ in 0..3 {
        let call = rig.call("keep");
        ask(&call, &[&piece]);
        drain(&mut answer(&call, &["USAGE"]));
    }
    assert_eq!(rig.memory().0, 3 * REQUEST_READ_BYTES_MAX, "what waits is part of the prompt memory");
    let needed = rig.call("keep");
    ask(&needed, &[piece.as_str(); 3]);
    assert_eq!(rig.memory().0, 3 * REQUEST_READ_BYTES_MAX, "1 MiB has room for 4 of 6 views");
    assert_eq!(rig.accounts.counters().prompts_not_kept.load(Ordering::SeqCst), 0);
    drain(&mut answer(&needed, &["USAGE"]));
    rig.accounts.close();
    assert_eq!((rig.memory().0, rig.compared().len()), (0, 0));
}

#[test]
fn a_body_that_is_too_long_for_a_sample_is_let_go_of() {
    let rig = sampling(0);
    let mut accounts = Arc::into_inner(rig.accounts).unwrap();
    accounts.prompts = MemoryBudget::new(64 << 20);
    let rig = Rig { accounts: Arc::new(accounts), ..rig };
    let call = rig.call("keep");
    ask(&call, &["x".repeat(REQUEST_READ_BYTES_MAX).as_str(); 22]);
    assert_eq!(rig.memory().0, 22 * REQUEST_READ_BYTES_MAX);
    drain(&mut answer(&call, &["USAGE"]));
    assert_eq!(rig.memory().0, 0);
}

#[test]
fn a_count_that_panics_harms_nothing() {
    let rig = sampling(1);
    rig.reported("COUNT-BOOM");
    eventually("the panic", || rig.panics() == 1);
    rig.reported("12345");
    eventually("the comparison", || rig.compared().len() == 1);
    assert_eq!(rig.memory(), (0, 0));
}

#[test]
fn what_is_not_reported_is_no_sample() {
    let rig = sampling(1);
    let call = rig.call("keep");
    ask(&call, &["12345"]);
    drain(&mut answer(&call, &["a"]));
    let usage = rig.heard.wait();
    rig.accounts.close();
    assert_eq!((usage.tokens.input, rig.compared().len()), (Some(5), 0));
}
