//! The run of a boot's sequences that is judged: all of them, or those of the control periods that touch the range.
//!
//! What a control event covers is judged as a whole. A period reaches from the control event before it, however long ago
//! that was: the last control event of a boot that died may come hours later, from the next one.

use std::ops::Range;

use jiff::Timestamp;

use super::content_boots::ContentBoot;
use crate::report::verify::options::VerifyOptions;

/// The run of a boot that is judged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct JudgedRun {
    /// Sequences from here on.
    pub(super) first: u64,
    /// Up to here.
    pub(super) last: u64,
    /// Its control events.
    pub(super) controls: Range<usize>,
}

impl JudgedRun {
    /// The run of the boot with this place, whose control events are in order; `None`: it lies outside of the range.
    pub(super) fn of(boot: &ContentBoot, own: usize, options: &VerifyOptions) -> Option<JudgedRun> {
        let count = boot.controls.len();
        let touches = |at: &usize| options.touches_range(begin(boot, *at), boot.controls[*at].time);
        let first = (0..count).find(touches);
        let last = (0..count).rev().find(touches);
        // What follows the last control event, or would if the boot had not ended.
        let has_tail = options.touches_range(begin(boot, count), boot.latest);
        let controls = match (first, last) {
            _ if has_tail => first.unwrap_or(count)..count,
            (Some(first), Some(last)) => first..last + 1,
            _ => return None,
        };
        let end = controls.end.checked_sub(1).map(|at| &boot.controls[at]);
        let own_end = end.filter(|control| control.writer == own && !has_tail);
        Some(JudgedRun {
            first: controls.start.checked_sub(1).map_or(1, |at| boot.controls[at].end(own) + 1),
            last: own_end.map_or_else(|| boot.last_expected(), |control| control.sequence),
            controls,
        })
    }

    /// The sequence lies in it.
    pub(super) fn has(&self, sequence: u64) -> bool {
        (self.first..=self.last).contains(&sequence)
    }
}

/// When a control event's period began, or what came after the last one.
fn begin(boot: &ContentBoot, at: usize) -> Option<Timestamp> {
    match at.checked_sub(1) {
        None => boot.began,
        Some(before) => boot.controls[before].time,
    }
}
