//! TLS on both sides: rustls with ring, TLS 1.2 and 1.3, HTTP/1.1 by ALPN.
//!
//! What comes from files may be read again while calls run. A connection keeps what it was made
//! with; the next one gets the new. Only one whose client certificate new roots do not cover ends behind its present
//! answer. Files that cannot be used change nothing.

mod caller;
mod cause;
mod chains;
mod files;
mod service;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use rustls::crypto::CryptoProvider;

pub use self::caller::{CallerFiles, CallerTls};
pub use self::cause::Cause;
pub(in crate::proxy) use self::cause::{from_caller, from_service, not_plain, not_tls};
pub(in crate::proxy) use self::chains::Chain;
pub use self::files::{FileError, NamedFile};
pub use self::service::{ServiceFiles, Tls};

/// The only protocol that is spoken inside.
const ALPN: &[u8] = b"http/1.1";

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// The files of an identity cannot be used together.
fn mismatch(cert: &NamedFile, key: &NamedFile, error: &rustls::Error) -> FileError {
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
