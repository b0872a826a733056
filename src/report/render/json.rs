//! A report as JSON: names as they are, money as text, and `null` for what is not known.

use serde_json::{Map, Value};

use super::fields::{Cell, Field};
use crate::report::key_value::KeyValue;
use crate::report::sums::ReportSums;
use crate::report::tally::Report;

/// The member that says why keys are `null`.
pub(super) const MISSING: &str = "missing";

impl Report {
    pub(super) fn json(&self) -> Value {
        let fields = self.fields();
        let lines =
            self.lines.iter().map(|line| Value::Object(self.json_line(&fields, &line.keys, &line.sums)));
        let lines: Vec<Value> = lines.collect();
        let behind_keys = fields.get(self.by.len()..).unwrap_or_default();
        let mut json = serde_json::json!({
            "from": self.from.map(|time| time.to_string()),
            "to": self.to.map(|time| time.to_string()),
            "time_zone": self.calendar.zone_name(),
            "lines": lines,
            "total": self.json_line(behind_keys, &[], &self.total),
        });
        for (name, value) in self.completeness.members() {
            json[name] = value;
        }
        if self.currency.is_some() {
            json["complete"] = self.is_complete().into();
            let unpriced =
                self.unpriced.models().map(|(model, found)| (model.to_owned(), found.calls.into()));
            json["unpriced"] = Value::Object(unpriced.collect());
        }
        let versions: Map<String, Value> =
            self.cost.versions.named().map(|(name, version)| (name.to_owned(), version.into())).collect();
        if !versions.is_empty() {
            json["versions"] = Value::Object(versions);
        }
        if self.repeated_bills > 0 {
            json["repeated_bills"] = self.repeated_bills.into();
        }
        json
    }

    fn json_line(&self, fields: &[Field], keys: &[KeyValue], sums: &ReportSums) -> Map<String, Value> {
        let mut line = Map::new();
        let mut missing = Map::new();
        for field in fields {
            let value = match self.cell(field.kind, keys, sums) {
                Cell::Key(key) => {
                    if let Some(why) = key.and_then(KeyValue::missing) {
                        missing.insert(field.name.clone(), why.as_str().into());
                    }
                    key.and_then(KeyValue::value).map(|value| value.into_owned()).into()
                }
                Cell::Number(number) => number.into(),
                // A number of JSON may be read as a float.
                Cell::Money(amount) => amount.map(|amount| amount.to_string()).into(),
                Cell::Word(word) => word.into(),
            };
            line.insert(field.name.clone(), value);
        }
        if !missing.is_empty() {
            line.insert(MISSING.to_owned(), Value::Object(missing));
        }
        line
    }
}
