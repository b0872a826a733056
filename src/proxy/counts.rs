//! What was refused or failed at the edges, over all threads: counters, and a log line now and then.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::refused::Refusals;
use super::tls::Cause;
use metering::caller::Lack;

/// One line in this time for each kind of failure and each upstream: whoever can cause failures
/// cannot fill the log with them.
const SAY_EVERY: Duration = Duration::from_secs(10);

/// A bound of [`super::Limits`] that was met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// A connection had to wait for another one to end.
    Connections,
    /// A connection could not be accepted for want of a file descriptor.
    Files,
    /// A call got 503.
    InFlight,
    /// A request got 431: its head has too many bytes.
    HeaderBytes,
    /// A request got 431: its head has too many fields.
    Headers,
    /// A head got 408, or a handshake was broken off.
    HeaderTimeout,
    /// A connection without a request was closed.
    IdleTimeout,
    /// A call was ended whose caller made no progress.
    CallerIdleTimeout,
}

impl Limit {
    /// All of them, in the order of their numbers.
    pub const ALL: [Limit; 8] = [
        Limit::Connections,
        Limit::Files,
        Limit::InFlight,
        Limit::HeaderBytes,
        Limit::Headers,
        Limit::HeaderTimeout,
        Limit::IdleTimeout,
        Limit::CallerIdleTimeout,
    ];

    /// The label.
    pub fn as_str(self) -> &'static str {
        match self {
            Limit::Connections => "connections",
            Limit::Files => "files",
            Limit::InFlight => "in_flight",
            Limit::HeaderBytes => "header_bytes",
            Limit::Headers => "headers",
            Limit::HeaderTimeout => "header_timeout",
            Limit::IdleTimeout => "idle_timeout",
            Limit::CallerIdleTimeout => "caller_idle_timeout",
        }
    }
}

/// Who was at the other end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Side {
    /// A caller.
    Caller,
    /// A service.
    Service,
}

impl Side {
    /// Both, in the order of their numbers.
    pub const ALL: [Side; 2] = [Side::Caller, Side::Service];

    /// The label.
    pub fn as_str(self) -> &'static str {
        match self {
            Side::Caller => "caller",
            Side::Service => "service",
        }
    }
}

/// The counters.
#[derive(Debug, Default)]
pub struct Counts {
    limits: [AtomicU64; Limit::ALL.len()],
    unattributed: [AtomicU64; Lack::ALL.len()],
    tls: [[AtomicU64; Cause::ALL.len()]; Side::ALL.len()],
    /// Who refuses to be asked for usage.
    pub(super) refusals: Arc<Refusals>,
    odd_paths_forwarded: AtomicU64,
    odd_paths_rejected: AtomicU64,
    said: Mutex<HashMap<Subject, Said>>,
}

/// What a line is about. There are as many as causes and upstreams.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Subject {
    /// Callers' TLS.
    Caller(Cause),
    /// TLS to the upstream of this index.
    Service(usize, Cause),
    /// No TCP connection to the upstream of this index.
    Unreachable(usize),
    /// Answers of the upstream of this index whose head cannot be passed on.
    Head(usize),
    /// No connection can be accepted.
    Accept,
}

#[derive(Debug)]
struct Said {
    at: Instant,
    kept_back: u64,
}

impl Counts {
    /// A limit was met.
    pub(super) fn met(&self, limit: Limit) {
        self.limits[limit as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// Nobody can be charged for a call.
    pub(super) fn unattributed(&self, lack: Lack) {
        self.unattributed[lack as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// Two readers may make two things of a request's path.
    pub(super) fn odd_path(&self, rejected: bool) {
        let count = if rejected { &self.odd_paths_rejected } else { &self.odd_paths_forwarded };
        count.fetch_add(1, Ordering::Relaxed);
    }

    /// A TLS connection failed.
    pub(super) fn failed(&self, side: Side, cause: Cause) {
        self.tls[side as usize][cause as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// Whether a line may be written; then how many were kept back since the last one.
    pub(super) fn may_say(&self, subject: Subject) -> Option<u64> {
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        match said.get_mut(&subject) {
            Some(last) if now.duration_since(last.at) < SAY_EVERY => {
                last.kept_back += 1;
                None
            }
            last => {
                let kept_back = last.map_or(0, |last| last.kept_back);
                said.insert(subject, Said { at: now, kept_back: 0 });
                Some(kept_back)
            }
        }
    }

    /// How often each limit was met.
    pub fn limits(&self) -> impl Iterator<Item = (&'static str, u64)> {
        Limit::ALL.iter().map(|&limit| (limit.as_str(), self.limits[limit as usize].load(Ordering::Relaxed)))
    }

    /// Calls that nobody can be charged for, by why.
    pub fn unattributed_calls(&self) -> impl Iterator<Item = (&'static str, u64)> {
        Lack::ALL
            .iter()
            .map(|&lack| (lack.as_str(), self.unattributed[lack as usize].load(Ordering::Relaxed)))
    }

    /// Deployments whose streams are not asked for usage now, though they should be: they refused. With the
    /// number of upstreams and api-versions of which that is so.
    pub fn unasked(&self) -> Vec<(String, u64)> {
        self.refusals.unasked()
    }

    /// Requests whose path can be read in two ways, by what became of them.
    pub fn odd_paths(&self) -> [(&'static str, u64); 2] {
        let count = |count: &AtomicU64| count.load(Ordering::Relaxed);
        [("forwarded", count(&self.odd_paths_forwarded)), ("rejected", count(&self.odd_paths_rejected))]
    }

    /// TLS failures that there were, by side and cause.
    pub fn tls_failures(&self) -> impl Iterator<Item = (&'static str, &'static str, u64)> {
        let pairs =
            Side::ALL.into_iter().flat_map(|side| Cause::ALL.into_iter().map(move |cause| (side, cause)));
        let counted = pairs.map(|(side, cause)| {
            let count = self.tls[side as usize][cause as usize].load(Ordering::Relaxed);
            (side.as_str(), cause.as_str(), count)
        });
        counted.filter(|(_, _, count)| *count > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_distinct_and_numbers_are_places() {
        for (n, limit) in Limit::ALL.into_iter().enumerate() {
            assert_eq!(limit as usize, n);
            assert_eq!(Limit::ALL.iter().filter(|other| other.as_str() == limit.as_str()).count(), 1);
        }
        for (n, cause) in Cause::ALL.into_iter().enumerate() {
            assert_eq!(cause as usize, n);
            assert_eq!(Cause::ALL.iter().filter(|other| other.as_str() == cause.as_str()).count(), 1);
        }
        for (n, lack) in Lack::ALL.into_iter().enumerate() {
            assert_eq!(lack as usize, n);
        }
        for (n, side) in Side::ALL.into_iter().enumerate() {
            assert_eq!(side as usize, n);
        }
    }

    #[test]
    fn a_subject_is_told_once_in_a_while_and_subjects_do_not_hide_each_other() {
        let counts = Counts::default();
        let (one, other) = (Subject::Caller(Cause::NotTls), Subject::Service(1, Cause::NotTls));
        assert_eq!(counts.may_say(one), Some(0));
        for _ in 0..1000 {
            assert_eq!(counts.may_say(one), None);
        }
        assert_eq!(counts.may_say(other), Some(0));
        let mut said = counts.said.lock().unwrap();
        said.get_mut(&one).unwrap().at -= SAY_EVERY;
        drop(said);
        assert_eq!((counts.may_say(one), counts.may_say(one)), (Some(1000), None));
    }
}
