//! Collects what has no price, by model and class.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use super::billed_parts::{BilledPart, PriceClass};
use metering::names;

/// Models that are told; clients make up names, and these must not fill the memory.
const MODELS_MAX: usize = 10_000;

/// Stands for the models beyond that.
const MORE_MODELS: &str = "more models";

/// Stands for the model of calls, or of tools, that name none.
const NO_MODEL: &str = "calls that name no model";

/// Models and classes that have no price.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Unpriced {
    models: BTreeMap<String, UnpricedModel>,
}

/// The classes of one model that have no price.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UnpricedModel {
    /// Calls with a part that has no price.
    pub calls: u64,
    /// Tokens or units that have none, by class.
    pub quantities: BTreeMap<PriceClass, u64>,
}

impl Unpriced {
    /// Everything has a price.
    pub fn is_empty(&self) -> bool {
        self.models.is_empty()
    }

    /// By model.
    pub fn models(&self) -> impl Iterator<Item = (&str, &UnpricedModel)> {
        self.models.iter().map(|(model, found)| (model.as_str(), found))
    }

    /// Adds the parts of an event that have no price; `model` is that of the calls.
    pub(crate) fn add<'a>(
        &mut self,
        model: &'a str,
        calls: u64,
        parts: impl Iterator<Item = &'a BilledPart>,
    ) {
        let mut counted: Vec<&str> = Vec::new();
        for part in parts {
            let of_part =
                part.tool.as_ref().map_or(model, |(_, of_tool)| of_tool.as_deref().unwrap_or_default());
            let of_part = if of_part.is_empty() { NO_MODEL } else { of_part };
            let found = self.model(of_part);
            let quantity = found.quantities.entry(part.class).or_default();
            *quantity = quantity.saturating_add(part.quantity);
            if !counted.contains(&of_part) {
                found.calls = found.calls.saturating_add(calls);
                counted.push(of_part);
            }
        }
    }

    fn model(&mut self, name: &str) -> &mut UnpricedModel {
        let is_known = self.models.contains_key(name);
        let name = if is_known || self.models.len() < MODELS_MAX { name } else { MORE_MODELS };
        self.models.entry(name.to_owned()).or_default()
    }

    /// The models, most calls first, for people; `None` if everything has a price.
    pub(crate) fn text(&self) -> Option<String> {
        const NAMED_MAX: usize = 10;
        let mut models: Vec<_> = self.models().collect();
        models.sort_by_key(|(_, found)| Reverse(found.calls));
        let named: Vec<String> =
            models.iter().take(NAMED_MAX).map(|(model, found)| found.text(model)).collect();
        let more = models.len().saturating_sub(NAMED_MAX) as u64;
        let more = if more > 0 { format!(" and {}", plural(more, "more model")) } else { String::new() };
        (!models.is_empty())
            .then(|| format!("no price for {}{more}: the total is incomplete", named.join(", ")))
    }
}

impl UnpricedModel {
    /// `m (3 calls: input_audio)`
    fn text(&self, model: &str) -> String {
        let classes: Vec<&str> = self.quantities.keys().map(|class| class.as_str()).collect();
        format!("{} ({}: {})", names::shown(model), plural(self.calls, "call"), classes.join(", "))
    }
}

fn plural(count: u64, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_clients_make_up_do_not_fill_the_memory() {
        let mut unpriced = Unpriced::default();
        let part = BilledPart { class: PriceClass::OutputText, tool: None, quantity: 2 };
        for model in 0..MODELS_MAX + 50 {
            unpriced.add(&model.to_string(), 3, [&part, &part].into_iter());
        }
        unpriced.add("0", 3, [&part].into_iter());
        assert_eq!(unpriced.models().count(), MODELS_MAX + 1);
        let more = unpriced.models.get(MORE_MODELS).unwrap();
        assert_eq!((more.calls, more.quantities[&PriceClass::OutputText]), (150, 200));
        assert_eq!(unpriced.models.get("0").unwrap().calls, 6);
        let text = unpriced.text().unwrap();
        assert!(
            text.starts_with("no price for more models (150 calls: output_text), 0 (6 calls: output_text), "),
            "{text}"
        );
    }
}
