//! When to try again: pauses that double, with jitter, until something gets through.

use std::hash::{BuildHasher, RandomState};
use std::time::{Duration, Instant};

/// The first pause after an error.
const PAUSE_MIN: Duration = Duration::from_millis(250);

/// The longest pause: a quarter of how soon somebody would look.
const PAUSE_MAX: Duration = Duration::from_secs(30);

/// How often the same trouble is worth a line in the log.
const SAY_EVERY: Duration = Duration::from_secs(10);

/// The pauses of one publisher.
#[derive(Debug)]
pub(super) struct Pace {
    pause: Duration,
    until: Option<Instant>,
    said: Option<Instant>,
}

impl Pace {
    pub(super) fn new() -> Pace {
        Pace { pause: PAUSE_MIN, until: None, said: None }
    }

    /// Something failed. Failures within a pause belong to it: a batch is one failure.
    pub(super) fn failed(&mut self, now: Instant) {
        if self.until.is_none() {
            self.until = Some(now + jittered(self.pause));
            self.pause = PAUSE_MAX.min(self.pause * 2);
        }
    }

    /// Something got through.
    pub(super) fn succeeded(&mut self) {
        self.pause = PAUSE_MIN;
    }

    /// How long to wait still; `None` if not at all.
    pub(super) fn wait(&mut self, now: Instant) -> Option<Duration> {
        let left = self.until?.saturating_duration_since(now);
        if left.is_zero() {
            self.until = None;
            return None;
        }
        Some(left)
    }

    /// Whether to say so in the log, this time.
    pub(super) fn says(&mut self, now: Instant) -> bool {
        let says = self.said.is_none_or(|said| now.duration_since(said) >= SAY_EVERY);
        if says {
            self.said = Some(now);
        }
        says
    }
}

/// Between half of a pause and all of it, so that many sidecars do not come back as one.
fn jittered(pause: Duration) -> Duration {
    // The keys of the standard library's hasher are random.
    let random = RandomState::new().hash_one(0) % 1_000;
    pause.mul_f64(0.5 + random as f64 / 2_000.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_a_bound_and_begin_anew_after_success() {
        let mut pace = Pace::new();
        let mut now = Instant::now();
        assert_eq!(pace.wait(now), None);
        let mut longest = Duration::ZERO;
        for n in 0..12 {
            pace.failed(now);
            pace.failed(now); // the rest of a batch
            let wait = pace.wait(now).unwrap();
            let full = PAUSE_MAX.min(PAUSE_MIN * 2_u32.pow(n));
            assert!(wait >= full / 2 && wait <= full, "{n}: {wait:?}");
            longest = longest.max(wait);
            now += full;
            assert_eq!(pace.wait(now), None);
        }
        assert!(longest > PAUSE_MAX / 3);
        pace.succeeded();
        pace.failed(now);
        assert!(pace.wait(now).unwrap() <= PAUSE_MIN);
    }
}
