//! How far a drain has come, as a line on standard error every few seconds.

use std::io::{Write, stderr};
use std::time::{Duration, Instant};

use super::drain::Draining;

/// How often a line is written. The rate is that of this time: long enough to be calm, short enough to be
/// true.
const LINE_EVERY: Duration = Duration::from_secs(5);

/// No delivery for this long is worth a word: a broker that works answers within one.
const QUIET: Duration = Duration::from_secs(2);

/// Shows how far a drain has come.
#[derive(Debug, Default)]
pub struct DrainProgress {
    /// When the last line was written, and how many events were left then.
    shown: Option<(Instant, u64)>,
}

impl DrainProgress {
    /// Shows a state, if it is time to.
    pub fn show(&mut self, state: &Draining) {
        let now = Instant::now();
        let line = match self.shown {
            Some((shown, _)) if now - shown < LINE_EVERY => return,
            Some((shown, before)) => text(state, rate(now - shown, before, state.left)),
            None => begin(state),
        };
        self.shown = Some((now, state.left));
        // A closed standard error is no reason to stop.
        let _ = writeln!(stderr(), "draining: {line}");
    }
}

/// Events per second.
fn rate(time: Duration, before: u64, left: u64) -> u64 {
    let ms = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
    before.saturating_sub(left).saturating_mul(1_000).checked_div(ms).unwrap_or(0)
}

/// How much there is to do.
fn begin(state: &Draining) -> String {
    match (state.total, state.own) {
        (1, true) => "nothing was left; 1 event to deliver, the control event of this drain".to_owned(),
        (1, false) => "1 event to deliver".to_owned(),
        (total, true) => format!("{total} events to deliver, with the control event of this drain"),
        (total, false) => format!("{total} events to deliver"),
    }
}

fn text(state: &Draining, rate: u64) -> String {
    let done = state.total - state.left;
    let so_far = format!("{done} of {} event{}", state.total, if state.total == 1 { "" } else { "s" });
    if state.quiet >= QUIET {
        let (quiet, patience) = (state.quiet.as_secs(), state.patience.as_secs());
        return format!("{so_far}; nothing delivered for {quiet} s, giving up at {patience} s");
    }
    match state.left.checked_div(rate) {
        Some(seconds) => format!("{so_far}, {rate}/s, {} left", time(seconds)),
        None => so_far,
    }
}

fn time(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7_200 => format!("{} min", seconds / 60),
        _ => format!("{} h", seconds / 3_600),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(total: u64, left: u64, quiet_s: u64) -> Draining {
        Draining {
            total,
            own: true,
            left,
            quiet: Duration::from_secs(quiet_s),
            patience: Duration::from_secs(20),
        }
    }

    #[test]
    fn it_says_how_far_how_fast_and_how_long_yet() {
        assert_eq!(text(&state(100, 75, 0), 5), "25 of 100 events, 5/s, 15 s left");
        assert_eq!(
            text(&state(1_000_000, 900_000, 0), 1_000),
            "100000 of 1000000 events, 1000/s, 15 min left"
        );
        assert_eq!(text(&state(3, 0, 0), 0), "3 of 3 events");
    }

    #[test]
    fn its_own_control_event_is_not_taken_for_something_left() {
        assert_eq!(
            begin(&state(1, 1, 0)),
            "nothing was left; 1 event to deliver, the control event of this drain"
        );
        assert_eq!(begin(&state(2, 2, 0)), "2 events to deliver, with the control event of this drain");
        let foreign = Draining { own: false, ..state(1, 1, 0) };
        assert_eq!(
            (begin(&foreign), text(&foreign, 0)),
            ("1 event to deliver".into(), "0 of 1 event".into())
        );
    }

    #[test]
    fn it_does_not_promise_an_end_while_nobody_answers() {
        let text = text(&state(100, 75, 7), 5);
        assert_eq!(text, "25 of 100 events; nothing delivered for 7 s, giving up at 20 s");
    }

    #[test]
    fn the_rate_is_that_since_the_line_before() {
        assert_eq!(rate(Duration::from_secs(5), 9_000, 4_000), 1_000);
        assert_eq!(rate(Duration::from_secs(5), 9_000, 9_000), 0);
        assert_eq!(rate(Duration::ZERO, 9_000, 0), 0);
    }
}
