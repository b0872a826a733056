//! Who pays, over real sockets: what headers, hops and files make of a call's event.
//!
//! - `forged`: a table of forged and malformed identity
//! - `hop`: the modes of trust, and what a hop that fails may not say
//! - `keys`: credentials in headers and query, and what becomes of them
//! - `map`: departments and cost centres, from file to report
//! - `gateway`: retries and what the service says of itself
//! - `streams`: two callers at once
//! - `tags`: second keys beside the payer, and what a path, a body and the gateway say of Foundry

mod forged;
mod gateway;
mod hop;
mod keys;
mod map;
mod streams;
mod tags;

use std::collections::HashMap;
use std::io::{self, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::Value;

use super::http::{Message, connect, read_message};
use super::sidecar::{Sidecar, usage_events};
use super::upstream;

const PATH: &str = "/openai/deployments/d/chat/completions?api-version=2024-10-21";
const BODY: &str = r#"{"messages":[{"role":"user","content":"Hello"}]}"#;
const ANSWER: &str = r#"{"id":"c","object":"chat.completion","created":1,"model":"gpt-4o-2024-11-20","choices":[{"index":0,"message":{"role":"assistant","content":"One"},"finish_reason":"stop"}],"usage":{"prompt_tokens":8,"completion_tokens":2,"total_tokens":10}}"#;

/// Heads of the requests that reached the service: first line, fields.
type Arrived = Arc<Mutex<Vec<(String, Vec<(String, String)>)>>>;

/// A sidecar before a service that keeps the heads of what it gets.
struct Rig {
    sidecar: Sidecar,
    arrived: Arrived,
    ledger: PathBuf,
    _dir: tempfile::TempDir,
}

/// What a sidecar left behind.
struct Left {
    /// `data` of each usage event, by `x-ms-client-request-id`.
    events: HashMap<String, Value>,
    log: Vec<String>,
    arrived: Vec<(String, Vec<(String, String)>)>,
    ledger: PathBuf,
    _dir: tempfile::TempDir,
}

/// First line and fields of a request, names in lower case.
fn arrival(request: &Message) -> (String, Vec<(String, String)>) {
    let fields = request.all_fields().map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()));
    (request.first_line().to_owned(), fields.collect())
}

impl Rig {
    fn start(arguments: &[&str]) -> Rig {
        Rig::start_with(arguments, &[])
    }

    fn start_with(arguments: &[&str], environment: &[(&str, &str)]) -> Rig {
        let arrived = Arrived::default();
        let keep = Arc::clone(&arrived);
        let service = upstream::start(Arc::new(move |request: &Message, to: &mut TcpStream| {
            keep.lock().unwrap().push(arrival(request));
            answer(to, "200 OK", "", ANSWER)
        }));
        Rig::before(service, arrived, arguments, environment)
    }

    fn before(
        service: std::net::SocketAddr,
        arrived: Arrived,
        arguments: &[&str],
        environment: &[(&str, &str)],
    ) -> Rig {
        let dir = tempfile::tempdir().unwrap();
        let ledger = dir.path().join("ledger");
        let environment: Vec<_> =
            environment.iter().map(|(name, value)| (*name, Path::new(*value))).collect();
        let sidecar = Sidecar::start_with(service, &ledger, arguments, &environment);
        Rig { sidecar, arrived, ledger, _dir: dir }
    }

    /// Sends these bytes on a connection of their own; gives the answer, if there is one.
    fn send(&self, request: &[u8]) -> Option<Message> {
        let mut connection = connect(self.sidecar.addr);
        connection.get_mut().write_all(request).unwrap();
        read_message(&mut connection).unwrap_or(None)
    }

    /// A call under a name, with these raw field lines; gives its status, 0 if there is none.
    fn call(&self, name: &str, fields: &[u8]) -> u16 {
        self.send(&request(PATH, name, fields)).map_or(0, |answer| answer.status())
    }

    fn stop(self) -> Left {
        let (code, log) = self.sidecar.stop();
        assert_eq!(code, Some(0), "{log:?}");
        let events = usage_events(&self.ledger).into_iter().map(|mut event| {
            let data = event["data"].take();
            (data["ids"]["client_request_id"].as_str().unwrap_or_default().to_owned(), data)
        });
        let events: HashMap<String, Value> = events.collect();
        let arrived = std::mem::take(&mut *self.arrived.lock().unwrap());
        Left { events, log, arrived, ledger: self.ledger, _dir: self._dir }
    }
}

/// A POST with raw field lines, each with its line end.
fn request(path: &str, name: &str, fields: &[u8]) -> Vec<u8> {
    let mut request =
        format!("POST {path} HTTP/1.1\r\nHost: gateway\r\nx-ms-client-request-id: {name}\r\n").into_bytes();
    request.extend_from_slice(fields);
    request.extend(format!("Content-Length: {}\r\n\r\n{BODY}", BODY.len()).bytes());
    request
}

/// One raw field line.
fn line(name: &str, value: impl AsRef<[u8]>) -> Vec<u8> {
    [name.as_bytes(), b": ", value.as_ref(), b"\r\n"].concat()
}

/// Several of them.
fn lines(fields: &[(&str, &str)]) -> Vec<u8> {
    fields.iter().flat_map(|(name, value)| line(name, value)).collect()
}

/// A token with these claims, as an `Authorization` value. Nobody has signed it.
fn bearer(claims: &str) -> String {
    format!("Bearer e30.{}.c2ln", URL_SAFE_NO_PAD.encode(claims))
}

fn answer(to: &mut TcpStream, status: &str, fields: &str, body: &str) -> io::Result<()> {
    let length = body.len();
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: application/json\r\n{fields}Content-Length: {length}\r\n\r\n"
    );
    to.write_all(format!("{head}{body}").as_bytes())
}
