//! The kernel's network, for containers: one private *hall* per project, and its way out.
//!
//! The path of a container's network, in order:
//! 1. [`Hall::create`] makes a network namespace that routes and filters, and holds nothing yet.
//! 2. [`Hall::add_bridge`] adds one bridge per network, with the network's gateway addresses.
//! 3. [`Uplink::ensure`] joins hall and host by one veth pair and translates addresses on the host.
//! 4. [`Hall::connect`] makes a veth pair between a bridge and a container's own namespace, and configures the
//!    container's end, including the name server address `127.0.0.11`.
//! 5. The hall dies with the last descriptor of its namespace, and everything in it dies with the hall.
//!
//! [`netlink`] and [`nft`] are the two codecs below all this. [`resolv_conf`] writes a container's `resolv.conf`.
//!
//! Absent on purpose: programs (`ip`, `nft`, `iptables`), anything asynchronous, name service and published ports
//! (those belong to the engine), and bind-mounted namespace files.

mod bridge;
mod connect;
mod embedded_dns;
mod hall;
mod link;
mod name;
pub mod netlink;
pub mod nft;
mod outbound;
pub mod resolv_conf;
mod sockets;
mod subnet;
mod sysctl;
mod uplink;
mod visit;

pub use bridge::{Bridge, Reach};
pub use connect::{Endpoint, Port};
pub use embedded_dns::{EMBEDDED_DNS, EmbeddedDns, FORWARDED_DNS_PORT, FORWARDED_DNS_PORTS};
pub use hall::{Hall, HallError};
pub use link::{LinkInfo, RouteInfo};
pub use name::{LinkName, LinkNameError, MacAddress, MacAddressError};
pub use outbound::{Outbound, OutboundPlace};
pub use sockets::HallSockets;
pub use subnet::{Subnet, SubnetError};
pub use sysctl::SysctlError;
pub use uplink::{Forward, Uplink, UplinkError, host_subnets, sweep};
pub use visit::{Answer, Visit, VisitError, visit};
