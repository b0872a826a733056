//! What the keys did, and what the topic says of it.

use super::checks::Check;
use super::tally::{CallFate, TopicTally};
use metering::caller::UNATTRIBUTED;
use metering::usage::Quality;

/// Calls that keys hang up, and calls that they forge, at most: each is looked for by its id.
const CALLS_MAX: usize = 200;

/// What the keys did.
#[derive(Clone, Debug, Default)]
pub(super) struct KeyRecord {
    pub(super) broken: u64,
    pub(super) mended: u64,
    pub(super) killed: u64,
    pub(super) restarted: u64,
    /// The ids of calls that were hung up.
    hung_up: Vec<String>,
    /// The ids of calls that were forged.
    forged: Vec<String>,
}

impl KeyRecord {
    /// There is room for one more call that is hung up.
    pub(super) fn may_hang_up(&self) -> bool {
        self.hung_up.len() < CALLS_MAX
    }

    pub(super) fn hung_up(&mut self, call_id: String) {
        self.hung_up.push(call_id);
    }

    /// The id of the next call that is forged; `None`: these are enough.
    pub(super) fn next_forged(&self) -> Option<String> {
        let number = self.forged.len() + 1;
        (number <= CALLS_MAX).then(|| format!("forged-by-key-{number}"))
    }

    pub(super) fn forged(&mut self, call_id: String) {
        self.forged.push(call_id);
    }

    /// A line for each kind of deed, as far as its events have come.
    pub(super) fn lines(&self, tally: &TopicTally) -> Vec<String> {
        let checks = self.call_checks(tally).into_iter().map(|check| check.text);
        self.plain_lines().into_iter().chain(checks).collect()
    }

    /// The same, as what must hold at the end.
    pub(super) fn checks(&self, tally: &TopicTally) -> Vec<Check> {
        let plain = self.plain_lines().into_iter();
        plain.map(|text| Check { holds: true, text }).chain(self.call_checks(tally)).collect()
    }

    /// Deeds that have no events of their own: they stand in the line of numbers.
    fn plain_lines(&self) -> Vec<String> {
        let pairs = [
            (("broke the broker", self.broken), ("mended it", self.mended)),
            (("killed sidecar 2", self.killed), ("restarted it", self.restarted)),
        ];
        let line = |((harm, harmed), (cure, cured))| match (harmed, cured) {
            (0, 0) => None,
            (harmed, 0) => Some(format!("your keys {harm} {}; the demo {cure}", times(harmed))),
            (0, cured) => Some(format!("the demo {harm}; your keys {cure} {}", times(cured))),
            (harmed, cured) => {
                Some(format!("your keys {harm} {} and {cure} {}", times(harmed), times(cured)))
            }
        };
        pairs.into_iter().filter_map(line).collect()
    }

    fn call_checks(&self, tally: &TopicTally) -> Vec<Check> {
        let mut checks = Vec::new();
        if !self.hung_up.is_empty() {
            let fates = fates(&self.hung_up, tally);
            let bounds = fates.iter().filter(|fate| fate.output_quality == Quality::LowerBound).count();
            let events: u64 = fates.iter().map(|fate| fate.events).sum();
            checks.push(Check {
                holds: is_one_each(&self.hung_up, &fates),
                text: format!(
                    "your keys hung up {}: {} came, {bounds} with a lower bound",
                    calls(&self.hung_up),
                    of_events(events)
                ),
            });
        }
        if !self.forged.is_empty() {
            let fates = fates(&self.forged, tally);
            let charged = fates.iter().filter(|fate| fate.caller != UNATTRIBUTED).count();
            let events: u64 = fates.iter().map(|fate| fate.events).sum();
            checks.push(Check {
                holds: is_one_each(&self.forged, &fates) && charged == 0,
                text: format!(
                    "your keys forged {}: {} came, {charged} charged to anybody",
                    calls(&self.forged),
                    of_events(events)
                ),
            });
        }
        checks
    }
}

/// What became of these calls, as far as their events have come.
fn fates<'a>(call_ids: &[String], tally: &'a TopicTally) -> Vec<&'a CallFate> {
    call_ids.iter().filter_map(|call_id| tally.fate(call_id)).collect()
}

fn is_one_each(call_ids: &[String], fates: &[&CallFate]) -> bool {
    fates.len() == call_ids.len() && fates.iter().all(|fate| fate.events == 1)
}

fn times(count: u64) -> String {
    match count {
        1 => "once".to_owned(),
        count => format!("{count} times"),
    }
}

fn calls(call_ids: &[String]) -> String {
    format!("{} call{}", call_ids.len(), if call_ids.len() == 1 { "" } else { "s" })
}

fn of_events(count: u64) -> String {
    format!("{count} event{}", if count == 1 { "" } else { "s" })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> KeyRecord {
        let mut record = KeyRecord { broken: 1, mended: 2, killed: 1, ..KeyRecord::default() };
        record.hung_up("a-call".to_owned());
        record
    }

    #[test]
    fn what_was_not_pressed_is_not_told() {
        assert!(KeyRecord::default().lines(&TopicTally::default()).is_empty());
        let lines = record().lines(&TopicTally::default());
        assert_eq!(lines[0], "your keys broke the broker once and mended it 2 times");
        assert_eq!(lines[1], "your keys killed sidecar 2 once; the demo restarted it");
        assert_eq!(lines[2], "your keys hung up 1 call: 0 events came, 0 with a lower bound");
    }

    #[test]
    fn a_call_without_its_event_is_a_failure() {
        let checks = record().checks(&TopicTally::default());
        assert_eq!(checks.iter().map(|check| check.holds).collect::<Vec<_>>(), [true, true, false]);
    }

    #[test]
    fn what_is_forged_is_bounded() {
        let mut record = KeyRecord::default();
        while let Some(call_id) = record.next_forged() {
            record.forged(call_id);
        }
        assert_eq!(record.forged.len(), CALLS_MAX);
        assert_eq!(record.forged[1], "forged-by-key-2");
    }
}
