//! The values that stand in the columns of the table, where a new API seldom needs another one.

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
    /// An event that says 0, whatever is reported: the service does not bill such a call.
    Free,
    /// No event: the call makes nothing.
    Silent,
}

/// Where a request names its deployment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deployment {
    /// Behind `deployments` in the path, else as the `model` of its body.
    PathOrModel,
    /// As the `model` of its body.
    Model,
    /// As `deployment` or `model` of its query.
    Query,
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
    /// In the document; there is no stream.
    Document,
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
    /// Tokens or, by some models, seconds: then a usage of zeros is a word, and seconds stand for it.
    TokensOrSeconds,
}
