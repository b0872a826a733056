//! One line of a recording: a JSON object, read member by member, so that all that is wrong with it is
//! told at once. `exchange.schema.json` says the same for other programs; a test holds the two together.

use std::sync::LazyLock;

use http::{Method, StatusCode};
use serde::Deserialize;
use serde_json::value::RawValue;
use smol_str::SmolStr;
use strum::VariantArray;

use super::frame::RecordedFrame;
use super::member::{base64, given, missing, needed, not_allowed, value};
use super::operation::RecordedOperation;
use crate::usage::Api;

/// JSON Schema of a line.
pub const EXCHANGE_SCHEMA: &str = include_str!("exchange.schema.json");

/// A whole line that can be copied.
pub const EXCHANGE_EXAMPLE: &str = r#"{"id": "1", "api": "chat", "azure": true, "request": {"model": "gpt-4o", "messages": [{"role": "user", "content": "Hello"}]}, "response_kind": "json", "response_body": "{\"choices\": [{\"message\": {\"content\": \"Hi\"}}]}"}"#;

/// How the body of a response is framed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BodyFraming {
    Json,
    Sse,
    /// Sound, subtitles: nothing is read of it.
    Other,
}

/// The answer of the service.
#[derive(Debug)]
pub(super) enum RecordedResponse<'a> {
    Body {
        framing: BodyFraming,
        bytes: Vec<u8>,
    },
    /// Both sides of a session.
    Frames(Vec<RecordedFrame<'a>>),
}

/// One exchange of the input, read and checked.
#[derive(Debug)]
pub(super) struct Line<'a> {
    pub(super) id: String,
    pub(super) api: Api,
    /// `None`: its target is not known.
    pub(super) operation: Option<RecordedOperation>,
    pub(super) azure: bool,
    pub(super) model: Option<SmolStr>,
    pub(super) api_version: Option<SmolStr>,
    pub(super) deployment: Option<SmolStr>,
    pub(super) status: StatusCode,
    /// As it stands in the line: the order of its keys counts. `None`: nothing was sent.
    pub(super) request: Option<&'a RawValue>,
    pub(super) response: RecordedResponse<'a>,
}

/// The members as they stand. Others are ignored; `null` is as good as absent where a member may be.
#[derive(Deserialize)]
struct Members<'a> {
    #[serde(borrow, default, deserialize_with = "value")]
    id: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "value")]
    api: Option<&'a RawValue>,
    #[serde(borrow)]
    method: Option<&'a RawValue>,
    #[serde(borrow)]
    target: Option<&'a RawValue>,
    #[serde(borrow)]
    azure: Option<&'a RawValue>,
    #[serde(borrow)]
    model: Option<&'a RawValue>,
    #[serde(borrow)]
    api_version: Option<&'a RawValue>,
    #[serde(borrow)]
    status: Option<&'a RawValue>,
    #[serde(borrow)]
    deployment: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "value")]
    request: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "value")]
    response_kind: Option<&'a RawValue>,
    #[serde(borrow)]
    response_body: Option<&'a RawValue>,
    #[serde(borrow)]
    response_body_base64: Option<&'a RawValue>,
    #[serde(borrow)]
    frames: Option<&'a RawValue>,
}

impl<'a> Line<'a> {
    /// Reads a line; all that is wrong with it, in words.
    pub(super) fn parse(line: &'a [u8]) -> Result<Line<'a>, String> {
        let members: Members<'a> = serde_json::from_slice(line).map_err(|error| no_object(line, &error))?;
        let mut wrong = Vec::new();
        let id = needed(members.id, "id", "a text that names the exchange", &mut wrong);
        let api = needed::<String>(members.api, "api", &API_ALLOWED, &mut wrong)
            .and_then(|name| api(&name, &mut wrong));
        let operation = members.operation(api, &mut wrong);
        let azure = given(members.azure, "azure", "true or false", &mut wrong);
        let model = given(members.model, "model", "a text", &mut wrong);
        let api_version = given(members.api_version, "api_version", "a text", &mut wrong);
        let deployment = given(members.deployment, "deployment", "a text", &mut wrong);
        let status = given(members.status, "status", STATUS_ALLOWED, &mut wrong);
        let status = status.map_or(Some(StatusCode::OK), |code| status_code(code, &mut wrong));
        let response = members.response(api, &mut wrong);
        let is_session = matches!(response, Some(RecordedResponse::Frames(_)));
        let status = status.map(|status| if is_session { of_handshake(status) } else { status });
        match (id, api, status, response) {
            (Some(id), Some(api), Some(status), Some(response)) if wrong.is_empty() => Ok(Line {
                id,
                api,
                operation,
                azure: azure.unwrap_or_default(),
                model,
                api_version,
                deployment,
                status,
                request: members.request.filter(|request| request.get() != "null"),
                response,
            }),
            _ => Err(wrong.join("; ")),
        }
    }
}

impl<'a> Members<'a> {
    /// The operation, if its target is known; it must be one of the API.
    fn operation(&self, api: Option<Api>, wrong: &mut Vec<String>) -> Option<RecordedOperation> {
        let name: Option<String> = given(self.method, "method", METHOD_ALLOWED, wrong);
        let method = name.map_or(Some(Method::POST), |name| method(&name, wrong));
        let target: String = given(self.target, "target", TARGET_ALLOWED, wrong)?;
        let operation = RecordedOperation::of(&method?, &target);
        if let (Some(api), Some(of_target)) = (api, operation.api)
            && api != of_target
        {
            let name = of_target.recorded_name().unwrap_or_default();
            wrong.push(format!("`target` is one of the API {name}, and `api` is another one"));
        }
        Some(operation)
    }

    fn response(&self, api: Option<Api>, wrong: &mut Vec<String>) -> Option<RecordedResponse<'a>> {
        let kind = self.response_kind.and_then(|kind| serde_json::from_str::<String>(kind.get()).ok());
        if kind.as_deref() == Some(FRAMES) {
            return self.session(api, wrong);
        }
        if self.request.is_none() {
            wrong.push(missing("request", "the body that was sent, as JSON"));
        }
        let framing = needed::<String>(self.response_kind, "response_kind", KIND_ALLOWED, wrong)
            .and_then(|name| framing(&name, wrong));
        if self.frames.is_some() {
            wrong.push("`frames` are there; allowed: only with `response_kind` \"frames\"".to_owned());
        }
        let bytes = self.body(wrong);
        Some(RecordedResponse::Body { framing: framing?, bytes: bytes? })
    }

    fn session(&self, api: Option<Api>, wrong: &mut Vec<String>) -> Option<RecordedResponse<'a>> {
        if api.is_some_and(|api| api.session_kind().is_none()) {
            wrong.push(format!(
                "`response_kind` is \"frames\"; allowed: only with `api` {}",
                *SESSIONS_ALLOWED
            ));
        }
        if self.response_body.is_some() || self.response_body_base64.is_some() {
            wrong.push("`response_body` is there; allowed: not with `response_kind` \"frames\"".to_owned());
        }
        let Some(frames) = self.frames else {
            wrong.push(missing("frames", "the frames of both sides, in order"));
            return None;
        };
        RecordedFrame::parse_all(frames, wrong).map(RecordedResponse::Frames)
    }

    fn body(&self, wrong: &mut Vec<String>) -> Option<Vec<u8>> {
        match (self.response_body, self.response_body_base64) {
            (Some(text), None) => {
                given::<String>(Some(text), "response_body", BODY_ALLOWED, wrong).map(String::into_bytes)
            }
            (None, Some(coded)) => base64(coded, "response_body_base64", wrong),
            (None, None) => {
                wrong.push(missing("response_body", &format!("{BODY_ALLOWED} (or `response_body_base64`)")));
                None
            }
            (Some(_), Some(_)) => {
                wrong.push(
                    "`response_body` and `response_body_base64` are both there; allowed: one of them"
                        .to_owned(),
                );
                None
            }
        }
    }
}

static API_ALLOWED: LazyLock<String> = LazyLock::new(|| names_of(|_| true));
static SESSIONS_ALLOWED: LazyLock<String> = LazyLock::new(|| names_of(|api| api.session_kind().is_some()));
const METHODS: [Method; 7] =
    [Method::GET, Method::POST, Method::PUT, Method::PATCH, Method::DELETE, Method::HEAD, Method::OPTIONS];
const METHOD_ALLOWED: &str = "GET, POST, PUT, PATCH, DELETE, HEAD or OPTIONS";
const TARGET_ALLOWED: &str = "the path that was called, with its query or without";
const FRAMES: &str = "frames";
const KIND_ALLOWED: &str = "\"json\", \"sse\", \"frames\" or \"other\"";
const STATUS_ALLOWED: &str = "100 to 999";
const BODY_ALLOWED: &str = "the body that came back, as one text";

/// The names that `api` may have, as people read them.
pub fn api_names() -> &'static str {
    &API_ALLOWED
}

/// The names of the APIs of which this is true.
fn names_of(is_meant: impl Fn(&Api) -> bool) -> String {
    let meant = Api::VARIANTS.iter().copied().filter(is_meant);
    let names: Vec<_> = meant.filter_map(Api::recorded_name).collect();
    match names.as_slice() {
        [] => String::new(),
        [name] => (*name).to_owned(),
        [names @ .., last] => format!("{} or {last}", names.join(", ")),
    }
}

fn api(name: &str, wrong: &mut Vec<String>) -> Option<Api> {
    let found = Api::recorded_as(name);
    if found.is_none() {
        wrong.push(not_allowed("api", &format!("{name:?}"), &API_ALLOWED));
    }
    found
}

fn method(name: &str, wrong: &mut Vec<String>) -> Option<Method> {
    let found = METHODS.into_iter().find(|method| method.as_str() == name);
    if found.is_none() {
        wrong.push(not_allowed("method", &format!("{name:?}"), METHOD_ALLOWED));
    }
    found
}

fn status_code(code: u16, wrong: &mut Vec<String>) -> Option<StatusCode> {
    let found = StatusCode::from_u16(code).ok();
    if found.is_none() {
        wrong.push(not_allowed("status", &code.to_string(), STATUS_ALLOWED));
    }
    found
}

/// The status of a handshake. A success is taken for a switch of protocols: there are frames.
fn of_handshake(status: StatusCode) -> StatusCode {
    if status.is_success() { StatusCode::SWITCHING_PROTOCOLS } else { status }
}

fn framing(name: &str, wrong: &mut Vec<String>) -> Option<BodyFraming> {
    match name {
        "json" => return Some(BodyFraming::Json),
        "sse" => return Some(BodyFraming::Sse),
        "other" => return Some(BodyFraming::Other),
        _ => wrong.push(not_allowed("response_kind", &format!("{name:?}"), KIND_ALLOWED)),
    }
    None
}

/// Why a line is no JSON object, or one with a member twice.
fn no_object(line: &[u8], error: &serde_json::Error) -> String {
    let text = line.trim_ascii();
    let whole = serde_json::from_slice::<serde::de::IgnoredAny>(text).is_ok();
    match text.first() {
        Some(b'[') if whole => {
            return "is a JSON array; allowed: one object a line (jq -c '.[]' makes them)".to_owned();
        }
        Some(b'{') if whole => {
            // "duplicate field `id` at line 1 column 9"
            let said = error.to_string();
            return said.split(" at line ").next().unwrap_or_default().to_owned();
        }
        // Something other than an object was read, whatever follows it.
        Some(first) if whole || (error.is_data() && *first != b'{') => return "is no JSON object".to_owned(),
        Some(b'{') if error.is_eof() => {
            return "ends within its JSON; allowed: one whole object a line (jq -c . makes them)".to_owned();
        }
        _ => {}
    }
    let said = error.to_string();
    let said = said.split(" at line ").next().unwrap_or_default();
    format!("is no JSON: {said} at column {}", error.column())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn wrong(line: &str) -> String {
        Line::parse(line.as_bytes()).map(|line| line.id).unwrap_err()
    }

    #[test]
    fn the_examples_are_exchanges() {
        assert_eq!(Line::parse(EXCHANGE_EXAMPLE.as_bytes()).map(|line| line.id).unwrap(), "1");
        let schema: Value = serde_json::from_str(EXCHANGE_SCHEMA).unwrap();
        for example in schema["examples"].as_array().unwrap() {
            Line::parse(example.to_string().as_bytes()).unwrap();
        }
    }

    #[test]
    fn all_that_is_wrong_is_told_at_once() {
        let apis = "chat, completions, embeddings, responses, messages, images, audio, assistants, batch, realtime, \
                    video, rerank, ocr or other";
        let kinds = "\"json\", \"sse\", \"frames\" or \"other\"";
        assert_eq!(
            wrong("{}"),
            format!(
                "`id` is missing: a text that names the exchange; `api` is missing: {apis}; `request` is missing: the body \
                 that was sent, as JSON; `response_kind` is missing: {kinds}; `response_body` is missing: the body that came \
                 back, as one text (or `response_body_base64`)"
            )
        );
        assert_eq!(
            wrong(
                r#"{"id": 17, "api": "websocket", "method": "get", "target": 1, "azure": "yes", "model": {}, "status": 99, "request": 1, "response_kind": "text", "response_body": {"secret": 1}}"#
            ),
            format!(
                "`id` is 17; allowed: a text that names the exchange; `api` is \"websocket\"; allowed: {apis}; `method` is \
                 \"get\"; allowed: GET, POST, PUT, PATCH, DELETE, HEAD or OPTIONS; `target` is 1; allowed: the path that was \
                 called, with its query or without; `azure` is \"yes\"; allowed: true or false; `model` is an object; allowed: a text; `status` is 99; \
                 allowed: 100 to 999; `response_kind` is \"text\"; allowed: {kinds}; `response_body` is an object; allowed: \
                 the body that came back, as one text"
            )
        );
        assert_eq!(
            wrong(r#"{"id": "1", "api": "chat", "response_kind": "frames", "response_body": ""}"#),
            "`response_kind` is \"frames\"; allowed: only with `api` responses or realtime; `response_body` is there; \
             allowed: not with `response_kind` \"frames\"; `frames` is missing: the frames of both sides, in order"
        );
        assert_eq!(
            wrong(
                r#"{"id": "1", "api": "audio", "target": "/v1/images/edits", "request": {}, "response_kind": "sse", "response_body": "", "frames": []}"#
            ),
            "`target` is one of the API images, and `api` is another one; `frames` are there; allowed: only with \
             `response_kind` \"frames\""
        );
    }

    #[test]
    fn what_is_no_object_is_told_without_a_line_of_its_own() {
        for (line, said) in [
            ("nonsense", "is no JSON: expected ident at column 2"),
            ("17", "is no JSON object"),
            ("[{}]", "is a JSON array; allowed: one object a line (jq -c '.[]' makes them)"),
            ("{", "ends within its JSON; allowed: one whole object a line (jq -c . makes them)"),
            ("\"id\": \"1\"", "is no JSON object"),
            (r#"{"id": "1", "id": "2"}"#, "duplicate field `id`"),
        ] {
            assert_eq!(wrong(line), said, "{line}");
        }
        assert!(Line::parse(b"{\"id\": \"\xff\"}").is_err());
    }

    /// Every member of a line that is whole, in turn taken away and replaced by other things: the schema
    /// says what the reader says.
    #[test]
    fn the_schema_and_the_reader_agree() {
        let schema: Value = serde_json::from_str(EXCHANGE_SCHEMA).unwrap();
        let mut wholes = schema["examples"].as_array().unwrap().clone();
        for whole in &mut wholes {
            let others = json!({"model": "m", "status": 200, "deployment": "d", "api_version": "2024-10-21", "stream": true,
                "azure": false, "method": "POST", "target": "/v1/others"});
            whole.as_object_mut().unwrap().extend(others.as_object().unwrap().clone());
        }
        let names: Vec<String> = schema["properties"].as_object().unwrap().keys().cloned().collect();
        let others = [
            json!(null),
            json!(true),
            json!(0),
            json!(99),
            json!(100),
            json!(999),
            json!(1000),
            json!(-1),
            json!(1.5),
            json!(""),
            json!("chat"),
            json!("chat/completions"),
            json!("images"),
            json!("responses"),
            json!("GET"),
            json!("get"),
            json!("messages"),
            json!("sse"),
            json!("frames"),
            json!("other"),
            json!([{"from": "server", "text": "a"}, {"from": "client", "close": 1000}]),
            json!([{"from": "server"}]),
            json!([{"from": "nobody", "ping": ""}]),
            json!([{"from": "client", "json": null}, {"from": "client", "cut": true}]),
            json!([{"from": "client", "cut": false}]),
            json!([{"from": "client", "text": "a", "json": 1}]),
            json!([{"from": "client", "close": -1}]),
            json!([{"from": "client", "binary_base64": null}]),
            json!([1]),
            json!("a"),
            json!([]),
            json!({}),
            json!("aGk="),
        ];
        let mut seen = [0, 0];
        for (whole, name) in wholes.iter().flat_map(|whole| names.iter().map(move |name| (whole, name))) {
            let absent = std::iter::once(None);
            for other in absent.chain(others.iter().map(Some)) {
                let mut line = whole.as_object().unwrap().clone();
                line.remove(name);
                line.extend(other.map(|value| (name.clone(), value.clone())));
                let text = serde_json::to_string(&line).unwrap();
                let read = Line::parse(text.as_bytes()).is_ok();
                // The schema does not say what base64 is made of, nor which API a target is one of.
                let is_open = ["response_body_base64", "target"].contains(&name.as_str());
                if is_open && other.is_some_and(Value::is_string) {
                    continue;
                }
                assert_eq!(fits(&Value::Object(line), &schema), read, "{name}: {other:?}");
                seen[usize::from(read)] += 1;
            }
        }
        assert!(seen[0] > 50 && seen[1] > 50, "{seen:?}");
    }

    /// As much of JSON Schema as the schema uses; an unknown word stops the test.
    fn fits(value: &Value, schema: &Value) -> bool {
        schema.as_object().unwrap().iter().all(|(word, rule)| match word.as_str() {
            "$schema" | "title" | "description" | "examples" | "contentEncoding" => true,
            "items" => value.as_array().is_none_or(|items| items.iter().all(|item| fits(item, rule))),
            "type" => match rule {
                Value::Array(names) => names.iter().any(|name| is(value, name.as_str().unwrap())),
                name => is(value, name.as_str().unwrap()),
            },
            "enum" => rule.as_array().unwrap().contains(value),
            "minimum" => value.as_f64().is_none_or(|number| number >= rule.as_f64().unwrap()),
            "maximum" => value.as_f64().is_none_or(|number| number <= rule.as_f64().unwrap()),
            "required" => {
                rule.as_array().unwrap().iter().all(|name| value.get(name.as_str().unwrap()).is_some())
            }
            "properties" => rule
                .as_object()
                .unwrap()
                .iter()
                .all(|(name, rule)| value.get(name).is_none_or(|value| fits(value, rule))),
            "oneOf" => rule.as_array().unwrap().iter().filter(|rule| fits(value, rule)).count() == 1,
            other => panic!("the test does not know `{other}`"),
        })
    }

    fn is(value: &Value, name: &str) -> bool {
        match name {
            "null" => value.is_null(),
            "boolean" => value.is_boolean(),
            "integer" => value.is_i64() || value.is_u64(),
            "string" => value.is_string(),
            "object" => value.is_object(),
            "array" => value.is_array(),
            other => panic!("the test does not know the type `{other}`"),
        }
    }
}
