//! One call's accounting: what has been seen, and what it costs.
//!
//! No I/O, no clock, no panic on any bytes.

mod decode;

use bytes::Bytes;
use http::{HeaderMap, StatusCode};

use crate::usage::{Progress, Usage};

/// What the rules need to know that the exchange does not say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// The service bills the token that ends a turn (Azure does, api.openai.com does not).
    pub end_of_turn: bool,
}

/// How a call ended, as the data path saw it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The response body ended as its framing promised.
    Eof,
    /// The client left.
    ClientDisconnect,
    /// No answer could be had, or it broke off.
    UpstreamError,
    /// One of our time limits.
    Timeout,
    /// The process is stopping.
    Shutdown,
    /// Refused before it was sent.
    Rejected,
}

/// What is to be done with the request body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PromptNeed {
    /// Let go of it: the service reported, or nothing is computed for this call.
    No,
    /// Not known yet: keep it.
    Keep,
    /// Count it under this model's rules, off the data path; then let go of it.
    Count {
        /// The model that the answer named.
        model: String,
    },
}

/// The count of one prompt.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PromptCount {
    /// Its tokens; `None` if the rules say nothing.
    pub tokens: Option<u64>,
    /// Why the number is not exact, without the side: `remote_image`.
    pub reasons: Vec<&'static str>,
}

/// One call's accounting.
#[derive(Debug)]
pub struct Meter {
    usage: Usage,
}

impl Meter {
    /// A meter for a call whose draft names caller and target.
    pub fn new(draft: Usage, rules: Rules) -> Meter {
        let _ = rules;
        Meter { usage: draft }
    }
    /// The next bytes of the request body.
    pub fn request_bytes(&mut self, bytes: &[u8]) {
        let _ = bytes;
    }
    /// The request body has ended; from here on [`Meter::prompt_need`] decides.
    pub fn request_end(&mut self) {}
    /// The head of the answer.
    pub fn response_head(&mut self, status: StatusCode, headers: &HeaderMap) {
        let _ = (status, headers);
    }
    /// The next bytes of the response body. Stops after `budget_bytes` of decoded bytes and
    /// returns how many of `bytes` it took; the caller shows the rest later, in order.
    pub fn response_bytes(&mut self, bytes: &[u8], budget_bytes: usize) -> usize {
        let _ = budget_bytes;
        bytes.len()
    }
    /// A delta with text, a refusal or a tool call has been seen.
    pub fn first_token_seen(&self) -> bool {
        false
    }
    /// Some of the answer could not be shown: the output is unknown, reason `meter_overload`.
    pub fn overloaded(&mut self) {}
    /// What is to be done with the request body.
    pub fn prompt_need(&self) -> PromptNeed {
        PromptNeed::No
    }
    /// The prompt could not be kept: the input is unknown, reason `prompt_not_kept`.
    pub fn prompt_not_kept(&mut self) {}
    /// The prompt has been counted.
    pub fn prompt_counted(&mut self, count: PromptCount) {
        let _ = count;
    }
    /// What is known now: the checkpoint of an open call.
    pub fn progress(&self) -> Progress {
        Progress::default()
    }
    /// The call's final accounting. `timing` is the caller's to fill in.
    pub fn settle(self, ending: Ending) -> Usage {
        let _ = ending;
        self.usage
    }
}

/// Counts the prompt of a request under a model's rules. Heavy: never on the data path.
pub fn count_prompt(api: crate::usage::Api, body: &[Bytes], model: &str) -> PromptCount {
    let _ = (api, body, model);
    PromptCount::default()
}
