//! Ports published by translation in the kernel (`x-banyan: {publish: nat}`): which packets go where.
//!
//! The listeners of [`publish`](crate::network::publish) stay: they keep the port ours, and serve whoever does not come
//! over a link of the host's: the host itself, and other projects.

use super::{Networks, State};
use crate::{
    api::wire::{Failure, Fault},
    engine::{Outcome, lock},
    model::{Network, NetworkMode, Project, Protocol, PublishVia, Service},
    network::interface,
};
use banyan_runtime::network::{Forward, Uplink};
use std::{collections::BTreeSet, net::SocketAddr};

/// Where entry ports are looked for when the host's own number is taken: the same port of two addresses.
const SPARE: std::ops::RangeInclusive<u16> = 49_152..=u16::MAX;

impl Networks {
    /// Brings the kernel's translations up to date with the ports that are published. Waits for the kernel when something
    /// has changed.
    ///
    /// # Errors
    /// When the kernel refuses the rules; what was there before stays.
    pub(super) fn translate(&self) -> Outcome {
        // Held all the while, so that what was read last is what is written last.
        let mut written = lock(&self.forwarded);
        let (hall, uplink, wanted) = {
            let state = lock(&self.state);
            let (Some(hall), Some(uplink)) = (state.hall.clone(), state.uplink.clone()) else {
                written.clear();
                return Ok(());
            };
            let wanted = forwards(&state, &uplink);
            (hall, uplink, wanted)
        };
        if *written == wanted {
            return Ok(());
        }
        uplink.forward(&hall, &wanted).map_err(|error| {
            Failure::caused(Fault::Host, "cannot publish ports by translation", &error)
                .hint("leave out `publish: nat`: ports are relayed then")
        })?;
        *written = wanted;
        Ok(())
    }

    /// The same where ports are taken away: a rule that stays leads to an address where nobody is, and goes with the next
    /// change or the hall.
    pub(super) fn translate_or_warn(&self) {
        if let Err(failure) = self.translate() {
            tracing::warn!(
                ?failure,
                "translations of ports that are not published any more stay"
            );
        }
    }
}

fn forwards(state: &State, uplink: &Uplink) -> Vec<Forward> {
    let mut wanted = Vec::new();
    for (port, published) in state.published.values().flatten() {
        let Some(target) = published.target() else {
            continue;
        };
        if port.via != PublishVia::Nat || !uplink.can_forward(target.ip()) {
            continue;
        }
        for from in published.addresses() {
            if from.is_ipv4() == target.is_ipv4() && !from.ip().is_loopback() {
                wanted.push((published.protocol(), *from, target));
            }
        }
    }
    number(wanted)
}

/// Gives every forward an entry port of its own, the host's number wherever that is free.
fn number(mut wanted: Vec<(Protocol, SocketAddr, SocketAddr)>) -> Vec<Forward> {
    wanted.sort();
    let mut used: BTreeSet<(Protocol, bool, u16)> = wanted
        .iter()
        .map(|(protocol, from, _)| (*protocol, from.is_ipv4(), from.port()))
        .collect();
    let mut first: BTreeSet<(Protocol, bool, u16)> = BTreeSet::new();
    let mut forwards = Vec::new();
    for (protocol, from, to) in wanted {
        let own = (protocol, from.is_ipv4(), from.port());
        let entry = if first.insert(own) {
            from.port()
        } else {
            let free = SPARE
                .into_iter()
                .find(|port| used.insert((protocol, from.is_ipv4(), *port)));
            // More addresses than ports: the listener serves the rest.
            let Some(free) = free else { continue };
            free
        };
        forwards.push(Forward {
            protocol: match protocol {
                Protocol::Tcp => 6,
                Protocol::Udp => 17,
            },
            from,
            entry,
            to,
        });
    }
    forwards
}

/// Refuses `publish: nat` where answers would not come back: they take the container's default route, which must lead
/// through a network of the project.
///
/// # Errors
/// The first such service.
pub fn check(project: &Project, services: &BTreeSet<crate::model::ServiceName>) -> Outcome {
    for service in services.iter().filter_map(|name| project.services.get(name)) {
        let asks = service.ports.iter().any(|port| port.via == PublishVia::Nat);
        if asks && !leads_out(project, service) {
            let what = format!(
                "service `{}` asks for `publish: nat`, but its default route does not lead through a network of this project",
                service.name
            );
            return Err(Failure::new(Fault::ProjectFile, what)
                .at(service.place.as_ref())
                .hint("put it on a network that is neither `internal` nor `external`, or leave `publish: nat` out"));
        }
    }
    Ok(())
}

fn leads_out(project: &Project, service: &Service) -> bool {
    let outside = |key: &String| project.networks.get(key).is_some_and(|network| !network.internal);
    service.network_mode == NetworkMode::Networks
        && interface::way_out(&service.networks, outside)
            .and_then(|key| project.networks.get(key))
            .is_some_and(|network: &Network| !network.external)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(wanted: &[(Protocol, &str, &str)], expected: &[u16]) {
        let wanted = wanted
            .iter()
            .map(|(protocol, from, to)| (*protocol, from.parse().unwrap(), to.parse().unwrap()));
        let entries: Vec<u16> = number(wanted.collect()).iter().map(|f| f.entry).collect();
        assert_eq!(entries, expected);
    }

    #[test]
    fn an_entry_is_the_hosts_port_unless_two_addresses_share_it() {
        let tcp = Protocol::Tcp;
        check(&[(tcp, "0.0.0.0:80", "172.18.0.2:80")], &[80]);
        check(
            &[
                (tcp, "10.0.0.1:80", "172.18.0.2:80"),
                (tcp, "10.0.0.2:80", "172.18.0.3:80"),
                (tcp, "10.0.0.3:49152", "172.18.0.3:90"),
            ],
            &[80, 49_153, 49_152],
        );
        check(
            &[
                (tcp, "0.0.0.0:53", "172.18.0.2:53"),
                (Protocol::Udp, "0.0.0.0:53", "172.18.0.2:53"),
                (tcp, "[::]:53", "[fd62::2]:53"),
            ],
            &[53, 53, 53],
        );
    }
}
