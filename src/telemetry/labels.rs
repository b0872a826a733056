//! Label values that come from outside, kept to a bounded set.

use std::collections::HashSet;
use std::sync::{Mutex, PoisonError};

/// More series than this hurt a Prometheus more than they help a person.
const NAMES_MAX: usize = 200;
/// Stands for every name beyond the bound, or not proven.
pub(super) const OTHER: &str = "other";

/// Names learned from answers that succeeded.
#[derive(Debug, Default)]
pub(super) struct Names(Mutex<HashSet<String>>);

impl Names {
    /// The name itself if it is known, or may be learned now; else [`OTHER`].
    pub(super) fn label<'a>(&self, name: Option<&'a str>, proven: bool) -> &'a str {
        let Some(name) = name else { return "" };
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.contains(name) {
            return name;
        }
        if !proven || known.len() >= NAMES_MAX {
            return OTHER;
        }
        known.insert(name.to_owned());
        name
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
        assert_eq!(names.label(None, true), "");
    }
}
