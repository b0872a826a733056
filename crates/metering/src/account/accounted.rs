//! The account of a recorded call, and of the responses of a session, as the meters give it.

use super::output::Explanation;
use crate::usage::Usage;

/// An event as `serve` would have made it, and what would have been said without the service's word.
pub(super) struct Accounted {
    /// `None`: `serve` makes no event of such a call.
    pub(super) event: Option<Usage>,
    pub(super) blind: Usage,
    pub(super) explanation: Explanation,
}

/// The accounts of a line.
pub(super) struct Replayed {
    /// That of the call, or of the session itself.
    pub(super) call: Accounted,
    /// Those of a session's responses, in the order in which they ended. `None`: it is no session.
    pub(super) responses: Option<Vec<Accounted>>,
}
