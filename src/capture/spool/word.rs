//! The log lines of a spool that is full or fails: one when that begins, one when it is over.

use std::path::Path;
use std::time::{Duration, Instant};

/// A state that comes and goes is told of so often at most.
const SAY_EVERY: Duration = Duration::from_secs(60);

/// Why parts cannot be stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hindrance {
    /// `--capture-spool-max-bytes` is reached: parts are lost.
    Full,
    /// The database or its disk fails: parts wait in memory.
    Failing,
}

/// The log's last word on one hindrance.
#[derive(Debug)]
pub(super) struct SpoolWord {
    hindrance: Hindrance,
    began: Option<Began>,
    said: Option<Instant>,
}

#[derive(Debug)]
struct Began {
    at: Instant,
    lost_parts: u64,
    is_said: bool,
}

impl SpoolWord {
    pub(super) fn of(hindrance: Hindrance) -> SpoolWord {
        SpoolWord { hindrance, began: None, said: None }
    }

    /// It has begun, or goes on. `lost_parts` are those of the boot.
    pub(super) fn begins(&mut self, dir: &Path, why: &str, lost_parts: u64, now: Instant) {
        if self.began.is_some() {
            return;
        }
        let is_said = self.said.is_none_or(|said| now.duration_since(said) >= SAY_EVERY);
        self.began = Some(Began { at: now, lost_parts, is_said });
        if !is_said {
            return;
        }
        self.said = Some(now);
        match self.hindrance {
            Hindrance::Full => tracing::error!(
                dir = %dir.display(),
                why,
                "the spool of captured content is full: parts are lost and counted until delivered ones make room"
            ),
            Hindrance::Failing => tracing::error!(
                dir = %dir.display(),
                why,
                "captured content cannot be stored: parts wait in memory; those that find no room there are lost and \
                 counted"
            ),
        }
    }

    /// It is over.
    pub(super) fn ends(&mut self, dir: &Path, lost_parts: u64, now: Instant) {
        let Some(began) = self.began.take().filter(|began| began.is_said) else { return };
        tracing::warn!(
            dir = %dir.display(),
            lost_parts = lost_parts.saturating_sub(began.lost_parts),
            after = ?now.duration_since(began.at),
            "captured content is stored again"
        );
    }

    /// It lasts.
    pub(super) fn lasts(&self) -> bool {
        self.began.is_some()
    }
}
