//! Networks in CIDR notation.

use std::net::IpAddr;
use std::str::FromStr;

/// A network: all addresses that begin with the same bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    prefix_bits: u32,
}

/// What is no network.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseNetworkError {
    /// Not of the form.
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
        let ip = ip.to_canonical();
        let differs = left_aligned(self.address) ^ left_aligned(ip);
        self.address.is_ipv4() == ip.is_ipv4() && first_bits(differs, self.prefix_bits) == 0
    }
}

impl FromStr for Network {
    type Err = ParseNetworkError;

    fn from_str(text: &str) -> Result<Network, ParseNetworkError> {
        let error = || ParseNetworkError::Form(text.to_owned());
        let (address, bits) = text.split_once('/').map_or((text, None), |(ip, bits)| (ip, Some(bits)));
        let address: IpAddr = address.parse().map_err(|_| error())?;
        let bits_max = if address.is_ipv4() { 32 } else { 128 };
        let digits = |text: &&str| text.bytes().all(|byte| byte.is_ascii_digit());
        let bits = bits.map(|text| Some(text).filter(digits).and_then(|text| text.parse().ok()));
        let prefix_bits =
            bits.unwrap_or(Some(bits_max)).filter(|bits| *bits <= bits_max).ok_or_else(error)?;
        let network = first_bits(left_aligned(address), prefix_bits);
        if network != left_aligned(address) {
            let ip = if address.is_ipv4() {
                IpAddr::V4(u32::try_from(network >> 96).unwrap_or_default().into())
            } else {
                IpAddr::V6(network.into())
            };
            let network = format!("{ip}/{prefix_bits}");
            return Err(ParseNetworkError::Bits { given: text.to_owned(), network });
        }
        // The same network, written as the IPv4 one that it is.
        match address.to_canonical() {
            IpAddr::V4(v4) if address.is_ipv6() && prefix_bits >= 96 => {
                Ok(Network { address: v4.into(), prefix_bits: prefix_bits - 96 })
            }
            _ => Ok(Network { address, prefix_bits }),
        }
    }
}

/// The address at the upper end of 128 bits.
fn left_aligned(ip: IpAddr) -> u128 {
    match ip {
        IpAddr::V4(ip) => u128::from(u32::from(ip)) << 96,
        IpAddr::V6(ip) => ip.into(),
    }
}

/// The first `count` of 128 bits; the others are 0.
fn first_bits(bits: u128, count: u32) -> u128 {
    bits & !u128::MAX.checked_shr(count).unwrap_or(0)
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
