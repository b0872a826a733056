//! The parts of the event beside the numbers: the call's target, its ids, how it streamed.

use smol_str::SmolStr;

use super::call::Meter;
use super::read::label;
use crate::usage::{IncludeUsage, Injection, Outcome, Target, Usage};

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
        request.choices = u32::try_from(response.reader.choice_count()).ok().filter(|count| *count > 0);
        self.describe_target(&mut usage.target);
        let ids = &mut usage.ids;
        ids.response_id.clone_from(&stated.id);
        ids.upstream_apim_request_id.clone_from(&self.served.apim_request_id);
        ids.upstream_request_id.clone_from(&self.served.request_id);
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

    fn model_requested(&self) -> Option<SmolStr> {
        self.facts.model.as_deref().and_then(label)
    }

    fn describe_target(&self, target: &mut Target) {
        let (stated, served) = (&self.body.response.facts, &self.served);
        target.model_requested = self.model_requested();
        target.deployment = self.deployment();
        target.model.clone_from(&stated.model);
        target.service_tier.clone_from(&stated.service_tier);
        target.deployment_served.clone_from(&served.deployment);
        target.spillover_from.clone_from(&served.spillover_from);
        target.region.clone_from(&served.region);
    }
}
