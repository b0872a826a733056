//! How far the count of a prompt has come, and what is needed for it.

use smol_str::SmolStr;

use crate::prompt::PromptCount;

/// The need for the body of the request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PromptNeed {
    /// Let go of it: the service reported, or nothing is computed for this call.
    No,
    /// Not known yet: keep it.
    Keep,
    /// Count it under this model's rules, off the data path; then let go of it.
    Count {
        /// The model that the response named.
        model: SmolStr,
    },
}

/// The request's side of the count.
#[derive(Debug)]
pub(super) enum PromptState {
    Waiting,
    NotKept,
    /// It came as a message of a session, and messages are not kept.
    Unseen,
    /// There was no time to count it.
    Overloaded,
    /// Counted by this model's rules, for as long as the call is open.
    Early {
        count: PromptCount,
        by: SmolStr,
    },
    Counted(PromptCount),
}
