//! Published ports: bound before anything starts, pointed at the container that runs.

use super::{Networks, State};
use crate::{
    api::wire::{Failure, Fault, Published},
    engine::{Outcome, lock, record::Record},
    model::{NetworkMode, Service},
    network::{interface, publish},
    plan::Slot,
};
use banyan_runtime::network::{HallSockets, Reach};
use std::{
    collections::BTreeSet,
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

impl Networks {
    /// The address that published ports lead to, and who makes sockets that reach it: on a network of our own rather than
    /// a shared one, IPv4 rather than IPv6, on the way out rather than aside.
    fn target(&self, state: &State, record: &Record) -> Option<(IpAddr, Arc<HallSockets>)> {
        let mut found: Vec<(bool, bool, bool, IpAddr, Arc<HallSockets>)> = Vec::new();
        let outside = |key: &String| state.plans.get(key).is_some_and(|p| p.reach == Reach::Outside);
        // Answers to translated packets take the default route.
        let way_out = interface::way_out(&record.service.networks, outside);
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
                let aside = way_out != Some(key);
                found.push((
                    joined.is_some(),
                    address.is_ipv6(),
                    aside,
                    address,
                    sockets.clone(),
                ));
            }
        }
        let best = found
            .into_iter()
            .min_by_key(|(shared, six, aside, ..)| (*shared, *six, *aside))?;
        Some((best.3, best.4))
    }

    /// Points a place's ports at its container.
    pub(super) fn publish(&self, record: &Record) -> Outcome<Vec<Published>> {
        if record.service.ports.is_empty() {
            return Ok(Vec::new());
        }
        self.reserve(&record.slot, &record.service)?;
        let mut state = lock(&self.state);
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
        drop(state);
        self.translate()?;
        Ok(list)
    }

    /// A container was stopped for good: its ports are free for others.
    pub fn close_ports(&self, slot: &Slot) {
        {
            let mut state = lock(&self.state);
            state.published.remove(slot);
            state.reserved.remove(slot);
        }
        self.translate_or_warn();
    }

    /// Binds a place's ports, unless it has them.
    ///
    /// # Errors
    /// A port that is taken, and by whom when that can be told.
    pub fn reserve(&self, slot: &Slot, service: &Service) -> Outcome {
        if matches!(service.network_mode, NetworkMode::Host | NetworkMode::None) {
            return Ok(());
        }
        let mut state = lock(&self.state);
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
        {
            let mut state = lock(&self.state);
            state.reserved.retain(|slot, _| kept.contains(slot));
            state.published.retain(|slot, _| kept.contains(slot));
        }
        self.translate_or_warn();
    }
}
