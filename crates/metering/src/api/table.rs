//! The table: a row for each API and a row for each operation. To add an API is to add its rows here; see
//! "Adding a surface" in ARCHITECTURE.md.

use http::Method;
use serde::{Deserialize, Serialize};
use strum::{IntoStaticStr, VariantArray};

use super::columns::{BilledBy, DeferredKind, Deployment, Streaming, Treatment, UsageAt};
use BilledBy::{Pages, SearchUnits, Seconds, Tokens, TokensAndSeconds, TokensOrImages, TokensOrSeconds};
use Deployment::{Message, Model, ModelOrLast, Nowhere, PathOrModel, Query};
use Streaming::{Events, Frames, Never};
use Treatment::{
    Cancel, Elsewhere, Free, Metered, PerResponse, Poll, PollOutput, ReportedOnly, Silent, Unmetered,
};

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
    /// Anthropic's `.../v1/messages`
    Messages,
    /// `.../images/...`
    Images,
    /// `.../audio/...`
    Audio,
    /// `.../threads...`, `.../assistants...`
    Assistants,
    /// `.../batches...`
    Batch,
    /// `.../realtime...`
    Realtime,
    /// `.../videos...`
    Video,
    /// `.../rerank`
    Rerank,
    /// `.../ocr`
    Ocr,
    /// Any path that was upgraded, where none of the others is meant.
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
    /// An Anthropic message, of which nothing is counted.
    Messages,
    /// A response or a transcription of a realtime session, of which nothing is counted.
    Realtime,
    /// Only labels, errors and costs are read, at the top level of the document and of each event.
    TopLevel,
}

/// The meaning of the messages of a session; each has a file in `session`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SessionKind {
    /// Those of the Realtime API.
    Realtime,
    /// The events of the Responses API, and the messages that ask for a response.
    Responses,
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
    /// OpenTelemetry `gen_ai.provider.name`.
    pub(super) provider: &'static str,
    /// OpenTelemetry `gen_ai.operation.name`, where it has one.
    pub(super) operation: Option<&'static str>,
    pub(super) streaming: Streaming,
    /// The ends of a stream: [`DONE`], or the `type` of its last event. None: it ends where its framing does.
    pub(super) ends: &'static [&'static str],
    /// Those of them that say that it failed.
    pub(super) failures: &'static [&'static str],
    /// Each of the results that were asked for ends by itself: as many ends come as there are results.
    pub(super) ends_each: bool,
    pub(super) usage: UsageAt,
    pub(super) body: BodyKind,
    /// The meaning of its messages, if it has sessions.
    pub(super) session: Option<SessionKind>,
    /// `None`: nothing is computed.
    pub(super) rules: Option<RuleSet>,
    pub(super) billed_by: BilledBy,
    /// The work that a response may begin and that goes on after it.
    pub(super) defers: Option<DeferredKind>,
    /// A response may name the deployment in place of the model.
    pub(super) names_deployment: bool,
    /// Request and response may name the agent that answers.
    pub(super) names_agent: bool,
    /// A response whose caller has left is worth reading to its end: it says there what it costs.
    pub(super) read_on: bool,
    /// Its names in recorded exchanges (`tokenweir account`).
    pub(super) recorded_as: &'static [&'static str],
    /// The numbers that are exact, for people.
    pub(super) exact: &'static str,
    /// The numbers that only the service can know, for people.
    pub(super) unseen: &'static str,
}

/// The data of the event that ends a stream in many APIs.
pub const DONE: &str = "[DONE]";

/// The row of an API of which nothing is known.
const UNKNOWN: Profile = Profile {
    api: Api::Other,
    provider: "azure.ai.openai",
    operation: None,
    streaming: Streaming::Unknown,
    ends: &[],
    failures: &[],
    ends_each: false,
    usage: UsageAt::Unknown,
    body: BodyKind::TopLevel,
    session: None,
    rules: None,
    billed_by: Tokens,
    defers: None,
    names_deployment: false,
    names_agent: false,
    read_on: false,
    recorded_as: &[],
    exact: "what is reported",
    unseen: "what is not reported",
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
        recorded_as: &["chat", "chat/completions", "chat_completions"],
        exact: "what is reported; else what proven rules count",
        unseen: "reasoning that is not shown, prompts and searches of the service's own",
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
        exact: "what is reported; else what proven rules count",
        unseen: "candidates that `best_of` does not show",
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
        exact: "what is reported; else a prompt of text",
        unseen: "images that are embedded, if they are not reported",
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
        session: Some(SessionKind::Responses),
        rules: Some(RuleSet::Responses),
        defers: Some(DeferredKind::Response),
        names_deployment: true, // Azure's do
        names_agent: true,
        read_on: true,
        recorded_as: &["responses"],
        exact: "what is reported; else what proven rules count",
        unseen: "reasoning that is not shown, prompts that it keeps, searches in files, containers; the cost of work in the background that nobody looks at",
        ..UNKNOWN
    },
    Profile {
        api: Api::Messages,
        provider: "anthropic",
        operation: Some("chat"),
        streaming: Events,
        ends: &["message_stop"],
        usage: UsageAt::Throughout,
        body: BodyKind::Messages,
        read_on: true,
        exact: "what is reported; of a stream that is cut the input",
        unseen: "output behind the last number of a stream that is cut",
        recorded_as: &["messages"],
        ..UNKNOWN
    },
    Profile {
        api: Api::Images,
        streaming: Events,
        ends: &["image_generation.completed", "image_edit.completed"],
        ends_each: true,
        usage: UsageAt::End,
        billed_by: TokensOrImages,
        read_on: true,
        recorded_as: &["images"],
        exact: "what is reported; the number of images",
        unseen: "tokens of a stream that is cut, and of a model that reports none; whether several usages are to be added up",
        ..UNKNOWN
    },
    Profile {
        api: Api::Audio,
        streaming: Events,
        ends: &["transcript.text.done", "speech.audio.done"],
        usage: UsageAt::End,
        billed_by: TokensOrSeconds,
        read_on: true,
        recorded_as: &["audio"],
        exact: "what is reported; the characters that are to be spoken",
        unseen: "seconds of a recording whose response does not name them: `text`, `srt`, `vtt`, and a translation as `json`; tokens of speech that comes as sound",
        ..UNKNOWN
    },
    Profile {
        api: Api::Assistants,
        streaming: Events,
        ends: &[DONE],
        usage: UsageAt::End,
        defers: Some(DeferredKind::Run),
        unseen: "the cost of a run that nobody looks at when it is over",
        recorded_as: &["assistants"],
        ..UNKNOWN
    },
    Profile {
        api: Api::Batch,
        streaming: Never,
        usage: UsageAt::Later,
        defers: Some(DeferredKind::Batch),
        exact: "what the object of the batch reports; else the sum over the lines of its output",
        unseen: "the cost of a batch that nobody looks at when it is over, or whose output alone names it and nobody fetches as a whole",
        recorded_as: &["batch"],
        ..UNKNOWN
    },
    Profile {
        api: Api::Realtime,
        streaming: Frames,
        ends: &["response.done", "conversation.item.input_audio_transcription.completed"],
        usage: UsageAt::End,
        body: BodyKind::Realtime,
        session: Some(SessionKind::Realtime),
        billed_by: TokensAndSeconds,
        unseen: "a response that is cut; all that goes by WebRTC or SIP, which lead round every gateway",
        recorded_as: &["realtime"],
        ..UNKNOWN
    },
    Profile {
        api: Api::Video,
        streaming: Never,
        usage: UsageAt::Later,
        billed_by: Seconds,
        defers: Some(DeferredKind::Video),
        exact: "the seconds of a video that is done",
        unseen: "a video that nobody looks at when it is done",
        recorded_as: &["video"],
        ..UNKNOWN
    },
    Profile {
        api: Api::Rerank,
        streaming: Never,
        usage: UsageAt::Document,
        billed_by: SearchUnits,
        exact: "the search units that are reported",
        unseen: "search units that are not reported",
        recorded_as: &["rerank"],
        ..UNKNOWN
    },
    Profile {
        api: Api::Ocr,
        streaming: Never,
        usage: UsageAt::Document,
        billed_by: Pages,
        exact: "the pages that are reported",
        unseen: "pages that are not reported",
        recorded_as: &["ocr"],
        ..UNKNOWN
    },
    Profile {
        api: Api::Websocket,
        streaming: Frames,
        usage: UsageAt::Nowhere,
        exact: "nothing",
        unseen: "all that its frames carry",
        ..UNKNOWN
    },
    Profile { recorded_as: &["other"], ..UNKNOWN },
];

/// Each row stands where its API is found.
const _: () = {
    let mut at = 0;
    while at < PROFILES.len() {
        assert!(PROFILES[at].api as usize == at);
        at += 1;
    }
};

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
    /// OpenTelemetry `gen_ai.operation.name`, where it is not that of the API.
    pub(super) name: Option<&'static str>,
}

const fn post(path: &'static str, api: Api, deployment: Deployment, treatment: Treatment) -> Operation {
    Operation { method: Method::POST, path, api, deployment, treatment, by_object: false, name: None }
}

/// An operation that has a name of its own.
const fn named(path: &'static str, api: Api, deployment: Deployment, name: &'static str) -> Operation {
    let (method, treatment, name) = (Method::POST, ReportedOnly, Some(name));
    Operation { method, path, api, deployment, treatment, by_object: false, name }
}

/// An operation on an object that other operations have made.
const fn on_object(path: &'static str, deployment: Deployment, treatment: Treatment) -> Operation {
    let (method, api) = (Method::POST, Api::Other);
    Operation { method, path, api, deployment, treatment, by_object: true, name: None }
}

/// An operation that costs nothing and says nothing of a cost.
const fn silent(path: &'static str) -> Operation {
    on_object(path, Nowhere, Silent)
}

/// A look at work that another call began.
const fn poll(method: Method, path: &'static str, api: Api, treatment: Treatment) -> Operation {
    Operation { method, path, api, deployment: Nowhere, treatment, by_object: false, name: None }
}

/// The operations. Of the rows of a method that a path ends in the first is the one.
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
    // Below `threads` messages are something else.
    post("v1/messages", Api::Messages, Model, ReportedOnly),
    post("anthropic/messages", Api::Messages, Model, ReportedOnly),
    // Counting beforehand, and a secret for a session.
    post("responses/input_tokens", Api::Responses, Model, Free),
    post("messages/count_tokens", Api::Messages, Model, Free),
    post("realtime/client_secrets", Api::Realtime, Nowhere, Free),
    // Voice and events of such a session go by WebRTC.
    post("realtime/calls", Api::Realtime, Query, Elsewhere),
    // Work that goes on after its call: who asks for it, or breaks it off, may be the first to see its bill.
    poll(Method::GET, "responses/*", Api::Responses, Poll),
    poll(Method::POST, "responses/*/cancel", Api::Responses, Cancel),
    poll(Method::GET, "batches/*", Api::Batch, Poll),
    poll(Method::POST, "batches/*/cancel", Api::Batch, Cancel),
    poll(Method::GET, "files/*/content", Api::Batch, PollOutput),
    poll(Method::GET, "videos/*", Api::Video, Poll),
    poll(Method::GET, "video/generations/jobs/*", Api::Video, Poll),
    poll(Method::GET, "threads/*/runs/*", Api::Assistants, Poll),
    // The work of a call that has its own event is broken off, and what it used so far is said again.
    on_object("threads/*/runs/*/cancel", Nowhere, Unmetered),
    // A run that is there gets other metadata.
    post("threads/*/runs/*", Api::Assistants, Nowhere, Unmetered),
    post("threads/runs", Api::Assistants, Nowhere, ReportedOnly),
    post("responses/compact", Api::Responses, Model, ReportedOnly),
    post("responses/*", Api::Responses, Model, ReportedOnly),
    post("responses/*/*", Api::Responses, Nowhere, ReportedOnly),
    named("images/generations", Api::Images, PathOrModel, IMAGE_GENERATION),
    named("images/generations:submit", Api::Images, PathOrModel, IMAGE_GENERATION),
    named("images/variations", Api::Images, PathOrModel, IMAGE_GENERATION),
    named("images/edits", Api::Images, PathOrModel, IMAGE_EDIT),
    // FLUX: each model has a path.
    named("blackforestlabs/v1/*", Api::Images, ModelOrLast, IMAGE_GENERATION),
    named("audio/transcriptions", Api::Audio, PathOrModel, "transcription"),
    named("audio/translations", Api::Audio, PathOrModel, "translation"),
    named("audio/speech", Api::Audio, PathOrModel, "speech"),
    post("videos", Api::Video, Model, ReportedOnly),
    post("videos/edits", Api::Video, Model, ReportedOnly),
    post("videos/extensions", Api::Video, Model, ReportedOnly),
    post("videos/*/remix", Api::Video, Model, ReportedOnly),
    post("video/generations/jobs", Api::Video, Model, ReportedOnly),
    // Mistral and Cohere, with their own shapes of a cost.
    post("ocr", Api::Ocr, ModelOrLast, ReportedOnly),
    post("parse", Api::Ocr, ModelOrLast, ReportedOnly),
    post("rerank", Api::Rerank, ModelOrLast, ReportedOnly),
    post("embed", Api::Embeddings, ModelOrLast, ReportedOnly),
    // Objects that are kept for other calls cost nothing by the call. A usage that such a row hides is lost, so each is as
    // long as the paths that are known.
    silent("files"),
    silent("uploads"),
    silent("uploads/*"),
    silent("uploads/*/*"),
    silent("vector_stores"),
    silent("vector_stores/*"),
    silent("vector_stores/*/*"),
    silent("vector_stores/*/*/*"),
    silent("vector_stores/*/*/*/*"),
    silent("conversations"),
    silent("conversations/*"),
    silent("conversations/*/*"),
    silent("conversations/*/*/*"),
    silent("assistants"),
    silent("assistants/*"),
    silent("threads"),
    silent("threads/*"),
    silent("threads/*/messages"),
    silent("threads/*/messages/*"),
    silent("skills"),
    silent("skills/*"),
    silent("skills/*/*"),
    silent("skills/*/*/*"),
    silent("models"),
    silent("models/*"),
    silent("realtime/calls/*/*"),
    // To make one costs; to change or to stop it does not.
    silent("evals/*"),
    silent("evals/*/runs/*"),
    silent("evals/*/runs/*/cancel"),
    silent("fine_tuning/jobs/*"),
    silent("fine_tuning/jobs/*/*"),
];

/// `target.operation` of calls that make images, and of those that change one.
const IMAGE_GENERATION: &str = "image_generation";
const IMAGE_EDIT: &str = "image_edit";

/// The row of what no other row knows. It may report: the usage of a response is thrown away only where it is
/// another call's.
pub(super) static UNLISTED: Operation = on_object("*", Model, ReportedOnly);

/// A GET that has become a WebSocket.
const fn session(path: &'static str, api: Api, deployment: Deployment, treatment: Treatment) -> Operation {
    Operation { method: Method::GET, path, api, deployment, treatment, by_object: false, name: None }
}

/// The sessions whose messages are understood. Of the rows that a path ends in the first is the one.
pub static SESSIONS: &[Operation] = &[
    session("realtime", Api::Realtime, Query, PerResponse),
    session("responses", Api::Responses, Message, PerResponse),
];

/// The row of any other session.
pub static OTHER_SESSION: Operation = session("*", Api::Websocket, Query, Unmetered);

/// OpenTelemetry's `gen_ai.operation.name` for what a realtime session heard and had written down.
pub const TRANSCRIPTION: &str = "transcription";

/// The segment before a deployment's name.
pub const DEPLOYMENTS: &str = "deployments";

/// The segments before the name of a Foundry project.
pub const PROJECTS: [&str; 2] = ["api", "projects"];

/// The segment before the name of a Foundry agent.
pub const AGENTS: &str = "agents";

/// The segment behind the name of an agent whose own endpoint is called.
pub const AGENT_ENDPOINT: &str = "endpoint";

/// Segments below which a service keeps the objects of an API, of which the first that a path has is the one.
pub(super) const OBJECTS: &[(&str, Api)] = &[
    ("threads", Api::Assistants),
    ("assistants", Api::Assistants),
    ("batches", Api::Batch),
    ("videos", Api::Video),
];
