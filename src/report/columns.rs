//! The columns of numbers.

use super::pricing::{BilledPart, PriceClass};
use super::usage_event::UsageEvent;
use metering::usage::{Quality, Side, TokenClass, Unit};

/// A column of numbers. Unknown numbers add nothing; `unknown_calls` says for how many calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Column {
    Calls,
    Tokens(TokenClass),
    /// Tokens of this quality.
    Of(Quality),
    UnknownCalls,
    /// Input tokens written to a cache.
    CacheWrite,
    /// Tokens of audio.
    Audio(Side),
    /// Tokens of images.
    Image(Side),
    /// Tokens of other models that tools used inside the calls.
    Tools(Side),
    /// Calls whose numbers contradict each other: parts that are more than their whole, and are cut to it.
    ContradictedCalls,
    /// Units that are billed otherwise than by tokens.
    Units(Unit),
}

pub(super) const COLUMNS: [Column; 25] = [
    Column::Calls,
    Column::Tokens(TokenClass::Input),
    Column::Tokens(TokenClass::InputCached),
    Column::Tokens(TokenClass::Output),
    Column::Tokens(TokenClass::OutputReasoning),
    Column::Of(Quality::Exact),
    Column::Of(Quality::LowerBound),
    Column::Of(Quality::Estimated),
    Column::UnknownCalls,
    Column::CacheWrite,
    Column::Audio(Side::Input),
    Column::Image(Side::Input),
    Column::Audio(Side::Output),
    Column::Image(Side::Output),
    Column::Tools(Side::Input),
    Column::Tools(Side::Output),
    Column::ContradictedCalls,
    Column::Units(Unit::AudioMs),
    Column::Units(Unit::VideoMs),
    Column::Units(Unit::Images),
    Column::Units(Unit::Characters),
    Column::Units(Unit::Pages),
    Column::Units(Unit::SearchUnits),
    Column::Units(Unit::WebSearches),
    Column::Units(Unit::WebFetches),
];

/// Every column with what it says, for the documents.
pub fn columns_markdown() -> String {
    let rows = COLUMNS.map(|column| format!("| `{}` | {} |\n", column.name(), column.about()));
    format!("| column | what it says |\n|---|---|\n{}", rows.concat())
}

impl Column {
    pub(super) fn name(self) -> &'static str {
        match self {
            Column::Calls => "calls",
            Column::Tokens(class) => class.as_str(),
            Column::Of(Quality::Exact) => "exact_tokens",
            Column::Of(Quality::LowerBound) => "lower_bound_tokens",
            Column::Of(Quality::Estimated) => "estimated_tokens",
            Column::Of(Quality::Unknown) => "unknown_tokens",
            Column::UnknownCalls => "unknown_calls",
            Column::CacheWrite => "input_cache_write",
            Column::Audio(Side::Input) => "input_audio",
            Column::Audio(Side::Output) => "output_audio",
            Column::Image(Side::Input) => "input_image",
            Column::Image(Side::Output) => "output_image",
            Column::Tools(Side::Input) => "tool_input",
            Column::Tools(Side::Output) => "tool_output",
            Column::ContradictedCalls => "contradicted_calls",
            Column::Units(unit) => unit.as_str(),
        }
    }

    /// Says for people what the column holds.
    pub(super) fn about(self) -> &'static str {
        match self {
            Column::Calls => {
                "Calls to a model. By class: calls that used some of it, so a call has a place in several rows."
            }
            Column::Tokens(TokenClass::Input) => "All prompt tokens.",
            Column::Tokens(TokenClass::InputCached) => "The part of `input` that was read from a cache.",
            Column::Tokens(TokenClass::Output) => "All completion tokens.",
            Column::Tokens(TokenClass::OutputReasoning) => "The part of `output` that is hidden reasoning.",
            Column::Of(Quality::Exact) => "Tokens of `input` and `output` whose number is exact.",
            Column::Of(Quality::LowerBound) => "Tokens of a number that is not less than this.",
            Column::Of(Quality::Estimated) => "Tokens of a number that is estimated.",
            Column::Of(Quality::Unknown) => "Tokens of an unknown number.",
            Column::UnknownCalls => "Calls of which a number is not known; it adds nothing to the tokens.",
            Column::CacheWrite => "The part of `input` that was written to a cache.",
            Column::Audio(Side::Input) => "The part of `input` that is audio.",
            Column::Audio(Side::Output) => "The part of `output` that is audio.",
            Column::Image(Side::Input) => "The part of `input` that is images.",
            Column::Image(Side::Output) => "The part of `output` that is images.",
            Column::Tools(Side::Input) => {
                "Prompt tokens of other models that tools used inside the calls; no part of `input`."
            }
            Column::Tools(Side::Output) => "Completion tokens of such models; no part of `output`.",
            Column::ContradictedCalls => {
                "Calls that report more of a part than there is of the whole. The part is cut."
            }
            Column::Units(Unit::AudioMs) => "Milliseconds of audio that was heard.",
            Column::Units(Unit::VideoMs) => "Milliseconds of video that was made.",
            Column::Units(Unit::Images) => "Images that were read or made.",
            Column::Units(Unit::Characters) => "Characters of text that was spoken.",
            Column::Units(Unit::Pages) => "Pages that were read.",
            Column::Units(Unit::SearchUnits) => "Searches of a reranker.",
            Column::Units(Unit::WebSearches) => "Searches of the web by hosted tools.",
            Column::Units(Unit::WebFetches) => "Pages that hosted tools fetched from the web.",
        }
    }

    /// How much of a part of an event the column shows: so every column is the same, whether an event is told as a
    /// whole or by its classes. Columns of calls show none of it.
    pub(super) fn of_part(self, part: &BilledPart, event: &UsageEvent) -> u64 {
        use PriceClass as P;
        let (class, quantity, own) = (part.class, part.quantity, part.tool.is_none());
        let side = class.side();
        let shown = match self {
            Column::Tokens(TokenClass::Input) => own && side == Some(Side::Input),
            Column::Tokens(TokenClass::Output) => own && side == Some(Side::Output),
            Column::Tokens(TokenClass::InputCached) => {
                own && matches!(class, P::InputCached | P::InputCachedAudio | P::InputCachedImage)
            }
            Column::Tokens(TokenClass::OutputReasoning) => {
                let reasoning = event.usage.tokens.output_reasoning.unwrap_or(0);
                return if own && class == P::OutputText { reasoning.min(quantity) } else { 0 };
            }
            Column::Of(quality) => own && side.is_some_and(|side| event.quality(side) == quality),
            Column::CacheWrite => own && matches!(class, P::InputCacheWrite | P::InputCacheWriteLong),
            Column::Audio(Side::Input) => own && matches!(class, P::InputAudio | P::InputCachedAudio),
            Column::Audio(Side::Output) => own && class == P::OutputAudio,
            Column::Image(Side::Input) => own && matches!(class, P::InputImage | P::InputCachedImage),
            Column::Image(Side::Output) => own && class == P::OutputImage,
            Column::Tools(wanted) => !own && side == Some(wanted),
            Column::Units(unit) => class.unit() == Some(unit),
            Column::Calls | Column::UnknownCalls | Column::ContradictedCalls => false,
        };
        if shown { quantity } else { 0 }
    }
}
