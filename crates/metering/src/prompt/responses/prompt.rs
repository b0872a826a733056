//! The prompt of a Responses request, item by item.
//!
//! `prompt = 3 + instructions + tools + schema + sum over items` (gpt-5, o-series: `2 + ..`). Of the
//! recorded requests without media, hosted tools or server state since April 2025, 534 of 582 of
//! classic models are exact, 397 of 409 of gpt-5, 145 of 145 of the o-series. Of those that are off 19 have a
//! bill that the service had divided by the calls of the response, most others send calls back.
//!
//! | item | tokens | evidence |
//! |---|---|---|
//! | `instructions`, message | `3 + N(role) + N(content)`, as in a chat; gpt-5 adds 2 to the assistant's | all |
//! | tools, classic | `N(tools text) - 3`, a block of its own: a system message of 4, - 1, whose text lacks the 6 tokens of the two headings | 38 of 38 |
//! | tools, gpt-5 | `N(tools text) + 3`, - 1 if the first function has no description | 87 of 88 |
//! | tools, o-series | `N(tools text)`, codex-mini `+ 1`, gpt-5.1-codex-mini `+ 6` | 39 of 39, 6 of 6, 3 of 3 |
//! | `text.format` | its text `+ 1`, gpt-5 and the o-series `+ 0` | 12 of 12, 37 of 37 |
//! | a message without parts | 0 | 8 of 9, one program: not called exact |
//! | call | `4 + N(" to=functions." + name) + N(arguments as they are sent)`, gpt-5 `+ 4`; with the format's mark `+ 3` | see below |
//! | result of a call | `3 + N("functions." + name) + N(output)`, gpt-5 `+ 2` | classic 14 of 14, gpt-5 21 of 22 |
//! | `tool_choice` of one function, classic | `N(" to=functions." + name) + 4` | 2 of 2; of recordings that are not at hand 26 of 27 |
//!
//! *The format's mark.* What a model writes when it calls is `.. to=functions.NAME <|constrain|>json`, as
//! the published harmony format says. Those three tokens are billed for a call that is sent back
//! with the `id` that the service gave it: the service then has the call as the model wrote it. A
//! call without `id` is written anew, without the mark (classic 13 of 13, gpt-5 and gpt-5.2 3 of 3).
//! gpt-5.4 and later write it in either case (18 of 18).
//!
//! *Arguments* that are sent back with spaces are counted with them, unlike in a chat (6 of 7 where that
//! matters), but not for gpt-5.4 and later (2 of 2).
//!
//! *Required.* `tool_choice: required` with a single function names that function.
//!
//! *Calls made together.* Classic models and gpt-5 have each on its own. gpt-5.4 and later have one
//! call to a wrapper, its entries parted by `, ` (2 of 2, with two and four calls): not enough
//! to be called exact.

use std::borrow::Cow;
use std::collections::HashMap;

use serde_json::Value;

use super::request::{forced_function, functions, instructions, items, json_schema, kind, role};
use super::{request, unproven};
use crate::prompt::bill::{Bill, spoken_by};
use crate::prompt::count::PromptCount;
use crate::prompt::image::image;
use crate::prompt::json::{compact, parallel};
use crate::prompt::model::{Model, ModelRules, tokens_of};
use crate::prompt::object::{Object, text};
use crate::prompt::schema::format_text;
use crate::prompt::tools::{Rendered, is_described};
use crate::usage::{Reason, RuleClass};

/// Counts the prompt of a Responses request.
pub(crate) fn count(request: &Object, model: Model) -> PromptCount {
    if unproven::server_state(request) {
        return PromptCount::unknown(Reason::ServerState);
    }
    if items(request).is_empty() && request::input_text(request).is_none() {
        return PromptCount::unknown(Reason::Unreadable);
    }
    let tools = request::tools_text(request);
    if tools.endless {
        return PromptCount::unknown(Reason::ToolSchema);
    }
    let reasons = unproven::reasons(request, model, &tools);
    PromptCount::of(Responses { request, model }.bill(&tools), class(request), reasons)
}

/// The rules that a request goes by: the ones that are most particular.
fn class(request: &Object) -> RuleClass {
    let any = |is: fn(&Value) -> bool| items(request).iter().any(is);
    if any(unproven::has_media) {
        RuleClass::Media
    } else if json_schema(request).is_some() {
        RuleClass::JsonSchema
    } else if any(|item| matches!(kind(item), "function_call" | "function_call_output")) {
        RuleClass::ToolHistory
    } else if !functions(request).is_empty() {
        RuleClass::Tools
    } else {
        RuleClass::Text
    }
}

struct Responses<'a> {
    request: &'a Object,
    model: Model,
}

impl Responses<'_> {
    fn n(&self, text: &str) -> i64 {
        tokens_of(self.model, text)
    }

    fn frames(&self) -> &'static ModelRules {
        self.model.frames
    }

    /// The whole prompt.
    fn bill(&self, tools: &Rendered) -> Bill {
        let mut bill = Bill::default();
        bill.add("start of the answer", self.frames().start_responses);
        if let Some(text) = instructions(self.request) {
            bill.add("instructions", self.message("system", text));
        }
        if let Some(first) = functions(self.request).first() {
            bill.add("tools", self.n(&tools.text) + self.around_tools(first));
        }
        if let Some(schema) = json_schema(self.request) {
            bill.add("JSON schema", self.n(&format_text(schema)) + i64::from(self.frames().begins_schema));
        }
        if let Some(text) = request::input_text(self.request) {
            bill.add_at("user message", 0, self.message("user", text));
        }
        self.items(&mut bill);
        bill.add("tool choice", self.choice());
        bill
    }

    /// The tokens that come with the tools text; they are seen in the bill alone.
    fn around_tools(&self, first: &Object) -> i64 {
        self.frames().tools_responses + if is_described(first) { 0 } else { self.frames().undescribed }
    }

    fn message(&self, role: &str, content: &str) -> i64 {
        self.frame(role) + self.n(content)
    }

    /// Everything of a message but its content.
    fn frame(&self, role: &str) -> i64 {
        let channel = if role == "assistant" { self.frames().spoken } else { 0 };
        3 + self.n(role) + channel
    }

    fn texts(&self, content: Option<&Value>) -> i64 {
        request::texts(content).iter().map(|text| self.n(text)).sum()
    }

    fn items(&self, bill: &mut Bill) {
        let items = items(self.request);
        let call_id = |item| (text(item, "call_id"), text(item, "name"));
        let names: HashMap<_, _> = items.iter().filter(|item| is_call(item)).map(call_id).collect();
        let mut place = 0;
        while let Some(item) = items.get(place) {
            let together = self.calls_together(&items[place..]);
            match kind(item) {
                "message" if is_silent(item) => {}
                "message" => {
                    let tokens = self.frame(role(item)) + self.texts(item.get("content"));
                    bill.add_at(spoken_by(role(item)), place, tokens);
                }
                _ if together > 1 => {
                    bill.add_at("calls in items", place, self.calls(&items[place..place + together]));
                    place += together - 1;
                }
                _ if together > 0 => bill.add_at("call in item", place, self.call(item)),
                "function_call_output" | "custom_tool_call_output" => {
                    let name = names.get(text(item, "call_id")).copied().unwrap_or("");
                    bill.add_at("result in item", place, self.result(name, item.get("output")));
                }
                // The service did it by itself, or keeps it from us: it is labelled.
                _ => {}
            }
            for (source, detail) in request::pictures(item) {
                let tokens = image(source, detail, self.model.images).tokens;
                bill.add_at("image in item", place, i64::try_from(tokens).unwrap_or(i64::MAX));
            }
            place += 1;
        }
    }

    /// How many of the next items are one call to the wrapper; 1 for a call on its own.
    fn calls_together(&self, items: &[Value]) -> usize {
        let longest = if self.frames().wraps_calls { items.len() } else { 1 };
        items.iter().take(longest).take_while(|item| is_call(item)).count()
    }

    /// One call, without its format's mark if it is written anew.
    fn call(&self, item: &Value) -> i64 {
        let marked = self.frames().wraps_calls || !text(item, "id").is_empty();
        self.around_call(marked)
            + self.n(&format!(" to=functions.{}", text(item, "name")))
            + self.n(&self.written(arguments(item)))
    }

    /// Arguments are as they were sent (6 of 7 where it matters), but for gpt-5.4 and later (2 of 2).
    fn written<'t>(&self, arguments: &'t str) -> Cow<'t, str> {
        if self.frames().wraps_calls { Cow::Owned(compact(arguments)) } else { Cow::Borrowed(arguments) }
    }

    fn around_call(&self, marked: bool) -> i64 {
        self.frames().called_responses + if marked { 3 } else { 0 }
    }

    /// Calls made together, as one call to a wrapper.
    fn calls(&self, items: &[Value]) -> i64 {
        let wrapper = parallel(items.iter().map(|item| (text(item, "name"), arguments(item))));
        let separators = i64::try_from(items.len()).unwrap_or(i64::MAX) - 1;
        self.around_call(true) + self.n(" to=multi_tool_use.parallel") + self.n(&wrapper) + separators
    }

    fn result(&self, name: &str, output: Option<&Value>) -> i64 {
        self.frames().result_responses + self.n(&format!("functions.{name}")) + self.texts(output)
    }

    /// A function that must be called is written into the start of the response.
    fn choice(&self) -> i64 {
        match forced_function(self.request) {
            Some(name) if self.frames().begins_call => self.n(&format!(" to=functions.{name}")) + 4,
            _ => 0,
        }
    }
}

/// A message without any part costs nothing (8 of 9); one whose text is empty costs its frame (5 of 5).
fn is_silent(item: &Value) -> bool {
    item.get("content").and_then(Value::as_array).is_some_and(Vec::is_empty)
}

/// A call that the caller answers.
fn is_call(item: &Value) -> bool {
    matches!(kind(item), "function_call" | "custom_tool_call")
}

fn arguments(item: &Value) -> &str {
    match text(item, "arguments") {
        "" => text(item, "input"),
        arguments => arguments,
    }
}
