//! Header fields and target on their way through: an intermediary must take some off (RFC 9110 7.6.1), and some must
//! not reach the upstream.

use std::borrow::Cow;

use http::header::{
    CONNECTION, EXPECT, HOST, PROXY_AUTHENTICATE, PROXY_AUTHORIZATION, TE, TRAILER, TRANSFER_ENCODING,
    UPGRADE, VIA,
};
use http::{HeaderMap, HeaderName, HeaderValue, Uri, Version};
use percent_encoding::percent_decode_str;
use smol_str::SmolStr;

use crate::proxy::config::Removals;

/// Fields that end at this hop whether or not `Connection` names them.
static HOP_BY_HOP: [HeaderName; 9] = [
    CONNECTION,
    HeaderName::from_static("keep-alive"),
    HeaderName::from_static("proxy-connection"),
    PROXY_AUTHENTICATE,
    PROXY_AUTHORIZATION,
    TE,
    TRAILER,
    TRANSFER_ENCODING,
    UPGRADE,
];

/// Makes a request's fields those of the next hop. `Host` and framing are the sender's.
pub(super) fn to_upstream(headers: &mut HeaderMap, version: Version, removals: &Removals) {
    let lengths = Lengths::of(headers);
    remove_hop_by_hop(headers, lengths);
    for name in removals.headers.iter().filter(|name| lengths.may_have(name)) {
        headers.remove(name);
    }
    headers.remove(HOST);
    // RFC 9110 10.1.1: the expectation of an HTTP/1.0 request is ignored.
    if version < Version::HTTP_11 {
        headers.remove(EXPECT);
    }
    let via = if version < Version::HTTP_11 { "1.0 tokenweir" } else { "1.1 tokenweir" };
    headers.append(VIA, HeaderValue::from_static(via));
}

/// Makes a response's fields those of the hop to the client.
pub(super) fn to_client(headers: &mut HeaderMap) {
    remove_hop_by_hop(headers, Lengths::of(headers));
}

fn remove_hop_by_hop(headers: &mut HeaderMap, lengths: Lengths) {
    let named: Vec<HeaderName> = headers
        .get_all(CONNECTION)
        .iter()
        .flat_map(|value| value.as_bytes().split(|&byte| byte == b','))
        .filter_map(|token| HeaderName::from_bytes(token.trim_ascii()).ok())
        .collect();
    for name in named.iter().chain(&HOP_BY_HOP).filter(|name| lengths.may_have(name)) {
        headers.remove(name);
    }
}

/// The lengths of the names of some fields, a bit for each length. Of the twenty names that are taken off
/// most are not there, and this says so without a hash of each.
#[derive(Clone, Copy, Debug)]
struct Lengths(u64);

impl Lengths {
    fn of(headers: &HeaderMap) -> Lengths {
        Lengths(headers.keys().fold(0, |lengths, name| lengths | Lengths::bit(name)))
    }

    fn may_have(self, name: &HeaderName) -> bool {
        self.0 & Lengths::bit(name) != 0
    }

    /// Names of 63 bytes and more share one.
    fn bit(name: &HeaderName) -> u64 {
        1 << name.as_str().len().min(63)
    }
}

/// The target on the wire: path and query as they arrived, without the upstream's prefix and
/// without the removed parameters.
pub(super) fn target(uri: &Uri, prefix: Option<&str>, removals: &Removals) -> String {
    let path = path(uri, prefix);
    let mut target = String::with_capacity(path.len() + uri.query().map_or(0, |query| query.len() + 1));
    target.push_str(path);
    if let Some(query) = uri.query() {
        let removed = |pair: &&str| {
            let name = decode(pair.split('=').next().unwrap_or(""));
            removals.query.iter().any(|removed| removed.eq_ignore_ascii_case(&name))
        };
        if query.split('&').any(|pair| removed(&pair)) {
            let mut separator = '?';
            for pair in query.split('&').filter(|pair| !removed(pair)) {
                target.push(separator);
                target.push_str(pair);
                separator = '&';
            }
        } else {
            target.push('?');
            target.push_str(query);
        }
    }
    target
}

/// The path behind the upstream's prefix.
pub(super) fn path<'a>(uri: &'a Uri, prefix: Option<&str>) -> &'a str {
    let path = uri.path();
    let rest = match prefix {
        None => path,
        Some(name) => path.strip_prefix('/').and_then(|path| path.strip_prefix(name)).unwrap_or(path),
    };
    if rest.is_empty() { "/" } else { rest }
}

/// Undoes percent-encoding; bytes that are not UTF-8 become U+FFFD.
pub(crate) fn decode(text: &str) -> Cow<'_, str> {
    percent_decode_str(text).decode_utf8_lossy()
}

/// A parameter of a query, decoded; the first of its name.
pub(super) fn parameter(query: Option<&str>, name: &str) -> Option<SmolStr> {
    query?.split('&').find_map(|pair| {
        let (key, value) = pair.split_once('=')?;
        (decode(key) == name).then(|| decode(value).into())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(fields: &[(&str, &str)]) -> HeaderMap {
        fields
            .iter()
            .map(|(name, value)| (name.parse::<HeaderName>().unwrap(), value.parse().unwrap()))
            .collect()
    }

    fn removals() -> Removals {
        Removals {
            headers: vec![HeaderName::from_static("x-apim-subscription-id")],
            query: vec!["subscription-key".to_owned()],
        }
    }

    #[test]
    fn what_ends_here_is_removed_and_the_rest_stays() {
        let mut headers = map(&[
            ("connection", "keep-alive, X-Foo"),
            ("x-foo", "1"),
            ("keep-alive", "timeout=5"),
            ("te", "trailers"),
            ("transfer-encoding", "chunked"),
            ("upgrade", "h2c"),
            ("host", "gateway"),
            ("x-apim-subscription-id", "s"),
            ("authorization", "Bearer t"),
            ("x-bar", "2"),
        ]);
        to_upstream(&mut headers, Version::HTTP_11, &removals());
        assert_eq!(headers, map(&[("authorization", "Bearer t"), ("x-bar", "2"), ("via", "1.1 tokenweir")]));
    }

    #[test]
    fn names_of_any_length_are_found() {
        for length in [1, 2, 62, 63, 64, 65, 127, 128, 300] {
            let name = "x".repeat(length);
            let mut headers = map(&[("connection", &name), (&name, "1"), ("stays", "2")]);
            to_client(&mut headers);
            assert_eq!(headers, map(&[("stays", "2")]), "{length}");
        }
    }

    #[test]
    fn via_is_added_behind_those_that_are_there() {
        let mut headers = map(&[("via", "1.1 apim")]);
        to_upstream(&mut headers, Version::HTTP_10, &removals());
        let via: Vec<_> = headers.get_all(VIA).iter().collect();
        assert_eq!(via, ["1.1 apim", "1.0 tokenweir"]);
    }

    #[test]
    fn targets_keep_their_bytes() {
        for (uri, prefix, expected) in [
            ("/a%2Fb//c;d/?x=&&y=%20+", None, "/a%2Fb//c;d/?x=&&y=%20+"),
            ("/eu/openai/x?api-version=1", Some("eu"), "/openai/x?api-version=1"),
            ("/eu", Some("eu"), "/"),
            ("/eu?a", Some("eu"), "/?a"),
            ("/x?", None, "/x?"),
            ("/x?a=1&subscription-key=s&b=2", None, "/x?a=1&b=2"),
            ("/x?Subscription-Key=s", None, "/x"),
            ("/x?subscription%2Dkey=s&a", None, "/x?a"),
            ("/x?a=subscription-key=s", None, "/x?a=subscription-key=s"),
            ("/x?%73UBSCRIPTION-key=s", None, "/x"),
            // Other names, which no gateway takes for its key.
            ("/x?subscription-key%00=s", None, "/x?subscription-key%00=s"),
            ("/x?subscription-key[]=s", None, "/x?subscription-key[]=s"),
            ("/x?a;subscription-key=s", None, "/x?a;subscription-key=s"),
            ("/x?+subscription-key=s", None, "/x?+subscription-key=s"),
            ("http://other.example/x?a", None, "/x?a"),
        ] {
            assert_eq!(target(&uri.parse().unwrap(), prefix, &removals()), expected, "{uri}");
        }
    }

    #[test]
    fn decoding_never_fails() {
        assert_eq!(decode("a%20b%2fc"), "a b/c");
        assert_eq!(decode("%"), "%");
        assert_eq!(decode("%4"), "%4");
        assert_eq!(decode("%zz%ff"), "%zz\u{fffd}");
        assert_eq!(parameter(Some("a=1&api-version=2024%2D10"), "api-version").as_deref(), Some("2024-10"));
        assert_eq!(parameter(Some("a=1"), "api-version"), None);
    }
}
