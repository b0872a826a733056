//! The responses that sessions have been told of, so that one that two connections are told of is billed once.
//!
//! A connection with a `call_id` looks on at a session that another connection has, perhaps one that goes round the
//! sidecar. It bills a response only if no other connection does, and no other one bills what it has billed. Two
//! connections that do not look on never share a response: where a service numbers the responses of each session
//! from one on, both are billed.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use smol_str::SmolStr;

/// How long a response is remembered that has been billed: a session lasts an hour at most.
const KEPT_FOR: Duration = Duration::from_secs(3600);

/// Responses that are remembered: those of an hour at four a second. Some 3 MB.
const RESPONSES_MAX: usize = 16_384;

/// A response, as all connections of its caller know it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct ResponseKey {
    resource: SmolStr,
    caller: SmolStr,
    id: SmolStr,
}

/// The responses of the last hour.
#[derive(Clone, Debug, Default)]
pub(super) struct ResponseIds {
    known: Arc<Mutex<KnownResponses>>,
}

#[derive(Debug, Default)]
struct KnownResponses {
    by_key: HashMap<ResponseKey, KnownResponse>,
    /// In the order in which they were claimed, with the number of the claim.
    order: VecDeque<(Instant, ResponseKey, u64)>,
    claims: u64,
}

#[derive(Clone, Copy, Debug)]
struct KnownResponse {
    by_observer: bool,
    claim: u64,
}

/// The right to bill a response. Dropped before the response has been settled, it is given back.
#[derive(Debug)]
pub(super) struct ResponseClaim {
    ids: ResponseIds,
    key: ResponseKey,
    claim: u64,
    settled: bool,
}

impl ResponseKey {
    pub(super) fn new(resource: &SmolStr, caller: &str, id: &SmolStr) -> ResponseKey {
        ResponseKey { resource: resource.clone(), caller: caller.into(), id: id.clone() }
    }
}

impl ResponseIds {
    /// Claims a response. `None`: it is another connection's, one of the two looking on.
    pub(super) fn claim(&self, key: ResponseKey, by_observer: bool) -> Option<ResponseClaim> {
        self.claim_at(key, by_observer, Instant::now())
    }

    fn claim_at(&self, key: ResponseKey, by_observer: bool, now: Instant) -> Option<ResponseClaim> {
        let mut known = self.lock();
        known.forget(now);
        if known.by_key.get(&key).is_some_and(|known| known.by_observer || by_observer) {
            return None;
        }
        known.claims += 1;
        let claim = known.claims;
        known.order.push_back((now, key.clone(), claim));
        known.by_key.insert(key.clone(), KnownResponse { by_observer, claim });
        drop(known);
        Some(ResponseClaim { ids: self.clone(), key, claim, settled: false })
    }

    fn lock(&self) -> MutexGuard<'_, KnownResponses> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl KnownResponses {
    /// Forgets what is old, and the oldest if there is no room.
    fn forget(&mut self, now: Instant) {
        while let Some((since, ..)) = self.order.front()
            && (self.order.len() >= RESPONSES_MAX || now.duration_since(*since) >= KEPT_FOR)
            && let Some((_, key, claim)) = self.order.pop_front()
        {
            self.remove(&key, claim);
        }
        debug_assert!(self.by_key.len() <= self.order.len(), "each response has its place in the order");
    }

    fn remove(&mut self, key: &ResponseKey, claim: u64) {
        if self.by_key.get(key).is_some_and(|known| known.claim == claim) {
            self.by_key.remove(key);
        }
    }
}

impl ResponseClaim {
    /// The response has been settled, and is nobody else's.
    pub(super) fn settle(mut self) {
        self.settled = true;
    }
}

impl Drop for ResponseClaim {
    fn drop(&mut self) {
        if !self.settled {
            self.ids.lock().remove(&self.key, self.claim);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(caller: &str, id: &str) -> ResponseKey {
        ResponseKey::new(&"host".into(), caller, &id.into())
    }

    #[test]
    fn a_response_that_is_looked_on_at_is_billed_once() {
        for (first, second, both) in
            [(false, true, false), (true, false, false), (true, true, false), (false, false, true)]
        {
            let ids = ResponseIds::default();
            let claim = ids.claim(key("a", "r"), first).unwrap();
            assert_eq!(ids.claim(key("a", "r"), second).is_some(), both, "{first} {second}");
            claim.settle();
            assert_eq!(ids.claim(key("a", "r"), second).is_some(), both, "{first} {second}");
            assert!(ids.claim(key("b", "r"), second).is_some() && ids.claim(key("a", "s"), second).is_some());
        }
    }

    #[test]
    fn what_was_not_settled_is_anybodys() {
        let ids = ResponseIds::default();
        drop(ids.claim(key("a", "r"), false));
        let claim = ids.claim(key("a", "r"), true).unwrap();
        drop(ids.claim(key("a", "r"), true));
        assert!(ids.claim(key("a", "r"), true).is_none(), "the claim still stands");
        claim.settle();
    }

    #[test]
    fn they_are_forgotten_after_an_hour_and_when_there_are_many() {
        let (ids, now) = (ResponseIds::default(), Instant::now());
        let claim_at = |id: &str, at: Instant| {
            let claim = ids.claim_at(key("a", id), true, at);
            let is_new = claim.is_some();
            claim.into_iter().for_each(ResponseClaim::settle);
            is_new
        };
        assert!(claim_at("r", now));
        assert!(!claim_at("r", now + KEPT_FOR - Duration::from_secs(1)));
        assert!(claim_at("r", now + KEPT_FOR));
        for number in 0..RESPONSES_MAX {
            assert!(claim_at(&format!("n{number}"), now + KEPT_FOR));
        }
        assert!(ids.lock().order.len() <= RESPONSES_MAX);
        assert!(claim_at("r", now + KEPT_FOR), "others took its place");
    }
}
