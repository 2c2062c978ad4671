//! `banyan down`.

use super::{Exit, Global, Outcome, context, drive, up};
use crate::api::wire::{Down as Wanted, Request};
use clap::Args;
use std::{collections::BTreeSet, time::Duration};

/// Flags of `down`.
#[derive(Debug, Clone, Args)]
pub struct Down {
    /// Only these services
    services: Vec<String>,
    /// Remove volumes too: their data is gone
    #[arg(short, long)]
    volumes: bool,
    /// Remove containers of services that are not in the project
    #[arg(long)]
    remove_orphans: bool,
    /// Seconds between asking a container to stop and killing it
    #[arg(short, long, value_name = "SECONDS")]
    timeout: Option<u64>,
    /// Remove images: `local` (built here, without a name of their own) or `all`
    #[arg(long, value_name = "WHICH", value_parser = ["local", "all"])]
    rmi: Option<String>,
}

/// Runs it.
///
/// # Errors
/// What could not be removed.
pub(super) fn run(global: &Global, args: &Down) -> Outcome {
    // Only a name: the file may be gone, and what was last applied is enough.
    let (name, project) = if global.file.is_empty() && global.project_name.is_some() {
        (context::project_name(global)?, None)
    } else {
        let project = context::load(global, &[])?;
        (project.name.clone(), Some(Box::new(project)))
    };
    let services = match &project {
        Some(project) => up::known(project, &args.services)?,
        None => args
            .services
            .iter()
            .filter_map(|name| crate::model::ServiceName::new(name.as_str()).ok())
            .collect::<BTreeSet<_>>(),
    };
    let client = context::client(global, &name);
    let wanted = Wanted {
        project,
        services,
        volumes: args.volumes,
        remove_orphans: args.remove_orphans,
        timeout: args.timeout.map(Duration::from_secs),
        rmi: args.rmi.clone(),
        dry_run: global.dry_run,
    };
    drive::drive(global, &client, &Request::Down(wanted), |_| {})?;
    Ok(Exit::Success)
}
