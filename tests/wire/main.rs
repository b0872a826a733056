//! The ninety numbered cases of what may happen on the wire, each with the test that holds it.
//!
//! A test of a case is named `case_NN_..` and lives with the code that it is about; those that only
//! need a meter live here. The table below is printed, and fails if a number has neither a test nor a
//! reason why there is none.
//!
//! - `framing`: events and their lines
//! - `chat`: streams of chat
//! - `messages`: Anthropic's Messages
//! - `others`: the other APIs
//! - `errors`, `failed`: what the service says went wrong, and what breaks
//! - `call`: one call through a meter, in every cut

#![allow(missing_docs, clippy::expect_used, clippy::panic, clippy::print_stdout, clippy::unwrap_used)] // a test may stop and say why

mod call;
mod chat;
mod errors;
mod failed;
mod framing;
mod messages;
mod others;
#[path = "../support/mod.rs"]
mod support;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use support::files::{root, rust_files};

const CASES: [&str; 90] = [
    "any cut, byte by byte",
    "LF, CRLF, CR, mixed, cut",
    "a byte order mark, cut",
    "spaces behind `data:`",
    "data of several lines",
    "comments, heartbeats",
    "fields without colon, unknown, retry, id",
    "an event without data",
    "U+2028 and U+0085 end no line",
    "characters cut; bytes that are none",
    "one line of 32 MiB",
    "an end without a blank line",
    "bytes behind [DONE]",
    "[DONE] with and without spaces, and in a text",
    "chunks and events are unrelated",
    "prompt filter results come first",
    "an annotation without delta",
    "annotations behind finish and usage",
    "finish_reason content_filter, empty id",
    "usage null, then real",
    "usage beside choices",
    "usage of zeros, running totals",
    "cut before the usage that was asked for",
    "usage not asked for",
    "three choices that take turns",
    "parallel calls, cut in an escape",
    "function_call, refusal, reasoning_content",
    "logprobs without bytes",
    "obfuscation",
    "nothing said",
    "reasoning tokens",
    "predicted outputs",
    "details: present, missing, unknown",
    "characters over deltas, lone surrogates",
    "keys in any order, escaped, twice; odd numbers",
    "completions, Foundry, echo, best_of",
    "on your data",
    "an error within a stream",
    "stream wanted, JSON error came",
    "400 content_filter",
    "408, 500, 503",
    "429",
    "the service breaks off",
    "the service falls silent",
    "the service never answers",
    "hang-up behind [DONE]",
    "hang-up in mid-stream, abort",
    "hang-up in mid-stream, drain",
    "hang-up before the head",
    "a slow reader",
    "SIGTERM with live streams",
    "Kafka down, slow, full",
    "Connection names fields",
    "request framing that two readers could differ on",
    "answer framing that two readers could differ on",
    "Expect: 100-continue",
    "1xx of the service",
    "HTTP/1.0, HEAD, OPTIONS, 204, 304",
    "trailers",
    "host, paths and queries",
    "a stale pooled connection",
    "websocket",
    "HTTP/2 from the gateway",
    "20 MB bodies, model as the last key",
    "gzip, deflate, br, zstd",
    "codings that are broken, unknown, stacked",
    "a bomb",
    "content types",
    "usage before and behind 5 MB",
    "embeddings",
    "audio, speech, images",
    "responses: the same text three times",
    "responses: incomplete, failed",
    "responses: unknown events",
    "responses: background and polling",
    "responses: previous_response_id",
    "responses: cancel",
    "assistants",
    "forged identity",
    "identity twice, too long, not ASCII",
    "JWTs of every kind",
    "subscription keys",
    "a gateway's retry after 429",
    "a gateway's retry after 504",
    "an SDK's retry",
    "spillover",
    "model router, service tier",
    "ids that are missing or Not-Set",
    "the clock jumps, a stream of an hour",
    "paths that are no calls",
];

/// Cases that nothing can hold, with the reason.
const OUT_OF_SCOPE: &[(usize, &str)] =
    &[(63, "both sides speak HTTP/1.1 only, by design: ALPN offers nothing else")];

/// Every `fn case_NN_..` under a folder, by number.
fn tests_by_case(folder: &Path, found: &mut BTreeMap<usize, Vec<String>>) {
    for path in rust_files(folder) {
        let text = fs::read_to_string(&path).expect("a source file is UTF-8");
        let mut before = "";
        for line in text.lines().map(str::trim) {
            let name = line.strip_prefix("fn case_").or_else(|| line.strip_prefix("async fn case_"));
            if let Some(name) = name
                && before.starts_with("#[")
            {
                let number = name.split('_').next().and_then(|digits| digits.parse().ok());
                let number = number.unwrap_or_else(|| panic!("no number: {line}"));
                let name = name.split('(').next().unwrap_or(name);
                found.entry(number).or_default().push(format!("case_{name}"));
            }
            before = line;
        }
    }
}

#[test]
fn every_case_has_a_test_or_a_reason() {
    let mut found = BTreeMap::new();
    ["src", "crates", "tests"].iter().for_each(|folder| tests_by_case(&root().join(folder), &mut found));
    let mut missing = Vec::new();
    for (number, what) in (1..).zip(CASES) {
        let out = OUT_OF_SCOPE.iter().find(|(out, _)| *out == number).map(|(_, why)| *why);
        let state = match (found.get(&number), out) {
            (Some(tests), None) => tests.join(", "),
            (None, Some(why)) => format!("out of scope: {why}"),
            (None, None) => {
                missing.push(number);
                "MISSING".to_owned()
            }
            (Some(tests), Some(why)) => format!("out of scope: {why} ({})", tests.join(", ")),
        };
        println!("{number:>3}  {what:<48} {state}");
    }
    let unknown: Vec<_> = found.keys().filter(|number| !(1..=CASES.len()).contains(*number)).collect();
    assert!(unknown.is_empty(), "tests of cases that do not exist: {unknown:?}");
    assert!(missing.is_empty(), "cases without a test: {missing:?}");
}
