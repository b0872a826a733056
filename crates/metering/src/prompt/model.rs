//! Tells from a model's name which rules it goes by: one table of models, and one of what a class of
//! models is charged beside the texts that are seen.
//!
//! The numbers of a class are differences to the plain count of the texts. Each was fitted on recorded
//! exchanges; "n of n" are the recordings that agree.

use super::image::ImagePrice;
use crate::tokens::Encoding;

/// How far a model's recordings go.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Proof {
    /// None, or too few: the rules are a guess by the model's relatives.
    Nothing,
    /// Texts without functions, calls and schemas.
    Texts,
    /// As `Texts`, and functions, calls and schemas.
    Functions,
}

/// How a class of models writes prompts and is billed for them, beside the texts themselves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ModelRules {
    /// The model thinks out of sight: gpt-5, the o-series.
    pub thinks: bool,
    /// o1, o3, o4, codex: how they are billed for calls that are sent back is not settled.
    pub o_series: bool,
    /// gpt-4 of June 2023 and before: shorter frames around calls, another way to write tools.
    pub early: bool,
    /// Start of the response.
    pub start: i64,
    /// The same in the Responses API.
    pub start_responses: i64,
    /// An earlier text of the assistant has the mark of its channel.
    pub spoken: i64,
    /// A message with calls, in a chat.
    pub called: i64,
    /// A call that is sent back, in the Responses API.
    pub called_responses: i64,
    /// The result of a call, in the Responses API.
    pub result_responses: i64,
    /// Tools in a chat: in a message of their own, and joined to a system message.
    pub tools: [i64; 2],
    /// Tools in the Responses API.
    pub tools_responses: i64,
    /// More, if the first function has no description.
    pub undescribed: i64,
    /// The head of a response to a schema, which names it, is written into the prompt. Other models write
    /// it themselves.
    pub begins_schema: bool,
    /// The same of a call that the request named.
    pub begins_call: bool,
    /// gpt-5.4 and later, seen in the Responses API: calls made together are one call to a wrapper,
    /// and a call that is sent back has its format's mark.
    pub wraps_calls: bool,
    /// A response of the Responses API holds an item for its reasoning whenever there was some.
    pub shows_reasoning: bool,
    /// Around a response in a chat, where the model thinks.
    pub turn: ThinkingFrames,
    /// The same in the Responses API.
    pub turn_responses: ThinkingFrames,
}

/// Tokens around what a model that thinks says, its end of turn not among them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ThinkingFrames {
    /// Around a text.
    pub text: i64,
    /// Around a call.
    pub call: i64,
    /// Around a call that the request named.
    pub named: i64,
    /// The name of a call that the request named is billed.
    pub names: bool,
    /// More where the response shows that the model thought.
    pub thought: i64,
    /// Less where the response goes on from the result of a call, and the model may not have thought.
    pub silent: i64,
}

const NO_FRAMES: ThinkingFrames =
    ThinkingFrames { text: 0, call: 0, named: 0, names: true, thought: 0, silent: 0 };

/// gpt-3.5-turbo since June 2023, gpt-4 since November 2023, gpt-4o, gpt-4.1, gpt-4.5, and the models of
/// gpt-5 that do not think: gpt-5-chat (15 of 15 texts, 2 of 2 schemas).
const CLASSIC: ModelRules = ModelRules {
    thinks: false,
    o_series: false,
    early: false,
    start: 3,
    start_responses: 3,
    spoken: 0,
    called: 0,
    called_responses: 4,
    result_responses: 3,
    tools: [-1, -1],
    tools_responses: -3,
    undescribed: 0,
    begins_schema: true,
    begins_call: true,
    wraps_calls: false,
    shows_reasoning: false,
    turn: NO_FRAMES,
    turn_responses: NO_FRAMES,
};

/// gpt-4 of June 2023: the Responses API starts with 2 (7 of 7).
const GPT_4_EARLY: ModelRules = ModelRules { early: true, start_responses: 2, ..CLASSIC };

/// gpt-5 of August 2025. In chats its responses always pay for the end of thoughts (45 of 47 without a
/// reported thought), but where they go on from a result (2 of 2 without one).
const GPT_5: ModelRules = ModelRules {
    thinks: true,
    start: 2,
    start_responses: 2,
    spoken: 2,
    called: 6,
    called_responses: 8,
    result_responses: 5,
    tools: [81, 84],
    tools_responses: 3,
    undescribed: -1,
    begins_schema: false,
    begins_call: false,
    turn: ThinkingFrames { text: 9, call: 13, named: 13, names: true, thought: 0, silent: 6 },
    turn_responses: ThinkingFrames { text: 3, call: 7, named: 7, names: true, thought: 2, silent: 0 },
    ..CLASSIC
};

/// gpt-5.1: pays for the end of thoughts only where there were some, which a chat does not show.
const GPT_5_1: ModelRules = ModelRules {
    turn: ThinkingFrames { text: 3, call: 7, named: 7, names: true, thought: 0, silent: 0 },
    ..GPT_5
};

/// gpt-5.2 and gpt-5.3.
const GPT_5_2: ModelRules = ModelRules { shows_reasoning: true, ..GPT_5_1 };

/// gpt-5.4 and later.
const GPT_5_4: ModelRules = ModelRules { wraps_calls: true, ..GPT_5_2 };

/// gpt-5.1-codex-mini: tools cost 3 more (3 of 3, Azure).
const GPT_5_CODEX_MINI: ModelRules = ModelRules { tools_responses: 6, ..GPT_5_1 };

/// o1, o1-pro, o3-mini. Tools of the Responses API cost their text (o-series: 39 of 39), a named function
/// nothing (18 of 18). Responses of the Responses API are as a classic model's (35 of 40 texts, 5 of 10
/// calls, the others 1 to 3 more); the frames of chats differ by 3 between recordings: their least.
const O1: ModelRules = ModelRules {
    thinks: true,
    o_series: true,
    start: 2,
    start_responses: 2,
    tools: [0, 0],
    tools_responses: 0,
    begins_schema: false,
    begins_call: false,
    turn: ThinkingFrames { text: 10, call: 11, named: 4, names: true, thought: 0, silent: 0 },
    turn_responses: ThinkingFrames { text: 0, call: 4, named: 0, names: false, thought: 0, silent: 0 },
    ..CLASSIC
};

/// o1-mini: starts with 3.
const O1_MINI: ModelRules = ModelRules { start: 3, start_responses: 3, ..O1 };

/// o3, o3-pro: responses of the Responses API as gpt-5's (59 of 68 texts, 15 of 16 calls).
const O3: ModelRules = ModelRules { turn_responses: GPT_5.turn_responses, ..O1 };

/// o4-mini: 3 more for tools joined to a system message (4 of 4, Azure and api.openai.com), replayed
/// texts and calls as gpt-5's (2 of 2; 7 of 7, but on Azure's chats 3 of 3 cost 3 less). A chat's text
/// has 18 tokens around it in 21 of 27 recordings, and 12 in the others: the bound is the lower one. So
/// it is with calls: 13 in 2, 10 in 6 of Azure's.
const O4_MINI: ModelRules = ModelRules {
    tools: [0, 3],
    spoken: 2,
    called: 6,
    called_responses: 8,
    result_responses: 5,
    turn: ThinkingFrames { text: 12, call: 10, named: 10, names: true, thought: 0, silent: 0 },
    ..O3
};

/// codex-mini: as o4-mini, and tools cost 1 more (6 of 6).
const CODEX_MINI: ModelRules = ModelRules { tools_responses: 1, ..O4_MINI };

/// A model, or the start of the names of several: their rules, and how far recordings prove them.
struct ModelRow {
    name: &'static str,
    frames: &'static ModelRules,
    chat: Proof,
    responses: Proof,
}

const fn row(name: &'static str, frames: &'static ModelRules, chat: Proof, responses: Proof) -> ModelRow {
    ModelRow { name, frames, chat, responses }
}

use Proof::{Functions, Nothing, Texts};

/// Names without their date. The longest that a name begins with has its rules; it is proven if the name
/// is that one or a snapshot of it.
const MODELS: [ModelRow; 54] = [
    row("gpt-3.5-turbo", &CLASSIC, Functions, Functions),
    row("gpt-3.5-turbo-0301", &CLASSIC, Nothing, Nothing),
    row("gpt-3.5-turbo-0613", &CLASSIC, Texts, Nothing),
    row("gpt-35-turbo", &CLASSIC, Functions, Nothing),
    row("gpt-4", &GPT_4_EARLY, Functions, Texts),
    row("gpt-4-", &CLASSIC, Functions, Nothing),
    row("gpt-4-0314", &GPT_4_EARLY, Nothing, Nothing),
    row("gpt-4-0613", &GPT_4_EARLY, Functions, Texts),
    row("gpt-4-32k", &GPT_4_EARLY, Nothing, Nothing),
    row("gpt-4-turbo", &CLASSIC, Functions, Nothing),
    row("gpt-4o", &CLASSIC, Functions, Functions),
    row("gpt-4o-mini", &CLASSIC, Functions, Functions),
    row("gpt-4.1", &CLASSIC, Functions, Functions),
    row("gpt-4.1-mini", &CLASSIC, Functions, Functions),
    row("gpt-4.1-nano", &CLASSIC, Functions, Functions),
    row("gpt-4.5", &CLASSIC, Functions, Nothing),
    row("gpt-5", &GPT_5, Functions, Functions),
    row("gpt-5-mini", &GPT_5, Functions, Functions),
    // 77 of 78 texts, 33 of 38 with tools; the others are of kinds that have a reason.
    row("gpt-5-nano", &GPT_5, Functions, Functions),
    // gpt-5-codex: 2 of 2 with tools cost 3 more, in a month in which gpt-5 did so, too.
    row("gpt-5-codex", &GPT_5_1, Nothing, Texts),
    row("gpt-5-pro", &GPT_5_1, Nothing, Texts),
    row("gpt-5-chat", &CLASSIC, Texts, Texts),
    row("gpt-5.", &GPT_5_4, Nothing, Nothing),
    row("gpt-5.1", &GPT_5_1, Texts, Texts),
    row("gpt-5.1-chat", &GPT_5_1, Texts, Nothing),
    row("gpt-5.1-codex", &GPT_5_1, Nothing, Nothing),
    row("gpt-5.1-codex-mini", &GPT_5_CODEX_MINI, Nothing, Functions),
    row("gpt-5.2", &GPT_5_2, Texts, Functions),
    row("gpt-5.2-chat", &GPT_5_1, Texts, Texts),
    row("gpt-5.2-codex", &GPT_5_1, Nothing, Texts),
    row("gpt-5.2-pro", &GPT_5_1, Nothing, Texts),
    row("gpt-5.3", &GPT_5_2, Nothing, Nothing),
    // With three functions of a chat 3 of 3 are 1 less than computed.
    row("gpt-5.4", &GPT_5_4, Texts, Functions),
    row("gpt-5.4-mini", &GPT_5_4, Functions, Functions),
    row("gpt-5.4-nano", &GPT_5_4, Texts, Functions),
    row("gpt-5.5", &GPT_5_4, Texts, Functions),
    row("gpt-5.6-sol", &GPT_5_4, Texts, Functions),
    row("gpt-5.6-terra", &GPT_5_4, Texts, Functions),
    row("gpt-5.6-luna", &GPT_5_4, Texts, Texts),
    row("o1", &O1, Functions, Functions),
    row("o1-mini", &O1_MINI, Nothing, Nothing),
    row("o1-preview", &O1, Nothing, Nothing),
    row("o1-pro", &O1, Nothing, Functions),
    row("o3", &O3, Nothing, Functions),
    row("o3-deep-research", &O3, Nothing, Nothing),
    row("o3-mini", &O1, Functions, Functions),
    row("o3-pro", &O3, Nothing, Functions),
    row("o4", &O4_MINI, Nothing, Nothing),
    row("o4-mini", &O4_MINI, Functions, Functions),
    row("o4-mini-deep-research", &O4_MINI, Nothing, Nothing),
    row("codex-mini", &CODEX_MINI, Nothing, Functions),
    row("codex-", &CODEX_MINI, Nothing, Nothing),
    row("computer-use", &O1, Nothing, Nothing),
    row("gpt-oss", &GPT_5, Nothing, Nothing),
];

/// Models that get a text and nothing around it: they are known when their vocabulary is, and with
/// it that of a model that was made from them. Of all recordings of embeddings 210 of 211 are exact, of
/// older completions 80 of 81.
const PLAIN: [&str; 9] = [
    "text-embedding-ada-002",
    "text-embedding-3-small",
    "text-embedding-3-large",
    "gpt-3.5-turbo-instruct",
    "gpt-35-turbo-instruct",
    "davinci-002",
    "babbage-002",
    "davinci:2023",
    "babbage:2023",
];

/// The rules that a model's name stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Model {
    /// The rules.
    pub frames: &'static ModelRules,
    /// The vocabulary.
    pub encoding: Encoding,
    /// How far recordings prove the rules of chats.
    pub chat: Proof,
    /// As `chat`, of the Responses API.
    pub responses: Proof,
    /// As `chat`, of APIs that take a text and nothing around it.
    pub plain: bool,
    /// In the list of results of calls made together, what is not ASCII is escaped: 3 of 3 prompts of
    /// gpt-4o-mini and gpt-3.5-turbo, 0 of 4 of gpt-4o, of which all are younger.
    pub ascii_results: bool,
    /// A model of little reliability: it wraps a single call as if it were several (15 of 29 responses of
    /// gpt-4.1-nano in the Responses API, where nothing shows it).
    pub wraps_one: bool,
    /// The price of images.
    pub images: ImagePrice,
}

/// Tokens of a text, as a number that can be subtracted from.
pub(super) fn tokens_of(model: Model, text: &str) -> i64 {
    i64::try_from(crate::tokens::count(model.encoding, text)).unwrap_or(i64::MAX)
}

/// The rules of a model; `None` if not even its vocabulary is known.
pub fn model(name: &str) -> Option<Model> {
    let encoding = Encoding::for_model(name)?;
    let last = name.rsplit('/').next().unwrap_or(name);
    let bare = last.strip_prefix("ft:").unwrap_or(last);
    let fitting = MODELS.iter().filter(|row| bare.starts_with(row.name));
    let row = fitting.max_by_key(|row| row.name.len());
    // A model that a customer made from another may be billed otherwise.
    let proven = row.is_some_and(|row| last.len() == bare.len() && is_snapshot(bare, row.name));
    let proof = |of: fn(&ModelRow) -> Proof| row.filter(|_| proven).map_or(Proof::Nothing, of);
    let plain = is_plain(bare);
    Some(Model {
        frames: row.map_or(&CLASSIC, |row| row.frames),
        encoding,
        chat: proof(|row| row.chat),
        responses: proof(|row| row.responses),
        plain: plain || proof(|row| row.chat) > Proof::Nothing,
        ascii_results: bare.starts_with("gpt-3.5")
            || bare.starts_with("gpt-35")
            || bare.starts_with("gpt-4o-mini"),
        wraps_one: bare.starts_with("gpt-3.5")
            || bare.starts_with("gpt-35")
            || bare.starts_with("gpt-4.1-nano"),
        images: ImagePrice::of(bare),
    })
}

/// One of [`PLAIN`], perhaps with its version (`-v2`, `:20230824-v2`) or what a company made of it.
fn is_plain(bare: &str) -> bool {
    let ends = |rest: &str| rest.is_empty() || rest.starts_with(['-', ':']);
    PLAIN.iter().any(|base| bare.strip_prefix(base).is_some_and(ends))
}

/// A known name, followed by nothing but a snapshot's date.
fn is_snapshot(name: &str, base: &str) -> bool {
    let is_date = |part: &str| {
        let digits = !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
        digits || matches!(part, "preview" | "latest" | "16k" | "32k")
    };
    match name.strip_prefix(base) {
        Some("") => true,
        Some(rest) if base.ends_with('-') => rest.split('-').all(is_date),
        Some(rest) => rest.strip_prefix('-').is_some_and(|rest| rest.split('-').all(is_date)),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frames(name: &str) -> Option<&'static ModelRules> {
        model(name).map(|model| model.frames)
    }

    #[test]
    fn classes() {
        for (name, class) in [
            ("gpt-4", &GPT_4_EARLY),
            ("gpt-4-0613", &GPT_4_EARLY),
            ("gpt-4-32k-0314", &GPT_4_EARLY),
            ("gpt-4-0125-preview", &CLASSIC),
            ("gpt-4-vision-preview", &CLASSIC),
            ("gpt-35-turbo", &CLASSIC),
            ("gpt-audio-mini", &CLASSIC),
            ("openai/gpt-5-mini-2025-08-07", &GPT_5),
            ("gpt-5-chat-2025-10-03", &CLASSIC),
            ("gpt-5.1-chat-latest", &GPT_5_1),
            ("gpt-5.1-codex-mini", &GPT_5_CODEX_MINI),
            ("gpt-5.1-codex-max", &GPT_5_1),
            ("gpt-5.3-codex", &GPT_5_2),
            ("gpt-5.4-pro", &GPT_5_4),
            ("gpt-5.6-sol", &GPT_5_4),
            ("gpt-5.9", &GPT_5_4),
            ("gpt-oss-120b", &GPT_5),
            ("o3-mini-2025-01-31", &O1),
            ("o3-pro", &O3),
            ("o4-mini-deep-research", &O4_MINI),
            ("codex-mini-latest", &CODEX_MINI),
            ("ft:o4-mini:org", &O4_MINI),
        ] {
            assert_eq!(frames(name), Some(class), "{name}");
        }
        assert_eq!(frames("mistral-large"), None);
    }

    #[test]
    fn each_row_is_found_and_has_a_vocabulary() {
        for row in &MODELS {
            let name = row.name.trim_end_matches(['-', '.']);
            assert!(model(&format!("{name}-x")).is_some() || name == "codex", "{name}");
            if row.name == name {
                let model = model(name).unwrap();
                assert_eq!(
                    (model.frames, model.chat, model.responses),
                    (row.frames, row.chat, row.responses)
                );
            }
        }
    }

    #[test]
    fn plain_models_are_known_by_their_vocabulary() {
        for name in [
            "text-embedding-ada-002-v2",
            "text-embedding-3-small",
            "gpt-3.5-turbo-instruct:20230824-v2",
            "gpt-35-turbo-instruct",
            "babbage:2023-07-21-v2",
            "ft:davinci-002:org::id",
        ] {
            assert!(model(name).is_some_and(|model| model.plain), "{name}");
        }
        for name in ["text-embedding-4", "gpt-3.5-turbo-instructor", "davinci:2024-01-01"] {
            assert!(model(name).is_none_or(|model| !model.plain), "{name}");
        }
    }

    #[test]
    fn only_what_was_recorded_is_proven() {
        let chat = |name: &str| model(name).map(|model| model.chat);
        for name in [
            "gpt-4o-mini-2024-07-18",
            "gpt-4o",
            "gpt-4-0125-preview",
            "gpt-3.5-turbo-16k-0613",
            "o1-2024-12-17",
        ] {
            assert_eq!(chat(name), Some(Proof::Functions), "{name}");
        }
        for name in ["gpt-5.2-chat-latest", "gpt-5.4-2026-03-05", "gpt-5-chat-latest"] {
            assert_eq!(chat(name), Some(Proof::Texts), "{name}");
        }
        for name in [
            "gpt-4o-audio-preview",
            "gpt-4o-search-preview-2025-03-11",
            "gpt-5.9",
            "gpt-5-codex",
            "ft:gpt-4o:x",
            "gpt-3.5-turbo-0301",
            "o1-mini",
            "gpt-oss-20b",
        ] {
            assert_eq!(chat(name), Some(Proof::Nothing), "{name}");
        }
        let responses = |name: &str| model(name).map(|model| model.responses);
        for name in ["o1-pro-2025-03-19", "o3-2025-04-16", "o4-mini", "codex-mini-latest", "gpt-5-nano"] {
            assert_eq!(responses(name), Some(Proof::Functions), "{name}");
        }
        for name in ["gpt-5-codex", "gpt-5-pro-2025-10-06", "gpt-5.1", "gpt-4-0613"] {
            assert_eq!(responses(name), Some(Proof::Texts), "{name}");
        }
        assert_eq!(responses("gpt-5.1-codex-max"), Some(Proof::Nothing));
    }
}
