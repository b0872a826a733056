//! TLS of the port for calls.

use std::fmt;
use std::sync::Arc;

use metering::reload::{Fingerprint, Reloaded};
use rustls::ServerConfig;
use rustls::pki_types::CertificateDer;
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;

use super::chains::{Chain, Chains};
use super::files::{Contents, FileError, NamedFile};
use super::{ALPN, mismatch, provider};

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
    current: Reloaded<Used>,
    chains: Chains,
    /// How often the files have changed.
    changes: watch::Sender<u64>,
}

/// What new connections are made with.
pub(in crate::proxy) struct Used {
    config: Arc<ServerConfig>,
    /// What client certificates are held against, if they are asked for.
    roots: Option<Arc<dyn ClientCertVerifier>>,
}

impl Used {
    pub(in crate::proxy) fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(Arc::clone(&self.config))
    }
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
        let current = Reloaded::new(read.fingerprint(), files.config(&read)?);
        drop(read);
        Ok(CallerTls(Arc::new(Shared {
            files,
            current,
            chains: Chains::default(),
            changes: watch::Sender::default(),
        })))
    }

    /// Reads the files again, for connections to come. Those that are open and have shown a certificate that
    /// new roots do not cover end behind their present answer. True if the files have changed.
    ///
    /// # Errors
    /// As [`CallerTls::load`]; what was in force before stays so.
    pub fn reload(&self) -> Result<bool, FileError> {
        let Shared { files, current, chains, changes } = &*self.0;
        let read = files.read()?;
        if !current.replace(read.fingerprint(), |_| files.config(&read))? {
            return Ok(false);
        }
        if let Some(roots) = &current.current().roots {
            let connections = chains.hold_against(&**roots);
            if connections > 0 {
                tracing::info!(
                    connections,
                    "connections whose certificate the roots in --listen-client-ca-file do not cover end behind their present answer"
                );
            }
            changes.send_modify(|changes| *changes += 1);
        }
        Ok(true)
    }

    /// What a new connection is made with.
    pub(in crate::proxy) fn used(&self) -> Arc<Used> {
        self.0.current.current()
    }

    /// The chain that a caller has shown on a connection that was made with `used`.
    pub(in crate::proxy) fn shown(&self, used: &Arc<Used>, chain: &[CertificateDer<'_>]) -> Arc<Chain> {
        let chain = self.0.chains.of(chain);
        // Whoever replaces the roots looks at the chains behind that: this one is among them, or the new roots are here.
        let now = self.used();
        if !Arc::ptr_eq(used, &now)
            && let Some(roots) = &now.roots
        {
            chain.hold_against(&**roots);
        }
        chain
    }

    /// News of the roots.
    pub(in crate::proxy) fn roots(&self) -> watch::Receiver<u64> {
        self.0.changes.subscribe()
    }
}

impl CallerFiles {
    fn read(&self) -> Result<Read<'_>, FileError> {
        let client_ca = self.client_ca.as_ref().map(NamedFile::read).transpose()?;
        Ok(Read { cert: self.cert.read()?, key: self.key.read()?, client_ca })
    }

    /// Each has a session cache of its own: no session outlives the roots that it was let in by.
    fn config(&self, read: &Read<'_>) -> Result<Used, FileError> {
        let builder = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(|error| self.cert.error(format_args!("cannot be used: {error}")))?;
        let roots = match (&read.client_ca, &self.client_ca) {
            (Some(roots), Some(file)) => {
                let verifier =
                    WebPkiClientVerifier::builder_with_provider(Arc::new(roots.roots()?), provider());
                Some(verifier.build().map_err(|error| file.error(format_args!("cannot be used: {error}")))?)
            }
            _ => None,
        };
        let builder = match &roots {
            Some(roots) => builder.with_client_cert_verifier(Arc::clone(roots)),
            None => builder.with_no_client_auth(),
        };
        let mut config = builder
            .with_single_cert(read.cert.certificates()?, read.key.key()?)
            .map_err(|error| mismatch(&self.cert, &self.key, &error))?;
        config.alpn_protocols = vec![ALPN.to_vec()];
        Ok(Used { config: Arc::new(config), roots })
    }
}

impl Read<'_> {
    fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of([&self.cert, &self.key].into_iter().chain(&self.client_ca).map(Contents::bytes))
    }
}

impl fmt::Debug for CallerTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("CallerTls").field(&self.0.files).finish()
    }
}
