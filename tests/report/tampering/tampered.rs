//! Events in the hands of somebody who tampers with them.

use metering::usage::{CloudEvent, Control, EventType, RowHash, RowsDigest};
use serde_json::Value;

use crate::support::boot_of;
use crate::support::random::Random;
use crate::truth::parsed;

/// Events, as whoever tampers with them leaves them: each is as it was, or another, or gone; and some are new.
pub(super) struct Tampered {
    pub(super) rows: Vec<Option<String>>,
    pub(super) more: Vec<String>,
    random: Random,
}

impl Tampered {
    pub(super) fn new(lines: &[String], seed: u64) -> Tampered {
        let rows = lines.iter().cloned().map(Some).collect();
        Tampered { rows, more: Vec::new(), random: Random::seeded(seed) }
    }

    pub(super) fn lines(&self) -> Vec<String> {
        self.rows.iter().flatten().chain(&self.more).cloned().collect()
    }

    pub(super) fn event(&self, at: usize) -> CloudEvent<Value> {
        parsed(self.rows[at].as_ref().unwrap())
    }

    pub(super) fn all(&self, wanted: impl Fn(&CloudEvent<Value>) -> bool) -> Vec<usize> {
        (0..self.rows.len()).filter(|at| wanted(&self.event(*at))).collect()
    }

    pub(super) fn pick(&mut self, wanted: impl Fn(&CloudEvent<Value>) -> bool) -> usize {
        let fitting = self.all(wanted);
        fitting[self.random.below(fitting.len())]
    }

    /// One row of a call that is not `crashed`.
    pub(super) fn call(&mut self) -> usize {
        self.pick(|event| event.kind == EventType::Usage && event.data["stream"]["outcome"] == "complete")
    }

    pub(super) fn change(&mut self, at: usize, change: impl FnOnce(&mut Value)) {
        let mut event: Value = serde_json::from_str(self.rows[at].as_ref().unwrap()).unwrap();
        let before = event.clone();
        change(&mut event);
        assert_ne!(event, before, "nothing was changed");
        self.rows[at] = Some(event.to_string());
    }

    /// A copy of an event, changed.
    pub(super) fn copy(&mut self, at: usize, change: impl FnOnce(&mut Value)) {
        let mut event: Value = serde_json::from_str(self.rows[at].as_ref().unwrap()).unwrap();
        change(&mut event);
        self.more.push(event.to_string());
    }

    /// The control periods of a boot: the places of the rows of each, and of its own control event.
    pub(super) fn periods(&self, boot: &str) -> Vec<(Vec<usize>, usize)> {
        let (mut periods, mut rows) = (Vec::new(), Vec::new());
        for at in self.all(|event| boot_of(event) == boot) {
            let event = self.event(at);
            if event.kind != EventType::Control {
                rows.push(at);
            } else if event.data["instance"] == boot {
                periods.push((std::mem::take(&mut rows), at));
            }
        }
        periods
    }

    pub(super) fn boots(&self) -> Vec<String> {
        let mut boots = Vec::new();
        for at in 0..self.rows.len() {
            let boot = boot_of(&self.event(at));
            if !boots.contains(&boot) {
                boots.push(boot);
            }
        }
        boots
    }

    /// The control event of a boot's own that covers a row, and all rows of its period.
    pub(super) fn period_of(&self, at: usize) -> Option<(Vec<usize>, usize)> {
        self.periods(&boot_of(&self.event(at))).into_iter().find(|(rows, _)| rows.contains(&at))
    }

    /// A call that an own control event of its boot covers.
    pub(super) fn covered(&mut self) -> usize {
        let calls =
            self.all(|event| event.kind == EventType::Usage && event.data["stream"]["outcome"] == "complete");
        let covered: Vec<usize> = calls.into_iter().filter(|at| self.period_of(*at).is_some()).collect();
        covered[self.random.below(covered.len())]
    }

    /// What somebody without the key would have to compute: the digest of the rows, and the control event's hash.
    pub(super) fn hide(&mut self, at: usize) {
        let (control, digest) = self.hide_without_chain(at);
        // And the chain, to the end of the ledger.
        let mut named = Some(digest);
        for later in self.all(|event| event.kind == EventType::Control).into_iter().filter(|at| *at > control)
        {
            self.reseal(later, |data| data.previous_digest = named.clone());
            named = self.event(later).data["digest"].as_str().map(str::to_owned);
        }
    }

    /// The same without the control events behind. Returns the control event, and its new digest.
    pub(super) fn hide_without_chain(&mut self, at: usize) -> (usize, String) {
        let (rows, control) = self.period_of(at).unwrap();
        let mut digest = RowsDigest::default();
        for row in rows {
            digest.add(&RowHash::of(self.rows[row].as_ref().unwrap().as_bytes()));
        }
        self.reseal(control, |data| data.digest = Some(digest.to_string()));
        (control, digest.to_string())
    }

    pub(super) fn reseal(&mut self, at: usize, change: impl FnOnce(&mut Control)) {
        let mut event: CloudEvent<Control> = serde_json::from_str(self.rows[at].as_ref().unwrap()).unwrap();
        change(&mut event.data);
        // The signature stays: nobody can make another one. The hash is that of the bytes without both.
        let hmac = event.data.hmac.take();
        event.data.sha256 = None;
        let base = serde_json::to_string(&event).unwrap();
        event.data.sha256 = Some(sha256(base.as_bytes()));
        event.data.hmac = hmac;
        self.rows[at] = Some(serde_json::to_string(&event).unwrap());
    }
}

fn sha256(bytes: &[u8]) -> String {
    let hash = ring::digest::digest(&ring::digest::SHA256, bytes);
    hash.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}
