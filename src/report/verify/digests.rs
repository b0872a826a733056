//! Digests, seals, and the chain of control events show what is wrong.

use metering::usage::SealState;

use super::boot_index::BootRecord;
use super::findings::FindingKind;
use super::period::{Period, RowsMatch, SaidDigest};

/// One thing that is wrong, how many events it is about, and a part of its sentence.
pub(super) type Fault = (FindingKind, u64, String);

/// The kind of a fault in what a control event says: with a whole signature somebody has meant it.
fn by_hand(hmac: SealState) -> FindingKind {
    match hmac {
        SealState::Whole | SealState::Broken => FindingKind::Forged,
        SealState::Absent | SealState::OtherKey => FindingKind::Altered,
    }
}

/// Nothing shows that the control event is another one than was stored.
pub(super) fn is_sealed(period: &Period) -> bool {
    of_seals(period).is_none_or(|(kind, ..)| kind == FindingKind::ReRendered)
}

/// Finds what is wrong with the control event itself. The hash stands in its own bytes, so only the HMAC shows intent.
pub(super) fn of_seals(period: &Period) -> Option<Fault> {
    let proof = &period.proof;
    let fault = |kind, text: &str| Some((kind, 1, text.to_owned()));
    if proof.hmac == SealState::Broken {
        return fault(FindingKind::Forged, "its control event is not the one that was signed");
    }
    match proof.hash {
        SealState::Broken => fault(by_hand(proof.hmac), "its control event is not the one that was stored"),
        SealState::Absent if proof.should_be_sealed || proof.digest != SaidDigest::Absent => {
            fault(by_hand(proof.hmac), "the hash of its control event is gone")
        }
        _ if proof.re_rendered => {
            fault(FindingKind::ReRendered, "its control event was re-rendered and says what was stored")
        }
        _ => None,
    }
}

/// Finds what is wrong with rows that are all there.
pub(super) fn of_rows(period: &Period) -> Option<Fault> {
    let rows = &period.rows;
    match period.match_of_rows() {
        RowsMatch::Unproven | RowsMatch::Equal => None,
        RowsMatch::ReRendered => {
            let text =
                "rows were re-rendered by some engine; the digest proves that they say what was stored";
            Some((FindingKind::ReRendered, rows.re_rendered, text.to_owned()))
        }
        RowsMatch::Different => {
            let again = match rows.re_rendered {
                0 => String::new(),
                some => format!("; {some} of them were re-rendered as well"),
            };
            let text =
                format!("digest: rows {}, control event {}{again}", rows.digest, said(period.proof.digest));
            let kind = match period.proof.hmac {
                SealState::Whole => FindingKind::Forged,
                _ => FindingKind::Altered,
            };
            Some((kind, period.said.events, text))
        }
    }
}

/// Whether any of a boot's own control events has a digest: then each had one.
pub(super) fn has_digests(boot: &BootRecord, index: usize) -> bool {
    let own = boot.periods.iter().filter(|period| period.writer == index);
    own.into_iter().any(|period| period.proof.digest != SaidDigest::Absent)
}

/// A digest that is gone.
pub(super) fn of_absence(period: &Period) -> Option<Fault> {
    let lost = period.proof.digest == SaidDigest::Absent;
    lost.then(|| {
        (FindingKind::Altered, period.said.events, "the digest of its control event is gone".to_owned())
    })
}

/// Holds what a control event says of the one before it against that one, which is there.
pub(super) fn of_chain(before: &Period, period: &Period) -> Option<Fault> {
    let (named, found) = (period.proof.previous, before.proof.digest);
    if named == found || period.proof.digest == SaidDigest::Absent {
        return None;
    }
    let text =
        format!("the control event before it has digest {}, and it names {}", said(found), said(named));
    Some((by_hand(period.proof.hmac), before.said.events, text))
}

fn said(digest: SaidDigest) -> String {
    match digest {
        SaidDigest::Absent => "none".to_owned(),
        SaidDigest::Spoiled => "no digest at all".to_owned(),
        SaidDigest::Said(digest) => digest.to_string(),
    }
}
