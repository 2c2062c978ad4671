//! A ready-made network for containers that only need a way out, such as build steps: one hall, one bridge, one
//! uplink, and addresses given out in turn.

use super::{
    Bridge, Endpoint, Hall, LinkName, MacAddress, Reach, Subnet, Uplink, UplinkError, resolv_conf::ResolvConf,
};
use std::{
    collections::BTreeSet,
    net::IpAddr,
    os::fd::BorrowedFd,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

/// The bridge's name in its hall.
const BRIDGE: &str = "outbound";
/// Candidates for the subnet; the first that holds none of the host's name servers is taken, since a name server
/// with an address in it would be looked for on the bridge.
const SUBNETS: [&str; 3] = ["172.17.0.0/16", "192.168.224.0/20", "10.127.0.0/16"];

/// A private network with a way out. Dropping it takes the way out away.
#[derive(Debug)]
pub struct Outbound {
    hall: Hall,
    uplink: Uplink,
    subnet: Subnet,
    state: PathBuf,
    /// Places in the subnet that are given out.
    used: Mutex<BTreeSet<u128>>,
}

/// A container's place; its address is free again when this is dropped.
#[derive(Debug)]
pub struct OutboundPlace<'a> {
    outbound: &'a Outbound,
    offset: u128,
    /// The container's address.
    pub address: IpAddr,
}

impl Drop for OutboundPlace<'_> {
    fn drop(&mut self) {
        self.outbound
            .used
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .remove(&self.offset);
    }
}

impl Outbound {
    /// Makes the network. `state` is the host-wide directory of [`Uplink::ensure`]; `host` the host's resolver
    /// settings.
    ///
    /// # Errors
    /// When the kernel refuses a step.
    pub fn open(state: &Path, host: &ResolvConf) -> Result<Self, UplinkError> {
        let subnet = SUBNETS
            .iter()
            .map(|text| text.parse::<Subnet>().expect("written correctly above"))
            .find(|subnet| !host.servers.iter().any(|server| subnet.contains(*server)))
            .ok_or(UplinkError::NoRange)?;
        let hall = Hall::create()?;
        let uplink = Uplink::ensure(&hall, state)?;
        let outbound = Self {
            hall,
            uplink,
            subnet,
            state: state.to_owned(),
            used: Mutex::default(),
        };
        outbound.hall.add_bridge(&Bridge {
            name: bridge_name(),
            gateways: vec![outbound.interface(1)],
            mtu: outbound.uplink.mtu,
            reach: Reach::Outside,
        })?;
        Ok(outbound)
    }

    /// Connects a namespace: loopback, `eth0`, default route.
    ///
    /// # Errors
    /// When the kernel refuses a step.
    pub fn connect(&self, container: BorrowedFd<'_>) -> Result<OutboundPlace<'_>, UplinkError> {
        let offset = {
            let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
            let last = self.subnet.size() - 1;
            let free = (2..last)
                .find(|offset| !used.contains(offset))
                .ok_or(UplinkError::NoRange)?;
            used.insert(free);
            free
        };
        let interface = self.interface(offset);
        let place = OutboundPlace {
            outbound: self,
            offset,
            address: interface.address(),
        };
        let endpoint = Endpoint {
            bridge: bridge_name(),
            interface: LinkName::new("eth0").expect("four letters"),
            mac: MacAddress::for_ip(interface.address()),
            addresses: vec![interface],
            gateways: vec![self.interface(1).address()],
            mtu: self.uplink.mtu,
        };
        self.hall.connect(container, &[endpoint], None)?;
        Ok(place)
    }

    /// What may keep packets from passing; for the user's eyes.
    pub fn warnings(&self) -> &[String] {
        &self.uplink.warnings
    }

    /// The hall, for whoever wants to listen in it.
    pub fn hall(&self) -> &Hall {
        &self.hall
    }

    /// The network's gateway: the hall's own address, where a name server for these containers may listen.
    pub fn gateway(&self) -> IpAddr {
        self.interface(1).address()
    }

    /// Takes the way out away and reports what could not be undone.
    ///
    /// # Errors
    /// Everything that stayed; [`super::sweep`] tries again.
    pub fn close(self) -> Result<(), Vec<UplinkError>> {
        // `drop` does it once more, which finds nothing left to do.
        Uplink::remove(&self.hall, &self.state)
    }

    fn interface(&self, offset: u128) -> Subnet {
        let address = self
            .subnet
            .nth(offset)
            .expect("offsets are checked against the subnet's size");
        self.subnet
            .with_address(address)
            .expect("same family, same length")
    }
}

impl Drop for Outbound {
    fn drop(&mut self) {
        for error in Uplink::remove(&self.hall, &self.state)
            .err()
            .into_iter()
            .flatten()
        {
            tracing::warn!(%error, "the build network's way out was not removed completely");
        }
    }
}

fn bridge_name() -> LinkName {
    LinkName::new(BRIDGE).expect("eight letters")
}
