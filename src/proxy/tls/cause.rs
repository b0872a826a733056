//! Why there is no TLS connection, in words that say what to do.

use std::io;

use jiff::Timestamp;
use rustls::pki_types::UnixTime;
use rustls::{AlertDescription, CertificateError, Error, InvalidMessage, OtherError};

use super::ServiceFiles;

/// Names of a certificate that are told; some have hundreds.
const NAMES_MAX: usize = 10;

/// Kinds of failures: labels of a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Cause {
    /// The peer's certificate was issued by nobody who is trusted.
    Untrusted,
    /// The peer's certificate is not valid at this time.
    Expired,
    /// The service's certificate is for other names.
    WrongName,
    /// The peer's certificate is unusable for another reason.
    Certificate,
    /// A client certificate is asked for, and there is none.
    ClientCertificate,
    /// The peer does not accept our certificate.
    NotAccepted,
    /// No version, cipher or application protocol in common.
    Protocol,
    /// The peer does not speak TLS.
    NotTls,
    /// A caller speaks TLS to a port that does not.
    NotPlain,
    /// The peer hung up within the handshake.
    Closed,
    /// Anything else.
    Other,
}

impl Cause {
    /// All of them, in the order of their numbers.
    pub const ALL: [Cause; 11] = [
        Cause::Untrusted,
        Cause::Expired,
        Cause::WrongName,
        Cause::Certificate,
        Cause::ClientCertificate,
        Cause::NotAccepted,
        Cause::Protocol,
        Cause::NotTls,
        Cause::NotPlain,
        Cause::Closed,
        Cause::Other,
    ];

    /// The label.
    pub fn as_str(self) -> &'static str {
        match self {
            Cause::Untrusted => "untrusted",
            Cause::Expired => "expired",
            Cause::WrongName => "wrong_name",
            Cause::Certificate => "certificate",
            Cause::ClientCertificate => "client_certificate",
            Cause::NotAccepted => "not_accepted",
            Cause::Protocol => "protocol",
            Cause::NotTls => "not_tls",
            Cause::NotPlain => "not_plain",
            Cause::Closed => "closed",
            Cause::Other => "other",
        }
    }
}

/// Why a service could not be spoken to; `None` if TLS is not the reason. `error` may also come
/// from the first read: TLS 1.3 refuses a client's certificate after the handshake.
pub(in crate::proxy) fn from_service(error: &io::Error, files: &ServiceFiles) -> Option<(Cause, String)> {
    let error = error.get_ref()?.downcast_ref::<Error>()?;
    let shown = files.identity.is_some();
    Some(match error {
        // The second: an authority of that name is among the roots, with another key.
        Error::InvalidCertificate(CertificateError::UnknownIssuer | CertificateError::BadSignature) => {
            let roots = match &files.ca {
                Some(ca) => format!("none of the roots in {} (--upstream-ca-file)", ca.path.display()),
                None => "no root of the system".to_owned(),
            };
            let advice = "give the PEM of the authority that issued it with --upstream-ca-file";
            (Cause::Untrusted, format!("the service's certificate leads to {roots}; {advice}"))
        }
        Error::InvalidCertificate(CertificateError::NotValidForNameContext { expected, presented }) => {
            let (expected, names) = (expected.to_str(), names(presented));
            (Cause::WrongName, format!(
                "the service's certificate is for {names}, not for {expected}; the host in --upstream must be one of its names"
            ))
        }
        Error::InvalidCertificate(problem) => certificate("service", problem),
        Error::AlertReceived(alert) => alert_of_service(*alert, shown),
        Error::InvalidMessage(InvalidMessage::InvalidContentType) => (
            Cause::NotTls,
            "the service does not speak TLS at this port; if it is plain HTTP, --upstream begins with http://".to_owned(),
        ),
        error => incompatible(error, "service"),
    })
}

fn alert_of_service(alert: AlertDescription, shown: bool) -> (Cause, String) {
    use AlertDescription as A;
    let give = "give one with --upstream-cert-file and --upstream-key-file";
    match alert {
        A::CertificateRequired | A::NoCertificate => {
            (Cause::ClientCertificate, format!("the service asks for a client certificate; {give}"))
        }
        A::BadCertificate
        | A::UnsupportedCertificate
        | A::CertificateRevoked
        | A::CertificateExpired
        | A::CertificateUnknown
        | A::UnknownCA
        | A::AccessDenied
            if shown =>
        {
            let text =
                format!("the service does not accept the certificate of --upstream-cert-file ({alert:?})");
            (Cause::NotAccepted, text)
        }
        A::HandshakeFailure | A::BadCertificate if !shown => (
            Cause::Protocol,
            format!(
                "the service refused the handshake ({alert:?}): it wants a client certificate ({give}), or has no cipher in common with us"
            ),
        ),
        A::HandshakeFailure | A::ProtocolVersion | A::InsufficientSecurity => (
            Cause::Protocol,
            format!("the service refused the handshake ({alert:?}); we offer TLS 1.2 and 1.3"),
        ),
        A::NoApplicationProtocol => {
            (Cause::Protocol, "the service does not speak HTTP/1.1, which is all that we offer".to_owned())
        }
        A::UnrecognisedName => {
            (Cause::WrongName, "the service does not know the host in --upstream (SNI)".to_owned())
        }
        alert => (Cause::Other, format!("the service ended TLS ({alert:?})")),
    }
}

/// Why a caller's handshake failed.
pub(in crate::proxy) fn from_caller(error: &io::Error) -> (Cause, String) {
    let Some(tls) = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>()) else {
        return (Cause::Closed, "the caller hung up within the handshake".to_owned());
    };
    match tls {
        Error::NoCertificatesPresented => (
            Cause::ClientCertificate,
            "the caller shows no certificate, which --listen-client-ca-file asks for; give the gateway's backend one".to_owned(),
        ),
        Error::InvalidCertificate(CertificateError::UnknownIssuer | CertificateError::BadSignature) => (
            Cause::Untrusted,
            "the caller's certificate leads to none of the roots in --listen-client-ca-file".to_owned(),
        ),
        Error::InvalidCertificate(problem) => certificate("caller", problem),
        Error::AlertReceived(alert) => (
            Cause::NotAccepted,
            format!("the caller does not accept the certificate of --listen-cert-file ({alert:?}); it must know its root and its name"),
        ),
        Error::InvalidMessage(InvalidMessage::InvalidContentType) => not_tls(),
        error => incompatible(error, "caller"),
    }
}

/// A caller's first byte was not that of a handshake.
pub(in crate::proxy) fn not_tls() -> (Cause, String) {
    let text = "a caller does not speak TLS, which --listen-cert-file asks for; the gateway's backend URL begins with https://";
    (Cause::NotTls, text.to_owned())
}

/// A caller's first bytes were those of a handshake, at a port that speaks no TLS.
pub(in crate::proxy) fn not_plain() -> (Cause, String) {
    let text = "a caller speaks TLS to a plain port; give --listen-cert-file and --listen-key-file, or the gateway's backend URL begins with http://";
    (Cause::NotPlain, text.to_owned())
}

fn certificate(whose: &str, problem: &CertificateError) -> (Cause, String) {
    match problem {
        CertificateError::ExpiredContext { time, not_after } => (
            Cause::Expired,
            format!("the {whose}'s certificate expired on {}; it is {} here", date(not_after), date(time)),
        ),
        CertificateError::NotValidYetContext { time, not_before } => (
            Cause::Expired,
            format!(
                "the {whose}'s certificate is valid from {}; it is {} here: is the clock right?",
                date(not_before),
                date(time)
            ),
        ),
        CertificateError::Other(OtherError(error)) if error.to_string().contains("CaUsedAsEndEntity") => (
            Cause::Certificate,
            format!(
                "the {whose} shows the certificate of an authority (CA:TRUE) as its own; issue one for the {whose}"
            ),
        ),
        problem => (Cause::Certificate, format!("the {whose}'s certificate cannot be used: {problem}")),
    }
}

fn incompatible(error: &Error, whose: &str) -> (Cause, String) {
    match error {
        Error::PeerIncompatible(_) | Error::NoApplicationProtocol => (
            Cause::Protocol,
            format!(
                "the {whose} has no version, cipher or protocol in common with us: {error}; we speak TLS 1.2 and 1.3, and HTTP/1.1"
            ),
        ),
        error => (Cause::Other, format!("TLS with the {whose} failed: {error}")),
    }
}

/// rustls writes `DnsName("a.example")`.
fn names(presented: &[String]) -> String {
    let bare = |name: &String| name.split('"').nth(1).unwrap_or(name).to_owned();
    let mut text = presented.iter().take(NAMES_MAX).map(bare).collect::<Vec<_>>().join(", ");
    if presented.is_empty() {
        text.push_str("no name at all");
    } else if presented.len() > NAMES_MAX {
        text.push_str(&format!(" and {} more", presented.len() - NAMES_MAX));
    }
    text
}

fn date(time: &UnixTime) -> String {
    let seconds = i64::try_from(time.as_secs()).unwrap_or(i64::MAX);
    Timestamp::from_second(seconds)
        .map_or_else(|_| "a time beyond all calendars".to_owned(), |at| at.to_string())
}
