//! The service's own list of a text's tokens, as a sum.

/// The entries of `logprobs`: one for each token of the visible text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Logprobs {
    /// How many.
    pub entries: u64,
    /// Bytes that they stand for; `None` if an entry does not say.
    pub bytes: Option<u64>,
}

impl Logprobs {
    /// These, and more of the same choice.
    pub fn add(&mut self, more: Logprobs) {
        self.entries = self.entries.saturating_add(more.entries);
        self.bytes = self.bytes.zip(more.bytes).map(|(sum, more)| sum.saturating_add(more));
    }
}
