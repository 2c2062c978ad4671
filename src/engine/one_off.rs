//! `run`: a container of its own for one command of a service, beside the service's own containers.
//!
//! 1. Bring up what the service depends on, and wait until it is as the service wants it.
//! 2. Image, networks, volumes, ports; the container, with a place beyond those of replicas.
//! 3. Start it, and say so. The client then reads its output and writes its input itself.
//! 4. When it has ended and the client has seen everything, remove it if that was asked for.

use super::{Engine, Outcome, Voice, execute, execute::Execution, keeper::Keeper, up};
use crate::{
    api::wire::{Failure, Fault, Message, Run, Up},
    model::{MountKind, ServiceName},
    plan::{Action, Phase, Slot},
};
use std::{collections::BTreeSet, sync::Arc, time::Duration};

/// Places of one-off containers begin beyond this, where no replica ever is.
const FIRST_PLACE: u32 = 1_000_000;

/// Runs it; returns when the client need not be connected any more.
///
/// # Errors
/// Why it could not be started; nothing of it is left then.
pub async fn run(engine: &Arc<Engine>, wanted: Run, voice: &Voice) -> Outcome {
    // Boxed: futures of plans are large, and the engine's stacks are small.
    Box::pin(dependencies(engine, &wanted, voice)).await?;
    let (auto_remove, detach) = (wanted.auto_remove, wanted.detach);
    let keeper = {
        let _turn = engine.take_turn("run", voice).await?;
        Box::pin(start(engine, wanted, voice)).await?
    };
    voice.say(Message::Containers {
        list: vec![keeper.info()],
    });
    if !auto_remove {
        return Ok(());
    }
    if detach {
        let engine = engine.clone();
        tokio::spawn(async move { remove_at_end(&engine, &keeper, None).await });
        return Ok(());
    }
    remove_at_end(engine, &keeper, Some(voice)).await;
    Ok(())
}

/// What the service depends on, as `up` brings it up.
async fn dependencies(engine: &Arc<Engine>, wanted: &Run, voice: &Voice) -> Outcome {
    let services: BTreeSet<ServiceName> = wanted
        .service
        .depends_on
        .keys()
        .filter(|name| wanted.up.project.services.contains_key(*name))
        .cloned()
        .collect();
    if wanted.up.no_deps || services.is_empty() {
        return Ok(());
    }
    let dependencies = Up {
        services,
        pull: None,
        build: false,
        ..wanted.up.clone()
    };
    Box::pin(up::up(engine, dependencies, voice)).await
}

async fn start(engine: &Arc<Engine>, wanted: Run, voice: &Voice) -> Outcome<Arc<Keeper>> {
    let Run {
        up, service, name, ..
    } = &wanted;
    super::networks::translate::check(&up.project, &[service.name.clone()].into())?;
    if let Some(taken) = engine.keepers().iter().find(|keeper| keeper.name() == *name) {
        let what = format!(
            "the name `{}` is taken by a container of this project",
            taken.name()
        );
        return Err(
            Failure::new(Fault::Asked, what).hint("choose another `--name`, or remove that container")
        );
    }
    super::lock(&engine.environment).extend(up.environment.clone());
    let mut project = up.project.clone();
    engine
        .networks
        .shared
        .resolve(&mut project, &[service.name.clone()].into())?;
    if engine.project()?.is_none() {
        engine.apply_project(Arc::new(project.clone()))?;
    }
    engine.define_networks(&project)?;
    project.services.insert(service.name.clone(), service.clone());
    let project = Arc::new(project);
    let execution = Arc::new(Execution::new(engine.clone(), project.clone(), up, voice.clone()));
    if !up.no_deps {
        for (dependency, edge) in &service.depends_on {
            execution
                .wait_for(dependency, edge.condition, edge.required, voice.interrupted())
                .await?;
        }
    }
    let there = engine.networks.up_keys();
    for key in service.networks.keys().filter(|key| !there.contains(*key)) {
        let network = Action::Network { key: key.clone() };
        execution.perform(&network, voice.interrupted()).await?;
    }
    for mount in &service.mounts {
        if let MountKind::Volume { source, .. } = &mount.kind {
            let volume = Action::Volume { key: source.clone() };
            execution.perform(&volume, voice.interrupted()).await?;
        }
    }
    let slot = free_place(engine, &service.name);
    engine.networks.reserve(&slot, service)?;
    let made = Box::pin(execution.create_one_off(&slot, &wanted)).await;
    let keeper = made.inspect_err(|_| engine.networks.release(&slot))?;
    if let Err(failure) = Box::pin(execute::start_container(engine, &keeper)).await {
        // Nobody could use a container that never ran.
        if let Err(also) = Box::pin(execution.take_away(&keeper.id())).await {
            tracing::warn!(
                ?also,
                "a container that could not be started could not be removed"
            );
        }
        return Err(failure.at(service.place.as_ref()));
    }
    Ok(keeper)
}

/// A place that no container has.
fn free_place(engine: &Engine, service: &ServiceName) -> Slot {
    let taken: BTreeSet<u32> = engine
        .keepers()
        .iter()
        .map(|keeper| keeper.slot())
        .filter(|slot| slot.service == *service)
        .map(|slot| slot.number)
        .collect();
    // There are more numbers than containers.
    let number = (FIRST_PLACE..).find(|number| !taken.contains(number));
    Slot {
        service: service.clone(),
        number: number.unwrap_or(FIRST_PLACE),
    }
}

/// Time that a client which this engine does not know has to read the last output of a container that ended.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// The same for a container that an engine before this one started: its client may still be there.
pub async fn remove_adopted(engine: &Arc<Engine>, keeper: &Arc<Keeper>) {
    let _chore = engine.chore();
    if keeper.phase() == Phase::Running {
        keeper.ended().await;
        tokio::time::sleep(LAST_WORDS).await;
    }
    remove_at_end(engine, keeper, None).await;
}

/// Removes a container when it has ended and its client, if it has one, has gone.
async fn remove_at_end(engine: &Arc<Engine>, keeper: &Arc<Keeper>, client: Option<&Voice>) {
    let _chore = engine.chore();
    keeper.ended().await;
    if let Some(voice) = client {
        voice.unheard().await;
    }
    // Nobody hears of it, and nobody can stop it.
    let voice = Voice::new(tokio::sync::mpsc::unbounded_channel().0);
    let Ok(_turn) = engine.take_turn("rm", &voice).await else {
        return;
    };
    let project = engine.project().ok().flatten();
    let execution = Execution::for_removal(engine.clone(), project, None, true, voice);
    if let Err(failure) = execution.take_away(&keeper.id()).await {
        tracing::warn!(?failure, "a container of `run --rm` is still there");
    }
}
