//! `pre_start` hooks: containers of their own that run to completion before a service's program starts.
//!
//! A hook sees what its service will see: mounts (anonymous volumes too), networks, environment, secrets. It runs once
//! for a service (`per_replica`: once for each container), and again only when its definition or its image changed, or
//! when it did not succeed. What has succeeded is kept in the project's folder and goes with `down`.

use super::{
    Engine, Outcome,
    execute::{Execution, start_container},
    keeper::Keeper,
};
use crate::{
    api::wire::{Failure, Fault},
    model::{
        Condition, Hook, ImageSource, MountKind, PullPolicy, Restart, RestartCondition, Service, hash_of,
    },
    plan::{Phase, Slot},
    state::{read_record, write_record},
};
use std::{collections::BTreeMap, path::PathBuf, sync::Arc};
use tokio::sync::watch;

/// Places of hooks start here, far from any replica, so that their addresses never meet.
const PLACES: u32 = 1 << 30;

/// Runs what has to run before the container of `keeper` starts.
///
/// # Errors
/// The first hook that fails, with its last output.
pub async fn run(execution: &Execution, keeper: &Arc<Keeper>, halt: &watch::Receiver<bool>) -> Outcome {
    let record = keeper.record();
    if record.service.pre_start.is_empty() {
        return Ok(());
    }
    let engine = &execution.engine;
    // Replicas start at the same time; a hook that runs once must not run twice at once.
    let turn = super::lock(&engine.preparing)
        .entry(record.slot.service.clone())
        .or_default()
        .clone();
    let _turn = turn.lock().await;
    for (index, hook) in record.service.pre_start.iter().enumerate() {
        let key = if hook.per_replica {
            format!("{}#{index}", record.slot)
        } else {
            format!("{}#{index}", record.slot.service)
        };
        let hash = hash_of(&(hook, &record.image));
        if succeeded(engine)?.get(&key) == Some(&hash) {
            continue;
        }
        Box::pin(one(execution, keeper, hook, index, halt)).await?;
        remember(engine, key, hash)?;
    }
    Ok(())
}

/// The hooks that have succeeded, with the hash of what they were.
fn succeeded(engine: &Engine) -> Outcome<BTreeMap<String, String>> {
    let read = read_record(&file(engine));
    let fail = |error| Failure::caused(Fault::Host, "cannot tell which hooks have run", &error);
    Ok(read.map_err(fail)?.unwrap_or_default())
}

fn remember(engine: &Engine, key: String, hash: String) -> Outcome {
    // Services prepare at the same time and share the file: the lock covers reading and writing it.
    let _shared = super::lock(&engine.preparing);
    let mut done = succeeded(engine)?;
    done.insert(key, hash);
    write_record(&file(engine), &done)
        .map_err(|error| Failure::caused(Fault::Host, "cannot remember which hooks have run", &error))
}

/// Where it is kept which hooks have succeeded.
pub fn file(engine: &Engine) -> PathBuf {
    engine.roots.project(&engine.name).join("pre_start.json")
}

async fn one(
    execution: &Execution,
    keeper: &Arc<Keeper>,
    hook: &Hook,
    index: usize,
    halt: &watch::Receiver<bool>,
) -> Outcome {
    let of = keeper.record();
    let what = format!(
        "a pre_start hook of `{}` failed: {}",
        of.name,
        hook.command.join(" ")
    );
    let overlay = |mount: &crate::model::Mount| matches!(mount.kind, MountKind::Bind { overlay: true, .. });
    if of.service.mounts.iter().any(overlay) {
        let why = "two containers cannot write to one discardable layer at the same time";
        return Err(Failure::new(
            Fault::ProjectFile,
            "`pre_start` together with an overlay bind is not supported",
        )
        .at(of.service.place.as_ref())
        .hint(why));
    }
    let service = service_of(hook, &of.service);
    let number = u32::try_from(index).unwrap_or(0);
    let slot = Slot {
        service: of.slot.service.clone(),
        number: PLACES + number * 10_000 + of.slot.number,
    };
    let helper = execution.helper();
    let made = Box::pin(helper.one_off(&service, &slot, keeper, |record| {
        record.name = format!("{}-pre_start-{}", of.name, index + 1);
        // A hook is nobody's server.
        record
            .endpoints
            .values_mut()
            .for_each(|endpoint| endpoint.names.clear());
    }));
    let made = made.await?;
    let ran = match start_container(&execution.engine, &made).await {
        Ok(()) => {
            made.reach(Condition::ServiceCompletedSuccessfully, halt.clone())
                .await
        }
        Err(failure) => Err(failure),
    };
    let status = made.phase();
    let details = made.explain();
    let gone = helper.take_away(&made.id()).await;
    match (ran, status) {
        (Ok(()), _) => gone,
        (Err(failure), Phase::Exited(status)) if failure.fault == Fault::Asked => {
            let failure = Failure::new(Fault::Asked, format!("{what} (exit status {status})"));
            Err(failure.details(details).at(of.service.place.as_ref()))
        }
        (Err(failure), _) => Err(failure),
    }
}

/// The service as its hook runs it: the hook's command, user, folder and variables; nothing that serves or lasts.
fn service_of(hook: &Hook, service: &Service) -> Service {
    let mut made = Service {
        container_name: None,
        ports: Vec::new(),
        health_check: None,
        ready: None,
        restart_unhealthy: false,
        here: false,
        pre_start: Vec::new(),
        post_start: Vec::new(),
        pre_stop: Vec::new(),
        restart: Restart {
            condition: RestartCondition::No,
            max_attempts: None,
            delay: None,
            window: None,
        },
        ..service.clone()
    };
    if let Some(image) = &hook.image {
        made.image = ImageSource {
            name: image.clone(),
            named: true,
            build: None,
        };
        made.pull_policy = PullPolicy::Missing;
        (made.entrypoint, made.command) = (None, None);
    }
    if !hook.command.is_empty() {
        made.entrypoint = Some(Vec::new());
        made.command = Some(hook.command.clone());
    }
    if hook.user.is_some() {
        made.user.clone_from(&hook.user);
    }
    if hook.working_dir.is_some() {
        made.working_dir.clone_from(&hook.working_dir);
    }
    made.privileged |= hook.privileged;
    made.environment.extend(hook.environment.clone());
    made
}

impl Execution {
    /// Makes a container of `service` that is not one of its replicas, beside the container of `like`, whose anonymous
    /// volumes it shares; `change` has the last word on its record.
    ///
    /// # Errors
    /// What cannot be had; then nothing of it is left.
    async fn one_off(
        &self,
        service: &Service,
        slot: &Slot,
        like: &Arc<Keeper>,
        change: impl FnOnce(&mut super::record::Record),
    ) -> Outcome<Arc<Keeper>> {
        let project = self
            .project
            .clone()
            .ok_or_else(|| Failure::new(Fault::Internal, "no project"))?;
        let image = self.image_of(&project, service, None).await?;
        let mut record = self
            .draft(&project, service, slot, &image, Some(like.as_ref()))
            .await?;
        record.one_off = true;
        record
            .labels
            .insert("com.docker.compose.oneoff".into(), "True".into());
        change(&mut record);
        record.settings.name.clone_from(&record.name);
        record.settings.labels.clone_from(&record.labels);
        self.make(record, image.id).await
    }
}
