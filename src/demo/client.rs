//! One call over a plain HTTP/1.1 connection, and how it went.

use std::net::SocketAddr;

use bytes::{Bytes, BytesMut};
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;

use super::fixtures::Fixture;

/// `api-version` of the demo's calls.
const API_VERSION: &str = "2024-10-21";

/// One call that a caller wants to make.
#[derive(Clone, Copy, Debug)]
pub(super) struct CallRequest<'a> {
    pub(super) fixture: &'a Fixture,
    pub(super) stream: bool,
    pub(super) include_usage: bool,
    /// The client leaves once it has so many bytes of the response.
    pub(super) leave_after_bytes: Option<usize>,
}

/// How a call went, as its client saw it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CallEnding {
    /// The whole response: up to `[DONE]`, or a JSON body.
    Complete,
    /// A status other than 2xx, with a whole body.
    Status(StatusCode),
    /// The client left, as it meant to.
    Left,
    /// The connection broke.
    Broken,
    /// A stream that ended cleanly without `[DONE]`: the client would take it for whole.
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
        let CallRequest { fixture, stream, include_usage, .. } = *self;
        let path = format!("/openai/deployments/{}/chat/completions", fixture.deployment);
        let mut request = Request::post(format!("{path}?api-version={API_VERSION}"))
            .header("host", addr.to_string())
            .header("content-type", "application/json")
            .header("api-key", "a-key-of-the-demo");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Full::new(Bytes::from(fixture.request_body(stream, include_usage))))?;
        let socket = TcpStream::connect(addr).await?;
        socket.set_nodelay(true)?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(socket)).await?;
        // Ends with the response, or when the response is dropped.
        tokio::spawn(connection);
        Ok(sender.send_request(request).await?)
    }

    async fn read(&self, response: Response<Incoming>) -> CallAnswer {
        let (head, mut body) = response.into_parts();
        let mut bytes = BytesMut::new();
        while let Some(frame) = body.frame().await {
            let Ok(frame) = frame else {
                return CallAnswer { ending: CallEnding::Broken, body: bytes.freeze() };
            };
            bytes.extend_from_slice(frame.data_ref().map_or(&[], |data| &data[..]));
            if self.leave_after_bytes.is_some_and(|limit| bytes.len() >= limit) {
                return CallAnswer { ending: CallEnding::Left, body: bytes.freeze() };
            }
        }
        let ending = match (head.status.is_success(), self.stream) {
            (false, _) => CallEnding::Status(head.status),
            (true, true) if !bytes.ends_with(b"data: [DONE]\n\n") => CallEnding::Short,
            (true, _) => CallEnding::Complete,
        };
        CallAnswer { ending, body: bytes.freeze() }
    }
}
