//! Exchanges over plain HTTP/1.1 connections, and how a call went.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::{Bytes, BytesMut};
use http::header::HOST;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpStream;

use super::dialect::Dialect;
use super::fixtures::Fixture;

/// The key of every caller, which the service asks for and does not look at.
const KEY: &str = "a-key-of-the-demo";

/// The largest document that is read; those of the demo have a few kB.
const DOCUMENT_BYTES_MAX: usize = 1024 * 1024;

/// A request with a key and a JSON body; `null` is none.
pub(super) fn request(
    method: &str,
    target: &str,
    headers: &[(&str, &str)],
    body: Value,
) -> http::Result<Request<Full<Bytes>>> {
    let mut request = Request::builder().method(method).uri(target).header("api-key", KEY);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    if body.is_null() {
        return request.body(Full::default());
    }
    request.header("content-type", "application/json").body(Full::new(Bytes::from(body.to_string())))
}

/// Sends a request on a connection of its own. Dropping the response leaves in mid-call.
pub(super) async fn exchange(
    addr: SocketAddr,
    mut request: Request<Full<Bytes>>,
) -> anyhow::Result<Response<Incoming>> {
    request.headers_mut().insert(HOST, addr.to_string().parse()?);
    let socket = TcpStream::connect(addr).await?;
    socket.set_nodelay(true)?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(socket)).await?;
    // Ends with the response, or when the response is dropped.
    tokio::spawn(connection.with_upgrades());
    Ok(sender.send_request(request).await?)
}

/// Sends a request whose response is a JSON document.
pub(super) async fn document(
    addr: SocketAddr,
    method: &str,
    target: &str,
    headers: &[(&str, &str)],
    body: Value,
) -> anyhow::Result<Value> {
    let response = exchange(addr, request(method, target, headers, body)?).await?;
    anyhow::ensure!(response.status().is_success(), "{}", response.status());
    let body = Limited::new(response.into_body(), DOCUMENT_BYTES_MAX).collect().await;
    let body = body.map_err(anyhow::Error::from_boxed)?.to_bytes();
    Ok(serde_json::from_slice(&body)?)
}

/// One call that a caller wants to make.
#[derive(Clone, Copy, Debug)]
pub(super) struct CallRequest<'a> {
    pub(super) fixture: &'a Fixture,
    pub(super) dialect: Dialect,
    pub(super) stream: bool,
    pub(super) include_usage: bool,
    /// The client leaves once it has so many bytes of the response.
    pub(super) leave_after_bytes: Option<usize>,
    /// Set when the response's body begins.
    pub(super) begun: Option<&'a AtomicBool>,
}

/// How a call went, as its client saw it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CallEnding {
    /// The whole response: up to the last event, or a JSON body.
    Complete,
    /// A status other than 2xx, with a whole body.
    Status(StatusCode),
    /// The client left, as it meant to.
    Left,
    /// The connection broke.
    Broken,
    /// A stream that ended cleanly without its last event: the client would take it for whole.
    Short,
}

/// A call's ending, and the bytes of its body that arrived.
#[derive(Debug)]
pub(super) struct CallAnswer {
    pub(super) ending: CallEnding,
    #[cfg_attr(not(test), expect(dead_code, reason = "only tests look at the text"))]
    pub(super) body: Bytes,
}

impl CallRequest<'_> {
    /// Makes the call on a connection of its own, with `headers` that say who asks.
    ///
    /// Dropping the future leaves in mid-call.
    pub(super) async fn send(&self, addr: SocketAddr, headers: &[(&str, &str)]) -> CallAnswer {
        match self.answer(addr, headers).await {
            Ok(response) => self.read(response).await,
            Err(_) => CallAnswer { ending: CallEnding::Broken, body: Bytes::new() },
        }
    }

    async fn answer(&self, addr: SocketAddr, headers: &[(&str, &str)]) -> anyhow::Result<Response<Incoming>> {
        let CallRequest { fixture, dialect, stream, include_usage, .. } = *self;
        let mut request = Request::post(dialect.target(fixture))
            .header("content-type", "application/json")
            .header(dialect.key_header(), KEY);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let body = dialect.request_body(fixture, stream, include_usage);
        exchange(addr, request.body(Full::new(Bytes::from(body)))?).await
    }

    async fn read(&self, response: Response<Incoming>) -> CallAnswer {
        let (head, mut body) = response.into_parts();
        let mut bytes = BytesMut::new();
        while let Some(frame) = body.frame().await {
            let Ok(frame) = frame else {
                return CallAnswer { ending: CallEnding::Broken, body: bytes.freeze() };
            };
            if let Some(begun) = self.begun {
                begun.store(true, Ordering::Relaxed);
            }
            bytes.extend_from_slice(frame.data_ref().map_or(&[], |data| &data[..]));
            if self.leave_after_bytes.is_some_and(|limit| bytes.len() >= limit) {
                return CallAnswer { ending: CallEnding::Left, body: bytes.freeze() };
            }
        }
        let ending = match (head.status.is_success(), self.stream) {
            (false, _) => CallEnding::Status(head.status),
            (true, true) if !bytes.ends_with(self.dialect.last_event().as_bytes()) => CallEnding::Short,
            (true, _) => CallEnding::Complete,
        };
        CallAnswer { ending, body: bytes.freeze() }
    }
}
