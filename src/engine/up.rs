//! `up` and `create`.
//!
//! 1. Take the turn; tell who is waited for.
//! 2. Observe: containers, images, volumes.
//! 3. [Reconcile](crate::plan::reconcile), show the plan; `--dry-run` ends here.
//! 4. Reserve every port, so that a taken one is an error before anything starts.
//! 5. Walk the plan.
//! 6. On failure undo what this run created, newest first, and report cause and clean-up separately.
//! 7. With `--wait`, hold until everything runs and is healthy.

use super::{Engine, Outcome, Voice, execute::Execution, images, observe};
use crate::{
    api::wire::{Failure, Fault, ImagesOnly, Level, Message, StepState, Up},
    graph::Graph,
    model::{Condition, MountKind, Project, ServiceName, hash_of},
    plan::{Action, Desired, Observed, Plan, Recreate, StepId, reconcile},
    scheduler::{self, Walked},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// Converges to a project.
///
/// # Errors
/// The first failure, with what was undone.
pub async fn up(engine: &Arc<Engine>, wanted: Up, voice: &Voice) -> Outcome {
    let _turn = engine
        .take_turn(if wanted.no_start { "create" } else { "up" }, voice)
        .await?;
    let project = Arc::new(wanted.project.clone());
    let services = chosen(&project, &wanted)?;
    super::lock(&engine.environment).extend(wanted.environment.clone());
    super::networks::translate::check(&project, &services)?;
    if let Some(which) = wanted.images_only {
        return get_images(engine, &project, &wanted, &services, which, voice).await;
    }
    let project = {
        let mut project = (*project).clone();
        engine.networks.shared.resolve(&mut project, &services)?;
        Arc::new(project)
    };
    let settled = settle(engine, wanted.dry_run);
    let observed = observed(engine, &project, &wanted, &services, voice).await?;
    let plan = plan(engine, &project, &wanted, &services, &observed)?;
    tell(&plan, voice);
    warn_of_orphans(&project, &wanted, &observed, voice);
    if wanted.dry_run {
        return Ok(());
    }
    engine.apply_project(project.clone())?;
    engine.define_networks(&project)?;
    let execution = Arc::new(Execution::new(
        engine.clone(),
        project.clone(),
        &wanted,
        voice.clone(),
    ));
    execution.reserve_ports(&plan)?;
    if let Ok(Some(text)) = settled.await {
        voice.note(None, Level::Warning, text);
    }
    let walked = walk(&execution, &plan, wanted.parallel).await;
    if let Some(failure) = outcome(&walked, &plan, &project) {
        return Err(undo(&execution, failure).await);
    }
    if wanted.wait && !wanted.no_start {
        wait_for_all(engine, &project, &services, wanted.wait_timeout, voice).await?;
    }
    Ok(())
}

/// Has systemd make the project's scope, where it is the owner of cgroups, while we look at what exists; gives what the
/// user should know of it.
fn settle(engine: &Arc<Engine>, dry_run: bool) -> tokio::task::JoinHandle<Option<String>> {
    let engine = engine.clone();
    tokio::task::spawn_blocking(move || match dry_run {
        true => None,
        false => engine.launcher.settle().map(str::to_owned),
    })
}

/// `build` and `pull`: images only, all at the same time.
async fn get_images(
    engine: &Arc<Engine>,
    project: &Arc<Project>,
    wanted: &Up,
    services: &BTreeSet<ServiceName>,
    which: ImagesOnly,
    voice: &Voice,
) -> Outcome {
    let mut plan = Plan::default();
    for service in services.iter().filter_map(|name| project.services.get(name)) {
        if service.image.build.is_some() == (which == ImagesOnly::Build) {
            plan.add(
                Action::Image {
                    service: service.name.clone(),
                },
                "asked for",
                &[],
            );
        }
    }
    tell(&plan, voice);
    if wanted.dry_run {
        return Ok(());
    }
    let execution = Arc::new(Execution::new(
        engine.clone(),
        project.clone(),
        wanted,
        voice.clone(),
    ));
    let walked = walk(&execution, &plan, wanted.parallel).await;
    outcome(&walked, &plan, project).map_or(Ok(()), Err)
}

/// Services asked for, with what they depend on.
fn chosen(project: &Project, wanted: &Up) -> Outcome<BTreeSet<ServiceName>> {
    if wanted.services.is_empty() {
        return Ok(project.services.keys().cloned().collect());
    }
    let mut chosen = BTreeSet::new();
    let mut open: Vec<ServiceName> = wanted.services.iter().cloned().collect();
    while let Some(name) = open.pop() {
        let Some(service) = project.services.get(&name) else {
            let known: Vec<_> = project.services.keys().map(ServiceName::as_str).collect();
            return Err(
                Failure::new(Fault::Asked, format!("there is no service `{name}`"))
                    .hint(format!("the project has {}", known.join(", "))),
            );
        };
        if chosen.insert(name) && !wanted.no_deps {
            open.extend(
                service
                    .depends_on
                    .keys()
                    .filter(|n| project.services.contains_key(*n))
                    .cloned(),
            );
        }
    }
    Ok(chosen)
}

async fn observed(
    engine: &Arc<Engine>,
    project: &Arc<Project>,
    wanted: &Up,
    services: &BTreeSet<ServiceName>,
    voice: &Voice,
) -> Outcome<Observed> {
    let volumes: Vec<String> = engine
        .volumes
        .list()
        .map_err(|error| Failure::caused(Fault::Host, "cannot list volumes", &error))?
        .into_iter()
        .map(|volume| volume.name)
        .collect();
    check_externals(project, services, &volumes)?;
    let images = images::states(engine, project, wanted, services, voice).await?;
    Ok(Observed {
        containers: observe::containers(engine),
        images,
        volumes,
    })
}

/// External volumes must be there already.
fn check_externals(project: &Project, services: &BTreeSet<ServiceName>, exist: &[String]) -> Outcome {
    for service in services.iter().filter_map(|name| project.services.get(name)) {
        for (index, mount) in service.mounts.iter().enumerate() {
            let MountKind::Volume { source, .. } = &mount.kind else {
                continue;
            };
            let Some(volume) = project.volumes.get(source) else {
                continue;
            };
            if volume.external && !exist.contains(&volume.name) {
                let what = format!(
                    "external volume `{}` of service `{}` does not exist",
                    volume.name, service.name
                );
                return Err(Failure::new(Fault::Asked, what)
                    .at(service
                        .places
                        .get(&format!("volumes[{index}]"))
                        .or(service.place.as_ref()))
                    .hint(format!("make it with `banyan volume create {}`", volume.name)));
            }
        }
    }
    Ok(())
}

fn plan(
    engine: &Engine,
    project: &Project,
    wanted: &Up,
    services: &BTreeSet<ServiceName>,
    observed: &Observed,
) -> Outcome<Plan> {
    let order = start_order(project)?;
    let hashes: BTreeMap<_, _> = project
        .services
        .values()
        .map(|s| (s.name.clone(), s.config_hash()))
        .collect();
    let network_hashes: BTreeMap<_, _> = project
        .networks
        .iter()
        .map(|(key, network)| (key.clone(), hash_of(network)))
        .collect();
    let recreate = match (wanted.force_recreate, wanted.no_recreate) {
        (true, _) => Recreate::Force,
        (_, true) => Recreate::Never,
        _ => Recreate::Diverged,
    };
    let desired = Desired {
        project,
        services: services.clone(),
        named: wanted.services.clone(),
        recreate,
        recreate_dependencies: match recreate {
            Recreate::Force if !wanted.always_recreate_deps => Recreate::Diverged,
            recreate => recreate,
        },
        no_start: wanted.no_start,
        remove_orphans: wanted.remove_orphans,
        hashes: &hashes,
        network_hashes: &network_hashes,
        networks_up: &engine.networks.up(&network_hashes),
    };
    Ok(reconcile(&desired, observed, &order))
}

/// The services in an order in which they can be started.
///
/// # Errors
/// When they wait for each other in a circle.
pub fn start_order(project: &Project) -> Outcome<Vec<ServiceName>> {
    let graph = Graph::of(project);
    let order = graph.order().map_err(|cycles| {
        let circles: Vec<_> = cycles.iter().map(|circle| circle.join(" → ")).collect();
        Failure::new(
            Fault::ProjectFile,
            format!("services wait for each other: {}", circles.join("; ")),
        )
    })?;
    Ok(order
        .into_iter()
        .filter_map(|name| project.services.get(name))
        .map(|service| service.name.clone())
        .collect())
}

/// Says the plan.
pub fn tell(plan: &Plan, voice: &Voice) {
    let order = petgraph::algo::toposort(&plan.graph, None).unwrap_or_default();
    let steps = order
        .into_iter()
        .map(|id| (number(id), plan.graph[id].clone()))
        .collect();
    voice.say(Message::Plan {
        steps,
        kept: plan.kept.clone(),
    });
}

/// A step's number on the wire.
pub fn number(id: StepId) -> u32 {
    // Plans have far fewer than 2^32 steps: the graph's own index type is u32.
    u32::try_from(id.index()).unwrap_or(u32::MAX)
}

fn warn_of_orphans(project: &Project, wanted: &Up, observed: &Observed, voice: &Voice) {
    let orphans: BTreeSet<_> = observed
        .containers
        .iter()
        .filter(|c| {
            !project.services.contains_key(&c.slot.service) && !project.disabled.contains_key(&c.slot.service)
        })
        .map(|c| c.name.as_str())
        .collect();
    if !orphans.is_empty() && !wanted.remove_orphans {
        let list = orphans.into_iter().collect::<Vec<_>>().join(", ");
        let text = format!(
            "containers of services that are not in the project: {list}; `--remove-orphans` removes them"
        );
        voice.note(None, Level::Warning, text);
    }
}

/// Walks a plan, telling each step's beginning and end.
pub async fn walk(execution: &Arc<Execution>, plan: &Plan, limit: usize) -> Walked<Box<Failure>> {
    let stop = execution.voice.interrupted();
    scheduler::walk(&plan.graph, limit, stop, |id, halt| {
        let (execution, action) = (execution.clone(), plan.graph[id].action.clone());
        execution.explain(&action, &plan.graph[id].why);
        async move {
            execution.voice.say(Message::Step {
                step: number(id),
                state: StepState::Begun,
            });
            let done = execution.perform(&action, halt).await;
            let state = match &done {
                Ok(None) => StepState::Done,
                Ok(Some(skipped)) => StepState::Skipped(skipped.clone()),
                Err(_) => StepState::Failed,
            };
            execution.voice.say(Message::Step {
                step: number(id),
                state,
            });
            done.map(|_| ())
        }
    })
    .await
}

/// The failure of a walk: the first one that is a cause and not the echo of another.
pub fn outcome(walked: &Walked<Box<Failure>>, plan: &Plan, project: &Project) -> Option<Box<Failure>> {
    let cause = walked
        .failed
        .iter()
        .find(|(_, f)| f.fault != Fault::Interrupted)
        .or(walked.failed.first());
    if let Some((id, failure)) = cause {
        let mut failure = failure.clone();
        if failure.at.is_none() {
            failure.at = service_of(&plan.graph[*id].action)
                .and_then(|name| project.services.get(name)?.place.clone());
        }
        return Some(failure);
    }
    walked
        .stopped
        .then(|| Failure::new(Fault::Interrupted, "interrupted"))
}

fn service_of(action: &Action) -> Option<&ServiceName> {
    match action {
        Action::Image { service } | Action::Await { service, .. } => Some(service),
        Action::Create { slot, .. }
        | Action::Start { slot }
        | Action::Stop { slot, .. }
        | Action::Remove { slot, .. } => Some(&slot.service),
        Action::Network { .. } | Action::Volume { .. } => None,
    }
}

async fn undo(execution: &Arc<Execution>, mut failure: Box<Failure>) -> Box<Failure> {
    failure.cleanup = execution.undo().await;
    failure
}

/// Holds until every service runs (or has ended well) and is healthy where it has a check.
async fn wait_for_all(
    engine: &Arc<Engine>,
    project: &Project,
    services: &BTreeSet<ServiceName>,
    timeout: Option<std::time::Duration>,
    voice: &Voice,
) -> Outcome {
    let deadline = timeout.map(|timeout| tokio::time::Instant::now() + timeout);
    for name in services {
        let Some(service) = project.services.get(name) else {
            continue;
        };
        for keeper in engine
            .keepers()
            .into_iter()
            .filter(|k| k.slot().service == *name && !k.is_one_off())
        {
            let condition = if keeper.has_health() {
                Condition::ServiceHealthy
            } else {
                Condition::ServiceStarted
            };
            let reached = keeper.reach(condition, voice.interrupted());
            let reached = match deadline {
                None => reached.await,
                Some(deadline) => tokio::time::timeout_at(deadline, reached)
                    .await
                    .unwrap_or_else(|_| {
                        let what = format!("service `{name}` was not ready in time");
                        Err(Failure::new(Fault::Asked, what).details(keeper.explain()))
                    }),
            };
            reached.map_err(|failure| failure.at(service.place.as_ref()))?;
        }
    }
    Ok(())
}
