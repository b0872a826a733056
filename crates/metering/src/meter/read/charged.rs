//! Costs of a response beside its own tokens: the tokens of hosted tools, and units that are counted otherwise.

use super::label::label;
use crate::chunk::{BilledUnits, Charges, Reported, ToolCharge, ToolName};
use crate::usage::{ToolTokens, Units};

/// Entries of the event's `tools`.
const TOOLS_MAX: usize = 8;

/// Tools of one response that are told apart; as many as a response can have items.
const CHARGES_MAX: usize = 256;

/// The costs that have been named so far: a response names the same again and again, and its last word stands.
#[derive(Clone, Debug, Default)]
pub(crate) struct Charged {
    said: Option<Box<ChargesSaid>>,
}

#[derive(Clone, Debug, Default)]
struct ChargesSaid {
    tools: Vec<ToolChargeSaid>,
    units: BilledUnits,
}

#[derive(Clone, Debug)]
struct ToolChargeSaid {
    /// The item that says so, where it is one.
    item: Option<u64>,
    charge: ToolCharge,
}

impl Charged {
    /// The next word. `item`: the place of the item that says it, where it is one.
    pub(crate) fn add(&mut self, charges: &Charges, item: u64) {
        let units = charges.units();
        let mut tools = charges.tools().peekable();
        if tools.peek().is_none() && units == BilledUnits::default() {
            return;
        }
        let said = self.said.get_or_insert_default();
        for charge in tools {
            let item = Some(item).filter(|_| charge.tool == ToolName::Svg);
            let known =
                said.tools.iter().position(|said| (said.item, said.charge.tool) == (item, charge.tool));
            match known {
                Some(known) => said.tools[known].charge = charge,
                None if said.tools.len() < CHARGES_MAX => said.tools.push(ToolChargeSaid { item, charge }),
                None => {}
            }
        }
        let before = said.units;
        said.units = BilledUnits {
            audio_ms: units.audio_ms.or(before.audio_ms),
            images: units.images.or(before.images),
            pages: units.pages.or(before.pages),
            search_units: units.search_units.or(before.search_units),
            web_searches: units.web_searches.or(before.web_searches),
            web_fetches: units.web_fetches.or(before.web_fetches),
        };
    }

    /// All of its costs as they are by now, in place of those that were said before.
    pub(super) fn replace(&mut self, tools: impl Iterator<Item = ToolCharge>, units: BilledUnits) {
        let tools: Vec<_> =
            tools.zip(0..).map(|(charge, place)| ToolChargeSaid { item: Some(place), charge }).collect();
        let is_some = !tools.is_empty() || units != BilledUnits::default();
        self.said = is_some.then(|| Box::new(ChargesSaid { tools, units }));
    }

    /// The event's `tools`: what each used with each of its models.
    pub(crate) fn tools(&self) -> Vec<ToolTokens> {
        let mut tools: Vec<ToolTokens> = Vec::new();
        let mut charges: Vec<_> = self.said.iter().flat_map(|said| &said.tools).collect();
        // The same order, whichever was said first.
        charges.sort_by_key(|said| (said.charge.tool, said.item));
        for said in charges {
            let one = tool_tokens(&said.charge);
            match tools.iter().position(|tool| tool.tool == one.tool && tool.model == one.model) {
                Some(same) => tools[same].add(&one),
                None if tools.len() < TOOLS_MAX => tools.push(one),
                None => {}
            }
        }
        tools
    }

    /// The event's `units`. `whole`: the response was seen to its end; before, 0 is no last word.
    pub(crate) fn units(&self, whole: bool) -> Units {
        let Some(said) = &self.said else { return Units::default() };
        let final_word = |number: Option<u64>| number.filter(|number| *number > 0 || whole);
        Units {
            audio_ms: final_word(said.units.audio_ms),
            video_ms: None,
            characters: None,
            images: final_word(said.units.images),
            pages: final_word(said.units.pages),
            search_units: final_word(said.units.search_units),
            web_searches: final_word(said.units.web_searches),
            web_fetches: final_word(said.units.web_fetches),
        }
    }

    /// The service says what it bills in place of tokens.
    pub(crate) fn is_told_in_units(&self) -> bool {
        let Some(BilledUnits { audio_ms, images, pages, search_units, .. }) =
            self.said.as_ref().map(|said| said.units)
        else {
            return false;
        };
        [audio_ms, images, pages, search_units].iter().any(Option::is_some)
    }
}

fn tool_tokens(charge: &ToolCharge) -> ToolTokens {
    let Reported { input, output, .. } = charge.usage;
    let usage = &charge.usage;
    ToolTokens {
        tool: match charge.tool {
            ToolName::ImageGeneration => "image_generation",
            ToolName::Svg => "svg",
            ToolName::Advisor => "advisor",
        }
        .into(),
        model: charge.model.as_deref().and_then(label),
        input,
        output,
        input_text: usage.input_text,
        input_image: usage.input_image,
        input_cached: usage.input_cached,
        output_text: usage.output_text,
        output_image: usage.output_image,
    }
}
