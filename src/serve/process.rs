//! Requests of the process to the system: that its memory cannot be read by others, and file descriptors.

use rustix::process::{DumpableBehavior, Resource, Rlimit, getrlimit, set_dumpable_behavior, setrlimit};

use crate::admin;

/// File descriptors of everything but calls and the admin port: a runtime for each job, the ledger, its readers, the
/// files that are read again, the Kafka client with a connection to each broker, and name lookups. 30 are open when
/// nothing runs.
const FILES_ELSEWHERE: u64 = 64;

/// .. and of each network thread: its poll, its waker, its listener, a connection that waits for a place.
const FILES_OF_A_THREAD: u64 = 4;

/// Has the process leave no core dump, and lets no process of the same user read its memory: prompts, responses and
/// secrets are in it. The first says so to whoever writes core files, the second to whoever pipes them elsewhere, and
/// gives `/proc/PID` to root. So an operator who wants to see a memory image takes it as root, with `gcore PID`.
///
/// # Errors
/// If the system does not do one of them.
pub fn hide_memory() -> std::io::Result<()> {
    set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    Ok(setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) })?)
}

/// How many file descriptors calls may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct FileDescriptors {
    /// Upstreams, each with connections that wait for their next request in each thread.
    pub(super) upstreams: usize,
    /// Network threads.
    pub(super) threads: usize,
    /// Responses that are read on although their caller has gone.
    pub(super) drains: usize,
    /// Connections that wait, at most, per upstream and thread.
    pub(super) idle_max: usize,
    /// Connections at the admin port that have not asked yet.
    pub(super) heads: usize,
}

impl FileDescriptors {
    /// Descriptors for so many connections of callers, with all else that needs some. Of each there may be one to a
    /// service besides. Where there is one pool of connections that wait, one of it is taken before another is opened,
    /// so it is within these; each further pool may be full meanwhile.
    pub(super) fn needed(&self, connections: usize) -> u64 {
        let pools = (self.upstreams.max(1) * self.threads.max(1)) as u64;
        let (connections, waiting) = (connections as u64, self.idle_max.min(connections) as u64);
        2 * connections + waiting * (pools - 1) + self.apart()
    }

    /// Those that have nothing to do with how many connections there are.
    fn apart(&self) -> u64 {
        let threads = self.threads.max(1) as u64 * FILES_OF_A_THREAD;
        (self.drains + self.heads + admin::FILES_BESIDE_PENDING) as u64 + threads + FILES_ELSEWHERE
    }

    /// The connections, of those that are wanted, for which the limit is enough; one at least.
    pub(super) fn connections(&self, wanted: usize, limit: Option<u64>) -> usize {
        let Some(limit) = limit else { return wanted };
        let (mut fit, mut too_many) = (1, wanted.saturating_add(1));
        while fit + 1 < too_many {
            let middle = fit + (too_many - fit) / 2;
            if self.needed(middle) <= limit { fit = middle } else { too_many = middle }
        }
        fit.min(wanted)
    }

    /// The warning about a limit that is too low for the connections that are wanted.
    pub(super) fn warning(&self, wanted: usize, limit: Option<u64>) -> Option<String> {
        let limit = limit.filter(|limit| *limit < self.needed(wanted))?;
        let (fit, apart) = (self.connections(wanted, Some(limit)), self.apart());
        let needed = FileDescriptors { heads: admin::pending_max(None), ..*self }.needed(wanted); // the higher, the more of these
        Some(format!(
            "open files are limited to {limit} (ulimit -n), too few for --max-connections {wanted}: each call takes two, its \
             caller's and the service's, and {apart} are kept for the rest, the admin port among it; {fit} connections are \
             taken at once, more wait; raise the limit to {needed} (LimitNOFILE), or lower --max-connections"
        ))
    }
}

/// The most file descriptors that the process can have; `None`: any number.
pub(super) fn files_max() -> Option<u64> {
    getrlimit(Resource::Nofile).maximum
}

/// Raises the limit of file descriptors to so many, as far as it can be raised. Returns what it is then.
pub(super) fn raise_files(needed: u64) -> Option<u64> {
    let limit = getrlimit(Resource::Nofile);
    let wanted = limit.maximum.map_or(needed, |maximum| needed.min(maximum));
    if limit.current.is_some_and(|current| current < wanted)
        && setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), ..limit }).is_ok()
    {
        return Some(wanted);
    }
    limit.current
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn files(upstreams: usize, threads: usize, drains: usize) -> FileDescriptors {
        FileDescriptors { upstreams, threads, drains, idle_max: 256, heads: 32 }
    }

    #[test]
    fn a_limit_that_is_too_low_is_told_with_what_it_is_enough_for() {
        let one = files(1, 1, 0);
        let apart = 64 + 4 + 32 + admin::FILES_BESIDE_PENDING as u64;
        assert_eq!(one.needed(20_000), 40_000 + apart);
        assert_eq!(one.connections(20_000, Some(256)), (256 - apart as usize) / 2);
        let told = one.warning(20_000, Some(256)).unwrap();
        let fit = one.connections(20_000, Some(256));
        for part in ["256", "20000", &format!("{fit} connections"), &format!("{}", 40_000 + apart - 32 + 512)]
        {
            assert!(told.contains(part), "{part}: {told}");
        }
        assert_eq!(one.warning(20_000, Some(40_000 + apart)), None);
        assert!(one.warning(20_000, Some(39_999 + apart)).is_some());
        assert_eq!((one.warning(20_000, None), one.connections(20_000, None)), (None, 20_000));
        assert_eq!(one.connections(20_000, Some(0)), 1, "something must go");
        assert_eq!(
            files(2, 2, 64).needed(1_000),
            2_000 + 3 * 256 + 64 + 64 + 8 + 32 + admin::FILES_BESIDE_PENDING as u64
        );
    }

    proptest! {
        /// The number that is said to fit fits, and one more does not.
        #[test]
        fn as_many_connections_as_fit(
            upstreams in 1usize..9, threads in 1usize..9, drains in 0usize..200, wanted in 1usize..50_000, limit in 0u64..100_000,
        ) {
            let files = files(upstreams, threads, drains);
            let fit = files.connections(wanted, Some(limit));
            prop_assert!((1..=wanted).contains(&fit));
            prop_assert!(fit == 1 || files.needed(fit) <= limit);
            prop_assert!(fit == wanted || files.needed(fit + 1) > limit);
        }
    }
}
