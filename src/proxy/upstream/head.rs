//! Heads on the wire: the request's written, the answer's read.
//!
//! Strict where leniency would let two readers see two messages (RFC 9112 6.3): an answer with both
//! `Transfer-Encoding` and `Content-Length`, with lengths that differ, or with a coding other than
//! `chunked` is refused.

use std::mem::MaybeUninit;

use bytes::{BufMut, Bytes, BytesMut};
use http::header::{CONNECTION, CONTENT_LENGTH, HOST, TRANSFER_ENCODING};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use smol_str::format_smolstr;

use super::chunked::Chunked;

/// Bytes of an answer's head. Azure's are about 1 KiB; more than this is a fault.
pub(super) const HEAD_BYTES_MAX: usize = 64 * 1024;

/// Fields of an answer's head, for the same reason.
const FIELDS_MAX: usize = 100;

/// The service's own fields, whose names need not be copied out of every answer. Those of captured ones.
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

/// How a request's body is framed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sending {
    Nothing,
    Length(u64),
    Chunked,
}

/// How an answer's body is framed.
#[derive(Debug)]
pub(super) enum Framing {
    /// So many bytes are still to come.
    Length(u64),
    Chunked(Chunked),
    /// To the end of the connection.
    Close,
}

/// The head of an answer.
#[derive(Debug)]
pub(super) struct Head {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) framing: Framing,
    /// The connection may serve another request after this one.
    pub(super) keep_alive: bool,
}

/// Why an answer's head cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("the answer's head is not valid HTTP: {0}")]
pub(super) struct BadHead(pub(super) &'static str);

/// Writes a request's head. `headers` must be free of `Host` and of hop-by-hop fields.
pub(super) fn write(
    to: &mut BytesMut,
    method: &Method,
    target: &str,
    host: &HeaderValue,
    headers: &HeaderMap,
    sending: Sending,
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
    match sending {
        Sending::Nothing => {}
        Sending::Length(bytes) => field(to, &CONTENT_LENGTH, format_smolstr!("{bytes}").as_bytes()),
        Sending::Chunked => field(to, &TRANSFER_ENCODING, b"chunked"),
    }
    to.put_slice(b"\r\n");
}

fn field(to: &mut BytesMut, name: &HeaderName, value: &[u8]) {
    to.put_slice(name.as_str().as_bytes());
    to.put_slice(b": ");
    to.put_slice(value);
    to.put_slice(b"\r\n");
}

/// Reads the head of an answer to `method` off the front of `buf`; `None` if it is not whole yet.
pub(super) fn read(buf: &mut BytesMut, method: &Method) -> Result<Option<Head>, BadHead> {
    let mut fields = [const { MaybeUninit::uninit() }; FIELDS_MAX];
    let mut parsed = httparse::Response::new(&mut []);
    // RFC 9112 5.1: a proxy removes whitespace between name and colon from an answer.
    let status = httparse::ParserConfig::default()
        .allow_spaces_after_header_name_in_responses(true)
        .parse_response_with_uninit_headers(&mut parsed, buf, &mut fields);
    let length = match status {
        Ok(httparse::Status::Complete(length)) if length <= HEAD_BYTES_MAX => length,
        Ok(httparse::Status::Partial) if buf.len() < HEAD_BYTES_MAX => return Ok(None),
        Ok(_) => return Err(BadHead("too long")),
        Err(_) => return Err(BadHead("syntax")),
    };
    let version_11 = parsed.version == Some(1);
    let code = parsed.code.unwrap_or(0);
    let start = buf.as_ptr() as usize;
    let mut places = Vec::with_capacity(parsed.headers.len());
    for header in parsed.headers.iter() {
        let name = name(header.name)?;
        let from = header.value.as_ptr() as usize - start;
        places.push((name, from..from + header.value.len()));
    }
    let wire = buf.split_to(length).freeze();
    let mut headers = HeaderMap::with_capacity(places.len());
    for (name, place) in places {
        headers.append(name, value(&wire, place)?);
    }
    let status = StatusCode::from_u16(code).map_err(|_| BadHead("status"))?;
    let framing = framing(method, status, &headers, version_11)?;
    let keep_alive =
        version_11 && !matches!(framing, Framing::Close) && !has_token(&headers, &CONNECTION, "close");
    Ok(Some(Head { status, headers, framing, keep_alive }))
}

fn name(text: &str) -> Result<HeaderName, BadHead> {
    match FIELDS_OF_AZURE.iter().find(|name| name.as_str().eq_ignore_ascii_case(text)) {
        Some(name) => Ok(name.clone()),
        None => HeaderName::from_bytes(text.as_bytes()).map_err(|_| BadHead("field name")),
    }
}

/// A field's value: a view of the head, or nothing where it is empty.
fn value(wire: &Bytes, place: std::ops::Range<usize>) -> Result<HeaderValue, BadHead> {
    let bytes = if place.is_empty() { Bytes::new() } else { wire.slice(place) };
    HeaderValue::from_maybe_shared(bytes).map_err(|_| BadHead("field value"))
}

/// How long the body is (RFC 9112 6.3).
fn framing(
    method: &Method,
    status: StatusCode,
    headers: &HeaderMap,
    version_11: bool,
) -> Result<Framing, BadHead> {
    let length = length(headers)?;
    let coded = headers.contains_key(TRANSFER_ENCODING);
    if coded && length.is_some() {
        return Err(BadHead("both Transfer-Encoding and Content-Length"));
    }
    if coded && !(version_11 && only_chunked(headers)) {
        return Err(BadHead("Transfer-Encoding"));
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
fn length(headers: &HeaderMap) -> Result<Option<u64>, BadHead> {
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
            _ => return Err(BadHead("Content-Length")),
        }
    }
    Ok(length)
}

/// `Transfer-Encoding` says `chunked` and nothing else.
pub(in crate::proxy) fn only_chunked(headers: &HeaderMap) -> bool {
    let mut values = headers.get_all(TRANSFER_ENCODING).iter();
    values.next().is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"chunked"))
        && values.next().is_none()
}

/// A list field has this member, in any case.
pub(in crate::proxy) fn has_token(headers: &HeaderMap, name: &HeaderName, token: &str) -> bool {
    headers.get_all(name).iter().any(|value| {
        value
            .as_bytes()
            .split(|&byte| byte == b',')
            .any(|part| part.trim_ascii().eq_ignore_ascii_case(token.as_bytes()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Option<Head>, BadHead> {
        read(&mut BytesMut::from(text), &Method::POST)
    }

    #[test]
    fn a_head_is_read_only_when_it_is_whole_and_leaves_the_body() {
        let text = "HTTP/1.1 200 OK\r\nA:  b \r\nContent-Length: 3\r\nEmpty:\r\n\r\nabc";
        let end = text.len() - 3;
        for cut in 0..end {
            assert!(parse(&text[..cut]).unwrap().is_none(), "cut {cut}");
        }
        let mut buf = BytesMut::from(text);
        let head = read(&mut buf, &Method::POST).unwrap().unwrap();
        assert_eq!(head.headers["a"], "b");
        assert_eq!(head.headers["empty"], "");
        assert!(matches!(head.framing, Framing::Length(3)) && head.keep_alive);
        assert_eq!(&buf[..], b"abc");
    }

    #[test]
    fn names_of_the_service_are_read_in_any_case() {
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
        let head = read(&mut BytesMut::from("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n"), &Method::HEAD);
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
        assert!(parse(&format!("HTTP/1.1 200 OK\r\nA: {}", "x".repeat(HEAD_BYTES_MAX))).is_err());
    }
}
