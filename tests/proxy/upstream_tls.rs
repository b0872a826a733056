//! TLS to the service: verified, named, and as strict about early ends as plain TCP.

use std::io::Write;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use rustls::{HandshakeKind, ServerConnection, StreamOwned};
use tokenweir::proxy::UpstreamTls;
use tokenweir::proxy::tls::{NamedFile, UpstreamFiles};

use crate::certs::{Authority, server};
use crate::rig::{CHUNKED, Setup, post};
use crate::support::fake_service;

/// A TLS service for `localhost`, its root in a file, and its connections so far.
struct Secure {
    port: u16,
    roots: tempfile::NamedTempFile,
    connections: Arc<AtomicUsize>,
    /// How each connection that answered was made.
    handshakes: Arc<Mutex<Vec<HandshakeKind>>>,
}

fn secure(close_notify: bool) -> Secure {
    let authority = Authority::new("service");
    let mut config = server(&authority.issue(&["localhost"]));
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let config = Arc::new(config);
    let mut roots = tempfile::NamedTempFile::new().unwrap();
    roots.write_all(authority.pem.as_bytes()).unwrap();
    let connections = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&connections);
    let handshakes = Arc::new(Mutex::new(Vec::new()));
    let kinds = Arc::clone(&handshakes);
    let port = fake_service::serve(move |tcp| {
        counter.fetch_add(1, Ordering::SeqCst);
        let tls = StreamOwned::new(ServerConnection::new(Arc::clone(&config)).unwrap(), tcp);
        serve(tls, close_notify, &kinds);
    })
    .port();
    Secure { port, roots, connections, handshakes }
}

/// Answers each request with 100 kB in chunks; `/close` with a body up to the end of the
/// connection; `/once` and closes.
fn serve(
    mut tls: StreamOwned<ServerConnection, std::net::TcpStream>,
    close_notify: bool,
    kinds: &Mutex<Vec<HandshakeKind>>,
) {
    loop {
        let mut seen = Vec::new();
        while !seen.ends_with(b"\r\n\r\n{}") {
            let mut byte = [0];
            if !matches!(std::io::Read::read(&mut tls, &mut byte), Ok(1)) {
                return;
            }
            seen.push(byte[0]);
        }
        assert_eq!(tls.conn.server_name(), Some("localhost"));
        assert_eq!(tls.conn.alpn_protocol(), Some(&b"http/1.1"[..]));
        if seen.starts_with(b"POST /close") {
            tls.write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n").unwrap();
            if close_notify {
                tls.conn.send_close_notify();
            }
            tls.flush().unwrap();
            return;
        }
        kinds.lock().unwrap().push(tls.conn.handshake_kind().unwrap());
        if seen.starts_with(b"POST /once") {
            tls.write_all(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok").unwrap();
            tls.flush().unwrap();
            return;
        }
        tls.write_all(CHUNKED.as_bytes()).unwrap();
        for n in 0..100u8 {
            tls.write_all(b"3e8\r\n").unwrap();
            tls.write_all(&[n; 1000]).unwrap();
            tls.write_all(b"\r\n").unwrap();
            tls.flush().unwrap();
        }
        tls.write_all(b"0\r\n\r\n").unwrap();
        tls.flush().unwrap();
    }
}

pub(crate) fn trusting(roots: &Path) -> UpstreamTls {
    let ca = Some(NamedFile::new("upstream-ca-file", roots));
    UpstreamTls::load(UpstreamFiles { ca, identity: None }).unwrap()
}

fn setup(secure: &Secure, host: &str, tls: UpstreamTls) -> Setup {
    Setup { tls: Some(tls), ..Setup::urls(vec![(None, format!("https://{host}:{}", secure.port))]) }
}

#[test]
fn case_60_the_upstreams_name_is_sent_as_sni_and_connections_are_reused() {
    let secure = secure(true);
    let rig = setup(&secure, "localhost", trusting(secure.roots.path())).start();
    let mut wire = rig.connect();
    for _ in 0..20 {
        wire.send(post("{}"));
        let answer = wire.message();
        assert!(!answer.broken);
        assert_eq!(answer.body, (0..100u8).flat_map(|n| [n; 1000]).collect::<Vec<u8>>());
    }
    assert_eq!(secure.connections.load(Ordering::SeqCst), 1);
    rig.heard.calls(20);
}

#[test]
fn case_43_over_tls_an_early_end_is_broken_with_or_without_close_notify() {
    for close_notify in [true, false] {
        let secure = secure(close_notify);
        let rig = setup(&secure, "localhost", trusting(secure.roots.path())).start();
        let answer = rig.send("POST /close HTTP/1.1\r\nHost: gw\r\nContent-Length: 2\r\n\r\n{}").message();
        assert!(answer.broken);
        assert_eq!(answer.body, b"hello");
        rig.heard.calls(1);
    }
}

#[test]
fn a_certificate_that_is_not_trusted_or_not_the_hosts_is_a_502() {
    let (one, other) = (secure(true), secure(true));
    for (host, roots) in [("localhost", &other.roots), ("127.0.0.1", &one.roots)] {
        let rig = setup(&one, host, trusting(roots.path())).start();
        let answer = rig.send(post("{}")).message();
        assert_eq!(answer.status(), 502, "{host}");
        assert!(String::from_utf8(answer.body).unwrap().contains("upstream_unreachable"));
        let tokens = &rig.heard.calls(1)[0].usage.tokens;
        assert_eq!((tokens.input, tokens.output), (Some(0), Some(0)));
    }
}

#[test]
fn sessions_are_resumed_also_after_a_reading_that_found_nothing_new() {
    let secure = secure(true);
    let tls = trusting(secure.roots.path());
    let rig = setup(&secure, "localhost", tls.clone()).start();
    for _ in 0..4 {
        assert_eq!(
            rig.send("POST /once HTTP/1.1\r\nHost: gw\r\nContent-Length: 2\r\n\r\n{}").message().body,
            b"ok"
        );
        assert!(!tls.reload().unwrap());
    }
    let handshakes = secure.handshakes.lock().unwrap().clone();
    assert_eq!(handshakes[1..], [HandshakeKind::Resumed; 3], "{handshakes:?}");
}

#[test]
fn roots_that_are_replaced_are_for_new_connections_and_bad_ones_change_nothing() {
    let (one, other) = (secure(true), secure(true));
    let pem = |secure: &Secure| std::fs::read_to_string(secure.roots.path()).unwrap();
    let roots = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(roots.path(), pem(&other)).unwrap();
    let tls = trusting(roots.path());
    let rig = setup(&one, "localhost", tls.clone()).start();
    let status =
        || rig.send("POST /once HTTP/1.1\r\nHost: gw\r\nContent-Length: 2\r\n\r\n{}").message().status();
    assert_eq!(status(), 502);
    std::fs::write(roots.path(), "garbage").unwrap();
    let problem = tls.reload().unwrap_err().to_string();
    assert!(problem.contains("--upstream-ca-file") && !problem.contains("garbage"), "{problem}");
    assert_eq!(status(), 502);
    std::fs::write(roots.path(), pem(&one)).unwrap();
    assert!(tls.reload().unwrap());
    assert_eq!(status(), 200);
    assert_eq!(rig.running().counts().tls_failures().map(|(_, _, count)| count).sum::<u64>(), 2);
}
