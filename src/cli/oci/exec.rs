//! `exec`.

use super::{Context, Failed, Outcome, streams};
use banyan_runtime::{
    confine::{Capabilities, capabilities},
    container::{Exact, ExecSettings, ExecStreams, Process, TerminalSize},
    oci::{self, Status, attend, spec},
};
use clap::Args;
use std::path::PathBuf;

/// `exec`.
#[derive(Debug, Args)]
pub(super) struct Exec {
    /// Working directory
    #[arg(long, value_name = "DIR")]
    cwd: Option<String>,
    /// Environment variable
    #[arg(short, long, value_name = "NAME=VALUE")]
    env: Vec<String>,
    /// Give it a terminal
    #[arg(short, long)]
    tty: bool,
    /// User and group, by number
    #[arg(short, long, value_name = "UID[:GID]")]
    user: Option<String>,
    /// Additional group, by number
    #[arg(short = 'g', long, value_name = "GID")]
    additional_gids: Vec<u32>,
    /// Description of the process, as `process` in config.json
    #[arg(short, long, value_name = "FILE")]
    process: Option<PathBuf>,
    /// Return when the program runs
    #[arg(short, long)]
    detach: bool,
    /// File that the process id is written to
    #[arg(long, value_name = "FILE")]
    pid_file: Option<PathBuf>,
    /// Socket that the terminal's master is sent to
    #[arg(long, value_name = "SOCKET")]
    console_socket: Option<PathBuf>,
    /// Refused: labels are not supported
    #[arg(long, value_name = "LABEL")]
    process_label: Option<String>,
    /// Refused: labels are not supported
    #[arg(long, value_name = "PROFILE")]
    apparmor: Option<String>,
    /// Give up new privileges
    #[arg(long)]
    no_new_privs: bool,
    /// Give a capability
    #[arg(short, long, value_name = "NAME")]
    cap: Vec<String>,
    /// Descriptors from 3 on that the process keeps
    #[arg(long, value_name = "NUMBER", default_value_t = 0)]
    preserve_fds: u16,
    /// Also in a paused container, whose processes do not run
    #[arg(long)]
    ignore_paused: bool,
    /// Refused: processes live in the container's own cgroup
    #[arg(long, value_name = "PATH")]
    cgroup: Option<String>,
    /// Name of the container
    id: String,
    /// Program and arguments
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    command: Vec<String>,
}

impl Exec {
    pub(super) fn run(&self, context: &Context) -> Outcome {
        let lacking = [
            (self.process_label.is_some(), "--process-label"),
            (self.apparmor.is_some(), "--apparmor"),
            (self.cgroup.is_some(), "--cgroup"),
        ];
        if let Some((_, flag)) = lacking.iter().find(|(given, _)| *given) {
            return Err(Failed::new(format!("{flag} is not supported")));
        }
        let preserved = streams::preserved(self.preserve_fds)?;
        attend::prepare().map_err(|error| Failed::caused("cannot block signals", &error))?;
        let allowed = [Status::Created, Status::Running, Status::Paused];
        let container = context.containers.living(&self.id, &allowed, "exec in")?;
        if container.is_paused() && !self.ignore_paused {
            return Err(Failed::new(format!("container `{}` is paused", self.id)));
        }
        let own = container.settings().map_err(|error| Failed::caused("", &error))?;
        let mut process = self.process(&own.process)?;
        let detached = self.detach || self.console_socket.is_some();
        streams::check_console(
            process.terminal.is_some(),
            detached,
            self.console_socket.as_deref(),
        )?;
        if let Some(exact) = &mut process.exact {
            exact.preserved = u32::try_from(preserved.len()).unwrap_or(u32::MAX);
        }
        let settings = ExecSettings {
            process,
            unconfined: false,
        };
        let [input, output, error] = streams::own()?;
        let given = ExecStreams { input, output, error };
        let execution = Context::launcher()?
            .exec_keeping(&container, &settings, Some(given), preserved)
            .map_err(|error| Failed::caused("cannot run the process", &error))?;
        if let (Some(socket), Some(master)) = (&self.console_socket, &execution.terminal) {
            streams::send_console(socket, master)?;
        }
        streams::write_pid(self.pid_file.as_deref(), execution.pid())?;
        if self.detach {
            return Ok(0);
        }
        let pidfd = std::os::fd::AsFd::as_fd(&execution.pidfd()).try_clone_to_owned();
        let pidfd = pidfd.map_err(|error| Failed::caused("cannot wait for the process", &error))?;
        let terminal = execution.terminal.filter(|_| self.console_socket.is_none());
        streams::attend(&pidfd, terminal)
    }

    /// From `--process`, or the container's own process with what was typed.
    fn process(&self, own: &Process) -> Result<Process, Failed> {
        if let Some(path) = &self.process {
            let written: spec::Process = oci::read(path).map_err(|error| Failed::caused("", &error))?;
            let mut process = oci::process(&written).map_err(|error| Failed::caused("", &error))?;
            if self.tty {
                process.terminal = process.terminal.or(Some(unknown_size()));
            }
            return Ok(process);
        }
        if self.command.is_empty() {
            return Err(Failed::new("no command is given"));
        }
        let mut process = Process {
            arguments: self.command.clone(),
            terminal: self.tty.then(unknown_size),
            ..own.clone()
        };
        process.environment.extend(self.env.iter().cloned());
        if let Some(cwd) = &self.cwd {
            process.cwd.clone_from(cwd);
        }
        process.no_new_privileges |= self.no_new_privs;
        let exact = process.exact.get_or_insert_default();
        if let Some(user) = &self.user {
            set_user(exact, user)?;
        }
        exact.groups.extend(&self.additional_gids);
        for name in &self.cap {
            let bit = capabilities::bit(name)
                .ok_or_else(|| Failed::new(format!("`{name}` is not a capability")))?;
            let sets = &mut process.capabilities;
            *sets = Capabilities {
                bounding: sets.bounding | bit,
                effective: sets.effective | bit,
                permitted: sets.permitted | bit,
                ..*sets
            };
        }
        Ok(process)
    }
}

fn unknown_size() -> TerminalSize {
    TerminalSize { rows: 0, columns: 0 }
}

fn set_user(exact: &mut Exact, text: &str) -> Result<(), Failed> {
    let (user, group) = text.split_once(':').unwrap_or((text, ""));
    let number = |text: &str| {
        text.parse()
            .map_err(|_| Failed::new(format!("`{text}` is no number of a user or group")))
    };
    exact.uid = number(user)?;
    if !group.is_empty() {
        exact.gid = number(group)?;
    }
    Ok(())
}
