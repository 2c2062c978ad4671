//! Links, addresses and routes as rtnetlink messages: rtnetlink(7), `linux/if_link.h`.
//!
//! Nothing here talks to the kernel; these functions only know how a request is spelled.

use super::{
    LinkName, MacAddress, Subnet,
    netlink::{Attributes, CREATE, EXCL, Message, NetlinkError, REPLACE, Reply, Socket},
};
use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    os::fd::{AsRawFd, BorrowedFd},
};

const RTM_NEWLINK: u16 = 16;
const RTM_DELLINK: u16 = 17;
const RTM_GETLINK: u16 = 18;
const RTM_SETLINK: u16 = 19;
const RTM_NEWADDR: u16 = 20;
const RTM_GETADDR: u16 = 22;
const RTM_NEWROUTE: u16 = 24;
const RTM_GETROUTE: u16 = 26;

const IFLA_ADDRESS: u16 = 1;
const IFLA_IFNAME: u16 = 3;
const IFLA_MTU: u16 = 4;
const IFLA_MASTER: u16 = 10;
const IFLA_PROTINFO: u16 = 12;
const IFLA_LINKINFO: u16 = 18;
const IFLA_NET_NS_FD: u16 = 28;
const IFLA_INFO_KIND: u16 = 1;
const IFLA_INFO_DATA: u16 = 2;
const VETH_INFO_PEER: u16 = 1;
const IFLA_BR_MCAST_SNOOPING: u16 = 23;
const IFLA_BRPORT_STATE: u16 = 1;
const BR_STATE_DISABLED: u8 = 0;

const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const IFA_BROADCAST: u16 = 4;
const IFA_F_NODAD: u8 = 0x02;

const RTA_DST: u16 = 1;
const RTA_OIF: u16 = 4;
const RTA_GATEWAY: u16 = 5;
const RTA_PRIORITY: u16 = 6;
const RTA_TABLE: u16 = 15;
const RT_TABLE_MAIN: u8 = 254;
const RTPROT_STATIC: u8 = 4;
const RTN_UNICAST: u8 = 1;

const IFF_UP: u32 = 1;
const AF_INET: u8 = 2;
const AF_BRIDGE: u8 = 7;
const AF_INET6: u8 = 10;
/// Lengths of `struct ifinfomsg`, `ifaddrmsg`, `rtmsg`.
const LINK_FIXED: usize = 16;
const ADDRESS_FIXED: usize = 8;
const ROUTE_FIXED: usize = 12;

/// `struct ifinfomsg`.
fn link_fixed(family: u8, index: u32, up: bool) -> [u8; LINK_FIXED] {
    let mut fixed = [0; LINK_FIXED];
    fixed[0] = family;
    fixed[4..8].copy_from_slice(&index.to_ne_bytes());
    if up {
        fixed[8..12].copy_from_slice(&IFF_UP.to_ne_bytes());
        fixed[12..16].copy_from_slice(&IFF_UP.to_ne_bytes());
    }
    fixed
}

/// Makes a bridge, up. Its address is fixed here, since a bridge otherwise takes the lowest of its ports' and
/// changes it as they come and go. Multicast snooping is off: it needs a querier that nobody here is.
pub(super) fn new_bridge(name: &LinkName, mac: MacAddress, mtu: u32) -> Message {
    Message::new(RTM_NEWLINK, CREATE | EXCL, &link_fixed(0, 0, true))
        .text(IFLA_IFNAME, name.as_str())
        .bytes(IFLA_ADDRESS, &mac.0)
        .u32(IFLA_MTU, mtu)
        .nest(IFLA_LINKINFO, |m| {
            m.text(IFLA_INFO_KIND, "bridge")
                .nest(IFLA_INFO_DATA, |m| m.u8(IFLA_BR_MCAST_SNOOPING, 0))
        })
}

/// One end of a veth pair.
#[derive(Debug)]
pub(super) struct VethEnd<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its address; `None`: random.
    pub mac: Option<MacAddress>,
}

/// Makes a veth pair: `near` in the socket's namespace and up, as a port of the bridge `master` if given; `far`
/// directly in `namespace`, and down, since the kernel refuses to bring up an end that has no peer yet.
pub(super) fn new_veth(
    near: &VethEnd<'_>,
    master: Option<u32>,
    far: &VethEnd<'_>,
    namespace: BorrowedFd<'_>,
    mtu: u32,
) -> Message {
    // A descriptor is never negative; see `BorrowedFd::borrow_raw`.
    let namespace = namespace.as_raw_fd().unsigned_abs();
    let mut message = Message::new(RTM_NEWLINK, CREATE | EXCL, &link_fixed(0, 0, true))
        .text(IFLA_IFNAME, near.name)
        .u32(IFLA_MTU, mtu);
    if let Some(mac) = near.mac {
        message = message.bytes(IFLA_ADDRESS, &mac.0);
    }
    if let Some(master) = master {
        message = message.u32(IFLA_MASTER, master);
    }
    message.nest(IFLA_LINKINFO, |m| {
        m.text(IFLA_INFO_KIND, "veth").nest(IFLA_INFO_DATA, |m| {
            m.nest(VETH_INFO_PEER, |m| {
                let m = m
                    .raw(&link_fixed(0, 0, false))
                    .text(IFLA_IFNAME, far.name)
                    .u32(IFLA_MTU, mtu)
                    .u32(IFLA_NET_NS_FD, namespace);
                match far.mac {
                    Some(mac) => m.bytes(IFLA_ADDRESS, &mac.0),
                    None => m,
                }
            })
        })
    })
}

/// Brings a link up, by index.
pub(super) fn set_up(index: u32) -> Message {
    Message::new(RTM_SETLINK, 0, &link_fixed(0, index, true))
}

/// Brings a link up, by name.
pub(super) fn set_up_by_name(name: &str) -> Message {
    Message::new(RTM_SETLINK, 0, &link_fixed(0, 0, true)).text(IFLA_IFNAME, name)
}

/// Sets a link's Ethernet address. With `arp_notify` on, the kernel then announces the link's IPv4 addresses, even
/// when the Ethernet address is the one it had.
pub(super) fn set_mac(index: u32, mac: MacAddress) -> Message {
    Message::new(RTM_SETLINK, 0, &link_fixed(0, index, false)).bytes(IFLA_ADDRESS, &mac.0)
}

/// Makes a bridge drop all frames of one port. Unlike removing the port it needs no grace period in the kernel.
pub(super) fn block_port(index: u32) -> Message {
    Message::new(RTM_SETLINK, 0, &link_fixed(AF_BRIDGE, index, false))
        .nest(IFLA_PROTINFO, |m| m.u8(IFLA_BRPORT_STATE, BR_STATE_DISABLED))
}

/// Deletes a link, by name.
pub(super) fn delete_by_name(name: &str) -> Message {
    Message::new(RTM_DELLINK, 0, &link_fixed(0, 0, false)).text(IFLA_IFNAME, name)
}

/// Gives the link `index` an address; IPv6 without duplicate detection, which would cost seconds.
pub(super) fn add_address(index: u32, address: Subnet) -> Message {
    let (family, flags) = if address.is_ipv4() {
        (AF_INET, 0)
    } else {
        (AF_INET6, IFA_F_NODAD)
    };
    let mut fixed = [family, address.prefix(), flags, 0, 0, 0, 0, 0];
    fixed[4..8].copy_from_slice(&index.to_ne_bytes());
    let bytes = octets(address.address());
    let message = Message::new(RTM_NEWADDR, CREATE | REPLACE, &fixed)
        .bytes(IFA_LOCAL, &bytes)
        .bytes(IFA_ADDRESS, &bytes);
    if address.is_ipv4() && address.prefix() < 31 {
        return message.bytes(IFA_BROADCAST, &octets(address.last()));
    }
    message
}

/// Adds a route to `destination` through `gateway` on the link `index`.
pub(super) fn add_route(destination: Subnet, gateway: IpAddr, index: u32, metric: Option<u32>) -> Message {
    let family = if destination.is_ipv4() { AF_INET } else { AF_INET6 };
    let mut fixed = [0; ROUTE_FIXED];
    fixed[0] = family;
    fixed[1] = destination.prefix();
    fixed[4] = RT_TABLE_MAIN;
    fixed[5] = RTPROT_STATIC;
    fixed[7] = RTN_UNICAST;
    let mut message = Message::new(RTM_NEWROUTE, CREATE | REPLACE, &fixed);
    if destination.prefix() != 0 {
        message = message.bytes(RTA_DST, &octets(destination.network().address()));
    }
    message = message.bytes(RTA_GATEWAY, &octets(gateway)).u32(RTA_OIF, index);
    if let Some(metric) = metric {
        message = message.u32(RTA_PRIORITY, metric);
    }
    message
}

fn octets(address: IpAddr) -> Vec<u8> {
    match address {
        IpAddr::V4(a) => a.octets().to_vec(),
        IpAddr::V6(a) => a.octets().to_vec(),
    }
}

/// A link as the kernel lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinkInfo {
    /// Its number in its namespace.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// Largest packet, in bytes.
    pub mtu: u32,
    /// Whether it is up.
    pub up: bool,
    /// The bridge it is a port of.
    pub master: Option<u32>,
}

/// The link called `name`. Asking also makes the kernel act on a change of its carrier at once (`linkwatch_sync_dev`
/// in `rtnl_getlink`, Linux 6.4) instead of when its link watcher gets round to it.
pub(super) fn link(socket: &mut Socket, name: &str) -> Result<LinkInfo, NetlinkError> {
    let request = Message::new(RTM_GETLINK, 0, &link_fixed(0, 0, false)).text(IFLA_IFNAME, name);
    let reply = socket.get(request)?;
    read_link(&reply).ok_or_else(|| NetlinkError::Transport(std::io::ErrorKind::InvalidData.into()))
}

/// All links of the socket's namespace.
pub(super) fn links(socket: &mut Socket) -> Result<Vec<LinkInfo>, NetlinkError> {
    let replies = socket.dump(RTM_GETLINK, &link_fixed(0, 0, false), |m| m)?;
    Ok(replies.iter().filter_map(read_link).collect())
}

fn read_link(reply: &Reply) -> Option<LinkInfo> {
    let fixed = reply
        .payload
        .get(..LINK_FIXED)
        .filter(|_| reply.kind == RTM_NEWLINK)?;
    let attributes = reply.attributes(LINK_FIXED);
    Some(LinkInfo {
        index: u32::from_ne_bytes(fixed[4..8].try_into().ok()?),
        name: attributes.text(IFLA_IFNAME)?.to_owned(),
        mtu: attributes.u32(IFLA_MTU).unwrap_or(1500),
        up: u32::from_ne_bytes(fixed[8..12].try_into().ok()?) & IFF_UP != 0,
        master: attributes.u32(IFLA_MASTER),
    })
}

/// All addresses of the socket's namespace, with the index of their link.
pub(super) fn addresses(socket: &mut Socket) -> Result<Vec<(u32, Subnet)>, NetlinkError> {
    let replies = socket.dump(RTM_GETADDR, &[0; ADDRESS_FIXED], |m| m)?;
    Ok(replies
        .iter()
        .filter_map(|reply| {
            let fixed = reply.payload.get(..ADDRESS_FIXED)?;
            let attributes = reply.attributes(ADDRESS_FIXED);
            let bytes = attributes
                .get(IFA_LOCAL)
                .or_else(|| attributes.get(IFA_ADDRESS))?;
            let index = u32::from_ne_bytes(fixed[4..8].try_into().ok()?);
            Some((index, Subnet::new(read_address(bytes)?, fixed[1]).ok()?))
        })
        .collect())
}

/// A unicast route of the main table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RouteInfo {
    /// Where it leads; length zero: the default route.
    pub destination: Subnet,
    /// The link it leaves by.
    pub link: u32,
    /// The next hop.
    pub gateway: Option<IpAddr>,
}

/// All unicast routes of the main table.
pub(super) fn routes(socket: &mut Socket) -> Result<Vec<RouteInfo>, NetlinkError> {
    let replies = socket.dump(RTM_GETROUTE, &[0; ROUTE_FIXED], |m| m)?;
    Ok(replies.iter().filter_map(read_route).collect())
}

fn read_route(reply: &Reply) -> Option<RouteInfo> {
    let fixed = reply.payload.get(..ROUTE_FIXED)?;
    let attributes: Attributes<'_> = reply.attributes(ROUTE_FIXED);
    let table = attributes.u32(RTA_TABLE).unwrap_or_else(|| fixed[4].into());
    if table != u32::from(RT_TABLE_MAIN) || fixed[7] != RTN_UNICAST {
        return None;
    }
    let any = match fixed[0] {
        AF_INET => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        AF_INET6 => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        _ => return None,
    };
    let address = attributes.get(RTA_DST).map_or(Some(any), read_address)?;
    Some(RouteInfo {
        destination: Subnet::new(address, fixed[1]).ok()?,
        link: attributes.u32(RTA_OIF)?,
        gateway: attributes.get(RTA_GATEWAY).and_then(read_address),
    })
}

fn read_address(bytes: &[u8]) -> Option<IpAddr> {
    match bytes.len() {
        4 => Some(IpAddr::from(<[u8; 4]>::try_from(bytes).ok()?)),
        16 => Some(IpAddr::from(<[u8; 16]>::try_from(bytes).ok()?)),
        _ => None,
    }
}
