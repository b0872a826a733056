//! The last calls of one kind: how many of them the rules got wrong, and what follows.
//!
//! We promise that of a hundred numbers labelled exact at least 99 are. A kind *drifts* when 16 of
//! its last 200 calls (8 %) disagree, and is trusted again when no more than 2 do (1 %, the promise).
//! In between the last verdict stands.
//!
//! - **16.** If one call in a hundred disagrees by chance, 16 of 200 do once in three thousand
//!   million windows; at two in a hundred, once in 300,000. On the recordings one in a thousand does.
//!   So chance is no drift, nor is one client that sends its one odd call again and again. A real
//!   drift is found: a token more on every response after 16 calls, one on 65 % of responses (as
//!   a part of the service billed in early 2025) after some 25, on 12 % in 97 of 100 windows.
//!   Between 1 % and 8 % nothing is done, but the residuals stand in the metrics.
//! - **A window that is not full** needs no rule of its own: 16 wrong of 16 is no less than 16 of 200.
//!   Before that, the rules have the benefit of the doubt: they were proven on recordings.
//! - **Two thresholds**, because a share near one threshold crosses it all the time, and each
//!   crossing is a line in a log and perhaps a page at night. It takes some 200 calls that agree to
//!   be trusted again. That is slow on purpose: `estimated` is never wrong.
//!
//! There is no clock in it: what a deployment did a week ago is still the best guess if nothing was
//! reported since. And nothing but agreement counts, not its size: a token too many is as wrong as ten.

/// Calls that a verdict looks at.
pub(super) const CALLS_MAX: usize = 200;

/// Wrong ones among them that begin a drift.
pub(super) const BEGINS_AT: usize = 16;

/// Wrong ones among them that end it.
pub(super) const ENDS_AT: usize = 2;

/// The last calls of one kind.
#[derive(Clone, Debug)]
pub(super) struct DriftWindow {
    /// A ring: where the reported number was not the computed one.
    wrong: [bool; CALLS_MAX],
    next: usize,
    wrong_calls: usize,
    drifted: bool,
}

impl Default for DriftWindow {
    fn default() -> DriftWindow {
        DriftWindow { wrong: [false; CALLS_MAX], next: 0, wrong_calls: 0, drifted: false }
    }
}

impl DriftWindow {
    /// Takes the next call in. Says the verdict if it is another one now.
    pub(super) fn push(&mut self, wrong: bool) -> Option<bool> {
        let oldest = std::mem::replace(&mut self.wrong[self.next], wrong);
        self.next = (self.next + 1) % CALLS_MAX;
        self.wrong_calls = self.wrong_calls + usize::from(wrong) - usize::from(oldest);
        debug_assert!(self.wrong_calls <= CALLS_MAX, "only the last calls are counted");
        let verdict = match self.wrong_calls {
            BEGINS_AT.. => true,
            ..=ENDS_AT => false,
            _ => self.drifted,
        };
        let before = std::mem::replace(&mut self.drifted, verdict);
        (verdict != before).then_some(verdict)
    }

    /// The rules do not hold for this kind now.
    pub(super) fn drifted(&self) -> bool {
        self.drifted
    }

    /// Calls among the last 200 that disagree.
    pub(super) fn wrong_calls(&self) -> usize {
        self.wrong_calls
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn after(calls: &[bool]) -> DriftWindow {
        let mut window = DriftWindow::default();
        for wrong in calls {
            window.push(*wrong);
        }
        window
    }

    /// Stretches of calls, each with its own share of wrong ones.
    fn history() -> impl Strategy<Value = Vec<bool>> {
        let share = prop_oneof![Just(0.0), Just(0.01), Just(0.05), Just(0.08), Just(0.65), Just(1.0)];
        let stretch = (share, 0usize..250)
            .prop_flat_map(|(share, calls)| prop::collection::vec(prop::bool::weighted(share), calls));
        prop::collection::vec(stretch, 0..8).prop_map(|stretches| stretches.concat())
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

        /// The whole rule, in the plain words of the module's head.
        #[test]
        fn it_is_the_rule_applied_to_the_last_200(calls in history()) {
            let (mut window, mut drifted) = (DriftWindow::default(), false);
            for seen in 1..=calls.len() {
                let last = &calls[seen.saturating_sub(CALLS_MAX)..seen];
                let wrong = last.iter().filter(|wrong| **wrong).count();
                let before = drifted;
                drifted = wrong >= BEGINS_AT || (before && wrong > ENDS_AT);
                prop_assert_eq!(window.push(calls[seen - 1]), (drifted != before).then_some(drifted));
                prop_assert_eq!((window.drifted(), window.wrong_calls()), (drifted, wrong));
            }
        }

        /// Calls before the last 200 say no more than the verdict that they led to, and only between
        /// the thresholds.
        #[test]
        fn older_calls_are_forgotten(before in history(), other in history(), last in history()) {
            prop_assume!(last.len() >= CALLS_MAX);
            let (one, two) = (after(&[before, last.clone()].concat()), after(&[other, last].concat()));
            prop_assert_eq!(one.wrong_calls(), two.wrong_calls());
            if !(ENDS_AT + 1..BEGINS_AT).contains(&one.wrong_calls()) {
                prop_assert_eq!(one.drifted(), two.drifted());
            }
        }

        #[test]
        fn two_hundred_calls_that_agree_are_always_trusted(before in history()) {
            let window = after(&[before, vec![false; CALLS_MAX]].concat());
            prop_assert!(!window.drifted() && window.wrong_calls() == 0);
        }
    }

    #[test]
    fn the_sixteenth_wrong_call_is_a_drift_and_the_third_last_one_keeps_it() {
        let mut window = DriftWindow::default();
        for call in 1..=BEGINS_AT {
            assert_eq!(window.push(true), (call == BEGINS_AT).then_some(true), "call {call}");
        }
        // The wrong ones leave the window one by one when it is full.
        let leave = CALLS_MAX - ENDS_AT;
        for call in 1..=leave {
            assert_eq!(window.push(false), (call == leave).then_some(false), "call {call}");
        }
    }

    /// One wrong call in a hundred is what we promise at most: no drift in 20,000 calls. A small
    /// generator instead of chance: the test says the same in every run.
    #[test]
    fn the_promised_share_of_mistakes_is_no_drift() {
        let (mut window, mut seed) = (DriftWindow::default(), 1u64);
        for _ in 0..20_000 {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            assert_eq!(window.push((seed >> 33) % 100 == 0), None);
        }
    }
}
