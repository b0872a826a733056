//! The counting pool's work for a call: one step after another, each without the call's lock.
//!
//! The work for a response and the work for its prompt are tasks of their own, in lanes of their own, which may
//! run at the same time: the meter is with the first, the request's body with the second. The one that is done
//! last after the call's end settles it.

use std::sync::Arc;
use std::time::Duration;

use super::call::Call;
use super::checkpoint::CallSnapshot;
use super::meter::CallMeter;
use super::metered_prompt::PromptStep;
use super::metered_response::Backlog;
use super::state::ResponseStep;
use super::turn::INLINE_BYTES_MAX;
use crate::pool::{Lane, Task};

impl<M: CallMeter> Task for Call<M> {
    fn run(self: Arc<Self>, lane: Lane) {
        match lane {
            Lane::Response => ResponseWork(&self).run(),
            Lane::Prompt | Lane::Refused => PromptWork(&self).run(),
        }
    }
}

/// The work for a call's response, and for its end.
struct ResponseWork<'a, M: CallMeter>(&'a Call<M>);

impl<M: CallMeter> ResponseWork<'_, M> {
    fn run(&self) {
        loop {
            let (call, mut state) = (self.0, self.0.lock());
            let step = state.response_step(&call.cx);
            match step {
                ResponseStep::Show(backlog) => {
                    let first_token = state.transport.first_token;
                    drop(state);
                    self.show(backlog, first_token);
                }
                ResponseStep::Assess(meter) => {
                    drop(state);
                    let assessed = call.cx.accounts.guard(|| {
                        let snapshot = CallSnapshot::of(&*meter);
                        (meter, snapshot)
                    });
                    call.lock().response.was_assessed(&call.cx, assessed);
                }
                ResponseStep::End(mut meter, ending) => {
                    drop(state);
                    let meter = call.cx.accounts.guard(|| {
                        meter.end(ending);
                        meter
                    });
                    call.lock().response.put_back(&call.cx, meter);
                }
                ResponseStep::CountPrompt => {
                    drop(state);
                    PromptWork(call).run();
                }
                ResponseStep::Settle => return call.settle(state),
                ResponseStep::Rest => return,
            }
        }
    }

    /// Shows a backlog to its meter, and brings that back.
    fn show(&self, backlog: Backlog<M>, mut first_token: Option<Duration>) {
        let (call, pinned_bytes) = (self.0, backlog.pinned_bytes);
        let shown = call.cx.accounts.guard(|| self.count(backlog, &mut first_token));
        call.cx.release_backlog(pinned_bytes);
        call.lock().backlog_was_shown(&call.cx, first_token, shown);
    }

    /// Counts a backlog, a little at a time: as soon as the count is given up there is no use in more. False: it
    /// must be given up, since the meter holds too much.
    fn count(&self, backlog: Backlog<M>, first_token: &mut Option<Duration>) -> (Box<M>, bool) {
        let (cx, mut meter) = (&self.0.cx, backlog.meter);
        for part in backlog.pieces.iter().flat_map(|piece| piece.chunks(INLINE_BYTES_MAX)) {
            if cx.is_count_given_up() && !meter.is_light() {
                break;
            }
            meter.response_bytes(part, usize::MAX);
            if meter.first_token_seen() {
                first_token.get_or_insert_with(|| cx.began.elapsed());
            }
            if !cx.weigh(meter.memory_bytes()) {
                return (meter, false);
            }
        }
        (meter, true)
    }
}

/// The work for a call's prompt.
struct PromptWork<'a, M: CallMeter>(&'a Call<M>);

impl<M: CallMeter> PromptWork<'_, M> {
    fn run(&self) {
        loop {
            let (call, mut state) = (self.0, self.0.lock());
            match state.prompt_step() {
                PromptStep::Read(body) => {
                    drop(state);
                    let facts = call.cx.accounts.guard(|| call.cx.representation.facts(&body, call.cx.api));
                    drop(body);
                    call.lock().request_was_read(&call.cx, facts);
                }
                PromptStep::Count(body, pinned_bytes, model) => {
                    drop(state);
                    let count = call.cx.accounts.guard(|| call.count_prompt(&body, &model));
                    drop(body);
                    call.cx.release_prompt(pinned_bytes);
                    call.lock().prompt_was_counted(&call.cx, count);
                }
                PromptStep::Rest => {
                    let goes_on = state.goes_on_after_prompt(&call.cx);
                    drop(state);
                    if goes_on {
                        ResponseWork(call).run();
                    }
                    return;
                }
            }
        }
    }
}
