//! Opening parts: a part is held against what its seal says of it, and every way in which it can be wrong has a name.

use base64::Engine;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use metering::usage::{ContentPart, Jwe, ProtectedHeader, part_id};
use openssl::symm::{Cipher, decrypt_aead};
use smol_str::SmolStr;

use super::content_key::ContentKey;
use super::data_key::{NONCE_BYTES, TAG_BYTES};
use super::decompress::{PART_BYTES_MAX, decompressed};
use super::protected_header::{differing_member, read, unknown_algorithm};
use super::unwrap::{Unwrap, UnwrapError, WrappedKey};

/// A part cannot be opened, or is not what it was.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// It has neither sealed content nor clear, or both.
    #[error("it holds no content, or two of them")]
    NoContent,
    /// Its id is not made of its call, side and number.
    #[error("its id is not that of its call, side and number")]
    IdDiffers,
    /// The protected header cannot be read.
    #[error("its protected header cannot be read")]
    HeaderUnreadable,
    /// It is sealed in a way that is not known here.
    #[error("it is sealed in another way: {said}")]
    UnknownAlgorithm {
        /// The member of the header, and what it says.
        said: String,
    },
    /// It says something else in the clear than in its seal.
    #[error("what it says in the clear is not what its seal says: {member}")]
    HeaderDiffers {
        /// The first member that differs, as `caller.id`.
        member: String,
    },
    /// A member of the JWE is not base64url, or has another length than it must have.
    #[error("its member jwe.{member} cannot be read")]
    MemberUnreadable {
        /// The member.
        member: &'static str,
    },
    /// None of the keys at hand is one that it is sealed to.
    #[error("it is sealed to other keys than those at hand: {}", kids.join(", "))]
    NoKeyForIt {
        /// The names of the keys that it is sealed to.
        kids: Vec<SmolStr>,
    },
    /// The content key cannot be unwrapped.
    #[error("its content key cannot be unwrapped: {0}")]
    Unwrap(UnwrapError),
    /// The sealed bytes or the protected header were altered, or the content key is that of another part.
    #[error("its tag does not match: it was altered, or its content key is another")]
    Tag,
    /// The content is not compressed as it must be.
    #[error("its content is not zstd, or is cut")]
    NotZstd,
    /// It holds more or fewer bytes than it says.
    #[error("it holds other than the {said} bytes that it says")]
    WrongLength {
        /// Bytes that it says it holds.
        said: u64,
    },
}

impl OpenError {
    /// It shows that the part is not as it was made, where the others only say that it cannot be opened here.
    pub fn is_alteration(&self) -> bool {
        !matches!(
            self,
            OpenError::NoKeyForIt { .. } | OpenError::Unwrap(_) | OpenError::UnknownAlgorithm { .. }
        )
    }
}

/// Holds what a part says in the clear against its protected header, for which no key is needed; so whoever altered
/// both is not found out. Returns the header; `None` if the part is not sealed.
///
/// # Errors
/// Says what is wrong.
pub fn check_header(part: &ContentPart, id: &str) -> Result<Option<ProtectedHeader>, OpenError> {
    let header = match (&part.jwe, &part.cleartext) {
        (Some(jwe), None) => Some(header_of(jwe, part, id)?),
        (None, Some(_)) => None,
        _ => return Err(OpenError::NoContent),
    };
    let facts = &part.facts;
    if id != part_id(&facts.call, facts.side, facts.part) {
        return Err(OpenError::IdDiffers);
    }
    Ok(header)
}

/// Opens the part with this id: its bytes, as they passed.
///
/// # Errors
/// Says what is wrong.
pub fn open(part: &ContentPart, id: &str, unwrap: &mut dyn Unwrap) -> Result<Vec<u8>, OpenError> {
    check_header(part, id)?;
    let compressed = match (&part.jwe, &part.cleartext) {
        (Some(jwe), None) => decrypted(jwe, unwrap)?,
        (None, Some(text)) => BASE64_STANDARD.decode(text).map_err(|_| OpenError::NotZstd)?,
        _ => return Err(OpenError::NoContent),
    };
    let said = part.facts.bytes_raw;
    if said > PART_BYTES_MAX {
        return Err(OpenError::WrongLength { said });
    }
    let bytes = decompressed(&compressed, said).map_err(|_| OpenError::NotZstd)?;
    if bytes.len() as u64 == said { Ok(bytes) } else { Err(OpenError::WrongLength { said }) }
}

fn header_of(jwe: &Jwe, part: &ContentPart, id: &str) -> Result<ProtectedHeader, OpenError> {
    let header = read(&jwe.protected).ok_or(OpenError::HeaderUnreadable)?;
    if let Some(said) = unknown_algorithm(&header) {
        return Err(OpenError::UnknownAlgorithm { said });
    }
    match differing_member(&header, id, &part.facts) {
        Some(member) => Err(OpenError::HeaderDiffers { member }),
        None => Ok(header),
    }
}

fn decrypted(jwe: &Jwe, unwrap: &mut dyn Unwrap) -> Result<Vec<u8>, OpenError> {
    let (nonce, tag) = (bytes_of("iv", &jwe.iv)?, bytes_of("tag", &jwe.tag)?);
    // A shorter tag would be taken by OpenSSL, and is easier to forge.
    if nonce.len() != NONCE_BYTES {
        return Err(OpenError::MemberUnreadable { member: "iv" });
    }
    if tag.len() != TAG_BYTES {
        return Err(OpenError::MemberUnreadable { member: "tag" });
    }
    let ciphertext = bytes_of("ciphertext", &jwe.ciphertext)?;
    let key = content_key_of(jwe, unwrap)?;
    let (cipher, covered) = (Cipher::aes_256_gcm(), jwe.protected.as_bytes());
    let plain = decrypt_aead(cipher, key.as_slice(), Some(&nonce), covered, &ciphertext, &tag);
    plain.map_err(|_| OpenError::Tag)
}

fn content_key_of(jwe: &Jwe, unwrap: &mut dyn Unwrap) -> Result<ContentKey, OpenError> {
    let wrapped = wrapped_keys(jwe)?;
    unwrap.unwrap_key(&wrapped).map_err(|error| match error {
        UnwrapError::NoKey => {
            OpenError::NoKeyForIt { kids: wrapped.into_iter().map(|one| one.kid).collect() }
        }
        error => OpenError::Unwrap(error),
    })
}

fn wrapped_keys(jwe: &Jwe) -> Result<Vec<WrappedKey>, OpenError> {
    let flattened = jwe.header.iter().zip(&jwe.encrypted_key);
    let general = jwe.recipients.iter().map(|one| (&one.header, &one.encrypted_key));
    let read = |(name, text): (&metering::usage::JweKeyName, &String)| {
        Ok(WrappedKey { kid: name.kid.clone(), bytes: bytes_of("encrypted_key", text)? })
    };
    flattened.chain(general).map(read).collect()
}

fn bytes_of(member: &'static str, text: &str) -> Result<Vec<u8>, OpenError> {
    BASE64_URL_SAFE_NO_PAD.decode(text).map_err(|_| OpenError::MemberUnreadable { member })
}
