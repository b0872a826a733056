//! Who pays: identity, taken from headers that the gateway sets.
//!
//! A list of sources is asked in order and the first that names somebody wins. A value that is
//! doubled, too long or not printable is no name: the call is then [`UNATTRIBUTED`] rather than
//! charged to the next source, because a forged header must not pick its payer.

mod peer;
mod resolver;
mod token;

pub use peer::Peer;
pub use resolver::{
    CallerSource, HashKey, ParseSourceError, Resolver, ResolverConfig, SecretError, gateway_headers,
};

use serde::{Deserialize, Serialize};

/// `caller.id` of a call that nobody can be charged for.
pub const UNATTRIBUTED: &str = "unattributed";

/// The `caller` of a usage event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Caller {
    /// The billing key; [`UNATTRIBUTED`] if there is none.
    pub id: String,
    /// Where `id` comes from.
    pub id_source: IdSource,
    /// How the hop that named the caller was authenticated.
    pub trust: Trust,
    /// Two sources named different callers; the first won.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub conflict: bool,
    /// API Management's `context.Subscription.Id`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub apim_subscription_id: Option<String>,
    /// API Management's `context.Product.Id`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub apim_product_id: Option<String>,
    /// API Management's `context.User.Id`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub apim_user_id: Option<String>,
    /// API Management's `context.Api.Id`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub apim_api_id: Option<String>,
    /// API Management's `context.Operation.Id`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub apim_operation_id: Option<String>,
    /// Claim `azp` or `appid`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub entra_app_id: Option<String>,
}

/// Where a caller's id comes from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum IdSource {
    /// `x-apim-subscription-id`.
    ApimSubscription,
    /// A configured header.
    Header,
    /// Claim `azp` or `appid` of the bearer token, read but not verified.
    EntraApp,
    /// A keyed hash of the API key.
    ApiKey,
    /// Nobody was named.
    #[default]
    None,
}

/// How the hop that named the caller was authenticated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Trust {
    /// A secret that the gateway adds.
    SharedSecret,
    /// It was not.
    #[default]
    None,
}

impl Caller {
    /// The caller of a call that nobody can be charged for.
    pub fn unattributed(trust: Trust) -> Caller {
        Caller {
            id: UNATTRIBUTED.to_owned(),
            id_source: IdSource::None,
            trust,
            conflict: false,
            apim_subscription_id: None,
            apim_product_id: None,
            apim_user_id: None,
            apim_api_id: None,
            apim_operation_id: None,
            entra_app_id: None,
        }
    }
}
