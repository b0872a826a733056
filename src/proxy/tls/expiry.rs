//! When certificates of our own end to hold, so that somebody is told before callers are shut out.

use jiff::Timestamp;
use openssl::asn1::Asn1Time;
use openssl::error::ErrorStack;
use openssl::x509::X509;
use rustls::pki_types::CertificateDer;

const DAY_S: i64 = 86_400;

/// The end of a chain in the file of a setting.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CertificateExpiry {
    /// The setting that names the file, without dashes.
    pub setting: &'static str,
    /// From then on the chain does not hold: the first `notAfter` in it (RFC 5280, 4.1.2.5).
    pub at: Timestamp,
}

/// The first end among the certificates of a chain. `None`: they could not be read, though TLS can use them.
pub(super) fn first_expiry(setting: &'static str, chain: &[CertificateDer<'_>]) -> Option<CertificateExpiry> {
    let ends = chain.iter().filter_map(|certificate| not_after(certificate).ok().flatten());
    ends.min().map(|at| CertificateExpiry { setting, at })
}

fn not_after(certificate: &CertificateDer<'_>) -> Result<Option<Timestamp>, ErrorStack> {
    let certificate = X509::from_der(certificate)?;
    let since_1970 = Asn1Time::from_unix(0)?.diff(certificate.not_after())?;
    Ok(Timestamp::from_second(i64::from(since_1970.days) * DAY_S + i64::from(since_1970.secs)).ok())
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, KeyPair, date_time_ymd};

    use super::*;

    fn until(year: i32, month: u8, day: u8) -> CertificateDer<'static> {
        let mut params = CertificateParams::new(["gateway.example".to_owned()]).unwrap();
        params.not_after = date_time_ymd(year, month, day);
        params.self_signed(&KeyPair::generate().unwrap()).unwrap().into()
    }

    /// From 2050 on the field has another form (RFC 5280, 4.1.2.5.2), and before 1970 the number is negative.
    #[test]
    fn a_chain_ends_with_its_first_certificate_to_end() {
        let of = |chain: &[CertificateDer<'_>]| {
            first_expiry("listen-cert-file", chain).map(|end| end.at.to_string())
        };
        let (late, early, past) = (until(2050, 7, 1), until(2027, 2, 28), until(1969, 12, 31));
        assert_eq!(of(std::slice::from_ref(&late)).as_deref(), Some("2050-07-01T00:00:00Z"));
        assert_eq!(of(&[late.clone(), early.clone()]).as_deref(), Some("2027-02-28T00:00:00Z"));
        assert_eq!(of(&[early, past]).as_deref(), Some("1969-12-31T00:00:00Z"));
        assert_eq!(of(&[late, CertificateDer::from(vec![1, 2, 3])]).as_deref(), Some("2050-07-01T00:00:00Z"));
        assert_eq!(of(&[]), None);
    }
}
