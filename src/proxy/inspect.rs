//! Policies that must know what a request says before it is sent: `--include-usage inject` and
//! `--streaming deny`. Its body is read ahead, up to `--max-inspect`; a longer one flows on at once
//! under the former and is refused by the latter. How slowly a body comes is its caller's business:
//! it is held to its own end, and to nothing else.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;

use bytes::Bytes;
use http::header::{ACCEPT_ENCODING, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, EXPECT};
use http::{HeaderMap, HeaderValue, Method, Request, Response};
use http_body::Body;
use memchr::memmem;

use super::Policy;
use super::answer::Refusal;
use super::headers::decode;
use super::outbound::{Held, Outbound, Room};
use super::refused::{Asked, Refusals, speaks_of_options};
use super::surface::{Surface, Treatment};
use crate::tee::{Kept, REQUEST_READ_BYTES_MAX};
use metering::chunk::{Inspected, Inspection, form_boundary};
use metering::usage::Api;

/// The first api-version whose specification has `stream_options`. Older ones answer 400
/// (azure-rest-api-specs#29157).
const FIRST_DATE: &str = "2024-09-01";

/// The api-version that takes no `stream_options` beside an image (Azure.AI.OpenAI, AzureChatClient).
const NO_IMAGES: &str = "2024-09-01-preview";

/// How much of what calls itself a form is read to see that it is one, and what a short one says.
const FORM_BYTES: usize = 4 * 1024;

/// What the network threads have in common for these policies.
#[derive(Debug, Default)]
pub(super) struct Common {
    /// Memory for bodies that are read ahead.
    pub(super) held: Held,
    /// Who refuses to be asked for usage.
    pub(super) refusals: Arc<Refusals>,
}

/// What a request's body is looked at for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Plan {
    /// It must not ask for a stream.
    pub(super) deny: bool,
    /// Nothing is known of its path but that forms with files go there: what calls itself a form must be
    /// one, and if it is short it must not ask for a stream.
    pub(super) form: bool,
    /// If it asks for a stream, it is made to ask for usage.
    pub(super) ask: bool,
}

impl Plan {
    /// Nothing is looked at.
    pub(super) fn is_nothing(self) -> bool {
        self == Plan::default()
    }
}

/// A request that may be sent.
#[derive(Debug)]
pub(super) struct Outgoing<B> {
    pub(super) request: Request<Outbound<B>>,
    /// It was made to ask for usage: how it is sent if the service refuses that.
    pub(super) again: Option<Again>,
    /// It was not, since the service has refused that before.
    pub(super) remembered: bool,
}

/// A request as its caller wrote it.
#[derive(Debug)]
pub(super) struct Again {
    pub(super) asked: Asked,
    headers: HeaderMap,
    pieces: Vec<Bytes>,
    room: Arc<Room>,
}

impl Again {
    /// Its caller's own words may be what the service speaks of.
    pub(super) fn speaks_of_options(&self) -> bool {
        speaks_of_options(&self.pieces.concat())
    }

    /// The request, to be sent once more.
    pub(super) fn request<B>(self) -> (Asked, Request<Outbound<B>>) {
        let mut request = Request::new(Outbound::behind(self.pieces, self.room, None));
        *request.method_mut() = Method::POST;
        *request.headers_mut() = self.headers;
        (self.asked, request)
    }
}

/// What must be known of this request before it is sent.
pub(super) fn plan(policy: &Policy, method: &Method, surface: &Surface, headers: &HeaderMap) -> Plan {
    let metered_post = *method == Method::POST && surface.treatment == Treatment::Metered;
    let may_ask = metered_post && matches!(surface.api, Api::ChatCompletions | Api::Completions);
    let plain = is_json(headers) && !is_coded(headers);
    let short = length(headers).is_none_or(|bytes| bytes <= policy.inspect_bytes_max as u64);
    // What a body is called says nothing of what a service makes of it.
    let may_stream = surface.treatment != Treatment::Silent
        && match surface.api {
            // Who knows what another reader makes of it.
            _ if surface.is_odd => true,
            Api::ChatCompletions | Api::Completions | Api::Responses => true,
            Api::Images | Api::Audio | Api::Assistants | Api::Other => true,
            Api::Embeddings | Api::Batch | Api::Websocket => false,
        };
    // Files go to paths that nobody knows, and they are no request for a stream.
    let form = surface.api == Api::Other && !surface.is_odd && is_form(headers);
    Plan {
        deny: policy.deny_streaming && may_stream && !form,
        form: policy.deny_streaming && may_stream && form,
        ask: policy.inject_usage && may_ask && plain && short && takes_options(surface),
    }
}

/// The head alone asks for a stream: a websocket is one, and so is a stored answer that is replayed.
pub(super) fn streams_by_head<B>(request: &Request<B>, websocket: bool) -> bool {
    let asks = |pair: &str| {
        let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
        decode(name).eq_ignore_ascii_case("stream") && !decode(value).eq_ignore_ascii_case("false")
    };
    let replayed = request.uri().query().is_some_and(|query| query.split('&').any(asks));
    websocket || replayed
}

/// The event with the usage can be told from the others: it is a stream, or may be one, and not coded.
pub(super) fn may_carry_usage<B>(answer: &Response<B>) -> bool {
    let kind = media_type(answer.headers()).unwrap_or("");
    let streams = ["text/event-stream", "application/octet-stream", ""];
    let stream = streams.iter().any(|known| kind.eq_ignore_ascii_case(known));
    answer.status().is_success() && stream && !is_coded(answer.headers())
}

/// Reads the body ahead and decides; `request` has the fields that go to the service.
///
/// # Errors
/// The request must not be sent: what its caller is told, and what is left of a body that is coming.
pub(super) async fn inspect<B>(
    plan: Plan,
    request: Request<B>,
    asked: Asked,
    bytes_max: usize,
    common: &Common,
) -> Result<Outgoing<B>, (Refusal, Option<B>)>
where
    B: Body<Data = Bytes> + Unpin,
{
    let (mut parts, mut wire) = request.into_parts();
    if plan.deny && length(&parts.headers).is_some_and(|bytes| bytes > bytes_max as u64) {
        let waits = parts.headers.contains_key(EXPECT);
        return Err((Refusal::TooLongToInspect, (!waits).then_some(wire)));
    }
    let bytes_max = if plan.form { bytes_max.min(FORM_BYTES) } else { bytes_max };
    let mut ahead = Ahead::read(&mut wire, bytes_max, common).await;
    // hyper has said 100 to a caller that waited for it, so the body is ours to send.
    parts.headers.remove(EXPECT);
    let (pieces, _) = ahead.kept.take();
    if ahead.broken {
        return Err((Refusal::Body, None));
    }
    let found = ahead.inspection.finish();
    // A form that is long is one with a file.
    let looks = plan.deny || (plan.form && (ahead.whole || !is_true_form(&parts.headers, &pieces.concat())));
    if looks && let Some(refusal) = denied(&parts.headers, &pieces, ahead.whole || plan.form, &found) {
        return Err((refusal, (!ahead.whole).then_some(wire)));
    }
    let room = Arc::new(ahead.room);
    let asked = Asked { deployment: asked.deployment.or(found.model), ..asked };
    let images = found.images && asked.api_version.as_deref() == Some(NO_IMAGES);
    let edit = found.edit.filter(|_| plan.ask && ahead.whole && !images);
    let remembered = edit.is_some() && common.refusals.has(&asked);
    let Some(edit) = edit.filter(|_| !remembered) else {
        let rest = (!ahead.whole).then_some(wire);
        let body = Outbound::behind(pieces, room, rest);
        return Ok(Outgoing { request: Request::from_parts(parts, body), again: None, remembered });
    };
    let edited = edit.apply(&pieces);
    let again = Again { asked, headers: parts.headers.clone(), pieces, room: Arc::clone(&room) };
    // An event can only be taken out of an answer that is not coded.
    parts.headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
    let body = Outbound::behind(edited, room, None);
    Ok(Outgoing { request: Request::from_parts(parts, body), again: Some(again), remembered: false })
}

/// What was read of a body.
struct Ahead {
    kept: Kept,
    room: Room,
    inspection: Inspection,
    whole: bool,
    /// Its caller broke it off.
    broken: bool,
}

impl Ahead {
    /// Reads to the body's end, to just over `bytes_max`, or until there is no room.
    async fn read<B>(wire: &mut B, bytes_max: usize, common: &Common) -> Ahead
    where
        B: Body<Data = Bytes> + Unpin,
    {
        let (room, inspection) = (common.held.room(), Inspection::default());
        let kept = Kept::new(REQUEST_READ_BYTES_MAX);
        let mut ahead = Ahead { kept, room, inspection, whole: false, broken: false };
        let mut bytes = 0;
        while bytes <= bytes_max {
            ahead.whole = wire.is_end_stream();
            if ahead.whole {
                break;
            }
            match poll_fn(|cx| Pin::new(&mut *wire).poll_frame(cx)).await {
                Some(Ok(frame)) => {
                    // Trailers are dropped (RFC 9110 6.5.1).
                    let data = frame.into_data().unwrap_or_default();
                    bytes += data.len();
                    ahead.inspection.push(&data);
                    let fits = ahead.room.grow(ahead.kept.cost_bytes(data.len()));
                    ahead.kept.push(data);
                    if !fits {
                        break;
                    }
                }
                Some(Err(_)) => {
                    ahead.broken = true;
                    break;
                }
                None => {
                    ahead.whole = true;
                    break;
                }
            }
        }
        ahead
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
        // Two readers of a coding may read two bodies, and this is a promise: nobody looks into it.
        true
    } else if is_form(headers) && is_true_form(headers, &pieces.concat()) {
        form_may_stream(&pieces.concat())
    } else {
        found.may_stream || !found.readable
    };
    streams.then_some(Refusal::StreamingDenied)
}

/// What calls itself a form begins as one, with its boundary: else another reader may take it for JSON.
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
