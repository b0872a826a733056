//! What the counting pool does for a call: one step after another, each without the call's lock.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use smol_str::SmolStr;

use super::INLINE_BYTES_MAX;
use super::call::{Call, Seat, State, assess};
use super::prompt::Prompt;
#[cfg(test)]
use super::tests::{Meter, count_prompt};
use crate::chunk::RequestFacts;
use crate::meter::{Ending, PromptCount};
#[cfg(not(test))]
use crate::meter::{Meter, count_prompt};
use crate::pool::Task;

/// What the pool is to do next.
enum Step {
    Show(Box<Meter>, Vec<Bytes>, usize),
    Assess(Box<Meter>),
    End(Box<Meter>, Ending),
    Read(Vec<Bytes>),
    Count(Vec<Bytes>, usize, SmolStr),
    Settle,
    Rest,
}

impl Task for Call {
    fn run(self: Arc<Self>) {
        loop {
            let mut state = self.lock();
            let step = self.step(&mut state);
            match step {
                Step::Show(meter, pieces, pinned_bytes) => {
                    let known = state.facts.first_token;
                    drop(state);
                    let mut first_token = known;
                    let meter = self.show(meter, &pieces, || {
                        first_token.get_or_insert_with(|| self.began.elapsed());
                    });
                    drop(pieces);
                    self.accounts.release_backlog(pinned_bytes);
                    let mut state = self.lock();
                    state.facts.first_token = first_token;
                    state.changed = true;
                    self.put_back(&mut state, meter);
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
                Step::Read(body) => {
                    drop(state);
                    let facts = catch_unwind(AssertUnwindSafe(|| self.representation.facts(&body)));
                    drop(body);
                    self.request_read(facts.ok());
                }
                Step::Count(body, pinned_bytes, model) => {
                    drop(state);
                    let count = catch_unwind(AssertUnwindSafe(|| self.count(&body, &model)));
                    drop(body);
                    self.accounts.release_prompt(pinned_bytes);
                    self.prompt_counted(count.ok());
                }
                Step::Settle => return self.settle(state),
                Step::Rest => return,
            }
        }
    }
}

impl Call {
    /// The next thing for the pool to do.
    fn step(self: &Arc<Self>, state: &mut State) -> Step {
        if state.settled {
            return Step::Rest; // it was light, and did not wait
        }
        if state.owes_reading {
            return Step::Read(state.prompt.views());
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
            self.accounts.release_backlog(pinned_bytes);
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
        if let Some(ending) = state.ended {
            if !std::mem::replace(&mut state.meter_ended, true) {
                match std::mem::replace(&mut state.meter, Seat::Away) {
                    Seat::Here(meter) => return Step::End(meter, ending),
                    elsewhere => state.meter = elsewhere,
                }
            }
            self.decide_prompt(state);
        }
        if let Prompt::Count(model) = &mut state.prompt_state {
            let model = std::mem::take(model);
            state.prompt_state = Prompt::Gone;
            state.prompt_away = true;
            let (body, pinned_bytes) = state.prompt.take();
            return Step::Count(body, pinned_bytes, model);
        }
        if state.ended.is_some() {
            return Step::Settle;
        }
        state.queued = false;
        Step::Rest
    }

    /// Shows the pieces of a backlog to the meter, a little at a time: as soon as the count is given up there
    /// is no use in more. `None`: it panicked.
    fn show(&self, mut meter: Box<Meter>, pieces: &[Bytes], mut first: impl FnMut()) -> Option<Box<Meter>> {
        catch_unwind(AssertUnwindSafe(|| {
            for part in pieces.iter().flat_map(|piece| piece.chunks(INLINE_BYTES_MAX)) {
                if self.is_given_up() && !meter.is_light() {
                    break;
                }
                meter.response_bytes(part, usize::MAX);
                if meter.first_token_seen() {
                    first();
                }
            }
            meter
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
            Some(facts) => drop(self.look(&mut state, |meter| meter.request_read(facts))),
            None => drop(self.accounts.counters.meter_panics.fetch_add(1, Ordering::Relaxed)),
        }
        self.consider_prompt(&mut state);
    }

    fn prompt_counted(&self, count: Option<PromptCount>) {
        let mut state = self.lock();
        (state.changed, state.prompt_away) = (true, false);
        match count {
            Some(count) => drop(self.look(&mut state, |meter| meter.prompt_counted(count))),
            None => {
                self.accounts.counters.meter_panics.fetch_add(1, Ordering::Relaxed);
                self.look(&mut state, Meter::prompt_not_kept);
            }
        }
    }
}
