//! One call from its beginning to its settlement.
//!
//! The meter sits in the call's state, under a lock that is only ever held for a look. When there
//! is more to do than a look (a backlog, a prompt to count) the call itself becomes a task of the
//! pool: the task takes the meter out, works without the lock, and puts it back. Meanwhile the
//! network thread reads on without it ([`super::reading`]) and adds to the backlog, so the meter sees all
//! bytes in order.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use jiff::Timestamp;
use uuid::Uuid;

use super::Accounts;
use super::INLINE_BYTES_MAX;
use super::answers::Pass;
use super::budget::Holder;
use super::early::Early;
use super::kept::{ANSWER_READ_BYTES_MAX, Kept, REQUEST_READ_BYTES_MAX};
use super::live::Live;
use super::prompt::{Loss, Prompt};
use super::settle::{self, Final};
#[cfg(test)]
use super::tests::{Meter, Skim};
use crate::ledger::{OpenCall, Slot};
use crate::pool::{Lane, Task};
use metering::chunk::RequestFacts;
use metering::meter::{Checks, Ending, Left, PromptCount, Representation, Rules, Treatment};
#[cfg(not(test))]
use metering::meter::{Meter, Skim};
use metering::usage::{Api, Progress, Target, Usage};

/// What a call begins with.
#[derive(Debug)]
pub struct Begin {
    /// Caller, target and identifiers; goes to the ledger and the meter.
    pub draft: Usage,
    /// Rules of the upstream.
    pub rules: Rules,
    /// The call's place in the ledger, if one was free.
    pub slot: Option<Slot>,
    /// The prompt may be needed for counting.
    pub keep_prompt: bool,
    /// Whose numbers the call has.
    pub treatment: Treatment,
    /// What the request's body is.
    pub representation: Representation,
    /// When the request's head had arrived.
    pub began: Instant,
}

/// One call.
pub struct Call {
    pub(super) id: Uuid,
    pub(super) api: Api,
    pub(super) representation: Representation,
    pub(super) began: Instant,
    pub(super) accounts: Arc<Accounts>,
    pub(super) live: Arc<Live>,
    /// Whose memory it is that the call holds.
    pub(super) holder: Holder,
    /// What the meter holds of the answer, as far as it counts; changed only by who has the meter.
    pub(super) held_bytes: AtomicUsize,
    /// Somebody has lost patience with the caller, which makes no progress.
    caller_idle: OnceLock<Arc<AtomicBool>>,
    /// The answer is only read for what it reports. Only set under the lock; the pool looks in mid-work.
    pub(super) count_given_up: AtomicBool,
    state: Mutex<State>,
}

pub(super) struct State {
    pub(super) meter: Seat,
    /// What the call began with: its event, should the meter fail.
    pub(super) draft: Arc<Usage>,
    /// Taken when the call settles.
    pub(super) opened: Option<OpenCall>,
    pub(super) place: usize,
    pub(super) prompt: Kept,
    pub(super) prompt_state: Prompt,
    pub(super) early: Early,
    /// Reads the answer on while the meter is lent: always while it is with the pool and bytes may come,
    /// and as long as there is a backlog.
    pub(super) skim: Option<Box<Skim>>,
    /// Decoded bytes that the meter has yet to be shown.
    pub(super) backlog: Kept,
    /// Bytes that came and that nobody has read yet: part of one frame.
    pub(super) unread: Bytes,
    /// What the backlogs of all calls hold more since this call ended: an answer that waits to be read.
    pub(super) ended_backlog_bytes: usize,
    /// Work of the answer when it was last found out what the meter holds.
    pub(super) weighed_at: u64,
    /// Stands in the pool's queue of answers or is being run by it.
    pub(super) queued: bool,
    /// The same of the queues of prompts.
    pub(super) prompt_queued: bool,
    /// The pool is counting the prompt.
    pub(super) prompt_away: bool,
    /// To be told to the meter when it is back: why the prompt is not counted.
    pub(super) owes_prompt: Option<Loss>,
    /// The same: the count of the prompt, and what a coded request says.
    pub(super) owes_count: Option<Box<PromptCount>>,
    pub(super) owes_facts: Option<Box<RequestFacts>>,
    /// The pool has to read the request before anything is decided by what it says.
    pub(super) owes_reading: bool,
    /// A checkpoint was due while the meter was away: it is made up for as soon as it is back.
    pub(super) owes_checkpoint: bool,
    /// The next checkpoint, found out by the pool.
    pub(super) assessed: Option<Box<Assessed>>,
    /// There is news since the last checkpoint.
    pub(super) changed: bool,
    /// The caller's request broke off.
    pub(super) caller_left: bool,
    /// The request was read to its end.
    pub(super) request_whole: bool,
    /// The caller left the answer.
    pub(super) left: Option<Left>,
    /// It did not leave by itself: it made no progress.
    pub(super) cut_idle: bool,
    pub(super) facts: Facts,
    pub(super) ended: Option<Ending>,
    /// The meter has been told of the end, or is being told.
    pub(super) meter_ended: bool,
    pub(super) settled: bool,
}

impl State {
    /// The pool is at work for the call, and will look what else there is to do.
    pub(super) fn is_with_pool(&self) -> bool {
        self.prompt_away || self.owes_reading || matches!(self.meter, Seat::Away)
    }
}

/// What a call knew at some point.
pub(super) struct Assessed {
    progress: Progress,
    checks: Checks,
    target: Target,
}

pub(super) fn assess(meter: &Meter) -> Assessed {
    let (progress, checks) = meter.progress();
    Assessed { progress, checks, target: meter.target() }
}

/// What the data path itself knows.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Facts {
    pub(super) headers: Option<Duration>,
    pub(super) first_token: Option<Duration>,
    pub(super) end: Duration,
    /// The same by the clock.
    pub(super) ended_at: Option<Timestamp>,
    pub(super) status: Option<StatusCode>,
    /// The status was given by us, since there was no answer.
    pub(super) own_status: bool,
    /// Not a byte of the request reached the service.
    pub(super) unsent: bool,
    /// Bytes of the request's body, and of the answer's as it came.
    pub(super) request_bytes: u64,
    pub(super) answer_bytes: u64,
}

/// Where the meter is.
#[derive(Debug)]
pub(super) enum Seat {
    Here(Box<Meter>),
    /// With the pool.
    Away,
    /// It panicked.
    Lost,
}

impl Call {
    /// Begins a call: the ledger is told, nobody waits for it.
    pub fn begin(begin: Begin, accounts: Arc<Accounts>, live: Arc<Live>) -> Arc<Call> {
        let Begin { draft, rules, slot, keep_prompt, treatment, representation, began } = begin;
        let id = Uuid::now_v7();
        accounts.counters.calls_accepted.fetch_add(1, Ordering::AcqRel);
        let draft = Arc::new(draft);
        let state = State {
            opened: slot.map(|slot| slot.open_shared(id, Arc::clone(&draft))),
            draft: Arc::clone(&draft),
            place: usize::MAX,
            prompt: Kept::new(REQUEST_READ_BYTES_MAX),
            prompt_state: if keep_prompt { Prompt::Arriving } else { Prompt::Gone },
            early: Early::default(),
            skim: None,
            backlog: Kept::new(ANSWER_READ_BYTES_MAX),
            unread: Bytes::new(),
            ended_backlog_bytes: 0,
            weighed_at: 0,
            queued: false,
            prompt_queued: false,
            prompt_away: false,
            owes_prompt: None,
            owes_count: None,
            owes_facts: None,
            owes_reading: false,
            owes_checkpoint: false,
            assessed: None,
            changed: false,
            caller_left: false,
            request_whole: false,
            left: None,
            cut_idle: false,
            facts: Facts::default(),
            ended: None,
            meter_ended: false,
            settled: false,
            meter: Seat::Away,
        };
        let api = draft.target.api;
        let holder = accounts.holder(&draft.caller.id);
        let (held_bytes, count_given_up) = (AtomicUsize::new(0), AtomicBool::new(false));
        let state = Mutex::new(state);
        let call = Arc::new(Call {
            id,
            api,
            representation,
            began,
            accounts,
            live,
            holder,
            held_bytes,
            caller_idle: OnceLock::new(),
            count_given_up,
            state,
        });
        let meter = catch_unwind(AssertUnwindSafe(|| {
            let meter = Meter::new(draft, rules).holding(call.accounts.bounds.answer);
            meter.treated(treatment).reading(&call.representation)
        }));
        let mut state = call.lock();
        call.put_back(&mut state, meter.ok().map(Box::new));
        state.place = call.live.add(Arc::clone(&call));
        drop(state);
        call
    }

    /// The next bytes of the request.
    pub(super) fn request_frame(&self, bytes: &Bytes) {
        let mut state = self.lock();
        if state.ended.is_some() {
            return;
        }
        state.facts.request_bytes += bytes.len() as u64;
        if matches!(state.meter, Seat::Away) {
            // The answer already fills the pool while the request still runs: so rare that the
            // prompt is given up rather than kept in a second queue.
            self.lose_prompt(&mut state, Loss::Overload);
            return;
        }
        self.look(&mut state, |meter| meter.request_bytes(bytes));
        if matches!(state.prompt_state, Prompt::Arriving) {
            if self.accounts.try_keep_prompt(self.holder, state.prompt.cost_bytes(bytes.len())) {
                state.prompt.push(bytes.clone());
            } else {
                self.lose_prompt(&mut state, Loss::NotKept);
            }
        }
    }

    /// The request is whole.
    pub(super) fn request_end(self: &Arc<Self>) {
        let mut state = self.lock();
        if state.ended.is_some() {
            return;
        }
        state.request_whole = true;
        if matches!(state.meter, Seat::Away) {
            return self.lose_prompt(&mut state, Loss::Overload); // as above
        }
        self.look(&mut state, Meter::request_end);
        if matches!(state.prompt_state, Prompt::Arriving) {
            state.prompt_state = Prompt::Whole;
            if self.look(&mut state, |meter| meter.is_request_unread()) == Some(true) {
                state.owes_reading = self.enqueue_prompt(&mut state);
            }
            self.consider_prompt(&mut state);
        }
    }

    /// Says when somebody has lost patience with the caller: from then on the call does not end as one that
    /// its caller has left. Only the first is asked.
    pub fn watch_caller(&self, idle: &Arc<AtomicBool>) {
        let _ = self.caller_idle.set(Arc::clone(idle));
    }

    /// Somebody has lost patience with the caller.
    pub fn is_caller_idle(&self) -> bool {
        self.caller_idle.get().is_some_and(|idle| idle.load(Ordering::Relaxed))
    }

    /// The request has been read to its end.
    pub fn request_is_whole(&self) -> bool {
        self.lock().request_whole
    }

    /// The caller's request broke off: whatever fails now is the caller's doing.
    pub fn request_broke(&self) {
        self.lock().caller_left = true;
    }

    /// The head of the answer.
    pub fn response_head(self: &Arc<Self>, status: StatusCode, headers: &HeaderMap) {
        let mut state = self.lock();
        if state.ended.is_some() {
            return;
        }
        state.facts.headers = Some(self.began.elapsed());
        state.facts.status = Some(status);
        state.changed = true;
        self.look(&mut state, |meter| meter.response_head(status, headers));
        self.consider_prompt(&mut state);
    }

    /// There is no answer; the caller gets this status from us. `unsent`: the service has not seen
    /// a byte of the request.
    pub fn answered_by_us(&self, status: StatusCode, unsent: bool) {
        let mut state = self.lock();
        if state.ended.is_some() {
            return;
        }
        state.facts.status = Some(status);
        state.facts.own_status = true;
        state.facts.unsent = unsent;
    }

    /// The answer begins to pass.
    pub(super) fn pass(&self) -> Pass {
        let mut state = self.lock();
        let deployment = self.look(&mut state, |meter| meter.deployment());
        let deployment = deployment.unwrap_or_else(|| state.draft.target.deployment.clone());
        Pass::new(&self.accounts, deployment.unwrap_or_default())
    }

    /// The call is over. The first ending counts; whatever is told later changes nothing.
    pub(super) fn end(self: &Arc<Self>, ending: Ending) {
        let mut state = self.lock();
        if state.ended.is_some() {
            return;
        }
        let callers_doing = state.caller_left && ending == Ending::UpstreamError;
        let left = callers_doing || ending == Ending::ClientDisconnect;
        let ending = match ending {
            // It would not have left by itself.
            _ if left && self.is_caller_idle() => Ending::Timeout,
            _ if left => Ending::ClientDisconnect,
            ending => ending,
        };
        state.cut_idle |= left && self.is_caller_idle();
        state.ended = Some(ending);
        state.facts.end = self.began.elapsed();
        state.facts.ended_at = Some(Timestamp::now());
        let waits = state.queued && !self.is_given_up();
        if waits || state.is_with_pool() {
            return; // the pool has some of it still, and settles
        }
        if self.accounts.ended.submit(Arc::clone(self)).is_err() {
            drop(state);
            self.conclude();
        }
    }

    /// What follows the end, unless the pool has to do it: the answer is read to its end, the prompt
    /// counted if need be, and the call settled.
    pub(super) fn conclude(self: &Arc<Self>) {
        let mut state = self.lock();
        let Some(ending) = state.ended else { return };
        if state.settled || state.is_with_pool() {
            return; // the pool came first
        }
        self.rejoin(&mut state);
        let to_read_bytes = self.look(&mut state, |meter| meter.unread_bytes() + meter.uncounted_bytes());
        let to_read_bytes = to_read_bytes.unwrap_or(0);
        let light = self.look(&mut state, |meter| meter.is_light()).unwrap_or(true);
        if to_read_bytes > INLINE_BYTES_MAX || !(light || state.unread.is_empty()) {
            if self.accounts.backlog.try_add(self.holder, to_read_bytes) {
                state.ended_backlog_bytes = to_read_bytes;
                if self.enqueue(&mut state) {
                    return;
                }
            }
            self.give_up_count(&mut state);
        }
        self.read_rest(&mut state);
        state.meter_ended = true;
        self.look(&mut state, |meter| meter.end(ending));
        self.decide_prompt(&mut state);
        if matches!(state.prompt_state, Prompt::Count(_)) {
            if self.enqueue_prompt(&mut state) {
                return;
            }
            self.lose_prompt(&mut state, Loss::Overload);
        }
        self.settle(state);
    }

    /// What is known of the call, if there is news since the last time. Where that takes long, the pool
    /// finds out first.
    pub(super) fn checkpoint(self: &Arc<Self>) -> Option<(Uuid, Progress)> {
        let mut state = self.lock();
        if state.ended.is_some() || state.opened.is_none() {
            return None;
        }
        if let Some(ready) = state.assessed.take() {
            return Some(self.labelled(*ready));
        }
        if !state.changed {
            return None;
        }
        state.owes_checkpoint = matches!(state.meter, Seat::Away);
        if self.look(&mut state, |meter| meter.uncounted_bytes())? > INLINE_BYTES_MAX {
            state.owes_checkpoint = self.enqueue(&mut state);
            return None;
        }
        let assessed = self.look(&mut state, |meter| assess(meter))?;
        state.changed = false;
        Some(self.labelled(assessed))
    }

    /// A checkpoint with the quality that the rules have now.
    fn labelled(&self, assessed: Assessed) -> (Uuid, Progress) {
        let Assessed { mut progress, checks, target } = assessed;
        if self.accounts.drift.any() {
            self.accounts.drift.label(&mut progress.accounting, &checks, &target);
        }
        (self.id, progress)
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks the meter, if it is here. Its panic ends its work, and nothing else.
    pub(super) fn look<T>(&self, state: &mut State, ask: impl FnOnce(&mut Meter) -> T) -> Option<T> {
        let Seat::Here(meter) = &mut state.meter else { return None };
        let answer = catch_unwind(AssertUnwindSafe(|| ask(meter))).ok();
        if answer.is_none() {
            self.put_back(state, None);
        }
        answer
    }

    /// The meter comes back from the pool, or does not.
    pub(super) fn put_back(&self, state: &mut State, meter: Option<Box<Meter>>) {
        match meter {
            Some(_) if matches!(state.meter, Seat::Lost) => {} // the skim panicked meanwhile
            Some(meter) => state.meter = Seat::Here(meter),
            None => {
                self.accounts.counters.meter_panics.fetch_add(1, Ordering::Relaxed);
                state.meter = Seat::Lost;
                (state.skim, state.unread) = (None, Bytes::new());
                self.let_go_of_prompt(state);
            }
        }
        self.rejoin(state);
        self.tell_owed(state);
    }

    /// Puts the call in the pool's queue of answers, unless it is there. False: the pool takes no more.
    pub(super) fn enqueue(self: &Arc<Self>, state: &mut State) -> bool {
        if !state.queued {
            let task = Arc::clone(self) as Arc<dyn Task>;
            state.queued = self.accounts.pool.submit(task, Lane::Answer).is_ok();
        }
        state.queued
    }

    pub(super) fn settle(&self, mut state: MutexGuard<'_, State>) {
        if std::mem::replace(&mut state.settled, true) {
            return;
        }
        let ending = state.ended.unwrap_or(Ending::Shutdown);
        if let Some(left) = state.left {
            self.look(&mut state, |meter| meter.caller_left(left));
        }
        if state.cut_idle {
            self.look(&mut state, Meter::caller_idle);
        }
        let (_, pinned_bytes) = state.backlog.take(); // of a meter that is lost
        let backlog_bytes = pinned_bytes + std::mem::take(&mut state.ended_backlog_bytes);
        self.accounts.backlog.release(self.holder, backlog_bytes);
        self.accounts.answers.release(self.holder, self.held_bytes.swap(0, Ordering::AcqRel));
        let opened = state.opened.take();
        let (place, facts) = (state.place, state.facts);
        let counters = self.accounts.counters();
        counters.request_bytes.fetch_add(facts.request_bytes, Ordering::Relaxed);
        counters.answer_bytes.fetch_add(facts.answer_bytes, Ordering::Relaxed);
        let Final { mut usage, checks, panicked } = settle::usage(&mut state, ending);
        drop(state);
        if panicked {
            self.accounts.counters.meter_panics.fetch_add(1, Ordering::Relaxed);
        }
        self.accounts.check(&mut usage, &checks);
        let time = facts.ended_at.unwrap_or_else(Timestamp::now);
        settle::hand_over(&self.accounts, opened, self.id, usage, time);
        self.live.remove(place);
    }
}

impl std::fmt::Debug for Call {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Call").field("id", &self.id).finish_non_exhaustive()
    }
}

/// Ends a call: with what it is told, or as interrupted if it is dropped.
#[derive(Debug)]
pub struct Conclude(Arc<Call>);

impl Conclude {
    /// Whoever holds this is answerable for the call's end.
    pub fn new(call: Arc<Call>) -> Conclude {
        Conclude(call)
    }

    /// The call.
    pub fn call(&self) -> &Arc<Call> {
        &self.0
    }

    /// The call is over.
    pub fn end(self, ending: Ending) {
        self.0.end(ending); // the drop that follows comes second, and changes nothing
    }
}

impl Drop for Conclude {
    fn drop(&mut self) {
        self.0.end(self.0.accounts.interrupted());
    }
}
