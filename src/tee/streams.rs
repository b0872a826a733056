//! How many responses are streaming now, by deployment.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use smol_str::SmolStr;

/// Numbers of responses whose bodies have not ended. There are as many names as deployments that respond at
/// this moment, so this is bounded by the calls in flight, whatever callers ask for.
#[derive(Debug, Default)]
pub struct StreamsByDeployment(Arc<Mutex<HashMap<SmolStr, u64>>>);

impl StreamsByDeployment {
    /// Each deployment with its number of responses; `""` stands for those without one.
    pub fn by_deployment(&self) -> Vec<(String, u64)> {
        self.with(|streams| streams.iter().map(|(name, n)| (name.to_string(), *n)).collect())
    }

    /// Counts a response of this deployment, until the guard is dropped.
    pub(super) fn begin(&self, deployment: SmolStr) -> StreamGuard {
        self.with(|streams| *streams.entry(deployment.clone()).or_default() += 1);
        StreamGuard { streams: StreamsByDeployment(Arc::clone(&self.0)), deployment }
    }

    fn with<T>(&self, look: impl FnOnce(&mut HashMap<SmolStr, u64>) -> T) -> T {
        look(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// One response, until it is dropped.
#[derive(Debug)]
pub(super) struct StreamGuard {
    streams: StreamsByDeployment,
    deployment: SmolStr,
}

impl Drop for StreamGuard {
    fn drop(&mut self) {
        self.streams.with(|streams| {
            let n = streams.get_mut(&self.deployment);
            debug_assert!(n.is_some(), "a response is counted until it ends");
            if let Some(n) = n {
                *n -= 1;
                if *n == 0 {
                    streams.remove(&self.deployment);
                }
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_counted_by_deployment_and_names_go_with_the_last_one() {
        let streams = StreamsByDeployment::default();
        let mut guards: Vec<_> = ["a", "b", "a", ""].map(|name| streams.begin(name.into())).into();
        let now = || {
            let mut now = streams.by_deployment();
            now.sort();
            now
        };
        let of = |pairs: &[(&str, u64)]| pairs.iter().map(|(n, c)| ((*n).to_owned(), *c)).collect::<Vec<_>>();
        assert_eq!(now(), of(&[("", 1), ("a", 2), ("b", 1)]));
        guards.drain(..2);
        assert_eq!(now(), of(&[("", 1), ("a", 1)]));
        guards.clear();
        assert_eq!(now(), []);
    }
}
