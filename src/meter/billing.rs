//! Whether the service bills a call, by how it answered.

use super::{Ending, Meter, Prompt};

/// Whether the service bills a call that it did not answer with success (Azure's documentation of
/// costs: "HTTP Error response code and billing status").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Billing {
    /// It answered.
    Answered,
    /// It answered with something that is not read here.
    Unmetered,
    /// It did not do anything.
    Nothing,
    /// It is not said; nothing, most likely.
    MostLikelyNothing,
    /// It may have read the prompt and said nothing.
    PerhapsPrompt,
    /// It may have read the prompt and said something.
    PerhapsBoth,
}

impl Billing {
    /// The table of answers, by status.
    fn of_status(status: u16) -> Billing {
        match status {
            // The connection goes on as a session, whose frames carry what is billed.
            101 => Billing::Unmetered,
            // An interim answer is not the last word, and the last word was not seen.
            100..200 => Billing::PerhapsBoth,
            // What was done is in the body. 204 and 205 have none and 206 has a part of it (RFC 9110
            // 15.3): how much that is, the body itself says, and of nothing the count is unknown.
            200..300 => Billing::Answered,
            // It sends the caller elsewhere, or back to what the caller has (304): nothing was made, and
            // no documentation speaks of it.
            300..400 => Billing::MostLikelyNothing,
            // A prompt that the filter stopped, or that was too long, has been read.
            400 => Billing::PerhapsPrompt,
            // Documented as not billed.
            401 | 403 | 404 | 429 => Billing::Nothing,
            // The service or a front of it gave up in the middle: its own time was over, or it was left
            // (nginx's 499).
            408 | 499 | 500.. => Billing::PerhapsBoth,
            // The request was refused for its form, its size or its credit before anything was made.
            _ => Billing::MostLikelyNothing,
        }
    }
}

impl Meter {
    /// What the service bills of this call.
    pub(super) fn billing(&self, ending: Option<Ending>) -> Billing {
        let billing = match (self.status, ending) {
            (_, Some(Ending::Rejected)) => return Billing::Nothing,
            (Some(status), _) => Billing::of_status(status.as_u16()),
            // It runs, and nobody knows yet what it will be.
            (None, None) => return Billing::Answered,
            (None, Some(_)) if self.has_asked_nothing() => return Billing::Nothing,
            (None, Some(Ending::UpstreamError | Ending::Timeout)) => Billing::PerhapsBoth,
            (None, Some(_)) => Billing::Answered,
        };
        match billing {
            Billing::Answered | Billing::Unmetered => billing,
            _ if self.has_asked_nothing() => Billing::Nothing,
            _ => billing,
        }
    }

    /// The request had no body, so there was no prompt, as in a handshake.
    fn has_asked_nothing(&self) -> bool {
        let all_seen = self.request_ended && !matches!(self.prompt, Prompt::NotKept);
        all_seen && self.request_bytes == 0
    }
}
