//! Tells which encoding a model uses.
//!
//! Only families whose encoding is known stand here: a model that is not in the table has no
//! count, rather than a wrong one.

use super::encoding::Encoding;

/// The families of models whose encoding is known, each with its encoding.
///
/// A model belongs to the first family that its name begins with, if the name ends there or goes on
/// with a mark other than a full stop (`gpt-4` is not the family of `gpt-4.9` or `gpt-45`). A
/// family that ends with a mark takes any name that begins with it.
pub const FAMILIES: &[(&str, Encoding)] = &[
    ("gpt-4o", Encoding::O200kBase),
    ("gpt-4.1", Encoding::O200kBase),
    ("gpt-4.5", Encoding::O200kBase),
    ("gpt-5", Encoding::O200kBase),
    ("gpt-5.", Encoding::O200kBase),
    ("chatgpt-4o", Encoding::O200kBase),
    ("o1", Encoding::O200kBase),
    ("o3", Encoding::O200kBase),
    ("o4", Encoding::O200kBase),
    ("gpt-audio", Encoding::O200kBase),
    ("gpt-realtime", Encoding::O200kBase),
    // Its vocabulary has more special tokens than o200k's, and the same words.
    ("gpt-oss", Encoding::O200kBase),
    ("codex-", Encoding::O200kBase),
    ("computer-use", Encoding::O200kBase),
    ("gpt-4", Encoding::Cl100kBase),
    ("gpt-3.5", Encoding::Cl100kBase),
    ("gpt-35", Encoding::Cl100kBase),
    ("text-embedding-", Encoding::Cl100kBase),
    ("davinci-002", Encoding::Cl100kBase),
    ("babbage-002", Encoding::Cl100kBase),
    // The two call themselves so in their responses.
    ("davinci:2023", Encoding::Cl100kBase),
    ("babbage:2023", Encoding::Cl100kBase),
];

/// Starts of the names of models that no text is counted for, and why.
const UNCOUNTED: &[(&str, &str)] = &[
    ("dall-e", "it makes images and is billed by the image"),
    ("gpt-image", "it makes images; what it makes of a text is not published"),
    ("chatgpt-image", "it makes images; what it makes of a text is not published"),
    ("sora", "it makes videos and is billed by the second"),
    ("whisper", "it writes down speech and is billed by the minute"),
    ("gpt-transcribe", "its vocabulary is not published"),
    ("tts-", "it speaks and is billed by the character"),
    ("claude", "Anthropic does not publish it; only the service can count"),
    ("omni-moderation", "it is not billed"),
    ("text-moderation", "it is not billed"),
    ("model-router", "it passes calls on: its answers name the model that counts"),
];

/// Families of 2020 to 2022, which OpenAI and Azure retired in 2024. They had vocabularies of their own,
/// p50k_base and r50k_base.
const RETIRED: [&str; 13] = [
    "text-davinci",
    "text-curie",
    "text-babbage",
    "text-ada",
    "text-similarity-",
    "text-search-",
    "code-davinci",
    "code-cushman",
    "code-search-",
    "davinci",
    "curie",
    "babbage",
    "ada",
];

/// Why a model has no vocabulary to count with, where that is known.
pub fn why_uncounted(model: &str) -> Option<&'static str> {
    let name = bare_name(model);
    let retired = RETIRED.iter().any(|family| belongs_to(name, family));
    let known = UNCOUNTED.iter().find(|(start, _)| name.starts_with(start)).map(|&(_, why)| why);
    known.or(retired.then_some("it was retired in 2024, and its vocabulary with it"))
}

impl Encoding {
    /// The encoding of a model, or `None` if its family is not one of [`FAMILIES`].
    pub fn for_model(model: &str) -> Option<Encoding> {
        let name = bare_name(model);
        FAMILIES.iter().find(|(family, _)| belongs_to(name, family)).map(|&(_, encoding)| encoding)
    }
}

/// The name without a deployment's path before the last `/`, and without the `ft:` of a fine-tuned model.
fn bare_name(model: &str) -> &str {
    let name = model.rsplit('/').next().unwrap_or(model);
    name.strip_prefix("ft:").unwrap_or(name)
}

fn belongs_to(name: &str, family: &str) -> bool {
    let Some(rest) = name.strip_prefix(family) else { return false };
    let open = !family.ends_with(|c: char| c.is_ascii_alphanumeric());
    open || !rest.starts_with(|c: char| c.is_alphanumeric() || c == '.')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn models_of_known_families() {
        let o200k = "gpt-4o gpt-4o-mini-2024-07-18 gpt-4.1 gpt-4.1-nano gpt-4.5-preview gpt-5 gpt-5-mini gpt-5.1 \
            gpt-5.1-codex chatgpt-4o-latest o1 o1-mini o3 o3-pro-2025-06-10 o4-mini gpt-audio-mini gpt-realtime \
            codex-mini-latest computer-use-preview gpt-oss-120b gpt-5.6-cyber ft:gpt-4o-mini-2024-07-18:org::id azure/gpt-4o openai/o3-mini";
        let cl100k = "gpt-4 gpt-4-0613 gpt-4-32k gpt-4-turbo-2024-04-09 gpt-4-vision-preview gpt-3.5-turbo \
            gpt-35-turbo gpt-35-turbo-16k gpt-3.5-turbo-instruct text-embedding-ada-002 text-embedding-3-large \
            davinci-002 babbage-002 davinci:2023-07-21-v2 ft:gpt-3.5-turbo-0125:org:name:id ft:davinci-002:org a/b/gpt-4";
        for model in o200k.split_whitespace() {
            assert_eq!(Encoding::for_model(model), Some(Encoding::O200kBase), "{model}");
        }
        for model in cl100k.split_whitespace() {
            assert_eq!(Encoding::for_model(model), Some(Encoding::Cl100kBase), "{model}");
        }
    }

    #[test]
    fn unknown_families_have_no_encoding() {
        let unknown = "text-davinci4 davincis adams gpt-2 gpt-6 gpt-45 gpt-4.9 gpt-4.10 gpt-50 o2 o10 o1x \
            claude-3 llama gpt gpt-4/ ft: text-embedding codex chatgpt dall-e-3 whisper-1 gpt-4o/claude";
        for model in unknown.split_whitespace().chain(["", "/", " gpt-4"]) {
            assert_eq!(Encoding::for_model(model), None, "{model:?}");
        }
    }

    #[test]
    fn what_is_not_counted_is_of_no_family() {
        for &(start, why) in UNCOUNTED {
            let model = format!("{start}-x");
            assert_eq!((Encoding::for_model(&model), why_uncounted(&model)), (None, Some(why)), "{start}");
        }
        assert_eq!(why_uncounted("azure/model-router-2025-05-19").map(str::is_empty), Some(false));
        assert_eq!(why_uncounted("gpt-4o"), None);
        for model in
            "text-davinci-003 text-curie-001 text-ada-001 davinci curie:ft-org-2023-01-01 ada ft:babbage:org \
            davinci:2020-05-03 code-cushman-001 code-search-ada-code-001 text-similarity-ada-001"
                .split_whitespace()
        {
            let why = why_uncounted(model).unwrap_or_default();
            assert!(why.contains("retired") && Encoding::for_model(model).is_none(), "{model}: {why}");
        }
        for model in ["davincis", "adams", "text-davinci4"] {
            assert_eq!(why_uncounted(model), None, "{model}");
        }
    }

    #[test]
    fn each_family_names_a_model_of_its_own() {
        for &(family, encoding) in FAMILIES {
            let model = format!("{}-x", family.trim_end_matches(['-', '.']));
            assert_eq!(Encoding::for_model(&model), Some(encoding), "{family}");
        }
    }
}
