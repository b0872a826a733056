//! The names in a client certificate. Whether it may be believed is the port's part: only a
//! certificate that was verified comes here.
//!
//! Names are the DNS names of the subject's alternative names, then its URIs. Only a certificate with
//! neither goes by the common name of its subject: that field is free text, and RFC 6125 6.4.4 lets
//! it count only where nothing else does.

use rustls::pki_types::CertificateDer;
use webpki::EndEntityCert;

/// More names are no certificate of a caller.
const NAMES_MAX: usize = 100;

/// Who a verified client certificate was issued to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Certificate {
    names: Vec<String>,
}

impl Certificate {
    /// The names in a certificate; none if it cannot be read.
    pub fn from_der(der: &[u8]) -> Certificate {
        let der = CertificateDer::from(der);
        let names = EndEntityCert::try_from(&der).map(|parsed| names(&parsed)).unwrap_or_default();
        Certificate { names }
    }

    /// The name that it is charged by, the first one; `None` if it has none.
    pub fn id(&self) -> Option<&str> {
        self.names.first().map(String::as_str)
    }

    /// Its names, the first of which it is charged by.
    pub fn names(&self) -> &[String] {
        &self.names
    }

    /// It carries one of these names.
    pub fn carries_any(&self, wanted: &[String]) -> bool {
        self.names.iter().any(|name| wanted.iter().any(|wanted| is_same(name, wanted)))
    }
}

/// DNS names have no case; URIs and common names do.
fn is_same(name: &str, wanted: &str) -> bool {
    let dns = |byte: u8| byte.is_ascii_alphanumeric() || b"-._*".contains(&byte);
    name == wanted || (name.bytes().all(dns) && name.eq_ignore_ascii_case(wanted))
}

fn names(certificate: &EndEntityCert<'_>) -> Vec<String> {
    let alternatives = certificate.valid_dns_names().chain(certificate.valid_uri_names());
    let named: Vec<String> = alternatives.map(str::to_owned).take(NAMES_MAX).collect();
    if named.is_empty() { common_name(certificate.subject()).into_iter().collect() } else { named }
}

/// The first common name (2.5.4.3) of a subject: a list of sets of pairs of type and text, in DER.
fn common_name(subject: &[u8]) -> Option<String> {
    const COMMON_NAME: [u8; 3] = [0x55, 4, 3];
    elements(subject).filter(|(tag, _)| *tag == SET).flat_map(|(_, set)| elements(set)).find_map(
        |(_, pair)| {
            let mut parts = elements(pair);
            let ((OBJECT_ID, kind), (tag, text)) = (parts.next()?, parts.next()?) else { return None };
            let is_text = [UTF8_STRING, PRINTABLE_STRING, IA5_STRING].contains(&tag);
            (kind == COMMON_NAME && is_text).then(|| String::from_utf8(text.to_vec()).ok())?
        },
    )
}

// Tags of DER (X.690).
const OBJECT_ID: u8 = 0x06;
const UTF8_STRING: u8 = 0x0c;
const PRINTABLE_STRING: u8 = 0x13;
const IA5_STRING: u8 = 0x16;
const SET: u8 = 0x31;

/// Tags and contents of a list of DER elements, up to its end or the first that is none.
fn elements(mut der: &[u8]) -> impl Iterator<Item = (u8, &[u8])> {
    std::iter::from_fn(move || {
        let (&[tag, length], rest) = der.split_first_chunk()?;
        let (length, rest) = match length {
            0..=0x7f => (usize::from(length), rest),
            0x81 => rest.split_first().map(|(length, rest)| (usize::from(*length), rest))?,
            0x82 => {
                rest.split_first_chunk().map(|(length, rest)| (u16::from_be_bytes(*length).into(), rest))?
            }
            _ => return None,
        };
        let content = rest.get(..length)?;
        der = rest.get(length..)?;
        Some((tag, content))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use rcgen::{CertificateParams, DnType, KeyPair, SanType};

    fn certificate(common: Option<&str>, alternatives: Vec<SanType>) -> Certificate {
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        if let Some(name) = common {
            params.distinguished_name.push(DnType::CommonName, name);
        }
        params.subject_alt_names = alternatives;
        let signed = params.self_signed(&KeyPair::generate().unwrap()).unwrap();
        Certificate::from_der(signed.der())
    }

    fn dns(name: &str) -> SanType {
        SanType::DnsName(name.try_into().unwrap())
    }

    fn uri(name: &str) -> SanType {
        SanType::URI(name.try_into().unwrap())
    }

    #[test]
    fn the_first_dns_name_or_uri_is_the_id() {
        let ip = SanType::IpAddress("10.0.0.1".parse().unwrap());
        let both = certificate(Some("cn"), vec![ip.clone(), uri("spiffe://bank/a"), dns("a.bank")]);
        assert_eq!(both.id(), Some("a.bank"));
        assert_eq!(certificate(Some("cn"), vec![ip.clone(), uri("spiffe://x")]).id(), Some("spiffe://x"));
        assert_eq!(certificate(Some("team a"), vec![ip]).id(), Some("team a"));
        assert_eq!(certificate(None, vec![]).id(), None);
    }

    #[test]
    fn a_common_name_counts_only_where_nothing_else_does() {
        let wanted = |name: &str| [name.to_owned()];
        let two = certificate(Some("gateway.bank"), vec![dns("Other.bank"), uri("spiffe://bank/Gw")]);
        assert!(!two.carries_any(&wanted("gateway.bank")));
        assert!(two.carries_any(&wanted("OTHER.bank")));
        assert!(two.carries_any(&wanted("spiffe://bank/Gw")));
        assert!(!two.carries_any(&wanted("spiffe://bank/gw")));
        assert!(!two.carries_any(&wanted("er.bank")));
        assert!(!two.carries_any(&[]));
        assert!(certificate(Some("gateway.bank"), vec![]).carries_any(&wanted("gateway.bank")));
    }

    #[test]
    fn what_is_no_certificate_has_no_names() {
        for der in [&b""[..], b"\x30\x82", &[0x30; 4096]] {
            assert_eq!(Certificate::from_der(der).id(), None);
        }
    }

    #[test]
    fn a_subject_is_read_as_far_as_it_is_one() {
        let text = |tag: u8, oid: u8, text: &[u8]| {
            let mut value = vec![OBJECT_ID, 3, 0x55, 4, oid, tag, 0x82, 0, text.len() as u8];
            value.extend(text);
            [&[SET, value.len() as u8 + 2, 0x30, value.len() as u8][..], &value].concat()
        };
        let (org, name) = (text(UTF8_STRING, 10, b"bank"), text(PRINTABLE_STRING, 3, b"team a"));
        assert_eq!(common_name(&[&org[..], &name].concat()).as_deref(), Some("team a"));
        assert_eq!(common_name(&org), None);
        assert_eq!(common_name(&text(0x1e, 3, b"\0t")), None, "a text that few write and nobody here reads");
        assert_eq!(common_name(&text(UTF8_STRING, 3, b"\xff")), None);
        for end in 0..name.len() {
            assert_eq!(common_name(&name[..end]), None, "broken off after {end}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_are_too_wrong(der in prop::collection::vec(prop_oneof![Just(SET), Just(0x30), Just(0x82), any::<u8>()], 0..200)) {
            let _ = (Certificate::from_der(&der), common_name(&der));
        }
    }
}
