//! Ending, pausing, changing and removing containers.

use super::{
    print_line,
    registry::{Entry, Registry},
    resolve::{AUTO_REMOVE, STOP_TIMEOUT},
    run::at_barrier,
    value,
};
use crate::{
    cli::{CommandError, Exit, Outcome},
    engine::alone::settle,
};
use banyan_runtime::{
    cgroup::Resources,
    container::{Container, ContainerError, Created, Exit as End, Found, Running},
};
use clap::Args;
use std::time::Duration;

/// Containers by name or id.
#[derive(Debug, Args)]
pub struct Names {
    /// Names or ids
    #[arg(required = true)]
    pub(super) names: Vec<String>,
}

/// `stop` and `restart`.
#[derive(Debug, Args)]
pub struct Stop {
    /// Seconds to wait before killing; -1: for ever
    #[arg(short, long, allow_hyphen_values = true)]
    time: Option<i64>,
    /// Signal instead of the container's own
    #[arg(short, long, value_parser = value::signal)]
    signal: Option<i32>,
    /// Names or ids
    #[arg(required = true)]
    names: Vec<String>,
}

/// `kill`.
#[derive(Debug, Args)]
pub struct Kill {
    /// Signal to send
    #[arg(short, long, default_value = "KILL", value_parser = value::signal)]
    signal: i32,
    /// Names or ids
    #[arg(required = true)]
    names: Vec<String>,
}

/// `rm`.
#[derive(Debug, Args)]
pub struct Rm {
    /// Kill it first if it runs
    #[arg(short, long)]
    force: bool,
    /// Accepted: anonymous volumes always go with their container
    #[arg(short, long)]
    volumes: bool,
    /// Names or ids
    #[arg(required = true)]
    names: Vec<String>,
}

/// `prune`.
#[derive(Debug, Args)]
pub struct Prune {
    /// Accepted: nothing is asked
    #[arg(short, long)]
    force: bool,
}

/// `update`.
#[derive(Debug, Args)]
pub struct Update {
    /// Memory limit
    #[arg(short, long, value_parser = value::bytes)]
    memory: Option<u64>,
    /// Memory plus swap; -1: unlimited swap
    #[arg(long, value_parser = value::bytes_or_unlimited, allow_hyphen_values = true)]
    memory_swap: Option<i64>,
    /// Soft memory limit
    #[arg(long, value_parser = value::bytes)]
    memory_reservation: Option<u64>,
    /// Processors
    #[arg(long, value_parser = value::nano_cpus)]
    cpus: Option<u64>,
    /// Relative weight of processor time
    #[arg(short, long)]
    cpu_shares: Option<u64>,
    /// Processors allowed
    #[arg(long)]
    cpuset_cpus: Option<String>,
    /// Most processes; -1: no limit
    #[arg(long, allow_hyphen_values = true)]
    pids_limit: Option<i64>,
    /// Names or ids
    #[arg(required = true)]
    names: Vec<String>,
}

/// Does one thing to each container and prints its name; all are tried, the first failure is reported.
fn each(names: &[String], registry: &Registry, act: impl Fn(Entry) -> Result<(), CommandError>) -> Outcome {
    let mut first = None;
    for name in names {
        match registry.find(name).and_then(&act) {
            Ok(()) => print_line(name),
            Err(error) => first = first.or(Some(error)),
        }
    }
    first.map_or(Ok(Exit::Success), Err)
}

fn failed<'a>(entry: &'a Entry, verb: &'a str) -> impl Fn(ContainerError) -> CommandError + 'a {
    move |error| {
        let made = CommandError::caused(
            Exit::Failed,
            format!("cannot {verb} container `{}`", entry.settings.name),
            &error,
        );
        match error.hint() {
            Some(hint) => made.hint(hint),
            None => made,
        }
    }
}

/// A container whose processes exist, whatever its stage.
enum Alive {
    Created(Container<Created>),
    Running(Container<Running>),
}

impl Alive {
    fn of(entry: &Entry) -> Result<Option<Self>, CommandError> {
        Ok(match entry.found()? {
            Found::Created(container) => Some(Self::Created(container)),
            Found::Running(container) => Some(Self::Running(container)),
            _ => None,
        })
    }

    fn signal(&self, signal: i32) -> Result<(), ContainerError> {
        match self {
            Self::Created(container) => container.kill(),
            Self::Running(container) if signal == 9 => container.kill(),
            Self::Running(container) => container.signal(signal),
        }
    }

    fn wait(&mut self, timeout: Option<Duration>) -> Result<Option<End>, ContainerError> {
        match self {
            Self::Created(container) => container.wait(timeout),
            Self::Running(container) => container.wait(timeout),
        }
    }
}

impl Stop {
    pub(super) fn run(&self, registry: &Registry) -> Outcome {
        each(&self.names, registry, |entry| self.stop(&entry, registry))
    }

    pub(super) fn restart(&self, registry: &Registry) -> Outcome {
        each(&self.names, registry, |entry| {
            self.stop(&entry, registry)?;
            let Some(created) = at_barrier(&entry, registry)? else {
                return Ok(());
            };
            created.start().map(drop).map_err(|error| {
                CommandError::caused(
                    Exit::Status(error.exit_status()),
                    format!("cannot start container `{}`", entry.settings.name),
                    &error,
                )
            })
        })
    }

    fn stop(&self, entry: &Entry, registry: &Registry) -> Result<(), CommandError> {
        let failed = failed(entry, "stop");
        let Some(mut container) = Alive::of(entry)? else {
            return Ok(());
        };
        let signal = self.signal.unwrap_or(entry.settings.stop_signal);
        let own = entry
            .settings
            .annotations
            .get(STOP_TIMEOUT)
            .and_then(|text| text.parse().ok());
        let grace = self.time.or(own).unwrap_or(10);
        match container.signal(signal) {
            // Ended by itself meanwhile: that is what was wanted.
            Ok(()) | Err(ContainerError::NotRunning) => {}
            Err(error) => return Err(failed(error)),
        }
        let grace = u64::try_from(grace).ok().map(Duration::from_secs);
        if container.wait(grace).map_err(&failed)?.is_none() {
            match container.signal(9) {
                Ok(()) | Err(ContainerError::NotRunning) => {}
                Err(error) => return Err(failed(error)),
            }
            container.wait(Some(Duration::from_secs(10))).map_err(&failed)?;
        }
        settle(&registry.roots, &entry.settings.id);
        after_end(entry, registry)
    }
}

/// Removes a container that asked to be removed when it ends (the command that ran it may be gone).
fn after_end(entry: &Entry, registry: &Registry) -> Result<(), CommandError> {
    if entry.settings.annotations.contains_key(AUTO_REMOVE) {
        return registry
            .remove(&entry.dir, false)
            .map_err(failed(entry, "remove"));
    }
    Ok(())
}

impl Kill {
    pub(super) fn run(&self, registry: &Registry) -> Outcome {
        each(&self.names, registry, |entry| match Alive::of(&entry)? {
            Some(container) => container.signal(self.signal).map_err(failed(&entry, "signal")),
            None => Err(failed(&entry, "signal")(ContainerError::NotRunning)),
        })
    }
}

impl Rm {
    pub(super) fn run(&self, registry: &Registry) -> Outcome {
        each(&self.names, registry, |entry| {
            registry.remove(&entry.dir, self.force).map_err(|error| {
                let made = failed(&entry, "remove")(error);
                if self.force {
                    made
                } else {
                    made.hint("stop it first, or use --force")
                }
            })
        })
    }
}

impl Prune {
    pub(super) fn run(&self, registry: &Registry) -> Outcome {
        for entry in registry.all() {
            // A project's containers are its engine's business.
            let foreign = entry.settings.labels.contains_key("com.docker.compose.project");
            let over = matches!(entry.found()?, Found::Stopped(_) | Found::Lost | Found::Never);
            if over && !foreign {
                registry
                    .remove(&entry.dir, false)
                    .map_err(failed(&entry, "remove"))?;
                print_line(&entry.settings.id);
            }
        }
        Ok(Exit::Success)
    }
}

impl Names {
    pub(super) fn pause(&self, registry: &Registry) -> Outcome {
        each(&self.names, registry, |entry| {
            entry.running()?.pause().map_err(failed(&entry, "pause"))
        })
    }

    pub(super) fn unpause(&self, registry: &Registry) -> Outcome {
        each(&self.names, registry, |entry| {
            entry.running()?.unpause().map_err(failed(&entry, "unpause"))
        })
    }

    pub(super) fn wait(&self, registry: &Registry) -> Outcome {
        for name in &self.names {
            let entry = registry.find(name)?;
            let end = match Alive::of(&entry)? {
                Some(mut container) => container.wait(None).map_err(failed(&entry, "wait for"))?,
                None => match entry.found()? {
                    Found::Stopped(end) => Some(end),
                    _ => None,
                },
            };
            let Some(end) = end else {
                return Err(CommandError::new(
                    Exit::Failed,
                    format!("nobody knows how container `{name}` ended"),
                ));
            };
            print_line(&end.code().to_string());
        }
        Ok(Exit::Success)
    }
}

impl Update {
    pub(super) fn run(&self, registry: &Registry) -> Outcome {
        let signed = |bytes: u64| i64::try_from(bytes).unwrap_or(i64::MAX);
        each(&self.names, registry, |entry| {
            let mut limits = Resources {
                memory: self.memory.map(signed),
                memory_swap: self.memory_swap,
                memory_reservation: self.memory_reservation.map(signed),
                cpu_shares: self.cpu_shares,
                cpuset_cpus: self.cpuset_cpus.clone(),
                pids: self.pids_limit,
                ..Resources::default()
            };
            if let Some(nano) = self.cpus {
                limits.set_nano_cpus(nano);
            }
            entry.running()?.update(&limits).map_err(failed(&entry, "update"))
        })
    }
}
