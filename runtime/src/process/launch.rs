//! The launcher's side: starting a shim from a process that may have many threads.
//!
//! The caller never forks: the shim is spawned (posix_spawn(3) inside std), and everything it needs goes through a
//! socket that is its standard input. The program it runs is a read-only detached copy of our own binary's mount, so
//! that no container can write the binary through `/proc/PID/exe` (CVE-2019-5736).

use super::message::{self, Adoption, Plan, Reply, Request};
use crate::{
    container::LaunchError,
    rootfs::inside::clone_tree,
    sys::mount_attr::{self, Change},
};
use rustix::fs::{Mode, OFlags};
use std::{
    io,
    os::{
        fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd},
        unix::process::CommandExt,
    },
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// The binary that plays the hidden roles.
#[derive(Debug)]
pub(crate) struct Binary {
    pub(crate) path: PathBuf,
    /// Its read-only detached mount; `None` where the kernel or our rights do not allow one.
    sealed: Option<OwnedFd>,
}

/// Descriptors handed to a shim.
#[derive(Debug, Default)]
pub(crate) struct LaunchMaterial {
    pub(crate) engine: Option<OwnedFd>,
    pub(crate) grants: Option<OwnedFd>,
    pub(crate) keep: Vec<OwnedFd>,
}

impl Binary {
    pub(crate) fn new(path: &Path) -> Self {
        Self {
            path: path.to_path_buf(),
            sealed: seal(path).ok(),
        }
    }

    /// Starts the binary in a role; `socket` becomes its standard input. Its process id is the child's; it is reaped
    /// by whoever waits for the handle, or by [`reap`].
    pub(crate) fn spawn(&self, role: &str, socket: OwnedFd) -> io::Result<std::process::Child> {
        let program = match &self.sealed {
            Some(fd) => PathBuf::from(format!("/proc/self/fd/{}", fd.as_raw_fd())),
            None => self.path.clone(),
        };
        Command::new(program)
            .arg0(role)
            .env_clear()
            .stdin(Stdio::from(socket))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
    }
}

fn seal(path: &Path) -> io::Result<OwnedFd> {
    let binary = rustix::fs::open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
    let copy = clone_tree(&binary, false)?;
    let change = Change {
        set: mount_attr::MOUNT_ATTR_RDONLY,
        propagation: mount_attr::MS_PRIVATE,
        ..Change::default()
    };
    mount_attr::change(copy.as_fd(), &change)?;
    Ok(copy)
}

/// A shim that was just started and knows its plan.
#[derive(Debug)]
pub(crate) struct Started {
    pub(crate) socket: OwnedFd,
    pub(crate) shim: std::process::Child,
}

/// Starts the shim. It begins to work only when [`Started::order`] sends the plan, so the caller can prepare cgroups
/// while the new process is loading.
pub(crate) fn start_shim(binary: &Binary) -> Result<Started, LaunchError> {
    let fail = |cause| LaunchError::Spawn {
        program: binary.path.clone(),
        cause,
    };
    let (ours, theirs) = message::pair().map_err(fail)?;
    let shim = binary.spawn(crate::role::SHIM, theirs).map_err(fail)?;
    Ok(Started { socket: ours, shim })
}

impl Started {
    /// Sends the plan and waits until the container stands at the barrier.
    pub(crate) fn order(&self, plan: Plan, material: &LaunchMaterial) -> Result<message::Hello, LaunchError> {
        let descriptors: Vec<BorrowedFd<'_>> = material
            .engine
            .iter()
            .chain(&material.grants)
            .chain(&material.keep)
            .map(AsFd::as_fd)
            .collect();
        self.ask(&Request::Launch(Box::new(plan)), &descriptors)
    }

    /// Hands a running container over and waits until the shim has it.
    pub(crate) fn adopt(
        &self,
        adoption: Adoption,
        container: BorrowedFd<'_>,
    ) -> Result<message::Hello, LaunchError> {
        self.ask(&Request::Adopt(Box::new(adoption)), &[container])
    }

    fn ask(&self, request: &Request, descriptors: &[BorrowedFd<'_>]) -> Result<message::Hello, LaunchError> {
        message::send(&self.socket, request, descriptors).map_err(LaunchError::Talk)?;
        match message::receive::<Reply>(&self.socket).map_err(LaunchError::Talk)? {
            Some((Reply::Created(hello), _)) => Ok(hello),
            Some((Reply::Failed(failure), _)) => Err(LaunchError::Inside(failure)),
            _ => Err(LaunchError::ShimLost),
        }
    }
}
