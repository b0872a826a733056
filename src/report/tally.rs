//! Events added up by keys.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::str::FromStr;

use jiff::Timestamp;
use serde::Deserialize;
use uuid::Uuid;

use super::prices::{Amount, Prices, Used, unpriced_text};
use super::{ReportError, ReportOptions};
use crate::usage::{CloudEvent, EventType, Outcome, Quality};

/// `outcome` of calls that are only in a sum.
const SUMMED: &str = "summed";

/// What usage is added up by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key {
    /// `caller.id`
    Caller,
    /// `target.model`, or the model asked for where the answer named none.
    Model,
    /// `target.deployment`
    Deployment,
    /// The UTC day of `time`.
    Day,
    /// `caller.department`
    Department,
    /// `caller.cost_center`
    CostCenter,
    /// `stream.outcome`
    Outcome,
}

impl Key {
    /// The column's name.
    pub fn as_str(self) -> &'static str {
        match self {
            Key::Caller => "caller",
            Key::Model => "model",
            Key::Deployment => "deployment",
            Key::Day => "day",
            Key::Department => "department",
            Key::CostCenter => "cost_center",
            Key::Outcome => "outcome",
        }
    }

    fn of(self, event: &Event) -> String {
        let (caller, target) = (&event.data.caller, &event.data.target);
        let known = match self {
            Key::Caller => Some(caller.id.clone()),
            Key::Model => target.model.clone().or_else(|| target.model_requested.clone()),
            Key::Deployment => target.deployment.clone(),
            Key::Day => Some(event.time.strftime("%Y-%m-%d").to_string()),
            Key::Department => caller.department.clone(),
            Key::CostCenter => caller.cost_center.clone(),
            Key::Outcome => Some(event.outcome().to_owned()),
        };
        known.unwrap_or_default()
    }
}

impl FromStr for Key {
    type Err = ReportError;

    fn from_str(text: &str) -> Result<Key, ReportError> {
        let all = [Key::Caller, Key::Model, Key::Deployment, Key::Day];
        let more = [Key::Department, Key::CostCenter, Key::Outcome];
        let found = all.into_iter().chain(more).find(|key| key.as_str() == text);
        found.ok_or_else(|| ReportError::Key(text.to_owned()))
    }
}

/// What is added up. Unknown numbers add nothing; `unknown_calls` says for how many calls.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sums {
    /// Calls.
    pub calls: u64,
    /// Prompt tokens.
    pub input: u64,
    /// Part of `input` read from the cache.
    pub input_cached: u64,
    /// Completion tokens.
    pub output: u64,
    /// Part of `output` that is hidden reasoning.
    pub output_reasoning: u64,
    /// Tokens, input and output, that are exact.
    pub exact: u64,
    /// Tokens that are a lower bound.
    pub lower_bound: u64,
    /// Tokens that are estimated.
    pub estimated: u64,
    /// Calls of which the input or the output is not known.
    pub unknown_calls: u64,
    /// What the tokens cost that have a price; 0 without prices.
    pub cost: Amount,
    /// Calls with tokens that have no price; 0 without prices.
    pub unpriced_calls: u64,
}

/// One combination of keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// The keys' values, in the order asked for; empty where an event has none.
    pub keys: Vec<String>,
    /// What they add up to.
    pub sums: Sums,
}

/// Usage added up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// What it is added up by.
    pub by: Vec<Key>,
    /// One line for each combination, in order of the keys.
    pub lines: Vec<Line>,
    /// Over all lines.
    pub total: Sums,
    /// What `cost` is in, where there are prices.
    pub currency: Option<String>,
    /// Calls by model that have no price.
    pub unpriced: BTreeMap<String, u64>,
}

impl Report {
    /// Says which models have no price, in one line; `None` if every call has one.
    pub fn unpriced_text(&self) -> Option<String> {
        unpriced_text(&self.unpriced)
    }
}

impl Sums {
    /// The columns' names, in order.
    pub const COLUMNS: [&'static str; 9] = [
        "calls",
        "input",
        "input_cached",
        "output",
        "output_reasoning",
        "exact",
        "lower_bound",
        "estimated",
        "unknown_calls",
    ];

    /// The columns' values, in the same order.
    pub fn values(&self) -> [u64; 9] {
        [
            self.calls,
            self.input,
            self.input_cached,
            self.output,
            self.output_reasoning,
            self.exact,
            self.lower_bound,
            self.estimated,
            self.unknown_calls,
        ]
    }

    /// Adds what a call costs, if that is known.
    fn charge(&mut self, calls: u64, cost: Option<Amount>) {
        match cost {
            Some(cost) => self.cost.add(cost),
            None => self.unpriced_calls += calls,
        }
    }

    fn add(&mut self, data: &Data) {
        let (tokens, accounting) = (&data.tokens, &data.accounting);
        let calls = data.calls.unwrap_or(1);
        self.calls += calls;
        self.input += tokens.input.unwrap_or(0);
        self.output += tokens.output.unwrap_or(0);
        self.input_cached += tokens.input_cached.unwrap_or(0);
        self.output_reasoning += tokens.output_reasoning.unwrap_or(0);
        let sides = [(tokens.input, accounting.input_quality), (tokens.output, accounting.output_quality)];
        for (number, quality) in sides {
            match quality {
                Quality::Exact => self.exact += number.unwrap_or(0),
                Quality::LowerBound => self.lower_bound += number.unwrap_or(0),
                Quality::Estimated => self.estimated += number.unwrap_or(0),
                Quality::Unknown => {}
            }
        }
        // In a summary an unknown number counts as 0; its quality still says so.
        if sides.iter().any(|(number, quality)| number.is_none() || *quality == Quality::Unknown) {
            self.unknown_calls += calls;
        }
    }
}

/// What of an event matters here. Old and new minor versions of the schema both fit.
#[derive(Deserialize)]
struct Data {
    caller: CallerPart,
    target: TargetPart,
    tokens: TokensPart,
    accounting: AccountingPart,
    stream: Option<StreamPart>,
    calls: Option<u64>,
}

#[derive(Deserialize)]
struct CallerPart {
    id: String,
    department: Option<String>,
    cost_center: Option<String>,
}

#[derive(Deserialize)]
struct TargetPart {
    deployment: Option<String>,
    model: Option<String>,
    model_requested: Option<String>,
}

#[derive(Deserialize)]
struct TokensPart {
    input: Option<u64>,
    output: Option<u64>,
    input_cached: Option<u64>,
    output_reasoning: Option<u64>,
}

#[derive(Deserialize)]
struct AccountingPart {
    input_quality: Quality,
    output_quality: Quality,
}

#[derive(Deserialize)]
struct StreamPart {
    outcome: Outcome,
}

struct Event {
    time: Timestamp,
    data: Data,
}

impl Event {
    fn outcome(&self) -> &'static str {
        self.data.stream.as_ref().map_or(SUMMED, |stream| stream.outcome.as_str())
    }
}

/// Adding up, event by event.
pub(super) struct Tally {
    by: Vec<Key>,
    from: Option<Timestamp>,
    to: Option<Timestamp>,
    /// Ids seen, by source: 16 bytes and a little for each event.
    seen: HashMap<String, HashSet<Uuid>>,
    lines: BTreeMap<Vec<String>, Sums>,
    total: Sums,
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
            lines: BTreeMap::new(),
            total: Sums::default(),
            foreign: 0,
            prices: options.prices.clone(),
            unpriced: BTreeMap::new(),
        }
    }

    /// Adds one event, given as it was stored.
    pub(super) fn add(&mut self, body: &str) {
        let Some(envelope) = envelope(body) else {
            self.foreign += 1;
            return;
        };
        let Some((id, event)) = envelope else { return };
        let (source, id) = id;
        if !self.seen.entry(source).or_default().insert(id) || !self.wants(&event) {
            return;
        }
        let keys = self.by.iter().map(|key| key.of(&event)).collect();
        let cost = self.cost(&event);
        let line = self.lines.entry(keys).or_default();
        line.add(&event.data);
        self.total.add(&event.data);
        if let Some(cost) = cost {
            let calls = event.data.calls.unwrap_or(1);
            line.charge(calls, cost);
            self.total.charge(calls, cost);
        }
    }

    /// What an event costs: nothing to say, no price, or an amount. A call without tokens needs no
    /// price.
    #[expect(clippy::option_option, reason = "three answers, used once, ten lines above")]
    fn cost(&mut self, event: &Event) -> Option<Option<Amount>> {
        let prices = self.prices.as_ref()?;
        let (target, tokens) = (&event.data.target, &event.data.tokens);
        let used = Used {
            input: tokens.input.unwrap_or(0),
            input_cached: tokens.input_cached.unwrap_or(0),
            output: tokens.output.unwrap_or(0),
        };
        if used.input == 0 && used.output == 0 {
            return Some(Some(Amount::default()));
        }
        let model = target.model.as_deref().or(target.model_requested.as_deref()).unwrap_or_default();
        let cost = prices.cost(model, target.deployment.as_deref().unwrap_or_default(), event.time, used);
        if cost.is_none() {
            let model = if model.is_empty() { "calls that name no model" } else { model };
            *self.unpriced.entry(model.to_owned()).or_default() += event.data.calls.unwrap_or(1);
        }
        Some(cost)
    }

    fn wants(&self, event: &Event) -> bool {
        self.from.is_none_or(|from| event.time >= from)
            && self.to.is_none_or(|to| event.time < to)
            && event.outcome() != Outcome::Rejected.as_str()
    }

    pub(super) fn finish(self) -> Report {
        if self.foreign > 0 {
            tracing::warn!(messages = self.foreign, "messages that are no events of tokenweir are left out");
        }
        let lines = self.lines.into_iter().map(|(keys, sums)| Line { keys, sums }).collect();
        let currency = self.prices.map(|prices| prices.currency().to_owned());
        Report { by: self.by, lines, total: self.total, currency, unpriced: self.unpriced }
    }
}

/// An event's identity and what matters of it. `Some(None)` if it is a control event, `None` if it
/// is no event of ours.
#[expect(clippy::option_option, reason = "three answers, each used once, ten lines apart")]
fn envelope(body: &str) -> Option<Option<((String, Uuid), Event)>> {
    let event: CloudEvent<serde_json::Value> = serde_json::from_str(body).ok()?;
    if event.kind == EventType::Control {
        return Some(None);
    }
    let id = Uuid::parse_str(&event.id).ok()?;
    let time = event.time?.parse().ok()?;
    let data = Data::deserialize(event.data).ok()?;
    Some(Some(((event.source.into(), id), Event { time, data })))
}

#[cfg(test)]
mod tests {
    use super::super::{Input, parse_time};
    use super::*;

    fn options(by: &[Key], from: Option<&str>, to: Option<&str>) -> ReportOptions {
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
                "stream": {"outcome": outcome}, "a_field_of_the_future": 1
            }
        })
        .to_string()
    }

    #[test]
    fn repeats_rejected_calls_and_other_times_do_not_count() {
        let mut tally =
            Tally::new(&options(&[Key::Caller, Key::Day], Some("2026-11-20"), Some("2026-11-22")));
        tally.add(&event(1, 20, "a", "complete", "exact", Some(5)));
        tally.add(&event(1, 20, "a", "complete", "exact", Some(5)));
        tally.add(&event(2, 21, "a", "client_disconnect", "lower_bound", Some(7)));
        tally.add(&event(3, 21, "a", "rejected", "exact", Some(100)));
        tally.add(&event(4, 19, "a", "complete", "exact", Some(100)));
        tally.add(&event(5, 22, "a", "complete", "exact", Some(100)));
        tally.add(&event(6, 21, "b", "crashed", "unknown", None));
        tally.add("no event");
        let report = tally.finish();
        let lines: Vec<(String, [u64; 9])> =
            report.lines.iter().map(|line| (line.keys.join(" "), line.sums.values())).collect();
        assert_eq!(
            lines,
            [
                ("a 2026-11-20".to_owned(), [1, 10, 4, 5, 0, 15, 0, 0, 0]),
                ("a 2026-11-21".to_owned(), [1, 10, 4, 7, 0, 10, 7, 0, 0]),
                ("b 2026-11-21".to_owned(), [1, 10, 4, 0, 0, 10, 0, 0, 1]),
            ]
        );
        assert_eq!(report.total.values(), [3, 30, 12, 12, 0, 35, 7, 0, 1]);
    }

    #[test]
    fn keys_have_names_and_missing_values_are_empty() {
        for name in ["caller", "model", "deployment", "day", "department", "cost_center", "outcome"] {
            assert_eq!(name.parse::<Key>().unwrap().as_str(), name);
        }
        assert!("team".parse::<Key>().is_err());
        let mut tally = Tally::new(&options(&[Key::Model, Key::Department, Key::Outcome], None, None));
        tally.add(&event(1, 20, "a", "complete", "exact", Some(5)));
        assert_eq!(tally.finish().lines[0].keys, ["m", "", "complete"]);
    }
}
