//! One of the two numbers of a call.

use super::billing::Billing;
use crate::usage::{Quality, Reason, RuleClass, Source};

/// A side's final number.
#[derive(Debug, Default)]
pub(super) struct SideNumber {
    pub(super) tokens: Option<u64>,
    pub(super) source: Source,
    pub(super) quality: Quality,
    pub(super) reasons: Vec<Reason>,
    /// The rules that computed it, if any did.
    pub(super) class: Option<RuleClass>,
}

impl SideNumber {
    pub(super) fn computed(tokens: Option<u64>, quality: Quality, reasons: Vec<Reason>) -> SideNumber {
        match tokens {
            Some(_) => SideNumber { tokens, source: Source::Computed, quality, reasons, class: None },
            None => SideNumber::unknown(reasons),
        }
    }

    pub(super) fn reported(tokens: u64, quality: Quality, reasons: Vec<Reason>) -> SideNumber {
        SideNumber { tokens: Some(tokens), source: Source::Reported, quality, reasons, class: None }
    }

    /// Numbers of this side contradict each other; which of them is right is not said.
    pub(super) fn doubted(mut self, differs: bool) -> SideNumber {
        if differs {
            self.quality = Quality::Estimated;
            self.reasons.push(Reason::TotalDiffers);
        }
        self
    }

    /// It is the sum of several usages, each of which may have been meant for all of the call.
    pub(super) fn summed(mut self, is_sum: bool) -> SideNumber {
        if is_sum {
            self.quality = Quality::Estimated;
            self.reasons.push(Reason::SeveralUsages);
        }
        self
    }

    pub(super) fn unknown(reasons: Vec<Reason>) -> SideNumber {
        SideNumber { reasons, ..SideNumber::default() }
    }

    /// Names the rules that computed it.
    pub(super) fn by(self, class: Option<RuleClass>) -> SideNumber {
        SideNumber { class, ..self }
    }

    /// The number, if it was computed.
    pub(super) fn computed_tokens(&self) -> Option<u64> {
        self.tokens.filter(|_| self.source == Source::Computed)
    }
}

/// A call that the service does not charge for.
pub(super) fn not_billed(billing: Billing) -> Option<SideNumber> {
    match billing {
        Billing::Nothing => Some(SideNumber::computed(Some(0), Quality::Exact, vec![Reason::NotBilled])),
        Billing::PerResponse => {
            Some(SideNumber::computed(Some(0), Quality::Exact, vec![Reason::BilledPerResponse]))
        }
        Billing::MostLikelyNothing => {
            Some(SideNumber::computed(Some(0), Quality::Estimated, vec![Reason::NotBilled]))
        }
        _ => None,
    }
}
