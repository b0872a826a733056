//! What is said of failures that are hard to bring about with real peers.

use std::io;

use rustls::pki_types::ServerName;
use rustls::{AlertDescription, CertificateError, Error};

use super::{Cause, NamedFile, ServiceFiles, from_caller, from_service};

fn error(error: Error) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

fn with_identity() -> ServiceFiles {
    let file = |setting| NamedFile::new(setting, "file.pem");
    ServiceFiles { ca: None, identity: Some((file("upstream-cert-file"), file("upstream-key-file"))) }
}

#[test]
fn a_certificate_with_hundreds_of_names_is_told_with_ten() {
    let presented = (0..300).map(|n| format!("DnsName(\"{n}.example\")")).collect();
    let expected = ServerName::try_from("a.example").unwrap();
    let problem = CertificateError::NotValidForNameContext { expected, presented };
    let (cause, why) = from_service(&error(problem.into()), &ServiceFiles::default()).unwrap();
    assert_eq!(cause, Cause::WrongName);
    assert!(why.contains("0.example, 1.example") && why.contains("9.example and 290 more"), "{why}");
    assert!(!why.contains("10.example") && why.contains("not for a.example"), "{why}");
}

#[test]
fn an_alert_means_another_thing_with_a_client_certificate_and_without_one() {
    use AlertDescription as A;
    for (alert, without, with) in [
        (A::CertificateRequired, Cause::ClientCertificate, Cause::ClientCertificate),
        (A::HandshakeFailure, Cause::Protocol, Cause::Protocol),
        (A::BadCertificate, Cause::Protocol, Cause::NotAccepted),
        (A::UnknownCA, Cause::Other, Cause::NotAccepted),
        (A::ProtocolVersion, Cause::Protocol, Cause::Protocol),
        (A::NoApplicationProtocol, Cause::Protocol, Cause::Protocol),
        (A::UnrecognisedName, Cause::WrongName, Cause::WrongName),
        (A::InternalError, Cause::Other, Cause::Other),
    ] {
        let of = |files| from_service(&error(Error::AlertReceived(alert)), &files).unwrap();
        let (plain, shown) = (of(ServiceFiles::default()), of(with_identity()));
        assert_eq!((plain.0, shown.0), (without, with), "{alert:?}");
        let asks = matches!(alert, A::CertificateRequired | A::HandshakeFailure | A::BadCertificate);
        assert_eq!(plain.1.contains("--upstream-cert-file"), asks, "{}", plain.1);
    }
}

#[test]
fn what_is_not_of_tls_is_no_failure_of_it() {
    for kind in [io::ErrorKind::ConnectionRefused, io::ErrorKind::TimedOut, io::ErrorKind::UnexpectedEof] {
        assert!(from_service(&kind.into(), &ServiceFiles::default()).is_none());
        assert!(from_service(&io::Error::new(kind, "words"), &ServiceFiles::default()).is_none());
        assert_eq!(from_caller(&kind.into()).0, Cause::Closed);
    }
}
