//! Vocabularies are types: a word of one stands in its table, and in no other source as a literal.

use std::fs;

use metering::usage::{
    EventType, IncludeUsage, Injection, Outcome, Quality, Reason, RuleClass, Side, Source, TokenClass, Unit,
};
use strum::VariantArray;
use tokenweir::config::settings::{Kind, SETTINGS};

use crate::support::files::{root, rust_files};

/// Where sources lie.
const PACKAGES: [&str; 2] = ["src", "crates/metering/src"];

/// Words of the vocabularies that are also words of the service's JSON, which these files read and write.
const ON_THE_WIRE: (&[&str], &[&str]) = (
    &[
        "crates/metering/src/account/",
        "crates/metering/src/api/",
        "crates/metering/src/chunk/",
        "crates/metering/src/meter/",
        "crates/metering/src/prompt/",
        "src/demo/fixtures.rs",
        "src/demo/message.rs",
        "src/demo/script.rs",
        "src/demo/work.rs",
        "src/proxy/",
        "src/report/content/readable/",
    ],
    &[
        "audio",
        "background",
        "best_of",
        "calls",
        "choices",
        "compaction",
        "content_filter",
        "custom_tool",
        "echo",
        "embeddings",
        "encoding",
        "file",
        "image",
        "images",
        "input",
        "json_schema",
        "odd_path",
        "output",
        "pages",
        "prediction",
        "refusal",
        "search_units",
        "suffix",
        "text",
        "tool_choice",
        "tools",
    ],
);

/// Words that mean something else below a path, each with its meaning there.
const OTHER_MEANINGS: [(&str, &str, &str); 26] = [
    ("absent", "crates/metering/src/caller/", "a label: no source named a caller"),
    ("call", "src/admin/page/", "the name of a server-sent event"),
    ("call", "src/cli/open.rs", "a flag of `open`"),
    ("call", "src/report/", "a plain word of a sentence"),
    ("call", "src/telemetry/log.rs", "the message of a call's line"),
    ("calls", "src/demo/", "a column of the demo, as of the report"),
    ("calls", "src/report/watch/", "a column of `top`, and the path of the calls at the admin port"),
    ("calls", "src/report/columns.rs", "a column of the report"),
    ("calls", "src/report/close/", "a member of the manifest of a close"),
    ("client", "src/proxy/", "a side of TLS"),
    ("complete", "src/report/", "a member of the report's JSON"),
    ("deferred", "src/ledger/", "a table of the ledger"),
    ("encoding", "crates/metering/src/tokens/", "a field in debug output"),
    ("file", "src/cli/", "the argument FILE"),
    ("refused", "src/cli/events.rs", "a flag of `events`"),
    ("refused", "src/cli/health.rs", "a part of the system's message"),
    ("refused", "src/ledger/", "a table of the ledger"),
    ("refused", "src/report/close/", "a member of the manifest of a close"),
    ("refused", "src/report/verify/", "a kind of finding, and its column"),
    ("rejected", "src/proxy/", "a label: what became of an odd path"),
    ("unknown", "src/report/focus/", "a name where an event has none"),
    ("unknown", "src/telemetry/build_info.rs", "a label where the commit is not known"),
    ("reported", "crates/metering/src/api/markdown.rs", "a cell of a table in docs"),
    ("timeout", "crates/metering/src/meter/", "an error code of the service"),
    ("timeout", "src/proxy/", "an error code of the service"),
    ("tools", "src/demo/", "a member of the service's JSON"),
];

#[test]
fn a_word_of_the_events_stands_in_its_table_only() {
    let words = [
        words(EventType::VARIANTS.iter().map(|word| word.as_str())),
        words(IncludeUsage::VARIANTS.iter().map(|word| word.into())),
        words(Injection::VARIANTS.iter().map(|word| word.as_str())),
        words(Outcome::VARIANTS.iter().map(|word| word.as_str())),
        words(Quality::VARIANTS.iter().map(|word| word.as_str())),
        words(Reason::VARIANTS.iter().map(|word| word.as_str())),
        words(RuleClass::VARIANTS.iter().map(|word| word.as_str())),
        words(Side::VARIANTS.iter().map(|word| word.as_str())),
        words(Source::VARIANTS.iter().map(|word| word.as_str())),
        words(TokenClass::VARIANTS.iter().map(|word| word.as_str())),
        words(Unit::VARIANTS.iter().map(|word| word.as_str())),
    ]
    .concat();
    let mut found = Vec::new();
    for (name, source) in sources("crates/metering/src/usage/") {
        for word in &words {
            let literals = [format!("\"{word}\""), format!("\"input:{word}\""), format!("\"output:{word}\"")];
            if !literals.iter().any(|literal| source.contains(literal)) {
                continue;
            }
            let (files, known) = ON_THE_WIRE;
            let on_the_wire = known.contains(word) && files.iter().any(|file| name.starts_with(file));
            let means_other =
                OTHER_MEANINGS.iter().any(|(other, file, _)| other == word && name.starts_with(file));
            if !on_the_wire && !means_other {
                found.push(format!("  {name}: {word}"));
            }
        }
    }
    assert!(found.is_empty(), "words of events as literals:\n{}", found.join("\n"));
}

/// Settings are read by their constants, and the words of a choice are variants.
#[test]
fn a_name_of_a_setting_stands_in_its_table_only() {
    /// Names that are also plain words: a directory, a field.
    const ALSO_WORDS: [&str; 2] = ["ledger", "upstream"];
    let mut found = Vec::new();
    for (name, source) in sources("src/config/settings.rs") {
        if !name.starts_with("src/config/") && !name.starts_with("src/cli/") {
            continue;
        }
        for setting in SETTINGS {
            let words = match setting.kind {
                Kind::Choice(words) => words,
                _ => &[],
            };
            let names = std::iter::once(&setting.name).filter(|name| !ALSO_WORDS.contains(name));
            // "1" and "0" are no words, and `none` is what clap and serde call many things.
            for word in names.chain(words.iter().filter(|word| word.contains('-'))) {
                if source.contains(&format!("\"{word}\"")) {
                    found.push(format!("  {name}: {word}"));
                }
            }
        }
    }
    assert!(found.is_empty(), "settings as literals:\n{}", found.join("\n"));
}

fn words(words: impl Iterator<Item = &'static str>) -> Vec<&'static str> {
    words.collect()
}

/// Every source but those of one place, without its comments and its tests, by its path from the root.
fn sources(but: &str) -> Vec<(String, String)> {
    let files = PACKAGES.iter().flat_map(|package| rust_files(&root().join(package)));
    let named = files.map(|file| (file.strip_prefix(root()).unwrap().display().to_string(), file));
    let is_read =
        |name: &str| !name.starts_with(but) && !name.ends_with("/tests.rs") && !name.contains("/tests/");
    let read = |path| {
        let text = fs::read_to_string(path).unwrap();
        let source = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
        source.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n")
    };
    named.filter(|(name, _)| is_read(name)).map(|(name, file)| (name, read(file))).collect()
}
