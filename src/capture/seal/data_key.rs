//! The content key of a minute: wrapped once for each recipient, with a nonce for each part that never comes twice.

use std::sync::Arc;
use std::time::{Duration, Instant};

use metering::usage::JweRecipient;
use openssl::error::ErrorStack;
use openssl::rand::rand_priv_bytes;
use openssl::symm::{Cipher, encrypt_aead};

use super::content_key::ContentKey;
use super::recipients::Recipients;

/// A key seals for so long: a thief of the process's memory gets no more than that, and a reader asks a vault once for
/// each.
const KEY_LIFE: Duration = Duration::from_secs(60);

/// A key seals so many bytes: far below the 2^39 of one message of AES-GCM, and of the 2^64 blocks that are safe with
/// one key (NIST SP 800-38D).
const KEY_BYTES_SEALED_MAX: u64 = 1 << 30;

/// A key seals so many parts (NIST SP 800-38D, section 8.3).
const KEY_PARTS_MAX: u64 = 1 << 32;

/// Bytes of a nonce of AES-GCM.
pub(super) const NONCE_BYTES: usize = 12;

/// Bytes of a tag of AES-GCM.
pub(super) const TAG_BYTES: usize = 16;

/// A key, and what was sealed with it.
pub(super) struct DataKey {
    key: ContentKey,
    recipients: Arc<Recipients>,
    pub(super) wrapped: Vec<JweRecipient>,
    made_at: Instant,
    parts: u64,
    bytes: u64,
}

/// Content that is encrypted.
pub(super) struct Encrypted {
    pub(super) nonce: [u8; NONCE_BYTES],
    pub(super) ciphertext: Vec<u8>,
    pub(super) tag: [u8; TAG_BYTES],
}

impl DataKey {
    /// A new key for these recipients.
    pub(super) fn new(recipients: Arc<Recipients>, now: Instant) -> Result<DataKey, ErrorStack> {
        let mut key = ContentKey::default();
        rand_priv_bytes(key.as_mut_slice())?;
        let wrapped = recipients.wrap(&key)?;
        Ok(DataKey { key, recipients, wrapped, made_at: now, parts: 0, bytes: 0 })
    }

    /// It may seal this much more for these recipients.
    pub(super) fn serves(&self, recipients: &Arc<Recipients>, bytes: usize, now: Instant) -> bool {
        Arc::ptr_eq(&self.recipients, recipients)
            && !self.is_old(now)
            && self.parts < KEY_PARTS_MAX
            && self.bytes.saturating_add(bytes as u64) <= KEY_BYTES_SEALED_MAX
    }

    /// Its time is over.
    pub(super) fn is_old(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.made_at) >= KEY_LIFE
    }

    /// Encrypts content, together with what else its tag shall cover. A nonce is used up even if this fails.
    pub(super) fn encrypt(&mut self, covered: &[u8], content: &[u8]) -> Result<Encrypted, ErrorStack> {
        let nonce = nonce(self.parts);
        self.parts += 1;
        self.bytes = self.bytes.saturating_add(content.len() as u64);
        let mut tag = [0; TAG_BYTES];
        let cipher = Cipher::aes_256_gcm();
        let ciphertext = encrypt_aead(cipher, self.key.as_slice(), Some(&nonce), covered, content, &mut tag)?;
        Ok(Encrypted { nonce, ciphertext, tag })
    }
}

/// The nonce of a part: its number under the key.
fn nonce(part: u64) -> [u8; NONCE_BYTES] {
    let mut nonce = [0; NONCE_BYTES];
    nonce[NONCE_BYTES - size_of::<u64>()..].copy_from_slice(&part.to_be_bytes());
    nonce
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capture::seal::tests::keys::recipients;

    #[test]
    fn a_key_ends_with_its_minute_its_bytes_its_parts_and_its_recipients() {
        let (now, to) = (Instant::now(), Arc::new(recipients(1)));
        let mut key = DataKey::new(to.clone(), now).unwrap();
        let later = |seconds| now + Duration::from_secs(seconds);
        assert!(key.serves(&to, 1, later(59)));
        assert!(!key.serves(&to, 1, later(60)));
        assert!(!key.serves(&Arc::new(recipients(1)), 1, now));
        key.bytes = KEY_BYTES_SEALED_MAX - 10;
        assert!(key.serves(&to, 10, now) && !key.serves(&to, 11, now));
        key.parts = KEY_PARTS_MAX - 1;
        assert!(key.serves(&to, 1, now));
        let last = key.encrypt(b"", b"").unwrap();
        assert_eq!(last.nonce, [0, 0, 0, 0, 0, 0, 0, 0, 255, 255, 255, 255]);
        assert!(!key.serves(&to, 1, now));
    }
}
