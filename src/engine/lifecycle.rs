//! The small verbs on containers that exist: stop, start, restart, kill, pause, remove.

use super::{Engine, Outcome, Voice, down::combine, execute::Execution, keeper::Keeper, observe, up};
use crate::{
    api::wire::{Failure, Fault, Level, Select},
    model::{Condition, Project, Service, ServiceName},
    plan::{Action, Observed, Phase, Plan, StepId, Takedown, takedown},
};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

/// Stops containers in reverse order of dependency.
///
/// # Errors
/// What could not be stopped.
pub async fn stop(engine: &Arc<Engine>, select: Select, voice: &Voice) -> Outcome {
    let _turn = engine.take_turn("stop", voice).await?;
    stop_all(engine, &select, voice).await
}

pub(super) async fn stop_all(engine: &Arc<Engine>, select: &Select, voice: &Voice) -> Outcome {
    let project = engine.project()?;
    check(engine, project.as_deref(), &select.services)?;
    let observed = Observed {
        containers: observe::containers(engine),
        ..Observed::default()
    };
    let plan = takedown(
        &Takedown {
            project: project.as_deref(),
            services: select.services.clone(),
            orphans: true,
            remove: false,
            why: "stop",
        },
        &observed,
    );
    up::tell(&plan, voice);
    let execution = Arc::new(Execution::for_removal(
        engine.clone(),
        project,
        select.timeout,
        false,
        voice.clone(),
    ));
    let walked = up::walk(&execution, &plan, 0).await;
    let mut failures: Vec<_> = walked.failed.into_iter().map(|(_, failure)| failure).collect();
    if walked.stopped {
        failures.push(Failure::new(Fault::Interrupted, "interrupted"));
    }
    combine(failures)
}

/// Starts stopped containers in order of dependency.
///
/// # Errors
/// What could not be started; what was started stays.
pub async fn start(engine: &Arc<Engine>, select: Select, voice: &Voice) -> Outcome {
    let _turn = engine.take_turn("start", voice).await?;
    start_all(engine, &select, voice).await
}

pub(super) async fn start_all(engine: &Arc<Engine>, select: &Select, voice: &Voice) -> Outcome {
    let Some(project) = engine.project()? else {
        return Err(Failure::new(
            Fault::Asked,
            format!("project `{}` has no containers", engine.name),
        )
        .hint("`banyan up` makes and starts them"));
    };
    check(engine, Some(&project), &select.services)?;
    engine.define_networks(&project)?;
    let plan = start_plan(engine, &project, &select.services)?;
    up::tell(&plan, voice);
    let execution = Arc::new(Execution::for_removal(
        engine.clone(),
        Some(project.clone()),
        select.timeout,
        false,
        voice.clone(),
    ));
    execution.reserve_ports(&plan)?;
    let walked = up::walk(&execution, &plan, 0).await;
    match up::outcome(&walked, &plan, &project) {
        Some(failure) => Err(failure),
        None => Ok(()),
    }
}

/// Networks, then containers in order of dependency, each when the ones it depends on have reached their condition.
fn start_plan(engine: &Engine, project: &Project, services: &BTreeSet<ServiceName>) -> Outcome<Plan> {
    let order = up::start_order(project)?;
    let mut plan = Plan::default();
    let mut networks: BTreeMap<&str, StepId> = BTreeMap::new();
    let mut started: BTreeMap<&ServiceName, Vec<StepId>> = BTreeMap::new();
    let up = engine.networks.up_keys();
    for name in &order {
        let Some(service) = project.services.get(name) else {
            continue;
        };
        if !services.is_empty() && !services.contains(name) {
            continue;
        }
        let mut after: Vec<StepId> = Vec::new();
        for key in service.networks.keys().filter(|key| !up.contains(*key)) {
            let step = networks.entry(key).or_insert_with(|| {
                plan.add(Action::Network { key: key.clone() }, "containers are on it", &[])
            });
            after.push(*step);
        }
        for (dependency, edge) in &service.depends_on {
            let steps = started.get(dependency).cloned().unwrap_or_default();
            if edge.condition == Condition::ServiceStarted || steps.is_empty() {
                after.extend(steps);
                continue;
            }
            let action = Action::Await {
                service: dependency.clone(),
                condition: edge.condition,
                required: edge.required,
            };
            after.push(plan.add(action, format!("`{name}` depends on it"), &steps));
        }
        for keeper in engine.keepers() {
            if keeper.slot().service == *name && !keeper.is_one_off() && !keeper.is_up() {
                let step = plan.add(Action::Start { slot: keeper.slot() }, "start", &after);
                started.entry(name).or_default().push(step);
            }
        }
    }
    Ok(plan)
}

/// Stops and starts; services that depend on one with `restart: true`, directly or over others, are restarted too.
///
/// # Errors
/// What could not be stopped or started.
pub async fn restart(engine: &Arc<Engine>, select: Select, voice: &Voice) -> Outcome {
    let _turn = engine.take_turn("restart", voice).await?;
    let mut select = select;
    if let (false, Some(project)) = (select.no_deps || select.services.is_empty(), engine.project()?) {
        loop {
            let asks = |service: &&Service| {
                !select.services.contains(&service.name)
                    && service
                        .depends_on
                        .iter()
                        .any(|(name, edge)| edge.restart && select.services.contains(name))
            };
            let found: Vec<_> = project.services.values().filter(asks).collect();
            if found.is_empty() {
                break;
            }
            select
                .services
                .extend(found.into_iter().map(|service| service.name.clone()));
        }
    }
    stop_all(engine, &select, voice).await?;
    start_all(engine, &select, voice).await
}

/// Sends a signal to what runs.
///
/// # Errors
/// A signal that does not exist, or the kernel's refusal.
pub async fn kill(engine: &Arc<Engine>, select: Select, signal: &str, voice: &Voice) -> Outcome {
    let _turn = engine.take_turn("kill", voice).await?;
    let Some(number) = banyan_runtime::sys::host::signal_number(signal) else {
        return Err(Failure::new(Fault::Asked, format!("`{signal}` is not a signal"))
            .hint("for example SIGTERM, HUP or 9"));
    };
    let mut failures = Vec::new();
    for keeper in running(engine, &select)? {
        if let Err(failure) = keeper.kill(engine, number).await {
            failures.push(failure);
        }
    }
    combine(failures)
}

/// Freezes or thaws.
///
/// # Errors
/// The kernel's refusal.
pub async fn pause(engine: &Arc<Engine>, select: Select, voice: &Voice, freeze: bool) -> Outcome {
    let _turn = engine
        .take_turn(if freeze { "pause" } else { "unpause" }, voice)
        .await?;
    let mut failures = Vec::new();
    for keeper in running(engine, &select)? {
        if let Err(failure) = keeper.freeze(engine, freeze).await {
            failures.push(failure);
        }
    }
    combine(failures)
}

/// Removes stopped containers.
///
/// # Errors
/// What could not be removed.
pub async fn remove(
    engine: &Arc<Engine>,
    select: Select,
    stop: bool,
    volumes: bool,
    voice: &Voice,
) -> Outcome {
    let _turn = engine.take_turn("rm", voice).await?;
    if stop {
        stop_all(engine, &select, voice).await?;
    }
    let project = engine.project()?;
    check(engine, project.as_deref(), &select.services)?;
    let execution = Arc::new(Execution::for_removal(
        engine.clone(),
        project,
        select.timeout,
        volumes,
        voice.clone(),
    ));
    let stopped: Vec<Arc<Keeper>> = chosen(engine, &select)
        .into_iter()
        .filter(|keeper| !keeper.is_up())
        .collect();
    if stopped.is_empty() {
        voice.note(None, Level::Notice, "no stopped containers");
        return Ok(());
    }
    let mut failures = Vec::new();
    for keeper in stopped {
        if let Err(failure) = execution.take_away(&keeper.id()).await {
            failures.push(failure);
        }
    }
    combine(failures)
}

fn running(engine: &Engine, select: &Select) -> Outcome<Vec<Arc<Keeper>>> {
    check(engine, engine.project()?.as_deref(), &select.services)?;
    let up = |keeper: &Arc<Keeper>| matches!(keeper.phase(), Phase::Running | Phase::Paused);
    Ok(chosen(engine, select).into_iter().filter(up).collect())
}

pub(super) fn chosen(engine: &Engine, select: &Select) -> Vec<Arc<Keeper>> {
    let wanted =
        |keeper: &Arc<Keeper>| select.services.is_empty() || select.services.contains(&keeper.slot().service);
    engine.keepers().into_iter().filter(wanted).collect()
}

pub(super) fn check(engine: &Engine, project: Option<&Project>, services: &BTreeSet<ServiceName>) -> Outcome {
    let known = |name: &ServiceName| {
        project.is_some_and(|p| p.services.contains_key(name) || p.disabled.contains_key(name))
            || engine
                .keepers()
                .iter()
                .any(|keeper| keeper.slot().service == *name)
    };
    match services.iter().find(|name| !known(name)) {
        None => Ok(()),
        Some(unknown) => Err(Failure::new(Fault::Asked, format!("no such service: {unknown}"))),
    }
}
