//! Eleven callers, each with a way of its own to make accounting hard, and whoever forges a call when a key asks for it.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::task::JoinSet;

use super::background;
use super::client::{CallEnding, CallRequest};
use super::conversation;
use super::dialect::Dialect;
use super::fixtures::{Fixture, Fixtures};
use super::paced::Random;
use super::traffic::{DOOR_POLL, Traffic, TrafficGate, TrafficPass};
use metering::caller::UNATTRIBUTED;

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
pub(super) struct Habit {
    /// `x-apim-subscription-id`.
    pub(super) id: &'static str,
    /// What makes it hard to account for, in words for whoever watches.
    pub(super) about: &'static str,
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
    about: "",
    trusted: true,
    manner: Manner::Call,
    dialect: Dialect::Chat,
    stream: true,
    include_usage: false,
    leaves: false,
    fixtures: &[],
};

pub(super) const HABITS: [Habit; 11] = [
    Habit {
        id: "claims-desk",
        about: "asks for usage: the service's own numbers count",
        include_usage: true,
        fixtures: &["claim-summary", "review-note", "leave-carry-over"],
        ..STREAMS
    },
    Habit {
        id: "hr-helpdesk",
        about: "never asks for usage: its tokens are computed",
        fixtures: &["leave-carry-over", "tea-house", "boathouse-draft"],
        ..STREAMS
    },
    Habit {
        id: "legal-drafts",
        about: "hangs up early: at least what went by counts",
        leaves: true,
        fixtures: &["boathouse-draft"],
        ..STREAMS
    },
    Habit {
        id: FORGED_ID,
        about: "is only named by a forger without the secret",
        trusted: false,
        fixtures: &["library-hours", "boathouse-draft"],
        ..STREAMS
    },
    Habit {
        id: "field-service",
        about: "calls tools, several at once too",
        fixtures: &["work-order", "two-parts", "parts-found"],
        ..STREAMS
    },
    Habit {
        id: "night-batch",
        about: "does not stream",
        stream: false,
        fixtures: &["night-report", "two-slogans", "claim-summary"],
        ..STREAMS
    },
    Habit {
        id: "research-lab",
        about: "asks for two answers at once, and is refused",
        fixtures: &["two-slogans", "refused-record", "night-report"],
        ..STREAMS
    },
    Habit {
        id: "code-review",
        about: "asks Claude, which reads some input from a cache",
        dialect: Dialect::Messages,
        fixtures: &["review-note", "tea-house", "library-hours"],
        ..STREAMS
    },
    Habit {
        id: "tender-review",
        about: "has answers made in the background, billed later",
        manner: Manner::Background,
        fixtures: &["tea-house", "night-report", "library-hours"],
        ..STREAMS
    },
    Habit {
        id: "phone-line",
        about: "holds realtime sessions of two responses each",
        manner: Manner::Session,
        fixtures: &["library-hours", "leave-carry-over"],
        ..STREAMS
    },
    Habit {
        id: "web-shop",
        about: "meets broken streams, 429s and blocked prompts",
        fixtures: &["parcel-cut", "shop-busy", "library-hours", "prompt-blocked"],
        ..STREAMS
    },
];

/// What is special about a caller, in words for whoever watches.
pub(super) fn about(caller: &str) -> &'static str {
    match HABITS.iter().find(|habit| habit.id == caller && habit.trusted) {
        Some(habit) => habit.about,
        None if caller == UNATTRIBUTED => "the forger's calls: nobody is charged for them",
        None => "",
    }
}

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
        let Some((door, pass)) = traffic.enter(turn) else {
            tokio::time::sleep(DOOR_POLL).await;
            continue;
        };
        let Some(fixture) = asked.next() else { return };
        let call_id = format!("{}-{seed}-{turn}", habit.id);
        let door = &traffic.doors[door];
        Call { habit, fixture, call_id: &call_id, traffic: &traffic, door, pass }.make().await;
        let pause = Duration::from_millis(random.below(PAUSE_MS_MAX).into());
        tokio::time::sleep(pause).await;
    }
}

/// Forges one call now, with the forger's habit. False: both doors are shut.
pub(super) fn forge(
    lanes: &mut JoinSet<()>,
    call_id: String,
    traffic: &Arc<Traffic>,
    fixtures: &Arc<Fixtures>,
) -> bool {
    let Some(habit) = HABITS.into_iter().find(|habit| !habit.trusted) else { return false };
    let Some((door, pass)) = traffic.enter(lanes.len()) else { return false };
    let (traffic, fixtures) = (traffic.clone(), fixtures.clone());
    lanes.spawn(async move {
        let Some(fixture) = habit.fixtures.iter().find_map(|name| fixtures.named(name)) else { return };
        let door = &traffic.doors[door];
        Call { habit, fixture, call_id: &call_id, traffic: &traffic, door, pass }.make().await;
    });
    true
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum CallVerdict {
    Fine,
    Harmed,
}

/// One call that has begun.
struct Call<'a> {
    habit: Habit,
    fixture: &'a Fixture,
    /// `x-ms-client-request-id`, by which its event is found again.
    call_id: &'a str,
    traffic: &'a Traffic,
    door: &'a TrafficGate,
    pass: TrafficPass,
}

impl Call<'_> {
    /// Makes the call, and counts it as open meanwhile, and as harmed if it was.
    async fn make(&self) {
        self.traffic.open.fetch_add(1, Ordering::SeqCst);
        if tokio::time::timeout(CALL_MAX, self.verdict()).await != Ok(CallVerdict::Fine) {
            self.traffic.harmed.fetch_add(1, Ordering::SeqCst);
        }
        self.traffic.open.fetch_sub(1, Ordering::SeqCst);
    }

    async fn verdict(&self) -> CallVerdict {
        let Call { habit, fixture, call_id, door, pass, .. } = *self;
        let secret = if habit.trusted { SHARED_SECRET } else { "a-guess" };
        let headers = [
            ("x-apim-subscription-id", habit.id),
            ("x-tokenweir-auth", secret),
            ("x-ms-client-request-id", call_id),
        ];
        let fine = match habit.manner {
            Manner::Call => return self.once(&headers).await,
            Manner::Background => background::ask_and_wait(fixture, &headers, door, pass).await,
            Manner::Session => conversation::hold(fixture, &headers, door, pass).await,
        };
        if fine { CallVerdict::Fine } else { CallVerdict::Harmed }
    }

    async fn once(&self, headers: &[(&str, &str)]) -> CallVerdict {
        let Call { habit, fixture, door, pass, .. } = *self;
        let Habit { dialect, stream, include_usage, .. } = habit;
        let leave_after_bytes = habit.leaves.then_some(LEAVE_AFTER_BYTES);
        let may_be_hung_up = stream && habit.trusted && !habit.leaves && fixture.error.is_none();
        let (place, hung_up) = may_be_hung_up.then(|| self.traffic.streams.enter(self.call_id)).unzip();
        let begun = place.as_ref().map(|place| &*place.begun);
        let ask = CallRequest { fixture, dialect, stream, include_usage, leave_after_bytes, begun };
        tokio::select! {
            answer = ask.send(pass.addr, headers) => judge(answer.ending, &ask, door.was_killed(pass)),
            () = told(hung_up) => CallVerdict::Fine,
        }
    }
}

/// Waits until somebody hangs up.
async fn told(hung_up: Option<oneshot::Receiver<()>>) {
    let is_hung_up = match hung_up {
        Some(hung_up) => hung_up.await.is_ok(),
        None => false,
    };
    if !is_hung_up {
        std::future::pending::<()>().await;
    }
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
        CallRequest {
            fixture,
            dialect,
            stream: true,
            include_usage: false,
            leave_after_bytes: None,
            begun: None,
        }
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
