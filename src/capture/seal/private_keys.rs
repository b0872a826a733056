//! Private keys in files, for readers whose keys lie in no vault.

use metering::names;
use openssl::pkey::{Id, PKey, Private};
use smol_str::SmolStr;

use super::content_key::ContentKey;
use super::pem::{PemBlock, pem_blocks};
use super::rsa_oaep::unwrap;
use super::thumbprint::thumbprint;
use super::unwrap::{Unwrap, UnwrapError, WrappedKey};

const ALLOWED: &str = "allowed: RSA private keys as PEM (PRIVATE KEY, RSA PRIVATE KEY)";

/// A line of old files that says that what follows is encrypted (RFC 1421).
const ENCRYPTED: &str = "Proc-Type: 4,ENCRYPTED";

/// Private keys.
#[derive(Default)]
pub struct PrivateKeys {
    keys: Vec<PrivateKey>,
}

struct PrivateKey {
    thumbprint: SmolStr,
    key: PKey<Private>,
}

impl PrivateKeys {
    /// Adds the keys of a file of PEM.
    ///
    /// # Errors
    /// Says what is wrong with the text, and shows nothing of it; the file is named by who asks.
    pub fn add(&mut self, text: &str) -> Result<(), String> {
        if text.trim_start().starts_with('{') {
            return Err(format!("is JSON; {ALLOWED}"));
        }
        let blocks = pem_blocks(text)?;
        if blocks.is_empty() {
            return Err(format!("holds no private key; {ALLOWED}"));
        }
        for (number, block) in (1..).zip(&blocks) {
            let key = private_key(block);
            let named = |problem| format!("key {number} ({}) {problem}", names::shown(block.label));
            self.keys.push(key.map_err(named)?);
        }
        Ok(())
    }

    fn unwrapped(&self, wrapped: &WrappedKey, is_named: bool) -> Option<ContentKey> {
        let fits = |key: &&PrivateKey| {
            (key.thumbprint == wrapped.kid) == is_named && key.key.size() == wrapped.bytes.len()
        };
        self.keys.iter().filter(fits).find_map(|key| unwrap(&key.key, &wrapped.bytes))
    }
}

impl Unwrap for PrivateKeys {
    /// A recipient may have a name of its own, so a key is tried on all whose names say nothing, after those that its
    /// thumbprint names.
    fn unwrap_key(&mut self, wrapped: &[WrappedKey]) -> Result<ContentKey, UnwrapError> {
        let found = [true, false]
            .into_iter()
            .find_map(|is_named| wrapped.iter().find_map(|wrapped| self.unwrapped(wrapped, is_named)));
        let named = || wrapped.iter().find(|one| self.keys.iter().any(|key| key.thumbprint == one.kid));
        found.ok_or_else(|| match named() {
            Some(named) => UnwrapError::Refused { kid: named.kid.clone() },
            None => UnwrapError::NoKey,
        })
    }
}

fn private_key(block: &PemBlock<'_>) -> Result<PrivateKey, String> {
    match block.label {
        "ENCRYPTED PRIVATE KEY" => return Err(encrypted()),
        "PRIVATE KEY" | "RSA PRIVATE KEY" if block.text.contains(ENCRYPTED) => return Err(encrypted()),
        "PRIVATE KEY" | "RSA PRIVATE KEY" => {}
        "PUBLIC KEY" | "RSA PUBLIC KEY" | "CERTIFICATE" => {
            return Err(format!("opens nothing: it is public; {ALLOWED}"));
        }
        _ => return Err(format!("is no RSA private key; {ALLOWED}")),
    }
    // Without this answer OpenSSL would ask for a password at the terminal.
    let key = PKey::private_key_from_pem_callback(block.text.as_bytes(), |_| Ok(0));
    let key = key
        .map_err(|_| format!("cannot be read: it is damaged, or of another kind than it says; {ALLOWED}"))?;
    if key.id() != Id::RSA {
        return Err(format!("is no RSA key; {ALLOWED}"));
    }
    let rsa = key.rsa().map_err(|_| format!("cannot be read; {ALLOWED}"))?;
    Ok(PrivateKey { thumbprint: thumbprint(&rsa), key })
}

fn encrypted() -> String {
    "is encrypted, which is not supported: decrypt it (openssl pkey -in FILE), or give --unwrap-command"
        .to_owned()
}
