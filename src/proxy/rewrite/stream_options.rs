//! Upstreams that refuse to be asked for usage: their refusal is told from others, and remembered.

use std::collections::{BTreeMap, HashMap};
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::CONTENT_ENCODING;
use http::{Response, StatusCode};
use http_body::Body;
use memchr::memmem;
use serde_json::Value;
use smol_str::{SmolStr, StrExt};

use crate::proxy::upstream::body::UpstreamBody;
use crate::proxy::upstream::error::BoxError;

/// The member that is put into requests.
const OPTIONS: &str = "stream_options";

/// How much of a refusal is read to see what it refuses. Azure's have some 300 bytes.
const REFUSAL_BYTES_MAX: usize = 64 * 1024;

/// How long the client of a refusal that does not end waits until it gets the bytes that have come.
const REFUSAL_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a refusal is remembered. A service learns new options with a new version; one call an
/// hour that is refused and sent again costs nothing.
const REMEMBERED: Duration = Duration::from_secs(3600);

/// Refusals that are remembered: more deployments than a gateway has. Beyond it the oldest is dropped.
const REFUSALS_MAX: usize = 1024;

/// The place that a request asks for usage: upstream, deployment (or model, where the path names none) and api-version.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) struct OptionsTarget {
    pub(crate) upstream: usize,
    pub(crate) deployment: Option<SmolStr>,
    pub(crate) api_version: Option<SmolStr>,
}

impl OptionsTarget {
    /// The same in lower case: Azure disregards the case of a deployment's name, so another case is the same place.
    fn folded(&self) -> OptionsTarget {
        let deployment = self.deployment.as_deref().map(StrExt::to_ascii_lowercase_smolstr);
        OptionsTarget { deployment, ..self.clone() }
    }
}

/// The places that have refused lately, over all threads.
#[derive(Debug, Default)]
pub(crate) struct OptionsRefusals(Mutex<HashMap<OptionsTarget, KnownRefusal>>);

/// A place that refused.
#[derive(Clone, Debug)]
struct KnownRefusal {
    /// Its name as it was asked for last.
    deployment: Option<SmolStr>,
    /// The last refusal.
    at: Instant,
    /// The last one that is remembered.
    remembered: Option<Instant>,
}

impl OptionsRefusals {
    /// The place refused within the last hour, and that is remembered.
    pub(crate) fn remembers(&self, target: &OptionsTarget) -> bool {
        let table = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        table.get(&target.folded()).is_some_and(KnownRefusal::is_remembered)
    }

    /// The deployments that are not asked now, and how many upstreams and api-versions of each.
    pub(crate) fn unasked(&self) -> Vec<(String, u64)> {
        let table = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let mut unasked = BTreeMap::<&str, u64>::new();
        for known in table.values().filter(|known| known.is_remembered()) {
            *unasked.entry(known.deployment.as_deref().unwrap_or("")).or_default() += 1;
        }
        unasked.into_iter().map(|(deployment, n)| (deployment.to_owned(), n)).collect()
    }

    /// The place has refused now. Returns true if that is new, and worth a line in the log.
    pub(crate) fn add(&self, target: OptionsTarget, remember: bool) -> bool {
        let mut table = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let (target, deployment) = (target.folded(), target.deployment);
        if table.len() >= REFUSALS_MAX && !table.contains_key(&target) {
            let oldest = table.iter().min_by_key(|(_, known)| known.at).map(|(target, _)| target.clone());
            oldest.and_then(|oldest| table.remove(&oldest));
        }
        let now = Instant::now();
        let before = table.get(&target).map(|known| known.remembered);
        let remembered = remember.then_some(now).or(before.flatten());
        table.insert(target, KnownRefusal { deployment, at: now, remembered });
        before.is_none()
    }
}

impl KnownRefusal {
    fn is_remembered(&self) -> bool {
        self.remembered.is_some_and(|at| at.elapsed() < REMEMBERED)
    }
}

/// The outcome of [`check_refusal`].
#[expect(clippy::large_enum_variant, reason = "the large one is the rule, and is moved on at once")]
pub(crate) enum RefusalCheck<B> {
    /// The upstream refuses `stream_options`, and did nothing: the request may be sent without.
    Refused {
        /// It named the member itself, not only in a sentence.
        by_name: bool,
    },
    /// Anything else: it is passed on as it is.
    Other(Response<UpstreamBody<B>>),
}

/// Checks whether a response refuses the member that we put into the request. Only the body of one that may is
/// waited for.
///
/// Dropping the future drops the response.
pub(crate) async fn check_refusal<B>(response: Response<UpstreamBody<B>>) -> RefusalCheck<B>
where
    B: Body<Data = Bytes> + Unpin + Send + 'static,
    B::Error: Into<BoxError>,
{
    let coded = response.headers().contains_key(CONTENT_ENCODING);
    if !may_refuse(response.status()) || coded {
        return RefusalCheck::Other(response);
    }
    let (head, mut body) = response.into_parts();
    let (mut pieces, mut bytes, mut broken, mut ended) = (Vec::new(), 0, None, body.is_end_stream());
    let read = async {
        while !ended && bytes < REFUSAL_BYTES_MAX {
            match poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {
                Some(Ok(frame)) => {
                    let data = frame.into_data().unwrap_or_default();
                    bytes += data.len();
                    pieces.push(data);
                    ended = body.is_end_stream();
                }
                Some(Err(error)) => {
                    broken = Some(error);
                    return;
                }
                None => ended = true,
            }
        }
    };
    let in_time = tokio::time::timeout(REFUSAL_TIMEOUT, read).await.is_ok();
    if in_time
        && ended
        && let Some(by_name) = refuses_options(head.status, &pieces.concat())
    {
        return RefusalCheck::Refused { by_name };
    }
    body.put_back(pieces, broken);
    RefusalCheck::Other(Response::from_parts(head, body))
}

/// Statuses of a refusal: 400 of Azure and OpenAI, 422 of services that check requests by pydantic, and
/// those by which a front says that the service behind it refused (424 is that of Azure's endpoints).
fn may_refuse(status: StatusCode) -> bool {
    is_refusal(status.as_u16().into()) || status == StatusCode::FAILED_DEPENDENCY || status.is_server_error()
}

/// The request is at fault.
fn is_refusal(status: u64) -> bool {
    matches!(status, 400 | 422)
}

/// `Some` if a response of this body is about `stream_options` and the service did nothing; then whether it names that
/// member by itself. Refusals that it bills (of a prompt that was filtered, or is too long) name other things; where
/// both are named the refusal is not of our doing. Any other status must be that of a front: its body says the real one.
fn refuses_options(status: StatusCode, body: &[u8]) -> Option<bool> {
    let names = |word: &str| memmem::find(body, word.as_bytes()).is_some();
    let billed = ["content_filter", "ResponsibleAIPolicyViolation", "context_length_exceeded"];
    if !names(OPTIONS) || billed.into_iter().any(names) {
        return None;
    }
    let document = serde_json::from_slice(body).unwrap_or(Value::Null);
    let refuses = is_refusal(status.as_u16().into()) || wraps_refusal(&document);
    refuses.then(|| names_options(&document))
}

/// A document that says of itself, or of the error that it wraps, that the request was at fault.
fn wraps_refusal(document: &Value) -> bool {
    let Some(members) = document.as_object() else { return false };
    let number = |value: &Value| value.as_u64().or_else(|| value.as_str()?.trim().parse().ok());
    members.iter().any(|(name, value)| match name.as_str() {
        "status" | "status_code" | "statusCode" | "code" => number(value).is_some_and(is_refusal),
        "error" | "innererror" | "inner_error" | "detail" | "body" => wraps_refusal(value),
        _ => false,
    })
}

/// A `param` (OpenAI), or the `loc` of a detail (pydantic), points to `stream_options`. The caller's `input`, where it
/// is repeated, says nothing.
fn names_options(document: &Value) -> bool {
    let is_path = |path: &str| {
        path.strip_prefix(OPTIONS).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']))
    };
    match document {
        Value::Object(members) => members.iter().any(|(name, value)| match (name.as_str(), value) {
            ("param", Value::String(path)) => is_path(path),
            ("loc", Value::Array(path)) => path.iter().any(|step| step == OPTIONS),
            ("input", _) => false,
            (_, value) => names_options(value),
        }),
        Value::Array(entries) => entries.iter().any(names_options),
        _ => false,
    }
}

/// A body that could make a service speak of `stream_options` by itself: it holds the word, or escapes
/// of plain letters, which may hide it and which are not written otherwise.
pub(crate) fn speaks_of_options(body: &[u8]) -> bool {
    let hides = |at: usize| matches!(body.get(at + 2..at + 6), Some([b'0', b'0', b'2'..=b'7', digit]) if digit.is_ascii_hexdigit());
    memmem::find(body, OPTIONS.as_bytes()).is_some() || memmem::find_iter(body, r"\u").any(hides)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_refusal_of_our_own_doing_is_one() {
        for (status, body, refuses) in [
            (
                400,
                r#"{"error":{"message":"Unrecognized request argument supplied: stream_options","type":"invalid_request_error","param":null,"code":null}}"#,
                Some(false),
            ),
            (
                400,
                r#"{"error":{"message":"Unknown parameter: 'stream_options.include_usage'.","param":"stream_options.include_usage"}}"#,
                Some(true),
            ),
            (
                400,
                r#"{"error":{"requestid":"r","code":400,"message":"Validation error at #/stream_options: Extra inputs are not permitted"}}"#,
                Some(false),
            ),
            (
                422,
                r#"{"detail":[{"type":"extra_forbidden","loc":["body","stream_options"],"msg":"Extra inputs are not permitted","input":{"include_usage":true}}]}"#,
                Some(true),
            ),
            (
                422,
                r#"{"error":{"code":"Invalid input","status":422,"message":"invalid input error","details":[{"type":"extra_forbidden","loc":["body","stream_options"]}]}}"#,
                Some(true),
            ),
            (424, r#"{"error":{"status":422,"details":[{"loc":["body","stream_options"]}]}}"#, Some(true)),
            (500, r#"{"error":{"code":"422","message":"stream_options: extra_forbidden"}}"#, Some(false)),
            (502, r#"{"status":400,"error":{"param":"stream_options"}}"#, Some(true)),
            (502, r#"{"detail":{"error":{"statusCode":400,"param":"stream_options"}}}"#, Some(true)),
            // Not said to be the caller's fault.
            (500, r#"{"error":{"message":"stream_options 422","code":"InternalServerError"}}"#, None),
            (500, r#"{"error":{"status":500,"param":"stream_options"},"echo":{"status":422}}"#, None),
            (503, "stream_options 422", None),
            // A detail of another member; a repeated input.
            (
                422,
                r#"{"detail":[{"loc":["body","messages"],"input":{"loc":["stream_options"]}}]}"#,
                Some(false),
            ),
            (400, r#"{"error":{"param":"stream_options_of_mine","message":"stream_options"}}"#, Some(false)),
            (
                400,
                r#"{"error":{"code":"content_filter","status":400,"param":"prompt","message":"stream_options"}}"#,
                None,
            ),
            (
                422,
                r#"{"error":{"innererror":{"code":"ResponsibleAIPolicyViolation"},"message":"stream_options"}}"#,
                None,
            ),
            (400, r#"{"error":{"code":"context_length_exceeded","message":"stream_options"}}"#, None),
            (400, r#"{"error":{"code":"invalid_type","message":"'messages' is a required property"}}"#, None),
            (400, "stream_options", Some(false)),
            (400, "", None),
        ] {
            let status = StatusCode::from_u16(status).unwrap();
            assert_eq!(refuses_options(status, body.as_bytes()), refuses, "{status} {body}");
        }
        for status in [200, 401, 403, 404, 408, 409, 413, 429] {
            assert!(!may_refuse(StatusCode::from_u16(status).unwrap()), "{status}");
        }
    }

    #[test]
    fn the_word_is_found_however_it_is_hidden() {
        for (body, speaks) in [
            (r#"{"stream":true,"messages":[{"content":"stream\noptions é \u00e9\u0007 \\n"}]}"#, false),
            (r#"{"stream":true,"stream_options":null}"#, true),
            (r#"{"content":"say stream_options"}"#, true),
            (r#"{"content":"stream\u005foptions"}"#, true),
            (r#"{"content":"\u0073tream_option\u0073"}"#, true),
            (r#"{"content":"\u00"#, false),
            ("", false),
        ] {
            assert_eq!(speaks_of_options(body.as_bytes()), speaks, "{body}");
        }
    }

    #[test]
    fn refusals_are_remembered_and_not_too_many() {
        let refusals = OptionsRefusals::default();
        let target = |n: usize| OptionsTarget {
            upstream: 0,
            deployment: Some(n.to_string().into()),
            api_version: None,
        };
        for n in 0..REFUSALS_MAX + 5 {
            assert!(refusals.add(target(n), true));
            assert!(refusals.remembers(&target(n)));
        }
        assert!(
            !refusals.remembers(&target(0))
                && !refusals.remembers(&target(4))
                && refusals.remembers(&target(5))
        );
        assert!(!refusals.remembers(&OptionsTarget { upstream: 1, ..target(9) }));
        assert_eq!(refusals.unasked().len(), REFUSALS_MAX);
        assert!(!refusals.remembers(&OptionsTarget { api_version: Some("v1".into()), ..target(9) }));
        assert_eq!(refusals.0.lock().unwrap().len(), REFUSALS_MAX);
    }

    #[test]
    fn a_refusal_is_told_once_and_remembered_for_a_time() {
        let refusals = OptionsRefusals::default();
        let target = OptionsTarget { upstream: 0, deployment: None, api_version: None };
        assert!(refusals.add(target.clone(), false) && !refusals.remembers(&target));
        assert!(!refusals.add(target.clone(), true) && refusals.remembers(&target));
        assert!(
            !refusals.add(target.clone(), false) && refusals.remembers(&target),
            "what is known stays known"
        );
        assert_eq!(refusals.unasked(), [(String::new(), 1)]);
        let Some(past) = Instant::now().checked_sub(REMEMBERED) else { return };
        refusals.0.lock().unwrap().get_mut(&target).unwrap().remembered = Some(past);
        assert!(!refusals.remembers(&target) && !refusals.add(target.clone(), false));
        assert_eq!(refusals.unasked(), []);
    }

    #[test]
    fn a_deployment_in_another_case_is_the_same_one() {
        let refusals = OptionsRefusals::default();
        let target =
            |name: &str| OptionsTarget { upstream: 0, deployment: Some(name.into()), api_version: None };
        assert!(refusals.add(target("GPT-4o"), true) && !refusals.add(target("gpt-4O"), false));
        assert!(refusals.remembers(&target("gpt-4o")));
        refusals.add(OptionsTarget { upstream: 1, ..target("gpt-4O") }, true);
        assert_eq!(refusals.unasked(), [("gpt-4O".to_owned(), 2)], "as it was asked for last");
    }
}
