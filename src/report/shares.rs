//! An event adds its shares to rows: as a whole, and by the classes of what it used.

use std::sync::Arc;

use super::group_by::GroupBy;
use super::key_value::{KeyValue, MissingKey};
use super::pricing::{BilledPart, Charge, Charges, Cost, CostFiles, EventCost, Payer, billed_parts};
use super::sums::{ReportSums, SumOverflow};
use super::usage_event::UsageEvent;

/// A part of an event, with what it costs.
struct Share {
    part: BilledPart,
    cost: PartCost,
}

/// The cost of a part.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum PartCost {
    /// Nobody asked.
    NotAsked,
    /// There is no price for it.
    Unpriced,
    Priced(Cost),
    /// It has a share in a fixed cost, by this weight.
    Shared(u128),
}

/// The parts of an event that have the same values for some keys.
pub(super) struct PartGroup {
    pub(super) values: Vec<KeyValue>,
    pub(super) sums: ReportSums,
    /// Their weight in a fixed cost; `None`: they have no share.
    pub(super) weight: Option<u128>,
}

/// An event, cut into the parts that have prices of their own.
pub(super) struct Shares<'e> {
    pub(super) event: &'e UsageEvent,
    parts: Vec<Share>,
    /// Its numbers contradict each other.
    contradicted: bool,
    /// The month of a fixed cost that it has a share in.
    pub(super) month: Option<usize>,
    /// Its cost; `None`: nobody asked.
    pub(super) charges: Option<Charges<'e>>,
}

impl<'e> Shares<'e> {
    /// The parts of an event, each with its cost.
    pub(super) fn of(event: &'e UsageEvent, files: &'e CostFiles) -> Shares<'e> {
        let Some(EventCost { charges, month }) = files.cost(event) else {
            return Shares::without_cost(event);
        };
        let parts = charges.parts.iter().map(|charge| Share {
            part: charge.part.clone(),
            cost: match (charge.share, charge.amount) {
                (Some(weight), _) => PartCost::Shared(weight),
                (None, None) => PartCost::Unpriced,
                (None, first) => PartCost::Priced(Cost { first, second: charge.amount_2 }),
            },
        });
        Shares {
            event,
            parts: parts.collect(),
            contradicted: charges.contradicted,
            month,
            charges: Some(charges),
        }
    }

    fn without_cost(event: &'e UsageEvent) -> Shares<'e> {
        let (parts, contradicted) = billed_parts(&event.usage);
        let parts = parts.into_iter().map(|part| Share { part, cost: PartCost::NotAsked }).collect();
        Shares { event, parts, contradicted, month: None, charges: None }
    }

    /// Returns its weight in a fixed cost; `None`: it has no share.
    pub(super) fn weight(&self) -> Option<u128> {
        weight(self.parts.iter())
    }

    /// Who pays for it.
    pub(super) fn payer(&self) -> Payer {
        let caller = &self.event.usage.caller;
        (caller.department.clone(), caller.cost_center.clone())
    }

    /// The event as a whole.
    pub(super) fn whole(&self) -> Result<ReportSums, SumOverflow> {
        let mut sums = ReportSums::of_calls(self.event, self.event.is_unknown(), self.contradicted());
        self.add(&mut sums, self.parts.iter())?;
        if self.used_nothing() {
            sums.charge(Cost::NOTHING);
        }
        Ok(sums)
    }

    /// Cuts the event by what its parts have for these keys. A number that is not known, and a call that used nothing,
    /// have a row too, so that no call is lost.
    pub(super) fn by_part(&self, keys: &[GroupBy]) -> Result<Vec<PartGroup>, SumOverflow> {
        let values = |at| keys.iter().map(|key| self.part_value(key, at)).collect();
        let values: Vec<Vec<KeyValue>> = (0..self.parts.len()).map(values).collect();
        let mut groups = Vec::new();
        for (at, of_group) in values.iter().enumerate() {
            if values[..at].contains(of_group) {
                continue;
            }
            let parts = self.parts.iter().zip(&values).filter(|(_, values)| *values == of_group);
            let parts = parts.map(|(share, _)| share);
            let mut sums = ReportSums::of_calls(self.event, false, self.contradicted());
            self.add(&mut sums, parts.clone())?;
            groups.push(PartGroup { values: of_group.clone(), sums, weight: weight(parts) });
        }
        let missing = |missing, sums| PartGroup {
            values: vec![KeyValue::Missing(missing); keys.len()],
            sums,
            weight: None,
        };
        if self.event.is_unknown() {
            groups.push(missing(MissingKey::NotKnown, ReportSums::of_calls(self.event, true, false)));
        } else if self.used_nothing() {
            let mut sums = ReportSums::of_calls(self.event, false, self.contradicted());
            sums.charge(Cost::NOTHING);
            groups.push(missing(MissingKey::NothingUsed, sums));
        }
        Ok(groups)
    }

    /// Returns the value that the part at that place has for a key of parts.
    fn part_value(&self, key: &GroupBy, at: usize) -> KeyValue {
        let Some(Share { part, cost }) = self.parts.get(at) else {
            return KeyValue::Missing(MissingKey::NothingUsed);
        };
        match key {
            GroupBy::BilledModel => {
                let of_call = self.event.usage.target.any_model();
                let model = part.tool.as_ref().map_or(of_call, |(_, of_tool)| of_tool.as_ref());
                KeyValue::of(model.map(|model| model.as_str()), MissingKey::Model)
            }
            GroupBy::Price => match (cost, self.charges.as_ref().and_then(|charges| charges.parts.get(at))) {
                (PartCost::Shared(_), _) => KeyValue::Missing(MissingKey::FixedCost),
                (_, Some(Charge { row: Some(row), .. })) => KeyValue::Price(Arc::clone(&row.name)),
                _ => KeyValue::Missing(MissingKey::NoPrice),
            },
            _ => KeyValue::Name(part.class.as_str().into()),
        }
    }

    /// There is nothing to pay, and that is known.
    fn used_nothing(&self) -> bool {
        self.parts.is_empty() && !self.event.is_unknown()
    }

    fn contradicted(&self) -> bool {
        self.contradicted || self.event.usage.tokens.output_reasoning > self.event.usage.tokens.output
    }

    fn add<'s>(
        &self,
        sums: &mut ReportSums,
        shares: impl Iterator<Item = &'s Share>,
    ) -> Result<(), SumOverflow> {
        for share in shares {
            sums.add_part(&share.part, self.event)?;
            match share.cost {
                PartCost::NotAsked | PartCost::Shared(_) => {}
                PartCost::Unpriced => sums.unpriced_calls = self.event.calls,
                PartCost::Priced(cost) => sums.charge(cost),
            }
        }
        Ok(())
    }
}

/// Adds up the weights of parts in a fixed cost.
fn weight<'s>(shares: impl Iterator<Item = &'s Share>) -> Option<u128> {
    let weights = shares.filter_map(|share| match share.cost {
        PartCost::Shared(weight) => Some(weight),
        _ => None,
    });
    weights.reduce(u128::saturating_add)
}

#[cfg(test)]
mod tests {
    use metering::usage::{Quality, StoredEvent};
    use proptest::prelude::*;
    use serde_json::{Map, Value, json};

    use super::*;

    const QUALITIES: [Quality; 3] = [Quality::Exact, Quality::LowerBound, Quality::Estimated];

    fn event(tokens: &Value, units: &Value, tools: &Value, qualities: [&str; 2]) -> UsageEvent {
        let body = json!({
            "specversion": "1.0", "id": "019a0000-0000-7000-8000-000000000000", "source": "//tokenweir/x",
            "type": "dev.tokenweir.usage.v1", "time": "2026-11-22T00:00:00Z", "subject": "a", "partitionkey": "a",
            "data": {
                "caller": {"id": "a"}, "target": {}, "tokens": tokens, "units": units, "tools": tools,
                "accounting": {"input_quality": qualities[0], "output_quality": qualities[1]},
                "stream": {"outcome": "complete"}, "reporter": {"instance": "b", "version": "1"}
            }
        });
        let body = body.to_string();
        let stored = StoredEvent::read(&body).unwrap();
        UsageEvent::of(&stored, stored.data().unwrap()).unwrap().unwrap()
    }

    fn column(sums: &ReportSums, name: &str) -> u64 {
        sums.get(name).unwrap()
    }

    #[test]
    fn parts_that_are_more_than_their_whole_are_cut_and_told() {
        let tokens = json!({"input": 10, "input_cached": 30, "output": 5, "output_reasoning": 9});
        let event = event(&tokens, &json!({}), &json!([]), ["exact", "exact"]);
        let whole = Shares::without_cost(&event).whole().unwrap();
        let columns = ["input", "input_cached", "output", "output_reasoning", "contradicted_calls"];
        assert_eq!(columns.map(|name| column(&whole, name)), [10, 10, 5, 5, 1]);
    }

    #[test]
    fn a_call_is_in_the_row_of_each_class_and_none_is_lost() {
        let classes = |tokens: Value, quality: &str| -> Vec<(String, u64, u64)> {
            let event = event(&tokens, &json!({}), &json!([]), ["exact", quality]);
            let found = Shares::without_cost(&event).by_part(&[GroupBy::Class]).unwrap();
            let row = |PartGroup { values, sums, .. }: PartGroup| {
                let class = values[0].label(Into::into).into_owned();
                (class, column(&sums, "calls"), column(&sums, "unknown_calls"))
            };
            found.into_iter().map(row).collect()
        };
        let row = |class: &str, unknown| (class.to_owned(), 1, unknown);
        assert_eq!(
            classes(json!({"input": 10, "input_cached": 4, "output": null}), "unknown"),
            [row("input_uncached", 0), row("input_cached", 0), row("(not known)", 1)]
        );
        assert_eq!(classes(json!({"input": 0, "output": 0}), "exact"), [row("(nothing used)", 0)]);
    }

    fn number() -> impl Strategy<Value = Value> {
        prop_oneof![Just(Value::Null), (0..50_u64).prop_map(Value::from)]
    }

    fn members(names: &'static [&'static str]) -> impl Strategy<Value = Value> {
        prop::collection::vec(number(), names.len()).prop_map(|numbers| {
            let named = names.iter().map(|name| (*name).to_owned()).zip(numbers);
            Value::Object(named.collect::<Map<_, _>>())
        })
    }

    proptest! {
        /// Told by class, each number adds up to what it is as a whole, whatever an event says; but the calls are in the
        /// row of each class.
        #[test]
        fn classes_add_up_to_the_whole(
            tokens in members(&["input", "output", "input_cached", "input_cached_audio", "input_cached_image",
                "input_cache_write", "input_cache_write_long", "input_audio", "input_image", "output_reasoning",
                "output_audio", "output_image"]),
            units in members(&["audio_ms", "images", "pages", "web_searches"]),
            tool in members(&["input", "output", "input_image", "input_cached", "output_image"]),
            qualities in prop::array::uniform2(prop::sample::select(&QUALITIES)),
        ) {
            let mut tool = tool;
            tool["tool"] = "image_generation".into();
            let event = event(&tokens, &units, &json!([tool]), qualities.map(Quality::as_str));
            let shares = Shares::without_cost(&event);
            let (whole, classes) = (shares.whole().unwrap(), shares.by_part(&[GroupBy::Class]).unwrap());
            for name in ReportSums::columns().filter(|name| !["calls", "contradicted_calls"].contains(name)) {
                let sum: u64 = classes.iter().map(|class| column(&class.sums, name)).sum();
                prop_assert_eq!(sum, column(&whole, name), "{}", name);
            }
            prop_assert!(classes.iter().all(|class| column(&class.sums, "calls") == 1));
            prop_assert!(!classes.is_empty() && column(&whole, "calls") == 1);
            let told = ["exact_tokens", "lower_bound_tokens", "estimated_tokens"].map(|name| column(&whole, name));
            prop_assert_eq!(told.iter().sum::<u64>(), column(&whole, "input") + column(&whole, "output"));
            for (part, of) in [("input_cached", "input"), ("output_reasoning", "output")] {
                prop_assert!(column(&whole, part) <= column(&whole, of));
            }
            for (name, of) in [("input", "input"), ("output", "output")] {
                prop_assert_eq!(column(&whole, name), tokens[of].as_u64().unwrap_or(0));
            }
        }
    }
}
