//! The name of a key that brings none: its thumbprint (RFC 7638), so that everybody gives it the same.

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use openssl::pkey::HasPublic;
use openssl::rsa::RsaRef;
use openssl::sha::sha256;
use smol_str::SmolStr;

/// The thumbprint of an RSA key: SHA-256 over its required members in order, in base64url.
pub(super) fn thumbprint<T: HasPublic>(key: &RsaRef<T>) -> SmolStr {
    let text = |bytes: Vec<u8>| BASE64_URL_SAFE_NO_PAD.encode(bytes);
    let (e, n) = (text(key.e().to_vec()), text(key.n().to_vec()));
    let members = format!(r#"{{"e":"{e}","kty":"RSA","n":"{n}"}}"#);
    BASE64_URL_SAFE_NO_PAD.encode(sha256(members.as_bytes())).into()
}
