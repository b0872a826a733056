//! One call from its beginning to its settlement, as the data path sees it.
//!
//! The meter sits in the call's state, under a lock that is only ever held for a look. When there
//! is more to do than a look (a backlog, a prompt to count) the call itself becomes a task of the
//! pool: the task takes the meter out, works without the lock, and puts it back ([`super::pool_work`]).
//! Meanwhile the network thread reads on without it ([`super::metered_response`]) and adds to the backlog, so the meter
//! sees all bytes in order.

use std::any::Any;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::time::Instant;

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use metering::chunk::RequestFacts;
use metering::meter::{
    Ending, FramesRead, Left, Meter, PromptCount, Representation, Rules, SessionNames, Treatment,
};
use metering::usage::{IncludeUsage, Injection, Progress, Settled, Usage};
use smol_str::SmolStr;
use uuid::Uuid;

use super::accounts::Accounts;
use super::capture_report::CaptureReport;
use super::client::RequestBody;
use super::context::CallContext;
use super::event::{self, MeteredEnd};
use super::meter::{CallMeter, MeterTerms};
use super::meter_location::MeterNote;
use super::running_calls::RunningCall;
use super::running_calls::RunningCalls;
use super::state::CallState;
use super::transport::ResponseStatus;
use super::turn::Turn;
use crate::ledger::{Bill, Slot};

/// The beginning of a call.
#[derive(Debug)]
pub struct Begin {
    /// Its id, and that of its event.
    pub id: Uuid,
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
    /// How the request's body is to be read.
    pub representation: Representation,
    /// When the request's head had arrived.
    pub began: Instant,
    /// Tells the fate of its content; `None`: none is captured.
    pub capture: Option<Arc<dyn CaptureReport>>,
}

/// One call.
pub struct Call<M: CallMeter = Meter> {
    pub(super) cx: CallContext,
    /// Becomes true when the client is cut off, since it makes no progress.
    client_idle: OnceLock<Arc<AtomicBool>>,
    /// Held until the call has settled and gone: whoever waits for that is dropped then.
    followed_by: OnceLock<Arc<dyn Any + Send + Sync>>,
    state: Mutex<CallState<M>>,
}

impl Call {
    /// Begins a call: the ledger is told, and not waited for.
    pub fn begin(begin: Begin, accounts: Arc<Accounts>, running_calls: Arc<RunningCalls>) -> Arc<Call> {
        Call::begin_with_meter(begin, accounts, running_calls)
    }
}

impl<M: CallMeter> Call<M> {
    /// Begins a call with a meter of this type.
    pub(super) fn begin_with_meter(
        begin: Begin,
        accounts: Arc<Accounts>,
        running_calls: Arc<RunningCalls>,
    ) -> Arc<Call<M>> {
        let Begin { id, mut draft, rules, slot, keep_prompt, treatment, representation, began, capture } =
            begin;
        draft.capture = capture.as_ref().map(|capture| capture.begun());
        let polls = treatment.is_poll();
        if !polls {
            accounts.counters.calls_accepted.fetch_add(1, Ordering::AcqRel);
        }
        let draft = Arc::new(draft);
        let opened = slot.map(|slot| slot.open_shared(id, Arc::clone(&draft)));
        let call = Arc::new_cyclic(|call: &Weak<Call<M>>| Call {
            cx: CallContext {
                id,
                api: draft.target.api,
                representation,
                began,
                on_record: opened.is_some(),
                polls,
                share: accounts.share_of(&draft.caller.id),
                capture,
                accounts,
                running_calls,
                call: Weak::clone(call) as Weak<dyn RunningCall>,
                response_bytes: AtomicUsize::new(0),
                count_given_up: AtomicBool::new(false),
            },
            client_idle: OnceLock::new(),
            followed_by: OnceLock::new(),
            state: Mutex::new(CallState::new(Arc::clone(&draft), opened, keep_prompt)),
        });
        let (representation, bounds) = (&call.cx.representation, call.cx.accounts.bounds.response);
        let terms = MeterTerms { draft, rules, treatment, representation, bounds };
        let meter = call.cx.accounts.guard(|| Box::new(M::begin(terms)));
        let mut state = call.lock();
        state.response.put_back(&call.cx, meter);
        state.index = call.cx.running_calls.add(Arc::clone(&call) as Arc<dyn RunningCall>);
        drop(state);
        call
    }

    // ===== The request =====

    /// Takes the next bytes of the request.
    pub(super) fn request_bytes(&self, bytes: &Bytes) {
        self.lock().request_bytes(&self.cx, bytes);
    }

    /// The request is whole.
    pub(super) fn request_end(&self) {
        self.lock().request_end(&self.cx);
    }

    /// The client's request broke off: whatever fails now is the client's doing.
    pub(super) fn request_broke(&self) {
        self.lock().client.request = RequestBody::Broken;
    }

    /// The request has been read to its end.
    pub fn request_is_whole(&self) -> bool {
        self.lock().client.request == RequestBody::Whole
    }

    /// Takes in who asked for usage, if not the caller. To be said before the response comes.
    pub fn include_usage(&self, who: IncludeUsage) {
        self.lock().include_usage(&self.cx, who);
    }

    /// Takes in how asking for usage went, where it did not go as planned; to be said before the response's body
    /// comes.
    pub fn injection(&self, injection: Injection) {
        self.lock().injection(&self.cx, injection);
    }

    /// Takes in a request that came as a message of a session: what it says, and its length.
    pub(super) fn asked(&self, facts: RequestFacts, bytes: u64) {
        self.lock().asked(&self.cx, facts, bytes);
    }

    /// Takes in what a session says of itself.
    pub(super) fn named(&self, names: &SessionNames) {
        self.lock().named(&self.cx, names);
    }

    /// Takes in how far the frames of its session could be read.
    pub(super) fn frames_read(&self, frames: FramesRead) {
        self.lock().response.tell(&self.cx, MeterNote::FramesRead(frames));
    }

    /// Text of the response may be missing in what is shown.
    pub(super) fn left_out(&self) {
        self.lock().response.tell(&self.cx, MeterNote::LeftOut);
    }

    /// Drops this once the call has settled.
    pub(super) fn followed_by(&self, next: Arc<dyn Any + Send + Sync>) {
        let _ = self.followed_by.set(next);
    }

    /// Nothing has been sent to the service, or something may have been.
    pub fn set_unsent(&self, unsent: bool) {
        let mut state = self.lock();
        if state.is_open() {
            state.transport.unsent = unsent;
        }
    }

    // ===== The response =====

    /// Takes the head of the response in.
    pub fn response_head(&self, status: StatusCode, headers: &HeaderMap) {
        self.lock().response_head(&self.cx, status, headers);
    }

    /// There is no response; the client gets this status from us. `unsent`: the service has not seen
    /// a byte of the request.
    pub fn responded_by_us(&self, status: StatusCode, unsent: bool) {
        let mut state = self.lock();
        if state.is_open() {
            state.transport.status = ResponseStatus::Own(status);
            state.transport.unsent = unsent;
        }
    }

    /// The deployment that responds, as far as it is known.
    pub(super) fn deployment(&self) -> SmolStr {
        self.lock().deployment(&self.cx)
    }

    /// Takes the next bytes of the response. True: the turn was too short for all of them, and
    /// [`Call::read_on`] is to be called in the next one, before other bytes are shown.
    pub(super) fn response_bytes(&self, bytes: &Bytes, turn: &mut Turn) -> bool {
        self.lock().response_bytes(&self.cx, bytes, turn)
    }

    /// Goes on with the bytes that the last turn was too short for. True: so is this one.
    pub(super) fn read_on(&self, turn: &mut Turn) -> bool {
        self.lock().read_on(&self.cx, turn)
    }

    /// The count of the prompt under a model's rules.
    pub(super) fn count_prompt(&self, body: &[Bytes], model: &str) -> PromptCount {
        match self.cx.representation.decoded(body) {
            Ok(plain) => M::count_prompt(self.cx.api, &plain, model),
            Err(unreadable) => unreadable,
        }
    }

    // ===== The client =====

    /// Has the call end as timed out, and not as left by its client, once `idle` is true: the client makes no
    /// progress and is cut off. Only the first of several is asked.
    pub fn watch_client(&self, idle: &Arc<AtomicBool>) {
        let _ = self.client_idle.set(Arc::clone(idle));
    }

    /// The client makes no progress and is cut off.
    pub fn is_client_idle(&self) -> bool {
        self.client_idle.get().is_some_and(|idle| idle.load(Ordering::Relaxed))
    }

    /// The client has left. True if reading on could tell what the call costs: all of the request is
    /// with us and some of it may be with the service, the response may be a success, it is not
    /// whole yet, and it is one that has usage.
    pub fn is_worth_draining(&self) -> bool {
        // Whoever looks at work looks again.
        let api = self.cx.api.is_read_on() && !self.cx.polls;
        api && self.lock().may_tell_more(&self.cx)
    }

    /// The client left before the end of the response; said again when more is known.
    pub fn client_left(&self, left: Left) {
        let mut state = self.lock();
        if state.is_open() {
            state.client.left = Some(left);
            state.client.cut_off_idle |= self.is_client_idle();
        }
        drop(state);
        if left.stopped.is_some() {
            self.cx.accounts.counters.drains_cut.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// The response is not waited for any more.
    pub fn is_client_gone(&self) -> bool {
        self.lock().client.is_gone()
    }

    /// The accounts that all calls share.
    pub fn accounts(&self) -> &Accounts {
        &self.cx.accounts
    }

    // ===== The end =====

    /// The call is over. The first ending counts; whatever is told later changes nothing.
    pub(super) fn end(self: &Arc<Self>, ending: Ending) {
        let idle = self.is_client_idle();
        let over = self.lock().end(&self.cx, ending, idle);
        if over && self.cx.accounts.ended.submit(Arc::clone(self) as Arc<dyn RunningCall>).is_err() {
            self.conclude();
        }
    }

    /// Makes the call's event.
    pub(super) fn settle(&self, mut state: MutexGuard<'_, CallState<M>>) {
        let Some(mut settled) = state.settle(&self.cx) else { return };
        drop(state);
        let (accounts, time) = (&self.cx.accounts, settled.end.at);
        let MeteredEnd { mut usage, checks, deferral, bill } = event::metered_end(accounts, &mut settled);
        usage.capture = self.cx.capture.as_ref().map(|capture| capture.over());
        if self.cx.polls {
            if let Some(seen) = bill {
                accounts.observer.bill(Bill { settled: Settled { id: self.cx.id, time, usage }, seen });
            }
        } else {
            accounts.check(&mut usage, &checks);
            accounts.hand_over(settled.opened, Settled { id: self.cx.id, time, usage }, deferral);
        }
        self.cx.running_calls.remove(settled.index);
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, CallState<M>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<M: CallMeter> RunningCall for Call<M> {
    fn began(&self) -> Instant {
        self.cx.began
    }

    fn checkpoint(&self) -> Option<(Uuid, Progress)> {
        let snapshot = self.lock().checkpoint(&self.cx)?;
        Some((self.cx.id, snapshot.labelled(&self.cx.accounts.drift)))
    }

    fn come_of_age(&self) {
        self.lock().come_of_age(&self.cx);
    }

    fn consider_overdue_count(&self) {
        self.lock().consider_overdue_count(&self.cx);
    }

    fn count_early(&self, model: SmolStr) {
        let Some(views) = self.lock().early_body() else { return };
        let body = [Bytes::from(views.concat())];
        drop(views); // the call alone says how long the prompt memory is held
        let count = self.cx.accounts.guard(|| self.count_prompt(&body, &model));
        self.lock().was_counted_early(&self.cx, count.map(|count| (count, model)));
    }

    fn conclude(&self) {
        let mut state = self.lock();
        if state.conclude(&self.cx) {
            self.settle(state);
        }
    }
}

impl<M: CallMeter> std::fmt::Debug for Call<M> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Call").field("id", &self.cx.id).finish_non_exhaustive()
    }
}

/// Ends a call: with what it is told, or as interrupted if it is dropped.
#[derive(Debug)]
pub struct CallGuard<M: CallMeter = Meter>(Arc<Call<M>>);

impl<M: CallMeter> CallGuard<M> {
    /// Makes its holder answerable for the call's end.
    pub fn new(call: Arc<Call<M>>) -> CallGuard<M> {
        CallGuard(call)
    }

    /// The call.
    pub fn call(&self) -> &Arc<Call<M>> {
        &self.0
    }

    /// The call is over.
    pub fn end(self, ending: Ending) {
        self.0.end(ending); // the drop that follows comes second, and changes nothing
    }
}

impl<M: CallMeter> Drop for CallGuard<M> {
    fn drop(&mut self) {
        self.0.end(self.0.cx.accounts.interrupted());
    }
}
