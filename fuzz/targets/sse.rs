//! Any split of a stream gives the events of the whole, and these are the ones of the standard
//! (WHATWG HTML, 9.2), read here line by line.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tokenweir_fuzz::Cuts;
use tokenweir_fuzz::sse::Decoder;

type Event = (Vec<u8>, Vec<u8>);

fuzz_target!(|input: &[u8]| {
    let (mut cuts, stream) = Cuts::take(input);
    let expected = standard(stream);
    assert_eq!(decoded(&[stream]), expected);
    assert_eq!(decoded(&cuts.pieces(stream)), expected);
});

fn decoded(pieces: &[&[u8]]) -> (Vec<Event>, Option<Event>) {
    let (mut decoder, mut events, mut last) = (Decoder::default(), Vec::new(), None);
    for piece in pieces {
        decoder.push(piece, |event| events.push((event.name.to_vec(), event.data.to_vec())));
    }
    let unfinished = decoder.finish(|event| last = Some((event.name.to_vec(), event.data.to_vec())));
    assert_eq!(unfinished, last.is_some());
    assert_eq!(decoder.skipped(), 0);
    (events, last)
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
        (b"event", _) => *name = value.to_vec(),
        (b"data", Some(data)) => {
            data.push(b'\n');
            data.extend_from_slice(value);
        }
        (b"data", data) => *data = Some(value.to_vec()),
        _ => {}
    }
}
