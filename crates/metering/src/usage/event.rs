//! The data of a usage event: one call, who made it and what it used.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use smol_str::SmolStr;
use uuid::Uuid;

use super::capture::Capture;
use super::deferral::Deferral;
use super::reason::Reason;
use super::tokens::{Tokens, ToolTokens, Units};
use super::vocabulary::{IncludeUsage, Injection, Outcome, Quality, Side, Source};
use crate::api::Api;
use crate::caller::{Caller, Unproven};

/// Version of the event's `data`: MAJOR.MINOR, raised by a minor when a field is added.
pub const SCHEMA_VERSION: &str = "1.1";

/// The `data` of one usage event: one call to the service, who made it and what it used.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// [`SCHEMA_VERSION`] of the writer.
    pub schema_version: SmolStr,
    /// Who pays.
    pub caller: Caller,
    /// The API, deployment and model that were called.
    pub target: Target,
    /// The HTTP request.
    pub request: Request,
    /// The numbers to charge by.
    pub tokens: Tokens,
    /// Tokens of other models that were used inside the call; never part of `tokens`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tools: Vec<ToolTokens>,
    /// Things that are billed otherwise than by tokens.
    #[serde(default, skip_serializing_if = "Units::is_empty")]
    pub units: Units,
    /// How each number is known.
    pub accounting: Accounting,
    /// The response as it went by.
    pub stream: Stream,
    /// When, and how long.
    pub timing: Timing,
    /// Identifiers that join this event to other people's logs.
    pub ids: Ids,
    /// The fate of its content; absent where none is captured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub capture: Option<Capture>,
    /// Which process says so.
    pub reporter: Reporter,
    /// What the hop says, if it has failed the test of trust: for the log alone.
    #[serde(skip)]
    pub unproven: Option<Box<Unproven>>,
}

/// The API, deployment and model that were called.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Target {
    /// OpenTelemetry `gen_ai.provider.name`.
    pub provider: SmolStr,
    /// The API, by path.
    pub api: Api,
    /// OpenTelemetry `gen_ai.operation.name`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub operation: Option<SmolStr>,
    /// Name of the upstream, or its host where it has no name.
    pub resource: SmolStr,
    /// The Foundry project in the path, behind `api/projects`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub project: Option<SmolStr>,
    /// The Foundry agent that answers: the path names it, else the request, else the response.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub agent: Option<SmolStr>,
    /// The deployment in the path, or the request's `model` where the path has none; in the service's own
    /// spelling, if that differs in case alone.
    pub deployment: Option<SmolStr>,
    /// `x-apim-foundry-deployment`: the deployment that the gateway says it chose.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gateway_deployment: Option<SmolStr>,
    /// `x-ms-deployment-name`: the deployment that served the call.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deployment_served: Option<SmolStr>,
    /// `x-ms-spillover-from-deployment`: the deployment that could not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub spillover_from: Option<SmolStr>,
    /// The tier that the response names: it prices the call.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service_tier: Option<SmolStr>,
    /// The speed that the response names: it prices the call.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub speed: Option<SmolStr>,
    /// Where the response says that the model ran: it prices the call.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub inference_geo: Option<SmolStr>,
    /// The model that the response names.
    pub model: Option<SmolStr>,
    /// The model that the request names.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model_requested: Option<SmolStr>,
    /// `x-ms-region`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub region: Option<SmolStr>,
    /// The query's `api-version`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub api_version: Option<SmolStr>,
}

/// The HTTP request, without its content.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// The request's `stream`; `None`: not known.
    pub stream: Option<bool>,
    /// HTTP status given to the caller; 0 where there was none.
    pub status: u16,
    /// The `error.code` of the response, never its message.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error_type: Option<SmolStr>,
    /// Choices in the response.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub choices: Option<u32>,
    /// The size of an image or a video, which prices what has no tokens: the response names it, else the request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size: Option<SmolStr>,
    /// The quality of an image or a video, as `size`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub quality: Option<SmolStr>,
    /// Who asked for usage in the stream.
    pub include_usage: IncludeUsage,
    /// How asking for usage went, where it did not go as planned.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub injection: Option<Injection>,
    /// `x-stainless-retry-count` or `x-apim-attempt`: which attempt this was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attempt: Option<u32>,
}

/// How each number is known.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Accounting {
    /// Where `tokens.input` comes from.
    pub input_source: Source,
    /// Where `tokens.output` comes from.
    pub output_source: Source,
    /// How far `tokens.input` can be trusted.
    pub input_quality: Quality,
    /// How far `tokens.output` can be trusted.
    pub output_quality: Quality,
    /// Why a number is not exact, or is to be looked at: [`Reason`]s, each with its side, such as
    /// `output:client_disconnect`. They are texts, because what another version stored of an open call may hold
    /// reasons that are not known here.
    pub reasons: Vec<SmolStr>,
    /// Version of the rules that computed.
    pub rules: SmolStr,
    /// Encoding that the computed numbers were counted in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tokenizer: Option<SmolStr>,
    /// The response was read on after its caller had left (`--on-client-disconnect drain`).
    #[serde(default, skip_serializing_if = "is_false")]
    pub drained: bool,
    /// This is the bill of a call that another event announced. Other ledgers may have seen the same bill: readers
    /// keep the first of a resource and a response's id.
    #[serde(default, skip_serializing_if = "is_false")]
    pub deferred: bool,
    /// Our number, where it was computed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub computed_input: Option<u64>,
    /// Our number, where it was computed.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub computed_output: Option<u64>,
    /// The service's number, where it was reported.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reported_input: Option<u64>,
    /// The service's number, where it was reported.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reported_output: Option<u64>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
fn is_false(value: &bool) -> bool {
    !value
}

/// The response as it went by.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stream {
    /// How the call ended.
    pub outcome: Outcome,
    /// `[DONE]`, or the API's own last event, was seen.
    pub done_seen: bool,
    /// Per choice, in order of index; at most 16.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub finish_reasons: Vec<SmolStr>,
    /// SSE events with data.
    pub events: u64,
    /// Events or bodies that could not be read.
    pub parse_errors: u64,
}

/// When, and how long. The durations come from a monotonic clock.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Timing {
    /// The request's head had arrived.
    pub started_at: Option<Timestamp>,
    /// To the head of the service's response.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub upstream_headers_ms: Option<u64>,
    /// To the first delta with text, a refusal or a tool call.
    pub first_token_ms: Option<u64>,
    /// To the last byte.
    pub duration_ms: Option<u64>,
}

/// Identifiers that join this event to other people's logs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Ids {
    /// API Management's `context.RequestId`, from `x-apim-request-id`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gateway_request_id: Option<SmolStr>,
    /// `x-ms-client-request-id` of the request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_request_id: Option<SmolStr>,
    /// `apim-request-id` of the response: the service's own front door.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub upstream_apim_request_id: Option<SmolStr>,
    /// `x-request-id` of the response.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub upstream_request_id: Option<SmolStr>,
    /// The response's `id`, such as `chatcmpl-...`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub response_id: Option<SmolStr>,
    /// The id of a realtime session, `sess_...`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub session_id: Option<SmolStr>,
    /// `traceparent` of the request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub traceparent: Option<SmolStr>,
}

/// Which process says so.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Reporter {
    /// The boot: a UUID made at each start.
    pub instance: SmolStr,
    /// Version of the sidecar.
    pub version: SmolStr,
}

/// The facts that are known of an open call: enough, with its draft, to charge it if the process dies.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)] // what an older version did not store is not known
pub struct Progress {
    /// As in [`Target::agent`]: without one in the path it is known from the bodies.
    pub agent: Option<SmolStr>,
    /// As in [`Target::deployment`]: without one in the path it is known from the request's body.
    pub deployment: Option<SmolStr>,
    /// As in [`Target::model_requested`].
    pub model_requested: Option<SmolStr>,
    /// As in [`Target::model`].
    pub model: Option<SmolStr>,
    /// As in [`Target::service_tier`].
    pub service_tier: Option<SmolStr>,
    /// As in [`Target::speed`].
    pub speed: Option<SmolStr>,
    /// As in [`Target::inference_geo`].
    pub inference_geo: Option<SmolStr>,
    /// As in [`Ids::response_id`].
    pub response_id: Option<SmolStr>,
    /// As in [`Ids::session_id`].
    pub session_id: Option<SmolStr>,
    /// The request, as far as it is known by now.
    pub request: Request,
    /// The numbers so far.
    pub tokens: Tokens,
    /// As in [`Usage::tools`].
    pub tools: Vec<ToolTokens>,
    /// As in [`Usage::units`].
    pub units: Units,
    /// How they are known so far.
    pub accounting: Accounting,
    /// The response so far.
    pub stream: Stream,
    /// The work that goes on after the call, if the response tells of some.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub deferral: Option<Deferral>,
}

impl Usage {
    /// A call of which only the caller and the target are known: nothing was counted, nothing seen.
    /// Provider and operation follow from what the target's API is.
    pub fn draft(caller: Caller, target: Target) -> Usage {
        let operation = target.api.operation().map(SmolStr::new_static);
        let provider = SmolStr::new_static(target.api.provider());
        Usage {
            schema_version: SmolStr::new_static(SCHEMA_VERSION),
            caller,
            target: Target { provider, operation, ..target },
            request: Request::default(),
            tokens: Tokens::default(),
            tools: Vec::new(),
            units: Units::default(),
            accounting: Accounting::default(),
            stream: Stream::default(),
            timing: Timing::default(),
            ids: Ids::default(),
            capture: None,
            reporter: Reporter {
                instance: SmolStr::default(),
                version: SmolStr::new_static(env!("CARGO_PKG_VERSION")),
            },
            unproven: None,
        }
    }

    /// Makes it the draft of a session: each of its responses has an event of its own, and the session costs nothing
    /// beside them, however it ends.
    pub fn bill_per_response(&mut self) {
        (self.tokens.input, self.tokens.output) = (Some(0), Some(0));
        let accounting = &mut self.accounting;
        (accounting.input_source, accounting.output_source) = (Source::Computed, Source::Computed);
        (accounting.input_quality, accounting.output_quality) = (Quality::Exact, Quality::Exact);
        (accounting.computed_input, accounting.computed_output) = (Some(0), Some(0));
        accounting.add_reason(Side::Input, Reason::BilledPerResponse);
        accounting.add_reason(Side::Output, Reason::BilledPerResponse);
    }

    /// The event of a call whose process died: the draft made when it began, brought up to its
    /// last checkpoint. Its duration is not known.
    #[must_use]
    pub fn crashed(mut self, progress: Option<Progress>) -> Usage {
        if let Some(progress) = progress {
            self.target.agent = progress.agent.or(self.target.agent);
            self.target.deployment = progress.deployment.or(self.target.deployment);
            self.target.model_requested = progress.model_requested;
            self.target.model = progress.model;
            self.target.service_tier = progress.service_tier;
            self.target.speed = progress.speed;
            self.target.inference_geo = progress.inference_geo;
            self.ids.response_id = progress.response_id;
            self.ids.session_id = progress.session_id.or(self.ids.session_id);
            self.request = progress.request;
            self.tokens = progress.tokens;
            self.tools = progress.tools;
            self.units = progress.units;
            self.accounting = progress.accounting;
            self.stream = progress.stream;
        }
        self.stream.outcome = Outcome::Crashed;
        let accounting = &mut self.accounting;
        if accounting.reasons.iter().any(|reason| Reason::BilledPerResponse.is_in(reason)) {
            return self; // its numbers are final from the beginning
        }
        if accounting.output_source == Source::Computed {
            accounting.output_quality = Quality::LowerBound;
        }
        // A reported number may be a running total.
        if accounting.output_source != Source::Reported || accounting.output_quality == Quality::LowerBound {
            accounting.add_reason(Side::Output, Reason::Crashed);
        }
        if accounting.input_source == Source::Unknown {
            accounting.add_reason(Side::Input, Reason::Crashed);
        }
        self
    }
}

impl Accounting {
    /// Adds a reason once.
    pub fn add_reason(&mut self, side: Side, reason: Reason) {
        let reason = SmolStr::new(reason.of(side));
        if !self.reasons.contains(&reason) {
            self.reasons.push(reason);
        }
    }
}

/// A usage event before the ledger numbers it.
#[derive(Clone, Debug)]
pub struct Settled {
    /// The event's id: a UUIDv7 made when the call began.
    pub id: Uuid,
    /// When the usage became final.
    pub time: Timestamp,
    /// The event's data.
    pub usage: Usage,
}
