//! What a call costs in the ledger: opened, settled, and durable.
//!
//! `cargo bench --bench ledger`. Most of it is the disk's and the kernel's: see the test `cost` of the
//! ledger (`cargo test --release --test ledger -- --ignored --nocapture cost`) for CPU at a pace.
#![expect(clippy::unwrap_used, reason = "a bench may end where there is no disk")]

use std::time::Duration;

use divan::Bencher;
use divan::counter::ItemsCount;
use jiff::Timestamp;
use metering::caller::{Caller, Trust};
use metering::usage::{Settled, Target, Tokens, Usage};
use tokenweir::ledger::{Ledger, LedgerOptions};
use uuid::Uuid;

/// Calls of a round: what two thousand a second bring in half a second.
const CALLS: usize = 1_000;

fn main() {
    divan::main();
}

fn draft() -> Usage {
    let target = Target { deployment: Some("gpt-4o-prod".into()), ..Target::default() };
    Usage::draft(Caller::unattributed(Trust::None), target)
}

/// Calls that begin, end and are committed, all handed over at once.
#[divan::bench(sample_count = 10, sample_size = 1)]
fn open_settle_commit(bencher: Bencher) {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let options = LedgerOptions { slots: CALLS, ..LedgerOptions::new(dir.path()) };
    let ledger = Ledger::open(options).unwrap();
    let draft = draft();
    bencher.counter(ItemsCount::new(CALLS)).bench_local(|| {
        let begun = ledger.stats().stored;
        let open = |_| ledger.reserve().unwrap().open(Uuid::now_v7(), &draft);
        for call in (0..CALLS).map(open).collect::<Vec<_>>() {
            let tokens = Tokens { input: Some(100), output: Some(100), ..Tokens::default() };
            let settled =
                Settled { id: call.id(), time: Timestamp::now(), usage: Usage { tokens, ..draft.clone() } };
            call.settle(settled);
        }
        while ledger.stats().stored < begun + CALLS as u64 {
            std::thread::sleep(Duration::from_micros(100));
        }
    });
    ledger.close().unwrap();
}
