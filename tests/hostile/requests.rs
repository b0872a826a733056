//! Requests that are too large, too deep, or ask for too much.

use metering::usage::{Quality, Source};

use super::answers::words;
use super::drive;
use super::rig::Case;
use super::support::turn::alone;

/// The answer to all of them: one word, and no usage, so that the prompt must be counted.
const ANSWER: &str = concat!(
    "data: {\"id\":\"x\",\"model\":\"gpt-4o\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"Hello\"}}]}\n\n",
    "data: {\"id\":\"x\",\"model\":\"gpt-4o\",\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n",
    "data: [DONE]\n\n"
);

/// What counting a prompt may take beside the prompt: its pieces joined, and their values.
const COUNTING_BYTES_MAX: usize = 600 << 20;

#[test]
fn requests_that_are_hard_to_read() {
    let _alone = alone();
    let deep =
        |open: &str, close: &str, times: usize| format!("{}1{}", open.repeat(times), close.repeat(times));
    let schema = |inner: String| format!("{{\"type\":\"object\",\"properties\":{{\"a\":{inner}}}}}");
    let message =
        "\"model\":\"gpt-4o\",\"stream\":true,\"messages\":[{\"role\":\"user\",\"content\":\"Hi\"}]";
    let tool = |parameters: String| {
        format!(
            "{{{message},\"tools\":[{{\"type\":\"function\",\"function\":{{\"name\":\"f\",\"parameters\":{parameters}}}}}]}}"
        )
    };
    for (name, request) in [
        (
            "20 MB of one message",
            format!(
                "{{\"model\":\"gpt-4o\",\"messages\":[{{\"role\":\"user\",\"content\":\"{}\"}}]}}",
                words(20 << 20)
            ),
        ),
        (
            "a million messages",
            format!(
                "{{\"model\":\"gpt-4o\",\"messages\":[{}{{}}]}}",
                "{\"role\":\"user\",\"content\":\"Hi\"},".repeat(300_000)
            ),
        ),
        ("a million members", format!("{{{}{message}}}", "\"stream\":false,".repeat(1 << 20))),
        ("a million models", format!("{{{}{message}}}", "\"model\":\"m\",".repeat(1 << 20))),
        ("10 MB of [", format!("{{\"x\":{},{message}}}", deep("[", "]", 5 << 20))),
        ("a schema that is 100,000 deep", tool(schema(deep("{\"type\":\"array\",\"items\":", "}", 100_000)))),
        ("a schema that is 100 deep", tool(schema(deep("{\"type\":\"array\",\"items\":", "}", 50)))),
        (
            "20,000 tools",
            format!(
                "{{{message},\"tools\":[{}{{}}]}}",
                "{\"type\":\"function\",\"function\":{\"name\":\"f\"}},".repeat(20_000)
            ),
        ),
        (
            "an enum of 100,000",
            tool(schema(format!("{{\"type\":\"string\",\"enum\":[{}\"z\"]}}", "\"a\",".repeat(100_000)))),
        ),
        (
            "100,000 properties",
            tool(format!(
                "{{\"type\":\"object\",\"properties\":{{{}\"z\":{{}}}}}}",
                (0..100_000).map(|n| format!("\"p{n}\":{{\"type\":\"string\"}},")).collect::<String>()
            )),
        ),
        (
            "a huge n",
            format!(
                "{{\"n\":18446744073709551615,\"best_of\":99999999999999999999,\"max_tokens\":18446744073709551615,{message}}}"
            ),
        ),
        ("a negative n", format!("{{\"n\":-9223372036854775808,\"max_tokens\":-1,{message}}}")),
        ("100,000 stop words", format!("{{\"stop\":[{}\"z\"],{message}}}", "\"a\",".repeat(100_000))),
        ("no JSON", words(5 << 20)),
    ] {
        for frame_bytes in [64 << 10, 900] {
            let case = Case::stream(name, ANSWER).asking(request.clone()).in_frames_of(frame_bytes);
            let usage = drive(&case.within(COUNTING_BYTES_MAX)).usage;
            // A token more where a tool is offered.
            assert!(matches!(usage.tokens.output, Some(2 | 3)), "{name}: {usage:?}");
            let accounting = &usage.accounting;
            let known = accounting.input_source != Source::Unknown;
            assert_eq!(known, usage.tokens.input.is_some(), "{name}");
            assert!(
                known || accounting.reasons.iter().any(|reason| reason.starts_with("input:")),
                "{name}: {accounting:?}"
            );
            assert!(!name.contains("no JSON") || accounting.input_quality == Quality::Unknown);
        }
    }
}
