//! A sample of prompts is counted although the service reported them, to see whether the rules hold.
//!
//! A response's count runs anyway, a prompt's does not: it costs some 20 ms of CPU per megabyte. So
//! of the calls with reported usage only a share is counted (`--drift-sample`), and it is counted
//! when there is nothing else to do. The call itself knows nothing of it: the body is taken over at
//! the moment when it would be dropped, the call settles without, and the number goes into the
//! comparison and nowhere else, so that the event of a sampled call is that of any other.
//!
//! A sample never takes the place of a prompt that is needed. Samples that wait to be counted are part of
//! `--prompt-memory`, and all of them are dropped as soon as a needed prompt finds no room. The
//! one that is being counted holds nothing of it: it is copied first, which one that arrived in
//! several pieces would be anyway.

use std::sync::Arc;

use bytes::Bytes;
use metering::meter::PromptSample;
use metering::usage::Side;

use super::accounts::Accounts;
use super::budget::BudgetShare;
use super::context::CallContext;
use super::drift::NumberKind;
use super::meter::CallMeter;

/// A larger body is not sampled: the copy of the one that is being counted is outside of the prompt
/// memory, and a tenth of a second of CPU is much for a look. A prompt of a million tokens fits.
pub(super) const SAMPLE_BYTES_MAX: usize = 4 << 20;

/// A prompt that waits to be compared.
struct SampledPrompt {
    accounts: Arc<Accounts>,
    sample: PromptSample,
    body: Vec<Bytes>,
    pinned_bytes: usize,
    share: BudgetShare,
}

/// Has the pool count a body, whose memory is taken over, when there is nothing else to do.
pub(super) fn submit<M: CallMeter>(
    cx: &CallContext,
    sample: PromptSample,
    (body, pinned_bytes): (Vec<Bytes>, usize),
) {
    let accounts = Arc::clone(&cx.accounts);
    let sampled = SampledPrompt { accounts, sample, body, pinned_bytes, share: cx.share };
    cx.accounts.pool.submit_background(Box::new(move || sampled.compare::<M>()));
}

impl SampledPrompt {
    fn compare<M: CallMeter>(mut self) {
        let body = [Bytes::from(self.body.concat())];
        self.release();
        let target = &self.sample.target;
        let model = target.model.as_deref().unwrap_or_default();
        let Some(count) = self.accounts.guard(|| M::count_prompt(target.api, &body, model)) else { return };
        let residual = count.tokens.and_then(|tokens| self.sample.reported.checked_signed_diff(tokens));
        let kind = count.class.and_then(|class| NumberKind::of(target, Side::Input, class));
        if let (true, Some(residual), Some(kind)) = (count.reasons.is_empty(), residual, kind) {
            self.accounts.compare(kind, residual);
        }
    }

    /// Gives back what it holds of the prompt memory.
    fn release(&mut self) {
        self.body = Vec::new();
        self.accounts.prompts.release(self.share, std::mem::take(&mut self.pinned_bytes));
    }
}

impl Drop for SampledPrompt {
    fn drop(&mut self) {
        self.release();
    }
}
