//! The usage event as far as a request's head tells it.

use http::{HeaderMap, HeaderName};
use jiff::Timestamp;
use smol_str::SmolStr;

use super::surface::Surface;
use crate::proxy::upstream::address::Upstream;
use metering::caller::{ATTEMPT, GATEWAY_DEPLOYMENT, REQUEST_ID, Resolved, name_in};
use metering::usage::{Ids, Reason, Side, Target, Usage};

const CLIENT_REQUEST_ID: HeaderName = HeaderName::from_static("x-ms-client-request-id");
const RETRY_COUNT: HeaderName = HeaderName::from_static("x-stainless-retry-count");
const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// Characters of an identifier that goes into an event. A `traceparent` has 55.
const ID_CHARS_MAX: usize = 128;

/// The draft of a call's event that began at `at`. `headers` are the request's, as they arrived; the
/// gateway's own count only if the hop is trusted, or any client could join its call to another's, or say that the
/// gateway chose what it did not.
pub(super) fn draft(
    resolved: Resolved,
    at: Timestamp,
    surface: &Surface,
    upstream: &Upstream,
    headers: &HeaderMap,
    boot: &SmolStr,
) -> Usage {
    let id = |name: &HeaderName| text(headers, name);
    let of_gateway = |name: &HeaderName| if resolved.trusted { id(name) } else { None };
    let number = |text: Option<SmolStr>| text.and_then(|text| text.parse().ok());
    let target = Target {
        api: surface.api,
        resource: upstream.resource().clone(),
        project: surface.project.clone(),
        agent: surface.agent.clone(),
        deployment: surface.deployment.clone(),
        model_requested: surface.model.clone(),
        gateway_deployment: if resolved.trusted { name_in(headers, &GATEWAY_DEPLOYMENT) } else { None },
        api_version: surface.api_version.clone(),
        ..Target::default()
    };
    let mut draft = Usage::draft(resolved.caller, target);
    if let Some(operation) = surface.operation {
        draft.target.operation = Some(SmolStr::new_static(operation));
    }
    draft.request.attempt = number(of_gateway(&ATTEMPT)).or_else(|| number(id(&RETRY_COUNT)));
    draft.timing.started_at = Some(at);
    draft.unproven = resolved.unproven;
    if surface.is_odd {
        draft.accounting.add_reason(Side::Input, Reason::OddPath);
        draft.accounting.add_reason(Side::Output, Reason::OddPath);
    }
    draft.ids = Ids {
        response_id: surface.polled.clone(),
        gateway_request_id: of_gateway(&REQUEST_ID),
        client_request_id: id(&CLIENT_REQUEST_ID),
        traceparent: id(&TRACEPARENT),
        ..Ids::default()
    };
    draft.reporter.instance = boot.clone();
    draft
}

/// A field that is there once, printable and short.
fn text(headers: &HeaderMap, name: &HeaderName) -> Option<SmolStr> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?.to_str().ok()?;
    let fit = !value.is_empty() && value.len() <= ID_CHARS_MAX && values.next().is_none();
    fit.then(|| value.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_identifier_is_taken_only_if_it_is_one() {
        let name = REQUEST_ID;
        let mut headers = HeaderMap::new();
        assert_eq!(text(&headers, &name), None);
        headers.append(&name, "abc".parse().unwrap());
        assert_eq!(text(&headers, &name).as_deref(), Some("abc"));
        headers.append(&name, "def".parse().unwrap());
        assert_eq!(text(&headers, &name), None, "two values");
        for value in [&b"x".repeat(129)[..], b"", b"\xff"] {
            headers.insert(&name, http::HeaderValue::from_bytes(value).unwrap());
            assert_eq!(text(&headers, &name), None, "{value:?}");
        }
    }
}
