//! `create`, `run`, `start`.

use super::{Context, Failed, Outcome, streams};
use banyan_runtime::{
    container::Direct,
    oci::{self, Started, attend, spec::Spec},
};
use clap::Args;
use std::path::{Path, PathBuf};

/// What `create` and `run` share.
#[derive(Debug, Args)]
struct New {
    /// Directory with config.json
    #[arg(short, long, value_name = "DIR", default_value = ".")]
    bundle: PathBuf,
    /// Name of the configuration file in the bundle, or its absolute path
    #[arg(short = 'f', long, value_name = "FILE", default_value = "config.json")]
    config: PathBuf,
    /// Socket that the terminal's master is sent to
    #[arg(long, value_name = "SOCKET")]
    console_socket: Option<PathBuf>,
    /// File that the process id is written to
    #[arg(long, value_name = "FILE")]
    pid_file: Option<PathBuf>,
    /// Descriptors from 3 on that the container keeps
    #[arg(long, value_name = "NUMBER", default_value_t = 0)]
    preserve_fds: u16,
    /// Accepted: the root is always entered by pivot_root
    #[arg(long, hide = true)]
    no_pivot: bool,
    /// Accepted: sessions' keyrings are not made
    #[arg(long, hide = true)]
    no_new_keyring: bool,
    /// Name of the container
    id: String,
}

/// `create`.
#[derive(Debug, Args)]
pub(super) struct Create {
    #[command(flatten)]
    new: New,
}

/// `run`.
#[derive(Debug, Args)]
pub(super) struct Run {
    /// Return when the program runs
    #[arg(short, long)]
    detach: bool,
    /// Do not delete the container when it has ended
    #[arg(long)]
    keep: bool,
    /// Accepted: orphans of a container are the concern of whoever started us
    #[arg(long, hide = true)]
    no_subreaper: bool,
    #[command(flatten)]
    new: New,
}

/// `start`.
#[derive(Debug, Args)]
pub(super) struct Start {
    /// Name of the container
    id: String,
}

impl New {
    /// Creates the container; `attended`: we stay and attend its terminal ourselves.
    fn create(&self, context: &Context, attended: bool) -> Result<Started, Failed> {
        let preserved = streams::preserved(self.preserve_fds)?;
        let bundle = std::path::absolute(&self.bundle)
            .map_err(|error| Failed::caused("cannot find the bundle", &error))?;
        let spec: Spec = oci::read(&bundle.join(&self.config)).map_err(|error| Failed::caused("", &error))?;
        let terminal = spec.process.as_ref().is_some_and(|process| process.terminal);
        let detached = !attended;
        streams::check_console(terminal, detached, self.console_socket.as_deref())?;
        let direct = Direct {
            streams: streams::own()?,
            preserved,
        };
        let launcher = Context::launcher()?;
        let started = context
            .containers
            .create(&launcher, &self.id, &bundle, &spec, direct)?;
        let finished = self.finish(&started);
        if finished.is_err() {
            let _ = context.containers.delete(&self.id, true);
        }
        finished.map(|()| started)
    }

    fn finish(&self, started: &Started) -> Result<(), Failed> {
        if let (Some(socket), Some(master)) = (&self.console_socket, &started.handed.terminal) {
            streams::send_console(socket, master)?;
        }
        streams::write_pid(self.pid_file.as_deref(), started.handed.pid)
    }

    fn pid_file(&self) -> Option<&Path> {
        self.pid_file.as_deref()
    }
}

impl Create {
    pub(super) fn run(&self, context: &Context) -> Outcome {
        self.new.create(context, false)?;
        Ok(0)
    }
}

impl Start {
    pub(super) fn run(&self, context: &Context) -> Outcome {
        context.containers.start(&self.id)?;
        Ok(0)
    }
}

impl Run {
    pub(super) fn run(&self, context: &Context) -> Outcome {
        attend::prepare().map_err(|error| Failed::caused("cannot block signals", &error))?;
        let attended = !self.detach && self.new.console_socket.is_none();
        let started = self.new.create(context, attended)?;
        if let Err(error) = context.containers.start(&self.new.id) {
            let _ = context.containers.delete(&self.new.id, true);
            if let Some(path) = self.new.pid_file() {
                let _ = fs_err::remove_file(path);
            }
            return Err(error.into());
        }
        if self.detach {
            return Ok(0);
        }
        let terminal = started.handed.terminal.filter(|_| attended);
        let status = streams::attend(&started.handed.pidfd, terminal)?;
        if !self.keep {
            context.containers.delete(&self.new.id, true)?;
        }
        Ok(status)
    }
}
