//! A value that was made from files, and that is made again when they have changed.

use std::sync::{Arc, PoisonError, RwLock};

use ring::digest;

/// Tells whether files have changed, without keeping them: their SHA-256.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Fingerprint([u8; digest::SHA256_OUTPUT_LEN]);

impl Fingerprint {
    /// The fingerprint of some files, in this order.
    pub fn of<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> Fingerprint {
        let mut context = digest::Context::new(&digest::SHA256);
        for part in parts {
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(part);
        }
        let mut bytes = [0; digest::SHA256_OUTPUT_LEN];
        bytes.copy_from_slice(context.finish().as_ref());
        Fingerprint(bytes)
    }
}

/// The value in force, and the fingerprint of the files that it was made of.
///
/// The lock is held for as long as it takes to count a reference.
#[derive(Debug)]
pub struct Reloaded<T>(RwLock<(Fingerprint, Arc<T>)>);

impl<T> Reloaded<T> {
    /// The first value.
    pub fn new(files: Fingerprint, value: T) -> Reloaded<T> {
        Reloaded(RwLock::new((files, Arc::new(value))))
    }

    /// The value in force.
    pub fn current(&self) -> Arc<T> {
        self.get().1
    }

    /// Puts another value in force if the files have changed. `make` is given the value before. Returns whether
    /// they have changed.
    ///
    /// # Errors
    /// As `make`; the value before stays in force.
    pub fn replace<E>(&self, files: Fingerprint, make: impl FnOnce(&T) -> Result<T, E>) -> Result<bool, E> {
        let (known, before) = self.get();
        if known == files {
            return Ok(false);
        }
        let value = Arc::new(make(&before)?);
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = (files, value);
        Ok(true)
    }

    fn get(&self) -> (Fingerprint, Arc<T>) {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
