//! A service of the tests: a thread for each connection, and a script that talks on it, or a function
//! that answers each request.

use std::io::{self, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, channel};

use super::http::{Message, Wire, read_message};

/// The threads of a service: a test may have thousands.
const STACK_BYTES: usize = 512 << 10;

/// A thread of which there may be thousands.
pub(crate) fn small_thread(work: impl FnOnce() + Send + 'static) -> std::thread::JoinHandle<()> {
    std::thread::Builder::new().stack_size(STACK_BYTES).spawn(work).unwrap()
}

/// Serves each connection of a port on a thread of its own, until the process ends.
pub(crate) fn serve_port(
    listener: TcpListener,
    serve: impl Fn(TcpStream) + Send + Sync + 'static,
) -> SocketAddr {
    let addr = listener.local_addr().unwrap();
    let serve = Arc::new(serve);
    std::thread::spawn(move || {
        for socket in listener.incoming().map_while(Result::ok) {
            let serve = Arc::clone(&serve);
            small_thread(move || serve(socket));
        }
    });
    addr
}

/// [`serve_port`] of a free port.
pub(crate) fn serve(serve: impl Fn(TcpStream) + Send + Sync + 'static) -> SocketAddr {
    serve_port(TcpListener::bind("127.0.0.1:0").unwrap(), serve)
}

/// Answers a request on its socket. An error closes the connection.
pub(crate) type Answer = dyn Fn(&Message, &mut TcpStream) -> io::Result<()> + Send + Sync;

/// Starts a service that answers each request.
pub(crate) fn start(answer: Arc<Answer>) -> SocketAddr {
    serve(move |socket| drop(converse(&socket, &*answer)))
}

/// Answers the requests of one connection.
pub(crate) fn converse(
    socket: &TcpStream,
    answer: &(impl Fn(&Message, &mut TcpStream) -> io::Result<()> + ?Sized),
) -> io::Result<()> {
    socket.set_nodelay(true)?;
    let (mut writer, mut reader) = (socket.try_clone()?, BufReader::new(socket));
    while let Some(request) = read_message(&mut reader)? {
        answer(&request, &mut writer)?;
    }
    Ok(())
}

/// A service that follows a script, on a thread for each connection.
#[derive(Clone)]
pub(crate) struct Script {
    pub(crate) addr: SocketAddr,
    /// Connections accepted so far.
    pub(crate) connections: Arc<AtomicUsize>,
}

impl Script {
    /// `script` gets each connection and its number, from 0.
    pub(crate) fn start(script: impl Fn(Wire, usize) + Send + Sync + 'static) -> Script {
        let connections = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&connections);
        let addr = serve(move |tcp| script(Wire::new(tcp), counter.fetch_add(1, Ordering::SeqCst)));
        Script { addr, connections }
    }

    /// `answer` gets each request of each connection.
    pub(crate) fn answering(answer: impl Fn(Message, &mut Wire) + Send + Sync + 'static) -> Script {
        Script::start(move |mut wire, _| {
            while let request = wire.message()
                && !request.head.is_empty()
            {
                answer(request, &mut wire);
            }
        })
    }

    /// Answers each request with the same bytes, and tells of it.
    pub(crate) fn telling(answer: impl AsRef<[u8]> + Send + Sync + 'static) -> (Script, Receiver<Message>) {
        let (tell, told) = channel();
        let script = Script::answering(move |request, wire| {
            tell.send(request).unwrap();
            wire.send(&answer);
        });
        (script, told)
    }

    pub(crate) fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }
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
