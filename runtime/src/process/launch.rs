//! The launcher's side: starting a shim from a process that may have many threads.
//!
//! The caller never forks: the shim is spawned (posix_spawn(3) inside std), or copied from a [`super::zygote`] that was,
//! and everything it needs goes through a socket. The program it runs is a read-only detached copy of our own binary's
//! mount, so that no container can write the binary through `/proc/PID/exe` (CVE-2019-5736).

use super::{
    message::{self, Adoption, Hello, Plan, Reply, Request},
    nursery::{Nursery, Offspring},
};
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
#[derive(Debug)]
pub(crate) struct LaunchMaterial<'a> {
    /// The container's processes go on when something is written to the other end, and end when that is closed.
    pub(crate) gate: &'a OwnedFd,
    pub(crate) engine: Option<&'a OwnedFd>,
    pub(crate) grants: Option<&'a OwnedFd>,
    pub(crate) keep: &'a [OwnedFd],
}

impl Binary {
    pub(crate) fn new(path: &Path) -> Self {
        Self {
            path: path.to_path_buf(),
            sealed: seal(path).ok(),
        }
    }

    /// Starts the binary in a role; `socket` becomes its standard input.
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

/// A shim that was just started.
#[derive(Debug)]
pub(crate) struct Started {
    pub(crate) socket: OwnedFd,
    pub(crate) shim: Offspring,
}

/// Starts the shim. It begins to work only when [`Started::order`] sends the plan, so the caller can go on meanwhile.
pub(crate) fn start_shim(binary: &Binary, nursery: Option<&Nursery>) -> Result<Started, LaunchError> {
    let fail = |cause| LaunchError::Spawn {
        program: binary.path.clone(),
        cause,
    };
    let copied = nursery
        .map(|nursery| nursery.shim(binary))
        .transpose()
        .map_err(fail)?;
    if let Some(socket) = copied.flatten() {
        return Ok(Started {
            socket,
            shim: Offspring::default(),
        });
    }
    let (socket, theirs) = message::pair().map_err(fail)?;
    let shim = binary.spawn(crate::role::SHIM, theirs).map_err(fail)?.into();
    Ok(Started { socket, shim })
}

impl Started {
    /// Sends the plan of a container.
    pub(crate) fn order(&self, plan: Plan, material: &LaunchMaterial<'_>) -> Result<(), LaunchError> {
        let descriptors: Vec<BorrowedFd<'_>> = std::iter::once(material.gate)
            .chain(material.engine)
            .chain(material.grants)
            .chain(material.keep)
            .map(AsFd::as_fd)
            .collect();
        message::send(&self.socket, &Request::Launch(Box::new(plan)), &descriptors).map_err(LaunchError::Talk)
    }

    /// Hands a running container over and waits until the shim has it.
    pub(crate) fn adopt(
        &mut self,
        adoption: Adoption,
        container: BorrowedFd<'_>,
    ) -> Result<Hello, LaunchError> {
        let request = Request::Adopt(Box::new(adoption));
        message::send(&self.socket, &request, &[container]).map_err(LaunchError::Talk)?;
        self.created().map(|(hello, _)| hello)
    }

    /// Waits until the shim's process id is known; nothing must have been ordered yet.
    pub(crate) fn born(&mut self) -> Result<i32, LaunchError> {
        loop {
            if let Some(pid) = self.shim.pid() {
                return Ok(pid);
            }
            match message::receive::<Reply>(&self.socket).map_err(LaunchError::Talk)? {
                Some((Reply::Born { pid }, _)) => self.shim = Offspring::of(pid),
                Some((Reply::Failed(failure), _)) => return Err(LaunchError::Inside(failure)),
                Some(_) => {}
                None => return Err(LaunchError::ShimLost),
            }
        }
    }

    /// Waits until the container stands at the barrier (or was taken over); gives its pidfd if that came along.
    pub(crate) fn created(&mut self) -> Result<(Hello, Option<OwnedFd>), LaunchError> {
        let mut result = None;
        while result.is_none() || self.shim.pid().is_none() {
            match message::receive::<Reply>(&self.socket).map_err(LaunchError::Talk)? {
                Some((Reply::Born { pid }, _)) => self.shim = Offspring::of(pid),
                Some((Reply::Created(hello), descriptors)) => {
                    result = Some(Ok((hello, descriptors.into_iter().next())));
                }
                Some((Reply::Failed(failure), _)) => result = Some(Err(LaunchError::Inside(failure))),
                Some(_) => {}
                None => break,
            }
        }
        result.unwrap_or(Err(LaunchError::ShimLost))
    }

    /// Ends a shim whose container was not created, and reaps it; false when there never was one.
    pub(crate) fn give_up(mut self) -> bool {
        if self.shim.pid().is_none() {
            // A zygote names its offspring whatever becomes of it.
            let _ = rustix::net::shutdown(&self.socket, rustix::net::Shutdown::Write);
            let _ = self.created();
        }
        drop(self.socket);
        let was_there = self.shim.pid().is_some();
        self.shim.wait();
        was_there
    }
}
