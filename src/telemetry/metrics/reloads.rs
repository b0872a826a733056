//! Metrics of files that are read again.

use std::time::{SystemTime, UNIX_EPOCH};

use prometheus::{IntCounterVec, IntGaugeVec};

use super::declare::Declare;

/// The result of reading a setting's file again, where there is one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum ReloadResult {
    /// The new value is in force.
    Changed,
    /// The old value stays in force.
    Failed,
}

#[derive(Debug)]
pub(super) struct ReloadMetrics {
    reloads: IntCounterVec,
    reload_success_s: IntGaugeVec,
}

impl ReloadMetrics {
    pub(super) fn declare(d: &mut Declare) -> Option<ReloadMetrics> {
        Some(ReloadMetrics {
            reloads: d.counters(
                "tokenweir_reloads_total",
                "Files read again. result: changed, failed (what was read before stays in force).",
                &["setting", "result"],
            )?,
            reload_success_s: d.gauges(
                "tokenweir_reload_last_success_timestamp_seconds",
                "When a file was last read again and taken: seconds since 1970.",
                &["setting"],
            )?,
        })
    }

    pub(super) fn reloaded(&self, setting: &str, result: ReloadResult) {
        self.reloads.with_label_values(&[setting, result.into()]).inc();
        if result == ReloadResult::Changed {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            self.reload_success_s.with_label_values(&[setting]).set(now.as_secs().cast_signed());
        }
    }
}
