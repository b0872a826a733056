//! Computes from a request body the tokens that the service charges for its prompt.
//!
//! The rules were fitted on recorded exchanges with api.openai.com and Azure OpenAI and held against
//! the `usage` that the service reported. `N(s)` is the number of tokens of `s` in the model's
//! encoding, special tokens being ordinary text. *Classic* is gpt-3.5-turbo since June 2023, gpt-4
//! since November 2023, gpt-4o, gpt-4.1 and gpt-4.5; which model goes by which rules, and what differs
//! between them, says `model.rs`.
//!
//! # Chat completions
//!
//! Of the prompts of text in 4,496 exchanges of two sets, 2,333 of 2,339 classic ones are exact, 252 of
//! 255 of gpt-5, 56 of 59 of the o-series, 182 of 184 of those on Azure. Of the classic ones that are off, five
//! come from a recorder that sorted the keys of tools: the service saw them in another order.
//!
//! `prompt = 3 + sum over messages` (gpt-5, o3, o4: `2 + ..`). In the table, "n" are the exact ones of
//! the recorded prompts that a rule has a part in, "programs" where they come from.
//!
//! | message | tokens | n, programs |
//! |---|---|---|
//! | text | `3 + N(role) + N(content)`; parts are joined without anything between them | 851 of 853, 10 |
//! | with `name` | `N(role + ":" + name)` in place of `N(role)` | 5 of 5, 1 |
//! | assistant's text where a JSON schema is asked for | `+ N(schema's name) + 2`, the head of such an answer | 4 of 4, 1 |
//! | assistant, one call | `4 + N(content) + N(" to=functions." + name) + N(compact arguments)` | 142 of 144, 8 |
//! | assistant, several calls | `4 + N(" to=multi_tool_use.parallel") + N(wrapper)` | 36 of 36, 7; gpt-5 7 of 7, 2 |
//! | assistant with calls and `name` | `+ N(name)` | 2 of 2, 1 |
//! | assistant's `refusal` | as its text | 2 of 2, 1 |
//! | result of one call | `6 + N(function's name) + N(content)`; the name is looked up by `tool_call_id` | as the calls |
//! | results of calls made together | `10 + N(list of the results as JSON)`, one message for all | as the calls |
//! | image | by its size, and it parts the texts beside it: see `image/price.rs` | 37 of 37 of proven prices, 3 |
//!
//! The wrapper is `{"tool_uses":[{"recipient_name":"functions.NAME","parameters":ARGUMENTS},..]}`; in the
//! list of results JSON objects and arrays stand as such (3 of 3), other results as strings, and
//! some models escape what is not ASCII (see [`Model::ascii_results`]). gpt-5 adds 2 to each earlier
//! text of the assistant (8 of 8 prompts of the Responses API), 6 to each message with calls (16 of
//! 16); gpt-4 of June 2023 has 1 in place of 4 in a call (1 of 1, and 19 of 19 answers).
//!
//! Tools are text joined to the first system message, or in one of their own, `- 1` (325 of 330;
//! the o-series: `- 0`, o4-mini joined `+ 3`, 12 of 12; gpt-5: a hidden preamble, `+ 84` or `+ 81`, one less
//! if the first function has no description, 98 of 98): see `tools/types.rs`. A JSON schema is text joined behind it
//! (160 of 160): see `schema.rs`. Where there are no tools the answer is begun for the model, and the
//! prompt has the head that names the schema, `N(name) + 2` (146 of 146); where there are, or with
//! gpt-5, the model writes that head itself, and it is on the bill of the answer. A `tool_choice` that
//! names a function costs `N(" to=functions." + name) + 4` (13 of 13; gpt-4 of June 2023: `+ 1`, 6 of 6; gpt-5
//! and the o-series: 0, 20 of 20), `none` costs 1 (gpt-5: 0).
//!
//! # What is not proven is said
//!
//! [`PromptCount::reasons`] names everything in a request that the recordings do not cover, and a
//! model whose vocabulary is not known has no count at all. In a chat: `unknown_model`, also of one that is
//! known by texts alone, where there are functions or a schema; `unknown_fields`, a key that was never recorded, at any
//! depth; `tool_schema`, a function whose schema has a keyword or a
//! shape that fewer than two recorded programs have; `json_schema`, the same of an answer's schema, and
//! any with a model that thinks; `parallel_calls`, several calls in one turn with a model that
//! thinks, or results that are not ASCII; `tool_history`, the older form of calls, text and calls
//! in one message, or any call with the o-series; `tool_choice`, `none` or a name where no recording has it; `image`, one that was
//! scaled down, cannot be read, or has a price that was not proven; `remote_image`, counted without its
//! pixels; `audio`, `file`, `hosted_tool`, `custom_tool`, `prediction`. `data_sources` make the count unknown.

mod bill;
mod chat;
mod content;
mod image;
mod json;
mod model;
mod plain;
mod read;
mod responses;
mod schema;
mod tools;

use crate::usage::{Api, Reason, RuleClass};

pub use bill::{Bill, BillPart};
pub use image::ImagePrice;
pub use json::{compact, is_spaced, parallel};
pub use model::{Model, ModelRules, Proof, ThinkingFrames, model};
pub use responses::EARLY_RESPONSES_END;

/// Version of the rules; stands in `accounting.rules`.
pub const RULES: &str = "3";

/// The count of one prompt.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PromptCount {
    /// Its tokens; `None` if the rules say nothing.
    pub tokens: Option<u64>,
    /// Why the number is not exact.
    pub reasons: Vec<Reason>,
    /// The rules that made it; `None` if there is no number.
    pub class: Option<RuleClass>,
    /// What it is made of.
    pub parts: Vec<BillPart>,
}

impl PromptCount {
    fn unknown(reason: Reason) -> PromptCount {
        PromptCount { reasons: vec![reason], ..PromptCount::default() }
    }

    /// The count of a prompt that the service answered at `created`, in seconds since 1970: its rules
    /// changed with time.
    #[must_use]
    pub fn answered_at(mut self, api: Api, model: &str, created: u64, functions: bool) -> PromptCount {
        let Some(model) = self::model(model).filter(|_| api == Api::Responses) else { return self };
        let extra = responses::preamble(model, created, functions);
        if let Some(tokens) = self.tokens.filter(|_| created < EARLY_RESPONSES_END) {
            self.tokens = Some(tokens.saturating_add_signed(extra));
            self.reasons.push(Reason::EarlyResponses);
        }
        if extra != 0 {
            self.parts.push(BillPart { part: "preamble", number: None, tokens: extra });
        }
        self
    }

    fn of(bill: Bill, class: RuleClass, reasons: Vec<Reason>) -> PromptCount {
        PromptCount { tokens: Some(bill.total()), reasons, class: Some(class), parts: bill.into_parts() }
    }
}

/// Counts the prompt of a request under a model's rules. Takes some 20 ms for a megabyte.
pub fn count(api: Api, body: &[u8], model: &str) -> PromptCount {
    let Some(model) = rules(api, model) else { return PromptCount::unknown(Reason::UnknownModel) };
    let Some(serde_json::Value::Object(request)) = read::parse(body) else {
        return PromptCount::unknown(Reason::Unreadable);
    };
    match api {
        Api::ChatCompletions => chat::count(&request, model),
        Api::Responses => responses::count(&request, model),
        Api::Completions | Api::Embeddings => plain::count(api, &request, model),
        _ => PromptCount::unknown(Reason::Unmetered),
    }
}

/// The name of a message's part of a bill.
fn spoken_by(role: &str) -> &'static str {
    match role {
        "system" | "developer" => "system message",
        "user" => "user message",
        "assistant" => "assistant message",
        _ => "message",
    }
}

/// The rules of a model, by the name that it has in the answers of an API.
pub fn rules(api: Api, name: &str) -> Option<Model> {
    model(plain::full_name(api, name))
}

/// A JSON object of a request; its keys are in order.
type Object = serde_json::Map<String, serde_json::Value>;

/// The text under a key; empty if there is none.
fn text<'v>(value: &'v serde_json::Value, key: &str) -> &'v str {
    value.get(key).and_then(serde_json::Value::as_str).unwrap_or("")
}

/// Tokens of a text, as a number that can be subtracted from.
fn tokens_of(model: Model, text: &str) -> i64 {
    i64::try_from(crate::tokens::count(model.encoding, text)).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count_chat(body: &[u8], model: &str) -> PromptCount {
        count(Api::ChatCompletions, body, model)
    }

    fn tokens(body: &str, model: &str) -> Option<u64> {
        count_chat(body.as_bytes(), model).tokens
    }

    #[test]
    fn a_short_prompt() {
        let body = r#"{"model":"x","messages":[{"role":"user","content":"Hello"}]}"#;
        let count = count_chat(body.as_bytes(), "gpt-4o");
        assert_eq!((count.tokens, count.reasons, count.class), (Some(8), vec![], Some(RuleClass::Text)));
        let parts: Vec<_> = count.parts.iter().map(|part| (part.part, part.number, part.tokens)).collect();
        assert_eq!(parts, [("start of the answer", None, 3), ("user message", Some(1), 5)]);
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
                "custom_tool",
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
