//! The project's networks as the engine holds them: the hall, its bridges, the way out, who has which address, names,
//! and published ports.
//!
//! Addresses and published ports belong to places ([`Slot`]), so a recreated container keeps them. They are remembered
//! with each container's record, and taken over from there by an engine that comes back.

use super::{
    Outcome, Voice,
    record::{Endpoint, Record},
    shared::{self, Shared},
};
use crate::{
    api::wire::{Failure, Fault, Level, NetworkInfo, Published},
    dns::{self, Client, Forwarder, Zones},
    model::{Network, NetworkMode, Project, ProjectName, PublishedPort, Service, hash_of},
    network::{
        address::{NetworkPlan, Pool, plan_networks},
        interface,
        publish::{self, Reservation},
        shared::MemberContainer,
    },
    plan::Slot,
    state::Roots,
};
use banyan_runtime::{
    container::{Container, Created},
    network::{
        Bridge, EMBEDDED_DNS, EmbeddedDns, Endpoint as Interface, FORWARDED_DNS_PORT, Hall, HallSockets,
        LinkName, MacAddress, Reach, Subnet, Uplink, UplinkError, host_subnets, resolv_conf::ResolvConf,
        sweep,
    },
};
use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, SocketAddr},
    os::fd::{AsFd, OwnedFd},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard},
};
use tokio::sync::watch;

/// What the engine holds of the project's networks.
#[derive(Debug)]
pub struct Networks {
    /// Where the host-wide record of uplinks is; the same for all roots of this machine.
    uplinks: PathBuf,
    /// Which uplink is ours, for an engine after a crash.
    way_out: PathBuf,
    zones: Arc<Zones>,
    forwarder: Arc<Forwarder>,
    /// Networks shared with other projects.
    pub shared: Arc<Shared>,
    /// Turns true when the name servers should end.
    closing: watch::Sender<bool>,
    /// Held while the kernel makes the hall, the way out or a bridge; taken before `state`, which is never held over
    /// such work, so that containers are made meanwhile.
    making: Mutex<()>,
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

/// Addresses that networks should stay clear of: what the host itself uses must be reached by leaving the hall. Without
/// the host's list, it is merely not avoided.
pub fn used_by_host() -> Vec<Subnet> {
    let servers = ResolvConf::parse(&read_host_file("/etc/resolv.conf")).servers;
    servers
        .into_iter()
        .filter_map(|ip| Subnet::new(ip, if ip.is_ipv4() { 32 } else { 128 }).ok())
        .chain(host_subnets().unwrap_or_default())
        .collect()
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

impl Networks {
    /// Of a project; nothing exists yet.
    pub fn new(roots: &Roots, project: &ProjectName) -> Self {
        let zones = Arc::new(Zones::new());
        Self {
            uplinks: uplinks().to_owned(),
            way_out: roots.project_run(project).join("uplink"),
            shared: Arc::new(Shared::new(roots, project.as_str(), zones.clone())),
            zones,
            forwarder: Arc::new(Forwarder::new("/etc/resolv.conf")),
            closing: watch::channel(false).0,
            making: Mutex::new(()),
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
        let plans = plan_networks(&project.networks, &used_by_host(), &existing).map_err(|error| {
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
        check_moved(&state, &plans, project)?;
        for (key, plan) in &plans {
            if project.networks.get(key).is_some_and(|network| network.external) {
                // Its addresses are given out for all projects.
                continue;
            }
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
        let mut leased = BTreeMap::new();
        for key in service.networks.keys() {
            if project.networks.get(key).is_some_and(|network| network.external) {
                leased.insert(key, self.shared.lease(project, service, slot, key)?);
            }
        }
        let mut state = super::lock(&self.state);
        for (key, attachment) in &service.networks {
            let mut none = [None, None];
            let mut addresses = leased.remove(key).unwrap_or_default();
            let pools = match state.pools.get_mut(key) {
                Some(pools) => pools,
                None if !addresses.is_empty() => &mut none,
                None => continue,
            };
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
        self.shared.release(Some(slot));
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
        let own = super::lock(&self.state)
            .uplink
            .as_ref()
            .map(|uplink| uplink.host.into());
        own.or_else(|| Some(self.shared.any()?.uplink.as_ref()?.host.into()))
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
        self.serve_names(listeners);
        Ok(())
    }

    /// Answers queries until the networks are closed.
    fn serve_names(&self, listeners: Vec<dns::Listener>) {
        if listeners.is_empty() {
            return;
        }
        let (zones, forwarder) = (self.zones.clone(), self.forwarder.clone());
        let closing = self.closing.subscribe();
        tokio::spawn(async move {
            if let Err(error) = dns::serve(listeners, zones, forwarder, closing).await {
                tracing::error!(%error, "a name server ended");
            }
        });
    }

    fn ensure_blocking(&self, key: &str, voice: &Voice) -> Outcome<Vec<dns::Listener>> {
        let making = super::lock(&self.making);
        let (network, plan, exists) = {
            let mut state = super::lock(&self.state);
            let network = state.defined.get(key).cloned();
            let (Some(network), Some(plan)) = (network, state.plans.get(key).cloned()) else {
                return Ok(Vec::new());
            };
            if network.external {
                return self.join(&mut state, key, BTreeMap::new(), Some(voice));
            }
            (network, plan, state.up.contains_key(key))
        };
        let hall = self.hall(&making)?;
        let outside = match plan.reach {
            Reach::Outside => Some(self.uplink(&hall, &making, voice)?),
            _ => None,
        };
        let mtu = plan.mtu.or(outside).unwrap_or(1500);
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
        if exists {
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
        super::lock(&self.state)
            .up
            .insert(key.to_owned(), hash_of(&network));
        Ok(listeners)
    }

    /// The way out, made when there is none; its MTU.
    fn uplink(&self, hall: &Hall, _making: &MutexGuard<'_, ()>, voice: &Voice) -> Outcome<u32> {
        if let Some(uplink) = &super::lock(&self.state).uplink {
            return Ok(uplink.mtu);
        }
        self.remember(hall)?;
        let uplink = Uplink::ensure(hall, &self.uplinks).map_err(|error| {
            host_failure(
                "cannot make the way out of the project's networks".into(),
                &error,
                None,
            )
        })?;
        for warning in &uplink.warnings {
            voice.note(None, Level::Warning, warning.clone());
        }
        let mtu = uplink.mtu;
        super::lock(&self.state).uplink = Some(uplink);
        Ok(mtu)
    }

    /// Joins a network shared with other projects; `ours` are containers of ours that are on it already.
    fn join(
        &self,
        state: &mut State,
        key: &str,
        ours: BTreeMap<String, MemberContainer>,
        voice: Option<&Voice>,
    ) -> Outcome<Vec<dns::Listener>> {
        let (Some(network), Some(plan)) = (state.defined.get(key), state.plans.get(key)) else {
            return Ok(Vec::new());
        };
        let runtime = tokio::runtime::Handle::current();
        let listeners = self
            .shared
            .join(key, (network, plan), ours, (&self.uplinks, &runtime), voice)?;
        let hash = hash_of(network);
        if let (None, Some(joined)) = (&state.sockets, self.shared.joined(key)) {
            // Without a hall of our own, this is where services' own name servers may be.
            self.forwarder.ask_from(&joined.sockets);
        }
        state.up.insert(key.to_owned(), hash);
        Ok(listeners)
    }

    /// The hall, made when there is none.
    fn hall(&self, _making: &MutexGuard<'_, ()>) -> Outcome<Arc<Hall>> {
        if let Some(hall) = &super::lock(&self.state).hall {
            return Ok(hall.clone());
        }
        let what = "cannot make the project's network namespace";
        let hall = Hall::create().map_err(|error| host_failure(what.into(), &error, error.hint()))?;
        let sockets =
            HallSockets::start(&hall).map_err(|error| host_failure(what.into(), &error, error.hint()))?;
        let (hall, sockets) = (Arc::new(hall), Arc::new(sockets));
        self.forwarder.ask_from(&sockets);
        let mut state = super::lock(&self.state);
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
            let _making = super::lock(&this.making);
            let mut state = super::lock(&this.state);
            state.up.remove(&key);
            if this.shared.joined(&key).is_some() {
                this.shared.leave(&key, &this.uplinks);
                return Ok(());
            }
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

    /// Descriptors that a container's shim holds open: the hall (made, when it is to be connected there and none
    /// exists yet), and those of the shared networks it is on. May wait for the kernel.
    ///
    /// # Errors
    /// When the hall cannot be made, or one cannot be duplicated.
    pub fn halls_to_hold(&self, record: &Record) -> Outcome<Vec<OwnedFd>> {
        let needs_own = {
            let state = super::lock(&self.state);
            let own = |key| !state.defined.get(key).is_some_and(|network: &Network| network.external);
            state.hall.is_none() && record.endpoints.keys().any(own)
        };
        let own = match needs_own {
            true => Some(self.hall(&super::lock(&self.making))?),
            false => super::lock(&self.state).hall.clone(),
        };
        let theirs = record
            .endpoints
            .keys()
            .filter_map(|key| Some(self.shared.joined(key)?.hall.clone()));
        let held = own
            .into_iter()
            .chain(theirs)
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
        let (shared, entering, pid) = (self.shared.clone(), record.clone(), created.pid());
        if entering.endpoints.keys().any(|key| shared.joined(key).is_some()) {
            let entered = tokio::task::spawn_blocking(move || shared.enter(&entering, pid)).await;
            entered.unwrap_or_else(|error| {
                Err(Failure::caused(
                    Fault::Internal,
                    "joining a network failed",
                    &error,
                ))
            })?;
        }
        self.publish(record)
    }

    fn connect(&self, record: &Record, namespace: &OwnedFd) -> Outcome {
        let failed = |error: &(dyn std::error::Error + 'static), hint: Option<String>| {
            host_failure(format!("cannot connect `{}`", record.name), error, hint)
        };
        let (halls, dns) = {
            let state = super::lock(&self.state);
            let theirs = || Some(self.shared.any()?.uplink.as_ref()?.mtu);
            let own = state.uplink.as_ref().map(|uplink| uplink.mtu);
            let mtu = own.or_else(theirs).unwrap_or(1500);
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
            let dns = |shared: bool| {
                made.iter().find_map(|(key, _)| {
                    let joined = self.shared.joined(key);
                    if joined.is_some() != shared {
                        return None;
                    }
                    let server = match state.plans.get(key)?.v4.as_ref()?.gateway {
                        IpAddr::V4(gateway) => gateway,
                        IpAddr::V6(_) => return None,
                    };
                    Some(EmbeddedDns {
                        server,
                        port: joined.map_or(FORWARDED_DNS_PORT, |joined| joined.port),
                        client: record.endpoints.get(key)?.ipv4?,
                    })
                })
            };
            // Our own networks are not concerned by what becomes of a shared one.
            let dns = dns(false).or_else(|| dns(true));
            (self.by_hall(&state, made), dns)
        };
        for (hall, endpoints) in halls {
            hall.connect(namespace.as_fd(), &endpoints, dns)
                .map_err(|error| failed(&error, error.hint()))?;
        }
        Ok(())
    }

    /// A container's interfaces, sorted by the halls they lead to. Without any there is still a loopback to bring up.
    fn by_hall(&self, state: &State, made: Vec<(String, Interface)>) -> Vec<(Arc<Hall>, Vec<Interface>)> {
        let mut halls: Vec<(Arc<Hall>, Vec<Interface>)> = Vec::new();
        if made.is_empty() {
            halls.extend(state.hall.iter().map(|hall| (hall.clone(), Vec::new())));
        }
        for (key, endpoint) in made {
            let theirs = self.shared.joined(&key).map(|joined| joined.hall.clone());
            let Some(hall) = theirs.or_else(|| state.hall.clone()) else {
                continue;
            };
            match halls.iter_mut().find(|(known, _)| Arc::ptr_eq(known, &hall)) {
                Some((_, endpoints)) => endpoints.push(endpoint),
                None => halls.push((hall, vec![endpoint])),
            }
        }
        halls
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

    /// The address that published ports lead to, and who makes sockets that reach it: on a network of our own rather than
    /// a shared one, IPv4 rather than IPv6.
    fn target(&self, state: &State, record: &Record) -> Option<(IpAddr, Arc<HallSockets>)> {
        let mut found: Vec<(bool, bool, IpAddr, Arc<HallSockets>)> = Vec::new();
        for (key, endpoint) in &record.endpoints {
            let joined = self.shared.joined(key);
            let sockets = match &joined {
                Some(joined) => joined.sockets.clone(),
                None => match state.sockets.clone() {
                    Some(sockets) => sockets,
                    None => continue,
                },
            };
            for address in endpoint.addresses() {
                found.push((joined.is_some(), address.is_ipv6(), address, sockets.clone()));
            }
        }
        let best = found
            .into_iter()
            .min_by_key(|(shared, six, ..)| (*shared, *six))?;
        Some((best.2, best.3))
    }

    /// Points a place's ports at its container.
    fn publish(&self, record: &Record) -> Outcome<Vec<Published>> {
        if record.service.ports.is_empty() {
            return Ok(Vec::new());
        }
        self.reserve(&record.slot, &record.service)?;
        let mut state = super::lock(&self.state);
        let Some((address, sockets)) = self.target(&state, record) else {
            // It shares the host's network: its ports are the host's own.
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
        if record
            .endpoints
            .keys()
            .any(|key| self.shared.joined(key).is_some())
        {
            let (shared, id) = (self.shared.clone(), record.id.clone());
            // Others see by themselves that it is gone; nobody waits for the list.
            tokio::task::spawn_blocking(move || shared.exit(&id));
        }
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

    /// Takes the halls over from what containers' shims have `kept`, after this engine's predecessor died: bridges and
    /// interfaces stand; names and ports of the containers that run (`running`, with their processes) are served again
    /// at the same addresses. `on_it` are all containers that were made for its networks, at their barrier too.
    ///
    /// # Errors
    /// When a hall cannot be opened, or a port was taken meanwhile.
    pub async fn take_over(
        self: &Arc<Self>,
        kept: Vec<PathBuf>,
        on_it: Vec<Record>,
        running: &[(Record, i32)],
    ) -> Outcome {
        let (this, there) = (self.clone(), running.to_vec());
        let taken = tokio::task::spawn_blocking(move || this.take_over_blocking(&kept, &on_it, &there)).await;
        let listeners = taken.unwrap_or_else(|error| {
            Err(Failure::caused(
                Fault::Internal,
                "taking over the network failed",
                &error,
            ))
        })?;
        self.serve_names(listeners);
        for (record, _) in running {
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

    fn take_over_blocking(
        &self,
        kept: &[PathBuf],
        on_it: &[Record],
        running: &[(Record, i32)],
    ) -> Outcome<Vec<dns::Listener>> {
        let what = || "cannot take over the project's network".to_owned();
        let mut state = super::lock(&self.state);
        let mut listeners = self.join_again(&mut state, on_it, running)?;
        let label = |path: &Path| std::fs::read_link(path).unwrap_or_default().display().to_string();
        let Some(path) = kept.iter().find(|path| {
            let label = label(path);
            label.starts_with("net:") && !self.shared.is_hall(&label)
        }) else {
            return Ok(listeners);
        };
        let file = fs_err::File::open(path).map_err(|error| Failure::caused(Fault::Host, what(), &error))?;
        let hall = Hall::from_fd(OwnedFd::from(file.into_parts().0))
            .map_err(|error| host_failure(what(), &error, error.hint()))?;
        let sockets =
            HallSockets::start(&hall).map_err(|error| host_failure(what(), &error, error.hint()))?;
        for record in on_it {
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
            if network.external {
                continue;
            }
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
            self.remember(&hall)?;
            let uplink =
                Uplink::ensure(&hall, &self.uplinks).map_err(|error| host_failure(what(), &error, None))?;
            state.uplink = Some(uplink);
        }
        let sockets = Arc::new(sockets);
        self.forwarder.ask_from(&sockets);
        (state.hall, state.sockets) = (Some(Arc::new(hall)), Some(sockets));
        Ok(listeners)
    }

    /// Joins the shared networks that containers are on, or will be when they start.
    fn join_again(
        &self,
        state: &mut State,
        on_it: &[Record],
        running: &[(Record, i32)],
    ) -> Outcome<Vec<dns::Listener>> {
        let mut listeners = Vec::new();
        let on: BTreeSet<&String> = on_it.iter().flat_map(|record| record.endpoints.keys()).collect();
        for key in on {
            if !state.defined.get(key).is_some_and(|network| network.external) {
                continue;
            }
            let there = running.iter().filter_map(|(record, pid)| {
                Some((record.id.clone(), shared::entries(record, *pid).remove(key)?))
            });
            listeners.extend(self.join(state, key, there.collect(), None)?);
        }
        Ok(listeners)
    }

    /// The networks that exist, for `network ls` and `network inspect`; `records` are the containers that run.
    pub fn show(&self, records: &[Record]) -> Vec<NetworkInfo> {
        let state = super::lock(&self.state);
        let shown = state.up.keys().filter_map(|key| {
            let (network, plan) = (state.defined.get(key)?, state.plans.get(key)?);
            let on = |record: &&Record| record.endpoints.contains_key(key);
            let container = |record: &Record| {
                // The process does not matter here.
                let own = i32::try_from(std::process::id()).ok()?;
                let entry = shared::entries(record, own).remove(key)?;
                Some((record.id.clone(), (entry.name, entry.mac, entry.addresses)))
            };
            Some(NetworkInfo {
                key: key.clone(),
                network: network.clone(),
                created: records
                    .iter()
                    .filter(on)
                    .map(|record| record.created)
                    .min()
                    .unwrap_or_default(),
                subnets: plan
                    .subnets()
                    .map(|part| (part.subnet.to_string(), part.gateway))
                    .collect(),
                containers: records.iter().filter(on).filter_map(container).collect(),
            })
        });
        shown.collect()
    }

    /// Nothing of the project runs: name servers, ports and the way out go, and the hall with them.
    pub async fn close(self: &Arc<Self>) {
        self.closing.send_replace(true);
        let this = self.clone();
        let closed = tokio::task::spawn_blocking(move || {
            let _making = super::lock(&this.making);
            let mut state = super::lock(&this.state);
            state.published.clear();
            state.reserved.clear();
            state.sockets = None;
            this.shared.leave_all(&this.uplinks);
            drop(state.hall.take());
            state.uplink = None;
            for key in std::mem::take(&mut state.up).into_keys() {
                this.zones.update(|records| records.remove_network(&key));
            }
            this.remove_uplinks();
        });
        if closed.await.is_err() {
            tracing::error!("closing the project's network failed");
        }
        self.closing.send_replace(false);
    }

    /// Writes down which uplink the hall is about to have, below those of halls that died with their engines. Not
    /// synced: a reboot takes them all.
    fn remember(&self, hall: &Hall) -> Outcome {
        let mut text = std::fs::read_to_string(&self.way_out).unwrap_or_default();
        let name = Uplink::name_of(hall);
        if text.lines().any(|line| line == name.as_str()) {
            return Ok(());
        }
        text += &format!("{name}\n");
        fs_err::write(&self.way_out, text).map_err(|error| {
            host_failure(
                "cannot remember the way out of the project's networks".into(),
                &error,
                None,
            )
        })
    }

    /// Takes the ways out away: this engine's, and those of halls that died with engines that were killed.
    fn remove_uplinks(&self) {
        let Ok(text) = std::fs::read_to_string(&self.way_out) else {
            return;
        };
        let mut clean = true;
        for line in text.lines() {
            let removed = match LinkName::new(line) {
                Ok(name) => Uplink::remove_named(&name, &self.uplinks),
                Err(_) => sweep(&self.uplinks),
            };
            if let Err(errors) = removed {
                complain(&errors);
                clean = false;
            }
        }
        // What stayed is tried again by the next engine.
        if clean {
            let _ = std::fs::remove_file(&self.way_out);
        }
    }
}

fn complain(errors: &[UplinkError]) {
    for error in errors {
        tracing::error!(%error, "something of the way out stayed on the host");
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
        listeners.extend(dns::bind(hall, gateway.address(), FORWARDED_DNS_PORT)?);
    }
    Ok(listeners)
}

/// A network of the project that exists must not change its addresses only because the project joins a shared one.
fn check_moved(state: &State, plans: &BTreeMap<String, NetworkPlan>, project: &Project) -> Outcome {
    for (key, hash) in &state.up {
        let (Some(before), Some(now)) = (state.plans.get(key), plans.get(key)) else {
            continue;
        };
        let same = project
            .networks
            .get(key)
            .is_some_and(|network| hash_of(network) == *hash);
        let subnets = |plan: &NetworkPlan| plan.subnets().map(|part| part.subnet).collect::<Vec<_>>();
        if same && subnets(before) != subnets(now) {
            let what = format!("network `{key}` has addresses that an external network has too");
            return Err(
                Failure::new(Fault::Asked, what).hint("`banyan down`, then `banyan up`, gives it others")
            );
        }
    }
    Ok(())
}

fn read_host_file(path: &str) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}
