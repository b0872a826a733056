//! Services that refuse to be asked for usage: told from other refusals, and remembered.

use std::collections::HashMap;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::header::CONTENT_ENCODING;
use http::{Response, StatusCode};
use http_body::Body;
use memchr::memmem;
use smol_str::SmolStr;

use super::passing::Passing;

/// How much of a refusal is read to see what it refuses. Azure's have some 300 bytes.
const REFUSAL_BYTES_MAX: usize = 64 * 1024;

/// How long the caller of a refusal that does not end waits until it gets what there is.
const REFUSAL_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a refusal is remembered. A service learns new options with a new version; one call an
/// hour that is refused and sent again costs nobody anything.
const REMEMBERED: Duration = Duration::from_secs(3600);

/// Refusals that are remembered: more deployments than a gateway has. Beyond it the oldest goes.
const REFUSALS_MAX: usize = 1024;

/// What refuses: upstream, deployment (or model, where the path names none) and api-version.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct Asked {
    pub(super) upstream: usize,
    pub(super) deployment: Option<SmolStr>,
    pub(super) api_version: Option<SmolStr>,
}

/// What has refused lately, over all threads.
#[derive(Debug, Default)]
pub(super) struct Refusals(Mutex<HashMap<Asked, Instant>>);

impl Refusals {
    /// It refused within the last hour.
    pub(super) fn has(&self, asked: &Asked) -> bool {
        let table = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        table.get(asked).is_some_and(|at| at.elapsed() < REMEMBERED)
    }

    /// It has refused now.
    pub(super) fn remember(&self, asked: Asked) {
        let mut table = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if table.len() >= REFUSALS_MAX && !table.contains_key(&asked) {
            let oldest = table.iter().min_by_key(|(_, at)| **at).map(|(asked, _)| asked.clone());
            oldest.and_then(|oldest| table.remove(&oldest));
        }
        table.insert(asked, Instant::now());
    }
}

/// An answer, looked at.
pub(super) enum Looked<B: Body> {
    /// The service refuses `stream_options`, and did nothing: the request may be sent without.
    Refused,
    /// Anything else: it is passed on as it is.
    Other(Response<Passing<B>>),
}

/// Looks whether an answer refuses what we put into the request. Only the body of a 400 is waited for.
///
/// Dropping the future drops the answer.
pub(super) async fn look<B>(response: Response<B>) -> Looked<B>
where
    B: Body<Data = Bytes> + Unpin,
{
    let coded = response.headers().contains_key(CONTENT_ENCODING);
    if response.status() != StatusCode::BAD_REQUEST || coded {
        return Looked::Other(response.map(Passing::plain));
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
    if in_time && ended && refuses_options(&pieces.concat()) {
        return Looked::Refused;
    }
    Looked::Other(Response::from_parts(head, Passing::replay(pieces, broken, body)))
}

/// A 400 of this body is about `stream_options`, and the service did nothing. What it bills (a prompt
/// that was filtered, or is too long) names other things; where both are named it is not ours.
fn refuses_options(body: &[u8]) -> bool {
    let names = |word: &str| memmem::find(body, word.as_bytes()).is_some();
    let billed = ["content_filter", "ResponsibleAIPolicyViolation", "context_length_exceeded"];
    names("stream_options") && !billed.into_iter().any(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_refusal_of_our_own_doing_is_one() {
        for (body, refuses) in [
            (
                r#"{"error":{"message":"Unrecognized request argument supplied: stream_options","type":"invalid_request_error","param":null,"code":null}}"#,
                true,
            ),
            (
                r#"{"error":{"requestid":"r","code":400,"message":"Validation error at #/stream_options: Extra inputs are not permitted"}}"#,
                true,
            ),
            (
                r#"{"error":{"code":"content_filter","status":400,"param":"prompt","message":"stream_options"}}"#,
                false,
            ),
            (
                r#"{"error":{"innererror":{"code":"ResponsibleAIPolicyViolation"},"message":"stream_options"}}"#,
                false,
            ),
            (r#"{"error":{"code":"context_length_exceeded","message":"stream_options"}}"#, false),
            (r#"{"error":{"code":"invalid_type","message":"'messages' is a required property"}}"#, false),
            ("", false),
        ] {
            assert_eq!(refuses_options(body.as_bytes()), refuses, "{body}");
        }
    }

    #[test]
    fn refusals_are_remembered_and_not_too_many() {
        let refusals = Refusals::default();
        let asked =
            |n: usize| Asked { upstream: 0, deployment: Some(n.to_string().into()), api_version: None };
        for n in 0..REFUSALS_MAX + 5 {
            refusals.remember(asked(n));
            assert!(refusals.has(&asked(n)));
        }
        assert!(!refusals.has(&asked(0)) && !refusals.has(&asked(4)) && refusals.has(&asked(5)));
        assert!(!refusals.has(&Asked { upstream: 1, ..asked(9) }));
        assert!(!refusals.has(&Asked { api_version: Some("v1".into()), ..asked(9) }));
        assert_eq!(refusals.0.lock().unwrap().len(), REFUSALS_MAX);
    }
}
