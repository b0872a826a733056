//! TLS to the service: rustls with ring, HTTP/1.1 by ALPN, the name of the upstream as SNI.

use std::io;
use std::path::Path;
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use tokio_rustls::TlsConnector;

/// How to speak TLS to upstreams. Clones share it, so sessions are resumed across threads.
#[derive(Clone)]
pub struct Tls {
    connector: TlsConnector,
}

impl Tls {
    /// Trusts the certificates of the PEM file, or those of the system without one.
    ///
    /// # Errors
    ///
    /// The file cannot be read or holds no certificate; the system has none.
    pub fn new(roots: Option<&Path>) -> io::Result<Tls> {
        let mut store = RootCertStore::empty();
        let certificates = match roots {
            Some(file) => CertificateDer::pem_file_iter(file)
                .and_then(Iterator::collect::<Result<Vec<_>, _>>)
                .map_err(|error| invalid(format!("{}: {error}", file.display())))?,
            None => rustls_native_certs::load_native_certs().certs,
        };
        store.add_parsable_certificates(certificates);
        if store.is_empty() {
            let place = roots.map_or("the system".to_owned(), |file| file.display().to_string());
            return Err(invalid(format!("no usable root certificate in {place}")));
        }
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| invalid(error.to_string()))?
            .with_root_certificates(store)
            .with_no_client_auth();
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(Tls { connector: TlsConnector::from(Arc::new(config)) })
    }

    pub(in crate::proxy) fn connector(&self) -> &TlsConnector {
        &self.connector
    }
}

impl std::fmt::Debug for Tls {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tls").finish_non_exhaustive()
    }
}

fn invalid(text: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, text)
}
