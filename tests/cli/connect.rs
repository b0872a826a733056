//! `check --connect`: each thing that a start needs, there and away, and what is said of it.

use std::net::TcpListener;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::{ServerConfig, ServerConnection, StreamOwned};

use super::binary;
use super::support::certs::{Authority, Files, server};
use super::support::{fake_service, kafka};

/// What a service, a broker and a disk that are there may take on a busy machine.
const SOON: Duration = Duration::from_secs(30);

/// The exit code and what stands on standard output, which is one line for each trial.
fn connect(arguments: &[&str], ledger: &Path) -> (Option<i32>, Vec<String>) {
    let mut check = Command::new(binary());
    check.args(["check", "--connect", "--ledger"]).arg(ledger).args(arguments).env_clear();
    if !arguments.contains(&"--listen") {
        check.args(["--listen", "127.0.0.1:0"]);
    }
    let begun = Instant::now();
    let output = check.args(["--admin-listen", "127.0.0.1:0"]).output().unwrap();
    assert!(begun.elapsed() < SOON, "{:?}", begun.elapsed());
    let said = String::from_utf8(output.stdout).unwrap();
    (output.status.code(), said.lines().map(str::to_owned).collect())
}

/// A service that speaks TLS so, and says nothing.
fn secure(config: ServerConfig) -> u16 {
    let config = Arc::new(config);
    let talk = move |tcp| {
        let mut tls = StreamOwned::new(ServerConnection::new(Arc::clone(&config)).unwrap(), tcp);
        let _ = std::io::Read::read(&mut tls, &mut [0]);
    };
    fake_service::serve(talk).port()
}

#[track_caller]
fn has(lines: &[String], parts: &[&str]) {
    let found = lines.iter().any(|line| parts.iter().all(|part| line.contains(part)));
    assert!(found, "no line has {parts:?}: {lines:#?}");
}

#[test]
fn all_that_is_there_is_said_to_be_and_nothing_is_left_behind() {
    let (files, authority) = (Files::new(), Authority::new("service"));
    let roots = files.put("roots.pem", &authority.pem);
    let port = secure(server(&authority.issue(&["localhost", "b.example", "c.example", "d.example"])));
    let cluster = kafka::embedded("ai-usage", 3);
    let dir = tempfile::tempdir().unwrap();
    let (code, lines) = connect(
        &[
            "--upstream",
            &format!("https://localhost:{port}"),
            "--upstream-ca-file",
            roots.to_str().unwrap(),
            "--kafka-brokers",
            &cluster.bootstrap_servers(),
        ],
        dir.path(),
    );
    assert_eq!((code, lines.len()), (Some(0), 5), "{lines:#?}");
    has(
        &lines,
        &[
            "ok      upstream localhost: ",
            &format!(":{port} in "),
            "TLS 1.3",
            "b.example, c.example and 1 more",
        ],
    );
    has(&lines, &["ok      kafka ", ", topic ai-usage: 1 broker, 3 partitions"]);
    has(&lines, &["ok      ledger ", "GiB free, written and synced in "]);
    has(&lines, &["ok      listen 127.0.0.1:0: a free port is taken"]);
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "something was left behind");
}

#[test]
fn a_topic_that_is_not_there_is_told_and_not_made() {
    let cluster = kafka::embedded("another", 1);
    let service = fake_service::serve(drop);
    let (upstream, brokers) = (format!("http://{service}"), cluster.bootstrap_servers());
    let dir = tempfile::tempdir().unwrap();
    for _ in 0..2 {
        let (code, lines) = connect(&["--upstream", &upstream, "--kafka-brokers", &brokers], dir.path());
        assert_eq!(code, Some(1), "{lines:#?}");
        has(&lines, &["ok      upstream 127.0.0.1: 127.0.0.1:"]);
        has(&lines, &["failed  kafka ", "topic ai-usage: there is no such topic", "tokenweir makes none"]);
    }
}

#[test]
fn what_cannot_be_had_is_told_with_its_reason() {
    let (files, authority) = (Files::new(), Authority::new("service"));
    let roots = files.put("roots.pem", &authority.pem);
    let other = secure(server(&Authority::new("other").issue(&["localhost"])));
    let wrong = secure(server(&authority.issue(&["b.example"])));
    let plain =
        fake_service::serve(|tcp| drop(std::io::Write::write_all(&mut &tcp, b"HTTP/1.1 400 no\r\n\r\n")));
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let listen = taken.local_addr().unwrap().to_string();
    let upstreams = [
        format!("untrusted=https://localhost:{other}"),
        format!("name=https://localhost:{wrong}"),
        format!("plain=https://localhost:{}", plain.port()),
        "refused=http://127.0.0.1:1".to_owned(),
        "unknown=http://no-such-host.invalid".to_owned(),
    ];
    let mut arguments = vec!["--listen", &listen, "--upstream-ca-file", roots.to_str().unwrap()];
    upstreams.iter().for_each(|upstream| arguments.extend(["--upstream", upstream]));
    let dir = tempfile::tempdir().unwrap();
    let (code, lines) = connect(&arguments, dir.path());
    assert_eq!((code, lines.len()), (Some(1), 8), "{lines:#?}");
    has(&lines, &["failed  upstream untrusted: the service's certificate leads to none of the roots in "]);
    has(&lines, &["failed  upstream name: the service's certificate is for b.example, not for localhost"]);
    has(&lines, &["failed  upstream plain: the service does not speak TLS at this port"]);
    has(&lines, &["failed  upstream refused: 127.0.0.1:1: ", "nobody listens there"]);
    has(&lines, &["failed  upstream unknown: no-such-host.invalid:80: "]);
    has(
        &lines,
        &[&format!("failed  listen {listen}: Address already in use"), "does `tokenweir serve` run already?"],
    );
    has(&lines, &["ok      ledger "]);
}
