//! A fake Azure OpenAI on a thread of its own: every right request gets the same answer, one event a
//! write, at a pace or as fast as it is read. The moment of its sending is stamped into each event.
//!
//! A request whose body is not the callers' byte for byte gets 400, and the callers say so.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};
use std::io::{self, ErrorKind};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::thread::JoinHandle;
use std::time::Duration;

use rustls::{Connection, ServerConfig, ServerConnection};

use super::answer::{self, Answer, Question};
use super::poll::{Poller, Ready, now};
use super::random::Random;
use super::wire::{Brought, Wire};

/// How soon the thread sees that it has to end.
const STOP_NS: u64 = 50_000_000;

const HEADERS_MAX: usize = 64;
const BUFFER_BYTES: usize = 256 << 10;
const LISTENER: usize = usize::MAX;

/// What the service does.
#[derive(Clone)]
pub(crate) struct Script {
    pub(crate) answer: Arc<Answer>,
    /// The request that it expects.
    pub(crate) question: Arc<Question>,
    /// The mean time between events of a stream, each drawn from half to one and a half of it.
    pub(crate) pace: Option<Duration>,
    pub(crate) tls: Option<Arc<ServerConfig>>,
}

/// The running service; ends when dropped.
pub(crate) struct Service {
    pub(crate) addr: SocketAddr,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<io::Result<()>>>,
}

impl Service {
    pub(crate) fn start(script: Script) -> io::Result<Service> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        listener.set_nonblocking(true)?;
        let addr = listener.local_addr()?;
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let serve = move || Server::new(script, listener)?.run(&stopped);
        let thread = std::thread::Builder::new().name("service".to_owned()).spawn(serve)?;
        Ok(Service { addr, stop, thread: Some(thread) })
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.stop.store(true, Relaxed);
        match self.thread.take().map(JoinHandle::join) {
            Some(Ok(Err(error))) => eprintln!("the service ended: {error}"),
            Some(Err(_)) => eprintln!("the service panicked"),
            _ => {}
        }
    }
}

struct Server {
    script: Script,
    listener: TcpListener,
    poller: Poller,
    calls: Vec<Option<Call>>,
    free: Vec<usize>,
    /// When which stream goes on, and its birth: a place may have another stream by then.
    timers: BinaryHeap<Reverse<(u64, usize, u64)>>,
    /// Streams without a pace, which take turns.
    turns: VecDeque<(usize, u64)>,
    births: u64,
    random: Random,
    buffer: Vec<u8>,
    event: Vec<u8>,
}

/// A connection, and the call on it.
struct Call {
    wire: Wire,
    birth: u64,
    state: State,
    head: Vec<u8>,
}

#[derive(Clone, Copy)]
enum State {
    Head,
    /// Bytes of the request's body that have come.
    Body(usize),
    /// The next event.
    Answer(usize),
}

impl Server {
    fn new(script: Script, listener: TcpListener) -> io::Result<Server> {
        let poller = Poller::new()?;
        poller.add(&listener, LISTENER)?;
        Ok(Server {
            script,
            listener,
            poller,
            calls: Vec::new(),
            free: Vec::new(),
            timers: BinaryHeap::new(),
            turns: VecDeque::new(),
            births: 0,
            random: Random::seeded(now()),
            buffer: vec![0; BUFFER_BYTES],
            event: Vec::new(),
        })
    }

    fn run(mut self, stop: &AtomicBool) -> io::Result<()> {
        let mut ready = Vec::new();
        while !stop.load(Relaxed) {
            let next = self.timers.peek().map_or(STOP_NS, |Reverse((due, ..))| due.saturating_sub(now()));
            let timeout = if self.turns.is_empty() { next.min(STOP_NS) } else { 0 };
            self.poller.wait(timeout, &mut ready)?;
            for &Ready { number, read, write } in &ready {
                match number {
                    LISTENER => self.accept()?,
                    number => self.with(number, |server, call| server.woken(number, call, read, write)),
                }
            }
            self.go_on();
        }
        Ok(())
    }

    fn accept(&mut self) -> io::Result<()> {
        loop {
            let tcp = match self.listener.accept() {
                Ok((tcp, _)) => tcp,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => return Err(error),
            };
            let number = self.free.pop().unwrap_or_else(|| {
                self.calls.push(None);
                self.calls.len() - 1
            });
            let wire = self.wire(tcp, number)?;
            self.births += 1;
            let call = Call { wire, birth: self.births, state: State::Head, head: Vec::new() };
            self.calls[number] = Some(call);
        }
    }

    fn wire(&self, tcp: TcpStream, number: usize) -> io::Result<Wire> {
        let session = self.script.tls.as_ref().map(|tls| ServerConnection::new(Arc::clone(tls)));
        let session = session.transpose().map_err(io::Error::other)?;
        Wire::new(tcp, session.map(Connection::Server), &self.poller, number)
    }

    /// Does something with a call; it is over if that fails.
    fn with(&mut self, number: usize, work: impl FnOnce(&mut Server, &mut Call) -> io::Result<()>) {
        let Some(mut call) = self.calls[number].take() else { return };
        match work(self, &mut call) {
            Ok(()) => self.calls[number] = Some(call),
            Err(_) => self.free.push(number), // the caller has left
        }
    }

    fn woken(&mut self, number: usize, call: &mut Call, read: bool, write: bool) -> io::Result<()> {
        let stuck = call.wire.waits();
        if write {
            call.wire.flush(&self.poller)?;
        }
        if read {
            let mut buffer = std::mem::take(&mut self.buffer);
            let done = self.read(number, call, &mut buffer);
            self.buffer = buffer;
            done?;
        }
        if stuck && !call.wire.waits() && matches!(call.state, State::Answer(_)) {
            self.schedule(number, call, now());
        }
        Ok(())
    }

    fn read(&mut self, number: usize, call: &mut Call, buffer: &mut [u8]) -> io::Result<()> {
        match call.wire.read(&self.poller, buffer)? {
            Brought::Bytes(read) => self.request(number, call, &buffer[..read]),
            Brought::Nothing => Ok(()),
            Brought::End => Err(ErrorKind::UnexpectedEof.into()),
        }
    }

    /// Takes a piece of a request; answers if it is whole.
    fn request(&mut self, number: usize, call: &mut Call, mut bytes: &[u8]) -> io::Result<()> {
        if matches!(call.state, State::Head) {
            let before = call.head.len();
            call.head.extend_from_slice(bytes);
            let Some(length) = self.head(call)? else { return Ok(()) };
            bytes = &bytes[length - before..];
            call.head.clear();
            call.state = State::Body(0);
        }
        let State::Body(at) = call.state else {
            return Err(io::Error::other("a request within an answer"));
        };
        let question = &self.script.question.body;
        if question.get(at..at + bytes.len()) != Some(bytes) {
            call.wire.write(&self.poller, b"HTTP/1.1 400 Changed Body\r\nContent-Length: 0\r\n\r\n")?;
            return Err(io::Error::other("another body"));
        }
        call.state = State::Body(at + bytes.len());
        if at + bytes.len() < question.len() {
            return Ok(());
        }
        if self.script.answer.stream {
            call.state = State::Answer(0);
            // Somewhere within the pace, so that streams that began together do not beat together.
            let begin =
                self.script.pace.map_or(0, |pace| (pace.as_nanos() as f64 * self.random.unit()) as u64);
            self.schedule_at(number, call, now() + begin);
            return Ok(());
        }
        call.state = State::Head;
        self.event.clear();
        self.event.extend_from_slice(&self.script.answer.head);
        self.event.extend_from_slice(&self.script.answer.body);
        call.wire.write(&self.poller, &self.event).map(drop)
    }

    /// The length of a head that is whole and announces the right body.
    fn head(&self, call: &mut Call) -> io::Result<Option<usize>> {
        let mut headers = [httparse::EMPTY_HEADER; HEADERS_MAX];
        let mut head = httparse::Request::new(&mut headers);
        let status = head.parse(&call.head).map_err(io::Error::other)?;
        let httparse::Status::Complete(length) = status else { return Ok(None) };
        let announced = head.headers.iter().find(|field| field.name.eq_ignore_ascii_case("content-length"));
        let announced = announced.and_then(|field| std::str::from_utf8(field.value).ok()?.parse().ok());
        if announced != Some(self.script.question.body.len()) {
            call.wire.write(&self.poller, b"HTTP/1.1 411 Other Length\r\nContent-Length: 0\r\n\r\n")?;
            return Err(io::Error::other("another length"));
        }
        Ok(Some(length))
    }

    /// Streams whose moment or turn has come send their next event.
    fn go_on(&mut self) {
        let moment = now();
        while let Some(&Reverse((due, number, birth))) = self.timers.peek()
            && due <= moment
        {
            self.timers.pop();
            self.step(number, birth, due);
        }
        for _ in 0..self.turns.len() {
            if let Some((number, birth)) = self.turns.pop_front() {
                self.step(number, birth, 0);
            }
        }
    }

    fn step(&mut self, number: usize, birth: u64, due: u64) {
        self.with(number, |server, call| match call.state {
            State::Answer(next) if call.birth == birth => server.send(number, call, next, due),
            _ => Ok(()),
        });
    }

    /// One event, in one write; the head goes with the first.
    fn send(&mut self, number: usize, call: &mut Call, next: usize, due: u64) -> io::Result<()> {
        let answer = &self.script.answer;
        let event = &answer.events[next];
        self.event.clear();
        if next == 0 {
            self.event.extend_from_slice(&answer.head);
        }
        self.event.extend_from_slice(format!("{:x}\r\n", event.place.len()).as_bytes());
        let start = self.event.len();
        self.event.extend_from_slice(&answer.body[event.place.clone()]);
        if let Some(place) = &event.stamp {
            let at = start + place.start - event.place.start;
            answer::stamp(&mut self.event[at..at + place.len()], now());
        }
        let last = next + 1 == answer.events.len();
        self.event.extend_from_slice(if last { b"\r\n0\r\n\r\n" } else { b"\r\n" });
        call.state = if last { State::Head } else { State::Answer(next + 1) };
        if call.wire.write(&self.poller, &self.event)? && !last {
            self.schedule(number, call, due);
        } // else the stream goes on when the socket takes more
        Ok(())
    }

    /// The next event comes a pace after the last one was due.
    fn schedule(&mut self, number: usize, call: &Call, due: u64) {
        let gap = self.script.pace.map_or(0.0, |pace| pace.as_nanos() as f64 * (0.5 + self.random.unit()));
        self.schedule_at(number, call, due + gap as u64);
    }

    fn schedule_at(&mut self, number: usize, call: &Call, due: u64) {
        match self.script.pace {
            Some(_) => self.timers.push(Reverse((due, number, call.birth))),
            None => self.turns.push_back((number, call.birth)),
        }
    }
}
