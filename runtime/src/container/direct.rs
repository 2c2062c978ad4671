//! Containers without a shim: the caller is the parent, its streams are the container's. OCI runtimes work so.

use super::{
    Container, ContainerDir, ContainerError, LaunchError, Launcher, Running, Settings, launcher::shares_pids,
    paths, record::Record,
};
use crate::{
    cgroup::{
        Cgroup, CgroupError, Resources, Wanted,
        systemd::{self, SystemdError},
    },
    failure::{At, Step},
    process::{
        cloner::{Answer, Task},
        message::{self, Hello, InitMessage},
        shim::listen,
    },
    sys::pidfd,
};
use rustix::io::Errno;
use std::{
    io,
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    time::Duration,
};

/// How long systemd may take to make a container's scope.
const PATIENCE: Duration = Duration::from_secs(30);

/// The streams of a container without a shim.
#[derive(Debug)]
pub struct Direct {
    /// Standard input, output and error; not used with a terminal.
    pub streams: [OwnedFd; 3],
    /// What it gets from descriptor 3 on.
    pub preserved: Vec<OwnedFd>,
}

/// A container at its barrier that is the caller's own child.
#[derive(Debug)]
pub struct Handed {
    /// Process id of its process 1, as the caller numbers it.
    pub pid: i32,
    /// Its pidfd.
    pub pidfd: OwnedFd,
    /// Its terminal's master.
    pub terminal: Option<OwnedFd>,
}

impl Launcher {
    /// Creates a container up to the barrier. `before_root` is called when everything is mounted and the host's tree is
    /// still there, with the process id (hooks run then); [`ContainerDir::lift`] starts the program later, from any process.
    ///
    /// # Errors
    /// Says which step failed on what; nothing is left then but the directory.
    pub fn hand_over(
        &self,
        settings: &Settings,
        dir: &ContainerDir,
        direct: Direct,
        before_root: &mut dyn FnMut(i32) -> Result<(), LaunchError>,
    ) -> Result<Handed, LaunchError> {
        super::check::check(settings)?;
        let (ours, theirs) = message::pair().map_err(LaunchError::Talk)?;
        let mut helper =
            self.binary
                .spawn(crate::role::CLONER, theirs)
                .map_err(|cause| LaunchError::Spawn {
                    program: self.binary.path.clone(),
                    cause,
                })?;
        let placed = self.exact_cgroup(settings, helper.id());
        let made = placed.map(|cgroup| {
            let made = self
                .prepare(settings, dir, &cgroup)
                .and_then(|task| clone_through(&ours, &task, dir, direct));
            (cgroup, made)
        });
        drop(ours);
        // It ends as soon as it has answered.
        let _ = helper.wait();
        let (cgroup, made) = made?;
        let result = made.and_then(|(pid, pidfd, channel)| {
            // In a scope the helper counted until now.
            let limited = match cgroup.unit {
                Some(_) => cgroup.write_limits(&settings.resources).map_err(Into::into),
                None => Ok(()),
            };
            let ready =
                limited.and_then(|()| self.accompany(settings, dir, &cgroup, pid, &channel, before_root));
            if ready.is_err() {
                let _ = pidfd::signal(&pidfd, libc::SIGKILL);
                let _ = pidfd::reap(pidfd.as_fd(), true);
            }
            Ok(Handed {
                pid,
                terminal: ready?,
                pidfd,
            })
        });
        if result.is_err() {
            let _ = cgroup.remove();
        }
        result
    }

    /// The cgroup that the bundle asks for. A scope needs a process to begin with: it is made with the helper, which stays
    /// until it has cloned the container into it.
    fn exact_cgroup(&self, settings: &Settings, helper: u32) -> Result<Cgroup, LaunchError> {
        let bundle = settings.literal();
        let Some((scope, asked)) = bundle.and_then(|bundle| bundle.scope.as_ref()) else {
            let path = bundle.map_or("", |bundle| &bundle.cgroup_path);
            return Ok(Cgroup::plan(&self.layout, path, shares_pids(settings)));
        };
        let make = || {
            if !systemd::runs() {
                return Err(SystemdError::Absent);
            }
            if !self.layout.v1.is_empty() {
                return Err(SystemdError::NotUnified);
            }
            let mut properties = systemd::limits(&settings.resources);
            properties.extend(asked.iter().cloned());
            let wanted = Wanted {
                scope,
                description: &format!("Container {} of banyan", settings.id),
                pid: helper.cast_signed(),
                properties,
            };
            wanted.make(&self.layout, PATIENCE)
        };
        let directory = make().map_err(CgroupError::Systemd)?;
        Ok(Cgroup {
            v2: Some(directory),
            unit: Some(scope.unit.as_str().into()),
            ..Cgroup::default()
        })
    }

    /// Everything before the first process: files, cgroups.
    fn prepare(&self, settings: &Settings, dir: &ContainerDir, cgroup: &Cgroup) -> Result<Task, LaunchError> {
        super::written::prepare(dir)?;
        super::written::write_files(settings, dir, cgroup)?;
        let rules = super::launcher::rules_of(settings)?;
        let roomy = cgroup
            .unit
            .is_some()
            .then(|| for_any_number_of_processes(&settings.resources));
        cgroup.create(roomy.as_ref().unwrap_or(&settings.resources), rules.as_deref())?;
        let bundle = settings.literal();
        let mut plan = self.plan(settings, dir, cgroup, &super::Extras::default())?;
        plan.join_user = bundle.is_some_and(|bundle| bundle.join_user.is_some());
        Ok(Task {
            plan,
            join_user: bundle.and_then(|bundle| bundle.join_user.clone()),
            time: bundle.map(|bundle| bundle.time.clone()).unwrap_or_default(),
        })
    }

    /// From the clone to the barrier; gives the terminal.
    fn accompany(
        &self,
        settings: &Settings,
        dir: &ContainerDir,
        cgroup: &Cgroup,
        pid: i32,
        channel: &OwnedFd,
        before_root: &mut dyn FnMut(i32) -> Result<(), LaunchError>,
    ) -> Result<Option<OwnedFd>, LaunchError> {
        let plan = self.plan(settings, dir, cgroup, &super::Extras::default())?;
        if let (Some(uids), Some(gids)) = (&plan.uid_map, &plan.gid_map) {
            for (file, map) in [("gid_map", gids), ("uid_map", uids)] {
                let path = format!("/proc/{pid}/{file}");
                std::fs::write(&path, map)
                    .at(Step::MapIds, &path)
                    .map_err(LaunchError::Inside)?;
            }
            message::send(channel, &InitMessage::Mapped, &[]).map_err(LaunchError::Talk)?;
        }
        loop {
            match message::receive::<InitMessage>(channel).map_err(LaunchError::Talk)? {
                Some((InitMessage::Mounted, _)) => {
                    before_root(pid)?;
                    message::send(channel, &InitMessage::Start, &[]).map_err(LaunchError::Talk)?;
                }
                Some((InitMessage::Ready, descriptors)) => {
                    let hello = Hello {
                        pid,
                        shim: rustix::process::getpid().as_raw_nonzero().get(),
                        started: None,
                        keep: Vec::new(),
                    };
                    let record = Record::of(&hello, &plan, Vec::new());
                    record
                        .and_then(|record| record.write(&dir.state))
                        .map_err(|cause| LaunchError::Write {
                            path: paths::record(&dir.state),
                            cause,
                        })?;
                    return Ok(descriptors.into_iter().next());
                }
                Some((InitMessage::Failed(failure), _)) => return Err(LaunchError::Inside(failure)),
                _ => return Err(LaunchError::Ended),
            }
        }
    }
}

/// The limits without that of processes: the helper is in the container's scope while it clones it, and may be one too many.
fn for_any_number_of_processes(limits: &Resources) -> Resources {
    let mut roomy = Resources {
        pids: Some(-1),
        ..limits.clone()
    };
    roomy.unified.retain(|file, _| file != "pids.max");
    roomy
}

type Made = (i32, OwnedFd, OwnedFd);

fn clone_through(
    socket: &OwnedFd,
    task: &Task,
    dir: &ContainerDir,
    direct: Direct,
) -> Result<Made, LaunchError> {
    let listener = listen(&dir.run).map_err(LaunchError::Inside)?;
    let (channel, theirs) = message::pair().map_err(LaunchError::Talk)?;
    let [input, output, error] = &direct.streams;
    let mut descriptors: Vec<BorrowedFd<'_>> = vec![
        theirs.as_fd(),
        listener.as_fd(),
        input.as_fd(),
        output.as_fd(),
        error.as_fd(),
    ];
    descriptors.extend(direct.preserved.iter().map(AsFd::as_fd));
    message::send(socket, task, &descriptors).map_err(LaunchError::Talk)?;
    match message::receive::<Answer>(socket).map_err(LaunchError::Talk)? {
        Some((Answer::Made { pid }, descriptors)) => {
            let pidfd = descriptors.into_iter().next().ok_or(LaunchError::ShimLost)?;
            Ok((pid, pidfd, channel))
        }
        Some((Answer::Failed(failure), _)) => Err(LaunchError::Inside(failure)),
        None => Err(LaunchError::ShimLost),
    }
}

impl ContainerDir {
    /// Whether a container made by [`Launcher::hand_over`] still waits at its barrier.
    #[must_use]
    pub fn is_waiting(&self) -> bool {
        knock(self).is_ok()
    }

    /// Lifts the barrier of a container made by [`Launcher::hand_over`]; returns when its program was executed.
    ///
    /// # Errors
    /// `Inside` with the failed step; `Ended` when it does not wait there.
    pub fn lift(&self) -> Result<(), LaunchError> {
        let socket = knock(self).map_err(|_| LaunchError::Ended)?;
        message::send(&socket, &InitMessage::Start, &[]).map_err(LaunchError::Talk)?;
        let result = match message::receive::<InitMessage>(&socket).map_err(LaunchError::Talk)? {
            // Closed by exec.
            None => Ok(()),
            Some((InitMessage::Failed(failure), _)) => Err(LaunchError::Inside(failure)),
            Some(_) => Err(LaunchError::Ended),
        };
        let _ = std::fs::remove_file(paths::socket(&self.run));
        result
    }

    /// The container of a directory made by [`Launcher::hand_over`], waiting or running; `None` when it has ended.
    ///
    /// # Errors
    /// When its record is damaged.
    pub fn without_shim(&self) -> Result<Option<Container<Running>>, ContainerError> {
        let Some((pid, pidfd)) = super::open::live_process(self)? else {
            return Ok(None);
        };
        let hello = Hello {
            pid,
            shim: 0,
            started: None,
            keep: Vec::new(),
        };
        // Nobody answers here: what needs a shim (standard input, waiting) is not offered to these callers.
        let (socket, _) = message::pair().map_err(ContainerError::Talk)?;
        let cgroup = super::open::recorded_cgroup(self)?;
        Ok(Some(Container::assemble(
            self.clone(),
            cgroup,
            hello,
            pidfd,
            socket,
        )))
    }

    /// The cgroup of a recorded container, running or not.
    ///
    /// # Errors
    /// When its record is missing or damaged.
    pub fn cgroup(&self) -> Result<Cgroup, ContainerError> {
        super::open::recorded_cgroup(self)
    }
}

fn knock(dir: &ContainerDir) -> io::Result<OwnedFd> {
    use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
    use std::os::fd::AsRawFd;
    let flags = rustix::fs::OFlags::PATH | rustix::fs::OFlags::DIRECTORY | rustix::fs::OFlags::CLOEXEC;
    let directory = rustix::fs::open(&dir.run, flags, rustix::fs::Mode::empty())?;
    let socket = rustix::net::socket_with(
        AddressFamily::UNIX,
        SocketType::SEQPACKET,
        SocketFlags::CLOEXEC,
        None,
    )?;
    let path = format!("/proc/self/fd/{}/{}", directory.as_raw_fd(), paths::SOCKET);
    loop {
        match rustix::net::connect(&socket, &SocketAddrUnix::new(&path)?) {
            Err(Errno::INTR) => {}
            result => return result.map(|()| socket).map_err(Into::into),
        }
    }
}
