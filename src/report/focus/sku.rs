//! A SKU says what is sold, and in which units.

use crate::report::pricing::PriceClass;

/// Tokens that a price is of.
pub(super) const TOKENS_PER_PRICE: u32 = 1_000_000;

/// The meter of capacity that was paid for and not used.
pub(super) const IDLE_METER: &str = "Provisioned Throughput Not Used";

/// A thing that is sold, in the words of FOCUS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct SkuKind {
    /// `SkuMeter`
    pub(super) meter: &'static str,
    /// `ConsumedUnit`
    pub(super) unit: &'static str,
    /// `Input`, `CacheRead`, `CacheWrite` or `Output`; units that are no tokens have none.
    pub(super) token_type: Option<&'static str>,
    pub(super) direction: &'static str,
    pub(super) modality: &'static str,
}

impl SkuKind {
    pub(super) fn of(class: PriceClass) -> SkuKind {
        use PriceClass as P;
        let tokens = |meter, token_type, direction, modality| SkuKind {
            meter,
            unit: "Tokens",
            token_type: Some(token_type),
            direction,
            modality,
        };
        let units =
            |meter, unit, direction, modality| SkuKind { meter, unit, token_type: None, direction, modality };
        match class {
            P::InputUncached => tokens("Input Tokens", "Input", "Input", "Text"),
            P::InputCached => tokens("Cache Read Input Tokens", "CacheRead", "Input", "Text"),
            P::InputCachedAudio => tokens("Cache Read Audio Input Tokens", "CacheRead", "Input", "Audio"),
            P::InputCachedImage => tokens("Cache Read Image Input Tokens", "CacheRead", "Input", "Image"),
            P::InputCacheWrite => tokens("Cache Write Input Tokens", "CacheWrite", "Input", "Text"),
            P::InputCacheWriteLong => tokens("Long Cache Write Input Tokens", "CacheWrite", "Input", "Text"),
            P::InputAudio => tokens("Audio Input Tokens", "Input", "Input", "Audio"),
            P::InputImage => tokens("Image Input Tokens", "Input", "Input", "Image"),
            P::OutputText => tokens("Output Tokens", "Output", "Output", "Text"),
            P::OutputAudio => tokens("Audio Output Tokens", "Output", "Output", "Audio"),
            P::OutputImage => tokens("Image Output Tokens", "Output", "Output", "Image"),
            P::AudioMs => units("Audio Heard", "Milliseconds", "Input", "Audio"),
            P::VideoMs => units("Video Made", "Milliseconds", "Output", "Video"),
            P::Images => units("Images", "Images", "Output", "Image"),
            P::Characters => units("Characters Spoken", "Characters", "Input", "Text"),
            P::Pages => units("Pages Read", "Pages", "Input", "Text"),
            P::SearchUnits => units("Reranker Searches", "Searches", "Input", "Text"),
            P::WebSearches => units("Web Searches", "Searches", "Input", "Text"),
            P::WebFetches => units("Web Fetches", "Fetches", "Input", "Text"),
        }
    }
}
