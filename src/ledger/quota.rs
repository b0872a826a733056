//! How the room that a ledger may take is split, and how much of it there is.
//!
//! | part | why |
//! |---|---|
//! | events | what may be used while all is well |
//! | reserve | pages of the database for sums, marks and the last control event when events fill theirs |
//! | WAL | what is committed and not copied yet |
//! | ballast | a file that is given up when the volume is really full: enough to copy the WAL and to use the reserve |
//!
//! Database, WAL and ballast together stay within `--ledger-max-bytes`, and within the volume.

use std::path::Path;

const MIB: u64 = 1 << 20;

/// Bytes in the WAL before they are copied into the database where the disk is quick: three seconds of 2,000 calls a
/// second. Pages that change with every commit are then copied once for some eight hundred of them, and as seldom the
/// WAL is begun anew (`copy_plan`).
const WAL_COPY_BYTES_MAX: u64 = 16 * MIB;

/// Bytes of the WAL's file that stay on the disk once they are copied: writing over them changes no metadata. By no
/// more does the database grow with a copy, and so no more is kept in the ballast for that.
const WAL_KEPT_BYTES_MAX: u64 = 64 * MIB;

/// Bytes that the WAL may take where no copy of it is whole, because the disk is slow: half a minute of 2,000 calls a
/// second. Most of them are pages that were written again and again.
const WAL_BYTES_MAX: u64 = 256 * MIB;

/// Room for what is written when there is no other: 10,000 sums.
const RESERVE_BYTES_MAX: u64 = 16 * MIB;

/// One stored sum, rounded up.
const SUM_BYTES: u64 = 1_600;

/// Distinct sums held in memory, 10 MiB of them.
const SUMS_MAX: u64 = 10_000;

/// One operation adds so many bytes to the WAL, rounded up.
const OP_BYTES: u64 = 2_048;

/// Operations in one transaction: bounds how long one takes.
const BATCH_OPS_MAX: u64 = 4_096;

/// Below this a transaction costs more than what it stores.
const BATCH_OPS_MIN: u64 = 64;

/// The parts, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Quota {
    /// All of it, as it was set.
    pub(super) max: u64,
    /// Database while all is well.
    pub(super) events: u64,
    /// Database when it is not.
    pub(super) database: u64,
    /// WAL that is copied into the database where the disk is quick.
    pub(super) wal_copy: u64,
    /// WAL that stays on the disk.
    pub(super) wal_kept: u64,
    /// WAL at most.
    pub(super) wal: u64,
    /// The ballast file.
    pub(super) ballast: u64,
}

impl Quota {
    /// Splits what was set, or the whole volume if that is smaller.
    pub(super) fn new(max: u64, volume: u64) -> Quota {
        let room = max.min(volume);
        let wal_copy = WAL_COPY_BYTES_MAX.min(room / 64);
        let wal_kept = WAL_KEPT_BYTES_MAX.min(room / 16 / 3 * 4);
        let wal = WAL_BYTES_MAX.min(room / 32).max(wal_kept);
        let reserve = RESERVE_BYTES_MAX.min(room / 32);
        let ballast = wal_kept + reserve;
        let database = room - wal - ballast;
        debug_assert!(
            wal_copy <= wal_kept && wal_kept <= wal && reserve <= database,
            "{room} bytes are split"
        );
        Quota { max, events: database - reserve, database, wal_copy, wal_kept, wal, ballast }
    }

    /// Delivered events go, oldest first, while the database uses more than this of `reach`, the
    /// bytes that it can have at all.
    pub(super) fn high_water(reach: u64) -> u64 {
        reach / 10 * 8
    }

    /// A ledger that was full stores calls again once the database uses less than this of `reach`.
    pub(super) fn low_water(reach: u64) -> u64 {
        reach / 10 * 9
    }

    /// Operations in one transaction, so that it stays within the WAL's last quarter.
    pub(super) fn batch_ops(&self) -> usize {
        let ops = (self.wal - self.wal_copy) / OP_BYTES;
        ops.clamp(BATCH_OPS_MIN, BATCH_OPS_MAX) as usize
    }

    /// Distinct sums, so that all of them fit into the reserve.
    pub(super) fn sums(&self) -> usize {
        ((self.database - self.events) / SUM_BYTES).clamp(1, SUMS_MAX) as usize
    }
}

/// A volume's room in bytes, as far as this process may use it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Volume {
    pub(super) total: u64,
    pub(super) free: u64,
}

impl Volume {
    /// Asks the file system under a directory. One that does not answer is taken for boundless:
    /// then writing itself tells.
    pub(super) fn of(dir: &Path) -> Volume {
        match rustix::fs::statvfs(dir) {
            Ok(stat) if stat.f_blocks > 0 => Volume {
                total: stat.f_blocks.saturating_mul(stat.f_frsize),
                free: stat.f_bavail.saturating_mul(stat.f_frsize),
            },
            _ => Volume { total: u64::MAX, free: u64::MAX },
        }
    }
}

/// Bytes of a file; 0 if there is none.
pub(super) fn file_bytes(path: &Path) -> u64 {
    std::fs::metadata(path).map_or(0, |file| file.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_default_keeps_the_wal_of_a_large_ledger() {
        let quota = Quota::new(10 << 30, u64::MAX);
        let parts = (quota.wal_copy, quota.wal_kept, quota.wal, quota.ballast);
        assert_eq!(parts, (16 * MIB, 64 * MIB, 256 * MIB, 80 * MIB));
        assert_eq!((quota.batch_ops(), quota.sums()), (4_096, 10_000));
    }

    #[test]
    fn most_of_the_smallest_quota_and_of_a_small_volume_is_for_events() {
        for (max, volume) in [(16 * MIB, u64::MAX), (10 << 30, 24 * MIB)] {
            let quota = Quota::new(max, volume);
            assert!(quota.events >= max.min(volume) / 10 * 7, "{quota:?}");
            assert!(quota.batch_ops() >= 128 && quota.sums() >= 256, "{quota:?}");
        }
    }

    proptest! {
        #[test]
        fn the_parts_stay_within_the_whole(max in MIB / 2..1 << 40, volume in MIB / 2..1 << 44_u64) {
            let quota = Quota::new(max, volume);
            prop_assert!(quota.database + quota.wal + quota.ballast <= max.min(volume));
            prop_assert!(quota.events < quota.database && quota.wal_copy < quota.wal_kept);
            prop_assert!(quota.wal_kept <= quota.wal);
            // The ballast is there for this: the WAL can be copied, and the reserve be used.
            prop_assert!(quota.ballast >= quota.wal_kept + (quota.database - quota.events));
        }
    }
}
