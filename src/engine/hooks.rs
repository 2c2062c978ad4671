//! Life-cycle hooks: commands in a container after it started and before it is stopped.

use super::{Engine, Outcome, Voice, capture::capture, keeper::Keeper};
use crate::{
    api::wire::{Failure, Fault, Level},
    model::Hook,
};
use banyan_runtime::{confine::Capabilities, container::Process};
use std::{sync::Arc, time::Duration};

/// A hook that takes longer is ended, and counts as failed.
const LIMIT: Duration = Duration::from_secs(600);
/// Output of a failed hook that is shown, in bytes.
const OUTPUT: usize = 4096;

/// Runs hooks in order; failures are told and do not stop anything (`pre_stop`).
pub async fn run(engine: &Arc<Engine>, keeper: &Arc<Keeper>, hooks: &[Hook], kind: &str, voice: &Voice) {
    for hook in hooks {
        if let Err(failure) = run_one(engine, keeper, hook, kind).await {
            let service = keeper.slot().service;
            voice.note(
                Some(&service),
                Level::Warning,
                format!("{}: {}", failure.what, failure.because.join(": ")),
            );
        }
    }
}

/// Runs a service's `post_start` hooks.
///
/// # Errors
/// The first hook that fails.
pub async fn post_start(engine: &Arc<Engine>, keeper: &Arc<Keeper>) -> Outcome {
    for hook in &keeper.record().service.post_start {
        run_one(engine, keeper, hook, "post_start").await?;
    }
    Ok(())
}

async fn run_one(engine: &Arc<Engine>, keeper: &Arc<Keeper>, hook: &Hook, kind: &str) -> Outcome {
    if keeper.running().is_none() {
        return Ok(());
    }
    let record = keeper.record();
    let mut process = Process {
        terminal: None,
        stdin: false,
        ..record.settings.process
    };
    process.arguments.clone_from(&hook.command);
    if let Some(user) = &hook.user {
        process.user.clone_from(user);
    }
    if let Some(cwd) = &hook.working_dir {
        process.cwd.clone_from(cwd);
    }
    if hook.privileged {
        process.capabilities = Capabilities::all();
        process.no_new_privileges = false;
    }
    for (name, value) in &hook.environment {
        process
            .environment
            .retain(|pair| pair.split_once('=').is_none_or(|(key, _)| key != name));
        if let Some(value) = value {
            process.environment.push(format!("{name}={value}"));
        }
    }
    let what = format!(
        "a {kind} hook of `{}` failed: {}",
        record.name,
        hook.command.join(" ")
    );
    match capture(engine, &record.id, process, LIMIT, OUTPUT).await {
        Ok(captured) => match captured.status {
            Some(0) => Ok(()),
            Some(status) => {
                let output = String::from_utf8_lossy(&captured.output).into_owned();
                Err(Failure::new(Fault::Asked, format!("{what} (exit status {status})")).details(output))
            }
            None => Err(Failure::new(
                Fault::Asked,
                format!("{what} (it took more than {} s)", LIMIT.as_secs()),
            )),
        },
        Err(error) => Err(Failure::caused(Fault::Asked, what, &error)),
    }
}
