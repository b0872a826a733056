//! The numbers of a call: its tokens, those of other models inside it, and units that are billed otherwise.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use smol_str::SmolStr;
use strum::{IntoStaticStr, VariantArray};

use super::vocabulary::Side;

/// The numbers to charge by: what the service reported where it did, else what was computed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Tokens {
    /// All prompt tokens, cached ones included.
    pub input: Option<u64>,
    /// All completion tokens, reasoning included.
    pub output: Option<u64>,
    /// The service's own total, as reported.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub total: Option<u64>,
    /// Part of `input` read from the cache.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub input_cached: Option<u64>,
    /// Part of `input_cached` that is text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub input_cached_text: Option<u64>,
    /// Part of `input_cached` that is audio.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub input_cached_audio: Option<u64>,
    /// Part of `input_cached` that is image.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub input_cached_image: Option<u64>,
    /// Part of `input` written to the cache.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub input_cache_write: Option<u64>,
    /// Part of `input_cache_write` that is kept longer, and dearer.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub input_cache_write_long: Option<u64>,
    /// Part of `input` that is audio.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub input_audio: Option<u64>,
    /// Part of `input` that is image.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub input_image: Option<u64>,
    /// Part of `input` that is text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub input_text: Option<u64>,
    /// Part of `output` that is hidden reasoning.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output_reasoning: Option<u64>,
    /// Part of `output` that is audio.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output_audio: Option<u64>,
    /// Part of `output` that is image.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output_image: Option<u64>,
    /// Part of `output` that is text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output_text: Option<u64>,
    /// Part of `output`: predicted tokens that were used.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output_prediction_accepted: Option<u64>,
    /// Part of `output`: predicted tokens that were not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output_prediction_rejected: Option<u64>,
    /// Tokens of the usage that have no field here, by the names on the way to them: `details.key`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub other: BTreeMap<String, u64>,
}

/// Names of [`Tokens::other`] that a sum of calls keeps, as many as a call's own: those first in their order.
const OTHER_MAX: usize = 16;

/// Adds in a sum of calls, where an unknown number counts as 0; beyond 64 bits it stays at its largest.
fn add_known(sum: &mut Option<u64>, more: Option<u64>) {
    if let Some(more) = more {
        *sum = Some(sum.unwrap_or(0).saturating_add(more));
    }
}

impl Tokens {
    /// The numbers to add to sums, in which an unknown number counts as 0.
    pub fn totals(&self) -> TokenTotals {
        TokenTotals { input: self.input.unwrap_or(0), output: self.output.unwrap_or(0) }
    }

    /// Adds those of another call, class by class.
    pub fn add(&mut self, more: &Tokens) {
        for (sum, more) in [
            (&mut self.input, more.input),
            (&mut self.output, more.output),
            (&mut self.total, more.total),
            (&mut self.input_cached, more.input_cached),
            (&mut self.input_cached_text, more.input_cached_text),
            (&mut self.input_cached_audio, more.input_cached_audio),
            (&mut self.input_cached_image, more.input_cached_image),
            (&mut self.input_cache_write, more.input_cache_write),
            (&mut self.input_cache_write_long, more.input_cache_write_long),
            (&mut self.input_audio, more.input_audio),
            (&mut self.input_image, more.input_image),
            (&mut self.input_text, more.input_text),
            (&mut self.output_reasoning, more.output_reasoning),
            (&mut self.output_audio, more.output_audio),
            (&mut self.output_image, more.output_image),
            (&mut self.output_text, more.output_text),
            (&mut self.output_prediction_accepted, more.output_prediction_accepted),
            (&mut self.output_prediction_rejected, more.output_prediction_rejected),
        ] {
            add_known(sum, more);
        }
        for (name, tokens) in &more.other {
            let sum = self.other.entry(name.clone()).or_default();
            *sum = sum.saturating_add(*tokens);
        }
        while self.other.len() > OTHER_MAX {
            self.other.pop_last();
        }
    }
}

/// A class of tokens, by the name of its number in [`Tokens`]: those that metrics and reports show.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum TokenClass {
    /// All prompt tokens.
    Input,
    /// Prompt tokens read from the cache.
    InputCached,
    /// All completion tokens.
    Output,
    /// Completion tokens of hidden reasoning.
    OutputReasoning,
}

impl TokenClass {
    /// The name that stands in events, metrics and reports.
    pub fn as_str(self) -> &'static str {
        self.into()
    }

    /// The tokens of this class, where they are known.
    pub fn of(self, tokens: &Tokens) -> Option<u64> {
        match self {
            TokenClass::Input => tokens.input,
            TokenClass::InputCached => tokens.input_cached,
            TokenClass::Output => tokens.output,
            TokenClass::OutputReasoning => tokens.output_reasoning,
        }
    }

    /// The number of the call that the class is part of.
    pub fn side(self) -> Side {
        match self {
            TokenClass::Input | TokenClass::InputCached => Side::Input,
            TokenClass::Output | TokenClass::OutputReasoning => Side::Output,
        }
    }
}

/// Sums of tokens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct TokenTotals {
    /// Prompt tokens.
    pub input: u64,
    /// Completion tokens.
    pub output: u64,
}

impl TokenTotals {
    /// Adds others; sums beyond what 64 bits hold stay at their largest.
    pub fn add(&mut self, more: TokenTotals) {
        self.input = self.input.saturating_add(more.input);
        self.output = self.output.saturating_add(more.output);
    }
}

/// Tokens of another model that a tool used inside the call. `None`: not said.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ToolTokens {
    /// `image_generation`, `svg` or `advisor`.
    pub tool: SmolStr,
    /// The model, where the service names it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<SmolStr>,
    /// All prompt tokens.
    pub input: Option<u64>,
    /// All tokens that were made.
    pub output: Option<u64>,
    /// Part of `input` that is text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub input_text: Option<u64>,
    /// Part of `input` that is image.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub input_image: Option<u64>,
    /// Part of `input` read from the cache.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub input_cached: Option<u64>,
    /// Part of `output` that is text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output_text: Option<u64>,
    /// Part of `output` that is image.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub output_image: Option<u64>,
}

impl ToolTokens {
    /// Adds those of another call, as [`Tokens::add`] does.
    pub fn add_call(&mut self, more: &ToolTokens) {
        for (sum, more) in self.numbers_with(more) {
            add_known(sum, more);
        }
    }

    /// Adds what the same tool used with the same model again. A number that one of
    /// them lacks is not known of both.
    pub fn add(&mut self, again: &ToolTokens) {
        for (sum, more) in self.numbers_with(again) {
            *sum = sum.zip(more).map(|(sum, more)| sum + more);
        }
    }

    /// Each number, with that of another.
    fn numbers_with(&mut self, other: &ToolTokens) -> [(&mut Option<u64>, Option<u64>); 7] {
        [
            (&mut self.input, other.input),
            (&mut self.output, other.output),
            (&mut self.input_text, other.input_text),
            (&mut self.input_image, other.input_image),
            (&mut self.input_cached, other.input_cached),
            (&mut self.output_text, other.output_text),
            (&mut self.output_image, other.output_image),
        ]
    }
}

/// Units that are billed otherwise than by tokens. `None`: not known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(default)]
pub struct Units {
    /// Milliseconds of audio that was heard.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub audio_ms: Option<u64>,
    /// Milliseconds of video that was made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub video_ms: Option<u64>,
    /// Images that were read or made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub images: Option<u64>,
    /// Unicode scalar values of the text that was spoken.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub characters: Option<u64>,
    /// Pages that were read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pages: Option<u64>,
    /// Searches of a reranker.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub search_units: Option<u64>,
    /// Searches of the web by a hosted tool.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub web_searches: Option<u64>,
    /// Pages that a hosted tool fetched from the web.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub web_fetches: Option<u64>,
}

impl Units {
    /// Nothing is known.
    pub fn is_empty(&self) -> bool {
        *self == Units::default()
    }

    /// Adds others, as in sums: an unknown number counts as 0, and sums beyond what 64 bits hold stay at their
    /// largest.
    pub fn add(&mut self, more: &Units) {
        for unit in Unit::VARIANTS {
            if let Some(more) = unit.of(more) {
                let sum = unit.slot(self);
                *sum = Some(sum.unwrap_or(0).saturating_add(more));
            }
        }
    }
}

/// A unit, by the name of its number in [`Units`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum Unit {
    /// Milliseconds of audio.
    AudioMs,
    /// Milliseconds of video.
    VideoMs,
    /// Images.
    Images,
    /// Characters of a text.
    Characters,
    /// Pages.
    Pages,
    /// Searches of a reranker.
    SearchUnits,
    /// Searches of the web.
    WebSearches,
    /// Pages fetched from the web.
    WebFetches,
}

impl Unit {
    /// The name that stands in events, metrics and reports.
    pub fn as_str(self) -> &'static str {
        self.into()
    }

    /// The number of this unit, where it is known.
    pub fn of(self, units: &Units) -> Option<u64> {
        let mut units = *units;
        *self.slot(&mut units)
    }

    fn slot(self, units: &mut Units) -> &mut Option<u64> {
        match self {
            Unit::AudioMs => &mut units.audio_ms,
            Unit::VideoMs => &mut units.video_ms,
            Unit::Images => &mut units.images,
            Unit::Characters => &mut units.characters,
            Unit::Pages => &mut units.pages,
            Unit::SearchUnits => &mut units.search_units,
            Unit::WebSearches => &mut units.web_searches,
            Unit::WebFetches => &mut units.web_fetches,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each member of a struct of numbers is set in turn, by its name.
    fn adds<T: serde::de::DeserializeOwned + Serialize>(whole: &T, add: impl Fn(&mut T, &T)) {
        let whole = serde_json::to_value(whole).unwrap();
        for (name, number) in whole.as_object().unwrap().iter().filter(|(_, value)| value.is_u64()) {
            let mut base = whole.clone();
            let members = base.as_object_mut().unwrap();
            members
                .iter_mut()
                .filter(|(_, value)| value.is_u64())
                .for_each(|(_, value)| *value = serde_json::Value::Null);
            let nothing = base.clone();
            base[name] = number.clone();
            let one: T = serde_json::from_value(base).unwrap();
            let mut sum: T = serde_json::from_value(nothing).unwrap();
            add(&mut sum, &one);
            add(&mut sum, &one);
            let sum = serde_json::to_value(&sum).unwrap();
            assert_eq!(sum[name].as_u64(), Some(2 * number.as_u64().unwrap()), "{name}");
            let others = sum.as_object().unwrap().iter().filter(|(other, _)| *other != name);
            assert!(others.into_iter().all(|(_, value)| !value.is_u64()), "{name}: {sum}");
        }
    }

    #[test]
    fn each_class_is_summed_under_its_own_name() {
        let one = Some(7);
        let tokens = Tokens {
            input: one,
            output: one,
            total: one,
            input_cached: one,
            input_cached_text: one,
            input_cached_audio: one,
            input_cached_image: one,
            input_cache_write: one,
            input_cache_write_long: one,
            input_audio: one,
            input_image: one,
            input_text: one,
            output_reasoning: one,
            output_audio: one,
            output_image: one,
            output_text: one,
            output_prediction_accepted: one,
            output_prediction_rejected: one,
            other: BTreeMap::new(),
        };
        adds(&tokens, Tokens::add);
        let tool = ToolTokens {
            tool: "svg".into(),
            model: None,
            input: one,
            output: one,
            input_text: one,
            input_image: one,
            input_cached: one,
            output_text: one,
            output_image: one,
        };
        adds(&tool, ToolTokens::add_call);
        let other = |name: String| Tokens { other: BTreeMap::from([(name, 3)]), ..Tokens::default() };
        let mut sum = Tokens::default();
        for n in (0..2 * OTHER_MAX).chain(0..OTHER_MAX) {
            sum.add(&other(format!("{n:02}")));
        }
        assert_eq!((sum.other.len(), sum.other["00"]), (OTHER_MAX, 6));
        sum.other.insert("00".to_owned(), u64::MAX);
        sum.add(&other("00".to_owned()));
        assert_eq!(sum.other["00"], u64::MAX);
    }

    #[test]
    fn each_unit_has_its_own_number_under_its_own_name() {
        let mut sums = Units::default();
        for (n, unit) in (1..).zip(Unit::VARIANTS) {
            let one: Units = serde_json::from_value(serde_json::json!({ unit.as_str(): n })).unwrap();
            assert_eq!(unit.of(&one), Some(n), "{unit:?}");
            sums.add(&one);
            sums.add(&one);
            assert_eq!(unit.of(&sums), Some(2 * n));
            *unit.slot(&mut sums) = Some(u64::MAX - 1);
            sums.add(&one);
            assert_eq!(unit.of(&sums), Some(u64::MAX));
        }
        let before = sums;
        sums.add(&Units::default());
        assert_eq!(sums, before);
    }
}
