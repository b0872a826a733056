//! Events added up by keys.

use std::sync::Arc;

use jiff::Timestamp;

use super::bills::{BillsSeen, repeats_text, unknown_text};
use super::boot_names::has_foreign_names;
use super::calendar::Calendar;
use super::completeness::Completeness;
use super::coverage::{self, InputEdges, TimeRange};
use super::error::{InputBound, ReportError};
use super::event_origin::EventOrigin;
use super::group_by::GroupBy;
use super::input::{Events, Input, Passes};
use super::key_value::KeyValue;
use super::numbers::Sight;
use super::omissions::OmissionReason;
use super::pricing::{CostFiles, CostSummary, Costing, PtuCall, ShareOf, Unpriced};
use super::rows::{ReportLine, ReportView, Rows};
use super::seen::Seen;
use super::shares::Shares;
use super::sums::{ReportSums, SumOverflow};
use super::usage_event::UsageEvent;
use metering::caller::CallerMap;
use metering::usage::{EventFault, Outcome, StoredData, StoredEvent};

/// Rows of a report and of its views, of which one by seven keys takes 1 KiB: twice as many as a month of 5,000 callers
/// has, each with 5 deployments and 4 classes on every day.
const ROWS_MAX: usize = 8_000_000;

/// The report that is asked for.
#[derive(Clone, Debug, Default)]
pub struct ReportOptions {
    /// Where events come from.
    pub inputs: Vec<Input>,
    /// The keys to add up by.
    pub by: Vec<GroupBy>,
    /// Keys to add the same events up by as well, once for each list.
    pub views: Vec<Vec<GroupBy>>,
    /// The calendar of days, weeks, months and hours.
    pub calendar: Calendar,
    /// Events whose `time` is this or later.
    pub from: Option<Timestamp>,
    /// Events whose `time` is earlier than this.
    pub to: Option<Timestamp>,
    /// The files that cost comes from; without prices or fixed costs none is reported.
    pub cost: CostFiles,
    /// The caller map that says who pays, in place of what the events say.
    pub caller_map: Option<Arc<CallerMap>>,
}

/// Adds up usage, in one pass. Every event counts once by its source, boot and sequence, whatever its number of copies; of
/// the bills of work that went on after its call, which several ledgers may have seen, the first counts by
/// (`target.resource`, `ids.response_id`); calls that were `rejected` do not count; sums of calls that were never stored one
/// by one do. The report says what is left out, and what of the range is not there.
///
/// # Errors
/// If a ledger or a topic cannot be read to its end, or a sum is too large.
pub fn report(options: &ReportOptions) -> Result<Report, ReportError> {
    let mut tally = Tally::new(options);
    let mut events = Events::open(&options.inputs, Passes::One)?;
    events.each(&mut |read, origin| tally.add(read, origin))?;
    tally.edges.look(&events)?;
    tally.completeness.notes.extend(events.notes);
    Ok(tally.finish(Timestamp::now()))
}

/// The same, whatever the order of the events: of the bills that several ledgers have seen the earliest counts. Reads the
/// inputs twice.
///
/// # Errors
/// As [`report`].
pub(super) fn report_in_any_order(options: &ReportOptions) -> Result<Report, ReportError> {
    let mut tally = Tally::new(options);
    let mut events = Events::open(&options.inputs, Passes::Several)?;
    events.each(&mut |read, _| {
        let event =
            read.and_then(|body| read_event(body).and_then(|(stored, data)| UsageEvent::of(&stored, data)));
        event.iter().flatten().for_each(|event| tally.bills.look_for_first(event));
        Ok(())
    })?;
    events.each(&mut |read, origin| tally.add(read, origin))?;
    tally.edges.look(&events)?;
    tally.completeness.notes.extend(events.notes.iter().cloned());
    Ok(tally.finish(Timestamp::now()))
}

impl ReportOptions {
    /// The time that is asked for.
    pub(super) fn range(&self) -> TimeRange {
        TimeRange { from: self.from, to: self.to }
    }

    /// Everything that an input holds.
    pub fn of(input: Input, by: Vec<GroupBy>) -> ReportOptions {
        ReportOptions { inputs: vec![input], by, ..ReportOptions::default() }
    }
}

/// Usage added up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// The keys that it is added up by.
    pub by: Vec<GroupBy>,
    /// One line for each combination, in order of the keys.
    pub lines: Vec<ReportLine>,
    /// Over all events, each once.
    pub total: ReportSums,
    /// The same events by other keys, as asked for.
    pub views: Vec<ReportView>,
    /// The calendar of days, weeks, months and hours.
    pub calendar: Calendar,
    /// The beginning of the time that was asked for.
    pub from: Option<Timestamp>,
    /// The end of the time that was asked for, which is no part of it.
    pub to: Option<Timestamp>,
    /// The currency of `cost`, where there are prices.
    pub currency: Option<String>,
    /// Models and classes that have no price.
    pub unpriced: Unpriced,
    /// Remarks on the cost, and the versions of the files that the report was made with.
    pub cost: CostSummary,
    /// Bills that other ledgers have seen as well, and that do not count again.
    pub repeated_bills: u64,
    /// Whether this is of all that there was.
    pub completeness: Completeness,
}

impl Report {
    /// The lines by these keys; none if nobody asked for them.
    pub(super) fn view_lines(&self, by: &[GroupBy]) -> &[ReportLine] {
        if self.by == by {
            return &self.lines;
        }
        let view = self.views.iter().find(|view| view.by == by);
        view.map_or(&[], |view| &view.lines)
    }

    /// Nothing was left out, the range is wholly there, and where there are prices everything has one.
    pub fn is_complete(&self) -> bool {
        self.completeness.is_whole() && self.is_priced()
    }

    /// Everything has a price, in every currency that was asked for.
    pub(super) fn is_priced(&self) -> bool {
        self.unpriced.is_empty() && self.cost.unconverted_calls == 0
    }

    /// Says how many bills were seen by more than one ledger, in one line; `None` if none was.
    pub fn repeated_bills_text(&self) -> Option<String> {
        repeats_text(self.repeated_bills)
    }

    /// Says which models have no price, in one line; `None` if every call has one.
    pub fn unpriced_text(&self) -> Option<String> {
        self.unpriced.text()
    }
}

/// Adding up, event by event.
pub(super) struct Tally {
    calendar: Calendar,
    range: TimeRange,
    seen: Seen,
    bills: BillsSeen,
    /// By the keys of the report, and by those of each view.
    rows: Vec<Rows>,
    total: ReportSums,
    edges: InputEdges,
    completeness: Completeness,
    cost: Arc<CostFiles>,
    costing: Costing<Vec<KeyValue>>,
    caller_map: Option<Arc<CallerMap>>,
}

impl Tally {
    pub(super) fn new(options: &ReportOptions) -> Tally {
        Tally {
            calendar: options.calendar.clone(),
            range: options.range(),
            seen: Seen::default(),
            bills: BillsSeen::default(),
            rows: [&options.by].into_iter().chain(&options.views).map(|by| Rows::new(by.clone())).collect(),
            total: ReportSums::default(),
            edges: InputEdges::default(),
            completeness: Completeness::default(),
            cost: Arc::new(options.cost.clone()),
            costing: Costing::new(&options.cost),
            caller_map: options.caller_map.clone(),
        }
    }

    /// Adds one event, given as it was stored, or counts why there is none.
    pub(super) fn add(
        &mut self,
        read: Result<&str, OmissionReason>,
        origin: EventOrigin<'_>,
    ) -> Result<(), ReportError> {
        if let EventOrigin::Topic { partition, stamp_ms, .. } = origin {
            self.edges.message(partition, stamp_ms);
        }
        match read.and_then(|body| self.first_sight(body)) {
            Ok(Some(event)) => self.add_usage(event).map_err(|SumOverflow { column }| {
                let place = origin.to_string();
                ReportError::Overflow { column, place }
            })?,
            Ok(None) => {}
            Err(reason) => self.completeness.omissions.add(reason, origin),
        }
        match self.crossed_bound() {
            None => Ok(()),
            Some(bound) => Err(ReportError::Unbounded { bound, place: origin.to_string() }),
        }
    }

    fn crossed_bound(&self) -> Option<InputBound> {
        let rows: usize = self.rows.iter().map(Rows::len).sum();
        let bound = (rows > ROWS_MAX).then_some(InputBound::Rows(ROWS_MAX));
        self.seen.crossed_bound().or(bound)
    }

    /// The event, if it counts and was not there before.
    fn first_sight(&mut self, body: &str) -> Result<Option<UsageEvent>, OmissionReason> {
        let (stored, data) = read_event(body)?;
        match self.seen.note(&stored, &data) {
            Sight::First => UsageEvent::of(&stored, data),
            Sight::Again => Ok(None),
            Sight::Other => Err(OmissionReason::OtherBody),
        }
    }

    fn add_usage(&mut self, mut event: UsageEvent) -> Result<(), SumOverflow> {
        // The first bill of all stands, whatever is asked for.
        if self.bills.is_repeat(&event) || event.outcome == Some(Outcome::Rejected) {
            return Ok(());
        }
        if !self.range.contains(event.time) {
            self.add_elsewhere(&event);
            return Ok(());
        }
        if let Some(map) = &self.caller_map {
            event.place(map);
        }
        let cost = Arc::clone(&self.cost);
        self.add_shares(&Shares::of(&event, &cost))
    }

    /// Adds an event to the total, or nowhere.
    fn add_shares(&mut self, shares: &Shares<'_>) -> Result<(), SumOverflow> {
        let whole = shares.whole()?;
        self.total = self.total.plus(&whole)?;
        let caller = &shares.event.usage.caller.id;
        if let Some(charges) = &shares.charges {
            self.costing.note(shares.event, charges, &self.cost);
        }
        let payer = shares.payer();
        let call = |month| PtuCall { month, caller, payer: &payer };
        let mut fixed = shares.month.map(call).zip(self.costing.shares());
        if let (Some((call, fixed)), Some(weight)) = (&mut fixed, shares.weight()) {
            fixed.add(*call, weight, true);
        }
        for (view, rows) in self.rows.iter_mut().enumerate() {
            rows.add(shares, &whole, &self.calendar, |keys, weight| {
                if let Some((call, fixed)) = &mut fixed {
                    fixed.add_row(*call, (view, keys), weight);
                }
            })?;
        }
        Ok(())
    }

    /// A call of another time has its share in the fixed cost of its month all the same.
    fn add_elsewhere(&mut self, event: &UsageEvent) {
        let Some(fixed) = self.costing.shares() else { return };
        let shares = Shares::of(event, &self.cost);
        if let Some((month, weight)) = shares.month.zip(shares.weight()) {
            let (caller, payer) = (&event.usage.caller.id, &shares.payer());
            fixed.add(PtuCall { month, caller, payer }, weight, false);
        }
    }

    pub(super) fn finish(mut self, now: Timestamp) -> Report {
        coverage::judge(&self.seen, &self.edges, self.range, now, &mut self.completeness);
        self.completeness.notes.extend(unknown_text(self.bills.unknown));
        let unpriced = std::mem::take(&mut self.costing.unpriced);
        let cost = self.share_fixed_costs();
        let mut views = self.rows.into_iter().map(Rows::finish);
        let ReportView { by, lines } = views.next().unwrap_or_default();
        let currency = self.cost.currency().map(|currency| currency.code().to_owned());
        Report {
            by,
            lines,
            total: self.total,
            views: views.collect(),
            calendar: self.calendar,
            from: self.range.from,
            to: self.range.to,
            currency,
            unpriced,
            cost,
            repeated_bills: self.bills.repeats,
            completeness: self.completeness,
        }
    }
}

impl Tally {
    /// Gives each row its shares in fixed costs. Of a month that is not wholly asked for nobody has what was not used.
    fn share_fixed_costs(&mut self) -> CostSummary {
        let costing = std::mem::replace(&mut self.costing, Costing::new(&CostFiles::default()));
        let TimeRange { from, to } = self.range;
        let (shares, mut summary) = costing.finish(&self.cost, |begin, end| {
            from.is_none_or(|from| from <= begin) && to.is_none_or(|to| end <= to)
        });
        for share in shares {
            match share.of {
                ShareOf::Row(view, keys) => {
                    if let Some(rows) = self.rows.get_mut(view) {
                        rows.charge(keys, share.cost);
                    }
                }
                ShareOf::Asked => self.total.charge(share.cost),
                ShareOf::Idle if share.is_whole => {
                    self.total.charge(share.cost);
                    let rows = self.rows.iter_mut();
                    rows.for_each(|rows| rows.charge_idle(&share.deployment, share.begin, share.cost));
                }
                ShareOf::Idle | ShareOf::Elsewhere => {}
            }
        }
        summary.versions.caller_map = self.caller_map.as_ref().map(|map| map.version().to_owned());
        summary
    }
}

/// Reads an event, or says why there is none.
pub(super) fn read_event(body: &str) -> Result<(StoredEvent<'_>, StoredData), OmissionReason> {
    let fault = || OmissionReason::from(EventFault::of(body));
    let stored = StoredEvent::read(body).map_err(|_| fault())?;
    let data = stored.data().ok_or_else(fault)?;
    if has_foreign_names(&stored, &data) {
        return Err(OmissionReason::NotOurs);
    }
    Ok((stored, data))
}

#[cfg(test)]
mod tests;
