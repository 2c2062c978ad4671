//! A container on its networks: interfaces, names, ports, from its barrier to its end.

use super::{Networks, State, host_failure};
use crate::{
    api::wire::{Failure, Fault, Published},
    dns::{self, Client},
    engine::{Outcome, lock, record::Record},
    model::{Network, NetworkMode},
    network::interface,
};
use banyan_runtime::{
    container::{Container, Created},
    network::{EmbeddedDns, Endpoint as Interface, FORWARDED_DNS_PORT, Hall, MacAddress},
};
use std::{
    net::IpAddr,
    os::fd::{AsFd, OwnedFd},
    sync::Arc,
};

impl Networks {
    /// Descriptors that a container's shim holds open: the hall (made, when it is to be connected there and none
    /// exists yet), and those of the shared networks it is on. May wait for the kernel.
    ///
    /// # Errors
    /// When the hall cannot be made, or one cannot be duplicated.
    pub fn halls_to_hold(&self, record: &Record) -> Outcome<Vec<OwnedFd>> {
        let needs_own = {
            let state = lock(&self.state);
            let own = |key| {
                !state
                    .defined
                    .get(key)
                    .is_some_and(|network: &Network| network.external)
            };
            state.hall.is_none() && record.endpoints.keys().any(own)
        };
        let own = match needs_own {
            true => Some(self.hall(&lock(&self.making))?),
            false => lock(&self.state).hall.clone(),
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
            let state = lock(&self.state);
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
    pub(super) fn tell_names(&self, record: &Record) {
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
        let state = lock(&self.state);
        for (_, published) in state.published.get(&record.slot).into_iter().flatten() {
            published.retarget(None);
        }
        drop(state);
        self.translate_or_warn();
    }
}
