//! The small verbs on existing containers: `start stop restart kill pause unpause rm`.

use super::{CommandError, Exit, Global, Outcome, context, drive, ps};
use crate::{
    api::wire::{Request, Select},
    model::{ProjectName, ServiceName},
    plan::Phase,
    supervisor::health::Status,
};
use clap::Args;
use std::{
    io::{IsTerminal, Write},
    thread,
    time::{Duration, Instant},
};

/// Which services.
#[derive(Debug, Clone, Args)]
pub struct Services {
    /// Only these services
    services: Vec<String>,
}

/// Flags of `start`.
#[derive(Debug, Clone, Args)]
pub struct Start {
    /// Only these services
    services: Vec<String>,
    /// Return when they run and are healthy
    #[arg(long)]
    wait: bool,
    /// Give up waiting after so many seconds
    #[arg(long, value_name = "SECONDS", requires = "wait")]
    wait_timeout: Option<u64>,
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
    Start(&'a Start),
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
        Verb::Remove(args) => {
            if !args.force && !global.dry_run && !agreed(global, &name, args)? {
                return Ok(Exit::Success);
            }
            Request::Remove {
                select: select(&args.services, None, false)?,
                stop: args.stop,
                volumes: args.volumes,
            }
        }
    };
    if global.dry_run {
        return dry_run(global, &name, &request);
    }
    drive::drive(global, &context::client(global, &name), &request, |_| {})?;
    match verb {
        Verb::Start(args) if args.wait => wait(global, &name, args)?,
        Verb::Kill(args) if args.remove_orphans => remove_orphans(global, &name)?,
        _ => {}
    }
    Ok(Exit::Success)
}

/// Removes a project's stopped containers, without asking.
///
/// # Errors
/// What the engine reports.
pub(super) fn remove_stopped(global: &Global) -> Result<(), CommandError> {
    let args = Remove {
        services: Vec::new(),
        force: true,
        stop: false,
        volumes: false,
    };
    run(global, &Verb::Remove(&args)).map(drop)
}

/// Says which containers the request is about, and does nothing.
fn dry_run(global: &Global, name: &ProjectName, request: &Request) -> Outcome {
    let (verb, select) = match request {
        Request::Start(select) => ("start", select),
        Request::Stop(select) => ("stop", select),
        Request::Restart(select) => ("restart", select),
        Request::Kill { select, .. } => ("kill", select),
        Request::Pause(select) => ("pause", select),
        Request::Unpause(select) => ("unpause", select),
        Request::Remove { select, .. } => ("remove", select),
        _ => return Ok(Exit::Success),
    };
    for container in ps::list(global, name)? {
        let up = matches!(container.phase, Phase::Running | Phase::Paused) || container.restarting;
        let concerned = match request {
            Request::Start(_) => !up,
            Request::Remove { stop, .. } => !up || *stop,
            Request::Restart(_) => true,
            Request::Unpause(_) => container.phase == Phase::Paused,
            _ => up,
        };
        if concerned && (select.services.is_empty() || select.services.contains(&container.slot.service)) {
            super::print(&format!("{verb:<8} {}\n", container.name));
        }
    }
    Ok(Exit::Success)
}

/// Lists what `rm` would remove and asks.
fn agreed(global: &Global, name: &ProjectName, args: &Remove) -> Result<bool, CommandError> {
    let names: Vec<String> = ps::list(global, name)?
        .into_iter()
        .filter(|c| args.stop || !(matches!(c.phase, Phase::Running | Phase::Paused) || c.restarting))
        .filter(|c| args.services.is_empty() || args.services.iter().any(|s| s == c.slot.service.as_str()))
        .map(|c| c.name)
        .collect();
    if names.is_empty() {
        return Ok(true);
    }
    if !std::io::stdin().is_terminal() {
        let error = CommandError::new(
            Exit::Usage,
            format!("not removed without being asked: {}", names.join(", ")),
        );
        return Err(error.hint("standard input is no terminal: say `--force`"));
    }
    let mut stderr = std::io::stderr();
    // A closed standard error leaves a question that nobody sees; the answer is then awaited all the same.
    let _ = write!(
        stderr,
        "going to remove {}. Are you sure? [y/N] ",
        names.join(", ")
    );
    let _ = stderr.flush();
    let mut answer = String::new();
    std::io::stdin()
        .read_line(&mut answer)
        .map_err(|error| CommandError::caused(Exit::Host, "cannot read the answer", &error))?;
    Ok(matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes"))
}

/// Until the containers run and are healthy where they have a check.
fn wait(global: &Global, name: &ProjectName, args: &Start) -> Result<(), CommandError> {
    let deadline = args
        .wait_timeout
        .map(|seconds| Instant::now() + Duration::from_secs(seconds));
    loop {
        let mut waiting = None;
        for container in ps::list(global, name)? {
            let named = args.services.is_empty()
                || args.services.iter().any(|s| s == container.slot.service.as_str());
            if !named || container.one_off {
                continue;
            }
            let health = container.health.as_ref().map(|health| health.status);
            match (container.phase, health) {
                (Phase::Exited(0), _) | (Phase::Running | Phase::Paused, None | Some(Status::Healthy)) => {}
                (Phase::Exited(status), _) if !container.restarting => {
                    let what = format!("`{}` exited with status {status}", container.name);
                    return Err(CommandError::new(Exit::Failed, what));
                }
                (Phase::Running, Some(Status::Unhealthy)) => {
                    return Err(CommandError::new(
                        Exit::Failed,
                        format!("`{}` is unhealthy", container.name),
                    ));
                }
                _ => waiting = Some(container.name),
            }
        }
        let Some(waiting) = waiting else { return Ok(()) };
        if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
            return Err(CommandError::new(
                Exit::Failed,
                format!("`{waiting}` was not ready in time"),
            ));
        }
        thread::park_timeout(Duration::from_millis(50));
    }
}

/// Removes containers of services that the project has not.
fn remove_orphans(global: &Global, name: &ProjectName) -> Result<(), CommandError> {
    let project = context::load(global, &[])?;
    let services = ps::list(global, name)?
        .into_iter()
        .map(|c| c.slot.service)
        .filter(|service| !project.services.contains_key(service) && !project.disabled.contains_key(service))
        .collect::<std::collections::BTreeSet<_>>();
    if services.is_empty() {
        return Ok(());
    }
    let request = Request::Remove {
        select: Select {
            services,
            ..Select::default()
        },
        stop: true,
        volumes: false,
    };
    drive::drive(global, &context::client(global, name), &request, |_| {})
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
