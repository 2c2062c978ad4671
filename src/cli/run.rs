//! `banyan run`: one command of a service in a container of its own.
//!
//! 1. Load the project; the flags are read as keys of a service, by the same code that reads project files.
//! 2. The engine brings up dependencies, makes the container and starts it.
//! 3. Connected to it until it ends; its exit status is ours.

use super::{CommandError, Exit, Global, Outcome, context, detach_keys, drive, session, up};
use crate::{
    api::wire::{ContainerInfo, Message, Request, Run as Wanted, Up},
    model::{Project, Restart, RestartCondition, Service, Volume},
    project::{self, LoadOptions},
};
use banyan_runtime::container::ContainerDir;
use clap::Args;
use serde_json::{Value, json};
use std::{io::IsTerminal, ops::ControlFlow, path::PathBuf};

/// Flags of `run`.
#[derive(Debug, Clone, Args)]
#[expect(clippy::struct_excessive_bools, reason = "one field a flag")]
pub struct Run {
    /// Build its image even when nothing it is made from changed
    #[arg(long)]
    build: bool,
    /// Add a capability; may be given several times
    #[arg(long, value_name = "CAPABILITY")]
    cap_add: Vec<String>,
    /// Drop a capability; may be given several times
    #[arg(long, value_name = "CAPABILITY")]
    cap_drop: Vec<String>,
    /// Return when it is started, and print its id
    #[arg(short, long)]
    detach: bool,
    /// Program instead of the service's entrypoint
    #[arg(long, value_name = "PROGRAM")]
    entrypoint: Option<String>,
    /// Set a variable: NAME=VALUE, or NAME to pass it on; may be given several times
    #[arg(short, long, value_name = "NAME[=VALUE]")]
    env: Vec<String>,
    /// File with variables; may be given several times
    #[arg(long, value_name = "FILE")]
    env_from_file: Vec<String>,
    /// Give it our standard input
    #[arg(short, long, num_args = 0..=1, require_equals = true, value_name = "BOOL", default_value_t = true, default_missing_value = "true")]
    interactive: bool,
    /// Add a label: NAME=VALUE; may be given several times
    #[arg(short, long, value_name = "NAME=VALUE")]
    label: Vec<String>,
    /// Name of the container
    #[arg(long)]
    name: Option<String>,
    /// Without a terminal (one is given when standard input and output are terminals)
    #[arg(short = 'T', long = "no-tty", alias = "no-TTY")]
    no_tty: bool,
    /// With a terminal (accepted for compatibility)
    #[arg(short, long, hide = true)]
    tty: bool,
    /// Leave dependencies alone
    #[arg(long)]
    no_deps: bool,
    /// Publish a port: HOST:CONTAINER; may be given several times
    #[arg(short, long, value_name = "PORT")]
    publish: Vec<String>,
    /// Pull its image: always, missing or never
    #[arg(long, value_name = "WHEN", value_parser = ["always", "missing", "never", "policy"])]
    pull: Option<String>,
    /// Show no progress
    #[arg(short, long)]
    quiet: bool,
    /// Show no progress of builds
    #[arg(long)]
    quiet_build: bool,
    /// Show no progress of pulls
    #[arg(long)]
    quiet_pull: bool,
    /// Remove containers of services that are not in the project
    #[arg(long)]
    remove_orphans: bool,
    /// Remove the container when it has ended
    #[arg(long)]
    rm: bool,
    /// Publish the service's ports
    #[arg(short = 'P', long)]
    service_ports: bool,
    /// Let others find it by the service's names
    #[arg(long)]
    use_aliases: bool,
    /// As this user: name or number, with :group
    #[arg(short, long)]
    user: Option<String>,
    /// Mount: SOURCE:TARGET[:ro]; may be given several times
    #[arg(short, long, value_name = "VOLUME")]
    volume: Vec<String>,
    /// In this folder of the container
    #[arg(short, long, value_name = "DIR")]
    workdir: Option<String>,
    /// The service
    service: String,
    /// The command and its arguments (default: the service's own)
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    command: Vec<String>,
}

/// Runs it and gives the container's own exit status.
///
/// # Errors
/// What the engine reports; 125 to 127 when the command could not be started.
pub(super) fn run(global: &Global, args: &Run) -> Outcome {
    let mut project = context::load(global, std::slice::from_ref(&args.service))?;
    let known = up::known(&project, std::slice::from_ref(&args.service))?;
    let service = known.first().and_then(|name| project.services.get(name)).cloned();
    let Some(service) = service else {
        return Err(CommandError::new(
            Exit::Failed,
            format!("no such service: {}", args.service),
        ));
    };
    let here = service.here.then(Here::find).transpose()?;
    let flags = flags_as_service(args, &project, here.as_ref())?;
    for (key, volume) in flags.volumes {
        project.volumes.entry(key).or_insert(volume);
    }
    let name = args.name.clone().unwrap_or_else(|| {
        let random = crate::engine::names::new_id();
        format!("{}-{}-run-{}", project.name, service.name, &random[..12])
    });
    let interactive = args.interactive && !args.detach;
    let terminal =
        interactive && !args.no_tty && std::io::stdin().is_terminal() && std::io::stdout().is_terminal();
    let mut service = changed(service, flags.service, args, &name, interactive, terminal);
    if let Some(here) = &here {
        here.apply(&mut service, args);
    }
    let wanted = Wanted {
        name,
        use_aliases: args.use_aliases,
        auto_remove: args.rm,
        detach: args.detach,
        up: Up {
            no_deps: args.no_deps,
            remove_orphans: args.remove_orphans,
            build: args.build,
            pull: args.pull.clone().filter(|policy| policy != "policy"),
            ..up::plain(global, project)
        },
        service,
    };
    let global = Global {
        quiet_pull: args.quiet_pull,
        quiet_build: args.quiet_build,
        ..up::quiet(global, args.quiet)
    };
    start_and_follow(&global, args, wanted)
}

fn start_and_follow(global: &Global, args: &Run, wanted: Wanted) -> Outcome {
    if global.dry_run {
        let words = wanted.service.command.clone().unwrap_or_default().join(" ");
        super::print(&format!("run      {} {words}\n", wanted.name));
        return Ok(Exit::Success);
    }
    let client = context::client(global, &wanted.up.project.name);
    let (terminal, input) = (wanted.service.tty, wanted.service.stdin_open);
    let mut made: Option<ContainerInfo> = None;
    let until = |message: &Message| match message {
        Message::Containers { list } => {
            made = list.first().cloned();
            ControlFlow::Break(())
        }
        _ => ControlFlow::Continue(()),
    };
    let held = drive::drive_until(global, &client, &Request::Run(Box::new(wanted)), until)
        .map_err(as_of_a_container)?;
    let Some(made) = made else {
        return Err(CommandError::new(Exit::Internal, "the engine made no container"));
    };
    if args.detach {
        super::print(&format!("{}\n", made.id));
        return Ok(Exit::Success);
    }
    let roots = context::roots(global);
    let end = session::follow(&session::Session {
        dir: ContainerDir::new(roots.container(&made.id), roots.container_run(&made.id)),
        terminal,
        input,
        signals: true,
        owned: true,
        detach_keys: detach_keys::parse("ctrl-p,ctrl-q").unwrap_or_default(),
    });
    let end = end?;
    if let (session::End::Exited(_), Some(held)) = (end, held) {
        held.release();
    }
    Ok(end.exit(&made.name))
}

/// The status that docker gives when a container's program cannot be started.
fn as_of_a_container(mut error: CommandError) -> CommandError {
    if let Some(status) = error.status {
        error.exit = Exit::Status(status);
    }
    error
}

/// The caller's folder, for services that work on it (`x-banyan.here`).
struct Here {
    folder: PathBuf,
    /// `uid:gid` of its owner.
    owner: String,
    /// Whether we may run as somebody else.
    root: bool,
}

impl Here {
    fn find() -> Result<Self, CommandError> {
        use std::os::unix::fs::MetadataExt as _;
        let wrong = |error: &std::io::Error| {
            CommandError::caused(Exit::Host, "cannot tell the current folder", error)
        };
        let folder = std::env::current_dir().map_err(|error| wrong(&error))?;
        let data = std::fs::metadata(&folder).map_err(|error| wrong(&error))?;
        Ok(Self {
            folder,
            owner: format!("{}:{}", data.uid(), data.gid()),
            root: std::fs::metadata("/proc/self").is_ok_and(|data| data.uid() == 0),
        })
    }

    /// As a project file writes it.
    fn path(&self) -> String {
        self.folder.display().to_string().replace('$', "$$")
    }

    /// Works in the folder, and what it writes belongs to the folder's owner. A caller who is not root is root in the
    /// container already.
    fn apply(&self, service: &mut Service, args: &Run) {
        if args.workdir.is_none() {
            service.working_dir = Some(self.folder.display().to_string());
        }
        if args.user.is_none() && self.root {
            service.user = Some(self.owner.clone());
        }
    }
}

struct Flags {
    service: Service,
    volumes: std::collections::BTreeMap<String, Volume>,
}

/// The flags read as keys of a service, so that they mean what they mean in a project file.
fn flags_as_service(args: &Run, project: &Project, here: Option<&Here>) -> Result<Flags, CommandError> {
    // What was typed is meant as it stands.
    let plain =
        |texts: &[String]| -> Vec<String> { texts.iter().map(|text| text.replace('$', "$$")).collect() };
    let mut volumes = serde_json::Map::new();
    for volume in &args.volume {
        let source = volume.split(':').next().unwrap_or_default();
        if volume.contains(':') && !source.is_empty() && !source.starts_with(['/', '.', '~']) {
            // A name the project does not know is that of a volume of this machine.
            let known = project.volumes.contains_key(source);
            volumes.insert(
                source.to_owned(),
                if known {
                    Value::Null
                } else {
                    json!({"name": source})
                },
            );
        }
    }
    let mut service = json!({
        "image": "flags",
        "volumes": here
            .map(|here| json!({"type": "bind", "source": here.path(), "target": here.path()}))
            .into_iter()
            .chain(plain(&args.volume).into_iter().map(Value::from))
            .collect::<Vec<_>>(),
        "ports": plain(&args.publish),
        "environment": plain(&args.env),
        "env_file": plain(&args.env_from_file),
        "labels": plain(&args.label),
        "cap_add": plain(&args.cap_add),
        "cap_drop": plain(&args.cap_drop),
    });
    if let Some(entrypoint) = &args.entrypoint {
        service["entrypoint"] = entrypoint.replace('$', "$$").into();
    }
    let working_dir = std::env::current_dir()
        .map_err(|error| CommandError::caused(Exit::Host, "cannot tell the current folder", &error))?;
    let options = LoadOptions {
        stdin: Some(json!({"name": "flags", "services": {"flags": service}, "volumes": volumes}).to_string()),
        files: vec![PathBuf::from("-")],
        project_directory: Some(working_dir.clone()),
        project_name: None,
        profiles: Vec::new(),
        env_files: Vec::new(),
        services: Vec::new(),
        working_dir,
        environment: context::environment(),
    };
    match project::load(&options) {
        Ok(loaded) => {
            let volumes = loaded.project.volumes;
            let service = loaded.project.services.into_values().next();
            let service = service.ok_or_else(|| CommandError::new(Exit::Internal, "the flags were lost"))?;
            Ok(Flags { service, volumes })
        }
        Err(diagnostics) => {
            let text = diagnostics.to_text(&options.working_dir);
            Err(CommandError::new(Exit::Usage, "a flag of `run` cannot be used").details(text))
        }
    }
}

/// The service as this command wants it.
fn changed(
    service: Service,
    flags: Service,
    args: &Run,
    name: &str,
    interactive: bool,
    terminal: bool,
) -> Service {
    let mut service = service;
    if args.entrypoint.is_some() {
        service.entrypoint = flags.entrypoint;
        service.command = Some(Vec::new());
    }
    if !args.command.is_empty() {
        service.command = Some(args.command.clone());
    }
    service.environment.extend(flags.environment);
    service.labels.extend(flags.labels);
    // A later word on a capability counts.
    service.cap_add.retain(|name| !flags.cap_drop.contains(name));
    service.cap_drop.retain(|name| !flags.cap_add.contains(name));
    service.cap_add.extend(flags.cap_add);
    service.cap_drop.extend(flags.cap_drop);
    if let Some(user) = &args.user {
        service.user = Some(user.clone());
    }
    if let Some(folder) = &args.workdir {
        service.working_dir = Some(folder.clone());
    }
    let replaced = |target: &str| flags.mounts.iter().any(|mount| mount.target == target);
    service.mounts.retain(|mount| !replaced(&mount.target));
    service.mounts.extend(flags.mounts);
    // What is called in a folder (`x-banyan.here`) has ports because it is called for them.
    if !args.service_ports && !service.here {
        service.ports.clear();
    }
    service.ports.extend(flags.ports);
    service.container_name = Some(name.to_owned());
    service.restart = Restart {
        condition: RestartCondition::No,
        max_attempts: None,
        delay: None,
        window: None,
    };
    service.post_start.clear();
    service.pre_stop.clear();
    if !args.detach {
        service.tty = terminal;
        service.stdin_open = interactive;
    }
    // Its places point into the project's file, where the flags are not.
    service
        .places
        .retain(|key, _| !key.starts_with("volumes") && !key.starts_with("ports"));
    service
}
