//! Any split of a stream gives the events of the whole, and these are the ones of the standard
//! (WHATWG HTML, 9.2), read here line by line. A bound says how they are shown, not what they are: whole, or
//! in parts; and a decoder that lets go of what it holds, wherever that is, shows the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use metering::sse::{self, Decoder, Sink};
use tokenweir_fuzz::Cuts;

type Event = (Vec<u8>, Vec<u8>);

/// Names are longer than that nowhere; what is longer is cut.
const NAME_BYTES_MAX: usize = 256;

fuzz_target!(|input: &[u8]| {
    let (mut cuts, stream) = Cuts::take(input);
    let expected = standard(stream);
    let pieces = cuts.pieces(stream);
    assert_eq!(decoded(Decoder::default(), &[stream], usize::MAX), expected);
    assert_eq!(decoded(Decoder::default(), &pieces, usize::MAX), expected);
    let bound = usize::from(input.first().copied().unwrap_or(0) % 32);
    assert_eq!(decoded(Decoder::holding(bound), &[stream], usize::MAX), expected);
    assert_eq!(decoded(Decoder::holding(bound), &pieces, usize::MAX), expected);
    assert_eq!(decoded(Decoder::default(), &pieces, bound), expected);
});

/// Takes the events that a decoder shows, and puts the parts of long ones together.
#[derive(Default)]
struct Log {
    events: Vec<Event>,
    parts: Vec<u8>,
}

impl Sink for Log {
    fn event(&mut self, event: sse::Event<'_>) {
        assert!(event.data.starts_with(&std::mem::take(&mut self.parts)));
        self.events.push((event.name.to_vec(), event.data.to_vec()));
    }
    fn part(&mut self, data: &[u8]) {
        self.parts.extend_from_slice(data);
    }
    fn end_of_parts(&mut self, name: &[u8]) {
        self.events.push((name.to_vec(), std::mem::take(&mut self.parts)));
    }
}

/// Before the piece `let_go`, the decoder lets go of what it holds.
fn decoded(mut decoder: Decoder, pieces: &[&[u8]], let_go: usize) -> (Vec<Event>, Option<Event>) {
    let mut log = Log::default();
    for (nth, piece) in pieces.iter().enumerate() {
        if nth == let_go {
            decoder = decoder.holding_nothing(&mut log);
        }
        decoder.push(piece, &mut log);
    }
    let events = std::mem::take(&mut log.events);
    let unfinished = decoder.finish(&mut log);
    assert_eq!(unfinished, !log.events.is_empty());
    (events, log.events.pop())
}

/// The events, and the one that the end of the stream leaves without its blank line.
fn standard(stream: &[u8]) -> (Vec<Event>, Option<Event>) {
    let stream = stream.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(stream);
    let mut lines: Vec<Vec<u8>> = vec![Vec::new()];
    let mut bytes = stream.iter().peekable();
    while let Some(&byte) = bytes.next() {
        match byte {
            b'\r' => {
                bytes.next_if(|next| **next == b'\n');
                lines.push(Vec::new());
            }
            b'\n' => lines.push(Vec::new()),
            byte => lines.last_mut().unwrap().push(byte),
        }
    }
    let last_line = lines.pop().unwrap();
    let (mut events, mut name, mut data) = (Vec::new(), Vec::new(), None::<Vec<u8>>);
    for line in &lines {
        if line.is_empty() {
            let name = std::mem::take(&mut name);
            events.extend(data.take().map(|data| (name, data)));
        } else {
            field(line, &mut name, &mut data);
        }
    }
    if !last_line.is_empty() {
        field(&last_line, &mut name, &mut data);
    }
    (events, data.map(|data| (name, data)))
}

fn field(line: &[u8], name: &mut Vec<u8>, data: &mut Option<Vec<u8>>) {
    let colon = line.iter().position(|byte| *byte == b':').unwrap_or(line.len());
    let value = line.get(colon + 1..).unwrap_or(b"");
    let value = value.strip_prefix(b" ").unwrap_or(value);
    match (&line[..colon], data) {
        (b"event", _) => *name = value[..value.len().min(NAME_BYTES_MAX)].to_vec(),
        (b"data", Some(data)) => {
            data.push(b'\n');
            data.extend_from_slice(value);
        }
        (b"data", data) => *data = Some(value.to_vec()),
        _ => {}
    }
}
