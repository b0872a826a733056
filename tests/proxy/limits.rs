//! Limits of the port for calls: each is met, told apart, counted, and gives way again.

use std::io::{Read, Write};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use tokenweir::proxy::{Limit, Limits};

use crate::rig::{CHUNKED, PATIENCE, Rig, Script, Setup, Wire, eventually, ok, post};
use crate::support::process::resident_bytes;
use crate::support::turn;

/// Sockets of the attack.
const SLOW_SOCKETS: usize = 1000;

/// Answers every request at once.
fn prompt() -> Script {
    Script::start(|mut wire, _| {
        while !wire.message().head.is_empty() {
            wire.send(ok("{}"));
        }
    })
}

fn rig(limits: Limits) -> Rig {
    Setup { limits, ..Setup::to(prompt().addr) }.start()
}

/// Answers once the test says so.
fn held() -> (Script, std::sync::mpsc::Sender<()>) {
    let (release, released) = channel();
    let released: Mutex<Receiver<()>> = Mutex::new(released);
    let script = Script::start(move |mut wire, _| {
        while !wire.message().head.is_empty() {
            let _ = released.lock().unwrap().recv();
            wire.send(ok("{}"));
        }
    });
    (script, release)
}

/// A thousand sockets that send a byte of a head now and then, until all have been closed: wave by
/// wave. Returns how long calls of others took meanwhile.
fn attack(rig: &Rig, wave: usize) -> Vec<Duration> {
    let mut slow: Vec<Wire> = (0..SLOW_SOCKETS).map(|_| rig.connect()).collect();
    let over = AtomicBool::new(false);
    let head = format!("POST /v1/chat/completions HTTP/1.1\r\nHost: gw\r\nX-Slow: {}", "a".repeat(1000));
    let mut took = Vec::new();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for byte in head.as_bytes().chunks(1).take_while(|_| !over.load(Ordering::SeqCst)) {
                for wire in &slow {
                    let _ = (&wire.tcp).write_all(byte); // one that was closed resets
                }
                std::thread::sleep(Duration::from_millis(100));
            }
        });
        let mut wire = rig.connect();
        eventually("all have been closed", || {
            let began = Instant::now();
            wire.send(post("{}"));
            assert_eq!(wire.message().status(), 200);
            took.push(began.elapsed());
            rig.met(Limit::HeaderTimeout) == (wave * SLOW_SOCKETS) as u64
        });
        over.store(true, Ordering::SeqCst);
    });
    for wire in &mut slow {
        let mut said = Vec::new();
        let _ = wire.tcp.read_to_end(&mut said); // a reset may have eaten it
        assert!(said.is_empty() || said.starts_with(b"HTTP/1.1 408 "), "{said:?}");
    }
    took
}

#[test]
fn a_thousand_slow_heads_are_ended_in_time_while_others_are_served() {
    // In a process of its own: the memory of other tests is none of its business.
    if !turn::is_own_process("limits::a_thousand_slow_heads_are_ended_in_time_while_others_are_served") {
        return;
    }
    let rig = rig(Limits { header_timeout: Duration::from_secs(2), ..Limits::default() });
    let mut wire = rig.connect();
    let alone: Vec<Duration> = (0..200)
        .map(|_| {
            let began = Instant::now();
            wire.send(post("{}"));
            assert_eq!(wire.message().status(), 200);
            began.elapsed()
        })
        .collect();
    let median = |times: &mut Vec<Duration>| {
        times.sort();
        times[times.len() / 2]
    };
    let began = Instant::now();
    let mut during = attack(&rig, 1);
    let lasted = began.elapsed();
    let first = resident_bytes();
    // The second wave reconnects at once, and finds what the first one has left.
    attack(&rig, 2);
    let second = resident_bytes();
    let (alone, during) = (median(&mut alone.clone()), median(&mut during));
    println!(
        "slowloris: calls {alone:?} alone, {during:?} meanwhile; over after {lasted:?}; {first} bytes, then {second}"
    );
    assert!(during < alone * 10 + Duration::from_millis(50), "{alone:?} alone, {during:?} during");
    assert!(second < first + (16 << 20), "{first} bytes after one wave, {second} after two");
}

#[test]
fn the_time_for_heads_and_the_time_between_them_are_two() {
    let (header_timeout, idle_timeout) = (Duration::from_secs(1), Duration::from_secs(60));
    let rig = rig(Limits { header_timeout, idle_timeout, ..Limits::default() });
    let mut wire = rig.connect();
    for _ in 0..2 {
        std::thread::sleep(header_timeout + Duration::from_millis(500)); // idle, and allowed to be
        wire.send(post("{}"));
        assert_eq!(wire.message().status(), 200);
    }
    let began = Instant::now();
    wire.send("POST /v1/chat/comple");
    let answer = wire.message();
    assert_eq!((answer.status(), answer.fields("connection")), (408, vec!["close"]));
    assert!(began.elapsed() >= header_timeout && began.elapsed() < idle_timeout);
    wire.closed();
    eventually("it is counted", || rig.met(Limit::HeaderTimeout) == 1);
    assert_eq!(rig.met(Limit::IdleTimeout), 0);
    rig.heard.calls(2);
}

#[test]
fn an_idle_connection_is_closed_without_a_word_and_a_slow_call_is_not_idle() {
    let brief = Duration::from_secs(1);
    let rig = Setup {
        limits: Limits { header_timeout: brief, idle_timeout: brief, ..Limits::default() },
        ..Setup::to(
            Script::start(move |mut wire, _| {
                wire.message();
                std::thread::sleep(brief + Duration::from_millis(500));
                wire.send(CHUNKED);
                wire.chunk("one");
                std::thread::sleep(brief + Duration::from_millis(500));
                wire.chunk("two");
                wire.send("0\r\n\r\n");
            })
            .addr,
        )
    }
    .start();
    let mut wire = rig.connect();
    wire.send("POST /v1/chat/completions HTTP/1.1\r\nHost: gw\r\nContent-Length: 4\r\n\r\n");
    for byte in ["a", "b", "c", "d"] {
        std::thread::sleep(brief / 2);
        wire.send(byte); // 2 s for the body: it is no head
    }
    let answer = wire.message();
    assert_eq!((answer.status(), answer.broken, &answer.body[..]), (200, false, &b"onetwo"[..]));
    let began = Instant::now();
    wire.closed();
    assert!(began.elapsed() >= brief / 2, "it may wait for a request before it is idle for too long");
    let mut silent = rig.connect();
    silent.closed();
    eventually("both are counted", || rig.met(Limit::IdleTimeout) == 2);
    assert_eq!(rig.met(Limit::HeaderTimeout), 0);
}

#[test]
fn a_head_that_is_too_large_or_has_too_many_fields_gets_431() {
    let rig = rig(Limits { header_bytes: 16 << 10, headers: 100, ..Limits::default() });
    let of = |bytes: usize, fields: usize| {
        let mut head = "GET /v1/models HTTP/1.1\r\nHost: gw\r\n".to_owned();
        (0..fields - 2).for_each(|n| head.push_str(&format!("X-{n}: y\r\n")));
        let pad = bytes.saturating_sub(head.len() + "X-Pad: \r\n\r\n".len());
        format!("{head}X-Pad: {}\r\n\r\n", "z".repeat(pad))
    };
    for (bytes, fields, status) in [
        (15 << 10, 3, 200),
        ((16 << 10) + 1, 3, 431),
        (1 << 20, 3, 431),
        (0, 100, 200),
        (0, 101, 431),
        (0, 900, 431),
    ] {
        let mut wire = rig.connect();
        let _ = wire.tcp.write_all(of(bytes, fields).as_bytes()); // closed before the end, perhaps
        let answer = wire.message();
        assert_eq!(answer.status(), status, "{bytes} bytes, {fields} fields");
        // Sent byte by byte it ends as well.
        if bytes < 1 << 20 {
            let mut wire = rig.connect();
            for piece in of(bytes, fields).as_bytes().chunks(1000) {
                let _ = wire.tcp.write_all(piece);
            }
            assert_eq!(wire.message().status(), status, "{bytes} bytes in pieces, {fields} fields");
        }
    }
    // What a connection ended with is counted behind its last answer.
    eventually("each is counted", || (rig.met(Limit::HeaderBytes), rig.met(Limit::Headers)) == (3, 4));
    assert_eq!(rig.send(post("{}")).message().status(), 200);
    rig.heard.calls(1);
}

#[test]
fn other_bounds_of_heads_are_kept_too() {
    let rig = rig(Limits { header_bytes: 256 << 10, headers: 300, ..Limits::default() });
    for (fields, bytes, status) in [(299, 200, 200), (301, 1, 431), (10, 20_000, 200), (10, 30_000, 431)] {
        let mut head = "GET /v1/models HTTP/1.1\r\nHost: gw\r\n".to_owned();
        (0..fields - 1).for_each(|n| head.push_str(&format!("X-{n}: {}\r\n", "y".repeat(bytes))));
        let mut wire = rig.connect();
        let _ = wire.tcp.write_all(format!("{head}\r\n").as_bytes());
        assert_eq!(wire.message().status(), status, "{fields} fields of {bytes} bytes");
    }
}

#[test]
fn connections_beyond_the_limit_wait_until_one_ends() {
    for threads in [1, 2] {
        let limits = Limits { connections: 3, ..Limits::default() };
        let rig = Setup { limits, threads, ..Setup::to(prompt().addr) }.start();
        let mut open: Vec<Wire> = (0..3).map(|_| rig.send(post("{}"))).collect();
        open.iter_mut().for_each(|wire| assert_eq!(wire.message().status(), 200));
        let mut waiting = rig.send(post("{}"));
        eventually("it has to wait", || rig.met(Limit::Connections) == 1);
        waiting.tcp.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
        assert!(waiting.tcp.peek(&mut [0]).is_err(), "no answer while all places are taken");
        open[0].send(post("{}"));
        assert_eq!(open[0].message().status(), 200, "those that are in are served");
        open.pop().unwrap().close();
        waiting.tcp.set_read_timeout(Some(PATIENCE)).unwrap();
        assert_eq!(waiting.message().status(), 200);
        rig.heard.calls(5);
    }
}

#[test]
fn calls_beyond_the_limit_get_503_and_leave_no_trace() {
    let (script, release) = held();
    let rig =
        Setup { limits: Limits { in_flight: 2, ..Limits::default() }, threads: 2, ..Setup::to(script.addr) }
            .start();
    let mut running = [rig.send(post("{}")), rig.send("GET /v1/models HTTP/1.1\r\nHost: gw\r\n\r\n")];
    eventually("both are at the service", || script.connections() == 2);
    let mut wire = rig.connect();
    for n in 1..=3 {
        wire.send(post("{}"));
        let answer = wire.message();
        assert_eq!((answer.status(), answer.fields("retry-after")), (503, vec!["1"]));
        assert!(String::from_utf8(answer.body).unwrap().contains(r#""code":"too_many_calls""#));
        assert_eq!(rig.met(Limit::InFlight), n);
    }
    release.send(()).unwrap();
    release.send(()).unwrap();
    running.iter_mut().for_each(|wire| assert_eq!(wire.message().status(), 200));
    release.send(()).unwrap();
    eventually("there is room again", || {
        wire.send(post("{}"));
        wire.message().status() == 200
    });
    assert!(script.connections() <= 3, "no refused call came to the service"); // each thread has its own pool
    rig.heard.calls(2); // the POST before and the POST after; a GET has no event
}

#[test]
fn a_stream_and_a_tunnel_hold_their_place_until_they_end() {
    let (release, released) = channel::<()>();
    let released = Mutex::new(released);
    let script = Script::start(move |mut wire, _| {
        let message = wire.message();
        if message.head.to_lowercase().contains("upgrade: websocket") {
            wire.send(
                "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n",
            );
            wire.rest();
            return;
        }
        wire.send(CHUNKED);
        wire.chunk("data: one\n\n");
        let _ = released.lock().unwrap().recv();
        wire.send("0\r\n\r\n");
    });
    let rig =
        Setup { limits: Limits { in_flight: 1, ..Limits::default() }, ..Setup::to(script.addr) }.start();
    let refused = || rig.send(post("{}")).message().status() == 503;
    let mut stream = rig.send(post("{}"));
    stream.head();
    stream.read_chunks(11);
    assert!(refused());
    release.send(()).unwrap();
    assert_eq!(stream.read_chunk(), Some(Vec::new()));
    let mut tunnel = None;
    eventually("the stream has left", || {
        let mut wire = rig.send(
            "GET /openai/realtime HTTP/1.1\r\nHost: gw\r\nConnection: upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n",
        );
        let switched = wire.bodiless().status() == 101;
        tunnel = Some(wire);
        switched
    });
    eventually("the tunnel runs", refused);
    for _ in 0..20 {
        assert!(refused());
    }
    tunnel.unwrap().close();
    release.send(()).unwrap();
    eventually("the tunnel has left", || !refused());
}

/// `--max-headers` holds for answers too, and the log says what an answer failed of.
#[test]
fn an_answer_may_have_as_many_fields_as_a_request() {
    crate::log_lines::collect();
    let script = Script::start(|mut wire, _| {
        let count: usize = wire.message().fields("x-count")[0].parse().unwrap();
        let fields: String = (0..count - 1).map(|n| format!("X-{n}: v\r\n")).collect();
        wire.send(format!("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n{fields}\r\n{{}}"));
    });
    for (name, headers, count, status) in [
        ("fields-usual", 100, 100, 200),
        ("fields-over", 100, 101, 502),
        ("fields-more", 300, 300, 200),
        ("fields-more-over", 300, 301, 502),
        ("fields-few", 20, 21, 502),
    ] {
        let limits = Limits { headers, ..Limits::default() };
        let upstreams = vec![(Some(name), format!("http://{}", script.addr))];
        let rig = Setup { limits, ..Setup::urls(upstreams) }.start();
        let head = format!(
            "POST /{name}/v1/chat/completions HTTP/1.1\r\nHost: gw\r\nX-Count: {count}\r\nContent-Length: 0\r\n\r\n"
        );
        let got = rig.send(head).message();
        assert_eq!(got.status(), status, "{name}");
        let usage = rig.heard.calls(1).remove(0).usage;
        let lines = crate::log_lines::of_upstream(name);
        if status == 200 {
            assert_eq!(got.fields(&format!("x-{}", count - 2)), ["v"], "{name}");
            assert!(lines.is_empty(), "{lines:?}");
            continue;
        }
        assert_eq!(usage.stream.outcome, metering::usage::Outcome::UpstreamError, "{name}");
        assert_eq!(lines.len(), 1, "{lines:?}");
        assert_eq!(
            (&lines[0]["setting"], &lines[0]["limit"]),
            (&"max-headers".into(), &headers.into()),
            "{name}"
        );
    }
}
