//! Prompts that are counted since their calls are open for long.

use super::super::early_count::EarlyCount;
use super::*;

const SECOND: Duration = Duration::from_secs(1);

/// A rig with a ledger, and the clock that it is told.
struct Aging {
    rig: Rig,
    ledger: Ledger,
    runtime: tokio::runtime::Runtime,
    _dir: tempfile::TempDir,
}

impl Aging {
    fn new(threads: usize) -> Aging {
        let dir = tempfile::tempdir().unwrap();
        let options = LedgerOptions {
            slots: 1000,
            control_interval: PATIENCE,
            ..LedgerOptions::new(dir.path().join("ledger"))
        };
        let ledger = Ledger::open(options).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        Aging { rig: rig(threads), ledger, runtime, _dir: dir }
    }

    fn call(&self, need: &str) -> Arc<Call> {
        self.rig.call_of(draft(need), self.ledger.reserve())
    }

    /// So long after all calls began.
    fn after(&self, time: Duration) {
        self.runtime.block_on(self.rig.running_calls.come_of_age(Instant::now() + time));
    }

    fn sweep(&self) -> usize {
        self.runtime.block_on(self.rig.running_calls.changed()).len()
    }

    /// Prompts that the next beat tells the ledger of.
    fn told(&self) -> Vec<Option<u64>> {
        let told = self.runtime.block_on(self.rig.running_calls.at_beat());
        told.into_iter().map(|(_, progress)| progress.tokens.input).collect()
    }

    /// The prompts in any checkpoint.
    fn all_told(&self) -> Vec<Option<u64>> {
        let mut all = self.runtime.block_on(self.rig.running_calls.changed());
        all.extend(self.runtime.block_on(self.rig.running_calls.at_beat()));
        all.extend(self.rig.running_calls.expedited());
        all.into_iter().map(|(_, progress)| progress.tokens.input).collect()
    }

    fn wait_told(&self, input: u64) {
        eventually("a checkpoint with the prompt", || self.told() == [Some(input)]);
    }
}

#[test]
fn the_prompt_of_a_call_that_is_open_for_a_second_is_counted_and_on_record() {
    let aging = Aging::new(1);
    let call = aging.call("keep");
    ask(&call, &["a prompt"]);
    let pinned = aging.rig.memory();
    aging.after(SECOND / 2);
    aging.sweep();
    assert!(matches!(call.lock().prompt.early, EarlyCount::Young) && aging.told().is_empty());
    aging.after(SECOND);
    aging.wait_told(8);
    assert_eq!(aging.rig.memory(), pinned, "it may have to be counted by another model's rules");
    aging.after(2 * SECOND);
    aging.sweep();
    // The answer names another model: counted anew, and for the last time.
    let mut body = answer(&call, &["NAMED", "and no usage"]);
    assert!(poll(&mut body).is_ready());
    aging.wait_told(8);
    assert_eq!(aging.rig.memory(), pinned);
    drain(&mut body);
    drop(body);
    let usage = aging.rig.heard.wait();
    assert_eq!((told(&usage, "early by guess"), told(&usage, "early by named")), (1, 1));
    assert_eq!((usage.tokens.input, told(&usage, "adopted")), (Some(8), 1), "and not once more at the end");
    assert_eq!((aging.rig.panics(), aging.rig.memory()), (0, (0, 0)));
}

#[test]
fn what_is_counted_early_by_a_guess_is_counted_anew_at_the_end_if_nobody_reports() {
    let aging = Aging::new(1);
    let call = aging.call("keep");
    ask(&call, &["a prompt"]);
    aging.after(SECOND);
    aging.wait_told(8);
    drain(&mut answer(&call, &["an answer"]));
    let usage = aging.rig.heard.wait();
    assert_eq!((told(&usage, "deployment"), aging.rig.memory()), (1, (0, 0)));
}

#[test]
fn a_call_that_is_over_within_a_second_is_not_counted() {
    let aging = Aging::new(1);
    // A count would panic.
    for _ in 0..1_000 {
        let call = aging.call("keep");
        ask(&call, &["COUNT-BOOM"]);
        drain(&mut answer(&call, &["USAGE"]));
        eventually("its end", || aging.rig.running_calls.is_empty());
    }
    aging.after(10 * SECOND);
    aging.rig.accounts.close();
    assert_eq!((aging.rig.panics(), aging.rig.memory()), (0, (0, 0)));
    assert_eq!(aging.rig.heard.now().len(), 1_000);
}

#[test]
fn a_request_that_is_whole_after_a_second_is_counted_then() {
    let aging = Aging::new(1);
    let call = aging.call("keep");
    let script = [Some("half "), None, Some("of it")];
    let frames = script.map(|frame| frame.map(|text| Ok(Bytes::from_static(text.as_bytes()))));
    let mut request = RequestTap::new(Scripted(frames.into()), Some(Arc::clone(&call)));
    assert!(poll(&mut request).is_ready() && poll(&mut request).is_pending());
    aging.after(SECOND);
    aging.sweep();
    assert!(aging.told().is_empty());
    drain(&mut request);
    aging.wait_told(10);
    drain(&mut answer(&call, &["USAGE"]));
}

#[test]
fn a_request_of_which_nothing_was_sent_is_not_counted_until_it_is() {
    let aging = Aging::new(1);
    let call = aging.call("keep");
    call.set_unsent(true);
    ask(&call, &["a prompt"]);
    aging.after(SECOND);
    aging.sweep();
    assert!(matches!(call.lock().prompt.early, EarlyCount::Due) && aging.told().is_empty());
    call.set_unsent(false);
    // The sweep asks for the count, and tells of it too if it is there at once.
    eventually("a checkpoint with the prompt", || aging.all_told() == [Some(8)]);
    drain(&mut answer(&call, &["USAGE"]));
}

#[test]
fn a_call_without_a_place_in_the_ledger_is_not_counted() {
    let aging = Aging::new(1);
    let call = aging.rig.call("keep");
    ask(&call, &["COUNT-BOOM"]);
    aging.after(SECOND);
    drain(&mut answer(&call, &["USAGE"]));
    aging.rig.heard.wait();
    assert_eq!(aging.rig.panics(), 0);
}

/// The meter is with the pool when the call comes of age, and when the count comes.
#[test]
fn a_meter_that_is_away_is_told_when_it_is_back() {
    let _turn = TURN.lock().unwrap_or_else(|error| error.into_inner());
    for age_first in [false, true] {
        set_gate(age_first);
        let aging = Aging::new(2);
        let call = aging.call("keep");
        ask(&call, &["a HOLD prompt"]);
        if age_first {
            set_gate(false);
            aging.after(SECOND); // the count is held
        }
        let mut body = answer(&call, &[&format!("{}HOLD", "x".repeat(40_000)), "USAGE"]);
        assert!(poll(&mut body).is_ready());
        let away = || call.lock().response.is_meter_away();
        eventually("the meter to be away", away);
        if !age_first {
            aging.after(SECOND);
        }
        assert!(aging.told().is_empty());
        set_gate(true);
        eventually("a checkpoint with the prompt", || aging.all_told().contains(&Some(13)));
        drain(&mut body);
        drop(body);
        aging.rig.heard.wait();
        eventually("all is let go of", || aging.rig.memory() == (0, 0));
    }
}

#[test]
fn a_panic_over_an_early_count_costs_nothing_else() {
    let aging = Aging::new(1);
    let call = aging.call("keep");
    ask(&call, &["COUNT-BOOM"]);
    aging.after(SECOND);
    eventually("the panic", || aging.rig.panics() == 1);
    aging.sweep();
    drain(&mut answer(&call, &["NAMED", "USAGE"]));
    let usage = aging.rig.heard.wait();
    assert_eq!((told(&usage, "Eof"), aging.rig.panics(), aging.rig.memory()), (1, 1, (0, 0)));
}

/// Places are given to other calls: a call that takes the place of one that is over has an age of its own.
#[test]
fn a_place_that_is_taken_anew_does_not_make_a_call_old() {
    let aging = Aging::new(1);
    let first = aging.call("keep");
    ask(&first, &["first"]);
    drain(&mut answer(&first, &["USAGE"]));
    eventually("its end", || aging.rig.running_calls.is_empty());
    let began = Instant::now();
    std::thread::sleep(Duration::from_millis(20));
    let second = aging.call("keep");
    ask(&second, &["COUNT-BOOM"]);
    aging.runtime.block_on(aging.rig.running_calls.come_of_age(began + SECOND));
    drain(&mut answer(&second, &["USAGE"]));
    aging.rig.heard.last_of(2);
    assert_eq!(aging.rig.panics(), 0);
}
