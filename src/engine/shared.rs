//! Networks shared with other projects, as this engine is on them: joined and left, whom it brings, whom it meets.
//!
//! What is on disk and how halls are found is in [`crate::network::shared`]. Each engine answers the queries of its own
//! containers, at a port of its own; what other projects have on the network it reads from their files, whenever the
//! network's version has changed, before it answers.

use super::{Outcome, Voice, capture::readable, lock, record::Record};
use crate::{
    api::wire::{Failure, Fault, Level},
    dns::{self, Zones},
    model::{Network, NetworkMode, Project, Service, ServiceName, hash_of},
    network::{
        address::{NetworkPlan, SubnetPlan},
        shared::{Lease, Member, MemberContainer, SharedError, SharedNetworks},
    },
    plan::Slot,
    state::Roots,
};
use banyan_runtime::{
    container::Identified,
    network::{Bridge, Hall, HallSockets, MacAddress, Reach, Subnet, Uplink},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
    os::fd::AsRawFd,
    path::Path,
    sync::{Arc, Mutex, Weak},
};
use tokio::{runtime::Handle, task::AbortHandle};

/// The shared networks of one engine.
#[derive(Debug)]
pub struct Shared {
    store: SharedNetworks,
    project: String,
    zones: Arc<Zones>,
    /// By the project's key. Written by [`Shared::join`] and [`Shared::leave`].
    joined: Mutex<BTreeMap<String, Arc<Joined>>>,
}

/// A shared network that this engine is on.
#[derive(Debug)]
pub struct Joined {
    /// Its name on this machine.
    name: String,
    /// Its hall.
    pub hall: Arc<Hall>,
    /// Makes sockets in it.
    pub sockets: Arc<HallSockets>,
    /// Its way out; `None`: it has none.
    pub uplink: Option<Uplink>,
    /// Where this engine hears its containers' queries.
    pub port: u16,
    /// What `/proc` calls its hall.
    pub label: String,
    /// Our containers there. Written by [`Shared::enter`] and [`Shared::exit`].
    ours: Mutex<BTreeMap<String, MemberContainer>>,
    /// Other projects' containers there.
    others: Mutex<Others>,
}

/// What was read of other members.
#[derive(Debug, Default)]
struct Others {
    version: Option<u64>,
    /// By id: the process, and who waits for its end.
    watched: BTreeMap<String, (Identified, AbortHandle)>,
}

fn failure(what: String, error: &SharedError) -> Box<Failure> {
    let fault = match error {
        SharedError::Hall(_) | SharedError::Io { .. } | SharedError::Crowded { .. } => Fault::Host,
        SharedError::Address(_) => Fault::ProjectFile,
        _ => Fault::Asked,
    };
    let failure = Failure::caused(fault, what, error);
    match error.hint() {
        Some(hint) => failure.hint(hint),
        None => failure,
    }
}

impl Shared {
    /// Of a project; nothing is joined yet.
    pub fn new(roots: &Roots, project: &str, zones: Arc<Zones>) -> Self {
        Self {
            store: SharedNetworks::new(roots),
            project: project.to_owned(),
            zones,
            joined: Mutex::default(),
        }
    }

    /// Puts the definitions of external networks that `services` are on into the project. Those that nobody asked for
    /// and that do not exist are left out.
    ///
    /// # Errors
    /// One that is needed and does not exist, with the place where the file names it.
    pub fn resolve(&self, project: &mut Project, services: &BTreeSet<ServiceName>) -> Outcome {
        let mut missing = Vec::new();
        for (key, network) in project
            .networks
            .iter_mut()
            .filter(|(_, network)| network.external)
        {
            let error = match self.store.find(&network.name) {
                Ok(definition) => {
                    *network = definition.network;
                    continue;
                }
                Err(error) => error,
            };
            let user = services
                .iter()
                .filter_map(|name| project.services.get(name))
                .find(|service| is_on(service, key));
            if let Some(user) = user {
                let what = format!(
                    "service `{}` cannot be on the external network `{}`",
                    user.name, network.name
                );
                let place = user
                    .places
                    .get(&format!("networks.{key}"))
                    .or(user.place.as_ref());
                return Err(failure(what, &error).at(place));
            }
            missing.push(key.clone());
        }
        for key in missing {
            project.networks.remove(&key);
        }
        Ok(())
    }

    /// The addresses of a place on the network `key`; given out if it has none yet.
    ///
    /// # Errors
    /// A network that is full or gone, a fixed address that is taken or outside.
    pub fn lease(
        &self,
        project: &Project,
        service: &Service,
        slot: &Slot,
        key: &str,
    ) -> Outcome<Vec<IpAddr>> {
        let Some(network) = project.networks.get(key) else {
            return Ok(Vec::new());
        };
        let fixed_of = |service: &Service| {
            let attachment = service.networks.get(key);
            let v4 = attachment.and_then(|a| a.ipv4).map(IpAddr::from);
            let v6 = attachment.and_then(|a| a.ipv6).map(IpAddr::from);
            v4.into_iter().chain(v6).collect::<Vec<_>>()
        };
        let others = project
            .services
            .values()
            .filter(|other| other.name != service.name);
        let aside: Vec<IpAddr> = others.flat_map(fixed_of).collect();
        let place = slot.to_string();
        let wanted = Lease {
            project: &self.project,
            place: &place,
            fixed: &fixed_of(service),
            aside: &aside,
        };
        let given = self
            .store
            .lock(&network.name)
            .and_then(|mut locked| locked.lease(&wanted));
        given.map_err(|error| {
            let at = service
                .places
                .get(&format!("networks.{key}"))
                .or(service.place.as_ref());
            failure(format!("`{slot}` cannot have an address"), &error).at(at)
        })
    }

    /// Gives a place's addresses back, or with `None` all of the project's.
    pub fn release(&self, slot: Option<&Slot>) {
        for name in self.store.joined_by(&self.project) {
            let place = slot.map(ToString::to_string);
            let released = self
                .store
                .lock(&name)
                .and_then(|mut locked| locked.release(&self.project, place.as_deref()));
            if let Err(error) = released {
                tracing::warn!(%error, "addresses of a shared network were not given back");
            }
        }
    }

    /// A network that was joined.
    pub fn joined(&self, key: &str) -> Option<Arc<Joined>> {
        lock(&self.joined).get(key).cloned()
    }

    /// Any network that was joined.
    pub fn any(&self) -> Option<Arc<Joined>> {
        lock(&self.joined).values().next().cloned()
    }

    /// Whether what `/proc` calls `label` is the hall of a network that was joined.
    pub fn is_hall(&self, label: &str) -> bool {
        lock(&self.joined).values().any(|joined| joined.label == label)
    }

    /// Joins the network `key`: opens its hall or makes it, sees to its way out and its bridge, says that we are there,
    /// and gives the listeners for names. `ours` are containers that are on it already. Blocks.
    ///
    /// # Errors
    /// When the network is gone, or the kernel refuses.
    pub fn join(
        self: &Arc<Self>,
        key: &str,
        (network, plan): (&Network, &NetworkPlan),
        ours: BTreeMap<String, MemberContainer>,
        (uplinks, runtime): (&Path, &Handle),
        voice: Option<&Voice>,
    ) -> Outcome<Vec<dns::Listener>> {
        if self.joined(key).is_some() {
            return Ok(Vec::new());
        }
        let what = || format!("cannot join network `{}`", network.name);
        let failed = |error: SharedError| failure(what(), &error);
        let host = |error: &(dyn std::error::Error + 'static)| Failure::caused(Fault::Host, what(), error);
        let locked = self.store.lock(&network.name).map_err(failed)?;
        if hash_of(&locked.definition().network) != hash_of(network) {
            return Err(Failure::new(Fault::Asked, what())
                .hint("it was removed and made anew meanwhile: run the command again"));
        }
        let hall = match locked.hall().map_err(failed)? {
            Some(hall) => hall,
            None => {
                let hall = Hall::create().map_err(|error| failed(error.into()))?;
                locked.remember_hall(&hall).map_err(failed)?;
                hall
            }
        };
        let hall = Arc::new(hall);
        let uplink = match plan.reach {
            Reach::Internal => None,
            Reach::Outside => Some(Uplink::ensure(&hall, uplinks).map_err(|error| host(&error))?),
        };
        if let Some(voice) = voice {
            for warning in uplink.iter().flat_map(|uplink| &uplink.warnings) {
                voice.note(None, Level::Warning, warning.clone());
            }
        }
        let gateways: Vec<Subnet> = plan.subnets().map(SubnetPlan::gateway_interface).collect();
        let bridge = Bridge {
            name: plan.bridge.clone(),
            gateways: gateways.clone(),
            mtu: plan
                .mtu
                .or(uplink.as_ref().map(|uplink| uplink.mtu))
                .unwrap_or(1500),
            reach: plan.reach,
        };
        hall.add_bridge(&bridge).map_err(|error| failed(error.into()))?;
        let port = locked.name_port(&self.project).map_err(failed)?;
        let mut listeners = Vec::new();
        for gateway in &gateways {
            listeners.extend(dns::bind(&hall, gateway.address(), port).map_err(|error| host(&error))?);
        }
        let joined = Arc::new(Joined {
            name: network.name.clone(),
            sockets: Arc::new(HallSockets::start(&hall).map_err(|error| failed(error.into()))?),
            uplink,
            port,
            label: hall.label().map_err(|error| host(&error))?,
            hall,
            ours: Mutex::new(ours),
            others: Mutex::default(),
        });
        locked.write_member(&self.member(&joined)?).map_err(failed)?;
        self.zones.update(|records| {
            records.set_network(
                key,
                dns::Network {
                    name: network.name.clone(),
                    subnets: plan.subnets().map(|part| part.subnet).collect(),
                    internal: network.internal,
                },
            );
        });
        lock(&self.joined).insert(key.to_owned(), joined);
        self.look_before_answering(runtime);
        Ok(listeners)
    }

    /// What others read of us.
    fn member(&self, joined: &Joined) -> Outcome<Member> {
        // Process ids fit the kernel's own type.
        let own = i32::try_from(std::process::id()).unwrap_or(i32::MAX);
        let engine = Identified::of(own)
            .map_err(|error| Failure::caused(Fault::Host, "cannot name this engine to others", &error))?;
        Ok(Member {
            project: self.project.clone(),
            engine,
            hall: joined.hall.fd().as_raw_fd(),
            port: joined.port,
            containers: lock(&joined.ours).clone(),
        })
    }

    /// Says what we have there now.
    fn tell(&self, joined: &Arc<Joined>) -> Outcome {
        let failed = |error: SharedError| failure(format!("cannot use network `{}`", joined.name), &error);
        // Read while the network is in hand: whoever writes last writes the latest.
        let locked = self.store.lock(&joined.name).map_err(failed)?;
        // Left while we waited: then there is nothing to say any more, and saying it would look as if we were back.
        if !lock(&self.joined).values().any(|now| Arc::ptr_eq(now, joined)) {
            return Ok(());
        }
        locked.write_member(&self.member(joined)?).map_err(failed)
    }

    /// Tells others about a container of ours. Blocks.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn enter(&self, record: &Record, pid: i32) -> Outcome {
        for (key, container) in entries(record, pid) {
            if let Some(joined) = self.joined(&key) {
                lock(&joined.ours).insert(record.id.clone(), container);
                self.tell(&joined)?;
            }
        }
        Ok(())
    }

    /// A container of ours has ended. Others notice by themselves; this takes it from the list. Blocks.
    pub fn exit(&self, id: &str) {
        let all: Vec<_> = lock(&self.joined).values().cloned().collect();
        for joined in all {
            if lock(&joined.ours).remove(id).is_some()
                && let Err(error) = self.tell(&joined)
            {
                tracing::warn!(?error, "others were not told that a container has ended");
            }
        }
    }

    /// Leaves a network; the last one takes its way out away, and its hall goes. Blocks.
    pub fn leave(&self, key: &str, uplinks: &Path) {
        let Some(joined) = lock(&self.joined).remove(key) else {
            return;
        };
        for (_, watcher) in lock(&joined.others).watched.values() {
            watcher.abort();
        }
        self.zones.update(|records| records.remove_network(key));
        let left = self.store.lock(&joined.name).and_then(|locked| {
            let last = locked.remove_member(&self.project)?;
            if last && let Err(errors) = Uplink::remove(&joined.hall, uplinks) {
                for error in errors {
                    tracing::error!(%error, "something of the way out stayed on the host");
                }
            }
            Ok(())
        });
        if let Err(error) = left {
            tracing::error!(%error, "a shared network was not left");
        }
    }

    /// Leaves all networks, those too that a predecessor joined and that no container of ours needs any more. Blocks.
    pub fn leave_all(&self, uplinks: &Path) {
        let keys: Vec<_> = lock(&self.joined).keys().cloned().collect();
        for key in keys {
            self.leave(&key, uplinks);
        }
        for name in self.store.joined_by(&self.project) {
            let left = self
                .store
                .lock(&name)
                .and_then(|locked| locked.remove_member(&self.project));
            match left {
                // Its hall died with everybody in it; what was on the host for it is found by what is left of it.
                Ok(true) => {
                    for error in banyan_runtime::network::sweep(uplinks)
                        .err()
                        .into_iter()
                        .flatten()
                    {
                        tracing::error!(%error, "something of the way out stayed on the host");
                    }
                }
                Ok(false) => {}
                Err(error) => tracing::error!(%error, "a shared network was not left"),
            }
        }
    }

    /// From now on every query first sees what other members changed.
    fn look_before_answering(self: &Arc<Self>, runtime: &Handle) {
        let (this, runtime) = (Arc::downgrade(self), runtime.clone());
        self.zones.look_first(move || {
            if let Some(this) = this.upgrade() {
                this.look(&runtime);
            }
        });
    }

    fn look(&self, runtime: &Handle) {
        let all: Vec<_> = lock(&self.joined)
            .iter()
            .map(|(key, joined)| (key.clone(), joined.clone()))
            .collect();
        for (key, joined) in all {
            let version = self.store.version(&joined.name);
            let mut others = lock(&joined.others);
            // A change between these two lines has a version of its own, which the next query finds.
            if others.version != version {
                others.version = version;
                self.read_others(&key, &joined, &mut others, runtime);
            }
        }
    }

    fn read_others(&self, key: &str, joined: &Arc<Joined>, others: &mut Others, runtime: &Handle) {
        let mut there = BTreeMap::new();
        for member in self.store.members(&joined.name) {
            if member.project != self.project {
                there.extend(member.containers);
            }
        }
        let mut watched = BTreeMap::new();
        for (id, container) in &there {
            match others.watched.remove(id) {
                Some((process, watcher)) if process == container.process => {
                    watched.insert(id.clone(), (process, watcher));
                }
                before => {
                    if let Some((_, watcher)) = before {
                        watcher.abort();
                    }
                    // What is dead already is not listed at all.
                    let Some(end) = container.process.open() else {
                        continue;
                    };
                    let watcher = runtime.spawn(forget_at_end(
                        (Arc::downgrade(joined), self.zones.clone()),
                        (key.to_owned(), id.clone()),
                        container.process,
                        end,
                    ));
                    watched.insert(id.clone(), (container.process, watcher.abort_handle()));
                }
            }
        }
        let gone: Vec<String> = others.watched.keys().cloned().collect();
        for (_, watcher) in others.watched.values() {
            watcher.abort();
        }
        self.zones.update(|records| {
            for id in gone {
                records.remove(&id, key);
            }
            for (id, container) in there.iter().filter(|(id, _)| watched.contains_key(*id)) {
                records.add(dns::Endpoint {
                    container: id.clone(),
                    network: key.to_owned(),
                    addresses: container.addresses.clone(),
                    names: container.names.clone(),
                });
            }
        });
        others.watched = watched;
    }
}

/// Takes another project's container out of the names as soon as its process has ended, whether or not its engine lives
/// to say so.
async fn forget_at_end(
    (joined, zones): (Weak<Joined>, Arc<Zones>),
    (key, id): (String, String),
    process: Identified,
    end: std::os::fd::OwnedFd,
) {
    let Ok(end) = readable(end) else { return };
    // An error of the poll only means that it is over.
    let _ = end.readable().await;
    let Some(joined) = joined.upgrade() else { return };
    let others = lock(&joined.others);
    // It may have been started again meanwhile.
    if others.watched.get(&id).is_some_and(|(now, _)| *now == process) {
        zones.update(|records| records.remove(&id, &key));
    }
}

/// What others should know of a container, by network key.
pub fn entries(record: &Record, pid: i32) -> BTreeMap<String, MemberContainer> {
    // Ended already: then there is nothing to tell.
    let Ok(process) = Identified::of(pid) else {
        return BTreeMap::new();
    };
    let entry = |(key, endpoint): (&String, &super::record::Endpoint)| {
        let addresses = endpoint.addresses();
        let fixed = record
            .service
            .networks
            .get(key)
            .and_then(|attachment| attachment.mac_address.clone());
        let mac = fixed.or_else(|| addresses.first().map(|ip| MacAddress::for_ip(*ip).to_string()));
        let container = MemberContainer {
            name: record.name.clone(),
            process,
            mac: mac.unwrap_or_default(),
            addresses,
            names: endpoint.names.clone(),
        };
        (key.clone(), container)
    };
    record.endpoints.iter().map(entry).collect()
}

fn is_on(service: &Service, key: &str) -> bool {
    service.network_mode == NetworkMode::Networks && service.networks.contains_key(key)
}
