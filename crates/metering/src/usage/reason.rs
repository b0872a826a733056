//! Why a number is not exact: the only table of the words in `accounting.reasons`.

use strum::{EnumMessage, IntoStaticStr, VariantArray};

use super::vocabulary::{Outcome, Side};

/// Why a number is not exact. The sentence of each stands in `docs/events.md`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EnumMessage, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum Reason {
    /// The caller left before the response ended.
    ClientDisconnect,
    /// The service failed before the response ended.
    UpstreamError,
    /// The stream ended cleanly but without its end marker.
    UpstreamEof,
    /// The service answered with an error before the response ended.
    UpstreamStatus,
    /// A limit of the sidecar on time ended the call.
    Timeout,
    /// The caller neither sent nor took anything for as long as `--caller-idle-timeout` allows.
    CallerIdle,
    /// The sidecar was stopped before the response ended.
    Shutdown,
    /// The sidecar died before the response ended, and the numbers are those of the last checkpoint.
    Crashed,
    /// The sidecar refused the call.
    Rejected,
    /// Reading on after the caller had left took longer than `--disconnect-drain-timeout` allows.
    DrainTimeout,
    /// Reading on after the caller had left brought more than `--disconnect-drain-bytes` allows.
    DrainBytes,
    /// The caller left, and as many responses as `--disconnect-drain-calls` allows were being read on already.
    DrainCalls,
    /// The service does not bill a call that it answers in this way.
    NotBilled,
    /// The service does not say whether it bills a call that failed in this way.
    BillingUncertain,
    /// Calls of this kind are forwarded without being counted.
    Unmetered,
    /// The service reports the usage of such calls, and it did not.
    NoUsage,
    /// The work goes on after the call: its bill comes later, in an event of its own.
    Deferred,
    /// Each response of the session has an event of its own.
    BilledPerResponse,
    /// The call only opens a way that does not lead through the sidecar; what is used there is seen by the service alone.
    UsageElsewhere,
    /// The response reports usage more than once, and the numbers are added up.
    SeveralUsages,
    /// The numbers that the service reports contradict each other.
    TotalDiffers,
    /// The service divided its numbers by the calls in the response, as it did for some months.
    DividedUsage,
    /// The rules of this kind of number have been wrong of late, where the service reports.
    RulesDrifted,
    /// The rules or the vocabulary of the model are not known, or not proven for such a call.
    UnknownModel,
    /// The response does not name its model, and the one asked for was taken.
    ModelAssumed,
    /// The request or the response has members that the rules do not know.
    UnknownFields,
    /// The path can be read in two ways; the call was counted as a service would understand it.
    OddPath,
    /// The service names another deployment than the path, and that was not announced as a spill-over.
    DeploymentDiffers,
    /// The request or the response could not be read.
    Unreadable,
    /// The request could not be read in full while it went by.
    RequestUnread,
    /// The request did not arrive in full.
    RequestCut,
    /// The prompt was not kept, because `--prompt-memory` was used up.
    PromptNotKept,
    /// The prompt was not counted before the call ended.
    PromptNotCounted,
    /// The counting threads could not keep up with the response.
    MeterOverload,
    /// The counting failed, which is an error of the sidecar.
    MeterPanic,
    /// The response has a content coding that could not be undone.
    Encoding,
    /// The response has parts that are too long to be kept.
    TooLong,
    /// The response has more choices or items than are counted.
    TooManyChoices,
    /// The arguments of several calls in one choice are too long to be kept.
    ArgumentsNotKept,
    /// The response has no choices.
    NoChoices,
    /// The response says nothing.
    EmptyAnswer,
    /// A choice does not say why it ended.
    Unfinished,
    /// The response is made in the background, after the call.
    Background,
    /// The model thinks, and the service does not show what it thinks.
    ReasoningHidden,
    /// The request holds what the model thought before.
    ReasoningItems,
    /// The service filtered the response.
    ContentFilter,
    /// The text may have ended at a stop sequence, which may be billed.
    StopSequence,
    /// The service may or may not bill the token that ends a turn.
    EndOfTurn,
    /// The response has both text and a call of a tool.
    TextAndCall,
    /// The response has several messages.
    SeveralMessages,
    /// Several tools are called at once.
    ParallelCalls,
    /// The request sends earlier calls back in a form of which too few were recorded.
    ReplayedCall,
    /// The request holds earlier calls of tools in a form of which too few were recorded.
    ToolHistory,
    /// The schema of a tool has a form of which too few were recorded.
    ToolSchema,
    /// The request chooses a tool in a way of which too few were recorded.
    ToolChoice,
    /// The request names the function to be called.
    NamedToolChoice,
    /// The service runs tools of its own.
    HostedTool,
    /// The caller has tools that take free text.
    CustomTool,
    /// The response follows a JSON schema for which the rules are not proven.
    JsonSchema,
    /// The request predicts the response.
    Prediction,
    /// Part of the prompt is kept by the service.
    ServerState,
    /// The service shortens the conversation.
    Compaction,
    /// The response comes from the first weeks of the Responses API, whose rules were different.
    EarlyResponses,
    /// An image has a price that is not proven.
    Image,
    /// An image is named and not sent, so that its size is not known.
    RemoteImage,
    /// The request or the response has audio.
    Audio,
    /// The request has a file.
    File,
    /// A message has no parts.
    EmptyMessage,
    /// A text to be embedded or completed is empty.
    EmptyPrompt,
    /// The prompt spells out special tokens.
    SpecialTokens,
    /// The request has a `suffix`.
    Suffix,
    /// The response repeats the prompt.
    Echo,
    /// The service wrote more candidates than it shows.
    BestOf,
}

impl Reason {
    /// The word that stands in events, behind the side.
    pub fn as_str(self) -> &'static str {
        self.into()
    }

    /// Its meaning, in one sentence.
    pub fn meaning(self) -> &'static str {
        self.get_documentation().unwrap_or_default()
    }

    /// The word with its side, as it stands in events: `output:client_disconnect`.
    pub fn of(self, side: Side) -> String {
        format!("{}:{}", side.as_str(), self.as_str())
    }

    /// A text of `accounting.reasons` is this one, of either side.
    pub fn is_in(self, text: &str) -> bool {
        text.split_once(':').is_some_and(|(_, word)| word == self.as_str())
    }

    /// The reason why a response was cut, from how its call ended; `None` if it was not cut.
    pub fn cut_by(outcome: Outcome) -> Option<Reason> {
        match outcome {
            Outcome::Complete => None,
            Outcome::ClientDisconnect => Some(Reason::ClientDisconnect),
            Outcome::UpstreamError => Some(Reason::UpstreamError),
            Outcome::UpstreamEof => Some(Reason::UpstreamEof),
            Outcome::Timeout => Some(Reason::Timeout),
            Outcome::Shutdown => Some(Reason::Shutdown),
            Outcome::Crashed => Some(Reason::Crashed),
            Outcome::Rejected => Some(Reason::Rejected),
            Outcome::UpstreamStatus => Some(Reason::UpstreamStatus),
        }
    }

    /// The table of every reason for `docs/events.md`.
    pub fn markdown() -> String {
        let rows = Reason::VARIANTS
            .iter()
            .map(|reason| format!("| `{}` | {} |\n", reason.as_str(), reason.meaning()));
        format!("| reason | what it says |\n|---|---|\n{}", rows.collect::<String>())
    }
}

/// Tests name reasons as events do, so that a word cannot change unseen.
#[cfg(test)]
impl PartialEq<&str> for Reason {
    fn eq(&self, word: &&str) -> bool {
        self.as_str() == *word
    }
}
