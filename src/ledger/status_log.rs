//! The log lines of a ledger that cannot store calls one by one. They come less often than the state changes.
//!
//! A disk around full lets the ledger come and go several times a second. The state, `/readyz` and the
//! metrics follow each turn; the log says that it began, that it lasts, and once that it has been over
//! for a moment, with how often it came.

use std::time::{Duration, Instant};

/// How often it is said that nothing can be stored.
const SAY_EVERY: Duration = Duration::from_secs(10);

/// For how long all must be well before that is said.
const WELL_FOR: Duration = Duration::from_secs(1);

/// The last lines, and when the next ones are due.
#[derive(Debug, Default)]
pub(super) struct StatusLog {
    /// Since when nothing could be stored, now and then, as far as was said.
    since: Option<Instant>,
    /// How often that began meanwhile.
    times: u64,
    /// Before that it is not said again that nothing can be stored.
    again_at: Option<Instant>,
    /// When it may be said that all is well.
    well_at: Option<Instant>,
}

/// A time of trouble that is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Over {
    /// From its beginning to the last time that all got well.
    pub(super) after: Duration,
    /// How often the ledger began to fail.
    pub(super) times: u64,
}

impl StatusLog {
    /// The ledger begins to fail.
    pub(super) fn begins(&mut self) {
        self.times += 1;
    }

    /// Nothing can be stored. Returns whether that is to be said now.
    pub(super) fn fails(&mut self, now: Instant) -> bool {
        self.well_at = None;
        if self.again_at.is_some_and(|again_at| now < again_at) {
            return false;
        }
        self.again_at = Some(now + SAY_EVERY);
        self.since.get_or_insert(now);
        true
    }

    /// Calls are stored one by one again.
    pub(super) fn gets_well(&mut self, now: Instant) {
        if self.since.is_some() {
            self.well_at = Some(now + WELL_FOR);
        }
    }

    /// When [`StatusLog::over`] may have something to say.
    pub(super) fn due(&self) -> Option<Instant> {
        self.well_at
    }

    /// The line that says that it is over, if it is due; `last`: nothing can come any more.
    pub(super) fn over(&mut self, now: Instant, last: bool) -> Option<Over> {
        let well_at = self.well_at.filter(|well_at| last || now >= *well_at)?;
        let since = self.since.take()?;
        self.well_at = None;
        let after = well_at.duration_since(since).saturating_sub(WELL_FOR);
        Some(Over { after, times: std::mem::take(&mut self.times) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn one_time_of_trouble_is_said_twice() {
        let (start, mut said) = (Instant::now(), StatusLog::default());
        said.begins();
        assert!(said.fails(start) && !said.fails(start + ms(200)));
        assert!(said.fails(start + SAY_EVERY), "it lasts");
        assert_eq!(said.due(), None);
        said.gets_well(start + ms(12_000));
        assert_eq!(said.due(), Some(start + ms(13_000)));
        assert_eq!(said.over(start + ms(12_900), false), None, "it may come again");
        assert_eq!(said.over(start + ms(13_000), false), Some(Over { after: ms(12_000), times: 1 }));
        assert_eq!((said.due(), said.over(start + ms(20_000), true)), (None, None));
    }

    #[test]
    fn a_state_that_comes_and_goes_is_no_stream_of_lines() {
        for period_ms in [20, 200, 700, 1_500, 4_000] {
            let (start, mut said, mut lines, mut times) = (Instant::now(), StatusLog::default(), 0, 0);
            let end = 6_000 / period_ms * period_ms;
            for at in (0..end).step_by(10) {
                let now = start + ms(at);
                if at % period_ms == 0 {
                    said.begins();
                    lines += u32::from(said.fails(now));
                } else if at % period_ms == period_ms / 20 * 10 {
                    said.gets_well(now);
                }
                if let Some(over) = said.over(now, false) {
                    (lines, times) = (lines + 1, times + over.times);
                }
            }
            said.gets_well(start + ms(end));
            times += said.over(start + ms(end), true).map_or(0, |over| over.times);
            assert!(lines <= 3, "{lines} lines in six seconds at a turn of {period_ms} ms");
            assert!(times > 0, "{period_ms} ms");
        }
    }
}
