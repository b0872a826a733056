//! kill -9 at random times under a mix of every surface, again and again on one ledger: each bill that somebody saw
//! has one event with the right numbers, and nothing has two.
//!
//! The run of every day kills 4 times, `TOKENWEIR_LONG=1` 100 times.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use metering::usage::CloudEvent;
use serde_json::Value;

use super::every_surface::{Callers, Item, POLLER, Seen, Surface, look, service};
use super::oracle::{COMMITTED, SETTLED, STORED, check_controls};
use super::random::Random;
use super::schema::misfits;
use super::sidecar::{Sidecar, event_lines, stillborn, verified};
use super::skip::long;
use super::support::check_completeness;
use super::waits::{Waits, Watch};

const KILLS: usize = 4;
const KILLS_LONG: usize = 100;
/// Callers of each of ten surfaces.
const OF_EACH: usize = 2;
/// How long a sidecar lives: longer and shorter than a checkpoint's interval and than most calls.
const LIFE_MIN: Duration = Duration::from_millis(200);
const LIFE_MAX: Duration = Duration::from_secs(2);
/// Of four kills, one is followed by a start that is killed while it recovers.
const STILLBORN_LIFE: Duration = Duration::from_millis(50);
/// A checkpoint comes every 250 ms, and its commit takes some: what is open in a session is known by then.
const CHECKPOINTED: Duration = Duration::from_millis(400);

#[test]
fn every_bill_that_was_seen_has_one_event_after_kill_9() {
    let kills = if long() { KILLS_LONG } else { KILLS };
    let mut random = Random::new("kill -9 under every surface");
    let (service, callers, dir) = (service(), Callers::default(), tempfile::tempdir().unwrap());
    let ledger = dir.path().join("ledger");
    let mut known = Vec::new();
    for _ in 0..kills {
        let sidecar = Sidecar::start(service, &ledger, &[]);
        let (watch, broken) = (Watch::begin(&sidecar), AtomicBool::new(false));
        let (life, mut killed) = (random.time(LIFE_MIN, LIFE_MAX), None);
        let seen = callers.run(sidecar.addr, OF_EACH, &broken, || {
            std::thread::sleep(life);
            broken.store(true, Ordering::SeqCst);
            killed = Some(watch.kill(&sidecar));
        });
        let (at, _, waits) = killed.unwrap();
        let end = Some((at, Arc::new(waits)));
        known.extend(seen.into_iter().map(|seen| Known { seen, end: end.clone() }));
        if random.one_in(4) {
            stillborn(service, &ledger, &[], random.time(Duration::ZERO, STILLBORN_LIFE));
        }
    }
    // Everybody's work is over, and is looked at twice more.
    let sidecar = Sidecar::start(service, &ledger, &[]);
    let mut seen = Vec::new();
    for _ in 0..2 {
        for work in callers.works() {
            while !look(sidecar.addr, work, &mut seen).unwrap() {}
        }
    }
    known.extend(seen.into_iter().map(|seen| Known { seen, end: None }));
    let (code, log) = sidecar.stop();
    assert_eq!(code, Some(0), "{log:?}");
    verified(&ledger);
    let found = check(&known, &event_lines(&ledger));
    let promised = known.iter().filter(|known| known.is_promised()).count();
    println!("{kills} kills: {} sights of items, {promised} of them promised; {found:#?}", known.len());
    assert!(promised > known.len() / 2, "only {promised} of {} were held to have an event", known.len());
    for surface in known.iter().map(|known| known.seen.item.surface).collect::<HashSet<_>>() {
        assert!(found[&surface].whole > 0, "{surface:?} was never whole");
    }
    assert!(found.values().map(|found| found.crashed).sum::<usize>() >= kills, "calls were cut");
}

/// An item as somebody saw it, and when its sidecar was killed, if it was.
struct Known {
    seen: Seen,
    end: Option<(Instant, Arc<Waits>)>,
}

/// Events of one surface.
#[derive(Debug, Default)]
struct Found {
    whole: usize,
    crashed: usize,
    /// Sightings so young that none of the ledger's promises covers it.
    without_event: usize,
}

impl Known {
    /// It happened so long before the sidecar died, beside what threads waited for a CPU and ran; they run all the
    /// time, and not only for this.
    fn is_before(
        &self,
        moment: Option<Instant>,
        bound: Duration,
        busy: fn(&Waits, Instant) -> Duration,
    ) -> bool {
        moment.is_some_and(|moment| match &self.end {
            Some((killed, waits)) => moment + bound + busy(waits, moment).min(COMMITTED) <= *killed,
            None => true,
        })
    }

    /// Its end must be in the event.
    fn has_settled(&self) -> bool {
        self.is_before(self.seen.ended, SETTLED, Waits::of_all)
    }

    /// It must have an event.
    fn is_promised(&self) -> bool {
        let begun = self.seen.begun;
        let is_open = if self.seen.item.surface == Surface::SessionResponse {
            self.is_before(begun, CHECKPOINTED, Waits::of_all)
        } else {
            self.is_before(begun, STORED, Waits::of_writer)
        };
        is_open || self.has_settled()
    }

    fn age(&self) -> Option<Duration> {
        let (killed, _) = self.end.as_ref()?;
        Some(killed.saturating_duration_since(self.seen.ended.or(self.seen.begun)?))
    }

    /// Holds its event against the truth. Whether it says that all is well.
    fn check(&self, data: &Value, payer: &str) -> bool {
        let (input, output, units) = self.seen.item.cost();
        let say = || format!("{:?}, {:?} before the kill: {data}", self.seen, self.age());
        assert_eq!(data["caller"]["id"], payer, "{}", say());
        let tokens = [&data["tokens"]["input"], &data["tokens"]["output"]].map(Value::as_u64);
        match data["stream"]["outcome"].as_str().unwrap() {
            "complete" => {
                assert_eq!(tokens, [input, output], "{}", say());
                assert_eq!(data["units"], units, "{}", say());
                true
            }
            "crashed" => {
                assert!(!self.has_settled(), "it had ended before a commit: {}", say());
                assert!(tokens[0].is_none() || tokens[0] == input, "{}", say());
                assert!(tokens[1].is_none() || tokens[1] <= output, "{}", say());
                assert!(data["units"].is_null() || data["units"] == units, "{}", say());
                false
            }
            other => panic!("{other}: {}", say()),
        }
    }
}

/// The item that an event is about. `None`: one that was begun in a session just before the kill, and had no checkpoint.
fn item_of(data: &Value) -> Option<Item> {
    let ids = &data["ids"];
    let of = |name: &str| ids[name].as_str().unwrap_or_else(|| panic!("{name} of {data}"));
    if data["accounting"]["deferred"] == true {
        return Some(Item::of(of("response_id")).bill());
    }
    let call = || Item::of(of("client_request_id"));
    if data["target"]["api"] != "realtime" {
        return Some(call());
    }
    if data["target"]["operation"] == "transcription" {
        return data["tokens"]["input"].as_u64().map(Item::transcribed);
    }
    if ids["response_id"].is_string() {
        return Some(Item::of(of("response_id")));
    }
    data["tokens"]["input"].is_u64().then(call)
}

/// Holds all events against what was seen.
fn check(known: &[Known], lines: &[String]) -> BTreeMap<Surface, Found> {
    let events: Vec<CloudEvent<Value>> =
        lines.iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    check_completeness(&events);
    let mut by_item: HashMap<Item, &Value> = HashMap::new();
    let (mut unnamed, mut events_of_usage) = (HashMap::<Item, usize>::new(), 0);
    for (event, line) in events.iter().zip(lines).filter(|(event, _)| event.kind.as_str().contains("usage")) {
        assert_eq!(misfits(&serde_json::from_str(line).unwrap()), [""; 0], "{line}");
        events_of_usage += 1;
        let Some(item) = item_of(&event.data) else {
            let session = event.data["ids"]["client_request_id"].as_str().unwrap();
            assert_eq!(event.data["stream"]["outcome"], "crashed", "{}", event.data);
            *unnamed.entry(Item::of(session)).or_default() += 1;
            continue;
        };
        if let Some(other) = by_item.insert(item, &event.data) {
            panic!("{item:?} has two events: {other} and {}", event.data);
        }
    }
    check_controls(&events, events_of_usage);
    println!(
        "{events_of_usage} events, {} of them of sessions' items that had no name yet",
        unnamed.values().sum::<usize>()
    );
    let mut found = BTreeMap::<Surface, Found>::new();
    let mut checked = HashSet::new();
    for known in known {
        let item = known.seen.item;
        let found = found.entry(item.surface).or_default();
        let Some(data) = by_item.get(&item) else {
            assert!(!known.is_promised(), "{:?} has no event, {:?} before the kill", known.seen, known.age());
            // An event without a name may be its own.
            match known.seen.session.and_then(|session| unnamed.get_mut(&session)).filter(|left| **left > 0) {
                Some(left) => *left -= 1,
                None => found.without_event += 1,
            }
            continue;
        };
        let begun_here = item.work().is_none_or(|work| {
            by_item.get(&work).is_some_and(|announced| announced["stream"]["outcome"] == "complete")
        });
        let payer = if begun_here { known.seen.payer } else { POLLER };
        let is_whole = known.check(data, payer);
        if checked.insert(item) {
            found.whole += usize::from(is_whole);
            found.crashed += usize::from(!is_whole);
        }
    }
    assert!(unnamed.values().all(|&left| left == 0), "events of what never was: {unnamed:?}");
    let unknown: Vec<_> = by_item.keys().filter(|item| !checked.contains(item)).collect();
    assert!(unknown.is_empty(), "events of what never was: {unknown:?}");
    found
}
