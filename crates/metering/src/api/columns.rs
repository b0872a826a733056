//! The values that stand in the columns of the table, where a new API seldom needs another one.

use http::Method;
use serde::{Deserialize, Serialize};
use strum::{IntoStaticStr, VariantArray};

/// The treatment of a call: whose numbers it has, as far as its path tells.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Treatment {
    /// An event; tokens reported, or counted by the service's rules.
    #[default]
    Metered,
    /// An event; tokens only if the service reports them.
    ReportedOnly,
    /// An event without tokens: what is reported is another call's.
    Unmetered,
    /// An event without tokens: the call opens a way that goes round the sidecar.
    Elsewhere,
    /// An event that says 0: each response of the session has an event of its own.
    PerResponse,
    /// An event that says 0, whatever is reported: the service does not bill such a call.
    Free,
    /// No event: the call makes nothing.
    Silent,
    /// No event of its own: the response shows work that another call began, and perhaps its bill.
    Poll,
    /// The same, where the response is a file: it may be the output of a batch.
    PollOutput,
    /// As [`Treatment::Poll`], and the work is broken off. Where the bill is known already, an event says 0.
    Cancel,
}

impl Treatment {
    /// The call asks for work that another one began.
    pub fn is_poll(self) -> bool {
        matches!(self, Treatment::Poll | Treatment::PollOutput | Treatment::Cancel)
    }

    /// The treatment of a call by this method, where this one is that of a row for `listed`.
    #[must_use]
    pub fn by_method(self, listed: &Method, method: &Method) -> Treatment {
        match *method {
            _ if method == listed => self,
            Method::GET | Method::HEAD | Method::OPTIONS | Method::DELETE | Method::TRACE => {
                Treatment::Silent
            }
            // A call like this is not known; if there is one, what its response reports is taken.
            _ if self == Treatment::Metered || self.is_poll() => Treatment::ReportedOnly,
            _ => self,
        }
    }
}

/// A kind of work that may go on after the response of the call that began it. An id names one among those of its
/// kind.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    IntoStaticStr,
    VariantArray,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum DeferredKind {
    /// A response that is made in the background.
    Response,
    /// A batch of calls.
    Batch,
    /// A video.
    Video,
    /// A run of an agent.
    Run,
    /// A response of a realtime session, which more than one connection may see.
    RealtimeResponse,
}

impl DeferredKind {
    /// The name by which it is remembered.
    pub fn as_str(self) -> &'static str {
        self.into()
    }

    /// The service's names of it in `object`.
    pub fn objects(self) -> &'static [&'static str] {
        match self {
            DeferredKind::Response => &["response"],
            DeferredKind::Batch => &["batch"],
            DeferredKind::Video => &["video", "video.generation.job"],
            DeferredKind::Run => &["thread.run"],
            DeferredKind::RealtimeResponse => &["realtime.response"],
        }
    }
}

/// Where a request names its deployment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deployment {
    /// Behind `deployments` in the path, else as the `model` of its body.
    PathOrModel,
    /// As the `model` of its body.
    Model,
    /// As the `model` of its body, else as the last segment of the path.
    ModelOrLast,
    /// As `deployment` or `model` of its query.
    Query,
    /// As the `model` of each message that asks for a response.
    Message,
    /// It names none.
    Nowhere,
}

/// How a response comes that does not come as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Streaming {
    /// As server-sent events.
    Events,
    /// As WebSocket frames.
    Frames,
    /// No stream of it is documented.
    Never,
    /// It may be anything.
    Unknown,
}

/// Where a response says what was used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum UsageAt {
    /// In the document, and in the last event of a stream.
    End,
    /// In the document, and in a stream only if `stream_options.include_usage` asks for it.
    EndIfAsked,
    /// In the document, and in a stream from its beginning on.
    Throughout,
    /// In the document; there is no stream.
    Document,
    /// In the object of the work, once it is over: the call that begins the work does not know it.
    Later,
    /// Nowhere in the bytes of the response.
    Nowhere,
    /// Perhaps as `usage`, as in other APIs.
    Unknown,
}

/// The unit that the service bills.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BilledBy {
    /// Tokens, so a usage of zeros says nothing.
    Tokens,
    /// Tokens or, by some models, images: then a usage of zeros is a word.
    TokensOrImages,
    /// Tokens or, by some models, seconds of what is heard or characters of what is spoken: then a usage of zeros
    /// is a word.
    TokensOrSeconds,
    /// Seconds of what is made.
    Seconds,
    /// Pages.
    Pages,
    /// Search units.
    SearchUnits,
    /// Tokens; some models that write down what was heard bill its seconds.
    TokensAndSeconds,
}
