//! Positions, sequences and totals: the one row that every transaction rewrites.
//!
//! Everything that changes with each commit lives here, so that a commit rewrites one page for all of it.

use rusqlite::{Connection, OptionalExtension};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::error::StoreError;
use super::syncer::Mark;
use metering::usage::{Control, ControlKey, RowHash, RowsDigest, SCHEMA_VERSION, TokenTotals, Units};
use smol_str::SmolStr;

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
    /// The ledger's previous control event, whichever boot it speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) previous: Option<PreviousControl>,
}

/// A control event, as far as the next one names it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct PreviousControl {
    /// The boot of which it speaks.
    pub(super) instance: Uuid,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) digest: Option<RowsDigest>,
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
    /// Of all of them; `None` if a version without digests has counted some, or there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) digest: Option<RowsDigest>,
    /// The same by a key, whose id this is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) keyed: Option<(SmolStr, RowsDigest)>,
}

impl Since {
    /// Adds a row to the digests, which begin with the first one.
    fn digest_row(&mut self, row: &RowHash, key: Option<&ControlKey>) {
        if self.events == 0 {
            self.digest = Some(RowsDigest::default());
            self.keyed = key.map(|key| (key.id().clone(), RowsDigest::default()));
        }
        if let Some(digest) = &mut self.digest {
            digest.add(row);
        }
        match (&mut self.keyed, key) {
            (Some((id, digest)), Some(key)) if id == key.id() => digest.add_keyed(row, key),
            (keyed, _) => *keyed = None, // another key has begun it
        }
    }

    /// The digest that a control event says, which is that of no row where there is none.
    fn said(&self) -> Option<RowsDigest> {
        if self.events == 0 { Some(RowsDigest::default()) } else { self.digest }
    }
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
            previous: None,
        }
    }

    /// Counts a row that the next control event will cover.
    pub(super) fn cover(&mut self, row: CoveredRow<'_>, key: Option<&ControlKey>) {
        let CoveredRow { sequence, hash, tokens, units } = row;
        let since = &mut self.since;
        since.digest_row(&hash, key);
        since.first.get_or_insert(sequence);
        since.last = Some(sequence);
        since.events += 1;
        since.tokens.add(tokens);
        since.units.add(units);
    }

    /// The control event that speaks of this boot now, with `open` calls still running.
    pub(super) fn control(&self, open: u64, last: bool, key: Option<&ControlKey>) -> Control {
        let (previous, keyed) = (self.previous.as_ref(), self.since.keyed.as_ref());
        let keyed = keyed.filter(|(id, _)| key.is_some_and(|key| key.id() == id));
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
            digest: self.since.said().map(|digest| digest.to_string()),
            previous_instance: previous.map(|previous| previous.instance.to_string()),
            previous_digest: previous.and_then(|previous| Some(previous.digest?.to_string())),
            keyed_digest: keyed.map(|(_, digest)| digest.to_string()),
            // The seals come last, with the sequence.
            ..Control::default()
        }
    }

    /// Returns what the next control event of this ledger says of the one that [`BootTotals::control`] makes now.
    pub(super) fn as_previous(&self) -> PreviousControl {
        PreviousControl { instance: self.id, digest: self.since.said() }
    }

    /// The ledger's last control event, of a boot that has written its last one.
    pub(super) fn last_control(&self) -> PreviousControl {
        let known = self.previous.clone().filter(|previous| previous.instance == self.id);
        known.unwrap_or(PreviousControl { instance: self.id, digest: None }) // an older version wrote it
    }
}

/// A row that a control event covers.
pub(super) struct CoveredRow<'a> {
    pub(super) sequence: u64,
    pub(super) hash: RowHash,
    pub(super) tokens: TokenTotals,
    pub(super) units: &'a Units,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cover(boot: &mut BootTotals, sequence: u64, key: Option<&ControlKey>) {
        let units = Units { images: Some(2), ..Units::default() };
        let hash = RowHash::of(&sequence.to_le_bytes());
        boot.cover(
            CoveredRow { sequence, hash, tokens: TokenTotals { input: 3, output: 4 }, units: &units },
            key,
        );
    }

    /// The log of a ledger whose last process was of 1.0.
    #[test]
    fn a_log_without_units_is_read() {
        let mut log = Log::new(Uuid::nil());
        cover(&mut log.boot, 1, None);
        let mut stored = serde_json::to_value(&log).unwrap();
        assert_eq!(serde_json::from_value::<Log>(stored.clone()).unwrap(), log);
        let since = stored["boot"]["since"].as_object_mut().unwrap();
        assert!(since.remove("units").is_some());
        log.boot.since.units = Units::default();
        assert_eq!(serde_json::from_value::<Log>(stored).unwrap(), log);
        cover(&mut log.boot, 2, None);
        cover(&mut log.boot, 3, None);
        assert_eq!(log.boot.control(0, true, None).units.images, Some(4));
    }

    /// Rows that were counted without a digest would be missing in one that began in their midst.
    #[test]
    fn a_period_that_an_older_version_began_has_no_digest_and_the_next_one_has() {
        let mut log = Log::new(Uuid::nil());
        cover(&mut log.boot, 1, None);
        let mut stored = serde_json::to_value(&log).unwrap();
        assert!(stored["boot"]["since"].as_object_mut().unwrap().remove("digest").is_some());
        let mut log: Log = serde_json::from_value(stored).unwrap();
        cover(&mut log.boot, 2, None);
        assert_eq!(log.boot.control(0, false, None).digest, None);
        assert_eq!(log.boot.as_previous().digest, None);
        log.boot.since = Since::default();
        assert_eq!(log.boot.control(0, false, None).digest, Some("0".repeat(32)));
        cover(&mut log.boot, 4, None);
        let digest = log.boot.control(0, false, None).digest;
        assert!(digest.is_some() && digest != Some("0".repeat(32)));
        assert_eq!(log.boot.as_previous().digest.map(|digest| digest.to_string()), digest);
    }

    #[test]
    fn a_key_that_changes_within_a_period_leaves_it_without_a_keyed_digest() {
        let (k, l) = (ControlKey::new(b"k"), ControlKey::new(b"l"));
        for keys in [[Some(&k), Some(&l)], [None, Some(&k)], [Some(&k), None]] {
            let mut boot = BootTotals::new(Uuid::nil());
            cover(&mut boot, 1, keys[0]);
            // A boot that has the other key, and writes the last control event of this one.
            assert_eq!(boot.control(0, true, keys[1]).keyed_digest, None);
            cover(&mut boot, 2, keys[1]);
            assert!(keys.iter().all(|key| boot.control(0, true, *key).keyed_digest.is_none()));
            assert!(boot.control(0, true, keys[1]).digest.is_some());
        }
        let mut boot = BootTotals::new(Uuid::nil());
        cover(&mut boot, 1, Some(&k));
        let stored = serde_json::to_string(&boot).unwrap();
        let mut boot: BootTotals = serde_json::from_str(&stored).unwrap();
        cover(&mut boot, 2, Some(&k));
        assert!(boot.control(0, true, Some(&k)).keyed_digest.is_some());
    }
}
