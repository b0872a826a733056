//! The service's side of a realtime session: each response that is asked for is spoken from a fixture.

use std::io;
use std::sync::Arc;

use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncWrite};

use super::counts::Calls;
use crate::demo::fixtures::Fixtures;
use crate::demo::paced::{Pace, Random};
use crate::demo::script::pieces;
use crate::demo::websocket::{FrameSide, MessageSocket};
use crate::demo::work::usage;

/// The model that speaks.
const MODEL: &str = "gpt-realtime-2025-08-28";

/// One session.
pub(super) struct RealtimeSession {
    pub(super) calls: Arc<Calls>,
    pub(super) fixtures: Arc<Fixtures>,
    pub(super) pace: Pace,
    /// The number of the session at its service.
    pub(super) call: u64,
    /// The handshake named a caller.
    pub(super) is_identified: bool,
}

impl RealtimeSession {
    /// Holds the session until its caller closes it or goes.
    pub(super) async fn hold(self, upgrade: OnUpgrade) {
        let Ok(stream) = upgrade.await else { return };
        let mut socket = MessageSocket { stream: TokioIo::new(stream), side: FrameSide::Server };
        // An error here is a caller that left.
        let _ = self.converse(&mut socket).await;
    }

    async fn converse<S>(&self, socket: &mut MessageSocket<S>) -> io::Result<()>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let id = format!("sess_demo_{:06}", self.call);
        let session = json!({ "type": "realtime", "object": "realtime.session", "id": id, "model": MODEL });
        socket.send(&json!({ "type": "session.created", "session": session })).await?;
        while let Some(message) = socket.next().await? {
            if message["type"] == "response.create" {
                self.respond(socket, &message["response"]["metadata"]["fixture"]).await?;
            }
        }
        socket.close().await
    }

    async fn respond<S>(&self, socket: &mut MessageSocket<S>, asked: &Value) -> io::Result<()>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let call = self.calls.count(self.is_identified);
        let fixture = asked.as_str().and_then(|name| self.fixtures.named(name));
        let fixture = fixture.ok_or(io::ErrorKind::InvalidInput)?;
        let id = format!("resp_{}_{call:06}", fixture.name);
        let mut response = json!({ "object": "realtime.response", "id": id, "status": "in_progress" });
        socket.send(&json!({ "type": "response.created", "response": response })).await?;
        let mut random = Random::new(call);
        for piece in pieces(fixture.first_text()) {
            tokio::time::sleep(self.pace.next(&mut random)).await;
            let kind = "response.output_audio_transcript.delta";
            socket.send(&json!({ "type": kind, "response_id": id, "delta": piece })).await?;
        }
        response["status"] = "completed".into();
        response["usage"] = fixture.usage.map(usage).into();
        socket.send(&json!({ "type": "response.done", "response": response })).await
    }
}
