//! The public keys of those who may read captured content, as a file gives them: PEM, certificates, or JWK.

use metering::caller::FromFile;
use metering::names;
use openssl::error::ErrorStack;
use openssl::pkey::{Id, PKey, Public};
use openssl::rsa::Rsa;
use openssl::x509::X509;
use smol_str::SmolStr;

use metering::usage::{JweKeyName, JweRecipient};

use super::content_key::ContentKey;
use super::jwk::{Jwk, jwks};
use super::pem::{PemBlock, pem_blocks};
use super::rsa_oaep::wrap;
use super::thumbprint::thumbprint;
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;

/// Recipients of one part: each takes up to 2.7 kB of it, and a part must stay below 1,000,000 bytes.
const RECIPIENTS_MAX: usize = 16;

/// Smaller keys are not enough until 2030 and beyond (NIST SP 800-57 part 1, table 2: 3072 bits are 128 of strength).
const RSA_BITS_MIN: u32 = 3072;

/// OpenSSL takes none larger (`OPENSSL_RSA_MAX_MODULUS_BITS`).
const RSA_BITS_MAX: u32 = 16_384;

/// Bytes of a key's name: that of a version of a key in Key Vault has up to 220.
const KID_BYTES_MAX: usize = 256;

const ALLOWED: &str = "allowed: RSA public keys of 3072 bits or more, as PEM (PUBLIC KEY, RSA PUBLIC KEY, CERTIFICATE), JWK or JWK Set";

/// Those who may read.
#[derive(Clone, Debug)]
pub struct Recipients {
    recipients: Vec<Recipient>,
}

/// One of them.
#[derive(Clone, Debug)]
struct Recipient {
    kid: SmolStr,
    thumbprint: SmolStr,
    key: PKey<Public>,
}

impl FromFile for Recipients {
    /// Sixteen certificates with the largest keys have about 120 kB.
    const BYTES_MAX: u64 = 256 << 10;

    fn parse(text: &str) -> Result<Recipients, String> {
        let text = text.trim_start_matches('\u{feff}').trim();
        let recipients = if text.starts_with('{') { of_jwks(text)? } else { of_pem(text)? };
        check_all(&recipients)?;
        Ok(Recipients { recipients })
    }
}

impl Recipients {
    /// The names of their keys, in order.
    pub fn kids(&self) -> impl Iterator<Item = &SmolStr> {
        self.recipients.iter().map(|recipient| &recipient.kid)
    }

    /// Wraps a key for each.
    pub(super) fn wrap(&self, key: &ContentKey) -> Result<Vec<JweRecipient>, ErrorStack> {
        self.recipients.iter().map(|recipient| recipient.wrap(key)).collect()
    }
}

impl Recipient {
    /// Checks a key, and that a key can be wrapped for it.
    fn new(rsa: Rsa<Public>, kid: Option<&str>) -> Result<Recipient, String> {
        check_size(&rsa)?;
        check_exponent(&rsa)?;
        let thumbprint = thumbprint(&rsa);
        let kid = match kid {
            Some(kid) => checked_kid(kid)?,
            None => thumbprint.clone(),
        };
        let unusable = |_| "cannot be used: OpenSSL refuses it".to_owned();
        let recipient = Recipient { kid, thumbprint, key: PKey::from_rsa(rsa).map_err(unusable)? };
        recipient.wrap(&ContentKey::default()).map_err(unusable)?;
        Ok(recipient)
    }

    fn wrap(&self, key: &ContentKey) -> Result<JweRecipient, ErrorStack> {
        let encrypted_key = BASE64_URL_SAFE_NO_PAD.encode(wrap(&self.key, key)?);
        Ok(JweRecipient { header: JweKeyName { kid: self.kid.clone() }, encrypted_key })
    }
}

fn check_size(rsa: &Rsa<Public>) -> Result<(), String> {
    let bits = rsa.n().num_bits().unsigned_abs();
    if (RSA_BITS_MIN..=RSA_BITS_MAX).contains(&bits) {
        return Ok(());
    }
    Err(format!("has {bits} bits; allowed: {RSA_BITS_MIN} to {RSA_BITS_MAX}"))
}

/// An exponent of 1 would leave the data key as it is, and an even one cannot be undone.
fn check_exponent(rsa: &Rsa<Public>) -> Result<(), String> {
    let e = rsa.e();
    if e.is_bit_set(0) && e.num_bits() > 1 {
        return Ok(());
    }
    Err("has an exponent that is no exponent of RSA; 65537 is usual".to_owned())
}

fn checked_kid(kid: &str) -> Result<SmolStr, String> {
    if kid.is_empty() || kid.len() > KID_BYTES_MAX || names::has_control(kid) {
        return Err(format!("has a kid that is no name; allowed: 1 to {KID_BYTES_MAX} bytes of text"));
    }
    Ok(kid.into())
}

fn check_all(recipients: &[Recipient]) -> Result<(), String> {
    let count = recipients.len();
    if count == 0 {
        return Err(format!("holds no public key; {ALLOWED}"));
    }
    if count > RECIPIENTS_MAX {
        return Err(format!("holds {count} keys; allowed: {RECIPIENTS_MAX} at most"));
    }
    for (at, later) in recipients.iter().enumerate() {
        let is_same =
            |earlier: &&Recipient| earlier.kid == later.kid || earlier.thumbprint == later.thumbprint;
        if let Some(first) = recipients[..at].iter().position(|earlier| is_same(&earlier)) {
            return Err(format!("key {} is key {} again, or has its kid", at + 1, first + 1));
        }
    }
    Ok(())
}

fn of_jwks(text: &str) -> Result<Vec<Recipient>, String> {
    let one = |(number, jwk): (usize, &Jwk)| {
        let recipient = jwk.rsa().and_then(|rsa| Recipient::new(rsa, jwk.kid.as_deref()));
        recipient.map_err(|problem| format!("key {number} {problem}"))
    };
    (1..).zip(jwks(text)?.iter()).map(one).collect()
}

fn of_pem(text: &str) -> Result<Vec<Recipient>, String> {
    let one = |(number, block): (usize, &PemBlock<'_>)| {
        let recipient = public_key(block).and_then(|rsa| Recipient::new(rsa, None));
        recipient.map_err(|problem| format!("key {number} ({}) {problem}", names::shown(block.label)))
    };
    (1..).zip(pem_blocks(text)?.iter()).map(one).collect()
}

fn public_key(block: &PemBlock<'_>) -> Result<Rsa<Public>, String> {
    let (label, pem) = (block.label, block.text.as_bytes());
    let unreadable =
        |_: ErrorStack| "cannot be read: it is damaged, or of another kind than it says".to_owned();
    let key = match label {
        "PUBLIC KEY" => PKey::public_key_from_pem(pem).map_err(unreadable)?,
        "RSA PUBLIC KEY" => return Rsa::public_key_from_pem_pkcs1(pem).map_err(unreadable),
        "CERTIFICATE" | "X509 CERTIFICATE" | "TRUSTED CERTIFICATE" => {
            X509::from_pem(pem).and_then(|certificate| certificate.public_key()).map_err(unreadable)?
        }
        _ if label.ends_with("PRIVATE KEY") => {
            return Err("must not be here: give its public half (openssl pkey -in FILE -pubout)".to_owned());
        }
        _ => return Err(format!("is no public key; {ALLOWED}")),
    };
    if key.id() != Id::RSA {
        return Err(format!("is no RSA key, which Key Vault and this seal wrap with; {ALLOWED}"));
    }
    key.rsa().map_err(unreadable)
}
