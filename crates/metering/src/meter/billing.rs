//! Whether the service bills a call, by the status that it answered with.

/// Whether the service bills a call that it did not answer with success (Azure's documentation of
/// costs: "HTTP Error response code and billing status").
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Billing {
    /// It answered.
    Answered,
    /// It answered with something that is not read here.
    Unmetered,
    /// It answered with a session, and bills its responses.
    PerResponse,
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
    /// The table of responses, by status.
    pub(super) fn of_status(status: u16) -> Billing {
        match status {
            // The connection goes on as a session, whose frames carry what is billed.
            101 => Billing::Unmetered,
            // An interim response is not the last word, and the last word was not seen.
            100..200 => Billing::PerhapsBoth,
            // The body says what was done. 204 and 205 have none and 206 has a part of it (RFC 9110
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_of_answers() {
        use Billing::{Answered, MostLikelyNothing, Nothing, PerhapsBoth, PerhapsPrompt, Unmetered};
        for (statuses, billing) in [
            (&[101][..], Unmetered),
            (&[100, 102, 103], PerhapsBoth),
            (&[200, 201, 202, 203, 204, 205, 206, 299], Answered),
            (&[300, 301, 302, 303, 304, 307, 308], MostLikelyNothing),
            (&[400], PerhapsPrompt),
            (&[401, 403, 404, 429], Nothing),
            (&[402, 405, 409, 410, 413, 415, 422, 424, 426, 431, 451], MostLikelyNothing),
            (&[408, 499, 500, 502, 503, 504, 529, 599], PerhapsBoth),
        ] {
            for &status in statuses {
                assert_eq!(Billing::of_status(status), billing, "{status}");
            }
        }
    }
}
