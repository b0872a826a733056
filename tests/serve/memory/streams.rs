//! Thousands of streams that are open at once, each a word at a time: what each holds, and that it
//! stays so.
//!
//! Judged by RSS, which holds more than what is anonymous. `TOKENWEIR_LONG=1` also runs 5,000 streams,
//! and 10,000 for ten minutes; that takes 20,500 file descriptors in either process
//! (where only a little fewer are allowed, as many streams as that is).

use std::time::{Duration, Instant};

use super::super::crowd::Crowd;
use super::super::sidecar::{Sidecar, usage_events, verified, wait_for};
use super::super::skip;
use super::Memory;

/// The goal is 20,000. A stream that waits holds no buffer; more than half of what it takes is the call's
/// and its meter's. The sockets' own buffers are the kernel's.
const STREAM_BYTES_MAX: usize = 16_000;

/// Streams that come and go before: what is made once is there.
const WARM_UP_STREAMS: usize = 50;

/// What the process may grow by while 10,000 streams flow from the third to the eleventh minute:
/// 200 bytes a stream.
const GROWTH_BYTES_MAX: usize = 2_000_000;

/// File descriptors that a process needs beside its sockets: here those of the tests that run meanwhile.
pub(super) const OTHER_FDS: u64 = 1_500;

/// The middle one of some looks.
fn look(pid: u32) -> Memory {
    let mut looks: Vec<Memory> = (0..5)
        .map(|_| {
            std::thread::sleep(Duration::from_millis(100));
            Memory::of(pid)
        })
        .collect();
    looks.sort_by_key(|memory| memory.resident_bytes);
    looks[2]
}

/// So many streams; `meanwhile` runs while all of them flow.
fn hold(streams: usize, pace: Duration, meanwhile: impl FnOnce(u32)) {
    let (wanted, files) = (streams, raise_fds(2 * streams as u64 + OTHER_FDS));
    let streams = wanted.min((files.saturating_sub(OTHER_FDS) / 2) as usize);
    if streams < wanted * 9 / 10 {
        return skip::test(format_args!("{wanted} streams need more than {files} file descriptors"));
    }
    let crowd = Crowd::start(pace);
    let dir = tempfile::tempdir().unwrap();
    let ledger = dir.path().join("ledger");
    let sidecar = Sidecar::start(crowd.service, &ledger, &["--end-of-turn", "1"]);
    let stored = |calls| {
        wait_for("every event", || (usage_events(&ledger).len() == calls).then_some(()));
    };
    crowd.open(sidecar.addr, WARM_UP_STREAMS);
    crowd.end(WARM_UP_STREAMS);
    stored(WARM_UP_STREAMS);

    let idle = look(sidecar.pid());
    crowd.open(sidecar.addr, streams);
    let open = look(sidecar.pid());
    let each = |of: fn(&Memory) -> usize| of(&open).saturating_sub(of(&idle)) / streams;
    let (resident, anonymous) = (each(|memory| memory.resident_bytes), each(|memory| memory.anonymous_bytes));
    println!(
        "{streams} streams: {resident} bytes of RSS each, {anonymous} of them anonymous; idle {idle}, open {open}"
    );
    assert!(resident <= STREAM_BYTES_MAX, "{resident} bytes for a stream");
    meanwhile(sidecar.pid());

    crowd.end(WARM_UP_STREAMS + streams);
    stored(WARM_UP_STREAMS + streams);
    println!("afterwards: {}", look(sidecar.pid()));
    let (code, log) = sidecar.stop();
    assert_eq!(code, Some(0), "{:?}", log.last());
    verified(&ledger);
}

/// Lets this process, and those that it starts, open so many files, or as many as it may. Returns how
/// many that is.
pub(super) fn raise_fds(wanted: u64) -> u64 {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: these calls only read and write the struct that they are given.
    unsafe {
        libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit);
        let wanted = wanted.max(limit.rlim_cur); // never fewer: others of this process have theirs
        let more = libc::rlimit { rlim_cur: wanted, rlim_max: wanted.max(limit.rlim_max) };
        let most = libc::rlimit { rlim_cur: limit.rlim_max, ..limit };
        // Above the hard limit only a privileged process may go.
        let _ = libc::setrlimit(libc::RLIMIT_NOFILE, &raw const more) == 0
            || libc::setrlimit(libc::RLIMIT_NOFILE, &raw const most) == 0;
        libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit);
    }
    limit.rlim_cur
}

#[test]
fn a_thousand_streams_are_small() {
    hold(1_000, Duration::from_millis(500), |_| ());
}

#[test]
fn five_thousand_streams_are_small() {
    if !skip::long_test() {
        return;
    }
    hold(5_000, Duration::from_secs(2), |_| ());
}

#[test]
fn ten_thousand_streams_stay_as_they_are() {
    if !skip::long_test() {
        return;
    }
    let began = Instant::now();
    let minute = |minute: u64| {
        std::thread::sleep(Duration::from_secs(60 * minute).saturating_sub(began.elapsed()));
    };
    hold(10_000, Duration::from_secs(5), |pid| {
        let mut seen = Vec::new();
        for now in 2..=11 {
            minute(now);
            let memory = look(pid);
            println!("{now:2} min: {memory}");
            seen.push(memory);
        }
        let (first, last) = (seen[0], seen[seen.len() - 1]);
        let grown = last.resident_bytes.saturating_sub(first.resident_bytes);
        assert!(grown <= GROWTH_BYTES_MAX, "grown by {grown} bytes in nine minutes");
    });
}
