//! Waiting for what another thread or process does.

use std::time::{Duration, Instant};

use super::skip::is_long;

/// How long anything may take before a test gives up: far more than it needs on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// How often a waiting test looks.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// How often a time is measured, at most, in the run of every day.
const TRIES: usize = 3;

/// Asks until there is an answer.
#[track_caller]
pub(crate) fn wait_for<T>(what: &str, mut ask: impl FnMut() -> Option<T>) -> T {
    let began = Instant::now();
    loop {
        if let Some(answer) = ask() {
            return answer;
        }
        assert!(began.elapsed() < PATIENCE, "not within {PATIENCE:?}: {what}");
        std::thread::sleep(LOOK_EVERY);
    }
}

/// Waits until something holds.
#[track_caller]
pub(crate) fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    wait_for(what, || holds().then_some(()));
}

/// Measures a time until it is within its bound: three times at most in the run of every day, for a
/// machine stands still once and a fault of ours each time; once with `TOKENWEIR_LONG=1`.
/// Returns how long it took.
pub(crate) fn within(bound: Duration, what: &str, mut measure: impl FnMut() -> Duration) -> Duration {
    let mut times = Vec::new();
    for _ in 0..if is_long() { 1 } else { TRIES } {
        let time = measure();
        if time <= bound {
            return time;
        }
        println!("{what}: {time:?}, more than {bound:?}");
        times.push(time);
    }
    panic!("{what}: {times:?}, and {bound:?} is allowed");
}
