//! An event that somebody has rendered anew, brought back to the bytes that a sidecar writes for it.
//!
//! Engines parse JSON and write it again: with blanks, with other escapes, with members in another order, with nulls
//! left out or put in. The event says the same, and its bytes are others. The form here is the writer's own: if
//! it has the digest that the writer stored, then nothing that the event says was changed.

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Number, Value};

use super::control::{Control, Summary};
use super::envelope::{CloudEvent, EventType};
use super::event::Usage;
use super::stored::StoredEvent;

/// Whole numbers up to here are exact as floating point: 2^53.
const EXACT_MAX: f64 = 9_007_199_254_740_992.0;

/// The bytes that a sidecar would have written for an event; `None` if it is not of tokenweir.
pub fn as_written(body: &str) -> Option<String> {
    let mut given: Value = serde_json::from_str(body).ok()?;
    whole_numbers(&mut given);
    let compact = given.to_string();
    let known = match StoredEvent::read(body).ok()?.event_type()? {
        EventType::Usage => again::<Usage>(&compact),
        EventType::Summary => again::<Summary>(&compact),
        EventType::Control => again::<Control>(&compact),
    };
    // A later version may have words and members that are not known here: those stay where they are.
    let Some(known) = known else { return Some(compact) };
    let in_order = serde_json::from_str::<Value>(&known).is_ok_and(|ours| is_part(&ours, &given));
    Some(if in_order { compact } else { known })
}

/// The form of an event that has only members which are known here.
fn again<T: DeserializeOwned + Serialize>(body: &str) -> Option<String> {
    let event: CloudEvent<T> = serde_json::from_str(body).ok()?;
    serde_json::to_string(&event).ok()
}

/// Numbers that were written as `5.0` or `5e0` are whole again.
fn whole_numbers(value: &mut Value) {
    match value {
        Value::Number(number) if number.is_f64() => {
            let whole = number.as_f64().filter(|n| n.fract() == 0.0 && n.abs() <= EXACT_MAX);
            if let Some(whole) = whole.and_then(|whole| format!("{whole:.0}").parse::<Number>().ok()) {
                *number = whole;
            }
        }
        Value::Array(elements) => elements.iter_mut().for_each(whole_numbers),
        Value::Object(members) => members.values_mut().for_each(whole_numbers),
        _ => {}
    }
}

/// Whether all of `ours` stands in `given`, in the same order, and nothing else there is null.
fn is_part(ours: &Value, given: &Value) -> bool {
    match (ours, given) {
        (Value::Object(ours), Value::Object(given)) => is_part_of_members(ours, given),
        (Value::Array(ours), Value::Array(given)) => {
            ours.len() == given.len() && ours.iter().zip(given).all(|(ours, given)| is_part(ours, given))
        }
        _ => ours == given,
    }
}

fn is_part_of_members(ours: &Map<String, Value>, given: &Map<String, Value>) -> bool {
    let mut known = ours.iter().peekable();
    for (name, value) in given {
        match known.next_if(|(ours, _)| *ours == name) {
            Some((_, ours)) if is_part(ours, value) => {}
            None if !ours.contains_key(name) && !value.is_null() => {}
            _ => return false,
        }
    }
    known.next().is_none()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::caller::{Caller, Trust};
    use crate::usage::{Target, Tokens, Units};

    fn stored() -> String {
        let mut caller = Caller::unattributed(Trust::None);
        caller.department = Some("a \"b\" \u{e9}\u{1f600}\n/".into());
        caller.tags.insert("user".into(), "x".into());
        let mut usage = Usage::draft(caller, Target { model: Some("m".into()), ..Target::default() });
        usage.tokens =
            Tokens { input: None, output: Some(u64::MAX), input_cached: Some(5), ..Tokens::default() };
        usage.units = Units { pages: Some(100), ..Units::default() };
        usage.timing.started_at = Some(jiff::Timestamp::from_millisecond(1_700_000_000_120).unwrap());
        let time = Some("2026-11-22T09:15:04.812Z".to_owned());
        let event = CloudEvent::new(EventType::Usage, "//tokenweir/x", "i".to_owned(), time, "s", usage);
        serde_json::to_string(&event.with_sequence(9)).unwrap()
    }

    /// Members in any order, whether nulls stay, and how texts and numbers are spelled.
    fn spelled(value: &Value, seed: &mut u64, drop_nulls: bool, out: &mut String) {
        let mut random = |n: usize| {
            *seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (*seed >> 33) as usize % n
        };
        match value {
            Value::Object(members) => {
                let mut members: Vec<_> =
                    members.iter().filter(|(_, value)| !(drop_nulls && value.is_null())).collect();
                for at in (1..members.len()).rev() {
                    members.swap(at, random(at + 1));
                }
                out.push('{');
                for (at, (name, value)) in members.into_iter().enumerate() {
                    out.push_str(if at > 0 { " ,\n" } else { "" });
                    out.push_str(&format!("\"{name}\" : "));
                    spelled(value, seed, drop_nulls, out);
                }
                out.push('}');
            }
            Value::String(text) => {
                out.push('"');
                for unit in text.encode_utf16() {
                    out.push_str(&format!("\\u{unit:04x}"));
                }
                out.push('"');
            }
            Value::Number(number) if number.as_u64() < Some(1 << 50) && random(2) == 0 => {
                out.push_str(&format!("{number}.0"));
            }
            other => out.push_str(&other.to_string()),
        }
    }

    proptest! {
        #[test]
        fn whatever_an_engine_makes_of_the_bytes_they_come_back(seed in any::<u64>(), drop_nulls in any::<bool>()) {
            let (stored, mut other) = (stored(), String::new());
            spelled(&serde_json::from_str(&stored).unwrap(), &mut { seed }, drop_nulls, &mut other);
            prop_assert_ne!(&stored, &other);
            prop_assert_eq!(as_written(&other), Some(stored));
        }
    }

    #[test]
    fn what_a_sidecar_wrote_stays_as_it_is_also_a_later_one() {
        let body = stored();
        assert_eq!(as_written(&body).unwrap(), body);
        let mut later: Value = serde_json::from_str(&body).unwrap();
        later["data"]["target"]["mood"] = json!("new");
        later["later"] = json!([1]);
        assert_eq!(as_written(&later.to_string()).unwrap(), later.to_string());
        later["data"]["target"]["api"] = json!("telepathy");
        assert_eq!(as_written(&format!(" {later} ")).unwrap(), later.to_string());
        assert_eq!(as_written("{}"), None);
        assert_eq!(as_written(&body.replace("tokenweir.usage", "tokenweir.thought")), None);
    }

    /// A null that was put in for a member that is absent, as engines with a fixed schema do.
    #[test]
    fn nulls_that_were_put_in_are_taken_out() {
        let body = stored();
        let mut nulls: Value = serde_json::from_str(&body).unwrap();
        for member in ["input_audio", "total"] {
            nulls["data"]["tokens"][member] = Value::Null;
        }
        assert_eq!(as_written(&nulls.to_string()).unwrap(), body);
    }

    #[test]
    fn a_value_that_was_changed_does_not_come_back() {
        let body = stored();
        for (from, to) in [("\"m\"", "\"n\""), ("\"x\"", "\"y\""), (":100}", ":101}"), (":100}", ":100.5}")] {
            assert!(body.contains(from), "{from}");
            assert_ne!(as_written(&body.replace(from, to)).as_ref(), Some(&body), "{to}");
        }
    }
}
