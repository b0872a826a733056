//! Ready to count soon, and in little memory. In a process of its own, so that nothing else has
//! loaded anything.

use std::time::{Duration, Instant};

use metering::tokens::{self, Encoding};

use crate::support::process::resident_bytes;
use crate::support::turn;

/// Both vocabularies together.
const RESIDENT_BYTES_MAX: usize = 60 << 20;

/// From the start of loading. It takes some 5 ms.
const READY_MAX: Duration = Duration::from_millis(300);

#[test]
fn vocabularies_are_ready_soon_and_small() {
    let _turn = turn::alone();
    if !turn::is_own_process("start::vocabularies_are_ready_soon_and_small") {
        return;
    }
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
