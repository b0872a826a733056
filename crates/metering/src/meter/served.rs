//! Who served a call, as the head of the response tells.

use http::{HeaderMap, HeaderName};
use smol_str::SmolStr;

use super::read::label;

// Fields of a response that name what served it.
const APIM_REQUEST_ID: HeaderName = HeaderName::from_static("apim-request-id");
const DEPLOYMENT_NAME: HeaderName = HeaderName::from_static("x-ms-deployment-name");
const REGION: HeaderName = HeaderName::from_static("x-ms-region");
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const SPILLOVER_FROM: HeaderName = HeaderName::from_static("x-ms-spillover-from-deployment");

/// Names of whoever served the call.
#[derive(Debug, Default)]
pub(super) struct Served {
    pub(super) deployment: Option<SmolStr>,
    pub(super) spillover_from: Option<SmolStr>,
    pub(super) region: Option<SmolStr>,
    pub(super) apim_request_id: Option<SmolStr>,
    pub(super) request_id: Option<SmolStr>,
}

impl Served {
    /// The deployment, region and ids that these fields name.
    pub(super) fn of(headers: &HeaderMap) -> Served {
        let value = |name: &HeaderName| headers.get(name).and_then(|value| label(value.to_str().ok()?));
        Served {
            deployment: value(&DEPLOYMENT_NAME),
            spillover_from: value(&SPILLOVER_FROM).or_else(|| spilled_from(headers)),
            region: value(&REGION),
            apim_request_id: value(&APIM_REQUEST_ID),
            request_id: value(&REQUEST_ID),
        }
    }
}

/// The other spelling of `x-ms-spillover-from-deployment`, which Azure's documentation has: the
/// deployment stands in the field's name.
fn spilled_from(headers: &HeaderMap) -> Option<SmolStr> {
    headers.keys().find_map(|name| label(name.as_str().strip_prefix("x-ms-spillover-from-")?))
}
