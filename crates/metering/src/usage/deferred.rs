//! Work that goes on after the call that began it: the call is announced by an event without numbers, and a bill
//! follows, once.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use super::deferral::DeferredId;
use super::event::{Accounting, Usage};
use super::reason::Reason;
use super::tokens::{Tokens, Units};
use super::vocabulary::{Quality, Side, Source};
use crate::caller::Caller;

/// A look at work that another call began, and what it has shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BillSeen {
    /// The bill of the work.
    Of(DeferredId),
    /// The same, in the response to a call that breaks the work off: where the bill is known already, the call has an
    /// event that says 0.
    ByCancel(DeferredId),
    /// The work is done, and its bill stands in this file.
    InFile {
        /// The work.
        work: DeferredId,
        /// The file's id.
        file: SmolStr,
    },
    /// The bill of the work whose output this file is.
    OfFile {
        /// The file's id.
        file: SmolStr,
    },
}

/// The call that began some work: whoever sees the bill first has it charged to this caller.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Beginner {
    /// Who pays.
    pub caller: Caller,
    /// As in [`super::Target::project`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub project: Option<SmolStr>,
    /// As in [`super::Target::agent`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent: Option<SmolStr>,
    /// As in [`super::Target::gateway_deployment`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gateway_deployment: Option<SmolStr>,
    /// As in [`super::Target::deployment`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deployment: Option<SmolStr>,
    /// As in [`super::Target::model_requested`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model_requested: Option<SmolStr>,
    /// As in [`super::Timing::started_at`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Timestamp>,
}

impl Beginner {
    /// The call that this usage is of.
    pub fn of(usage: &Usage) -> Beginner {
        Beginner {
            caller: usage.caller.clone(),
            project: usage.target.project.clone(),
            agent: usage.target.agent.clone(),
            gateway_deployment: usage.target.gateway_deployment.clone(),
            deployment: usage.target.deployment.clone(),
            model_requested: usage.target.model_requested.clone(),
            started_at: usage.timing.started_at,
        }
    }

    /// The same without what only splits a bill further.
    #[must_use]
    pub fn without_second_keys(mut self) -> Beginner {
        self.caller.tags.clear();
        Beginner { project: None, agent: None, gateway_deployment: None, ..self }
    }
}

impl Usage {
    /// The same call, charged to the one that began the work.
    #[must_use]
    pub fn begun_by(mut self, beginner: Beginner) -> Usage {
        self.caller = beginner.caller;
        self.target.project = beginner.project.or(self.target.project);
        self.target.agent = beginner.agent.or(self.target.agent);
        self.target.gateway_deployment = beginner.gateway_deployment.or(self.target.gateway_deployment);
        self.target.deployment = beginner.deployment.or(self.target.deployment);
        self.target.model_requested = beginner.model_requested.or(self.target.model_requested);
        self.timing.started_at = beginner.started_at.or(self.timing.started_at);
        self
    }

    /// The same call without its numbers, which are another event's: it announces work.
    #[must_use]
    pub fn announcing(self) -> Usage {
        let mut usage = self.without_numbers();
        usage.accounting.add_reason(Side::Input, Reason::Deferred);
        usage.accounting.add_reason(Side::Output, Reason::Deferred);
        usage
    }

    /// The same call as one that costs nothing.
    #[must_use]
    pub fn not_billed(self) -> Usage {
        let mut usage = self.without_numbers();
        usage.tokens = Tokens { input: Some(0), output: Some(0), ..Tokens::default() };
        let accounting = &mut usage.accounting;
        (accounting.input_source, accounting.output_source) = (Source::Computed, Source::Computed);
        (accounting.input_quality, accounting.output_quality) = (Quality::Exact, Quality::Exact);
        (accounting.computed_input, accounting.computed_output) = (Some(0), Some(0));
        accounting.add_reason(Side::Input, Reason::NotBilled);
        accounting.add_reason(Side::Output, Reason::NotBilled);
        usage
    }

    fn without_numbers(mut self) -> Usage {
        (self.tokens, self.tools, self.units) = (Tokens::default(), Vec::new(), Units::default());
        let rules = std::mem::take(&mut self.accounting.rules);
        self.accounting = Accounting { rules, drained: self.accounting.drained, ..Accounting::default() };
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::caller::Trust;
    use crate::usage::Target;

    fn usage() -> Usage {
        let target = Target { deployment: Some("d".into()), ..Target::default() };
        let mut usage = Usage::draft(Caller::unattributed(Trust::None), target);
        usage.tokens =
            Tokens { input: Some(30), output: Some(2_500), input_cached: Some(8), ..Tokens::default() };
        usage.units.video_ms = Some(8_000);
        usage.accounting.input_source = Source::Reported;
        usage.accounting.reported_output = Some(2_500);
        usage.accounting.add_reason(Side::Output, Reason::TotalDiffers);
        usage
    }

    #[test]
    fn an_event_whose_numbers_are_anothers_has_none() {
        let told = usage().announcing();
        assert_eq!((&told.tokens, told.units), (&Tokens::default(), Units::default()));
        assert_eq!(told.accounting.reasons, ["input:deferred", "output:deferred"]);
        assert_eq!((told.accounting.input_source, told.accounting.reported_output), (Source::Unknown, None));
        let free = usage().not_billed();
        assert_eq!(
            (free.tokens.input, free.tokens.output, free.tokens.input_cached),
            (Some(0), Some(0), None)
        );
        assert_eq!(free.accounting.reasons, ["input:not_billed", "output:not_billed"]);
    }

    #[test]
    fn a_bill_is_charged_to_the_call_that_began_the_work() {
        let mut begun = usage();
        begun.caller.id = "a".into();
        begun.caller.tags = [("user".into(), "tag-1".into())].into();
        begun.target.project = Some("p".into());
        begun.target.gateway_deployment = Some("g".into());
        begun.timing.started_at = Some(Timestamp::UNIX_EPOCH);
        let beginner = Beginner::of(&begun);
        let stored: Beginner = serde_json::from_str(&serde_json::to_string(&beginner).unwrap()).unwrap();
        assert_eq!(stored, beginner);
        let mut poll = usage();
        (poll.caller.id, poll.target.deployment) = ("b".into(), None);
        poll.caller.tags = [("user".into(), "tag-2".into())].into();
        (poll.target.project, poll.target.agent) = (Some("q".into()), Some("clerk".into()));
        let alone = poll.clone().begun_by(stored.clone().without_second_keys());
        assert_eq!((&*alone.caller.id, alone.caller.tags.len()), ("a", 0), "never those of another's call");
        let bill = poll.begun_by(stored);
        assert_eq!((&*bill.caller.id, bill.target.deployment.as_deref()), ("a", Some("d")));
        assert_eq!(bill.caller.tags, begun.caller.tags);
        let keys = [bill.target.project, bill.target.gateway_deployment, bill.target.agent];
        assert_eq!(
            keys,
            ["p", "g", "clerk"].map(|key| Some(key.into())),
            "the response may have named the agent"
        );
        assert_eq!((bill.timing.started_at, bill.tokens.output), (Some(Timestamp::UNIX_EPOCH), Some(2_500)));
    }
}
