//! The numbers of a call: its tokens, those of other models inside it, and units that are billed otherwise.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use smol_str::SmolStr;
use strum::{IntoStaticStr, VariantArray};

use super::vocabulary::Side;

/// The numbers to charge by: what the service reported where it did, else what was computed.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
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

impl Tokens {
    /// The numbers to add to sums, in which an unknown number counts as 0.
    pub fn totals(&self) -> TokenTotals {
        TokenTotals { input: self.input.unwrap_or(0), output: self.output.unwrap_or(0) }
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
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
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
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ToolTokens {
    /// `image_generation` or `svg`.
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
    /// Adds what the same tool used with the same model again. A number that one of
    /// them lacks is not known of both.
    pub fn add(&mut self, again: &ToolTokens) {
        for (sum, more) in [
            (&mut self.input, again.input),
            (&mut self.output, again.output),
            (&mut self.input_text, again.input_text),
            (&mut self.input_image, again.input_image),
            (&mut self.input_cached, again.input_cached),
            (&mut self.output_text, again.output_text),
            (&mut self.output_image, again.output_image),
        ] {
            *sum = sum.zip(more).map(|(sum, more)| sum + more);
        }
    }
}

/// Units that are billed otherwise than by tokens. `None`: not known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Units {
    /// Milliseconds of audio that was heard.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub audio_ms: Option<u64>,
    /// Images that were read or made.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub images: Option<u64>,
    /// Pages that were read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pages: Option<u64>,
    /// Searches of a reranker.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub search_units: Option<u64>,
    /// Searches of the web by a hosted tool.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub web_searches: Option<u64>,
}

impl Units {
    /// Nothing is known.
    pub fn is_empty(&self) -> bool {
        *self == Units::default()
    }
}
