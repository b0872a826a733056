//! `Upgrade: websocket`: both sides switch, then bytes go both ways until both have ended.

use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use http::header::{CONNECTION, UPGRADE};
use http::{HeaderMap, HeaderValue};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, copy_bidirectional};

use super::upstream::head::has_token;
use crate::meter::Ending;
use crate::tee::Conclude;

/// A tunnel to be run by the task of its connection, so that it is drained and ended like one.
type Tunnel = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Where a connection finds the tunnel that it has become.
#[derive(Clone, Default)]
pub(super) struct TunnelSlot(Arc<Mutex<Option<Tunnel>>>);

impl TunnelSlot {
    pub(super) fn set(&self, tunnel: Tunnel) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(tunnel);
    }

    pub(super) fn take(&self) -> Option<Tunnel> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

/// The request asks to become a websocket.
pub(super) fn wanted(headers: &HeaderMap) -> bool {
    has_token(headers, &CONNECTION, "upgrade") && has_token(headers, &UPGRADE, "websocket")
}

/// Says on the next hop that the protocol is switched; the fields are removed with the others that
/// end at a hop.
pub(super) fn switch(headers: &mut HeaderMap) {
    headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(UPGRADE, HeaderValue::from_static("websocket"));
}

/// Joins the two sides. `beyond` are bytes that the service sent right behind its `101`.
pub(super) fn tunnel<S>(caller: OnUpgrade, mut service: S, beyond: Bytes, call: Option<Conclude>) -> Tunnel
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    Box::pin(async move {
        let Ok(caller) = caller.await else { return };
        let mut caller = TokioIo::new(caller);
        let joined = async {
            caller.write_all(&beyond).await?;
            copy_bidirectional(&mut caller, &mut service).await
        };
        let ending = if joined.await.is_ok() { Ending::Eof } else { Ending::UpstreamError };
        if let Some(call) = call {
            call.end(ending);
        }
    })
}
