//! A container in the hand: stages as types.

use super::{
    Activity, ContainerDir, ContainerError, Exit, LaunchError, Settings, TerminalSize, paths,
    written::write_visible,
};
use crate::{
    cgroup::{Cgroup, Resources, Stats},
    process::{
        launch::Started,
        message::{self, Hello, Reply, Request},
        nursery::Offspring,
    },
    sys::pidfd,
};
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    fs::{Mode, OFlags},
    net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType},
};
use std::{
    io,
    marker::PhantomData,
    os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
    path::{Path, PathBuf},
    time::Duration,
};

/// Stage: at the barrier, its program not yet executed.
#[derive(Debug)]
pub enum Created {}

/// Stage: its program was executed.
#[derive(Debug)]
pub enum Running {}

/// A container whose processes exist. Dropping the handle does nothing to it.
#[derive(Debug)]
pub struct Container<Stage> {
    pub(super) dir: ContainerDir,
    pub(super) cgroup: Cgroup,
    pub(super) hello: Hello,
    pub(super) pidfd: OwnedFd,
    pub(super) socket: OwnedFd,
    /// When it is our child.
    pub(super) shim: Option<Offspring>,
    stage: PhantomData<Stage>,
}

/// Standard input of a container, to write to.
#[derive(Debug)]
pub struct Attachment {
    /// A pipe, or the terminal's master (readable too, but its output is in the log: read it there).
    pub stdin: OwnedFd,
}

impl<Stage> Container<Stage> {
    pub(super) fn assemble(
        dir: ContainerDir,
        cgroup: Cgroup,
        hello: Hello,
        pidfd: OwnedFd,
        socket: OwnedFd,
    ) -> Self {
        Self {
            dir,
            cgroup,
            hello,
            pidfd,
            socket,
            shim: None,
            stage: PhantomData,
        }
    }

    /// Its directories.
    #[must_use]
    pub fn dir(&self) -> &ContainerDir {
        &self.dir
    }

    /// Process id of its process 1, as the host numbers it.
    #[must_use]
    pub fn pid(&self) -> i32 {
        self.hello.pid
    }

    /// Process id of its shim.
    #[must_use]
    pub fn shim_pid(&self) -> i32 {
        self.hello.shim
    }

    /// Its process 1; readable (poll(2)) as soon as that has ended, which is a moment before the end is recorded.
    #[must_use]
    pub fn pidfd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }

    /// Readable when [`Container::try_wait`] has news: the end is recorded, or the shim was killed.
    #[must_use]
    pub fn end_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }

    /// The path of one of its namespaces (`net`, `ipc`, `uts`, `pid`, `mnt`, `cgroup`), valid while it lives; for
    /// [`crate::namespace::Namespace::Join`].
    #[must_use]
    pub fn namespace(&self, kind: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/ns/{kind}", self.hello.pid))
    }

    /// Its network namespace.
    ///
    /// # Errors
    /// When it has ended.
    pub fn network_namespace(&self) -> Result<OwnedFd, ContainerError> {
        let path = self.namespace("net");
        let file =
            rustix::fs::open(&path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).map_err(|errno| {
                ContainerError::Read {
                    path,
                    cause: errno.into(),
                }
            })?;
        // Opened by number: only now it is certain that the number was still ours.
        self.check_alive()?;
        Ok(file)
    }

    pub(super) fn check_alive(&self) -> Result<(), ContainerError> {
        match pidfd::wait_end(&self.pidfd, 0) {
            Ok(false) => Ok(()),
            Ok(true) => Err(ContainerError::NotRunning),
            Err(cause) => Err(ContainerError::Wait(cause)),
        }
    }

    /// The descriptors its shim keeps, in the order of [`super::Extras::keep`], as paths to open (`/proc/PID/fd/N`;
    /// sockets cannot be opened so, files, namespaces and pipes can).
    #[must_use]
    pub fn kept(&self) -> Vec<PathBuf> {
        self.hello
            .keep
            .iter()
            .map(|number| PathBuf::from(format!("/proc/{}/fd/{number}", self.hello.shim)))
            .collect()
    }

    /// Its settings, read from disk.
    ///
    /// # Errors
    /// When they are gone or damaged.
    pub fn settings(&self) -> Result<Settings, ContainerError> {
        super::open::read_settings(&self.dir)
    }

    /// Sends a signal to its process 1. A frozen container is signalled too, and gets it when it goes on.
    ///
    /// # Errors
    /// When it has ended, or the number is no signal.
    pub fn signal(&self, signal: i32) -> Result<(), ContainerError> {
        pidfd::signal(&self.pidfd, signal).map_err(|cause| match cause.raw_os_error() {
            Some(libc::ESRCH) => ContainerError::NotRunning,
            _ => ContainerError::Signal { signal, cause },
        })
    }

    /// Kills it at once, with everything in it.
    ///
    /// # Errors
    /// As [`signal`](Self::signal).
    pub fn kill(&self) -> Result<(), ContainerError> {
        self.signal(libc::SIGKILL)?;
        // A frozen process dies when it thaws (v1).
        if self.cgroup.is_frozen() {
            self.cgroup.thaw()?;
        }
        Ok(())
    }

    /// Its end, if that is recorded; never blocks.
    ///
    /// # Errors
    /// `ShimLost` when the shim was killed: see [`super::open`] for what is left.
    pub fn try_wait(&mut self) -> Result<Option<Exit>, ContainerError> {
        loop {
            match message::try_receive::<Reply>(&self.socket) {
                Ok(Some((Reply::Exited(exit), _))) => return Ok(Some(exit)),
                Ok(Some(_)) => {}
                Ok(None) => return self.without_shim(),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(None),
                Err(cause) => return Err(ContainerError::Talk(cause)),
            }
        }
    }

    /// The shim is gone: it may have recorded the end first.
    fn without_shim(&mut self) -> Result<Option<Exit>, ContainerError> {
        self.reap_shim();
        Exit::read(&self.dir.state)
            .map(Some)
            .ok_or(ContainerError::ShimLost)
    }

    /// Fetches its shim's end when that is our child; to be called after the container's end was told, or the shim stays
    /// in the process table for as long as we live. Blocks for the moment that a shim takes to go.
    pub fn settle(&mut self) {
        self.reap_shim();
    }

    fn reap_shim(&mut self) {
        if let Some(mut shim) = self.shim.take() {
            shim.wait();
        }
    }

    /// Waits for its end, at most `timeout` (`None`: for ever); `Ok(None)` when that has passed.
    ///
    /// # Errors
    /// As [`try_wait`](Self::try_wait).
    pub fn wait(&mut self, timeout: Option<Duration>) -> Result<Option<Exit>, ContainerError> {
        let deadline = timeout.map(|timeout| std::time::Instant::now() + timeout);
        loop {
            if let Some(exit) = self.try_wait()? {
                return Ok(Some(exit));
            }
            let left = deadline.map(|deadline| deadline.saturating_duration_since(std::time::Instant::now()));
            if left.is_some_and(|left| left.is_zero()) {
                return Ok(None);
            }
            let limit = left.map(|left| Timespec {
                tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX),
                tv_nsec: i64::from(left.subsec_nanos()),
            });
            let mut list = [PollFd::new(&self.socket, PollFlags::IN)];
            match poll(&mut list, limit.as_ref()) {
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(errno) => return Err(ContainerError::Wait(errno.into())),
            }
        }
    }

    /// Rewrites `/etc/hosts`, `/etc/resolv.conf` or `/etc/hostname` (`name` without `/etc/`) of the container, which
    /// sees the new content at once. Has an effect only for files its [`super::Files`] had a content for.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn rewrite_file(&self, name: &str, content: &str) -> Result<(), ContainerError> {
        let path = paths::file(&self.dir.state, name);
        write_visible(&path, content).map_err(|cause| ContainerError::Write { path, cause })
    }

    /// What it uses.
    ///
    /// # Errors
    /// When it has ended.
    pub fn stats(&self) -> Result<Stats, ContainerError> {
        Ok(self.cgroup.stats()?)
    }

    /// Its cgroup.
    #[must_use]
    pub fn cgroup(&self) -> &Cgroup {
        &self.cgroup
    }

    /// Its processes, as the host numbers them.
    ///
    /// # Errors
    /// When it has ended.
    pub fn processes(&self) -> Result<Vec<i32>, ContainerError> {
        Ok(self.cgroup.processes()?)
    }

    /// Changes limits; `None` fields stay as they are.
    ///
    /// # Errors
    /// Names the limit the kernel refused.
    pub fn update(&self, resources: &Resources) -> Result<(), ContainerError> {
        Ok(self.cgroup.update(resources)?)
    }

    /// Makes this process its engine: the shim watches `pidfd` (a pidfd of the engine) from now on.
    ///
    /// # Errors
    /// When the shim does not answer.
    pub fn adopt_by(&self, pidfd: BorrowedFd<'_>) -> Result<(), ContainerError> {
        self.ask(&Request::Engine, &[pidfd]).map(drop)
    }

    /// One question on a connection of its own, so that threads do not read each other's answers.
    fn ask(
        &self,
        request: &Request,
        descriptors: &[BorrowedFd<'_>],
    ) -> Result<(Reply, Vec<OwnedFd>), ContainerError> {
        let (socket, _) = connect(&self.dir.run).map_err(ContainerError::Talk)?;
        message::send(&socket, request, descriptors).map_err(ContainerError::Talk)?;
        loop {
            match message::receive::<Reply>(&socket).map_err(ContainerError::Talk)? {
                Some((reply @ (Reply::Done | Reply::Stdin), descriptors)) => return Ok((reply, descriptors)),
                Some((Reply::Exited(_), _)) => return Err(ContainerError::NotRunning),
                Some(_) => {}
                None => return Err(ContainerError::ShimLost),
            }
        }
    }

    /// A way to write to its standard input. The container sees the end of input when all writers have closed and
    /// [`close_stdin`](Self::close_stdin) was called.
    ///
    /// # Errors
    /// `NoStdin` unless it was created with `stdin` or a terminal.
    pub fn stdin(&self) -> Result<Attachment, ContainerError> {
        let (_, descriptors) = self.ask(&Request::Stdin, &[])?;
        let stdin = descriptors.into_iter().next().ok_or(ContainerError::NoStdin)?;
        Ok(Attachment { stdin })
    }

    /// Gives up the shim's own hold on standard input.
    ///
    /// # Errors
    /// When the shim does not answer.
    pub fn close_stdin(&self) -> Result<(), ContainerError> {
        self.ask(&Request::CloseStdin, &[]).map(drop)
    }

    /// Tells of output from now on, and once now.
    ///
    /// # Errors
    /// When the shim is gone, or there are too many open files.
    pub fn follow(&self) -> Result<Activity, ContainerError> {
        let activity = Activity::new().map_err(ContainerError::Talk)?;
        message::send(&self.socket, &Request::Follow, &[activity.event()]).map_err(ContainerError::Talk)?;
        Ok(activity)
    }

    /// Sets the size of its terminal; nothing happens without one.
    ///
    /// # Errors
    /// When the shim does not answer.
    pub fn resize(&self, size: TerminalSize) -> Result<(), ContainerError> {
        self.ask(&Request::Resize(size), &[]).map(drop)
    }
}

impl Container<Created> {
    /// Ends a container that will not be started, and fetches its shim's end when that is our child.
    pub fn abandon(mut self) {
        // Ended by itself is as good as killed; only then the shim has a reason to go.
        if let Ok(()) | Err(ContainerError::NotRunning) = self.kill() {
            self.reap_shim();
        }
    }

    pub(super) fn created(
        dir: ContainerDir,
        cgroup: Cgroup,
        hello: Hello,
        pidfd: OwnedFd,
        started: Started,
    ) -> Self {
        let mut container = Self::assemble(dir, cgroup, hello, pidfd, started.socket);
        container.shim = Some(started.shim);
        container
    }

    /// Lifts the barrier; returns when its program was executed.
    ///
    /// # Errors
    /// `Inside` with the failed step when confinement or exec failed; the container has ended then.
    pub fn start(mut self) -> Result<Container<Running>, LaunchError> {
        message::send(&self.socket, &Request::Start, &[]).map_err(LaunchError::Talk)?;
        loop {
            match message::receive::<Reply>(&self.socket).map_err(LaunchError::Talk)? {
                Some((Reply::Started { at }, _)) => {
                    let hello = Hello {
                        started: Some(at),
                        ..self.hello
                    };
                    let Self {
                        dir,
                        cgroup,
                        pidfd,
                        socket,
                        shim,
                        ..
                    } = self;
                    let mut running = Container::assemble(dir, cgroup, hello, pidfd, socket);
                    running.shim = shim;
                    return Ok(running);
                }
                Some((Reply::Failed(failure), _)) => {
                    // The shim records the end and goes; nothing may be left when the caller hears of it.
                    let _ = self.wait(None);
                    self.reap_shim();
                    return Err(LaunchError::Inside(failure));
                }
                Some((Reply::Exited(_), _)) => return Err(LaunchError::Ended),
                Some(_) => {}
                None => return Err(LaunchError::ShimLost),
            }
        }
    }
}

impl Container<Running> {
    pub(super) fn adopted(
        dir: ContainerDir,
        cgroup: Cgroup,
        hello: Hello,
        pidfd: OwnedFd,
        started: Started,
    ) -> Self {
        let mut container = Self::assemble(dir, cgroup, hello, pidfd, started.socket);
        container.shim = Some(started.shim);
        container
    }

    /// When its program was executed, nanoseconds since 1970.
    #[must_use]
    pub fn started(&self) -> i64 {
        self.hello.started.unwrap_or_default()
    }

    /// Freezes every process in it.
    ///
    /// # Errors
    /// When the cgroup cannot be frozen.
    pub fn pause(&self) -> Result<(), ContainerError> {
        self.check_alive()?;
        Ok(self.cgroup.freeze()?)
    }

    /// Lets them go on.
    ///
    /// # Errors
    /// When the cgroup cannot be thawed.
    pub fn unpause(&self) -> Result<(), ContainerError> {
        self.check_alive()?;
        Ok(self.cgroup.thaw()?)
    }

    /// Whether it is frozen.
    #[must_use]
    pub fn is_paused(&self) -> bool {
        self.cgroup.is_frozen()
    }
}

/// Connects to a shim; gives its first message too.
pub(super) fn connect(run: &Path) -> io::Result<(OwnedFd, Hello)> {
    let directory = rustix::fs::open(
        run,
        OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC,
        Mode::empty(),
    )?;
    let socket = rustix::net::socket_with(
        AddressFamily::UNIX,
        SocketType::SEQPACKET,
        SocketFlags::CLOEXEC,
        None,
    )?;
    let path = format!("/proc/self/fd/{}/{}", directory.as_raw_fd(), paths::SOCKET);
    rustix::net::connect(&socket, &SocketAddrUnix::new(path)?)?;
    match message::receive::<Reply>(&socket)? {
        Some((Reply::Hello(hello), _)) => Ok((socket, hello)),
        _ => Err(io::ErrorKind::ConnectionRefused.into()),
    }
}
