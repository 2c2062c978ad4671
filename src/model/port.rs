//! Ports.

use serde::{Deserialize, Serialize};
use std::{fmt, net::IpAddr};

/// Transport protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        })
    }
}

/// A port announced, not published.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Exposed {
    /// In the container.
    pub port: u16,
    /// Transport.
    pub protocol: Protocol,
}

/// How a port is published.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum PublishVia {
    /// A listener of ours.
    Relay,
    /// Address translation in the kernel (`x-banyan.publish: nat`).
    Nat,
}

/// A published port.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PublishedPort {
    /// Host address; `None`: all addresses, IPv4 and IPv6, as docker does.
    pub host_ip: Option<IpAddr>,
    /// Host ports that may be used, first and last; equal for one port; `None`: any free port.
    pub published: Option<(u16, u16)>,
    /// Port in the container.
    pub target: u16,
    /// Transport.
    pub protocol: Protocol,
    /// Means.
    pub via: PublishVia,
}
