//! What the service charges for a prompt, computed from the request body.
//!
//! All rules here were fitted on 4,486 recorded exchanges with api.openai.com and Azure OpenAI and
//! held against the `usage` that the service reported; `N(s)` is the number of tokens of `s` in the
//! model's encoding, special tokens being ordinary text. *Classic* is gpt-3.5-turbo since June 2023,
//! gpt-4, gpt-4o, gpt-4.1 and gpt-4.5. Of 2,189 classic prompts of text 97.5 % are exact; of 156
//! gpt-5 prompts 92.3 %; of 154 prompts that were fetched after the rules were fixed, 98.7 %.
//!
//! `prompt = 3 + sum over messages` (gpt-5, o3, o4: `2 + ..`):
//!
//! | message | tokens |
//! |---|---|
//! | text | `3 + N(role) + N(content)`; parts are joined without anything between them |
//! | with `name` | `+ N(name) + 1`; if it is the role's name, `+ N(name)` |
//! | assistant's text where a JSON schema is asked for | `+ 4` |
//! | assistant, one call | `4 + N(content) + N(" to=functions." + name) + N(compact arguments)` |
//! | assistant, several calls | `4 + N(" to=multi_tool_use.parallel") + N(wrapper)` |
//! | result of one call | `6 + N(function's name) + N(content)` |
//! | results of calls made together | `10 + N(list of the results as JSON)` |
//!
//! The wrapper is `{"tool_uses":[{"recipient_name":"functions.NAME","parameters":ARGUMENTS},..]}`; in the
//! list of results JSON objects and arrays stand as such, other results as strings. gpt-5 adds 2 to each
//! earlier text of the assistant, 6 to each message with calls, and knows no wrapper.
//!
//! Tools are text joined to the first system message, or one of their own, `- 1` (gpt-5: a hidden
//! preamble of 84 or 81 tokens): see `tools.rs`. A JSON schema is text joined behind
//! it, `+ N(name) + 2` where there are no tools: see `schema.rs`. `tool_choice` costs 1 if `none`,
//! `N(" to=functions." + name) + 4` if it names a function (not for gpt-5).
//!
//! What is not proven is said: [`PromptCount::reasons`] names everything in a request that the
//! recordings do not cover, and a model whose vocabulary is not known has no count at all.

mod chat;
mod doubts;
mod json;
mod model;
mod schema;
mod tools;

use std::borrow::Cow;

use serde_json::Value;

pub use json::{compact, parallel};
pub use model::{Family, Model, model};

/// Version of the rules; stands in `accounting.rules`.
pub const RULES: &str = "chat-1";

/// The count of one prompt.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PromptCount {
    /// Its tokens; `None` if the rules say nothing.
    pub tokens: Option<u64>,
    /// Why the number is not exact, without the side: `remote_image`.
    pub reasons: Vec<&'static str>,
}

impl PromptCount {
    fn unknown(reason: &'static str) -> PromptCount {
        PromptCount { tokens: None, reasons: vec![reason] }
    }
}

/// Counts the prompt of a chat completion under a model's rules. Takes some 20 ms for a megabyte.
pub fn count_chat(body: &[u8], model: &str) -> PromptCount {
    let Some(model) = self::model(model) else { return PromptCount::unknown("unknown_model") };
    let Some(Value::Object(request)) = parse(body) else { return PromptCount::unknown("unreadable") };
    if chat::messages(&request).is_empty() {
        return PromptCount::unknown("unreadable");
    }
    if doubts::server_state(&request) {
        return PromptCount::unknown("server_state");
    }
    let tools = chat::tools_text(&request);
    if tools.endless {
        return PromptCount::unknown("tool_schema");
    }
    let reasons = doubts::doubts(&request, model, &tools);
    PromptCount { tokens: Some(chat::tokens(&request, model, &tools)), reasons }
}

/// Reads a body as the service does: what is no Unicode becomes U+FFFD.
fn parse(body: &[u8]) -> Option<Value> {
    let text = String::from_utf8_lossy(body);
    let text = text.strip_prefix('\u{FEFF}').unwrap_or(&text);
    match serde_json::from_str(text) {
        Ok(value) => Some(value),
        Err(_) => serde_json::from_str(&without_lone_surrogates(text)?).ok(),
    }
}

/// Half a surrogate pair in an escape is no string to serde_json. `None` if there is no such escape.
fn without_lone_surrogates(text: &str) -> Option<String> {
    let mut bytes = Cow::Borrowed(text.as_bytes());
    let unit = |bytes: &[u8], at: usize| {
        let digits = bytes.get(at..at + 6)?.strip_prefix(b"\\u")?;
        u16::from_str_radix(str::from_utf8(digits).ok()?, 16).ok()
    };
    let mut at = 0;
    while let Some(found) = memchr::memchr(b'\\', &bytes[at..]) {
        at += found;
        let pair = (unit(&bytes, at), unit(&bytes, at + 6));
        at += match pair {
            (Some(0xD800..=0xDBFF), Some(0xDC00..=0xDFFF)) => 12,
            (Some(0xD800..=0xDFFF), _) => {
                bytes.to_mut()[at + 2..at + 6].copy_from_slice(b"FFFD");
                6
            }
            (Some(_), _) => 6,
            (None, _) => 2.min(bytes.len() - at),
        };
    }
    match bytes {
        Cow::Borrowed(_) => None,
        Cow::Owned(bytes) => String::from_utf8(bytes).ok(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tokens(body: &str, model: &str) -> Option<u64> {
        count_chat(body.as_bytes(), model).tokens
    }

    #[test]
    fn lone_surrogates_are_read() {
        for (escape, read) in [
            (r"\ud83d\ude00", "😀"),
            (r"\ud83d", "\u{FFFD}"),
            (r"\ude00\\ud83d\ud83d\ud83d\ude00", "\u{FFFD}\\ud83d\u{FFFD}😀"),
            (r"\ud83d\n", "\u{FFFD}\n"),
        ] {
            assert_eq!(
                parse(format!("[\"{escape}\"]").as_bytes()),
                Some(serde_json::json!([read])),
                "{escape}"
            );
        }
        assert_eq!(parse(br#"["\ud8"#), None);
        assert_eq!(parse(b"[\"\xFF\"]"), Some(serde_json::json!(["\u{FFFD}"])));
    }

    #[test]
    fn a_short_prompt() {
        let body = r#"{"model":"x","messages":[{"role":"user","content":"Hello"}]}"#;
        assert_eq!(count_chat(body.as_bytes(), "gpt-4o"), PromptCount { tokens: Some(8), reasons: vec![] });
        assert_eq!(tokens(body, "gpt-5"), Some(7));
        let named = r#"{"messages":[{"role":"system","content":[{"type":"text","text":"Hel"},{"type":"text","text":"lo"}]},{"role":"user","name":"Ann","content":null}]}"#;
        assert_eq!(tokens(named, "gpt-4o"), Some(3 + 5 + 4 + 2));
    }

    #[test]
    fn nothing_unknown_is_called_exact() {
        let reasons = |body: &str, model: &str| count_chat(body.as_bytes(), model);
        let user = |part: &str| format!(r#"{{"messages":[{{"role":"user","content":[{part}]}}]}}"#);
        for (body, reason) in [
            (user(r#"{"type":"image_url","image_url":{"url":"https://example.org/a.png"}}"#), "remote_image"),
            (user(r#"{"type":"image_url","image_url":{"url":"data:image/png;base64,AA"}}"#), "image"),
            (user(r#"{"type":"input_audio","input_audio":{}}"#), "audio"),
            (user(r#"{"type":"file","file":{}}"#), "file"),
            (user(r#"{"type":"hologram"}"#), "unknown_fields"),
            (r#"{"messages":[{"role":"oracle","content":"x"}]}"#.to_owned(), "unknown_fields"),
            (r#"{"messages":[{"role":"user","content":"x","mood":"bad"}]}"#.to_owned(), "unknown_fields"),
            (r#"{"messages":[{"role":"user","content":"x"}],"warp":9}"#.to_owned(), "unknown_fields"),
            (
                r#"{"messages":[{"role":"user","content":"x"}],"tools":[{"type":"custom","custom":{}}]}"#
                    .to_owned(),
                "hosted_tool",
            ),
            (
                r#"{"messages":[{"role":"user","content":"x"}],"web_search_options":{}}"#.to_owned(),
                "hosted_tool",
            ),
        ] {
            let count = reasons(&body, "gpt-4o");
            assert!(count.tokens.is_some() && count.reasons == [reason], "{body}: {count:?}");
        }
        let plain = r#"{"messages":[{"role":"user","content":"x"}]}"#;
        assert_eq!(reasons(plain, "gpt-5.99").reasons, ["unknown_model"]);
        assert_eq!(reasons(plain, "lama").tokens, None);
        assert_eq!(
            reasons(r#"{"messages":[{"role":"user","content":"x"}],"data_sources":[{}]}"#, "gpt-4o").tokens,
            None
        );
        assert_eq!(reasons(r#"{"messages":"x"}"#, "gpt-4o").tokens, None);
    }
}
