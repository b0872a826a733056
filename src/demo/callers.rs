//! Eleven callers, each with a way of its own to make accounting hard.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::task::JoinSet;

use super::background;
use super::client::{CallEnding, CallRequest};
use super::conversation;
use super::dialect::Dialect;
use super::fixtures::{Fixture, Fixtures};
use super::paced::Random;
use super::traffic::{DOOR_POLL, Traffic, TrafficGate, TrafficPass};

/// The secret that the gateway of the demo adds. It guards a loopback port for some seconds.
pub(super) const SHARED_SECRET: &str = "the-secret-of-the-demo-gateway";

/// The caller that the forger claims to be.
pub(super) const FORGED_ID: &str = "the-board";

/// Calls that one caller has open at once.
const LANES: u64 = 5;

/// Between two calls of a lane: a mean of 400 ms.
const PAUSE_MS_MAX: u32 = 800;

/// No fixture takes as long; a call that does has been lost.
const CALL_MAX: Duration = Duration::from_secs(60);

/// Enough of a response to have read some twenty events of it.
const LEAVE_AFTER_BYTES: usize = 6_000;

/// The way in which a caller asks for a fixture.
#[derive(Clone, Copy, Debug)]
enum Manner {
    /// It asks for a response and reads it.
    Call,
    /// It has a response made in the background, and looks until its bill comes.
    Background,
    /// It holds a realtime session.
    Session,
}

/// How a caller makes its calls.
#[derive(Clone, Copy, Debug)]
struct Habit {
    /// `x-apim-subscription-id`.
    id: &'static str,
    /// The hop proves that it is the gateway.
    trusted: bool,
    manner: Manner,
    dialect: Dialect,
    stream: bool,
    include_usage: bool,
    leaves: bool,
    /// The names of the fixtures that it asks for, in turn.
    fixtures: &'static [&'static str],
}

const STREAMS: Habit = Habit {
    id: "",
    trusted: true,
    manner: Manner::Call,
    dialect: Dialect::Chat,
    stream: true,
    include_usage: false,
    leaves: false,
    fixtures: &[],
};

const HABITS: [Habit; 11] = [
    // Asks for usage: the service's numbers win.
    Habit {
        id: "claims-desk",
        include_usage: true,
        fixtures: &["claim-summary", "review-note", "leave-carry-over"],
        ..STREAMS
    },
    // Never asks for usage: the numbers are computed.
    Habit { id: "hr-helpdesk", fixtures: &["leave-carry-over", "tea-house", "boathouse-draft"], ..STREAMS },
    // Hangs up early.
    Habit { id: "legal-drafts", leaves: true, fixtures: &["boathouse-draft"], ..STREAMS },
    // Claims to be another caller, without the gateway's secret.
    Habit { id: FORGED_ID, trusted: false, fixtures: &["library-hours", "boathouse-draft"], ..STREAMS },
    // Tools: one call, several in one turn, text after a result.
    Habit { id: "field-service", fixtures: &["work-order", "two-parts", "parts-found"], ..STREAMS },
    // Not streamed.
    Habit {
        id: "night-batch",
        stream: false,
        fixtures: &["night-report", "two-slogans", "claim-summary"],
        ..STREAMS
    },
    // Two choices, refusals, bursts.
    Habit { id: "research-lab", fixtures: &["two-slogans", "refused-record", "night-report"], ..STREAMS },
    // Claude: only the service knows its numbers, and some of the input comes from a cache.
    Habit {
        id: "code-review",
        dialect: Dialect::Messages,
        fixtures: &["review-note", "tea-house", "library-hours"],
        ..STREAMS
    },
    // In the background: the bill comes later, and is charged to whoever asked.
    Habit {
        id: "tender-review",
        manner: Manner::Background,
        fixtures: &["tea-house", "night-report", "library-hours"],
        ..STREAMS
    },
    // Realtime: a session, and two responses in it.
    Habit {
        id: "phone-line",
        manner: Manner::Session,
        fixtures: &["library-hours", "leave-carry-over"],
        ..STREAMS
    },
    // Broken streams, 429, a blocked prompt.
    Habit {
        id: "web-shop",
        fixtures: &["parcel-cut", "shop-busy", "library-hours", "prompt-blocked"],
        ..STREAMS
    },
];

/// Starts all callers; they end when the traffic is over and their last responses are in.
pub(super) fn start(traffic: &Arc<Traffic>, fixtures: &Arc<Fixtures>) -> JoinSet<()> {
    let mut lanes = JoinSet::new();
    for (number, habit) in (0..).zip(HABITS) {
        for lane in 0..LANES {
            let seed = number * LANES + lane;
            lanes.spawn(call_in_turn(habit, seed, traffic.clone(), fixtures.clone()));
        }
    }
    lanes
}

/// One lane: call, pause, call, through both doors by turns.
async fn call_in_turn(habit: Habit, seed: u64, traffic: Arc<Traffic>, fixtures: Arc<Fixtures>) {
    let mut random = Random::new(seed);
    let asked = habit.fixtures.iter().filter_map(|name| fixtures.named(name));
    let mut asked = asked.cycle().skip(seed as usize % LANES as usize);
    let mut turn = seed as usize;
    while !traffic.is_over() {
        turn += 1;
        let doors = [&traffic.doors[turn % 2], &traffic.doors[(turn + 1) % 2]];
        let entered = doors.into_iter().find_map(|door| Some((door, door.enter()?)));
        let Some((door, pass)) = entered else {
            tokio::time::sleep(DOOR_POLL).await;
            continue;
        };
        let Some(fixture) = asked.next() else { return };
        traffic.open.fetch_add(1, Ordering::SeqCst);
        let called = tokio::time::timeout(CALL_MAX, call(habit, fixture, door, pass)).await;
        if called != Ok(CallVerdict::Fine) {
            traffic.harmed.fetch_add(1, Ordering::SeqCst);
        }
        traffic.open.fetch_sub(1, Ordering::SeqCst);
        let pause = Duration::from_millis(random.below(PAUSE_MS_MAX).into());
        tokio::time::sleep(pause).await;
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum CallVerdict {
    Fine,
    Harmed,
}

async fn call(habit: Habit, fixture: &Fixture, door: &TrafficGate, pass: TrafficPass) -> CallVerdict {
    let secret = if habit.trusted { SHARED_SECRET } else { "a-guess" };
    let headers = [("x-apim-subscription-id", habit.id), ("x-tokenweir-auth", secret)];
    let fine = match habit.manner {
        Manner::Call => return call_once(habit, fixture, &headers, door, pass).await,
        Manner::Background => background::ask_and_wait(fixture, &headers, door, pass).await,
        Manner::Session => conversation::hold(fixture, &headers, door, pass).await,
    };
    if fine { CallVerdict::Fine } else { CallVerdict::Harmed }
}

async fn call_once(
    habit: Habit,
    fixture: &Fixture,
    headers: &[(&str, &str)],
    door: &TrafficGate,
    pass: TrafficPass,
) -> CallVerdict {
    let Habit { dialect, stream, include_usage, .. } = habit;
    let leave_after_bytes = habit.leaves.then_some(LEAVE_AFTER_BYTES);
    let ask = CallRequest { fixture, dialect, stream, include_usage, leave_after_bytes };
    let answer = ask.send(pass.addr, headers).await;
    judge(answer.ending, &ask, door.was_killed(pass))
}

/// Whether the client got what the service gave.
fn judge(ending: CallEnding, ask: &CallRequest<'_>, killed: bool) -> CallVerdict {
    let expected = match (&ask.fixture.error, ask.leave_after_bytes) {
        (Some(error), _) => matches!(ending, CallEnding::Status(status) if status.as_u16() == error.status),
        (None, Some(_)) => ending == CallEnding::Left,
        (None, None) if ask.stream && ask.fixture.delivery.cut_after.is_some() => {
            ending == CallEnding::Broken
        }
        (None, None) => ending == CallEnding::Complete,
    };
    match expected || (killed && ending == CallEnding::Broken) {
        true => CallVerdict::Fine,
        false => CallVerdict::Harmed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::demo::paced::Pace;
    use crate::demo::service::{Options, ReplayService};

    #[test]
    fn every_fixture_is_asked_for_and_known() {
        let fixtures = Fixtures::load().unwrap();
        let asked: Vec<_> = HABITS.iter().flat_map(|habit| habit.fixtures).collect();
        for name in &asked {
            assert!(fixtures.named(name).is_some(), "{name}");
        }
        for fixture in fixtures.iter() {
            assert!(asked.iter().any(|name| **name == fixture.name), "nobody asks {}", fixture.name);
        }
    }

    fn streamed(fixture: &Fixture) -> CallRequest<'_> {
        let dialect = Dialect::Chat;
        CallRequest { fixture, dialect, stream: true, include_usage: false, leave_after_bytes: None }
    }

    #[test]
    fn a_clean_early_end_is_harm() {
        let fixtures = Fixtures::load().unwrap();
        for name in ["parcel-cut", "library-hours"] {
            let fixture = fixtures.named(name).unwrap();
            let ask = streamed(fixture);
            assert_eq!(judge(CallEnding::Short, &ask, false), CallVerdict::Harmed);
            assert_eq!(
                judge(CallEnding::Short, &ask, true),
                CallVerdict::Harmed,
                "even of one that is killed"
            );
            assert_eq!(judge(CallEnding::Broken, &ask, true), CallVerdict::Fine);
        }
        let whole = fixtures.named("library-hours").unwrap();
        let ask = streamed(whole);
        assert_eq!(judge(CallEnding::Broken, &ask, false), CallVerdict::Harmed);
    }

    /// Straight to the service, nothing is harmed and each call arrives once.
    #[test]
    fn without_a_sidecar_all_is_well() {
        let service = ReplayService::start(Options { pace: Pace::NONE }).unwrap();
        let traffic = Arc::new(Traffic::default());
        let fixtures = Arc::new(Fixtures::load().unwrap());
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let lanes = start(&traffic, &fixtures);
            traffic.doors[1].open(service.addr());
            while traffic.sent() < 100 {
                tokio::time::sleep(DOOR_POLL).await;
            }
            traffic.over.store(true, Ordering::SeqCst);
            lanes.join_all().await;
        });
        assert_eq!(traffic.harmed.load(Ordering::SeqCst), 0);
        assert_eq!(traffic.open.load(Ordering::SeqCst), 0);
        assert_eq!(service.begun(), traffic.sent());
        assert_eq!(service.identified(), traffic.sent(), "each names its caller");
    }
}
