//! Events added up by keys.

use std::collections::{BTreeMap, HashMap, HashSet};

use jiff::Timestamp;
use uuid::Uuid;

use super::bills::{BillsSeen, repeats_text, unknown_text};
use super::columns::ReportSums;
use super::error::ReportError;
use super::group_by::GroupBy;
use super::input::{Events, Input};
use super::pricing::{Amount, Prices, Used, unpriced_text};
use super::usage_event::UsageEvent;
use metering::usage::{EventType, Outcome, StoredEvent};

/// The report that is asked for.
#[derive(Clone, Debug)]
pub struct ReportOptions {
    /// Where events come from.
    pub input: Input,
    /// The keys to add up by.
    pub by: Vec<GroupBy>,
    /// Events whose `time` is this or later.
    pub from: Option<Timestamp>,
    /// Events whose `time` is earlier than this.
    pub to: Option<Timestamp>,
    /// The prices of tokens; without them no cost is reported.
    pub prices: Option<Prices>,
}

/// Adds up usage. Every event counts once by (`source`, `id`), whatever its number of copies; of the bills of work that
/// went on after its call, which several ledgers may have seen, the first counts by (`target.resource`, `ids.response_id`);
/// calls that were `rejected` do not count; sums of calls that were never stored one by one do.
///
/// # Errors
/// If the input cannot be read to its end.
pub fn report(options: &ReportOptions) -> Result<Report, ReportError> {
    let mut tally = Tally::new(options);
    Events::open(&options.input)?.each(|body, _| tally.add(body))?;
    Ok(tally.finish())
}

/// One combination of keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReportLine {
    /// The keys' values, in the order asked for; empty where an event has none.
    pub keys: Vec<String>,
    /// Their sums.
    pub sums: ReportSums,
}

/// Usage added up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// The keys that it is added up by.
    pub by: Vec<GroupBy>,
    /// One line for each combination, in order of the keys.
    pub lines: Vec<ReportLine>,
    /// Over all lines.
    pub total: ReportSums,
    /// The currency of `cost`, where there are prices.
    pub currency: Option<String>,
    /// Calls by model that have no price.
    pub unpriced: BTreeMap<String, u64>,
    /// Bills that other ledgers have seen as well, and that do not count again.
    pub repeated_bills: u64,
}

impl Report {
    /// Says how many bills were seen by more than one ledger, in one line; `None` if none was.
    pub fn repeated_bills_text(&self) -> Option<String> {
        repeats_text(self.repeated_bills)
    }

    /// Says which models have no price, in one line; `None` if every call has one.
    pub fn unpriced_text(&self) -> Option<String> {
        unpriced_text(&self.unpriced)
    }
}

/// Adding up, event by event.
pub(super) struct Tally {
    by: Vec<GroupBy>,
    from: Option<Timestamp>,
    to: Option<Timestamp>,
    /// Ids seen, by source: 16 bytes and a little for each event.
    seen: HashMap<String, HashSet<Uuid>>,
    bills: BillsSeen,
    lines: BTreeMap<Vec<String>, ReportSums>,
    total: ReportSums,
    foreign: u64,
    prices: Option<Prices>,
    unpriced: BTreeMap<String, u64>,
}

impl Tally {
    pub(super) fn new(options: &ReportOptions) -> Tally {
        Tally {
            by: options.by.clone(),
            from: options.from,
            to: options.to,
            seen: HashMap::new(),
            bills: BillsSeen::default(),
            lines: BTreeMap::new(),
            total: ReportSums::default(),
            foreign: 0,
            prices: options.prices.clone(),
            unpriced: BTreeMap::new(),
        }
    }

    /// Adds one event, given as it was stored.
    pub(super) fn add(&mut self, body: &str) {
        let stored = StoredEvent::read(body).ok();
        if stored.as_ref().is_some_and(|stored| stored.event_type() == Some(EventType::Control)) {
            return;
        }
        match stored.as_ref().and_then(UsageEvent::read) {
            Some(event) => self.add_usage(event),
            None => self.foreign += 1,
        }
    }

    fn add_usage(&mut self, mut event: UsageEvent) {
        let source = std::mem::take(&mut event.source);
        let is_new = self.seen.entry(source).or_default().insert(event.id);
        // Whatever is asked for, the first bill of all stands.
        if !is_new || self.bills.repeats(&event.usage) || !self.wants(&event) {
            return;
        }
        let keys = self.by.iter().map(|key| key.of(&event)).collect();
        let cost = self.cost(&event);
        let line = self.lines.entry(keys).or_default();
        for sums in [line, &mut self.total] {
            sums.add(&event);
            if let Some(cost) = cost {
                sums.charge(event.calls, cost);
            }
        }
    }

    /// The cost of an event: nothing to say, no price, or an amount. A call without tokens needs no
    /// price.
    #[expect(clippy::option_option, reason = "three answers, used once, ten lines above")]
    fn cost(&mut self, event: &UsageEvent) -> Option<Option<Amount>> {
        let prices = self.prices.as_ref()?;
        let (target, tokens) = (&event.usage.target, &event.usage.tokens);
        let used = Used {
            input: tokens.input.unwrap_or(0),
            input_cached: tokens.input_cached.unwrap_or(0),
            output: tokens.output.unwrap_or(0),
        };
        if used.input == 0 && used.output == 0 {
            return Some(Some(Amount::default()));
        }
        let model = target.any_model().map(|model| model.as_str()).unwrap_or_default();
        let cost = prices.cost(model, target.deployment.as_deref().unwrap_or_default(), event.time, used);
        if cost.is_none() {
            let model = if model.is_empty() { "calls that name no model" } else { model };
            *self.unpriced.entry(model.to_owned()).or_default() += event.calls;
        }
        Some(cost)
    }

    fn wants(&self, event: &UsageEvent) -> bool {
        self.from.is_none_or(|from| event.time >= from)
            && self.to.is_none_or(|to| event.time < to)
            && event.outcome != Some(Outcome::Rejected)
    }

    pub(super) fn finish(self) -> Report {
        if self.foreign > 0 {
            tracing::warn!(messages = self.foreign, "messages that are no events of tokenweir are left out");
        }
        if let Some(unknown) = unknown_text(self.bills.unknown) {
            tracing::warn!("{unknown}");
        }
        let lines = self.lines.into_iter().map(|(keys, sums)| ReportLine { keys, sums }).collect();
        let currency = self.prices.map(|prices| prices.currency().to_owned());
        Report {
            by: self.by,
            lines,
            total: self.total,
            currency,
            unpriced: self.unpriced,
            repeated_bills: self.bills.repeats,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::instant::parse_time;
    use super::*;
    use metering::usage::Unit;
    use strum::VariantArray;

    fn options(by: &[GroupBy], from: Option<&str>, to: Option<&str>) -> ReportOptions {
        ReportOptions {
            input: Input::Ledger("unused".into()),
            by: by.to_vec(),
            from: from.map(|text| parse_time(text).unwrap()),
            to: to.map(|text| parse_time(text).unwrap()),
            prices: None,
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

    #[test]
    fn repeats_rejected_calls_and_other_times_do_not_count() {
        let mut tally =
            Tally::new(&options(&[GroupBy::Caller, GroupBy::Day], Some("2026-11-20"), Some("2026-11-22")));
        tally.add(&event(1, 20, "a", "complete", "exact", Some(5)));
        tally.add(&event(1, 20, "a", "complete", "exact", Some(5)));
        tally.add(&event(2, 21, "a", "client_disconnect", "lower_bound", Some(7)));
        tally.add(&event(3, 21, "a", "rejected", "exact", Some(100)));
        tally.add(&event(4, 19, "a", "complete", "exact", Some(100)));
        tally.add(&event(5, 22, "a", "complete", "exact", Some(100)));
        tally.add(&event(6, 21, "b", "crashed", "unknown", None));
        tally.add("no event");
        let report = tally.finish();
        let tokens = |sums: &ReportSums| -> [u64; 9] { sums.values()[..9].try_into().unwrap() };
        let lines: Vec<(String, [u64; 9])> =
            report.lines.iter().map(|line| (line.keys.join(" "), tokens(&line.sums))).collect();
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
            tally.add(&event.replacen(r#""tokens""#, &format!(r#""units":{units},"tokens""#), 1));
        }
        let total = tally.finish().total;
        for (column, value) in [("images", 3), ("characters", 40), ("audio_ms", 9000), ("pages", 0)] {
            assert_eq!(total.get(column), Some(value), "{column}");
        }
        let names: Vec<_> = ReportSums::columns().collect();
        let left_out: Vec<_> = total.left_out().map(|place| names[place]).collect();
        assert_eq!(left_out, ["video_ms", "pages", "search_units", "web_searches", "web_fetches"]);
        let units = Unit::VARIANTS.iter().map(|unit| unit.as_str());
        assert!(units.eq(names[9..].iter().copied()), "each unit has a column");
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
        tally.add(&bill(1, "//tokenweir/x", 20, "eu", "resp_1"));
        tally.add(&bill(2, "//tokenweir/y", 21, "eu", "resp_1"));
        tally.add(&bill(3, "//tokenweir/y", 21, "eu", "resp_2"));
        tally.add(&bill(4, "//tokenweir/y", 21, "us", "resp_1"));
        tally.add(&bill(3, "//tokenweir/y", 21, "eu", "resp_2"));
        // The first one stands, even if it is of a time that is not asked for.
        tally.add(&bill(5, "//tokenweir/x", 19, "eu", "resp_3"));
        tally.add(&bill(6, "//tokenweir/y", 21, "eu", "resp_3"));
        // Events that announce work have its id, and no numbers; a stream that has them is its own bill.
        let call = |id: u128, api: &str, reported: Option<u64>| {
            let mut event: serde_json::Value =
                serde_json::from_str(&bill(id, "//tokenweir/z", 21, "eu", "resp_2")).unwrap();
            event["data"]["target"]["api"] = api.into();
            event["data"]["accounting"]["deferred"] = false.into();
            event["data"]["accounting"]["reported_output"] = reported.into();
            event.to_string()
        };
        tally.add(&call(7, "responses", None));
        tally.add(&call(8, "responses", Some(100)));
        tally.add(&call(9, "chat_completions", Some(100)));
        let report = tally.finish();
        assert_eq!((report.total.get("calls"), report.total.get("output")), (Some(5), Some(500)));
        assert_eq!(report.repeated_bills, 3);
        let said = "3 bills were seen by more than one ledger: each counts once";
        assert_eq!(report.repeated_bills_text().as_deref(), Some(said));
    }

    #[test]
    fn keys_have_names_and_missing_values_are_empty() {
        for name in ["caller", "model", "deployment", "day", "department", "cost_center", "outcome"] {
            assert_eq!(name.parse::<GroupBy>().unwrap().as_str(), name);
        }
        assert!("team".parse::<GroupBy>().is_err());
        let mut tally =
            Tally::new(&options(&[GroupBy::Model, GroupBy::Department, GroupBy::Outcome], None, None));
        tally.add(&event(1, 20, "a", "complete", "exact", Some(5)));
        assert_eq!(tally.finish().lines[0].keys, ["m", "", "complete"]);
    }
}
