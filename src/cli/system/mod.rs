//! `banyan system …`: this machine's share of everything, whichever project it belongs to.
//!
//! [`survey`] looks at what there is and who uses it; [`df`] prints it, [`prune`] removes what nobody uses.

mod df;
mod prune;
mod survey;

pub(super) use survey::in_use as volumes_in_use;

use super::{Global, Outcome};
use clap::{Args, Subcommand};

/// What all of banyan uses and does on this machine
#[derive(Debug, Args)]
pub struct System {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Show how much disk space is used
    Df(df::Df),
    /// Remove what nobody uses: containers, images, build results, volumes
    Prune(prune::Prune),
}

/// Runs `banyan system …`.
///
/// # Errors
/// Whatever the command reports.
pub(super) fn run(system: &System, global: &Global) -> Outcome {
    match &system.command {
        Command::Df(command) => command.run(global),
        Command::Prune(command) => command.run(global),
    }
}
