use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use metering::caller::{Caller, Trust};
use metering::usage::{CloudEvent, EventType, Outcome, Quality, Settled, Target, Usage};
use proptest::prelude::*;
use strum::VariantArray;
use uuid::Uuid;

use super::callers::{CALLERS_MAX, CallTotals, RECENT_SECONDS};
use super::recent::{FOLLOWED_MAX, INTERRUPTED_MAX, RECENT_MAX};
use super::{Gauges, HISTORY_SECONDS, LiveCall, LiveFigures, LiveSums, LiveView, Points};

fn settled(caller: &str, input: Option<u64>, output: Option<u64>, outcome: Outcome) -> Settled {
    let mut usage = Usage::draft(Caller::unattributed(Trust::None), Target::default());
    usage.caller.id = caller.into();
    (usage.tokens.input, usage.tokens.output) = (input, output);
    (usage.accounting.input_quality, usage.accounting.output_quality) = (Quality::Exact, Quality::LowerBound);
    (usage.stream.outcome, usage.request.status, usage.timing.duration_ms) = (outcome, 200, Some(1_234));
    usage.target.model_requested = Some("gpt-4o".into());
    Settled { id: Uuid::now_v7(), time: "2026-11-22T09:15:04.812345Z".parse().unwrap(), usage }
}

fn call(caller: &str) -> LiveCall {
    LiveCall::of(&settled(caller, Some(3), Some(4), Outcome::Complete))
}

fn view(sums: &LiveSums, second: u64) -> LiveView {
    LiveView::copied(sums, Points::All, second).sorted()
}

/// Calls of a few callers, some a little late, with leaps beyond everything that is kept.
fn calls() -> impl Strategy<Value = Vec<(u64, LiveCall)>> {
    let caller = prop::sample::select(vec!["a", "b", "other", "<img src=x>", ""]);
    let tokens = || prop::option::of(0u64..1_000);
    let qualities = (0..Quality::VARIANTS.len(), 0..Quality::VARIANTS.len());
    let step = prop_oneof![5 => 0u64..3, 2 => 0u64..40, 1 => 500u64..3_000];
    let late = prop_oneof![4 => Just(0u64), 1 => 1u64..4];
    let one = ((step, late), caller, tokens(), tokens(), qualities, 0..Outcome::VARIANTS.len(), 1u64..4);
    prop::collection::vec(one, 0..60).prop_map(|all| {
        let mut second = 0;
        let of = |((step, late), caller, input, output, (one, two), outcome, calls): (
            (u64, u64),
            &str,
            _,
            _,
            _,
            usize,
            u64,
        )| {
            second += step;
            let outcome = Outcome::VARIANTS[outcome];
            let mut call = LiveCall::of(&settled(caller, input, output, outcome));
            (call.input_quality, call.output_quality) = (Quality::VARIANTS[one], Quality::VARIANTS[two]);
            if calls > 1 {
                (call.calls, call.outcome) = (calls, None);
            }
            (second.saturating_sub(late), call)
        };
        all.into_iter().map(of).collect()
    })
}

proptest! {
    /// Every sum is that of its calls, and the callers' add up to the whole.
    #[test]
    fn sums_are_those_of_the_calls(calls in calls(), after in 0u64..20) {
        let (mut sums, mut now) = (LiveSums::default(), 0);
        sums.sample(Gauges::default(), 0);
        for (second, call) in &calls {
            sums.add(call.clone(), *second, false);
            now = now.max(*second);
        }
        now += after;
        let view = view(&sums, now);
        let sum = |of: &dyn Fn(&LiveCall) -> u64| calls.iter().map(|(_, call)| of(call)).sum::<u64>();
        prop_assert_eq!(view.totals.calls, sum(&|call| call.calls));
        prop_assert_eq!(view.totals.input, sum(&|call| call.input.unwrap_or(0)));
        prop_assert_eq!(view.totals.output, sum(&|call| call.output.unwrap_or(0)));
        prop_assert_eq!(view.totals.qualities.iter().sum::<u64>(), view.totals.calls);
        for (at, outcome) in Outcome::VARIANTS.iter().enumerate() {
            prop_assert_eq!(view.outcomes[at], sum(&|call| u64::from(call.outcome == Some(*outcome))));
        }
        let mut all = CallTotals::default();
        view.callers.iter().for_each(|caller| all.merge(&caller.totals));
        prop_assert_eq!((all, view.other), (view.totals, None));
        for caller in &view.callers {
            let own = |of: &dyn Fn(&LiveCall) -> u64| {
                let own = calls.iter().filter(|(_, call)| call.caller == caller.caller);
                own.map(|(_, call)| of(call)).sum::<u64>()
            };
            prop_assert_eq!(caller.totals.calls, own(&|call| call.calls));
            prop_assert_eq!(caller.totals.tokens(), own(&|call| call.input.unwrap_or(0) + call.output.unwrap_or(0)));
        }
        let interrupted = calls.iter().rev().filter(|(_, call)| call.is_interrupted()).take(INTERRUPTED_MAX);
        prop_assert!(view.interrupted.iter().eq(interrupted.map(|(_, call)| call)));
    }

    /// Each second that is kept holds what ended in it, there is no gap, and rates are of the seconds before.
    #[test]
    fn seconds_are_those_of_the_calls(calls in calls(), after in 0u64..20) {
        let (mut sums, mut now) = (LiveSums::default(), 0);
        sums.sample(Gauges::default(), 0);
        for (second, call) in &calls {
            sums.add(call.clone(), *second, false);
            now = now.max(*second);
        }
        now += after;
        let view = view(&sums, now);
        prop_assert!(view.points.len() as u64 <= HISTORY_SECONDS);
        prop_assert!(view.points.windows(2).all(|two| two[0].second + 1 == two[1].second));
        let ended_in = |from: u64, of: &dyn Fn(&LiveCall) -> u64| {
            let within = calls.iter().filter(|(second, _)| (from..now).contains(second));
            within.map(|(_, call)| of(call)).sum::<u64>()
        };
        let kept = now.saturating_sub(HISTORY_SECONDS);
        let shown = |of: &dyn Fn(&super::Point) -> u64| view.points.iter().map(of).sum::<u64>();
        prop_assert_eq!(shown(&|point| point.calls), ended_in(kept, &|call| call.calls));
        prop_assert_eq!(shown(&|point| point.output), ended_in(kept, &|call| call.output.unwrap_or(0)));
        prop_assert_eq!(shown(&|point| point.interrupted), ended_in(kept, &|call| u64::from(call.is_interrupted())));
        let recent = now.saturating_sub(RECENT_SECONDS);
        let tokens = ended_in(recent, &|call| call.input.unwrap_or(0) + call.output.unwrap_or(0));
        prop_assert_eq!(view.recent.input + view.recent.output, tokens);
        prop_assert_eq!(view.recent.calls, ended_in(recent, &|call| call.calls));
        prop_assert_eq!(view.callers.iter().map(|caller| caller.recent_tokens).sum::<u64>(), tokens);
        let busy: Vec<u64> = view.callers.iter().map(|caller| caller.recent_tokens).collect();
        prop_assert!(busy.is_sorted_by(|one, other| one >= other));
    }

    /// What is sent is read again as it was.
    #[test]
    fn a_view_goes_over_the_wire(calls in calls()) {
        let mut sums = LiveSums::default();
        calls.iter().for_each(|(second, call)| sums.add(call.clone(), *second, false));
        let view = view(&sums, calls.iter().map(|(second, _)| second + 1).max().unwrap_or(0));
        let text = serde_json::to_string(&view).unwrap();
        prop_assert_eq!(serde_json::from_str::<LiveView>(&text).unwrap(), view);
    }
}

#[test]
fn callers_are_bounded_and_nothing_of_the_others_is_lost() {
    let mut sums = LiveSums::default();
    for number in 0..CALLERS_MAX + 40 {
        sums.add(call(&format!("c{number}")), 1, false);
    }
    let first = view(&sums, 2);
    let other = first.other.expect("some have no line");
    assert_eq!((first.callers.len(), other.calls, other.tokens()), (CALLERS_MAX, 40, 280));
    // One that is known goes on; a new one takes the place of one that has left the plots.
    sums.add(call("c0"), 2 + HISTORY_SECONDS, false);
    sums.add(call("new"), 2 + HISTORY_SECONDS, false);
    let then = view(&sums, 3 + HISTORY_SECONDS);
    let named = |name: &str| then.callers.iter().find(|caller| caller.caller == name);
    assert_eq!((then.callers.len(), then.other.unwrap().calls), (CALLERS_MAX, 41));
    assert_eq!((named("new").unwrap().totals.calls, named("c0").unwrap().totals.calls), (1, 2));
    assert_eq!(
        then.totals.calls,
        then.other.unwrap().calls + then.callers.iter().map(|c| c.totals.calls).sum::<u64>()
    );
}

#[test]
fn what_is_sampled_stands_in_its_second() {
    let mut sums = LiveSums::default();
    for (second, streams, undelivered) in [(0, 1, 2), (1, 3, 0), (4, 5, 6)] {
        sums.sample(Gauges { streams, undelivered }, second);
    }
    let points = view(&sums, 9).points;
    let seen: Vec<_> = points.iter().map(|point| (point.second, point.streams, point.undelivered)).collect();
    assert_eq!(seen, [(0, 1, 2), (1, 3, 0), (2, 3, 0), (3, 3, 0), (4, 5, 6)]);
}

#[test]
fn names_are_shown_as_people_may_be_shown_them() {
    let mut sums = LiveSums::default();
    sums.add(LiveCall::of(&settled("\u{202e}x\x1b[2J", None, None, Outcome::Timeout)), 0, false);
    let view = view(&sums, 1);
    assert_eq!(
        (&*view.callers[0].caller, &*view.interrupted[0].caller),
        ("\\u{202e}x\\u{1b}[2J", "\\u{202e}x\\u{1b}[2J")
    );
}

#[test]
fn who_follows_misses_nothing_or_is_told() {
    let figures = Arc::new(LiveFigures::default());
    for number in 0..RECENT_MAX + 5 {
        figures.add(call(&number.to_string()));
    }
    let mut follower = figures.follow();
    let names = |calls: &[LiveCall]| calls.iter().map(|call| call.caller.to_string()).collect::<Vec<_>>();
    let (calls, missed) = follower.take();
    assert_eq!((names(&calls), missed.0), ((5..RECENT_MAX + 5).map(|n| n.to_string()).collect(), 0));
    assert_eq!(follower.take().0, []);
    for number in 0..FOLLOWED_MAX + 3 {
        figures.add(call(&number.to_string()));
    }
    let (calls, missed) = follower.take();
    assert_eq!((calls.len(), missed.0, &*calls[0].caller), (FOLLOWED_MAX, 3, "3"));
    let ids: HashSet<Uuid> = calls.iter().map(|call| call.id).collect();
    assert_eq!(ids.len(), FOLLOWED_MAX);
    drop(follower);
    assert_eq!(figures.follow().take().0.len(), RECENT_MAX, "the room is given back");
}

/// `top` and `tail` show the same of a stored event as the sidecar shows of the call.
#[test]
fn a_stored_event_is_the_same_call() {
    for outcome in Outcome::VARIANTS {
        let settled = settled("team", Some(7), None, *outcome);
        let time = Some(format!("{:.3}", settled.time));
        let id = settled.id.to_string();
        let event = CloudEvent::new(EventType::Usage, "//tokenweir/x", id, time, "team", &settled.usage);
        let body = serde_json::to_string(&event.with_sequence(1)).unwrap();
        assert_eq!(LiveCall::stored(&body), Some(LiveCall::of(&settled)));
    }
    assert_eq!(LiveCall::stored("{}"), None);
}

/// Each outcome that is no whole answer is either an interruption or has an answer of its own.
#[test]
fn interruptions_are_told_from_refusals() {
    let of = |outcome| LiveCall::of(&settled("a", None, None, outcome)).is_interrupted();
    let kinds: HashMap<bool, usize> = Outcome::VARIANTS.iter().fold(HashMap::new(), |mut kinds, outcome| {
        *kinds.entry(of(*outcome)).or_default() += 1;
        kinds
    });
    assert_eq!((kinds[&true], kinds[&false]), (6, 3));
}
