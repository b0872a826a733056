//! That a request is meant for this port: a page of another site must not read what callers do.
//!
//! A site may have its own name resolve to this machine (DNS rebinding); then the browser takes this port for a part
//! of that site, and sends the site's name as `Host`. A number cannot be made to resolve elsewhere, and `localhost` is
//! the browser's own, so these are taken, with any port: a forwarded one is another than that which is listened at.

use std::net::{IpAddr, Ipv6Addr};

use http::header::HOST;
use http::uri::Authority;
use http::{HeaderMap, Request};

/// The name of this machine, to itself.
const LOCALHOST: &str = "localhost";

/// The request names another host than this, or none.
pub(in crate::admin) fn is_foreign<B>(request: &Request<B>) -> bool {
    let mut hosts = request.headers().get_all(HOST).iter();
    let (Some(host), None) = (hosts.next(), hosts.next()) else { return true };
    let named = host.to_str().ok().and_then(|host| host.parse::<Authority>().ok());
    !(named.is_some_and(|named| is_own(&named)) && request.uri().authority().is_none_or(is_own))
}

/// A host of this machine, a port or none, and nothing else: what is read of a host must be all of it.
fn is_own(authority: &Authority) -> bool {
    let rest = authority.as_str().strip_prefix(authority.host());
    let is_whole = rest.is_some_and(|rest| rest.is_empty() || rest.strip_prefix(':').is_some_and(is_port));
    is_whole && is_own_host(authority.host())
}

fn is_port(text: &str) -> bool {
    text.parse::<u16>().is_ok()
}

/// A number, or a name that never leaves this machine (RFC 6761, section 6.3).
fn is_own_host(host: &str) -> bool {
    let bracketed = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    if let Some(inner) = bracketed {
        return inner.parse::<Ipv6Addr>().is_ok();
    }
    let name = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
    name == LOCALHOST || name.ends_with(".localhost") || name.parse::<IpAddr>().is_ok_and(|ip| ip.is_ipv4())
}

/// A page of another site has the browser ask: it could read nothing, but take the room of those who may.
pub(in crate::admin) fn is_of_another_site(headers: &HeaderMap) -> bool {
    let site = headers.get("sec-fetch-site");
    site.is_some_and(|site| site != "same-origin" && site != "none")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn foreign(hosts: &[&str], target: &str) -> bool {
        let request = hosts.iter().fold(Request::get(target), |request, host| request.header(HOST, *host));
        is_foreign(&request.body(()).unwrap())
    }

    #[test]
    fn numbers_and_localhost_are_this_machine() {
        for host in [
            "127.0.0.1",
            "127.0.0.1:9464",
            "localhost",
            "localhost:1",
            "LOCALHOST:8080",
            "localhost.",
            "tokenweir.localhost:80",
            "[::1]",
            "[::1]:9464",
            "10.1.2.3:9464",
            "[fd00::1]:80",
        ] {
            assert!(!foreign(&[host], "/"), "{host}");
        }
    }

    #[test]
    fn every_other_name_is_foreign() {
        for host in [
            "evil.example",
            "evil.example:9464",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "127.0.0.1.nip.io",
            "notlocalhost",
            "localhost@evil.example",
            "evil@localhost",
            "[::1].evil.example",
            "[evil]",
            "127.1",
            "0x7f000001",
            "2130706433",
            "",
            ":9464",
            "localhost:port",
            "localhost/evil",
            "ｌocalhost",
        ] {
            assert!(foreign(&[host], "/"), "{host}");
        }
        assert!(foreign(&[], "/"), "none");
        assert!(foreign(&["localhost", "localhost"], "/"), "two");
        assert!(foreign(&["localhost"], "http://evil.example/"), "the target's is another");
        assert!(!foreign(&["localhost"], "http://localhost:9464/"));
    }

    #[test]
    fn who_is_sent_by_another_site_is_told_from_who_comes_by_itself() {
        let of = |value: &str| {
            let headers: HeaderMap =
                [("sec-fetch-site".parse().unwrap(), value.parse().unwrap())].into_iter().collect();
            is_of_another_site(&headers)
        };
        assert!(of("cross-site") && of("same-site") && of(""));
        assert!(!of("same-origin") && !of("none") && !is_of_another_site(&HeaderMap::new()));
    }
}
