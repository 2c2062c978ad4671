//! The hidden commands that are a project's engine, and a single container's attendant.

use super::{CommandError, Exit, Outcome};
use crate::{
    engine::alone::{self, Errand},
    model::ProjectName,
    state::Roots,
};
use clap::Args;
use std::path::PathBuf;

/// Flags of the hidden command.
#[derive(Debug, Args)]
pub struct Engine {
    /// Folder of what survives a reboot
    #[arg(long)]
    state: PathBuf,
    /// Folder of sockets and locks
    #[arg(long)]
    run: PathBuf,
    /// The project
    #[arg(long)]
    name: String,
}

/// Flags of the other hidden command.
#[derive(Debug, Args)]
pub struct Attendant {
    /// Folder of what survives a reboot
    #[arg(long)]
    state: PathBuf,
    /// Folder of sockets and locks
    #[arg(long)]
    run: PathBuf,
    /// The container
    #[arg(long)]
    id: String,
    /// Go on for one that was killed
    #[arg(long = alone::TAKE_OVER)]
    take_over: bool,
}

/// Runs it until the container has ended.
///
/// # Errors
/// When it cannot start.
pub(super) fn attend(args: &Attendant) -> Outcome {
    let roots = Roots {
        state: args.state.clone(),
        run: args.run.clone(),
    };
    let errand = if args.take_over {
        Errand::TakeOver
    } else {
        Errand::Launch
    };
    alone::run(&roots, &args.id, errand).map_err(|error| {
        CommandError::caused(Exit::Host, "the container's network cannot be held", &error)
    })?;
    Ok(Exit::Success)
}

/// Runs it until nothing of the project runs.
///
/// # Errors
/// When the engine cannot start.
pub(super) fn run(args: &Engine) -> Outcome {
    let name = ProjectName::new(args.name.as_str())
        .map_err(|error| CommandError::new(Exit::Usage, error.to_string()))?;
    let roots = Roots {
        state: args.state.clone(),
        run: args.run.clone(),
    };
    crate::engine::serve::run(&roots, &name)
        .map_err(|error| CommandError::caused(Exit::Host, "the engine cannot run", &error))?;
    Ok(Exit::Success)
}
