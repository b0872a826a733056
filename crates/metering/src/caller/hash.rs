//! Pseudonyms of keys and people, which must not be stored. A keyed hash tells them apart, and leads back to
//! them only with the key.

use std::path::Path;

use ring::{hmac, rand};
use smol_str::SmolStr;

/// Bytes of a hash that are written: 48 bits, enough to tell callers apart and too few to search.
const HASH_BYTES: usize = 6;

/// The key of the hashes.
#[derive(Clone, Debug)]
pub struct HashKey(hmac::Key);

/// The key of the hashes could not be made or read.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// The file.
    #[error("{path}: {source}")]
    File {
        /// The file that could not be read or written.
        path: String,
        /// Why.
        source: std::io::Error,
    },
    /// The system's source of randomness.
    #[error("no random bytes to be had from the system")]
    Random,
}

impl HashKey {
    /// The key with these bytes.
    pub fn new(bytes: &[u8]) -> HashKey {
        HashKey(hmac::Key::new(hmac::HMAC_SHA256, bytes))
    }

    /// The key kept in a file of 32 random bytes, which is made (0600) if it is not there.
    ///
    /// # Errors
    /// If the file cannot be read or made.
    pub fn load_or_create(path: &Path) -> Result<HashKey, SecretError> {
        let error = |source| SecretError::File { path: path.display().to_string(), source };
        match std::fs::read(path) {
            Ok(bytes) => return Ok(HashKey::new(&bytes)),
            Err(source) if source.kind() != std::io::ErrorKind::NotFound => return Err(error(source)),
            Err(_) => {}
        }
        let random: [u8; 32] =
            rand::generate(&rand::SystemRandom::new()).map_err(|_| SecretError::Random)?.expose();
        create_private(path, &random).map_err(error)?;
        Ok(HashKey::new(&random))
    }

    /// The pseudonym of an API key: `key-` and 12 hex digits of its HMAC-SHA-256.
    pub(super) fn api_key(&self, key: &str) -> SmolStr {
        self.stand_in("key-", key.as_bytes())
    }

    /// The pseudonym of a person: `user-` and 12 hex digits of the HMAC-SHA-256 of `user:ID`. The
    /// prefix keeps it from being the hash of an API key that was chosen to equal an id.
    pub(super) fn person(&self, id: &str) -> SmolStr {
        self.stand_in("user-", format!("user:{id}").as_bytes())
    }

    /// The pseudonym of a tag's value: `tag-` and 12 hex digits of the HMAC-SHA-256 of `tag`, the tag's name and
    /// the value, parted by NULs. No key and no id of a person can have a NUL, so none of them has these
    /// digits, and equal values of two tags do not show that they are equal.
    pub(super) fn tag(&self, name: &str, value: &str) -> SmolStr {
        self.stand_in("tag-", format!("tag\0{name}\0{value}").as_bytes())
    }

    fn stand_in(&self, prefix: &str, secret: &[u8]) -> SmolStr {
        let tag = hmac::sign(&self.0, secret);
        prefix.chars().chain(hex(&tag.as_ref()[..HASH_BYTES])).collect()
    }
}

/// The hex digits of these bytes; of a call's way to its payer, formatting them was a tenth.
pub(crate) fn hex(bytes: &[u8]) -> impl Iterator<Item = char> {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]).map(|digit| DIGITS[usize::from(digit)].into())
}

fn create_private(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    let mut file = std::fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_file_is_made_once_and_private() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("key");
        let first = HashKey::load_or_create(&path).unwrap().api_key("k");
        assert_eq!(HashKey::load_or_create(&path).unwrap().api_key("k"), first);
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_ne!(HashKey::new(b"other").api_key("k"), first);
    }

    #[test]
    fn a_hash_is_what_anybody_with_the_key_can_compute() {
        // printf user:1 | openssl dgst -sha256 -hmac test
        let key = HashKey::new(b"test");
        assert_eq!(key.person("1"), "user-925ba6452e9c");
        assert_eq!(key.api_key("user:1"), "key-925ba6452e9c");
        // printf 'tag\0%s\0%s' user 1 | openssl dgst -sha256 -hmac test
        assert_eq!(key.tag("user", "1"), "tag-3aa47cfa1b79");
    }
}
