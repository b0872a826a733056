//! Requests that do not wait for the answers before them, of any sizes, cut anywhere, answered at once or
//! as streams that are taken over from hyper: each is answered once, in order, with its own body, or
//! the connection ends before the first that is not. Nothing that stands in a body is ever a request.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tokenweir_fuzz::proxy::{Got, Reply, Script, run};

/// Requests of one connection.
const REQUESTS_MAX: usize = 40;

/// What fills bodies.
const HIDDEN: &[u8] = b"\r\n\r\nPOST /hidden HTTP/1.1\r\nHost: gw\r\nContent-Length: 0\r\n\r\n";

/// What a byte of an input stands for, as a piece that is read or written.
const SIZES: [usize; 8] = [0, 1, 7, 100, 512, 4_096, 9_000, usize::MAX];

/// Pieces of what is sent, roughly: a megabyte in single bytes takes seconds and shows nothing more.
const PIECES_MAX: usize = 500;

/// Chunks of a request's body, roughly.
const CHUNKS_MAX: usize = 30;

/// How a request is answered.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Kind {
    Plain,
    Empty,
    Burst,
    Stream,
    Head,
    Broken,
    LastPlain,
    LastStream,
}
use Kind::{Broken, Burst, Empty, Head, LastPlain, LastStream, Plain, Stream};

const KINDS: [Kind; 16] = [
    Stream, Stream, Stream, Stream, Plain, Plain, Plain, Burst, Burst, Burst, Empty, Empty, Head, Broken,
    LastPlain, LastStream,
];

#[derive(Debug)]
struct Ask {
    kind: Kind,
    target: String,
    body: Vec<u8>,
    waits: u8,
}

fuzz_target!(|input: &[u8]| {
    let Some((&[how, cuts @ ..], rest)) = input.split_first_chunk::<9>() else { return };
    let asks: Vec<(Ask, Vec<u8>)> = rest.chunks_exact(4).take(REQUESTS_MAX).enumerate().map(ask).collect();
    let sizes = |bytes: &[u8], least: usize| {
        let size = |byte: &u8| match SIZES[usize::from(byte % 8)] {
            0 => 0,
            size => size.max(least),
        };
        let mut sizes: Vec<usize> = bytes.iter().map(size).collect();
        sizes.push(9_000); // something moves
        sizes
    };
    let leaves = how & 1 != 0;
    let mut sends: Vec<u8> = asks.iter().flat_map(|(_, wire)| wire.iter().copied()).collect();
    if leaves {
        sends.truncate(sends.len() * usize::from(how) / 255); // anywhere
    }
    let least = sends.len() / PIECES_MAX;
    let script = Script { sends, pieces: sizes(&cuts[..4], least), takes: sizes(&cuts[4..], 0), leaves };
    let asks: Vec<Ask> = asks.into_iter().map(|(ask, _)| ask).collect();
    let last = asks.iter().position(|ask| matches!(ask.kind, Broken | LastPlain | LastStream));
    let wanted = last.map_or(asks.len(), |last| last + 1);

    let reply = |got: &Got| {
        let ask = asks.iter().find(|ask| ask.target == got.target).expect("a request that nobody sent");
        ask.reply()
    };
    // Without end it waits for the next request; a broken stream ends by itself.
    let is_whole = |got: &[Got], answered: &[u8]| {
        got.len() == asks.len() && whole_answers(&asks, answered) == asks.len()
    };
    let outcome = run(&script, reply, is_whole);

    assert!(outcome.ended, "nothing moves: {} of {wanted} requests came", outcome.got.len());
    assert!(outcome.got.len() <= wanted, "requests behind the last");
    for (got, ask) in outcome.got.iter().zip(&asks) {
        assert_eq!(got.target, ask.target, "not in order");
        match &got.body {
            Some(body) => assert!(*body == ask.body, "{}: another body", ask.target),
            None => assert!(leaves, "{}: a body broke off", ask.target),
        }
    }
    let answered = whole_answers(&asks[..outcome.got.len()], &outcome.answered);
    if !leaves {
        assert_eq!(outcome.got.len(), wanted);
        assert_eq!(answered, wanted - usize::from(last.is_some_and(|last| asks[last].kind == Broken)));
    }
});

/// A request, and its bytes on the wire. Four bytes of an input say what it is.
fn ask((n, bytes): (usize, &[u8])) -> (Ask, Vec<u8>) {
    let kind = KINDS[usize::from(bytes[0] % 16)];
    let (chunked, padded) = (bytes[0] & 16 != 0, bytes[0] & 32 != 0);
    let body_bytes = match kind {
        Head => 0,
        _ => usize::from(u16::from_be_bytes([bytes[1], bytes[2]])) >> (bytes[3] % 8),
    };
    let mut body = HIDDEN.repeat(1 + body_bytes / HIDDEN.len());
    body.truncate(body_bytes);
    let method = if kind == Head { "HEAD" } else { "POST" };
    let target = format!("{method} /{n}");
    let mut wire = format!("{target} HTTP/1.1\r\nHost: gw\r\n").into_bytes();
    if padded {
        wire.extend(format!("x-pad: {}\r\n", "p".repeat(usize::from(bytes[2]) * 16)).into_bytes());
    }
    match (kind, chunked) {
        (Head, _) => wire.extend(b"\r\n"),
        (_, false) => {
            wire.extend([format!("Content-Length: {}\r\n\r\n", body.len()).as_bytes(), &body].concat())
        }
        (_, true) => {
            wire.extend(b"Transfer-Encoding: chunked\r\n\r\n");
            for chunk in body.chunks(1 + (usize::from(bytes[3]) * 40).max(body.len() / CHUNKS_MAX)) {
                wire.extend([format!("{:x}\r\n", chunk.len()).as_bytes(), chunk, b"\r\n"].concat());
            }
            wire.extend(b"0\r\n\r\n");
        }
    }
    (Ask { kind, target, body, waits: 1 + bytes[3] / 16 }, wire)
}

impl Ask {
    fn reply(&self) -> Reply {
        let data = |what: &str| format!("data: {what} of {}\n\n", self.target).into_bytes();
        let (sized, frames) = match self.kind {
            Plain | LastPlain | Head => (true, vec![(0, data("all"))]),
            Empty => (true, Vec::new()),
            Burst => (false, vec![(0, data("all"))]),
            Stream | Broken | LastStream => (false, vec![(0, data("some")), (self.waits, data("rest"))]),
        };
        Reply {
            status: if self.kind == Empty { 204 } else { 200 },
            frames,
            sized,
            breaks: self.kind == Broken,
            closes: matches!(self.kind, LastPlain | LastStream),
        }
    }

    /// What the caller gets as the body.
    fn body(&self) -> Vec<u8> {
        if self.kind == Head {
            return Vec::new();
        }
        self.reply().frames.into_iter().flat_map(|(_, data)| data).collect()
    }
}

/// How many of these requests have their whole answers, one behind the other. What stands there of others is
/// an error, or the beginning of the next.
fn whole_answers(asks: &[Ask], mut bytes: &[u8]) -> usize {
    for (n, ask) in asks.iter().enumerate() {
        let Some((body, rest)) = answer(bytes, ask.kind == Head) else {
            assert!(ask.kind != Broken || n + 1 == asks.len() || bytes.is_empty());
            return n;
        };
        assert!(body == ask.body(), "{:?} got {:?}", ask.target, String::from_utf8_lossy(&body));
        bytes = rest;
    }
    assert!(bytes.is_empty(), "answers that nobody asked for: {:?}", String::from_utf8_lossy(bytes));
    asks.len()
}

/// The body of the first answer, and what follows it; `None` if it is not whole.
fn answer(bytes: &[u8], bodiless: bool) -> Option<(Vec<u8>, &[u8])> {
    let head_bytes = bytes.windows(4).position(|end| end == b"\r\n\r\n")? + 4;
    let (head, mut rest) = bytes.split_at(head_bytes);
    let head = std::str::from_utf8(head).expect("a head").to_ascii_lowercase();
    assert!(head.starts_with("http/1.1 200") || head.starts_with("http/1.1 204"), "{head}");
    if bodiless || head.starts_with("http/1.1 204") {
        return Some((Vec::new(), rest));
    }
    if let Some((_, length)) = head.split_once("content-length: ") {
        let length = length.lines().next()?.parse().expect("a length");
        return rest.split_at_checked(length).map(|(body, rest)| (body.to_vec(), rest));
    }
    assert!(head.contains("transfer-encoding: chunked"), "{head}");
    let mut body = Vec::new();
    loop {
        let line = rest.windows(2).position(|end| end == b"\r\n")?;
        let size =
            usize::from_str_radix(std::str::from_utf8(&rest[..line]).expect("a size"), 16).expect("a size");
        let (chunk, behind) = rest[line + 2..].split_at_checked(size)?;
        rest = match behind.split_at_checked(2)? {
            (b"\r\n", rest) => rest,
            (other, _) => panic!("a chunk ends with {other:?}"),
        };
        if size == 0 {
            return Some((body, rest));
        }
        body.extend_from_slice(chunk);
    }
}
