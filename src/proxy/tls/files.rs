//! Certificates, keys and roots from PEM files, with errors that say what to do.
//!
//! The text of a file, and what a parser says about it, never gets into an error: it may hold a key.

use std::fmt;
use std::io::Read;
use std::path::{Path, PathBuf};

use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// Far more than any bundle of roots, and little enough to be read by mistake.
const FILE_BYTES_MAX: u64 = 8 * 1024 * 1024;

/// A file of a setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedFile {
    /// The setting that names it, without dashes.
    pub setting: &'static str,
    /// Where it lies.
    pub path: PathBuf,
}

/// A file that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("--{setting}: {problem}")]
pub struct FileError {
    /// The setting that names it, without dashes.
    pub setting: &'static str,
    /// The file, the cause and what to do.
    pub problem: String,
}

/// The contents of a file.
pub(super) struct Contents<'a> {
    file: &'a NamedFile,
    bytes: Vec<u8>,
}

impl NamedFile {
    /// The file of a setting.
    pub fn new(setting: &'static str, path: impl Into<PathBuf>) -> NamedFile {
        NamedFile { setting, path: path.into() }
    }

    pub(super) fn error(&self, problem: impl fmt::Display) -> FileError {
        FileError { setting: self.setting, problem: format!("{} {problem}", self.path.display()) }
    }

    pub(super) fn read(&self) -> Result<Contents<'_>, FileError> {
        let bytes = read(&self.path)
            .map_err(|error| self.error(format_args!("cannot be read: {error}; {}", advice(error.kind()))))?;
        if bytes.len() as u64 > FILE_BYTES_MAX {
            return Err(
                self.error(format_args!("is larger than {FILE_BYTES_MAX} bytes; is it the right file?"))
            );
        }
        Ok(Contents { file: self, bytes })
    }
}

fn read(path: &Path) -> std::io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    std::fs::File::open(path)?.take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn advice(kind: std::io::ErrorKind) -> &'static str {
    match kind {
        std::io::ErrorKind::NotFound => "check the path, and that the volume with it is mounted",
        std::io::ErrorKind::PermissionDenied => "let the user of this process read it",
        _ => "it must be a PEM file",
    }
}

impl Contents<'_> {
    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// All certificates, at least one.
    pub(super) fn certificates(&self) -> Result<Vec<CertificateDer<'static>>, FileError> {
        let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&self.bytes).collect();
        match found {
            Ok(found) if !found.is_empty() => Ok(found),
            Ok(_) => Err(self.nothing("certificate", "CERTIFICATE")),
            Err(_) => Err(self.file.error("holds broken PEM; write the file again")),
        }
    }

    /// The private key.
    pub(super) fn key(&self) -> Result<PrivateKeyDer<'static>, FileError> {
        match PrivateKeyDer::from_pem_slice(&self.bytes) {
            Ok(key) => Ok(key),
            Err(rustls::pki_types::pem::Error::NoItemsFound) => {
                Err(self.nothing("private key", "PRIVATE KEY"))
            }
            Err(_) => Err(self.file.error("holds broken PEM; write the file again")),
        }
    }

    /// Roots; those that cannot be read are left out, as long as there is one.
    pub(super) fn roots(&self) -> Result<RootCertStore, FileError> {
        let mut store = RootCertStore::empty();
        store.add_parsable_certificates(self.certificates()?);
        if store.is_empty() {
            return Err(self.file.error("holds no certificate that can be a root; give the PEM of the CA"));
        }
        Ok(store)
    }

    /// Why there is nothing of a kind in it.
    fn nothing(&self, what: &str, label: &str) -> FileError {
        let holds = |text: &str| memchr::memmem::find(&self.bytes, text.as_bytes()).is_some();
        let why = if self.bytes.is_empty() {
            "the file is empty".to_owned()
        } else if holds("ENCRYPTED") {
            "it is encrypted; write it without a pass phrase, such as with `openssl pkey -in FILE`".to_owned()
        } else if holds("-----BEGIN ") {
            format!("it holds something else; are the files swapped? It needs -----BEGIN {label}-----")
        } else {
            format!(
                "it is no PEM, perhaps DER; `openssl x509` or `openssl pkey` turns it into -----BEGIN {label}-----"
            )
        };
        self.file.error(format_args!("holds no {what}: {why}"))
    }
}
