//! The heads of requests, which are written, and of responses, which are read.
//!
//! Strict where leniency would let two readers see two messages (RFC 9112 6.3): a response with both
//! `Transfer-Encoding` and `Content-Length`, with lengths that differ, or with a coding other than
//! `chunked` is refused.

use std::mem::MaybeUninit;
use std::ops::Range;

use bytes::{BufMut, Bytes, BytesMut};
use http::header::{CONNECTION, CONTENT_LENGTH, HOST, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use smol_str::format_smolstr;

use super::chunked::Chunked;
use super::error::HeadError;
use super::framing::{Framing, RequestFraming};
use crate::proxy::config::Limits;
use crate::proxy::fields::{has_token, only_chunked};

/// Bytes of a response's head that are always taken: `--max-header-bytes` may be less for the sake of
/// requests, and must not break a response. Azure's are about 1 KiB.
const HEAD_BYTES_MIN: usize = 64 * 1024;

/// Fields of a response's head for which there is room at once. Azure's have some 25.
const FIELDS_USUAL: usize = 100;

/// The settings that limit heads.
const BYTES_SETTING: &str = "max-header-bytes";
const FIELDS_SETTING: &str = "max-headers";

/// How large the head of a response may be.
#[derive(Clone, Copy, Debug)]
pub(super) struct HeadLimits {
    bytes: usize,
    fields: usize,
}

impl HeadLimits {
    pub(super) fn of(limits: &Limits) -> HeadLimits {
        HeadLimits { bytes: limits.header_bytes.max(HEAD_BYTES_MIN), fields: limits.headers }
    }
}

/// The fields of Azure's own, as captured responses have them: their names need not be copied out of every response.
static FIELDS_OF_AZURE: [HeaderName; 15] = [
    HeaderName::from_static("apim-request-id"),
    HeaderName::from_static("azureml-model-session"),
    HeaderName::from_static("cmp-upstream-response-duration"),
    HeaderName::from_static("ms-azureml-model-time"),
    HeaderName::from_static("x-accel-buffering"),
    HeaderName::from_static("x-envoy-upstream-service-time"),
    HeaderName::from_static("x-ms-client-request-id"),
    HeaderName::from_static("x-ms-deployment-name"),
    HeaderName::from_static("x-ms-rai-invoked"),
    HeaderName::from_static("x-ms-region"),
    HeaderName::from_static("x-ratelimit-limit-requests"),
    HeaderName::from_static("x-ratelimit-limit-tokens"),
    HeaderName::from_static("x-ratelimit-remaining-requests"),
    HeaderName::from_static("x-ratelimit-remaining-tokens"),
    HeaderName::from_static("x-request-id"),
];

/// The head of a response.
#[derive(Debug)]
pub(super) struct ResponseHead {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) framing: Framing,
    /// The connection may serve another request after this one.
    pub(super) keep_alive: bool,
}

/// Writes a request's head. `headers` must be free of `Host` and of hop-by-hop fields.
pub(super) fn write(
    to: &mut BytesMut,
    method: &Method,
    target: &str,
    host: &HeaderValue,
    headers: &HeaderMap,
    framing: RequestFraming,
) {
    to.reserve(256 + headers.len() * 64);
    to.put_slice(method.as_str().as_bytes());
    to.put_slice(b" ");
    to.put_slice(target.as_bytes());
    to.put_slice(b" HTTP/1.1\r\n");
    field(to, &HOST, host.as_bytes());
    for (name, value) in headers {
        field(to, name, value.as_bytes());
    }
    match framing {
        RequestFraming::Empty => {}
        RequestFraming::Length(bytes) => field(to, &CONTENT_LENGTH, format_smolstr!("{bytes}").as_bytes()),
        RequestFraming::Chunked => field(to, &TRANSFER_ENCODING, b"chunked"),
    }
    to.put_slice(b"\r\n");
}

fn field(to: &mut BytesMut, name: &HeaderName, value: &[u8]) {
    to.put_slice(name.as_str().as_bytes());
    to.put_slice(b": ");
    to.put_slice(value);
    to.put_slice(b"\r\n");
}

/// Reads the head of the response to a `method` request off the front of `buf`; `None` if it is not whole yet.
pub(super) fn read(
    buf: &mut BytesMut,
    method: &Method,
    limits: HeadLimits,
) -> Result<Option<ResponseHead>, HeadError> {
    let Some(parsed) = parse(buf, limits)? else { return Ok(None) };
    let wire = buf.split_to(parsed.length).freeze();
    let mut headers = HeaderMap::with_capacity(parsed.fields.len());
    for (name, place) in parsed.fields {
        headers.append(name, value(&wire, place)?);
    }
    let status = StatusCode::from_u16(parsed.code).map_err(|_| HeadError::Malformed("status"))?;
    let framing = framing(method, status, &headers, parsed.version_11)?;
    let keep_alive =
        parsed.version_11 && !matches!(framing, Framing::Close) && !has_token(&headers, &CONNECTION, "close");
    Ok(Some(ResponseHead { status, headers, framing, keep_alive }))
}

/// A head as it lies in its buffer.
struct Parsed {
    length: usize,
    code: u16,
    version_11: bool,
    /// The names, and where the values are.
    fields: Vec<(HeaderName, Range<usize>)>,
}

fn parse(buf: &[u8], limits: HeadLimits) -> Result<Option<Parsed>, HeadError> {
    let mut few = [const { MaybeUninit::uninit() }; FIELDS_USUAL];
    match parse_into(buf, &mut few[..FIELDS_USUAL.min(limits.fields)], limits) {
        Err(HeadError::Limit { setting: FIELDS_SETTING, .. }) if limits.fields > FIELDS_USUAL => {
            parse_into(buf, &mut vec![MaybeUninit::uninit(); limits.fields], limits)
        }
        parsed => parsed,
    }
}

fn parse_into<'b>(
    buf: &'b [u8],
    fields: &mut [MaybeUninit<httparse::Header<'b>>],
    limits: HeadLimits,
) -> Result<Option<Parsed>, HeadError> {
    let mut parsed = httparse::Response::new(&mut []);
    // RFC 9112 5.1: a proxy removes whitespace between name and colon from a response.
    let status = httparse::ParserConfig::default()
        .allow_spaces_after_header_name_in_responses(true)
        .parse_response_with_uninit_headers(&mut parsed, buf, fields);
    let limit = |what, max, setting| Err(HeadError::Limit { what, max, setting });
    let length = match status {
        Ok(httparse::Status::Complete(length)) if length <= limits.bytes => length,
        Ok(httparse::Status::Partial) if buf.len() < limits.bytes => return Ok(None),
        Ok(_) => return limit("bytes", limits.bytes, BYTES_SETTING),
        Err(httparse::Error::TooManyHeaders) => return limit("fields", limits.fields, FIELDS_SETTING),
        Err(_) => return Err(HeadError::Malformed("syntax")),
    };
    let start = buf.as_ptr() as usize;
    let mut fields = Vec::with_capacity(parsed.headers.len());
    for header in parsed.headers.iter() {
        let name = name(header.name)?;
        let from = header.value.as_ptr() as usize - start;
        fields.push((name, from..from + header.value.len()));
    }
    let (code, version_11) = (parsed.code.unwrap_or(0), parsed.version == Some(1));
    Ok(Some(Parsed { length, code, version_11, fields }))
}

fn name(text: &str) -> Result<HeaderName, HeadError> {
    match FIELDS_OF_AZURE.iter().find(|name| name.as_str().eq_ignore_ascii_case(text)) {
        Some(name) => Ok(name.clone()),
        None => HeaderName::from_bytes(text.as_bytes()).map_err(|_| HeadError::Malformed("field name")),
    }
}

/// A field's value: a view of the head, or nothing where it is empty.
fn value(wire: &Bytes, place: Range<usize>) -> Result<HeaderValue, HeadError> {
    let bytes = if place.is_empty() { Bytes::new() } else { wire.slice(place) };
    HeaderValue::from_maybe_shared(bytes).map_err(|_| HeadError::Malformed("field value"))
}

/// How long the body is (RFC 9112 6.3).
fn framing(
    method: &Method,
    status: StatusCode,
    headers: &HeaderMap,
    version_11: bool,
) -> Result<Framing, HeadError> {
    let length = length(headers)?;
    let coded = headers.contains_key(TRANSFER_ENCODING);
    if coded && length.is_some() {
        return Err(HeadError::Malformed("both Transfer-Encoding and Content-Length"));
    }
    if coded && !(version_11 && only_chunked(headers)) {
        return Err(HeadError::Malformed("Transfer-Encoding"));
    }
    if method == Method::HEAD
        || status.is_informational()
        || matches!(status, StatusCode::NO_CONTENT | StatusCode::NOT_MODIFIED)
    {
        return Ok(Framing::Length(0));
    }
    Ok(match length {
        _ if coded => Framing::Chunked(Chunked::new()),
        Some(bytes) => Framing::Length(bytes),
        None => Framing::Close,
    })
}

/// The one length that all `Content-Length` fields agree on.
fn length(headers: &HeaderMap) -> Result<Option<u64>, HeadError> {
    let mut length = None;
    for value in headers.get_all(CONTENT_LENGTH) {
        let digits = value.as_bytes();
        let bytes = value.to_str().ok().and_then(|text| text.parse::<u64>().ok());
        match bytes {
            Some(bytes)
                if digits.iter().all(u8::is_ascii_digit) && length.is_none_or(|known| known == bytes) =>
            {
                length = Some(bytes);
            }
            _ => return Err(HeadError::Malformed("Content-Length")),
        }
    }
    Ok(length)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn usual() -> HeadLimits {
        HeadLimits::of(&Limits::default())
    }

    fn parse(text: &str) -> Result<Option<ResponseHead>, HeadError> {
        read(&mut BytesMut::from(text), &Method::POST, usual())
    }

    #[test]
    fn a_head_is_read_only_when_it_is_whole_and_leaves_the_body() {
        let text = "HTTP/1.1 200 OK\r\nA:  b \r\nContent-Length: 3\r\nEmpty:\r\n\r\nabc";
        let end = text.len() - 3;
        for cut in 0..end {
            assert!(parse(&text[..cut]).unwrap().is_none(), "cut {cut}");
        }
        let mut buf = BytesMut::from(text);
        let head = read(&mut buf, &Method::POST, usual()).unwrap().unwrap();
        assert_eq!(head.headers["a"], "b");
        assert_eq!(head.headers["empty"], "");
        assert!(matches!(head.framing, Framing::Length(3)) && head.keep_alive);
        assert_eq!(&buf[..], b"abc");
    }

    #[test]
    fn names_of_the_upstream_are_read_in_any_case() {
        for name in &FIELDS_OF_AZURE {
            for text in [name.to_string(), name.as_str().to_ascii_uppercase()] {
                let head = parse(&format!("HTTP/1.1 200 OK\r\n{text}: a\r\n{text}x: b\r\n\r\n"));
                let headers = head.unwrap().unwrap().headers;
                assert_eq!((headers.len(), &headers[name]), (2, &HeaderValue::from_static("a")), "{text}");
            }
        }
    }

    #[test]
    fn framing_follows_the_rfc() {
        let of = |text: &str| parse(text).unwrap().unwrap();
        assert!(matches!(of("HTTP/1.1 200 OK\r\n\r\n").framing, Framing::Close));
        assert!(!of("HTTP/1.1 200 OK\r\n\r\n").keep_alive);
        assert!(matches!(of("HTTP/1.1 204 No\r\n\r\n").framing, Framing::Length(0)));
        assert!(matches!(
            of("HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n").framing,
            Framing::Chunked(_)
        ));
        let same = of("HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\n");
        assert!(matches!(same.framing, Framing::Length(3)));
        assert!(!of("HTTP/1.1 200 OK\r\nConnection: x, Close\r\nContent-Length: 0\r\n\r\n").keep_alive);
        assert!(!of("HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n").keep_alive);
        let mut buf = BytesMut::from("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n");
        let head = read(&mut buf, &Method::HEAD, usual());
        assert!(matches!(head.unwrap().unwrap().framing, Framing::Length(0)));
    }

    #[test]
    fn ambiguous_heads_are_refused() {
        for fields in [
            "Transfer-Encoding: chunked\r\nContent-Length: 3",
            "Content-Length: 3\r\nContent-Length: 4",
            "Content-Length: +3",
            "Content-Length: 3, 3",
            "Content-Length: 99999999999999999999",
            "Transfer-Encoding: gzip, chunked",
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
            "Transfer-Encoding: identity",
            "A: b\r\n c",
            "A b: c",
        ] {
            assert!(parse(&format!("HTTP/1.1 200 OK\r\n{fields}\r\n\r\n")).is_err(), "{fields}");
        }
        assert!(parse("HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").is_err());
        assert!(parse("HTTP/2 200\r\n\r\n").is_err());
    }

    #[test]
    fn a_head_is_as_large_as_the_settings_allow_and_who_refuses_it_is_named() {
        let limits =
            |header_bytes, headers| HeadLimits::of(&Limits { header_bytes, headers, ..Limits::default() });
        let read_with = |limits: HeadLimits, text: &str| {
            read(&mut BytesMut::from(text), &Method::POST, limits).map_err(|error| error.to_string())
        };
        let fields = |count: usize| {
            let fields: String = (0..count).map(|n| format!("a-{n}: {n}\r\n")).collect();
            format!("HTTP/1.1 200 OK\r\n{fields}\r\n")
        };
        for (max, count) in [(100, 100), (20, 20), (1000, 101), (1000, 1000)] {
            let head = read_with(limits(64 << 10, max), &fields(count)).unwrap().unwrap();
            assert_eq!(head.headers.len(), count);
            assert_eq!(head.headers[&format!("a-{}", count - 1)], (count - 1).to_string());
        }
        for (max, count) in [(100, 101), (20, 21), (1000, 1001)] {
            let error = read_with(limits(64 << 10, max), &fields(count)).unwrap_err();
            assert_eq!(error, format!("the answer's head has more than {max} fields (--max-headers)"));
        }
        let long = |bytes: usize| format!("HTTP/1.1 200 OK\r\nA: {}", "x".repeat(bytes));
        for (max, bytes) in [(8 << 10, 64 << 10), (64 << 10, 64 << 10), (128 << 10, 128 << 10)] {
            let error = read_with(limits(max, 100), &long(bytes)).unwrap_err();
            assert_eq!(error, format!("the answer's head has more than {bytes} bytes (--max-header-bytes)"));
            assert!(read_with(limits(max, 100), &long(bytes - 100)).unwrap().is_none());
        }
    }
}
