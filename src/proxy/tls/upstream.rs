//! TLS to the upstreams: the name of the upstream as SNI, sessions resumed.

use std::fmt;
use std::sync::Arc;

use metering::reload::{Fingerprint, Reloaded};
use rustls::{ClientConfig, RootCertStore};
use tokio_rustls::TlsConnector;

use super::expiry::{CertificateExpiry, first_expiry};
use super::files::{Contents, FileError, NamedFile};
use super::provider::{ALPN, mismatch, provider};

/// The files that TLS to upstreams is made of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UpstreamFiles {
    /// Roots to trust instead of the system's.
    pub ca: Option<NamedFile>,
    /// The certificate chain to show to an upstream that asks for one, and its key.
    pub identity: Option<(NamedFile, NamedFile)>,
}

/// How to speak TLS to upstreams. Clones share it, so sessions are resumed across threads.
#[derive(Clone)]
pub struct UpstreamTls(Arc<UpstreamState>);

struct UpstreamState {
    files: UpstreamFiles,
    current: Reloaded<ConnectorConfig>,
}

/// The settings that new connections are made with.
struct ConnectorConfig {
    config: Arc<ClientConfig>,
    expiry: Option<CertificateExpiry>,
}

/// The contents of the files.
struct UpstreamContents<'a> {
    ca: Option<Contents<'a>>,
    /// The system's roots, if there is no file.
    system: RootCertStore,
    identity: Option<(Contents<'a>, Contents<'a>)>,
}

impl UpstreamTls {
    /// Reads the files, and the system's roots if none are given.
    ///
    /// # Errors
    /// A file cannot be read or is not what it should be; the key is not the certificate's; the
    /// system has no roots.
    pub fn load(files: UpstreamFiles) -> Result<UpstreamTls, FileError> {
        let read = files.read()?;
        let current = Reloaded::new(read.fingerprint(), files.config(&read)?);
        drop(read);
        Ok(UpstreamTls(Arc::new(UpstreamState { files, current })))
    }

    /// Reads all of it again, for connections to come. True if it has changed.
    ///
    /// # Errors
    /// As [`UpstreamTls::load`]; the settings that were in force before stay so.
    pub fn reload(&self) -> Result<bool, FileError> {
        let UpstreamState { files, current } = &*self.0;
        let read = files.read()?;
        current.replace(read.fingerprint(), |_| files.config(&read))
    }

    pub(crate) fn connector(&self) -> TlsConnector {
        TlsConnector::from(Arc::clone(&self.0.current.current().config))
    }

    /// When the certificate that upstreams are shown ends to hold; `None`: there is none, or that cannot be read.
    pub fn expiry(&self) -> Option<CertificateExpiry> {
        self.0.current.current().expiry
    }

    pub(crate) fn files(&self) -> &UpstreamFiles {
        &self.0.files
    }
}

impl UpstreamFiles {
    fn read(&self) -> Result<UpstreamContents<'_>, FileError> {
        let ca = self.ca.as_ref().map(NamedFile::read).transpose()?;
        let system = if ca.is_none() { system_roots()? } else { RootCertStore::empty() };
        let identity = match &self.identity {
            Some((cert, key)) => Some((cert.read()?, key.read()?)),
            None => None,
        };
        Ok(UpstreamContents { ca, system, identity })
    }

    fn config(&self, read: &UpstreamContents<'_>) -> Result<ConnectorConfig, FileError> {
        let roots = match &read.ca {
            Some(ca) => ca.roots()?,
            None => read.system.clone(),
        };
        let unusable = |error: rustls::Error| FileError {
            setting: "upstream-ca-file",
            problem: format!("TLS cannot be set up: {error}"),
        };
        let builder = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .map_err(unusable)?
            .with_root_certificates(roots);
        let (mut config, expiry) = match (&read.identity, &self.identity) {
            (Some((cert, key)), Some((cert_file, key_file))) => {
                let chain = cert.certificates()?;
                let expiry = first_expiry(cert_file.setting, &chain);
                let config = builder
                    .with_client_auth_cert(chain, key.key()?)
                    .map_err(|error| mismatch(cert_file, key_file, &error))?;
                (config, expiry)
            }
            _ => (builder.with_no_client_auth(), None),
        };
        config.alpn_protocols = vec![ALPN.to_vec()];
        Ok(ConnectorConfig { config: Arc::new(config), expiry })
    }
}

impl UpstreamContents<'_> {
    fn fingerprint(&self) -> Fingerprint {
        let identity = self.identity.iter().flat_map(|(cert, key)| [cert, key]);
        let files = self.ca.iter().chain(identity).map(Contents::bytes);
        let roots = self.system.roots.iter().map(|root| root.subject_public_key_info.as_ref());
        Fingerprint::of(files.chain(roots))
    }
}

fn system_roots() -> Result<RootCertStore, FileError> {
    let mut store = RootCertStore::empty();
    store.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if store.is_empty() {
        return Err(FileError {
            setting: "upstream-ca-file",
            problem: "is not set, and the system has no root certificates; install ca-certificates, or give \
                      a PEM file with the roots to trust"
                .to_owned(),
        });
    }
    Ok(store)
}

impl fmt::Debug for UpstreamTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("UpstreamTls").field(&self.0.files).finish()
    }
}
