//! Text messages over a WebSocket (RFC 6455), each in one frame, as the demo's caller and its service exchange them.

use std::io;

use serde_json::Value;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

/// The key of every handshake of the demo, and what accepts it: those of RFC 6455 1.3.
pub(super) const KEY: &str = "dGhlIHNhbXBsZSBub25jZQ==";
pub(super) const ACCEPT: &str = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=";

/// The key with which clients mask their frames. Any will do on loopback.
const MASK: [u8; 4] = [0x37, 0xfa, 0x21, 0x3d];

/// The longest message that is read; those of the demo have a few hundred bytes.
const MESSAGE_BYTES_MAX: u64 = 64 * 1024;

/// The final frame of a text message, and one that closes (RFC 6455 5.2).
const TEXT: u8 = 0x81;
const CLOSE: u8 = 0x88;

/// The session ended as it was meant to (RFC 6455 7.4.1).
const NORMAL_CLOSURE: [u8; 2] = 1000_u16.to_be_bytes();

/// Who sends a frame: clients mask theirs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum FrameSide {
    Client,
    Server,
}

/// One side of a session.
#[derive(Debug)]
pub(super) struct MessageSocket<S> {
    pub(super) stream: S,
    pub(super) side: FrameSide,
}

impl<S: AsyncRead + AsyncWrite + Unpin> MessageSocket<S> {
    /// Sends a message.
    pub(super) async fn send(&mut self, message: &Value) -> io::Result<()> {
        self.write(TEXT, message.to_string().as_bytes()).await
    }

    /// Says that there are no more messages.
    pub(super) async fn close(&mut self) -> io::Result<()> {
        self.write(CLOSE, &NORMAL_CLOSURE).await
    }

    /// The next message; `None`: the other side closes.
    pub(super) async fn next(&mut self) -> io::Result<Option<Value>> {
        let opcode = self.stream.read_u8().await?;
        let second = self.stream.read_u8().await?;
        let length = match second & 0x7f {
            126 => self.stream.read_u16().await?.into(),
            127 => self.stream.read_u64().await?,
            length => length.into(),
        };
        if length > MESSAGE_BYTES_MAX {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let mut mask = [0; 4];
        if second & 0x80 != 0 {
            self.stream.read_exact(&mut mask).await?;
        }
        let mut payload = vec![0; length as usize];
        self.stream.read_exact(&mut payload).await?;
        apply(mask, &mut payload);
        match opcode {
            TEXT => Ok(Some(serde_json::from_slice(&payload)?)),
            CLOSE => Ok(None),
            _ => Err(io::ErrorKind::InvalidData.into()),
        }
    }

    async fn write(&mut self, opcode: u8, payload: &[u8]) -> io::Result<()> {
        let masked = if self.side == FrameSide::Client { 0x80 } else { 0 };
        let mut frame = vec![opcode];
        match payload.len() {
            length @ ..126 => frame.push(masked | length as u8),
            length => {
                let length = u16::try_from(length).map_err(|_| io::ErrorKind::InvalidInput)?;
                frame.push(masked | 126);
                frame.extend(length.to_be_bytes());
            }
        }
        let mask = if self.side == FrameSide::Client { MASK } else { [0; 4] };
        if self.side == FrameSide::Client {
            frame.extend(mask);
        }
        let head = frame.len();
        frame.extend(payload);
        apply(mask, &mut frame[head..]);
        self.stream.write_all(&frame).await?;
        self.stream.flush().await
    }
}

/// Masks or unmasks, which is the same (RFC 6455 5.3).
fn apply(mask: [u8; 4], payload: &mut [u8]) {
    for (byte, key) in payload.iter_mut().zip(mask.into_iter().cycle()) {
        *byte ^= key;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn both_sides_understand_each_other() {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let (left, right) = tokio::io::duplex(128);
            let mut client = MessageSocket { stream: left, side: FrameSide::Client };
            let mut server = MessageSocket { stream: right, side: FrameSide::Server };
            for length in [0, 60, 125, 126, 3_000] {
                let message = json!({ "said": "a".repeat(length) });
                let (sent, read) = tokio::join!(client.send(&message), server.next());
                sent.unwrap();
                assert_eq!(read.unwrap(), Some(message.clone()));
                let (sent, read) = tokio::join!(server.send(&message), client.next());
                sent.unwrap();
                assert_eq!(read.unwrap(), Some(message));
            }
            client.close().await.unwrap();
            assert_eq!(server.next().await.unwrap(), None);
            drop(client);
            assert!(server.next().await.is_err(), "it broke off");
        });
    }
}
