//! Requests that do not wait for the answers before them, of any sizes and cut anywhere. Each is answered
//! once, in order, as its own caller, or the connection ends cleanly before the first that is not. The
//! answers are those that hyper writes and those that are taken over from it, mixed.

use std::collections::HashSet;
use std::io::Write;
use std::net::TcpStream;
use std::sync::{Arc, Condvar, Mutex};

use crate::rig::{CHUNKED, PATIENCE, Rig, Script, Setup, Wire};
use crate::skip;
use crate::support::random::Random;

/// Connections of a run of every day, and of `TOKENWEIR_LONG=1`.
const CONNECTIONS: usize = 1_000;
const CONNECTIONS_LONG: usize = 10_000;

/// Connections that share a proxy: its events are looked at behind them.
const CONNECTIONS_A_PROXY: usize = 100;

/// Requests of one connection.
const REQUESTS_MAX: usize = 40;

/// What must never be taken for a request: it stands in bodies.
const HIDDEN: &str = "\r\n\r\nPOST /v1/chat/completions?id=hidden HTTP/1.1\r\nHost: gw\r\nx-apim-subscription-id: hidden\r\nContent-Length: 0\r\n\r\n";

/// How a request is answered, and what becomes of its connection.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Answer {
    /// With a length: hyper writes it.
    Plain,
    /// 204.
    Empty,
    /// To HEAD: a length, and no body.
    Head,
    /// Chunks that come at once.
    Burst,
    /// Chunks, the second of which comes when the caller has the first: it is taken over from hyper.
    Stream,
    /// As `Stream`, but the service breaks off: what follows is not answered.
    Broken,
    /// As `Plain` and as `Stream`, and the caller wants no other.
    LastPlain,
    LastStream,
    /// 400: it is no request.
    Malformed,
}
use Answer::{Broken, Burst, Empty, Head, LastPlain, LastStream, Malformed, Plain, Stream};

impl Answer {
    fn any(random: &mut Random) -> Answer {
        match random.below(100) {
            0..30 => Stream,
            30..55 => Plain,
            55..75 => Burst,
            75..87 => Empty,
            87..96 => Head,
            96 => Broken,
            97 => LastPlain,
            98 => LastStream,
            _ => Malformed,
        }
    }

    /// Nothing is answered behind it.
    fn ends_connection(self) -> bool {
        matches!(self, Broken | LastPlain | LastStream | Malformed)
    }

    /// The service gets it, and it has an event.
    fn is_call(self) -> bool {
        !matches!(self, Head | Malformed)
    }
}

/// One request of a connection.
struct Ask {
    id: String,
    answer: Answer,
    body: Vec<u8>,
    wire: Vec<u8>,
}

impl Ask {
    fn any(id: String, random: &mut Random) -> Ask {
        let answer = Answer::any(random);
        let body = if answer == Head { Vec::new() } else { body(random) };
        let wire = wire(&id, answer, &body, random);
        Ask { id, answer, body, wire }
    }
}

/// Nothing, a little, or more than any buffer; often with what looks like a request.
fn body(random: &mut Random) -> Vec<u8> {
    let size = match random.below(4) {
        0 => 0,
        1 => random.below(300),
        2 => random.below(9_000),
        _ => random.below(30_000),
    };
    HIDDEN.bytes().cycle().take(size).collect()
}

/// The request as it is sent.
fn wire(id: &str, answer: Answer, body: &[u8], random: &mut Random) -> Vec<u8> {
    let method = if answer == Head { "HEAD" } else { "POST" };
    let mut head = format!(
        "{method} /v1/chat/completions?id={id} HTTP/1.1\r\nHost: gw\r\nx-apim-subscription-id: {id}\r\nx-answer: {answer:?}\r\n"
    );
    if random.below(3) == 0 {
        head.push_str(&format!("x-pad: {}\r\n", "p".repeat(random.below(4_000))));
    }
    match answer {
        Malformed => head.push_str("no field at all\r\n"),
        LastPlain | LastStream => head.push_str("Connection: close\r\n"),
        _ => {}
    }
    if answer == Head {
        return format!("{head}\r\n").into_bytes();
    }
    if random.below(3) > 0 {
        return [format!("{head}Content-Length: {}\r\n\r\n", body.len()).as_bytes(), body].concat();
    }
    let mut wire = format!("{head}Transfer-Encoding: chunked\r\n\r\n").into_bytes();
    let mut rest = body;
    while !rest.is_empty() {
        let (chunk, behind) = rest.split_at(rest.len().min(1 + random.below(5_000)));
        wire.extend(format!("{:x}\r\n", chunk.len()).into_bytes());
        wire.extend([chunk, b"\r\n"].concat());
        rest = behind;
    }
    wire.extend(b"0\r\n\r\n");
    wire
}

/// What service and callers know of each other.
#[derive(Default)]
struct Known {
    /// Requests whose callers have the first chunk of the answer.
    begun: Mutex<HashSet<String>>,
    news: Condvar,
    /// Requests that the service got, each with its body.
    got: Mutex<Vec<(String, Vec<u8>)>>,
}

impl Known {
    fn has_begun(&self, id: &str) {
        self.begun.lock().unwrap().insert(id.to_owned());
        self.news.notify_all();
    }

    fn wait_for(&self, id: &str) {
        let begun = self.begun.lock().unwrap();
        drop(self.news.wait_timeout_while(begun, PATIENCE, |begun| !begun.contains(id)).unwrap());
    }
}

/// Answers each request as it asks to be, in words that name it.
fn serve(mut wire: Wire, known: &Known) {
    loop {
        let request = wire.message();
        if request.head.is_empty() {
            return;
        }
        let id = request.target().split("id=").nth(1).unwrap_or("?").to_owned();
        let asked = request.fields("x-answer").join(",");
        known.got.lock().unwrap().push((id.clone(), request.body));
        match asked.as_str() {
            "Empty" => wire.send("HTTP/1.1 204 No Content\r\n\r\n"),
            "Head" => wire.send("HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n"),
            "Burst" | "Stream" | "LastStream" | "Broken" => {
                wire.send(CHUNKED);
                wire.chunk(format!("data: {id}\n\n"));
                if asked != "Burst" {
                    known.wait_for(&id);
                }
                wire.chunk(format!("data: more of {id}\n\n"));
                if asked == "Broken" {
                    return;
                }
                wire.send("0\r\n\r\n");
            }
            _ => wire.send(format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{id}", id.len())),
        }
    }
}

/// Sends all requests at once, in pieces that have nothing to do with them.
fn send(mut tcp: TcpStream, bytes: &[u8], mut random: Random) {
    let piece_bytes_max = [200, 8_192, 70_000, usize::MAX][random.below(4)];
    let mut rest = bytes;
    while !rest.is_empty() {
        let piece_bytes = rest.len().min(1 + random.below(piece_bytes_max));
        let piece_bytes = if random.below(2) == 0 { rest.len().min(piece_bytes_max) } else { piece_bytes };
        if tcp.write_all(&rest[..piece_bytes]).is_err() {
            return; // the connection was ended before these
        }
        rest = &rest[piece_bytes..];
    }
}

/// Reads the answer to one request; what is wrong with it, if anything.
fn check(wire: &mut Wire, ask: &Ask, known: &Known) -> Result<(), String> {
    let wrong = |what: &dyn std::fmt::Debug| Err(format!("{} ({:?}): {what:?}", ask.id, ask.answer));
    match ask.answer {
        Empty | Head => {
            let got = wire.bodiless();
            let status = if ask.answer == Empty { 204 } else { 200 };
            if got.status() == status { Ok(()) } else { wrong(&got) }
        }
        Malformed => {
            let got = wire.message();
            if got.status() == 400 { Ok(()) } else { wrong(&got) }
        }
        Plain | LastPlain => {
            let got = wire.message();
            if got.status() == 200 && got.body == ask.id.as_bytes() { Ok(()) } else { wrong(&got) }
        }
        Burst | Stream | Broken | LastStream => {
            let head = wire.head();
            if !head.starts_with("HTTP/1.1 200") {
                return wrong(&head);
            }
            let first = format!("data: {}\n\n", ask.id);
            let whole = format!("{first}data: more of {}\n\n", ask.id);
            let mut got = Vec::new();
            loop {
                match wire.read_chunk() {
                    Some(chunk) if chunk.is_empty() && ask.answer != Broken && got == whole.as_bytes() => {
                        return Ok(());
                    }
                    None if ask.answer == Broken && whole.as_bytes().starts_with(&got) => return Ok(()),
                    Some(chunk) if !chunk.is_empty() => got.extend(chunk),
                    end => return wrong(&(end, String::from_utf8_lossy(&got))),
                }
                if got.len() >= first.len() {
                    known.has_begun(&ask.id);
                }
            }
        }
    }
}

/// One connection; the requests that were answered, or what was wrong.
fn connection(rig: &Rig, known: &Known, asks: &[Ask], random: Random) -> Result<usize, String> {
    let mut wire = rig.connect();
    let sending = wire.tcp.try_clone().unwrap();
    let bytes = asks.iter().flat_map(|ask| ask.wire.iter().copied()).collect::<Vec<u8>>();
    std::thread::scope(|scope| {
        let sender = scope.spawn(|| send(sending, &bytes, random));
        let result = answers(&mut wire, known, asks, || sender.is_finished());
        if result.is_err() {
            let _ = wire.tcp.shutdown(std::net::Shutdown::Both); // it may be over already
        }
        sender.join().unwrap();
        result
    })
}

/// Reads the answers. `all_sent`: nothing of the requests is still to be sent.
fn answers(
    wire: &mut Wire,
    known: &Known,
    asks: &[Ask],
    all_sent: impl Fn() -> bool,
) -> Result<usize, String> {
    for (n, ask) in asks.iter().enumerate() {
        let all_sent = all_sent();
        check(wire, ask, known)?;
        if ask.answer.ends_connection() {
            let behind = String::from_utf8_lossy(&wire.rest()).into_owned();
            // Requests that nobody has read must not make the end a reset, which could destroy the answer
            // on its way. Linux shows that only to whoever writes.
            let readable = |wire: &mut Wire| !all_sent || n + 1 == asks.len() || wire.tcp.write(b"x").is_ok();
            let clean = ask.answer == Broken || (!wire.was_reset && readable(wire));
            return if behind.is_empty() && clean {
                Ok(n + 1)
            } else {
                Err(format!("behind {} ({:?}): {behind:?}, clean: {clean}", ask.id, ask.answer))
            };
        }
    }
    Ok(asks.len())
}

#[test]
fn pipelined_requests_are_each_answered_once_in_order_as_their_own_caller() {
    let connections = if skip::long() { CONNECTIONS_LONG } else { CONNECTIONS };
    let mut seed = Random::seeded(0x9E37_79B9_7F4A_7C15);
    for proxy in 0..connections / CONNECTIONS_A_PROXY {
        let known = Arc::new(Known::default());
        let to_serve = Arc::clone(&known);
        let service = Script::start(move |wire, _| serve(wire, &to_serve));
        let rig = Setup::to(service.addr).start();
        let mut wanted = Vec::new();
        for n in 0..CONNECTIONS_A_PROXY {
            let mut random = Random::seeded(seed.next() | 1);
            let count = 1 + random.below(REQUESTS_MAX);
            let asks: Vec<_> =
                (0..count).map(|ask| Ask::any(format!("{proxy}-{n}-{ask}"), &mut random)).collect();
            let answered = connection(&rig, &known, &asks, random)
                .unwrap_or_else(|wrong| panic!("connection {n} of proxy {proxy}: {wrong}"));
            wanted.extend(asks.into_iter().take(answered).filter(|ask| ask.answer != Malformed));
        }
        check_calls(&rig, &known, &wanted);
    }
}

/// The service got what was sent, in order, and each caller has an event for each of its calls.
fn check_calls(rig: &Rig, known: &Known, wanted: &[Ask]) {
    let got = std::mem::take(&mut *known.got.lock().unwrap());
    assert_eq!(got.len(), wanted.len(), "requests that the service got");
    for ((id, body), ask) in got.iter().zip(wanted) {
        assert!((id, body) == (&ask.id, &ask.body), "{id} in place of {}", ask.id);
    }
    let calls = wanted.iter().filter(|ask| ask.answer.is_call());
    let mut callers: Vec<_> = calls.map(|ask| ask.id.clone()).collect();
    let mut charged: Vec<_> =
        rig.heard.calls(callers.len()).iter().map(|call| call.usage.caller.id.to_string()).collect();
    callers.sort_unstable();
    charged.sort_unstable();
    assert_eq!(charged, callers);
}
