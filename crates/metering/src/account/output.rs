//! The lines that come out: accounts of exchanges, and lines that could not be read.

use serde::Serialize;
use smol_str::SmolStr;

use crate::meter::BillPart;
use crate::usage::{CloudEvent, Quality, Usage};

/// The line of an exchange.
#[derive(Serialize)]
pub(super) struct AccountedLine {
    #[serde(flatten)]
    pub(super) account: Account,
    /// Those of a session's responses, in the order in which they ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) responses: Option<Vec<Account>>,
    /// That of the call, or of the session itself. `None`: `serve` makes none of such a call.
    pub(super) event: Option<CloudEvent<Usage>>,
    /// All events of a session: those of its responses, then its own.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) events: Option<Vec<CloudEvent<Usage>>>,
}

/// The account of a call, or of one response of a session: all but its event.
#[derive(Serialize)]
pub(super) struct Account {
    /// That of its event.
    pub(super) id: String,
    pub(super) computed: Sides,
    pub(super) reported: Option<ReportedTokens>,
    pub(super) input_quality: Quality,
    pub(super) output_quality: Quality,
    pub(super) reasons: Vec<SmolStr>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) explain: Option<Explanation>,
}

/// The two computed numbers.
#[derive(Serialize)]
pub(super) struct Sides {
    pub(super) input: Option<u64>,
    pub(super) output: Option<u64>,
}

/// The numbers that the service reported.
#[derive(Serialize)]
pub(super) struct ReportedTokens {
    pub(super) input: Option<u64>,
    pub(super) output: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) total: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) input_cached: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) output_reasoning: Option<u64>,
}

/// A line that is not an exchange.
#[derive(Serialize)]
pub(super) struct BadLine {
    pub(super) id: Option<String>,
    pub(super) error: String,
}

/// The parts of the two computed numbers of an exchange.
#[derive(Debug, Serialize)]
pub(super) struct Explanation {
    pub(super) input: Vec<BillPart>,
    pub(super) output: Vec<BillPart>,
}

impl ReportedTokens {
    /// The numbers of an event that the service reported; `None` if it reported none.
    pub(super) fn of(event: &Usage) -> Option<ReportedTokens> {
        let (input, output) = (event.accounting.reported_input, event.accounting.reported_output);
        (input.is_some() || output.is_some()).then_some(ReportedTokens {
            input,
            output,
            total: event.tokens.total,
            input_cached: event.tokens.input_cached,
            output_reasoning: event.tokens.output_reasoning,
        })
    }
}
