//! Label values that come from outside, kept to a bounded set.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// More series than this hurt a Prometheus more than they help a person.
const NAMES_MAX: usize = 200;
/// Stands for every name beyond the bound, or not proven.
pub(super) const OTHER: &str = "other";

/// Names that may stand in labels, each with when it was last seen.
#[derive(Debug)]
pub(super) struct Names {
    known: Mutex<HashMap<String, Instant>>,
    names_max: usize,
}

impl Default for Names {
    fn default() -> Names {
        Names::new(NAMES_MAX)
    }
}

impl Names {
    /// A set of at most so many.
    pub(super) fn new(names_max: usize) -> Names {
        Names { known: Mutex::default(), names_max }
    }

    /// The name itself if it is known, or may be learned now; else [`OTHER`].
    pub(super) fn label<'a>(&self, name: Option<&'a str>, proven: bool) -> &'a str {
        let Some(name) = name.filter(|name| !name.is_empty()) else { return "" };
        let mut known = self.lock();
        if let Some(seen) = known.get_mut(name) {
            *seen = Instant::now();
            return name;
        }
        if !proven || known.len() >= self.names_max {
            return OTHER;
        }
        known.insert(name.to_owned(), Instant::now());
        name
    }

    /// The names that are known.
    pub(super) fn all(&self) -> Vec<String> {
        self.lock().keys().cloned().collect()
    }

    /// Forgets the names that were not seen for so long, and returns them.
    pub(super) fn forget_silent(&self, now: Instant, silence_max: Duration) -> Vec<String> {
        let mut known = self.lock();
        let silent = |seen: &Instant| now.saturating_duration_since(*seen) > silence_max;
        known.extract_if(|_, seen| silent(seen)).map(|(name, _)| name).collect()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Instant>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn junk_mints_no_series() {
        let names = Names::default();
        assert_eq!(names.label(Some("junk"), false), OTHER);
        assert_eq!(names.label(Some("gpt-4o"), true), "gpt-4o");
        assert_eq!(names.label(Some("gpt-4o"), false), "gpt-4o");
        for n in 0..2 * NAMES_MAX {
            names.label(Some(&format!("m{n}")), true);
        }
        assert_eq!(names.label(Some("one more"), true), OTHER);
        assert_eq!(names.all().len(), NAMES_MAX);
        assert_eq!((names.label(None, true), names.label(Some(""), false)), ("", ""));
    }

    #[test]
    fn who_is_silent_makes_room_for_others() {
        let names = Names::new(1);
        assert_eq!((names.label(Some("a"), true), names.label(Some("b"), true)), ("a", OTHER));
        let (now, hour) = (Instant::now(), Duration::from_secs(3_600));
        assert_eq!(names.forget_silent(now, hour), Vec::<String>::new());
        assert_eq!(names.forget_silent(now + 2 * hour, hour), ["a"]);
        assert_eq!((names.label(Some("a"), false), names.label(Some("b"), true)), (OTHER, "b"));
    }
}
