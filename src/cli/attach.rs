//! `banyan attach`: connect to a running container of a service.

use super::{CommandError, Exit, Global, Outcome, context, detach_keys, exec, ps, session};
use crate::engine::record::Record;
use banyan_runtime::container::ContainerDir;
use clap::Args;

/// Flags of `attach`.
#[derive(Debug, Clone, Args)]
pub struct Attach {
    /// Keys that leave the container (it goes on): `ctrl-x` or characters, parted by commas
    #[arg(long, value_name = "KEYS", default_value = "ctrl-p,ctrl-q")]
    detach_keys: String,
    /// Which replica of the service
    #[arg(long, default_value_t = 1)]
    index: u32,
    /// Do not give it our standard input
    #[arg(long)]
    no_stdin: bool,
    /// Pass signals on to the container; without, Ctrl-C only leaves it
    #[arg(long, num_args = 0..=1, require_equals = true, value_name = "BOOL", default_value_t = true, default_missing_value = "true")]
    sig_proxy: bool,
    /// The service
    service: String,
}

/// Runs it and gives the container's exit status.
///
/// # Errors
/// When the service does not run.
pub(super) fn run(global: &Global, args: &Attach) -> Outcome {
    let keys = detach_keys::parse(&args.detach_keys).map_err(|part| {
        CommandError::new(Exit::Usage, format!("`{part}` is not a key"))
            .hint("write `ctrl-p,ctrl-q` or single characters")
    })?;
    let name = context::project_name(global)?;
    let container = exec::find(ps::list(global, &name)?, &args.service, args.index)?;
    let roots = context::roots(global);
    let record = Record::read(&roots, &container.id)
        .map_err(|error| CommandError::caused(Exit::Host, "cannot read the container's record", &error))?
        .ok_or_else(|| CommandError::new(Exit::Failed, format!("`{}` is gone", container.name)))?;
    let process = &record.settings.process;
    let terminal = process.terminal.is_some();
    let end = session::follow(&session::Session {
        dir: ContainerDir::new(roots.container(&container.id), roots.container_run(&container.id)),
        terminal,
        input: !args.no_stdin && (process.stdin || terminal),
        signals: args.sig_proxy,
        owned: false,
        detach_keys: keys,
    })?;
    Ok(end.exit(&container.name))
}
