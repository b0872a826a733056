//! Why a text is no event that can be read: for whoever has to say what was left out.
//!
//! It is looked at once more, and slowly, only after reading it has failed.

use serde_json::Value;
use strum::{IntoStaticStr, VariantArray};

use super::envelope::EventType;
use super::vocabulary::{Outcome, Quality};

/// All types of tokenweir's events begin with this, in any version.
const TYPE_PREFIX: &str = "dev.tokenweir.";

/// Members of the data that hold the numbers that are charged.
const NUMBERS: [&str; 4] = ["tokens", "units", "tools", "calls"];

/// Why a text is no event that can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum EventFault {
    /// It is no JSON.
    NotJson,
    /// It is JSON, and no event of tokenweir.
    NotOurs,
    /// Its type is one of a version that is not known here.
    UnknownType,
    /// Its outcome is a word that is not known here.
    UnknownOutcome,
    /// The quality of a number is a word that is not known here.
    UnknownQuality,
    /// A number is a fraction, negative, or beyond 64 bits.
    WrongNumber,
    /// Its time is missing, or no time.
    NoTime,
    /// A member that it must have is missing, or of another kind.
    NotWhole,
}

impl EventFault {
    /// The word that stands in reports.
    pub fn as_str(self) -> &'static str {
        self.into()
    }

    /// Why a text could not be read as an event.
    pub fn of(body: &str) -> EventFault {
        let Ok(event) = serde_json::from_str::<Value>(body) else { return EventFault::NotJson };
        let name = event.get("type").and_then(Value::as_str).unwrap_or_default();
        if !name.starts_with(TYPE_PREFIX) {
            return EventFault::NotOurs;
        }
        if EventType::of(name).is_none() {
            return EventFault::UnknownType;
        }
        let time = event.get("time").and_then(Value::as_str);
        if time.is_none_or(|time| time.parse::<jiff::Timestamp>().is_err()) {
            return EventFault::NoTime;
        }
        let data = &event["data"];
        let is_other =
            |word: &Value, known: &dyn Fn(&str) -> bool| word.as_str().is_some_and(|word| !known(word));
        if is_other(&data["stream"]["outcome"], &|word| {
            Outcome::VARIANTS.iter().any(|known| known.as_str() == word)
        }) {
            return EventFault::UnknownOutcome;
        }
        let is_quality = |word: &str| Quality::VARIANTS.iter().any(|known| known.as_str() == word);
        let accounting = &data["accounting"];
        if ["input_quality", "output_quality"].iter().any(|side| is_other(&accounting[side], &is_quality)) {
            return EventFault::UnknownQuality;
        }
        let reported = ["reported_input", "reported_output"].map(|side| &accounting[side]);
        if NUMBERS.iter().map(|member| &data[member]).chain(reported).any(has_wrong_number) {
            return EventFault::WrongNumber;
        }
        EventFault::NotWhole
    }
}

/// A number at any depth is none that can be counted.
fn has_wrong_number(value: &Value) -> bool {
    match value {
        Value::Number(number) => !number.is_u64(),
        Value::Array(items) => items.iter().any(has_wrong_number),
        Value::Object(members) => members.values().any(has_wrong_number),
        _ => false,
    }
}
