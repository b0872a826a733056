//! The page as a document, and the policy that holds it to its own parts.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::HeaderMap;
use http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName, HeaderValue, REFERRER_POLICY,
    X_CONTENT_TYPE_OPTIONS,
};

const PAGE: &str = include_str!("page.html");
const STYLE: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");

/// The document. It is put together for each who asks: an operator, now and then.
pub(in crate::admin) fn document() -> (HeaderMap, Bytes) {
    let page = PAGE.replacen("{{style}}", STYLE, 1).replacen("{{script}}", SCRIPT, 1);
    (headers(), page.into())
}

fn headers() -> HeaderMap {
    let mut headers: HeaderMap = [
        (CONTENT_TYPE, "text/html; charset=utf-8"),
        (CACHE_CONTROL, "no-store"),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (REFERRER_POLICY, "no-referrer"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    ]
    .map(|(name, value)| (name, HeaderValue::from_static(value)))
    .into_iter()
    .collect();
    if let Ok(policy) = HeaderValue::try_from(policy()) {
        headers.insert(CONTENT_SECURITY_POLICY, policy);
    }
    headers
}

/// This style, this script, the events of this port, and nothing else; and no text ever becomes markup.
fn policy() -> String {
    let digest = |text: &str| STANDARD.encode(ring::digest::digest(&ring::digest::SHA256, text.as_bytes()));
    format!(
        "default-src 'none'; script-src 'sha256-{}'; style-src 'sha256-{}'; connect-src 'self'; img-src data:; \
         base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'",
        digest(SCRIPT),
        digest(STYLE)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_is_one_document_without_a_handler_or_an_address_in_it() {
        let (headers, page) = document();
        let page = std::str::from_utf8(&page).unwrap();
        assert!(page.contains(STYLE) && page.contains(SCRIPT) && !page.contains("{{"));
        assert_eq!((page.matches("<script>").count(), page.matches("<style>").count()), (1, 1));
        for forbidden in
            ["src=", "@import", "url(", "innerHTML", "outerHTML", "insertAdjacent", "document.write", "eval("]
        {
            assert!(!page.contains(forbidden), "{forbidden}");
        }
        let addresses =
            page.split("http").skip(1).filter(|rest| rest.starts_with("://") || rest.starts_with("s://"));
        assert!(
            addresses.clone().all(|rest| rest.starts_with("://www.w3.org/2000/svg")),
            "only the name of SVG"
        );
        let tags = page.split('<').filter(|tag| tag.starts_with(|c: char| c.is_ascii_lowercase()));
        assert!(
            tags.clone().count() > 50
                && !tags.map(|tag| tag.split('>').next().unwrap()).any(|tag| tag.contains(" on"))
        );
        assert!(
            headers[CONTENT_SECURITY_POLICY]
                .to_str()
                .unwrap()
                .starts_with("default-src 'none'; script-src 'sha256-")
        );
    }
}
