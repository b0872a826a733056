//! Server-sent events, decoded from bytes that arrive in any pieces (WHATWG HTML, section 9.2).
//!
//! The same bytes give the same events however they are split. An event that lies within one
//! piece is lent out of it without a copy. Nothing here fails: what is no event is passed over.

use std::mem;

use memchr::memchr2;

/// Bytes of one event that are kept. A longer event is passed over and counted. So large because
/// the last event of a Responses stream repeats the whole answer, and it is the one with `usage`.
pub const EVENT_BYTES_MAX: usize = 4 << 20;

/// Buffers over this are given back when their event is done.
const BUFFER_KEPT_BYTES_MAX: usize = 4 << 10;

const BOM: [u8; 3] = [0xEF, 0xBB, 0xBF];

/// One event, as dispatched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event<'a> {
    /// The last `event` field; empty if there was none.
    pub name: &'a [u8],
    /// The `data` fields, joined by LF.
    pub data: &'a [u8],
}

/// A decoder at some point of a stream. Holds at most [`EVENT_BYTES_MAX`].
#[derive(Debug, Default)]
pub struct Decoder {
    /// The part of the current line that earlier pieces held.
    line: Vec<u8>,
    /// The current line is too long: only its first byte is kept.
    line_cut: bool,
    /// The `data` of the current event, as far as it is not lent.
    data: Vec<u8>,
    has_data: bool,
    name: Vec<u8>,
    /// The current event is too long.
    over_long: bool,
    /// The last piece ended in CR: a LF at the start of the next one belongs to it.
    after_cr: bool,
    /// How much of a byte order mark has been seen; the mark's length once it is decided.
    bom: usize,
    skipped: u64,
}

/// What a line says (section 9.2.6).
enum Line<'a> {
    Blank,
    Data(&'a [u8]),
    Name(&'a [u8]),
    /// A comment, or a field that does not concern us.
    Other,
}

impl Decoder {
    /// Events that were passed over for their length.
    pub fn skipped(&self) -> u64 {
        self.skipped
    }

    /// Bytes of the unfinished event that it holds: they are read all at once when it ends.
    pub fn held_bytes(&self) -> usize {
        self.line.len() + self.data.len()
    }

    /// The next bytes of the stream. Each event that they complete goes to `sink`.
    pub fn push(&mut self, bytes: &[u8], mut sink: impl FnMut(Event<'_>)) {
        let mut rest = self.after_bom(bytes);
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
            if self.line.is_empty() {
                self.lent_line(part, &mut lent, &mut sink);
            } else {
                self.keep_line(part);
                self.kept_line(&mut sink);
            }
        }
        self.keep_data(&mut lent);
        self.keep_line(rest);
    }

    /// The stream has ended. An event without its blank line, which a browser would drop, still
    /// goes to `sink`; true if there was one.
    pub fn finish(&mut self, sink: impl FnMut(Event<'_>)) -> bool {
        if !self.line.is_empty() {
            self.kept_line(|_| {});
        }
        let unfinished = self.has_data && !self.over_long;
        self.dispatch(None, sink);
        unfinished
    }

    /// Strips a byte order mark, which may be cut anywhere.
    fn after_bom<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        let mut rest = bytes;
        while self.bom < BOM.len() {
            let Some((&first, tail)) = rest.split_first() else { break };
            if first == BOM[self.bom] {
                self.bom += 1;
                rest = tail;
            } else {
                self.line.extend_from_slice(&BOM[..self.bom]);
                self.bom = BOM.len();
            }
        }
        rest
    }

    /// A whole line that lies within the piece.
    fn lent_line<'a>(
        &mut self,
        line: &'a [u8],
        lent: &mut Option<&'a [u8]>,
        sink: &mut impl FnMut(Event<'_>),
    ) {
        let held = lent.map_or(0, <[u8]>::len);
        self.over_long |= self.too_long(held + line.len()) && line.first() != Some(&b':');
        match read_line(line) {
            Line::Blank => self.dispatch(lent.take(), sink),
            Line::Data(value) if !self.has_data => {
                *lent = Some(value);
                self.has_data = true;
            }
            Line::Data(value) => {
                self.keep_data(lent);
                self.add_data(value);
            }
            Line::Name(value) => self.set_name(value),
            Line::Other => {}
        }
    }

    /// The whole line in `self.line`.
    fn kept_line(&mut self, mut sink: impl FnMut(Event<'_>)) {
        let mut line = mem::take(&mut self.line);
        self.line_cut = false;
        match read_line(&line) {
            Line::Blank => self.dispatch(None, &mut sink),
            Line::Data(value) => self.add_data(value),
            Line::Name(value) => self.set_name(value),
            Line::Other => {}
        }
        line.clear();
        line.shrink_to(BUFFER_KEPT_BYTES_MAX);
        self.line = line;
    }

    /// Appends to the unfinished line, as long as the event is not too long.
    fn keep_line(&mut self, part: &[u8]) {
        if part.is_empty() || self.line_cut {
            return;
        }
        if self.too_long(self.line.len() + part.len()) {
            let first = self.line.first().copied().unwrap_or(part[0]);
            self.over_long |= first != b':';
            self.line_cut = true;
            self.line = vec![first];
        } else {
            self.line.extend_from_slice(part);
        }
    }

    fn keep_data(&mut self, lent: &mut Option<&[u8]>) {
        if let Some(value) = lent.take()
            && !self.over_long
        {
            self.data.extend_from_slice(value);
        }
    }

    fn add_data(&mut self, value: &[u8]) {
        if self.over_long {
            self.data = Vec::new();
            return;
        }
        if self.has_data {
            self.data.push(b'\n');
        }
        self.data.extend_from_slice(value);
        self.has_data = true;
    }

    fn set_name(&mut self, value: &[u8]) {
        self.name.clear();
        if !self.over_long {
            self.name.extend_from_slice(value);
        }
    }

    /// Would the event be too long with this many bytes more?
    fn too_long(&self, more_bytes: usize) -> bool {
        self.data.len() + self.name.len() + more_bytes > EVENT_BYTES_MAX
    }

    fn dispatch(&mut self, lent: Option<&[u8]>, mut sink: impl FnMut(Event<'_>)) {
        if self.over_long {
            self.skipped += 1;
        } else if self.has_data {
            sink(Event { name: &self.name, data: lent.unwrap_or(&self.data) });
        }
        self.data.clear();
        self.data.shrink_to(BUFFER_KEPT_BYTES_MAX);
        self.name.clear();
        self.name.shrink_to(BUFFER_KEPT_BYTES_MAX);
        self.has_data = false;
        self.over_long = false;
    }
}

fn read_line(line: &[u8]) -> Line<'_> {
    let (field, value) = match memchr::memchr(b':', line) {
        _ if line.is_empty() => return Line::Blank,
        Some(colon) => {
            let value = &line[colon + 1..];
            (&line[..colon], value.strip_prefix(b" ").unwrap_or(value))
        }
        None => (line, &b""[..]),
    };
    match field {
        b"data" => Line::Data(value),
        b"event" => Line::Name(value),
        _ => Line::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    type Owned = (Vec<u8>, Vec<u8>);

    /// All events of `pieces`, those that `finish` gives, and the number passed over.
    fn decode<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> (Vec<Owned>, Vec<Owned>, u64) {
        let (mut decoder, mut events, mut last) = (Decoder::default(), Vec::new(), Vec::new());
        for piece in pieces {
            decoder.push(piece, |event| events.push((event.name.to_vec(), event.data.to_vec())));
        }
        decoder.finish(|event| last.push((event.name.to_vec(), event.data.to_vec())));
        (events, last, decoder.skipped())
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
    fn an_over_long_event_is_passed_over_and_the_stream_goes_on() {
        let mut text = b"data: a\n\ndata: ".to_vec();
        text.resize(text.len() + EVENT_BYTES_MAX, b'x');
        text.extend_from_slice(b"\n\n:");
        text.resize(text.len() + EVENT_BYTES_MAX + 1, b'x');
        text.extend_from_slice(b"\ndata: b\n\n");
        for size in [text.len(), 1 << 20, 65_537] {
            let (events, last, skipped) = decode(text.chunks(size));
            let datas: Vec<_> = events.into_iter().map(|event| event.1).collect();
            assert_eq!((datas, last.len(), skipped), (vec![b"a".to_vec(), b"b".to_vec()], 0, 1));
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
        ) {
            let text = words.concat().into_bytes();
            let mut at: Vec<usize> = cuts.iter().map(|cut| cut.index(text.len() + 1)).collect();
            at.extend([0, text.len()]);
            at.sort_unstable();
            let whole = decode([text.as_slice()]);
            prop_assert_eq!(&whole, &decode(at.windows(2).map(|w| &text[w[0]..w[1]])));
            prop_assert_eq!(&whole, &decode(text.chunks(1)));
        }
    }
}
