//! Thousands of open streams in one process.

use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::rig::{CHUNKED, Setup, eventually, post};

/// Streams wanted. Each takes four descriptors here: both ends of both connections.
const STREAMS: usize = 5_000;

/// Descriptors that the tests which run beside this one may open meanwhile.
const FILES_OF_OTHERS: usize = 1_000;

/// How many fit under the limit of open files.
fn streams() -> usize {
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap_or_default();
    let line = limits.lines().find(|line| line.starts_with("Max open files"));
    let soft: usize = line.and_then(|line| line.split_whitespace().nth(3)?.parse().ok()).unwrap_or(1024);
    let open = std::fs::read_dir("/proc/self/fd").map_or(0, Iterator::count);
    let fit = soft.saturating_sub(open + FILES_OF_OTHERS).max(400) / 4;
    if fit < STREAMS {
        println!("open files are limited to {soft}: {fit} streams instead of {STREAMS}");
    }
    fit.min(STREAMS)
}

/// Sends one event when a stream opens, and the rest of each when the gate opens.
async fn upstream(listener: TcpListener, gate: Arc<Semaphore>) {
    loop {
        let (mut tcp, _) = listener.accept().await.unwrap();
        let gate = Arc::clone(&gate);
        tokio::spawn(async move {
            let mut seen = Vec::new();
            while !seen.ends_with(b"\r\n\r\n{}") {
                tcp.read_buf(&mut seen).await.unwrap();
            }
            tcp.write_all(CHUNKED.as_bytes()).await.unwrap();
            tcp.write_all(b"9\r\ndata: 1\n\n\r\n").await.unwrap();
            drop(gate.acquire().await);
            tcp.write_all(b"9\r\ndata: 2\n\n\r\ne\r\ndata: [DONE]\n\n\r\n0\r\n\r\n").await.unwrap();
            let _ = tcp.read_u8().await; // until the pool lets go of it
        });
    }
}

async fn until(tcp: &mut TcpStream, seen: &mut Vec<u8>, end: &[u8]) {
    while !seen.ends_with(end) {
        let n = tcp.read_buf(seen).await.unwrap();
        assert!(n > 0, "the stream ended: {}", String::from_utf8_lossy(seen));
    }
}

#[test]
fn thousands_of_streams_are_open_at_once() {
    let streams = streams();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.set_nonblocking(true).unwrap();
    let rig = Setup::to(listener.local_addr().unwrap()).start();
    let gate = Arc::new(Semaphore::new(0));
    runtime.block_on(async {
        socket2::SockRef::from(&listener).listen(4096).unwrap();
        tokio::spawn(upstream(TcpListener::from_std(listener).unwrap(), Arc::clone(&gate)));
        let opened = Arc::new(Semaphore::new(0));
        let mut callers = JoinSet::new();
        for n in 0..streams {
            if n % 200 == 199 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
            let (addr, opened) = (rig.addr, Arc::clone(&opened));
            callers.spawn(async move {
                let mut tcp = TcpStream::connect(addr).await.unwrap();
                tcp.write_all(post("{}").as_bytes()).await.unwrap();
                let mut seen = Vec::new();
                until(&mut tcp, &mut seen, b"data: 1\n\n\r\n").await;
                opened.add_permits(1);
                until(&mut tcp, &mut seen, b"0\r\n\r\n").await;
                let text = String::from_utf8(seen).unwrap();
                assert_eq!(text.matches("data: ").count(), 3, "{text}");
            });
        }
        drop(opened.acquire_many(streams as u32).await);
        assert_eq!(rig.accounts.counters().calls_open(), streams as u64);
        gate.close();
        while let Some(done) = callers.join_next().await {
            done.unwrap();
        }
    });
    rig.heard.calls(streams);
    eventually("the ledger has no open call", || rig.ledger.stats().open == 0);
}
