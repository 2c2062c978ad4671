//! `banyan oci …`: the runtime with `runc`'s command line, for Podman, containerd and everybody who knows it.
//!
//! 1. [`Oci`] and [`Command`]: what may be typed, parsed apart from the rest, so that the flags mean what they mean in runc.
//! 2. [`create`]: create, run, start. [`exec`]: one more process. [`life`]: kill, delete, pause, resume, update. [`show`]:
//!    state, list, ps, events, features, spec.
//! 3. [`streams`]: terminals, console sockets, kept descriptors, files of process ids.
//!
//! A program called `banyan-oci` (a link to ours) is this command alone: engines want a path without arguments.

mod create;
mod exec;
mod life;
mod log;
mod show;
mod streams;

use banyan_runtime::{
    container::Launcher,
    oci::{Containers, Manager, OciError},
};
use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
use std::{
    ffi::OsString,
    path::{Path, PathBuf},
};

/// The name under which this program is an OCI runtime and nothing else.
pub const NAME: &str = "banyan-oci";

/// The runtime of banyan with the command line of an OCI runtime
#[derive(Debug, Parser)]
#[command(
    name = "banyan oci",
    // Tools look for the second line, as runc prints it.
    version = concat!(env!("CARGO_PKG_VERSION"), "\nspec: 1.2.1"),
    disable_help_subcommand = true,
    max_term_width = 100
)]
pub(super) struct Oci {
    /// Directory of the containers' state
    #[arg(long, value_name = "DIR")]
    root: Option<PathBuf>,
    /// File that errors are appended to
    #[arg(long, value_name = "FILE")]
    log: Option<PathBuf>,
    /// Format of that file
    #[arg(long, value_name = "FORMAT", default_value = "text", value_parser = ["text", "json"])]
    log_format: String,
    /// Say more in that file
    #[arg(long)]
    debug: bool,
    /// Have systemd make cgroups: linux.cgroupsPath is slice:prefix:name then
    #[arg(long)]
    systemd_cgroup: bool,
    /// Who makes cgroups
    #[arg(long, value_name = "MANAGER", default_value = "cgroupfs", value_parser = ["cgroupfs", "systemd", "disabled"])]
    cgroup_manager: String,
    /// Accepted: whether this is rootless is seen, not told
    #[arg(long, value_name = "BOOL", hide = true)]
    rootless: Option<String>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Create a container of a bundle, without starting its program
    Create(create::Create),
    /// Start the program of a created container
    Start(create::Start),
    /// Create and start a container, wait for its end, delete it
    Run(create::Run),
    /// Run one more process in a container
    Exec(Box<exec::Exec>),
    /// Print a container's state
    State(show::Id),
    /// Send a signal to a container
    Kill(life::Kill),
    /// Delete a stopped container
    Delete(life::Delete),
    /// List containers
    List(show::List),
    /// List a container's processes
    Ps(show::Ps),
    /// Freeze a container's processes
    Pause(show::Id),
    /// Let them go on
    Resume(show::Id),
    /// Change a container's limits
    Update(life::Update),
    /// Print what a container uses, and when it runs out of memory
    Events(show::Events),
    /// Print what this runtime can do
    Features,
    /// Write an example of a config.json
    Spec(show::Spec),
}

/// How a command ended: a status, or what went wrong.
type Outcome = Result<u8, Failed>;

/// An error, as one line of text.
#[derive(Debug)]
struct Failed(String);

impl Failed {
    fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// `what`, then the chain of causes.
    fn caused(what: &str, error: &dyn std::error::Error) -> Self {
        let mut text = what.to_owned();
        let mut next = Some(error);
        while let Some(error) = next {
            let cause = error.to_string();
            if !text.is_empty() {
                text += ": ";
            }
            text += &cause;
            next = error.source();
        }
        Self(text)
    }
}

impl From<OciError> for Failed {
    fn from(error: OciError) -> Self {
        Self::caused("", &error)
    }
}

/// What every command needs.
struct Context {
    containers: Containers,
}

impl Context {
    fn launcher() -> Result<Launcher, Failed> {
        Launcher::new(Path::new("/proc/self/exe"))
            .map_err(|error| Failed::caused("cannot prepare containers", &error))
    }
}

/// Runs the command line after `banyan oci`; `state` is where containers are without `--root`.
pub(super) fn main(words: Vec<OsString>, state: Option<&Path>) -> u8 {
    let parsed = Oci::command()
        .try_get_matches_from(std::iter::once(OsString::from("banyan oci")).chain(words))
        .and_then(|matches| Oci::from_arg_matches(&matches));
    let oci = match parsed {
        Ok(oci) => oci,
        Err(error) => {
            let _ = error.print();
            return u8::from(error.use_stderr());
        }
    };
    match run(&oci, state) {
        Ok(status) => status,
        Err(Failed(text)) => {
            log::error(&oci, &text);
            1
        }
    }
}

fn run(oci: &Oci, state: Option<&Path>) -> Outcome {
    if oci.cgroup_manager == "disabled" {
        return Err(Failed::new(
            "containers without cgroups are not supported: use the manager `cgroupfs`",
        ));
    }
    let root = oci
        .root
        .clone()
        .or_else(|| state.map(|state| state.join("run/oci")))
        .unwrap_or_else(|| PathBuf::from("/run/banyan/oci"));
    let root = std::path::absolute(&root).unwrap_or(root);
    let manager = if oci.systemd_cgroup || oci.cgroup_manager == "systemd" {
        Manager::Systemd
    } else {
        Manager::Cgroupfs
    };
    let context = Context {
        containers: Containers::new(root, manager),
    };
    match &oci.command {
        Command::Create(create) => create.run(&context),
        Command::Start(start) => start.run(&context),
        Command::Run(run) => run.run(&context),
        Command::Exec(exec) => exec.run(&context),
        Command::State(id) => id.state(&context),
        Command::Kill(kill) => kill.run(&context),
        Command::Delete(delete) => delete.run(&context),
        Command::List(list) => list.run(&context),
        Command::Ps(ps) => ps.run(&context),
        Command::Pause(id) => id.pause(&context),
        Command::Resume(id) => id.resume(&context),
        Command::Update(update) => update.run(&context),
        Command::Events(events) => events.run(&context),
        Command::Features => show::features(),
        Command::Spec(spec) => spec.run(),
    }
}

/// Prints data; a reader that went away is no error.
fn print(text: &str) {
    use std::io::Write;
    let _ = writeln!(std::io::stdout(), "{text}");
}

#[cfg(test)]
mod tests {
    use super::Oci;
    use clap::CommandFactory;

    #[test]
    fn the_version_names_the_specification_that_is_followed() {
        let version = Oci::command().get_version().unwrap_or_default().to_owned();
        assert!(version.ends_with(&format!("spec: {}", banyan_runtime::oci::VERSION)));
        Oci::command().debug_assert();
    }
}
