//! Callers of every surface at once, and the service that answers them. What something costs depends on its
//! name alone, so that each event can be held against the truth, whoever lived to see it.

use std::collections::HashMap;
use std::io::{self, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::sleep;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::http::{Message, post, read_chunk, read_head, read_message};
use super::mixed::{JSON_BODY, PROMPT_TOKENS};
use super::sessions::{HANDSHAKE, SWITCHED};
use super::sidecar::PATIENCE;
use super::support::messages;
use super::support::websocket::{CLOSE, MASKED_CLOSE, masked_text, read_text, text};
use super::upstream::{STREAM_HEAD, delta, start, stop, write_chunk, write_end};

/// Who looks at work that others have begun.
pub(crate) const POLLER: &str = "poller";

/// Times that work is looked at before it is over.
const LOOKS: usize = 2;
/// Words of a stream, one token each.
const WORDS: u64 = 12;
/// Responses of a session at most.
const RESPONSES_MAX: u64 = 5;

/// A thing that has an event of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Surface {
    /// A stream that reports its usage.
    Chat,
    /// A stream that does not, and is counted.
    CountedChat,
    /// A stream of Anthropic's.
    Messages,
    Images,
    /// Billed by the second that is heard.
    Transcription,
    /// Billed by the character.
    Speech,
    /// Work that is announced, and billed when somebody sees that it is over.
    Background,
    Video,
    Batch,
    /// A WebSocket, which costs nothing by itself; and what is done in it.
    Session,
    SessionResponse,
    SessionTranscription,
    /// Of each kind of work.
    BackgroundBill,
    VideoBill,
    BatchBill,
}

use Surface::{
    Background, BackgroundBill, Batch, BatchBill, Chat, CountedChat, Images, Session, SessionResponse,
    SessionTranscription, Speech, Transcription, Video, VideoBill,
};

/// The surfaces that callers begin with.
const CALLED: [Surface; 10] =
    [Chat, CountedChat, Surface::Messages, Images, Transcription, Speech, Background, Video, Batch, Session];

/// One thing that has an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Item {
    pub(crate) surface: Surface,
    pub(crate) number: u64,
}

/// Input, output, and what is billed otherwise.
pub(crate) type Cost = (Option<u64>, Option<u64>, Value);

impl Item {
    pub(crate) fn id(self) -> String {
        format!("{:?}.{}", self.surface, self.number)
    }

    /// The item that calls itself so.
    pub(crate) fn of(id: &str) -> Item {
        let (name, number) = id.split_once('.').unwrap();
        let all = CALLED.into_iter().chain([SessionResponse, SessionTranscription]);
        let surface = all.into_iter().find(|surface| format!("{surface:?}") == name);
        Item { surface: surface.unwrap_or_else(|| panic!("{id}")), number: number.parse().unwrap() }
    }

    /// The transcription that took so many tokens in.
    pub(crate) fn transcribed(input: u64) -> Item {
        Item { surface: SessionTranscription, number: input - 10 }
    }

    /// The bill of this work.
    pub(crate) fn bill(self) -> Item {
        let surface = match self.surface {
            Background => BackgroundBill,
            Video => VideoBill,
            Batch => BatchBill,
            other => panic!("{other:?} has no bill"),
        };
        Item { surface, ..self }
    }

    /// The work of this bill.
    pub(crate) fn work(self) -> Option<Item> {
        let works = [Background, Video, Batch].map(|surface| Item { surface, ..self });
        works.into_iter().find(|work| work.bill() == self)
    }

    /// Who calls.
    fn caller(self) -> &'static str {
        ["team-0", "team-1", "team-2"][self.number as usize % 3]
    }

    /// Pauses between parts of an answer.
    fn pause(self) -> Duration {
        Duration::from_millis(2 + 5 * (self.number % 4))
    }

    fn tokens(self) -> (u64, u64) {
        (10 + self.number, 1_000 + self.number)
    }

    /// The cost that its event must say.
    pub(crate) fn cost(self) -> Cost {
        let (input, output) = self.tokens();
        let (input, output) = (Some(input), Some(output));
        match self.surface {
            Chat | SessionResponse | SessionTranscription | BackgroundBill | BatchBill => {
                (input, output, Value::Null)
            }
            CountedChat => (Some(PROMPT_TOKENS), Some(WORDS + 1), Value::Null),
            Surface::Messages => (Some(messages::INPUT), output, Value::Null),
            Images => (input, output, json!({"images": self.images()})),
            Transcription => (None, None, json!({"audio_ms": 1_000 * self.number})),
            Speech => (None, None, json!({"characters": self.spoken().chars().count()})),
            Background | Video | Batch => (None, None, Value::Null),
            VideoBill => (None, None, json!({"video_ms": 1_000 * self.number})),
            Session => (Some(0), Some(0), Value::Null),
        }
    }

    fn images(self) -> u64 {
        1 + self.number % 3
    }

    fn spoken(self) -> String {
        "grün ".repeat(1 + self.number as usize % 20)
    }

    fn usage(self, input_name: &str, output_name: &str) -> Value {
        let (input, output) = self.tokens();
        json!({input_name: input, output_name: output, "total_tokens": input + output})
    }

    fn request(self, caller: &str) -> Vec<u8> {
        let id = self.id();
        let fields = [("x-ms-client-request-id", id.as_str()), ("x-apim-subscription-id", caller)];
        let (path, body) = match self.surface {
            Chat | CountedChat => {
                let mut body: Value = serde_json::from_str(JSON_BODY).unwrap();
                body["stream"] = json!(true);
                if self.surface == Chat {
                    body["stream_options"] = json!({"include_usage": true});
                }
                ("/openai/deployments/d/chat/completions?api-version=2024-10-21", body)
            }
            Surface::Messages => ("/anthropic/v1/messages", serde_json::from_str(messages::REQUEST).unwrap()),
            Images => (
                "/openai/v1/images/generations",
                json!({"model": "img", "prompt": "a hat", "n": self.images()}),
            ),
            Transcription => {
                ("/openai/deployments/ear/audio/transcriptions?api-version=2024-10-21", json!({}))
            }
            Speech => {
                ("/openai/v1/audio/speech", json!({"model": "tts", "voice": "alloy", "input": self.spoken()}))
            }
            Background => {
                ("/openai/v1/responses", json!({"model": "team-r", "input": "Hi", "background": true}))
            }
            Video => (
                "/openai/v1/videos",
                json!({"model": "team-v", "prompt": "a hat", "seconds": self.number.to_string()}),
            ),
            Batch => ("/openai/v1/batches", json!({"input_file_id": "file-1", "endpoint": "/v1/responses"})),
            other => panic!("{other:?} is no call"),
        };
        post(path, &fields, &body.to_string())
    }

    /// The object of this work.
    fn object(self, is_over: bool) -> Value {
        let status = if is_over { "completed" } else { "in_progress" };
        let mut object = json!({"id": self.id(), "status": status, "created_at": 1_795_000_000});
        match self.surface {
            Background => {
                object["background"] = json!(true);
                object["object"] = json!("response");
            }
            Video => {
                object["object"] = json!("video");
                object["seconds"] = json!(self.number.to_string());
                return object;
            }
            _ => object["object"] = json!("batch"),
        }
        object["model"] = json!("gpt-5-mini-2025-08-07");
        object["usage"] = if is_over { self.usage("input_tokens", "output_tokens") } else { Value::Null };
        object
    }

    fn document(self) -> Value {
        match self.surface {
            Images => json!({"created": 1, "data": vec![json!({"b64_json": "iVBO"}); self.images() as usize],
                "usage": self.usage("input_tokens", "output_tokens")}),
            Transcription => json!({"text": "teal", "usage": {"type": "duration", "seconds": self.number}}),
            _ => self.object(false),
        }
    }

    /// The parts of a stream.
    fn parts(self) -> Vec<String> {
        if self.surface == Surface::Messages {
            let usage = json!({"output_tokens": self.tokens().1});
            return vec![messages::beginning(), messages::ping(), messages::change(&usage), messages::stop()];
        }
        let mut parts = vec![delta(" word"); WORDS as usize];
        let usage = json!({"id": "chatcmpl-test", "object": "chat.completion.chunk", "created": 1,
            "model": "gpt-4o-2024-11-20", "choices": [], "usage": self.usage("prompt_tokens", "completion_tokens")});
        let reported = if self.surface == Chat { format!("data: {usage}\n\n") } else { String::new() };
        parts.push(stop().replace("data: [DONE]\n\n", &format!("{reported}data: [DONE]\n\n")));
        parts
    }
}

/// The service.
pub(crate) fn service() -> SocketAddr {
    let looks = Mutex::new(HashMap::<String, usize>::new());
    start(Arc::new(move |request: &Message, to: &mut TcpStream| {
        if request.field("upgrade").is_some() {
            return converse(to);
        }
        if let (true, Some((_, id))) = (request.head.starts_with("GET"), request.target().rsplit_once('/')) {
            let looked = *looks.lock().unwrap().entry(id.to_owned()).and_modify(|n| *n += 1).or_insert(0);
            return send(to, "application/json", &Item::of(id).object(looked >= LOOKS).to_string());
        }
        answer(Item::of(request.field("x-ms-client-request-id").unwrap()), to)
    }))
}

fn send(to: &mut TcpStream, kind: &str, body: &str) -> io::Result<()> {
    let head = format!("HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n\r\n", body.len());
    to.write_all((head + body).as_bytes())
}

fn answer(item: Item, to: &mut TcpStream) -> io::Result<()> {
    match item.surface {
        Chat | CountedChat | Surface::Messages => {
            to.write_all(STREAM_HEAD.as_bytes())?;
            for part in item.parts() {
                write_chunk(to, part.as_bytes())?;
                sleep(item.pause());
            }
            write_end(to)
        }
        surface => {
            sleep(4 * item.pause());
            match surface {
                Speech => send(to, "audio/mpeg", "not really sound"),
                _ => send(to, "application/json", &item.document().to_string()),
            }
        }
    }
}

/// Does what is asked for in a session, one after the other, until it is closed.
fn converse(to: &mut TcpStream) -> io::Result<()> {
    to.write_all(SWITCHED)?;
    let session = json!({"id": "sess_1", "model": "gpt-realtime-2025-08-28"});
    to.write_all(&text(&json!({"type": "session.created", "session": session}).to_string()))?;
    let mut from = to.try_clone()?;
    while let Some(asked) = read_text(&mut from)? {
        let asked: Value = serde_json::from_str(&asked).unwrap();
        let item = Item::of(asked["event_id"].as_str().unwrap());
        let usage = item.usage("input_tokens", "output_tokens");
        let last = if item.surface == SessionResponse {
            let response = json!({"id": item.id(), "status": "in_progress"});
            to.write_all(&text(&json!({"type": "response.created", "response": response}).to_string()))?;
            // One of them takes longer than a checkpoint.
            sleep(if item.number.is_multiple_of(16) { Duration::from_secs(1) } else { 4 * item.pause() });
            let response = json!({"id": item.id(), "status": "completed", "usage": usage});
            json!({"type": "response.done", "response": response})
        } else {
            json!({"type": "conversation.item.input_audio_transcription.completed", "item_id": "i", "usage": usage})
        };
        to.write_all(&text(&last.to_string()))?;
    }
    to.write_all(CLOSE)?;
    Err(io::ErrorKind::ConnectionAborted.into()) // the session is over
}

/// An item as somebody saw it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seen {
    pub(crate) item: Item,
    /// Who pays for it, if its beginning is known.
    pub(crate) payer: &'static str,
    /// The session in which it was done.
    pub(crate) session: Option<Item>,
    /// When its answer had begun.
    pub(crate) begun: Option<Instant>,
    /// When it was seen whole.
    pub(crate) ended: Option<Instant>,
}

/// Who calls, through all lives of a sidecar.
#[derive(Default)]
pub(crate) struct Callers {
    numbers: AtomicU64,
    /// Work that was begun by anybody, ever.
    works: Mutex<Vec<Item>>,
}

impl Callers {
    /// Lets so many callers of each surface call until `broken` says that the sidecar is dead or dying, which
    /// `meanwhile` sees to. Returns what each of them saw.
    pub(crate) fn run(
        &self,
        addr: SocketAddr,
        of_each: usize,
        broken: &AtomicBool,
        meanwhile: impl FnOnce(),
    ) -> Vec<Seen> {
        std::thread::scope(|scope| {
            let surfaces = (0..of_each).flat_map(|_| CALLED);
            let callers: Vec<_> =
                surfaces.map(|surface| scope.spawn(move || self.call_on(addr, surface, broken))).collect();
            meanwhile();
            callers.into_iter().flat_map(|caller| caller.join().unwrap()).collect()
        })
    }

    /// Every work that was ever begun.
    pub(crate) fn works(&self) -> Vec<Item> {
        self.works.lock().unwrap().clone()
    }

    fn next(&self, surface: Surface) -> Item {
        Item { surface, number: 1 + self.numbers.fetch_add(1, Ordering::SeqCst) }
    }

    fn call_on(&self, addr: SocketAddr, surface: Surface, broken: &AtomicBool) -> Vec<Seen> {
        let mut seen = Vec::new();
        while !broken.load(Ordering::SeqCst) {
            let item = self.next(surface);
            let done = match surface {
                Session => self.hold_session(addr, item, &mut seen),
                Background | Video | Batch => self.begin_and_look(addr, item, &mut seen),
                _ => call(addr, item, &mut seen),
            };
            if let Err(error) = done {
                assert!(broken.load(Ordering::SeqCst), "{item:?}: the caller noticed: {error}");
            }
        }
        seen
    }

    /// Begins work, and looks at some that was begun at any time, until one is over.
    fn begin_and_look(&self, addr: SocketAddr, item: Item, seen: &mut Vec<Seen>) -> io::Result<()> {
        let begun = call(addr, item, seen);
        self.works.lock().unwrap().push(item); // also if its caller does not know what became of it
        begun?;
        let older = {
            let works = self.works.lock().unwrap();
            works[item.number as usize % works.len()]
        };
        for work in [item, older] {
            while !look(addr, work, seen)? {
                sleep(work.pause());
            }
        }
        Ok(())
    }

    fn hold_session(&self, addr: SocketAddr, session: Item, seen: &mut Vec<Seen>) -> io::Result<()> {
        let mut wire = connect(addr)?;
        let fields = format!(
            "\r\nx-ms-client-request-id: {}\r\nx-apim-subscription-id: {}\r\n\r\n",
            session.id(),
            session.caller()
        );
        let at = begin(session, None, seen);
        wire.get_mut().write_all(HANDSHAKE.replace("\r\n\r\n", &fields).as_bytes())?;
        let head = read_head(&mut wire)?.ok_or(io::ErrorKind::UnexpectedEof)?;
        assert_eq!(head.status(), 101);
        heard(&mut wire, "session.created")?;
        seen[at].begun = Some(Instant::now());
        for nth in 0..1 + session.number % RESPONSES_MAX {
            let item = self.next(if nth == 1 { SessionTranscription } else { SessionResponse });
            let mine = begin(item, Some(session), seen);
            let asked = json!({"type": "response.create", "event_id": item.id()}).to_string();
            wire.get_mut().write_all(&masked_text(&asked, (item.number as u32).to_le_bytes()))?;
            if item.surface == SessionResponse {
                heard(&mut wire, "response.created")?;
                seen[mine].begun = Some(Instant::now());
                heard(&mut wire, "response.done")?;
            } else {
                heard(&mut wire, "conversation.item.input_audio_transcription.completed")?;
            }
            seen[mine].ended = Some(Instant::now());
        }
        wire.get_mut().write_all(MASKED_CLOSE)?;
        while read_text(&mut wire)?.is_some() {}
        if io::copy(&mut wire, &mut io::sink())? == 0 {
            seen[at].ended = Some(Instant::now());
        }
        Ok(())
    }
}

fn begin(item: Item, session: Option<Item>, seen: &mut Vec<Seen>) -> usize {
    let payer = session.unwrap_or(item).caller();
    seen.push(Seen { item, payer, session, begun: None, ended: None });
    seen.len() - 1
}

fn connect(addr: SocketAddr) -> io::Result<BufReader<TcpStream>> {
    let socket = TcpStream::connect(addr)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.set_nodelay(true)?;
    Ok(BufReader::new(socket))
}

/// The next message of a session, which must be of that type.
fn heard(wire: &mut BufReader<TcpStream>, kind: &str) -> io::Result<()> {
    let said = read_text(wire)?.expect("a service that does not close");
    let said: Value = serde_json::from_str(&said).unwrap();
    assert_eq!(said["type"], kind);
    Ok(())
}

fn call(addr: SocketAddr, item: Item, seen: &mut Vec<Seen>) -> io::Result<()> {
    let mut wire = connect(addr)?;
    let at = begin(item, None, seen);
    wire.get_mut().write_all(&item.request(item.caller()))?;
    if matches!(item.surface, Chat | CountedChat | Surface::Messages) {
        let head = read_head(&mut wire)?.ok_or(io::ErrorKind::UnexpectedEof)?;
        assert_eq!(head.status(), 200);
        seen[at].begun = Some(Instant::now());
        while read_chunk(&mut wire)?.is_some() {}
    } else {
        read_document(&mut wire)?;
    }
    seen[at].ended = Some(Instant::now());
    Ok(())
}

fn read_document(wire: &mut BufReader<TcpStream>) -> io::Result<Message> {
    let answer = read_message(wire)?.filter(|answer| !answer.body.is_empty());
    let answer = answer.ok_or(io::ErrorKind::UnexpectedEof)?;
    assert_eq!(answer.status(), 200, "{answer:?}");
    Ok(answer)
}

/// Looks at work once; whether it is over, and its bill was so seen.
pub(crate) fn look(addr: SocketAddr, work: Item, seen: &mut Vec<Seen>) -> io::Result<bool> {
    let path = match work.surface {
        Background => "responses",
        Video => "videos",
        _ => "batches",
    };
    let mut wire = connect(addr)?;
    let id = work.id();
    let request = format!(
        "GET /openai/v1/{path}/{id} HTTP/1.1\r\nHost: gw\r\nx-apim-subscription-id: {POLLER}\r\n\r\n"
    );
    wire.get_mut().write_all(request.as_bytes())?;
    let answer = read_document(&mut wire)?;
    let object: Value = serde_json::from_slice(&answer.body)?;
    assert_eq!(object["id"], id);
    let is_over = object["status"] == "completed";
    if is_over {
        seen.push(Seen {
            item: work.bill(),
            payer: work.caller(),
            session: None,
            begun: None,
            ended: Some(Instant::now()),
        });
    }
    Ok(is_over)
}
