//! How `tw-capture` has a part sealed: by a [`Sealer`], or in tests by one that fails.

use std::time::Instant;

use metering::usage::PartFacts;

use super::seal::{SealedContent, Sealer};

/// Seals parts. It belongs to the thread that does it.
pub(super) trait PartSealer: Send {
    /// Seals the compressed content of the part with this id.
    ///
    /// # Errors
    /// If that is not possible; the text goes to the log, and says nothing of the content.
    fn seal(
        &mut self,
        id: &str,
        facts: &PartFacts,
        compressed: &[u8],
        now: Instant,
    ) -> Result<SealedContent, String>;

    /// Is called now and then, also while nothing is sealed.
    fn tidy(&mut self, now: Instant);
}

impl PartSealer for Sealer {
    fn seal(
        &mut self,
        id: &str,
        facts: &PartFacts,
        compressed: &[u8],
        now: Instant,
    ) -> Result<SealedContent, String> {
        Sealer::seal(self, id, facts, compressed, now).map_err(|error| error.to_string())
    }

    fn tidy(&mut self, now: Instant) {
        self.wipe_old_key(now);
    }
}
