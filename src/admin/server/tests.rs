use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::super::limits::{self, pending_max};
use super::super::page::LivePage;
use super::super::pages::Readiness;
use super::*;
use crate::telemetry::live::{Health, LiveCall, LiveFigures};
use metering::caller::{Caller, Trust};
use metering::usage::{CloudEvent, EventType, Target, Usage};

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

fn port_with(pending_max: usize) -> SocketAddr {
    let page = "a".repeat(PAGE_BYTES);
    let pages = Pages {
        metrics: Box::new(move || page.clone()),
        readiness: Box::new(|| Readiness { ready: true, accounting_ok: true }),
        page: Ok(Arc::new(LivePage::new(Arc::default(), Health::default))),
    };
    port_of(pages, pending_max)
}

/// The port on a thread of its own, which ends with the test.
fn port_of(pages: Pages, pending_max: usize) -> SocketAddr {
    let limit = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
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

/// Reads until a text has come, and gives everything up to it.
fn read_until(tcp: &mut TcpStream, text: &str) -> String {
    let mut said = Vec::new();
    while !String::from_utf8_lossy(&said).contains(text) {
        let mut some = [0; 4_096];
        let count = tcp.read(&mut some).unwrap();
        assert!(count > 0, "it ended: {}", String::from_utf8_lossy(&said));
        said.extend_from_slice(&some[..count]);
    }
    String::from_utf8(said).unwrap()
}

fn get_as(path: &str, method: &str, fields: &str) -> Vec<u8> {
    format!("{method} {path} HTTP/1.1\r\n{fields}\r\n").into_bytes()
}

#[test]
fn the_page_is_for_whoever_names_this_machine() {
    let addr = port();
    for (fields, status) in [
        ("Host: localhost\r\n", "200"),
        ("Host: localhost:18080\r\n", "200"),
        ("Host: [::1]:1\r\n", "200"),
        ("Host: 127.0.0.1\r\n", "200"),
        ("Host: evil.example\r\n", "403"),
        ("Host: evil.example:9464\r\n", "403"),
        ("", "403"),
    ] {
        for path in ["/", "/events", "/calls"] {
            let head = read_until(&mut sent(addr, &get_as(path, "GET", fields)), "\r\n\r\n");
            assert!(head.starts_with(&format!("HTTP/1.1 {status} ")), "{path} {fields}: {head}");
        }
        let head = read_until(&mut sent(addr, &get_as("/metrics", "GET", fields)), "\r\n\r\n");
        assert!(head.starts_with("HTTP/1.1 200 "), "a scrape may name anything: {head}");
    }
    for method in ["POST", "PUT", "DELETE", "OPTIONS"] {
        let said = read(sent(addr, &get_as("/", method, "Host: localhost\r\n")));
        assert!(said.starts_with("HTTP/1.1 405 ") && said.contains("allow: GET, HEAD\r\n"), "{said}");
    }
    let other = "Host: localhost\r\nSec-Fetch-Site: cross-site\r\n";
    assert!(read(sent(addr, &get_as("/events", "GET", other))).starts_with("HTTP/1.1 403 "));
    for path in ["/", "/events", "/calls"] {
        let said = read(sent(addr, &get_as(path, "HEAD", "Host: localhost\r\n")));
        assert!(said.starts_with("HTTP/1.1 200 ") && said.ends_with("\r\n\r\n"), "{said}");
    }
}

#[test]
fn pages_are_bounded_and_a_place_is_free_again_when_one_is_closed() {
    let addr = port();
    let ask = || sent(addr, &get_as("/events", "GET", "Host: localhost\r\n"));
    let mut open: Vec<_> = (0..READERS_MAX).map(|_| ask()).collect();
    open.iter_mut().for_each(|tcp| assert!(read_until(tcp, "event: view").starts_with("HTTP/1.1 200 ")));
    let refused = read(ask());
    assert!(refused.starts_with("HTTP/1.1 503 ") && refused.contains("retry-after: 10\r\n"), "{refused}");
    probed_meanwhile(addr, || drop(open.pop()));
    let began = Instant::now();
    while !read_until(&mut ask(), "\r\n\r\n").starts_with("HTTP/1.1 200 ") {
        assert!(began.elapsed() < CONNECTION_TIMEOUT, "no place is free");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// An open page lives longer than any other connection while it reads, and no longer once it does not.
#[test]
fn who_reads_stays_and_who_does_not_is_left() {
    let figures = Arc::new(LiveFigures::default());
    let mut call = LiveCall::stored(&event()).unwrap();
    for caller in 0..400 {
        call.caller = format!("{caller}{}", "\u{202e}".repeat(500)).into();
        figures.add(call.clone()); // large events fill what the kernel takes
    }
    let page = Arc::new(LivePage::new(figures, Health::default));
    let addr = port_of(
        Pages {
            metrics: Box::new(String::new),
            readiness: Box::new(|| Readiness { ready: true, accounting_ok: true }),
            page: Ok(Arc::clone(&page)),
        },
        limits::PENDING_MAX,
    );
    let ask = || sent(addr, &get_as("/events", "GET", "Host: localhost\r\n"));
    let (mut reads, _reads_nothing) = (ask(), ask());
    let began = Instant::now();
    let mut left = None;
    while left.is_none() || began.elapsed() < CONNECTION_TIMEOUT * 2 {
        read_until(&mut reads, "event: view");
        let taken: Vec<_> = std::iter::from_fn(|| page.place()).collect();
        if taken.len() == READERS_MAX - 1 {
            left.get_or_insert_with(|| began.elapsed());
        }
        drop(taken);
        assert!(began.elapsed() < CONNECTION_TIMEOUT * 12, "who reads nothing is kept for ever");
    }
    assert!(left.unwrap() >= CONNECTION_TIMEOUT, "{left:?}");
}

/// A usage event as it is stored.
fn event() -> String {
    let usage = Usage::draft(Caller::unattributed(Trust::None), Target::default());
    let (id, time) = (uuid::Uuid::now_v7().to_string(), Some("2026-11-22T09:15:04.812Z".to_owned()));
    serde_json::to_string(&CloudEvent::new(EventType::Usage, "//tokenweir/x", id, time, "x", usage)).unwrap()
}
