//! The request's body of a call: the states in which it may be, and the memory that it holds in each.

use bytes::Bytes;
use smol_str::SmolStr;

use super::context::CallContext;
use super::meter::PromptLoss;
use super::pinned_bytes::{PinnedBytes, REQUEST_READ_BYTES_MAX};

/// How far the request's body has come.
#[derive(Debug)]
pub(super) enum PromptBody {
    /// It is still arriving, and all of it was kept so far.
    Arriving(PinnedBytes),
    /// All of it is kept. The pool has to read what it says before anything is decided by that.
    Unread(PinnedBytes),
    /// All of it is kept. Whether it must be counted is not known.
    Whole(PinnedBytes),
    /// It is to be counted under this model's rules, by the pool.
    Needed(PinnedBytes, SmolStr),
    /// The pool is counting it.
    Counting,
    /// It was counted, not kept, or dropped.
    Gone,
}

impl PromptBody {
    /// The body of a call that begins; `keep`: it may be needed for counting.
    pub(super) fn new(keep: bool) -> PromptBody {
        if keep { PromptBody::Arriving(PinnedBytes::new(REQUEST_READ_BYTES_MAX)) } else { PromptBody::Gone }
    }

    /// Keeps the next bytes of a body that was kept so far.
    pub(super) fn push(&mut self, cx: &CallContext, bytes: &Bytes) -> Result<(), PromptLoss> {
        let PromptBody::Arriving(body) = self else { return Ok(()) };
        if !cx.try_keep_prompt(body.cost_bytes(bytes.len())) {
            return Err(PromptLoss::NotKept);
        }
        body.push(bytes.clone());
        Ok(())
    }

    /// Moves the bytes into another state, if there are any.
    pub(super) fn change(&mut self, into: impl FnOnce(PinnedBytes) -> PromptBody) {
        *self = match std::mem::replace(self, PromptBody::Gone) {
            PromptBody::Arriving(body)
            | PromptBody::Unread(body)
            | PromptBody::Whole(body)
            | PromptBody::Needed(body, _) => into(body),
            bodiless @ (PromptBody::Counting | PromptBody::Gone) => bodiless,
        }
    }

    /// Drops the bytes. A count that is being made is still waited for.
    pub(super) fn release(&mut self, cx: &CallContext) {
        self.change(|mut body| {
            cx.release_prompt(body.take().1);
            PromptBody::Gone
        });
    }

    /// The call has the bytes.
    pub(super) fn is_held(&self) -> bool {
        !matches!(self, PromptBody::Counting | PromptBody::Gone)
    }
}
