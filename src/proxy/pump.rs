//! The rest of an answer that was taken over from hyper: each frame leaves as one chunk in one write, a
//! long one from the memory that it was read into.
//!
//! Meanwhile the caller is watched, as hyper does: one that closes its side has left. Bytes that it
//! sends are its next request. They are kept for hyper, and behind them nothing more is read.

use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use http_body::Body;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// What is read at once of a request that comes early. Of a caller that sends nothing, nothing is held.
const EARLY_BYTES_MAX: usize = 512;

/// Frames that leave before other streams have their turn. As many as hyper passes on in one.
const FRAMES_PER_TURN: usize = 16;

/// What is so short is laid together first: the kernel takes one piece 0.3 us faster than three. A
/// token's event is about 500 bytes.
const FLAT_BYTES_MAX: usize = 1024;

/// Digits of a chunk's size, and the end of its line.
const SIZE_BYTES_MAX: usize = 16 + 2;

/// What ends a chunk, and what ends the last one and the message with it.
const CHUNK_END: &[u8] = b"\r\n";
const LAST_CHUNK_END: &[u8] = b"\r\n0\r\n\r\n";
const MESSAGE_END: &[u8] = b"0\r\n\r\n";

/// The caller has left, or the answer is broken: the connection is to be closed in mid-message.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Broken;

/// An answer's way to its caller.
#[derive(Debug)]
pub(super) struct Pump<T, B> {
    io: T,
    /// `None`: it has ended.
    body: Option<B>,
    /// Bytes of the next request.
    early: Bytes,
    out: Chunk,
    /// The socket may hold some of what was written, as one with TLS does.
    unflushed: bool,
}

impl<T, B> Pump<T, B>
where
    T: AsyncRead + AsyncWrite + Unpin,
    B: Body<Data = Bytes> + Unpin,
{
    /// Passes a body on. `early`: what has been read of the next request.
    pub(super) fn new(io: T, body: B, early: Bytes) -> Pump<T, B> {
        // Even an empty view pins its buffer, which is hyper's of 8 KiB.
        let early = if early.is_empty() { Bytes::new() } else { early };
        Pump { io, body: Some(body), early, out: Chunk::default(), unflushed: false }
    }

    /// Runs until the message is whole; then gives back the socket and what has been read of the next
    /// request. Dropping it breaks the answer off.
    pub(super) async fn run(mut self) -> Result<(T, Bytes), Broken> {
        poll_fn(|cx| self.poll(cx)).await?;
        Ok((self.io, self.early))
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Broken>> {
        self.poll_caller(cx)?;
        ready!(self.poll_out(cx)).map_err(|_| Broken)?;
        for _ in 0..FRAMES_PER_TURN {
            let Some(body) = &mut self.body else { return Poll::Ready(Ok(())) };
            match ready!(Pin::new(&mut *body).poll_frame(cx)) {
                Some(Ok(frame)) => {
                    let ends = body.is_end_stream();
                    // Trailers are dropped upstream (RFC 9110 6.5.1).
                    self.out.fill(frame.into_data().unwrap_or_default(), ends);
                    if ends {
                        self.body = None;
                    }
                }
                Some(Err(_)) => return Poll::Ready(Err(Broken)),
                None => {
                    self.out.fill(Bytes::new(), true);
                    self.body = None;
                }
            }
            ready!(self.poll_out(cx)).map_err(|_| Broken)?;
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Looks whether the caller has left.
    fn poll_caller(&mut self, cx: &mut Context<'_>) -> Result<(), Broken> {
        if !self.early.is_empty() {
            return Ok(());
        }
        let mut room = [MaybeUninit::uninit(); EARLY_BYTES_MAX];
        let mut read = ReadBuf::uninit(&mut room);
        match Pin::new(&mut self.io).poll_read(cx, &mut read) {
            Poll::Pending => Ok(()),
            Poll::Ready(Ok(())) if !read.filled().is_empty() => {
                self.early = Bytes::copy_from_slice(read.filled());
                Ok(())
            }
            Poll::Ready(_) => Err(Broken),
        }
    }

    /// Writes what is there to be written.
    fn poll_out(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.out.is_empty() && !self.unflushed {
            return Poll::Ready(Ok(()));
        }
        while !self.out.is_empty() {
            let io = Pin::new(&mut self.io);
            let mut room = [0; FLAT_BYTES_MAX];
            let n = match self.out.flat(&mut room) {
                Some(flat) => ready!(io.poll_write(cx, flat))?,
                None => ready!(io.poll_write_vectored(cx, &self.out.slices()))?,
            };
            if n == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.unflushed = true;
            self.out.advance(n);
        }
        ready!(Pin::new(&mut self.io).poll_flush(cx))?;
        self.unflushed = false;
        Poll::Ready(Ok(()))
    }
}

/// A chunk that is being written: its size, its data, its end.
#[derive(Debug, Default)]
struct Chunk {
    size: [u8; SIZE_BYTES_MAX],
    /// Where what is left of the size begins: it is at the end of its room.
    from: usize,
    data: Bytes,
    tail: &'static [u8],
}

impl Chunk {
    /// Takes the next data in; `ends`: there is no more. No data makes no chunk: one of size zero
    /// would end the message.
    fn fill(&mut self, data: Bytes, ends: bool) {
        self.from = SIZE_BYTES_MAX;
        if data.is_empty() {
            self.tail = if ends { MESSAGE_END } else { b"" };
            return;
        }
        let mut put = |byte| {
            self.from -= 1;
            self.size[self.from] = byte;
        };
        CHUNK_END.iter().rev().copied().for_each(&mut put);
        let mut left = data.len();
        while left > 0 {
            put(b"0123456789abcdef"[left & 0xf]);
            left >>= 4;
        }
        self.data = data;
        self.tail = if ends { LAST_CHUNK_END } else { CHUNK_END };
    }

    fn slices(&self) -> [IoSlice<'_>; 3] {
        [IoSlice::new(&self.size[self.from..]), IoSlice::new(&self.data), IoSlice::new(self.tail)]
    }

    /// All of it in one piece, if that is short.
    fn flat<'a>(&self, room: &'a mut [u8; FLAT_BYTES_MAX]) -> Option<&'a [u8]> {
        let size = &self.size[self.from..];
        let (data, tail) = (size.len(), size.len() + self.data.len());
        let end = tail + self.tail.len();
        let flat = room.get_mut(..end)?;
        flat[..data].copy_from_slice(size);
        flat[data..tail].copy_from_slice(&self.data);
        flat[tail..].copy_from_slice(self.tail);
        Some(flat)
    }

    fn is_empty(&self) -> bool {
        self.tail.is_empty()
    }

    /// So many bytes are written.
    fn advance(&mut self, n: usize) {
        let of_size = n.min(SIZE_BYTES_MAX - self.from);
        self.from += of_size;
        let of_data = (n - of_size).min(self.data.len());
        self.data.advance(of_data);
        if self.data.is_empty() {
            self.data = Bytes::new(); // even an empty view pins its buffer
        }
        self.tail = self.tail.get(n - of_size - of_data..).unwrap_or_default();
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use http_body::Frame;
    use proptest::prelude::*;

    use super::*;

    /// A caller: what it sends, at most how much of each write goes through (0: none now, and no flush
    /// either), what is written, and what of it was flushed: it has got no more.
    #[derive(Default)]
    struct Caller {
        sends: VecDeque<&'static [u8]>,
        takes: VecDeque<usize>,
        written: Vec<u8>,
        got: Vec<u8>,
    }

    impl AsyncRead for Caller {
        fn poll_read(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            buf: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            let Some(bytes) = self.sends.pop_front() else { return Poll::Pending };
            buf.put_slice(bytes);
            Poll::Ready(Ok(()))
        }
    }

    impl AsyncWrite for Caller {
        fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
            let n = self.takes.pop_front().unwrap_or(usize::MAX).min(buf.len());
            if n == 0 {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            self.written.extend_from_slice(&buf[..n]);
            Poll::Ready(Ok(n))
        }
        fn poll_write_vectored(
            self: Pin<&mut Self>,
            cx: &mut Context<'_>,
            bufs: &[IoSlice<'_>],
        ) -> Poll<io::Result<usize>> {
            self.poll_write(cx, &bufs.iter().flat_map(|buf| buf.iter().copied()).collect::<Vec<u8>>())
        }
        fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            if self.takes.pop_front() == Some(0) {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            let this = &mut *self;
            this.got.append(&mut this.written);
            Poll::Ready(Ok(()))
        }
        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    /// Frames; then the end, which the last frame may tell of itself, a break, or nothing more for now.
    struct Frames(VecDeque<Vec<u8>>, End);

    #[derive(Clone, Copy, Debug, PartialEq)]
    enum End {
        Told,
        Untold,
        Break,
        Wait,
    }

    impl Body for Frames {
        type Data = Bytes;
        type Error = ();
        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, ()>>> {
            match (self.0.pop_front(), self.1) {
                (Some(frame), _) => Poll::Ready(Some(Ok(Frame::data(frame.into())))),
                (None, End::Break) => Poll::Ready(Some(Err(()))),
                (None, End::Wait) => Poll::Pending,
                (None, End::Told | End::Untold) => Poll::Ready(None),
            }
        }
        fn is_end_stream(&self) -> bool {
            self.1 == End::Told && self.0.is_empty()
        }
    }

    /// Runs for as long as something moves; `None`: it waits.
    fn run(pump: &mut Pump<Caller, Frames>) -> Option<Result<(), Broken>> {
        let mut cx = Context::from_waker(std::task::Waker::noop());
        for _ in 0..100_000 {
            if let Poll::Ready(done) = pump.poll(&mut cx) {
                return Some(done);
            }
        }
        None
    }

    fn bytes(len: std::ops::Range<usize>) -> impl Strategy<Value = Vec<u8>> {
        prop::collection::vec(any::<u8>(), len)
    }

    fn chunks(frames: &[Vec<u8>]) -> Vec<u8> {
        let mut wire = Vec::new();
        for frame in frames.iter().filter(|frame| !frame.is_empty()) {
            wire.extend_from_slice(format!("{:x}\r\n", frame.len()).as_bytes());
            wire.extend_from_slice(frame);
            wire.extend_from_slice(b"\r\n");
        }
        wire
    }

    proptest! {
        #[test]
        fn any_frames_leave_as_chunks_however_little_each_write_takes(
            frames in prop::collection::vec(prop_oneof![bytes(0..600), bytes(900..1100)], 0..12),
            takes in prop::collection::vec(0usize..40, 0..200),
            end in prop::sample::select(vec![End::Told, End::Untold, End::Break]),
        ) {
            let caller = Caller { takes: takes.into(), ..Caller::default() };
            let mut pump = Pump::new(caller, Frames(frames.clone().into(), end), Bytes::new());
            let done = run(&mut pump).unwrap();
            let mut wire = chunks(&frames);
            if end == End::Break {
                prop_assert_eq!(done, Err(Broken));
            } else {
                prop_assert_eq!(done, Ok(()));
                wire.extend_from_slice(b"0\r\n\r\n");
            }
            prop_assert_eq!(pump.io.got, wire);
        }
    }

    #[test]
    fn a_caller_that_leaves_while_nothing_comes_is_noticed() {
        let gone = Caller { sends: [&b""[..]].into(), ..Caller::default() };
        let mut pump = Pump::new(gone, Frames(VecDeque::new(), End::Wait), Bytes::new());
        assert_eq!(run(&mut pump), Some(Err(Broken)));
        let mut pump = Pump::new(Caller::default(), Frames(VecDeque::new(), End::Wait), Bytes::new());
        assert_eq!(run(&mut pump), None);
    }

    #[test]
    fn the_next_request_is_kept_and_nothing_is_read_behind_it() {
        let sends: [&[u8]; 2] = [b"GET / HT", b""];
        for early in [&b""[..], b"GET / HT"] {
            let caller = Caller {
                sends: sends[usize::from(!early.is_empty())..].to_vec().into(),
                ..Caller::default()
            };
            let left = caller.sends.len().min(1);
            let mut pump =
                Pump::new(caller, Frames([b"a".to_vec()].into(), End::Wait), Bytes::from_static(early));
            assert_eq!(run(&mut pump), None);
            assert_eq!((&pump.early[..], pump.io.sends.len()), (&b"GET / HT"[..], left));
            assert_eq!(pump.io.got, b"1\r\na\r\n");
        }
    }
}
