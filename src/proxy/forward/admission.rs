//! Refuses the calls that the operator has refused, before the upstream hears of them.

use http::Uri;
use http::header::HeaderMap;

use super::headers::decode;
use super::refusal::Refusal;
use crate::proxy::config::{ApiKey, Config, Policy, Removals};
use metering::caller::{Resolved, api_key_headers};

/// Fields and parameters that requests lose: those that are configured, and keys that are not to be passed on.
pub(super) fn removals(config: &Config) -> Removals {
    let mut removals = config.removals.clone();
    if config.policy.api_key == ApiKey::Strip {
        removals.query.extend(api_key_headers().map(|name| name.as_str().to_owned()));
        removals.headers.extend(api_key_headers());
    }
    removals
}

/// Why a call may not go on; `None` if it may.
pub(super) fn refusal(
    policy: &Policy,
    resolved: &Resolved,
    uri: &Uri,
    headers: &HeaderMap,
) -> Option<Refusal> {
    if policy.reject_untrusted && !resolved.trusted {
        return Some(Refusal::Untrusted);
    }
    (policy.api_key == ApiKey::Deny && carries_api_key(uri, headers)).then_some(Refusal::ApiKey)
}

/// A key stands in a header, or in the query of a realtime call, whose clients cannot set headers.
fn carries_api_key(uri: &Uri, headers: &HeaderMap) -> bool {
    let names = api_key_headers();
    let mut parameters = uri.query().unwrap_or_default().split('&');
    let is_key = |pair: &str| {
        let parameter = decode(pair.split('=').next().unwrap_or_default());
        names.iter().any(|name| parameter.eq_ignore_ascii_case(name.as_str()))
    };
    names.iter().any(|name| headers.contains_key(name)) || parameters.any(is_key)
}

#[cfg(test)]
mod tests {
    use super::*;
    use metering::caller::{Caller, Trust};

    fn refused(
        policy: &Policy,
        trusted: bool,
        target: &str,
        fields: &[(&'static str, &str)],
    ) -> Option<Refusal> {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.insert(*name, value.parse().unwrap());
        }
        let resolved = Resolved {
            caller: Caller::unattributed(Trust::None),
            trusted,
            unattributed: None,
            unproven: None,
        };
        refusal(policy, &resolved, &target.parse().unwrap(), &headers)
    }

    #[test]
    fn nothing_is_refused_unless_it_is_turned_on() {
        assert_eq!(refused(&Policy::default(), false, "/x?api-key=k", &[("api-key", "k")]), None);
    }

    #[test]
    fn a_key_is_found_wherever_the_upstream_would_look() {
        let policy = Policy { api_key: ApiKey::Deny, ..Policy::default() };
        for (target, fields) in [
            ("/x", &[("api-key", "k")][..]),
            ("/x", &[("api-key", "")]),
            ("/x", &[("x-api-key", "k")]),
            ("/x?x-api-key=k", &[]),
            ("/x?a=1&api-key=k", &[]),
            ("/x?API-Key=k", &[]),
            ("/x?api%2Dkey=k", &[]),
            ("/x?api-key", &[]),
        ] {
            assert_eq!(refused(&policy, true, target, fields), Some(Refusal::ApiKey), "{target} {fields:?}");
        }
        for target in ["/x", "/x?a=api-key=k", "/api-key?b", "/x?"] {
            assert_eq!(refused(&policy, true, target, &[("authorization", "Bearer x")]), None, "{target}");
        }
    }

    #[test]
    fn an_untrusted_hop_is_refused_before_its_key_is_looked_at() {
        let policy = Policy { reject_untrusted: true, api_key: ApiKey::Deny, ..Policy::default() };
        assert_eq!(refused(&policy, false, "/x", &[("api-key", "k")]), Some(Refusal::Untrusted));
        assert_eq!(refused(&policy, true, "/x", &[]), None);
    }
}
