//! The service alone, asked by a raw client.

use serde_json::Value;
use std::time::{Duration, Instant};

use super::*;
use crate::demo::client::{CallAnswer, CallEnding, CallRequest};
use crate::demo::dialect::Dialect;

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(future)
}

fn service() -> ReplayService {
    ReplayService::start(Options { pace: Pace::NONE }).unwrap()
}

fn ask(service: &ReplayService, fixture: &Fixture, stream: bool, include_usage: bool) -> CallAnswer {
    let dialect = Dialect::Chat;
    let ask = CallRequest { fixture, dialect, stream, include_usage, leave_after_bytes: None, begun: None };
    block_on(ask.send(service.addr(), &[]))
}

/// The JSON of a stream's events.
fn chunks(body: &[u8]) -> Vec<Value> {
    let events = std::str::from_utf8(body).unwrap().split_terminator("\n\n");
    let data = events.map(|event| event.strip_prefix("data: ").unwrap());
    data.filter(|data| *data != "[DONE]").map(|data| serde_json::from_str(data).unwrap()).collect()
}

#[test]
fn answers_whole_and_streamed_say_the_same() {
    let (service, fixtures) = (service(), Fixtures::load().unwrap());
    for fixture in fixtures.iter().filter(|f| f.error.is_none() && f.delivery.cut_after.is_none()) {
        let whole = ask(&service, fixture, false, false);
        assert_eq!(whole.ending, CallEnding::Complete);
        let whole: Value = serde_json::from_slice(&whole.body).unwrap();
        let stream = ask(&service, fixture, true, true);
        assert_eq!(stream.ending, CallEnding::Complete);
        let chunks = chunks(&stream.body);
        assert_eq!(chunks.last().unwrap()["usage"], whole["usage"], "{}", fixture.name);
        for (index, choice) in fixture.choices.iter().enumerate() {
            let content: String = chunks
                .iter()
                .flat_map(|chunk| chunk["choices"].as_array().unwrap())
                .filter(|part| part["index"] == index)
                .filter_map(|part| part["delta"]["content"].as_str())
                .collect();
            assert_eq!(content, choice.message.content.clone().unwrap_or_default());
            assert_eq!(whole["choices"][index]["finish_reason"], choice.finish_reason);
        }
    }
}

#[test]
fn a_message_whole_and_streamed_says_the_same() {
    let (service, fixtures) = (service(), Fixtures::load().unwrap());
    let fixture = fixtures.named("tea-house").unwrap();
    let dialect = Dialect::Messages;
    let ask = |stream| {
        let ask = CallRequest {
            fixture,
            dialect,
            stream,
            include_usage: false,
            leave_after_bytes: None,
            begun: None,
        };
        let answer = block_on(ask.send(service.addr(), &[]));
        assert_eq!(answer.ending, CallEnding::Complete);
        String::from_utf8(answer.body.to_vec()).unwrap()
    };
    let (whole, stream): (Value, String) = (serde_json::from_str(&ask(false)).unwrap(), ask(true));
    let data = stream.lines().filter_map(|line| line.strip_prefix("data: "));
    let events: Vec<Value> = data.map(|data| serde_json::from_str(data).unwrap()).collect();
    let text: String = events.iter().filter_map(|event| event["delta"]["text"].as_str()).collect();
    assert_eq!(
        (&whole["content"][0]["text"], Some(&text)),
        (&Value::from(&*text), fixture.choices[0].message.content.as_ref())
    );
    let mut usage = events[0]["message"]["usage"].clone();
    usage["output_tokens"] = events[events.len() - 2]["usage"]["output_tokens"].clone();
    assert_eq!(whole["usage"], usage);
    let sum = |name: &str| usage[name].as_u64().unwrap();
    let input = sum("input_tokens") + sum("cache_creation_input_tokens") + sum("cache_read_input_tokens");
    assert_eq!((input, sum("output_tokens")), (35, 115));
}

#[test]
fn work_has_one_bill_however_often_it_is_looked_at() {
    let fixtures = Fixtures::load().unwrap();
    let fixture = fixtures.named("tea-house").unwrap();
    let shelf = WorkShelf::default();
    let slow = shelf.begin(fixture, 1, 0, Duration::from_secs(3_600));
    let look = |begun: &Value| shelf.look(begun["id"].as_str().unwrap(), &fixtures).unwrap();
    assert_eq!((look(&slow).response, look(&slow).is_bill), (slow.clone(), false));
    let fast = shelf.begin(fixture, 2, 0, Duration::ZERO);
    assert!(fast["usage"].is_null() && !work::is_done(&fast));
    let first = look(&fast);
    assert!(first.is_bill && work::is_done(&first.response) && !look(&fast).is_bill);
    let usage = &first.response["usage"];
    assert_eq!((&usage["input_tokens"], &usage["output_tokens"]), (&35.into(), &115.into()));
    assert!(shelf.look("resp_of_nobody", &fixtures).is_none());
}

#[test]
fn a_cut_breaks_the_message() {
    let (service, fixtures) = (service(), Fixtures::load().unwrap());
    let fixture = fixtures.named("parcel-cut").unwrap();
    let answer = ask(&service, fixture, true, true);
    assert_eq!(answer.ending, CallEnding::Broken);
    assert_eq!(chunks(&answer.body).len(), fixture.delivery.cut_after.unwrap());
    assert_eq!(ask(&service, fixture, false, false).ending, CallEnding::Complete, "a body is not cut");
}

#[test]
fn refusals_have_their_status() {
    let (service, fixtures) = (service(), Fixtures::load().unwrap());
    for (name, status) in [("shop-busy", 429), ("prompt-blocked", 400)] {
        let answer = ask(&service, fixtures.named(name).unwrap(), true, false);
        assert_eq!(answer.ending, CallEnding::Status(StatusCode::from_u16(status).unwrap()));
        assert!(serde_json::from_slice::<Value>(&answer.body).unwrap()["error"].is_object());
    }
    let mut unknown = fixtures.named("library-hours").unwrap().clone();
    unknown.request["messages"][0]["content"] = "Nobody wrote an answer to this.".into();
    assert_eq!(ask(&service, &unknown, true, false).ending, CallEnding::Status(StatusCode::BAD_REQUEST));
}

#[test]
fn it_counts_calls_and_sees_identity() {
    let (service, fixtures) = (service(), Fixtures::load().unwrap());
    let fixture = fixtures.named("library-hours").unwrap();
    let dialect = Dialect::Chat;
    let ask = CallRequest {
        fixture,
        dialect,
        stream: true,
        include_usage: false,
        leave_after_bytes: Some(1),
        begun: None,
    };
    assert_eq!(block_on(ask.send(service.addr(), &[])).ending, CallEnding::Left);
    assert_eq!((service.begun(), service.identified()), (1, 0));
    block_on(ask.send(service.addr(), &[("x-apim-subscription-id", "a")]));
    assert_eq!((service.begun(), service.identified()), (2, 1));
}

#[test]
fn headers_are_those_of_the_service() {
    let fixtures = Fixtures::load().unwrap();
    let fixture = fixtures.named("shop-busy").unwrap();
    let mut response = block_on(async { refused(fixture.error.as_ref().unwrap()) });
    azure_headers(&HeaderMap::new(), 1, response.headers_mut());
    let header = |name: &str| response.headers()[name].to_str().unwrap().to_owned();
    assert_eq!((header("retry-after-ms"), header("retry-after")), ("1500".into(), "2".into()));
    assert_eq!(header("x-ms-client-request-id"), "Not-Set");
    assert!(Uuid::parse_str(&header("apim-request-id")).is_ok());
    let v1 = serde_json::json!({ "model": "gpt-4o" });
    assert_eq!(deployment("/openai/v1/chat/completions", &v1), "gpt-4o");
    assert_eq!(deployment("/openai/deployments/mine/chat/completions", &v1), "mine");
}

#[test]
fn a_stream_takes_the_time_of_its_pace() {
    let pace = Pace { interval: Duration::from_millis(4), jitter_percent: 50 };
    let service = ReplayService::start(Options { pace }).unwrap();
    let fixtures = Fixtures::load().unwrap();
    let fixture = fixtures.named("library-hours").unwrap();
    let start = Instant::now();
    assert_eq!(ask(&service, fixture, true, false).ending, CallEnding::Complete);
    // 30 events or more, each at least 2 ms after the last.
    assert!(start.elapsed() >= Duration::from_millis(60), "{:?}", start.elapsed());
}
