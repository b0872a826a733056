//! The cryptography and the protocol that the TLS of both sides is made with.

use std::sync::Arc;

use rustls::crypto::CryptoProvider;

use super::files::{FileError, NamedFile};

/// The only protocol that is spoken inside.
pub(super) const ALPN: &[u8] = b"http/1.1";

pub(super) fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// The files of an identity cannot be used together.
pub(super) fn mismatch(cert: &NamedFile, key: &NamedFile, error: &rustls::Error) -> FileError {
    match error {
        rustls::Error::InconsistentKeys(_) => key.error(format_args!(
            "is not the key of the certificate in {} (--{}); replace both files together",
            cert.path.display(),
            cert.setting
        )),
        // Rustls speaks of kinds and sizes here, never of contents.
        error => key.error(format_args!("and {} cannot be used: {error}", cert.path.display())),
    }
}
