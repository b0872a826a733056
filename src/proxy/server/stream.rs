//! Sends the rest of a response that was taken over from hyper: each frame leaves as one chunk in one write, a
//! long one from the memory that it was read into.
//!
//! Meanwhile the client is watched, as hyper does: one that closes its side has gone. Bytes that it
//! sends are its next request. They are kept for hyper, and behind them nothing more is read.

use std::future::poll_fn;
use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes};
use http_body::Body;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// How much is read at once of a request that comes early. For a client that sends nothing, nothing is held.
const EARLY_BYTES_MAX: usize = 512;

/// Frames that leave before other streams have their turn. As many as hyper passes on in one.
const FRAMES_PER_TURN: usize = 16;

/// A chunk up to this length is laid together first: the kernel takes one piece 0.3 us faster than three. A
/// token's event is about 500 bytes.
const FLAT_BYTES_MAX: usize = 1024;

/// Digits of a chunk's size, and the end of its line.
const SIZE_BYTES_MAX: usize = 16 + 2;

/// The end of a chunk, that of the last one with the message's, and that of a message alone.
const CHUNK_END: &[u8] = b"\r\n";
const LAST_CHUNK_END: &[u8] = b"\r\n0\r\n\r\n";
const MESSAGE_END: &[u8] = b"0\r\n\r\n";

/// The client has gone, or the response is broken: the connection is to be closed in mid-message.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Interrupted;

/// Sends a response body to its client.
#[derive(Debug)]
pub(super) struct StreamWriter<T, B> {
    io: T,
    /// `None`: the body has ended.
    body: Option<B>,
    /// Bytes of the next request.
    early: Bytes,
    out: OutgoingChunk,
    /// The socket may hold some of what was written, as one with TLS does.
    unflushed: bool,
}

impl<T, B> StreamWriter<T, B>
where
    T: AsyncRead + AsyncWrite + Unpin,
    B: Body<Data = Bytes> + Unpin,
{
    /// Sends a body. `early` are the bytes that have been read of the next request.
    pub(super) fn new(io: T, body: B, early: Bytes) -> StreamWriter<T, B> {
        // Even an empty view pins its buffer, which is hyper's of 8 KiB.
        let early = if early.is_empty() { Bytes::new() } else { early };
        StreamWriter { io, body: Some(body), early, out: OutgoingChunk::default(), unflushed: false }
    }

    /// Runs until the message is whole; then returns the socket and the bytes that have been read of the next
    /// request. Dropping it breaks the response off.
    pub(super) async fn run(mut self) -> Result<(T, Bytes), Interrupted> {
        poll_fn(|cx| self.poll(cx)).await?;
        Ok((self.io, self.early))
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Interrupted>> {
        self.poll_client(cx)?;
        ready!(self.poll_out(cx)).map_err(|_| Interrupted)?;
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
                Some(Err(_)) => return Poll::Ready(Err(Interrupted)),
                None => {
                    self.out.fill(Bytes::new(), true);
                    self.body = None;
                }
            }
            ready!(self.poll_out(cx)).map_err(|_| Interrupted)?;
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Looks whether the client has gone.
    fn poll_client(&mut self, cx: &mut Context<'_>) -> Result<(), Interrupted> {
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
            Poll::Ready(_) => Err(Interrupted),
        }
    }

    /// Writes the chunk, and flushes it.
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
struct OutgoingChunk {
    size: [u8; SIZE_BYTES_MAX],
    /// Where the rest of the size begins: it stands at the end of its room.
    from: usize,
    data: Bytes,
    tail: &'static [u8],
}

impl OutgoingChunk {
    /// Takes the next data in; with `ends` it is the last. No data makes no chunk: one of size zero
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

    /// The whole chunk in one piece, if that is short.
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

    /// A client: the bytes that it sends, at most how much of each write goes through (0: none now, and no flush
    /// either), the bytes that were written, and those of them that were flushed: it has got no more.
    #[derive(Default)]
    struct Client {
        sends: VecDeque<&'static [u8]>,
        takes: VecDeque<usize>,
        written: Vec<u8>,
        got: Vec<u8>,
    }

    impl AsyncRead for Client {
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

    impl AsyncWrite for Client {
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

    /// Runs for as long as something moves; `None` if it waits.
    fn run(writer: &mut StreamWriter<Client, Frames>) -> Option<Result<(), Interrupted>> {
        let mut cx = Context::from_waker(std::task::Waker::noop());
        for _ in 0..100_000 {
            if let Poll::Ready(done) = writer.poll(&mut cx) {
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
            let client = Client { takes: takes.into(), ..Client::default() };
            let mut writer = StreamWriter::new(client, Frames(frames.clone().into(), end), Bytes::new());
            let done = run(&mut writer).unwrap();
            let mut wire = chunks(&frames);
            if end == End::Break {
                prop_assert_eq!(done, Err(Interrupted));
            } else {
                prop_assert_eq!(done, Ok(()));
                wire.extend_from_slice(b"0\r\n\r\n");
            }
            prop_assert_eq!(writer.io.got, wire);
        }
    }

    #[test]
    fn a_client_that_leaves_while_nothing_comes_is_noticed() {
        let gone = Client { sends: [&b""[..]].into(), ..Client::default() };
        let mut writer = StreamWriter::new(gone, Frames(VecDeque::new(), End::Wait), Bytes::new());
        assert_eq!(run(&mut writer), Some(Err(Interrupted)));
        let mut writer =
            StreamWriter::new(Client::default(), Frames(VecDeque::new(), End::Wait), Bytes::new());
        assert_eq!(run(&mut writer), None);
    }

    #[test]
    fn the_next_request_is_kept_and_nothing_is_read_behind_it() {
        let sends: [&[u8]; 2] = [b"GET / HT", b""];
        for early in [&b""[..], b"GET / HT"] {
            let client = Client {
                sends: sends[usize::from(!early.is_empty())..].to_vec().into(),
                ..Client::default()
            };
            let left = client.sends.len().min(1);
            let mut writer = StreamWriter::new(
                client,
                Frames([b"a".to_vec()].into(), End::Wait),
                Bytes::from_static(early),
            );
            assert_eq!(run(&mut writer), None);
            assert_eq!((&writer.early[..], writer.io.sends.len()), (&b"GET / HT"[..], left));
            assert_eq!(writer.io.got, b"1\r\na\r\n");
        }
    }
}
