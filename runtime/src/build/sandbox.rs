//! Runs one command to its end in a container of its own: a build step, or the scripts of Debian packages.

use crate::{
    container::{
        Container, ContainerDir, ContainerError, Extras, Files, Grant, LaunchError, Launcher, Running,
        Settings, remove,
    },
    image::{Store, durable::unique},
    log::{Reader, ReaderOptions, Watch},
    namespace::Namespace,
    network::{Outbound, UplinkError},
    rootfs::{Mount, RootFs},
};
use std::{
    os::fd::AsFd,
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

/// Why the command did not run, or its end is not known.
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    /// The container could not be started.
    #[error("cannot start the container")]
    Start(#[from] LaunchError),
    /// The container was lost.
    #[error("cannot watch the container")]
    Watch(#[from] ContainerError),
    /// Its output.
    #[error("cannot read the container's output")]
    Output(#[source] crate::log::LogError),
    /// Its network.
    #[error("cannot connect the container to the network")]
    Network(#[from] UplinkError),
}

impl SandboxError {
    /// What a shell would give: 126 and 127 where the program could not be executed.
    pub fn exit_status(&self) -> u8 {
        match self {
            Self::Start(error) => error.exit_status(),
            _ => 125,
        }
    }
}

/// How the command reaches other machines.
#[derive(Debug, Clone, Copy)]
pub enum Reach<'a> {
    /// Loopback only.
    None,
    /// The host's own network.
    Host,
    /// Bridge and address translation, as services have it.
    Outbound(&'a Outbound),
}

/// A command and its surroundings.
#[derive(Debug)]
pub struct Sandbox<'a> {
    /// Where its writes land.
    pub root: RootFs,
    /// More mounts.
    pub mounts: Vec<Mount>,
    /// Secrets.
    pub grants: Vec<Grant>,
    /// Program and arguments.
    pub command: Vec<String>,
    /// `NAME=value`, complete.
    pub environment: Vec<String>,
    /// `user[:group]`; empty: root.
    pub user: String,
    /// Absolute path.
    pub cwd: String,
    /// Network.
    pub reach: Reach<'a>,
    /// `/etc/hosts` and `/etc/resolv.conf`.
    pub files: Files,
    /// Bytes of `/dev/shm`.
    pub shm_size: Option<u64>,
    /// All capabilities and devices.
    pub privileged: bool,
    /// Asked now and then: when it says true, the command is killed.
    pub stop: Option<Stop<'a>>,
}

/// Says whether a command is wanted no more.
#[derive(Clone, Copy)]
pub struct Stop<'a>(pub &'a (dyn Fn() -> bool + Sync));

impl std::fmt::Debug for Stop<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Stop")
    }
}

/// How often it is asked whether to stop.
const STOP_EVERY: Duration = Duration::from_millis(100);

impl Sandbox<'_> {
    /// A command as root, without network.
    pub fn new(root: RootFs, command: Vec<String>) -> Self {
        Self {
            root,
            mounts: Vec::new(),
            grants: Vec::new(),
            command,
            environment: Vec::new(),
            user: String::new(),
            cwd: "/".into(),
            reach: Reach::None,
            files: Files::default(),
            shm_size: None,
            privileged: false,
            stop: None,
        }
    }
}

/// Runs it, passes its output on, removes the container, and gives the exit status.
pub fn run(
    store: &Store,
    launcher: &Launcher,
    sandbox: Sandbox<'_>,
    output: &mut (dyn FnMut(&[u8]) + Send),
) -> Result<i32, SandboxError> {
    let id = format!("step-{}", unique());
    let base = store.dir().join("ingest").join(&id);
    let dir = ContainerDir::new(base.join("state"), base.join("run"));
    let mut settings = Settings::new(&id, sandbox.root, sandbox.command);
    settings.mounts = sandbox.mounts;
    settings.process.environment = sandbox.environment;
    settings.process.user = sandbox.user;
    settings.process.cwd = sandbox.cwd;
    // Build steps use `su` and `sudo`; Docker's builds allow them too.
    settings.process.no_new_privileges = false;
    settings.files = sandbox.files;
    settings.hostname = Some("buildkitsandbox".into());
    if sandbox.shm_size.is_some() {
        settings.shm_size = sandbox.shm_size;
    }
    if sandbox.privileged {
        settings.make_privileged();
    }
    if matches!(sandbox.reach, Reach::Host) {
        settings.namespaces.net = Namespace::Host;
    }
    let extras = Extras {
        grants: sandbox.grants,
        ..Extras::default()
    };
    let (reach, stop) = (sandbox.reach, sandbox.stop);
    let mut running = None;
    let result = watch(
        launcher,
        &settings,
        (&dir, &mut running),
        extras,
        (reach, stop),
        output,
    );
    let removed = remove(&dir, true);
    // Its shim is our child, and an engine lives long.
    if let Some(running) = &mut running {
        Container::settle(running);
    }
    fs_err::remove_dir_all(&base).ok();
    let status = result?;
    removed?;
    Ok(status)
}

fn watch(
    launcher: &Launcher,
    settings: &Settings,
    (dir, kept): (&ContainerDir, &mut Option<Container<Running>>),
    extras: Extras,
    (reach, stop): (Reach<'_>, Option<Stop<'_>>),
    output: &mut (dyn FnMut(&[u8]) + Send),
) -> Result<i32, SandboxError> {
    let created = launcher.create(settings, dir, extras)?;
    let _place = match reach {
        Reach::Outbound(outbound) => Some(outbound.connect(created.network_namespace()?.as_fd())?),
        _ => None,
    };
    let log = dir.log();
    let mut reader = Reader::open(&log, ReaderOptions::default()).map_err(SandboxError::Output)?;
    let inotify = Watch::new(&log).map_err(SandboxError::Output)?;
    let running = kept.insert(created.start()?);
    let ended = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let follower = scope.spawn(|| -> Result<(), SandboxError> {
            loop {
                // The order matters: what is written before the end is read after it was seen.
                let is_last = ended.load(Ordering::Acquire);
                inotify.clear();
                while let Some(entry) = reader.next().map_err(SandboxError::Output)? {
                    output(&entry.bytes);
                    if !entry.partial {
                        output(b"\n");
                    }
                }
                if is_last {
                    for entry in reader.flush() {
                        output(&entry.bytes);
                    }
                    return Ok(());
                }
                let _changed = inotify.wait(Duration::from_millis(20));
            }
        });
        let exit = match stop {
            None => running.wait(None),
            Some(Stop(stop)) => loop {
                match running.wait(Some(STOP_EVERY)) {
                    Ok(None) if stop() => break running.kill().and_then(|()| running.wait(None)),
                    Ok(None) => {}
                    ended => break ended,
                }
            },
        };
        ended.store(true, Ordering::Release);
        let followed = follower
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        let exit = exit?;
        followed?;
        Ok(exit.map_or(125, |exit| exit.code()))
    })
}
