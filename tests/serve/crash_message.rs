//! kill -9 in the middle of one of Anthropic's Messages: what the service had reported by the last checkpoint
//! stands, for there is nothing else to know it by.

use std::io::{self, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::http::{Message, connect, post, read_chunk, read_head};
use super::sidecar::{PATIENCE, Sidecar, usage_events, verified};
use super::support::messages::{INPUT, REQUEST, beginning, change};
use super::support::within;
use super::upstream;

/// A checkpoint comes every 250 ms.
const KNOWN_AT: Duration = Duration::from_millis(1_500);

/// Begins a message, says that it has 7 tokens by now, and falls silent.
fn answer(_: &Message, to: &mut TcpStream) -> io::Result<()> {
    to.write_all(upstream::STREAM_HEAD.as_bytes())?;
    upstream::write_chunk(to, beginning().as_bytes())?;
    upstream::write_chunk(to, change(&json!({"output_tokens": 7})).as_bytes())?;
    std::thread::sleep(PATIENCE);
    Ok(())
}

#[test]
fn a_message_that_was_open_for_a_moment_keeps_what_was_reported() {
    within(KNOWN_AT, "a crashed message knows nothing after", life_without_numbers);
}

/// Kills a sidecar some time after it has passed on the beginning of a message. How long it had lived by then if
/// the event has no numbers; no time if it has them, which must be right.
fn life_without_numbers() -> Duration {
    let service = upstream::start(Arc::new(answer));
    let dir = tempfile::tempdir().unwrap();
    let ledger = dir.path().join("ledger");
    let sidecar = Sidecar::start(service, &ledger, &[]);
    let mut caller = connect(sidecar.addr);
    caller.get_mut().write_all(&post("/anthropic/v1/messages", &[], REQUEST)).unwrap();
    assert_eq!(read_head(&mut caller).unwrap().unwrap().status(), 200);
    let mut got = Vec::new();
    while !String::from_utf8_lossy(&got).contains("\"output_tokens\":7") {
        got.extend(read_chunk(&mut caller).unwrap().expect("it goes on"));
    }
    let begun = Instant::now();
    std::thread::sleep(KNOWN_AT);
    let lived = sidecar.kill().0.duration_since(begun);
    assert_eq!(Sidecar::start(service, &ledger, &[]).stop().0, Some(0));
    verified(&ledger);
    let events = usage_events(&ledger);
    assert_eq!(events.len(), 1, "{events:?}");
    let data = &events[0]["data"];
    assert_eq!(data["stream"]["outcome"], "crashed");
    if data["tokens"]["input"].is_null() {
        return lived;
    }
    holds(data);
    Duration::ZERO
}

fn holds(data: &Value) {
    let (tokens, accounting, target) = (&data["tokens"], &data["accounting"], &data["target"]);
    assert_eq!((&tokens["input"], &tokens["output"]), (&json!(INPUT), &json!(7)), "{data}");
    assert_eq!(
        (&tokens["input_cached"], &tokens["input_cache_write_long"]),
        (&json!(20_000), &json!(1000)),
        "{data}"
    );
    assert_eq!(
        (&accounting["input_source"], &accounting["output_source"]),
        (&json!("reported"), &json!("reported"))
    );
    assert_eq!(
        (&accounting["input_quality"], &accounting["output_quality"]),
        (&json!("exact"), &json!("lower_bound"))
    );
    assert_eq!(accounting["reasons"], json!(["output:crashed"]));
    assert_eq!((&target["api"], &target["provider"]), (&json!("messages"), &json!("anthropic")));
    assert_eq!((&target["model"], &target["deployment"]), (&json!("claude-sonnet-5"), &json!("claude-team")));
    assert_eq!((&target["service_tier"], &target["inference_geo"]), (&json!("standard"), &json!("us")));
    assert_eq!(data["ids"]["response_id"], "msg_01a");
}
