//! `down`: the same machinery walked backwards. It never stops at the first error: everything that can go goes, and all
//! that could not is reported.

use super::{Engine, Failures, Outcome, Voice, damaged, execute::Execution, observe, up};
use crate::{
    api::wire::{Down, Failure, Fault, Level},
    model::{Project, ServiceName},
    plan::{Observed, Takedown, takedown},
};
use std::{collections::BTreeSet, sync::Arc};

/// Stops and removes.
///
/// # Errors
/// Everything that could not be removed, in one failure.
pub async fn down(engine: &Arc<Engine>, wanted: Down, voice: &Voice) -> Outcome {
    let _turn = engine.take_turn("down", voice).await?;
    let project = match wanted.project {
        Some(project) => Some(Arc::new(*project)),
        None => engine.project()?,
    };
    let observed = Observed {
        containers: observe::containers(engine),
        ..Observed::default()
    };
    let project_now = project.as_deref();
    check_services(project_now, &wanted.services)?;
    let plan = takedown(
        &Takedown {
            project: project_now,
            services: wanted.services.clone(),
            orphans: wanted.remove_orphans || project_now.is_none(),
            remove: true,
            why: "down",
        },
        &observed,
    );
    up::tell(&plan, voice);
    if let (true, Some(project)) = (wanted.volumes && wanted.services.is_empty(), project_now) {
        announce_volumes(engine, project, voice);
    }
    if wanted.dry_run {
        return Ok(());
    }
    let execution = Arc::new(Execution::for_removal(
        engine.clone(),
        project.clone(),
        wanted.timeout,
        wanted.volumes,
        voice.clone(),
    ));
    let walked = up::walk(&execution, &plan, 0).await;
    let mut failures: Failures = walked.failed.into_iter().map(|(_, failure)| failure).collect();
    if walked.stopped {
        failures.push(
            Failure::new(Fault::Interrupted, "interrupted").hint("`banyan down` again finishes the rest"),
        );
    }
    remove_one_offs(&execution, &wanted.services, &mut failures).await;
    if wanted.services.is_empty() {
        remove_damaged(engine, voice, &mut failures).await;
    }
    let everything = wanted.services.is_empty() && engine.keepers().is_empty();
    if everything {
        engine.networks.close().await;
    } else if wanted.services.is_empty() && failures.is_empty() {
        let left: Vec<_> = engine.keepers().iter().map(|keeper| keeper.name()).collect();
        let text = format!(
            "left running: {}; `--remove-orphans` removes them too",
            left.join(", ")
        );
        voice.note(None, Level::Warning, text);
    }
    if let (true, Some(project)) = (wanted.volumes && wanted.services.is_empty(), &project) {
        remove_volumes(engine, project, voice, &mut failures);
    }
    if let Some(which) = &wanted.rmi {
        super::images::remove(engine, project.as_deref(), which, voice, &mut failures);
    }
    if everything && failures.is_empty() {
        forget(engine);
    }
    combine(failures)
}

fn check_services(project: Option<&Project>, services: &BTreeSet<ServiceName>) -> Outcome {
    let Some(project) = project else { return Ok(()) };
    match services
        .iter()
        .find(|name| !project.services.contains_key(*name) && !project.disabled.contains_key(*name))
    {
        None => Ok(()),
        Some(unknown) => Err(Failure::new(
            Fault::Asked,
            format!("there is no service `{unknown}`"),
        )),
    }
}

/// Containers of `run` go with the project.
async fn remove_one_offs(
    execution: &Arc<Execution>,
    services: &BTreeSet<ServiceName>,
    failures: &mut Failures,
) {
    for keeper in execution
        .engine
        .keepers()
        .into_iter()
        .filter(|keeper| keeper.is_one_off())
        .filter(|keeper| services.is_empty() || services.contains(&keeper.slot().service))
    {
        if let Err(failure) = execution.take_away(&keeper.id()).await {
            failures.push(failure);
        }
    }
}

/// Containers that nobody sees because their records are damaged go as well.
async fn remove_damaged(engine: &Arc<Engine>, voice: &Voice, failures: &mut Failures) {
    let mut found = damaged::of_project(&engine.roots, &engine.name);
    // What the engine knew before the damage was removed like everything else.
    found.retain(|damaged| engine.keeper(&damaged.id).is_none());
    for damaged in found {
        let roots = engine.roots.clone();
        let name = damaged.name.clone();
        let removed = tokio::task::spawn_blocking(move || damaged.remove(&roots)).await;
        match removed {
            Ok(Ok(())) => {
                let text = format!("{name} removed: its record was damaged");
                voice.note(None, Level::Warning, text);
            }
            Ok(Err(error)) => {
                let what = format!("`{name}`, whose record is damaged, is still there");
                failures.push(Failure::caused(Fault::Host, what, &error));
            }
            Err(error) => failures.push(Failure::caused(Fault::Internal, "a removal broke", &error)),
        }
    }
}

/// Says which data goes, and how much it is, before anything is done.
fn announce_volumes(engine: &Engine, project: &Project, voice: &Voice) {
    let there = engine.volumes.list().unwrap_or_default();
    for volume in project.volumes.values().filter(|volume| !volume.external) {
        if there.iter().any(|found| found.name == volume.name) {
            let size = bytes(engine.volumes.size(&volume.name));
            voice.note(
                None,
                Level::Notice,
                format!("volume {} goes, with {size} of data", volume.name),
            );
        }
    }
    let anonymous: BTreeSet<String> = engine
        .keepers()
        .iter()
        .flat_map(|keeper| keeper.record().anonymous.into_values())
        .collect();
    if !anonymous.is_empty() {
        let size = bytes(anonymous.iter().map(|name| engine.volumes.size(name)).sum());
        voice.note(
            None,
            Level::Notice,
            format!("{} anonymous volumes go, with {size} of data", anonymous.len()),
        );
    }
}

/// `12.3 MB`, `4.1 kB`.
fn bytes(bytes: u64) -> String {
    match bytes {
        0..1_000_000 => format!("{:.1} kB", bytes as f64 / 1e3),
        1_000_000..1_000_000_000 => format!("{:.1} MB", bytes as f64 / 1e6),
        _ => format!("{:.1} GB", bytes as f64 / 1e9),
    }
}

fn remove_volumes(engine: &Engine, project: &Project, voice: &Voice, failures: &mut Failures) {
    for volume in project.volumes.values().filter(|volume| !volume.external) {
        match engine.volumes.remove(&volume.name) {
            Ok(()) => voice.note(None, Level::Notice, format!("volume {} removed", volume.name)),
            Err(crate::volumes::VolumeError::Missing { .. }) => {}
            Err(error) => {
                failures.push(Failure::caused(
                    Fault::Host,
                    format!("volume `{}` is still there", volume.name),
                    &error,
                ));
            }
        }
    }
}

/// Nothing of the project is left: its records go too.
fn forget(engine: &Engine) {
    engine.networks.shared.release(None);
    *super::lock(&engine.project) = None;
    // Whole, with half-written files of an engine that was killed. Absent is as good as removed.
    let _ = std::fs::remove_dir_all(engine.roots.project(&engine.name));
    engine.store.sweep_leases();
    for parent in [engine.roots.containers(), engine.roots.run.join("containers")] {
        banyan_runtime::container::sweep(&parent);
    }
}

/// One failure out of many: the first, with the others under it.
pub fn combine(mut failures: Failures) -> Outcome {
    if failures.is_empty() {
        return Ok(());
    }
    let mut first = failures.remove(0);
    for other in failures {
        first.cleanup.push(format!(
            "also: {}{}",
            other.what,
            other
                .because
                .first()
                .map(|b| format!(": {b}"))
                .unwrap_or_default()
        ));
    }
    Err(first)
}
