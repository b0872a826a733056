//! The table of kinds: what it knows, whom it tells, and that it touches no number.

use std::cell::Cell;

use proptest::prelude::*;
use smol_str::format_smolstr;

use super::*;
use metering::meter::Check;
use window::{BEGINS_AT, CALLS_MAX};

fn target(deployment: &str) -> Target {
    Target {
        resource: "eu".into(),
        api: Api::ChatCompletions,
        deployment: Some(deployment.into()),
        model: Some("gpt-4o-2024-11-20".into()),
        ..Target::default()
    }
}

fn kind(deployment: &str, side: Side, rules: RuleClass) -> NumberKind {
    NumberKind::of(&target(deployment), side, rules).unwrap()
}

fn checks(input: RuleClass, output: RuleClass) -> Checks {
    let check = |class| Check { class: Some(class), residual: None };
    Checks { input: check(input), output: check(output) }
}

/// Both sides computed, with these qualities.
fn computed(input: Quality, output: Quality) -> Accounting {
    Accounting {
        input_source: Source::Computed,
        output_source: Source::Computed,
        input_quality: input,
        output_quality: output,
        computed_input: Some(7),
        computed_output: Some(11),
        ..Accounting::default()
    }
}

fn labelled(drift: &Drift, deployment: &str, before: &Accounting) -> Accounting {
    let mut after = before.clone();
    drift.label(&mut after, &checks(RuleClass::Text, RuleClass::Text), &target(deployment));
    after
}

fn disagree(drift: &Drift, kind: &NumberKind, calls: usize) {
    (0..calls).for_each(|_| drop(drift.compare(kind.clone(), 1)));
}

#[test]
fn a_kind_drifts_and_is_trusted_again() {
    let (drift, one) = (Drift::default(), kind("d", Side::Output, RuleClass::Text));
    let exact = computed(Quality::Exact, Quality::Exact);
    assert_eq!(labelled(&drift, "d", &exact), exact, "never seen: the rules stand");
    disagree(&drift, &one, BEGINS_AT - 1);
    assert_eq!(labelled(&drift, "d", &exact), exact);
    let turned = drift.compare(one.clone(), -1);
    assert_eq!(
        turned,
        Compared { kind: one.clone(), residual: -1, turned: Some(true), wrong_calls: BEGINS_AT }
    );
    let lowered = labelled(&drift, "d", &exact);
    assert_eq!((lowered.input_quality, lowered.output_quality), (Quality::Exact, Quality::Estimated));
    assert_eq!(lowered.reasons, ["output:rules_drifted"]);
    let turns: Vec<_> = (0..CALLS_MAX).filter_map(|_| drift.compare(one.clone(), 0).turned).collect();
    assert_eq!(turns, [false]);
    assert_eq!(labelled(&drift, "d", &exact), exact);
    assert!(!drift.any());
}

#[test]
fn nothing_else_drifts_with_a_kind() {
    let drift = Drift::default();
    let one = kind("d", Side::Output, RuleClass::Text);
    disagree(&drift, &one, BEGINS_AT);
    assert!(drift.drifts(&one));
    for other in [
        kind("e", Side::Output, RuleClass::Text),
        kind("d", Side::Input, RuleClass::Text),
        kind("d", Side::Output, RuleClass::Call),
        NumberKind { resource: "us".into(), ..one.clone() },
        NumberKind { model: "gpt-4o-2024-08-06".into(), ..one.clone() },
        NumberKind { api: Api::Responses, ..one.clone() },
    ] {
        assert!(!drift.drifts(&other), "{other:?}");
    }
    let exact = computed(Quality::Exact, Quality::Exact);
    assert_eq!(labelled(&drift, "e", &exact), exact);
}

#[test]
fn only_what_was_computed_by_these_rules_is_in_doubt() {
    let drift = Drift::default();
    for side in [Side::Input, Side::Output] {
        disagree(&drift, &kind("d", side, RuleClass::Text), BEGINS_AT);
    }
    let floor = labelled(&drift, "d", &computed(Quality::Estimated, Quality::LowerBound));
    assert_eq!((floor.input_quality, floor.output_quality), (Quality::Estimated, Quality::LowerBound));
    assert_eq!(floor.reasons, ["input:rules_drifted", "output:rules_drifted"]);
    for source in [Source::Reported, Source::Unknown] {
        let other = Accounting { input_source: source, output_source: source, ..floor.clone() };
        let other = Accounting { reasons: vec![], ..other };
        assert_eq!(labelled(&drift, "d", &other), other);
    }
    // The 0 of a call that is not billed follows from no rule.
    let exact = computed(Quality::Exact, Quality::Exact);
    let mut free = exact.clone();
    drift.label(&mut free, &Checks::default(), &target("d"));
    assert_eq!(free, exact);
    let mut nameless = exact.clone();
    drift.label(
        &mut nameless,
        &checks(RuleClass::Text, RuleClass::Text),
        &Target { model: None, ..target("d") },
    );
    assert_eq!(nameless, exact);
}

#[test]
fn beyond_the_bound_all_deployments_of_a_class_are_watched_together() {
    let drift = Drift::default();
    for n in 0..KINDS_MAX {
        drift.compare(kind(&format!("d{n}"), Side::Output, RuleClass::Text), 0);
    }
    let known = kind("d0", Side::Output, RuleClass::Text);
    let late: Vec<_> =
        (0..BEGINS_AT).map(|n| kind(&format!("late{n}"), Side::Output, RuleClass::Text)).collect();
    let turns = late.iter().filter_map(|kind| drift.compare(kind.clone(), 1).turned).count();
    assert_eq!((turns, drift.lock().len()), (1, KINDS_MAX + 1));
    assert!(drift.drifts(&late[0]) && !drift.drifts(&known));
    assert!(!drift.drifts(&kind("late0", Side::Output, RuleClass::Call)));
    let compared = drift.compare(late[0].clone(), 0);
    assert_eq!(
        (compared.kind.deployment.as_str(), compared.kind.class().as_str()),
        (OTHER, "chat_completions:output:text")
    );
}

#[test]
fn threads_share_one_table() {
    let drift = Drift::default();
    let begins = Cell::new(0i64);
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..4)
            .map(|thread| {
                let drift = &drift;
                scope.spawn(move || {
                    let mut turns = 0;
                    for call in 0..2_000 {
                        let wrong = i64::from((call / 250 + thread) % 2 == 0);
                        let turned = drift.compare(kind("d", Side::Output, RuleClass::Text), wrong).turned;
                        turns += turned.map_or(0, |drifts| if drifts { 1 } else { -1 });
                    }
                    turns
                })
            })
            .collect();
        threads.into_iter().for_each(|thread| begins.set(begins.get() + thread.join().unwrap()));
    });
    let drifts = drift.drifts(&kind("d", Side::Output, RuleClass::Text));
    assert_eq!(begins.get(), i64::from(drifts), "what was told adds up, in whatever order");
    assert_eq!(drift.any(), drifts);
}

fn quality() -> impl Strategy<Value = Quality> {
    prop::sample::select(vec![Quality::Exact, Quality::LowerBound, Quality::Estimated, Quality::Unknown])
}

fn source() -> impl Strategy<Value = Source> {
    prop::sample::select(vec![Source::Reported, Source::Computed, Source::Unknown])
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    /// This holds whatever was reported before: nothing but the two labels and the reasons can change, and a
    /// label only from exact to estimated.
    #[test]
    fn a_label_is_lowered_and_a_number_never_changed(
        history in prop::collection::vec((any::<bool>(), -2i64..3), 0..300),
        (input_source, output_source) in (source(), source()),
        (input_quality, output_quality) in (quality(), quality()),
    ) {
        let drift = Drift::default();
        for (input, residual) in history {
            let side = if input { Side::Input } else { Side::Output };
            drift.compare(kind("d", side, RuleClass::Text), residual);
        }
        let before = Accounting {
            input_source,
            output_source,
            reported_input: Some(8),
            tokenizer: Some("o200k_base".into()),
            reasons: vec!["input:image".into()],
            ..computed(input_quality, output_quality)
        };
        let after = labelled(&drift, "d", &before);
        let sides = [
            (Side::Input, input_source, before.input_quality, after.input_quality),
            (Side::Output, output_source, before.output_quality, after.output_quality),
        ];
        let mut reasons = before.reasons.clone();
        for (side, source, was, is) in sides {
            let doubt = source == Source::Computed && drift.drifts(&kind("d", side, RuleClass::Text));
            let lowered = if doubt && was == Quality::Exact { Quality::Estimated } else { was };
            prop_assert_eq!(is, lowered);
            reasons.extend(doubt.then(|| format_smolstr!("{}:rules_drifted", side.as_str())));
        }
        prop_assert_eq!(&after.reasons, &reasons);
        let labels = |of: &Accounting| (of.input_quality, of.output_quality, of.reasons.clone());
        let mut restored = after.clone();
        (restored.input_quality, restored.output_quality, restored.reasons) = labels(&before);
        prop_assert_eq!(restored, before);
    }
}
