//! Whoever can unwrap a content key, and a cache, so that a vault is asked once for each key.

use std::collections::HashMap;

use smol_str::SmolStr;

use super::content_key::ContentKey;

/// Keys that are remembered: those of six weeks of one sidecar, at one a minute.
const CACHED_KEYS_MAX: usize = 65_536;

/// A content key as it is wrapped for one recipient.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct WrappedKey {
    /// The name of the recipient's key. Nothing proves it.
    pub kid: SmolStr,
    /// The wrapped key.
    pub bytes: Vec<u8>,
}

/// A content key cannot be unwrapped.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UnwrapError {
    /// None of the keys at hand is that of a recipient.
    #[error("none of the keys at hand is that of a recipient")]
    NoKey,
    /// The key of a recipient does not unwrap it: it was wrapped for another one, or altered.
    #[error("key {kid} does not unwrap it")]
    Refused {
        /// The key.
        kid: SmolStr,
    },
    /// The command gives none.
    #[error("the command {0}")]
    Command(String),
}

/// Unwraps content keys.
pub trait Unwrap {
    /// Unwraps a key that is wrapped for some recipients.
    ///
    /// # Errors
    /// If it can be unwrapped for none of them.
    fn unwrap_key(&mut self, wrapped: &[WrappedKey]) -> Result<ContentKey, UnwrapError>;
}

/// Asks another one once for each key, and remembers what it said.
pub struct CachedUnwrap<U> {
    asked: U,
    known: HashMap<Vec<WrappedKey>, Result<ContentKey, UnwrapError>>,
}

impl<U: Unwrap> CachedUnwrap<U> {
    /// Remembers what this one says.
    pub fn new(asked: U) -> CachedUnwrap<U> {
        CachedUnwrap { asked, known: HashMap::new() }
    }
}

impl<U: Unwrap> Unwrap for CachedUnwrap<U> {
    fn unwrap_key(&mut self, wrapped: &[WrappedKey]) -> Result<ContentKey, UnwrapError> {
        if let Some(known) = self.known.get(wrapped) {
            return known.clone();
        }
        if self.known.len() >= CACHED_KEYS_MAX {
            self.known.clear();
        }
        let said = self.asked.unwrap_key(wrapped);
        self.known.insert(wrapped.to_vec(), said.clone());
        said
    }
}

impl<U: Unwrap + ?Sized> Unwrap for Box<U> {
    fn unwrap_key(&mut self, wrapped: &[WrappedKey]) -> Result<ContentKey, UnwrapError> {
        (**self).unwrap_key(wrapped)
    }
}
