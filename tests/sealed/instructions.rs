//! The instructions that capturing takes on a network thread: the same on every run, however busy the machine is.
//!
//! Needs `valgrind`; without, it is listed as not run.

use std::fs;
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::sync::mpsc::channel;

use super::rig::Rig;
use super::support::fake_service::{STREAM_HEAD, Script, delta};
use super::support::http::{Wire, post};
use super::support::sidecar::{Sidecar, serve_arguments};
use super::support::skip;

/// Chunks of the short and of the long stream: their difference is free of start and end.
const SHORT: usize = 100;
const LONG: usize = 1_100;

/// So many times the instructions of a chunk that is not captured it may take. It was 1.043 when this was written, 6,460
/// and 6,196; a recorder that reached for three places in memory took 1.066.
const TIMES_MAX: f64 = 1.06;

/// What only the network thread runs.
const NETWORK_THREAD: &str = "tokenweir::proxy::server::connection";

#[test]
fn a_captured_chunk_takes_few_instructions_more() {
    if Command::new("valgrind").arg("--version").stdout(Stdio::null()).status().is_err() {
        return skip::test("valgrind is not installed");
    }
    let [plain, captured] = [false, true].map(|captures| {
        let of = |chunks| instructions(captures, chunks) as f64;
        (of(LONG) - of(SHORT)) / (LONG - SHORT) as f64
    });
    let times = captured / plain;
    println!("a chunk: {plain:.0} instructions, captured {captured:.0}: {times:.3} times as many");
    assert!(
        times <= TIMES_MAX,
        "captured {captured:.0} instructions a chunk, without {plain:.0}: {times:.3}"
    );
}

/// Instructions of the network thread of a sidecar that passes on a stream of so many chunks, each by itself.
fn instructions(captures: bool, chunks: usize) -> u64 {
    let (next, asked) = channel();
    let asked = Mutex::new(asked);
    let service = Script::answering(move |_, wire| {
        wire.send(STREAM_HEAD);
        let asked = asked.lock().unwrap();
        while asked.recv().unwrap() {
            wire.chunk(delta(" a word"));
        }
        wire.chunk("");
    });
    let rig = Rig::new(service.addr);
    let counts = rig.dir.path().join("callgrind");
    let mut command = Command::new("valgrind");
    command.args(["--tool=callgrind", "--separate-threads=yes"]);
    command.arg(format!("--callgrind-out-file={}", counts.display())).arg(super::support::sidecar::binary());
    let key = rig.auditor.public_file.to_str().unwrap();
    let capture = ["--capture", "both", "--capture-key-file", key];
    serve_arguments(&mut command, rig.service, &rig.ledger(), if captures { &capture } else { &[] });
    let sidecar = Sidecar::run(&mut command);
    let mut client = Wire::new(std::net::TcpStream::connect(sidecar.addr).unwrap());
    client.send(post(
        "/openai/deployments/gpt-4o/chat/completions?api-version=2024-10-21",
        &[("api-key", "key")],
        r#"{"model":"gpt-4o","stream":true,"messages":[{"role":"user","content":"Hi"}]}"#,
    ));
    assert!(client.head().starts_with("HTTP/1.1 200"));
    for _ in 0..chunks {
        next.send(true).unwrap();
        assert!(!client.read_chunk().expect("a chunk").is_empty());
    }
    next.send(false).unwrap();
    assert_eq!(client.read_chunk(), Some(Vec::new()), "the end");
    let (code, log) = sidecar.stop();
    assert_eq!(code, Some(0), "{log:?}");
    let texts = fs::read_dir(rig.dir.path()).unwrap().filter_map(|entry| {
        let entry = entry.unwrap();
        let is_count = entry.file_name().to_string_lossy().starts_with("callgrind-");
        is_count.then(|| fs::read_to_string(entry.path()).unwrap())
    });
    let network: Vec<u64> =
        texts.filter(|text| text.contains(NETWORK_THREAD)).map(|text| total(&text)).collect();
    assert_eq!(network.len(), 1, "one thread serves connections");
    network[0]
}

/// The sum of a file of callgrind.
fn total(text: &str) -> u64 {
    let totals = text.lines().find_map(|line| line.strip_prefix("totals: "));
    totals.expect("a line of totals").trim().parse().unwrap()
}
