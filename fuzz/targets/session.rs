//! Any bytes as what the two sides of a session send: any split, with any budget for each look, tells the same of its
//! responses, and what is told fits together.
#![no_main]

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use libfuzzer_sys::fuzz_target;
use metering::frames::{Extensions, Frames};
use metering::meter::SessionNames;
use metering::session::{BegunResponse, LaneNumber, Session, SessionSink};
use metering::usage::Api;
use tokenweir_fuzz::{Cuts, spelled};

/// Words of messages, so that one changed byte makes another one.
const WORDS: &[&str] = &[
    r#"{"type":"response.create","model":"m"}"#,
    r#"{"type":"response.created","response":{"id":"r","status":"in_progress"}}"#,
    r#"{"type":"response.output_text.delta","response_id":"r","delta":"x"}"#,
    r#"{"type":"response.completed","response":{"id":"r","usage":{"input_tokens":1}}}"#,
    r#"{"type":"response.done","response":{"id":"r","usage":{"input_tokens":1}}}"#,
    r#"{"type":"error","status":400,"error":{"code":"c"}}"#,
    r#"{"type":"session.created","session":{"id":"s","model":"m"}}"#,
    r#""stream_id":"a","#,
    r#""sequence_number":1,"#,
    r#"{"type":"response.output_audio.delta","response_id":"r","delta":"UklGUklGUklGUklGUklGUklGUklGUklGUklGUklGUklGUklGUklGUklG"}"#,
];

/// All that was told, in order, the bytes of each response joined.
#[derive(Debug, Default, PartialEq)]
struct Told {
    open: BTreeMap<LaneNumber, Vec<u8>>,
    ended: Vec<(LaneNumber, Vec<u8>)>,
    begun: Vec<String>,
    names: Vec<SessionNames>,
}

impl SessionSink for Told {
    fn named(&mut self, names: &SessionNames) {
        self.names.push(names.clone());
    }
    fn begin(&mut self, lane: LaneNumber, response: BegunResponse) -> bool {
        self.begun.push(format!("{response:?}"));
        assert!(self.open.insert(lane, Vec::new()).is_none());
        assert!(self.open.len() <= 65, "a bounded number is open");
        true
    }
    fn show(&mut self, lane: LaneNumber, bytes: Bytes) {
        self.open.get_mut(&lane).expect("it is open").extend_from_slice(&bytes);
    }
    fn left_out(&mut self, lane: LaneNumber) {
        assert!(self.open.contains_key(&lane));
    }
    fn end(&mut self, lane: LaneNumber) {
        let bytes = self.open.remove(&lane).expect("it is open");
        self.ended.push((lane, bytes));
    }
}

fuzz_target!(|input: &[u8]| {
    let Some((&kind, rest)) = input.split_first() else { return };
    let api = if kind & 1 == 0 { Api::Realtime } else { Api::Responses };
    let agreed = if kind & 2 == 0 { Extensions::default() } else { Extensions::of(["permessage-deflate"]) };
    let (mut cuts, bytes) = Cuts::take(rest);
    let framed = if kind & 4 == 0 { bytes.to_vec() } else { frames(bytes) };
    let start = || {
        Session::new(api.session_kind(), Frames::of_client(agreed.client), Frames::of_server(agreed.server))
    };
    let since = Duration::from_secs(1);
    let (mut whole, mut expected) = (start(), Told::default());
    let masked = masked(&framed);
    whole.from_client(&masked, &mut usize::MAX.clone(), since);
    let taken = whole.from_server(&framed, &mut usize::MAX.clone(), since, &mut expected);
    assert_eq!(taken, framed.len());
    let (mut session, mut told) = (start(), Told::default());
    session.from_client(&masked, &mut usize::MAX.clone(), since);
    for mut piece in cuts.pieces(&framed) {
        while !piece.is_empty() {
            let mut budget = 1 + usize::from(kind);
            let taken = session.from_server(piece, &mut budget, since, &mut told);
            piece = &piece[taken..];
        }
    }
    assert_eq!(told, expected);
    assert_eq!(session.is_responding(), !told.open.is_empty());
    assert_eq!(session.frames_read(), whole.frames_read());
});

/// Each line as a message of the server.
fn frames(input: &[u8]) -> Vec<u8> {
    let text = spelled(input, WORDS);
    let messages = text.split(|byte| *byte == b'\n');
    let frame = |message: &[u8]| {
        let length = u16::try_from(message.len().min(65_535)).unwrap_or_default();
        [&[0x81, 126][..], &length.to_be_bytes(), &message[..usize::from(length)]].concat()
    };
    messages.flat_map(frame).collect()
}

/// A request of the client, so that responses have one.
fn masked(framed: &[u8]) -> Vec<u8> {
    let message = WORDS[0].as_bytes();
    let head = [0x81, 0x80 | message.len() as u8, 0, 0, 0, 0];
    [&head[..], message].concat().repeat(framed.len() % 3)
}
