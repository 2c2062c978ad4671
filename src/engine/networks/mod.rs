//! The project's networks as the engine holds them: the hall, its bridges, the way out, who has which address, names,
//! and published ports.
//!
//! Addresses and published ports belong to places ([`Slot`]), so a recreated container keeps them. They are remembered
//! with each container's record, and taken over from there by an engine that comes back.
//!
//! 1. Here: networks are defined, and made when somebody needs them.
//! 2. [`addresses`] gives them out; [`ports`] are bound for the places that want them.
//! 3. [`attach`] connects a container at its barrier; [`way_out`] is the uplink, and the end of everything.
//! 4. [`takeover`] finds all of it again after a crash.

mod addresses;
mod attach;
mod ports;
mod takeover;
pub mod translate;
mod way_out;

use super::{
    Outcome, Voice,
    record::{Endpoint, Record},
    shared::{self, Shared},
};
use crate::{
    api::wire::{Failure, Fault, NetworkInfo},
    dns::{self, Forwarder, Zones},
    model::{Network, Project, ProjectName, PublishedPort, Service, hash_of},
    network::{
        address::{NetworkPlan, Pool, plan_networks},
        publish::{self, Reservation},
        shared::MemberContainer,
    },
    plan::Slot,
    state::Roots,
};
pub use addresses::names_of;
use addresses::{check_moved, claim_fixed};
use banyan_runtime::network::{
    Bridge, EMBEDDED_DNS, FORWARDED_DNS_PORT, Forward, Hall, HallSockets, Reach, Subnet, Uplink,
    host_subnets, resolv_conf::ResolvConf,
};
use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
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
    /// Translations as last written to the kernel.
    forwarded: Mutex<Vec<Forward>>,
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
            forwarded: Mutex::new(Vec::new()),
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
}

fn bind_all(hall: &Hall, gateways: &[Subnet]) -> Result<Vec<dns::Listener>, dns::server::BindError> {
    let mut listeners = Vec::new();
    for gateway in gateways {
        listeners.extend(dns::bind(hall, gateway.address(), FORWARDED_DNS_PORT)?);
    }
    Ok(listeners)
}

fn read_host_file(path: &str) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}
