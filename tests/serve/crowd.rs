//! Thousands of callers and the service that answers them, on one thread: what is measured is the
//! sidecar between them.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, Handle};

use super::http::post;
use super::sidecar::wait_for;
use super::upstream::{STREAM_HEAD, delta, stop};

/// Between two connections, so that no queue of the kernel's overflows.
const APART: Duration = Duration::from_micros(500);

/// Words after which a stream counts as flowing.
const WORDS_FLOWING: usize = 3;

const END: &[u8] = b"data: [DONE]\n\n\r\n0\r\n\r\n";

/// What has happened so far.
#[derive(Debug, Default)]
struct Board {
    flowing: AtomicUsize,
    whole: AtomicUsize,
    broken: AtomicUsize,
    closing: AtomicBool,
}

/// A service whose answers go on, a word at a time, until it is told to end them, and its callers.
pub(crate) struct Crowd {
    runtime: Handle,
    board: Arc<Board>,
    pub(crate) service: SocketAddr,
}

impl Crowd {
    /// Starts the service: a word of each answer every `pace`.
    pub(crate) fn start(pace: Duration) -> Crowd {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        let (handle, board) = (runtime.handle().clone(), Arc::new(Board::default()));
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let service = listener.local_addr().unwrap();
        listener.set_nonblocking(true).unwrap();
        let answers = Arc::clone(&board);
        std::thread::spawn(move || {
            runtime.block_on(async move {
                let listener = TcpListener::from_std(listener).unwrap();
                while let Ok((socket, _)) = listener.accept().await {
                    tokio::spawn(serve(socket, pace, Arc::clone(&answers)));
                }
            });
        });
        Crowd { runtime: handle, board, service }
    }

    /// Opens so many streams and waits until all of them flow.
    pub(crate) fn open(&self, to: SocketAddr, streams: usize) {
        let board = Arc::clone(&self.board);
        let before = board.flowing.load(SeqCst);
        self.runtime.spawn(async move {
            for _ in 0..streams {
                let board = Arc::clone(&board);
                tokio::spawn(async move {
                    let seen = call(to, &board).await;
                    let count = if seen.is_ok() { &board.whole } else { &board.broken };
                    count.fetch_add(1, SeqCst);
                });
                tokio::time::sleep(APART).await;
            }
        });
        wait_for("every stream to flow", || {
            assert_eq!(self.broken(), 0, "streams broke");
            (self.board.flowing.load(SeqCst) == before + streams).then_some(())
        });
    }

    /// Ends all streams; so many must have been whole, from the beginning on.
    pub(crate) fn end(&self, whole: usize) {
        self.board.closing.store(true, SeqCst);
        wait_for("every stream to end", || {
            assert_eq!(self.broken(), 0, "streams broke");
            (self.board.whole.load(SeqCst) == whole).then_some(())
        });
        self.board.closing.store(false, SeqCst);
    }

    pub(crate) fn broken(&self) -> usize {
        self.board.broken.load(SeqCst)
    }
}

/// A connection of the service: request after request.
async fn serve(mut socket: TcpStream, pace: Duration, board: Arc<Board>) -> io::Result<()> {
    socket.set_nodelay(true)?;
    let words = [" word", " weir", " stream", " 12", ",", "é"].map(|word| chunk(&delta(word)));
    while read_request(&mut socket).await? {
        socket.write_all(STREAM_HEAD.as_bytes()).await?;
        for word in words.iter().cycle() {
            socket.write_all(word).await?;
            if board.closing.load(SeqCst) {
                break;
            }
            tokio::time::sleep(pace).await;
        }
        socket.write_all(&[&chunk(&stop())[..], b"0\r\n\r\n"].concat()).await?;
    }
    Ok(())
}

pub(crate) fn chunk(data: &str) -> Vec<u8> {
    format!("{:x}\r\n{data}\r\n", data.len()).into_bytes()
}

/// Reads a request, which comes whole and is small. `false`: the connection is closed.
pub(crate) async fn read_request(socket: &mut TcpStream) -> io::Result<bool> {
    let (mut request, mut length) = ([0; 2048], 0);
    while !request[..length].ends_with(b"]}") {
        let read = socket.read(&mut request[length..]).await?;
        if read == 0 {
            return Ok(false);
        }
        length += read;
    }
    Ok(true)
}

/// What every caller asks; [`read_request`] knows its last bytes.
pub(crate) fn request() -> Vec<u8> {
    let body = r#"{"stream":true,"messages":[{"role":"user","content":"Say a word, again and again."}]}"#;
    post("/openai/deployments/gpt-4o/chat/completions", &[("x-apim-subscription-id", "team")], body)
}

/// One call on a connection of its own. An error if its answer is not whole.
async fn call(to: SocketAddr, board: &Board) -> io::Result<()> {
    let mut socket = TcpStream::connect(to).await?;
    socket.set_nodelay(true)?;
    socket.write_all(&request()).await?;
    let mut words = 0;
    read_answer(&mut socket, |read| {
        let before = words;
        words += read.windows(6).filter(|start| start == b"data: ").count();
        if before < WORDS_FLOWING && words >= WORDS_FLOWING {
            board.flowing.fetch_add(1, SeqCst);
        }
    })
    .await
}

/// Reads an answer to its end.
pub(crate) async fn read_answer(socket: &mut TcpStream, mut seen: impl FnMut(&[u8])) -> io::Result<()> {
    let (mut buffer, mut last) = ([0; 2048], Vec::new());
    loop {
        let read = socket.read(&mut buffer).await?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        seen(&buffer[..read]);
        last.extend_from_slice(&buffer[..read]);
        last.drain(..last.len().saturating_sub(END.len()));
        if last == END {
            return Ok(());
        }
    }
}
