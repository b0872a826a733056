//! A thousand WebSocket sessions that wait: what each holds beside what a tunnel holds of which nothing is read.

use std::io::{BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use flate2::{Compress, Compression, FlushCompress};

use super::super::http::{connect, read_head};
use super::super::sidecar::{Sidecar, usage_events, wait_for};
use super::super::skip;
use super::super::upstream;
use super::Memory;
use super::streams::{OTHER_FDS, raise_fds};

const SESSIONS: usize = 1_000;
const WARM_UP_SESSIONS: usize = 50;

/// The goal for a session whose messages are not compressed; most of it is its names and its call's.
const SESSION_BYTES_MAX: usize = 8_000;

/// A window of 32 KiB for what the service sends, and the tables of its blocks. What the caller of a realtime session
/// sends is not read.
const COMPRESSED_SESSION_BYTES_MAX: usize = 60_000;

const HELLO: &str =
    r#"{"type":"session.created","session":{"id":"sess_1","model":"gpt-realtime-2025-08-28"}}"#;
const DELTA: &str = r#"{"type":"response.output_audio.delta","response_id":"r","delta":"UklGUklGUklGUklG"}"#;

/// A service that switches, with compression if the path says so, says two things, and waits.
fn service() -> SocketAddr {
    upstream::start(Arc::new(|request, socket| {
        let deflate = request.head.contains("deflate");
        let extension = if deflate { "Sec-WebSocket-Extensions: permessage-deflate\r\n" } else { "" };
        let head = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n";
        socket.write_all(format!("{head}{extension}\r\n").as_bytes())?;
        let mut coder = deflate.then(|| Compress::new(Compression::fast(), false));
        for text in [HELLO, DELTA] {
            socket.write_all(&frame(text, coder.as_mut()))?;
        }
        let _ = socket.try_clone()?.read(&mut [0]);
        Err(std::io::ErrorKind::ConnectionAborted.into())
    }))
}

fn frame(text: &str, coder: Option<&mut Compress>) -> Vec<u8> {
    let (first, payload) = match coder {
        None => (0x81, text.as_bytes().to_vec()),
        Some(coder) => {
            let mut out = Vec::with_capacity(text.len() + 100);
            coder.compress_vec(text.as_bytes(), &mut out, FlushCompress::Sync).unwrap();
            out.truncate(out.len() - 4);
            (0xc1, out)
        }
    };
    [&[first, u8::try_from(payload.len()).unwrap()], &payload[..]].concat()
}

/// Opens so many sessions of this target, each of which has heard something.
fn open(sidecar: &Sidecar, target: &str, sessions: usize) -> Vec<TcpStream> {
    let open = |_| {
        let mut wire: BufReader<TcpStream> = connect(sidecar.addr);
        let request = format!(
            "GET {target} HTTP/1.1\r\nHost: gateway\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
        );
        wire.get_mut().write_all(request.as_bytes()).unwrap();
        assert_eq!(read_head(&mut wire).unwrap().unwrap().status(), 101);
        wire.read_exact(&mut [0; 100]).unwrap();
        wire.into_inner()
    };
    (0..sessions).map(open).collect()
}

fn look(pid: u32) -> usize {
    std::thread::sleep(Duration::from_millis(800)); // checkpoints have been made
    Memory::of(pid).anonymous_bytes
}

/// Bytes that a session of this target holds, in a process of its own.
fn bytes_of_each(target: &str) -> usize {
    let dir = tempfile::tempdir().unwrap();
    let ledger = dir.path().join("ledger");
    let sidecar = Sidecar::start(service(), &ledger, &[]);
    drop(open(&sidecar, target, WARM_UP_SESSIONS)); // what is made once is there
    wait_for("every event", || (usage_events(&ledger).len() == WARM_UP_SESSIONS).then_some(()));
    let idle = look(sidecar.pid());
    let held = open(&sidecar, target, SESSIONS);
    let each = look(sidecar.pid()).saturating_sub(idle) / SESSIONS;
    drop(held);
    assert_eq!(sidecar.stop().0, Some(0));
    each
}

#[test]
fn a_thousand_sessions_that_wait_are_small() {
    let wanted = 6 * SESSIONS as u64 + OTHER_FDS;
    let files = raise_fds(wanted);
    if files < wanted {
        return skip::test(format_args!("{SESSIONS} sessions need more than {files} file descriptors"));
    }
    let tunnel = bytes_of_each("/openai/v1/of_the_future");
    let plain = bytes_of_each("/openai/v1/realtime?model=rt");
    let compressed = bytes_of_each("/openai/v1/realtime?model=deflate");
    println!("a tunnel {tunnel} bytes, a session {plain}, a compressed one {compressed}");
    assert!(plain <= tunnel + SESSION_BYTES_MAX, "{plain} bytes, {tunnel} of them the tunnel's");
    assert!(compressed <= tunnel + COMPRESSED_SESSION_BYTES_MAX, "{compressed}, {tunnel} the tunnel's");
}
