//! Responses of ours, in the upstream's own shape.

use http::header::{CONNECTION, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderValue, Response, StatusCode};

use super::response_body::ResponseBody;
use crate::proxy::server::idle_clock::ClientIdle;
use crate::proxy::upstream::error::UpstreamError;
use crate::tee::CallGuard;
use metering::meter::Ending;

/// Why the response is ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// No upstream has this name.
    UnknownUpstream,
    /// A method or target that only a forward proxy takes.
    Method,
    /// A transfer coding other than `chunked`.
    TransferCoding,
    /// The ledger has no place and the configuration wants no unrecorded call.
    LedgerFull,
    /// The record of the call's content has no room, and the configuration wants no call without.
    CaptureUnavailable,
    /// Sessions are not captured, and the configuration wants none without a record.
    SessionUncaptured,
    /// As many calls as may be at once are running.
    TooManyCalls,
    /// The hop has not proved itself, and the configuration wants proof.
    Untrusted,
    /// The call carries an API key, and the configuration wants none.
    ApiKey,
    /// Two readers may make two things of the path, and the configuration refuses such paths.
    OddPath,
    /// No connection to the upstream.
    Unreachable,
    /// A connection, but no response that could be passed on.
    NoResponse,
    /// A stream is asked for, or may be, where none is allowed.
    StreamingDenied,
    /// The body is too long to know whether it asks for one.
    TooLongToInspect,
    /// No response in the time that the configuration allows.
    Timeout,
    /// No `Host`, or more than one (RFC 9112 3.2).
    Host,
    /// The request's body broke off or its framing is not valid.
    Body,
    /// The client sent nothing of the request's body for too long.
    ClientIdle,
}

impl Refusal {
    /// The refusal for a call that got no response.
    pub(super) fn of(error: &UpstreamError) -> Refusal {
        match error {
            UpstreamError::Unsent(_) => Refusal::Unreachable,
            UpstreamError::Timeout => Refusal::Timeout,
            UpstreamError::RequestBody(error) if error.is::<ClientIdle>() => Refusal::ClientIdle,
            UpstreamError::RequestBody(_) => Refusal::Body,
            _ => Refusal::NoResponse,
        }
    }

    pub(super) fn status(self) -> StatusCode {
        match self {
            Refusal::UnknownUpstream => StatusCode::NOT_FOUND,
            Refusal::Method => StatusCode::METHOD_NOT_ALLOWED,
            Refusal::TransferCoding => StatusCode::NOT_IMPLEMENTED,
            Refusal::LedgerFull
            | Refusal::CaptureUnavailable
            | Refusal::SessionUncaptured
            | Refusal::TooManyCalls => StatusCode::SERVICE_UNAVAILABLE,
            Refusal::Untrusted | Refusal::ApiKey => StatusCode::FORBIDDEN,
            Refusal::Unreachable | Refusal::NoResponse => StatusCode::BAD_GATEWAY,
            Refusal::StreamingDenied => StatusCode::FORBIDDEN,
            Refusal::TooLongToInspect => StatusCode::PAYLOAD_TOO_LARGE,
            Refusal::Timeout => StatusCode::GATEWAY_TIMEOUT,
            Refusal::Host | Refusal::Body | Refusal::OddPath => StatusCode::BAD_REQUEST,
            Refusal::ClientIdle => StatusCode::REQUEST_TIMEOUT,
        }
    }

    /// The JSON of it. Code and message are ours and fixed, so nothing needs escaping.
    fn json(self) -> &'static str {
        match self {
            Refusal::UnknownUpstream => {
                r#"{"error":{"code":"unknown_upstream","message":"The first path segment names no upstream."}}"#
            }
            Refusal::Method => {
                r#"{"error":{"code":"method_not_allowed","message":"This is no forward proxy."}}"#
            }
            Refusal::TransferCoding => {
                r#"{"error":{"code":"transfer_coding","message":"Only the transfer coding chunked is supported."}}"#
            }
            Refusal::LedgerFull => {
                r#"{"error":{"code":"ledger_full","message":"Usage cannot be recorded now. Try again."}}"#
            }
            Refusal::CaptureUnavailable => {
                r#"{"error":{"code":"capture_unavailable","message":"The record that this call must have cannot be kept now."}}"#
            }
            Refusal::SessionUncaptured => {
                r#"{"error":{"code":"capture_unavailable","message":"A session has no record here, and must have one."}}"#
            }
            Refusal::TooManyCalls => {
                r#"{"error":{"code":"too_many_calls","message":"Too many calls are running. Try again."}}"#
            }
            Refusal::Untrusted => {
                r#"{"error":{"code":"untrusted_hop","message":"Calls must come through the gateway."}}"#
            }
            Refusal::ApiKey => {
                r#"{"error":{"code":"api_key_denied","message":"API keys are not accepted here."}}"#
            }
            Refusal::OddPath => {
                r#"{"error":{"code":"odd_path","message":"This path can be read in more than one way: it has an escape of what needs none, a dot segment, a dot or a space at the end of a segment, ';', a backslash, a control character, or more than one 'deployments'. Write it plainly."}}"#
            }
            Refusal::Unreachable => {
                r#"{"error":{"code":"upstream_unreachable","message":"No connection to the service."}}"#
            }
            Refusal::NoResponse => {
                r#"{"error":{"code":"upstream_broken","message":"The service gave no valid answer."}}"#
            }
            Refusal::StreamingDenied => {
                r#"{"error":{"code":"streaming_denied","message":"Streams are not allowed here, and this request asks for one or cannot be read."}}"#
            }
            Refusal::TooLongToInspect => {
                r#"{"error":{"code":"request_too_long","message":"Streams are not allowed here, and this request is too long to be inspected."}}"#
            }
            Refusal::Timeout => {
                r#"{"error":{"code":"upstream_timeout","message":"The service did not answer in time."}}"#
            }
            Refusal::Body => r#"{"error":{"code":"bad_body","message":"The request's body is not whole."}}"#,
            Refusal::ClientIdle => {
                r#"{"error":{"code":"request_timeout","message":"The rest of the request did not come in time."}}"#
            }
            Refusal::Host => {
                r#"{"error":{"code":"bad_host","message":"A request needs exactly one Host field."}}"#
            }
        }
    }

    pub(super) fn response(self) -> Response<ResponseBody> {
        let mut response = Response::new(ResponseBody::own(self.json()));
        *response.status_mut() = self.status();
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let unended = matches!(self, Refusal::Body | Refusal::ClientIdle);
        if unended || matches!(self, Refusal::TransferCoding | Refusal::Host | Refusal::Method) {
            // Where the message ends is not certain, so nothing behind it is read.
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        if matches!(self, Refusal::LedgerFull | Refusal::CaptureUnavailable | Refusal::TooManyCalls) {
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}

/// Responds to a request that is not sent.
pub(super) fn reject(call: Option<CallGuard>, mut refusal: Refusal) -> Response<ResponseBody> {
    let broke = refusal == Refusal::Body;
    if broke && call.as_ref().is_some_and(|call| call.call().is_client_idle()) {
        refusal = Refusal::ClientIdle;
    }
    if let Some(call) = call {
        call.call().responded_by_us(refusal.status(), true);
        // A request that its client broke off ends like any other that is broken off: by the client.
        call.end(if broke { Ending::ClientDisconnect } else { Ending::Rejected });
    }
    refusal.response()
}

/// Responds where there is no response to pass on.
pub(super) fn give_up(call: Option<CallGuard>, refusal: Refusal, ending: Ending) -> Response<ResponseBody> {
    if let Some(call) = call {
        call.call().responded_by_us(refusal.status(), refusal == Refusal::Unreachable);
        call.end(ending);
    }
    refusal.response()
}
