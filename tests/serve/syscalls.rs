//! System calls of the network thread for each chunk of a paced stream: one read and one write, and
//! what waiting costs. They do not depend on how fast the machine is, so they are held to a bound.
//!
//! Needs `strace`, and the right to attach it to a process of ours; without, it is listed as not run.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::time::Duration;

use super::http::{connect, post, read_chunk, read_head};
use super::sidecar::{Sidecar, signal, wait_for};
use super::upstream::{self, STREAM_HEAD, delta, stop, write_chunk, write_end};

const STREAMS: usize = 50;
const CHUNKS: usize = 150;
const PACE: Duration = Duration::from_millis(20);

/// Over the middle of the streams.
const WATCHED: Duration = Duration::from_millis(1_500);

/// The goal for a paced chunk. With fewer streams than a real load has, each chunk is waited for
/// alone: one read, one write, one wait.
const PER_CHUNK_MAX: f64 = 3.1;

/// Reads and writes alone. A little over 2: checkpoints, and edges of the time watched.
const READS_AND_WRITES_MAX: f64 = 2.1;

#[test]
fn a_paced_chunk_takes_one_read_and_one_write() {
    if Command::new("strace").arg("-V").stdout(Stdio::null()).status().is_err() {
        return crate::skip::test("strace is not installed");
    }
    let sent = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&sent);
    let service = upstream::start(Arc::new(move |_, to| {
        to.write_all(STREAM_HEAD.as_bytes())?;
        for _ in 0..CHUNKS {
            std::thread::sleep(PACE);
            write_chunk(to, delta(" word").as_bytes())?;
            counted.fetch_add(1, SeqCst);
        }
        write_chunk(to, stop().as_bytes())?;
        write_end(to)
    }));
    let dir = tempfile::tempdir().unwrap();
    let sidecar = Sidecar::start(service, &dir.path().join("ledger"), &[]);
    let streams: Vec<_> = (0..STREAMS).map(|_| stream(&sidecar)).collect();
    wait_for("every stream to flow", || (sent.load(SeqCst) > 10 * STREAMS as u64).then_some(()));

    let table = dir.path().join("table");
    let Some(strace) = attach(network_thread(sidecar.pid()), &table) else {
        return crate::skip::test("strace may not attach to a process of ours");
    };
    let before = sent.load(SeqCst);
    std::thread::sleep(WATCHED);
    let chunks = sent.load(SeqCst) - before;
    detach(strace);
    streams.into_iter().for_each(|stream| stream.join().unwrap());

    let calls = counts(&std::fs::read_to_string(table).unwrap());
    let per_chunk = |names: &[&str]| {
        let of = calls.iter().filter(|(name, _)| names.is_empty() || names.contains(&name.as_str()));
        of.map(|(_, calls)| calls).sum::<u64>() as f64 / chunks as f64
    };
    let moved = per_chunk(&["recvfrom", "read", "sendto", "write", "writev"]);
    println!(
        "{chunks} chunks: {:.2} system calls each, {moved:.2} of them read or write; {calls:?}",
        per_chunk(&[])
    );
    assert!(chunks > 1_000, "{chunks} chunks in {WATCHED:?}: the machine is too busy to tell");
    assert!(moved <= READS_AND_WRITES_MAX, "{moved:.2} reads and writes for a chunk: {calls:?}");
    assert!(per_chunk(&[]) <= PER_CHUNK_MAX, "{:.2} system calls for a chunk: {calls:?}", per_chunk(&[]));
}

/// A caller that reads a stream to its end.
fn stream(sidecar: &Sidecar) -> std::thread::JoinHandle<()> {
    let mut connection = connect(sidecar.addr);
    std::thread::spawn(move || {
        let request = post("/openai/deployments/d/chat/completions", &[], r#"{"stream":true,"messages":[]}"#);
        connection.get_mut().write_all(&request).unwrap();
        assert_eq!(read_head(&mut connection).unwrap().unwrap().status(), 200);
        while read_chunk(&mut connection).unwrap().is_some() {}
    })
}

/// The thread's number.
fn network_thread(pid: u32) -> String {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).unwrap().map(|task| task.unwrap().path());
    let named = |task: &std::path::PathBuf| {
        std::fs::read_to_string(task.join("comm")).is_ok_and(|name| name.trim() == "tw-net-0")
    };
    let task = tasks.into_iter().find(named).expect("a network thread");
    task.file_name().unwrap().to_str().unwrap().to_owned()
}

/// Counts from now on. `None`: not allowed.
fn attach(thread: String, table: &Path) -> Option<Child> {
    let mut strace = Command::new("strace");
    strace.arg("-c").arg("-o").arg(table).args(["-p", &thread]).stderr(Stdio::piped());
    let mut strace = strace.spawn().unwrap();
    let mut said = String::new();
    BufReader::new(strace.stderr.take().unwrap()).read_line(&mut said).unwrap();
    if said.contains("attached") {
        return Some(strace);
    }
    strace.wait().unwrap();
    println!("{}", said.trim());
    None
}

/// Ends the counting; the table is written then.
fn detach(mut strace: Child) {
    signal(strace.id(), "INT");
    strace.wait().unwrap();
}

/// Calls by name: the fourth and the last column.
fn counts(table: &str) -> BTreeMap<String, u64> {
    let rows = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let row = |row: Vec<&str>| Some(((*row.last()?).to_owned(), row.get(3)?.parse().ok()?));
    rows.filter_map(row).filter(|(name, _)| name != "total").collect()
}
