//! TLS of the port for calls.

use std::fmt;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::server::WebPkiClientVerifier;
use tokio_rustls::TlsAcceptor;

use super::files::{Contents, FileError, NamedFile, Print};
use super::{ALPN, Current, mismatch, provider};

/// The files that the port's TLS is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallerFiles {
    /// The certificate chain, the port's own certificate first.
    pub cert: NamedFile,
    /// Its private key.
    pub key: NamedFile,
    /// Roots of client certificates. `None`: none is asked for.
    pub client_ca: Option<NamedFile>,
}

/// How the port speaks TLS. Clones share it, and what is read again.
#[derive(Clone)]
pub struct CallerTls(Arc<Shared>);

struct Shared {
    files: CallerFiles,
    current: Current<ServerConfig>,
}

/// The files, read.
struct Read<'a> {
    cert: Contents<'a>,
    key: Contents<'a>,
    client_ca: Option<Contents<'a>>,
}

impl CallerTls {
    /// Reads the files.
    ///
    /// # Errors
    /// A file cannot be read or is not what it should be; the key is not the certificate's.
    pub fn load(files: CallerFiles) -> Result<CallerTls, FileError> {
        let read = files.read()?;
        let current = Current::new(files.config(&read)?, read.print());
        drop(read);
        Ok(CallerTls(Arc::new(Shared { files, current })))
    }

    /// Reads the files again, for connections to come. True if they have changed.
    ///
    /// # Errors
    /// As [`CallerTls::load`]; what was in force before stays so.
    pub fn reload(&self) -> Result<bool, FileError> {
        let Shared { files, current } = &*self.0;
        let read = files.read()?;
        let print = read.print();
        if current.print() == print {
            return Ok(false);
        }
        current.set(files.config(&read)?, print);
        Ok(true)
    }

    pub(in crate::proxy) fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(self.0.current.get())
    }
}

impl CallerFiles {
    fn read(&self) -> Result<Read<'_>, FileError> {
        let client_ca = self.client_ca.as_ref().map(NamedFile::read).transpose()?;
        Ok(Read { cert: self.cert.read()?, key: self.key.read()?, client_ca })
    }

    /// Each has a session cache of its own: no session outlives the roots that it was let in by.
    fn config(&self, read: &Read<'_>) -> Result<ServerConfig, FileError> {
        let builder = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(|error| self.cert.error(format_args!("cannot be used: {error}")))?;
        let builder = match (&read.client_ca, &self.client_ca) {
            (Some(roots), Some(file)) => {
                let verifier =
                    WebPkiClientVerifier::builder_with_provider(Arc::new(roots.roots()?), provider())
                        .build()
                        .map_err(|error| file.error(format_args!("cannot be used: {error}")))?;
                builder.with_client_cert_verifier(verifier)
            }
            _ => builder.with_no_client_auth(),
        };
        let mut config = builder
            .with_single_cert(read.cert.certificates()?, read.key.key()?)
            .map_err(|error| mismatch(&self.cert, &self.key, &error))?;
        config.alpn_protocols = vec![ALPN.to_vec()];
        Ok(config)
    }
}

impl Read<'_> {
    fn print(&self) -> Print {
        Print::files([&self.cert, &self.key].into_iter().chain(&self.client_ca))
    }
}

impl fmt::Debug for CallerTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("CallerTls").field(&self.0.files).finish()
    }
}
