//! From a request to the rules of its API.

use serde_json::Value;

use super::bill::BillPart;
use super::count::PromptCount;
use super::model::{Model, model};
use super::responses::{self, EARLY_RESPONSES_END};
use super::{chat, plain, read};
use crate::api::{Api, RuleSet};
use crate::usage::Reason;

/// Counts the prompt of a request under a model's rules. Takes some 20 ms for a megabyte.
pub fn count(api: Api, body: &[u8], model: &str) -> PromptCount {
    let Some(model) = rules(api, model) else { return PromptCount::unknown(Reason::UnknownModel) };
    let Some(Value::Object(request)) = read::parse(body) else {
        return PromptCount::unknown(Reason::Unreadable);
    };
    match api.rules() {
        Some(RuleSet::Chat) => chat::count(&request, model),
        Some(RuleSet::Responses) => responses::count(&request, model),
        Some(RuleSet::Completions) => plain::completions(&request, model),
        Some(RuleSet::Embeddings) => plain::embeddings(&request, model),
        None => PromptCount::unknown(Reason::Unmetered),
    }
}

/// The rules of a model, by the name that it has in the responses of an API.
pub fn rules(api: Api, name: &str) -> Option<Model> {
    match api.rules() {
        Some(RuleSet::Embeddings) => model(plain::embeddings_model(name)),
        Some(RuleSet::Chat | RuleSet::Completions | RuleSet::Responses) | None => model(name),
    }
}

impl PromptCount {
    /// The count of a prompt that the service answered at `created`, in seconds since 1970: its rules
    /// changed with time.
    #[must_use]
    pub fn answered_at(mut self, api: Api, model: &str, created: u64, functions: bool) -> PromptCount {
        let Some(model) = rules(api, model) else { return self };
        let extra = match api.rules() {
            Some(RuleSet::Responses) => responses::preamble(model, created, functions),
            Some(RuleSet::Chat | RuleSet::Completions | RuleSet::Embeddings) | None => return self,
        };
        if let Some(tokens) = self.tokens.filter(|_| created < EARLY_RESPONSES_END) {
            self.tokens = Some(tokens.saturating_add_signed(extra));
            self.reasons.push(Reason::EarlyResponses);
        }
        if extra != 0 {
            self.parts.push(BillPart { part: "preamble", number: None, tokens: extra });
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::usage::RuleClass;

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
