//! Server-sent events, decoded from bytes that arrive in any pieces (WHATWG HTML, section 9.2).
//!
//! The same bytes give the same events however they are split. An event that lies within one
//! piece is lent out of it without a copy. An event that is too long to be held is shown in parts,
//! as it comes. Nothing here fails: what is no event is passed over.

use std::mem;

use memchr::memchr2;

/// Bytes of an event's data that are held, unless the decoder is told another bound. So large because the
/// last event of a Responses stream repeats the whole response, and it is the one with `usage`. A longer
/// event is shown in parts only.
pub const EVENT_BYTES_MAX: usize = 4 << 20;

/// An event with more data than this is shown in parts even while it is held. So it can be let go of at any
/// time, and what has not been shown by then is little.
pub const EVENT_BYTES_UNSHOWN_MAX: usize = 64 << 10;

/// Bytes of an event's name that are held. The longest that the service uses has 48.
const NAME_BYTES_MAX: usize = 256;

/// Buffers over this are given back when their event is done.
const BUFFER_KEPT_BYTES_MAX: usize = 4 << 10;

/// Bytes of a line that tell what it says: `event: ` is the longest that concerns us.
const HEAD_BYTES: usize = 7;

const BOM: [u8; 3] = [0xEF, 0xBB, 0xBF];

/// One event, as dispatched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event<'a> {
    /// The last `event` field, its first 256 bytes; empty if there was none.
    pub name: &'a [u8],
    /// The `data` fields, joined by LF.
    pub data: &'a [u8],
}

/// Takes the events that a [`Decoder`] shows.
pub trait Sink {
    /// An event. If parts of it have been shown, they were the beginning of its data.
    fn event(&mut self, event: Event<'_>);

    /// More of the data of a long event: see [`EVENT_BYTES_UNSHOWN_MAX`].
    fn part(&mut self, data: &[u8]) {
        let _ = data;
    }

    /// An event that was not held is over: all of its data has been shown in parts.
    fn end_of_parts(&mut self, name: &[u8]) {
        let _ = name;
    }
}

/// A closure is shown the events that are held, and nothing of the longer ones.
impl<F: FnMut(Event<'_>)> Sink for F {
    fn event(&mut self, event: Event<'_>) {
        self(event);
    }
}

/// A decoder at some point of a stream. Holds little more than the bound on an event's data.
#[derive(Clone, Debug)]
pub struct Decoder {
    /// The kind of the current line, as far as earlier pieces tell.
    line: PartialLine,
    /// The current line, while that is open.
    head: [u8; HEAD_BYTES],
    head_bytes: usize,
    /// The `data` of the current event, as far as it is held and not lent.
    data: Vec<u8>,
    has_data: bool,
    /// The current event is too long to be held.
    is_long: bool,
    name: Vec<u8>,
    /// The last piece ended in CR: a LF at the start of the next one belongs to it.
    after_cr: bool,
    /// How much of a byte order mark has been seen; the mark's length once it is decided.
    bom: usize,
    event_bytes_max: usize,
}

/// A line of which a part has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum PartialLine {
    /// It may become anything.
    Open,
    Data,
    Name,
    Other,
}

/// A whole line, by its field (section 9.2.6).
enum WholeLine<'a> {
    Blank,
    Data(&'a [u8]),
    Name(&'a [u8]),
    /// A comment, or a field that does not concern us.
    Other,
}

impl Default for Decoder {
    fn default() -> Decoder {
        Decoder::holding(EVENT_BYTES_MAX)
    }
}

impl Decoder {
    /// A decoder that holds so many bytes of an event's data.
    pub fn holding(event_bytes_max: usize) -> Decoder {
        Decoder {
            line: PartialLine::Open,
            head: [0; HEAD_BYTES],
            head_bytes: 0,
            data: Vec::new(),
            has_data: false,
            is_long: false,
            name: Vec::new(),
            after_cr: false,
            bom: 0,
            event_bytes_max,
        }
    }

    /// Bytes of the unfinished event that it holds: they are read all at once when it ends.
    pub fn held_bytes(&self) -> usize {
        self.data.len()
    }

    /// A decoder at the same point that holds no event, now or later. The part of the current one
    /// that was not shown yet goes to `sink`, which must have seen all that the sink of this decoder has.
    pub fn holding_nothing(&self, sink: &mut impl Sink) -> Decoder {
        if !self.is_long && !self.is_shown() {
            sink.part(&self.data);
        }
        let name = self.name.clone();
        Decoder { data: Vec::new(), is_long: self.has_data, name, event_bytes_max: 0, ..*self }
    }

    /// The next bytes of the stream. Each event that they complete goes to `sink`.
    pub fn push(&mut self, bytes: &[u8], sink: &mut impl Sink) {
        let mut rest = self.after_bom(bytes, sink);
        // The one data line of the current event, while it is only lent.
        let mut lent: Option<&[u8]> = None;
        while let Some(&first) = rest.first() {
            if mem::take(&mut self.after_cr) && first == b'\n' {
                rest = &rest[1..];
                continue;
            }
            let Some(end) = memchr2(b'\n', b'\r', rest) else { break };
            let (part, tail) = (&rest[..end], &rest[end + 1..]);
            self.after_cr = rest[end] == b'\r';
            rest = tail;
            if self.line == PartialLine::Open && self.head_bytes == 0 {
                self.lent_line(part, &mut lent, sink);
            } else {
                self.part_of_line(part, sink);
                self.end_line(sink);
            }
        }
        self.keep(&mut lent, sink);
        self.part_of_line(rest, sink);
        debug_assert!(self.data.len() <= self.event_bytes_max, "one bounded event is held");
        debug_assert!(!self.is_long || self.data.is_empty(), "a long event is shown and not held");
    }

    /// The stream has ended. An event without its blank line, which a browser would drop, still
    /// goes to `sink`; true if there was one.
    pub fn finish(&mut self, sink: &mut impl Sink) -> bool {
        if self.head_bytes > 0 {
            self.end_line(sink);
        }
        let unfinished = self.has_data;
        self.dispatch(None, sink);
        unfinished
    }

    /// Strips a byte order mark, which may be cut anywhere.
    fn after_bom<'a>(&mut self, bytes: &'a [u8], sink: &mut impl Sink) -> &'a [u8] {
        let mut rest = bytes;
        while self.bom < BOM.len() {
            let Some((&first, tail)) = rest.split_first() else { break };
            if first == BOM[self.bom] {
                self.bom += 1;
                rest = tail;
            } else {
                self.part_of_line(&BOM[..self.bom], sink);
                self.bom = BOM.len();
            }
        }
        rest
    }

    /// A whole line that lies within the piece.
    fn lent_line<'a>(&mut self, line: &'a [u8], lent: &mut Option<&'a [u8]>, sink: &mut impl Sink) {
        match read_line(line) {
            WholeLine::Blank => self.dispatch(lent.take(), sink),
            WholeLine::Data(value) if !self.has_data && value.len() <= self.event_bytes_max => {
                *lent = Some(value);
                self.has_data = true;
            }
            WholeLine::Data(value) => {
                self.keep(lent, sink);
                self.begin_data(sink);
                self.add_data(value, sink);
            }
            WholeLine::Name(value) => {
                self.name.clear();
                self.add_name(value);
            }
            WholeLine::Other => {}
        }
    }

    /// The next bytes of a line that does not lie within one piece.
    fn part_of_line(&mut self, mut part: &[u8], sink: &mut impl Sink) {
        if self.line == PartialLine::Open {
            let held = self.head_bytes;
            let taken = part.len().min(HEAD_BYTES - held);
            self.head[held..held + taken].copy_from_slice(&part[..taken]);
            self.head_bytes += taken;
            part = &part[taken..];
            if self.head_bytes < HEAD_BYTES {
                return;
            }
            self.begin_line(sink);
        }
        match self.line {
            PartialLine::Data => self.add_data(part, sink),
            PartialLine::Name => self.add_name(part),
            PartialLine::Open | PartialLine::Other => {}
        }
    }

    /// Enough of the line has come, or all of it, to tell what it says.
    fn begin_line(&mut self, sink: &mut impl Sink) {
        let head = self.head;
        match read_line(&head[..self.head_bytes]) {
            WholeLine::Data(value) => {
                self.line = PartialLine::Data;
                self.begin_data(sink);
                self.add_data(value, sink);
            }
            WholeLine::Name(value) => {
                self.line = PartialLine::Name;
                self.name.clear();
                self.add_name(value);
            }
            WholeLine::Other | WholeLine::Blank => self.line = PartialLine::Other,
        }
    }

    /// The line of which parts have come is over.
    fn end_line(&mut self, sink: &mut impl Sink) {
        if self.line == PartialLine::Open {
            self.begin_line(sink);
        }
        (self.line, self.head_bytes) = (PartialLine::Open, 0);
    }

    /// Keeps what was lent: the piece that it lies in is over, or the event has another line.
    fn keep(&mut self, lent: &mut Option<&[u8]>, sink: &mut impl Sink) {
        if let Some(value) = lent.take() {
            self.add_data(value, sink);
        }
    }

    fn begin_data(&mut self, sink: &mut impl Sink) {
        if mem::replace(&mut self.has_data, true) {
            self.add_data(b"\n", sink);
        }
    }

    fn add_data(&mut self, value: &[u8], sink: &mut impl Sink) {
        if self.is_long {
            return sink.part(value);
        }
        let was_shown = self.is_shown();
        if self.data.len() + value.len() > self.event_bytes_max {
            if !was_shown {
                sink.part(&self.data);
            }
            (self.data, self.is_long) = (Vec::new(), true);
            return sink.part(value);
        }
        self.data.extend_from_slice(value);
        if was_shown {
            sink.part(value);
        } else if self.is_shown() {
            sink.part(&self.data);
        }
    }

    /// All of the data that is held has been shown in parts.
    fn is_shown(&self) -> bool {
        self.data.len() > EVENT_BYTES_UNSHOWN_MAX
    }

    fn add_name(&mut self, value: &[u8]) {
        let room = NAME_BYTES_MAX - self.name.len();
        self.name.extend_from_slice(&value[..value.len().min(room)]);
    }

    fn dispatch(&mut self, lent: Option<&[u8]>, sink: &mut impl Sink) {
        if self.is_long {
            sink.end_of_parts(&self.name);
        } else if self.has_data {
            sink.event(Event { name: &self.name, data: lent.unwrap_or(&self.data) });
        }
        self.data.clear();
        self.data.shrink_to(BUFFER_KEPT_BYTES_MAX);
        self.name.clear();
        (self.has_data, self.is_long) = (false, false);
    }
}

fn read_line(line: &[u8]) -> WholeLine<'_> {
    let (field, value) = match memchr::memchr(b':', line) {
        _ if line.is_empty() => return WholeLine::Blank,
        Some(colon) => {
            let value = &line[colon + 1..];
            (&line[..colon], value.strip_prefix(b" ").unwrap_or(value))
        }
        None => (line, &b""[..]),
    };
    match field {
        b"data" => WholeLine::Data(value),
        b"event" => WholeLine::Name(value),
        _ => WholeLine::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    type Owned = (Vec<u8>, Vec<u8>);

    /// The events that a decoder shows; those that were shown in parts are put together.
    #[derive(Default)]
    struct Log {
        events: Vec<Owned>,
        parts: Vec<u8>,
        long: usize,
    }

    impl Sink for Log {
        fn event(&mut self, event: Event<'_>) {
            let parts = mem::take(&mut self.parts);
            assert!(event.data.starts_with(&parts), "parts are the beginning of the data");
            self.events.push((event.name.to_vec(), event.data.to_vec()));
        }
        fn part(&mut self, data: &[u8]) {
            self.parts.extend_from_slice(data);
        }
        fn end_of_parts(&mut self, name: &[u8]) {
            self.events.push((name.to_vec(), mem::take(&mut self.parts)));
            self.long += 1;
        }
    }

    /// All events of `pieces`, those that `finish` gives, and how many of all were shown in parts only.
    fn decode_with<'a>(
        mut decoder: Decoder,
        pieces: impl IntoIterator<Item = &'a [u8]>,
    ) -> (Vec<Owned>, Vec<Owned>, usize) {
        let mut log = Log::default();
        for piece in pieces {
            decoder.push(piece, &mut log);
            assert!(decoder.held_bytes() <= decoder.event_bytes_max && decoder.name.len() <= NAME_BYTES_MAX);
        }
        let events = mem::take(&mut log.events);
        let unfinished = decoder.finish(&mut log);
        assert_eq!(unfinished, !log.events.is_empty());
        (events, log.events, log.long)
    }

    fn decode<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> (Vec<Owned>, Vec<Owned>, usize) {
        decode_with(Decoder::default(), pieces)
    }

    fn data(bytes: &[u8]) -> Vec<String> {
        decode([bytes]).0.into_iter().map(|(_, data)| String::from_utf8(data).unwrap()).collect()
    }

    #[test]
    fn one_space_after_the_colon_is_removed() {
        assert_eq!(data(b"data:x\n\ndata: x\n\ndata:  x\n\ndata\n\n"), ["x", "x", " x", ""]);
    }

    #[test]
    fn lines_end_in_lf_crlf_or_cr_and_in_nothing_else() {
        assert_eq!(data(b"data: a\r\n\r\ndata: b\r\rdata: c\n\n"), ["a", "b", "c"]);
        let text = "data: a\u{2028}b\u{85}c\u{b}d\n\n";
        assert_eq!(data(text.as_bytes()), ["a\u{2028}b\u{85}c\u{b}d"]);
    }

    #[test]
    fn lines_of_one_event_are_joined_and_comments_are_not_events() {
        assert_eq!(data(b": hi\n\ndata: a\n: hi\nid: 1\nretry: 5\ndata: b\n\n: bye\n\n"), ["a\nb"]);
        let (events, ..) = decode([&b"event: ping\n\nevent: error\ndata: {}\n\ndata: x\n\n"[..]]);
        assert_eq!(events, [(b"error".to_vec(), b"{}".to_vec()), (Vec::new(), b"x".to_vec())]);
    }

    #[test]
    fn a_last_event_without_blank_line_comes_from_finish() {
        for text in [&b"data: a\n\ndata: b"[..], b"data: a\n\ndata: b\n", b"data: a\n\ndata: b\r"] {
            let (events, last, _) = decode([text]);
            assert_eq!((events.len(), last), (1, vec![(Vec::new(), b"b".to_vec())]));
        }
        assert!(decode([&b"data: a\n\n"[..]]).1.is_empty());
    }

    #[test]
    fn a_long_event_is_shown_in_parts_and_a_long_comment_is_nothing() {
        let long = "x".repeat(EVENT_BYTES_MAX);
        let text =
            format!("data: a\n\nevent: {long}y\ndata: {long}\ndata: y\n\n:{long}y\nid: {long}\ndata: b\n\n");
        for size in [text.len(), 1 << 20, 65_537] {
            let (events, last, long_events) = decode(text.as_bytes().chunks(size));
            assert_eq!((events.len(), last.len(), long_events), (3, 0, 1), "in pieces of {size}");
            assert!(
                events[1] == (long.as_bytes()[..NAME_BYTES_MAX].to_vec(), format!("{long}\ny").into_bytes())
            );
            assert_eq!(events[2], (Vec::new(), b"b".to_vec()));
        }
    }

    #[test]
    fn an_event_can_be_let_go_of_at_any_time() {
        for bytes in [10, EVENT_BYTES_UNSHOWN_MAX, EVENT_BYTES_UNSHOWN_MAX + 1, EVENT_BYTES_MAX] {
            let mut text = b"event: e\ndata: ".to_vec();
            text.resize(text.len() + bytes, b'x');
            text.extend_from_slice(b"\ndata: y\n\ndata: z\n\n");
            for at in [0, 3, 9, 14, 15, 20, 70_000, text.len() - 13, text.len() - 3] {
                let (before, after) = text.split_at(at.min(text.len()));
                let (mut decoder, mut log) = (Decoder::default(), Log::default());
                decoder.push(before, &mut log);
                let mut decoder = decoder.holding_nothing(&mut log);
                for piece in after.chunks(4096) {
                    decoder.push(piece, &mut log);
                    assert_eq!(decoder.held_bytes(), 0);
                }
                assert!(log.events == decode([text.as_slice()]).0, "{bytes} bytes, let go of at {at}");
            }
        }
    }

    #[test]
    fn a_byte_order_mark_is_ignored_once() {
        assert_eq!(data(b"\xEF\xBB\xBFdata: x\n\n"), ["x"]);
        assert!(data(b"\xEF\xBB\xBF\xEF\xBB\xBFdata: x\n\n").is_empty());
        assert!(data(b"\xEF\xBBdata: x\n\n").is_empty());
    }

    proptest! {
        /// Any bytes, split anywhere: the same events.
        #[test]
        fn splits_do_not_matter(
            words in prop::collection::vec(
                prop::sample::select(vec![
                    "data", ":", " ", "\n", "\r", "\r\n", "\n\n", "event", "x", "{\"a\":1}", "\u{feff}", "é", "[DONE]",
                ]),
                0..60,
            ),
            cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..20),
            bytes_max in 0_usize..20,
        ) {
            let text = words.concat().into_bytes();
            let mut at: Vec<usize> = cuts.iter().map(|cut| cut.index(text.len() + 1)).collect();
            at.extend([0, text.len()]);
            at.sort_unstable();
            let whole = decode([text.as_slice()]);
            prop_assert_eq!(&whole, &decode(at.windows(2).map(|w| &text[w[0]..w[1]])));
            prop_assert_eq!(&whole, &decode(text.chunks(1)));
            // The bound says how an event is shown, not what it is.
            let (events, last, long) = decode_with(Decoder::holding(bytes_max), [text.as_slice()]);
            prop_assert_eq!((&events, &last), (&whole.0, &whole.1));
            let bounded = decode_with(Decoder::holding(bytes_max), at.windows(2).map(|w| &text[w[0]..w[1]]));
            prop_assert_eq!(bounded, (events, last, long));
        }
    }
}
