//! Reads the numbers that the service says it will charge: a `usage` object, in every family of names.
//!
//! Numbers come one by one, each with the names on the way to it, in any order: from the parser or from
//! the reader of what is too long to be kept. This file holds the only table of those names.

use std::collections::BTreeMap;

/// A count over this is no count. The largest context windows hold some million tokens.
pub(super) const PLAUSIBLE_MAX: u64 = 1_000_000_000_000;

/// Numbers without a field of their own that are kept, the names on the way to one, and the bytes of a
/// name.
const OTHER_MAX: usize = 16;
const OTHER_NAMES_MAX: usize = 3;
const OTHER_NAME_BYTES_MAX: usize = 64;

/// A `usage` object. `None`: not said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reported {
    /// `prompt_tokens` or `input_tokens`
    pub input: Option<u64>,
    /// `completion_tokens` or `output_tokens`, and the reasoning where the total says that it is beside.
    pub output: Option<u64>,
    /// `total_tokens`
    pub total: Option<u64>,
    /// Input details: `cached_tokens`
    pub input_cached: Option<u64>,
    /// Below them: `text_tokens`
    pub input_cached_text: Option<u64>,
    /// Below them: `audio_tokens`
    pub input_cached_audio: Option<u64>,
    /// Below them: `image_tokens`
    pub input_cached_image: Option<u64>,
    /// Input details: `cache_write_tokens`
    pub input_cache_write: Option<u64>,
    /// Below them: `ttl_12h_tokens`
    pub input_cache_write_long: Option<u64>,
    /// Input details: `audio_tokens`
    pub input_audio: Option<u64>,
    /// Input details: `image_tokens`
    pub input_image: Option<u64>,
    /// Input details: `text_tokens`
    pub input_text: Option<u64>,
    /// Output details: `reasoning_tokens`
    pub output_reasoning: Option<u64>,
    /// Output details: `audio_tokens`
    pub output_audio: Option<u64>,
    /// Output details: `image_tokens`
    pub output_image: Option<u64>,
    /// Output details: `text_tokens`
    pub output_text: Option<u64>,
    /// Output details: `accepted_prediction_tokens`
    pub output_prediction_accepted: Option<u64>,
    /// Output details: `rejected_prediction_tokens`
    pub output_prediction_rejected: Option<u64>,
    /// Tokens that have no field of their own, by the names on the way to them: `details.key`.
    pub other: BTreeMap<String, u64>,
    /// A main number is negative, fractional or beyond reason.
    pub implausible: bool,
    /// Numbers of the input contradict each other.
    pub input_differs: bool,
    /// Numbers of the output contradict each other.
    pub output_differs: bool,
    /// A part is larger than its whole.
    pub part_exceeds: bool,
    /// Cached tokens may stand beside the input, not within it: the input is this or more.
    pub input_open: bool,
}

/// A number that a `usage` object can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum UsageNumber {
    Input,
    Output,
    Total,
    InputCached,
    InputCachedText,
    InputCachedAudio,
    InputCachedImage,
    InputCacheWrite,
    InputCacheWriteLong,
    InputAudio,
    InputImage,
    InputText,
    OutputReasoning,
    OutputAudio,
    OutputImage,
    OutputText,
    PredictionAccepted,
    PredictionRejected,
}

const CLASSES: usize = UsageNumber::PredictionRejected as usize + 1;

const INPUT_CLASSES: [UsageNumber; 10] = [
    UsageNumber::Input,
    UsageNumber::InputCached,
    UsageNumber::InputCachedText,
    UsageNumber::InputCachedAudio,
    UsageNumber::InputCachedImage,
    UsageNumber::InputCacheWrite,
    UsageNumber::InputCacheWriteLong,
    UsageNumber::InputAudio,
    UsageNumber::InputImage,
    UsageNumber::InputText,
];

const OUTPUT_CLASSES: [UsageNumber; 7] = [
    UsageNumber::Output,
    UsageNumber::OutputReasoning,
    UsageNumber::OutputAudio,
    UsageNumber::OutputImage,
    UsageNumber::OutputText,
    UsageNumber::PredictionAccepted,
    UsageNumber::PredictionRejected,
];

/// Whose name a number has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum NameOwner {
    /// The API's own.
    Common,
    /// That of one maker, at the top of `usage`.
    Maker,
}

/// A `usage` object as it is being read. Of several names for one number the one that is not 0 stands:
/// objects of batches carry two families, one of them all zeros.
#[derive(Clone, Debug, Default)]
pub(super) struct UsageReader {
    numbers: [Option<u64>; CLASSES],
    /// Two that are not 0 were told of one number.
    differs: [bool; CLASSES],
    other: BTreeMap<String, u64>,
    implausible: bool,
    /// Anthropic's names for what was read from a cache or written to one, where they stand beside
    /// `input_tokens`.
    beside: bool,
}

impl UsageReader {
    /// One number; `path`: the names on the way to it, from the object itself.
    pub(super) fn set(&mut self, path: &[&[u8]], number: Option<u64>) {
        let number = number.filter(|number| *number <= PLAUSIBLE_MAX);
        let known = class(path);
        match (known, number) {
            (Some((class, _)), Some(number)) => self.merge(class, number),
            (Some((UsageNumber::Input | UsageNumber::Output | UsageNumber::Total, _)), None) => {
                self.implausible = true
            }
            _ => {}
        }
        if known.is_none_or(|(_, name)| name == NameOwner::Maker) {
            self.set_other(path, number);
        }
    }

    fn merge(&mut self, class: UsageNumber, number: u64) {
        let slot = &mut self.numbers[class as usize];
        let torn = slot.is_some_and(|other| other > 0 && number > 0 && other != number);
        *slot = (*slot).max(Some(number));
        self.differs[class as usize] |= torn;
    }

    /// Keeps a number that has no field of its own, or that only one maker calls so.
    fn set_other(&mut self, path: &[&[u8]], number: Option<u64>) {
        let cache = [&b"cache_creation_input_tokens"[..], b"cache_read_input_tokens"];
        self.beside |= number > Some(0) && matches!(path, [name] if cache.contains(name));
        keep_other(&mut self.other, path, number);
    }

    fn differs(&self, classes: &[UsageNumber]) -> bool {
        classes.iter().any(|class| self.differs[*class as usize])
    }

    /// All that was read.
    pub(super) fn read(&self) -> Reported {
        let number = |class| self.numbers[class as usize];
        let mut reported = Reported {
            input: number(UsageNumber::Input),
            output: number(UsageNumber::Output),
            total: number(UsageNumber::Total),
            input_cached: number(UsageNumber::InputCached),
            input_cached_text: number(UsageNumber::InputCachedText),
            input_cached_audio: number(UsageNumber::InputCachedAudio),
            input_cached_image: number(UsageNumber::InputCachedImage),
            input_cache_write: number(UsageNumber::InputCacheWrite),
            input_cache_write_long: number(UsageNumber::InputCacheWriteLong),
            input_audio: number(UsageNumber::InputAudio),
            input_image: number(UsageNumber::InputImage),
            input_text: number(UsageNumber::InputText),
            output_reasoning: number(UsageNumber::OutputReasoning),
            output_audio: number(UsageNumber::OutputAudio),
            output_image: number(UsageNumber::OutputImage),
            output_text: number(UsageNumber::OutputText),
            output_prediction_accepted: number(UsageNumber::PredictionAccepted),
            output_prediction_rejected: number(UsageNumber::PredictionRejected),
            other: self.other.clone(),
            implausible: self.implausible,
            input_differs: self.differs(&INPUT_CLASSES),
            output_differs: self.differs(&OUTPUT_CLASSES),
            part_exceeds: false,
            input_open: self.beside && number(UsageNumber::Total).is_none(),
        };
        reported.check();
        reported
    }
}

impl Reported {
    /// Whether it can be charged by: zeros on every chunk, as some gateways send, cannot.
    pub fn usable(&self) -> bool {
        let any = [self.input, self.output, self.total].into_iter().flatten().any(|number| number > 0);
        any && self.is_usage()
    }

    /// It has a number that could be charged by, if 0 can.
    pub fn is_usage(&self) -> bool {
        !self.implausible && (self.input.is_some() || self.output.is_some())
    }

    /// Adds another usage of the same response. A number that one of them does not say counts as none, so a part stays
    /// within its whole.
    pub fn add(&mut self, more: &Reported) {
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
            *sum = sum.map(|sum| sum.saturating_add(more.unwrap_or(0))).or(more);
        }
        for (name, tokens) in &more.other {
            let sum = self.other.entry(name.clone()).or_default();
            *sum = sum.saturating_add(*tokens);
        }
        while self.other.len() > OTHER_MAX {
            self.other.pop_last();
        }
        self.implausible |= more.implausible;
        self.input_differs |= more.input_differs;
        self.output_differs |= more.output_differs;
        self.part_exceeds |= more.part_exceeds;
        self.input_open |= more.input_open;
    }

    /// Holds the numbers against each other. Makers differ in one thing: some count the reasoning
    /// beside the output, and their total says so. Whatever else does not add up is a doubt.
    pub(super) fn check(&mut self) {
        if let (Some(input), Some(output), Some(total)) = (self.input, self.output, self.total) {
            let reasoning = self.output_reasoning.unwrap_or(0);
            if reasoning > 0 && total == input + output + reasoning {
                self.output = Some(output + reasoning);
            } else if total != input + output {
                (self.input_differs, self.output_differs) = (true, true);
            }
        } else if let Some(total) = self.total {
            self.input_differs |= self.input.is_some_and(|input| input > total);
            self.output_differs |= self.output.is_some_and(|output| output > total);
        }
        let exceeds = |part: Option<u64>, whole: Option<u64>| part.zip(whole).is_some_and(|(a, b)| a > b);
        let in_input =
            [self.input_cached, self.input_cache_write, self.input_audio, self.input_image, self.input_text];
        let in_cached = [self.input_cached_text, self.input_cached_audio, self.input_cached_image];
        let in_output = [
            self.output_reasoning,
            self.output_audio,
            self.output_image,
            self.output_text,
            self.output_prediction_accepted,
            self.output_prediction_rejected,
        ];
        let input_exceeds = in_input.into_iter().any(|part| exceeds(part, self.input))
            || in_cached.into_iter().any(|part| exceeds(part, self.input_cached.or(self.input)))
            || exceeds(self.input_cache_write_long, self.input_cache_write.or(self.input));
        let output_exceeds = in_output.into_iter().any(|part| exceeds(part, self.output));
        self.input_differs |= input_exceeds;
        self.output_differs |= output_exceeds;
        self.part_exceeds = input_exceeds || output_exceeds;
    }
}

/// Keeps a number that has no field of its own, by the names on the way to it.
pub(super) fn keep_other(other: &mut BTreeMap<String, u64>, path: &[&[u8]], number: Option<u64>) {
    let is_name = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
    let fits = |name: &&[u8]| name.len() <= OTHER_NAME_BYTES_MAX && name.iter().all(is_name);
    let Some(number) = number.filter(|_| counts_tokens(path)) else { return };
    if path.len() > OTHER_NAMES_MAX || !path.iter().all(fits) {
        return;
    }
    other.insert(String::from_utf8_lossy(&path.join(&b'.')).into_owned(), number);
    bound_other(other);
}

/// Keeps as many as there may be: the same ones, in whatever order they came.
pub(super) fn bound_other(other: &mut BTreeMap<String, u64>) {
    while other.len() > OTHER_MAX {
        other.pop_last();
    }
}

/// The number that these names lead to, if it has a field of its own.
fn class(path: &[&[u8]]) -> Option<(UsageNumber, NameOwner)> {
    let maker = match path {
        // Kimi: `prompt_tokens` holds them, as `prompt_tokens_details.cached_tokens` beside it says where
        // it is there. `tool_usage.image_gen` has the name as well.
        [b"cached_tokens"] => Some(UsageNumber::InputCached),
        // DeepSeek: hit and miss make up `prompt_tokens`.
        [b"prompt_cache_hit_tokens"] => Some(UsageNumber::InputCached),
        // `svg_usage`, which has no details.
        [b"reasoning_tokens"] => Some(UsageNumber::OutputReasoning),
        // `tool_usage.image_gen`.
        [b"cached_tokens_details", name] => cached_class(name),
        _ => None,
    };
    if let Some(class) = maker {
        return Some((class, NameOwner::Maker));
    }
    let class = match path {
        [b"prompt_tokens" | b"input_tokens"] => UsageNumber::Input,
        [b"completion_tokens" | b"output_tokens"] => UsageNumber::Output,
        [b"total_tokens"] => UsageNumber::Total,
        [
            b"prompt_tokens_details"
            | b"prompt_token_details"
            | b"input_tokens_details"
            | b"input_token_details",
            rest @ ..,
        ] => input_class(rest)?,
        [
            b"completion_tokens_details"
            | b"completion_token_details"
            | b"output_tokens_details"
            | b"output_token_details",
            rest @ ..,
        ] => output_class(rest)?,
        _ => return None,
    };
    Some((class, NameOwner::Common))
}

fn input_class(path: &[&[u8]]) -> Option<UsageNumber> {
    Some(match path {
        [b"cached_tokens"] => UsageNumber::InputCached,
        [b"cache_write_tokens"] => UsageNumber::InputCacheWrite,
        [b"audio_tokens"] => UsageNumber::InputAudio,
        [b"image_tokens"] => UsageNumber::InputImage,
        [b"text_tokens"] => UsageNumber::InputText,
        [name @ (b"cached_text_tokens" | b"cached_audio_tokens" | b"cached_image_tokens")]
        | [b"cached_tokens_details" | b"cached_token_details", name] => cached_class(name)?,
        // The rest of what was written is kept for half an hour, and costs what it always did.
        [b"cache_write_tokens_details" | b"cache_write_token_details", b"ttl_12h_tokens"] => {
            UsageNumber::InputCacheWriteLong
        }
        _ => return None,
    })
}

fn cached_class(name: &[u8]) -> Option<UsageNumber> {
    Some(match name {
        b"text_tokens" | b"cached_text_tokens" => UsageNumber::InputCachedText,
        b"audio_tokens" | b"cached_audio_tokens" => UsageNumber::InputCachedAudio,
        b"image_tokens" | b"cached_image_tokens" => UsageNumber::InputCachedImage,
        _ => return None,
    })
}

fn output_class(path: &[&[u8]]) -> Option<UsageNumber> {
    let [name] = path else { return None };
    Some(match *name {
        b"reasoning_tokens" => UsageNumber::OutputReasoning,
        b"audio_tokens" => UsageNumber::OutputAudio,
        b"image_tokens" => UsageNumber::OutputImage,
        b"text_tokens" => UsageNumber::OutputText,
        b"accepted_prediction_tokens" => UsageNumber::PredictionAccepted,
        b"rejected_prediction_tokens" => UsageNumber::PredictionRejected,
        _ => return None,
    })
}

/// A number counts tokens if its own name says so, or if it stands in the details of tokens. A usage
/// object holds others: Azure's `latency_checkpoint` has milliseconds, `routing` has attempts, gateways
/// add costs.
fn counts_tokens(path: &[&[u8]]) -> bool {
    let Some((name, groups)) = path.split_last() else { return false };
    let is_details =
        |group: &&[u8]| group.ends_with(b"_tokens_details") || group.ends_with(b"_token_details");
    name.ends_with(b"tokens") || groups.iter().any(is_details)
}

#[cfg(test)]
mod tests;
