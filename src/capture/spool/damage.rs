//! A database that turns out to be damaged: how that is known while it is in use, and how it is given up.

use std::path::Path;
use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::error::SpoolError;
use crate::ledger::{OpenError, move_aside};

/// Errors in a row that say so. One bad read costs no spool.
pub(super) const SIGNS: u32 = 2;

/// A disk that spoils each database it is given must not be filled with them.
const REPLACE_EVERY: Duration = Duration::from_secs(60);

/// The signs that the database in use is damaged.
#[derive(Debug, Default)]
pub(super) struct Damage {
    signs: u32,
    why: String,
    replaced: Option<Instant>,
    gone: Gone,
}

/// The positions that went with databases that were given up. After several it also covers those between them, which is on
/// the safe side: a side with parts there ends, though they may have been delivered.
#[derive(Clone, Copy, Debug, Default)]
struct Gone {
    after: u64,
    until: u64,
}

impl Damage {
    /// The writer met an error, which may be a sign.
    pub(super) fn met(&mut self, error: &SpoolError) {
        if error.is_damage() {
            self.signs += 1;
            self.why = error.to_string();
        }
    }

    /// The reader has met as many signs as it takes.
    pub(super) fn was_read(&mut self, why: String) {
        (self.signs, self.why) = (SIGNS, why);
    }

    /// Something was stored: what was met before was no damage, or does not matter.
    pub(super) fn is_written(&mut self) {
        self.signs = 0;
    }

    /// Why the database must be given up now, if so.
    pub(super) fn found(&self, now: Instant) -> Option<&str> {
        let is_early = self.replaced.is_some_and(|at| now.saturating_duration_since(at) < REPLACE_EVERY);
        (self.signs >= SIGNS && !is_early).then_some(&*self.why)
    }

    /// It was given up, and with it what was stored and not delivered.
    pub(super) fn replaced(&mut self, now: Instant, delivered: u64, last: u64) {
        let after = if self.replaced.is_some() { self.gone.after.min(delivered) } else { delivered };
        *self = Damage { replaced: Some(now), gone: Gone { after, until: last }, ..Damage::default() };
    }

    /// A part of the side whose last one was stored at this position is gone: nothing may follow it.
    pub(super) fn took(&self, side_stored_at: u64) -> bool {
        side_stored_at > self.gone.after && side_stored_at <= self.gone.until
    }
}

/// Moves a database that is damaged aside, whole, and says so. `undelivered`: events in it that are not delivered, where that
/// is known.
pub(super) fn give_up(path: &Path, why: &str, undelivered: Option<u64>) -> Result<(), OpenError> {
    let moved = move_aside(path, Timestamp::now())?;
    tracing::error!(
        error = why,
        moved_to = %moved.display(),
        undelivered,
        "the spool of captured content is damaged: it was moved aside and a new one is begun; parts in it \
         that were not delivered will not be, until somebody sees to it"
    );
    Ok(())
}
