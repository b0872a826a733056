//! A control event, and the rows that it covers.

use jiff::Timestamp;

use metering::usage::{Control, ControlKey, RowHash, RowsDigest, SealState, as_written};

use super::event::SequencedEvent;
use super::row_sums::{RowSums, Totals};

/// One control event, and the counts of the rows that it covers.
#[derive(Debug)]
pub(super) struct Period {
    /// Index of the boot that wrote it.
    pub(super) writer: usize,
    pub(super) sequence: u64,
    pub(super) time: Option<Timestamp>,
    pub(super) said: Totals,
    pub(super) control: ControlCounters,
    pub(super) proof: ControlProof,
    pub(super) rows: PeriodRows,
}

/// The rows since the control event before, as far as they were counted.
#[derive(Debug, Default)]
pub(super) struct PeriodRows {
    /// Those within the range that the control event names.
    pub(super) found: Totals,
    pub(super) digest: RowsDigest,
    pub(super) keyed: RowsDigest,
    /// Rows that lie outside of it.
    pub(super) outside: u64,
    /// Calls settled one by one, and summed, in either.
    pub(super) settled: u64,
    pub(super) summed: u64,
    /// Rows that were not told apart by that range: they are to be counted once more, one by one.
    pub(super) uncertain: bool,
    /// As `digest` and `keyed`, of the bytes that the sidecar would have written; where they are asked for.
    pub(super) written: Option<(RowsDigest, RowsDigest)>,
    /// Rows whose bytes are not those.
    pub(super) re_rendered: u64,
}

/// The numbers of a control event that are no totals of rows.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct ControlCounters {
    pub(super) first: Option<u64>,
    pub(super) last: Option<u64>,
    pub(super) accepted: u64,
    pub(super) settled: u64,
    pub(super) open: u64,
    pub(super) summed: u64,
    pub(super) refused: u64,
    pub(super) degraded: bool,
    pub(super) is_final: bool,
}

/// A digest that a control event says.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum SaidDigest {
    /// A version without digests wrote it, or somebody took it away.
    #[default]
    Absent,
    /// It is no digest.
    Spoiled,
    Said(RowsDigest),
}

/// The members of a control event that prove its rows, the one before it, and itself.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct ControlProof {
    pub(super) digest: SaidDigest,
    pub(super) keyed: SaidDigest,
    pub(super) previous: SaidDigest,
    pub(super) hash: SealState,
    /// Its version has written a hash.
    pub(super) should_be_sealed: bool,
    /// By the key that the user has given.
    pub(super) hmac: SealState,
    /// The seals fit the bytes that the sidecar would have written, and not these.
    pub(super) re_rendered: bool,
}

impl Period {
    pub(super) fn new(
        writer: usize,
        event: &SequencedEvent<'_>,
        control: &Control,
        body: &str,
        key: Option<&ControlKey>,
    ) -> Period {
        let counters = ControlCounters {
            first: control.first_sequence,
            last: control.last_sequence,
            accepted: control.accepted,
            settled: control.settled,
            open: control.open,
            summed: control.summed,
            refused: control.refused,
            degraded: control.degraded,
            is_final: control.last,
        };
        Period {
            writer,
            sequence: event.sequence,
            time: event.time,
            said: Totals::new(control.events, control.tokens, &control.units),
            control: counters,
            proof: ControlProof::of(control, body, key),
            rows: PeriodRows::default(),
        }
    }

    pub(super) fn covers(&self, sequence: u64) -> bool {
        let ControlCounters { first: Some(first), last: Some(last), .. } = self.control else { return false };
        (first..=last).contains(&sequence)
    }

    /// Takes rows since the control event before.
    pub(super) fn take(&mut self, sums: &RowSums) {
        let Some((first, last)) = sums.span else { return };
        let apart = |named: (u64, u64)| last < named.0 || named.1 < first;
        let outside = self.control.first.zip(self.control.last).is_none_or(apart);
        let within = self.covers(first) && self.covers(last);
        let rows = &mut self.rows;
        rows.settled += sums.settled;
        rows.summed = rows.summed.saturating_add(sums.summed);
        if within {
            rows.found.join(&sums.totals);
            rows.digest.join(sums.digest);
            rows.keyed.join(sums.keyed);
        } else if outside {
            rows.outside += sums.totals.events;
        } else {
            rows.uncertain = true;
        }
    }

    /// Takes what the sidecar would have written for a row, if that is asked for.
    pub(super) fn take_written(&mut self, sequence: u64, body: &str, key: Option<&ControlKey>) {
        if !self.covers(sequence) {
            return;
        }
        let Some((digest, keyed)) = &mut self.rows.written else { return };
        let written = as_written(body).unwrap_or_else(|| body.to_owned());
        let hash = RowHash::of(written.as_bytes());
        digest.add(&hash);
        if let Some(key) = key {
            keyed.add_keyed(&hash, key);
        }
        self.rows.re_rendered += u64::from(written != body);
    }

    /// How the rows stand to the digests. Meaningful only of rows that are all there.
    pub(super) fn match_of_rows(&self) -> RowsMatch {
        let rows = &self.rows;
        let written = rows.written.filter(|(written, _)| self.proof.digest == SaidDigest::Said(*written));
        let (state, keyed) = match (self.proof.digest, written) {
            (SaidDigest::Absent, _) => return RowsMatch::Unproven,
            (SaidDigest::Said(said), _) if said == rows.digest => (RowsMatch::Equal, rows.keyed),
            (_, Some((_, keyed))) => (RowsMatch::ReRendered, keyed),
            _ => return RowsMatch::Different,
        };
        let is_signed = self.proof.hmac == SealState::Whole && self.proof.keyed != SaidDigest::Absent;
        if is_signed && self.proof.keyed != SaidDigest::Said(keyed) { RowsMatch::Different } else { state }
    }
}

/// How rows stand to the digests of their control event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RowsMatch {
    /// There is no digest.
    Unproven,
    /// They are those that were stored, byte for byte.
    Equal,
    /// They say what those said that were stored, in other bytes.
    ReRendered,
    /// They are not those that were stored.
    Different,
}

impl SaidDigest {
    /// As it is written.
    pub(super) fn said(self) -> Option<String> {
        match self {
            SaidDigest::Said(digest) => Some(digest.to_string()),
            SaidDigest::Absent | SaidDigest::Spoiled => None,
        }
    }

    fn of(text: Option<&str>) -> SaidDigest {
        match text.map(str::parse) {
            None => SaidDigest::Absent,
            Some(Ok(digest)) => SaidDigest::Said(digest),
            Some(Err(_)) => SaidDigest::Spoiled,
        }
    }
}

impl ControlProof {
    fn of(control: &Control, body: &str, key: Option<&ControlKey>) -> ControlProof {
        let seals = |body: &str| {
            let hmac = key.map_or(SealState::Absent, |key| control.hmac_state(body, key));
            (control.hash_state(body), hmac)
        };
        let is_broken = |(hash, hmac)| hash == SealState::Broken || hmac == SealState::Broken;
        let mut found = seals(body);
        let mut re_rendered = false;
        if is_broken(found)
            && let Some(written) = as_written(body)
            && !is_broken(seals(&written))
        {
            (found, re_rendered) = (seals(&written), true);
        }
        ControlProof {
            digest: SaidDigest::of(control.digest.as_deref()),
            keyed: SaidDigest::of(control.keyed_digest.as_deref()),
            previous: SaidDigest::of(control.previous_digest.as_deref()),
            hash: found.0,
            should_be_sealed: control.should_be_sealed(),
            hmac: found.1,
            re_rendered,
        }
    }
}
