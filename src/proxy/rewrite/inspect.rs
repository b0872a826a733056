//! `--include-usage inject` and `--streaming deny` must know the contents of a request before it is sent. Its body is
//! read ahead, up to `--max-inspect`; a longer one flows on at once under the former and is refused by the latter. How
//! slowly a body comes is its client's business: it is held to its own end, and to nothing else.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, EXPECT};
use http::{HeaderMap, HeaderValue, Method, Request, Response};
use http_body::Body;
use memchr::memmem;

use super::request_body::{InspectMemory, MemoryShare, RequestBody};
use super::stream_options::{OptionsRefusals, OptionsTarget, speaks_of_options};
use crate::proxy::config::Policy;
use crate::proxy::forward::headers::decode;
use crate::proxy::forward::refusal::Refusal;
use crate::proxy::forward::surface::{Surface, Treatment};
use crate::tee::{PinnedBytes, REQUEST_READ_BYTES_MAX};
use metering::chunk::{Inspected, Inspection, form_boundary};

/// The first api-version whose specification has `stream_options`. Older ones answer 400
/// (azure-rest-api-specs#29157).
const FIRST_DATE: &str = "2024-09-01";

/// The api-version that takes no `stream_options` beside an image (Azure.AI.OpenAI, AzureChatClient).
const NO_IMAGES: &str = "2024-09-01-preview";

/// How much of a body that calls itself a form is read to see that it is one, and whether a short one asks for a stream.
const FORM_BYTES: usize = 4 * 1024;

/// The state of the rewrites that all network threads share.
#[derive(Debug, Default)]
pub(crate) struct RewriteState {
    /// Memory for bodies that are read ahead.
    pub(crate) memory: InspectMemory,
    /// Upstreams that refuse to be asked for usage.
    pub(crate) refusals: Arc<OptionsRefusals>,
}

/// The checks of a request body.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct BodyChecks {
    /// The body must not ask for a stream.
    pub(crate) deny: bool,
    /// Nothing is known of its path but that forms with files go there: a body that calls itself a form must be
    /// one, and if it is short it must not ask for a stream.
    pub(crate) form: bool,
    /// If the body asks for a stream, it is made to ask for usage.
    pub(crate) ask: bool,
}

impl BodyChecks {
    /// There is nothing to check.
    pub(crate) fn is_empty(self) -> bool {
        self == BodyChecks::default()
    }
}

/// A request that may be sent.
#[derive(Debug)]
pub(crate) struct OutgoingRequest<B> {
    pub(crate) request: Request<RequestBody<B>>,
    /// Set if it was made to ask for usage: the request to send if the upstream refuses that.
    pub(crate) retry: Option<Retry>,
    /// It was not made to ask for usage, since the upstream has refused that before.
    pub(crate) remembered: bool,
}

/// A request as its caller wrote it.
#[derive(Debug)]
pub(crate) struct Retry {
    pub(crate) target: OptionsTarget,
    headers: HeaderMap,
    pieces: Vec<Bytes>,
    share: Arc<MemoryShare>,
}

impl Retry {
    /// The upstream may speak of its caller's own words.
    pub(crate) fn speaks_of_options(&self) -> bool {
        speaks_of_options(&self.pieces.concat())
    }

    /// The request, to be sent once more.
    pub(crate) fn request<B>(self) -> (OptionsTarget, Request<RequestBody<B>>) {
        let mut request = Request::new(RequestBody::with_ahead(self.pieces, self.share, None));
        *request.method_mut() = Method::POST;
        *request.headers_mut() = self.headers;
        (self.target, request)
    }
}

/// The checks of this request's body before it is sent.
pub(crate) fn body_checks(
    policy: &Policy,
    method: &Method,
    surface: &Surface,
    headers: &HeaderMap,
) -> BodyChecks {
    let metered_post = *method == Method::POST && surface.treatment == Treatment::Metered;
    let may_ask = metered_post && surface.api.asks_usage();
    let plain = is_json(headers) && !is_coded(headers);
    let short = length(headers).is_none_or(|bytes| bytes <= policy.inspect_bytes_max as u64);
    // The name of a body's type does not say how a service reads it.
    // Another reader may make something else of a path that is odd.
    let reads = surface.treatment == Treatment::Silent || *method == Method::GET;
    let may_stream = !reads && (surface.is_odd || surface.api.may_stream());
    // Files go to paths that are not known, and they are not requests for a stream.
    let form = !surface.api.is_known() && !surface.is_odd && is_form(headers);
    BodyChecks {
        deny: policy.deny_streaming && may_stream && !form,
        form: policy.deny_streaming && may_stream && form,
        ask: policy.inject_usage && may_ask && plain && short && takes_options(surface),
    }
}

/// The head alone asks for a stream: a websocket is one, and so is a stored response that is replayed.
pub(crate) fn streams_by_head<B>(request: &Request<B>, websocket: bool) -> bool {
    let asks = |pair: &str| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        decode(name).eq_ignore_ascii_case("stream") && !decode(value).eq_ignore_ascii_case("false")
    };
    let replayed = request.uri().query().is_some_and(|query| query.split('&').any(asks));
    websocket || replayed
}

/// The event with the usage can be told from the others: it is a stream, or may be one, and not coded.
pub(crate) fn may_carry_usage<B>(response: &Response<B>) -> bool {
    let kind = media_type(response.headers()).unwrap_or("");
    let streams = ["text/event-stream", "application/octet-stream", ""];
    let stream = streams.iter().any(|known| kind.eq_ignore_ascii_case(known));
    response.status().is_success() && stream && !is_coded(response.headers())
}

/// Reads the body ahead and decides; `request` has the fields that go to the upstream.
///
/// # Errors
/// The request must not be sent: the response to its client, and the rest of a body that is coming.
pub(crate) async fn inspect<B>(
    checks: BodyChecks,
    request: Request<B>,
    target: OptionsTarget,
    bytes_max: usize,
    state: &RewriteState,
) -> Result<OutgoingRequest<B>, (Refusal, Option<B>)>
where
    B: Body<Data = Bytes> + Unpin,
{
    let (mut parts, mut body) = request.into_parts();
    if checks.deny && length(&parts.headers).is_some_and(|bytes| bytes > bytes_max as u64) {
        let waits = parts.headers.contains_key(EXPECT);
        return Err((Refusal::TooLongToInspect, (!waits).then_some(body)));
    }
    let bytes_max = if checks.form { bytes_max.min(FORM_BYTES) } else { bytes_max };
    let mut prefix = BodyPrefix::read(&mut body, bytes_max, state).await;
    // hyper has sent 100 to a client that waited for it, so the body is ours to send.
    parts.headers.remove(EXPECT);
    let (pieces, _) = prefix.kept.take();
    if prefix.broken {
        return Err((Refusal::Body, None));
    }
    let found = prefix.inspection.finish();
    // A form that is long is one with a file.
    let looks =
        checks.deny || (checks.form && (prefix.whole || !is_true_form(&parts.headers, &pieces.concat())));
    if looks && let Some(refusal) = denied(&parts.headers, &pieces, prefix.whole || checks.form, &found) {
        return Err((refusal, (!prefix.whole).then_some(body)));
    }
    let share = Arc::new(prefix.share);
    let target = OptionsTarget { deployment: target.deployment.or(found.model), ..target };
    let images = found.images && target.api_version.as_deref() == Some(NO_IMAGES);
    let edit = found.edit.filter(|_| checks.ask && prefix.whole && !images);
    let remembered = edit.is_some() && state.refusals.remembers(&target);
    let Some(edit) = edit.filter(|_| !remembered) else {
        let rest = (!prefix.whole).then_some(body);
        let body = RequestBody::with_ahead(pieces, share, rest);
        return Ok(OutgoingRequest { request: Request::from_parts(parts, body), retry: None, remembered });
    };
    let edited = edit.apply(&pieces);
    let retry = Retry { target, headers: parts.headers.clone(), pieces, share: Arc::clone(&share) };
    // An event can only be taken out of a response that is not coded.
    parts.headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    let body = RequestBody::with_ahead(edited, share, None);
    Ok(OutgoingRequest { request: Request::from_parts(parts, body), retry: Some(retry), remembered: false })
}

/// The beginning of a body, as far as it was read ahead.
struct BodyPrefix {
    kept: PinnedBytes,
    share: MemoryShare,
    inspection: Inspection,
    whole: bool,
    /// Its client broke it off.
    broken: bool,
}

impl BodyPrefix {
    /// Reads to the body's end, to just over `bytes_max`, or until there is no room.
    async fn read<B>(body: &mut B, bytes_max: usize, state: &RewriteState) -> BodyPrefix
    where
        B: Body<Data = Bytes> + Unpin,
    {
        let (share, inspection) = (state.memory.share(), Inspection::default());
        let kept = PinnedBytes::new(REQUEST_READ_BYTES_MAX);
        let mut prefix = BodyPrefix { kept, share, inspection, whole: false, broken: false };
        let mut bytes = 0;
        while bytes <= bytes_max {
            prefix.whole = body.is_end_stream();
            if prefix.whole {
                break;
            }
            match poll_fn(|cx| Pin::new(&mut *body).poll_frame(cx)).await {
                Some(Ok(frame)) => {
                    // Trailers are dropped (RFC 9110 6.5.1).
                    let data = frame.into_data().unwrap_or_default();
                    bytes += data.len();
                    prefix.inspection.push(&data);
                    let fits = prefix.share.grow(prefix.kept.cost_bytes(data.len()));
                    prefix.kept.push(data);
                    if !fits {
                        break;
                    }
                }
                Some(Err(_)) => {
                    prefix.broken = true;
                    break;
                }
                None => {
                    prefix.whole = true;
                    break;
                }
            }
        }
        prefix
    }
}

/// Why this body must not go on under `--streaming deny`: unless it is certain to ask for no stream.
fn denied(headers: &HeaderMap, pieces: &[Bytes], whole: bool, found: &Inspected) -> Option<Refusal> {
    if !whole {
        return Some(Refusal::TooLongToInspect);
    }
    let streams = if pieces.is_empty() {
        false
    } else if is_coded(headers) {
        // Two readers of a coding may read two bodies, and this is a promise: it is not looked into.
        true
    } else if is_form(headers) && is_true_form(headers, &pieces.concat()) {
        form_may_stream(&pieces.concat())
    } else {
        found.may_stream || !found.readable
    };
    streams.then_some(Refusal::StreamingDenied)
}

/// A body that calls itself a form begins as one, with its boundary: else another reader may take it for JSON.
fn is_true_form(headers: &HeaderMap, body: &[u8]) -> bool {
    let kind = headers.get(CONTENT_TYPE).map_or(&b""[..], HeaderValue::as_bytes);
    let boundary = form_boundary(kind).filter(|boundary| !boundary.is_empty());
    let delimiter = boundary.map(|boundary| [b"--", &boundary[..]].concat());
    delimiter.is_some_and(|delimiter| body.trim_ascii_start().starts_with(&delimiter))
}

/// A form with a part `stream` that does not say `false`. Other readers of forms may be more
/// tolerant (of case, quotes and space), so a part that only looks like one counts.
fn form_may_stream(body: &[u8]) -> bool {
    let mut lower = body.to_ascii_lowercase();
    lower.retain(|byte| *byte != b'\\'); // quoted pairs
    let says_no = |from: usize| {
        let value = memmem::find(&lower[from..], b"\r\n\r\n").map(|at| &lower[from + at + 4..]);
        value.is_some_and(|value| value.starts_with(b"false\r\n"))
    };
    memmem::find_iter(&lower, "name").map(|at| at + "name".len()).any(|from| {
        let rest = lower[from..].trim_ascii_start();
        // `name*` is coded (RFC 8187), which forms do not do but for file names.
        let Some(value) = rest.strip_prefix(b"=") else {
            let is_file = lower[..from].ends_with(b"filename");
            return rest.starts_with(b"*") && !is_file && !says_no(from);
        };
        let value = value.trim_ascii_start();
        let value = value.strip_prefix(b"\"").or_else(|| value.strip_prefix(b"'")).unwrap_or(value);
        let behind = value.strip_prefix(b"stream").map(|rest| rest.first());
        let goes_on = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
        behind.is_some_and(|next| !next.is_some_and(goes_on)) && !says_no(from)
    })
}

/// The service knows `stream_options` at this version. Without a version it is the v1 surface, which
/// has no deployment in its path.
fn takes_options(surface: &Surface) -> bool {
    match surface.api_version.as_deref() {
        None => surface.deployment.is_none(),
        Some("v1" | "preview" | "latest") => true,
        Some(version) => {
            let date = version.get(..10).unwrap_or("");
            let is_digit =
                |(n, byte): (usize, u8)| if n == 4 || n == 7 { byte == b'-' } else { byte.is_ascii_digit() };
            date.len() == 10 && date.bytes().enumerate().all(is_digit) && date >= FIRST_DATE
        }
    }
}

fn length(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// The type, without its parameters.
fn media_type(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(CONTENT_TYPE)?.to_str().ok()?;
    Some(value.split(';').next().unwrap_or("").trim())
}

fn is_json(headers: &HeaderMap) -> bool {
    media_type(headers).is_some_and(|kind| kind.eq_ignore_ascii_case("application/json"))
}

fn is_form(headers: &HeaderMap) -> bool {
    media_type(headers).is_some_and(|kind| kind.to_ascii_lowercase().starts_with("multipart/"))
}

fn is_coded(headers: &HeaderMap) -> bool {
    headers.get_all(CONTENT_ENCODING).iter().any(|coding| coding != "identity")
}

#[cfg(test)]
mod tests;
