//! `banyan scale`: how many containers of a service there are.

use super::{CommandError, Exit, Global, Outcome, context, up};
use clap::Args;

/// Flags of `scale`.
#[derive(Debug, Clone, Args)]
pub struct Scale {
    /// Leave dependencies alone
    #[arg(long)]
    no_deps: bool,
    /// SERVICE=NUMBER, one or more
    #[arg(required = true, value_name = "SERVICE=NUMBER")]
    scales: Vec<String>,
}

/// Runs it.
///
/// # Errors
/// What cannot be understood, or what the engine reports.
pub(super) fn run(global: &Global, args: &Scale) -> Outcome {
    let names: Vec<String> = args
        .scales
        .iter()
        .filter_map(|scale| Some(scale.split_once('=')?.0.to_owned()))
        .collect();
    if names.len() < args.scales.len() {
        return Err(
            CommandError::new(Exit::Usage, "a scale is written SERVICE=NUMBER").hint("for example `web=3`"),
        );
    }
    let mut project = context::load(global, &names)?;
    let services = up::known(&project, &names)?;
    up::scale(&mut project, &args.scales)?;
    let wanted = crate::api::wire::Up {
        services,
        no_deps: args.no_deps,
        ..up::plain(global, project)
    };
    up::converge(global, wanted)?;
    Ok(Exit::Success)
}
