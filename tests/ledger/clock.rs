//! The wall clock jumps an hour, back and forth, while a ledger runs and between its boots.
//!
//! Time comes from the system, so a real process gets another system: a library in front of the C
//! library, compiled here, adds to the wall clock what a file says.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use jiff::Timestamp;
use metering::usage::EventType;
use tokenweir::ledger::{Ledger, LedgerOptions, LedgerReader};
use uuid::Uuid;

use crate::support::{call, check_completeness, eventually, options, stored};

/// Set for the process whose clock jumps; the value is a directory for it.
const CHILD: &str = "TOKENWEIR_LEDGER_CLOCK_CHILD";

/// The file that holds what is added to the clock, in seconds.
const OFFSET: &str = "offset";

const HOUR: i64 = 3_600;

/// How long delivered events stay here.
const KEEP: Duration = Duration::from_secs(600);

/// `clock_gettime` with an offset: what the standard library asks for the time of day.
const SHIM: &str = r#"
#define _GNU_SOURCE
#include <dlfcn.h>
#include <fcntl.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>
int clock_gettime(clockid_t id, struct timespec *out) {
    static int (*real)(clockid_t, struct timespec *);
    if (!real) real = dlsym(RTLD_NEXT, "clock_gettime");
    int result = real(id, out);
    const char *path = getenv("TOKENWEIR_CLOCK_OFFSET");
    if (id == CLOCK_REALTIME && path && result == 0) {
        char text[32] = {0};
        int file = open(path, O_RDONLY | O_CLOEXEC);
        if (file >= 0) {
            if (read(file, text, sizeof text - 1) > 0) out->tv_sec += atol(text);
            close(file);
        }
    }
    return result;
}
"#;

/// Sets the clock of the process, `seconds` off the true one, and looks that it is.
fn set_clock(dir: &Path, seconds: i64) {
    let before = Timestamp::now();
    let old: i64 = fs::read_to_string(dir.join(OFFSET)).unwrap().parse().unwrap();
    fs::write(dir.join("new"), seconds.to_string()).unwrap();
    fs::rename(dir.join("new"), dir.join(OFFSET)).unwrap();
    let jumped = Timestamp::now().duration_since(before).as_secs();
    assert!((jumped - (seconds - old)).abs() < 30, "the clock went {jumped} s instead of {}", seconds - old);
}

/// Hands over some calls and waits until they are stored. Returns their ids in order.
fn calls(ledger: &Ledger, ids: &mut Vec<Uuid>) {
    let stored = ledger.stats().stored;
    ids.extend((0..5).map(|n| call(ledger, "a", n, n)));
    eventually("stored", || ledger.stats().stored >= stored + 5);
}

fn positions(dir: &Path) -> Vec<u64> {
    LedgerReader::open(dir).unwrap().after(0, usize::MAX).unwrap().iter().map(|row| row.position).collect()
}

/// What a process whose clock jumps does; not a test of its own.
#[test]
#[ignore = "run by the other test"]
fn clock_child() {
    let Some(dir) = std::env::var_os(CHILD) else { return };
    let (dir, mut ids) = (Path::new(&dir), Vec::new());
    let open = || Ledger::open(LedgerOptions { keep: KEEP, ..options(&dir.join("ledger"), true) }).unwrap();
    let ledger = open();
    for offset in [0, HOUR, -HOUR, 0] {
        set_clock(dir, offset);
        calls(&ledger, &mut ids);
    }
    ledger.mark_delivered(10);
    ledger.close().unwrap();
    let dir_of = dir.join("ledger");
    let all = positions(&dir_of);
    assert_eq!(all, (1..=21).collect::<Vec<u64>>(), "20 calls and a control event");
    // Events 6 to 10 were stored an hour ahead, and this boot begins an hour behind: none is old.
    set_clock(dir, -HOUR);
    let ledger = open();
    calls(&ledger, &mut ids);
    ledger.close().unwrap();
    assert_eq!(positions(&dir_of), (1..=27).collect::<Vec<u64>>());
    check_completeness(&stored(&dir_of));
    let usages: Vec<String> = stored(&dir_of)
        .into_iter()
        .filter(|event| event.kind == EventType::Usage)
        .map(|event| event.id)
        .collect();
    let handed: Vec<String> = ids.iter().map(Uuid::to_string).collect();
    assert_eq!(usages, handed, "in the order in which they came, whatever the clock said");
    // Two hours later: delivered events are old, and what is not delivered stays, as old as it is.
    set_clock(dir, 2 * HOUR);
    let ledger = open();
    eventually("what is delivered and old is gone", || positions(&dir_of).first() == Some(&11));
    calls(&ledger, &mut ids);
    ledger.close().unwrap();
    assert_eq!(positions(&dir_of), (11..=33).collect::<Vec<u64>>());
    let distinct: std::collections::HashSet<&Uuid> = ids.iter().collect();
    assert_eq!(distinct.len(), ids.len());
}

#[test]
fn a_clock_that_jumps_changes_no_order_and_deletes_nothing_undelivered() {
    let dir = tempfile::tempdir().unwrap();
    let (source, library) = (dir.path().join("clock.c"), dir.path().join("clock.so"));
    fs::write(&source, SHIM).unwrap();
    fs::write(dir.path().join(OFFSET), "0").unwrap();
    let compiled =
        Command::new("cc").args(["-shared", "-fPIC", "-o"]).args([&library, &source]).arg("-ldl").status();
    if !compiled.is_ok_and(|status| status.success()) {
        return crate::skip::test("cc is not installed");
    }
    let output = Command::new(std::env::current_exe().unwrap())
        .args(["clock::clock_child", "--exact", "--ignored", "--nocapture"])
        .env(CHILD, dir.path())
        .env("TOKENWEIR_CLOCK_OFFSET", dir.path().join(OFFSET))
        .env("LD_PRELOAD", &library)
        .output()
        .unwrap();
    let said =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{said}");
}
