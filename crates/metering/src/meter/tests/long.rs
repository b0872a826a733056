//! Responses that are too long to be held, that there is no time for, or that are not what they are called.

use super::*;

/// Longer than what is held.
fn filler() -> String {
    "A".repeat((4 << 20) + 100)
}

/// Five levels below an event.
const USAGE: &str = r#"{"input_tokens":2345,"input_tokens_details":{"cached_tokens":9,"image_tokens":5},"output_tokens":4321,"output_tokens_details":{"reasoning_tokens":7},"total_tokens":6666}"#;

/// The numbers that the service reported, how the call ended, what could not be read.
fn told(event: &Usage) -> (Option<u64>, Option<u64>, Outcome, u64) {
    (event.tokens.input, event.tokens.output, event.stream.outcome, event.stream.parse_errors)
}

const WHOLE: (Option<u64>, Option<u64>, Outcome, u64) = (Some(2345), Some(4321), Outcome::Complete, 0);

fn responses(body: &str) -> Exchange<'_> {
    Exchange { api: Api::Responses, piece_bytes: 64 << 10, ..Exchange::stream(body) }
}

#[test]
fn the_last_event_of_a_response_is_read_however_long_and_in_any_order() {
    let filler = filler();
    let output = format!(r#""output":[{{"type":"image_generation_call","result":"{filler}"}}]"#);
    let (usage, model) =
        (format!(r#""usage":{USAGE}"#), r#""model":"gpt-5-2025-08-07","id":"r1","status":"completed""#);
    let kind = r#""type":"response.completed""#;
    for members in [[&output, &usage, model], [&usage, model, &output], [model, &output, &usage]] {
        for event in [
            format!(r#"{{{kind},"response":{{{}}}}}"#, members.join(",")),
            format!(r#"{{"response":{{{}}},{kind}}}"#, members.join(", ")),
        ] {
            for framed in [
                format!("event: response.completed\ndata: {event}\n\n"),
                format!("\u{feff}data:{event}\r\n\r\n"),
                format!("data: {event}"),
                // White space of the document is where its lines end.
                format!("data: {}\ndata: {}\n\n", &event[..1], &event[1..]),
            ] {
                for piece_bytes in [64 << 10, 7_777, usize::MAX] {
                    let found = Exchange { piece_bytes, ..responses(&framed) }.run();
                    assert_eq!(told(&found), WHOLE, "{}", &framed[..100]);
                    assert_eq!(
                        (found.tokens.input_cached, found.tokens.output_reasoning),
                        (Some(9), Some(7))
                    );
                    assert_eq!(
                        (found.target.model.as_deref(), found.stream.done_seen),
                        (Some("gpt-5-2025-08-07"), true)
                    );
                    assert_eq!(
                        (found.ids.response_id.as_deref(), &*found.stream.finish_reasons),
                        (Some("r1"), &["completed".into()][..])
                    );
                    assert_eq!(found.accounting.computed_output, None);
                }
            }
        }
    }
}

#[test]
fn long_events_of_every_api_are_read() {
    let filler = filler();
    let image = format!(
        "data: {{\"b64_json\":\"{filler}\",\"usage\":{USAGE},\"type\":\"image_generation.completed\"}}\n\n"
    );
    let found = Exchange { api: Api::Images, piece_bytes: 50_000, ..Exchange::stream(&image) }.run();
    assert_eq!(told(&found), WHOLE);
    let chunk = format!(
        r#"data: {{"choices":[{{"index":1,"delta":{{"content":"{filler}"}},"finish_reason":"length"}}],"model":"{MODEL}","usage":{{"prompt_tokens":2345,"completion_tokens":4321}}}}"#
    );
    let chat = [&content(0, "Hello"), &finish(0, "stop"), &*chunk, "\n\n", DONE].concat();
    let found = Exchange { piece_bytes: 50_000, ..Exchange::stream(&chat) }.run();
    assert_eq!(told(&found), WHOLE);
    assert_eq!(
        (&*found.stream.finish_reasons, found.request.choices),
        (&["stop".into(), "length".into()][..], Some(2))
    );
    // Without usage, the reason says why there is no number.
    let found = Exchange::stream(&chat.replace("usage\":{", "other\":{")).run();
    assert_eq!((found.tokens.output, found.stream.outcome), (None, Outcome::Complete));
    assert!(found.accounting.reasons.contains(&"output:too_long".into()), "{:?}", found.accounting.reasons);
}

/// Nothing ended it, and its end may be another's: it is read if it is a whole document, and else not.
#[test]
fn a_last_event_that_was_cut_says_nothing_short_or_long() {
    for text in ["Hello", &filler()] {
        let chunk = format!(
            r#"data: {{"model":"{MODEL}","choices":[{{"index" 0,"delta":{{"content":"{text}"}}}}]}}"#
        );
        let found = Exchange { piece_bytes: 50_000, ..Exchange::stream(&chunk) }.run();
        assert_eq!((found.target.model.as_deref(), found.stream.events), (None, 1));
    }
}

/// A part that is no text may have any length: the text is counted.
#[test]
fn a_long_event_without_text_costs_no_count() {
    let filler = filler();
    let delta = |text: &str| {
        format!(
            "data: {{\"type\":\"response.output_text.delta\",\"output_index\":0,\"delta\":\"{text}\"}}\n\n"
        )
    };
    let created = format!(
        "data: {{\"type\":\"response.created\",\"response\":{{\"model\":\"{MODEL}\",\"instructions\":\"{filler}\",\"output\":[],\"usage\":null}}}}\n\n"
    );
    let partial = format!(
        "data: {{\"type\":\"response.image_generation_call.partial_image\",\"partial_image_b64\":\"{filler}\"}}\n\n"
    );
    let body = [created, delta("Hello"), partial, delta(", world")].concat();
    let found = Exchange { ending: Ending::ClientDisconnect, ..responses(&body) }.run();
    assert_eq!((found.tokens.output, found.accounting.output_quality), (Some(3), Quality::LowerBound));
}

#[test]
fn errors_of_long_events_and_documents_are_named() {
    let filler = filler();
    let failed = format!(
        "event: response.failed\ndata: {{\"type\":\"response.failed\",\"response\":{{\"instructions\":\"{filler}\",\"error\":{{\"message\":\"{filler}\",\"code\":\"server_error\"}}}}}}\n\n"
    );
    let found = responses(&failed).run();
    assert_eq!(
        (found.request.error_type.as_deref(), found.stream.outcome),
        (Some("server_error"), Outcome::UpstreamError)
    );
    let error = format!(r#"{{"error":{{"message":"{filler}","type":"invalid","code":"content_filter"}}}}"#);
    for kind in ["application/json", "text/event-stream", "text/plain"] {
        let found =
            Exchange { status: 400, headers: headers(kind), piece_bytes: 50_000, ..Exchange::json(&error) }
                .run();
        assert_eq!(found.request.error_type.as_deref(), Some("content_filter"), "{kind}");
    }
}

#[test]
fn a_long_document_says_how_it_ended() {
    let filler = filler();
    let chat = format!(
        r#"{{"choices":[{{"message":{{"content":"{filler}"}},"finish_reason":"length","index":0}}],"model":"{MODEL}","usage":{{"prompt_tokens":2345,"completion_tokens":4321}}}}"#
    );
    let found = Exchange { piece_bytes: 64 << 10, ..Exchange::json(&chat) }.run();
    assert_eq!((told(&found), &*found.stream.finish_reasons), (WHOLE, &["length".into()][..]));
    let response = format!(
        r#"{{"output":[{{"text":"{filler}"}}],"status":"incomplete","incomplete_details":{{"reason":"max_output_tokens"}},"usage":{USAGE}}}"#
    );
    let found = Exchange { headers: headers("application/json"), ..responses(&response) }.run();
    assert_eq!((told(&found), &*found.stream.finish_reasons), (WHOLE, &["max_output_tokens".into()][..]));
}

/// It cannot be followed, but it ends as it should, and says what it cost.
#[test]
fn what_is_malformed_in_the_middle_still_has_its_end() {
    for filler in [filler(), "A".to_owned()] {
        let broken = format!(
            "data: {{\"type\":\"response.completed\",\"response\":{{\"id\" \"r\",\"output\":\"{filler}\",\"usage\":{USAGE}}}}}\n\n"
        );
        let (input, output, outcome, errors) = told(&responses(&broken).run());
        assert_eq!((input, output, outcome, errors), (Some(2345), Some(4321), Outcome::Complete, 1));
        let document = format!(r#"{{"id" 1,"output":"{filler}","usage":{USAGE}}}"#);
        let found = Exchange { headers: headers("application/json"), ..responses(&document) }.run();
        assert_eq!(
            (found.tokens.input, found.tokens.output, found.stream.parse_errors),
            (Some(2345), Some(4321), 1)
        );
        // The model's own words are none of the service's.
        let quoted = USAGE.replace('"', "\\\"");
        let document = format!(r#"{{"id" 1,"output":"{filler} \"usage\":{quoted}"}}"#);
        let found = Exchange { headers: headers("application/json"), ..responses(&document) }.run();
        assert_eq!(found.accounting.reported_input, None);
    }
}

/// Who holds the document passes over the `usage`, and so does who only skims it.
#[test]
fn a_usage_that_is_malformed_counts_for_nothing_short_or_long() {
    for filler in [filler(), "A".to_owned()] {
        for status in [200, 400, 503] {
            let document = format!(
                r#"{{"usage":{{"prompt_tokens":3,2"x":4}},"b":"{filler}","model":"m","error":{{"code":"c"}}}}"#
            );
            let found = Exchange { status, piece_bytes: 50_000, ..Exchange::json(&document) }.run();
            assert_eq!(found.accounting.reported_input, None, "{status}");
            assert_eq!(
                (found.target.model.as_deref(), found.request.error_type.as_deref()),
                (Some("m"), Some("c")),
                "{status}"
            );
        }
    }
}

#[test]
fn a_document_may_be_called_a_stream_and_stand_behind_white_space() {
    let spaces = " \n\r\n\t ".repeat(100);
    let document = format!(
        r#"{{"choices":[],"model":"{MODEL}","usage":{{"prompt_tokens":2345,"completion_tokens":4321}}}}"#
    );
    for front in ["", "\u{feff}", &spaces, "\n", &format!("\u{feff}{spaces}")] {
        let body = format!("{front}{document}");
        for kind in ["text/event-stream", "application/json", "", "application/octet-stream"] {
            for piece_bytes in [usize::MAX, 1, 70] {
                let found = Exchange { headers: headers(kind), piece_bytes, ..Exchange::stream(&body) }.run();
                assert_eq!(told(&found), WHOLE, "{front:?} {kind} {piece_bytes}");
            }
        }
        // And a stream is one.
        let body = format!("{front}{}", plain_stream());
        for kind in ["text/event-stream", "application/json"] {
            let found = |piece_bytes| {
                Exchange { headers: headers(kind), piece_bytes, ..Exchange::stream(&body) }.run()
            };
            let whole = found(usize::MAX);
            assert_eq!(
                (whole.stream.done_seen, whole.stream.events),
                (true, if front.ends_with(' ') { 5 } else { 6 }),
                "{front:?}"
            );
            for piece_bytes in [1, 3, 70] {
                assert_eq!(found(piece_bytes), whole, "{front:?} {piece_bytes}");
            }
        }
    }
    let error = r#" {"error":{"code":"content_filter"}}"#;
    let found = Exchange { status: 400, ..Exchange::stream(error) }.run();
    assert_eq!(found.request.error_type.as_deref(), Some("content_filter"));
}

#[test]
fn an_empty_stream_and_one_that_is_no_json_stay_streams() {
    for body in ["", "\n\n", " ", "x", "<html>"] {
        let found = Exchange::stream(body).run();
        assert_eq!((found.stream.outcome, found.stream.done_seen), (Outcome::UpstreamEof, false), "{body}");
    }
}

/// It is not known whether the end marker was there.
#[test]
fn a_clean_end_in_an_unknown_coding_is_no_break() {
    let body = plain_stream();
    let mut unknown = headers("text/event-stream");
    unknown.insert(CONTENT_ENCODING, HeaderValue::from_static("snappy"));
    let found = Exchange { headers: unknown, ..Exchange::stream(&body) }.run();
    assert_eq!((found.tokens.output, found.stream.outcome), (None, Outcome::Complete));
}

/// From any point on, in the middle of anything.
#[test]
fn who_has_no_time_to_count_still_reads_what_is_reported() {
    let body = [
        FILTER,
        &content(0, "Hello"),
        &content(1, "wörld \\\"x\\\""),
        &finish(1, "length"),
        &finish(0, "stop"),
        &usage(2345, 4321),
        DONE,
    ]
    .concat();
    for at in 0..body.len() {
        let (before, after) = body.as_bytes().split_at(at);
        let mut meter = Meter::new(draft(Api::ChatCompletions), FREE);
        meter.request_bytes(REQUEST.as_bytes());
        meter.request_end();
        meter.response_head(StatusCode::OK, &headers("text/event-stream"));
        meter.response_bytes(before, usize::MAX);
        meter.skim();
        assert!(meter.unread_bytes() == 0 && meter.uncounted_bytes() == 0);
        after.chunks(13).for_each(|piece| _ = meter.response_bytes(piece, usize::MAX));
        let found = meter.settle(Ending::Eof);
        assert_eq!((told(&found), found.stream.events), (WHOLE, 7), "from byte {at} on");
        assert_eq!(
            (&*found.stream.finish_reasons, found.request.choices),
            (&["stop".into(), "length".into()][..], Some(2))
        );
        assert_eq!(
            (found.accounting.output_quality, found.accounting.computed_output),
            (Quality::Exact, None)
        );
        assert_eq!(found.accounting.reasons, [""; 0]);
    }
}
