//! Whom the Kafka client trusts where nothing says so: the roots of this system, as the rest of the program does.

use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use rustls::{ServerConfig, ServerConnection};

use crate::certs::{Authority, server};
use crate::support::sidecar::{Sidecar, binary, serve_arguments};
use crate::support::{eventually, fake_service};

/// Handshakes with a broker that were finished, and those that the client broke off.
#[derive(Default)]
struct Handshakes {
    finished: AtomicUsize,
    broken_off: AtomicUsize,
}

/// Something that speaks TLS as a broker does, and nothing after the handshake. Returns its address.
fn broker(authority: &Authority) -> (String, Arc<Handshakes>) {
    let config = Arc::new(server(&authority.issue(&["127.0.0.1"])));
    let handshakes = Arc::new(Handshakes::default());
    let seen = Arc::clone(&handshakes);
    let address = fake_service::serve(move |stream| {
        let done = shake_hands(stream, Arc::clone(&config));
        let counted = if done { &seen.finished } else { &seen.broken_off };
        counted.fetch_add(1, SeqCst);
    });
    (address.to_string(), handshakes)
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

/// `serve` before a broker. `command` is the program, or what starts it.
fn serve(mut command: Command, ledger: &Path, brokers: &str) -> Sidecar {
    let upstream = "127.0.0.1:1".parse().unwrap();
    let arguments = ["--kafka-property", "security.protocol=SSL", "--kafka-brokers", brokers];
    serve_arguments(&mut command, upstream, ledger, &arguments);
    Sidecar::run(command.env_remove("SSL_CERT_DIR"))
}

/// The program where the environment names these roots.
fn told(roots: &Path) -> Command {
    let mut command = Command::new(binary());
    command.env("SSL_CERT_FILE", roots);
    command
}

/// The program where nothing names any roots, and the system's bundle is this one: a mount of its own, over
/// the usual folder. `None` where nothing can be mounted.
fn untold(roots: &Path) -> Option<Command> {
    let script = "mount -t tmpfs tokenweir-test /etc/ssl/certs \
                  && cp \"$0\" /etc/ssl/certs/ca-certificates.crt && exec \"$@\"";
    let run = |program: &str| {
        let mut command = Command::new("unshare");
        command.args(["-m", "sh", "-c", script]).arg(roots).arg(program).env_remove("SSL_CERT_FILE");
        command
    };
    let may = run("true").stderr(Stdio::null()).status();
    may.is_ok_and(|status| status.success()).then(|| run(binary()))
}

#[test]
fn a_broker_is_trusted_by_the_systems_bundle_where_nothing_names_another() {
    let (ours, others) = (Authority::new("the system's"), Authority::new("somebody's"));
    let dir = tempfile::tempdir().unwrap();
    let roots = dir.path().join("roots.pem");
    std::fs::write(&roots, &ours.pem).unwrap();
    for (number, (authority, fine)) in [(&ours, true), (&others, false)].into_iter().enumerate() {
        let Some(command) = untold(&roots) else {
            return crate::skip::test(crate::skip::NO_MOUNT);
        };
        let (address, handshakes) = broker(authority);
        let _serving = serve(command, &dir.path().join(number.to_string()), &address);
        let count = |of: &AtomicUsize| of.load(SeqCst);
        eventually("a handshake", || count(&handshakes.finished) + count(&handshakes.broken_off) > 0);
        assert_eq!((count(&handshakes.finished) > 0, count(&handshakes.broken_off) > 0), (fine, !fine));
    }
}

#[test]
fn a_broker_is_trusted_by_the_roots_that_the_environment_names_and_by_no_others() {
    let (ours, others) = (Authority::new("the system's"), Authority::new("somebody's"));
    let dir = tempfile::tempdir().unwrap();
    let roots = dir.path().join("roots.pem");
    std::fs::write(&roots, &ours.pem).unwrap();

    let (address, trusted) = broker(&ours);
    let serving = serve(told(&roots), &dir.path().join("one"), &address);
    eventually("a handshake that is finished", || trusted.finished.load(SeqCst) > 0);
    assert_eq!(trusted.broken_off.load(SeqCst), 0);
    drop(serving);

    let (address, foreign) = broker(&others);
    let _serving = serve(told(&roots), &dir.path().join("other"), &address);
    eventually("a handshake that is broken off", || foreign.broken_off.load(SeqCst) > 0);
    assert_eq!(foreign.finished.load(SeqCst), 0);
}
