//! Callers of every kind at once, and the service that answers them. Both remember what happened
//! when, so that every event can be held against the truth of its moment.

use std::collections::HashMap;
use std::io::{self, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::json;

use super::http::{Message, post, read_chunk, read_head, read_message};
use super::random::Random;
use super::sidecar::PATIENCE;
use super::upstream;

const PROMPT: &str = "Say a word, again and again.";
/// The body of a call that is no stream.
pub(crate) const JSON_BODY: &str =
    r#"{"messages":[{"role":"user","content":"Say a word, again and again."}]}"#;
/// What the prompt costs, by the service's rules.
pub(crate) const PROMPT_TOKENS: u64 = 15;
/// What is called.
pub(crate) const DEPLOYMENT: &str = "d";
/// Callers that share the load.
const TEAMS: usize = 5;

/// What a caller does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Kind {
    /// A stream that never asks for usage.
    Plain,
    /// A stream that asks for usage and gets it.
    Reports,
    /// A stream that the caller leaves half-way.
    HangsUp,
    /// A stream that outlives most.
    Slow,
    /// No stream; the answer reports its usage.
    Json,
}

/// All of them; what a hang-up costs is not known to the token.
pub(crate) const MIXED: [Kind; 8] = [
    Kind::Plain,
    Kind::Reports,
    Kind::HangsUp,
    Kind::Slow,
    Kind::Json,
    Kind::Plain,
    Kind::HangsUp,
    Kind::Reports,
];

/// Only those whose numbers are known beforehand.
pub(crate) const STEADY: [Kind; 3] = [Kind::Json, Kind::Plain, Kind::Reports];

impl Kind {
    fn of(id: &str) -> Kind {
        let name = id.rsplit('.').next().unwrap();
        MIXED.into_iter().find(|kind| format!("{kind:?}") == name).unwrap()
    }

    /// Words of a whole answer, one token each.
    pub(crate) fn words(self) -> u64 {
        match self {
            Kind::Slow => 120,
            Kind::Json => 30,
            _ => 100,
        }
    }

    /// Tokens of a whole answer: its words, and the end of the turn.
    pub(crate) fn tokens(self) -> u64 {
        self.words() + 1
    }

    /// Time between two words.
    fn pace(self) -> Duration {
        Duration::from_millis(if self == Kind::Slow { 50 } else { 20 })
    }

    /// The service says what the call used.
    pub(crate) fn reports(self) -> bool {
        matches!(self, Kind::Reports | Kind::Json)
    }
}

/// What the service knows of a call: when its request was there, and when each word was sent.
#[derive(Clone, Debug)]
pub(crate) struct Told {
    pub(crate) arrived: Instant,
    /// Taken just before the word was written.
    pub(crate) words: Vec<Instant>,
}

/// What a caller knows of a call.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) id: String,
    pub(crate) caller: String,
    pub(crate) kind: Kind,
    /// Words that were received.
    pub(crate) words: u64,
    /// When it was whole, or when the caller left.
    pub(crate) ended: Option<Instant>,
}

impl Call {
    /// One that was whole.
    pub(crate) fn whole(id: &str, caller: &str) -> Call {
        let kind = Kind::of(id);
        let (id, caller) = (id.to_owned(), caller.to_owned());
        Call { id, caller, kind, words: kind.words(), ended: Some(Instant::now()) }
    }
}

/// The service.
pub(crate) struct Service {
    pub(crate) addr: SocketAddr,
    told: Arc<Mutex<HashMap<String, Told>>>,
}

impl Service {
    pub(crate) fn start() -> Service {
        let told = Arc::default();
        let mine = Arc::clone(&told);
        let addr = upstream::start(Arc::new(move |request: &Message, to: &mut TcpStream| {
            answer(request, to, &mine)
        }));
        Service { addr, told }
    }

    /// It has not been asked anything that was not taken.
    pub(crate) fn is_idle(&self) -> bool {
        self.told.lock().unwrap().is_empty()
    }

    /// What it knows of a call.
    pub(crate) fn take(&self, id: &str) -> Option<Told> {
        self.told.lock().unwrap().remove(id)
    }
}

fn answer(request: &Message, to: &mut TcpStream, told: &Mutex<HashMap<String, Told>>) -> io::Result<()> {
    let id = request.field("x-ms-client-request-id").unwrap();
    let kind = Kind::of(id);
    told.lock().unwrap().insert(id.to_owned(), Told { arrived: Instant::now(), words: Vec::new() });
    let usage = json!({"prompt_tokens": PROMPT_TOKENS, "completion_tokens": kind.tokens(),
        "total_tokens": PROMPT_TOKENS + kind.tokens()});
    if kind == Kind::Json {
        std::thread::sleep(kind.pace() * kind.words() as u32 / 2);
        let text = " word".repeat(kind.words() as usize);
        let body = json!({"id": "chatcmpl-test", "object": "chat.completion", "created": 1, "model": "gpt-4o-2024-11-20",
            "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": text}}], "usage": usage});
        let body = body.to_string();
        let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n";
        return write!(to, "{head}Content-Length: {}\r\n\r\n{body}", body.len());
    }
    to.write_all(upstream::STREAM_HEAD.as_bytes())?;
    for _ in 0..kind.words() {
        if let Some(told) = told.lock().unwrap().get_mut(id) {
            told.words.push(Instant::now());
        }
        upstream::write_chunk(to, upstream::delta(" word").as_bytes())?;
        std::thread::sleep(kind.pace());
    }
    if kind.reports() {
        let last = json!({"id": "chatcmpl-test", "object": "chat.completion.chunk", "created": 1,
            "model": "gpt-4o-2024-11-20", "choices": [], "usage": usage});
        let stop = upstream::stop().replace("data: [DONE]\n\n", &format!("data: {last}\n\ndata: [DONE]\n\n"));
        upstream::write_chunk(to, stop.as_bytes())?;
    } else {
        upstream::write_chunk(to, upstream::stop().as_bytes())?;
    }
    upstream::write_end(to)
}

/// How callers are told what goes on.
#[derive(Default)]
pub(crate) struct Signs {
    /// No new call is to begin.
    pub(crate) stop: AtomicBool,
    /// Each caller makes one call.
    pub(crate) stop_after_one: AtomicBool,
    /// The sidecar may be dead: a call that breaks is no surprise.
    pub(crate) broken: AtomicBool,
}

impl Signs {
    pub(crate) fn set(sign: &AtomicBool) {
        sign.store(true, Ordering::SeqCst);
    }

    fn is(sign: &AtomicBool) -> bool {
        sign.load(Ordering::SeqCst)
    }
}

/// Callers at one sidecar.
pub(crate) struct Load<'a> {
    pub(crate) addr: SocketAddr,
    pub(crate) streams: usize,
    /// Begins the ids of the calls.
    pub(crate) name: &'a str,
    pub(crate) kinds: &'a [Kind],
}

/// Runs callers until they are told to stop, or their sidecar dies, while `meanwhile` does whatever it
/// wants to try. Returns what each caller knows of its calls. Panics if a call breaks without a reason.
pub(crate) fn run(
    load: &Load<'_>,
    random: &mut Random,
    signs: &Signs,
    meanwhile: impl FnOnce(),
) -> Vec<Call> {
    let &Load { addr, streams, name, kinds } = load;
    std::thread::scope(|scope| {
        let callers: Vec<_> = (0..streams)
            .map(|n| {
                let mut caller = Caller {
                    addr,
                    name: format!("{name}-{n}"),
                    caller: format!("team-{}", n % TEAMS),
                    kind: kinds[n % kinds.len()],
                    random: random.fork(),
                    connection: None,
                };
                scope.spawn(move || caller.run(signs))
            })
            .collect();
        meanwhile();
        callers.into_iter().flat_map(|caller| caller.join().unwrap()).collect()
    })
}

struct Caller {
    addr: SocketAddr,
    name: String,
    caller: String,
    kind: Kind,
    random: Random,
    connection: Option<BufReader<TcpStream>>,
}

impl Caller {
    fn run(&mut self, signs: &Signs) -> Vec<Call> {
        let mut calls = Vec::new();
        while !Signs::is(&signs.stop) && !Signs::is(&signs.broken) {
            let mut call = Call {
                id: format!("{}-{}.{:?}", self.name, calls.len(), self.kind),
                caller: self.caller.clone(),
                kind: self.kind,
                words: 0,
                ended: None,
            };
            let done = self.call(&mut call);
            if done.is_ok() {
                call.ended = Some(Instant::now());
            }
            calls.push(call);
            if Signs::is(&signs.stop_after_one) {
                assert!(done.is_ok(), "{done:?}");
                break;
            }
            if let Err(error) = done {
                let id = &calls.last().unwrap().id;
                assert!(Signs::is(&signs.broken), "{id}: the caller noticed: {error}");
                break;
            }
        }
        calls
    }

    fn call(&mut self, call: &mut Call) -> io::Result<()> {
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => connect(self.addr)?,
        };
        let leaves = (call.kind == Kind::HangsUp).then(|| self.random.between(1, 60));
        connection.get_mut().write_all(&request(call))?;
        if call.kind == Kind::Json {
            let message = read_message(&mut connection)?.ok_or(io::ErrorKind::UnexpectedEof)?;
            assert_eq!(message.status(), 200);
        } else {
            let head = read_head(&mut connection)?.ok_or(io::ErrorKind::UnexpectedEof)?;
            assert_eq!(head.status(), 200);
            while let Some(chunk) = read_chunk(&mut connection)? {
                call.words += count(&chunk, b"\" word\"");
                if leaves.is_some_and(|leaves| call.words >= leaves) {
                    return Ok(()); // and the connection closes
                }
            }
        }
        self.connection = Some(connection);
        Ok(())
    }
}

fn connect(addr: SocketAddr) -> io::Result<BufReader<TcpStream>> {
    let socket = TcpStream::connect(addr)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.set_nodelay(true)?;
    Ok(BufReader::new(socket))
}

fn request(call: &Call) -> Vec<u8> {
    let fields =
        [("x-ms-client-request-id", call.id.as_str()), ("x-apim-subscription-id", call.caller.as_str())];
    let mut body = json!({"messages": [{"role": "user", "content": PROMPT}]});
    if call.kind != Kind::Json {
        body["stream"] = json!(true);
    }
    if call.kind == Kind::Reports {
        body["stream_options"] = json!({"include_usage": true});
    }
    let mut path = "/openai/deployments/d/chat/completions?api-version=2024-10-21";
    if call.kind == Kind::Slow {
        path = "/openai/v1/chat/completions"; // the deployment is known from the body only
        body["model"] = json!(DEPLOYMENT);
    }
    post(path, &fields, &body.to_string())
}

fn count(bytes: &[u8], word: &[u8]) -> u64 {
    bytes.windows(word.len()).filter(|window| *window == word).count() as u64
}
