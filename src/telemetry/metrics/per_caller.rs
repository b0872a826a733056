//! The metric of tokens by caller or department, which is off by default.

use std::time::{Duration, Instant};

use prometheus::IntCounterVec;

use super::calls::TOTALS;
use super::declare::Declare;
use crate::telemetry::labels::Names;
use metering::caller::Caller;
use metering::usage::Usage;

/// Series of callers: enough for the teams of a bank; more would hurt a Prometheus.
const CALLERS_MAX: usize = 500;

/// A caller that was silent for so long takes no series any more.
const CALLER_IDLE_MAX: Duration = Duration::from_secs(24 * 60 * 60);

/// Whose tokens stand in metrics of their own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, strum::VariantArray, strum::VariantNames)]
#[strum(serialize_all = "kebab-case")]
pub enum PerCaller {
    /// No caller's.
    #[default]
    Off,
    /// Each department's, as the caller map names it.
    Department,
    /// Each caller's.
    Caller,
}

#[derive(Debug)]
pub(super) struct CallerMetrics {
    /// Whose tokens are counted.
    pub(super) per_caller: PerCaller,
    callers: Names,
    caller_tokens: IntCounterVec,
}

impl CallerMetrics {
    pub(super) fn declare(d: &mut Declare) -> Option<CallerMetrics> {
        Some(CallerMetrics {
            per_caller: PerCaller::Off,
            callers: Names::new(CALLERS_MAX),
            caller_tokens: d.counters(
                "tokenweir_caller_tokens_total",
                "Tokens by caller or department (--metrics-per-caller, off by default); other where there are too many. class: input, output. No base of a bill: that is the topic.",
                &["caller", "class"],
            )?,
        })
    }

    /// The tokens of one caller, where they are wanted.
    pub(super) fn settled(&self, usage: &Usage) {
        let Some(name) = self.named(&usage.caller) else { return };
        let caller = self.callers.label(Some(name), true);
        for class in TOTALS {
            let count = class.of(&usage.tokens).unwrap_or(0);
            self.caller_tokens.with_label_values(&[caller, class.as_str()]).inc_by(count);
        }
    }

    fn named<'a>(&self, caller: &'a Caller) -> Option<&'a str> {
        match self.per_caller {
            PerCaller::Off => None,
            PerCaller::Department => Some(caller.department.as_deref().unwrap_or("")),
            PerCaller::Caller => Some(&caller.id),
        }
    }

    /// Takes the series of callers that were silent for long.
    pub(super) fn forget_silent(&self) {
        for caller in self.callers.forget_silent(Instant::now(), CALLER_IDLE_MAX) {
            for class in TOTALS {
                // It has no series of a class that it never used.
                let _ = self.caller_tokens.remove_label_values(&[caller.as_str(), class.as_str()]);
            }
        }
    }
}
