//! Desired × observed → plan. Pure.
//!
//! A container is recreated exactly when `docker compose` would: the service's hash, its image, or one of its networks
//! changed, a service whose namespace it shares is recreated, or the user forces it. A container that stays is restarted
//! when a service it depends on with `restart: true` is recreated: stopped before that one's old container, started when
//! the new one has reached its condition.

use super::step::{Action, ImageState, Observed, ObservedContainer, Phase, Plan, Slot, StepId};
use crate::model::{Condition, Namespace, NetworkMode, Project, Service, ServiceName};
use std::collections::{BTreeMap, BTreeSet};

/// Whether existing containers are made anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Recreate {
    /// When something changed.
    #[default]
    Diverged,
    /// Always (`--force-recreate`).
    Force,
    /// Never (`--no-recreate`).
    Never,
}

/// What the user wants.
#[derive(Debug, Clone)]
pub struct Desired<'a> {
    /// The project.
    pub project: &'a Project,
    /// Services asked for, dependencies included unless `--no-deps`; in any order.
    pub services: BTreeSet<ServiceName>,
    /// Services named on the command line; `Force` concerns these, and their dependencies with
    /// `--always-recreate-deps`.
    pub named: BTreeSet<ServiceName>,
    /// Whether existing containers are made anew.
    pub recreate: Recreate,
    /// The same for dependencies that were not named.
    pub recreate_dependencies: Recreate,
    /// Create only.
    pub no_start: bool,
    /// Remove containers of services that are not in the project.
    pub remove_orphans: bool,
    /// Hash of each service.
    pub hashes: &'a BTreeMap<ServiceName, String>,
    /// Hash of each network's definition.
    pub network_hashes: &'a BTreeMap<String, String>,
    /// Networks that exist already, by key.
    pub networks_up: &'a BTreeSet<String>,
}

/// Compares what is wanted with what was seen. `order` lists the services so that dependencies come first.
pub fn reconcile(desired: &Desired<'_>, observed: &Observed, order: &[ServiceName]) -> Plan {
    Reconciler {
        desired,
        observed,
        plan: Plan::default(),
        networks: BTreeMap::new(),
        volumes: BTreeMap::new(),
        started: BTreeMap::new(),
        awaited: BTreeMap::new(),
        renewed: BTreeSet::new(),
        created: BTreeMap::new(),
        stopping: BTreeMap::new(),
    }
    .run(order)
}

struct Reconciler<'a> {
    desired: &'a Desired<'a>,
    observed: &'a Observed,
    plan: Plan,
    networks: BTreeMap<String, Option<StepId>>,
    volumes: BTreeMap<String, Option<StepId>>,
    /// The steps after which a service counts as started.
    started: BTreeMap<ServiceName, Vec<StepId>>,
    awaited: BTreeMap<(ServiceName, Condition), StepId>,
    /// Services of which some container is made anew.
    renewed: BTreeSet<ServiceName>,
    /// The steps that make containers of a service anew, and those that stop the old ones.
    created: BTreeMap<ServiceName, Vec<StepId>>,
    stopping: BTreeMap<ServiceName, Vec<StepId>>,
}

/// The steps that make a service's networks.
#[derive(Debug, Default)]
struct NetworkSteps {
    before_create: Vec<StepId>,
    before_start: Vec<StepId>,
}

impl Reconciler<'_> {
    fn run(mut self, order: &[ServiceName]) -> Plan {
        for name in order {
            if !self.desired.services.contains(name) {
                continue;
            }
            if let Some(service) = self.desired.project.services.get(name) {
                self.service(service);
            }
        }
        self.orphans();
        self.drop_idle_waits();
        self.plan
    }

    /// A wait that nothing depends on has no purpose: its dependents turned out to be up to date.
    fn drop_idle_waits(&mut self) {
        self.plan.graph.retain_nodes(|graph, id| {
            !matches!(graph[id].action, Action::Await { .. }) || graph.neighbors(id).next().is_some()
        });
    }

    fn service(&mut self, service: &Service) {
        let image = self.image(service);
        let mut needs: Vec<StepId> = image.into_iter().collect();
        needs.extend(self.volumes_of(service));
        let networks = self.networks_of(service);
        needs.extend(networks.before_create);
        let mut conditions = networks.before_start;
        if !self.desired.no_start {
            conditions.extend(self.conditions_of(service));
        }
        let parent_step = self
            .parent_of(service)
            .and_then(|parent| self.started.get(&parent).cloned());
        let mut started = Vec::new();
        for number in 1..=service.replicas {
            let slot = Slot {
                service: service.name.clone(),
                number,
            };
            let mut create_after = needs.clone();
            create_after.extend(parent_step.iter().flatten());
            started.extend(self.replica(service, &slot, &create_after, &conditions));
        }
        self.scale_down(service);
        self.started.insert(service.name.clone(), started);
    }

    /// Plans one replica; the step after which it runs, if any is needed.
    fn replica(
        &mut self,
        service: &Service,
        slot: &Slot,
        create_after: &[StepId],
        conditions: &[StepId],
    ) -> Option<StepId> {
        let found: Vec<&ObservedContainer> = self
            .observed
            .containers
            .iter()
            .filter(|container| container.slot == *slot)
            .collect();
        let Some(existing) = found.first().copied() else {
            self.renewed.insert(service.name.clone());
            let create = self.plan.add(
                Action::Create {
                    slot: slot.clone(),
                    keep_if_image: None,
                },
                "it does not exist",
                create_after,
            );
            return self.start(slot, "it is new", &[create], conditions);
        };
        // More than one container in a place can only be the remains of an interrupted recreation.
        for stale in &found[1..] {
            self.take_away(stale, "an interrupted run left it behind", &[]);
        }
        match self.divergence(service, existing) {
            Some((why, keep_if_image)) => {
                self.renewed.insert(service.name.clone());
                let create = self.plan.add(
                    Action::Create {
                        slot: slot.clone(),
                        keep_if_image,
                    },
                    why,
                    create_after,
                );
                let mut before_stop = vec![create];
                before_stop.extend(conditions);
                let (stopped, removed) = self.end(existing, "a new one takes its place", &before_stop);
                self.created.entry(service.name.clone()).or_default().push(create);
                self.stopping
                    .entry(service.name.clone())
                    .or_default()
                    .extend(stopped);
                self.start(slot, "it was recreated", &[create, removed], conditions)
            }
            None => match existing.phase {
                Phase::Running | Phase::Paused if self.restart_cause(service).is_some() => {
                    self.restart(service, existing, conditions)
                }
                Phase::Running | Phase::Paused => {
                    self.plan.kept.push((slot.clone(), "up to date".into()));
                    None
                }
                Phase::Exited(0) if self.is_finished_job(service) => {
                    self.plan
                        .kept
                        .push((slot.clone(), "done, and nothing changed".into()));
                    None
                }
                Phase::Created => {
                    self.start(slot, "it was created but not started", create_after, conditions)
                }
                Phase::Exited(status) => {
                    let why = format!("it is stopped (status {status})");
                    self.start(slot, &why, create_after, conditions)
                }
            },
        }
    }

    /// A one-shot service (others wait for its completion) that succeeded is not run again.
    fn is_finished_job(&self, service: &Service) -> bool {
        self.desired.project.services.values().any(|other| {
            other
                .depends_on
                .get(&service.name)
                .is_some_and(|edge| edge.condition == Condition::ServiceCompletedSuccessfully)
        })
    }

    fn start(&mut self, slot: &Slot, why: &str, after: &[StepId], conditions: &[StepId]) -> Option<StepId> {
        if self.desired.no_start {
            return None;
        }
        let mut all = after.to_vec();
        all.extend(conditions);
        Some(self.plan.add(Action::Start { slot: slot.clone() }, why, &all))
    }

    /// The recreated service because of which one that stays is restarted.
    fn restart_cause(&self, service: &Service) -> Option<ServiceName> {
        if self.desired.no_start {
            return None;
        }
        let cause = service
            .depends_on
            .iter()
            .find(|(name, edge)| edge.restart && self.created.contains_key(*name));
        cause.map(|(name, _)| name.clone())
    }

    fn restart(
        &mut self,
        service: &Service,
        existing: &ObservedContainer,
        conditions: &[StepId],
    ) -> Option<StepId> {
        let cause = self.restart_cause(service)?;
        let why = format!("`{cause}`, which it depends on, is recreated");
        let created = self.created.get(&cause).cloned().unwrap_or_default();
        let (slot, id) = (existing.slot.clone(), existing.id.clone());
        let stop = self.plan.add(Action::Stop { slot, id }, why.clone(), &created);
        for other in self.stopping.get(&cause).into_iter().flatten() {
            self.plan.graph.update_edge(stop, *other, ());
        }
        // Those that depend on this one in turn are restarted with it.
        self.created
            .entry(service.name.clone())
            .or_default()
            .extend(created);
        self.stopping.entry(service.name.clone()).or_default().push(stop);
        self.start(&existing.slot, &why, &[stop], conditions)
    }

    /// Stop (when it runs) and remove; the last step.
    fn take_away(&mut self, container: &ObservedContainer, why: &str, after: &[StepId]) -> StepId {
        self.end(container, why, after).1
    }

    /// Stop (when it runs) and remove: both steps.
    fn end(
        &mut self,
        container: &ObservedContainer,
        why: &str,
        after: &[StepId],
    ) -> (Option<StepId>, StepId) {
        let (slot, id) = (container.slot.clone(), container.id.clone());
        let stop = match container.phase {
            Phase::Running | Phase::Paused => {
                let action = Action::Stop {
                    slot: slot.clone(),
                    id: id.clone(),
                };
                Some(self.plan.add(action, why, after))
            }
            Phase::Created | Phase::Exited(_) => None,
        };
        let before: Vec<StepId> = stop.map_or_else(|| after.to_vec(), |stop| vec![stop]);
        (stop, self.plan.add(Action::Remove { slot, id }, why, &before))
    }

    /// Why an existing container must be made anew. The second part: the container and image with which it would
    /// still be kept, when only a freshly obtained image can tell.
    fn divergence(
        &self,
        service: &Service,
        found: &ObservedContainer,
    ) -> Option<(String, Option<(String, String)>)> {
        let policy = if self.desired.named.is_empty() || self.desired.named.contains(&service.name) {
            self.desired.recreate
        } else {
            self.desired.recreate_dependencies
        };
        match policy {
            Recreate::Never => return None,
            Recreate::Force => return Some(("recreation is forced".into(), None)),
            Recreate::Diverged => {}
        }
        if self.desired.hashes.get(&service.name) != Some(&found.config_hash) {
            return Some(("its configuration changed".into(), None));
        }
        let networks: BTreeMap<_, _> = service
            .networks
            .keys()
            .filter_map(|key| Some((key.clone(), self.desired.network_hashes.get(key)?.clone())))
            .collect();
        if networks != found.networks {
            return Some(("its networks changed".into(), None));
        }
        if let Some(parent) = self
            .parent_of(service)
            .filter(|parent| self.renewed.contains(parent))
        {
            return Some((
                format!("`{parent}`, whose namespace it shares, is recreated"),
                None,
            ));
        }
        match self.observed.images.get(&service.name) {
            Some(ImageState::Present(image)) if *image != found.image => {
                Some((format!("image `{}` changed", service.image.name), None))
            }
            Some(ImageState::Obtain { why, .. }) => Some((
                format!("its image may change: {why}"),
                Some((found.id.clone(), found.image.clone())),
            )),
            Some(ImageState::Present(_)) | None => None,
        }
    }

    /// The service whose namespace this one lives in.
    fn parent_of(&self, service: &Service) -> Option<ServiceName> {
        if let NetworkMode::Service(parent) = &service.network_mode {
            return Some(parent.clone());
        }
        [&service.pid, &service.ipc]
            .into_iter()
            .find_map(|namespace| match namespace {
                Namespace::Service(parent) => Some(parent.clone()),
                _ => None,
            })
    }

    fn image(&mut self, service: &Service) -> Option<StepId> {
        match self.observed.images.get(&service.name) {
            Some(ImageState::Obtain { why, .. }) => Some(self.plan.add(
                Action::Image {
                    service: service.name.clone(),
                },
                why.clone(),
                &[],
            )),
            Some(ImageState::Present(_)) | None => None,
        }
    }

    /// A container is connected when it starts, so it can be made while its network is: unless the network is shared
    /// with other projects (its address comes from there) or its files name the host's address on it.
    fn networks_of(&mut self, service: &Service) -> NetworkSteps {
        let names_host = service
            .extra_hosts
            .iter()
            .any(|(_, address)| address == "host-gateway");
        let mut steps = NetworkSteps::default();
        for key in service.networks.keys() {
            let step = match self.networks.get(key) {
                Some(step) => *step,
                None => {
                    let step = (!self.desired.networks_up.contains(key)).then(|| {
                        let why = format!("`{}` is connected to it", service.name);
                        self.plan.add(Action::Network { key: key.clone() }, why, &[])
                    });
                    self.networks.insert(key.clone(), step);
                    step
                }
            };
            let external = self
                .desired
                .project
                .networks
                .get(key)
                .is_some_and(|network| network.external);
            if external || names_host {
                steps.before_create.extend(step);
            } else {
                steps.before_start.extend(step);
            }
        }
        steps
    }

    fn volumes_of(&mut self, service: &Service) -> Vec<StepId> {
        use crate::model::MountKind;
        let mut steps = Vec::new();
        for mount in &service.mounts {
            let MountKind::Volume { source, .. } = &mount.kind else {
                continue;
            };
            let Some(volume) = self.desired.project.volumes.get(source) else {
                continue;
            };
            let step = match self.volumes.get(source) {
                Some(step) => *step,
                None => {
                    let missing = !volume.external && !self.observed.volumes.contains(&volume.name);
                    let step = missing.then(|| {
                        let why = format!("`{}` mounts it", service.name);
                        self.plan.add(Action::Volume { key: source.clone() }, why, &[])
                    });
                    self.volumes.insert(source.clone(), step);
                    step
                }
            };
            steps.extend(step);
        }
        steps
    }

    fn conditions_of(&mut self, service: &Service) -> Vec<StepId> {
        let mut steps = Vec::new();
        for (name, edge) in &service.depends_on {
            if !self.desired.services.contains(name) {
                continue;
            }
            let after = self.started.get(name).cloned().unwrap_or_default();
            if edge.condition == Condition::ServiceStarted {
                steps.extend(after);
                continue;
            }
            let key = (name.clone(), edge.condition);
            let step = match self.awaited.get(&key) {
                Some(step) => *step,
                None => {
                    let action = Action::Await {
                        service: name.clone(),
                        condition: edge.condition,
                        required: edge.required,
                    };
                    let why = format!("`{}` depends on it", service.name);
                    let step = self.plan.add(action, why, &after);
                    self.awaited.insert(key, step);
                    step
                }
            };
            steps.push(step);
        }
        steps
    }

    fn scale_down(&mut self, service: &Service) {
        let extra: Vec<_> = self
            .observed
            .containers
            .iter()
            .filter(|found| found.slot.service == service.name && found.slot.number > service.replicas)
            .cloned()
            .collect();
        for container in extra {
            let why = format!("only {} wanted", service.replicas);
            self.take_away(&container, &why, &[]);
        }
    }

    fn orphans(&mut self) {
        if !self.desired.remove_orphans {
            return;
        }
        let project = self.desired.project;
        let orphans: Vec<_> = self
            .observed
            .containers
            .iter()
            .filter(|found| {
                !project.services.contains_key(&found.slot.service)
                    && !project.disabled.contains_key(&found.slot.service)
            })
            .cloned()
            .collect();
        for container in orphans {
            self.take_away(&container, "its service is not in the project", &[]);
        }
    }
}

#[cfg(test)]
mod tests;
