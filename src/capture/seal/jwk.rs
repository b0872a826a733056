//! Public keys as JSON Web Keys (RFC 7517): one, a set of them, or what Key Vault answers when it is asked for a key.

use base64::Engine;
use base64::alphabet;
use base64::engine::general_purpose::GeneralPurpose;
use base64::engine::{DecodePaddingMode, GeneralPurposeConfig};
use openssl::bn::BigNum;
use openssl::pkey::Public;
use openssl::rsa::Rsa;
use serde::Deserialize;
use serde::de::IgnoredAny;

/// The algorithm that a key may name.
const ALG: &str = "RSA-OAEP-256";

/// Numbers of keys are base64url without padding; the tools of Azure write the plain alphabet, and padding.
const FORGIVING: GeneralPurposeConfig =
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
const URL: GeneralPurpose = GeneralPurpose::new(&alphabet::URL_SAFE, FORGIVING);

/// A key, as far as it concerns us. Members that only a private or a secret key has are there to refuse it.
#[derive(Debug, Deserialize)]
pub(super) struct Jwk {
    kty: Option<String>,
    pub(super) kid: Option<String>,
    #[serde(rename = "use")]
    purpose: Option<String>,
    alg: Option<String>,
    n: Option<String>,
    e: Option<String>,
    d: Option<IgnoredAny>,
    p: Option<IgnoredAny>,
    q: Option<IgnoredAny>,
    k: Option<IgnoredAny>,
}

/// A document with keys.
#[derive(Debug, Deserialize)]
struct Document {
    keys: Option<Vec<Jwk>>,
    /// Key Vault puts the key beside its attributes.
    key: Option<Jwk>,
}

/// The keys of a document.
///
/// # Errors
/// Says what is wrong with it, and shows nothing of it.
pub(super) fn jwks(text: &str) -> Result<Vec<Jwk>, String> {
    let wrong = |error: serde_json::Error| {
        let (line, column) = (error.line(), error.column());
        format!("is no JSON Web Key: line {line} column {column} cannot be read")
    };
    let document: Document = serde_json::from_str(text).map_err(wrong)?;
    match document {
        Document { keys: Some(keys), .. } => Ok(keys),
        Document { key: Some(key), .. } => Ok(vec![key]),
        _ => serde_json::from_str(text).map(|key| vec![key]).map_err(wrong),
    }
}

impl Jwk {
    /// The key in it.
    ///
    /// # Errors
    /// Says what is wrong with it, and what is allowed.
    pub(super) fn rsa(&self) -> Result<Rsa<Public>, String> {
        if [&self.d, &self.p, &self.q, &self.k].iter().any(|member| member.is_some()) {
            return Err("is a private key; give its public members alone (kty, n, e)".to_owned());
        }
        // `RSA-HSM` is how Key Vault calls a key whose private half lies in an HSM.
        if !matches!(self.kty.as_deref(), Some("RSA" | "RSA-HSM")) {
            return Err("is no RSA key: its kty is another; Key Vault wraps with RSA only".to_owned());
        }
        if self.purpose.as_deref().is_some_and(|purpose| purpose != "enc") {
            return Err("is not for encryption, says its member use".to_owned());
        }
        if self.alg.as_deref().is_some_and(|alg| alg != ALG) {
            return Err(format!("is for another algorithm, says its member alg; allowed: {ALG}"));
        }
        let (n, e) = (number("n", self.n.as_deref())?, number("e", self.e.as_deref())?);
        Rsa::from_public_components(n, e).map_err(|_| "has members n and e that are no RSA key".to_owned())
    }
}

fn number(name: &str, text: Option<&str>) -> Result<BigNum, String> {
    let text = text.ok_or_else(|| format!("has no member {name}"))?;
    let bytes = URL.decode(text.replace('+', "-").replace('/', "_"));
    let bytes = bytes.map_err(|_| format!("has a member {name} that is not base64url"))?;
    BigNum::from_slice(&bytes).map_err(|_| format!("has a member {name} that is no number"))
}
