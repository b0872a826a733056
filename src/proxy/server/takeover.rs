//! How a response that streams is taken over from hyper.
//!
//! hyper reads the requests, writes the heads of responses, and passes on frames that are there already. But a
//! connection of it holds two buffers of 8 KiB, the one only to see the client leave, and looks at
//! all of its state for every chunk. So once a response has to be waited for, and hyper has nothing
//! left to read or to write, we take body and socket from it and send the rest ourselves
//! ([`super::stream`]). The next request goes to a new hyper on the same socket.
//!
//! While hyper has a response, it gets no more of it than it can be rid of: by itself it would take 240 KiB from
//! the upstream for a client that reads nothing, as much as it may hold of a request.
//!
//! Only a response that hyper sends in chunks to a client of HTTP/1.1 is taken over, and only once its request
//! is whole: then the bytes on the wire are the same as hyper's.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_LENGTH, TRANSFER_ENCODING, UPGRADE};
use http::{Method, Request, Response, StatusCode, Version};
use http_body::{Body, Frame, SizeHint};

use super::conn_state::{ConnState, TakenOver};
use crate::proxy::fields::has_token;
use crate::proxy::forward::response_body::ResponseBody;

/// The framing of a response that its request allows.
#[derive(Clone, Copy, Debug)]
pub(super) struct ResponseFraming {
    /// The response may have chunks, and nothing but another request may follow it.
    chunks: bool,
    /// The client or the framing wants the connection closed behind the response, and so does hyper.
    last: bool,
}

impl ResponseFraming {
    pub(super) fn of<B>(request: &Request<B>) -> ResponseFraming {
        let fields = request.headers();
        let bodiless = matches!(*request.method(), Method::HEAD | Method::CONNECT);
        let doubtful = fields.contains_key(TRANSFER_ENCODING) && fields.contains_key(CONTENT_LENGTH);
        ResponseFraming {
            chunks: request.version() == Version::HTTP_11 && !bodiless && !fields.contains_key(UPGRADE),
            last: doubtful || has_token(fields, &CONNECTION, "close"),
        }
    }
}

/// The body of a response while hyper has it.
pub(super) struct HyperBody {
    /// `None`: it has been taken over.
    body: Option<ResponseBody>,
    /// Whether the response is the last one of its connection, if it may be taken over.
    last: Option<bool>,
    conn: Arc<ConnState>,
}

impl HyperBody {
    /// The response for hyper. It can be taken over if hyper sends it in chunks.
    pub(super) fn lend(
        conn: &Arc<ConnState>,
        allowed: ResponseFraming,
        response: Response<ResponseBody>,
    ) -> Response<HyperBody> {
        let (status, fields) = (response.status(), response.headers());
        let bodiless =
            status.is_informational() || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED);
        let framed = fields.contains_key(CONTENT_LENGTH) || fields.contains_key(TRANSFER_ENCODING);
        let chunked = !bodiless && !framed && response.body().size_hint().exact().is_none();
        let last = allowed.last || has_token(fields, &CONNECTION, "close");
        let last = (allowed.chunks && chunked).then_some(last);
        response.map(|body| HyperBody { body: Some(body), last, conn: Arc::clone(conn) })
    }
}

impl Body for HyperBody {
    type Data = Bytes;
    type Error = <ResponseBody as Body>::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let this = &mut *self;
        let Some(body) = &mut this.body else { return Poll::Pending };
        ready!(this.conn.poll_room(cx));
        let polled = Pin::new(&mut *body).poll_frame(cx);
        if let Poll::Ready(Some(Ok(frame))) = &polled {
            this.conn.gave(frame.data_ref().map_or(0, Bytes::len));
        }
        // Its waker is that of the connection's task, which is where the body goes.
        if polled.is_pending()
            && let Some(last) = this.last
            && body.request_is_whole()
            && let Some(body) = this.body.take()
        {
            this.conn.take_over(TakenOver { body, last });
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_some_and(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or_else(SizeHint::default, Body::size_hint)
    }
}
