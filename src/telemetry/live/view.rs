//! What is shown at one moment: the page and `top` draw it, and it is what the admin port sends.

use std::borrow::Cow;

use jiff::Timestamp;
use metering::names;
use metering::usage::{Outcome, Quality};
use serde::{Deserialize, Serialize};
use smol_str::SmolStr;
use strum::VariantArray;

use super::call::LiveCall;
use super::callers::{CallTotals, RECENT_SECONDS};
use super::history::{HISTORY_SECONDS, Point};
use super::sums::LiveSums;
use crate::telemetry::metrics::LedgerSnapshot;

/// Which seconds are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Points {
    /// All that are kept.
    All,
    /// The last few.
    Last(u64),
}

/// Everything at one moment. Names are as people may be shown them.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LiveView {
    /// This moment, in milliseconds since 1970.
    pub now_ms: i64,
    /// Whole seconds since the start.
    pub up_s: u64,
    /// How many seconds are of late.
    pub recent_s: u64,
    /// The names of the qualities, in the order of the sums.
    pub quality_names: Vec<Cow<'static, str>>,
    /// The names of the outcomes, in the order of their counts.
    pub outcome_names: Vec<Cow<'static, str>>,
    /// All calls since the start.
    pub totals: CallTotals,
    /// Calls by how they ended; those that are only in a sum have no outcome.
    pub outcomes: Vec<u64>,
    /// Calls of late.
    pub recent: RecentSums,
    /// Each caller, the busiest first.
    pub callers: Vec<CallerView>,
    /// Callers that have no line of their own; `None`: there are none.
    pub other: Option<CallTotals>,
    /// The last calls that were cut short, the newest first.
    pub interrupted: Vec<LiveCall>,
    /// Seconds that are over.
    pub points: Vec<Point>,
    /// How the sidecar does; `None`: a ledger or a topic is looked at.
    pub health: Option<Health>,
}

/// Sums of the last [`LiveView::recent_s`] seconds. Whoever shows them divides.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecentSums {
    /// Calls that ended.
    pub calls: u64,
    /// Tokens of their prompts.
    pub input: u64,
    /// Tokens of their responses.
    pub output: u64,
}

/// One caller.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallerView {
    /// The caller's id.
    pub caller: SmolStr,
    /// Its department, where the caller map names one.
    pub department: Option<SmolStr>,
    /// Its calls since the start.
    #[serde(flatten)]
    pub totals: CallTotals,
    /// Its tokens of late.
    pub recent_tokens: u64,
}

/// How a sidecar does.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Health {
    /// Its version.
    pub version: SmolStr,
    /// Its ledger's name in events.
    pub source: String,
    /// Calls are accepted.
    pub ready: bool,
    /// Responses that are passing.
    pub streams: u64,
    /// The ledger.
    pub ledger: LedgerSnapshot,
    /// The way to Kafka; `None`: nothing is published.
    pub kafka: Option<KafkaHealth>,
}

/// The way to Kafka.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KafkaHealth {
    /// The topic.
    pub topic: String,
    /// Brokers that the client knows.
    pub brokers: u64,
    /// Of these: with a connection that works.
    pub brokers_up: u64,
    /// Nothing has got through since the last error.
    pub backing_off: bool,
    /// Events sent and not acknowledged yet.
    pub in_flight: u64,
    /// Errors of events since the start.
    pub errors: u64,
}

impl LiveView {
    /// Copies what is shown. It is quick, since a lock is held meanwhile.
    pub(super) fn copied(sums: &LiveSums, points: Points, second: u64) -> LiveView {
        let mut callers = Vec::with_capacity(sums.callers.len());
        callers.extend(sums.callers.known().map(|(caller, of_caller)| CallerView {
            caller: caller.clone(),
            department: of_caller.department.clone(),
            totals: of_caller.totals,
            recent_tokens: of_caller.recent_tokens(second),
        }));
        let last = sums.history.since(second.saturating_sub(RECENT_SECONDS), second);
        let recent = last.fold(RecentSums::default(), |sum, point| RecentSums {
            calls: sum.calls.saturating_add(point.calls),
            input: sum.input.saturating_add(point.input),
            output: sum.output.saturating_add(point.output),
        });
        let seconds = match points {
            Points::All => HISTORY_SECONDS,
            Points::Last(seconds) => seconds,
        };
        let other = sums.callers.other();
        LiveView {
            now_ms: Timestamp::now().as_millisecond(),
            up_s: second,
            recent_s: RECENT_SECONDS.min(second),
            totals: sums.totals,
            outcomes: sums.outcomes.to_vec(),
            recent,
            callers,
            other: (other.calls > 0).then_some(other),
            interrupted: sums.recent.interrupted().cloned().collect(),
            points: sums.history.since(second.saturating_sub(seconds), second).copied().collect(),
            ..LiveView::default()
        }
    }

    /// The view with its words, callers in order, and names as people may be shown them.
    pub(super) fn sorted(mut self) -> LiveView {
        self.quality_names = Quality::VARIANTS.iter().map(|word| word.as_str().into()).collect();
        self.outcome_names = Outcome::VARIANTS.iter().map(|word| word.as_str().into()).collect();
        self.callers.sort_by(|one, other| {
            let busier = other.recent_tokens.cmp(&one.recent_tokens);
            let more = other.totals.tokens().cmp(&one.totals.tokens());
            busier.then(more).then_with(|| one.caller.cmp(&other.caller))
        });
        for caller in &mut self.callers {
            caller.caller = shown(&caller.caller);
            caller.department = caller.department.as_deref().map(shown);
        }
        self.interrupted = self.interrupted.into_iter().map(LiveCall::shown).collect();
        self
    }
}

impl LiveSums {
    /// What is shown in this second.
    pub fn view(&self, second: u64) -> LiveView {
        LiveView::copied(self, Points::All, second).sorted()
    }
}

fn shown(name: &str) -> SmolStr {
    names::shown(name).into()
}

impl LiveView {
    /// A sum of late as a mean a second.
    pub fn a_second(&self, sum: u64) -> f64 {
        if self.recent_s == 0 { 0.0 } else { sum as f64 / self.recent_s as f64 }
    }
}
