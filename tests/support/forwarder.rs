//! A TCP forwarder between a Kafka client and one broker, with faults.
//!
//! It understands just enough of the protocol to stay in the way: frames, so that it can count the
//! requests to produce and spoil single answers, and the broker's own address in answers, which it
//! replaces by its own, so that the client follows no other way. Plain text only.
//!
//! Three threads a connection: requests, answers, and a line of answers that wait to be due. Every
//! read and every wait looks up after 5 ms, so a fault begins and ends at once, also for connections
//! that are open.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use socket2::{Domain, SockRef, Socket, Type};

/// How often waiting threads look up.
const LOOK_EVERY: Duration = Duration::from_millis(5);
/// No frame of a test is larger.
const FRAME_BYTES_MAX: usize = 16 << 20;
/// Answers of one connection that wait to be due. A producer has five requests under way.
const WAITING_MAX: usize = 64;
/// A limited connection sends in pieces of so many, as a slow line does.
const PIECE_BYTES: usize = 16 << 10;
/// The key of requests to produce.
const PRODUCE: i16 = 0;

/// What happens to connections.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Mode {
    /// Everything goes through.
    Pass,
    /// Nobody listens, and what was open is reset.
    Refuse,
    /// Connections are taken and nothing is said; they go on when the mode ends.
    Freeze,
    /// Connections are taken and nothing is said on them ever again: half-open.
    BlackHole,
    /// Each answer comes this much later.
    Delay(Duration),
    /// Bytes a second towards the broker, all connections together.
    Limit(u64),
}

/// What happens to the next answer to a request to produce.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Cut {
    /// It is lost, and the connection reset: the broker has the events, the client does not know.
    Reset,
    /// Only so many bytes of it arrive, then the connection is closed.
    After(usize),
}

#[derive(Debug)]
struct State {
    upstream: Mutex<SocketAddr>,
    addr: SocketAddr,
    mode: Mutex<Mode>,
    cuts: Mutex<VecDeque<Cut>>,
    /// Connections of an earlier generation are reset.
    generation: AtomicU64,
    /// When requests to produce came, and connections.
    produced: Mutex<Vec<Instant>>,
    accepted: Mutex<Vec<Instant>>,
    stop: AtomicBool,
    /// When the line is free again that [`Mode::Limit`] makes.
    limited_until: Mutex<Instant>,
}

/// The forwarder. Ends with it.
#[derive(Debug)]
pub(crate) struct Forwarder {
    state: Arc<State>,
    /// Keeps the port ours while nobody listens.
    _port: Socket,
}

impl Forwarder {
    pub(crate) fn new(upstream: &str) -> Forwarder {
        let port = bound("127.0.0.1:0".parse().unwrap());
        let state = Arc::new(State {
            upstream: Mutex::new(upstream.parse().unwrap()),
            addr: port.local_addr().unwrap().as_socket().unwrap(),
            mode: Mutex::new(Mode::Pass),
            cuts: Mutex::default(),
            generation: AtomicU64::new(0),
            produced: Mutex::default(),
            accepted: Mutex::default(),
            stop: AtomicBool::new(false),
            limited_until: Mutex::new(Instant::now()),
        });
        let listener = listen(state.addr);
        let accepting = Arc::clone(&state);
        std::thread::spawn(move || accept(&accepting, listener));
        Forwarder { state, _port: port }
    }

    /// Where clients connect.
    pub(crate) fn addr(&self) -> String {
        self.state.addr.to_string()
    }

    pub(crate) fn set(&self, mode: Mode) {
        *self.state.mode.lock().unwrap() = mode;
        if mode == Mode::Refuse {
            self.reset();
        }
    }

    /// New connections go to another broker.
    pub(crate) fn redirect(&self, upstream: &str) {
        *self.state.upstream.lock().unwrap() = upstream.parse().unwrap();
    }

    /// Resets what is open.
    pub(crate) fn reset(&self) {
        self.state.generation.fetch_add(1, Ordering::SeqCst);
    }

    /// What happens to the next answers to requests to produce, one each.
    pub(crate) fn cut(&self, cuts: &[Cut]) {
        self.state.cuts.lock().unwrap().extend(cuts);
    }

    pub(crate) fn cuts_left(&self) -> usize {
        self.state.cuts.lock().unwrap().len()
    }

    /// When requests to produce came.
    pub(crate) fn produced(&self) -> Vec<Instant> {
        self.state.produced.lock().unwrap().clone()
    }

    /// When connections came, refused ones excluded.
    pub(crate) fn accepted(&self) -> Vec<Instant> {
        self.state.accepted.lock().unwrap().clone()
    }
}

impl Drop for Forwarder {
    fn drop(&mut self) {
        self.state.stop.store(true, Ordering::SeqCst);
    }
}

/// The most instants within any second; they are in order.
pub(crate) fn most_in_a_second(instants: &[Instant]) -> usize {
    let mut first = 0;
    let mut most = 0;
    for (last, instant) in instants.iter().enumerate() {
        while instant.duration_since(instants[first]) >= Duration::from_secs(1) {
            first += 1;
        }
        most = most.max(last + 1 - first);
    }
    most
}

/// A socket on a port that others may have too, if they say so as well.
fn bound(addr: SocketAddr) -> Socket {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.set_reuse_address(true).unwrap();
    socket.bind(&addr.into()).unwrap();
    socket
}

fn listen(addr: SocketAddr) -> TcpListener {
    let socket = bound(addr);
    socket.listen(64).unwrap();
    socket.set_nonblocking(true).unwrap();
    socket.into()
}

fn accept(state: &Arc<State>, listener: TcpListener) {
    let mut listener = Some(listener);
    while !state.stop.load(Ordering::SeqCst) {
        if *state.mode.lock().unwrap() == Mode::Refuse {
            listener = None;
        } else if let Ok((client, _)) = listener.get_or_insert_with(|| listen(state.addr)).accept() {
            state.accepted.lock().unwrap().push(Instant::now());
            let state = Arc::clone(state);
            std::thread::spawn(move || connection(&state, client));
            continue;
        }
        std::thread::sleep(LOOK_EVERY);
    }
}

/// One connection: frames both ways until either end closes.
struct Connection {
    state: Arc<State>,
    generation: u64,
    upstream: SocketAddr,
    client: TcpStream,
    broker: TcpStream,
    /// It was caught in a black hole.
    dead: AtomicBool,
    ended: AtomicBool,
    /// Correlation ids of requests to produce that are not answered.
    asked: Mutex<VecDeque<i32>>,
}

fn connection(state: &Arc<State>, client: TcpStream) {
    client.set_nonblocking(false).unwrap();
    let generation = state.generation.load(Ordering::SeqCst);
    let upstream = *state.upstream.lock().unwrap();
    let Ok(broker) = TcpStream::connect(upstream) else { return reset(&client) };
    for stream in [&client, &broker] {
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(LOOK_EVERY)).unwrap();
        stream.set_write_timeout(Some(LOOK_EVERY)).unwrap();
    }
    let dead = AtomicBool::new(*state.mode.lock().unwrap() == Mode::BlackHole);
    let (ended, asked) = (AtomicBool::new(false), Mutex::default());
    let both =
        Connection { state: Arc::clone(state), generation, upstream, client, broker, dead, ended, asked };
    let (line, due) = sync_channel(WAITING_MAX);
    let both = &both;
    std::thread::scope(|scope| {
        scope.spawn(|| both.requests());
        scope.spawn(move || both.answers(&line));
        scope.spawn(move || both.deliveries(&due));
    });
}

impl Connection {
    fn requests(&self) {
        while let Some(frame) = self.frame(&self.client) {
            if i16::from_be_bytes([frame[4], frame[5]]) == PRODUCE {
                self.state.produced.lock().unwrap().push(Instant::now());
                self.asked.lock().unwrap().push_back(correlation(&frame[8..]));
            }
            if !self.sends(&frame) {
                break;
            }
        }
        self.close();
    }

    /// Writes a request to the broker as fast as the mode allows.
    fn sends(&self, frame: &[u8]) -> bool {
        frame.chunks(PIECE_BYTES).all(|piece| {
            if let Mode::Limit(bytes) = *self.state.mode.lock().unwrap() {
                let free = {
                    let mut until = self.state.limited_until.lock().unwrap();
                    let takes = Duration::from_secs_f64(piece.len() as f64 / bytes as f64);
                    *until = (*until).max(Instant::now()) + takes;
                    *until
                };
                std::thread::sleep(free.saturating_duration_since(Instant::now()));
            }
            self.passes() && self.write(&self.broker, piece)
        })
    }

    /// Reads answers and says when each is due.
    fn answers(&self, line: &SyncSender<(Instant, Vec<u8>)>) {
        while let Some(mut frame) = self.frame(&self.broker) {
            self.rewrite(&mut frame);
            let later = match *self.state.mode.lock().unwrap() {
                Mode::Delay(time) => time,
                _ => Duration::ZERO,
            };
            if line.send((Instant::now() + later, frame)).is_err() {
                break;
            }
        }
        // What waits is still delivered; then its thread ends the connection.
    }

    /// Hands answers to the client when they are due.
    fn deliveries(&self, line: &Receiver<(Instant, Vec<u8>)>) {
        loop {
            match line.recv_timeout(LOOK_EVERY) {
                Ok((due, frame)) => {
                    while Instant::now() < due && !self.over() {
                        std::thread::sleep(due.saturating_duration_since(Instant::now()).min(LOOK_EVERY));
                    }
                    if !self.passes() || !self.delivers(&frame) {
                        break;
                    }
                }
                Err(RecvTimeoutError::Timeout) if !self.over() => {}
                Err(_) => break,
            }
        }
        self.close();
    }

    /// Hands one answer to the client, or spoils it. False when the connection is to end.
    fn delivers(&self, frame: &[u8]) -> bool {
        let mut asked = self.asked.lock().unwrap();
        let cut = if asked.front() == Some(&correlation(&frame[4..])) {
            asked.pop_front();
            self.state.cuts.lock().unwrap().pop_front()
        } else {
            None
        };
        drop(asked);
        match cut {
            None => self.write(&self.client, frame),
            Some(Cut::Reset) => {
                reset(&self.client);
                false
            }
            Some(Cut::After(bytes)) => {
                self.write(&self.client, &frame[..bytes.min(frame.len())]);
                false
            }
        }
    }

    /// Waits while nothing goes through. False when the connection is to end.
    fn passes(&self) -> bool {
        loop {
            if self.over() {
                return false;
            }
            let mode = *self.state.mode.lock().unwrap();
            if mode == Mode::BlackHole {
                self.dead.store(true, Ordering::SeqCst);
            }
            if mode != Mode::Freeze && !self.dead.load(Ordering::SeqCst) {
                return true;
            }
            std::thread::sleep(LOOK_EVERY);
        }
    }

    fn over(&self) -> bool {
        if self.state.generation.load(Ordering::SeqCst) > self.generation {
            reset(&self.client);
            return true;
        }
        self.state.stop.load(Ordering::SeqCst) || self.ended.load(Ordering::SeqCst)
    }

    /// One frame with its length; `None` at the end.
    fn frame(&self, from: &TcpStream) -> Option<Vec<u8>> {
        let mut frame = self.bytes(from, Vec::new(), 4)?;
        let length = u32::from_be_bytes([frame[0], frame[1], frame[2], frame[3]]) as usize;
        assert!(length <= FRAME_BYTES_MAX, "a frame of {length} bytes: is this Kafka in plain text?");
        frame.reserve(length);
        self.bytes(from, frame, 4 + length).filter(|frame| frame.len() >= 12)
    }

    fn bytes(&self, mut from: &TcpStream, mut read: Vec<u8>, length: usize) -> Option<Vec<u8>> {
        let mut filled = read.len();
        read.resize(length, 0);
        while filled < length {
            match from.read(&mut read[filled..]) {
                Ok(0) => return None,
                Ok(bytes) => filled += bytes,
                Err(error) if is_a_look(&error) && !self.over() => {}
                Err(_) => return None,
            }
        }
        Some(read)
    }

    fn write(&self, mut to: &TcpStream, mut bytes: &[u8]) -> bool {
        while !bytes.is_empty() {
            match to.write(bytes) {
                Ok(written) => bytes = &bytes[written..],
                Err(error) if is_a_look(&error) && !self.over() => {}
                Err(_) => return false,
            }
        }
        true
    }

    /// Puts our port where the broker names its own.
    fn rewrite(&self, frame: &mut [u8]) {
        let host = self.upstream.ip().to_string().into_bytes();
        let named = |port: u16| [host.as_slice(), &u32::from(port).to_be_bytes()].concat();
        let (theirs, ours) = (named(self.upstream.port()), named(self.state.addr.port()));
        let places: Vec<usize> = memchr::memmem::find_iter(frame, &theirs).collect();
        for at in places {
            frame[at..at + ours.len()].copy_from_slice(&ours);
        }
    }

    /// Ends the connection; the streams close when all threads have gone.
    fn close(&self) {
        // Who fell into a black hole hears nothing, not even the end.
        while self.dead.load(Ordering::SeqCst) && !self.over() {
            std::thread::sleep(LOOK_EVERY);
        }
        self.ended.store(true, Ordering::SeqCst);
    }
}

/// Nothing came or went within [`LOOK_EVERY`].
fn is_a_look(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted)
}

fn correlation(bytes: &[u8]) -> i32 {
    i32::from_be_bytes([bytes[0], bytes[1], bytes[2], bytes[3]])
}

/// Closing will send RST.
fn reset(stream: &TcpStream) {
    let _ = SockRef::from(stream).set_linger(Some(Duration::ZERO));
}
