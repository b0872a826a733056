//! The prompt of a call that is open for a second is counted, so that a crash leaves the call with it.
//!
//! Whether the service will report it is not known by then, so most of these counts are thrown away. They
//! cost what is left over: the pool makes them one at a time, when no answer waits, of a copy that is
//! made when their turn comes. The body itself is kept for as long as it would be without, since another
//! model's rules may be asked for until the end, and a sample be taken.
//!
//! The model may not be known yet: then the one is taken that would be if none were ever named, else the one
//! that the deployment's answers named last; and if the answer names another one, the prompt is counted
//! anew.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use smol_str::SmolStr;

use super::call::{Call, Seat, State};
use super::prompt::Prompt;
#[cfg(test)]
use super::tests::Meter;
#[cfg(not(test))]
use metering::meter::Meter;
use metering::meter::{PromptCount, PromptNeed};

/// A larger body is not counted early: the copy is outside of the prompt memory, and a third of a second
/// of CPU is much for a number that is most likely thrown away. Four prompts of a million tokens fit.
const EARLY_BYTES_MAX: usize = 16 << 20;

/// How far the early count of a call's prompt has come.
#[derive(Debug, Default)]
pub(super) enum Early {
    /// The call has not been open for long.
    #[default]
    Young,
    /// It has, and the meter was not asked yet: the request is not whole or not sent, or the meter away.
    Due,
    /// The pool has been asked for a count.
    Asked,
    /// There is one, and the meter was away.
    Counted(Box<(PromptCount, SmolStr)>),
    /// The meter was asked. It is asked again once the answer has named its model.
    Unnamed,
    /// There is nothing more to count.
    Done,
}

impl Call {
    /// The call has been open for a second.
    pub(super) fn come_of_age(self: &Arc<Self>) {
        let mut state = self.lock();
        if matches!(state.early, Early::Young) {
            state.early = Early::Due;
            self.consider_early(&mut state);
        }
    }

    /// Makes up for what could not be done when it was due.
    pub(super) fn consider_due(self: &Arc<Self>) {
        let mut state = self.lock();
        if matches!(state.early, Early::Due | Early::Counted(_)) {
            self.consider_early(&mut state);
        }
    }

    /// Asks the pool for a count, if there is something to count and it is due. The state of a call that
    /// is young or done costs one look at it.
    pub(super) fn consider_early(self: &Arc<Self>, state: &mut State) {
        if matches!(state.early, Early::Young | Early::Asked | Early::Done) {
            return;
        }
        self.tell_early(state);
        if state.opened.is_none() {
            state.early = Early::Done; // nobody would be told
        }
        let readable = matches!(state.prompt_state, Prompt::Whole) && !state.owes_reading;
        let kept = readable && !state.facts.unsent;
        if !kept || state.ended.is_some() {
            return;
        }
        let named = self.look(state, |meter| meter.names_model());
        match (&state.early, named) {
            (Early::Due, Some(_)) | (Early::Unnamed, Some(true)) => {}
            _ => return,
        }
        let need = self.look(state, |meter| meter.early_need(|| self.accounts.models.of(&meter.target())));
        let need = need.flatten();
        state.early = match need {
            _ if state.prompt.pinned_bytes() > EARLY_BYTES_MAX => Early::Done,
            Some(model) if self.ask_for_count(&model) => Early::Asked,
            Some(_) => Early::Done,
            None if named == Some(true) => Early::Done,
            None => Early::Unnamed,
        };
    }

    /// Tells the meter of a count that came while it was away.
    pub(super) fn tell_early(self: &Arc<Self>, state: &mut State) {
        if !matches!((&state.early, &state.meter), (Early::Counted(_), Seat::Here(_))) {
            return;
        }
        if let Early::Counted(counted) = std::mem::replace(&mut state.early, Early::Unnamed) {
            let (count, model) = *counted;
            self.look(state, |meter| meter.prompt_counted_early(count, model));
            state.changed = true;
            self.live.counted(Arc::clone(self));
        }
    }

    fn ask_for_count(self: &Arc<Self>, model: &SmolStr) -> bool {
        let (call, model) = (Arc::clone(self), model.clone());
        self.accounts.pool.submit_soon(Box::new(move || call.count_early(model)))
    }

    /// Counts the prompt, in the pool.
    fn count_early(self: Arc<Self>, model: SmolStr) {
        let views = {
            let mut state = self.lock();
            if state.ended.is_some() || !matches!(state.prompt_state, Prompt::Whole) {
                return; // it is counted already, or never will be
            }
            state.prompt.views()
        };
        let body = [Bytes::from(views.concat())];
        drop(views); // the call alone says how long the prompt memory is held
        let count = catch_unwind(AssertUnwindSafe(|| self.count(&body, &model)));
        let mut state = self.lock();
        if state.ended.is_some() {
            return;
        }
        let Ok(count) = count else {
            self.accounts.counters.meter_panics.fetch_add(1, Ordering::Relaxed);
            state.early = Early::Done;
            return;
        };
        state.early = Early::Counted(Box::new((count, model)));
        self.tell_early(&mut state);
        self.consider_prompt(&mut state);
    }
}

/// Takes an early count for the one that is needed where it is, and asks what the prompt is still needed for.
pub(super) fn need(meter: &mut Meter) -> PromptNeed {
    meter.adopt_early();
    meter.prompt_need()
}
