//! Subnets and addresses: decided from the project alone, the same way every time.
//!
//! 1. [`plan_networks`] gives every network its subnets and gateways. Halls are private, so two projects may have the
//!    same ones; what must be avoided is what *this host* uses, since packets to it have to leave the hall.
//! 2. [`Pool`] gives out a subnet's addresses: the lowest that is free, never one that is fixed for somebody else.

mod pool;

pub use pool::Pool;

use crate::model::{IpamPool, Network};
use banyan_runtime::network::{LinkName, Reach, Subnet, SubnetError};
use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

/// Why a network cannot have the addresses it asks for, or a container its own.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AddressError {
    /// A subnet or range that cannot be read.
    #[error("network `{network}`: {cause}")]
    Subnet {
        /// Key of the network.
        network: String,
        /// What is wrong with it.
        #[source]
        cause: SubnetError,
    },
    /// An address that is not in its network's subnet.
    #[error("network `{network}`: the {what} `{address}` is not in the subnet `{subnet}`")]
    Outside {
        /// Key of the network.
        network: String,
        /// `gateway`, `address`, `ip_range` and so on.
        what: &'static str,
        /// The address, or the range's first.
        address: IpAddr,
        /// The subnet.
        subnet: Subnet,
    },
    /// Two networks of a project share addresses.
    #[error("networks `{first}` and `{second}` overlap: `{one}` and `{other}`")]
    Overlap {
        /// One key.
        first: String,
        /// The other key.
        second: String,
        /// One subnet.
        one: Subnet,
        /// The other subnet.
        other: Subnet,
    },
    /// A family given twice.
    #[error("network `{network}` has two subnets of one family: `{one}` and `{other}`")]
    Twice {
        /// Key of the network.
        network: String,
        /// The first.
        one: Subnet,
        /// The second.
        other: Subnet,
    },
    /// No room for a gateway and a container.
    #[error("network `{network}`: the subnet `{subnet}` has no room for a gateway and a container")]
    TooSmall {
        /// Key of the network.
        network: String,
        /// The subnet.
        subnet: Subnet,
    },
    /// Every subnet we know is used by the host.
    #[error("network `{network}`: every private subnet overlaps a route of this host")]
    NoSubnet {
        /// Key of the network.
        network: String,
    },
    /// Somebody else has it.
    #[error("network `{network}`: the address `{address}` is taken by {owner}")]
    Taken {
        /// Key of the network.
        network: String,
        /// The address.
        address: IpAddr,
        /// Who has it, in words.
        owner: String,
    },
    /// All given out.
    #[error("network `{network}`: all {size} addresses of `{range}` are in use")]
    Exhausted {
        /// Key of the network.
        network: String,
        /// The range that addresses come from.
        range: Subnet,
        /// How many it has.
        size: u128,
    },
}

impl AddressError {
    /// What to type instead.
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Outside { what, subnet, .. } => Some(format!(
                "choose a {what} in `{subnet}`, such as `{}`",
                subnet.nth(2).unwrap_or(subnet.last())
            )),
            Self::NoSubnet { network } => Some(format!(
                "name one under `networks.{network}.ipam.config`: `- subnet: 10.200.0.0/24`"
            )),
            Self::Exhausted { .. } | Self::TooSmall { .. } => {
                Some("choose a larger `subnet` or `ip_range`".into())
            }
            _ => None,
        }
    }
}

/// One subnet of a network.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SubnetPlan {
    /// The subnet, its host bits zero.
    pub subnet: Subnet,
    /// The bridge's address: where packets leave, and where names are served.
    pub gateway: IpAddr,
    /// Where containers' addresses come from.
    pub range: Subnet,
    /// Addresses kept free.
    pub reserved: BTreeSet<IpAddr>,
}

impl SubnetPlan {
    /// The gateway with the subnet's prefix length, as the bridge wants it.
    pub fn gateway_interface(&self) -> Subnet {
        self.interface(self.gateway)
    }

    /// An address of this subnet with its prefix length.
    pub fn interface(&self, address: IpAddr) -> Subnet {
        // Both are of one family wherever a plan is made.
        self.subnet.with_address(address).unwrap_or(self.subnet)
    }
}

/// A network's addresses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NetworkPlan {
    /// The bridge's name in the hall.
    pub bridge: LinkName,
    /// IPv4, unless switched off.
    pub v4: Option<SubnetPlan>,
    /// IPv6, if switched on.
    pub v6: Option<SubnetPlan>,
    /// How far packets get.
    pub reach: Reach,
    /// Largest packet asked for by `com.docker.network.driver.mtu`; `None`: the uplink's.
    pub mtu: Option<u32>,
}

impl NetworkPlan {
    /// Both subnets.
    pub fn subnets(&self) -> impl Iterator<Item = &SubnetPlan> {
        self.v4.iter().chain(&self.v6)
    }
}

/// Subnets for networks that name none: docker's own choice, so that what people remember stays true.
fn candidates() -> impl Iterator<Item = Subnet> {
    let wide = (18..=31).map(|second| (Ipv4Addr::new(172, second, 0, 0), 16));
    let narrow = (0..16).map(|n| (Ipv4Addr::new(192, 168, n * 16, 0), 20));
    let last = (64..128).map(|second| (Ipv4Addr::new(10, second, 0, 0), 16));
    wide.chain(narrow)
        .chain(last)
        .filter_map(|(address, prefix)| Subnet::new(address.into(), prefix).ok())
}

/// The `n`th IPv6 subnet: a unique local prefix (RFC 4193) of our own; halls are private, so all projects may use it.
fn candidate_ipv6(n: u16) -> Option<Subnet> {
    Subnet::new(Ipv6Addr::new(0xfd62, 0x616e, 0x7961, n, 0, 0, 0, 0).into(), 64).ok()
}

/// Plans all networks of a project (neither `none` nor `host` drivers). Those that are `external` are in halls of their
/// own, but containers may be on several networks, so nothing may overlap.
///
/// `avoid` is what the host uses: its routes, and its name servers' addresses. `existing` holds the subnets that
/// networks have now, which they keep unless the file asks for others.
///
/// # Errors
/// The first mistake, in the order of keys.
pub fn plan_networks(
    networks: &BTreeMap<String, Network>,
    avoid: &[Subnet],
    existing: &BTreeMap<String, Vec<Subnet>>,
) -> Result<BTreeMap<String, NetworkPlan>, AddressError> {
    let ours = || {
        networks
            .iter()
            .filter(|(_, n)| !matches!(n.driver.as_str(), "none" | "host"))
    };
    let mut taken: Vec<(String, Subnet)> = Vec::new();
    // What is asked for comes first, then what exists, then what is free: nobody takes what another has named.
    let mut asked = BTreeMap::new();
    for (key, network) in ours() {
        let pools = read_pools(key, &network.ipam)?;
        for (subnet, _) in &pools {
            claim(&mut taken, key, *subnet)?;
        }
        asked.insert(key, pools);
    }
    let mut plans = BTreeMap::new();
    for (key, network) in ours() {
        let pools = &asked[key];
        let kept = existing.get(key).map(Vec::as_slice).unwrap_or_default();
        let mut choose = |ipv4: bool| -> Result<Option<SubnetPlan>, AddressError> {
            let pool = pools.iter().find(|(subnet, _)| subnet.is_ipv4() == ipv4);
            let wanted = if ipv4 { network.ipv4 } else { network.ipv6 };
            match pool {
                Some((subnet, pool)) => subnet_plan(key, *subnet, Some(pool)).map(Some),
                None if wanted => {
                    let subnet = free_subnet(key, ipv4, &mut taken, avoid, kept)?;
                    subnet_plan(key, subnet, None).map(Some)
                }
                None => Ok(None),
            }
        };
        let (v4, v6) = (choose(true)?, choose(false)?);
        let reach = if network.internal {
            Reach::Internal
        } else {
            Reach::Outside
        };
        let mtu = network
            .driver_opts
            .get("com.docker.network.driver.mtu")
            .and_then(|text| text.parse().ok());
        plans.insert(
            key.clone(),
            NetworkPlan {
                // Projects may give a shared network different keys.
                bridge: bridge_name(if network.external { &network.name } else { key }),
                v4,
                v6,
                reach,
                mtu,
            },
        );
    }
    Ok(plans)
}

/// The pools that name a subnet, at most one per family.
fn read_pools<'a>(key: &str, ipam: &'a [IpamPool]) -> Result<Vec<(Subnet, &'a IpamPool)>, AddressError> {
    let mut pools: Vec<(Subnet, &IpamPool)> = Vec::new();
    for pool in ipam {
        let Some(text) = &pool.subnet else { continue };
        let subnet = parse(key, text)?.network();
        if let Some((one, _)) = pools.iter().find(|(s, _)| s.is_ipv4() == subnet.is_ipv4()) {
            return Err(AddressError::Twice {
                network: key.to_owned(),
                one: *one,
                other: subnet,
            });
        }
        pools.push((subnet, pool));
    }
    Ok(pools)
}

fn parse(key: &str, text: &str) -> Result<Subnet, AddressError> {
    text.parse().map_err(|cause| AddressError::Subnet {
        network: key.to_owned(),
        cause,
    })
}

fn claim(taken: &mut Vec<(String, Subnet)>, key: &str, subnet: Subnet) -> Result<(), AddressError> {
    if let Some((other_key, other)) = taken.iter().find(|(_, other)| other.overlaps(subnet)) {
        return Err(AddressError::Overlap {
            first: other_key.clone(),
            second: key.to_owned(),
            one: *other,
            other: subnet,
        });
    }
    taken.push((key.to_owned(), subnet));
    Ok(())
}

fn free_subnet(
    key: &str,
    ipv4: bool,
    taken: &mut Vec<(String, Subnet)>,
    avoid: &[Subnet],
    kept: &[Subnet],
) -> Result<Subnet, AddressError> {
    let is_free = |subnet: &Subnet| !taken.iter().any(|(_, other)| other.overlaps(*subnet));
    let kept = kept.iter().copied().filter(|s| s.is_ipv4() == ipv4).find(is_free);
    // The default route overlaps everything and is no use of anything.
    let unused = |subnet: &Subnet| {
        is_free(subnet)
            && !avoid
                .iter()
                .any(|other| other.prefix() != 0 && other.overlaps(*subnet))
    };
    let fresh = || {
        if ipv4 {
            candidates().find(unused)
        } else {
            (0..u16::MAX).filter_map(candidate_ipv6).find(unused)
        }
    };
    let subnet = kept.or_else(fresh).ok_or_else(|| AddressError::NoSubnet {
        network: key.to_owned(),
    })?;
    taken.push((key.to_owned(), subnet));
    Ok(subnet)
}

/// Gateway, range and reserved addresses within `subnet`.
fn subnet_plan(key: &str, subnet: Subnet, pool: Option<&IpamPool>) -> Result<SubnetPlan, AddressError> {
    if subnet.size() < 4 {
        return Err(AddressError::TooSmall {
            network: key.to_owned(),
            subnet,
        });
    }
    let outside = |what, address| AddressError::Outside {
        network: key.to_owned(),
        what,
        address,
        subnet,
    };
    let range = match pool.and_then(|p| p.ip_range.as_deref()) {
        Some(text) => parse(key, text)?.network(),
        None => subnet,
    };
    if !subnet.contains(range.address()) || range.prefix() < subnet.prefix() {
        return Err(outside("ip_range", range.address()));
    }
    let gateway = pool
        .and_then(|p| p.gateway)
        .or_else(|| subnet.nth(1))
        .unwrap_or_else(|| subnet.last());
    if !subnet.contains(gateway) {
        return Err(outside("gateway", gateway));
    }
    let mut reserved = BTreeSet::from([subnet.address(), gateway]);
    if subnet.is_ipv4() {
        // Broadcast.
        reserved.insert(subnet.last());
    }
    for address in pool.into_iter().flat_map(|p| p.aux_addresses.values()) {
        // Addresses of the other family belong to the network's other pool.
        if address.is_ipv4() == subnet.is_ipv4() {
            if !subnet.contains(*address) {
                return Err(outside("aux_addresses entry", *address));
            }
            reserved.insert(*address);
        }
    }
    Ok(SubnetPlan {
        subnet,
        gateway,
        range,
        reserved,
    })
}

/// `br-KEY`, shortened with a checksum of the key when it is too long for the kernel or holds odd characters.
fn bridge_name(key: &str) -> LinkName {
    let plain = key
        .bytes()
        .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.'));
    let whole = LinkName::new(format!("br-{key}"))
        .ok()
        .filter(|_| plain && !key.is_empty());
    whole.unwrap_or_else(|| {
        // FNV-1a, 24 bits of it: keys of one project are few.
        let hash = key.bytes().fold(0x811c_9dc5_u32, |hash, byte| {
            (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
        });
        let start: String = key.chars().filter(char::is_ascii_alphanumeric).take(5).collect();
        LinkName::new(format!("br-{start}-{:06x}", hash >> 8)).expect("at most fifteen plain characters")
    })
}

#[cfg(test)]
mod tests;
