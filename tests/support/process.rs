//! What a process holds.

/// A line of `/proc/PID/status` in bytes: `VmRSS`, or `VmHWM` for the most there ever was. `None` if the
/// process has ended.
pub(crate) fn status_bytes_of(pid: u32, name: &str) -> Option<usize> {
    line_bytes(&std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?, name)
}

/// [`status_bytes_of`] a process that lives.
pub(crate) fn status_bytes(pid: u32, name: &str) -> usize {
    status_bytes_of(pid, name).unwrap()
}

/// Resident memory of this process.
pub(crate) fn resident_bytes() -> usize {
    status_bytes(std::process::id(), "VmRSS")
}

/// A line of that name and a number of KiB, in bytes.
pub(crate) fn line_bytes(text: &str, name: &str) -> Option<usize> {
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
    Some(line.split_whitespace().next()?.parse::<usize>().ok()? << 10)
}
