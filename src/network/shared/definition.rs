//! What a shared network is.

use super::{SharedError, plan_one};
use crate::{
    model::{IpamPool, Network},
    network::address::{AddressError, NetworkPlan},
};
use banyan_runtime::network::Subnet;
use serde::{Deserialize, Serialize};

/// What projects may get for networks of their own; a shared network stays clear of it while there is room elsewhere,
/// so that it seldom meets one that exists.
const OF_PROJECTS: [&str; 3] = ["172.16.0.0/12", "192.168.0.0/16", "fd62:616e:7961::/52"];

/// A shared network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Definition {
    /// 64 hexadecimal digits.
    pub id: String,
    /// Nanoseconds since 1970.
    pub created: i64,
    /// As a project's file would say it: `external`, with every subnet and gateway named.
    pub network: Network,
}

impl Definition {
    pub(super) fn new(
        wanted: Network,
        avoid: &[Subnet],
        others: &[Self],
        id: String,
        created: i64,
    ) -> Result<Self, SharedError> {
        let mut network = Network {
            external: true,
            ..wanted
        };
        let theirs: Vec<(&str, Subnet)> = others
            .iter()
            .filter_map(|other| Some((other.network.name.as_str(), other.plan().ok()?)))
            .flat_map(|(name, plan)| plan.subnets().map(|part| (name, part.subnet)).collect::<Vec<_>>())
            .collect();
        let used = || {
            avoid
                .iter()
                .copied()
                .chain(theirs.iter().map(|(_, subnet)| *subnet))
        };
        let wide: Vec<Subnet> = used()
            .chain(OF_PROJECTS.iter().filter_map(|text| text.parse().ok()))
            .collect();
        let plan = match plan_one(&network, &wide) {
            Err(AddressError::NoSubnet { .. }) => plan_one(&network, &used().collect::<Vec<_>>())?,
            plan => plan?,
        };
        for part in plan.subnets() {
            if let Some((other, subnet)) = theirs.iter().find(|(_, subnet)| subnet.overlaps(part.subnet)) {
                return Err(SharedError::Overlap {
                    name: network.name,
                    other: (*other).to_owned(),
                    subnet: *subnet,
                });
            }
            let text = part.subnet.to_string();
            let named = network.ipam.iter_mut().find(|pool| {
                pool.subnet
                    .as_ref()
                    .and_then(|text| text.parse::<Subnet>().ok())
                    .map(Subnet::network)
                    == Some(part.subnet)
            });
            match named {
                Some(pool) => {
                    pool.subnet = Some(text);
                    pool.gateway = Some(part.gateway);
                }
                None => network.ipam.push(IpamPool {
                    subnet: Some(text),
                    ip_range: None,
                    gateway: Some(part.gateway),
                    aux_addresses: std::collections::BTreeMap::new(),
                }),
            }
        }
        network.ipam.retain(|pool| pool.subnet.is_some());
        Ok(Self { id, created, network })
    }

    /// Its addresses.
    ///
    /// # Errors
    /// Only when the record was changed by hand into something that cannot be.
    pub fn plan(&self) -> Result<NetworkPlan, AddressError> {
        plan_one(&self.network, &[])
    }
}
