//! The connection: `connection.rs` of `proxy::server` on a scripted socket, without its time-outs, tunnels and drains.
//! No sockets, no runtime and no clock: whoever drives it decides what moves.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Request, Response, StatusCode};
use http_body::Body;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use self::client_io::ClientIo;
use self::conn_state::{ConnState, TakenOver};
use self::stream::StreamWriter;
use self::takeover::{HyperBody, ResponseFraming};
use super::forward::response_body::ResponseBody;

#[path = "../../../src/proxy/server/io.rs"]
mod client_io;
#[allow(dead_code)] // resets and tunnels are not driven here
#[path = "../../../src/proxy/server/conn_state.rs"]
mod conn_state;
#[allow(dead_code)] // nor are time-outs
#[path = "../../../src/proxy/server/head_timer.rs"]
mod head_timer;
#[path = "../../../src/proxy/server/stream.rs"]
mod stream;
#[path = "../../../src/proxy/server/takeover.rs"]
mod takeover;

/// The response to a request.
#[derive(Clone, Debug)]
pub struct Reply {
    /// 204 has no body.
    pub status: u16,
    /// Its body in frames, and how many polls each is waited for.
    pub frames: Vec<(u8, Vec<u8>)>,
    /// With a length; else in chunks.
    pub sized: bool,
    /// Its body breaks off behind the frames.
    pub breaks: bool,
    /// It says that it is the last one.
    pub closes: bool,
}

/// A request as it came to the upstream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Got {
    /// Method and path.
    pub target: String,
    /// Its body. `None`: it broke off.
    pub body: Option<Vec<u8>>,
}

/// The bytes that a client sends, and how little of them moves at a time.
#[derive(Clone, Debug, Default)]
pub struct Script {
    /// All bytes that it ever sends.
    pub sends: Vec<u8>,
    /// How many of them there are at each read, again from the first when they are over; 0: nothing now.
    pub pieces: Vec<usize>,
    /// How much of each write goes through, likewise.
    pub takes: Vec<usize>,
    /// It leaves once it has sent all; else when it has got so many bytes that nothing is missing.
    pub leaves: bool,
}

/// The outcome of a connection.
#[derive(Debug)]
pub struct Outcome {
    /// The requests that the upstream got.
    pub got: Vec<Got>,
    /// The bytes that the client got.
    pub answered: Vec<u8>,
    /// The connection has ended; else nothing moved any more.
    pub ended: bool,
}

/// More polls than the longest script needs: then nothing moves.
const POLLS_MAX: usize = 2_000_000;

/// Polls without a byte or a request that moved: then nothing will.
const QUIET_MAX: usize = 2_000;

/// Runs a connection to its end. `reply` responds to the requests; `is_whole` says whether the client has all that it
/// waits for.
pub fn run(
    script: &Script,
    reply: impl Fn(&Got) -> Reply,
    is_whole: impl Fn(&[Got], &[u8]) -> bool,
) -> Outcome {
    let line = Line::default();
    let client = Client { script: script.clone(), line: line.clone(), at: 0, reads: 0, writes: 0 };
    let mut connection = pin!(line.clone().run(client, &reply));
    let mut cx = Context::from_waker(Waker::noop());
    let (mut ended, mut quiet) = (false, 0);
    for poll in 0..POLLS_MAX {
        let before = line.seen().moved;
        if connection.as_mut().poll(&mut cx).is_ready() {
            ended = true;
            break;
        }
        let mut seen = line.seen();
        if (seen.moved != before || poll == 0) && !script.leaves && is_whole(&seen.got, &seen.answered) {
            seen.closed = true;
        }
        quiet = if seen.moved == before { quiet + 1 } else { 0 };
        if quiet > QUIET_MAX {
            break;
        }
    }
    let mut seen = line.seen();
    let (got, answered) = (std::mem::take(&mut seen.got), std::mem::take(&mut seen.answered));
    Outcome { got, answered, ended }
}

/// The bytes and requests that both ends of a connection have seen.
#[derive(Clone, Debug, Default)]
struct Line(Arc<Mutex<Seen>>);

#[derive(Debug, Default)]
struct Seen {
    got: Vec<Got>,
    answered: Vec<u8>,
    /// The client has closed its side.
    closed: bool,
    /// Counts all that moves.
    moved: u64,
}

impl Line {
    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.0.lock().unwrap()
    }

    fn moves(&self) {
        self.seen().moved += 1;
    }

    /// Does as `run` in `src/proxy/server/connection.rs` does.
    async fn run(self, client: Client, reply: &impl Fn(&Got) -> Reply) {
        let conn = Arc::new(ConnState::new(Duration::ZERO));
        let mut io = ClientIo::new(client, &conn);
        loop {
            let requests = service_fn(|request: Request<Incoming>| {
                let (framing, conn) = (ResponseFraming::of(&request), Arc::clone(&conn));
                let line = &self;
                Box::pin(async move {
                    let response = line.handle(request, reply).await;
                    Ok::<_, Infallible>(HyperBody::lend(&conn, framing, response))
                })
            });
            let mut http = http1::Builder::new();
            http.writev(false).auto_date_header(false);
            let mut connection = Box::new(http.serve_connection(TokioIo::new(io), requests).with_upgrades());
            let Some(taken_over) = step(&mut connection, &conn).await else { return };
            let Some(parts) = connection.into_parts() else { return };
            let writer = StreamWriter::new(parts.io.into_inner(), taken_over.body, parts.read_buf);
            let Ok((mut rest, early)) = writer.run().await else { return };
            if taken_over.last {
                return;
            }
            rest.put_back(early);
            io = rest;
        }
    }

    /// The upstream.
    async fn handle(
        &self,
        request: Request<Incoming>,
        reply: &impl Fn(&Got) -> Reply,
    ) -> Response<ResponseBody> {
        let target = format!("{} {}", request.method(), request.uri());
        let mut incoming = request.into_body();
        let mut body = Some(Vec::new());
        while let Some(frame) = poll_fn(|cx| Pin::new(&mut incoming).poll_frame(cx)).await {
            self.moves();
            match (frame.ok().and_then(|frame| frame.into_data().ok()), &mut body) {
                (Some(data), Some(body)) => body.extend_from_slice(&data),
                _ => body = None,
            }
            if body.is_none() {
                break;
            }
        }
        let got = Got { target, body };
        let Reply { status, frames, sized, breaks, closes } = reply(&got);
        self.seen().got.push(got);
        let frames: VecDeque<_> = frames.into_iter().map(|(wait, data)| (wait, Bytes::from(data))).collect();
        let mut response = Response::new(ResponseBody { frames, breaks, sized });
        *response.status_mut() = StatusCode::from_u16(status).unwrap();
        if closes {
            let (name, value) = (HeaderName::from_static("connection"), HeaderValue::from_static("close"));
            response.headers_mut().insert(name, value);
        }
        response
    }
}

/// Hyper's part of a connection, up to its end or to a response that is taken over.
async fn step<C>(connection: &mut C, conn: &ConnState) -> Option<TakenOver>
where
    C: Future<Output = hyper::Result<()>> + Unpin,
{
    poll_fn(|cx| {
        if Pin::new(&mut *connection).poll(cx).is_ready() {
            return Poll::Ready(None);
        }
        conn.taken_over().map_or(Poll::Pending, |taken_over| Poll::Ready(Some(taken_over)))
    })
    .await
}

/// The socket.
#[derive(Debug)]
struct Client {
    script: Script,
    line: Line,
    /// So many bytes of it are sent.
    at: usize,
    reads: usize,
    writes: usize,
}

/// The next of some sizes, over and over.
fn next(sizes: &[usize], at: &mut usize) -> usize {
    *at += 1;
    sizes.get((*at - 1) % sizes.len().max(1)).copied().unwrap_or(usize::MAX)
}

impl AsyncRead for Client {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let left = &this.script.sends[this.at..];
        if left.is_empty() {
            let gone = this.script.leaves || this.line.seen().closed;
            return if gone { Poll::Ready(Ok(())) } else { Poll::Pending };
        }
        let n = next(&this.script.pieces, &mut this.reads).min(left.len()).min(buf.remaining());
        if n == 0 {
            return Poll::Pending;
        }
        buf.put_slice(&left[..n]);
        this.at += n;
        this.line.moves();
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Client {
    fn poll_write(mut self: Pin<&mut Self>, _: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        let n = next(&this.script.takes, &mut this.writes).min(buf.len());
        if n == 0 {
            return Poll::Pending;
        }
        this.line.seen().answered.extend_from_slice(&buf[..n]);
        this.line.moves();
        Poll::Ready(Ok(n))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
