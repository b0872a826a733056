//! A call that is over, as live views show it: the same from the sidecar, from a ledger and from a topic.

use jiff::Timestamp;
use metering::names;
use metering::usage::{Outcome, Quality, Settled, StoredData, StoredEvent, StoredUsage};
use serde::{Deserialize, Serialize, Serializer};
use smol_str::SmolStr;
use uuid::Uuid;

/// A call that is over, or calls that are only in a sum.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LiveCall {
    /// When its numbers became final.
    #[serde(serialize_with = "as_in_events")]
    pub time: Timestamp,
    /// The id of its event.
    pub id: Uuid,
    /// Who pays.
    pub caller: SmolStr,
    /// The caller's department, where the caller map names one.
    pub department: Option<SmolStr>,
    /// The API.
    pub api: SmolStr,
    /// The deployment that was called.
    pub deployment: Option<SmolStr>,
    /// The model that answered, or else the one that was asked for.
    pub model: Option<SmolStr>,
    /// The HTTP status given to the caller; 0 where there was none.
    pub status: u16,
    /// How it ended; `None`: these calls are only in a sum.
    pub outcome: Option<Outcome>,
    /// How many calls: 1, unless they are only in a sum.
    pub calls: u64,
    /// Tokens of the prompt.
    pub input: Option<u64>,
    /// Tokens of the response.
    pub output: Option<u64>,
    /// How far `input` can be trusted.
    pub input_quality: Quality,
    /// How far `output` can be trusted.
    pub output_quality: Quality,
    /// How long it took.
    pub duration_ms: Option<u64>,
}

impl LiveCall {
    /// A call that has just settled.
    pub fn of(settled: &Settled) -> LiveCall {
        let Settled { id, time, usage } = settled;
        let model = usage.target.model.as_ref().or(usage.target.model_requested.as_ref());
        LiveCall {
            // As in its event.
            time: Timestamp::from_millisecond(time.as_millisecond()).unwrap_or(*time),
            id: *id,
            caller: usage.caller.id.clone(),
            department: usage.caller.department.clone(),
            api: SmolStr::new_static(usage.target.api.as_str()),
            deployment: usage.target.deployment.clone(),
            model: model.cloned(),
            status: usage.request.status,
            outcome: Some(usage.stream.outcome),
            calls: 1,
            input: usage.tokens.input,
            output: usage.tokens.output,
            input_quality: usage.accounting.input_quality,
            output_quality: usage.accounting.output_quality,
            duration_ms: usage.timing.duration_ms,
        }
    }

    /// The calls of a stored event; `None` if it tells of none, or cannot be read.
    pub fn stored(body: &str) -> Option<LiveCall> {
        let event = StoredEvent::read(body).ok()?;
        let (usage, outcome, calls) = match event.data()? {
            StoredData::Call(usage, outcome) => (usage, Some(outcome), 1),
            StoredData::Sum(usage, calls) => (usage, None, calls),
            StoredData::Control(_) => return None,
        };
        let (id, time) = (Uuid::parse_str(&event.id).ok()?, event.time?);
        let StoredUsage { caller, target, request, tokens, accounting, timing, .. } = usage;
        Some(LiveCall {
            time,
            id,
            caller: caller.id,
            department: caller.department,
            model: target.any_model().cloned(),
            api: target.api,
            deployment: target.deployment,
            status: request.status,
            outcome,
            calls,
            input: tokens.input,
            output: tokens.output,
            input_quality: accounting.input_quality,
            output_quality: accounting.output_quality,
            duration_ms: timing.duration_ms,
        })
    }

    /// A call is known as well as its worse number.
    pub fn quality(&self) -> Quality {
        self.input_quality.max(self.output_quality)
    }

    /// It was cut short: neither whole, nor refused, nor answered with an error at once.
    pub fn is_interrupted(&self) -> bool {
        match self.outcome {
            None | Some(Outcome::Complete | Outcome::Rejected | Outcome::UpstreamStatus) => false,
            Some(
                Outcome::ClientDisconnect
                | Outcome::UpstreamError
                | Outcome::UpstreamEof
                | Outcome::Timeout
                | Outcome::Shutdown
                | Outcome::Crashed,
            ) => true,
        }
    }

    /// The same call with names as people may be shown them.
    #[must_use]
    pub fn shown(mut self) -> LiveCall {
        self.caller = names::shown(&self.caller).into();
        for name in [&mut self.department, &mut self.deployment, &mut self.model].into_iter().flatten() {
            *name = names::shown(name).into();
        }
        self
    }
}

/// An instant as events have it: in whole milliseconds, all three digits.
fn as_in_events<S: Serializer>(time: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&format_args!("{time:.3}"))
}
