//! Instructions for a delta, from the bytes of a stream to its count, and for a file within a form. They are
//! the same on every run and do not depend on how busy the machine is, so they are held to a bound.
//!
//! Needs `valgrind`; without, it is listed as not run.
#![allow(missing_docs, clippy::expect_used, clippy::panic, clippy::print_stdout, clippy::unwrap_used)] // a test may stop and say why

#[path = "support/mod.rs"]
mod support;

use std::process::{Command, Stdio};
use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue};
use http::{HeaderMap, StatusCode};
use metering::caller::{Caller, Trust};
use metering::chunk::FormScan;
use metering::frames::Frames;
use metering::meter::{Ending, Meter, Rules, SessionNames};
use metering::session::{BegunResponse, LaneNumber, Session, SessionSink};
use metering::tokens;
use metering::usage::{Api, Target, Usage};
use support::random::Random;
use support::skip;

/// Tells the process under valgrind what to do.
const DELTAS: &str = "TOKENWEIR_TEST_DELTAS";
const WORDS: &str = "TOKENWEIR_TEST_WORDS";
const PIECES: &str = "TOKENWEIR_TEST_PIECES";
const FILE: &str = "TOKENWEIR_TEST_FILE";
const API: &str = "TOKENWEIR_TEST_API";

/// Deltas of the short and of the long run: their difference is free of start and end.
const SHORT: u64 = 1_000;
const LONG: u64 = 6_000;

const LATIN: &str = "The| weir| measures| a| stream| it|'s| 1|234|.| (|über|)";
const CHINESE: &str = "堰|测量|水流|而|不|阻挡|它|。|工程|师|每年|,|校准";
/// Stands for messages of a realtime session.
const AUDIO: &str = "audio";

const ESCAPED: &str = "The|\\n\\n| \\\"weir\\\"|\\u00e9t|\\ud83d\\ude00|\\t| a|\\\\";

/// What a delta may take: a quarter over the 1,471, 1,523 and 1,930 that it took when this was written.
/// A build of `opt-level = 1` takes 1,689, 1,737 and 2,160. That of an Anthropic message, of which nothing is counted,
/// took 2,364.
const BOUNDS: [(&str, Api, &str, f64); 4] = [
    ("Latin", Api::ChatCompletions, LATIN, 1_840.0),
    ("Chinese", Api::ChatCompletions, CHINESE, 1_905.0),
    ("escaped", Api::ChatCompletions, ESCAPED, 2_415.0),
    ("a message", Api::Messages, LATIN, 2_955.0),
];

#[test]
fn a_delta_takes_so_many_instructions() {
    if Command::new("valgrind").arg("--version").stdout(Stdio::null()).status().is_err() {
        return skip::test("valgrind is not installed");
    }
    for (name, api, words, most) in BOUNDS {
        let of = |deltas| instructions(api, words, deltas);
        let each = (of(LONG) - of(SHORT)) as f64 / (LONG - SHORT) as f64;
        println!("{name}: {each:.0} instructions a delta, at most {most}");
        assert!(each <= most, "{name}: {each:.0} instructions a delta, at most {most}");
    }
}

/// Instructions that a message of 4 KB of audio may take in a session, looked at on its way from the service: a quarter over the
/// 613 that it took when this was written. Behind the first delta of a response only the type of another one is read.
const AUDIO_BOUND: f64 = 770.0;

#[test]
fn a_message_of_audio_takes_so_many_instructions() {
    if Command::new("valgrind").arg("--version").stdout(Stdio::null()).status().is_err() {
        return skip::test("valgrind is not installed");
    }
    let each = (instructions(Api::Realtime, AUDIO, LONG) - instructions(Api::Realtime, AUDIO, SHORT)) as f64
        / (LONG - SHORT) as f64;
    println!("audio: {each:.0} instructions a message, at most {AUDIO_BOUND}");
    assert!(each <= AUDIO_BOUND, "{each:.0} instructions a message, at most {AUDIO_BOUND}");
}

/// Bytes of a form that come at once, and pieces of the short and of the long run.
const PIECE_BYTES: usize = 64 << 10;
const FEW: u64 = 16;
const MANY: u64 = 80;

/// Instructions that a kilobyte of a file may take: a quarter over the 472, 465, 475 and 3,868 that it took when this was written.
/// 500 MB/s leave 4,000 at two instructions a nanosecond.
const FILE_BOUNDS: [(&str, f64); 4] =
    [("noise", 590.0), ("lines", 590.0), ("dashes", 590.0), ("nearly", 4_835.0)];

#[test]
fn a_file_within_a_form_takes_so_many_instructions() {
    if Command::new("valgrind").arg("--version").stdout(Stdio::null()).status().is_err() {
        return skip::test("valgrind is not installed");
    }
    for (file, most) in FILE_BOUNDS {
        let run = |pieces: u64| run("pass_over", &[(PIECES, &pieces.to_string()), (FILE, file)]) as f64;
        let kilobytes = ((MANY - FEW) as usize * PIECE_BYTES) as f64 / 1_000.0;
        let each = (run(MANY) - run(FEW)) / kilobytes;
        println!("{file}: {each:.0} instructions a kilobyte, at most {most}");
        assert!(each <= most, "{file}: {each:.0} instructions a kilobyte, at most {most}");
    }
}

/// A file of this kind.
fn file(kind: &str) -> Vec<u8> {
    let mut random = Random::seeded(1);
    match kind {
        "noise" => (0..PIECE_BYTES).map(|_| random.below(256) as u8).collect(),
        "lines" => {
            "a line of sixty bytes, as a file of text has them, or so..\n".repeat(PIECE_BYTES / 60).into()
        }
        "dashes" => "\n-".repeat(PIECE_BYTES / 2).into(),
        // These bytes look most like the end of the file.
        _ => "\n--boundary-of-a-forn".repeat(PIECE_BYTES / 21).into(),
    }
}

/// The work that is counted; by itself it does nothing.
#[test]
#[ignore = "run by the other test"]
fn pass_over() {
    let (Ok(pieces), Ok(kind)) = (std::env::var(PIECES), std::env::var(FILE)) else { return };
    let (pieces, file) = (pieces.parse().unwrap(), file(&kind));
    let mut scan = FormScan::new(b"boundary-of-a-form");
    let head = "Content-Disposition: form-data; name=\"file\"; filename=\"a\"\r\n\r\n";
    scan.push(format!("--boundary-of-a-form\r\n{head}").as_bytes());
    (0..pieces).for_each(|_: u64| scan.push(&file));
    scan.push(b"\r\n--boundary-of-a-form--\r\n");
    assert!(scan.facts().complete, "it was read to its end");
}

/// What the process executes that meters so many deltas.
fn instructions(api: Api, words: &str, deltas: u64) -> u64 {
    run("work", &[(API, api.as_str()), (DELTAS, &deltas.to_string()), (WORDS, words)])
}

/// Instructions that the process executes that runs a test of this file.
fn run(test: &str, variables: &[(&str, &str)]) -> u64 {
    let mut valgrind = Command::new("valgrind");
    valgrind.args(["--tool=callgrind", "--callgrind-out-file=/dev/null"]);
    valgrind.arg(std::env::current_exe().unwrap()).args(["--exact", "--ignored", "--test-threads=1", test]);
    let output = valgrind.envs(variables.iter().copied()).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let collected = said.lines().find_map(|line| line.split("Collected : ").nth(1));
    collected.unwrap_or_else(|| panic!("no count in {said}")).trim().parse().unwrap()
}

/// The work that is counted; by itself it does nothing.
#[test]
#[ignore = "run by the other test"]
fn work() {
    let (Ok(deltas), Ok(words)) = (std::env::var(DELTAS), std::env::var(WORDS)) else { return };
    if words == AUDIO {
        return listen(deltas.parse().unwrap());
    }
    let (deltas, words): (usize, Vec<&str>) = (deltas.parse().unwrap(), words.split('|').collect());
    tokens::load();
    let is_message = std::env::var(API).is_ok_and(|api| api == Api::Messages.as_str());
    let (api, event): (Api, fn(&str) -> String) =
        if is_message { (Api::Messages, message_event) } else { (Api::ChatCompletions, event) };
    let events: Vec<String> = words.iter().map(|word| event(word)).collect();
    let target = Target { api, ..Target::default() };
    let draft = Usage::draft(Caller::unattributed(Trust::None), target);
    let mut meter = Meter::new(draft, Rules { end_of_turn: true });
    meter.request_bytes(br#"{"model":"gpt-4o","stream":true,"messages":[{"role":"user","content":"Hi"}]}"#);
    meter.request_end();
    let content_type = HeaderValue::from_static("text/event-stream");
    meter.response_head(StatusCode::OK, &HeaderMap::from_iter([(CONTENT_TYPE, content_type)]));
    for event in events.iter().cycle().take(deltas) {
        assert_eq!(meter.response_bytes(event.as_bytes(), usize::MAX), event.len());
    }
    let usage = meter.settle(Ending::ClientDisconnect);
    assert_eq!((usage.stream.events, usage.stream.parse_errors), (deltas as u64, 0));
    assert!(is_message || usage.tokens.output.unwrap() >= deltas as u64 / 2);
}

/// A delta as Anthropic's models send it.
fn message_event(word: &str) -> String {
    format!(
        r#"data: {{"type":"content_block_delta","index":0,"delta":{{"type":"text_delta","text":"{word}"}}}}"#
    )
    .replacen("data", "event: content_block_delta\ndata", 1)
        + "\n\n"
}

/// Looks at so many messages of audio, each in one read.
fn listen(messages: usize) {
    struct Quiet;
    impl SessionSink for Quiet {
        fn named(&mut self, _: &SessionNames) {}
        fn begin(&mut self, _: LaneNumber, _: BegunResponse) -> bool {
            true
        }
        fn show(&mut self, _: LaneNumber, _: Bytes) {}
        fn left_out(&mut self, _: LaneNumber) {}
        fn end(&mut self, _: LaneNumber) {}
    }
    let frame = |text: &str| {
        let [high, low] = u16::try_from(text.len()).unwrap().to_be_bytes();
        [&[0x81, 126, high, low], text.as_bytes()].concat()
    };
    let created =
        frame(r#"{"type":"response.created","response":{"id":"resp_B2uoU7","status":"in_progress"}}"#);
    let delta = frame(&format!(
        r#"{{"type":"response.output_audio.delta","event_id":"event_B2uoU7VOt6AAITsPRPJ9n","response_id":"resp_B2uoU7","item_id":"item_1","output_index":0,"content_index":0,"delta":"{}"}}"#,
        "UklG".repeat(1_000)
    ));
    let mut session =
        Session::new(Api::Realtime.session_kind(), Frames::of_client(None), Frames::of_server(None));
    for bytes in std::iter::once(&created).chain(std::iter::repeat_n(&delta, messages)) {
        let mut budget = usize::MAX;
        assert_eq!(session.from_server(bytes, &mut budget, Duration::ZERO, &mut Quiet), bytes.len());
    }
    assert!(session.is_responding());
}

/// A chunk as Azure sends it.
fn event(word: &str) -> String {
    format!(
        r#"data: {{"choices":[{{"content_filter_results":{{"hate":{{"filtered":false,"severity":"safe"}}}},"delta":{{"content":"{word}"}},"finish_reason":null,"index":0,"logprobs":null}}],"created":1790000000,"id":"chatcmpl-1","model":"gpt-4o-2024-11-20","object":"chat.completion.chunk","system_fingerprint":"fp_1"}}"#
    ) + "\n\n"
}
