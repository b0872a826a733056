//! The part of a boot that is judged: all of it, or the control periods that touch a range of time.
//!
//! Control events are minutes apart, and what one covers is judged as a whole. So the part begins with the control event
//! in whose period the range begins, and ends with the one in whose period it ends.

use std::ops::Range;

use jiff::Timestamp;

use super::boot_index::BootRecord;
use super::options::VerifyOptions;

/// The part of a boot that is judged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct JudgedPart {
    /// Sequences from here on.
    pub(super) first: u64,
    /// Up to here.
    pub(super) last: u64,
    /// Its control events.
    pub(super) periods: Range<usize>,
    /// Rows that came, or should have come, after the last control event are judged, too.
    pub(super) has_tail: bool,
}

impl JudgedPart {
    /// The part of a boot; `None`: it lies outside of the range.
    pub(super) fn of(boot: &BootRecord, index: usize, options: &VerifyOptions) -> Option<JudgedPart> {
        let touches = |at: &usize| options.touches_range(begin(boot, *at), boot.periods[*at].time);
        let count = boot.periods.len();
        let first = (0..count).find(touches);
        let last = (0..count).rev().find(touches);
        let has_tail = options.touches_range(begin(boot, count), boot.latest);
        let periods = match (first, last) {
            (Some(first), Some(last)) => first..if has_tail { count } else { last + 1 },
            _ if has_tail => count..count,
            _ => return None,
        };
        let own_end =
            periods.clone().next_back().map(|at| &boot.periods[at]).filter(|last| last.writer == index);
        Some(JudgedPart {
            first: if periods.start == 0 { 1 } else { boot.periods[periods.start - 1].sequence + 1 },
            last: own_end.filter(|_| !has_tail).map_or_else(|| boot.last_expected(), |end| end.sequence),
            periods,
            has_tail,
        })
    }
}

/// When a period began, or what came after the last one.
fn begin(boot: &BootRecord, at: usize) -> Option<Timestamp> {
    if at == 0 { boot.began } else { boot.periods[at - 1].time }
}
