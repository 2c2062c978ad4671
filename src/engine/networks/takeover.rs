//! Networks of an engine that died, taken over by the next one from what the shims kept.

use super::{Networks, State, bind_all, host_failure};
use crate::{
    api::wire::{Failure, Fault},
    dns,
    engine::{Outcome, lock, record::Record, shared},
};
use banyan_runtime::network::{Hall, HallSockets, Reach, Subnet, Uplink};
use std::{
    collections::BTreeSet,
    os::fd::OwnedFd,
    path::{Path, PathBuf},
    sync::Arc,
};

impl Networks {
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
        let mut state = lock(&self.state);
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
        // Those at their barrier may have been made before their network was: it is made, or completed, when they start.
        for (key, endpoint) in running.iter().flat_map(|(record, _)| &record.endpoints) {
            state.up.insert(key.clone(), endpoint.network_hash.clone());
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
}
