//! What must hold at the end besides the line of numbers, in plain words.

use super::bill::Bill;
use super::callers::FORGED_ID;
use super::figures::Figures;
use super::style::{Emphasis, Styles};
use super::tally::TopicTally;
use crate::report::Verdict;

/// One thing that must hold, and what was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Check {
    pub(super) holds: bool,
    pub(super) text: String,
}

impl Check {
    /// Says the one or the other.
    fn of(holds: bool, found: String, otherwise: String) -> Check {
        Check { holds, text: if holds { found } else { otherwise } }
    }

    /// As it is shown.
    pub(super) fn line(&self, styles: Styles) -> String {
        let (emphasis, word) = if self.holds { (Emphasis::Holds, "  ok") } else { (Emphasis::Fails, "FAIL") };
        format!("{} {}", styles.paint(emphasis, word), self.text)
    }
}

/// What was seen outside the topic.
#[derive(Clone, Copy, Debug)]
pub(super) struct Witnesses {
    /// Answers that did not reach their caller as they should.
    pub(super) harmed: u64,
    /// Calls and bills at the service, and those that named their caller.
    pub(super) begun: u64,
    pub(super) identified: u64,
}

/// What callers, service and topic say of each other.
pub(super) fn checks(witnesses: Witnesses, figures: &Figures, tally: &TopicTally) -> [Check; 5] {
    let Witnesses { harmed, begun, identified } = witnesses;
    let TopicTally { computed, wrong, crashed, repeats, unreadable, .. } = tally;
    let forged = tally.rows().find(|(caller, _)| *caller == FORGED_ID).map_or(0, |(_, row)| row.calls);
    [
        Check::of(
            harmed == 0,
            format!("every answer arrived as the service gave it; kill -9 cut {crashed} of them"),
            format!("{harmed} answers were changed or cut on their way; kill -9 cut {crashed}"),
        ),
        Check::of(
            begun == figures.sent && identified == 0,
            format!("the service got all {begun} calls, and was never told who called"),
            format!(
                "the service got {begun} of {} calls, {identified} of them with a caller's name",
                figures.sent
            ),
        ),
        Check::of(
            forged == 0,
            format!("a forger called as \"{FORGED_ID}\": nothing is charged to that name"),
            format!("a forger called as \"{FORGED_ID}\": {forged} calls are charged to that name"),
        ),
        Check::of(
            *wrong == 0,
            format!("{computed} counts were computed and called exact: each is the service's number"),
            format!("{computed} counts were computed and called exact: {wrong} are not the service's number"),
        ),
        Check::of(
            *unreadable == 0,
            format!("the topic holds nothing but events; repeats, which do not count: {repeats}"),
            format!("the topic holds {unreadable} records that are no events, and {repeats} repeats"),
        ),
    ]
}

/// What `tokenweir verify` says of both ledgers.
pub(super) fn verified(verdict: &Verdict) -> Check {
    let (events, faults) = (verdict.events, verdict.findings.len());
    Check::of(
        verdict.complete,
        format!("verify: none of {events} events is missing, doubled or altered"),
        format!("verify: {faults} faults in the {events} events of both ledgers"),
    )
}

/// The bill is of all calls.
pub(super) fn billed(bill: &Bill, figures: &Figures) -> Check {
    let (calls, counted) = (bill.calls(), figures.counted);
    Check::of(
        calls == counted && bill.is_whole(),
        format!("the bill has all {calls} calls, each in one department"),
        format!("the bill has {calls} of {counted} calls"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL_WELL: Witnesses = Witnesses { harmed: 0, begun: 7, identified: 0 };

    fn holds(witnesses: Witnesses, tally: &TopicTally) -> Vec<bool> {
        let figures = Figures { sent: 7, stored: 7, delivered: 7, counted: 7, open: 0 };
        let checks = checks(witnesses, &figures, tally);
        for check in &checks {
            assert!(check.line(Styles { colours: false }).chars().count() <= 80, "{check:?}");
        }
        checks.into_iter().map(|check| check.holds).collect()
    }

    #[test]
    fn each_fault_fails_its_check() {
        assert_eq!(holds(ALL_WELL, &TopicTally::default()), [true; 5]);
        let witnesses = Witnesses { harmed: 1, identified: 1, ..ALL_WELL };
        let mut tally = TopicTally::default();
        (tally.wrong, tally.unreadable) = (1, 1);
        assert_eq!(holds(witnesses, &tally), [false, false, true, false, false]);
        assert!(!holds(Witnesses { begun: 6, ..ALL_WELL }, &tally)[1], "a call got lost on the way");
    }
}
