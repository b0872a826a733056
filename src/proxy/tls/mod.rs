//! TLS on both sides: rustls with ring, TLS 1.2 and 1.3, HTTP/1.1 by ALPN.
//!
//! Files may be read again while calls run. A connection keeps the settings that it was made with; the next one gets
//! the new. Only one whose client certificate new roots do not cover ends behind its present response. Files that
//! cannot be used change nothing.
//!
//! | file | what it does |
//! |---|---|
//! | `listen` | is the TLS of the port for calls |
//! | `chains` | holds the certificates of open connections against new roots |
//! | `upstream` | is the TLS to upstreams |
//! | `transport` | is a connection that is plain or TLS |
//! | `cause` | says why there is no TLS connection |
//! | `provider` | is what the TLS of both sides is made with |
//! | `files` | reads certificates, keys and roots |
//! | `expiry` | says when our own certificates end to hold |

pub(super) mod cause;
pub(super) mod chains;
pub(super) mod expiry;
pub(super) mod files;
pub(super) mod listen;
mod provider;
#[cfg(test)]
mod tests;
pub(super) mod transport;
pub(super) mod upstream;

pub use self::cause::TlsCause;
pub use self::expiry::CertificateExpiry;
pub use self::files::{FileError, NamedFile};
pub use self::listen::{ListenFiles, ListenTls};
pub use self::upstream::{UpstreamFiles, UpstreamTls};
