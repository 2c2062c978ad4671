//! Additional processes in a running container.

use super::{Container, ContainerError, Launcher, Process, Running};
use crate::{
    namespace::Namespace,
    process::{enter::Order, exec::enter},
    sys::{clone, pidfd},
};
use std::{
    os::fd::{AsFd, BorrowedFd, OwnedFd},
    time::Duration,
};

/// What to run in a container.
#[derive(Debug, Clone, PartialEq)]
pub struct ExecSettings {
    /// The process. Its capabilities and no-new-privileges are usually the container's own.
    pub process: Process,
    /// Allow every system call (`exec --privileged`).
    pub unconfined: bool,
}

/// The standard streams of an additional process without a terminal.
#[derive(Debug)]
pub struct ExecStreams {
    /// What it reads.
    pub input: OwnedFd,
    /// Where it writes.
    pub output: OwnedFd,
    /// Where it complains.
    pub error: OwnedFd,
}

/// A running additional process. It is a child of this process: wait for it, or it stays a zombie until this process
/// ends. Dropping the handle does not end it.
#[derive(Debug)]
pub struct Execution {
    pid: i32,
    pidfd: OwnedFd,
    /// The terminal's master: read its output from here, write its input to here.
    pub terminal: Option<OwnedFd>,
}

impl Launcher {
    /// Starts an additional process in all namespaces and the cgroup of a running container; returns when it was
    /// executed. Without a terminal `streams` are its standard streams; with one they are not used.
    ///
    /// # Errors
    /// `Paused`, `NotRunning`, or the step that failed (exit status as for `docker exec`: 126 and 127 for programs that
    /// cannot be executed).
    pub fn exec(
        &self,
        container: &Container<Running>,
        settings: &ExecSettings,
        streams: Option<ExecStreams>,
    ) -> Result<Execution, ContainerError> {
        self.exec_keeping(container, settings, streams, Vec::new())
    }

    /// The same; `preserved` are the process's descriptors from 3 on.
    ///
    /// # Errors
    /// As [`Launcher::exec`].
    pub fn exec_keeping(
        &self,
        container: &Container<Running>,
        settings: &ExecSettings,
        streams: Option<ExecStreams>,
        preserved: Vec<OwnedFd>,
    ) -> Result<Execution, ContainerError> {
        if container.is_paused() {
            return Err(ContainerError::Paused);
        }
        container.check_alive()?;
        let own = container.settings()?;
        let namespaces = &own.namespaces;
        let flag = |namespace: &Namespace, flag: i32| if *namespace == Namespace::Host { 0 } else { flag };
        let order = Order {
            process: settings.process.clone(),
            host_name: own.host_name().to_owned(),
            seccomp: if settings.unconfined {
                crate::confine::SeccompProfile::Unconfined
            } else {
                own.confinement.seccomp.clone()
            },
            cgroup: container.cgroup.clone(),
            namespaces: clone::CLONE_NEWNS
                | flag(&namespaces.net, clone::CLONE_NEWNET)
                | flag(&namespaces.ipc, clone::CLONE_NEWIPC)
                | flag(&namespaces.pid, clone::CLONE_NEWPID)
                | flag(&namespaces.uts, clone::CLONE_NEWUTS)
                | flag(&namespaces.cgroup, clone::CLONE_NEWCGROUP)
                | namespaces.user.as_ref().map_or(0, |_| clone::CLONE_NEWUSER)
                | own.literal().map_or(0, bundled_namespaces),
            preserved: preserved.len(),
        };
        let mut streams = match streams {
            Some(streams) if order.process.terminal.is_none() => {
                vec![streams.input, streams.output, streams.error]
            }
            _ => Vec::new(),
        };
        streams.extend(preserved);
        let entered = enter(&self.binary, &order, container.pidfd.as_fd(), &streams)?;
        Ok(Execution {
            pid: entered.pid,
            pidfd: entered.pidfd,
            terminal: entered.master,
        })
    }
}

/// `CLONE_NEW*` of the namespaces that only bundles have.
fn bundled_namespaces(bundle: &super::Bundle) -> i32 {
    let user = bundle.join_user.as_ref().map_or(0, |_| clone::CLONE_NEWUSER);
    match bundle.time.namespace {
        Namespace::Host => user,
        _ => user | clone::CLONE_NEWTIME,
    }
}

impl Execution {
    /// Its process id, as the host numbers it.
    #[must_use]
    pub fn pid(&self) -> i32 {
        self.pid
    }

    /// Readable (poll(2)) when it has ended.
    #[must_use]
    pub fn pidfd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }

    /// Sends it a signal.
    ///
    /// # Errors
    /// When it has ended, or the number is no signal.
    pub fn signal(&self, signal: i32) -> Result<(), ContainerError> {
        pidfd::signal(&self.pidfd, signal).map_err(|cause| ContainerError::Signal { signal, cause })
    }

    /// Waits for its end, at most `timeout` (`None`: for ever); `Ok(None)` when that has passed. Gives the code as a
    /// shell has it: 128 + the number for a signal.
    ///
    /// # Errors
    /// When somebody else waited for it.
    pub fn wait(&self, timeout: Option<Duration>) -> Result<Option<i32>, ContainerError> {
        let limit = timeout.map_or(-1, |timeout| {
            i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX)
        });
        if !pidfd::wait_end(&self.pidfd, limit).map_err(ContainerError::Wait)? {
            return Ok(None);
        }
        let ended = pidfd::reap(self.pidfd.as_fd(), true).map_err(ContainerError::Wait)?;
        Ok(ended.map(|ended| match ended {
            pidfd::Ended::Code(code) => code,
            pidfd::Ended::Signal(signal) => 128 + signal,
        }))
    }
}
