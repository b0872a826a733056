//! The upstreams that calls are forwarded to: where they are, and by which rules their calls are counted.

use http::HeaderValue;
use rustls::pki_types::ServerName;
use smol_str::SmolStr;

use metering::meter::Rules;

/// An upstream that calls are forwarded to.
#[derive(Clone, Debug)]
pub struct Upstream {
    name: Option<String>,
    resource: SmolStr,
    host: String,
    port: u16,
    server_name: Option<ServerName<'static>>,
    host_field: HeaderValue,
    rules: Rules,
}

/// Why an upstream's URL cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum UrlError {
    /// It is not an absolute `http` or `https` URL.
    #[error("not an http:// or https:// URL")]
    Scheme,
    /// It has a path, a query or credentials: paths are passed on as they arrive.
    #[error("must be scheme, host and port only")]
    More,
    /// The host cannot be the name in a certificate.
    #[error("not a host name or address")]
    Host,
}

impl Upstream {
    /// Reads an upstream from its URL. With a `name` its calls have the path prefix `/name`.
    ///
    /// # Errors
    ///
    /// The URL is not plain scheme, host and port.
    pub fn new(name: Option<String>, url: &str, rules: Rules) -> Result<Upstream, UrlError> {
        let uri: http::Uri = url.parse().map_err(|_| UrlError::Scheme)?;
        let tls = match uri.scheme_str() {
            Some("http") => false,
            Some("https") => true,
            _ => return Err(UrlError::Scheme),
        };
        let authority = uri.authority().ok_or(UrlError::Host)?;
        if authority.as_str().contains('@') || !matches!(uri.path(), "" | "/") || uri.query().is_some() {
            return Err(UrlError::More);
        }
        let host = authority.host().trim_matches(['[', ']']).to_owned();
        let server_name = ServerName::try_from(host.clone()).map_err(|_| UrlError::Host)?;
        Ok(Upstream {
            resource: name.as_deref().unwrap_or(&host).into(),
            name,
            port: authority.port_u16().unwrap_or(if tls { 443 } else { 80 }),
            host_field: HeaderValue::from_str(authority.as_str()).map_err(|_| UrlError::Host)?,
            host,
            server_name: tls.then_some(server_name),
            rules,
        })
    }

    /// The path prefix of its calls, without slashes.
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// Its name in events: the name, or the host where it has none.
    pub fn resource(&self) -> &SmolStr {
        &self.resource
    }

    /// The rules by which its calls are counted.
    pub fn rules(&self) -> Rules {
        self.rules
    }

    pub(super) fn host(&self) -> &str {
        &self.host
    }

    pub(super) fn port(&self) -> u16 {
        self.port
    }

    /// The value of `Host` in its requests.
    pub(super) fn host_field(&self) -> &HeaderValue {
        &self.host_field
    }

    /// The name in its certificate; `None` without TLS.
    pub(crate) fn server_name(&self) -> Option<&ServerName<'static>> {
        self.server_name.as_ref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_scheme_host_and_port_only() {
        let of = |url: &str| Upstream::new(None, url, Rules { end_of_turn: true });
        let upstream = of("https://example.openai.azure.com").unwrap();
        assert_eq!((upstream.host(), upstream.port()), ("example.openai.azure.com", 443));
        assert!(upstream.server_name().is_some());
        assert_eq!(upstream.resource(), "example.openai.azure.com");
        let upstream = of("http://[::1]:8080/").unwrap();
        assert_eq!(
            (upstream.host(), upstream.port(), &upstream.host_field),
            ("::1", 8080, &HeaderValue::from_static("[::1]:8080"))
        );
        for url in [
            "",
            "example.com",
            "ftp://a",
            "https://a/path",
            "https://a?b",
            "https://u:p@a",
            "http://",
            "http://a b",
        ] {
            assert!(of(url).is_err(), "{url}");
        }
    }
}
