//! The prompt of a call, and what its meter needs it for: each decision to keep, count, sample or drop it.

use std::sync::atomic::Ordering;

use bytes::Bytes;
use metering::chunk::RequestFacts;
use metering::meter::{PromptCount, PromptNeed};
use smol_str::SmolStr;

use super::context::CallContext;
use super::early_count::EarlyCount;
use super::meter::{CallMeter, PromptLoss};
use super::meter_location::MeterNote;
use super::metered_response::MeteredResponse;
use super::prompt_body::PromptBody;
use super::prompt_sample::{self, SAMPLE_BYTES_MAX};
use crate::pool::Lane;

/// The next work of the pool for a prompt.
pub(super) enum PromptStep {
    Read(Vec<Bytes>),
    /// The body, the memory that it pins, and the model by whose rules it is counted.
    Count(Vec<Bytes>, usize, SmolStr),
    Rest,
}

/// The prompt of a call. Its meter is with the response.
pub(super) struct MeteredPrompt {
    pub(super) body: PromptBody,
    pub(super) early: EarlyCount,
    /// The call stands in one of the pool's queues of prompts, or is being run from there.
    pub(super) queued: bool,
}

impl MeteredPrompt {
    /// The prompt of a call that begins; `keep`: it may be needed for counting.
    pub(super) fn new(keep: bool) -> MeteredPrompt {
        MeteredPrompt { body: PromptBody::new(keep), early: EarlyCount::default(), queued: false }
    }

    /// The pool is at work for it.
    pub(super) fn is_with_pool(&self) -> bool {
        matches!(self.body, PromptBody::Unread(_) | PromptBody::Counting)
    }

    /// The request has ended.
    pub(super) fn request_end<M: CallMeter>(&mut self, cx: &CallContext, response: &mut MeteredResponse<M>) {
        if !matches!(self.body, PromptBody::Arriving(_)) {
            return;
        }
        self.body.change(PromptBody::Whole);
        let unread = response.ask(cx, |meter| meter.is_request_unread()) == Some(true);
        if unread && self.enqueue(cx, response) {
            self.body.change(PromptBody::Unread);
        }
    }

    /// Finds out whether the body is still needed, once it is whole. `billable`: the service may be at work for
    /// the call.
    pub(super) fn consider<M: CallMeter>(
        &mut self,
        cx: &CallContext,
        response: &mut MeteredResponse<M>,
        billable: bool,
    ) {
        if response.is_meter_lost() {
            self.body.release(cx);
        }
        if !matches!(self.body, PromptBody::Whole(_)) {
            return;
        }
        self.tell_early_count(cx, response);
        match response.ask(cx, M::need) {
            Some(PromptNeed::No) => {
                self.release_or_sample(cx, response);
                // The service has reported: that is worth a checkpoint of its own.
                cx.expedite_checkpoint();
            }
            Some(PromptNeed::Count { model }) => {
                self.body.change(|body| PromptBody::Needed(body, model));
                if !self.enqueue(cx, response) {
                    self.lose(cx, response, PromptLoss::Overload);
                }
            }
            Some(PromptNeed::Keep) | None => self.consider_early_count(cx, response, billable),
        }
    }

    /// Decides about the body when the meter knows that the call is over, and so what it is needed for.
    pub(super) fn decide<M: CallMeter>(
        &mut self,
        cx: &CallContext,
        response: &mut MeteredResponse<M>,
        unsent: bool,
    ) {
        self.tell_early_count(cx, response);
        let need = if unsent { None } else { response.ask(cx, M::need) };
        match (&self.body, need) {
            // One that waits to be counted may not be needed any more.
            (_, Some(PromptNeed::No)) => self.release_or_sample(cx, response),
            (PromptBody::Needed(..), Some(_)) => {}
            (_, None | Some(PromptNeed::Keep)) => self.body.release(cx),
            (PromptBody::Whole(_), Some(PromptNeed::Count { model })) => {
                self.body.change(|body| PromptBody::Needed(body, model));
            }
            (PromptBody::Arriving(_), Some(PromptNeed::Count { .. })) => {
                self.lose(cx, response, PromptLoss::NotKept);
            }
            (PromptBody::Unread(_), Some(PromptNeed::Count { .. })) => {
                debug_assert!(false, "a request is read before anything is decided by it");
            }
            (PromptBody::Counting | PromptBody::Gone, Some(PromptNeed::Count { .. })) => {}
        }
    }

    /// Puts the call in the pool's queue of prompts, unless it is there: in the last one if the service
    /// refused the call, since that most likely is not billed. False: the pool takes no more.
    pub(super) fn enqueue<M: CallMeter>(
        &mut self,
        cx: &CallContext,
        response: &mut MeteredResponse<M>,
    ) -> bool {
        if !self.queued {
            let refused = response.ask(cx, |meter| meter.is_refused()) == Some(true);
            self.queued = cx.submit(if refused { Lane::Refused } else { Lane::Prompt });
        }
        self.queued
    }

    /// Gives up a prompt that is needed but cannot be kept or counted.
    pub(super) fn lose<M: CallMeter>(
        &mut self,
        cx: &CallContext,
        response: &mut MeteredResponse<M>,
        loss: PromptLoss,
    ) {
        if self.body.is_held() {
            let counter = match loss {
                PromptLoss::NotKept => &cx.accounts.counters.prompts_not_kept,
                PromptLoss::Overload => &cx.accounts.counters.meter_overload,
            };
            counter.fetch_add(1, Ordering::Relaxed);
            response.tell(cx, MeterNote::Lost(loss));
        }
        self.body.release(cx);
    }

    /// Drops a body that is not needed, or has it counted for the sample of those that the service reported.
    fn release_or_sample<M: CallMeter>(&mut self, cx: &CallContext, response: &mut MeteredResponse<M>) {
        if let PromptBody::Whole(body) = &mut self.body
            && body.pinned_bytes() <= SAMPLE_BYTES_MAX
            && cx.accounts.sample.has(cx.id)
            && let Some(sample) = response.ask(cx, |meter| meter.prompt_sample()).flatten()
        {
            prompt_sample::submit::<M>(cx, sample, body.take());
        }
        self.body.release(cx);
    }

    // ===== The pool's work =====

    /// The next work of the pool.
    pub(super) fn step(&mut self) -> PromptStep {
        match &mut self.body {
            PromptBody::Unread(body) => PromptStep::Read(body.views()),
            PromptBody::Needed(body, model) => {
                let ((pieces, pinned_bytes), model) = (body.take(), std::mem::take(model));
                self.body = PromptBody::Counting;
                PromptStep::Count(pieces, pinned_bytes, model)
            }
            PromptBody::Arriving(_) | PromptBody::Whole(_) | PromptBody::Counting | PromptBody::Gone => {
                self.queued = false;
                PromptStep::Rest
            }
        }
    }

    /// The pool has read what a coded request says, or has failed to.
    pub(super) fn was_read<M: CallMeter>(
        &mut self,
        cx: &CallContext,
        response: &mut MeteredResponse<M>,
        facts: Option<RequestFacts>,
    ) {
        if matches!(self.body, PromptBody::Unread(_)) {
            self.body.change(PromptBody::Whole);
        }
        if let Some(facts) = facts {
            response.tell(cx, MeterNote::Read(facts));
        }
    }

    /// The pool has counted the body, or has failed to.
    pub(super) fn was_counted<M: CallMeter>(
        &mut self,
        cx: &CallContext,
        response: &mut MeteredResponse<M>,
        count: Option<PromptCount>,
    ) {
        debug_assert!(matches!(self.body, PromptBody::Counting), "a count is only made of what is counted");
        self.body = PromptBody::Gone;
        response.tell(cx, count.map_or(MeterNote::Lost(PromptLoss::NotKept), MeterNote::Counted));
    }

    // ===== Its early count =====

    /// The call has been open for a second.
    pub(super) fn come_of_age<M: CallMeter>(
        &mut self,
        cx: &CallContext,
        response: &mut MeteredResponse<M>,
        billable: bool,
    ) {
        if matches!(self.early, EarlyCount::Young) {
            self.early = EarlyCount::Due;
            self.consider_early_count(cx, response, billable);
        }
    }

    /// Makes up for what could not be done when it was due.
    pub(super) fn consider_overdue_count<M: CallMeter>(
        &mut self,
        cx: &CallContext,
        response: &mut MeteredResponse<M>,
        billable: bool,
    ) {
        if matches!(self.early, EarlyCount::Due | EarlyCount::Counted(_)) {
            self.consider_early_count(cx, response, billable);
        }
    }

    /// The pool has counted the body early, or has failed to.
    pub(super) fn was_counted_early<M: CallMeter>(
        &mut self,
        cx: &CallContext,
        response: &mut MeteredResponse<M>,
        counted: Option<(PromptCount, SmolStr)>,
    ) {
        self.early = counted.map_or(EarlyCount::Done, |counted| EarlyCount::Counted(Box::new(counted)));
        self.tell_early_count(cx, response);
    }

    /// Asks the pool for a count, if there is something to count and it is due. The state of a call that
    /// is young or done costs one look at it.
    fn consider_early_count<M: CallMeter>(
        &mut self,
        cx: &CallContext,
        response: &mut MeteredResponse<M>,
        billable: bool,
    ) {
        if matches!(self.early, EarlyCount::Young | EarlyCount::Asked | EarlyCount::Done) {
            return;
        }
        self.tell_early_count(cx, response);
        if !cx.on_record {
            self.early = EarlyCount::Done; // its checkpoints are stored nowhere
        }
        if let (true, PromptBody::Whole(body)) = (billable, &self.body) {
            self.early.request(cx, response, body.pinned_bytes());
        }
    }

    /// Tells the meter of a count that came while it was away, unless it still is.
    fn tell_early_count<M: CallMeter>(&mut self, cx: &CallContext, response: &mut MeteredResponse<M>) {
        if !matches!(self.early, EarlyCount::Counted(_)) || !response.has_meter() {
            return;
        }
        if let EarlyCount::Counted(counted) = std::mem::replace(&mut self.early, EarlyCount::Unnamed) {
            let (count, model) = *counted;
            response.ask(cx, |meter| meter.prompt_counted_early(count, model));
            response.note_news();
            cx.checkpoint_at_beat();
        }
    }
}
