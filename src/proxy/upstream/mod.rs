//! The way to the service: connect or reuse, send, read the answer.
//!
//! The HTTP/1.1 client is our own; hyper faces the gateway only. Reasons, beside memory (an answer
//! holds one small buffer and no channel): the answer's body must own its connection and move an
//! upload that still runs; a request may be sent again only if not a byte of it was written, which
//! only the writer knows; `Expect: 100-continue` is passed on and not answered in advance; and all
//! chunks of one read leave as one piece.

mod chunked;
mod exchange;
pub(in crate::proxy) mod head;
mod idle;
mod io;
mod patience;
mod spare;
mod upload;

use std::future::poll_fn;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::{CONTENT_LENGTH, EXPECT};
use http::{HeaderValue, Request, Response, StatusCode};
use http_body::Body;
use rustls::pki_types::ServerName;
use smol_str::SmolStr;

use self::exchange::Exchange;
pub(in crate::proxy) use self::exchange::{Broken, Download};
pub(in crate::proxy) use self::head::BadHead;
use self::head::Sending;
pub use self::idle::IDLE_CONNECTIONS_MAX;
use self::idle::Idle;
use self::io::Io;
pub(in crate::proxy) use self::io::prepare;
use self::upload::Upload;
use crate::proxy::tls::Tls;
use crate::proxy::{BoxError, Limits};
use metering::meter::Rules;

/// How long, and how much of, a request is still read after its answer has ended early. A socket
/// closed with unread data sends a reset, which can destroy the answer on its way to the caller.
const LINGER_TIMEOUT: Duration = Duration::from_secs(5);
const LINGER_BYTES_MAX: usize = 4 * 1024 * 1024;

/// A service that calls are forwarded to.
#[derive(Clone, Debug)]
pub struct Upstream {
    name: Option<String>,
    resource: SmolStr,
    host: String,
    port: u16,
    server_name: Option<ServerName<'static>>,
    host_field: HeaderValue,
    rules: Rules,
}

/// Why an upstream's URL cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum UrlError {
    /// It is no absolute `http` or `https` URL.
    #[error("not an http:// or https:// URL")]
    Scheme,
    /// It has a path, a query or credentials: paths are passed on as they arrive.
    #[error("must be scheme, host and port only")]
    More,
    /// The host cannot be the name in a certificate.
    #[error("not a host name or address")]
    Host,
}

impl Upstream {
    /// An upstream from its URL. With a `name` its calls have the path prefix `/name`.
    ///
    /// # Errors
    ///
    /// The URL is not plain scheme, host and port.
    pub fn new(name: Option<String>, url: &str, rules: Rules) -> Result<Upstream, UrlError> {
        let uri: http::Uri = url.parse().map_err(|_| UrlError::Scheme)?;
        let tls = match uri.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            _ => return Err(UrlError::Scheme),
        };
        let authority = uri.authority().ok_or(UrlError::Host)?;
        if authority.as_str().contains('@') || !matches!(uri.path(), "" | "/") || uri.query().is_some() {
            return Err(UrlError::More);
        }
        let host = authority.host().trim_matches(['[', ']']).to_owned();
        let server_name = ServerName::try_from(host.clone()).map_err(|_| UrlError::Host)?;
        Ok(Upstream {
            resource: name.as_deref().unwrap_or(&host).into(),
            name,
            port: authority.port_u16().unwrap_or(if tls { 443 } else { 80 }),
            host_field: HeaderValue::from_str(authority.as_str()).map_err(|_| UrlError::Host)?,
            host,
            server_name: tls.then_some(server_name),
            rules,
        })
    }

    /// The path prefix of its calls, without slashes.
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// What events call it: the name, or the host where it has none.
    pub fn resource(&self) -> &SmolStr {
        &self.resource
    }

    /// The rules by which its calls are counted.
    pub fn rules(&self) -> Rules {
        self.rules
    }

    fn host(&self) -> &str {
        &self.host
    }

    fn port(&self) -> u16 {
        self.port
    }

    /// The name in its certificate; `None` without TLS.
    pub(in crate::proxy) fn server_name(&self) -> Option<&ServerName<'static>> {
        self.server_name.as_ref()
    }
}

/// What became of a request.
#[derive(Debug)]
#[allow(clippy::large_enum_variant)] // the large one is the rule, and is moved on at once
pub(in crate::proxy) enum Answer<B> {
    /// The service answered.
    Response(Response<Download<B>>),
    /// The service switched protocols: its head, the connection, and what was read beyond.
    Upgraded(Box<(Response<()>, Io, Bytes)>),
}

/// Sends requests from one network thread.
#[derive(Debug)]
pub(in crate::proxy) struct Client {
    upstreams: Arc<[Upstream]>,
    tls: Option<Tls>,
    limits: Limits,
    idle: Arc<Idle>,
}

impl Client {
    /// A client for these upstreams; starts the keeper of its idle connections.
    pub(in crate::proxy) fn start(upstreams: Arc<[Upstream]>, tls: Option<Tls>, limits: Limits) -> Client {
        let idle = Idle::new(upstreams.len());
        tokio::spawn(Arc::clone(&idle).keep());
        Client { upstreams, tls, limits, idle }
    }

    /// Sends a request to the upstream of this index and waits for the head of the answer.
    ///
    /// `target` goes on the wire as it is. The request is sent once; only if a pooled connection
    /// turns out to be dead before a byte is written does it go to a fresh one. `leaves` hears `true`
    /// before a byte of the request may leave, and `false` if none has left that connection.
    ///
    /// Dropping the future or the answer's body closes the connection.
    pub(in crate::proxy) async fn send<B>(
        &self,
        index: usize,
        target: &str,
        request: Request<B>,
        leaves: impl Fn(bool),
    ) -> Result<Answer<B>, Broken>
    where
        B: Body<Data = Bytes> + Unpin + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let upstream = &self.upstreams[index];
        let (mut parts, body) = request.into_parts();
        let sending = sending(&body, parts.headers.remove(CONTENT_LENGTH).is_some());
        let mut head = BytesMut::new();
        head::write(&mut head, &parts.method, target, &upstream.host_field, &parts.headers, sending);
        let mut upload = Upload::new(head, body, sending, parts.headers.contains_key(EXPECT));

        if let Some(io) = self.idle.take(index) {
            let mut exchange = Box::new(Exchange::new(io, upload, parts.method.clone(), &self.limits));
            leaves(true);
            match poll_fn(|cx| exchange.poll_head(cx)).await {
                Err(Broken::Unsent(_)) => {
                    leaves(false);
                    upload = exchange.into_upload();
                }
                head => return Ok(self.answer(index, exchange, head?)),
            }
        }
        let io = self.connect(upstream).await.map_err(Broken::Unsent)?;
        leaves(true);
        let mut exchange = Box::new(Exchange::new(io, upload, parts.method, &self.limits));
        let head = poll_fn(|cx| exchange.poll_head(cx)).await?;
        Ok(self.answer(index, exchange, head))
    }

    async fn connect(&self, upstream: &Upstream) -> std::io::Result<Io> {
        Io::connect(upstream, self.tls.as_ref(), &self.limits).await
    }

    fn answer<B>(&self, index: usize, exchange: Box<Exchange<B>>, head: head::Head) -> Answer<B>
    where
        B: Body<Data = Bytes> + Unpin + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let mut response = Response::new(());
        *response.status_mut() = head.status;
        *response.headers_mut() = head.headers;
        if head.status == StatusCode::SWITCHING_PROTOCOLS {
            let (io, beyond) = exchange.into_io();
            return Answer::Upgraded(Box::new((response, io, beyond)));
        }
        let home = head.keep_alive.then(|| (Arc::clone(&self.idle), index));
        Answer::Response(response.map(|()| Download::new(exchange, head.framing, home)))
    }
}

/// A request's framing, as its body knows it. An empty body keeps its `Content-Length: 0`.
fn sending<B: Body>(body: &B, had_length: bool) -> Sending {
    match body.size_hint().exact() {
        _ if body.is_end_stream() && !had_length => Sending::Nothing,
        Some(bytes) => Sending::Length(bytes),
        None => Sending::Chunked,
    }
}

/// Reads and drops the rest of a request whose answer is already complete.
pub(in crate::proxy) async fn linger<B: Body<Data = Bytes> + Unpin>(mut body: B) {
    let drain = async {
        let mut left = LINGER_BYTES_MAX;
        while let Some(Ok(frame)) = poll_fn(|cx| std::pin::Pin::new(&mut body).poll_frame(cx)).await {
            left = left.saturating_sub(frame.data_ref().map_or(0, Bytes::len));
            if left == 0 {
                return;
            }
        }
    };
    let _ = tokio::time::timeout(LINGER_TIMEOUT, drain).await;
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::{BodyExt, Full};
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    #[test]
    fn urls_are_scheme_host_and_port_only() {
        let of = |url: &str| Upstream::new(None, url, Rules { end_of_turn: true });
        let upstream = of("https://example.openai.azure.com").unwrap();
        assert_eq!((upstream.host(), upstream.port()), ("example.openai.azure.com", 443));
        assert!(upstream.server_name().is_some());
        assert_eq!(upstream.resource(), "example.openai.azure.com");
        let upstream = of("http://[::1]:8080/").unwrap();
        assert_eq!(
            (upstream.host(), upstream.port(), &upstream.host_field),
            ("::1", 8080, &HeaderValue::from_static("[::1]:8080"))
        );
        for url in [
            "",
            "example.com",
            "ftp://a",
            "https://a/path",
            "https://a?b",
            "https://u:p@a",
            "http://",
            "http://a b",
        ] {
            assert!(of(url).is_err(), "{url}");
        }
    }

    /// A dead connection that looks alive until it is written to: its sending side is shut.
    async fn dead(addr: std::net::SocketAddr) -> Io {
        let tcp = tokio::net::TcpStream::connect(addr).await.unwrap();
        socket2::SockRef::from(&tcp).shutdown(std::net::Shutdown::Write).unwrap();
        Io::Plain(tcp)
    }

    #[test]
    fn a_request_of_which_nothing_was_written_goes_to_a_fresh_connection_once_and_whole() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let addr = listener.local_addr().unwrap();
            let upstreams =
                [Upstream::new(None, &format!("http://{addr}"), Rules { end_of_turn: true }).unwrap()];
            let client = Client::start(Arc::new(upstreams), None, Limits::default());
            client.idle.give(0, dead(addr).await);
            let (stale, _) = listener.accept().await.unwrap();
            let service = tokio::spawn(async move {
                let (mut tcp, _) = listener.accept().await.unwrap();
                let mut seen = vec![0; 4096];
                let mut n = 0;
                while !seen[..n].ends_with(b"body") {
                    n += tcp.read(&mut seen[n..]).await.unwrap();
                }
                tcp.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await.unwrap();
                String::from_utf8(seen[..n].to_vec()).unwrap()
            });
            let request = Request::post("/x").body(Full::new(Bytes::from_static(b"body"))).unwrap();
            let Ok(Answer::Response(response)) = client.send(0, "/x", request, |_| {}).await else {
                panic!("no answer")
            };
            assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "ok");
            let seen = service.await.unwrap();
            assert_eq!(seen.matches("POST /x").count(), 1, "{seen}");
            let mut nothing = Vec::new();
            let mut stale = stale;
            stale.read_to_end(&mut nothing).await.unwrap();
            assert_eq!(nothing, b"", "the dead connection carried nothing");
        });
    }
}
