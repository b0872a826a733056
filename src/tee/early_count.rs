//! The prompt of a call that is open for a second is counted, so that a crash leaves the call with it.
//!
//! Whether the service will report it is not known by then, so most of these counts are thrown away. They
//! cost what is left over: the pool makes them one at a time, when no response waits, of a copy that is
//! made when their turn comes. The body itself is kept for as long as it would be without, since another
//! model's rules may be asked for until the end, and a sample be taken.
//!
//! The model may not be known yet: then the one is taken that would be if none were ever named, else the one
//! that the deployment's responses named last; and if the response names another one, the prompt is counted
//! anew.

use metering::meter::PromptCount;
use smol_str::SmolStr;

use super::context::CallContext;
use super::meter::CallMeter;
use super::metered_response::MeteredResponse;

/// A larger body is not counted early: the copy is outside of the prompt memory, and a third of a second
/// of CPU is much for a number that is most likely thrown away. Four prompts of a million tokens fit.
const EARLY_BYTES_MAX: usize = 16 << 20;

/// How far the early count of a call's prompt has come.
#[derive(Debug, Default)]
pub(super) enum EarlyCount {
    /// The call has not been open for long.
    #[default]
    Young,
    /// It has, and the meter was not asked yet: the request is not whole or not sent, or the meter away.
    Due,
    /// The pool has been asked for a count.
    Asked,
    /// There is one, and the meter was away.
    Counted(Box<(PromptCount, SmolStr)>),
    /// The meter was asked. It is asked again once the response has named its model.
    Unnamed,
    /// There is nothing more to count.
    Done,
}

impl EarlyCount {
    /// Asks the pool for a count of a prompt that pins so many bytes, if the meter wants one.
    pub(super) fn request<M: CallMeter>(
        &mut self,
        cx: &CallContext,
        response: &mut MeteredResponse<M>,
        pinned_bytes: usize,
    ) {
        let named = response.ask(cx, |meter| meter.names_model());
        match (&*self, named) {
            (EarlyCount::Due, Some(_)) | (EarlyCount::Unnamed, Some(true)) => {}
            _ => return,
        }
        let need = response.ask(cx, |meter| meter.early_need(|| cx.accounts.models.of(&meter.target())));
        let small = pinned_bytes <= EARLY_BYTES_MAX;
        *self = match need.flatten() {
            Some(model) if small => match cx.submit_early_count(model) {
                true => EarlyCount::Asked,
                false => EarlyCount::Done,
            },
            None if small && named == Some(false) => EarlyCount::Unnamed,
            Some(_) | None => EarlyCount::Done,
        };
    }
}
