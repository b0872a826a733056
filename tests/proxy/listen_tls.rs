//! TLS of the port for calls: who gets in, with what, and what changes while calls run.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use tokenweir::proxy::tls::{ListenFiles, ListenTls, NamedFile};
use tokenweir::proxy::{Limit, Limits};

use crate::certs::{Authority, Files, Issued, Secured, client};
use crate::rig::{CHUNKED, PATIENCE, Rig, Script, Setup, Wire, eventually, ok, post};

fn tls(files: &Files, issued: &Issued, client_ca: Option<&Authority>) -> ListenTls {
    let (cert, key) = files.put_pair(issued);
    let client_ca = client_ca.map(|authority| files.put("ca.pem", &authority.pem));
    ListenTls::load(ListenFiles {
        cert: NamedFile::new("listen-cert-file", cert),
        key: NamedFile::new("listen-key-file", key),
        client_ca: client_ca.map(|path| NamedFile::new("listen-client-ca-file", path)),
    })
    .unwrap()
}

fn echo() -> Script {
    Script::answering(|message, wire| wire.send(ok(&String::from_utf8(message.body).unwrap())))
}

fn rig(tls: &ListenTls, limits: Limits) -> Rig {
    Setup { listen_tls: Some(tls.clone()), limits, ..Setup::to(echo().addr) }.start()
}

#[test]
fn case_63_a_caller_that_offers_h2_gets_http_1_1_and_one_that_speaks_only_h2_is_refused() {
    let (authority, files) = (Authority::new("roots"), Files::new());
    let rig = rig(&tls(&files, &authority.issue(&["localhost"]), None), Limits::default());
    for alpn in [&[&b"h2"[..], b"http/1.1"][..], &[b"http/1.1"], &[]] {
        let mut caller = Secured::connect(rig.addr, &client(&authority, None, alpn), PATIENCE);
        assert!(caller.ask(&post("hello")).unwrap().ends_with("hello"));
        let agreed = caller.0.conn.alpn_protocol().map(<[u8]>::to_vec);
        assert_eq!(agreed.as_deref(), (!alpn.is_empty()).then_some(&b"http/1.1"[..]));
    }
    let mut caller = Secured::connect(rig.addr, &client(&authority, None, &[b"h2"]), PATIENCE);
    caller.ask(&post("hello")).unwrap_err();
    eventually("it is counted", || rig.failures("caller", "protocol") == 1);
    rig.heard.calls(3);
    assert!(rig.peers.lock().unwrap().iter().all(|peer| peer.certificate.is_none()));
}

#[test]
fn streams_and_large_bodies_pass_over_tls_as_they_are() {
    let (authority, files) = (Authority::new("roots"), Files::new());
    let body: String = (0..300_000).map(|n| char::from(b'a' + (n % 23) as u8)).collect();
    let rig = rig(&tls(&files, &authority.issue(&["localhost"]), None), Limits::default());
    let mut caller = Secured::connect(rig.addr, &client(&authority, None, &[]), PATIENCE);
    for _ in 0..3 {
        let answer = caller.ask(&post(&body)).unwrap();
        assert_eq!(answer.split_once("\r\n\r\n").unwrap().1, body);
    }
    let script = Script::start(|mut wire, _| {
        wire.message();
        wire.send(CHUNKED);
        wire.chunk("data: one\n\n");
        wire.close(); // breaks off: no zero chunk
    });
    let tls = tls(&files, &authority.issue(&["localhost"]), None);
    let rig = Setup { listen_tls: Some(tls), ..Setup::to(script.addr) }.start();
    let mut caller = Secured::connect(rig.addr, &client(&authority, None, &[]), PATIENCE);
    caller.0.write_all(post("{}").as_bytes()).unwrap();
    let mut seen = Vec::new();
    let _ = caller.0.read_to_end(&mut seen);
    let seen = String::from_utf8(seen).unwrap();
    assert!(seen.contains("data: one\n\n") && !seen.ends_with("0\r\n\r\n"), "{seen}");
    rig.heard.calls(1);
}

#[test]
fn with_client_roots_only_their_certificates_get_in_and_calls_know_them() {
    let (authority, gateways, files) = (Authority::new("roots"), Authority::new("gateways"), Files::new());
    let rig = rig(&tls(&files, &authority.issue(&["localhost"]), Some(&gateways)), Limits::default());
    let gateway = gateways.issue(&["gateway.example"]);
    let config = client(&authority, Some(&gateway), &[]);
    for n in 0..3 {
        let mut caller = Secured::connect(rig.addr, &config, PATIENCE);
        assert!(caller.ask(&post("hello")).unwrap().ends_with("hello"));
        assert_eq!(caller.resumed(), n > 0, "sessions are resumed, and keep who was let in");
    }
    for peer in rig.peers.lock().unwrap().iter() {
        assert_eq!(peer.certificate.as_ref().unwrap().id(), Some("gateway.example"));
        assert!(peer.ip.is_loopback());
    }
    for shows in [None, Some(authority.issue(&["gateway.example"]))] {
        let mut caller = Secured::connect(rig.addr, &client(&authority, shows.as_ref(), &[]), PATIENCE);
        caller.ask(&post("hello")).unwrap_err();
    }
    eventually("one showed none, one an unknown one", || {
        (rig.failures("caller", "client_certificate"), rig.failures("caller", "untrusted")) == (1, 1)
    });
    rig.heard.calls(3);
}

#[test]
fn what_is_read_again_is_for_new_connections_and_what_is_bad_changes_nothing() {
    let (authority, files) = (Authority::new("roots"), Files::new());
    let [old, new, other] = [0, 1, 2].map(|_| authority.issue(&["localhost"]));
    let tls = tls(&files, &old, None);
    let rig = rig(&tls, Limits::default());
    let config = client(&authority, None, &[]);
    // No resumption here: a resumed session shows the certificate of its first handshake.
    let fresh = || Secured::connect(rig.addr, &client(&authority, None, &[]), PATIENCE);
    let shown = || {
        let mut caller = fresh();
        caller.ask(&post("x")).unwrap();
        caller.shown()
    };
    let mut running = Secured::connect(rig.addr, &config, PATIENCE);
    running.ask(&post("x")).unwrap();
    assert!(!tls.reload().unwrap(), "nothing has changed");

    files.put("cert.pem", &new.cert); // half-way: the key is still the old one's
    let problem = tls.reload().unwrap_err().to_string();
    assert!(problem.contains("key.pem is not the key of the certificate in"), "{problem}");
    assert_eq!(shown(), old.der());
    files.put("key.pem", &new.key);
    assert!(tls.reload().unwrap());
    assert_eq!(shown(), new.der());

    for (name, garbage) in
        [("cert.pem", "garbage"), ("cert.pem", ""), ("key.pem", "-----BEGIN PRIVATE KEY-----\nAA")]
    {
        files.put(name, garbage);
        let problem = tls.reload().unwrap_err().to_string();
        assert!(problem.contains(name), "{problem}");
        assert_eq!(shown(), new.der(), "{name}: {garbage}");
        files.put_pair(&new);
        assert!(!tls.reload().unwrap(), "and back: nothing has changed");
    }
    std::fs::remove_file(files.path("key.pem")).unwrap();
    assert!(tls.reload().unwrap_err().to_string().contains("cannot be read"));
    assert_eq!(shown(), new.der());
    files.put_pair(&other);
    assert!(tls.reload().unwrap());
    assert_eq!(shown(), other.der());

    running.ask(&post("still here")).unwrap();
    assert_eq!(running.shown(), old.der());
    // Its session is no longer known, so the new certificate is shown.
    let mut again = Secured::connect(rig.addr, &config, PATIENCE);
    again.ask(&post("x")).unwrap();
    assert!(!again.resumed());
    assert_eq!(again.shown(), other.der());
}

#[test]
fn a_client_root_that_is_replaced_lets_nobody_in_again_not_even_by_a_session() {
    let (authority, gateways, files) = (Authority::new("roots"), Authority::new("gateways"), Files::new());
    let tls = tls(&files, &authority.issue(&["localhost"]), Some(&gateways));
    let rig = rig(&tls, Limits::default());
    let config = client(&authority, Some(&gateways.issue(&["gateway.example"])), &[]);
    Secured::connect(rig.addr, &config, PATIENCE).ask(&post("x")).unwrap();
    let successor = Authority::new("other gateways");
    files.put("ca.pem", &successor.pem);
    assert!(tls.reload().unwrap());
    Secured::connect(rig.addr, &config, PATIENCE).ask(&post("x")).unwrap_err();
    let config = client(&authority, Some(&successor.issue(&["gateway.example"])), &[]);
    Secured::connect(rig.addr, &config, PATIENCE).ask(&post("x")).unwrap();
    rig.heard.calls(2);
}

#[test]
fn plain_http_to_a_tls_port_is_told_so_and_closed() {
    let (authority, files) = (Authority::new("roots"), Files::new());
    let rig = rig(&tls(&files, &authority.issue(&["localhost"]), None), Limits::default());
    let answer = rig.send(post("hello")).message();
    assert_eq!(answer.status(), 400);
    assert!(String::from_utf8(answer.body).unwrap().contains("tls_required"));
    let mut wire = rig.send("\x00\x01garbage");
    wire.closed();
    eventually("both are counted", || rig.failures("caller", "not_tls") == 2);
    drop(rig.connect()); // a probe of the port says nothing
    Secured::connect(rig.addr, &client(&authority, None, &[]), PATIENCE).ask(&post("x")).unwrap();
    assert_eq!(rig.running().counts().tls_failures().map(|(_, _, count)| count).sum::<u64>(), 2);
    rig.heard.calls(1);
}

#[test]
fn tls_to_a_plain_port_is_counted_and_closed() {
    let authority = Authority::new("roots");
    let rig = Setup::to(echo().addr).start();
    let mut caller = Secured::connect(rig.addr, &client(&authority, None, &[]), PATIENCE);
    caller.ask(&post("hello")).unwrap_err();
    eventually("it is counted", || rig.failures("caller", "not_plain") == 1);
    rig.send("G\u{0}T / HTTP/1.1\r\n\r\n").message();
    assert_eq!(rig.send(post("hello")).message().body, b"hello");
    assert_eq!(rig.running().counts().tls_failures().map(|(_, _, count)| count).sum::<u64>(), 1);
}

#[test]
fn handshakes_that_stall_end_in_time_and_hold_up_nobody() {
    let (authority, files) = (Authority::new("roots"), Files::new());
    let limits = Limits { header_timeout: Duration::from_secs(2), ..Limits::default() };
    let rig = rig(&tls(&files, &authority.issue(&["localhost"]), None), limits);
    let began = Instant::now();
    let mut stalled: Vec<TcpStream> = (0..200).map(|_| TcpStream::connect(rig.addr).unwrap()).collect();
    for (n, tcp) in stalled.iter_mut().enumerate() {
        if n % 2 == 0 {
            tcp.write_all(b"\x16\x03\x01\x02\x00\x01").unwrap(); // the first bytes of a handshake
        }
    }
    let mut caller = Secured::connect(rig.addr, &client(&authority, None, &[]), PATIENCE);
    caller.ask(&post("x")).unwrap();
    assert_eq!(rig.met(Limit::HeaderTimeout), 0, "it was served while they stalled");
    for tcp in &mut stalled {
        tcp.set_read_timeout(Some(PATIENCE)).unwrap();
        match tcp.read(&mut [0; 16]) {
            Ok(0) => {}
            Err(error) if error.kind() == ErrorKind::ConnectionReset => {} // closed with bytes unread
            other => panic!("{other:?}"),
        }
    }
    assert!(began.elapsed() >= Duration::from_secs(2));
    // The last one is counted a moment after it is closed.
    eventually("each is counted", || rig.met(Limit::HeaderTimeout) == 200);
    caller.ask(&post("still here")).unwrap();
}

#[test]
fn a_stalled_handshake_does_not_hold_up_the_end() {
    let (authority, files) = (Authority::new("roots"), Files::new());
    let mut rig = rig(&tls(&files, &authority.issue(&["localhost"]), None), Limits::default());
    let mut wire: Wire = rig.send("\x16\x03\x01");
    let mut caller = Secured::connect(rig.addr, &client(&authority, None, &[]), PATIENCE);
    caller.ask(&post("x")).unwrap();
    let began = Instant::now();
    let running = rig.running.take().unwrap();
    running.drain();
    running.join();
    assert!(began.elapsed() < Duration::from_secs(20), "not the 30 s that a handshake may take");
    wire.rest();
}
