//! The work that may be done for one call before its task yields to others, in bytes.

/// Decoded bytes of a response that are counted in one go on the network thread: some twenty events,
/// well under a millisecond even of the slowest text. The pool gets the rest.
pub(super) const INLINE_BYTES_MAX: usize = 8 * 1024;

/// Bytes of a response that are read for what they report before the task yields to others: at most 2 ms
/// of the worst (tiny events), 0.01 ms of an image.
const SKIM_BYTES_PER_TURN: usize = 128 * 1024;

/// The work that may still be done for a call in this poll of its task.
#[derive(Clone, Copy, Debug)]
pub(super) struct Turn {
    /// Work that counts.
    pub(super) count_bytes: usize,
    /// Work that only reads what is reported, or keeps bytes for later.
    pub(super) skim_bytes: usize,
}

impl Turn {
    pub(super) fn new() -> Turn {
        Turn { count_bytes: INLINE_BYTES_MAX, skim_bytes: SKIM_BYTES_PER_TURN }
    }

    /// A turn that counts nothing and skims everything.
    pub(super) fn skim_all() -> Turn {
        Turn { count_bytes: 0, skim_bytes: usize::MAX }
    }

    /// Other calls come first.
    pub(super) fn is_over(&self) -> bool {
        self.skim_bytes == 0
    }
}
