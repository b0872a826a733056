//! Callers that never stop calling, and the service that answers them. Each call is drawn
//! beforehand: how long its answer is, how fast it comes, and how it ends. Both sides note what
//! they did in the call itself, so that its event can be held against it.

use std::io::{self, BufRead, BufReader, Read, Take, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::json;
use socket2::SockRef;

use super::super::http::{post, read_chunk, read_head};
use super::super::random::Random;
use super::super::sidecar::PATIENCE;
use super::super::upstream::{self, STREAM_HEAD, delta, small_thread, stop, write_chunk, write_end};
use super::Form;

const PATH: &str = "/openai/deployments/d/chat/completions?api-version=2024-10-21";
const PROMPT: &str = "Say a word, again and again.";
/// What the prompt costs, by the service's rules.
pub(super) const PROMPT_TOKENS: u64 = 15;
/// Callers that share the load.
const TEAMS: usize = 50;
/// Of so many calls the caller hangs up in these: in the request, and in the answer.
const OF: u64 = 20;
const IN_REQUEST: u64 = 1;
const IN_ANSWER: u64 = 7;
/// How the service ends the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// Whole.
    Plain,
    /// Whole; the caller asked for usage, and gets it.
    Reports,
    /// A clean end of the message where the stream is not at its end.
    Early,
    /// The connection closes in the middle of a chunk.
    Broken,
}

const ENDS: [End; 8] =
    [End::Plain, End::Reports, End::Plain, End::Reports, End::Early, End::Plain, End::Reports, End::Broken];

/// Where the caller hangs up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum HangUp {
    Never,
    /// After so many bytes of its request.
    InRequest(usize),
    /// After so many bytes of the answer.
    InAnswer(u64),
}

/// One call: what is to happen, and what did.
#[derive(Debug)]
pub(super) struct Call {
    pub(super) id: String,
    pub(super) caller: String,
    pub(super) end: End,
    pub(super) words: u64,
    pace: Duration,
    pub(super) hang_up: HangUp,
    /// The hang-up is a reset.
    pub(super) reset: bool,
    /// The service has the request.
    pub(super) arrived: AtomicBool,
    /// Words that the service began to send.
    pub(super) sent: AtomicU64,
    /// The service began to send its last bytes.
    pub(super) ended: AtomicBool,
    /// Words that the caller received.
    pub(super) got: AtomicU64,
    /// The caller received the end that was drawn.
    pub(super) whole: AtomicBool,
}

impl Call {
    fn draw(number: usize, stream: usize, form: &Form, random: &mut Random) -> Call {
        let mut call = Call {
            id: number.to_string(),
            caller: format!("team-{}", stream % TEAMS),
            end: ENDS[random.between(0, ENDS.len() as u64) as usize],
            words: random.between(form.words.0, form.words.1),
            pace: random.time(form.pace.0, form.pace.1),
            hang_up: HangUp::Never,
            reset: random.between(0, 2) == 0,
            arrived: AtomicBool::new(false),
            sent: AtomicU64::new(0),
            ended: AtomicBool::new(false),
            got: AtomicU64::new(0),
            whole: AtomicBool::new(false),
        };
        call.hang_up = match random.between(0, OF) {
            n if n < IN_REQUEST => HangUp::InRequest(random.between(1, call.request().len() as u64) as usize),
            n if n < IN_REQUEST + IN_ANSWER => {
                let bytes = STREAM_HEAD.len() as u64 + call.words * delta(" word").len() as u64;
                HangUp::InAnswer(random.between(0, bytes))
            }
            _ => HangUp::Never,
        };
        call
    }

    pub(super) fn request(&self) -> Vec<u8> {
        let mut body = json!({"stream": true, "messages": [{"role": "user", "content": PROMPT}]});
        if self.end == End::Reports {
            body["stream_options"] = json!({"include_usage": true});
        }
        let fields = [("x-ms-client-request-id", self.id.as_str()), ("x-apim-subscription-id", &self.caller)];
        post(PATH, &fields, &body.to_string())
    }

    /// Tokens of a whole answer: its words, and the end of the turn.
    pub(super) fn tokens(&self) -> u64 {
        self.words + 1
    }

    /// The service's side.
    fn answer(&self, to: &mut TcpStream) -> io::Result<()> {
        self.arrived.store(true, SeqCst);
        to.write_all(STREAM_HEAD.as_bytes())?;
        for _ in 0..self.words {
            std::thread::sleep(self.pace);
            self.sent.fetch_add(1, SeqCst);
            write_chunk(to, delta(" word").as_bytes())?;
        }
        self.ended.store(true, SeqCst);
        match self.end {
            End::Plain => write_chunk(to, stop().as_bytes())?,
            End::Reports => write_chunk(to, self.stop_with_usage().as_bytes())?,
            End::Early => {}
            End::Broken => {
                to.write_all(b"ff\r\ndata: {")?;
                return Err(io::ErrorKind::ConnectionAborted.into());
            }
        }
        write_end(to)
    }

    fn stop_with_usage(&self) -> String {
        let last = json!({"id": "chatcmpl-test", "object": "chat.completion.chunk", "created": 1,
            "model": "gpt-4o-2024-11-20", "choices": [],
            "usage": {"prompt_tokens": PROMPT_TOKENS, "completion_tokens": self.tokens(),
                "total_tokens": PROMPT_TOKENS + self.tokens()}});
        stop().replace("data: [DONE]\n\n", &format!("data: {last}\n\ndata: [DONE]\n\n"))
    }

    /// The caller's side. Returns the connection if it can be used again.
    fn make(&self, mut connection: Connection) -> Option<Connection> {
        let request = self.request();
        let sends = match self.hang_up {
            HangUp::InRequest(bytes) => bytes,
            _ => request.len(),
        };
        connection.get_mut().get_mut().write_all(&request[..sends]).expect("the sidecar is there");
        connection.get_mut().set_limit(match self.hang_up {
            HangUp::Never => u64::MAX,
            HangUp::InAnswer(bytes) => bytes,
            HangUp::InRequest(_) => 0,
        });
        if let HangUp::Never = self.hang_up {
            let read = self.read(&mut connection);
            assert_eq!(read.is_ok(), self.end != End::Broken, "{self:?}: the caller saw {read:?}");
            self.whole.store(true, SeqCst);
            return read.is_ok().then_some(connection);
        }
        let mut bytes = Vec::new();
        connection.read_to_end(&mut bytes).expect("bytes up to the hang-up");
        let words = bytes.windows(3).filter(|end| end == b"}\n\n").count();
        self.got.store(words as u64, SeqCst);
        if self.reset {
            let socket = SockRef::from(connection.get_ref().get_ref());
            socket.set_linger(Some(Duration::ZERO)).unwrap();
        }
        None // and the connection closes
    }

    fn read(&self, from: &mut impl BufRead) -> io::Result<()> {
        let head = read_head(from)?.ok_or(io::ErrorKind::UnexpectedEof)?;
        assert_eq!(head.status(), 200, "{self:?}");
        while let Some(chunk) = read_chunk(from)? {
            let words = chunk.windows(7).filter(|word| word == b"\" word\"").count();
            self.got.fetch_add(words as u64, SeqCst);
        }
        Ok(())
    }
}

/// Reads no further than a limit, so that a hang-up is at its very byte.
type Connection = BufReader<Take<TcpStream>>;

fn connect(addr: SocketAddr) -> Connection {
    let socket = TcpStream::connect(addr).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    socket.set_nodelay(true).unwrap();
    BufReader::new(socket.take(u64::MAX))
}

/// Every call that was begun, by its number.
#[derive(Default)]
pub(super) struct Calls(Mutex<Vec<Arc<Call>>>);

impl Calls {
    fn begin(&self, stream: usize, form: &Form, random: &mut Random) -> Arc<Call> {
        let mut calls = self.0.lock().unwrap();
        let call = Arc::new(Call::draw(calls.len(), stream, form, random));
        calls.push(Arc::clone(&call));
        call
    }

    pub(super) fn all(&self) -> Vec<Arc<Call>> {
        self.0.lock().unwrap().clone()
    }
}

/// The service.
pub(super) struct Service {
    pub(super) addr: SocketAddr,
    connections: Arc<AtomicUsize>,
}

impl Service {
    pub(super) fn start(calls: &Arc<Calls>) -> Service {
        let connections = Arc::new(AtomicUsize::new(0));
        let (calls, open) = (Arc::clone(calls), Arc::clone(&connections));
        let addr = upstream::serve(move |socket| {
            open.fetch_add(1, SeqCst);
            let _ = upstream::converse(&socket, &|request, to: &mut TcpStream| {
                let number: usize = request.field("x-ms-client-request-id").unwrap().parse().unwrap();
                let call = Arc::clone(&calls.0.lock().unwrap()[number]);
                call.answer(to)
            });
            drop(socket);
            open.fetch_sub(1, SeqCst);
        });
        Service { addr, connections }
    }

    /// Connections of the sidecar, idle ones too.
    pub(super) fn connections(&self) -> usize {
        self.connections.load(SeqCst)
    }
}

/// Keeps so many streams open for a while: one that ends is replaced at once. Those that are open
/// then run to their ends. `meanwhile` is called while all of them are.
pub(super) fn run(
    addr: SocketAddr,
    form: Form,
    time: Duration,
    calls: &Arc<Calls>,
    random: &mut Random,
    meanwhile: impl FnOnce(),
) {
    let until = Instant::now() + time;
    let streams: Vec<_> = (0..form.streams)
        .map(|stream| {
            let (calls, mut random) = (Arc::clone(calls), random.fork());
            small_thread(move || {
                let mut connection = None;
                while Instant::now() < until {
                    let call = calls.begin(stream, &form, &mut random);
                    connection = call.make(connection.unwrap_or_else(|| connect(addr)));
                }
            })
        })
        .collect();
    meanwhile();
    streams.into_iter().for_each(|stream| stream.join().expect("every call ends as it was drawn"));
}
