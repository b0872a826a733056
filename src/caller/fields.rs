//! The header fields that carry identity, and what counts as a value of one.

use http::header::{HeaderMap, HeaderName};
use smol_str::SmolStr;

/// Longer names are refused: they would make the event, the Kafka key and every table unwieldy.
pub(super) const ID_BYTES_MAX: usize = 128;

pub(super) const API_KEY: HeaderName = HeaderName::from_static("api-key");
pub(super) const SHARED_SECRET: HeaderName = HeaderName::from_static("x-tokenweir-auth");
pub(super) const SUBSCRIPTION_ID: HeaderName = HeaderName::from_static("x-apim-subscription-id");
pub(super) const PRODUCT_ID: HeaderName = HeaderName::from_static("x-apim-product-id");
pub(super) const USER_ID: HeaderName = HeaderName::from_static("x-apim-user-id");
pub(super) const API_ID: HeaderName = HeaderName::from_static("x-apim-api-id");
pub(super) const OPERATION_ID: HeaderName = HeaderName::from_static("x-apim-operation-id");
/// The gateway's id of a request.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-apim-request-id");
/// Which of the gateway's attempts at a request this is.
pub const ATTEMPT: HeaderName = HeaderName::from_static("x-apim-attempt");

/// Headers that the gateway sets for the sidecar; they never go on to the service.
pub const fn gateway_headers() -> [HeaderName; 8] {
    [SUBSCRIPTION_ID, PRODUCT_ID, USER_ID, API_ID, OPERATION_ID, REQUEST_ID, ATTEMPT, SHARED_SECRET]
}

/// What a source says of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Found {
    Nobody,
    Name(SmolStr),
    /// There is a value, but it is no name.
    Malformed,
}

impl Found {
    /// A value that may be a name.
    pub(super) fn checked(id: &str) -> Found {
        match id {
            "" => Found::Nobody,
            id if is_name(id) => Found::Name(id.into()),
            _ => Found::Malformed,
        }
    }

    pub(super) fn name(self) -> Option<SmolStr> {
        match self {
            Found::Name(name) => Some(name),
            Found::Nobody | Found::Malformed => None,
        }
    }
}

/// The one value of a header. An empty one is what a gateway policy writes for "none".
pub(super) fn single(headers: &HeaderMap, name: &HeaderName) -> Found {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (None, _) => Found::Nobody,
        (Some(_), Some(_)) => Found::Malformed,
        (Some(value), None) => match value.to_str() {
            Ok(text) => Found::checked(text.trim()),
            Err(_) => Found::Malformed,
        },
    }
}

/// Short and printable.
fn is_name(id: &str) -> bool {
    !id.is_empty() && id.len() <= ID_BYTES_MAX && id.bytes().all(|byte| (0x20..0x7f).contains(&byte))
}
