//! What the counting pool does for a call: one step after another, each without the call's lock.
//!
//! What an answer needs and what its prompt needs are tasks of their own, in lanes of their own, which may
//! run at the same time: the meter is with the first, the request's body with the second. Whichever is done
//! last after the call's end settles it.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::Ordering;
use std::sync::{Arc, MutexGuard};

use bytes::Bytes;
use smol_str::SmolStr;

use super::INLINE_BYTES_MAX;
use super::call::{Call, Seat, State, assess};
use super::prompt::{Loss, Prompt};
#[cfg(test)]
use super::tests::{Meter, count_prompt};
use crate::pool::{Lane, Task};
use metering::chunk::RequestFacts;
use metering::meter::{Ending, PromptCount};
#[cfg(not(test))]
use metering::meter::{Meter, count_prompt};

/// What the pool is to do next for an answer.
enum Step {
    Show(Box<Meter>, Vec<Bytes>, usize),
    Assess(Box<Meter>),
    End(Box<Meter>, Ending),
    /// The prompt, since nobody else will.
    Count,
    Settle,
    Rest,
}

/// What the pool is to do next for a prompt.
enum PromptStep {
    Read(Vec<Bytes>),
    Count(Vec<Bytes>, usize, SmolStr),
    Rest,
}

impl Task for Call {
    fn run(self: Arc<Self>, lane: Lane) {
        match lane {
            Lane::Answer => self.run_answer(),
            Lane::Prompt | Lane::Refused => self.run_prompt(),
        }
    }
}

impl Call {
    fn run_answer(self: Arc<Self>) {
        loop {
            let mut state = self.lock();
            let step = self.step(&mut state);
            match step {
                Step::Show(meter, pieces, pinned_bytes) => {
                    let known = state.facts.first_token;
                    drop(state);
                    let mut first_token = known;
                    let shown = self.show(meter, &pieces, || {
                        first_token.get_or_insert_with(|| self.began.elapsed());
                    });
                    drop(pieces);
                    self.accounts.backlog.release(self.holder, pinned_bytes);
                    let mut state = self.lock();
                    state.facts.first_token = first_token;
                    state.changed = true;
                    if let Some((_, false)) = &shown {
                        self.give_up_count(&mut state);
                    }
                    self.put_back(&mut state, shown.map(|(meter, _)| meter));
                    if std::mem::take(&mut state.owes_checkpoint) {
                        self.live.hurry(Arc::clone(&self));
                    }
                    self.consider_prompt(&mut state);
                }
                Step::Assess(meter) => {
                    drop(state);
                    let assessed = catch_unwind(AssertUnwindSafe(|| {
                        let assessed = assess(&meter);
                        (meter, assessed)
                    }));
                    let (meter, assessed) = assessed.map_or((None, None), |(m, a)| (Some(m), Some(a)));
                    let mut state = self.lock();
                    state.assessed = assessed.map(Box::new);
                    self.put_back(&mut state, meter);
                    self.live.hurry(Arc::clone(&self));
                }
                Step::End(mut meter, ending) => {
                    drop(state);
                    let meter = catch_unwind(AssertUnwindSafe(|| {
                        meter.end(ending);
                        meter
                    }));
                    self.put_back(&mut self.lock(), meter.ok());
                }
                Step::Count => {
                    drop(state);
                    Arc::clone(&self).run_prompt();
                }
                Step::Settle => return self.settle(state),
                Step::Rest => return,
            }
        }
    }

    fn run_prompt(self: Arc<Self>) {
        loop {
            let mut state = self.lock();
            match self.prompt_step(&mut state) {
                PromptStep::Read(body) => {
                    drop(state);
                    let facts = catch_unwind(AssertUnwindSafe(|| self.representation.facts(&body)));
                    drop(body);
                    self.request_read(facts.ok());
                }
                PromptStep::Count(body, pinned_bytes, model) => {
                    drop(state);
                    let count = catch_unwind(AssertUnwindSafe(|| self.count(&body, &model)));
                    drop(body);
                    self.accounts.prompts.release(self.holder, pinned_bytes);
                    self.prompt_counted(count.ok());
                }
                PromptStep::Rest => return self.go_on_after_prompt(state),
            }
        }
    }

    /// The prompt is done with: if the call has ended and waited for that, it goes on to its end.
    fn go_on_after_prompt(self: &Arc<Self>, mut state: MutexGuard<'_, State>) {
        let waits = state.ended.is_some() && !state.settled && !state.queued && !state.is_with_pool();
        if !waits {
            return;
        }
        // What is left to be read is an answer's work, and has its own thread; else this is little.
        if !state.meter_ended && self.enqueue(&mut state) {
            return;
        }
        state.queued = true;
        drop(state);
        Arc::clone(self).run_answer();
    }

    /// The next thing for the pool to do for the answer.
    fn step(self: &Arc<Self>, state: &mut State) -> Step {
        if state.settled {
            return Step::Rest; // it was light, and did not wait
        }
        self.rejoin(state);
        // What the last turn was too short for is the pool's once nobody else will come for it.
        let rest = state.ended.is_some() && state.skim.is_none() && !state.unread.is_empty();
        if !state.backlog.is_empty() || rest {
            let (mut pieces, pinned_bytes) = state.backlog.take();
            if rest {
                pieces.push(std::mem::take(&mut state.unread));
            }
            match std::mem::replace(&mut state.meter, Seat::Away) {
                Seat::Here(meter) => return Step::Show(meter, pieces, pinned_bytes),
                elsewhere => state.meter = elsewhere,
            }
            self.accounts.backlog.release(self.holder, pinned_bytes);
        }
        if state.ended.is_none() && std::mem::take(&mut state.owes_checkpoint) {
            if state.skim.is_none() {
                state.skim = self.look(state, |meter| Box::new(meter.lend()));
            }
            match std::mem::replace(&mut state.meter, Seat::Away) {
                Seat::Here(meter) => {
                    state.changed = false;
                    return Step::Assess(meter);
                }
                elsewhere => state.meter = elsewhere,
            }
        }
        if let Some(ending) = state.ended
            && !state.owes_reading
        {
            if !std::mem::replace(&mut state.meter_ended, true) {
                match std::mem::replace(&mut state.meter, Seat::Away) {
                    Seat::Here(meter) => return Step::End(meter, ending),
                    elsewhere => state.meter = elsewhere,
                }
            }
            self.decide_prompt(state);
            if let Some(step) = self.end_step(state) {
                return step;
            }
        }
        state.queued = false;
        Step::Rest
    }

    /// What is left to do for a call that has ended; `None`: its prompt is waited for.
    fn end_step(self: &Arc<Self>, state: &mut State) -> Option<Step> {
        if matches!(state.prompt_state, Prompt::Count(_)) && !self.enqueue_prompt(state) {
            if self.accounts.pool.is_closed() {
                return Some(Step::Count); // nobody comes after this
            }
            self.lose_prompt(state, Loss::Overload);
        }
        let waits = state.prompt_away || matches!(state.prompt_state, Prompt::Count(_));
        (!waits).then_some(Step::Settle)
    }

    /// The next thing for the pool to do for the prompt.
    fn prompt_step(self: &Arc<Self>, state: &mut State) -> PromptStep {
        if state.settled {
            return PromptStep::Rest;
        }
        if state.owes_reading {
            return PromptStep::Read(state.prompt.views());
        }
        if let Prompt::Count(model) = &mut state.prompt_state {
            let model = std::mem::take(model);
            state.prompt_state = Prompt::Gone;
            state.prompt_away = true;
            let (body, pinned_bytes) = state.prompt.take();
            return PromptStep::Count(body, pinned_bytes, model);
        }
        state.prompt_queued = false;
        PromptStep::Rest
    }

    /// Shows the pieces of a backlog to the meter, a little at a time: as soon as the count is given up there
    /// is no use in more. False: it must be given up, since the meter holds too much. `None`: it panicked.
    fn show(
        &self,
        mut meter: Box<Meter>,
        pieces: &[Bytes],
        mut first: impl FnMut(),
    ) -> Option<(Box<Meter>, bool)> {
        catch_unwind(AssertUnwindSafe(|| {
            for part in pieces.iter().flat_map(|piece| piece.chunks(INLINE_BYTES_MAX)) {
                if self.is_given_up() && !meter.is_light() {
                    break;
                }
                meter.response_bytes(part, usize::MAX);
                if meter.first_token_seen() {
                    first();
                }
                if !self.weigh(meter.memory_bytes()) {
                    return (meter, false);
                }
            }
            (meter, true)
        }))
        .ok()
    }

    /// The count of the prompt under a model's rules.
    pub(super) fn count(&self, body: &[Bytes], model: &str) -> PromptCount {
        match self.representation.decoded(body) {
            Ok(plain) => count_prompt(self.api, &plain, model),
            Err(unreadable) => unreadable,
        }
    }

    /// What a coded request says, now that all of it was read.
    fn request_read(self: &Arc<Self>, facts: Option<RequestFacts>) {
        let mut state = self.lock();
        state.owes_reading = false;
        state.changed = true;
        match facts {
            Some(facts) => state.owes_facts = Some(Box::new(facts)),
            None => drop(self.accounts.counters.meter_panics.fetch_add(1, Ordering::Relaxed)),
        }
        self.tell_owed(&mut state);
        self.consider_prompt(&mut state);
    }

    fn prompt_counted(&self, count: Option<PromptCount>) {
        let mut state = self.lock();
        (state.changed, state.prompt_away) = (true, false);
        match count {
            Some(count) => state.owes_count = Some(Box::new(count)),
            None => {
                self.accounts.counters.meter_panics.fetch_add(1, Ordering::Relaxed);
                state.owes_prompt = Some(Loss::NotKept);
            }
        }
        self.tell_owed(&mut state);
    }

    /// Tells the meter what was found out while it was away, unless it still is.
    pub(super) fn tell_owed(&self, state: &mut State) {
        if !matches!(state.meter, Seat::Here(_)) {
            return;
        }
        if let Some(facts) = state.owes_facts.take() {
            self.look(state, |meter| meter.request_read(*facts));
        }
        if let Some(count) = state.owes_count.take() {
            self.look(state, |meter| drop(meter.prompt_counted(*count)));
        }
        if let Some(loss) = state.owes_prompt.take() {
            self.look(state, |meter| loss.tell(meter));
        }
    }
}
