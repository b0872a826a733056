//! The hop that a request came from: what the connection itself proves.

use std::net::IpAddr;

/// Who stands at the other end of a connection. Made once a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// Its address.
    pub ip: IpAddr,
    /// Its certificate, DER, verified against the roots of the port.
    pub certificate: Option<Vec<u8>>,
}

impl Peer {
    /// The peer at this address, with the certificate that it has shown and proven.
    pub fn new(ip: IpAddr, certificate: Option<&[u8]>) -> Peer {
        Peer { ip, certificate: certificate.map(<[u8]>::to_vec) }
    }
}
