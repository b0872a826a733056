//! One direction of a tunnel: the bytes that one side sends go to the other, which may be slow, and bytes that are on
//! their way are delivered before anything is said of an end.
//!
//! Bytes are looked at once they have been given to the other side, or as much of them as it takes at once.

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
    /// The bytes from here to `to` are still to be looked at.
    unseen_from: usize,
    to: usize,
    unflushed: bool,
    end: Option<SourceEnd>,
    /// The side that is written to takes no more.
    refused: bool,
    over: bool,
}

/// A direction, with what its frames say.
#[derive(Clone, Copy, Debug)]
pub(super) struct FramedDirection<'a> {
    pub(super) direction: &'a Direction,
    pub(super) frames: &'a Frames,
}

impl Direction {
    /// A direction of which these bytes have been read already.
    pub(super) fn new(beyond: &Bytes) -> Direction {
        let mut buffer = vec![0; BUFFER_BYTES.max(beyond.len())];
        buffer[..beyond.len()].copy_from_slice(beyond);
        Direction {
            buffer: buffer.into(),
            from: 0,
            unseen_from: 0,
            to: beyond.len(),
            unflushed: false,
            end: None,
            refused: false,
            over: false,
        }
    }

    /// Moves as many bytes as can be moved, and shows them to `look`, which says how many of them it has looked at:
    /// fewer if there is no more time in this turn. Is ready once no more bytes will be moved.
    pub(super) fn poll<R, W>(
        &mut self,
        cx: &mut Context<'_>,
        source: &mut R,
        sink: &mut W,
        look: &mut impl FnMut(&[u8]) -> usize,
    ) -> Poll<()>
    where
        R: AsyncRead + Unpin,
        W: AsyncWrite + Unpin,
    {
        while !self.over {
            let written = self.poll_write(cx, sink);
            self.unseen_from += look(self.unseen());
            if !self.unseen().is_empty() {
                return Poll::Pending; // whoever looks asks for the next turn
            }
            match ready!(written) {
                Ok(()) => ready!(self.poll_more(cx, source, sink)),
                Err(_) => self.refuse(),
            }
        }
        Poll::Ready(())
    }

    /// Writes what is left to be written.
    fn poll_write<W: AsyncWrite + Unpin>(
        &mut self,
        cx: &mut Context<'_>,
        sink: &mut W,
    ) -> Poll<io::Result<()>> {
        while self.from < self.to {
            let rest = &self.buffer[self.from..self.to];
            let written = ready!(Pin::new(&mut *sink).poll_write(cx, rest))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.from += written;
            self.unflushed = true;
        }
        Poll::Ready(Ok(()))
    }

    /// Reads more, or passes the end on, now that all that came has been written.
    fn poll_more<R, W>(&mut self, cx: &mut Context<'_>, source: &mut R, sink: &mut W) -> Poll<()>
    where
        R: AsyncRead + Unpin,
        W: AsyncWrite + Unpin,
    {
        (self.from, self.unseen_from, self.to) = (0, 0, 0);
        match self.end {
            // If it cannot be told, the other side has gone, and reading from it says how.
            Some(SourceEnd::Fin) => {
                let _ = ready!(Pin::new(sink).poll_shutdown(cx));
                self.over = true;
                return Poll::Ready(());
            }
            Some(SourceEnd::Reset) => {
                self.refused = ready!(Pin::new(sink).poll_flush(cx)).is_err();
                self.over = true;
                return Poll::Ready(());
            }
            None => {}
        }
        let mut free = ReadBuf::new(&mut self.buffer);
        match Pin::new(source).poll_read(cx, &mut free) {
            Poll::Ready(Ok(())) if free.filled().is_empty() => self.end = Some(SourceEnd::Fin),
            Poll::Ready(Ok(())) => self.to = free.filled().len(),
            Poll::Ready(Err(_)) => self.end = Some(SourceEnd::Reset),
            Poll::Pending => {
                if self.unflushed {
                    match ready!(Pin::new(sink).poll_flush(cx)) {
                        Ok(()) => self.unflushed = false,
                        Err(_) => {
                            self.refuse();
                            return Poll::Ready(());
                        }
                    }
                }
                return Poll::Pending;
            }
        }
        Poll::Ready(())
    }

    /// The side that is written to takes no more.
    fn refuse(&mut self) {
        (self.refused, self.over) = (true, true);
    }

    /// The bytes that have not been looked at.
    pub(super) fn unseen(&self) -> &[u8] {
        &self.buffer[self.unseen_from..self.to]
    }

    /// All bytes that came have been passed on.
    pub(super) fn is_idle(&self) -> bool {
        self.over || (self.from == self.to && !self.unflushed)
    }

    /// The connection of the side that is read from failed.
    pub(super) fn was_reset(&self) -> bool {
        self.end == Some(SourceEnd::Reset)
    }

    /// The side that is written to takes no more.
    pub(super) fn was_refused(&self) -> bool {
        self.refused
    }
}

impl FramedDirection<'_> {
    /// The side that is read from sends no more, whole frames being all that it has sent.
    pub(super) fn has_finished(self) -> bool {
        self.direction.end == Some(SourceEnd::Fin) && !self.frames.is_open()
    }

    /// The side that is read from broke off.
    pub(super) fn has_broken(self) -> bool {
        self.direction.was_reset() || self.is_cut()
    }

    /// It ended in the middle of a frame.
    pub(super) fn is_cut(self) -> bool {
        self.direction.end.is_some() && self.frames.is_open()
    }
}
