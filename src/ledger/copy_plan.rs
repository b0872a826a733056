//! When the WAL is copied into the database, and how long the writer waits for that.
//!
//! While transactions come, a copy is whole only if the writer pauses for it. So most of the WAL is copied ahead, beside
//! the writer, and for the rest it pauses: on a quick disk, for [`REST_HOLD`] at most, whatever the disk does meanwhile.
//! A transaction right after a whole copy begins the WAL anew, and waits for one sync of its header, since otherwise a
//! loss of power could bring back older pages: for this too copies are rare, and the rarer the slower the disk is.
//! Only at its bound, which is the higher the slower the disk is, the WAL is copied whatever that takes.

use std::time::Duration;

use super::quota::Quota;

/// The WAL may grow by so much, for each millisecond that a sync takes, before its copy is waited for: at 2,000 calls a
/// second some fifty times as long as the wait. Not more, since a disk that has much to write is slow for that.
const WAL_BYTES_PER_MS: u64 = 256 << 10;

/// How long the writer waits for the rest of a copy: as long as it gathers, so that a call is stored within 10 ms.
const REST_HOLD: Duration = Duration::from_millis(4);

/// Syncs within that: of the WAL and of the database.
const REST_SYNCS: u32 = 2;

/// How often the rest is tried until more of the WAL is copied ahead.
const REST_TRIES: u32 = 4;

/// The WAL and its surroundings, in bytes.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct WalUse {
    /// Written since it was begun anew.
    pub(super) written: u64,
    /// Of these: not copied yet.
    pub(super) fresh: u64,
    /// The database grows by so much when they are copied.
    pub(super) growth: u64,
    /// Free on the volume.
    pub(super) free: u64,
    /// How long a sync takes at the moment.
    pub(super) sync: Duration,
}

/// Decides about copies.
#[derive(Debug, Default)]
pub(super) struct CopyPlan {
    /// The WAL at the last copy.
    copied_at: u64,
    /// Most of it was copied ahead, and the rest is tried so often yet.
    rest_tries: u32,
}

impl CopyPlan {
    /// How long the writer waits for the copy that is due now; `None`: none is due.
    pub(super) fn next(&mut self, quota: &Quota, wal: WalUse) -> Option<Duration> {
        if wal.written < self.copied_at {
            *self = CopyPlan::default(); // it was begun anew
        }
        let hold = hold(quota, wal);
        if self.rest_tries > 0 && hold != Some(Duration::MAX) {
            self.rest_tries -= 1;
            self.copied_at = wal.written;
            return (wal.fresh > 0 && wal.sync <= REST_HOLD / REST_SYNCS).then_some(REST_HOLD);
        }
        // A reader may keep the WAL from being copied: that is tried again when there is more.
        let hold = hold.filter(|_| wal.fresh.min(wal.written - self.copied_at) >= quota.wal_copy / 4)?;
        (self.copied_at, self.rest_tries) = (wal.written, if hold.is_zero() { REST_TRIES } else { 0 });
        Some(hold)
    }
}

/// How long the writer may have to wait now: not at all while there is room.
fn hold(quota: &Quota, wal: WalUse) -> Option<Duration> {
    let sync_ms = u64::try_from(wal.sync.as_millis()).unwrap_or(u64::MAX);
    let by_disk = sync_ms.saturating_mul(WAL_BYTES_PER_MS);
    // The last quarter is for what comes until it is copied.
    let (kept, most) = (quota.wal_kept / 4 * 3, quota.wal / 4 * 3);
    let bound = if wal.free >= 2 * quota.wal { by_disk.clamp(kept, most) } else { kept };
    if wal.written >= bound || wal.growth >= kept {
        return Some(Duration::MAX);
    }
    let enough = (by_disk.min(most) / 2).max(quota.wal_copy);
    (wal.fresh >= enough || wal.growth >= quota.wal_kept / 2).then_some(Duration::ZERO)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MIB: u64 = 1 << 20;

    fn quick(written: u64, fresh: u64) -> WalUse {
        WalUse { written, fresh, growth: 0, free: u64::MAX, sync: Duration::from_millis(1) }
    }

    #[test]
    fn the_writer_pauses_for_the_rest_only() {
        let (quota, mut plan) = (Quota::new(10 << 30, u64::MAX), CopyPlan::default());
        let due = quota.wal_copy;
        assert_eq!(plan.next(&quota, quick(due - 1, due - 1)), None);
        assert_eq!(plan.next(&quota, quick(due, due)), Some(Duration::ZERO), "ahead");
        for _ in 0..REST_TRIES {
            assert_eq!(plan.next(&quota, quick(due + MIB, MIB)), Some(REST_HOLD));
        }
        assert_eq!(plan.next(&quota, quick(due + MIB, MIB)), None, "it was overtaken, and comes again");
        assert_eq!(plan.next(&quota, quick(2 * due + MIB, due)), Some(Duration::ZERO));
        assert_eq!(plan.next(&quota, quick(MIB, MIB)), None, "it was whole by itself");
        assert_eq!(
            plan.next(&quota, quick(due, due)),
            Some(Duration::ZERO),
            "of the WAL that was begun anew"
        );
        assert_eq!(plan.next(&quota, quick(due + MIB, 0)), None, "nothing is left");
    }

    #[test]
    fn the_slower_the_disk_the_later_the_writer_waits_for_a_copy() {
        let quota = Quota::new(10 << 30, u64::MAX);
        for (sync_ms, bound_mib) in [(0, 48), (190, 48), (500, 125), (5_000, 192)] {
            let next = |mib: u64| {
                let sync = Duration::from_millis(sync_ms);
                CopyPlan::default().next(&quota, WalUse { sync, ..quick(mib * MIB, 16 * MIB) })
            };
            assert_ne!(next(bound_mib - 1), Some(Duration::MAX), "{sync_ms} ms");
            assert_eq!(next(bound_mib), Some(Duration::MAX), "{sync_ms} ms");
        }
    }

    #[test]
    fn the_slower_the_disk_the_rarer_is_the_wal_copied_and_nobody_waits() {
        let quota = Quota::new(10 << 30, u64::MAX);
        for (sync_ms, due_mib) in [(0, 16), (2, 16), (100, 16), (184, 23), (5_000, 96)] {
            let next = |mib: u64| {
                let sync = Duration::from_millis(sync_ms);
                let mut plan = CopyPlan::default();
                let first = plan.next(&quota, WalUse { sync, ..quick(mib * MIB, mib * MIB) });
                (first, plan.next(&quota, WalUse { sync, ..quick((mib + 1) * MIB, MIB) }))
            };
            assert_eq!(next(due_mib - 1).0, None, "{sync_ms} ms");
            let (ahead, rest) = next(due_mib);
            assert_eq!(ahead, Some(Duration::ZERO), "{sync_ms} ms");
            assert_eq!(rest.is_some(), sync_ms <= 2, "{sync_ms} ms: {rest:?}");
        }
    }

    proptest! {
        /// The WAL and the growth that it holds stay within their parts, whatever the disk and the ledger are like.
        #[test]
        fn a_copy_is_due_before_the_room_is_used_up(
            max in 16 * MIB..1 << 40, full in any::<bool>(), sync_ms in 0_u64..100_000, grows in any::<bool>(),
        ) {
            let (quota, mut plan) = (Quota::new(max, u64::MAX), CopyPlan::default());
            let (step, free) = (quota.wal_kept / 16, if full { 0 } else { u64::MAX });
            let (mut written, mut copied, mut held) = (0, 0, 0);
            for _ in 0..10_000 {
                written += step;
                let fresh = written - copied;
                let growth = if grows { fresh } else { 0 };
                let wal = WalUse { written, fresh, growth, free, sync: Duration::from_millis(sync_ms) };
                match plan.next(&quota, wal) {
                    Some(Duration::MAX) => (written, copied, held) = (0, 0, held + 1),
                    // It is overtaken each time.
                    Some(_) => copied = written - step,
                    None => {}
                }
                let most = if full { quota.wal_kept } else { quota.wal };
                prop_assert!(written < most && (!grows || written - copied < quota.wal_kept), "{quota:?}, {wal:?}");
            }
            prop_assert!(held > 0, "and then it is begun anew");
        }
    }
}
