//! Containers are launched, connected and started; and what is waited for.

use super::{Execution, Made, container_dir};
use crate::{
    api::wire::{Failure, Fault, Level},
    engine::{Engine, Outcome, hooks, keeper::Keeper, lock, pre_start, secrets, serve},
    model::{Condition, ServiceName},
    plan::Slot,
};
use banyan_runtime::container::{Extras, LaunchError};
use std::sync::Arc;
use tokio::sync::watch;

impl Execution {
    pub(super) async fn start(&self, slot: &Slot, halt: watch::Receiver<bool>) -> Outcome<Option<String>> {
        if lock(&self.stays).contains(slot) {
            let stopped = self
                .engine
                .keepers_at(slot)
                .into_iter()
                .find(|keeper| !keeper.is_active());
            let Some(keeper) = stopped else {
                return Ok(Some("up to date".into()));
            };
            return start_container(&self.engine, &keeper).await.map(|()| None);
        }
        let keepers = self.engine.keepers_at(slot);
        let Some(keeper) = keepers.into_iter().max_by_key(|keeper| keeper.record().created) else {
            return Err(Failure::new(
                Fault::Internal,
                format!("there is no container `{slot}` to start"),
            ));
        };
        let id = keeper.id();
        let new = lock(&self.made)
            .iter()
            .any(|made| matches!(made, Made::Container(made) if *made == id));
        if !new {
            lock(&self.made).push(Made::Started(id));
        }
        if !keeper.record().service.pre_start.is_empty() {
            // On the heap: it makes a whole container within this one's start.
            Box::pin(pre_start::run(self, &keeper, &halt)).await?;
        }
        start_container(&self.engine, &keeper).await.map_err(|failure| {
            let place = self
                .service(&slot.service)
                .ok()
                .and_then(|service| service.place.as_ref());
            failure.at(place)
        })?;
        Ok(None)
    }

    /// Waits until all containers of a service have reached a condition.
    ///
    /// # Errors
    /// When one no longer can, and it is required.
    pub async fn wait_for(
        &self,
        service: &ServiceName,
        condition: Condition,
        required: bool,
        halt: watch::Receiver<bool>,
    ) -> Outcome {
        let keepers: Vec<_> = self
            .engine
            .keepers()
            .into_iter()
            .filter(|k| k.slot().service == *service && !k.is_one_off())
            .collect();
        for keeper in keepers {
            match keeper.reach(condition, halt.clone()).await {
                Err(failure) if !required && failure.fault != Fault::Interrupted => {
                    self.voice.note(
                        Some(service),
                        Level::Warning,
                        format!("{}; it is not required", failure.what),
                    );
                }
                reached => reached?,
            }
        }
        Ok(())
    }
}

/// Launches a container if it is not at its barrier yet, attaches its network, starts its program, watches over it.
///
/// # Errors
/// Which of these failed, and why; the container is then stopped.
pub async fn start_container(engine: &Arc<Engine>, keeper: &Arc<Keeper>) -> Outcome {
    if keeper.running().is_some() {
        return Ok(());
    }
    if !keeper.has_created() {
        launch(engine, keeper).await?;
    }
    let Some(created) = keeper.take_created() else {
        return Err(Failure::new(
            Fault::Internal,
            "a container vanished between its creation and its start",
        ));
    };
    let record = keeper.record();
    let published = engine.networks.attach(&record, &created).await?;
    // Before the start: an engine after this one must know what to listen on for a container that runs.
    if record.published != published {
        keeper
            .change(engine, |record| record.published = published)
            .map_err(|error| Failure::caused(Fault::Host, "cannot write a container's record", &error))?;
    }
    let started = tokio::task::spawn_blocking(move || created.start());
    let started = started
        .await
        .map_err(|error| Failure::caused(Fault::Internal, "a start failed", &error))?;
    let running = match started {
        Ok(running) => running,
        Err(error) => {
            engine.networks.withdraw(&record);
            return Err(launch_failure(&record.name, &error));
        }
    };
    let started = running.started();
    keeper.watch_over(engine, running, started);
    let record = keeper.record();
    engine.events.tell(&record, "start", &[]);
    if !record.service.post_start.is_empty() {
        hooks::post_start(engine, keeper).await?;
    }
    Ok(())
}

/// Makes the processes of a container up to the barrier.
pub(super) async fn launch(engine: &Arc<Engine>, keeper: &Arc<Keeper>) -> Outcome {
    let record = keeper.record();
    let grants = match engine.project()? {
        Some(project) => secrets::grants(engine, &project, &record.service)?,
        None => Vec::new(),
    };
    let own = banyan_runtime::sys::host::own_pidfd().map_err(|error| {
        Failure::caused(
            Fault::Host,
            "cannot name this engine to a container's shim",
            &error,
        )
    })?;
    let launching = engine.clone();
    let created = tokio::task::spawn_blocking(move || {
        let mut made = record.settings.clone();
        made.revive = Some(serve::revival(&launching));
        let extras = Extras {
            keep: launching.networks.halls_to_hold(&record)?,
            grants,
            engine: Some(own),
        };
        let dir = container_dir(&launching, &record.id);
        let created = launching.launcher.create(&made, &dir, extras);
        created.map_err(|error| launch_failure(&record.name, &error))
    });
    let created = created
        .await
        .map_err(|error| Failure::caused(Fault::Internal, "a launch failed", &error))??;
    keeper.hold(created);
    Ok(())
}

fn launch_failure(name: &str, error: &LaunchError) -> Box<Failure> {
    let fault = if error.exit_status() == 125 {
        Fault::Host
    } else {
        Fault::Asked
    };
    let mut failure = Failure::caused(fault, format!("cannot start `{name}`"), error);
    failure.status = Some(error.exit_status());
    match error.hint() {
        Some(hint) => failure.hint(hint),
        None => failure,
    }
}
