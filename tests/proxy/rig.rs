//! A proxy between raw sockets: every byte on either side is the test's.

use std::collections::VecDeque;
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use tokenweir::caller::{Caller, Peer, Resolved, Trust};
use tokenweir::ledger::{Ledger, Options};
use tokenweir::meter::Rules;
use tokenweir::pool::Pool;
use tokenweir::proxy::{
    self, CallerTls, Config, Limit, Limits, Policy, Removals, Running, Shared, Tls, Upstream,
};
use tokenweir::tee::{Accounts, Compared, Observer};
use tokenweir::usage::Settled;

/// Nothing here takes long; a loaded machine does.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// What the observer heard.
#[derive(Default)]
pub(crate) struct Heard {
    settled: Mutex<(Vec<Settled>, Vec<Settled>)>,
    news: Condvar,
}

impl Heard {
    /// Waits until this many calls have settled or been summed; no more may come.
    pub(crate) fn calls(&self, count: usize) -> Vec<Settled> {
        let guard = self.settled.lock().unwrap();
        let (guard, _) = self
            .news
            .wait_timeout_while(guard, PATIENCE, |(settled, summed)| settled.len() + summed.len() < count)
            .unwrap();
        let all: Vec<Settled> = guard.0.iter().chain(&guard.1).cloned().collect();
        assert_eq!(all.len(), count, "calls settled");
        all
    }

    pub(crate) fn summed(&self) -> usize {
        self.settled.lock().unwrap().1.len()
    }
}

impl Observer for Heard {
    fn settled(&self, settled: &Settled) {
        self.settled.lock().unwrap().0.push(settled.clone());
        self.news.notify_all();
    }
    fn summed(&self, settled: &Settled) {
        self.settled.lock().unwrap().1.push(settled.clone());
        self.news.notify_all();
    }
    fn compared(&self, _: &Compared) {}
}

/// A running proxy.
pub(crate) struct Rig {
    pub(crate) addr: SocketAddr,
    pub(crate) running: Option<Running>,
    pub(crate) heard: Arc<Heard>,
    pub(crate) accounts: Arc<Accounts>,
    pub(crate) ledger: Ledger,
    /// The hop of each call.
    pub(crate) peers: Arc<Mutex<Vec<Peer>>>,
    _dir: tempfile::TempDir,
}

/// What a rig may differ in.
pub(crate) struct Setup {
    pub(crate) upstreams: Vec<(Option<&'static str>, String)>,
    pub(crate) tls: Option<Tls>,
    pub(crate) listen_tls: Option<CallerTls>,
    pub(crate) slots: usize,
    pub(crate) reject_when_full: bool,
    pub(crate) drain_timeout: Duration,
    pub(crate) threads: usize,
    pub(crate) policy: Policy,
    pub(crate) limits: Limits,
}

impl Setup {
    pub(crate) fn to(upstream: SocketAddr) -> Setup {
        Setup::urls(vec![(None, format!("http://{upstream}"))])
    }

    pub(crate) fn urls(upstreams: Vec<(Option<&'static str>, String)>) -> Setup {
        Setup {
            upstreams,
            tls: None,
            listen_tls: None,
            slots: 10_000,
            reject_when_full: false,
            drain_timeout: PATIENCE,
            threads: 1,
            policy: Policy::default(),
            limits: Limits::default(),
        }
    }

    pub(crate) fn start(self) -> Rig {
        let dir = tempfile::tempdir().unwrap();
        let ledger =
            Ledger::open(Options { slots: self.slots, ..Options::new(dir.path().join("ledger")) }).unwrap();
        let heard = Arc::new(Heard::default());
        let observer = Arc::clone(&heard) as Arc<dyn Observer>;
        let accounts = Accounts::new(Pool::start(1).unwrap(), observer, 1 << 20);
        let accounts = Arc::new(accounts.settling_apart().unwrap());
        let rules = Rules { end_of_turn: true };
        let upstreams = self.upstreams.iter();
        let config = Config {
            listen: "127.0.0.1:0".parse().unwrap(),
            listen_tls: self.listen_tls,
            threads: self.threads,
            upstreams: upstreams
                .map(|(name, url)| Upstream::new(name.map(str::to_owned), url, rules).unwrap())
                .collect(),
            tls: self.tls,
            removals: Removals {
                headers: vec!["x-apim-subscription-id".parse().unwrap()],
                query: vec!["subscription-key".to_owned()],
            },
            drain_timeout: self.drain_timeout,
            reject_when_full: self.reject_when_full,
            limits: self.limits,
            policy: self.policy,
        };
        let peers = Arc::new(Mutex::new(Vec::<Peer>::new()));
        let seen = Arc::clone(&peers);
        let shared = Shared {
            accounts: Arc::clone(&accounts),
            ledger: ledger.clone(),
            resolver: Arc::new(move |headers, peer, _| {
                seen.lock().unwrap().push(peer.clone());
                let mut caller = Caller::unattributed(Trust::None);
                if let Some(id) = headers.get("x-apim-subscription-id") {
                    caller.id = id.to_str().unwrap().into();
                }
                Resolved { caller, trusted: true, lack: None }
            }),
            boot: "boot".into(),
        };
        let running = proxy::start(config, shared).unwrap();
        Rig { addr: running.addr(), running: Some(running), heard, accounts, ledger, peers, _dir: dir }
    }
}

impl Rig {
    pub(crate) fn connect(&self) -> Wire {
        Wire::new(TcpStream::connect(self.addr).unwrap())
    }

    /// Sends one request on a connection of its own.
    pub(crate) fn send(&self, request: impl AsRef<[u8]>) -> Wire {
        let mut wire = self.connect();
        wire.send(request);
        wire
    }

    /// How often a limit was met.
    pub(crate) fn met(&self, limit: Limit) -> u64 {
        self.running().counts().limits().find(|(name, _)| *name == limit.as_str()).unwrap().1
    }

    /// TLS failures of this side and cause.
    pub(crate) fn failures(&self, side: &str, cause: &str) -> u64 {
        let mut failures = self.running().counts().tls_failures().collect::<Vec<_>>().into_iter();
        failures.find(|(s, c, _)| (*s, *c) == (side, cause)).map_or(0, |(_, _, count)| count)
    }

    pub(crate) fn running(&self) -> &Running {
        self.running.as_ref().unwrap()
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        if let Some(running) = self.running.take() {
            running.end();
            running.join();
        }
    }
}

/// A connection, read with patience.
pub(crate) struct Wire {
    pub(crate) tcp: TcpStream,
    ahead: VecDeque<u8>,
    /// The stream ended with a reset.
    pub(crate) was_reset: bool,
}

/// A message as it came: its head, its body, and whether its framing was kept.
#[derive(Debug)]
pub(crate) struct Message {
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
    /// The body ended before its framing said so.
    pub(crate) broken: bool,
}

impl Message {
    pub(crate) fn status(&self) -> u16 {
        self.head.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or(0)
    }

    /// The values of a field, in order.
    pub(crate) fn fields(&self, name: &str) -> Vec<&str> {
        let line = |line: &'_ str| line.split_once(':').map(|(field, _)| field.eq_ignore_ascii_case(name));
        let lines = self.head.lines().skip(1).filter(|text| line(text) == Some(true));
        lines.map(|line| line.split_once(':').unwrap().1.trim()).collect()
    }

    pub(crate) fn target(&self) -> &str {
        self.head.split(' ').nth(1).unwrap()
    }
}

impl Wire {
    pub(crate) fn new(tcp: TcpStream) -> Wire {
        tcp.set_nodelay(true).unwrap();
        tcp.set_read_timeout(Some(PATIENCE)).unwrap();
        tcp.set_write_timeout(Some(PATIENCE)).unwrap();
        Wire { tcp, ahead: VecDeque::new(), was_reset: false }
    }

    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.tcp.write_all(bytes.as_ref()).unwrap();
    }

    pub(crate) fn chunk(&mut self, data: impl AsRef<[u8]>) {
        let data = data.as_ref();
        self.send([format!("{:x}\r\n", data.len()).as_bytes(), data, b"\r\n"].concat());
    }

    /// The next byte; `None` at the end, clean or not.
    fn byte(&mut self) -> Option<u8> {
        if self.ahead.is_empty() {
            let mut buf = [0; 16 * 1024];
            match self.tcp.read(&mut buf) {
                Ok(n) => self.ahead.extend(&buf[..n]),
                Err(error) => {
                    let late = matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut);
                    assert!(!late, "nothing came for {PATIENCE:?}");
                    self.was_reset = true;
                }
            }
        }
        self.ahead.pop_front()
    }

    /// Exactly these many bytes, or fewer if the stream ends.
    pub(crate) fn take(&mut self, count: usize) -> Vec<u8> {
        (0..count).map_while(|_| self.byte()).collect()
    }

    fn line(&mut self) -> Option<String> {
        let mut line = Vec::new();
        while !line.ends_with(b"\r\n") {
            line.push(self.byte()?);
        }
        line.truncate(line.len() - 2);
        Some(String::from_utf8(line).unwrap())
    }

    /// A head up to its empty line; empty at the end of the stream.
    pub(crate) fn head(&mut self) -> String {
        let mut head = String::new();
        while let Some(line) = self.line() {
            if line.is_empty() {
                return head;
            }
            head.push_str(&line);
            head.push('\n');
        }
        assert!(head.is_empty(), "a head broke off: {head}");
        head
    }

    /// One chunk; `None` if the stream ends before it is whole.
    pub(crate) fn read_chunk(&mut self) -> Option<Vec<u8>> {
        let size = usize::from_str_radix(&self.line()?, 16).unwrap();
        let data = self.take(size);
        let whole = data.len() == size && self.line()?.is_empty();
        whole.then_some(data)
    }

    /// Some chunks that together are this long.
    pub(crate) fn read_chunks(&mut self, bytes: usize) -> Vec<u8> {
        let mut data = Vec::new();
        while data.len() < bytes {
            data.extend(self.read_chunk().expect("the stream ended"));
        }
        data
    }

    /// A whole message. `bodiless`: an answer that has no body whatever its fields say.
    fn message_of(&mut self, bodiless: bool) -> Message {
        let head = self.head();
        let mut message = Message { head, body: Vec::new(), broken: false };
        if bodiless {
        } else if message.fields("transfer-encoding") == ["chunked"] {
            loop {
                match self.read_chunk() {
                    None => message.broken = true,
                    Some(data) if data.is_empty() => {}
                    Some(data) => {
                        message.body.extend(data);
                        continue;
                    }
                }
                break;
            }
        } else if let [length] = message.fields("content-length")[..] {
            let length = length.parse().unwrap();
            message.body = self.take(length);
            message.broken = message.body.len() < length;
        } else if message.head.starts_with("HTTP/") {
            message.body = self.rest();
        }
        message
    }

    pub(crate) fn message(&mut self) -> Message {
        self.message_of(false)
    }

    pub(crate) fn bodiless(&mut self) -> Message {
        self.message_of(true)
    }

    /// Everything to the end of the stream.
    pub(crate) fn rest(&mut self) -> Vec<u8> {
        std::iter::from_fn(|| self.byte()).collect()
    }

    /// Waits until the peer has closed; it must send nothing more.
    pub(crate) fn closed(&mut self) {
        assert_eq!(String::from_utf8_lossy(&self.rest()), "");
    }

    pub(crate) fn close(self) {
        let _ = self.tcp.shutdown(Shutdown::Both);
    }

    /// Closes with a reset instead of an end.
    pub(crate) fn reset(self) {
        socket2::SockRef::from(&self.tcp).set_linger(Some(Duration::ZERO)).unwrap();
    }
}

/// A service that follows a script, on a thread for each connection.
#[derive(Clone)]
pub(crate) struct Script {
    pub(crate) addr: SocketAddr,
    /// Connections accepted so far.
    pub(crate) connections: Arc<AtomicUsize>,
}

impl Script {
    /// `script` gets each connection and its number, from 0.
    pub(crate) fn start(script: impl Fn(Wire, usize) + Send + Sync + 'static) -> Script {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        let connections = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&connections);
        let script = Arc::new(script);
        std::thread::spawn(move || {
            for tcp in listener.incoming() {
                let n = counter.fetch_add(1, Ordering::SeqCst);
                let script = Arc::clone(&script);
                std::thread::spawn(move || script(Wire::new(tcp.unwrap()), n));
            }
        });
        Script { addr, connections }
    }

    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
}

/// Waits for something that another thread does.
pub(crate) fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "not within {PATIENCE:?}: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A POST of this body to the chat API.
pub(crate) fn post(body: &str) -> String {
    format!("POST /v1/chat/completions HTTP/1.1\r\nHost: gw\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

/// An answer of this body.
pub(crate) fn ok(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len())
}

/// The head of a chunked answer.
pub(crate) const CHUNKED: &str =
    "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";
