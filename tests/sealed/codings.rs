//! Whatever is said, in whatever coding, cut wherever it may be: what is opened are the bytes that passed.

use super::callers::{call_for, check, make_call, unharmed};
use super::calls::{Call, KINDS, service};
use super::rig::Rig;
use super::support::random::Random;
use super::support::sidecar::verified;
use super::support::skip::long;

use std::time::Duration;

const ROUNDS: u64 = 4;
const ROUNDS_LONG: u64 = 200;

/// One after the other, so that each is known to be over when the sidecar stops.
#[test]
fn what_is_opened_is_what_passed() {
    let rig = Rig::new(service());
    let mut random = Random::new("content");
    // Parts as small as they may be, so that many calls have several.
    let sidecar = rig.start(&["--capture-part-bytes", "64KiB"]);
    let mut heard = Vec::new();
    for _ in 0..if long() { ROUNDS_LONG } else { ROUNDS } {
        for kind in KINDS {
            let call = Call::of(&Call::name(kind, random.next() >> 16));
            heard.push(make_call(sidecar.addr, &call).expect("an answer"));
        }
    }
    heard.extend(call_for(sidecar.addr, 16, &mut random, Duration::from_secs(2)));
    unharmed(&heard);
    let (code, log) = sidecar.stop();
    assert_eq!(code, Some(0), "{log:?}");
    let (events, contents) = (rig.usage_events(), rig.contents());
    let found = check(&heard, &events, &contents);
    println!("{found:?}, {} parts", contents.parts);
    assert_eq!(found.calls, heard.len() as u64);
    assert_eq!((found.full, found.missing_full, found.missing_parts), (2 * found.calls, 0, 0));
    let last = &contents.controls.last().expect("a control event")["data"];
    assert_eq!((last["final"].as_bool(), last["lost_parts"].as_u64()), (Some(true), Some(0)));
    assert_eq!(last["requests"]["full"], found.calls);
    let covered: u64 =
        contents.controls.iter().map(|control| control["data"]["parts"].as_u64().unwrap()).sum();
    assert_eq!(covered, contents.parts, "control events cover every part once");
    verified(&rig.ledger());
}
