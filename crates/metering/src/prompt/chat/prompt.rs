//! The prompt of a chat completion, message by message.

use std::collections::HashSet;

use serde_json::Value;

use super::history::History;
use super::request::{calls, content, functions, is_spoken, json_schema, messages, pictures, role, texts};
use super::{request, unproven};
use crate::prompt::bill::{Bill, spoken_by};
use crate::prompt::count::PromptCount;
use crate::prompt::image::image;
use crate::prompt::json::{SPACED, SPACED_ASCII, compact, parallel, to_string};
use crate::prompt::model::{Model, ModelRules, tokens_of};
use crate::prompt::object::{Object, text};
use crate::prompt::schema::format_text;
use crate::prompt::tools::{Rendered, is_described};
use crate::tokens::Counter;
use crate::usage::{Reason, RuleClass};

/// Counts the prompt of a chat request.
pub(crate) fn count(request: &Object, model: Model) -> PromptCount {
    if messages(request).is_empty() {
        return PromptCount::unknown(Reason::Unreadable);
    }
    if unproven::server_state(request) {
        return PromptCount::unknown(Reason::ServerState);
    }
    let tools = request::tools_text(request, model);
    if tools.endless {
        return PromptCount::unknown(Reason::ToolSchema);
    }
    let reasons = unproven::reasons(request, model, &tools);
    PromptCount::of(Chat::new(request, model).bill(&tools), class(request), reasons)
}

/// The rules that a request goes by: the ones that are most particular.
fn class(request: &Object) -> RuleClass {
    let any = |is: fn(&Value) -> bool| messages(request).iter().any(is);
    if any(request::has_media) {
        RuleClass::Media
    } else if json_schema(request).is_some() {
        RuleClass::JsonSchema
    } else if any(|message| !calls(message).is_empty() || matches!(role(message), "tool" | "function")) {
        RuleClass::ToolHistory
    } else if !functions(request).is_empty() {
        RuleClass::Tools
    } else {
        RuleClass::Text
    }
}

struct Chat<'a> {
    request: &'a Object,
    model: Model,
    messages: &'a [Value],
    functions: Vec<&'a Object>,
    schema: Option<&'a Object>,
    /// The head of a response that follows the schema: it names it.
    schema_head: i64,
}

impl<'a> Chat<'a> {
    fn new(request: &'a Object, model: Model) -> Chat<'a> {
        let schema = json_schema(request);
        let name = schema.and_then(|schema| schema.get("name")?.as_str());
        let schema_head = name.map_or(0, |name| tokens_of(model, name) + 2);
        Chat {
            request,
            model,
            messages: messages(request),
            functions: functions(request),
            schema,
            schema_head,
        }
    }

    fn n(&self, text: &str) -> i64 {
        tokens_of(self.model, text)
    }

    fn frames(&self) -> &'static ModelRules {
        self.model.frames
    }

    /// The whole prompt.
    fn bill(&self, tools: &Rendered) -> Bill {
        let mut bill = Bill::default();
        bill.add("start of the answer", self.frames().start);
        self.system(tools, &mut bill);
        self.messages(&mut bill);
        bill.add("tool choice", self.choice());
        bill
    }

    /// The first message is one that tools and schema are joined to.
    fn has_system(&self) -> bool {
        self.messages.first().is_some_and(|first| matches!(role(first), "system" | "developer"))
    }

    /// The system message: the request's own, with tools and schema joined to it, or one for them.
    fn system(&self, tools: &Rendered, bill: &mut Bill) {
        let first = self.has_system().then(|| &self.messages[0]);
        if first.is_none() && self.functions.is_empty() && self.schema.is_none() {
            return;
        }
        bill.add("system message", self.frame(first.map_or("system", role), first));
        // JoinedTexts before it is counted: a full stop and the line ends after it are one token.
        let mut joined = JoinedTexts::new(self.model);
        if let Some(first) = first {
            bill.add("system text", joined.push(&content(first)));
        }
        if let Some(function) = self.functions.first() {
            bill.add("tools", joined.push(&tools.text) + self.around_tools(function));
        }
        if let Some(schema) = self.schema {
            bill.add("JSON schema", joined.push(&format_text(schema)) + self.around_schema());
        }
    }

    /// The tokens that come with the tools text; they are seen in the bill alone.
    fn around_tools(&self, first: &Object) -> i64 {
        let undescribed = if is_described(first) { 0 } else { self.frames().undescribed };
        self.frames().tools[usize::from(self.has_system())] + undescribed
    }

    /// The tokens that come with the schema's text: without tools the response is begun for the model, with its
    /// head. Where the model writes the head, as gpt-5 does, it is on the bill of the response.
    fn around_schema(&self) -> i64 {
        if self.functions.is_empty() && self.frames().begins_schema { self.schema_head } else { 0 }
    }

    /// All messages but a leading system message.
    fn messages(&self, bill: &mut Bill) {
        let history = History::of(self.messages, |name| self.n(name));
        let mut answered = HashSet::new();
        for (place, message) in self.messages.iter().enumerate().skip(usize::from(self.has_system())) {
            let calls = calls(message);
            if !calls.is_empty() {
                bill.add_at("call in message", place, self.calling(message, &calls));
            } else if matches!(role(message), "tool" | "function") {
                bill.add_at("result in message", place, self.answering(message, &history, &mut answered));
            } else {
                bill.add_at(spoken_by(role(message)), place, self.speaking(message));
            }
            for (source, detail) in pictures(message) {
                let tokens = image(source, detail, self.model.images).tokens;
                bill.add_at("image in message", place, i64::try_from(tokens).unwrap_or(i64::MAX));
            }
        }
    }

    /// Everything of a message but its content. The head is `role` or `role:name`.
    fn frame(&self, role: &str, message: Option<&Value>) -> i64 {
        let channel = if role == "assistant" { self.frames().spoken } else { 0 };
        let head = match message.map_or("", |message| text(message, "name")) {
            "" => self.n(role),
            name => self.n(&format!("{role}:{name}")),
        };
        3 + head + channel
    }

    /// A message of text.
    fn speaking(&self, message: &Value) -> i64 {
        let head = if is_spoken(message) { self.schema_head } else { 0 };
        self.frame(role(message), Some(message)) + self.content(message) + head
    }

    /// The text of a message. An image parts the texts beside it.
    fn content(&self, message: &Value) -> i64 {
        texts(message).iter().map(|text| self.n(text)).sum()
    }

    /// A message of the assistant that calls: several calls are one call to an internal wrapper.
    fn calling(&self, message: &Value, calls: &[(&str, &str)]) -> i64 {
        let frames = self.frames();
        let (mut sum, spoken) = (self.content(message), !content(message).is_empty());
        // A name is not written as that of a text is: it costs no more than itself (2 of 2).
        sum += self.n(text(message, "name")) + frames.called;
        // gpt-5 has a message for what it said and one for what it called.
        sum += if spoken { frames.called } else { 0 };
        match calls {
            [(name, arguments)] => {
                sum + self.around_call()
                    + self.n(&format!(" to=functions.{name}"))
                    + self.n(&compact(arguments))
            }
            several => {
                let wrapped = self.n(&parallel(several.iter().copied()));
                sum + 4 + self.n(" to=multi_tool_use.parallel") + wrapped
            }
        }
    }

    /// Around a call: gpt-4 of June 2023 has 1, which it has in the call that is begun for it, too (6 of 6).
    fn around_call(&self) -> i64 {
        if self.frames().early { 1 } else { 4 }
    }

    /// The result of a call. Results of calls that were made together are one message, a list.
    fn answering(&self, message: &Value, history: &History<'_>, answered: &mut HashSet<usize>) -> i64 {
        let id = text(message, "tool_call_id");
        let group = if role(message) == "tool" { history.group.get(id) } else { None };
        let Some(place) = group else {
            let name = match text(message, "name") {
                "" => history.names.get(id).copied().unwrap_or(0),
                name => self.n(name),
            };
            return 6 + name + self.content(message);
        };
        if !answered.insert(*place) {
            return 0;
        }
        let list = Value::Array(history.results.get(place).cloned().unwrap_or_default());
        let style = if self.model.ascii_results { SPACED_ASCII } else { SPACED };
        10 + self.n(&to_string(&list, style))
    }

    /// `tool_choice`: a named function is written into the start of the response.
    fn choice(&self) -> i64 {
        let given = |key| self.request.get(key).filter(|value| !value.is_null() && *value != "");
        let Some(choice) = given("tool_choice").or_else(|| given("function_call")) else { return 0 };
        if choice.is_object() {
            return match text(choice.get("function").unwrap_or(choice), "name") {
                "" => 0,
                _ if !self.frames().begins_call => 0,
                name => self.n(&format!(" to=functions.{name}")) + self.around_call(),
            };
        }
        i64::from(choice == "none" && !self.functions.is_empty() && self.frames().begins_schema)
    }
}

/// Texts that are joined by an empty line, each with what it adds to the count of the whole.
struct JoinedTexts {
    counter: Counter,
    empty: bool,
}

impl JoinedTexts {
    fn new(model: Model) -> JoinedTexts {
        JoinedTexts { counter: Counter::new(model.encoding), empty: true }
    }

    fn push(&mut self, text: &str) -> i64 {
        let before = self.counter.count();
        if !self.empty {
            self.counter.push_str("\n\n");
        }
        self.empty = false;
        self.counter.push_str(text);
        // The join may cost one token less than its sides.
        self.counter.count().cast_signed() - before.cast_signed()
    }
}
