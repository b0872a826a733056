//! How much to send, and when to try again.
//!
//! After an error comes a pause, with jitter, that doubles up to a second and a half while nothing gets
//! through: longer ones would only make recovery slow, shorter ones would press a service that asks
//! for rest. The first send after a pause is small and grows with every success: half of what failed
//! if something else got through meanwhile, else a single event. So a service that
//! refuses everything sees about one small request a second, and one that is well again is back
//! at full speed after some round trips.

use std::hash::{BuildHasher, RandomState};
use std::time::{Duration, Instant};

/// The first pause after an error.
const PAUSE_MIN: Duration = Duration::from_millis(250);

/// The longest pause: recovery is promised within three seconds, and a first request to a new
/// producer takes one of them.
const PAUSE_MAX: Duration = Duration::from_millis(1_500);

/// How often the same trouble is worth a line in the log.
const SAY_EVERY: Duration = Duration::from_secs(10);

/// Events in flight while all is well, and positions between the mark and the last one sent: what a
/// new producer may have to send again, and with events of 1.5 KiB more than the client's own queue
/// takes.
pub(super) const WINDOW_MAX: usize = 50_000;

/// The pauses of one publisher, and its window.
#[derive(Debug)]
pub(super) struct Backoff {
    pause: Duration,
    until: Option<Instant>,
    window: usize,
    /// Events sent before the last error and not answered yet: their answers are about the past.
    old: usize,
    /// Something got through since the last error.
    fine: bool,
    said: Option<Instant>,
}

impl Backoff {
    pub(super) fn new() -> Backoff {
        Backoff { pause: PAUSE_MIN, until: None, window: WINDOW_MAX, old: 0, fine: true, said: None }
    }

    /// An event was not delivered, and `in_flight` others are still under way. A batch is one
    /// failure, and so is all that was sent before the first one was known.
    pub(super) fn failed(&mut self, now: Instant, in_flight: usize) {
        if self.old > 0 {
            self.old -= 1;
        } else {
            self.trouble(now, in_flight);
        }
    }

    /// Something went wrong that is not the answer to an event.
    pub(super) fn trouble(&mut self, now: Instant, in_flight: usize) {
        if self.until.is_some() {
            return;
        }
        self.until = Some(now + jittered(self.pause));
        self.pause = PAUSE_MAX.min(self.pause * 2);
        let reached = self.window.min(in_flight + 1);
        self.window = if self.fine { (reached / 2).max(1) } else { 1 };
        self.fine = false;
        self.old = in_flight;
        debug_assert!((1..=WINDOW_MAX).contains(&self.window) && self.pause <= PAUSE_MAX);
    }

    /// An event got through.
    pub(super) fn succeeded(&mut self) {
        self.fine = true;
        if self.old > 0 {
            self.old -= 1;
            return;
        }
        self.pause = PAUSE_MIN;
        self.window = WINDOW_MAX.min(self.window + 1);
        debug_assert!(self.window > 0, "a service that is well again gets events");
    }

    /// One event of several is not acceptable: the next goes alone.
    pub(super) fn narrow(&mut self) {
        self.window = 1;
    }

    /// The producer is gone: nothing is under way.
    pub(super) fn lost(&mut self) {
        self.old = 0;
    }

    /// How many more may be sent.
    pub(super) fn room(&self, in_flight: usize) -> usize {
        (self.window + self.old).saturating_sub(in_flight)
    }

    /// Nothing got through since the last error.
    pub(super) fn in_trouble(&self) -> bool {
        !self.fine
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
pub(super) fn jittered(pause: Duration) -> Duration {
    // The keys of the standard library's hasher are random.
    let random = RandomState::new().hash_one(0) % 1_000;
    pause.mul_f64(0.5 + random as f64 / 2_000.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The end of the pause that runs.
    fn after_pause(pace: &mut Backoff, now: Instant) -> Instant {
        let now = now + pace.wait(now).unwrap();
        assert_eq!(pace.wait(now), None);
        now
    }

    #[test]
    fn pauses_double_up_to_a_bound_and_begin_anew_after_success() {
        let (mut pace, mut now) = (Backoff::new(), Instant::now());
        assert_eq!(pace.wait(now), None);
        for n in 0..12 {
            pace.failed(now, 2);
            // The rest of the batch.
            pace.failed(now, 1);
            pace.failed(now, 0);
            let wait = pace.wait(now).unwrap();
            let full = PAUSE_MAX.min(PAUSE_MIN * 2_u32.pow(n));
            assert!(wait >= full / 2 && wait <= full, "{n}: {wait:?}");
            now = after_pause(&mut pace, now);
        }
        pace.succeeded();
        pace.failed(now, 0);
        assert!(pace.wait(now).unwrap() <= PAUSE_MIN);
    }

    #[test]
    fn nothing_but_one_event_while_nothing_gets_through() {
        let (mut pace, mut now) = (Backoff::new(), Instant::now());
        // 1,000 are under way and all of them fail, also after the pause.
        pace.failed(now, 999);
        now = after_pause(&mut pace, now);
        for left in (0..999).rev() {
            pace.failed(now, left);
        }
        assert_eq!((pace.wait(now), pace.room(0)), (None, 500), "half of what failed");
        // Of those 500 none gets through either.
        for others in [499, 0, 0] {
            pace.failed(now, others);
            now = after_pause(&mut pace, now);
            for left in (0..others).rev() {
                pace.failed(now, left);
            }
            assert_eq!((pace.room(0), pace.room(1)), (1, 0));
            assert!(pace.in_trouble());
        }
    }

    #[test]
    fn the_window_doubles_with_each_round_of_answers() {
        let (mut pace, mut now) = (Backoff::new(), Instant::now());
        for _ in 0..2 {
            pace.failed(now, 0);
            now = after_pause(&mut pace, now);
        }
        for round in 0..20 {
            let room = pace.room(0);
            assert_eq!(room, WINDOW_MAX.min(1 << round));
            for _ in 0..room {
                pace.succeeded();
            }
        }
        assert_eq!(pace.room(0), WINDOW_MAX);
        assert!(!pace.in_trouble());
    }

    #[test]
    fn answers_to_what_was_sent_before_an_error_do_not_open_the_window() {
        let (mut pace, now) = (Backoff::new(), Instant::now());
        pace.failed(now, 40);
        assert_eq!(pace.room(40), 20, "others may be stuck: a partition can be without its leader");
        for _ in 0..40 {
            pace.succeeded();
        }
        assert_eq!(pace.room(0), 20);
        pace.trouble(now, 7);
        pace.lost();
        assert_eq!(pace.room(0), 20, "a second error within the pause changes nothing");
        pace.narrow();
        assert_eq!(pace.room(0), 1);
    }
}
