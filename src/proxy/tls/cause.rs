//! Why there is no TLS connection, in words that say what to do.

use std::io;

use jiff::Timestamp;
use rustls::pki_types::UnixTime;
use rustls::{AlertDescription, CertificateError, Error, InvalidMessage, OtherError};

use super::upstream::UpstreamFiles;

/// Names of a certificate that are listed; some certificates have hundreds.
const NAMES_MAX: usize = 10;

/// Kinds of failures: labels of a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TlsCause {
    /// The peer's certificate was issued by an authority that is not trusted.
    Untrusted,
    /// The peer's certificate is not valid at this time.
    Expired,
    /// The upstream's certificate is for other names.
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
    /// A client speaks TLS to a port that does not.
    NotPlain,
    /// The peer hung up within the handshake.
    Closed,
    /// Anything else.
    Other,
}

impl TlsCause {
    /// All of them, in the order of their numbers.
    pub const ALL: [TlsCause; 11] = [
        TlsCause::Untrusted,
        TlsCause::Expired,
        TlsCause::WrongName,
        TlsCause::Certificate,
        TlsCause::ClientCertificate,
        TlsCause::NotAccepted,
        TlsCause::Protocol,
        TlsCause::NotTls,
        TlsCause::NotPlain,
        TlsCause::Closed,
        TlsCause::Other,
    ];

    /// The label.
    pub fn as_str(self) -> &'static str {
        match self {
            TlsCause::Untrusted => "untrusted",
            TlsCause::Expired => "expired",
            TlsCause::WrongName => "wrong_name",
            TlsCause::Certificate => "certificate",
            TlsCause::ClientCertificate => "client_certificate",
            TlsCause::NotAccepted => "not_accepted",
            TlsCause::Protocol => "protocol",
            TlsCause::NotTls => "not_tls",
            TlsCause::NotPlain => "not_plain",
            TlsCause::Closed => "closed",
            TlsCause::Other => "other",
        }
    }
}

/// Why an upstream could not be spoken to; `None` if TLS is not the reason. `error` may also come
/// from the first read: TLS 1.3 refuses a client's certificate after the handshake.
pub(crate) fn from_upstream(error: &io::Error, files: &UpstreamFiles) -> Option<(TlsCause, String)> {
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
            (TlsCause::Untrusted, format!("the service's certificate leads to {roots}; {advice}"))
        }
        Error::InvalidCertificate(CertificateError::NotValidForNameContext { expected, presented }) => {
            let (expected, names) = (expected.to_str(), names(presented));
            (TlsCause::WrongName, format!(
                "the service's certificate is for {names}, not for {expected}; the host in --upstream must be one of its names"
            ))
        }
        Error::InvalidCertificate(problem) => certificate("service", problem),
        Error::AlertReceived(alert) => alert_of_upstream(*alert, shown),
        Error::InvalidMessage(InvalidMessage::InvalidContentType) => (
            TlsCause::NotTls,
            "the service does not speak TLS at this port; if it is plain HTTP, --upstream begins with http://".to_owned(),
        ),
        error => incompatible(error, "service"),
    })
}

fn alert_of_upstream(alert: AlertDescription, shown: bool) -> (TlsCause, String) {
    use AlertDescription as A;
    let give = "give one with --upstream-cert-file and --upstream-key-file";
    match alert {
        A::CertificateRequired | A::NoCertificate => {
            (TlsCause::ClientCertificate, format!("the service asks for a client certificate; {give}"))
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
            (TlsCause::NotAccepted, text)
        }
        A::HandshakeFailure | A::BadCertificate if !shown => (
            TlsCause::Protocol,
            format!(
                "the service refused the handshake ({alert:?}): it wants a client certificate ({give}), or has no cipher in common with us"
            ),
        ),
        A::HandshakeFailure | A::ProtocolVersion | A::InsufficientSecurity => (
            TlsCause::Protocol,
            format!("the service refused the handshake ({alert:?}); we offer TLS 1.2 and 1.3"),
        ),
        A::NoApplicationProtocol => {
            (TlsCause::Protocol, "the service does not speak HTTP/1.1, which is all that we offer".to_owned())
        }
        A::UnrecognisedName => {
            (TlsCause::WrongName, "the service does not know the host in --upstream (SNI)".to_owned())
        }
        alert => (TlsCause::Other, format!("the service ended TLS ({alert:?})")),
    }
}

/// Why a client's handshake failed.
pub(crate) fn from_client(error: &io::Error) -> (TlsCause, String) {
    let Some(tls) = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>()) else {
        return (TlsCause::Closed, "the caller hung up within the handshake".to_owned());
    };
    match tls {
        Error::NoCertificatesPresented => (
            TlsCause::ClientCertificate,
            "the caller shows no certificate, which --listen-client-ca-file asks for; give the gateway's backend one".to_owned(),
        ),
        Error::InvalidCertificate(CertificateError::UnknownIssuer | CertificateError::BadSignature) => (
            TlsCause::Untrusted,
            "the caller's certificate leads to none of the roots in --listen-client-ca-file".to_owned(),
        ),
        Error::InvalidCertificate(problem) => certificate("caller", problem),
        Error::AlertReceived(alert) => (
            TlsCause::NotAccepted,
            format!("the caller does not accept the certificate of --listen-cert-file ({alert:?}); it must know its root and its name"),
        ),
        Error::InvalidMessage(InvalidMessage::InvalidContentType) => not_tls(),
        error => incompatible(error, "caller"),
    }
}

/// A client's first byte was not that of a handshake.
pub(crate) fn not_tls() -> (TlsCause, String) {
    let text = "a caller does not speak TLS, which --listen-cert-file asks for; the gateway's backend URL begins with https://";
    (TlsCause::NotTls, text.to_owned())
}

/// A client's first bytes were those of a handshake, at a port that speaks no TLS.
pub(crate) fn not_plain() -> (TlsCause, String) {
    let text = "a caller speaks TLS to a plain port; give --listen-cert-file and --listen-key-file, or the gateway's backend URL begins with http://";
    (TlsCause::NotPlain, text.to_owned())
}

fn certificate(whose: &str, problem: &CertificateError) -> (TlsCause, String) {
    match problem {
        CertificateError::ExpiredContext { time, not_after } => (
            TlsCause::Expired,
            format!("the {whose}'s certificate expired on {}; it is {} here", date(not_after), date(time)),
        ),
        CertificateError::NotValidYetContext { time, not_before } => (
            TlsCause::Expired,
            format!(
                "the {whose}'s certificate is valid from {}; it is {} here: is the clock right?",
                date(not_before),
                date(time)
            ),
        ),
        CertificateError::Other(OtherError(error)) if error.to_string().contains("CaUsedAsEndEntity") => (
            TlsCause::Certificate,
            format!(
                "the {whose} shows the certificate of an authority (CA:TRUE) as its own; issue one for the {whose}"
            ),
        ),
        problem => (TlsCause::Certificate, format!("the {whose}'s certificate cannot be used: {problem}")),
    }
}

fn incompatible(error: &Error, whose: &str) -> (TlsCause, String) {
    match error {
        Error::PeerIncompatible(_) | Error::NoApplicationProtocol => (
            TlsCause::Protocol,
            format!(
                "the {whose} has no version, cipher or protocol in common with us: {error}; we speak TLS 1.2 and 1.3, and HTTP/1.1"
            ),
        ),
        error => (TlsCause::Other, format!("TLS with the {whose} failed: {error}")),
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
