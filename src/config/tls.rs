//! The settings of TLS, on both sides. Files are read here, so that one that cannot be used is an
//! error of the configuration.

use std::path::PathBuf;

use super::resolve::Values;
use super::setting::Setting;
use super::settings::{
    LISTEN_CERT_FILE, LISTEN_CLIENT_CA_FILE, LISTEN_KEY_FILE, UPSTREAM_CA_FILE, UPSTREAM_CERT_FILE,
    UPSTREAM_KEY_FILE, find,
};
use crate::proxy::tls::{FileError, ListenFiles, ListenTls, NamedFile, UpstreamFiles, UpstreamTls};

/// TLS of the port for calls; `None` without its files, or with an error in `values`.
pub(super) fn caller_tls(values: &mut Values) -> Option<ListenTls> {
    let pair = pair(values, &LISTEN_CERT_FILE, &LISTEN_KEY_FILE);
    let client_ca = file(values, &LISTEN_CLIENT_CA_FILE);
    let Some((cert, key)) = pair else {
        let told = [&LISTEN_CERT_FILE, &LISTEN_KEY_FILE].iter().any(|setting| values.is_wrong(setting));
        if client_ca.is_some() && !told {
            let problem = "asks callers for certificates, which needs TLS; give --listen-cert-file and --listen-key-file";
            values.error_in(&LISTEN_CLIENT_CA_FILE, problem);
        }
        return None;
    };
    loaded(values, ListenTls::load(ListenFiles { cert, key, client_ca }))
}

/// TLS to services; `None` if none of them needs it, or with an error in `values`.
pub(super) fn service_tls(values: &mut Values, a_service_speaks_tls: bool) -> Option<UpstreamTls> {
    let identity = pair(values, &UPSTREAM_CERT_FILE, &UPSTREAM_KEY_FILE);
    let ca = file(values, &UPSTREAM_CA_FILE);
    if ca.is_none() && identity.is_none() && !a_service_speaks_tls {
        return None; // an image without roots can do plain HTTP
    }
    loaded(values, UpstreamTls::load(UpstreamFiles { ca, identity }))
}

fn file(values: &mut Values, setting: &Setting<PathBuf>) -> Option<NamedFile> {
    values.file_path(setting).map(|path| NamedFile::new(setting.name, path))
}

/// The file of a private key.
fn key_file(values: &mut Values, setting: &Setting<PathBuf>) -> Option<NamedFile> {
    values.secret_path(setting).map(|path| NamedFile::new(setting.name, path))
}

/// A certificate and its key: both or neither.
fn pair(
    values: &mut Values,
    cert: &Setting<PathBuf>,
    key: &Setting<PathBuf>,
) -> Option<(NamedFile, NamedFile)> {
    match (file(values, cert), key_file(values, key)) {
        (Some(cert), Some(key)) => Some((cert, key)),
        (None, None) => None,
        (Some(_), None) if values.is_wrong(key) => None,
        (None, Some(_)) if values.is_wrong(cert) => None,
        (Some(_), None) => {
            values.error_in(cert, format!("needs its private key; give --{} too", key.name));
            None
        }
        (None, Some(_)) => {
            values.error_in(key, format!("needs its certificate; give --{} too", cert.name));
            None
        }
    }
}

fn loaded<T>(values: &mut Values, loaded: Result<T, FileError>) -> Option<T> {
    let FileError { setting, problem } = match loaded {
        Ok(loaded) => return Some(loaded),
        Err(error) => error,
    };
    match find(setting) {
        Some(setting) => values.error_in(setting, problem),
        None => values.error(setting, problem),
    }
    None
}
