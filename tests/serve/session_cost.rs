//! The CPU time that a message of audio costs in a WebSocket session that is read, beside one in a tunnel that is not.
//!
//! Two sidecars take turns message by message, each first in half of them, so that both see the same machine. Each message goes through alone: it
//! costs a wake-up, a read and a write, as at 50 messages a second.

use std::fmt::{self, Display, Formatter};
use std::io::{BufReader, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use flate2::{Compress, Compression, FlushCompress};
use serde_json::{Value, json};

use super::cpu::{Process, RunTime};
use super::http::{connect, read_head};
use super::random::Random;
use super::sidecar::{Sidecar, usage_events};
use super::support::websocket::{CLOSE, MASKED_CLOSE};
use super::{skip, upstream};

/// The goal (all threads, median of rounds).
const MORE_US_MAX: f64 = 2.0;

/// Sessions of each sidecar.
const SESSIONS: usize = 20;
/// Messages of each session in a second, one way at a time.
const MESSAGES_PER_S: usize = 50;
/// Characters of audio in a message.
const AUDIO_CHARS: usize = 4_000;

/// Rounds that are judged, and messages of each session in one.
const ROUNDS: usize = 9;
const ROUND_MESSAGES: usize = 50;
/// The same of a run that only shows that all works.
const TRIAL: (usize, usize) = (1, 3);

const CREATED: &str = r#"{"type":"response.created","response":{"id":"r","status":"in_progress"}}"#;
const DONE: &str = r#"{"type":"response.done","response":{"id":"r","status":"completed","usage":{"input_tokens":7,"output_tokens":3}}}"#;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    /// From the service to the caller.
    Down,
    Up,
}

/// Messages of one side as they go over the wire, in the order in which each session sends them.
struct Messages {
    masked: bool,
    coder: Option<Compress>,
}

impl Messages {
    fn new(way: Way, deflate: bool) -> Messages {
        Messages { masked: way == Way::Up, coder: deflate.then(|| Compress::new(Compression::fast(), false)) }
    }

    fn frame(&mut self, text: &str) -> Vec<u8> {
        let (first, payload) = match &mut self.coder {
            None => (0x81, text.as_bytes().to_vec()),
            Some(coder) => {
                let mut out = Vec::with_capacity(text.len() + 100);
                coder.compress_vec(text.as_bytes(), &mut out, FlushCompress::Sync).unwrap();
                out.truncate(out.len() - 4);
                (0xc1, out)
            }
        };
        let (mask, key) = if self.masked { (0x80, [0x37, 0xfa, 0x21, 0x3d]) } else { (0, [0; 4]) };
        let mut frame = match u8::try_from(payload.len()) {
            Ok(short) if short < 126 => vec![first, mask | short],
            _ => {
                let length = u16::try_from(payload.len()).unwrap().to_be_bytes();
                [&[first, mask | 126][..], &length].concat()
            }
        };
        if self.masked {
            frame.extend(key);
        }
        frame.extend(payload.iter().zip(key.iter().cycle()).map(|(byte, key)| byte ^ key));
        frame
    }

    /// Audio that differs from message to message, as its compression needs.
    fn audio(&mut self, random: &mut Random) -> Vec<u8> {
        let sound: Vec<u8> = (0..AUDIO_CHARS / 4 * 3).map(|_| random.below(256) as u8).collect();
        let sound = STANDARD.encode(sound);
        self.frame(&if self.masked {
            format!(r#"{{"event_id":"event_1","type":"input_audio_buffer.append","audio":"{sound}"}}"#)
        } else {
            format!(
                r#"{{"event_id":"event_B2uoU7VOt6AAITsPRPJ9n","type":"response.output_audio.delta","response_id":"r","item_id":"item_1","output_index":0,"content_index":0,"delta":"{sound}"}}"#
            )
        })
    }
}

/// Both ends of a session.
struct Ends {
    caller: TcpStream,
    service: TcpStream,
}

impl Ends {
    fn pass(&mut self, way: Way, bytes: &[u8], room: &mut Vec<u8>) {
        let (from, to) = match way {
            Way::Down => (&mut self.service, &mut self.caller),
            Way::Up => (&mut self.caller, &mut self.service),
        };
        from.write_all(bytes).unwrap();
        room.resize(bytes.len(), 0);
        to.read_exact(room).unwrap();
        assert!(room == bytes, "the bytes are the same");
    }
}

/// A sidecar and its sessions.
struct Side {
    sidecar: Sidecar,
    ledger: tempfile::TempDir,
    sessions: Vec<Ends>,
}

impl Side {
    fn start(target: &str, deflate: bool) -> Side {
        let extension = if deflate { "Sec-WebSocket-Extensions: permessage-deflate\r\n" } else { "" };
        let head = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n";
        let (tell, told) = channel();
        let service = upstream::start(Arc::new(move |_, socket| {
            socket.write_all(format!("{head}{extension}\r\n").as_bytes())?;
            tell.send(socket.try_clone()?).unwrap();
            Err(std::io::ErrorKind::ConnectionAborted.into()) // from here on the test plays it
        }));
        let ledger = tempfile::tempdir().unwrap();
        let sidecar = Sidecar::start(service, &ledger.path().join("ledger"), &[]);
        let sessions = (0..SESSIONS).map(|_| open(&sidecar, target, &told)).collect();
        Side { sidecar, ledger, sessions }
    }

    fn run_time(&self) -> RunTime {
        Process::tree(self.sidecar.pid()).run_time()
    }

    fn stop(mut self) -> Vec<Value> {
        for ends in &mut self.sessions {
            let mut room = Vec::new();
            ends.pass(Way::Up, MASKED_CLOSE, &mut room);
            ends.pass(Way::Down, CLOSE, &mut room);
        }
        self.sessions.clear();
        assert_eq!(self.sidecar.stop().0, Some(0));
        usage_events(&self.ledger.path().join("ledger"))
    }
}

fn open(sidecar: &Sidecar, target: &str, told: &Receiver<TcpStream>) -> Ends {
    let mut wire: BufReader<TcpStream> = connect(sidecar.addr);
    let request = format!(
        "GET {target} HTTP/1.1\r\nHost: gateway\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
         Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    );
    wire.get_mut().write_all(request.as_bytes()).unwrap();
    assert_eq!(read_head(&mut wire).unwrap().unwrap().status(), 101);
    let (caller, service) = (wire.into_inner(), told.recv().unwrap());
    caller.set_nodelay(true).unwrap();
    Ends { caller, service }
}

/// Microseconds of each message.
#[derive(Clone, Copy, Debug)]
struct Cost {
    all_us: f64,
    network_us: f64,
}

impl Cost {
    fn of(time: RunTime, messages: usize) -> Cost {
        let us = |ns: u64| ns as f64 / 1e3 / messages as f64;
        Cost { all_us: us(time.all_ns), network_us: us(time.network_ns) }
    }
}

impl Display for Cost {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "{:.2} us ({:.2} of them of network threads)", self.all_us, self.network_us)
    }
}

/// The cost of a message in a tunnel, and how much more it is in a session.
struct Round {
    tunnel: Cost,
    more: Cost,
}

/// Shows both sidecars the same messages, in turn.
fn round(way: Way, messages: &[Vec<u8>], tunnel: &mut Side, session: &mut Side) -> Round {
    let (before, mut room) = ([tunnel.run_time(), session.run_time()], Vec::new());
    let mut due = Instant::now();
    for (turn, message) in messages.iter().enumerate() {
        for at in 0..SESSIONS {
            let mut pass = |side: &mut Side| side.sessions[at].pass(way, message, &mut room);
            // Who comes second finds the kernel's way warm.
            if (turn + at) % 2 == 0 {
                pass(tunnel);
                pass(session);
            } else {
                pass(session);
                pass(tunnel);
            }
        }
        due += Duration::from_secs(1) / MESSAGES_PER_S as u32;
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
    }
    let cost = |side: &Side, before| Cost::of(side.run_time() - before, messages.len() * SESSIONS);
    let (tunnel, session) = (cost(tunnel, before[0]), cost(session, before[1]));
    let more =
        Cost { all_us: session.all_us - tunnel.all_us, network_us: session.network_us - tunnel.network_us };
    Round { tunnel, more }
}

fn median(costs: &[Cost]) -> Cost {
    let of = |number: fn(&Cost) -> f64| {
        let mut numbers: Vec<f64> = costs.iter().map(number).collect();
        numbers.sort_by(f64::total_cmp);
        numbers[numbers.len() / 2]
    };
    Cost { all_us: of(|cost| cost.all_us), network_us: of(|cost| cost.network_us) }
}

#[test]
fn a_message_of_audio_costs_little_more_than_in_a_tunnel() {
    let is_long = skip::long();
    let (rounds, messages) = if is_long { (ROUNDS, ROUND_MESSAGES) } else { TRIAL };
    for deflate in [false, true] {
        let mut tunnel = Side::start("/openai/v1/of_the_future", deflate);
        let mut session = Side::start("/openai/v1/realtime?model=rt", deflate);
        let (mut random, mut room) = (Random::seeded(9), Vec::new());
        let [mut down, mut up] = [Way::Down, Way::Up].map(|way| Messages::new(way, deflate));
        let mut to_all = |text: &str, down: &mut Messages, sides: [&mut Side; 2]| {
            let frame = down.frame(text);
            for side in sides {
                side.sessions.iter_mut().for_each(|ends| ends.pass(Way::Down, &frame, &mut room));
            }
        };
        to_all(CREATED, &mut down, [&mut tunnel, &mut session]);
        let mut costs = [Vec::new(), Vec::new()];
        for _ in 0..rounds {
            for (way, messages_of) in [(Way::Down, &mut down), (Way::Up, &mut up)] {
                let said: Vec<_> = (0..messages).map(|_| messages_of.audio(&mut random)).collect();
                costs[way as usize].push(round(way, &said, &mut tunnel, &mut session));
            }
        }
        to_all(DONE, &mut down, [&mut tunnel, &mut session]);
        for (way, rounds) in [Way::Down, Way::Up].into_iter().zip(&costs) {
            let of = |cost: fn(&Round) -> Cost| median(&rounds.iter().map(cost).collect::<Vec<_>>());
            let (tunnel, more) = (of(|round| round.tunnel), of(|round| round.more));
            println!("{way:?}, deflate {deflate}: {tunnel} in a tunnel; {more} more in a session");
            // A message that is compressed has to be inflated: that is stated, and not bounded here.
            assert!(!is_long || deflate || more.all_us <= MORE_US_MAX, "{way:?}: {more} more");
        }
        assert_eq!(tunnel.stop().len(), SESSIONS);
        let events = session.stop();
        let billed = json!({"input": 7, "output": 3});
        let read = events.iter().filter(|event| event["data"]["tokens"] == billed).count();
        assert_eq!((events.len(), read), (2 * SESSIONS, SESSIONS), "all was read to the end");
    }
}
