//! The request on its way to an upstream: its head first, then each piece of the body as it comes.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes, BytesMut};
use http_body::Body;
use tokio::io::AsyncWrite;

use super::error::BoxError;
use super::framing::RequestFraming;
use super::io::UpstreamIo;

/// Why a request could not be sent to its end.
#[derive(Debug)]
pub(super) enum UploadError {
    /// The client's request body broke off.
    Body(BoxError),
    /// The upstream takes no more. It may have responded nevertheless.
    Io(io::Error),
}

/// A request being sent.
///
/// At any time `front`, `data` and `tail` are to be written, in this order and in one call.
#[derive(Debug)]
pub(super) struct Upload<B> {
    body: Option<B>,
    chunked: bool,
    front: BytesMut,
    data: Bytes,
    tail: &'static [u8],
    /// A byte has been handed to the connection: from here on a retry could send it twice.
    wrote: bool,
    /// The client waits for `100 Continue`, so its body is not touched yet.
    waits_for_continue: bool,
    done: bool,
}

impl<B> Upload<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<BoxError>,
{
    /// A request with this head. With `expects_continue` the body waits for [`Upload::send_body`].
    pub(super) fn new(head: BytesMut, body: B, framing: RequestFraming, expects_continue: bool) -> Upload<B> {
        let body = if framing == RequestFraming::Empty { None } else { Some(body) };
        Upload {
            waits_for_continue: expects_continue && body.is_some(),
            body,
            chunked: framing == RequestFraming::Chunked,
            front: head,
            data: Bytes::new(),
            tail: b"",
            wrote: false,
            done: false,
        }
    }

    /// Everything has been handed to the connection.
    pub(super) fn done(&self) -> bool {
        self.done
    }

    /// A byte has been handed to the connection, so that the request must not be sent again.
    pub(super) fn wrote(&self) -> bool {
        self.wrote
    }

    /// The body waits for [`Upload::send_body`].
    pub(super) fn waits_for_continue(&self) -> bool {
        self.waits_for_continue
    }

    /// The upstream wants the body.
    pub(super) fn send_body(&mut self) {
        self.waits_for_continue = false;
    }

    /// Stops sending for good. Returns the body if some of it is still to come.
    pub(super) fn give_up(&mut self) -> Option<B> {
        self.front.clear();
        self.data = Bytes::new();
        self.tail = b"";
        self.done = true;
        self.body.take()
    }

    /// Sends as much as can be sent now. Is ready once all is sent, or with the error that ended it.
    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        io: &mut UpstreamIo,
    ) -> Poll<Result<(), UploadError>> {
        if self.done {
            return Poll::Ready(Ok(()));
        }
        loop {
            let body_waits = self.poll_stage(cx)?.is_pending();
            if self.front.is_empty() && self.data.is_empty() && self.tail.is_empty() {
                ready!(Pin::new(&mut *io).poll_flush(cx)).map_err(UploadError::Io)?;
                if body_waits {
                    return Poll::Pending;
                }
                self.done = self.body.is_none();
                if self.done {
                    self.front = BytesMut::new();
                    return Poll::Ready(Ok(()));
                }
            } else {
                ready!(self.poll_write(cx, io)).map_err(UploadError::Io)?;
            }
        }
    }

    /// Takes the next piece of the body once the last one is written. Is pending if there is none yet.
    fn poll_stage(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), UploadError>> {
        if !self.data.is_empty() || !self.tail.is_empty() {
            return Poll::Ready(Ok(()));
        }
        let Some(body) = &mut self.body else { return Poll::Ready(Ok(())) };
        if self.waits_for_continue {
            return Poll::Pending;
        }
        match ready!(Pin::new(body).poll_frame(cx)) {
            Some(Ok(frame)) => {
                // Trailers are dropped (RFC 9110 6.5.1 lets an intermediary do so).
                let data = frame.into_data().unwrap_or_default();
                if self.chunked && !data.is_empty() {
                    self.front.extend_from_slice(format!("{:x}\r\n", data.len()).as_bytes());
                    self.tail = b"\r\n";
                }
                self.data = data;
            }
            Some(Err(error)) => return Poll::Ready(Err(UploadError::Body(error.into()))),
            None => {
                self.body = None;
                self.tail = if self.chunked { b"0\r\n\r\n" } else { b"" };
            }
        }
        Poll::Ready(Ok(()))
    }

    fn poll_write(&mut self, cx: &mut Context<'_>, io: &mut UpstreamIo) -> Poll<io::Result<()>> {
        let slices = [IoSlice::new(&self.front), IoSlice::new(&self.data), IoSlice::new(self.tail)];
        let mut n = ready!(Pin::new(io).poll_write_vectored(cx, &slices))?;
        if n == 0 {
            return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
        }
        self.wrote = true;
        for part in [&mut self.front as &mut dyn Buf, &mut self.data, &mut self.tail] {
            let here = n.min(part.remaining());
            part.advance(here);
            n -= here;
        }
        if self.data.is_empty() {
            // Even an empty view pins the buffer that the client's request was read into.
            self.data = Bytes::new();
        }
        Poll::Ready(Ok(()))
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::sync::Arc;

    use http_body_util::Full;
    use tokio::net::{TcpListener, TcpStream};

    use super::*;

    /// Says whether its bytes are still held.
    struct Buffer(Arc<[u8]>);

    impl AsRef<[u8]> for Buffer {
        fn as_ref(&self) -> &[u8] {
            &self.0
        }
    }

    #[test]
    fn what_has_been_sent_is_let_go_of_while_the_response_streams() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let tcp = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
            let (mut io, held) = (UpstreamIo::Plain(tcp), Arc::from(*b"body"));
            let body = Full::new(Bytes::from_owner(Buffer(Arc::clone(&held))));
            let mut upload =
                Upload::new(BytesMut::from("POST / HTTP/1.1"), body, RequestFraming::Length(4), false);
            poll_fn(|cx| upload.poll(cx, &mut io)).await.unwrap();
            assert!(upload.done());
            assert_eq!((Arc::strong_count(&held), upload.front.capacity()), (1, 0));
        });
    }
}
