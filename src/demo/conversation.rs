//! A caller that holds a realtime session: a WebSocket, over which it asks for two responses.

use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncWrite};

use super::client::{exchange, request};
use super::fixtures::Fixture;
use super::traffic::{DOOR_POLL, TrafficGate, TrafficPass};
use super::websocket::{FrameSide, KEY, MessageSocket};

/// Where sessions are held.
const TARGET: &str = "/openai/v1/realtime?model=realtime-team";

/// Responses of a session.
const RESPONSES: usize = 2;

/// Holds a session. False: a sidecar harmed it.
pub(super) async fn hold(
    fixture: &Fixture,
    headers: &[(&str, &str)],
    door: &TrafficGate,
    pass: TrafficPass,
) -> bool {
    talk(fixture, headers, door, pass).await.is_ok() || door.was_killed(pass)
}

async fn talk(
    fixture: &Fixture,
    headers: &[(&str, &str)],
    door: &TrafficGate,
    pass: TrafficPass,
) -> anyhow::Result<()> {
    let upgrade = [
        ("connection", "upgrade"),
        ("upgrade", "websocket"),
        ("sec-websocket-version", "13"),
        ("sec-websocket-key", KEY),
    ];
    let headers = [&upgrade[..], headers].concat();
    let response = exchange(pass.addr, request("GET", TARGET, &headers, Value::Null)?).await?;
    let stream = TokioIo::new(hyper::upgrade::on(response).await?);
    let mut socket = MessageSocket { stream, side: FrameSide::Client };
    until(&mut socket, "session.created").await?;
    for _ in 0..RESPONSES {
        while !door.enter_again(pass) {
            anyhow::ensure!(!door.was_killed(pass), "the session's sidecar is dead");
            tokio::time::sleep(DOOR_POLL).await;
        }
        let asked = json!({ "metadata": { "fixture": fixture.name } });
        socket.send(&json!({ "type": "response.create", "response": asked })).await?;
        until(&mut socket, "response.done").await?;
    }
    socket.close().await?;
    anyhow::ensure!(socket.next().await?.is_none(), "the service closes too");
    Ok(())
}

/// Reads messages up to one of this type.
async fn until<S>(socket: &mut MessageSocket<S>, kind: &str) -> anyhow::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    while let Some(message) = socket.next().await? {
        if message["type"] == kind {
            return Ok(());
        }
    }
    anyhow::bail!("the session was closed before {kind}")
}
