//! Work that goes on after its call: what the call says, and what a look at the work shows.

use super::*;
use crate::usage::{BillSeen, Deferral, DeferredId, DeferredKind};

/// An answer to a call, and what its meter makes of it.
struct Answer<'a> {
    api: Api,
    treatment: Treatment,
    status: u16,
    kind: &'static str,
    body: &'a str,
    ending: Ending,
    /// The object that the path names.
    named: Option<&'static str>,
}

const JSON: &str = "application/json";
const EVENTS: &str = "text/event-stream";

impl<'a> Answer<'a> {
    fn of(api: Api, treatment: Treatment, body: &'a str) -> Answer<'a> {
        let kind = if body.starts_with('{') { JSON } else { EVENTS };
        Answer { api, treatment, status: 200, kind, body, ending: Ending::Eof, named: None }
    }

    fn metered(&self, piece_bytes: usize) -> (Usage, Option<Deferral>, Option<BillSeen>) {
        let mut draft = draft(self.api);
        draft.ids.response_id = self.named.map(SmolStr::new_static);
        let mut meter = Meter::new(draft, AZURE).treated(self.treatment);
        if !self.treatment.is_poll() {
            meter.request_bytes(br#"{"model":"gpt-4o","input":"Name a colour.","background":true}"#);
        }
        meter.request_end();
        meter.response_head(StatusCode::from_u16(self.status).unwrap(), &headers(self.kind));
        for piece in self.body.as_bytes().chunks(piece_bytes) {
            assert_eq!(meter.response_bytes(piece, usize::MAX), piece.len());
            assert!(!self.treatment.is_poll() || (meter.is_light() && meter.memory_bytes() < 16 << 10));
            // A checkpoint has no numbers of work that goes on either.
            let (progress, _) = meter.progress();
            assert!(
                progress.deferral.is_none_or(|deferral| deferral.billed || progress.tokens.output.is_none())
            );
        }
        meter.end(self.ending);
        let (deferral, bill) = (meter.deferral(), meter.bill());
        if deferral.is_some() || bill.is_some() {
            assert_eq!(meter.prompt_need(), PromptNeed::No, "a prompt of work is let go of");
        }
        (meter.settle(self.ending), deferral, bill)
    }

    /// The same however the answer is cut.
    fn run(&self) -> (Usage, Option<Deferral>, Option<BillSeen>) {
        let whole = self.metered(usize::MAX);
        for piece_bytes in [1, 7, 64] {
            assert_eq!(self.metered(piece_bytes), whole, "in pieces of {piece_bytes}");
        }
        whole
    }
}

fn id(kind: DeferredKind, id: &str) -> DeferredId {
    DeferredId { kind, id: id.into() }
}

fn response(status: &str, background: bool, usage: &str) -> String {
    format!(
        r#"{{"id":"resp_b1","object":"response","status":"{status}","background":{background},"error":null,"model":"gpt-4o-2024-08-06","output":[{{"type":"message","id":"m","role":"assistant","content":[{{"type":"output_text","text":"Teal."}}]}}],"usage":{usage}}}"#
    )
}

fn events(parts: &[(&str, &str)]) -> String {
    let event = |(kind, members): &(&str, &str)| {
        format!("event: {kind}\ndata: {{\"type\":\"{kind}\",{members}}}\n\n")
    };
    parts.iter().map(event).collect()
}

const USAGE: &str = r#"{"input_tokens":30,"output_tokens":2500,"output_tokens_details":{"reasoning_tokens":2400},"total_tokens":2530}"#;
const DELTA: (&str, &str) =
    ("response.output_text.delta", r#""output_index":0,"content_index":0,"delta":"Teal""#);

fn reasons(usage: &Usage) -> Vec<&str> {
    usage.accounting.reasons.iter().map(SmolStr::as_str).collect()
}

#[test]
fn a_call_whose_work_goes_on_has_no_numbers() {
    let video = r#"{"id":"video_1","object":"video","status":"queued","model":"sora-2","seconds":"8","size":"1280x720"}"#;
    let batch = r#"{"id":"batch_1","object":"batch","status":"validating","model":null,"usage":null,"output_file_id":null}"#;
    let run = r#"{"id":"run_1","object":"thread.run","status":"queued","usage":null}"#;
    let queued = response("queued", true, "null");
    for (api, kind, object, body) in [
        (Api::Responses, DeferredKind::Response, "resp_b1", queued.as_str()),
        (Api::Video, DeferredKind::Video, "video_1", video),
        (Api::Batch, DeferredKind::Batch, "batch_1", batch),
        (Api::Assistants, DeferredKind::Run, "run_1", run),
    ] {
        let treatment = if api == Api::Responses { Treatment::Metered } else { Treatment::ReportedOnly };
        let (usage, deferral, bill) = Answer::of(api, treatment, body).run();
        assert_eq!(
            (usage.tokens.input, usage.tokens.output, usage.units.video_ms),
            (None, None, None),
            "{body}"
        );
        assert_eq!(reasons(&usage), ["input:deferred", "output:deferred"], "{body}");
        assert_eq!(
            (usage.accounting.computed_input, usage.accounting.computed_output),
            (None, None),
            "{body}"
        );
        assert_eq!(
            (usage.ids.response_id.as_deref(), usage.stream.outcome),
            (Some(object), Outcome::Complete)
        );
        assert_eq!(deferral, Some(Deferral { work: id(kind, object), billed: false }), "{body}");
        assert_eq!((bill, usage.accounting.deferred), (None, false), "{body}");
    }
    // A response that nobody says is made in the background, and one that is refused.
    let (usage, deferral, _) =
        Answer::of(Api::Responses, Treatment::Free, &response("queued", false, "null")).run();
    assert_eq!((deferral, usage.tokens.output), (None, Some(0)));
    let refused = Answer { status: 400, ..Answer::of(Api::Video, Treatment::ReportedOnly, video) };
    assert_eq!(refused.run().1, None);
}

#[test]
fn a_stream_in_the_background_is_its_own_bill_if_it_comes_to_its_end() {
    let object = |status: &str, usage: &str| format!(r#""response":{}"#, response(status, true, usage));
    let (created, last) = (object("in_progress", "null"), object("completed", USAGE));
    let begun = [("response.created", created.as_str()), DELTA];
    let whole = events(&[begun[0], begun[1], ("response.completed", &last)]);
    let (usage, deferral, _) = Answer::of(Api::Responses, Treatment::Metered, &whole).run();
    assert_eq!((usage.tokens.input, usage.tokens.output, reasons(&usage).len()), (Some(30), Some(2_500), 0));
    assert!(!usage.accounting.deferred);
    let work = id(DeferredKind::Response, "resp_b1");
    assert_eq!(deferral, Some(Deferral { work: work.clone(), billed: true }));
    for (ending, outcome) in [
        (Ending::UpstreamError, Outcome::UpstreamError),
        (Ending::ClientDisconnect, Outcome::ClientDisconnect),
        (Ending::Shutdown, Outcome::Shutdown),
    ] {
        let cut = events(&begun);
        let cut = Answer { ending, ..Answer::of(Api::Responses, Treatment::Metered, &cut) };
        let (usage, deferral, _) = cut.run();
        assert_eq!((usage.tokens.input, usage.tokens.output, usage.stream.outcome), (None, None, outcome));
        assert_eq!(reasons(&usage), ["input:deferred", "output:deferred"]);
        assert_eq!(deferral, Some(Deferral { work: work.clone(), billed: false }));
    }
    // It ended, and nobody will say more.
    let failed = object("failed", "null");
    let failed = events(&[begun[0], ("response.failed", &failed)]);
    let (usage, deferral, _) = Answer::of(Api::Responses, Treatment::Metered, &failed).run();
    assert_eq!((usage.tokens.output, deferral.unwrap().billed), (None, true));
}

#[test]
fn a_look_at_a_response_shows_its_bill_once_it_is_over() {
    let work = id(DeferredKind::Response, "resp_b1");
    let poll = |body: &str| Answer::of(Api::Responses, Treatment::Poll, body).run();
    for (status, usage, expected) in [
        ("queued", "null", None),
        ("in_progress", "null", None),
        ("of_the_future", USAGE, None),
        ("completed", USAGE, Some(Some(2_500))),
        ("incomplete", USAGE, Some(Some(2_500))),
        ("cancelled", USAGE, Some(Some(2_500))),
        ("failed", "null", Some(None)),
        ("cancelled", "null", Some(None)),
    ] {
        let body = response(status, true, usage);
        let (usage, deferral, bill) = poll(&body);
        assert_eq!((deferral, bill.is_some()), (None, expected.is_some()), "{body}");
        if let Some(output) = expected {
            assert_eq!((bill, usage.tokens.output), (Some(BillSeen::Of(work.clone())), output), "{body}");
            assert!(usage.accounting.deferred, "{body}");
            let why = if output.is_some() { &[][..] } else { &["input:no_usage", "output:no_usage"] };
            assert_eq!(reasons(&usage), why, "{body}");
        }
        // One that was answered at once has had its bill.
        assert_eq!(poll(&response(status, false, USAGE)).2, None);
        let cancel = Answer::of(Api::Responses, Treatment::Cancel, &body).run();
        assert_eq!(cancel.2, expected.map(|_| BillSeen::ByCancel(work.clone())), "{body}");
    }
    let body = response("completed", true, USAGE);
    for (status, body) in [(404, &body[..]), (206, &body[..]), (200, &body[..body.len() - 1])] {
        let answer = Answer { status, ..Answer::of(Api::Responses, Treatment::Poll, body) };
        assert_eq!(answer.run().2, None, "{status} {body}");
    }
}

#[test]
fn a_stream_that_is_resumed_counts_by_its_last_event_alone() {
    let last = format!(r#""response":{}"#, response("completed", true, USAGE));
    let resumed = events(&[DELTA, DELTA, ("response.completed", &last)]);
    let poll = |body: &str| Answer::of(Api::Responses, Treatment::Poll, body).run();
    let (usage, _, bill) = poll(&resumed);
    assert_eq!((usage.tokens.input, usage.tokens.output, reasons(&usage).len()), (Some(30), Some(2_500), 0));
    assert_eq!(bill, Some(BillSeen::Of(id(DeferredKind::Response, "resp_b1"))));
    assert_eq!((usage.stream.outcome, usage.accounting.output_quality), (Outcome::Complete, Quality::Exact));
    assert_eq!(poll(&events(&[DELTA, DELTA])).2, None);
    assert_eq!(poll(&resumed.replace(r#""background":true"#, r#""background":false"#)).2, None);
}

#[test]
fn a_video_is_billed_by_its_length() {
    let video = |status: &str, seconds: &str| {
        format!(
            r#"{{"id":"video_1","object":"video","status":"{status}","model":"sora-2","seconds":{seconds},"size":"1280x720"}}"#
        )
    };
    let poll = |body: &str| Answer::of(Api::Video, Treatment::Poll, body).run();
    let (usage, _, bill) = poll(&video("completed", "\"8\""));
    assert_eq!((usage.units.video_ms, usage.tokens.output), (Some(8_000), None));
    assert_eq!(
        (usage.request.size.as_deref(), usage.target.model.as_deref()),
        (Some("1280x720"), Some("sora-2"))
    );
    assert_eq!((reasons(&usage).len(), bill.is_some()), (0, true));
    let (usage, _, bill) = poll(&video("failed", "8"));
    assert_eq!((usage.units.video_ms, bill.is_some()), (None, true));
    assert_eq!(reasons(&usage), ["input:no_usage", "output:no_usage"]);
    assert_eq!(poll(&video("in_progress", "8")).2, None);
    assert_eq!(poll(&video("completed", "8").replace("\"video\"", "\"list\"")).2, None);
    // Of an older job each variant is a video.
    let job = |status: &str| {
        format!(
            r#"{{"object":"video.generation.job","id":"task_1","status":"{status}","model":"sora","n_variants":2,"n_seconds":5}}"#
        )
    };
    let (begun, deferral, _) = Answer::of(Api::Video, Treatment::ReportedOnly, &job("preprocessing")).run();
    let work = id(DeferredKind::Video, "task_1");
    assert_eq!(
        (begun.units.video_ms, deferral),
        (None, Some(Deferral { work: work.clone(), billed: false }))
    );
    let (usage, _, bill) = poll(&job("succeeded"));
    assert_eq!((usage.units.video_ms, bill), (Some(10_000), Some(BillSeen::Of(work))));
    assert_eq!((poll(&job("running")).2, poll(&job("cancelled")).0.units.video_ms), (None, None));
}

#[test]
fn a_batch_has_its_bill_in_its_object_or_in_its_output() {
    let batch = |status: &str, file: &str, usage: &str| {
        format!(
            r#"{{"id":"batch_1","object":"batch","status":"{status}","output_file_id":{file},"model":"gpt-5-mini","usage":{usage}}}"#
        )
    };
    let zeros = r#"{"input_tokens":0,"output_tokens":0,"total_tokens":0}"#;
    let both = r#"{"input_tokens":3100,"output_tokens":900,"total_tokens":4000,"prompt_tokens":0,"completion_tokens":0}"#;
    let work = id(DeferredKind::Batch, "batch_1");
    let in_file = BillSeen::InFile { work: work.clone(), file: "file-2".into() };
    for (status, file, usage, expected) in [
        ("in_progress", "null", "null", None),
        ("finalizing", "\"file-2\"", both, None),
        ("completed", "\"file-2\"", both, Some((BillSeen::Of(work.clone()), Some(3_100)))),
        ("completed", "\"file-2\"", "null", Some((in_file.clone(), None))),
        ("expired", "\"file-2\"", zeros, Some((in_file, None))),
        ("failed", "null", "null", Some((BillSeen::Of(work.clone()), None))),
    ] {
        let body = batch(status, file, usage);
        let (usage, _, bill) = Answer::of(Api::Batch, Treatment::Poll, &body).run();
        assert_eq!(bill.clone().map(|bill| (bill, usage.tokens.input)), expected, "{body}");
    }
    let line = |id: u32, usage: &str| {
        format!(
            r#"{{"custom_id":"{id}","response":{{"status_code":200,"body":{{"id":"resp_{id}","model":"gpt-5-mini","usage":{usage}}}}},"error":null}}"#
        )
    };
    let file = [line(1, both), line(2, USAGE), line(3, "null")].join("\n");
    let output = |status: u16, body: &str| {
        let answer = Answer::of(Api::Batch, Treatment::PollOutput, body);
        Answer { status, kind: "application/octet-stream", named: Some("file-2"), ..answer }.run()
    };
    let (usage, _, bill) = output(200, &file);
    assert_eq!(bill, Some(BillSeen::OfFile { file: "file-2".into() }));
    assert_eq!((usage.tokens.input, usage.tokens.output), (Some(3_130), Some(3_400)));
    assert_eq!((usage.target.model.as_deref(), reasons(&usage).len()), (Some("gpt-5-mini"), 0));
    assert_eq!((output(206, &file).2, output(200, "{\"messages\":[]}\n").2), (None, None));
    // Of a line that nobody can read the cost is missing.
    let (usage, _, bill) = output(200, &format!("{file}\n{{\"custom_id\":\n"));
    assert_eq!((usage.tokens.input, usage.accounting.input_quality), (Some(3_130), Quality::LowerBound));
    assert_eq!((reasons(&usage), bill.is_some()), (vec!["input:unreadable", "output:unreadable"], true));
}
