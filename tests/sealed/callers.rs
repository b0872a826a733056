//! Callers, and what must have been captured of their calls.

use std::collections::HashMap;
use std::io::Write;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::calls::{Call, KINDS, Kind, NAME, SMALL_KINDS};
use super::support::auditor::{Contents, OpenedSide};
use super::support::http::{post, read_chunk, read_head, try_connect};
use super::support::random::Random;

/// A call as its caller saw it.
pub(crate) struct Heard {
    pub(crate) name: String,
    /// The bytes of the response that came.
    pub(crate) response: Vec<u8>,
    /// All of it came, as its framing says.
    pub(crate) is_whole: bool,
    /// When the last of it came.
    pub(crate) at: Instant,
}

/// Makes one call and reads what comes, to its end or to where this caller leaves.
pub(crate) fn make_call(addr: SocketAddr, call: &Call) -> Option<Heard> {
    let mut connection = try_connect(addr).ok()?;
    let body = std::str::from_utf8(&call.request).unwrap();
    let fields = [(NAME, call.name.as_str()), ("x-apim-subscription-id", "team-a")];
    let request = post("/openai/deployments/d/chat/completions?api-version=2024-10-21", &fields, body);
    connection.get_mut().write_all(&request).ok()?;
    let head = read_head(&mut connection).ok()??;
    let mut heard =
        Heard { name: call.name.clone(), response: Vec::new(), is_whole: false, at: Instant::now() };
    if head.status() != 200 {
        return None;
    }
    if let Some(length) = head.field("content-length") {
        let mut rest = std::io::Read::take(connection, length.parse().unwrap());
        heard.is_whole =
            std::io::Read::read_to_end(&mut rest, &mut heard.response).is_ok_and(|_| rest.limit() == 0);
        heard.at = Instant::now();
        return Some(heard);
    }
    let mut pieces = 0;
    while call.kind != Kind::HangUp || pieces < call.half() {
        match read_chunk(&mut connection) {
            Ok(Some(chunk)) => heard.response.extend(chunk),
            Ok(None) => {
                heard.is_whole = true;
                break;
            }
            Err(_) => break,
        }
        heard.at = Instant::now();
        pieces += 1;
    }
    Some(heard)
}

/// Callers side by side, each with one call after the other of any kind, until they are told to stop.
pub(crate) fn call_until(
    addr: SocketAddr,
    callers: usize,
    random: &mut Random,
    stop: &AtomicBool,
    meanwhile: impl FnOnce(),
) -> Vec<Heard> {
    call_kinds_until(&KINDS, addr, callers, random, stop, meanwhile)
}

/// The same with these kinds alone.
pub(crate) fn call_kinds_until(
    kinds: &[Kind],
    addr: SocketAddr,
    callers: usize,
    random: &mut Random,
    stop: &AtomicBool,
    meanwhile: impl FnOnce(),
) -> Vec<Heard> {
    std::thread::scope(|scope| {
        let callers: Vec<_> = (0..callers)
            .map(|_| random.fork())
            .map(|mut random| {
                scope.spawn(move || {
                    let mut heard = Vec::new();
                    while !stop.load(Ordering::Relaxed) {
                        let kind = kinds[random.below(kinds.len())];
                        let call = Call::of(&Call::name(kind, random.next() >> 16));
                        heard.extend(make_call(addr, &call));
                    }
                    heard
                })
            })
            .collect();
        meanwhile();
        stop.store(true, Ordering::Relaxed);
        callers.into_iter().flat_map(|caller| caller.join().unwrap()).collect()
    })
}

/// The same for a while.
pub(crate) fn call_for(addr: SocketAddr, callers: usize, random: &mut Random, time: Duration) -> Vec<Heard> {
    call_until(addr, callers, random, &AtomicBool::new(false), || std::thread::sleep(time))
}

/// The same with calls whose content is small.
pub(crate) fn call_small_for(
    addr: SocketAddr,
    callers: usize,
    random: &mut Random,
    time: Duration,
) -> Vec<Heard> {
    let (stop, meanwhile) = (AtomicBool::new(false), || std::thread::sleep(time));
    call_kinds_until(&SMALL_KINDS, addr, callers, random, &stop, meanwhile)
}

/// No stream was harmed: each caller got what its call's name says, byte for byte, and all of it unless it left or
/// the service broke off.
pub(crate) fn unharmed(heard: &[Heard]) {
    for heard in heard {
        let call = Call::of(&heard.name);
        assert!(call.response().starts_with(&heard.response), "{}: other bytes", heard.name);
        let breaks_off = matches!(call.kind, Kind::HangUp | Kind::Cut);
        assert!(
            breaks_off || (heard.is_whole && heard.response.len() == call.response().len()),
            "{}: cut",
            heard.name
        );
    }
}

/// The findings on the calls' content.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Found {
    pub(crate) calls: u64,
    /// Sides that say that they are full, ..
    pub(crate) full: u64,
    /// .. truncated, ..
    pub(crate) truncated: u64,
    /// .. lost, ..
    pub(crate) lost: u64,
    /// .. or of a call that crashed.
    pub(crate) partial: u64,
    /// Sides that say that they are full, and whose parts are not all there.
    pub(crate) missing_full: u64,
    /// Parts that usage events tell of and that are not there.
    pub(crate) missing_parts: u64,
}

/// Holds what was captured against the truth. Whatever happened, what is kept of a side is a prefix of what passed and
/// its usage event tells no lie; how much is missing is counted.
pub(crate) fn check(heard: &[Heard], events: &[Value], contents: &Contents) -> Found {
    let mut found = Found::default();
    let heard: HashMap<&str, &Heard> = heard.iter().map(|heard| (heard.name.as_str(), heard)).collect();
    for event in events {
        let name = event["data"]["ids"]["client_request_id"].as_str().unwrap();
        let (call, id) = (Call::of(name), event["id"].as_str().unwrap());
        let capture = &event["data"]["capture"];
        let (request, response) = (contents.side(id, "request"), contents.side(id, "response"));
        let parts = request.parts + response.parts;
        found.calls += 1;
        let state = |side: &str| capture[side].as_str().unwrap_or_else(|| panic!("{name}: {event}"));
        hold(&mut found, name, state("request"), &request, &call.request, call.request.len());
        let got = heard.get(name).map_or(0, |heard| heard.response.len());
        hold(&mut found, name, state("response"), &response, &call.response(), got);
        if let Some(told) = capture["parts"].as_u64() {
            assert!(parts <= told, "{name}: {parts} parts, and {capture}");
            found.missing_parts += told - parts;
        }
    }
    found
}

/// `passed_min` bytes have passed at least.
fn hold(found: &mut Found, name: &str, state: &str, side: &OpenedSide, truth: &[u8], passed_min: usize) {
    assert!(!side.has_hole, "{name}: a hole");
    assert!(truth.starts_with(&side.bytes), "{name}: what is kept is no prefix of what passed");
    match state {
        "full" => {
            found.full += 1;
            let is_there = (side.is_ended || passed_min == 0) && side.bytes.len() >= passed_min;
            assert!(!side.is_ended || is_there, "{name}: it ends before what passed");
            assert!(!side.is_truncated, "{name}: it is full, and it is not");
            found.missing_full += u64::from(!is_there);
        }
        "truncated" => {
            found.truncated += 1;
            assert!(!side.is_ended || side.is_truncated, "{name}: it looks whole");
        }
        "lost" => {
            found.lost += 1;
            assert_eq!(side.parts, 0, "{name}: it is lost, and it is there");
        }
        "partial" => found.partial += 1,
        other => panic!("{name}: {other}"),
    }
}
