//! An endpoint that gives tokens, with faults: Entra ID, or the managed identity of App Service.
//!
//! Its tokens are unsigned (RFC 7515, `"alg":"none"`), which the test broker takes until their `exp`.

use std::io::{ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde_json::json;
use tokenweir::publish::TokenSource;

/// How often waiting threads look up.
const LOOK_EVERY: Duration = Duration::from_millis(5);
/// What it is sent is smaller.
const REQUEST_BYTES_MAX: usize = 64 << 10;
/// How long a hanging answer hangs at most.
const HANG_MAX: Duration = Duration::from_secs(30);

/// What stands in every assertion and every secret header: to be found in no log.
pub(crate) const CANARY: &str = "canary7f3a";

/// What a request gets.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Mode {
    /// A token that holds this long.
    Token(Duration),
    /// A token that is said to hold an hour and whose `exp` has passed.
    Stale,
    /// Nothing, for half a minute.
    Hang,
    /// This status, with an error in OAuth's form.
    Status(u16),
    /// These bytes for an answer, with status 200.
    Body(Vec<u8>),
    /// Bytes without end.
    Huge,
}

#[derive(Default)]
struct Shared {
    mode: Mutex<Option<Mode>>,
    requests: Mutex<Vec<(Instant, String)>>,
    end: AtomicBool,
}

/// The endpoint, until it is dropped.
pub(crate) struct Endpoint {
    pub(crate) url: String,
    shared: Arc<Shared>,
}

impl Endpoint {
    pub(crate) fn new(mode: Mode) -> Endpoint {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let shared = Arc::new(Shared { mode: Mutex::new(Some(mode)), ..Shared::default() });
        let heard = Arc::clone(&shared);
        listener.set_nonblocking(true).unwrap();
        std::thread::spawn(move || {
            while !heard.end.load(Ordering::Relaxed) {
                match listener.accept() {
                    Ok((stream, _)) => {
                        let heard = Arc::clone(&heard);
                        std::thread::spawn(move || drop(answer(stream, &heard)));
                    }
                    Err(_) => std::thread::sleep(LOOK_EVERY),
                }
            }
        });
        Endpoint { url, shared }
    }

    /// From now on. What hangs goes on hanging, as a connection to a dead host does.
    pub(crate) fn set(&self, mode: Mode) {
        *self.shared.mode.lock().unwrap() = Some(mode);
    }

    /// The requests so far, as they came, and when.
    pub(crate) fn requests(&self) -> Vec<(Instant, String)> {
        self.shared.requests.lock().unwrap().clone()
    }

    /// The variables that Azure sets for workload identity, with this endpoint for Entra ID.
    pub(crate) fn workload(&self, dir: &Path) -> Vec<(&'static str, String)> {
        let file = dir.join("assertion");
        std::fs::write(&file, format!("{CANARY}-assertion\n")).unwrap();
        vec![
            ("AZURE_FEDERATED_TOKEN_FILE", file.display().to_string()),
            ("AZURE_TENANT_ID", "tenant".to_owned()),
            ("AZURE_CLIENT_ID", "client".to_owned()),
            ("AZURE_AUTHORITY_HOST", format!("{}/", self.url)),
        ]
    }

    /// The variables that App Service sets for a managed identity.
    pub(crate) fn identity(&self) -> Vec<(&'static str, String)> {
        vec![
            ("IDENTITY_ENDPOINT", format!("{}/msi/token", self.url)),
            ("IDENTITY_HEADER", format!("{CANARY}-header")),
        ]
    }
}

impl Drop for Endpoint {
    fn drop(&mut self) {
        self.shared.end.store(true, Ordering::Relaxed);
    }
}

/// The source that these variables describe.
pub(crate) fn source(variables: &[(&str, String)]) -> TokenSource {
    let of = |name: &str| variables.iter().find(|(key, _)| *key == name).map(|(_, value)| value.clone());
    TokenSource::from_env(of).unwrap()
}

fn answer(mut stream: TcpStream, shared: &Shared) -> std::io::Result<()> {
    let request = read_request(&mut stream)?;
    shared.requests.lock().unwrap().push((Instant::now(), request));
    let mode = shared.mode.lock().unwrap().clone().unwrap();
    match mode {
        Mode::Token(life) => send(&mut stream, 200, &token(life, life)),
        Mode::Stale => send(&mut stream, 200, &token(Duration::ZERO, Duration::from_secs(3_600))),
        Mode::Body(bytes) => send(&mut stream, 200, &bytes),
        Mode::Status(status) => {
            let error = json!({ "error": "temporarily_unavailable", "error_description": format!("AADSTS90033: {CANARY}") });
            send(&mut stream, status, error.to_string().as_bytes())
        }
        Mode::Hang => {
            let began = Instant::now();
            while began.elapsed() < HANG_MAX && !shared.end.load(Ordering::Relaxed) {
                std::thread::sleep(LOOK_EVERY);
            }
            Ok(())
        }
        Mode::Huge => {
            stream.write_all(
                b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n{\"access_token\":\"",
            )?;
            loop {
                stream.write_all(&[b'a'; 64 << 10])?;
            }
        }
    }
}

/// Head and body, as far as `Content-Length` says.
fn read_request(stream: &mut TcpStream) -> std::io::Result<String> {
    stream.set_nonblocking(false)?;
    let (mut bytes, mut part) = (Vec::new(), [0; 4 << 10]);
    loop {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let lower = head.to_ascii_lowercase();
            let length = lower.lines().find_map(|line| line.strip_prefix("content-length:"));
            if body.len() >= length.map_or(0, |length| length.trim().parse().unwrap()) {
                return Ok(text);
            }
        }
        let read = stream.read(&mut part)?;
        if read == 0 || bytes.len() > REQUEST_BYTES_MAX {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        bytes.extend_from_slice(&part[..read]);
    }
}

fn send(stream: &mut TcpStream, status: u16, body: &[u8]) -> std::io::Result<()> {
    let length = body.len();
    // Followed, a redirect would carry a secret elsewhere.
    let location = if status == 302 { "Location: http://127.0.0.1:1/\r\n" } else { "" };
    let head = format!(
        "HTTP/1.1 {status} X\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n{location}\r\n"
    );
    stream.write_all(head.as_bytes())?;
    stream.write_all(body)
}

/// A token that ends after `life`, in an answer that promises `said`.
fn token(life: Duration, said: Duration) -> Vec<u8> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    let part = |value: serde_json::Value| BASE64_URL_SAFE_NO_PAD.encode(value.to_string());
    // One that has no life ended an hour ago.
    let exp = if life.is_zero() { now - 3_600 } else { now + life.as_secs() };
    let claims = json!({ "sub": "tokenweir", "iat": exp.min(now) - 60, "exp": exp, "jti": CANARY });
    let token = format!("{}.{}.", part(json!({ "alg": "none" })), part(claims));
    json!({ "token_type": "Bearer", "expires_in": said.as_secs(), "access_token": token })
        .to_string()
        .into_bytes()
}
