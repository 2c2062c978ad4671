//! Who has which address: given to places ([`Slot`]), so that a recreated container keeps its own.

use super::{Networks, State};
use crate::{
    api::wire::{Failure, Fault},
    engine::{
        Outcome, lock,
        record::{Endpoint, Record},
    },
    model::{NetworkMode, Project, Service, hash_of},
    network::address::NetworkPlan,
    plan::Slot,
};
use std::{collections::BTreeMap, net::IpAddr};

impl Networks {
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
        let mut state = lock(&self.state);
        for key in service.networks.keys() {
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
            let names = names_of(project, service, slot, key);
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

    /// Claims the addresses of containers that exist already for their places, before any are given out.
    pub fn hold_addresses(&self, records: &[Record]) {
        let mut state = lock(&self.state);
        for record in records {
            for (key, endpoint) in &record.endpoints {
                for pool in state.pools.get_mut(key).into_iter().flatten().flatten() {
                    for address in endpoint.addresses() {
                        // An address of the other family, or of a subnet that was given up, is not this pool's.
                        let _ = pool.claim(address, &record.slot.to_string());
                    }
                }
            }
        }
    }

    /// Gives a place's addresses and ports back.
    pub fn release(&self, slot: &Slot) {
        self.shared.release(Some(slot));
        for pool in lock(&self.state).pools.values_mut().flatten().flatten() {
            pool.release(&slot.to_string());
        }
        // Dropping a published port closes it.
        self.close_ports(slot);
    }
}

/// The names of a place's container on one network: service, container, aliases.
pub fn names_of(project: &Project, service: &Service, slot: &Slot, key: &str) -> Vec<String> {
    let own = format!("{}-{}-{}", project.name, slot.service, slot.number);
    let mut names = vec![service.name.to_string()];
    names.push(service.container_name.clone().unwrap_or(own));
    let attachment = service.networks.get(key);
    names.extend(
        attachment
            .into_iter()
            .flat_map(|attachment| attachment.aliases.iter().cloned()),
    );
    names.dedup();
    names
}

/// Fixed addresses are claimed before any is given out.
pub(super) fn claim_fixed(state: &mut State, project: &Project) -> Outcome {
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

/// A network of the project that exists must not change its addresses only because the project joins a shared one.
pub(super) fn check_moved(
    state: &State,
    plans: &BTreeMap<String, NetworkPlan>,
    project: &Project,
) -> Outcome {
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
