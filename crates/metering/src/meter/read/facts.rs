//! The facts that a response of any API tells of itself: who gives it, how it failed, and its cost.

use smol_str::SmolStr;

use super::charged::Charged;
use super::label::{label, set_label};
use super::work::SeenWork;
use crate::api::{DeferredKind, LastEvent, last_event};
use crate::chunk::{Charges, Chunk, Failure, Malformed, Reported, Response, Work};
use crate::meter::error_words::status_named;
use crate::prompt::{self, Model};
use crate::tokens::Encoding;

/// The labels, errors and costs of a response.
#[derive(Clone, Debug, Default)]
pub(crate) struct ResponseFacts {
    pub(crate) id: Option<SmolStr>,
    pub(crate) model: Option<SmolStr>,
    /// The rules of that model; `None` if there is no name, or one that is not known.
    pub(crate) rules: Option<Model>,
    /// The agent that gives it.
    pub(crate) agent: Option<SmolStr>,
    pub(crate) service_tier: Option<SmolStr>,
    pub(crate) speed: Option<SmolStr>,
    pub(crate) inference_geo: Option<SmolStr>,
    /// Seconds since 1970.
    pub(crate) created: Option<u64>,
    /// The class of the error that ended it.
    pub(crate) error: Option<SmolStr>,
    /// The status that the error names, if it names a known one.
    pub(crate) error_status: Option<u16>,
    /// The service's last usable word.
    pub(crate) reported: Option<Reported>,
    /// It came when nothing more was to come.
    pub(crate) reported_last: bool,
    /// A word that is all zeros: it counts where the call itself is what is billed.
    pub(crate) zeros: Option<Box<Reported>>,
    /// Tools and units that are billed beside its tokens.
    pub(crate) charged: Charged,
    /// Some usage was negative, fractional or beyond reason.
    pub(crate) implausible: bool,
    /// The work that the response may tell of.
    pub(crate) defers: Option<DeferredKind>,
    /// Work that it tells of, which may go on after it.
    pub(crate) work: Option<Box<SeenWork>>,
    /// `[DONE]`, or the API's own last event, has come; where each result ends by itself, as many as were asked for.
    pub(crate) done: bool,
    /// Results that have ended, where each does so by itself.
    pub(crate) results: u64,
    /// Results that were asked for, where that is known.
    pub(crate) results_wanted: u64,
    /// Results with a usage, of which `reported` is the sum.
    pub(crate) usages: u64,
}

impl ResponseFacts {
    /// The encoding of the model that it has named.
    pub(super) fn encoding(&self) -> Option<Encoding> {
        self.rules.map(|model| model.encoding)
    }

    /// All that a document or an event says of it.
    pub(super) fn feed(&mut self, chunk: &Chunk<'_>) {
        self.labels(chunk);
        if let Some(charges) = chunk.charges() {
            self.charge(&charges, self.results, self.results == 0 || self.done);
        }
    }

    /// One of several results has ended, if the event's `type` says so: from here on each usage is another
    /// result's.
    pub(super) fn end_result(&mut self, chunk: &Chunk<'_>) {
        let is_end = |kind: &[u8]| last_event(kind) == Some(LastEvent::EndedOne);
        if chunk.kind.is_some_and(|kind| is_end(&kind.key())) {
            self.results += 1;
            self.done |= self.results >= self.results_wanted;
        }
    }

    /// All has been said, and nothing counts that may follow.
    pub(super) fn is_over(&self) -> bool {
        self.done && self.results == 0
    }

    /// The numbers are the sums of several usages.
    pub(crate) fn is_sum(&self) -> bool {
        self.usages > 1
    }

    /// Its names and its error.
    pub(super) fn labels(&mut self, chunk: &Chunk<'_>) {
        set_label(&mut self.id, chunk.id, false);
        if set_label(&mut self.model, chunk.model, false) {
            self.rules = self.model.as_deref().and_then(prompt::model);
        }
        set_label(&mut self.service_tier, chunk.service_tier, true);
        self.created = self.created.or(chunk.created.filter(|seconds| *seconds > 0));
        if chunk.is_error() {
            self.fail(&chunk.failure());
        }
    }

    /// It failed. Of several errors the last one that has a name stands: what follows one may be no more
    /// than an end.
    pub(super) fn fail(&mut self, failure: &Failure) {
        let class = label(failure.class());
        self.error = class.or(self.error.take()).or(Some(SmolStr::default()));
        self.error_status = failure.names().find_map(status_named).or(self.error_status);
    }

    /// An event that is called an error is one, whatever its data is.
    pub(super) fn name_error(&mut self, name: &[u8], data: &[u8]) {
        if name == b"error" && self.error.is_none() {
            self.fail(&Chunk::parse(data).map(|chunk| chunk.failure()).unwrap_or_default());
        }
    }

    /// The cost that the response names, or one of its items (`item`: its place): the last usable word
    /// stands. `nothing_follows`: all of the text has come.
    pub(super) fn charge(&mut self, charges: &Charges, item: u64, nothing_follows: bool) {
        self.charged.add(charges, item);
        if let Some(reported) = charges.usage() {
            self.report(reported, nothing_follows);
        }
    }

    /// The usage that the response reports: the last usable word stands, or the sum of those of its results.
    pub(super) fn report(&mut self, reported: Reported, nothing_follows: bool) {
        self.implausible |= reported.implausible;
        if reported.usable() {
            match &mut self.reported {
                Some(sum) if self.usages > 0 => sum.add(&reported),
                slot => *slot = Some(reported),
            }
            self.usages += u64::from(self.results > 0);
            self.reported_last = nothing_follows;
        } else if reported.is_usage() && self.zeros.is_none() {
            self.zeros = Some(Box::new(reported));
        }
    }

    /// Takes in a response that may be made in the background. Once one says so, it is.
    pub(super) fn see_response(&mut self, response: &Response<'_>) {
        if response.background || self.work.is_some() {
            self.work = SeenWork::of_response(response).or(self.work.take());
        }
    }

    /// Takes in an object, if it is of the kind of work that the response may tell of.
    pub(super) fn see_work(&mut self, object: &[u8]) -> Result<(), Malformed> {
        let Some(kind) = self.defers else { return Ok(()) };
        self.work = SeenWork::of_object(kind, &Work::parse(object)?).or(self.work.take());
        Ok(())
    }

    /// Looks whether an event is the last one, as its `type` says. It may carry a response, with `usage`.
    pub(super) fn last_event(&mut self, chunk: &Chunk<'_>) {
        let Some(kind) = chunk.kind else { return };
        let last = last_event(&kind.key());
        if let Some(response) = chunk.response() {
            self.feed(&response);
            if last == Some(LastEvent::Failed) {
                self.fail(&response.failure());
            }
        } else if last == Some(LastEvent::Failed) {
            self.fail(&chunk.failure());
        }
        self.done |= matches!(last, Some(LastEvent::Ended | LastEvent::Failed));
    }
}
