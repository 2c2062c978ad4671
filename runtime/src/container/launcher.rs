//! Creating containers.

use super::{
    ContainerDir, LaunchError, Settings,
    check::check,
    handle::{Container, Created, Running},
    paths,
    record::Record,
    written::{prepare, write_files},
};
use crate::{
    cgroup::{Cgroup, Layout, Seat, Wish},
    confine::Compiled,
    namespace::{IdRange, Namespace},
    process::{
        LaunchMaterial,
        launch::{Binary, Started, start_shim},
        message::{Adoption, Hello, Plan},
        nursery::Nursery,
    },
    rootfs,
};
use rustix::{fs::MemfdFlags, pipe::PipeFlags};
use serde::{Deserialize, Serialize};
use std::{
    io::{Seek, Write},
    os::fd::{AsFd, OwnedFd},
    path::{Path, PathBuf},
};

/// Creates containers; knows the binary that plays the hidden roles and this host's cgroups. Share it freely.
#[derive(Debug)]
pub struct Launcher {
    pub(super) binary: Binary,
    pub(super) layout: Layout,
    seat: Seat,
    compiled: Compiled,
    /// Where shims are copied from; `None`: each is started.
    nursery: Option<Nursery>,
}

/// What goes to a container beside its settings and is never written to disk.
#[derive(Debug, Default)]
pub struct Extras {
    /// Descriptors the shim holds open for as long as it lives (a hall's namespace, listening sockets). Others open
    /// them again through [`Container::kept`].
    pub keep: Vec<OwnedFd>,
    /// Files with contents, for secrets: they lie on a tmpfs of the container.
    pub grants: Vec<Grant>,
    /// The engine's pidfd, watched when [`Settings::revive`] is there.
    pub engine: Option<OwnedFd>,
}

/// A file handed over by content.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Grant {
    /// Absolute path in the container.
    pub target: String,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Permission bits.
    pub mode: u32,
    /// Bytes.
    pub content: Vec<u8>,
}

impl std::fmt::Debug for Grant {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Contents are secrets: they show up nowhere.
        f.debug_struct("Grant")
            .field("target", &self.target)
            .finish_non_exhaustive()
    }
}

impl Launcher {
    /// `executable` is our own binary (usually `/proc/self/exe`), whose `main` calls [`crate::role::run`] first.
    ///
    /// # Errors
    /// When this host's cgroups cannot be read.
    pub fn new(executable: &Path) -> Result<Self, LaunchError> {
        // The link means another file in another process: resolve it here.
        let executable = std::fs::canonicalize(executable).unwrap_or_else(|_| executable.to_path_buf());
        Ok(Self {
            binary: Binary::new(&executable),
            layout: Layout::detect()?,
            seat: Seat::default(),
            compiled: Compiled::default(),
            nursery: None,
        })
    }

    /// The same for somebody who makes many containers: their shims are copied from one small process that is started
    /// here, instead of being started each. It ends with this value, or when it is told to [`rest`](Self::rest).
    ///
    /// # Errors
    /// As [`new`](Self::new), and when the process cannot be started.
    pub fn for_many(executable: &Path) -> Result<Self, LaunchError> {
        let (launcher, nursery) = (Self::new(executable)?, Nursery::default());
        nursery.expect();
        nursery
            .prepare(&launcher.binary)
            .map_err(|cause| LaunchError::Spawn {
                program: launcher.binary.path.clone(),
                cause,
            })?;
        Ok(Self {
            nursery: Some(nursery),
            ..launcher
        })
    }

    /// Containers will be made soon, after a [`rest`](Self::rest): the first one starts what they are copied from.
    pub fn expect_many(&self) {
        if let Some(nursery) = &self.nursery {
            nursery.expect();
        }
    }

    /// Containers will be rare for a while: gives memory back. Each starts its own shim until many are
    /// [expected](Self::expect_many) again.
    pub fn rest(&self) {
        if let Some(nursery) = &self.nursery {
            nursery.rest();
        }
    }

    /// Where systemd owns the cgroups, containers go into its scope `banyan-<name>.scope`, and this process with them, when
    /// the first is created or [`settle`](Self::settle) is called. Elsewhere nothing changes.
    #[must_use]
    pub fn in_scope(self, name: &str, description: &str) -> Self {
        Self {
            seat: Seat::in_scope(name, description),
            ..self
        }
    }

    /// Does now what the first container would wait for. Gives what the user should know: that systemd makes no scope, and
    /// why; cgroups are made as without systemd then.
    pub fn settle(&self) -> Option<&str> {
        self.seat.place(&self.layout, || {
            // What it started before stayed where it was.
            if let Some(nursery) = &self.nursery {
                nursery.rest();
                nursery.expect();
            }
        });
        self.notice()
    }

    /// The same about containers created until now.
    #[must_use]
    pub fn notice(&self) -> Option<&str> {
        self.seat.notice()
    }

    /// Creates a container up to the barrier: all its namespaces, mounts and limits exist, its program does not run.
    /// The directory may be that of a stopped container, which is so created anew; its log goes on.
    ///
    /// # Errors
    /// Says which step failed on what; nothing is left then but the directory with the settings.
    pub fn create(
        &self,
        settings: &Settings,
        dir: &ContainerDir,
        extras: Extras,
    ) -> Result<Container<Created>, LaunchError> {
        check(settings)?;
        // A shim is born where its launcher is.
        self.settle();
        match self.try_create(settings, dir, &extras, self.nursery.as_ref()) {
            // The zygote was killed before it made a shim, or the shim while it waited for work.
            Err((LaunchError::ShimLost, false)) => self.try_create(settings, dir, &extras, None),
            Err((LaunchError::Talk(cause), _)) if cause.kind() == std::io::ErrorKind::BrokenPipe => {
                self.try_create(settings, dir, &extras, None)
            }
            result => result,
        }
        .map_err(|(error, _)| error)
    }

    /// The error comes with whether there was a shim.
    fn try_create(
        &self,
        settings: &Settings,
        dir: &ContainerDir,
        extras: &Extras,
        nursery: Option<&Nursery>,
    ) -> Result<Container<Created>, (LaunchError, bool)> {
        // The new process begins while we prepare the rest.
        let mut started = start_shim(&self.binary, nursery).map_err(|error| (error, false))?;
        let cgroup = match self.cgroup_of(settings, &mut started) {
            Ok(cgroup) => cgroup,
            Err(error) => return Err((error, started.give_up())),
        };
        match self.order(settings, dir, extras, &cgroup, &mut started) {
            Ok((hello, Some(pidfd))) => {
                if let Some(nursery) = nursery {
                    // For the next one, while this one is connected and started; without it that only takes longer.
                    let _ = nursery.prepare(&self.binary);
                }
                Ok(Container::created(dir.clone(), cgroup, hello, pidfd, started))
            }
            failed => {
                let was_there = started.give_up();
                let _ = cgroup.remove();
                Err((failed.err().unwrap_or(LaunchError::ShimLost), was_there))
            }
        }
    }

    /// Everything the shim needs. While it clones init, files and cgroups are made, for which init waits at the gate: before
    /// the record is written, nothing exists that would not end by itself should everything be killed.
    fn order(
        &self,
        settings: &Settings,
        dir: &ContainerDir,
        extras: &Extras,
        cgroup: &Cgroup,
        started: &mut Started,
    ) -> Result<(Hello, Option<OwnedFd>), LaunchError> {
        prepare(dir)?;
        let rules = rules_of(settings)?;
        let mut plan = self.plan(settings, dir, cgroup, extras)?;
        // A profile that cannot be used is init's to tell.
        let (seccomp, sets) = (&settings.confinement.seccomp, &settings.process.capabilities);
        plan.filter = self.compiled.get(seccomp, sets).ok();
        let grants = grants_file(&extras.grants)?;
        let (theirs, gate) =
            rustix::pipe::pipe_with(PipeFlags::CLOEXEC).map_err(|errno| LaunchError::Talk(errno.into()))?;
        let material = LaunchMaterial {
            gate: &theirs,
            engine: extras.engine.as_ref(),
            grants: grants.as_ref(),
            keep: &extras.keep,
        };
        started.order(plan, &material)?;
        write_files(settings, dir, cgroup)?;
        cgroup.create(&settings.resources, rules.as_deref())?;
        rustix::io::write(&gate, b"1").map_err(|errno| LaunchError::Talk(errno.into()))?;
        started.created()
    }

    /// Gives a running container whose shim was killed ([`super::Found::Orphaned`]) a new one: its output goes on to its
    /// log from where it stopped, and its end will be recorded (Linux 6.15, and only if somebody reaps it: the host's
    /// init, or an engine that is a subreaper). Its standard input and kept descriptors are gone.
    ///
    /// # Errors
    /// `Ended` when it has ended meanwhile.
    pub fn adopt(&self, dir: &ContainerDir) -> Result<Container<Running>, LaunchError> {
        let read = |cause: std::io::Error| LaunchError::Write {
            path: paths::record(&dir.state),
            cause,
        };
        let text = std::fs::read(paths::record(&dir.state)).map_err(read)?;
        let record: Record = serde_json::from_slice(&text).map_err(|error| read(error.into()))?;
        let settings = dir.settings().map_err(|_| LaunchError::Ended)?;
        let (container, _) = record.processes.ok_or(LaunchError::Ended)?;
        let pidfd = container.open().ok_or(LaunchError::Ended)?;
        let plan = Plan {
            revive: None,
            ..self.plan(&settings, dir, &record.cgroup, &Extras::default())?
        };
        // Rare, and often when nobody expects containers.
        let mut started = start_shim(&self.binary, None)?;
        if let Some(shim) = started.shim.pid() {
            record.cgroup.take_in(shim);
        }
        let adoption = Adoption {
            plan,
            pid: container.pid,
            pipes: record.pipes,
            started: record.created,
        };
        match started.adopt(adoption, pidfd.as_fd()) {
            Ok(hello) => Ok(Container::adopted(
                dir.clone(),
                record.cgroup,
                hello,
                pidfd,
                started,
            )),
            Err(error) => {
                started.give_up();
                Err(error)
            }
        }
    }

    /// The container's cgroup on this host.
    fn cgroup_of(&self, settings: &Settings, started: &mut Started) -> Result<Cgroup, LaunchError> {
        let shared_pids = shares_pids(settings);
        let wish = Wish {
            id: &settings.id,
            parent: settings.cgroup_parent.as_deref(),
            shared_pids,
        };
        self.seat.cgroup(&self.layout, wish, || started.born())
    }

    pub(super) fn plan(
        &self,
        settings: &Settings,
        dir: &ContainerDir,
        cgroup: &Cgroup,
        extras: &Extras,
    ) -> Result<Plan, LaunchError> {
        let map = |ranges: &[IdRange]| {
            ranges
                .iter()
                .map(|range| format!("{range}\n"))
                .collect::<String>()
        };
        let user = settings.namespaces.user.as_ref();
        Ok(Plan {
            id: settings.id.clone(),
            state: absolute(&dir.state)?,
            run: absolute(&dir.run)?,
            binary: self.binary.path.clone(),
            clone_flags: settings.namespaces.clone_flags(),
            join_pid: match &settings.namespaces.pid {
                Namespace::Join(path) => Some(path.clone()),
                _ => None,
            },
            join_user: false,
            uid_map: user.map(|user| map(&user.uid_map)),
            gid_map: user.map(|user| map(&user.gid_map)),
            cgroup: cgroup.clone(),
            cgroup_view: self.layout.view(),
            kill_cgroup: shares_pids(settings),
            terminal: settings.process.terminal,
            stdin: settings.process.stdin,
            log: settings.log.clone(),
            grants: !extras.grants.is_empty(),
            revive: settings.revive.clone().filter(|_| extras.engine.is_some()),
            remove_at_end: settings.remove_at_end.clone(),
            keep: extras.keep.len(),
            filter: None,
        })
    }
}

/// Whether it has no process ids of its own: it is killed through its cgroup then.
pub(super) fn shares_pids(settings: &Settings) -> bool {
    settings.namespaces.pid != Namespace::Private
}

/// Its device rules; `None`: it may use everything.
pub(super) fn rules_of(settings: &Settings) -> Result<Option<Vec<String>>, LaunchError> {
    if settings.confinement.privileged {
        return Ok(None);
    }
    if settings.literal().is_some() {
        return Ok(Some(settings.device_rules.clone()));
    }
    let devices = rootfs::prepare_dev(&settings.devices);
    let rules = rootfs::device_rules(&devices, &settings.device_rules);
    rules.map(Some).map_err(LaunchError::Inside)
}

fn grants_file(grants: &[Grant]) -> Result<Option<OwnedFd>, LaunchError> {
    if grants.is_empty() {
        return Ok(None);
    }
    let write = || -> std::io::Result<OwnedFd> {
        let mut file = std::fs::File::from(rustix::fs::memfd_create("grants", MemfdFlags::CLOEXEC)?);
        file.write_all(&serde_json::to_vec(grants)?)?;
        file.rewind()?;
        Ok(file.into())
    };
    write().map(Some).map_err(|cause| LaunchError::Write {
        path: "grants".into(),
        cause,
    })
}

fn absolute(path: &Path) -> Result<PathBuf, LaunchError> {
    std::path::absolute(path).map_err(|cause| LaunchError::Write {
        path: path.to_path_buf(),
        cause,
    })
}
