//! Chunks and documents of chat and older completions, and the members that other APIs share with them.

use super::charges::Charges;
use super::failure::Failure;
use super::json::{Malformed, Text, Value, elements, members};
use super::logprobs::Logprobs;
use super::slim;

/// A chunk of a streamed response, or a whole response: they differ in `delta` and `message` only.
#[derive(Clone, Copy, Debug, Default)]
pub struct Chunk<'a> {
    /// `id`; empty in Azure's annotation chunks.
    pub id: Option<Text<'a>>,
    /// `model`; empty in Azure's annotation chunks.
    pub model: Option<Text<'a>>,
    /// `service_tier`
    pub service_tier: Option<Text<'a>>,
    /// `created` or `created_at`, seconds since 1970; 0 in Azure's annotation chunks.
    pub created: Option<u64>,
    /// `type`: names the events of the Responses API.
    pub kind: Option<Text<'a>>,
    /// `obfuscation`: padding.
    pub obfuscation: Option<Text<'a>>,
    choices: Option<&'a [u8]>,
    usage: Option<&'a [u8]>,
    tool_usage: Option<&'a [u8]>,
    svg_usage: Option<&'a [u8]>,
    usage_info: Option<&'a [u8]>,
    meta: Option<&'a [u8]>,
    response: Option<&'a [u8]>,
    error: Option<Value<'a>>,
    document: &'a [u8],
}

/// One entry of `choices`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Choice<'a> {
    /// `index`; 0 if absent.
    pub index: u64,
    /// `finish_reason`
    pub finish_reason: Option<Text<'a>>,
    logprobs: Option<&'a [u8]>,
    message: Option<&'a [u8]>,
    /// `text`: all that the older completions say.
    text: Option<Text<'a>>,
}

/// A `delta` or a `message`.
#[derive(Clone, Copy, Debug, Default)]
pub struct Message<'a> {
    /// `content`
    pub content: Option<Text<'a>>,
    /// `refusal`
    pub refusal: Option<Text<'a>>,
    /// `reasoning_content`, which some services add.
    pub reasoning: Option<Text<'a>>,
    /// `function_call`, the older form of a single tool call.
    pub function_call: Option<Call<'a>>,
    /// It carries audio, whose tokens no text gives.
    pub audio: bool,
    /// `content` is neither text nor null.
    pub odd: bool,
    tool_calls: Option<&'a [u8]>,
}

/// A tool call, or the next piece of one.
#[derive(Clone, Copy, Debug, Default)]
pub struct Call<'a> {
    /// `index`, else the place in the list.
    pub index: u64,
    /// `function.name`
    pub name: Option<Text<'a>>,
    /// `function.arguments`, or what else the model says to the tool.
    pub arguments: Option<Text<'a>>,
    /// `id`: the first piece of a call has it.
    pub id: Option<Text<'a>>,
    /// It is a call of a custom tool: `custom.name` and `custom.input`.
    pub custom: bool,
    /// It has neither `function` nor `custom` but something else.
    pub odd: bool,
}

impl<'a> Chunk<'a> {
    /// Reads one JSON object.
    ///
    /// # Errors
    /// [`Malformed`] if `document` is no JSON object.
    pub fn parse(document: &'a [u8]) -> Result<Chunk<'a>, Malformed> {
        let mut chunk = Chunk { document, ..Chunk::default() };
        members(document, |key, value| match key {
            b"choices" => chunk.choices = value.array(),
            b"model" => chunk.model = value.text(),
            b"id" => chunk.id = value.text(),
            b"usage" => chunk.usage = value.object(),
            b"tool_usage" => chunk.tool_usage = value.object(),
            b"svg_usage" => chunk.svg_usage = value.object(),
            b"usage_info" => chunk.usage_info = value.object(),
            b"meta" => chunk.meta = value.object(),
            b"created" | b"created_at" => chunk.created = value.whole(),
            b"service_tier" => chunk.service_tier = value.text(),
            b"type" => chunk.kind = value.text(),
            b"obfuscation" => chunk.obfuscation = value.text(),
            b"response" => chunk.response = value.object(),
            b"error" => chunk.error = Some(value),
            _ => {}
        })?;
        Ok(chunk)
    }

    /// Its choices, in order.
    ///
    /// # Errors
    /// [`Malformed`] if the list is not JSON; the choices before that place have been seen.
    pub fn choices(&self, mut choice: impl FnMut(Choice<'a>)) -> Result<(), Malformed> {
        let Some(list) = self.choices else { return Ok(()) };
        let mut all_read = Ok(());
        elements(list, |value| match value.object().map(Choice::parse) {
            Some(Ok(parsed)) => choice(parsed),
            Some(Err(malformed)) => all_read = Err(malformed),
            None => {}
        })?;
        all_read
    }

    /// The cost that it names, if it names any. An object in it that is not JSON names none.
    pub fn charges(&self) -> Option<Charges> {
        let objects = [
            (&b"usage"[..], self.usage),
            (b"tool_usage", self.tool_usage),
            (b"svg_usage", self.svg_usage),
            (b"usage_info", self.usage_info),
            (b"meta", self.meta),
        ];
        let mut charges: Option<Charges> = None;
        for (name, object) in objects {
            if let Some(object) = object {
                charges.get_or_insert_default().read_whole(&[name], object);
            }
        }
        charges
    }

    /// The index and content of its one choice, if it says nothing else that counts but labels.
    pub fn sole_content(&self) -> Option<(u64, Text<'a>)> {
        let other = self.usage.is_some() || self.response.is_some() || self.is_error();
        let (mut choices, mut sole) = (0, None);
        self.choices(|choice| {
            choices += 1;
            sole = choice.sole_content().map(|content| (choice.index, content));
        })
        .ok()?;
        sole.filter(|_| choices == 1 && !other)
    }

    /// There is a `usage`, and it is an object.
    pub fn has_usage(&self) -> bool {
        self.usage.is_some()
    }

    /// `choices` is there and empty.
    pub fn no_choices(&self) -> bool {
        let mut none = self.choices.is_some();
        _ = self.choices(|_| none = false);
        none
    }

    /// The `response` of a Responses event.
    pub fn response(&self) -> Option<Chunk<'a>> {
        Chunk::parse(self.response?).ok()
    }

    /// It is an error, or carries one.
    pub fn is_error(&self) -> bool {
        let has = matches!(self.error, Some(Value::Object(_) | Value::Text(_)));
        has || self.kind.is_some_and(|kind| &*kind.key() == b"error")
    }

    /// The names that its error gives itself; none if there is no error.
    pub fn failure(&self) -> Failure {
        Failure::read(self.document)
    }
}

impl<'a> Choice<'a> {
    fn parse(object: &'a [u8]) -> Result<Choice<'a>, Malformed> {
        let mut choice = Choice::default();
        members(object, |key, value| match key {
            b"index" => choice.index = value.whole().unwrap_or(0),
            b"finish_reason" => choice.finish_reason = value.text(),
            b"logprobs" => choice.logprobs = value.object(),
            b"delta" | b"message" => choice.message = value.object(),
            b"text" => choice.text = value.text(),
            _ => {}
        })?;
        Ok(choice)
    }

    /// Its delta or message; empty in Azure's annotation chunks. The text of an older completion is
    /// the content of its message.
    ///
    /// # Errors
    /// [`Malformed`] if it is not JSON.
    pub fn message(&self) -> Result<Message<'a>, Malformed> {
        let older = Message { content: self.text, ..Message::default() };
        self.message.map_or(Ok(older), Message::parse)
    }

    fn sole_content(&self) -> Option<Text<'a>> {
        let message = self.message().ok()?;
        let other = message.refusal.is_some()
            || message.reasoning.is_some()
            || message.function_call.is_some()
            || message.tool_calls.is_some()
            || message.audio
            || self.finish_reason.is_some()
            || self.logprobs.is_some();
        message.content.filter(|_| !other)
    }

    /// The entries of `logprobs.content` and `logprobs.refusal`, or of the `logprobs.tokens` of an
    /// older completion; `None` without them.
    pub fn logprobs(&self) -> Option<Logprobs> {
        let mut all = Logprobs { entries: 0, bytes: Some(0) };
        members(self.logprobs?, |key, list| {
            if let Some(sum) = slim::summary(key, &list) {
                return all.add(sum);
            }
            let (b"content" | b"refusal" | b"tokens", Some(list)) = (key, list.array()) else { return };
            _ = elements(list, |entry| {
                let bytes = match entry {
                    Value::Object(entry) => token_bytes(entry),
                    Value::Text(token) => Some(token.lossy().len() as u64),
                    _ => None,
                };
                all.add(Logprobs { entries: 1, bytes });
            });
        })
        .ok()?;
        (all.entries > 0).then_some(all)
    }
}

/// How many bytes one entry of `logprobs` stands for.
fn token_bytes(entry: &[u8]) -> Option<u64> {
    let mut count = None;
    members(entry, |key, value| {
        if let (b"bytes", Some(list)) = (key, value.array()) {
            let mut bytes = 0;
            count = elements(list, |_| bytes += 1).ok().map(|()| bytes);
        }
    })
    .ok()?;
    count
}

impl<'a> Message<'a> {
    fn parse(object: &'a [u8]) -> Result<Message<'a>, Malformed> {
        let mut message = Message::default();
        let mut function_call = None;
        members(object, |key, value| match key {
            b"content" => {
                message.content = value.text();
                message.odd = !matches!(value, Value::Text(_) | Value::Null);
            }
            b"refusal" => message.refusal = value.text(),
            b"reasoning_content" => message.reasoning = value.text(),
            b"tool_calls" => message.tool_calls = value.array(),
            b"function_call" => function_call = value.object(),
            b"audio" => message.audio = value.object().is_some(),
            _ => {}
        })?;
        if let Some(function) = function_call {
            let mut call = Call::default();
            call.function(function)?;
            message.function_call = Some(call);
        }
        Ok(message)
    }

    /// Its tool calls, in order.
    ///
    /// # Errors
    /// [`Malformed`] if the list is not JSON; the calls before that place have been seen.
    pub fn tool_calls(&self, mut call: impl FnMut(Call<'a>)) -> Result<(), Malformed> {
        let Some(list) = self.tool_calls else { return Ok(()) };
        let (mut place, mut all_read) = (0, Ok(()));
        elements(list, |value| {
            match value.object().map(|object| Call::parse(object, place)) {
                Some(Ok(parsed)) => call(parsed),
                Some(Err(malformed)) => all_read = Err(malformed),
                None => {}
            }
            place += 1;
        })?;
        all_read
    }
}

impl<'a> Call<'a> {
    fn parse(object: &'a [u8], place: u64) -> Result<Call<'a>, Malformed> {
        let mut call = Call { index: place, ..Call::default() };
        let (mut function, mut custom, mut kind) = (None, None, None);
        members(object, |key, value| match key {
            b"index" => call.index = value.whole().unwrap_or(place),
            b"id" => call.id = value.text().filter(|id| !id.is_empty()),
            b"function" => function = value.object(),
            b"custom" => custom = value.object(),
            b"type" => kind = value.text(),
            _ => {}
        })?;
        let kind = kind.map(|kind| kind.key());
        call.custom = function.is_none() && (custom.is_some() || kind.as_deref() == Some(b"custom"));
        call.odd = kind.is_some_and(|kind| &*kind != if call.custom { b"custom" } else { &b"function"[..] });
        if let Some(said) = function.or(custom) {
            call.function(said)?;
        }
        Ok(call)
    }

    fn function(&mut self, object: &'a [u8]) -> Result<(), Malformed> {
        members(object, |key, value| match key {
            b"name" => self.name = value.text(),
            b"arguments" | b"input" => self.arguments = value.text().or(self.arguments),
            _ => {}
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// (index, content, finish reason) of each choice.
    fn choices(json: &str) -> Vec<(u64, String, String)> {
        let mut all = Vec::new();
        let lossy = |text: Option<Text<'_>>| text.unwrap_or_default().lossy().into_owned();
        Chunk::parse(json.as_bytes())
            .unwrap()
            .choices(|choice| {
                let message = choice.message().unwrap();
                all.push((choice.index, lossy(message.content), lossy(choice.finish_reason)));
            })
            .unwrap();
        all
    }

    fn one(index: u64, content: &str, finish: &str) -> (u64, String, String) {
        (index, content.to_owned(), finish.to_owned())
    }

    #[test]
    fn deltas_and_messages_in_any_order_of_keys() {
        let chunk = r#"{"choices":[{"finish_reason":null,"delta":{"content":"Hi"},"index":1}],"id":"c"}"#;
        assert_eq!(choices(chunk), [one(1, "Hi", "")]);
        let whole = r#"{"choices":[{"index":0,"message":{"content":"Hi"},"finish_reason":"stop"}]}"#;
        assert_eq!(choices(whole), [one(0, "Hi", "stop")]);
    }

    #[test]
    fn older_completions_have_a_text() {
        let chunk = r#"{"object":"text_completion","choices":[{"text":"Hi","index":1,"logprobs":null,"finish_reason":"length"}]}"#;
        assert_eq!(choices(chunk), [one(1, "Hi", "length")]);
    }

    #[test]
    fn case_35_the_last_of_equal_keys_wins_and_keys_may_be_escaped() {
        let chunk = r#"{"choices":[{"delta":{"content":"no"}}],"ch\u006fices":[{"delta":{"content":"a","content":"b"}}]}"#;
        assert_eq!(choices(chunk), [one(0, "b", "")]);
    }

    #[test]
    fn an_annotation_has_no_text() {
        let chunk = r#"{"id":"","model":"","choices":[{"index":0,"finish_reason":null,"content_filter_offsets":{"check_offset":44}}],"usage":null}"#;
        assert_eq!(choices(chunk), [one(0, "", "")]);
        assert!(Chunk::parse(chunk.as_bytes()).unwrap().charges().is_none());
    }

    #[test]
    fn tool_calls_have_an_index_or_a_place() {
        let json = br#"{"choices":[{"delta":{"tool_calls":[{"index":3,"function":{"name":"f","arguments":"{"}},{"function":{"arguments":"}"}},{"type":"custom","custom":{}},{"type":"robot"}]}}]}"#;
        let mut calls = Vec::new();
        Chunk::parse(json)
            .unwrap()
            .choices(|choice| {
                let message = choice.message().unwrap();
                message.tool_calls(|call| calls.push((call.index, call.name.is_some(), call.odd))).unwrap();
            })
            .unwrap();
        assert_eq!(calls, [(3, true, false), (1, false, false), (2, false, false), (3, false, true)]);
    }

    #[test]
    fn errors_of_every_shape() {
        let error = |json: &str| {
            let chunk = Chunk::parse(json.as_bytes()).unwrap();
            chunk.is_error().then(|| chunk.failure().class().to_owned())
        };
        assert_eq!(
            error(r#"{"error":{"message":"m","type":"server_error","code":null}}"#).unwrap(),
            "server_error"
        );
        assert_eq!(error(r#"{"error":{"requestid":"r","code":400,"message":"m"}}"#).unwrap(), "400");
        assert_eq!(error(r#"{"type":"error","code":"server_error","message":"m"}"#).unwrap(), "server_error");
        assert_eq!(
            error(r#"{"type":"error","error":{"code":"rate_limit_exceeded"}}"#).unwrap(),
            "rate_limit_exceeded"
        );
        assert_eq!(error(r#"{"error":"overloaded"}"#).unwrap(), "");
        assert_eq!(error(r#"{"choices":[],"error":null,"code":"x"}"#), None);
    }

    #[test]
    fn case_28_logprobs_say_how_many_tokens_and_bytes() {
        let of = |json: &str| {
            let mut found = None;
            Chunk::parse(json.as_bytes()).unwrap().choices(|choice| found = choice.logprobs()).unwrap();
            found
        };
        let json = r#"{"choices":[{"logprobs":{"content":[{"token":"a","bytes":[97]},{"token":"é","bytes":[195,169]}],"refusal":null}}]}"#;
        assert_eq!(of(json), Some(Logprobs { entries: 2, bytes: Some(3) }));
        let json = r#"{"choices":[{"logprobs":{"content":[{"token":"a","bytes":null}]}}]}"#;
        assert_eq!(of(json), Some(Logprobs { entries: 1, bytes: None }));
        let json = r#"{"choices":[{"logprobs":{"tokens":["a"," é"],"token_logprobs":[-1,-2],"top_logprobs":[{},{}],"text_offset":[0,1]}}]}"#;
        assert_eq!(of(json), Some(Logprobs { entries: 2, bytes: Some(4) }));
        assert_eq!(of(r#"{"choices":[{"logprobs":null}]}"#), None);
    }
}
