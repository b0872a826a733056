//! Why Azure's number is another one than ours: a closed list, in the order in which a delta is put on its causes.

use strum::{EnumMessage, IntoStaticStr, VariantArray};

/// Why Azure's number is another one than ours.
///
/// A delta is put on these from the first to the last, on each no more than our events, or Azure's own dimensions, show
/// of it, and never more than is left. Where Azure has less, failed calls are asked first, and cut streams last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, EnumMessage, IntoStaticStr, VariantArray)]
#[strum(serialize_all = "snake_case")]
pub enum Cause {
    /// The deployment is provisioned: its tokens are paid by the hour, and no meter counts them.
    Provisioned,
    /// The call spilled over: we have it under one deployment, Azure under the other.
    Spillover,
    /// The call ended within five minutes of midnight or went on over it, and Azure has it on the other day.
    HourEdge,
    /// A batch, which Azure has on another day or deployment, or has not, or of which no bill came by.
    Batch,
    /// Work that went on after its call: its bill came by on a later day, or not yet.
    Deferred,
    /// The stream was cut before its end, and we saw a part of it only.
    CutStreams,
    /// The call was answered, and neither the service nor we know its number.
    UnknownCalls,
    /// Our number is an estimate, or is known to be the least that it can be.
    Estimates,
    /// The call failed, and Azure does not say whether it counts such calls.
    Failures,
    /// Azure has more: traffic that did not pass the sidecar.
    Bypass,
    /// We have more: calls that Azure does not have.
    OverCount,
    /// Azure has as many calls as we have, and other numbers.
    Unexplained,
}

impl Cause {
    /// The word that stands in every output.
    pub fn as_str(self) -> &'static str {
        self.into()
    }

    /// Every word, in order.
    pub fn words() -> Vec<&'static str> {
        Cause::VARIANTS.iter().map(|cause| cause.as_str()).collect()
    }

    /// Says in a sentence what it means.
    pub fn sentence(self) -> &'static str {
        self.get_documentation().unwrap_or_default()
    }

    /// It says what is wrong, and not what could be expected: it is what the tolerance is for.
    pub fn is_open(self) -> bool {
        self >= Cause::Bypass
    }

    /// The causes and their sentences, as a table for the documents.
    pub fn markdown() -> String {
        let rows =
            Cause::VARIANTS.iter().map(|cause| format!("| `{}` | {} |\n", cause.as_str(), cause.sentence()));
        format!("| cause | what it means |\n|---|---|\n{}", rows.collect::<String>())
    }
}
