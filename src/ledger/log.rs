//! Positions, sequences and totals: the one row that every transaction rewrites.
//!
//! Whatever changes with each commit lives here, so that a commit rewrites one page for all of it.

use rusqlite::{Connection, OptionalExtension};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::error::StoreError;
use super::syncer::Mark;
use metering::usage::{Control, SCHEMA_VERSION, TokenTotals, Units};

/// The state of the log, as the last committed transaction left it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Log {
    /// Position of the last event ever stored: positions are never used again, even if every row
    /// is gone.
    pub(super) last: u64,
    /// Every event up to here is delivered or refused.
    pub(super) mark: u64,
    /// Calls settled by events up to here have no row in `open` any more.
    pub(super) swept: u64,
    /// Transactions so far: tells, after an error, whether the transaction was committed.
    pub(super) commits: u64,
    /// The latest start.
    pub(super) boot: BootTotals,
}

/// One start of the ledger.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct BootTotals {
    pub(super) id: Uuid,
    /// The sequence of its last event; also how many it stored.
    pub(super) sequence: u64,
    pub(super) settled: u64,
    pub(super) summed: u64,
    pub(super) refused: u64,
    /// Calls were summed, or a transaction failed, since the previous control event.
    pub(super) degraded: bool,
    /// Its last control event is written.
    pub(super) finished: bool,
    /// The rows that the next control event covers.
    pub(super) since: Since,
}

/// The rows since a boot's previous control event, controls excluded.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Since {
    pub(super) first: Option<u64>,
    pub(super) last: Option<u64>,
    pub(super) events: u64,
    pub(super) tokens: TokenTotals,
    #[serde(default, skip_serializing_if = "Units::is_empty")] // ledgers of 1.0 have none
    pub(super) units: Units,
    /// Bills that are waited for no longer.
    #[serde(default)]
    pub(super) deferred_expired: u64,
}

impl Log {
    /// The log as the last committed transaction left it; `None` in a new ledger.
    pub(super) fn read(db: &Connection) -> Result<Option<Log>, StoreError> {
        let query = "SELECT value FROM state WHERE name = 'log'";
        let text: Option<String> = db.query_row(query, [], |row| row.get(0)).optional()?;
        Ok(text.map(|text| serde_json::from_str(&text)).transpose()?)
    }

    /// The log of a new ledger.
    pub(super) fn new(boot: Uuid) -> Log {
        Log { last: 0, mark: 0, swept: 0, commits: 0, boot: BootTotals::new(boot) }
    }

    /// How far it has come.
    pub(super) fn reached(&self) -> Mark {
        Mark { commits: self.commits, position: self.last }
    }

    /// The mark that is known to be durable of a ledger that a process left: its delivered events were.
    pub(super) fn delivered(&self) -> Mark {
        Mark { commits: 0, position: self.mark }
    }

    /// Goes back to an earlier state of the same boot, whose totals stay what they were.
    pub(super) fn fall_back_to(&mut self, found: &Log) {
        (self.last, self.commits, self.swept) = (found.last, found.commits, found.swept);
        self.mark = self.mark.min(found.last);
        self.boot.degraded = true;
    }

    /// Takes the next position and the next sequence.
    pub(super) fn advance(&mut self) -> (u64, u64) {
        self.last += 1;
        self.boot.sequence += 1;
        (self.last, self.boot.sequence)
    }
}

impl BootTotals {
    pub(super) fn new(id: Uuid) -> BootTotals {
        BootTotals {
            id,
            sequence: 0,
            settled: 0,
            summed: 0,
            refused: 0,
            degraded: false,
            finished: false,
            since: Since::default(),
        }
    }

    /// Counts a row that the next control event will cover.
    pub(super) fn cover(&mut self, sequence: u64, tokens: TokenTotals, units: &Units) {
        let since = &mut self.since;
        since.first.get_or_insert(sequence);
        since.last = Some(sequence);
        since.events += 1;
        since.tokens.add(tokens);
        since.units.add(units);
    }

    /// The control event that speaks of this boot now, with `open` calls still running.
    pub(super) fn control(&self, open: u64, last: bool) -> Control {
        Control {
            schema_version: SCHEMA_VERSION.to_owned(),
            instance: self.id.to_string(),
            first_sequence: self.since.first,
            last_sequence: self.since.last,
            events: self.since.events,
            tokens: self.since.tokens,
            units: self.since.units,
            accepted: self.settled + open + self.summed,
            settled: self.settled,
            open,
            summed: self.summed,
            refused: self.refused,
            deferred_expired: self.since.deferred_expired,
            degraded: self.degraded,
            last,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The log of a ledger whose last process was of 1.0.
    #[test]
    fn a_log_without_units_is_read() {
        let mut log = Log::new(Uuid::nil());
        let units = Units { images: Some(2), ..Units::default() };
        log.boot.cover(1, TokenTotals { input: 3, output: 4 }, &units);
        let mut stored = serde_json::to_value(&log).unwrap();
        assert_eq!(serde_json::from_value::<Log>(stored.clone()).unwrap(), log);
        let since = stored["boot"]["since"].as_object_mut().unwrap();
        assert!(since.remove("units").is_some());
        log.boot.since.units = Units::default();
        assert_eq!(serde_json::from_value::<Log>(stored).unwrap(), log);
        log.boot.cover(2, TokenTotals::default(), &units);
        log.boot.cover(3, TokenTotals::default(), &units);
        assert_eq!(log.boot.control(0, true).units.images, Some(4));
    }
}
