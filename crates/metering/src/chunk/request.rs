//! Reads what the accounting of a response needs of its request: a few top-level keys, wherever
//! they stand in a body of any size.

use smol_str::SmolStr;

use super::characters::CharacterCount;
use super::scan::{JsonScanner, JsonSink, JsonToken};

/// Characters of a size or a quality. `1024x1536` and `standard` are some.
pub const SIZE_CHARS_MAX: usize = 32;

/// Top-level facts of a request. A key that is absent or null leaves its default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RequestFacts {
    /// `model`
    pub model: Option<SmolStr>,
    /// The `name` in `agent_reference`, or in the older `agent`: the Foundry agent that is asked.
    pub agent: Option<SmolStr>,
    /// `stream`, which is false where a whole body does not say it; `None`: not known.
    pub stream: Option<bool>,
    /// `stream_options.include_usage`
    pub include_usage: bool,
    /// `n`
    pub n: Option<u64>,
    /// `size`, of an image or a video.
    pub size: Option<SmolStr>,
    /// `quality`, of an image.
    pub quality: Option<SmolStr>,
    /// Unicode scalar values of `input`, if it is a text and its characters are counted.
    pub input_characters: Option<u64>,
    /// Functions that are offered, in `tools`.
    pub functions: u32,
    /// A function is offered, in the older `functions`.
    pub legacy_functions: bool,
    /// A custom tool is offered in `tools`: the caller's own, as a function is.
    pub custom_tools: bool,
    /// Something else than a function or a custom tool is offered in `tools`.
    pub hosted_tools: bool,
    /// `web_search_options` is given.
    pub web_search: bool,
    /// `tool_choice`, or the older `function_call`.
    pub tool_choice: ToolChoice,
    /// `response_format`, or the `text.format` of the Responses API, is of type `json_schema`.
    pub json_schema: bool,
    /// The name of that schema.
    pub schema_name: Option<String>,
    /// The schema of `response_format` is `strict`: nothing that does not fit it can be said.
    pub strict: bool,
    /// `stop`
    pub stop: Stop,
    /// `max_completion_tokens`, `max_tokens` or `max_output_tokens`: where a response is cut.
    pub limit: Option<u64>,
    /// `data_sources`: the service searches and prompts by itself.
    pub data_sources: bool,
    /// `previous_response_id`, `conversation` or a stored `prompt`: most of the prompt is elsewhere.
    pub server_state: bool,
    /// `echo`: the response repeats the prompt.
    pub echo: bool,
    /// `best_of`: candidates that are billed, of which `n` are returned.
    pub best_of: Option<u64>,
    /// `suffix`: what follows the text to be inserted.
    pub suffix: bool,
    /// `context_management`: the service may shorten the history, at the caller's cost.
    pub compacts: bool,
    /// `prediction`: rejected predictions are billed and not seen.
    pub prediction: bool,
    /// `reasoning_effort`, or `reasoning.effort`, is `none`: the model does not think.
    pub thinks_not: bool,
    /// `reasoning.mode` is given: `pro` thinks more than it says.
    pub thinks_otherwise: bool,
    /// `parallel_tool_calls` is false: the model calls one function at a time.
    pub one_call: bool,
    /// The last of `messages` is the result of a call.
    pub answers_result: bool,
    /// The body is one JSON object.
    pub complete: bool,
}

/// The texts that end a response before its time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Stop {
    /// Nothing.
    #[default]
    Never,
    /// Words that cannot stand in a JSON text behind a closing bracket.
    Words,
    /// Anything.
    Any,
}

/// Which tool the model must use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ToolChoice {
    /// `auto`, or nothing.
    #[default]
    Auto,
    /// `none`: no function.
    Nothing,
    /// `required`: some function.
    Required,
    /// A function, by name.
    Named,
    /// Something else.
    Other,
}

/// Finds [`RequestFacts`] in a body that arrives in pieces.
#[derive(Debug, Default)]
pub struct RequestScan {
    scanner: JsonScanner,
    collector: Collector,
}

impl RequestScan {
    /// A reader that counts the characters of `input`, by which some services bill.
    pub fn counting_characters() -> RequestScan {
        let collector = Collector { counts_characters: true, ..Collector::default() };
        RequestScan { collector, ..RequestScan::default() }
    }

    /// The next bytes of the body.
    pub fn push(&mut self, bytes: &[u8]) {
        self.scanner.push(bytes, &mut self.collector);
    }

    /// Bytes that it holds on the heap now.
    #[cfg(test)]
    pub(super) fn heap_bytes(&self) -> usize {
        let Collector { facts, agents, .. } = &self.collector;
        let names = [&facts.model, &agents.reference, &agents.older];
        let on_heap = names.into_iter().flatten().filter(|name| name.is_heap_allocated());
        self.scanner.heap_bytes() + on_heap.map(|name| name.len()).sum::<usize>()
    }

    /// The facts that have been found so far.
    pub fn facts(&self) -> RequestFacts {
        let Collector { facts, state, limits, agents, .. } = &self.collector;
        let server_state = state.previous_response || state.conversation || state.prompt;
        let limit = limits.completion.or(limits.older).or(limits.output);
        let complete = self.scanner.complete();
        let stream = if self.collector.has_stream { facts.stream } else { complete.then_some(false) };
        let agent = agents.reference.as_ref().or(agents.older.as_ref()).cloned();
        RequestFacts { stream, complete, server_state, limit, agent, ..facts.clone() }
    }
}

#[derive(Debug, Default)]
struct Collector {
    facts: RequestFacts,
    /// There is a `stream`.
    has_stream: bool,
    key: Key,
    /// The characters of `input` are counted: so far there are these.
    counts_characters: bool,
    characters: CharacterCount,
    /// A nested key that is asked for, such as `type`.
    inner: Inner,
    /// The kind of the entry of `tools` that is being read.
    tool: Option<ToolKind>,
    state: ServerState,
    limits: OutputLimits,
    agents: AgentNames,
}

/// The members that have named an agent.
#[derive(Debug, Default)]
struct AgentNames {
    reference: Option<SmolStr>,
    older: Option<SmolStr>,
}

/// The names that a limit has had.
#[derive(Debug, Default)]
struct OutputLimits {
    completion: Option<u64>,
    older: Option<u64>,
    output: Option<u64>,
}

/// The state that the service keeps for the caller.
#[derive(Debug, Default)]
struct ServerState {
    previous_response: bool,
    conversation: bool,
    prompt: bool,
}

/// The texts that end a response, given another entry of `stop`, or its opening bracket.
fn stop_of(before: Stop, token: JsonToken<'_>) -> Stop {
    let text = match token {
        JsonToken::Scalar(b"null")
        | JsonToken::Text(b"")
        | JsonToken::Close
        | JsonToken::Open { array: true } => {
            return before;
        }
        JsonToken::Text(text) => text.trim_ascii_start(),
        _ => b"",
    };
    // A text that is not white space, and begins with nothing that JSON has behind a bracket.
    let is_word = text.first().is_some_and(|first| !matches!(first, b',' | b'}' | b']'));
    if is_word && before != Stop::Any { Stop::Words } else { Stop::Any }
}

/// A number that is whole and not negative.
fn whole(token: JsonToken<'_>) -> Option<u64> {
    match token {
        JsonToken::Scalar(digits) => str::from_utf8(digits).ok()?.parse().ok(),
        _ => None,
    }
}

/// A text that is not empty.
fn name(token: JsonToken<'_>) -> Option<SmolStr> {
    match token {
        JsonToken::Text(name) if !name.is_empty() => Some(String::from_utf8_lossy(name).into()),
        _ => None,
    }
}

/// The top-level keys that are asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Key {
    Model,
    AgentReference,
    Agent,
    Stream,
    StreamOptions,
    N,
    Size,
    Quality,
    Input,
    Tools,
    Functions,
    ToolChoice,
    ResponseFormat,
    Stop,
    DataSources,
    Prediction,
    WebSearch,
    Text,
    PreviousResponse,
    Conversation,
    Prompt,
    Echo,
    BestOf,
    Suffix,
    ContextManagement,
    Messages,
    ReasoningEffort,
    Reasoning,
    ParallelToolCalls,
    MaxCompletionTokens,
    MaxTokens,
    MaxOutputTokens,
    #[default]
    Other,
}

/// An entry of `tools`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ToolKind {
    Function,
    Custom,
    Hosted,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Inner {
    Type,
    Name,
    Strict,
    IncludeUsage,
    Role,
    Effort,
    Mode,
    #[default]
    Other,
}

impl Key {
    fn of(key: &[u8]) -> Key {
        match key {
            b"model" => Key::Model,
            b"agent_reference" => Key::AgentReference,
            b"agent" => Key::Agent,
            b"stream" => Key::Stream,
            b"stream_options" => Key::StreamOptions,
            b"n" => Key::N,
            b"size" => Key::Size,
            b"quality" => Key::Quality,
            b"input" => Key::Input,
            b"tools" => Key::Tools,
            b"functions" => Key::Functions,
            b"tool_choice" | b"function_call" => Key::ToolChoice,
            b"response_format" => Key::ResponseFormat,
            b"stop" => Key::Stop,
            b"data_sources" => Key::DataSources,
            b"prediction" => Key::Prediction,
            b"web_search_options" => Key::WebSearch,
            b"text" => Key::Text,
            b"previous_response_id" => Key::PreviousResponse,
            b"conversation" => Key::Conversation,
            b"prompt" => Key::Prompt,
            b"echo" => Key::Echo,
            b"best_of" => Key::BestOf,
            b"suffix" => Key::Suffix,
            b"context_management" => Key::ContextManagement,
            b"messages" => Key::Messages,
            b"reasoning_effort" => Key::ReasoningEffort,
            b"reasoning" => Key::Reasoning,
            b"parallel_tool_calls" => Key::ParallelToolCalls,
            b"max_completion_tokens" => Key::MaxCompletionTokens,
            b"max_tokens" => Key::MaxTokens,
            b"max_output_tokens" => Key::MaxOutputTokens,
            _ => Key::Other,
        }
    }
}

impl JsonSink for Collector {
    fn token(&mut self, depth: usize, token: JsonToken<'_>) {
        match (depth, token) {
            (1, JsonToken::Key(key)) => self.key = Key::of(key),
            (1, token) => self.top(token),
            (_, JsonToken::Key(key)) => {
                self.inner = match key {
                    b"type" => Inner::Type,
                    b"name" => Inner::Name,
                    b"strict" => Inner::Strict,
                    b"include_usage" => Inner::IncludeUsage,
                    b"role" => Inner::Role,
                    b"effort" => Inner::Effort,
                    b"mode" => Inner::Mode,
                    _ => Inner::Other,
                };
            }
            (2 | 3, token) => self.nested(depth, token),
            _ => {}
        }
    }

    fn text_bytes(&mut self, depth: usize, bytes: &[u8]) {
        if self.counts_characters && depth == 1 && self.key == Key::Input {
            self.characters.push(bytes);
        }
    }
}

/// A text that may be a size or a quality.
fn short(token: JsonToken<'_>) -> Option<SmolStr> {
    match token {
        JsonToken::Text(text) if text.len() <= SIZE_CHARS_MAX => str::from_utf8(text).ok().map(SmolStr::from),
        _ => None,
    }
}

impl Collector {
    /// The value of a top-level key, or its opening bracket.
    fn top(&mut self, token: JsonToken<'_>) {
        let facts = &mut self.facts;
        let is_true = token == JsonToken::Scalar(b"true");
        let given = !matches!(token, JsonToken::Scalar(b"null") | JsonToken::Text(b"") | JsonToken::Close);
        match self.key {
            Key::Other => {}
            _ if token == JsonToken::Close => {}
            Key::Model => {
                facts.model = match token {
                    JsonToken::Text(name) => Some(String::from_utf8_lossy(name).into()),
                    _ => None,
                };
            }
            Key::AgentReference => self.agents.reference = None,
            Key::Agent => self.agents.older = None,
            Key::Stream => {
                self.has_stream = true;
                facts.stream = match token {
                    JsonToken::Scalar(b"true") => Some(true),
                    JsonToken::Scalar(b"false" | b"null") => Some(false),
                    _ => None,
                };
            }
            Key::N => facts.n = whole(token),
            Key::Size => facts.size = short(token),
            Key::Quality => facts.quality = short(token),
            Key::Input => {
                let characters = std::mem::take(&mut self.characters).end();
                let is_counted = self.counts_characters && matches!(token, JsonToken::Text(_));
                facts.input_characters = is_counted.then_some(characters);
            }
            Key::BestOf => facts.best_of = whole(token),
            Key::Echo => facts.echo = is_true,
            Key::Suffix => facts.suffix = given,
            Key::ContextManagement => facts.compacts = given,
            Key::PreviousResponse => self.state.previous_response = given,
            Key::Conversation => self.state.conversation = given,
            // The older completions have a text here.
            Key::Prompt => self.state.prompt = token == (JsonToken::Open { array: false }),
            Key::StreamOptions => facts.include_usage = false,
            // The entries of the lists are seen one level down.
            Key::Tools => (facts.functions, facts.custom_tools, facts.hosted_tools) = (0, false, false),
            Key::Functions => facts.legacy_functions = false,
            Key::Messages => facts.answers_result = false,
            Key::ReasoningEffort => facts.thinks_not = token == JsonToken::Text(b"none"),
            Key::Reasoning => (facts.thinks_not, facts.thinks_otherwise) = (false, false),
            Key::ParallelToolCalls => facts.one_call = token == JsonToken::Scalar(b"false"),
            Key::ToolChoice if token == (JsonToken::Open { array: false }) => {
                facts.tool_choice = ToolChoice::Named
            }
            Key::ToolChoice => {
                facts.tool_choice = match token {
                    JsonToken::Text(b"required") => ToolChoice::Required,
                    JsonToken::Text(b"none") => ToolChoice::Nothing,
                    _ => ToolChoice::Auto,
                }
            }
            Key::ResponseFormat | Key::Text => {
                (facts.json_schema, facts.schema_name, facts.strict) = (false, None, false);
            }
            Key::Stop => facts.stop = stop_of(Stop::Never, token),
            Key::MaxCompletionTokens => self.limits.completion = whole(token),
            Key::MaxTokens => self.limits.older = whole(token),
            Key::MaxOutputTokens => self.limits.output = whole(token),
            Key::DataSources => facts.data_sources = given,
            Key::Prediction => facts.prediction = given,
            Key::WebSearch => facts.web_search = given,
        }
    }

    /// A value on the levels below.
    fn nested(&mut self, depth: usize, token: JsonToken<'_>) {
        let facts = &mut self.facts;
        match (self.key, depth, self.inner, token) {
            (Key::AgentReference, 2, Inner::Name, token) => self.agents.reference = name(token),
            (Key::Agent, 2, Inner::Name, token) => self.agents.older = name(token),
            (Key::StreamOptions, 2, Inner::IncludeUsage, token) => {
                facts.include_usage = token == JsonToken::Scalar(b"true");
            }
            (Key::ResponseFormat, 2, Inner::Type, JsonToken::Text(kind)) => {
                facts.json_schema = kind == b"json_schema"
            }
            (Key::ResponseFormat, 3, Inner::Strict, token) => {
                facts.strict = token == JsonToken::Scalar(b"true")
            }
            (Key::Stop, 2, _, token) => facts.stop = stop_of(facts.stop, token),
            (Key::Text, 3, Inner::Type, JsonToken::Text(kind)) => facts.json_schema = kind == b"json_schema",
            (Key::Text | Key::ResponseFormat, 3, Inner::Name, JsonToken::Text(name)) => {
                facts.schema_name = Some(String::from_utf8_lossy(name).into_owned());
            }
            (Key::Messages, 2, _, JsonToken::Open { .. }) => facts.answers_result = false,
            (Key::Messages, 3, Inner::Role, JsonToken::Text(role)) => facts.answers_result = role == b"tool",
            (Key::Reasoning, 2, Inner::Mode, token) => {
                facts.thinks_otherwise = token != JsonToken::Scalar(b"null")
            }
            (Key::Reasoning, 2, Inner::Effort, token) => facts.thinks_not = token == JsonToken::Text(b"none"),
            (Key::ToolChoice, 2, Inner::Type, JsonToken::Text(kind)) => {
                let is_function = kind == b"function";
                facts.tool_choice = if is_function { ToolChoice::Named } else { ToolChoice::Other };
            }
            (Key::Tools, 2, _, JsonToken::Open { .. }) => self.tool = None,
            (Key::Tools, 3, Inner::Type, JsonToken::Text(kind)) => {
                self.tool = Some(match kind {
                    b"function" => ToolKind::Function,
                    b"custom" => ToolKind::Custom,
                    _ => ToolKind::Hosted,
                });
            }
            (Key::Tools, 3, Inner::Type, _) => self.tool = None,
            (Key::Tools, 2, _, JsonToken::Close) => match self.tool.take() {
                Some(ToolKind::Function) => facts.functions += 1,
                Some(ToolKind::Custom) => facts.custom_tools = true,
                Some(ToolKind::Hosted) => facts.hosted_tools = true,
                None => {}
            },
            (Key::Functions, 2, _, JsonToken::Open { array: false }) => facts.legacy_functions = true,
            // The name of a value is used up by it.
            _ => {}
        }
        self.inner = Inner::Other;
    }
}

#[cfg(test)]
mod tests;
