//! RSA-OAEP-256 (RFC 7518, section 4.3): SHA-256 both as the hash and in MGF1, and no label.

use openssl::error::ErrorStack;
use openssl::md::Md;
use openssl::pkey::{PKey, Private, Public};
use openssl::pkey_ctx::PkeyCtx;
use openssl::rsa::Padding;
use zeroize::Zeroizing;

use super::content_key::{ContentKey, content_key};

/// Wraps a key for a recipient.
pub(super) fn wrap(recipient: &PKey<Public>, key: &ContentKey) -> Result<Vec<u8>, ErrorStack> {
    let mut context = PkeyCtx::new(recipient)?;
    context.encrypt_init()?;
    choose_oaep(&mut context)?;
    let mut wrapped = Vec::new();
    context.encrypt_to_vec(key.as_slice(), &mut wrapped)?;
    Ok(wrapped)
}

/// Unwraps a key; `None` if it was wrapped for another one.
pub(super) fn unwrap(recipient: &PKey<Private>, wrapped: &[u8]) -> Option<ContentKey> {
    let mut context = PkeyCtx::new(recipient).ok()?;
    context.decrypt_init().ok()?;
    choose_oaep(&mut context).ok()?;
    // As long as the modulus, which is more than any key: it is not grown, so nothing is left of it elsewhere.
    let mut plain = Zeroizing::new(vec![0; recipient.size()]);
    let length = context.decrypt(wrapped, Some(&mut plain)).ok()?;
    content_key(plain.get(..length)?)
}

fn choose_oaep<T>(context: &mut PkeyCtx<T>) -> Result<(), ErrorStack> {
    context.set_rsa_padding(Padding::PKCS1_OAEP)?;
    context.set_rsa_oaep_md(Md::sha256())?;
    context.set_rsa_mgf1_md(Md::sha256())
}
