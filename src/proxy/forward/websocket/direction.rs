//! One direction of a tunnel: the bytes that one side sends go to the other, which may be slow, and bytes that are on
//! their way are delivered before anything is said of an end.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use metering::frames::Frames;

/// Bytes on their way in one direction: as many as tokio's own copy has, a message of audio or text.
const BUFFER_BYTES: usize = 8 * 1024;

/// How the side that is read from has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum SourceEnd {
    /// It sends no more (FIN).
    Fin,
    /// The connection failed.
    Reset,
}

/// One direction.
#[derive(Debug)]
pub(super) struct Direction {
    buffer: Box<[u8]>,
    /// The bytes from here to `to` are still to be written.
    from: usize,
    to: usize,
    unflushed: bool,
    frames: Frames,
    end: Option<SourceEnd>,
    /// The side that is written to takes no more.
    refused: bool,
    over: bool,
}

impl Direction {
    /// A direction of which these bytes have been read already.
    pub(super) fn new(beyond: &Bytes, mut frames: Frames) -> Direction {
        let mut buffer = vec![0; BUFFER_BYTES.max(beyond.len())];
        buffer[..beyond.len()].copy_from_slice(beyond);
        frames.push(beyond);
        Direction {
            buffer: buffer.into(),
            from: 0,
            to: beyond.len(),
            unflushed: false,
            frames,
            end: None,
            refused: false,
            over: false,
        }
    }

    /// Moves as many bytes as can be moved. Is ready once no more will be.
    pub(super) fn poll<R, W>(&mut self, cx: &mut Context<'_>, source: &mut R, sink: &mut W) -> Poll<()>
    where
        R: AsyncRead + Unpin,
        W: AsyncWrite + Unpin,
    {
        if self.over {
            return Poll::Ready(());
        }
        let moved = ready!(self.poll_move(cx, source, sink));
        self.refused = moved.is_err();
        self.over = true;
        Poll::Ready(())
    }

    /// Its error is one of the sink.
    fn poll_move<R, W>(&mut self, cx: &mut Context<'_>, source: &mut R, sink: &mut W) -> Poll<io::Result<()>>
    where
        R: AsyncRead + Unpin,
        W: AsyncWrite + Unpin,
    {
        loop {
            while self.from < self.to {
                let rest = &self.buffer[self.from..self.to];
                let written = ready!(Pin::new(&mut *sink).poll_write(cx, rest))?;
                if written == 0 {
                    return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
                }
                self.from += written;
                self.unflushed = true;
            }
            (self.from, self.to) = (0, 0);
            match self.end {
                // If it cannot be told, the other side has gone, and reading from it says how.
                Some(SourceEnd::Fin) => return Pin::new(sink).poll_shutdown(cx).map(|_| Ok(())),
                Some(SourceEnd::Reset) => return Pin::new(sink).poll_flush(cx),
                None => {}
            }
            let mut free = ReadBuf::new(&mut self.buffer);
            match Pin::new(&mut *source).poll_read(cx, &mut free) {
                Poll::Ready(Ok(())) if free.filled().is_empty() => self.end = Some(SourceEnd::Fin),
                Poll::Ready(Ok(())) => {
                    self.to = free.filled().len();
                    self.frames.push(free.filled());
                }
                Poll::Ready(Err(_)) => self.end = Some(SourceEnd::Reset),
                Poll::Pending => {
                    if self.unflushed {
                        ready!(Pin::new(&mut *sink).poll_flush(cx))?;
                        self.unflushed = false;
                    }
                    return Poll::Pending;
                }
            }
        }
    }

    /// All bytes that came have been passed on.
    pub(super) fn is_idle(&self) -> bool {
        self.over || (self.from == self.to && !self.unflushed)
    }

    /// The side that is read from sends no more, whole frames being all that it has sent.
    pub(super) fn has_finished(&self) -> bool {
        self.end == Some(SourceEnd::Fin) && !self.frames.is_open()
    }

    /// The side that is read from broke off.
    pub(super) fn has_broken(&self) -> bool {
        self.end == Some(SourceEnd::Reset) || self.is_cut()
    }

    /// It ended in the middle of a frame.
    pub(super) fn is_cut(&self) -> bool {
        self.end.is_some() && self.frames.is_open()
    }

    /// The connection of the side that is read from failed.
    pub(super) fn was_reset(&self) -> bool {
        self.end == Some(SourceEnd::Reset)
    }

    /// The side that is written to takes no more.
    pub(super) fn was_refused(&self) -> bool {
        self.refused
    }

    /// The side that is read from has said that the session is over.
    pub(super) fn is_closed(&self) -> bool {
        self.frames.is_closed()
    }

    /// A frame is in the middle, or a message of several.
    pub(super) fn is_open(&self) -> bool {
        self.frames.is_open()
    }

    /// All that came was frames.
    pub(super) fn is_readable(&self) -> bool {
        self.frames.is_readable()
    }
}
