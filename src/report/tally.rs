//! Events added up by keys.

use std::sync::Arc;

use jiff::Timestamp;

use super::bills::{BillsSeen, repeats_text, unknown_text};
use super::calendar::Calendar;
use super::completeness::Completeness;
use super::coverage::{self, InputEdges, TimeRange};
use super::error::ReportError;
use super::group_by::GroupBy;
use super::input::{EventOrigin, Events, Input, Passes};
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
/// by one do. What is left out, and what of the range is not there, stands in the report.
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
    /// What has no price.
    pub unpriced: Unpriced,
    /// What else there is to say of the cost, and the versions of the files that the report was made with.
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
            }),
            Ok(None) => Ok(()),
            Err(reason) => {
                self.completeness.omissions.add(reason, origin);
                Ok(())
            }
        }
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
        // Whatever is asked for, the first bill of all stands.
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
    Ok((stored, data))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::super::instant::parse_time;
    use super::super::key_value::KeyValue;
    use super::*;
    use metering::usage::Unit;
    use strum::VariantArray;
    use uuid::Uuid;

    fn options(by: &[GroupBy], from: Option<&str>, to: Option<&str>) -> ReportOptions {
        ReportOptions {
            from: from.map(|text| parse_time(text).unwrap()),
            to: to.map(|text| parse_time(text).unwrap()),
            ..ReportOptions::of(Input::Ledger("unused".into()), by.to_vec())
        }
    }

    fn event(id: u128, day: u32, caller: &str, outcome: &str, quality: &str, output: Option<u64>) -> String {
        serde_json::json!({
            "specversion": "1.0", "id": Uuid::from_u128(id).to_string(), "source": "//tokenweir/x",
            "type": "dev.tokenweir.usage.v1", "time": format!("2026-11-{day:02}T23:59:59.999Z"),
            "subject": caller, "datacontenttype": "application/json", "partitionkey": caller,
            "data": {
                "caller": {"id": caller}, "target": {"deployment": "d", "model": null, "model_requested": "m"},
                "tokens": {"input": 10, "output": output, "input_cached": 4},
                "accounting": {"input_quality": "exact", "output_quality": quality},
                "stream": {"outcome": outcome}, "reporter": {"instance": "b", "version": "1"},
                "a_field_of_the_future": 1
            }
        })
        .to_string()
    }

    fn add(tally: &mut Tally, body: impl AsRef<str>) {
        added(tally, body.as_ref()).unwrap();
    }

    fn added(tally: &mut Tally, body: &str) -> Result<(), ReportError> {
        tally.add(Ok(body), EventOrigin::Line { file: Path::new("f"), line: 1 })
    }

    #[test]
    fn repeats_rejected_calls_and_other_times_do_not_count() {
        let mut tally =
            Tally::new(&options(&[GroupBy::Caller, GroupBy::Day], Some("2026-11-20"), Some("2026-11-22")));
        add(&mut tally, event(1, 20, "a", "complete", "exact", Some(5)));
        add(&mut tally, event(1, 20, "a", "complete", "exact", Some(5)));
        add(&mut tally, event(2, 21, "a", "client_disconnect", "lower_bound", Some(7)));
        add(&mut tally, event(3, 21, "a", "rejected", "exact", Some(100)));
        add(&mut tally, event(4, 19, "a", "complete", "exact", Some(100)));
        add(&mut tally, event(5, 22, "a", "complete", "exact", Some(100)));
        add(&mut tally, event(6, 21, "b", "crashed", "unknown", None));
        add(&mut tally, "no event");
        let report = tally.finish(Timestamp::UNIX_EPOCH);
        let tokens = |sums: &ReportSums| -> [u64; 9] { sums.values()[..9].try_into().unwrap() };
        let lines: Vec<(String, [u64; 9])> =
            report.lines.iter().map(|line| (words(&line.keys), tokens(&line.sums))).collect();
        assert_eq!(
            lines,
            [
                ("a 2026-11-20".to_owned(), [1, 10, 4, 5, 0, 15, 0, 0, 0]),
                ("a 2026-11-21".to_owned(), [1, 10, 4, 7, 0, 10, 7, 0, 0]),
                ("b 2026-11-21".to_owned(), [1, 10, 4, 0, 0, 10, 0, 0, 1]),
            ]
        );
        assert_eq!(tokens(&report.total), [3, 30, 12, 12, 0, 35, 7, 0, 1]);
    }

    #[test]
    fn units_are_added_up_beside_the_tokens() {
        let mut tally = Tally::new(&options(&[GroupBy::Caller], None, None));
        for (id, units) in
            [(1, r#"{"images":2,"characters":40}"#), (2, r#"{"images":1,"audio_ms":9000}"#), (3, "{}")]
        {
            let event = event(id, 20, "a", "complete", "exact", Some(5));
            add(&mut tally, event.replacen(r#""tokens""#, &format!(r#""units":{units},"tokens""#), 1));
        }
        let total = tally.finish(Timestamp::UNIX_EPOCH).total;
        for (column, value) in [("images", 3), ("characters", 40), ("audio_ms", 9000), ("pages", 0)] {
            assert_eq!(total.get(column), Some(value), "{column}");
        }
        let names: Vec<_> = ReportSums::columns().collect();
        let units = Unit::VARIANTS.iter().map(|unit| unit.as_str());
        assert!(
            units.eq(names[names.len() - Unit::VARIANTS.len()..].iter().copied()),
            "each unit has a column"
        );
    }

    /// Seconds that were heard are all that a transcription is billed by; a call whose numbers are unknown is unknown
    /// though a tool of it searched the web.
    #[test]
    fn a_call_that_is_billed_in_units_alone_is_not_unknown() {
        let unknown_calls = |input: Option<u64>, units: &str| {
            let mut tally = Tally::new(&options(&[], None, None));
            let event = event(1, 20, "a", "complete", "unknown", None);
            let input = input.map_or("null".to_owned(), |input| input.to_string());
            let event = event.replacen(r#""input":10"#, &format!(r#""input":{input}"#), 1);
            add(&mut tally, event.replacen(r#""tokens""#, &format!(r#""units":{units},"tokens""#), 1));
            tally.finish(Timestamp::UNIX_EPOCH).total.get("unknown_calls").unwrap()
        };
        for (input, units, unknown) in [
            (None, r#"{"audio_ms":9000}"#, 0),
            (None, r#"{"images":2}"#, 0),
            (None, r#"{"pages":0}"#, 0),
            (None, "{}", 1),
            (None, r#"{"web_searches":1}"#, 1),
            (Some(7), r#"{"audio_ms":9000}"#, 1),
        ] {
            assert_eq!(unknown_calls(input, units), unknown, "{input:?} {units}");
        }
    }

    #[test]
    fn a_bill_that_two_ledgers_have_seen_counts_once() {
        let bill = |id: u128, source: &str, day: u32, resource: &str, work: &str| {
            let mut event: serde_json::Value =
                serde_json::from_str(&event(id, day, "a", "complete", "exact", Some(100))).unwrap();
            event["source"] = source.into();
            event["data"]["target"]["resource"] = resource.into();
            event["data"]["ids"] = serde_json::json!({"response_id": work});
            event["data"]["accounting"]["deferred"] = true.into();
            event.to_string()
        };
        let mut tally = Tally::new(&options(&[], Some("2026-11-20"), None));
        add(&mut tally, bill(1, "//tokenweir/x", 20, "eu", "resp_1"));
        add(&mut tally, bill(2, "//tokenweir/y", 21, "eu", "resp_1"));
        add(&mut tally, bill(3, "//tokenweir/y", 21, "eu", "resp_2"));
        add(&mut tally, bill(4, "//tokenweir/y", 21, "us", "resp_1"));
        add(&mut tally, bill(3, "//tokenweir/y", 21, "eu", "resp_2"));
        // The first one stands, even if it is of a time that is not asked for.
        add(&mut tally, bill(5, "//tokenweir/x", 19, "eu", "resp_3"));
        add(&mut tally, bill(6, "//tokenweir/y", 21, "eu", "resp_3"));
        // Events that announce work have its id, and no numbers; a stream that has them is its own bill.
        let call = |id: u128, api: &str, reported: Option<u64>| {
            let mut event: serde_json::Value =
                serde_json::from_str(&bill(id, "//tokenweir/z", 21, "eu", "resp_2")).unwrap();
            event["data"]["target"]["api"] = api.into();
            event["data"]["accounting"]["deferred"] = false.into();
            event["data"]["accounting"]["reported_output"] = reported.into();
            event.to_string()
        };
        add(&mut tally, call(7, "responses", None));
        add(&mut tally, call(8, "responses", Some(100)));
        add(&mut tally, call(9, "chat_completions", Some(100)));
        let report = tally.finish(Timestamp::UNIX_EPOCH);
        assert_eq!((report.total.get("calls"), report.total.get("output")), (Some(5), Some(500)));
        assert_eq!(report.repeated_bills, 3);
        let said = "3 bills were seen by more than one ledger: each counts once";
        assert_eq!(report.repeated_bills_text().as_deref(), Some(said));
    }

    #[test]
    fn a_sum_that_is_too_large_is_an_error_of_its_column() {
        let mut tally = Tally::new(&options(&[GroupBy::Caller, GroupBy::Class], None, None));
        let large = |id: u128| event(id, 20, "a", "complete", "exact", Some(1 << 63));
        add(&mut tally, large(1));
        let error = added(&mut tally, &large(2)).unwrap_err();
        assert!(matches!(error, ReportError::Overflow { column: "output", .. }), "{error}");
    }

    #[test]
    fn a_view_has_the_same_events_by_other_keys() {
        let options = ReportOptions {
            views: vec![vec![GroupBy::Day], vec![]],
            ..options(&[GroupBy::Caller], None, None)
        };
        let mut tally = Tally::new(&options);
        add(&mut tally, event(1, 20, "a", "complete", "exact", Some(5)));
        add(&mut tally, event(2, 21, "a", "complete", "exact", Some(6)));
        let report = tally.finish(Timestamp::UNIX_EPOCH);
        let lines =
            |lines: &[ReportLine]| -> Vec<String> { lines.iter().map(|line| words(&line.keys)).collect() };
        assert_eq!(lines(&report.lines), ["a"]);
        assert_eq!(lines(&report.views[0].lines), ["2026-11-20", "2026-11-21"]);
        assert_eq!(report.views[1].lines[0].sums, report.total);
    }

    fn words(keys: &[KeyValue]) -> String {
        keys.iter().map(|key| key.label(Into::into)).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn every_key_has_a_value_or_says_why_not() {
        let by = GroupBy::list(
            "caller,model,deployment,department,cost_center,outcome,tier,region,resource,api,provider,project,tag:team,\
             tag:user,source,month,week,day,hour",
        );
        let by = by.unwrap();
        let mut tally = Tally::new(&options(&by, None, None));
        let full = event(1, 20, "a", "complete", "exact", Some(5));
        let mut full: serde_json::Value = serde_json::from_str(&full).unwrap();
        full["data"]["caller"] =
            serde_json::json!({"id": "a", "department": "D", "cost_center": "C", "tags": {"team": "T"}});
        full["data"]["target"] = serde_json::json!({"deployment": "d", "model": "m", "service_tier": "flex", "region": "West Europe",
            "resource": "r", "api": "responses", "provider": "azure.ai.openai", "project": "p"});
        add(&mut tally, full.to_string());
        let mut bare: serde_json::Value =
            serde_json::from_str(&event(2, 20, "unattributed", "complete", "exact", Some(5))).unwrap();
        bare["data"]["target"] = serde_json::json!({});
        add(&mut tally, bare.to_string());
        let mut unmapped = bare.clone();
        unmapped["id"] = Uuid::from_u128(3).to_string().into();
        unmapped["data"]["caller"]["id"] = "z".into();
        add(&mut tally, unmapped.to_string());
        let time = "//tokenweir/x 2026-11 2026-W47 2026-11-20 2026-11-20T23:00:00Z";
        let nothing =
            "(no tier) (no region) (no resource) (no api) (no provider) (no project) (no tag) (no tag)";
        let lines: Vec<String> =
            tally.finish(Timestamp::UNIX_EPOCH).lines.iter().map(|line| words(&line.keys)).collect();
        assert_eq!(
            lines,
            [
                format!(
                    "a m d D C complete flex West Europe r responses azure.ai.openai p T (no tag) {time}"
                ),
                format!(
                    "unattributed (no model) (no deployment) (unattributed) (unattributed) complete {nothing} {time}"
                ),
                format!(
                    "z (no model) (no deployment) (not in the map) (not in the map) complete {nothing} {time}"
                ),
            ]
        );
    }

    #[test]
    fn a_key_is_known_and_is_there_once() {
        for (given, said) in [
            ("team", "`team` is no key: caller, model, "),
            ("", "`` is no key"),
            ("tag:", "`tag:` is no key"),
            ("Caller", "`Caller` is no key"),
            ("caller,model,caller", "`caller` is given twice"),
            ("tag:a, tag:a", "`tag:a` is given twice"),
        ] {
            let error = GroupBy::list(given).unwrap_err().to_string();
            assert!(error.starts_with(said), "{error}");
        }
        let words = GroupBy::words();
        let all: Vec<&str> = words.split(", ").collect();
        let read = GroupBy::list(&words).unwrap();
        assert_eq!(read.iter().map(ToString::to_string).collect::<Vec<_>>(), all);
        assert_eq!(all.len(), 19);
    }
}
