//! The end under load: SIGTERM with more than 50 streams running, with the broker there and away.

use std::io::Write;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use super::http::{connect, get, post, read_message};
use super::mixed::{self, Call, Load, MIXED, Service, Signs};
use super::oracle::{End, Oracle};
use super::random::Random;
use super::sidecar::{Sidecar, event_lines, left, verified, wait_for};
use super::topic::Topic;

const STREAMS: usize = 56;
/// By then streams of every kind run.
const UNDER_WAY: Duration = Duration::from_millis(1_500);
/// A caller that is about to begin a call has begun it by then.
const SETTLED_DOWN: Duration = Duration::from_millis(300);
/// What the end may take beyond what it waits for, on a busy machine.
const PROMPT: Duration = Duration::from_secs(5);

/// Runs load until it is under way, then `end`, which ends the sidecar while the load runs on.
/// `broken`: calls may break by it.
fn under_load(
    service: &Service,
    sidecar: &Sidecar,
    name: &str,
    random: &mut Random,
    broken: bool,
    end: impl FnOnce(),
) -> Vec<Call> {
    let signs = Signs::default();
    let load = Load { addr: sidecar.addr, streams: STREAMS, name, kinds: &MIXED };
    let calls = mixed::run(&load, random, &signs, || {
        std::thread::sleep(UNDER_WAY);
        Signs::set(if broken { &signs.broken } else { &signs.stop });
        std::thread::sleep(SETTLED_DOWN);
        end();
    });
    assert!(calls.len() >= STREAMS && !service.is_idle(), "there was load");
    calls
}

/// Readiness goes off and the port closes while streams still run.
fn is_told_at_once(sidecar: &Sidecar) {
    wait_for("readiness to go off", || (get(sidecar.admin, "/readyz").status() == 503).then_some(()));
    wait_for("the port to close", || TcpStream::connect(sidecar.addr).is_err().then_some(()));
    assert_eq!(get(sidecar.admin, "/livez").status(), 200);
    assert!(sidecar.ended().is_none(), "streams run still");
}

/// A JSON call on a connection that was open before the end began: answered, and the last one.
fn is_answered_and_closed(connection: &mut std::io::BufReader<TcpStream>, request: &[u8]) {
    connection.get_mut().write_all(request).unwrap();
    let answer = read_message(connection).unwrap().expect("an answer");
    assert_eq!((answer.status(), answer.field("connection")), (200, Some("close")));
    assert!(read_message(connection).unwrap().is_none(), "and the connection closes");
}

#[test]
fn case_51_streams_end_and_everything_is_delivered() {
    let mut random = Random::new("SIGTERM");
    let (service, topic, dir) = (Service::start(), Topic::start(), tempfile::tempdir().unwrap());
    let ledger = dir.path().join("ledger");
    let sidecar = Sidecar::start(service.addr, &ledger, &topic.flags());
    // Connections that nobody uses any more, and one whose next request comes late.
    let _unused: Vec<_> = (0..3).map(|_| connect(sidecar.addr)).collect();
    let mut kept = connect(sidecar.addr);
    let late = |n: usize| {
        let id = format!("late-{n}.Json");
        let fields = [("x-ms-client-request-id", id.as_str()), ("x-apim-subscription-id", "late")];
        post("/openai/deployments/d/chat/completions", &fields, mixed::JSON_BODY)
    };
    kept.get_mut().write_all(&late(0)).unwrap();
    assert_eq!(read_message(&mut kept).unwrap().unwrap().status(), 200);
    let calls = under_load(&service, &sidecar, "end", &mut random, false, || {
        sidecar.terminate();
        is_told_at_once(&sidecar);
        is_answered_and_closed(&mut kept, &late(1));
    });
    assert!(calls.iter().all(|call| call.ended.is_some()), "every stream ended as it would have");
    let last = calls.iter().filter_map(|call| call.ended).max().unwrap();
    let (code, log) = sidecar.wait();
    assert!(last.elapsed() < PROMPT, "idle connections held up the end: {:?}", last.elapsed());
    assert_eq!(code, Some(0), "{log:?}");
    let mut oracle = Oracle::default();
    oracle.add(calls, &service, End::Stopped);
    for n in 0..2 {
        oracle.add(vec![Call::whole(&format!("late-{n}.Json"), "late")], &service, End::Stopped);
    }
    let lines = event_lines(&ledger);
    let found = oracle.check(&lines);
    assert_eq!(found.without_event, 0);
    topic.holds_lines(&lines);
    println!(
        "{} calls, {:?}, ended {:?} after the last stream",
        oracle.len(),
        found.outcomes,
        last.elapsed()
    );
}

#[test]
fn replicas_end_one_after_the_other_with_and_without_a_broker() {
    let mut random = Random::new("rolling");
    let (service, topic, dir) = (Service::start(), Topic::start(), tempfile::tempdir().unwrap());
    let mut flags = topic.flags().to_vec();
    flags.extend(["--drain-timeout", "100ms", "--flush-timeout", "4s"]);
    let ledgers: Vec<_> = (0..3).map(|n| dir.path().join(format!("ledger-{n}"))).collect();
    let mut replicas: Vec<_> =
        ledgers.iter().map(|ledger| Sidecar::start(service.addr, ledger, &flags)).collect();
    let mut lines = Vec::new();
    for (n, ledger) in ledgers.iter().enumerate() {
        let away = n == 1;
        if away {
            topic.cluster().broker_down(1).unwrap();
        }
        let sidecar = replicas.remove(0);
        let mut began = Instant::now();
        let calls = under_load(&service, &sidecar, &format!("replica{n}"), &mut random, true, || {
            began = Instant::now();
            sidecar.terminate();
        });
        let (code, log) = sidecar.wait();
        let left = if away { left(&log, ledger) } else { 0 };
        assert!(began.elapsed() < Duration::from_secs(4) + PROMPT, "{:?}", began.elapsed());
        assert_eq!(code, Some(i32::from(away)), "replica {n}: {log:?}");
        let mut oracle = Oracle::default();
        oracle.add(calls, &service, End::BrokenOff(began));
        verified(ledger);
        let stored = event_lines(ledger);
        let found = oracle.check(&stored);
        assert!(found.count("shutdown") >= STREAMS / 4, "{:?}", found.outcomes);
        if away {
            // Nothing was delivered since the broker went.
            assert!(left >= found.count("shutdown") as u64 && left <= stored.len() as u64);
            topic.cluster().broker_up(1).unwrap();
            let (code, log) = Sidecar::start(service.addr, ledger, &topic.flags()).stop();
            assert_eq!(code, Some(0), "the next start delivers the rest: {log:?}");
        }
        println!("replica {n}: exit {code:?}, {left} left, {:?}", found.outcomes);
        lines.extend(event_lines(ledger));
    }
    topic.holds_lines(&lines);
}

#[test]
fn a_second_signal_ends_at_once_and_loses_no_more_than_kill_9() {
    let mut random = Random::new("second signal");
    let (service, topic, dir) = (Service::start(), Topic::start(), tempfile::tempdir().unwrap());
    let ledger = dir.path().join("ledger");
    let sidecar = Sidecar::start(service.addr, &ledger, &topic.flags());
    let mut ended = None;
    let calls = under_load(&service, &sidecar, "twice", &mut random, true, || {
        sidecar.terminate();
        is_told_at_once(&sidecar);
        let before = Instant::now();
        sidecar.terminate();
        wait_for("it to end", || sidecar.ended());
        ended = Some((before, Instant::now()));
    });
    let (before, after) = ended.unwrap();
    assert!(after - before < PROMPT, "at once: {:?}", after - before);
    assert_eq!(sidecar.wait().0, Some(1));
    let (code, log) = Sidecar::start(service.addr, &ledger, &topic.flags()).stop();
    assert_eq!(code, Some(0), "{log:?}");
    let mut oracle = Oracle::default();
    oracle.add(calls, &service, End::Killed(before, after));
    let lines = event_lines(&ledger);
    let found = oracle.check(&lines);
    assert!(found.count("crashed") > 0, "{:?}", found.outcomes);
    topic.holds_lines(&lines);
}
