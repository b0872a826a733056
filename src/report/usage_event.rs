//! An event that counts: a call, or calls that are only in a sum.

use jiff::Timestamp;
use strum::VariantArray;
use uuid::Uuid;

use super::omissions::OmissionReason;
use metering::caller::CallerMap;
use metering::usage::{Outcome, Quality, Side, StoredData, StoredEvent, StoredUsage, Unit};

/// A call, or calls that are only in a sum.
pub(crate) struct UsageEvent {
    pub(super) source: String,
    pub(super) time: Timestamp,
    pub(super) calls: u64,
    /// `None`: they are only in a sum.
    pub(super) outcome: Option<Outcome>,
    pub(super) usage: StoredUsage,
}

impl UsageEvent {
    /// Takes an event that was read; `None` if nothing of it counts.
    ///
    /// # Errors
    /// If it cannot be counted, as it has no id or no time.
    pub(super) fn of(
        stored: &StoredEvent<'_>,
        data: StoredData,
    ) -> Result<Option<UsageEvent>, OmissionReason> {
        let (usage, outcome, calls) = match data {
            StoredData::Call(usage, outcome) => (usage, Some(outcome), 1),
            StoredData::Sum(usage, calls) => (usage, None, calls),
            StoredData::Control(_) => return Ok(None),
        };
        Uuid::parse_str(&stored.id).map_err(|_| OmissionReason::WrongId)?;
        let time = stored.time.ok_or(OmissionReason::NoTime)?;
        Ok(Some(UsageEvent { source: stored.source.to_string(), time, calls, outcome, usage }))
    }

    /// Says who pays by this map, as of when the call began, in place of what the event says.
    pub(super) fn place(&mut self, map: &CallerMap) {
        let usage = &mut self.usage;
        let begun = usage.timing.started_at.or(usage.from).unwrap_or(self.time);
        let place = map.place_of(&usage.caller.id, begun);
        usage.caller.cost_center = place.cost_center;
        usage.caller.department = place.department;
    }

    /// Both numbers, each with its quality.
    fn sides(&self) -> [(Option<u64>, Quality); 2] {
        let (tokens, accounting) = (&self.usage.tokens, &self.usage.accounting);
        [(tokens.input, accounting.input_quality), (tokens.output, accounting.output_quality)]
    }

    /// How far a number can be trusted.
    pub(super) fn quality(&self, side: Side) -> Quality {
        match side {
            Side::Input => self.usage.accounting.input_quality,
            Side::Output => self.usage.accounting.output_quality,
        }
    }

    /// Its input or its output is not known, and it is not billed in units alone. In a summary an unknown number counts as
    /// 0; its quality still says so.
    pub(super) fn is_unknown(&self) -> bool {
        let sides = self.sides();
        let lacks = sides.iter().any(|(number, quality)| number.is_none() || *quality == Quality::Unknown);
        lacks && !self.is_of_units_alone()
    }

    /// It has no tokens at all, and so many units of what it is billed by: seconds that were heard, images, pages.
    /// Searches and fetches of the web are no such units, since the call that makes them has tokens.
    fn is_of_units_alone(&self) -> bool {
        let tokens = &self.usage.tokens;
        let billed = |unit: &&Unit| !matches!(unit, Unit::WebSearches | Unit::WebFetches);
        let has_units =
            || Unit::VARIANTS.iter().filter(billed).any(|unit| unit.of(&self.usage.units).is_some());
        tokens.input.is_none() && tokens.output.is_none() && has_units()
    }
}
