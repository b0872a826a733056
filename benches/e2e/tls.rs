//! An authority of our own, which the peers are told to trust, and the service's certificate.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Result;
use rustls::{ClientConfig, ServerConfig};

use super::certs::{Authority, Files, client, provider};

/// The ends of TLS.
pub(crate) struct Tls {
    pub(crate) server: Arc<ServerConfig>,
    pub(crate) client: Arc<ClientConfig>,
    /// The authority's certificate, PEM.
    pub(crate) authority: PathBuf,
    _files: Files,
}

impl Tls {
    pub(crate) fn new() -> Result<Tls> {
        let authority = Authority::new("end-to-end bench");
        let issued = authority.issue(&["localhost"]);
        let server = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(issued.chain(), issued.key_der())?;
        let files = Files::new();
        let path = files.put("authority.pem", &authority.pem);
        Ok(Tls {
            server: Arc::new(server),
            client: client(&authority, None, &[]),
            authority: path,
            _files: files,
        })
    }
}
