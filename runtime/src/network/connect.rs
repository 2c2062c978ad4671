//! Connecting a container's namespace to bridges of a hall.

use super::{
    EmbeddedDns, Hall, HallError, LinkName, MacAddress, Subnet, embedded_dns,
    hall::{Sockets, run_in},
    link::{self, VethEnd},
    netlink::Socket,
    sysctl,
};
use serde::{Deserialize, Serialize};
use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    os::fd::BorrowedFd,
};

/// How many dying ports of the same address are passed over before we give up.
const PORT_NAMES: u8 = 64;

/// One interface of a container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endpoint {
    /// The bridge in the hall.
    pub bridge: LinkName,
    /// Name of the interface in the container.
    pub interface: LinkName,
    /// Its Ethernet address; see [`MacAddress::for_ip`].
    pub mac: MacAddress,
    /// Its addresses with their networks' prefix lengths.
    pub addresses: Vec<Subnet>,
    /// Next hops of the default route, at most one per family; empty: none through this interface.
    pub gateways: Vec<IpAddr>,
    /// Largest packet, in bytes.
    pub mtu: u32,
}

/// The hall's end of a connection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Port {
    /// Name in the hall; it tells the container's Ethernet address.
    pub name: LinkName,
    /// Number in the hall.
    pub index: u32,
}

impl Hall {
    /// Gives the namespace `container` one interface per endpoint, in order, brings its loopback up, and answers
    /// `127.0.0.11` there when `dns` is given. With no endpoint it only brings the loopback up.
    ///
    /// # Errors
    /// When the kernel refuses a step. What was made so far goes with the container's namespace.
    pub fn connect(
        &self,
        container: BorrowedFd<'_>,
        endpoints: &[Endpoint],
        dns: Option<EmbeddedDns>,
    ) -> Result<Vec<Port>, HallError> {
        run_in(container, || {
            let mut inside = Sockets::open()?;
            inside
                .route
                .request(vec![link::set_up_by_name("lo")])
                .map_err(HallError::step("bring up", "lo"))?;
            let ports = endpoints
                .iter()
                .map(|e| self.connect_one(&mut inside.route, container, e))
                .collect();
            if let Some(dns) = dns {
                embedded_dns::write(dns, &mut inside.netfilter)
                    .map_err(HallError::step("write the rules for", "127.0.0.11"))?;
            }
            ports
        })?
    }

    /// Takes an interface away from a container. One that is gone already is no error.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn disconnect(&self, container: BorrowedFd<'_>, interface: &LinkName) -> Result<(), HallError> {
        run_in(container, || {
            let mut inside = Sockets::open()?;
            match inside
                .route
                .request(vec![link::delete_by_name(interface.as_str())])
            {
                Err(cause) if cause.is(libc::ENODEV) => Ok(()),
                result => result.map_err(HallError::step("remove the interface", interface)),
            }
        })?
    }

    /// The calling thread is inside the container; `inside` speaks with it.
    fn connect_one(
        &self,
        inside: &mut Socket,
        container: BorrowedFd<'_>,
        endpoint: &Endpoint,
    ) -> Result<Port, HallError> {
        let interface = endpoint.interface.as_str();
        // Before the link exists, so that it is born with these and never answers to strangers.
        sysctl::write("ipv4/conf/default/arp_notify", "1")?;
        let with_ipv6 = endpoint.addresses.iter().any(|a| !a.is_ipv4());
        for (key, value) in [
            (
                "ipv6/conf/default/disable_ipv6",
                if with_ipv6 { "0" } else { "1" },
            ),
            ("ipv6/conf/default/accept_ra", "0"),
            ("ipv6/conf/default/accept_dad", "0"),
        ] {
            sysctl::write_if_present(key, value)?;
        }
        let port = self.make_veth(inside, container, endpoint)?;
        let index = link::link(inside, interface)
            .map_err(HallError::step("find the interface", interface))?
            .index;
        let mut batch: Vec<_> = endpoint
            .addresses
            .iter()
            .map(|a| link::add_address(index, *a))
            .collect();
        batch.push(link::set_up(index));
        batch.extend(
            endpoint
                .gateways
                .iter()
                .map(|gateway| link::add_route(default_route(*gateway), *gateway, index, None)),
        );
        inside
            .request(batch)
            .map_err(HallError::step("configure the interface", interface))?;
        // A bridge disables a port without carrier, and enables it when it hears that the carrier has come, which the
        // kernel tells it some time later; the container's first frames would be lost. Asking for the link hurries it.
        let near = link::link(&mut self.sockets().route, port.as_str())
            .map_err(HallError::step("find the port", &port))?;
        // The interface has this address already; setting it makes the kernel announce the IPv4 addresses
        // (`arp_notify`), so that the bridge and neighbours that remember an older owner learn at once.
        inside
            .request(vec![link::set_mac(index, endpoint.mac)])
            .map_err(HallError::step("announce the interface", interface))?;
        Ok(Port {
            name: port,
            index: near.index,
        })
    }

    /// Makes the pair in one request: near end a port of the bridge and up, far end born in the container.
    fn make_veth(
        &self,
        inside: &mut Socket,
        container: BorrowedFd<'_>,
        endpoint: &Endpoint,
    ) -> Result<LinkName, HallError> {
        let bridge = endpoint.bridge.as_str();
        let mut sockets = self.sockets();
        let master = link::link(&mut sockets.route, bridge)
            .map_err(HallError::step("find the bridge", bridge))?
            .index;
        let far = VethEnd {
            name: endpoint.interface.as_str(),
            mac: Some(endpoint.mac),
        };
        for attempt in 0..PORT_NAMES {
            let name = port_name(endpoint.mac, attempt);
            let near = VethEnd {
                name: name.as_str(),
                mac: None,
            };
            let made = sockets.route.request(vec![link::new_veth(
                &near,
                Some(master),
                &far,
                container,
                endpoint.mtu,
            )]);
            match made {
                Ok(()) => return Ok(name),
                Err(cause) if cause.is(libc::EEXIST) => {
                    let Ok(old) = link::link(&mut sockets.route, name.as_str()) else {
                        // Not the near end's name, then: whoever was to connect this container before was killed when
                        // it had made the far end. That goes, with its near end; if it has gone by itself, so much
                        // the better.
                        let far = link::delete_by_name(endpoint.interface.as_str());
                        let _ = inside.request(vec![far]);
                        continue;
                    };
                    if old.master == Some(master) {
                        // The same address on the same network: its container is dead, and the kernel has not got
                        // round to removing it. Until then it would still answer for the address. If it vanishes
                        // in this very moment, there is nothing to block.
                        let _ = sockets.route.request(vec![link::block_port(old.index)]);
                    }
                }
                Err(cause) => return Err(HallError::step("make the interface", &endpoint.interface)(cause)),
            }
        }
        Err(HallError::Netlink {
            step: "find a free name for the port of",
            object: endpoint.interface.to_string(),
            cause: super::netlink::NetlinkError::Transport(std::io::ErrorKind::AlreadyExists.into()),
        })
    }
}

/// `e0242ac140002`, then `e0242ac140002-1` and so on while older ones are still there.
fn port_name(mac: MacAddress, attempt: u8) -> LinkName {
    let [a, b, c, d, e, f] = mac.0;
    let mut name = format!("e{a:02x}{b:02x}{c:02x}{d:02x}{e:02x}{f:02x}");
    if attempt != 0 {
        // Two letters from a base of 36 fit the fifteen bytes that remain.
        name.push(char::from_digit(u32::from(attempt) / 36, 36).unwrap_or('z'));
        name.push(char::from_digit(u32::from(attempt) % 36, 36).unwrap_or('z'));
    }
    LinkName::new(name).expect("thirteen to fifteen letters and digits")
}

fn default_route(gateway: IpAddr) -> Subnet {
    let any = match gateway {
        IpAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
        IpAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    };
    Subnet::new(any, 0).expect("zero fits both families")
}
