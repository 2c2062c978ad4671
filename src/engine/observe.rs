//! What exists: asked of the keepers while an engine lives, of disk and kernel when none does.

use super::{
    Engine, Outcome,
    execute::container_dir,
    keeper::{self, Keeper, Live},
    record::Record,
};
use crate::{
    api::wire::{ContainerInfo, Failure, Fault},
    model::ProjectName,
    plan::{ObservedContainer, Phase},
    state::Roots,
};
use banyan_runtime::container::{Container, ContainerDir, Found};
use std::{io, sync::Arc};

/// Containers of services, for plans.
pub fn containers(engine: &Engine) -> Vec<ObservedContainer> {
    let mut all: Vec<_> = engine
        .keepers()
        .into_iter()
        .filter(|keeper| !keeper.is_one_off())
        .map(|keeper| (keeper.record(), keeper.watch().borrow().clone()))
        .collect();
    all.sort_by(|(a, _), (b, _)| (&a.slot, a.created).cmp(&(&b.slot, b.created)));
    all.into_iter()
        .map(|(record, live)| ObservedContainer {
            networks: record
                .endpoints
                .iter()
                .map(|(key, e)| (key.clone(), e.network_hash.clone()))
                .collect(),
            id: record.id,
            name: record.name,
            slot: record.slot,
            // A container that waits for its restart counts as running: nobody needs to start it.
            phase: if live.restarting {
                Phase::Running
            } else {
                live.phase
            },
            config_hash: record.config_hash,
            image: record.image,
        })
        .collect()
}

/// Everything `ps` shows, from the keepers.
pub fn live(engine: &Engine) -> Vec<ContainerInfo> {
    let mut all: Vec<_> = engine.keepers().iter().map(|keeper| keeper.info()).collect();
    all.sort_by(|a, b| a.name.cmp(&b.name));
    all
}

/// Everything `ps` shows, without an engine.
///
/// # Errors
/// When the folder of containers cannot be read.
pub fn at_rest(roots: &Roots, project: &ProjectName) -> io::Result<Vec<ContainerInfo>> {
    let mut all = Vec::new();
    for record in Record::of_project(roots, project.as_str())? {
        let dir = ContainerDir {
            state: roots.container(&record.id),
            run: roots.container_run(&record.id),
        };
        all.push(keeper::info(record, live_of(&dir).0));
    }
    all.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(all)
}

/// How a container is, from its runtime record; what the engine knew beyond that (health) died with it.
fn live_of(dir: &ContainerDir) -> (Live, Option<Found>) {
    let found = match banyan_runtime::container::open(dir) {
        Ok(found) => found,
        Err(error) => {
            tracing::warn!(%error, "a container's record cannot be read");
            return (
                Live {
                    phase: Phase::Exited(137),
                    ..Live::created()
                },
                None,
            );
        }
    };
    let live = match &found {
        Found::Created(_) | Found::Never | Found::Abandoned { .. } => Live::created(),
        Found::Running(running) => Live {
            phase: if running.is_paused() {
                Phase::Paused
            } else {
                Phase::Running
            },
            started: Some(running.started()),
            pid: u32::try_from(running.pid()).ok(),
            ..Live::created()
        },
        Found::Stopped(exit) => Live {
            phase: Phase::Exited(u8::try_from(exit.code()).unwrap_or(u8::MAX)),
            started: exit.started,
            finished: Some(exit.at),
            oom_killed: exit.out_of_memory,
            ..Live::created()
        },
        Found::Orphaned { pid } => Live {
            phase: Phase::Running,
            pid: u32::try_from(*pid).ok(),
            ..Live::created()
        },
        Found::Lost => Live {
            phase: Phase::Exited(137),
            ..Live::created()
        },
    };
    (live, Some(found))
}

/// Takes over every container of the project, running or not; networks are taken over from the first that runs.
///
/// # Errors
/// When records cannot be read. Containers that can be taken over are, nevertheless.
pub async fn adopt(engine: &Arc<Engine>) -> Outcome {
    let records = Record::of_project(&engine.roots, engine.name.as_str())
        .map_err(|error| Failure::caused(Fault::Host, "cannot read the project's containers", &error))?;
    let project = engine.project().ok().flatten();
    if let Some(project) = &project {
        engine.networks.define(project)?;
        engine.networks.hold_addresses(&records);
    }
    let (mut running, mut halls) = (Vec::new(), Vec::new());
    for record in records {
        let dir = container_dir(engine, &record.id);
        let (live, state) = salvage(engine, &dir);
        let auto_remove = record.auto_remove;
        let keeper = Arc::new(Keeper::new(engine, record, live.clone()));
        engine.keep(keeper.clone());
        if auto_remove {
            let (engine, keeper) = (engine.clone(), keeper.clone());
            tokio::spawn(async move { super::one_off::remove_adopted(&engine, &keeper).await });
        }
        match state {
            Some(Found::Running(container)) => {
                adopted_by_us(&container);
                halls.push((container.kept(), keeper.record()));
                let started = live.started.unwrap_or_else(|| container.started());
                running.push((keeper, container, started));
            }
            Some(Found::Created(container)) => {
                // Still at its barrier: to be started from there, or it would stay there for ever.
                adopted_by_us(&container);
                halls.push((container.kept(), keeper.record()));
                keeper.hold(container);
            }
            _ => {}
        }
    }
    if project.is_some() && !halls.is_empty() {
        let (kept, on_it): (Vec<_>, Vec<_>) = halls.into_iter().unzip();
        let running: Vec<_> = running
            .iter()
            .map(|(keeper, container, _)| (keeper.record(), container.pid()))
            .collect();
        engine.networks.take_over(kept.concat(), on_it, &running).await?;
    }
    for (keeper, container, started) in running {
        keeper.watch_over(engine, container, started);
    }
    Ok(())
}

/// How a container is; one that lost its shim gets a new one, or ends if it never ran.
fn salvage(engine: &Engine, dir: &ContainerDir) -> (Live, Option<Found>) {
    let (live, found) = live_of(dir);
    match found {
        Some(Found::Orphaned { .. }) => match engine.launcher.adopt(dir) {
            // A new shim goes on with its output and records its end.
            Ok(container) => (live, Some(Found::Running(container))),
            Err(error) => {
                // As a rule it has just ended.
                tracing::warn!(%error, "a container cannot be given a new shim");
                live_of(dir)
            }
        },
        Some(Found::Abandoned { .. }) => {
            if let Err(error) = banyan_runtime::container::give_up(dir) {
                tracing::error!(%error, "a container that never ran is still there");
            }
            (live, Some(Found::Never))
        }
        found => (live, found),
    }
}

/// Tells a container's shim that we are its engine now.
fn adopted_by_us<Stage>(container: &Container<Stage>) {
    use std::os::fd::AsFd;
    let told = banyan_runtime::sys::host::own_pidfd()
        .map_err(|error| error.to_string())
        .and_then(|own| container.adopt_by(own.as_fd()).map_err(|error| error.to_string()));
    if let Err(error) = told {
        tracing::warn!(error, "a shim will not bring this engine back");
    }
}

/// Kills a container without its engine.
///
/// # Errors
/// The kernel's refusal.
pub fn kill_directly(roots: &Roots, id: &str) -> io::Result<()> {
    let dir = ContainerDir {
        state: roots.container(id),
        run: roots.container_run(id),
    };
    match banyan_runtime::container::open(&dir).map_err(io::Error::other)? {
        Found::Running(running) => running.kill().map_err(io::Error::other),
        _ => Ok(()),
    }
}
