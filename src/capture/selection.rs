//! The choice of the calls that are captured, and of their sides.

use std::sync::Arc;

use jiff::Timestamp;
use metering::caller::Reload;
use metering::usage::CaptureState;
use ring::hmac;
use uuid::Uuid;

use super::caller_shares::CallerShares;
use crate::tee::SampleRatio;

/// The sides that are captured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CaptureSides {
    /// Requests, as they come from callers.
    pub request: bool,
    /// Responses, as they go to callers.
    pub response: bool,
}

/// The share of calls that are captured: of all, or of a caller's.
#[derive(Clone, Debug)]
pub struct CaptureShare {
    /// Of the calls of callers that the file does not name.
    pub share: SampleRatio,
    /// Shares of some callers.
    pub callers: Option<Arc<Reload<CallerShares>>>,
}

/// The decision on one call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// Both sides, or the one that is captured at all.
    Captured,
    /// The share leaves it out.
    SampledOut,
}

/// Decides, for each call the same whenever it is asked.
#[derive(Debug)]
pub(super) struct Selection {
    pub(super) sides: CaptureSides,
    share: CaptureShare,
    /// Nobody who makes calls can foresee which are chosen, and whoever knows the ledger can find it out again.
    key: hmac::Key,
}

impl Selection {
    /// `source` is the ledger's.
    pub(super) fn new(sides: CaptureSides, share: CaptureShare, source: &str) -> Selection {
        Selection { sides, share, key: hmac::Key::new(hmac::HMAC_SHA256, source.as_bytes()) }
    }

    /// Decides on a call that began then.
    pub(super) fn wanted(&self, id: Uuid, caller: &str, at: Timestamp) -> Wanted {
        let own = self.share.callers.as_ref().and_then(|callers| callers.current().share_of(caller, at));
        let share = own.unwrap_or(self.share.share);
        if share.is_all() || (!share.is_none() && share.has_drawn(self.drawn(id))) {
            Wanted::Captured
        } else {
            Wanted::SampledOut
        }
    }

    /// The number that the choice is made by: the first 32 bits of the HMAC-SHA-256 of the call's id, as its event has it.
    fn drawn(&self, id: Uuid) -> u32 {
        let mut text = Uuid::encode_buffer();
        let mac = hmac::sign(&self.key, id.hyphenated().encode_lower(&mut text).as_bytes());
        mac.as_ref().iter().take(size_of::<u32>()).fold(0, |drawn, byte| drawn << 8 | u32::from(*byte))
    }

    /// The states of the sides that are not captured: request and response.
    pub(super) fn left_out(&self, wanted: Wanted) -> [Option<CaptureState>; 2] {
        [self.sides.request, self.sides.response].map(|side| match (side, wanted) {
            (false, _) => Some(CaptureState::Off),
            (true, Wanted::SampledOut) => Some(CaptureState::SampledOut),
            (true, Wanted::Captured) => None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn selection(share: &str, callers: &str) -> Selection {
        let callers = (!callers.is_empty()).then(|| Arc::new(Reload::fixed(callers).unwrap()));
        let share = CaptureShare { share: SampleRatio::parse(share).unwrap(), callers };
        Selection::new(CaptureSides { request: true, response: true }, share, "//tokenweir/x")
    }

    #[test]
    fn a_share_is_of_calls_and_the_same_when_asked_again() {
        let (few, again) = (selection("10%", ""), selection("10%", ""));
        let other =
            Selection { key: hmac::Key::new(hmac::HMAC_SHA256, b"//tokenweir/y"), ..selection("10%", "") };
        let (now, ids): (_, Vec<Uuid>) =
            (Timestamp::UNIX_EPOCH, (0..20_000).map(|_| Uuid::now_v7()).collect());
        let chosen = |by: &Selection, id: &Uuid| by.wanted(*id, "a", now) == Wanted::Captured;
        let count = ids.iter().filter(|id| chosen(&few, id)).count();
        // Seven standard deviations.
        assert!((1_700..=2_300).contains(&count), "{count} of 2,000");
        assert!(ids.iter().all(|id| chosen(&few, id) == chosen(&again, id)));
        assert!(
            ids.iter().any(|id| chosen(&few, id) != chosen(&other, id)),
            "another ledger draws otherwise"
        );
    }

    /// `printf ID | openssl dgst -sha256 -hmac SOURCE`, of which the first eight digits count.
    #[test]
    fn anybody_can_find_the_choice_out_again() {
        let id = "01234567-89ab-7def-8123-456789abcdef".parse().unwrap();
        assert_eq!(selection("10%", "").drawn(id), 0x0929_96a1);
    }

    #[test]
    fn a_caller_has_a_share_of_its_own() {
        let by = selection("100%", "caller,share,from,to\ncouncil,0%,,\n");
        let wanted = |caller| by.wanted(Uuid::now_v7(), caller, Timestamp::UNIX_EPOCH);
        assert_eq!((wanted("council"), wanted("other")), (Wanted::SampledOut, Wanted::Captured));
        assert_eq!(by.left_out(Wanted::SampledOut), [Some(CaptureState::SampledOut); 2]);
        assert_eq!(by.left_out(Wanted::Captured), [None; 2]);
    }
}
