//! Networks of a project.

use super::ServiceName;
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

/// How a service is connected.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum NetworkMode {
    /// Through the networks of the project.
    Networks,
    /// Only a loopback interface.
    None,
    /// The host's.
    Host,
    /// Shares the namespace of a service's first container.
    Service(ServiceName),
    /// Shares the namespace of a container by name.
    Container(String),
}

/// A network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Network {
    /// Its name on this machine: `project_key` unless `name:` is given.
    pub name: String,
    /// Must exist already; shared with other projects.
    pub external: bool,
    /// `bridge`, `none`, `host`; others are refused by validation.
    pub driver: String,
    /// Driver options; `com.docker.network.driver.mtu` counts.
    pub driver_opts: BTreeMap<String, String>,
    /// No way out.
    pub internal: bool,
    /// Others may join it.
    pub attachable: bool,
    /// IPv4 on; default true.
    pub ipv4: bool,
    /// IPv6 on; default false.
    pub ipv6: bool,
    /// Address pools; empty: chosen by banyan.
    pub ipam: Vec<IpamPool>,
    /// Labels.
    pub labels: BTreeMap<String, String>,
}

/// An address pool.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IpamPool {
    /// `10.1.0.0/24`.
    pub subnet: Option<String>,
    /// Part of the subnet that containers get addresses from.
    pub ip_range: Option<String>,
    /// The bridge's address.
    pub gateway: Option<IpAddr>,
    /// Addresses kept free, by name.
    pub aux_addresses: BTreeMap<String, IpAddr>,
}

/// A service's connection to one network.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attachment {
    /// More names on this network.
    pub aliases: Vec<String>,
    /// Fixed address.
    pub ipv4: Option<Ipv4Addr>,
    /// Fixed address.
    pub ipv6: Option<Ipv6Addr>,
    /// Link-local addresses.
    pub link_local: Vec<IpAddr>,
    /// MAC address.
    pub mac_address: Option<String>,
    /// Interface name in the container; `None`: `eth0`, `eth1` … by priority.
    pub interface: Option<String>,
    /// Higher connects first.
    pub priority: i64,
    /// Highest is the default gateway.
    pub gw_priority: i64,
    /// Driver options.
    pub driver_opts: BTreeMap<String, String>,
}
