//! The file systems on which a ledger may lie: those whose locks and syncs hold.
//!
//! The ledger's promises rest on two things that the file system gives: a lock that keeps a second
//! process out, and a sync after which bytes survive a power cut. SQLite's WAL also needs memory
//! that all processes share. File systems that speak to another machine, or to a program, may give
//! none of these and say nothing. So they are refused by their kind, unless the operator allows it.

use std::path::Path;

use rustix::fs::statfs;

use super::error::OpenError;

/// File systems on another machine, or behind a program that may be one's door, by the `f_type` of
/// statfs(2). Numbers: Linux, `include/uapi/linux/magic.h`; those of file systems outside the
/// kernel's tree: GNU coreutils, `src/stat.c`, where they are marked "remote".
const REMOTE: &[(u32, &str)] = &[
    (0x0000_6969, "NFS"),
    (0x0000_517b, "SMB"),
    (0xff53_4d42, "CIFS"),
    (0xfe53_4d42, "SMB2"),
    // blobfuse, gcsfuse, s3fs, sshfs; also virtiofs, whose files lie with the host.
    (0x6573_5546, "FUSE"),
    (0x0102_1997, "9P"),
    (0x5346_414f, "AFS"),
    (0x6b41_4653, "AFS"),
    (0x00c3_6400, "Ceph"),
    (0x7375_7245, "Coda"),
    (0x0000_564c, "NCP"),
    (0x7461_636f, "OCFS2"),
    (0x0116_1970, "GFS2"),
    (0x0bd0_0bd0, "Lustre"),
    (0x4750_4653, "GPFS"),
    (0x1983_0326, "BeeGFS"),
    (0xaad7_aaea, "PanFS"),
    (0xbeef_dead, "StorNext"),
    (0x0131_11a8, "Ibrix"),
    (0x6163_6673, "ACFS"),
    (0x786f_4256, "VirtualBox shared folder"),
    (0xbacb_acbc, "VMware shared folder"),
    (0x7c7c_6673, "Parallels shared folder"),
];

/// File systems of this machine, as people call them.
const LOCAL: &[(u32, &str)] = &[
    (0x0000_ef53, "ext4"),
    (0x5846_5342, "XFS"),
    (0x9123_683e, "Btrfs"),
    (0x2fc1_2fc1, "ZFS"),
    (0xf2f5_2010, "F2FS"),
    (0x794c_7630, "overlayfs"),
    (0xca45_1a4e, "bcachefs"),
];

/// File systems in memory: a ledger there survives the death of the process, and nothing else.
const MEMORY: &[(u32, &str)] = &[(0x0102_1994, "tmpfs"), (0x8584_58f6, "ramfs"), (0x9584_58f6, "hugetlbfs")];

/// The name of a kind of file system; its number in hex where it has none here.
pub(super) fn name(kind: u32) -> String {
    let known = REMOTE.iter().chain(LOCAL).chain(MEMORY).find(|(number, _)| *number == kind);
    known.map_or_else(|| format!("file system {kind:#x}"), |(_, name)| (*name).to_owned())
}

/// The file system in memory that a directory lies on, or will when it is made; `None` if it is another.
pub fn in_memory(dir: &Path) -> Option<&'static str> {
    let kind = statfs(existing(dir)).ok()?.f_type as u32;
    MEMORY.iter().find(|(number, _)| *number == kind).map(|(_, name)| *name)
}

/// The directory, or the nearest above it that is there.
pub(super) fn existing(dir: &Path) -> &Path {
    let there = dir.ancestors().find(|dir| dir.exists()).filter(|dir| !dir.as_os_str().is_empty());
    there.unwrap_or(Path::new("."))
}

/// Refuses a directory on a network file system, unless `allowed`. The directory need not exist
/// yet: then the one that it will be made in counts.
///
/// # Errors
/// [`OpenError::NetworkFs`], or [`OpenError::Io`] if the file system cannot be asked.
pub fn check(dir: &Path, allowed: bool) -> Result<(), OpenError> {
    if allowed {
        return Ok(());
    }
    let there = existing(dir);
    let stat =
        statfs(there).map_err(|error| OpenError::Io { path: there.to_owned(), error: error.into() })?;
    // The field's type differs between architectures; the numbers have 32 bits everywhere.
    match remote(stat.f_type as u32) {
        Some(kind) => Err(OpenError::NetworkFs { dir: dir.to_owned(), kind }),
        None => Ok(()),
    }
}

/// The kind of a network file system; `None` for a local one.
fn remote(kind: u32) -> Option<&'static str> {
    REMOTE.iter().find(|(number, _)| *number == kind).map(|(_, name)| *name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn local_file_systems_pass_and_network_ones_do_not() {
        // ext4, XFS, Btrfs, tmpfs, overlayfs, F2FS, ZFS.
        for local in [0xef53, 0x5846_5342, 0x9123_683e, 0x0102_1994, 0x794c_7630, 0xf2f5_2010, 0x2fc1_2fc1] {
            assert_eq!(remote(local), None, "{local:#x}");
        }
        for (number, name) in
            [(0x6969, "NFS"), (0xfe53_4d42, "SMB2"), (0x6573_5546, "FUSE"), (0x0102_1997, "9P")]
        {
            assert_eq!(remote(number), Some(name));
        }
        let mut numbers: Vec<u32> = REMOTE.iter().map(|(number, _)| *number).collect();
        numbers.extend(LOCAL.iter().chain(MEMORY).map(|(number, _)| *number));
        numbers.sort_unstable();
        numbers.dedup();
        assert_eq!(numbers.len(), REMOTE.len() + LOCAL.len() + MEMORY.len(), "a number stands twice");
    }

    #[test]
    fn a_directory_that_is_not_there_yet_counts_as_where_it_will_be() {
        let parent = tempfile::tempdir().unwrap();
        check(&parent.path().join("a/b"), false).unwrap();
        check(Path::new("not-there-yet"), false).unwrap();
        let error = OpenError::NetworkFs { dir: "/mnt/share".into(), kind: "NFS" }.to_string();
        for part in ["/mnt/share", "NFS", "lock", "sync", "--ledger-network-fs allow"] {
            assert!(error.contains(part), "{error}");
        }
    }

    /// A real one, where the machine has it: sysfs and proc are no network, so only tmpfs and the
    /// disk are certain to be there.
    #[test]
    fn tmpfs_and_the_disk_are_accepted() {
        for dir in ["/dev/shm", "/tmp", "."] {
            if Path::new(dir).is_dir() {
                check(Path::new(dir), false).unwrap_or_else(|error| panic!("{error}"));
            }
        }
        if let Some(kind) = in_memory(Path::new("/dev/shm")) {
            assert_eq!((kind, in_memory(Path::new("/dev/shm/a/b"))), ("tmpfs", Some("tmpfs")));
        }
        assert_eq!(in_memory(Path::new("/proc")), None);
    }
}
