//! How bodies are framed on the connection to an upstream (RFC 9112 6).

use bytes::{Bytes, BytesMut};

use super::chunked::Chunked;

/// The framing of a request body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RequestFraming {
    /// There is no body.
    Empty,
    Length(u64),
    Chunked,
}

/// The framing of a response body.
#[derive(Debug)]
pub(super) enum Framing {
    /// So many bytes are still to come.
    Length(u64),
    Chunked(Chunked),
    /// The body goes to the end of the connection.
    Close,
}

impl Framing {
    /// Takes the body's bytes out of the bytes that were read.
    pub(super) fn take(&mut self, read: &mut BytesMut) -> Bytes {
        match self {
            Framing::Chunked(chunked) => chunked.take(read),
            Framing::Close => read.split().freeze(),
            Framing::Length(left) => {
                let n = usize::try_from(*left).map_or(read.len(), |left| left.min(read.len()));
                *left -= n as u64;
                read.split_to(n).freeze()
            }
        }
    }

    /// The body has been read to its end.
    pub(super) fn ended(&self) -> bool {
        match self {
            Framing::Chunked(chunked) => chunked.ended(),
            Framing::Length(left) => *left == 0,
            Framing::Close => false,
        }
    }

    /// The bytes broke the grammar.
    pub(super) fn broken(&self) -> bool {
        matches!(self, Framing::Chunked(chunked) if chunked.broken())
    }
}
