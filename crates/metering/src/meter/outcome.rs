//! How a call ended, and whether the service bills it.

use http::StatusCode;

use super::billing::Billing;
use super::call::Meter;
use super::ending::Ending;
use super::error_words::status_named;
use super::prompt_state::PromptState;
use crate::api::Treatment;
use crate::usage::Outcome;

/// The status for which an unknown error is taken: anything may have happened.
const STATUS_UNNAMED: u16 = 500;

impl Meter {
    /// How the call ended; `None` while it runs.
    pub(super) fn outcome(&self, ending: Ending) -> Outcome {
        let response = &self.body.response;
        let failed = response.facts.error.is_some();
        let success = self.status.is_some_and(|status| status.is_success());
        let switched = self.status == Some(StatusCode::SWITCHING_PROTOCOLS);
        match ending {
            Ending::Rejected => Outcome::Rejected,
            _ if self.left.is_some() && self.caller_idle && ending != Ending::Shutdown => Outcome::Timeout,
            _ if self.left.is_some() && (ending != Ending::Shutdown || response.whole) => {
                Outcome::ClientDisconnect
            }
            // After the end marker nothing matters.
            Ending::UpstreamError if success && response.facts.done && !failed => Outcome::Complete,
            Ending::UpstreamError => Outcome::UpstreamError,
            Ending::Eof if self.status.is_some() && !success && !switched => Outcome::UpstreamStatus,
            Ending::Eof if failed => Outcome::UpstreamError,
            // Where the coding cannot be undone, it is not known whether the end marker was there.
            Ending::Eof if self.body.is_stream() && !response.whole && !self.decoder.is_bad() => {
                Outcome::UpstreamEof
            }
            Ending::Eof => Outcome::Complete,
            _ if success && response.whole => {
                if failed {
                    Outcome::UpstreamError
                } else {
                    Outcome::Complete
                }
            }
            Ending::ClientDisconnect => Outcome::ClientDisconnect,
            Ending::Timeout => Outcome::Timeout,
            Ending::Shutdown => Outcome::Shutdown,
        }
    }

    /// Whether the service bills this call.
    pub(super) fn billing(&self, ending: Option<Ending>) -> Billing {
        let billing = match (self.status, ending) {
            _ if self.treatment == Treatment::Free => return Billing::Nothing,
            _ if self.treatment == Treatment::PerResponse => return Billing::PerResponse,
            (_, Some(Ending::Rejected)) => return Billing::Nothing,
            (Some(status), _) => Billing::of_status(status.as_u16()),
            // It runs, and what it will be is not known yet.
            (None, None) => return Billing::Answered,
            (None, Some(_)) if self.has_asked_nothing() => return Billing::Nothing,
            (None, Some(Ending::UpstreamError | Ending::Timeout)) => Billing::PerhapsBoth,
            (None, Some(_)) => Billing::Answered,
        };
        match billing {
            Billing::Answered => self.failed().unwrap_or(billing),
            Billing::Unmetered | Billing::PerResponse => billing,
            _ if self.has_asked_nothing() => Billing::Nothing,
            _ => billing,
        }
    }

    /// The status was one of success, and an error came in place of a response: it is treated as the
    /// status that it names. Once the service has said something, or what was used, the prompt has been
    /// read; and what stood where nothing could be read is not known.
    fn failed(&self) -> Option<Billing> {
        let response = &self.body.response;
        let class = response.facts.error.as_deref()?;
        let settled = self.draft.target.api.is_of_frames();
        let answered =
            settled || response.reader.has_said() || self.reported().is_some() || self.has_missed();
        let named = response.facts.error_status.or_else(|| status_named(class));
        (!answered).then(|| Billing::of_status(named.unwrap_or(STATUS_UNNAMED)))
    }

    /// The request had no body, so there was no prompt, as in a handshake.
    fn has_asked_nothing(&self) -> bool {
        let all_seen =
            self.request_ended && !matches!(self.prompt, PromptState::NotKept | PromptState::Overloaded);
        all_seen && self.request_bytes == 0
    }
}
