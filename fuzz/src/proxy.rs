//! One connection of a caller, from request to request: the proxy's own files for how an answer is taken
//! over from hyper and how the next request goes to a new hyper, around them hyper itself, and stand-ins for
//! what is at both ends. No sockets, no runtime and no clock: whoever drives it decides what moves.
//!
//! `Line::run` does what `connection` in `src/proxy/listener.rs` does, without its time-outs, tunnels
//! and drains: what changes there changes here.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::{Pin, pin};
use std::sync::{Arc, Mutex, MutexGuard};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Request, Response, StatusCode};
use http_body::Body;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use answer::Answer;
use gate::Held;
use handover::{Asked, Given, Handover};
use pump::Pump;

#[path = "../../src/proxy/handover.rs"]
mod handover;
#[path = "../../src/proxy/pump.rs"]
mod pump;

/// Stands for `proxy::answer`.
mod answer {
    use std::pin::Pin;
    use std::task::{Context, Poll};

    use bytes::Bytes;
    use http_body::{Body, Frame, SizeHint};

    use super::upstream::Broken;

    /// Frames; before each it is waited for so many polls.
    #[derive(Debug, Default)]
    pub(super) struct Answer {
        pub(super) frames: std::collections::VecDeque<(u8, Bytes)>,
        pub(super) breaks: bool,
        /// Its length is known.
        pub(super) sized: bool,
    }

    impl Answer {
        pub(super) fn request_is_whole(&self) -> bool {
            true // the service below reads it first
        }
    }

    impl Body for Answer {
        type Data = Bytes;
        type Error = Broken;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
            if let Some((wait @ 1.., _)) = self.frames.front_mut() {
                *wait -= 1;
                return Poll::Pending;
            }
            match self.frames.pop_front() {
                Some((_, data)) => Poll::Ready(Some(Ok(Frame::data(data)))),
                None if self.breaks => Poll::Ready(Some(Err(Broken))),
                None => Poll::Ready(None),
            }
        }

        fn is_end_stream(&self) -> bool {
            self.frames.is_empty() && !self.breaks
        }

        fn size_hint(&self) -> SizeHint {
            match self.sized {
                true => SizeHint::with_exact(self.frames.iter().map(|(_, data)| data.len() as u64).sum()),
                false => SizeHint::default(),
            }
        }
    }
}

/// Stands for `proxy::gate`.
mod gate {
    use std::pin::Pin;
    use std::task::{Context, Poll};

    use bytes::Bytes;
    use http_body::{Body, Frame, SizeHint};

    #[derive(Debug)]
    pub(super) struct Held<B>(pub(super) B);

    impl<B> Held<B> {
        pub(super) fn get_ref(&self) -> &B {
            &self.0
        }
    }

    impl<B: Body<Data = Bytes> + Unpin> Body for Held<B> {
        type Data = Bytes;
        type Error = B::Error;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
            Pin::new(&mut self.0).poll_frame(cx)
        }

        fn is_end_stream(&self) -> bool {
            self.0.is_end_stream()
        }

        fn size_hint(&self) -> SizeHint {
            self.0.size_hint()
        }
    }
}

/// Stands for `proxy::upstream`.
mod upstream {
    #[derive(Debug, thiserror::Error)]
    #[error("broken")]
    pub(super) struct Broken;

    pub(super) mod head {
        use http::header::{HeaderMap, HeaderName};

        pub(in crate::proxy) fn has_token(headers: &HeaderMap, name: &HeaderName, token: &str) -> bool {
            let mut values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
            values.any(|value| value.split(',').any(|part| part.trim().eq_ignore_ascii_case(token)))
        }
    }
}

/// How a request is answered.
#[derive(Clone, Debug)]
pub struct Reply {
    /// 204 has no body.
    pub status: u16,
    /// Its body, in frames, and for how many polls each lets itself be waited for.
    pub frames: Vec<(u8, Vec<u8>)>,
    /// With a length; else in chunks.
    pub sized: bool,
    /// Its body breaks off behind the frames.
    pub breaks: bool,
    /// It says that it is the last one.
    pub closes: bool,
}

/// A request as it came to the service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Got {
    /// Method and path.
    pub target: String,
    /// Its body. `None`: it broke off.
    pub body: Option<Vec<u8>>,
}

/// What a caller sends, and how little of it moves at a time.
#[derive(Clone, Debug, Default)]
pub struct Script {
    /// All that it ever sends.
    pub sends: Vec<u8>,
    /// How much of it there is at each read, again from the first when they are over; 0: nothing now.
    pub pieces: Vec<usize>,
    /// How much of each write goes through, likewise.
    pub takes: Vec<usize>,
    /// It leaves once it has sent all; else when it has got so many bytes that nothing is missing.
    pub leaves: bool,
}

/// What came of a connection.
#[derive(Debug)]
pub struct Outcome {
    /// The requests that the service got.
    pub got: Vec<Got>,
    /// What the caller got.
    pub answered: Vec<u8>,
    /// The connection has ended; else nothing moved any more.
    pub ended: bool,
}

/// More polls than the longest script needs: then nothing moves.
const POLLS_MAX: usize = 2_000_000;

/// Polls without a byte or a request that moved: then nothing will.
const QUIET_MAX: usize = 2_000;

/// Runs a connection to its end. `reply` answers the requests; `is_whole`: the caller has all that it
/// waits for.
pub fn run(
    script: &Script,
    reply: impl Fn(&Got) -> Reply,
    is_whole: impl Fn(&[Got], &[u8]) -> bool,
) -> Outcome {
    let line = Line::default();
    let caller = Caller { script: script.clone(), line: line.clone(), at: 0, reads: 0, writes: 0 };
    let mut connection = pin!(line.clone().run(caller, &reply));
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

/// What both ends of a connection have seen.
#[derive(Clone, Debug, Default)]
struct Line(Arc<Mutex<Seen>>);

#[derive(Debug, Default)]
struct Seen {
    got: Vec<Got>,
    answered: Vec<u8>,
    /// The caller has closed its side.
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

    /// As in `listener::connection`.
    async fn run(self, caller: Caller, reply: &impl Fn(&Got) -> Reply) {
        let handover = Handover::default();
        let mut io = handover.watch(caller);
        loop {
            let requests = service_fn(|request: Request<Incoming>| {
                let (asked, handover) = (Asked::of(&request), handover.clone());
                let line = &self;
                Box::pin(async move {
                    let response = line.handle(request, reply).await;
                    Ok::<_, Infallible>(handover.lend(asked, response))
                })
            });
            let mut http = http1::Builder::new();
            http.writev(false).auto_date_header(false);
            let mut connection = Box::new(http.serve_connection(TokioIo::new(io), requests).with_upgrades());
            let Some(given) = step(&mut connection, &handover).await else { return };
            let Some(parts) = connection.into_parts() else { return };
            let pump = Pump::new(parts.io.into_inner(), given.body, parts.read_buf);
            let Ok((mut rest, early)) = pump.run().await else { return };
            if given.last {
                return;
            }
            rest.put_back(early);
            io = rest;
        }
    }

    /// The service.
    async fn handle(
        &self,
        request: Request<Incoming>,
        reply: &impl Fn(&Got) -> Reply,
    ) -> Response<Held<Answer>> {
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
        let mut response = Response::new(Held(Answer { frames, breaks, sized }));
        *response.status_mut() = StatusCode::from_u16(status).unwrap();
        if closes {
            let (name, value) = (HeaderName::from_static("connection"), HeaderValue::from_static("close"));
            response.headers_mut().insert(name, value);
        }
        response
    }
}

/// Hyper's part of a connection, up to its end or to an answer that is taken over.
async fn step<C>(connection: &mut C, handover: &Handover) -> Option<Given>
where
    C: Future<Output = hyper::Result<()>> + Unpin,
{
    poll_fn(|cx| {
        if Pin::new(&mut *connection).poll(cx).is_ready() {
            return Poll::Ready(None);
        }
        handover.take().map_or(Poll::Pending, |given| Poll::Ready(Some(given)))
    })
    .await
}

/// The socket.
#[derive(Debug)]
struct Caller {
    script: Script,
    line: Line,
    /// So much of it is sent.
    at: usize,
    reads: usize,
    writes: usize,
}

/// The next of some sizes, over and over.
fn next(sizes: &[usize], at: &mut usize) -> usize {
    *at += 1;
    sizes.get((*at - 1) % sizes.len().max(1)).copied().unwrap_or(usize::MAX)
}

impl AsyncRead for Caller {
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

impl AsyncWrite for Caller {
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
