//! Sends a request to an upstream and waits for the head of the response.

use std::future::poll_fn;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use http::header::{CONTENT_LENGTH, EXPECT};
use http::{Request, Response, StatusCode};
use http_body::Body;

use super::address::Upstream;
use super::body::UpstreamBody;
use super::error::{BoxError, UpstreamError};
use super::exchange::Exchange;
use super::framing::RequestFraming;
use super::head::{self, ResponseHead};
use super::io::UpstreamIo;
use super::pool::ConnectionPool;
use super::upload::Upload;
use crate::proxy::config::Limits;
use crate::proxy::tls::upstream::UpstreamTls;

/// The response to a request.
#[derive(Debug)]
#[allow(clippy::large_enum_variant)] // the large one is the rule, and is moved on at once
pub(crate) enum UpstreamResponse<B> {
    /// The final response.
    Response(Response<UpstreamBody<B>>),
    /// The upstream switched protocols: its head, the connection, and the bytes that were read beyond.
    Upgraded(Box<(Response<()>, UpstreamIo, Bytes)>),
}

/// Sends requests from one network thread.
#[derive(Debug)]
pub(crate) struct Client {
    upstreams: Arc<[Upstream]>,
    tls: Option<UpstreamTls>,
    limits: Limits,
    pool: Arc<ConnectionPool>,
}

impl Client {
    /// Makes a client for these upstreams and starts the keeper of its idle connections.
    pub(crate) fn start(upstreams: Arc<[Upstream]>, tls: Option<UpstreamTls>, limits: Limits) -> Client {
        let pool = ConnectionPool::new(upstreams.len());
        tokio::spawn(Arc::clone(&pool).keep());
        Client { upstreams, tls, limits, pool }
    }

    /// Sends a request to the upstream of this index and waits for the head of the response.
    ///
    /// `target` goes on the wire as it is. The request is sent once; only if a pooled connection
    /// turns out to be dead before a byte is written does it go to a fresh one. `on_sending` is called with `true`
    /// before a byte of the request may leave, and with `false` if none has left that connection.
    ///
    /// Dropping the future or the response body closes the connection.
    pub(crate) async fn send<B>(
        &self,
        index: usize,
        target: &str,
        request: Request<B>,
        on_sending: impl Fn(bool),
    ) -> Result<UpstreamResponse<B>, UpstreamError>
    where
        B: Body<Data = Bytes> + Unpin + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let upstream = &self.upstreams[index];
        let (mut parts, body) = request.into_parts();
        let framing = framing(&body, parts.headers.remove(CONTENT_LENGTH).is_some());
        let mut head = BytesMut::new();
        head::write(&mut head, &parts.method, target, upstream.host_field(), &parts.headers, framing);
        let mut upload = Upload::new(head, body, framing, parts.headers.contains_key(EXPECT));

        if let Some(io) = self.pool.take(index) {
            let mut exchange = Box::new(Exchange::new(io, upload, parts.method.clone(), &self.limits));
            on_sending(true);
            match poll_fn(|cx| exchange.poll_head(cx)).await {
                Err(UpstreamError::Unsent(_)) => {
                    on_sending(false);
                    upload = exchange.into_upload();
                }
                head => return Ok(self.response(index, exchange, head?)),
            }
        }
        let io = self.connect(upstream).await.map_err(UpstreamError::Unsent)?;
        on_sending(true);
        let mut exchange = Box::new(Exchange::new(io, upload, parts.method, &self.limits));
        let head = poll_fn(|cx| exchange.poll_head(cx)).await?;
        Ok(self.response(index, exchange, head))
    }

    async fn connect(&self, upstream: &Upstream) -> std::io::Result<UpstreamIo> {
        UpstreamIo::connect(upstream, self.tls.as_ref(), &self.limits).await
    }

    fn response<B>(&self, index: usize, exchange: Box<Exchange<B>>, head: ResponseHead) -> UpstreamResponse<B>
    where
        B: Body<Data = Bytes> + Unpin + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let mut response = Response::new(());
        *response.status_mut() = head.status;
        *response.headers_mut() = head.headers;
        if head.status == StatusCode::SWITCHING_PROTOCOLS {
            let (io, beyond) = exchange.into_io();
            return UpstreamResponse::Upgraded(Box::new((response, io, beyond)));
        }
        let pool = head.keep_alive.then(|| (Arc::clone(&self.pool), index));
        UpstreamResponse::Response(response.map(|()| UpstreamBody::new(exchange, head.framing, pool)))
    }
}

/// The framing of a request, as its body knows it. An empty body keeps its `Content-Length: 0`.
fn framing<B: Body>(body: &B, had_length: bool) -> RequestFraming {
    match body.size_hint().exact() {
        _ if body.is_end_stream() && !had_length => RequestFraming::Empty,
        Some(bytes) => RequestFraming::Length(bytes),
        None => RequestFraming::Chunked,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::{BodyExt, Full};
    use metering::meter::Rules;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    /// A dead connection that looks alive until it is written to: its sending side is shut.
    async fn dead(addr: std::net::SocketAddr) -> UpstreamIo {
        let tcp = tokio::net::TcpStream::connect(addr).await.unwrap();
        socket2::SockRef::from(&tcp).shutdown(std::net::Shutdown::Write).unwrap();
        UpstreamIo::Plain(tcp)
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
            client.pool.put(0, dead(addr).await);
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
            let Ok(UpstreamResponse::Response(response)) = client.send(0, "/x", request, |_| {}).await else {
                panic!("no response")
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
