//! Networks in CIDR notation.

use std::net::IpAddr;
use std::str::FromStr;

use ipnet::IpNet;

/// Bits before the IPv4 address in one that is mapped into IPv6.
const MAPPED_PREFIX_BITS: u8 = 96;

/// A network: all addresses that begin with the same bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network(IpNet);

/// Why a text is not a network.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseNetworkError {
    /// The text does not have the form of one.
    #[error("{0:?} is no network; allowed: an address or CIDR such as 10.1.0.0/16 or fd00::/8")]
    Form(String),
    /// Bits are set behind the prefix: which network is meant is not certain.
    #[error("{given:?} has bits set behind its prefix; the network is {network}")]
    Bits {
        /// As it was given.
        given: String,
        /// The network that the address is in.
        network: String,
    },
}

impl Network {
    /// An address is in the network. IPv4 addresses mapped into IPv6 are IPv4 addresses.
    pub fn contains(&self, ip: IpAddr) -> bool {
        self.0.contains(&ip.to_canonical())
    }
}

impl FromStr for Network {
    type Err = ParseNetworkError;

    fn from_str(text: &str) -> Result<Network, ParseNetworkError> {
        let network = parse(text).ok_or_else(|| ParseNetworkError::Form(text.to_owned()))?;
        if network != network.trunc() {
            let (given, network) = (text.to_owned(), network.trunc().to_string());
            return Err(ParseNetworkError::Bits { given, network });
        }
        // A network of mapped addresses is the IPv4 network that it stands for.
        let mapped = match network.addr().to_canonical() {
            IpAddr::V4(v4) if network.addr().is_ipv6() => {
                let bits = network.prefix_len().checked_sub(MAPPED_PREFIX_BITS);
                bits.and_then(|bits| IpNet::new(v4.into(), bits).ok())
            }
            _ => None,
        };
        Ok(Network(mapped.unwrap_or(network)))
    }
}

/// An address, or one with the length of a prefix. The standard library reads the address, since `ipnet` takes
/// leading zeros, and the sign of a number is not allowed.
fn parse(text: &str) -> Option<IpNet> {
    let Some((address, bits)) = text.split_once('/') else {
        return Some(text.parse::<IpAddr>().ok()?.into());
    };
    let bits = Some(bits).filter(|bits| bits.bytes().all(|byte| byte.is_ascii_digit()))?;
    IpNet::new(address.parse().ok()?, bits.parse().ok()?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn contains(network: &str, ip: &str) -> bool {
        network.parse::<Network>().unwrap().contains(ip.parse().unwrap())
    }

    #[test]
    fn an_address_is_in_the_networks_that_it_begins_like() {
        for (network, inside, outside) in [
            ("10.1.0.0/16", "10.1.255.255", "10.2.0.0"),
            ("10.1.2.3", "10.1.2.3", "10.1.2.2"),
            ("10.1.2.3/32", "::ffff:10.1.2.3", "::ffff:10.1.2.4"),
            ("0.0.0.0/0", "255.255.255.255", "::1"),
            ("::/0", "fd00::1", "10.0.0.1"),
            ("fd00::/8", "fdff::1", "fe00::"),
            ("::1", "::1", "127.0.0.1"),
            ("::ffff:10.0.0.0/104", "10.9.9.9", "11.0.0.0"),
        ] {
            assert!(contains(network, inside), "{inside} in {network}");
            assert!(!contains(network, outside), "{outside} not in {network}");
        }
    }

    #[test]
    fn what_is_no_network_is_named() {
        for bad in
            ["", "10.1", "10.1.0.0/33", "::/129", "10.0.0.0/", "10.0.0.0/+8", "10.0.0.0/8/8", "gw", "/8"]
        {
            assert_eq!(bad.parse::<Network>(), Err(ParseNetworkError::Form(bad.to_owned())));
        }
        let error = "10.1.2.3/16".parse::<Network>().unwrap_err().to_string();
        assert!(error.contains("10.1.2.3/16") && error.contains("10.1.0.0/16"), "{error}");
        let error = "fd00::1/8".parse::<Network>().unwrap_err().to_string();
        assert!(error.contains("the network is fd00::/8"), "{error}");
    }

    proptest! {
        #[test]
        fn membership_is_a_matter_of_the_first_bits(ip: u32, other: u32, bits in 0_u32..=32) {
            let mask = u32::MAX.checked_shl(32 - bits).unwrap_or(0);
            let network: Network = format!("{}/{bits}", std::net::Ipv4Addr::from(ip & mask)).parse().unwrap();
            prop_assert_eq!(network.contains(IpAddr::V4(other.into())), other & mask == ip & mask);
            prop_assert!(network.contains(IpAddr::V4(ip.into())));
        }
    }
}
