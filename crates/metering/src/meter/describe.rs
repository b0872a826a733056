//! The parts of the event beside the numbers: the call's target, its ids, how it streamed.

use smol_str::SmolStr;

use super::call::Meter;
use super::read::label;
use crate::api::Treatment;
use crate::usage::{IncludeUsage, Injection, Outcome, Request, Target, Usage};

/// `stream.finish_reasons` holds at most this many.
const FINISH_REASONS_MAX: usize = 16;

impl Meter {
    /// Everything but the numbers.
    pub(super) fn describe(&self, usage: &mut Usage, outcome: Option<Outcome>) {
        let (response, stated) = (&self.body.response, &self.body.response.facts);
        let request = &mut usage.request;
        request.stream = self.facts.stream;
        request.include_usage =
            if self.facts.include_usage { IncludeUsage::Client } else { self.include_usage };
        request.injection = self.describe_injection();
        if let Some(status) = self.status {
            request.status = status.as_u16();
        }
        request.error_type =
            stated.error.clone().filter(|class| !class.is_empty()).or(request.error_type.take());
        self.describe_size(request);
        request.choices = u32::try_from(response.reader.choice_count()).ok().filter(|count| *count > 0);
        self.describe_target(&mut usage.target);
        let ids = &mut usage.ids;
        ids.response_id = stated.id.clone().or(ids.response_id.take());
        ids.upstream_apim_request_id.clone_from(&self.served.apim_request_id);
        ids.upstream_request_id.clone_from(&self.served.request_id);
        if self.treatment == Treatment::Elsewhere {
            ids.session_id.clone_from(&self.served.location_id);
        }
        let stream = &mut usage.stream;
        stream.outcome = outcome.unwrap_or_default();
        stream.done_seen = stated.done;
        stream.events = response.events;
        stream.parse_errors =
            response.parse_errors + u64::from(self.decoder.is_bad()) + u64::from(stated.implausible);
        let exceeds = self.reported().is_some_and(|reported| reported.part_exceeds);
        stream.parse_errors += u64::from(exceeds);
        stream.finish_reasons = response.reader.finish_reasons();
        stream.finish_reasons.truncate(FINISH_REASONS_MAX);
    }

    /// Size and quality of what is made: the response names them, else the request.
    fn describe_size(&self, request: &mut Request) {
        if !self.draft.target.api.has_size() {
            return;
        }
        let seen = self.body.response.reader.media();
        let named = |seen: Option<&SmolStr>, asked: Option<&SmolStr>| {
            seen.cloned().or_else(|| asked.and_then(|asked| label(asked)))
        };
        request.size = named(seen.and_then(|seen| seen.size.as_ref()), self.facts.size.as_ref());
        request.quality = named(seen.and_then(|seen| seen.quality.as_ref()), self.facts.quality.as_ref());
    }

    /// How asking for usage went, where it did not go as planned.
    fn describe_injection(&self) -> Option<Injection> {
        let passes_all = self.injection == Some(Injection::Visible);
        let visible = match self.include_usage {
            IncludeUsage::Injected if !self.facts.include_usage && self.body.is_stream() => {
                self.body.response.reader.usage_is_visible(passes_all)
            }
            _ => false,
        };
        if visible { Some(Injection::Visible) } else { self.injection.filter(|_| !passes_all) }
    }

    /// The target of the call, as far as request and response say.
    pub fn target(&self) -> Target {
        let mut target = self.draft.target.clone();
        self.describe_target(&mut target);
        target
    }

    /// The deployment in the path, or else the request's `model`. Azure disregards the case of a name, so
    /// of one that differs in case alone the service's own spelling stands: one deployment has one name.
    pub fn deployment(&self) -> Option<SmolStr> {
        let asked = self.draft.target.deployment.clone().or_else(|| self.model_requested())?;
        let served = self.served.deployment.as_ref();
        Some(served.filter(|served| served.eq_ignore_ascii_case(&asked)).unwrap_or(&asked).clone())
    }

    /// The service says that another deployment served the call than the one that was asked for, and that
    /// it did not spill over from that one.
    pub(super) fn is_served_by_another(&self) -> bool {
        let Some(asked) = self.deployment() else { return false };
        let is_asked = |name: &SmolStr| name.eq_ignore_ascii_case(&asked);
        let spilled = self.served.spillover_from.as_ref().is_some_and(is_asked);
        !spilled && self.served.deployment.as_ref().is_some_and(|served| !is_asked(served))
    }

    /// The agent that answers: the path names it, else the request, else the response.
    fn agent(&self) -> Option<SmolStr> {
        let target = &self.draft.target;
        if !target.api.may_name_agent() {
            return target.agent.clone();
        }
        let asked = || self.facts.agent.as_deref().and_then(label);
        target.agent.clone().or_else(asked).or_else(|| self.body.response.facts.agent.clone())
    }

    /// An agent answers. Its instructions, its tools and what it says to itself are with the service, so neither
    /// side of the call is all that is billed.
    pub(super) fn is_of_agent(&self) -> bool {
        let target = &self.draft.target;
        let named = || self.facts.agent.is_some() || self.body.response.facts.agent.is_some();
        target.api.may_name_agent() && (target.agent.is_some() || named())
    }

    /// The request's `model`, else the one that its path names.
    fn model_requested(&self) -> Option<SmolStr> {
        let in_body = self.facts.model.as_deref().and_then(label);
        in_body.or_else(|| self.draft.target.model_requested.clone())
    }

    fn describe_target(&self, target: &mut Target) {
        let (stated, served) = (&self.body.response.facts, &self.served);
        target.agent = self.agent();
        target.model_requested = self.model_requested();
        target.deployment = self.deployment();
        if stated.model.is_some() {
            target.model.clone_from(&stated.model); // else it is that of its session, if any
        }
        target.service_tier.clone_from(&stated.service_tier);
        target.speed.clone_from(&stated.speed);
        target.inference_geo.clone_from(&stated.inference_geo);
        target.deployment_served.clone_from(&served.deployment);
        target.spillover_from.clone_from(&served.spillover_from);
        target.region.clone_from(&served.region);
    }
}
