//! What a process holds: file descriptors, threads, memory, and what it says of itself.

use std::fmt::{self, Display, Formatter};
use std::time::Duration;

use super::super::http::get;
use super::super::sidecar::Sidecar;
use super::Form;
use super::traffic::Service;

/// What the process says of what is running, and of what went wrong.
const AT_REST_ZERO: [&str; 7] = [
    "tokenweir_calls_open",
    STREAMS,
    "tokenweir_meter_backlog_bytes",
    "tokenweir_prompt_memory_bytes",
    "tokenweir_disconnect_drains",
    "tokenweir_ledger_events",
    "tokenweir_events_in_flight",
];

const STREAMS: &str = "tokenweir_streams_in_flight";

/// One look.
#[derive(Clone, Debug)]
pub(super) struct Vitals {
    fds: usize,
    /// Connections to the service, which are kept for a while after a call.
    upstream: usize,
    threads: usize,
    rss_bytes: usize,
    /// Without what is only mapped from files: program, tables, the ledger's index.
    anonymous_bytes: usize,
    ledger_bytes: u64,
    accepted: u64,
    gauges: [u64; 7],
}

impl Vitals {
    pub(super) fn of(sidecar: &Sidecar, service: &Service) -> Vitals {
        let page = String::from_utf8(get(sidecar.admin, "/metrics").body).unwrap();
        let metric = |name: &str| {
            let of_name = |line: &&str| line.split([' ', '{']).next() == Some(name);
            let values = page.lines().filter(of_name).map(|line| line.rsplit(' ').next().unwrap());
            let sum = values.map(|value| value.parse::<f64>().unwrap()).reduce(|sum, value| sum + value);
            let sum = sum.or((name == STREAMS).then_some(0.0)); // a label whose count is zero goes
            sum.unwrap_or_else(|| panic!("no {name} in {page}")) as u64
        };
        let proc = format!("/proc/{}", sidecar.pid());
        let threads = std::fs::read_dir(format!("{proc}/task")).unwrap().count();
        let memory = std::fs::read_to_string(format!("{proc}/smaps_rollup")).unwrap();
        let bytes = |name: &str| {
            let line = memory.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).unwrap();
            line.split_whitespace().next().unwrap().parse::<usize>().unwrap() << 10
        };
        // The connection that asked for the page may still be among them at first.
        let fds = [Duration::ZERO, Duration::from_millis(30)].map(|later| {
            std::thread::sleep(later);
            std::fs::read_dir(format!("{proc}/fd")).unwrap().count()
        });
        let upstream = service.connections();
        Vitals {
            fds: fds[0].min(fds[1]),
            upstream,
            threads,
            rss_bytes: bytes("Rss"),
            anonymous_bytes: bytes("Anonymous"),
            ledger_bytes: metric("tokenweir_ledger_bytes"),
            accepted: metric("tokenweir_calls_accepted_total"),
            gauges: AT_REST_ZERO.map(metric),
        }
    }

    /// Calls so far.
    pub(super) fn accepted(&self) -> u64 {
        self.accepted
    }

    /// No call runs, and every event is delivered.
    pub(super) fn is_idle(&self) -> bool {
        self.gauges == [0; 7]
    }

    /// File descriptors, those of connections to the service excepted, and threads.
    pub(super) fn holds_no_more_than(&self, start: &Vitals) -> bool {
        self.own_fds() <= start.own_fds() && self.threads <= start.threads
    }

    /// Neither a file descriptor nor a thread came or went.
    pub(super) fn holds_as_many_as(&self, other: &Vitals) -> bool {
        (self.fds, self.upstream, self.threads) == (other.fds, other.upstream, other.threads)
    }

    fn own_fds(&self) -> isize {
        self.fds as isize - self.upstream as isize
    }
}

impl Display for Vitals {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let kib = |bytes: usize| bytes >> 10;
        write!(f, "{} fds ({} upstream), {} threads, ", self.fds, self.upstream, self.threads)?;
        write!(f, "RSS {} KiB, anonymous {} KiB, ", kib(self.rss_bytes), kib(self.anonymous_bytes))?;
        write!(
            f,
            "ledger {} KiB, {} calls, {} open, ",
            self.ledger_bytes >> 10,
            self.accepted,
            self.gauges[0]
        )?;
        write!(f, "{} streams, {} events to deliver", self.gauges[1], self.gauges[5])
    }
}

/// The middle one of some looks' memory.
fn median_bytes(seen: &[Vitals]) -> usize {
    let mut all: Vec<usize> = seen.iter().map(|vitals| vitals.anonymous_bytes).collect();
    all.sort_unstable();
    all[all.len() / 2]
}

/// All streams were open; memory is flat while they are, and back when they are gone.
pub(super) fn judge(start: &Vitals, seen: &[Vitals], end: &Vitals, form: &Form) {
    let mut open: Vec<u64> = seen.iter().map(|vitals| vitals.gauges[1]).collect();
    open.sort_unstable();
    assert!(open[open.len() / 2] * 10 >= form.streams as u64 * 8, "streams were open: {open:?}");
    let third = seen.len() / 3;
    let (first, last) = (median_bytes(&seen[..third]), median_bytes(&seen[seen.len() - third..]));
    let calls = end.accepted - start.accepted;
    println!(
        "{calls} calls; anonymous bytes: {} at the start, {first} in the first third, {last} in the last, {} at the end",
        start.anonymous_bytes, end.anonymous_bytes
    );
    for (what, before, after) in
        [("under load", first, last), ("at rest", start.anonymous_bytes, end.anonymous_bytes)]
    {
        let grown = after.saturating_sub(before);
        assert!(grown <= form.growth_bytes_max, "{what}: grown by {grown} bytes in {calls} calls");
    }
}
