//! `tokenweir account` and `tokenweir count`: the accounting of `serve`, offline.
//!
//! One recorded exchange a line goes in, one line comes out, in order and from that line alone. Each
//! exchange goes through the meter twice: as `serve` would have seen it, for the event, and by a
//! meter that is blind to `usage`, for what would have been computed without.

use std::borrow::Cow;
use std::io::{self, BufRead, Read, Write};

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{HeaderMap, StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::caller::{Caller, Trust};
use crate::meter::{Ending, Meter, PromptNeed, Rules, count_prompt};
use crate::tokens::{Counter, Encoding, FAMILIES};
use crate::usage::{Api, CloudEvent, EventType, Quality, Target, Usage};

/// Bytes of one line. A request with images has tens of megabytes.
const LINE_BYTES_MAX: usize = 256 << 20;

/// Bytes that `count` reads at a time.
const READ_BYTES: usize = 64 << 10;

/// `source` of the events.
const SOURCE: &str = "//tokenweir/account";

/// How to account.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// The token that ends a turn is billed; `None`: it is on Azure, and not elsewhere.
    pub end_of_turn: Option<bool>,
}

/// What became of the lines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Lines read.
    pub lines: u64,
    /// Of these: no exchange. The command then exits with 1.
    pub bad_lines: u64,
}

/// One recorded exchange. Other keys are ignored.
#[derive(Deserialize)]
struct Exchange<'a> {
    id: String,
    #[serde(borrow)]
    api: Cow<'a, str>,
    #[serde(default)]
    azure: bool,
    model: Option<String>,
    api_version: Option<String>,
    status: Option<u16>,
    deployment: Option<String>,
    /// As it stands in the line: the order of its keys counts.
    #[serde(borrow)]
    request: &'a RawValue,
    response_kind: ResponseKind,
    response_body: Option<String>,
    response_body_base64: Option<String>,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum ResponseKind {
    Json,
    Sse,
}

/// One line of the result.
#[derive(Serialize)]
struct Account {
    id: String,
    computed: Sides,
    reported: Option<Reported>,
    input_quality: Quality,
    output_quality: Quality,
    reasons: Vec<String>,
    event: CloudEvent<Usage>,
}

#[derive(Serialize)]
struct Sides {
    input: Option<u64>,
    output: Option<u64>,
}

/// What the service said.
#[derive(Serialize)]
struct Reported {
    input: Option<u64>,
    output: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    total: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    input_cached: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    output_reasoning: Option<u64>,
}

/// A line that is no exchange.
#[derive(Serialize)]
struct BadLine {
    id: Option<String>,
    error: String,
}

/// Accounts for each line of `input` with one line of `output`. Blank lines are passed over.
///
/// # Errors
///
/// Reading or writing fails. A bad line is no error: it gives `{"id", "error"}` and is counted.
pub fn run(mut input: impl BufRead, output: &mut impl Write, options: &Options) -> io::Result<Summary> {
    let (mut summary, mut line) = (Summary::default(), Vec::new());
    while let Some(read) = next_line(&mut input, &mut line)? {
        if read.is_ok() && line.trim_ascii().is_empty() {
            continue;
        }
        summary.lines += 1;
        match read.and_then(|()| account(&line, options)) {
            Ok(account) => serde_json::to_writer(&mut *output, &account)?,
            Err(error) => {
                summary.bad_lines += 1;
                serde_json::to_writer(&mut *output, &BadLine { id: id_of(&line), error })?;
            }
        }
        output.write_all(b"\n")?;
    }
    output.flush()?;
    Ok(summary)
}

/// The next line, without holding more of it than is allowed. `None` at the end.
fn next_line(input: &mut impl BufRead, line: &mut Vec<u8>) -> io::Result<Option<Result<(), String>>> {
    line.clear();
    let read = input.by_ref().take(LINE_BYTES_MAX as u64 + 1).read_until(b'\n', line)?;
    if read <= LINE_BYTES_MAX || line.ends_with(b"\n") {
        return Ok((read > 0).then_some(Ok(())));
    }
    line.clear();
    input.skip_until(b'\n')?;
    Ok(Some(Err(format!("the line is longer than {LINE_BYTES_MAX} bytes"))))
}

/// The id of a line that could not be read otherwise.
fn id_of(line: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct Id {
        id: String,
    }
    serde_json::from_slice::<Id>(line).ok().map(|line| line.id)
}

fn account(line: &[u8], options: &Options) -> Result<Account, String> {
    let exchange: Exchange<'_> = serde_json::from_slice(line).map_err(|error| error.to_string())?;
    let api = match &*exchange.api {
        "chat" | "chat/completions" => Api::ChatCompletions,
        "completions" => Api::Completions,
        "embeddings" => Api::Embeddings,
        "responses" => Api::Responses,
        _ => return Err("`api` is none of chat, completions, embeddings, responses".to_owned()),
    };
    let status = StatusCode::from_u16(exchange.status.unwrap_or(200)).map_err(|error| error.to_string())?;
    let body = match (&exchange.response_body, &exchange.response_body_base64) {
        (Some(text), None) => Cow::Borrowed(text.as_bytes()),
        (None, Some(coded)) => Cow::Owned(decode_base64(coded).ok_or("`response_body_base64` is no base64")?),
        _ => return Err("there must be one of `response_body` and `response_body_base64`".to_owned()),
    };
    let end_of_turn = options.end_of_turn.unwrap_or(exchange.azure);
    let meter = || Meter::new(draft(&exchange, api), Rules { end_of_turn }).assuming(exchange.model.clone());
    let event = replay(meter(), &exchange, api, status, &body);
    let blind = replay(meter().blind(), &exchange, api, status, &body);
    Ok(Account {
        computed: Sides { input: blind.tokens.input, output: blind.tokens.output },
        reported: reported(&event),
        input_quality: blind.accounting.input_quality,
        output_quality: blind.accounting.output_quality,
        reasons: blind.accounting.reasons,
        event: CloudEvent::new(
            EventType::Usage,
            SOURCE,
            exchange.id.clone(),
            None,
            event.caller.id.clone(),
            event,
        ),
        id: exchange.id,
    })
}

/// What `serve` knows of a call when it begins, as far as a recording has it.
fn draft(exchange: &Exchange<'_>, api: Api) -> Usage {
    let target = Target {
        api,
        deployment: exchange.deployment.clone(),
        api_version: exchange.api_version.clone(),
        ..Target::default()
    };
    Usage::draft(Caller::unattributed(Trust::None), target)
}

/// Shows a whole exchange to a meter.
fn replay(mut meter: Meter, exchange: &Exchange<'_>, api: Api, status: StatusCode, body: &[u8]) -> Usage {
    let request = exchange.request.get().as_bytes();
    meter.request_bytes(request);
    meter.request_end();
    let content_type = HeaderValue::from_static(match exchange.response_kind {
        ResponseKind::Json => "application/json",
        ResponseKind::Sse => "text/event-stream",
    });
    meter.response_head(status, &HeaderMap::from_iter([(CONTENT_TYPE, content_type)]));
    meter.response_bytes(body, usize::MAX);
    meter.end(Ending::Eof);
    if let PromptNeed::Count { model } = meter.prompt_need() {
        meter.prompt_counted(count_prompt(api, &[Bytes::copy_from_slice(request)], &model));
    }
    meter.settle(Ending::Eof)
}

fn reported(event: &Usage) -> Option<Reported> {
    let (input, output) = (event.accounting.reported_input, event.accounting.reported_output);
    (input.is_some() || output.is_some()).then_some(Reported {
        input,
        output,
        total: event.tokens.total,
        input_cached: event.tokens.input_cached,
        output_reasoning: event.tokens.output_reasoning,
    })
}

/// RFC 4648, section 4; white space is passed over, padding may be missing.
fn decode_base64(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len() / 4 * 3);
    let (mut bits, mut held) = (0_u32, 0);
    let digits = text.trim_ascii().trim_end_matches('=').bytes().filter(|byte| !byte.is_ascii_whitespace());
    for digit in digits {
        let value = match digit {
            b'A'..=b'Z' => digit - b'A',
            b'a'..=b'z' => digit - b'a' + 26,
            b'0'..=b'9' => digit - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        bits = bits << 6 | u32::from(value);
        held += 6;
        if held >= 8 {
            held -= 8;
            bytes.push((bits >> held & 0xFF) as u8);
        }
    }
    // One digit alone says nothing.
    (held != 6).then_some(bytes)
}

/// Why a text could not be counted.
#[derive(Debug, thiserror::Error)]
pub enum CountError {
    /// The vocabulary of the model is not known.
    #[error(transparent)]
    UnknownModel(UnknownModel),
    /// The text could not be read.
    #[error(transparent)]
    Read(#[from] io::Error),
}

/// A model of no known family.
#[derive(Debug, thiserror::Error)]
#[error("model `{name}` is not known; known families: {}", families())]
pub struct UnknownModel {
    name: String,
}

fn families() -> String {
    FAMILIES.iter().map(|(family, _)| *family).collect::<Vec<_>>().join(", ")
}

/// Tokens of a text under a model's vocabulary; bytes that are not UTF-8 count as U+FFFD.
///
/// # Errors
///
/// [`CountError`]
pub fn count(model: &str, mut text: impl Read) -> Result<u64, CountError> {
    let encoding = Encoding::for_model(model)
        .ok_or_else(|| CountError::UnknownModel(UnknownModel { name: model.to_owned() }))?;
    let (mut counter, mut bytes) = (Counter::new(encoding), vec![0; READ_BYTES]);
    loop {
        match text.read(&mut bytes) {
            Ok(0) => return Ok(counter.count()),
            Ok(read) => counter.push(&bytes[..read]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn lines(input: &str) -> (Vec<Value>, Summary) {
        let mut output = Vec::new();
        let summary = run(input.as_bytes(), &mut output, &Options::default()).unwrap();
        (
            String::from_utf8(output)
                .unwrap()
                .lines()
                .map(|line| serde_json::from_str(line).unwrap())
                .collect(),
            summary,
        )
    }

    fn exchange(usage: &Value) -> Value {
        let body = json!({"id": "c", "model": "gpt-4o-2024-08-06", "choices": [{"index": 0, "message": {"content": "Hello"}, "finish_reason": "stop"}], "usage": usage});
        json!({"id": "1", "api": "chat", "azure": true, "model": "gpt-4o", "status": 200, "deployment": "d", "extra": 1,
            "request": {"messages": [{"role": "user", "content": "Hello"}]}, "response_kind": "json", "response_body": body.to_string()})
    }

    #[test]
    fn one_line_for_each() {
        let fine = exchange(&json!({"prompt_tokens": 8, "completion_tokens": 2, "total_tokens": 10}));
        let (found, summary) = lines(&format!("{fine}\n\n{{\"id\":\"x\"}}\nnonsense\n{fine}"));
        assert_eq!(summary, Summary { lines: 4, bad_lines: 2 });
        assert_eq!(found[0], found[3]);
        assert_eq!((&found[1]["id"], &found[2]["id"]), (&json!("x"), &Value::Null));
        assert!(found[1]["error"].is_string() && found[2]["error"].is_string());
        let first = &found[0];
        assert_eq!(first["computed"], json!({"input": 8, "output": 2}));
        assert_eq!(first["reported"], json!({"input": 8, "output": 2, "total": 10}));
        assert_eq!((&first["input_quality"], &first["reasons"]), (&json!("exact"), &json!([])));
        let event = &first["event"];
        assert_eq!(
            (&event["id"], &event["source"], &event["time"]),
            (&json!("1"), &json!(SOURCE), &Value::Null)
        );
        assert_eq!(event["data"]["accounting"]["input_source"], "reported");
        assert_eq!(
            (&event["data"]["target"]["deployment"], &event["data"]["timing"]["started_at"]),
            (&json!("d"), &Value::Null)
        );
    }

    #[test]
    fn usage_does_not_leak_into_computed() {
        let with = |usage: Value| {
            let mut line = lines(&exchange(&usage).to_string()).0.remove(0);
            line.as_object_mut().unwrap().retain(|key, _| key != "event" && key != "reported");
            line
        };
        let plain = with(Value::Null);
        assert_eq!(plain["computed"], json!({"input": 8, "output": 2}));
        for usage in [
            json!({"prompt_tokens": 999, "completion_tokens": 999, "completion_tokens_details": {"reasoning_tokens": 9}}),
            json!(-1),
        ] {
            assert_eq!(with(usage), plain);
        }
    }

    #[test]
    fn a_body_may_be_base64() {
        assert_eq!(decode_base64("aGVsbG8h\naGk=").unwrap(), b"hello!hi");
        assert_eq!(decode_base64("aGk").unwrap(), b"hi");
        assert!(decode_base64("a").is_none() && decode_base64("a-b_").is_none());
    }

    #[test]
    fn counting_a_text() {
        assert_eq!(count("gpt-4o", &b"Hello, world"[..]).unwrap(), 3);
        assert_eq!(count("gpt-4", &b"\xFF"[..]).unwrap(), count("gpt-4", "\u{FFFD}".as_bytes()).unwrap());
        let error = count("lama", &b""[..]).unwrap_err().to_string();
        assert!(error.contains("lama") && error.contains("gpt-4o"), "{error}");
    }
}
