use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::super::limits::{self, pending_max};
use super::super::pages::Readiness;
use super::*;

/// How long a probe may wait for its answer: Kubernetes gives up after a second (`timeoutSeconds`). On a machine that is
/// busy with other things one in twenty may take longer, ..
const PROBE_MAX: Duration = Duration::from_secs(1);

/// .. but never as long as it would if it waited for another connection to end.
const PROBE_LATE_MAX: Duration = Duration::from_secs(5);

/// One attack at a time: two would wait for each other's processor.
static ALONE: Mutex<()> = Mutex::new(());

/// Connections of an attack: more than there are places of any kind, and than the kernel's usual queue of 128.
const MANY: usize = 450;

/// Far more than the kernel takes of a response that is not read.
const PAGE_BYTES: usize = 8 << 20;

/// Probes of an attack, at least: enough for one in twenty to mean something.
const PROBES_MIN: usize = 40;

fn port() -> SocketAddr {
    port_with(limits::PENDING_MAX)
}

/// The port on a thread of its own, which ends with the test.
fn port_with(pending_max: usize) -> SocketAddr {
    let limit = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
    let page = "a".repeat(PAGE_BYTES);
    let pages = Pages {
        metrics: Box::new(move || page.clone()),
        readiness: Box::new(|| Readiness { ready: true, accounting_ok: true }),
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let listener = {
        let _guard = runtime.enter();
        bind("127.0.0.1:0".parse().unwrap()).unwrap()
    };
    let addr = listener.local_addr().unwrap();
    std::thread::spawn(move || runtime.block_on(serve(listener, Arc::new(pages), pending_max)));
    addr
}

/// A connection that has sent this much.
fn sent(addr: SocketAddr, bytes: &[u8]) -> TcpStream {
    let mut tcp = TcpStream::connect(addr).unwrap();
    tcp.set_nonblocking(true).unwrap();
    let _ = tcp.write(bytes); // what does not go at once does not go
    tcp.set_nonblocking(false).unwrap();
    tcp.set_read_timeout(Some(CONNECTION_TIMEOUT * 3)).unwrap();
    tcp
}

fn get(path: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nHost: a\r\n\r\n").into_bytes()
}

/// All that comes until the other side closes.
fn read(mut tcp: TcpStream) -> String {
    let mut text = Vec::new();
    let _ = tcp.read_to_end(&mut text); // a reset ends it too
    String::from_utf8(text).unwrap()
}

/// Probes while something happens; each is answered, and soon enough.
fn probed_meanwhile(addr: SocketAddr, attack: impl FnOnce()) {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let prober = scope.spawn(|| {
            let mut took = Vec::new();
            while !over.load(Ordering::Relaxed) || took.len() < PROBES_MIN {
                for path in ["/livez", "/readyz"] {
                    let began = Instant::now();
                    let said = read(sent(addr, &get(path)));
                    assert!(said.starts_with("HTTP/1.1 200 "), "{path}: {said:?}");
                    took.push(began.elapsed());
                }
            }
            took.sort_unstable();
            let (most, all) = (took[took.len() * 19 / 20 - 1], took[took.len() - 1]);
            assert!(most < PROBE_MAX && all < PROBE_LATE_MAX, "{most:?}, {all:?}, {} probes", took.len());
        });
        attack();
        over.store(true, Ordering::Relaxed);
        prober.join().unwrap();
    });
}

/// Opens many connections at a time, all anew each time, and keeps them until the next ones are open.
fn attack_with(addr: SocketAddr, bytes: &[u8]) {
    let mut held: Vec<TcpStream> = Vec::new();
    for _ in 0..4 {
        let fresh = (0..MANY).map(|_| sent(addr, bytes)).collect();
        held = fresh;
        std::thread::sleep(Duration::from_millis(100));
    }
    drop(held);
}

#[test]
fn a_probe_is_answered_while_hundreds_ask_for_metrics_and_read_nothing() {
    let addr = port();
    let pipelined = get("/metrics").repeat(400);
    probed_meanwhile(addr, || attack_with(addr, &pipelined));
}

#[test]
fn a_probe_is_answered_while_hundreds_say_nothing_or_not_all() {
    let addr = port();
    for bytes in [&b""[..], b"GET /livez HTTP/1.1\r\nHost: a\r\n", &[b'a'; 20_000]] {
        probed_meanwhile(addr, || attack_with(addr, bytes));
    }
}

#[test]
fn who_finds_no_place_gets_503_at_once_and_a_place_is_free_again_when_its_connection_ends() {
    let addr = port();
    let mut holding: Vec<_> = (0..SCRAPES_MAX).map(|_| sent(addr, &get("/metrics"))).collect();
    // Each has its place when the first byte of its answer has come.
    for tcp in &mut holding {
        tcp.read_exact(&mut [0]).unwrap();
    }
    let began = Instant::now();
    let refused = read(sent(addr, &get("/metrics")));
    assert!(refused.starts_with("HTTP/1.1 503 "), "{refused}");
    assert!(
        refused.contains("retry-after: 10\r\n") && refused.contains("connection: close\r\n"),
        "{refused}"
    );
    assert!(began.elapsed() < PROBE_MAX);
    // A reader that reads has all of it, and its place is free again.
    let read_whole = read(holding.pop().unwrap());
    assert!(read_whole.len() > PAGE_BYTES, "{}", read_whole.len());
    let again = read(sent(addr, &get("/metrics")));
    assert!(again.starts_with("HTTP/1.1 200 ") && again.len() > PAGE_BYTES);
}

#[test]
fn no_connection_lives_longer_than_it_may_whatever_it_does() {
    let addr = port();
    let began = Instant::now();
    let held: Vec<_> =
        [&b""[..], b"GET /metrics", &get("/metrics")].iter().map(|bytes| sent(addr, bytes)).collect();
    // One that says a byte now and then is no better.
    let mut trickling = sent(addr, b"G");
    let left = loop {
        std::thread::sleep(Duration::from_millis(100));
        if trickling.write_all(b"x").is_err() {
            break began.elapsed();
        }
        assert!(began.elapsed() < CONNECTION_TIMEOUT * 2, "it may trickle for ever");
    };
    assert!(left > CONNECTION_TIMEOUT / 2, "{left:?}");
    // The others are closed by now too: what is left to be read ends.
    for tcp in held {
        read(tcp);
    }
    assert!(began.elapsed() < CONNECTION_TIMEOUT * 2, "{:?}", began.elapsed());
}

#[test]
fn a_connection_has_one_answer() {
    let addr = port();
    let said = read(sent(addr, &get("/livez").repeat(3)));
    assert_eq!(said.matches("HTTP/1.1 200 OK").count(), 1, "{said}");
}

/// Where few connections may wait, an address that opens many takes the room from itself.
#[test]
fn a_flood_from_one_address_leaves_the_probe_of_another_alone() {
    let addr = port_with(pending_max(Some(0)));
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    for _ in 0..3 {
        // The probe connects, and its request is late.
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        socket.bind(&"127.0.0.2:0".parse::<SocketAddr>().unwrap().into()).unwrap();
        socket.connect(&addr.into()).unwrap();
        let mut probe = TcpStream::from(socket);
        probe.set_read_timeout(Some(CONNECTION_TIMEOUT * 3)).unwrap();
        let flood: Vec<_> = (0..MANY).map(|_| sent(addr, b"")).collect();
        probe.write_all(&get("/livez")).unwrap();
        assert!(read(probe).starts_with("HTTP/1.1 200 "));
        drop(flood);
    }
}
