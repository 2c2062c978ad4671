//! Names and addresses of links.

use serde::{Deserialize, Serialize};
use std::{fmt, net::IpAddr, str::FromStr};

/// A network interface's name. Holding one proves that it has 1 to 15 bytes and no character the kernel refuses
/// (`dev_valid_name`: no slash, no colon, no space, not `.` or `..`).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct LinkName(String);

/// Why a name cannot be an interface's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{name}` cannot be an interface name; use 1 to 15 characters without spaces, slashes and colons")]
pub struct LinkNameError {
    /// The name given.
    pub name: String,
}

impl LinkName {
    /// Checks `name`.
    ///
    /// # Errors
    /// When the kernel would refuse it.
    pub fn new(name: impl Into<String>) -> Result<Self, LinkNameError> {
        let name = name.into();
        let bad = |c: char| c == '/' || c == ':' || c.is_whitespace() || c.is_control() || c == '%';
        if name.is_empty() || name.len() > 15 || name == "." || name == ".." || name.contains(bad) {
            return Err(LinkNameError { name });
        }
        Ok(Self(name))
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for LinkName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for LinkName {
    type Error = LinkNameError;

    fn try_from(name: String) -> Result<Self, LinkNameError> {
        Self::new(name)
    }
}

impl From<LinkName> for String {
    fn from(name: LinkName) -> Self {
        name.0
    }
}

/// An Ethernet address.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct MacAddress(pub [u8; 6]);

/// Why a text is no Ethernet address for an interface.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{text}` is not a MAC address; write six hexadecimal pairs such as `02:42:ac:11:00:02`, the first one even"
)]
pub struct MacAddressError {
    /// What was given.
    pub text: String,
}

impl MacAddress {
    /// The address that always goes with an IP address, so that a container that comes back under the same IP
    /// address is found at once by neighbours that remember it. Locally administered, as docker's `02:42:…`.
    pub fn for_ip(ip: IpAddr) -> Self {
        match ip {
            IpAddr::V4(v4) => {
                let [a, b, c, d] = v4.octets();
                Self([0x02, 0x42, a, b, c, d])
            }
            IpAddr::V6(v6) => {
                let o = v6.octets();
                Self([0x02, 0x46, o[12], o[13], o[14], o[15]])
            }
        }
    }
}

impl FromStr for MacAddress {
    type Err = MacAddressError;

    fn from_str(text: &str) -> Result<Self, MacAddressError> {
        let error = || MacAddressError {
            text: text.to_owned(),
        };
        let mut bytes = [0; 6];
        let mut parts = text.split([':', '-']);
        for byte in &mut bytes {
            let part = parts.next().filter(|p| p.len() == 2).ok_or_else(error)?;
            *byte = u8::from_str_radix(part, 16).map_err(|_| error())?;
        }
        // An odd first byte is a multicast address, which the kernel refuses for an interface.
        if parts.next().is_some() || bytes[0] & 1 == 1 || bytes == [0; 6] {
            return Err(error());
        }
        Ok(Self(bytes))
    }
}

impl TryFrom<String> for MacAddress {
    type Error = MacAddressError;

    fn try_from(text: String) -> Result<Self, MacAddressError> {
        text.parse()
    }
}

impl From<MacAddress> for String {
    fn from(mac: MacAddress) -> Self {
        mac.to_string()
    }
}

impl fmt::Display for MacAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}

impl fmt::Debug for MacAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn link_names_the_kernel_refuses_are_refused_here() {
        for bad in ["", "a/b", "a b", "a:b", ".", "..", "sixteen-bytes-xx", "eth%d"] {
            assert!(LinkName::new(bad).is_err(), "{bad:?}");
        }
        assert!(LinkName::new("fifteen-bytes-x").is_ok());
    }

    #[test]
    fn mac_addresses_round_trip_and_multicast_is_refused() {
        let mac: MacAddress = "02:42:ac:11:00:02".parse().unwrap();
        assert_eq!(mac, MacAddress::for_ip("172.17.0.2".parse().unwrap()));
        assert_eq!(mac.to_string(), "02:42:ac:11:00:02");
        for bad in [
            "01:42:ac:11:00:02",
            "02:42:ac:11:00",
            "02:42:ac:11:00:02:03",
            "zz:42:ac:11:00:02",
            "00:00:00:00:00:00",
        ] {
            assert!(bad.parse::<MacAddress>().is_err(), "{bad}");
        }
    }
}
