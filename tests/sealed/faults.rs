//! Whatever fails behind them, streams are untouched, usage is right, what is kept is a prefix, and what is lost is
//! counted.

use std::sync::atomic::AtomicBool;
use std::time::Duration;

use serde_json::Value;

use super::callers::{Found, Heard, call_for, call_small_for, call_until, check, make_call, unharmed};
use super::calls::{Call, Kind, service};
use super::rig::Rig;
use super::shim::{Control, ENOSPC, Shim};
use super::support::auditor::{Auditor, Contents, spooled};
use super::support::forwarder::{Forwarder, Mode};
use super::support::http::{connect, exchange, get, post};
use super::support::random::Random;
use super::support::sidecar::{Sidecar, verified};
use super::support::skip::long;
use super::support::{eventually, wait_for};
use super::topic::ContentTopic;

const CALLERS: usize = 12;
const TIME: Duration = Duration::from_secs(3);

/// Stops a sidecar in peace and holds all that it kept against what its callers saw.
fn stopped(rig: &Rig, sidecar: Sidecar, heard: &[Heard]) -> (Found, Contents, Vec<String>) {
    unharmed(heard);
    let (code, log) = sidecar.stop();
    assert_eq!(code, Some(0), "{log:?}");
    let (events, contents) = (rig.usage_events(), rig.contents());
    let found = check(heard, &events, &contents);
    println!("{found:?}, {} parts, {} lost behind their events", contents.parts, contents.lost_parts());
    assert_eq!(found.calls, heard.len() as u64, "each call has its event");
    verified(&rig.ledger());
    (found, contents, log)
}

/// Requests that were refused for this reason, as the metrics tell.
fn refused_for(sidecar: &Sidecar, reason: &str) -> u64 {
    let metrics = String::from_utf8(get(sidecar.admin, "/metrics").body).unwrap();
    let series = format!("tokenweir_requests_refused_total{{reason=\"{reason}\"}} ");
    let count = metrics.lines().find_map(|line| line.strip_prefix(&series));
    count.unwrap_or_else(|| panic!("no {series}")).parse().unwrap()
}

#[test]
fn a_spool_that_is_full_takes_no_more_and_says_so() {
    let rig = Rig::new(service());
    let mut random = Random::new("full spool");
    let sidecar = rig.start(&["--capture-spool-max-bytes", "16MiB"]);
    let mut heard = Vec::new();
    let full = |metrics: &str| metrics.lines().any(|line| line == "tokenweir_capture_degraded 1");
    while !full(&String::from_utf8(get(sidecar.admin, "/metrics").body).unwrap()) {
        heard.extend(call_for(sidecar.addr, CALLERS, &mut random, TIME));
    }
    heard.extend(call_for(sidecar.addr, CALLERS, &mut random, TIME));
    let (found, contents, log) = stopped(&rig, sidecar, &heard);
    assert!(found.missing_parts > 0, "nothing was lost, so nothing is shown");
    assert_eq!(found.missing_parts, contents.lost_parts(), "each part that is missing is counted");
    assert!(log.iter().any(|line| line.contains("capture")), "the log says so");
}

#[test]
fn no_record_no_call_refuses_before_the_service_is_asked() {
    let rig = Rig::new(service());
    let mut random = Random::new("no record, no call");
    let sidecar = rig.start(&["--capture-spool-max-bytes", "16MiB", "--on-capture-failure", "reject"]);
    let mut heard = Vec::new();
    let refused = wait_for("a refusal", || {
        heard.extend(call_for(sidecar.addr, CALLERS, &mut random, TIME));
        let call = Call::of(&Call::name(Kind::Whole, random.next() >> 16));
        let fields = [("x-ms-client-request-id", call.name.as_str())];
        let body = std::str::from_utf8(&call.request).unwrap();
        let answer = exchange(
            &mut connect(sidecar.addr),
            &post("/openai/deployments/d/chat/completions", &fields, body),
        );
        (answer.status() == 503).then_some(answer)
    });
    assert!(refused.field("retry-after").is_some(), "{}", refused.head);
    let error: Value = serde_json::from_slice(&refused.body).unwrap();
    assert_eq!(error["error"]["code"], "capture_unavailable");
    assert!(refused_for(&sidecar, "capture_unavailable") >= 1, "each refusal is counted");
    let (_, log) = sidecar.stop();
    unharmed(&heard);
    assert!(log.iter().any(|line| line.contains("capture")), "the log says so");
}

/// A WebSocket is not captured, so where there is no call without a record there is none.
#[test]
fn no_record_no_session() {
    let rig = Rig::new(service());
    let sidecar = rig.start(&["--on-capture-failure", "reject"]);
    let upgrade = "GET /openai/v1/realtime?model=gpt-realtime HTTP/1.1\r\nHost: gateway\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
    let answer = exchange(&mut connect(sidecar.addr), upgrade.as_bytes());
    assert_eq!((answer.status(), answer.field("retry-after")), (503, None), "{}", answer.head);
    let error: Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!(error["error"]["code"], "capture_unavailable");
    let refused = ["session_uncaptured", "capture_unavailable"].map(|reason| refused_for(&sidecar, reason));
    assert_eq!(refused, [1, 0]);
}

#[test]
fn a_disk_that_is_full_for_a_while_costs_what_is_counted() {
    let rig = Rig::new(service());
    let spool = rig.dir.path().join("spool");
    let Some(shim) = Shim::new(rig.dir.path(), &spool) else { return };
    let mut random = Random::new("full disk");
    let sidecar = rig.start_in(&["--capture-dir", spool.to_str().unwrap()], &shim.environment());
    let mut heard = call_for(sidecar.addr, CALLERS, &mut random, TIME);
    shim.set(Control::WriteErrno, ENOSPC);
    heard.extend(call_for(sidecar.addr, CALLERS, &mut random, TIME));
    shim.set(Control::WriteErrno, 0);
    heard.extend(call_for(sidecar.addr, CALLERS, &mut random, TIME));
    assert!(shim.get(Control::Faults) > 0, "the disk has failed");
    unharmed(&heard);
    let (code, log) = sidecar.stop();
    assert_eq!(code, Some(0), "{log:?}");
    let contents = Contents::open(&[&rig.auditor], spooled(&spool));
    let found = check(&heard, &rig.usage_events(), &contents);
    println!("{found:?}, {} parts, {} lost behind their events", contents.parts, contents.lost_parts());
    assert_eq!(found.missing_parts, contents.lost_parts(), "each part that is missing is counted");
    verified(&rig.ledger());
}

/// Memory for one large prompt, and many of them at once.
#[test]
fn a_memory_that_is_full_cuts_and_says_so() {
    let rig = Rig::new(service());
    let mut random = Random::new("full memory");
    let sidecar = rig.start(&["--capture-memory", "1MiB"]);
    let heard: Vec<Heard> = std::thread::scope(|scope| {
        let calls: Vec<_> = (0..24)
            .map(|n| {
                Call::of(&Call::name([Kind::LargeRequest, Kind::LargeResponse][n % 2], random.next() >> 16))
            })
            .collect();
        let callers: Vec<_> =
            calls.into_iter().map(|call| scope.spawn(move || make_call(sidecar.addr, &call))).collect();
        callers.into_iter().filter_map(|caller| caller.join().unwrap()).collect()
    });
    let (found, contents, _) = stopped(&rig, sidecar, &heard);
    assert!(found.truncated + found.lost > 0, "there was room for all: nothing is shown");
    assert_eq!(found.missing_parts, contents.lost_parts());
}

/// Of one side no more is kept than is allowed, and the record says that there was more.
#[test]
fn a_side_that_is_too_long_is_truncated_and_says_so() {
    let rig = Rig::new(service());
    let sidecar = rig.start(&["--capture-max-bytes", "256KiB"]);
    let call = Call::of(&Call::name(Kind::LargeResponse, 7));
    let heard = [make_call(sidecar.addr, &call).unwrap()];
    let (found, contents, _) = stopped(&rig, sidecar, &heard);
    let id = rig.usage_events()[0]["id"].as_str().unwrap().to_owned();
    let side = contents.side(&id, "response");
    assert_eq!((found.truncated, side.bytes.len(), side.is_truncated), (1, 256 << 10, true));
}

#[test]
fn a_broker_that_is_away_is_waited_for() {
    let away = Duration::from_secs(if long() { 20 } else { 5 });
    let topic = ContentTopic::embedded();
    let rig = Rig::new(service());
    let mut random = Random::new("broker away");
    let forwarder = Forwarder::new(&topic.servers);
    let servers = forwarder.addr();
    let sidecar = rig.start(&topic.flags(&servers));
    let mut heard = call_small_for(sidecar.addr, CALLERS, &mut random, TIME);
    forwarder.set(Mode::Refuse);
    heard.extend(call_small_for(sidecar.addr, CALLERS, &mut random, away));
    forwarder.set(Mode::Pass);
    heard.extend(call_small_for(sidecar.addr, CALLERS, &mut random, TIME));
    unharmed(&heard);
    let (code, log) = sidecar.stop();
    assert_eq!(code, Some(0), "nothing is left to deliver: {log:?}");
    eventually("the last control event", || topic.has_ended(1));
    let contents = Contents::open(&[&rig.auditor], topic.events());
    let found = check(&heard, &rig.usage_events(), &contents);
    println!("{found:?}, {} parts in {} messages", contents.parts, topic.lines().len());
    assert_eq!((found.calls, found.full), (heard.len() as u64, 2 * heard.len() as u64));
    assert_eq!((found.missing_full, found.missing_parts, contents.lost_parts()), (0, 0, 0));
    assert_eq!(spooled(&rig.ledger()).len(), 0, "what is delivered is gone from the spool");
    verified(&rig.ledger());
}

/// Keys are added and taken away while streams run, and a file that makes no sense changes nothing.
#[test]
fn keys_change_in_the_middle_of_streams() {
    let rig = Rig::new(service());
    let mut random = Random::new("keys");
    let second = Auditor::new(rig.dir.path(), "second");
    let (first, both) = (std::fs::read(&rig.auditor.public_file).unwrap(), |first: &[u8]| {
        [first, &std::fs::read(&second.public_file).unwrap()].concat()
    });
    let sidecar = rig.start(&[]);
    let put = |bytes: &[u8]| {
        let new = rig.dir.path().join("new");
        std::fs::write(&new, bytes).unwrap();
        std::fs::rename(new, &rig.auditor.public_file).unwrap();
        sidecar.hang_up();
    };
    let said = |word: &str| {
        sidecar.log().iter().filter(|line| line.contains("capture-key-file") && line.contains(word)).count()
    };
    let mut heard = Vec::new();
    for (step, (bytes, word)) in [
        (both(&first), "read again"),
        (b"no key".to_vec(), "cannot be read again"),
        (std::fs::read(&second.public_file).unwrap(), "read again"),
    ]
    .into_iter()
    .enumerate()
    {
        let before = said(word);
        heard.extend(call_until(sidecar.addr, CALLERS, &mut random, &AtomicBool::new(false), || {
            std::thread::sleep(TIME / 3);
            put(&bytes);
            eventually("the keys to be looked at", || said(word) > before);
            std::thread::sleep(TIME / 3);
        }));
        println!("step {step}: {} calls", heard.len());
    }
    unharmed(&heard);
    let (code, log) = sidecar.stop();
    assert_eq!(code, Some(0), "{log:?}");
    let events = spooled(&rig.ledger());
    let parts: Vec<&Value> = events.iter().filter(|event| event["data"]["part"].is_u64()).collect();
    let readable = |auditor: &Auditor| parts.iter().filter(|part| auditor.open(part).is_ok()).count();
    let (by_first, by_second) = (readable(&rig.auditor), readable(&second));
    assert!(
        by_first > 0 && by_second > 0 && by_first < parts.len() && by_second < parts.len(),
        "{by_first} and {by_second} of {}",
        parts.len()
    );
    assert!(by_first + by_second > parts.len(), "some are for both");
    let contents = Contents::open(&[&rig.auditor, &second], events.iter().cloned());
    let found = check(&heard, &rig.usage_events(), &contents);
    assert_eq!((found.full, found.missing_full, found.missing_parts), (2 * heard.len() as u64, 0, 0));
}
