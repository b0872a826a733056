//! The acts of the demo, which stay on the screen: what is ahead, what goes on, and what is over.

use std::time::Duration;

use strum::VariantArray;

use super::style::{Emphasis, Styles};

/// An act, in the order of the script.
#[derive(Clone, Copy, Debug, PartialEq, Eq, VariantArray)]
pub(super) enum ActName {
    Calm,
    Outage,
    Kill,
    Recovery,
    Return,
    End,
}

impl ActName {
    /// What is ahead, for whoever has not seen it yet.
    fn plan(self) -> &'static str {
        match self {
            ActName::Calm => "eleven callers call through two sidecars",
            ActName::Outage => "the broker goes away",
            ActName::Kill => "sidecar 2 is killed with kill -9, in the middle of its streams",
            ActName::Recovery => "sidecar 2 is started again on the ledger of the dead one",
            ActName::Return => "the broker comes back",
            ActName::End => "no new calls: the last streams end, the last events arrive",
        }
    }

    /// The same in a word.
    fn word(self) -> &'static str {
        match self {
            ActName::Calm => "calm",
            ActName::Outage => "outage",
            ActName::Kill => "kill -9",
            ActName::Recovery => "recovery",
            ActName::Return => "return",
            ActName::End => "end",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ActState {
    Ahead,
    Running,
    Over,
}

#[derive(Clone, Debug)]
struct Act {
    name: ActName,
    state: ActState,
    /// When it began.
    at: Duration,
    text: String,
}

/// The programme.
#[derive(Clone, Debug)]
pub(super) struct Acts(Vec<Act>);

impl Default for Acts {
    fn default() -> Acts {
        let act = |name: &ActName| {
            let text = name.plan().to_owned();
            Act { name: *name, state: ActState::Ahead, at: Duration::ZERO, text }
        };
        Acts(ActName::VARIANTS.iter().map(act).collect())
    }
}

impl Acts {
    /// It goes on from now.
    pub(super) fn begin(&mut self, name: ActName, at: Duration, text: &str) {
        self.set(name, ActState::Running, Some(at), text);
    }

    /// It is over; this is what came of it. One that never began has none.
    pub(super) fn end(&mut self, name: ActName, text: &str) {
        if self.is(name, ActState::Running) {
            self.set(name, ActState::Over, None, text);
        }
    }

    /// What never began is no part of the story.
    pub(super) fn leave_out_what_is_ahead(&mut self) {
        self.0.retain(|act| act.state != ActState::Ahead);
    }

    pub(super) fn is_running(&self, name: ActName) -> bool {
        self.is(name, ActState::Running)
    }

    /// When it began.
    pub(super) fn began(&self, name: ActName) -> Duration {
        self.0.iter().find(|act| act.name == name).map_or(Duration::ZERO, |act| act.at)
    }

    /// A line for each act.
    pub(super) fn lines(&self, styles: Styles) -> Vec<String> {
        self.0.iter().map(|act| act.line(styles)).collect()
    }

    /// All acts in one line, for a terminal that is not high.
    pub(super) fn strip(&self, styles: Styles) -> String {
        let word = |act: &Act| styles.paint(act.emphasis(), &format!("{} {}", act.sign(), act.name.word()));
        self.0.iter().map(word).collect::<Vec<_>>().join("   ")
    }

    fn is(&self, name: ActName, state: ActState) -> bool {
        self.0.iter().any(|act| act.name == name && act.state == state)
    }

    fn set(&mut self, name: ActName, state: ActState, at: Option<Duration>, text: &str) {
        for act in self.0.iter_mut().filter(|act| act.name == name) {
            (act.state, act.text) = (state, text.to_owned());
            act.at = at.unwrap_or(act.at);
        }
    }
}

impl Act {
    fn line(&self, styles: Styles) -> String {
        let at = match self.state {
            ActState::Ahead => String::new(),
            _ => format!("{:.1} s", self.at.as_secs_f64()),
        };
        format!(
            "{} {at:>7}  {}",
            styles.paint(self.emphasis(), self.sign()),
            match self.state {
                ActState::Ahead => styles.paint(Emphasis::Quiet, &self.text),
                _ => self.text.clone(),
            }
        )
    }

    fn sign(&self) -> &'static str {
        match self.state {
            ActState::Ahead => "·",
            ActState::Running => "▸",
            ActState::Over => "✓",
        }
    }

    fn emphasis(&self) -> Emphasis {
        match self.state {
            ActState::Ahead => Emphasis::Quiet,
            ActState::Running => Emphasis::Running,
            ActState::Over => Emphasis::Holds,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PLAIN: Styles = Styles { colours: false };

    #[test]
    fn what_is_over_stays_with_its_time() {
        let mut acts = Acts::default();
        acts.begin(ActName::Calm, Duration::ZERO, "all is well");
        acts.end(ActName::Calm, "all was well");
        acts.begin(ActName::Outage, Duration::from_millis(3_040), "the broker is away");
        acts.end(ActName::Kill, "it never began");
        let lines = acts.lines(PLAIN);
        assert_eq!(lines[0], "✓   0.0 s  all was well");
        assert_eq!(lines[1], "▸   3.0 s  the broker is away");
        assert_eq!(lines[2], "·          sidecar 2 is killed with kill -9, in the middle of its streams");
        assert!(acts.is_running(ActName::Outage) && !acts.is_running(ActName::Kill));
        assert!(acts.strip(PLAIN).starts_with("✓ calm   ▸ outage   · kill -9"));
        acts.leave_out_what_is_ahead();
        assert_eq!(acts.lines(PLAIN).len(), 2);
    }

    #[test]
    fn every_line_fits_eighty_columns() {
        let acts = Acts::default();
        for line in acts.lines(PLAIN).into_iter().chain([acts.strip(PLAIN)]) {
            assert!(line.chars().count() <= 80, "{line}");
        }
    }
}
