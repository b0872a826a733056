//! How many answers are passing now, by deployment.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use smol_str::SmolStr;

use super::Accounts;

/// The answers. There are as many names as deployments that answer at this moment, so this is
/// bounded by the calls in flight, whatever callers ask for.
#[derive(Debug, Default)]
pub struct Answers(Mutex<HashMap<SmolStr, u64>>);

impl Answers {
    /// Each deployment with its number of answers; `""` stands for those without one.
    pub fn by_deployment(&self) -> Vec<(String, u64)> {
        self.with(|answers| answers.iter().map(|(name, n)| (name.to_string(), *n)).collect())
    }

    fn begin(&self, deployment: &SmolStr) {
        self.with(|answers| *answers.entry(deployment.clone()).or_default() += 1);
    }

    fn end(&self, deployment: &str) {
        self.with(|answers| {
            if let Some(n) = answers.get_mut(deployment) {
                *n -= 1;
                if *n == 0 {
                    answers.remove(deployment);
                }
            }
        });
    }

    fn with<T>(&self, look: impl FnOnce(&mut HashMap<SmolStr, u64>) -> T) -> T {
        look(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// One answer, until it is dropped.
#[derive(Debug)]
pub(super) struct Pass {
    accounts: Arc<Accounts>,
    deployment: SmolStr,
}

impl Pass {
    /// An answer of this deployment passes.
    pub(super) fn new(accounts: &Arc<Accounts>, deployment: SmolStr) -> Pass {
        accounts.counters.answers.begin(&deployment);
        Pass { accounts: Arc::clone(accounts), deployment }
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        self.accounts.counters.answers.end(&self.deployment);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_counted_by_deployment_and_names_go_with_the_last_one() {
        let answers = Answers::default();
        let names = ["a", "b", "a", ""].map(SmolStr::new);
        names.iter().for_each(|name| answers.begin(name));
        let now = |answers: &Answers| {
            let mut now = answers.by_deployment();
            now.sort();
            now
        };
        let of = |pairs: &[(&str, u64)]| pairs.iter().map(|(n, c)| ((*n).to_owned(), *c)).collect::<Vec<_>>();
        assert_eq!(now(&answers), of(&[("", 1), ("a", 2), ("b", 1)]));
        answers.end(&names[0]);
        answers.end(&names[1]);
        assert_eq!(now(&answers), of(&[("", 1), ("a", 1)]));
        names[2..].iter().for_each(|name| answers.end(name));
        assert_eq!(now(&answers), []);
    }
}
