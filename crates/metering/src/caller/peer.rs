//! The hop that a request came from: what the connection itself proves.

use std::net::IpAddr;

use super::certificate::Certificate;

/// Who stands at the other end of a connection. Made once a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Its address.
    pub ip: IpAddr,
    /// The names in its certificate, which has been verified against the roots of the port.
    pub certificate: Option<Certificate>,
}

impl Peer {
    /// The peer at this address, with the certificate (DER) that it has shown and proven.
    pub fn new(ip: IpAddr, certificate: Option<&[u8]>) -> Peer {
        Peer { ip, certificate: certificate.map(Certificate::from_der) }
    }
}
