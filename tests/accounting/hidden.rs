//! Recorded streams whose callers did not ask for usage: the service's bytes but for one event,
//! wherever the stream is cut.

use bytes::Bytes;
use metering::chunk::HideUsage;
use serde_json::Value;

use crate::support::recordings::cases;

/// What goes on of a stream that comes in these pieces.
fn pass<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Vec<u8> {
    let (mut hide, mut all) = (HideUsage::default(), Vec::new());
    for piece in pieces.into_iter().filter(|piece| !piece.is_empty()) {
        hide.push(&Bytes::copy_from_slice(piece), |bytes| all.extend_from_slice(&bytes));
    }
    all.extend_from_slice(&hide.finish());
    all
}

/// Where the event with the usage stands, found by reading each event as JSON.
fn usage_event(stream: &str) -> Option<std::ops::Range<usize>> {
    let mut start = 0;
    let mut found = None;
    for event in stream.split_inclusive("\n\n") {
        let data = event.trim_end().strip_prefix("data:").unwrap_or("null");
        let document: Value = serde_json::from_str(data).unwrap_or_default();
        let empty = document["choices"].as_array().is_some_and(Vec::is_empty);
        if empty && document["usage"].is_object() && event.ends_with("\n\n") {
            found.get_or_insert(start..start + event.len());
        }
        start += event.len();
    }
    found
}

/// The stream in each way to end lines, and where the event then stands.
fn line_ends(stream: &str, event: Option<std::ops::Range<usize>>) -> Vec<(Vec<u8>, Vec<u8>)> {
    let without = match &event {
        Some(event) => [&stream[..event.start], &stream[event.end..]].concat(),
        None => stream.to_owned(),
    };
    let of = |end: &str| (stream.replace('\n', end).into_bytes(), without.replace('\n', end).into_bytes());
    vec![of("\n"), of("\r\n"), of("\r")]
}

/// Where the event begins in which two streams first differ, whatever ends their lines.
fn differing_event(whole: &[u8], other: &[u8]) -> usize {
    let same = whole.iter().zip(other).take_while(|(a, b)| a == b).count();
    let begins = |n: &usize| {
        let before = &whole[..*n];
        before.ends_with(b"\n\n") || before.ends_with(b"\r\n\r\n") || before.ends_with(b"\r\r")
    };
    (0..=same).rev().find(begins).unwrap_or(0)
}

/// Cuts each event everywhere, with the one that follows it; none is to be hidden. Returns how many
/// cuts there were.
fn each_event_cut(stream: &[u8]) -> u64 {
    let blank = |at: usize| {
        let before = &stream[..at];
        before.ends_with(b"\n\n") || before.ends_with(b"\r\n\r\n") || before.ends_with(b"\r\r")
    };
    let bounds: Vec<usize> = (0..=stream.len()).filter(|&at| at == 0 || blank(at)).collect();
    let mut cuts = 0;
    for window in bounds.windows(3) {
        let pair = &stream[window[0]..window[2]];
        for cut in 0..=window[1] - window[0] {
            assert_eq!(pass([&pair[..cut], &pair[cut..]]), pair, "cut at {}", window[0] + cut);
        }
        cuts += (window[1] - window[0]) as u64;
    }
    cuts
}

#[test]
fn every_recorded_stream_loses_its_usage_and_nothing_else_wherever_it_is_cut() {
    let Some(cases) = cases() else { return };
    let long = crate::skip::long(); // cuts far from the event
    let (mut streams, mut with_usage, mut cuts) = (0, 0, 0_u64);
    for case in cases.iter().filter(|case| case["response_kind"] == "sse") {
        let stream = case["response_body"].as_str().unwrap().replace("\r\n", "\n");
        let event = usage_event(&stream);
        streams += 1;
        with_usage += usize::from(event.is_some());
        for (whole, expected) in line_ends(&stream, event) {
            let id = &case["id"];
            assert_eq!(pass([&whole[..]]), expected, "{id}");
            assert_eq!(pass(whole.chunks(1)), expected, "{id}, byte by byte");
            assert_eq!(pass(whole.chunks(7)), expected, "{id}, in sevens");
            // Between events the filter knows nothing of what was before, so what stands in front of the
            // event with the usage is cut event by event.
            let front = differing_event(&whole, &expected);
            if long {
                cuts += each_event_cut(&whole[..front]);
            }
            let (tail, expected) = (&whole[front..], &expected[front..]);
            for cut in (0..=tail.len().min(30_000)).map(|back| tail.len() - back) {
                cuts += 1;
                assert_eq!(pass([&tail[..cut], &tail[cut..]]), expected, "{id}, cut at {}", front + cut);
            }
        }
    }
    println!("{streams} streams, {with_usage} with the event, {cuts} cuts");
    assert!(with_usage > 50, "the recordings have streams with usage");
}
