//! A measure is counted on both sides; Azure Monitor has names of its own for it.

use metering::usage::{Quality, TokenClass, Unit};

use crate::report::pricing::PriceClass;
use crate::report::usage_event::UsageEvent;

/// A number that Azure has as well.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Measure {
    /// All prompt tokens.
    Input,
    /// All completion tokens.
    Output,
    /// Both, where Azure tells them together only.
    TotalTokens,
    /// Both without cached ones: provisioned deployments only.
    ActiveTokens,
    /// Prompt tokens of audio, which are in `Input` as well.
    AudioInput,
    /// Completion tokens of audio, which are in `Output` as well.
    AudioOutput,
    /// Images that were made.
    GeneratedImages,
    /// One kind of meter counts it.
    Class(PriceClass),
}

/// A metric of Azure Monitor, and what it measures. Of two that measure the same the larger is taken on each day, for
/// one may have come later than the other.
const METRICS: [(&str, Measure); 10] = [
    ("InputTokens", Measure::Input),
    ("ProcessedPromptTokens", Measure::Input),
    ("OutputTokens", Measure::Output),
    ("GeneratedTokens", Measure::Output),
    ("TotalTokens", Measure::TotalTokens),
    ("TokenTransaction", Measure::TotalTokens),
    ("ActiveTokens", Measure::ActiveTokens),
    ("AudioPromptTokens", Measure::AudioInput),
    ("AudioCompletionTokens", Measure::AudioOutput),
    ("GeneratedImages", Measure::GeneratedImages),
];

/// The metrics that count calls: of both the larger is taken on each day.
const REQUESTS: [&str; 2] = ["ModelRequests", "AzureOpenAIRequests"];

/// The metric counts calls.
pub(super) fn counts_requests(name: &str) -> bool {
    REQUESTS.iter().any(|metric| metric.eq_ignore_ascii_case(name))
}

/// A number of ours, and how well it is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct OwnNumber {
    pub(super) number: Option<u64>,
    pub(super) quality: Quality,
}

impl Measure {
    /// The word that stands in every output.
    pub fn as_str(self) -> &'static str {
        match self {
            Measure::Input => TokenClass::Input.as_str(),
            Measure::Output => TokenClass::Output.as_str(),
            Measure::TotalTokens => "total_tokens",
            Measure::ActiveTokens => "active_tokens",
            Measure::AudioInput => PriceClass::InputAudio.as_str(),
            Measure::AudioOutput => PriceClass::OutputAudio.as_str(),
            Measure::GeneratedImages => Unit::Images.as_str(),
            Measure::Class(class) => class.as_str(),
        }
    }

    /// Returns what a metric measures; `None`: nothing that we count.
    pub(super) fn of_metric(name: &str) -> Option<Measure> {
        METRICS.iter().find(|(metric, _)| metric.eq_ignore_ascii_case(name)).map(|(_, measure)| *measure)
    }

    /// Our number of an event for a metric.
    pub(super) fn own(self, event: &UsageEvent) -> OwnNumber {
        let (tokens, accounting) = (&event.usage.tokens, &event.usage.accounting);
        let (input, output) = (accounting.input_quality, accounting.output_quality);
        let both = input.max(output);
        let sum = |cached: u64| match (tokens.input, tokens.output) {
            (None, None) => None,
            (input, output) => {
                Some(input.unwrap_or(0).saturating_sub(cached).saturating_add(output.unwrap_or(0)))
            }
        };
        let known = |number: Option<u64>| OwnNumber { number, quality: Quality::Exact };
        match self {
            Measure::Input => OwnNumber { number: tokens.input, quality: input },
            Measure::Output => OwnNumber { number: tokens.output, quality: output },
            Measure::TotalTokens => OwnNumber { number: sum(0), quality: both },
            Measure::ActiveTokens => {
                OwnNumber { number: sum(tokens.input_cached.unwrap_or(0)), quality: both }
            }
            Measure::AudioInput => known(Some(tokens.input_audio.unwrap_or(0))),
            Measure::AudioOutput => known(Some(tokens.output_audio.unwrap_or(0))),
            Measure::GeneratedImages => known(Some(event.usage.units.images.unwrap_or(0))),
            Measure::Class(_) => known(None),
        }
    }
}
