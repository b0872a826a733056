//! Who served a call, as the head of the response tells.

use http::header::LOCATION;
use http::{HeaderMap, HeaderName};
use smol_str::SmolStr;

use super::read::label;

// Fields of a response that name what served it.
const APIM_REQUEST_ID: HeaderName = HeaderName::from_static("apim-request-id");
const DEPLOYMENT_NAME: HeaderName = HeaderName::from_static("x-ms-deployment-name");
const REGION: HeaderName = HeaderName::from_static("x-ms-region");
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const SPILLED_FROM: &str = "x-ms-spillover-from-";
const SPILLOVER_FROM: HeaderName = HeaderName::from_static("x-ms-spillover-from-deployment");

/// Names of whoever served the call.
#[derive(Debug, Default)]
pub(super) struct Served {
    pub(super) deployment: Option<SmolStr>,
    pub(super) spillover_from: Option<SmolStr>,
    pub(super) region: Option<SmolStr>,
    pub(super) apim_request_id: Option<SmolStr>,
    pub(super) request_id: Option<SmolStr>,
    /// The last segment of the `Location` of what was made.
    pub(super) location_id: Option<SmolStr>,
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
            location_id: headers.get(LOCATION).and_then(|value| last_segment(value.to_str().ok()?)),
        }
    }
}

/// The last segment of the path of an address, or of a path.
fn last_segment(location: &str) -> Option<SmolStr> {
    let path = location.split(['?', '#']).next()?.trim_end_matches('/');
    label(path.rsplit('/').next()?)
}

/// The fields among these that name what served a call.
pub fn served_fields(headers: &HeaderMap) -> HeaderMap {
    let known = [APIM_REQUEST_ID, DEPLOYMENT_NAME, REGION, REQUEST_ID, SPILLOVER_FROM];
    let is_known = |name: &HeaderName| known.contains(name) || name.as_str().starts_with(SPILLED_FROM);
    let fields = headers.iter().filter(|(name, _)| is_known(name));
    fields.map(|(name, value)| (name.clone(), value.clone())).collect()
}

/// The other spelling of `x-ms-spillover-from-deployment`, which Azure's documentation has: the
/// deployment stands in the field's name.
fn spilled_from(headers: &HeaderMap) -> Option<SmolStr> {
    headers.keys().find_map(|name| label(name.as_str().strip_prefix(SPILLED_FROM)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_location_ends_in_the_id_of_what_was_made() {
        for (location, id) in [
            ("/openai/v1/realtime/calls/rtc_9", Some("rtc_9")),
            ("https://r.openai.azure.com/openai/v1/realtime/calls/rtc_9/?api-version=1#x", Some("rtc_9")),
            ("rtc_9", Some("rtc_9")),
            ("/", None),
            ("", None),
        ] {
            assert_eq!(last_segment(location).as_deref(), id, "{location}");
        }
        assert_eq!(last_segment(&"x".repeat(500)), None);
    }
}
