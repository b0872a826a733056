//! From a request's head and the hop that it came from to a [`Caller`].
//!
//! A function of its arguments and of what was configured: no I/O, no clock, no panic on any bytes.

use std::collections::BTreeMap;
use std::sync::Arc;

use http::header::HeaderMap;
use jiff::Timestamp;
use smol_str::SmolStr;

use super::fields::{
    API_ID, FieldValue, ListRule, OPERATION_ID, PRODUCT_ID, SUBSCRIPTION_ID, USER_ID, api_key,
    gateway_headers, name_in, single,
};
use super::hash::HashKey;
use super::identity::{Caller, Trust, Unproven};
use super::map::CallerMap;
use super::peer::Peer;
use super::reload::Reload;
use super::source::CallerSource;
use super::tag::CallerTag;
use super::token::{BearerToken, Claims};
use super::trust::HopTest;

/// How ids of people stand in events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, strum::VariantArray, strum::VariantNames)]
#[strum(serialize_all = "kebab-case")]
pub enum UserIds {
    /// As they are.
    Plain,
    /// As a keyed hash.
    #[default]
    Hash,
    /// Not at all.
    Drop,
}

/// How callers are told apart.
#[derive(Clone, Debug)]
pub struct ResolverConfig {
    /// Asked in order.
    pub sources: Vec<CallerSource>,
    /// Second keys that stand beside the id.
    pub tags: Vec<CallerTag>,
    /// How the hop proves itself.
    pub trust: HopTest,
    /// Applications that are the gateway itself.
    pub gateway_app_ids: Vec<String>,
    /// How ids of people stand in events.
    pub user_ids: UserIds,
    /// The key of the hashes.
    pub hash_key: HashKey,
    /// Cost centres and departments.
    pub map: Option<Arc<Reload<CallerMap>>>,
}

/// Who pays, and whether the hop that says so may.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolved {
    /// Who pays.
    pub caller: Caller,
    /// The hop has passed the test: what else it says of the call counts too.
    pub trusted: bool,
    /// Why the call cannot be charged to a caller, if so.
    pub unattributed: Option<UnattributedReason>,
    /// Reads the claim of a hop that has failed the test.
    pub unproven: Option<Box<Unproven>>,
}

/// Why a call is unattributed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UnattributedReason {
    /// The hop failed the test of trust: what it says does not count.
    Untrusted,
    /// The first source that named a caller gave a malformed name.
    Malformed,
    /// No source named a caller.
    Absent,
}

impl UnattributedReason {
    /// All of them, in the order of their numbers.
    pub const ALL: [UnattributedReason; 3] =
        [UnattributedReason::Untrusted, UnattributedReason::Malformed, UnattributedReason::Absent];

    /// Its name as a label.
    pub fn as_str(self) -> &'static str {
        match self {
            UnattributedReason::Untrusted => "untrusted",
            UnattributedReason::Malformed => "malformed",
            UnattributedReason::Absent => "absent",
        }
    }
}

/// Tells who pays for a request.
#[derive(Clone, Debug)]
pub struct Resolver {
    config: ResolverConfig,
}

impl Resolver {
    /// A resolver.
    pub fn new(config: ResolverConfig) -> Resolver {
        Resolver { config }
    }

    /// The headers that must not go on to the service: the gateway's, and each configured one.
    pub fn removed_headers(&self) -> Vec<http::HeaderName> {
        let sources = self.config.sources.iter().filter_map(|source| match source {
            CallerSource::Header { name, .. } => Some(name.clone()),
            _ => None,
        });
        let tags = self.config.tags.iter().map(|tag| tag.header.clone());
        gateway_headers().into_iter().chain(sources).chain(tags).collect()
    }

    /// Who pays for a request with these headers, that came from this hop and began then. Never
    /// waits, whatever the headers hold.
    pub fn resolve(&self, headers: &HeaderMap, peer: &Peer, at: Timestamp) -> Resolved {
        let trust = self.config.trust.ask(headers, peer);
        let mut caller = Caller::unattributed(trust.unwrap_or_default());
        let mut unattributed = Some(UnattributedReason::Untrusted);
        if trust.is_some() {
            let token = self.token(headers);
            self.describe(&mut caller, headers, &token);
            unattributed = self.name(&mut caller, &Evidence { headers, peer, token });
        }
        if let Some(map) = &self.config.map {
            map.current().place(&mut caller, at);
        }
        let unproven = trust.is_none().then(|| Box::new(self.unproven(headers, peer)));
        Resolved { caller, trusted: trust.is_some(), unattributed, unproven }
    }

    /// Reads the claim of a hop that has failed the test: the caller that it would have named.
    fn unproven(&self, headers: &HeaderMap, peer: &Peer) -> Unproven {
        let mut named = Caller::unattributed(Trust::None);
        let found = self.name(&mut named, &Evidence { headers, peer, token: self.token(headers) });
        Unproven { ip: peer.ip, claimed: found.is_none().then_some((named.id, named.id_source)) }
    }

    /// The bearer token, unless it is the gateway's own.
    fn token(&self, headers: &HeaderMap) -> BearerToken {
        match BearerToken::read(headers) {
            BearerToken::Claims(claims) if self.is_gateway(claims.application()) => BearerToken::None,
            token => token,
        }
    }

    fn is_gateway(&self, id: &str) -> bool {
        self.config.gateway_app_ids.iter().any(|own| own.eq_ignore_ascii_case(id))
    }

    /// The members of the event's caller beside its id.
    fn describe(&self, caller: &mut Caller, headers: &HeaderMap, token: &BearerToken) {
        caller.apim_subscription_id = name_in(headers, &SUBSCRIPTION_ID);
        caller.apim_product_id = name_in(headers, &PRODUCT_ID);
        caller.apim_user_id = name_in(headers, &USER_ID).and_then(|id| self.person(id));
        caller.apim_api_id = name_in(headers, &API_ID);
        caller.apim_operation_id = name_in(headers, &OPERATION_ID);
        caller.tags = self.tags(headers);
        if let BearerToken::Claims(claims) = token {
            caller.entra_app_id = FieldValue::checked(claims.application()).name();
            caller.entra_oid = FieldValue::checked(claims.person()).name().and_then(|id| self.person(id));
            caller.entra_tid = FieldValue::checked(claims.tenant()).name();
        }
    }

    /// The tags that a request has. One that is malformed is none, and changes nothing else: nobody pays by it.
    fn tags(&self, headers: &HeaderMap) -> BTreeMap<SmolStr, SmolStr> {
        let found = self.config.tags.iter().filter_map(|tag| {
            let value = name_in(headers, &tag.header)?;
            let shown = if tag.plain { value } else { self.config.hash_key.tag(&tag.name, &value) };
            Some((tag.name.clone(), shown))
        });
        found.collect()
    }

    /// Names the caller, or says why it cannot.
    fn name(&self, caller: &mut Caller, evidence: &Evidence<'_>) -> Option<UnattributedReason> {
        let mut winner: Option<(&CallerSource, SmolStr)> = None;
        for source in &self.config.sources {
            if winner.as_ref().is_some_and(|(first, _)| !source.may_contradict(first)) {
                continue;
            }
            match (self.ask(source, evidence), &winner) {
                (FieldValue::Absent, _) => {}
                (FieldValue::Malformed, None) => return Some(UnattributedReason::Malformed),
                (FieldValue::Name(id), None) => {
                    caller.id.clone_from(&id);
                    caller.id_source = source.kind();
                    winner = Some((source, id));
                }
                (FieldValue::Name(id), Some((_, first))) => caller.conflict |= id != *first,
                (FieldValue::Malformed, Some(_)) => caller.conflict = true,
            }
        }
        winner.is_none().then_some(UnattributedReason::Absent)
    }

    fn ask(&self, source: &CallerSource, evidence: &Evidence<'_>) -> FieldValue {
        let Evidence { headers, peer, token } = evidence;
        let of_token = |id: &dyn Fn(&Claims) -> FieldValue| match token {
            BearerToken::None => FieldValue::Absent,
            BearerToken::Malformed => FieldValue::Malformed,
            BearerToken::Claims(claims) => id(claims),
        };
        let found = match source {
            CallerSource::ApimSubscription => single(headers, &SUBSCRIPTION_ID, ListRule::One),
            CallerSource::Header { name, whole } => {
                single(headers, name, if *whole { ListRule::Whole } else { ListRule::One })
            }
            CallerSource::EntraApp => of_token(&|claims| FieldValue::checked(claims.application())),
            CallerSource::EntraUser => of_token(&|claims| self.user(claims)),
            CallerSource::ClientCert => {
                let id = peer.certificate.as_ref().and_then(|certificate| certificate.id());
                FieldValue::checked(id.unwrap_or_default())
            }
            CallerSource::ApiKey => match api_key(headers) {
                FieldValue::Name(key) => FieldValue::Name(self.config.hash_key.api_key(&key)),
                found => found,
            },
        };
        match found {
            FieldValue::Name(id) if self.is_gateway(&id) => FieldValue::Absent,
            found => found,
        }
    }

    /// A person of a tenant, as `TENANT/OBJECT`. An id alone is unique only within its tenant.
    fn user(&self, claims: &Claims) -> FieldValue {
        let (tenant, person) = (claims.tenant(), claims.person());
        if tenant.is_empty() || person.is_empty() {
            return FieldValue::Absent;
        }
        match FieldValue::checked(&format!("{tenant}/{person}")) {
            FieldValue::Name(id) => self.person(id).map_or(FieldValue::Absent, FieldValue::Name),
            found => found,
        }
    }

    /// A person's id as it may stand in an event.
    fn person(&self, id: SmolStr) -> Option<SmolStr> {
        match self.config.user_ids {
            UserIds::Plain => Some(id),
            UserIds::Hash => Some(self.config.hash_key.person(&id)),
            UserIds::Drop => None,
        }
    }
}

/// The request that sources are asked about.
struct Evidence<'a> {
    headers: &'a HeaderMap,
    peer: &'a Peer,
    token: BearerToken,
}

#[cfg(test)]
mod tests;
