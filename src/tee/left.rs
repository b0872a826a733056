//! What the data path knows of a call beside its bytes: who asked for usage, and that its caller left.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::call::Call;
#[cfg(test)]
use super::tests::Meter;
use metering::meter::Left;
#[cfg(not(test))]
use metering::meter::Meter;
use metering::usage::{Api, IncludeUsage, Injection};

impl Call {
    /// Who asked for usage, if not the caller. To be said before the answer comes.
    pub fn include_usage(&self, who: IncludeUsage) {
        let mut state = self.lock();
        if state.ended.is_some() {
            return;
        }
        Arc::make_mut(&mut state.draft).request.include_usage = who;
        self.look(&mut state, |meter| meter.include_usage(who));
        state.changed = true;
    }

    /// How asking for usage went, where it did not go as planned; to be said before the answer's body
    /// comes.
    pub fn injection(&self, injection: Injection) {
        let mut state = self.lock();
        if state.ended.is_some() {
            return;
        }
        if injection != Injection::Visible {
            Arc::make_mut(&mut state.draft).request.injection = Some(injection);
        }
        self.look(&mut state, |meter| meter.injection(injection));
        state.changed = true;
    }

    /// Nothing has been sent to the service, or something may have been.
    pub fn set_unsent(&self, unsent: bool) {
        let mut state = self.lock();
        if state.ended.is_none() {
            state.facts.unsent = unsent;
        }
    }

    /// The caller has left. True if reading on could tell what the call costs: all of the request is
    /// with us and some of it may be with the service, the answer may be a success, it is not whole yet, and it is one that has usage.
    pub fn is_worth_draining(&self) -> bool {
        let mut state = self.lock();
        let api = matches!(
            self.api,
            Api::ChatCompletions
                | Api::Completions
                | Api::Responses
                | Api::Embeddings
                | Api::Images
                | Api::Audio
        );
        let (sent, failed) =
            (!state.facts.unsent, state.facts.status.is_some_and(|status| !status.is_success()));
        let whole = match &state.skim {
            Some(skim) => skim.is_whole(),
            None => self.look(&mut state, |meter| Meter::is_whole(meter)).unwrap_or(false),
        };
        api && sent && state.request_whole && state.ended.is_none() && !failed && !whole
    }

    /// The caller left before the end of the answer; said again when more is known.
    pub fn left(&self, left: Left) {
        let mut state = self.lock();
        if state.ended.is_none() {
            state.left = Some(left);
            state.cut_idle |= self.is_caller_idle();
        }
        if left.stopped.is_some() {
            self.accounts.counters.drains_cut.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Nobody waits for the answer.
    pub fn is_left(&self) -> bool {
        let state = self.lock();
        state.left.is_some() || state.caller_left
    }

    /// What counts for all calls.
    pub fn accounts(&self) -> &super::Accounts {
        &self.accounts
    }
}
