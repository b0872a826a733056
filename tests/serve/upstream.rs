//! A service of the tests: one thread a connection, and a function that answers.

use std::io::{self, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;

use super::http::{Message, read_message};

/// Answers a request on its socket. An error closes the connection.
pub(crate) type Answer = dyn Fn(&Message, &mut TcpStream) -> io::Result<()> + Send + Sync;

/// Starts the service; its threads end with the process.
pub(crate) fn start(answer: Arc<Answer>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        for socket in listener.incoming().map_while(Result::ok) {
            let answer = Arc::clone(&answer);
            std::thread::spawn(move || {
                let _ = converse(socket, &*answer);
            });
        }
    });
    addr
}

fn converse(socket: TcpStream, answer: &Answer) -> io::Result<()> {
    socket.set_nodelay(true)?;
    let mut writer = socket.try_clone()?;
    let mut reader = BufReader::new(socket);
    while let Some(request) = read_message(&mut reader)? {
        answer(&request, &mut writer)?;
    }
    Ok(())
}

/// The head of a streamed answer.
pub(crate) const STREAM_HEAD: &str =
    "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n";

/// Writes one chunk.
pub(crate) fn write_chunk(to: &mut TcpStream, bytes: &[u8]) -> io::Result<()> {
    let mut chunk = format!("{:x}\r\n", bytes.len()).into_bytes();
    chunk.extend_from_slice(bytes);
    chunk.extend_from_slice(b"\r\n");
    to.write_all(&chunk)
}

/// Writes the end of a chunked body.
pub(crate) fn write_end(to: &mut TcpStream) -> io::Result<()> {
    to.write_all(b"0\r\n\r\n")
}

/// One event of a chat completion stream with a piece of text.
pub(crate) fn delta(text: &str) -> String {
    let delta = serde_json::json!({
        "id": "chatcmpl-test", "object": "chat.completion.chunk", "created": 1, "model": "gpt-4o-2024-11-20",
        "choices": [{"index": 0, "delta": {"content": text}, "finish_reason": null}],
    });
    format!("data: {delta}\n\n")
}

/// The end of a chat completion stream.
pub(crate) fn stop() -> String {
    let stop = serde_json::json!({
        "id": "chatcmpl-test", "object": "chat.completion.chunk", "created": 1, "model": "gpt-4o-2024-11-20",
        "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}],
    });
    format!("data: {stop}\n\ndata: [DONE]\n\n")
}
