//! Sessions over WebSockets: each response that a client had is billed once, to the token, whoever ends the session and how.

use std::io::{self, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use metering::usage::{Api, Outcome, Quality, Source, Usage};
use ring::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use serde_json::{Value, json};
use tungstenite::protocol::frame::coding::CloseCode;
use tungstenite::protocol::{CloseFrame, Role};
use tungstenite::{Message, WebSocket};

use super::sdk::{NODE, PYTHON, Ready};
use super::support::certs::{Authority, Files};
use super::support::http::read_head;
use super::support::sidecar::{Sidecar, verified};
use super::support::{PATIENCE, fake_service, wait_for};
use super::{SHARED_SECRET, events_by_caller, sidecar};

/// The text that a key is hashed with (RFC 6455 1.3).
const ACCEPT_GUID: &str = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// Responses that a client asks for; in the last one the service does what the model is named after.
const RESPONSES: u64 = 3;

/// The test's side of a response that waits for a word.
struct Pause {
    begun: Receiver<()>,
    go_on: Sender<()>,
}

/// The service's side of it.
struct Paused {
    begun: Mutex<Sender<()>>,
    go_on: Mutex<Receiver<()>>,
}

impl Paused {
    fn wait(&self) {
        self.begun.lock().unwrap().send(()).unwrap();
        let _ = self.go_on.lock().unwrap().recv_timeout(PATIENCE);
    }
}

/// The messages of a service in a session.
trait Surface: Send + Sync + 'static {
    fn greeting(&self, model: &str) -> Option<Value>;
    /// A response: what comes before the moment at which it may end, and what comes behind.
    fn response(&self, model: &str, number: u64) -> (Vec<Value>, Vec<Value>);
    /// The members of the event's `tokens` that are not null.
    fn tokens(&self, number: u64) -> Value;
    fn api(&self) -> Api;
    /// The numbers of a response that was cut: tokens of its output, and reasons beside the outcome.
    fn cut(&self) -> (Option<u64>, &'static [&'static str]);
}

struct Realtime;

impl Surface for Realtime {
    fn greeting(&self, model: &str) -> Option<Value> {
        let session = json!({"type": "realtime", "object": "realtime.session", "id": format!("sess_{model}"),
            "model": "gpt-realtime-2025-08-28", "output_modalities": ["audio"]});
        Some(json!({"type": "session.created", "event_id": "event_0", "session": session}))
    }

    fn response(&self, model: &str, number: u64) -> (Vec<Value>, Vec<Value>) {
        let id = format!("resp_{model}_{number}");
        let response = |status: &str, usage: Value| {
            json!({"object": "realtime.response", "id": id, "status": status, "output": [], "conversation_id": "conv_1",
                "usage": usage})
        };
        let usage = json!({"total_tokens": 1_200 + 2 * number, "input_tokens": 900 + number, "output_tokens": 300 + number,
            "input_token_details": {"text_tokens": 400 + number, "audio_tokens": 500, "image_tokens": 0, "cached_tokens": 600,
                "cached_tokens_details": {"text_tokens": 350, "audio_tokens": 250, "image_tokens": 0}},
            "output_token_details": {"text_tokens": 60 + number, "audio_tokens": 240}});
        let audio = |delta: &str| {
            json!({"type": "response.output_audio.delta", "event_id": "event_2", "response_id": id, "item_id": "item_1",
                "output_index": 0, "content_index": 0, "delta": delta})
        };
        let created = json!({"type": "response.created", "event_id": "event_1", "response": response("in_progress", Value::Null)});
        let done =
            json!({"type": "response.done", "event_id": "event_3", "response": response("completed", usage)});
        (vec![created, audio("UklGRg==")], vec![audio(&"AAAA".repeat(1_024)), done])
    }

    fn tokens(&self, number: u64) -> Value {
        json!({"input": 900 + number, "output": 300 + number, "total": 1_200 + 2 * number, "input_text": 400 + number,
            "input_audio": 500, "input_image": 0, "input_cached": 600, "input_cached_text": 350, "input_cached_audio": 250,
            "input_cached_image": 0, "output_text": 60 + number, "output_audio": 240})
    }

    fn api(&self) -> Api {
        Api::Realtime
    }

    fn cut(&self) -> (Option<u64>, &'static [&'static str]) {
        (None, &[])
    }
}

struct Responses;

impl Surface for Responses {
    /// It waits to be asked.
    fn greeting(&self, _: &str) -> Option<Value> {
        None
    }

    fn response(&self, model: &str, number: u64) -> (Vec<Value>, Vec<Value>) {
        let id = format!("resp_{model}_{number}");
        let response = |status: &str, output: Value, usage: Value| {
            json!({"id": id, "object": "response", "created_at": 1_795_000_000.0, "status": status, "background": false,
                "error": null, "incomplete_details": null, "model": "gpt-5-mini-2025-08-07", "output": output,
                "parallel_tool_calls": true, "tool_choice": "auto", "tools": [], "usage": usage})
        };
        let delta = |number: u64, text: &str| {
            json!({"type": "response.output_text.delta", "sequence_number": number, "item_id": "msg_1", "output_index": 0,
                "content_index": 0, "delta": text, "logprobs": []})
        };
        let usage = json!({"input_tokens": 20 + number, "input_tokens_details": {"cached_tokens": 16, "cache_write_tokens": 0},
            "output_tokens": 70 + number, "output_tokens_details": {"reasoning_tokens": 64}, "total_tokens": 90 + 2 * number});
        let output = json!([{"type": "message", "id": "msg_1", "status": "completed", "role": "assistant",
            "content": [{"type": "output_text", "text": "one two three four.", "annotations": []}]}]);
        let created = json!({"type": "response.created", "sequence_number": 0,
            "response": response("in_progress", json!([]), Value::Null)});
        let completed = json!({"type": "response.completed", "sequence_number": 4,
            "response": response("completed", output, usage)});
        (vec![created, delta(1, "one"), delta(2, " two")], vec![delta(3, " three four."), completed])
    }

    fn tokens(&self, number: u64) -> Value {
        json!({"input": 20 + number, "output": 70 + number, "total": 90 + 2 * number, "input_cached": 16,
            "input_cache_write": 0, "output_reasoning": 64})
    }

    fn api(&self) -> Api {
        Api::Responses
    }

    /// A word is a token. The service has the conversation before it, and what the model thinks.
    fn cut(&self) -> (Option<u64>, &'static [&'static str]) {
        (Some(2), &["input:server_state", "output:reasoning_hidden"])
    }
}

/// Answers one connection: the handshake, then a response whenever it is asked for one.
fn serve(mut socket: TcpStream, surface: &dyn Surface, paused: &Paused) -> tungstenite::Result<()> {
    let request = read_head(&mut BufReader::new(&socket))?.ok_or_else(invalid)?;
    assert_eq!(request.fields("x-tokenweir-auth"), [""; 0], "the secret went upstream");
    let key = request.field("sec-websocket-key").ok_or_else(invalid)?;
    let accept =
        STANDARD.encode(digest(&SHA1_FOR_LEGACY_USE_ONLY, (key.to_owned() + ACCEPT_GUID).as_bytes()));
    write!(
        socket,
        "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: {accept}\r\n\r\n"
    )?;
    let query = request.target().split(['?', '&']).filter_map(|pair| pair.split_once('='));
    let model =
        query.filter(|(name, _)| ["model", "deployment"].contains(name)).map(|(_, value)| value).next();
    let mut session = WebSocket::from_raw_socket(socket, Role::Server, None);
    talk(&mut session, surface, model, paused)
}

fn talk(
    session: &mut WebSocket<TcpStream>,
    surface: &dyn Surface,
    model: Option<&str>,
    paused: &Paused,
) -> tungstenite::Result<()> {
    say(session, model.and_then(|model| surface.greeting(model)))?;
    let mut number = 0;
    loop {
        let Message::Text(asked) = session.read()? else { continue };
        let asked: Value = serde_json::from_str(&asked).map_err(io::Error::from)?;
        let model = model.or(asked["model"].as_str()).ok_or_else(invalid)?;
        number += 1;
        let (begins, ends) = surface.response(model, number);
        say(session, begins)?;
        match model {
            "closed" if number == RESPONSES => {
                session
                    .close(Some(CloseFrame { code: CloseCode::Error, reason: "internal error".into() }))?;
            }
            "dropped" if number == RESPONSES => return Ok(()),
            "paused" | "stuck" if number == RESPONSES => paused.wait(),
            _ => {}
        }
        if session.can_write() {
            say(session, ends)?;
        }
    }
}

fn invalid() -> io::Error {
    io::ErrorKind::InvalidData.into()
}

fn say(
    session: &mut WebSocket<TcpStream>,
    messages: impl IntoIterator<Item = Value>,
) -> tungstenite::Result<()> {
    messages.into_iter().try_for_each(|message| session.send(Message::text(message.to_string())))
}

fn service(surface: Arc<dyn Surface>) -> (SocketAddr, Pause) {
    let ((say_begun, begun), (go_on, may_go_on)) = (channel(), channel());
    let paused = Paused { begun: Mutex::new(say_begun), go_on: Mutex::new(may_go_on) };
    // Its error is the end of the session, whoever wants it.
    let addr = fake_service::serve(move |socket| drop(serve(socket, &*surface, &paused)));
    (addr, Pause { begun, go_on })
}

/// Holds that a client has received what the service sent, of the last response so much.
fn received(told: &Value, surface: &dyn Surface, model: &str, ending: &str) {
    let mut sent = Vec::from_iter(surface.greeting(model));
    for number in 1..=RESPONSES {
        let (begins, ends) = surface.response(model, number);
        sent.extend(begins);
        if number < RESPONSES || ending == "left" {
            sent.extend(ends);
        }
    }
    assert_eq!((&told["ending"], &told["events"]), (&json!(ending), &Value::from(sent)), "{model}");
}

/// The events of a session that this caller had, which ended so.
fn judge(events: &[Usage], surface: &dyn Surface, model: &str, outcome: Outcome) {
    let (session, responses) = events.split_last().expect("events");
    assert_eq!(responses.len() as u64, RESPONSES, "{model}: {events:#?}");
    for (number, event) in (1..).zip(responses) {
        let id = format!("resp_{model}_{number}");
        assert_eq!(event.ids.response_id.as_deref(), Some(&*id), "{model}");
        if number < RESPONSES || outcome == Outcome::Complete {
            settled(event, surface, number);
        } else {
            cut(event, surface, outcome);
        }
    }
    assert_eq!((session.tokens.input, session.tokens.output), (Some(0), Some(0)), "{model}");
    assert_eq!(session.accounting.reasons, ["input:billed_per_response", "output:billed_per_response"]);
    assert_eq!(session.stream.outcome, outcome, "{model}");
    assert!(events.iter().all(|event| event.target.api == surface.api()), "{model}");
    assert!(responses.iter().all(|event| event.target.deployment.as_deref() == Some(model)), "{model}");
    // Each response of a session of Responses names its own.
    let named = surface.greeting(model).map(|_| model);
    assert_eq!(session.target.deployment.as_deref(), named, "{model}");
}

/// A response that was reported.
fn settled(event: &Usage, surface: &dyn Surface, number: u64) {
    let mut tokens = serde_json::to_value(&event.tokens).expect("JSON");
    tokens.as_object_mut().expect("an object").retain(|_, value| !value.is_null());
    assert_eq!(tokens, surface.tokens(number));
    let accounting = &event.accounting;
    assert_eq!((accounting.input_source, accounting.output_source), (Source::Reported, Source::Reported));
    assert_eq!((accounting.input_quality, accounting.output_quality), (Quality::Exact, Quality::Exact));
    assert_eq!(event.stream.outcome, Outcome::Complete);
}

/// A response that was open when the session ended.
fn cut(event: &Usage, surface: &dyn Surface, outcome: Outcome) {
    let (output, more) = surface.cut();
    assert_eq!((event.tokens.input, event.tokens.output), (None, output), "{event:#?}");
    let mut reasons: Vec<&str> = event.accounting.reasons.iter().map(|reason| &**reason).collect();
    reasons.sort_unstable();
    let by_outcome = ["input", "output"].map(|side| format!("{side}:{}", outcome.as_str()));
    let mut expected: Vec<&str> =
        by_outcome.iter().map(|reason| &**reason).chain(more.iter().copied()).collect();
    expected.sort_unstable();
    assert_eq!(reasons, expected);
    let known = if output.is_some() { Quality::LowerBound } else { Quality::Unknown };
    assert_eq!(event.accounting.output_quality, known);
    assert_eq!(event.stream.outcome, outcome);
}

fn python(
    ready: &Ready<'_>,
    sidecar: &Sidecar,
    caller: &str,
    client: &str,
    surface: &str,
    model: &str,
) -> Value {
    let (base_url, responses) = (format!("http://{}", sidecar.addr), RESPONSES.to_string());
    ready.step("sessions.py", &[&base_url, caller, SHARED_SECRET, client, surface, model, &responses])
}

#[test]
fn python_responses_over_websockets_give_one_right_event_each() {
    let Some(ready) = PYTHON.ready() else { return };
    let (service, _pause) = service(Arc::new(Responses));
    let dir = tempfile::tempdir().expect("directory");
    let ledger = dir.path().join("ledger");
    let sidecar = sidecar(service, &ledger, &[]);
    let sessions = [
        ("whole", "left", Outcome::Complete),
        ("closed", "broken", Outcome::UpstreamError),
        ("dropped", "broken", Outcome::UpstreamError),
    ];
    for (model, ending, _) in sessions {
        let told = python(&ready, &sidecar, model, "openai", "responses", model);
        received(&told, &Responses, model, ending);
    }
    assert_eq!(sidecar.stop().0, Some(0));
    verified(&ledger);
    let events = events_by_caller(&ledger);
    assert_eq!(events.len(), sessions.len());
    for (model, _, outcome) in sessions {
        judge(&events[model], &Responses, model, outcome);
    }
}

#[test]
fn python_realtime_sessions_give_one_right_event_for_each_response() {
    let Some(ready) = PYTHON.ready() else { return };
    let (service, _pause) = service(Arc::new(Realtime));
    let dir = tempfile::tempdir().expect("directory");
    let ledger = dir.path().join("ledger");
    let sidecar = sidecar(service, &ledger, &[]);
    let sessions = [
        ("openai", "whole", "left", Outcome::Complete),
        ("azure", "whole-azure", "left", Outcome::Complete),
        ("openai", "closed", "broken", Outcome::UpstreamError),
        ("openai", "dropped", "broken", Outcome::UpstreamError),
    ];
    for (client, model, ending, _) in sessions {
        let told = python(&ready, &sidecar, model, client, "realtime", model);
        received(&told, &Realtime, model, ending);
    }
    assert_eq!(sidecar.stop().0, Some(0));
    verified(&ledger);
    let events = events_by_caller(&ledger);
    assert_eq!(events.len(), sessions.len());
    for (_, model, _, outcome) in sessions {
        judge(&events[model], &Realtime, model, outcome);
    }
}

/// Stops the sidecar in the middle of a response; `goes_on`: the service ends it nevertheless.
fn stop_within_a_response(ledger: &Path, model: &str, drain_timeout: &str, goes_on: bool) -> Option<Value> {
    let ready = PYTHON.ready()?;
    let (service, pause) = service(Arc::new(Realtime));
    let sidecar = sidecar(service, ledger, &["--drain-timeout", drain_timeout]);
    let told = std::thread::scope(|scope| {
        let session = scope.spawn(|| python(&ready, &sidecar, model, "openai", "realtime", model));
        pause.begun.recv_timeout(PATIENCE).expect("the last response begins");
        sidecar.terminate();
        wait_for("the port to close", || TcpStream::connect(sidecar.addr).is_err().then_some(()));
        if goes_on {
            pause.go_on.send(()).expect("it waits");
        }
        session.join().expect("a session")
    });
    assert_eq!(sidecar.wait().0, Some(0));
    verified(ledger);
    Some(told)
}

#[test]
fn python_realtime_sessions_are_drained_by_sigterm_and_then_cut() {
    let dir = tempfile::tempdir().expect("directory");
    for (model, drain_timeout, ending, outcome) in
        [("paused", "60s", "left", Outcome::Complete), ("stuck", "1s", "broken", Outcome::Shutdown)]
    {
        let ledger = dir.path().join(model);
        let goes_on = ending == "left";
        let Some(told) = stop_within_a_response(&ledger, model, drain_timeout, goes_on) else { return };
        received(&told, &Realtime, model, ending);
        judge(&events_by_caller(&ledger)[model], &Realtime, model, outcome);
    }
}

/// Its client of sessions speaks TLS only.
#[test]
fn node_realtime_sessions_give_one_right_event_for_each_response() {
    let Some(ready) = NODE.ready() else { return };
    let (service, _pause) = service(Arc::new(Realtime));
    let (files, authority) = (Files::new(), Authority::new("an authority of the test"));
    let (cert, key) = files.put_pair(&authority.issue(&["127.0.0.1"]));
    let (ca, ledger) = (files.put("ca.pem", &authority.pem), files.path("ledger"));
    let [cert, key, ca] = [&cert, &key, &ca].map(|path| path.to_str().expect("text"));
    let sidecar = sidecar(service, &ledger, &["--listen-cert-file", cert, "--listen-key-file", key]);
    let (base_url, responses) = (format!("https://{}", sidecar.addr), RESPONSES.to_string());
    let sessions = [
        ("openai", "whole", "left", Outcome::Complete),
        ("azure", "whole-azure", "left", Outcome::Complete),
        ("openai", "closed", "broken", Outcome::UpstreamError),
        ("openai", "dropped", "broken", Outcome::UpstreamError),
    ];
    for (client, model, ending, _) in sessions {
        let arguments = [&base_url, model, SHARED_SECRET, client, "realtime", model, &responses, ca];
        received(&ready.step("sessions.mjs", &arguments), &Realtime, model, ending);
    }
    assert_eq!(sidecar.stop().0, Some(0));
    verified(&ledger);
    let events = events_by_caller(&ledger);
    assert_eq!(events.len(), sessions.len());
    for (_, model, _, outcome) in sessions {
        judge(&events[model], &Realtime, model, outcome);
    }
}
