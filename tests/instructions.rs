//! Instructions for a delta, from the bytes of a stream to its count. They are the same on every run
//! and do not depend on how busy the machine is, so they are held to a bound.
//!
//! Needs `valgrind`; without, it is listed as not run.
#![allow(missing_docs, clippy::expect_used, clippy::panic, clippy::print_stdout, clippy::unwrap_used)] // a test may stop and say why

#[path = "support/mod.rs"]
mod support;

use std::process::{Command, Stdio};

use http::header::{CONTENT_TYPE, HeaderValue};
use http::{HeaderMap, StatusCode};
use metering::caller::{Caller, Trust};
use metering::meter::{Ending, Meter, Rules};
use metering::tokens;
use metering::usage::{Api, Target, Usage};
use support::skip;

/// Tells the process under valgrind what to do.
const DELTAS: &str = "TOKENWEIR_TEST_DELTAS";
const WORDS: &str = "TOKENWEIR_TEST_WORDS";

/// Deltas of the short and of the long run: their difference is free of start and end.
const SHORT: u64 = 1_000;
const LONG: u64 = 6_000;

const LATIN: &str = "The| weir| measures| a| stream| it|'s| 1|234|.| (|über|)";
const CHINESE: &str = "堰|测量|水流|而|不|阻挡|它|。|工程|师|每年|,|校准";
const ESCAPED: &str = "The|\\n\\n| \\\"weir\\\"|\\u00e9t|\\ud83d\\ude00|\\t| a|\\\\";

/// What a delta may take: a quarter over the 1,471, 1,523 and 1,930 that it took when this was written.
/// A build of `opt-level = 1` takes 1,689, 1,737 and 2,160.
const BOUNDS: [(&str, &str, f64); 3] =
    [("Latin", LATIN, 1_840.0), ("Chinese", CHINESE, 1_905.0), ("escaped", ESCAPED, 2_415.0)];

#[test]
fn a_delta_takes_so_many_instructions() {
    if Command::new("valgrind").arg("--version").stdout(Stdio::null()).status().is_err() {
        return skip::test("valgrind is not installed");
    }
    for (name, words, most) in BOUNDS {
        let each = (instructions(words, LONG) - instructions(words, SHORT)) as f64 / (LONG - SHORT) as f64;
        println!("{name}: {each:.0} instructions a delta, at most {most}");
        assert!(each <= most, "{name}: {each:.0} instructions a delta, at most {most}");
    }
}

/// What the process executes that meters so many deltas.
fn instructions(words: &str, deltas: u64) -> u64 {
    let mut valgrind = Command::new("valgrind");
    valgrind.args(["--tool=callgrind", "--callgrind-out-file=/dev/null"]);
    valgrind.arg(std::env::current_exe().unwrap()).args(["--exact", "--ignored", "--test-threads=1", "work"]);
    let output = valgrind.env(DELTAS, deltas.to_string()).env(WORDS, words).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let collected = said.lines().find_map(|line| line.split("Collected : ").nth(1));
    collected.unwrap_or_else(|| panic!("no count in {said}")).trim().parse().unwrap()
}

/// The work that is counted; by itself it does nothing.
#[test]
#[ignore = "run by the other test"]
fn work() {
    let (Ok(deltas), Ok(words)) = (std::env::var(DELTAS), std::env::var(WORDS)) else { return };
    let (deltas, words): (usize, Vec<&str>) = (deltas.parse().unwrap(), words.split('|').collect());
    tokens::load();
    let events: Vec<String> = words.iter().map(|word| event(word)).collect();
    let target = Target { api: Api::ChatCompletions, ..Target::default() };
    let draft = Usage::draft(Caller::unattributed(Trust::None), target);
    let mut meter = Meter::new(draft, Rules { end_of_turn: true });
    meter.request_bytes(br#"{"model":"gpt-4o","stream":true,"messages":[{"role":"user","content":"Hi"}]}"#);
    meter.request_end();
    let content_type = HeaderValue::from_static("text/event-stream");
    meter.response_head(StatusCode::OK, &HeaderMap::from_iter([(CONTENT_TYPE, content_type)]));
    for event in events.iter().cycle().take(deltas) {
        assert_eq!(meter.response_bytes(event.as_bytes(), usize::MAX), event.len());
    }
    assert!(meter.settle(Ending::ClientDisconnect).tokens.output.unwrap() >= deltas as u64 / 2);
}

/// A chunk as Azure sends it.
fn event(word: &str) -> String {
    format!(
        r#"data: {{"choices":[{{"content_filter_results":{{"hate":{{"filtered":false,"severity":"safe"}}}},"delta":{{"content":"{word}"}},"finish_reason":null,"index":0,"logprobs":null}}],"created":1790000000,"id":"chatcmpl-1","model":"gpt-4o-2024-11-20","object":"chat.completion.chunk","system_fingerprint":"fp_1"}}"#
    ) + "\n\n"
}
