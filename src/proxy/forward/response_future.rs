//! The future of a response whose client may go before it comes: the response is then waited for and read on in a task
//! of its own (`--on-client-disconnect`).

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use http::Response;
use tokio::time::timeout_at;

use super::disconnect::{DisconnectDrain, read};
use super::response_body::ResponseBody;
use crate::tee::{Call, Left};
use metering::usage::Reason;

type BoxedResponse = Pin<Box<dyn Future<Output = Response<ResponseBody>> + Send>>;

/// Waits for the response to a call. Dropped before it comes, it waits on in a task.
pub(super) struct ResponseFuture {
    /// `None`: the response has come.
    response: Option<BoxedResponse>,
    call: Arc<Call>,
    drain: Arc<DisconnectDrain>,
}

impl ResponseFuture {
    pub(super) fn new(
        response: impl Future<Output = Response<ResponseBody>> + Send + 'static,
        call: Arc<Call>,
        drain: Arc<DisconnectDrain>,
    ) -> ResponseFuture {
        ResponseFuture { response: Some(Box::pin(response)), call, drain }
    }
}

impl Future for ResponseFuture {
    type Output = Response<ResponseBody>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Response<ResponseBody>> {
        let Some(response) = &mut self.response else { return Poll::Pending };
        let response = ready!(response.as_mut().poll(cx));
        self.response = None;
        Poll::Ready(response)
    }
}

impl Drop for ResponseFuture {
    fn drop(&mut self) {
        if let Some(response) = self.response.take() {
            wait_on(response, Arc::clone(&self.call), &self.drain);
        }
    }
}

/// Waits for the response in a task, and reads it on.
fn wait_on(mut response: BoxedResponse, call: Arc<Call>, drain: &DisconnectDrain) {
    let Some(permit) = drain.permit(&call) else { return };
    let (bytes_max, end) = (drain.bounds().bytes, drain.end());
    tokio::spawn(async move {
        match timeout_at(end, &mut response).await {
            Ok(response) => match response.into_body().into_tap() {
                Some(tap) => read(tap, bytes_max, end, permit).await,
                None => permit.finished(),
            },
            // The call is in `response`, and ends when that is dropped.
            Err(_) => call.client_left(Left { drained: true, stopped: Some(Reason::DrainTimeout) }),
        }
    });
}
