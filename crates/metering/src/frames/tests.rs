//! Frames that other writers made, cut anywhere, say the same.

use flate2::{Compress, Compression as Level, FlushCompress};
use proptest::prelude::*;
use tungstenite::protocol::frame::coding::{Control, Data, OpCode};
use tungstenite::protocol::frame::{Frame, FrameHeader};

use super::reader::{Frames, MessageSink};
use super::{Compression, Extensions};

/// One frame, its length written as short as it can be.
fn frame(first: u8, masked: bool, payload: &[u8]) -> Vec<u8> {
    let mask = if masked { 0x80 } else { 0 };
    let mut frame = match payload.len() {
        length @ 0..126 => vec![first, mask | u8::try_from(length).unwrap()],
        length @ 126..65536 => {
            [&[first, mask | 126][..], &u16::try_from(length).unwrap().to_be_bytes()].concat()
        }
        length => [&[first, mask | 127][..], &(length as u64).to_be_bytes()].concat(),
    };
    if masked {
        frame.extend([0x88; 4]); // a close frame's first byte, if it were read as one
    }
    frame.extend(payload);
    frame
}

/// The state of a direction after these bytes.
fn after(frames: impl Fn() -> Frames, bytes: &[u8]) -> (bool, bool, bool) {
    let mut frames = frames();
    assert_eq!(frames.push(bytes, &mut 0, &mut ()), bytes.len(), "nothing is read, so nothing is spent");
    said(&frames)
}

fn said(frames: &Frames) -> (bool, bool, bool) {
    (frames.is_open(), frames.is_closed(), frames.is_readable())
}

fn of(masked: bool, extended: bool) -> Frames {
    let compression = extended.then(whole_window);
    if masked { Frames::of_client(compression) } else { Frames::of_server(compression) }
}

fn whole_window() -> Compression {
    Extensions::of(["permessage-deflate"]).client.unwrap()
}

const BETWEEN: (bool, bool, bool) = (false, false, true);
const OPEN: (bool, bool, bool) = (true, false, true);
const CLOSED: (bool, bool, bool) = (false, true, true);
const UNREADABLE: (bool, bool, bool) = (false, false, false);

#[test]
fn lengths_of_one_three_and_nine_bytes() {
    for masked in [false, true] {
        let frames = || of(masked, false);
        for length in [0, 1, 125, 126, 127, 65535, 65536, 70000] {
            let payload = vec![0x88; length];
            let bytes = frame(0x82, masked, &payload);
            assert_eq!(after(frames, &bytes), BETWEEN, "{length} {masked}");
            assert_eq!(after(frames, &bytes[..bytes.len() - 1]), OPEN, "{length} {masked}");
            assert_eq!(after(frames, &[&bytes[..], &frame(0x88, masked, b"")].concat()), CLOSED);
        }
    }
    // No sender has so many bytes, and nothing counts them one by one.
    let endless = [&[0x82, 127][..], &(u64::MAX >> 1).to_be_bytes()].concat();
    assert_eq!(after(|| of(false, false), &endless), OPEN);
}

#[test]
fn a_close_frame_counts_once_it_is_whole_and_nothing_after_it_does() {
    let frames = || of(false, false);
    let close = frame(0x88, false, b"\x03\xe8bye");
    for cut in 1..close.len() {
        assert_eq!(after(frames, &close[..cut]), OPEN, "{cut}");
    }
    assert_eq!(after(frames, &close), CLOSED);
    assert_eq!(after(frames, &[&close[..], b"anything"].concat()), CLOSED);
    // A text that looks like one is none.
    assert_eq!(after(frames, &frame(0x81, false, &close)), BETWEEN);
}

#[test]
fn a_message_of_several_frames_is_open_between_them() {
    let frames = || of(false, false);
    let message = [frame(0x01, false, b"a"), frame(0x89, false, b"ping"), frame(0x00, false, b"b")];
    for count in 1..=3 {
        assert_eq!(after(frames, &message[..count].concat()), OPEN, "{count}");
    }
    let last = frame(0x80, false, b"");
    assert_eq!(after(frames, &[message.concat(), last.clone()].concat()), BETWEEN);
    let closed = [message.concat(), frame(0x88, false, b"")].concat();
    assert_eq!(after(frames, &closed), CLOSED, "a close frame may come between");
}

#[test]
fn what_is_no_frame_ends_the_reading() {
    let server = || of(false, false);
    for (why, first, masked, payload) in [
        ("a reserved bit", 0xc1, false, &b"a"[..]),
        ("another reserved bit", 0xa1, false, b"a"),
        ("a reserved opcode", 0x83, false, b"a"),
        ("a reserved control opcode", 0x8b, false, b"a"),
        ("masked by a server", 0x81, true, b"a"),
        ("more of a message that has not begun", 0x80, false, b"a"),
        ("a control frame in pieces", 0x09, false, b"a"),
        ("a long control frame", 0x88, false, &[0; 126]),
    ] {
        let bytes = [frame(first, masked, payload), frame(0x88, false, b"")].concat();
        assert_eq!(after(server, &bytes), UNREADABLE, "{why}");
    }
    let twice = [frame(0x01, false, b"a"), frame(0x81, false, b"b")].concat();
    assert_eq!(after(server, &twice), UNREADABLE, "a message within a message");
    let client = || of(true, false);
    assert_eq!(after(client, &frame(0x81, false, b"a")), UNREADABLE, "not masked by a client");
    let long = [&[0x82, 127][..], &(1u64 << 63).to_be_bytes()].concat();
    assert_eq!(after(server, &long), UNREADABLE, "a length with its sign bit set");
    assert_eq!(after(server, b"HTTP/1.1 200 OK\r\n\r\n"), UNREADABLE);
    assert_eq!(after(Frames::unreadable, &frame(0x88, false, b"")), UNREADABLE);
    // With compression agreed upon, the first reserved bit says that a message is compressed.
    assert_eq!(after(|| of(false, true), &frame(0xc1, false, b"a")), BETWEEN);
    assert_eq!(after(|| of(false, true), &frame(0xa1, false, b"a")), UNREADABLE);
}

proptest! {
    /// Where the bytes are cut does not matter, and no bytes make it fail.
    #[test]
    fn any_split_says_the_same(
        masked: bool,
        sent in prop::collection::vec((any::<u8>(), prop::collection::vec(any::<u8>(), 0..300)), 0..8),
        odd in prop::collection::vec(any::<u8>(), 0..20),
        sound: bool,
        pieces in 1usize..40,
    ) {
        let mut bytes: Vec<u8> = sent
            .iter()
            .flat_map(|(first, payload)| frame(if sound { 0x82 } else { *first }, masked, payload))
            .collect();
        if !sound {
            bytes.extend(odd);
        }
        let mut frames = of(masked, false);
        let whole = after(|| of(masked, false), &bytes);
        bytes.chunks(pieces).for_each(|piece| _ = frames.push(piece, &mut 0, &mut ()));
        prop_assert_eq!(said(&frames), whole);
        if sound {
            prop_assert_eq!(whole, BETWEEN);
        }
    }
}

/// Writes what one side sends, by other libraries than the one that reads it.
pub(crate) struct Writer {
    mask: Option<[u8; 4]>,
    deflate: Option<Compress>,
    /// Each message begins with an empty window.
    forgets: bool,
}

impl Writer {
    pub(crate) fn new(masked: bool, deflate: bool, forgets: bool) -> Writer {
        let mask = masked.then_some([0x37, 0xfa, 0x21, 0x3d]);
        Writer { mask, deflate: deflate.then(|| Compress::new(Level::new(6), false)), forgets }
    }

    /// A message in frames of these lengths, with pings between them. `last_block`: its end is the end of a DEFLATE
    /// stream.
    pub(crate) fn message(
        &mut self,
        text: bool,
        payload: &[u8],
        lengths: &[usize],
        pings: bool,
        last_block: bool,
    ) -> Vec<u8> {
        let compressed = self.deflate.is_some();
        let mut rest = match &mut self.deflate {
            Some(deflate) => {
                if self.forgets || last_block {
                    deflate.reset();
                }
                let coded = deflated(deflate, payload, last_block);
                if last_block {
                    deflate.reset();
                }
                coded
            }
            None => payload.to_vec(),
        };
        let (mut out, mut first) = (Vec::new(), true);
        for length in lengths.iter().copied().map(Some).chain([None]) {
            let rest_of_it = rest.split_off(length.unwrap_or(rest.len()).min(rest.len()));
            let data = if text { Data::Text } else { Data::Binary };
            let opcode = OpCode::Data(if first { data } else { Data::Continue });
            self.frame(opcode, length.is_none(), compressed && first, rest, &mut out);
            if pings && length.is_some() {
                self.frame(OpCode::Control(Control::Ping), true, false, b"k".to_vec(), &mut out);
            }
            (rest, first) = (rest_of_it, false);
        }
        out
    }

    /// The bytes of one message in one frame.
    pub(crate) fn text(&mut self, text: &str) -> Vec<u8> {
        self.message(true, text.as_bytes(), &[], false, false)
    }

    fn frame(&mut self, opcode: OpCode, is_final: bool, rsv1: bool, payload: Vec<u8>, out: &mut Vec<u8>) {
        let mask = self.mask;
        self.mask = mask.map(|[a, b, c, d]| [b ^ 0x5c, c, d, a.wrapping_add(91)]);
        let header = FrameHeader { is_final, rsv1, rsv2: false, rsv3: false, opcode, mask };
        Frame::from_payload(header, payload.into()).format(out).unwrap();
    }
}

/// RFC 7692 7.2.1, or 7.2.3.4 if its last block is to be the last of all.
fn deflated(deflate: &mut Compress, payload: &[u8], last_block: bool) -> Vec<u8> {
    let mut out = Vec::with_capacity(payload.len() * 2 + 1024);
    let flush = if last_block { FlushCompress::Finish } else { FlushCompress::Sync };
    let before = deflate.total_in();
    while deflate.total_in() - before < payload.len() as u64 {
        let at = usize::try_from(deflate.total_in() - before).unwrap();
        deflate.compress_vec(&payload[at..], &mut out, flush).unwrap();
        out.reserve(1024);
    }
    if payload.is_empty() {
        deflate.compress_vec(&[], &mut out, flush).unwrap();
    }
    if last_block {
        out.push(0);
    } else if out.ends_with(&[0, 0, 0xff, 0xff]) {
        out.truncate(out.len() - 4);
    } else {
        assert!(payload.is_empty() && out.is_empty(), "a flush ends with an empty block");
        out.push(0);
    }
    out
}

/// Takes whole messages.
#[derive(Debug, Default)]
struct Messages {
    whole: Vec<Vec<u8>>,
    open: Vec<u8>,
    bytes: usize,
}

impl MessageSink for Messages {
    fn text(&mut self, piece: &[u8]) {
        self.open.extend_from_slice(piece);
        self.bytes += piece.len();
    }

    fn end(&mut self) {
        self.whole.push(std::mem::take(&mut self.open));
    }
}

/// Reads all bytes in pieces of these lengths, with so much budget for each look.
fn messages(frames: &mut Frames, bytes: &[u8], pieces: &[usize], budgets: &[usize]) -> Messages {
    let (mut found, mut rest) = (Messages::default(), bytes);
    let (mut pieces, mut budgets) = (pieces.iter().cycle(), budgets.iter().cycle());
    while !rest.is_empty() {
        let (mut piece, after) = rest.split_at((*pieces.next().unwrap()).min(rest.len()));
        while !piece.is_empty() {
            let mut budget = *budgets.next().unwrap();
            let taken = frames.push(piece, &mut budget, &mut found);
            piece = &piece[taken..];
        }
        rest = after;
    }
    found
}

/// Whether a message is text, its bytes, the lengths of its frames, pings between them, and its end.
type Sent = (bool, Vec<u8>, Vec<usize>, bool, bool);

fn sent() -> impl Strategy<Value = Sent> {
    let word =
        prop::sample::select(vec!["{\"type\":\"response.done\"}", "audio", "AAAA", "", "\u{1f600}", "x"]);
    let payload = prop_oneof![
        4 => prop::collection::vec(word, 0..40).prop_map(|words| words.concat().into_bytes()),
        1 => prop::collection::vec(any::<u8>(), 0..300),
        1 => (0usize..70_000).prop_map(|length| vec![b'A'; length]),
    ];
    (
        prop::bool::weighted(0.8),
        payload,
        prop::collection::vec(0usize..200, 0..4),
        any::<bool>(),
        any::<bool>(),
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 10_000, failure_persistence: None, ..ProptestConfig::default() })]

    /// The texts are those that were sent, whatever fragments, masks, compression, cuts and budgets there are.
    #[test]
    fn texts_arrive_as_they_were_sent(
        sent in prop::collection::vec(sent(), 1..5),
        (masked, deflate, forgets) in any::<(bool, bool, bool)>(),
        pieces in prop::collection::vec(1usize..3_000, 1..5),
        budgets in prop::collection::vec(1usize..40_000, 1..5),
    ) {
        let mut writer = Writer::new(masked, deflate, forgets);
        let mut bytes = Vec::new();
        for (text, payload, lengths, pings, last_block) in &sent {
            bytes.extend(writer.message(*text, payload, lengths, *pings, *last_block && forgets));
        }
        let mut frames = of(masked, deflate).reading();
        let found = messages(&mut frames, &bytes, &pieces, &budgets);
        let texts: Vec<_> = sent.into_iter().filter(|sent| sent.0).map(|sent| sent.1).collect();
        prop_assert!(found.whole == texts && found.open.is_empty());
        prop_assert_eq!(said(&frames), BETWEEN);
    }
}

proptest! {
    /// No bytes make it fail, compressed ones neither, and any split says the same.
    #[test]
    fn any_compressed_bytes_are_read_or_not(
        payload in prop::collection::vec(any::<u8>(), 0..600),
        pieces in prop::collection::vec(1usize..50, 1..4),
        budgets in prop::collection::vec(1usize..900, 1..4),
    ) {
        let bytes = [frame(0xc1, false, &payload), frame(0x81, false, b"then")].concat();
        let read = |pieces: &[usize], budgets: &[usize]| {
            let mut frames = of(false, true).reading();
            let found = messages(&mut frames, &bytes, pieces, budgets);
            (said(&frames), found.whole)
        };
        let whole = read(&[bytes.len()], &[usize::MAX]);
        let split = read(&pieces, &budgets);
        prop_assert_eq!(split, whole);
    }
}

/// A kilobyte that means a megabyte costs one look no more than any other.
#[test]
fn a_bomb_stays_within_the_budget_of_a_look() {
    let mut writer = Writer::new(true, true, false);
    let bytes = writer.message(true, &vec![b'A'; 64 << 20], &[], false, false);
    assert!(bytes.len() < 100_000, "{} bytes", bytes.len());
    let mut frames = of(true, true).reading();
    let mut found = Messages::default();
    let (mut rest, mut looks, budget_bytes) = (&bytes[..], 0, 64 << 10);
    while !rest.is_empty() {
        let before = found.bytes;
        let mut budget = budget_bytes;
        let taken = frames.push(rest, &mut budget, &mut found);
        rest = &rest[taken..];
        looks += 1;
        assert!(found.bytes - before <= budget_bytes + (16 << 10), "{}", found.bytes - before);
        assert!(taken > 0 || found.bytes > before, "each look gets on");
        found.open.clear();
    }
    assert_eq!((found.bytes, found.whole.len()), (64 << 20, 1));
    assert!(looks >= 1000, "{looks}");
}

#[test]
fn a_small_window_is_one() {
    let whole = Extensions::of(["permessage-deflate; server_max_window_bits=9; server_no_context_takeover"]);
    let mut frames = Frames::of_server(whole.server).reading();
    let mut writer = Writer::new(false, true, true);
    let text = "all of it ".repeat(40);
    let bytes = [writer.text(&text), writer.text(&text)].concat();
    let found = messages(&mut frames, &bytes, &[7], &[100]);
    assert_eq!(found.whole, [text.as_bytes(), text.as_bytes()]);
}

/// The words of RFC 7692 7.2.3.
#[test]
fn the_examples_of_the_standard() {
    let read = |bytes: &[u8]| {
        let mut frames = of(false, true).reading();
        messages(&mut frames, bytes, &[1], &[1]).whole
    };
    let once = b"\xc1\x07\xf2\x48\xcd\xc9\xc9\x07\x00";
    assert_eq!(read(once), [b"Hello"]);
    assert_eq!(read(b"\x41\x03\xf2\x48\xcd\x80\x04\xc9\xc9\x07\x00"), [b"Hello"], "in two frames");
    let again = [&once[..], b"\xc1\x05\xf2\x00\x11\x00\x00"].concat();
    assert_eq!(read(&again), [b"Hello", b"Hello"], "by its window");
    assert_eq!(read(b"\xc1\x0b\x00\x05\x00\xfa\xff\x48\x65\x6c\x6c\x6f\x00"), [b"Hello"], "as it is");
    let last = b"\xc1\x08\xf3\x48\xcd\xc9\xc9\x07\x00\x00";
    assert_eq!(read(last), [b"Hello"], "with a last block");
    let after_last = [&last[..], b"\xc1\x05\xf2\x00\x11\x00\x00"].concat();
    assert_eq!(read(&after_last), [b"Hello", b"Hello"], "whose window stays");
    assert_eq!(
        read(b"\xc1\x0d\xf2\x48\x05\x00\x00\x00\xff\xff\xca\xc9\xc9\x07\x00"),
        [b"Hello"],
        "in two blocks"
    );
}

#[test]
fn what_nobody_reads_is_passed_over() {
    let mut writer = Writer::new(true, true, false);
    let bytes = writer.message(true, &vec![b'A'; 1 << 20], &[10, 10], true, false);
    let mut frames = of(true, true);
    assert_eq!(frames.push(&bytes, &mut 0, &mut ()), bytes.len());
    assert_eq!(said(&frames), BETWEEN);
}
