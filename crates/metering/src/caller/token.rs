//! Claims of an Entra access token: read, never verified.
//!
//! Verification (signature, issuer, audience, expiry) is the gateway's part
//! (`validate-azure-ad-token`); the event says how the hop was trusted. A bearer token may as well
//! be a key or something else that cannot be read here. So a token that does not have the form of a signed
//! one with claims names no caller; one that has it, and cannot be read, is malformed.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::header::{AUTHORIZATION, HeaderMap};
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::fields::{LIST_SEPARATOR, trimmed};

/// Tokens are a few kilobytes; more is no token.
const TOKEN_BYTES_MAX: usize = 16 * 1024;

/// The claims in a request's `Authorization`.
#[derive(Debug)]
pub(super) enum BearerToken {
    /// There is none, or not one of claims.
    None,
    /// It is doubled, or its claims cannot be read.
    Malformed,
    /// Its claims, whether or not they are true.
    Claims(Claims),
}

/// The claims that name a caller.
#[derive(Debug, Deserialize)]
pub(super) struct Claims {
    /// The application, in version 2.0 tokens.
    azp: Option<String>,
    /// The same in version 1.0 tokens.
    appid: Option<String>,
    /// The tenant.
    tid: Option<String>,
    /// The person, or the application where no person signed in.
    oid: Option<String>,
    /// `app` or `user`, where the tenant asks for this claim.
    idtyp: Option<String>,
    /// The same as `oid` where no person signed in; else another one for each application.
    sub: Option<String>,
    /// The scopes that the person granted to the application.
    scp: Option<IgnoredAny>,
}

impl BearerToken {
    /// Reads the bearer token of a request.
    pub(super) fn read(headers: &HeaderMap) -> BearerToken {
        let mut values = headers.get_all(AUTHORIZATION).iter();
        match (values.next().map(|value| value.to_str()), values.next()) {
            (None, _) => BearerToken::None,
            (Some(Ok(value)), None) => BearerToken::parse(value),
            (Some(_), _) => BearerToken::Malformed,
        }
    }

    fn parse(authorization: &str) -> BearerToken {
        // A list that a hop joined is refused like two fields. A bearer token has no comma in it (RFC 6750 2.1).
        if authorization.contains(LIST_SEPARATOR) && authorization.split(LIST_SEPARATOR).any(is_bearer) {
            return BearerToken::Malformed;
        }
        let Some((_, token)) = authorization.split_once(' ') else { return BearerToken::None };
        let token = token.trim();
        if !is_bearer(authorization) || token.contains(' ') {
            return BearerToken::None;
        }
        let mut parts = token.split('.');
        let (Some(head), Some(claims), Some(signature), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return BearerToken::None;
        };
        if token.len() > TOKEN_BYTES_MAX {
            return BearerToken::Malformed;
        }
        let json = URL_SAFE_NO_PAD.decode(claims.trim_end_matches('='));
        let Some(json) = json.ok().filter(|json| json.trim_ascii_start().first() == Some(&b'{')) else {
            return BearerToken::None;
        };
        if head.is_empty() || signature.is_empty() {
            return BearerToken::Malformed; // it is not signed
        }
        // Claims that are read are errors if they are there twice or are no texts; others are passed over,
        // without recursion however deep they are.
        serde_json::from_slice(&json).map_or(BearerToken::Malformed, BearerToken::Claims)
    }
}

/// Credentials of that scheme.
fn is_bearer(credentials: &str) -> bool {
    let scheme = credentials.trim_start().split(' ').next();
    scheme.is_some_and(|scheme| scheme.eq_ignore_ascii_case("bearer"))
}

impl Claims {
    /// The application that the token was issued to; empty if it does not say.
    pub(super) fn application(&self) -> &str {
        trimmed(self.azp.as_deref().or(self.appid.as_deref()).unwrap_or_default())
    }

    /// The tenant; empty if it does not say.
    pub(super) fn tenant(&self) -> &str {
        trimmed(self.tid.as_deref().unwrap_or_default())
    }

    /// The person who signed in; empty if none did, or the token does not say.
    pub(super) fn person(&self) -> &str {
        let object = trimmed(self.oid.as_deref().unwrap_or_default());
        let nobody = match self.idtyp.as_deref() {
            Some(kind) => kind == "app",
            None => self.scp.is_none() && self.sub.as_deref().map(trimmed) == Some(object),
        };
        if nobody { "" } else { object }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bearer(claims: &str) -> String {
        format!("Bearer e30.{}.c2ln", URL_SAFE_NO_PAD.encode(claims))
    }

    fn claims(text: &str) -> Claims {
        match BearerToken::parse(&bearer(text)) {
            BearerToken::Claims(claims) => claims,
            other => panic!("{text}: {other:?}"),
        }
    }

    #[test]
    fn both_versions_of_the_claim_are_read() {
        assert_eq!(claims(r#"{"azp":"v2","appid":"v1"}"#).application(), "v2");
        assert_eq!(claims(r#"{"appid":"v1","oid":"x"}"#).application(), "v1");
        assert_eq!(claims(r#"{"tid":"t"}"#).application(), "");
    }

    #[test]
    fn an_application_is_no_person() {
        for (text, person) in [
            (r#"{"oid":"o","tid":"t"}"#, "o"),
            (r#"{"oid":"o","sub":"pairwise"}"#, "o"),
            (r#"{"oid":"o","sub":"o","scp":"user_impersonation"}"#, "o"),
            (r#"{"oid":"o","sub":"o","idtyp":"user"}"#, "o"),
            (r#"{"oid":"o","sub":"o"}"#, ""),
            (r#"{"oid":"o","sub":"s","idtyp":"app"}"#, ""),
            (r#"{"sub":"s"}"#, ""),
            (r#"{"oid":" o\t"}"#, "o"),
            (r#"{"oid":"o ","sub":"o"}"#, ""),
        ] {
            assert_eq!(claims(text).person(), person, "{text}");
        }
    }

    #[test]
    fn what_holds_no_claims_names_nobody() {
        for opaque in [
            "",
            "Bearer",
            "Bearer x",
            "Bearer a.b",
            "Bearer a.!!.c",
            "Bearer a.b.c",
            "Bearer e30.W10.c2ln",    // []
            "Bearer e30.bnVsbA.c2ln", // null
            "Bearer ...",
            "Bearer e30.e30.c2ln.x.y", // encrypted tokens have five parts
            "Bearer Bearer e30.e30.c2ln",
            "Basic dXNlcjpwdw==",
            "Digest username=\"a\", realm=\"b\"",
            "sk-1234",
        ] {
            assert!(matches!(BearerToken::parse(opaque), BearerToken::None), "{opaque:?}");
        }
    }

    #[test]
    fn a_claim_that_nobody_reads_may_be_anything() {
        let deep = format!(r#"{{"azp":"a","scp":{0}{1},"x":{0}{1}}}"#, "[".repeat(3000), "]".repeat(3000));
        assert_eq!(claims(&deep).application(), "a");
        assert_eq!(claims(r#"{"azp":"a","x":1,"x":2}"#).application(), "a");
    }

    #[test]
    fn claims_that_cannot_be_read_are_malformed() {
        let deep = format!(r#"{{"azp":{}{}}}"#, "[".repeat(5000), "]".repeat(5000));
        for bad in [r#"{"azp":7}"#, r#"{"azp":"a","azp":"b"}"#, r#"{"azp":"a""#, r#"{"tid":{}}"#, &deep] {
            assert!(matches!(BearerToken::parse(&bearer(bad)), BearerToken::Malformed), "{bad:.40}");
        }
        let huge = format!(r#"{{"azp":"a","x":"{}"}}"#, "x".repeat(TOKEN_BYTES_MAX));
        assert!(matches!(BearerToken::parse(&bearer(&huge)), BearerToken::Malformed));
        for joined in ["Bearer a, Bearer b", "Basic x,bearer y", "Bearer e30.e30.c2ln,e30.e30.c2ln"] {
            assert!(matches!(BearerToken::parse(joined), BearerToken::Malformed), "{joined}");
        }
        let unsigned = format!("Bearer e30.{}.", URL_SAFE_NO_PAD.encode(r#"{"azp":"a"}"#));
        assert!(matches!(BearerToken::parse(&unsigned), BearerToken::Malformed));
    }
}
