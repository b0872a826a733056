//! TLS to the service: verified, named, and as strict about early ends as plain TCP.

use std::io::Write;
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use rustls::pki_types::PrivateKeyDer;
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use tokenweir::proxy::Tls;

use crate::rig::{CHUNKED, Setup, post};

/// A TLS service for `localhost`, its root in a file, and its connections so far.
struct Secure {
    port: u16,
    roots: tempfile::NamedTempFile,
    connections: Arc<AtomicUsize>,
}

fn secure(close_notify: bool) -> Secure {
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    let config = Arc::new(config);
    let mut roots = tempfile::NamedTempFile::new().unwrap();
    roots.write_all(made.cert.pem().as_bytes()).unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let connections = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&connections);
    std::thread::spawn(move || {
        for tcp in listener.incoming() {
            counter.fetch_add(1, Ordering::SeqCst);
            let config = Arc::clone(&config);
            std::thread::spawn(move || {
                serve(StreamOwned::new(ServerConnection::new(config).unwrap(), tcp.unwrap()), close_notify)
            });
        }
    });
    Secure { port, roots, connections }
}

/// Answers each request with 100 kB in chunks; `/close` with a body up to the end of the
/// connection.
fn serve(mut tls: StreamOwned<ServerConnection, std::net::TcpStream>, close_notify: bool) {
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

fn setup(secure: &Secure, host: &str, tls: Tls) -> Setup {
    Setup { tls: Some(tls), ..Setup::urls(vec![(None, format!("https://{host}:{}", secure.port))]) }
}

#[test]
fn streams_pass_and_connections_are_reused() {
    let secure = secure(true);
    let rig = setup(&secure, "localhost", Tls::new(Some(secure.roots.path())).unwrap()).start();
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
fn an_early_end_is_broken_with_or_without_close_notify() {
    for close_notify in [true, false] {
        let secure = secure(close_notify);
        let rig = setup(&secure, "localhost", Tls::new(Some(secure.roots.path())).unwrap()).start();
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
        let rig = setup(&one, host, Tls::new(Some(roots.path())).unwrap()).start();
        let answer = rig.send(post("{}")).message();
        assert_eq!(answer.status(), 502, "{host}");
        assert!(String::from_utf8(answer.body).unwrap().contains("upstream_unreachable"));
        let tokens = &rig.heard.calls(1)[0].usage.tokens;
        assert_eq!((tokens.input, tokens.output), (Some(0), Some(0)));
    }
}

#[test]
fn roots_that_are_none_are_an_error() {
    let empty = tempfile::NamedTempFile::new().unwrap();
    assert!(Tls::new(Some(empty.path())).is_err());
    assert!(Tls::new(Some(std::path::Path::new("/nonexistent"))).is_err());
}
