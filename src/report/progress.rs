//! How far a drain has come, on standard error: a bar for a terminal, else a line now and then.

use std::collections::VecDeque;
use std::io::{IsTerminal, Stderr, Write, stderr};
use std::time::{Duration, Instant};

use super::Draining;

/// How often a terminal is drawn anew.
const DRAW_EVERY: Duration = Duration::from_millis(200);

/// How often a log gets a line.
const LINE_EVERY: Duration = Duration::from_secs(5);

/// The rate is that of so much time: long enough to be calm, short enough to be true.
const WINDOW: Duration = Duration::from_secs(5);

/// No delivery for this long is worth a word: a broker that works answers within one.
const QUIET: Duration = Duration::from_secs(2);

/// Characters of the bar; the whole line stays below 80.
const BAR: usize = 20;

/// Shows how far a drain has come.
#[derive(Debug)]
pub struct Progress {
    out: Stderr,
    terminal: bool,
    shown: Option<Instant>,
    samples: VecDeque<(Instant, u64)>,
}

impl Progress {
    /// For this process's standard error.
    #[expect(clippy::new_without_default, reason = "it takes hold of standard error")]
    pub fn new() -> Progress {
        let out = stderr();
        let terminal = out.is_terminal();
        Progress { out, terminal, shown: None, samples: VecDeque::new() }
    }

    /// Shows a state, if it is time to.
    pub fn show(&mut self, state: &Draining) {
        let now = Instant::now();
        let every = if self.terminal { DRAW_EVERY } else { LINE_EVERY };
        if self.shown.is_some_and(|shown| now - shown < every) {
            return;
        }
        let first = self.shown.is_none();
        self.shown = Some(now);
        let text = text(state, self.rate(now, state.left));
        // Whoever closed standard error does not want to know.
        let _ = if self.terminal {
            write!(self.out, "\r\x1b[K{} {text}", bar(state))
        } else if first {
            writeln!(self.out, "draining: {}", begin(state))
        } else {
            writeln!(self.out, "draining: {text}")
        };
        let _ = self.out.flush();
    }

    /// Takes the bar away.
    pub fn clear(&mut self) {
        if self.terminal && self.shown.is_some() {
            let _ = write!(self.out, "\r\x1b[K");
            let _ = self.out.flush();
        }
    }

    /// Events per second of late.
    fn rate(&mut self, now: Instant, left: u64) -> u64 {
        self.samples.push_back((now, left));
        while self.samples.len() > 2 && now - self.samples[1].0 >= WINDOW {
            self.samples.pop_front();
        }
        let (began, before) = self.samples[0];
        let ms = u64::try_from((now - began).as_millis()).unwrap_or(u64::MAX);
        before.saturating_sub(left).saturating_mul(1_000).checked_div(ms).unwrap_or(0)
    }
}

fn bar(state: &Draining) -> String {
    let done = (state.total - state.left).saturating_mul(BAR as u64).checked_div(state.total);
    let done = done.and_then(|done| usize::try_from(done).ok()).unwrap_or(BAR);
    format!("[{}{}]", "#".repeat(done), ".".repeat(BAR - done))
}

/// What there is to do.
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
        assert_eq!(bar(&state(100, 75, 0)), "[#####...............]");
        assert_eq!(text(&state(100, 75, 0), 5), "25 of 100 events, 5/s, 15 s left");
        assert_eq!(
            text(&state(1_000_000, 900_000, 0), 1_000),
            "100000 of 1000000 events, 1000/s, 15 min left"
        );
        assert_eq!(bar(&state(0, 0, 0)).len(), BAR + 2);
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
    fn the_rate_forgets_what_is_long_ago() {
        let mut progress = Progress::new();
        let began = Instant::now();
        let at = |s| began + Duration::from_secs(s);
        assert_eq!(progress.rate(at(0), 10_000), 0);
        assert_eq!(progress.rate(at(1), 9_000), 1_000);
        for second in 2..20 {
            progress.rate(at(second), 9_000);
        }
        assert_eq!(progress.rate(at(20), 9_000), 0);
        assert!(progress.samples.len() < 10);
    }
}
