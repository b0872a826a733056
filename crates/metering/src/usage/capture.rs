//! The fate of a call's content, as its usage event tells it.

use serde::{Deserialize, Serialize};
use strum::{IntoStaticStr, VariantArray};

/// The part of one side of a call that was kept for those who may read its content.
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
pub enum CaptureState {
    /// This side is not captured: by `--capture`, or since sessions of WebSockets are not.
    Off,
    /// The share of the caller, or of all calls, left this one out.
    SampledOut,
    /// Every byte that passed was handed over to be sealed.
    Full,
    /// A prefix was: a bound was reached, or the call was over before this side of it.
    Truncated,
    /// Nothing of it was: there was no room.
    Lost,
    /// The sidecar died before the call was over: what was sealed by then is kept.
    Partial,
}

/// The fate of a call's content. It is known when the event is made, and the event waits for nothing: a part
/// that is lost behind it stands in the control events of the content.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Capture {
    /// The request, as it came from the caller.
    pub request: CaptureState,
    /// The response, as it went to the caller.
    pub response: CaptureState,
    /// Parts that were made of both sides; `None` where it is not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parts: Option<u64>,
    /// Bytes of both sides in these parts, as they passed; `None` where it is not known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
}

impl CaptureState {
    /// The word that stands in events and metrics.
    pub fn as_str(self) -> &'static str {
        self.into()
    }

    /// The side is captured, as far as that is possible.
    pub fn is_wanted(self) -> bool {
        !matches!(self, CaptureState::Off | CaptureState::SampledOut)
    }
}
