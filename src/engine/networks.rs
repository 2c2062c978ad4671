//! The project's networks as the engine holds them: the hall, its bridges, the way out, who has which address, names,
//! and published ports.
//!
//! Addresses and published ports belong to places ([`Slot`]), so a recreated container keeps them. They are remembered
//! with each container's record, and taken over from there by an engine that comes back.

use super::{
    Outcome, Voice,
    record::{Endpoint, Record},
};
use crate::{
    api::wire::{Failure, Fault, Level, Published},
    dns::{self, Client, Forwarder, Zones},
    model::{Network, NetworkMode, Project, PublishedPort, Service, hash_of},
    network::{
        address::{NetworkPlan, Pool, plan_networks},
        interface,
        publish::{self, Reservation},
    },
    plan::Slot,
};
use banyan_runtime::{
    container::{Container, Created},
    network::{
        Bridge, EMBEDDED_DNS, EmbeddedDns, Hall, HallSockets, MacAddress, Reach, Subnet, Uplink,
        host_subnets, resolv_conf::ResolvConf,
    },
};
use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, SocketAddr},
    os::fd::{AsFd, OwnedFd},
    path::{Path, PathBuf},
    sync::{Arc, Mutex},
};
use tokio::sync::watch;

/// What the engine holds of the project's networks.
#[derive(Debug)]
pub struct Networks {
    /// Where the host-wide record of uplinks is; the same for all roots of this machine.
    uplinks: PathBuf,
    zones: Arc<Zones>,
    forwarder: Arc<Forwarder>,
    /// Turns true when the name servers should end.
    closing: watch::Sender<bool>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// The project's networks as last defined, and their plans.
    defined: BTreeMap<String, Network>,
    plans: BTreeMap<String, NetworkPlan>,
    pools: BTreeMap<String, [Option<Pool>; 2]>,
    hall: Option<Arc<Hall>>,
    sockets: Option<Arc<HallSockets>>,
    uplink: Option<Uplink>,
    /// Networks whose bridge exists, with the hash of their definition.
    up: BTreeMap<String, String>,
    /// Ports bound for a place that does not run yet.
    reserved: BTreeMap<Slot, Vec<(PublishedPort, Reservation)>>,
    /// Ports that are carried.
    published: BTreeMap<Slot, Vec<(PublishedPort, publish::Published)>>,
}

/// Where the host-wide record of uplinks is. The host's settings are shared, so all roots share it.
pub fn uplinks() -> &'static Path {
    Path::new("/run/banyan/uplinks")
}

fn host_failure(
    what: String,
    error: &(dyn std::error::Error + 'static),
    hint: Option<String>,
) -> Box<Failure> {
    let failure = Failure::caused(Fault::Host, what, error);
    match hint {
        Some(hint) => failure.hint(hint),
        None => failure,
    }
}

impl Default for Networks {
    fn default() -> Self {
        Self::new()
    }
}

impl Networks {
    /// Nothing exists yet.
    pub fn new() -> Self {
        Self {
            uplinks: uplinks().to_owned(),
            zones: Arc::new(Zones::new()),
            forwarder: Arc::new(Forwarder::new("/etc/resolv.conf")),
            closing: watch::channel(false).0,
            state: Mutex::new(State::default()),
        }
    }

    /// Learns the project's networks. Networks that exist keep their subnets.
    ///
    /// # Errors
    /// Subnets that overlap, or cannot be.
    pub fn define(&self, project: &Project) -> Outcome {
        let mut state = super::lock(&self.state);
        let existing = state
            .plans
            .iter()
            .filter(|(key, _)| state.up.contains_key(*key))
            .map(|(key, plan)| (key.clone(), plan.subnets().map(|part| part.subnet).collect()))
            .collect();
        let servers = ResolvConf::parse(&read_host_file("/etc/resolv.conf")).servers;
        let avoid: Vec<Subnet> = servers
            .into_iter()
            .filter_map(|ip| Subnet::new(ip, if ip.is_ipv4() { 32 } else { 128 }).ok())
            // What the host itself uses must be reached by leaving the hall. Without the list, it is merely not avoided.
            .chain(host_subnets().unwrap_or_default())
            .collect();
        let plans = plan_networks(&project.networks, &avoid, &existing).map_err(|error| {
            let failure = Failure::caused(
                Fault::ProjectFile,
                "the project's networks cannot have these addresses",
                &error,
            );
            match error.hint() {
                Some(hint) => failure.hint(hint),
                None => failure,
            }
        })?;
        for (key, plan) in &plans {
            if state.plans.get(key) != Some(plan) || !state.pools.contains_key(key) {
                let pool = |part: &crate::network::address::SubnetPlan| Pool::new(key, part);
                state.pools.insert(
                    key.clone(),
                    [plan.v4.as_ref().map(pool), plan.v6.as_ref().map(pool)],
                );
            }
        }
        state.plans = plans;
        state.defined.clone_from(&project.networks);
        claim_fixed(&mut state, project)
    }

    /// Networks that exist with these definitions.
    pub fn up(&self, hashes: &BTreeMap<String, String>) -> BTreeSet<String> {
        let state = super::lock(&self.state);
        state
            .up
            .iter()
            .filter(|(key, hash)| hashes.get(*key) == Some(*hash))
            .map(|(key, _)| key.clone())
            .collect()
    }

    /// Networks that exist.
    pub fn up_keys(&self) -> BTreeSet<String> {
        super::lock(&self.state).up.keys().cloned().collect()
    }

    /// The addresses of a place, given out if it has none yet.
    ///
    /// # Errors
    /// A network that is full, a fixed address that is taken or outside.
    pub fn allocate(
        &self,
        project: &Project,
        service: &Service,
        slot: &Slot,
    ) -> Outcome<BTreeMap<String, Endpoint>> {
        let mut endpoints = BTreeMap::new();
        if service.network_mode != NetworkMode::Networks {
            return Ok(endpoints);
        }
        let mut state = super::lock(&self.state);
        for (key, attachment) in &service.networks {
            let Some(pools) = state.pools.get_mut(key) else {
                continue;
            };
            let mut addresses = Vec::new();
            for pool in pools.iter_mut().flatten() {
                let given = pool.allocate(&slot.to_string()).map_err(|error| {
                    let at = service
                        .places
                        .get(&format!("networks.{key}"))
                        .or(service.place.as_ref());
                    let failure = Failure::caused(
                        Fault::ProjectFile,
                        format!("`{slot}` cannot have an address"),
                        &error,
                    );
                    match error.hint() {
                        Some(hint) => failure.hint(hint),
                        None => failure,
                    }
                    .at(at)
                })?;
                addresses.push(given);
            }
            let mut names = vec![service.name.to_string()];
            let own = format!("{}-{}-{}", project.name, slot.service, slot.number);
            names.push(service.container_name.clone().unwrap_or(own));
            names.extend(attachment.aliases.iter().cloned());
            names.dedup();
            let first = |v4: bool| {
                addresses
                    .iter()
                    .copied()
                    .find(|address: &IpAddr| address.is_ipv4() == v4)
            };
            endpoints.insert(
                key.clone(),
                Endpoint {
                    network_hash: project.networks.get(key).map(hash_of).unwrap_or_default(),
                    ipv4: first(true).and_then(|ip| if let IpAddr::V4(ip) = ip { Some(ip) } else { None }),
                    ipv6: first(false).and_then(|ip| if let IpAddr::V6(ip) = ip { Some(ip) } else { None }),
                    names,
                },
            );
        }
        Ok(endpoints)
    }

    /// Gives a place's addresses and ports back.
    pub fn release(&self, slot: &Slot) {
        let mut state = super::lock(&self.state);
        for pool in state.pools.values_mut().flatten().flatten() {
            pool.release(&slot.to_string());
        }
        state.reserved.remove(slot);
        // Dropping a published port closes it.
        state.published.remove(slot);
    }

    /// The address at which containers reach the host.
    pub fn host_gateway(&self) -> Option<IpAddr> {
        super::lock(&self.state)
            .uplink
            .as_ref()
            .map(|uplink| uplink.host.into())
    }

    /// `/etc/resolv.conf` of a container: our name server, or the host's for those that share its network.
    pub fn resolv_conf(&self, service: &Service, endpoints: &BTreeMap<String, Endpoint>) -> String {
        if !endpoints.is_empty() {
            return ResolvConf::for_project(EMBEDDED_DNS.into(), &service.dns_search, &service.dns_opt)
                .render();
        }
        if service.dns.is_empty() {
            return read_host_file("/etc/resolv.conf");
        }
        let (search, options) = (service.dns_search.clone(), service.dns_opt.clone());
        ResolvConf {
            servers: service.dns.clone(),
            search,
            options,
        }
        .render()
    }

    /// Makes a network's bridge and name server, and before it the hall and its way out.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub async fn ensure(self: &Arc<Self>, key: &str, voice: &Voice) -> Outcome {
        let (this, name, speaking) = (self.clone(), key.to_owned(), voice.clone());
        let made = tokio::task::spawn_blocking(move || this.ensure_blocking(&name, &speaking)).await;
        let listeners = made.unwrap_or_else(|error| {
            Err(Failure::caused(
                Fault::Internal,
                "making a network failed",
                &error,
            ))
        })?;
        if !listeners.is_empty() {
            let (zones, forwarder) = (self.zones.clone(), self.forwarder.clone());
            let closing = self.closing.subscribe();
            tokio::spawn(async move {
                if let Err(error) = dns::serve(listeners, zones, forwarder, closing).await {
                    tracing::error!(%error, "a name server ended");
                }
            });
        }
        Ok(())
    }

    fn ensure_blocking(&self, key: &str, voice: &Voice) -> Outcome<Vec<dns::Listener>> {
        let mut state = super::lock(&self.state);
        let network = state.defined.get(key).cloned();
        let (Some(network), Some(plan)) = (network, state.plans.get(key).cloned()) else {
            return Ok(Vec::new());
        };
        let hall = self.hall(&mut state)?;
        if plan.reach == Reach::Outside && state.uplink.is_none() {
            let uplink = Uplink::ensure(&hall, &self.uplinks).map_err(|error| {
                host_failure(
                    "cannot make the way out of the project's networks".into(),
                    &error,
                    None,
                )
            })?;
            for warning in &uplink.warnings {
                voice.note(None, Level::Warning, warning.clone());
            }
            state.uplink = Some(uplink);
        }
        let mtu = plan
            .mtu
            .or(state.uplink.as_ref().map(|uplink| uplink.mtu))
            .unwrap_or(1500);
        let gateways: Vec<Subnet> = plan
            .subnets()
            .map(crate::network::address::SubnetPlan::gateway_interface)
            .collect();
        let bridge = Bridge {
            name: plan.bridge.clone(),
            gateways: gateways.clone(),
            mtu,
            reach: plan.reach,
        };
        let failed = |verb: &str, error: &banyan_runtime::network::HallError| {
            host_failure(format!("cannot {verb} network `{key}`"), error, error.hint())
        };
        if state.up.contains_key(key) {
            hall.remove_bridge(&bridge.name)
                .map_err(|error| failed("change", &error))?;
        }
        hall.add_bridge(&bridge).map_err(|error| failed("make", &error))?;
        self.zones.update(|records| {
            let subnets = plan.subnets().map(|part| part.subnet).collect();
            records.set_network(
                key,
                dns::Network {
                    name: network.name.clone(),
                    subnets,
                    internal: network.internal,
                },
            );
        });
        let listeners = bind_all(&hall, &gateways)
            .map_err(|error| host_failure(format!("cannot serve names on network `{key}`"), &error, None))?;
        state.up.insert(key.to_owned(), hash_of(&network));
        Ok(listeners)
    }

    /// The hall, made when there is none.
    fn hall(&self, state: &mut State) -> Outcome<Arc<Hall>> {
        if let Some(hall) = &state.hall {
            return Ok(hall.clone());
        }
        let what = "cannot make the project's network namespace";
        let hall = Hall::create().map_err(|error| host_failure(what.into(), &error, error.hint()))?;
        let sockets =
            HallSockets::start(&hall).map_err(|error| host_failure(what.into(), &error, error.hint()))?;
        let (hall, sockets) = (Arc::new(hall), Arc::new(sockets));
        self.forwarder.ask_from(&sockets);
        (state.hall, state.sockets) = (Some(hall.clone()), Some(sockets));
        Ok(hall)
    }

    /// Removes a network's bridge.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub async fn remove(self: &Arc<Self>, key: &str) -> Outcome {
        let (this, key) = (self.clone(), key.to_owned());
        let removed = tokio::task::spawn_blocking(move || {
            let mut state = super::lock(&this.state);
            state.up.remove(&key);
            this.zones.update(|records| records.remove_network(&key));
            let (Some(hall), Some(plan)) = (state.hall.clone(), state.plans.get(&key)) else {
                return Ok(());
            };
            hall.remove_bridge(&plan.bridge)
                .map_err(|error| host_failure(format!("cannot remove network `{key}`"), &error, error.hint()))
        });
        removed.await.unwrap_or_else(|error| {
            Err(Failure::caused(
                Fault::Internal,
                "removing a network failed",
                &error,
            ))
        })
    }

    /// Descriptors that a container's shim holds open: the hall.
    ///
    /// # Errors
    /// When it cannot be duplicated.
    pub fn hall_to_hold(&self) -> Outcome<Vec<OwnedFd>> {
        let state = super::lock(&self.state);
        let held = state
            .hall
            .iter()
            .map(|hall| hall.fd().try_clone_to_owned())
            .collect::<Result<_, _>>();
        held.map_err(|error| Failure::caused(Fault::Host, "cannot hold the project's network", &error))
    }

    /// Connects a container at its barrier: interfaces, names, ports.
    ///
    /// # Errors
    /// When the kernel refuses, or a port is taken.
    pub async fn attach(
        self: &Arc<Self>,
        record: &Record,
        created: &Container<Created>,
    ) -> Outcome<Vec<Published>> {
        if record.service.network_mode == NetworkMode::Networks {
            let namespace = created.network_namespace().map_err(|error| {
                Failure::caused(Fault::Host, format!("cannot connect `{}`", record.name), &error)
            })?;
            let (this, connecting) = (self.clone(), record.clone());
            let connected = tokio::task::spawn_blocking(move || this.connect(&connecting, &namespace)).await;
            connected
                .unwrap_or_else(|error| Err(Failure::caused(Fault::Internal, "connecting failed", &error)))?;
        }
        self.tell_names(record);
        self.publish(record)
    }

    fn connect(&self, record: &Record, namespace: &OwnedFd) -> Outcome {
        let failed = |error: &(dyn std::error::Error + 'static), hint: Option<String>| {
            host_failure(format!("cannot connect `{}`", record.name), error, hint)
        };
        let (hall, endpoints, dns) = {
            let state = super::lock(&self.state);
            let Some(hall) = state.hall.clone() else {
                return Ok(());
            };
            let mtu = state.uplink.as_ref().map_or(1500, |uplink| uplink.mtu);
            let addresses = record
                .endpoints
                .iter()
                .map(|(key, e)| (key.clone(), e.addresses()))
                .collect();
            let made = interface::endpoints(&record.service.networks, &state.plans, &addresses, mtu);
            let mut made = made.map_err(|error| {
                Failure::caused(
                    Fault::ProjectFile,
                    format!("cannot connect `{}`", record.name),
                    &error,
                )
                .at(record.service.place.as_ref())
            })?;
            if let (Some(text), Some((key, first))) = (&record.service.mac_address, made.first_mut())
                && record
                    .service
                    .networks
                    .get(key)
                    .is_none_or(|attachment| attachment.mac_address.is_none())
            {
                first.mac = text.parse::<MacAddress>().map_err(|error| {
                    Failure::caused(
                        Fault::ProjectFile,
                        format!("`{text}` is not a MAC address"),
                        &error,
                    )
                    .at(record.service.places.get("mac_address"))
                })?;
            }
            let dns = made.iter().find_map(|(key, _)| {
                let server = match state.plans.get(key)?.v4.as_ref()?.gateway {
                    IpAddr::V4(gateway) => gateway,
                    IpAddr::V6(_) => return None,
                };
                Some(EmbeddedDns {
                    server,
                    client: record.endpoints.get(key)?.ipv4?,
                })
            });
            (
                hall,
                made.into_iter().map(|(_, endpoint)| endpoint).collect::<Vec<_>>(),
                dns,
            )
        };
        hall.connect(namespace.as_fd(), &endpoints, dns)
            .map(|_| ())
            .map_err(|error| failed(&error, error.hint()))
    }

    /// From now on a container is found by its names.
    fn tell_names(&self, record: &Record) {
        let service = &record.service;
        self.zones.update(|records| {
            let links = service
                .links
                .iter()
                .map(|link| (link.alias.clone(), link.service.to_string()));
            let links = links.chain(
                service
                    .external_links
                    .iter()
                    .map(|(name, alias)| (alias.clone(), name.clone())),
            );
            records.set_client(
                &record.id,
                Client {
                    links: links.collect(),
                    servers: service.dns.clone(),
                },
            );
            let mut ordered: Vec<_> = record.endpoints.iter().collect();
            ordered.sort_by_key(|(key, _)| {
                (
                    service.networks.get(*key).map_or(0, |a| -a.priority),
                    (*key).clone(),
                )
            });
            for (key, endpoint) in ordered {
                records.add(dns::Endpoint {
                    container: record.id.clone(),
                    network: key.clone(),
                    addresses: endpoint.addresses(),
                    names: endpoint.names.clone(),
                });
            }
        });
    }

    /// Points a place's ports at its container.
    fn publish(&self, record: &Record) -> Outcome<Vec<Published>> {
        if record.service.ports.is_empty() {
            return Ok(Vec::new());
        }
        self.reserve(&record.slot, &record.service)?;
        let mut state = super::lock(&self.state);
        let address = first_address(record);
        let Some(address) = address else {
            // It shares the host's network: its ports are the host's own.
            return Ok(Vec::new());
        };
        let Some(sockets) = state.sockets.clone() else {
            return Ok(Vec::new());
        };
        for (port, reservation) in state.reserved.remove(&record.slot).unwrap_or_default() {
            let served = reservation.serve(sockets.clone()).map_err(|error| {
                Failure::caused(
                    Fault::Host,
                    format!("cannot publish port {} of `{}`", port.target, record.name),
                    &error,
                )
            })?;
            state
                .published
                .entry(record.slot.clone())
                .or_default()
                .push((port, served));
        }
        let mut list = Vec::new();
        for (port, published) in state.published.get(&record.slot).into_iter().flatten() {
            published.retarget(Some(SocketAddr::new(address, port.target)));
            for host in published.addresses() {
                let protocol = published.protocol();
                list.push(Published {
                    host: host.ip(),
                    port: host.port(),
                    target: port.target,
                    protocol,
                });
            }
        }
        list.sort();
        Ok(list)
    }

    /// A container has ended: its names and ports lead nowhere. Its interfaces went with its namespace.
    pub fn withdraw(&self, record: &Record) {
        self.zones.update(|records| records.remove_container(&record.id));
        let state = super::lock(&self.state);
        for (_, published) in state.published.get(&record.slot).into_iter().flatten() {
            published.retarget(None);
        }
    }

    /// A container was stopped for good: its ports are free for others.
    pub fn close_ports(&self, slot: &Slot) {
        let mut state = super::lock(&self.state);
        state.published.remove(slot);
        state.reserved.remove(slot);
    }

    /// Binds a place's ports, unless it has them.
    ///
    /// # Errors
    /// A port that is taken, and by whom when that can be told.
    pub fn reserve(&self, slot: &Slot, service: &Service) -> Outcome {
        if matches!(service.network_mode, NetworkMode::Host | NetworkMode::None) {
            return Ok(());
        }
        let mut state = super::lock(&self.state);
        // Ports that the service no longer has are let go.
        if let Some(published) = state.published.get_mut(slot) {
            published.retain(|(port, _)| service.ports.contains(port));
        }
        for (index, port) in service.ports.iter().enumerate() {
            let has = state
                .published
                .get(slot)
                .is_some_and(|list| list.iter().any(|(p, _)| p == port))
                || state
                    .reserved
                    .get(slot)
                    .is_some_and(|list| list.iter().any(|(p, _)| p == port));
            if has {
                continue;
            }
            let reservation = publish::reserve(port).map_err(|error| {
                let at = service
                    .places
                    .get(&format!("ports[{index}]"))
                    .or(service.place.as_ref());
                let what = format!(
                    "cannot publish port {} of service `{}`",
                    port.target, service.name
                );
                let failure = Failure::caused(Fault::Asked, what, &error).at(at);
                match error.hint() {
                    Some(hint) => failure.hint(hint),
                    None => failure,
                }
            })?;
            state
                .reserved
                .entry(slot.clone())
                .or_default()
                .push((port.clone(), reservation));
        }
        Ok(())
    }

    /// Gives up ports of places that have no container.
    pub fn unreserve(&self, kept: &BTreeSet<Slot>) {
        let mut state = super::lock(&self.state);
        state.reserved.retain(|slot, _| kept.contains(slot));
        state.published.retain(|slot, _| kept.contains(slot));
    }

    /// Takes the hall over from what a container's shim has `kept`, after this engine's predecessor died: bridges and
    /// interfaces stand; names and ports of the containers that run (`records`) are served again at the same addresses.
    /// `on_it` are all containers that were made for its networks, at their barrier too.
    ///
    /// # Errors
    /// When the hall cannot be opened, or a port was taken meanwhile.
    pub async fn take_over(
        self: &Arc<Self>,
        kept: Vec<PathBuf>,
        on_it: Vec<Record>,
        records: &[Record],
    ) -> Outcome {
        let (this, records_there) = (self.clone(), on_it);
        let taken = tokio::task::spawn_blocking(move || this.take_over_blocking(&kept, &records_there)).await;
        let listeners = taken.unwrap_or_else(|error| {
            Err(Failure::caused(
                Fault::Internal,
                "taking over the network failed",
                &error,
            ))
        })?;
        let (zones, forwarder, closing) = (
            self.zones.clone(),
            self.forwarder.clone(),
            self.closing.subscribe(),
        );
        tokio::spawn(async move {
            if let Err(error) = dns::serve(listeners, zones, forwarder, closing).await {
                tracing::error!(%error, "a name server ended");
            }
        });
        for record in records {
            self.tell_names(record);
            let mut fixed = record.clone();
            // Ephemeral ports stay what they were.
            for port in &mut fixed.service.ports {
                let before = record
                    .published
                    .iter()
                    .find(|p| p.target == port.target && p.protocol == port.protocol);
                if let (None, Some(before)) = (port.published, before) {
                    port.published = Some((before.port, before.port));
                }
            }
            self.publish(&fixed)?;
        }
        Ok(())
    }

    fn take_over_blocking(&self, kept: &[PathBuf], records: &[Record]) -> Outcome<Vec<dns::Listener>> {
        let Some(path) = kept.first() else {
            return Ok(Vec::new());
        };
        let what = || "cannot take over the project's network".to_owned();
        let file = fs_err::File::open(path).map_err(|error| Failure::caused(Fault::Host, what(), &error))?;
        let hall = Hall::from_fd(OwnedFd::from(file.into_parts().0))
            .map_err(|error| host_failure(what(), &error, error.hint()))?;
        let sockets =
            HallSockets::start(&hall).map_err(|error| host_failure(what(), &error, error.hint()))?;
        let mut state = super::lock(&self.state);
        let mut listeners = Vec::new();
        for record in records {
            for (key, endpoint) in &record.endpoints {
                state.up.insert(key.clone(), endpoint.network_hash.clone());
                for pool in state.pools.get_mut(key).into_iter().flatten().flatten() {
                    for address in endpoint.addresses() {
                        // An address of the other family is not this pool's.
                        let _ = pool.claim(address, &record.slot.to_string());
                    }
                }
            }
        }
        let up: Vec<String> = state.up.keys().cloned().collect();
        let mut outside = false;
        for key in up {
            let (Some(plan), Some(network)) = (state.plans.get(&key), state.defined.get(&key)) else {
                continue;
            };
            outside |= plan.reach == Reach::Outside;
            let gateways: Vec<Subnet> = plan
                .subnets()
                .map(crate::network::address::SubnetPlan::gateway_interface)
                .collect();
            self.zones.update(|records| {
                let subnets = plan.subnets().map(|part| part.subnet).collect();
                let internal = network.internal;
                records.set_network(
                    &key,
                    dns::Network {
                        name: network.name.clone(),
                        subnets,
                        internal,
                    },
                );
            });
            listeners.extend(bind_all(&hall, &gateways).map_err(|error| host_failure(what(), &error, None))?);
        }
        if outside {
            let uplink =
                Uplink::ensure(&hall, &self.uplinks).map_err(|error| host_failure(what(), &error, None))?;
            state.uplink = Some(uplink);
        }
        let sockets = Arc::new(sockets);
        self.forwarder.ask_from(&sockets);
        (state.hall, state.sockets) = (Some(Arc::new(hall)), Some(sockets));
        Ok(listeners)
    }

    /// Nothing of the project runs: name servers, ports and the way out go, and the hall with them.
    pub async fn close(self: &Arc<Self>) {
        self.closing.send_replace(true);
        let this = self.clone();
        let closed = tokio::task::spawn_blocking(move || {
            let mut state = super::lock(&this.state);
            state.published.clear();
            state.reserved.clear();
            state.sockets = None;
            let Some(hall) = state.hall.take() else { return };
            for key in std::mem::take(&mut state.up).into_keys() {
                this.zones.update(|records| records.remove_network(&key));
            }
            if state.uplink.take().is_some()
                && let Err(errors) = Uplink::remove(&hall, &this.uplinks)
            {
                for error in errors {
                    tracing::error!(%error, "something of the way out stayed on the host");
                }
            }
        });
        if closed.await.is_err() {
            tracing::error!("closing the project's network failed");
        }
        self.closing.send_replace(false);
    }
}

/// Fixed addresses are claimed before any is given out.
fn claim_fixed(state: &mut State, project: &Project) -> Outcome {
    for service in project.services.values() {
        for (key, attachment) in &service.networks {
            let fixed = [
                attachment.ipv4.map(IpAddr::from),
                attachment.ipv6.map(IpAddr::from),
            ];
            for address in fixed.into_iter().flatten() {
                let owner = Slot {
                    service: service.name.clone(),
                    number: 1,
                }
                .to_string();
                let pools = state.pools.get_mut(key).into_iter().flatten().flatten();
                for pool in pools.filter(|pool| pool.plan().subnet.is_ipv4() == address.is_ipv4()) {
                    pool.claim(address, &owner).map_err(|error| {
                        let what = format!("service `{}` cannot have the address {address}", service.name);
                        let at = service
                            .places
                            .get(&format!("networks.{key}"))
                            .or(service.place.as_ref());
                        let failure = Failure::caused(Fault::ProjectFile, what, &error).at(at);
                        match error.hint() {
                            Some(hint) => failure.hint(hint),
                            None => failure,
                        }
                    })?;
                }
            }
        }
    }
    Ok(())
}

fn bind_all(hall: &Hall, gateways: &[Subnet]) -> Result<Vec<dns::Listener>, dns::server::BindError> {
    let mut listeners = Vec::new();
    for gateway in gateways {
        listeners.extend(dns::bind(hall, gateway.address())?);
    }
    Ok(listeners)
}

/// The address that published ports lead to: IPv4 if there is one.
fn first_address(record: &Record) -> Option<IpAddr> {
    let all = || record.endpoints.values().flat_map(Endpoint::addresses);
    all().find(IpAddr::is_ipv4).or_else(|| all().next())
}

fn read_host_file(path: &str) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}
