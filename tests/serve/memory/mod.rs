//! What the process holds.
//!
//! - `idle`: nothing has happened yet
//! - `streams`: thousands of streams that are open at once
//! - `sessions`: a thousand WebSocket sessions that wait
//! - `upload`: a large body on its way up
//! - `prompts`: more large prompts at once than may be kept
//! - `readers`: callers that read nothing of long answers

mod idle;
mod prompts;
mod readers;
mod sessions;
mod streams;
mod upload;

use std::fmt::{self, Display, Formatter};

use super::support::process::line_bytes;
pub(crate) use super::support::process::status_bytes;

/// Memory of a process, as `/proc/PID/smaps_rollup` has it. What the kernel holds for its sockets is
/// in neither number.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Memory {
    /// All of it, also what is mapped from files and can be dropped: program, tables, the ledger's index.
    pub(crate) resident_bytes: usize,
    /// What only this process has: heap and stacks.
    pub(crate) anonymous_bytes: usize,
}

impl Memory {
    pub(crate) fn of(pid: u32) -> Memory {
        let text = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap();
        let of = |name: &str| line_bytes(&text, name).unwrap();
        Memory { resident_bytes: of("Rss"), anonymous_bytes: of("Anonymous") }
    }
}

impl Display for Memory {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "RSS {} KiB, anonymous {} KiB", self.resident_bytes >> 10, self.anonymous_bytes >> 10)
    }
}
