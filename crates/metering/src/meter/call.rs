//! The meter of one call, as the data path sees it: it is shown each piece of the call as it goes by.

use std::sync::Arc;

use http::{HeaderMap, StatusCode};
use smol_str::SmolStr;

use super::body::{Bounds, MeteredBody};
use super::decode::ContentDecoder;
use super::ending::{Ending, Left};
use super::frames_read::{FramesRead, SessionNames};
use super::prompt_state::PromptState;
use super::request::{Representation, RequestReader};
use super::rules::Rules;
use super::served::Served;
use super::skim::Skim;
use crate::api::Treatment;
use crate::chunk::RequestFacts;
use crate::usage::{IncludeUsage, Injection, Usage};

/// One call's accounting.
#[derive(Debug)]
pub struct Meter {
    /// Shared with whoever else tells of the call; what is found out stands beside it.
    pub(super) draft: Arc<Usage>,
    /// Who asked for usage, if not the caller.
    pub(super) include_usage: IncludeUsage,
    /// How asking for it went.
    pub(super) injection: Option<Injection>,
    pub(super) served: Served,
    pub(super) rules: Rules,
    /// Usage objects are not looked at: what would be said without them?
    pub(super) blind: bool,
    /// Whose numbers the call has.
    pub(super) treatment: Treatment,
    /// The model to go by where the response names none.
    pub(super) assumed: Option<SmolStr>,
    pub(super) request: RequestReader,
    pub(super) facts: RequestFacts,
    pub(super) request_ended: bool,
    /// Bytes of the request's body.
    pub(super) request_bytes: u64,
    pub(super) prompt: PromptState,
    pub(super) status: Option<StatusCode>,
    pub(super) decoder: ContentDecoder,
    pub(super) body: MeteredBody,
    pub(super) bounds: Bounds,
    pub(super) overloaded: bool,
    pub(super) left: Option<Left>,
    pub(super) caller_idle: bool,
    /// Frames of its session were not read.
    pub(super) frames: FramesRead,
    pub(super) ended: Option<Ending>,
}

impl Meter {
    /// A meter for a call whose draft names caller and target.
    pub fn new(draft: impl Into<Arc<Usage>>, rules: Rules) -> Meter {
        let draft = draft.into();
        let bounds = Bounds::default();
        let body = MeteredBody::new(draft.target.api, StatusCode::OK, &HeaderMap::new(), false, bounds);
        Meter {
            include_usage: draft.request.include_usage,
            injection: None,
            request: RequestReader::new(&Representation::default(), draft.target.api),
            draft,
            served: Served::default(),
            rules,
            blind: false,
            treatment: Treatment::Metered,
            assumed: None,
            facts: RequestFacts::default(),
            request_ended: false,
            request_bytes: 0,
            prompt: PromptState::Waiting,
            status: None,
            decoder: ContentDecoder::default(),
            body,
            bounds,
            overloaded: false,
            left: None,
            caller_idle: false,
            frames: FramesRead::default(),
            ended: None,
        }
    }

    /// A meter that never looks at what the service reports: it says what would be said without.
    #[must_use]
    pub fn blind(mut self) -> Meter {
        self.blind = true;
        self
    }

    /// A meter for a call whose numbers are not its own, or of which only what is reported is known:
    /// where they are `null` the reason is `unmetered`.
    #[must_use]
    pub fn treated(mut self, treatment: Treatment) -> Meter {
        self.treatment = treatment;
        if treatment.is_poll() {
            self.bounds = Bounds::NONE; // nothing of it is counted
        }
        self
    }

    /// A meter for a call whose request's body is this.
    #[must_use]
    pub fn reading(mut self, representation: &Representation) -> Meter {
        self.request = RequestReader::new(representation, self.draft.target.api);
        self
    }

    /// Names the model to go by where the response names none, such as one known for the deployment.
    #[must_use]
    pub fn assuming(mut self, model: Option<SmolStr>) -> Meter {
        self.assumed = model;
        self
    }

    /// Holds so much of a response and no more.
    #[must_use]
    pub fn holding(mut self, bounds: Bounds) -> Meter {
        self.bounds = bounds;
        self
    }

    /// The next bytes of the request body.
    pub fn request_bytes(&mut self, bytes: &[u8]) {
        self.request_bytes = self.request_bytes.saturating_add(bytes.len() as u64);
        self.request.push(bytes);
    }

    /// The request body has ended; from here on [`Meter::prompt_need`] decides.
    pub fn request_end(&mut self) {
        self.request_ended = true;
        self.facts = self.request.facts(true);
    }

    /// The request body says more than could be read as it went by: [`Representation::facts`] finds it,
    /// off the data path.
    pub fn is_request_unread(&self) -> bool {
        self.request.is_unread()
    }

    /// The facts that were found there.
    pub fn request_read(&mut self, facts: RequestFacts) {
        self.facts = facts;
    }

    /// The request came as a message of a session, of so many bytes, and says this. Its prompt is not kept.
    pub fn asked(&mut self, facts: RequestFacts, bytes: u64) {
        (self.facts, self.request_bytes, self.request_ended) = (facts, bytes, true);
        self.prompt = PromptState::Unseen;
    }

    /// Takes in the names that a session gives itself.
    pub fn named(&mut self, names: &SessionNames) {
        let draft = Arc::make_mut(&mut self.draft);
        draft.target.model.clone_from(&names.model);
        draft.ids.session_id.clone_from(&names.id);
        draft.request.error_type.clone_from(&names.error);
    }

    /// Some frames of the session could not be read.
    pub fn frames_read(&mut self, frames: FramesRead) {
        self.frames = frames;
    }

    /// The head of the response.
    pub fn response_head(&mut self, status: StatusCode, headers: &HeaderMap) {
        if !self.request_ended {
            self.facts = self.request.facts(false);
        }
        self.status = Some(status);
        self.decoder = ContentDecoder::new(headers);
        // Whether a stream was asked for may be unknown: then the response's first bytes say what it is.
        let stream = self.facts.stream != Some(false);
        let api = self.draft.target.api;
        self.body = if self.treatment == Treatment::PollOutput {
            MeteredBody::batch_output(api, status)
        } else {
            MeteredBody::new(api, status, headers, stream, self.bounds)
        };
        self.body.response.facts.results_wanted = self.facts.n.unwrap_or(1);
        self.served = Served::of(headers);
    }

    /// The next bytes of the response body. Stops after `budget_bytes` of decoded bytes and
    /// returns how many of `bytes` it took; the caller shows the rest later, in order. It may take
    /// none and yet have worked: a coding can owe more output than the budget allows.
    pub fn response_bytes(&mut self, bytes: &[u8], budget_bytes: usize) -> usize {
        self.decoder.push(bytes, budget_bytes, |decoded| self.body.push(decoded))
    }

    /// The response's bytes are read at hundreds of megabytes a second and more: nothing of them is counted
    /// before the end, or ever.
    pub fn is_light(&self) -> bool {
        self.body.is_light()
    }

    /// Work that the response has caused so far, in bytes: those of its body, and those that undoing its
    /// coding read and gave.
    pub fn work_bytes(&self) -> u64 {
        self.decoder.work_bytes()
    }

    /// Bytes that the next piece of the response may make it read at once, on top of the piece itself.
    pub fn held_bytes(&self) -> usize {
        self.body.held_bytes()
    }

    /// Memory that is held of the response, beside what every meter takes: [`Meter::skim`] lets go of it.
    pub fn memory_bytes(&self) -> usize {
        self.body.memory_bytes()
    }

    /// Bytes of text that [`Meter::progress`] and [`Meter::settle`] count anew: much is better counted
    /// off the data path.
    pub fn uncounted_bytes(&self) -> usize {
        self.body.response.reader.uncounted_bytes()
    }

    /// There is no time to count: from here on the response is read only for what it reports, and what was
    /// held of it is let go of. Its own count is unknown, reason `meter_overload`.
    pub fn skim(&mut self) {
        self.body = self.body.skimming();
        self.overloaded = true;
    }

    /// Text of the response may have been left out of what is shown.
    pub fn left_out(&mut self) {
        self.body.response.too_long = true;
    }

    /// The meter goes to another thread to count: who stays behind reads on for what the response reports,
    /// and shows the meter what that gives back. Until [`Meter::take_back`].
    pub fn lend(&mut self) -> Skim {
        Skim { decoder: std::mem::take(&mut self.decoder), body: self.body.skimming() }
    }

    /// The meter is back. `counted`: it has been shown all that went by; else it goes on from where the
    /// skim is, as after [`Meter::skim`].
    pub fn take_back(&mut self, skim: Skim, counted: bool) {
        self.decoder = skim.decoder;
        if !counted {
            self.body = skim.body;
            self.overloaded = true;
        }
    }

    /// A delta with text, a refusal or a tool call has been seen.
    pub fn first_token_seen(&self) -> bool {
        self.body.response.reader.has_begun()
    }

    /// Who asked for usage, if not the caller: the sidecar, or after a refusal no one.
    pub fn include_usage(&mut self, who: IncludeUsage) {
        self.include_usage = who;
    }

    /// How asking for usage went, where it did not go as planned. [`Injection::Visible`]: usage is not
    /// taken out, should it come.
    pub fn injection(&mut self, injection: Injection) {
        self.injection = Some(injection);
    }

    /// The whole response has been seen, to its end marker.
    pub fn is_whole(&self) -> bool {
        self.body.response.whole
    }

    /// The caller left before the response was whole; what was seen since reached no one.
    pub fn caller_left(&mut self, left: Left) {
        self.left = Some(left);
    }

    /// The caller made no progress, and we had no more patience: it has not left by itself.
    pub fn caller_idle(&mut self) {
        self.caller_idle = true;
    }

    /// Bytes that [`Meter::end`] has yet to read, all at once: much is better read off the data path.
    pub fn unread_bytes(&self) -> usize {
        self.body.unread_bytes()
    }

    /// The call has ended: reads what could only be read as a whole. From here on
    /// [`Meter::prompt_need`] never says `PromptNeed::Keep`. A second call does nothing.
    pub fn end(&mut self, ending: Ending) {
        if self.ended.is_some() {
            return;
        }
        self.ended = Some(ending);
        let cleanly = ending == Ending::Eof;
        if !self.request_ended {
            self.facts = self.request.facts(false);
        }
        if self.status.is_some() {
            let coded_to_the_end = self.decoder.finish().is_ok();
            self.body.finish(cleanly && coded_to_the_end);
            self.body.response.parse_errors +=
                u64::from(cleanly && !coded_to_the_end && !self.decoder.is_bad());
        }
    }
}
