//! The texts for failures that are hard to bring about with real peers.

use std::io;

use rustls::pki_types::ServerName;
use rustls::{AlertDescription, CertificateError, Error};

use super::cause::{TlsCause, from_client, from_upstream};
use super::{NamedFile, UpstreamFiles};

fn error(error: Error) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

fn with_identity() -> UpstreamFiles {
    let file = |setting| NamedFile::new(setting, "file.pem");
    UpstreamFiles { ca: None, identity: Some((file("upstream-cert-file"), file("upstream-key-file"))) }
}

#[test]
fn a_certificate_with_hundreds_of_names_is_told_with_ten() {
    let presented = (0..300).map(|n| format!("DnsName(\"{n}.example\")")).collect();
    let expected = ServerName::try_from("a.example").unwrap();
    let problem = CertificateError::NotValidForNameContext { expected, presented };
    let (cause, why) = from_upstream(&error(problem.into()), &UpstreamFiles::default()).unwrap();
    assert_eq!(cause, TlsCause::WrongName);
    assert!(why.contains("0.example, 1.example") && why.contains("9.example and 290 more"), "{why}");
    assert!(!why.contains("10.example") && why.contains("not for a.example"), "{why}");
}

#[test]
fn an_alert_means_another_thing_with_a_client_certificate_and_without_one() {
    use AlertDescription as A;
    for (alert, without, with) in [
        (A::CertificateRequired, TlsCause::ClientCertificate, TlsCause::ClientCertificate),
        (A::HandshakeFailure, TlsCause::Protocol, TlsCause::Protocol),
        (A::BadCertificate, TlsCause::Protocol, TlsCause::NotAccepted),
        (A::UnknownCA, TlsCause::Other, TlsCause::NotAccepted),
        (A::ProtocolVersion, TlsCause::Protocol, TlsCause::Protocol),
        (A::NoApplicationProtocol, TlsCause::Protocol, TlsCause::Protocol),
        (A::UnrecognisedName, TlsCause::WrongName, TlsCause::WrongName),
        (A::InternalError, TlsCause::Other, TlsCause::Other),
    ] {
        let of = |files| from_upstream(&error(Error::AlertReceived(alert)), &files).unwrap();
        let (plain, shown) = (of(UpstreamFiles::default()), of(with_identity()));
        assert_eq!((plain.0, shown.0), (without, with), "{alert:?}");
        let asks = matches!(alert, A::CertificateRequired | A::HandshakeFailure | A::BadCertificate);
        assert_eq!(plain.1.contains("--upstream-cert-file"), asks, "{}", plain.1);
    }
}

#[test]
fn what_is_not_of_tls_is_no_failure_of_it() {
    for kind in [io::ErrorKind::ConnectionRefused, io::ErrorKind::TimedOut, io::ErrorKind::UnexpectedEof] {
        assert!(from_upstream(&kind.into(), &UpstreamFiles::default()).is_none());
        assert!(from_upstream(&io::Error::new(kind, "words"), &UpstreamFiles::default()).is_none());
        assert_eq!(from_client(&kind.into()).0, TlsCause::Closed);
    }
}
