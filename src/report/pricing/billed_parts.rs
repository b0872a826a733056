//! The parts of an event that have prices of their own: disjoint, so that each token and each unit is paid once.
//!
//! The numbers of an event are totals with parts in them, and a service may report parts that overlap or exceed their
//! total. Then cached input goes first, then what was written to the cache, audio and images; what is left is text.

use metering::usage::{Side, StoredUsage, Tokens, ToolTokens, Unit};
use smol_str::SmolStr;
use strum::{EnumString, IntoStaticStr, VariantArray, VariantNames};

/// Tokens or units that have a price of their own, by the word that stands in price tables.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    EnumString,
    IntoStaticStr,
    VariantArray,
    VariantNames,
)]
#[strum(serialize_all = "snake_case")]
pub enum PriceClass {
    /// Input tokens of text that no cache held.
    InputUncached,
    /// Input tokens of text that were read from the cache.
    InputCached,
    /// Input tokens of audio that were read from the cache.
    InputCachedAudio,
    /// Input tokens of images that were read from the cache.
    InputCachedImage,
    /// Input tokens that were written to the cache.
    InputCacheWrite,
    /// Input tokens that were written to the cache to be kept longer.
    InputCacheWriteLong,
    /// Input tokens of audio that no cache held.
    InputAudio,
    /// Input tokens of images that no cache held.
    InputImage,
    /// Output tokens of text, reasoning included.
    OutputText,
    /// Output tokens of audio.
    OutputAudio,
    /// Output tokens of images.
    OutputImage,
    /// Milliseconds of audio that was heard.
    AudioMs,
    /// Milliseconds of video that was made.
    VideoMs,
    /// Images that were read or made.
    Images,
    /// Characters of a text that was spoken.
    Characters,
    /// Pages that were read.
    Pages,
    /// Searches of a reranker.
    SearchUnits,
    /// Searches of the web by a hosted tool.
    WebSearches,
    /// Pages that a hosted tool fetched from the web.
    WebFetches,
}

/// A quantity of one class, of the call's model or of a model that a tool used inside the call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BilledPart {
    /// Its class.
    pub class: PriceClass,
    /// The tool that used the tokens, and its model where the service names it; `None`: the call itself.
    pub tool: Option<(SmolStr, Option<SmolStr>)>,
    /// Tokens or units, never 0.
    pub quantity: u64,
}

impl PriceClass {
    /// The word that stands in price tables and reports.
    pub fn as_str(self) -> &'static str {
        self.into()
    }

    /// It counts tokens, not units.
    pub fn is_token(self) -> bool {
        self <= PriceClass::OutputImage
    }

    /// The number that its tokens are part of; `None`: it counts units.
    pub fn side(self) -> Option<Side> {
        let side = if self < PriceClass::OutputText { Side::Input } else { Side::Output };
        self.is_token().then_some(side)
    }

    /// The unit that it counts; `None`: it counts tokens.
    pub fn unit(self) -> Option<Unit> {
        Unit::VARIANTS.iter().copied().find(|unit| PriceClass::of_unit(*unit) == self)
    }

    /// The class that it is a part of, whose price it has where it has none of its own.
    pub(super) fn part_of(self) -> Option<PriceClass> {
        match self {
            PriceClass::InputCachedAudio | PriceClass::InputCachedImage => Some(PriceClass::InputCached),
            PriceClass::InputCacheWriteLong => Some(PriceClass::InputCacheWrite),
            _ => None,
        }
    }

    /// The class of text whose price it has in a table that knows text only.
    pub(super) fn text(self) -> Option<PriceClass> {
        match self {
            PriceClass::InputUncached
            | PriceClass::InputCacheWrite
            | PriceClass::InputCacheWriteLong
            | PriceClass::InputAudio
            | PriceClass::InputImage => Some(PriceClass::InputUncached),
            PriceClass::InputCached | PriceClass::InputCachedAudio | PriceClass::InputCachedImage => {
                Some(PriceClass::InputCached)
            }
            PriceClass::OutputText | PriceClass::OutputAudio | PriceClass::OutputImage => {
                Some(PriceClass::OutputText)
            }
            _ => None,
        }
    }

    fn of_unit(unit: Unit) -> PriceClass {
        match unit {
            Unit::AudioMs => PriceClass::AudioMs,
            Unit::VideoMs => PriceClass::VideoMs,
            Unit::Images => PriceClass::Images,
            Unit::Characters => PriceClass::Characters,
            Unit::Pages => PriceClass::Pages,
            Unit::SearchUnits => PriceClass::SearchUnits,
            Unit::WebSearches => PriceClass::WebSearches,
            Unit::WebFetches => PriceClass::WebFetches,
        }
    }
}

/// The parts of an event, and whether its numbers contradict each other: parts that are more than their whole.
/// Unknown numbers have no part.
pub fn billed_parts(usage: &StoredUsage) -> (Vec<BilledPart>, bool) {
    let (tokens, mut contradicted) = token_parts(&usage.tokens);
    let mut parts = Vec::new();
    let mut push = |class, tool: Option<&ToolTokens>, quantity| {
        if quantity > 0 {
            let tool = tool.map(|tool| (tool.tool.clone(), tool.model.clone()));
            parts.push(BilledPart { class, tool, quantity });
        }
    };
    tokens.into_iter().for_each(|(class, quantity)| push(class, None, quantity));
    for unit in Unit::VARIANTS {
        push(PriceClass::of_unit(*unit), None, unit.of(&usage.units).unwrap_or(0));
    }
    for tool in &usage.tools {
        let (tokens, wrong) = token_parts(&of_tool(tool));
        contradicted |= wrong;
        tokens.into_iter().for_each(|(class, quantity)| push(class, Some(tool), quantity));
    }
    (parts, contradicted)
}

/// The numbers of a tool, as a call of its model would have them.
fn of_tool(tool: &ToolTokens) -> Tokens {
    Tokens {
        input: tool.input,
        output: tool.output,
        input_cached: tool.input_cached,
        input_image: tool.input_image,
        output_image: tool.output_image,
        ..Tokens::default()
    }
}

/// Each class of tokens with its number.
fn token_parts(tokens: &Tokens) -> ([(PriceClass, u64); 11], bool) {
    let number = |number: Option<u64>| number.unwrap_or(0);
    let mut input = Whole::new(tokens.input);
    let mut cached = Whole { left: input.take(number(tokens.input_cached)), exceeded: false };
    let cached_audio = cached.take(number(tokens.input_cached_audio));
    let cached_image = cached.take(number(tokens.input_cached_image));
    let mut write = Whole { left: input.take(number(tokens.input_cache_write)), exceeded: false };
    let write_long = write.take(number(tokens.input_cache_write_long));
    // Audio and images that the cache held are among the cached.
    let audio = input.take(number(tokens.input_audio).saturating_sub(cached_audio));
    let image = input.take(number(tokens.input_image).saturating_sub(cached_image));
    let mut output = Whole::new(tokens.output);
    let output_audio = output.take(number(tokens.output_audio));
    let output_image = output.take(number(tokens.output_image));
    let exceeded = [&input, &cached, &write, &output].iter().any(|whole| whole.exceeded);
    let parts = [
        (PriceClass::InputUncached, input.left),
        (PriceClass::InputCached, cached.left),
        (PriceClass::InputCachedAudio, cached_audio),
        (PriceClass::InputCachedImage, cached_image),
        (PriceClass::InputCacheWrite, write.left),
        (PriceClass::InputCacheWriteLong, write_long),
        (PriceClass::InputAudio, audio),
        (PriceClass::InputImage, image),
        (PriceClass::OutputText, output.left),
        (PriceClass::OutputAudio, output_audio),
        (PriceClass::OutputImage, output_image),
    ];
    (parts, exceeded)
}

/// A number from which parts are taken.
struct Whole {
    left: u64,
    /// A part was more than what was left.
    exceeded: bool,
}

impl Whole {
    fn new(number: Option<u64>) -> Whole {
        Whole { left: number.unwrap_or(0), exceeded: false }
    }

    /// Takes a part, or what is left.
    fn take(&mut self, part: u64) -> u64 {
        let taken = part.min(self.left);
        self.exceeded |= taken < part;
        self.left -= taken;
        taken
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sum(parts: &[(PriceClass, u64)], input: bool) -> u64 {
        parts
            .iter()
            .filter(|(class, _)| (*class < PriceClass::OutputText) == input)
            .map(|(_, number)| number)
            .sum()
    }

    proptest! {
        /// Each token of the totals is in one part, whatever a service reports.
        #[test]
        fn the_parts_add_up_to_the_whole(numbers in prop::collection::vec(prop::option::of(0..100_u64), 10)) {
            let tokens = Tokens {
                input: numbers[0], output: numbers[1], input_cached: numbers[2], input_cached_audio: numbers[3],
                input_cached_image: numbers[4], input_cache_write: numbers[5], input_cache_write_long: numbers[6],
                input_audio: numbers[7], input_image: numbers[8], output_audio: numbers[9], ..Tokens::default()
            };
            let (parts, _) = token_parts(&tokens);
            prop_assert_eq!(sum(&parts, true), tokens.input.unwrap_or(0));
            prop_assert_eq!(sum(&parts, false), tokens.output.unwrap_or(0));
        }
    }

    #[test]
    fn what_exceeds_is_told() {
        let tokens = Tokens { input: Some(10), input_cached: Some(30), ..Tokens::default() };
        let (parts, contradicted) = token_parts(&tokens);
        assert_eq!((parts[0].1, parts[1].1, contradicted), (0, 10, true));
        let tokens = Tokens {
            input: Some(100),
            input_cached: Some(60),
            input_cached_audio: Some(20),
            input_audio: Some(50),
            output: Some(5),
            ..Tokens::default()
        };
        let (parts, contradicted) = token_parts(&tokens);
        let numbers: Vec<u64> = parts.iter().map(|(_, number)| *number).collect();
        assert_eq!((numbers, contradicted), (vec![10, 40, 20, 0, 0, 0, 30, 0, 5, 0, 0], false));
    }
}
