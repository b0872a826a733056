//! Ready to count soon, and in little memory. One test, so that nothing else has loaded anything.
#![allow(missing_docs, clippy::expect_used, clippy::panic, clippy::print_stdout, clippy::unwrap_used)] // reason: a test

use std::fs;
use std::time::{Duration, Instant};

use tokenweir::tokens::{self, Encoding};

/// Both vocabularies together.
const RESIDENT_BYTES_MAX: u64 = 60 << 20;

/// From the start of loading. It takes some 5 ms.
const READY_MAX: Duration = Duration::from_millis(300);

fn resident_bytes() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() << 10
}

#[test]
fn vocabularies_are_ready_soon_and_small() {
    let (before, begun) = (resident_bytes(), Instant::now());
    assert!(!tokens::is_loaded());
    tokens::load();
    let took = begun.elapsed();
    assert!(tokens::is_loaded());
    // Both in use, long pieces too.
    let text =
        "The weir measures a stream. 堰测量水流而不阻挡它。 it's 1234 ".repeat(2_000) + &"=".repeat(100_000);
    for encoding in [Encoding::O200kBase, Encoding::Cl100kBase] {
        assert!(tokens::count(encoding, &text) > 10_000);
    }
    drop(text);
    let resident = resident_bytes() - before;
    println!("ready in {took:?}, {} MB resident", resident >> 20);
    assert!(took <= READY_MAX, "{took:?}");
    assert!(resident <= RESIDENT_BYTES_MAX, "{resident} bytes");
}
