//! File descriptors: when there are few, calls wait, and the probes do not.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use super::http::{get, post};
use super::sidecar::{PATIENCE, Sidecar, binary, serve_arguments};
use super::upstream;

/// As a shell of another time may have it.
const FILES: &str = "256";

/// Callers at once: two descriptors each would be thrice as many as there are.
const CALLERS: usize = 400;

/// How long a service takes for its answer.
const ANSWER_TIME: Duration = Duration::from_millis(300);

/// How long a probe may wait: Kubernetes gives up after a second.
const PROBE_MAX: Duration = Duration::from_secs(1);

/// `serve` before a service that takes its time, with a limit of open files that cannot be raised.
fn start(ledger: &std::path::Path) -> Sidecar {
    let service = upstream::start(Arc::new(|_, to| {
        std::thread::sleep(ANSWER_TIME);
        to.write_all(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}")
    }));
    let mut command = Command::new("sh");
    command.args(["-c", "ulimit -n $0; exec \"$@\"", FILES, binary()]);
    serve_arguments(&mut command, service, ledger, &[]);
    Sidecar::run(&mut command)
}

/// A call on a connection of its own; whether it was answered.
fn call(addr: SocketAddr) -> bool {
    let mut tcp = TcpStream::connect(addr).unwrap();
    tcp.set_read_timeout(Some(PATIENCE)).unwrap();
    let path = "/openai/deployments/d/chat/completions?api-version=1";
    tcp.write_all(&post(path, &[("connection", "close")], "{\"messages\":[]}")).unwrap();
    let mut answer = Vec::new();
    tcp.read_to_end(&mut answer).is_ok() && answer.starts_with(b"HTTP/1.1 200 ")
}

#[test]
fn with_few_descriptors_calls_wait_and_probes_are_answered() {
    let dir = tempfile::tempdir().unwrap();
    let sidecar = start(&dir.path().join("ledger"));
    let (answered, over) = (AtomicUsize::new(0), AtomicBool::new(false));
    let (mut slowest, mut probes) = (Duration::ZERO, 0);
    std::thread::scope(|scope| {
        let callers: Vec<_> = (0..CALLERS)
            .map(|_| {
                scope.spawn(|| {
                    answered.fetch_add(usize::from(call(sidecar.addr)), Ordering::Relaxed);
                })
            })
            .collect();
        scope.spawn(|| {
            callers.into_iter().for_each(|caller| caller.join().unwrap());
            over.store(true, Ordering::Relaxed);
        });
        while !over.load(Ordering::Relaxed) {
            for path in ["/livez", "/readyz"] {
                let began = Instant::now();
                assert_eq!(get(sidecar.admin, path).status(), 200, "{path}");
                slowest = slowest.max(began.elapsed());
                probes += 1;
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    });
    assert_eq!(answered.load(Ordering::Relaxed), CALLERS, "each has its turn");
    assert!(slowest < PROBE_MAX && probes > 20, "{probes} probes, the slowest {slowest:?}");
    let (code, log) = sidecar.stop();
    assert_eq!(code, Some(0));
    let line = |needle: &str| log.iter().find(|line| line.contains(needle));
    let warned = line("open files are limited to 256").expect("a warning at start");
    assert!(warned.contains("--max-connections 20000") && warned.contains("ulimit -n"), "{warned}");
    assert_eq!(line("no connection can be accepted"), None);
    assert_eq!(line("the admin port cannot accept"), None);
}

#[test]
fn check_warns_of_a_limit_that_is_too_low() {
    let check = |connections: &str| {
        let output = Command::new("sh")
            .args(["-c", "ulimit -n 1024; exec \"$0\" check --upstream http://h --max-connections \"$1\""])
            .args([binary(), connections])
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(0));
        String::from_utf8(output.stderr).unwrap()
    };
    assert!(check("1000").contains("warning: open files are limited to 1024 (ulimit -n)"));
    assert!(!check("100").contains("open files"));
}

/// A limit that may be raised is, so nobody has to be told.
#[test]
fn a_limit_that_may_be_raised_is_raised() {
    let dir = tempfile::tempdir().unwrap();
    let service = upstream::start(Arc::new(|_, _| Ok(())));
    let mut command = Command::new("sh");
    command.args(["-c", "ulimit -Sn 64; ulimit -Hn 2048; exec \"$@\"", "sh", binary()]);
    serve_arguments(&mut command, service, &dir.path().join("ledger"), &["--max-connections", "500"]);
    let sidecar = Sidecar::run(&mut command);
    let limits = std::fs::read_to_string(format!("/proc/{}/limits", sidecar.pid())).unwrap();
    let files = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
    let soft: u64 = files.split_whitespace().nth(3).unwrap().parse().unwrap();
    assert!((1_000..2_048).contains(&soft), "{files}");
    let (_, log) = sidecar.stop();
    assert!(!log.iter().any(|line| line.contains("open files are limited")), "{log:?}");
}
