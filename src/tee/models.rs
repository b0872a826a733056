//! The model that each deployment's responses named last.
//!
//! A deployment's name need not tell its model, and a response that is no stream names it at its end. So a
//! call that a crash cuts off before that would not know its prompt's count. This is used for checkpoints
//! alone: the event of a call never depends on other calls.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Mutex, PoisonError};

use smol_str::{SmolStr, StrExt};

use metering::prompt;
use metering::usage::{Target, Usage};

/// Deployments that are remembered: names come from callers. The first ones stay, since they are most
/// likely the ones that are really there: a name is only remembered once the service has answered to it.
const DEPLOYMENTS_MAX: usize = 1_024;

/// The model of each resource and deployment.
#[derive(Debug, Default)]
pub(super) struct ModelsByDeployment(Mutex<HashMap<(SmolStr, SmolStr), SmolStr>>);

impl ModelsByDeployment {
    /// A call is over: its response may have named a model.
    pub(super) fn learn(&self, usage: &Usage) {
        let target = &usage.target;
        let (Some(model), Some(key)) = (&target.model, key(target)) else { return };
        let mut models = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let full = models.len() >= DEPLOYMENTS_MAX;
        match models.entry(key) {
            Entry::Occupied(known) if known.get() == model => {}
            Entry::Vacant(_) if full => {}
            entry if prompt::rules(target.api, model).is_some() => {
                entry.insert_entry(model.clone());
            }
            _ => {}
        }
    }

    /// The model that most likely stands behind a target.
    pub(super) fn of(&self, target: &Target) -> Option<SmolStr> {
        let models = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        models.get(&key(target)?).cloned()
    }
}

fn key(target: &Target) -> Option<(SmolStr, SmolStr)> {
    // Azure disregards the case of a deployment's name, and the event has the service's spelling.
    Some((target.resource.clone(), target.deployment.as_ref()?.to_ascii_lowercase_smolstr()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use metering::caller::{Caller, Trust};
    use metering::usage::Api;

    fn usage(resource: &str, deployment: &str, model: Option<&str>) -> Usage {
        let target = Target {
            api: Api::ChatCompletions,
            resource: resource.into(),
            deployment: Some(deployment.into()),
            model: model.map(SmolStr::new),
            ..Target::default()
        };
        Usage::draft(Caller::unattributed(Trust::None), target)
    }

    #[test]
    fn a_deployment_has_the_model_that_its_answers_named_last_and_names_are_bounded() {
        let models = ModelsByDeployment::default();
        let of = |resource: &str, deployment: &str| models.of(&usage(resource, deployment, None).target);
        for model in [None, Some("unheard-of"), Some("gpt-4-0613"), Some("gpt-4o-2024-11-20"), None] {
            models.learn(&usage("a", "mine", model));
        }
        models.learn(&usage("a", "mine", Some("unheard-of")));
        assert_eq!(of("a", "mine").as_deref(), Some("gpt-4o-2024-11-20"));
        assert_eq!((of("b", "mine"), of("a", "yours")), (None, None));
        for n in 0..2 * DEPLOYMENTS_MAX {
            models.learn(&usage("a", &n.to_string(), Some("gpt-4o")));
        }
        assert_eq!(models.0.lock().unwrap().len(), DEPLOYMENTS_MAX);
        models.learn(&usage("a", "mine", Some("gpt-4-0613")));
        assert_eq!(of("a", "mine").as_deref(), Some("gpt-4-0613"), "a known one is still followed");
    }
}
