//! Addresses with a prefix length: subnets, and an interface's own address.

use serde::{Deserialize, Serialize};
use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    str::FromStr,
};

/// An address and the length of its network prefix, as in `10.1.2.3/24`. Holding one proves that the length fits
/// the family; the host bits may be set (an interface's address) or zero (a network).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Subnet {
    address: IpAddr,
    prefix: u8,
}

/// Why a text is no subnet.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SubnetError {
    /// Not of the form `address/length`.
    #[error("`{text}` is not a subnet; write an address and a prefix length, as in `10.1.0.0/24`")]
    Form {
        /// What was given.
        text: String,
    },
    /// The length is larger than the family allows.
    #[error("`/{prefix}` is too long for `{address}`; the most is `/{most}`")]
    Length {
        /// The address given.
        address: IpAddr,
        /// The length given.
        prefix: u8,
        /// The longest allowed.
        most: u8,
    },
}

impl Subnet {
    /// Checks a prefix length against the family of `address`.
    ///
    /// # Errors
    /// When `prefix` is above 32 (IPv4) or 128 (IPv6).
    pub fn new(address: IpAddr, prefix: u8) -> Result<Self, SubnetError> {
        let most = if address.is_ipv4() { 32 } else { 128 };
        if prefix > most {
            return Err(SubnetError::Length {
                address,
                prefix,
                most,
            });
        }
        Ok(Self { address, prefix })
    }

    /// The address as given.
    pub fn address(self) -> IpAddr {
        self.address
    }

    /// The prefix length.
    pub fn prefix(self) -> u8 {
        self.prefix
    }

    /// Whether this is IPv4.
    pub fn is_ipv4(self) -> bool {
        self.address.is_ipv4()
    }

    /// The same subnet with its host bits zero.
    #[must_use]
    pub fn network(self) -> Self {
        Self {
            address: from_bits(self.is_ipv4(), self.first()),
            prefix: self.prefix,
        }
    }

    /// How many addresses it has, saturating at `u128::MAX`.
    pub fn size(self) -> u128 {
        1_u128.checked_shl(self.host_bits()).unwrap_or(u128::MAX)
    }

    /// The address `offset` places after the network's first one, or `None` past its end.
    pub fn nth(self, offset: u128) -> Option<IpAddr> {
        (offset < self.size()).then(|| from_bits(self.is_ipv4(), self.first() + offset))
    }

    /// The place of `address` in this subnet, counted from the network's first address.
    pub fn offset(self, address: IpAddr) -> Option<u128> {
        self.contains(address).then(|| to_bits(address) - self.first())
    }

    /// The highest address: in IPv4 the broadcast address.
    pub fn last(self) -> IpAddr {
        from_bits(self.is_ipv4(), self.first() | !self.mask())
    }

    /// Whether `address` lies in this subnet.
    pub fn contains(self, address: IpAddr) -> bool {
        address.is_ipv4() == self.is_ipv4() && to_bits(address) & self.mask() == self.first()
    }

    /// Whether the two share an address.
    pub fn overlaps(self, other: Self) -> bool {
        self.contains(other.network().address) || other.contains(self.network().address)
    }

    /// This prefix with another address: an interface's address in this network.
    ///
    /// # Errors
    /// When `address` is of the other family and the length does not fit it.
    pub fn with_address(self, address: IpAddr) -> Result<Self, SubnetError> {
        Self::new(address, self.prefix)
    }

    fn host_bits(self) -> u32 {
        let width = if self.is_ipv4() { 32 } else { 128 };
        width - u32::from(self.prefix)
    }

    /// Network bits set, within the family's width.
    fn mask(self) -> u128 {
        let width_mask = if self.is_ipv4() {
            u128::from(u32::MAX)
        } else {
            u128::MAX
        };
        u128::MAX.checked_shl(self.host_bits()).unwrap_or(0) & width_mask
    }

    fn first(self) -> u128 {
        to_bits(self.address) & self.mask()
    }
}

fn to_bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(a) => u128::from(a.to_bits()),
        IpAddr::V6(a) => a.to_bits(),
    }
}

fn from_bits(ipv4: bool, bits: u128) -> IpAddr {
    if ipv4 {
        // Only bits of the IPv4 width are ever set; see `mask`.
        IpAddr::V4(Ipv4Addr::from_bits(
            u32::try_from(bits & u128::from(u32::MAX)).unwrap_or(u32::MAX),
        ))
    } else {
        IpAddr::V6(Ipv6Addr::from_bits(bits))
    }
}

impl FromStr for Subnet {
    type Err = SubnetError;

    fn from_str(text: &str) -> Result<Self, SubnetError> {
        let form = || SubnetError::Form {
            text: text.to_owned(),
        };
        let (address, prefix) = text.trim().split_once('/').ok_or_else(form)?;
        Self::new(
            address.parse().map_err(|_| form())?,
            prefix.parse().map_err(|_| form())?,
        )
    }
}

impl TryFrom<String> for Subnet {
    type Error = SubnetError;

    fn try_from(text: String) -> Result<Self, SubnetError> {
        text.parse()
    }
}

impl From<Subnet> for String {
    fn from(subnet: Subnet) -> Self {
        subnet.to_string()
    }
}

impl fmt::Display for Subnet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subnet(text: &str) -> Subnet {
        text.parse().unwrap()
    }

    #[test]
    fn arithmetic_holds_at_both_ends_of_the_range() {
        let all = subnet("0.0.0.0/0");
        assert_eq!(all.size(), 1 << 32);
        assert_eq!(all.last().to_string(), "255.255.255.255");
        assert!(all.contains("8.8.8.8".parse().unwrap()));
        assert!(!all.contains("::1".parse().unwrap()));
        let one = subnet("10.0.0.7/32");
        assert_eq!(
            (one.size(), one.nth(0), one.nth(1)),
            (1, Some("10.0.0.7".parse().unwrap()), None)
        );
        let six = subnet("::/0");
        assert_eq!(six.size(), u128::MAX);
        assert!(six.contains("fd00::1".parse().unwrap()));
    }

    #[test]
    fn offsets_and_addresses_are_inverse() {
        let net = subnet("172.20.5.9/16");
        assert_eq!(net.network().to_string(), "172.20.0.0/16");
        let tenth = net.nth(266).unwrap();
        assert_eq!(tenth.to_string(), "172.20.1.10");
        assert_eq!(net.offset(tenth), Some(266));
        assert_eq!(net.offset("172.21.0.1".parse().unwrap()), None);
    }

    #[test]
    fn overlap_is_seen_in_both_directions() {
        for (a, b, overlap) in [
            ("10.0.0.0/8", "10.9.0.0/16", true),
            ("10.0.0.0/16", "10.1.0.0/16", false),
            ("0.0.0.0/0", "10.1.0.0/16", true),
            ("fd00::/64", "10.1.0.0/16", false),
        ] {
            assert_eq!(subnet(a).overlaps(subnet(b)), overlap, "{a} {b}");
            assert_eq!(subnet(b).overlaps(subnet(a)), overlap, "{b} {a}");
        }
    }

    #[test]
    fn mistakes_are_named() {
        assert!(matches!(
            "10.0.0.0".parse::<Subnet>(),
            Err(SubnetError::Form { .. })
        ));
        assert!(matches!(
            "10.0.0.0/33".parse::<Subnet>(),
            Err(SubnetError::Length { most: 32, .. })
        ));
        assert!(matches!(
            "10.0.0.0/-1".parse::<Subnet>(),
            Err(SubnetError::Form { .. })
        ));
    }
}
