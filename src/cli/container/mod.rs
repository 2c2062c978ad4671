//! `banyan container …`: single containers, without a project, with Docker's flags.
//!
//! 1. [`flags`]: what may be typed for `run` and `create`; [`resolve`] turns it into the runtime's settings.
//! 2. [`registry`]: containers by name or id, on disk.
//! 3. [`run`]: create, start, attach, and the exit status; [`exec`] the same for additional processes. [`network`]: the
//!    networks and ports of one, held by its attendant (`engine::alone`).
//! 4. [`life`]: stop, kill, restart, remove, pause, wait, update. [`show`]: ls, inspect, logs, top, stats. [`files`]: cp,
//!    export, diff. [`commit`]: an image out of a container.
//!
//! Deliberately absent: restart policies and health checks, which are a project's.

mod commit;
mod exec;
pub(in crate::cli) mod files;
mod flags;
mod inspect;
mod life;
mod network;
mod registry;
mod resolve;
mod run;
mod show;
mod value;

pub(in crate::cli) use value::bytes;

use super::{Cli, CommandError, Exit, Outcome};
use clap::Subcommand;
use registry::Registry;

/// `banyan container`. The hidden arguments stand in for the project's global flags of the same names, so that `-f`,
/// `-p` and `--env-file` are free to mean below what they mean in `docker`.
#[derive(Debug, clap::Args)]
pub struct ContainerArgs {
    #[arg(long = "project-file", hide = true)]
    file: Vec<std::path::PathBuf>,
    #[arg(long = "project-name", hide = true)]
    project_name: Option<String>,
    #[arg(long = "project-env-file", hide = true)]
    env_file: Vec<std::path::PathBuf>,
    #[command(subcommand)]
    command: ContainerCommand,
}

/// The commands on single containers.
#[derive(Debug, Subcommand)]
pub enum ContainerCommand {
    /// Create and start a container
    Run(Box<run::Run>),
    /// Create a container without starting it
    Create(Box<run::Create>),
    /// Start containers that were created or have stopped
    Start(run::Start),
    /// Run a command in a running container
    Exec(Box<exec::Exec>),
    /// Stop containers: a signal, time to obey, then a kill
    Stop(life::Stop),
    /// Send a signal to containers
    Kill(life::Kill),
    /// Stop and start containers
    Restart(life::Stop),
    /// Remove containers
    Rm(life::Rm),
    /// Freeze all processes of containers
    Pause(life::Names),
    /// Let frozen containers go on
    Unpause(life::Names),
    /// Wait for containers to end, and print their exit codes
    Wait(life::Names),
    /// Change the limits of running containers
    Update(life::Update),
    /// Remove all stopped containers
    Prune(life::Prune),
    /// Make an image of a container
    Commit(commit::Commit),
    /// List containers
    #[command(visible_alias = "ps", alias = "list")]
    Ls(show::Ls),
    /// Show everything known of containers as JSON
    Inspect(life::Names),
    /// Show the output of a container
    Logs(show::Logs),
    /// Show the processes of a container
    Top(show::Top),
    /// Show what containers use
    Stats(show::Stats),
    /// Join a running container's input and output
    Attach(run::Attach),
    /// Copy files between a container and this machine
    Cp(files::Cp),
    /// Write a container's root filesystem as a tar archive
    Export(files::Export),
    /// Show what a container changed over its image
    Diff(files::Diff),
}

/// Runs one of them.
///
/// # Errors
/// Whatever the command reports.
pub fn run(cli: &Cli, args: &ContainerArgs) -> Outcome {
    let registry = Registry::open(cli);
    match &args.command {
        ContainerCommand::Run(run) => run.run(&registry),
        ContainerCommand::Create(create) => create.run(&registry),
        ContainerCommand::Start(start) => start.run(&registry),
        ContainerCommand::Exec(exec) => exec.run(&registry),
        ContainerCommand::Stop(stop) => stop.run(&registry),
        ContainerCommand::Kill(kill) => kill.run(&registry),
        ContainerCommand::Restart(stop) => stop.restart(&registry),
        ContainerCommand::Rm(rm) => rm.run(&registry),
        ContainerCommand::Pause(names) => names.pause(&registry),
        ContainerCommand::Unpause(names) => names.unpause(&registry),
        ContainerCommand::Wait(names) => names.wait(&registry),
        ContainerCommand::Update(update) => update.run(&registry),
        ContainerCommand::Prune(prune) => prune.run(&registry),
        ContainerCommand::Commit(commit) => commit.run(&registry),
        ContainerCommand::Ls(ls) => ls.run(&registry),
        ContainerCommand::Inspect(names) => inspect::inspect(names, &registry),
        ContainerCommand::Logs(logs) => logs.run(&registry),
        ContainerCommand::Top(top) => top.run(&registry),
        ContainerCommand::Stats(stats) => stats.run(&registry),
        ContainerCommand::Attach(attach) => attach.run(&registry),
        ContainerCommand::Cp(cp) => cp.run(&registry),
        ContainerCommand::Export(export) => export.run(&registry),
        ContainerCommand::Diff(diff) => diff.run(&registry),
    }
}

/// Prints a line of data; a reader that went away is no error.
fn print_line(line: &str) {
    use std::io::Write;
    let _ = writeln!(std::io::stdout(), "{line}");
}

/// An error of the user's: Docker's status 125 for everything before the program runs.
fn refuse(what: impl Into<String>) -> CommandError {
    CommandError::new(Exit::Status(125), what)
}
