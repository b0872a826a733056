//! What a caller gets: the service's answer, or a refusal of ours in the service's own shape.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderValue, Response, StatusCode};
use http_body::{Body, Frame, SizeHint};
use http_body_util::Full;

use super::drain::Leaving;
use super::outbound::Outbound;
use super::passing::Passing;
use super::stall::{Arriving, Stalled};
use super::upstream::{Broken, Download};
use crate::tee::{Conclude, RequestTap, ResponseTap};
use metering::meter::Ending;

/// The service's answer as it comes.
pub(super) type Wire = Passing<Download<Outbound<RequestTap<Arriving>>>>;

/// The body of what a caller gets.
#[derive(Debug)]
pub(super) enum Answer {
    Service(Passing<Leaving<Wire>>),
    Own(Full<Bytes>),
}

impl Answer {
    /// The service's answer to a request that has been read to its end.
    pub(super) fn request_is_whole(&self) -> bool {
        match self {
            Answer::Service(body) => body.get_ref().call().is_some_and(|call| call.request_is_whole()),
            Answer::Own(_) => false,
        }
    }

    /// The service's answer, if its call is not over: whoever takes it sees to its end.
    pub(super) fn into_tap(self) -> Option<ResponseTap<Wire>> {
        match self {
            Answer::Service(body) => body.into_inner().into_tap().filter(|tap| tap.call().is_some()),
            Answer::Own(_) => None,
        }
    }
}

/// Why we answer ourselves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// No upstream has this name.
    UnknownUpstream,
    /// A method or target that only a forward proxy takes.
    Method,
    /// A transfer coding other than `chunked`.
    TransferCoding,
    /// The ledger has no place and the configuration wants no unrecorded call.
    LedgerFull,
    /// As many calls as may be at once are running.
    TooManyCalls,
    /// The hop has not proved itself, and the configuration wants proof.
    Untrusted,
    /// The call carries an API key, and the configuration wants none.
    ApiKey,
    /// Two readers may make two things of the path, and the configuration wants none such.
    OddPath,
    /// No connection to the service.
    Unreachable,
    /// A connection, but no answer that could be passed on.
    NoAnswer,
    /// A stream is asked for, or may be, where none is allowed.
    StreamingDenied,
    /// The body is too long to know whether it asks for one.
    TooLongToInspect,
    /// No answer in the time that the configuration allows.
    Timeout,
    /// No `Host`, or more than one (RFC 9112 3.2).
    Host,
    /// The request's body broke off or its framing is not valid.
    Body,
    /// The caller sent nothing of the request's body for too long.
    CallerIdle,
}

impl Refusal {
    /// What the caller is told where there is no answer.
    pub(super) fn of(broken: &Broken) -> Refusal {
        match broken {
            Broken::Unsent(_) => Refusal::Unreachable,
            Broken::Timeout => Refusal::Timeout,
            Broken::Caller(error) if error.is::<Stalled>() => Refusal::CallerIdle,
            Broken::Caller(_) => Refusal::Body,
            _ => Refusal::NoAnswer,
        }
    }

    pub(super) fn status(self) -> StatusCode {
        match self {
            Refusal::UnknownUpstream => StatusCode::NOT_FOUND,
            Refusal::Method => StatusCode::METHOD_NOT_ALLOWED,
            Refusal::TransferCoding => StatusCode::NOT_IMPLEMENTED,
            Refusal::LedgerFull | Refusal::TooManyCalls => StatusCode::SERVICE_UNAVAILABLE,
            Refusal::Untrusted | Refusal::ApiKey => StatusCode::FORBIDDEN,
            Refusal::Unreachable | Refusal::NoAnswer => StatusCode::BAD_GATEWAY,
            Refusal::StreamingDenied => StatusCode::FORBIDDEN,
            Refusal::TooLongToInspect => StatusCode::PAYLOAD_TOO_LARGE,
            Refusal::Timeout => StatusCode::GATEWAY_TIMEOUT,
            Refusal::Host | Refusal::Body | Refusal::OddPath => StatusCode::BAD_REQUEST,
            Refusal::CallerIdle => StatusCode::REQUEST_TIMEOUT,
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
            Refusal::NoAnswer => {
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
            Refusal::CallerIdle => {
                r#"{"error":{"code":"request_timeout","message":"The rest of the request did not come in time."}}"#
            }
            Refusal::Host => {
                r#"{"error":{"code":"bad_host","message":"A request needs exactly one Host field."}}"#
            }
        }
    }

    pub(super) fn response(self) -> Response<Answer> {
        let mut response = Response::new(Answer::Own(Full::new(Bytes::from_static(self.json().as_bytes()))));
        *response.status_mut() = self.status();
        response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let unended = matches!(self, Refusal::Body | Refusal::CallerIdle);
        if unended || matches!(self, Refusal::TransferCoding | Refusal::Host | Refusal::Method) {
            // Where the message ends is not certain, so nothing behind it is read.
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        if matches!(self, Refusal::LedgerFull | Refusal::TooManyCalls) {
            response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
        }
        response
    }
}

/// The request is not sent.
pub(super) fn reject(call: Option<Conclude>, mut refusal: Refusal) -> Response<Answer> {
    let broke = refusal == Refusal::Body;
    if broke && call.as_ref().is_some_and(|call| call.call().is_caller_idle()) {
        refusal = Refusal::CallerIdle;
    }
    if let Some(call) = call {
        call.call().answered_by_us(refusal.status(), true);
        // A request that its caller broke off ends as any other that is: by the caller.
        call.end(if broke { Ending::ClientDisconnect } else { Ending::Rejected });
    }
    refusal.response()
}

/// There is no answer to pass on.
pub(super) fn give_up(call: Option<Conclude>, refusal: Refusal, ending: Ending) -> Response<Answer> {
    if let Some(call) = call {
        call.call().answered_by_us(refusal.status(), refusal == Refusal::Unreachable);
        call.end(ending);
    }
    refusal.response()
}

impl Body for Answer {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        match self.get_mut() {
            Answer::Service(body) => Pin::new(body).poll_frame(cx),
            Answer::Own(body) => Pin::new(body).poll_frame(cx).map_err(|never| match never {}),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Answer::Service(body) => body.is_end_stream(),
            Answer::Own(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Answer::Service(body) => body.size_hint(),
            Answer::Own(body) => body.size_hint(),
        }
    }
}
