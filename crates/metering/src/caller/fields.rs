//! The header fields that carry identity, and what counts as a value of one.

use http::header::{HeaderMap, HeaderName};
use smol_str::SmolStr;

/// Longer names are refused: they would make the event, the Kafka key and every table unwieldy.
pub(super) const ID_BYTES_MAX: usize = 128;

/// Between the values of a field that is a list (RFC 9110 5.6.1). A semicolon stands within one value.
pub(super) const LIST_SEPARATOR: char = ',';

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
/// The deployment that the gateway has chosen.
pub const GATEWAY_DEPLOYMENT: HeaderName = HeaderName::from_static("x-apim-foundry-deployment");

/// The headers of a key for the service. Clients of Anthropic's API send the second one.
pub const fn api_key_headers() -> [HeaderName; 2] {
    [HeaderName::from_static("api-key"), HeaderName::from_static("x-api-key")]
}

/// Headers that the gateway sets for the sidecar; they never go on to the service.
pub const fn gateway_headers() -> [HeaderName; 9] {
    [
        SUBSCRIPTION_ID,
        PRODUCT_ID,
        USER_ID,
        API_ID,
        OPERATION_ID,
        REQUEST_ID,
        ATTEMPT,
        SHARED_SECRET,
        GATEWAY_DEPLOYMENT,
    ]
}

/// Headers that no operator may choose: one that is chosen is written to events and taken off the request, and
/// these must not be the one, or need to stay.
const TAKEN: [&str; 23] = [
    "accept-encoding",
    "api-key",
    "authorization",
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "cookie",
    "expect",
    "host",
    "keep-alive",
    "ocp-apim-subscription-key",
    "proxy-authorization",
    "proxy-connection",
    "set-cookie",
    "subscription-key",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "via",
    "x-api-key",
    "x-tokenweir-auth",
];

/// The header holds a credential or belongs to HTTP, and is not to be chosen.
pub(super) fn is_taken(name: &HeaderName) -> bool {
    TAKEN.contains(&name.as_str())
}

/// The identity that one source finds in a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum FieldValue {
    Absent,
    Name(SmolStr),
    /// There is a value, but it cannot be a name.
    Malformed,
}

impl FieldValue {
    /// A value that may be a name, wherever it stands: blanks around it are none of it.
    pub(super) fn checked(id: &str) -> FieldValue {
        match trimmed(id) {
            "" => FieldValue::Absent,
            id if is_name(id) => FieldValue::Name(id.into()),
            _ => FieldValue::Malformed,
        }
    }

    pub(super) fn name(self) -> Option<SmolStr> {
        match self {
            FieldValue::Name(name) => Some(name),
            FieldValue::Absent | FieldValue::Malformed => None,
        }
    }
}

/// Whether a field that carries identity may be a list.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ListRule {
    /// It may not: a list is as doubtful as several fields are.
    One,
    /// The whole value is one name, commas included.
    Whole,
}

/// The one value of a header. An empty one is what a gateway policy writes for "none".
///
/// A hop that finds a field and adds its own may as well join the two with a comma: to HTTP that is the
/// same (RFC 9110 5.3). So a value with a comma in it is refused like two fields; the operator can say that
/// commas are part of the name.
pub(super) fn single(headers: &HeaderMap, name: &HeaderName, reading: ListRule) -> FieldValue {
    let mut values = headers.get_all(name).iter();
    match (values.next(), values.next()) {
        (None, _) => FieldValue::Absent,
        (Some(_), Some(_)) => FieldValue::Malformed,
        (Some(value), None) => match value.to_str() {
            Ok(text) if reading == ListRule::One && text.contains(LIST_SEPARATOR) => FieldValue::Malformed,
            Ok(text) => FieldValue::checked(text),
            Err(_) => FieldValue::Malformed,
        },
    }
}

/// The name that a header holds; none if it is doubled, a list, or otherwise no name.
pub fn name_in(headers: &HeaderMap, name: &HeaderName) -> Option<SmolStr> {
    single(headers, name, ListRule::One).name()
}

/// The API key of a request. If it has one under each name, they must be the same.
pub(super) fn api_key(headers: &HeaderMap) -> FieldValue {
    let [usual, other] = api_key_headers().map(|name| single(headers, &name, ListRule::One));
    match (usual, other) {
        (found, FieldValue::Absent) | (FieldValue::Absent, found) => found,
        (usual, other) if usual == other => usual,
        _ => FieldValue::Malformed,
    }
}

/// A value without the blanks around it, which HTTP takes off a field and JSON leaves in a claim (RFC 9110
/// 5.6.3).
pub(super) fn trimmed(value: &str) -> &str {
    value.trim_matches([' ', '\t'])
}

/// Short and printable.
fn is_name(id: &str) -> bool {
    !id.is_empty() && id.len() <= ID_BYTES_MAX && id.bytes().all(|byte| (0x20..0x7f).contains(&byte))
}
