//! The way down: stop and remove in reverse order. Pure.

use super::step::{Action, Observed, Phase, Plan, StepId};
use crate::model::{Project, ServiceName};
use std::collections::{BTreeMap, BTreeSet};

/// What is to be taken down.
#[derive(Debug, Clone)]
pub struct Takedown<'a> {
    /// The project, for the order; `None` when its file is gone.
    pub project: Option<&'a Project>,
    /// Only these services; empty: all.
    pub services: BTreeSet<ServiceName>,
    /// Also containers of services that are not in the project.
    pub orphans: bool,
    /// Remove them, not only stop them.
    pub remove: bool,
    /// Why, for the plan's text.
    pub why: &'a str,
}

/// Plans stopping (and removing): a service stops after everything that depends on it has stopped.
pub fn takedown(wanted: &Takedown<'_>, observed: &Observed) -> Plan {
    let mut plan = Plan::default();
    let known = |name: &ServiceName| {
        wanted
            .project
            .is_none_or(|p| p.services.contains_key(name) || p.disabled.contains_key(name))
    };
    let chosen = |name: &ServiceName| {
        (wanted.services.is_empty() || wanted.services.contains(name)) && (known(name) || wanted.orphans)
    };
    let mut stops: BTreeMap<ServiceName, Vec<StepId>> = BTreeMap::new();
    for container in observed
        .containers
        .iter()
        .filter(|found| chosen(&found.slot.service))
    {
        let (slot, id) = (container.slot.clone(), container.id.clone());
        let mut last = Vec::new();
        if matches!(container.phase, Phase::Running | Phase::Paused) {
            let stop = plan.add(
                Action::Stop {
                    slot: slot.clone(),
                    id: id.clone(),
                },
                wanted.why,
                &[],
            );
            stops.entry(slot.service.clone()).or_default().push(stop);
            last.push(stop);
        }
        if wanted.remove {
            plan.add(Action::Remove { slot, id }, wanted.why, &last);
        }
    }
    let Some(project) = wanted.project else {
        return plan;
    };
    for service in project.services.values().chain(project.disabled.values()) {
        for dependency in service.depends_on.keys() {
            let (Some(dependents), Some(dependencies)) = (stops.get(&service.name), stops.get(dependency))
            else {
                continue;
            };
            for first in dependents {
                for then in dependencies {
                    plan.graph.update_edge(*first, *then, ());
                }
            }
        }
    }
    plan
}
