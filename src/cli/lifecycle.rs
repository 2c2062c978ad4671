//! The small verbs on existing containers: `start stop restart kill pause unpause rm`.

use super::{Exit, Global, Outcome, context, drive};
use crate::{
    api::wire::{Request, Select},
    model::ServiceName,
};
use clap::Args;
use std::time::Duration;

/// Which services.
#[derive(Debug, Clone, Args)]
pub struct Services {
    /// Only these services
    services: Vec<String>,
}

/// Flags of `stop` and `restart`.
#[derive(Debug, Clone, Args)]
pub struct Timed {
    /// Only these services
    services: Vec<String>,
    /// Seconds between asking a container to stop and killing it
    #[arg(short, long, value_name = "SECONDS")]
    timeout: Option<u64>,
    /// Leave other services alone
    #[arg(long)]
    no_deps: bool,
}

/// Flags of `kill`.
#[derive(Debug, Clone, Args)]
pub struct Kill {
    /// Only these services
    services: Vec<String>,
    /// The signal
    #[arg(short, long, default_value = "SIGKILL")]
    signal: String,
    /// Remove containers of services that are not in the project
    #[arg(long)]
    remove_orphans: bool,
}

/// Flags of `rm`.
#[derive(Debug, Clone, Args)]
pub struct Remove {
    /// Only these services
    services: Vec<String>,
    /// Do not ask
    #[arg(short, long)]
    force: bool,
    /// Stop them first
    #[arg(short, long)]
    stop: bool,
    /// Remove anonymous volumes too
    #[arg(short, long)]
    volumes: bool,
}

/// Which verb.
#[derive(Debug, Clone)]
pub(super) enum Verb<'a> {
    /// Start what is stopped.
    Start(&'a Services),
    /// Stop.
    Stop(&'a Timed),
    /// Stop and start.
    Restart(&'a Timed),
    /// Send a signal.
    Kill(&'a Kill),
    /// Freeze.
    Pause(&'a Services),
    /// Thaw.
    Unpause(&'a Services),
    /// Remove what is stopped.
    Remove(&'a Remove),
}

/// Runs one.
///
/// # Errors
/// What the engine reports.
pub(super) fn run(global: &Global, verb: &Verb<'_>) -> Outcome {
    let name = context::project_name(global)?;
    let request = match verb {
        Verb::Start(args) => Request::Start(select(&args.services, None, false)?),
        Verb::Stop(args) => Request::Stop(select(&args.services, args.timeout, args.no_deps)?),
        Verb::Restart(args) => Request::Restart(select(&args.services, args.timeout, args.no_deps)?),
        Verb::Kill(args) => Request::Kill {
            select: select(&args.services, None, false)?,
            signal: args.signal.clone(),
        },
        Verb::Pause(args) => Request::Pause(select(&args.services, None, false)?),
        Verb::Unpause(args) => Request::Unpause(select(&args.services, None, false)?),
        Verb::Remove(args) => Request::Remove {
            select: select(&args.services, None, false)?,
            stop: args.stop,
            volumes: args.volumes,
        },
    };
    drive::drive(global, &context::client(global, &name), &request, |_| {})?;
    Ok(Exit::Success)
}

fn select(services: &[String], timeout: Option<u64>, no_deps: bool) -> Result<Select, super::CommandError> {
    let named: Result<_, _> = services
        .iter()
        .map(|name| ServiceName::new(name.as_str()))
        .collect();
    let services = named.map_err(|error| super::CommandError::new(Exit::Usage, error.to_string()))?;
    Ok(Select {
        services,
        timeout: timeout.map(Duration::from_secs),
        no_deps,
    })
}
