//! Calls of every kind: what is sent and what comes back depends on the call's name alone, so that whatever is read of
//! it, by whomever, can be held against the truth.

use std::io::{self, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::Arc;
use std::thread::sleep;
use std::time::Duration;

use super::support::codings::in_pieces;
use super::support::fake_service::{delta, start, stop, write_chunk, write_end};
use super::support::http::Message;
use super::support::random::Random;

/// The field that names a call.
pub(crate) const NAME: &str = "x-ms-client-request-id";

/// The kinds of calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Events, some milliseconds apart.
    Stream,
    /// The same, under a content coding, each flushed.
    CodedStream,
    /// A document.
    Whole,
    /// A prompt of up to two megabytes that cannot be compressed.
    LargeRequest,
    /// A document of some megabytes.
    LargeResponse,
    /// A stream whose caller leaves half-way.
    HangUp,
    /// A stream that the service breaks off half-way.
    Cut,
}

pub(crate) const KINDS: [Kind; 7] = [
    Kind::Stream,
    Kind::CodedStream,
    Kind::Whole,
    Kind::LargeRequest,
    Kind::LargeResponse,
    Kind::HangUp,
    Kind::Cut,
];

/// Those of some kilobytes.
pub(crate) const SMALL_KINDS: [Kind; 5] =
    [Kind::Stream, Kind::CodedStream, Kind::Whole, Kind::HangUp, Kind::Cut];

/// A call, as its name makes it.
pub(crate) struct Call {
    pub(crate) name: String,
    pub(crate) kind: Kind,
    pub(crate) request: Vec<u8>,
    pub(crate) coding: &'static str,
    /// The response of the service, piece by piece.
    pub(crate) pieces: Vec<Vec<u8>>,
    pub(crate) pause: Duration,
}

impl Call {
    /// A name for a call of a kind.
    pub(crate) fn name(kind: Kind, seed: u64) -> String {
        let number = KINDS.iter().position(|known| *known == kind).unwrap();
        format!("call-{number}-{seed}")
    }

    /// The call that has this name.
    pub(crate) fn of(name: &str) -> Call {
        let mut words = name.split('-').skip(1).map(|word| word.parse::<u64>().unwrap());
        let (kind, seed) = (KINDS[words.next().unwrap() as usize], words.next().unwrap());
        let mut random = Random::seeded(seed.wrapping_mul(31));
        let streams = !matches!(kind, Kind::Whole | Kind::LargeRequest | Kind::LargeResponse);
        let prompt = match kind {
            Kind::LargeRequest => noise(&mut random, 300_000, 2_000_000),
            _ => noise(&mut random, 10, 4_000),
        };
        let request =
            format!(r#"{{"stream":{streams},"messages":[{{"role":"user","content":"{prompt}"}}]}}"#);
        let coding =
            if kind == Kind::CodedStream { ["gzip", "deflate", "zstd", "br"][random.below(4)] } else { "" };
        let pieces = match kind {
            Kind::Whole | Kind::LargeRequest => vec![document(&noise(&mut random, 10, 60_000))],
            Kind::LargeResponse => vec![document(&noise(&mut random, 1_000_000, 3_000_000))],
            _ => events(&mut random, coding),
        };
        Call {
            name: name.to_owned(),
            kind,
            request: request.into_bytes(),
            coding,
            pieces,
            pause: random.time(Duration::ZERO, Duration::from_millis(6)),
        }
    }

    /// All that the service would send.
    pub(crate) fn response(&self) -> Vec<u8> {
        self.pieces.concat()
    }

    /// The pieces after which a stream is broken off.
    pub(crate) fn half(&self) -> usize {
        self.pieces.len() / 2
    }
}

/// Letters that nothing compresses much.
fn noise(random: &mut Random, from: u64, to: u64) -> String {
    const LETTERS: &[u8; 64] = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+/";
    let letters = random.between(from, to);
    let mut text = String::with_capacity(letters as usize + 10);
    while (text.len() as u64) < letters {
        let bits = random.next();
        text.extend((0..10).map(|n| char::from(LETTERS[(bits >> (6 * n) & 63) as usize])));
    }
    text
}

fn document(text: &str) -> Vec<u8> {
    format!(
        r#"{{"id":"chatcmpl-x","object":"chat.completion","created":1,"model":"gpt-4o-2024-11-20","choices":[{{"index":0,"message":{{"role":"assistant","content":"{text}"}},"finish_reason":"stop"}}],"usage":{{"prompt_tokens":9,"completion_tokens":4,"total_tokens":13}}}}"#
    )
    .into_bytes()
}

fn events(random: &mut Random, coding: &str) -> Vec<Vec<u8>> {
    let count = random.between(4, 120);
    let mut plain: Vec<String> = (0..count).map(|_| delta(&noise(random, 1, 40))).collect();
    plain.push(stop());
    if coding.is_empty() {
        return plain.into_iter().map(String::into_bytes).collect();
    }
    let views: Vec<&[u8]> = plain.iter().map(String::as_bytes).collect();
    // Where the pieces of a coded stream end is of no matter: any cut will do.
    let coded = in_pieces(coding, &views);
    let step = (coded.len() / views.len()).max(1);
    coded.chunks(step).map(<[u8]>::to_vec).collect()
}

/// A service that answers each call as its name says.
pub(crate) fn service() -> SocketAddr {
    start(Arc::new(answer))
}

fn answer(request: &Message, to: &mut TcpStream) -> io::Result<()> {
    let call = Call::of(request.field(NAME).unwrap());
    assert!(request.body == call.request, "{}: the service got other bytes than were sent", call.name);
    if let [whole] = &call.pieces[..] {
        write!(
            to,
            "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
            whole.len()
        )?;
        return to.write_all(whole);
    }
    to.write_all(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n")?;
    if !call.coding.is_empty() {
        write!(to, "Content-Encoding: {}\r\n", call.coding)?;
    }
    to.write_all(b"\r\n")?;
    for (n, piece) in call.pieces.iter().enumerate() {
        if call.kind == Kind::Cut && n == call.half() {
            return to.shutdown(Shutdown::Both);
        }
        write_chunk(to, piece)?;
        sleep(call.pause);
    }
    write_end(to)
}
