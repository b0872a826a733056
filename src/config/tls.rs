//! The settings of TLS, on both sides. Files are read here, so that one that cannot be used is an
//! error of the configuration.

use super::Values;
use crate::proxy::tls::{CallerFiles, CallerTls, FileError, NamedFile, ServiceFiles, Tls};

/// TLS of the port for calls; `None` without its files, or with an error in `values`.
pub(super) fn caller_tls(values: &mut Values) -> Option<CallerTls> {
    let pair = pair(values, "listen-cert-file", "listen-key-file");
    let client_ca = file(values, "listen-client-ca-file");
    let Some((cert, key)) = pair else {
        let told = ["listen-cert-file", "listen-key-file"].iter().any(|name| values.is_wrong(name));
        if client_ca.is_some() && !told {
            let problem = "asks callers for certificates, which needs TLS; give --listen-cert-file and --listen-key-file";
            values.error_in("listen-client-ca-file", problem);
        }
        return None;
    };
    loaded(values, CallerTls::load(CallerFiles { cert, key, client_ca }))
}

/// TLS to services; `None` if none of them needs it, or with an error in `values`.
pub(super) fn service_tls(values: &mut Values) -> Option<Tls> {
    let identity = pair(values, "upstream-cert-file", "upstream-key-file");
    let ca = file(values, "upstream-ca-file");
    let https = |url: &String| url.split_once('=').map_or(url.as_str(), |(_, url)| url).starts_with("https:");
    if ca.is_none() && identity.is_none() && !values.all("upstream").iter().any(https) {
        return None; // an image without roots can do plain HTTP
    }
    loaded(values, Tls::load(ServiceFiles { ca, identity }))
}

fn file(values: &mut Values, setting: &'static str) -> Option<NamedFile> {
    values.file_path(setting).map(|path| NamedFile::new(setting, path))
}

/// The file of a private key.
fn key_file(values: &mut Values, setting: &'static str) -> Option<NamedFile> {
    values.secret_path(setting).map(|path| NamedFile::new(setting, path))
}

/// A certificate and its key: both or neither.
fn pair(values: &mut Values, cert: &'static str, key: &'static str) -> Option<(NamedFile, NamedFile)> {
    match (file(values, cert), key_file(values, key)) {
        (Some(cert), Some(key)) => Some((cert, key)),
        (None, None) => None,
        (Some(_), None) if values.is_wrong(key) => None,
        (None, Some(_)) if values.is_wrong(cert) => None,
        (Some(_), None) => {
            values.error_in(cert, format!("needs its private key; give --{key} too"));
            None
        }
        (None, Some(_)) => {
            values.error_in(key, format!("needs its certificate; give --{cert} too"));
            None
        }
    }
}

fn loaded<T>(values: &mut Values, loaded: Result<T, FileError>) -> Option<T> {
    loaded.map_err(|FileError { setting, problem }| values.error_in(setting, problem)).ok()
}
