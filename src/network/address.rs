//! Subnets and addresses: decided from the project alone, the same way every time.
//!
//! 1. [`plan_networks`] gives every network its subnets and gateways. Halls are private, so two projects may have the
//!    same ones; what must be avoided is what *this host* uses, since packets to it have to leave the hall.
//! 2. [`Pool`] gives out a subnet's addresses: the lowest that is free, never one that is fixed for somebody else.

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

/// The addresses of one subnet, and who has them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pool {
    network: String,
    plan: SubnetPlan,
    owners: BTreeMap<IpAddr, String>,
}

impl Pool {
    /// A pool with nothing given out. `network` is the key for messages.
    pub fn new(network: &str, plan: &SubnetPlan) -> Self {
        Self {
            network: network.to_owned(),
            plan: plan.clone(),
            owners: BTreeMap::new(),
        }
    }

    /// Gives a certain address to `owner`, for whom it may be reserved already. Call this for all fixed addresses of a
    /// project before the first [`Pool::allocate`].
    ///
    /// # Errors
    /// When it is outside the subnet, the gateway's, or somebody else's.
    pub fn claim(&mut self, address: IpAddr, owner: &str) -> Result<(), AddressError> {
        let subnet = self.plan.subnet;
        if !subnet.contains(address) {
            return Err(AddressError::Outside {
                network: self.network.clone(),
                what: "address",
                address,
                subnet,
            });
        }
        let taken = |owner: &str| AddressError::Taken {
            network: self.network.clone(),
            address,
            owner: owner.to_owned(),
        };
        if address == self.plan.gateway {
            return Err(taken("the gateway"));
        }
        if address == subnet.address() || (subnet.is_ipv4() && address == subnet.last()) {
            return Err(taken("the network itself"));
        }
        // `aux_addresses` are kept from `allocate`, not from whoever names them.
        match self.owners.get(&address) {
            Some(other) if other != owner => Err(taken(&format!("`{other}`"))),
            _ => {
                self.owners.insert(address, owner.to_owned());
                Ok(())
            }
        }
    }

    /// Gives the lowest free address to `owner`; the one it has already, if any.
    ///
    /// # Errors
    /// When none is left.
    pub fn allocate(&mut self, owner: &str) -> Result<IpAddr, AddressError> {
        if let Some((address, _)) = self.owners.iter().find(|(_, o)| *o == owner) {
            return Ok(*address);
        }
        let range = self.plan.range;
        let free = (0..range.size())
            .map_while(|offset| range.nth(offset))
            .find(|address| !self.plan.reserved.contains(address) && !self.owners.contains_key(address));
        let address = free.ok_or_else(|| AddressError::Exhausted {
            network: self.network.clone(),
            range,
            size: range.size(),
        })?;
        self.owners.insert(address, owner.to_owned());
        Ok(address)
    }

    /// Takes back what `owner` has.
    pub fn release(&mut self, owner: &str) {
        self.owners.retain(|_, o| o != owner);
    }

    /// The plan it gives out from.
    pub fn plan(&self) -> &SubnetPlan {
        &self.plan
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn network() -> Network {
        Network {
            name: "p_n".into(),
            external: false,
            driver: "bridge".into(),
            driver_opts: BTreeMap::new(),
            internal: false,
            attachable: false,
            ipv4: true,
            ipv6: false,
            ipam: vec![],
            labels: BTreeMap::new(),
        }
    }

    fn pool(subnet: &str) -> IpamPool {
        IpamPool {
            subnet: Some(subnet.into()),
            ip_range: None,
            gateway: None,
            aux_addresses: BTreeMap::new(),
        }
    }

    fn with(ipam: Vec<IpamPool>) -> Network {
        Network { ipam, ..network() }
    }

    fn plan(
        networks: &[(&str, Network)],
        avoid: &[&str],
    ) -> Result<BTreeMap<String, NetworkPlan>, AddressError> {
        let networks = networks
            .iter()
            .map(|(k, n)| ((*k).to_owned(), n.clone()))
            .collect();
        let avoid: Vec<Subnet> = avoid.iter().map(|a| a.parse().unwrap()).collect();
        plan_networks(&networks, &avoid, &BTreeMap::new())
    }

    fn check(networks: &[(&str, Network)], avoid: &[&str], expected: &str) {
        let text = match plan(networks, avoid) {
            Ok(plans) => {
                let show = |(key, plan): (&String, &NetworkPlan)| {
                    let subnets: Vec<_> = plan
                        .subnets()
                        .map(|s| format!("{} via {}", s.subnet, s.gateway))
                        .collect();
                    format!("{key}: {}", subnets.join(" + "))
                };
                plans.iter().map(show).collect::<Vec<_>>().join("; ")
            }
            Err(error) => error.to_string(),
        };
        assert_eq!(text, expected);
    }

    #[test]
    fn networks_get_dockers_subnets_in_the_order_of_their_keys() {
        check(
            &[("front", network()), ("back", network())],
            &["0.0.0.0/0"],
            "back: 172.18.0.0/16 via 172.18.0.1; front: 172.19.0.0/16 via 172.19.0.1",
        );
    }

    #[test]
    fn what_the_host_uses_and_what_others_name_is_avoided() {
        check(
            &[("a", network())],
            &["172.16.0.0/13", "172.24.0.53/32"],
            "a: 172.25.0.0/16 via 172.25.0.1",
        );
        check(
            &[("a", network()), ("b", with(vec![pool("172.18.5.0/24")]))],
            &[],
            "a: 172.19.0.0/16 via 172.19.0.1; b: 172.18.5.0/24 via 172.18.5.1",
        );
        check(
            &[("a", network())],
            &["172.16.0.0/12", "192.168.0.0/16", "10.0.0.0/8"],
            "network `a`: every private subnet overlaps a route of this host",
        );
    }

    #[test]
    fn a_network_keeps_what_it_has_when_others_come() {
        let networks = BTreeMap::from([("b".to_owned(), network()), ("a".to_owned(), network())]);
        let existing = BTreeMap::from([("b".to_owned(), vec!["172.18.0.0/16".parse().unwrap()])]);
        // The host has meanwhile got a route of its own there (the hall's, seen from inside); `b` stays.
        let plans = plan_networks(&networks, &["172.18.0.0/16".parse().unwrap()], &existing).unwrap();
        let subnet = |key: &str| plans[key].v4.as_ref().unwrap().subnet.to_string();
        assert_eq!(
            (subnet("a"), subnet("b")),
            ("172.19.0.0/16".into(), "172.18.0.0/16".into())
        );
    }

    #[test]
    fn ipv6_comes_when_asked_for() {
        let six = Network {
            ipv6: true,
            ..network()
        };
        check(
            &[("a", six.clone()), ("b", Network { ipv4: false, ..six })],
            &[],
            "a: 172.18.0.0/16 via 172.18.0.1 + fd62:616e:7961::/64 via fd62:616e:7961::1; \
             b: fd62:616e:7961:1::/64 via fd62:616e:7961:1::1",
        );
        check(
            &[("a", with(vec![pool("10.9.0.0/24"), pool("fd00:9::/64")]))],
            &[],
            "a: 10.9.0.0/24 via 10.9.0.1 + fd00:9::/64 via fd00:9::1",
        );
    }

    #[test]
    fn mistakes_name_the_network_and_the_address() {
        let gateway = |subnet: &str, gateway: &str| IpamPool {
            gateway: gateway.parse().ok(),
            ..pool(subnet)
        };
        let range = |subnet: &str, range: &str| IpamPool {
            ip_range: Some(range.into()),
            ..pool(subnet)
        };
        for (ipam, expected) in [
            (
                vec![pool("10.9.0.0/40")],
                "network `n`: `/40` is too long for `10.9.0.0`; the most is `/32`",
            ),
            (
                vec![pool("10.9.0.0/31")],
                "network `n`: the subnet `10.9.0.0/31` has no room for a gateway and a container",
            ),
            (
                vec![gateway("10.9.0.0/24", "10.8.0.1")],
                "network `n`: the gateway `10.8.0.1` is not in the subnet `10.9.0.0/24`",
            ),
            (
                vec![range("10.9.0.0/24", "10.9.1.0/25")],
                "network `n`: the ip_range `10.9.1.0` is not in the subnet `10.9.0.0/24`",
            ),
            (
                vec![pool("10.9.0.0/24"), pool("10.8.0.0/24")],
                "network `n` has two subnets of one family: `10.9.0.0/24` and `10.8.0.0/24`",
            ),
        ] {
            check(&[("n", with(ipam))], &[], expected);
        }
        check(
            &[
                ("a", with(vec![pool("10.9.0.0/16")])),
                ("b", with(vec![pool("10.9.3.0/24")])),
            ],
            &[],
            "networks `a` and `b` overlap: `10.9.0.0/16` and `10.9.3.0/24`",
        );
    }

    #[test]
    fn bridges_have_names_the_kernel_takes() {
        for (key, expected) in [
            ("default", "br-default"),
            ("twelve-chars", "br-twelve-chars"),
            ("a-key-that-is-too-long", "br-akeyt-"),
            ("schön", "br-schn-"),
        ] {
            let name = bridge_name(key);
            assert!(name.as_str().starts_with(expected), "{key}: {name}");
        }
        assert_ne!(
            bridge_name("a-key-that-is-too-long"),
            bridge_name("a-key-that-is-too-long-as-well")
        );
    }

    fn small_pool(prefix: u8) -> Pool {
        let aux = BTreeMap::from([("printer".to_owned(), "10.9.0.3".parse().unwrap())]);
        let wanted = IpamPool {
            aux_addresses: aux,
            ..pool(&format!("10.9.0.0/{prefix}"))
        };
        let plans = plan(&[("n", with(vec![wanted]))], &[]).unwrap();
        Pool::new("n", plans["n"].v4.as_ref().unwrap())
    }

    #[test]
    fn addresses_are_the_lowest_free_ones_and_come_back() {
        let mut pool = small_pool(29);
        let mut next = |owner: &str| pool.allocate(owner).unwrap().to_string();
        assert_eq!(next("a"), "10.9.0.2");
        assert_eq!(next("b"), "10.9.0.4");
        assert_eq!(next("a"), "10.9.0.2", "an owner keeps its address");
        assert_eq!(next("c"), "10.9.0.5");
        assert_eq!(next("d"), "10.9.0.6");
        assert_eq!(
            pool.allocate("e").unwrap_err().to_string(),
            "network `n`: all 8 addresses of `10.9.0.0/29` are in use"
        );
        pool.release("b");
        assert_eq!(pool.allocate("e").unwrap().to_string(), "10.9.0.4");
    }

    #[test]
    fn ten_thousand_allocations_leak_nothing() {
        let mut pool = small_pool(28);
        for round in 0..10_000 {
            let owner = format!("c{round}");
            pool.allocate(&owner).unwrap();
            pool.release(&owner);
        }
        assert_eq!(pool, small_pool(28));
    }

    #[test]
    fn fixed_addresses_are_checked() {
        let mut pool = small_pool(28);
        let mut claim = |address: &str, owner: &str| {
            pool.claim(address.parse().unwrap(), owner)
                .map_err(|e| e.to_string())
                .err()
                .unwrap_or_default()
        };
        assert_eq!(claim("10.9.0.2", "a"), "");
        assert_eq!(claim("10.9.0.2", "a"), "");
        assert_eq!(
            claim("10.9.0.2", "b"),
            "network `n`: the address `10.9.0.2` is taken by `a`"
        );
        assert_eq!(
            claim("10.9.0.1", "b"),
            "network `n`: the address `10.9.0.1` is taken by the gateway"
        );
        assert_eq!(
            claim("10.9.0.15", "b"),
            "network `n`: the address `10.9.0.15` is taken by the network itself"
        );
        assert_eq!(
            claim("10.9.1.2", "b"),
            "network `n`: the address `10.9.1.2` is not in the subnet `10.9.0.0/28`"
        );
        assert_eq!(
            pool.allocate("b").unwrap().to_string(),
            "10.9.0.4",
            "neither a's nor the reserved one"
        );
    }
}
