//! Finding a container again, and removing it.

use super::{
    ContainerDir, ContainerError, Exit, Settings,
    handle::{Container, Created, Running, connect},
    paths,
    record::{Record, boot_id},
};
use crate::{cgroup::Cgroup, sys::pidfd};
use std::{io, os::fd::OwnedFd, path::Path};

/// What is left of a container on disk and in the kernel.
#[derive(Debug)]
pub enum Found {
    /// At the barrier.
    Created(Container<Created>),
    /// Its program runs.
    Running(Container<Running>),
    /// Its processes run, but its shim was killed: what it writes waits in its pipes, and nobody will record its end
    /// unless [`super::Launcher::adopt`] gives it a new shim.
    Orphaned {
        /// Process id of its process 1.
        pid: i32,
    },
    /// It has ended.
    Stopped(Exit),
    /// It has ended, and nobody could record how: the machine or its shim went down with it.
    Lost,
    /// It was never started (or not since it was last recorded).
    Never,
}

/// Reads a container back. The recorded process is verified by its start time, so a stranger with its number is never
/// taken for it.
///
/// # Errors
/// When its record is unreadable.
pub fn open(dir: &ContainerDir) -> Result<Found, ContainerError> {
    let Some(record) = read_record(dir)? else {
        return Ok(Found::Never);
    };
    if let Some(exit) = Exit::read(&dir.state) {
        return Ok(Found::Stopped(exit));
    }
    let same_boot = boot_id().is_ok_and(|boot| boot == record.boot);
    let Some((container, _)) = record.processes.filter(|_| same_boot) else {
        return Ok(Found::Lost);
    };
    let Some(pidfd) = container.open() else {
        // Ended between our two looks?
        return Ok(Exit::read(&dir.state).map_or(Found::Lost, Found::Stopped));
    };
    match connect(&dir.run) {
        Ok((socket, hello)) => {
            let cgroup = record.cgroup;
            Ok(match hello.started {
                Some(_) => Found::Running(Container::assemble(dir.clone(), cgroup, hello, pidfd, socket)),
                None => Found::Created(Container::assemble(dir.clone(), cgroup, hello, pidfd, socket)),
            })
        }
        Err(_) => match Exit::read(&dir.state) {
            Some(exit) => Ok(Found::Stopped(exit)),
            None if pidfd::wait_end(&pidfd, 0).unwrap_or(true) => Ok(Found::Lost),
            None => Ok(Found::Orphaned { pid: container.pid }),
        },
    }
}

/// Removes everything of a container: its cgroups, sockets, log, records, `upper` and `work` when they are in its
/// directory. Volumes are not touched: nothing is mounted here.
///
/// # Errors
/// `StillRunning` unless `force`, which kills it first. All parts are tried; the first failure is told.
pub fn remove(dir: &ContainerDir, force: bool) -> Result<(), ContainerError> {
    let record = read_record(dir).unwrap_or(None);
    if let Some(record) = &record {
        end_processes(dir, record, force)?;
        record.cgroup.remove()?;
    }
    let run = remove_directory(&dir.run);
    let state = remove_directory(&dir.state);
    run.and(state)
}

/// Makes sure that neither the container nor its shim is left.
fn end_processes(dir: &ContainerDir, record: &Record, force: bool) -> Result<(), ContainerError> {
    let Some((container, shim)) = record.processes else {
        return Ok(());
    };
    if boot_id().is_ok_and(|boot| boot != record.boot) {
        return Ok(());
    }
    if let Some(pidfd) = container.open() {
        if !force {
            return Err(ContainerError::StillRunning);
        }
        let _ = pidfd::signal(&pidfd, libc::SIGKILL);
        let _ = record.cgroup.thaw();
        // A killed process can be held up by the kernel (a dead network filesystem): not for ever.
        if !pidfd::wait_end(&pidfd, 10_000).map_err(ContainerError::Wait)? {
            return Err(ContainerError::StillRunning);
        }
    }
    let shim = shim.open();
    if let (Some(pidfd), Some(_)) = (&shim, Exit::read(&dir.state)) {
        // The end is recorded and told: what is left to it is to write the record to the disk, for nobody.
        let _ = pidfd::signal(pidfd, libc::SIGKILL);
    }
    if let Some(pidfd) = shim
        && !pidfd::wait_end(&pidfd, 10_000).map_err(ContainerError::Wait)?
    {
        return Err(ContainerError::StillRunning);
    }
    Ok(())
}

/// The process 1 of a container that has one now: its number and pidfd.
pub(super) fn live_process(dir: &ContainerDir) -> Result<Option<(i32, OwnedFd)>, ContainerError> {
    let Some(record) = read_record(dir)? else {
        return Ok(None);
    };
    let same_boot = boot_id().is_ok_and(|boot| boot == record.boot);
    let process = record.processes.filter(|_| same_boot);
    Ok(process.and_then(|(container, _)| Some((container.pid, container.open()?))))
}

/// Where a recorded container's cgroups are.
pub(super) fn recorded_cgroup(dir: &ContainerDir) -> Result<Cgroup, ContainerError> {
    let path = paths::record(&dir.state);
    read_record(dir)?
        .map(|record| record.cgroup)
        .ok_or_else(|| ContainerError::Read {
            path,
            cause: io::ErrorKind::NotFound.into(),
        })
}

fn read_record(dir: &ContainerDir) -> Result<Option<Record>, ContainerError> {
    read(&paths::record(&dir.state))
}

/// The settings a container was created with.
pub(super) fn read_settings(dir: &ContainerDir) -> Result<Settings, ContainerError> {
    let path = paths::settings(&dir.state);
    read(&path)?.ok_or_else(|| ContainerError::Read {
        path,
        cause: io::ErrorKind::NotFound.into(),
    })
}

fn read<T: serde::de::DeserializeOwned>(path: &Path) -> Result<Option<T>, ContainerError> {
    match std::fs::read(path) {
        Ok(bytes) => serde_json::from_slice(&bytes)
            .map(Some)
            .map_err(|cause| ContainerError::Damaged {
                path: path.to_path_buf(),
                cause,
            }),
        Err(cause) if cause.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(cause) => Err(ContainerError::Read {
            path: path.to_path_buf(),
            cause,
        }),
    }
}

fn remove_directory(path: &Path) -> Result<(), ContainerError> {
    match std::fs::remove_dir_all(path) {
        Err(cause) if cause.kind() != io::ErrorKind::NotFound => Err(ContainerError::Remove {
            path: path.to_path_buf(),
            cause,
        }),
        _ => Ok(()),
    }
}

impl ContainerDir {
    /// The settings the container in this directory was last created with.
    ///
    /// # Errors
    /// When they are missing or damaged.
    pub fn settings(&self) -> Result<Settings, ContainerError> {
        read_settings(self)
    }
}
