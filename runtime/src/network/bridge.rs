//! Bridges: one per network of a hall.

use super::{
    Hall, HallError, LinkName, MacAddress, Subnet,
    hall::{OUTBOUND, TABLE},
    link,
    nft::{Family, Transaction},
};
use serde::{Deserialize, Serialize};

/// How far packets of a network get.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Reach {
    /// Out through the uplink.
    Outside,
    /// Only to the members of the network (`internal: true`).
    Internal,
}

/// One network of a hall.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bridge {
    /// Name of the bridge in the hall.
    pub name: LinkName,
    /// Its own addresses: the network's gateways, at most one per family.
    pub gateways: Vec<Subnet>,
    /// Largest packet, in bytes; at most the uplink's.
    pub mtu: u32,
    /// How far packets get.
    pub reach: Reach,
}

impl Hall {
    /// Adds a bridge, or completes one of the same name that a crash left unfinished.
    ///
    /// # Errors
    /// When the kernel refuses a step.
    pub fn add_bridge(&self, bridge: &Bridge) -> Result<(), HallError> {
        let name = bridge.name.as_str();
        let mac = bridge
            .gateways
            .first()
            .map_or(MacAddress([2, 0x42, 0, 0, 0, 1]), |g| {
                MacAddress::for_ip(g.address())
            });
        let mut sockets = self.sockets();
        match sockets
            .route
            .request(vec![link::new_bridge(&bridge.name, mac, bridge.mtu)])
        {
            Err(cause) if cause.is(libc::EEXIST) => {}
            result => result.map_err(HallError::step("make the bridge", name))?,
        }
        let index = link::link(&mut sockets.route, name)
            .map_err(HallError::step("find the bridge", name))?
            .index;
        let addresses = bridge
            .gateways
            .iter()
            .map(|g| link::add_address(index, *g))
            .collect();
        sockets
            .route
            .request(addresses)
            .map_err(HallError::step("give addresses to the bridge", name))?;
        if bridge.reach == Reach::Outside {
            Transaction::new()
                .add_names(Family::Inet, TABLE, OUTBOUND, [name])
                .commit(&mut sockets.netfilter)
                .map_err(HallError::step("open the way out for", name))?;
        }
        Ok(())
    }

    /// Removes a bridge; its ports lose their connection. One that is gone already is no error.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn remove_bridge(&self, name: &LinkName) -> Result<(), HallError> {
        let mut sockets = self.sockets();
        let closed = Transaction::new()
            .remove_names(Family::Inet, TABLE, OUTBOUND, [name.as_str()])
            .commit(&mut sockets.netfilter);
        match closed {
            Err(cause) if cause.is(libc::ENOENT) => {}
            result => result.map_err(HallError::step("close the way out for", name))?,
        }
        match sockets.route.request(vec![link::delete_by_name(name.as_str())]) {
            Err(cause) if cause.is(libc::ENODEV) => Ok(()),
            result => result.map_err(HallError::step("remove the bridge", name)),
        }
    }
}
