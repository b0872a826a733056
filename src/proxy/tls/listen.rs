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

use super::chains::{ClientChain, ClientChains};
use super::expiry::{CertificateExpiry, first_expiry};
use super::files::{Contents, FileError, NamedFile};
use super::provider::{ALPN, mismatch, provider};

/// The files that the port's TLS is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenFiles {
    /// The certificate chain, the port's own certificate first.
    pub cert: NamedFile,
    /// Its private key.
    pub key: NamedFile,
    /// Roots of client certificates. `None`: none is asked for.
    pub client_ca: Option<NamedFile>,
}

/// How the port speaks TLS. Clones share it, and what is read again.
#[derive(Clone)]
pub struct ListenTls(Arc<ListenState>);

struct ListenState {
    files: ListenFiles,
    current: Reloaded<AcceptorConfig>,
    chains: ClientChains,
    /// How often the files have changed.
    changes: watch::Sender<u64>,
}

/// The settings that new connections are made with.
pub(crate) struct AcceptorConfig {
    config: Arc<ServerConfig>,
    /// The roots that client certificates are held against, if they are asked for.
    roots: Option<Arc<dyn ClientCertVerifier>>,
    expiry: Option<CertificateExpiry>,
}

impl AcceptorConfig {
    pub(crate) fn acceptor(&self) -> TlsAcceptor {
        TlsAcceptor::from(Arc::clone(&self.config))
    }
}

/// The contents of the files.
struct ListenContents<'a> {
    cert: Contents<'a>,
    key: Contents<'a>,
    client_ca: Option<Contents<'a>>,
}

impl ListenTls {
    /// Reads the files.
    ///
    /// # Errors
    /// A file cannot be read or is not what it should be; the key is not the certificate's.
    pub fn load(files: ListenFiles) -> Result<ListenTls, FileError> {
        let read = files.read()?;
        let current = Reloaded::new(read.fingerprint(), files.config(&read)?);
        drop(read);
        Ok(ListenTls(Arc::new(ListenState {
            files,
            current,
            chains: ClientChains::default(),
            changes: watch::Sender::default(),
        })))
    }

    /// Reads the files again, for connections to come. Those that are open and have shown a certificate that
    /// new roots do not cover end behind their present response. True if the files have changed.
    ///
    /// # Errors
    /// As [`ListenTls::load`]; the settings that were in force before stay so.
    pub fn reload(&self) -> Result<bool, FileError> {
        let ListenState { files, current, chains, changes } = &*self.0;
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

    /// The settings that a new connection is made with.
    pub(crate) fn current(&self) -> Arc<AcceptorConfig> {
        self.0.current.current()
    }

    /// When the port's own certificate, or one that it is shown with, ends to hold; `None`: that cannot be read.
    pub fn expiry(&self) -> Option<CertificateExpiry> {
        self.current().expiry
    }

    /// The chain that a client has shown on a connection that was made with `config`.
    pub(crate) fn chain(
        &self,
        config: &Arc<AcceptorConfig>,
        chain: &[CertificateDer<'_>],
    ) -> Arc<ClientChain> {
        let chain = self.0.chains.of(chain);
        // A reload replaces the roots and then looks at the chains: this one is among them, or the new roots are here.
        let now = self.current();
        if !Arc::ptr_eq(config, &now)
            && let Some(roots) = &now.roots
        {
            chain.hold_against(&**roots);
        }
        chain
    }

    /// Changes when the roots do.
    pub(crate) fn roots(&self) -> watch::Receiver<u64> {
        self.0.changes.subscribe()
    }
}

impl ListenFiles {
    fn read(&self) -> Result<ListenContents<'_>, FileError> {
        let client_ca = self.client_ca.as_ref().map(NamedFile::read).transpose()?;
        Ok(ListenContents { cert: self.cert.read()?, key: self.key.read()?, client_ca })
    }

    /// Each has a session cache of its own: no session outlives the roots that it was let in by.
    fn config(&self, read: &ListenContents<'_>) -> Result<AcceptorConfig, FileError> {
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
        let chain = read.cert.certificates()?;
        let expiry = first_expiry(self.cert.setting, &chain);
        let mut config = builder
            .with_single_cert(chain, read.key.key()?)
            .map_err(|error| mismatch(&self.cert, &self.key, &error))?;
        config.alpn_protocols = vec![ALPN.to_vec()];
        Ok(AcceptorConfig { config: Arc::new(config), roots, expiry })
    }
}

impl ListenContents<'_> {
    fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of([&self.cert, &self.key].into_iter().chain(&self.client_ca).map(Contents::bytes))
    }
}

impl fmt::Debug for ListenTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("ListenTls").field(&self.0.files).finish()
    }
}
