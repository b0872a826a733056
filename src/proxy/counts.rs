//! Counts refusals and failures at the edges, over all threads, and says when one of them may be logged.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::rewrite::stream_options::OptionsRefusals;
use super::tls::cause::TlsCause;
use metering::caller::UnattributedReason;

/// One line in this time for each kind of failure and each upstream: a peer that can cause failures
/// cannot fill the log with them.
const LOG_INTERVAL: Duration = Duration::from_secs(10);

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
    /// A call was ended whose client made no progress.
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

/// What was refused because the record that it must have cannot be kept (`--on-capture-failure reject`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unrecorded {
    /// A call: its record has no room.
    Call,
    /// A session: none is captured.
    Session,
}

impl Unrecorded {
    /// Both, in the order of their numbers.
    const ALL: [Unrecorded; 2] = [Unrecorded::Call, Unrecorded::Session];

    /// The label.
    fn as_str(self) -> &'static str {
        match self {
            Unrecorded::Call => "capture_unavailable",
            Unrecorded::Session => "session_uncaptured",
        }
    }
}

/// The peer of a TLS connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TlsPeer {
    /// A client.
    Client,
    /// An upstream.
    Upstream,
}

impl TlsPeer {
    /// Both, in the order of their numbers.
    pub const ALL: [TlsPeer; 2] = [TlsPeer::Client, TlsPeer::Upstream];

    /// The label.
    pub fn as_str(self) -> &'static str {
        match self {
            TlsPeer::Client => "caller",
            TlsPeer::Upstream => "service",
        }
    }
}

/// The counters.
#[derive(Debug, Default)]
pub struct Counts {
    limits: [AtomicU64; Limit::ALL.len()],
    unattributed: [AtomicU64; UnattributedReason::ALL.len()],
    tls: [[AtomicU64; TlsCause::ALL.len()]; TlsPeer::ALL.len()],
    /// Upstreams that refuse to be asked for usage.
    pub(super) refusals: Arc<OptionsRefusals>,
    odd_paths_forwarded: AtomicU64,
    odd_paths_rejected: AtomicU64,
    unrecorded: [AtomicU64; Unrecorded::ALL.len()],
    logged: Mutex<HashMap<LogSubject, LastLine>>,
}

/// The subject of a log line. There are as many as causes and upstreams.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum LogSubject {
    /// TLS with clients.
    ClientTls(TlsCause),
    /// TLS to the upstream of this index.
    UpstreamTls(usize, TlsCause),
    /// No TCP connection to the upstream of this index.
    Unreachable(usize),
    /// Responses of the upstream of this index whose head cannot be passed on.
    ResponseHead(usize),
    /// No connection can be accepted.
    Accept,
}

#[derive(Debug)]
struct LastLine {
    at: Instant,
    /// Lines that were kept back since.
    kept_back: u64,
}

impl Counts {
    /// A limit was met.
    pub(super) fn met(&self, limit: Limit) {
        self.limits[limit as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// A call has no payer.
    pub(super) fn unattributed(&self, reason: UnattributedReason) {
        self.unattributed[reason as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// Two readers may make two things of a request's path.
    pub(super) fn odd_path(&self, rejected: bool) {
        let count = if rejected { &self.odd_paths_rejected } else { &self.odd_paths_forwarded };
        count.fetch_add(1, Ordering::Relaxed);
    }

    /// Something was refused because there would be no record of it.
    pub(super) fn unrecorded(&self, what: Unrecorded) {
        self.unrecorded[what as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// A TLS connection failed.
    pub(super) fn failed(&self, side: TlsPeer, cause: TlsCause) {
        self.tls[side as usize][cause as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// Whether a line may be written; then how many were kept back since the last one.
    pub(super) fn may_log(&self, subject: LogSubject) -> Option<u64> {
        let mut logged = self.logged.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        match logged.get_mut(&subject) {
            Some(last) if now.duration_since(last.at) < LOG_INTERVAL => {
                last.kept_back += 1;
                None
            }
            last => {
                let kept_back = last.map_or(0, |last| last.kept_back);
                logged.insert(subject, LastLine { at: now, kept_back: 0 });
                Some(kept_back)
            }
        }
    }

    /// How often each limit was met.
    pub fn limits(&self) -> impl Iterator<Item = (&'static str, u64)> {
        Limit::ALL.iter().map(|&limit| (limit.as_str(), self.limits[limit as usize].load(Ordering::Relaxed)))
    }

    /// Calls that have no payer, by the reason.
    pub fn unattributed_calls(&self) -> impl Iterator<Item = (&'static str, u64)> {
        UnattributedReason::ALL
            .iter()
            .map(|&reason| (reason.as_str(), self.unattributed[reason as usize].load(Ordering::Relaxed)))
    }

    /// Deployments whose streams are not asked for usage now, though they should be, because they refused it; with the
    /// number of upstreams and api-versions of which that is so.
    pub fn unasked(&self) -> Vec<(String, u64)> {
        self.refusals.unasked()
    }

    /// Requests whose path can be read in two ways, by whether they were forwarded.
    pub fn odd_paths(&self) -> [(&'static str, u64); 2] {
        let count = |count: &AtomicU64| count.load(Ordering::Relaxed);
        [("forwarded", count(&self.odd_paths_forwarded)), ("rejected", count(&self.odd_paths_rejected))]
    }

    /// Calls and sessions that were refused because there would be no record of their content.
    pub fn unrecorded_calls(&self) -> impl Iterator<Item = (&'static str, u64)> {
        Unrecorded::ALL
            .iter()
            .map(|&what| (what.as_str(), self.unrecorded[what as usize].load(Ordering::Relaxed)))
    }

    /// TLS failures, by side and cause.
    pub fn tls_failures(&self) -> impl Iterator<Item = (&'static str, &'static str, u64)> {
        let pairs = TlsPeer::ALL
            .into_iter()
            .flat_map(|side| TlsCause::ALL.into_iter().map(move |cause| (side, cause)));
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
        for (n, cause) in TlsCause::ALL.into_iter().enumerate() {
            assert_eq!(cause as usize, n);
            assert_eq!(TlsCause::ALL.iter().filter(|other| other.as_str() == cause.as_str()).count(), 1);
        }
        for (n, reason) in UnattributedReason::ALL.into_iter().enumerate() {
            assert_eq!(reason as usize, n);
        }
        for (n, what) in Unrecorded::ALL.into_iter().enumerate() {
            assert_eq!(what as usize, n);
        }
        for (n, side) in TlsPeer::ALL.into_iter().enumerate() {
            assert_eq!(side as usize, n);
        }
    }

    #[test]
    fn a_subject_is_logged_once_in_a_while_and_subjects_do_not_hide_each_other() {
        let counts = Counts::default();
        let (one, other) =
            (LogSubject::ClientTls(TlsCause::NotTls), LogSubject::UpstreamTls(1, TlsCause::NotTls));
        assert_eq!(counts.may_log(one), Some(0));
        for _ in 0..1000 {
            assert_eq!(counts.may_log(one), None);
        }
        assert_eq!(counts.may_log(other), Some(0));
        let mut logged = counts.logged.lock().unwrap();
        logged.get_mut(&one).unwrap().at -= LOG_INTERVAL;
        drop(logged);
        assert_eq!((counts.may_log(one), counts.may_log(one)), (Some(1000), None));
    }
}
