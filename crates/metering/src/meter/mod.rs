//! One call's accounting: what has been seen, and what it costs.
//!
//! No I/O, no clock, no panic on any bytes. The data path shows a [`Meter`] each piece of the call as
//! it goes by and asks it at the end for the usage event. What the service reports wins; where it
//! reports nothing, the rules of [`crate::prompt`] and of the service's answers are applied.
//!
//! Order of calls: [`Meter::request_bytes`]\*, [`Meter::request_end`], [`Meter::response_head`],
//! [`Meter::response_bytes`]\*, [`Meter::end`], [`Meter::settle`]; request and response may overlap.
//! [`Meter::prompt_need`] can be asked at any time, and must be asked after [`Meter::end`].

mod answer;
mod billing;
mod body;
mod charged;
mod check;
mod decode;
mod early;
mod ends;
mod items;
mod output;
mod request;
mod seen;
mod settle;
mod shape;
mod skim;
mod text;
mod treatment;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, StatusCode};
use smol_str::SmolStr;

use crate::chunk::{Reported, RequestFacts};
use crate::usage::{Api, IncludeUsage, Injection, Progress, Reason, Usage};

use answer::label;
use billing::Billing;
use body::Body;
use request::RequestReader;

pub use self::body::Bounds;
pub use self::check::{Check, Checks, PromptSample};
pub use self::request::Representation;
pub use self::skim::Skim;
pub use self::treatment::Treatment;
pub use crate::prompt::{BillPart, PromptCount};

// Where an answer's head tells what served it.
const APIM_REQUEST_ID: HeaderName = HeaderName::from_static("apim-request-id");
const DEPLOYMENT_NAME: HeaderName = HeaderName::from_static("x-ms-deployment-name");
const REGION: HeaderName = HeaderName::from_static("x-ms-region");
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const SPILLOVER_FROM: HeaderName = HeaderName::from_static("x-ms-spillover-from-deployment");

/// What the rules need to know that the exchange does not say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rules {
    /// The service bills the token that ends a turn (Azure does, api.openai.com does not).
    pub end_of_turn: bool,
}

/// How a call ended, as the data path saw it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// The response body ended as its framing promised.
    Eof,
    /// The client left.
    ClientDisconnect,
    /// No answer could be had, or it broke off.
    UpstreamError,
    /// One of our time limits.
    Timeout,
    /// The process is stopping.
    Shutdown,
    /// Refused before it was sent.
    Rejected,
}

/// What became of an answer whose caller left before its end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Left {
    /// It was read on.
    pub drained: bool,
    /// The bound that ended that, or that kept it from beginning.
    pub stopped: Option<Reason>,
}

/// What is to be done with the request body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PromptNeed {
    /// Let go of it: the service reported, or nothing is computed for this call.
    No,
    /// Not known yet: keep it.
    Keep,
    /// Count it under this model's rules, off the data path; then let go of it.
    Count {
        /// The model that the answer named.
        model: SmolStr,
    },
}

/// The request's side of the count.
#[derive(Debug)]
enum Prompt {
    Waiting,
    NotKept,
    /// Nobody had the time to count it.
    Overloaded,
    /// Counted by this model's rules, for as long as the call is open.
    Early {
        count: PromptCount,
        by: SmolStr,
    },
    Counted(PromptCount),
}

/// What the head of the answer tells of who served the call.
#[derive(Debug, Default)]
struct Served {
    deployment: Option<SmolStr>,
    spillover_from: Option<SmolStr>,
    region: Option<SmolStr>,
    apim_request_id: Option<SmolStr>,
    request_id: Option<SmolStr>,
}

/// One call's accounting.
#[derive(Debug)]
pub struct Meter {
    /// Shared with whoever else tells of the call; what is found out stands beside it.
    draft: Arc<Usage>,
    /// Who asked for usage, if not the caller.
    include_usage: IncludeUsage,
    /// How asking for it went.
    injection: Option<Injection>,
    served: Served,
    rules: Rules,
    /// Usage objects are not looked at: what would we say without them?
    blind: bool,
    /// Whose numbers the call has.
    treatment: Treatment,
    /// The model to go by where the answer names none.
    assumed: Option<SmolStr>,
    request: RequestReader,
    facts: RequestFacts,
    request_ended: bool,
    /// Bytes of the request's body.
    request_bytes: u64,
    prompt: Prompt,
    status: Option<StatusCode>,
    decoder: decode::Decoder,
    body: Body,
    bounds: Bounds,
    overloaded: bool,
    left: Option<Left>,
    caller_idle: bool,
    ended: Option<Ending>,
}

impl Meter {
    /// A meter for a call whose draft names caller and target.
    pub fn new(draft: impl Into<Arc<Usage>>, rules: Rules) -> Meter {
        let draft = draft.into();
        let bounds = Bounds::default();
        let body = Body::new(draft.target.api, StatusCode::OK, &HeaderMap::new(), false, bounds);
        Meter {
            include_usage: draft.request.include_usage,
            injection: None,
            draft,
            served: Served::default(),
            rules,
            blind: false,
            treatment: Treatment::Metered,
            assumed: None,
            request: RequestReader::default(),
            facts: RequestFacts::default(),
            request_ended: false,
            request_bytes: 0,
            prompt: Prompt::Waiting,
            status: None,
            decoder: decode::Decoder::default(),
            body,
            bounds,
            overloaded: false,
            left: None,
            caller_idle: false,
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
        self
    }

    /// A meter for a call whose request's body is this.
    #[must_use]
    pub fn reading(mut self, representation: &Representation) -> Meter {
        self.request = RequestReader::new(representation);
        self
    }

    /// Names the model to go by where the answer names none, such as one known for the deployment.
    #[must_use]
    pub fn assuming(mut self, model: Option<SmolStr>) -> Meter {
        self.assumed = model;
        self
    }

    /// Holds so much of an answer and no more.
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

    /// What was found there.
    pub fn request_read(&mut self, facts: RequestFacts) {
        self.facts = facts;
    }

    /// The head of the answer.
    pub fn response_head(&mut self, status: StatusCode, headers: &HeaderMap) {
        if !self.request_ended {
            self.facts = self.request.facts(false);
        }
        self.status = Some(status);
        self.decoder = decode::Decoder::new(headers);
        // Whether a stream was asked for may be unknown: then the answer's first bytes say what it is.
        let stream = self.facts.stream != Some(false);
        self.body = Body::new(self.draft.target.api, status, headers, stream, self.bounds);
        let value = |name: &HeaderName| headers.get(name).and_then(|value| label(value.to_str().ok()?));
        self.served = Served {
            deployment: value(&DEPLOYMENT_NAME),
            spillover_from: value(&SPILLOVER_FROM).or_else(|| spilled_from(headers)),
            region: value(&REGION),
            apim_request_id: value(&APIM_REQUEST_ID),
            request_id: value(&REQUEST_ID),
        };
    }

    /// The next bytes of the response body. Stops after `budget_bytes` of decoded bytes and
    /// returns how many of `bytes` it took; the caller shows the rest later, in order. It may take
    /// none and yet have worked: a coding can owe more output than the budget allows.
    pub fn response_bytes(&mut self, bytes: &[u8], budget_bytes: usize) -> usize {
        self.decoder.push(bytes, budget_bytes, |decoded| self.body.push(decoded))
    }

    /// The answer's bytes are read at hundreds of megabytes a second and more: nothing of them is counted
    /// before the end, or ever.
    pub fn is_light(&self) -> bool {
        self.body.is_light()
    }

    /// Work that the answer has caused so far, in bytes: those of its body, and those that undoing its
    /// coding read and gave.
    pub fn work_bytes(&self) -> u64 {
        self.decoder.work_bytes()
    }

    /// Bytes that the next piece of the answer may make it read at once, on top of the piece itself.
    pub fn held_bytes(&self) -> usize {
        self.body.held_bytes()
    }

    /// Memory that is held of the answer, beside what every meter takes: [`Meter::skim`] lets go of it.
    pub fn memory_bytes(&self) -> usize {
        self.body.memory_bytes()
    }

    /// Bytes of text that [`Meter::progress`] and [`Meter::settle`] count anew: much is better counted
    /// off the data path.
    pub fn uncounted_bytes(&self) -> usize {
        self.body.seen.answer.uncounted_bytes()
    }

    /// Nobody has the time to count: from here on the answer is read only for what it reports, and what was
    /// held of it is let go of. Its own count is unknown, reason `meter_overload`.
    pub fn skim(&mut self) {
        self.body = self.body.skimming();
        self.overloaded = true;
    }

    /// The meter goes to another thread to count: who stays behind reads on for what the answer reports,
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
        self.body.seen.answer.has_begun()
    }

    /// Who asked for usage, if not the caller: the sidecar, or after a refusal nobody.
    pub fn include_usage(&mut self, who: IncludeUsage) {
        self.include_usage = who;
    }

    /// How asking for usage went, where it did not go as planned. [`Injection::Visible`]: what answers is
    /// not taken out, should it come.
    pub fn injection(&mut self, injection: Injection) {
        self.injection = Some(injection);
    }

    /// The whole answer has been seen, to its end marker.
    pub fn is_whole(&self) -> bool {
        self.body.seen.whole
    }

    /// The caller left before the answer was whole; what was seen since, nobody got.
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
    /// [`Meter::prompt_need`] never says [`PromptNeed::Keep`]. A second call does nothing.
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
            self.body.seen.parse_errors += u64::from(cleanly && !coded_to_the_end && !self.decoder.is_bad());
        }
    }

    /// What is to be done with the request body. Changes as the call goes on; worth asking after each
    /// piece of the answer while it says [`PromptNeed::Keep`].
    pub fn prompt_need(&self) -> PromptNeed {
        let settled = !matches!(self.prompt, Prompt::Waiting | Prompt::Early { .. });
        let reported = self.reported().is_some_and(|reported| reported.input.is_some());
        if settled || reported || !self.is_computed() {
            return PromptNeed::No;
        }
        if !self.request_ended {
            return if self.ended.is_some() { PromptNeed::No } else { PromptNeed::Keep };
        }
        let count =
            |model: Option<SmolStr>| model.map_or(PromptNeed::No, |model| PromptNeed::Count { model });
        match self.billing(self.ended) {
            Billing::Nothing | Billing::MostLikelyNothing | Billing::Unmetered => PromptNeed::No,
            Billing::PerhapsPrompt | Billing::PerhapsBoth => count(self.counting_model()),
            Billing::Answered if self.ended.is_some() => count(self.counting_model()),
            Billing::Answered if self.body.is_stream() && (!self.usage_awaited() || self.body.seen.done) => {
                match self.body.seen.answer.model {
                    Some(_) => count(self.counting_model()),
                    None => PromptNeed::Keep,
                }
            }
            Billing::Answered => PromptNeed::Keep,
        }
    }

    /// The stream will end with the service's usage, if nothing goes wrong.
    fn usage_awaited(&self) -> bool {
        let always = self.draft.target.api == Api::Responses;
        always || self.facts.include_usage || self.include_usage == IncludeUsage::Injected
    }

    /// The prompt could not be kept: the input is unknown, reason `prompt_not_kept`.
    pub fn prompt_not_kept(&mut self) {
        self.prompt = Prompt::NotKept;
    }

    /// Nobody has the time to count the prompt: the input is unknown, reason `meter_overload`.
    pub fn prompt_overloaded(&mut self) {
        self.prompt = Prompt::Overloaded;
    }

    /// The service answered with an error: if it bills anything, then the prompt, and that is not certain.
    pub fn is_refused(&self) -> bool {
        self.status.is_some() && self.billing(self.ended) != Billing::Answered
    }

    /// The prompt has been counted. Its parts are not kept: they are returned, as the date of the answer
    /// has them.
    pub fn prompt_counted(&mut self, count: PromptCount) -> Vec<BillPart> {
        let (answer, functions) = (&self.body.seen.answer, self.facts.functions > 0);
        let mut count = match (&answer.model, answer.created) {
            (Some(model), Some(created)) => {
                count.answered_at(self.draft.target.api, model, created, functions)
            }
            _ => count,
        };
        let parts = std::mem::take(&mut count.parts);
        self.prompt = Prompt::Counted(count);
        parts
    }

    /// What our count of the answer is made of, whatever the service says of it. Empty if there is none.
    pub fn output_parts(&self) -> Vec<BillPart> {
        self.computed_output().parts
    }

    /// What is known now: the checkpoint of an open call. Its numbers are lower bounds unless the
    /// service has reported.
    pub fn progress(&self) -> (Progress, Checks) {
        let (usage, checks) = self.assess(None);
        let progress = Progress {
            deployment: usage.target.deployment,
            model_requested: usage.target.model_requested,
            model: usage.target.model,
            response_id: usage.ids.response_id,
            request: usage.request,
            tokens: usage.tokens,
            tools: usage.tools,
            units: usage.units,
            accounting: usage.accounting,
            stream: usage.stream,
        };
        (progress, checks)
    }

    /// The call's final accounting; calls [`Meter::end`] if nobody has. `timing` is the caller's to
    /// fill in, and `request.status` where no answer came.
    pub fn settle(self, ending: Ending) -> Usage {
        self.settle_and_check(ending).0
    }

    /// As [`Meter::settle`], with what the call says of the rules.
    pub fn settle_and_check(mut self, ending: Ending) -> (Usage, Checks) {
        self.end(ending);
        self.assess(self.ended)
    }

    /// What a count of the prompt can be held against, now that the service has reported.
    pub fn prompt_sample(&self) -> Option<PromptSample> {
        let reported = self.reported()?.input?;
        let answered = self.status.is_some_and(|status| status.is_success());
        let known = self.body.seen.answer.rules.is_some() && self.is_computed();
        let waiting = matches!(self.prompt, Prompt::Waiting | Prompt::Early { .. }) && self.request_ended;
        (answered && known && waiting).then(|| PromptSample { target: self.target(), reported })
    }

    /// The service's word, if it counts.
    fn reported(&self) -> Option<&Reported> {
        let seen = &self.body.seen;
        // Zeros everywhere are no word, but where the service bills the call itself and it is whole.
        let by_call = matches!(self.draft.target.api, Api::Images | Api::Audio);
        let zeros =
            seen.answer.zeros.as_deref().filter(|_| by_call && seen.whole && seen.answer.error.is_none());
        seen.answer.reported.as_ref().or(zeros).filter(|_| !self.blind && self.reports())
    }

    /// What is reported is the call's own.
    fn reports(&self) -> bool {
        matches!(self.treatment, Treatment::Metered | Treatment::ReportedOnly)
    }

    /// The answer does not say which model gave it. In Responses Azure says the deployment's name.
    fn is_model_assumed(&self) -> bool {
        let answer = &self.body.seen.answer;
        let unknown = self.draft.target.api == Api::Responses && answer.rules.is_none();
        answer.model.is_none() || (unknown && self.assumed_model().is_some())
    }

    /// The model whose rules the prompt is counted by.
    fn counting_model(&self) -> Option<SmolStr> {
        if self.is_model_assumed() { self.assumed_model() } else { self.body.seen.answer.model.clone() }
    }

    /// The model to go by where no answer names one: the one that we were told, else the one that the
    /// request asks for, else one that has the deployment's name.
    fn assumed_model(&self) -> Option<SmolStr> {
        let names = [&self.assumed, &self.facts.model, &self.draft.target.deployment];
        names
            .into_iter()
            .flatten()
            .find(|name| crate::prompt::rules(self.draft.target.api, name).is_some())
            .cloned()
    }
}

/// The other spelling of `x-ms-spillover-from-deployment`, which Azure's documentation has: the
/// deployment stands in the field's name.
fn spilled_from(headers: &HeaderMap) -> Option<SmolStr> {
    headers.keys().find_map(|name| label(name.as_str().strip_prefix("x-ms-spillover-from-")?))
}

/// Counts the prompt of a request under a model's rules. Heavy: never on the data path.
pub fn count_prompt(api: Api, body: &[Bytes], model: &str) -> PromptCount {
    match body {
        [whole] => crate::prompt::count(api, whole, model),
        pieces => crate::prompt::count(api, &pieces.concat(), model),
    }
}
