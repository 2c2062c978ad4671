//! The hidden command that is a project's engine.

use super::{CommandError, Exit, Outcome};
use crate::{model::ProjectName, state::Roots};
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
