//! The table: a row for each API and a row for each operation. To add an API is to add its rows here; see
//! "Adding a surface" in ARCHITECTURE.md.

use http::Method;
use serde::{Deserialize, Serialize};
use strum::{IntoStaticStr, VariantArray};

use super::columns::{BilledBy, Deployment, Streaming, Treatment, UsageAt};
use BilledBy::{Tokens, TokensOrImages, TokensOrSeconds};
use Deployment::{Model, Nowhere, PathOrModel, Query};
use Streaming::{Events, Frames, Never};
use Treatment::{Free, Metered, ReportedOnly, Unmetered};

/// The name of an API in events, logs and metrics.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, IntoStaticStr, VariantArray,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum Api {
    /// `.../chat/completions`
    ChatCompletions,
    /// `.../completions`
    Completions,
    /// `.../embeddings`
    Embeddings,
    /// `.../responses`
    Responses,
    /// `.../images/...`
    Images,
    /// `.../audio/...`
    Audio,
    /// `.../threads...`, `.../assistants...`
    Assistants,
    /// `.../batches...`
    Batch,
    /// Any path that was upgraded.
    Websocket,
    /// Everything else.
    #[default]
    Other,
}

/// The kind of reader that a response's body needs; each has a file in `meter/read`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyKind {
    /// A list of choices, whose texts are counted.
    Choices,
    /// A list of items, whose texts are counted.
    Items,
    /// Only labels, errors and costs are read, at the top level of the document and of each event.
    TopLevel,
}

/// The service's rules by which prompt and response are counted where the service reports nothing; they stand in
/// `prompt` and in `meter/output`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RuleSet {
    /// Those of chat completions.
    Chat,
    /// Those of the older completions.
    Completions,
    /// Those of embeddings: their response has no tokens.
    Embeddings,
    /// Those of the Responses API.
    Responses,
}

/// The row of an API.
#[derive(Clone, Copy, Debug)]
pub(super) struct Profile {
    pub(super) api: Api,
    /// OpenTelemetry `gen_ai.operation.name`, where it has one.
    pub(super) operation: Option<&'static str>,
    pub(super) streaming: Streaming,
    /// The ends of a stream: [`DONE`], or the `type` of its last event. None: it ends where its framing does.
    pub(super) ends: &'static [&'static str],
    /// Those of them that say that it failed.
    pub(super) failures: &'static [&'static str],
    pub(super) usage: UsageAt,
    pub(super) body: BodyKind,
    /// `None`: nothing is computed.
    pub(super) rules: Option<RuleSet>,
    pub(super) billed_by: BilledBy,
    /// A response may name the deployment in place of the model.
    pub(super) names_deployment: bool,
    /// A response whose caller has left is worth reading to its end: it says there what it costs.
    pub(super) read_on: bool,
    /// Its names in recorded exchanges (`tokenweir account`).
    pub(super) recorded_as: &'static [&'static str],
}

/// The data of the event that ends a stream in many APIs.
pub const DONE: &str = "[DONE]";

/// The row of an API of which nothing is known.
const UNKNOWN: Profile = Profile {
    api: Api::Other,
    operation: None,
    streaming: Streaming::Unknown,
    ends: &[],
    failures: &[],
    usage: UsageAt::Unknown,
    body: BodyKind::TopLevel,
    rules: None,
    billed_by: Tokens,
    names_deployment: false,
    read_on: false,
    recorded_as: &[],
};

/// The APIs, in the order of their names.
pub(super) static PROFILES: [Profile; Api::VARIANTS.len()] = [
    Profile {
        api: Api::ChatCompletions,
        operation: Some("chat"),
        streaming: Events,
        ends: &[DONE],
        usage: UsageAt::EndIfAsked,
        body: BodyKind::Choices,
        rules: Some(RuleSet::Chat),
        read_on: true,
        recorded_as: &["chat", "chat/completions"],
        ..UNKNOWN
    },
    Profile {
        api: Api::Completions,
        operation: Some("text_completion"),
        streaming: Events,
        ends: &[DONE],
        usage: UsageAt::EndIfAsked,
        body: BodyKind::Choices,
        rules: Some(RuleSet::Completions),
        read_on: true,
        recorded_as: &["completions"],
        ..UNKNOWN
    },
    Profile {
        api: Api::Embeddings,
        operation: Some("embeddings"),
        streaming: Never,
        usage: UsageAt::Document,
        rules: Some(RuleSet::Embeddings),
        read_on: true,
        recorded_as: &["embeddings"],
        ..UNKNOWN
    },
    Profile {
        api: Api::Responses,
        operation: Some("chat"),
        streaming: Events,
        ends: &["response.completed", "response.incomplete", "response.cancelled", "response.failed"],
        failures: &["response.failed"],
        usage: UsageAt::End,
        body: BodyKind::Items,
        rules: Some(RuleSet::Responses),
        names_deployment: true, // Azure's do
        read_on: true,
        recorded_as: &["responses"],
        ..UNKNOWN
    },
    Profile {
        api: Api::Images,
        streaming: Events,
        ends: &["image_generation.completed", "image_edit.completed"],
        usage: UsageAt::End,
        billed_by: TokensOrImages,
        read_on: true,
        ..UNKNOWN
    },
    Profile {
        api: Api::Audio,
        streaming: Events,
        ends: &["transcript.text.done", "speech.audio.done"],
        usage: UsageAt::End,
        billed_by: TokensOrSeconds,
        read_on: true,
        ..UNKNOWN
    },
    Profile { api: Api::Assistants, streaming: Events, ends: &[DONE], usage: UsageAt::End, ..UNKNOWN },
    Profile { api: Api::Batch, streaming: Never, ..UNKNOWN },
    Profile { api: Api::Websocket, streaming: Frames, usage: UsageAt::Nowhere, ..UNKNOWN },
    UNKNOWN,
];

/// Each row stands where its API is found.
const _: () = {
    let mut at = 0;
    while at < PROFILES.len() {
        assert!(PROFILES[at].api as usize == at);
        at += 1;
    }
};

/// Ends of streams of APIs that have no row yet.
pub(super) const OTHER_ENDS: &[&str] = &["message_stop"]; // Anthropic's Messages

/// The row of an operation.
#[derive(Clone, Debug)]
pub struct Operation {
    /// The method by which it is called.
    pub method: Method,
    /// The last segments of its path. `*` stands for any segment, and for any end of one.
    pub path: &'static str,
    /// Its API.
    pub api: Api,
    /// Where its deployment stands.
    pub deployment: Deployment,
    /// How it is accounted for.
    pub treatment: Treatment,
    /// Its API is that of the objects below which its path stands, if they are known.
    pub by_object: bool,
}

const fn post(path: &'static str, api: Api, deployment: Deployment, treatment: Treatment) -> Operation {
    Operation { method: Method::POST, path, api, deployment, treatment, by_object: false }
}

/// An operation on an object that other operations have made.
const fn on_object(path: &'static str, treatment: Treatment) -> Operation {
    let (method, api) = (Method::POST, Api::Other);
    Operation { method, path, api, deployment: Nowhere, treatment, by_object: true }
}

/// The operations. Of the rows that a path ends in the first is the one.
pub static OPERATIONS: &[Operation] = &[
    // On-your-data of 2023: its delta has another layout.
    post("extensions/chat/completions", Api::ChatCompletions, PathOrModel, ReportedOnly),
    post("chat/completions", Api::ChatCompletions, PathOrModel, Metered),
    // A completion that is stored gets other metadata; its usage has been billed. Any other segment there
    // is no id, and a service that reads no further makes a completion of it.
    post("chat/completions/chatcmpl-*", Api::ChatCompletions, Nowhere, Free),
    post("chat/completions/*", Api::ChatCompletions, PathOrModel, Metered),
    post("completions", Api::Completions, PathOrModel, Metered),
    post("images/embeddings", Api::Embeddings, PathOrModel, ReportedOnly),
    post("embeddings", Api::Embeddings, PathOrModel, Metered),
    post("responses", Api::Responses, Model, Metered),
    // Counting beforehand, and a secret for a session.
    post("responses/input_tokens", Api::Responses, Model, Free),
    post("messages/count_tokens", Api::Other, Model, Free),
    post("realtime/client_secrets", Api::Other, Nowhere, Free),
    // The work of a call that has its own event is broken off, and what it used so far is said again.
    post("responses/*/cancel", Api::Responses, Nowhere, Unmetered),
    on_object("runs/*/cancel", Unmetered),
    on_object("batches/*/cancel", Unmetered),
    on_object("file_batches/*/cancel", Unmetered),
    on_object("jobs/*/cancel", Unmetered),
    on_object("uploads/*/cancel", Unmetered),
    // A run that is there gets other metadata.
    post("threads/*/runs/*", Api::Assistants, Nowhere, Unmetered),
    // Compacting is one.
    post("responses/*", Api::Responses, Model, ReportedOnly),
    post("responses/*/*", Api::Responses, Nowhere, ReportedOnly),
    post("images/generations", Api::Images, PathOrModel, ReportedOnly),
    post("images/generations:submit", Api::Images, PathOrModel, ReportedOnly),
    post("images/edits", Api::Images, PathOrModel, ReportedOnly),
    post("images/variations", Api::Images, PathOrModel, ReportedOnly),
    post("audio/transcriptions", Api::Audio, PathOrModel, ReportedOnly),
    post("audio/translations", Api::Audio, PathOrModel, ReportedOnly),
    post("audio/speech", Api::Audio, PathOrModel, ReportedOnly),
];

/// The row of what no other row knows. It may report: the usage of a response is thrown away only where it is
/// another call's.
pub(super) static UNLISTED: Operation = on_object("*", ReportedOnly);

/// The row of a GET that has become a WebSocket, whatever its path.
pub const SESSION: Operation = Operation {
    method: Method::GET,
    path: "*",
    api: Api::Websocket,
    deployment: Query,
    treatment: Unmetered,
    by_object: false,
};

/// The segment before a deployment's name.
pub const DEPLOYMENTS: &str = "deployments";

/// Segments below which a service keeps the objects of an API, of which the first that a path has is the one.
pub(super) const OBJECTS: &[(&str, Api)] =
    &[("threads", Api::Assistants), ("assistants", Api::Assistants), ("batches", Api::Batch)];
