//! One line of a recording: a JSON object, read member by member, so that all that is wrong with it is
//! told at once. `exchange.schema.json` says the same for other programs; a test holds the two together.

use std::borrow::Cow;
use std::sync::LazyLock;

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use http::StatusCode;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use smol_str::SmolStr;

use crate::usage::Api;

/// JSON Schema of a line.
pub const EXCHANGE_SCHEMA: &str = include_str!("exchange.schema.json");

/// A whole line that can be copied.
pub const EXCHANGE_EXAMPLE: &str = r#"{"id": "1", "api": "chat", "azure": true, "request": {"model": "gpt-4o", "messages": [{"role": "user", "content": "Hello"}]}, "response_kind": "json", "response_body": "{\"choices\": [{\"message\": {\"content\": \"Hi\"}}]}"}"#;

/// RFC 4648, section 4, with or without padding.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Characters of a value that an error repeats.
const SHOWN_CHARS_MAX: usize = 40;

/// How the body of a response is framed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ResponseKind {
    Json,
    Sse,
}

/// One exchange of the input, read and checked.
pub(super) struct Line<'a> {
    pub(super) id: String,
    pub(super) api: Api,
    pub(super) azure: bool,
    pub(super) model: Option<SmolStr>,
    pub(super) api_version: Option<SmolStr>,
    pub(super) deployment: Option<SmolStr>,
    pub(super) status: StatusCode,
    /// As it stands in the line: the order of its keys counts.
    pub(super) request: &'a RawValue,
    pub(super) kind: ResponseKind,
    pub(super) response: Vec<u8>,
}

/// The members as they stand. Others are ignored; `null` is as good as absent where a member may be.
#[derive(Deserialize)]
struct Members<'a> {
    #[serde(borrow, default, deserialize_with = "value")]
    id: Option<&'a RawValue>,
    #[serde(borrow, default, deserialize_with = "value")]
    api: Option<&'a RawValue>,
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
}

/// A value that is there, be it `null`.
fn value<'de, D: Deserializer<'de>>(from: D) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(from).map(Some)
}

impl<'a> Line<'a> {
    /// Reads a line; all that is wrong with it, in words.
    pub(super) fn parse(line: &'a [u8]) -> Result<Line<'a>, String> {
        let members: Members<'a> = serde_json::from_slice(line).map_err(|error| no_object(line, &error))?;
        let mut wrong = Vec::new();
        let id = needed(members.id, "id", "a text that names the exchange", &mut wrong);
        let api = needed::<String>(members.api, "api", &API_ALLOWED, &mut wrong)
            .and_then(|name| api(&name, &mut wrong));
        let azure = given(members.azure, "azure", "true or false", &mut wrong);
        let model = given(members.model, "model", "a text", &mut wrong);
        let api_version = given(members.api_version, "api_version", "a text", &mut wrong);
        let deployment = given(members.deployment, "deployment", "a text", &mut wrong);
        let status = given(members.status, "status", STATUS_ALLOWED, &mut wrong);
        let status = status.map_or(Some(StatusCode::OK), |code| status_code(code, &mut wrong));
        if members.request.is_none() {
            wrong.push(missing("request", "the body that was sent, as JSON"));
        }
        let kind = needed::<String>(members.response_kind, "response_kind", KIND_ALLOWED, &mut wrong)
            .and_then(|name| response_kind(&name, &mut wrong));
        let response = response(&members, &mut wrong);
        match (id, api, status, members.request, kind, response) {
            (Some(id), Some(api), Some(status), Some(request), Some(kind), Some(response))
                if wrong.is_empty() =>
            {
                let azure = azure.unwrap_or_default();
                Ok(Line { id, api, azure, model, api_version, deployment, status, request, kind, response })
            }
            _ => Err(wrong.join("; ")),
        }
    }
}

static API_ALLOWED: LazyLock<String> = LazyLock::new(|| {
    let names: Vec<_> = Api::recorded_names().collect();
    match names.as_slice() {
        [] => String::new(),
        [name] => (*name).to_owned(),
        [names @ .., last] => format!("{} or {last}", names.join(", ")),
    }
});
const KIND_ALLOWED: &str = "\"json\" or \"sse\"";
const STATUS_ALLOWED: &str = "100 to 999";
const BODY_ALLOWED: &str = "the body that came back, as one text";

fn missing(name: &str, allowed: &str) -> String {
    format!("`{name}` is missing: {allowed}")
}

/// A member that must be there; `None` with a reason in `wrong`.
fn needed<T: DeserializeOwned>(
    value: Option<&RawValue>,
    name: &str,
    allowed: &str,
    wrong: &mut Vec<String>,
) -> Option<T> {
    if value.is_none() {
        wrong.push(missing(name, allowed));
    }
    given(value, name, allowed, wrong)
}

/// A member that may be there; `None` if it is not, or with a reason in `wrong`.
fn given<T: DeserializeOwned>(
    value: Option<&RawValue>,
    name: &str,
    allowed: &str,
    wrong: &mut Vec<String>,
) -> Option<T> {
    let value = value?;
    let read = serde_json::from_str(value.get()).ok();
    if read.is_none() {
        wrong.push(not_allowed(name, value.get(), allowed));
    }
    read
}

fn not_allowed(name: &str, json: &str, allowed: &str) -> String {
    let shown = match json.as_bytes().first() {
        Some(b'{') => Cow::Borrowed("an object"),
        Some(b'[') => Cow::Borrowed("an array"),
        // No content, and no page of it.
        _ if name.starts_with("response_body") => Cow::Borrowed("not a text"),
        _ if json.chars().count() > SHOWN_CHARS_MAX => {
            Cow::Owned(json.chars().take(SHOWN_CHARS_MAX).chain("..".chars()).collect())
        }
        _ => Cow::Borrowed(json),
    };
    format!("`{name}` is {shown}; allowed: {allowed}")
}

fn api(name: &str, wrong: &mut Vec<String>) -> Option<Api> {
    let found = Api::recorded_as(name);
    if found.is_none() {
        wrong.push(not_allowed("api", &format!("{name:?}"), &API_ALLOWED));
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

fn response_kind(name: &str, wrong: &mut Vec<String>) -> Option<ResponseKind> {
    match name {
        "json" => return Some(ResponseKind::Json),
        "sse" => return Some(ResponseKind::Sse),
        _ => wrong.push(not_allowed("response_kind", &format!("{name:?}"), KIND_ALLOWED)),
    }
    None
}

fn response(members: &Members<'_>, wrong: &mut Vec<String>) -> Option<Vec<u8>> {
    match (members.response_body, members.response_body_base64) {
        (Some(text), None) => {
            given::<String>(Some(text), "response_body", BODY_ALLOWED, wrong).map(String::into_bytes)
        }
        (None, Some(coded)) => {
            let coded: String = given(Some(coded), "response_body_base64", "base64 in one text", wrong)?;
            decode(&coded).map_err(|problem| wrong.push(problem)).ok()
        }
        (None, None) => {
            wrong.push(missing("response_body", &format!("{BODY_ALLOWED} (or `response_body_base64`)")));
            None
        }
        (Some(_), Some(_)) => {
            wrong.push(
                "`response_body` and `response_body_base64` are both there; allowed: one of them".to_owned(),
            );
            None
        }
    }
}

/// Base64 that may be broken into lines.
fn decode(coded: &str) -> Result<Vec<u8>, String> {
    let digits: String = coded.split_ascii_whitespace().collect();
    BASE64.decode(digits).map_err(|error| format!("`response_body_base64` is no base64: {error}"))
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
    fn the_example_is_an_exchange() {
        assert_eq!(Line::parse(EXCHANGE_EXAMPLE.as_bytes()).map(|line| line.id).unwrap(), "1");
    }

    #[test]
    fn all_that_is_wrong_is_told_at_once() {
        assert_eq!(
            wrong("{}"),
            "`id` is missing: a text that names the exchange; `api` is missing: chat, completions, embeddings, \
             responses or messages; `request` is missing: the body that was sent, as JSON; `response_kind` is missing: \"json\" or \
             \"sse\"; `response_body` is missing: the body that came back, as one text (or `response_body_base64`)"
        );
        assert_eq!(
            wrong(
                r#"{"id": 17, "api": "images", "azure": "yes", "model": {}, "status": 99, "request": 1, "response_kind": "text", "response_body": {"secret": 1}}"#
            ),
            "`id` is 17; allowed: a text that names the exchange; `api` is \"images\"; allowed: chat, completions, \
             embeddings, responses or messages; `azure` is \"yes\"; allowed: true or false; `model` is an object; allowed: a \
             text; `status` is 99; allowed: 100 to 999; `response_kind` is \"text\"; allowed: \"json\" or \"sse\"; \
             `response_body` is an object; allowed: the body that came back, as one text"
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

    #[test]
    fn a_body_may_be_base64() {
        assert_eq!(decode("aGVsbG8h\naGk=").unwrap(), b"hello!hi");
        assert_eq!(decode("aGk").unwrap(), b"hi");
        assert!(decode("a").is_err() && decode("a-b_").is_err());
    }

    /// Every member of a line that is whole, in turn taken away and replaced by other things: the schema
    /// says what the reader says.
    #[test]
    fn the_schema_and_the_reader_agree() {
        let schema: Value = serde_json::from_str(EXCHANGE_SCHEMA).unwrap();
        let example: Value = serde_json::from_str(EXCHANGE_EXAMPLE).unwrap();
        let mut whole = example.as_object().unwrap().clone();
        for (name, value) in [
            ("model", json!("m")),
            ("status", json!(200)),
            ("deployment", json!("d")),
            ("api_version", json!("2024-10-21")),
            ("stream", json!(true)),
            ("azure", json!(false)),
        ] {
            whole.insert(name.to_owned(), value);
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
            json!("messages"),
            json!("sse"),
            json!("a"),
            json!([]),
            json!({}),
            json!("aGk="),
        ];
        let mut seen = [0, 0];
        for name in &names {
            let absent = std::iter::once(None);
            for other in absent.chain(others.iter().map(Some)) {
                let mut line = whole.clone();
                line.remove(name);
                line.extend(other.map(|value| (name.clone(), value.clone())));
                let text = serde_json::to_string(&line).unwrap();
                let read = Line::parse(text.as_bytes()).is_ok();
                // The schema does not say what base64 is made of.
                if name == "response_body_base64" && other.is_some_and(Value::is_string) {
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
            other => panic!("the test does not know the type `{other}`"),
        }
    }
}
