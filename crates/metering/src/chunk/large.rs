//! Requests of any size: the members that count are found wherever they stand, in memory that does not grow.

use proptest::prelude::*;
use serde_json::Value;

use super::{RequestFacts, RequestScan, Stop, ToolChoice};

/// The findings of a general parser: the whole document is there, of equal keys the last wins.
fn expected(body: &str) -> RequestFacts {
    let value: Value = serde_json::from_str(body).unwrap();
    let given = |key: &str| value.get(key).is_some_and(|value| !value.is_null() && value != "");
    let tools = value["tools"].as_array().map_or(&[][..], Vec::as_slice);
    RequestFacts {
        model: value["model"].as_str().map(Into::into),
        agent: value["agent_reference"]["name"].as_str().map(Into::into),
        stream: match &value["stream"] {
            Value::Null => Some(false),
            stream => stream.as_bool(),
        },
        include_usage: value["stream_options"]["include_usage"] == true,
        n: value["n"].as_u64(),
        functions: tools.iter().filter(|tool| tool["type"] == "function").count() as u32,
        tool_choice: match &value["tool_choice"] {
            Value::Object(_) => ToolChoice::Named,
            Value::String(word) if word == "required" => ToolChoice::Required,
            _ => ToolChoice::Auto,
        },
        stop: if given("stop") { Stop::Words } else { Stop::Never },
        limit: value["max_tokens"].as_u64(),
        data_sources: given("data_sources"),
        server_state: given("previous_response_id"),
        complete: true,
        ..RequestFacts::default()
    }
}

fn scan<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> RequestScan {
    let mut scan = RequestScan::default();
    for piece in pieces {
        scan.push(piece);
        assert!(scan.heap_bytes() <= HEAP_BYTES_MAX, "{} bytes are held", scan.heap_bytes());
    }
    scan
}

/// A token of 256 bytes, a model's name and two of agents, each in a buffer that may have doubled.
const HEAP_BYTES_MAX: usize = 8 * 256;

/// A key, some letters of it escaped.
fn spelled(key: &str, escapes: u32) -> String {
    let letter = |(at, letter): (usize, char)| match escapes >> (at % 32) & 1 {
        0 => letter.to_string(),
        _ => format!("\\u{:04x}", letter as u32),
    };
    key.chars().enumerate().map(letter).collect()
}

/// A member that counts, or one that looks like it.
fn member() -> impl Strategy<Value = String> {
    let known = prop::sample::select(vec![
        ("model", r#""gpt-4o""#),
        ("model", r#""gpt-\u0035""#),
        ("model", "null"),
        ("agent_reference", r#"{"type":"agent_reference","name":"clerk"}"#),
        ("agent_reference", r#"{"name":"no","other":{"name":"no"},"n\u0061me":"clerk"}"#),
        ("agent_reference", "null"),
        ("stream", "true"),
        ("stream", "false"),
        ("n", "3"),
        ("stream_options", r#"{"include_usage":true}"#),
        ("stream_options", r#"{"other":{"include_usage":true}}"#),
        (
            "tools",
            r#"[{"type":"function","function":{"type":"x"}},{"function":{"name":"type"},"type":"function"}]"#,
        ),
        ("tools", "[]"),
        ("tool_choice", r#""required""#),
        ("tool_choice", r#"{"type":"function","function":{"name":"f"}}"#),
        ("stop", r#"["\nEND","\"model\":"]"#),
        ("max_tokens", "77"),
        ("previous_response_id", r#""r""#),
        ("previous_response_id", "null"),
        ("data_sources", "[{}]"),
    ]);
    let known =
        (known, any::<u32>()).prop_map(|((key, value), bits)| format!("\"{}\":{value}", spelled(key, bits)));
    let lie = r#"\"model\":\"no\",\"stream\":true}],{\\"#;
    let filler = prop_oneof![
        (0_usize..5_000)
            .prop_map(move |times| format!("\"messages\":[{{\"content\":\"{}\"}}]", lie.repeat(times))),
        (0_usize..55).prop_map(|deep| format!(
            "\"x\":{}{}",
            "[{\"model\":".repeat(deep),
            "0".to_owned() + &"}]".repeat(deep)
        )),
        (0_usize..3_000).prop_map(|times| format!(
            "\"{}\":[{}0]",
            "k".repeat(times),
            "{\"stream\":true},".repeat(times)
        )),
        Just(" \"y\" :\r\n\t{ \"stream\" : true , \"model\":{\"model\":[]} } ".to_owned()),
    ];
    prop_oneof![2 => known, 1 => filler]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn keys_are_found_wherever_they_stand(members in prop::collection::vec(member(), 0..12), piece_bytes in 1_usize..5_000) {
        let body = format!("{{{}}}", members.join(","));
        let found = scan(body.as_bytes().chunks(piece_bytes)).facts();
        prop_assert_eq!(found, expected(&body));
    }
}

/// Deeper than any parser goes, and longer than any buffer.
#[test]
fn keys_behind_twenty_megabytes() {
    let large = 20 << 20;
    let fillers = [
        format!("\"messages\":\"{}\"", "x".repeat(large)),
        format!("\"messages\":\"{}\"", "\\\"".repeat(large / 2)),
        format!("\"messages\":{}{}", "[".repeat(large / 2), "]".repeat(large / 2)),
        format!("\"messages\":[{}0]", "{\"a\":\"]\"},".repeat(large / 10)),
        format!("\"{}\":0", "k".repeat(large)),
        format!("\"messages\":[0{}]", " ".repeat(large)),
        format!("\"messages\":{}", "1".repeat(large)),
    ];
    let wanted = RequestFacts {
        model: Some("gpt-4o".into()),
        agent: Some("clerk".into()),
        stream: Some(true),
        server_state: true,
        data_sources: true,
        complete: true,
        ..RequestFacts::default()
    };
    for filler in fillers {
        let body = format!(
            r#"{{"model":"no",{filler},"mod\u0065l":"gpt-4o","agent":{{"name":"clerk"}},"stream":true,"previous_response_id":"r","data_sources":[{{}}]}}"#
        );
        for piece_bytes in [64 << 10, 4_099] {
            assert_eq!(scan(body.as_bytes().chunks(piece_bytes)).facts(), wanted, "{}", &filler[..20]);
        }
    }
}
