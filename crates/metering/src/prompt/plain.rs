//! Prompts that are nothing but text or token ids: embeddings and the older completions.
//!
//! No message, no frame, nothing joined: `prompt = sum of N(text)`, and a token id counts one. That is
//! the bill in 210 of 211 recorded embeddings of every shape and in 80 of 81 older completions. How many
//! responses are asked for (`n`, `best_of`) does not matter: the prompt is read once.
//!
//! | `input` or `prompt` | tokens |
//! |---|---|
//! | a string | `N(string)` |
//! | a list of strings | their sum |
//! | a list of token ids | how many |
//! | a list of such lists | their sum |
//! | nothing (completions only) | 1: the model starts after `<\|endoftext\|>`, says the reference; not seen |
//!
//! Not proven, so estimated: `suffix` (its text is part of the prompt; what marks the place between is
//! not known to be billed), and the words of special tokens, which these APIs may read as the tokens
//! themselves.

use serde_json::Value;

use super::bill::Bill;
use super::count::PromptCount;
use super::model::{Model, tokens_of};
use super::object::Object;
use crate::usage::{Reason, RuleClass};

/// Texts that have a part of their own; the others share one.
const PARTS_MAX: usize = 100;

/// Keys that cost nothing, or what the rules say.
const EMBEDDING_KEYS: [&str; 5] = ["model", "input", "encoding_format", "dimensions", "user"];
const COMPLETION_KEYS: [&str; 18] = [
    "model",
    "prompt",
    "suffix",
    "max_tokens",
    "temperature",
    "top_p",
    "n",
    "stream",
    "stream_options",
    "logprobs",
    "echo",
    "stop",
    "presence_penalty",
    "frequency_penalty",
    "best_of",
    "logit_bias",
    "user",
    "seed",
];

/// Special tokens that a text may spell out.
const SPECIAL_TOKENS: [&str; 5] =
    ["<|endoftext|>", "<|fim_prefix|>", "<|fim_middle|>", "<|fim_suffix|>", "<|endofprompt|>"];

/// The members of a request that its prompt stands in.
struct PromptMembers {
    /// The member with the texts.
    input: &'static str,
    /// PromptMembers that cost nothing, or what the rules say.
    known: &'static [&'static str],
    /// The model goes on with a text: there may be none, and one that follows.
    completes: bool,
}

/// Counts the prompt of a request for embeddings.
pub(super) fn embeddings(request: &Object, model: Model) -> PromptCount {
    count(&PromptMembers { input: "input", known: &EMBEDDING_KEYS, completes: false }, request, model)
}

/// Counts the prompt of an older completion.
pub(super) fn completions(request: &Object, model: Model) -> PromptCount {
    count(&PromptMembers { input: "prompt", known: &COMPLETION_KEYS, completes: true }, request, model)
}

fn count(members: &PromptMembers, request: &Object, model: Model) -> PromptCount {
    let mut counted = Counted { model, bill: Bill::default(), texts: 0, rest: 0, reasons: vec![] };
    match request.get(members.input) {
        None | Some(Value::Null) if members.completes => {
            counted.bill.add("start of text", 1);
            counted.doubt(Reason::EmptyPrompt);
        }
        Some(value @ (Value::String(_) | Value::Array(_))) => counted.input(value),
        _ => return PromptCount::unknown(Reason::Unreadable),
    }
    counted.bill.add("other texts", counted.rest);
    let suffix = request.get("suffix").filter(|suffix| !suffix.is_null() && members.completes);
    if let Some(suffix) = suffix {
        counted.doubt(Reason::Suffix);
        counted.bill.add("suffix", tokens_of(model, suffix.as_str().unwrap_or("")));
    }
    if !model.plain {
        counted.doubt(Reason::UnknownModel);
    }
    if request.iter().any(|(key, value)| !value.is_null() && !members.known.contains(&key.as_str())) {
        counted.doubt(Reason::UnknownFields);
    }
    PromptCount::of(counted.bill, RuleClass::Text, counted.reasons)
}

/// The count so far.
struct Counted {
    model: Model,
    bill: Bill,
    texts: usize,
    /// Tokens of the texts that have no part of their own.
    rest: i64,
    reasons: Vec<Reason>,
}

impl Counted {
    fn doubt(&mut self, reason: Reason) {
        if !self.reasons.contains(&reason) {
            self.reasons.push(reason);
        }
    }

    fn input(&mut self, value: &Value) {
        match value {
            Value::Array(list) if list.iter().all(Value::is_number) => self.ids(list),
            Value::Array(list) => list.iter().for_each(|entry| self.entry(entry)),
            text => self.entry(text),
        }
    }

    fn entry(&mut self, entry: &Value) {
        match entry {
            Value::String(text) => self.text(text),
            Value::Array(ids) if ids.iter().all(Value::is_number) => self.ids(ids),
            _ => self.doubt(Reason::UnknownFields),
        }
    }

    fn text(&mut self, text: &str) {
        let special = text.contains("<|") && SPECIAL_TOKENS.iter().any(|token| text.contains(token));
        if special {
            self.doubt(Reason::SpecialTokens);
        }
        if text.is_empty() {
            self.doubt(Reason::EmptyPrompt);
        }
        self.add("text", tokens_of(self.model, text));
    }

    fn ids(&mut self, ids: &[Value]) {
        if ids.is_empty() {
            self.doubt(Reason::EmptyPrompt);
        }
        self.add("token ids", i64::try_from(ids.len()).unwrap_or(i64::MAX));
    }

    fn add(&mut self, part: &'static str, tokens: i64) {
        if self.texts < PARTS_MAX {
            self.bill.add_at(part, self.texts, tokens);
        } else {
            self.rest = self.rest.saturating_add(tokens);
        }
        self.texts += 1;
    }
}

/// The name of an embeddings model: Azure's first one calls itself by the name of an older one, and so do its
/// deployments.
pub(super) fn embeddings_model(name: &str) -> &str {
    if name == "ada" || name.starts_with("ada-") { "text-embedding-ada-002" } else { name }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::prompt;
    use crate::usage::Api;

    fn count(api: Api, body: Value) -> PromptCount {
        let model = body["model"].as_str().unwrap().to_owned();
        prompt::count(api, body.to_string().as_bytes(), &model)
    }

    fn embed(input: Value) -> (Option<u64>, Vec<Reason>) {
        let count = count(Api::Embeddings, json!({"model": "text-embedding-3-small", "input": input}));
        assert_eq!(count.tokens.unwrap_or(0) as i64, count.parts.iter().map(|part| part.tokens).sum::<i64>());
        (count.tokens, count.reasons)
    }

    fn complete(more: Value) -> (Option<u64>, Vec<Reason>) {
        let mut body = json!({"model": "gpt-3.5-turbo-instruct"});
        body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        let count = count(Api::Completions, body);
        (count.tokens, count.reasons)
    }

    #[test]
    fn every_shape_of_input() {
        assert_eq!(embed(json!("Hello, world")), (Some(3), vec![]));
        assert_eq!(embed(json!(["Hello, world", "Hello"])), (Some(4), vec![]));
        assert_eq!(embed(json!([1, 2, 100_000])), (Some(3), vec![]));
        assert_eq!(embed(json!([[1, 2], [3]])), (Some(3), vec![]));
        assert_eq!(embed(json!(["Hello", [3, 4]])), (Some(3), vec![]));
        assert_eq!(embed(json!(vec!["Hello"; 3 * PARTS_MAX])), (Some(3 * PARTS_MAX as u64), vec![]));
        assert_eq!(embed(json!("")), (Some(0), vec![Reason::EmptyPrompt]));
        assert_eq!(embed(json!([])), (Some(0), vec![Reason::EmptyPrompt]));
        assert_eq!(embed(json!([true, {"text": "x"}])), (Some(0), vec![Reason::UnknownFields]));
        assert_eq!(embed(json!("a <|endoftext|> b")).1, ["special_tokens"]);
        assert_eq!(embed(json!(null)), (None, vec![Reason::Unreadable]));
        assert_eq!(embed(json!({"text": "x"})), (None, vec![Reason::Unreadable]));
    }

    #[test]
    fn what_is_asked_for_costs_nothing() {
        let more = json!({"prompt": "Hello, world", "n": 3, "best_of": 5, "echo": true, "max_tokens": 9, "logprobs": 2, "stop": "x"});
        assert_eq!(complete(more), (Some(3), vec![]));
        assert_eq!(complete(json!({"prompt": "Hello", "suffix": " world"})), (Some(2), vec![Reason::Suffix]));
        assert_eq!(complete(json!({"prompt": "Hello", "suffix": null, "warp": null})), (Some(1), vec![]));
        assert_eq!(complete(json!({"prompt": "Hello", "warp": 1})), (Some(1), vec![Reason::UnknownFields]));
        assert_eq!(complete(json!({})), (Some(1), vec![Reason::EmptyPrompt]));
        assert_eq!(complete(json!({"prompt": null})), (Some(1), vec![Reason::EmptyPrompt]));
    }

    #[test]
    fn a_model_is_known_by_its_vocabulary() {
        let of = |api, model: &str| count(api, json!({"model": model, "input": "été", "prompt": "été"}));
        assert_eq!(of(Api::Embeddings, "ada").tokens, of(Api::Embeddings, "text-embedding-ada-002").tokens);
        assert!(of(Api::Embeddings, "text-embedding-9").reasons.contains(&Reason::UnknownModel));
        assert_eq!(of(Api::Embeddings, "embed-english").tokens, None);
    }
}
