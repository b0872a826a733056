//! The caller of a call, as an event names it.

use std::collections::BTreeMap;
use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use smol_str::SmolStr;
use strum::IntoStaticStr;

/// `caller.id` of a call that cannot be charged to a caller.
pub const UNATTRIBUTED: &str = "unattributed";

/// The `caller` of a usage event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Caller {
    /// The billing key; [`UNATTRIBUTED`] if there is none.
    pub id: SmolStr,
    /// Where `id` comes from.
    pub id_source: IdSource,
    /// How the hop that named the caller was authenticated.
    pub trust: Trust,
    /// Two sources named different callers; the first won.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub conflict: bool,
    /// API Management's `context.Subscription.Id`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub apim_subscription_id: Option<SmolStr>,
    /// API Management's `context.Product.Id`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub apim_product_id: Option<SmolStr>,
    /// API Management's `context.User.Id`, as `--caller-user-ids` lets it stand.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub apim_user_id: Option<SmolStr>,
    /// API Management's `context.Api.Id`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub apim_api_id: Option<SmolStr>,
    /// API Management's `context.Operation.Id`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub apim_operation_id: Option<SmolStr>,
    /// Claim `azp` or `appid`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entra_app_id: Option<SmolStr>,
    /// Claim `oid` of a person's token, as `--caller-user-ids` lets it stand.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entra_oid: Option<SmolStr>,
    /// Claim `tid`: the tenant.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entra_tid: Option<SmolStr>,
    /// Second keys, such as the end user behind an application, by the names that `--caller-tags` gives them.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub tags: BTreeMap<SmolStr, SmolStr>,
    /// From the caller map.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub department: Option<SmolStr>,
    /// From the caller map.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cost_center: Option<SmolStr>,
    /// The caller map that was asked: the beginning of its SHA-256, in hex.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub map_version: Option<SmolStr>,
}

/// The claim of a hop that failed the test of trust. It stands in the log, where an operator looks for who sends such calls,
/// and in no event: nobody pays by it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unproven {
    /// The address that the call came from.
    pub ip: IpAddr,
    /// The caller that it names, as an event would hold it: keys and, as is configured, people as hashes. `None`: nobody.
    pub claimed: Option<(SmolStr, IdSource)>,
}

/// Where a caller's id comes from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, IntoStaticStr)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum IdSource {
    /// `x-apim-subscription-id`.
    ApimSubscription,
    /// A configured header.
    Header,
    /// Claim `azp` or `appid` of the bearer token, read but not verified.
    EntraApp,
    /// Claims `tid` and `oid` of a person's bearer token, read but not verified.
    EntraUser,
    /// The first name in the client certificate, which the port has verified.
    ClientCert,
    /// A keyed hash of the API key.
    ApiKey,
    /// No caller was named.
    #[default]
    None,
}

/// How the hop that named the caller was authenticated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Trust {
    /// A secret that the gateway adds.
    SharedSecret,
    /// A client certificate.
    Mtls,
    /// The network that it is in.
    Network,
    /// It was not.
    #[default]
    None,
}

impl Caller {
    /// The caller of a call that cannot be charged to a caller.
    pub fn unattributed(trust: Trust) -> Caller {
        Caller {
            id: SmolStr::new_static(UNATTRIBUTED),
            id_source: IdSource::None,
            trust,
            conflict: false,
            apim_subscription_id: None,
            apim_product_id: None,
            apim_user_id: None,
            apim_api_id: None,
            apim_operation_id: None,
            entra_app_id: None,
            entra_oid: None,
            entra_tid: None,
            tags: BTreeMap::new(),
            department: None,
            cost_center: None,
            map_version: None,
        }
    }
}
