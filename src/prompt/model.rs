//! Which rules a model goes by, told from its name.

use super::image::ImagePrice;
use crate::tokens::Encoding;

/// Models that are billed by the same rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// gpt-4 of June 2023 and before: as classic, with shorter frames around calls.
    Gpt4Early,
    /// gpt-3.5-turbo since June 2023, later gpt-4, gpt-4o, gpt-4.1, gpt-4.5.
    Classic,
    /// gpt-5 and its successors.
    Gpt5,
    /// o1, o3, o4, codex, computer-use.
    OSeries,
}

/// What a model's name says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Model {
    /// The rules.
    pub family: Family,
    /// The vocabulary.
    pub encoding: Encoding,
    /// The rules have been held against recordings of this model; else they are a guess by its
    /// relatives.
    pub proven: bool,
    /// Hidden reasoning always costs its closing frame (gpt-5 of August 2025, o-series).
    pub early_frame: bool,
    /// The start of the answer costs 2 tokens instead of 3.
    pub short_start: bool,
    /// As `proven`, of the Responses API.
    pub proven_responses: bool,
    /// gpt-5.4 and later, seen in the Responses API: calls made together are one call to a wrapper,
    /// and a call that is sent back has its format's mark.
    pub wraps_calls: bool,
    /// In the list of results of calls made together, what is not ASCII is escaped: 3 of 3 prompts of
    /// gpt-4o-mini and gpt-3.5-turbo, 0 of 4 of gpt-4o, of which all are younger.
    pub ascii_results: bool,
    /// What images cost.
    pub images: ImagePrice,
}

/// Names, without date, of the models whose recorded exchanges the rules were fitted on.
const PROVEN: [&str; 20] = [
    "gpt-3.5-turbo",
    "gpt-35-turbo",
    "gpt-4",
    "gpt-4-turbo",
    "gpt-4o",
    "gpt-4o-mini",
    "gpt-4.1",
    "gpt-4.1-mini",
    "gpt-4.1-nano",
    "gpt-4.5",
    "gpt-5",
    "gpt-5-mini",
    "gpt-5-nano",
    "gpt-5.1",
    "gpt-5.2",
    "gpt-5.2-chat",
    "gpt-5.4",
    "gpt-5.4-mini",
    "o3-mini",
    "o4-mini",
];

/// The same for the Responses API.
const PROVEN_RESPONSES: [&str; 16] = [
    "gpt-3.5-turbo",
    "gpt-4o",
    "gpt-4o-mini",
    "gpt-4.1",
    "gpt-4.1-mini",
    "gpt-4.1-nano",
    "gpt-5",
    "gpt-5-mini",
    "gpt-5.2",
    "gpt-5.2-chat",
    "gpt-5.4",
    "gpt-5.4-mini",
    "gpt-5.4-nano",
    "gpt-5.5",
    "gpt-5.6-sol",
    "gpt-5.6-terra",
];

/// Models that get a text and nothing around it: they are known when their vocabulary is, and with
/// it that of a model that was made from them. Of all recordings of embeddings 210 of 211 are exact, of
/// older completions 80 of 81.
const PLAIN: [&str; 11] = [
    "text-embedding-ada-002",
    "text-embedding-3-small",
    "text-embedding-3-large",
    "gpt-3.5-turbo-instruct",
    "gpt-35-turbo-instruct",
    "davinci-002",
    "babbage-002",
    "davinci:2023",
    "babbage:2023",
    "text-davinci-002",
    "text-davinci-003",
];

/// What is known of a model; `None` if not even its vocabulary is.
pub fn model(name: &str) -> Option<Model> {
    let encoding = Encoding::for_model(name)?;
    let last = name.rsplit('/').next().unwrap_or(name);
    let bare = last.strip_prefix("ft:").unwrap_or(last);
    let starts = |prefixes: &[&str]| prefixes.iter().any(|prefix| bare.starts_with(prefix));
    let family = if starts(&["gpt-5"]) {
        Family::Gpt5
    } else if starts(&["o1", "o3", "o4", "codex", "computer-use"]) {
        Family::OSeries
    } else if bare == "gpt-4" || starts(&["gpt-4-0613", "gpt-4-03", "gpt-4-32k"]) {
        Family::Gpt4Early
    } else {
        Family::Classic
    };
    let reasons = matches!(family, Family::Gpt5 | Family::OSeries);
    Some(Model {
        family,
        encoding,
        proven: is_proven(last, &PROVEN) || is_plain(bare),
        proven_responses: is_proven(last, &PROVEN_RESPONSES),
        wraps_calls: minor_of_gpt5(bare).is_some_and(|minor| minor >= 4),
        early_frame: family == Family::OSeries
            || bare == "gpt-5"
            || starts(&["gpt-5-20", "gpt-5-mini", "gpt-5-nano"]),
        short_start: reasons && !starts(&["o1-mini"]),
        ascii_results: starts(&["gpt-3.5", "gpt-35", "gpt-4o-mini"]),
        images: ImagePrice::of(bare),
    })
}

/// One of [`PLAIN`], perhaps with its version (`-v2`, `:20230824-v2`) or what a company made of it.
fn is_plain(bare: &str) -> bool {
    let ends = |rest: &str| rest.is_empty() || rest.starts_with(['-', ':']);
    PLAIN.iter().any(|base| bare.strip_prefix(base).is_some_and(ends))
}

/// A known name, followed by nothing but a snapshot's date. `gpt-3.5-turbo-0301` had other rules.
fn is_proven(name: &str, proven: &[&str]) -> bool {
    let is_date = |part: &str| {
        let digits = !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
        digits || matches!(part, "preview" | "latest" | "16k" | "32k")
    };
    let known = |base: &str| match name.strip_prefix(base) {
        Some("") => true,
        Some(rest) => rest.strip_prefix('-').is_some_and(|rest| rest.split('-').all(is_date)),
        None => false,
    };
    !name.ends_with("-0301") && !name.ends_with("-0314") && proven.iter().any(|base| known(base))
}

/// 4 for `gpt-5.4-mini`.
fn minor_of_gpt5(name: &str) -> Option<u32> {
    let rest = name.strip_prefix("gpt-5.")?;
    rest.split('-').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families() {
        let family = |name: &str| model(name).map(|model| model.family);
        assert_eq!(family("gpt-4"), Some(Family::Gpt4Early));
        assert_eq!(family("gpt-4-0613"), Some(Family::Gpt4Early));
        assert_eq!(family("gpt-4-0125-preview"), Some(Family::Classic));
        assert_eq!(family("openai/gpt-5-mini-2025-08-07"), Some(Family::Gpt5));
        assert_eq!(family("o3-mini-2025-01-31"), Some(Family::OSeries));
        assert_eq!(family("gpt-35-turbo"), Some(Family::Classic));
        assert_eq!(family("mistral-large"), None);
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
            assert!(model(name).is_some_and(|model| model.proven), "{name}");
        }
        for name in ["text-embedding-4", "gpt-3.5-turbo-instructor", "davinci:2024-01-01"] {
            assert!(model(name).is_none_or(|model| !model.proven), "{name}");
        }
    }

    #[test]
    fn only_what_was_recorded_is_proven() {
        let proven = |name: &str| model(name).is_some_and(|model| model.proven);
        for name in [
            "gpt-4o-mini-2024-07-18",
            "gpt-4o",
            "gpt-4-0125-preview",
            "gpt-3.5-turbo-16k-0613",
            "gpt-5.2-chat-latest",
        ] {
            assert!(proven(name), "{name}");
        }
        for name in [
            "gpt-4o-audio-preview",
            "gpt-4o-search-preview-2025-03-11",
            "gpt-5.9",
            "gpt-5-codex",
            "ft:gpt-4o:x",
            "gpt-3.5-turbo-0301",
            "o1-mini",
        ] {
            assert!(!proven(name), "{name}");
        }
    }
}
