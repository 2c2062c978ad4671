//! `banyan system …`: this machine's share of everything, whichever project it belongs to.
//!
//! [`check`] looks whether all is well, [`info`] tells what is where.
//! [`survey`] looks at what there is and who uses it; [`df`] prints it, [`prune`] removes what nobody uses.

mod check;
mod check_images;
mod df;
mod info;
mod prune;
mod survey;

pub(super) use survey::in_use as volumes_in_use;

use super::{Global, Outcome};
use banyan_runtime::cgroup::CgroupView;
use clap::{Args, Subcommand};

/// What all of banyan uses and does on this machine
#[derive(Debug, Args)]
pub struct System {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Look whether this machine has what banyan needs, and whether what banyan keeps is whole
    Check(check::Check),
    /// Show what this banyan is and where it keeps things
    Info(info::Info),
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
        Command::Check(command) => command.run(global),
        Command::Info(command) => command.run(global),
        Command::Df(command) => command.run(global),
        Command::Prune(command) => command.run(global),
    }
}

/// The kind of cgroups in words.
fn cgroups(view: &CgroupView) -> String {
    match view {
        CgroupView::Absent => "none".into(),
        CgroupView::Unified => "v2".into(),
        CgroupView::Split(controllers) => {
            let list: Vec<_> = controllers.iter().map(|group| group.join(",")).collect();
            format!("v1 ({})", list.join(" "))
        }
    }
}
