//! Sessions whose responses are metered as the program does it: however the bytes are cut, framed and compressed, the
//! events are the same.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use proptest::prelude::*;

use super::*;
use crate::api::Api;
use crate::caller::{Caller, Trust};
use crate::frames::tests::Writer;
use crate::frames::{Extensions, Frames};
use crate::meter::{Ending, FramesRead, Meter, Rules, SessionNames};
use crate::usage::{Outcome, Quality, Source, Target, Usage};

/// A meter for each response.
struct Metered {
    drafts: ResponseDrafts,
    open: BTreeMap<LaneNumber, Meter>,
    settled: Vec<Usage>,
    names: SessionNames,
    begun: Vec<(Option<String>, Duration)>,
}

impl Metered {
    fn new(api: Api) -> Metered {
        let target = Target { api, ..Target::default() };
        let session = Usage::draft(Caller::unattributed(Trust::None), target);
        Metered {
            drafts: ResponseDrafts::new(session, HeaderMap::new()),
            open: BTreeMap::new(),
            settled: Vec::new(),
            names: SessionNames::default(),
            begun: Vec::new(),
        }
    }

    /// Ends what is open.
    fn finish(mut self, ending: Ending, frames: FramesRead) -> Vec<Usage> {
        for (_, mut meter) in std::mem::take(&mut self.open) {
            meter.frames_read(frames);
            self.settled.push(meter.settle(ending));
        }
        self.settled
    }
}

impl SessionSink for Metered {
    fn named(&mut self, names: &SessionNames) {
        self.names = names.clone();
        self.drafts.named(names);
    }

    fn begin(&mut self, lane: LaneNumber, response: BegunResponse) -> bool {
        let draft = self.drafts.draft(&response);
        self.begun.push((draft.ids.response_id.clone().map(Into::into), response.since));
        let mut meter = Meter::new(draft, Rules { end_of_turn: true }).treated(self.drafts.treatment());
        let headers = self.drafts.headers(&response);
        meter.asked(response.facts, response.request_bytes);
        meter.response_head(response.status, &headers);
        assert!(self.open.insert(lane, meter).is_none(), "a number is one response's");
        true
    }

    fn show(&mut self, lane: LaneNumber, bytes: Bytes) {
        let meter = self.open.get_mut(&lane).unwrap();
        assert_eq!(meter.response_bytes(&bytes, usize::MAX), bytes.len());
    }

    fn left_out(&mut self, lane: LaneNumber) {
        self.open.get_mut(&lane).unwrap().left_out();
    }

    fn end(&mut self, lane: LaneNumber) {
        self.settled.push(self.open.remove(&lane).unwrap().settle(Ending::Eof));
    }
}

/// One message: the client's or the server's.
#[derive(Clone, Debug)]
struct Said {
    by_client: bool,
    text: String,
}

fn asks(text: &str) -> Said {
    Said { by_client: true, text: text.to_owned() }
}

fn says(text: impl Into<String>) -> Said {
    Said { by_client: false, text: text.into() }
}

/// How the messages are sent.
#[derive(Clone, Debug)]
struct Wire {
    deflate: bool,
    forgets: bool,
    lengths: Vec<usize>,
    pings: bool,
    pieces: Vec<usize>,
    budgets: Vec<usize>,
}

impl Default for Wire {
    fn default() -> Wire {
        let (lengths, pieces, budgets) = (vec![], vec![usize::MAX], vec![usize::MAX]);
        Wire { deflate: false, forgets: false, lengths, pings: false, pieces, budgets }
    }
}

/// Runs a session whose messages come in this order; then it is cut by the service.
fn run(api: Api, said: &[Said], wire: &Wire) -> (Vec<Usage>, SessionNames) {
    let agreed = if wire.deflate { Extensions::of(["permessage-deflate"]) } else { Extensions::default() };
    let (client, server) = (Frames::of_client(agreed.client), Frames::of_server(agreed.server));
    let mut session = Session::new(api.session_kind(), client, server);
    let mut writers = [false, true].map(|masked| Writer::new(masked, wire.deflate, wire.forgets));
    let mut sink = Metered::new(api);
    let (mut pieces, mut budgets) = (wire.pieces.iter().cycle(), wire.budgets.iter().cycle());
    for (at, said) in said.iter().enumerate() {
        let writer = &mut writers[usize::from(said.by_client)];
        let bytes = writer.message(true, said.text.as_bytes(), &wire.lengths, wire.pings, false);
        let (mut rest, since) = (&bytes[..], Duration::from_secs(at as u64));
        while !rest.is_empty() {
            let (mut piece, after) = rest.split_at((*pieces.next().unwrap()).min(rest.len()));
            while !piece.is_empty() {
                let mut budget = *budgets.next().unwrap();
                let taken = match said.by_client {
                    true => session.from_client(piece, &mut budget, since),
                    false => session.from_server(piece, &mut budget, since, &mut sink),
                };
                piece = &piece[taken..];
            }
            rest = after;
        }
    }
    assert_eq!(session.frames_read(), FramesRead::All);
    assert_eq!(session.is_responding(), !sink.open.is_empty());
    let names = sink.names.clone();
    (sink.finish(Ending::UpstreamError, FramesRead::All), names)
}

fn events(api: Api, said: &[Said]) -> Vec<Usage> {
    run(api, said, &Wire::default()).0
}

fn numbers(usage: &Usage) -> (Option<u64>, Option<u64>) {
    (usage.tokens.input, usage.tokens.output)
}

fn reasons(usage: &Usage) -> Vec<&str> {
    usage.accounting.reasons.iter().map(|reason| reason.as_str()).collect()
}

const SESSION: &str = r#"{"type":"session.created","event_id":"e","session":{"type":"realtime","id":"sess_1","model":"gpt-realtime","audio":{"input":{"transcription":{"model":"scribe"}}}}}"#;
const CREATED: &str = r#"{"type":"response.created","event_id":"e1","response":{"id":"r1","status":"in_progress","usage":null}}"#;
const DELTA: &str =
    r#"{"event_id":"e2","response_id":"r1","delta":"UklGRg==","type":"response.output_audio.delta"}"#;
const DONE: &str = r#"{"response":{"object":"realtime.response","usage":{"total_tokens":1200,"input_tokens":900,"output_tokens":300,"input_token_details":{"text_tokens":400,"audio_tokens":500,"cached_tokens":600,"cached_tokens_details":{"text_tokens":350,"audio_tokens":250}},"output_token_details":{"text_tokens":60,"audio_tokens":240}},"status":"completed","id":"r1","output":[{"content":[{"transcript":"Teal."}]}]},"type":"response.done"}"#;
const TRANSCRIBED: &str = r#"{"type":"conversation.item.input_audio_transcription.completed","item_id":"i1","transcript":"hi","usage":{"type":"duration","seconds":2.5}}"#;

fn realtime() -> Vec<Said> {
    vec![
        says(SESSION),
        asks(r#"{"type":"input_audio_buffer.append","audio":"AAAA"}"#),
        says(TRANSCRIBED),
        asks(r#"{"type":"response.create"}"#),
        says(CREATED),
        says(DELTA),
        says(DELTA),
        long_delta("r1"),
        says(DONE),
        says(CREATED.replace("r1", "r2")),
        long_delta("r2"),
    ]
}

/// A delta of four kilobytes, which says first what it is.
fn long_delta(id: &str) -> Said {
    says(format!(
        r#"{{"event_id":"event_B2uoU7VOt6AAITsPRPJ9n","type":"response.output_audio.delta","response_id":"{id}","item_id":"i","delta":"{}"}}"#,
        "UklG".repeat(1_000)
    ))
}

/// Of each response the first delta is shown, however long it is and whatever else is open.
#[test]
fn the_first_delta_of_each_response_is_shown() {
    let mut session =
        Session::new(Api::Realtime.session_kind(), Frames::of_client(None), Frames::of_server(None));
    let (mut sink, mut writer) = (Metered::new(Api::Realtime), Writer::new(false, false, false));
    let mut begun = |said: &Said| {
        session.from_server(&writer.text(&said.text), &mut usize::MAX.clone(), Duration::ZERO, &mut sink);
        let open: Vec<bool> = sink.open.values().map(Meter::first_token_seen).collect();
        open
    };
    assert_eq!(begun(&says(CREATED)), [false]);
    assert_eq!(begun(&long_delta("r1")), [true]);
    assert_eq!(begun(&long_delta("r1")), [true]);
    assert_eq!(begun(&says(CREATED.replace("r1", "r2"))), [true, false]);
    assert_eq!(begun(&long_delta("r1")), [true, false]);
    assert_eq!(begun(&respelled(&long_delta("r1"), true, false)), [true, false]);
    assert_eq!(begun(&long_delta("r2")), [true, true]);
    // A long message that is no delta is read, whatever is open.
    let done = DONE.replace("Teal.", &"Teal. ".repeat(1_000));
    assert_eq!(begun(&says(done)), [true]);
    assert_eq!(numbers(&sink.settled[0]), (Some(900), Some(300)));
}

#[test]
fn a_realtime_session_has_its_responses() {
    let (events, names) = run(Api::Realtime, &realtime(), &Wire::default());
    assert_eq!(names.id.as_deref(), Some("sess_1"));
    let [heard, done, cut] = &events[..] else { panic!("{} events", events.len()) };
    assert_eq!((numbers(heard), heard.units.audio_ms), ((None, None), Some(2500)));
    assert_eq!(heard.target.deployment.as_deref(), Some("scribe"));
    assert_eq!((heard.stream.outcome, reasons(heard)), (Outcome::Complete, vec![]));
    assert_eq!((numbers(done), done.tokens.input_cached_audio), ((Some(900), Some(300)), Some(250)));
    assert_eq!(done.target.model.as_deref(), Some("gpt-realtime"));
    assert_eq!(done.ids.response_id.as_deref(), Some("r1"));
    assert_eq!(
        (done.stream.outcome, &done.stream.finish_reasons[..]),
        (Outcome::Complete, &["completed".into()][..])
    );
    assert_eq!(
        (done.accounting.output_source, done.accounting.output_quality),
        (Source::Reported, Quality::Exact)
    );
    assert_eq!((numbers(cut), cut.stream.outcome), ((None, None), Outcome::UpstreamError));
    assert_eq!(cut.ids.response_id.as_deref(), Some("r2"));
    assert_eq!(reasons(cut), ["input:upstream_error", "output:upstream_error"]);
}

#[test]
fn a_realtime_response_that_ends_in_any_way_is_settled() {
    for (status, outcome, error) in [
        ("\"completed\"", Outcome::Complete, None),
        ("\"cancelled\"", Outcome::Complete, None),
        ("\"incomplete\"", Outcome::Complete, None),
        (
            r#""failed","status_details":{"type":"failed","error":{"code":"rate_limit_exceeded"}}"#,
            Outcome::UpstreamError,
            Some("rate_limit_exceeded"),
        ),
    ] {
        let usage = r#""usage":{"input_tokens":3,"output_tokens":2}"#;
        for (usage, expected) in [(usage, (Some(3), Some(2))), (r#""usage":null"#, (None, None))] {
            let done =
                format!(r#"{{"type":"response.done","response":{{"id":"r","status":{status},{usage}}}}}"#);
            let events = events(Api::Realtime, &[says(done)]);
            assert_eq!((events.len(), numbers(&events[0])), (1, expected), "{status}");
            assert_eq!((events[0].stream.outcome, events[0].request.error_type.as_deref()), (outcome, error));
            let why = if expected.0.is_some() { vec![] } else { vec!["input:no_usage", "output:no_usage"] };
            assert_eq!(reasons(&events[0]), why, "{status}");
        }
    }
    // Zeros are no usage: no realtime response is billed by the call.
    let zeros = r#"{"type":"response.done","response":{"id":"r","status":"cancelled","usage":{"input_tokens":0,"output_tokens":0,"total_tokens":0}}}"#;
    assert_eq!(numbers(&events(Api::Realtime, &[says(zeros)])[0]), (None, None));
}

#[test]
fn an_error_of_a_realtime_session_is_no_response() {
    let error = r#"{"type":"error","error":{"type":"invalid_request_error","code":"session_expired"}}"#;
    let (events, names) = run(Api::Realtime, &[says(SESSION), says(error)], &Wire::default());
    assert_eq!((events.len(), names.error.as_deref()), (0, Some("session_expired")));
    assert_eq!(names.model.as_deref(), Some("gpt-realtime"));
}

// ===== Responses =====

const ASK: &str = r#"{"type":"response.create","model":"team-r","input":"Hi"}"#;
const ASK_MORE: &str =
    r#"{"model":"team-r","previous_response_id":"w1","input":[{"type":"message"}],"type":"response.create"}"#;

fn begun(id: &str) -> Said {
    says(format!(
        r#"{{"type":"response.created","sequence_number":0,"response":{{"id":"{id}","status":"in_progress","model":"gpt-4o-2024-08-06","output":[],"usage":null}}}}"#
    ))
}

fn delta(text: &str) -> Said {
    says(format!(
        r#"{{"type":"response.output_text.delta","sequence_number":1,"item_id":"m","output_index":0,"content_index":0,"delta":"{text}"}}"#
    ))
}

fn completed(id: &str, instructions: &str, text: &str) -> Said {
    says(format!(
        r#"{{"type":"response.completed","sequence_number":3,"response":{{"id":"{id}","status":"completed","model":"gpt-4o-2024-08-06","instructions":"{instructions}","output":[{{"type":"message","id":"m","role":"assistant","content":[{{"type":"output_text","text":"{text}"}}]}}],"usage":{{"input_tokens":20,"input_tokens_details":{{"cached_tokens":0}},"output_tokens":3,"total_tokens":23}}}}}}"#
    ))
}

fn on_stream(said: &Said, stream: &str) -> Said {
    Said { text: said.text.replacen('{', &format!(r#"{{"stream_id":"{stream}","#), 1), ..*said }
}

fn responses() -> Vec<Said> {
    vec![
        asks(ASK),
        begun("w1"),
        delta("Teal"),
        delta("."),
        completed("w1", "", "Teal."),
        asks(ASK_MORE),
        begun("w2"),
        delta("One two three four"),
    ]
}

#[test]
fn responses_are_metered_as_by_http() {
    let events = events(Api::Responses, &responses());
    let [done, cut] = &events[..] else { panic!("{} events", events.len()) };
    assert_eq!((numbers(done), done.stream.outcome), ((Some(20), Some(3)), Outcome::Complete));
    assert_eq!(
        (done.target.deployment.as_deref(), done.ids.response_id.as_deref()),
        (Some("team-r"), Some("w1"))
    );
    assert!(done.stream.done_seen && done.request.stream == Some(true));
    assert_eq!(done.accounting.computed_output, Some(4), "three tokens of text, and the end of the turn");
    assert_eq!((numbers(cut), cut.stream.outcome), ((None, Some(4)), Outcome::UpstreamError));
    assert_eq!(cut.accounting.output_quality, Quality::LowerBound);
    assert_eq!(reasons(cut), ["input:upstream_error", "input:server_state", "output:upstream_error"]);
}

#[test]
fn a_long_end_is_read_for_what_it_reports_and_its_text_as_well() {
    let instructions = "Say it in one word. ".repeat(300_000);
    let said = [asks(ASK), begun("w1"), delta("Teal."), completed("w1", &instructions, "Teal.")];
    let long = events(Api::Responses, &said).remove(0);
    assert_eq!(numbers(&long), (Some(20), Some(3)));
    assert_eq!((long.accounting.output_source, long.stream.parse_errors), (Source::Reported, 0));
    // As long as it is held by HTTP, it is held here.
    let instructions = "Say it in one word. ".repeat(10_000);
    let said = [asks(ASK), begun("w1"), delta("Teal."), completed("w1", &instructions, "Teal.")];
    let held = events(Api::Responses, &said).remove(0);
    assert_eq!(held.accounting.computed_output, Some(4));
    // Whose it is stands behind all the rest.
    let late = |said: &Said| {
        let (head, rest) = said.text.split_once(',').unwrap();
        says(format!("{{{},{}}}", &rest[..rest.len() - 1], head.trim_start_matches('{')))
    };
    let said = [asks(ASK), begun("w1"), delta("Teal."), late(&completed("w1", &instructions, "Teal."))];
    let wire = Wire { pieces: vec![1_000], ..Wire::default() };
    let found = run(Api::Responses, &said, &wire).0.remove(0);
    assert_eq!((numbers(&found), found.accounting.computed_output), ((Some(20), Some(3)), None));
}

#[test]
fn streams_are_told_apart() {
    let (a, b) = (responses(), responses());
    let ask = |said: &Said, model: &str| Said { text: said.text.replace("team-r", model), ..said.clone() };
    let said = [
        on_stream(&ask(&a[0], "one"), "a"),
        on_stream(&ask(&b[0], "two"), "b"),
        on_stream(&begun("r_b"), "b"),
        on_stream(&delta("of b"), "b"),
        on_stream(&begun("r_a"), "a"),
        on_stream(&delta("of a, which is longer"), "a"),
        on_stream(&completed("r_b", "", "of b"), "b"),
    ];
    let events = events(Api::Responses, &said);
    let [done, cut] = &events[..] else { panic!("{} events", events.len()) };
    assert_eq!(
        (done.ids.response_id.as_deref(), done.target.deployment.as_deref()),
        (Some("r_b"), Some("two"))
    );
    assert_eq!(
        (cut.ids.response_id.as_deref(), cut.target.deployment.as_deref()),
        (Some("r_a"), Some("one"))
    );
    assert!(numbers(cut).1 > Some(4), "{:?}", numbers(cut));
}

#[test]
fn an_error_instead_of_a_response_has_the_status_that_it_names() {
    let error = |status: &str, code: &str| {
        says(format!(
            r#"{{"type":"error",{status}"error":{{"type":"invalid_request_error","code":"{code}"}}}}"#
        ))
    };
    for (status, code, expected, http) in [
        ("\"status\":400,", "previous_response_not_found", (None, Some(0)), 400),
        ("\"status\":429,", "rate_limit_exceeded", (Some(0), Some(0)), 429),
        ("\"status\":401,", "x", (Some(0), Some(0)), 401),
        ("", "rate_limit_exceeded", (Some(0), Some(0)), 429),
        ("", "x", (None, Some(0)), 400), // its type says so
        ("\"status\":503,", "x", (None, None), 503),
    ] {
        let events = events(Api::Responses, &[asks(ASK_MORE), error(status, code)]);
        assert_eq!((events.len(), numbers(&events[0])), (1, expected), "{status} {code}");
        assert_eq!((events[0].request.status, events[0].stream.outcome), (http, Outcome::UpstreamStatus));
        assert_eq!(events[0].request.error_type.as_deref(), Some(code));
        assert_eq!(events[0].target.deployment.as_deref(), Some("team-r"));
    }
    // Nothing was asked: it is the session's.
    let (events, names) = run(
        Api::Responses,
        &[error("\"status\":400,", "websocket_connection_limit_reached")],
        &Wire::default(),
    );
    assert_eq!((events.len(), names.error.as_deref()), (0, Some("websocket_connection_limit_reached")));
}

#[test]
fn an_error_within_a_response_ends_it() {
    let within =
        says(r#"{"type":"error","sequence_number":5,"code":"server_error","message":"m","param":null}"#);
    let said =
        [asks(ASK), begun("w1"), delta("Teal"), asks(ASK), within, begun("w2"), completed("w2", "", "x")];
    let events = events(Api::Responses, &said);
    let [failed, done] = &events[..] else { panic!("{} events", events.len()) };
    assert_eq!(
        (failed.stream.outcome, failed.request.error_type.as_deref()),
        (Outcome::UpstreamError, Some("server_error"))
    );
    assert_eq!((failed.ids.response_id.as_deref(), numbers(failed)), (Some("w1"), (None, Some(2))));
    assert_eq!((done.ids.response_id.as_deref(), numbers(done)), (Some("w2"), (Some(20), Some(3))));
}

#[test]
fn what_nobody_asked_for_is_billed_and_other_messages_are_not_read() {
    let said = [
        says(r#"{"type":"codex.rate_limits","usage":{"input_tokens":1}}"#),
        delta("of no response"),
        says("no JSON"),
        asks(r#"{"type":"response.cancel"}"#),
        completed("w9", "", "x"),
    ];
    let events = events(Api::Responses, &said);
    assert_eq!((events.len(), numbers(&events[0])), (1, (Some(20), Some(3))));
}

#[test]
fn a_session_of_another_kind_is_not_read() {
    let mut session = Session::new(None, Frames::of_client(None), Frames::of_server(None));
    let mut sink = Metered::new(Api::Websocket);
    let bytes = Writer::new(false, false, false).text(DONE);
    assert_eq!(session.from_server(&bytes, &mut 0, Duration::ZERO, &mut sink), bytes.len());
    assert!(sink.begun.is_empty());
}

#[test]
fn frames_that_cannot_be_read_end_the_reading_of_one_side() {
    let mut session =
        Session::new(Api::Realtime.session_kind(), Frames::of_client(None), Frames::of_server(None));
    let (mut sink, mut budget) = (Metered::new(Api::Realtime), usize::MAX);
    session.from_client(b"\xc1\x80\0\0\0\0", &mut budget, Duration::ZERO);
    assert_eq!(session.frames_read(), FramesRead::NotTheCallers);
    let mut writer = Writer::new(false, false, false);
    let bytes = [writer.text(CREATED), b"\xa1\x00".to_vec(), writer.text(DONE)].concat();
    session.from_server(&bytes, &mut budget, Duration::ZERO, &mut sink);
    assert_eq!(session.frames_read(), FramesRead::NotTheServices);
    assert!(session.is_responding());
    let event = sink.finish(Ending::ClientDisconnect, session.frames_read()).remove(0);
    assert_eq!(
        (numbers(&event), reasons(&event)),
        ((None, None), vec!["input:unreadable", "output:unreadable"])
    );
}

#[test]
fn a_response_begins_with_its_request() {
    let mut session =
        Session::new(Api::Responses.session_kind(), Frames::of_client(None), Frames::of_server(None));
    let (mut sink, mut budget) = (Metered::new(Api::Responses), usize::MAX);
    let (mut client, mut server) = (Writer::new(true, false, false), Writer::new(false, false, false));
    let second = Duration::from_secs(1);
    session.from_client(&client.text(ASK), &mut budget, second);
    session.from_server(&server.text(&begun("w1").text), &mut budget, second * 5, &mut sink);
    assert_eq!(sink.begun, [(Some("w1".to_owned()), second)]);
    let mut sink = Metered::new(Api::Realtime);
    let mut session =
        Session::new(Api::Realtime.session_kind(), Frames::of_client(None), Frames::of_server(None));
    session.from_client(&client.text(r#"{"type":"response.create"}"#), &mut budget, second);
    session.from_server(&server.text(CREATED), &mut budget, second * 5, &mut sink);
    assert_eq!(sink.begun, [(Some("r1".to_owned()), second * 5)]);
}

fn wire() -> impl Strategy<Value = Wire> {
    let lengths = prop::collection::vec(0usize..150, 0..4);
    let sizes = |max| prop::collection::vec(1usize..max, 1..4);
    (any::<(bool, bool, bool)>(), lengths, sizes(600), sizes(2_000)).prop_map(
        |((deflate, forgets, pings), lengths, pieces, budgets)| Wire {
            deflate,
            forgets,
            lengths,
            pings,
            pieces,
            budgets,
        },
    )
}

/// A message whose members come in another order, and that is written with white space.
fn respelled(said: &Said, reverse: bool, pretty: bool) -> Said {
    let Ok(serde_json::Value::Object(members)) = serde_json::from_str(&said.text) else {
        return said.clone();
    };
    let mut members: Vec<_> = members.into_iter().collect();
    if reverse {
        members.reverse();
    }
    let value = serde_json::Value::Object(members.into_iter().collect());
    let text = if pretty { serde_json::to_string_pretty(&value) } else { serde_json::to_string(&value) };
    Said { text: text.unwrap(), ..*said }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 5_000, failure_persistence: None, ..ProptestConfig::default() })]

    /// However the messages of either API are spelled, framed, compressed and cut: the events are the same.
    #[test]
    fn the_events_do_not_depend_on_the_wire(wire in wire(), reverse: bool, pretty: bool) {
        for (api, said) in [(Api::Realtime, realtime()), (Api::Responses, responses())] {
            let respelled: Vec<_> = said.iter().map(|said| respelled(said, reverse, pretty)).collect();
            let (found, names) = run(api, &respelled, &wire);
            let (expected, expected_names) = run(api, &said, &Wire::default());
            prop_assert_eq!(&found, &expected, "{}", api.as_str());
            prop_assert_eq!(names, expected_names);
        }
    }
}
