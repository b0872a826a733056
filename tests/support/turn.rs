//! Turns of the tests of one process: those that measure the process itself run alone, the others
//! beside each other.

use std::process::Command;
use std::sync::{Condvar, Mutex, PoisonError};

/// Who runs now. A test may take several turns beside others, but one alone only.
struct Turns {
    alone: bool,
    beside: usize,
}

static TURNS: Mutex<Turns> = Mutex::new(Turns { alone: false, beside: 0 });
static ENDED: Condvar = Condvar::new();

/// A turn, until it is dropped.
#[must_use]
pub(crate) struct Turn {
    alone: bool,
}

/// Waits until no other test has a turn, and keeps them from having one.
pub(crate) fn alone() -> Turn {
    take(|turns| turns.alone || turns.beside > 0, |turns| turns.alone = true);
    Turn { alone: true }
}

/// Waits until no test runs alone.
pub(crate) fn beside() -> Turn {
    take(|turns| turns.alone, |turns| turns.beside += 1);
    Turn { alone: false }
}

/// Runs this test once more, in a process of its own; `true` in that process.
pub(crate) fn is_own_process(test: &str) -> bool {
    const OWN: &str = "TOKENWEIR_TEST_ALONE";
    if std::env::var_os(OWN).is_some() {
        return true;
    }
    let mut own = Command::new(std::env::current_exe().unwrap());
    let output = own.args(["--exact", test, "--nocapture"]).env(OWN, "1").output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    println!("{said}");
    assert!(
        output.status.success() && said.contains("1 passed"),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    false
}

fn take(waits: impl Fn(&mut Turns) -> bool, begin: impl FnOnce(&mut Turns)) {
    let turns = TURNS.lock().unwrap_or_else(PoisonError::into_inner);
    let mut turns = ENDED.wait_while(turns, |turns| waits(turns)).unwrap_or_else(PoisonError::into_inner);
    begin(&mut turns);
}

impl Drop for Turn {
    fn drop(&mut self) {
        let mut turns = TURNS.lock().unwrap_or_else(PoisonError::into_inner);
        if self.alone {
            turns.alone = false;
        } else {
            turns.beside -= 1;
        }
        ENDED.notify_all();
    }
}
