//! `banyan up` and `banyan create`.
//!
//! 1. Load the project, ask its engine to converge, show the progress.
//! 2. With `-d` or `--wait`: a summary with the addresses to open, and done.
//! 3. Otherwise follow the output until everything has ended, or Ctrl-C, which stops in reverse order.

use super::{CommandError, Exit, Global, Outcome, attached, context, drive, push, terminal};
use crate::{
    api::wire::{ContainerInfo, ImagesOnly, Message, Request, Up as Wanted},
    model::{FileSource, Project, ServiceName, SshAgent},
    plan::Phase,
};
use banyan_runtime::build::remote::{GIT_VARIABLES, Remote};
use clap::Args;
use std::{
    collections::{BTreeMap, BTreeSet},
    io::Write,
    time::Duration,
};

/// Flags that `up` and `create` share.
#[derive(Debug, Clone, Args)]
pub(super) struct Common {
    /// Only these services and what they depend on
    services: Vec<String>,
    /// Build images even when nothing they are made from changed
    #[arg(long, conflicts_with = "no_build")]
    build: bool,
    /// Never build images
    #[arg(long)]
    no_build: bool,
    /// Pull images: always, missing or never
    #[arg(long, value_name = "WHEN", value_parser = ["always", "missing", "never", "policy"])]
    pull: Option<String>,
    /// Make containers anew even when nothing changed
    #[arg(long, conflicts_with = "no_recreate")]
    force_recreate: bool,
    /// Never make containers anew
    #[arg(long)]
    no_recreate: bool,
    /// Remove containers of services that are not in the project
    #[arg(long)]
    remove_orphans: bool,
    /// How many containers of a service: SERVICE=N; may be given several times
    #[arg(long, value_name = "SERVICE=N")]
    scale: Vec<String>,
    /// Answer yes to every question
    #[arg(short = 'y', long)]
    yes: bool,
    /// Show no progress of pulls
    #[arg(long)]
    quiet_pull: bool,
    /// Show no output of builds
    #[arg(long)]
    quiet_build: bool,
}

impl Common {
    fn quieted(&self, global: &Global) -> Global {
        Global {
            quiet_pull: self.quiet_pull,
            quiet_build: self.quiet_build,
            ..global.clone()
        }
    }
}

/// Flags of `create`.
#[derive(Debug, Clone, Args)]
pub struct Create {
    /// Flags shared with `up`.
    #[command(flatten)]
    common: Common,
}

/// Flags of `up`.
#[derive(Debug, Clone, Args)]
#[expect(clippy::struct_excessive_bools, reason = "one field a flag")]
pub struct Up {
    /// Flags shared with `create`.
    #[command(flatten)]
    common: Common,
    /// Return when everything is started
    #[arg(short, long)]
    detach: bool,
    /// Return when everything runs and is healthy
    #[arg(long)]
    wait: bool,
    /// Give up waiting after so many seconds
    #[arg(long, value_name = "SECONDS", requires = "wait")]
    wait_timeout: Option<u64>,
    /// Leave dependencies alone
    #[arg(long)]
    no_deps: bool,
    /// Create, but do not start
    #[arg(long)]
    no_start: bool,
    /// `--force-recreate` concerns dependencies too
    #[arg(long)]
    always_recreate_deps: bool,
    /// Forget anonymous volumes of recreated containers
    #[arg(short = 'V', long)]
    renew_anon_volumes: bool,
    /// Bring changes of the project's folders into its containers meanwhile (`develop.watch`)
    #[arg(short, long, conflicts_with_all = ["detach", "wait", "no_start"])]
    watch: bool,
    /// Stop everything when one container ends
    #[arg(long, conflicts_with = "detach")]
    abort_on_container_exit: bool,
    /// Stop everything when one container fails
    #[arg(long, conflicts_with = "detach")]
    abort_on_container_failure: bool,
    /// Give the exit status of this service; implies --abort-on-container-exit
    #[arg(long, value_name = "SERVICE", conflicts_with = "detach")]
    exit_code_from: Option<String>,
    /// Show the output of these services only; may be given several times
    #[arg(long, value_name = "SERVICE")]
    attach: Vec<String>,
    /// Do not show the output of this service; may be given several times
    #[arg(long, value_name = "SERVICE")]
    no_attach: Vec<String>,
    /// Show the output of dependencies too when services are named
    #[arg(long)]
    attach_dependencies: bool,
    /// Show times in the output
    #[arg(long)]
    timestamps: bool,
    /// Show output without names
    #[arg(long)]
    no_log_prefix: bool,
    /// Show output without colours
    #[arg(long)]
    no_color: bool,
    /// Seconds between asking a container to stop and killing it
    #[arg(short, long, value_name = "SECONDS")]
    timeout: Option<u64>,
}

/// Runs `up`.
///
/// # Errors
/// Mistakes of the project file; what the engine reports.
pub(super) fn up(global: &Global, args: &Up) -> Outcome {
    let begun = crate::engine::events::now();
    let mut wanted = wanted(global, &args.common)?;
    wanted.no_deps = args.no_deps;
    wanted.no_start = args.no_start;
    wanted.always_recreate_deps = args.always_recreate_deps;
    wanted.renew_anon_volumes = args.renew_anon_volumes;
    wanted.wait = args.wait;
    wanted.wait_timeout = args.wait_timeout.map(Duration::from_secs);
    wanted.timeout = args.timeout.map(Duration::from_secs);
    let project = wanted.project.clone();
    if let Some(name) = &args.exit_code_from {
        known(&project, std::slice::from_ref(name))?;
    }
    converge(&args.common.quieted(global), wanted)?;
    if global.dry_run {
        return Ok(Exit::Success);
    }
    if args.detach || args.wait || args.no_start {
        if !args.no_start {
            summary(global, &project);
        }
        return Ok(Exit::Success);
    }
    if args.watch {
        watch_beside(global, &project, &args.common.services)?;
    }
    let mut named = known(&project, &args.common.services)?;
    if let (Some(service), false) = (&args.exit_code_from, named.is_empty()) {
        named.extend(known(&project, std::slice::from_ref(service))?);
    }
    let follow = attached::Attached {
        begun,
        services: shown(&project, args),
        named,
        timestamps: args.timestamps,
        prefix: !args.no_log_prefix,
        colour: !args.no_color,
        end: match (
            &args.exit_code_from,
            args.abort_on_container_exit,
            args.abort_on_container_failure,
        ) {
            (Some(service), ..) => attached::End::StatusOf(service.clone()),
            (None, true, _) => attached::End::FirstExit,
            (None, false, true) => attached::End::FirstFailure,
            // A restart or rebuild may leave nothing running for a moment.
            (None, false, false) if args.watch => attached::End::Asked,
            (None, false, false) => attached::End::AllExited,
        },
        timeout: args.timeout.map(Duration::from_secs),
    };
    attached::follow(global, &project.name, &follow)
}

/// Watches on a thread of its own, for as long as this process lives.
fn watch_beside(global: &Global, project: &Project, services: &[String]) -> Result<(), CommandError> {
    let named = known(project, services)?;
    let mut session = super::watch::Session::new(&quiet(global, true), project, &named)?;
    std::thread::spawn(move || {
        session.begin();
        while session.step().is_ok() {}
    });
    Ok(())
}

/// Runs `create`.
///
/// # Errors
/// As `up`.
pub(super) fn create(global: &Global, args: &Create) -> Outcome {
    let mut wanted = wanted(global, &args.common)?;
    wanted.no_start = true;
    converge(&args.common.quieted(global), wanted)?;
    Ok(Exit::Success)
}

/// What the shared flags ask for.
fn wanted(global: &Global, args: &Common) -> Result<Wanted, CommandError> {
    let mut project = context::load(global, &args.services)?;
    let services = known(&project, &args.services)?;
    scale(&mut project, &args.scale)?;
    Ok(Wanted {
        services,
        force_recreate: args.force_recreate,
        no_recreate: args.no_recreate,
        remove_orphans: args.remove_orphans,
        build: args.build,
        no_build: args.no_build,
        pull: args.pull.clone().filter(|policy| policy != "policy"),
        ..plain(global, project)
    })
}

/// Convergence to a project without any flag.
pub(super) fn plain(global: &Global, project: Project) -> Wanted {
    let environment = referred_environment(&project);
    Wanted {
        project,
        services: BTreeSet::new(),
        no_deps: false,
        no_start: false,
        force_recreate: false,
        no_recreate: false,
        always_recreate_deps: false,
        renew_anon_volumes: false,
        remove_orphans: false,
        build: false,
        no_build: false,
        pull: None,
        wait: false,
        wait_timeout: None,
        timeout: None,
        parallel: global.parallel,
        dry_run: global.dry_run,
        images_only: None,
        environment,
    }
}

/// Flags of `build`.
#[derive(Debug, Clone, Args)]
pub struct Build {
    /// Only these services
    services: Vec<String>,
    /// Do every step anew
    #[arg(long)]
    no_cache: bool,
    /// Refresh base images
    #[arg(long)]
    pull: bool,
    /// Set a build argument: NAME=VALUE; may be given several times
    #[arg(long, value_name = "NAME=VALUE")]
    build_arg: Vec<String>,
    /// Services that the named ones depend on, too
    #[arg(long)]
    with_dependencies: bool,
    /// Push the images when all are built
    #[arg(long)]
    push: bool,
    /// Agent for `RUN --mount=type=ssh`: `default`, or ID=SOCKET; may be given several times
    #[arg(long, value_name = "ID[=SOCKET]")]
    ssh: Vec<String>,
    /// Show no progress
    #[arg(short, long)]
    quiet: bool,
}

/// Flags of `pull`.
#[derive(Debug, Clone, Args)]
pub struct Pull {
    /// Only these services
    services: Vec<String>,
    /// When: `always`, or only what is `missing`
    #[arg(long, default_value = "always", value_parser = ["always", "missing"])]
    policy: String,
    /// Leave out images that can be built (they are always left out)
    #[arg(long)]
    ignore_buildable: bool,
    /// Pull what can be pulled, and succeed whatever fails
    #[arg(long)]
    ignore_pull_failures: bool,
    /// Services that the named ones depend on, too
    #[arg(long)]
    include_deps: bool,
    /// Show no progress
    #[arg(short, long)]
    quiet: bool,
}

/// Runs `build`.
///
/// # Errors
/// The Dockerfile's line and the failed command's last output.
pub(super) fn build(global: &Global, args: &Build) -> Outcome {
    let mut wanted = images_only(global, &args.services, ImagesOnly::Build)?;
    wanted.build = true;
    wanted.no_deps = !args.with_dependencies;
    for section in wanted
        .project
        .services
        .values_mut()
        .filter_map(|service| service.image.build.as_mut())
    {
        section.no_cache |= args.no_cache;
        section.pull |= args.pull;
        for argument in &args.build_arg {
            let (name, value) = match argument.split_once('=') {
                Some((name, value)) => (name, Some(value.to_owned())),
                None => (argument.as_str(), context::environment().remove(argument)),
            };
            section.args.insert(name.to_owned(), value);
        }
        for agent in &args.ssh {
            let (id, path) = match agent.split_once('=') {
                Some((id, path)) => (id, std::path::absolute(path).ok()),
                None => (agent.as_str(), None),
            };
            section.ssh.retain(|known| known.id != id);
            section.ssh.push(SshAgent {
                id: id.to_owned(),
                path,
            });
        }
    }
    let built: Vec<String> = wanted
        .project
        .services
        .values()
        .filter(|service| service.image.build.is_some())
        .map(|service| service.name.to_string())
        .filter(|name| args.services.is_empty() || args.services.contains(name))
        .collect();
    converge(&quiet(global, args.quiet), wanted)?;
    if args.push && !built.is_empty() && !global.dry_run {
        return push::run(global, &push::Push::of(built, args.with_dependencies, args.quiet));
    }
    Ok(Exit::Success)
}

/// Runs `pull`.
///
/// # Errors
/// Which image cannot be had, and why.
pub(super) fn pull(global: &Global, args: &Pull) -> Outcome {
    let mut wanted = images_only(global, &args.services, ImagesOnly::Pull)?;
    wanted.pull = Some(args.policy.clone());
    wanted.no_deps = !args.include_deps;
    let global = quiet(global, args.quiet);
    if !args.ignore_pull_failures {
        converge(&global, wanted)?;
        return Ok(Exit::Success);
    }
    // One after the other, so that each fails alone.
    let with_dependencies = args.include_deps || wanted.services.is_empty();
    let services: Vec<ServiceName> = if with_dependencies {
        wanted.project.services.keys().cloned().collect()
    } else {
        wanted.services.iter().cloned().collect()
    };
    for service in services {
        let one = Wanted {
            services: [service].into(),
            no_deps: true,
            ..wanted.clone()
        };
        if let Err(error) = converge(&global, one) {
            // Standard error may be closed.
            let _ = write!(
                std::io::stderr(),
                "{}",
                error.render().replacen("error:", "warning:", 1)
            );
        }
    }
    Ok(Exit::Success)
}

fn images_only(global: &Global, services: &[String], which: ImagesOnly) -> Result<Wanted, CommandError> {
    let common = Common {
        services: services.to_vec(),
        build: false,
        no_build: false,
        pull: None,
        force_recreate: false,
        no_recreate: false,
        remove_orphans: false,
        scale: Vec::new(),
        yes: false,
        quiet_pull: false,
        quiet_build: false,
    };
    Ok(Wanted {
        images_only: Some(which),
        ..wanted(global, &common)?
    })
}

/// The same flags, without progress when `quiet`.
pub(super) fn quiet(global: &Global, quiet: bool) -> Global {
    let mut global = global.clone();
    if quiet {
        global.progress = super::Progress::Quiet;
    }
    global
}

/// Asks the engine to converge.
pub(super) fn converge(global: &Global, wanted: Wanted) -> Result<(), CommandError> {
    let client = context::client(global, &wanted.project.name);
    let dry_run = wanted.dry_run;
    let mut plan = None;
    let outcome = drive::drive(global, &client, &Request::Up(Box::new(wanted)), |message| {
        if let Message::Plan { steps, kept } = message {
            plan = Some((steps.clone(), kept.clone()));
        }
    });
    if let (true, Some((steps, kept))) = (dry_run, plan) {
        let mut text = String::new();
        for (_, step) in &steps {
            text += &format!("{:<32} {}\n", step.action.describe(), step.why);
        }
        for (slot, why) in &kept {
            text += &format!("{:<32} {why}\n", format!("keep     {slot}"));
        }
        // A reader that went away wants no more.
        let _ = std::io::stdout().write_all(text.as_bytes());
    }
    outcome
}

/// Names typed, checked against the project.
///
/// # Errors
/// When one is not a service.
pub(super) fn known(project: &Project, names: &[String]) -> Result<BTreeSet<ServiceName>, CommandError> {
    let mut services = BTreeSet::new();
    for name in names {
        match project.services.keys().find(|known| known.as_str() == name) {
            Some(known) => services.insert(known.clone()),
            None => {
                let list: Vec<_> = project.services.keys().map(ServiceName::as_str).collect();
                let error = CommandError::new(Exit::Failed, format!("no such service: {name}"));
                return Err(error.hint(format!("the project has {}", list.join(", "))));
            }
        };
    }
    Ok(services)
}

/// Sets numbers of replicas.
///
/// # Errors
/// What is not SERVICE=NUMBER, or cannot be scaled.
pub(super) fn scale(project: &mut Project, scales: &[String]) -> Result<(), CommandError> {
    for scale in scales {
        let wrong = || {
            CommandError::new(Exit::Usage, format!("`{scale}` is not a scale"))
                .hint("write SERVICE=NUMBER, as in `web=3`")
        };
        let (name, number) = scale.split_once('=').ok_or_else(wrong)?;
        let number = number.parse().map_err(|_| wrong())?;
        let service = project
            .services
            .values_mut()
            .find(|service| service.name.as_str() == name)
            .ok_or_else(|| CommandError::new(Exit::Failed, format!("no such service: {name}")))?;
        if number > 1 && service.container_name.is_some() {
            let what = format!("service `{name}` has a fixed container name, so there can be only one");
            return Err(
                CommandError::new(Exit::ProjectFile, what).at(service.places.get("container_name").cloned())
            );
        }
        service.replicas = number;
    }
    Ok(())
}

/// Values of the variables that secrets and configs come from.
fn referred_environment(project: &Project) -> BTreeMap<String, String> {
    let all = context::environment();
    let sources = project.secrets.values().chain(project.configs.values());
    let names = sources.filter_map(|source| match source {
        FileSource::Environment(name) => Some(name),
        _ => None,
    });
    // Whoever fetches a remote context is the caller, not the engine's first one.
    let remote = project
        .services
        .values()
        .filter_map(|service| service.image.build.as_ref())
        .any(|build| {
            let contexts = std::iter::once(&build.context).chain(build.additional_contexts.values());
            contexts.into_iter().any(|context| Remote::of(context).is_some())
        });
    let git = GIT_VARIABLES
        .iter()
        .filter(|_| remote)
        .map(|name| (*name).to_owned());
    names
        .cloned()
        .chain(git)
        .filter_map(|name| Some((name.clone(), all.get(&name)?.clone())))
        .collect()
}

fn shown(project: &Project, args: &Up) -> BTreeSet<String> {
    let named = &args.common.services;
    let all = project
        .services
        .values()
        .filter(|service| service.attach)
        .map(|service| service.name.to_string());
    let mut shown: BTreeSet<String> = if !args.attach.is_empty() {
        args.attach.iter().cloned().collect()
    } else if named.is_empty() || args.attach_dependencies {
        all.collect()
    } else {
        named.iter().cloned().collect()
    };
    shown.retain(|name| !args.no_attach.contains(name));
    shown
}

/// The last lines of a detached `up`: what runs, and the addresses to open.
fn summary(global: &Global, project: &Project) {
    if matches!(
        terminal::progress(global),
        super::Progress::Quiet | super::Progress::Json
    ) {
        return;
    }
    let Ok(containers) = super::ps::list(global, &project.name) else {
        return;
    };
    let style = terminal::Style::stderr(global);
    let mut text = String::new();
    for container in containers
        .iter()
        .filter(|c| !c.ports.is_empty() && matches!(c.phase, Phase::Running))
    {
        text += &format!(
            "  {:<16} {}\n",
            container.slot.to_string(),
            style.paint("36", &addresses(container))
        );
    }
    if !text.is_empty() {
        // Standard error may be closed.
        let _ = std::io::stderr().write_all(text.as_bytes());
    }
}

fn addresses(container: &ContainerInfo) -> String {
    let mut list: Vec<String> = container
        .ports
        .iter()
        .map(|port| {
            let host = match port.host {
                host if host.is_unspecified() => "localhost".to_owned(),
                host if host.is_ipv6() => format!("[{host}]"),
                host => host.to_string(),
            };
            match port.protocol {
                crate::model::Protocol::Tcp => format!("http://{host}:{}", port.port),
                crate::model::Protocol::Udp => format!("{host}:{}/udp", port.port),
            }
        })
        .collect();
    list.sort();
    list.dedup();
    list.join("  ")
}
