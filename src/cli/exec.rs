//! `banyan exec`: a command in a running container of a service.
//!
//! The process is made by this command itself, through the runtime: the engine is not on the way of its bytes.

use super::{CommandError, Exit, Global, Outcome, context, interrupt, ps, terminal_session};
use crate::{api::wire::ContainerInfo, engine::record::Record, plan::Phase};
use banyan_runtime::{
    confine::Capabilities,
    container::{
        ContainerDir, ContainerError, ExecSettings, ExecStreams, Execution, Found, Launcher, Process,
        TerminalSize,
    },
};
use clap::Args;
use std::{io::IsTerminal, os::fd::AsFd, path::Path};

/// Flags of `exec`.
#[derive(Debug, Clone, Args)]
#[expect(clippy::struct_excessive_bools, reason = "one field a flag")]
pub struct Exec {
    /// Return at once
    #[arg(short, long)]
    detach: bool,
    /// Set a variable: NAME=VALUE; may be given several times
    #[arg(short, long, value_name = "NAME=VALUE")]
    env: Vec<String>,
    /// Which replica of the service
    #[arg(long, default_value_t = 1)]
    index: u32,
    /// Without a terminal (one is given when standard input and output are terminals)
    #[arg(short = 'T', long = "no-tty", alias = "no-TTY")]
    no_tty: bool,
    /// Keep standard input open (always done; accepted for compatibility)
    #[arg(short, long, hide = true)]
    interactive: bool,
    /// With a terminal (accepted for compatibility)
    #[arg(short, long, hide = true)]
    tty: bool,
    /// With all capabilities and system calls
    #[arg(long)]
    privileged: bool,
    /// As this user: name or number, with :group
    #[arg(short, long)]
    user: Option<String>,
    /// In this folder of the container
    #[arg(short, long)]
    workdir: Option<String>,
    /// The service
    service: String,
    /// The command and its arguments
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, required = true)]
    command: Vec<String>,
}

/// Runs it and gives the command's own exit status.
///
/// # Errors
/// When the service does not run, or the command cannot be executed (126 and 127 as docker gives them).
pub(super) fn run(global: &Global, args: &Exec) -> Outcome {
    let name = context::project_name(global)?;
    let container = find(ps::list(global, &name)?, &args.service, args.index)?;
    let roots = context::roots(global);
    let record = Record::read(&roots, &container.id)
        .map_err(|error| CommandError::caused(Exit::Host, "cannot read the container's record", &error))?
        .ok_or_else(|| CommandError::new(Exit::Failed, format!("`{}` is gone", container.name)))?;
    let dir = ContainerDir::new(roots.container(&container.id), roots.container_run(&container.id));
    let found = banyan_runtime::container::open(&dir)
        .map_err(|error| CommandError::caused(Exit::Host, "cannot open the container", &error))?;
    let Found::Running(running) = found else {
        return Err(CommandError::new(
            Exit::Failed,
            format!("service `{}` is not running", args.service),
        ));
    };
    let launcher = Launcher::new(Path::new("/proc/self/exe"))
        .map_err(|error| CommandError::caused(Exit::Host, "cannot start a process in a container", &error))?;
    let wants_terminal =
        !args.no_tty && !args.detach && std::io::stdin().is_terminal() && std::io::stdout().is_terminal();
    let process = process(args, &record, wants_terminal);
    let settings = ExecSettings {
        process,
        unconfined: args.privileged,
    };
    if wants_terminal {
        let execution = launcher
            .exec(&running, &settings, None)
            .map_err(|error| refused(args, &error))?;
        return terminal_session::run(execution);
    }
    let fail = |error: std::io::Error| {
        CommandError::caused(Exit::Host, "cannot pass on standard input or output", &error)
    };
    let streams = if args.detach {
        let null = || {
            std::fs::File::options()
                .read(true)
                .write(true)
                .open("/dev/null")
                .map(Into::into)
        };
        ExecStreams {
            input: null().map_err(fail)?,
            output: null().map_err(fail)?,
            error: null().map_err(fail)?,
        }
    } else {
        ExecStreams {
            input: std::io::stdin().as_fd().try_clone_to_owned().map_err(fail)?,
            output: std::io::stdout().as_fd().try_clone_to_owned().map_err(fail)?,
            error: std::io::stderr().as_fd().try_clone_to_owned().map_err(fail)?,
        }
    };
    let execution = launcher
        .exec(&running, &settings, Some(streams))
        .map_err(|error| refused(args, &error))?;
    if args.detach {
        return Ok(Exit::Success);
    }
    pass_on_signals(&execution).map_err(fail)?;
    let status = execution
        .wait(None)
        .map_err(|error| CommandError::caused(Exit::Host, "cannot wait for the command", &error))?;
    Ok(Exit::Status(
        status
            .and_then(|status| u8::try_from(status).ok())
            .unwrap_or(u8::MAX),
    ))
}

/// Ctrl-C and its relatives go to the command, whose end is then ours: it is not of our terminal's process group.
fn pass_on_signals(execution: &Execution) -> std::io::Result<()> {
    let (send, signals) = std::sync::mpsc::channel();
    interrupt::forward_each(send)?;
    let command = execution.pidfd().try_clone_to_owned()?;
    std::thread::spawn(move || {
        for signal in signals {
            // It may just have ended.
            let _ = banyan_runtime::sys::pidfd::signal(&command, signal);
        }
    });
    Ok(())
}

/// A running container of a service.
///
/// # Errors
/// When there is none.
pub(super) fn find(
    containers: Vec<ContainerInfo>,
    service: &str,
    index: u32,
) -> Result<ContainerInfo, CommandError> {
    let known: Vec<String> = containers.iter().map(|c| c.slot.service.to_string()).collect();
    let of_service: Vec<_> = containers
        .into_iter()
        .filter(|c| c.slot.service.as_str() == service && !c.one_off)
        .collect();
    if of_service.is_empty() {
        let mut error = CommandError::new(Exit::Failed, format!("no container of service `{service}`"));
        if !known.is_empty() {
            error = error.hint(format!("there are containers of {}", known.join(", ")));
        }
        return Err(error);
    }
    let found = of_service.into_iter().find(|c| c.slot.number == index);
    let running = found.filter(|c| matches!(c.phase, Phase::Running | Phase::Paused));
    running.ok_or_else(|| {
        CommandError::new(
            Exit::Failed,
            format!("service `{service}` is not running container #{index}"),
        )
        .hint(format!("`banyan up -d {service}` starts it"))
    })
}

fn process(args: &Exec, record: &Record, terminal: bool) -> Process {
    let mut process = Process {
        stdin: false,
        ..record.settings.process.clone()
    };
    process.arguments.clone_from(&args.command);
    process.terminal = terminal
        .then(terminal_session::size)
        .flatten()
        .or(terminal.then_some(TerminalSize {
            rows: 24,
            columns: 80,
        }));
    if let Some(user) = &args.user {
        process.user.clone_from(user);
    }
    if let Some(folder) = &args.workdir {
        process.cwd.clone_from(folder);
    }
    if args.privileged {
        process.capabilities = Capabilities::all();
        process.no_new_privileges = false;
    }
    for variable in &args.env {
        let (name, value) = match variable.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (variable.as_str(), context::environment().remove(variable)),
        };
        process
            .environment
            .retain(|pair| pair.split_once('=').is_none_or(|(known, _)| known != name));
        process
            .environment
            .extend(value.map(|value| format!("{name}={value}")));
    }
    process
}

fn refused(args: &Exec, error: &ContainerError) -> CommandError {
    let exit = match error {
        ContainerError::Launch(launch) => Exit::Status(launch.exit_status()),
        _ => Exit::Failed,
    };
    let made = CommandError::caused(
        exit,
        format!(
            "cannot execute `{}` in service `{}`",
            args.command.join(" "),
            args.service
        ),
        error,
    );
    match error.hint() {
        Some(hint) => made.hint(hint),
        None => made,
    }
}
