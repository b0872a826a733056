//! Claims of an Entra access token: read, never verified.
//!
//! Verification is the gateway's part (`validate-azure-ad-token`); the event says how the hop
//! was trusted. A malformed token names nobody and is no error.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;

/// Tokens are a few kilobytes; more is no token.
const TOKEN_BYTES_MAX: usize = 16 * 1024;

/// The claims that name an application.
#[derive(Deserialize)]
struct Claims {
    /// Version 2.0 tokens.
    azp: Option<String>,
    /// Version 1.0 tokens.
    appid: Option<String>,
}

/// The application that a bearer token was issued to: claim `azp`, else `appid`.
pub(super) fn application_id(authorization: &str) -> Option<String> {
    let (scheme, token) = authorization.split_once(' ')?;
    if !scheme.eq_ignore_ascii_case("bearer") || token.len() > TOKEN_BYTES_MAX {
        return None;
    }
    let payload = token.trim().split('.').nth(1)?;
    let json = URL_SAFE_NO_PAD.decode(payload.trim_end_matches('=')).ok()?;
    let claims: Claims = serde_json::from_slice(&json).ok()?;
    claims.azp.or(claims.appid).filter(|id| !id.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bearer(claims: &str) -> String {
        format!("Bearer e30.{}.c2ln", URL_SAFE_NO_PAD.encode(claims))
    }

    #[test]
    fn both_versions_of_the_claim_are_read() {
        assert_eq!(application_id(&bearer(r#"{"azp":"v2","appid":"v1"}"#)).as_deref(), Some("v2"));
        assert_eq!(application_id(&bearer(r#"{"appid":"v1","oid":"x"}"#)).as_deref(), Some("v1"));
    }

    #[test]
    fn what_is_no_token_names_nobody() {
        for bad in
            ["", "Bearer", "Bearer x", "Bearer a.b.c", "Bearer a.!!.c", "Basic dXNlcjpwdw==", "Bearer ..."]
        {
            assert_eq!(application_id(bad), None, "{bad:?}");
        }
        assert_eq!(application_id(&bearer(r#"{"azp":7}"#)), None);
        assert_eq!(application_id(&bearer(r#"{"azp":""}"#)), None);
    }
}
