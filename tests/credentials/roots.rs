//! Whom the Kafka client trusts where nothing says so: the roots of this system, as the rest of the program does.

use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use rustls::{ServerConfig, ServerConnection};

use crate::certs::{Authority, provider};
use crate::support::eventually;

/// Handshakes with a broker that were finished, and those that the client broke off.
#[derive(Default)]
struct Handshakes {
    finished: AtomicUsize,
    broken_off: AtomicUsize,
}

/// Something that speaks TLS as a broker does, and nothing after the handshake. Returns its address.
fn broker(authority: &Authority) -> (String, Arc<Handshakes>) {
    let issued = authority.issue(&["127.0.0.1"]);
    let config = ServerConfig::builder_with_provider(provider())
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(issued.chain(), issued.key_der())
        .unwrap();
    let (config, handshakes) = (Arc::new(config), Arc::new(Handshakes::default()));
    let (listener, seen) = (TcpListener::bind("127.0.0.1:0").unwrap(), handshakes.clone());
    let address = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let counted = if shake_hands(stream, config.clone()) { &seen.finished } else { &seen.broken_off };
            counted.fetch_add(1, SeqCst);
        }
    });
    (address, handshakes)
}

fn shake_hands(mut stream: TcpStream, config: Arc<ServerConfig>) -> bool {
    let mut connection = ServerConnection::new(config).unwrap();
    while connection.is_handshaking() {
        if connection.complete_io(&mut stream).is_err() {
            return false;
        }
    }
    true
}

/// `serve`, killed when dropped.
struct Serve(Child);

impl Drop for Serve {
    fn drop(&mut self) {
        self.0.kill().unwrap();
        self.0.wait().unwrap();
    }
}

fn serve(ledger: &Path, brokers: &str, roots: &Path) -> Serve {
    let child = Command::new(env!("CARGO_BIN_EXE_tokenweir"))
        .args([
            "serve",
            "--upstream=http://127.0.0.1:1",
            "--listen=127.0.0.1:0",
            "--admin-listen=127.0.0.1:0",
        ])
        .args(["--kafka-property", "security.protocol=SSL", "--kafka-brokers", brokers, "--ledger"])
        .arg(ledger)
        .env("SSL_CERT_FILE", roots)
        .stderr(Stdio::null())
        .spawn();
    Serve(child.unwrap())
}

#[test]
fn a_broker_is_trusted_by_the_roots_that_the_system_names_and_by_no_others() {
    let (ours, others) = (Authority::new("the system's"), Authority::new("somebody's"));
    let dir = tempfile::tempdir().unwrap();
    let roots = dir.path().join("roots.pem");
    std::fs::write(&roots, &ours.pem).unwrap();

    let (address, trusted) = broker(&ours);
    let serving = serve(&dir.path().join("one"), &address, &roots);
    eventually("a handshake that is finished", || trusted.finished.load(SeqCst) > 0);
    assert_eq!(trusted.broken_off.load(SeqCst), 0);
    drop(serving);

    let (address, foreign) = broker(&others);
    let _serving = serve(&dir.path().join("other"), &address, &roots);
    eventually("a handshake that is broken off", || foreign.broken_off.load(SeqCst) > 0);
    assert_eq!(foreign.finished.load(SeqCst), 0);
}
