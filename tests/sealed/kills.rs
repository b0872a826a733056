//! `kill -9` at random times under calls of every kind, again and again on one ledger and one spool. No stream that is
//! over was harmed, no usage event tells a lie, and of the content no more is gone than the last seconds.
//!
//! The run of every day kills 6 times, `TOKENWEIR_LONG=1` 50 times.

use std::collections::HashSet;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use super::callers::{call_kinds_until, check};
use super::calls::{Kind, service};
use super::rig::Rig;
use super::support::random::Random;
use super::support::sidecar::verified;
use super::support::skip::long;

/// Content that a busy machine can seal and store as it comes: what waits longer than the window says is what comes faster.
const KINDS: [Kind; 8] = [
    Kind::Stream,
    Kind::CodedStream,
    Kind::Whole,
    Kind::HangUp,
    Kind::Cut,
    Kind::Stream,
    Kind::Whole,
    Kind::LargeRequest,
];

const KILLS: usize = 6;
const KILLS_LONG: usize = 50;
const CALLERS: usize = 12;
const LIFE_MIN: Duration = Duration::from_millis(300);
const LIFE_MAX: Duration = Duration::from_secs(4);
/// So some calls are over for longer than the window and a busy machine take.
const LAST_LIFE: Duration = Duration::from_secs(8);

/// What a dying process may take with it of calls that were over: what waits to be sealed and stored. `docs/capture.md`
/// says so.
const WINDOW: Duration = Duration::from_secs(1);
/// Beside that, what a busy machine takes.
const BUSY: Duration = Duration::from_secs(3);

#[test]
fn no_more_is_lost_than_the_last_moments() {
    let rig = Rig::new(service());
    let mut random = Random::new("kill -9 under the seal");
    let mut heard = Vec::new();
    let mut deaths = Vec::new();
    let kills = if long() { KILLS_LONG } else { KILLS };
    for kill in 1..=kills {
        let sidecar = rig.start(&[]);
        let life = if kill == kills { LAST_LIFE } else { random.time(LIFE_MIN, LIFE_MAX) };
        let (addr, stop) = (sidecar.addr, AtomicBool::new(false));
        heard.extend(call_kinds_until(&KINDS, addr, CALLERS, &mut random, &stop, || {
            std::thread::sleep(life);
            // The callers go on until they see it.
            let (before, _) = sidecar.kill();
            deaths.push(before);
        }));
    }
    let (code, log) = rig.start(&[]).stop();
    assert_eq!(code, Some(0), "{log:?}");
    let (events, contents) = (rig.usage_events(), rig.contents());
    let found = check(&heard, &events, &contents);
    // What was over for a while before the death of its process is all there.
    let old = |at: Instant| {
        deaths.iter().find(|death| **death >= at).is_none_or(|death| *death - at > WINDOW + BUSY)
    };
    let settled: HashSet<&str> = heard
        .iter()
        .filter(|heard| heard.is_whole && old(heard.at))
        .map(|heard| heard.name.as_str())
        .collect();
    let of_settled = events
        .iter()
        .filter(|event| settled.contains(event["data"]["ids"]["client_request_id"].as_str().unwrap()));
    let of_settled: Vec<_> = of_settled.cloned().collect();
    let among_settled = check(&heard, &of_settled, &contents);
    println!(
        "{} kills: {found:?}, {} parts; among {} calls that were over before: {among_settled:?}",
        deaths.len(),
        contents.parts,
        settled.len()
    );
    assert_eq!((among_settled.missing_full, among_settled.missing_parts), (0, 0));
    assert!(found.partial > 0 && !settled.is_empty(), "calls were cut, and calls were over");
    let boots: HashSet<_> =
        contents.controls.iter().map(|control| control["data"]["instance"].clone()).collect();
    let ended = contents.controls.iter().filter(|control| control["data"]["final"] == true).count();
    assert_eq!(boots.len(), ended, "each boot has its last control event, those that died too");
    verified(&rig.ledger());
}
