//! A sample of prompts is counted although the service reported them, to see whether the rules hold.
//!
//! An answer's count runs anyway, a prompt's does not: it costs some 20 ms of CPU per megabyte. So
//! of the calls with reported usage only a share is counted (`--drift-sample`), and it is counted
//! when there is nothing else to do. The call itself knows nothing of it: the body is taken over at
//! the moment when it would be let go of, the call settles without, and the number goes into the
//! comparison and nowhere else, so that the event of a sampled call is that of any other.
//!
//! A sample never takes the place of a prompt that is needed. What waits to be counted is part of
//! `--prompt-memory`, and the whole of it is let go of as soon as a needed prompt finds no room. The
//! one that is being counted holds nothing of it: it is copied first, which one that arrived in
//! several pieces would be anyway.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use uuid::Uuid;

use super::Accounts;
use super::budget::Holder;
use super::call::{Call, State};
use super::drift::Kind;
use super::prompt::Prompt;
#[cfg(test)]
use super::tests::count_prompt;
use metering::meter::PromptSample;
#[cfg(not(test))]
use metering::meter::count_prompt;
use metering::usage::Side;

/// A larger body is not sampled: the copy of the one that is being counted is outside of the prompt
/// memory, and a tenth of a second of CPU is much for a look. A prompt of a million tokens fits.
const SAMPLE_BYTES_MAX: usize = 4 << 20;

/// A share of all calls.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Share {
    /// Of 2^32.
    parts: u64,
}

impl Share {
    /// A share given in parts per million; more than a million are all.
    pub fn from_ppm(ppm: u32) -> Share {
        Share { parts: (u64::from(ppm.min(1_000_000)) << 32) / 1_000_000 }
    }

    /// Whether the call of this id is one of them. The last 32 bits of a UUIDv7 are random, so the
    /// choice is independent of time and of the call; and it can be made again from the event.
    pub fn has(self, id: Uuid) -> bool {
        (id.as_u128() & 0xFFFF_FFFF) < u128::from(self.parts)
    }
}

/// A prompt that waits to be compared.
struct Waiting {
    accounts: Arc<Accounts>,
    sample: PromptSample,
    body: Vec<Bytes>,
    pinned_bytes: usize,
    holder: Holder,
}

impl Call {
    /// The service has reported the prompt: it is let go of, or taken for the sample.
    pub(super) fn let_go_or_sample(&self, state: &mut State) {
        let small = state.prompt.pinned_bytes() <= SAMPLE_BYTES_MAX;
        let chosen =
            matches!(state.prompt_state, Prompt::Whole) && small && self.accounts.sample.has(self.id);
        let sample = if chosen { self.look(state, |meter| meter.prompt_sample()).flatten() } else { None };
        if let Some(sample) = sample {
            let (body, pinned_bytes) = state.prompt.take();
            let accounts = Arc::clone(&self.accounts);
            let waiting = Waiting { accounts, sample, body, pinned_bytes, holder: self.holder };
            self.accounts.pool.submit_errand(Box::new(move || waiting.compare()));
        }
        self.let_go_of_prompt(state);
    }
}

impl Waiting {
    fn compare(mut self) {
        let body = [Bytes::from(self.body.concat())];
        self.let_go();
        let target = &self.sample.target;
        let model = target.model.as_deref().unwrap_or_default();
        let Ok(count) = catch_unwind(AssertUnwindSafe(|| count_prompt(target.api, &body, model))) else {
            self.accounts.counters.meter_panics.fetch_add(1, Ordering::Relaxed);
            return;
        };
        let residual = count.tokens.and_then(|tokens| self.sample.reported.checked_signed_diff(tokens));
        let kind = count.class.and_then(|class| Kind::of(target, Side::Input, class));
        if let (true, Some(residual), Some(kind)) = (count.reasons.is_empty(), residual, kind) {
            self.accounts.compare(kind, residual);
        }
    }

    /// Lets go of what it holds of the prompt memory.
    fn let_go(&mut self) {
        self.body = Vec::new();
        self.accounts.prompts.release(self.holder, std::mem::take(&mut self.pinned_bytes));
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.let_go();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_holds_as_many_calls_as_it_says() {
        let ids: Vec<_> = (0..20_000).map(|_| Uuid::now_v7()).collect();
        let held = |ppm: u32| ids.iter().filter(|id| Share::from_ppm(ppm).has(**id)).count();
        assert_eq!((held(0), held(1_000_000), held(u32::MAX)), (0, 20_000, 20_000));
        // Seven standard deviations.
        assert!((100..=300).contains(&held(10_000)), "{} of 200", held(10_000));
        assert!((9_500..=10_500).contains(&held(500_000)), "{} of 10,000", held(500_000));
    }

    #[test]
    fn a_smaller_share_is_part_of_a_larger_one() {
        for _ in 0..1_000 {
            let id = Uuid::now_v7();
            let has: Vec<_> =
                [0, 1, 10_000, 300_000, 1_000_000].map(|ppm| Share::from_ppm(ppm).has(id)).into();
            assert!(has.is_sorted());
        }
    }
}
