//! The accounting against recorded exchanges, whose `usage` is the service's own bill.
//!
//! - this file: what is reported is the bill, what is computed owes it nothing, and no cut matters
//! - `bounded`: bounds and backlogs change no reported number
//! - `hidden`: streams whose callers did not ask for usage lose one event and nothing else
//! - `mutated`: `account` never crashes, hangs or contradicts itself
//! - `surfaces`: `account` reads every surface, sessions too
//! - `tee`: every stream through the tee, byte by byte
//!
//! The recordings are read where they are: `TOKENWEIR_SHARED`, else `../shared` beside the crate.

#![allow(missing_docs, clippy::expect_used, clippy::panic, clippy::print_stdout, clippy::unwrap_used)] // a test may stop and say why

mod bounded;
mod hidden;
mod mutated;
#[path = "../support/mod.rs"]
mod support;
mod surfaces;
mod tee;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode};
use serde_json::{Value, json};

use metering::meter::{Ending, Meter, PromptNeed, Rules, count_prompt};
use metering::usage::{Accounting, Stream, Target, Tokens, Usage};
use support::random::Random;
use support::recordings::{account, account_cases, recordings};
use support::{recordings, schema, skip};

#[test]
fn reported_is_what_the_service_said() {
    let Some(lines) = recordings() else { return };
    for (line, case) in account(lines.iter().map(String::as_str)).iter().zip(lines) {
        assert_eq!(schema::misfits(&line["event"]), [""; 0], "{}", line["id"]);
        let case: Value = serde_json::from_str(case).unwrap();
        let usage = &case["usage"];
        let pick = |a: &str, b: &str| usage.get(a).or(usage.get(b)).cloned().unwrap_or(Value::Null);
        let input = pick("prompt_tokens", "input_tokens");
        if input.as_u64().unwrap_or(0) == 0 {
            continue;
        }
        assert_eq!(line["reported"]["input"], input, "{}", case["id"]);
        assert_eq!(line["reported"]["output"], pick("completion_tokens", "output_tokens"), "{}", case["id"]);
        assert_eq!(line["event"]["data"]["tokens"]["input"], input);
    }
}

/// The case with each `usage` of its answer replaced; `None` removes it.
fn with_usage(case: &Value, usage: Option<&Value>) -> Value {
    let change = |text: &str| match serde_json::from_str(text) {
        Ok(Value::Object(mut document)) if document.get("usage").is_some_and(|usage| !usage.is_null()) => {
            match usage {
                Some(usage) => drop(document.insert("usage".to_owned(), usage.clone())),
                None => drop(document.shift_remove("usage")),
            }
            Value::Object(document).to_string()
        }
        _ => text.to_owned(),
    };
    let body = case["response_body"].as_str().unwrap();
    let body = if case["response_kind"] == "json" {
        change(body)
    } else {
        let line = |line: &str| match line.strip_prefix("data:") {
            Some(data) => format!("data: {}\n", change(data.trim())),
            None => format!("{line}\n"),
        };
        body.lines().map(line).collect()
    };
    let mut case = case.clone();
    case["response_body"] = body.into();
    case
}

#[test]
fn nothing_of_usage_is_in_computed() {
    let Some(cases) = recordings::cases() else { return };
    let computed = |cases: &[Value]| -> Vec<String> {
        let keys = ["id", "computed", "input_quality", "output_quality", "reasons"];
        account_cases(cases).iter().map(|line| keys.map(|key| line[key].to_string()).concat()).collect()
    };
    let plain = computed(&cases);
    let lie = json!({"prompt_tokens": 123_456, "completion_tokens": 654_321, "total_tokens": 777_777,
        "completion_tokens_details": {"reasoning_tokens": 99}, "prompt_tokens_details": {"cached_tokens": 1}});
    for usage in [None, Some(&lie), Some(&json!({"prompt_tokens": -1})), Some(&json!("none"))] {
        let changed: Vec<Value> = cases.iter().map(|case| with_usage(case, usage)).collect();
        assert!(plain == computed(&changed), "computed changes with usage {usage:?}");
    }
}

/// Shows a case to a meter in pieces, as the data path would.
fn in_pieces(case: &Value, draft: Usage, mut piece_bytes: impl FnMut() -> usize) -> Usage {
    let request = Bytes::from(case["request"].to_string());
    let api = draft.target.api;
    let mut meter = Meter::new(draft, Rules { end_of_turn: case["azure"] == true });
    meter = meter.assuming(case["model"].as_str().map(Into::into));
    let mut cut = |bytes: &[u8], show: &mut dyn FnMut(&[u8])| {
        let mut rest = bytes;
        while !rest.is_empty() {
            let (piece, tail) = rest.split_at(piece_bytes().clamp(1, rest.len()));
            show(piece);
            rest = tail;
        }
    };
    cut(&request, &mut |piece| meter.request_bytes(piece));
    meter.request_end();
    let kind = if case["response_kind"] == "sse" { "text/event-stream" } else { "application/json" };
    let headers = HeaderMap::from_iter([(http::header::CONTENT_TYPE, HeaderValue::from_static(kind))]);
    meter.response_head(StatusCode::OK, &headers);
    let mut counted = false;
    let mut count = |meter: &mut Meter| {
        if let (false, PromptNeed::Count { model }) = (counted, meter.prompt_need()) {
            counted = true;
            meter.prompt_counted(count_prompt(api, std::slice::from_ref(&request), &model));
        }
    };
    cut(case["response_body"].as_str().unwrap().as_bytes(), &mut |mut piece| {
        while !piece.is_empty() {
            piece = &piece[meter.response_bytes(piece, 8 << 10)..];
        }
        count(&mut meter);
    });
    meter.end(Ending::Eof);
    count(&mut meter);
    meter.settle(Ending::Eof)
}

/// What was known of a call when it began, from what is known of it at its end.
fn draft_of(event: &Usage) -> Usage {
    Usage {
        target: Target {
            provider: event.target.provider.clone(),
            api: event.target.api,
            operation: event.target.operation.clone(),
            api_version: event.target.api_version.clone(),
            ..Target::default()
        },
        tokens: Tokens::default(),
        accounting: Accounting::default(),
        stream: Stream::default(),
        request: Default::default(),
        ids: Default::default(),
        ..event.clone()
    }
}

#[test]
fn pieces_give_the_same_event() {
    let Some(cases) = recordings::cases() else { return };
    let mut random = Random::seeded(1);
    for (case, line) in cases.iter().zip(account_cases(&cases)) {
        let event: Usage = serde_json::from_value(line["event"]["data"].clone()).unwrap();
        let draft = draft_of(&event);
        let random = in_pieces(case, draft.clone(), || 1 + random.below(700));
        assert_eq!(random, event, "{}", case["id"]);
        if case["response_body"].as_str().unwrap().len() <= 8 << 10 {
            assert_eq!(in_pieces(case, draft, || 1), event, "{}", case["id"]);
        }
    }
}
