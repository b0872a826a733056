//! The key that content is encrypted with: AES-256, wiped when it is let go of.

use zeroize::Zeroizing;

/// Bytes of the key.
pub(super) const KEY_BYTES: usize = 32;

/// A key of AES-256, which is wiped when it is dropped.
pub type ContentKey = Zeroizing<[u8; KEY_BYTES]>;

/// Makes a key of what should be one; `None` if it has another length.
pub(super) fn content_key(bytes: &[u8]) -> Option<ContentKey> {
    let mut key = ContentKey::default();
    if bytes.len() != KEY_BYTES {
        return None;
    }
    key.copy_from_slice(bytes);
    Some(key)
}
