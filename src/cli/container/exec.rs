//! `exec`: one more process in a running container.

use super::{refuse, registry::Registry};
use crate::cli::{CommandError, Exit, Outcome};
use banyan_runtime::{
    confine::Capabilities,
    container::{ContainerError, ExecSettings, ExecStreams, Process, TerminalSize},
    terminal::{self, RawMode},
};
use clap::Args;
use std::{
    fs::File,
    io::{Read, Write},
    os::fd::{AsFd, OwnedFd},
    path::PathBuf,
};

/// `exec`.
#[derive(Debug, Args)]
pub struct Exec {
    /// Return at once
    #[arg(short, long)]
    detach: bool,
    /// Give it our standard input
    #[arg(short, long)]
    interactive: bool,
    /// Allocate a terminal
    #[arg(short, long)]
    tty: bool,
    /// Environment variable
    #[arg(short, long, value_name = "NAME=VALUE")]
    env: Vec<String>,
    /// File with environment variables
    #[arg(long, value_name = "FILE")]
    env_file: Vec<PathBuf>,
    /// Working directory
    #[arg(short, long, value_name = "DIR")]
    workdir: Option<String>,
    /// User, by name or number
    #[arg(short, long, value_name = "USER[:GROUP]")]
    user: Option<String>,
    /// All capabilities, no seccomp
    #[arg(long)]
    privileged: bool,
    /// Container
    name: String,
    /// Command and arguments
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true)]
    command: Vec<String>,
}

impl Exec {
    pub(super) fn run(&self, registry: &Registry) -> Outcome {
        let entry = registry.find(&self.name)?;
        let running = entry.running()?;
        let own = &entry.settings.process;
        let mut process = Process {
            arguments: self.command.clone(),
            ..own.clone()
        };
        for path in &self.env_file {
            let text = fs_err::read_to_string(path).map_err(|error| {
                CommandError::caused(Exit::Status(125), "cannot read an environment file", &error)
            })?;
            let lines = text
                .lines()
                .filter(|line| !line.is_empty() && !line.starts_with('#'));
            process.environment.extend(lines.map(str::to_owned));
        }
        process.environment.extend(self.env.iter().cloned());
        if let Some(user) = &self.user {
            process.user.clone_from(user);
        }
        if let Some(cwd) = &self.workdir {
            if !cwd.starts_with('/') {
                return Err(refuse(format!(
                    "the working directory `{cwd}` must be an absolute path"
                )));
            }
            process.cwd.clone_from(cwd);
        }
        if self.privileged {
            process.capabilities = Capabilities::all();
            process.no_new_privileges = false;
        }
        process.oom_score_adj = None;
        let fallback = TerminalSize {
            rows: 24,
            columns: 80,
        };
        process.terminal = self.tty.then(|| terminal::size().unwrap_or(fallback));
        let settings = ExecSettings {
            process,
            unconfined: self.privileged,
        };
        let streams = if self.tty { None } else { Some(self.streams()?) };
        let execution = Registry::launcher()?
            .exec(&running, &settings, streams)
            .map_err(|error| self.failed(&error))?;
        if self.detach {
            return Ok(Exit::Success);
        }
        let raw = if self.tty && self.interactive {
            RawMode::enter().ok().flatten()
        } else {
            None
        };
        if let Some(master) = &execution.terminal {
            self.pass_terminal(master.as_fd().try_clone_to_owned());
        }
        let code = execution
            .wait(None)
            .map_err(|error| self.failed(&error))?
            .unwrap_or_default();
        drop(raw);
        Ok(Exit::Status(u8::try_from(code).unwrap_or(125)))
    }

    /// Our own streams, handed over as they are: nothing is copied by us.
    fn streams(&self) -> Result<ExecStreams, CommandError> {
        let failed =
            |error: std::io::Error| CommandError::caused(Exit::Host, "cannot hand over our streams", &error);
        let null = || {
            File::options()
                .read(true)
                .write(true)
                .open("/dev/null")
                .map(OwnedFd::from)
        };
        if self.detach {
            let open = || null().map_err(failed);
            return Ok(ExecStreams {
                input: open()?,
                output: open()?,
                error: open()?,
            });
        }
        let input = if self.interactive {
            std::io::stdin().as_fd().try_clone_to_owned()
        } else {
            null()
        };
        Ok(ExecStreams {
            input: input.map_err(failed)?,
            output: std::io::stdout().as_fd().try_clone_to_owned().map_err(failed)?,
            error: std::io::stderr().as_fd().try_clone_to_owned().map_err(failed)?,
        })
    }

    /// Terminal to our output until it closes, our input to the terminal on a thread that ends with this process.
    fn pass_terminal(&self, master: std::io::Result<OwnedFd>) {
        let Ok(mut master) = master.map(File::from) else {
            return;
        };
        if self.interactive
            && let Ok(mut to) = master.try_clone()
        {
            std::thread::spawn(move || {
                let mut buffer = vec![0; 4096];
                let mut from = std::io::stdin().lock();
                while let Ok(length) = from.read(&mut buffer) {
                    if length == 0 || to.write_all(&buffer[..length]).is_err() {
                        return;
                    }
                }
            });
        }
        let mut out = std::io::stdout().lock();
        let mut buffer = vec![0; 16 << 10];
        // EIO says that the last process has closed the terminal (pty(7)).
        while let Ok(length) = master.read(&mut buffer) {
            if length == 0
                || out
                    .write_all(&buffer[..length])
                    .and_then(|()| out.flush())
                    .is_err()
            {
                return;
            }
        }
    }

    fn failed(&self, error: &ContainerError) -> CommandError {
        let status = match error {
            ContainerError::Launch(launch) => Exit::Status(launch.exit_status()),
            _ => Exit::Failed,
        };
        let made = CommandError::caused(
            status,
            format!("cannot run a command in container `{}`", self.name),
            error,
        );
        match error.hint() {
            Some(hint) => made.hint(hint),
            None => made,
        }
    }
}
