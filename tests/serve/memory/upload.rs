//! A request body of 20 MB on its way to a service that reads slowly: the service's pace is the
//! caller's, and the sidecar holds little more than what it keeps to count, which may be nothing.

use std::io::{BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use socket2::{Domain, Socket, Type};

use super::super::http::{connect, exchange, get, post, read_head};
use super::super::sidecar::{Sidecar, usage_events, wait_for};
use super::super::upstream::{STREAM_HEAD, delta, serve_port, stop, write_chunk, write_end};
use super::{Memory, status_bytes};

const BODY_BYTES: usize = 20_000_000;
/// Bodies that come before. Each is long enough for the buffer that a request is read into to grow to
/// its largest: the smaller buffers that it was before are then with the allocator, which gives some
/// of them back and keeps others, depending on where they happened to lie.
const WARM_UP_BYTES: usize = 5_000_000;

/// What a body may take beside what is kept of it.
const GROWTH_BYTES_MAX: usize = 256 << 10;

/// The service reads so much at a time, and then nothing for a while.
const READ_BYTES: usize = 128 << 10;
const READ_EVERY: Duration = Duration::from_millis(15);
const LOOK_EVERY: Duration = Duration::from_millis(3);

/// A service that reads slowly, and the bytes that it has read of bodies.
fn service() -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    listener.set_recv_buffer_size(READ_BYTES).unwrap();
    listener.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    listener.listen(16).unwrap();
    let listener = TcpListener::from(listener);
    let read = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&read);
    let addr = serve_port(listener, move |socket| drop(answer(&socket, &count)));
    (addr, read)
}

fn answer(socket: &TcpStream, count: &AtomicUsize) -> std::io::Result<()> {
    let (mut writer, mut reader) = (socket.try_clone()?, BufReader::new(socket));
    let mut piece = vec![0; READ_BYTES];
    while let Some(head) = read_head(&mut reader)? {
        let mut left: usize = head.field("content-length").unwrap().parse().unwrap();
        while left > 0 {
            let most = left.min(READ_BYTES);
            let read = reader.read(&mut piece[..most])?;
            assert!(read > 0, "the body breaks off");
            left -= read;
            count.fetch_add(read, SeqCst);
            std::thread::sleep(READ_EVERY * read as u32 / READ_BYTES as u32);
        }
        writer.write_all(STREAM_HEAD.as_bytes())?;
        write_chunk(&mut writer, delta(" word").as_bytes())?;
        write_chunk(&mut writer, stop().as_bytes())?;
        write_end(&mut writer)?;
    }
    Ok(())
}

/// A request that asks for usage, so that its prompt is kept for as long as usage may come.
fn request(bytes: usize) -> Vec<u8> {
    let content = "A weir measures a stream. ".repeat(bytes / 26);
    let body = format!(
        r#"{{"stream":true,"stream_options":{{"include_usage":true}},"messages":[{{"role":"user","content":"{content}"}}]}}"#
    );
    post("/openai/deployments/gpt-4o/chat/completions", &[], &body)
}

/// What the process grows by at most while the body is on its way. Exact, unlike `VmHWM`, which the
/// kernel adds up from batches of each processor; that is printed.
fn growth_bytes(flags: &[&str]) -> usize {
    let (service, read) = service();
    let dir = tempfile::tempdir().unwrap();
    let ledger = dir.path().join("ledger");
    let sidecar = Sidecar::start(service, &ledger, flags);
    let pid = sidecar.pid();
    let calls = |calls| wait_for("an event", || (usage_events(&ledger).len() == calls).then_some(()));
    for call in 1..=2 {
        assert_eq!(exchange(&mut connect(sidecar.addr), &request(WARM_UP_BYTES)).status(), 200);
        calls(call);
    }

    read.store(0, SeqCst);
    let before = Memory::of(pid);
    std::fs::write(format!("/proc/{pid}/clear_refs"), "5").expect("the peak is set back");
    let (addr, request) = (sidecar.addr, request(BODY_BYTES));
    let most = BODY_BYTES - (1 << 20); // when the end has been read, the prompt is looked at
    let caller = std::thread::spawn(move || exchange(&mut connect(addr), &request).status());
    let (mut peak, mut looks) = (before, 0);
    while read.load(SeqCst) < most {
        let now = Memory::of(pid);
        peak.resident_bytes = peak.resident_bytes.max(now.resident_bytes);
        peak.anonymous_bytes = peak.anonymous_bytes.max(now.anonymous_bytes);
        looks += 1;
        assert!(!caller.is_finished(), "the call ended early");
        std::thread::sleep(LOOK_EVERY);
    }
    let marked = status_bytes(pid, "VmHWM").saturating_sub(before.resident_bytes);
    let page = String::from_utf8(get(sidecar.admin, "/metrics").body).unwrap();
    let kept = page.lines().find(|line| line.starts_with("tokenweir_prompt_memory_bytes ")).unwrap();
    assert_eq!(caller.join().unwrap(), 200);
    calls(3);
    let grown = peak.resident_bytes - before.resident_bytes;
    println!(
        "{flags:?}: grown by {grown} bytes in {looks} looks, VmHWM by {marked}; {before}, then {peak}; {kept}"
    );
    assert!(looks > 50, "{looks} looks");
    grown
}

#[test]
fn a_large_body_that_is_not_kept_takes_next_to_nothing() {
    let grown = growth_bytes(&["--prompt-memory", "0"]);
    assert!(grown <= GROWTH_BYTES_MAX, "grown by {grown} bytes");
}

#[test]
fn a_large_body_that_is_kept_takes_its_size() {
    let grown = growth_bytes(&[]);
    assert!(grown <= BODY_BYTES + GROWTH_BYTES_MAX, "grown by {grown} bytes");
    assert!(grown >= BODY_BYTES / 2, "grown by {grown} bytes: it was not kept");
}
