//! TLS as operators meet it: certificates that are replaced, files that are wrong, and services that
//! cannot be trusted, each with words in the log that help.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;

use rcgen::{CertificateParams, date_time_ymd};
use rustls::server::WebPkiClientVerifier;
use rustls::{ServerConfig, ServerConnection, StreamOwned, SupportedProtocolVersion, version};
use serde_json::Value;

use super::certs::{Authority, Files, Issued, Secured, client, provider, roots};
use super::sidecar::{PATIENCE, Sidecar, binary, wait_for};
use super::upstream;

/// `serve` with these arguments, on free ports.
fn command(ledger: &Path, arguments: &[String]) -> Command {
    let mut command = Command::new(binary());
    command.args(["serve", "--listen", "127.0.0.1:0", "--admin-listen", "127.0.0.1:0", "--ledger"]);
    command.arg(ledger).args(arguments).stdin(Stdio::null()).stdout(Stdio::null());
    command
}

fn flags(pairs: &[(&str, &Path)]) -> Vec<String> {
    pairs.iter().flat_map(|(flag, path)| [format!("--{flag}"), path.display().to_string()]).collect()
}

/// A service that answers every request on every connection.
fn service() -> SocketAddr {
    upstream::serve(|mut tcp| answer(&mut tcp))
}

fn answer(stream: &mut (impl Read + Write)) {
    let mut seen = Vec::new();
    let mut byte = [0];
    while matches!(stream.read(&mut byte), Ok(1)) {
        seen.push(byte[0]);
        if seen.ends_with(b"\r\n\r\n{}") {
            seen.clear();
            if stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}").is_err()
                || stream.flush().is_err()
            {
                return;
            }
        }
    }
}

/// A TLS service.
fn secure(
    issued: &Issued,
    clients: Option<&Authority>,
    versions: &[&'static SupportedProtocolVersion],
) -> u16 {
    let builder = ServerConfig::builder_with_provider(provider()).with_protocol_versions(versions).unwrap();
    let builder = match clients {
        None => builder.with_no_client_auth(),
        Some(authority) => {
            let verifier =
                WebPkiClientVerifier::builder_with_provider(Arc::new(roots(authority)), provider());
            builder.with_client_cert_verifier(verifier.build().unwrap())
        }
    };
    let config = Arc::new(builder.with_single_cert(issued.chain(), issued.key_der()).unwrap());
    let addr = upstream::serve(move |tcp| {
        let session = ServerConnection::new(Arc::clone(&config)).unwrap();
        answer(&mut StreamOwned::new(session, tcp));
    });
    addr.port()
}

const BOTH: &[&SupportedProtocolVersion] = &[&version::TLS13, &version::TLS12];

fn request(path: &str) -> String {
    format!("POST {path}/v1/chat/completions HTTP/1.1\r\nHost: gw\r\nContent-Length: 2\r\n\r\n{{}}")
}

/// The status of a call.
fn status(addr: SocketAddr, path: &str) -> u16 {
    let mut tcp = TcpStream::connect(addr).unwrap();
    tcp.set_read_timeout(Some(PATIENCE)).unwrap();
    tcp.write_all(request(path).as_bytes()).unwrap();
    let mut head = [0; 12];
    tcp.read_exact(&mut head).unwrap();
    std::str::from_utf8(&head[9..]).unwrap().parse().unwrap()
}

/// Log lines of this message.
fn lines(sidecar: &Sidecar, message: &str) -> Vec<Value> {
    let parsed = sidecar.log().into_iter().filter_map(|line| serde_json::from_str::<Value>(&line).ok());
    parsed.filter(|line| line["message"] == message).collect()
}

/// The value of a metric whose line starts so.
fn metric(sidecar: &Sidecar, start: &str) -> Option<f64> {
    let mut tcp = TcpStream::connect(sidecar.admin).unwrap();
    tcp.write_all(b"GET /metrics HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").unwrap();
    let mut page = String::new();
    tcp.read_to_string(&mut page).unwrap();
    let line = page.lines().find(|line| line.starts_with(start))?;
    line.rsplit(' ').next()?.parse().ok()
}

#[test]
fn certificates_are_read_again_on_a_signal_and_bad_ones_change_nothing() {
    let (authority, files) = (Authority::new("roots"), Files::new());
    let until = |year| move |params: &mut CertificateParams| params.not_after = date_time_ymd(year, 1, 1);
    let [first, second] = [2097, 2098].map(|year| authority.issue_with(&["localhost"], until(year)));
    let (cert, key) = files.put_pair(&first);
    let mut arguments = flags(&[("listen-cert-file", &cert), ("listen-key-file", &key)]);
    arguments.extend(["--upstream".to_owned(), format!("http://{}", service())]);
    let sidecar = Sidecar::run(&mut command(&files.path("ledger"), &arguments));
    let shown = || {
        let mut caller = Secured::connect(sidecar.addr, &client(&authority, None, &[]), PATIENCE);
        caller.ask(&request("")).unwrap();
        caller.shown()
    };
    let mut running = Secured::connect(sidecar.addr, &client(&authority, None, &[]), PATIENCE);
    running.ask(&request("")).unwrap();
    assert_eq!(shown(), first.der());
    let expiry =
        || metric(&sidecar, "tokenweir_certificate_expiry_timestamp_seconds{setting=\"listen-cert-file\"}");
    let begins = |year| date_time_ymd(year, 1, 1).unix_timestamp() as f64;
    assert_eq!(expiry(), Some(begins(2097)));

    files.put_pair(&second);
    sidecar.hang_up();
    wait_for("the second certificate", || (shown() == second.der()).then_some(()));
    assert_eq!(expiry(), Some(begins(2098)));
    files.put("cert.pem", "garbage, or a secret that stands in the wrong file");
    sidecar.hang_up();
    let said = "cannot be read again; what was read before stays in force";
    let line = wait_for("a complaint", || lines(&sidecar, said).pop());
    let error = line["error"].as_str().unwrap();
    assert!(error.contains("--listen-cert-file") && error.contains("cert.pem"), "{error}");
    assert!(error.contains("BEGIN CERTIFICATE"), "{error}");
    assert_eq!(shown(), second.der());
    files.put_pair(&first);
    sidecar.hang_up();
    wait_for("the first certificate", || (shown() == first.der()).then_some(()));
    running.ask(&request("")).unwrap();
    assert!(sidecar.log().iter().all(|line| !line.contains("garbage")));
    assert_eq!(sidecar.stop().0, Some(0));
}

#[test]
fn files_that_cannot_be_used_end_with_78_and_what_to_do() {
    let (authority, files) = (Authority::new("roots"), Files::new());
    let issued = authority.issue(&["localhost"]);
    let (cert, key) = files.put_pair(&issued);
    let other = files.put("other.pem", &authority.issue(&["localhost"]).key);
    let garbage = files.put("garbage.pem", "no PEM");
    let encrypted = files.put(
        "encrypted.pem",
        "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAA==\n-----END ENCRYPTED PRIVATE KEY-----\n",
    );
    let absent = files.path("absent.pem");
    for (side, given, says) in [
        ("listen", vec![("cert-file", &cert)], vec!["--listen-cert-file", "--listen-key-file"]),
        ("upstream", vec![("key-file", &key)], vec!["--upstream-key-file", "--upstream-cert-file"]),
        (
            "listen",
            vec![("cert-file", &absent), ("key-file", &key)],
            vec!["absent.pem cannot be read", "check the path"],
        ),
        (
            "listen",
            vec![("cert-file", &garbage), ("key-file", &key)],
            vec!["garbage.pem holds no certificate", "BEGIN CERTIFICATE"],
        ),
        (
            "listen",
            vec![("cert-file", &key), ("key-file", &cert)],
            vec!["key.pem holds no certificate", "are the files swapped"],
        ),
        (
            "listen",
            vec![("cert-file", &cert), ("key-file", &encrypted)],
            vec!["encrypted.pem", "openssl pkey"],
        ),
        (
            "listen",
            vec![("cert-file", &cert), ("key-file", &other)],
            vec!["other.pem is not the key of the certificate in", "cert.pem"],
        ),
        (
            "upstream",
            vec![("cert-file", &cert), ("key-file", &other)],
            vec!["other.pem is not the key of the certificate in", "--upstream-cert-file"],
        ),
        ("listen", vec![("client-ca-file", &cert)], vec!["--listen-client-ca-file", "--listen-cert-file"]),
        (
            "listen",
            vec![("cert-file", &cert), ("key-file", &key), ("client-ca-file", &garbage)],
            vec!["--listen-client-ca-file", "garbage.pem"],
        ),
        (
            "upstream",
            vec![("ca-file", &garbage)],
            vec!["--upstream-ca-file", "garbage.pem holds no certificate"],
        ),
    ] {
        let mut arguments: Vec<String> = given
            .iter()
            .flat_map(|(name, path)| [format!("--{side}-{name}"), path.display().to_string()])
            .collect();
        arguments.extend(["--upstream".to_owned(), "https://localhost".to_owned()]);
        let output = command(&files.path("ledger"), &arguments).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(78), "{arguments:?}: {said}");
        for needle in says {
            assert!(said.contains(needle), "{arguments:?}: {said}");
        }
    }
    let arguments = ["--upstream", "http://localhost", "--caller-trust", "mtls"].map(str::to_owned);
    let output = command(&files.path("ledger"), &arguments).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(78), "{said}");
    assert!(said.contains("--caller-trust") && said.contains("--listen-client-ca-file"), "{said}");
}

#[test]
fn a_service_without_tls_that_we_can_trust_is_a_502_and_told_with_what_to_do() {
    let (authority, stranger, files) = (Authority::new("roots"), Authority::new("stranger"), Files::new());
    let good = authority.issue(&["localhost", "127.0.0.1"]);
    let expired = authority.issue_with(&["localhost"], |params| {
        params.not_before = rcgen::date_time_ymd(2020, 1, 1);
        params.not_after = rcgen::date_time_ymd(2021, 2, 3);
    });
    let early =
        authority.issue_with(&["localhost"], |params| params.not_before = rcgen::date_time_ymd(4000, 1, 1));
    let https = |port: u16| format!("https://localhost:{port}");
    let upstreams = [
        ("good", https(secure(&good, None, BOTH))),
        ("address", format!("https://127.0.0.1:{}", secure(&good, None, BOTH))),
        ("untrusted", https(secure(&stranger.issue(&["localhost"]), None, BOTH))),
        ("expired", https(secure(&expired, None, BOTH))),
        ("early", https(secure(&early, None, BOTH))),
        ("name", https(secure(&authority.issue(&["a.example", "b.example"]), None, BOTH))),
        ("mutual13", https(secure(&good, Some(&authority), &[&version::TLS13]))),
        ("mutual12", https(secure(&good, Some(&authority), &[&version::TLS12]))),
        (
            "plain",
            https(
                upstream::serve(|mut tcp| {
                    let _ = tcp.read(&mut [0; 1000]);
                    let _ = tcp.write_all(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n");
                })
                .port(),
            ),
        ),
        ("closed", https(upstream::serve(drop).port())),
        ("refused", https(TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port())),
    ];
    let mut arguments = flags(&[("upstream-ca-file", &files.put("ca.pem", &authority.pem))]);
    for (name, url) in &upstreams {
        arguments.extend(["--upstream".to_owned(), format!("{name}={url}")]);
    }
    let sidecar = Sidecar::run(&mut command(&files.path("ledger"), &arguments));
    assert_eq!((status(sidecar.addr, "/good"), status(sidecar.addr, "/address")), (200, 200));
    for (name, cause, says) in [
        ("untrusted", "untrusted", vec!["ca.pem", "--upstream-ca-file"]),
        ("expired", "expired", vec!["expired on 2021-02-03"]),
        ("early", "expired", vec!["valid from 4000-01-01", "clock"]),
        ("name", "wrong_name", vec!["a.example, b.example", "not for localhost"]),
        ("mutual13", "client_certificate", vec!["--upstream-cert-file"]),
        ("mutual12", "client_certificate", vec!["--upstream-cert-file"]),
        ("plain", "not_tls", vec!["http://"]),
        ("closed", "closed", vec!["hung up within the handshake"]),
    ] {
        for _ in 0..5 {
            assert_eq!(status(sidecar.addr, &format!("/{name}")), 502, "{name}");
        }
        let told = || {
            lines(&sidecar, "no TLS with the service")
                .into_iter()
                .filter(|line| line["upstream"] == name)
                .collect::<Vec<_>>()
        };
        let line = wait_for("a line", || told().pop());
        assert_eq!(line["cause"], cause, "{line}");
        for needle in says {
            assert!(line["why"].as_str().unwrap().contains(needle), "{line}");
        }
        assert!(told().len() <= 2, "five failures in a moment are not five lines: {:?}", told());
    }
    assert_eq!(status(sidecar.addr, "/refused"), 502);
    wait_for("a line", || lines(&sidecar, "no connection to the service").pop());
    let asked =
        metric(&sidecar, "tokenweir_tls_failures_total{cause=\"client_certificate\",side=\"service\"}");
    assert!(asked >= Some(2.0), "{asked:?}"); // a reset may overtake the alert
    assert_eq!(
        metric(&sidecar, "tokenweir_tls_failures_total{cause=\"expired\",side=\"service\"}"),
        Some(10.0)
    );
}

#[test]
fn a_client_certificate_is_shown_to_a_service_that_asks_and_is_replaced_while_it_runs() {
    let (authority, gone, files) = (Authority::new("roots"), Authority::new("gone"), Files::new());
    let good = authority.issue(&["localhost"]);
    let (cert, key) = files.put_pair(&gone.issue(&["us"]));
    let mut arguments = flags(&[
        ("upstream-ca-file", &files.put("ca.pem", &authority.pem)),
        ("upstream-cert-file", &cert),
        ("upstream-key-file", &key),
    ]);
    arguments.extend([
        "--upstream".to_owned(),
        format!("https://localhost:{}", secure(&good, Some(&authority), BOTH)),
    ]);
    let sidecar = Sidecar::run(&mut command(&files.path("ledger"), &arguments));
    assert_eq!(status(sidecar.addr, ""), 502);
    let line = wait_for("a line", || lines(&sidecar, "no TLS with the service").pop());
    assert_eq!(line["cause"], "not_accepted", "{line}");
    files.put_pair(&authority.issue(&["us"]));
    sidecar.hang_up();
    wait_for("the new certificate", || (status(sidecar.addr, "") == 200).then_some(()));
}

#[test]
fn the_wrong_protocol_at_the_port_is_told_with_what_to_do() {
    let (authority, files) = (Authority::new("roots"), Files::new());
    let (cert, key) = files.put_pair(&authority.issue(&["localhost"]));
    let upstream = ["--upstream".to_owned(), format!("http://{}", service())];
    let secured = [&flags(&[("listen-cert-file", &cert), ("listen-key-file", &key)])[..], &upstream].concat();
    let sidecar = Sidecar::run(&mut command(&files.path("one"), &secured));
    assert_eq!(status(sidecar.addr, ""), 400);
    let line = wait_for("a line", || lines(&sidecar, "no TLS with a caller").pop());
    assert!(line["why"].as_str().unwrap().contains("https://") && line["caller_ip"] == "127.0.0.1", "{line}");
    let sidecar = Sidecar::run(&mut command(&files.path("two"), &upstream));
    Secured::connect(sidecar.addr, &client(&authority, None, &[]), PATIENCE).ask(&request("")).unwrap_err();
    let line = wait_for("a line", || lines(&sidecar, "no TLS with a caller").pop());
    assert!(line["why"].as_str().unwrap().contains("--listen-cert-file"), "{line}");
    assert_eq!(
        metric(&sidecar, "tokenweir_tls_failures_total{cause=\"not_plain\",side=\"caller\"}"),
        Some(1.0)
    );
    assert_eq!(metric(&sidecar, "tokenweir_limits_total{limit=\"connections\"}"), Some(0.0));
}

/// From the handshake to the event: who the certificate names pays, if the hop is the gateway.
#[test]
fn a_certificate_names_the_payer_and_proves_the_hop() {
    let (authority, files) = (Authority::new("roots"), Files::new());
    let (cert, key) = files.put_pair(&authority.issue(&["localhost"]));
    let mut arguments = flags(&[
        ("listen-cert-file", &cert),
        ("listen-key-file", &key),
        ("listen-client-ca-file", &files.put("ca.pem", &authority.pem)),
    ]);
    for (flag, value) in [
        ("--upstream", format!("http://{}", service())),
        ("--caller-trust", "mtls".to_owned()),
        ("--caller-cert-names", "gateway.example".to_owned()),
        ("--caller-sources", "header:x-team,client-cert".to_owned()),
    ] {
        arguments.extend([flag.to_owned(), value]);
    }
    let ledger = files.path("ledger");
    let sidecar = Sidecar::run(&mut command(&ledger, &arguments));
    let ask = |shows: Option<&Issued>, fields: &str| {
        let request = request("").replace("Host: gw", &format!("Host: gw{fields}"));
        Secured::connect(sidecar.addr, &client(&authority, shows, &[]), PATIENCE).ask(&request)
    };
    let (gateway, stranger) = (authority.issue(&["gateway.example"]), authority.issue(&["app.example"]));
    ask(Some(&gateway), "\r\nX-Team: blue").unwrap();
    ask(Some(&gateway), "").unwrap();
    ask(Some(&stranger), "\r\nX-Team: red").unwrap();
    assert!(ask(None, "\r\nX-Team: red").is_err(), "without a certificate there is no connection");
    assert_eq!(sidecar.stop().0, Some(0));
    let mut callers: Vec<[String; 3]> = super::sidecar::usage_events(&ledger)
        .iter()
        .map(|event| {
            ["id", "id_source", "trust"].map(|key| event["data"]["caller"][key].as_str().unwrap().to_owned())
        })
        .collect();
    callers.sort();
    let expected = [
        ["blue", "header", "mtls"],
        ["gateway.example", "client_cert", "mtls"],
        ["unattributed", "none", "none"],
    ];
    assert_eq!(callers, expected);
}

/// A service that streams an event, waits until it is told, and streams another; and answers anything but `/stream` at
/// once, or when it is told if the path says so.
fn service_that_waits(go: Arc<std::sync::Mutex<()>>) -> SocketAddr {
    super::upstream::start(Arc::new(move |request, to| {
        let waits = || drop(go.lock().unwrap());
        if request.first_line().contains("/stream") {
            to.write_all(super::upstream::STREAM_HEAD.as_bytes())?;
            super::upstream::write_chunk(to, b"data: one\n\n")?;
            waits();
            super::upstream::write_chunk(to, b"data: two\n\n")?;
            return super::upstream::write_end(to);
        }
        if request.first_line().contains("/later") {
            waits();
        }
        to.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
    }))
}

/// The roots of client certificates are replaced. A connection that the new ones do not cover ends: at once if it
/// waits, behind its answer if it has one. One that they cover goes on, and so does one that was opened since.
#[test]
fn connections_that_new_roots_do_not_cover_end_behind_their_present_answer() {
    let (port, old, new) = (Authority::new("port"), Authority::new("old"), Authority::new("new"));
    let files = Files::new();
    let (cert, key) = files.put_pair(&port.issue(&["localhost"]));
    let roots = files.put("roots.pem", &format!("{}{}", old.pem, new.pem));
    let mut arguments =
        flags(&[("listen-cert-file", &cert), ("listen-key-file", &key), ("listen-client-ca-file", &roots)]);
    let go = Arc::new(std::sync::Mutex::new(()));
    let hold = go.lock().unwrap();
    arguments.extend(["--upstream".to_owned(), format!("http://{}", service_that_waits(Arc::clone(&go)))]);
    arguments.extend(["--caller-trust", "mtls", "--caller-sources", "client-cert"].map(str::to_owned));
    let sidecar = Sidecar::run(&mut command(&files.path("ledger"), &arguments));
    let connect = |by: &Authority, who: &str| {
        let shows = by.issue(&[who]);
        Secured::connect(sidecar.addr, &client(&port, Some(&shows), &[]), PATIENCE)
    };
    let mut idle = connect(&old, "idle.bank");
    let mut kept = connect(&new, "kept.bank");
    for one in [&mut idle, &mut kept] {
        one.ask(&request("")).unwrap();
    }
    let [mut streams, mut waits] = ["streams.bank", "waits.bank"].map(|who| connect(&old, who));
    let send = |one: &mut Secured, path: &str| one.0.write_all(request(path).as_bytes()).unwrap();
    send(&mut streams, "/stream");
    read_until(&mut streams, b"data: one\n\n");
    send(&mut waits, "/later");
    wait_for("both calls to run", || (metric(&sidecar, "tokenweir_calls_open") == Some(2.0)).then_some(()));

    files.put("roots.pem", &new.pem);
    sidecar.hang_up();
    let mut rest = Vec::new();
    idle.0.read_to_end(&mut rest).unwrap();
    assert_eq!(rest, b"", "what waits is closed at once, with a TLS end");
    let said = "connections whose certificate the roots in --listen-client-ca-file do not cover end behind their present answer";
    let told = wait_for("a line", || lines(&sidecar, said).pop());
    assert_eq!(told["connections"], 3, "{told}");
    kept.ask(&request("")).unwrap();
    connect(&new, "fresh.bank").ask(&request("")).unwrap();
    connect(&old, "late.bank").ask(&request("")).unwrap_err();

    drop(hold);
    let text = read_until(&mut streams, b"0\r\n\r\n");
    assert!(text.contains("data: two"), "the stream ends whole: {text}");
    let text = read_until(&mut waits, b"{}");
    assert!(
        text.starts_with("HTTP/1.1 200 ") && text.to_lowercase().contains("connection: close\r\n"),
        "{text}"
    );
    for one in [&mut streams, &mut waits] {
        // A request that is sent all the same is answered by nobody.
        let _ = one.0.write_all(request("").as_bytes());
        let mut rest = Vec::new();
        let _ = one.0.read_to_end(&mut rest);
        assert_eq!(rest, b"");
    }
    kept.ask(&request("")).unwrap();
    assert_eq!(sidecar.stop().0, Some(0));
    let ids: Vec<_> = super::sidecar::events(&files.path("ledger"))
        .iter()
        .filter_map(|event| event["data"]["caller"]["id"].as_str().map(str::to_owned))
        .collect();
    for (who, calls) in [("idle", 1), ("streams", 1), ("waits", 1), ("kept", 3), ("fresh", 1), ("late", 0)] {
        let of = ids.iter().filter(|id| **id == format!("{who}.bank")).count();
        assert_eq!(of, calls, "{who}: {ids:?}");
    }
}

/// Reads until these bytes have come, or panics at an end.
fn read_until(one: &mut Secured, end: &[u8]) -> String {
    let mut seen = Vec::new();
    while !seen.ends_with(end) {
        let mut byte = [0];
        assert_eq!(one.0.read(&mut byte).unwrap(), 1, "{:?}", String::from_utf8_lossy(&seen));
        seen.push(byte[0]);
    }
    String::from_utf8(seen).unwrap()
}
