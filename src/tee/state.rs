//! The state of a call behind its lock: each change of it, and what follows from the change.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use jiff::Timestamp;
use metering::chunk::RequestFacts;
use metering::meter::{Ending, PromptCount, SessionNames};
use metering::usage::{IncludeUsage, Injection, Usage};
use smol_str::SmolStr;

use super::checkpoint::CallSnapshot;
use super::client::{ClientState, RequestBody};
use super::context::CallContext;
use super::event::SettledCall;
use super::lifecycle::{CallEnd, CallLifecycle};
use super::meter::{CallMeter, PromptLoss};
use super::metered_prompt::{MeteredPrompt, PromptStep};
use super::metered_response::{Backlog, MeteredResponse};
use super::prompt_body::PromptBody;
use super::transport::{ResponseStatus, Transport};
use super::turn::Turn;
use crate::ledger::OpenCall;

/// The next work of the pool for a response.
pub(super) enum ResponseStep<M> {
    Show(Backlog<M>),
    Assess(Box<M>),
    End(Box<M>, Ending),
    /// The prompt, since no other thread will.
    CountPrompt,
    Settle,
    Rest,
}

/// Everything about a call that changes while it runs. Behind its lock the parts are combined; each part keeps its
/// own rules.
pub(super) struct CallState<M: CallMeter> {
    lifecycle: CallLifecycle,
    pub(super) client: ClientState,
    pub(super) transport: Transport,
    pub(super) response: MeteredResponse<M>,
    pub(super) prompt: MeteredPrompt,
    /// The usage that the call began with: its event, should the meter fail.
    draft: Arc<Usage>,
    /// Taken when the call settles.
    opened: Option<OpenCall>,
    /// The call's index among the open calls.
    pub(super) index: usize,
}

impl<M: CallMeter> CallState<M> {
    /// The state of a call that begins. Its meter is still to come.
    pub(super) fn new(draft: Arc<Usage>, opened: Option<OpenCall>, keep_prompt: bool) -> CallState<M> {
        CallState {
            lifecycle: CallLifecycle::Open,
            client: ClientState::default(),
            transport: Transport::default(),
            response: MeteredResponse::new(),
            prompt: MeteredPrompt::new(keep_prompt),
            draft,
            opened,
            index: usize::MAX,
        }
    }

    /// Bytes may come.
    pub(super) fn is_open(&self) -> bool {
        matches!(self.lifecycle, CallLifecycle::Open)
    }

    /// The service may be at work for the call.
    fn is_billable(&self) -> bool {
        self.is_open() && !self.transport.unsent
    }

    /// The pool is at work for the call, and will look what else there is to do.
    fn is_with_pool(&self) -> bool {
        self.prompt.is_with_pool() || self.response.is_meter_away()
    }

    /// Finds out whether the prompt is still needed, once it is whole.
    fn consider_prompt(&mut self, cx: &CallContext) {
        let billable = self.is_billable();
        self.prompt.consider(cx, &mut self.response, billable);
    }

    fn lose_prompt(&mut self, cx: &CallContext, loss: PromptLoss) {
        self.prompt.lose(cx, &mut self.response, loss);
    }

    // ===== The request =====

    /// Takes the next bytes of the request.
    pub(super) fn request_bytes(&mut self, cx: &CallContext, bytes: &Bytes) {
        if !self.is_open() {
            return;
        }
        self.transport.request_bytes += bytes.len() as u64;
        if self.response.is_meter_away() {
            // The response already fills the pool while the request still runs: so rare that the
            // prompt is given up rather than kept in a second queue.
            return self.lose_prompt(cx, PromptLoss::Overload);
        }
        self.response.ask(cx, |meter| meter.request_bytes(bytes));
        if let Err(loss) = self.prompt.body.push(cx, bytes) {
            self.lose_prompt(cx, loss);
        }
    }

    /// The request is whole.
    pub(super) fn request_end(&mut self, cx: &CallContext) {
        if !self.is_open() {
            return;
        }
        self.client.request = RequestBody::Whole;
        if self.response.is_meter_away() {
            return self.lose_prompt(cx, PromptLoss::Overload); // as above
        }
        self.response.ask(cx, M::request_end);
        self.prompt.request_end(cx, &mut self.response);
        self.consider_prompt(cx);
    }

    /// Takes in a request that came as a message of a session.
    pub(super) fn asked(&mut self, cx: &CallContext, facts: RequestFacts, bytes: u64) {
        self.client.request = RequestBody::Whole;
        self.transport.request_bytes = bytes;
        self.response.ask(cx, |meter| meter.asked(facts, bytes));
    }

    /// Takes in what a session says of itself.
    pub(super) fn named(&mut self, cx: &CallContext, names: &SessionNames) {
        self.response.ask(cx, |meter| meter.named(names));
        self.response.note_news();
    }

    /// Takes in who asked for usage.
    pub(super) fn include_usage(&mut self, cx: &CallContext, who: IncludeUsage) {
        if self.is_open() {
            Arc::make_mut(&mut self.draft).request.include_usage = who;
            self.response.ask(cx, |meter| meter.include_usage(who));
            self.response.note_news();
        }
    }

    /// Takes in how asking for usage went.
    pub(super) fn injection(&mut self, cx: &CallContext, injection: Injection) {
        if self.is_open() {
            if injection != Injection::Visible {
                Arc::make_mut(&mut self.draft).request.injection = Some(injection);
            }
            self.response.ask(cx, |meter| meter.injection(injection));
            self.response.note_news();
        }
    }

    // ===== The response =====

    /// Takes the head of the response in.
    pub(super) fn response_head(&mut self, cx: &CallContext, status: StatusCode, headers: &HeaderMap) {
        if !self.is_open() {
            return;
        }
        self.transport.headers = Some(cx.began.elapsed());
        self.transport.status = ResponseStatus::Upstream(status);
        self.response.note_news();
        self.response.ask(cx, |meter| meter.response_head(status, headers));
        self.consider_prompt(cx);
    }

    /// The deployment that responds, as far as it is known.
    pub(super) fn deployment(&mut self, cx: &CallContext) -> SmolStr {
        let deployment = self.response.ask(cx, |meter| meter.deployment());
        deployment.unwrap_or_else(|| self.draft.target.deployment.clone()).unwrap_or_default()
    }

    /// Takes the next bytes of the response, as far as the turn allows. True: some are left for the next one.
    pub(super) fn response_bytes(&mut self, cx: &CallContext, bytes: &Bytes, turn: &mut Turn) -> bool {
        if !self.is_open() {
            return false;
        }
        self.transport.response_bytes += bytes.len() as u64;
        self.response.note_news();
        self.response.push(cx, bytes, turn);
        self.was_read(cx)
    }

    /// Goes on with the bytes that the last turn was too short for. True: so is this one.
    pub(super) fn read_on(&mut self, cx: &CallContext, turn: &mut Turn) -> bool {
        if !self.is_open() {
            return false;
        }
        self.response.read_on(cx, turn);
        self.was_read(cx)
    }

    fn was_read(&mut self, cx: &CallContext) -> bool {
        if self.transport.first_token.is_none()
            && self.response.ask(cx, |meter| meter.first_token_seen()) == Some(true)
        {
            self.transport.first_token = Some(cx.began.elapsed());
        }
        self.consider_prompt(cx);
        self.response.has_unread()
    }

    /// Reading on could tell what the call costs, whose client has left: all of the request is with us and some
    /// of it may be with the service, the response may be a success, and it is not whole yet.
    pub(super) fn may_tell_more(&mut self, cx: &CallContext) -> bool {
        let failed = self.transport.status.code().is_some_and(|code| !code.is_success());
        let sent = self.client.request == RequestBody::Whole && !self.transport.unsent;
        sent && !failed && self.is_open() && !self.response.is_whole(cx)
    }

    // ===== Early counts and checkpoints =====

    /// The call has been open for a second.
    pub(super) fn come_of_age(&mut self, cx: &CallContext) {
        let billable = self.is_billable();
        self.prompt.come_of_age(cx, &mut self.response, billable);
    }

    /// Makes up for an early count that could not be made when it was due.
    pub(super) fn consider_overdue_count(&mut self, cx: &CallContext) {
        let billable = self.is_billable();
        self.prompt.consider_overdue_count(cx, &mut self.response, billable);
    }

    /// Views of the body that is to be counted early. `None`: it is counted already, or never will be.
    pub(super) fn early_body(&mut self) -> Option<Vec<Bytes>> {
        match &mut self.prompt.body {
            PromptBody::Whole(body) if matches!(self.lifecycle, CallLifecycle::Open) => Some(body.views()),
            _ => None,
        }
    }

    /// The pool has counted the prompt early, or has failed to.
    pub(super) fn was_counted_early(&mut self, cx: &CallContext, counted: Option<(PromptCount, SmolStr)>) {
        if self.is_open() {
            self.prompt.was_counted_early(cx, &mut self.response, counted);
            self.consider_prompt(cx);
        }
    }

    /// Says what is known of the call, if there is news since the last time. Where that takes long, the pool
    /// finds out first.
    pub(super) fn checkpoint(&mut self, cx: &CallContext) -> Option<CallSnapshot> {
        if self.is_open() && cx.on_record { self.response.checkpoint(cx) } else { None }
    }

    // ===== The pool's work =====

    /// The next work of the pool for the prompt.
    pub(super) fn prompt_step(&mut self) -> PromptStep {
        match self.lifecycle {
            CallLifecycle::Settled => PromptStep::Rest,
            CallLifecycle::Open | CallLifecycle::Ended(_) | CallLifecycle::Concluded(_) => self.prompt.step(),
        }
    }

    /// The pool has read what a coded request says, or has failed to.
    pub(super) fn request_was_read(&mut self, cx: &CallContext, facts: Option<RequestFacts>) {
        self.prompt.was_read(cx, &mut self.response, facts);
        self.response.note_news();
        self.consider_prompt(cx);
    }

    /// The pool has counted the prompt, or has failed to.
    pub(super) fn prompt_was_counted(&mut self, cx: &CallContext, count: Option<PromptCount>) {
        self.prompt.was_counted(cx, &mut self.response, count);
        self.response.note_news();
    }

    /// The pool has nothing more to do for the prompt. True: the call waited for that, and this thread is to do
    /// what is left for the response.
    pub(super) fn goes_on_after_prompt(&mut self, cx: &CallContext) -> bool {
        let read_first = match self.lifecycle {
            CallLifecycle::Open | CallLifecycle::Settled => return false,
            CallLifecycle::Ended(_) => true,
            CallLifecycle::Concluded(_) => false,
        };
        if self.response.queued || self.is_with_pool() {
            return false;
        }
        // To read the rest is a response's work, and has its own thread; else little is left.
        if read_first && self.response.enqueue(cx) {
            return false;
        }
        self.response.queued = true;
        true
    }

    /// The pool has shown the meter a backlog. `None`: it panicked. False: it holds more than it may.
    pub(super) fn backlog_was_shown(
        &mut self,
        cx: &CallContext,
        first_token: Option<Duration>,
        shown: Option<(Box<M>, bool)>,
    ) {
        self.transport.first_token = first_token;
        self.response.was_shown(cx, shown);
        self.consider_prompt(cx);
    }

    /// The next work of the pool for the response.
    pub(super) fn response_step(&mut self, cx: &CallContext) -> ResponseStep<M> {
        self.response.rejoin(cx);
        if let Some(backlog) = self.response.take_backlog(cx, !self.is_open()) {
            return ResponseStep::Show(backlog);
        }
        let step = match self.lifecycle {
            CallLifecycle::Open => self.response.take_for_checkpoint(cx).map(ResponseStep::Assess),
            CallLifecycle::Ended(_) if matches!(self.prompt.body, PromptBody::Unread(_)) => None,
            CallLifecycle::Ended(end) => self.end_step(cx, end),
            CallLifecycle::Concluded(_) => self.last_step(cx),
            CallLifecycle::Settled => None, // it was light, and did not wait
        };
        step.unwrap_or_else(|| {
            self.response.queued = false;
            ResponseStep::Rest
        })
    }

    fn end_step(&mut self, cx: &CallContext, end: CallEnd) -> Option<ResponseStep<M>> {
        self.lifecycle = CallLifecycle::Concluded(end);
        match self.response.take_meter() {
            Some(meter) => Some(ResponseStep::End(meter, end.ending)),
            None => self.last_step(cx),
        }
    }

    /// The last work for a call whose meter knows of its end; `None`: its prompt is waited for.
    fn last_step(&mut self, cx: &CallContext) -> Option<ResponseStep<M>> {
        self.prompt.decide(cx, &mut self.response, self.transport.unsent);
        let needed = matches!(self.prompt.body, PromptBody::Needed(..));
        if needed && !self.prompt.enqueue(cx, &mut self.response) {
            if cx.accounts.pool.is_closed() {
                return Some(ResponseStep::CountPrompt); // no other thread comes after this
            }
            self.lose_prompt(cx, PromptLoss::Overload);
        }
        let waits = matches!(self.prompt.body, PromptBody::Needed(..) | PromptBody::Counting);
        (!waits).then_some(ResponseStep::Settle)
    }

    // ===== The end =====

    /// The call is over. The first ending counts; whatever is told later changes nothing. True: the pool has
    /// nothing of it any more, so [`CallState::conclude`] is to follow.
    pub(super) fn end(&mut self, cx: &CallContext, ending: Ending, client_idle: bool) -> bool {
        if !self.is_open() {
            return false;
        }
        let ending = self.client.explain(ending, client_idle);
        let end = CallEnd { ending, after: cx.began.elapsed(), at: Timestamp::now() };
        self.lifecycle = CallLifecycle::Ended(end);
        let waits = self.response.queued && !cx.is_count_given_up();
        !waits && !self.is_with_pool()
    }

    /// Does what follows the end, unless the pool has to: the response is read to its end, and the prompt
    /// counted if need be. True: the call is to be settled.
    pub(super) fn conclude(&mut self, cx: &CallContext) -> bool {
        let CallLifecycle::Ended(end) = self.lifecycle else { return false }; // the pool came first
        if self.is_with_pool() || self.response.finish(cx) {
            return false;
        }
        self.lifecycle = CallLifecycle::Concluded(end);
        self.response.ask(cx, |meter| meter.end(end.ending));
        self.prompt.decide(cx, &mut self.response, self.transport.unsent);
        if matches!(self.prompt.body, PromptBody::Needed(..)) {
            if self.prompt.enqueue(cx, &mut self.response) {
                return false;
            }
            self.lose_prompt(cx, PromptLoss::Overload);
        }
        true
    }

    /// Settles a call of which nothing is left to be read or counted. `None`: it has settled.
    pub(super) fn settle(&mut self, cx: &CallContext) -> Option<SettledCall<M>> {
        let CallLifecycle::Concluded(end) = self.lifecycle else {
            debug_assert!(false, "a call settles once, and when its meter knows of its end");
            return None;
        };
        if let Some(left) = self.client.left {
            self.response.ask(cx, |meter| meter.caller_left(left));
        }
        if self.client.cut_off_idle {
            self.response.ask(cx, M::caller_idle);
        }
        self.lifecycle = CallLifecycle::Settled;
        debug_assert!(
            !self.prompt.body.is_held() && !self.is_with_pool(),
            "a call settles with nothing open"
        );
        self.response.release(cx);
        let (transport, counters) = (self.transport, &cx.accounts.counters);
        counters.request_bytes.fetch_add(transport.request_bytes, Ordering::Relaxed);
        counters.response_bytes.fetch_add(transport.response_bytes, Ordering::Relaxed);
        Some(SettledCall {
            meter: self.response.take_for_settling(),
            draft: Arc::clone(&self.draft),
            transport,
            end,
            opened: self.opened.take(),
            index: self.index,
        })
    }
}
